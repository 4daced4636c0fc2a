//! The source: the three stories, from the call to what it proved.
//!
//! `get`, `put` and `delete` build a request, exchange it, and let `classify` say what the answer means.
//! Invariant: a write is sent once. Only a load is sent again, once, where a pooled connection turned out to be dead.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ureq::http::{HeaderMap, HeaderName, Method, Request, Response, Uri, header};
use ureq::{Agent, AsSendBody, Body};
use wtcache::{
    Bytes, Condition, Confirmed, Declared, Failure, IdempotencyKey, Lifetime, LoadCx, Loaded, Outcome, Record,
    Rejection, Source, SourceError, WriteCx,
};

use crate::answer::{self, Unread};
use crate::builder::HttpSourceBuilder;
use crate::call::{Call, Reuse};
use crate::classify::{self, Got, Unanswered, Written};
use crate::freshness::Policy;
use crate::headers::{self, Headers};
use crate::shape::Shape;
use crate::template::Template;

pub(crate) type RecordCheck = dyn Fn(&[u8], Vec<u8>) -> Result<Vec<u8>, String> + Send + Sync;

/// A source of byte records over HTTP/1.1.
///
/// | | Applied / found | Rejected / absent | Unknown / error |
/// |---|---|---|---|
/// | `get` | 200, 304 | 404, 410 (absent) | all else |
/// | `put` | 2xx | 3xx, 4xx; stale base: 404, 409, 410, 412 | 202, 207, 303, 408, 5xx, no answer |
/// | `delete` | 2xx; 404, 410 if unconditional | 3xx, 4xx; stale base: 409, 412; 404, 410 if conditional | 202, 207, 303, 408, 5xx, no answer |
///
/// A write without an answer is rejected where not one byte of it was offered to the wire. The error of an answer has
/// its status as [`code`](SourceError::code) and an [`OriginAnswer`](crate::OriginAnswer) as its cause.
pub struct HttpSource {
    agent: Agent,
    template: Template,
    headers: Headers,
    limits: Limits,
    answers: Answers,
    declared: Declared,
    requests: AtomicU64,
}

/// How answers are read.
pub(crate) struct Answers {
    pub(crate) policy: Policy,
    pub(crate) shape: Shape,
    /// A Last-Modified is a version.
    pub(crate) by_date: bool,
    pub(crate) check: Arc<RecordCheck>,
}

/// The bounds of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) timeout: Duration,
    /// Bytes of a record.
    pub(crate) body: usize,
    /// Idle age from which on a connection takes no write.
    pub(crate) write_idle: Duration,
}

impl HttpSource {
    /// The options of a source for the records at `url_template`: an absolute http or https URL with `{id}` once in its
    /// path or query, such as `http://host:8080/items/{id}` or `http://host/items?id=eq.{id}`. The key takes that place, percent-encoded.
    pub fn builder(url_template: impl Into<String>) -> HttpSourceBuilder {
        HttpSourceBuilder::new(url_template.into())
    }

    /// How many requests were begun so far, with the loads that were sent again.
    #[must_use]
    pub fn requests(&self) -> u64 {
        // Relaxed: a count for information.
        self.requests.load(Ordering::Relaxed)
    }

    /// The URL of the record of `key`, as its requests have it.
    ///
    /// # Errors
    /// [`Failure::Invalid`]: no URL can carry the key, so that no request for it is ever sent.
    pub fn url_of(&self, key: &[u8]) -> Result<String, SourceError> {
        self.template.uri(key).map(|uri| uri.to_string())
    }

    pub(crate) fn new(
        agent: Agent,
        template: Template,
        headers: Headers,
        limits: Limits,
        answers: Answers,
        declared: Declared,
    ) -> Self {
        Self { agent, template, headers, limits, answers, declared, requests: AtomicU64::new(0) }
    }

    /// `version`: of the record to be revalidated.
    pub(crate) fn load(
        &self,
        key: &[u8],
        version: Option<&[u8]>,
        left: Duration,
    ) -> Result<Loaded<Vec<u8>>, SourceError> {
        let deadline = self.deadline(left)?;
        let uri = self.template.uri(key)?;
        let asked = SystemTime::now();
        let mut headers = self.headers.bare();
        let validator = headers::add_validator(&mut headers, version);

        let mut call = Call::begin(deadline, Reuse::Any);
        let mut answered = self.exchange(Method::GET, &uri, headers.clone(), ());
        let seen = call.seen();
        if answered.is_err() && seen.reused && !seen.answered && Instant::now() < deadline {
            drop(call);
            call = Call::begin(deadline, Reuse::Never);
            answered = self.exchange(Method::GET, &uri, headers, ());
        }
        let mut response = answered.map_err(|e| match unanswered(&call) {
            Unanswered::NotSent(failure) | Unanswered::Sent(failure) => transport_error(failure, "GET", e),
        })?;

        match classify::get(response.status().as_u16(), validator) {
            Got::Found => self.found(key, &mut response, call, asked),
            Got::Absent => {
                answer::drain(&mut response);
                Ok(absent(self.lifetime(response.headers(), asked)))
            }
            Got::Unchanged if headers::names_another(response.headers(), version) => {
                drop(call);
                // What is here is not what the origin has: the whole record is asked for.
                self.load(key, None, deadline.saturating_duration_since(Instant::now()))
            }
            Got::Unchanged => {
                let is_constant = |name: &HeaderName| self.headers.is_constant(name);
                Ok(Loaded::Unchanged(self.answers.policy.of_unchanged(response.headers(), asked, is_constant)))
            }
            Got::Error(failure) => Err(answer::into_error(failure, "GET", response)),
        }
    }

    fn found(
        &self,
        key: &[u8],
        response: &mut Response<Body>,
        call: Call,
        asked: SystemTime,
    ) -> Result<Loaded<Vec<u8>>, SourceError> {
        let status = i32::from(response.status().as_u16());
        let unusable = |failure, why: String| SourceError::new(failure, why).with_code(status);
        let body = match answer::read_whole(response, self.limits.body) {
            Ok(body) => body,
            Err(Unread::TooLarge) => {
                let why = format!("GET: the record is larger than the limit of {} bytes", self.limits.body);
                return Err(unusable(Failure::Broken, why));
            }
            Err(Unread::Coded) => {
                return Err(unusable(
                    Failure::Broken,
                    "GET: the record has a content coding, and none was asked for".into(),
                ));
            }
            Err(Unread::Broken(e)) => {
                let (Unanswered::NotSent(failure) | Unanswered::Sent(failure)) = unanswered(&call);
                return Err(unusable(failure, format!("GET: the record was not received whole: {e}")).with_cause(e));
            }
        };
        drop(call);
        let checked = match self.answers.shape.record(body) {
            Ok(Some(record)) => (self.answers.check)(key, record),
            Ok(None) => return Ok(absent(self.lifetime(response.headers(), asked))),
            Err(why) => Err(why),
        };
        match checked {
            Ok(value) => Ok(Loaded::Found(self.record(value, response.headers(), asked))),
            Err(why) => Err(unusable(Failure::Broken, format!("GET: the answer is no record: {why}"))),
        }
    }

    /// What the origin confirmed of a put that it applied.
    fn confirmed(
        &self,
        key: &[u8],
        body: classify::Body,
        mut response: Response<Body>,
        call: Call,
        asked: SystemTime,
    ) -> Confirmed<Vec<u8>> {
        let value = match body {
            classify::Body::Record => answer::read_whole(&mut response, self.limits.body).ok(),
            classify::Body::None => {
                answer::drain(&mut response);
                Some(Vec::new())
            }
            classify::Body::Other => {
                answer::drain(&mut response);
                None
            }
        };
        drop(call);
        let headers = response.headers();
        match value {
            None => Confirmed::Unseen,
            Some(value) if value.is_empty() => {
                if self.declared.stores_verbatim {
                    let version = headers::version(headers, self.answers.by_date);
                    Confirmed::AsSent { version, lifetime: self.lifetime(headers, asked) }
                } else {
                    Confirmed::Unseen
                }
            }
            Some(value) => match self.answers.shape.record(value) {
                Ok(Some(record)) => match (self.answers.check)(key, record) {
                    Ok(value) => Confirmed::Record(self.record(value, headers, asked)),
                    Err(_) => Confirmed::Unseen,
                },
                Ok(None) | Err(_) => Confirmed::Unseen,
            },
        }
    }

    /// Sends a write once. What comes back was answered; what nobody answered is an outcome already.
    fn send<T>(
        &self,
        method: Method,
        key: &[u8],
        body: Option<&[u8]>,
        write: Write<'_>,
    ) -> Result<(Response<Body>, Call), Outcome<T>> {
        let (request, deadline) = match self.prepare(key, body, &write) {
            Ok(prepared) => prepared,
            Err(error) => return Err(Outcome::Rejected(Rejection::new(error))),
        };
        let (uri, headers) = request;
        let name = method.to_string();
        let call = Call::begin(deadline, Reuse::IdleFor(self.limits.write_idle));
        let answered = match body {
            Some(body) => self.exchange(method, &uri, headers, body),
            None => self.exchange(method, &uri, headers, ()),
        };
        match answered {
            Ok(response) => Ok((response, call)),
            Err(e) => Err(match unanswered(&call) {
                Unanswered::NotSent(failure) => {
                    Outcome::Rejected(Rejection::new(transport_error(failure, &format!("{name}, nothing was sent"), e)))
                }
                Unanswered::Sent(failure) => Outcome::Unknown(transport_error(failure, &name, e)),
            }),
        }
    }

    /// Everything of a write that can be refused before it is sent.
    fn prepare(
        &self,
        key: &[u8],
        body: Option<&[u8]>,
        write: &Write<'_>,
    ) -> Result<((Uri, HeaderMap), Instant), SourceError> {
        let deadline = self.deadline(write.left)?;
        let uri = self.template.uri(key)?;
        let mut headers = if body.is_some() { self.headers.with_body() } else { self.headers.bare() };
        headers::add_condition(&mut headers, write.condition)?;
        if self.declared.honours_idempotency {
            headers::add_idempotency_key(&mut headers, write.idempotency_key);
        }
        Ok(((uri, headers), deadline))
    }

    /// One request, one answer, in this thread and in the innermost call.
    fn exchange(
        &self,
        method: Method,
        uri: &Uri,
        headers: HeaderMap,
        body: impl AsSendBody,
    ) -> Result<Response<Body>, ureq::Error> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        self.agent.run(request)
    }

    /// The deadline of a call that has `left` to go.
    fn deadline(&self, left: Duration) -> Result<Instant, SourceError> {
        if left.is_zero() {
            return Err(SourceError::new(Failure::TimedOut, "the deadline had passed before anything was sent"));
        }
        Ok(Instant::now() + left.min(self.limits.timeout))
    }

    fn record(&self, value: Vec<u8>, headers: &HeaderMap, asked: SystemTime) -> Record<Vec<u8>> {
        let record = Record::new(value).lifetime(self.lifetime(headers, asked));
        match headers::version(headers, self.answers.by_date) {
            Some(version) => record.version(version),
            None => record,
        }
    }

    fn lifetime(&self, headers: &HeaderMap, asked: SystemTime) -> Lifetime {
        self.answers.policy.lifetime(headers, asked, |name| self.headers.is_constant(name))
    }
}

/// What a write's context says.
struct Write<'a> {
    left: Duration,
    condition: Option<&'a Condition>,
    idempotency_key: IdempotencyKey,
}

impl<'a> Write<'a> {
    fn of(cx: &'a WriteCx<'_, Bytes>) -> Self {
        Self { left: cx.remaining(), condition: cx.condition(), idempotency_key: cx.idempotency_key() }
    }
}

impl Source<Bytes> for HttpSource {
    fn get(&self, key: &[u8], cx: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        self.load(key, cx.replaced().and_then(|entry| entry.version()), cx.remaining())
    }

    fn put(&self, key: &[u8], value: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        let asked = SystemTime::now();
        let body = self.answers.shape.put(value);
        let (response, call) = match self.send(Method::PUT, key, Some(&body), Write::of(cx)) {
            Ok(answered) => answered,
            Err(outcome) => return outcome,
        };
        match classify::put(response.status().as_u16()) {
            Written::Applied(body) => Outcome::Applied(self.confirmed(key, body, response, call, asked)),
            Written::Rejected { stale } => rejected("PUT", stale, response),
            Written::Unknown(failure) => Outcome::Unknown(answer::into_error(failure, "PUT", response)),
        }
    }

    fn delete(&self, key: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<()> {
        // The guard lives to the end: the answer's body is read within the call.
        let (mut response, _call) = match self.send(Method::DELETE, key, None, Write::of(cx)) {
            Ok(answered) => answered,
            Err(outcome) => return outcome,
        };
        match classify::delete(response.status().as_u16(), cx.condition().is_some()) {
            Written::Applied(_) => {
                answer::drain(&mut response);
                Outcome::Applied(())
            }
            Written::Rejected { stale } => rejected("DELETE", stale, response),
            Written::Unknown(failure) => Outcome::Unknown(answer::into_error(failure, "DELETE", response)),
        }
    }

    fn declared(&self) -> Declared {
        self.declared.clone()
    }
}

/// An absence that is remembered as the origin says, if it does.
fn absent(lifetime: Lifetime) -> Loaded<Vec<u8>> {
    if lifetime == Lifetime::Default { Loaded::Absent } else { Loaded::AbsentFor(lifetime) }
}

fn rejected<T>(operation: &str, stale: bool, response: Response<Body>) -> Outcome<T> {
    let status = response.status().as_u16();
    let throttled = response.headers().contains_key(header::RETRY_AFTER);
    let error = answer::into_error(Failure::Refused, operation, response);
    let rejection = if stale { Rejection::stale(error) } else { Rejection::new(error) };
    Outcome::Rejected(if classify::of_all_sends(status, throttled) { rejection.of_all_sends() } else { rejection })
}

/// What the transport's count proves of a call without a whole answer.
fn unanswered(call: &Call) -> Unanswered {
    let seen = call.seen();
    classify::unanswered(seen.offered, Instant::now() >= seen.deadline)
}

fn transport_error(failure: Failure, what: &str, e: ureq::Error) -> SourceError {
    SourceError::new(failure, format!("{what}: {e}")).with_cause(e)
}

impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource")
            .field("origin", &self.template)
            .field("limits", &self.limits)
            .field("policy", &self.answers.policy)
            .field("declared", &self.declared)
            .finish_non_exhaustive()
    }
}
