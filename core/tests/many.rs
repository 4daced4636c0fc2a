//! Reading and writing many keys in one call: promises of chapters 2 and 3.

mod common;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use common::*;
use wtcache::{
    Batch, Builder, ByteCache, Cache, Call, Failure, How, LoadCx, LoadError, LoadMany, Loaded, NotSent, Outcome, Read,
    Record, Source, SourceError, WriteCx,
};
use wtcache_testkit::{Does, Op, Script, When};

type Answers = Vec<Result<Read<Texts>, LoadError>>;
type AskMany = Box<dyn Fn(&Script, &mut Batch<'_, Texts>) -> Result<(), SourceError> + Send + Sync>;

/// A script that also loads many with one request.
struct Batching {
    script: Script,
    ask: AskMany,
    most: usize,
    /// The keys of each request.
    asked: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Source<Texts> for Batching {
    fn get(&self, key: &String, cx: &LoadCx<'_, Texts>) -> Result<Loaded<String>, SourceError> {
        self.script.get(key, cx)
    }
    fn put(&self, key: &String, value: &String, cx: &WriteCx<'_, Texts>) -> Outcome<wtcache::Confirmed<String>> {
        self.script.put(key, value, cx)
    }
    fn load_many(&self) -> Option<&dyn LoadMany<Texts>> {
        Some(self)
    }
}

impl LoadMany<Texts> for Batching {
    fn get_many(&self, batch: &mut Batch<'_, Texts>) -> Result<(), SourceError> {
        self.asked.lock().expect("no panic with it").push(batch.keys().cloned().collect());
        (self.ask)(&self.script, batch)
    }
    fn most_keys(&self) -> usize {
        self.most
    }
}

/// Each key as the script would load it alone.
fn ask_each(script: &Script, batch: &mut Batch<'_, Texts>) -> Result<(), SourceError> {
    let keys: Vec<String> = batch.keys().cloned().collect();
    for (at, key) in keys.iter().enumerate() {
        let answer = script.get(key, &LoadCx::<Texts>::alone(batch.remaining()));
        batch.answer(at, answer);
    }
    Ok(())
}

struct Many {
    w: World,
    asked: Arc<Mutex<Vec<Vec<String>>>>,
}

fn many_with(ask: AskMany, most: usize, options: impl FnOnce(Builder<Texts>) -> Builder<Texts>) -> Many {
    let (script, clock, asked) = (Script::new(), wtcache_testkit::ManualClock::new(), Arc::default());
    let source = Batching { script: script.clone(), ask, most, asked: Arc::clone(&asked) };
    let cache = options(Cache::builder(source).clock(clock.shared()).clean_start(true)).build().expect("options");
    Many { w: World { script, clock, cache }, asked }
}

fn many() -> Many {
    many_with(Box::new(ask_each), 256, |builder| builder)
}

impl Many {
    fn asked(&self) -> Vec<Vec<String>> {
        self.asked.lock().expect("no panic with it").clone()
    }
}

/// A source that loads many at once, and one that does not.
fn worlds() -> [World; 2] {
    [world(), many().w]
}

fn set_all(w: &World, keys: &[&str]) {
    keys.iter().for_each(|key| w.script.set(key, &format!("of {key}")));
}

fn values(answers: Answers) -> Vec<Option<String>> {
    answers.into_iter().map(|answer| text(answer.map(|read| read.entry))).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

fn hows(answers: &Answers) -> Vec<How> {
    answers.iter().map(|answer| answer.as_ref().expect("loaded").how).collect()
}

const LED: How = How::Loaded { kept: true };

// --- reading

#[test]
fn g2_many_are_answered_in_order_each_loaded_once_and_duplicates_alike() {
    for w in worlds() {
        set_all(&w, &["a", "b", "c"]);
        assert_eq!(w.get("b").as_deref(), Some("of b"));
        let answers = w.cache.read_many(["c", "b", "none", "a", "c", "b", "none"], &Call::new());
        assert_eq!(hows(&answers), [LED, How::Hit, LED, LED, LED, How::Hit, LED]);
        let of = |key: &str| Some(format!("of {key}"));
        assert_eq!(values(answers), [of("c"), of("b"), None, of("a"), of("c"), of("b"), None]);
        assert_eq!(["a", "b", "c", "none"].map(|key| w.loads(key)), [1; 4]);
        let again = w.cache.read_many(["a", "b", "c", "none"], &Call::new());
        assert_eq!(hows(&again), [How::Hit; 4]);
        assert_eq!((w.cache.stats().loads, w.cache.stats().absent_hits), (4, 1));
        assert!(w.cache.get_many::<str>([]).is_empty());
    }
}

#[test]
fn g2_a_source_that_loads_many_is_asked_once_for_what_is_missing() {
    let m = many();
    set_all(&m.w, &["a", "b", "c", "d"]);
    m.w.get("b");
    let answers = m.w.cache.read_many(["a", "b", "c", "d", "a"], &Call::new());
    assert_eq!(values(answers), some(&["of a", "of b", "of c", "of d", "of a"]));
    assert_eq!(m.asked(), [["a", "c", "d"]]);
    m.w.cache.invalidate("a");
    m.w.cache.get_many(["a", "b"]);
    assert_eq!(m.asked().len(), 1, "one key alone is asked with get");
}

#[test]
fn b2_no_request_has_more_keys_than_the_source_takes() {
    let m = many_with(Box::new(ask_each), 2, |builder| builder);
    let keys = ["a", "b", "c", "d", "e"];
    set_all(&m.w, &keys);
    assert_eq!(hows(&m.w.cache.read_many(keys, &Call::new())), [LED; 5]);
    assert_eq!(m.asked(), [["a", "b"], ["c", "d"]]);
    assert_eq!(keys.map(|key| m.w.loads(key)), [1; 5]);
}

#[test]
fn g2_a_key_that_another_loads_is_joined() {
    for w in worlds() {
        set_all(&w, &["a", "b", "c"]);
        let gate = w.script.hold(Op::Get, "b", When::Before);
        let other = w.start(|cache| cache.get("b"));
        gate.wait_arrived();
        let reader = w.until_it_waits(|cache| cache.read_many(["a", "b", "c"], &Call::new()));
        assert_eq!(["a", "c"].map(|key| w.peek(key)), [Some("of a".into()), Some("of c".into())], "not held up");
        gate.release();
        let answers = reader.join();
        assert_eq!(hows(&answers), [LED, How::Joined, LED]);
        assert_eq!(values(answers), some(&["of a", "of b", "of c"]));
        assert_eq!(text(other.join()).as_deref(), Some("of b"));
        assert_eq!(w.loads("b"), 1);
    }
}

#[test]
fn g2_a_key_of_a_batch_is_joined_by_others() {
    let m = many();
    set_all(&m.w, &["a", "b"]);
    let gate = m.w.script.hold(Op::Get, "a", When::Before);
    let leader = m.w.start(|cache| cache.read_many(["a", "b"], &Call::new()));
    gate.wait_arrived();
    let waiter = m.w.until_it_waits(|cache| cache.read("b", &Call::new()));
    gate.release();
    assert_eq!(waiter.join().expect("loaded").how, How::Joined);
    assert_eq!(hows(&leader.join()), [LED, LED]);
    assert_eq!(m.w.loads("b"), 1);
}

#[test]
fn g8_without_batches_no_load_is_begun_before_its_turn() {
    let w = world();
    set_all(&w, &["a", "b"]);
    let gate = w.script.hold(Op::Get, "a", When::Before);
    let many = w.start(|cache| cache.read_many(["a", "b"], &Call::new()));
    gate.wait_arrived();
    // "a" is slow: whoever wants "b" loads it.
    assert_eq!(w.cache.read("b", &Call::new()).expect("loaded").how, LED);
    gate.release();
    assert_eq!(hows(&many.join()), [LED, How::Hit]);
}

#[test]
fn g2_a_failed_load_fails_its_own_key_only() {
    for w in worlds() {
        set_all(&w, &["a", "b", "c"]);
        w.script.next(Op::Get, "b", Does::Fail);
        let answers = w.cache.read_many(["a", "b", "c"], &Call::new());
        assert!(matches!(&answers[1], Err(LoadError::Source(error)) if error.code() == Some(500)));
        assert!(answers[0].is_ok() && answers[2].is_ok());
        assert_eq!(w.cache.stats().loads_failed, 1);
        assert_eq!(w.get("b").as_deref(), Some("of b"), "nothing is remembered of it");
    }
}

fn found(value: &str) -> Result<Loaded<String>, SourceError> {
    Ok(Loaded::Found(Record::new(value.to_owned())))
}

#[test]
fn g2_a_missing_or_surplus_answer_is_an_error_of_that_key_only() {
    let ask: AskMany = Box::new(|_, batch| {
        batch.answer(0, found("zero"));
        batch.answer(2, found("two"));
        batch.answer(2, found("two again"));
        batch.answer(3, found("three"));
        Ok(())
    });
    let m = many_with(ask, 256, |builder| builder);
    let answers = m.w.cache.get_many(["0", "1", "2", "3"]);
    let messages: Vec<String> =
        answers.into_iter().map(|a| a.map_or_else(|e| e.to_string(), |e| e.expect("found").to_string())).collect();
    assert_eq!(
        messages,
        [
            "zero",
            "the origin gave no record: the source did not answer for this key of a batch",
            "the origin gave no record: the source answered more than once for this key of a batch",
            "three",
        ]
    );
    assert_eq!(["0", "1", "2", "3"].map(|key| m.w.peek(key).is_some()), [true, false, false, true]);
}

#[test]
fn g2_a_failed_batch_fails_each_key_that_was_not_answered() {
    let ask: AskMany = Box::new(|script, batch| {
        batch.answer(0, found("zero"));
        let _ = script.get(&"gate".to_owned(), &LoadCx::<Texts>::alone(batch.remaining()));
        Err(SourceError::new(Failure::Broken, "the line broke").with_code(7))
    });
    let m = many_with(ask, 256, |builder| builder);
    let gate = m.w.script.hold(Op::Get, "gate", When::Before);
    let leader = m.w.start(|cache| cache.get_many(["0", "1", "2"]));
    gate.wait_arrived();
    let waiter = m.w.until_it_waits(|cache| cache.get("2"));
    gate.release();
    let code = |answer: &Result<_, LoadError>| match answer {
        Err(LoadError::Source(error)) => error.code(),
        _ => None,
    };
    let answers = leader.join();
    assert_eq!(answers.iter().map(code).collect::<Vec<_>>(), [None, Some(7), Some(7)]);
    assert_eq!(text(answers.into_iter().next().expect("three")).as_deref(), Some("zero"));
    assert_eq!(code(&waiter.join()), Some(7), "who joined shares the origin's error");
}

#[test]
fn g7_a_panic_in_a_batch_is_an_error_of_its_leader_and_others_take_over() {
    let ask: AskMany = Box::new(|script, batch| {
        batch.answer(0, found("zero"));
        let _ = script.get(&"gate".to_owned(), &LoadCx::<Texts>::alone(batch.remaining()));
        panic!("scripted")
    });
    let m = many_with(ask, 256, |builder| builder);
    m.w.script.set("1", "one");
    let gate = m.w.script.hold(Op::Get, "gate", When::Before);
    let leader = m.w.start(|cache| cache.get_many(["0", "1"]));
    gate.wait_arrived();
    let waiter = m.w.until_it_waits(|cache| cache.get("1"));
    gate.release();
    for answer in leader.join() {
        assert!(matches!(answer, Err(LoadError::Panicked(message)) if message == "scripted"));
    }
    assert_eq!(text(waiter.join()).as_deref(), Some("one"), "it loaded for itself");
    assert_eq!(m.w.peek("0"), None);
}

#[test]
fn g4_a_key_invalidated_while_its_batch_runs_is_loaded_again_and_the_others_are_kept() {
    let m = many();
    set_all(&m.w, &["a", "b", "c"]);
    let gate = m.w.script.hold(Op::Get, "c", When::After);
    let leader = m.w.start(|cache| cache.read_many(["a", "b", "c"], &Call::new()));
    gate.wait_arrived();
    m.w.script.set("b", "newer");
    m.w.cache.invalidate("b");
    gate.release();
    let answers = leader.join();
    assert_eq!(hows(&answers), [LED, LED, LED]);
    assert_eq!(values(answers), some(&["of a", "newer", "of c"]));
    assert_eq!(["a", "b", "c"].map(|key| m.w.loads(key)), [1, 2, 1]);
}

#[test]
fn i1_a_batch_in_flight_is_held_against_tags() {
    let m = many_with(Box::new(ask_each), 256, |b| b.tags(|key, _, tags| tags.add(key)));
    set_all(&m.w, &["a", "b"]);
    let gate = m.w.script.hold(Op::Get, "b", When::After);
    let leader = m.w.start(|cache| cache.read_many(["a", "b"], &Call::new()));
    gate.wait_arrived();
    m.w.script.set("b", "newer");
    m.w.cache.invalidate_tag("b");
    gate.release();
    assert_eq!(values(leader.join()), some(&["of a", "newer"]));
    assert_eq!(m.w.loads("a"), 1);
}

#[test]
fn b2_the_deadline_is_that_of_the_whole_call() {
    let w = world();
    set_all(&w, &["a", "b", "c", "d"]);
    for key in ["a", "b"] {
        let clock = w.clock.clone();
        w.script.next(Op::Get, key, Does::Run(Box::new(move || clock.advance(secs(2)))));
    }
    let answers = w.cache.read_many(["a", "b", "c", "d"], &within(secs(3)));
    assert!(answers[0].is_ok());
    assert!(answers[1..].iter().all(|answer| matches!(answer, Err(LoadError::Deadline))));
    assert_eq!((w.loads("b"), w.loads("c")), (1, 0), "nothing more is asked");
    let remaining: Vec<Duration> = w.script.log().iter().map(|seen| seen.remaining).collect();
    assert_eq!(remaining, [secs(3), secs(1)]);
}

#[test]
fn b2_a_batch_that_ends_late_is_no_answer() {
    let clock = Arc::new(OnceLock::<wtcache_testkit::ManualClock>::new());
    let inside = Arc::clone(&clock);
    let ask: AskMany = Box::new(move |_, batch| {
        let count = batch.keys().len();
        (0..count).for_each(|at| batch.answer(at, found("late")));
        inside.get().expect("set below").advance(batch.remaining());
        Ok(())
    });
    let m = many_with(ask, 256, |builder| builder);
    clock.set(m.w.clock.clone()).ok().expect("set once");
    let answers = m.w.cache.get_many(["a", "b"]);
    assert!(answers.iter().all(|answer| matches!(answer, Err(LoadError::Deadline))));
    assert!(m.w.peek("a").is_none() && m.w.peek("b").is_none());
}

#[test]
fn p5_inside_a_source_call_many_are_loaded_alone_and_count_as_one_level() {
    let here = Arc::new(OnceLock::<Cache<String, String>>::new());
    let inside = Arc::clone(&here);
    let keys: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let ask: AskMany = Box::new(move |_, batch| {
        let cache = inside.get().expect("set below");
        let read = cache.read_many(["x", "y"], &Call::new());
        assert_eq!(hows(&read), [How::Loaded { kept: false }; 2]);
        // A write of a key that is being served waits for itself.
        let refused = not_sent(cache.put("3", "mine".to_owned()));
        assert!(matches!(refused, NotSent::Reentrant));
        let count = batch.keys().len();
        (0..count).for_each(|at| batch.answer(at, found("well")));
        Ok(())
    });
    let m = many_with(ask, 256, |builder| builder);
    here.set(m.w.cache.clone()).ok().expect("set once");
    set_all(&m.w, &["x", "y"]);
    assert_eq!(hows(&m.w.cache.read_many(&keys, &Call::new())), [LED; 20]);
}

#[test]
fn b4_a_closed_cache_answers_no_key() {
    for w in worlds() {
        w.seed("a", "one");
        w.cache.close(Duration::ZERO);
        let answers = w.cache.get_many(["a", "b"]);
        assert!(answers.iter().all(|answer| matches!(answer, Err(LoadError::Closed))));
    }
}

#[test]
fn b2_a_key_too_long_is_an_error_of_that_key_only() {
    let script = Script::new();
    script.set("k", "here");
    let cache = ByteCache::builder(script).longest_key(2).build().expect("options");
    let answers = cache.get_many(["long", "k"]);
    assert!(matches!(answers[0], Err(LoadError::KeyTooLong(4))));
    assert!(answers[1].as_ref().is_ok_and(Option::is_some));
}

#[test]
fn a_batch_stands_alone_in_the_tests_of_a_source() {
    let keys = ["a".to_owned(), "b".to_owned()];
    let mut batch = Batch::<Texts>::alone(secs(1), &keys);
    assert!(batch.keys().eq(&keys) && batch.remaining() <= secs(1) && batch.replaced(1).is_none());
    batch.answer(1, found("one"));
    let answers: Vec<_> = batch.into_answers(Err(SourceError::new(Failure::Failed, "down"))).collect();
    assert_eq!(answers[0].as_ref().map_err(SourceError::message), Err("down"));
    assert!(answers[1].is_ok());
}

#[test]
fn f1_a_batch_is_offered_the_expired_entries() {
    let ask: AskMany = Box::new(|_, batch| {
        let versions: Vec<bool> = (0..batch.keys().len()).map(|at| batch.replaced(at).is_some()).collect();
        for (at, replaced) in versions.into_iter().enumerate() {
            batch.answer(at, if replaced { Ok(Loaded::Unchanged(wtcache::Lifetime::Default)) } else { found("new") });
        }
        Ok(())
    });
    let m = many_with(ask, 256, |b| b.lifetime(secs(1)));
    m.w.seed("a", "kept");
    m.w.clock.advance(secs(1));
    assert_eq!(values(m.w.cache.read_many(["a", "b"], &Call::new())), some(&["kept", "new"]));
    assert_eq!(m.w.peek("a").as_deref(), Some("kept"), "its lifetime began anew");
}

// --- writing

#[test]
fn p1_many_writes_end_each_for_itself_and_in_order() {
    let w = world();
    w.script.next(Op::Put, "b", Does::Reject);
    w.script.next(Op::Put, "c", Does::Unknown);
    let outcomes =
        w.cache.put_many([("a", "1"), ("b", "2"), ("c", "3"), ("a", "4"), ("d", "5")].map(|(k, v)| (k, v.to_owned())));
    let mut outcomes = outcomes.into_iter();
    let mut next = || outcomes.next().expect("five");
    assert!(next().expect("applied").kept);
    assert_eq!(rejected(next()).error.code(), Some(422));
    in_doubt(next());
    assert_eq!(next().expect("applied").entry.map(|entry| entry.to_string()).as_deref(), Some("4"));
    assert!(next().expect("applied").kept);
    assert_eq!((w.peek("a").as_deref(), w.peek("b"), w.peek("d").as_deref()), (Some("4"), None, Some("5")));
    assert_eq!(w.script.applied("a"), ["1", "4"]);
    let sent: Vec<String> = w.script.log().iter().map(|seen| seen.key.clone()).collect();
    assert_eq!(sent, ["a", "b", "c", "a", "d"]);
}

#[test]
fn b2_many_writes_have_one_deadline_and_an_idempotency_key_each() {
    let w = world();
    let clock = w.clock.clone();
    w.script.next(Op::Put, "b", Does::Run(Box::new(move || clock.advance(secs(3)))));
    let call = within(secs(3)).idempotency_key(wtcache::IdempotencyKey::from_bits(1));
    let records = ["a", "b", "c"].map(|key| (key, "x".to_owned()));
    let mut outcomes = w.cache.put_many_with(records, &call).into_iter();
    assert!(outcomes.next().expect("three").is_ok());
    assert!(outcomes.next().expect("three").is_ok_and(|written| !written.kept), "applied, after its deadline");
    assert!(matches!(not_sent(outcomes.next().expect("three")), NotSent::Deadline));
    let keys: Vec<_> = w.script.log().into_iter().map(|seen| seen.idempotency_key).collect();
    assert!(keys.len() == 2 && keys[0] != keys[1]);
}

#[test]
fn p3_no_turn_is_held_for_a_write_that_waits_behind_another() {
    let w = world();
    let prepared = w.cache.prepare("b", &Call::new()).expect("free");
    let records = ["a", "b", "c"].map(|key| (key, "many".to_owned()));
    let writer = w.until_it_waits(move |cache| cache.put_many(records).into_iter().all(|outcome| outcome.is_ok()));
    assert_eq!((w.peek("a").as_deref(), w.peek("c")), (Some("many"), None));
    w.seed("c", "single");
    prepared.abort();
    assert!(writer.join());
    assert_eq!(w.peek("c").as_deref(), Some("many"), "it came later");
}

// --- tasks

#[cfg(feature = "tokio")]
mod tasks {
    use wtcache::tokio::Pool;

    use super::*;

    #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn g2_many_on_tasks_are_loaded_with_one_request() {
        let m = many();
        set_all(&m.w, &["a", "b", "c"]);
        m.w.get("b");
        let cache = m.w.cache.on_tokio(&Pool::new(2, 2));
        let answers = cache.get_many(["a", "b", "c", "a"], &Call::new()).await;
        assert_eq!(hows(&answers), [LED, How::Hit, LED, LED]);
        assert_eq!(values(answers), some(&["of a", "of b", "of c", "of a"]));
        assert_eq!(m.asked(), [["a", "c"]]);
    }

    #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn g8_a_full_pool_fails_the_keys_it_had_no_place_for() {
        let m = many();
        set_all(&m.w, &["a", "b", "c"]);
        m.w.get("b");
        let cache = m.w.cache.on_tokio(&Pool::new(1, 0));
        let gate = m.w.script.hold(Op::Get, "busy", When::Before);
        let busy = {
            let cache = cache.clone();
            ::tokio::spawn(async move { cache.get("busy").await.map(drop) })
        };
        gate.wait_arrived();
        let answers = cache.get_many(["a", "b", "c"], &Call::new()).await;
        assert!(matches!(answers[0], Err(LoadError::Overloaded)) && matches!(answers[2], Err(LoadError::Overloaded)));
        assert_eq!(answers[1].as_ref().map(|read| read.how).ok(), Some(How::Hit));
        let outcomes = cache.put_many([("a", "x".to_owned()), ("b", "y".to_owned())], &Call::new()).await;
        assert!(outcomes.into_iter().all(|outcome| matches!(not_sent(outcome), NotSent::Overloaded)));
        gate.release();
        busy.await.expect("no panic").expect("loaded");
        assert_eq!(m.w.get("a").as_deref(), Some("of a"), "nobody leads it any more");
    }

    #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn p3_a_dropped_put_many_sends_no_further_write() {
        let w = world();
        let cache = w.cache.on_tokio(&Pool::new(1, 1));
        let gate = w.script.hold(Op::Put, "a", When::Before);
        let records = ["a", "b"].map(|key| (key, "many".to_owned()));
        let task = ::tokio::spawn(async move { cache.put_many(records, &Call::new()).await.len() });
        gate.wait_arrived();
        task.abort();
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
        gate.release();
        // Its turn comes when the write that was sent has ended.
        w.put("a", "after").expect("applied");
        assert_eq!(w.script.applied("a"), ["many", "after"]);
        assert_eq!(w.script.calls(Op::Put, "b"), 0);
    }
}

/// G10, of a source that the program keeps a hand on.
#[test]
fn g10_a_source_in_an_arc_loads_many_with_one_request_too() {
    let source = Batching { script: Script::new(), ask: Box::new(ask_each), most: 256, asked: Arc::default() };
    let source = Arc::new(source);
    let cache = Cache::builder(Arc::clone(&source)).clean_start(true).build().expect("options");
    assert!(cache.get_many(["a", "b"]).iter().all(Result::is_ok));
    assert_eq!(*source.asked.lock().expect("no panic with it"), [["a", "b"]]);
    cache.put("a", "new".to_owned()).map(drop).expect("the script applies it");
}
