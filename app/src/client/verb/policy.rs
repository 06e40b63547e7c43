//! `slipway policies` and `slipway exemptions`.

use std::path::Path;

use slipway_domain::Code;
use slipway_domain::exemption::NewExemption;
use slipway_domain::fault::Fault;
use slipway_domain::policy::{PolicyModule, PolicyVersion};
use slipway_domain::tree::{Entry, Tree};
use slipway_services::policy::{Checked, DryRunRequest, NamedPack, check_tree, tree_limits};

use super::show::more;
use super::{Desk, Items};
use crate::cli::{ExemptionVerb, PolicyVerb};
use crate::client::error::{ClientError, Problem};
use crate::client::exit::Exit;
use crate::client::http::{ExemptionQuery, mint_idempotency_key};
use crate::client::view;

/// `slipway policies`.
pub(super) async fn policies(
    desk: &Desk<'_>,
    verb: Option<PolicyVerb>,
) -> Result<Exit, ClientError> {
    match verb.unwrap_or(PolicyVerb::List) {
        PolicyVerb::List => {
            let packs = desk.client.policies().await?;
            desk.screen
                .result(&Items { items: &packs }, |_| view::policies(&packs, Desk::now()))?;
        }
        PolicyVerb::Show { name, at, source } => show(desk, &name, at, source).await?,
        PolicyVerb::Push { dir, name } => {
            let name = match name {
                Some(name) => name,
                None => name_of(&dir)?,
            };
            let archive = read(&dir).await?.to_tar_gz()?;
            let version = desk.client.push_policy(&name, archive, &mint_idempotency_key()).await?;
            desk.screen.result(&version, |_| told(&version))?;
        }
        PolicyVerb::Test { dir } => {
            let version = check(&dir).await?.version(&name_of(&dir).unwrap_or_default(), 0);
            desk.screen.result(&version, |_| {
                let count = version.tests_passed;
                format!(
                    "The pack is good: {} files, {} rules, {count} tests passed.\n",
                    version.files.len(),
                    version.rules.len()
                )
            })?;
        }
        PolicyVerb::DryRun { pack, at, dir, project, env, last, deployment } => {
            let modules = match dir {
                Some(dir) => Some(check(&dir).await?.modules()),
                None => None,
            };
            let request = DryRunRequest {
                pack: pack.map(|name| NamedPack { name, version: at }),
                modules,
                deployments: (!deployment.is_empty()).then_some(deployment),
                project,
                environment: env,
                last,
                settings: slipway_domain::policy::RuleSettings::default(),
            };
            let run = desk.client.dry_run(&request).await?;
            desk.screen.result(&run, |_| view::dry_run(&run))?;
        }
    }
    Ok(Exit::Success)
}

fn told(version: &PolicyVersion) -> String {
    format!(
        "{} is at version {} ({} rules, {} tests passed).\n",
        version.name,
        version.version,
        version.rules.len(),
        version.tests_passed
    )
}

async fn show(
    desk: &Desk<'_>,
    name: &str,
    at: Option<i32>,
    source: bool,
) -> Result<(), ClientError> {
    let version = match at {
        Some(number) => desk.client.policy_version(name, number).await?,
        None => desk.client.policy(name).await?.latest,
    };
    if !source {
        desk.screen.result(&version, |_| view::policy_version(&version))?;
        return Ok(());
    }
    let modules: Vec<PolicyModule> = desk.client.policy_source(name, version.version).await?;
    desk.screen.result(&Items { items: &modules }, |_| view::modules(&modules))?;
    Ok(())
}

/// The name of a directory, for its pack.
fn name_of(dir: &Path) -> Result<String, ClientError> {
    let named = dir.canonicalize().ok();
    let name = named.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    name.map(str::to_owned)
        .ok_or_else(|| ClientError::Input(format!("{} has no name; give --name", dir.display())))
}

/// The Rego files of a directory. Others stay where they are.
async fn read(dir: &Path) -> Result<Tree, ClientError> {
    let dir = dir.to_owned();
    let done = tokio::task::spawn_blocking(move || {
        let shown = dir.display().to_string();
        if !dir.is_dir() {
            return Err(ClientError::Input(format!("{shown} is not a directory")));
        }
        let wrong = |why| ClientError::Source { path: shown.clone(), why };
        let tree = Tree::from_directory(&dir, tree_limits()).map_err(wrong)?;
        let mut rego = Tree::new();
        for (path, entry) in tree.entries() {
            if let (true, Entry::File { content, .. }) = (path.ends_with(".rego"), entry) {
                rego.add_file(path, content.clone(), false).map_err(wrong)?;
            }
        }
        if rego.is_empty() {
            return Err(ClientError::Input(format!("{shown} holds no files called *.rego")));
        }
        Ok(rego)
    });
    done.await.map_err(|e| ClientError::Input(format!("reading stopped: {e}")))?
}

/// Checks a directory as the server would.
async fn check(dir: &Path) -> Result<Checked, ClientError> {
    let tree = read(dir).await?;
    let done = tokio::task::spawn_blocking(move || check_tree(&tree)).await;
    done.map_err(|e| ClientError::Input(format!("checking stopped: {e}")))?.map_err(refused)
}

/// The refusal of a check that was made here, as the server would have said it.
fn refused(fault: Fault) -> ClientError {
    let status = if fault.code == Code::Internal { 500 } else { 422 };
    ClientError::Refused(Box::new(Problem {
        status,
        code: fault.code.as_str().to_owned(),
        title: fault.code.title().to_owned(),
        detail: fault.detail,
        errors: fault.errors,
        ..Problem::default()
    }))
}

/// `slipway exemptions`.
pub(super) async fn exemptions(desk: &Desk<'_>, verb: ExemptionVerb) -> Result<Exit, ClientError> {
    match verb {
        ExemptionVerb::List { project, env, rule, state, limit } => {
            let query = ExemptionQuery { project, environment: env, rule, state };
            let page = desk.client.exemptions(&query, limit).await?;
            desk.screen.result(&page, |_| {
                view::exemptions(&page.items, Desk::now()) + more(page.next_cursor.is_some())
            })?;
        }
        ExemptionVerb::Add { rule, address, project, env, reason, owner, days } => {
            let request = NewExemption {
                rule,
                address,
                project,
                environment: env,
                reason,
                owner,
                // The server's clock may be a little behind.
                expires_at: Desk::now() + chrono::Duration::days(days)
                    - chrono::Duration::minutes(1),
            };
            let one = desk.client.grant_exemption(&request, &mint_idempotency_key()).await?;
            desk.screen
                .result(&one, |_| view::exemptions(std::slice::from_ref(&one), Desk::now()))?;
        }
        ExemptionVerb::Revoke { exemption, reason } => {
            let one = desk.client.revoke_exemption(exemption, reason.as_deref()).await?;
            desk.screen
                .result(&one, |_| view::exemptions(std::slice::from_ref(&one), Desk::now()))?;
        }
    }
    Ok(Exit::Success)
}
