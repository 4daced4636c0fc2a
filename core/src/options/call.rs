//! The options of one call.

use std::time::Duration;

use super::LONGEST_DEADLINE;
use crate::get::Wants;
use crate::nesting::Scope;
use crate::source::{IdempotencyKey, Lifetime};

/// What one call asks for beside the key and the value. The default is the cache's own options.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Call {
    pub(crate) deadline: Option<Duration>,
    pub(crate) scope: Option<Scope>,
    pub(crate) idempotency_key: Option<IdempotencyKey>,
    pub(crate) lifetime: Lifetime,
    pub(crate) wants: Wants,
}

/// Who asks for nothing has it at hand.
pub(crate) static PLAIN: Call =
    Call { deadline: None, scope: None, idempotency_key: None, lifetime: Lifetime::Default, wants: Wants::NONE };

impl Call {
    /// A call with the cache's own options.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the call may take, the source's work included; a day at most.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline.min(LONGEST_DEADLINE));
        self
    }

    /// The call is part of the source call that `scope` came from, though it comes from another thread.
    pub fn within(mut self, scope: &Scope) -> Self {
        self.scope = Some(scope.clone());
        self
    }

    /// How long the record that a put leaves may be served, where the source says nothing of it. It says nothing of what is loaded, and goes
    /// with this call: a [replay](crate::InDoubt::replay) has its own.
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Of a read: the origin confirmed the record, or that there is none, no longer than `age` before the call; zero: after it began, so that
    /// the origin is asked anew, and may say that what is resident is its record still ([`Loaded::Unchanged`](crate::Loaded::Unchanged)). What
    /// is resident and older stays, and others are served it, until the load has ended. A load under way that began
    /// too early is waited for, not joined: there is one at a time. Of what pending writes show, it says nothing; no more does it to writes.
    ///
    /// # Example
    /// ```
    /// use std::time::Duration;
    /// # use wtcache::{Cache, Call, How, LoadCx, Loaded, Passed, Record, Source, SourceError, Typed};
    /// # struct Stock;
    /// # impl Source<Typed<String, u32>> for Stock {
    /// #     fn get(&self, _: &String, _: &LoadCx<'_, Typed<String, u32>>) -> Result<Loaded<u32>, SourceError> {
    /// #         Ok(Loaded::Found(Record::new(7)))
    /// #     }
    /// # }
    /// let cache = Cache::builder(Stock).build()?;
    /// cache.get("bolts")?;
    /// assert_eq!(cache.read("bolts", &Call::new().max_age(Duration::from_secs(60)))?.how, How::Hit);
    /// let anew = cache.read("bolts", &Call::new().max_age(Duration::ZERO))?;
    /// assert_eq!((anew.how, anew.passed), (How::Loaded { kept: true }, Passed::Fresh));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_age(mut self, age: Duration) -> Self {
        self.wants.max_age = Some(age);
        self
    }

    /// Of a read: the record can be served for so long yet, or it is loaded. What a load brings is taken as it is.
    pub fn min_fresh(mut self, left: Duration) -> Self {
        self.wants.min_fresh = left;
        self
    }

    /// Of a read: for how long after its end a record is taken without waiting for the origin, in place of
    /// [`Builder::stale_while_revalidate`](super::Builder::stale_while_revalidate); zero: not at all. It has nothing refreshed where the cache's own options do not.
    pub fn max_stale(mut self, window: Duration) -> Self {
        self.wants.max_stale = Some(window);
        self
    }

    /// Of a read: for how long after its end, or since it is too old for [`Call::max_age`] or [`Call::min_fresh`], a record is taken in place of
    /// an error, as by [`Builder::stale_if_error`](super::Builder::stale_if_error) and in place of that; zero: not at all.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.wants.stale_if_error = Some(window);
        self
    }

    /// Of a read: what its load brings is not retained, nor is what was there before. A load of another's that it joins may be.
    pub fn not_kept(mut self) -> Self {
        self.wants.not_kept = true;
        self
    }

    /// The key under which the write goes out, for a program that has one of its own.
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.idempotency_key = Some(key);
        self
    }
}
