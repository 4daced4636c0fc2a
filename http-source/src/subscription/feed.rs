//! The thread of a subscription: connection after connection, event after event.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;
use ureq::Body;
use ureq::http::uri::{Parts, PathAndQuery};
use ureq::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use wtcache::ByteCache;

use super::sse::{Event, Parser};
use super::{Kind, Shared, Subscribe, SubscriptionState, WhileCutOff, pause};
use crate::answer::{self, Unread};
use crate::builder::BuildError;
use crate::call::{self, Call, Reuse};
use crate::changes::{ChangeForm, OriginChange};
use crate::coding::{self, Coding};
use crate::exchange::Exchanges;
use crate::report;
use crate::template::encoded;

/// Events of these names say only that the origin is there.
const SAYS_NOTHING: [&str; 4] = ["ping", "heartbeat", "keepalive", "keep-alive"];

const LAST_EVENT_ID: header::HeaderName = header::HeaderName::from_static("last-event-id");

/// A cursor, or an event's id, may have so many bytes: it is a part of a request's head.
const MOST_CURSOR_BYTES: usize = 4 * 1024;

/// What the thread owns.
pub(super) struct Feed {
    kind: Kind,
    exchanges: Arc<Exchanges>,
    headers: HeaderMap,
    url: Uri,
    form: ChangeForm,
    resumes: bool,
    silence: Duration,
    timeout: Duration,
    while_cut_off: WhileCutOff,
    backoff: (Duration, Duration),
    most_bytes: usize,
    cursor_name: String,
    poll_every: Duration,
    cache: ByteCache,
    shared: Arc<Shared>,
    /// From where the origin can go on.
    from: Option<String>,
    /// What the stream said of the time to connect again.
    retry: Duration,
    /// When the origin last said something; at first, when this began.
    heard: Instant,
    /// When all was forgotten last for want of that.
    forgotten: Option<Instant>,
    /// So many attempts in a row came to nothing, or to no more than a word.
    attempt: u32,
    chance: RandomState,
}

/// Why a connection ended, or a poll failed.
type Cut = String;

impl Feed {
    pub(super) fn new(options: Subscribe, cache: ByteCache, shared: Arc<Shared>) -> Result<Self, BuildError> {
        let url = options.url?;
        let mut headers = options.headers;
        let accepts = match options.kind {
            Kind::Sse => "text/event-stream",
            Kind::Poll => "application/json",
        };
        headers.insert(header::ACCEPT, HeaderValue::from_static(accepts));
        if options.kind == Kind::Sse {
            // What is coded comes in blocks, and an event would wait for the next ones.
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding::NONE));
        }
        if !(options.is_configured)(&header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        Ok(Self {
            kind: options.kind,
            exchanges: options.exchanges,
            headers,
            url,
            form: options.form,
            resumes: options.resumes,
            silence: options.silence,
            timeout: options.timeout,
            while_cut_off: options.while_cut_off,
            backoff: options.backoff,
            most_bytes: options.most_bytes,
            cursor_name: options.cursor,
            poll_every: options.poll_every,
            cache,
            shared,
            from: None,
            retry: Duration::ZERO,
            heard: Instant::now(),
            forgotten: None,
            attempt: 0,
            chance: RandomState::new(),
        })
    }

    pub(super) fn run(mut self) {
        call::end_with(Arc::clone(&self.shared.stopped));
        while !self.shared.is_stopped() {
            // What a panic left half-done is given up with the connection: see `panicked`.
            if catch_unwind(AssertUnwindSafe(|| self.connections())).is_err() {
                self.panicked();
            }
        }
    }

    /// Connection after connection, until it is stopped.
    fn connections(&mut self) {
        while !self.shared.is_stopped() {
            if self.attempt > 0 {
                self.pause(pause(self.backoff, self.attempt, self.chance.hash_one(self.attempt)));
            }
            // Counted before it begins: it may panic.
            self.attempt = self.attempt.saturating_add(1);
            let heard = self.heard;
            let cut = match self.kind {
                Kind::Sse => self.stream(),
                Kind::Poll => self.polls(),
            };
            if self.shared.is_stopped() {
                break;
            }
            if self.heard != heard {
                self.attempt = 1;
            }
            let mut is_news = false;
            self.shared.tell(|told| {
                is_news = told.state != SubscriptionState::CutOff;
                told.state = SubscriptionState::CutOff;
                told.last_error = Some(cut.clone());
            });
            if is_news {
                report::cut_off(&self.exchanges.name, &cut);
            }
        }
    }

    /// Something that was told may not have been applied, and nothing says what.
    fn panicked(&mut self) {
        // To go on from there could bring the same again.
        self.from = None;
        report::feed_panicked(&self.exchanges.name);
        // Should that panic too, the next connection forgets all.
        let _ = catch_unwind(AssertUnwindSafe(|| self.forget_all()));
        self.shared.tell(|told| {
            told.panics += 1;
            told.state = SubscriptionState::CutOff;
            told.last_error = Some("there was a panic while changes were read or applied".to_owned());
        });
    }

    /// Waits before the next attempt; forgets meanwhile what is due for that.
    fn pause(&mut self, jittered: Duration) {
        let until = Instant::now() + jittered.max(self.retry.min(self.backoff.1));
        while !self.shared.is_stopped() {
            let mut wait = until.saturating_duration_since(Instant::now());
            if let WhileCutOff::Forget { after } = self.while_cut_off {
                let last = self.forgotten.map_or(self.heard, |forgotten| forgotten.max(self.heard));
                let left = (last + after).saturating_duration_since(Instant::now());
                if left.is_zero() {
                    self.forget_all();
                    self.forgotten = Some(Instant::now());
                    continue;
                }
                wait = wait.min(left);
            }
            if wait.is_zero() {
                return;
            }
            self.shared.pause(wait);
        }
    }

    /// Something may have been missed.
    fn forget_all(&self) {
        OriginChange::Reset.apply(&self.cache);
        self.shared.tell(|told| told.gaps += 1);
    }

    /// The origin tells of its changes.
    fn is_live(&mut self) {
        self.heard = Instant::now();
        let mut is_news = false;
        self.shared.tell(|told| {
            told.connections += 1;
            is_news = told.state != SubscriptionState::Live;
            told.state = SubscriptionState::Live;
        });
        if is_news {
            report::live(&self.exchanges.name);
        }
    }

    fn ask(&self, url: &Uri, headers: HeaderMap) -> Result<Response<Body>, Cut> {
        self.exchanges.run(Method::GET, url, headers, ()).map_err(|error| error.to_string())
    }

    // --- a stream

    /// One connection, to its end.
    fn stream(&mut self) -> Cut {
        match self.connected() {
            Ok(response) => self.reads(response),
            Err(cut) => cut,
        }
    }

    fn connected(&mut self) -> Result<Response<Body>, Cut> {
        let mut headers = self.headers.clone();
        let from = self.from.as_ref().filter(|_| self.resumes);
        let resumed = from.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
        let goes_on = resumed.is_some();
        if let Some(id) = resumed {
            headers.insert(LAST_EVENT_ID, id);
        }
        let _call = Call::begin(Instant::now() + self.timeout, Reuse::Never);
        let response = self.ask(&self.url, headers)?;
        if response.status() != StatusCode::OK {
            return Err(format!("the origin answered {}", response.status().as_u16()));
        }
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream") {
            return Err(format!("the origin answered with {kind:?}, and not with text/event-stream"));
        }
        if Coding::of(response.headers()) != Coding::Identity {
            return Err("the stream has a content coding, and none was asked for".to_owned());
        }
        if !goes_on {
            // The origin tells from here on: what was loaded before may have changed since.
            self.from = None;
            self.forget_all();
        }
        self.is_live();
        Ok(response)
    }

    fn reads(&mut self, response: Response<Body>) -> Cut {
        let mut parser = Parser::new(self.most_bytes, self.from.clone());
        let mut reader = response.into_body().into_reader();
        let mut block = [0; 8 * 1024];
        loop {
            let read = {
                let _call = Call::begin(Instant::now() + self.silence, Reuse::Never);
                reader.read(&mut block)
            };
            let mut bytes = match read {
                Ok(0) => return "the origin ended the stream".to_owned(),
                Ok(read) => &block[..read],
                Err(_) if self.heard.elapsed() >= self.silence => {
                    return format!("the origin said nothing for {:?}", self.silence);
                }
                Err(error) => return error.to_string(),
            };
            self.heard = Instant::now();
            while !bytes.is_empty() {
                let Ok((event, taken)) = parser.next(bytes) else {
                    // To go on before it would bring it again.
                    self.from = None;
                    self.unreadable();
                    return format!("an event is longer than {} bytes", self.most_bytes);
                };
                bytes = &bytes[taken..];
                if let Some(event) = event {
                    self.event(&event);
                }
                self.retry = parser.retry().unwrap_or(self.retry);
                let id = parser.last_id().filter(|id| id.len() <= MOST_CURSOR_BYTES);
                if self.from.as_deref() != id {
                    self.from = id.map(str::to_owned);
                }
            }
            if self.shared.is_stopped() {
                return "it was stopped".to_owned();
            }
        }
    }

    fn event(&self, event: &Event) {
        match event.name.as_str() {
            "reset" => self.forget_all(),
            name if SAYS_NOTHING.contains(&name) => {}
            _ => match self.form.parse_all(&event.data) {
                Ok(changes) => self.apply(changes),
                Err(_) => self.unreadable(),
            },
        }
    }

    /// Applies changes in their order.
    fn apply(&self, changes: impl IntoIterator<Item = Result<OriginChange, String>>) {
        for change in changes {
            match change {
                Ok(OriginChange::Reset) => {
                    self.forget_all();
                }
                Ok(change) => self.shared.count(change.apply(&self.cache)),
                Err(_) => self.unreadable(),
            }
        }
    }

    /// A change was told, of which nobody knows what.
    fn unreadable(&self) {
        self.forget_all();
        self.shared.tell(|told| told.unreadable += 1);
    }

    // --- polls

    /// Poll after poll, to the first that fails.
    fn polls(&mut self) -> Cut {
        while !self.shared.is_stopped() {
            let asked = Instant::now();
            match self.poll() {
                Ok(0) => self.shared.pause(self.poll_every.saturating_sub(asked.elapsed())),
                Ok(_) => {}
                Err(cut) => return cut,
            }
        }
        "it was stopped".to_owned()
    }

    /// One poll; says how many changes it brought.
    fn poll(&mut self) -> Result<usize, Cut> {
        let _call = Call::begin(Instant::now() + self.silence, Reuse::Any);
        let mut response = self.ask(&self.with_cursor(), self.headers.clone())?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::GONE if self.from.is_some() => {
                answer::drain(&mut response);
                self.from = None;
                self.forget_all();
                self.heard = Instant::now();
                return Ok(0);
            }
            status => return Err(format!("the origin answered {}", status.as_u16())),
        }
        let read = match answer::read_whole(&mut response, self.most_bytes) {
            Ok(body) => Polled::read(&body),
            Err(Unread::Broken(error)) => return Err(error.to_string()),
            Err(Unread::TooLarge) => Err(format!("an answer is longer than {} bytes", self.most_bytes)),
            Err(Unread::TooLargeDecoded) => Err(format!("an answer is longer than {} bytes, decoded", self.most_bytes)),
            Err(Unread::Coded(why)) => Err(why),
        };
        let polled = match read {
            Ok(polled) => polled,
            Err(why) => {
                // To go on from the same cursor would bring the same.
                self.from = None;
                self.unreadable();
                return Err(why);
            }
        };
        if polled.reset || self.from.is_none() {
            self.forget_all();
        }
        let count = polled.changes.len();
        self.apply(polled.changes.iter().map(|change| self.form.parse(change.as_bytes())));
        self.from = Some(polled.cursor);
        self.is_live();
        Ok(count)
    }

    fn with_cursor(&self) -> Uri {
        let Some(cursor) = &self.from else { return self.url.clone() };
        let mut target = self.url.path().to_owned();
        let query = self.url.query().unwrap_or_default();
        target.push('?');
        if !query.is_empty() {
            target.push_str(query);
            target.push('&');
        }
        target.push_str(&self.cursor_name);
        target.push('=');
        target.push_str(&encoded(cursor.as_bytes()));
        let mut parts = Parts::default();
        parts.scheme = self.url.scheme().cloned();
        parts.authority = self.url.authority().cloned();
        parts.path_and_query = PathAndQuery::try_from(target).ok();
        Uri::from_parts(parts).expect("a cursor is percent-encoded, and of a bounded length")
    }
}

/// An answer to a poll.
struct Polled {
    changes: Vec<String>,
    cursor: String,
    reset: bool,
}

impl Polled {
    fn read(body: &[u8]) -> Result<Self, Cut> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            changes: Vec<&'a RawValue>,
            cursor: serde_json::Value,
            #[serde(default)]
            reset: bool,
        }
        let Answer { changes, cursor, reset } =
            // Its own words would show what was there instead.
            serde_json::from_slice(body).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                format!("the answer is no object with changes: line {line}, column {column}")
            })?;
        let cursor = match cursor {
            serde_json::Value::String(cursor) if !cursor.is_empty() => cursor,
            serde_json::Value::Number(cursor) => cursor.to_string(),
            _ => return Err("the cursor is neither a text nor a number".to_owned()),
        };
        if cursor.len() > MOST_CURSOR_BYTES / 3 {
            return Err(format!("a cursor of {} bytes is too long", cursor.len()));
        }
        Ok(Self { changes: changes.into_iter().map(|change| change.get().to_owned()).collect(), cursor, reset })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What streams are made of.
    const LINES: [&str; 7] = ["data:", "id: 7", "event: x", "retry: 9", "\n", "\r", "\r\n"];

    /// Bytes as they come, and texts of what answers are made of.
    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        const WORDS: [&str; 20] = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"changes\":",
            "\"cursor\":",
            "\"reset\":",
            "\"op\":",
            "\"put\"",
            "\"delete\"",
            "\"key\":",
            "\"record\":",
            "\"version\":",
            "\"k\"",
            "7",
            "-",
            "null",
            "true",
        ];
        let word = proptest::sample::select(&WORDS[..]);
        let words = proptest::collection::vec(word, 0..24).prop_map(|words| words.concat().into_bytes());
        let change = proptest::sample::select(vec![
            r#"{"op":"put","key":"k","record":[1],"version":"r8"}"#,
            r#"{"op":"invalidate","prefix":"a"}"#,
            r#"{"op":"reset"}"#,
            "7",
        ]);
        let whole = (proptest::collection::vec(change, 0..4), "[a-z0-9-]{0,9}", any::<bool>()).prop_map(
            |(changes, cursor, reset)| {
                format!(r#"{{"changes":[{}],"cursor":"{cursor}","reset":{reset}}}"#, changes.join(",")).into_bytes()
            },
        );
        // With one byte of it another.
        let bent = (whole, any::<proptest::sample::Index>(), any::<u8>()).prop_map(|(mut body, at, byte)| {
            let at = at.index(body.len());
            body[at] = byte;
            body
        });
        prop_oneof![proptest::collection::vec(any::<u8>(), 0..200), words, bent]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn whatever_the_body_of_a_poll_is_it_is_read_or_refused(body in bodies()) {
            let form = ChangeForm::default();
            if let Ok(Polled { changes, cursor, .. }) = Polled::read(&body) {
                prop_assert!(!cursor.is_empty() && cursor.len() <= MOST_CURSOR_BYTES / 3, "{cursor:?}");
                for change in changes {
                    if let Err(why) = form.parse(change.as_bytes()) {
                        prop_assert!(!why.is_empty());
                    }
                }
            }
        }

        #[test]
        fn whatever_a_stream_brings_is_read_the_same_however_it_is_cut(
            body in bodies(),
            lines in proptest::collection::vec(proptest::sample::select(&LINES[..]), 0..30),
        ) {
            let mut stream = lines.concat().into_bytes();
            stream.extend_from_slice(&body);
            stream.extend_from_slice(b"\n\n");
            let whole = read(&[&stream]);
            prop_assert_eq!(&whole, &read(&stream.chunks(1).collect::<Vec<_>>()));
            let form = ChangeForm::default();
            for event in whole.0 {
                if let Err(why) = form.parse_all(&event.data) {
                    prop_assert!(!why.is_empty());
                }
            }
        }
    }

    /// The events of a stream that comes in these parts, up to one that is too long, and from where it goes on.
    fn read(parts: &[&[u8]]) -> (Vec<Event>, Option<String>) {
        let mut parser = Parser::new(128, None);
        let mut events = Vec::new();
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let Ok((event, taken)) = parser.next(rest) else { return (events, None) };
                events.extend(event);
                rest = &rest[taken..];
            }
        }
        (events, parser.last_id().map(str::to_owned))
    }
}
