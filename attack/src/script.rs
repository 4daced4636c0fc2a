//! What a round does, as plain data: made from a seed, printed as text lines and read back from them.
//!
//! Owns: what may be asked for. Never: runs anything. Invariant: a script made here keeps the assumptions of the contract:
//! nothing is delayed at the origin for longer than the settle window, and no answer that an origin makes up is a lie.

use std::fmt;

use wtcache_origin::{Fault, Method, Script as Rows};
use wtcache_testkit::Dice;

use crate::judge::item;

/// How the origin tells of its changes by itself. In a script it is a number: 0 to 3, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Feeds {
    /// Not at all.
    #[default]
    None,
    /// By a stream that goes on where it was cut.
    Resumed,
    /// By a stream that begins anew after a cut.
    Anew,
    /// By a long poll.
    Polled,
}

impl Feeds {
    const ALL: [Self; 4] = [Self::None, Self::Resumed, Self::Anew, Self::Polled];

    fn of(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// The options of cache and source that a script varies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `in_doubt_writes = wait`; else they are sent.
    pub writes_wait: bool,
    /// How long a record, and its absence, is served. Zero: a record without end, its absence for the default time.
    pub lifetime_ms: u64,
    /// In bytes.
    pub capacity: u64,
    /// The source declares that the origin honours preconditions and never gives a version twice. It does both.
    pub honoured: bool,
    /// `absent_after_delete`.
    pub absent_after_delete: bool,
    /// The settle window that the source declares.
    pub window_ms: u64,
    /// The deadline of every call.
    pub deadline_ms: u64,
    /// How long an expired record is served while it is refreshed, or in place of an error. Zero: not at all, and nothing is
    /// refreshed in the background.
    pub stale_ms: u64,
    /// The origin honours idempotency keys, and the source declares it.
    pub honours_keys: bool,
    /// How often the source attempts a load again, and a write where it may. Attempts that may be followed by others are cut short.
    pub retries: u64,
    /// The source has a breaker.
    pub breaker: bool,
    /// How the origin tells of its changes. The source declares the order of versions if it does.
    pub feed: Feeds,
}

/// What a thread does next. Numbers are keys, but for `ForgetMany` and `Wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Reads.
    Get(u64),
    /// Reads what is confirmed.
    GetConfirmed(u64),
    /// Reads all keys up to this one in one call.
    GetMany(u64),
    /// Writes a value that nobody else writes.
    Put(u64),
    /// Deletes.
    Delete(u64),
    /// Reads, and writes another value in the same turn.
    Update(u64),
    /// Reads, and deletes what is there in the same turn.
    Take(u64),
    /// Reads, and writes another value if the record is still the one that was read.
    PutIf(u64),
    /// Sends its last write of the key again, if nobody knows what became of that.
    Replay(u64),
    /// Leaves a pending put.
    PutPending(u64),
    /// Leaves a pending delete.
    DeletePending(u64),
    /// Leaves a pending merge, which makes a value of its own that says what it was made of.
    MergePending(u64),
    /// Leaves a pending put, and takes it back at once if it can.
    TakeBack(u64),
    /// Writes this key and up to two below it, in one transaction.
    Transact(u64),
    /// Leaves the same transaction pending.
    TransactPending(u64),
    /// Somebody else writes a value at the origin that nobody else writes, and tells so some milliseconds later.
    Elsewhere(u64),
    /// Invalidates.
    Forget(u64),
    /// Invalidates all keys: by their prefix (0), by a pattern (1) or by their tag.
    ForgetMany(u64),
    /// Nothing, for so many milliseconds.
    Wait(u64),
}

type OfNumber = fn(u64) -> Do;
const DOS: [(&str, OfNumber); 19] = [
    ("get", Do::Get),
    ("get-confirmed", Do::GetConfirmed),
    ("get-many", Do::GetMany),
    ("put", Do::Put),
    ("delete", Do::Delete),
    ("update", Do::Update),
    ("take", Do::Take),
    ("put-if", Do::PutIf),
    ("replay", Do::Replay),
    ("put-pending", Do::PutPending),
    ("delete-pending", Do::DeletePending),
    ("merge-pending", Do::MergePending),
    ("take-back", Do::TakeBack),
    ("transact", Do::Transact),
    ("transact-pending", Do::TransactPending),
    ("elsewhere", Do::Elsewhere),
    ("forget", Do::Forget),
    ("forget-many", Do::ForgetMany),
    ("wait", Do::Wait),
];

impl Do {
    fn parts(self) -> (&'static str, u64) {
        match self {
            Self::Get(n) => ("get", n),
            Self::GetConfirmed(n) => ("get-confirmed", n),
            Self::GetMany(n) => ("get-many", n),
            Self::Put(n) => ("put", n),
            Self::Delete(n) => ("delete", n),
            Self::Update(n) => ("update", n),
            Self::Take(n) => ("take", n),
            Self::PutIf(n) => ("put-if", n),
            Self::Replay(n) => ("replay", n),
            Self::PutPending(n) => ("put-pending", n),
            Self::DeletePending(n) => ("delete-pending", n),
            Self::MergePending(n) => ("merge-pending", n),
            Self::TakeBack(n) => ("take-back", n),
            Self::Transact(n) => ("transact", n),
            Self::TransactPending(n) => ("transact-pending", n),
            Self::Elsewhere(n) => ("elsewhere", n),
            Self::Forget(n) => ("forget", n),
            Self::ForgetMany(n) => ("forget-many", n),
            Self::Wait(n) => ("wait", n),
        }
    }
}

/// What strikes requests of `method`, as the origin's scripts have it: neither a lie, nor later than the settle window.
fn behaviour(dice: &mut Dice, method: Method, options: &Options) -> String {
    const READS: [&str; 18] = [
        "delay-before-apply",
        "delay-before-apply",
        "delay-after-apply",
        "delay-after-apply",
        "delay-after-apply",
        "delay-after-apply",
        "answer",
        "reset-on-head",
        "reset-before-apply",
        "reset-after-apply",
        "close-before-apply",
        "close-after-apply",
        "hang-after-apply",
        "truncated-body",
        "slow-body",
        "broken-chunked",
        "close-after-answer",
        "oversize-body",
    ];
    const WRITES: [&str; 22] = [
        "delay-before-apply",
        "delay-before-apply",
        "delay-after-apply",
        "delay-after-apply",
        "answer",
        "answer",
        "apply-then-answer",
        "reset-on-head",
        "reset-before-apply",
        "reset-after-apply",
        "close-before-apply",
        "close-after-apply",
        "hang-before-apply",
        "hang-after-apply",
        "truncated-body",
        "slow-body",
        "broken-chunked",
        "close-after-answer",
        "oversize-body",
        "stray-reset",
        "stray-reset",
        "stray-hang",
    ];
    let reads = method == Method::Get;
    let name = if reads { *dice.pick(&READS) } else { *dice.pick(&WRITES) };
    let needs = match name {
        "answer" if reads => (*dice.pick(&["429", "429 retry-after=0", "500", "503", "503 retry-after=1"])).to_owned(),
        "answer" => {
            let mut answers = vec!["408", "429", "429 retry-after=0", "500", "503", "503 retry-after=0"];
            // Where keys are honoured, a refusal is that of any send of the write; where preconditions are, a 409 or 412 says that the
            // record has another version: no origin makes those up.
            if !options.honours_keys {
                answers.extend(["400", "422"]);
            }
            if !options.honours_keys && !options.honoured {
                answers.extend(["409", "412"]);
            }
            (*dice.pick(&answers)).to_owned()
        }
        // A 204 would say that a write was applied that its precondition kept back.
        "apply-then-answer" if options.honoured => (*dice.pick(&["202", "500", "503"])).to_owned(),
        "apply-then-answer" => (*dice.pick(&["202", "204", "500", "503"])).to_owned(),
        "delay-before-apply" | "delay-after-apply" | "stray-reset" | "stray-hang" => {
            format!("{}ms", dice.between(0, options.window_ms / 2))
        }
        "slow-body" => "1ms".to_owned(),
        "oversize-body" => dice.between(14, 4000).to_string(),
        _ => String::new(),
    };
    let times = if dice.percent(15) { format!(" x{}", dice.between(2, 4)) } else { String::new() };
    format!("{name} {needs}{times}")
}

/// The rows of a script's keys: requests of each fare so, one after the other. Those of the method `slow` go on with delays.
fn faults(dice: &mut Dice, keys: u64, short: bool, slow: Option<Method>, options: &Options) -> Vec<Fault> {
    let mut text = String::new();
    // Where much goes wrong, a key is in doubt most of the time, and little is served from the cache.
    let calm = if short { 3 } else { *dice.pick(&[1, 2, 6]) };
    for key in 0..keys {
        for (method, most) in [(Method::Get, 12), (Method::Put, 12), (Method::Delete, 4)] {
            let mut row = Vec::new();
            for _ in 0..dice.between(0, most / calm) {
                // Not one after the other: requests between them fare well.
                for _ in 0..dice.between(0, if short { 1 } else { 2 * calm - 1 }) {
                    row.push(match dice.between(0, 5) {
                        0 => "ok".to_owned(),
                        ms => format!("delay-after-apply {}ms", ms - 1),
                    });
                }
                row.push(if short && method != Method::Get && dice.percent(50) {
                    format!("stray-reset {}ms", dice.between(0, options.window_ms / 2))
                } else {
                    behaviour(dice, method, options)
                });
            }
            if slow == Some(method) {
                row.push("delay-after-apply 6ms x200".to_owned());
            }
            if !row.is_empty() {
                text += &format!("{}: {} {}\n", item(key), method.name(), row.join(", "));
            }
        }
    }
    let script: Rows = text.parse().unwrap_or_else(|error| panic!("{error}:\n{text}"));
    script.into_iter().collect()
}

/// What happens to the origin as a whole, at a time from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// At this time all connections are closed.
    Drop(u64),
    /// From this time, for so long, connections are refused.
    Outage(u64, u64),
}

/// A round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// How cache and source are built.
    pub options: Options,
    /// What each thread does.
    pub threads: Vec<Vec<Do>>,
    /// What waits at the origin, in order: rows of its own scripts.
    pub faults: Vec<Fault>,
    /// What happens meanwhile.
    pub disturbances: Vec<Disturbance>,
}

impl Script {
    /// The script of a seed, of so many threads, or of two to six.
    #[must_use]
    pub fn of_seed(seed: u64, threads: Option<usize>) -> Self {
        // Of its own, so that the rest is that of the seed, fed or not.
        let (mut dice, mut fed) = (Dice::new(seed), Dice::new(!seed));
        let mut options = Options {
            writes_wait: dice.percent(30),
            lifetime_ms: *dice.pick(&[0, 0, 5, 20]),
            capacity: *dice.pick(&[1 << 20, 1 << 20, 160]),
            honoured: dice.percent(50),
            absent_after_delete: dice.percent(30),
            window_ms: *dice.pick(&[80, 150, 150]),
            deadline_ms: *dice.pick(&[40, 80, 80, 250]),
            stale_ms: *dice.pick(&[0, 0, 10, 40]),
            honours_keys: dice.percent(40),
            retries: *dice.pick(&[0, 0, 1, 3]),
            breaker: dice.percent(30),
            feed: *fed.pick(&[Feeds::None, Feeds::None, Feeds::None, Feeds::Resumed, Feeds::Anew, Feeds::Polled]),
        };
        let is_fed = options.feed != Feeds::None;
        // So that pushes meet requests.
        let slow = fed.pick(&[None, Some(Method::Get), Some(Method::Get), Some(Method::Put)]).filter(|_| is_fed);
        if slow == Some(Method::Get) {
            // A record that is there is loaded anew, and pushed while no write is out.
            options.lifetime_ms = 20;
            options.stale_ms = *fed.pick(&[0, 40]);
        }
        // A stray write that lands on top of others is seen at rest, if no later write covers it: so most rounds are short.
        let short = dice.percent(65);
        let keys = dice.between(1, if short { 2 } else { 4 });
        let wanted = threads.map_or_else(|| dice.between(2, 6), |threads| threads as u64);
        let steps = if short { dice.between(2, 14) } else { (240 * keys / wanted).clamp(20, 120) };
        let threads = (0..wanted)
            .map(|_| (0..steps).map(|_| Self::step(&mut dice, keys, is_fed, slow == Some(Method::Get))).collect())
            .collect();
        let faults = faults(&mut dice, keys, short, slow, &options);
        let mut disturbances = Vec::new();
        if dice.percent(20) {
            disturbances.push(Disturbance::Drop(dice.between(0, 200)));
        }
        if dice.percent(20) {
            disturbances.push(Disturbance::Outage(dice.between(0, 150), dice.between(1, 30)));
        }
        if is_fed && fed.percent(60) {
            disturbances.extend((0..fed.between(1, 3)).map(|_| Disturbance::Drop(fed.between(0, 200))));
        }
        Self { options, threads, faults, disturbances }
    }

    /// `is_fed`: the feed tells of what others write, who write more. `shared`: half of the keys are left to them.
    fn step(dice: &mut Dice, keys: u64, is_fed: bool, shared: bool) -> Do {
        let key = dice.between(0, keys - 1);
        let is_theirs = shared && key.is_multiple_of(2);
        match dice.between(1, 100) {
            1..=7 if is_fed => Do::Elsewhere(key),
            1..=33 => Do::Get(key),
            34..=36 => Do::Elsewhere(key),
            37..=40 => Do::GetConfirmed(key),
            41..=46 => Do::GetMany(key),
            47..=92 if is_theirs => Do::Get(key),
            47..=55 => Do::Put(key),
            56..=61 => Do::Update(key),
            62..=65 => Do::PutIf(key),
            66..=69 => Do::Delete(key),
            70 => Do::Take(key),
            71..=74 => Do::Replay(key),
            75..=79 => Do::PutPending(key),
            80..=83 => Do::MergePending(key),
            84..=85 => Do::DeletePending(key),
            86 => Do::TakeBack(key),
            87..=90 => Do::Transact(key),
            91..=92 => Do::TransactPending(key),
            93 => Do::Forget(key),
            94 => Do::ForgetMany(dice.between(0, 2)),
            _ => Do::Wait(dice.between(1, 25)),
        }
    }

    /// How many operations its threads do.
    #[must_use]
    pub fn len(&self) -> usize {
        self.threads.iter().flatten().filter(|step| !matches!(step, Do::Wait(_))).count()
    }

    /// Nothing is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys that it uses: all below this.
    #[must_use]
    pub fn keys(&self) -> u64 {
        let of_step = |step: &Do| match step.parts() {
            ("wait" | "forget-many", _) => 0,
            (_, key) => key + 1,
        };
        self.threads.iter().flatten().map(of_step).max().unwrap_or(0)
    }

    /// Reads what [`fmt::Display`] printed. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// A line that is none of a script, by its number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut options = None;
        let (mut threads, mut faults, mut disturbances) = (Vec::<Vec<Do>>::new(), Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let read = || -> Option<()> {
                match words.as_slice() {
                    [] | ["#", ..] => {}
                    ["options", rest @ ..] => options = Some(Options::parse(rest)?),
                    ["thread"] => threads.push(Vec::new()),
                    ["fault", ..] => {
                        faults.extend(line.trim_start().strip_prefix("fault")?.parse::<Rows>().ok()?);
                    }
                    ["drop", at] => disturbances.push(Disturbance::Drop(at.parse().ok()?)),
                    ["outage", at, length] => {
                        disturbances.push(Disturbance::Outage(at.parse().ok()?, length.parse().ok()?));
                    }
                    [name, number] => {
                        let (_, step) = DOS.iter().find(|(known, _)| known == name)?;
                        threads.last_mut()?.push(step(number.parse().ok()?));
                    }
                    _ => return None,
                }
                Some(())
            };
            let mut read = read;
            read().ok_or_else(|| format!("line {}: {line:?} is no line of a script", number + 1))?;
        }
        let options = options.ok_or("there is no line of options")?;
        Ok(Self { options, threads, faults, disturbances })
    }
}

impl Options {
    const NAMES: [&str; 12] = [
        "writes_wait",
        "lifetime_ms",
        "capacity",
        "honoured",
        "absent_after_delete",
        "window_ms",
        "deadline_ms",
        "stale_ms",
        "honours_keys",
        "retries",
        "breaker",
        "feed",
    ];

    fn numbers(&self) -> [u64; 12] {
        [
            self.writes_wait.into(),
            self.lifetime_ms,
            self.capacity,
            self.honoured.into(),
            self.absent_after_delete.into(),
            self.window_ms,
            self.deadline_ms,
            self.stale_ms,
            self.honours_keys.into(),
            self.retries,
            self.breaker.into(),
            self.feed as u64,
        ]
    }

    fn parse(words: &[&str]) -> Option<Self> {
        let number = |name: &str| -> Option<u64> {
            let of = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
            of.parse().ok()
        };
        let [writes_wait, lifetime, capacity, honoured, absent, window, deadline, stale, keys, retries, breaker, feed] =
            Self::NAMES.map(number);
        Some(Self {
            writes_wait: writes_wait? != 0,
            lifetime_ms: lifetime?,
            capacity: capacity?,
            honoured: honoured? != 0,
            absent_after_delete: absent? != 0,
            window_ms: window?,
            deadline_ms: deadline?,
            stale_ms: stale?,
            honours_keys: keys? != 0,
            retries: retries?,
            breaker: breaker? != 0,
            feed: Feeds::of(feed?)?,
        })
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("options")?;
        for (name, number) in Options::NAMES.iter().zip(self.options.numbers()) {
            write!(f, " {name}={number}")?;
        }
        writeln!(f)?;
        for fault in &self.faults {
            writeln!(f, "fault {fault}")?;
        }
        for disturbance in &self.disturbances {
            match disturbance {
                Disturbance::Drop(at) => writeln!(f, "drop {at}")?,
                Disturbance::Outage(at, length) => writeln!(f, "outage {at} {length}")?,
            }
        }
        for thread in &self.threads {
            writeln!(f, "thread")?;
            for step in thread {
                let (name, number) = step.parts();
                writeln!(f, "{name} {number}")?;
            }
        }
        Ok(())
    }
}
