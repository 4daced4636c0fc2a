//! `wtcache demo --walk`: the tutorial, step by step, over real HTTP, with what the origin's own log saw.
//!
//! Invariant: a step that did not do what it should ends the walk with an error, and nothing is judged by what this program's own
//! counters say: the origin's log is the witness.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::Value;
use wtcache_origin::{Entry, Fault, FaultKind, Method, Origin, Target, When};

use crate::demo::{line, origin_line};

/// An answer of the front.
struct Answer {
    status: u16,
    etag: Option<String>,
    cache_status: String,
    complete: Option<String>,
    pending: bool,
    location: Option<String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

struct Walk<'a> {
    origin: &'a Origin,
    base: &'a str,
    client: ureq::Agent,
    step: usize,
}

/// Goes through the tutorial against the front at `base` and its origin.
///
/// # Errors
/// The first step that did not do what it should, with what was expected and what came.
pub fn walk(origin: &Origin, base: &str) -> Result<(), String> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build();
    let mut walk = Walk { origin, base, client: config.into(), step: 0 };
    let first = walk.writes_and_hits()?;
    walk.absence()?;
    walk.queries()?;
    walk.refusals()?;
    walk.patches()?;
    walk.conditions(&first)?;
    walk.before_it_is_confirmed()?;
    walk.changes_elsewhere()?;
    walk.one_load_for_all()?;
    walk.in_doubt()?;
    walk.outage()?;
    walk.removal()?;
    line(&format!("\nall {} steps did what they should", walk.step));
    Ok(())
}

const RECORD: &str = r#"{"sku":"WB-100","name":"Widget","quantity":5,"warehouseId":"east"}"#;

impl Walk<'_> {
    /// Gives the tag of the first record.
    fn writes_and_hits(&mut self) -> Result<String, String> {
        let (put, saw) = self.step("a write goes to the origin first", "PUT", "item-001", Some(RECORD), None)?;
        expect("status", &put.status, &200)?;
        expect("origin calls", &saw.len(), &1)?;
        let record = put.json();
        expect("the origin's own field", &record["revision"].to_string(), &"1".to_owned())?;
        let tag = put.etag.clone().ok_or("the answer to the write has no ETag")?;

        let (get, saw) = self.step("what it confirmed is served from here", "GET", "item-001", None, None)?;
        expect("status", &get.status, &200)?;
        expect("origin calls", &saw.len(), &0)?;
        expect("record", &get.json(), &record)?;

        let (same, saw) =
            self.step("unchanged, by its ETag", "GET", "item-001", None, Some(("If-None-Match", &tag)))?;
        expect("status", &same.status, &304)?;
        expect("origin calls", &saw.len(), &0)?;

        let (head, saw) = self.step("without the body", "HEAD", "item-001", None, None)?;
        expect("status", &head.status, &200)?;
        expect("body", &head.body, &String::new())?;
        expect("origin calls", &saw.len(), &0)?;
        Ok(tag)
    }

    fn absence(&mut self) -> Result<(), String> {
        let (first, saw) = self.step("what the origin does not have is asked once", "GET", "item-404", None, None)?;
        expect("status", &first.status, &404)?;
        expect("origin calls", &saw.len(), &1)?;
        let (second, saw) = self.step("and remembered", "GET", "item-404", None, None)?;
        expect("status", &second.status, &404)?;
        expect("origin calls", &saw.len(), &0)
    }

    fn queries(&mut self) -> Result<(), String> {
        let (found, saw) = self.step("resident records by index", "GET", "?sku=WB-100", None, None)?;
        expect("status", &found.status, &200)?;
        expect("records", &found.json().as_array().map(Vec::len), &Some(1))?;
        expect("Wtcache-Complete", &found.complete.as_deref(), &Some("?0"))?;
        expect("origin calls", &saw.len(), &0)
    }

    fn refusals(&mut self) -> Result<(), String> {
        let bad = r#"{"sku":"WB-100","quantity":"five"}"#;
        let (refused, saw) = self.step("what breaks the schema is not sent", "PUT", "item-001", Some(bad), None)?;
        expect("status", &refused.status, &400)?;
        expect("field", &refused.json()["field"], &Value::from("quantity"))?;
        expect("origin calls", &saw.len(), &0)?;

        let much = r#"{"sku":"WB-100","quantity":2000000}"#;
        let (refused, saw) = self.step("the origin refuses, in its own words", "PUT", "item-001", Some(much), None)?;
        expect("status", &refused.status, &422)?;
        expect("error", &refused.json()["error"], &Value::from("quantity is limited to 1000000"))?;
        expect("origin calls", &saw.len(), &1)?;
        let (kept, saw) = self.step("and nothing changed here", "GET", "item-001", None, None)?;
        expect("quantity", &kept.json()["quantity"], &Value::from(5))?;
        expect("origin calls", &saw.len(), &0)
    }

    fn patches(&mut self) -> Result<(), String> {
        let kind = Some(("Content-Type", "application/merge-patch+json"));
        let some = Some(r#"{"quantity":6,"name":null}"#);
        let (patched, saw) =
            self.step("a patch changes what it names; null removes", "PATCH", "item-001", some, kind)?;
        expect("status", &patched.status, &200)?;
        expect("quantity", &patched.json()["quantity"], &Value::from(6))?;
        expect("name", &patched.json().get("name"), &None)?;
        expect("sku", &patched.json()["sku"], &Value::from("WB-100"))?;
        expect("origin calls", &saw.len(), &1)
    }

    /// `before`: the tag of a record that was replaced since.
    fn conditions(&mut self, before: &str) -> Result<(), String> {
        let if_match = Some(("If-Match", before));
        let title = "a write on what was there before is not sent";
        let (late, saw) = self.step(title, "PUT", "item-001", Some(RECORD), if_match)?;
        expect("status", &late.status, &412)?;
        expect("outcome", &late.json()["outcome"], &Value::from("rejected"))?;
        expect("origin calls", &saw.len(), &0)?;
        let now = late.etag.clone().ok_or("the refusal has no ETag")?;
        let title = "with the tag that the refusal shows it is";
        let (written, saw) = self.step(title, "PUT", "item-001", Some(RECORD), Some(("If-Match", &now)))?;
        expect("status", &written.status, &200)?;
        expect("origin calls", &saw.len(), &1)?;
        let create = Some(("If-None-Match", "*"));
        let (exists, saw) = self.step("what is there is not created", "PUT", "item-001", Some(RECORD), create)?;
        expect("status", &exists.status, &412)?;
        expect("origin calls", &saw.len(), &0)
    }

    fn before_it_is_confirmed(&mut self) -> Result<(), String> {
        self.origin.seed("item-005", serde_json::json!({ "sku": "WB-500", "quantity": 5 }));
        let (old, _) = self.step("a record as the origin has it", "GET", "item-005", None, None)?;
        expect("quantity", &old.json()["quantity"], &Value::from(5))?;

        let gate = self.origin.gate(Method::Put, "item-005", When::BeforeApply);
        let prefer = Some(("Prefer", "respond-async"));
        let four = Some(r#"{"sku":"WB-500","quantity":4}"#);
        let title = "a write that its client does not wait for, while the origin takes its time";
        let (put, _) = self.step(title, "PUT", "item-005", four, prefer)?;
        expect("status", &put.status, &202)?;
        let settles = put.location.ok_or("the answer has no Location")?;
        if !gate.wait_arrived(Duration::from_secs(10)) {
            return Err("the write did not reach the origin within 10 s".to_owned());
        }
        let (shown, saw) = self.step("is shown here already, and marked", "GET", "item-005", None, None)?;
        expect("quantity", &shown.json()["quantity"], &Value::from(4))?;
        expect("Wtcache-Pending", &shown.pending, &true)?;
        expect("origin calls", &saw.len(), &0)?;
        let (confirmed, saw) =
            self.step("what the origin confirmed can be had, too", "GET", "item-005?confirmed", None, None)?;
        expect("record", &confirmed.json(), &old.json())?;
        expect("origin calls", &saw.len(), &0)?;
        let (waits, _) = self.step_at("what becomes of it", "GET", &settles, None, None)?;
        expect("state", &waits.json()["state"], &Value::from("pending"))?;
        gate.release();
        self.until_it_ended("is told once the origin has answered", &settles, "settled")?;
        let (settled, saw) = self.step("and the origin's own record is here", "GET", "item-005", None, None)?;
        expect("revision", &settled.json()["revision"].to_string(), &"2".to_owned())?;
        expect("Wtcache-Pending", &settled.pending, &false)?;
        expect("origin calls", &saw.len(), &0)?;

        let much = Some(r#"{"sku":"WB-500","quantity":2000000}"#);
        let (put, _) = self.step("one that the origin will refuse", "PUT", "item-005", much, prefer)?;
        expect("status", &put.status, &202)?;
        let refused = put.location.ok_or("the answer has no Location")?;
        let told = self.until_it_ended("is taken back", &refused, "rolled-back")?;
        expect("status", &told["status"], &Value::from(422))?;
        let (after, saw) = self.step("as if it had never been", "GET", "item-005", None, None)?;
        expect("record", &after.json(), &settled.json())?;
        expect("origin calls", &saw.len(), &0)
    }

    /// Asks until a write has ended, which it must have done in this way.
    fn until_it_ended(&mut self, title: &str, location: &str, state: &str) -> Result<Value, String> {
        self.step += 1;
        line(&format!("\n{:2}. {title}", self.step));
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let told = self.ask("GET", location, None, None)?.json();
            if told["state"] != "pending" {
                line(&format!("    GET {location}\n    {told}"));
                expect("state", &told["state"], &Value::from(state))?;
                return Ok(told);
            }
            if Instant::now() > end {
                return Err("the write did not end within 10 s".to_owned());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn changes_elsewhere(&mut self) -> Result<(), String> {
        self.origin.seed("item-001", serde_json::json!({ "sku": "WB-100", "quantity": 9, "warehouseId": "east" }));
        let title = "a change that nobody told this server of is not seen";
        let (old, saw) = self.step(title, "GET", "item-001", None, None)?;
        expect("quantity", &old.json()["quantity"], &Value::from(5))?;
        expect("origin calls", &saw.len(), &0)?;
        let body = r#"{"table":"InventoryItem","tag":"warehouseId=east"}"#;
        let (told, saw) = self.step_at("until it is told", "POST", "/-/invalidate", Some(body), None)?;
        expect("status", &told.status, &200)?;
        expect("forgotten", &told.json()["forgotten"], &Value::from(1))?;
        expect("origin calls", &saw.len(), &0)?;
        let (new, saw) = self.step("then the origin is asked", "GET", "item-001", None, None)?;
        expect("quantity", &new.json()["quantity"], &Value::from(9))?;
        expect("origin calls", &saw.len(), &1)
    }

    fn one_load_for_all(&mut self) -> Result<(), String> {
        const READERS: usize = 50;
        self.step += 1;
        line(&format!("\n{:2}. {READERS} readers of a record that is not here make one load", self.step));
        self.origin.seed("item-002", serde_json::json!({ "sku": "WB-200", "quantity": 1 }));
        self.origin
            .fault(Fault::on(Method::Get, "item-002").kind(FaultKind::DelayBeforeApply(Duration::from_millis(200))));
        let before = self.mark();
        let start = Barrier::new(READERS);
        let statuses: Vec<Result<u16, String>> = std::thread::scope(|scope| {
            let read = || {
                start.wait();
                self.ask("GET", "/InventoryItem/item-002", None, None).map(|answer| answer.status)
            };
            let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
            readers
                .into_iter()
                .map(|reader| reader.join().unwrap_or_else(|_| Err("a reader panicked".into())))
                .collect()
        });
        let saw = self.since(before);
        self.tell(&saw);
        for status in statuses {
            expect("status", &status?, &200)?;
        }
        expect("origin calls", &saw.len(), &1)
    }

    fn in_doubt(&mut self) -> Result<(), String> {
        self.origin.fault(Fault::on(Method::Put, "item-001").kind(FaultKind::ResetAfterApply));
        let seven = r#"{"sku":"WB-100","name":"Widget","quantity":7,"warehouseId":"east"}"#;
        let (doubt, saw) =
            self.step("the connection breaks after the origin applied", "PUT", "item-001", Some(seven), None)?;
        expect("status", &doubt.status, &502)?;
        expect("outcome", &doubt.json()["outcome"], &Value::from("in-doubt"))?;
        expect("origin calls", &saw.len(), &1)?;
        for _ in 0..2 {
            let (get, saw) = self.step("in doubt, every read asks the origin", "GET", "item-001", None, None)?;
            expect("quantity", &get.json()["quantity"], &Value::from(7))?;
            expect("origin calls", &saw.len(), &1)?;
        }
        self.step += 1;
        line(&format!("\n{:2}. once the doubt is settled, the record is kept again", self.step));
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let before = self.mark();
            let answer = self.ask("GET", "/InventoryItem/item-001", None, None)?;
            if answer.cache_status.starts_with("wtcache; hit") {
                line(&format!("    {} · {}", answer.status, answer.cache_status));
                return expect("origin calls", &self.since(before).len(), &0);
            }
            if Instant::now() > end {
                return Err("the doubt was not settled within 30 s".to_owned());
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    fn outage(&mut self) -> Result<(), String> {
        self.origin.fault(Fault::on(Method::Get, Target::Any).kind(FaultKind::HangBeforeApply));
        let (hung, saw) = self.step("an origin that hangs ends at the deadline", "GET", "item-003", None, None)?;
        self.origin.release_hangs();
        expect("status", &hung.status, &504)?;
        expect("origin calls", &saw.len(), &1)?;
        let failing = FaultKind::Answer(wtcache_origin::Answer::new(500).body("out of order"));
        self.origin.fault(Fault::on(Method::Get, Target::Any).kind(failing).times(3));
        let title = "an origin that fails is asked thrice, and told apart";
        let (failed, saw) = self.step(title, "GET", "item-003", None, None)?;
        expect("status", &failed.status, &502)?;
        expect("origin_status", &failed.json()["origin_status"], &Value::from(500))?;
        expect("origin calls", &saw.len(), &3)
    }

    fn removal(&mut self) -> Result<(), String> {
        let (gone, saw) = self.step("removed at the origin, then here", "DELETE", "item-001", None, None)?;
        expect("status", &gone.status, &204)?;
        expect("origin calls", &saw.len(), &1)?;
        let (after, saw) = self.step("the next read asks the origin", "GET", "item-001", None, None)?;
        expect("status", &after.status, &404)?;
        expect("origin calls", &saw.len(), &1)
    }

    /// One request for a record, told with what the origin saw of it.
    fn step(
        &mut self,
        title: &str,
        method: &str,
        key: &str,
        body: Option<&str>,
        header: Option<(&str, &str)>,
    ) -> Result<(Answer, Vec<Entry>), String> {
        self.step_at(title, method, &format!("/InventoryItem/{key}"), body, header)
    }

    /// The same for any path.
    fn step_at(
        &mut self,
        title: &str,
        method: &str,
        path: &str,
        body: Option<&str>,
        header: Option<(&str, &str)>,
    ) -> Result<(Answer, Vec<Entry>), String> {
        self.step += 1;
        line(&format!("\n{:2}. {title}", self.step));
        let with = header.map(|(name, value)| format!(" {name}: {value}")).unwrap_or_default();
        let sent = body.map(|body| format!(" {body}")).unwrap_or_default();
        line(&format!("    {method} {path}{with}{sent}"));
        let before = self.mark();
        let answer = self.ask(method, path, body, header)?;
        let saw = self.since(before);
        line(&format!("    {} · {}", answer.status, answer.cache_status));
        self.tell(&saw);
        Ok((answer, saw))
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
        header: Option<(&str, &str)>,
    ) -> Result<Answer, String> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let failed = |error: ureq::Error| format!("{method} {path}: {error}");
        let built = |error: ureq::http::Error| format!("{method} {path}: {error}");
        let mut response = match body {
            Some(body) => self.client.run(request.body(body.to_owned()).map_err(built)?),
            None => self.client.run(request.body(()).map_err(built)?),
        }
        .map_err(failed)?;
        let text = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (etag, complete) = (text("etag"), text("wtcache-complete"));
        let (pending, location) = (text("wtcache-pending").is_some(), text("location"));
        let cache_status = text("cache-status").ok_or_else(|| format!("{method} {path}: no Cache-Status"))?;
        let status = response.status().as_u16();
        let body = response.body_mut().read_to_string().map_err(failed)?;
        Ok(Answer { status, etag, cache_status, complete, pending, location, body })
    }

    /// Where the origin's log stands.
    fn mark(&self) -> u64 {
        self.origin.log().last().map_or(0, |entry| entry.seq)
    }

    fn since(&self, mark: u64) -> Vec<Entry> {
        self.origin.log().into_iter().filter(|entry| entry.seq > mark).collect()
    }

    fn tell(&self, saw: &[Entry]) {
        if saw.is_empty() {
            line("    the origin saw nothing");
        }
        for entry in saw {
            line(&format!("    the origin saw {}", origin_line(entry)));
        }
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, came: &T, expected: &T) -> Result<(), String> {
    if came == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, got {came:?}")) }
}
