//! What is lent to somebody whose hold on it no lifetime can tell: the key of a caller, noted in a shard while the caller's write is out.
//!
//! The lender waits for nothing: it has to have everything back when its work ends. Invariant: a [`Lent`] lives no longer than the call of [`lend`]
//! that made it, for that does not return, nor unwinds, before it was dropped: should it still be out, the process ends.
#![allow(unsafe_code)]

use std::process::abort;
use std::ptr::NonNull;

use crate::sync::{AtomicBool, Ordering};

/// What was lent. Dropped, it is given back.
pub(crate) struct Lent<T: ?Sized>(NonNull<Loan<T>>);

struct Loan<T: ?Sized> {
    value: NonNull<T>,
    is_out: AtomicBool,
}

// SAFETY: it is a shared reference that says when it is dropped, by an atomic.
unsafe impl<T: Sync + ?Sized> Send for Lent<T> {}
// SAFETY: as above.
unsafe impl<T: Sync + ?Sized> Sync for Lent<T> {}

/// Does `work` with `value`, which whoever has it by then may keep until the end of `work`, and no longer.
pub(crate) fn lend<T: ?Sized, R>(value: &T, work: impl FnOnce(Lent<T>) -> R) -> R {
    let loan = Loan { value: NonNull::from(value), is_out: AtomicBool::new(true) };
    work(Lent(NonNull::from(&loan)))
}

impl<T: ?Sized> Lent<T> {
    pub(crate) fn get(&self) -> &T {
        // SAFETY: the loan lies in the frame of a call of `lend` that has not ended, since this is not dropped yet, and it is only ever shared. What
        // it points to is borrowed for that call.
        unsafe { self.0.as_ref().value.as_ref() }
    }
}

impl<T: ?Sized> Drop for Lent<T> {
    fn drop(&mut self) {
        // SAFETY: as in `get`; after the store it is not touched any more. Release: pairs with the load below, so that the lender's frame ends after
        // all that was done here.
        unsafe { self.0.as_ref() }.is_out.store(false, Ordering::Release);
    }
}

impl<T: ?Sized> Drop for Loan<T> {
    fn drop(&mut self) {
        if self.is_out.load(Ordering::Acquire) {
            // Who has it would go on to read what is not there any more.
            abort();
        }
    }
}

#[cfg(all(test, not(wtcache_shuttle)))]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    #[test]
    fn what_is_lent_is_seen_elsewhere_and_given_back() {
        let place: Mutex<Option<Lent<[u8]>>> = Mutex::new(None);
        let key = b"bolts".to_vec();
        let seen = lend(&key[..], |lent| {
            *place.lock().expect("no panic") = Some(lent);
            let elsewhere = || place.lock().expect("no panic").take().map(|lent| lent.get().to_vec());
            thread::scope(|scope| scope.spawn(elsewhere).join().expect("no panic"))
        });
        assert_eq!(seen, Some(key));
        assert!(lend("unused", |lent| lent.get().len()) == 6);
    }
}
