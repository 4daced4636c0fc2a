//! nginx (Debian's package nginx-light) as a proxy before the sample origin: what it says where the origin does not, its buffers, and the
//! connections that it closes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use wtcache_origin::{Fault, FaultKind, Method, Origin, OriginOptions};

use crate::process::{Folder, Front, Origin as Proxy, skip};
use crate::{NOTHING, is_cached, says};

const COMMAND: &str = "/usr/sbin/nginx";

/// As one process in the foreground, without root. The origin stands twice behind it, so that there is a next one to go to.
fn config(folder: &Path, port: u16, origin: SocketAddr, options: &str) -> String {
    let folder = folder.display();
    format!(
        r#"daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/errors;
events {{ worker_connections 64; }}
http {{
    log_format short "$request_method $uri $status";
    access_log {folder}/access short;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream inventory {{
        server {origin} max_fails=0;
        server {origin} max_fails=0;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://inventory;
            {options}
        }}
    }}
}}
"#
    )
}

/// The sample origin with the record `a`, and nginx before it.
fn started(options: &'static str) -> Option<(Origin, Proxy)> {
    if !Path::new(COMMAND).is_file() {
        skip("there is no nginx here: apt-get install nginx-light");
        return None;
    }
    let origin = Origin::start(OriginOptions::new()).unwrap();
    origin.seed("a", json!({ "sku": "WB-100", "name": "Widget", "quantity": 1 }));
    let behind = origin.addr();
    let proxy = Proxy::start(Folder::new(), "access", move |folder, port| {
        folder.write("nginx.conf", &config(&folder.0, port, behind, options));
        let mut run = Command::new(COMMAND);
        run.arg("-p").arg(&folder.0).arg("-e").arg(folder.0.join("errors")).arg("-c").arg(folder.0.join("nginx.conf"));
        run
    });
    origin.clear_log();
    Some((origin, proxy))
}

const NEVER_NEXT: &str = "proxy_next_upstream off;";
/// And no patience, so that a test is short.
const IMPATIENT: &str = "proxy_next_upstream off; proxy_read_timeout 200ms;";

/// Methods, and whether they were applied, of what reached the origin itself.
fn reached(origin: &Origin) -> Vec<(Method, bool)> {
    let log = origin.log();
    let items = log.iter().filter(|entry| entry.id.is_some());
    items.map(|entry| (entry.method, entry.applied)).collect()
}

/// One attempt of each load, so that what is counted is what was asked for.
const ONCE: [&str; 1] = ["retries: { loads: 0 }"];

/// G1, P1, P6: tags, conditions and records pass through it.
#[test]
fn g1_p6_what_lies_behind_nginx_is_cached_and_written_through() {
    let Some((origin, mut proxy)) = started(NEVER_NEXT) else { return };
    let front = Front::before(&proxy, &["preconditions: honoured"]);
    let (direct, hit) = is_cached(&mut proxy, &front);
    assert_eq!(hit.header("etag"), direct.header("etag"));
    let put = front.put("a", "{\"quantity\":5}").expect_outcome(200, "applied");
    assert_eq!(says(&front.get("a"), "hit").json(), put.json());
    assert_eq!(origin.record("a").unwrap()["quantity"], 5);
    origin.seed("a", json!({ "quantity": 6 }));
    front.patch("a", "{\"quantity\":7}").expect_outcome(412, "rejected");
    assert_eq!(front.get("a").expect(200).json()["quantity"], 6, "P2: the entry was dropped");
    front.delete("a").expect_outcome(204, "applied");
    assert_eq!(origin.record("a"), None);
}

/// A1, A2: its 502 does not prove that the origin was not reached; a load is an error.
#[test]
fn a1_nginx_says_502_where_the_origin_is_down_and_the_write_is_in_doubt() {
    let Some((origin, mut proxy)) = started(NEVER_NEXT) else { return };
    let front = Front::before(&proxy, &ONCE);
    front.get("a").expect(200);
    origin.pause_accept();
    origin.drop_connections();
    proxy.saw();
    let doubt = front.put("a", "{\"quantity\":5}").expect_outcome(502, "in-doubt");
    says(&doubt, "fwd=method; fwd-status=502");
    // D2: it is asked for, and the error told.
    says(&front.get("a").expect(502), "fwd=miss; fwd-status=502");
    assert_eq!(proxy.saw(), ["PUT /items/a 502", "GET /items/a 502"]);
    origin.resume_accept().unwrap();
    for _ in 0..2 {
        assert_eq!(says(&front.get("a").expect(200), "fwd=miss; fwd-status=200").json()["quantity"], 1);
    }
}

/// F2: a record whose time is over is served in place of its 502.
#[test]
fn f2_what_is_held_stands_in_for_nginxs_502() {
    let Some((origin, mut proxy)) = started(NEVER_NEXT) else { return };
    let front = Front::before(&proxy, &ONCE);
    front.get("a").expect(200);
    origin.pause_accept();
    origin.drop_connections();
    proxy.saw();
    let asked = [("Cache-Control", "no-cache, stale-if-error=600")];
    let stale = front.ask("GET", "a", &asked, "").expect(200);
    assert_eq!(stale.json()["quantity"], 1);
    assert_eq!(proxy.saw(), ["GET /items/a 502"]);
    front.ask("GET", "a", &[("Cache-Control", "no-cache")], "").expect(502);
}

/// A1, D1: it gives the origin up after its time; what the origin does with the write then, nobody can know.
#[test]
fn d1_nginx_says_504_and_the_write_is_in_doubt_whether_it_was_applied_or_not() {
    let Some((origin, mut proxy)) = started(IMPATIENT) else { return };
    let front = Front::before(&proxy, &ONCE);
    for (kind, applied) in [(FaultKind::HangAfterApply, true), (FaultKind::HangBeforeApply, false)] {
        origin.seed("a", json!({ "quantity": 1 }));
        origin.clear_log();
        origin.fault(Fault::on(Method::Put, "a").kind(kind));
        let doubt = front.put("a", "{\"quantity\":5}").expect_outcome(502, "in-doubt");
        says(&doubt, "fwd=method; fwd-status=504");
        let quantity = if applied { 5 } else { 1 };
        assert_eq!(front.get("a").expect(200).json()["quantity"], quantity);
        assert_eq!(reached(&origin), [(Method::Put, applied), (Method::Get, false)], "sent once");
    }
    origin.fault(Fault::on(Method::Get, "b").kind(FaultKind::HangBeforeApply));
    proxy.saw();
    says(&front.get("b").expect(502), "fwd=miss; fwd-status=504");
    assert_eq!(proxy.saw(), ["GET /items/b 504"]);
}

/// A2, P1: it has passed the head on before it finds that the body breaks off.
#[test]
fn p1_an_answer_that_breaks_off_behind_nginx_is_applied_and_unseen() {
    let Some((origin, _proxy)) = started(NEVER_NEXT) else { return };
    let front = Front::before(&_proxy, &ONCE);
    origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::TruncatedBody));
    front.put("a", "{\"quantity\":5}").expect_outcome(204, "applied");
    says(&front.get("a").expect(200), "fwd=miss; fwd-status=200; stored");
    origin.fault(Fault::on(Method::Get, "b").kind(FaultKind::TruncatedBody));
    origin.seed("b", json!({ "quantity": 2 }));
    front.get("b").expect(502);
    assert_eq!(front.get("b").expect(200).json()["quantity"], 2, "nothing was kept of the half");
    // What is slow is slow for nginx, which waits for each byte and not for the whole.
    origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::SlowBody(Duration::from_millis(1))));
    front.put("a", "{\"quantity\":6}").expect_outcome(200, "applied");
}

/// A1: it closes connections as it likes, and says so. No write suffers from that.
#[test]
fn a1_connections_that_nginx_closes_after_two_requests_leave_no_write_in_doubt() {
    let Some((origin, mut proxy)) = started("proxy_next_upstream off; keepalive_requests 2;") else { return };
    let front = Front::before(&proxy, &ONCE);
    for quantity in 0..20 {
        let put = front.put("a", &format!("{{\"quantity\":{quantity}}}")).expect_outcome(200, "applied");
        assert_eq!(put.json()["quantity"], quantity);
        front.get(&format!("none-{quantity}")).expect(404);
    }
    assert_eq!(reached(&origin).len(), 40);
    assert_eq!(proxy.saw().len(), 40);
}

/// A1, A2: a kept connection that has died is seen before a write goes out on it; and a load is simply made again.
#[test]
fn a1_a_kept_connection_that_died_with_nginx_costs_no_doubt() {
    let Some((origin, mut proxy)) = started(NEVER_NEXT) else { return };
    let front = Front::before(&proxy, &ONCE);
    for quantity in 1..4 {
        front.put("a", "{\"quantity\":1}").expect_outcome(200, "applied");
        front.get(&format!("none-{quantity}")).expect(404);
        proxy.kill();
        proxy.restart();
        front.put("a", &format!("{{\"quantity\":{quantity}}}")).expect_outcome(200, "applied");
        proxy.kill();
        proxy.restart();
        front.get(&format!("other-{quantity}")).expect(404);
    }
    let applied = reached(&origin).iter().filter(|(method, applied)| *method == Method::Put && *applied).count();
    assert_eq!(applied, 6, "each once");
}

/// A caveat, not a promise: by default nginx sends a PUT whose connection broke to the next server, and tells of the last send only. So
/// `proxy_next_upstream off` is what a write needs, or an origin that honours idempotency keys.
#[test]
fn nginx_sends_a_write_again_unless_it_is_told_not_to() {
    for (options, sends, status, outcome) in [("", 2, 200, "applied"), (NEVER_NEXT, 1, 502, "in-doubt")] {
        let Some((origin, proxy)) = started(options) else { return };
        let front = Front::before(&proxy, &ONCE);
        origin.fault(Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply));
        front.put("a", "{\"quantity\":5}").expect_outcome(status, outcome);
        assert_eq!(reached(&origin), vec![(Method::Put, true); sends], "{options:?}");
        assert_eq!(front.get("a").expect(200).json()["quantity"], 5);
    }
}

/// P1: it takes a whole request before it goes to the origin, and a large one by way of its disk.
#[test]
fn p1_a_large_record_goes_through_nginxs_buffers() {
    let Some((origin, mut proxy)) = started("proxy_next_upstream off; client_max_body_size 100k;") else { return };
    let front = Front::before(&proxy, &ONCE);
    let record = |length: usize| json!({ "quantity": 5, "name": "x".repeat(length) }).to_string();
    front.put("a", &record(80_000)).expect_outcome(200, "applied");
    assert_eq!(origin.record("a").unwrap()["name"].as_str().unwrap().len(), 80_000);
    says(&front.get("a").expect(200), "hit");
    proxy.saw();
    // What nginx refuses by itself is refused.
    front.put("a", &record(120_000)).expect_outcome(413, "rejected");
    assert_eq!(proxy.saw(), ["PUT /items/a 413"]);
    assert_eq!(reached(&origin).len(), 1);
    says(&front.get("a").expect(200), "hit");
    assert_eq!(proxy.saw(), NOTHING);
}
