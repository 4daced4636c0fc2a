//! How long a crowd that waits for one cold key waits once its load has ended, beside plain broadcasts to as many, in the same run.
//!
//! The time is from the end of the source's call, or from the word to all, to the last waiter's return. Whatever is compared takes turns
//! (A B A B …); a ratio is the median of the rounds' ratios.

use std::fs;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use wtcache::tokio::Pool;
use wtcache::{ByteCache, Bytes, Confirmed, LoadCx, Loaded, Outcome, Record, Source, SourceError, WriteCx};
use wtcache_benches::Table;
use wtcache_benches::figures::{middle, sorted, spread};

const KEY: &[u8] = b"cold";
const VALUE: &[u8] = b"one";
/// Making so many threads takes seconds on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// Ten thousand of the usual size would reserve 20 GB of addresses.
const STACK: usize = 64 << 10;
/// As threads of a crowd are called.
const NAME: &str = "crowd";

/// The table for crowds of `count`.
///
/// # Errors
/// The machine does not have so many threads, there was more than one load, or somebody was not served.
pub(crate) fn table(count: usize, rounds: usize) -> Result<String, String> {
    let runtime = Runtime::new().map_err(|error| format!("no runtime: {error}"))?;
    let mut table = Table::new(["who waits, for what", "wtcache", "the other", "ratio", "spread"]);
    let mut compare = |name: String, ours: &[f64], others: &[f64]| {
        let ratios = sorted(ours.iter().zip(others).map(|(ours, other)| ours / other));
        let ms = |times: &[f64]| format!("{:.1}", middle(&sorted(times.iter().copied())));
        let (ratio, spread) = (format!("{:.2}", middle(&ratios)), format!("{:.0} %", spread(&ratios) * 100.0));
        table.rows.push(vec![name, ms(ours), ms(others), ratio, spread]);
    };

    let mut times: [Vec<f64>; 3] = Default::default();
    // The first round warms up, here and below.
    for round in 0..=rounds {
        let told =
            [threads_of_a_cache(count)?, threads_of_a_broadcast(count, false)?, threads_of_a_broadcast(count, true)?];
        eprintln!("scale: {count} threads, with Condvar, Condvar with a deadline: {told:.1?} ms");
        if round > 0 {
            times.iter_mut().zip(told).for_each(|(times, time)| times.push(time));
        }
    }
    for (what, others) in ["`Condvar`", "`Condvar` with a deadline"].into_iter().zip(&times[1..]) {
        compare(format!("{count} threads, {what}"), &times[0], others);
    }

    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..=rounds {
        let told = runtime.block_on(tasks(count))?;
        eprintln!("scale: {count} tasks, with Notify, Notify with a deadline, watch: {told:.1?} ms");
        if round > 0 {
            times.iter_mut().zip(told).for_each(|(times, time)| times.push(time));
        }
    }
    for (what, others) in ["`Notify`", "`Notify` with a deadline", "`watch`"].into_iter().zip(&times[1..]) {
        compare(format!("{count} tasks, {what}"), &times[0], others);
    }
    Ok(table.markdown())
}

/// A load that ends when it is told to.
#[derive(Default)]
struct Held {
    loads: AtomicUsize,
    is_over: Mutex<bool>,
    over: Condvar,
    ended: OnceLock<Instant>,
}

impl Held {
    fn release(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over.notify_all();
    }

    /// When the one load ended.
    fn ended(&self) -> Result<Instant, String> {
        // Relaxed: all threads that count were joined.
        match (self.loads.load(Ordering::Relaxed), self.ended.get()) {
            (1, Some(ended)) => Ok(*ended),
            (loads, _) => Err(format!("there were {loads} loads, not one")),
        }
    }

    fn cache(self: &Arc<Self>, count: usize) -> Result<ByteCache, String> {
        let builder = ByteCache::builder(Origin(Arc::clone(self))).deadline(DEADLINE).load_queue(count);
        builder.clean_start(true).build().map_err(|error| error.to_string())
    }
}

struct Origin(Arc<Held>);

impl Source<Bytes> for Origin {
    fn get(&self, _: &[u8], _: &LoadCx<'_, Bytes>) -> Result<Loaded<Vec<u8>>, SourceError> {
        self.0.loads.fetch_add(1, Ordering::Relaxed);
        let is_over = self.0.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.over.wait_while(is_over, |over| !*over).unwrap_or_else(PoisonError::into_inner));
        let _ = self.0.ended.set(Instant::now());
        Ok(Loaded::Found(Record::new(VALUE.to_vec())))
    }

    fn put(&self, _: &[u8], _: &[u8], _: &WriteCx<'_, Bytes>) -> Outcome<Confirmed<Vec<u8>>> {
        unreachable!("nothing is written here")
    }
}

/// What each of a crowd says at its end: when that was, if it was served.
type Served = Result<Instant, String>;

fn served<E: ToString>(read: Result<Option<wtcache::Entry<Bytes>>, E>) -> Served {
    let now = Instant::now();
    match read {
        Ok(Some(entry)) if entry.value() == VALUE => Ok(now),
        Ok(_) => Err("somebody was given another value".to_owned()),
        Err(error) => Err(format!("somebody was not served: {}", error.to_string())),
    }
}

fn ms(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

fn threads_of_a_cache(count: usize) -> Result<f64, String> {
    let held = Arc::new(Held::default());
    let cache = held.cache(count)?;
    let last = crowd(count, || served(cache.get(KEY)), || held.release())?;
    Ok(ms(held.ended()?, last))
}

fn threads_of_a_broadcast(count: usize, with_deadline: bool) -> Result<f64, String> {
    let (is_over, over) = (Mutex::new(false), Condvar::new());
    let ended = OnceLock::new();
    let wait = || {
        let guard = is_over.lock().unwrap_or_else(PoisonError::into_inner);
        if with_deadline {
            drop(over.wait_timeout_while(guard, DEADLINE, |over| !*over).unwrap_or_else(PoisonError::into_inner));
        } else {
            drop(over.wait_while(guard, |over| !*over).unwrap_or_else(PoisonError::into_inner));
        }
        Ok(Instant::now())
    };
    let tell = || {
        *is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let _ = ended.set(Instant::now());
        over.notify_all();
    };
    let last = crowd(count, wait, tell)?;
    Ok(ms(*ended.get().ok_or("nobody told")?, last))
}

/// Runs `wait` on so many threads, `tell` once all of them sleep, and says when the last came back.
fn crowd(count: usize, wait: impl Fn() -> Served + Sync, tell: impl FnOnce()) -> Result<Instant, String> {
    thread::scope(|scope| {
        let mut threads = Vec::with_capacity(count);
        let mut failed = None;
        for n in 0..count {
            let builder = thread::Builder::new().name(NAME.to_owned()).stack_size(STACK);
            match builder.spawn_scoped(scope, &wait) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    failed =
                        Some(format!("this machine has {n} threads for a process, not {count} ({error}): --waiters N"));
                    break;
                }
            }
        }
        let asleep = if failed.is_none() { until_all_sleep(count) } else { Ok(()) };
        // Whatever went wrong, who waits is let go.
        tell();
        let ends: Vec<Served> =
            threads.into_iter().map(|t| t.join().unwrap_or(Err("a waiter panicked".to_owned()))).collect();
        if let Some(failed) = failed {
            return Err(failed);
        }
        asleep?;
        last_of(ends)
    })
}

fn last_of(ends: impl IntoIterator<Item = Served>) -> Result<Instant, String> {
    let ends: Vec<Instant> = ends.into_iter().collect::<Result<_, _>>()?;
    ends.into_iter().max().ok_or("nobody waited".to_owned())
}

/// Once all of a crowd sleep, none of them can wake another; seen twice, since looking takes its time.
fn until_all_sleep(count: usize) -> Result<(), String> {
    let (begun, mut seen) = (Instant::now(), 0);
    while seen < 2 {
        seen = if sleeping()? == count { seen + 1 } else { 0 };
        if begun.elapsed() > DEADLINE / 2 {
            return Err(format!("{count} threads do not come to wait"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// How many threads of the crowd sleep.
fn sleeping() -> Result<usize, String> {
    let tasks = fs::read_dir("/proc/self/task").map_err(|error| format!("/proc/self/task: {error}"))?;
    let mut count = 0;
    for task in tasks.flatten() {
        // A thread of the crowd before may be ending.
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        count += usize::from(stat.contains(&format!("({NAME}) S")));
    }
    Ok(count)
}

/// Milliseconds of tasks that wait for a load, and for a `Notify`, the same with a deadline, and a `watch`.
async fn tasks(count: usize) -> Result<[f64; 4], String> {
    let held = Arc::new(Held::default());
    let cache = held.cache(count)?.on_tokio(&Pool::new(1, 1));
    let wait = move || {
        let cache = cache.clone();
        async move { served(cache.get(KEY).await) }
    };
    let release = Arc::clone(&held);
    let last = crowd_of_tasks(count, wait, move || release.release()).await?;
    let ours = ms(held.ended()?, last);

    let told = |notify: &Arc<Notify>| {
        let notify = Arc::clone(notify);
        move || notify.notify_waiters()
    };
    let notify = Arc::new(Notify::new());
    let tell = told(&notify);
    let wait = move || {
        let notify = Arc::clone(&notify);
        async move {
            notify.notified().await;
            Ok(Instant::now())
        }
    };
    let plain = broadcast(count, wait, tell).await?;

    let notify = Arc::new(Notify::new());
    let tell = told(&notify);
    let wait = move || {
        let notify = Arc::clone(&notify);
        async move {
            let told = tokio::time::timeout(DEADLINE, notify.notified()).await;
            told.map(|()| Instant::now()).map_err(|_| "nobody told".to_owned())
        }
    };
    let with_deadline = broadcast(count, wait, tell).await?;

    let (sender, receiver) = watch::channel(false);
    let wait = move || {
        let mut receiver = receiver.clone();
        async move {
            let told = receiver.wait_for(|over| *over).await;
            told.map(|_| Instant::now()).map_err(|error| error.to_string())
        }
    };
    let tell = move || {
        sender.send_replace(true);
    };
    let watched = broadcast(count, wait, tell).await?;
    Ok([ours, plain, with_deadline, watched])
}

async fn broadcast<F>(count: usize, wait: impl Fn() -> F, tell: impl FnOnce()) -> Result<f64, String>
where
    F: Future<Output = Served> + Send + 'static,
{
    let begun = OnceLock::new();
    let last = crowd_of_tasks(count, wait, || {
        let _ = begun.set(Instant::now());
        tell();
    });
    let last = last.await?;
    Ok(ms(*begun.get().ok_or("nobody told")?, last))
}

/// Spawns so many tasks, calls `tell` once each of them waits, and says when the last came back.
async fn crowd_of_tasks<F>(count: usize, wait: impl Fn() -> F, tell: impl FnOnce()) -> Result<Instant, String>
where
    F: Future<Output = Served> + Send + 'static,
{
    let waiting = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(noted(wait(), Arc::clone(&waiting)))).collect();
    let begun = Instant::now();
    // Acquire: pairs with the release in `noted`.
    while waiting.load(Ordering::Acquire) < count && begun.elapsed() < DEADLINE / 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tell();
    let mut ends = Vec::with_capacity(count);
    for task in tasks {
        ends.push(task.await.unwrap_or_else(|error| Err(error.to_string())));
    }
    last_of(ends)
}

/// `wait`, which counts in `waiting` once it waits.
async fn noted<F: Future>(wait: F, waiting: Arc<AtomicUsize>) -> F::Output {
    let (mut wait, mut is_noted) = (pin!(wait), false);
    poll_fn(|cx| {
        let polled = wait.as_mut().poll(cx);
        if polled.is_pending() && !is_noted {
            is_noted = true;
            waiting.fetch_add(1, Ordering::Release);
        }
        polled
    })
    .await
}
