//! What the origin tells of its changes by itself: when a record that it pushed is taken, and when it only makes the cache forget.
//!
//! A push comes late, twice, or after what is newer: nobody knows how long it was under way. So only the order of versions says whether it
//! is news, and without that it invalidates. It never makes a record of a key resident of which nothing is held. Invariant: what a
//! push makes resident is newer than all that a reader was given of its key; a change that a push tells of is not hidden by what is held.

use std::cmp::Ordering;

use crate::cache::CacheOf;
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Layout, Lookup, Times, Version};
use crate::metrics::Event;
use crate::shard::PushStanding;
use crate::source::{Lifetime, Record};

/// How two versions of one key are compared, where the origin gives them in an order: see
/// [`Declared::version_order`](crate::Declared::version_order).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VersionOrder {
    /// They say whether two records are the same, and nothing else.
    #[default]
    None,
    /// Each has one decimal number in it, as `"r17"` has, and the later record has the greater one. Two versions that differ
    /// beside their numbers, or have none or several, cannot be compared.
    Number,
    /// The later record has the version that is greater byte by byte, as of timestamps of one length.
    Bytes,
}

impl VersionOrder {
    /// How `one` stands to `other`, both versions of one key; `None` where that cannot be told.
    ///
    /// # Example
    /// ```
    /// use std::cmp::Ordering;
    /// use wtcache::VersionOrder;
    ///
    /// assert_eq!(VersionOrder::Number.compare(b"\"r10\"", b"\"r9\""), Some(Ordering::Greater));
    /// assert_eq!(VersionOrder::Number.compare(b"\"r10\"", b"W/\"r9\""), None);
    /// assert_eq!(VersionOrder::None.compare(b"\"r10\"", b"\"r9\""), None);
    /// ```
    #[must_use]
    pub fn compare(self, one: &[u8], other: &[u8]) -> Option<Ordering> {
        match self {
            Self::None => None,
            Self::Bytes => Some(one.cmp(other)),
            Self::Number => {
                let ((before, number, behind), (b, n, e)) = (parts(one)?, parts(other)?);
                // Without zeros in front, the longer one is greater.
                (before == b && behind == e).then(|| (number.len(), number).cmp(&(n.len(), n)))
            }
        }
    }
}

/// What stands before, in and behind the one number of a version; the number without zeros in front.
fn parts(version: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let from = version.iter().position(u8::is_ascii_digit)?;
    let len = version[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, behind) = version[from..].split_at(len);
    if behind.iter().any(u8::is_ascii_digit) {
        return None;
    }
    let zeros = number.iter().take_while(|byte| **byte == b'0').count();
    Some((&version[..from], &number[zeros..], behind))
}

/// A change of one key, as the origin tells it by itself: see [`CacheOf::pushed`](crate::CacheOf::pushed).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushed<V> {
    /// This is the record now.
    Put(Record<V>),
    /// There is no record any more. The version is one that comes after all that the record had, where the origin gives deletes one.
    Delete(Option<Version>),
    /// The record has changed, and what it is now is not told; but perhaps its version.
    Changed(Option<Version>),
}

impl<V> Pushed<V> {
    fn version(&self) -> Option<&[u8]> {
        let version = match self {
            Self::Put(record) => record.version.as_ref(),
            Self::Delete(version) | Self::Changed(version) => version.as_ref(),
        };
        version.map(Version::as_bytes)
    }
}

/// What became of a [`Pushed`] change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PushEnd {
    /// It is what the cache holds of the key now.
    Taken,
    /// What is held is as new, or newer. Nothing has changed.
    PassedOver,
    /// It could not be told to be newer, or not be kept: nothing is held of the key any more, and the next read asks the origin.
    Invalidated,
}

impl<L: Layout> CacheOf<L> {
    /// Takes what the origin told of a change by itself, over a subscription or a webhook.
    ///
    /// A record is taken only if its version is comparable with that of what is held, by the source's
    /// [`version_order`](crate::Declared::version_order), and newer; if it is as old or older, nothing changes. In all other cases the
    /// key is invalidated: where nothing is held or an absence, where either has no version, while a write of the key is out or in doubt,
    /// and while a transaction runs on it. (The record of the write that is out is kept nevertheless where its version is as new as those
    /// that were pushed meanwhile: a feed tells of one's own writes too.) So it may be told twice, late, and in any order; and never
    /// brings back what was overwritten or deleted. But each change has to be told once, after it happened. Pending writes stay, above
    /// what is taken.
    ///
    /// The lifetime that the cache's options give counts from this call, one of the record's own from when what was held was confirmed.
    /// To reads that ask how long ago the origin confirmed it, it was then, too.
    ///
    /// # Threads
    /// Calls no source and waits for nothing but short locks. It may be called in a task, and from inside a call of the source.
    ///
    /// # Example
    /// ```
    /// # use wtcache::{Cache, Declared, LoadCx, Loaded, PushEnd, Pushed, Record, Source, SourceError, Typed, Version, VersionOrder};
    /// struct Stock;
    /// impl Source<Typed<String, u32>> for Stock {
    ///     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    ///         Ok(Loaded::Found(Record::new(5).version(Version::new("v9").expect("short"))))
    ///     }
    ///     fn declared(&self) -> Declared {
    ///         let mut declared = Declared::default();
    ///         declared.version_order = VersionOrder::Number;
    ///         declared
    ///     }
    /// }
    ///
    /// let cache = Cache::builder(Stock).build()?;
    /// cache.get("bolts")?;
    /// let record = |value, version| Pushed::Put(Record::new(value).version(Version::new(version).expect("short")));
    /// assert_eq!(cache.pushed("bolts", record(4, "v10")), PushEnd::Taken);
    /// assert_eq!(cache.pushed("bolts", record(5, "v9")), PushEnd::PassedOver, "it comes late");
    /// assert_eq!(cache.peek("bolts").map(|entry| *entry), Some(4));
    /// assert_eq!(cache.pushed("bolts", Pushed::Changed(None)), PushEnd::Invalidated);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pushed<Q: Lookup<L> + ?Sized>(&self, key: &Q, pushed: Pushed<L::Value>) -> PushEnd {
        let engine = self.engine();
        take(engine, engine.hash(key), &key.to_key(), pushed)
    }
}

/// Takes a push. Calls no source, and waits for nothing but short locks.
pub(crate) fn take<L: Layout>(engine: &Engine<L>, hash: u64, key: &L::OwnedKey, pushed: Pushed<L::Value>) -> PushEnd {
    let is_content = !matches!(pushed, Pushed::Changed(_));
    let running = engine.tags.begins();
    let standing = engine.at_key(hash, L::key(key), |at| at.pushed(pushed.version(), is_content));
    let confirmed = match standing {
        PushStanding::News { confirmed } => confirmed,
        PushStanding::Old => return PushEnd::PassedOver,
        PushStanding::Unsure => {
            engine.counters.count(Event::Invalidated);
            return PushEnd::Invalidated;
        }
    };
    // The program's extractors run under no lock: what stands meanwhile is looked at again.
    let version = pushed.version().map(Box::<[u8]>::from);
    let now = engine.clock.now();
    let (stored, keep) = match pushed {
        Pushed::Put(record) if u32::try_from(L::value_len(&record.value)).is_ok() => {
            // A lifetime of its own counts from when the origin is known to have had no later record than the one before.
            let since = if record.lifetime == Lifetime::Default { now } else { confirmed };
            engine.record(hash, L::key(key), record, since)
        }
        // A record that no entry can hold is an absent mark that is not kept.
        Pushed::Put(_) => (engine.absent(hash, L::key(key), Lifetime::NotKept, now).0, false),
        Pushed::Delete(_) | Pushed::Changed(_) => engine.absent(hash, L::key(key), Lifetime::Default, now),
    };
    // Nobody knows when the origin said it; it was after it had said what is held.
    stored.header().renew(Times { since: confirmed, ..stored.header().times() });
    let end = engine.at_key(hash, L::key(key), |at| at.take_pushed(version.as_deref(), (&stored, keep), running));
    if end == PushEnd::Invalidated {
        engine.counters.count(Event::Invalidated);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i3_versions_are_compared_by_their_one_number() {
        let rows: [(&str, &str, Option<Ordering>); 12] = [
            ("\"r10\"", "\"r9\"", Some(Ordering::Greater)),
            ("\"r9\"", "\"r10\"", Some(Ordering::Less)),
            ("7", "007", Some(Ordering::Equal)),
            ("0", "1", Some(Ordering::Less)),
            ("18446744073709551616", "18446744073709551615", Some(Ordering::Greater)),
            ("\"r1\"", "W/\"r2\"", None),
            ("\"r1\"", "\"s2\"", None),
            ("\"1-a\"", "\"2-b\"", None),
            ("\"1-2\"", "\"1-3\"", None),
            ("\"abc\"", "\"abd\"", None),
            ("", "1", None),
            ("1", "", None),
        ];
        for (one, other, want) in rows {
            assert_eq!(VersionOrder::Number.compare(one.as_bytes(), other.as_bytes()), want, "{one} {other}");
            assert_eq!(VersionOrder::None.compare(one.as_bytes(), other.as_bytes()), None);
            assert_eq!(VersionOrder::Bytes.compare(one.as_bytes(), other.as_bytes()), Some(one.cmp(other)));
        }
    }
}
