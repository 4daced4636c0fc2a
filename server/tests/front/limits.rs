//! What stands between the front and an origin in trouble: attempts, the key of a write, the breaker.

use wtcache_origin::{Answer, Fault, FaultKind, Method, Target};

use crate::common::setup;

fn fails(method: Method, times: u32) -> Fault {
    Fault::on(method, Target::Any).kind(FaultKind::Answer(Answer::new(503))).times(times)
}

#[test]
fn a_load_is_attempted_again_as_configured() {
    let stage = setup().origin("retries: { loads: 1, base: 0ms, cap: 0ms }").start();
    stage.put_quantity("a", 1).expect(200);
    stage.saw();
    stage.ask("POST", "/-/invalidate", &[], r#"{"table":"InventoryItem","key":"a"}"#).expect(200);
    stage.origin.fault(fails(Method::Get, 1));
    assert_eq!(stage.get("a").expect(200).quantity(), 1);
    assert_eq!(stage.saw(), ["GET a", "GET a"]);
}

#[test]
fn d4_a_write_is_sent_again_only_to_an_origin_that_honours_its_key() {
    let lost = || Fault::on(Method::Put, "a").kind(FaultKind::ResetAfterApply);
    let retries = "retries: { writes: 1, base: 0ms, cap: 0ms }";
    let stage = setup().origin(retries).start();
    stage.origin.fault(lost());
    stage.put_quantity("a", 1).expect_outcome(502, "in-doubt");
    assert_eq!(stage.saw(), ["PUT a"]);
    let stage = setup().origin(retries).origin("idempotency: honoured").start();
    stage.origin.fault(lost());
    stage.put_quantity("a", 1).expect(200);
    let log = stage.origin.log();
    assert_eq!(log.len(), 2);
    assert!(log[0].idempotency_key.is_some() && log[0].idempotency_key == log[1].idempotency_key);
}

#[test]
fn a2_with_the_breaker_open_a_write_is_rejected_and_a_read_is_told_to_come_again() {
    let stage = setup().origin("breaker: { calls: 2, failures: 100%, open_for: 1h }").start();
    stage.origin.fault(fails(Method::Get, 2));
    for key in ["a", "b"] {
        stage.get(key).expect(502);
    }
    stage.saw();
    let read = stage.get("a").expect(503);
    let wait: u64 = read.header("retry-after").unwrap().parse().unwrap();
    assert!((3_500..=3_600).contains(&wait), "{wait}");
    let write = stage.put_quantity("a", 1).expect_outcome(503, "rejected");
    assert!(write.header("retry-after").is_some());
    stage.delete("a").expect_outcome(503, "rejected");
    assert!(stage.saw().is_empty(), "nothing was sent");
}
