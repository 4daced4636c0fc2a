//! Answers that are no record: problem details (RFC 9457), and what errors of the cache become on the wire.
//!
//! Invariant: an answer to a write that did not end Applied says in `outcome` whether it was certainly not applied
//! ("rejected") or nobody can know ("in-doubt"; of a record that has no key, "unknown").

use std::error::Error;
use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, ETAG, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use wtcache::{Bytes, Failure, InDoubt, LoadError, NotSent, Rejection, SourceError, Version, WriteError};
use wtcache_http_source::{NotTried, OriginAnswer};

use crate::etag;
use crate::record::BodyError;

/// The header that says how a write ended, on answers whose body is the origin's own.
pub(crate) const OUTCOME: HeaderName = HeaderName::from_static("wtcache-outcome");

/// How long a doubt lasts yet, in milliseconds.
pub(crate) const SETTLES_IN: &str = "settles_in_ms";

/// As many characters are kept for who asks later of what the origin, or a source, said.
const MOST_WORDS: usize = 1024;

/// RFC 5789 §3.1.
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// What became of a write that was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Rejected,
    InDoubt,
    /// Of a transaction: nothing of it stands.
    RolledBack,
    /// Of a transaction: some of it stands.
    Partial,
    /// Of a record that was to be made: it has no key that could be in doubt.
    Unknown,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::InDoubt => "in-doubt",
            Self::RolledBack => "rolled-back",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
        }
    }
}

/// A problem to be told to the client.
#[derive(Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    outcome: Option<Outcome>,
    headers: Vec<(HeaderName, HeaderValue)>,
    more: Vec<(&'static str, Value)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), outcome: None, headers: Vec::new(), more: Vec::new() }
    }

    pub(crate) fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = Some(outcome);
        self
    }

    pub(crate) fn field(mut self, field: Option<&str>) -> Self {
        if let Some(field) = field {
            self.more.push(("field", field.into()));
        }
        self
    }

    /// Where in the query it is, counted in characters from 1.
    pub(crate) fn position(mut self, position: usize) -> Self {
        self.more.push(("position", position.into()));
        self
    }

    pub(crate) fn allow(self, methods: &'static str) -> Self {
        self.header(ALLOW, HeaderValue::from_static(methods))
    }

    pub(crate) fn accept_patch(self, kinds: &'static str) -> Self {
        self.header(ACCEPT_PATCH, HeaderValue::from_static(kinds))
    }

    /// The tag of the record that is there, or that there is none.
    fn current(mut self, tag: Option<HeaderValue>) -> Self {
        let shown = tag.as_ref().map(|tag| String::from_utf8_lossy(tag.as_bytes()).into_owned());
        self.more.push(("current_etag", shown.into()));
        match tag {
            Some(tag) => self.header(ETAG, tag),
            None => self,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// It is about a member of something larger: `field` and the detail say so.
    pub(crate) fn within(mut self, at: &str) -> Self {
        self.detail = format!("{at}: {}", self.detail);
        match self.more.iter_mut().find(|(name, _)| *name == "field") {
            Some((_, Value::String(field))) => *field = format!("{at}.{field}"),
            _ => self.more.push(("field", at.into())),
        }
        self
    }

    /// A further member.
    pub(crate) fn and(mut self, name: &'static str, value: Value) -> Self {
        self.more.push((name, value));
        self
    }

    /// The same without the tag of the one record that it met, for an answer about several.
    pub(crate) fn of_several(mut self) -> Self {
        self.headers.retain(|(name, _)| *name != ETAG);
        self
    }

    /// The same with another status.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn origin_status(mut self, code: Option<i32>) -> Self {
        if let Some(code) = code {
            self.more.push(("origin_status", code.into()));
        }
        self
    }

    /// Too much is being done here already.
    pub(crate) fn retry_in_a_second(self) -> Self {
        self.retry_after(Some(Duration::from_secs(1)))
    }

    fn retry_after(self, after: Option<Duration>) -> Self {
        match after {
            Some(after) => self.header(RETRY_AFTER, seconds(after)),
            None => self,
        }
    }

    /// What it says, as members of an object.
    pub(crate) fn members(&self) -> impl Iterator<Item = (String, Value)> {
        let outcome = self.outcome.map(|outcome| ("outcome", outcome.name().into()));
        let own = [("status", self.status.as_u16().into()), ("detail", self.detail.as_str().into())];
        own.into_iter().chain(outcome).chain(self.more.iter().cloned()).map(|(name, value)| (name.to_owned(), value))
    }

    pub(crate) fn response(self) -> Response<Body> {
        let mut body = Map::new();
        body.insert("type".to_owned(), "about:blank".into());
        body.insert("title".to_owned(), self.status.canonical_reason().unwrap_or("Error").into());
        body.extend(self.members());
        let mut response = Response::new(Body::from(json!(body).to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(outcome) = self.outcome {
            headers.insert(OUTCOME, HeaderValue::from_static(outcome.name()));
        }
        headers.extend(self.headers);
        response
    }
}

/// Whole seconds, rounded up: earlier would be too early.
fn seconds(after: Duration) -> HeaderValue {
    HeaderValue::from(after.as_secs() + u64::from(after.subsec_nanos() > 0))
}

/// The answer to a read that brought no record.
pub(crate) fn of_load(error: &LoadError) -> Response<Body> {
    match error {
        LoadError::Source(error) => of_source(error, None),
        other => load_problem(other).response(),
    }
}

fn load_problem(error: &LoadError) -> Problem {
    let status = match error {
        LoadError::Deadline => StatusCode::GATEWAY_TIMEOUT,
        LoadError::Closed | LoadError::Overloaded | LoadError::Contended => StatusCode::SERVICE_UNAVAILABLE,
        LoadError::KeyTooLong(_) => StatusCode::BAD_REQUEST,
        LoadError::Source(error) => return source_problem(error, None),
        _ => StatusCode::BAD_GATEWAY,
    };
    Problem::new(status, error.to_string())
}

/// The answer to a write that did not end Applied.
pub(crate) fn of_write(error: &WriteError<Bytes>) -> Response<Body> {
    match error {
        WriteError::Rejected(Rejection { error, .. }) if own_words(error).is_some() => {
            of_source(error, Some(Outcome::Rejected))
        }
        other => write_problem(other).response(),
    }
}

/// The same for who asks later: the status of that answer, and what it says; where the origin refused, in its own words.
pub(crate) fn told_later(error: &WriteError<Bytes>) -> Map<String, Value> {
    in_words(error).members().collect()
}

/// The same as a problem.
pub(crate) fn in_words(error: &WriteError<Bytes>) -> Problem {
    let mut problem = write_problem(error);
    if let WriteError::Rejected(Rejection { error, .. }) = error
        && let Some((status, answer)) = own_words(error)
    {
        problem.status = status;
        if !answer.body.is_empty() {
            problem.detail = String::from_utf8_lossy(&answer.body).into_owned();
        }
    }
    problem.detail = problem.detail.chars().take(MOST_WORDS).collect();
    problem
}

fn write_problem(error: &WriteError<Bytes>) -> Problem {
    match error {
        WriteError::Rejected(Rejection { error, .. }) => match Refusal::of(error) {
            Some(refusal) => refusal.problem().outcome(Outcome::Rejected),
            None => source_problem(error, Some(Outcome::Rejected)),
        },
        WriteError::NotSent(why) => not_sent(why).outcome(Outcome::Rejected),
        WriteError::Unmet(found) => unmet(found.existing.as_ref().map(etag::of)).outcome(Outcome::Rejected),
        WriteError::InDoubt(doubt) => in_doubt(doubt),
        other => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, other.to_string()),
    }
}

/// Why the front refused a write within its key's turn. Nothing was sent.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// The request's condition does not hold of the record with this tag, or of there being none.
    Unmet { current: Option<HeaderValue> },
    /// There is nothing to be patched.
    NoRecord,
    /// What comes of the patch is no record of the table.
    Invalid(BodyError),
    /// What comes of the patch has more bytes than the table takes.
    TooLarge { most: usize },
}

impl Refusal {
    /// The refusal behind an error of a write, if the front made it.
    pub(crate) fn of(error: &SourceError) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    fn problem(&self) -> Problem {
        match self {
            Self::Unmet { current } => unmet(current.clone()),
            Self::NoRecord => Problem::new(StatusCode::NOT_FOUND, self.to_string()),
            Self::Invalid(error) => {
                Problem::new(StatusCode::BAD_REQUEST, self.to_string()).field(error.field.as_deref())
            }
            Self::TooLarge { .. } => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, self.to_string()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmet { .. } => f.write_str("the condition does not hold"),
            Self::NoRecord => f.write_str("there is no record to be patched"),
            Self::Invalid(error) => error.fmt(f),
            Self::TooLarge { most } => {
                write!(f, "with the patch in it, the record is larger than the {most} bytes that the table takes")
            }
        }
    }
}

impl Error for Refusal {}

impl From<Refusal> for SourceError {
    fn from(refusal: Refusal) -> Self {
        Self::new(Failure::Invalid, refusal.to_string()).with_cause(refusal)
    }
}

pub(crate) fn unmet(current: Option<HeaderValue>) -> Problem {
    let detail = match &current {
        Some(tag) => {
            format!("the condition does not hold: the record has the ETag {}", String::from_utf8_lossy(tag.as_bytes()))
        }
        None => "the condition does not hold: there is no record".to_owned(),
    };
    Problem::new(StatusCode::PRECONDITION_FAILED, detail).current(current)
}

fn not_sent(why: &NotSent) -> Problem {
    let status = match why {
        NotSent::Deadline => StatusCode::GATEWAY_TIMEOUT,
        NotSent::KeyTooLong(_) => StatusCode::BAD_REQUEST,
        NotSent::ValueTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        NotSent::Reentrant | NotSent::Panicked(_) => StatusCode::INTERNAL_SERVER_ERROR,
        NotSent::Unread(error) => return load_problem(error),
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let retry_after = match why {
        NotSent::HeldBack { retry_after } => Some(*retry_after),
        _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(Duration::from_secs(1)),
        _ => None,
    };
    Problem::new(status, why.to_string()).retry_after(retry_after)
}

fn in_doubt(doubt: &InDoubt<Bytes>) -> Problem {
    let millis = u64::try_from(doubt.settles_in().as_millis()).unwrap_or(u64::MAX);
    unknown(doubt.cause()).and(SETTLES_IN, millis.into())
}

/// Nobody can know, and this is why.
pub(crate) fn unknown(cause: &SourceError) -> Problem {
    let status = match cause.failure() {
        Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    Problem::new(status, cause.message()).outcome(Outcome::InDoubt).origin_status(cause.code())
}

/// The origin's own refusal, which goes through with its status and message, unless it refused us rather than the client.
fn own_words(error: &SourceError) -> Option<(StatusCode, &OriginAnswer)> {
    let answer = error.source()?.downcast_ref::<OriginAnswer>()?;
    let status = StatusCode::from_u16(u16::try_from(error.code()?).ok()?).ok()?;
    let goes_through = status.is_client_error() && !refuses_us(status) && error.failure() == Failure::Refused;
    goes_through.then_some((status, answer))
}

fn of_source(error: &SourceError, outcome: Option<Outcome>) -> Response<Body> {
    let Some((status, answer)) = own_words(error) else { return source_problem(error, outcome).response() };
    let mut response = Response::new(Body::from(answer.body.clone()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(kind) = answer.content_type.as_deref().and_then(|kind| HeaderValue::from_str(kind).ok()) {
        headers.insert(CONTENT_TYPE, kind);
    }
    if let Some(outcome) = outcome {
        headers.insert(OUTCOME, HeaderValue::from_static(outcome.name()));
    }
    // Of the record that is there: with it, the client can make its next write conditional.
    let version =
        answer.version.as_ref().map(Version::as_bytes).filter(|tag| tag.starts_with(b"\"") && etag::is_tag(tag));
    if let (StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED, Some(tag)) = (status, version)
        && let Ok(tag) = HeaderValue::from_bytes(tag)
    {
        headers.insert(ETAG, tag);
    }
    if let Some(after) = error.retry_after() {
        headers.insert(RETRY_AFTER, seconds(after));
    }
    response
}

/// Statuses by which an origin refuses the credentials that this server sent, not the client's.
fn refuses_us(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
}

/// The origin was not asked: too much waits for it, or it failed too often.
fn was_not_tried(error: &SourceError) -> bool {
    error.source().is_some_and(|cause| cause.is::<NotTried>())
}

fn source_problem(error: &SourceError, outcome: Option<Outcome>) -> Problem {
    let status = match error.failure() {
        _ if was_not_tried(error) => StatusCode::SERVICE_UNAVAILABLE,
        Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        Failure::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::BAD_GATEWAY,
    };
    // Where this server is the one that refuses, it says when to come again, as for all that waits here.
    let retry_after =
        error.retry_after().or_else(|| (status == StatusCode::SERVICE_UNAVAILABLE).then_some(Duration::from_secs(1)));
    let field = error.source().and_then(|cause| cause.downcast_ref::<BodyError>());
    let problem = Problem::new(status, error.message())
        .origin_status(error.code())
        .retry_after(retry_after)
        .field(field.and_then(|error| error.field.as_deref()));
    match outcome {
        Some(outcome) => problem.outcome(outcome),
        None => problem,
    }
}
