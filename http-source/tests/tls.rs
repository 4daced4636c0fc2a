//! Chapter A of the contract behind TLS: what counts is the plaintext of the request, not the handshake.
//!
//! `tls/` holds a certificate for 127.0.0.1 and its key, and those of a client. They guard nothing.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};
use support::*;
use wtcache::{Confirmed, Failure, Record};
use wtcache_http_source::{BuildError, HttpSource, HttpSourceBuilder};

const CERTIFICATE: &[u8] = include_bytes!("tls/cert.pem");
const KEY: &[u8] = include_bytes!("tls/key.pem");
const CLIENT: &[u8] = include_bytes!("tls/client-cert.pem");
const CLIENT_KEY: &[u8] = include_bytes!("tls/client-key.pem");
const CLIENT_KEY_SEC1: &[u8] = include_bytes!("tls/client-key-sec1.pem");

/// Takes one request a connection, answers with these bytes, and closes; with `bye`, as TLS wants it.
fn server(answer: String, bye: bool) -> SocketAddr {
    server_by(answer, bye, None)
}

/// The same; of this version, it demands the client's certificate.
fn server_by(answer: String, bye: bool, demanding: Option<&'static SupportedProtocolVersion>) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = demanding.map_or_else(|| vec![&TLS12, &TLS13], |version| vec![version]);
    let certificates = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions).unwrap();
    let config = match demanding {
        None => config.with_no_client_auth(),
        Some(_) => {
            let mut known = RootCertStore::empty();
            known.add(CertificateDer::from_pem_slice(CLIENT).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(known), provider).build().unwrap();
            config.with_client_cert_verifier(verifier)
        }
    };
    let config = config.with_single_cert(certificates, PrivateKeyDer::from_pem_slice(KEY).unwrap()).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            // A load ends with its head, a put of these tests with its body.
            let whole = |request: &[u8]| match request.first() {
                Some(b'P') => request.ends_with(b"{\"n\":1}"),
                _ => request.ends_with(b"\r\n\r\n"),
            };
            while !whole(&request) {
                match stream.read(&mut chunk) {
                    Ok(n) if n > 0 => request.extend_from_slice(&chunk[..n]),
                    _ => break,
                }
            }
            let _ = stream.write_all(answer.as_bytes());
            if bye {
                stream.conn.send_close_notify();
            }
            let _ = stream.flush();
            // Read what may be left, so that the close is no reset.
            let _ = stream.sock.shutdown(std::net::Shutdown::Write);
            while stream.sock.read(&mut chunk).is_ok_and(|n| n > 0) {}
        }
    });
    address
}

fn trusting(address: SocketAddr) -> HttpSourceBuilder {
    let url = format!("https://{address}/items/{{id}}");
    one_attempt(&url).connect_timeout(AMPLE).root_certificates_pem(CERTIFICATE)
}

#[test]
fn writes_and_loads_go_over_tls() {
    let source = trusting(server(answer(200, "ETag: \"1\"\r\n", "{}"), true)).build().unwrap();
    let want = Record::new(b"{}".to_vec()).version(version("\"1\""));
    assert_eq!(applied(put(&source, b"k", b"{\"n\":1}")), Confirmed::Record(want.clone()));
    assert_eq!(get(&source, b"k").unwrap(), wtcache::Loaded::Found(want));
}

#[test]
fn a2_a_certificate_that_is_not_trusted_is_rejected() {
    let address = server(answer(200, "", "{}"), true);
    let source = one_attempt(&format!("https://{address}/items/{{id}}"))
        .connect_timeout(AMPLE)
        .header("Authorization", "Bearer s3cret")
        .build()
        .unwrap();
    let rejection = rejected(put(&source, b"k", b"{\"n\":1}"), Failure::Unreachable);
    assert!(!format!("{rejection:?}").contains("s3cret"));
    assert_eq!(get(&source, b"k").unwrap_err().failure(), Failure::Unreachable);
}

#[test]
fn a2_closed_after_the_handshake_is_unknown_once_bytes_were_offered() {
    for bye in [true, false] {
        let source = trusting(server(String::new(), bye)).build().unwrap();
        let _ = unknown(put(&source, b"k", b"{\"n\":1}"), Failure::Broken);
    }
}

#[test]
fn a_tls_stream_without_its_farewell_does_not_end_a_body_that_the_close_delimits() {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"n\":";
    let cut = trusting(server(head.into(), false)).build().unwrap();
    assert_eq!(get(&cut, b"k").unwrap_err().failure(), Failure::Broken);
    let ended = trusting(server(head.into(), true)).build().unwrap();
    assert!(get(&ended, b"k").is_ok(), "a farewell is an end");
}

#[test]
fn b2_a_head_that_is_too_long_is_an_error_that_says_so() {
    let address = server(answer(200, &format!("X-Long: {}\r\n", "x".repeat(16 * 1024)), "{}"), true);
    let error = get(&trusting(address).build().unwrap(), b"k").unwrap_err();
    assert!(error.message().contains("longer than 16384 bytes"), "{error}");
}

#[test]
fn a_client_shows_its_certificate_where_it_is_asked_for_one() {
    for demanding in [None, Some(&TLS12), Some(&TLS13)] {
        for key in [CLIENT_KEY, CLIENT_KEY_SEC1] {
            let address = server_by(answer(200, "", "{}"), true, demanding);
            let source = trusting(address).client_certificate_pem(CLIENT, key).build().unwrap();
            assert_eq!(applied(put(&source, b"k", b"{\"n\":1}")), Confirmed::Record(Record::new(b"{}".to_vec())));
            assert!(get(&source, b"k").is_ok());
        }
    }
}

/// With TLS 1.3 the client is done with the handshake before the server has looked at what it showed, and bytes were offered.
#[test]
fn a2_without_the_certificate_that_the_origin_demands_nothing_is_sent_in_tls_1_2_and_nobody_knows_in_1_3() {
    let by_1_2 = trusting(server_by(answer(200, "", "{}"), true, Some(&TLS12))).build().unwrap();
    rejected(put(&by_1_2, b"k", b"{\"n\":1}"), Failure::Unreachable);
    let by_1_3 = trusting(server_by(answer(200, "", "{}"), true, Some(&TLS13))).build().unwrap();
    let _ = unknown(put(&by_1_3, b"k", b"{\"n\":1}"), Failure::Broken);
    assert!(get(&by_1_3, b"k").is_err());
}

fn file(name: &str) -> String {
    format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn certificates_come_from_files() {
    let address = server_by(answer(200, "", "{}"), true, Some(&TLS13));
    let source = one_attempt(&format!("https://{address}/items/{{id}}"))
        .connect_timeout(AMPLE)
        .root_certificates_file(file("cert.pem"))
        .client_certificate_files(file("client-cert.pem"), file("client-key.pem"))
        .build()
        .unwrap();
    assert!(get(&source, b"k").is_ok());
}

#[test]
fn what_is_wrong_in_a_file_is_told_when_the_source_is_built() {
    let dir = std::env::temp_dir().join(format!("wtcache-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let written = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let pem = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let missing = dir.join("missing.pem").display().to_string();
    let empty = written("empty.pem", "");
    let cut = written("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    let junk = written("junk.pem", &pem("CERTIFICATE", "AAAA"));
    let junk_key = written("junk-key.pem", &pem("PRIVATE KEY", "AAAA"));
    let second_is_junk =
        written("second.pem", &format!("{}{}", std::str::from_utf8(CERTIFICATE).unwrap(), pem("CERTIFICATE", "AAAA")));
    let two_keys = written("two-keys.pem", std::str::from_utf8(CLIENT_KEY).unwrap().repeat(2).as_str());
    let (certificate, key) = (file("client-cert.pem"), file("client-key.pem"));

    let url = "https://127.0.0.1:1/items/{id}";
    let of_roots = |path: &str| HttpSource::builder(url).root_certificates_file(path);
    let of_client = |certificate: &str, key: &str| HttpSource::builder(url).client_certificate_files(certificate, key);
    let rows = [
        (of_roots(&missing), "root_certificates", &missing, "cannot be read"),
        (of_roots(&empty), "root_certificates", &empty, "holds no certificate"),
        (of_roots(&cut), "root_certificates", &cut, "is no PEM"),
        (of_roots(&key), "root_certificates", &key, "something that is no certificate"),
        (of_roots(&junk), "root_certificates", &junk, "certificate 1 cannot be trusted"),
        (of_roots(&second_is_junk), "root_certificates", &second_is_junk, "certificate 2 cannot be trusted"),
        (of_client(&missing, &key), "client_certificate", &missing, "cannot be read"),
        (of_client(&key, &key), "client_certificate", &key, "holds no certificate"),
        (of_client(&junk, &key), "client_certificate", &junk, "its certificate"),
        (of_client(&certificate, &missing), "client_key", &missing, "cannot be read"),
        (of_client(&certificate, &certificate), "client_key", &certificate, "holds no key"),
        (of_client(&certificate, &junk_key), "client_key", &junk_key, ""),
        (of_client(&certificate, &two_keys), "client_key", &two_keys, "more than one key"),
        (of_client(&certificate, &file("key.pem")), "client_key", &file("key.pem"), "not the key of the certificate"),
        (
            of_client(&certificate, &file("client-key-encrypted.pem")),
            "client_key",
            &file("client-key-encrypted.pem"),
            "encrypted",
        ),
    ];
    for (builder, named, path, why) in rows {
        match builder.build() {
            Err(BuildError::Option { option, message }) => {
                assert_eq!(option, named, "{message}");
                assert!(message.starts_with(path.as_str()) && message.contains(why), "{option}: {message}");
            }
            other => panic!("{named} {path}: {other:?}"),
        }
    }
    std::fs::remove_dir_all(dir).unwrap();
}

/// The system's store is a file of the environment's, in a process of its own.
#[test]
fn the_systems_roots_are_trusted_where_asked_for_beside_those_given() {
    const CHILD: &str = "WTCACHE_TEST_ROOTS_CHILD";
    let url = |address: SocketAddr| format!("https://{address}/items/{{id}}");
    let reaches = |builder: HttpSourceBuilder| get(&builder.connect_timeout(AMPLE).build().unwrap(), b"k").is_ok();
    let address = server(answer(200, "", "{}"), true);
    match std::env::var(CHILD).as_deref() {
        // The store holds what the origin shows, or another one.
        Ok("its") => {
            assert!(reaches(one_attempt(&url(address)).system_roots(true)));
            assert!(reaches(one_attempt(&url(address)).system_roots(true).root_certificates_pem(CLIENT)));
            assert!(!reaches(one_attempt(&url(address)).root_certificates_pem(CLIENT)), "instead of the system's");
            assert!(!reaches(one_attempt(&url(address))), "the public ones");
        }
        Ok("another") => {
            assert!(!reaches(one_attempt(&url(address)).system_roots(true)));
            assert!(reaches(one_attempt(&url(address)).system_roots(true).root_certificates_pem(CERTIFICATE)));
        }
        Ok("none") => {
            let error = one_attempt(&url(address)).system_roots(true).build().unwrap_err();
            assert!(error.to_string().contains("system_roots: the system's store"), "{error}");
        }
        _ => {
            for (child, store) in [("its", "cert.pem"), ("another", "client-cert.pem"), ("none", "key.pem")] {
                let status = std::process::Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "the_systems_roots_are_trusted_where_asked_for_beside_those_given"])
                    .env(CHILD, child)
                    .env("SSL_CERT_FILE", file(store))
                    .env_remove("SSL_CERT_DIR")
                    .stdout(std::process::Stdio::null())
                    .status()
                    .unwrap();
                assert!(status.success(), "{child}");
            }
        }
    }
}
