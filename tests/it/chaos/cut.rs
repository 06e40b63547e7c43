//! A cut through the network: workers on the far side of it have jobs in hand and cannot reach the
//! database (and the broker) any more; workers on the near side can.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slipway_app::client::http::Client;
use slipway_domain::deployment::{Deployment, Operation, Options};
use slipway_domain::id::{DeploymentId, JobId, WorkerId};
use slipway_domain::recovery::{RecoveryVerdict, Resolution, ResolutionOutcome};
use slipway_domain::source::Source;
use slipway_domain::state::DeploymentState as S;
use slipway_services::deployment::Submit;
use sqlx::Connection as _;

use super::broker::Transport;
use super::clock::now_us;
use super::history::{Asked, Notes};
use super::nemesis::{Act, Incident};
use super::proc::{self, RunKey};
use super::rig::Rig;
use super::run::{look, ready, verdict};
use super::watch::Seen;
use crate::harness::{Mode, PATIENCE, Postgres, Proxy, digest, key, until};

/// The two sides and the cut between them.
struct Cut {
    rig: Arc<Rig>,
    client: Client,
    source: Source,
    notes: Notes,
    near: Vec<usize>,
    far: Vec<usize>,
    database: Proxy,
    broker: Option<Proxy>,
}

/// A job in hand.
#[derive(Debug, Clone)]
struct Held {
    kind: String,
    deployment: DeploymentId,
    worker: WorkerId,
    until_ms: i64,
}

const QUEUES: &str = "plan=2,apply=1";

impl Cut {
    /// An API and two workers on the far side.
    async fn new(transport: Transport) -> Self {
        let rig = Arc::new(Rig::new(transport).await);
        let database = Proxy::before(rig.postgres.lock().await.port()).await;
        let (broker, mut env) = {
            let broker = rig.broker.lock().await;
            match broker.port() {
                None => (None, Vec::new()),
                Some(port) => {
                    let proxy = Proxy::before(port).await;
                    let env = broker.env_at(proxy.port());
                    (Some(proxy), env)
                }
            }
        };
        env.push(("SLIPWAY_DATABASE_URL".to_owned(), Postgres::url_at(database.port())));
        rig.fleet.add_api();
        let far = (0..2).map(|_| rig.fleet.add_worker(QUEUES, env.clone())).collect();
        let client = rig.fleet.clients().remove(0);
        ready(&client).await;
        let source = Rig::source(&client).await;
        let notes = Notes::default();
        let cut = Self { rig, client, source, notes, near: Vec::new(), far, database, broker };
        cut.started(&cut.far).await;
        cut
    }

    async fn started(&self, places: &[usize]) {
        for place in places {
            self.rig.fleet.says(*place, "worker started").await;
        }
    }

    /// Two workers on the near side.
    async fn reinforce(&mut self) {
        self.near = (0..2).map(|_| self.rig.fleet.add_worker(QUEUES, Vec::new())).collect();
        self.started(&self.near).await;
    }

    fn set(&self, database: Mode, broker: Mode) {
        self.database.set(database);
        if let Some(proxy) = &self.broker {
            proxy.set(broker);
        }
    }

    async fn submit(&self, name: &str, stack: &str, resources: u32, seconds: u32) -> DeploymentId {
        let request = Submit {
            stack: key(stack),
            source: Some(self.source.clone()),
            variables: [
                ("ledger".to_owned(), self.rig.ledger.display().to_string().into()),
                ("deployment".to_owned(), name.into()),
                ("resources".to_owned(), resources.into()),
                ("seconds".to_owned(), seconds.into()),
            ]
            .into(),
            operation: Operation::Deploy,
            options: Options::default(),
        };
        let id = self.client.submit(&request, Some(name)).await.unwrap().id;
        let asked =
            Asked { name: name.to_owned(), stack: stack.to_owned(), resources, answers: vec![id] };
        self.notes.write().asked.insert(name.to_owned(), asked);
        id
    }

    async fn approve(&self, id: DeploymentId) -> Deployment {
        let planned = until(&self.client, id, &[S::AwaitingApproval]).await;
        let digest = digest(&planned).to_owned();
        self.client.approve(id, &digest, None).await.unwrap();
        self.notes.write().approved.push((id, digest));
        planned
    }

    async fn deploy(&self, name: &str, stack: &str) -> DeploymentId {
        let id = self.submit(name, stack, 2, 0).await;
        self.approve(id).await;
        until(&self.client, id, &[S::Succeeded]).await;
        id
    }

    async fn cancel(&self, id: DeploymentId) {
        self.client.cancel(id, None).await.unwrap();
        self.notes.write().cancelled.push(id);
        self.notes.write().freed.insert(id);
    }

    /// The jobs that are running, by run.
    async fn held(&self) -> BTreeMap<RunKey, Held> {
        let mut connection = sqlx::PgConnection::connect(&self.rig.url).await.unwrap();
        let rows: Vec<(JobId, i64, String, DeploymentId, WorkerId, i64)> = sqlx::query_as(
            "select id, epoch, kind, deployment_id, worker_id, lease_until_ms from jobs
             where state = 'running'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let held = rows.into_iter().map(|(job, epoch, kind, deployment, worker, until_ms)| {
            ((job.to_string(), epoch), Held { kind, deployment, worker, until_ms })
        });
        held.collect()
    }

    /// Everything that a zombie could have written about a deployment.
    async fn written(&self, id: DeploymentId) -> (i64, i64, i64, i64, i64) {
        let mut connection = sqlx::PgConnection::connect(&self.rig.url).await.unwrap();
        sqlx::query_as(
            "select d.version, d.event_seq, d.log_seq,
                (select count(*) from state_versions s where s.deployment_id = d.id),
                (select count(*) from jobs j where j.deployment_id = d.id)
             from deployments d where d.id = $1",
        )
        .bind(id)
        .fetch_one(&mut connection)
        .await
        .unwrap()
    }

    /// Whether somebody is asked about a resource of a lost apply that its state has as tainted.
    async fn is_tainted(&self, id: DeploymentId) -> bool {
        let recoveries = self.client.recovery(id).await.unwrap().recoveries;
        let last = recoveries.first().unwrap();
        last.verdict == Some(RecoveryVerdict::NeedsAttention)
            && last.report.as_ref().is_some_and(|report| {
                report.collected && report.in_doubt.iter().any(|d| d.detail.contains("tainted"))
            })
    }

    /// Workers that were heard of after a moment of the database's clock.
    async fn heard_since(&self, since_ms: i64) -> i64 {
        let mut connection = sqlx::PgConnection::connect(&self.rig.url).await.unwrap();
        sqlx::query_scalar("select count(*) from workers where heartbeat_ms > $1")
            .bind(since_ms)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }

    fn begun(&self, name: &str) -> bool {
        let ledger = std::fs::read_to_string(&self.rig.ledger).unwrap_or_default();
        ledger.lines().any(|line| line.starts_with(&format!("{name} ")))
    }

    async fn verdict(&self, incidents: Vec<Incident>) {
        let history = self.notes.write().clone();
        let evidence = look(&self.rig, history, incidents, Seen::default()).await;
        verdict(&self.rig, &evidence, "a cut");
    }
}

async fn soon(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn now_ms() -> i64 {
    now_us() / 1000
}

/// Waits until nothing works for these jobs any more, and checks that it has stopped before their
/// leases were over: from then on they may be somebody else's.
async fn stops_in_time(cut: &Cut, mut left: BTreeMap<RunKey, Held>) {
    let end = Instant::now() + PATIENCE;
    while !left.is_empty() {
        // A heartbeat that was on its way at the cut may still count.
        for (run, held) in cut.held().await {
            if let Some(known) = left.get_mut(&run) {
                known.until_ms = held.until_ms;
            }
        }
        let at_ms = now_ms();
        let alive: Vec<_> = proc::all().iter().filter_map(proc::Proc::run).collect();
        left.retain(|run, held| {
            let stopped = !alive.contains(run);
            let margin_ms = held.until_ms - at_ms;
            assert!(
                stopped || margin_ms > 0,
                "{run:?} ({}) goes on {} ms after the end of its lease",
                held.kind,
                -margin_ms
            );
            if stopped {
                println!("{} stopped {margin_ms} ms before the end of its lease", held.kind);
            }
            !stopped
        });
        assert!(Instant::now() < end, "{left:?} go on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The far side loses the database, and the broker if there is one, with jobs in hand.
pub(super) async fn from_the_database(transport: Transport, mode: Mode) {
    let mut cut = Cut::new(transport).await;
    // An apply on each far worker, and plans on both.
    let mut applies = Vec::new();
    for name in ["far-1", "far-2"] {
        let id = cut.submit(name, name, 1, 60).await;
        cut.approve(id).await;
        applies.push(id);
    }
    soon("both applies are under way", async || cut.begun("far-1") && cut.begun("far-2")).await;
    let mut plans = Vec::new();
    for index in 0..4 {
        plans.push(cut.submit(&format!("plan-{index}"), &format!("plan-{index}"), 700, 0).await);
    }
    let planning = async || {
        let held = cut.held().await;
        let working: Vec<_> = proc::all().iter().filter_map(proc::Proc::run).collect();
        held.iter().filter(|(run, h)| h.kind == "plan" && working.contains(run)).count() >= 2
    };
    soon("plans are under way", planning).await;
    let from_us = now_us();
    cut.set(mode, mode);
    let held = cut.held().await;
    let far: Vec<WorkerId> = held.values().map(|h| h.worker).collect();
    println!("the cut: {} jobs in hand", held.len());
    let taken_over: Vec<_> =
        held.values().filter(|h| h.kind == "plan").map(|h| h.deployment).collect();
    assert!(!taken_over.is_empty(), "no plan was in hand: {held:?}");
    let lost: Vec<_> = held.values().filter(|h| h.kind == "apply").map(|h| h.deployment).collect();
    assert_eq!(lost.len(), 2, "{held:?}");
    stops_in_time(&cut, held).await;
    let began = Instant::now();

    // The near side takes over what may be repeated; the rest waits for a person.
    cut.reinforce().await;
    for id in &lost {
        // The far machines say nothing: what was begun there may exist.
        let deployment = until(&cut.client, *id, &[S::NeedsAttention]).await;
        assert!(deployment.reason.unwrap().contains("entry[0]"));
    }
    for id in &plans {
        until(&cut.client, *id, &[S::AwaitingApproval]).await;
    }
    println!("the near side has taken over after {:?}", began.elapsed());
    let near = {
        let mut connection = sqlx::PgConnection::connect(&cut.rig.url).await.unwrap();
        sqlx::query_as::<_, (DeploymentId, WorkerId, i64)>(
            "select deployment_id, worker_id, epoch from jobs where kind = 'plan'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap()
    };
    for (deployment, worker, epoch) in near {
        if taken_over.contains(&deployment) {
            assert!(epoch >= 2 && !far.contains(&worker), "{deployment} was not taken over");
        }
    }

    // The network is whole again: whoever is late writes nothing, and works on.
    let mut before = BTreeMap::new();
    for id in &plans {
        before.insert(*id, cut.written(*id).await);
    }
    // The near side goes first, or it would have in hand, when it is drained, what is found to go on.
    for place in cut.near.clone() {
        assert_eq!(cut.rig.fleet.drain(place, PATIENCE).await, Some(true));
    }
    let healed_ms = now_ms();
    cut.set(Mode::Pass, Mode::Pass);
    let to_us = now_us();
    let everybody = i64::try_from(cut.far.len()).unwrap();
    soon("the far side is heard of", async || cut.heard_since(healed_ms).await >= everybody).await;
    println!("the far side is back after {} ms", now_ms() - healed_ms);
    cut.deploy("after", "after").await;
    println!("and has deployed after {} ms", now_ms() - healed_ms);
    for (id, written) in before {
        assert_eq!(cut.written(id).await, written, "{id} was written to after it was lost");
    }
    // What was on the far machines is known now: cut off in the middle, and on record as tainted.
    // Whether to make it anew is for somebody who can look.
    for id in &lost {
        soon("it is known what was on the far machine", async || cut.is_tainted(*id).await).await;
        let anew = Resolution {
            address: "terraform_data.entry[0]".to_owned(),
            outcome: ResolutionOutcome::Absent,
            id: None,
        };
        cut.client.resolve(*id, &[anew]).await.unwrap();
    }
    for id in &lost {
        until(&cut.client, *id, &[S::Succeeded]).await;
    }
    for id in &plans {
        cut.cancel(*id).await;
        until(&cut.client, *id, &[S::Cancelled]).await;
    }
    cut.deploy("again", "far-1").await;
    let incident = |place: &usize| Incident {
        act: Act::Cut,
        place: Some(cut.rig.fleet.name(*place)),
        from_us,
        to_us,
        hung: false,
    };
    cut.verdict(cut.far.iter().map(incident).collect()).await;
}

/// The far side loses the broker alone: everything goes on, slower, and nothing is lost.
pub(super) async fn from_the_broker(transport: Transport, mode: Mode) {
    let cut = Cut::new(transport).await;
    let running = cut.submit("running", "running", 1, 6).await;
    cut.approve(running).await;
    soon("an apply is under way", async || cut.begun("running")).await;
    cut.set(Mode::Pass, mode);
    // Nobody else is there: these are found by asking the database.
    for index in 0..3 {
        cut.deploy(&format!("dark-{index}"), &format!("dark-{index}")).await;
    }
    until(&cut.client, running, &[S::Succeeded]).await;
    cut.set(Mode::Pass, Mode::Pass);
    cut.deploy("after", "running").await;
    cut.verdict(Vec::new()).await;
}
