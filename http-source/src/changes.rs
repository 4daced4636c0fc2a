//! A change in JSON, as an origin tells it over a subscription, a poll or a webhook, and what it does to a cache.
//!
//! ```json
//! {"op": "put", "key": "item-007", "record": {"quantity": 4}, "version": "\"r8\""}
//! {"op": "delete", "key": "item-007", "version": "\"r9\""}
//! {"op": "invalidate", "key": "item-007"}
//! {"op": "invalidate", "prefix": "item-"}
//! {"op": "reset"}
//! ```
//!
//! Invariant: what is not understood whole changes nothing; the bytes of a record are taken as they stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use wtcache::{ByteCache, PushEnd, Pushed, Record, Version};

use crate::source::RecordCheck;

/// What a change is about, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginChange {
    /// One key.
    Key {
        /// The key.
        key: Vec<u8>,
        /// What the origin says of it.
        pushed: Pushed<Vec<u8>>,
    },
    /// All keys that begin so have changed, or may have.
    Prefix(Vec<u8>),
    /// All keys may have changed: what was told before is not all that there was to tell.
    Reset,
}

/// What became of a change that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeEnd {
    /// Of one key.
    Key(PushEnd),
    /// So many resident entries were forgotten.
    Forgotten(u64),
}

impl OriginChange {
    /// Does to the cache what the change says. Calls no source.
    pub fn apply(self, cache: &ByteCache) -> ChangeEnd {
        match self {
            Self::Key { key, pushed } => ChangeEnd::Key(cache.pushed(&key, pushed)),
            Self::Prefix(prefix) => ChangeEnd::Forgotten(cache.invalidate_prefix(prefix).entries),
            Self::Reset => ChangeEnd::Forgotten(cache.invalidate_prefix("").entries),
        }
    }
}

/// How an origin writes its changes: the names of the members, where they differ from those shown for [`ChangeForm::parse`].
#[derive(Clone)]
#[non_exhaustive]
pub struct ChangeForm {
    /// The member with what happened. Default `op`.
    pub op: String,
    /// The member with the key, a text or a whole number. Default `key`.
    pub key: String,
    /// The member with the record of a put. Default `record`.
    pub record: String,
    /// The member with the version, a text or a whole number. Default `version`.
    pub version: String,
    /// How a version that is told becomes one as the origin's answers have it, `{version}` being what is told. An origin with the ETag
    /// `"r8"` that tells of revision 8 wants `"r{version}"`, with the quotes. Default `{version}`.
    pub version_as: String,
    check: Option<Arc<RecordCheck>>,
}

impl Default for ChangeForm {
    fn default() -> Self {
        Self {
            op: "op".to_owned(),
            key: "key".to_owned(),
            record: "record".to_owned(),
            version: "version".to_owned(),
            version_as: "{version}".to_owned(),
            check: None,
        }
    }
}

impl std::fmt::Debug for ChangeForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangeForm")
            .field("op", &self.op)
            .field("key", &self.key)
            .field("record", &self.record)
            .field("version", &self.version)
            .field("version_as", &self.version_as)
            .finish_non_exhaustive()
    }
}

impl ChangeForm {
    /// The form shown above, with a check of the records: from key and record it gives the bytes to cache, or says why not. Of
    /// a record that is none, it counts only that the key has changed.
    #[must_use]
    pub fn checked(
        mut self,
        check: impl Fn(&[u8], Vec<u8>) -> Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// The same, with the check of `other` where it has none.
    pub(crate) fn or_check(mut self, other: &Self) -> Self {
        self.check = self.check.or_else(|| other.check.clone());
        self
    }

    pub(crate) fn with_check(mut self, check: Arc<RecordCheck>) -> Self {
        self.check = Some(check);
        self
    }

    /// Reads one change. `op` is one of
    ///
    /// | `op` | with | means |
    /// |---|---|---|
    /// | `put` | `key`; `record`, `version` | this is the record now; without a `record`, it has changed |
    /// | `delete` | `key`; `version` | there is none any more |
    /// | `invalidate` | `key`, and `version`; or `prefix` | it has changed |
    /// | `reset` | | anything may have changed |
    ///
    /// Other members are passed over. A `version` that is null or empty is none.
    ///
    /// # Errors
    /// It is no such object; the words name the member at fault.
    ///
    /// # Example
    /// ```
    /// use wtcache::{PushEnd, Pushed};
    /// use wtcache_http_source::{ChangeForm, OriginChange};
    ///
    /// let change = ChangeForm::default().parse(br#"{"op":"invalidate","key":"item-007"}"#)?;
    /// assert_eq!(change, OriginChange::Key { key: b"item-007".to_vec(), pushed: Pushed::Changed(None) });
    /// # Ok::<(), String>(())
    /// ```
    pub fn parse(&self, json: &[u8]) -> Result<OriginChange, String> {
        let members: BTreeMap<String, &RawValue> =
            serde_json::from_slice(json).map_err(|error| format!("it is no JSON object: {error}"))?;
        let text = |name: &str| match members.get(name).map(|value| value.get()) {
            None | Some("null") => Ok(None),
            Some(value) => word(value).map(Some).ok_or_else(|| format!("{name} is neither a text nor a whole number")),
        };
        let op = text(&self.op)?.ok_or_else(|| format!("it has no {}", self.op))?;
        if op == "reset" {
            return Ok(OriginChange::Reset);
        }
        if !["put", "delete", "invalidate"].contains(&op.as_str()) {
            let other: String = op.chars().take(40).collect();
            return Err(format!("{} is {other:?}, and not put, delete, invalidate or reset", self.op));
        }
        let version = text(&self.version)?.filter(|version| !version.is_empty());
        let version = match version.map(|version| self.version_as.replace("{version}", &version)) {
            Some(version) => {
                let too_long = || format!("{} has more than 65,535 bytes", self.version);
                Some(Version::new(version).ok_or_else(too_long)?)
            }
            None => None,
        };
        let key = text(&self.key)?;
        if key.is_none()
            && op == "invalidate"
            && let Some(prefix) = text("prefix")?
        {
            return match prefix.as_str() {
                "" => Err("prefix is empty; for all keys, say \"op\": \"reset\"".to_owned()),
                prefix => Ok(OriginChange::Prefix(prefix.as_bytes().to_vec())),
            };
        }
        let key = key.ok_or_else(|| format!("it has no {}", self.key))?;
        if key.is_empty() {
            return Err(format!("{} is empty", self.key));
        }
        let key = key.into_bytes();
        let pushed = match op.as_str() {
            "put" => match members.get(&self.record).map(|value| value.get()) {
                None | Some("null") => Pushed::Changed(version),
                Some(record) => self.put(&key, record, version),
            },
            "delete" => Pushed::Delete(version),
            _ => Pushed::Changed(version),
        };
        Ok(OriginChange::Key { key, pushed })
    }

    fn put(&self, key: &[u8], record: &str, version: Option<Version>) -> Pushed<Vec<u8>> {
        let record = record.as_bytes().to_vec();
        let checked = match &self.check {
            Some(check) => check(key, record),
            None => Ok(record),
        };
        match checked {
            Ok(value) => Pushed::Put(match version {
                Some(version) => Record::new(value).version(version),
                None => Record::new(value),
            }),
            // It is no record of the table, as an answer with it would be none. That it has changed is known.
            Err(_) => Pushed::Changed(None),
        }
    }

    /// Reads one change, or an array of them: each for itself.
    ///
    /// # Errors
    /// It is neither an object nor an array.
    pub fn parse_all(&self, json: &[u8]) -> Result<Vec<Result<OriginChange, String>>, String> {
        if json.trim_ascii_start().first() == Some(&b'[') {
            let changes: Vec<&RawValue> =
                serde_json::from_slice(json).map_err(|error| format!("it is no JSON array: {error}"))?;
            return Ok(changes.into_iter().map(|change| self.parse(change.get().as_bytes())).collect());
        }
        self.parse(json).map(|change| vec![Ok(change)])
    }
}

/// A text, or a whole number as it stands.
fn word(value: &str) -> Option<String> {
    if value.starts_with('"') {
        return serde_json::from_str(value).ok();
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Option<Version> {
        Version::new(text)
    }

    #[test]
    fn changes_are_read() {
        let key = |pushed| OriginChange::Key { key: b"k".to_vec(), pushed };
        let record = Record::new(br#"{ "n" : 1.50 }"#.to_vec());
        let rows = [
            (r#"{"op":"put","key":"k","record":{ "n" : 1.50 }}"#, key(Pushed::Put(record.clone()))),
            (
                r#"{"at":5,"op":"put","key":"k","record":{ "n" : 1.50 },"version":"\"r8\""}"#,
                key(Pushed::Put(record.version(version("\"r8\"").unwrap()))),
            ),
            (r#"{"op":"put","key":"k","version":8}"#, key(Pushed::Changed(version("8")))),
            (r#"{"op":"delete","key":"k"}"#, key(Pushed::Delete(None))),
            (r#"{"op":"delete","key":"k","version":""}"#, key(Pushed::Delete(None))),
            (r#"{"op":"invalidate","key":"k","version":null}"#, key(Pushed::Changed(None))),
            (r#"{"op":"invalidate","prefix":"a:"}"#, OriginChange::Prefix(b"a:".to_vec())),
            (r#" {"op":"reset"} "#, OriginChange::Reset),
        ];
        for (json, want) in rows {
            assert_eq!(ChangeForm::default().parse(json.as_bytes()), Ok(want), "{json}");
        }
        let number = ChangeForm::default().parse(br#"{"op":"delete","key":-7}"#).unwrap();
        assert_eq!(number, OriginChange::Key { key: b"-7".to_vec(), pushed: Pushed::Delete(None) });
    }

    #[test]
    fn what_is_no_change_is_refused_by_the_member_at_fault() {
        let rows = [
            ("[]", "no JSON object"),
            ("{", "no JSON object"),
            (r#"{"key":"k"}"#, "no op"),
            (r#"{"op":7.5}"#, "op is neither"),
            (r#"{"op":"upsert","key":"k"}"#, "\"upsert\""),
            (r#"{"op":"rename"}"#, "\"rename\""),
            (r#"{"op":"put"}"#, "no key"),
            (r#"{"op":"put","key":""}"#, "key is empty"),
            (r#"{"op":"put","key":{}}"#, "key is neither"),
            (r#"{"op":"put","key":"k","version":1.5}"#, "version is neither"),
            (r#"{"op":"delete","prefix":"a"}"#, "no key"),
            (r#"{"op":"invalidate","prefix":""}"#, "prefix is empty"),
        ];
        for (json, words) in rows {
            let error = ChangeForm::default().parse(json.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
        let long = format!(r#"{{"op":"put","key":"k","version":"{}"}}"#, "x".repeat(65_536));
        assert!(ChangeForm::default().parse(long.as_bytes()).unwrap_err().contains("65,535"));
    }

    #[test]
    fn names_and_versions_can_be_the_origins_own() {
        let form = ChangeForm {
            op: "type".to_owned(),
            key: "id".to_owned(),
            record: "item".to_owned(),
            version: "revision".to_owned(),
            version_as: "\"r{version}\"".to_owned(),
            ..ChangeForm::default()
        };
        let change = form.parse(br#"{"type":"put","id":7,"item":1,"revision":8}"#).unwrap();
        let record = Record::new(b"1".to_vec()).version(version("\"r8\"").unwrap());
        assert_eq!(change, OriginChange::Key { key: b"7".to_vec(), pushed: Pushed::Put(record) });
    }

    #[test]
    fn a_record_that_is_none_of_the_table_is_a_change_all_the_same() {
        let form = ChangeForm::default().checked(|key, _| Err(format!("{key:?} is none")));
        let change = form.parse(br#"{"op":"put","key":"k","record":1,"version":"8"}"#).unwrap();
        assert_eq!(change, OriginChange::Key { key: b"k".to_vec(), pushed: Pushed::Changed(None) });
    }

    #[test]
    fn an_array_is_read_change_by_change() {
        let read = ChangeForm::default().parse_all(br#" [{"op":"reset"}, 7, {"op":"delete","key":"k"}]"#).unwrap();
        assert_eq!((read.len(), read[0].clone()), (3, Ok(OriginChange::Reset)));
        assert!(read[1].is_err() && read[2].is_ok());
        assert_eq!(ChangeForm::default().parse_all(br#"{"op":"reset"}"#), Ok(vec![Ok(OriginChange::Reset)]));
        assert!(ChangeForm::default().parse_all(b"[7,").is_err());
        assert!(ChangeForm::default().parse_all(b"7").is_err());
    }
}
