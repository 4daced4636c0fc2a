//! Merge patches (RFC 7396) that the origin merges itself, for a program that holds the key's permit.

use std::time::Duration;

use ureq::http::{HeaderValue, Method, header};
use wtcache::{Confirmed, IdempotencyKey, Outcome};

use crate::answer;
use crate::classify::{self, Written};
use crate::report;
use crate::retry;
use crate::source::{HttpSource, Sending, rejection};

const MERGE_PATCH: HeaderValue = HeaderValue::from_static("application/merge-patch+json");

impl HttpSource {
    /// Sends `patch` to the origin as a merge patch of the record of `key`: `PATCH`, `application/merge-patch+json`. It is not checked here; what comes
    /// of it is, as of a put. It is a write of the key as any other, so that the cache has to know of it: take the key's
    /// [permit](wtcache::CacheOf::prepare), and end that by what this says. `left` and `idempotency_key` are the permit's.
    ///
    /// | answer | outcome |
    /// |---|---|
    /// | 2xx with the record | Applied, with the record |
    /// | 2xx without, or with what is no record | Applied, unseen: what the origin has merged is not known |
    /// | 3xx, 4xx; stale base: 404, 409, 410, 412 | Rejected |
    /// | 202, 207, 303, 408, 5xx, no answer | Unknown |
    ///
    /// A patch may do more when it is applied twice: after an attempt that may have been, there is another only where the origin honours
    /// idempotency keys.
    ///
    /// # Example
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use wtcache::{ByteCache, Call, Confirmed, Outcome};
    /// # use wtcache_http_source::HttpSource;
    /// let source = Arc::new(HttpSource::builder("http://127.0.0.1:8080/items/{id}").build()?);
    /// let cache = ByteCache::builder(Arc::clone(&source)).build()?;
    /// let prepared = cache.prepare("item-001", &Call::new())?;
    /// let (left, key) = (prepared.remaining(), prepared.idempotency_key());
    /// let sent = prepared.send()?;
    /// match source.patch(b"item-001", br#"{"quantity":4}"#, left, key) {
    ///     Outcome::Applied(Confirmed::Record(record)) => drop(sent.commit(Some(record))),
    ///     Outcome::Applied(_) => drop(sent.commit(None)),
    ///     Outcome::Rejected(rejection) => sent.reject(rejection.stale_base),
    ///     Outcome::Unknown(cause) => drop(sent.in_doubt(cause)),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn patch(
        &self,
        key: &[u8],
        patch: &[u8],
        left: Duration,
        idempotency_key: IdempotencyKey,
    ) -> Outcome<Confirmed<Vec<u8>>> {
        report::write(&self.exchanges.name, "PATCH", || self.patch_record(key, patch, left, idempotency_key))
    }

    fn patch_record(
        &self,
        key: &[u8],
        patch: &[u8],
        left: Duration,
        idempotency_key: IdempotencyKey,
    ) -> Outcome<Confirmed<Vec<u8>>> {
        let body = self.answers.shape.put(patch);
        let request = self.template.uri(key).map(|uri| {
            let mut headers = self.headers.with_body();
            headers.insert(header::CONTENT_TYPE, MERGE_PATCH);
            (uri, self.keyed(headers, idempotency_key))
        });
        let safe = retry::second_send_is_safe(&self.declared, None);
        // Where another attempt follows one that may land, the origin knows both for one.
        let sending = Sending { method: Method::PATCH, request, body: Some(&body), left, safe, leaves_stray: &|| {} };
        let (response, attempt) = match self.send(sending) {
            Ok(answered) => answered,
            Err(outcome) => return outcome,
        };
        match classify::put(response.status().as_u16()) {
            Written::Applied(body) => Outcome::Applied(match self.confirmed(key, body, response, attempt) {
                // It has what was merged, and not what was sent.
                Confirmed::AsSent { .. } => Confirmed::Unseen,
                confirmed => confirmed,
            }),
            Written::Rejected { stale } => Outcome::Rejected(rejection("PATCH", stale, response)),
            Written::Unknown(failure) => Outcome::Unknown(answer::into_error(failure, "PATCH", response)),
        }
    }
}
