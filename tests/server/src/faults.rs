//! Which requests for embeddings fail, and how: drawn by a seed, the text and
//! the number of its attempt alone, so that it is the same in every order in
//! which requests may come.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One way in which a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// 429 with `Retry-After`.
    TooMany,
    /// 500.
    ServerError,
    /// The connection is cut in the middle of the answer.
    Cut,
    /// No answer at all: the client has to give up.
    Silence,
}

impl Fault {
    /// Every way.
    pub const ALL: [Fault; 4] = [Fault::TooMany, Fault::ServerError, Fault::Cut, Fault::Silence];
}

/// A plan of faults.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The share of all attempts that fail: from 0, none, to 1, all.
    pub share: f64,
    /// Another seed makes others fail.
    pub seed: u64,
    /// The wait that a 429 asks for: whole seconds, rounded up.
    pub retry_after: Duration,
    /// The ways in which they fail. What is named twice is twice as frequent.
    pub kinds: Vec<Fault>,
    /// The most failures of one text; after those it is answered.
    pub most: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Faults {
            share: 0.0,
            seed: 1,
            retry_after: Duration::from_secs(1),
            kinds: Fault::ALL.to_vec(),
            most: u32::MAX,
        }
    }
}

impl Faults {
    /// How this attempt for this text fails, if it does. The first attempt is 0.
    pub fn fault(&self, text: &str, attempt: u32) -> Option<Fault> {
        self.drawn(hash(text.as_bytes()), attempt)
    }

    /// The same, for a text's hash.
    fn drawn(&self, text: u64, attempt: u32) -> Option<Fault> {
        if self.kinds.is_empty() || !self.fails(text, attempt) {
            return None;
        }
        if self.most < u32::MAX {
            let failed = (0..attempt).filter(|earlier| self.fails(text, *earlier)).count();
            if failed >= self.most as usize {
                return None;
            }
        }
        let kind = self.random(text, attempt, 1) % self.kinds.len() as u64;
        Some(self.kinds[kind as usize])
    }

    fn fails(&self, text: u64, attempt: u32) -> bool {
        // 53 bits: as many as an f64 holds.
        let fraction = (self.random(text, attempt, 0) >> 11) as f64 / (1u64 << 53) as f64;
        fraction < self.share
    }

    fn random(&self, text: u64, attempt: u32, purpose: u64) -> u64 {
        mix(mix(mix(self.seed) ^ text) ^ (u64::from(attempt) << 1 | purpose))
    }

    /// The value of `Retry-After`.
    pub fn retry_after_seconds(&self) -> u64 {
        self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0)
    }
}

/// A plan, and how far each text has come in it.
#[derive(Default)]
pub struct Plan {
    /// The plan.
    pub faults: Faults,
    attempts: Mutex<HashMap<u64, u32>>,
}

impl Plan {
    /// At its beginning.
    pub fn new(faults: Faults) -> Self {
        Plan { faults, ..Plan::default() }
    }

    /// What becomes of the next attempt for the text with this hash.
    pub fn next(&self, text: u64) -> Option<Fault> {
        if self.faults.share <= 0.0 {
            return None;
        }
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.entry(text).or_default();
        *attempt += 1;
        self.faults.drawn(text, *attempt - 1)
    }
}

/// A hash that is the same everywhere and for ever: FNV-1a by words, mixed.
pub fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64;
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash)
}

/// The finaliser of SplitMix64.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(share: f64, seed: u64) -> Faults {
        Faults { share, seed, ..Faults::default() }
    }

    #[test]
    fn as_many_fail_as_planned_in_all_ways() {
        let faults = plan(0.3, 7);
        let mut counts = HashMap::new();
        for n in 0..4_000 {
            for attempt in 0..5 {
                *counts.entry(faults.fault(&format!("text {n}"), attempt)).or_insert(0) += 1;
            }
        }
        for kind in Fault::ALL {
            let count = counts[&Some(kind)];
            assert!((1_400..1_600).contains(&count), "{kind:?}: {count} of 20,000");
        }
    }

    #[test]
    fn plans_are_reproducible() {
        let drawn = |seed| (0..200).map(|n| plan(0.5, seed).fault(&n.to_string(), 0)).collect();
        let (one, again, other): (Vec<_>, Vec<_>, Vec<_>) = (drawn(1), drawn(1), drawn(2));
        assert_eq!(one, again);
        assert_ne!(one, other);

        let plan = Plan::new(plan(0.5, 3));
        let lived: Vec<_> = (0..50).map(|_| plan.next(hash(b"a text"))).collect();
        let told: Vec<_> = (0..50).map(|n| plan.faults.fault("a text", n)).collect();
        assert_eq!(lived, told);
    }

    #[test]
    fn the_edges_of_a_share() {
        assert!((0..1_000).all(|n| plan(0.0, 1).fault(&n.to_string(), 0).is_none()));
        assert!((0..1_000).all(|n| plan(1.0, 1).fault(&n.to_string(), 0).is_some()));
        let faults = Faults { most: 2, ..plan(1.0, 1) };
        let failed: Vec<_> = (0..4).map(|n| faults.fault("x", n).is_some()).collect();
        assert_eq!(failed, [true, true, false, false]);
        let none = Faults { kinds: Vec::new(), ..plan(1.0, 1) };
        assert_eq!(none.fault("x", 0), None);
    }
}
