//! The `wtcache` command as a person has it: what it prints, where, and how it ends.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "cli/log.rs"]
mod log;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::ask_at;
use common::serving::{Folder, PATIENCE, Serving, address_in, warnings, within_patience, wtcache};
use serde_json::json;
use wtcache_origin::{Origin, OriginOptions};
use wtcache_server::config::{Config, Credential, OriginConfig, TableConfig};
use wtcache_server::schema::Schema;

/// Runs a command to its end.
fn run(mut command: Command) -> (Option<i32>, String, String) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output: Output = within_patience(pid, move || child.wait_with_output().unwrap());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn without_arguments_it_prints_its_help() {
    let (code, out, err) = run(wtcache(&[]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for word in ["Usage: wtcache", "demo", "serve", "origin"] {
        assert!(out.contains(word), "{out}");
    }
    let (code, out, _) = run(wtcache(&["--version"]));
    assert_eq!((code, out.trim()), (Some(0), concat!("wtcache ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn what_it_does_not_know_is_a_usage_error() {
    for arguments in [&["--bogus"][..], &["demo", "--bogus"], &["bogus"], &["serve"], &["demo", "--port", "x"]] {
        let (code, out, err) = run(wtcache(arguments));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.contains("--help"), "{arguments:?}: {err}");
    }
}

#[test]
fn errors_of_a_folder_name_their_line_and_the_way_out() {
    let config = |tables: &str| format!("tables:\n{tables}");
    let item = "  InventoryItem:\n    origin: { url: \"http://o/{id}\" }\n";
    let schema = include_str!("../demo/schema.graphql");
    for (name, schema, config, expected) in [
        (
            "variable",
            schema,
            include_str!("../demo/config.yaml"),
            &["config.yaml:5:12: url: ", "INVENTORY_API", "config.yaml:7:31: Authorization: "][..],
        ),
        (
            "key",
            schema,
            &config(&format!("{item}    capcity: 1GiB\n")),
            &["config.yaml:4:5: unknown key capcity", "hint: did you mean capacity?"],
        ),
        (
            "directive",
            "type InventoryItem @table @exprt {\n  id: ID @primaryKey\n}\n",
            &config(item),
            &["schema.graphql:1:27: unknown directive @exprt", "hint: did you mean @export?"],
        ),
    ] {
        let folder = Folder::new(name);
        folder.write("schema.graphql", schema);
        folder.write("config.yaml", config);
        for (directory, prefix) in [(".", String::new()), (folder.name(), format!("{}/", folder.name()))] {
            let mut command = wtcache(&["serve", "--config", directory]);
            command.current_dir(&folder.0);
            let (code, out, err) = run(command);
            assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
            assert!(err.starts_with(&format!("wtcache: {prefix}{}", expected[0])), "{err}");
            assert!(err.contains("hint: "), "{err}");
            assert!(expected.iter().all(|words| err.contains(words)), "{err}");
            assert!(err.lines().all(|line| line.starts_with("wtcache: ")), "{err}");
        }
    }
    let (code, _, err) = run(wtcache(&["serve", "--config", "no-such-folder"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("wtcache: no-such-folder/schema.graphql:1:1: the file is missing"), "{err}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    let folder = Folder::of_demo("taken");
    let listen = address.to_string();
    for arguments in [
        &["serve", "--config", folder.name(), "--listen", &listen][..],
        &["demo", "--port", &port, "--origin-port", "0"],
        &["demo", "--port", "0", "--origin-port", &port],
        &["demo", "--walk", "--port", &port],
        &["origin", "--port", &port],
    ] {
        let mut command = wtcache(arguments);
        command.env("INVENTORY_API", "http://127.0.0.1:1").env("INVENTORY_API_KEY", "k");
        let (code, _, err) = run(command);
        assert_eq!(code, Some(1), "{arguments:?}: {err}");
        assert!(err.contains(&port) && err.contains("127.0.0.1") && err.contains("in use"), "{arguments:?}: {err}");
        let plain = warnings(&err).join("\n");
        assert!(plain.starts_with("wtcache: ") && !err.contains("panicked"), "{err}");
    }
}

/// Says that there is no curl. Where nothing may be skipped it fails instead.
fn no_curl() -> bool {
    let missing = Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err();
    if missing {
        let what = "there is no curl here to run the documentation with";
        assert!(std::env::var_os("WTCACHE_CI").is_none(), "{what}, and WTCACHE_CI is set");
        eprintln!("SKIPPED: {what}");
    }
    missing
}

/// Every line of the tutorial works as it is printed.
#[test]
fn the_tutorial_of_the_demo_works_as_it_is_printed() {
    let mut demo = Serving::start(wtcache(&["demo", "--port", "0", "--origin-port", "0"]));
    let lines = demo.lines_to("Ctrl-C ends");
    if no_curl() {
        return;
    }
    let commands: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("  curl ")).collect();
    let before_the_fault = [200, 200, 404, 200, 422, 202, 200, 412, 200, 200].map(Some);
    let expected = [&before_the_fault[..], &[None, Some(502), Some(200), Some(204)]].concat();
    assert_eq!(commands.len(), expected.len(), "{lines:?}");
    for (command, expected) in commands.into_iter().zip(expected) {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("curl --silent --max-time 30 {command}")]).env("NO_PROXY", "*").stdin(Stdio::null());
        let (code, out, err) = run(shell);
        assert_eq!(code, Some(0), "{command}: {out}{err}");
        match expected {
            Some(status) => assert!(out.starts_with(&format!("HTTP/1.1 {status} ")), "{command}: {out}"),
            None => assert!(out.contains("reset-after-apply"), "{command}: {out}"),
        }
    }
    // What came to each request is told, with how often the origin was called.
    let told = demo.lines_to("deleted");
    // A write that is answered before it is settled may be at the origin by then, or not; the next of its key comes after it.
    let (pending, others): (Vec<_>, Vec<_>) = told.iter().partition(|line| line.contains(" pending "));
    let origin_calls: Vec<_> = others.iter().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect();
    assert_eq!(origin_calls, ["1", "1", "2", "2", "3", "5", "5", "5", "6", "7", "8", "9"], "{told:?}");
    assert_eq!(pending.len(), 1, "{told:?}");
    demo.signal("-INT");
    let (status, out, err) = demo.end();
    assert_eq!((status.code(), out.trim()), (Some(0), "ended"));
    // Its window of three seconds may have passed.
    assert!(["", "wtcache: InventoryItem: in doubt: item-001\n"].contains(&err.as_str()), "{err}");
}

/// Every curl line of the README and of docs/server.md works as it is written. Its comment begins with the status, or it is 2xx.
#[test]
fn the_curl_lines_of_the_documentation_work_as_they_are_written() {
    let folder = Folder::new("curl");
    for (name, text) in
        [("README.md", include_str!("../../README.md")), ("server.md", include_str!("../../docs/server.md"))]
    {
        let mut demo = Serving::start(wtcache(&["demo", "--port", "0", "--origin-port", "0"]));
        let first = demo.line();
        let (origin, front) = (address_in(first.split("/items").next().unwrap()), address_in(&first));
        if no_curl() {
            return;
        }
        let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("curl ")).collect();
        assert!(lines.len() > 5, "{name}: {lines:?}");
        for line in lines {
            let here =
                line.replace("127.0.0.1:9926", &front.to_string()).replace("127.0.0.1:9925", &origin.to_string());
            // The first file that is named takes the body.
            let output = if line.contains(" -o ") { "" } else { "--output /dev/null" };
            let status = format!("--silent --max-time 30 {output} --write-out '%{{http_code}}'");
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("curl {status} {here}")]).current_dir(&folder.0);
            shell.env("NO_PROXY", "*").stdin(Stdio::null());
            let (code, out, err) = run(shell);
            assert_eq!(code, Some(0), "{name}: {line}: {out}{err}");
            let said = line.rsplit_once("# ").and_then(|(_, comment)| comment.get(..3)?.parse::<u16>().ok());
            let came: u16 = out.parse().unwrap();
            assert!(said.map_or((200..300).contains(&came), |said| came == said), "{name}: {line}: {came}");
        }
    }
}

#[test]
fn a_signal_ends_it_in_order() {
    for name in ["-TERM", "-INT"] {
        let mut demo = Serving::start(wtcache(&["demo", "--port", "0", "--origin-port", "0"]));
        demo.lines_to("Ctrl-C ends");
        demo.signal(name);
        let (status, out, err) = demo.end();
        assert_eq!((status.code(), out.trim(), err.as_str()), (Some(0), "ended", ""), "{name}");

        let mut origin = Serving::start(wtcache(&["origin", "--port", "0"]));
        origin.line();
        origin.signal(name);
        assert_eq!(origin.end().0.code(), Some(0), "{name}");
    }
}

#[test]
fn the_demo_walks_by_itself() {
    let (code, out, err) = run(wtcache(&["demo", "--walk"]));
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.trim_end().ends_with("steps did what they should"), "{out}");
}

#[test]
fn the_origin_keeps_its_records_over_a_restart() {
    let folder = Folder::new("db");
    let db = folder.0.join("records.sqlite");
    let arguments = ["origin", "--port", "0", "--db", db.to_str().unwrap(), "--latency-ms", "5"];
    let mut origin = Serving::start(wtcache(&arguments));
    let address = address_in(&origin.line());
    let begun = std::time::Instant::now();
    assert_eq!(ask_at(address, "PUT", "/items/a", "{\"quantity\":7}").0, 201);
    assert!(begun.elapsed() >= Duration::from_millis(5));
    assert_eq!(origin.line(), "PUT /items/a → 201, applied");
    origin.signal("-TERM");
    assert_eq!(origin.end().0.code(), Some(0));

    let mut origin = Serving::start(wtcache(&arguments));
    let (status, body) = ask_at(address_in(&origin.line()), "GET", "/items/a", "");
    assert_eq!(status, 200);
    assert!(body.contains("\"quantity\":7"), "{body}");
}

#[test]
fn a_folder_is_served_with_what_the_environment_says() {
    let origin = Origin::start(OriginOptions::new().api_key("k3y")).unwrap();
    origin.seed("a", json!({ "sku": "s", "quantity": 1 }));
    let folder = Folder::of_demo("served");
    let mut command =
        wtcache(&["serve", "--config", folder.name(), "--listen", "127.0.0.1:0", "--admin", "none", "--log"]);
    command.env("INVENTORY_API", origin.url()).env("INVENTORY_API_KEY", "k3y");
    let mut front = Serving::start(command);
    let told = front.line();
    assert!(told.starts_with("serving InventoryItem on http://127.0.0.1:"), "{told}");
    let address = address_in(&told);
    for _ in 0..2 {
        let (status, body) = ask_at(address, "GET", "/InventoryItem/a", "");
        assert!(status == 200 && body.contains("\"quantity\":1"), "{status} {body}");
    }
    assert_eq!(ask_at(address, "PUT", "/InventoryItem/a", "{\"quantity\":2}").0, 200);
    assert_eq!(origin.record("a").unwrap()["quantity"], 2);
    assert_eq!(origin.calls(), 2);
    assert!(origin.log().iter().all(|entry| entry.authorization.as_deref() == Some("Bearer k3y")));
    for words in ["loaded    200", "hit       200", "written   200"] {
        let line = front.line();
        assert!(line.contains(words) && line.contains("/InventoryItem/a"), "{line}");
    }
    front.signal("-TERM");
    let (status, out, err) = front.end();
    assert_eq!((status.code(), out.as_str(), warnings(&err)), (Some(0), "", vec![]));
}

/// Somebody writes to the origin and tells nobody: the auditor does.
#[test]
fn audit_a_record_that_differs_for_long_is_told_on_standard_error() {
    let origin = Origin::start(OriginOptions::new().api_key("k")).unwrap();
    for id in ["a", "b"] {
        origin.seed(id, json!({ "quantity": 1 }));
    }
    let folder = Folder::of_demo("audited");
    folder.write("config.yaml", &format!("{}    audit: 100\n", include_str!("../demo/config.yaml")));
    let mut command = wtcache(&["serve", "--config", folder.name(), "--listen", "127.0.0.1:0", "--admin", "none"]);
    command.env("INVENTORY_API", origin.url()).env("INVENTORY_API_KEY", "k");
    let mut front = Serving::start(command);
    let address = address_in(&front.line());
    for id in ["a", "b"] {
        assert_eq!(ask_at(address, "GET", &format!("/InventoryItem/{id}"), "").0, 200);
    }
    origin.seed("a", json!({ "quantity": 2 }));
    let found = front.stderr_line_with("differs");
    assert!(
        found.contains(" WARN  differs ") && found.ends_with(" table=InventoryItem key=a longer_than_s=1"),
        "{found}"
    );
    assert!(ask_at(address, "GET", "/InventoryItem/a", "").1.contains("\"quantity\":1"), "it changes nothing");
    front.signal("-TERM");
    let (status, _, err) = front.end();
    assert_eq!((status.code(), warnings(&err)), (Some(0), vec![]));
}

/// What is in doubt at the end is said, and is no failure of the command.
#[test]
fn what_is_left_at_the_end_is_told_on_standard_error() {
    let origin = Origin::start(OriginOptions::new().api_key("k")).unwrap();
    let lost = wtcache_origin::FaultKind::ResetAfterApply;
    origin.fault(wtcache_origin::Fault::on(wtcache_origin::Method::Put, "a").kind(lost));
    let folder = Folder::of_demo("left");
    let config = include_str!("../demo/config.yaml").replace("settle_window: 3s", "settle_window: 1h");
    folder.write("config.yaml", &config);
    let mut command = wtcache(&["serve", "--config", folder.name(), "--listen", "127.0.0.1:0", "--admin", "none"]);
    command.env("INVENTORY_API", origin.url()).env("INVENTORY_API_KEY", "k");
    let mut front = Serving::start(command);
    assert_eq!(ask_at(address_in(&front.line()), "PUT", "/InventoryItem/a", "{}").0, 502);
    front.signal("-TERM");
    let (status, _, err) = front.end();
    let left = err.lines().find(|line| line.contains(" left ")).unwrap();
    assert!(status.success() && left.ends_with("what=\"InventoryItem: in doubt: a\""), "{err}");
}

/// `wtcache … | head -1`.
#[test]
fn an_output_that_nobody_reads_is_no_reason_to_end() {
    let mut demo = Serving::start(wtcache(&["demo", "--port", "0", "--origin-port", "0"]));
    let front = address_in(&demo.line());
    demo.close_stdout();
    for _ in 0..3 {
        assert_eq!(ask_at(front, "GET", "/InventoryItem/a", "").0, 404, "each request would print a line");
    }
    demo.signal("-TERM");
    let (status, _, err) = demo.end();
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));

    let mut origin = Serving::start(wtcache(&["origin", "--port", "0"]));
    let address = address_in(&origin.line());
    origin.close_stdout();
    assert_eq!(ask_at(address, "GET", "/items/a", "").0, 404);
    origin.signal("-TERM");
    let (status, _, err) = origin.end();
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));

    for arguments in ["", "--help", "demo --help", "demo --walk"] {
        let mut shell = Command::new("sh");
        let command = format!("\"{}\" {arguments} | head -1", env!("CARGO_BIN_EXE_wtcache"));
        shell.args(["-c", &command]).stdin(Stdio::null());
        let (code, _, err) = run(shell);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{arguments}");
    }
}

/// A folder with this schema and configuration, checked.
fn check(folder: &Folder) -> (Option<i32>, String, String) {
    let mut command = wtcache(&["check", "--config", folder.name()]);
    command.env("INVENTORY_API", "http://127.0.0.1:1").env("INVENTORY_API_KEY", "k");
    run(command)
}

#[test]
fn check_says_what_is_wrong_and_serves_nothing() {
    let folder = Folder::of_demo("checked");
    // Nobody listens at the origin, and its own port may be taken: neither is tried.
    let (code, out, err) = check(&folder);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "nothing is wrong with it; it serves InventoryItem on http://127.0.0.1:9926\n");
    let config = include_str!("../demo/config.yaml");
    for (text, says) in [
        (config.replace("timeout: 2s", "timeuot: 2s"), "did you mean timeout?"),
        (config.replace("127.0.0.1:9926", "0.0.0.0:9926"), "write: public: true"),
        (config.replace("items/{id}", "items/{id"), "config.yaml:5:"),
        (format!("{config}    capacity: 1B\n    optimistic: {{ weight: 1B }}\n    audit: 2000\n"), "audit"),
    ] {
        folder.write("config.yaml", &text);
        let (code, out, err) = check(&folder);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains(says) && err.lines().all(|line| line.starts_with("wtcache: ")), "{says}: {err}");
    }
    let (code, _, err) = run(wtcache(&["check", "--config", "/no/such/folder"]));
    assert!(code == Some(1) && err.contains("the file is missing"), "{err}");
}

/// What needs an origin that is none is found without asking it, table by table.
#[test]
fn check_tells_of_each_table_that_cannot_be_served() {
    let folder = Folder::new("tables");
    folder.write(
        "schema.graphql",
        "type A @table @export { id: ID @primaryKey }\ntype B @table @export { id: ID @primaryKey }",
    );
    let table =
        |name: &str| format!("  {name}:\n    origin:\n      url: http://h/{{id}}\n      headers: {{ Host: x }}\n");
    folder.write("config.yaml", &format!("tables:\n{}{}", table("A"), table("B")));
    let (code, _, err) = check(&folder);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("wtcache: A: ") && err.contains("wtcache: B: "), "{err}");
}

#[test]
fn init_writes_a_folder_that_can_be_served_and_overwrites_nothing() {
    let parent = Folder::new("init");
    let path = parent.0.join("new/shop");
    let folder = path.to_str().unwrap();
    let (code, out, err) = run(wtcache(&["init", folder]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("config.yaml") && out.contains("wtcache serve --config"), "{out}");
    assert_eq!(run(wtcache(&["check", "--config", folder])).0, Some(0));
    for file in ["schema.graphql", "config.yaml"] {
        fs::write(path.join(file), "mine").unwrap();
        let other = if file == "config.yaml" { "schema.graphql" } else { "config.yaml" };
        let _ = fs::remove_file(path.join(other));
        let (code, _, err) = run(wtcache(&["init", folder]));
        assert!(code == Some(1) && err.contains(file) && err.contains("is there already"), "{err}");
        assert_eq!(fs::read_to_string(path.join(file)).unwrap(), "mine");
        assert!(!path.join(other).exists(), "and nothing else was written");
        fs::remove_file(path.join(file)).unwrap();
    }
}

/// Its commented lines are the defaults, so that nobody is told another than holds.
#[test]
fn init_says_the_defaults() {
    let schema = Schema::parse("schema.graphql", include_bytes!("../init/schema.graphql")).unwrap();
    let environment = |name: &str| (name == "INVENTORY_API_KEY").then(|| "k".to_owned());
    let read = |text: &str| Config::parse("config.yaml", text.as_bytes(), &schema, &environment).unwrap();
    let text = include_str!("../init/config.yaml");
    let is_option = |line: &str| {
        line.strip_prefix('#').is_some_and(|rest| {
            rest.trim_start().split_once(':').is_some_and(|(name, _)| !name.contains(' ')) && !rest.starts_with(" ")
                || rest.starts_with("  ")
        })
    };
    let whole: Vec<&str> = text.lines().map(|line| if is_option(line) { &line[1..] } else { line }).collect();
    let (short, mut whole) = (read(text), read(&whole.join("\n")));
    assert_eq!(whole.tables[0].origin.headers.len(), 1, "the options were read");
    whole.tables[0].origin.headers.clear();
    assert_eq!(whole, short);
    let origin = OriginConfig::new("http://127.0.0.1:9925/items/{id}");
    assert_eq!(short, Config { tables: vec![TableConfig::new("InventoryItem", origin)], ..Config::default() });
}

#[test]
fn what_others_than_this_machine_reach_must_be_meant() {
    let folder = Folder::of_demo("public");
    for arguments in [["--listen", "0.0.0.0:0", "--admin", "none"], ["--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"]]
    {
        let mut command = wtcache(&["serve", "--config", folder.name()]);
        command.args(arguments).env("INVENTORY_API", "http://127.0.0.1:1").env("INVENTORY_API_KEY", "k");
        let (code, out, err) = run(command);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(err.contains("public: true"), "{err}");
    }
}

#[test]
fn serve_says_where_it_is_asked_of_itself() {
    let folder = Folder::of_demo("admin");
    let mut command =
        wtcache(&["serve", "--config", folder.name(), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.env("INVENTORY_API", "http://127.0.0.1:1").env("INVENTORY_API_KEY", "k");
    let mut front = Serving::start(command);
    let address = address_in(&front.line());
    let told = front.line();
    assert!(told.starts_with("asked of itself on http://127.0.0.1:") && told.ends_with("/-/stats"), "{told}");
    assert_eq!(ask_at(address, "GET", "/-/stats", "").0, 404);
    assert_eq!(ask_at(address_in(&told), "GET", "/-/stats", "").0, 200);
    front.signal("-TERM");
    assert_eq!(front.end().0.code(), Some(0));
}

/// What it prints is what a configuration takes, and knows the secret by.
#[test]
fn a_hash_is_a_line_of_a_configuration() {
    let schema = Schema::parse("schema.graphql", b"type Item @table @export { id: ID @primaryKey }").unwrap();
    let secret = |line: &str| {
        let text = format!(
            "auth: {{ principals: {{ a: {{ {line} }} }} }}\ntables: {{ Item: {{ origin: {{ url: 'http://h/{{id}}' }} }} }}"
        );
        let config = Config::parse("config.yaml", text.as_bytes(), &schema, &|_| None).unwrap();
        config.auth.unwrap().principals.remove(0).secret
    };
    let (code, out, err) = run(wtcache(&["hash", "token"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let (token, line) = out.trim_end().split_once('\n').unwrap();
    let token = token.rsplit(' ').next().unwrap();
    let known = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    assert!(token.len() >= 43);
    assert_eq!(secret(line), Credential::Token(known.as_ref().try_into().unwrap()));
    let (_, again, _) = run(wtcache(&["hash", "token"]));
    assert_ne!(again, out);

    let mut command = wtcache(&["hash", "password"]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, b"pass word\n").unwrap();
    drop(writer);
    command.stdin(reader);
    let (code, out, err) = run(command);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let Credential::Password(hash) = secret(out.trim_end()) else { panic!("{out}") };
    let hash = argon2::password_hash::phc::PasswordHash::new(&hash).unwrap();
    let is = |password: &str| {
        argon2::PasswordVerifier::verify_password(&argon2::Argon2::default(), password.as_bytes(), &hash).is_ok()
    };
    assert!(is("pass word") && !is("pass word\n"));

    let (code, out, err) = run(wtcache(&["hash", "password"]));
    assert_eq!((code, out.as_str(), err.as_str()), (Some(1), "", "wtcache: there is no password on standard input\n"));
}

/// The service manager is told too, each time.
#[test]
fn at_a_hangup_it_reads_its_folder_again() {
    let folder = Folder::of_demo("hangup");
    let socket = Path::new(folder.name()).join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut text = [0; 64];
        let length = manager.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let mut command = wtcache(&["serve", "--config", folder.name(), "--listen", "127.0.0.1:0", "--admin", "none"]);
    command.env("INVENTORY_API", "http://127.0.0.1:1").env("INVENTORY_API_KEY", "k").env("NOTIFY_SOCKET", &socket);
    let mut front = Serving::start(command);
    let address = address_in(&front.line());
    assert_eq!(told(), "READY=1");
    let file = Path::new(folder.name()).join("config.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\nauth: {{}}\n")).unwrap();
    front.signal("-HUP");
    assert_eq!(front.line(), "reloaded: auth; needs a restart: nothing");
    assert_eq!((told(), told()), ("RELOADING=1".to_owned(), "READY=1".to_owned()));
    assert_eq!(ask_at(address, "GET", "/InventoryItem/a", "").0, 401);
    fs::write(&file, "tables: 1").unwrap();
    front.signal("-HUP");
    let told_why = (front.stderr_line_with("not_reloaded"), told(), told());
    assert!(told_why.0.contains("config.yaml:1:9: tables: expected a map, got a text"), "{told_why:?}");
    front.signal("-TERM");
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(front.end().0.code(), Some(0));
}
