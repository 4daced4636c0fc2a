//! The `wtcache` command before what nobody here wrote: json-server, Apache with mod_dav, and nginx as a proxy.
//!
//! Each test starts an origin and a front of its own, as processes on free ports. What the front did is seen by Cache-Status, by what the origin
//! itself logged, and by reading from the origin directly. Where an origin is not installed its tests say SKIPPED; under `WTCACHE_CI`,
//! which `.ci/run` sets, that is an error.

#![allow(clippy::unwrap_used, reason = "tests")]

mod apache;
#[path = "../common/mod.rs"]
mod common;
mod json_server;
mod nginx;
mod process;

use common::Response;
use process::{Front, Origin};

const NOTHING: [&str; 0] = [];

/// A hit, or kept from now on, or neither: what Cache-Status says.
#[track_caller]
fn says<'r>(answer: &'r Response, words: &str) -> &'r Response {
    let status = answer.header("cache-status").unwrap();
    let status = status.split("; ttl=").next().unwrap();
    assert_eq!(status, format!("wtcache; {words}"), "{answer:?}");
    answer
}

/// G1: a hit asks nobody, and is what the origin has. Gives what the origin itself answers, and the hit.
fn is_cached(origin: &mut Origin, front: &Front) -> (Response, Response) {
    let miss = front.get("a").expect(200);
    says(&miss, "fwd=miss; fwd-status=200; stored");
    assert_eq!(origin.saw(), ["GET /items/a 200"]);
    let direct = origin.ask("GET", "/items/a", "").expect(200);
    let hit = front.get("a").expect(200);
    assert_eq!((says(&hit, "hit").json(), &hit.body), (direct.json(), &miss.body));
    assert_eq!(hit.header("etag"), miss.header("etag"));
    let head = front.ask("HEAD", "a", &[], "").expect(200);
    assert_eq!((says(&head, "hit").body.as_str(), head.header("etag")), ("", hit.header("etag")));
    front.ask("GET", "a", &[("If-None-Match", hit.header("etag").unwrap())], "").expect(304);
    says(&front.get("none").expect(404), "fwd=miss; fwd-status=404; stored");
    says(&front.get("none").expect(404), "hit");
    assert_eq!(origin.saw(), ["GET /items/a 200", "GET /items/none 404"], "ours, and one of the front's");
    (direct, hit)
}

/// A1, D1, D2: the origin is killed while it has a write. Nobody can know, and from then on every read asks.
fn killed_with_a_write_under_way(origin: &mut Origin, front: &Front) {
    front.get("a").expect(200);
    front.get("a").expect(200);
    let doubt = std::thread::scope(|scope| {
        origin.freeze();
        let write = scope.spawn(|| front.put("a", "{\"quantity\":7}"));
        origin.wait_until_something_arrived();
        origin.kill();
        write.join().unwrap()
    });
    let doubt = doubt.expect_outcome(502, "in-doubt");
    says(&doubt, "fwd=method");
    assert!(doubt.json()["settles_in_ms"].as_u64().unwrap() > 3_000_000, "{doubt:?}");
    says(&front.get("a").expect(502), "fwd=miss");
    // What never leaves is certainly not applied.
    front.put("b", "{\"quantity\":7}").expect_outcome(502, "rejected");
    origin.restart();
    origin.saw();
    for _ in 0..2 {
        let get = front.get("a").expect(200);
        says(&get, "fwd=miss; fwd-status=200");
        assert_eq!(get.json(), origin.ask("GET", "/items/a", "").expect(200).json());
        assert_eq!(origin.saw(), ["GET /items/a 200", "GET /items/a 200"], "the front's, and ours");
    }
}
