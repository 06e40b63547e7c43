//! Processor time: what a request or a job costs a side's own process and its database. It hardly
//! depends on what else the machine does.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::process::Process;
use crate::machine;
use crate::sample::ms;
use crate::server::Server;

/// Whose processor time is looked at.
#[derive(Clone, Copy)]
pub(super) enum Who<'a> {
    /// `slipway api`.
    Ours(&'a Server),
    /// A process and those that it started.
    Tree(&'a Process),
}

/// Processor time so far.
pub(super) struct Cost {
    own: Duration,
    /// Of the database's processes that serve one database, by their ids.
    database: HashMap<u32, Duration>,
}

impl Cost {
    /// What it is now; `url` is that of the side's database.
    pub(super) async fn now(who: Who<'_>, url: &str) -> anyhow::Result<Self> {
        let own = match who {
            Who::Ours(server) => server.cpu()?,
            Who::Tree(process) => process.cpu(),
        };
        Ok(Self { own, database: database(url).await? })
    }

    /// Before a process was started.
    pub(super) async fn before(url: &str) -> anyhow::Result<Self> {
        Ok(Self { own: Duration::ZERO, database: database(url).await? })
    }

    /// Milliseconds from then to now, a unit of work: of the process, and of the database.
    pub(super) fn since(&self, then: &Self, units: u32) -> (f64, f64) {
        let units = f64::from(units.max(1));
        let database: Duration = self
            .database
            .iter()
            .map(|(pid, now)| {
                now.saturating_sub(then.database.get(pid).copied().unwrap_or_default())
            })
            .sum();
        (ms(self.own.saturating_sub(then.own)) / units, ms(database) / units)
    }
}

async fn database(url: &str) -> anyhow::Result<HashMap<u32, Duration>> {
    let mut db = PgConnection::connect(url).await?;
    let pids: Vec<i32> = sqlx::query_scalar(
        "select pid from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .fetch_all(&mut db)
    .await?;
    db.close().await?;
    let pids = pids.into_iter().filter_map(|pid| u32::try_from(pid).ok());
    // One that has ended meanwhile is nobody's any more.
    Ok(pids.filter_map(|pid| Some((pid, machine::cpu(pid).ok()?))).collect())
}
