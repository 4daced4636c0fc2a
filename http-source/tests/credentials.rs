//! Credentials: where they come from, that nobody sees them, and what becomes of a request whose credentials were replaced meanwhile.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use support::*;
use wtcache::{Failure, Outcome};
use wtcache_http_source::{BuildError, HttpSource, HttpSourceBuilder, Retries, Secret};

/// A file of this test's own, gone with it.
struct Token(PathBuf);

impl Token {
    fn new(text: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let token = Self(std::env::temp_dir().join(format!("wtcache-token-{}-{n}", std::process::id())));
        token.holds(text);
        token
    }

    /// As secrets are replaced: at once.
    fn holds(&self, text: &str) {
        let next = self.0.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, &self.0).unwrap();
    }

    fn secret(&self) -> Secret {
        Secret::file(&self.0)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An origin that knows one token, and answers all others with 401.
fn knows(token: &'static str) -> Server {
    Server::new(move |_, conn| {
        while let Some(seen) = conn.request() {
            let known = seen.header("authorization") == Some(&format!("Bearer {token}"));
            conn.write(if known { answer(200, "", "{}") } else { answer(401, "", "who?") });
        }
    })
}

/// Answers in turn; an empty one is none, and the end of the connection.
fn in_turn(answers: Vec<String>) -> Server {
    let at = AtomicU32::new(0);
    Server::new(move |_, conn| {
        while conn.request().is_some() {
            let answer = &answers[at.fetch_add(1, Ordering::SeqCst) as usize];
            if answer.is_empty() {
                return;
            }
            conn.write(answer);
        }
    })
}

fn authorizations(server: &Server) -> Vec<String> {
    server.seen().iter().map(|seen| seen.header("authorization").unwrap_or("none").to_owned()).collect()
}

#[test]
fn credentials_are_sent_with_every_request() {
    let token = Token::new("t0ken\r\n");
    type With = fn(HttpSourceBuilder, &Token) -> HttpSourceBuilder;
    let rows: [(With, &str); 5] = [
        (|b, _| b.bearer("abc"), "Bearer abc"),
        (|b, file| b.bearer(file.secret()), "Bearer t0ken"),
        (|b, _| b.basic_auth("me", "pa:ss"), "Basic bWU6cGE6c3M="),
        (|b, file| b.basic_auth("", file.secret()), "Basic OnQwa2Vu"),
        (|b, _| b.header_from("authorization", Secret::environment("CARGO_PKG_NAME")), "wtcache-http-source"),
    ];
    for (with, sent) in rows {
        let server = Server::answering(answer(200, "", "{}"));
        let source = with(server.builder(), &token).build().unwrap();
        get(&source, b"k").unwrap();
        applied(put(&source, b"k", b"{}"));
        applied(delete(&source, b"k"));
        assert_eq!(authorizations(&server), [sent; 3]);
    }
}

#[test]
fn a_token_that_is_replaced_in_its_file_is_taken_up_under_a_running_source() {
    let server = knows("new");
    let token = Token::new("old");
    let source = server.builder().bearer(token.secret()).honours_idempotency(true).build().unwrap();
    assert_eq!(get(&source, b"k").unwrap_err().code(), Some(401));
    assert_eq!(server.seen().len(), 1, "the file holds what was sent: no second try");

    token.holds("new");
    applied(put(&source, b"k", b"{\"n\":1}"));
    get(&source, b"k").unwrap();
    assert_eq!(authorizations(&server), ["Bearer old", "Bearer old", "Bearer new", "Bearer new"]);
    let seen = server.seen();
    assert_eq!(seen[1].body, seen[2].body);
    let keys: Vec<_> = seen[1..3].iter().map(|seen| seen.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(server.connections(), 1);
    let stats = source.stats();
    assert_eq!((stats.credentials_renewed, stats.attempts, source.requests()), (1, 3, 4));
}

#[test]
fn a2_a_401_stands_where_the_credentials_are_the_same_cannot_be_read_or_do_not_change() {
    let token = Token::new("old");
    for spoil in [
        |_: &Token| {},
        |t: &Token| t.holds("a\nb"),
        |t: &Token| t.holds(""),
        |t: &Token| {
            std::fs::remove_file(&t.0).unwrap();
        },
    ] {
        let server = knows("new");
        token.holds("old");
        let source = server.builder().bearer(token.secret()).build().unwrap();
        spoil(&token);
        let rejection = rejected(put(&source, b"k", b"{}"), Failure::Refused);
        assert_eq!((rejection.error.code(), rejection.stale_base), (Some(401), false));
        assert_eq!(authorizations(&server), ["Bearer old"]);
        assert_eq!(source.stats().credentials_renewed, 0);
    }
    let server = knows("new");
    let source = server.builder().bearer("old").build().unwrap();
    rejected(put(&source, b"k", b"{}"), Failure::Refused);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_request_is_sent_with_new_credentials_once() {
    let server = knows("newest");
    let token = Token::new("old");
    let source = server.builder().bearer(token.secret()).build().unwrap();
    token.holds("new");
    rejected(put(&source, b"k", b"{}"), Failure::Refused);
    assert_eq!(authorizations(&server), ["Bearer old", "Bearer new"]);
}

#[test]
fn requests_that_are_answered_401_at_once_read_the_file_once() {
    const CROWD: usize = 8;
    let all_are_here = Barrier::new(CROWD);
    let server = Server::new(move |_, conn| {
        while let Some(seen) = conn.request() {
            if seen.header("authorization") == Some("Bearer old") {
                all_are_here.wait();
                conn.write(answer(401, "", ""));
            } else {
                conn.write(answer(200, "", "{}"));
            }
        }
    });
    let token = Token::new("old");
    let source = Arc::new(server.builder().bearer(token.secret()).build().unwrap());
    token.holds("new");
    let crowd: Vec<_> = (0..CROWD)
        .map(|n| {
            let source = Arc::clone(&source);
            std::thread::spawn(move || match n % 2 {
                0 => get(&source, b"k").map(|_| ()).map_err(|e| e.to_string()),
                _ => match put(&source, b"k", b"{}") {
                    Outcome::Applied(_) => Ok(()),
                    other => Err(format!("{other:?}")),
                },
            })
        })
        .collect();
    for one in crowd {
        one.join().unwrap().unwrap();
    }
    assert_eq!(source.stats().credentials_renewed, 1);
    assert_eq!(source.requests(), 2 * CROWD as u64);
}

#[test]
fn d4_a_write_that_is_attempted_again_is_renewed_under_the_same_key() {
    let server = in_turn(vec![answer(503, "", ""), answer(401, "", ""), answer(200, "", "{}")]);
    let token = Token::new("old");
    let source = HttpSource::builder(server.url())
        .timeout(AMPLE)
        .retries(Retries::none().writes(1).backoff(Duration::ZERO, Duration::ZERO))
        .honours_idempotency(true)
        .bearer(token.secret())
        .build()
        .unwrap();
    token.holds("new");
    applied(put(&source, b"k", b"{}"));
    let seen = server.seen();
    let keys: Vec<_> = seen.iter().map(|seen| seen.header("idempotency-key").unwrap()).collect();
    assert_eq!(keys, [keys[0]; 3]);
    assert_eq!(authorizations(&server), ["Bearer old", "Bearer old", "Bearer new"]);
}

#[test]
fn a2_of_a_write_that_was_answered_401_the_second_send_alone_decides() {
    let token = Token::new("old");
    let server = in_turn(vec![answer(401, "", ""), String::new()]);
    let source = server.builder().bearer(token.secret()).build().unwrap();
    token.holds("new");
    let _ = unknown(put(&source, b"k", b"{}"), Failure::Broken);
    assert_eq!(server.seen().len(), 2);

    // It is gone after its 401: the second send was none.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/items/{{id}}", listener.local_addr().unwrap());
    let origin = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let mut request = Vec::new();
        while !request.ends_with(b"{}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream.write_all(answer(401, "Connection: close\r\n", "").as_bytes()).unwrap();
    });
    let source = one_attempt(&url).bearer(token.secret()).build().unwrap();
    token.holds("newer");
    rejected(put(&source, b"k", b"{}"), Failure::Unreachable);
    origin.join().unwrap();
}

#[test]
fn nobody_sees_a_secret() {
    let token = Token::new("s3cret-in-file");
    let server = knows("new");
    let builder = server
        .builder()
        .bearer(token.secret())
        .header_from("X-Key", "s3cret-text")
        .header_from("X-Env", Secret::environment("CARGO_PKG_NAME"));
    assert!(!format!("{builder:?}").contains("s3cret"));
    let source = builder.build().unwrap();
    let rejection = rejected(put(&source, b"k", b"{}"), Failure::Refused);
    assert_eq!(server.seen()[0].header("x-key"), Some("s3cret-text"));
    let told = format!("{source:?} {rejection:?} {} {:?}", rejection.error, source.stats());
    assert!(!told.contains("s3cret"), "{told}");
}

#[test]
fn what_cannot_be_sent_is_refused_when_the_source_is_built() {
    let token = Token::new("s3cret\nsecond line");
    let long = Token::new(&"s3cret".repeat(2000));
    let url = "http://127.0.0.1:1/items/{id}";
    let new = || HttpSource::builder(url);
    let absent = std::env::temp_dir().join("wtcache-no-such-token");
    let rows = [
        (new().bearer(Secret::file(&absent)), "wtcache-no-such-token cannot be read"),
        (new().bearer(token.secret()), "line break"),
        (new().bearer(long.secret()), "is longer than 8192 bytes"),
        (new().bearer(Secret::environment("WTCACHE_NO_SUCH_VARIABLE")), "no variable WTCACHE_NO_SUCH_VARIABLE"),
        (new().bearer("s3cret\r\nEvil: 1"), "line break"),
        (new().bearer("s3cret\x7f"), "no header may have"),
        (new().bearer("s3cret").basic_auth("me", "s3cret"), "given twice"),
        (new().header("AUTHORIZATION", "s3cret").bearer("s3cret"), "given twice"),
        (new().basic_auth("m:e", "s3cret"), "colon"),
        (new().header_from("Host", "s3cret"), "sets it itself"),
        (new().header_from("X Y", "s3cret"), "no token"),
    ];
    for (builder, why) in rows {
        match builder.build() {
            Err(BuildError::Header { name, why: told }) => {
                assert!(told.contains(why) && !told.contains("s3cret"), "{name}: {told}");
            }
            other => panic!("{why}: {other:?}"),
        }
    }
}
