#![no_main]
//! The HTTP source over a real connection whose other end answers with arbitrary bytes, and then closes it.
//!
//! Whatever comes, nothing panics and no call goes on beyond its deadline. A write is told as applied or rejected only where
//! the bytes hold a status that says so (A2), a load finds a record only where they hold a 200, and an error's code is a
//! status that was sent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use wtcache::{LoadCx, Loaded, Outcome, Source, SourceError, Version, WriteCx};
use wtcache_http_source::{Freshness, HttpSource, Retries};

const DEADLINE: Duration = Duration::from_secs(5);

struct Origin {
    answers: Mutex<Sender<Vec<u8>>>,
    sources: [HttpSource; 2],
}

/// One thread that answers each connection with the next bytes.
static ORIGIN: LazyLock<Origin> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/items/{{id}}", listener.local_addr().expect("it is bound"));
    let (answers, next) = channel();
    std::thread::spawn(move || serve(&listener, &next));
    let source = |declared: bool| {
        HttpSource::builder(&url)
            .max_idle_connections(0)
            .retries(Retries::none())
            .no_breaker()
            .body_limit(256)
            .freshness(if declared { Freshness::Origin } else { Freshness::Table })
            .stores_verbatim(declared)
            .honours_preconditions(declared)
            .build()
            .expect("the options make sense")
    };
    Origin { answers: Mutex::new(answers), sources: [source(false), source(true)] }
});

fn serve(listener: &TcpListener, next: &Receiver<Vec<u8>>) {
    for stream in listener.incoming() {
        let (Ok(mut stream), Ok(answer)) = (stream, next.recv()) else { return };
        let mut request = Vec::new();
        let mut some = [0; 1024];
        // The body of the one put is a line of its own; the others have none.
        while !(request.ends_with(b"\r\n\r\n") && !request.starts_with(b"PUT") || request.ends_with(b"\r\n\r\n{}")) {
            match stream.read(&mut some) {
                Ok(count @ 1..) => request.extend_from_slice(&some[..count]),
                _ => break,
            }
        }
        // Who asked may be gone, having seen enough.
        let _ = stream.write_all(&answer);
        let _ = stream.shutdown(Shutdown::Write);
        // To its end, so that what was written is not lost with a reset.
        while matches!(stream.read(&mut some), Ok(1..)) {}
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((how, answer)) = input.split_first() else { return };
    let origin = &*ORIGIN;
    let source = &origin.sources[usize::from(how >> 2 & 1)];
    let conditional = (how & 8 != 0).then(|| wtcache::Condition::Version(Version::new("\"1\"").expect("short")));
    origin.answers.lock().expect("never poisoned").send(answer.to_vec()).expect("the origin's thread lives");
    let requests = source.requests();
    match how & 3 {
        0 | 3 => loaded(answer, source.get(b"k", &LoadCx::alone(DEADLINE))),
        1 => {
            let cx = WriteCx::alone(DEADLINE, conditional);
            written(answer, source.put(b"k", b"{}", &cx), &[]);
        }
        _ => {
            let gone: &[u16] = if conditional.is_none() { &[404, 410] } else { &[] };
            let cx = WriteCx::alone(DEADLINE, conditional);
            written(answer, source.delete(b"k", &cx), gone);
        }
    }
    assert_eq!(source.requests(), requests + 1, "each call is one request, over a connection of its own");
});

/// The statuses that the bytes may be read as: after `HTTP/1.x`, at the start or after interim answers.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let starts = answer.windows(9).enumerate().filter(|(_, bytes)| bytes.starts_with(b"HTTP/1."));
    let status = |(at, _): (usize, &[u8])| {
        let digits = answer.get(at + 9..at + 12)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let found: Vec<u16> = starts.filter_map(status).collect();
    match found.first() {
        // Nothing comes behind a final answer.
        Some(first) if !(100..200).contains(first) => vec![*first],
        _ => found,
    }
}

fn loaded(answer: &[u8], result: Result<Loaded<Vec<u8>>, SourceError>) {
    let statuses = statuses(answer);
    match result {
        Ok(Loaded::Found(record)) => {
            assert!(statuses.contains(&200), "a record out of {statuses:?}");
            assert!(!record.value.is_empty() && record.value.len() <= 256, "{} bytes", record.value.len());
        }
        Ok(Loaded::Absent | Loaded::AbsentFor(_)) => {
            assert!(statuses.contains(&404) || statuses.contains(&410), "{statuses:?}")
        }
        Ok(Loaded::Unchanged(_)) => panic!("nothing was offered to be unchanged"),
        Err(error) => has_a_code(&statuses, &error),
    }
}

/// `applied_too`: statuses that say so for this method beside 2xx.
fn written<T>(answer: &[u8], outcome: Outcome<T>, applied_too: &[u16]) {
    let statuses = statuses(answer);
    match outcome {
        Outcome::Applied(_) => {
            let says = |status: &u16| {
                (200..300).contains(status) && !matches!(status, 202 | 207) || applied_too.contains(status)
            };
            assert!(statuses.iter().any(says), "A2: applied, out of {statuses:?}");
        }
        Outcome::Rejected(rejection) => {
            let says = |status: &u16| {
                (300..500).contains(status) && !matches!(status, 303 | 408) && !applied_too.contains(status)
            };
            assert!(statuses.iter().any(says), "A2: rejected, out of {statuses:?}: {}", rejection.error);
            has_a_code(&statuses, &rejection.error);
        }
        Outcome::Unknown(error) => has_a_code(&statuses, &error),
    }
}

fn has_a_code(statuses: &[u16], error: &SourceError) {
    if let Some(code) = error.code() {
        assert!(statuses.iter().any(|status| i32::from(*status) == code), "{error}: {code} is none of {statuses:?}");
    }
}
