//! Records that the origin makes with a `POST`, and whose keys it names in its answer.
//!
//! Invariant: a key is taken from an answer only where all that the answer says of it agrees; else the record was made, and its key is unknown.

use serde_json::value::RawValue;
use ureq::Body;
use ureq::http::{HeaderMap, Method, Response, header};
use wtcache::{Bytes, Confirmed, CreateCx, Made, Outcome};

use crate::answer;
use crate::attempt::Attempt;
use crate::builder::BuildError;
use crate::classify::{self, Written};
use crate::list::{find, key_text};
use crate::retry;
use crate::shape;
use crate::source::{HttpSource, Sending, rejection};
use crate::template::Template;

/// An origin that makes records at a URL of their own, and names them: for
/// [`HttpSourceBuilder::create`](crate::HttpSourceBuilder::create).
///
/// A record is sent with `POST`. The key is where [`key_at`](Self::key_at) says in the record that the answer brings, or in its `Location`, as that is the
/// URL of a record, be it a relative one, with or without the query that all records' URLs have; where both are there, they name one key. A 2xx without a key that can be read is [`Made::KeyUnknown`]. Whether a status
/// says that a record was made is told as for a put: 202, 207, 303, 408 and 5xx leave that unknown.
///
/// # Example
/// ```
/// use wtcache_http_source::{CreatePost, HttpSource};
///
/// let source = HttpSource::builder("http://127.0.0.1:8080/items/{id}")
///     .create(CreatePost::new("http://127.0.0.1:8080/items"))
///     .build()?;
/// # drop(source);
/// # Ok::<(), wtcache_http_source::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct CreatePost {
    url: String,
    key_at: String,
}

impl CreatePost {
    /// With the URL that records are sent to. Scheme, host and port are those of the record's URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), key_at: "/id".to_owned() }
    }

    /// Where in a record its key is, a JSON pointer: a string, or a whole number as it is written. Default `/id`.
    pub fn key_at(mut self, pointer: impl Into<String>) -> Self {
        self.key_at = pointer.into();
        self
    }
}

/// The options of a create, checked.
pub(crate) struct Creates {
    template: Template,
    key_at: Vec<String>,
}

impl Creates {
    /// `single`: the URL of one record.
    pub(crate) fn new(options: &CreatePost, single: &Template) -> Result<Self, BuildError> {
        let refuse = |option, message: String| Err(BuildError::Option { option, message });
        let template = match Template::whole(&options.url) {
            Ok(template) if template.is_same_origin(single) => template,
            Ok(_) => return refuse("create.url", "it is of another scheme, host or port than the record's URL".into()),
            Err(why) => return refuse("create.url", why),
        };
        let key_at = shape::parsed("create.key_at", &options.key_at)?;
        if key_at.is_empty() {
            return refuse("create.key_at", "a record is an object, and its key is in it".into());
        }
        Ok(Self { template, key_at })
    }
}

impl HttpSource {
    /// Sends a record to where the origin makes them.
    pub(crate) fn post(&self, creates: &Creates, value: &[u8], cx: &CreateCx<'_>) -> Outcome<Made<Bytes>> {
        let body = self.answers.shape.put(value);
        let headers = self.keyed(self.headers.with_body(), cx.idempotency_key());
        let sending = Sending {
            method: Method::POST,
            request: creates.template.filled("").map(|uri| (uri, headers)),
            body: Some(&body),
            left: cx.remaining(),
            safe: retry::second_send_is_safe(&self.declared, None),
            leaves_stray: &|| cx.leaves_stray(),
        };
        let (response, attempt) = match self.send(sending) {
            Ok(answered) => answered,
            Err(outcome) => return outcome,
        };
        match classify::put(response.status().as_u16()) {
            Written::Applied(body) => Outcome::Applied(self.made(creates, body, response, attempt)),
            // There is no base that this could be stale of.
            Written::Rejected { .. } => Outcome::Rejected(rejection("POST", false, response)),
            Written::Unknown(failure) => Outcome::Unknown(answer::into_error(failure, "POST", response)),
        }
    }

    /// What an answer says of the record that was made.
    fn made(
        &self,
        creates: &Creates,
        body: classify::Body,
        mut response: Response<Body>,
        attempt: Attempt<'_>,
    ) -> Made<Bytes> {
        let read = match body {
            classify::Body::Record => answer::read_whole(&mut response, self.limits.body).ok(),
            classify::Body::None | classify::Body::Other => {
                answer::drain(&mut response);
                None
            }
        };
        let asked = attempt.asked();
        // The check is the program's: it may ask this source for something.
        drop(attempt);
        let headers = response.headers();
        let record =
            read.filter(|body| !body.is_empty()).and_then(|body| self.answers.shape.record(body).ok().flatten());
        let told = record.as_deref().and_then(|record| {
            let record: &RawValue = serde_json::from_slice(record).ok()?;
            find(record, &creates.key_at).and_then(key_text).map(String::into_bytes)
        });
        let key = match (told, self.located(creates, headers)) {
            (Some(told), Some(located)) if told != located => return Made::KeyUnknown,
            (Some(key), _) | (None, Some(key)) if !key.is_empty() => key,
            _ => return Made::KeyUnknown,
        };
        let checked = record.and_then(|record| (self.answers.check)(&key, record).ok());
        let confirmed = match checked {
            Some(value) => Confirmed::Record(self.record(value, headers, asked)),
            None => Confirmed::Unseen,
        };
        Made::Known { key: key.into(), confirmed }
    }

    /// The key that the answer's one Location is the URL of.
    fn located(&self, creates: &Creates, headers: &HeaderMap) -> Option<Vec<u8>> {
        let mut locations = headers.get_all(header::LOCATION).iter();
        let location = locations.next()?.to_str().ok()?;
        if locations.next().is_some() { None } else { self.template.key_of(location, &creates.template) }
    }
}
