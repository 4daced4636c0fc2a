//! What is told of the front, from the tree: log, access lines, traces.

use super::super::Config;
use super::super::telling::{AccessLog, LogFormat, TelemetryConfig};
use super::super::value::{self, Value, Wrong};
use super::super::yaml::Node;
use super::{Fields, Reader, choice};
use crate::diagnostic::Position;

/// The keys that are read here.
pub(super) const KNOWN: [&str; 3] = ["log", "access_log", "telemetry"];

impl Reader<'_> {
    pub(super) fn telling(&mut self, fields: Fields<'_>, config: &mut Config) {
        self.set(fields, "log", &mut config.log, |value| {
            choice(value, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
        });
        self.set(fields, "access_log", &mut config.access_log, access_log);
        if let Some((key, node)) = fields.get("telemetry") {
            config.telemetry = self.telemetry(key.at, node);
        }
    }

    fn telemetry(&mut self, at: Position, node: &Node) -> Option<TelemetryConfig> {
        let fields = self.fields("telemetry", node, &["traces", "service", "sample", "headers"])?;
        let mut telemetry = TelemetryConfig::new("");
        if fields.get("traces").is_none() {
            self.add(at, "telemetry lacks traces", Some("write: traces: http://127.0.0.1:4318/v1/traces"));
        }
        self.set(fields, "traces", &mut telemetry.traces, value::fixed_url);
        self.set(fields, "service", &mut telemetry.service, service);
        self.set(fields, "sample", &mut telemetry.sample_percent, |value| value::percent(value, 0..=100));
        if let Some((key, node)) = fields.get("headers") {
            telemetry.headers = self.headers(node);
            if telemetry.headers.iter().any(|header| header.name.eq_ignore_ascii_case("content-type")) {
                self.add(key.at, "headers: Content-Type is application/json, and no other", Some("leave it out"));
            }
        }
        Some(telemetry)
    }
}

fn access_log(value: &Value) -> Result<Option<AccessLog>, Wrong> {
    match value.text.as_str() {
        "none" => Ok(None),
        "stderr" => Ok(Some(AccessLog::Stderr)),
        _ => value::file(value).map(|file| Some(AccessLog::File(file))),
    }
}

fn service(value: &Value) -> Result<String, Wrong> {
    if value.text.trim().is_empty() {
        let hint = Some("write what this server is called: inventory-cache".to_owned());
        return Err(Wrong { message: "a service without a name".to_owned(), hint });
    }
    Ok(value.text.clone())
}
