//! A listener of the program's: told what happens to keys.

use std::ffi::c_void;
use std::sync::Arc;

use wtcache::{Bytes, EventKind, KeyEvent};

use crate::arguments::{Refused, required};
use crate::border;
use crate::config::wtcache_config;
use crate::error::{Entrusted, wtcache_error};
use crate::read::whole_ms;
use crate::status::WTCACHE_OK;

/// Something that this header does not know yet.
pub const WTCACHE_EVENT_OTHER: i32 = 0;
/// What a load brought is resident now; `absent`: it is the absence of a record.
pub const WTCACHE_EVENT_RETAINED: i32 = 1;
/// The origin applied a put; `kept`: its record is resident now.
pub const WTCACHE_EVENT_PUT: i32 = 2;
/// The origin applied a delete; `kept`: the absence is resident now.
pub const WTCACHE_EVENT_DELETED: i32 = 3;
/// A pending write was admitted. It ends with PUT, DELETED, `ROLLED_BACK` or `IN_DOUBT`.
pub const WTCACHE_EVENT_PENDING: i32 = 4;
/// A pending write left without having been applied.
pub const WTCACHE_EVENT_ROLLED_BACK: i32 = 5;
/// The origin refused a write, which proved out of date what was held of the key.
pub const WTCACHE_EVENT_REFUSED_STALE: i32 = 6;
/// The key was invalidated, alone or with others.
pub const WTCACHE_EVENT_INVALIDATED: i32 = 7;
/// What was resident went, since a reader was given a later answer that is not kept.
pub const WTCACHE_EVENT_DROPPED: i32 = 8;
/// What was resident went for room.
pub const WTCACHE_EVENT_EVICTED: i32 = 9;
/// What is resident has passed its lifetime; noticed by the next call of the key that is more than a hit.
pub const WTCACHE_EVENT_EXPIRED: i32 = 10;
/// A record is too heavy to be resident; the older one is not either.
pub const WTCACHE_EVENT_TOO_HEAVY: i32 = 11;
/// Nobody can know whether a write of the key was applied. Nothing is held until it is settled.
pub const WTCACHE_EVENT_IN_DOUBT: i32 = 12;
/// The key is in doubt no more.
pub const WTCACHE_EVENT_SETTLED: i32 = 13;
/// The auditor finds that what is resident has differed from the origin's record for longer than `differs_ms`.
pub const WTCACHE_EVENT_DIFFERS: i32 = 14;
/// What the origin told of its own accord is resident now, and is newer than what was; `absent`: it is the absence of a record.
pub const WTCACHE_EVENT_PUSHED: i32 = 15;

/// What happened to a key. It is the library's, and valid until the callback returns. Members may be added at its end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_event {
    /// How many bytes of this struct there are.
    pub struct_size: usize,
    /// One of `WTCACHE_EVENT_*`.
    pub kind: i32,
    /// See `WTCACHE_EVENT_RETAINED` and `WTCACHE_EVENT_PUSHED`; else 0.
    pub absent: i32,
    /// See `WTCACHE_EVENT_PUT` and `WTCACHE_EVENT_DELETED`; else 0.
    pub kept: i32,
    /// Zero.
    pub reserved: i32,
    /// The key.
    pub key: *const c_void,
    /// The bytes of `key`.
    pub key_len: usize,
    /// Grows along the events of one key: of two that different threads tell, the one with the larger number is the later.
    pub sequence: u64,
    /// See `WTCACHE_EVENT_DIFFERS`; else 0.
    pub differs_ms: u64,
}

/// Is told what happened to a key. It is called from any thread, from many at once, by the one that caused the event, before its own call
/// returns; of pending writes, refreshes, the auditor and the origin's feed that is a thread of the cache's. It may call the cache: a read never waits then,
/// and a write of the same key is refused with `WTCACHE_ERR_REENTRANT`. No exception may leave it.
pub type wtcache_listener_call = Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const wtcache_event)>;

/// The caches that are opened with this configuration tell `listener` what happens to their keys; it takes the place of one that was
/// set before.
///
/// `destroy`, which may be NULL, is called exactly once with `user_data`: after the last callback returned, when configuration and caches
/// are gone, or here if this is refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wtcache_config_set_listener(
    config: *mut wtcache_config,
    listener: wtcache_listener_call,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    err: *mut *mut wtcache_error,
) -> i32 {
    let user_data = Entrusted { pointer: user_data, release: destroy };
    // SAFETY: the caller keeps the rules at the header's top.
    unsafe {
        border::call(err, || {
            required("config", config)?;
            let call = listener.ok_or_else(|| Refused::argument("listener is NULL"))?;
            (*config).listener = Some(Listener(Arc::new(Registered { call, user_data })));
            Ok(WTCACHE_OK)
        })
    }
}

/// A listener, which configuration and caches share.
#[derive(Clone)]
pub(crate) struct Listener(Arc<Registered>);

struct Registered {
    call: unsafe extern "C" fn(*mut c_void, *const wtcache_event),
    user_data: Entrusted,
}

impl Listener {
    pub(crate) fn tell(&self, event: &KeyEvent<'_, Bytes>) {
        let (kind, absent, kept, differs_ms) = match event.kind {
            EventKind::Retained { absent } => (WTCACHE_EVENT_RETAINED, absent, false, 0),
            EventKind::Pushed { absent } => (WTCACHE_EVENT_PUSHED, absent, false, 0),
            EventKind::Put { kept } => (WTCACHE_EVENT_PUT, false, kept, 0),
            EventKind::Deleted { kept } => (WTCACHE_EVENT_DELETED, false, kept, 0),
            EventKind::Differs { longer_than } => (WTCACHE_EVENT_DIFFERS, false, false, whole_ms(longer_than)),
            plain => (kind_of(plain), false, false, 0),
        };
        let event = wtcache_event {
            struct_size: size_of::<wtcache_event>(),
            kind,
            absent: absent.into(),
            kept: kept.into(),
            reserved: 0,
            key: event.key.as_ptr().cast(),
            key_len: event.key.len(),
            sequence: event.sequence,
            differs_ms,
        };
        // SAFETY: the header asks of a listener that it may be called so; the event lives until it returns.
        unsafe { (self.0.call)(self.0.user_data.pointer, &raw const event) };
    }
}

/// The number of an event that is told without anything beside it.
fn kind_of(kind: EventKind) -> i32 {
    match kind {
        EventKind::Pending => WTCACHE_EVENT_PENDING,
        EventKind::RolledBack => WTCACHE_EVENT_ROLLED_BACK,
        EventKind::RefusedStale => WTCACHE_EVENT_REFUSED_STALE,
        EventKind::Invalidated => WTCACHE_EVENT_INVALIDATED,
        EventKind::Dropped => WTCACHE_EVENT_DROPPED,
        EventKind::Evicted => WTCACHE_EVENT_EVICTED,
        EventKind::Expired => WTCACHE_EVENT_EXPIRED,
        EventKind::TooHeavy => WTCACHE_EVENT_TOO_HEAVY,
        EventKind::InDoubt { .. } => WTCACHE_EVENT_IN_DOUBT,
        EventKind::Settled => WTCACHE_EVENT_SETTLED,
        _ => WTCACHE_EVENT_OTHER,
    }
}
