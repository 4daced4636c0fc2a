//! Through a proxy: one that forwards whole URLs to an http origin, and one that makes tunnels to an https one. Small, real, on sockets.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use support::*;
use wtcache::{Confirmed, Failure, Record};
use wtcache_http_source::{HttpSourceBuilder, Proxy};

/// Nothing listens there: whoever resolves or connects to it fails.
const ORIGIN: &str = "http://origin.invalid:8080/items/{id}";
const ORIGIN_BY_TLS: &str = "https://origin.invalid/items/{id}";

fn through(proxy: &Server, url: &str) -> HttpSourceBuilder {
    one_attempt(url).proxy(Proxy::at(format!("http://me:s3cret@{}", proxy.address)))
}

#[test]
fn requests_to_an_http_origin_go_to_the_proxy_with_the_whole_url() {
    let proxy = Server::answering(answer(200, "ETag: \"1\"\r\n", "{}"));
    let source = through(&proxy, ORIGIN).build().unwrap();
    let value = vec![b'1'; 100_000];
    let want = Record::new(b"{}".to_vec()).version(version("\"1\""));
    assert_eq!(applied(put(&source, b"a/b", &value)), Confirmed::Record(want));
    assert!(get(&source, b"k").is_ok());
    applied(delete(&source, b"k"));
    let seen = proxy.seen();
    let lines: Vec<_> = seen.iter().map(|seen| seen.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "PUT http://origin.invalid:8080/items/a%2Fb HTTP/1.1",
            "GET http://origin.invalid:8080/items/k HTTP/1.1",
            "DELETE http://origin.invalid:8080/items/k HTTP/1.1",
        ]
    );
    assert!(seen[0].body == value, "all of it, once");
    for seen in &seen {
        assert_eq!(seen.header("host"), Some("origin.invalid:8080"));
        assert_eq!(seen.header("proxy-authorization"), Some("Basic bWU6czNjcmV0"));
    }
    assert_eq!(proxy.connections(), 1, "the connection is kept");
}

#[test]
fn a2_what_a_forwarding_proxy_answers_is_classified_as_an_origins_answer() {
    for status in [502, 503, 504] {
        let proxy = Server::answering(answer(status, "", ""));
        let source = through(&proxy, ORIGIN).build().unwrap();
        let _ = unknown(put(&source, b"k", b"{}"), Failure::Failed);
        assert_eq!(get(&source, b"k").unwrap_err().failure(), Failure::Failed);
    }
    for status in [403, 407] {
        let proxy = Server::answering(answer(status, "", ""));
        let rejection = rejected(put(&through(&proxy, ORIGIN).build().unwrap(), b"k", b"{}"), Failure::Refused);
        assert!(!rejection.stale_base);
    }
}

#[test]
fn a2_a_proxy_that_cannot_be_reached_proves_that_nothing_was_sent() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [ORIGIN, ORIGIN_BY_TLS] {
        let source = one_attempt(url).proxy(Proxy::at(format!("http://me:s3cret@{closed}"))).build().unwrap();
        let rejection = rejected(put(&source, b"k", b"{}"), Failure::Unreachable);
        assert!(!format!("{rejection:?} {source:?}").contains("s3cret"));
    }
}

#[test]
fn a2_a_tunnel_that_is_refused_proves_that_nothing_was_sent() {
    let heads =
        ["HTTP/1.1 403 No\r\n\r\n", "HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n", "HTTP/1.0 502 Bad\r\n\r\n"];
    for (answer, says) in heads
        .iter()
        .map(|head| (*head, format!("answered {} to CONNECT", &head[9..12])))
        .chain([("", "did not answer CONNECT".to_owned()), ("SSH-2.0-x\r\n\r\n", "did not answer CONNECT".to_owned())])
        .chain([("HTTP/1.1 2000 x\r\n\r\n", "did not answer CONNECT".to_owned())])
    {
        let proxy = Server::new(move |_, conn| {
            conn.request();
            conn.write(answer);
        });
        let source = through(&proxy, ORIGIN_BY_TLS).build().unwrap();
        let rejection = rejected(put(&source, b"k", b"{\"s3cret\":1}"), Failure::Unreachable);
        let error = format!("{rejection:?} {}", rejection.error);
        assert!(error.contains(&says) && error.contains(&proxy.address.to_string()), "{error}");
        assert!(!error.contains("s3cret") && !error.contains("bWU6"), "{error}");
        let seen = &proxy.seen()[0];
        assert_eq!(seen.line, "CONNECT origin.invalid:443 HTTP/1.1");
        assert_eq!(seen.header("host"), Some("origin.invalid:443"));
        assert_eq!(seen.header("proxy-authorization"), Some("Basic bWU6czNjcmV0"));
        assert_eq!((seen.headers.len(), seen.body.len()), (2, 0), "and nothing of the request");
    }
}

#[test]
fn a2_a_proxy_that_does_not_answer_holds_a_write_to_its_time_to_connect_and_nothing_was_sent() {
    let proxy = Server::new(|_, conn| conn.hold());
    let source = through(&proxy, ORIGIN_BY_TLS).connect_timeout(std::time::Duration::from_millis(50)).build().unwrap();
    rejected(put(&source, b"k", b"{}"), Failure::Unreachable);
}

/// Copies both ways until either side ends.
fn join(client: &TcpStream, target: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            if to.write_all(&chunk[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    };
    let (c, t) = (client.try_clone().unwrap(), target.try_clone().unwrap());
    let back = std::thread::spawn(move || copy(t, c));
    copy(client.try_clone().unwrap(), target);
    back.join().unwrap();
}

#[test]
fn a_tunnel_carries_tls_to_the_origin_and_is_kept() {
    let origin = tls::echo();
    let proxy = Server::new(move |_, conn| {
        conn.request();
        conn.write("HTTP/1.1 200 Connection established\r\nProxy-Agent: x\r\n\r\n");
        join(&conn.stream, TcpStream::connect(origin).unwrap());
    });
    // By name and port of its own, which only the proxy knows how to reach.
    let source = through(&proxy, "https://127.0.0.1:1/items/{id}")
        .connect_timeout(AMPLE)
        .root_certificates_pem(tls::CERTIFICATE)
        .build()
        .unwrap();
    for _ in 0..2 {
        assert_eq!(
            applied(put(&source, b"k", b"{}")),
            Confirmed::Record(Record::new(b"PUT /items/k HTTP/1.1".to_vec()))
        );
    }
    assert_eq!(proxy.connections(), 1);
    assert_eq!(proxy.seen().len(), 1, "one CONNECT");
    assert_eq!(proxy.seen()[0].line, "CONNECT 127.0.0.1:1 HTTP/1.1");
}

#[test]
fn the_environments_proxy_is_taken_where_asked_for_and_not_for_this_machine() {
    let proxy = Server::answering(answer(200, "", "{}"));
    let url = format!("http://{}", proxy.address);
    let environment = Proxy::of_variables(move |name| (name == "HTTP_PROXY").then(|| url.clone()));
    let far = one_attempt(ORIGIN).proxy(environment.clone()).build().unwrap();
    assert!(get(&far, b"k").is_ok());
    assert!(proxy.seen()[0].line.starts_with("GET http://origin.invalid:8080/"));

    let origin = Server::answering(answer(200, "", "{}"));
    let near = origin.builder().proxy(environment).build().unwrap();
    assert!(get(&near, b"k").is_ok());
    assert_eq!((proxy.connections(), origin.seen()[0].line.as_str()), (1, "GET /items/k HTTP/1.1"));
}

/// An origin behind TLS that answers each request with its first line.
mod tls {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    pub(super) const CERTIFICATE: &[u8] = include_bytes!("tls/cert.pem");
    const KEY: &[u8] = include_bytes!("tls/key.pem");

    pub(super) fn echo() -> SocketAddr {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
                PrivateKeyDer::from_pem_slice(KEY).unwrap(),
            )
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
                while let Ok(n @ 1..) = stream.read(&mut chunk) {
                    request.extend_from_slice(&chunk[..n]);
                    if request.ends_with(b"{}") {
                        let line = String::from_utf8(request.split(|b| *b == b'\r').next().unwrap().to_vec()).unwrap();
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}", line.len());
                        stream.write_all(head.as_bytes()).unwrap();
                        stream.flush().unwrap();
                        request.clear();
                    }
                }
            }
        });
        address
    }
}
