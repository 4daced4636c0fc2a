//! Answers that come compressed: decoded within the bound, and asked for where no write needs the version of what was not.
#![allow(clippy::unwrap_used)]

mod support;

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use support::*;
use wtcache::{ByteCache, Confirmed, Failure, Loaded, Record};
use wtcache_http_source::{Freshness, OriginAnswer};
use wtcache_testkit::ManualClock;

/// `{"n":1}`, by another encoder.
const BROTLI: &[u8] = &[11, 3, 128, 123, 34, 110, 34, 58, 49, 125, 3];

/// 64 MiB of spaces.
const BROTLI_BOMB: &[u8] = &[
    203, 255, 255, 63, 248, 37, 64, 226, 177, 64, 32, 247, 254, 143, 255, 255, 127, 240, 75, 0, 196, 97, 17, 128, 238,
    253, 31, 255, 255, 255, 224, 151, 0, 136, 195, 2, 0, 221, 251, 63, 254, 255, 255, 193, 47, 1, 16, 135, 5, 0, 186,
    247, 127, 252, 255, 255, 131, 95, 2, 32, 14, 11, 0, 116, 239, 255, 248, 255, 255, 7, 191, 4, 64, 28, 22, 0, 232,
    222, 255, 241, 255, 255, 15, 126, 9, 128, 56, 44, 0, 208, 189, 255, 203, 255, 255, 63, 252, 18, 0, 113, 88, 0, 160,
    123, 255, 7,
];

/// 100 spaces, in a stream that wants a window of 256 MiB.
const BROTLI_LARGE_WINDOW: &[u8] = &[17, 92, 140, 1, 224, 151, 0, 9, 196, 2, 1, 29];

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn coded(status: u16, coding: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Encoding: {coding}\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn a_compressed_record_is_decoded_and_its_connection_kept() {
    for (coding, body) in [("gzip", gzip(b"{\"n\":1}")), ("X-GZIP", gzip(b"{\"n\":1}")), ("br", BROTLI.to_vec())] {
        let server = Server::answering(coded(200, coding, "ETag: W/\"7\"\r\n", &body));
        let source = server.source();
        let want = Record::new(b"{\"n\":1}".to_vec()).version(version("W/\"7\""));
        assert_eq!(get(&source, b"k").unwrap(), Loaded::Found(want.clone()), "{coding}");
        assert_eq!(applied(put(&source, b"k", b"{}")), Confirmed::Record(want), "{coding}");
        assert_eq!(server.connections(), 1);
        for seen in server.seen() {
            assert_eq!(seen.header("accept-encoding"), Some("gzip, br"));
        }
    }
}

#[test]
fn a_record_of_several_gzip_members_is_one() {
    let body = [gzip(b"{\"n\""), gzip(b":1}")].concat();
    let server = Server::answering(coded(200, "gzip", "", &body));
    assert_eq!(get(&server.source(), b"k").unwrap(), Loaded::Found(Record::new(b"{\"n\":1}".to_vec())));
}

#[test]
fn whether_they_are_asked_for() {
    for (asked, honoured, sent) in [
        (None, false, "gzip, br"),
        (None, true, "identity"),
        (Some(false), false, "identity"),
        (Some(true), true, "gzip, br"),
    ] {
        // What is sent so all the same is decoded.
        let server = Server::answering(coded(200, "br", "", BROTLI));
        let mut builder = server.builder().honours_preconditions(honoured);
        if let Some(asked) = asked {
            builder = builder.compression(asked);
        }
        let source = builder.build().unwrap();
        assert_eq!(get(&source, b"k").unwrap(), Loaded::Found(Record::new(b"{\"n\":1}".to_vec())));
        assert_eq!(server.seen()[0].header("accept-encoding"), Some(sent), "{asked:?} {honoured}");
    }
}

#[test]
fn the_bound_counts_what_is_decoded() {
    let long = vec![b'1'; 1000];
    for (coding, body) in [("gzip", gzip(&long)), ("identity", long.clone())] {
        let server = Server::answering(coded(200, coding, "", &body));
        let exact = server.builder().body_limit(1000).build().unwrap();
        assert_eq!(get(&exact, b"k").unwrap(), Loaded::Found(Record::new(long.clone())));
        let less = server.builder().body_limit(999).build().unwrap();
        let error = get(&less, b"k").unwrap_err();
        assert_eq!(error.failure(), Failure::Broken);
        assert!(error.message().contains("larger than the limit of 999 bytes"), "{error}");
        assert_eq!(error.message().contains("compressed"), coding == "gzip", "{error}");
    }
}

#[test]
fn a_decompression_bomb_is_an_error_that_says_so_and_an_applied_write_unseen() {
    let bomb = vec![b' '; 64 * 1024 * 1024];
    for (coding, body) in [("gzip", gzip(&bomb)), ("br", BROTLI_BOMB.to_vec())] {
        let server = Server::answering(coded(200, coding, "", &body));
        let source = server.builder().body_limit(64 * 1024).build().unwrap();
        let error = get(&source, b"k").unwrap_err();
        assert_eq!(error.failure(), Failure::Broken, "{coding}");
        assert!(error.message().contains("compressed, and decoded larger than the limit of 65536 bytes"), "{error}");
        assert_eq!(applied(put(&source, b"k", b"{}")), Confirmed::Unseen, "{coding}");
        assert_eq!(server.connections(), 1, "it was read to its end");
    }
}

#[test]
fn a_coded_body_that_goes_on_without_saying_anything_has_an_end() {
    // Empty members: 20 bytes each, of nothing.
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n";
    let body = gzip(b"").repeat(1000);
    let server = Server::new(move |_, conn| {
        conn.request();
        conn.write(head);
        conn.write(&body);
    });
    let error = get(&server.builder().body_limit(100).build().unwrap(), b"k").unwrap_err();
    assert!(error.message().contains("larger than the limit of 100 bytes"), "{error}");
}

#[test]
fn a2_a_broken_or_unknown_coding_is_an_error_of_a_load_and_an_applied_write_unseen() {
    let whole = gzip(b"{\"n\":1}");
    let mut flipped = whole.clone();
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    let rows: [(&str, Vec<u8>, &str); 11] = [
        ("gzip", b"{\"n\":1}".to_vec(), "gzip, is broken"),
        ("gzip", whole[..whole.len() - 1].to_vec(), "gzip, is broken"),
        ("gzip", flipped, "gzip, is broken"),
        ("gzip", [&whole[..], b"more"].concat(), "gzip, is broken"),
        ("br", b"{\"n\":1}".to_vec(), "br, is broken"),
        ("br", BROTLI[..BROTLI.len() - 1].to_vec(), "br, is broken: it ends early"),
        ("br", [BROTLI, b"x"].concat(), "br, is broken: it goes on behind its end"),
        ("br", BROTLI_LARGE_WINDOW.to_vec(), "br, is broken"),
        ("zstd", whole.clone(), "zstd, is none that is decoded here"),
        ("br, gzip", whole.clone(), "br, gzip, is none that is decoded here"),
        ("gzip\r\nContent-Encoding: gzip", whole, "gzip, gzip, is none that is decoded here"),
    ];
    for (coding, body, why) in rows {
        let server = Server::answering(coded(200, coding, "", &body));
        let source = server.source();
        let error = get(&source, b"k").unwrap_err();
        assert_eq!(error.failure(), Failure::Broken, "{coding}");
        assert!(error.message().contains(why), "{coding}: {error}");
        assert_eq!(applied(put(&source, b"k", b"{}")), Confirmed::Unseen, "{coding}");
    }
}

#[test]
fn a1_an_empty_body_of_any_coding_is_empty() {
    for coding in ["gzip", "br", "zstd"] {
        let server = Server::answering(coded(200, coding, "ETag: \"8\"\r\n", b""));
        let source = server.builder().stores_verbatim(true).build().unwrap();
        assert!(matches!(applied(put(&source, b"k", b"{}")), Confirmed::AsSent { .. }), "{coding}");
    }
}

#[test]
fn a3_a_refusal_that_comes_compressed_is_handed_on_decoded() {
    let kept = |body: &[u8], coding: &str| {
        let server = Server::answering(coded(422, coding, "Content-Type: application/problem+json\r\n", body));
        let error = get(&server.source(), b"k").unwrap_err();
        let answer = error.source().unwrap().downcast_ref::<OriginAnswer>().unwrap().clone();
        (answer.body, answer.truncated)
    };
    assert_eq!(kept(&gzip(b"{\"why\":\"so\"}"), "gzip"), (b"{\"why\":\"so\"}".to_vec(), false));
    assert_eq!(kept(BROTLI, "br"), (b"{\"n\":1}".to_vec(), false));
    assert_eq!(kept(&gzip(&[b'1'; 100_000]), "gzip"), (vec![b'1'; 64 * 1024], true));
    assert_eq!(kept(b"what", "zstd"), (Vec::new(), true));
}

#[test]
fn f1_what_came_compressed_is_revalidated_by_its_own_tag_and_varies_by_nothing() {
    let headers = "ETag: \"7-gzip\"\r\nVary: Accept-Encoding\r\nCache-Control: max-age=60\r\n";
    let whole = coded(200, "gzip", headers, &gzip(b"{}"));
    let server = Server::new(move |_, conn| {
        while let Some(seen) = conn.request() {
            match seen.header("if-none-match") {
                Some("\"7-gzip\"") => conn.write(bare(304, headers)),
                _ => conn.write(&whole),
            }
        }
    });
    let clock = ManualClock::new();
    let source = server.builder().freshness(Freshness::Origin).build().unwrap();
    let cache = ByteCache::builder(source).clock(clock.shared()).clean_start(true).build().unwrap();
    for round in 1..=2 {
        // Fresh for a minute, and then confirmed for another.
        for _ in 0..2 {
            assert_eq!(&*cache.get(b"k").unwrap().unwrap(), b"{}");
            assert_eq!(server.seen().len(), round);
        }
        clock.advance(Duration::from_secs(61));
    }
    assert_eq!(server.seen()[1].header("if-none-match"), Some("\"7-gzip\""));
}
