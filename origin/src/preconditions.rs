//! `If-Match` and `If-None-Match` (RFC 9110 §13.1).
//!
//! Owns: the parsing of their lists and the comparison. Never: looks up a record. Invariant: a header that cannot be read
//! is refused, never treated as absent: a condition that is dropped in silence is a lost update.

use crate::answer::Answer;
use crate::http::Head;
use crate::records::Stored;

/// Both headers of one request.
pub(crate) struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

enum Tags {
    Any,
    List(Vec<Tag>),
}

struct Tag {
    weak: bool,
    /// With its quotes.
    opaque: String,
}

impl Preconditions {
    /// Reads both, or refuses.
    pub(crate) fn of(head: &Head) -> Result<Self, Answer> {
        let read = |name: &str| match head.header(name) {
            None => Ok(None),
            Some(text) => tags(&text)
                .map(Some)
                .ok_or_else(|| Answer::error(400, format!("{name}: neither * nor a list of entity tags in quotes"))),
        };
        Ok(Self { if_match: read("If-Match")?, if_none_match: read("If-None-Match")? })
    }

    /// Whether `If-Match` lets the request through (strong comparison).
    pub(crate) fn matched(&self, current: Option<&Stored>) -> bool {
        match (&self.if_match, current) {
            (None, _) | (Some(Tags::Any), Some(_)) => true,
            (Some(_), None) => false,
            (Some(Tags::List(list)), Some(stored)) => list.iter().any(|tag| !tag.weak && tag.opaque == stored.etag()),
        }
    }

    /// Whether `If-None-Match` lets the request through (weak comparison).
    pub(crate) fn none_matched(&self, current: Option<&Stored>) -> bool {
        match (&self.if_none_match, current) {
            (None, _) | (_, None) => true,
            (Some(Tags::Any), Some(_)) => false,
            (Some(Tags::List(list)), Some(stored)) => list.iter().all(|tag| tag.opaque != stored.etag()),
        }
    }
}

/// `*`, or a list of `"…"` and `W/"…"`; a tag may have commas inside.
fn tags(text: &str) -> Option<Tags> {
    let mut rest = text.trim();
    if rest == "*" {
        return Some(Tags::Any);
    }
    let mut list = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return (!list.is_empty()).then_some(Tags::List(list));
        }
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let length = quoted.strip_prefix('"')?.find('"')? + 2;
        list.push(Tag { weak, opaque: quoted[..length].to_owned() });
        rest = quoted[length..].trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(if_match: Option<&str>, if_none_match: Option<&str>) -> Preconditions {
        Preconditions {
            if_match: if_match.map(|text| tags(text).unwrap()),
            if_none_match: if_none_match.map(|text| tags(text).unwrap()),
        }
    }

    #[test]
    fn if_match_compares_strongly_and_if_none_match_weakly() {
        let stored = Stored { json: String::new(), revision: 3 };
        for (list, strong, weak) in [
            ("\"r3\"", true, true),
            ("W/\"r3\"", false, true),
            ("\"a,b\" , ,\"r3\"", true, true),
            ("\"r2\", W/\"r4\"", false, false),
            ("*", true, true),
        ] {
            assert_eq!(conditions(Some(list), None).matched(Some(&stored)), strong, "{list}");
            assert_eq!(!conditions(None, Some(list)).none_matched(Some(&stored)), weak, "{list}");
            assert!(!conditions(Some(list), None).matched(None), "{list}");
            assert!(conditions(None, Some(list)).none_matched(None), "{list}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_is_none() {
        for broken in ["", ",", "r3", "\"r3", "\"r3\"\"r4\"", "*, \"r3\"", "w/\"r3\""] {
            assert!(tags(broken).is_none(), "{broken}");
        }
    }
}
