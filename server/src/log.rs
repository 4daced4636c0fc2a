//! What this server tells its operator: one line for each event, on standard error.
//!
//! Owns the shape of a line, which access lines have too, and the subscriber that makes one of each `tracing` event of this project.
//! Invariants: a line is one line, whatever is in it; one of JSON is one object, in which no name comes twice; what a panic says is told only
//! where it stands in the code, since all else may show a record.

use std::fmt::{self, Write};
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::config::LogFormat;
use crate::lines::Lines;
use crate::pending::stamp;

/// The targets that are told of begin so: those of this project.
const TARGETS: &str = "wtcache";

/// The names that each line has.
const OF_EACH: [&str; 3] = ["time", "level", "event"];

/// How long the end waits for lines to be written.
const FLUSH: Duration = Duration::from_secs(2);

static LOG: OnceLock<Arc<Lines>> = OnceLock::new();

/// From here on this process tells what happens, on standard error: each event, and each panic, is a line.
///
/// # Errors
/// It tells already, or something else does: the process has another subscriber of `tracing`. Or there is no thread to be had.
pub fn start(format: LogFormat) -> io::Result<()> {
    let lines = Arc::new(Lines::stderr()?);
    let log = Log { format, lines: Arc::clone(&lines) };
    tracing::subscriber::set_global_default(log).map_err(io::Error::other)?;
    // Nobody else sets it: the subscriber could be set.
    let _ = LOG.set(lines);
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let thread = thread.name().unwrap_or("without a name");
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        // What was made at run time may show a record.
        let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("its words are not shown");
        tracing::error!(name: "panicked", thread, at, message);
    }));
    Ok(())
}

/// Waits until what was told is written, for 2 s at most.
pub fn flush() {
    if let Some(lines) = LOG.get() {
        lines.flush(FLUSH);
    }
}

/// How many lines found no room, if this process tells.
pub(crate) fn dropped() -> Option<u64> {
    LOG.get().map(|lines| lines.dropped())
}

struct Log {
    format: LogFormat,
    lines: Arc<Lines>,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO && metadata.target().starts_with(TARGETS)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => "info",
        };
        let mut line = Line::new(self.format, SystemTime::now(), level, metadata.name());
        event.record(&mut line);
        self.lines.put(line.end());
    }

    // Spans are not enabled: there are none.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A line under way.
pub(crate) struct Line {
    format: LogFormat,
    text: String,
}

impl Line {
    pub(crate) fn new(format: LogFormat, time: SystemTime, level: &str, event: &str) -> Self {
        let text = match format {
            LogFormat::Text => format!("{} {:5} {event}", stamp(time), level.to_ascii_uppercase()),
            LogFormat::Json => format!("{{\"time\":\"{}\",\"level\":\"{level}\",\"event\":\"{event}\"", stamp(time)),
        };
        Self { format, text }
    }

    fn name(&mut self, name: &str) {
        let again = if OF_EACH.contains(&name) { "_" } else { "" };
        let _ = match self.format {
            LogFormat::Text => write!(self.text, " {name}{again}="),
            LogFormat::Json => write!(self.text, ",\"{name}{again}\":"),
        };
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:;{}*@+,".contains(c);
        if self.format == LogFormat::Text && !value.is_empty() && value.chars().all(is_plain) {
            self.text.push_str(value);
            return;
        }
        self.text.push('"');
        for c in value.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                '\n' => self.text.push_str("\\n"),
                // What a terminal, or a reader of lines, may take for its own.
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    let _ = write!(self.text, "\\u{:04x}", u32::from(c));
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    pub(crate) fn number(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        let _ = write!(self.text, "{value}");
    }

    pub(crate) fn end(mut self) -> String {
        if self.format == LogFormat::Json {
            self.text.push('}');
        }
        self.text
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field.name(), value);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn line(format: LogFormat, value: &str) -> String {
        let mut line = Line::new(format, SystemTime::UNIX_EPOCH, "warn", "in_doubt");
        line.text("key", value);
        line.number("status", 502);
        line.text("level", "twice");
        line.end()
    }

    #[test]
    fn a_line_has_its_time_its_level_its_event_and_its_fields() {
        assert_eq!(
            line(LogFormat::Text, "item-001"),
            "1970-01-01T00:00:00.000Z WARN  in_doubt key=item-001 status=502 level_=twice"
        );
        assert_eq!(
            line(LogFormat::Text, "a b=\"\n\u{1b}[2J"),
            "1970-01-01T00:00:00.000Z WARN  in_doubt key=\"a b=\\\"\\n\\u001b[2J\" status=502 level_=twice"
        );
        assert!(line(LogFormat::Text, "").contains(" key=\"\" "));
        let json: Value = serde_json::from_str(&line(LogFormat::Json, "item-001")).unwrap();
        let expected = json!({
            "time": "1970-01-01T00:00:00.000Z", "level": "warn", "event": "in_doubt", "key": "item-001", "status": 502,
            "level_": "twice"
        });
        assert_eq!(json, expected);
    }

    proptest! {
        #[test]
        fn whatever_is_in_it_a_line_is_one_line_and_json_says_what_it_was_given(value in any::<String>()) {
            let is_control = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            prop_assert!(!line(LogFormat::Text, &value).contains(is_control));
            let text = line(LogFormat::Json, &value);
            prop_assert!(!text.contains(is_control));
            let json: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(json["key"].as_str(), Some(&*value));
        }
    }
}
