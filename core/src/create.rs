//! The story of a record that is made, and whose key the origin names: source → commit under the key that the answer brings.
//!
//! There is no key before the answer, and so no turn, no prepare and no doubt. Invariant: what is retained of it is retained only where nothing that
//! could be newer came by its key since the send, and no load that began before the answer is.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::task::Waker;

use crate::cache::CacheOf;
use crate::clock::Tick;
use crate::commit::end_send;
#[cfg(feature = "tokio")]
use crate::drive::Spawned;
use crate::drive::{SourceCall, Step, Story};
use crate::engine::Engine;
use crate::entry::{Entry, Layout};
use crate::error::NotSent;
use crate::listener::EventKind;
use crate::metrics::Event;
use crate::moves::Watching;
use crate::nesting::{self, Scope};
use crate::options::Call;
use crate::put::{Done, proves_nothing, too_large};
use crate::source::{CreateCx, IdempotencyKey, Lifetime, Made, Outcome, Record, Rejection, SourceError};
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::tags::Running;

/// What came of a record that the origin made: see [`CacheOf::create`].
#[non_exhaustive]
pub struct Created<L: Layout> {
    /// The key that the origin gave it. `None`: it was made, and its key could not be told from the answer; nothing is retained.
    pub key: Option<L::OwnedKey>,
    /// The record that the origin confirmed; `None` where it was not seen: the next read of the key asks for it.
    pub entry: Option<Entry<L>>,
    /// The cache serves it now. False where it is too heavy, has no lifetime, or something that may be newer came by its key since it was
    /// sent: the next read asks the origin.
    pub kept: bool,
}

/// Why a create does not say that a record was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CreateError {
    /// It was not sent. Nothing has happened.
    NotSent(NotSent),
    /// The origin, or the source before it was sent, refused: no record was made, and none will be.
    Rejected(Rejection),
    /// Nobody can know whether a record was made, or still will be, for this reason. No key is in doubt, since none is known: should it be
    /// made, a read of its key finds it, once an absence that is remembered of that key has expired.
    Unknown(SourceError),
}

impl From<NotSent> for CreateError {
    fn from(why: NotSent) -> Self {
        Self::NotSent(why)
    }
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Rejected(rejection) => write!(f, "rejected: {}", rejection.error),
            Self::Unknown(error) => {
                write!(
                    f,
                    "nobody can know whether a record was made, and no key is in doubt, since none is known: {error}"
                )
            }
        }
    }
}

impl Error for CreateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotSent(why) => Some(why),
            Self::Rejected(rejection) => Some(&rejection.error),
            Self::Unknown(error) => Some(error),
        }
    }
}

impl<L: Layout> CacheOf<L> {
    /// Has the origin make a record whose key it names itself, and retains it under that key.
    ///
    /// It takes no turn, for there is no key before the answer: a write of that key which runs then is not held up by it, nor it by that. Where
    /// one is out, or the key was written, invalidated or in doubt since the send, the record is returned and the next read asks. What is
    /// pending of the key is shown above it.
    ///
    /// # Errors
    /// See [`CreateError`]. Of an unknown end no key is in doubt.
    ///
    /// # Example
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use wtcache::{
    ///     Cache, Confirmed, CreateCx, LoadCx, Loaded, Made, Outcome, Record, Source, SourceError, Typed,
    /// };
    ///
    /// type Orders = Typed<u64, String>;
    ///
    /// #[derive(Default)]
    /// struct Book(AtomicU64);
    ///
    /// impl Source<Orders> for Book {
    ///     fn get(&self, _: &u64, _: &LoadCx<'_, Orders>) -> Result<Loaded<String>, SourceError> {
    ///         Ok(Loaded::Absent)
    ///     }
    ///     fn create(&self, order: &String, _: &CreateCx<'_>) -> Outcome<Made<Orders>> {
    ///         let key = self.0.fetch_add(1, Ordering::Relaxed) + 1;
    ///         Outcome::Applied(Made::Known { key, confirmed: Confirmed::Record(Record::new(order.clone())) })
    ///     }
    /// }
    ///
    /// let cache = Cache::builder(Book::default()).build()?;
    /// let created = cache.create("two bolts".to_owned())?;
    /// assert_eq!(created.key, Some(1));
    /// assert_eq!(cache.peek(&1).map(|order| order.value().clone()).as_deref(), Some("two bolts"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(&self, value: L::Value) -> Result<Created<L>, CreateError> {
        self.create_with(value, &Call::new())
    }

    /// The same with a deadline, an idempotency key or a lifetime of its own. What else the call says is for other operations.
    ///
    /// # Errors
    /// As [`CacheOf::create`].
    pub fn create_with(&self, value: L::Value, call: &Call) -> Result<Created<L>, CreateError> {
        self.run(Create::new(self.engine(), value, call))
    }
}

/// A create on its way.
pub(crate) struct Create<L: Layout> {
    call: Option<CreateCall<L>>,
    reply: Option<Result<Created<L>, CreateError>>,
}

impl<L: Layout> Create<L> {
    pub(crate) fn new(engine: &Arc<Engine<L>>, value: L::Value, call: &Call) -> Self {
        let deadline = engine.deadline_of(call, engine.clock.now());
        let idempotency_key = call.idempotency_key.unwrap_or_else(|| engine.idempotency_key(engine.new_permit()));
        let (lifetime, scope) = (call.lifetime, call.scope.clone());
        let call = CreateCall { engine: Arc::clone(engine), value, deadline, idempotency_key, lifetime, scope };
        Self { call: Some(call), reply: None }
    }
}

impl<L: Layout> Story for Create<L> {
    type Call = CreateCall<L>;
    type Output = Result<Created<L>, CreateError>;

    fn step(&mut self, _: &Waker) -> Step<CreateCall<L>, Self::Output> {
        match (self.reply.take(), self.call.take()) {
            (Some(reply), _) => Step::Done(reply),
            (None, Some(call)) => Step::Call(call),
            (None, None) => unreachable!("a step follows the reply of the call"),
        }
    }

    fn resume(&mut self, reply: Result<Created<L>, CreateError>) {
        self.reply = Some(reply);
    }
}

/// The call of the source, and what becomes of its answer. Dropped without being run, nothing was sent.
pub(crate) struct CreateCall<L: Layout> {
    engine: Arc<Engine<L>>,
    value: L::Value,
    deadline: Tick,
    idempotency_key: IdempotencyKey,
    /// Of a record that says nothing of its own.
    lifetime: Lifetime,
    scope: Option<Scope>,
}

impl<L: Layout> SourceCall for CreateCall<L> {
    type Reply = Result<Created<L>, CreateError>;

    async fn run(self) -> Self::Reply {
        let engine = Arc::clone(&self.engine);
        let result = self.sent().await;
        let counters = &engine.counters;
        match &result {
            Ok(_) => counters.count(Event::Applied),
            Err(CreateError::NotSent(_)) => counters.count(Event::NotSent),
            Err(CreateError::Rejected(_)) => counters.count(Event::Rejected),
            Err(CreateError::Unknown(_)) => counters.count(Event::Unknown),
        }
        result
    }

    #[cfg(feature = "tokio")]
    fn deadline(&self) -> Tick {
        self.deadline
    }

    #[cfg(feature = "tokio")]
    fn is_nested(&self) -> bool {
        self.scope.is_some()
    }
}

#[cfg(feature = "tokio")]
impl<L: Layout> Spawned for CreateCall<L> {
    fn spawned(self) -> impl Future<Output = Self::Reply> + Send + 'static {
        self.run()
    }
}

impl<L: Layout> CreateCall<L> {
    async fn sent(self) -> Result<Created<L>, CreateError> {
        let Self { engine, value, deadline, idempotency_key, lifetime, scope } = self;
        let engine = &engine;
        if let Some(len) = too_large::<L>(&value) {
            return Err(NotSent::ValueTooLarge(len).into());
        }
        // Before the look at the mark: `close` sees it, or it sees the mark.
        let out = Out::new(engine);
        if engine.is_closed() {
            return Err(NotSent::Closed.into());
        }
        if engine.has_come(deadline) {
            return Err(NotSent::Deadline.into());
        }
        let (since, running) = (engine.clock.now(), engine.tags.begins());
        let cx = CreateCx { clock: &*engine.clock, deadline, idempotency_key, stray: AtomicBool::new(false) };
        let outcome = {
            let calls = pin!(engine.source.create(L::view(&value), &cx));
            nesting::within(&[], scope.as_ref(), calls).await
        };
        match outcome {
            Outcome::Applied(Made::KeyUnknown) => Ok(Created { key: None, entry: None, kept: false }),
            Outcome::Applied(Made::Known { key, confirmed }) => {
                let record = Done::Put(confirmed).record(engine, Some(value)).map(|record| {
                    let lifetime = record.lifetime.or(lifetime);
                    record.lifetime(lifetime)
                });
                Ok(commit(engine, &out.creating, key, record, (since, running)))
            }
            Outcome::Rejected(rejection) if proves_nothing(engine, &rejection, cx.stray.load(Ordering::Relaxed)) => {
                Err(CreateError::Unknown(rejection.error))
            }
            Outcome::Rejected(rejection) => Err(CreateError::Rejected(rejection)),
            Outcome::Unknown(error) => Err(CreateError::Unknown(error)),
        }
    }
}

/// The record is the key's now, unless something that may be newer came by the key since it was sent.
fn commit<L: Layout>(
    engine: &Engine<L>,
    creating: &Watching<'_>,
    key: L::OwnedKey,
    record: Option<Record<L::Value>>,
    (since, running): (Tick, Running),
) -> Created<L> {
    let key = Arc::new(key);
    let hash = engine.hash_key(L::key(&key));
    // A record that no entry can hold is as good as unseen.
    let record = record.filter(|record| u32::try_from(L::value_len(&record.value)).is_ok());
    let made = record.map(|record| engine.record(hash, L::key(&key), record, since));
    let (stored, keep) = made.map_or((None, false), |(stored, keep)| (Some(stored), keep));
    let keep = keep && engine.too_long(L::key(&key)).is_none();
    let kept = engine.at_key(hash, L::key(&key), |at| {
        let kept = at.created(stored.as_ref(), keep, creating, running);
        at.note(EventKind::Put { kept });
        kept
    });
    let key = Some(Arc::unwrap_or_clone(key));
    Created { key, entry: stored.and_then(Entry::of), kept }
}

/// A create that is out, from before its send to the end of its answer.
struct Out<'a, L: Layout> {
    engine: &'a Engine<L>,
    creating: Watching<'a>,
}

impl<'a, L: Layout> Out<'a, L> {
    fn new(engine: &'a Engine<L>) -> Self {
        // SeqCst: pairs with the mark of `close`.
        engine.open_sends.fetch_add(1, Ordering::SeqCst);
        Self { engine, creating: engine.moves.create_begins() }
    }
}

impl<L: Layout> Drop for Out<'_, L> {
    fn drop(&mut self) {
        end_send(self.engine);
    }
}
