//! Rounds of applies that are struck, and the judgement of what becomes of each.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use slipway_app::client::http::Client;
use slipway_domain::deployment::{Deployment, Operation, Options};
use slipway_domain::id::DeploymentId;
use slipway_domain::recovery::{Resolution, ResolutionOutcome};
use slipway_domain::source::Source;
use slipway_domain::state::DeploymentState as S;
use slipway_services::deployment::Submit;

use super::ledger;
use crate::chaos::broker::Transport;
use crate::chaos::clock::now_us;
use crate::chaos::fleet::Role;
use crate::chaos::rig::{LEASE_S, Rig};
use crate::chaos::run::{number, ready};
use crate::harness::{PATIENCE, Stop, digest, key, provider_mirror, soon, until, upload};

/// Applies that are struck together.
const AT_ONCE: usize = 3;
/// Resources of the stack.
const RESOURCES: i64 = 30;
/// An apply takes about so long when nobody disturbs it.
const APPLY_MS: u64 = 3_000;

/// What is done to an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blow {
    /// The worker, the guard, the tool and all they started: `kill -9` in one moment.
    Tree,
    /// The worker alone: its guard ends the tool.
    Worker,
    /// As `Tree`, and what was on the machine is gone, too.
    Machine,
    /// The API.
    Api,
    /// The worker and all it started stand still until its lease is over, and then go on.
    Frozen,
    /// The database is killed and started again.
    Database,
}

/// How applies ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Succeeded by themselves.
    pub(super) succeeded: usize,
    /// Lost, in whatever way they went on.
    pub(super) interrupted: usize,
    /// Went on under the approval that there was, at least once.
    pub(super) continued: usize,
    /// A person was asked what became of something.
    pub(super) asked: usize,
    /// A new plan wanted an approval.
    pub(super) proposed: usize,
}

/// One deployment under test.
struct Case {
    id: DeploymentId,
    name: String,
    files: PathBuf,
}

/// Strikes `count` applies, some at a time, and judges each.
pub(super) async fn play(blow: Blow, count: usize) -> Tally {
    let seed = number("KILLED_APPLY_SEED").unwrap_or_else(|| now_us().unsigned_abs());
    println!("killed_apply {blow:?}, {count} applies, with KILLED_APPLY_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let more = [
        ("SLIPWAY_TERRAFORM_PROVIDER_MIRROR", provider_mirror().display().to_string()),
        ("SLIPWAY_TERRAFORM_PARALLELISM", "3".to_owned()),
        ("SLIPWAY_WORKER_RECOVERY_GRACE_S", if blow == Blow::Machine { "1" } else { "60" }.into()),
    ];
    let rig = Rig::with(Transport::Embedded, &more).await;
    let api = rig.fleet.add_api();
    let worker = rig.fleet.add_worker("plan=3,apply=3", Vec::new());
    let client = rig.fleet.clients().remove(0);
    ready(&client).await;
    let source = upload(&client, "thirty").await;
    let mut tally = Tally::default();
    let mut left = count;
    let mut round = 0;
    while left > 0 {
        let these = left.min(AT_ONCE);
        left -= these;
        round += 1;
        let mut cases = Vec::new();
        for number in 0..these {
            cases.push(planned(&rig, &client, &source, &format!("r{round}-{number}")).await);
        }
        for case in &cases {
            let plan = client.deployment(case.id).await.unwrap();
            client.approve(case.id, digest(&plan), None).await.unwrap();
        }
        soon("an apply begins", PATIENCE, async || {
            cases.iter().any(|case| !ledger::read(&rig.ledger, &case.name).is_empty())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..APPLY_MS))).await;
        strike(&rig, blow, api, worker).await;
        for case in &cases {
            let one = judged(&rig, &client, case).await;
            tally.succeeded += one.succeeded;
            tally.interrupted += one.interrupted;
            tally.continued += one.continued;
            tally.asked += one.asked;
            tally.proposed += one.proposed;
        }
    }
    println!("killed_apply {blow:?}: {tally:?}");
    tally
}

async fn planned(rig: &Rig, client: &Client, source: &Source, name: &str) -> Case {
    let files = rig.fleet.dir().join("files").join(name);
    std::fs::create_dir_all(&files).unwrap();
    let request = request(rig, source, name, &files);
    let id = client.submit(&request, None).await.unwrap().id;
    until(client, id, &[S::AwaitingApproval]).await;
    Case { id, name: name.to_owned(), files }
}

fn request(rig: &Rig, source: &Source, name: &str, files: &std::path::Path) -> Submit {
    Submit {
        stack: key(name),
        source: Some(source.clone()),
        variables: [
            ("ledger".to_owned(), rig.ledger.display().to_string().into()),
            ("deployment".to_owned(), name.into()),
            ("files".to_owned(), files.display().to_string().into()),
            ("seconds".to_owned(), 0.5.into()),
        ]
        .into(),
        operation: Operation::Deploy,
        options: Options::default(),
    }
}

async fn strike(rig: &Rig, blow: Blow, api: usize, worker: usize) {
    match blow {
        Blow::Tree => rig.fleet.kill(worker, true),
        Blow::Worker => rig.fleet.kill(worker, false),
        Blow::Machine => {
            rig.fleet.kill(worker, true);
            rig.fleet.forget(worker);
        }
        Blow::Api => rig.fleet.kill(api, false),
        Blow::Frozen => {
            rig.fleet.freeze(worker, true);
            tokio::time::sleep(Duration::from_secs(LEASE_S + 1)).await;
            rig.fleet.thaw(worker);
        }
        Blow::Database => {
            let mut postgres = rig.postgres.lock().await;
            postgres.stop(Stop::Immediate).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            postgres.start().await;
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for place in [api, worker] {
        rig.fleet.start(place);
    }
    assert!(!rig.fleet.of(Role::Worker).is_empty());
}

/// The deployment, as soon as nothing more happens by itself.
async fn at_rest(client: &Client, id: DeploymentId) -> Deployment {
    let began = Instant::now();
    loop {
        let seen = client.deployment(id).await;
        if let Ok(seen) = seen
            && (seen.state.is_terminal() || seen.state.waits_for_person())
        {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "{id} does not come to rest");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits for the end of one apply, plays the person where one is asked, and checks all that must
/// hold on the way and at the end.
async fn judged(rig: &Rig, client: &Client, case: &Case) -> Tally {
    let mut tally = Tally::default();
    let name = &case.name;
    for step in 0.. {
        assert!(step < 10, "{name} does not come to an end");
        let seen = at_rest(client, case.id).await;
        match seen.state {
            S::Succeeded => break,
            S::NeedsAttention => {
                tally.asked = 1;
                answer(rig, client, case).await;
            }
            S::AwaitingApproval => {
                tally.proposed = 1;
                let all = client.recovery(case.id).await.unwrap();
                let why = all.recoveries[0].report.as_ref().map(|report| &report.refusals);
                println!("{name}: a new plan wants an approval: {why:?}");
                never_twice(rig, client, case).await;
                client.approve(case.id, digest(&seen), None).await.unwrap();
            }
            // The drain of a faded lease stops an apply in order: what is left is planned anew.
            S::Failed if is_orderly(&seen) => {
                never_twice(rig, client, case).await;
                println!("{name}: ended in order: {:?}", seen.reason);
                return tally;
            }
            other => panic!("{name} is {other}: {:?} {:#?}", seen.reason, seen.failure),
        }
    }
    let recoveries = client.recovery(case.id).await.unwrap().recoveries;
    tally.interrupted = usize::from(!recoveries.is_empty());
    tally.succeeded = usize::from(recoveries.is_empty());
    let went_on = |r: &&slipway_domain::recovery::Recovery| {
        r.verdict == Some(slipway_domain::recovery::RecoveryVerdict::Continued)
    };
    tally.continued = usize::from(recoveries.iter().any(|r| went_on(&r)));
    complete(rig, client, case).await;
    tally
}

fn is_orderly(seen: &Deployment) -> bool {
    seen.reason.as_deref().is_some_and(|why| why.contains("recorded in the state"))
}

/// What the report says must be what the ledger says.
async fn answer(rig: &Rig, client: &Client, case: &Case) {
    let name = &case.name;
    let all = client.recovery(case.id).await.unwrap();
    let last = &all.recoveries[0];
    let report = last.report.as_ref().unwrap_or_else(|| panic!("{name}: {}", last.summary));
    let truth = ledger::read(&rig.ledger, name);
    let done: BTreeSet<_> = report.done.iter().map(String::as_str).collect();
    let doubts: BTreeSet<_> = report.in_doubt.iter().map(|d| d.address.as_str()).collect();
    let lost: BTreeSet<_> = report.lost.iter().map(|l| l.address.as_str()).collect();
    let tainted: BTreeSet<_> = report.tainted.iter().map(String::as_str).collect();
    for (address, entry) in &truth {
        let known = [&done, &doubts, &lost, &tainted].iter().any(|set| set.contains(&**address));
        assert!(known, "{name}: {address} was begun and nobody says so: {last:#?}");
        if done.contains(&**address) {
            assert!(entry.ends > 0, "{name}: {address} is not done: {last:#?}");
        }
    }
    for address in done.iter().filter(|address| address.starts_with("terraform_data.")) {
        assert!(truth.contains_key(*address), "{name}: {address} was never made");
    }
    for address in &report.untouched {
        assert!(!truth.contains_key(address), "{name}: {address} was begun: {last:#?}");
    }
    never_twice(rig, client, case).await;
    // A careful person: looks, takes away what is half made, and says so.
    let asked: BTreeSet<_> = doubts.union(&lost).copied().collect();
    assert!(!asked.is_empty(), "{name}: {}", last.summary);
    let mut said = Vec::new();
    for address in asked {
        if address.starts_with("terraform_data.") && truth.contains_key(address) {
            ledger::remove(&rig.ledger, name, address);
        }
        if let Some(row) = address.strip_prefix("local_file.") {
            let file = row.replace('[', "-").trim_end_matches(']').to_owned();
            let _ = std::fs::remove_file(case.files.join(file));
        }
        said.push(Resolution {
            address: address.to_owned(),
            outcome: ResolutionOutcome::Absent,
            id: None,
        });
    }
    client.resolve(case.id, &said).await.unwrap();
}

/// What was half made and is on record as such (tainted) is removed and made anew; nothing else is
/// begun a second time.
async fn never_twice(rig: &Rig, client: &Client, case: &Case) {
    let recoveries = client.recovery(case.id).await.unwrap().recoveries;
    let reports: Vec<_> = recoveries.iter().filter_map(|r| r.report.as_ref()).collect();
    for (address, entry) in ledger::read(&rig.ledger, &case.name) {
        let anew = reports.iter().filter(|report| report.tainted.contains(&address)).count();
        assert!(
            entry.starts <= 1 + anew && entry.ends <= 1,
            "{}: {address} was made twice: {entry:?}, tainted {anew} times",
            case.name
        );
    }
}

/// Everything is there once, in the world and in the state, and Terraform agrees.
async fn complete(rig: &Rig, client: &Client, case: &Case) {
    let name = &case.name;
    never_twice(rig, client, case).await;
    let truth = ledger::read(&rig.ledger, name);
    for row in ["first", "second", "third"] {
        for number in 0..4 {
            let address = format!("terraform_data.{row}[{number}]");
            let entry = truth.get(&address).copied().unwrap_or_default();
            assert!(entry.starts >= 1 && entry.ends == 1, "{name}: {address}: {entry:?}");
        }
        for number in 0..2 {
            assert!(case.files.join(format!("{row}-{number}")).exists(), "{name}: {row}-{number}");
        }
    }
    let deployment = client.deployment(case.id).await.unwrap();
    let stack = client.stack(deployment.stack_id).await.unwrap();
    assert_eq!(stack.state.unwrap().resource_count, RESOURCES, "{name}");
    let request = request(rig, &deployment.source, name, &case.files);
    let again = client.submit(&request, None).await.unwrap();
    until(client, again.id, &[S::NoChanges]).await;
}
