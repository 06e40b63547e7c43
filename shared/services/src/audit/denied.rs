//! Refused requests on the record. Whoever floods the doors must not fill the disk: each address has
//! a quota of records, all together have one, and what was left out is counted and told by the next
//! record.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipway_domain::access::{Actor, Principal};
use slipway_domain::audit::{AuditRecord, AuditResult};
use slipway_domain::fault::Fault;
use slipway_domain::limit::{FullAt, Quota};

use crate::Ctx;
use crate::change::audit_record;

/// Records of one address.
const PER_ADDRESS: Quota = Quota { requests: 20, window_s: 60 };
/// Records of all addresses together, of one process.
const TOGETHER: Quota = Quota { requests: 300, window_s: 60 };
/// Addresses that are counted one by one; further ones are counted together.
const ADDRESSES: usize = 4096;
/// Addresses of which [`tell_left_out`] tells one by one.
const TOLD: usize = 20;
/// How long a refused request waits for its record.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// The name of whoever is not known.
const UNKNOWN: &str = "unknown";
/// What is done to such a request.
const ACTION: &str = "request.deny";

/// A request that was refused.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Who asked, as far as it is known; with address and user agent.
    pub who: Principal,
    /// Whether it is known who asked.
    pub known: bool,
    /// What was asked for: `POST /api/v1/deployments/{id}/approve`, or the name of a tool.
    pub what: String,
    /// The very path.
    pub path: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    full_at: FullAt,
    left_out: u64,
}

#[derive(Debug, Default)]
struct Counts {
    by_address: HashMap<IpAddr, Count>,
    /// Those that came from nowhere, or from too many places.
    others: Count,
    together: FullAt,
}

/// How many records each address got. Clones of it are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Denials(Arc<Mutex<Counts>>);

impl Denials {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a record may be written, and how many were left out before it.
    fn admit(&self, address: Option<IpAddr>, now_us: i64) -> Option<u64> {
        let mut counts = self.lock();
        let counts = &mut *counts;
        let full = counts.by_address.len() >= ADDRESSES;
        if full && address.is_some_and(|address| !counts.by_address.contains_key(&address)) {
            // Whoever has been quiet for a while is as good as new.
            counts.by_address.retain(|_, count| count.left_out > 0 || count.full_at > now_us);
        }
        let room = counts.by_address.len() < ADDRESSES;
        let count = match address {
            Some(address) if room || counts.by_address.contains_key(&address) => {
                counts.by_address.entry(address).or_default()
            }
            _ => &mut counts.others,
        };
        let (full_at, own) = PER_ADDRESS.take(count.full_at, now_us);
        let (together, all) = TOGETHER.take(counts.together, now_us);
        if !own.allowed || !all.allowed {
            count.left_out += 1;
            return None;
        }
        count.full_at = full_at;
        counts.together = together;
        Some(std::mem::take(&mut count.left_out))
    }

    /// A record that was admitted was not written after all.
    fn missed(&self, address: Option<IpAddr>, left_out: u64) {
        let mut counts = self.lock();
        let counts = &mut *counts;
        let count = address.and_then(|address| counts.by_address.get_mut(&address));
        count.unwrap_or(&mut counts.others).left_out += left_out + 1;
    }

    /// Takes what was left out: the addresses with most of it one by one, and the rest together.
    fn left_out(&self) -> Vec<(Option<IpAddr>, u64)> {
        let mut counts = self.lock();
        let mut found: Vec<_> = counts
            .by_address
            .iter_mut()
            .filter(|(_, count)| count.left_out > 0)
            .map(|(address, count)| (Some(*address), std::mem::take(&mut count.left_out)))
            .collect();
        found.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
        let rest: u64 = found.iter().skip(TOLD).map(|(_, count)| count).sum();
        found.truncate(TOLD);
        let others = std::mem::take(&mut counts.others.left_out) + rest;
        if others > 0 {
            found.push((None, others));
        }
        found
    }
}

/// Whose quota an address counts for: an IPv6 network of one subscriber is one.
fn counted_as(address: &str) -> Option<IpAddr> {
    Some(match address.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    })
}

/// Puts a refused request on record, unless its address has had its share of records. What refused
/// it must say that nobody knows who asks, or that they may not, or hide a thing from them; anything
/// else is no refusal of this kind, and nothing is written. Never fails: the answer to the request is
/// a refusal either way.
pub async fn denied(cx: &Ctx, attempt: Attempt, why: &Fault) {
    if !why.is_denial() {
        return;
    }
    let Attempt { mut who, known, what, path, request_id } = attempt;
    let address = who.address.as_deref().and_then(counted_as);
    let denials = &cx.gathered.denials;
    let Some(left_out) = denials.admit(address, cx.now().timestamp_micros()) else { return };
    if !known {
        UNKNOWN.clone_into(&mut who.actor.id);
    }
    let path = path.map(|path| path.chars().take(300).collect::<String>());
    let mut detail = serde_json::json!({"code": why.code, "path": path, "request_id": request_id});
    if left_out > 0 {
        detail["left_out"] = left_out.into();
    }
    let reason = if why.hides {
        format!("{} holds nothing where it is; the answer was: {}", who.actor.id, why.detail)
    } else {
        why.detail.clone()
    };
    let record = AuditRecord {
        reason: Some(reason),
        ..audit_record(cx, &who, ACTION, what, detail).ended(AuditResult::Denied)
    };
    if let Err(error) = write(cx, &[record]).await {
        denials.missed(address, left_out);
        tracing::warn!(%error, "a refused request is not on the record; the next one counts it");
    }
}

/// Tells of refused requests that were left out and that no further record told of. For a process to
/// do once a minute.
pub async fn tell_left_out(cx: &Ctx) -> Result<usize, Fault> {
    let denials = &cx.gathered.denials;
    let found = denials.left_out();
    if found.is_empty() {
        return Ok(0);
    }
    let records: Vec<_> = found
        .iter()
        .map(|(address, count)| {
            let mut who = Principal::system("doors");
            who.actor = Actor::system("doors");
            who.address = address.map(|address| address.to_string());
            let detail = serde_json::json!({"left_out": count});
            let target = "requests that were left out".to_owned();
            audit_record(cx, &who, ACTION, target, detail).ended(AuditResult::Denied)
        })
        .collect();
    if let Err(error) = write(cx, &records).await {
        for (address, count) in found {
            denials.missed(address, count - 1);
        }
        return Err(error);
    }
    Ok(records.len())
}

async fn write(cx: &Ctx, records: &[AuditRecord]) -> Result<(), Fault> {
    let written = async {
        let mut tx = cx.store.begin().await?;
        tx.insert_audit(records).await?;
        tx.commit().await?;
        Ok(())
    };
    let late = || Fault::unavailable("The database did not take the record in time.", "timeout");
    tokio::time::timeout(PATIENCE, written).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn a_flood_gets_its_share_and_is_counted() {
        let denials = Denials::default();
        let one = counted_as("192.0.2.1");
        let admitted = (0..1000).filter(|_| denials.admit(one, 100 * S).is_some()).count();
        assert_eq!(admitted, 20);
        assert_eq!(denials.admit(counted_as("192.0.2.2"), 100 * S), Some(0), "others have theirs");
        assert_eq!(denials.admit(one, 103 * S), Some(980));
        assert_eq!(denials.admit(one, 106 * S), Some(0), "told once");
    }

    #[test]
    fn many_addresses_together_have_a_share_too() {
        let denials = Denials::default();
        let mut admitted = 0;
        for number in 0..10_000u32 {
            let address = Some(IpAddr::from(number.to_be_bytes()));
            admitted += usize::from(denials.admit(address, 100 * S).is_some());
        }
        assert_eq!(admitted, 300);
        assert!(denials.lock().by_address.len() <= ADDRESSES);
        let told = denials.left_out();
        assert_eq!(told.len(), TOLD + 1);
        assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>(), 9700, "none is forgotten");
        assert!(denials.left_out().is_empty());
    }

    #[test]
    fn a_subscriber_is_one_address() {
        assert_eq!(counted_as("2001:db8:1:2:3::4"), counted_as("2001:db8:1:2:5:6:7:8"));
        assert_ne!(counted_as("2001:db8:1:2::1"), counted_as("2001:db8:1:3::1"));
        assert_eq!(counted_as("::ffff:192.0.2.1"), counted_as("192.0.2.1"));
        assert_eq!(counted_as("nonsense"), None);
    }

    #[test]
    fn what_was_not_written_is_counted_again() {
        let denials = Denials::default();
        let one = counted_as("192.0.2.1");
        assert_eq!(denials.admit(one, 100 * S), Some(0));
        denials.missed(one, 0);
        assert_eq!(denials.admit(one, 100 * S), Some(1));
        denials.missed(None, 4);
        assert_eq!(denials.left_out(), [(None, 5)]);
    }
}
