//! Judging a plan by the packs that an operator chose: compiled once a version, on a thread of its
//! own, within limits. Whatever goes wrong with a pack is a deny by that pack.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use slipway_domain::exemption::{self, UsedExemption};
use slipway_domain::fault::Fault;
use slipway_domain::finding::Finding;
use slipway_domain::gate::{GateKind, GateResult};
use slipway_domain::plan::ResourceChange;
use slipway_domain::policy::{PackMode, PackSaid, PackUse, PolicySettings, SHIPPED, judge};
use slipway_domain::scan::RuleBook;
use slipway_policy::{Context, Document, Engine, Evaluation, Limits, Module, Pack};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::Ctx;
use crate::source::blocking;

/// Compiled packs that are remembered, beside the built-in one.
const ENGINES: usize = 32;
/// Plans that are judged at a time. Each may take the memory of its document several times over.
const AT_A_TIME: usize = 2;
/// Uploads and dry runs at a time: plans that wait for their gate come first.
const TURNS: usize = 1;
/// How long to wait for a place.
const PATIENCE: Duration = Duration::from_mins(1);
/// The same for somebody who waits for an answer.
const TURN_PATIENCE: Duration = Duration::from_secs(10);
/// Time that all packs together may take to judge one plan.
const JUDGING: Duration = Duration::from_secs(20);
/// How much longer the building of inputs, which nobody interrupts, may take.
const GRACE: Duration = Duration::from_secs(40);

/// What the calls of one process share: compiled packs, and who may work now.
#[derive(Clone)]
pub(crate) struct Policies(Arc<Inner>);

struct Inner {
    engines: Mutex<VecDeque<(String, Arc<Engine>)>>,
    shipped: OnceCell<Arc<Engine>>,
    /// One compiles at a time, so that nobody compiles what somebody else is compiling.
    compiling: tokio::sync::Mutex<()>,
    judging: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for Policies {
    fn default() -> Self {
        Self(Arc::new(Inner {
            engines: Mutex::default(),
            shipped: OnceCell::new(),
            compiling: tokio::sync::Mutex::default(),
            judging: Arc::new(Semaphore::new(AT_A_TIME)),
            turns: Arc::new(Semaphore::new(TURNS)),
        }))
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Policies")
    }
}

impl Policies {
    /// The built-in pack.
    pub(super) async fn shipped(&self) -> Result<Arc<Engine>, Fault> {
        let compiled = self.0.shipped.get_or_try_init(|| async {
            let engine = blocking(|| Engine::compile(&Pack::shipped(), Limits::default())).await?;
            engine.map(Arc::new).map_err(Fault::internal)
        });
        Ok(compiled.await?.clone())
    }

    /// Compiles the built-in pack, if nobody did yet.
    pub(crate) async fn warm(&self) -> Result<(), Fault> {
        self.shipped().await.map(drop)
    }

    fn known(&self, digest: &str) -> Option<Arc<Engine>> {
        let mut engines = self.0.engines.lock().unwrap_or_else(PoisonError::into_inner);
        let at = engines.iter().position(|(other, _)| other == digest)?;
        let found = engines.remove(at)?;
        let engine = found.1.clone();
        engines.push_front(found);
        Some(engine)
    }

    fn remember(&self, digest: String, engine: Arc<Engine>) {
        let mut engines = self.0.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.push_front((digest, engine));
        engines.truncate(ENGINES);
    }

    /// A turn to check a pack or to try one.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Fault> {
        place(&self.0.turns, TURN_PATIENCE).await
    }
}

async fn place(places: &Arc<Semaphore>, wait: Duration) -> Result<OwnedSemaphorePermit, Fault> {
    match timeout(wait, places.clone().acquire_owned()).await {
        Ok(permit) => permit.map_err(Fault::internal),
        Err(late) => {
            Err(Fault::unavailable("Others' policies are being evaluated. Try again soon.", late))
        }
    }
}

/// A pack that plans are judged by.
#[derive(Debug, Clone)]
pub enum Ready {
    /// It can be asked.
    Engine(Arc<Engine>),
    /// It cannot, for this reason: it denies.
    Broken(String),
}

/// The packs that settings name, compiled. Those that are off are left out; one that is not there or
/// cannot be compiled any more is [`Ready::Broken`]. The versions are those that it comes to.
pub async fn engines(cx: &Ctx, settings: &PolicySettings) -> Result<Vec<(PackUse, Ready)>, Fault> {
    let mut ready = Vec::new();
    for pack in settings.packs.iter().filter(|pack| pack.mode != PackMode::Off) {
        ready.push(engine(cx, pack).await?);
    }
    Ok(ready)
}

pub(super) async fn engine(cx: &Ctx, pack: &PackUse) -> Result<(PackUse, Ready), Fault> {
    let policies = &cx.gathered.policies;
    if pack.name == SHIPPED {
        return Ok((pack.clone(), Ready::Engine(policies.shipped().await?)));
    }
    let found = cx.store.read().await?.policy_digest(&pack.name, pack.version).await?;
    let Some((version, digest)) = found else {
        let which = pack.version.map(|version| format!(" in version {version}"));
        let why = format!("There is no policy pack {}{}.", pack.name, which.unwrap_or_default());
        return Ok((pack.clone(), Ready::Broken(why)));
    };
    let pack = PackUse { version: Some(version), ..pack.clone() };
    if let Some(engine) = policies.known(&digest) {
        return Ok((pack, Ready::Engine(engine)));
    }
    let _alone = policies.0.compiling.lock().await;
    if let Some(engine) = policies.known(&digest) {
        return Ok((pack, Ready::Engine(engine)));
    }
    let modules = cx.store.read().await?.policy_modules(&pack.name, version).await?;
    let Some(modules) = modules else {
        let why = format!("Version {version} of the policy pack {} was removed.", pack.name);
        return Ok((pack, Ready::Broken(why)));
    };
    let modules = modules.into_iter().map(|m| Module { path: m.path, text: m.text }).collect();
    let compiled =
        blocking(move || Engine::compile(&Pack::user(modules), Limits::default())).await?;
    let ready = match compiled {
        Ok(engine) => {
            let engine = Arc::new(engine);
            policies.remember(digest, engine.clone());
            Ready::Engine(engine)
        }
        Err(why) => {
            tracing::error!(policy = pack.name, version, error = %why,
                "a policy pack that was accepted cannot be compiled any more; it denies");
            Ready::Broken(format!(
                "Version {version} of the policy pack {} cannot be compiled by this version of \
                 Slipway: {why}",
                pack.name
            ))
        }
    };
    Ok((pack, ready))
}

/// Which checks of scanners are rules of the shipped pack.
pub async fn rule_book(cx: &Ctx) -> Result<RuleBook, Fault> {
    Ok(cx.gathered.policies.shipped().await?.rule_book())
}

/// What is judged.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The normalised plan.
    pub changes: Arc<Vec<ResourceChange>>,
    /// What `terraform show -json` printed, where there is such a document.
    pub terraform: Option<Bytes>,
    /// For whom, where, at what cost. Its `settings` are set from the operator's.
    pub context: Context,
}

/// What every pack of the settings says, in their order. A pack that cannot be asked, or not in time,
/// says no.
pub async fn evaluate(
    cx: &Ctx,
    settings: &PolicySettings,
    subject: Subject,
) -> Result<Vec<(PackUse, Evaluation)>, Fault> {
    let ready = engines(cx, settings).await?;
    if ready.is_empty() {
        return Ok(Vec::new());
    }
    let place = place(&cx.gathered.policies.0.judging, PATIENCE).await?;
    let subject = told(subject, settings)?;
    ask(ready, subject, JUDGING, place).await
}

/// The subject, with what rules are told.
pub(super) fn told(mut subject: Subject, settings: &PolicySettings) -> Result<Subject, Fault> {
    subject.context.settings = serde_json::to_value(&settings.settings).map_err(Fault::internal)?;
    Ok(subject)
}

/// Asks packs one after the other, on a thread that may block. What holds its place is let go when it
/// ends, also when nobody waits for it any more.
pub(super) async fn ask<T: Send + 'static>(
    ready: Vec<(PackUse, Ready)>,
    subject: Subject,
    time: Duration,
    place: T,
) -> Result<Vec<(PackUse, Evaluation)>, Fault> {
    let packs: Vec<PackUse> = ready.iter().map(|(pack, _)| pack.clone()).collect();
    let work = blocking(move || {
        let _place = place;
        let begin = Instant::now();
        let say = |(pack, ready): (PackUse, Ready)| {
            let left = time.saturating_sub(begin.elapsed());
            let said = match ready {
                Ready::Broken(why) => Evaluation::failed(why, ""),
                Ready::Engine(engine) if left.is_zero() => {
                    Evaluation::failed(too_long(time), engine.digest())
                }
                Ready::Engine(engine) => {
                    let document = Document {
                        changes: &subject.changes,
                        terraform: subject.terraform.as_deref(),
                        context: &subject.context,
                    };
                    engine.evaluate_within(&document, left)
                }
            };
            (pack, said)
        };
        ready.into_iter().map(say).collect()
    });
    if let Ok(said) = timeout(time + GRACE, work).await {
        return said;
    }
    let no = |pack| (pack, Evaluation::failed(too_long(time + GRACE), ""));
    Ok(packs.into_iter().map(no).collect())
}

fn too_long(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("The policies of this plan took longer than {seconds} s together and were stopped.")
}

/// What the policy gate says of a plan, and everything that belongs on its record.
#[derive(Debug, Clone)]
pub struct PolicyGate {
    /// The answer.
    pub result: GateResult,
    /// What was found, with the verdicts that count here; strictest first.
    pub findings: Vec<Finding>,
    /// Somebody with each of these roles must say yes.
    pub roles: std::collections::BTreeSet<String>,
    /// The exemptions that were needed.
    pub exemptions: Vec<UsedExemption>,
    /// When the first of them ends: from then on the answer does not hold.
    pub holds_until: Option<DateTime<Utc>>,
    /// The packs that were asked, in the versions that it came to, with their digests.
    pub packs: Vec<(PackUse, String)>,
}

/// Judges a plan by the packs of the settings, under the exemptions that hold now for its project
/// and environment (those of the subject's context).
pub async fn gate(
    cx: &Ctx,
    settings: &PolicySettings,
    subject: Subject,
) -> Result<PolicyGate, Fault> {
    let (project, environment) =
        (subject.context.project.clone(), subject.context.environment.clone());
    let said = evaluate(cx, settings, subject).await?;
    conclude(cx, settings, said, &project, &environment).await
}

/// What follows from what packs said.
pub(super) async fn conclude(
    cx: &Ctx,
    settings: &PolicySettings,
    said: Vec<(PackUse, Evaluation)>,
    project: &str,
    environment: &str,
) -> Result<PolicyGate, Fault> {
    let now = cx.now();
    let exempt = if said.iter().all(|(_, evaluation)| evaluation.findings.is_empty()) {
        Vec::new()
    } else {
        cx.store.read().await?.active_exemptions(project, environment, now).await?
    };
    let asked = !said.is_empty();
    let mut packs = Vec::new();
    let mut all = Vec::new();
    for (pack, evaluation) in said {
        packs.push((pack.clone(), evaluation.pack_digest));
        let mut findings = evaluation.findings;
        exemption::apply(&mut findings, &exempt, project, environment, now);
        all.push(PackSaid { pack, findings, left_off: evaluation.left_off });
    }
    let mut judgement = judge(settings, all);
    // Counted over what is left: what an operator switched off needs no exemption.
    let exemptions = exemption::apply(&mut judgement.findings, &exempt, project, environment, now);
    let detail = if asked { judgement.detail } else { "No policy is asked here.".to_owned() };
    Ok(PolicyGate {
        result: GateResult { gate: GateKind::Policy, verdict: judgement.verdict, detail },
        findings: judgement.findings,
        roles: judgement.roles,
        holds_until: exemption::earliest_expiry(&exemptions),
        exemptions,
        packs,
    })
}
