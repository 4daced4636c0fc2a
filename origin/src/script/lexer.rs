//! The words and signs of a script, each with its place.

use std::fmt;

use super::ScriptError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Word(String),
    /// What a JSON string says.
    Text(String),
    Colon,
    Semicolon,
    Comma,
    Equals,
    /// The end of a line.
    Line,
    End,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "{word:?}"),
            Self::Text(text) => write!(f, "the string {text:?}"),
            Self::Colon => f.write_str("a colon"),
            Self::Semicolon => f.write_str("a semicolon"),
            Self::Comma => f.write_str("a comma"),
            Self::Equals => f.write_str("an equals sign"),
            Self::Line => f.write_str("the end of the line"),
            Self::End => f.write_str("the end of the script"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    line: usize,
    column: usize,
}

impl Token {
    pub(super) fn error(&self, message: String) -> ScriptError {
        ScriptError { line: self.line, column: self.column, message }
    }
}

fn sign(c: char) -> Option<Kind> {
    Some(match c {
        ':' => Kind::Colon,
        ';' => Kind::Semicolon,
        ',' => Kind::Comma,
        '=' => Kind::Equals,
        _ => return None,
    })
}

/// Whether it can stand in a word.
fn is_plain(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && sign(c).is_none() && !matches!(c, '"' | '#' | '{')
}

/// All of a text, and the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ScriptError> {
    let mut tokens = Vec::new();
    let mut number = 0;
    for line in text.split('\n') {
        number += 1;
        let mut rest = line;
        let column = |rest: &str| line[..line.len() - rest.len()].chars().count() + 1;
        loop {
            rest = rest.trim_start();
            let token = |kind| Token { kind, line: number, column: column(rest) };
            let Some(first) = rest.chars().next().filter(|first| *first != '#') else {
                tokens.push(token(Kind::Line));
                break;
            };
            let (kind, length) = if let Some(kind) = sign(first) {
                (kind, first.len_utf8())
            } else if first == '"' {
                let mut strings = serde_json::Deserializer::from_str(rest).into_iter();
                match strings.next() {
                    Some(Ok(string)) => (Kind::Text(string), strings.byte_offset()),
                    _ => return Err(token(Kind::Line).error("this is no JSON string that ends in its line".into())),
                }
            } else {
                let length = rest.find(|c| !is_plain(c)).unwrap_or(rest.len());
                if length == 0 {
                    return Err(token(Kind::Line).error(format!("{first:?} stands in JSON strings only")));
                }
                (Kind::Word(rest[..length].to_owned()), length)
            };
            tokens.push(token(kind));
            rest = &rest[length..];
        }
    }
    tokens.push(Token { kind: Kind::End, line: number, column: 1 });
    if let [.., line, end] = tokens.as_mut_slice() {
        (end.line, end.column) = (line.line, line.column);
    }
    Ok(tokens)
}

/// Text as a word, or as a JSON string where it is none.
pub(super) fn word(text: &str) -> String {
    if text.is_empty() || !text.chars().all(is_plain) { quoted(text) } else { text.to_owned() }
}

/// Text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
