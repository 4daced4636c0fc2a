//! How what the front does is seen from outside: its log, its access lines, its traces.

use std::fmt;
use std::path::PathBuf;

use super::{HeaderConfig, without_query};

/// The shape of the lines that tell what happens, and of access lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Time, level and event, then `name=value` for each field, in double quotes where it is more than a word.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Where a line for each request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// To standard error.
    Stderr,
    /// To the end of a file.
    File(PathBuf),
}

/// Where traces go, and which.
#[derive(Clone, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// The URL of a collector that takes OTLP over HTTP, as JSON: `http://127.0.0.1:4318/v1/traces`.
    pub traces: String,
    /// What this server is called there (`service.name`); by default `wtcache`.
    pub service: String,
    /// The share in percent of the requests without a trace of their client's for which one is begun; by default 1. What a client
    /// traces is sent where the client says that it is recorded.
    pub sample_percent: u8,
    /// Headers of what is sent there.
    pub headers: Vec<HeaderConfig>,
}

impl TelemetryConfig {
    /// The defaults of everything but the URL.
    pub fn new(traces: impl Into<String>) -> Self {
        Self { traces: traces.into(), service: "wtcache".to_owned(), sample_percent: 1, headers: Vec::new() }
    }
}

impl fmt::Debug for TelemetryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryConfig")
            .field("traces", &without_query(&self.traces))
            .field("service", &self.service)
            .field("sample_percent", &self.sample_percent)
            .field("headers", &self.headers)
            .finish()
    }
}
