//! What an answer, or the lack of one, proves: pure tables from operation, phase and status to a verdict.
//!
//! Invariant (A2 of the contract): a write is rejected only where nothing of it was offered to the wire, or where the
//! origin answered that it refuses. Whatever these tables do not know is `Unknown`.

use wtcache::Failure;

/// What the status of an answer to `GET` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// The body is the whole record.
    Found,
    Absent,
    /// What was revalidated is still the origin's record.
    Unchanged,
    Error(Failure),
}

/// What the status of an answer to `PUT` or `DELETE` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Applied(Body),
    Rejected { stale: bool },
    Unknown(Failure),
}

/// What the body of an answer to an applied `PUT` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// The record, if there is one.
    Record,
    /// None, by definition of the status.
    None,
    /// Something else.
    Other,
}

/// What is known of a request that brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Nothing of it was offered to the wire.
    NotSent(Failure),
    /// Some of it may have reached the origin.
    Sent(Failure),
}

/// `validator`: the request carried If-None-Match.
pub(crate) fn get(status: u16, validator: bool) -> Got {
    match status {
        200 => Got::Found,
        404 | 410 => Got::Absent,
        304 if validator => Got::Unchanged,
        400..=499 => Got::Error(Failure::Refused),
        500..=599 => Got::Error(Failure::Failed),
        // 203, 206 and the other 2xx are no whole record of the origin's own; redirects are not followed.
        _ => Got::Error(Failure::Broken),
    }
}

pub(crate) fn put(status: u16) -> Written {
    match status {
        200 | 201 => Written::Applied(Body::Record),
        204 | 205 => Written::Applied(Body::None),
        404 | 410 => Written::Rejected { stale: true },
        _ => write(status),
    }
}

/// `conditional`: the request carried a precondition.
pub(crate) fn delete(status: u16, conditional: bool) -> Written {
    match status {
        // P4: what the origin no longer has is deleted; but a condition on it was not met.
        404 | 410 if conditional => Written::Rejected { stale: true },
        404 | 410 => Written::Applied(Body::None),
        _ => write(status),
    }
}

/// What holds for every write.
fn write(status: u16) -> Written {
    match status {
        // Accepted for later (202), partly (207), the answer is elsewhere (303).
        202 | 207 | 303 => Written::Unknown(Failure::Broken),
        200..=299 => Written::Applied(Body::Other),
        300..=399 => Written::Rejected { stale: false },
        // A server that gave up waiting may send it late, on a connection that is in use again.
        408 => Written::Unknown(Failure::Failed),
        409 | 412 => Written::Rejected { stale: true },
        400..=499 => Written::Rejected { stale: false },
        500..=599 => Written::Unknown(Failure::Failed),
        _ => Written::Unknown(Failure::Broken),
    }
}

/// Whether the refusal of a write would be given to any send of it, by an origin that honours its idempotency key. Not: what turns
/// a request away before the origin looks at the write (credentials, throttling, redirects), nor a 409, which is also what origins say
/// of a key whose first request is still under way.
pub(crate) fn of_all_sends(status: u16, throttled: bool) -> bool {
    !throttled && matches!(status, 400 | 404 | 410 | 412 | 422)
}

/// `offered`: bytes of this request that were offered to the wire, counted before the offer.
pub(crate) fn unanswered(offered: u64, deadline_passed: bool) -> Unanswered {
    match (offered, deadline_passed) {
        (0, true) => Unanswered::NotSent(Failure::TimedOut),
        (0, false) => Unanswered::NotSent(Failure::Unreachable),
        (_, true) => Unanswered::Sent(Failure::TimedOut),
        (_, false) => Unanswered::Sent(Failure::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_by_status() {
        for status in 0..=1000u16 {
            for validator in [false, true] {
                let want = match status {
                    200 => Got::Found,
                    404 | 410 => Got::Absent,
                    304 if validator => Got::Unchanged,
                    400..=499 => Got::Error(Failure::Refused),
                    500..=599 => Got::Error(Failure::Failed),
                    _ => Got::Error(Failure::Broken),
                };
                assert_eq!(get(status, validator), want, "{status} {validator}");
            }
        }
        // The rows that are easily got wrong, spelt out.
        for status in [201, 203, 204, 206, 301, 302, 303, 307, 308, 304, 100, 101, 199, 600, 999] {
            assert_eq!(get(status, false), Got::Error(Failure::Broken), "{status}");
        }
    }

    const STALE: Written = Written::Rejected { stale: true };
    const REFUSED: Written = Written::Rejected { stale: false };

    #[test]
    fn a2_put_by_status() {
        let rows = [
            (200, Written::Applied(Body::Record)),
            (201, Written::Applied(Body::Record)),
            (203, Written::Applied(Body::Other)),
            (204, Written::Applied(Body::None)),
            (205, Written::Applied(Body::None)),
            (206, Written::Applied(Body::Other)),
            (208, Written::Applied(Body::Other)),
            (226, Written::Applied(Body::Other)),
            (202, Written::Unknown(Failure::Broken)),
            (207, Written::Unknown(Failure::Broken)),
            (303, Written::Unknown(Failure::Broken)),
            (408, Written::Unknown(Failure::Failed)),
            (300, REFUSED),
            (301, REFUSED),
            (302, REFUSED),
            (304, REFUSED),
            (307, REFUSED),
            (308, REFUSED),
            (400, REFUSED),
            (401, REFUSED),
            (403, REFUSED),
            (404, STALE),
            (405, REFUSED),
            (407, REFUSED),
            (409, STALE),
            (410, STALE),
            (412, STALE),
            (413, REFUSED),
            (422, REFUSED),
            (428, REFUSED),
            (429, REFUSED),
            (500, Written::Unknown(Failure::Failed)),
            (502, Written::Unknown(Failure::Failed)),
            (503, Written::Unknown(Failure::Failed)),
            (599, Written::Unknown(Failure::Failed)),
            (100, Written::Unknown(Failure::Broken)),
            (101, Written::Unknown(Failure::Broken)),
            (0, Written::Unknown(Failure::Broken)),
            (600, Written::Unknown(Failure::Broken)),
            (999, Written::Unknown(Failure::Broken)),
        ];
        for (status, want) in rows {
            assert_eq!(put(status), want, "{status}");
        }
    }

    #[test]
    fn d3_a_request_that_is_turned_away_says_nothing_of_the_others() {
        let about_all: Vec<u16> = (0..=1000).filter(|status| of_all_sends(*status, false)).collect();
        assert_eq!(about_all, [400, 404, 410, 412, 422]);
        assert!((0..=1000).all(|status| !of_all_sends(status, true)));
        for status in about_all {
            assert!(matches!(put(status), Written::Rejected { .. }), "{status}");
        }
    }

    #[test]
    fn a2_delete_by_status() {
        for status in [404, 410] {
            assert_eq!(delete(status, false), Written::Applied(Body::None), "P4, {status}");
            assert_eq!(delete(status, true), STALE, "P4, {status}");
        }
        for conditional in [false, true] {
            for status in (0..=1000).filter(|s| !matches!(s, 200 | 201 | 204 | 205 | 404 | 410)) {
                assert_eq!(delete(status, conditional), put(status), "{status}");
            }
            for status in [200, 201, 204, 205] {
                assert!(matches!(delete(status, conditional), Written::Applied(_)), "{status}");
            }
        }
    }

    #[test]
    fn a2_only_refusals_of_the_origin_are_rejected() {
        for status in 0..=1000u16 {
            for verdict in [put(status), delete(status, false), delete(status, true)] {
                match verdict {
                    Written::Rejected { .. } => {
                        assert!((300..500).contains(&status) && status != 303 && status != 408, "{status}");
                    }
                    Written::Applied(_) => assert!(
                        (200..300).contains(&status) && status != 202 && status != 207 || matches!(status, 404 | 410),
                        "{status}"
                    ),
                    Written::Unknown(_) => {}
                }
            }
        }
    }

    #[test]
    fn a2_only_exactly_nothing_offered_is_not_sent() {
        assert_eq!(unanswered(0, false), Unanswered::NotSent(Failure::Unreachable));
        assert_eq!(unanswered(0, true), Unanswered::NotSent(Failure::TimedOut));
        for offered in [1, 2, u64::MAX] {
            assert_eq!(unanswered(offered, false), Unanswered::Sent(Failure::Broken));
            assert_eq!(unanswered(offered, true), Unanswered::Sent(Failure::TimedOut));
        }
    }
}
