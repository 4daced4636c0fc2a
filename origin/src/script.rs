//! Scripts of faults: what becomes of the requests of each key, one after the other, as text.
//!
//! Owns: the language, both ways. Never: carries a fault out. Invariant: what is printed reads back as the same rules; what
//! cannot be read is refused whole, with the place.

mod lexer;

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::answer::{Answer, header_is_sound};
use crate::faults::{Fault, FaultKind, Named, Target};
use crate::http::Method;
use lexer::{Kind, Token, tokens};

/// The behaviour of a request that nothing goes wrong with.
pub(crate) const FARES_WELL: &str = "ok";
const DEFAULT: &str = "else";
const ANY: &str = "*";
/// In a list of headers, the body.
const BODY: &str = "body";

/// What becomes of the requests of each key and method: a row of behaviours, used up one request after the other.
///
/// ```text
/// # The third PUT, and all after it, fare well; so does every GET from the fourth on.
/// item-1: PUT 503, reset-after-apply; GET 429 retry-after=1, slow-body 20ms x2
/// # Whatever has no row of its own, or has used it up, meets these.
/// *: GET ok x5, else 503 body="closed for the day"
/// ```
///
/// A line is an id, a colon and rows, with semicolons between them; a row is a method and behaviours, with commas between them. It may go on in the
/// next line after a colon, a comma or a semicolon. `*` is any id, and the list of all: its rows come after those of single ids, wherever they stand. An
/// id with spaces or any of `:;,=#"{` in it is written as a JSON string. Two rows of one id and method are one, in the order
/// in which they stand.
///
/// A behaviour is `ok`, a status, or the name of a [`FaultKind`] with what it needs: `delay-after-apply 20ms` (`ns`, `us`, `ms` or
/// `s`), `oversize-body 4000` (bytes), `apply-then-answer 503`. A status may be followed by headers and the body, `NAME=VALUE`, the
/// value a word or a JSON string; it is [`FaultKind::Answer`], which may be written so, too. `x3` after a behaviour: three times.
/// `else` before the last one of a row: that is for all further requests.
///
/// ```
/// use wtcache_origin::{Origin, OriginOptions, Script};
/// let origin = Origin::start(OriginOptions::new())?;
/// let script: Script = "item-1: PUT 503, reset-after-apply x2; GET 429 retry-after=1, else ok".parse()?;
/// origin.faults(script);
/// let error = "item-1: PUT 503, reset-perhaps".parse::<Script>().unwrap_err();
/// assert!(error.to_string().starts_with("line 1, column 18: "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    rules: Vec<Fault>,
}

impl Script {
    /// It says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl IntoIterator for Script {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    /// Its rules, those of single ids first.
    fn into_iter(self) -> Self::IntoIter {
        self.rules.into_iter()
    }
}

/// Why a text is no script, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError {
    line: usize,
    column: usize,
    message: String,
}

impl ScriptError {
    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The character in the line, from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message } = self;
        write!(f, "line {line}, column {column}: {message}")
    }
}

impl Error for ScriptError {}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let tokens = tokens(text)?;
        let mut reader = Reader { tokens: &tokens, at: 0, ended: HashSet::new(), rules: Vec::new() };
        loop {
            reader.skip_lines();
            if reader.at_end() {
                break;
            }
            reader.line()?;
        }
        let mut rules = reader.rules;
        rules.sort_by_key(|rule| rule.target == Target::Any);
        Ok(Self { rules })
    }
}

/// Reads tokens from left to right; the last of them is the end.
struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    /// What has its default, so that nothing may follow.
    ended: HashSet<(Method, Option<String>)>,
    rules: Vec<Fault>,
}

impl Reader<'_> {
    fn token(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn at_end(&self) -> bool {
        self.token().kind == Kind::End
    }

    fn is(&self, kind: &Kind) -> bool {
        self.token().kind == *kind
    }

    fn skip_lines(&mut self) {
        while self.is(&Kind::Line) {
            self.at += 1;
        }
    }

    /// Takes the next token if it is this; what follows may stand in the next line.
    fn takes(&mut self, kind: &Kind) -> bool {
        let takes = self.is(kind);
        if takes {
            self.at += 1;
            self.skip_lines();
        }
        takes
    }

    fn word(&self) -> Option<&str> {
        match &self.token().kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    /// The next token is not what it should be.
    fn expected(&self, what: &str) -> ScriptError {
        let token = self.token();
        token.error(format!("{what} is expected, not {}", token.kind))
    }

    fn line(&mut self) -> Result<(), ScriptError> {
        let id = match &self.token().kind {
            Kind::Word(word) if word == ANY => None,
            Kind::Word(text) | Kind::Text(text) => Some(text.clone()),
            _ => return Err(self.expected("an id or *")),
        };
        self.at += 1;
        if !self.takes(&Kind::Colon) {
            return Err(self.expected("a colon after the id"));
        }
        loop {
            self.row(id.as_deref())?;
            if !self.takes(&Kind::Semicolon) {
                break;
            }
        }
        if self.is(&Kind::Line) || self.at_end() {
            return Ok(());
        }
        Err(self.expected("a comma, a semicolon or the end of the line"))
    }

    fn row(&mut self, id: Option<&str>) -> Result<(), ScriptError> {
        let method = match self.word().map(Method::of) {
            Some(method) if method != Method::Other => method,
            _ => return Err(self.expected("a method (GET, HEAD, PUT, DELETE, POST or PATCH)")),
        };
        self.at += 1;
        loop {
            if self.ended.contains(&(method, id.map(str::to_owned))) {
                return Err(self
                    .token()
                    .error(format!("nothing comes after `{DEFAULT}`, which is for all further requests")));
            }
            self.behaviour(method, id)?;
            if !self.takes(&Kind::Comma) {
                return Ok(());
            }
        }
    }

    fn behaviour(&mut self, method: Method, id: Option<&str>) -> Result<(), ScriptError> {
        let always = self.word() == Some(DEFAULT);
        if always {
            self.at += 1;
        }
        let on = Fault::on(method, id.map_or(Target::Any, Target::from));
        let rule = match self.kind()? {
            Some(kind) => on.kind(kind),
            None => on.fares_well(),
        };
        let times = self.times(always)?;
        if always {
            self.ended.insert((method, id.map(str::to_owned)));
            self.rules.push(rule.always());
        } else {
            self.rules.push(rule.times(times));
        }
        Ok(())
    }

    /// `None`: it fares well.
    fn kind(&mut self) -> Result<Option<FaultKind>, ScriptError> {
        let Some(word) = self.word() else { return Err(self.expected("a behaviour")) };
        if word == FARES_WELL {
            self.at += 1;
            return Ok(None);
        }
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.answer().map(FaultKind::Answer).map(Some);
        }
        let Some(named) = FaultKind::named(word) else {
            let names = FaultKind::NAMES.join(", ");
            return Err(self.token().error(format!("{word:?} is no behaviour: {FARES_WELL}, a status, {names}")));
        };
        self.at += 1;
        let kind = match named {
            Named::Whole(kind) => kind,
            Named::Delay(kind) => kind(self.time()?),
            Named::Bytes(kind) => {
                let bytes = self.word().and_then(|word| word.parse().ok());
                let bytes = bytes.ok_or_else(|| self.expected("a number of bytes"))?;
                self.at += 1;
                kind(bytes)
            }
            Named::Answer(kind) => kind(self.answer()?),
        };
        Ok(Some(kind))
    }

    /// How often. `always`: it may not be said.
    fn times(&mut self, always: bool) -> Result<u32, ScriptError> {
        let Some(word) = self.word() else { return Ok(1) };
        let digits = word.strip_prefix('x').filter(|digits| !digits.is_empty());
        let times = digits.and_then(|digits| digits.parse().ok()).filter(|times| *times > 0);
        let Some(times) = times else {
            return Err(self.expected("a comma, a semicolon, x and a number from 1, or the end of the line"));
        };
        if always {
            return Err(self.token().error(format!("what is `{DEFAULT}` is not counted")));
        }
        self.at += 1;
        Ok(times)
    }

    fn time(&mut self) -> Result<Duration, ScriptError> {
        let time = self.word().and_then(|word| {
            let digits = word.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = word[..digits].parse().ok()?;
            Some(match &word[digits..] {
                "ns" => Duration::from_nanos(number),
                "us" => Duration::from_micros(number),
                "ms" => Duration::from_millis(number),
                "s" => Duration::from_secs(number),
                _ => return None,
            })
        });
        let time = time.ok_or_else(|| self.expected("a time such as 20ms"))?;
        self.at += 1;
        Ok(time)
    }

    /// A status, and what is said of its headers and its body.
    fn answer(&mut self) -> Result<Answer, ScriptError> {
        let status = self.word().and_then(|word| word.parse().ok()).filter(|status| (200..=599).contains(status));
        let mut answer = Answer::new(status.ok_or_else(|| self.expected("a status from 200 to 599"))?);
        self.at += 1;
        while let (Some(name), Kind::Equals) =
            (self.word(), &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind)
        {
            let (name, start) = (name.to_owned(), self.at);
            self.at += 2;
            let value = match &self.token().kind {
                Kind::Word(text) | Kind::Text(text) => text.clone(),
                _ => return Err(self.expected("a value")),
            };
            if name == BODY {
                answer = answer.body(value);
            } else if header_is_sound(&name, &value) {
                answer = answer.header(name, value);
            } else {
                return Err(self.tokens[start].error(format!("{name:?} with {value:?} is no header")));
            }
            self.at += 1;
        }
        Ok(answer)
    }
}

impl fmt::Display for Script {
    /// A rule a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.iter().try_for_each(|rule| writeln!(f, "{rule}"))
    }
}

impl fmt::Display for Fault {
    /// A line of a [`Script`]. A body that is no text is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Any => f.write_str(ANY)?,
            Target::Id(id) if id == ANY => write!(f, "{}", lexer::quoted(id))?,
            Target::Id(id) => write!(f, "{}", lexer::word(id))?,
        }
        write!(f, ": {} ", self.method.name())?;
        if self.left.is_none() {
            write!(f, "{DEFAULT} ")?;
        }
        match &self.kind {
            None => f.write_str(FARES_WELL)?,
            Some(FaultKind::Answer(answer)) => write_answer(f, answer)?,
            Some(kind) => write_kind(f, kind)?,
        }
        match self.left {
            None | Some(1) => Ok(()),
            Some(times) => write!(f, " x{times}"),
        }
    }
}

fn write_kind(f: &mut fmt::Formatter<'_>, kind: &FaultKind) -> fmt::Result {
    f.write_str(kind.name())?;
    match kind {
        FaultKind::DelayBeforeApply(time)
        | FaultKind::DelayAfterApply(time)
        | FaultKind::SlowBody(time)
        | FaultKind::StrayReset(time)
        | FaultKind::StrayHang(time) => write_time(f, *time),
        FaultKind::OversizeBody(bytes) => write!(f, " {bytes}"),
        FaultKind::ApplyThenAnswer(answer) => {
            f.write_str(" ")?;
            write_answer(f, answer)
        }
        _ => Ok(()),
    }
}

fn write_time(f: &mut fmt::Formatter<'_>, time: Duration) -> fmt::Result {
    match time.as_nanos() {
        nanos if nanos % 1_000_000_000 == 0 => write!(f, " {}s", time.as_secs()),
        nanos if nanos % 1_000_000 == 0 => write!(f, " {}ms", time.as_millis()),
        nanos if nanos % 1_000 == 0 => write!(f, " {}us", time.as_micros()),
        nanos => write!(f, " {nanos}ns"),
    }
}

fn write_answer(f: &mut fmt::Formatter<'_>, answer: &Answer) -> fmt::Result {
    write!(f, "{}", answer.status())?;
    for (name, value) in answer.headers() {
        write!(f, " {name}={}", lexer::word(value))?;
    }
    match answer.text() {
        Some(text) => write!(f, " {BODY}={}", lexer::quoted(text)),
        None => Ok(()),
    }
}
