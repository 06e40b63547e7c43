//! Running: how fast jobs are worked off, how soon one is picked up, and looking at what has ended.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::time::Instant;

use super::cost::{Cost, Who};
use super::ours::{Broker, Ours};
use super::peer::{Peer, Times};
use super::process::Process;
use super::shape::{Batch, OurSubmits, PeerSubmits};
use super::{
    Ended, PATIENCE, ROUNDS, SLOTS, Side, WORKER, looks, mean, print, print_costs, remove, within,
};
use crate::load::{self, Connection, Shape};
use crate::sample::Sample;
use crate::server::Server;
use crate::settings::Settings;

/// Jobs of one round of draining.
const JOBS: u64 = 1500;
/// Jobs of one round of pickups, and how often one is submitted.
const PICKUPS: u64 = 100;
const PICKUP_ROUNDS: usize = 5;
const PICKUP_EVERY: Duration = Duration::from_millis(100);

/// Running: draining, looking at what has ended, picking up.
pub(super) async fn part(
    settings: &Settings,
    brokers: &[Broker],
    redis: &str,
) -> anyhow::Result<()> {
    let peer = Peer::new(settings, redis, 1).await?;
    let mut sides = Vec::new();
    for broker in brokers {
        sides.push(Ours::new(settings, broker).await?);
    }
    let done = measure_all(settings, &peer, &sides).await;
    remove(peer, sides).await.and(done)
}

async fn measure_all(settings: &Settings, peer: &Peer, sides: &[Ours]) -> anyhow::Result<()> {
    let (peer_api, peer_address) = peer.api().await?;
    let jobs = u32::try_from(JOBS)?;
    let mut apis = Vec::new();
    for side in sides {
        apis.push(side.api().await?);
    }

    let mut peer_rates = Vec::new();
    let mut rates: Vec<Vec<f64>> = sides.iter().map(|_| Vec::new()).collect();
    let mut peer_costs = Vec::new();
    let mut costs: Vec<Vec<(f64, f64)>> = sides.iter().map(|_| Vec::new()).collect();
    let (mut our_paths, mut peer_paths) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let project = format!("drain-{round}");
        peer_paths = fill(peer_address, &project, PeerSubmits).await?;
        let before = Cost::before(peer.url()?).await?;
        let mut worker = peer.worker(WORKER, SLOTS)?;
        let ended = drained(&mut worker, || peer.ended(&project)).await?;
        let after = Cost::now(Who::Tree(&worker), peer.url()?).await?;
        peer_costs.push(after.since(&before, jobs));
        peer_rates.push(ended.rate().context("nothing was drained")?);
        drop(worker);
        for (i, (side, api)) in sides.iter().zip(&apis).enumerate() {
            let paths = fill(api.address, &project, OurSubmits).await?;
            if i == 0 {
                our_paths = paths;
            }
            let before = Cost::before(side.url()?).await?;
            let mut worker = side.worker(WORKER, SLOTS)?;
            let ended = drained(&mut worker, || side.ended(&project)).await?;
            let after = Cost::now(Who::Tree(&worker), side.url()?).await?;
            costs[i].push(after.since(&before, jobs));
            rates[i].push(ended.rate().context("nothing was drained")?);
            drop(worker);
        }
    }
    let peer_rate = mean(&peer_rates).context("nothing was drained")?;
    for ((side, rates), costs) in sides.iter().zip(&rates).zip(&costs) {
        let rate = mean(rates).context("nothing was drained")?;
        print(format!("drain_rate_{}", side.broker.name), "1/s", Some(peer_rate), rate)?;
        print_costs(&format!("drain_cpu_{}", side.broker.name), Some(&peer_costs), costs)?;
    }

    let api = apis.first().context("there is a transport")?;
    let ours = Side { address: api.address, who: Who::Ours(api), url: sides[0].url()? };
    let theirs = Side { address: peer_address, who: Who::Tree(&peer_api), url: peer.url()? };
    let seconds = (settings.seconds / ROUNDS).max(1);
    looks(ours, our_paths, theirs, peer_paths, seconds, "status").await?;

    pickups(peer, peer_address, sides, &apis).await
}

/// Submits the jobs of one round over several connections; gives their paths.
async fn fill<S: Shape>(
    address: SocketAddr,
    project: &str,
    shape: fn(Batch) -> S,
) -> anyhow::Result<Vec<String>> {
    const HANDS: u64 = 10;
    let each = JOBS / HANDS;
    let mut tasks = tokio::task::JoinSet::new();
    for hand in 0..HANDS {
        let shape = shape(Batch::new(project).from(hand * each));
        tasks.spawn(async move { load::send(address, &shape, each).await });
    }
    let mut paths = Vec::new();
    while let Some(sent) = tasks.join_next().await {
        paths.append(&mut sent??);
    }
    Ok(paths)
}

/// Waits until every job of a round has ended.
async fn drained<F: Future<Output = anyhow::Result<Ended>>>(
    worker: &mut Process,
    look: impl Fn() -> F,
) -> anyhow::Result<Ended> {
    let all = i64::try_from(JOBS)?;
    let end = Instant::now() + PATIENCE;
    loop {
        // Rarely: looking costs the database something too.
        tokio::time::sleep(Duration::from_millis(300)).await;
        worker.runs()?;
        let ended = look().await?;
        if ended.count >= all {
            return Ok(ended);
        }
        if Instant::now() > end {
            bail!("{} of {all} jobs have ended: {}", ended.count, worker.last_words());
        }
    }
}

/// Latencies of pickups: until a worker has the job and begins with it, and until its work begins,
/// which is after the row says that it runs.
#[derive(Default)]
struct Pickups {
    begun: Sample,
    working: Sample,
}

async fn pickups(
    peer: &Peer,
    peer_address: SocketAddr,
    sides: &[Ours],
    apis: &[Server],
) -> anyhow::Result<()> {
    let mut peer_worker = peer.worker(WORKER, SLOTS)?;
    let mut workers =
        sides.iter().map(|side| side.worker(WORKER, SLOTS)).collect::<anyhow::Result<Vec<_>>>()?;
    // One that is not counted: every part is connected and warm when the clock starts. And what
    // draining left in the brokers is gone.
    peer_pickups(peer, peer_address, "warm-up", 10).await?;
    for (side, api) in sides.iter().zip(apis) {
        our_pickups(side, api.address, "warm-up", 10).await?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;

    let mut theirs = Pickups::default();
    let mut ours: Vec<_> = sides.iter().map(|_| Pickups::default()).collect();
    for round in 0..PICKUP_ROUNDS {
        let project = format!("pickup-{round}");
        for times in peer_pickups(peer, peer_address, &project, PICKUPS).await? {
            theirs.begun.push(seconds(times.started - times.committed));
            theirs.working.push(seconds(times.running - times.committed));
        }
        for ((side, api), pickups) in sides.iter().zip(apis).zip(&mut ours) {
            let some = our_pickups(side, api.address, &project, PICKUPS).await?;
            pickups.begun.append(some.begun);
            pickups.working.append(some.working);
        }
    }
    peer_worker.runs()?;
    workers.iter_mut().try_for_each(Process::runs)?;
    for (side, ours) in sides.iter().zip(&ours) {
        let kinds = [
            ("pickup", &theirs.begun, &ours.begun),
            ("pickup_work", &theirs.working, &ours.working),
        ];
        for (what, peer, sample) in kinds {
            for percent in [50, 99] {
                let name = format!("{what}_p{percent}_ms_{}", side.broker.name);
                let of = |sample: &Sample| {
                    sample.percentile_ms(percent).context("nothing was picked up")
                };
                print(name, "ms", Some(of(peer)?), of(sample)?)?;
            }
        }
    }
    Ok(())
}

fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value.max(0.0))
}

/// Submits `count` jobs, ten a second; gives their paths.
async fn submit_slowly<S: Shape>(
    address: SocketAddr,
    shape: &S,
    count: u64,
) -> anyhow::Result<Vec<String>> {
    let mut connection = Connection::<Full<Bytes>>::open(address).await?;
    let mut tick = tokio::time::interval(PICKUP_EVERY);
    let mut paths = Vec::new();
    for number in 0..count {
        tick.tick().await;
        paths.extend(load::exchange(&mut connection, shape, number).await?.1);
    }
    Ok(paths)
}

/// The id at the end of a path.
fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

async fn our_pickups(
    side: &Ours,
    address: SocketAddr,
    project: &str,
    count: u64,
) -> anyhow::Result<Pickups> {
    let shape = OurSubmits(Batch::new(project));
    let paths = submit_slowly(address, &shape, count).await?;
    let starts = within(|| async {
        let starts = side.starts(WORKER)?;
        Ok(paths.iter().all(|path| starts.contains_key(id(path))).then_some(starts))
    });
    let (starts, taken, commits) = (starts.await?, side.taken(WORKER)?, side.commits()?);
    let mut pickups = Pickups::default();
    for path in &paths {
        let at = commits.get(id(path)).context("the API's log does not tell of a deployment")?;
        let since = |moment: Option<&i64>| {
            let took = moment.context("a job that did not start")? - at;
            anyhow::Ok(Duration::from_micros(u64::try_from(took).unwrap_or_default()))
        };
        pickups.begun.push(since(taken.get(id(path)))?);
        pickups.working.push(since(starts.get(id(path)))?);
    }
    Ok(pickups)
}

async fn peer_pickups(
    peer: &Peer,
    address: SocketAddr,
    project: &str,
    count: u64,
) -> anyhow::Result<Vec<Times>> {
    let shape = PeerSubmits(Batch::new(project));
    submit_slowly(address, &shape, count).await?;
    let all = i64::try_from(count)?;
    within(|| async { Ok((peer.ended(project).await?.count >= all).then_some(())) }).await?;
    peer.times(project).await
}
