//! How long attempts took, told in a few hundred numbers however many they are.

use std::collections::BTreeMap;

/// Durations in classes of 9 % width: exact enough to read, and of fixed size.
#[derive(Debug, Default)]
pub struct Histogram {
    classes: BTreeMap<i32, usize>,
    total: usize,
    longest: f64,
}

impl Histogram {
    /// Adds a duration, in milliseconds. Whether it is the longest so far.
    pub fn add(&mut self, ms: f64) -> bool {
        let class = (ms.max(1e-3).log2() * 8.0).round() as i32;
        *self.classes.entry(class).or_default() += 1;
        self.total += 1;
        let is_longest = ms > self.longest;
        if is_longest {
            self.longest = ms;
        }
        is_longest
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The longest, in milliseconds.
    pub fn longest(&self) -> f64 {
        self.longest
    }

    /// What this part of them, from 0 to 1, does not exceed, give or take a class.
    pub fn quantile(&self, part: f64) -> f64 {
        let wanted = (self.total as f64 * part).ceil() as usize;
        let mut seen = 0;
        for (class, number) in &self.classes {
            seen += number;
            if seen >= wanted {
                return (f64::from(*class) / 8.0).exp2().min(self.longest);
            }
        }
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_class() {
        let mut histogram = Histogram::default();
        for ms in 1..=1000 {
            histogram.add(f64::from(ms));
        }
        let (median, percentile_95) = (histogram.quantile(0.5), histogram.quantile(0.95));
        assert!((450.0..550.0).contains(&median), "{median}");
        assert!((860.0..1000.0).contains(&percentile_95), "{percentile_95}");
        assert_eq!((histogram.total(), histogram.longest()), (1000, 1000.0));
    }
}
