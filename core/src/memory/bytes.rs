//! The byte record: reference count, header, key, version and value in one allocation.
//!
//! Layout of the allocation, in this order:
//!
//! | part | bytes |
//! | --- | --- |
//! | `Head` (header, lengths) | `size_of::<Head>()` |
//! | key | `key_len` |
//! | version | `version_len` |
//! | value | `value_len` |
//! | padding | so that what follows is aligned |
//! | reference count | `size_of::<AtomicUsize>()` |
//!
//! The count is last, so that threads which clone and drop handles of one record do not take from each other the lines that they compare
//! and read. Invariants: the allocation is made by [`Stored::store`] with the layout that [`layout_of`] gives for the lengths in its
//! head; head and bytes are written once, before the first handle exists, and never after (but for the atomics in the
//! head); the allocation is freed by the handle that takes the count from one to zero.
#![allow(unsafe_code)]

use std::alloc::{self, handle_alloc_error};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::slice;

use crate::entry::sealed::Stored;
use crate::entry::{Bytes, Entry, Header, Version};
use crate::memory::table::Handle;
use crate::sync::{AtomicUsize, Ordering, fence};

/// A handle on a byte record.
#[doc(hidden)]
pub struct ByteRecord(NonNull<Head>);

#[repr(C)]
struct Head {
    header: Header,
    key_len: u32,
    value_len: u32,
    version_len: u16,
    /// It has a version, which may be empty.
    versioned: bool,
    /// False for an absent mark.
    present: bool,
}

/// Bytes of memory that a record takes.
pub(crate) fn footprint(key_len: usize, version_len: usize, value_len: usize) -> usize {
    count_at(key_len, version_len, value_len).saturating_add(size_of::<AtomicUsize>())
}

/// Where the count lies in the allocation.
fn count_at(key_len: usize, version_len: usize, value_len: usize) -> usize {
    let end = size_of::<Head>().saturating_add(key_len).saturating_add(version_len).saturating_add(value_len);
    end.saturating_add(align_of::<AtomicUsize>() - 1) & !(align_of::<AtomicUsize>() - 1)
}

fn layout_of(key_len: usize, version_len: usize, value_len: usize) -> alloc::Layout {
    alloc::Layout::from_size_align(footprint(key_len, version_len, value_len), align_of::<Head>())
        .expect("the lengths are bounded where a record is admitted")
}

// SAFETY: a record is immutable but for atomics, its header is Send and Sync, and its count is atomic, so handles may be
// used and dropped from any thread.
unsafe impl Send for ByteRecord {}
// SAFETY: as above.
unsafe impl Sync for ByteRecord {}

impl ByteRecord {
    fn head(&self) -> &Head {
        // SAFETY: the handle holds one count, so the allocation is live, and its head was initialised by `store`. Nothing
        // makes a mutable reference to it while a handle exists.
        unsafe { self.0.as_ref() }
    }

    fn count(&self) -> &AtomicUsize {
        let head = self.head();
        let at = count_at(head.key_len as usize, usize::from(head.version_len), head.value_len as usize);
        // SAFETY: `store` initialised the count there, aligned, and within the allocation, which is live as in `head`.
        unsafe { self.0.as_ptr().cast::<u8>().add(at).cast::<AtomicUsize>().as_ref_unchecked() }
    }

    /// The `len` bytes that begin `offset` bytes behind the head.
    fn tail(&self, offset: usize, len: usize) -> &[u8] {
        // SAFETY: callers pass ranges inside key, version and value, which `store` initialised and which lie in the same
        // allocation behind the head. The pointer was made from the allocation's own, so it may reach them.
        unsafe { slice::from_raw_parts(self.0.as_ptr().cast::<u8>().add(size_of::<Head>() + offset), len) }
    }
}

/// For a border that hands records out as plain pointers.
impl Entry<Bytes> {
    /// The record's address, which stands for it as long as an entry of it is held.
    #[must_use]
    pub fn as_raw(&self) -> NonNull<c_void> {
        self.stored().0.cast()
    }

    /// The same, with the entry's part in keeping the record: it is given up by [`from_raw`](Self::from_raw) only.
    #[must_use]
    pub fn into_raw(self) -> NonNull<c_void> {
        ManuallyDrop::new(self).as_raw()
    }

    /// The entry of an address.
    ///
    /// # Safety
    /// The address came from [`into_raw`](Self::into_raw), and is made an entry once; or it came from either of the two, an entry of
    /// the record is held for as long as this one is used, and this one is not dropped.
    #[must_use]
    pub unsafe fn from_raw(address: NonNull<c_void>) -> Self {
        Self::with_value(ByteRecord(address.cast()))
    }
}

impl Stored<Bytes> for ByteRecord {
    #[allow(private_interfaces)]
    fn store(header: Header, key: &Box<[u8]>, value: Option<Vec<u8>>, version: Option<Version>) -> Self {
        let bytes: &[u8] = value.as_deref().unwrap_or_default();
        let versioned = version.is_some();
        let version = version.as_ref().map_or(&[][..], Version::as_bytes);
        let head = Head {
            header,
            key_len: u32::try_from(key.len()).expect("keys are bounded by the options"),
            value_len: u32::try_from(bytes.len()).expect("values of 4 GiB and more are refused at the door"),
            version_len: u16::try_from(version.len()).expect("versions are bounded when made"),
            versioned,
            present: value.is_some(),
        };
        let layout = layout_of(key.len(), version.len(), bytes.len());
        // SAFETY: the layout has a size, since a head has one. The head, the three copies and the count lie in the allocation one behind the
        // other, as the module's table gives them, the count at a place aligned for it; sources and destination cannot overlap, the
        // destination being new.
        unsafe {
            let start = alloc::alloc(layout);
            let Some(place) = NonNull::new(start.cast::<Head>()) else { handle_alloc_error(layout) };
            place.write(head);
            let tail = start.add(size_of::<Head>());
            tail.copy_from_nonoverlapping(key.as_ptr(), key.len());
            tail.add(key.len()).copy_from_nonoverlapping(version.as_ptr(), version.len());
            tail.add(key.len() + version.len()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            let count = start.add(count_at(key.len(), version.len(), bytes.len()));
            count.cast::<AtomicUsize>().write(AtomicUsize::new(1));
            Self(place)
        }
    }

    #[allow(private_interfaces)]
    fn header(&self) -> &Header {
        &self.head().header
    }

    fn key(&self) -> &[u8] {
        self.tail(0, self.head().key_len as usize)
    }

    fn value(&self) -> Option<&[u8]> {
        let head = self.head();
        let offset = head.key_len as usize + usize::from(head.version_len);
        head.present.then(|| self.tail(offset, head.value_len as usize))
    }

    fn version(&self) -> Option<&[u8]> {
        let head = self.head();
        head.versioned.then(|| self.tail(head.key_len as usize, usize::from(head.version_len)))
    }

    fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Handle for ByteRecord {
    fn hash(&self) -> u64 {
        self.head().header.hash
    }

    fn into_raw(self) -> NonNull<()> {
        ManuallyDrop::new(self).0.cast()
    }

    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        Self(raw.cast())
    }
}

impl Clone for ByteRecord {
    fn clone(&self) -> Self {
        // Relaxed: the new handle is made from one that this thread holds already, as in std's Arc.
        let before = self.count().fetch_add(1, Ordering::Relaxed);
        // A count that wraps would free the record under its holders; no program holds this many handles.
        if before > usize::MAX / 2 {
            std::process::abort();
        }
        Self(self.0)
    }
}

impl Drop for ByteRecord {
    fn drop(&mut self) {
        // Release: what this thread read of the record comes before the count falls; pairs with the fence below.
        if self.count().fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // Acquire: pairs with the release of every other handle's drop, so that their reads come before the free.
        fence(Ordering::Acquire);
        let head = self.head();
        let layout = layout_of(head.key_len as usize, usize::from(head.version_len), head.value_len as usize);
        // SAFETY: this was the last handle. The head is dropped once, and the allocation is freed with the layout it was
        // made with, since the lengths in it never change.
        unsafe {
            self.0.drop_in_place();
            alloc::dealloc(self.0.as_ptr().cast::<u8>(), layout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;
    use crate::entry::Times;

    fn header() -> Header {
        Header::new(7, Times::until(Tick::ZERO, Tick::NEVER), 1, None)
    }

    #[test]
    fn a_record_keeps_its_parts_apart() {
        let version = Version::new("\"r1\"");
        let record = ByteRecord::store(header(), &Box::from(&b"key"[..]), Some(b"value".to_vec()), version);
        assert_eq!(record.key(), b"key");
        assert_eq!(record.value(), Some(&b"value"[..]));
        assert_eq!(record.version(), Some(&b"\"r1\""[..]));
        assert_eq!(record.header().hash, 7);
    }

    #[test]
    fn empty_and_absent_differ() {
        let empty = ByteRecord::store(header(), &Box::from(&b""[..]), Some(Vec::new()), None);
        let absent = ByteRecord::store(header(), &Box::from(&b""[..]), None, None);
        assert_eq!(empty.value(), Some(&b""[..]));
        assert_eq!(absent.value(), None);
        assert_eq!(absent.version(), None);
    }

    #[test]
    fn handles_outlive_each_other_on_other_threads() {
        let record = ByteRecord::store(header(), &Box::from(&b"k"[..]), Some(vec![9; 1000]), None);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let mine = record.clone();
                scope.spawn(move || assert_eq!(mine.clone().value().map(<[u8]>::len), Some(1000)));
            }
            drop(record);
        });
    }
}
