//! Which entry goes for room: S3-FIFO, one instance a shard. Pure policy: it knows an entry by its place in the table, and asks
//! [`Entries`] for the rest.
//!
//! After Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction" (SOSP 2023). New entries join a small
//! queue of a tenth of the weight. At its head, one that was hit since goes on to the main queue, another is evicted and
//! remembered as a ghost; a new entry whose ghost is there joins the main queue at once. At the head of the main queue, an
//! entry that was hit goes round again with one hit less.
//!
//! So it is where all weigh the same. Where they do not, room goes to those whose weight brings most hits: an entry pays its
//! weight for each such step with its hits, and each hit counts for the mean weight of the shard's entries. Its ghost counts as a
//! hit, the load that brought it as a third of one: what weighs less than that goes on to the main queue unasked. As many hits as
//! are counted are enough for any weight. What is paid too much in the main queue is kept for the next rounds; a round costs
//! a quarter of the mean weight at least, so that light entries, and those that weigh nothing, leave in the end.
//!
//! Queues are linked through a slab of nodes, so that an entry leaves from the middle without a search and nothing is kept
//! of what left. Invariant: every live node is in exactly one queue, and each queue's weight is the sum of its nodes'.

mod ghosts;

use ghosts::Ghosts;

/// Hits that are counted between two looks of the policy.
pub(crate) const MOST_TOUCHES: u8 = 7;

/// The small queue's share of the weight, as a divisor.
const SMALL_SHARE: u64 = 10;

/// What the load of an entry counts for on its way to the main queue, as a divisor of a hit.
const LOAD_SHARE: u64 = 3;

/// The least that a round of the main queue costs, as a divisor of the mean weight.
const LEAST_RENT: u64 = 4;

/// No node. All others are below: an entry has 30 bits for its own.
const NONE: u32 = (1 << 30) - 1;

/// Places in the table are below: the bit tells the queue.
pub(crate) const PLACES: u32 = 1 << 31;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Queue {
    Small,
    Main,
}

struct Node {
    /// Where the entry lies in the table; and above it, set for the main queue.
    place: u32,
    /// What is paid for the next step, in weight.
    paid: u32,
    prev: u32,
    next: u32,
}

impl Node {
    fn place(&self) -> u32 {
        self.place & !PLACES
    }

    fn queue(&self) -> Queue {
        if self.place & PLACES == 0 { Queue::Small } else { Queue::Main }
    }

    fn set(&mut self, queue: Queue, place: u32) {
        debug_assert!(place < PLACES);
        self.place = place | if queue == Queue::Main { PLACES } else { 0 };
    }
}

struct Fifo {
    head: u32,
    tail: u32,
    weight: u64,
}

/// How the policy comes by what lies in a resident entry itself, which it knows by its place.
pub(crate) trait Entries {
    fn hash(&self, place: u32) -> u64;
    fn weight(&self, place: u32) -> u64;
    /// The hits since the last call.
    fn take_hits(&self, place: u32) -> u8;
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
        Self { nodes: Vec::new(), free: Vec::new(), small: Fifo::new(), main: Fifo::new(), ghosts: Ghosts::new() }
    }

    /// A new entry, which is about to be put into the table; gives its node. [`moved`](Self::moved) is to follow, with its place.
    pub(crate) fn insert(&mut self, hash: u64, weight: u64) -> u32 {
        let (mut queue, mut paid) = (Queue::Small, 0);
        if self.ghosts.remove(hash) {
            let mean = mean(self.total() + weight, self.len() + 1);
            paid = worth(1, mean);
            if is_worth_main(paid, weight, mean) {
                (queue, paid) = (Queue::Main, 0);
            }
        }
        let node = Node { place: 0, paid: as_told(paid), prev: NONE, next: NONE };
        let id = match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                let id = u32::try_from(self.nodes.len()).ok().filter(|id| *id < NONE);
                self.nodes.push(node);
                id.expect("a shard holds fewer than 2^30 - 1 entries")
            }
        };
        self.push(queue, id, weight);
        id
    }

    /// The entry of `node` lies at `place` now.
    pub(crate) fn moved(&mut self, node: u32, place: u32) {
        let node = &mut self.nodes[node as usize];
        node.set(node.queue(), place);
    }

    /// The entry of `node` was replaced by one of another weight; it keeps its place.
    pub(crate) fn reweigh(&mut self, node: u32, before: u64, weight: u64) {
        let queue = self.nodes[node as usize].queue();
        let fifo = self.fifo(queue);
        fifo.weight = fifo.weight - before + weight;
    }

    /// The entry of `node`, of that weight, left.
    pub(crate) fn remove(&mut self, node: u32, weight: u64) {
        self.unlink(node, weight);
        self.free.push(node);
    }

    /// Takes out the entry that goes next, if there is one other than `spared`. Gives its place.
    pub(crate) fn evict(&mut self, spared: Option<u32>, entries: &impl Entries) -> Option<u32> {
        let mean = mean(self.total(), self.len());
        // Each round evicts, moves an entry from small to main, or takes from what an entry of main was paid or hit: it ends.
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
            let node = &self.nodes[id as usize];
            let (place, queue) = (node.place(), node.queue());
            let weight = entries.weight(place);
            self.unlink(id, weight);
            if self.pays(id, weight, mean, entries) {
                self.push(Queue::Main, id, weight);
                continue;
            }
            if queue == Queue::Small {
                self.ghosts.add(entries.hash(place), self.len());
            }
            self.free.push(id);
            return Some(place);
        }
    }

    /// Has an entry that came to the head of its queue pay for its way on. False if it cannot.
    fn pays(&mut self, id: u32, weight: u64, mean: u64, entries: &impl Entries) -> bool {
        let node = &mut self.nodes[id as usize];
        let mut paid = u64::from(node.paid);
        match node.queue() {
            Queue::Small => {
                let hits = entries.take_hits(node.place());
                node.paid = 0;
                hits == MOST_TOUCHES || is_worth_main(paid + worth(hits, mean), weight, mean)
            }
            Queue::Main => {
                let rent = weight.max(mean.div_ceil(LEAST_RENT));
                // What was paid may be from when entries were heavier, and must not last for ever now.
                paid = paid.min(worth(MOST_TOUCHES, mean));
                if paid < rent {
                    let hits = entries.take_hits(node.place());
                    paid += worth(hits, mean);
                    if hits == MOST_TOUCHES {
                        paid = paid.max(rent);
                    }
                }
                let rest = paid.checked_sub(rent);
                node.paid = as_told(rest.unwrap_or(0));
                rest.is_some()
            }
        }
    }

    /// How many places for nodes there are, empty ones included.
    pub(crate) fn places(&self) -> usize {
        self.nodes.len()
    }

    /// The node of a place for nodes, and where its entry lies in the table. Of an empty one, no entry that lies there has that node.
    pub(crate) fn node(&self, place: usize) -> (u32, u32) {
        let node = u32::try_from(place).expect("a shard holds fewer than 2^30 - 1 entries");
        (node, self.nodes[place].place())
    }

    fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
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

    fn push(&mut self, queue: Queue, id: u32, weight: u64) {
        let tail = self.fifo(queue).tail;
        let node = &mut self.nodes[id as usize];
        node.set(queue, node.place());
        (node.prev, node.next) = (tail, NONE);
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

    fn unlink(&mut self, id: u32, weight: u64) {
        let node = &self.nodes[id as usize];
        let (prev, next, queue) = (node.prev, node.next, node.queue());
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

/// The mean weight of so many entries; one at least, so that a hit is worth something.
fn mean(total: u64, entries: usize) -> u64 {
    total.div_ceil((entries as u64).max(1)).max(1)
}

/// What so many hits are worth.
fn worth(hits: u8, mean: u64) -> u64 {
    u64::from(hits) * mean
}

/// What was paid, as far as a node can tell.
fn as_told(paid: u64) -> u32 {
    u32::try_from(paid).unwrap_or(u32::MAX)
}

/// Whether what was paid takes an entry to the main queue.
fn is_worth_main(paid: u64, weight: u64, mean: u64) -> bool {
    paid + mean / LOAD_SHARE >= weight
}

impl Fifo {
    const fn new() -> Self {
        Self { head: NONE, tail: NONE, weight: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// What a table would know. A place is the hash's own number here.
    #[derive(Default)]
    struct Hits(RefCell<HashMap<u64, (u64, u8)>>);

    impl Hits {
        fn of(&self, hash: u64) -> u8 {
            self.0.borrow().get(&hash).map_or(0, |(_, hits)| *hits)
        }
        fn set(&self, hash: u64, hits: u8) {
            self.0.borrow_mut().entry(hash).or_default().1 = hits;
        }
        fn weigh(&self, hash: u64, weight: u64) {
            self.0.borrow_mut().entry(hash).or_default().0 = weight;
        }
    }

    impl Entries for Hits {
        fn hash(&self, place: u32) -> u64 {
            place.into()
        }
        fn weight(&self, place: u32) -> u64 {
            self.0.borrow()[&u64::from(place)].0
        }
        fn take_hits(&self, place: u32) -> u8 {
            let mut known = self.0.borrow_mut();
            std::mem::take(&mut known.entry(place.into()).or_default().1)
        }
    }

    impl S3Fifo {
        fn add(&mut self, hits: &Hits, hash: u64, weight: u64) -> u32 {
            hits.weigh(hash, weight);
            let node = self.insert(hash, weight);
            self.moved(node, u32::try_from(hash).expect("tests have few"));
            node
        }
    }

    fn evicted(policy: &mut S3Fifo, hits: &Hits) -> Option<u64> {
        policy.evict(None, hits).map(u64::from)
    }

    #[test]
    fn entries_without_hits_go_in_the_order_they_came() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        for hash in 1..=3 {
            policy.add(&hits, hash, 1);
        }
        let gone: Vec<u64> = std::iter::from_fn(|| evicted(&mut policy, &hits)).collect();
        assert_eq!(gone, [1, 2, 3]);
        assert_eq!(policy.total(), 0);
    }

    #[test]
    fn a_hit_moves_an_entry_on_and_a_ghost_comes_back_to_the_main_queue() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        policy.add(&hits, 1, 1);
        policy.add(&hits, 2, 1);
        hits.set(1, 1);
        assert_eq!(evicted(&mut policy, &hits), Some(2));
        let back = policy.add(&hits, 2, 1);
        assert_eq!(policy.nodes[back as usize].queue(), Queue::Main);
        assert_eq!(policy.small.head, NONE);
    }

    #[test]
    fn each_that_was_evicted_is_remembered_while_as_many_are_there() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        for hash in 1..=3 {
            policy.add(&hits, hash, 1);
        }
        for hash in 1..=2 {
            assert_eq!(evicted(&mut policy, &hits), Some(hash));
        }
        for hash in 1..=2 {
            let back = policy.add(&hits, hash, 1);
            assert_eq!(policy.nodes[back as usize].queue(), Queue::Main, "{hash}");
        }
    }

    #[test]
    fn the_spared_entry_stays_and_is_alone_at_last() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        let spared = policy.add(&hits, 1, 5);
        policy.add(&hits, 2, 5);
        assert_eq!(policy.evict(Some(spared), &hits), Some(2));
        assert_eq!(policy.evict(Some(spared), &hits), None);
        hits.weigh(1, 7);
        policy.reweigh(spared, 5, 7);
        assert_eq!(policy.total(), 7);
        policy.remove(spared, 7);
        assert_eq!(policy.total(), 0);
    }

    #[test]
    fn ghosts_are_bounded_by_the_entries_that_are_there() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        for hash in 0..10_000 {
            policy.add(&hits, hash, 1);
            if hash >= 100 {
                policy.evict(None, &hits);
            }
        }
        assert!(policy.ghosts.order.len() <= 101 && policy.ghosts.set.len() <= 101);
        assert!(policy.nodes.len() <= 102);
    }

    /// Many whose mean weight is a little below 10, so that a hit is worth 10.
    fn insert_tens(policy: &mut S3Fifo, hits: &Hits, hashes: std::ops::Range<u64>) {
        for hash in hashes {
            policy.add(hits, hash, if hash % 10 == 9 { 9 } else { 10 });
        }
    }

    /// How many of `hashes` are left when so many others went.
    fn left(policy: &mut S3Fifo, hits: &Hits, others: usize, hashes: &[u64]) -> Vec<u64> {
        let mut left = hashes.to_vec();
        let mut gone = 0;
        while gone < others {
            let hash = evicted(policy, hits).expect("there are more");
            left.retain(|other| *other != hash);
            gone += usize::from(!hashes.contains(&hash));
        }
        left
    }

    #[test]
    fn a_hit_keeps_what_weighs_as_much_as_the_mean_and_heavier_ones_want_more_hits() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        for (hash, weight, hit) in [(1, 13, 1), (2, 14, 1), (3, 33, 3), (4, 34, 3), (5, 3, 0), (6, 4, 0)] {
            policy.add(&hits, hash, weight);
            hits.set(hash, hit);
        }
        insert_tens(&mut policy, &hits, 1_000..2_000);
        assert_eq!(left(&mut policy, &hits, 100, &[1, 2, 3, 4, 5, 6]), [1, 3, 5]);
    }

    #[test]
    fn as_many_hits_as_are_counted_are_enough_for_any_weight() {
        for (hit, stays) in [(MOST_TOUCHES - 1, false), (MOST_TOUCHES, true)] {
            let (mut policy, hits) = (S3Fifo::new(), Hits::default());
            policy.add(&hits, 1, 5_000);
            insert_tens(&mut policy, &hits, 1_000..2_000);
            hits.set(1, hit);
            assert_eq!(!left(&mut policy, &hits, 100, &[1]).is_empty(), stays, "out of the small queue");
            if stays {
                // It is alone in the main queue, which is far above its share of the weight.
                let main = policy.queue(Queue::Main, &hits);
                for (hit, stays) in [(MOST_TOUCHES, true), (MOST_TOUCHES - 1, false)] {
                    hits.set(1, hit);
                    let mean = mean(policy.total(), policy.len());
                    assert_eq!(policy.pays(main[0], 5_000, mean, &hits), stays, "round the main queue");
                }
            }
        }
    }

    #[test]
    fn a_ghost_counts_as_a_hit() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        for hash in 1..=3 {
            policy.add(&hits, hash, 30);
        }
        insert_tens(&mut policy, &hits, 1_000..2_000);
        assert_eq!(left(&mut policy, &hits, 1, &[1, 2, 3]), []);
        let queues: Vec<Queue> = [(1, 13), (2, 23), (3, 24)]
            .map(|(hash, weight)| policy.add(&hits, hash, weight))
            .map(|node| policy.nodes[node as usize].queue())
            .to_vec();
        assert_eq!(queues, [Queue::Main, Queue::Small, Queue::Small]);
        // One more hit brings the second over, and the third not.
        hits.set(2, 1);
        hits.set(3, 1);
        insert_tens(&mut policy, &hits, 2_000..3_000);
        assert_eq!(left(&mut policy, &hits, 1_000, &[2, 3]), [2]);
    }

    #[test]
    fn what_a_hit_pays_too_much_is_kept_for_the_next_rounds() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        // The mean is 10. All but the last go on to the main queue, and there the first two are hit once.
        for (hash, weight, hit) in [(1, 4, 2), (2, 10, 2), (3, 10, 2), (4, 16, 2), (5, 10, 0)] {
            policy.add(&hits, hash, weight);
            hits.set(hash, hit);
        }
        let mut gone = vec![evicted(&mut policy, &hits)];
        hits.set(1, 1);
        hits.set(2, 1);
        gone.extend((1..=4).map(|_| evicted(&mut policy, &hits)));
        let gone: Vec<u64> = gone.into_iter().flatten().collect();
        assert_eq!(gone, [5, 3, 4, 2, 1], "the first has paid for two rounds, the second for one");
    }

    /// Else a light entry would go round for ever on a hit from when entries were heavy.
    #[test]
    fn what_was_paid_among_heavy_ones_is_worth_no_more_than_hits_that_are_counted() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        for (hash, weight, hit) in [(1, 1, 1), (2, 1_000, MOST_TOUCHES), (3, 1_000, 0)] {
            policy.add(&hits, hash, weight);
            hits.set(hash, hit);
        }
        assert_eq!(evicted(&mut policy, &hits), Some(3));
        hits.set(1, 1);
        assert_eq!(evicted(&mut policy, &hits), Some(2), "the hit of the first was worth 501");
        policy.add(&hits, 4, 1);
        policy.add(&hits, 5, 1);
        hits.set(4, 1);
        assert_eq!(evicted(&mut policy, &hits), Some(5));
        hits.set(4, MOST_TOUCHES);
        assert_eq!(evicted(&mut policy, &hits), Some(1));
    }

    #[test]
    fn what_weighs_nothing_leaves_in_the_end_too() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        for hash in 1..=3 {
            policy.add(&hits, hash, 0);
            hits.set(hash, MOST_TOUCHES);
        }
        for hash in 1..=3 {
            assert_eq!(evicted(&mut policy, &hits), Some(hash));
        }
        assert_eq!(evicted(&mut policy, &hits), None);
    }

    #[test]
    fn weights_as_large_as_can_be_told_are_paid() {
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        for hash in 1..=3 {
            policy.add(&hits, hash, u64::from(u32::MAX));
        }
        hits.set(1, MOST_TOUCHES);
        assert_eq!(evicted(&mut policy, &hits), Some(2));
        assert_eq!(evicted(&mut policy, &hits), Some(3));
        // What is paid too much is more than a node can tell, and enough for two rounds.
        let (mut policy, hits) = (S3Fifo::new(), Hits::default());
        for hash in 1..=4 {
            policy.add(&hits, hash, 3 << 29);
            hits.set(hash, u8::from(hash < 4));
        }
        assert_eq!(evicted(&mut policy, &hits), Some(4));
        hits.set(1, 4);
        hits.set(2, 2);
        assert_eq!([(); 3].map(|()| evicted(&mut policy, &hits)), [3, 2, 1].map(Some));
    }

    impl S3Fifo {
        /// The nodes of a queue, in order; checks its links and its weight.
        fn queue(&self, queue: Queue, hits: &Hits) -> Vec<u32> {
            let fifo = if queue == Queue::Small { &self.small } else { &self.main };
            let (mut ids, mut prev, mut weight, mut id) = (Vec::new(), NONE, 0, fifo.head);
            while id != NONE {
                let node = &self.nodes[id as usize];
                assert_eq!((node.prev, node.queue()), (prev, queue));
                weight += hits.weight(node.place());
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
        let weight = prop_oneof![Just(0), 1..10u64, Just(u64::from(u32::MAX))];
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
                        hits.set(hash, 0);
                        let known = policy.ghosts.has(Ghosts::trace(hash));
                        let node = policy.add(&hits, hash, weight);
                        prop_assert!(known || policy.nodes[node as usize].queue() == Queue::Small);
                        live.push((node, hash, weight));
                    }
                    Op::Insert(..) => {}
                    Op::Touch(n) => {
                        if let Some((_, hash, _)) = at(n).map(|at| live[at]) {
                            hits.set(hash, (hits.of(hash) + 1).min(MOST_TOUCHES));
                        }
                    }
                    Op::Reweigh(n, weight) => {
                        if let Some(at) = at(n) {
                            let (node, hash, before) = live[at];
                            policy.reweigh(node, before, weight);
                            hits.weigh(hash, weight);
                            live[at].2 = weight;
                        }
                    }
                    Op::Remove(n) => {
                        if let Some(at) = at(n) {
                            let (node, _, weight) = live.swap_remove(at);
                            policy.remove(node, weight);
                        }
                    }
                    Op::Evict(spared) => {
                        let spared = spared.and_then(at).map(|at| live[at].0);
                        match policy.evict(spared, &hits) {
                            Some(place) => {
                                let hash = u64::from(place);
                                let at = live.iter().position(|(n, h, _)| *h == hash && Some(*n) != spared);
                                prop_assert!(at.is_some(), "only what is live is evicted");
                                live.swap_remove(at.unwrap());
                                prop_assert_eq!(hits.of(hash), 0, "nothing is evicted with hits that were not looked at");
                            }
                            None => prop_assert!(live.iter().all(|(n, ..)| Some(*n) == spared)),
                        }
                    }
                }
                most = most.max(live.len());
                let mut held = policy.queue(Queue::Small, &hits);
                held.extend(policy.queue(Queue::Main, &hits));
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
