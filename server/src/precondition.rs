//! If-Match and If-None-Match on a write (RFC 9110 §13): what must hold of the existing record for it to be sent.
//!
//! The tags that a client gives are those that the front shows, which need not be the origin's: see `etag.rs`. So lists of tags are
//! checked here, in the key's turn, and the cache passes on the version of the record that was found there. `*` is a word that the
//! cache has. Invariant: a condition that is not understood is refused, never passed over.

use axum::http::header::{GetAll, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use wtcache::{Bytes, Entry, Expect};

use crate::etag;
use crate::problem::{Problem, Refusal};

/// What a write's headers ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Precondition {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

#[derive(Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: those of any record.
    Any,
    These(Vec<Vec<u8>>),
}

impl Precondition {
    /// The conditions of a request.
    ///
    /// # Errors
    /// The problem for the client: a header is no list of tags.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let if_none_match = tags(headers, &IF_NONE_MATCH, "If-None-Match")?;
        Ok(Self { if_match: tags(headers, &IF_MATCH, "If-Match")?, if_none_match })
    }

    /// The condition on which a read is answered: its If-None-Match is no such, but decides between 200 and 304.
    ///
    /// # Errors
    /// As [`Precondition::of`].
    pub(crate) fn of_a_read(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self { if_match: tags(headers, &IF_MATCH, "If-Match")?, if_none_match: None })
    }

    /// Nothing is asked for.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The condition in the cache's words, where it has one for it: the origin is then asked for just that.
    pub(crate) fn expect(&self) -> Option<Expect> {
        match (&self.if_match, &self.if_none_match) {
            (Some(Tags::Any), None) => Some(Expect::Exists),
            (None, Some(Tags::Any)) => Some(Expect::Absent),
            _ => None,
        }
    }

    /// Whether it holds of the existing record.
    ///
    /// # Errors
    /// It does not; the refusal has the tag of the record that is there.
    pub(crate) fn check(&self, existing: Option<&Entry<Bytes>>) -> Result<(), Refusal> {
        let current = existing.map(etag::of);
        if self.holds(current.as_ref()) { Ok(()) } else { Err(Refusal::Unmet { current }) }
    }

    /// Whether it holds of the record with this tag, or of there being none.
    pub(crate) fn holds(&self, current: Option<&HeaderValue>) -> bool {
        let matched = match &self.if_match {
            None => true,
            Some(Tags::Any) => current.is_some(),
            Some(Tags::These(tags)) => {
                current.is_some_and(|current| tags.iter().any(|tag| etag::is_strongly(tag, current)))
            }
        };
        let none_matched = match &self.if_none_match {
            None => true,
            Some(Tags::Any) => current.is_none(),
            Some(Tags::These(tags)) => {
                !current.is_some_and(|current| tags.iter().any(|tag| etag::is_weakly(tag, current)))
            }
        };
        matched && none_matched
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName, shown: &str) -> Result<Option<Tags>, Problem> {
    let lines = headers.get_all(name);
    if lines.iter().next().is_none() {
        return Ok(None);
    }
    parse(lines).map(Some).ok_or_else(|| {
        let detail = format!("{shown} is * or a list of entity tags, each in double quotes");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// The tags of all lines of a header together; `None` where they are no list.
fn parse(lines: GetAll<'_, HeaderValue>) -> Option<Tags> {
    let tags: Vec<&[u8]> = lines.iter().flat_map(|line| etag::list(line.as_bytes())).collect();
    match tags.as_slice() {
        [] => None,
        [b"*"] => Some(Tags::Any),
        tags => {
            let owned = |tag: &&[u8]| etag::is_tag(tag).then(|| tag.to_vec());
            tags.iter().map(owned).collect::<Option<Vec<_>>>().map(Tags::These)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(HeaderName, &'static str)]) -> Option<Precondition> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        Precondition::of(&headers).ok()
    }

    #[track_caller]
    fn holds(lines: &[(HeaderName, &'static str)]) -> (bool, bool) {
        let condition = of(lines).unwrap();
        (condition.holds(Some(&HeaderValue::from_static("\"r1\""))), condition.holds(None))
    }

    #[test]
    fn p6_conditions_hold_as_the_rfc_says() {
        for (line, with_record, without) in [
            ("*", true, false),
            ("\"r1\"", true, false),
            ("\"r0\", \"r1\"", true, false),
            ("\"r0\"", false, false),
            ("W/\"r1\"", false, false),
            ("\"r0,\"r1\"", false, false),
        ] {
            if line == "\"r0,\"r1\"" {
                assert_eq!(of(&[(IF_MATCH, line)]), None, "{line}");
                continue;
            }
            assert_eq!(holds(&[(IF_MATCH, line)]), (with_record, without), "If-Match: {line}");
        }
        for (line, with_record, without) in [
            ("*", false, true),
            ("\"r1\"", false, true),
            ("\"r0\", \"r1\"", false, true),
            ("\"r0\"", true, true),
            ("W/\"r1\"", false, true),
        ] {
            assert_eq!(holds(&[(IF_NONE_MATCH, line)]), (with_record, without), "If-None-Match: {line}");
        }
        assert_eq!(holds(&[]), (true, true));
    }

    #[test]
    fn p6_lines_of_a_header_are_one_list_and_both_headers_must_hold() {
        assert_eq!(holds(&[(IF_MATCH, "\"r0\""), (IF_MATCH, "\"r1\"")]), (true, false));
        assert_eq!(holds(&[(IF_MATCH, "\"r1\""), (IF_NONE_MATCH, "\"r1\"")]), (false, false));
        assert_eq!(holds(&[(IF_MATCH, "\"r1\""), (IF_NONE_MATCH, "\"r0\"")]), (true, false));
        assert_eq!(holds(&[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")]), (false, false));
    }

    #[test]
    fn p6_what_is_no_list_of_tags_is_refused() {
        for line in
            ["", " , ", "r1", "\"r1", "r1\"", "\"r1\" \"r2\"", "*, \"r1\"", "\"r1\", *", "w/\"r1\"", "\"a b\"", "W/"]
        {
            for name in [IF_MATCH, IF_NONE_MATCH] {
                assert_eq!(of(&[(name.clone(), line)]), None, "{name}: {line}");
            }
        }
    }

    #[test]
    fn p6_stars_are_the_caches_own_conditions() {
        assert_eq!(of(&[(IF_MATCH, "*")]).unwrap().expect(), Some(Expect::Exists));
        assert_eq!(of(&[(IF_NONE_MATCH, "*")]).unwrap().expect(), Some(Expect::Absent));
        assert_eq!(of(&[(IF_MATCH, "\"r1\"")]).unwrap().expect(), None);
        assert!(of(&[]).unwrap().is_none());
        assert!(!of(&[(IF_MATCH, "*")]).unwrap().is_none());
    }
}
