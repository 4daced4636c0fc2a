//! Cache and source of a round, as its script has them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value as Json;
use wtcache::{ByteCache, InDoubtWrites, Optimistic, VersionOrder};
use wtcache_http_source::{Breaker, HttpSource, Retries};
use wtcache_origin::Origin;

use super::{TAG, normal};
use crate::judge::PENDING_DEADLINES;
use crate::script::{Feeds, Script};
use crate::source::{Lie, Sends, Watched};

fn deadline(script: &Script) -> Duration {
    Duration::from_millis(script.options.deadline_ms.max(1))
}

pub(super) fn http(script: &Script, origin: &Origin, pass: &str) -> HttpSource {
    let options = &script.options;
    let http = HttpSource::builder(format!("{}/items/{{id}}", origin.url()))
        .header("Authorization", format!("Bearer {pass}"))
        .timeout(deadline(script))
        .retries(retries(script))
        .settle_window(Duration::from_millis(options.window_ms))
        .honours_preconditions(options.honoured)
        .versions_never_reused(options.honoured)
        .honours_idempotency(options.honours_keys)
        .record_check(|_, body| checked(&body));
    // As the origin has it; without a feed nobody asks.
    let http = if options.feed == Feeds::None { http } else { http.version_order(VersionOrder::Number) };
    let breaker = Breaker::new().calls(6).window(Duration::from_millis(200)).open_for(Duration::from_millis(15));
    let http = if options.breaker { http.breaker(breaker) } else { http.no_breaker() };
    http.build().expect("the options of the source make sense")
}

/// What counts of a record, or why it is none.
pub(super) fn checked(body: &[u8]) -> Result<Vec<u8>, String> {
    let record: Json = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    normal(&record).ok_or_else(|| "it has no value".to_owned())
}

pub(super) fn cache(script: &Script, http: Arc<HttpSource>, sends: Sends, lie: Lie) -> ByteCache {
    let options = &script.options;
    let deadline = deadline(script);
    let source = Watched { http, sends, lie, before: Mutex::default() };
    let mut builder = ByteCache::builder(source)
        .clean_start(true)
        .shards(1)
        .capacity(options.capacity)
        .tags(|_, _, tags| tags.add(TAG))
        .deadline(deadline)
        .optimistic(Optimistic::new().deadline(deadline * PENDING_DEADLINES))
        .absent_after_delete(options.absent_after_delete)
        .in_doubt_writes(if options.writes_wait { InDoubtWrites::Wait } else { InDoubtWrites::Send });
    if options.lifetime_ms > 0 {
        let lifetime = Duration::from_millis(options.lifetime_ms);
        builder = builder.lifetime(lifetime).negative_lifetime(lifetime);
    }
    if options.stale_ms > 0 {
        let stale = Duration::from_millis(options.stale_ms);
        builder = builder.stale_while_revalidate(stale).stale_if_error(stale).refresh_ahead(0.3);
    }
    builder.build().expect("the options of the cache make sense")
}

/// Those of writes are never none, or their keys would not be sent, and the log could not tell them apart; but without a budget there are none.
fn retries(script: &Script) -> Retries {
    let times = u32::try_from(script.options.retries).unwrap_or(u32::MAX);
    if times == 0 {
        return Retries::none().writes(1).budget(0, 0);
    }
    let ms = Duration::from_millis;
    let cut = ms((script.options.deadline_ms / 3).max(1));
    Retries::new().loads(times).writes(times).backoff(ms(2), ms(8)).budget(100, 20).attempt_timeout(cut)
}
