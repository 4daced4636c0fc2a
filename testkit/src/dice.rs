//! The dice: all that is random in a test or a script comes from a seed.
//!
//! Invariant: the same seed throws the same numbers, in every build.

/// Pseudo-random numbers from a seed (SplitMix64, by Steele, Lea and Flood). Each draw is even enough for tests: the remainder of a
/// 64-bit number.
///
/// # Example
/// ```
/// use wtcache_testkit::Dice;
/// assert_eq!(Dice::new(7).below(100), Dice::new(7).below(100));
/// ```
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any of 64 bits.
    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below `bound`.
    ///
    /// # Panics
    /// `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.throw() % bound
    }

    /// From `low` to `high`, both included.
    ///
    /// # Panics
    /// `high` is less than `low`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Yes in so many of a hundred.
    pub fn percent(&mut self, share: u64) -> bool {
        self.between(1, 100) <= share
    }

    /// An index of a list of so many.
    ///
    /// # Panics
    /// It is empty.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("less than a usize")
    }

    /// One of the list.
    ///
    /// # Panics
    /// It is empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.index(list.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the reference implementation for this seed.
    #[test]
    fn they_are_those_of_splitmix64() {
        let mut dice = Dice::new(1_234_567);
        let first = [(); 3].map(|()| dice.throw());
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn bounds_are_kept_and_reached() {
        let mut dice = Dice::new(1);
        let thrown: Vec<u64> = (0..1_000).map(|_| dice.between(3, 6)).collect();
        assert!((3..=6).all(|number| thrown.contains(&number)) && thrown.iter().all(|number| (3..=6).contains(number)));
        assert!((0..1_000).all(|_| dice.percent(100) && !dice.percent(0)));
    }
}
