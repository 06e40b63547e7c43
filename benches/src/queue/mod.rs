//! `queue`: accepting, waiting, running and recovering, beside `FastAPI` + Celery +
//! Redis + PostgreSQL (`benches/peers/fastapi_celery`), in one run and in turn.
//!
//! Both sides are on the same PostgreSQL server (databases of their own) and the same Redis; ours
//! is measured on Redis and on RabbitMQ, the peer on Redis, its usual broker. One API process a
//! side, one worker process a side with four jobs at a time. Ours is `slipway api` with its
//! defaults and, as the worker, [`worker`]: the product's own with a driver that does nothing. Every
//! submission of either side carries an `Idempotency-Key` that is new.
//!
//! - `submit_*`: `POST` at 32 connections, no worker running; `_nokey`: ours without the key.
//! - `status_waiting_*`: `GET` of what was submitted there and waits; `status_*`: of what has ended.
//! - `rss_mb_*`: resident memory of the API process after that load.
//! - `drain_rate_*`: jobs that do nothing are accepted first, then the worker starts: jobs a second
//!   between the first and the last end, on the rows.
//! - `pickup_*`: ten jobs a second, one at a time, the worker idle: from the moment the API had
//!   committed to the job's start: a worker has it and begins (ours when its lease is committed, the
//!   peer's at the first line of its task). Our bell goes out before the commit: a job that a worker
//!   has before the API says that it is committed counts as picked up in no time. `pickup_work_*`: to the start of the work itself, when
//!   the row says that it runs (ours when the driver's `plan` is called).
//! - `recovery_*`: three workers with a job each are killed, at three moments of a heartbeat's
//!   period; the longest time until another worker runs the job again. Our lease and the peer's
//!   visibility timeout are the same (`lease_s`), and both look every second for what has run out.
//! - `*_cpu_own_ms`, `*_cpu_db_ms`: milliseconds of the processor that a request or a job costs the
//!   side's own process (API or worker) and its database's processes. They say more than rates on a
//!   machine that does something else as well.
//! - `raw_*`: what Redis and PostgreSQL do by themselves at 32 connections. `raw_pg_same_inserts`
//!   writes the rows of one submission of ours in a transaction, `raw_pg_single_insert` the peer's.

mod accept;
mod cost;
mod ours;
mod peer;
mod process;
mod raw;
mod recovery;
mod shape;
mod work;
pub(crate) mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use slipway_domain::clock::{Clock as _, SystemClock};
use tokio::time::Instant;

use self::cost::{Cost, Who};
use self::ours::{Broker, Ours};
use self::peer::Peer;
use crate::figure::Figure;
use crate::load::{self, Shape};
use crate::machine;
use crate::sample::Sample;
use crate::settings::Settings;
use crate::submit::Gets;

/// What `./bench` calls it.
pub(crate) const NAME: &str = "queue";
/// The worker that serves with its defaults; others have a short lease.
const WORKER: &str = "worker";
/// What the names of stacks begin with whose jobs do not end by themselves.
const HELD: &str = "hold";
/// Jobs at a time.
const SLOTS: u16 = 4;
/// Each side has as many turns, so that what else the machine does hits all.
const ROUNDS: u64 = 2;
/// Lease of the workers that are killed.
const LEASE_S: u64 = 9;
/// What has not happened after this long will not.
const PATIENCE: Duration = Duration::from_mins(1);

/// How far the jobs of a project are; moments in seconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Ended {
    count: i64,
    first: Option<f64>,
    last: Option<f64>,
}

impl Ended {
    /// Jobs a second between the first and the last end.
    fn rate(self) -> Option<f64> {
        let jobs = f64::from(i32::try_from(self.count).ok()? - 1);
        Some(jobs / (self.last? - self.first?))
    }
}

/// Where load goes, and what it costs there.
#[derive(Clone, Copy)]
struct Side<'a> {
    address: SocketAddr,
    who: Who<'a>,
    /// Of its database.
    url: &'a str,
}

/// What the rounds of one kind of load gave.
#[derive(Default)]
struct Load {
    rates: Vec<f64>,
    latencies: Sample,
    paths: Vec<String>,
    /// Milliseconds of the processor a request: of the API process, and of its database.
    costs: Vec<(f64, f64)>,
}

impl Load {
    /// One more round.
    async fn turn(
        &mut self,
        side: Side<'_>,
        shape: Arc<impl Shape>,
        seconds: u64,
    ) -> anyhow::Result<()> {
        let before = Cost::now(side.who, side.url).await?;
        let mut measured = load::measure(side.address, shape, seconds).await?;
        let after = Cost::now(side.who, side.url).await?;
        self.costs.push(after.since(&before, measured.answers));
        self.rates.push(measured.rate);
        self.latencies.append(measured.latencies);
        self.paths.append(&mut measured.locations);
        Ok(())
    }

    fn rate(&self) -> anyhow::Result<f64> {
        mean(&self.rates).context("nothing was measured")
    }

    /// Prints it beside that of the peer, if it has one.
    fn print(&self, peer: Option<&Self>, what: &str, suffix: &str) -> anyhow::Result<()> {
        let percentile = |load: &Self, percent| {
            load.latencies.percentile_ms(percent).context("nothing was measured")
        };
        let name = |unit: &str| format!("{what}_{unit}{suffix}");
        print(name("rps"), "1/s", peer.map(Self::rate).transpose()?, self.rate()?)?;
        for (unit, percent) in [("p50_ms", 50), ("p99_ms", 99)] {
            let peer = peer.map(|peer| percentile(peer, percent)).transpose()?;
            print(name(unit), "ms", peer, percentile(self, percent)?)?;
        }
        print_costs(&name("cpu"), peer.map(|peer| peer.costs.as_slice()), &self.costs)
    }
}

/// Processor time a request or a job: of a side's own process, and of its database.
fn print_costs(name: &str, peer: Option<&[(f64, f64)]>, ours: &[(f64, f64)]) -> anyhow::Result<()> {
    type Of = fn(&(f64, f64)) -> f64;
    let parts: [(&str, Of); 2] = [("own", |cost| cost.0), ("db", |cost| cost.1)];
    for (part, of) in parts {
        let all = |costs: &[(f64, f64)]| {
            mean(&costs.iter().map(of).collect::<Vec<_>>()).context("nothing was measured")
        };
        print(format!("{name}_{part}_ms"), "ms", peer.map(all).transpose()?, all(ours)?)?;
    }
    Ok(())
}

fn mean(values: &[f64]) -> Option<f64> {
    let count = u32::try_from(values.len()).ok().filter(|count| *count > 0)?;
    Some(values.iter().sum::<f64>() / f64::from(count))
}

fn print(name: String, unit: &'static str, peer: Option<f64>, ours: f64) -> anyhow::Result<()> {
    match peer {
        Some(peer) => Figure::beside(NAME, name, unit, peer, ours).print(),
        None => Figure::alone(NAME, name, unit, ours).print(),
    }
}

/// Runs it.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let began = Instant::now();
    let redis = Settings::needed("SLIPWAY_TEST_REDIS_URL")?;
    let rabbitmq = Settings::needed("SLIPWAY_TEST_RABBITMQ_URL")?;
    let brokers =
        [Broker { name: "redis", url: redis.clone() }, Broker { name: "rabbitmq", url: rabbitmq }];
    let part = |name: &'static str| {
        let chosen = settings.runs_part(name);
        if chosen {
            let at_s = began.elapsed().as_secs();
            eprintln!("{NAME}: {name}, {at_s} s after the start, load {}", machine::load());
        }
        chosen
    };
    if part("accept") {
        accept::part(settings, &brokers, &redis).await?;
    }
    if part("work") {
        work::part(settings, &brokers, &redis).await?;
    }
    if part("recovery") {
        recovery::part(settings, &brokers, &redis).await?;
    }
    eprintln!("{NAME}: done after {} s", began.elapsed().as_secs());
    Ok(())
}

/// `GET` on both sides, in turn.
async fn looks(
    ours: Side<'_>,
    our_paths: Vec<String>,
    peer: Side<'_>,
    peer_paths: Vec<String>,
    seconds: u64,
    what: &str,
) -> anyhow::Result<()> {
    let our_gets = Arc::new(Gets { paths: our_paths });
    let peer_gets = Arc::new(Gets { paths: peer_paths });
    let (mut our_load, mut peer_load) = (Load::default(), Load::default());
    for _ in 0..ROUNDS {
        our_load.turn(ours, our_gets.clone(), seconds.div_ceil(2)).await?;
        peer_load.turn(peer, peer_gets.clone(), seconds.div_ceil(2)).await?;
    }
    our_load.print(Some(&peer_load), what, "")
}

/// Asks again and again until there is an answer.
async fn within<T, F>(ask: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("it did not happen within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Microseconds since 1970, on the clock that jobs' starts are noted by.
fn now_us() -> i64 {
    SystemClock.now().timestamp_micros()
}

/// Removes the databases.
async fn remove(peer: Peer, sides: Vec<Ours>) -> anyhow::Result<()> {
    let mut result = peer.remove().await;
    for side in sides {
        let removed = side.remove().await;
        result = result.and(removed);
    }
    result.context("a database of the benchmark cannot be removed")
}
