//! What a call answers: one number. Codes are only ever added.

/// It was done.
pub const WTCACHE_OK: i32 = 0;
/// Not an error: there is no such record. From a peek: nothing is resident that may be served.
pub const WTCACHE_NOT_FOUND: i32 = 1;
/// Not an error: the value is longer than the buffer. The buffer is as it was, and the length is told.
pub const WTCACHE_TOO_SMALL: i32 = 2;

/// Not an error: what was waited for has not ended yet.
pub const WTCACHE_PENDING: i32 = 3;
/// Not an error: it could not be taken back, since it is under way already, or has ended.
pub const WTCACHE_TOO_LATE: i32 = 4;

/// An argument is NULL, has no such value, or does not fit with another. Nothing was done.
pub const WTCACHE_ERR_ARGUMENT: i32 = -1;
/// The configuration makes no sense; the message names the member. Nothing was opened.
pub const WTCACHE_ERR_CONFIG: i32 = -2;
/// Header and library have different ABIs.
pub const WTCACHE_ERR_ABI: i32 = -3;
/// The cache is closed. Nothing was sent.
pub const WTCACHE_ERR_CLOSED: i32 = -4;
/// The deadline passed; a write was not sent.
pub const WTCACHE_ERR_DEADLINE: i32 = -5;
/// A read: the source gave no record, and no answer that there is none.
pub const WTCACHE_ERR_SOURCE: i32 = -6;
/// A write: the source or the origin refused it. It was not applied and never will be.
pub const WTCACHE_ERR_REJECTED: i32 = -7;
/// As `WTCACHE_ERR_REJECTED`, and the refusal proves that what was cached is not the origin's record any more (HTTP:
/// 404 on put, 409, 410, 412): it was dropped.
pub const WTCACHE_ERR_CONFLICT: i32 = -8;
/// A write: nobody can know whether it was applied, or still will be. Until that is settled, reads ask the origin.
pub const WTCACHE_ERR_IN_DOUBT: i32 = -9;
/// A write: the key is in doubt, and the configuration says that writes wait for the end of it. It was not sent.
pub const WTCACHE_ERR_HELD_BACK: i32 = -10;
/// A bound was met: too many calls wait, or too many keys are in doubt. A write was not sent.
pub const WTCACHE_ERR_OVERLOADED: i32 = -11;
/// A call from inside a source's callback would wait for itself. Nothing was sent.
pub const WTCACHE_ERR_REENTRANT: i32 = -12;
/// A write from inside a source's callback found the turn of its key taken; such a write never waits. It was not sent.
/// Or a read of many keys: transactions changed them whenever they had been loaded.
pub const WTCACHE_ERR_BUSY: i32 = -13;
/// The key or the value is longer than the cache takes. Nothing was sent.
pub const WTCACHE_ERR_TOO_LARGE: i32 = -14;
/// A reply came too late: its call was answered before, or is over. What it carried was not used.
pub const WTCACHE_ERR_ANSWERED: i32 = -15;
/// The handle was made before a `fork`, by the parent. Open a cache after the fork instead.
pub const WTCACHE_ERR_FORKED: i32 = -16;
/// A fault of this library was contained. For a write the outcome of the error says what may have happened.
pub const WTCACHE_ERR_PANIC: i32 = -17;

/// A write was taken back by the program before it was sent.
pub const WTCACHE_ERR_CANCELLED: i32 = -18;
/// What the write expected of the existing record does not hold. It was not sent; `wtcache_error_existing` gives the record that is there.
pub const WTCACHE_ERR_UNMET: i32 = -19;
/// A handle was used out of its order: a permit that was not sent yet, or has ended; a transaction that was run before. Nothing was done.
pub const WTCACHE_ERR_STATE: i32 = -20;
/// A transaction: a step was refused after others had been applied that are not all undone. Its result says what came of each.
pub const WTCACHE_ERR_PARTIAL: i32 = -21;

/// The origin did not apply anything for this call, and will not.
pub const WTCACHE_OUTCOME_NOT_APPLIED: i32 = 0;
/// The origin may have applied the write, or may still.
pub const WTCACHE_OUTCOME_IN_DOUBT: i32 = 1;
/// Of a transaction: some of its steps were applied and stand, others were not.
pub const WTCACHE_OUTCOME_PARTIAL: i32 = 2;
