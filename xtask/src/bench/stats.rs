//! Medians and spreads.

use std::fmt;

/// Values of one quantity, sorted.
#[derive(Clone)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Panics on an empty list: a section that measured nothing has a defect.
    pub fn new(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a sample needs a value");
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            self.0[middle]
        } else {
            f64::midpoint(self.0[middle - 1], self.0[middle])
        }
    }

    pub fn min(&self) -> f64 {
        self.0[0]
    }

    pub fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// `median (min–max)` with these many decimals.
    pub fn shown(&self, decimals: usize) -> String {
        format!(
            "{} ({}–{})",
            Grouped(self.median(), decimals),
            Grouped(self.min(), decimals),
            Grouped(self.max(), decimals)
        )
    }

    pub fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self::new(self.0.into_iter().map(change).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A number with its thousands apart: `113,000`.
pub struct Grouped(pub f64, pub usize);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.*}", self.1, self.0);
        let (whole, rest) =
            text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
        let digits = whole.trim_start_matches('-');
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        let sign = if whole.starts_with('-') { "-" } else { "" };
        match rest {
            Some(rest) => write!(f, "{sign}{grouped}.{rest}"),
            None => write!(f, "{sign}{grouped}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Grouped, Sample};

    #[test]
    fn medians_of_odd_and_even_samples() {
        assert_eq!(Sample::new(vec![3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Sample::new(vec![4.0, 1.0, 2.0, 3.0]).median(), 2.5);
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(Grouped(1_234_567.0, 0).to_string(), "1,234,567");
        assert_eq!(Grouped(123.456, 1).to_string(), "123.5");
        assert_eq!(Grouped(-1234.0, 0).to_string(), "-1,234");
    }
}
