//! The clients of a run: they submit deployments through any replica, approve them by their
//! digests, change their minds, and ask again when nobody answers. And the person who looks at what
//! a lost apply left behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use slipway_app::client::error::{ClientError, Problem};
use slipway_app::client::http::Client;
use slipway_domain::Code;
use slipway_domain::deployment::{Deployment, Operation, Options, Waiting};
use slipway_domain::id::DeploymentId;
use slipway_domain::source::Source;
use slipway_domain::state::DeploymentState as S;
use slipway_services::deployment::Submit;
use sqlx::Connection as _;
use tokio::sync::Semaphore;

use super::history::{Asked, Notes};
use super::proc;
use crate::harness::{PATIENCE, key};

/// Deployments that are under way at the same time.
const AT_ONCE: usize = 24;
/// How long one answer is waited for before another replica is asked.
const ANSWER: Duration = Duration::from_secs(10);
/// How long one deployment may take, whatever is broken meanwhile.
const LIFETIME: Duration = Duration::from_mins(8);

/// What becomes of a deployment, if it gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Approve,
    /// Approved, and started by a word of its own.
    ApproveThenApply,
    Reject,
    /// Stopped so long after it was accepted, wherever it is then.
    Cancel(Duration),
}

/// What is decided about a deployment before it begins. The same seed decides the same.
#[derive(Debug, Clone)]
struct Script {
    name: String,
    stack: String,
    resources: u32,
    seconds: f64,
    fate: Fate,
    supersede: bool,
    /// The same request is sent to two replicas at once.
    twice: bool,
}

impl Script {
    fn draw(seed: u64, index: usize, stacks: usize) -> (Self, StdRng) {
        let mut rng = StdRng::seed_from_u64(seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9));
        // A few stacks that many want, and many that few want.
        let stack = if rng.random_bool(0.3) {
            format!("hot-{}", rng.random_range(0..3))
        } else {
            format!("stack-{}", rng.random_range(0..stacks))
        };
        let seconds = match rng.random_range(0..10) {
            0 => rng.random_range(2.0..7.0),
            1..=3 => rng.random_range(0.1..1.0),
            _ => 0.0,
        };
        let fate = match rng.random_range(0..100) {
            0..=9 => Fate::Cancel(Duration::from_millis(rng.random_range(0..6000))),
            10..=13 => Fate::Reject,
            14..=23 => Fate::ApproveThenApply,
            _ => Fate::Approve,
        };
        let script = Self {
            name: format!("d{index}"),
            stack,
            resources: rng.random_range(1..=3),
            seconds,
            fate,
            supersede: rng.random_bool(0.05),
            twice: rng.random_bool(0.15),
        };
        (script, rng)
    }
}

/// What all clients share.
pub(super) struct Load {
    pub(super) clients: Vec<Client>,
    pub(super) source: Source,
    pub(super) ledger: String,
    pub(super) seed: u64,
    pub(super) notes: Notes,
    /// How many of the deployments under way are of a stack.
    under_way: std::sync::Mutex<BTreeMap<String, usize>>,
    /// Deployments that wait for a person, with their stacks.
    attention: std::sync::Mutex<Vec<(DeploymentId, String)>>,
    /// Deployments that clients are done with.
    pub(super) done: AtomicUsize,
    /// No deployment comes any more.
    over: AtomicBool,
}

impl Load {
    pub(super) fn new(
        clients: Vec<Client>,
        source: Source,
        ledger: String,
        seed: u64,
        notes: Notes,
    ) -> Self {
        Self {
            clients,
            source,
            ledger,
            seed,
            notes,
            under_way: std::sync::Mutex::default(),
            attention: std::sync::Mutex::default(),
            done: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Has `count` deployments made, over `stacks` stacks and some that everybody wants.
    pub(super) async fn run(self: Arc<Self>, count: usize, stacks: usize) {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut clients = tokio::task::JoinSet::new();
        for index in 0..count {
            let slot = slots.clone().acquire_owned().await.unwrap();
            let load = self.clone();
            clients.spawn(async move {
                let (script, rng) = Script::draw(load.seed, index, stacks);
                *load.under_way.lock().unwrap().entry(script.stack.clone()).or_default() += 1;
                load.live(&script, rng).await;
                *load.under_way.lock().unwrap().entry(script.stack).or_default() -= 1;
                load.done.fetch_add(1, Ordering::SeqCst);
                drop(slot);
            });
        }
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
        self.over.store(true, Ordering::SeqCst);
    }

    /// When everything is over, deployments go through again, and without delay.
    pub(super) async fn afterwards(&self, count: usize) {
        let all = (0..count).map(|index| async move {
            let script = Script {
                name: format!("after{index}"),
                stack: format!("after-{index}"),
                resources: 2,
                seconds: 0.0,
                fate: Fate::Approve,
                supersede: false,
                twice: false,
            };
            self.live(&script, StdRng::seed_from_u64(index as u64)).await;
        });
        let all = futures::future::join_all(all);
        tokio::time::timeout(PATIENCE, all).await.expect("it is not as it was before");
    }

    /// Asks any replica until one answers in a way that means something.
    async fn ask<T, F>(
        &self,
        rng: &mut StdRng,
        what: &str,
        request: impl Fn(Client) -> F,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let began = Instant::now();
        loop {
            let client = self.clients[rng.random_range(0..self.clients.len())].clone();
            match tokio::time::timeout(ANSWER, request(client)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(ClientError::Refused(problem))) => {
                    let passing = matches!(problem.status, 429 | 502..=504)
                        || problem.is(Code::IdempotencyInFlight);
                    if !passing && problem.status < 500 {
                        return Err(*problem);
                    }
                    if !passing {
                        self.notes
                            .write()
                            .odd
                            .push(format!("{what}: {} {problem}", problem.status));
                    }
                }
                // Nobody was there, or the answer broke off.
                Ok(Err(ClientError::Unreachable { .. } | ClientError::Garbled { .. })) | Err(_) => {
                }
                Ok(Err(other)) => panic!("{what}: {other}"),
            }
            if began.elapsed() > LIFETIME {
                let problem = Problem { detail: "nobody answers".to_owned(), ..Problem::default() };
                return Err(problem);
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(50..300))).await;
        }
    }

    fn request(&self, script: &Script) -> Submit {
        Submit {
            stack: key(&script.stack),
            source: Some(self.source.clone()),
            variables: [
                ("ledger".to_owned(), self.ledger.clone().into()),
                ("deployment".to_owned(), script.name.clone().into()),
                ("resources".to_owned(), script.resources.into()),
                ("seconds".to_owned(), script.seconds.into()),
            ]
            .into(),
            operation: Operation::Deploy,
            options: Options {
                auto_apply: script.fate != Fate::ApproveThenApply,
                supersede: script.supersede,
                ..Options::default()
            },
        }
    }

    async fn submitted(&self, script: &Script, rng: &mut StdRng) -> Option<DeploymentId> {
        let asked = Asked {
            name: script.name.clone(),
            stack: script.stack.clone(),
            resources: script.resources,
            answers: Vec::new(),
        };
        self.notes.write().asked.insert(script.name.clone(), asked);
        let (submit, key) = (self.request(script), format!("{}-{}", self.seed, script.name));
        let send = async |mut rng: StdRng| {
            let send = |client: Client| {
                let (submit, key) = (submit.clone(), key.clone());
                async move { client.submit(&submit, Some(&key)).await }
            };
            self.ask(&mut rng, "submit", send).await
        };
        let other = StdRng::seed_from_u64(rng.random());
        let again = StdRng::seed_from_u64(rng.random());
        let answers = if script.twice {
            let both = tokio::join!(send(other), send(again.clone()));
            // And once more, when it has long been accepted.
            vec![both.0, both.1, send(again).await]
        } else {
            vec![send(other).await]
        };
        let mut notes = self.notes.write();
        let mut first = None;
        for answer in answers {
            match answer {
                Ok(deployment) => {
                    let asked = notes.asked.get_mut(&script.name).unwrap();
                    asked.answers.push(deployment.id);
                    first = first.or(Some(deployment.id));
                }
                Err(problem) => notes.odd.push(format!("submit of {}: {problem}", script.name)),
            }
        }
        first
    }

    /// One deployment, from its submission to where no client has anything to do any more.
    async fn live(&self, script: &Script, mut rng: StdRng) {
        let Some(id) = self.submitted(script, &mut rng).await else { return };
        let began = Instant::now();
        let mut asked_to_stop = false;
        loop {
            let looked =
                self.ask(&mut rng, "look", |c| async move { c.deployment(id).await }).await;
            let deployment = match looked {
                Ok(deployment) => deployment,
                Err(problem) => {
                    self.notes.write().odd.push(format!("{id} of {}: {problem}", script.name));
                    return;
                }
            };
            if deployment.state.is_terminal() {
                return;
            }
            if deployment.state == S::NeedsAttention {
                self.attention.lock().unwrap().push((id, script.stack.clone()));
                return;
            }
            match script.fate {
                Fate::Cancel(after) if began.elapsed() >= after && !asked_to_stop => {
                    let cancel = |c: Client| async move { c.cancel(id, Some("chaos")).await };
                    if self.ask(&mut rng, "cancel", cancel).await.is_ok() {
                        self.notes.write().cancelled.push(id);
                    }
                    asked_to_stop = true;
                }
                fate => self.decide(fate, &deployment, &mut rng).await,
            }
            if began.elapsed() > LIFETIME {
                let state = deployment.state;
                let text = format!("{id} ({}) is still {state} after {LIFETIME:?}", script.name);
                self.notes.write().odd.push(text);
                return;
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(100..250))).await;
        }
    }

    /// Says yes or no to what waits for it. A refusal is no matter: what is there now is looked at
    /// again.
    async fn decide(&self, fate: Fate, deployment: &Deployment, rng: &mut StdRng) {
        let id = deployment.id;
        match (&deployment.waiting, fate) {
            (Some(Waiting::Approval { plan_digest }), Fate::Reject) => {
                let reject = |c: Client| async move { c.reject(id, plan_digest, None).await };
                if self.ask(rng, "reject", reject).await.is_ok() {
                    self.notes.write().cancelled.push(id);
                }
            }
            (Some(Waiting::Approval { plan_digest }), _) => {
                let approve = |c: Client| async move { c.approve(id, plan_digest, None).await };
                if self.ask(rng, "approve", approve).await.is_ok() {
                    self.notes.write().approved.push((id, plan_digest.clone()));
                }
            }
            (Some(Waiting::Apply { .. }), _) => {
                let _ = self.ask(rng, "apply", |c| async move { c.apply(id).await }).await;
            }
            _ => {}
        }
    }

    /// Looks at what lost applies left behind, and sets their stacks free when somebody waits for
    /// them. As a careful person does, not before nothing of the lost apply runs any more.
    pub(super) async fn attend(self: Arc<Self>, url: String) {
        let mut rng = StdRng::seed_from_u64(self.seed);
        while !self.over.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let waiting = self.attention.lock().unwrap().clone();
            for (id, stack) in waiting {
                let wanted = self.under_way.lock().unwrap().get(&stack).is_some_and(|n| *n > 0);
                if !wanted {
                    continue;
                }
                let Ok(jobs) = jobs_of(&url, id).await else { continue };
                if jobs.iter().any(|job| proc::runs(job)) {
                    continue;
                }
                let free = |c: Client| async move { c.cancel(id, Some("looked at it")).await };
                if self.ask(&mut rng, "free", free).await.is_ok() {
                    self.notes.write().cancelled.push(id);
                }
                self.notes.write().freed.insert(id);
                self.attention.lock().unwrap().retain(|(other, _)| *other != id);
            }
        }
    }
}

async fn jobs_of(url: &str, id: DeploymentId) -> Result<Vec<String>, sqlx::Error> {
    let mut connection = sqlx::PgConnection::connect(url).await?;
    let ids: Vec<slipway_domain::id::JobId> =
        sqlx::query_scalar("select id from jobs where deployment_id = $1")
            .bind(id)
            .fetch_all(&mut connection)
            .await?;
    Ok(ids.iter().map(ToString::to_string).collect())
}
