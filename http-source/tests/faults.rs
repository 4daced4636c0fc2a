//! Chapter A of the contract on a wire that fails: what was offered decides between rejected and unknown.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use support::*;
use wtcache::{Bytes, Failure, LoadCx, Loaded, Source};
use wtcache_http_source::HttpSource;

/// A deadline that a test waits for; long enough for a busy machine to send a request in.
const SHORT: Duration = Duration::from_millis(700);

fn source_at(url: &str) -> HttpSource {
    one_attempt(url).build().unwrap()
}

fn get_within(source: &HttpSource, left: Duration) -> Result<Loaded<Vec<u8>>, wtcache::SourceError> {
    Source::<Bytes>::get(source, b"k", &LoadCx::alone(left))
}

#[test]
fn a2_connect_refused_is_rejected() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let source = source_at(&format!("http://{address}/{{id}}"));
    assert!(!rejected(put(&source, b"k", b"{}"), Failure::Unreachable).stale_base);
    let _ = rejected(delete(&source, b"k"), Failure::Unreachable);
    assert_eq!(get(&source, b"k").unwrap_err().failure(), Failure::Unreachable);
}

#[test]
fn a2_a_name_that_does_not_resolve_is_rejected() {
    let source = source_at("http://nonexistent.invalid/{id}");
    let rejection = rejected(put(&source, b"k", b"{}"), Failure::Unreachable);
    assert!(rejection.error.message().contains("nonexistent.invalid"), "{rejection:?}");
    assert_eq!(get(&source, b"k").unwrap_err().failure(), Failure::Unreachable);
}

#[test]
fn a_name_that_resolves_is_used() {
    let server = Server::answering(answer(200, "", "{}"));
    let source = source_at(&format!("http://localhost:{}/{{id}}", server.address.port()));
    applied(put(&source, b"k", b"{}"));
    assert_eq!(server.seen()[0].header("host").unwrap(), format!("localhost:{}", server.address.port()));
}

#[test]
fn a2_a_deadline_that_has_passed_is_rejected_and_nothing_is_sent() {
    let server = Server::answering(answer(200, "", "{}"));
    let source = server.source();
    let _ = rejected(put_within(&source, b"k", b"{}", Duration::ZERO), Failure::TimedOut);
    let _ = rejected(put_within(&source, b"k", b"{}", Duration::from_nanos(1)), Failure::TimedOut);
    assert_eq!(get_within(&source, Duration::ZERO).unwrap_err().failure(), Failure::TimedOut);
    assert_eq!(server.bytes(), 0);
}

#[test]
fn a2_a_deadline_that_has_passed_uses_no_kept_connection() {
    let server = Server::answering(answer(200, "", "{}"));
    let source = server.builder().write_max_idle_age(AMPLE).build().unwrap();
    applied(put(&source, b"k", b"{}"));
    let sent = server.bytes();
    let _ = rejected(put_within(&source, b"k", b"{}", Duration::from_nanos(1)), Failure::TimedOut);
    assert_eq!((server.bytes(), server.connections()), (sent, 1));
}

#[test]
fn a2_closed_before_anything_is_read_is_unknown_once_bytes_were_offered() {
    let server = Server::new(|_, conn| conn.first_byte());
    let _ = unknown(put(&server.source(), b"k", b"{}"), Failure::Broken);
    let _ = unknown(delete(&server.source(), b"k"), Failure::Broken);
    assert_eq!(get(&server.source(), b"k").unwrap_err().failure(), Failure::Broken);
    assert_eq!(server.connections(), 3, "nothing was sent again");
}

#[test]
fn a2_closed_after_the_request_without_an_answer_is_unknown() {
    let server = Server::new(|_, conn| {
        conn.request();
    });
    let _ = unknown(put(&server.source(), b"k", b"{}"), Failure::Broken);
    let _ = unknown(delete(&server.source(), b"k"), Failure::Broken);
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a2_an_answer_cut_short_in_its_head_is_unknown() {
    for head in [
        "H",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 409 Conflict\r\n",
        "gibberish\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let server = Server::new(move |_, conn| {
            conn.request();
            conn.write(head);
        });
        let _ = unknown(put(&server.source(), b"k", b"{}"), Failure::Broken);
        assert_eq!(get(&server.source(), b"k").unwrap_err().failure(), Failure::Broken, "{head}");
        assert_eq!(server.seen().len(), 2, "{head}");
    }
}

#[test]
fn a2_an_endless_head_is_unknown() {
    let server = Server::new(|_, conn| {
        conn.request();
        conn.write("HTTP/1.1 200 OK\r\n");
        for _ in 0..10_000 {
            conn.write("X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n");
        }
        conn.hold();
    });
    let _ = unknown(put(&server.source(), b"k", b"{}"), Failure::Broken);
}

#[test]
fn b2_a_head_that_is_too_long_is_an_error_that_says_so() {
    let long = format!("X-Long: {}\r\n", "x".repeat(16 * 1024));
    let server = Server::answering(answer(200, &long, "{}"));
    let error = unknown(put(&server.source(), b"k", b"{}"), Failure::Broken);
    assert!(error.message().contains("head, or a line between its chunks, is longer than 16384 bytes"), "{error}");
    let error = get(&server.source(), b"k").unwrap_err();
    assert!(error.message().contains("longer than 16384 bytes"), "{error}");
    let server = Server::answering(answer(200, &format!("{}\r\n", &long[..8 * 1024]), "{}"));
    get(&server.source(), b"k").unwrap();
}

#[test]
fn a2_an_answer_cut_short_in_its_body_keeps_its_verdict() {
    for cut in ["Content-Length: 10\r\n\r\n{\"n\"", "Transfer-Encoding: chunked\r\n\r\n4\r\n{\"n\"\r\n"] {
        let server = |status: &'static str| {
            Server::new(move |_, conn| {
                conn.request();
                conn.write(format!("HTTP/1.1 {status} X\r\n{cut}"));
            })
        };
        assert_eq!(applied(put(&server("200").source(), b"k", b"{}")), wtcache::Confirmed::Unseen);
        applied(delete(&server("200").source(), b"k"));
        assert!(rejected(put(&server("409").source(), b"k", b"{}"), Failure::Refused).stale_base);
        let _ = unknown(put(&server("500").source(), b"k", b"{}"), Failure::Failed);
        assert_eq!(get(&server("200").source(), b"k").unwrap_err().failure(), Failure::Broken);
    }
}

#[test]
fn a_reset_does_not_end_a_body_that_the_close_delimits() {
    let script = |reset: bool| {
        Server::new(move |_, conn| {
            // Left unread, the rest of the request makes the close a reset.
            if reset {
                conn.first_byte()
            } else {
                drop(conn.request())
            }
            conn.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"n\":");
        })
    };
    assert_eq!(get(&script(true).source(), b"k").unwrap_err().failure(), Failure::Broken);
    assert!(matches!(get(&script(false).source(), b"k"), Ok(Loaded::Found(_))), "a clean close is an end");
}

#[test]
fn a2_no_answer_by_the_deadline_is_unknown() {
    let server = Server::new(|_, conn| conn.hold());
    let source = server.builder().timeout(SHORT).build().unwrap();
    assert_eq!(unknown(put(&source, b"k", b"{}"), Failure::TimedOut).message(), "PUT: the deadline passed");
    let _ = unknown(delete(&source, b"k"), Failure::TimedOut);
    assert_eq!(get(&source, b"k").unwrap_err().failure(), Failure::TimedOut);
    let _ = unknown(put_within(&server.source(), b"k", b"{}", SHORT), Failure::TimedOut);
    assert_eq!(get_within(&server.source(), SHORT).unwrap_err().failure(), Failure::TimedOut);
}

#[test]
fn a2_a_body_that_nobody_takes_is_unknown_at_the_deadline() {
    let server = Server::new(|_, conn| {
        conn.first_byte();
        std::thread::park();
    });
    let value = vec![0; 64 << 20];
    let _ = unknown(put_within(&server.source(), b"k", &value, SHORT), Failure::TimedOut);
}

#[test]
fn one_deadline_bounds_what_drips() {
    let drip = |head: &'static str| {
        Server::new(move |_, conn| {
            conn.request();
            conn.write(head);
            while std::io::Write::write_all(&mut conn.stream, b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let start = Instant::now();
    let body = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    let error = get_within(&drip(body).source(), SHORT).unwrap_err();
    assert_eq!(error.failure(), Failure::TimedOut);
    assert!(error.message().ends_with("was not received whole: the deadline passed"), "{error}");
    let applied_unseen = put_within(&drip(body).source(), b"k", b"{}", SHORT);
    assert_eq!(applied(applied_unseen), wtcache::Confirmed::Unseen, "the status had been read");
    let head = "HTTP/1.1 200 OK\r\nX-Long: ";
    assert_eq!(get_within(&drip(head).source(), SHORT).unwrap_err().failure(), Failure::TimedOut);
    let _ = unknown(put_within(&drip(head).source(), b"k", b"{}", SHORT), Failure::TimedOut);
    assert!(start.elapsed() < AMPLE, "it ended by its own deadline");
}

#[test]
fn a2_a_failed_tls_handshake_is_rejected() {
    let garbage = Server::new(|_, conn| {
        conn.first_byte();
        conn.write("HTTP/1.1 400 this is no TLS\r\n\r\n");
        conn.hold();
    });
    let closing = Server::new(|_, conn| conn.first_byte());
    for server in [&garbage, &closing] {
        let source = source_at(&format!("https://{}/{{id}}", server.address));
        let _ = rejected(put(&source, b"k", b"{}"), Failure::Unreachable);
        let _ = rejected(delete(&source, b"k"), Failure::Unreachable);
        assert!(server.bytes() > 0, "the handshake was begun");
    }
}

#[test]
fn a2_a_tls_handshake_that_hangs_is_rejected() {
    let server = Server::new(|_, conn| conn.hold());
    let url = format!("https://{}/{{id}}", server.address);
    let by_connect_timeout = one_attempt(&url).connect_timeout(SHORT).build().unwrap();
    let _ = rejected(put(&by_connect_timeout, b"k", b"{}"), Failure::Unreachable);
    let by_deadline = one_attempt(&url).timeout(SHORT).connect_timeout(AMPLE).build().unwrap();
    let _ = rejected(put(&by_deadline, b"k", b"{}"), Failure::TimedOut);
}

#[test]
fn a_write_uses_a_fresh_idle_connection_and_no_old_one() {
    let server = Server::answering(answer(200, "", "{}"));
    let fresh = server.builder().write_max_idle_age(AMPLE).build().unwrap();
    for _ in 0..3 {
        applied(put(&fresh, b"k", b"{}"));
    }
    assert_eq!(server.connections(), 1);
    let never = server.builder().write_max_idle_age(Duration::ZERO).build().unwrap();
    for _ in 0..3 {
        applied(put(&never, b"k", b"{}"));
    }
    assert_eq!(server.connections(), 4);
    get(&never, b"k").unwrap();
    get(&never, b"k").unwrap();
    assert_eq!(server.connections(), 4, "a load may use what a write may not");
}

/// The server takes the second request on the kept connection and closes instead of answering it.
fn dies_on_second_request() -> Server {
    Server::new(|n, conn| {
        conn.request();
        conn.write(answer(200, "", "{}"));
        if n == 0 {
            conn.request();
        } else {
            while conn.request().is_some() {
                conn.write(answer(200, "", "{}"));
            }
        }
    })
}

#[test]
fn a2_a_write_on_a_kept_connection_that_dies_is_unknown_and_not_sent_again() {
    let server = dies_on_second_request();
    let source = server.builder().write_max_idle_age(AMPLE).build().unwrap();
    applied(put(&source, b"k", b"{}"));
    let _ = unknown(put(&source, b"k", b"{}"), Failure::Broken);
    assert_eq!((server.seen().len(), server.connections()), (2, 1));
    assert_eq!(source.requests(), 2);
    applied(put(&source, b"k", b"{}"));
    assert_eq!((server.seen().len(), server.connections()), (3, 2));
}

#[test]
fn a_load_on_a_kept_connection_that_dies_is_sent_again_once() {
    let server = dies_on_second_request();
    let source = server.source();
    get(&source, b"k").unwrap();
    assert!(matches!(get(&source, b"k"), Ok(Loaded::Found(_))));
    assert_eq!((server.seen().len(), server.connections()), (3, 2));

    let always = Server::new(|n, conn| {
        conn.request();
        if n == 0 {
            conn.write(answer(200, "", "{}"));
            conn.request();
        }
    });
    let source = always.source();
    get(&source, b"k").unwrap();
    assert_eq!(get(&source, b"k").unwrap_err().failure(), Failure::Broken);
    assert_eq!(always.seen().len(), 3, "once, not more");
}

#[test]
fn a_load_is_sent_again_on_a_new_connection_only() {
    let both = std::sync::Barrier::new(2);
    let server = Server::new(move |n, conn| {
        conn.request();
        if n < 2 {
            both.wait();
            conn.write(answer(200, "", "{}"));
            conn.request();
        } else {
            conn.write(answer(200, "", "{}"));
        }
    });
    let source = server.source();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| get(&source, b"k").unwrap());
        }
    });
    assert!(matches!(get(&source, b"k"), Ok(Loaded::Found(_))), "the other kept connection dies as well");
    assert_eq!((server.seen().len(), server.connections()), (4, 3));
}

#[test]
fn a_kept_connection_that_the_server_closed_is_not_used() {
    let (closed, is_closed) = std::sync::mpsc::channel();
    let server = Server::new(move |_, conn| {
        conn.request();
        conn.write(answer(200, "", "{}"));
        conn.stream.shutdown(std::net::Shutdown::Both).unwrap();
        let _ = closed.send(());
    });
    let source = server.builder().write_max_idle_age(AMPLE).build().unwrap();
    for n in 1..=3 {
        applied(put(&source, b"k", b"{}"));
        is_closed.recv().unwrap();
        assert_eq!((server.seen().len(), server.connections()), (n, n));
    }
}

#[test]
fn a_kept_connection_with_an_answer_too_many_is_not_used() {
    let (sent, is_sent) = std::sync::mpsc::channel();
    let server = Server::new(move |n, conn| {
        conn.request();
        conn.write(answer(200, "", "{\"n\":1}"));
        if n == 0 {
            conn.write(answer(200, "", "{\"n\":\"stray\"}"));
        }
        let _ = sent.send(());
        conn.hold();
    });
    let source = server.source();
    for _ in 0..2 {
        get(&source, b"k").unwrap();
        is_sent.recv().unwrap();
    }
    assert_eq!(server.connections(), 2, "what was not asked for answers nothing");
}
