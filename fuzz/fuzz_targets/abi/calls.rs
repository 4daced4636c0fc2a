//! Calls that wait: reads, writes, doubts and permits.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use wtcache_ffi::*;

use crate::checks::{self, Out, Sized, check_entry, check_error, slice};
use crate::input::{Changes, Expects, Inside, KEYS, Key, Odd, Operation, Size};
use crate::origin::{Origin, bytes, plain_failure};
use crate::{Run, pick, place};

/// A permit of the program's own, and how far it came.
pub(crate) struct Permit {
    handle: *mut wtcache_permit,
    origin: Arc<Origin>,
    key: usize,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Prepared,
    Sent,
    Ended,
}

impl Permit {
    pub(crate) fn free(self) {
        // SAFETY: it is ours, and freed once.
        unsafe { wtcache_permit_free(self.handle) };
        self.origin.end(self.key);
    }
}

/// What the callback of an update knows, and what it said.
struct Update {
    origin: Arc<Origin>,
    key: usize,
    changes: Changes,
    inside: Inside,
    said: Option<Option<Vec<u8>>>,
}

unsafe extern "C" fn update(user_data: *mut c_void, existing: *const wtcache_entry, change: *mut wtcache_change) {
    // SAFETY: it lives for the call.
    let update = unsafe { &mut *user_data.cast::<Update>() };
    check_entry(existing, Some(update.key));
    update.origin.calls_from_inside(update.inside, ptr::null());
    let value = update.origin.shared().value(update.key);
    let mut first = true;
    for bit in 0..4 {
        if update.changes.0 >> bit & 1 == 0 {
            continue;
        }
        let ended = checks::call(update.changes.0 & 16 == 0, |err| {
            // SAFETY: all that is handed in lives.
            unsafe {
                match bit {
                    0 => wtcache_change_put(change, value.as_ptr().cast(), value.len(), err),
                    1 => wtcache_change_delete(change, err),
                    2 => wtcache_change_keep(change, err),
                    _ => {
                        let failure = update.origin.shared().failure(WTCACHE_VERDICT_REJECTED);
                        wtcache_change_refuse(change, &raw const failure, err)
                    }
                }
            }
        });
        assert_eq!(ended.status(), if first { WTCACHE_OK } else { WTCACHE_ERR_ANSWERED });
        if first {
            update.said = match bit {
                0 => Some(Some(value.clone())),
                1 => Some(None),
                _ => None,
            };
        }
        first = false;
    }
}

/// Bytes in a list for C.
pub(crate) fn list<'a>(all: impl IntoIterator<Item = &'a [u8]>) -> Vec<wtcache_bytes> {
    all.into_iter().map(|one| wtcache_bytes { data: one.as_ptr().cast(), len: one.len() }).collect()
}

impl Run {
    /// Whether it is one of these.
    pub(crate) fn in_calls(&mut self, operation: &Operation) -> bool {
        match operation {
            Operation::Get(key) => self.get(*key),
            Operation::GetInto(key, len) => self.get_into(*key, *len),
            Operation::Peek(key) => self.peek(*key),
            Operation::GetMany(keys) => self.get_many(keys),
            Operation::Put(key) => self.put(*key, None),
            Operation::PutIf(key, expects) => self.put(*key, Some(*expects)),
            Operation::Delete(key) => self.delete(*key, None),
            Operation::DeleteIf(key, expects) => self.delete(*key, Some(*expects)),
            Operation::Update(key, changes, inside) => self.update(*key, *changes, *inside),
            Operation::PutMany(keys) => self.put_many(keys),
            Operation::Invalidate(key) => {
                let ((cache, _), (at, len)) = (self.cache(), self.key(*key));
                // SAFETY: all that is handed in lives.
                self.calls(|err| unsafe { wtcache_invalidate(cache, at, len, err) });
            }
            Operation::InvalidatePrefix(which) => self.forget(0, &KEYS[1][..usize::from(*which) % 4]),
            Operation::InvalidatePattern(which) => {
                self.forget(1, [&b"a:{id}"[..], b"a:*", b"{", b""][usize::from(*which) % 4]);
            }
            Operation::InvalidateTag => self.forget(2, b"t"),
            Operation::DoubtOf(number) => {
                if let Some(place) = place(&self.errors, *number) {
                    // SAFETY: the error lives.
                    let doubt = unsafe { wtcache_error_doubt(self.errors[place]) };
                    self.keep_doubt(doubt);
                }
            }
            Operation::WaitDoubt(number) => {
                let doubt = pick(&self.doubts, *number);
                // SAFETY: the handle lives, or is NULL.
                self.calls(|err| unsafe { wtcache_doubt_wait(doubt, 1, err) });
            }
            Operation::Replay(number) => self.replay(*number),
            Operation::SettleDoubt(number, settlement) => {
                let doubt = pick(&self.doubts, *number);
                self.touch_all();
                // SAFETY: the handle lives, or is NULL.
                self.calls(|err| unsafe { wtcache_doubt_settle(doubt, i32::from(settlement % 5), err) });
                self.touched_all();
            }
            Operation::FreeDoubt(number) => {
                if let Some(place) = place(&self.doubts, *number) {
                    // SAFETY: it is ours, and freed once.
                    unsafe { wtcache_doubt_free(self.doubts.swap_remove(place)) };
                }
            }
            Operation::Settle(key, settlement) => {
                let ((cache, _), (at, len)) = (self.cache(), self.key(*key));
                self.touch_all();
                // SAFETY: all that is handed in lives.
                self.calls(|err| unsafe { wtcache_settle(cache, at, len, i32::from(settlement % 5), err) });
                self.touched_all();
            }
            Operation::ListDoubts(most) => self.list_doubts(usize::from(most % 5)),
            Operation::Prepare(key) => self.prepare(*key),
            Operation::Existing(number) => self.existing(*number),
            Operation::Abort(number) => self.permit(*number, At::Prepared, |permit, err| {
                // SAFETY: the permit lives.
                unsafe { wtcache_permit_abort(permit.handle, err) }
            }),
            Operation::Send(number) => self.permit(*number, At::Prepared, |permit, err| {
                // SAFETY: the permit lives.
                let status = unsafe { wtcache_permit_send(permit.handle, err) };
                if status == WTCACHE_OK {
                    permit.at = At::Sent;
                }
                status
            }),
            Operation::Commit(number, how) => self.commit(*number, *how),
            Operation::Reject(number, stale) => {
                if stale % 8 == 2 {
                    return true;
                }
                self.permit(*number, At::Sent, |permit, err| {
                    // SAFETY: the permit lives.
                    unsafe { wtcache_permit_reject(permit.handle, i32::from(stale % 2), err) }
                });
            }
            Operation::InDoubt(number) => self.in_doubt(*number),
            Operation::FreePermit(number) => {
                if let Some(place) = place(&self.permits, *number) {
                    self.permits.swap_remove(place).free();
                }
            }
            _ => return false,
        }
        true
    }

    /// Something may happen to any key.
    pub(crate) fn touch_all(&self) {
        self.origins.iter().for_each(|origin| (0..KEYS.len()).for_each(|key| origin.begin(key)));
    }

    pub(crate) fn touched_all(&self) {
        self.origins.iter().for_each(|origin| (0..KEYS.len()).for_each(|key| origin.end(key)));
    }

    fn get(&mut self, key: Key) {
        let ((cache, origin), (at, len), options) = (self.cache(), self.key(key), self.options(true));
        let since = origin.as_ref().map(|origin| origin.epoch(key.number()));
        let mut entry = Out::new(self.wants_output());
        // SAFETY: all that is handed in lives.
        let status = self.calls(|err| unsafe { wtcache_get(cache, at, len, options.place(), entry.place(), err) });
        let entry = entry.given(status == WTCACHE_OK);
        let value = self.keep_entry(entry, Some(key.number()));
        let only_cached = self.call.is_some_and(|call| call.mode % 16 == 1);
        if let (Some(origin), Some(since)) = (origin, since)
            && (status == WTCACHE_OK || status == WTCACHE_NOT_FOUND && !only_cached)
        {
            origin.judge(key.number(), since, value.as_deref());
        }
        // SAFETY: both live, or are NULL.
        unsafe {
            wtcache_entry_remaining_ms(entry, cache);
            wtcache_entry_stale_ms(entry, cache);
            wtcache_entry_age_ms(entry, cache);
        }
    }

    fn get_into(&mut self, key: Key, room: u8) {
        let ((cache, origin), (at, len), options) = (self.cache(), self.key(key), self.options(true));
        let since = origin.as_ref().map(|origin| origin.epoch(key.number()));
        let room = usize::from(room % 24);
        let mut buffer = vec![0xee_u8; room + 1];
        let into = if self.odd == Odd::NullOutput && room > 0 { ptr::null_mut() } else { buffer.as_mut_ptr() };
        let mut value_len = usize::MAX;
        let (place, told) = (options.place(), &raw mut value_len);
        let status = self
            // SAFETY: all that is handed in lives.
            .calls(|err| unsafe { wtcache_get_into(cache, at, len, place, into.cast(), room, told, err) });
        assert_eq!(buffer[room], 0xee, "written beyond the buffer");
        match status {
            WTCACHE_OK => {
                assert!(value_len <= room && usize::from(buffer[0]) == key.number(), "another key's value");
                if let (Some(origin), Some(since)) = (origin, since) {
                    origin.judge(key.number(), since, Some(&buffer[..value_len]));
                }
            }
            WTCACHE_TOO_SMALL => assert!(value_len > room && buffer.iter().all(|byte| *byte == 0xee)),
            _ => assert!(value_len == 0 && buffer.iter().all(|byte| *byte == 0xee), "status {status}: {value_len}"),
        }
    }

    fn peek(&mut self, key: Key) {
        let ((cache, origin), (at, len)) = (self.cache(), self.key(key));
        let since = origin.as_ref().map(|origin| origin.epoch(key.number()));
        let mut entry = Out::new(self.wants_output());
        // SAFETY: all that is handed in lives.
        let status = self.calls(|err| unsafe { wtcache_peek(cache, at, len, entry.place(), err) });
        let entry = entry.given(status == WTCACHE_OK);
        if let (Some(value), Some(origin), Some(since)) = (self.keep_entry(entry, Some(key.number())), origin, since) {
            origin.judge(key.number(), since, Some(&value));
        }
    }

    fn get_many(&mut self, keys: &[Key]) {
        let ((cache, _), options) = (self.cache(), self.options(true));
        let numbers: Vec<usize> = keys.iter().take(6).map(|key| key.number()).collect();
        let keys = list(numbers.iter().map(|key| KEYS[*key]));
        let at = if self.odd == Odd::NullKey { ptr::null() } else { keys.as_ptr() };
        let mut results = Out::new(self.wants_output());
        let place = options.place();
        let status = self
            // SAFETY: all that is handed in lives.
            .calls(|err| unsafe { wtcache_get_many(cache, at, keys.len(), place, results.place(), err) });
        let results = results.given(status == WTCACHE_OK);
        if !results.is_null() {
            check_results(results, &numbers, true);
        }
        // SAFETY: it is ours, and freed once.
        unsafe { wtcache_results_free(results) };
    }

    fn put_many(&mut self, keys: &[Key]) {
        let ((cache, origin), options) = (self.cache(), self.options(false));
        let numbers: Vec<usize> = keys.iter().take(4).map(|key| key.number()).collect();
        let records: Vec<Vec<u8>> = numbers.iter().map(|key| self.shared.value(*key)).collect();
        let (keys, values) = (list(numbers.iter().map(|key| KEYS[*key])), list(records.iter().map(Vec::as_slice)));
        let at = if self.odd == Odd::NullKey { ptr::null() } else { keys.as_ptr() };
        let mut results = Out::new(self.wants_output());
        let place = options.place();
        self.touch_all();
        let status = self.calls(|err| {
            // SAFETY: all that is handed in lives.
            unsafe { wtcache_put_many(cache, at, values.as_ptr(), keys.len(), place, results.place(), err) }
        });
        self.touched_all();
        let results = results.given(status == WTCACHE_OK);
        if !results.is_null() {
            let ends = check_results(results, &numbers, false);
            for key in 0..KEYS.len() {
                let last = (0..numbers.len()).rev().find(|place| numbers[*place] == key);
                if let (Some(origin), Some(last)) = (&origin, last)
                    && (0..numbers.len()).all(|place| numbers[place] != key || ends[place] == WTCACHE_OK)
                {
                    origin.begin(key);
                    origin.applied(key, Some(records[last].clone()));
                }
            }
        }
        // SAFETY: it is ours, and freed once.
        unsafe { wtcache_results_free(results) };
    }

    /// What is expected, with what it points to.
    pub(crate) fn expect(&self, origin: Option<&Arc<Origin>>, key: usize, expects: Expects) -> Expected {
        let version = origin.filter(|_| expects.version).and_then(|origin| origin.record(key));
        let version = version.unwrap_or_else(|| b"never".to_vec());
        let versions = Box::new([wtcache_bytes { data: version.as_ptr().cast(), len: version.len() }]);
        let kind = i32::from(expects.kind % 4);
        let versioned = kind == WTCACHE_EXPECT_VERSION;
        let expect = wtcache_expect {
            struct_size: 0,
            kind,
            reserved: 0,
            versions: if versioned { versions.as_ptr() } else { ptr::null() },
            version_count: usize::from(versioned),
        };
        // SAFETY: it begins with its size.
        Expected { expect: unsafe { Sized::new(expect, self.size()) }, _versions: versions, _version: version }
    }

    fn put(&mut self, key: Key, expects: Option<Expects>) {
        let ((cache, origin), (at, len), options) = (self.cache(), self.key(key), self.options(false));
        let number = key.number();
        let value = self.shared.value(number);
        let (there, length) = bytes(&value);
        let expected = expects.map(|expects| self.expect(origin.as_ref(), number, expects));
        let mut entry = Out::new(self.wants_output());
        if let Some(origin) = &origin {
            origin.begin(number);
        }
        let place = options.place();
        let status = self.calls(|err| {
            // SAFETY: all that is handed in lives.
            unsafe {
                match &expected {
                    None => wtcache_put(cache, at, len, there, length, place, entry.place(), err),
                    Some(Expected { expect, .. }) => {
                        wtcache_put_if(cache, at, len, there, length, expect.place(), place, entry.place(), err)
                    }
                }
            }
        });
        let entry = entry.taken(status == WTCACHE_OK);
        if let Some(confirmed) = self.keep_entry(entry, Some(number)) {
            assert_eq!(confirmed, value, "another value was confirmed");
        }
        if let Some(origin) = &origin {
            if status == WTCACHE_OK { origin.applied(number, Some(value)) } else { origin.end(number) }
        }
    }

    fn delete(&mut self, key: Key, expects: Option<Expects>) {
        let ((cache, origin), (at, len), options) = (self.cache(), self.key(key), self.options(false));
        let number = key.number();
        let expected = expects.map(|expects| self.expect(origin.as_ref(), number, expects));
        if let Some(origin) = &origin {
            origin.begin(number);
        }
        let status = self.calls(|err| {
            // SAFETY: all that is handed in lives.
            unsafe {
                match &expected {
                    None => wtcache_delete(cache, at, len, options.place(), err),
                    Some(Expected { expect, .. }) => {
                        wtcache_delete_if(cache, at, len, expect.place(), options.place(), err)
                    }
                }
            }
        });
        if let Some(origin) = &origin {
            if status == WTCACHE_OK { origin.applied(number, None) } else { origin.end(number) }
        }
    }

    fn update(&mut self, key: Key, changes: Changes, inside: Inside) {
        let ((cache, origin), (at, len), options) = (self.cache(), self.key(key), self.options(false));
        let number = key.number();
        let Some(origin) = origin else { return };
        let mut user = Update { origin: Arc::clone(&origin), key: number, changes, inside, said: None };
        let mut entry = Out::new(self.wants_output());
        let call: wtcache_update_call = if changes.0 == 0xff { None } else { Some(update) };
        let user_data = (&raw mut user).cast();
        origin.begin(number);
        let status = self.calls(|err| {
            // SAFETY: all that is handed in lives.
            unsafe { wtcache_update(cache, at, len, call, user_data, options.place(), entry.place(), err) }
        });
        let entry = entry.taken(status == WTCACHE_OK);
        self.keep_entry(entry, Some(number));
        match user.said {
            Some(record) if status == WTCACHE_OK => origin.applied(number, record),
            _ => origin.end(number),
        }
    }

    fn forget(&mut self, how: u8, what: &[u8]) {
        let ((cache, _), (at, len)) = (self.cache(), bytes(what));
        let size = if self.size() == Size::Zero { 0 } else { size_of::<wtcache_forgotten>() };
        let mut forgotten = wtcache_forgotten { struct_size: size, entries: 0, scanned: 0, reserved: 0 };
        let there = if self.wants_output() { &raw mut forgotten } else { ptr::null_mut() };
        self.calls(|err| {
            // SAFETY: all that is handed in lives.
            unsafe {
                match how {
                    0 => wtcache_invalidate_prefix(cache, at, len, there, err),
                    1 => wtcache_invalidate_pattern(cache, at, len, there, err),
                    _ => wtcache_invalidate_tag(cache, at, len, there, err),
                }
            }
        });
    }

    pub(crate) fn keep_doubt(&mut self, doubt: *mut wtcache_doubt) {
        if doubt.is_null() {
            return;
        }
        let mut len = 0;
        // SAFETY: the handle lives.
        unsafe {
            let key = wtcache_doubt_key(doubt, &raw mut len);
            assert!(KEYS.contains(&slice(key, len)), "a doubt of no key");
            assert!(!wtcache_doubt_idempotency_key(doubt).is_null());
            wtcache_doubt_remaining_ms(doubt);
            let outcome = wtcache_doubt_outcome(doubt);
            assert!((WTCACHE_SETTLEMENT_NONE..=WTCACHE_SETTLEMENT_OVER).contains(&outcome));
        }
        self.doubts.push(doubt);
    }

    fn replay(&mut self, number: u8) {
        let (doubt, options) = (pick(&self.doubts, number), self.options(false));
        let mut entry = Out::new(self.wants_output());
        self.touch_all();
        // SAFETY: all that is handed in lives.
        let status = self.calls(|err| unsafe { wtcache_doubt_replay(doubt, options.place(), entry.place(), err) });
        self.touched_all();
        let entry = entry.taken(status == WTCACHE_OK);
        self.keep_entry(entry, None);
    }

    fn list_doubts(&mut self, most: usize) {
        let (cache, _) = self.cache();
        let mut doubts = Out::new(self.wants_output());
        // SAFETY: all that is handed in lives.
        let status = self.calls(|err| unsafe { wtcache_list_doubts(cache, most, doubts.place(), err) });
        let doubts = doubts.given(status == WTCACHE_OK);
        // SAFETY: the list lives until it is freed, and the key as long.
        unsafe {
            let count = wtcache_doubt_list_count(doubts);
            assert!(count <= most);
            for index in 0..=count {
                let mut doubt = wtcache_key_in_doubt {
                    struct_size: size_of::<wtcache_key_in_doubt>(),
                    key: ptr::null(),
                    key_len: 77,
                    since_ms: 0,
                    remaining_ms: 0,
                    unsettled: 0,
                };
                let told = self.calls(|err| wtcache_doubt_list_get(doubts, index, &raw mut doubt, err));
                match told {
                    WTCACHE_OK => assert!(KEYS.contains(&slice(doubt.key, doubt.key_len)), "a doubt of no key"),
                    WTCACHE_NOT_FOUND => assert!(index == count && doubt.key.is_null() && doubt.key_len == 0),
                    other => assert!(doubts.is_null() && other == WTCACHE_ERR_ARGUMENT, "status {other}"),
                }
            }
            wtcache_doubt_list_free(doubts);
        }
    }

    fn prepare(&mut self, key: Key) {
        let ((cache, origin), (at, len), options) = (self.cache(), self.key(key), self.options(false));
        let mut permit = Out::new(self.wants_output());
        // SAFETY: all that is handed in lives.
        let status = self.calls(|err| unsafe { wtcache_prepare(cache, at, len, options.place(), permit.place(), err) });
        let handle = permit.given(status == WTCACHE_OK);
        if let Some(origin) = origin.filter(|_| !handle.is_null()) {
            origin.begin(key.number());
            self.permits.push(Permit { handle, origin, key: key.number(), at: At::Prepared });
        }
    }

    fn existing(&mut self, number: u8) {
        let Some(place) = place(&self.permits, number) else { return };
        let Permit { handle, key, at, .. } = self.permits[place];
        let mut entry = Out::new(self.wants_output());
        // SAFETY: the permit lives.
        let status = self.calls(|err| unsafe {
            wtcache_permit_remaining_ms(handle);
            assert!(!wtcache_permit_idempotency_key(handle).is_null());
            wtcache_permit_existing(handle, entry.place(), err)
        });
        let entry = entry.given(status == WTCACHE_OK);
        self.keep_entry(entry, Some(key));
        assert!(at == At::Prepared || status < 0, "there is nothing to be read any more");
    }

    /// Calls a function of a permit that has to be so far; it has ended then, unless the call says where it is.
    fn permit(&mut self, number: u8, has_to_be: At, call: impl FnOnce(&mut Permit, *mut *mut wtcache_error) -> i32) {
        let Some(place) = place(&self.permits, number) else { return };
        let mut permit = self.permits.swap_remove(place);
        let before = permit.at;
        let status = self.calls(|err| call(&mut permit, err));
        if before != has_to_be {
            assert!([WTCACHE_ERR_STATE, WTCACHE_ERR_ARGUMENT].contains(&status), "{before:?}: {status}");
            assert_eq!(permit.at, before);
        } else {
            assert_ne!(status, WTCACHE_ERR_STATE, "{before:?}");
            if permit.at == before && status != WTCACHE_ERR_ARGUMENT {
                permit.at = At::Ended;
            }
        }
        self.permits.push(permit);
    }

    /// The origin applies what the program says that it has applied.
    fn commit(&mut self, number: u8, how: u8) {
        let (shared, size, wants_output) = (Arc::clone(&self.shared), self.size(), self.wants_output());
        let mut kept = ptr::null_mut();
        self.permit(number, At::Sent, |permit, err| {
            let value = shared.value(permit.key);
            let record = Some(value.clone()).filter(|_| how % 3 != 2);
            if permit.at == At::Sent {
                permit.origin.apply(permit.key, record);
            }
            let (there, length) = bytes(&value);
            let told = wtcache_record {
                struct_size: 0,
                version: ptr::null(),
                version_len: 0,
                lifetime_ms: 0,
                tags: ptr::null(),
                tag_count: 0,
                while_revalidate_ms: 0,
                if_error_ms: 0,
                age_ms: 0,
            };
            // SAFETY: all that is handed in lives.
            unsafe {
                let told = Sized::new(told, size);
                match how % 3 {
                    0 => {
                        let mut entry = Out::new(wants_output);
                        let (handle, place) = (permit.handle, entry.place());
                        let status = wtcache_permit_commit(handle, there, length, told.place(), place, err);
                        kept = entry.taken(status == WTCACHE_OK);
                        status
                    }
                    1 => wtcache_permit_commit_unseen(permit.handle, err),
                    _ => wtcache_permit_commit_deleted(permit.handle, err),
                }
            }
        });
        self.keep_entry(kept, None);
    }

    fn in_doubt(&mut self, number: u8) {
        let (shared, size, wants_output) = (Arc::clone(&self.shared), self.size(), self.wants_output());
        let mut kept = ptr::null_mut();
        self.permit(number, At::Sent, |permit, err| {
            // What cannot be read is not taken, and its cause does not come back.
            let causes = size != Size::Zero;
            let failure =
                if causes { shared.failure(WTCACHE_VERDICT_UNKNOWN) } else { plain_failure(WTCACHE_VERDICT_UNKNOWN) };
            let mut doubt = Out::new(wants_output);
            // SAFETY: all that is handed in lives.
            let status = unsafe {
                let failure = Sized::new(failure, size);
                wtcache_permit_in_doubt(permit.handle, failure.place(), doubt.place(), err)
            };
            kept = doubt.given(status == WTCACHE_OK);
            status
        });
        self.keep_doubt(kept);
    }
}

/// What a conditional write expects, with what it points to.
pub(crate) struct Expected {
    pub(crate) expect: Sized<wtcache_expect>,
    _versions: Box<[wtcache_bytes; 1]>,
    _version: Vec<u8>,
}

/// Looks at all of some answers; `keys` are those of the call. Gives the status of each.
pub(crate) fn check_results(results: *const wtcache_results, keys: &[usize], reads: bool) -> Vec<i32> {
    // SAFETY: the results live.
    unsafe {
        assert_eq!(wtcache_results_count(results), keys.len());
        assert_eq!(wtcache_results_status(results, keys.len()), WTCACHE_ERR_ARGUMENT);
        assert!(wtcache_results_entry(results, keys.len()).is_null());
        let each = |(index, key): (usize, &usize)| {
            let status = wtcache_results_status(results, index);
            let (entry, error) = (wtcache_results_entry(results, index), wtcache_results_error(results, index));
            assert_eq!(error.is_null(), status >= 0);
            assert!(if reads { entry.is_null() == (status != WTCACHE_OK) } else { entry.is_null() || status == 0 });
            check_entry(entry, Some(*key));
            if !error.is_null() {
                check_error(error, status);
            }
            status
        };
        keys.iter().enumerate().map(each).collect()
    }
}
