//! Numbers for tests that try what they do not choose: the seed is told, and can be
//! given.

use std::time::{SystemTime, UNIX_EPOCH};

/// A seeded source of numbers (splitmix64), so that a failure can be repeated.
pub struct Random(u64);

impl Random {
    /// Seeded by `TIGERFLOW_TEST_SEED`, or else by the clock.
    pub fn seeded() -> Random {
        let clock = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("past 1970");
            now.as_nanos() as u64
        };
        let given = std::env::var("TIGERFLOW_TEST_SEED").ok();
        let seed = given.map_or_else(clock, |seed| seed.parse().expect("a seed is a number"));
        eprintln!("repeat it with TIGERFLOW_TEST_SEED={seed}");
        Random(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
