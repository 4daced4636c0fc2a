//! What is wrong in a file that a person wrote, and where.
//!
//! Owns the shape and the wording frame of an error in `schema.graphql` or `config.yaml`, the collecting of several of
//! them, and the guess at what was meant. It never decides what is an error.
//! Invariant: a [`Diagnostics`] holds at least one [`Diagnostic`]; lines and columns count from 1, columns in
//! characters.

use std::error::Error;
use std::fmt;

/// The largest `schema.graphql` or `config.yaml` that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// More errors than this in one file help nobody; the rest is dropped.
const MAX_FINDINGS: usize = 100;

/// Characters of a name or value that an error repeats.
const MAX_SHOWN_CHARS: usize = 64;

/// A place in a file, both numbers counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

/// One error of a file: where it is, what it is and, where there is one, a way out.
///
/// ```
/// use wtcache_server::schema::Schema;
///
/// let errors = Schema::parse("schema.graphql", b"type Item @table {\n  id: ID @primaryKy\n}").unwrap_err();
/// assert_eq!(
///     errors.iter().next().unwrap().to_string(),
///     "schema.graphql:2:10: unknown directive @primaryKy\n  hint: did you mean @primaryKey?"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the reader was told to call it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong. Holds no secret: a value taken from the environment is never part of it.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Error for Diagnostic {}

/// All errors found in the files, in the order of their places; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// The errors, first file first, top to bottom.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// The errors of both, those of `self` first.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, diagnostic) in self.0.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl Error for Diagnostics {}

/// The errors of one file while it is being read.
pub(crate) struct Findings<'a> {
    file: &'a str,
    found: Vec<Diagnostic>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        Self { file, found: Vec::new() }
    }

    /// Adds an error.
    pub(crate) fn add(&mut self, at: Position, message: impl Into<String>, hint: Option<String>) {
        if self.found.len() < MAX_FINDINGS {
            self.found.push(Diagnostic {
                file: self.file.to_owned(),
                line: at.line,
                column: at.column,
                message: message.into(),
                hint,
            });
        }
    }

    /// Adds an error after which there is nothing more to read, and gives all errors back.
    pub(crate) fn fail(mut self, at: Position, message: impl Into<String>, hint: Option<String>) -> Diagnostics {
        if self.found.len() == MAX_FINDINGS {
            self.found.pop();
        }
        self.add(at, message, hint);
        self.into_diagnostics()
    }

    /// `value` if nothing was found.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Diagnostics> {
        if self.found.is_empty() { Ok(value) } else { Err(self.into_diagnostics()) }
    }

    fn into_diagnostics(mut self) -> Diagnostics {
        self.found.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        Diagnostics(self.found)
    }
}

/// The text of a file's bytes, without a byte order mark.
///
/// # Errors
/// Too large, or not UTF-8.
pub(crate) fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Diagnostics> {
    if bytes.len() > MAX_FILE_BYTES {
        let message = format!("the file is larger than {MAX_FILE_BYTES} bytes");
        return Err(Findings::new(file).fail(Position::START, message, None));
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let last_line = valid.rsplit('\n').next().unwrap_or_default();
        let at = Position { line: valid.matches('\n').count() + 1, column: last_line.chars().count() + 1 };
        Findings::new(file).fail(at, "the file is not UTF-8", Some("save it as UTF-8 text".to_owned()))
    })
}

/// A name or value as an error repeats it: bounded, and without characters that move a terminal's cursor.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for (number, c) in text.chars().enumerate() {
        if number == MAX_SHOWN_CHARS {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// The known name that was likely meant by `unknown`.
pub(crate) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if unknown.len() > MAX_SHOWN_CHARS {
        return None;
    }
    let unknown = unknown.to_lowercase();
    let most_edits = (unknown.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&unknown, &name.to_lowercase()), name))
        .filter(|(edits, name)| *edits <= most_edits && *edits < name.chars().count())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// `did you mean …?`, or the list of what is known, each name behind `prefix`.
pub(crate) fn hint_of_known(unknown: &str, prefix: &str, known: &[&str]) -> String {
    match nearest(unknown, known.iter().copied()) {
        Some(name) => format!("did you mean {prefix}{name}?"),
        None => {
            let names: Vec<_> = known.iter().map(|name| format!("{prefix}{name}")).collect();
            format!("known: {}", names.join(", "))
        }
    }
}
