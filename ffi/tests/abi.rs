//! The C ABI through its functions, where threads and time matter more than what a C compiler makes of the header.

#![allow(unsafe_code, clippy::unwrap_used, clippy::undocumented_unsafe_blocks, reason = "tests, which call as C would")]

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use wtcache_ffi::*;

/// A source whose one record is always `value`, with version `r1`, served for a millisecond.
struct Once {
    renewals: AtomicUsize,
    destroyed: AtomicUsize,
}

unsafe extern "C" fn once_get(user_data: *mut c_void, request: *const wtcache_request, reply: *mut wtcache_reply) {
    let (once, request) = unsafe { (&*user_data.cast::<Once>(), &*request) };
    let record = wtcache_record {
        struct_size: size_of::<wtcache_record>(),
        version: b"r1".as_ptr().cast(),
        version_len: 2,
        lifetime_ms: 1,
        tags: ptr::null(),
        tag_count: 0,
        while_revalidate_ms: 0,
        if_error_ms: 0,
        age_ms: 0,
    };
    let mut err = ptr::null_mut();
    // Nothing is offered before a record is kept, which one that lives for 1 ms is not where the machine is slow.
    let status = if request.version.is_null() {
        unsafe { wtcache_reply_value(reply, b"value".as_ptr().cast(), 5, &raw const record, &raw mut err) }
    } else {
        let version = unsafe { std::slice::from_raw_parts(request.version.cast::<u8>(), request.version_len) };
        assert_eq!(version, b"r1");
        once.renewals.fetch_add(1, Ordering::SeqCst);
        let for_long = wtcache_record { lifetime_ms: 3_600_000, ..record };
        unsafe { wtcache_reply_unchanged(reply, &raw const for_long, &raw mut err) }
    };
    assert_eq!(status, WTCACHE_OK);
}

unsafe extern "C" fn once_destroy(user_data: *mut c_void) {
    unsafe { (*user_data.cast::<Once>()).destroyed.fetch_add(1, Ordering::SeqCst) };
}

/// A source with nothing set but its size.
fn nothing() -> wtcache_source {
    wtcache_source {
        struct_size: size_of::<wtcache_source>(),
        user_data: ptr::null_mut(),
        destroy: None,
        get: None,
        put: None,
        remove: None,
        settle_window_ms: 0,
        stores_verbatim: 0,
        honours_preconditions: 0,
        honours_idempotency: 0,
        versions_never_reused: 0,
    }
}

fn open(source: &wtcache_source) -> *mut wtcache_cache {
    let mut cache = ptr::null_mut();
    let status = unsafe { wtcache_open_with_source(ptr::null(), source, &raw mut cache, ptr::null_mut()) };
    assert_eq!(status, WTCACHE_OK);
    cache
}

#[test]
fn an_expired_record_is_offered_by_its_version_and_may_be_unchanged() {
    let once = Once { renewals: AtomicUsize::new(0), destroyed: AtomicUsize::new(0) };
    let user_data = ptr::from_ref(&once).cast_mut().cast();
    let cache = open(&wtcache_source { user_data, destroy: Some(once_destroy), get: Some(once_get), ..nothing() });
    let begun = Instant::now();
    // Until the first has expired, the reads are hits; after it was renewed they are hits for an hour.
    let mut after = 0;
    while after < 3 && begun.elapsed() < Duration::from_secs(20) {
        let (mut entry, mut len) = (ptr::null_mut(), 0);
        let key = b"k".as_ptr().cast();
        let status = unsafe { wtcache_get(cache, key, 1, ptr::null(), &raw mut entry, ptr::null_mut()) };
        assert_eq!(status, WTCACHE_OK);
        let value = unsafe { std::slice::from_raw_parts(wtcache_entry_value(entry, &raw mut len).cast::<u8>(), len) };
        assert_eq!(value, b"value");
        unsafe { wtcache_entry_free(entry) };
        if once.renewals.load(Ordering::SeqCst) >= 1 {
            after += 1;
        }
    }
    assert_eq!((after, once.renewals.load(Ordering::SeqCst)), (3, 1));
    unsafe { wtcache_cache_free(cache) };
    assert_eq!(once.destroyed.load(Ordering::SeqCst), 1);
}

/// A source that hands its replies to another thread.
struct Elsewhere(Mutex<mpsc::Sender<Reply>>);

struct Reply(*mut wtcache_reply);

// A reply may be used from any thread: the header says so.
unsafe impl Send for Reply {}

unsafe extern "C" fn hand_over(user_data: *mut c_void, _: *const wtcache_request, reply: *mut wtcache_reply) {
    let elsewhere = unsafe { &*user_data.cast::<Elsewhere>() };
    elsewhere.0.lock().unwrap().send(Reply(reply)).unwrap();
}

/// An answer and the deadline meet at about the same time: either the answer counts, and then both sides say so, or neither does.
#[test]
fn an_answer_at_the_deadline_counts_for_both_sides_or_for_neither() {
    let (sender, receiver) = mpsc::channel();
    let elsewhere = Elsewhere(Mutex::new(sender));
    let user_data = ptr::from_ref(&elsewhere).cast_mut().cast();
    let cache = open(&wtcache_source {
        user_data,
        get: Some(hand_over),
        put: Some(hand_over),
        settle_window_ms: 1,
        ..nothing()
    });
    let call = wtcache_call {
        struct_size: size_of::<wtcache_call>(),
        deadline_ms: 3,
        idempotency_key: ptr::null(),
        mode: WTCACHE_MODE_DEFAULT,
        flags: 0,
        lifetime_ms: WTCACHE_LIFETIME_DEFAULT,
        max_age_ms: 0,
        min_fresh_ms: 0,
        max_stale_ms: 0,
        stale_if_error_ms: 0,
    };
    let (answered, refused, not_sent) = std::thread::scope(|scope| {
        let (told, hear) = mpsc::channel();
        scope.spawn(move || {
            let mut round = 0_u32;
            while let Ok(reply) = receiver.recv() {
                let at = Instant::now() + Duration::from_micros(2_500 + u64::from(round % 20) * 50);
                while Instant::now() < at {
                    std::hint::spin_loop();
                }
                let status = unsafe { wtcache_reply_applied(reply.0, ptr::null_mut()) };
                // A second answer never counts.
                assert_eq!(unsafe { wtcache_reply_applied(reply.0, ptr::null_mut()) }, WTCACHE_ERR_ANSWERED);
                round += 1;
                told.send(status).unwrap();
            }
        });
        let (mut answered, mut refused, mut not_sent) = (0, 0, 0);
        for round in 0..400_u32 {
            let key = round.to_le_bytes();
            let (key, value) = (key.as_ptr().cast(), b"v".as_ptr().cast());
            let (entry, err) = (ptr::null_mut(), ptr::null_mut());
            let status = unsafe { wtcache_put(cache, key, 4, value, 1, &raw const call, entry, err) };
            if status == WTCACHE_ERR_DEADLINE {
                // A machine that was busy elsewhere: the deadline passed before the source was called.
                not_sent += 1;
                continue;
            }
            match (status, hear.recv()) {
                (WTCACHE_OK, Ok(WTCACHE_OK)) => answered += 1,
                (WTCACHE_ERR_IN_DOUBT, Ok(WTCACHE_ERR_ANSWERED)) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        unsafe { wtcache_cache_free(cache) };
        // The last sender goes, and with it the other thread.
        drop(elsewhere);
        (answered, refused, not_sent)
    });
    println!("answered {answered}, refused {refused}, not sent {not_sent}");
    assert!(answered + refused > 0);
}
