//! Calls whose work is done by threads of the library's: pending writes, and the calls of a queue.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use wtcache_ffi::*;

use crate::calls::{check_results, list};
use crate::checks::{self, Out, Ticket, check_entry, check_error, give_back};
use crate::input::{Changes, Expects, KEYS, Key, Odd, Operation};
use crate::origin::bytes;
use crate::transactions::check_transacted;
use crate::{Run, pick, place};

const MOST_QUEUES: usize = 2;

/// A queue, and the calls that it has to complete.
pub(crate) struct Queue {
    handle: *mut wtcache_queue,
    outstanding: HashMap<u64, Asked>,
}

/// What was asked for.
#[derive(Debug)]
enum Asked {
    Record(usize),
    Records(Vec<usize>),
    Write(usize),
    Transaction,
    Pending,
}

impl Queue {
    pub(crate) fn free(self) {
        // SAFETY: it is ours, and freed once.
        unsafe { wtcache_queue_free(self.handle) };
    }
}

/// What a merge is given.
#[repr(C)]
struct Merge {
    ticket: Ticket,
    key: usize,
    changes: Changes,
}

impl AsRef<Ticket> for Merge {
    fn as_ref(&self) -> &Ticket {
        &self.ticket
    }
}

/// It is pure: what it makes depends on what is there alone.
unsafe extern "C" fn merge(
    user_data: *mut c_void,
    value: *const c_void,
    value_len: usize,
    change: *mut wtcache_change,
) {
    // SAFETY: it lives until it is given back.
    let merge = unsafe { &*user_data.cast::<Merge>() };
    let _inside = merge.ticket.enter();
    // SAFETY: the value lives.
    let mut made = unsafe { checks::slice(value, value_len) }.to_vec();
    assert!(made.first().is_none_or(|key| usize::from(*key) == merge.key), "a merge of another key's value");
    if made.is_empty() {
        made.push(u8::try_from(merge.key).expect("a few keys"));
    }
    made.push(b'm');
    let mut said = false;
    for bit in (0..4).filter(|bit| merge.changes.0 >> bit & 1 != 0) {
        let ended = checks::call(true, |err| {
            // SAFETY: all that is handed in lives.
            unsafe {
                match bit {
                    0 => wtcache_change_put(change, made.as_ptr().cast(), made.len(), err),
                    1 => wtcache_change_delete(change, err),
                    2 => wtcache_change_keep(change, err),
                    _ => wtcache_change_refuse(change, ptr::null(), err),
                }
            }
        });
        let expected = match (bit, said) {
            (3, _) => WTCACHE_ERR_ARGUMENT,
            (_, true) => WTCACHE_ERR_ANSWERED,
            (_, false) => WTCACHE_OK,
        };
        assert_eq!(ended.status(), expected);
        said |= bit != 3;
    }
}

impl Run {
    /// Whether it is one of these.
    pub(crate) fn in_background(&mut self, operation: &Operation) -> bool {
        match operation {
            Operation::PutOptimistic(key) => self.leave(*key, 0, Changes(0)),
            Operation::DeleteOptimistic(key) => self.leave(*key, 1, Changes(0)),
            Operation::MergeOptimistic(key, changes) => self.leave(*key, 2, *changes),
            Operation::WaitPending(number, timeout) => {
                let handle = pick(&self.pending, *number);
                let mut entry = Out::new(self.wants_output());
                let timeout = u64::from(timeout % 4);
                // SAFETY: the handle lives, or is NULL.
                let status =
                    self.calls_merged(|err| unsafe { wtcache_pending_wait(handle, timeout, entry.place(), err) });
                // SAFETY: the same.
                assert!(
                    status == WTCACHE_PENDING || handle.is_null() || unsafe { wtcache_pending_has_ended(handle) } == 1
                );
                let entry = entry.taken(status == WTCACHE_OK);
                self.keep_entry(entry, None);
            }
            Operation::CancelPending(number) => {
                let handle = pick(&self.pending, *number);
                // SAFETY: the handle lives, or is NULL.
                self.calls(|err| unsafe { wtcache_pending_cancel(handle, err) });
            }
            Operation::FreePending(number) => {
                if let Some(place) = place(&self.pending, *number) {
                    // SAFETY: it is ours, and freed once.
                    unsafe { wtcache_pending_free(self.pending.swap_remove(place)) };
                }
            }
            Operation::Queue(threads, most) => self.queue(usize::from(threads % 4), usize::from(most % 8)),
            Operation::GetAsync(queue, key) => self.get_async(*queue, *key),
            Operation::GetManyAsync(queue, keys) => self.get_many_async(*queue, keys),
            Operation::PutAsync(queue, key, expects) => self.write_async(*queue, *key, *expects, true),
            Operation::DeleteAsync(queue, key, expects) => self.write_async(*queue, *key, *expects, false),
            Operation::TransactionAsync(queue, number) => {
                let transaction = place(&self.transactions, *number).map(|place| self.transactions[place].0);
                let transaction = transaction.unwrap_or(ptr::null_mut());
                self.touch_all();
                self.asks(*queue, Asked::Transaction, |queue, token, id, err| {
                    // SAFETY: all that is handed in lives.
                    unsafe { wtcache_transaction_async(queue, transaction, token, id, err) }
                });
            }
            Operation::PendingAsync(queue, number) => {
                let handle = pick(&self.pending, *number);
                self.asks(*queue, Asked::Pending, |queue, token, id, err| {
                    // SAFETY: all that is handed in lives.
                    unsafe { wtcache_pending_async(queue, handle, token, id, err) }
                });
            }
            Operation::Next(queue) => self.next(*queue),
            Operation::Cancel(queue, number) => {
                let Some(place) = place(&self.queues, *queue) else { return true };
                let Queue { handle, outstanding } = &self.queues[place];
                let (handle, id) = (*handle, outstanding.keys().copied().min().unwrap_or(0) + u64::from(number % 4));
                // SAFETY: the handle lives.
                self.calls(|err| unsafe { wtcache_queue_cancel(handle, id, err) });
            }
            Operation::FreeQueue(queue) => {
                if let Some(place) = place(&self.queues, *queue) {
                    self.queues.swap_remove(place).free();
                }
            }
            _ => return false,
        }
        true
    }

    /// Leaves a write pending; from then on nobody judges what reads of the key give.
    fn leave(&mut self, key: Key, how: u8, changes: Changes) {
        let ((cache, origin), (at, len), options) = (self.cache(), self.key(key), self.options(false));
        let number = key.number();
        if let Some(origin) = origin {
            origin.begin(number);
        }
        let value = self.shared.value(number);
        let (there, length) = bytes(&value);
        let mut pending = Out::new(self.wants_output());
        let (place, out) = (options.place(), pending.place());
        // SAFETY: all that is handed in lives, and what a merge is given until it came back.
        let status = match how {
            0 => self.calls(|err| unsafe { wtcache_put_optimistic(cache, at, len, there, length, place, out, err) }),
            1 => self.calls(|err| unsafe { wtcache_delete_optimistic(cache, at, len, place, out, err) }),
            _ => {
                let user = Arc::new(Merge { ticket: Ticket::new(), key: number, changes });
                let user_data = Arc::as_ptr(&user).cast_mut().cast();
                self.shared.tickets().keep(user, true);
                let merges: wtcache_merge_call = if changes.0 == 0xff { None } else { Some(merge) };
                let back: Option<unsafe extern "C" fn(*mut c_void)> = Some(give_back);
                self.calls(|err| unsafe {
                    wtcache_merge_optimistic(cache, at, len, merges, user_data, back, place, out, err)
                })
            }
        };
        let pending = pending.given(status == WTCACHE_OK);
        if !pending.is_null() {
            self.pending.push(pending);
        }
    }

    fn queue(&mut self, threads: usize, most: usize) {
        if self.queues.len() >= MOST_QUEUES {
            return;
        }
        let mut queue = Out::new(self.wants_output());
        // SAFETY: all that is handed in lives.
        let status = self.calls(|err| unsafe { wtcache_queue_new(threads, most, queue.place(), err) });
        let handle = queue.given(status == WTCACHE_OK);
        if !handle.is_null() {
            // SAFETY: the handle lives.
            assert!(unsafe { wtcache_queue_descriptor(handle) } >= 0);
            self.queues.push(Queue { handle, outstanding: HashMap::new() });
        }
    }

    /// Gives a queue a call, whose token says which it is.
    fn asks(
        &mut self,
        queue: u8,
        asked: Asked,
        call: impl FnOnce(*mut wtcache_queue, *mut c_void, *mut u64, *mut *mut wtcache_error) -> i32,
    ) {
        let place = place(&self.queues, queue).filter(|_| self.odd != Odd::NullHandle);
        let handle = place.map_or(ptr::null_mut(), |place| self.queues[place].handle);
        let token: *mut c_void = ptr::without_provenance_mut(0x77);
        let mut id = u64::MAX;
        let there = &raw mut id;
        let status = self.calls(|err| call(handle, token, there, err));
        assert_ne!(id, u64::MAX, "the number is not overwritten, status {status}");
        assert_eq!(id == 0, status != WTCACHE_OK, "a number of a call that was not taken, or none");
        if let Some(place) = place.filter(|_| status == WTCACHE_OK) {
            let before = self.queues[place].outstanding.insert(id, asked);
            assert!(before.is_none(), "two calls with one number: {before:?}");
        }
    }

    fn get_async(&mut self, queue: u8, key: Key) {
        let ((cache, _), (at, len), options) = (self.cache(), self.key(key), self.options(true));
        self.asks(queue, Asked::Record(key.number()), |queue, token, id, err| {
            // SAFETY: all that is handed in lives.
            unsafe { wtcache_get_async(queue, cache, at, len, options.place(), token, id, err) }
        });
    }

    fn get_many_async(&mut self, queue: u8, keys: &[Key]) {
        let ((cache, _), options) = (self.cache(), self.options(true));
        let numbers: Vec<usize> = keys.iter().take(4).map(|key| key.number()).collect();
        let keys = list(numbers.iter().map(|key| KEYS[*key]));
        let at = if self.odd == Odd::NullKey { ptr::null() } else { keys.as_ptr() };
        self.asks(queue, Asked::Records(numbers), |queue, token, id, err| {
            // SAFETY: all that is handed in lives.
            unsafe { wtcache_get_many_async(queue, cache, at, keys.len(), options.place(), token, id, err) }
        });
    }

    fn write_async(&mut self, queue: u8, key: Key, expects: Option<Expects>, puts: bool) {
        let ((cache, origin), (at, len), options) = (self.cache(), self.key(key), self.options(false));
        let number = key.number();
        let value = self.shared.value(number);
        let (there, length) = bytes(&value);
        let expected = expects.map(|expects| self.expect(origin.as_ref(), number, expects));
        let expect = expected.as_ref().map_or(ptr::null(), |expected| expected.expect.place());
        if let Some(origin) = &origin {
            origin.begin(number);
        }
        let place = options.place();
        self.asks(queue, Asked::Write(number), |queue, token, id, err| {
            // SAFETY: all that is handed in lives.
            unsafe {
                if puts {
                    wtcache_put_async(queue, cache, at, len, there, length, expect, place, token, id, err)
                } else {
                    wtcache_delete_async(queue, cache, at, len, expect, place, token, id, err)
                }
            }
        });
    }

    /// Takes a completion out, and looks at all of it.
    fn next(&mut self, queue: u8) {
        let place = place(&self.queues, queue).filter(|_| self.odd != Odd::NullHandle);
        let handle = place.map_or(ptr::null_mut(), |place| self.queues[place].handle);
        let mut completion = Out::new(self.wants_output());
        // SAFETY: the handle lives, or is NULL.
        let status = self.calls(|err| unsafe { wtcache_queue_next(handle, completion.place(), err) });
        let completion = completion.given(status == WTCACHE_OK);
        let Some(place) = place.filter(|_| !completion.is_null()) else { return };
        // SAFETY: the completion lives until it is freed.
        unsafe {
            let id = wtcache_completion_id(completion);
            let asked = self.queues[place].outstanding.remove(&id).expect("completed once, and asked for");
            assert_eq!(wtcache_completion_token(completion).addr(), 0x77);
            let (status, error) = (wtcache_completion_status(completion), wtcache_completion_error(completion));
            assert!((WTCACHE_ERR_PARTIAL..=WTCACHE_NOT_FOUND).contains(&status), "status {status}");
            assert_eq!(error.is_null(), status >= 0);
            if !error.is_null() {
                check_error(error, status);
            }
            let entry = wtcache_completion_entry(completion);
            let (results, transacted) =
                (wtcache_completion_results(completion), wtcache_completion_transacted(completion));
            assert!(status == WTCACHE_OK || entry.is_null());
            match asked {
                Asked::Record(key) => {
                    assert_eq!(entry.is_null(), status != WTCACHE_OK);
                    check_entry(entry, Some(key));
                }
                Asked::Write(key) => drop(check_entry(entry, Some(key))),
                Asked::Pending => drop(check_entry(entry, None)),
                Asked::Records(keys) => {
                    assert_eq!(results.is_null(), status != WTCACHE_OK);
                    if !results.is_null() {
                        check_results(results, &keys, true);
                    }
                }
                Asked::Transaction => {
                    if !transacted.is_null() {
                        check_transacted(transacted, status);
                    }
                }
            }
            let kept = wtcache_entry_clone(entry);
            wtcache_completion_free(completion);
            self.keep_entry(kept, None);
        }
    }
}
