//! Reads of a record: `GET` and `HEAD` on `/{Table}/{key}`.
//!
//! Invariant: what is here is answered as it is found, without a task or a future of its own; what such an answer says is made on the stack, and what is
//! always the same is made once.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{AGE, CONTENT_LENGTH, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use wtcache::{Bytes, Call, Entry, How, LoadError, Passed, Read};

use crate::answer::{Answer, Line, header};
use crate::asked::Asked;
use crate::precondition::Precondition;
use crate::problem::{self, Problem};
use crate::query::OfRecord;
use crate::table::ServedTable;
use crate::timing::{self, SERVER_TIMING};
use crate::{etag, pending};

/// The answer of what is here and does for this client, and how long it took since the request began; `None`: there is more to do than to look.
pub(crate) fn at_once(
    table: &ServedTable,
    key: &str,
    headers: &HeaderMap,
    begun: Instant,
) -> Option<(Answer, Duration)> {
    let condition = Precondition::of_a_read(headers).ok()?;
    let read = table.cache().read_resident(key, &Asked::of(headers).call())?;
    let answer = found(table, key, headers, (&OfRecord::default(), &condition), read);
    let took = begun.elapsed();
    Some((answer.with(SERVER_TIMING, timing::value(took, None)), took))
}

/// The answer of what is here, or else of the origin.
pub(crate) async fn read(
    table: &ServedTable,
    key: &str,
    headers: &HeaderMap,
    of: &OfRecord<'_>,
    condition: &Precondition,
) -> Answer {
    let confirmed = of.confirmed == Some(true);
    let begun = Instant::now();
    let asked = Asked::of(headers);
    let call = asked.call();
    let read = if asked.only_if_cached {
        match resident(table, key, &call, confirmed) {
            Some(read) => Ok(read),
            None => return not_resident(table, key).with(SERVER_TIMING, timing::value(begun.elapsed(), None)),
        }
    } else if confirmed {
        table.cache.read_confirmed(key, &call).await
    } else {
        table.cache.read(key, &call).await
    };
    let waited = match &read {
        Ok(read) if !matches!(read.how, How::Loaded { .. } | How::Joined) => None,
        _ => Some(begun.elapsed()),
    };
    let answer = match read {
        Ok(read) => found(table, key, headers, (of, condition), read),
        Err(error) => {
            let status = match origin_code(&error) {
                Some(code) => format!("wtcache; fwd=miss; fwd-status={code}"),
                None => "wtcache; fwd=miss".to_owned(),
            };
            Answer::new(problem::of_load(&error), header(&status), "failed")
        }
    };
    answer.with(SERVER_TIMING, timing::value(begun.elapsed(), waited))
}

/// The answer of what is resident, for a client that wants no other.
fn resident(table: &ServedTable, key: &str, call: &Call, confirmed: bool) -> Option<Read<Bytes>> {
    table.cache().read_resident(key, call).filter(|read| !confirmed || read.how != How::Pending)
}

fn not_resident(table: &ServedTable, key: &str) -> Answer {
    let detail = format!("{} {key:?} is not resident, or not fresh enough for what was asked", table.schema.name);
    let response = Problem::new(StatusCode::GATEWAY_TIMEOUT, detail).response();
    Answer::new(response, HeaderValue::from_static("wtcache; detail=only-if-cached"), "not here")
}

/// The answer of what a read found.
fn found(
    table: &ServedTable,
    key: &str,
    headers: &HeaderMap,
    (of, condition): (&OfRecord<'_>, &Precondition),
    read: Read<Bytes>,
) -> Answer {
    let Read { entry, how, passed, .. } = read;
    let is_pending = how == How::Pending;
    let Some(entry) = entry else {
        let name = &table.schema.name;
        let detail = match how {
            How::Pending => format!("a delete of {name} {key:?} is pending"),
            _ => format!("the origin has no {name} {key:?}{}", of_an_attribute(table, key)),
        };
        let response = Problem::new(StatusCode::NOT_FOUND, detail).response();
        let what = match how {
            How::Hit => "hit",
            How::Pending => "pending",
            _ => "loaded",
        };
        let answer = Answer::new(response, cache_status(how, passed, 404, None), what);
        return if is_pending { pending::marked(answer, None) } else { answer };
    };
    let now = table.cache().now();
    let status = cache_status(how, passed, 200, ttl(&entry, now));
    // RFC 9111 §5.1: since the origin made, or confirmed it. That it was asked just now is said by there being none.
    let age = matches!(how, How::Hit | How::Stale).then(|| now.since(entry.since()).as_secs());
    let pending_since = entry.pending_since();
    let tag = etag::of(&entry);
    let mut response = if !condition.holds(Some(&tag)) {
        problem::unmet(Some(tag)).response()
    } else if etag::none_match(headers.get_all(IF_NONE_MATCH), &tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        // RFC 9110 §8.6: it is that of the 200, if it is given. In answer to a HEAD it would else be the empty body's.
        if of.select.is_none() {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(entry.value().len()));
        }
        response.headers_mut().insert(ETAG, tag);
        response
    } else {
        of.response(entry, tag)
    };
    if let Some(age) = age {
        response.headers_mut().insert(AGE, Line::new().number(age).value());
    }
    let what = match how {
        How::Hit => "hit",
        How::Stale => "stale",
        How::Joined => "joined",
        How::Pending => "pending",
        _ => "loaded",
    };
    let answer = Answer::new(response, status, what);
    if !is_pending {
        return answer;
    }
    pending::marked(answer, pending_since.map(|since| table.outcomes.wall(since)))
}

/// What helps who asks for one attribute by a dot, as the tutorial system has it: here, a key may have one.
fn of_an_attribute(table: &ServedTable, key: &str) -> String {
    let attribute = key.rsplit_once('.').and_then(|(_, name)| table.schema.attribute(name));
    attribute.map_or_else(String::new, |(_, attribute)| {
        format!("; one attribute of a record is at /{}/{{key}}?select({})", table.schema.name, attribute.name)
    })
}

/// The seconds that a record is fresh for yet, less than 0 where it is stale; `None` if it does not expire.
fn ttl(entry: &Entry<Bytes>, now: wtcache::Tick) -> Option<i64> {
    if entry.expires() == wtcache::Tick::NEVER {
        return None;
    }
    // Rounded to the side of less freshness.
    let left = i64::try_from(entry.remaining(now).as_secs()).unwrap_or(i64::MAX);
    let stale = i64::try_from(entry.stale_for(now).as_nanos().div_ceil(1_000_000_000)).unwrap_or(i64::MAX);
    Some(left - stale)
}

/// Where a read's answer came from, in the words of RFC 9211.
fn cache_status(how: How, passed: Passed, origin: u16, ttl: Option<i64>) -> HeaderValue {
    // §2.2: why the origin was asked.
    let why = match passed {
        Passed::Expired => "stale",
        Passed::Fresh => "request",
        _ => "miss",
    };
    let line = Line::new().text("wtcache; ");
    let line = match how {
        // §2.1, §2.5: a stale answer is a hit too, whose lifetime left is negative.
        How::Hit | How::Stale => line.text("hit"),
        How::Joined => line.text("fwd=").text(why).text("; collapsed"),
        How::Pending => line.text("detail=pending"),
        How::Loaded { kept: true } => line.text("fwd=").text(why).text("; fwd-status=").number(origin).text("; stored"),
        _ => line.text("fwd=").text(why).text("; fwd-status=").number(origin),
    };
    let kept = matches!(how, How::Hit | How::Stale | How::Loaded { kept: true });
    match ttl.filter(|_| kept) {
        Some(ttl) => line.text("; ttl=").number(ttl).value(),
        None => line.value(),
    }
}

fn origin_code(error: &LoadError) -> Option<i32> {
    match error {
        LoadError::Source(error) => error.code(),
        _ => None,
    }
}
