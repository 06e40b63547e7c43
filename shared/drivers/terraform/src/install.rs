//! Runs `init`. Providers come from the store that all jobs of the machine share; what it lacks is
//! brought into it by one job at a time, and the others take it from there.

use slipway_domain::plan::Diagnostic;
use slipway_domain::port::driver::{DriverError, Run, Stop};
use slipway_process::{self as process, Stdout, Stops};

use crate::allow;
use crate::cache::Wanted;
use crate::failure;
use crate::hcl;
use crate::host::{Host, Supply};
use crate::stream::{self, Ears};
use crate::workspace::{Workspace, blocking, trouble, write_private};

const STEP: &str = "init";
/// What of a job's modules is read to find the providers in them.
const MODULE_LIMITS: slipway_domain::tree::Limits =
    slipway_domain::tree::Limits { total_bytes: 256 << 20, entries: 20_000 };

/// A command that did not do.
struct Refused<'a> {
    error: DriverError,
    ears: Ears<'a>,
}

impl Refused<'_> {
    /// It is how the job ends.
    fn last(self) -> DriverError {
        self.ears.publish();
        self.error
    }
}

/// Runs `init` with what is wanted.
pub(crate) async fn install(
    host: &Host,
    run: &dyn Run,
    workspace: &Workspace,
    wanted: &Wanted,
    flags: &[&str],
) -> Result<(), DriverError> {
    if !host.has_store() {
        stream::step(run, STEP, Some("running"));
        return init(host, run, workspace, flags, Supply::Source).await.map_err(Refused::last);
    }
    let tried = try_store(host, run, workspace, wanted, flags).await?;
    if tried == Tried::Done {
        return Ok(());
    }
    let mut held = Vec::new();
    let mut locks: Vec<&str> =
        wanted.providers.iter().map(|(address, _)| address.as_str()).collect();
    if !wanted.complete {
        locks.push("~unknown");
    }
    // In the order of their names, as everybody takes them: nobody waits in a circle.
    locks.sort_unstable();
    for provider in locks {
        let name = format!("provider-{}", provider.replace('/', "+"));
        held.push(tokio::select! {
            one = host.cache.hold(&name) => one,
            _ = run.stopped(Stop::Gently) => return Err(DriverError::Stopped),
        });
    }
    // Whoever had the locks before may have brought just this.
    if tried == Tried::Not && try_store(host, run, workspace, wanted, flags).await? == Tried::Done {
        return Ok(());
    }
    stream::step(run, STEP, Some("downloading"));
    let supply = if wanted.archives { Supply::Source } else { Supply::StoreAndSource };
    match init(host, run, workspace, flags, supply).await {
        Ok(()) => {}
        // A lock file of another platform: what is unpacked in the store has no checksum there,
        // and only the archive itself can prove that it is right.
        Err(refused) if wants_archive(&refused.ears.diagnostics) => {
            forget(workspace).await?;
            init(host, run, workspace, flags, Supply::Source).await.map_err(Refused::last)?;
        }
        Err(refused) => return Err(refused.last()),
    }
    keep(host, workspace, wanted).await;
    drop(held);
    Ok(())
}

/// What came of the store alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// It did.
    Done,
    /// It did not do.
    InVain,
    /// It could not have done.
    Not,
}

/// Takes what the store has, if that is likely to do.
async fn try_store(
    host: &Host,
    run: &dyn Run,
    workspace: &Workspace,
    wanted: &Wanted,
    flags: &[&str],
) -> Result<Tried, DriverError> {
    let likely = {
        let (host, wanted) = (host.clone(), wanted.clone());
        blocking(move || Ok(host.cache.likely_has(&wanted, &host.platform))).await?
    };
    if !likely {
        return Ok(Tried::Not);
    }
    stream::step(run, STEP, Some("running"));
    match init(host, run, workspace, flags, Supply::Store).await {
        Ok(()) => Ok(Tried::Done),
        Err(Refused { error: DriverError::Stopped, .. }) => Err(DriverError::Stopped),
        Err(_) => {
            let text =
                "What is in the store of providers does not do: asking where they come from.";
            stream::say(run, host.clock.as_ref(), STEP, text);
            forget(workspace).await?;
            Ok(Tried::InVain)
        }
    }
}

/// Removes what an `init` that failed may have linked.
async fn forget(workspace: &Workspace) -> Result<(), DriverError> {
    let providers = workspace.data_dir().join("providers");
    blocking(move || crate::workspace::remove(&providers).map_err(trouble)).await
}

/// Brings what was downloaded into the store. A store that cannot be written costs time, not the
/// job.
async fn keep(host: &Host, workspace: &Workspace, wanted: &Wanted) {
    let (host, workspace, question) = (host.clone(), workspace.clone(), wanted.question.clone());
    let kept = tokio::task::spawn_blocking(move || {
        host.cache.adopt(&workspace.data_dir().join("providers"))?;
        host.cache.looked(&question);
        Ok::<_, std::io::Error>(())
    });
    match kept.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the store of providers could not be written"),
        Err(error) => tracing::warn!(%error, "the store of providers could not be written"),
    }
}

fn wants_archive(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|d| d.detail.contains("checksums"))
}

async fn init<'a>(
    host: &'a Host,
    run: &'a dyn Run,
    workspace: &'a Workspace,
    flags: &[&str],
    from: Supply,
) -> Result<(), Refused<'a>> {
    let mut args = vec!["init", "-input=false", "-no-color"];
    if host.init_speaks_json() {
        args.push("-json");
    }
    args.extend(flags);
    execute(host, run, workspace, &args, from).await
}

async fn execute<'a>(
    host: &'a Host,
    run: &'a dyn Run,
    workspace: &'a Workspace,
    args: &[&str],
    from: Supply,
) -> Result<(), Refused<'a>> {
    let mut ears = Ears::new(run, host.clock.as_ref(), workspace, STEP);
    let ready = async {
        failure::asked_before(run)?;
        let (host, workspace) = (host.clone(), workspace.clone());
        blocking(move || {
            if from != Supply::Source {
                host.cache.make_mirror().map_err(trouble)?;
            }
            write_private(&workspace.cli_config(), host.cli_config(from).as_bytes())
        })
        .await
    };
    if let Err(error) = ready.await {
        return Err(Refused { error, ears });
    }
    let command = host.command(run, workspace, args.iter().copied());
    let ended =
        process::run(command, &Stops::of(run), Stdout::Lines, &mut |s, line| ears.hear(s, line))
            .await;
    let error = match ended {
        Ok(ended) if ended.code == Some(0) => return Ok(()),
        Ok(ended) => failure::of_reading(STEP, &ended, &ears),
        Err(failed) => failure::of_process(STEP, &failed),
    };
    Err(Refused { error, ears })
}

/// Fetches the modules alone, and checks the providers that they ask for against the operator's
/// list: what is not in the source tree cannot be read before.
pub(crate) async fn check_modules(
    host: &Host,
    run: &dyn Run,
    workspace: &Workspace,
) -> Result<(), DriverError> {
    stream::step(run, STEP, Some("modules"));
    let got = execute(host, run, workspace, &["get", "-no-color"], Supply::Source).await;
    got.map_err(Refused::last)?;
    let (host, workspace) = (host.clone(), workspace.clone());
    blocking(move || host.allowed.check(&in_modules(&host, &workspace))).await
}

/// The providers that fetched modules ask for. What cannot be read here is left to the tool, which
/// has the list too.
fn in_modules(host: &Host, workspace: &Workspace) -> allow::Named {
    let mut named = allow::Named::new();
    let top = workspace.data_dir().join("modules");
    let Ok(tree) = slipway_domain::tree::Tree::from_directory(&top, MODULE_LIMITS) else {
        tracing::info!("the fetched modules are not read: they are too big, or no plain files");
        return named;
    };
    let manifest: serde_json::Value = tree
        .file("modules.json")
        .and_then(|content| serde_json::from_slice(content).ok())
        .unwrap_or_default();
    for module in manifest["Modules"].as_array().into_iter().flatten() {
        let (Some(key), Some(dir)) = (module["Key"].as_str(), module["Dir"].as_str()) else {
            continue;
        };
        let Some(below) = dir.strip_prefix(".terraform/modules/") else { continue };
        let Ok(configuration) = hcl::load(&tree, Some(below), host.dialect()) else { continue };
        for (address, mut asked) in configuration.providers {
            asked.module = match asked.module.as_str() {
                "" => key.to_owned(),
                inner => format!("{key}.{inner}"),
            };
            if let Some(place) = &mut asked.place {
                place.file = format!(".terraform/modules/{}", place.file);
            }
            named.entry(allow::full(&address, host.dialect())).or_insert(asked);
        }
    }
    named
}
