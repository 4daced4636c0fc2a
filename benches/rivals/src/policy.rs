//! What hit ratios are held against: LRU, and OPT, which knows the future. Simulated, no caches.
//!
//! OPT is Belady's (1966): what is needed last goes, and a key that is needed later than all that is kept is not kept at
//! all. It is the most that any policy can reach where every entry weighs the same; for weights that differ no such policy
//! is known.

use std::collections::BTreeSet;

use crate::traces::Trace;

const NONE: u32 = u32::MAX;

/// How many requests of `trace` an LRU of that capacity answers; `weights` are those of the keys.
pub(crate) fn lru(trace: &Trace, weights: &[u32], capacity: u64) -> u64 {
    // A ring through one more place than there are keys: behind that place lies the newest, before it the oldest.
    let head = trace.keys as u32;
    let mut next = vec![NONE; trace.keys + 1];
    let mut prev = vec![NONE; trace.keys + 1];
    (next[head as usize], prev[head as usize]) = (head, head);
    let (mut held, mut hits) = (0, 0);
    for &key in &trace.requests {
        let resident = next[key as usize] != NONE;
        if resident {
            hits += 1;
            unlink(&mut next, &mut prev, key);
        } else {
            let weight = u64::from(weights[key as usize]);
            if weight > capacity {
                continue;
            }
            held += weight;
            while held > capacity {
                let oldest = prev[head as usize];
                unlink(&mut next, &mut prev, oldest);
                next[oldest as usize] = NONE;
                held -= u64::from(weights[oldest as usize]);
            }
        }
        let newest = next[head as usize];
        (next[key as usize], prev[key as usize]) = (newest, head);
        (next[head as usize], prev[newest as usize]) = (key, key);
    }
    hits
}

fn unlink(next: &mut [u32], prev: &mut [u32], key: u32) {
    let (after, before) = (next[key as usize], prev[key as usize]);
    next[before as usize] = after;
    prev[after as usize] = before;
}

/// How many requests of `trace` are answered at most with room for so many entries.
pub(crate) fn opt(trace: &Trace, capacity: usize) -> u64 {
    // When the key of each request is needed again.
    let mut again = vec![NONE; trace.requests.len()];
    let mut seen = vec![NONE; trace.keys];
    for (at, &key) in trace.requests.iter().enumerate().rev() {
        again[at] = std::mem::replace(&mut seen[key as usize], at as u32);
    }
    // What is kept, by when it is needed; what never is needed again is not kept.
    let mut kept: BTreeSet<u32> = BTreeSet::new();
    let mut hits = 0;
    for (at, &needed) in again.iter().enumerate() {
        hits += u64::from(kept.remove(&(at as u32)));
        if needed == NONE {
            continue;
        }
        kept.insert(needed);
        if kept.len() > capacity {
            kept.pop_last();
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn trace(requests: &[u32]) -> Trace {
        let keys = requests.iter().max().map_or(0, |most| *most as usize + 1);
        Trace { name: String::new(), requests: requests.to_vec(), keys }
    }

    #[test]
    fn lru_drops_what_was_not_used_for_longest() {
        let trace = trace(&[0, 1, 0, 2, 0, 1]);
        assert_eq!(lru(&trace, &[1; 3], 2), 2);
        assert_eq!(lru(&trace, &[1; 3], 3), 3);
        assert_eq!(lru(&trace, &[1; 3], 1), 0);
    }

    #[test]
    fn lru_keeps_to_the_weight() {
        // Key 1 alone is too heavy; key 2 drives out both others.
        let trace = trace(&[0, 1, 0, 2, 2, 0]);
        assert_eq!(lru(&trace, &[1, 9, 4], 4), 2);
        assert_eq!(lru(&trace, &[1, 9, 4], 5), 3);
    }

    /// The most hits, by trying all that could be kept after each request.
    fn tried(requests: &[u32], capacity: u32) -> u64 {
        let mut best = HashMap::from([(0_u32, 0)]);
        for key in requests.iter().map(|key| 1 << key) {
            let mut after = HashMap::new();
            for (kept, hits) in best {
                let (most, hits) = (kept | key, hits + u64::from(kept & key != 0));
                for kept in (0..=most).filter(|some| some & !most == 0 && some.count_ones() <= capacity) {
                    let known = after.entry(kept).or_insert(hits);
                    *known = hits.max(*known);
                }
            }
            best = after;
        }
        best.into_values().max().unwrap_or(0)
    }

    #[test]
    fn opt_is_the_best_of_all_that_can_be_kept() {
        // The sequence of textbooks, with three places: 11 hits where each key must be kept, one more where it need not.
        let book = [7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1];
        assert_eq!((lru(&trace(&book), &[1; 8], 3), opt(&trace(&book), 3)), (8, 12));
        let drawn = Trace::zipf(7, 60);
        for capacity in 1..=4 {
            assert_eq!(opt(&trace(&book), capacity), tried(&book, capacity as u32), "{capacity}");
            assert_eq!(opt(&drawn, capacity), tried(&drawn.requests, capacity as u32), "{capacity}");
        }
    }

    #[test]
    fn none_is_better_than_opt() {
        let zipf = Trace::zipf(500, 20_000);
        for capacity in [5, 50, 250] {
            assert!(lru(&zipf, &vec![1; zipf.keys], capacity) < opt(&zipf, capacity as usize));
        }
        assert_eq!(opt(&zipf, zipf.keys), 20_000 - zipf.keys as u64);
    }
}
