//! The source: the three stories, from the call to what it proved.
//!
//! `get`, `put` and `delete` build a request, exchange it, and let `classify` say what the answer means; `retry` says
//! whether there is another attempt. Invariant: a write is sent again only where `retry` finds that safe, and the cache is
//! told of the send before that nobody answered.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use ureq::Body;
use ureq::http::{HeaderMap, HeaderName, Method, Response, Uri, header};
use wtcache::{
    Bytes, Confirmed, CreateCx, Declared, Failure, IdempotencyKey, Lifetime, LoadCx, LoadMany, Loaded, Made, Outcome,
    Record, Rejection, Source, SourceError, WriteCx,
};

use crate::answer::{self, Unread};
use crate::attempt::{Attempt, Traffic};
use crate::batch::Lists;
use crate::builder::HttpSourceBuilder;
use crate::call::Reuse;
use crate::classify::{self, Got, Unanswered, Written};
use crate::create::Creates;
use crate::exchange::Exchanges;
use crate::freshness::Policy;
use crate::headers::{self, Headers};
use crate::list::Listable;
use crate::report;
use crate::retry;
use crate::shape::Shape;
use crate::stats::SourceStats;
use crate::template::Template;
use crate::transport::Connections;

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
    pub(crate) exchanges: Arc<Exchanges>,
    pub(crate) template: Template,
    pub(crate) headers: Headers,
    pub(crate) connections: Arc<Connections>,
    pub(crate) limits: Limits,
    pub(crate) answers: Answers,
    pub(crate) declared: Declared,
    pub(crate) traffic: Traffic,
    /// How several records are asked for with one request.
    pub(crate) lists: Option<Lists>,
    /// Where the origin lists records by queries.
    pub(crate) listable: Option<Listable>,
    /// Where the origin makes records.
    pub(crate) creates: Option<Creates>,
    /// The name of the header with a write's key; `None` where writes carry none.
    pub(crate) idempotency_header: Option<HeaderName>,
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

    /// What it did so far, and what it is doing. A cache takes its source; to ask it later, give the cache an `Arc` of it.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use wtcache::ByteCache;
    /// use wtcache_http_source::{BreakerState, HttpSource};
    ///
    /// let source = Arc::new(HttpSource::builder("http://127.0.0.1:8080/items/{id}").build()?);
    /// let cache = ByteCache::builder(Arc::clone(&source)).build()?;
    /// assert_eq!(source.stats().breaker.map(|breaker| breaker.state), Some(BreakerState::Closed));
    /// # drop(cache);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> SourceStats {
        SourceStats {
            credentials_renewed: self.exchanges.credentials.renewed(),
            // Relaxed: counts for information.
            connections_made: self.connections.made.load(Ordering::Relaxed),
            connections: self.connections.open.load(Ordering::Relaxed),
            ..self.traffic.stats()
        }
    }

    /// How many requests were begun so far, with those that were sent again. An attempt is one, or two where a load met a kept
    /// connection that was dead.
    #[must_use]
    pub fn requests(&self) -> u64 {
        // Relaxed: a count for information.
        self.exchanges.requests.load(Ordering::Relaxed)
    }

    /// The URL of the record of `key`, as its requests have it.
    ///
    /// # Errors
    /// [`Failure::Invalid`]: no URL can carry the key, so that no request for it is ever sent.
    pub fn url_of(&self, key: &[u8]) -> Result<String, SourceError> {
        self.template.uri(key).map(|uri| uri.to_string())
    }

    /// `version`: of the record to be revalidated.
    pub(crate) fn load(
        &self,
        key: &[u8],
        version: Option<&[u8]>,
        left: Duration,
    ) -> Result<Loaded<Vec<u8>>, SourceError> {
        let uri = self.template.uri(key)?;
        let mut headers = self.headers.bare();
        let validator = headers::add_validator(&mut headers, version);
        let offered = version.filter(|_| validator);
        match self.attempted(left, |attempt| self.ask(key, &uri, &headers, offered, attempt))? {
            (Some(loaded), _) => Ok(loaded),
            // What is here is not what the origin has: the whole record is asked for.
            (None, left) => self.load(key, None, left),
        }
    }

    /// One attempt of a load after the other, until one succeeds or there is to be no further one; and what time is left then.
    pub(crate) fn attempted<T>(
        &self,
        left: Duration,
        mut once: impl FnMut(Attempt<'_>) -> Result<T, SourceError>,
    ) -> Result<(T, Duration), SourceError> {
        let mut attempts = self.traffic.attempts(left.min(self.limits.timeout), self.traffic.retries.loads)?;
        let mut attempt = attempts.begin(Reuse::Any, true)?;
        loop {
            let error = match once(attempt) {
                Ok(got) => return Ok((got, attempts.left())),
                Err(error) => error,
            };
            if !retry::of_load(&error) || !attempts.again(error.retry_after()) {
                return Err(error);
            }
            attempt = match attempts.begin(Reuse::Any, true) {
                Ok(attempt) => attempt,
                // What the origin did last says more than that it is not asked again.
                Err(_) => return Err(error),
            };
        }
    }

    /// One GET; once more on a new connection, where a kept one was dead.
    pub(crate) fn get_once(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        attempt: &mut Attempt<'_>,
    ) -> Result<Response<Body>, SourceError> {
        let mut answered = self.exchanges.run(Method::GET, uri, headers.clone(), ());
        if answered.is_err() && attempt.met_a_dead_connection() {
            attempt.anew();
            answered = self.exchanges.run(Method::GET, uri, headers.clone(), ());
        }
        let response = answered.map_err(|e| match attempt.unanswered() {
            Unanswered::NotSent(failure) | Unanswered::Sent(failure) => transport_error(failure, "GET", e),
        })?;
        attempt.answered(response.status().as_u16());
        Ok(response)
    }

    /// One attempt of a load. `offered`: the version that the headers offer. `None`: the origin confirmed another one.
    fn ask(
        &self,
        key: &[u8],
        uri: &Uri,
        headers: &HeaderMap,
        offered: Option<&[u8]>,
        mut attempt: Attempt<'_>,
    ) -> Result<Option<Loaded<Vec<u8>>>, SourceError> {
        let mut response = self.get_once(uri, headers, &mut attempt)?;
        let asked = attempt.asked();
        match classify::get(response.status().as_u16(), offered.is_some()) {
            Got::Found => self.found(key, &mut response, attempt).map(Some),
            Got::Absent => {
                answer::drain(&mut response);
                Ok(Some(absent(self.lifetime(response.headers(), asked))))
            }
            Got::Unchanged if headers::names_another(response.headers(), offered) => Ok(None),
            Got::Unchanged => {
                let is_constant = |name: &HeaderName| self.headers.is_constant(name);
                let lifetime = self.answers.policy.of_unchanged(response.headers(), asked, is_constant);
                Ok(Some(Loaded::Unchanged(lifetime)))
            }
            Got::Error(failure) => Err(answer::into_error(failure, "GET", response)),
        }
    }

    fn found(
        &self,
        key: &[u8],
        response: &mut Response<Body>,
        mut attempt: Attempt<'_>,
    ) -> Result<Loaded<Vec<u8>>, SourceError> {
        let status = i32::from(response.status().as_u16());
        let unusable = |failure, why: String| SourceError::new(failure, why).with_code(status);
        let body = match answer::read_whole(response, self.limits.body) {
            Ok(body) => body,
            Err(Unread::TooLarge) => {
                let why = format!("GET: the record is larger than the limit of {} bytes", self.limits.body);
                return Err(unusable(Failure::Broken, why));
            }
            Err(Unread::TooLargeDecoded) => {
                let limit = self.limits.body;
                let why = format!("GET: the record is compressed, and decoded larger than the limit of {limit} bytes");
                return Err(unusable(Failure::Broken, why));
            }
            Err(Unread::Coded(why)) => return Err(unusable(Failure::Broken, format!("GET: the record: {why}"))),
            Err(Unread::Broken(e)) => {
                let (Unanswered::NotSent(failure) | Unanswered::Sent(failure)) = attempt.unanswered();
                let why = unanswered_for(failure, &e);
                return Err(unusable(failure, format!("GET: the record was not received whole: {why}")).with_cause(e));
            }
        };
        let asked = attempt.asked();
        // The check is the program's: it may ask this source for something.
        drop(attempt);
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
    pub(crate) fn confirmed(
        &self,
        key: &[u8],
        body: classify::Body,
        mut response: Response<Body>,
        attempt: Attempt<'_>,
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
        let asked = attempt.asked();
        drop(attempt);
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

    /// Sends a write, as often as it may be. What comes back was answered; what nobody answered is an outcome already.
    pub(crate) fn send<T>(&self, sending: Sending<'_>) -> Result<(Response<Body>, Attempt<'_>), Outcome<T>> {
        let Sending { method, request, body, left, safe, leaves_stray } = sending;
        let not_sent = |error| Outcome::Rejected(Rejection::new(error));
        let left = left.min(self.limits.timeout);
        let mut attempts = self.traffic.attempts(left, self.traffic.retries.writes).map_err(not_sent)?;
        let (uri, headers) = request.map_err(not_sent)?;
        let name = method.to_string();
        let reuse = Reuse::IdleFor(self.limits.write_idle);
        let mut attempt = attempts.begin(reuse, safe).map_err(not_sent)?;
        loop {
            let answered = match body {
                Some(body) => self.exchanges.run(method.clone(), &uri, headers.clone(), body),
                None => self.exchanges.run(method.clone(), &uri, headers.clone(), ()),
            };
            let (unapplied, again) = match answered {
                Ok(response) => {
                    let status = response.status().as_u16();
                    attempt.answered(status);
                    if !attempts.may_go_on() || !retry::of_write(status, safe) {
                        return Ok((response, attempt));
                    }
                    (Unapplied::of(&name, response), true)
                }
                Err(e) => match attempt.unanswered() {
                    Unanswered::NotSent(failure) => {
                        let error = transport_error(failure, &format!("{name}, nothing was sent"), e);
                        (Unapplied::Rejected(Rejection::new(error)), true)
                    }
                    Unanswered::Sent(failure) => (Unapplied::Unknown(transport_error(failure, &name, e)), safe),
                },
            };
            drop(attempt);
            let next = (again && attempts.again(unapplied.error().retry_after())).then(|| attempts.begin(reuse, safe));
            let Some(Ok(next)) = next else { return Err(unapplied.into()) };
            attempt = next;
            if let Unapplied::Unknown(_) = unapplied {
                leaves_stray();
            }
        }
    }

    /// A write of the record of `key`, and everything of it that can be refused before it is sent.
    fn write<'a>(
        &self,
        method: Method,
        key: &[u8],
        body: Option<&'a [u8]>,
        (cx, leaves_stray): (&WriteCx<'_, Bytes>, &'a dyn Fn()),
    ) -> Sending<'a> {
        let request = self.template.uri(key).and_then(|uri| {
            let mut headers = if body.is_some() { self.headers.with_body() } else { self.headers.bare() };
            headers::add_condition(&mut headers, cx.condition())?;
            Ok((uri, self.keyed(headers, cx.idempotency_key())))
        });
        let safe = retry::second_send_is_safe(&self.declared, cx.condition());
        Sending { method, request, body, left: cx.remaining(), safe, leaves_stray }
    }

    /// With a write's key, where writes carry it.
    pub(crate) fn keyed(&self, mut headers: HeaderMap, key: IdempotencyKey) -> HeaderMap {
        if let Some(name) = &self.idempotency_header {
            headers::add_idempotency_key(&mut headers, name, key);
        }
        headers
    }

    pub(crate) fn record(&self, value: Vec<u8>, headers: &HeaderMap, asked: SystemTime) -> Record<Vec<u8>> {
        let record = Record::new(value).lifetime(self.lifetime(headers, asked));
        match headers::version(headers, self.answers.by_date) {
            Some(version) => record.version(version),
            None => record,
        }
    }

    pub(crate) fn lifetime(&self, headers: &HeaderMap, asked: SystemTime) -> Lifetime {
        self.answers.policy.lifetime(headers, asked, |name| self.headers.is_constant(name))
    }
}

impl Source<Bytes> for HttpSource {
    fn get(&self, key: &[u8], cx: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        report::load(&self.exchanges.name, || {
            let version = cx.replaced().and_then(|entry| entry.version());
            if let Some(lists) = self.lists.as_ref().filter(|lists| lists.takes(key))
                && let Some(gatherer) = &lists.gatherer
            {
                return self.gathered(lists, gatherer, key, version, cx.remaining());
            }
            self.load(key, version, cx.remaining())
        })
    }

    fn put(&self, key: &[u8], value: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        report::write(&self.exchanges.name, "PUT", || self.put_record(key, value, cx))
    }

    fn delete(&self, key: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<()> {
        report::write(&self.exchanges.name, "DELETE", || self.delete_record(key, cx))
    }

    fn create(&self, value: &[u8], cx: &CreateCx<'_>) -> Outcome<Made<Bytes>> {
        match &self.creates {
            Some(creates) => report::write(&self.exchanges.name, "POST", || self.post(creates, value, cx)),
            None => {
                let error =
                    SourceError::new(Failure::Invalid, "this source has no URL at which the origin makes records");
                Outcome::Rejected(Rejection::new(error))
            }
        }
    }

    fn load_many(&self) -> Option<&dyn LoadMany<Bytes>> {
        self.lists.as_ref().map(|_| self as &dyn LoadMany<Bytes>)
    }

    fn declared(&self) -> Declared {
        self.declared.clone()
    }
}

impl HttpSource {
    fn put_record(&self, key: &[u8], value: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        let body = self.answers.shape.put(value);
        let stray = || cx.leaves_stray();
        let (response, attempt) = match self.send(self.write(Method::PUT, key, Some(&body), (cx, &stray))) {
            Ok(answered) => answered,
            Err(outcome) => return outcome,
        };
        match classify::put(response.status().as_u16()) {
            Written::Applied(body) => Outcome::Applied(self.confirmed(key, body, response, attempt)),
            Written::Rejected { stale } => Outcome::Rejected(rejection("PUT", stale, response)),
            Written::Unknown(failure) => Outcome::Unknown(answer::into_error(failure, "PUT", response)),
        }
    }

    fn delete_record(&self, key: &[u8], cx: &WriteCx<'_, Bytes>) -> Outcome<()> {
        // The guard lives to the end: the answer's body is read within the call.
        let stray = || cx.leaves_stray();
        let (mut response, _attempt) = match self.send(self.write(Method::DELETE, key, None, (cx, &stray))) {
            Ok(answered) => answered,
            Err(outcome) => return outcome,
        };
        match classify::delete(response.status().as_u16(), cx.condition().is_some()) {
            Written::Applied(_) => {
                answer::drain(&mut response);
                Outcome::Applied(())
            }
            Written::Rejected { stale } => Outcome::Rejected(rejection("DELETE", stale, response)),
            Written::Unknown(failure) => Outcome::Unknown(answer::into_error(failure, "DELETE", response)),
        }
    }
}

/// An absence that is remembered as the origin says, if it does.
pub(crate) fn absent(lifetime: Lifetime) -> Loaded<Vec<u8>> {
    if lifetime == Lifetime::Default { Loaded::Absent } else { Loaded::AbsentFor(lifetime) }
}

/// A write on its way out.
pub(crate) struct Sending<'a> {
    pub(crate) method: Method,
    pub(crate) request: Result<(Uri, HeaderMap), SourceError>,
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) left: Duration,
    /// A second send is harmless.
    pub(crate) safe: bool,
    /// Tells the cache that an attempt may still land.
    pub(crate) leaves_stray: &'a dyn Fn(),
}

/// What became of an attempt of a write that another one may follow.
enum Unapplied {
    Rejected(Rejection),
    Unknown(SourceError),
}

impl Unapplied {
    /// Of an answer with a status that is worth another attempt. All writes have those in common.
    fn of(operation: &str, response: Response<Body>) -> Self {
        match classify::put(response.status().as_u16()) {
            Written::Rejected { stale } => Self::Rejected(rejection(operation, stale, response)),
            Written::Unknown(_) | Written::Applied(_) => {
                Self::Unknown(answer::into_error(Failure::Failed, operation, response))
            }
        }
    }

    fn error(&self) -> &SourceError {
        match self {
            Self::Rejected(rejection) => &rejection.error,
            Self::Unknown(error) => error,
        }
    }
}

impl<T> From<Unapplied> for Outcome<T> {
    fn from(unapplied: Unapplied) -> Self {
        match unapplied {
            Unapplied::Rejected(rejection) => Self::Rejected(rejection),
            Unapplied::Unknown(error) => Self::Unknown(error),
        }
    }
}

pub(crate) fn rejection(operation: &str, stale: bool, response: Response<Body>) -> Rejection {
    let status = response.status().as_u16();
    let throttled = response.headers().contains_key(header::RETRY_AFTER);
    let error = answer::into_error(Failure::Refused, operation, response);
    let rejection = if stale { Rejection::stale(error) } else { Rejection::new(error) };
    if classify::of_all_sends(status, throttled) { rejection.of_all_sends() } else { rejection }
}

fn transport_error(failure: Failure, what: &str, e: ureq::Error) -> SourceError {
    SourceError::new(failure, format!("{what}: {}", unanswered_for(failure, &e))).with_cause(e)
}

/// In words, why there is no whole answer. Of several timeouts the client names the one that the call's deadline is for it.
pub(crate) fn unanswered_for(failure: Failure, error: &dyn std::error::Error) -> String {
    match failure {
        Failure::TimedOut => "the deadline passed".to_owned(),
        _ => error.to_string(),
    }
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
