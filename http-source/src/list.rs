//! Lists of records: how the answer of one is read, and the list that is asked for with a query of the program's.
//!
//! Owns where in an answer the records are, and what each tells of itself: for batches too. Invariant: what is wrong with one record of
//! a list is told of that one, and makes no other.

use std::collections::HashMap;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use ureq::Body;
use ureq::http::{Response, Uri, header};
use wtcache::{Failure, Lifetime, Record, SourceError, Version};

use crate::answer::{self, Unread};
use crate::attempt::Attempt;
use crate::builder::BuildError;
use crate::classify::{self, Got, Unanswered};
use crate::headers;
use crate::report;
use crate::shape;
use crate::source::{HttpSource, unanswered_for};
use crate::template::Template;

/// An origin that lists records by queries of its own: for [`HttpSourceBuilder::list`](crate::HttpSourceBuilder::list), asked with
/// [`HttpSource::list`].
///
/// Its answer is 200 with an array of records, each of which tells its key. What the headers of the answer say holds for its records as it
/// does with a [`BatchGet`](crate::BatchGet).
///
/// # Example
/// ```
/// use wtcache_http_source::{HttpSource, ListGet};
///
/// let source = HttpSource::builder("http://127.0.0.1:8080/items/{id}")
///     .list(ListGet::new("http://127.0.0.1:8080/items").records_at("/data").version_at("/etag"))
///     .build()?;
/// # drop(source);
/// # Ok::<(), wtcache_http_source::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ListGet {
    url: String,
    form: FormOptions,
    parts_by: Vec<String>,
}

impl ListGet {
    /// With the URL of the list, to which queries are added. Scheme, host and port are those of the record's URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), form: FormOptions::default(), parts_by: vec!["select".to_owned(), "fields".to_owned()] }
    }

    /// Where in the answer the array is, a JSON pointer. Default `""`: the answer is the array.
    pub fn records_at(mut self, pointer: impl Into<String>) -> Self {
        self.form.records_at = pointer.into();
        self
    }

    /// Where in a record its key is, a JSON pointer: a string, or a whole number as it is written. Default `/id`.
    pub fn key_at(mut self, pointer: impl Into<String>) -> Self {
        self.form.key_at = pointer.into();
        self
    }

    /// Where in a record its version is, a JSON pointer, as with [`BatchGet::version_at`](crate::BatchGet::version_at). Default: none has
    /// one.
    pub fn version_at(mut self, pointer: impl Into<String>) -> Self {
        self.form.version_at = Some(pointer.into());
        self
    }

    /// The largest answer in bytes. Default 16 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.form.body_limit = bytes;
        self
    }

    /// The parameters and calls of a query that may have the origin answer with parts of records: `select=…`, `select(…)`, `select[…]=…`. The records of
    /// such a list are [not kept](Lifetime::NotKept). Default `select` and `fields`.
    pub fn parts_by<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.parts_by = names.into_iter().map(Into::into).collect();
        self
    }
}

/// What an origin's list has: see [`HttpSource::list`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OriginList {
    /// The records, in the order of the answer, by their keys. No key is there twice.
    pub records: Vec<(Vec<u8>, Record<Vec<u8>>)>,
    /// Of each member of the answer that is not among the records, why: it is no record, tells no key, does not pass the check, or its key is there more
    /// than once.
    pub wrong: Vec<String>,
    /// The answer says in a `Link` that it is one page of several, and not the last.
    pub has_next_page: bool,
}

/// The options of a list, checked.
pub(crate) struct Listable {
    template: Template,
    form: ListForm,
    parts_by: Vec<String>,
}

impl Listable {
    /// `single`: the URL of one record.
    pub(crate) fn new(options: &ListGet, single: &Template) -> Result<Self, BuildError> {
        let refuse = |message: String| Err(BuildError::Option { option: "list.url", message });
        let template = match Template::whole(&options.url) {
            Ok(template) if template.is_same_origin(single) => template,
            Ok(_) => return refuse("it is of another scheme, host or port than the record's URL".into()),
            Err(why) => return refuse(why),
        };
        let names = FormNames {
            records_at: "list.records_at",
            key_at: "list.key_at",
            version_at: "list.version_at",
            body_limit: "list.body_limit",
        };
        let form = ListForm::new(&names, &options.form)?;
        Ok(Self { template, form, parts_by: options.parts_by.clone() })
    }

    /// The origin may answer with parts of records.
    fn may_be_of_parts(&self, query: &str) -> bool {
        query.split('&').any(|part| {
            let name = part.split(['=', '(', '[', '!']).next().unwrap_or_default();
            let name = percent_decode_str(name).decode_utf8_lossy();
            self.parts_by.iter().any(|word| *word == *name)
        })
    }

    fn uri(&self, query: &str) -> Result<Uri, SourceError> {
        let invalid = |why: String| SourceError::new(Failure::Invalid, why);
        if let Some((at, c)) = query.char_indices().find(|(_, c)| !c.is_ascii_graphic() || *c == '#') {
            return Err(invalid(format!("{c:?} at byte {at} of the query is not allowed; percent-encode it")));
        }
        if !self.template.has_room(query.len() + 1) {
            return Err(invalid(format!("a query of {} bytes is too long for a URL", query.len())));
        }
        self.template.with_query(query)
    }
}

/// What the options are called in errors.
pub(crate) struct FormNames {
    pub(crate) records_at: &'static str,
    pub(crate) key_at: &'static str,
    pub(crate) version_at: &'static str,
    pub(crate) body_limit: &'static str,
}

/// What is set of them, for a batch as for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormOptions {
    pub(crate) records_at: String,
    pub(crate) key_at: String,
    pub(crate) version_at: Option<String>,
    pub(crate) body_limit: usize,
}

impl Default for FormOptions {
    fn default() -> Self {
        Self { records_at: String::new(), key_at: "/id".to_owned(), version_at: None, body_limit: 16 * 1024 * 1024 }
    }
}

/// Where in the answer of a list its records are, and what they tell of themselves.
pub(crate) struct ListForm {
    records_at: Vec<String>,
    key_at: Vec<String>,
    version_at: Option<Vec<String>>,
    body_limit: usize,
}

impl ListForm {
    pub(crate) fn new(names: &FormNames, options: &FormOptions) -> Result<Self, BuildError> {
        let refuse = |option, message: &str| Err(BuildError::Option { option, message: message.into() });
        if options.body_limit == 0 {
            return refuse(names.body_limit, "no answer fits into 0 bytes");
        }
        let key_at = shape::parsed(names.key_at, &options.key_at)?;
        if key_at.is_empty() {
            return refuse(names.key_at, "a record is an object, and its key is in it");
        }
        Ok(Self {
            records_at: shape::parsed(names.records_at, &options.records_at)?,
            key_at,
            version_at: options.version_at.as_ref().map(|at| shape::parsed(names.version_at, at)).transpose()?,
            body_limit: options.body_limit,
        })
    }

    /// What stands in the array of records.
    pub(crate) fn members<'b>(&self, body: &'b [u8]) -> Result<Vec<&'b RawValue>, String> {
        let mut at: &RawValue = serde_json::from_slice(body).map_err(|e| format!("the answer is no JSON: {e}"))?;
        for member in &self.records_at {
            at = shape::member_of(at, member)
                .ok_or_else(|| format!("the answer has no {member:?} where the records should be"))?;
        }
        serde_json::from_str(at.get()).map_err(|_| "the answer has no array of records".to_owned())
    }

    pub(crate) fn key(&self, member: &RawValue) -> Option<String> {
        find(member, &self.key_at).and_then(key_text)
    }

    pub(crate) fn version(&self, record: &RawValue) -> Result<Option<Version>, String> {
        let Some(told) = self.version_at.as_ref().and_then(|at| find(record, at)) else { return Ok(None) };
        let text = match serde_json::from_str(told.get()) {
            Ok(serde_json::Value::Null) => return Ok(None),
            Ok(serde_json::Value::String(text)) => text,
            Ok(serde_json::Value::Number(_)) => told.get().to_owned(),
            _ => return Err("the record's version is neither text nor a number".to_owned()),
        };
        let quoted = text.strip_prefix("W/").unwrap_or(&text).starts_with('"');
        let tag = if quoted { text } else { format!("\"{text}\"") };
        let version = headers::is_version(tag.as_bytes()).then(|| Version::new(&tag)).flatten();
        version.map(Some).ok_or_else(|| "the record's version is no ETag".to_owned())
    }
}

pub(crate) fn find<'a>(record: &'a RawValue, path: &[String]) -> Option<&'a RawValue> {
    if !record.get().starts_with('{') {
        return None;
    }
    path.iter().try_fold(record, |at, member| shape::member_of(at, member))
}

/// A string, or a whole number as it is written.
pub(crate) fn key_text(told: &RawValue) -> Option<String> {
    match told.get().as_bytes() {
        [b'"', ..] => serde_json::from_str(told.get()).ok(),
        [b'-' | b'0'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit).then(|| told.get().to_owned()),
        _ => None,
    }
}

/// A list is not what it should be.
pub(crate) fn broken(why: impl std::fmt::Display) -> SourceError {
    SourceError::new(Failure::Broken, format!("GET of a list: {why}")).with_code(200)
}

/// The answer of a list, whole and not yet taken apart.
pub(crate) struct Answered {
    pub(crate) body: Vec<u8>,
    /// Of each record in it.
    pub(crate) lifetime: Lifetime,
    pub(crate) has_next_page: bool,
}

impl HttpSource {
    /// Asks the origin for its list, with this query as it stands in a URL, percent-encoded, without a question mark, and attempted as often as
    /// a load may be; for [`CacheOf::listing`](wtcache::CacheOf::listing). `left`: the time for it, at most the source's own.
    ///
    /// # Errors
    /// As of a load: any status but 200, 404 too; an answer that is no list; [`Failure::Invalid`] where the source was given no
    /// [`list`](crate::HttpSourceBuilder::list), or the query cannot stand in a URL.
    pub fn list(&self, query: &str, left: Duration) -> Result<OriginList, SourceError> {
        let Some(listable) = &self.listable else {
            return Err(SourceError::new(Failure::Invalid, "this source has no list that takes queries"));
        };
        let uri = listable.uri(query)?;
        let of_parts = listable.may_be_of_parts(query);
        let ask = |attempt: Attempt<'_>| {
            let mut answered = self.answered(&listable.form, &uri, attempt)?;
            if of_parts {
                answered.lifetime = Lifetime::NotKept;
            }
            self.listed_by_query(&listable.form, &answered).map_err(broken)
        };
        report::list(&self.exchanges.name, None, || self.attempted(left, ask)).map(|(list, _)| list)
    }

    fn listed_by_query(&self, form: &ListForm, answered: &Answered) -> Result<OriginList, String> {
        let members = form.members(&answered.body)?;
        let keys: Vec<Option<String>> = members.iter().map(|member| form.key(member)).collect();
        let mut times: HashMap<&str, usize> = HashMap::with_capacity(keys.len());
        keys.iter().flatten().for_each(|key| *times.entry(key).or_default() += 1);
        let mut list = OriginList { records: Vec::new(), wrong: Vec::new(), has_next_page: answered.has_next_page };
        for (number, (member, key)) in members.iter().zip(&keys).enumerate() {
            let read = || {
                let key = key.as_deref().filter(|key| !key.is_empty()).ok_or("it is no record with a key")?;
                if times.get(key).is_some_and(|times| *times > 1) {
                    return Err("the answer has more than one record of its key".to_owned());
                }
                let version = form.version(member)?;
                let value = (self.answers.check)(key.as_bytes(), member.get().as_bytes().to_vec())?;
                let record = Record::new(value).lifetime(answered.lifetime);
                let record = match version {
                    Some(version) => record.version(version),
                    None => record,
                };
                Ok((key.as_bytes().to_vec(), record))
            };
            match read() {
                Ok(record) => list.records.push(record),
                Err(why) => list.wrong.push(format!("number {number} of the answer: {why}")),
            }
        }
        Ok(list)
    }

    /// One attempt to get a list.
    pub(crate) fn answered(
        &self,
        form: &ListForm,
        uri: &Uri,
        mut attempt: Attempt<'_>,
    ) -> Result<Answered, SourceError> {
        let mut response = self.get_once(uri, &self.headers.bare(), &mut attempt)?;
        match classify::get(response.status().as_u16(), false) {
            Got::Found => {}
            Got::Error(failure) => return Err(answer::into_error(failure, "GET of a list", response)),
            Got::Absent | Got::Unchanged => {
                return Err(answer::into_error(Failure::Refused, "GET of a list", response));
            }
        }
        let limit = form.body_limit;
        let body = match answer::read_whole(&mut response, limit) {
            Ok(body) => body,
            Err(Unread::TooLarge) => {
                return Err(broken(format_args!("the answer is larger than the limit of {limit} bytes")));
            }
            Err(Unread::TooLargeDecoded) => {
                return Err(broken(format_args!("the answer is larger, decoded, than the limit of {limit} bytes")));
            }
            Err(Unread::Coded(why)) => return Err(broken(why)),
            Err(Unread::Broken(e)) => {
                let (Unanswered::NotSent(failure) | Unanswered::Sent(failure)) = attempt.unanswered();
                let why = unanswered_for(failure, &e);
                let why = format!("GET of a list: the answer was not received whole: {why}");
                return Err(SourceError::new(failure, why).with_code(200).with_cause(e));
            }
        };
        let asked = attempt.asked();
        // The check of records is the program's: it may ask this source for something.
        drop(attempt);
        let has_next_page = has_next_page(&response);
        // What the list as a whole was last modified says nothing of its records.
        response.headers_mut().remove(header::LAST_MODIFIED);
        Ok(Answered { body, lifetime: self.lifetime(response.headers(), asked), has_next_page })
    }
}

/// RFC 8288: the answer is one page of several.
fn has_next_page(response: &Response<Body>) -> bool {
    let links = response.headers().get_all(header::LINK).iter().filter_map(|link| link.to_str().ok());
    let parameters = links.flat_map(|link| link.split([';', ',']));
    parameters.filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}
