//! Closing during everything, and what the store forgets in every gap.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wtcache::{Call, Clock, CloseReport, LoadError, NotSent, WriteError};

use super::explore;
use super::world::{Client, DEADLINE, Faults, KEY, WINDOW, World, client, pause, play, record};

/// What `close` told, once it has returned. Not a lock that schedules turn on.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Option<CloseReport<u64>>>>);

impl Told {
    fn get(&self) -> Option<CloseReport<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn closer(&self, timeout: Duration) -> Client {
        let told = self.clone();
        client(move |world| {
            let report = world.cache.close(timeout);
            *told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
            // Who comes now is told so.
            assert!(matches!(world.cache.get(&world.key), Err(LoadError::Closed)));
            match world.cache.put(&world.key, 0) {
                // Where time flows, it may have passed before the call looked.
                Err(WriteError::NotSent(NotSent::Closed | NotSent::Deadline)) => {}
                Err(error) => panic!("a write after close: {error}"),
                Ok(_) => panic!("a write after close was sent"),
            }
        })
    }
}

fn check_closed(world: &World) {
    assert!(world.history.is_linearizable(), "not linearizable:\n{}", world.history);
    let stats = world.cache.stats();
    assert_eq!((stats.entries, stats.weight), (0, 0), "a closed cache holds nothing");
    assert!(world.cache.peek(&KEY).is_none());
}

#[test]
fn b4_close_and_the_last_sends_end_cannot_miss_each_other() {
    explore(|| {
        let world =
            World::new(Faults { writes_refused: true, writes_unknown: true, ..Faults::NONE }, |builder| builder);
        let told = Told::default();
        play(
            &world,
            // Time stands still: a close that is not woken by the last send's end waits for ever, which is seen.
            false,
            vec![client(|world| world.put(1)), client(|world| world.put(2)), told.closer(WINDOW)],
        );
        let report = told.get().expect("it returned");
        assert_eq!(report.unfinished, [], "it waited for every send");
        check_closed(&world);
    });
}

/// A permit that is not ended when close tells what is left is among that.
fn permit(told: &Told) -> Client {
    let told = told.clone();
    client(move |world| {
        let value = world.fresh();
        let begun = world.history.begins(1);
        let Ok(prepared) = world.cache.prepare(&world.key, &Call::new().deadline(DEADLINE)) else { return };
        pause();
        let at = world.clock.now();
        let sent = match prepared.send() {
            Ok(sent) => sent,
            Err(why) => {
                assert!(matches!(why, NotSent::Closed | NotSent::Deadline), "{why}");
                return;
            }
        };
        let applied = world.origin.apply(Some(value), at, None);
        pause();
        let report = told.get();
        match applied {
            Ok(version) => {
                sent.commit(Some(record(value, version)));
                begun.wrote(Some(value));
            }
            Err(_) => {
                drop(sent);
                begun.may_write(Some(value));
            }
        }
        if let Some(report) = report {
            // Overdue it is in doubt, and that may be over too.
            let over = world.clock.now() >= at.after(DEADLINE + WINDOW);
            let is_told = report.unfinished.contains(&world.key) || report.in_doubt.contains(&world.key);
            assert!(is_told || over, "a send was out when close returned, which told nothing of it: {report:?}");
        }
    })
}

#[test]
fn b4_what_is_left_is_told_by_key() {
    explore(|| {
        let world = World::new(Faults { loads_linger: true, ..Faults::NONE }, |builder| builder);
        let told = Told::default();
        play(
            &world,
            true,
            vec![
                permit(&told),
                client(|world| world.put(2)),
                client(|world| (0..2).for_each(|_| world.get(3))),
                told.closer(Duration::ZERO),
            ],
        );
        check_closed(&world);
    });
}

#[test]
fn b4_a_doubt_that_is_open_is_told() {
    explore(|| {
        let world = World::new(Faults { all_stray: true, ..Faults::NONE }, |builder| builder);
        let told = Told::default();
        let before = told.clone();
        play(
            &world,
            false,
            vec![
                client(move |world| {
                    let ended = world.put_value(1, world.fresh(), &Call::new());
                    let closed = before.get();
                    match (ended, closed) {
                        // Time stands still, so the doubt is open when close looks.
                        (Err(WriteError::InDoubt(_)), Some(report)) => {
                            assert_eq!((report.in_doubt, report.unfinished), (vec![KEY], vec![]));
                        }
                        (Err(WriteError::InDoubt(_)), None) => {
                            let report = world.cache.close(WINDOW);
                            // Each key is told once, by whichever close comes first.
                            let other = before.get().map_or(0, |report| report.in_doubt.len());
                            assert!(report.in_doubt.len() + other <= 1);
                        }
                        (Err(error), _) => assert!(!error.may_be_applied(), "{error}"),
                        (Ok(_), _) => panic!("every write strays"),
                    }
                }),
                client(|world| world.get(2)),
                told.closer(WINDOW),
            ],
        );
        check_closed(&world);
    });
}

#[test]
fn b4_close_while_loads_linger_writers_queue_and_permits_are_held() {
    explore(|| {
        let world = World::new(Faults { loads_linger: true, loads_hang: true, ..Faults::ALL }, |builder| builder);
        let told = Told::default();
        play(
            &world,
            true,
            vec![
                client(|world| {
                    world.put(1);
                    world.put(1);
                }),
                client(|world| world.update(2)),
                client(|world| world.permit(3)),
                client(|world| (0..2).for_each(|_| world.get(4))),
                client(|world| {
                    world.get(5);
                    world.cache.invalidate(&KEY);
                    world.get(5);
                }),
                told.closer(WINDOW),
            ],
        );
        check_closed(&world);
    });
}

#[test]
fn b4_closing_twice_at_once() {
    explore(|| {
        let world = World::new(Faults { writes_unknown: true, ..Faults::NONE }, |builder| builder);
        let (one, two) = (Told::default(), Told::default());
        play(
            &world,
            false,
            vec![client(|world| world.put(1)), client(|world| world.get(2)), one.closer(WINDOW), two.closer(WINDOW)],
        );
        let reports = [one, two].map(|told| told.get().expect("it returned"));
        let left: usize = reports.iter().map(|report| report.in_doubt.len() + report.unfinished.len()).sum();
        assert!(left <= 1, "each key is told once: {reports:?}");
        check_closed(&world);
    });
}

#[test]
fn b3_i1_forgotten_evicted_and_expired_beside_permits_and_slow_loads() {
    explore(|| {
        let world = World::new(Faults { loads_linger: true, writes_unseen: true, ..Faults::NONE }, |builder| {
            builder.capacity(1).lifetime(WINDOW / 5).negative_lifetime(WINDOW / 10)
        });
        play(
            &world,
            true,
            vec![
                client(|world| world.permit(1)),
                client(|world| {
                    world.put(2);
                    world.delete(2);
                }),
                client(|world| (0..3).for_each(|_| world.get(3))),
                client(|world| (0..2).for_each(|_| world.cache.invalidate(&KEY))),
                // Another key takes the only place.
                client(|world| {
                    for _ in 0..2 {
                        let _ = world.cache.get(&(KEY + 1));
                    }
                }),
            ],
        );
        world.check_at_rest();
    });
}
