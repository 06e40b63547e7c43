//! How much somebody may do in a while: one number a caller, and a pure rule (GCRA, the token bucket
//! that needs no timer). Whoever counts keeps the number: a process for itself, or Redis for all.

use serde::{Deserialize, Serialize};

/// So many requests in so many seconds. All of them may come at once; after that they come back one
/// by one, evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Requests; 0 is taken for 1.
    pub requests: u32,
    /// In so many seconds; 0 is taken for 1.
    pub window_s: u32,
}

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Whether it may go on.
    pub allowed: bool,
    /// Requests that may follow at once.
    pub remaining: u32,
    /// Seconds until all of the quota is there again.
    pub reset_s: u32,
    /// Seconds until the next one may come, when this one may not.
    pub retry_after_s: u32,
}

/// The number of a caller: the moment, in microseconds, at which all of its quota is there again.
/// Zero for one that is new.
pub type FullAt = i64;

impl Quota {
    fn window_us(self) -> i64 {
        i64::from(self.window_s.max(1)) * 1_000_000
    }

    /// Microseconds that one request takes of the window; at least one.
    fn step_us(self) -> i64 {
        (self.window_us() / i64::from(self.requests.max(1))).max(1)
    }

    /// Takes one request at `now_us` from the caller whose number is `full_at`; gives the number
    /// that it has then.
    pub fn take(self, full_at: FullAt, now_us: i64) -> (FullAt, Taken) {
        let (window, step) = (self.window_us(), self.step_us());
        // A clock that was set back must not lock anybody out for longer than a window.
        let from = full_at.clamp(now_us, now_us.saturating_add(window));
        let allowed = from + step - now_us - window <= 0;
        let full_at = if allowed { from + step } else { from };
        (full_at, self.told(full_at, now_us, allowed))
    }

    /// What the caller is told whose number is `full_at` after its request was allowed, or was not.
    pub fn told(self, full_at: FullAt, now_us: i64, allowed: bool) -> Taken {
        let (window, step) = (self.window_us(), self.step_us());
        let used = (full_at - now_us).clamp(0, window + step);
        let seconds =
            |us: i64| u32::try_from((us.max(0) + 999_999) / 1_000_000).unwrap_or(u32::MAX);
        let remaining = u32::try_from((window - used).max(0) / step).unwrap_or(u32::MAX);
        Taken {
            allowed,
            remaining: remaining.min(self.requests),
            reset_s: seconds(used),
            retry_after_s: if allowed { 0 } else { seconds(used + step - window).max(1) },
        }
    }

    /// Window and step in microseconds, for who counts elsewhere by the same rule.
    pub fn micros(self) -> (i64, i64) {
        (self.window_us(), self.step_us())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000;

    #[test]
    fn a_burst_passes_and_then_one_by_one() {
        let quota = Quota { requests: 3, window_s: 30 };
        let mut full_at = 0;
        let mut take = |now| {
            let (next, taken) = quota.take(full_at, now);
            full_at = next;
            taken
        };
        let now = 1_000 * S;
        for remaining in [2, 1, 0] {
            let taken = take(now);
            assert!(taken.allowed && taken.remaining == remaining, "{taken:?}");
        }
        let refused = take(now);
        let wanted = Taken { allowed: false, remaining: 0, reset_s: 30, retry_after_s: 10 };
        assert_eq!(refused, wanted);
        assert!(!take(now + 9 * S).allowed);
        assert!(take(now + 10 * S).allowed, "a third of the window gives one back");
        assert!(!take(now + 10 * S).allowed);
        assert_eq!(take(now + 1000 * S).remaining, 2, "it never holds more than the quota");
    }

    proptest! {
        /// In no stretch of time does more pass than the quota and what came back in it.
        #[test]
        fn no_stretch_has_more_than_its_share(
            requests in 1u32..50,
            window_s in 1u32..100,
            steps in prop::collection::vec(0i64..3_000_000, 1..200),
        ) {
            let quota = Quota { requests, window_s };
            let (mut now, mut full_at, mut passed) = (S, 0, Vec::new());
            for step in steps {
                now += step;
                let (next, taken) = quota.take(full_at, now);
                prop_assert!(taken.remaining <= requests && taken.reset_s <= window_s);
                prop_assert_eq!(taken.allowed, taken.retry_after_s == 0);
                full_at = next;
                if taken.allowed {
                    passed.push(now);
                }
            }
            for (at, first) in passed.iter().enumerate() {
                for (count, last) in (1i64..).zip(&passed[at..]) {
                    let back = (last - first) / quota.step_us();
                    prop_assert!(count <= i64::from(requests) + back + 1);
                }
            }
        }

        /// Any number from outside is survived, and who waits as told gets through.
        #[test]
        fn who_waits_as_told_gets_through(full_at in any::<i64>(), requests in 0u32.., window_s in 0u32..100_000) {
            let quota = Quota { requests, window_s };
            let now = 1_700_000_000 * S;
            let (next, taken) = quota.take(full_at, now);
            if !taken.allowed {
                let later = now + i64::from(taken.retry_after_s) * S;
                prop_assert!(quota.take(next, later).1.allowed);
            }
        }
    }
}
