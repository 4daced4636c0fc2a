//! Which entry goes for room: S3-FIFO, one instance a shard. Pure policy: it knows hashes and weights, no entries.
//!
//! After Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction" (SOSP 2023). New entries join a small
//! queue of a tenth of the weight. At its head, one that was hit since goes on to the main queue, another is evicted and
//! remembered as a ghost; a new entry whose ghost is there joins the main queue at once. At the head of the main queue, an
//! entry that was hit goes round again with one hit less.
//!
//! Queues are linked through a slab of nodes, so that an entry leaves from the middle without a search and nothing is kept
//! of what left. Invariant: every live node is in exactly one queue, and each queue's weight is the sum of its nodes'.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// Hits that are counted beyond one; the main queue gives at most this many rounds.
pub(crate) const MOST_TOUCHES: u8 = 3;

/// The small queue's share of the weight, as a divisor.
const SMALL_SHARE: u64 = 10;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Queue {
    Small,
    Main,
}

struct Node {
    hash: u64,
    weight: u64,
    prev: u32,
    next: u32,
    queue: Queue,
}

struct Fifo {
    head: u32,
    tail: u32,
    weight: u64,
}

/// How the policy reads and sets the hits of a resident entry, which lie in the entry itself.
pub(crate) trait Touches {
    fn touched(&self, hash: u64, node: u32) -> u8;
    fn set_touched(&self, hash: u64, node: u32, touched: u8);
}

pub(crate) struct S3Fifo {
    nodes: Vec<Node>,
    free: Vec<u32>,
    small: Fifo,
    main: Fifo,
    ghosts: Ghosts,
}

impl S3Fifo {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            small: Fifo::new(),
            main: Fifo::new(),
            ghosts: Ghosts { order: VecDeque::new(), set: HashTable::new() },
        }
    }

    /// A new entry; gives its node.
    pub(crate) fn insert(&mut self, hash: u64, weight: u64) -> u32 {
        let queue = if self.ghosts.remove(hash) { Queue::Main } else { Queue::Small };
        let node = Node { hash, weight, prev: NONE, next: NONE, queue };
        let id = match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                let id = u32::try_from(self.nodes.len()).ok().filter(|id| *id != NONE);
                self.nodes.push(node);
                id.expect("a shard holds fewer than 2^32 - 1 entries")
            }
        };
        self.push(queue, id);
        id
    }

    /// The entry of `node` was replaced by one of another weight; it keeps its place.
    pub(crate) fn reweigh(&mut self, node: u32, weight: u64) {
        let n = &mut self.nodes[node as usize];
        let (queue, before) = (n.queue, n.weight);
        n.weight = weight;
        let fifo = self.fifo(queue);
        fifo.weight = fifo.weight - before + weight;
    }

    /// The entry of `node` left.
    pub(crate) fn remove(&mut self, node: u32) {
        self.unlink(node);
        self.free.push(node);
    }

    /// Takes out the entry that goes next, if there is one other than `spared`. Gives its hash and node.
    pub(crate) fn evict(&mut self, spared: Option<u32>, touches: &impl Touches) -> Option<(u64, u32)> {
        // Each round evicts, or takes a hit from an entry, or moves one from small to main: it ends.
        loop {
            let from_small = self.small.weight > self.total() / SMALL_SHARE || self.main.head == NONE;
            let queue = if from_small { Queue::Small } else { Queue::Main };
            let mut id = self.fifo(queue).head;
            if Some(id) == spared {
                id = self.nodes[id as usize].next;
            }
            if id == NONE {
                // Only the spared entry is in that queue.
                let other = if from_small { &self.main } else { &self.small };
                id = other.head;
                if id == NONE || Some(id) == spared {
                    return None;
                }
            }
            let Node { hash, queue, .. } = self.nodes[id as usize];
            let touched = touches.touched(hash, id);
            self.unlink(id);
            match (queue, touched) {
                (Queue::Small, 1..) => {
                    touches.set_touched(hash, id, 0);
                    self.push(Queue::Main, id);
                }
                (Queue::Main, 1..) => {
                    touches.set_touched(hash, id, touched - 1);
                    self.push(Queue::Main, id);
                }
                (from, 0) => {
                    if from == Queue::Small {
                        let most = self.nodes.len() - self.free.len();
                        self.ghosts.add(hash, most);
                    }
                    self.free.push(id);
                    return Some((hash, id));
                }
            }
        }
    }

    /// How many places for nodes there are, empty ones included.
    pub(crate) fn places(&self) -> usize {
        self.nodes.len()
    }

    /// The hash and the node of a place. Of an empty one, no entry has that node.
    pub(crate) fn place(&self, place: usize) -> (u64, u32) {
        let node = u32::try_from(place).expect("a shard holds fewer than 2^32 - 1 entries");
        (self.nodes[place].hash, node)
    }

    fn total(&self) -> u64 {
        self.small.weight + self.main.weight
    }

    fn fifo(&mut self, queue: Queue) -> &mut Fifo {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }

    fn push(&mut self, queue: Queue, id: u32) {
        let tail = self.fifo(queue).tail;
        let node = &mut self.nodes[id as usize];
        (node.queue, node.prev, node.next) = (queue, tail, NONE);
        let weight = node.weight;
        if tail != NONE {
            self.nodes[tail as usize].next = id;
        }
        let fifo = self.fifo(queue);
        if fifo.head == NONE {
            fifo.head = id;
        }
        fifo.tail = id;
        fifo.weight += weight;
    }

    fn unlink(&mut self, id: u32) {
        let Node { prev, next, weight, queue, .. } = self.nodes[id as usize];
        if prev != NONE {
            self.nodes[prev as usize].next = next;
        }
        if next != NONE {
            self.nodes[next as usize].prev = prev;
        }
        let fifo = self.fifo(queue);
        if fifo.head == id {
            fifo.head = next;
        }
        if fifo.tail == id {
            fifo.tail = prev;
        }
        fifo.weight -= weight;
    }
}

impl Fifo {
    const fn new() -> Self {
        Self { head: NONE, tail: NONE, weight: 0 }
    }
}

/// Hashes of entries that were evicted from the small queue, oldest first; as many as entries are resident.
struct Ghosts {
    order: VecDeque<u64>,
    set: HashTable<u64>,
}

impl Ghosts {
    fn add(&mut self, hash: u64, most: usize) {
        if self.set.find(hash, |h| *h == hash).is_none() {
            self.set.insert_unique(hash, hash, |h| *h);
            self.order.push_back(hash);
        }
        while self.order.len() > most.max(1) {
            if let Some(oldest) = self.order.pop_front() {
                self.remove(oldest);
            }
        }
    }

    /// True if the hash was remembered. Its place in the order stays until it comes to the front.
    fn remove(&mut self, hash: u64) -> bool {
        self.set.find_entry(hash, |h| *h == hash).map(|found| found.remove()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Hits(RefCell<HashMap<u64, u8>>);

    impl Touches for Hits {
        fn touched(&self, hash: u64, _: u32) -> u8 {
            self.0.borrow().get(&hash).copied().unwrap_or(0)
        }
        fn set_touched(&self, hash: u64, _: u32, touched: u8) {
            self.0.borrow_mut().insert(hash, touched);
        }
    }

    #[test]
    fn entries_without_hits_go_in_the_order_they_came() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        for hash in 1..=3 {
            policy.insert(hash, 1);
        }
        let gone: Vec<u64> = std::iter::from_fn(|| policy.evict(None, &hits)).map(|(hash, _)| hash).collect();
        assert_eq!(gone, [1, 2, 3]);
        assert_eq!(policy.total(), 0);
    }

    #[test]
    fn a_hit_moves_an_entry_on_and_a_ghost_comes_back_to_the_main_queue() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        policy.insert(1, 1);
        policy.insert(2, 1);
        hits.set_touched(1, 0, 1);
        assert_eq!(policy.evict(None, &hits).map(|(hash, _)| hash), Some(2));
        let back = policy.insert(2, 1);
        assert_eq!(policy.nodes[back as usize].queue, Queue::Main);
        assert_eq!(policy.small.head, NONE);
    }

    #[test]
    fn the_spared_entry_stays_and_is_alone_at_last() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        let spared = policy.insert(1, 5);
        policy.insert(2, 5);
        assert_eq!(policy.evict(Some(spared), &hits).map(|(hash, _)| hash), Some(2));
        assert_eq!(policy.evict(Some(spared), &hits), None);
        policy.reweigh(spared, 7);
        assert_eq!(policy.total(), 7);
        policy.remove(spared);
        assert_eq!(policy.total(), 0);
    }

    #[test]
    fn ghosts_are_bounded_by_the_entries_that_are_there() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        for hash in 0..10_000 {
            policy.insert(hash, 1);
            if hash >= 100 {
                policy.evict(None, &hits);
            }
        }
        assert!(policy.ghosts.order.len() <= 101 && policy.ghosts.set.len() <= 101);
        assert!(policy.nodes.len() <= 102);
    }

    impl S3Fifo {
        /// The nodes of a queue, in order; checks its links and its weight.
        fn queue(&self, queue: Queue) -> Vec<u32> {
            let fifo = if queue == Queue::Small { &self.small } else { &self.main };
            let (mut ids, mut prev, mut weight, mut id) = (Vec::new(), NONE, 0, fifo.head);
            while id != NONE {
                let node = &self.nodes[id as usize];
                assert_eq!((node.prev, node.queue), (prev, queue));
                weight += node.weight;
                ids.push(id);
                (prev, id) = (id, node.next);
            }
            assert_eq!((fifo.tail, fifo.weight), (prev, weight));
            ids
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64, u64),
        Touch(usize),
        Reweigh(usize, u64),
        Remove(usize),
        Evict(Option<usize>),
    }

    fn op() -> impl Strategy<Value = Op> {
        let weight = prop_oneof![Just(0), 1..10u64, Just(1 << 40)];
        prop_oneof![
            6 => (0..40u64, weight.clone()).prop_map(|(hash, weight)| Op::Insert(hash, weight)),
            4 => any::<usize>().prop_map(Op::Touch),
            1 => (any::<usize>(), weight).prop_map(|(at, weight)| Op::Reweigh(at, weight)),
            1 => any::<usize>().prop_map(Op::Remove),
            3 => prop::option::of(any::<usize>()).prop_map(Op::Evict),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Live entries are in one queue each, none is lost, and the queues' weights are the sums of theirs.
        #[test]
        fn the_policy_holds_what_a_model_holds(ops in prop::collection::vec(op(), 1..200)) {
            let (mut policy, hits) = (S3Fifo::new(), Hits::default());
            // (node, hash, weight)
            let mut live: Vec<(u32, u64, u64)> = Vec::new();
            let mut most = 0;
            for op in ops {
                let at = |n: usize| n.checked_rem(live.len());
                match op {
                    Op::Insert(hash, weight) if !live.iter().any(|(_, h, _)| *h == hash) => {
                        hits.set_touched(hash, 0, 0);
                        let known = policy.ghosts.set.find(hash, |h| *h == hash).is_some();
                        let node = policy.insert(hash, weight);
                        prop_assert_eq!(policy.nodes[node as usize].queue == Queue::Main, known);
                        live.push((node, hash, weight));
                    }
                    Op::Insert(..) => {}
                    Op::Touch(n) => {
                        if let Some((node, hash, _)) = at(n).map(|at| live[at]) {
                            let touched = hits.touched(hash, node);
                            hits.set_touched(hash, node, (touched + 1).min(MOST_TOUCHES));
                        }
                    }
                    Op::Reweigh(n, weight) => {
                        if let Some(at) = at(n) {
                            policy.reweigh(live[at].0, weight);
                            live[at].2 = weight;
                        }
                    }
                    Op::Remove(n) => {
                        if let Some(at) = at(n) {
                            policy.remove(live.swap_remove(at).0);
                        }
                    }
                    Op::Evict(spared) => {
                        let spared = spared.and_then(at).map(|at| live[at].0);
                        match policy.evict(spared, &hits) {
                            Some((hash, node)) => {
                                prop_assert!(Some(node) != spared);
                                prop_assert_eq!(hits.touched(hash, node), 0, "what was hit is not evicted");
                                let at = live.iter().position(|(n, h, _)| (*n, *h) == (node, hash));
                                prop_assert!(at.is_some(), "only what is live is evicted");
                                live.swap_remove(at.unwrap());
                            }
                            None => prop_assert!(live.iter().all(|(n, ..)| Some(*n) == spared)),
                        }
                    }
                }
                most = most.max(live.len());
                let mut held = policy.queue(Queue::Small);
                held.extend(policy.queue(Queue::Main));
                held.sort_unstable();
                let mut wanted: Vec<u32> = live.iter().map(|(node, ..)| *node).collect();
                wanted.sort_unstable();
                prop_assert_eq!(held, wanted);
                prop_assert_eq!(policy.total(), live.iter().map(|(_, _, weight)| weight).sum::<u64>());
                prop_assert_eq!(policy.nodes.len(), live.len() + policy.free.len());
                prop_assert!(policy.nodes.len() <= most && policy.ghosts.order.len() <= most);
                prop_assert!(policy.ghosts.set.len() <= policy.ghosts.order.len());
            }
        }
    }
}
