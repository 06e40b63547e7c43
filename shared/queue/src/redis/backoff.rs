//! How long to wait before the next try.

use std::time::Duration;

use rand::Rng as _;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Full jitter: a time between nothing and a bound that doubles with every failure, so that many
/// processes do not come back all at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The last try went well for a while.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    fn bound(&self) -> Duration {
        FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST)
    }

    /// The time to wait now.
    pub(super) fn next(&mut self) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        rand::rng().random_range(Duration::ZERO..=bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_limit_and_begins_anew() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.bound(), FIRST);
        for _ in 0..40 {
            let bound = backoff.bound();
            assert!(bound <= LONGEST && backoff.next() <= bound);
        }
        assert_eq!(backoff.bound(), LONGEST);
        backoff.reset();
        assert_eq!(backoff.bound(), FIRST);
    }
}
