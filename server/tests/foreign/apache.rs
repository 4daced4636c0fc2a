//! Debian's apache2 (package apache2-bin) with mod_dav: files by GET, PUT and DELETE. It honours If-Match and If-None-Match, and answers a PUT with no record.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::process::{Folder, Front, Origin, skip};
use crate::{NOTHING, is_cached, killed_with_a_write_under_way, says};

const COMMAND: &str = "/usr/sbin/apache2";
const MODULES: &str = "/usr/lib/apache2/modules";

/// `FileETag Digest`: else a file's tag is weak for a second after it was written, and no condition can be made of that.
fn config(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        r#"ServerRoot "{folder}"
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile "{folder}/pid"
DefaultRuntimeDir "{folder}"
Mutex "file:{folder}" default
ErrorLog "{folder}/errors"
LogFormat "%m %U %>s" short
CustomLog "{folder}/access" short
LoadModule mpm_event_module {MODULES}/mod_mpm_event.so
LoadModule authz_core_module {MODULES}/mod_authz_core.so
LoadModule dav_module {MODULES}/mod_dav.so
LoadModule dav_fs_module {MODULES}/mod_dav_fs.so
# One thread answers, so that the log is in the order of the answers. It closes kept connections as soon as it has others to answer, and
# a write on a connection that closes is in doubt: none is kept.
KeepAlive Off
ThreadsPerChild 1
MaxRequestWorkers 1
AsyncRequestWorkerFactor 100
DavLockDB "{folder}/locks"
DocumentRoot "{folder}/files"
<Directory "{folder}/files">
    Dav On
    FileETag Digest
    Require all granted
</Directory>
"#
    )
}

/// With the record `a`.
fn started() -> Option<Origin> {
    let installed = [COMMAND.to_owned(), format!("{MODULES}/mod_dav_fs.so"), format!("{MODULES}/mod_mpm_event.so")];
    if !installed.iter().all(|file| Path::new(file).is_file()) {
        skip("there is no apache2 with mod_dav here: apt-get install apache2-bin");
        return None;
    }
    let folder = Folder::new();
    std::fs::create_dir_all(folder.0.join("files/items")).unwrap();
    folder.write("files/items/a", "{\"id\":\"a\",\"sku\":\"WB-100\",\"name\":\"Widget\",\"quantity\":1}");
    Some(Origin::start(folder, "access", |folder, port| {
        folder.write("apache.conf", &config(&folder.0, port));
        folder.write("access", "");
        let mut run = Command::new(COMMAND);
        // One process, in the foreground: to end it is to end all of it.
        run.args(["-X", "-f"]).arg(folder.0.join("apache.conf"));
        run
    }))
}

/// G1, F1: its own strong ETag is the one that is shown, and revalidates.
#[test]
fn g1_a_file_of_apaches_is_a_record_with_its_tag() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &[]);
    let (direct, hit) = is_cached(&mut origin, &front);
    assert_eq!(hit.header("etag"), direct.header("etag"));
}

/// A1, P1, P4: applied, and its record not seen: 201 comes with a page, 204 with nothing. The next read asks.
#[test]
fn p1_what_apache_applies_without_a_record_is_asked_for() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &[]);
    for (quantity, status) in [(5, 201), (6, 204)] {
        let put = front.put("new", &format!("{{\"quantity\":{quantity}}}")).expect_outcome(204, "applied");
        assert_eq!(says(&put, "fwd=method").body, "");
        let get = front.get("new").expect(200);
        assert_eq!(says(&get, "fwd=miss; fwd-status=200; stored").json(), json!({ "id": "new", "quantity": quantity }));
        says(&front.get("new"), "hit");
        assert_eq!(origin.saw(), [format!("PUT /items/new {status}"), "GET /items/new 200".to_owned()]);
        assert_eq!(origin.ask("GET", "/items/new", "").json(), get.json());
        origin.saw();
    }
    front.patch("a", "{\"quantity\":6,\"name\":null}").expect_outcome(204, "applied");
    assert_eq!(origin.saw(), ["GET /items/a 200", "PUT /items/a 204"]);
    assert_eq!(origin.ask("GET", "/items/a", "").json(), json!({ "id": "a", "sku": "WB-100", "quantity": 6 }));
    assert_eq!(front.get("a").expect(200).json()["quantity"], 6);
    origin.saw();

    front.delete("a").expect_outcome(204, "applied");
    origin.ask("GET", "/items/a", "").expect(404);
    says(&front.get("a").expect(404), "fwd=miss; fwd-status=404; stored");
    front.delete("a").expect_outcome(204, "applied");
    assert_eq!(origin.saw(), ["DELETE /items/a 204", "GET /items/a 404", "GET /items/a 404", "DELETE /items/a 404"]);
    front.patch("a", "{\"quantity\":6}").expect_outcome(404, "rejected");
}

/// A1: it keeps what it is sent, and where that is declared, 204 confirms it.
#[test]
fn a1_what_apache_is_declared_to_keep_as_sent_is_served() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &["stores_verbatim: true"]);
    let put = front.put("a", "{\"quantity\":5}").expect_outcome(200, "applied");
    assert_eq!(says(&put, "fwd=method; stored").json(), json!({ "id": "a", "quantity": 5 }));
    says(&front.get("a").expect(200), "hit");
    assert_eq!(origin.saw(), ["PUT /items/a 204"]);
    assert_eq!(origin.ask("GET", "/items/a", "").body, put.body);
    // 201 comes with a page, and that is not what was sent.
    front.put("new", "{\"quantity\":5}").expect_outcome(204, "applied");
    says(&front.get("new").expect(200), "fwd=miss; fwd-status=200; stored");
}

/// P2, P6: it sees what the front cannot. Its 412 reaches the client, and what was held is dropped.
#[test]
fn p6_what_apache_finds_not_to_hold_is_412_and_drops_the_entry() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &["preconditions: honoured"]);
    for method in ["PUT", "PATCH", "DELETE"] {
        let body = if method == "DELETE" { "" } else { "{\"quantity\":7}" };
        let write =
            |tag: &str| front.ask(method, "a", &[("If-Match", tag), ("Content-Type", "application/json")], body);
        let tag = |quantity: u32| {
            let get = front.get("a").expect(200);
            assert_eq!(get.json()["quantity"], quantity);
            get.header("etag").unwrap().to_owned()
        };
        origin.ask("PUT", "/items/a", "{\"id\":\"a\",\"quantity\":2}").expect(204);
        front.invalidate("a").expect(200);
        let old = tag(2);
        origin.ask("PUT", "/items/a", "{\"id\":\"a\",\"quantity\":3}").expect(204);
        origin.saw();
        let refused = write(&old).expect_outcome(412, "rejected");
        assert!(says(&refused, "fwd=method; fwd-status=412").body.contains("Precondition Failed"), "{refused:?}");
        let sent = if method == "DELETE" { "DELETE" } else { "PUT" };
        assert_eq!(origin.saw(), [format!("{sent} /items/a 412")]);
        let new = tag(3);
        assert_eq!(origin.saw(), ["GET /items/a 200"], "{method}: the entry was dropped");
        let unmet = write(&old).expect_outcome(412, "rejected");
        assert_eq!(unmet.json()["current_etag"], json!(new));
        assert_eq!(origin.saw(), NOTHING, "{method}: what is known here not to hold is not sent");
        write(&new).expect_outcome(204, "applied");
        assert_eq!(origin.saw(), [format!("{sent} /items/a 204")]);
    }
}

/// P6: `If-None-Match: *` creates, here and at the origin.
#[test]
fn p6_apache_creates_only_what_is_not_there() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &["preconditions: honoured"]);
    let create = || front.ask("PUT", "new", &[("If-None-Match", "*")], "{\"quantity\":5}");
    front.get("new").expect(404);
    origin.ask("PUT", "/items/new", "{\"id\":\"new\",\"quantity\":4}").expect(201);
    origin.saw();
    create().expect_outcome(412, "rejected");
    assert_eq!(origin.saw(), ["PUT /items/new 412"], "the front still remembered that there was none");
    create().expect_outcome(412, "rejected");
    assert_eq!(origin.saw(), ["GET /items/new 200"], "and was taught better");
    front.delete("new").expect(204);
    create().expect_outcome(204, "applied");
    assert_eq!(front.get("new").expect(200).json()["quantity"], 5);
}

/// I1: a change past the front is seen once the front is told.
#[test]
fn i1_a_changed_file_is_seen_once_the_front_is_told() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &[]);
    front.get("a").expect(200);
    origin.ask("PUT", "/items/a", "{\"quantity\":9}").expect(204);
    origin.saw();
    assert_eq!(says(&front.get("a").expect(200), "hit").json()["quantity"], 1, "nobody told the front");
    front.invalidate("a").expect(200);
    assert_eq!(origin.saw(), NOTHING);
    assert_eq!(front.get("a").expect(200).json()["quantity"], 9);
    assert_eq!(origin.saw(), ["GET /items/a 200"]);
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "what arrived is read from /proc")]
fn d1_apache_killed_with_a_write_under_way_leaves_it_in_doubt() {
    let Some(mut origin) = started() else { return };
    let front = Front::before(&origin, &[]);
    killed_with_a_write_under_way(&mut origin, &front);
}
