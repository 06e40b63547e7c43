//! Makes a plan: source → workspace → init if it must → `plan -json -out` → `show -json`.

use std::path::Path;

use bytes::Bytes;
use slipway_domain::artifact::digest;
use slipway_domain::deployment::{Operation, Variables};
use slipway_domain::plan::{Diagnostic, Severity, StateMark};
use slipway_domain::port::driver::{
    DriverError, Fetched, PlanInput, Planned, Run, SourceInput, StateBlob,
};
use slipway_domain::redact::Redactor;
use slipway_domain::tree::Tree;
use slipway_process::{self as process, Stdout, Stops};

use crate::context::{Context, Keeping};
use crate::equality::{self, Asked};
use crate::failure;
use crate::hcl::{self, Configuration};
use crate::host::{Host, Supply};
use crate::init::{self, Need, Ready};
use crate::show::{self, Shown};
use crate::stream::{self, Ears};
use crate::toolbox::Toolbox;
use crate::workspace::{Workspace, blocking, write_private};
use crate::{git, state};

/// Largest JSON form of a plan, in bytes.
const MAX_SHOW_BYTES: usize = 256 << 20;

/// What a plan is made from, laid out in the workspace.
pub(crate) struct Laid {
    pub(crate) workspace: Workspace,
    pub(crate) configuration: Option<Configuration>,
    pub(crate) need: Need,
    pub(crate) keeping: Keeping,
    pub(crate) has_variables: bool,
    source_digest: String,
    mark: StateMark,
    /// What the configuration and the state hold in secret.
    pub(crate) secrets: Vec<String>,
}

/// What a plan is made from, beside the tree.
pub(crate) struct Inputs {
    pub(crate) root: Option<String>,
    pub(crate) variables: Variables,
    pub(crate) state: Option<StateBlob>,
}

/// What is planned.
pub(crate) struct Goal<'a> {
    pub(crate) operation: Operation,
    /// Addresses of what is made anew in any case.
    pub(crate) replace: &'a [String],
    /// Only look what is other than the state says. Without any lock.
    pub(crate) refresh_only: bool,
}

impl Laid {
    /// Has a plan of this be made against another version of the state, which is in its place.
    pub(crate) fn restate(&mut self, state: &StateBlob) {
        self.mark = state.mark.clone();
    }

    /// The state that a plan of this is made against; the default where Slipway does not keep it.
    pub(crate) fn made_from(&self) -> StateMark {
        if self.keeping.is_own() { StateMark::default() } else { self.mark.clone() }
    }
}

/// What the tool said of a plan that it made.
pub(crate) struct Made {
    /// Whether there is something in it.
    pub(crate) changed: bool,
    pub(crate) warnings: Vec<Diagnostic>,
    /// How what it needs came to be installed.
    pub(crate) ready: Ready,
}

/// A plan that was made.
pub(crate) struct Fresh {
    pub(crate) planned: Planned,
    /// Its JSON form, with all of its secrets.
    pub(crate) json: Bytes,
}

pub(crate) async fn plan(
    tools: &Toolbox,
    run: &dyn Run,
    mut input: PlanInput,
) -> Result<Planned, DriverError> {
    failure::asked_before(run)?;
    run.hide(tools.default().env.secrets());
    let (tree, fetched) = source(tools.default(), run, &mut input).await?;
    let (host, tree) = {
        let (tools, choice, root) = (tools.clone(), input.tool.take(), input.root.clone());
        blocking(move || {
            let host = tools.choose(choice.as_ref(), &tree, root.as_deref())?.clone();
            Ok((host, tree))
        })
        .await?
    };
    let host = &host;
    tracing::Span::current().record("tool", tracing::field::display(&host.tool));
    let goal = Goal { operation: input.operation, replace: &[], refresh_only: false };
    let approved = input.approved.take();
    let laid = {
        let (host, top) = (host.clone(), run.workspace().to_path_buf());
        let inputs = Inputs { root: input.root, variables: input.variables, state: input.state };
        blocking(move || {
            let workspace = Workspace::new(&top, inputs.root.as_deref())?;
            workspace.write_source(&tree)?;
            lay(&host, workspace, &tree, inputs)
        })
        .await?
    };
    run.hide(laid.secrets.clone());
    run.source_laid(laid.workspace.source(), laid.workspace.root());
    if let Keeping::Backend(kind) = &laid.keeping {
        let text = format!(
            "The configuration names a backend of its own ({kind}): it keeps the state, and Slipway \
             keeps no copy of it."
        );
        stream::say(run, host.clock.as_ref(), "plan", text);
    }
    let ready = init::prepare(host, run, &laid.workspace, &laid.need, false).await?;
    let fresh = make(host, run, &laid, &goal, ready).await?;
    let equality = match approved {
        // Nothing to do is nothing to approve.
        Some(approved) if !fresh.planned.no_changes => {
            let asked = Asked { approved: *approved, operation: input.operation };
            Some(equality::compare(host, run, &laid, asked, &fresh).await?)
        }
        _ => None,
    };
    Ok(Planned { fetched, equality, ..fresh.planned })
}

/// Makes a plan of what is laid out and ready.
pub(crate) async fn make(
    host: &Host,
    run: &dyn Run,
    laid: &Laid,
    goal: &Goal<'_>,
    ready: Ready,
) -> Result<Fresh, DriverError> {
    let ws = &laid.workspace;
    let Made { changed, warnings, ready } = run_plan(host, run, laid, goal, ready).await?;
    let json = show(host, run, ws, &ws.plan_file()).await?;
    let (shown, json) = read(json, run.redactor()).await?;
    let json = Bytes::from(json);
    let Shown { changes, outputs, drift, planned_outputs, sensitive_variables, marked } = shown;
    run.hide(marked.clone());
    let files = files(laid, marked, ready != Ready::NotNeeded).await?;
    let planned = Planned {
        tool: host.tool.clone(),
        no_changes: !changed,
        changes,
        outputs,
        drift,
        warnings,
        plan_file: files.plan,
        lock_file_digest: files.lock.as_deref().map(digest),
        context: files.context,
        source_digest: laid.source_digest.clone(),
        fetched: None,
        state: laid.made_from(),
        sensitive_variables,
        current_outputs: if changed { Vec::new() } else { planned_outputs },
        document: json.clone(),
        equality: None,
    };
    Ok(Fresh { planned, json })
}

/// Has the tool make a plan of what is laid out and ready; installs anew what turns out not to fit.
pub(crate) async fn run_plan(
    host: &Host,
    run: &dyn Run,
    laid: &Laid,
    goal: &Goal<'_>,
    mut ready: Ready,
) -> Result<Made, DriverError> {
    let ws = &laid.workspace;
    loop {
        let mut ears = Ears::new(run, host.clock.as_ref(), ws, "plan");
        let ended = execute(host, run, laid, goal, &mut ears).await?;
        match ended.code {
            Some(code @ (0 | 2)) if ended.asked.is_none() => {
                ears.publish();
                let warnings = warnings(ears.diagnostics);
                return Ok(Made { changed: code == 2, warnings, ready });
            }
            _ if ready != Ready::Ran
                && ended.asked.is_none()
                && failure::wants_init(&ears.diagnostics) =>
            {
                let text = "What was installed before does not fit the configuration; installing it \
                            anew.";
                stream::say(run, host.clock.as_ref(), "init", text);
                ready = init::prepare(host, run, ws, &laid.need, true).await?;
            }
            _ => {
                ears.publish();
                return Err(failure::of_reading("plan", &ended, &ears));
            }
        }
    }
}

fn warnings(diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.into_iter().filter(|d| d.severity == Severity::Warning).collect()
}

/// The source tree; fetched first if it is in a repository.
async fn source(
    host: &Host,
    run: &dyn Run,
    input: &mut PlanInput,
) -> Result<(Tree, Option<Fetched>), DriverError> {
    let source = std::mem::replace(&mut input.source, SourceInput::Tree(Tree::new()));
    match source {
        SourceInput::Tree(tree) => Ok((tree, None)),
        SourceInput::Git { url, reference, path } => {
            let (tree, commit) = git::fetch(host, run, &url, reference.as_deref()).await?;
            if path.is_some() {
                input.root = path;
            }
            let packed = tree.clone();
            let archive = blocking(move || packed.to_tar_gz().map_err(crate::workspace::trouble));
            Ok((tree, Some(Fetched { archive: archive.await?, commit })))
        }
    }
}

/// Writes everything but the source tree, which is in its place, to its own. Blocking.
pub(crate) fn lay(
    host: &Host,
    workspace: Workspace,
    tree: &Tree,
    input: Inputs,
) -> Result<Laid, DriverError> {
    // A configuration that our reader refuses may still be one to Terraform, which then has the
    // last word: nothing is skipped for it.
    let configuration = match hcl::load(tree, input.root.as_deref(), host.dialect()) {
        Ok(configuration) => Some(configuration),
        Err(problems) => {
            if let Some(missing) = problems.iter().find(|p| p.file.is_none()) {
                return Err(DriverError::permanent(missing.detail.clone()));
            }
            tracing::info!(problems = problems.len(), "the configuration was not understood");
            None
        }
    };
    if let Some(configuration) = &configuration {
        check(configuration, &input.variables)?;
    }
    let backend = configuration.as_ref().map(|c| c.backend.clone()).unwrap_or_default();
    let keeping = Keeping::of(&backend)?;
    let mut state_providers = Vec::new();
    let mut secrets = configuration.as_ref().map(Configuration::secrets).unwrap_or_default();
    if let Some(blob) = &input.state {
        secrets.extend(state::secrets(&blob.content));
    }
    if let (Some(path), Some(blob)) = (keeping.path(), &input.state) {
        write_private(&workspace.state_file(path), &blob.content)?;
        if let Some(state) = state::read(&blob.content) {
            state_providers = state.providers.into_iter().collect();
        }
    }
    write_private(&workspace.cli_config(), host.cli_config(Supply::Source).as_bytes())?;
    let has_variables = workspace.write_variables(&input.variables)?;
    let need = init::need(host, &workspace, configuration.as_ref(), &state_providers)?;
    Ok(Laid {
        workspace,
        configuration,
        need,
        keeping,
        has_variables,
        source_digest: tree.digest(),
        mark: input.state.map(|state| state.mark).unwrap_or_default(),
        secrets,
    })
}

/// Variables that do not fit: Terraform would only warn about a name that it does not know, and
/// plan without the value that somebody meant to give.
fn check(configuration: &Configuration, variables: &Variables) -> Result<(), DriverError> {
    let problems = hcl::check(&configuration.inspection().inputs, variables);
    if problems.is_empty() {
        return Ok(());
    }
    let diagnostics: Vec<Diagnostic> = problems
        .into_iter()
        .map(|p| Diagnostic::error("The variables do not fit the configuration", p.detail))
        .collect();
    let summary = match diagnostics.as_slice() {
        [one] => format!("the variables do not fit the configuration: {}", one.detail),
        many => format!("{} variables do not fit the configuration", many.len()),
    };
    Err(DriverError::Permanent { summary, diagnostics })
}

async fn execute(
    host: &Host,
    run: &dyn Run,
    laid: &Laid,
    goal: &Goal<'_>,
    ears: &mut Ears<'_>,
) -> Result<process::Ended, DriverError> {
    failure::asked_before(run)?;
    stream::step(run, "plan", None);
    let option = |name: &str, path: std::path::PathBuf| {
        let mut option = std::ffi::OsString::from(name);
        option.push(path);
        option
    };
    let mut args: Vec<std::ffi::OsString> =
        ["plan", "-json", "-input=false", "-detailed-exitcode"].map(Into::into).into();
    args.push(option("-out=", laid.workspace.plan_file()));
    // A state of this job alone needs no lock; that of a backend may be in use by others.
    let locks = laid.keeping.is_own() && !goal.refresh_only;
    args.push(if locks { "-lock-timeout=60s" } else { "-lock=false" }.into());
    if goal.refresh_only {
        args.push("-refresh-only".into());
    }
    if laid.has_variables {
        args.push(option("-var-file=", laid.workspace.variables_file()));
    }
    if goal.operation == Operation::Destroy {
        args.push("-destroy".into());
    }
    args.extend(goal.replace.iter().map(|address| format!("-replace={address}").into()));
    if let Some(parallelism) = host.parallelism {
        args.push(format!("-parallelism={parallelism}").into());
    }
    let command = host.command(run, &laid.workspace, args);
    let ended =
        process::run(command, &Stops::of(run), Stdout::Lines, &mut |s, line| ears.hear(s, line))
            .await
            .map_err(|failed| failure::of_process("plan", &failed))?;
    run.measured(ended.measure);
    Ok(ended)
}

/// The JSON form of a plan file. Holds secrets.
pub(crate) async fn show(
    host: &Host,
    run: &dyn Run,
    ws: &Workspace,
    plan_file: &Path,
) -> Result<Vec<u8>, DriverError> {
    failure::asked_before(run)?;
    stream::step(run, "show", None);
    let command = host.command(
        run,
        ws,
        [std::ffi::OsStr::new("show"), "-json".as_ref(), plan_file.as_os_str()],
    );
    let mut ears = Ears::new(run, host.clock.as_ref(), ws, "show");
    let ended =
        process::run(command, &Stops::of(run), Stdout::Keep(MAX_SHOW_BYTES), &mut |s, l| {
            ears.hear(s, l);
        })
        .await
        .map_err(|failed| failure::of_process("plan's JSON form", &failed))?;
    if ended.code != Some(0) || ended.asked.is_some() {
        return Err(failure::of_reading("reading of the plan", &ended, &ears));
    }
    Ok(ended.stdout)
}

async fn read(json: Vec<u8>, redactor: Redactor) -> Result<(Shown, Vec<u8>), DriverError> {
    blocking(move || match show::read(&json, &redactor) {
        Ok(shown) => Ok((shown, json)),
        Err(error) => Err(unreadable(&error)),
    })
    .await
}

/// A plan's JSON form could not be read. The error's own text may quote a value.
pub(crate) fn unreadable(error: &serde_json::Error) -> DriverError {
    let (line, column) = (error.line(), error.column());
    DriverError::permanent(format!(
        "the plan's JSON form could not be read (line {line}, column {column})"
    ))
}

struct Files {
    plan: Bytes,
    lock: Option<Bytes>,
    context: Bytes,
}

/// What the plan left behind.
async fn files(laid: &Laid, marked: Vec<String>, installed: bool) -> Result<Files, DriverError> {
    let ws = laid.workspace.clone();
    let ephemeral = laid
        .configuration
        .as_ref()
        .map(|c| c.ephemeral().into_iter().map(str::to_owned).collect::<Vec<_>>());
    let context = Context::new(
        installed,
        laid.need.key.clone(),
        laid.keeping.clone(),
        ephemeral.unwrap_or_default(),
    );
    let own = laid.configuration.as_ref().map(Configuration::secrets).unwrap_or_default();
    let context = context.knowing(marked.into_iter().chain(own).collect());
    let remote = laid.configuration.as_ref().is_none_or(Configuration::remote_modules);
    blocking(move || {
        let plan = Workspace::read(&ws.plan_file())?
            .ok_or_else(|| DriverError::permanent("the tool made no plan file"))?;
        let lock = Workspace::read(&ws.lock_file())?;
        let context = context.pack(&ws, lock.as_ref(), remote && installed)?;
        Ok(Files { plan, lock, context })
    })
    .await
}
