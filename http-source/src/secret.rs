//! Where a value comes from that nobody is to see.
//!
//! Invariant: a value shows in no error and no `Debug` output.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// All headers together must fit the head of a request.
const MAX_SECRET_BYTES: usize = 8 * 1024;

/// A value that nobody is to see, or where it stands. It is read when a source is built; one in a file again, where the origin
/// answers 401 ([`HttpSourceBuilder::bearer`](crate::HttpSourceBuilder::bearer)).
///
/// ```
/// use wtcache_http_source::Secret;
///
/// assert_eq!(format!("{:?}", Secret::text("s3cret")), "Secret([redacted])");
/// assert_eq!(format!("{:?}", Secret::file("/run/secrets/token")), "Secret(file /run/secrets/token)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Kept);

#[derive(Clone, PartialEq, Eq)]
enum Kept {
    Text(String),
    Environment(String),
    File(PathBuf),
}

impl Secret {
    /// This text.
    pub fn text(text: impl Into<String>) -> Self {
        Self(Kept::Text(text.into()))
    }

    /// What the variable of this name in the environment of the process holds.
    pub fn environment(name: impl Into<String>) -> Self {
        Self(Kept::Environment(name.into()))
    }

    /// What the file holds: a text without the line break at its end, of at most 8 KiB.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kept::File(path.into()))
    }

    /// It may be another one later.
    pub(crate) fn may_change(&self) -> bool {
        matches!(self.0, Kept::File(_))
    }

    /// The value as it is now.
    ///
    /// # Errors
    /// Why there is none; the text names the file or the variable, and not what it holds.
    pub fn read(&self) -> Result<String, String> {
        let (text, name) = match &self.0 {
            Kept::Text(text) => return Ok(text.clone()),
            Kept::Environment(name) => {
                let text = std::env::var(name).map_err(|_| format!("the environment has no variable {name}"))?;
                (text, name.clone())
            }
            Kept::File(path) => {
                let name = path.display().to_string();
                let bytes = read_file(path, MAX_SECRET_BYTES).map_err(|why| format!("{name} {why}"))?;
                let text = String::from_utf8(bytes).map_err(|_| format!("{name} holds no text"))?;
                (text, name)
            }
        };
        let text = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() { Err(format!("{name} is empty")) } else { Ok(text.to_owned()) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Text(_) => f.write_str("Secret([redacted])"),
            Kept::Environment(name) => write!(f, "Secret(environment {name})"),
            Kept::File(path) => write!(f, "Secret(file {})", path.display()),
        }
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

/// A file of at most `most` bytes; else why not, to follow its name.
pub(crate) fn read_file(path: &Path, most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes))
        .map_err(|why| format!("cannot be read: {why}"))?;
    if bytes.len() > most { Err(format!("is longer than {most} bytes")) } else { Ok(bytes) }
}
