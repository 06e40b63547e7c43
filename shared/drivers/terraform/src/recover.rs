//! Finds out what a lost apply did, and plans what is left of it. Changes nothing in the world: it
//! reads, compares and plans, and takes the mark from what is tainted and what a person has found to
//! be whole. What is left goes on under the old approval only if it is proved to be inside of what was
//! approved; what was made and lost is taken in only by a new approval; and where nobody knows what
//! happened, it asks.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use slipway_domain::deployment::Approval;
use slipway_domain::event::ResourceStatus;
use slipway_domain::plan::{Action, Binding, Diagnostic, ResourceChange};
use slipway_domain::port::driver::{
    AfterRecovery, Applied, DriverError, Planned, RecoverInput, Recovered, Run, StateBlob,
};
use slipway_domain::recovery::{InDoubt, JournalEntry, RecoveryReport};
use slipway_domain::tree::Tree;
use slipway_process::{self as process, Stdout, Stops};

use crate::context::{Context, Keeping};
use crate::hcl::Backend;
use crate::host::Host;
use crate::init::{self, Ready};
use crate::journal::{Entry, Journal, Phase};
use crate::plan::{self, Fresh, Goal, Inputs, Laid};
use crate::recovery::{Address, Facts, Import, Judgement, import_file, judge};
use crate::stream::{self, Ears};
use crate::subset::{self, Carry, Document, RunKey, prove};
use crate::workspace::{Workspace, blocking, write_private};
use crate::{failure, state};

const STEP: &str = "recover";
/// Largest state of a backend of the configuration's own, in bytes.
const MAX_STATE_BYTES: usize = 256 << 20;

/// What is laid out in the workspace.
struct Site {
    laid: Laid,
    context: Context,
    lock_file: Option<Bytes>,
}

/// What the proof needs beside the two plans.
struct Case {
    journal: Journal,
    approved: Document,
    binding: Binding,
    variables_digest: String,
    operation: String,
    carries: u32,
    key: RunKey,
    state: Option<StateBlob>,
}

pub(crate) async fn recover(
    host: &Host,
    run: &dyn Run,
    mut input: RecoverInput,
) -> Result<Recovered, DriverError> {
    failure::asked_before(run)?;
    if input.approved.tool != host.tool {
        return Err(DriverError::permanent(format!(
            "the approved plan was made by {} and this worker has {}, which cannot read it: run the \
             recovery on a worker with {0}",
            input.approved.tool, host.tool
        )));
    }
    stream::step(run, STEP, None);
    let source = input.source.clone();
    let mut site = {
        let (host, top) = (host.clone(), run.workspace().to_path_buf());
        let (context, plan_file) =
            (std::mem::take(&mut input.context), std::mem::take(&mut input.plan_file));
        let inputs = Inputs {
            root: input.root,
            variables: std::mem::take(&mut input.variables),
            state: input.state.clone(),
        };
        let source = input.source;
        blocking(move || lay(&host, &top, &source, &context, &plan_file, inputs)).await?
    };
    run.hide(host.env.secrets());
    run.hide(site.context.secrets.clone());
    run.hide(site.laid.secrets.clone());
    run.source_laid(site.laid.workspace.source(), site.laid.workspace.root());
    let ws = &site.laid.workspace.clone();
    let ready = prepare(host, run, &site).await?;
    let json = plan::show(host, run, ws, &ws.approved_plan_file()).await?;
    let approved = blocking(move || {
        Document::read(&json).map_err(|why| {
            DriverError::permanent(format!(
                "what the lost apply did cannot be compared with what was approved: {why}"
            ))
        })
    })
    .await?;
    let own = site.laid.keeping.is_own();
    let state = match (&site.laid.keeping, &input.state) {
        (Keeping::Backend(_), _) => pull_state(host, run, ws).await?,
        (Keeping::Slipway(_), state) => state.as_ref().map(|state| state.content.clone()),
    };
    let mut case = Case {
        journal: journal(input.journal),
        approved,
        binding: input.approved,
        variables_digest: input.variables_digest,
        operation: input.operation.as_str().to_owned(),
        carries: input.carries,
        key: RunKey::new(input.key),
        state: input.state,
    };
    let configuration = site.laid.configuration.as_ref();
    // Of one that is not understood nothing is known.
    let declared = |address: &Address| {
        configuration.is_none_or(|of| of.may_import(&address.kind, &address.name))
    };
    let judged = judge(Facts {
        journal: &case.journal,
        state: state.as_deref().filter(|state| !state.is_empty()),
        approved: &case.approved,
        collected: input.collected,
        resolutions: &input.resolutions,
        knows_imports: host.knows_imports(),
        declared: &declared,
    });
    let mut judged = judged.map_err(|why| DriverError::permanent(why.to_string()))?;
    for unused in &judged.unused {
        stream::say(run, host.clock.as_ref(), STEP, unused.clone());
    }
    if let Keeping::Backend(kind) = &site.laid.keeping {
        judged.report.refusals.push(own_backend(kind));
    }
    if !judged.report.in_doubt.is_empty() {
        judged.report.refusals.append(&mut judged.unused);
        return Ok(Recovered { report: judged.report, next: AfterRecovery::Ask });
    }

    if let Some(marked) = untaint(host, run, &mut site.laid, &judged.untaint).await? {
        case.state = Some(marked);
    }
    let imports = imports(&judged.report.imports);
    if let Some(content) = import_file(&imports) {
        let file = import_place(ws, &source);
        blocking(move || write_private(&file, content.as_bytes())).await?;
    }
    let goal = Goal { operation: input.operation, replace: &judged.replace, refresh_only: false };
    let fresh = match plan::make(host, run, &site.laid, &goal, ready).await {
        Ok(fresh) => fresh,
        // Most likely an id by which its provider imports nothing. A person may know a better one.
        Err(DriverError::Permanent { summary, diagnostics }) if !imports.is_empty() => {
            not_imported(&mut judged.report, &summary, &diagnostics);
            judged.report.refusals.append(&mut judged.unused);
            return Ok(Recovered { report: judged.report, next: AfterRecovery::Ask });
        }
        Err(error) => return Err(error),
    };
    made_twice(&mut judged, &fresh.planned.changes);
    if !judged.report.in_doubt.is_empty() {
        judged.report.refusals.append(&mut judged.unused);
        return Ok(Recovered { report: judged.report, next: AfterRecovery::Ask });
    }
    conclude(run, own, case, judged, fresh).await
}

/// Writes everything to its place. Blocking.
fn lay(
    host: &Host,
    top: &std::path::Path,
    source: &Tree,
    context: &[u8],
    plan_file: &[u8],
    inputs: Inputs,
) -> Result<Site, DriverError> {
    let workspace = Workspace::new(top, inputs.root.as_deref())?;
    workspace.write_source(source)?;
    let (context, lock_file) = Context::unpack(context, &workspace)?;
    write_private(&workspace.approved_plan_file(), plan_file)?;
    let mut laid = plan::lay(host, workspace, source, inputs)?;
    // What was installed for the approved plan is what the next apply looks for, too.
    if context.installed {
        laid.need.key.clone_from(&context.key);
    }
    Ok(Site { laid, context, lock_file })
}

/// Has just that installed that the approved plan was made with.
async fn prepare(host: &Host, run: &dyn Run, site: &Site) -> Result<Ready, DriverError> {
    let Site { laid, context, lock_file } = site;
    if !context.installed {
        return init::prepare(host, run, &laid.workspace, &laid.need, false).await;
    }
    let lock_file = lock_file.as_deref().unwrap_or_default();
    // To plan, unlike to apply a plan, the tool wants to know its backend.
    let backend = laid.configuration.as_ref().is_none_or(|c| c.backend != Backend::Unset);
    let key = context.key.as_deref();
    let ready = init::prepare_apply(host, run, &laid.workspace, key, lock_file, backend).await?;
    if let (Ready::Cached, Some(key)) = (ready, context.key.clone()) {
        let (host, workspace) = (host.clone(), laid.workspace.clone());
        blocking(move || {
            host.cache.restore_modules(&key, &workspace);
            Ok(())
        })
        .await?;
    }
    Ok(ready)
}

/// The state that a backend of the configuration's own keeps.
async fn pull_state(
    host: &Host,
    run: &dyn Run,
    ws: &Workspace,
) -> Result<Option<Bytes>, DriverError> {
    failure::asked_before(run)?;
    let command = host.command(run, ws, ["state", "pull"]);
    let mut ears = Ears::new(run, host.clock.as_ref(), ws, STEP);
    let ended =
        process::run(command, &Stops::of(run), Stdout::Keep(MAX_STATE_BYTES), &mut |s, l| {
            ears.hear(s, l);
        })
        .await
        .map_err(|failed| failure::of_process("backend's state", &failed))?;
    if ended.code != Some(0) || ended.asked.is_some() {
        return Err(failure::of_reading("reading of the backend's state", &ended, &ears));
    }
    let empty = ended.stdout.iter().all(u8::is_ascii_whitespace);
    Ok((!empty).then(|| ended.stdout.into()))
}

/// Takes the mark from what is tainted and whole, as a person said, in the state; the house keeps
/// the new version where it keeps the state. `None` when there is none of it.
async fn untaint(
    host: &Host,
    run: &dyn Run,
    laid: &mut Laid,
    addresses: &[String],
) -> Result<Option<StateBlob>, DriverError> {
    let ws = laid.workspace.clone();
    for address in addresses {
        failure::asked_before(run)?;
        let locks = if laid.keeping.is_own() { "-lock-timeout=60s" } else { "-lock=false" };
        // Done already, when this was cut off after it.
        let command = host.command(run, &ws, ["untaint", locks, "-allow-missing", "--", address]);
        let mut ears = Ears::new(run, host.clock.as_ref(), &ws, STEP);
        let ended = process::run(command, &Stops::of(run), Stdout::Lines, &mut |s, l| {
            ears.hear(s, l);
        })
        .await
        .map_err(|failed| failure::of_process("taking away of a mark", &failed))?;
        if ended.code != Some(0) || ended.asked.is_some() {
            return Err(failure::of_reading("taking away of a mark", &ended, &ears));
        }
    }
    let Some(path) = laid.keeping.path().filter(|_| !addresses.is_empty()) else { return Ok(None) };
    let file = ws.state_file(path);
    let content = blocking(move || Workspace::read(&file)).await?;
    let (_, blob) = content.and_then(state::blob).ok_or_else(|| {
        DriverError::permanent("the state cannot be read any more after a mark was taken away")
    })?;
    run.save_state(blob.clone()).await?;
    laid.restate(&blob);
    Ok(Some(blob))
}

/// What would be taken into the state only to be made anew at once: made twice, and by a plan that
/// looks as if it takes things in. Nobody has asked for that.
fn made_twice(judged: &mut Judgement, changes: &[ResourceChange]) {
    let anew = |change: &&ResourceChange| {
        matches!(change.action, Action::DeleteThenCreate | Action::CreateThenDelete)
            && judged.unasked.contains(&change.address)
    };
    let anew: Vec<String> = changes.iter().filter(anew).map(|c| c.address.clone()).collect();
    for address in anew {
        let id = judged.report.imports.remove(&address);
        judged.report.in_doubt.push(InDoubt {
            detail: format!(
                "exists, and would be removed and made anew as soon as it is taken into the state: \
                 say \"exists\" with the id {} to have just that, or \"absent\" to leave it where \
                 it is and have another one made",
                id.as_deref().unwrap_or_default()
            ),
            address,
            action: Action::Create,
            resource_id: id,
        });
    }
}

fn journal(entries: Vec<JournalEntry>) -> Journal {
    let entries = entries.into_iter().map(|entry| Entry {
        address: entry.address,
        action: entry.action,
        phase: match entry.status {
            ResourceStatus::Started => Phase::Started,
            ResourceStatus::Completed => Phase::Completed,
            ResourceStatus::Errored => Phase::Failed,
        },
        id_key: entry.resource_id.as_ref().map(|_| entry.id_key.unwrap_or_else(|| "id".to_owned())),
        id_value: entry.resource_id,
    });
    Journal::new(entries.collect())
}

fn own_backend(kind: &str) -> String {
    format!(
        "the configuration names a backend of its own ({kind}): Slipway keeps no state of it and \
         cannot tell what wrote there, so what was found out is not certain, and nothing goes on \
         without a new approval"
    )
}

fn imports(of: &BTreeMap<String, String>) -> Vec<Import> {
    let each = of.iter();
    each.map(|(address, id)| Import { address: address.clone(), id: id.clone() }).collect()
}

/// A file of the root module that nobody has.
fn import_place(ws: &Workspace, source: &Tree) -> PathBuf {
    let root = ws.root();
    let mut name = "slipway-recovery".to_owned();
    let is_taken = |name: &str| {
        source.entries().any(|(path, _)| {
            let inner = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
            // OpenTofu passes over `x.tf` where there is `x.tofu`.
            inner.split('.').next() == Some(name)
        })
    };
    while is_taken(&name) {
        name.push('-');
    }
    ws.module().join(format!("{name}.tf"))
}

/// The plan that was to take things in failed: those that it complains about, or all, are in doubt.
fn not_imported(report: &mut RecoveryReport, summary: &str, diagnostics: &[Diagnostic]) {
    let named = |address: &str| diagnostics.iter().any(|d| d.address.as_deref() == Some(address));
    let any = report.imports.keys().any(|address| named(address));
    for (address, id) in std::mem::take(&mut report.imports) {
        if any && !named(&address) {
            continue;
        }
        report.in_doubt.push(InDoubt {
            address,
            action: Action::Create,
            detail: format!(
                "may exist, and could not be taken into the state by the id {id}: {summary}; say \
                 \"exists\" with another id, or \"absent\" to have it made anew"
            ),
            resource_id: Some(id),
        });
    }
}

/// Decides what follows from a plan of what is left.
async fn conclude(
    run: &dyn Run,
    own: bool,
    case: Case,
    judged: Judgement,
    fresh: Fresh,
) -> Result<Recovered, DriverError> {
    let Judgement { mut report, settled, mut unused, .. } = judged;
    let Fresh { planned, json } = fresh;
    if planned.no_changes {
        let next = AfterRecovery::Finished(finished(own, case.state.as_ref(), planned));
        return Ok(Recovered { report, next });
    }
    if own {
        report.refusals.append(&mut unused);
        return Ok(Recovered { report, next: AfterRecovery::Propose(Box::new(planned)) });
    }
    let binding = subset::bound(&planned, &case.variables_digest, &case.operation);
    let redactor = run.redactor();
    let proved = blocking(move || {
        let fresh = match Document::read(&json) {
            Ok(fresh) => fresh,
            Err(why) => return Ok(Err(vec![why.to_string()])),
        };
        // What stopped the last apply was the end of its worker.
        let (number, max) = (case.carries.saturating_add(1), Approval::MAX_CARRIES);
        let carry = Carry { number, max, retryable: true };
        let proved = prove(
            subset::Planned { binding: &case.binding, document: &case.approved },
            subset::Planned { binding: &binding, document: &fresh },
            &case.journal,
            carry,
            &case.key,
            &redactor,
        );
        Ok(proved.map_err(|refused| refused.lines()))
    })
    .await?;
    let next = match proved {
        Ok(inside)
            if inside.rescued.is_empty()
                && inside.in_doubt.iter().all(|address| settled.contains(address)) =>
        {
            AfterRecovery::Continue(Box::new(planned))
        }
        Ok(inside) => {
            let taken_in = inside.rescued.iter();
            let lines = taken_in.map(|address| {
                format!(
                    "{address}: is taken into the state, which was not part of what was approved"
                )
            });
            report.refusals.extend(lines);
            let twice = inside.in_doubt.iter().filter(|address| !settled.contains(*address));
            let lines = twice.map(|address| format!("{address}: may exist, and would exist twice"));
            report.refusals.extend(lines);
            AfterRecovery::Propose(Box::new(planned))
        }
        Err(refusals) => {
            report.refusals.extend(refusals);
            AfterRecovery::Propose(Box::new(planned))
        }
    };
    if matches!(next, AfterRecovery::Propose(_)) {
        report.refusals.append(&mut unused);
    }
    Ok(Recovered { report, next })
}

/// Nothing is left: what the state says is the result.
fn finished(own: bool, kept: Option<&StateBlob>, planned: Planned) -> Applied {
    let read = kept.filter(|_| !own).and_then(|kept| state::read(&kept.content));
    match read {
        Some(state) => Applied { outputs: state.outputs, state: state.mark },
        None => Applied { outputs: planned.current_outputs, state: planned.state },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_imports_are_in_a_file_that_nobody_has() {
        let dir = tempfile::tempdir().unwrap();
        let place = |root: Option<&str>, files: &[&str]| {
            let mut tree = Tree::new();
            for file in files {
                tree.add_file(file, "", false).unwrap();
            }
            let ws = Workspace::new(dir.path(), root).unwrap();
            let place = import_place(&ws, &tree);
            assert_eq!(place.parent(), Some(ws.module()));
            place.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(place(None, &["main.tf"]), "slipway-recovery.tf");
        assert_eq!(place(None, &["slipway-recovery.tf.json"]), "slipway-recovery-.tf");
        let both = ["a/b/slipway-recovery.tofu", "a/b/slipway-recovery-.tf"];
        assert_eq!(place(Some("a/b/"), &both), "slipway-recovery--.tf");
        assert_eq!(place(Some("a"), &both), "slipway-recovery.tf");
        assert_eq!(place(Some("./a/b"), &both), "slipway-recovery--.tf");
    }

    #[test]
    fn what_could_not_be_taken_in_is_what_the_tool_complains_of_or_all() {
        let report = || RecoveryReport {
            collected: true,
            done: Vec::new(),
            lost: Vec::new(),
            in_doubt: Vec::new(),
            tainted: Vec::new(),
            failed: Vec::new(),
            untouched: Vec::new(),
            imports: [("t.a".to_owned(), "1".to_owned()), ("t.b".to_owned(), "2".to_owned())]
                .into(),
            refusals: Vec::new(),
        };
        let mut one = report();
        let mut complaint = Diagnostic::error("no such thing", "");
        complaint.address = Some("t.b".to_owned());
        not_imported(&mut one, "the plan failed", &[complaint]);
        assert_eq!(one.in_doubt.len(), 1);
        assert_eq!(one.in_doubt[0].address, "t.b");
        assert!(one.in_doubt[0].detail.contains("by the id 2: the plan failed"), "{one:?}");
        let mut all = report();
        not_imported(&mut all, "the plan failed", &[Diagnostic::error("what?", "")]);
        assert_eq!(all.in_doubt.len(), 2);
        assert!(all.imports.is_empty());
    }
}
