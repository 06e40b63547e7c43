//! Looks on while things go wrong: who works on a job without its lease, and for how long; and how
//! long a lease is over before somebody closes its job.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use slipway_domain::id::JobId;
use sqlx::Connection as _;

use super::fleet::Fleet;
use super::proc::{self, RunKey};

const EVERY: Duration = Duration::from_millis(200);

/// What the worker of a process is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Master {
    /// Gone.
    Dead,
    /// Frozen, or just woken up.
    Frozen,
    /// Well.
    Well,
}

/// What was seen, at its worst.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Longest that a process worked on without its lease while its worker was well.
    pub(super) zombie: Duration,
    /// Which run that was.
    pub(super) zombie_run: Option<RunKey>,
    /// Longest that it did so while its worker was frozen.
    pub(super) frozen: Duration,
    /// Runs that worked on after their worker was dead and their lease over, and the longest.
    pub(super) orphans: usize,
    pub(super) orphan: Duration,
    /// Longest that a job was running with its lease over, in a time when the database was there.
    pub(super) overdue: Duration,
    /// Longest that this onlooker itself did not get to look: the machine had too much to do, or
    /// somebody stopped the test.
    pub(super) blind: Duration,
}

/// How long a zombie has been one.
#[derive(Default)]
struct Zombie {
    well: Option<Instant>,
    frozen: Option<Instant>,
    dead: Option<Instant>,
}

/// What was seen so far. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Seen>>);

/// A worker that has been well for so long has had the time to notice.
const AWAKE: Duration = Duration::from_secs(2);

impl Watch {
    pub(super) fn seen(&self) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks on for as long as it is polled.
    pub(super) async fn look_on(self, fleet: Fleet, url: String) {
        let mut zombies: BTreeMap<RunKey, Zombie> = BTreeMap::new();
        let mut connection = None;
        let mut there_since = Instant::now();
        loop {
            let slept = Instant::now();
            tokio::time::sleep(EVERY).await;
            let late = slept.elapsed().saturating_sub(EVERY);
            {
                let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                seen.blind = seen.blind.max(late);
            }
            // The processes first: one whose job has ended in between is gone the next time.
            let masters = masters(&fleet);
            let asked = tokio::time::timeout(AWAKE, ask(&mut connection, &url)).await;
            let Ok(Ok((held, overdue_ms))) = asked else {
                connection = None;
                there_since = Instant::now();
                zombies.clear();
                continue;
            };
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let overdue = Duration::from_millis(u64::try_from(overdue_ms).unwrap_or(0));
            seen.overdue = seen.overdue.max(overdue.min(there_since.elapsed()));
            zombies.retain(|run, _| masters.contains_key(run) && !held.contains(run));
            for (run, master) in masters {
                if held.contains(&run) {
                    continue;
                }
                let zombie = zombies.entry(run.clone()).or_default();
                let now = Instant::now();
                match master {
                    Master::Dead => {
                        if zombie.dead.is_none() {
                            seen.orphans += 1;
                        }
                        let since = *zombie.dead.get_or_insert(now);
                        seen.orphan = seen.orphan.max(since.elapsed());
                    }
                    Master::Frozen => {
                        let since = *zombie.frozen.get_or_insert(now);
                        seen.frozen = seen.frozen.max(since.elapsed());
                        zombie.well = None;
                    }
                    Master::Well => {
                        let since = *zombie.well.get_or_insert(now);
                        if since.elapsed() > seen.zombie {
                            seen.zombie = since.elapsed();
                            seen.zombie_run = Some(run);
                        }
                    }
                }
            }
        }
    }
}

/// Runs that have working processes, and what their workers are like.
fn masters(fleet: &Fleet) -> BTreeMap<RunKey, Master> {
    let all = proc::all();
    let mut of: BTreeMap<i32, Master> = BTreeMap::new();
    for standing in fleet.standing() {
        let master = if standing.well_for < AWAKE { Master::Frozen } else { Master::Well };
        of.extend(proc::descendants(standing.pid, &all).into_iter().map(|pid| (pid, master)));
    }
    // What is frozen does nothing, whoever has the right to it. And other tests run on this machine.
    let working = all.iter().filter(|p| !p.stopped && p.is_below(fleet.dir()));
    let runs = working.filter_map(|p| Some((p.run()?, of.get(&p.pid).copied())));
    let mut masters = BTreeMap::new();
    for (run, master) in runs {
        // Any process whose worker is there speaks for the others.
        let master = master.unwrap_or(Master::Dead);
        let known = masters.entry(run).or_insert(master);
        if *known == Master::Dead {
            *known = master;
        }
    }
    masters
}

/// The runs whose leases live, and for how long the oldest dead lease has been over.
async fn ask(
    connection: &mut Option<sqlx::PgConnection>,
    url: &str,
) -> Result<(BTreeSet<RunKey>, i64), sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(sqlx::PgConnection::connect(url).await?),
    };
    let rows: Vec<(JobId, i64, i64)> = sqlx::query_as(
        "select id, epoch,
            cast(extract(epoch from clock_timestamp()) * 1000 as bigint) - lease_until_ms
         from jobs where state = 'running'",
    )
    .fetch_all(connection)
    .await?;
    let overdue = rows.iter().map(|(_, _, over)| *over).max().unwrap_or(0).max(0);
    let held = rows.into_iter().filter(|(_, _, over)| *over < 0);
    Ok((held.map(|(id, epoch, _)| (id.to_string(), epoch)).collect(), overdue))
}
