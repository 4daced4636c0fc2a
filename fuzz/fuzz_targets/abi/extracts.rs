//! What callbacks of the program's say of entries: weights, tags and values in an index, and that records are found by these.
//!
//! All of it depends on the value alone, so that whoever has a value knows what was said of it.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use wtcache_ffi::*;

use crate::Run;
use crate::checks::{self, Out, Ticket, check_entry, give_back, slice};
use crate::input::{KEYS, Key, Odd, Operation, Tells};
use crate::origin::bytes;

const INDEX: &[u8] = b"fourth";

/// What a callback that tells of entries is given.
#[repr(C)]
pub(crate) struct Teller {
    ticket: Ticket,
    tells: Tells,
}

impl AsRef<Ticket> for Teller {
    fn as_ref(&self) -> &Ticket {
        &self.ticket
    }
}

impl Tells {
    /// Whether a callback says nothing of a value.
    fn fails(self, value: &[u8]) -> bool {
        self.failing && value[1] % 4 == 3
    }

    /// Whether its program tags a value.
    fn tags(self, value: &[u8]) -> bool {
        self.tags && !self.fails(value) && value[1].is_multiple_of(2)
    }
}

/// The value in the index of a value of the cache.
fn indexed(value: &[u8]) -> [u8; 1] {
    [value[1] % 4]
}

/// What a callback is given, looked at. Empty is no value of the cache: an absence.
unsafe fn seen<'a>(key: *const c_void, key_len: usize, value: *const c_void, value_len: usize) -> &'a [u8] {
    // SAFETY: the caller promises that both live.
    let (key, value) = unsafe { (slice(key, key_len), slice(value, value_len)) };
    let number = KEYS.iter().position(|known| *known == key).expect("a key that was asked for");
    assert!(value.first().is_none_or(|own| usize::from(*own) == number), "the value of another key");
    value
}

unsafe extern "C" fn weigh(
    user_data: *mut c_void,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    weight: *mut u64,
) {
    // SAFETY: it lives until it is given back.
    let teller = unsafe { &*user_data.cast::<Teller>() };
    let _inside = teller.ticket.enter();
    assert_eq!(value.is_null(), value_len == 0, "no value is empty");
    // SAFETY: all of it lives for the call.
    let (value, weight) = unsafe { (seen(key, key_len, value, value_len), &mut *weight) };
    assert_eq!(*weight, u64::MAX);
    match value {
        [] => *weight = 1,
        value if teller.tells.fails(value) => {}
        value => *weight = [0, 60, 200, 1 << 32][usize::from(value[1] >> 2) % 4],
    }
}

/// Says what the record has; one that fails says no end of it.
unsafe fn tell(says: Option<&[u8]>, fails: bool, to: *mut wtcache_extract) {
    // SAFETY: it takes what it is told until the callback returns.
    unsafe {
        let refused = checks::call(true, |err| wtcache_extract_add(to, ptr::null(), 1, err));
        assert_eq!(refused.status(), WTCACHE_ERR_ARGUMENT);
        for says in says.into_iter().chain(says) {
            let (at, len) = bytes(says);
            assert!(checks::call(true, |err| wtcache_extract_add(to, at, len, err)).is_ok());
        }
        assert!(fails || checks::call(true, |err| wtcache_extract_done(to, err)).is_ok());
    }
}

unsafe extern "C" fn tags(
    user_data: *mut c_void,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    to: *mut wtcache_extract,
) {
    // SAFETY: it lives until it is given back.
    let teller = unsafe { &*user_data.cast::<Teller>() };
    let _inside = teller.ticket.enter();
    // SAFETY: all of it lives for the call.
    unsafe {
        let value = seen(key, key_len, value, value_len);
        tell(teller.tells.tags(value).then_some(&b"t"[..]), teller.tells.fails(value), to);
    }
}

unsafe extern "C" fn index(
    user_data: *mut c_void,
    key: *const c_void,
    key_len: usize,
    value: *const c_void,
    value_len: usize,
    to: *mut wtcache_extract,
) {
    // SAFETY: it lives until it is given back.
    let teller = unsafe { &*user_data.cast::<Teller>() };
    let _inside = teller.ticket.enter();
    // SAFETY: all of it lives for the call.
    unsafe {
        let value = seen(key, key_len, value, value_len);
        tell(Some(&indexed(value)), teller.tells.fails(value), to);
    }
}

/// A record that is resident, as `peek` gives it.
struct Resident {
    entry: *mut wtcache_entry,
    value: Vec<u8>,
}

impl Resident {
    /// Where its value lies: while it is held here, that is no other record's place.
    fn place(&self) -> *const c_void {
        // SAFETY: the entry lives.
        unsafe { wtcache_entry_value(self.entry, ptr::null_mut()) }
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        // SAFETY: it is ours, and freed once.
        unsafe { wtcache_entry_free(self.entry) };
    }
}

/// The record of each key, where one is resident that the origin confirmed.
fn residents(cache: *const wtcache_cache) -> [Option<Resident>; KEYS.len()] {
    std::array::from_fn(|number| {
        let (at, len) = bytes(KEYS[number]);
        let mut entry = Out::new(true);
        // SAFETY: all that is handed in lives.
        let ended = checks::call(true, |err| unsafe { wtcache_peek(cache, at, len, entry.place(), err) });
        let entry = entry.given(ended.is_ok());
        ended.status();
        let resident = Resident { entry, value: check_entry(entry, Some(number))? };
        // SAFETY: the entry lives.
        Some(resident).filter(|resident| unsafe { wtcache_entry_is_pending(resident.entry) } == 0)
    })
}

impl Run {
    /// Has the caches of a configuration ask for what entries weigh, have and are found by.
    pub(crate) fn set_extracts(&mut self, config: *mut wtcache_config, tells: Tells) {
        let config = if self.odd == Odd::NullHandle { ptr::null_mut() } else { config };
        let none = self.odd == Odd::NullKey;
        let back: Option<unsafe extern "C" fn(*mut c_void)> = Some(give_back);
        for (place, is_set) in
            [tells.weighs, tells.tags, tells.indexes, tells.indexes && tells.twice].iter().enumerate()
        {
            if !is_set {
                continue;
            }
            let teller = Arc::new(Teller { ticket: Ticket::new(), tells });
            let user_data = Arc::as_ptr(&teller).cast_mut().cast();
            self.shared.tickets().keep(teller, true);
            let extract: wtcache_extract_call = match place {
                _ if none => None,
                1 => Some(tags),
                _ => Some(index),
            };
            let (at, len) = bytes(INDEX);
            // SAFETY: what the callbacks are given is kept until it came back.
            let status = self.calls(|err| unsafe {
                match place {
                    0 => {
                        let weigh: wtcache_weigh_call = if none { None } else { Some(weigh) };
                        wtcache_config_set_weigher(config, weigh, user_data, back, err)
                    }
                    1 => wtcache_config_set_tags(config, extract, user_data, back, err),
                    _ => wtcache_config_add_index(config, at, len, extract, user_data, back, err),
                }
            });
            assert_eq!(status == WTCACHE_OK, !none && !config.is_null());
        }
    }

    /// Whether it is one of these.
    pub(crate) fn in_extracts(&mut self, operation: &Operation) -> bool {
        match operation {
            Operation::Find(value) => self.find([value % 4]),
            Operation::ForgetForGood(how, key) => self.forget_for_good(*how, *key),
            _ => return false,
        }
        true
    }

    /// Finds what is resident throughout, each once, and nothing that was not said to have the value.
    fn find(&mut self, value: [u8; 1]) {
        let (cache, origin) = self.cache();
        let tells = origin.map_or(Tells::NOTHING, |origin| origin.tells());
        let ((name, name_len), (at, len)) =
            if self.odd == Odd::NullKey { ((ptr::null(), 1), bytes(&value)) } else { (bytes(INDEX), bytes(&value)) };
        let before = residents(cache);
        let mut results = Out::new(self.wants_output());
        let mut expired = usize::MAX;
        let told = &raw mut expired;
        // SAFETY: all that is handed in lives.
        let status =
            self.calls(|err| unsafe { wtcache_find(cache, name, name_len, at, len, results.place(), told, err) });
        let results = results.given(status == WTCACHE_OK);
        let after = residents(cache);
        assert_ne!(expired, usize::MAX, "the count is not overwritten");
        assert!(status == WTCACHE_OK || expired == 0, "a count of nothing");
        let asked_well = self.wants_output() && self.odd != Odd::NullKey && !cache.is_null();
        assert_eq!(status == WTCACHE_OK, asked_well && tells.indexes, "an index that there is, or none");
        let mut found = [false; KEYS.len()];
        // SAFETY: the results live until they are freed.
        unsafe {
            for index in 0..wtcache_results_count(results) {
                assert_eq!(wtcache_results_status(results, index), WTCACHE_OK);
                let record = check_entry(wtcache_results_entry(results, index), None).expect("a record");
                assert!(indexed(&record) == value && !tells.fails(&record), "found, and never said to be so");
                let twice = std::mem::replace(&mut found[usize::from(record[0])], true);
                assert!(!twice, "one key is found twice");
            }
            wtcache_results_free(results);
        }
        for (before, after) in before.iter().zip(&after) {
            if let (Some(before), Some(after)) = (before, after)
                && before.place() == after.place()
                && indexed(&before.value) == value
            {
                assert!(status != WTCACHE_OK || found[usize::from(before.value[0])], "resident, and not found");
            }
        }
    }

    /// Forgets, and looks whether any of it is there still.
    fn forget_for_good(&mut self, how: u8, key: Key) {
        let (cache, origin) = self.cache();
        let Some(tells) = origin.map(|origin| origin.tells()) else { return };
        let before = residents(cache);
        let (number, (at, len)) = (key.number(), bytes(KEYS[key.number()]));
        let none = ptr::null_mut();
        let status = self.calls(|err| {
            // SAFETY: all that is handed in lives.
            unsafe {
                match how % 4 {
                    0 => wtcache_invalidate(cache, at, len, err),
                    1 => wtcache_invalidate_prefix(cache, at, len, none, err),
                    2 => wtcache_invalidate_pattern(cache, at, len, none, err),
                    _ => wtcache_invalidate_tag(cache, b"t".as_ptr().cast(), 1, none, err),
                }
            }
        });
        if status != WTCACHE_OK {
            return;
        }
        let after = residents(cache);
        for (own, (before, after)) in before.iter().zip(&after).enumerate() {
            if let (Some(before), Some(after)) = (before, after)
                && before.place() == after.place()
            {
                let has_gone = match how % 4 {
                    0 | 2 => own == number,
                    1 => KEYS[own].starts_with(KEYS[number]),
                    _ => tells.tags(&before.value),
                };
                assert!(!has_gone, "key {own} is there after it was forgotten");
            }
        }
    }
}
