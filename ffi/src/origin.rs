//! What the source of an HTTP origin counted.

use std::ffi::c_char;
use std::ptr;

use serde_json::{Map, Value, json};
use wtcache_http_source::{BreakerState, SourceStats};

use crate::arguments::{optional_output, output};
use crate::border;
use crate::cache::wtcache_cache;
use crate::error::wtcache_error;
use crate::stats::give_json;
use crate::status::WTCACHE_OK;

/// What the HTTP origin was asked so far, and how it fared, as a JSON object; `*json` and `*json_len` are as of `wtcache_get_stats_json`. Never waits.
/// Over a source of the program's own it is `WTCACHE_ERR_ARGUMENT`.
///
/// Its members: `attempts`, requests that were begun, and of these `retries`; `retries_over_budget`, which were not made; `outcomes` of attempts, how
/// many by `2xx`, `3xx`, `4xx`, `5xx`, `broken`, `timed_out` and `unreachable`; `in_flight` and `queued`, how many now; `queue_refused`, calls that
/// were refused where the queue was `full`, or `timed_out` there; `connections` that are open now, and `connections_made`; `credentials_renewed`, times that those in files
/// were others after a 401; `attempt_seconds` with `count`, `sum` and `up_to`, pairs of a time in seconds and how many attempts took no longer;
/// and `breaker`, null where there is none: its `state`, `"closed"`, `"open"` or `"half-open"`, its `openings`, the `probes` that it let
/// through, and the calls that it `refused`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_get_origin_json(
    cache: *const wtcache_cache,
    json: *mut *mut c_char,
    json_len: *mut usize,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let json_len = optional_output(json_len, 0);
            let json = output("json", json, ptr::null_mut())?;
            let told = wtcache_cache::opened(cache)?.origin()?.stats();
            give_json(members(&told), json, json_len);
            Ok(WTCACHE_OK)
        })
    }
}

fn members(told: &SourceStats) -> Map<String, Value> {
    let breaker = told.breaker.as_ref().map(|breaker| {
        let state = match breaker.state {
            BreakerState::Closed => "closed",
            BreakerState::HalfOpen => "half-open",
            // One that is not known here lets nothing through that it is known of.
            _ => "open",
        };
        json!({
            "state": state,
            "openings": breaker.openings,
            "probes": breaker.probes,
            "refused": told.breaker_refused,
        })
    });
    let durations = &told.durations;
    let up_to: Vec<_> = durations.up_to.iter().map(|(end, count)| json!([end.as_secs_f64(), count])).collect();
    let all = [
        ("attempts", told.attempts.into()),
        ("retries", told.retries.into()),
        ("retries_over_budget", told.retries_over_budget.into()),
        (
            "outcomes",
            json!({
                "2xx": told.answered.saturating_sub(told.redirected),
                "3xx": told.redirected,
                "4xx": told.refused,
                "5xx": told.failed,
                "broken": told.broken,
                "timed_out": told.timed_out,
                "unreachable": told.unreachable,
            }),
        ),
        ("in_flight", told.in_flight.into()),
        ("queued", told.queued.into()),
        ("queue_refused", json!({ "full": told.queue_full, "timed_out": told.queue_timed_out })),
        ("connections", told.connections.into()),
        ("connections_made", told.connections_made.into()),
        ("credentials_renewed", told.credentials_renewed.into()),
        ("attempt_seconds", json!({ "count": durations.all, "sum": durations.total.as_secs_f64(), "up_to": up_to })),
        ("breaker", breaker.into()),
    ];
    all.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect()
}
