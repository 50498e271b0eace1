//! Reproducible random moments: `FUSEMIX_TEST_SEED=N` repeats those of the run that printed N.

use std::cell::Cell;

/// Random numbers from a seed.
pub struct Random(Cell<u64>);

impl Random {
    /// Numbers of a test called `name`, which prints the seed; one that fails shows it.
    pub fn new(name: &str) -> Self {
        let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let given = std::env::var("FUSEMIX_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(clock);
        println!("{name}: FUSEMIX_TEST_SEED={seed} repeats these moments");
        Self(Cell::new(seed))
    }

    /// A number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
