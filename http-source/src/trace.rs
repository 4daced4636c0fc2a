//! The trace that a call is part of (W3C Trace Context): what the program says of it, and what is passed on.
//!
//! Invariant: what goes out is well-formed, whatever came in; the id of a span is never used twice, and never zero.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use ureq::http::{HeaderName, HeaderValue, Method, Request, Uri};

use crate::call;
use crate::classify::{Unanswered, unanswered};
use crate::stats::Class;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A state that is longer is not passed on (a vendor may count on 512 characters).
const MAX_STATE_BYTES: usize = 512;

/// Which flags are known: sampled, and that the trace id is random.
const KNOWN_FLAGS: u8 = 0x03;

const SAMPLED: u8 = 0x01;

/// The trace that a call is part of, as its `traceparent` and `tracestate` said (W3C Trace Context).
///
/// While it is [entered](Self::enter), the requests that a source sends in this thread carry the trace's id, its flags and its state, and each
/// request a parent id of its own.
///
/// ```
/// use wtcache_http_source::TraceContext;
///
/// let came = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context: TraceContext = came.parse()?;
/// {
///     let _entered = context.enter();
///     // cache.get("screw") asks the origin as part of the trace.
///     assert!(TraceContext::current().is_some());
/// }
/// assert!(TraceContext::current().is_none());
/// # Ok::<(), wtcache_http_source::NoTraceContext>(())
/// ```
#[derive(Clone)]
pub struct TraceContext {
    /// 32 hexadecimal digits in small letters, not all zero.
    trace_id: Box<str>,
    parent_id: u64,
    flags: u8,
    state: Option<HeaderValue>,
    told: Option<Told>,
}

type Told = Arc<dyn Fn(&SentRequest<'_>) + Send + Sync>;

/// By what they say; not by who is told.
impl PartialEq for TraceContext {
    fn eq(&self, other: &Self) -> bool {
        let said = |context: &Self| (context.trace_id.clone(), context.parent_id, context.flags, context.state.clone());
        said(self) == said(other)
    }
}

impl Eq for TraceContext {}

/// A request that a source sent as part of a trace: see [`TraceContext::telling`]. An attempt is one of these, or two where its
/// credentials were others after a 401.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SentRequest<'a> {
    /// The trace's id: 32 hexadecimal digits.
    pub trace_id: &'a str,
    /// The trace's `tracestate`, as it was passed on.
    pub trace_state: Option<&'a str>,
    /// The span that the request is part of.
    pub parent_id: u64,
    /// Its own span: the parent id that the origin was sent.
    pub span_id: u64,
    /// The [name](crate::HttpSourceBuilder::name) of the origin.
    pub origin: &'a str,
    /// The request's method.
    pub method: &'a str,
    /// The origin's host.
    pub host: &'a str,
    /// And its port.
    pub port: u16,
    /// When it began.
    pub begun: SystemTime,
    /// From then to the end of the answer's head, or until it was known that none comes.
    pub elapsed: Duration,
    /// The answer's status, or why there is no answer: `timed_out`, `unreachable` or `broken`.
    pub answer: Result<u16, &'static str>,
}

/// A text is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTraceContext(());

impl fmt::Display for NoTraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is no traceparent: version-traceid-parentid-flags, in hexadecimal digits")
    }
}

impl std::error::Error for NoTraceContext {}

fn hexadecimal(text: &str, digits: usize) -> Option<&str> {
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(is_digit)).then_some(text)
}

impl FromStr for TraceContext {
    type Err = NoTraceContext;

    /// Of a `traceparent`, of this version of the standard or of a later one that keeps to it.
    fn from_str(text: &str) -> Result<Self, NoTraceContext> {
        let is_id = |id: &str| id.bytes().any(|b| b != b'0');
        let parse = || {
            let mut parts = text.splitn(5, '-');
            let version = hexadecimal(parts.next()?, 2).filter(|version| *version != "ff")?;
            let trace_id = hexadecimal(parts.next()?, 32).filter(|id| is_id(id))?;
            let parent_id = hexadecimal(parts.next()?, 16).filter(|id| is_id(id))?;
            let parent_id = u64::from_str_radix(parent_id, 16).ok()?;
            let flags = u8::from_str_radix(hexadecimal(parts.next()?, 2)?, 16).ok()?;
            let is_whole = version != "00" || parts.next().is_none();
            let flags = flags & KNOWN_FLAGS;
            is_whole.then(|| Self { trace_id: trace_id.into(), parent_id, flags, state: None, told: None })
        };
        parse().ok_or(NoTraceContext(()))
    }
}

impl TraceContext {
    /// The same with its `tracestate`, which is passed on as it is; one that is empty, longer than 512 bytes or cannot be sent is left out.
    #[must_use]
    pub fn with_state(mut self, state: &str) -> Self {
        let fits =
            !state.is_empty() && state.len() <= MAX_STATE_BYTES && state.bytes().all(|b| (0x20..0x7f).contains(&b));
        self.state = if fits { HeaderValue::from_str(state).ok() } else { None };
        self
    }

    /// The same trace within another span, whose id is not zero: requests are part of that.
    #[must_use]
    pub fn within(mut self, span_id: u64) -> Self {
        self.parent_id = span_id;
        self
    }

    /// The same, with `told` called once for each request that a source sends while it is entered, in the thread that sent it and once the head of its
    /// answer is here, or none will be. It must not block; it must not panic, which would end the call.
    #[must_use]
    pub fn telling(mut self, told: Arc<dyn Fn(&SentRequest<'_>) + Send + Sync>) -> Self {
        self.told = Some(told);
        self
    }

    /// An id for a span, which nobody has had and nobody foresees.
    #[must_use]
    pub fn new_span_id() -> u64 {
        span_id()
    }

    /// The trace's id: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// The span that what is done is part of.
    #[must_use]
    pub fn parent_id(&self) -> u64 {
        self.parent_id
    }

    /// Whether who began the trace records it.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The trace's `tracestate`, if it has one that is passed on.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_ref().and_then(|state| state.to_str().ok())
    }

    /// What this thread does is part of it, until the guard is dropped; then of what it was part of before.
    pub fn enter(self) -> Entered {
        Entered::new(Some(self))
    }

    /// What this thread does is part of this, or of no trace.
    pub fn enter_if(context: Option<Self>) -> Entered {
        Entered::new(context)
    }

    /// Of what this thread does.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({})", self.trace_id)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<TraceContext>> = const { RefCell::new(None) };
}

/// A thread's work is part of a trace while this lives.
#[must_use]
#[derive(Debug)]
pub struct Entered {
    before: Option<TraceContext>,
    /// It ends in the thread that began it.
    not_send: PhantomData<*const ()>,
}

impl Entered {
    fn new(context: Option<TraceContext>) -> Self {
        Self { before: CURRENT.replace(context), not_send: PhantomData }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// Makes a request to the origin of this name part of this thread's trace, if there is one. Gives who is to hear of its end.
pub(crate) fn add_to<B>(request: &mut Request<B>, origin: &Arc<str>) -> Option<Sending> {
    CURRENT.with_borrow(|current| {
        let context = current.as_ref()?;
        let span_id = span_id();
        let line = format!("00-{}-{span_id:016x}-{:02x}", context.trace_id, context.flags);
        let headers = request.headers_mut();
        headers.insert(TRACEPARENT, HeaderValue::from_str(&line).expect("hexadecimal digits and hyphens"));
        match &context.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
        context.told.is_some().then(|| Sending {
            context: context.clone(),
            span_id,
            origin: Arc::clone(origin),
            method: request.method().clone(),
            uri: request.uri().clone(),
            begun: SystemTime::now(),
            since: Instant::now(),
        })
    })
}

/// A request under way, of whose end somebody is to be told.
pub(crate) struct Sending {
    context: TraceContext,
    span_id: u64,
    origin: Arc<str>,
    method: Method,
    uri: Uri,
    begun: SystemTime,
    since: Instant,
}

impl Sending {
    /// The head of an answer with this status is here; or none will be.
    pub(crate) fn ended(self, status: Option<u16>) {
        let Some(told) = &self.context.told else { return };
        let default_port = if self.uri.scheme_str() == Some("https") { 443 } else { 80 };
        told(&SentRequest {
            trace_id: &self.context.trace_id,
            trace_state: self.context.state(),
            parent_id: self.context.parent_id,
            span_id: self.span_id,
            origin: &self.origin,
            method: self.method.as_str(),
            host: self.uri.host().unwrap_or_default(),
            port: self.uri.port_u16().unwrap_or(default_port),
            begun: self.begun,
            elapsed: self.since.elapsed(),
            answer: status.ok_or_else(why_none),
        });
    }
}

/// Why the innermost call of this thread has no answer.
fn why_none() -> &'static str {
    let seen = call::current();
    let late = seen.is_some_and(|seen| Instant::now() >= seen.deadline);
    let (Unanswered::NotSent(failure) | Unanswered::Sent(failure)) =
        unanswered(seen.map_or(0, |seen| seen.offered), late);
    match Class::of_failure(failure) {
        Class::TimedOut => "timed_out",
        Class::Unreachable => "unreachable",
        _ => "broken",
    }
}

/// A number that nobody has had, from a place that nobody foresees: odd steps reach every number once.
fn span_id() -> u64 {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(0)));
    loop {
        let id = NEXT.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        if id != 0 {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAME: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_a_traceparent() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (text, flags) in [
            (CAME.to_owned(), Some(1)),
            (CAME.replace("-01", "-00"), Some(0)),
            (CAME.replace("-01", "-ff"), Some(3)),
            (CAME.replacen("00-", "cc-", 1), Some(1)),
            (CAME.replacen("00-", "cc-", 1) + "-what-will-be", Some(1)),
            (CAME.to_owned() + "-more", None),
            (CAME.to_owned() + "-", None),
            (CAME.replacen("00-", "ff-", 1), None),
            (CAME.replacen("00-", "0-", 1), None),
            (CAME.to_uppercase(), None),
            (CAME.replace(id, &"0".repeat(32)), None),
            (CAME.replace("00f067aa0ba902b7", &"0".repeat(16)), None),
            (CAME.replace('b', "g"), None),
            (CAME[..54].to_owned(), None),
            (String::new(), None),
        ] {
            let context = text.parse::<TraceContext>().ok();
            assert_eq!(context.as_ref().map(|context| context.flags), flags, "{text}");
            assert!(context.is_none_or(|context| context.trace_id() == id));
        }
    }

    #[test]
    fn what_is_passed_on() {
        let sent = |context: Option<TraceContext>| {
            let mut request = Request::get("http://origin/s3cret").body(()).unwrap();
            request.headers_mut().insert(TRACESTATE, HeaderValue::from_static("configured"));
            let _entered = TraceContext::enter_if(context);
            assert!(add_to(&mut request, &"origin".into()).is_none(), "nobody is told");
            let text = |name| request.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
            (text(TRACEPARENT), text(TRACESTATE))
        };
        let context: TraceContext = CAME.parse().unwrap();
        assert_eq!(sent(None), (None, Some("configured".to_owned())));
        let (one, state) = sent(Some(context.clone().with_state("a=1,b=2")));
        assert_eq!(state.as_deref(), Some("a=1,b=2"));
        let one = one.unwrap();
        assert!(one.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && one.ends_with("-01"), "{one}");
        assert!(one.parse::<TraceContext>().is_ok());
        for state in [String::new(), "a".repeat(513), "a\r\nb".to_owned(), "\u{e9}".to_owned()] {
            let (other, none) = sent(Some(context.clone().with_state(&state)));
            assert_eq!(none, None, "{state:?}");
            assert_ne!(other.unwrap(), one, "a parent of its own");
        }
    }

    #[test]
    fn what_was_entered_last_counts() {
        let context = |id: u8| CAME.replacen("4b", &format!("{id:02x}"), 1).parse::<TraceContext>().unwrap();
        let _outer = context(1).enter();
        {
            let _inner = TraceContext::enter_if(None);
            assert_eq!(TraceContext::current(), None);
        }
        assert_eq!(TraceContext::current(), Some(context(1)));
    }

    #[test]
    fn who_asked_for_it_is_told_of_each_request() {
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let tells = Arc::clone(&told);
        let context: TraceContext = CAME.parse().unwrap();
        assert!((context.parent_id(), context.is_sampled()) == (0x00f0_67aa_0ba9_02b7, true));
        let context = context.with_state("a=1").within(7).telling(Arc::new(move |sent: &SentRequest<'_>| {
            let who = (sent.trace_id.to_owned(), sent.trace_state.map(str::to_owned), sent.parent_id, sent.span_id);
            let what = (sent.origin.to_owned(), sent.method.to_owned(), sent.host.to_owned(), sent.port);
            tells.lock().unwrap().push((who, what, sent.answer));
        }));
        let _entered = context.enter();
        for (url, status) in [("http://o/s3cret", Some(200)), ("https://o/", None), ("http://o:81/", Some(503))] {
            let mut request = Request::put(url).body(()).unwrap();
            let sending = add_to(&mut request, &"name".into()).unwrap();
            let line = request.headers()[TRACEPARENT].to_str().unwrap().to_owned();
            sending.ended(status);
            let (who, what, answer) = told.lock().unwrap().pop().unwrap();
            assert_eq!(line, format!("00-{}-{:016x}-01", who.0, who.3));
            assert_eq!((who.1.as_deref(), who.2), (Some("a=1"), 7));
            let port = if url.starts_with("https") {
                443
            } else if url.contains(":81") {
                81
            } else {
                80
            };
            assert_eq!(what, ("name".to_owned(), "PUT".to_owned(), "o".to_owned(), port));
            // Outside of a call nothing was offered to the wire.
            assert_eq!(answer, status.ok_or("unreachable"));
        }
        assert!(told.lock().unwrap().is_empty());
    }
}
