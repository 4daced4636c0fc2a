//! Which keys an invalidation means: prefixes and patterns of keys that are bytes.
//!
//! Pure: bytes and positions, no lock and none of the program's code, so that it may run under a shard's lock.
//! Invariant: a pattern's head is the beginning of every key that it matches.

use std::error::Error;
use std::fmt;

use crate::entry::{Bytes, Layout, Typed};
use crate::sync::Arc;

/// Layouts whose keys are bytes, so that a prefix or a pattern of keys has a meaning: [`Bytes`], and [`Typed`] with a key of
/// `String`, `Box<str>`, `Arc<str>`, `Vec<u8>`, `Box<[u8]>` or `Arc<[u8]>`. Sealed, as [`Layout`] is.
///
/// What it enables does not compile on a cache with other keys:
/// ```compile_fail,E0599
/// fn forget(cache: &wtcache::Cache<u32, u32>) {
///     cache.invalidate_prefix("user:");
/// }
/// ```
/// ```
/// fn forget(cache: &wtcache::Cache<String, u32>) {
///     cache.invalidate_prefix("user:");
/// }
/// ```
pub trait KeyBytes: Layout {
    #[doc(hidden)]
    fn key_bytes(key: &Self::Key) -> &[u8];
}

impl KeyBytes for Bytes {
    fn key_bytes(key: &[u8]) -> &[u8] {
        key
    }
}

/// Keys of the standard library that are bytes and are compared as bytes. Not every `AsRef<[u8]>`: that would be the program's
/// code under a lock.
macro_rules! key_bytes {
    ($($key:ty => $bytes:expr),* $(,)?) => {$(
        impl<V: Send + Sync + 'static> KeyBytes for Typed<$key, V> {
            fn key_bytes(key: &$key) -> &[u8] {
                let bytes: fn(&$key) -> &[u8] = $bytes;
                bytes(key)
            }
        }
    )*};
}

key_bytes! {
    String => |key| key.as_bytes(),
    Box<str> => |key| key.as_bytes(),
    Arc<str> => |key| key.as_bytes(),
    Vec<u8> => |key| key,
    Box<[u8]> => |key| key,
    Arc<[u8]> => |key| key,
}

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PatternError {
    /// At which byte of the pattern the fault is, from zero.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pattern, byte {}: {}", self.at, self.message)
    }
}

impl Error for PatternError {}

/// A pattern of keys: `*` matches anything but a separator, a final `*` the whole rest, `\*` is a star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// What a key begins with.
    head: Vec<u8>,
    /// What follows, each after a star that matches anything but a separator.
    parts: Vec<Vec<u8>>,
    /// It ends with a star.
    open: bool,
}

impl Pattern {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, PatternError> {
        let (mut head, mut parts, mut open) = (Vec::new(), Vec::<Vec<u8>>::new(), false);
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let literal = match (byte, text.get(at + 1)) {
                (b'*', _) => {
                    open = true;
                    at += 1;
                    continue;
                }
                (b'\\', Some(b'*')) => {
                    at += 1;
                    b'*'
                }
                (b'\\', next) => {
                    let message = match next {
                        Some(next) => {
                            format!("a backslash stands before a star only, not before {:?}", char::from(*next))
                        }
                        None => "a backslash stands before a star only, not at the end".to_owned(),
                    };
                    return Err(PatternError { at, message });
                }
                _ => *byte,
            };
            at += 1;
            // Stars side by side are one.
            if std::mem::take(&mut open) {
                parts.push(Vec::new());
            }
            parts.last_mut().unwrap_or(&mut head).push(literal);
        }
        Ok(Self { head, parts, open })
    }

    /// It matches all keys with its head and no others.
    fn is_prefix(&self) -> bool {
        self.open && self.parts.is_empty()
    }

    /// Each part is looked for as early as it can be. That is enough: within a stretch without separators the next star can
    /// take what a later place would skip, and a part with a separator in it has one place only.
    fn matches(&self, key: &[u8], separator: u8) -> bool {
        let Some(mut rest) = key.strip_prefix(self.head.as_slice()) else { return false };
        for (number, part) in self.parts.iter().enumerate() {
            let reach = rest.iter().position(|byte| *byte == separator).unwrap_or(rest.len());
            if number + 1 == self.parts.len() && !self.open {
                // The last part ends the key.
                return rest.strip_suffix(part.as_slice()).is_some_and(|star| star.len() <= reach);
            }
            let found = (0..=reach).find(|skipped| rest[*skipped..].starts_with(part));
            let Some(skipped) = found else { return false };
            rest = &rest[skipped + part.len()..];
        }
        self.open || rest.is_empty()
    }
}

/// The keys that an invalidation means, told by their bytes.
pub(crate) struct Keys<'a, L: Layout> {
    bytes: fn(&L::Key) -> &[u8],
    by: By<'a>,
}

enum By<'a> {
    Prefix(&'a [u8]),
    Pattern(&'a Pattern, u8),
}

impl<'a, L: KeyBytes> Keys<'a, L> {
    pub(crate) fn with_prefix(prefix: &'a [u8]) -> Self {
        Self { bytes: L::key_bytes, by: By::Prefix(prefix) }
    }

    pub(crate) fn matching(pattern: &'a Pattern, separator: u8) -> Self {
        Self { bytes: L::key_bytes, by: By::Pattern(pattern, separator) }
    }
}

impl<L: Layout> Keys<'_, L> {
    pub(crate) fn has(&self, key: &L::Key) -> bool {
        let key = (self.bytes)(key);
        match self.by {
            By::Prefix(prefix) => key.starts_with(prefix),
            By::Pattern(pattern, separator) => pattern.matches(key, separator),
        }
    }

    /// What all of them begin with.
    pub(crate) fn head(&self) -> &[u8] {
        match self.by {
            By::Prefix(prefix) => prefix,
            By::Pattern(pattern, _) => &pattern.head,
        }
    }

    /// All keys with that head are meant.
    pub(crate) fn are_all_with_head(&self) -> bool {
        match self.by {
            By::Prefix(_) => true,
            By::Pattern(pattern, _) => pattern.is_prefix(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, key: &str) -> bool {
        Pattern::parse(pattern.as_bytes()).expect("a pattern").matches(key.as_bytes(), b':')
    }

    #[test]
    fn a_star_matches_anything_but_a_separator_and_a_final_one_the_rest() {
        for (pattern, yes, no) in [
            ("a", &["a"][..], &["", "b", "ab", "a:"][..]),
            ("", &[""], &["a", ":"]),
            ("*", &["", "a", "a:b", ":"], &[]),
            ("a:*", &["a:", "a:b", "a:b:c"], &["a", "b:a:"]),
            ("a:*:c", &["a::c", "a:b:c", "a:bb:c"], &["a:c", "a:b:b:c", "a:b:cc", "a:b:c:"]),
            ("*:c", &[":c", "a:c"], &["c", "a:b:c"]),
            ("a*b*c", &["abc", "axbyc", "abbcc"], &["ab:c", "acb"]),
            ("*:x*", &[":x", "a:x", "a:x:y:z"], &["a:b:x", "x"]),
            ("a**b", &["ab", "axxb"], &["a:b"]),
            (r"a\*b", &["a*b"], &["ab", "axb"]),
            (r"\**", &["*", "*a:b"], &["a"]),
        ] {
            for key in yes {
                assert!(matches(pattern, key), "{pattern} and {key}");
            }
            for key in no {
                assert!(!matches(pattern, key), "{pattern} and {key}");
            }
        }
    }

    #[test]
    fn a_backslash_elsewhere_is_refused_where_it_stands() {
        for (pattern, at) in [(r"ab\", 2), (r"\a", 0), (r"\*\\*", 2), (r"*:\:", 2)] {
            let error = Pattern::parse(pattern.as_bytes()).expect_err("no pattern");
            assert_eq!(error.at, at, "{pattern}");
            assert!(error.to_string().starts_with(&format!("pattern, byte {at}: a backslash")), "{error}");
        }
    }

    /// What a pattern means, said in the plainest way.
    fn meaning(pattern: &[u8], key: &[u8]) -> bool {
        match pattern {
            [] => key.is_empty(),
            [b'*', rest @ ..] if rest.iter().all(|byte| *byte == b'*') => true,
            [b'*', rest @ ..] => {
                let reach = key.iter().position(|byte| *byte == b':').unwrap_or(key.len());
                (0..=reach).any(|skipped| meaning(rest, &key[skipped..]))
            }
            [b'\\', b'*', rest @ ..] => key.first() == Some(&b'*') && meaning(rest, &key[1..]),
            [byte, rest @ ..] => key.first() == Some(byte) && meaning(rest, &key[1..]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_000, ..ProptestConfig::default() })]

        #[test]
        fn matching_is_what_a_pattern_means(
            tokens in prop::collection::vec(prop::sample::select(vec!["*", "a", "b", ":", r"\*"]), 0..9),
            key in "[ab:*]{0,10}",
        ) {
            let text = tokens.concat();
            let pattern = Pattern::parse(text.as_bytes()).expect("a pattern");
            let matched = pattern.matches(key.as_bytes(), b':');
            prop_assert_eq!(matched, meaning(text.as_bytes(), key.as_bytes()), "{} and {}", text, key);
            prop_assert!(!matched || key.as_bytes().starts_with(&pattern.head));
        }
    }
}
