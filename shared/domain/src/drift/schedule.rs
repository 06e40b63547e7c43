//! When a stack is checked. Pure: chance comes from outside, and times are waits from now.

use std::ops::RangeInclusive;

/// How often a stack may be checked, in seconds.
pub const INTERVAL_S: RangeInclusive<u32> = 300..=2_592_000;
/// The longest wait, in seconds, after a check that was put off.
const SOON_S: u32 = 900;

/// How stacks are checked where nothing else was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Whether they are checked by themselves.
    pub enabled: bool,
    /// How often, in seconds.
    pub interval_s: u32,
    /// How much of the wait between two checks is left to chance, in percent.
    pub jitter_percent: u8,
    /// Checks that are begun in one round at most.
    pub per_round: u32,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { enabled: true, interval_s: 86_400, jitter_percent: 10, per_round: 20 }
    }
}

/// Up to `most_ms`, by chance.
fn up_to(most_ms: i64, chance: u64) -> i64 {
    let most = u128::try_from(most_ms).unwrap_or(0);
    // The upper half of the product: every wait is as likely as any other.
    i64::try_from((u128::from(chance) * (most + 1)) >> 64).unwrap_or(0)
}

fn ms(seconds: u32) -> i64 {
    i64::from(seconds) * 1000
}

/// How long until the first check of a stack, in milliseconds: anything up to the interval (full
/// jitter), so a thousand stacks that are found together are not checked together.
pub fn first_wait_ms(interval_s: u32, chance: u64) -> i64 {
    up_to(ms(interval_s), chance)
}

/// How long from one check to the next, in milliseconds: the interval, less a part of it by chance,
/// so that those who came together drift apart.
pub fn next_wait_ms(interval_s: u32, jitter_percent: u8, chance: u64) -> i64 {
    let interval = ms(interval_s);
    let loose = interval * i64::from(jitter_percent.min(100)) / 100;
    interval - up_to(loose, chance)
}

/// How long until a check is tried again that was put off or thrown away, in milliseconds: not at
/// once, and not after the interval.
pub fn soon_ms(interval_s: u32, chance: u64) -> i64 {
    let most = ms(SOON_S.min(interval_s));
    most / 3 + up_to(most - most / 3, chance)
}
