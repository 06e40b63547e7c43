//! Statistics of measured times. Pure.

use std::time::Duration;

/// Measured times, in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    /// Adds one.
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Adds those of another sample.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The middle one, or the mean of the two in the middle, in milliseconds. `None` without any.
    pub(crate) fn median_ms(&self) -> Option<f64> {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        if sorted.len() % 2 == 1 {
            return Some(ms(upper));
        }
        sorted.get(middle - 1).map(|lower| f64::midpoint(ms(*lower), ms(upper)))
    }

    /// The smallest one that `percent` % of all do not exceed (nearest rank), in milliseconds.
    /// `percent` is from 1 to 100. `None` without any.
    pub(crate) fn percentile_ms(&self, percent: usize) -> Option<f64> {
        let sorted = self.sorted();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).map(|took| ms(*took))
    }

    fn sorted(&self) -> Vec<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted
    }
}

/// Milliseconds, with fractions.
pub(crate) fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values_ms: &[u64]) -> Sample {
        Sample(values_ms.iter().map(|ms| Duration::from_millis(*ms)).collect())
    }

    #[test]
    fn the_median_does_not_depend_on_order_or_outliers() {
        assert_eq!(sample(&[9, 1, 5]).median_ms(), Some(5.0));
        assert_eq!(sample(&[1, 5000, 5]).median_ms(), Some(5.0));
        assert_eq!(sample(&[4, 1, 3, 2]).median_ms(), Some(2.5));
        assert_eq!(sample(&[7]).median_ms(), Some(7.0));
        assert_eq!(sample(&[]).median_ms(), None);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<u64> = (1..=100).rev().collect();
        let hundred = sample(&hundred);
        let whole = |p: usize, s: &Sample| s.percentile_ms(p).map(|ms| format!("{ms}"));
        assert_eq!(whole(50, &hundred).as_deref(), Some("50"));
        assert_eq!(whole(99, &hundred).as_deref(), Some("99"));
        assert_eq!(whole(100, &hundred).as_deref(), Some("100"));
        assert_eq!(whole(1, &hundred).as_deref(), Some("1"));
        let few = sample(&[30, 10, 20]);
        assert_eq!(whole(99, &few).as_deref(), Some("30"));
        assert_eq!(whole(50, &few).as_deref(), Some("20"));
        assert_eq!(whole(33, &few).as_deref(), Some("10"));
        assert_eq!(whole(50, &sample(&[])), None);
    }

    #[test]
    fn samples_join() {
        let mut all = sample(&[1]);
        all.append(sample(&[3, 2]));
        all.push(Duration::from_micros(1500));
        assert_eq!(all.len(), 4);
        assert!((all.median_ms().unwrap() - 1.75).abs() < 1e-9);
    }
}
