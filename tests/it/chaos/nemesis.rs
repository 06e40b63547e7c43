//! What goes wrong, when, and for how long: drawn from a seed, so that the same seed does the same
//! things in the same order. When it is told to stop, it waits until everything it broke is whole.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::clock::now_us;
use super::fleet::Role;
use super::rig::{LEASE_S, Rig};
use crate::harness::Stop;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    /// `kill -9` of a process; what it started is left alone.
    Kill,
    /// `kill -9` of a process and of everything it started, as when a machine dies.
    Crash,
    /// SIGSTOP past the end of its leases, and SIGCONT.
    Freeze,
    /// The same with everything it started.
    FreezeTree,
    /// SIGTERM.
    Drain,
    /// The broker is killed, and comes back.
    BrokerRestart,
    /// Everything is taken out of the broker.
    BrokerEmpty,
    /// The database is shut down in order, and comes back.
    DatabaseFast,
    /// The database crashes, and comes back.
    DatabaseImmediate,
    /// The network between a process and everything it needs is cut.
    Cut,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kill",
            Self::Crash => "crash",
            Self::Freeze => "freeze",
            Self::FreezeTree => "freeze-tree",
            Self::Drain => "drain",
            Self::BrokerRestart => "broker-restart",
            Self::BrokerEmpty => "broker-empty",
            Self::DatabaseFast => "database-fast",
            Self::DatabaseImmediate => "database-immediate",
            Self::Cut => "cut",
        })
    }
}

/// What was done to whom, from when until when.
#[derive(Debug, Clone)]
pub(super) struct Incident {
    pub(super) act: Act,
    /// The process that it was done to; none for the broker and the database.
    pub(super) place: Option<String>,
    pub(super) from_us: i64,
    /// When it was whole again.
    pub(super) to_us: i64,
    /// A process that was asked to end did not.
    pub(super) hung: bool,
}

impl Incident {
    /// Whether it is one of the database.
    pub(super) fn of_database(&self) -> bool {
        matches!(self.act, Act::DatabaseFast | Act::DatabaseImmediate)
    }
}

/// All incidents of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Incidents(Arc<Mutex<Vec<Incident>>>);

impl Incidents {
    pub(super) fn all(&self) -> Vec<Incident> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, incident: Incident) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(incident);
    }
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Blow {
    act: Act,
    role: Role,
    /// Which of those that can be hit, as a share of all.
    whom: f64,
    /// How long it lasts.
    lasts: Duration,
    /// The rest before it.
    rest: Duration,
}

impl Blow {
    fn draw(rng: &mut StdRng, broker: bool) -> Self {
        use Act as A;
        const ACTS: [(Act, Role, u32); 12] = [
            (A::Kill, Role::Worker, 16),
            (A::Crash, Role::Worker, 8),
            (A::Freeze, Role::Worker, 10),
            (A::FreezeTree, Role::Worker, 8),
            (A::Drain, Role::Worker, 8),
            (A::Kill, Role::Api, 10),
            (A::Freeze, Role::Api, 4),
            (A::Drain, Role::Api, 4),
            (A::BrokerRestart, Role::Api, 10),
            (A::BrokerEmpty, Role::Api, 12),
            (A::DatabaseFast, Role::Api, 5),
            (A::DatabaseImmediate, Role::Api, 5),
        ];
        let weight = |(act, _, weight): &(Act, Role, u32)| {
            let away = !broker && matches!(act, A::BrokerRestart | A::BrokerEmpty);
            if away { 0 } else { *weight }
        };
        let (act, role, _) = *ACTS.choose_weighted(rng, weight).unwrap();
        let lasts = match act {
            A::Freeze | A::FreezeTree => LEASE_S * 1000 + rng.random_range(500..4000),
            A::DatabaseFast | A::DatabaseImmediate => rng.random_range(0..2000),
            _ => rng.random_range(0..3000),
        };
        Self {
            act,
            role,
            whom: rng.random(),
            lasts: Duration::from_millis(lasts),
            rest: Duration::from_millis(rng.random_range(300..4000)),
        }
    }
}

/// Breaks things until `stop`, and returns when they are whole again.
pub(super) async fn rage(rig: Arc<Rig>, seed: u64, incidents: Incidents, stop: CancellationToken) {
    let mut rng = StdRng::seed_from_u64(seed);
    let broker = rig.broker.lock().await.is_there();
    let busy: Arc<Mutex<BTreeSet<usize>>> = Arc::default();
    let mut blows = FuturesUnordered::new();
    loop {
        let blow = Blow::draw(&mut rng, broker);
        let rest = tokio::time::sleep(blow.rest);
        tokio::pin!(rest);
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    while blows.next().await.is_some() {}
                    return;
                }
                () = &mut rest => break,
                Some(()) = blows.next() => {}
            }
        }
        blows.push(strike(rig.clone(), blow, busy.clone(), incidents.clone()));
    }
}

async fn strike(
    rig: Arc<Rig>,
    blow: Blow,
    busy: Arc<Mutex<BTreeSet<usize>>>,
    incidents: Incidents,
) {
    let from_us = now_us();
    let mut hung = false;
    let mut place = None;
    match blow.act {
        Act::Cut => unreachable!("it is not drawn"),
        Act::BrokerRestart | Act::BrokerEmpty => {
            // One at a time: whoever holds it is not done.
            let Ok(mut broker) = rig.broker.try_lock() else { return };
            if blow.act == Act::BrokerEmpty {
                broker.empty(blow.whom < 0.3).await;
            } else {
                broker.stop();
                tokio::time::sleep(blow.lasts).await;
                broker.start().await;
            }
        }
        Act::DatabaseFast | Act::DatabaseImmediate => {
            let Ok(mut postgres) = rig.postgres.try_lock() else { return };
            let fast = blow.act == Act::DatabaseFast;
            postgres.stop(if fast { Stop::Fast } else { Stop::Immediate }).await;
            tokio::time::sleep(blow.lasts).await;
            postgres.start().await;
        }
        Act::Kill | Act::Crash | Act::Freeze | Act::FreezeTree | Act::Drain => {
            let all = rig.fleet.of(blow.role);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of a few places"
            )]
            let index = all[(blow.whom * all.len() as f64) as usize];
            if !busy.lock().unwrap().insert(index) {
                return;
            }
            place = Some(rig.fleet.name(index));
            match blow.act {
                Act::Kill | Act::Crash => {
                    rig.fleet.kill(index, blow.act == Act::Crash);
                    tokio::time::sleep(blow.lasts).await;
                }
                Act::Freeze | Act::FreezeTree => {
                    rig.fleet.freeze(index, blow.act == Act::FreezeTree);
                    tokio::time::sleep(blow.lasts).await;
                    rig.fleet.thaw(index);
                }
                _ => hung = rig.fleet.drain(index, Duration::from_secs(45)).await.is_none(),
            }
            rig.fleet.start(index);
            busy.lock().unwrap().remove(&index);
        }
    }
    incidents.add(Incident { act: blow.act, place, from_us, to_us: now_us(), hung });
}

#[test]
fn the_same_seed_does_the_same() {
    let draw = |seed: u64| {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..100).map(|_| Blow::draw(&mut rng, true)).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    let mut rng = StdRng::seed_from_u64(1);
    let of_broker = |b: &Blow| matches!(b.act, Act::BrokerRestart | Act::BrokerEmpty);
    assert!(!(0..500).map(|_| Blow::draw(&mut rng, false)).any(|b| of_broker(&b)));
}
