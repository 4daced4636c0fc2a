//! Loads that revalidate: a context with a replaced entry is made by a cache only, so these go in below it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use wtcache::{Failure, Lifetime, Loaded, Record, SourceError};

use crate::{Freshness, HttpSource};

/// One request with this version offered, one answer; the request's head and what became of it.
fn revalidate(version: Option<&str>, answer: &str) -> (String, Result<Loaded<Vec<u8>>, SourceError>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/{{id}}", listener.local_addr().unwrap());
    let (head, came) = mpsc::channel();
    let answer = answer.to_owned();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        head.send(String::from_utf8(request).unwrap().to_lowercase()).unwrap();
    });
    let source = HttpSource::builder(url).freshness(Freshness::Origin).build().unwrap();
    let loaded = source.load(b"k", version.map(str::as_bytes), Duration::from_secs(30));
    (came.recv().unwrap(), loaded)
}

const NOT_MODIFIED: &str = "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\n\r\n";

#[test]
fn a_304_confirms_the_version_that_was_offered() {
    for tag in ["\"1\"", "W/\"1\"", "v1"] {
        let (head, loaded) = revalidate(Some(tag), &NOT_MODIFIED.replace("\"1\"", tag));
        assert!(head.contains(&format!("\r\nif-none-match: {}\r\n", tag.to_lowercase())), "{head}");
        assert_eq!(loaded.unwrap(), Loaded::Unchanged(Lifetime::For(Duration::from_secs(60))));
    }
}

#[test]
fn a_304_that_nobody_asked_for_is_broken() {
    for version in [None, Some("*"), Some("a, b"), Some("\"1\"\r\nevil: 1")] {
        let (head, loaded) = revalidate(version, NOT_MODIFIED);
        assert!(!head.contains("if-none-match") && !head.contains("evil"), "{head}");
        let error = loaded.unwrap_err();
        assert_eq!((error.failure(), error.code()), (Failure::Broken, Some(304)));
    }
}

#[test]
fn a_revalidation_that_finds_another_record_gives_it() {
    let (_, loaded) = revalidate(Some("\"1\""), "HTTP/1.1 200 OK\r\nETag: \"2\"\r\nContent-Length: 2\r\n\r\n{}");
    let want = Record::new(b"{}".to_vec()).version(wtcache::Version::new("\"2\"").unwrap());
    assert_eq!(loaded.unwrap(), Loaded::Found(want));
}
