//! What the origin tells of its changes by itself: when a record that it pushed is taken, and when it only makes the cache forget.
//!
//! A push comes late, twice, or after what is newer: nobody knows how long it was under way. So only the order of versions says whether it
//! is news, and without that it invalidates. It never makes a record of a key resident of which nothing is held. Invariant: what a
//! push makes resident is newer than all that a reader was given of its key; a change that a push tells of is not hidden by what is held.

use std::cmp::Ordering;

use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Layout, Times, Version};
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
