//! Where every lock, condition variable, atomic and thread handle of this crate comes from.
//!
//! One door, so that a scheduler that explores interleavings can take the place of the real primitives.
//! Nothing here holds state of its own.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use std::thread::{Thread, current, park, park_timeout};

pub(crate) use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
