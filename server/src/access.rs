//! Access lines: one for each request that was answered.
//!
//! Invariants: without an access log nothing is made for it; a line shows no query, no header that the client sent and no record, but the key, and the
//! name of who asked; the paths in it that are no key's are those that are served here.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use axum::body::{Body, HttpBody};
use axum::http::{Method, Response, Uri};
use percent_encoding::percent_decode_str;

use crate::config::{AccessLog, LogFormat};
use crate::lines::Lines;
use crate::log::Line;
use crate::own;
use crate::served::Tables;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The path, without what is a client's in it.
    pub(crate) template: Cow<'static, str>,
    pub(crate) key: Option<String>,
}

impl Route {
    /// `None`: nothing is served there.
    pub(crate) fn of(uri: &Uri, tables: &Tables) -> Option<Self> {
        let path = uri.path();
        if let Some(template) = own::route(path) {
            return Some(Self { template: template.into(), key: None });
        }
        if path == "*" {
            return Some(Self { template: "*".into(), key: None });
        }
        let path = path.strip_prefix('/')?;
        let (table, key) = path.split_once('/').unwrap_or((path, ""));
        let table = percent_decode_str(table).decode_utf8().ok()?;
        if !tables.contains_key(&*table) || key.contains('/') {
            return None;
        }
        Some(match key {
            "" => Self { template: format!("/{table}/").into(), key: None },
            key => {
                let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
                Self { template: format!("/{table}/{{key}}").into(), key: Some(key) }
            }
        })
    }
}

/// A request that was answered.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    /// http or https.
    pub(crate) scheme: &'static str,
    pub(crate) route: Option<&'a Route>,
    pub(crate) response: &'a Response<Body>,
    /// What it came to, in a word.
    pub(crate) what: &'static str,
    pub(crate) principal: Option<&'a str>,
    pub(crate) elapsed: Duration,
}

impl Request<'_> {
    pub(crate) fn cache_status(&self) -> Option<&str> {
        self.response.headers().get("cache-status")?.to_str().ok()
    }

    /// The length of the body that goes out; `None` of a stream.
    pub(crate) fn bytes(&self) -> Option<u64> {
        if *self.method == Method::HEAD { Some(0) } else { self.response.body().size_hint().exact() }
    }
}

/// Where access lines go.
pub(crate) struct Access {
    format: LogFormat,
    lines: Lines,
}

impl Access {
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(config: &AccessLog, format: LogFormat) -> Result<Self, String> {
        let lines = match config {
            AccessLog::Stderr => Lines::stderr().map_err(|error| format!("access_log: {error}")),
            AccessLog::File(path) => {
                Lines::file(path).map_err(|error| format!("access_log: {}: {error}", path.display()))
            }
        };
        Ok(Self { format, lines: lines? })
    }

    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }

    pub(crate) fn tell(&self, request: &Request<'_>, trace_id: Option<&str>) {
        let mut line = Line::new(self.format, SystemTime::now(), "info", "request");
        line.text("method", request.method.as_str());
        if let Some(route) = request.route {
            line.text("path", &route.template);
            if let Some(key) = &route.key {
                line.text("key", key);
            }
        }
        line.number("status", request.response.status().as_u16());
        if let Some(bytes) = request.bytes() {
            line.number("bytes", bytes);
        }
        line.number("micros", request.elapsed.as_micros());
        if let Some(status) = request.cache_status() {
            line.text("cache", status);
        }
        line.text("outcome", request.what);
        if let Some(principal) = request.principal {
            line.text("principal", principal);
        }
        if let Some(trace_id) = trace_id {
            line.text("trace_id", trace_id);
        }
        self.lines.put(line.end());
    }
}
