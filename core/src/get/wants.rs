//! What one read asks of the record that it is given: its age, its lifetime left, whether it may be stale, and whether a load is kept.
//!
//! Pure arithmetic on ticks. Invariant: no wish makes a read take what the cache would serve nobody, but for the windows in which a record
//! may be stale, which a call may set for itself.

use std::time::Duration;

use crate::clock::Tick;
use crate::entry::Header;

/// The default asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// The origin confirmed it no longer ago than this; zero: after the call began.
    pub(crate) max_age: Option<Duration>,
    /// It is fresh for so long yet.
    pub(crate) min_fresh: Duration,
    /// In place of the record's or the cache's own `stale_while_revalidate`, where the record does not forbid it.
    pub(crate) max_stale: Option<Duration>,
    /// In place of the record's or the cache's own `stale_if_error`, where the record does not forbid it.
    pub(crate) stale_if_error: Option<Duration>,
    /// What a load of this call brings is not retained.
    pub(crate) not_kept: bool,
}

impl Wants {
    /// Nothing is asked for.
    pub(crate) const NONE: Self =
        Self { max_age: None, min_fresh: Duration::ZERO, max_stale: None, stale_if_error: None, not_kept: false };

    /// Every fresh record will do.
    pub(crate) fn takes_any(&self) -> bool {
        self.max_age.is_none() && self.min_fresh.is_zero()
    }

    /// The start of the oldest request whose answer will do, for a call that began at `now`.
    pub(crate) fn oldest(&self, now: Tick) -> Tick {
        match self.max_age {
            None => Tick::ZERO,
            // What began in the tick of the call may have begun before it.
            Some(Duration::ZERO) => now.after(Duration::from_nanos(1)),
            Some(age) => now.before(age),
        }
    }

    /// A fresh record will do at `now`, for a call whose [`Wants::oldest`] this is.
    pub(crate) fn takes(&self, header: &Header, oldest: Tick, now: Tick) -> bool {
        header.since() >= oldest && header.expires().since(now) >= self.min_fresh
    }

    /// A record that does not do, or has expired, may be given at `now` in place of an error: it has done so less than `window` ago.
    pub(crate) fn takes_if_error(&self, header: &Header, window: Duration, now: Tick) -> bool {
        let end = self.max_age.map_or(Tick::NEVER, |age| header.since().after(age));
        now < end.min(header.expires().before(self.min_fresh)).after(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Times;

    fn tick(n: u64) -> Tick {
        Tick::from_nanos(n)
    }

    fn nanos(n: u64) -> Duration {
        Duration::from_nanos(n)
    }

    fn header(since: u64, expires: u64) -> Header {
        Header::new(0, Times::until(tick(since), tick(expires)), 1)
    }

    #[test]
    fn f5_an_age_that_is_just_met_will_do_and_none_at_all_is_after_the_call() {
        let takes = |max_age: u64, since: u64| {
            let wants = Wants { max_age: Some(nanos(max_age)), ..Wants::default() };
            wants.takes(&header(since, 1_000), wants.oldest(tick(50)), tick(50))
        };
        assert!(takes(10, 40) && !takes(10, 39));
        assert!(takes(60, 0), "longer than the clock has run");
        assert!(!takes(0, 50) && takes(0, 51));
    }

    #[test]
    fn f5_what_is_left_of_a_lifetime_is_counted_to_its_end() {
        let wants = Wants { min_fresh: nanos(10), ..Wants::default() };
        let takes = |expires: u64| wants.takes(&header(0, expires), wants.oldest(tick(50)), tick(50));
        assert!(takes(60) && !takes(59) && takes(Tick::NEVER.as_nanos()));
    }

    #[test]
    fn f5_in_place_of_an_error_the_window_begins_where_the_record_would_not_do() {
        let at = |wants: Wants, window: u64, now: u64| wants.takes_if_error(&header(10, 100), nanos(window), tick(now));
        let aged = Wants { max_age: Some(nanos(20)), ..Wants::default() };
        assert!(at(aged, 5, 34) && !at(aged, 5, 35));
        assert!(at(Wants::default(), 5, 104) && !at(Wants::default(), 5, 105));
        let kept_long = Wants { min_fresh: nanos(30), ..Wants::default() };
        assert!(at(kept_long, 5, 74) && !at(kept_long, 5, 75));
        assert!(at(Wants { max_age: Some(Duration::ZERO), ..Wants::default() }, 1, 10));
    }
}
