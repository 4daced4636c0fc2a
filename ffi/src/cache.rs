//! The handle of a cache: opening, sharing, closing.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wtcache::{ByteCache, Bytes, CloseReport, Source};
use wtcache_http_source::{HttpSource, Subscribe, SubscriptionStats};

use crate::arguments::{Refused, optional_output, output, required};
use crate::border;
use crate::config::wtcache_config;
use crate::error::wtcache_error;
use crate::feed::Feed;
use crate::fork::Owned;
use crate::options::Options;
use crate::source::{CallbackSource, wtcache_source};
use crate::status::{WTCACHE_OK, WTCACHE_PENDING};

/// A cache. Every function that takes it as `const` may be called from any thread at once.
pub struct wtcache_cache(Owned<Opened>);

/// A cache, and what calls on it in other threads need to know.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) cache: ByteCache,
    /// The same for all handles on it.
    pub(crate) number: u64,
    /// How long a call takes at most that says nothing itself.
    pub(crate) deadline: Duration,
    /// The origin behind HTTP; none where the cache has a source of the program's own.
    origin: Option<Arc<HttpSource>>,
    /// What the origin tells of its changes, where it is asked to.
    feed: Option<Arc<Feed>>,
}

impl Opened {
    /// The origin, for what only one behind HTTP can do.
    pub(crate) fn origin(&self) -> Result<&HttpSource, Refused> {
        let none = || {
            Refused::argument("cache has a source of the program's own, and no HTTP origin: it is not of wtcache_open")
        };
        self.origin.as_deref().ok_or_else(none)
    }

    /// What the feed that it follows did, if it follows one.
    pub(crate) fn told(&self) -> Option<SubscriptionStats> {
        self.feed.as_ref().map(|feed| feed.told())
    }
}

impl wtcache_cache {
    /// The cache behind a handle, where it may be used.
    ///
    /// # Safety
    /// `handle` is NULL or points to one that is not freed for `'a`.
    pub(crate) unsafe fn of<'a>(handle: *const Self) -> Result<&'a ByteCache, Refused> {
        // SAFETY: the caller's promise.
        unsafe { Self::opened(handle) }.map(|opened| &opened.cache)
    }

    /// The same, where nobody asks why it may not be used.
    pub(crate) fn cache(&self) -> Option<&ByteCache> {
        self.0.if_ours().map(|opened| &opened.cache)
    }

    /// The same, with what is known of it.
    ///
    /// # Safety
    /// As [`Self::of`].
    pub(crate) unsafe fn opened<'a>(handle: *const Self) -> Result<&'a Opened, Refused> {
        // SAFETY: the caller's promise.
        unsafe { required("cache", handle) }?.0.get()
    }

    fn open(
        config: Option<&wtcache_config>,
        source: impl Source<Bytes>,
        origin: Option<Arc<HttpSource>>,
        subscribe: Option<Subscribe>,
    ) -> Result<*mut Self, wtcache_error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let default = Options::default();
        let options = config.map_or(&default, wtcache_config::options);
        let mut builder = options.apply(ByteCache::builder(source));
        if let Some(listener) = config.and_then(|config| config.listener.clone()) {
            builder = builder.listener(move |event| listener.tell(event));
        }
        if let Some(config) = config {
            builder = config.extracts.apply(builder);
        }
        // Relaxed: each number is given once.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cache = builder.build()?;
        let feed = subscribe.map(|subscribe| Feed::start(subscribe, &cache)).transpose()?.map(Arc::new);
        let opened = Opened { cache, number, deadline: options.deadline(), origin, feed };
        Ok(border::give(Self(Owned::new(opened))))
    }
}

/// Opens a cache over the HTTP origin that `config` names. The origin is not asked yet; but where the configuration has `http.subscribe`, a thread of
/// the cache's own begins to, until the cache is closed or gone.
///
/// `*cache` is the cache, to be freed with `wtcache_cache_free`, or NULL. `config` can be freed or used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_open(
    config: *const wtcache_config,
    cache: *mut *mut wtcache_cache,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let cache = output("cache", cache, ptr::null_mut())?;
            let config = required("config", config)?;
            let source = Arc::new(config.options().http_source()?);
            let subscribe = config.options().subscribe(&source)?;
            *cache = wtcache_cache::open(Some(config), Arc::clone(&source), Some(source), subscribe)?;
            Ok(WTCACHE_OK)
        })
    }
}

/// Opens a cache over a source of the program's own. `config` may be NULL, which is all defaults; it must name no HTTP origin.
///
/// `*cache` is the cache, to be freed with `wtcache_cache_free`, or NULL. `source` is copied; `source->destroy` is called once, whatever this
/// gives: here if it fails, unless `source` is NULL or its `struct_size` wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_open_with_source(
    config: *const wtcache_config,
    source: *const wtcache_source,
    cache: *mut *mut wtcache_cache,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let cache = optional_output(cache, ptr::null_mut());
            let source = CallbackSource::take(source)?;
            let cache = cache.ok_or_else(|| Refused::argument("cache is NULL"))?;
            let config = config.as_ref();
            config.map_or(Ok(()), |config| config.options().names_no_origin())?;
            *cache = wtcache_cache::open(config, source, None, None)?;
            Ok(WTCACHE_OK)
        })
    }
}

/// Another handle on the same cache, to be freed like the first. NULL for NULL, and in the child of a fork for a handle of the
/// parent's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_cache_clone(cache: *const wtcache_cache) -> *mut wtcache_cache {
    // SAFETY: the caller keeps the rules at the header's top.
    let opened = unsafe { wtcache_cache::opened(cache) };
    opened.map_or(ptr::null_mut(), |opened| border::give(wtcache_cache(Owned::new(opened.clone()))))
}

/// Frees a handle; with the last one the cache goes, once the calls on it have ended, without waiting for them. Entries that were handed out
/// stay valid. NULL is fine. In the child of a fork, a handle of the parent's is left as it is, and no destructor runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_cache_free(cache: *mut wtcache_cache) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(cache) };
}

/// Ends the cache: no call begins any more, those who wait are told `WTCACHE_ERR_CLOSED`, and writes that were sent get up to
/// `timeout_ms` to end. Entries that were handed out stay valid. The handle is still to be freed. From inside a callback of a write,
/// let the timeout be 0: that write cannot end before. A thread that follows the origin's feed ends too, in a tenth of a second, or once it
/// has connected or given that up; what is left of the timeout is waited for that.
///
/// `report` may be NULL; else `*report` says what was left unfinished, to be freed with `wtcache_close_report_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_close(
    cache: *const wtcache_cache,
    timeout_ms: u64,
    report: *mut *mut wtcache_close_report,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let report = optional_output(report, ptr::null_mut());
            let (opened, begun) = (wtcache_cache::opened(cache)?, Instant::now());
            let timeout = Duration::from_millis(timeout_ms);
            let closed = opened.cache.close(timeout);
            if let Some(feed) = &opened.feed {
                feed.stop(timeout.saturating_sub(begun.elapsed()));
            }
            if let Some(report) = report {
                *report = border::give(wtcache_close_report(closed));
            }
            Ok(WTCACHE_OK)
        })
    }
}

/// Waits until no write of the cache is out or pending, for `timeout_ms` at most: each that was sent has its outcome, or is in doubt. Gives
/// `WTCACHE_PENDING` if that is not so by then. Calls go on as before; whoever calls this sees to it that nobody writes meanwhile. So a program
/// puts another cache in the place of one: it drains the first, opens the second, and closes the first. Within a function of a source that writes, it
/// waits for that write too, and so for itself, until `timeout_ms` is over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_drain(
    cache: *const wtcache_cache,
    timeout_ms: u64,
    err: *mut *mut wtcache_error,
) -> i32 {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            let is_drained = wtcache_cache::opened(cache)?.cache.drain(Duration::from_millis(timeout_ms));
            Ok(if is_drained { WTCACHE_OK } else { WTCACHE_PENDING })
        })
    }
}

/// What closing a cache left unfinished, by key. It never changes, and may be read from any thread.
pub struct wtcache_close_report(CloseReport<Box<[u8]>>);

/// Keys with writes that were sent and had not ended: they run on, and nobody shows their result.
pub const WTCACHE_CLOSE_UNFINISHED: i32 = 0;
/// Keys of which nobody knows whether their last writes were, or will be, applied.
pub const WTCACHE_CLOSE_IN_DOUBT: i32 = 1;
/// Keys of pending writes that were not sent and were rolled back: nobody will send them.
pub const WTCACHE_CLOSE_ROLLED_BACK: i32 = 2;

impl wtcache_close_report {
    fn keys(&self, which: i32) -> &[Box<[u8]>] {
        match which {
            WTCACHE_CLOSE_UNFINISHED => &self.0.unfinished,
            WTCACHE_CLOSE_IN_DOUBT => &self.0.in_doubt,
            WTCACHE_CLOSE_ROLLED_BACK => &self.0.rolled_back,
            _ => &[],
        }
    }
}

/// How many keys the report has of one kind, `WTCACHE_CLOSE_*`; 0 for any other, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_close_report_count(report: *const wtcache_close_report, which: i32) -> usize {
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe { report.as_ref() }.map_or(0, |report| report.keys(which).len())
}

/// One of these keys, and its length in `*len`, which may be NULL. Valid until the report is freed. NULL where there is none of that
/// index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_close_report_key(
    report: *const wtcache_close_report,
    which: i32,
    index: usize,
    len: *mut usize,
) -> *const c_void {
    // SAFETY: the caller keeps the rules at the header's top.
    let (report, len) = unsafe { (report.as_ref(), optional_output(len, 0)) };
    let Some(key) = report.and_then(|report| report.keys(which).get(index)) else { return ptr::null() };
    if let Some(len) = len {
        *len = key.len();
    }
    key.as_ptr().cast()
}

/// Frees a report. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_close_report_free(report: *mut wtcache_close_report) {
    // SAFETY: the caller gives it back once.
    unsafe { border::free(report) };
}
