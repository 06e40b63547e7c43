//! Guessing is slow: whoever fails to sign in waits, longer each time.
//!
//! What is counted is a name from an address, and an address whatever it tries; never a name alone,
//! or a stranger could keep its owner out. An attempt counts before it is looked at, so that a
//! thousand at once are no more than a thousand in a row, and a name that nobody has counts as any
//! other.

use std::net::IpAddr;

use chrono::{DateTime, Duration, SubsecRound as _, Utc};
use slipway_domain::fault::{Code, Fault};
use slipway_store::Tx;
use slipway_store::auth::Digest;
use slipway_store::auth::sign_in::Failures;

use super::digest;
use crate::Ctx;

/// Failures of one name from one address that cost nothing: people mistype.
const FREE: i32 = 5;
/// Failures from one address that cost nothing: many people may share one.
const FREE_ADDRESS: i32 = 50;
/// The longest wait.
const LONGEST: Duration = Duration::minutes(15);
/// After so long without a failure, it begins anew.
const FORGOTTEN: Duration = Duration::hours(24);

/// After so long without a failure from an address, one of its failures is forgotten: whoever shares
/// one with somebody who guesses gets in again.
const PASSES: Duration = Duration::minutes(1);

/// What was counted for a name from an address, or for an address.
struct Counted {
    of: Digest,
    before: Failures,
    after: Failures,
}

/// An attempt that is counted.
pub(crate) struct Attempt {
    pair: Counted,
    address: Counted,
    /// Whether the next one of this name from this address will have to wait.
    pub(crate) slowed: bool,
}

/// Counts an attempt to sign in as `name`; refuses it when it is too early.
pub(crate) async fn begin(cx: &Ctx, name: &str, address: Option<&str>) -> Result<Attempt, Fault> {
    let now = cx.now().trunc_subsecs(6);
    let place = place(address);
    let pair = digest(format!("pair|{place}|{name}").as_bytes());
    let address = digest(format!("address|{place}").as_bytes());
    let mut tx = cx.store.begin().await?;
    let pair = count(&mut tx, pair, FREE, None, now).await?;
    let address = count(&mut tx, address, FREE_ADDRESS, Some(PASSES), now).await?;
    tx.commit().await?;
    let slowed = pair.after.wait_until > now;
    Ok(Attempt { pair, address, slowed })
}

impl Attempt {
    /// It was the right one: as if it had not been.
    pub(crate) async fn succeeded(&self, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), Fault> {
        tx.clear_failures(&self.pair.of).await?;
        self.address.take_back(tx, now).await
    }

    /// Nobody looked at it. It matters to nobody's answer whether this works.
    pub(crate) async fn take_back(&self, cx: &Ctx) {
        let now = cx.now();
        let taken = async {
            let mut tx = cx.store.begin().await?;
            self.pair.take_back(&mut tx, now).await?;
            self.address.take_back(&mut tx, now).await?;
            tx.commit().await?;
            Ok::<_, Fault>(())
        };
        if let Err(fault) = taken.await {
            tracing::warn!(%fault, cause = fault.causes(), "an attempt to sign in stays counted");
        }
    }
}

impl Counted {
    /// As if it had not been, but for what was counted since.
    async fn take_back(&self, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), Fault> {
        let there = tx.lock_failures(&self.of, now).await?;
        let failures = (there.failures - 1).max(0);
        let taken = if there == self.after {
            Failures { failures, ..self.before }
        } else {
            Failures { failures, ..there }
        };
        tx.set_failures(&self.of, &taken).await?;
        Ok(())
    }
}

async fn count(
    tx: &mut Tx,
    of: Digest,
    free: i32,
    passes: Option<Duration>,
    now: DateTime<Utc>,
) -> Result<Counted, Fault> {
    let before = tx.lock_failures(&of, now).await?;
    if before.wait_until > now {
        // Nothing is written: who asks all the time does not wait any longer for it.
        let left = (before.wait_until - now).num_milliseconds();
        return Err(Fault {
            retry_after_s: Some(u64::try_from(left).unwrap_or(0).div_ceil(1000).max(1)),
            ..Fault::new(
                Code::RateLimited,
                "Too many attempts to sign in from here have failed. Wait, then try again.",
            )
        });
    }
    let failures = left(&before, passes, now).saturating_add(1);
    let after = Failures { failures, last_at: now, wait_until: now + wait(failures, free) };
    tx.set_failures(&of, &after).await?;
    Ok(Counted { of, before, after })
}

/// How many failures still count.
fn left(before: &Failures, passes: Option<Duration>, now: DateTime<Utc>) -> i32 {
    let since = now - before.last_at;
    if since > FORGOTTEN {
        return 0;
    }
    let passed = passes.map_or(0, |each| since.num_seconds().max(0) / each.num_seconds().max(1));
    before.failures.saturating_sub(i32::try_from(passed).unwrap_or(i32::MAX)).max(0)
}

/// How long to wait after so many failures: 2 s, 4 s, 8 s …
fn wait(failures: i32, free: i32) -> Duration {
    match failures - free {
        ..=0 => Duration::zero(),
        over => Duration::seconds(1_i64 << over.min(20)).min(LONGEST),
    }
}

/// Where somebody is, as far as they cannot choose it: with IPv6 a house has a whole network.
fn place(address: Option<&str>) -> String {
    match address.and_then(|text| text.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical()) {
        Some(IpAddr::V6(ip)) => format!("{:x}/64", ip.to_bits() >> 64),
        Some(ip) => ip.to_string(),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let seconds = |failures| wait(failures, FREE).num_seconds();
        assert_eq!([1, 5, 6, 7, 8].map(seconds), [0, 0, 2, 4, 8]);
        assert_eq!(seconds(50), 900);
        assert_eq!(seconds(i32::MAX), 900);
    }

    #[test]
    fn failures_from_an_address_pass_and_those_of_a_name_stay() {
        let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let before = Failures { failures: 60, last_at: now, wait_until: now };
        let after = |passes, minutes| left(&before, passes, now + Duration::minutes(minutes));
        assert_eq!([0, 1, 15, 100].map(|m| after(Some(PASSES), m)), [60, 59, 45, 0]);
        assert_eq!([0, 15, 1000, 2000].map(|m| after(None, m)), [60, 60, 60, 0]);
    }

    #[test]
    fn a_network_is_one_place() {
        assert_eq!(place(Some("2001:db8::1")), place(Some("2001:db8::ffff")));
        assert_ne!(place(Some("2001:db8::1")), place(Some("2001:db8:0:1::1")));
        assert_eq!(place(Some("::ffff:203.0.113.9")), place(Some("203.0.113.9")));
        assert_ne!(place(Some("203.0.113.9")), place(None));
    }
}
