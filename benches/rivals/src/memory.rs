//! How much memory an entry takes: each cache fills in a process of its own.
//!
//! Resident memory (`Rss` of `/proc/self/smaps_rollup`) before the cache is opened is taken from that after it was filled, and again
//! after as many other keys were put: what is there then is what a cache in use has (ghosts, free places, gaps of the allocator).

use std::process::Command;

use wtcache_benches::figures::resident;
use wtcache_benches::{VALUE_BYTES, key};

use crate::cache::{Kind, Origin, Room, Values};

/// The first argument of the process that fills one cache.
pub(crate) const CHILD: &str = "--fill";

/// What one cache takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Taken {
    /// Bytes an entry when as many keys were put as there is room for.
    pub(crate) filled: f64,
    /// Bytes an entry when twice as many were put.
    pub(crate) used: f64,
}

/// Fills the cache in a process of its own, with room for `keys` entries.
pub(crate) fn taken(kind: Kind, keys: usize) -> Result<Taken, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut child = Command::new(program);
    child.args([CHILD, kind.name(), &keys.to_string()]);
    let output = child.output().map_err(|error| format!("{child:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{child:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    told(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| format!("{child:?} said something else"))
}

fn told(said: &str) -> Option<Taken> {
    let mut numbers = said.split_whitespace().map(str::parse);
    let taken = Taken { filled: numbers.next()?.ok()?, used: numbers.next()?.ok()? };
    numbers.next().is_none().then_some(taken)
}

/// The process that fills one cache. Prints the two numbers.
pub(crate) fn child(cache: &str, keys: &str) -> Result<(), String> {
    let kind = Kind::WEIGHED.into_iter().find(|kind| kind.name() == cache);
    let kind = kind.ok_or_else(|| format!("there is no cache {cache:?}"))?;
    let keys: usize = keys.parse().map_err(|_| format!("{keys:?} is no number of keys"))?;
    let before = resident()?;
    let cache = kind.open(Room::entries(keys), &Origin::new(Values::Even)).ok_or("it counts no entries")?;
    let an_entry = || {
        let entries = cache.entries();
        let after = resident()?;
        Ok::<f64, String>(after.saturating_sub(before) as f64 / entries as f64)
    };
    let fill = |from: usize| (from..from + keys).for_each(|n| cache.put(&key(n as u64), &[7; VALUE_BYTES]));
    fill(0);
    let filled = an_entry()?;
    fill(keys);
    println!("{filled} {}", an_entry()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_childs_words_are_read() {
        assert_eq!(told("350.5 400\n"), Some(Taken { filled: 350.5, used: 400.0 }));
        assert_eq!(told("350.5"), None);
        assert_eq!(told("1 2 3"), None);
    }
}
