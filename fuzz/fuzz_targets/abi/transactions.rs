//! Transactions: described, run, started, and what came of them.

use std::ptr;
use std::sync::Arc;

use wtcache_ffi::*;

use crate::calls::list;
use crate::checks::{self, Out, Sized, check_entry, check_error, give_back, slice};
use crate::input::{KEYS, Key, Odd, Operation, Size, StepInput};
use crate::origin::{self, StepUser, bytes};
use crate::{Run, pick, place};

impl Run {
    /// Whether it is one of these.
    pub(crate) fn in_transactions(&mut self, operation: &Operation) -> bool {
        match operation {
            Operation::Transaction => self.transaction(),
            Operation::UpdateIn(number, key, lifetime) => {
                let (handle, _) = self.described(*number);
                let ((at, len), value) = (self.key(*key), self.shared.value(key.number()));
                let ((there, length), lifetime) = (bytes(&value), lifetime.ms());
                // SAFETY: all that is handed in lives.
                self.calls(|err| unsafe { wtcache_transaction_update(handle, at, len, there, length, lifetime, err) });
            }
            Operation::RemoveIn(number, key) => {
                let ((handle, _), (at, len)) = (self.described(*number), self.key(*key));
                // SAFETY: all that is handed in lives.
                self.calls(|err| unsafe { wtcache_transaction_remove(handle, at, len, err) });
            }
            Operation::StepIn(number, step) => self.add_step(*number, *step),
            Operation::InvalidateIn(number, how) => {
                let (handle, _) = self.described(*number);
                self.calls(|err| {
                    // SAFETY: all that is handed in lives.
                    unsafe {
                        match how % 4 {
                            0 => wtcache_transaction_invalidate_prefix(handle, b"a".as_ptr().cast(), 1, err),
                            1 => wtcache_transaction_invalidate_pattern(handle, b"a:*".as_ptr().cast(), 3, err),
                            2 => wtcache_transaction_invalidate_pattern(handle, b"{".as_ptr().cast(), 1, err),
                            _ => wtcache_transaction_invalidate_tag(handle, b"t".as_ptr().cast(), 1, err),
                        }
                    }
                });
            }
            Operation::DeadlinesIn(number, ms) => {
                let (handle, _) = self.described(*number);
                let (deadline, undo) = (u64::from(ms % 4), u64::from(ms >> 2 & 3));
                // SAFETY: the handle lives, or is NULL.
                self.calls(|err| unsafe { wtcache_transaction_set_deadline_ms(handle, deadline, err) });
                // SAFETY: the same.
                self.calls(|err| unsafe { wtcache_transaction_set_undo_deadline_ms(handle, undo, err) });
            }
            Operation::RunTransaction(number) => {
                let (handle, _) = self.described(*number);
                self.touch_all();
                // SAFETY: the handle lives, or is NULL.
                self.transacted(|result, err| unsafe { wtcache_transaction_run(handle, result, err) });
                self.touched_all();
            }
            Operation::StartTransaction(number) => {
                let (handle, _) = self.described(*number);
                let mut started = Out::new(self.wants_output());
                // It goes on for as long as it likes: from now on nobody judges what reads give.
                self.touch_all();
                // SAFETY: the handle lives, or is NULL.
                let status = self.calls(|err| unsafe { wtcache_transaction_start(handle, started.place(), err) });
                let started = started.given(status == WTCACHE_OK);
                if !started.is_null() {
                    self.started.push(started);
                }
            }
            Operation::FreeTransaction(number) => {
                if let Some(place) = place(&self.transactions, *number) {
                    // SAFETY: it is ours, and freed once.
                    unsafe { wtcache_transaction_free(self.transactions.swap_remove(place).0) };
                }
            }
            Operation::WaitStarted(number, timeout) => {
                let (handle, timeout) = (pick(&self.started, *number), u64::from(timeout % 4));
                // SAFETY: the handle lives, or is NULL.
                self.transacted(|result, err| unsafe { wtcache_started_wait(handle, timeout, result, err) });
            }
            Operation::FreeStarted(number) => {
                if let Some(place) = place(&self.started, *number) {
                    // SAFETY: it is ours, and freed once.
                    unsafe { wtcache_started_free(self.started.swap_remove(place)) };
                }
            }
            _ => return false,
        }
        true
    }

    fn transaction(&mut self) {
        let (cache, origin) = self.cache();
        let mut transaction = Out::new(self.wants_output());
        // SAFETY: all that is handed in lives.
        let status = self.calls(|err| unsafe { wtcache_transaction_new(cache, transaction.place(), err) });
        let handle = transaction.given(status == WTCACHE_OK);
        if let Some(origin) = origin.filter(|_| !handle.is_null()) {
            self.transactions.push((handle, origin.number()));
        }
    }

    /// A transaction, and the number of its origin.
    fn described(&self, number: u8) -> (*mut wtcache_transaction, usize) {
        let place = place(&self.transactions, number).filter(|_| self.odd != Odd::NullHandle);
        place.map_or((ptr::null_mut(), 0), |place| self.transactions[place])
    }

    fn add_step(&mut self, number: u8, input: StepInput) {
        let (handle, origin) = self.described(number);
        let user = StepUser::new(&self.origins[origin], input);
        let user_data = Arc::as_ptr(&user).cast_mut().cast();
        self.shared.tickets().keep(user, self.size() != Size::Zero);
        let key = |key: Key| wtcache_bytes { data: KEYS[key.number()].as_ptr().cast(), len: KEYS[key.number()].len() };
        let values = [self.shared.value(input.key.number()), self.shared.value(input.undo_key.number())];
        let values_in_c = list(values.iter().map(Vec::as_slice));
        let writes = [key(input.key), key(input.undo_key)];
        let step = wtcache_step {
            struct_size: 0,
            does: i32::from(input.does % 5),
            undo: i32::from(input.undo % 6),
            key: key(input.key),
            value: values_in_c[0],
            call: Some(origin::step),
            writes: writes.as_ptr(),
            write_count: if input.writes { 2 } else { 0 },
            undo_key: key(input.undo_key),
            undo_value: values_in_c[1],
            undo_call: if input.undo == 0xff { None } else { Some(origin::step) },
            user_data,
            destroy: Some(give_back),
            deadline_ms: u64::from(input.deadline % 4),
            undo_if_unknown: i32::from(input.undo_if_unknown % 2),
            reserved: 0,
        };
        // SAFETY: it begins with its size.
        let step = unsafe { Sized::new(step, self.size()) };
        // SAFETY: all that is handed in lives.
        self.calls(|err| unsafe { wtcache_transaction_step(handle, step.place(), err) });
    }

    /// Makes a call that tells what came of a transaction.
    fn transacted(&mut self, call: impl FnOnce(*mut *mut wtcache_transacted, *mut *mut wtcache_error) -> i32) {
        let mut result = Out::new(self.wants_output());
        let place = result.place();
        let status = self.calls_merged(|err| call(place, err));
        // There is one also where it did not commit, but not where it was not run.
        let result = result.taken(true);
        assert!(status <= WTCACHE_OK || result.is_null(), "a result of what has not ended");
        assert!(status != WTCACHE_OK || !result.is_null() || !self.wants_output());
        if result.is_null() {
            return;
        }
        check_transacted(result, status);
        // SAFETY: the result lives until it is freed, and a doubt is ours.
        unsafe {
            for index in 0..wtcache_transacted_doubt_count(result) {
                let doubt = wtcache_transacted_doubt(result, index);
                self.keep_doubt(doubt);
            }
            wtcache_transacted_free(result);
        }
    }

    /// As `calls`, where a merge that said nothing is told as a panic: that of the callback.
    pub(crate) fn calls_merged(&mut self, call: impl FnOnce(*mut *mut wtcache_error) -> i32) -> i32 {
        let checks::Ended { status, error } = checks::call_merged(self.odd != Odd::NullError, call);
        if !error.is_null() {
            self.errors.push(error);
        }
        status
    }
}

/// Looks at all of a result.
pub(crate) fn check_transacted(result: *const wtcache_transacted, status: i32) {
    // SAFETY: the result lives.
    unsafe {
        let (end, error) = (wtcache_transacted_end(result), wtcache_transacted_error(result));
        assert!((WTCACHE_COMMITTED..=WTCACHE_IN_DOUBT).contains(&end));
        assert_eq!((end == WTCACHE_COMMITTED, status == WTCACHE_OK), (error.is_null(), error.is_null()));
        if !error.is_null() {
            check_error(error, status);
        }
        let steps = wtcache_transacted_step_count(result);
        for step in 0..=steps {
            let (end, undo) = (wtcache_transacted_step(result, step), wtcache_transacted_undo(result, step));
            let (error, undo_error) =
                (wtcache_transacted_step_error(result, step), wtcache_transacted_undo_error(result, step));
            for (end, error) in [(end, error), (undo, undo_error)] {
                assert!((WTCACHE_STEP_NOT_RUN..=WTCACHE_STEP_UNKNOWN).contains(&end));
                assert!(step < steps || end == WTCACHE_STEP_NOT_RUN);
                assert_eq!(error.is_null(), end <= WTCACHE_STEP_APPLIED);
                if !error.is_null() {
                    check_error(error, wtcache_error_status(error));
                }
            }
            check_entry(wtcache_transacted_entry(result, step), None);
            let mut len = 0;
            let value = wtcache_transacted_value(result, step, &raw mut len);
            assert!(value.is_null() || KEYS.get(usize::from(slice(value, len)[0])).is_some());
        }
        assert!(wtcache_transacted_doubt(result, wtcache_transacted_doubt_count(result)).is_null());
    }
}
