//! Loading many records with one request, for a source that can.
//!
//! Invariant: each key of a batch has one answer in the end: the source's own, or an error that says what was wrong with it.

use std::time::Duration;

use super::{Failure, Loaded, SourceError, real_time};
use crate::clock::{Clock, Tick};
use crate::entry::{Entry, Layout};
use crate::nesting::Scope;

/// A source that loads many records with one request: see [`Source::load_many`](super::Source::load_many).
///
/// # Example
/// ```
/// use wtcache::{Batch, Cache, LoadCx, LoadMany, Loaded, Record, Source, SourceError, Typed};
///
/// struct Squares;
///
/// impl Source<Typed<u64, u64>> for Squares {
///     fn get(&self, key: &u64, _: &LoadCx<'_, Typed<u64, u64>>) -> Result<Loaded<u64>, SourceError> {
///         Ok(Loaded::Found(Record::new(key * key)))
///     }
///     fn load_many(&self) -> Option<&dyn LoadMany<Typed<u64, u64>>> {
///         Some(self)
///     }
/// }
///
/// impl LoadMany<Typed<u64, u64>> for Squares {
///     fn get_many(&self, batch: &mut Batch<'_, Typed<u64, u64>>) -> Result<(), SourceError> {
///         let squares: Vec<u64> = batch.keys().map(|key| key * key).collect();
///         for (at, square) in squares.into_iter().enumerate() {
///             batch.answer(at, Ok(Loaded::Found(Record::new(square))));
///         }
///         Ok(())
///     }
/// }
///
/// let cache = Cache::builder(Squares).build()?;
/// let squares: Result<Vec<_>, _> = cache.get_many(&[2, 3, 2]).into_iter().collect();
/// assert_eq!(squares?.into_iter().flatten().map(|square| *square).collect::<Vec<_>>(), [4, 9, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait LoadMany<L: Layout>: Send + Sync {
    /// Asks the origin for the records of all keys of `batch`, and answers each with [`Batch::answer`].
    ///
    /// A key without an answer, or with two, fails; the other keys are not concerned. A panic fails all of them.
    ///
    /// # Errors
    /// The origin could not be asked. Keys that were not answered before fail with this error.
    fn get_many(&self, batch: &mut Batch<'_, L>) -> Result<(), SourceError>;

    /// How many keys it takes in one request; what is more goes in further ones, one after the other. Default 256.
    fn most_keys(&self) -> usize {
        256
    }
}

/// Keys to be loaded with one request, and the answers to them.
pub struct Batch<'a, L: Layout> {
    clock: &'a dyn Clock,
    deadline: Tick,
    items: Vec<Item<'a, L>>,
}

struct Item<'a, L: Layout> {
    key: &'a L::Key,
    replaced: Option<&'a Entry<L>>,
    answer: Given<L::Value>,
}

enum Given<V> {
    Not,
    Once(Result<Loaded<V>, SourceError>),
    MoreThanOnce,
}

impl<'a, L: Layout> Batch<'a, L> {
    pub(crate) fn new(clock: &'a dyn Clock, deadline: Tick) -> Self {
        Self { clock, deadline, items: Vec::new() }
    }

    /// A batch outside any cache, for tests of a source.
    #[must_use]
    pub fn alone(remaining: Duration, keys: impl IntoIterator<Item = &'a L::Key>) -> Self {
        let (clock, deadline) = real_time(remaining);
        let mut batch = Self::new(clock, deadline);
        keys.into_iter().for_each(|key| batch.add(key, None));
        batch
    }

    pub(crate) fn add(&mut self, key: &'a L::Key, replaced: Option<&'a Entry<L>>) {
        self.items.push(Item { key, replaced, answer: Given::Not });
    }

    /// The keys, each once.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &'a L::Key> {
        self.items.iter().map(|item| item.key)
    }

    /// The expired entry that the load of the key of number `at` replaces: see [`LoadCx::replaced`](super::LoadCx::replaced).
    ///
    /// # Panics
    /// There is no key of that number.
    #[must_use]
    pub fn replaced(&self, at: usize) -> Option<&'a Entry<L>> {
        self.items[at].replaced
    }

    /// How long the source may still take, for all of them. Zero when the deadline has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.since(self.clock.now())
    }

    /// The calls that this one is part of: see [`LoadCx::scope`](super::LoadCx::scope).
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::current()
    }

    /// Answers the key of number `at`, in the order of [`Batch::keys`].
    ///
    /// # Panics
    /// There is no key of that number.
    pub fn answer(&mut self, at: usize, answer: Result<Loaded<L::Value>, SourceError>) {
        let given = &mut self.items[at].answer;
        *given = if matches!(given, Given::Not) { Given::Once(answer) } else { Given::MoreThanOnce };
    }

    /// What each key was answered, where `get_many` ended with `asked`.
    pub fn into_answers(
        self,
        asked: Result<(), SourceError>,
    ) -> impl Iterator<Item = Result<Loaded<L::Value>, SourceError>> {
        let broken = |message: &str| Err(SourceError::new(Failure::Broken, message));
        self.items.into_iter().map(move |item| match item.answer {
            Given::Once(answer) => answer,
            Given::Not => match &asked {
                Err(error) => Err(error.clone()),
                Ok(()) => broken("the source did not answer for this key of a batch"),
            },
            Given::MoreThanOnce => broken("the source answered more than once for this key of a batch"),
        })
    }
}
