//! The tree of a YAML file, every key and text with its place.
//!
//! Owns which YAML a configuration may use: one document of maps and texts. Anchors, aliases and tags are refused, so
//! that a file is as large as it looks and a text is what it says. Scalars stay texts: `1.10` is not yet a number, and
//! a header may hold it. It never knows a key.
//! Invariant: no map of a tree has a key twice; no tree is deeper than [`MAX_DEPTH`].

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use crate::diagnostic::{Diagnostics, Findings, Position, shown};

/// A configuration needs five.
const MAX_DEPTH: usize = 16;

/// A value, where it begins.
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    Text(Text),
    /// No list is known anywhere, so that its items are not kept.
    List,
    Map(Vec<(Text, Node)>),
}

/// A scalar as the file has it, before the environment.
pub(super) struct Text {
    pub(super) at: Position,
    pub(super) raw: String,
    /// Where its first character stands, if all others follow in the same line as they are.
    inner: Option<Position>,
}

impl Text {
    /// The place of the character behind `prefix`, a beginning of the text; that of the text if it is unknown.
    pub(super) fn place_behind(&self, prefix: &str) -> Position {
        match self.inner {
            Some(start) => Position { column: start.column + prefix.chars().count(), ..start },
            None => self.at,
        }
    }
}

/// Reads the file's one document; `None` if it holds nothing.
///
/// # Errors
/// The first syntax error, with the repeated keys found before it.
pub(super) fn parse(file: &str, source: &str) -> Result<(Option<Node>, Vec<Repeated>), Diagnostics> {
    let mut builder = Builder { source, parser: Parser::new_from_str(source), repeated: Vec::new() };
    match builder.document() {
        Ok(root) => Ok((root, builder.repeated)),
        Err(Refused { at, message, hint }) => Err(Findings::new(file).fail(at, message, hint.map(str::to_owned))),
    }
}

/// A key that its map already has; the tree holds the first only.
pub(super) struct Repeated {
    pub(super) at: Position,
    pub(super) key: String,
    pub(super) first_line: usize,
}

struct Refused {
    at: Position,
    message: String,
    hint: Option<&'static str>,
}

impl From<ScanError> for Refused {
    fn from(error: ScanError) -> Self {
        let at = Position { line: error.marker().line().max(1), column: error.marker().col() + 1 };
        Self { at, message: format!("YAML syntax error: {}", shown(&error.info())), hint: None }
    }
}

struct Builder<'a> {
    source: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    repeated: Vec<Repeated>,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Option<Node>, Refused> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(refused(&span, "a second document", "a configuration is one YAML document"));
                }
                Event::DocumentStart(..) => {
                    let Some((event, span)) = self.next()? else {
                        break;
                    };
                    root = Some(self.node(event, &span, 0)?);
                }
                _ => return Err(refused(&span, "YAML syntax error: not a document", "")),
            }
        }
        Ok(root.filter(|root| !matches!(root.kind, Kind::Null)))
    }

    fn node(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Node, Refused> {
        if depth > MAX_DEPTH {
            return Err(refused(span, "nested too deeply", ""));
        }
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(_, anchor, tag)
            | Event::MappingStart(_, anchor, tag) => (*anchor, tag.is_some()),
            _ => (0, false),
        };
        if anchor != 0 {
            return Err(refused(span, "anchors (&) are not supported", "write the value out where it is used"));
        }
        if tagged {
            return Err(refused(span, "tags (!) are not supported", "leave the tag out"));
        }
        let kind = match event {
            Event::Scalar(raw, ScalarStyle::Plain, ..) if matches!(&*raw, "" | "~" | "null") => Kind::Null,
            Event::Scalar(raw, ..) => Kind::Text(self.text(raw.into_owned(), span)),
            Event::SequenceStart(..) => {
                self.skip_list(depth)?;
                Kind::List
            }
            Event::MappingStart(..) => Kind::Map(self.map(depth)?),
            _ => {
                return Err(refused(span, "aliases (*) are not supported", "write the value out where it is used"));
            }
        };
        Ok(Node { at: place(span), kind })
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(Text, Node)>, Refused> {
        let mut entries: Vec<(Text, Node)> = Vec::new();
        let mut lines = std::collections::HashMap::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = match self.node(event, &span, depth + 1)? {
                Node { kind: Kind::Text(text), .. } => text,
                Node { at, .. } => {
                    return Err(Refused { at, message: "a key must be a text".to_owned(), hint: None });
                }
            };
            let Some((event, span)) = self.next()? else {
                break;
            };
            let value = self.node(event, &span, depth + 1)?;
            match lines.get(&key.raw) {
                Some(&first_line) => self.repeated.push(Repeated { at: key.at, key: key.raw, first_line }),
                None => {
                    lines.insert(key.raw.clone(), key.at.line);
                    entries.push((key, value));
                }
            }
        }
        Ok(entries)
    }

    fn skip_list(&mut self, depth: usize) -> Result<(), Refused> {
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            self.node(event, &span, depth + 1)?;
        }
        Ok(())
    }

    fn text(&self, raw: String, span: &Span) -> Text {
        let at = place(span);
        let quote = match span.slice(self.source).map(str::trim_end) {
            Some(written) if written == raw => Some(0),
            Some(written) if written.len() == raw.len() + 2 && written.get(1..=raw.len()) == Some(&raw) => Some(1),
            _ => None,
        };
        let inner =
            quote.filter(|_| !raw.contains(['\n', '\r'])).map(|quote| Position { column: at.column + quote, ..at });
        Text { at, raw, inner }
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Refused> {
        Ok(self.parser.next_event().transpose()?)
    }
}

fn place(span: &Span) -> Position {
    Position { line: span.start.line().max(1), column: span.start.col() + 1 }
}

fn refused(span: &Span, message: &str, hint: &'static str) -> Refused {
    Refused { at: place(span), message: message.to_owned(), hint: Some(hint).filter(|hint| !hint.is_empty()) }
}
