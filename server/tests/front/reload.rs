//! A configuration that is read again while it is served.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::generate_simple_self_signed;
use tokio_rustls::rustls::version::TLS13;
use wtcache_server::config;
use wtcache_server::reload::{Reloaded, Reloading};

use crate::common::setup;
use crate::tls::{client, get, pair};

const SCHEMA: &str = "type InventoryItem @table @export { id: ID @primaryKey }";

fn write(folder: &Path, top: &str, table: &str) {
    fs::write(folder.join("schema.graphql"), SCHEMA).unwrap();
    let origin = "origin: { url: 'http://127.0.0.1:1/{id}' }";
    let text = format!("{top}\ntables: {{ InventoryItem: {{ {origin}{table} }} }}\n");
    fs::write(folder.join("config.yaml"), text).unwrap();
}

fn reading(name: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("auth: {{ principals: {{ {name}: {{ token_sha256: {hash}, tables: {{ \"*\": read }} }} }} }}")
}

fn reloaded(taken: &[&str], waits: &[&str]) -> Result<Reloaded, String> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Ok(Reloaded { taken: owned(taken), waits: owned(waits), ..Reloaded::default() })
}

#[test]
fn who_may_ask_is_taken_at_once_and_what_is_held_stays() {
    let stage = setup().top(&reading("one")).start();
    stage.origin.seed("a", serde_json::json!({ "quantity": 1 }));
    let as_is =
        |token: &str| stage.ask("GET", "/InventoryItem/a", &[("Authorization", &format!("Bearer {token}"))], "");
    as_is("one").expect(200);
    stage.saw();
    let folder = crate::tls::folder("reload");
    write(&folder, &reading("one"), "");
    let (schema, config) = config::load(&folder, &|_| None).unwrap();
    let reloading = Reloading::new(&folder, Arc::clone(&stage.front), schema, config);
    let again = || reloading.again(&|_| None);

    write(&folder, &reading("two"), "");
    assert_eq!(again(), reloaded(&["auth"], &[]));
    as_is("one").expect(401);
    assert!(as_is("two").expect(200).header("cache-status").unwrap().starts_with("wtcache; hit"));

    // What is wrong anywhere changes nothing.
    write(&folder, &reading("three"), ", capacity: much");
    assert!(again().unwrap_err().contains("config.yaml:2:"));
    as_is("two").expect(200);

    let top = format!("listen: 127.0.0.1:1\nadmin: none\n{}", reading("four"));
    write(&folder, &top, "");
    assert_eq!(again(), reloaded(&["auth"], &["listen", "admin"]));
    as_is("four").expect(200);
    assert_eq!(again(), reloaded(&[], &["listen", "admin"]), "it still waits");

    write(&folder, "", "");
    assert_eq!(again(), reloaded(&["auth"], &[]));
    stage.get("a").expect(200);
}

#[test]
fn a_certificate_is_renewed_for_handshakes_to_come() {
    let (first, files) = pair("renewed");
    let folder = files.key.parent().unwrap().to_owned();
    let top = format!("tls: {{ certificate: '{}', key: '{}' }}", files.certificate.display(), files.key.display());
    let stage = setup().top(&top).start();
    write(&folder, "tls: { certificate: cert.pem, key: key.pem }", "");
    let (schema, config) = config::load(&folder, &|_| None).unwrap();
    let reloading = Reloading::new(&folder, Arc::clone(&stage.front), schema, config);
    let mut open = client(stage.address, first.cert.der(), &TLS13);
    std::io::Write::write_all(&mut open, b"GET /-/healthz HTTP/1.1\r\n").unwrap();

    let second = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(&files.certificate, second.cert.pem()).unwrap();
    let told = reloading.again(&|_| None).unwrap_err();
    assert!(told.contains("it is not that of"), "{told}");
    let healthy = |trusted| get(&mut client(stage.address, trusted, &TLS13), "/-/healthz");
    assert!(healthy(first.cert.der()).starts_with("HTTP/1.1 200 "), "the pair before is in force");

    fs::write(&files.key, second.signing_key.serialize_pem()).unwrap();
    assert_eq!(reloading.again(&|_| None), reloaded(&["tls"], &[]));
    assert!(healthy(second.cert.der()).starts_with("HTTP/1.1 200 "));
    // What was open stays so.
    std::io::Write::write_all(&mut open, b"Host: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut open, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
