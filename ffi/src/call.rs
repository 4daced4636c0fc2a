//! What a call may be told beside its key and value, and bytes in lists.

use std::ffi::c_void;
use std::time::Duration;

use wtcache::{ByteCache, Bytes, Call, Entry, IdempotencyKey, Lifetime, LoadError};

use crate::arguments::{Growing, Refused, bytes, growing};
use crate::reply::lifetime_of;

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
/// Reads what is resident and fresh, or pending, and nothing else: never waits, and never calls the source.
pub const WTCACHE_MODE_CACHED: i32 = 1;
/// Reads what the origin confirmed, from the cache or else from the origin, whatever is pending above it.
pub const WTCACHE_MODE_CONFIRMED: i32 = 2;

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
    /// Zero.
    pub reserved: i32,
    /// Of a write: how long its record may be served where the source says nothing of that, in milliseconds, or one of `WTCACHE_LIFETIME_*`. A
    /// delete has no record, and a read refuses a lifetime.
    pub lifetime_ms: i64,
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
            Mode::Cached => Ok(cache.peek(key)),
            Mode::Confirmed => cache.read_confirmed(key, &self.call).map(|read| read.entry),
        }
    }

    /// A record that answers it without waiting for anybody.
    pub(crate) fn hit(&self, cache: &ByteCache, key: &[u8]) -> Option<Entry<Bytes>> {
        if self.mode == Mode::Confirmed { None } else { cache.peek(key) }
    }
}

impl wtcache_call {
    /// Of a read of one key.
    ///
    /// # Safety
    /// `call` is NULL or points to one, whose key is NULL or has 16 bytes.
    pub(crate) unsafe fn of_read(call: *const Self) -> Result<AskedRead, Refused> {
        // SAFETY: the caller's promise.
        match unsafe { Self::read(call) }? {
            (asked, Lifetime::Default) => Ok(asked),
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
        match unsafe { Self::read(call) }? {
            (AskedRead { call, deadline, mode: Mode::Default }, lifetime) => Ok((call.lifetime(lifetime), deadline)),
            _ => Err(Refused::argument("call.mode is of a read of one key only")),
        }
    }

    unsafe fn read(call: *const Self) -> Result<(AskedRead, Lifetime), Refused> {
        let (mut options, mut deadline) = (Call::new(), None);
        if call.is_null() {
            return Ok((AskedRead { call: options, deadline, mode: Mode::Default }, Lifetime::Default));
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
        Ok((AskedRead { call: options, deadline, mode }, lifetime))
    }
}
