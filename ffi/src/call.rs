//! What a call may be told beside its key and value, and bytes in lists.

use std::ffi::c_void;
use std::time::Duration;

use wtcache::{ByteCache, Bytes, Call, Entry, IdempotencyKey, Lifetime, LoadError};

use crate::arguments::{Growing, Refused, bytes, growing};
use crate::reply::{lifetime_of, window_of};

/// Bytes in a list: a key, a value, a version or a tag.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_bytes {
    /// Where they are; NULL only with length 0.
    pub data: *const c_void,
    /// How many they are.
    pub len: usize,
}

impl wtcache_bytes {
    /// # Safety
    /// What it names may be read for `'a`.
    pub(crate) unsafe fn read<'a>(&self, name: &str) -> Result<&'a [u8], Refused> {
        // SAFETY: the caller's promise.
        unsafe { bytes(name, self.data, self.len) }
    }
}

/// Reads from the cache, else from the origin. What is pending is shown.
pub const WTCACHE_MODE_DEFAULT: i32 = 0;
/// Reads what is resident and will do for this call, or pending, and nothing else: it never waits, and never calls the source. Where the
/// refresh of a record that is still fresh is due, it is asked for in the background.
pub const WTCACHE_MODE_CACHED: i32 = 1;
/// Reads what the origin confirmed, from the cache or else from the origin, whatever is pending above it.
pub const WTCACHE_MODE_CONFIRMED: i32 = 2;

/// A flag of a read: the origin is asked after the call began, whatever is resident; it may say that this is its record still. What is
/// resident stays, and others are served it, until the load has ended.
pub const WTCACHE_CALL_ANEW: i32 = 1;
/// A flag of a read: what its load brings is not kept, nor is what was there before. A load of another's that it joins may be.
pub const WTCACHE_CALL_NOT_KEPT: i32 = 2;

/// Options of one call; NULL stands for none. Set `struct_size` to its `sizeof`, and to zero what is not used.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct wtcache_call {
    /// `sizeof(wtcache_call)`.
    pub struct_size: usize,
    /// How long the call may take in milliseconds, the source's work included; a day at most. Zero: as the cache is
    /// configured.
    pub deadline_ms: u64,
    /// Of a write: 16 bytes under which it goes out to an origin that recognises resends. NULL: random ones. A call that writes many
    /// records, or none, has no use for it.
    pub idempotency_key: *const c_void,
    /// Of a read of one key: one of `WTCACHE_MODE_*`. Any other call refuses a mode.
    pub mode: i32,
    /// Of a read: any of `WTCACHE_CALL_*`, or zero. All from here on but `lifetime_ms` is of a read, also of many keys; any other call refuses it.
    pub flags: i32,
    /// Of a write: how long its record may be served where the source says nothing of that, in milliseconds, or one of `WTCACHE_LIFETIME_*`. A
    /// delete has no record, and a read refuses a lifetime.
    pub lifetime_ms: i64,
    /// The origin confirmed the record, or that there is none, no longer than so many milliseconds before the call; else it is asked. Zero: any
    /// time ago. `WTCACHE_CALL_ANEW` is an age of none at all, and goes without this. What pending writes show has no age.
    pub max_age_ms: u64,
    /// The record can be served as fresh for so many milliseconds yet, or it is loaded. What a load brings is taken as it is.
    pub min_fresh_ms: u64,
    /// For how many milliseconds after its end a record is taken without waiting for the origin; `WTCACHE_WINDOW_NONE`: not at all. Zero: as the
    /// record's source says, or the cache is configured. It has nothing refreshed where these do not.
    pub max_stale_ms: i64,
    /// The same, in place of an error; counted from where the record became too old for `max_age_ms` or `min_fresh_ms`, if that was earlier.
    pub stale_if_error_ms: i64,
}

// SAFETY: `repr(C)`, begins with its size, and integers and pointers may be zero.
unsafe impl Growing for wtcache_call {
    const NAME: &'static str = "call";
    const LEAST: usize = size_of::<usize>();
}

/// What is read of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Default,
    Cached,
    Confirmed,
}

/// A read as it was asked for.
pub(crate) struct AskedRead {
    pub(crate) call: Call,
    /// That of the call, where it has one of its own.
    pub(crate) deadline: Option<Duration>,
    mode: Mode,
}

impl AskedRead {
    pub(crate) fn read(&self, cache: &ByteCache, key: &[u8]) -> Result<Option<Entry<Bytes>>, LoadError> {
        match self.mode {
            Mode::Default => cache.read(key, &self.call).map(|read| read.entry),
            Mode::Cached => Ok(resident(cache, key, &self.call)),
            Mode::Confirmed => cache.read_confirmed(key, &self.call).map(|read| read.entry),
        }
    }

    /// A record that answers it without waiting for anybody.
    pub(crate) fn hit(&self, cache: &ByteCache, key: &[u8]) -> Option<Entry<Bytes>> {
        match self.mode {
            // What is stale is left to the read, which has it refreshed.
            Mode::Default => resident(cache, key, &self.call.clone().max_stale(Duration::ZERO)),
            Mode::Cached => resident(cache, key, &self.call),
            Mode::Confirmed => None,
        }
    }
}

fn resident(cache: &ByteCache, key: &[u8], call: &Call) -> Option<Entry<Bytes>> {
    cache.read_resident(key, call)?.entry
}

/// A call's options, whatever kind of call it is.
struct Told {
    asked: AskedRead,
    lifetime: Lifetime,
    /// A member that only a read has a use for, and that is set.
    of_read: Option<&'static str>,
}

impl wtcache_call {
    /// Of a read of one key.
    ///
    /// # Safety
    /// `call` is NULL or points to one, whose key is NULL or has 16 bytes.
    pub(crate) unsafe fn of_read(call: *const Self) -> Result<AskedRead, Refused> {
        // SAFETY: the caller's promise.
        match unsafe { Self::read(call) }? {
            Told { asked, lifetime: Lifetime::Default, .. } => Ok(asked),
            _ => Err(Refused::argument("call.lifetime_ms is of a write only")),
        }
    }

    /// Of a read of many keys: the call, with the deadline that it has of its own.
    ///
    /// # Safety
    /// As [`Self::of_read`].
    pub(crate) unsafe fn of_reads(call: *const Self) -> Result<(Call, Option<Duration>), Refused> {
        // SAFETY: the caller's promise.
        match unsafe { Self::of_read(call) }? {
            AskedRead { call, deadline, mode: Mode::Default } => Ok((call, deadline)),
            _ => Err(Refused::argument("call.mode is of a read of one key only")),
        }
    }

    /// Of a list of the origin's: the deadline that it has of its own.
    ///
    /// # Safety
    /// As [`Self::of_read`].
    pub(crate) unsafe fn of_list(call: *const Self) -> Result<Option<Duration>, Refused> {
        // SAFETY: the caller's promise.
        let Told { asked, lifetime, of_read } = unsafe { Self::read(call) }?;
        match of_read {
            _ if asked.mode != Mode::Default => Err(Refused::argument("call.mode is of a read of one key only")),
            _ if lifetime != Lifetime::Default => Err(Refused::argument("call.lifetime_ms is of a write only")),
            Some(member) => Err(Refused::argument(format!("call.{member} is of a read by key only"))),
            None => Ok(asked.deadline),
        }
    }

    /// Of any other call.
    ///
    /// # Safety
    /// As [`Self::of_read`].
    pub(crate) unsafe fn of_write(call: *const Self) -> Result<Call, Refused> {
        // SAFETY: the caller's promise.
        unsafe { Self::of_late_write(call) }.map(|(call, _)| call)
    }

    /// The same, with the deadline that it has of its own, of a call that is made later.
    ///
    /// # Safety
    /// As [`Self::of_read`].
    pub(crate) unsafe fn of_late_write(call: *const Self) -> Result<(Call, Option<Duration>), Refused> {
        // SAFETY: the caller's promise.
        let Told { asked, lifetime, of_read } = unsafe { Self::read(call) }?;
        if asked.mode != Mode::Default {
            return Err(Refused::argument("call.mode is of a read of one key only"));
        }
        match of_read {
            Some(member) => Err(Refused::argument(format!("call.{member} is of a read only"))),
            None => Ok((asked.call.lifetime(lifetime), asked.deadline)),
        }
    }

    unsafe fn read(call: *const Self) -> Result<Told, Refused> {
        let (mut options, mut deadline) = (Call::new(), None);
        if call.is_null() {
            let asked = AskedRead { call: options, deadline, mode: Mode::Default };
            return Ok(Told { asked, lifetime: Lifetime::Default, of_read: None });
        }
        // SAFETY: the caller's promise.
        let call = unsafe { growing(call) }?.all()?;
        if call.deadline_ms != 0 {
            let own = Duration::from_millis(call.deadline_ms);
            (options, deadline) = (options.deadline(own), Some(own));
        }
        if !call.idempotency_key.is_null() {
            // SAFETY: the caller's promise; an array of bytes is always aligned.
            let bits = unsafe { call.idempotency_key.cast::<[u8; 16]>().read() };
            options = options.idempotency_key(IdempotencyKey::from_bits(u128::from_be_bytes(bits)));
        }
        let mode = match call.mode {
            WTCACHE_MODE_DEFAULT => Mode::Default,
            WTCACHE_MODE_CACHED => Mode::Cached,
            WTCACHE_MODE_CONFIRMED => Mode::Confirmed,
            other => return Err(Refused::argument(format!("call.mode is {other}, which is no WTCACHE_MODE"))),
        };
        let lifetime = lifetime_of("call.lifetime_ms", call.lifetime_ms)?;
        let asked = AskedRead { call: call.wants(options)?, deadline, mode };
        Ok(Told { asked, lifetime, of_read: call.of_read_only() })
    }

    /// What a read asks of the record that it is given, beside the mode.
    fn wants(&self, mut call: Call) -> Result<Call, Refused> {
        let unknown = self.flags & !(WTCACHE_CALL_ANEW | WTCACHE_CALL_NOT_KEPT);
        if unknown != 0 {
            return Err(Refused::argument(format!("call.flags has {unknown:#x}, which is no WTCACHE_CALL")));
        }
        let anew = self.flags & WTCACHE_CALL_ANEW != 0;
        if anew && self.max_age_ms != 0 {
            return Err(Refused::argument("call.max_age_ms contradicts WTCACHE_CALL_ANEW"));
        }
        if anew || self.max_age_ms != 0 {
            call = call.max_age(Duration::from_millis(self.max_age_ms));
        }
        if self.flags & WTCACHE_CALL_NOT_KEPT != 0 {
            call = call.not_kept();
        }
        if let Some(window) = window_of("call.max_stale_ms", self.max_stale_ms)? {
            call = call.max_stale(window);
        }
        if let Some(window) = window_of("call.stale_if_error_ms", self.stale_if_error_ms)? {
            call = call.stale_if_error(window);
        }
        Ok(call.min_fresh(Duration::from_millis(self.min_fresh_ms)))
    }

    fn of_read_only(&self) -> Option<&'static str> {
        let members = [
            ("flags", self.flags != 0),
            ("max_age_ms", self.max_age_ms != 0),
            ("min_fresh_ms", self.min_fresh_ms != 0),
            ("max_stale_ms", self.max_stale_ms != 0),
            ("stale_if_error_ms", self.stale_if_error_ms != 0),
        ];
        members.into_iter().find_map(|(member, is_set)| is_set.then_some(member))
    }
}
