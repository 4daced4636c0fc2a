//! The pending writes of one key: operations above its base, in the order of their turns, and what they make of it.
//!
//! A list of what is to be done, never a copy of what was: a write that leaves is as if it had never been. Pure but for [`fold`],
//! which runs merge functions of the program's and is called with no lock held. Invariant: a write is in its key's list exactly
//! while it waits for its turn or has it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::bugs::{self, Bug};
use crate::clock::Tick;
use crate::engine::Engine;
use crate::entry::Layout;
use crate::entry::sealed::Stored;
use crate::metrics::Event;
use crate::slot::PermitId;
use crate::source::SourceError;
use crate::sync::{Arc, AtomicU64, AtomicUsize, Ordering};

/// A function that makes a new value, or none, of the existing one, or refuses it.
pub(crate) type Merge<L> = Arc<
    dyn Fn(Option<&<L as Layout>::View>) -> Result<Option<<L as Layout>::Value>, SourceError> + Send + Sync + 'static,
>;

/// What a pending write does.
pub(crate) enum Op<L: Layout> {
    /// Puts this record, or with an absent mark deletes, whatever was there.
    Set(L::Stored),
    /// Makes something of what is there. Pending since then.
    Merge(Merge<L>, Tick),
}

impl<L: Layout> Clone for Op<L> {
    fn clone(&self) -> Self {
        match self {
            Self::Set(stored) => Self::Set(stored.clone()),
            Self::Merge(merge, since) => Self::Merge(Arc::clone(merge), *since),
        }
    }
}

impl<L: Layout> Op<L> {
    fn since(&self) -> Tick {
        match self {
            Self::Set(stored) => stored.header().since(),
            Self::Merge(_, since) => *since,
        }
    }
}

/// What a pending write is to show of a key, and the place that it has for that.
pub(crate) type NewLayer<L> = (Op<L>, PendingPlace);

/// A pending write in the list of its key.
pub(crate) struct Layer<L: Layout> {
    pub(crate) write: PermitId,
    pub(crate) op: Op<L>,
    /// Given back when the layer is dropped.
    pub(crate) _place: PendingPlace,
}

/// The pending writes of one key.
pub(crate) struct Layers<L: Layout> {
    list: Vec<Layer<L>>,
    /// Of the list as it is now. Never given twice in a cache.
    number: u64,
    folded: Option<Folded<L>>,
}

/// What came of folding a list over a base.
struct Folded<L: Layout> {
    base: L::Stored,
    shows: L::Stored,
}

/// Records that are not needed any more.
pub(crate) type Gone<L> = [Option<<L as Layout>::Stored>; 2];

impl<L: Layout> Folded<L> {
    fn gone(folded: Option<Self>) -> Gone<L> {
        folded.map_or([None, None], |folded| [Some(folded.base), Some(folded.shows)])
    }
}

/// The operations that are to be folded over a base: an immutable list.
pub(crate) struct Over<L: Layout> {
    number: u64,
    ops: Vec<Op<L>>,
}

/// What pending writes make of a key.
pub(crate) enum Shown<L: Layout> {
    /// This record, or absent mark.
    Is(L::Stored),
    /// It is to be folded over this base.
    Fold(Arc<Over<L>>, L::Stored),
    /// It is to be folded over a base that is not here.
    Load,
    /// Time has changed the key's state: it has to be brought up to the present first.
    Late,
}

impl<L: Layout> Default for Layers<L> {
    fn default() -> Self {
        Self { list: Vec::new(), number: 0, folded: None }
    }
}

impl<L: Layout> Layers<L> {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn writes(&self) -> Vec<PermitId> {
        self.list.iter().map(|layer| layer.write).collect()
    }

    /// Adds a write above all others. What is not needed any more is given back, to be dropped under no lock; so below.
    pub(crate) fn add(&mut self, layer: Layer<L>, number: u64) -> Gone<L> {
        self.list.push(layer);
        self.moved(number)
    }

    pub(crate) fn remove(&mut self, write: PermitId, number: u64) -> Option<(Layer<L>, Gone<L>)> {
        let place = self.list.iter().position(|layer| layer.write == write)?;
        let layer = self.list.remove(place);
        Some((layer, self.moved(number)))
    }

    /// For a seeded bug: those that came after this one.
    pub(crate) fn take_later(&mut self, write: PermitId) -> Vec<Layer<L>> {
        let place = self.list.iter().position(|layer| layer.write == write);
        place.map_or_else(Vec::new, |place| self.list.split_off(place + 1))
    }

    /// For a seeded bug: what it was folded over last.
    pub(crate) fn folded_base(&self) -> Option<L::Stored> {
        self.folded.as_ref().map(|folded| folded.base.clone())
    }

    fn moved(&mut self, number: u64) -> Gone<L> {
        self.number = number;
        Folded::gone(self.folded.take())
    }

    /// The operations that a read sees: from the last one that asks for no base.
    fn seen(&self) -> &[Layer<L>] {
        let last = self.list.iter().rposition(|layer| matches!(layer.op, Op::Set(_)));
        &self.list[last.unwrap_or(0)..]
    }

    pub(crate) fn over(&self) -> Arc<Over<L>> {
        let ops = self.seen().iter().map(|layer| layer.op.clone()).collect();
        Arc::new(Over { number: self.number, ops })
    }

    /// What a read is shown, if anything is pending; `base` where it is known.
    pub(crate) fn shown(&self, base: Option<&L::Stored>) -> Option<Shown<L>> {
        let seen = self.seen();
        let first = seen.first()?;
        let beneath = match (&first.op, base) {
            (Op::Set(stored), _) if seen.len() == 1 => return Some(Shown::Is(stored.clone())),
            (Op::Set(stored), _) => stored,
            (Op::Merge(..), Some(base)) => base,
            (Op::Merge(..), None) => return Some(Shown::Load),
        };
        if let Some(folded) =
            self.folded.as_ref().filter(|folded| folded.base.same(beneath) || bugs::has(Bug::FoldOutlivesBase))
        {
            return Some(Shown::Is(folded.shows.clone()));
        }
        Some(Shown::Fold(self.over(), beneath.clone()))
    }

    /// Keeps what `over` makes of `base`, if the list has not moved. Gives back what it takes the place of, or was not kept.
    pub(crate) fn keep(&mut self, over: &Over<L>, base: L::Stored, shows: L::Stored) -> Gone<L> {
        let folded = Folded { base, shows };
        Folded::gone(if over.number == self.number { self.folded.replace(folded) } else { Some(folded) })
    }
}

/// What a fold has come to so far.
enum Now<'a, L: Layout> {
    Base(Option<&'a L::View>),
    Record(L::Stored),
    Made(Option<L::Value>),
}

/// What the operations make of `base`. No lock may be held. `None`: the base itself, since each merge refused it or panicked; such a
/// write counts for nothing here, and ends unsent in its turn if it meets the same there.
pub(crate) fn fold<L: Layout>(
    engine: &Engine<L>,
    (hash, key): (u64, &L::OwnedKey),
    over: &Over<L>,
    base: Option<&L::View>,
) -> Option<L::Stored> {
    let since = over.ops.first().map_or(Tick::ZERO, Op::since);
    let mut now: Now<'_, L> = Now::Base(base);
    for op in &over.ops {
        let merge = match op {
            Op::Set(stored) => {
                now = Now::Record(stored.clone());
                continue;
            }
            Op::Merge(merge, _) => merge,
        };
        let existing = match &now {
            Now::Base(base) => *base,
            Now::Record(stored) => Stored::<L>::value(stored),
            Now::Made(value) => value.as_ref().map(L::view),
        };
        match catch_unwind(AssertUnwindSafe(|| merge(existing))) {
            Ok(Ok(value)) if value.as_ref().is_none_or(|value| u32::try_from(L::value_len(value)).is_ok()) => {
                now = Now::Made(value);
            }
            // Refused, or larger than an entry can be, which is refused in its turn.
            Ok(_) => {}
            Err(_) => engine.counters.count(Event::MergePanicked),
        }
    }
    match now {
        Now::Base(_) => None,
        Now::Record(stored) => Some(stored),
        Now::Made(value) => Some(engine.pending_record(hash, L::key(key), value, since)),
    }
}

/// How much may be pending in a cache.
pub(crate) struct PendingPlaces {
    most_writes: usize,
    most_weight: u64,
    writes: AtomicUsize,
    weight: AtomicU64,
}

impl PendingPlaces {
    pub(crate) fn new(most_writes: usize, most_weight: u64) -> Arc<Self> {
        Arc::new(Self { most_writes, most_weight, writes: AtomicUsize::new(0), weight: AtomicU64::new(0) })
    }

    /// How many writes are pending. A read that came to know of one through another thread does not miss it: it was counted before
    /// its key's lock was taken.
    pub(crate) fn writes(&self) -> usize {
        // Relaxed: see above; whoever learnt of the write is ordered after the count by what it learnt it through.
        self.writes.load(Ordering::Relaxed)
    }

    /// A place for a write of that weight, or `None` where there is too much.
    pub(crate) fn take(self: &Arc<Self>, weight: u64) -> Option<PendingPlace> {
        // Relaxed for both: sums that guard no other memory.
        let more = |writes| (writes < self.most_writes).then_some(writes + 1);
        self.writes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let more = |sum: u64| sum.checked_add(weight).filter(|sum| *sum <= self.most_weight);
        if self.weight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            self.writes.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(PendingPlace { places: Arc::clone(self), weight })
    }
}

/// A place for one pending write, given back when dropped.
pub(crate) struct PendingPlace {
    places: Arc<PendingPlaces>,
    weight: u64,
}

impl Drop for PendingPlace {
    fn drop(&mut self) {
        self.places.weight.fetch_sub(self.weight, Ordering::Relaxed);
        self.places.writes.fetch_sub(1, Ordering::Relaxed);
    }
}
