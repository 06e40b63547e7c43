//! One run: a load, a nemesis, a time to come to rest, and the verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slipway_app::client::http::Client;
use slipway_domain::state::DeploymentState as S;
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;

use super::broker::Transport;
use super::check::{Evidence, Stream, check};
use super::clock::now_us;
use super::history::{History, Notes};
use super::load::Load;
use super::nemesis::{self, Incident, Incidents};
use super::record::{self, Rows, Said};
use super::rig::Rig;
use super::watch::{Seen, Watch};
use crate::harness::PATIENCE;

/// Deployments of one run.
const DEPLOYMENTS: usize = 300;
/// Deployments that are followed at the end, about.
const FOLLOWED: usize = 10;
/// Deployments that are made when everything is over.
const AFTERWARDS: usize = 4;
/// How long the installation may take to come to rest when nothing is broken any more.
const REST: Duration = Duration::from_mins(2);

pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

pub(super) async fn run(transport: Transport) {
    let seed = number("CHAOS_SEED").unwrap_or_else(|| now_us().unsigned_abs());
    let count = number("CHAOS_DEPLOYMENTS").map_or(DEPLOYMENTS, |n| usize::try_from(n).unwrap());
    let run = format!(
        "chaos over {} with CHAOS_SEED={seed} CHAOS_DEPLOYMENTS={count}",
        transport.as_str()
    );
    println!("{run}");
    let began = Instant::now();
    let rig = Arc::new(Rig::new(transport).await);
    for _ in 0..2 {
        rig.fleet.add_api();
    }
    for queues in ["plan=2,apply=2", "plan=2,apply=1", "plan=1,apply=2"] {
        rig.fleet.add_worker(queues, Vec::new());
    }
    let clients = rig.fleet.clients();
    for client in &clients {
        ready(client).await;
    }
    let source = Rig::source(&clients[0]).await;
    println!("the installation is up after {:?}", began.elapsed());

    let notes = Notes::default();
    let ledger = rig.ledger.display().to_string();
    let load = Arc::new(Load::new(clients, source, ledger, seed, notes.clone()));
    let incidents = Incidents::default();
    let (watch, stop) = (Watch::default(), CancellationToken::new());
    let mut aside = tokio::task::JoinSet::new();
    let fleet = rig.fleet.clone();
    aside.spawn(async move { fleet.attend().await });
    aside.spawn(watch.clone().look_on(rig.fleet.clone(), rig.url.clone()));
    aside.spawn(load.clone().attend(rig.url.clone()));
    let rage = nemesis::rage(rig.clone(), seed, incidents.clone(), stop.clone());
    let loading = async {
        let began = Instant::now();
        load.clone().run(count, (count / 5).max(1)).await;
        println!("every deployment has been seen through after {:?}", began.elapsed());
        stop.cancel();
    };
    tokio::join!(rage, loading);
    // Everything is up: what comes to rest now rests.
    let rest = rest(&rig.url).await;
    println!("at rest {rest:?} later");
    aside.abort_all();

    assert!(
        rest.is_some(),
        "it does not come to rest within {REST:?}; logs are in {}",
        rig.logs().display()
    );
    // It is as good as new.
    load.clone().afterwards(AFTERWARDS).await;
    let history = notes.write().clone();
    let mut evidence = look(&rig, history, incidents.all(), watch.seen()).await;
    evidence.streams = follow(&rig.fleet.clients(), &evidence.rows).await;
    verdict(&rig, &evidence, &run);
}

/// Follows some deployments from their beginning and from their middle, at every replica.
async fn follow(clients: &[Client], rows: &Rows) -> Vec<Stream> {
    let mut streams = Vec::new();
    let ended: Vec<_> = rows.deployments.iter().filter(|d| d.state.is_terminal()).collect();
    for deployment in ended.iter().step_by((ended.len() / FOLLOWED).max(1)) {
        for (client, after) in clients.iter().zip([0, deployment.event_seq / 2]) {
            let mut events = client.events(deployment.id, after);
            let mut given = Vec::new();
            let all = async {
                while let Some(event) = events.next().await.unwrap() {
                    given.push(event.seq);
                }
            };
            tokio::time::timeout(PATIENCE, all).await.expect("the events do not end");
            streams.push(Stream { of: deployment.id, after, given });
        }
    }
    streams
}

/// Waits until an API answers.
pub(crate) async fn ready(client: &Client) {
    let end = Instant::now() + PATIENCE;
    while client.health().await.is_err() {
        assert!(Instant::now() < end, "{} does not answer", client.base());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Gathers everything that is known about a run.
pub(super) async fn look(
    rig: &Rig,
    history: History,
    incidents: Vec<Incident>,
    seen: Seen,
) -> Evidence {
    let text = std::fs::read_to_string(&rig.ledger).unwrap_or_default();
    let (ledger, broken) = record::ledger(&text);
    Evidence {
        history,
        rows: Rows::read(&rig.url).await.unwrap(),
        ledger,
        broken,
        said: Said::read(rig.logs()),
        incidents,
        exits: rig.fleet.exits(),
        seen,
        streams: Vec::new(),
    }
}

/// Prints what there was, and fails when a promise was not kept.
pub(super) fn verdict(rig: &Rig, evidence: &Evidence, run: &str) {
    println!("{run}: {}", summary(evidence));
    let violations: Vec<_> = check(evidence).iter().map(ToString::to_string).collect();
    if violations.is_empty() {
        return;
    }
    let incidents: String = evidence.incidents.iter().map(|i| format!("{i:?}\n")).collect();
    std::fs::write(rig.logs().join("incidents.txt"), incidents).unwrap();
    std::fs::write(rig.logs().join("evidence.txt"), format!("{evidence:#?}")).unwrap();
    panic!(
        "{} promises were not kept in {run}; logs are in {}\n{}",
        violations.len(),
        rig.logs().display(),
        violations.join("\n")
    );
}

/// Waits until no job is under way; `None` when that does not happen.
async fn rest(url: &str) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < REST {
        let asked = async {
            let mut connection = sqlx::PgConnection::connect(url).await?;
            sqlx::query_scalar::<_, i64>(
                "select (select count(*) from jobs where state in ('queued', 'running'))
                   + (select count(*) from deployments where state in ('submitted', 'planning',
                       'planned', 'approved', 'applying', 'verifying', 'interrupted', 'recovering'))",
            )
            .fetch_one(&mut connection)
            .await
        };
        if asked.await.is_ok_and(|under_way| under_way == 0) {
            return Some(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    None
}

fn counted<K: Ord + std::fmt::Display>(items: impl Iterator<Item = K>) -> String {
    let mut counts: BTreeMap<K, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(item, count)| format!("{count} {item}")).collect();
    counts.join(", ")
}

/// The run in a few lines.
fn summary(evidence: &Evidence) -> String {
    let rows = &evidence.rows;
    let incidents = evidence.incidents.iter().map(|incident| match &incident.place {
        Some(place) => {
            let role = place.split('-').next().unwrap_or_default();
            format!("{} {role}", incident.act)
        }
        None => incident.act.to_string(),
    });
    let lost = rows.jobs.iter().filter(|job| job.state == "lost").count();
    let waiting = rows.deployments.iter().filter(|d| d.state == S::NeedsAttention).count();
    let seen = &evidence.seen;
    let mut text = format!(
        "{} deployments: {}; {lost} applies lost, {waiting} of them wait for a person\n  \
         {} incidents: {}\n  {} jobs, {} events, {} audit records, {} lines in the ledger\n  \
         after their leases went on: {} orphans up to {:?}, under a frozen worker up to {:?}, \
         under a well one up to {:?}; a lease was over for {:?} at most; {} processes could not \
         start; nobody looked for {:?} at most",
        rows.deployments.len(),
        counted(rows.deployments.iter().map(|d| d.state)),
        evidence.incidents.len(),
        counted(incidents),
        rows.jobs.len(),
        rows.events.len(),
        rows.audit.len(),
        evidence.ledger.len(),
        seen.orphans,
        seen.orphan,
        seen.frozen,
        seen.zombie,
        seen.overdue,
        evidence.exits.len(),
        seen.blind,
    );
    for (what, count) in &evidence.said.errors {
        let _ = write!(text, "\n  {count} x {what}");
    }
    text
}
