//! How long to wait before another try: exponential with full jitter.

use std::time::Duration;

use rand::Rng as _;

const BASE: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_mins(5);

/// The longest wait after `attempt` failed tries (from 1): `2 s · 2^(attempt-1)`, at most 5 min.
pub(crate) fn ceiling(attempt: u32) -> Duration {
    let factor = 1u32.checked_shl(attempt.saturating_sub(1).min(16)).unwrap_or(u32::MAX);
    BASE.saturating_mul(factor).min(MOST)
}

/// A random wait up to [`ceiling`]: full jitter spreads those who failed together.
pub(crate) fn jittered(attempt: u32) -> Duration {
    let most = u64::try_from(ceiling(attempt).as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(rand::rng().random_range(0..=most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_are_spread_below_it() {
        assert_eq!(ceiling(1), Duration::from_secs(2));
        assert_eq!(ceiling(2), Duration::from_secs(4));
        assert_eq!(ceiling(3), Duration::from_secs(8));
        assert_eq!(ceiling(60), MOST);
        let waits: Vec<_> = (0..200).map(|_| jittered(3)).collect();
        assert!(waits.iter().all(|w| *w <= ceiling(3)));
        assert!(waits.iter().any(|w| *w < Duration::from_secs(2)));
        assert!(waits.iter().any(|w| *w > Duration::from_secs(6)));
    }
}
