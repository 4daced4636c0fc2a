//! The byte record: header, lengths, key, version, value and reference count in one allocation.
//!
//! Layout of the allocation, in this order:
//!
//! | part | bytes |
//! | --- | --- |
//! | `Head`: the `Header`, in its `parts` the key's length in 21 bits and which of the parts below there are; the value's length; the reference count | `size_of::<Head>()` |
//! | if there are index rows, their box as a pointer | 8 |
//! | key | `key_len` |
//! | if there is a version, its length, a `u16`, and the version | 2 + `version_len` |
//! | value | `value_len` |
//!
//! The count lies beside what a hit reads, so that its line has come by the time a hit writes it: behind the value it would be one more
//! line, whose place nobody knows before the lengths in the head are read. Threads that clone and drop handles of one record pass each other
//! one line either way.
//! Invariants: the allocation is made by [`Stored::store`] with the layout that [`Shape`] gives for the lengths in it;
//! head and bytes are written once, before the first handle exists, and never after (but for the atomics in the
//! head); the allocation is freed by the handle that takes the count from one to zero.
#![allow(unsafe_code)]

use std::alloc::{self, handle_alloc_error};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::slice;

use crate::entry::sealed::Stored;
use crate::entry::{Bytes, Entry, Header, Version};
use crate::index::Rows;
use crate::memory::table::Handle;
use crate::sync::{AtomicU32, Ordering, fence};

/// A handle on a byte record.
#[doc(hidden)]
pub struct ByteRecord(NonNull<Head>);

/// What lies before a record's bytes.
#[repr(C)]
struct Head {
    header: Header,
    value_len: u32,
    count: AtomicU32,
}

// What a record takes beside key and value.
#[cfg(not(wtcache_shuttle))]
const _: () = assert!(size_of::<Head>() == 64);

const KEY_LEN_BITS: u32 = 21;
/// False for an absent mark.
const PRESENT: u32 = 1 << KEY_LEN_BITS;
/// It has a version, which may be empty.
const VERSIONED: u32 = 1 << (KEY_LEN_BITS + 1);
const INDEXED: u32 = 1 << (KEY_LEN_BITS + 2);

/// Where the rows' pointer lies, if there is one.
const ROWS_AT: usize = size_of::<Head>();

/// Which parts a record has, and how long they are.
#[derive(Clone, Copy)]
struct Shape {
    key_len: usize,
    version_len: Option<usize>,
    value_len: usize,
    indexed: bool,
}

impl Shape {
    fn key_at(self) -> usize {
        ROWS_AT + if self.indexed { size_of::<*mut Rows>() } else { 0 }
    }

    /// Where the version's length lies, or would.
    fn version_at(self) -> usize {
        self.key_at() + self.key_len
    }

    fn value_at(self) -> usize {
        self.version_at() + self.version_len.map_or(0, |len| size_of::<u16>() + len)
    }

    /// Without overflow: the parts of what there is are bounded, and of what is only weighed they are lengths of slices.
    fn footprint(self) -> usize {
        self.value_at() + self.value_len
    }

    fn layout(self) -> alloc::Layout {
        alloc::Layout::from_size_align(self.footprint(), align_of::<Head>())
            .expect("the lengths are bounded where a record is admitted")
    }
}

/// Bytes of memory that a record without index rows takes.
pub(crate) fn footprint(key_len: usize, version_len: Option<usize>, value_len: usize) -> usize {
    Shape { key_len, version_len, value_len, indexed: false }.footprint()
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

    /// The key's length, and the marks above it.
    fn parts(&self) -> u32 {
        let [a, b, c] = self.head().header.parts;
        u32::from_le_bytes([a, b, c, 0])
    }

    fn key_len(&self) -> usize {
        (self.parts() & (PRESENT - 1)) as usize
    }

    fn shape(&self) -> Shape {
        let parts = self.parts();
        let value_len = self.head().value_len as usize;
        let mut shape = Shape { key_len: self.key_len(), version_len: None, value_len, indexed: parts & INDEXED != 0 };
        if parts & VERSIONED != 0 {
            // SAFETY: a record that is marked so has the two bytes of its version's length there, written by `store`.
            let len = unsafe { self.0.cast::<u8>().add(shape.version_at()).cast::<u16>().read_unaligned() };
            shape.version_len = Some(usize::from(len));
        }
        shape
    }

    /// The rows' pointer, as `store` wrote it.
    fn rows_pointer(&self) -> Option<NonNull<Rows>> {
        // SAFETY: a record that is marked so has it there.
        (self.parts() & INDEXED != 0).then(|| unsafe { self.0.byte_add(ROWS_AT).cast().read_unaligned() })
    }

    /// The `len` bytes that begin `at` bytes behind the record's address.
    fn part(&self, at: usize, len: usize) -> &[u8] {
        // SAFETY: callers pass ranges inside key, version and value, which `store` initialised and which lie in the same
        // allocation behind the header. The pointer was made from the allocation's own, so it may reach them.
        unsafe { slice::from_raw_parts(self.0.as_ptr().cast::<u8>().add(at), len) }
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
    fn store(
        mut header: Header,
        rows: Option<Box<Rows>>,
        key: &[u8],
        value: Option<Vec<u8>>,
        version: Option<Version>,
    ) -> Self {
        let bytes: &[u8] = value.as_deref().unwrap_or_default();
        let value_len = u32::try_from(bytes.len()).expect("values of 4 GiB and more are refused at the door");
        let key_len =
            u32::try_from(key.len()).ok().filter(|len| *len < PRESENT).expect("keys are bounded by the options");
        let version_len = version.as_ref().map(|version| version.as_bytes().len());
        let told = version_len.map(|len| u16::try_from(len).expect("versions are bounded when made"));
        let mark = |is: bool, mark: u32| if is { mark } else { 0 };
        let marks = mark(value.is_some(), PRESENT) | mark(version.is_some(), VERSIONED) | mark(rows.is_some(), INDEXED);
        let [a, b, c, _] = (key_len | marks).to_le_bytes();
        header.parts = [a, b, c];
        let shape = Shape { key_len: key.len(), version_len, value_len: bytes.len(), indexed: rows.is_some() };
        let layout = shape.layout();
        // SAFETY: the layout has a size, since a head has one. All parts lie in the allocation one behind the
        // other, as the module's table gives them, the head at its start, for which it is aligned; sources and destination
        // cannot overlap, the destination being new.
        unsafe {
            let start = alloc::alloc(layout);
            let Some(place) = NonNull::new(start.cast::<Head>()) else { handle_alloc_error(layout) };
            place.write(Head { header, value_len, count: AtomicU32::new(1) });
            if let Some(rows) = rows {
                start.add(ROWS_AT).cast::<*mut Rows>().write_unaligned(Box::into_raw(rows));
            }
            start.add(shape.key_at()).copy_from_nonoverlapping(key.as_ptr(), key.len());
            if let (Some(version), Some(len)) = (&version, told) {
                let at = start.add(shape.version_at());
                at.cast::<u16>().write_unaligned(len);
                at.add(size_of::<u16>()).copy_from_nonoverlapping(version.as_bytes().as_ptr(), usize::from(len));
            }
            start.add(shape.value_at()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Self(place)
        }
    }

    #[allow(private_interfaces)]
    fn header(&self) -> &Header {
        &self.head().header
    }

    fn key(&self) -> &[u8] {
        let rows = if self.parts() & INDEXED != 0 { size_of::<*mut Rows>() } else { 0 };
        self.part(ROWS_AT + rows, self.key_len())
    }

    fn is_absent(&self) -> bool {
        self.parts() & PRESENT == 0
    }

    fn value(&self) -> Option<&[u8]> {
        (!self.is_absent()).then(|| {
            let shape = self.shape();
            self.part(shape.value_at(), shape.value_len)
        })
    }

    fn version(&self) -> Option<&[u8]> {
        let shape = self.shape();
        shape.version_len.map(|len| self.part(shape.version_at() + size_of::<u16>(), len))
    }

    fn rows(&self) -> Option<&Rows> {
        // SAFETY: it came from a box, which is freed with the record only, and nothing changes it.
        self.rows_pointer().map(|rows| unsafe { rows.as_ref() })
    }

    fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn twin(&mut self) -> Self {
        let count = &self.head().count;
        // Acquire: pairs with the release of those that were dropped, as they came before what this thread does when it drops one; the store below
        // hides them from who frees the record.
        if count.load(Ordering::Acquire) != 1 {
            return self.clone();
        }
        // Of the only handle nobody else can make one, for this thread alone has this one now.
        count.store(2, Ordering::Relaxed);
        Self(self.0)
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
        let before = self.head().count.fetch_add(1, Ordering::Relaxed);
        // A count that wraps would free the record under its holders; no program holds this many handles.
        if before > u32::MAX / 2 {
            std::process::abort();
        }
        Self(self.0)
    }
}

impl Drop for ByteRecord {
    #[inline]
    fn drop(&mut self) {
        // Release: what this thread read of the record comes before the count falls; pairs with the fence below.
        if self.head().count.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // Acquire: pairs with the release of every other handle's drop, so that their reads come before the free.
        fence(Ordering::Acquire);
        // SAFETY: this was the last handle.
        unsafe { self.free() };
    }
}

impl ByteRecord {
    /// # Safety
    /// The last handle's drop calls it, once.
    #[inline(never)]
    unsafe fn free(&mut self) {
        let (layout, rows) = (self.shape().layout(), self.rows_pointer());
        // SAFETY: by this function's own terms, nobody else has a handle. Head and rows are dropped once, and the allocation is freed with
        // the layout it was made with, since the lengths in it never change.
        unsafe {
            drop(rows.map(|rows| Box::from_raw(rows.as_ptr())));
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
        Header::new(7, Times::until(Tick::ZERO, Tick::NEVER), 1)
    }

    #[test]
    fn a_record_keeps_its_parts_apart() {
        let version = Version::new("\"r1\"");
        let record = ByteRecord::store(header(), None, b"key", Some(b"value".to_vec()), version);
        assert_eq!(record.key(), b"key");
        assert_eq!(record.value(), Some(&b"value"[..]));
        assert_eq!(record.version(), Some(&b"\"r1\""[..]));
        assert_eq!(record.header().hash, 7);
    }

    #[test]
    fn empty_and_absent_differ() {
        let empty = ByteRecord::store(header(), None, b"", Some(Vec::new()), None);
        let absent = ByteRecord::store(header(), None, b"", None, None);
        assert_eq!(empty.value(), Some(&b""[..]));
        assert_eq!(absent.value(), None);
        assert_eq!(absent.version(), None);
    }

    #[test]
    fn rows_go_with_the_record() {
        let mut rows = Rows::default();
        rows.add_tag(b"red");
        for version in [None, Version::new(""), Version::new("r1")] {
            let rows = Some(Box::new(rows.clone()));
            let record = ByteRecord::store(header(), rows, b"k", Some(b"value".to_vec()), version.clone());
            assert_eq!(record.rows().map(|rows| rows.tags().count()), Some(1));
            assert_eq!((record.key(), record.value()), (&b"k"[..], Some(&b"value"[..])));
            assert_eq!(record.version(), version.as_ref().map(Version::as_bytes));
        }
    }

    /// As long as the options let a key be, and a version.
    #[test]
    fn the_longest_parts_are_told() {
        let (key, version) = (vec![3; 1 << 20].into_boxed_slice(), Version::new(vec![4; usize::from(u16::MAX)]));
        let record = ByteRecord::store(header(), None, &key, Some(vec![5; 70_000]), version.clone());
        assert!(record.key() == &*key && record.version() == version.as_ref().map(Version::as_bytes));
        assert!(record.value().is_some_and(|value| value.len() == 70_000 && value.iter().all(|byte| *byte == 5)));
    }

    #[test]
    fn a_twin_is_a_handle_like_any_other() {
        let mut record = ByteRecord::store(header(), None, b"k", Some(vec![7; 100]), None);
        let count = |record: &ByteRecord| record.head().count.load(Ordering::Relaxed);
        let first = record.twin();
        assert_eq!(count(&record), 2, "of the only one");
        let mut second = first.clone().twin();
        assert_eq!(count(&record), 3, "of one of three, which went");
        drop((record, first));
        assert_eq!((count(&second), count(&second.twin())), (1, 2));
        assert_eq!(second.value(), Some(&[7; 100][..]));
    }

    #[test]
    fn handles_outlive_each_other_on_other_threads() {
        let record = ByteRecord::store(header(), None, b"k", Some(vec![9; 1000]), None);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let mine = record.clone();
                scope.spawn(move || assert_eq!(mine.clone().value().map(<[u8]>::len), Some(1000)));
            }
            drop(record);
        });
    }
}
