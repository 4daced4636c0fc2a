//! Chapter A of the contract behind TLS: what counts is the plaintext of the request, not the handshake.
//!
//! `tls/` holds a certificate for 127.0.0.1 and its key. They guard nothing.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use support::*;
use wtcache::{Confirmed, Failure, Record};
use wtcache_http_source::HttpSourceBuilder;

const CERTIFICATE: &[u8] = include_bytes!("tls/cert.pem");
const KEY: &[u8] = include_bytes!("tls/key.pem");

/// Takes one request a connection, answers with these bytes, and closes; with `bye`, as TLS wants it.
fn server(answer: String, bye: bool) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificates = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::from_pem_slice(KEY).unwrap())
        .unwrap();
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
