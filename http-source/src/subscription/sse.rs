//! Server-Sent Events, read as they come (WHATWG HTML, "Server-sent events", 9.2.6): pure.
//!
//! Invariants: however the bytes are cut, the events are the same; an event that the stream ends in is none; no line and no event is held
//! beyond its bound.

use std::time::Duration;

/// An event that was dispatched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// `message` where the stream names none.
    pub(super) name: String,
    pub(super) data: Vec<u8>,
}

/// A line or an event is longer than the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// What of a stream is not yet an event.
pub(super) struct Parser {
    most_bytes: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed right after it ends no other line.
    after_return: bool,
    is_first_line: bool,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The id that the next event to be dispatched leaves.
    next_id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// `last_id`: with which the stream was asked to go on.
    pub(super) fn new(most_bytes: usize, last_id: Option<String>) -> Self {
        Self {
            most_bytes,
            line: Vec::new(),
            after_return: false,
            is_first_line: true,
            name: Vec::new(),
            data: Vec::new(),
            has_data: false,
            next_id: last_id.clone(),
            last_id,
            retry: None,
        }
    }

    /// The id of the last event whose end has come; `None` where there is none to go on from.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the origin wants its readers to wait before they connect again.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next bytes up to the end of the first event in them. Gives it, if there is one, and how many bytes were taken.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<(Option<Event>, usize), TooLong> {
        for (at, byte) in bytes.iter().enumerate() {
            let after_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    if let Some(event) = self.ends_line(&line)? {
                        return Ok((Some(event), at + 1));
                    }
                }
                byte => {
                    if self.line.len() == self.most_bytes {
                        return Err(TooLong);
                    }
                    self.line.push(*byte);
                }
            }
        }
        Ok((None, bytes.len()))
    }

    fn ends_line(&mut self, line: &[u8]) -> Result<Option<Event>, TooLong> {
        let line = if std::mem::take(&mut self.is_first_line) {
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        } else {
            line
        };
        if line.is_empty() {
            return Ok(self.dispatches());
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            // A comment.
            Some(0) => return Ok(None),
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => self.name = value.to_vec(),
            b"data" => {
                if self.data.len() + value.len() >= self.most_bytes {
                    return Err(TooLong);
                }
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"id" if !value.contains(&0) => {
                let id = String::from_utf8_lossy(value).into_owned();
                self.next_id = (!id.is_empty()).then_some(id);
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                self.retry = millis.map(Duration::from_millis);
            }
            _ => {}
        }
        Ok(None)
    }

    fn dispatches(&mut self) -> Option<Event> {
        self.last_id.clone_from(&self.next_id);
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        let name = if name.is_empty() { "message".to_owned() } else { String::from_utf8_lossy(&name).into_owned() };
        Some(Event { name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (&'static str, Vec<(String, String)>, Option<&'static str>);
    type Read = (Vec<(String, String)>, Option<String>, Option<Duration>);

    /// What comes of a stream that arrives in these parts.
    fn read(parts: &[&[u8]]) -> Read {
        let mut parser = Parser::new(64, None);
        let mut events = Vec::new();
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                let (event, taken) = parser.next(rest).unwrap();
                rest = &rest[taken..];
                events.extend(event.map(|event| (event.name, String::from_utf8(event.data).unwrap())));
            }
        }
        (events, parser.last_id().map(str::to_owned), parser.retry())
    }

    #[test]
    fn events_are_those_of_the_specification() {
        let message = |data: &str| ("message".to_owned(), data.to_owned());
        let rows: [Row; 13] = [
            ("data: YHOO\ndata: +2\ndata: 10\n\n", vec![message("YHOO\n+2\n10")], None),
            (
                ": stream\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n",
                { vec![message("first"), message("second"), message(" third")] },
                None,
            ),
            ("data\n\ndata\ndata\n\ndata:", vec![message(""), message("\n")], None),
            ("data:test\n\ndata: test\n\n", vec![message("test"), message("test")], None),
            ("event: reset\ndata: x\r\n\r\n", vec![("reset".to_owned(), "x".to_owned())], None),
            ("\u{feff}data: bom\r\rdata: \u{feff}\n\n", vec![message("bom"), message("\u{feff}")], None),
            ("id: 7\n\n", vec![], Some("7")),
            ("id: 7\ndata: x\n\nid: 8\ndata: lost", vec![message("x")], Some("7")),
            ("id: 7\n\nid: a\0b\ndata: x\n\n", vec![message("x")], Some("7")),
            ("event: gone\n\ndata: x\n\n", vec![message("x")], None),
            ("nonsense\nfoo: bar\ndata: x\n\n", vec![message("x")], None),
            ("data: x\r\n\n", vec![message("x")], None),
            ("data: a\rdata: b\r\n\r\ndata: c\n\r", vec![message("a\nb"), message("c")], None),
        ];
        for (stream, events, id) in rows {
            let want = (events, id.map(str::to_owned), None);
            let bytes = stream.as_bytes();
            assert_eq!(read(&[bytes]), want, "{stream:?}");
            for cut in 0..bytes.len() {
                assert_eq!(read(&[&bytes[..cut], &bytes[cut..]]), want, "{stream:?} cut at {cut}");
            }
            let each: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&each), want, "{stream:?} byte by byte");
        }
    }

    #[test]
    fn the_time_to_reconnect_is_a_number_of_milliseconds() {
        for (line, retry) in
            [("1500", Some(1500)), ("1.5", None), ("", None), ("-1", None), ("99999999999999999999", None)]
        {
            let stream = format!("retry: {line}\n\n");
            assert_eq!(read(&[stream.as_bytes()]).2, retry.map(Duration::from_millis), "{line}");
        }
    }

    #[test]
    fn b2_lines_and_events_have_a_bound() {
        let long = "x".repeat(65);
        assert_eq!(Parser::new(64, None).next(long.as_bytes()), Err(TooLong));
        assert_eq!(Parser::new(64, None).next(format!(":{}\n", "x".repeat(63)).as_bytes()), Ok((None, 65)));
        let many = format!("data: {}\n", "x".repeat(30)).repeat(3);
        assert_eq!(Parser::new(64, None).next(many.as_bytes()), Err(TooLong));
        let empty = "data\n".repeat(100);
        assert_eq!(Parser::new(64, None).next(empty.as_bytes()), Err(TooLong), "line feeds count");
    }
}
