//! Making a record whose key the origin names: what a source is told of it, and what it answers.

use std::time::Duration;

use super::{Confirmed, IdempotencyKey, real_time};
use crate::clock::{Clock, Tick};
use crate::entry::Layout;
use crate::nesting::Scope;
use crate::sync::{AtomicBool, Ordering};

/// What the origin confirmed of a record that it made: see [`Source::create`](super::Source::create).
pub enum Made<L: Layout> {
    /// It has this key.
    Known {
        /// The key, as the cache is asked for it.
        key: L::OwnedKey,
        /// The record, as of a put.
        confirmed: Confirmed<L::Value>,
    },
    /// It was made, and its key cannot be told from the answer.
    KeyUnknown,
}

/// What a source is told about a record to be made: as a [`WriteCx`](super::WriteCx), without a key, and so without a condition or an existing record.
pub struct CreateCx<'a> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) deadline: Tick,
    pub(crate) idempotency_key: IdempotencyKey,
    pub(crate) stray: AtomicBool,
}

impl CreateCx<'_> {
    /// How long the source may still take. Zero when the deadline has passed: nothing may be sent any more.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.since(self.clock.now())
    }

    /// The key under which every send goes out.
    #[must_use]
    pub fn idempotency_key(&self) -> IdempotencyKey {
        self.idempotency_key
    }

    /// Says that an earlier send ended without a definite answer, so that it may still land: a refusal of a later one then proves nothing, as of
    /// [`WriteCx::leaves_stray`](super::WriteCx::leaves_stray). Where the origin does not honour idempotency keys, each send may make a record of its
    /// own: such a create is not to be sent twice.
    pub fn leaves_stray(&self) {
        // Relaxed: read by the cache after the source returned to the same thread of control.
        self.stray.store(true, Ordering::Relaxed);
    }

    /// The calls that this one is part of: see [`LoadCx::scope`](super::LoadCx::scope).
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::current()
    }
}

impl CreateCx<'static> {
    /// A context outside any cache, for tests of a source.
    #[must_use]
    pub fn alone(remaining: Duration) -> Self {
        let (clock, deadline) = real_time(remaining);
        Self { clock, deadline, idempotency_key: IdempotencyKey(0), stray: AtomicBool::new(false) }
    }
}
