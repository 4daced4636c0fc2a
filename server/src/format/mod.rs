//! The formats of bodies: JSON, CBOR, MessagePack and, for reading, CSV.
//!
//! Records are held, checked and patched as JSON. Another format is made of it at the door and taken to it there: `door.rs` for what goes out,
//! [`Sent`] for what comes in. Invariant: what a format cannot hold is refused or left as JSON that says so, and never bent.

mod accept;
mod coding;
mod csv;
mod decode;
mod door;
mod encode;

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};

pub(crate) use self::door::{Door, One, take_conditions};
use crate::problem::Problem;

/// How a record is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Cbor,
    MessagePack,
    Csv,
}

/// A format under one of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offer {
    format: Format,
    kind: &'static str,
}

/// What can be asked for, the first first.
const OFFERS: [Offer; 5] = [
    Offer { format: Format::Json, kind: "application/json" },
    Offer { format: Format::Cbor, kind: "application/cbor" },
    Offer { format: Format::MessagePack, kind: "application/msgpack" },
    Offer { format: Format::MessagePack, kind: "application/x-msgpack" },
    Offer { format: Format::Csv, kind: "text/csv" },
];

impl Format {
    /// What its tags end in: a tag is of a representation, not of a record.
    fn suffix(self) -> &'static [u8] {
        match self {
            Self::Json => b"\"",
            Self::Cbor => b";cbor\"",
            Self::MessagePack => b";msgpack\"",
            Self::Csv => b";csv\"",
        }
    }
}

/// The format of a body that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Json,
    Cbor,
    MessagePack,
}

/// What a body of a write may be, for whoever sent another.
const TAKEN: &str = "application/json, application/cbor, application/msgpack, application/x-msgpack";

/// The media types of a patch. Each means a merge patch: plain JSON is what most clients call it.
const PATCHES: &str = "application/merge-patch+json, application/json, application/cbor, application/msgpack, \
                       application/x-msgpack";

impl Sent {
    /// The format of a record. Without a Content-Type, and with one that clients give to JSON for want of a better, it is JSON.
    ///
    /// # Errors
    /// 415: the Content-Type is another.
    pub(crate) fn record(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(kind) = essence(headers) else { return Ok(Self::Json) };
        let taken = match kind.as_str() {
            "" | "text/json" | "text/plain" | "application/x-www-form-urlencoded" | "application/octet-stream" => {
                Some(Self::Json)
            }
            kind if kind.ends_with("+json") => Some(Self::Json),
            kind => Self::named(kind),
        };
        taken.ok_or_else(|| {
            let detail = format!("a record is sent as one of {TAKEN}, not as {}", crate::diagnostic::shown(&kind));
            let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
            problem.header(ACCEPT, HeaderValue::from_static(TAKEN))
        })
    }

    /// The format of a patch, which has to say that it is one.
    ///
    /// # Errors
    /// 415: it does not.
    pub(crate) fn patch(headers: &HeaderMap) -> Result<Self, Problem> {
        let taken = essence(headers).and_then(|kind| match kind.as_str() {
            "application/merge-patch+json" => Some(Self::Json),
            kind => Self::named(kind),
        });
        taken.ok_or_else(|| {
            let detail = format!("a patch is a merge patch (RFC 7396); its Content-Type is one of {PATCHES}");
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).accept_patch(PATCHES)
        })
    }

    fn named(kind: &str) -> Option<Self> {
        match OFFERS.into_iter().find(|offer| offer.kind == kind)?.format {
            Format::Json => Some(Self::Json),
            Format::Cbor => Some(Self::Cbor),
            Format::MessagePack => Some(Self::MessagePack),
            // Its fields have no types.
            Format::Csv => None,
        }
    }

    /// The body as JSON text of at most `limit` bytes.
    ///
    /// # Errors
    /// It is not of its format, or holds what JSON cannot; 413: it takes more bytes as JSON.
    pub(crate) fn json(self, body: Vec<u8>, limit: usize) -> Result<Vec<u8>, Problem> {
        let (name, decoded) = match self {
            Self::Json => return Ok(body),
            Self::Cbor => ("CBOR", decode::cbor(&body)),
            Self::MessagePack => ("MessagePack", decode::message_pack(&body)),
        };
        let refused = |why| Problem::new(StatusCode::BAD_REQUEST, format!("not {name} that can be a record: {why}"));
        let value = decoded.map_err(refused)?;
        let json = value.to_string().into_bytes();
        if json.len() > limit {
            let detail = format!("as JSON, the body is larger than the {limit} bytes that the table takes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        Ok(json)
    }
}

/// The media type of a body, without its parameters; `None` where none is given.
fn essence(headers: &HeaderMap) -> Option<String> {
    let kind = String::from_utf8_lossy(headers.get(CONTENT_TYPE)?.as_bytes()).into_owned();
    Some(kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}
