//! An exhaustive search of a model's states, breadth first: the first fault found has a shortest way to it.
//!
//! A model says where it starts, what can happen in a state, and what is wrong with one. Every state that can be reached is
//! looked at once. States are told apart by a fingerprint of 64 bits: for ten million states, the chance that
//! two of them share one is below one in 300,000.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// What can happen, from which start, and what must never be.
pub trait Model {
    /// A state. Two that are equal have the same future.
    type State: Clone + Hash;
    /// One thing that can happen.
    type Action: Clone + Debug;

    /// The state in which everything starts.
    fn start(&self) -> Self::State;

    /// Everything that can happen in `state`, always in the same order.
    fn actions(&self, state: &Self::State, into: &mut Vec<Self::Action>);

    /// What `action` makes of `state`.
    fn next(&self, state: &Self::State, action: &Self::Action) -> Self::State;

    /// What is wrong with `state`. `last`: nothing can happen any more.
    fn fault(&self, state: &Self::State, last: bool) -> Option<&'static str>;
}

/// A fault, and a shortest way to it.
#[derive(Clone, Debug)]
pub struct Fault<A> {
    /// What is wrong.
    pub what: &'static str,
    /// What happened, from the start.
    pub way: Vec<A>,
}

/// What a search saw.
#[derive(Clone, Debug)]
pub struct Explored<A> {
    /// Different states.
    pub states: usize,
    /// Steps from one state to another, also to one seen before.
    pub steps: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// The first fault.
    pub fault: Option<Fault<A>>,
}

/// How a state was first reached: from which one, by which of its actions.
#[derive(Clone, Copy)]
struct Origin {
    parent: u32,
    action: u16,
}

/// Looks at every state that can be reached, or stops at the first fault.
///
/// # Panics
/// There are more than `most` states: the model is larger than was meant, or has no end.
pub fn explore<M: Model>(model: &M, most: usize) -> Explored<M::Action> {
    let start = model.start();
    let mut seen = Seen::default();
    seen.insert(fingerprint(&start));
    let mut origins = vec![Origin { parent: 0, action: 0 }];
    let mut level = vec![(0u32, start)];
    let mut explored = Explored { states: 1, steps: 0, depth: 0, fault: None };
    let mut actions = Vec::new();
    while !level.is_empty() {
        let mut next_level = Vec::new();
        for (index, state) in &level {
            actions.clear();
            model.actions(state, &mut actions);
            if let Some(what) = model.fault(state, actions.is_empty()) {
                explored.fault = Some(Fault { what, way: way_to(model, &origins, *index) });
                explored.states = origins.len();
                return explored;
            }
            for (number, action) in actions.iter().enumerate() {
                explored.steps += 1;
                let next = model.next(state, action);
                if seen.insert(fingerprint(&next)) {
                    let place = u32::try_from(origins.len()).expect("fewer states than that");
                    let action = u16::try_from(number).expect("fewer actions than that");
                    origins.push(Origin { parent: *index, action });
                    next_level.push((place, next));
                    assert!(origins.len() <= most, "more than {most} states");
                }
            }
        }
        explored.depth += usize::from(!next_level.is_empty());
        level = next_level;
    }
    explored.states = origins.len();
    explored
}

fn way_to<M: Model>(model: &M, origins: &[Origin], mut index: u32) -> Vec<M::Action> {
    let mut numbers = Vec::new();
    while index != 0 {
        let origin = origins[index as usize];
        numbers.push(origin.action);
        index = origin.parent;
    }
    let mut state = model.start();
    let mut actions = Vec::new();
    let mut way = Vec::new();
    for number in numbers.into_iter().rev() {
        actions.clear();
        model.actions(&state, &mut actions);
        let action = actions.swap_remove(usize::from(number));
        state = model.next(&state, &action);
        way.push(action);
    }
    way
}

type Seen = HashSet<u64, BuildHasherDefault<AsItIs>>;

fn fingerprint<T: Hash>(state: &T) -> u64 {
    let mut hasher = Mixer::default();
    state.hash(&mut hasher);
    hasher.finish()
}

/// A hash of words: multiplied and folded (after wyhash, Wang Yi), in two lanes.
#[derive(Default)]
struct Mixer {
    low: u64,
    high: u64,
}

impl Mixer {
    fn word(&mut self, word: u64) {
        self.low = fold(self.low ^ word ^ 0x9E37_79B9_7F4A_7C15, 0xA076_1D64_78BD_642F);
        self.high = (self.high.rotate_left(23) ^ word).wrapping_mul(0xE703_7ED1_A0B4_28DB);
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        self.word(bytes.len() as u64);
    }

    fn write_u8(&mut self, n: u8) {
        self.word(u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.word(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.word(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.word(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.word(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.word(n as u64);
    }

    fn finish(&self) -> u64 {
        fold(self.low ^ 0x8EBC_6AF0_9C88_C6E3, self.high ^ 0x5899_65CC_7537_4CC3) ^ self.low.rotate_left(32)
    }
}

/// Fingerprints need no hashing.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only fingerprints are hashed");
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two counters, each of which may be raised to three.
    struct Grid {
        forbidden: Option<(u8, u8)>,
    }

    impl Model for Grid {
        type State = (u8, u8);
        type Action = char;

        fn start(&self) -> (u8, u8) {
            (0, 0)
        }

        fn actions(&self, state: &(u8, u8), into: &mut Vec<char>) {
            into.extend((state.0 < 3).then_some('x'));
            into.extend((state.1 < 3).then_some('y'));
        }

        fn next(&self, &(x, y): &(u8, u8), action: &char) -> (u8, u8) {
            if *action == 'x' { (x + 1, y) } else { (x, y + 1) }
        }

        fn fault(&self, state: &(u8, u8), last: bool) -> Option<&'static str> {
            if last && *state != (3, 3) {
                return Some("stuck");
            }
            (self.forbidden == Some(*state)).then_some("forbidden")
        }
    }

    #[test]
    fn every_state_is_seen_once() {
        let explored = explore(&Grid { forbidden: None }, 100);
        assert_eq!((explored.states, explored.steps, explored.depth), (16, 24, 6));
        assert!(explored.fault.is_none());
    }

    #[test]
    fn the_way_to_a_fault_is_a_shortest_one() {
        let fault = explore(&Grid { forbidden: Some((2, 1)) }, 100).fault.unwrap();
        assert_eq!((fault.what, fault.way.len()), ("forbidden", 3));
        assert_eq!(fault.way.iter().filter(|way| **way == 'x').count(), 2);
    }
}
