#![no_main]
//! Sequences of calls of the C ABI, made as a program in C would make them: raw handles in tables, a source of callbacks.
//!
//! What is checked of every call is in `checks.rs`: a status that there is, an error exactly where it is negative, outputs that are
//! overwritten and NULL or 0 unless the call gave one, everything that was entrusted given back once. Besides, a read gives what was
//! applied last where nothing else touched the key, entries stay as they are, permits and completions come in their order, and at
//! the end AddressSanitizer finds no leak. Time is real and deadlines are a few milliseconds, so that nothing hangs.

mod background;
mod calls;
mod checks;
mod extracts;
mod input;
mod origin;
mod transactions;

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libfuzzer_sys::fuzz_target;
use wtcache_ffi::*;

use crate::background::Queue;
use crate::calls::Permit;
use crate::checks::{Ended, Out, Sized, check_entry, give_back, slice};
use crate::input::{CallInput, Input, KEYS, Key, Odd, Opening, Operation, Size, Step, Tells};
use crate::origin::{Handle, Listens, Origin, Shared, bytes};

/// More operations find nothing that as many do not find.
const MOST_OPERATIONS: usize = 48;
const MOST_CACHES: usize = 3;

fuzz_target!(|input: Input| {
    let mut run = Run::new();
    run.open(&input.opening);
    for step in input.steps.iter().take(MOST_OPERATIONS) {
        run.step(step);
    }
    run.free_all(input.steps.len().is_multiple_of(2));
});

/// The tables of a program, and what is odd about its next call.
struct Run {
    shared: Arc<Shared>,
    origins: Vec<Arc<Origin>>,
    entries: Vec<(*mut wtcache_entry, Vec<u8>)>,
    errors: Vec<*mut wtcache_error>,
    doubts: Vec<*mut wtcache_doubt>,
    permits: Vec<Permit>,
    pending: Vec<*mut wtcache_pending>,
    transactions: Vec<(*mut wtcache_transaction, usize)>,
    started: Vec<*mut wtcache_started>,
    queues: Vec<Queue>,
    odd: Odd,
    call: Option<CallInput>,
}

/// The options of a call, with what they point to.
struct CallOptions {
    options: Option<Sized<wtcache_call>>,
    _idempotency_key: Box<[u8; 16]>,
}

impl CallOptions {
    fn place(&self) -> *const wtcache_call {
        self.options.as_ref().map_or(ptr::null(), Sized::place)
    }
}

/// The one of that number; NULL where there is none, and sometimes.
fn pick<T>(handles: &[*mut T], number: u8) -> *mut T {
    match handles.len() {
        0 => ptr::null_mut(),
        _ if number == u8::MAX => ptr::null_mut(),
        len => handles[usize::from(number) % len],
    }
}

fn place<T>(all: &[T], number: u8) -> Option<usize> {
    usize::from(number).checked_rem(all.len())
}

impl Run {
    fn new() -> Self {
        Self {
            shared: Arc::default(),
            origins: Vec::new(),
            entries: Vec::new(),
            errors: Vec::new(),
            doubts: Vec::new(),
            permits: Vec::new(),
            pending: Vec::new(),
            transactions: Vec::new(),
            started: Vec::new(),
            queues: Vec::new(),
            odd: Odd::Nothing,
            call: None,
        }
    }

    fn step(&mut self, step: &Step) {
        (self.odd, self.call) = (step.odd, step.call);
        match &step.operation {
            Operation::Open(opening) => self.open(opening),
            Operation::CloneCache(number) => self.clone_cache(*number),
            Operation::FreeCache(number) => self.free_cache(*number),
            Operation::Close(timeout) => self.close(*timeout),
            Operation::NextLoad(says) => self.origins.iter().for_each(|origin| origin.next_load(*says)),
            Operation::NextWrite(says) => self.origins.iter().for_each(|origin| origin.next_write(*says)),
            Operation::Late(how) => self.origins.iter().for_each(|origin| origin.answer_late(*how)),
            Operation::CloneEntry(number) => {
                if let Some(place) = place(&self.entries, *number) {
                    // SAFETY: the entry lives.
                    let cloned = unsafe { wtcache_entry_clone(self.entries[place].0) };
                    self.entries.push((cloned, self.entries[place].1.clone()));
                }
            }
            Operation::FreeEntry(number) => {
                if let Some(place) = place(&self.entries, *number) {
                    let (entry, value) = self.entries.swap_remove(place);
                    free_entry(entry, &value);
                }
            }
            Operation::FreeError(number) => {
                if let Some(place) = place(&self.errors, *number) {
                    // SAFETY: the error is ours, and freed once.
                    unsafe { wtcache_error_free(self.errors.swap_remove(place)) };
                }
            }
            Operation::Stats => self.stats(),
            Operation::StatsJson => self.stats_json(),
            operation => {
                let known = self.in_calls(operation)
                    || self.in_background(operation)
                    || self.in_transactions(operation)
                    || self.in_extracts(operation);
                assert!(known, "{operation:?} is nobody's");
            }
        }
    }

    fn size(&self) -> Size {
        if let Odd::Struct(size) = self.odd { size } else { Size::Right }
    }

    fn wants_output(&self) -> bool {
        self.odd != Odd::NullOutput
    }

    /// Makes a call, with its error kept for later.
    fn calls(&mut self, call: impl FnOnce(*mut *mut wtcache_error) -> i32) -> i32 {
        let Ended { status, error } = checks::call(self.odd != Odd::NullError, call);
        if !error.is_null() {
            self.errors.push(error);
        }
        status
    }

    /// The cache that was opened last, or NULL.
    fn cache(&self) -> (*mut wtcache_cache, Option<Arc<Origin>>) {
        let last = self.shared.handles().last().copied();
        match last {
            Some(Handle { cache, origin }) if self.odd != Odd::NullHandle => {
                (cache, Some(Arc::clone(&self.origins[origin])))
            }
            _ => (ptr::null_mut(), None),
        }
    }

    fn key(&self, key: Key) -> (*const c_void, usize) {
        if self.odd == Odd::NullKey { (ptr::null(), 1) } else { bytes(KEYS[key.number()]) }
    }

    fn options(&self, reads: bool) -> CallOptions {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        // Two writes with one key would be one to an origin that knows them by it.
        let mut idempotency_key = Box::new([7; 16]);
        idempotency_key[..8].copy_from_slice(&NUMBER.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let options = self.call.map(|call| {
            let want = if reads || call.mode % 16 == 5 { call.mode >> 4 } else { 0 };
            let options = wtcache_call {
                struct_size: 0,
                deadline_ms: u64::from(call.deadline % 4),
                idempotency_key: if call.idempotency_key { idempotency_key.as_ptr().cast() } else { ptr::null() },
                mode: match call.mode % 16 {
                    1 | 2 if reads => i32::from(call.mode % 16),
                    3 => 3,
                    4 => 2,
                    _ => WTCACHE_MODE_DEFAULT,
                },
                // What is of a read only, a write refuses, and now and then gets.
                flags: match want {
                    1 => WTCACHE_CALL_ANEW,
                    2 => WTCACHE_CALL_NOT_KEPT,
                    3 => WTCACHE_CALL_ANEW | WTCACHE_CALL_NOT_KEPT,
                    4 if reads => 4,
                    _ => 0,
                },
                lifetime_ms: if reads && !call.idempotency_key { 0 } else { call.lifetime.ms() },
                max_age_ms: if matches!(want, 5 | 6) { u64::from(want) } else { 0 },
                min_fresh_ms: u64::from(want == 7),
                max_stale_ms: 0,
                stale_if_error_ms: 0,
            };
            // SAFETY: it begins with its size.
            unsafe { Sized::new(options, self.size()) }
        });
        CallOptions { options, _idempotency_key: idempotency_key }
    }

    fn open(&mut self, opening: &Opening) {
        if self.shared.handles().len() >= MOST_CACHES {
            return;
        }
        let number = self.origins.len();
        let refused = self.odd == Odd::NullHandle || self.odd == Odd::NullKey;
        let tells = if opening.config && !refused { opening.tells } else { Tells::NOTHING };
        let origin = Origin::new(number, &self.shared, opening.declares, tells);
        self.origins.push(Arc::clone(&origin));
        let config = if opening.config { self.config(opening, &origin) } else { ptr::null_mut() };
        // Two bits each, so that most sources have all.
        let without = |bits: u8| opening.without & bits == bits;
        let source = wtcache_source {
            struct_size: 0,
            user_data: Arc::as_ptr(&origin).cast_mut().cast(),
            destroy: Some(give_back),
            get: if without(0x81) { None } else { Some(origin::get) },
            put: if without(0x12) { None } else { Some(origin::put) },
            remove: if without(0x24) { None } else { Some(origin::remove) },
            settle_window_ms: 1 + u64::from(opening.window % 6),
            stores_verbatim: (opening.declares >> 3 & 1).into(),
            honours_preconditions: (opening.declares >> 1 & 1).into(),
            honours_idempotency: (opening.declares >> 2 & 1).into(),
            versions_never_reused: (opening.declares >> 4 & 1).into(),
        };
        // SAFETY: it begins with its size.
        let source = unsafe { Sized::new(source, self.size()) };
        let is_read = self.size() != Size::Zero && self.odd != Odd::NullHandle;
        let source = if self.odd == Odd::NullHandle { ptr::null() } else { source.place() };
        self.shared.tickets().keep(origin, is_read);
        let mut cache = Out::new(self.wants_output());
        // SAFETY: all that is handed in lives.
        let status = self.calls(|err| unsafe { wtcache_open_with_source(config, source, cache.place(), err) });
        let cache = cache.given(status == WTCACHE_OK);
        if !cache.is_null() {
            assert!(!(tells.indexes && tells.twice), "opened with two indexes of one name");
            self.shared.handles().push(Handle { cache, origin: number });
        }
        // SAFETY: it is ours, and freed once.
        unsafe { wtcache_config_free(config) };
    }

    fn config(&mut self, opening: &Opening, origin: &Arc<Origin>) -> *mut wtcache_config {
        let config = wtcache_config_new();
        let on = |bit: u32| opening.options >> bit & 1 != 0;
        let flag = |bit| i32::from(on(bit));
        // SAFETY: the configuration lives.
        unsafe {
            let set = |status: i32| assert_eq!(status, WTCACHE_OK);
            let none = ptr::null_mut();
            set(wtcache_config_set_capacity_bytes(config, 200 + 64 * u64::from(opening.capacity), none));
            set(wtcache_config_set_deadline_ms(config, 1 + u64::from(opening.deadline % 4), none));
            set(wtcache_config_set_optimistic_deadline_ms(config, 1 + u64::from(opening.deadline % 4), none));
            set(wtcache_config_set_shards(config, 1, none));
            set(wtcache_config_set_optimistic_threads(config, 1, none));
            set(wtcache_config_set_refresh_threads(config, 1, none));
            set(wtcache_config_set_in_doubt_writes_wait(config, flag(0), none));
            set(wtcache_config_set_absent_after_delete(config, flag(1), none));
            set(wtcache_config_set_clean_start(config, flag(2), none));
            set(wtcache_config_set_key_index(config, flag(3), none));
            if on(4) {
                set(wtcache_config_set_lifetime_ms(config, 1 + u64::from(opening.window % 4), none));
            }
            if on(5) {
                set(wtcache_config_set_stale_while_revalidate_ms(config, 2, none));
            }
            if on(6) {
                set(wtcache_config_set_stale_if_error_ms(config, 2, none));
            }
            if on(7) {
                set(wtcache_config_set_refresh_ahead(config, 0.5, none));
            }
            if on(8) {
                set(wtcache_config_set_most_doubts(config, 1 + usize::from(opening.window % 3), none));
            }
            if on(9) {
                set(wtcache_config_set_turn_queue(config, 1, none));
            }
            if on(10) {
                set(wtcache_config_set_optimistic_most(config, 2, none));
            }
            if on(11) {
                set(wtcache_config_set_audit_every_ms(config, 1, none));
            }
            if on(12) {
                set(wtcache_config_set_negative_lifetime_ms(config, 0, none));
            }
            if on(13) {
                set(wtcache_config_set_jitter(config, 1.0, none));
            }
        }
        if let Some(inside) = opening.listens {
            let listens = Listens::new(origin, inside);
            let user_data = Arc::as_ptr(&listens).cast_mut().cast();
            self.shared.tickets().keep(listens, true);
            let to = if self.odd == Odd::NullHandle { ptr::null_mut() } else { config };
            let listener: wtcache_listener_call = if self.odd == Odd::NullKey { None } else { Some(origin::listen) };
            // SAFETY: what it is told with is kept until it came back.
            self.calls(|err| unsafe { wtcache_config_set_listener(to, listener, user_data, Some(give_back), err) });
        }
        self.set_extracts(config, opening.tells);
        config
    }

    fn clone_cache(&mut self, number: u8) {
        let mut handles = self.shared.handles();
        if let Some(place) = place(&handles, number)
            && handles.len() < 2 * MOST_CACHES
        {
            let Handle { cache, origin } = handles[place];
            // SAFETY: the handle lives.
            let cache = unsafe { wtcache_cache_clone(cache) };
            assert!(!cache.is_null());
            handles.push(Handle { cache, origin });
        }
    }

    fn free_cache(&mut self, number: u8) {
        let mut handles = self.shared.handles();
        let Some(place) = place(&handles, number) else { return };
        let handle = handles.remove(place);
        drop(handles);
        // SAFETY: nobody finds it any more.
        unsafe { wtcache_cache_free(handle.cache) };
    }

    fn close(&mut self, timeout: u8) {
        let (cache, _) = self.cache();
        let mut report = Out::new(self.wants_output());
        // SAFETY: all that is handed in lives.
        let status = self.calls(|err| unsafe { wtcache_close(cache, u64::from(timeout % 3), report.place(), err) });
        let report = report.given(status == WTCACHE_OK);
        // SAFETY: the report lives until it is freed.
        unsafe {
            for which in WTCACHE_CLOSE_UNFINISHED - 1..=WTCACHE_CLOSE_ROLLED_BACK + 1 {
                for index in 0..wtcache_close_report_count(report, which) {
                    let mut len = 0;
                    let key = wtcache_close_report_key(report, which, index, &raw mut len);
                    assert!(KEYS.contains(&slice(key, len)), "a report of no key");
                }
            }
            wtcache_close_report_free(report);
        }
    }

    fn stats(&mut self) {
        let (cache, _) = self.cache();
        let size = self.size();
        let mut stats = wtcache_stats { hits: u64::MAX, ..wtcache_stats::default() };
        stats.struct_size = if size == Size::Zero { 0 } else { size_of::<wtcache_stats>() };
        let place = if self.wants_output() { &raw mut stats } else { ptr::null_mut() };
        // SAFETY: all that is handed in lives.
        let status = self.calls(|err| unsafe { wtcache_get_stats(cache, place, err) });
        assert!(status != WTCACHE_OK || stats.hits != u64::MAX, "stats that were not told");
    }

    fn stats_json(&mut self) {
        let (cache, _) = self.cache();
        let (mut json, mut len) = (Out::new(self.wants_output()), 77);
        // SAFETY: all that is handed in lives.
        let status = self.calls(|err| unsafe { wtcache_get_stats_json(cache, json.place(), &raw mut len, err) });
        let json = json.given(status == WTCACHE_OK);
        // SAFETY: the string lives until it is freed.
        unsafe {
            assert!(status == WTCACHE_OK || len == 0, "a length of nothing");
            assert!(json.is_null() || slice(json.cast(), len).starts_with(b"{"));
            wtcache_string_free(json);
        }
    }

    fn keep_entry(&mut self, entry: *mut wtcache_entry, key: Option<usize>) -> Option<Vec<u8>> {
        let value = check_entry(entry, key)?;
        self.entries.push((entry, value.clone()));
        Some(value)
    }

    /// Frees all handles, the caches first or last, and waits for what is entrusted.
    fn free_all(mut self, caches_first: bool) {
        let handles = std::mem::take(&mut *self.shared.handles());
        let free_caches = || {
            for handle in &handles {
                // SAFETY: each is ours, nobody finds it any more, and it is freed once.
                unsafe { wtcache_cache_free(handle.cache) };
            }
        };
        if caches_first {
            free_caches();
        }
        // SAFETY: each is ours, and freed once.
        unsafe {
            self.permits.drain(..).for_each(Permit::free);
            self.pending.drain(..).for_each(|handle| wtcache_pending_free(handle));
            self.transactions.drain(..).for_each(|(handle, _)| wtcache_transaction_free(handle));
            self.started.drain(..).for_each(|handle| wtcache_started_free(handle));
            self.queues.drain(..).for_each(Queue::free);
            self.doubts.drain(..).for_each(|handle| wtcache_doubt_free(handle));
            self.errors.drain(..).for_each(|handle| wtcache_error_free(handle));
        }
        if !caches_first {
            free_caches();
        }
        self.entries.drain(..).for_each(|(entry, value)| free_entry(entry, &value));
        let tickets = std::mem::take(&mut *self.shared.tickets());
        // What comes last may still be entrusted by a callback under way, which keeps its source.
        tickets.all_come_back();
        let later = std::mem::take(&mut *self.shared.tickets());
        later.all_come_back();
    }
}

fn free_entry(entry: *mut wtcache_entry, value: &[u8]) {
    assert_eq!(check_entry(entry, None).as_deref(), Some(value), "an entry has changed");
    // SAFETY: it is ours, and freed once.
    unsafe { wtcache_entry_free(entry) };
}
