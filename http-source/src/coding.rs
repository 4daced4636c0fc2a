//! The content codings of bodies: gzip and brotli, within bounds.
//!
//! Invariant: what is decoded takes no more memory than the limit, the coded bytes and one window (32 KiB of gzip, up to 16 MiB of
//! brotli, as its stream declares and fills it); a coded body that ends early, or goes on behind its end, is never taken for a whole one.

use std::io::Read;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::bufread::MultiGzDecoder;
use ureq::http::{HeaderMap, header};

/// What is asked for where answers may come compressed.
pub(crate) const TAKEN: &str = "gzip, br";

/// What is asked for else.
pub(crate) const NONE: &str = "identity";

/// How a body is coded, by its `Content-Encoding`.
///
/// # Example
/// ```
/// use wtcache_http_source::{Coding, Undecoded};
///
/// assert_eq!(Coding::Identity.decode(b"as it is".to_vec(), 8), Ok(b"as it is".to_vec()));
/// assert!(matches!(Coding::Gzip.decode(b"as it is".to_vec(), 8), Err(Undecoded::Broken(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Coding {
    /// It stands as it is.
    Identity,
    /// gzip (RFC 1952), of one member or several.
    Gzip,
    /// Brotli (RFC 7932).
    Brotli,
    /// Another one, or several: as the headers name it.
    Other(String),
}

/// Why a body was not decoded.
#[derive(Debug, PartialEq, Eq)]
pub enum Undecoded {
    /// It is longer than the limit, decoded.
    TooLarge,
    /// What is wrong with it.
    Broken(String),
}

impl Coding {
    /// As these headers say.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut named: Vec<String> = headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .flat_map(|value| value.as_bytes().split(|b| *b == b','))
            .map(|coding| coding.trim_ascii().escape_ascii().to_string().to_ascii_lowercase())
            .filter(|coding| !coding.is_empty() && coding != NONE)
            .collect();
        match (named.pop(), named.is_empty()) {
            (None, _) => Self::Identity,
            (Some(last), true) => match last.as_str() {
                "gzip" | "x-gzip" => Self::Gzip,
                "br" => Self::Brotli,
                _ => Self::Other(last),
            },
            // Two codings of one body are allowed, and used by nobody.
            (Some(last), false) => Self::Other(format!("{}, {last}", named.join(", "))),
        }
    }

    /// How many bytes of a body are read whose record may have `limit`. A coding makes what it cannot make shorter a little longer.
    #[must_use]
    pub fn longest(&self, limit: usize) -> usize {
        match self {
            Self::Identity => limit,
            _ => limit.saturating_add(limit / 8).saturating_add(1024),
        }
    }

    /// What `coded` says, the whole of it.
    ///
    /// # Errors
    /// It is more than `limit` bytes, broken, or of a coding that is not known here.
    pub fn decode(&self, coded: Vec<u8>, limit: usize) -> Result<Vec<u8>, Undecoded> {
        // Servers name a coding of bodies that are empty, too.
        if *self == Self::Identity || coded.is_empty() {
            return Ok(coded);
        }
        match self.begin(&coded, limit) {
            (_, Some(broken)) => Err(Undecoded::Broken(broken)),
            (decoded, None) if decoded.len() > limit => Err(Undecoded::TooLarge),
            (decoded, None) => Ok(decoded),
        }
    }

    /// The beginning of what `coded` says: `limit` bytes and one more, if there are so many; with what ended it early, if it is broken.
    pub(crate) fn begin(&self, coded: &[u8], limit: usize) -> (Vec<u8>, Option<String>) {
        match self {
            Self::Identity => (coded[..coded.len().min(limit.saturating_add(1))].to_vec(), None),
            Self::Gzip => {
                let mut decoded = Vec::new();
                let mut reader = MultiGzDecoder::new(coded).take((limit as u64).saturating_add(1));
                let broken = reader.read_to_end(&mut decoded).err();
                (decoded, broken.map(|why| format!("its coding, gzip, is broken: {why}")))
            }
            Self::Brotli => brotli(coded, limit),
            Self::Other(name) => (Vec::new(), Some(format!("its coding, {name}, is none that is decoded here"))),
        }
    }
}

fn brotli(coded: &[u8], limit: usize) -> (Vec<u8>, Option<String>) {
    let alloc = StandardAlloc::default;
    // Strict: without the windows of up to 1 GiB that are an extension to RFC 7932.
    let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
    let (mut left, mut at, mut total) = (coded.len(), 0, 0);
    let mut decoded = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let (mut room, mut filled) = (chunk.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut at,
            coded,
            &mut room,
            &mut filled,
            &mut chunk,
            &mut total,
            &mut state,
        );
        let more = limit.saturating_add(1) - decoded.len();
        decoded.extend_from_slice(&chunk[..filled.min(more)]);
        let broken = match result {
            _ if decoded.len() > limit => None,
            BrotliResult::NeedsMoreOutput => continue,
            BrotliResult::ResultSuccess if left == 0 => None,
            BrotliResult::ResultSuccess => Some("it goes on behind its end"),
            BrotliResult::NeedsMoreInput => Some("it ends early"),
            BrotliResult::ResultFailure => Some("it is no such stream"),
        };
        return (decoded, broken.map(|why| format!("its coding, br, is broken: {why}")));
    }
}
