//! How long a record may be served. Pure arithmetic on ticks.
//!
//! Invariant: whatever the options, an entry's end is never later than its own lifetime allows: jitter shortens, caps shorten.

use std::time::Duration;

use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::entry::Times;
use crate::source::{Lifetime, Windows};
use crate::windows::{OwnWindows, Stale};

/// The lifetimes of a cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    /// Of records; `None` is without end.
    pub(crate) default: Option<Duration>,
    /// Of absent marks; zero keeps none.
    pub(crate) negative: Duration,
    /// By up to this share of itself a lifetime is shortened, at random.
    pub(crate) jitter: f64,
    /// Nothing whose request began before this tick lives beyond it: writes of an earlier process may still land until then.
    pub(crate) unsure_until: Tick,
    /// In this last share of its lifetime a record is refreshed when it is read.
    pub(crate) refresh_ahead: f64,
    /// For how long an expired record may be served while it is refreshed.
    pub(crate) stale_while_revalidate: Duration,
    /// For how long an expired record may be served in place of an error.
    pub(crate) stale_if_error: Duration,
    /// For how long an expired record is kept at most; `None`: until room is wanted.
    pub(crate) keep_expired: Option<Duration>,
}

impl Lifetimes {
    /// The times of a record whose request began at `since`; `None` where it is not to be kept. `chance` is in 0..1.
    ///
    /// It may be expired from the start: whether that is of use, the shard says.
    #[inline]
    pub(crate) fn of_record(&self, since: Tick, lifetime: Lifetime, chance: f64) -> Option<Times> {
        let (fresh, windows) = match lifetime {
            Lifetime::Default | Lifetime::AsBefore(_) => (None, OwnWindows::UNSAID),
            Lifetime::For(lifetime) => (Some(lifetime), OwnWindows::UNSAID),
            Lifetime::With(windows) => (windows.fresh, OwnWindows::of(&windows)),
            Lifetime::NotKept => return None,
        };
        let expires = self.expires(since, fresh.or(self.default), chance);
        let mut times = Times { windows, own: fresh.is_some(), ..Times::until(since, expires) };
        times.refresh = self.refresh_from(times);
        // The first tick of all, as an end, says something else (see `Header`).
        (expires > Tick::ZERO).then_some(times)
    }

    /// The times of a record that had those `before`, and of which the origin said at `since` that it is unchanged.
    pub(crate) fn of_unchanged(&self, since: Tick, lifetime: Lifetime, before: Times, chance: f64) -> Option<Times> {
        let Lifetime::AsBefore(older) = lifetime else { return self.of_record(since, lifetime, chance) };
        let was = before.expires.since(before.since);
        // Its end may have been that of the unsure time, so that nobody knows its own; and nothing is left of one that is over. A
        // load of the whole record says anew how long it lives.
        if before.own && (before.since < self.unsure_until || !was.is_zero() && was <= older) {
            return None;
        }
        // What was shortened by chance when it was given is not shortened again.
        let (fresh, chance) = if before.own { (Some(was.saturating_sub(older)), 0.0) } else { (None, chance) };
        self.of_record(since, Lifetime::With(before.windows.with_fresh(fresh)), chance)
    }

    /// The times of a record that says itself that it ends at `end`; `None` where that is no later than its request.
    ///
    /// It is not stale either, but where nothing that has expired is kept to that end.
    pub(crate) fn ended(&self, times: Times, end: Tick) -> Option<Times> {
        let expires = times.expires.min(end);
        let mut times = Times { expires, ..times };
        if self.gone(expires) > end {
            let none = Some(Duration::ZERO);
            times.windows = OwnWindows::of(&Windows { fresh: None, while_revalidate: none, if_error: none });
        }
        times.refresh = self.refresh_from(times);
        (end > times.since).then_some(times)
    }

    /// From when on a record that expires then is not kept any more.
    pub(crate) fn gone(&self, expires: Tick) -> Tick {
        self.keep_expired.map_or(Tick::NEVER, |kept| expires.after(kept))
    }

    /// The times of an absent mark. It is not refreshed, and not stale.
    pub(crate) fn of_absent(&self, since: Tick, lifetime: Lifetime, chance: f64) -> Option<Times> {
        let lifetime = match lifetime {
            Lifetime::Default | Lifetime::AsBefore(_) => None,
            Lifetime::For(lifetime) => Some(lifetime),
            Lifetime::With(windows) => windows.fresh,
            Lifetime::NotKept => return None,
        };
        let lifetime = lifetime.map_or(self.negative, |lifetime| lifetime.min(self.negative));
        let expires = self.expires(since, Some(lifetime), chance);
        (expires > since).then_some(Times::until(since, expires))
    }

    /// For how long a record with these windows of its own may be served stale, to a call that asked for so long: what the record forbids,
    /// no call allows.
    pub(crate) fn window(&self, own: OwnWindows, why: Stale, asked: Option<Duration>) -> Duration {
        let own = own.get(why);
        let option = match why {
            Stale::WhileRevalidate => self.stale_while_revalidate,
            Stale::IfError => self.stale_if_error,
        };
        asked.filter(|_| own != Some(Duration::ZERO)).or(own).unwrap_or(option)
    }

    /// Until when a record with these times may be served stale. What may not be trusted beyond the unsure time has no such
    /// window.
    pub(crate) fn stale_until(&self, since: Tick, expires: Tick, window: Duration) -> Tick {
        if bugs::has(Bug::StaleWithoutWindow) {
            return Tick::NEVER;
        }
        if since < self.unsure_until { expires } else { expires.after(window) }
    }

    fn refresh_from(&self, times: Times) -> Tick {
        if times.expires == Tick::NEVER {
            return Tick::NEVER;
        }
        if self.refresh_ahead > 0.0 {
            return times.since.after(times.expires.since(times.since).mul_f64(1.0 - self.refresh_ahead));
        }
        let window = match times.windows {
            OwnWindows::UNSAID => self.stale_while_revalidate,
            own => self.window(own, Stale::WhileRevalidate, None),
        };
        if window.is_zero() { Tick::NEVER } else { times.expires }
    }

    fn expires(&self, since: Tick, lifetime: Option<Duration>, chance: f64) -> Tick {
        let mut expires = match lifetime {
            None => Tick::NEVER,
            Some(lifetime) if self.jitter == 0.0 => since.after(lifetime),
            Some(lifetime) => {
                let share = (1.0 - self.jitter * chance).clamp(0.0, 1.0);
                // Exact without jitter: floating point would round long lifetimes.
                let kept = if share < 1.0 {
                    lifetime.min(Duration::from_secs(u64::from(u32::MAX))).mul_f64(share)
                } else {
                    lifetime
                };
                since.after(kept)
            }
        };
        if since < self.unsure_until {
            expires = expires.min(self.unsure_until);
        }
        expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Lifetimes = Lifetimes {
        default: Some(Duration::from_nanos(100)),
        negative: Duration::from_nanos(10),
        jitter: 0.0,
        unsure_until: Tick::ZERO,
        refresh_ahead: 0.0,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        keep_expired: None,
    };

    fn end(times: Option<Times>) -> Option<u64> {
        times.map(|t| t.expires.as_nanos())
    }

    #[test]
    fn f1_the_records_own_lifetime_goes_before_the_caches() {
        let since = Tick::from_nanos(5);
        assert_eq!(end(PLAIN.of_record(since, Lifetime::Default, 0.5)), Some(105));
        assert_eq!(end(PLAIN.of_record(since, Lifetime::For(Duration::from_nanos(7)), 0.5)), Some(12));
        assert_eq!(end(PLAIN.of_record(since, Lifetime::For(Duration::ZERO), 0.5)), Some(5), "expired from the start");
        assert_eq!(end(PLAIN.of_record(Tick::ZERO, Lifetime::For(Duration::ZERO), 0.5)), None);
        assert_eq!(end(PLAIN.of_record(since, Lifetime::NotKept, 0.5)), None);
        assert_eq!(end(PLAIN.of_absent(since, Lifetime::Default, 0.5)), Some(15));
        let endless = Lifetimes { default: None, ..PLAIN };
        assert_eq!(end(endless.of_record(since, Lifetime::Default, 0.5)), Some(u64::MAX));
    }

    #[test]
    fn f1_a_record_that_says_its_end_is_served_no_longer_and_not_stale() {
        let stale = Duration::from_nanos(8);
        let windows = Lifetimes { stale_if_error: stale, ..PLAIN };
        let of = |lifetimes: Lifetimes, end| {
            let times = lifetimes.of_record(Tick::from_nanos(5), Lifetime::Default, 0.0).expect("kept");
            let times = lifetimes.ended(times, Tick::from_nanos(end))?;
            Some((times.expires.as_nanos(), lifetimes.window(times.windows, Stale::IfError, Some(stale)).as_nanos()))
        };
        assert_eq!(of(windows, 50), Some((50, 0)), "its own end");
        assert_eq!(of(windows, 200), Some((105, 0)), "the cache's, and nothing says that it is gone by its own");
        assert_eq!((of(windows, 5), of(windows, 3)), (None, None), "none at all");
        let kept = Lifetimes { keep_expired: Some(Duration::from_nanos(20)), ..windows };
        assert_eq!((of(kept, 125), of(kept, 124)), (Some((105, 8)), Some((105, 0))));
        assert_eq!(of(kept, 50), Some((50, 0)));
    }

    #[test]
    fn f4_jitter_only_shortens() {
        let jittered = Lifetimes { jitter: 0.5, ..PLAIN };
        assert_eq!(end(jittered.of_record(Tick::ZERO, Lifetime::Default, 0.0)), Some(100));
        assert_eq!(end(jittered.of_record(Tick::ZERO, Lifetime::Default, 0.8)), Some(60));
    }

    #[test]
    fn f4_without_jitter_a_long_lifetime_is_exact() {
        let long = Duration::from_nanos((1 << 62) + 1);
        assert_eq!(end(PLAIN.of_record(Tick::ZERO, Lifetime::For(long), 0.5)), Some((1 << 62) + 1));
    }

    #[test]
    fn c0_what_began_in_the_unsure_time_ends_with_it() {
        let unsure = Lifetimes { unsure_until: Tick::from_nanos(50), ..PLAIN };
        assert_eq!(end(unsure.of_record(Tick::from_nanos(49), Lifetime::Default, 0.0)), Some(50));
        assert_eq!(end(unsure.of_record(Tick::from_nanos(50), Lifetime::Default, 0.0)), Some(150));
    }

    #[test]
    fn f2_what_began_in_the_unsure_time_is_never_stale() {
        let unsure = Lifetimes { unsure_until: Tick::from_nanos(50), ..PLAIN };
        let (expires, window) = (Tick::from_nanos(60), Duration::from_nanos(5));
        assert_eq!(unsure.stale_until(Tick::from_nanos(49), expires, window), expires);
        assert_eq!(unsure.stale_until(Tick::from_nanos(50), expires, window), Tick::from_nanos(65));
    }

    #[test]
    fn f3_a_refresh_is_due_in_the_last_share_of_the_jittered_lifetime() {
        let due = |lifetimes: Lifetimes, lifetime, chance| {
            lifetimes.of_record(Tick::from_nanos(5), lifetime, chance).map(|times| times.refresh.as_nanos())
        };
        assert_eq!(due(PLAIN, Lifetime::Default, 0.0), Some(u64::MAX), "not asked for");
        let ahead = Lifetimes { refresh_ahead: 0.25, jitter: 0.5, ..PLAIN };
        assert_eq!(due(ahead, Lifetime::Default, 0.0), Some(80));
        assert_eq!(due(ahead, Lifetime::Default, 0.8), Some(50));
        assert_eq!(due(Lifetimes { default: None, ..ahead }, Lifetime::Default, 0.0), Some(u64::MAX));
        assert_eq!(ahead.of_absent(Tick::ZERO, Lifetime::Default, 0.0).map(|times| times.refresh), Some(Tick::NEVER));
        let stale = Lifetimes { stale_while_revalidate: Duration::from_nanos(1), ..PLAIN };
        assert_eq!(due(stale, Lifetime::Default, 0.0), Some(105));
    }
}
