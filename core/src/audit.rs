//! The auditor: asks the origin again about what is resident, and counts what has differed from it for long.
//!
//! It is for programs whose origin has other writers: it says how often, and for how long, hits give what the origin no longer
//! has. One thread a cache, which holds no handle on the cache while it sleeps. Invariants: one call of the source at a time, and none
//! before the interval has passed since the last one began; what a call brings is compared and dropped, never kept or given to a reader.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::drive::{Parker, finish};
use crate::engine::Engine;
use crate::entry::sealed::Stored;
use crate::entry::{Entry, Layout, Version};
use crate::listener::EventKind;
use crate::metrics::Event;
use crate::nesting;
use crate::shard::Standing;
use crate::source::{LoadCx, Loaded};
use crate::sync::{self, Arc, Mutex, Weak};

/// How the auditor works: see [`Builder::audit`](crate::Builder::audit). The default is one check a second.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Audit {
    pub(crate) every: Duration,
}

impl Audit {
    /// One check a second.
    pub fn new() -> Self {
        Self { every: Duration::from_secs(1) }
    }

    /// One check in each interval of this length at most, each a call of the source's `get`; 1 ms to a day.
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval;
        self
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self::new()
    }
}

/// Says whether a resident value and the origin's are the same.
pub(crate) type Same<L> = Box<dyn Fn(&<L as Layout>::View, &<L as Layout>::View) -> bool + Send + Sync>;

/// How long a difference has to last, and as what it is counted then.
const SPANS: [(Duration, Event); 3] = [
    (Duration::from_secs(1), Event::Differs1),
    (Duration::from_secs(10), Event::Differs10),
    (Duration::from_secs(60), Event::Differs60),
];

/// Differences that are followed up at once. Each holds a handle on its entry.
const MOST_SUSPECTS: usize = 1024;

/// Places that are looked at in a shard for one entry to ask about.
const LOOKS: usize = 32;

/// When a check that said nothing is made again, at the earliest.
const AGAIN: Duration = Duration::from_secs(1);

/// What the cache holds of its auditor. Dropping it ends the auditor.
pub(crate) struct Auditor(Arc<Bell>);

struct Bell(Mutex<BellState>);

struct BellState {
    ended: bool,
    sleeper: Option<Waker>,
}

impl Auditor {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Bell(Mutex::new(BellState { ended: false, sleeper: None }))))
    }

    /// No check begins any more, once the one that is under way has ended.
    pub(crate) fn end(&self) {
        let sleeper = {
            let mut state = self.0.0.lock();
            state.ended = true;
            state.sleeper.take()
        };
        if let Some(waker) = sleeper {
            waker.wake();
        }
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.end();
    }
}

impl Bell {
    fn has_ended(&self) -> bool {
        self.0.lock().ended
    }
}

/// Starts the auditor of a cache that has one. Gives the system's error where it has no thread for it.
pub(crate) fn start<L: Layout>(engine: &Arc<Engine<L>>, audit: Audit, same: Same<L>) -> std::io::Result<()> {
    let Some(auditor) = &engine.auditor else { return Ok(()) };
    let (bell, clock, engine) = (Arc::clone(&auditor.0), Arc::clone(&engine.clock), Arc::downgrade(engine));
    sync::spawn("wtcache-auditor", move || run(&engine, &*clock, &bell, audit.every, &same))
}

fn run<L: Layout>(engine: &Weak<Engine<L>>, clock: &dyn Clock, bell: &Bell, every: Duration, same: &Same<L>) {
    let parker = Parker::new();
    bell.0.lock().sleeper = Some(parker.waker().clone());
    let mut suspects = Suspects { list: Vec::new(), followed_up: false };
    let mut next = clock.now().after(every);
    loop {
        // After the waker was left, so that no end is missed.
        while clock.now() < next {
            if bell.has_ended() {
                return;
            }
            parker.park_until(clock, next);
        }
        let Some(engine) = engine.upgrade().filter(|engine| !engine.is_closed()) else { return };
        next = clock.now().after(every);
        // A panic of the source, the comparison or a drop: what it was about is asked about again in its turn.
        if catch_unwind(AssertUnwindSafe(|| suspects.turn(&engine, same))).is_err() {
            engine.counters.count(Event::AuditFailed);
        }
    }
}

/// An entry that differed from the origin.
struct Suspect<L: Layout> {
    stored: L::Stored,
    /// When its own request began. If the origin has confirmed it since, it is no suspect any more.
    since: Tick,
    /// When the answer came that first differed.
    first: Tick,
    /// How many of the spans have been told.
    told: usize,
    /// When to ask again; never once all have.
    due: Tick,
}

struct Suspects<L: Layout> {
    list: Vec<Suspect<L>>,
    /// The last turn went to a suspect: the next one goes to another entry.
    followed_up: bool,
}

/// What a check says of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    Differs,
    /// The source gave no answer.
    Nothing,
}

impl<L: Layout> Suspects<L> {
    /// One check: of the suspect that is due for longest, else of a resident entry at random.
    fn turn(&mut self, engine: &Engine<L>, same: &Same<L>) {
        let now = engine.clock.now();
        self.list.retain(|suspect| is_fresh(engine, &suspect.stored, suspect.since, now));
        let due = self.list.iter().enumerate().filter(|(_, suspect)| suspect.due <= now);
        let due = due.min_by_key(|(_, suspect)| suspect.due).map(|(index, _)| index);
        // Neither suspects nor others take all turns.
        let other = if due.is_none() || self.followed_up { self.sample(engine) } else { None };
        self.followed_up = false;
        match (other, due) {
            (Some(stored), _) => self.look_at(stored, engine, same),
            (None, Some(index)) => {
                self.followed_up = true;
                self.follow_up(index, engine, same);
            }
            (None, None) => {}
        }
    }

    /// A resident entry that a hit would give and that is no suspect, at random.
    fn sample(&self, engine: &Engine<L>) -> Option<L::Stored> {
        let (shards, now) = (engine.shards(), engine.clock.now());
        let start = usize::try_from(engine.random() % shards.len() as u64).expect("less than a length");
        shards[start..].iter().chain(&shards[..start]).find_map(|shard| {
            let state = shard.read();
            let is_other = |stored: &L::Stored| {
                stored.header().serve_until() > now && !self.list.iter().any(|suspect| suspect.stored.same(stored))
            };
            state.store.sample(engine.random(), LOOKS).find(|stored| is_other(stored)).map(|stored| stored.clone())
        })
    }

    fn look_at(&mut self, stored: L::Stored, engine: &Engine<L>, same: &Same<L>) {
        let since = stored.header().since();
        if ask(engine, &stored, same) != Verdict::Differs || standing(engine, &stored, since) != Standing::Served {
            return;
        }
        if self.list.len() >= MOST_SUSPECTS {
            engine.counters.count(Event::AuditUnfollowed);
            return;
        }
        let first = engine.clock.now();
        self.list.push(Suspect { stored, since, first, told: 0, due: first.after(SPANS[0].0) });
    }

    fn follow_up(&mut self, index: usize, engine: &Engine<L>, same: &Same<L>) {
        let suspect = &mut self.list[index];
        let asked = engine.clock.now();
        let verdict = ask(engine, &suspect.stored, same);
        let (key, since) = (suspect.stored.key(), suspect.since);
        let told = engine.at_key(suspect.stored.header().hash, key, |at| {
            match (at.standing(&suspect.stored, since), verdict) {
                (Standing::Gone, _) | (_, Verdict::Same) => None,
                (Standing::Busy, _) | (_, Verdict::Nothing) => Some(suspect.told),
                (Standing::Served, Verdict::Differs) => {
                    // Between the two requests the origin was seen to differ for so long.
                    let lasted = asked.since(suspect.first);
                    let passed = |(span, _): &&(Duration, Event)| *span <= lasted;
                    let told = SPANS.iter().take_while(passed).count();
                    for (span, event) in &SPANS[suspect.told..told] {
                        engine.counters.count(*event);
                        at.note(EventKind::Differs { longer_than: *span });
                    }
                    Some(told)
                }
            }
        });
        match told {
            None => drop(self.list.swap_remove(index)),
            Some(told) => {
                suspect.due = match SPANS.get(told) {
                    None => Tick::NEVER,
                    Some(_) if told == suspect.told => engine.clock.now().after(AGAIN),
                    Some((span, _)) => suspect.first.after(*span),
                };
                suspect.told = told;
            }
        }
    }
}

/// It is the record of its key yet, has not expired, and was not confirmed since.
fn is_fresh<L: Layout>(engine: &Engine<L>, stored: &L::Stored, since: Tick, now: Tick) -> bool {
    let header = stored.header();
    let state = engine.shard(header.hash).read();
    let resident = state.store.find(header.hash, |key| L::same_key(key, stored.key()));
    resident.is_some_and(|resident| resident.same(stored)) && header.since() == since && header.expires() > now
}

fn standing<L: Layout>(engine: &Engine<L>, stored: &L::Stored, since: Tick) -> Standing {
    engine.at_key(stored.header().hash, stored.key(), |at| at.standing(stored, since))
}

/// Asks the origin about an entry. What it answers is dropped here.
fn ask<L: Layout>(engine: &Engine<L>, stored: &L::Stored, same: &Same<L>) -> Verdict {
    engine.counters.count(Event::Audited);
    let deadline = engine.audit_deadline();
    let replaced = Entry::of(stored.clone());
    let cx = LoadCx { clock: &*engine.clock, deadline, replaced: replaced.as_ref() };
    let served = [engine.frame(stored.header().hash)];
    let asked = nesting::within(&served, None, async {
        match engine.source.get(stored.key(), &cx).await {
            Ok(answer) if engine.clock.now() < deadline => compare(engine, replaced.as_ref(), answer, same),
            Ok(_) | Err(_) => Verdict::Nothing,
        }
    });
    let verdict = finish(asked, engine.source.runtime());
    if verdict == Verdict::Nothing {
        engine.counters.count(Event::AuditFailed);
    }
    verdict
}

fn compare<L: Layout>(
    engine: &Engine<L>,
    resident: Option<&Entry<L>>,
    answer: Loaded<L::Value>,
    same: &Same<L>,
) -> Verdict {
    let is_same = match (resident, answer) {
        (None, Loaded::Absent | Loaded::AbsentFor(_)) | (Some(_), Loaded::Unchanged(_)) => true,
        (None, Loaded::Unchanged(_)) => return Verdict::Nothing,
        (None, Loaded::Found(_)) | (Some(_), Loaded::Absent | Loaded::AbsentFor(_)) => false,
        (Some(entry), Loaded::Found(record)) => {
            // One version is one record only where none comes twice; two versions may be of one value, and a reader cannot tell.
            let same_version = engine.declared.versions_never_reused
                && entry
                    .version()
                    .is_some_and(|version| record.version.as_ref().map(Version::as_bytes) == Some(version));
            same_version || same(entry.value(), L::view(&record.value))
        }
    };
    if is_same { Verdict::Same } else { Verdict::Differs }
}
