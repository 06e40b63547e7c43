//! A pack tried on past plans, before it judges new ones.
//!
//! What is judged is the plan as everybody may see it, with its secrets masked. Terraform's own
//! document of a plan is not opened for it: a rule can print what it reads.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use slipway_domain::access::{Principal, Reach, Scope};
use slipway_domain::fault::{Code, Fault, FieldError, Kind};
use slipway_domain::id::DeploymentId;
use slipway_domain::page::PageRequest;
use slipway_domain::policy::{
    DryRun, DryRunResult, DryRunSkip, JudgedForm, PackMode, PackUse, PolicyModule, PolicySettings,
    RuleSettings,
};
use slipway_domain::stack::is_name;
use slipway_policy::Context;
use slipway_store::deployment::Filter;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::engine::{Ready, Subject, ask, conclude, engine, told};
use super::history::history;
use super::{UploadPolicy, check};
use crate::Ctx;
use crate::access::{self, read_deployment};
use crate::source::blocking;

/// Plans at most in one dry run.
pub const MAX_PLANS: usize = 50;
/// Time for all of them; those that are not reached are named.
const TIME: Duration = Duration::from_secs(20);
/// Findings of a plan that are told.
const MAX_FINDINGS: usize = 100;

/// A pack that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedPack {
    /// Its name.
    #[schema(example = "slipway/terraform")]
    pub name: String,
    /// Which version; the newest when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub version: Option<i32>,
}

/// What to try on what: either `pack` or `modules`, and either `deployments` or `project`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRunRequest {
    /// A pack that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<NamedPack>,
    /// The files of one that is not. They are checked like an upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 64)]
    pub modules: Option<Vec<PolicyModule>>,
    /// The newest plans of these deployments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 50)]
    pub deployments: Option<Vec<DeploymentId>>,
    /// The newest plans of this project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub project: Option<String>,
    /// Of these only those in this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub environment: Option<String>,
    /// How many of the project's; 20 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 50)]
    pub last: Option<u32>,
    /// What rules are told.
    #[serde(default)]
    pub settings: RuleSettings,
}

impl DryRunRequest {
    fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let mut wrong = |at: &str, why: String| problems.push(FieldError::at(at, why));
        if self.pack.is_some() == self.modules.is_some() {
            wrong("/pack", "name a pack, or send the files of one as modules".to_owned());
        }
        if self.deployments.is_some() == self.project.is_some() {
            wrong("/deployments", "name deployments, or a project".to_owned());
        }
        if self.deployments.as_ref().is_some_and(|d| d.is_empty() || d.len() > MAX_PLANS) {
            wrong("/deployments", format!("1 to {MAX_PLANS} deployments"));
        }
        if self.project.is_none() && (self.environment.is_some() || self.last.is_some()) {
            wrong("/project", "environment and last go with a project".to_owned());
        }
        for (at, name) in [("/project", &self.project), ("/environment", &self.environment)] {
            if name.as_ref().is_some_and(|name| !is_name(name)) {
                wrong(at, "lower-case letters, digits, '-' or '_'".to_owned());
            }
        }
        let most = u32::try_from(MAX_PLANS).unwrap_or(u32::MAX);
        if self.last.is_some_and(|last| !(1..=most).contains(&last)) {
            wrong("/last", format!("from 1 to {MAX_PLANS}"));
        }
        problems.extend(self.policy_settings().problems(""));
        problems
    }

    fn policy_settings(&self) -> PolicySettings {
        PolicySettings { settings: self.settings.clone(), ..PolicySettings::default() }
    }
}

/// Tries a pack on past plans. Changes nothing.
pub async fn dry_run(cx: &Ctx, who: &Principal, request: DryRunRequest) -> Result<DryRun, Fault> {
    who.need_somewhere(Scope::PoliciesRead)?;
    let reach = access::reach(who, Scope::DeploymentsRead)?;
    let problems = request.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    if let Some(project) = &request.project {
        access::project(who, project, Scope::DeploymentsRead)?;
    }
    let settings = request.policy_settings();
    let turn = Arc::new(cx.gathered.policies.turn().await?);
    let (pack, ready) = prepare(cx, &request, turn.clone()).await?;
    let pack_digest = match &ready {
        Ready::Engine(engine) => engine.digest().to_owned(),
        Ready::Broken(why) => return Err(Fault::field("/pack", why.clone())),
    };
    let wanted = wanted(cx, &request, &reach).await?;
    let begin = Instant::now();
    let mut run = DryRun { pack_digest, results: Vec::new(), skipped: Vec::new() };
    for id in wanted {
        let left = TIME.saturating_sub(begin.elapsed());
        let skip = |reason: String| DryRunSkip { deployment_id: id, reason };
        if left.is_zero() {
            let seconds = TIME.as_secs();
            run.skipped.push(skip(format!("The others took all of the {seconds} s.")));
            continue;
        }
        let mut tx = cx.store.read().await?;
        let record = match read_deployment(&mut tx, who, id, Scope::DeploymentsRead).await {
            Ok(record) => record,
            Err(fault) if matches!(fault.kind(), Kind::NotFound | Kind::Forbidden) => {
                run.skipped.push(skip(fault.detail));
                continue;
            }
            Err(fault) => return Err(fault),
        };
        let Some(plan) = tx.latest_plan(id).await?.map(|kept| kept.plan) else {
            run.skipped.push(skip("The deployment has no plan.".to_owned()));
            continue;
        };
        let history = history(&mut tx, &record).await?;
        drop(tx);
        let stack = record.deployment.stack;
        let subject = Subject {
            changes: Arc::new(plan.changes),
            terraform: None,
            context: Context {
                project: stack.project.clone(),
                environment: stack.environment.clone(),
                actor: json!(record.deployment.submitted_by),
                history,
                ..Context::default()
            },
        };
        let subject = told(subject, &settings)?;
        let asked = vec![(pack.clone(), ready.clone())];
        let said = ask(asked, subject, left, turn.clone()).await?;
        let more: usize = said.iter().map(|(_, evaluation)| evaluation.left_off).sum();
        let mut gate = conclude(cx, &settings, said, &stack.project, &stack.environment).await?;
        let left_off = more + gate.findings.len().saturating_sub(MAX_FINDINGS);
        gate.findings.truncate(MAX_FINDINGS);
        run.results.push(DryRunResult {
            deployment_id: id,
            plan_id: plan.id,
            plan_digest: plan.digest,
            form: JudgedForm::Normalised,
            verdict: gate.result.verdict,
            detail: gate.result.detail,
            findings: gate.findings,
            left_off: u32::try_from(left_off).unwrap_or(u32::MAX),
        });
    }
    Ok(run)
}

/// The pack that is tried.
async fn prepare(
    cx: &Ctx,
    request: &DryRunRequest,
    turn: impl Send + 'static,
) -> Result<(PackUse, Ready), Fault> {
    let enforced = |name: String, version| PackUse { name, version, mode: PackMode::Enforce };
    match (&request.pack, &request.modules) {
        (Some(pack), _) => engine(cx, &enforced(pack.name.clone(), pack.version)).await,
        (None, modules) => {
            let files = UploadPolicy { modules: modules.clone().unwrap_or_default() };
            let checked = blocking(move || {
                let _turn = turn;
                check::check_tree(&check::gather(files, "")?)
            })
            .await??;
            Ok((enforced("dry-run".to_owned(), None), Ready::Engine(checked.engine())))
        }
    }
}

/// The deployments whose plans are judged, each once.
async fn wanted(
    cx: &Ctx,
    request: &DryRunRequest,
    reach: &Reach,
) -> Result<Vec<DeploymentId>, Fault> {
    if let Some(named) = &request.deployments {
        let mut seen = std::collections::BTreeSet::new();
        return Ok(named.iter().copied().filter(|id| seen.insert(*id)).collect());
    }
    let filter = Filter {
        project: request.project.clone(),
        environment: request.environment.clone(),
        ..Filter::default()
    };
    let page = PageRequest { limit: slipway_domain::page::MAX_LIMIT, after: None };
    let newest = cx.store.read().await?.deployments(&filter, reach, page).await?;
    let planned = newest.into_iter().filter(|record| record.deployment.plan.is_some());
    let last = request.last.unwrap_or(20) as usize;
    Ok(planned.map(|record| record.deployment.id).take(last).collect())
}
