//! How long to wait before trying again: exponential, with full jitter, so that many processes do
//! not fall upon a broker that has just come back at the same moment.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// Never at once: something may fail at once, too.
const SHORTEST: Duration = Duration::from_millis(10);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        rand::random_range(SHORTEST..=ceiling)
    }

    /// It worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    fn ceiling(&self) -> Duration {
        FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let mut ceilings = Vec::new();
        for _ in 0..80 {
            ceilings.push(backoff.ceiling().as_millis());
            let wait = backoff.next();
            assert!((SHORTEST..=LONGEST).contains(&wait), "{wait:?}");
        }
        assert_eq!(ceilings[..8], [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(ceilings[79], 5000);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
