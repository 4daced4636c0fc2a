//! The control requests, `/_…`: the log and the faults over HTTP, for a person with curl.
//!
//! Owns: their JSON. Never: touches a record. Invariant: they are not logged and no fault strikes them; what they do not
//! know they refuse by name instead of ignoring it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::answer::{Answer, header_is_sound};
use crate::faults::{Fault, FaultKind, Named, RULE_LIMIT, Target};
use crate::http::Method;
use crate::script::{FARES_WELL, Script};
use crate::server::Shared;

/// `GET /_log` shows this many of the newest entries if the query does not say `last=N`.
const SHOWN: usize = 1000;
/// In the place of a number of times.
const ALWAYS: &str = "always";

/// Answers the control request for `path`.
pub(crate) fn answer(shared: &Shared, method: Method, path: &str, query: &str, body: &[u8]) -> Answer {
    let faults_allowed = shared.options.faults_over_http;
    match (path, method) {
        ("/_log", Method::Get) => log(shared, query),
        ("/_calls", Method::Get) => Answer::new(200).json(&json!({ "calls": shared.log.calls() })),
        ("/_log" | "/_calls", _) => Answer::error(405, "only GET here").header("Allow", "GET"),
        ("/_faults", _) if !faults_allowed => Answer::error(404, "faults over HTTP are not enabled"),
        ("/_faults", Method::Get) => Answer::new(200).json(&waiting(shared)),
        ("/_faults", Method::Post) => match posted(body) {
            Ok(faults) => match shared.faults.push(faults) {
                true => Answer::new(201).json(&waiting(shared)),
                false => Answer::error(409, format!("no more than {RULE_LIMIT} faults may wait")),
            },
            Err(message) => Answer::error(400, message),
        },
        ("/_faults", Method::Delete) => {
            shared.faults.clear();
            Answer::new(204)
        }
        ("/_faults", _) => Answer::error(405, "GET, POST or DELETE here").header("Allow", "GET, POST, DELETE"),
        _ => Answer::error(404, "the control requests are /_log, /_calls and /_faults"),
    }
}

fn log(shared: &Shared, query: &str) -> Answer {
    let last = query.split('&').find_map(|pair| pair.strip_prefix("last="));
    let Ok(count) = last.map_or(Ok(SHOWN), str::parse) else {
        return Answer::error(400, "last is a number of entries");
    };
    let entries = shared.log.last(count);
    Answer::new(200).json(&Value::Array(entries.iter().map(crate::log::Entry::to_json).collect()))
}

fn waiting(shared: &Shared) -> Value {
    let shown = |fault: &Fault| {
        let id = match &fault.target {
            Target::Any => Value::Null,
            Target::Id(id) => id.as_str().into(),
        };
        let kind = fault.kind.as_ref().map_or(FARES_WELL, FaultKind::name);
        let times = fault.left.map_or(ALWAYS.into(), Value::from);
        json!({ "method": fault.method.name(), "id": id, "kind": kind, "times": times })
    };
    Value::Array(shared.faults.waiting().iter().map(shown).collect())
}

/// The rules of a body: a JSON object is one, any other text a script.
fn posted(body: &[u8]) -> Result<Vec<Fault>, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("not UTF-8: {error}"))?;
    if text.trim_start().starts_with('{') {
        let rule = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        return parse(rule).map(|fault| vec![fault]);
    }
    let script: Script = text.parse().map_err(|error| format!("not a script: {error}"))?;
    if script.is_empty() {
        return Err("a fault is a JSON object, or a line of a script; this is neither".into());
    }
    Ok(script.into_iter().collect())
}

/// The rule in `{"method", "id", "kind", "times", …}`; the rest depends on the kind. Without `id`: any.
fn parse(rule: Map<String, Value>) -> Result<Fault, String> {
    let mut fields = Fields(rule);
    let method = match fields.text("method")?.as_deref().map(Method::of) {
        None | Some(Method::Other) => {
            return Err("method: one of GET, HEAD, PUT, DELETE, POST, PATCH".into());
        }
        Some(method) => method,
    };
    let target = fields.text("id")?.map_or(Target::Any, Target::Id);
    let times = fields.times()?;
    let kind = fields.text("kind")?.ok_or("kind: missing")?;
    let rule = Fault::on(method, target);
    let rule = if kind == FARES_WELL {
        rule.fares_well()
    } else {
        rule.kind(match FaultKind::named(&kind).ok_or_else(|| format!("kind: {kind:?} is unknown"))? {
            Named::Whole(kind) => kind,
            Named::Delay(kind) => kind(fields.delay()?),
            Named::Bytes(kind) => kind(fields.number("bytes")?.ok_or("bytes: missing")?),
            Named::Answer(kind) => kind(fields.answer()?),
        })
    };
    fields.none_left(&kind)?;
    Ok(match times {
        Some(times) => rule.times(times),
        None => rule.always(),
    })
}

/// The fields that were not looked at yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name}: a string is expected")),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| format!("{name}: a whole number is expected")),
        }
    }

    /// Once, if nothing is said. `None`: always.
    fn times(&mut self) -> Result<Option<u32>, String> {
        match self.0.remove("times") {
            None => Ok(Some(1)),
            Some(Value::String(text)) if text == ALWAYS => Ok(None),
            Some(value) => match value.as_u64().map(u32::try_from) {
                Some(Ok(times)) => Ok(Some(times)),
                Some(Err(_)) => Err("times: too large".into()),
                None => Err(format!("times: a whole number or {ALWAYS:?} is expected")),
            },
        }
    }

    fn delay(&mut self) -> Result<Duration, String> {
        self.number("delay_ms")?.map(Duration::from_millis).ok_or_else(|| "delay_ms: missing".into())
    }

    /// `status`, and optionally `headers` and `body` (a string as is, other JSON with its Content-Type).
    fn answer(&mut self) -> Result<Answer, String> {
        let status = self.number("status")?.ok_or("status: missing")?;
        let status = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
        let mut answer = Answer::new(status.ok_or("status: 200 to 599")?);
        let headers = match self.0.remove("headers") {
            None => Map::new(),
            Some(Value::Object(headers)) => headers,
            Some(_) => return Err("headers: an object is expected".into()),
        };
        for (name, value) in headers {
            match value {
                Value::String(value) if header_is_sound(&name, &value) => answer = answer.header(name, value),
                _ => return Err(format!("headers: {name:?} is not a header with a string")),
            }
        }
        Ok(match self.0.remove("body") {
            None => answer,
            Some(Value::String(text)) => answer.body(text),
            Some(value) => answer.json(&value),
        })
    }

    fn none_left(&self, kind: &str) -> Result<(), String> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("{name}: unknown for {kind}")),
        }
    }
}
