//! Records that the origin makes and names itself: there is no key before the answer, and so no turn and no doubt.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use common::meanwhile::MEANWHILE;
use common::*;
use wtcache::{
    Builder, Cache, Call, Confirmed, CreateCx, CreateError, Created, Declared, EventKind, Failure, How, Lifetime,
    LoadCx, Loaded, Made, NotSent, Outcome, Record, Rejection, Source, SourceError, Step, StepDone, Transacted,
    Version, WriteCx, Wrote,
};
use wtcache_testkit::{Does, Op, Script, When, spawn};

type Answer = Box<dyn FnOnce(&CreateCx<'_>) -> Outcome<Made<Texts>> + Send>;

/// The scripted source, with answers to creates beside it.
#[derive(Clone)]
struct Maker {
    script: Script,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl Source<Texts> for Maker {
    fn get(&self, key: &String, cx: &LoadCx<'_, Texts>) -> Result<Loaded<String>, SourceError> {
        Source::<Texts>::get(&self.script, key, cx)
    }
    fn put(&self, key: &String, value: &String, cx: &WriteCx<'_, Texts>) -> Outcome<Confirmed<String>> {
        self.script.put(key, value, cx)
    }
    fn delete(&self, key: &String, cx: &WriteCx<'_, Texts>) -> Outcome<()> {
        Source::<Texts>::delete(&self.script, key, cx)
    }
    fn create(&self, _: &String, cx: &CreateCx<'_>) -> Outcome<Made<Texts>> {
        let answer = self.answers.lock().unwrap().pop_front().unwrap();
        answer(cx)
    }
    fn declared(&self) -> Declared {
        Source::<Texts>::declared(&self.script)
    }
}

struct Makes {
    w: World,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

fn makes_with(script: Script, options: impl FnOnce(Builder<Texts>) -> Builder<Texts>) -> Makes {
    let clock = wtcache_testkit::ManualClock::new();
    let maker = Maker { script: script.clone(), answers: Arc::default() };
    let answers = Arc::clone(&maker.answers);
    let cache = options(Cache::builder(maker).clock(clock.shared()).clean_start(true)).build().unwrap();
    Makes { w: World { script, clock, cache }, answers }
}

fn makes() -> Makes {
    makes_with(Script::new(), |builder| builder)
}

fn made(key: &str, value: &str) -> Outcome<Made<Texts>> {
    let confirmed = Confirmed::Record(Record::new(value.to_owned()));
    Outcome::Applied(Made::Known { key: key.to_owned(), confirmed })
}

impl Makes {
    fn next(&self, answer: impl FnOnce(&CreateCx<'_>) -> Outcome<Made<Texts>> + Send + 'static) {
        self.answers.lock().unwrap().push_back(Box::new(answer));
    }

    /// The next create makes this record; `meanwhile` runs after the origin made it, and before it answers.
    fn makes(&self, key: &'static str, value: &'static str, meanwhile: impl FnOnce(&World) + Send + 'static) {
        let World { script, clock, cache } = &self.w;
        let w = World { script: script.clone(), clock: clock.clone(), cache: cache.clone() };
        self.next(move |_| {
            w.script.set(key, value);
            meanwhile(&w);
            made(key, value)
        });
    }

    fn create(&self) -> Result<Created<Texts>, CreateError> {
        self.w.cache.create("sent".to_owned())
    }

    /// Of a create that made the record of k.
    #[track_caller]
    fn kept(&self) -> bool {
        let created = self.create().unwrap();
        assert_eq!(created.key.as_deref(), Some("k"));
        assert!(created.entry.is_some(), "the record is returned, kept or not");
        assert_eq!(created.kept, self.w.peek("k").is_some());
        created.kept
    }
}

#[test]
fn p1_what_was_made_is_resident_under_the_key_that_the_origin_named() {
    let m = makes();
    assert_eq!(m.w.get("k"), None, "an absence is remembered");
    m.makes("k", "made", |w| assert_eq!(w.cache.stats().writes_applied, 0));
    let created = m.create().unwrap();
    assert_eq!((created.key.as_deref(), created.kept), (Some("k"), true));
    assert_eq!(created.entry.unwrap().value(), "made");
    assert_eq!((m.w.get("k").as_deref(), m.w.loads("k")), (Some("made"), 1), "g5");
    let stats = m.w.cache.stats();
    assert_eq!((stats.writes_applied, stats.in_doubt, stats.writes_open), (1, 0, 0));
}

#[test]
fn a_record_that_is_not_seen_leaves_the_base_unknown() {
    let m = makes();
    assert_eq!(m.w.get("k"), None);
    m.w.script.set("k", "made");
    for confirmed in [Confirmed::Unseen, Confirmed::AsSent { version: None, lifetime: Lifetime::Default }] {
        m.next(move |_| Outcome::Applied(Made::Known { key: "k".to_owned(), confirmed }));
        let created = m.create().unwrap();
        assert_eq!((created.key.as_deref(), created.kept, created.entry.is_none()), (Some("k"), false, true));
        assert!(m.w.cache.peek("k").is_none());
    }
    assert_eq!(m.w.get("k").as_deref(), Some("made"), "the absence is gone");
    // A source that stores verbatim is believed.
    let script = Script::new();
    script.declare(|declared| declared.stores_verbatim = true);
    let m = makes_with(script, |builder| builder);
    let version = Version::new("v");
    m.next(move |_| {
        let confirmed = Confirmed::AsSent { version, lifetime: Lifetime::Default };
        Outcome::Applied(Made::Known { key: "k".to_owned(), confirmed })
    });
    assert!(m.kept());
    assert_eq!(m.w.peek("k").as_deref(), Some("sent"));
}

#[test]
fn a_key_that_cannot_be_told_is_an_outcome_of_its_own() {
    let m = makes();
    m.next(|_| Outcome::Applied(Made::KeyUnknown));
    let created = m.create().unwrap();
    assert!(created.key.is_none() && created.entry.is_none() && !created.kept);
    assert_eq!(m.w.cache.stats().writes_applied, 1);
}

/// A load that read before the record was made would bring its absence.
#[test]
fn g4_a_load_in_flight_is_detached() {
    let m = makes();
    let gate = m.w.script.hold(Op::Get, "k", When::After);
    let reads = m.w.start(|cache| text(cache.get("k")));
    gate.wait_arrived();
    m.makes("k", "made", |_| {});
    assert!(m.kept());
    gate.release();
    assert_eq!(reads.join().as_deref(), Some("made"));
    assert_eq!((m.w.peek("k").as_deref(), m.w.loads("k")), (Some("made"), 1));
    // Also where its record is not seen.
    let gate = m.w.script.hold(Op::Get, "other", When::After);
    let reads = m.w.start(|cache| text(cache.get("other")));
    gate.wait_arrived();
    m.w.script.set("other", "made");
    m.next(|_| Outcome::Applied(Made::Known { key: "other".to_owned(), confirmed: Confirmed::Unseen }));
    assert!(!m.create().unwrap().kept);
    gate.release();
    assert_eq!(reads.join().as_deref(), Some("made"), "it looked again");
}

/// Nobody knows which of the two the origin applied last.
#[test]
fn p1_beside_a_write_that_is_out_neither_is_retained() {
    for does_meanwhile in [false, true] {
        let m = makes();
        m.makes("k", "made", |_| {});
        let (gate, cache) = (m.w.script.hold(Op::Put, "k", When::Before), m.w.cache.clone());
        let puts = spawn(move || cache.put("k", "put".to_owned()).unwrap().kept);
        gate.wait_arrived();
        if does_meanwhile {
            m.w.cache.invalidate("k");
        }
        assert!(!m.kept());
        gate.release();
        assert!(!puts.join(), "the write is dirty");
        assert!(m.w.cache.peek("k").is_none());
        assert_eq!(m.w.get("k"), m.w.script.truth("k"));
        m.w.assert_settled("k");
    }
}

/// What a load brings while a create is out may be newer than a write that is out: shown after it, the write would be a step back.
#[test]
fn p1_a_write_beside_which_a_load_was_given_out_while_a_create_is_out_is_not_retained() {
    for creating in [false, true] {
        let m = makes();
        let puts = |w: &World| {
            w.cache.invalidate("k");
            let cache = w.cache.clone();
            w.script.next(
                Op::Put,
                "k",
                Does::Run(Box::new(move || drop(spawn(move || cache.get("k").map(drop)).join()))),
            );
            assert_eq!(w.cache.put("k", "put".to_owned()).unwrap().kept, w.cache.peek("k").is_some());
            w.peek("k")
        };
        if creating {
            m.makes("k", "made", move |w| assert_eq!(puts(w), None));
            assert!(!m.kept());
        } else {
            assert_eq!(puts(&m.w).as_deref(), Some("put"), "as ever, where none is");
        }
    }
}

#[test]
fn g5_what_came_by_the_key_since_the_send_may_be_newer() {
    for (what, meanwhile, kept) in MEANWHILE {
        let m = makes();
        m.makes("k", "made", meanwhile);
        assert_eq!(m.create().unwrap().kept, kept, "{what}");
        assert_eq!(m.w.peek("k").is_some(), kept, "{what}");
        m.w.clock.advance(WINDOW);
        assert_eq!(m.w.get("k"), m.w.script.truth("k"), "{what}");
        m.w.assert_settled("k");
        // It is over: the next one is not concerned.
        m.w.cache.invalidate("k");
        m.makes("k", "again", |_| {});
        assert!(m.kept(), "{what}");
    }
}

#[test]
fn i1_a_tag_that_was_invalidated_since_the_send_is_held_against_it() {
    for (told, kept) in [("red", false), ("blue", true)] {
        let m = makes();
        let cache = m.w.cache.clone();
        m.next(move |_| {
            cache.invalidate_tag(told);
            let record = Record::new("made".to_owned()).tags(["red"]);
            Outcome::Applied(Made::Known { key: "k".to_owned(), confirmed: Confirmed::Record(record) })
        });
        assert_eq!(m.kept(), kept, "{told}");
    }
}

#[test]
fn d2_a_key_in_doubt_stays_so() {
    let m = makes();
    let doubt = m.w.doubt("k", "stray", Does::Stray);
    m.makes("k", "made", |_| {});
    assert!(!m.kept());
    assert_eq!(m.w.cache.stats().in_doubt, 1);
    m.w.assert_not_retained("k");
    assert!(doubt.outcome().is_none());
    m.w.script.land();
    m.w.clock.advance(WINDOW);
    m.w.assert_settled("k");
}

#[test]
fn o2_pending_writes_are_shown_above_it_and_survive_it() {
    let m = makes();
    let permit = m.w.cache.prepare("k", &Call::new()).unwrap();
    let pending = m.w.cache.put_optimistic("k", "pending".to_owned()).unwrap();
    m.makes("k", "made", |_| {});
    let created = m.create().unwrap();
    assert_eq!((created.kept, created.entry.unwrap().value().as_str()), (true, "made"));
    let read = m.w.cache.read("k", &Call::new()).unwrap();
    assert_eq!((read.how, read.entry.unwrap().value().as_str()), (How::Pending, "pending"));
    let confirmed = m.w.cache.read_confirmed("k", &Call::new()).unwrap();
    assert_eq!((confirmed.how, confirmed.entry.unwrap().value().as_str()), (How::Hit, "made"));
    permit.abort();
    assert!(pending.wait().unwrap().kept);
    assert_eq!((m.w.get("k").as_deref(), m.w.script.truth("k").as_deref()), (Some("pending"), Some("pending")));
}

/// A transaction shows all of its keys or none: a record that one of its steps made is not shown before the others.
#[test]
fn t1_in_a_transaction_on_its_key_it_is_not_retained() {
    let m = makes();
    m.makes("k", "made", |_| {});
    let (cache, seen) = (m.w.cache.clone(), Arc::new(Mutex::new(None)));
    let told = Arc::clone(&seen);
    let step = Step::call(move |_| {
        let kept = cache.create("sent".to_owned()).unwrap().kept;
        *told.lock().unwrap() = Some((kept, cache.peek("k").is_some()));
        Outcome::Applied(StepDone::new().wrote("other", Wrote::AsSent))
    });
    let transaction = m.w.cache.transaction().update("k", "x".to_owned()).update("other", "y".to_owned());
    // The key itself is written by a later step: nothing of it is out yet.
    let later = Step::call(|_| Outcome::Applied(StepDone::new().wrote("k", Wrote::AsSent)));
    let ended = transaction.step(step.writes("other")).step(later.writes("k")).run();
    assert!(matches!(ended, Transacted::Committed(_)), "committed");
    assert_eq!(*seen.lock().unwrap(), Some((false, false)));
}

#[test]
fn a1_an_unknown_end_leaves_no_key_in_doubt_and_says_so() {
    let m = makes();
    m.next(|_| Outcome::Unknown(SourceError::new(Failure::Broken, "the connection broke")));
    m.next(|_| panic!("scripted"));
    for words in ["the connection broke", "the source panicked: scripted"] {
        let error = m.create().map(|_| ()).unwrap_err();
        assert!(matches!(&error, CreateError::Unknown(cause) if cause.message() == words), "{error:?}");
        assert!(error.to_string().contains("no key is in doubt"), "{error}");
    }
    let stats = m.w.cache.stats();
    assert_eq!((stats.in_doubt, stats.writes_unknown, stats.writes_open), (0, 2, 0));
    assert!(m.w.cache.doubts(10).is_empty());
}

#[test]
fn a2_a_refusal_is_handed_on_unless_an_earlier_send_may_still_land() {
    let refuse = || Outcome::Rejected(Rejection::new(SourceError::new(Failure::Refused, "no")).of_all_sends());
    for honoured in [false, true] {
        let script = Script::new();
        script.declare(|declared| declared.honours_idempotency = honoured);
        let m = makes_with(script, |builder| builder);
        m.next(move |_| refuse());
        assert!(matches!(m.create(), Err(CreateError::Rejected(rejection)) if rejection.error.message() == "no"));
        m.next(move |cx| {
            cx.leaves_stray();
            refuse()
        });
        let ended = m.create().map(|_| ()).unwrap_err();
        assert_eq!(matches!(ended, CreateError::Rejected(_)), honoured, "{ended:?}");
    }
    // A source that does not create has sent nothing.
    let w = world();
    match w.cache.create("sent".to_owned()).map(|_| ()).unwrap_err() {
        CreateError::Rejected(rejection) => assert_eq!(rejection.error.failure(), Failure::Invalid),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a2_what_is_not_sent_says_so_and_every_send_has_an_idempotency_key() {
    let m = makes();
    let keys = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..2 {
        let keys = Arc::clone(&keys);
        m.next(move |cx| {
            keys.lock().unwrap().push(cx.idempotency_key());
            assert_eq!(cx.remaining(), secs(5));
            Outcome::Applied(Made::KeyUnknown)
        });
        m.create().unwrap();
    }
    let keys = keys.lock().unwrap().clone();
    assert_ne!(keys[0], keys[1]);
    let late = m.w.cache.create_with("sent".to_owned(), &within(secs(0)));
    assert!(matches!(late, Err(CreateError::NotSent(NotSent::Deadline))));
    m.makes("k", "made", |w| drop(w.cache.close(secs(0))));
    assert!(!m.create().unwrap().kept, "b4: a closed cache retains nothing");
    assert!(matches!(m.create(), Err(CreateError::NotSent(NotSent::Closed))));
    assert_eq!(m.w.cache.stats().writes_not_sent, 2);
}

#[test]
fn b4_a_close_waits_for_a_create_that_is_out() {
    let m = makes();
    let (arrived, arrives) = std::sync::mpsc::channel();
    let (go, goes) = std::sync::mpsc::channel::<()>();
    m.next(move |_| {
        arrived.send(()).unwrap();
        goes.recv().unwrap();
        made("k", "made")
    });
    let creates = m.w.start(|cache| cache.create("sent".to_owned()).unwrap().kept);
    arrives.recv().unwrap();
    let closes = m.w.until_it_waits(|cache| cache.close(secs(60)));
    go.send(()).unwrap();
    assert!(!creates.join());
    assert!(closes.join().unfinished.is_empty());
}

#[test]
fn b5_a_listener_is_told_of_a_put_of_the_key() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let m = makes_with(Script::new(), move |builder| {
        builder.listener(move |event| tells.lock().unwrap().push((event.key.clone(), event.kind)))
    });
    m.makes("k", "made", |_| {});
    m.makes("k", "again", |w| w.cache.invalidate("k"));
    assert!(m.kept() && !m.kept());
    let put = |kept| ("k".to_owned(), EventKind::Put { kept });
    assert_eq!(*told.lock().unwrap(), [put(true), ("k".to_owned(), EventKind::Invalidated), put(false)]);
}
