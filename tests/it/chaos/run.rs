//! One run: a load, a nemesis, a time to come to rest, and the verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slipway_domain::state::DeploymentState as S;
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;

use super::broker::Transport;
use super::check::{Evidence, check};
use super::clock::now_us;
use super::history::Notes;
use super::load::Load;
use super::nemesis::{self, Incidents};
use super::record::{self, Rows, Said};
use super::rig::Rig;
use super::watch::Watch;
use crate::harness::PATIENCE;

/// Deployments of one run.
const DEPLOYMENTS: usize = 300;
/// How long the installation may take to come to rest when nothing is broken any more.
const REST: Duration = Duration::from_mins(2);

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

pub(super) async fn run(transport: Transport) {
    let seed = number("CHAOS_SEED").unwrap_or_else(|| now_us().unsigned_abs());
    let count = number("CHAOS_DEPLOYMENTS")
        .map_or(DEPLOYMENTS, |n| usize::try_from(n).unwrap());
    println!("chaos over {}: CHAOS_SEED={seed} CHAOS_DEPLOYMENTS={count}", transport.as_str());
    let began = Instant::now();
    let rig = Arc::new(Rig::new(transport).await);
    for _ in 0..2 {
        rig.fleet.add_api();
    }
    for queues in ["plan=2,apply=2", "plan=2,apply=1", "plan=1,apply=2"] {
        rig.fleet.add_worker(queues, Vec::new());
    }
    let clients = rig.fleet.clients();
    let ready = |client: slipway_app::client::http::Client| async move {
        let end = Instant::now() + PATIENCE;
        while client.health().await.is_err() {
            assert!(Instant::now() < end, "an API does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    for client in &clients {
        ready(client.clone()).await;
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

    let text = std::fs::read_to_string(&rig.ledger).unwrap_or_default();
    let (lines, broken) = record::ledger(&text);
    let evidence = Evidence {
        history: notes.write().clone(),
        rows: Rows::read(&rig.url).await.unwrap(),
        ledger: lines,
        broken,
        said: Said::read(rig.logs()),
        incidents: incidents.all(),
        exits: rig.fleet.exits(),
        seen: watch.seen(),
    };
    let summary = summary(&evidence);
    println!("chaos over {} (seed {seed}): {summary}", transport.as_str());
    let mut violations: Vec<_> = check(&evidence).iter().map(ToString::to_string).collect();
    if rest.is_none() {
        violations.push(format!("it does not come to rest within {REST:?}"));
    }
    if !violations.is_empty() {
        let mut told = String::new();
        for incident in &evidence.incidents {
            let _ = writeln!(told, "{incident:?}");
        }
        std::fs::write(rig.logs().join("incidents.txt"), told).unwrap();
        std::fs::write(rig.logs().join("evidence.txt"), format!("{evidence:#?}")).unwrap();
        panic!(
            "{} promises were not kept over {} with CHAOS_SEED={seed} CHAOS_DEPLOYMENTS={count}; \
             logs are in {}\n{}",
            violations.len(),
            transport.as_str(),
            rig.logs().display(),
            violations.join("\n")
        );
    }
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
                       'planned', 'approved', 'applying', 'verifying', 'interrupted'))",
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
         start",
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
    );
    for (what, count) in &evidence.said.errors {
        let _ = write!(text, "\n  {count} x {what}");
    }
    text
}
