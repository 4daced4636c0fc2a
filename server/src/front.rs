//! The REST front: from a request to an operation on a table's cache, and back.
//!
//! `GET` and `HEAD` on `/{Table}/{key}`, with its writes in `write.rs`; `POST` on `/{Table}/` (`create.rs`); `GET` on `/{Table}/?attribute=value` (`query.rs`); what lies
//! below `/-/` (`own.rs`). Invariant: what is wrong with a request is
//! said before the origin is called; every answer carries Cache-Status; what the origin has not confirmed is marked as such.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{HOST, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use wtcache::{ByteCache, CloseReport};
use wtcache_http_source::TraceContext;

use crate::access::{self, Access, Route};
use crate::answer::{Answer, no_content};
use crate::asked::Asked;
use crate::asker;
use crate::auth::{Auth, Who};
use crate::config::{AccessLog, AuthConfig, Limits, LogFormat, TelemetryConfig, TlsConfig};
use crate::connections::Connections;
use crate::format::Door;
use crate::incoming::Incoming;
use crate::latency::Latency;
use crate::own::{self, Side};
use crate::precondition::Precondition;
use crate::problem::{Outcome, Problem};
use crate::query::OfRecord;
use crate::record::check_key;
use crate::served::Served;
use crate::table::ServedTable;
use crate::telemetry::Telemetry;
use crate::tellers::{Tellers, Telling};
use crate::tls::{NewPair, Tls};
use crate::turnstile::Barred;
use crate::{create, foreign, query, read, trace, write};

const RECORD_METHODS: &str = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS";
const TABLE_METHODS: &str = "GET, HEAD, OPTIONS";
const CREATING_METHODS: &str = "GET, HEAD, POST, OPTIONS";
const EVERY_METHOD: &str = "GET, HEAD, PUT, PATCH, DELETE, POST, OPTIONS";

/// What one request came to, for whoever looks on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Seen {
    /// The request's method.
    pub method: Method,
    /// Its path and query, as sent.
    pub target: String,
    /// Where the answer came from: `hit`, `loaded`, `written`, `pending`, `deleted`, `rejected`, `in doubt` …
    pub what: &'static str,
    /// The answer's status.
    pub status: StatusCode,
    /// Who asked, where that is known.
    pub principal: Option<Arc<str>>,
    /// From the request's head to the answer's.
    pub elapsed: Duration,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.elapsed.as_secs_f64() * 1e3;
        let target: String = self.target.chars().take(80).collect();
        write!(f, "{:6} {target:40} {:9} {}  {millis:8.2} ms", self.method.as_str(), self.what, self.status.as_u16())
    }
}

type Observer = Box<dyn Fn(&Seen) + Send + Sync>;

/// The tables that are served, and the way to them.
///
/// # Example
/// See `examples/quantity_rule.rs`: a front with a rule of the program's own inside each write.
#[derive(Default)]
pub struct Front {
    /// What requests that begin now go by.
    served: RwLock<Arc<Served>>,
    observer: Option<Observer>,
    /// What its connections speak TLS with.
    tls: Option<Tls>,
    /// Of the requests that are no table's.
    others: Latency,
    connections: Connections,
    tellers: Tellers,
    /// It was asked to end.
    ending: watch::Sender<bool>,
    /// Tables that are served no more, and not closed yet.
    leaving: Mutex<Vec<ServedTable>>,
}

impl Front {
    /// A front without tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `table` under its name. A table of the same name is replaced.
    #[must_use]
    pub fn table(mut self, table: ServedTable) -> Self {
        self.own().tables.insert(table.schema.name.clone(), table);
        self
    }

    /// Calls `observer` after each request, in the task that answers it: it must not block.
    #[must_use]
    pub fn observer(mut self, observer: impl Fn(&Seen) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Bounds what clients may ask of it at once, and how long they may take; by default by [`Limits::default`].
    #[must_use]
    pub fn limits_of(mut self, limits: Limits) -> Self {
        self.own().limits = limits;
        self
    }

    /// Compresses answers to reads of so many bytes for clients that take it; by default none.
    #[must_use]
    pub fn compress(mut self, least: Option<usize>) -> Self {
        self.own().compress = least;
        self
    }

    /// Asks who comes who he is, and lets him do what is configured.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn auth(mut self, config: &AuthConfig) -> Result<Self, String> {
        self.own().auth = Some(Auth::new(config)?);
        Ok(self)
    }

    /// Speaks TLS, and nothing else, with this certificate.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be; the message names it.
    pub fn tls(mut self, config: &TlsConfig) -> Result<Self, String> {
        self.tls = Some(Tls::load(config)?);
        Ok(self)
    }

    /// Writes a line of this shape for each request that it answers.
    ///
    /// # Errors
    /// The file cannot be opened; the message names it.
    pub fn access_log(mut self, config: &AccessLog, format: LogFormat) -> Result<Self, String> {
        self.tellers.access = Some(Access::open(config, format)?);
        Ok(self)
    }

    /// Opens the file of the access log anew by its name, before the next line: the old one was moved away. Where it cannot be opened, the old one is
    /// written to.
    pub fn reopen_access_log(&self) {
        if let Some(access) = &self.tellers.access {
            access.lines().reopen();
        }
    }

    /// Sends traces of its requests to a collector.
    ///
    /// # Errors
    /// A header's value cannot be read, or there is no thread to be had; the message says which.
    pub fn telemetry(mut self, config: &TelemetryConfig) -> Result<Self, String> {
        self.tellers.telemetry = Some(Telemetry::start(config)?);
        Ok(self)
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Before it is shared.
    fn own(&mut self) -> &mut Served {
        Arc::make_mut(self.served.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a request that begins now goes by, to its end.
    pub(crate) fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves by this from now on, and not by what it gives, to requests that begin. The tables in `leaving` are in it no more, and are closed with
    /// the front unless they are [`parted`](Self::parted) from before.
    ///
    /// # Errors
    /// The front was asked to end: all is as before.
    pub(crate) fn serves(&self, served: Served, leaving: &[ServedTable]) -> Result<Arc<Served>, Ending> {
        // Before the end looks at what is to be closed, or after it was asked for.
        let mut now = self.served.write().unwrap_or_else(PoisonError::into_inner);
        if self.is_ending() {
            return Err(Ending);
        }
        self.leaving().extend_from_slice(leaving);
        Ok(std::mem::replace(&mut now, Arc::new(served)))
    }

    /// These were closed.
    pub(crate) fn parted(&self, tables: &[ServedTable]) {
        self.leaving().retain(|table| !tables.iter().any(|closed| Arc::ptr_eq(&closed.turnstile, &table.turnstile)));
    }

    fn leaving(&self) -> MutexGuard<'_, Vec<ServedTable>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes another certificate, where it speaks TLS.
    pub(crate) fn renews(&self, pair: Option<NewPair>) {
        if let (Some(tls), Some(pair)) = (&self.tls, pair) {
            tls.renew(pair);
        }
    }

    pub(crate) fn speaks(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    pub(crate) fn others(&self) -> &Latency {
        &self.others
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(crate) fn tellers(&self) -> &Tellers {
        &self.tellers
    }

    pub(crate) fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// From here on it is not ready.
    pub(crate) fn ends(&self) {
        self.ending.send_replace(true);
    }

    /// Becomes true when it is asked to end.
    pub(crate) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// Waits until every subscription of its tables is connected. Blocks.
    ///
    /// # Errors
    /// One is not within `timeout`; the words name its table, and why.
    pub fn wait_for_feeds(&self, timeout: Duration) -> Result<(), String> {
        let end = Instant::now() + timeout;
        let wait = |(name, table): (&String, &ServedTable)| {
            let told = table.wait_for_feed(end.saturating_duration_since(Instant::now()));
            told.map_err(|why| format!("{name}: its origin does not tell of changes: {why}"))
        };
        self.served().tables.iter().try_for_each(wait)
    }

    /// The names of the tables that are served now.
    pub fn table_names(&self) -> Vec<String> {
        self.served().tables.keys().cloned().collect()
    }

    /// The caches of the tables that are served now, by name.
    pub fn caches(&self) -> impl Iterator<Item = (String, ByteCache)> + use<> {
        let caches: Vec<_> =
            self.served().tables.iter().map(|(name, table)| (name.clone(), table.cache().clone())).collect();
        caches.into_iter()
    }

    /// Closes every cache: writes that were sent or are pending get `timeout` to end, and then access lines and
    /// traces a few seconds to be written and sent. Blocks. What is left is told by table.
    pub fn close(&self, timeout: Duration) -> Vec<(String, CloseReport<Box<[u8]>>)> {
        let end = Instant::now() + timeout;
        self.ends();
        let mut tables: Vec<ServedTable> = self.served().tables.values().cloned().collect();
        tables.append(&mut self.leaving());
        tables.iter().for_each(ServedTable::unsubscribe);
        let close = |table: &ServedTable| table.cache().close(end.saturating_duration_since(Instant::now()));
        let left = tables.iter().map(|table| (table.schema.name.clone(), close(table))).collect();
        self.tellers.end();
        left
    }

    /// The answer, and the table that it is of. `None`: the table was opened anew while the request waited for that, and it is another's now.
    async fn route<'s>(
        &self,
        served: &'s Arc<Served>,
        (side, who): (Side, &Who),
        request: &Parts,
        body: &mut Incoming,
    ) -> Option<(Option<&'s ServedTable>, Answer)> {
        let (method, path) = (&request.method, request.uri.path());
        if let Err(problem) = names_a_host(request).and_then(|()| foreign::check(request)) {
            return Some((None, Answer::refused(method, problem)));
        }
        if path.starts_with(own::PREFIX) {
            return Some((None, Box::pin(own::answer(self, served, (side, who), request, body)).await));
        }
        if *method == Method::OPTIONS && path == "*" {
            return Some((None, Answer::options(EVERY_METHOD)));
        }
        if side != Side::Public && matches!(path, "/" | "/-") && matches!(*method, Method::GET | Method::HEAD) {
            return Some((None, to_the_page()));
        }
        if side == Side::Admin {
            let detail = "records are at this server's other address";
            return Some((None, Answer::refused(method, Problem::new(StatusCode::NOT_FOUND, detail))));
        }
        let (name, key) = match split(&request.uri) {
            Ok(parts) => parts,
            Err(problem) => return Some((None, Answer::refused(method, problem))),
        };
        if let Err(problem) = who.may(method, &name) {
            return Some((None, Answer::refused(method, problem)));
        }
        let Some(table) = served.tables.get(&*name) else {
            let known: Vec<&str> = served.tables.keys().map(String::as_str).collect();
            let detail = format!("there is no table {name:?}; served here: {}", known.join(", "));
            return Some((None, Answer::refused(method, Problem::new(StatusCode::NOT_FOUND, detail))));
        };
        let answer = if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            of_table(table, &key, request, body).await
        } else {
            match table.turnstile.enter(table.timeout).await {
                Ok(_inside) => of_table(table, &key, request, body).await,
                Err(Barred::Left) => return None,
                Err(Barred::Late) => Answer::refused(method, table.is_shut()),
            }
        };
        Some((Some(table), answer))
    }

    /// Answers a request that came in at this side.
    pub(crate) fn answer(self: &Arc<Self>, side: Side, request: Request<Body>) -> Answering {
        let begun = Instant::now();
        let served = self.served();
        let (mut request, body) = request.into_parts();
        let body = Incoming::new(&request.headers, body, served.limits.body_timeout);
        let (context, telling) = self.tellers.begins(trace::of(&request.headers));
        let door = Door::enter(&mut request, served.compress);
        let asking = Asking { begun, served, request, body, context };
        match asking.resident(side, door.as_ref().ok()) {
            Some((table, answer, who, took)) => {
                Answering::AtOnce(self.end(&asking, (Some(table), answer, who.name()), telling, took), begun + took)
            }
            None => Answering::Later(Box::pin(Arc::clone(self).answer_later(side, asking, door, telling))),
        }
    }

    async fn answer_later(
        self: Arc<Self>,
        side: Side,
        mut asking: Asking,
        door: Result<Door, Problem>,
        telling: Option<Telling>,
    ) -> Response<Body> {
        let known = asked(&asking.served, &asking.request).await;
        let (mut who, door) = match (known, door) {
            (Ok(who), Ok(door)) => (Ok(who), Some(door)),
            (Err(problem), _) | (_, Err(problem)) => (Err(problem), None),
        };
        let (table, mut answer, principal) = loop {
            match who {
                Ok(ref known) => {
                    let routed = self.route(&asking.served, (side, known), &asking.request, &mut asking.body);
                    let routed = trace::within(asking.context.clone(), asker::within(known.name(), routed));
                    if let Some((table, answer)) = routed.await {
                        break (table, answer, known.name());
                    }
                    // It has not begun with anything: it goes by what is served now.
                    asking.served = self.served();
                    who = asked(&asking.served, &asking.request).await;
                }
                Err(problem) => break (None, Answer::refused(&asking.request.method, problem), None),
            }
        };
        if let Some(door) = door {
            answer = answer.through(door).await;
        }
        asking.body.end().await;
        let took = asking.begun.elapsed();
        self.end(&asking, (table, answer, principal), telling, took)
    }

    /// The response of an answer, once it was counted and told of.
    fn end(
        &self,
        asking: &Asking,
        (table, answer, principal): (Option<&ServedTable>, Answer, Option<Arc<str>>),
        telling: Option<Telling>,
        elapsed: Duration,
    ) -> Response<Body> {
        let Asking { served, request, .. } = asking;
        let what = answer.what;
        let response = answer.finish();
        let status = response.status();
        table.map_or(&self.others, |table| &*table.latency).count(&request.method, what, status, elapsed);
        if let Some(telling) = telling {
            let route = Route::of(&request.uri, &served.tables);
            let request = access::Request {
                method: &request.method,
                uri: &request.uri,
                scheme: if self.has_tls() { "https" } else { "http" },
                route: route.as_ref(),
                response: &response,
                what,
                principal: principal.as_deref(),
                elapsed,
            };
            self.tellers.ended(telling, &request);
        }
        if let Some(observer) = &self.observer {
            let target = request.uri.path_and_query().map(|target| target.as_str().to_owned()).unwrap_or_default();
            observer(&Seen { method: request.method.clone(), target, what, status, principal, elapsed });
        }
        response
    }
}

/// A response that is here, or is awaited.
pub(crate) enum Answering {
    /// With the time at which it was.
    AtOnce(Response<Body>, Instant),
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

/// A request under way.
struct Asking {
    begun: Instant,
    /// What it goes by.
    served: Arc<Served>,
    request: Parts,
    body: Incoming,
    /// The trace that it is part of.
    context: Option<TraceContext>,
}

impl Asking {
    /// The answer to a read of a record that is here, for a client that may have it and wants it as it is, with its table, who that is and how long it
    /// took. `None`: there is more to do, or to wait for.
    fn resident(&self, side: Side, door: Option<&Door>) -> Option<(&ServedTable, Answer, Who, Duration)> {
        let Self { begun, served, request, body, .. } = self;
        let reads = matches!(request.method, Method::GET | Method::HEAD) && request.uri.query().is_none();
        let door = door.filter(|door| door.is_plain())?;
        if !reads || side == Side::Admin || !body.is_over() || names_a_host(request).is_err() {
            return None;
        }
        let (name, key) = split(&request.uri).ok()?;
        let table = served.tables.get(&*name)?;
        check_key(&key).ok()?;
        let who = match &served.auth {
            Some(auth) => auth.who_at_once(&request.headers)?,
            None => Who::anybody(),
        };
        who.may(&request.method, &name).ok()?;
        let (answer, took) = read::at_once(table, &key, &request.headers, *begun)?;
        Some((table, answer.through_plain(door), who, took))
    }
}

/// The front was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending;

/// Who asks.
async fn asked(served: &Served, request: &Parts) -> Result<Who, Problem> {
    match &served.auth {
        Some(auth) if !own::is_open(request.uri.path()) => Arc::clone(auth).who(&request.headers).await,
        _ => Ok(Who::anybody()),
    }
}

/// RFC 9112 §3.2: a request of HTTP/1.1 has a Host, and no more than one.
fn names_a_host(request: &Parts) -> Result<(), Problem> {
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => Ok(()),
        (None, _) if request.version < Version::HTTP_11 => Ok(()),
        (None, _) => Err(Problem::new(StatusCode::BAD_REQUEST, "the request has no Host")),
        _ => Err(Problem::new(StatusCode::BAD_REQUEST, "the request has more than one Host")),
    }
}

/// For who knows the address alone.
fn to_the_page() -> Answer {
    let mut response = no_content();
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    Answer::local(response, "page").with(LOCATION, HeaderValue::from_static(own::PREFIX))
}

/// The answer to a request for a table, or for its record of this key.
///
/// Each request has room for the largest of these futures: so all have room of their own but reads, which are what is asked most.
async fn of_table(table: &ServedTable, key: &str, request: &Parts, body: &mut Incoming) -> Answer {
    let method = &request.method;
    let table_methods = if table.creates { CREATING_METHODS } else { TABLE_METHODS };
    if *method == Method::OPTIONS {
        return Answer::options(if key.is_empty() { table_methods } else { RECORD_METHODS });
    }
    let creates = key.is_empty() && *method == Method::POST && table.creates;
    let writes = matches!(*method, Method::PUT | Method::PATCH | Method::DELETE) && !key.is_empty();
    if (creates || writes) && request.uri.query().is_some_and(|query| !query.is_empty()) {
        let detail = format!("{method} takes no query: nothing of it is passed over");
        return Answer::refused(method, Problem::new(StatusCode::BAD_REQUEST, detail).outcome(Outcome::Rejected));
    }
    if creates {
        return Box::pin(create::create(table, &request.headers, body)).await;
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if key.is_empty() && reads {
        return Box::pin(query::answer(table, request.uri.query(), &Asked::of(&request.headers))).await;
    }
    if key.is_empty() {
        let detail = match *method {
            Method::POST => "the origin of this table makes no records that it names itself: put one under a key",
            Method::DELETE if request.uri.query().is_some() => {
                "no records are deleted by a query: DELETE /{Table}/{key} deletes one"
            }
            Method::PUT | Method::PATCH | Method::DELETE => "the key is empty: a record is at /{Table}/{key}",
            _ => "a table is asked with GET",
        };
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).allow(table_methods);
        return Answer::refused(method, problem);
    }
    if let Err(error) = check_key(key) {
        return Answer::refused(method, Problem::new(StatusCode::BAD_REQUEST, error.to_string()));
    }
    match *method {
        Method::GET | Method::HEAD => {
            let of = OfRecord::read(&table.schema, request.uri.query());
            match of.and_then(|of| Ok((of, Precondition::of_a_read(&request.headers)?))) {
                Ok((of, condition)) => read::read(table, key, &request.headers, &of, &condition).await,
                Err(problem) => Answer::refused(method, problem),
            }
        }
        Method::PUT => Box::pin(write::put(table, key, &request.headers, body)).await,
        Method::PATCH => Box::pin(write::patch(table, key, &request.headers, body)).await,
        Method::DELETE => Box::pin(write::delete(table, key, &request.headers)).await,
        _ => {
            let detail = format!("{method} is not for a record");
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).allow(RECORD_METHODS);
            Answer::refused(method, problem)
        }
    }
}

/// The table and the key of a path `/{Table}/{key}`; the key is empty for `/{Table}` and `/{Table}/`.
fn split(uri: &Uri) -> Result<(Cow<'_, str>, Cow<'_, str>), Problem> {
    let path = uri.path().strip_prefix('/').unwrap_or_default();
    let (table, key) = path.split_once('/').unwrap_or((path, ""));
    if key.strip_suffix('/').is_some_and(|key| !key.contains('/')) {
        let detail = "a record's path, /{Table}/{key}, does not end in a slash; a slash within a key is written %2F";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    if key.contains('/') {
        let detail = "a path is /{Table}/{key}; a slash within a key is written %2F";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    Ok((decoded(table)?, decoded(key)?))
}

fn decoded(text: &str) -> Result<Cow<'_, str>, Problem> {
    // Most have nothing to decode.
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the path is not UTF-8 once its percent signs are decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// hyper keeps room for it beside each connection, idle or not.
    #[test]
    fn an_answer_takes_little_room_and_one_under_way_not_much() {
        assert!(size_of::<Answering>() <= 256, "{}", size_of::<Answering>());
        let front = Arc::new(Front::new());
        let Answering::Later(answer) = front.answer(Side::All, Request::new(Body::empty())) else {
            panic!("there is no table to answer of")
        };
        assert!(size_of_val(&*answer) <= 4096, "{}", size_of_val(&*answer));
    }
}
