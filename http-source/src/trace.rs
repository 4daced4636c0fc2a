//! The trace that a call is part of (W3C Trace Context): what the program says of it, and what is passed on.
//!
//! Invariant: what goes out is well-formed, whatever came in; a parent id is never used twice, and never zero.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ureq::http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A state that is longer is not passed on (a vendor may count on 512 characters).
const MAX_STATE_BYTES: usize = 512;

/// Which flags are known: sampled, and that the trace id is random.
const KNOWN_FLAGS: u8 = 0x03;

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
#[derive(Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 hexadecimal digits in small letters, not all zero.
    trace_id: Box<str>,
    flags: u8,
    state: Option<HeaderValue>,
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
            hexadecimal(parts.next()?, 16).filter(|id| is_id(id))?;
            let flags = u8::from_str_radix(hexadecimal(parts.next()?, 2)?, 16).ok()?;
            let is_whole = version != "00" || parts.next().is_none();
            is_whole.then(|| Self { trace_id: trace_id.into(), flags: flags & KNOWN_FLAGS, state: None })
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

    /// The trace's id: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace_id
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

/// Makes a request part of this thread's trace, if there is one.
pub(crate) fn add_to(headers: &mut HeaderMap) {
    CURRENT.with_borrow(|current| {
        let Some(context) = current else { return };
        let line = format!("00-{}-{:016x}-{:02x}", context.trace_id, parent_id(), context.flags);
        headers.insert(TRACEPARENT, HeaderValue::from_str(&line).expect("hexadecimal digits and hyphens"));
        match &context.state {
            Some(state) => headers.insert(TRACESTATE, state.clone()),
            None => headers.remove(TRACESTATE),
        };
    });
}

/// A number that nobody has had, from a place that nobody foresees: odd steps reach every number once.
fn parent_id() -> u64 {
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
            let mut headers = HeaderMap::new();
            headers.insert(TRACESTATE, HeaderValue::from_static("configured"));
            let _entered = TraceContext::enter_if(context);
            add_to(&mut headers);
            let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
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
}
