//! TLS of both addresses, over real sockets.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::json;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use wtcache_server::config::{self, Admin, Limits, TlsConfig};
use wtcache_server::front::Front;

use crate::common::{PATIENCE, Stage, request_at, setup};

/// A folder of its own for a test.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tls").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A certificate for localhost, and its files.
pub(crate) fn pair(name: &str) -> (CertifiedKey<KeyPair>, TlsConfig) {
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = folder(name);
    let files = TlsConfig { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    fs::write(&files.certificate, made.cert.pem()).unwrap();
    fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    (made, files)
}

fn tls_stage(files: &TlsConfig, limits: Limits) -> Stage {
    let top = format!("tls: {{ certificate: '{}', key: '{}' }}", files.certificate.display(), files.key.display());
    let stage = setup().top(&top).limits(limits).admin(Admin::At(([127, 0, 0, 1], 0).into())).start();
    stage.origin.seed("a", json!({ "quantity": 1 }));
    stage
}

pub(crate) type Client = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn client(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    version: &'static rustls::SupportedProtocolVersion,
) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_protocol_versions(&[version]).unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(connection, stream)
}

/// The answer to a GET, all that comes until the front closes.
pub(crate) fn get(client: &mut Client, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn both_addresses_speak_tls_and_http_1_1_within() {
    let (made, files) = pair("both");
    let stage = tls_stage(&files, Limits::default());
    let trusted = made.cert.der();
    for version in [&TLS12, &TLS13] {
        let mut records = client(stage.address, trusted, version);
        let answer = get(&mut records, "/InventoryItem/a");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"quantity\":1"), "{answer}");
        assert_eq!(records.conn.alpn_protocol(), Some(b"http/1.1".as_slice()));
        let answer = get(&mut client(stage.admin.unwrap(), trusted, version), "/-/metrics");
        assert!(answer.contains("wtcache_connections_without_tls_total 0"), "{answer}");
    }
}

#[test]
fn who_speaks_plain_http_is_told_so() {
    let (made, files) = pair("plain");
    let stage = tls_stage(&files, Limits::default());
    let told = request_at(stage.address, "GET", "/InventoryItem/a", &[], "").checked();
    assert_eq!(told.status, 400);
    assert!(told.json()["detail"].as_str().unwrap().contains("speaks TLS"), "{told:?}");
    let metrics = get(&mut client(stage.admin.unwrap(), made.cert.der(), &TLS13), "/-/metrics");
    assert!(metrics.contains("wtcache_connections_without_tls_total 1"), "{metrics}");
}

/// It has as long as a head, and holds the place of a connection.
#[test]
fn a_handshake_that_does_not_come_ends_in_time_and_is_a_connection_meanwhile() {
    let (made, files) = pair("silent");
    let limits = Limits { head_timeout: Duration::from_millis(300), connections: 1, ..Limits::default() };
    let stage = tls_stage(&files, limits);
    let mut silent = TcpStream::connect(stage.address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut second = TcpStream::connect(stage.address).unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    second.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "in the clear there is nothing to say");
    silent.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    let metrics = get(&mut client(stage.admin.unwrap(), made.cert.der(), &TLS13), "/-/metrics");
    for line in ["wtcache_connections_late_total 1\n", "wtcache_connections_refused_total 1\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

/// The end does not wait for a handshake that does not come.
#[test]
fn a_handshake_under_way_does_not_hold_up_the_end() {
    let (made, files) = pair("ending");
    let mut stage = tls_stage(&files, Limits::default());
    let mut silent = TcpStream::connect(stage.address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    get(&mut client(stage.address, made.cert.der(), &TLS13), "/InventoryItem/a");
    assert_eq!(stage.ended(), [""; 0]);
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn what_is_wrong_with_the_files_is_told_by_their_names() {
    let (_, good) = pair("good");
    let (_, other) = pair("other");
    let folder = folder("wrong");
    let (missing, text) = (folder.join("missing.pem"), folder.join("text.pem"));
    fs::write(&text, "hello").unwrap();
    let with = |certificate: &PathBuf, key: &PathBuf| TlsConfig { certificate: certificate.clone(), key: key.clone() };
    for (files, what, path, why) in [
        (with(&missing, &good.key), "certificate", &missing, "No such file"),
        (with(&good.certificate, &missing), "key", &missing, "No such file"),
        (with(&text, &good.key), "certificate", &text, "there is no certificate"),
        (with(&good.key, &good.key), "certificate", &good.key, "there is no certificate"),
        (with(&good.certificate, &text), "key", &text, "there is no private key"),
        (with(&good.certificate, &good.certificate), "key", &good.certificate, "there is no private key"),
        (with(&good.certificate, &other.key), "key", &other.key, "it is not that of"),
    ] {
        let Err(told) = Front::new().tls(&files) else { panic!("{files:?}") };
        assert!(told.starts_with(&format!("tls: {what}: {}: {why}", path.display())), "{told}");
    }
}

/// The files are named from the folder of the configuration, and looked at by `check`.
#[test]
fn the_files_stand_beside_the_configuration() {
    let (_, files) = pair("beside");
    let folder = files.key.parent().unwrap();
    fs::write(folder.join("schema.graphql"), "type Item @table @export { id: ID @primaryKey }").unwrap();
    let text = "tls: { certificate: cert.pem, key: key.pem }\ntables: { Item: { origin: { url: 'http://h/{id}' } } }";
    fs::write(folder.join("config.yaml"), text).unwrap();
    let (schema, config) = config::load(folder, &|_| None).unwrap();
    assert_eq!(config.tls.as_ref(), Some(&files));
    wtcache_server::folder::check(&schema, &config).unwrap();
    fs::write(&files.key, "hello").unwrap();
    let told = wtcache_server::folder::check(&schema, &config).unwrap_err();
    assert!(told.starts_with("tls: key: "), "{told}");
}
