//! Where the record is in the body of an answer, and in that of a put.
//!
//! Most origins answer with the record itself. Others have it inside an object, at a JSON pointer (RFC 6901), or answer a query with an
//! array of the records that match. Invariant: the bytes of the record are taken as they stand in the answer; where there is more than
//! one, or none can be told, there is no record.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::builder::BuildError;

/// Where records are in bodies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// The members that lead to the record in an answer; none: the body is the record.
    path: Vec<String>,
    /// There, an array has the record as its one member.
    in_array: bool,
    /// What stands before and behind the record in a put.
    around: Option<(String, String)>,
}

/// As it was configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pointers {
    pub(crate) record_at: String,
    pub(crate) in_array: bool,
    pub(crate) put_at: String,
}

impl Shape {
    pub(crate) fn new(pointers: &Pointers) -> Result<Self, BuildError> {
        let path = parsed("record_at", &pointers.record_at)?;
        let put = parsed("put_at", &pointers.put_at)?;
        let around = (!put.is_empty()).then(|| {
            let name = |name: &String| serde_json::Value::from(name.as_str()).to_string();
            (put.iter().map(|member| format!("{{{}:", name(member))).collect(), "}".repeat(put.len()))
        });
        Ok(Self { path, in_array: pointers.in_array, around })
    }

    /// The record in the body of an answer; `None` where the array that it would be in is empty.
    pub(crate) fn record(&self, body: Vec<u8>) -> Result<Option<Vec<u8>>, String> {
        if self.path.is_empty() && !self.in_array {
            return Ok(Some(body));
        }
        let mut at: &RawValue = serde_json::from_slice(&body).map_err(|e| format!("the answer is no JSON: {e}"))?;
        for member in &self.path {
            at = member_of(at, member)
                .ok_or_else(|| format!("the answer has no {member:?} where the record should be"))?;
        }
        if self.in_array {
            let Ok(members) = serde_json::from_str::<Vec<&RawValue>>(at.get()) else {
                return Err("the answer is no array with the record in it".into());
            };
            at = match members[..] {
                [] => return Ok(None),
                [one] => one,
                _ => return Err(format!("the answer has {} records where there should be one", members.len())),
            };
        }
        if at.get() == "null" {
            return Err("the answer has null where the record should be".into());
        }
        Ok(Some(at.get().as_bytes().to_vec()))
    }

    /// The body that puts this record.
    pub(crate) fn put<'a>(&self, record: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.around {
            None => record.into(),
            Some((before, behind)) => [before.as_bytes(), record, behind.as_bytes()].concat().into(),
        }
    }
}

/// The member of an object, or of an array by its number.
pub(crate) fn member_of<'a>(at: &'a RawValue, member: &str) -> Option<&'a RawValue> {
    if at.get().starts_with('[') {
        let is_number = member == "0" || !member.starts_with('0') && member.bytes().all(|b| b.is_ascii_digit());
        let number: usize = member.parse().ok().filter(|_| is_number)?;
        return serde_json::from_str::<Vec<&RawValue>>(at.get()).ok()?.get(number).copied();
    }
    serde_json::from_str::<BTreeMap<String, &RawValue>>(at.get()).ok()?.get(member).copied()
}

/// The members that a JSON pointer names.
pub(crate) fn parsed(option: &'static str, pointer: &str) -> Result<Vec<String>, BuildError> {
    let refuse = |message: &str| BuildError::Option { option, message: format!("{pointer:?} {message}") };
    let Some(members) = pointer.strip_prefix('/') else {
        return if pointer.is_empty() {
            Ok(Vec::new())
        } else {
            Err(refuse("is no JSON pointer: it begins with a slash"))
        };
    };
    let unescaped = |member: &str| {
        let is_escape = |rest: &str| rest.starts_with(['0', '1']);
        if !member.split('~').skip(1).all(is_escape) {
            return Err(refuse("is no JSON pointer: ~ stands only in ~0, a tilde, and ~1, a slash"));
        }
        // In this order (RFC 6901, 4), so that ~01 is ~1.
        Ok(member.replace("~1", "/").replace("~0", "~"))
    };
    members.split('/').map(unescaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(record_at: &str, in_array: bool) -> Shape {
        let pointers = Pointers { record_at: record_at.into(), in_array, put_at: String::new() };
        Shape::new(&pointers).unwrap()
    }

    /// The document and the pointers of RFC 6901, 5; but for those to a value that is no record.
    #[test]
    fn pointers_lead_where_the_rfc_says() {
        let body =
            r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,"~1":9}"#;
        for (pointer, value) in [
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/foo/1", r#""baz""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
            ("/~01", "9"),
        ] {
            let record = shape(pointer, false).record(body.into()).unwrap().unwrap();
            assert_eq!(String::from_utf8(record).unwrap(), value, "{pointer}");
        }
        for pointer in ["/bar", "/foo/2", "/foo/-", "/foo/00", "/foo/+1", "/foo/", "/foo/0/0", "/a~1b/c", "//"] {
            assert!(shape(pointer, false).record(body.into()).is_err(), "{pointer}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for (record_at, put_at, option) in
            [("data", "", "record_at"), ("/a~2", "", "record_at"), ("/~", "", "record_at"), ("", "data", "put_at")]
        {
            let pointers = Pointers { record_at: record_at.into(), in_array: false, put_at: put_at.into() };
            match Shape::new(&pointers) {
                Err(BuildError::Option { option: named, .. }) => assert_eq!(named, option),
                other => panic!("{record_at} {put_at}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_bytes_of_a_record_are_taken_as_they_stand() {
        let record = r#"{ "n" : 1.10, "n2":12345678901234567890123 , "s":"é" }"#;
        assert_eq!(shape("", false).record(b"no json".to_vec()).unwrap().unwrap(), b"no json");
        let body = format!("{{\"data\": [ {record} ]}}");
        assert_eq!(shape("/data", true).record(body.into()).unwrap().unwrap(), record.as_bytes());
    }

    #[test]
    fn a_put_stands_where_it_is_to() {
        let pointers = Pointers { put_at: "/a~1\"/b".into(), ..Pointers::default() };
        assert_eq!(&*Shape::new(&pointers).unwrap().put(b"{}"), br#"{"a/\"":{"b":{}}}"#);
        assert_eq!(&*Shape::default().put(b"{}"), b"{}");
    }
}
