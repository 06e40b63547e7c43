//! Applies a plan file, and saves the state whatever happens: while it runs, when it ends well,
//! when it fails half way, and as far as can be when it is killed.

use std::time::Duration;

use bytes::Bytes;
use slipway_domain::deployment::{Output, Variables};
use slipway_domain::plan::StateMark;
use slipway_domain::port::driver::{Applied, ApplyInput, DriverError, Run, StateBlob, Stop};
use slipway_process::{self as process, Ended, Failed, Stdout, Stops};
use slipway_process::{Heard, Tape};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, Keeping};
use crate::failure;
use crate::host::{Host, Supply};
use crate::init;
use crate::salvage;
use crate::state::{self, State};
use crate::stream::{self, Ears};
use crate::workspace::{Workspace, blocking, trouble, write_private};

const STEP: &str = "apply";
/// The state is saved at most this often while the apply runs.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(2);
/// Largest output of `output -json`, in bytes.
const MAX_OUTPUTS_BYTES: usize = 64 << 20;

struct Laid {
    workspace: Workspace,
    context: Context,
    lock_file: Option<Bytes>,
    has_variables: bool,
    tape: Tape,
    /// What the plan and the state hold in secret.
    secrets: Vec<String>,
}

pub(crate) async fn apply(
    host: &Host,
    run: &dyn Run,
    input: ApplyInput,
) -> Result<Applied, DriverError> {
    failure::asked_before(run)?;
    if input.tool != host.tool {
        return Err(DriverError::permanent(format!(
            "the plan was made by {} and this worker has {}, which cannot apply it: run the apply \
             on a worker with {0}, or make a new plan",
            input.tool, host.tool
        )));
    }
    let before = input.state.as_ref().map(|state| state.mark.clone()).unwrap_or_default();
    let laid = {
        let top = run.workspace().to_path_buf();
        let config = host.cli_config(Supply::Source);
        blocking(move || lay(&top, &config, input)).await?
    };
    run.hide(host.env.secrets());
    run.hide(laid.secrets.clone());
    let own = laid.context.keeping.is_own();
    if laid.context.installed {
        let lock_file = laid.lock_file.as_deref().unwrap_or_default();
        let key = laid.context.key.as_deref();
        init::prepare_apply(host, run, &laid.workspace, key, lock_file, own).await?;
    }
    failure::asked_before(run)?;
    stream::step(run, STEP, None);

    let command = command(host, run, &laid);
    let Laid { workspace, context, tape, .. } = laid;
    let keeper = Keeper { run, workspace: &workspace, keeping: &context.keeping };
    let heard = tape.heard();
    let changed = Notify::new();
    let done = CancellationToken::new();
    let stops = Stops { run, halt: CancellationToken::new() };
    let mut ears = Ears::new(run, host.clock.as_ref(), &workspace, STEP).live(&changed);
    let working = async {
        let mut listener = |s, line: &str| ears.hear(s, line);
        let ended = process::run(command, &stops, Stdout::Tape(tape), &mut listener).await;
        done.cancel();
        if let Ok(ended) = &ended {
            run.measured(ended.measure);
        }
        ended
    };
    let snapshots = keeper.snapshots(before, &changed, heard, &done, &stops.halt);
    let (ended, snapshots) = tokio::join!(working, snapshots);
    // What was saved last; when the lease is gone, nothing more may be.
    let last = match snapshots {
        Ok(last) => last,
        Err(error) => {
            return Err(error);
        }
    };
    conclude(host, run, &keeper, ended, &ears, last).await
}

/// Writes everything to its place. Blocking.
fn lay(top: &std::path::Path, cli_config: &str, input: ApplyInput) -> Result<Laid, DriverError> {
    let workspace = Workspace::new(top, input.root.as_deref())?;
    let (context, packed) = Context::open(&input.context)?;
    // First of all: whoever finds this directory must know that it is of an apply, and what was
    // begun in it.
    let tape =
        Tape::new(&workspace.tape(), |line| stream::entry(line).is_some()).map_err(trouble)?;
    salvage::leave_note(&workspace, context.keeping.path())?;
    workspace.write_source(&input.source)?;
    let lock_file = Context::put(&packed, &workspace)?;
    if let (Some(path), Some(state)) = (context.keeping.path(), &input.state) {
        write_private(&workspace.state_file(path), &state.content)?;
    }
    write_private(&workspace.plan_file(), &input.plan_file)?;
    write_private(&workspace.cli_config(), cli_config.as_bytes())?;
    // The plan file holds all other values.
    let ephemeral: Variables =
        input.variables.into_iter().filter(|(name, _)| context.ephemeral.contains(name)).collect();
    let has_variables = workspace.write_variables(&ephemeral)?;
    let mut secrets = context.secrets.clone();
    if let Some(state) = &input.state {
        secrets.extend(state::secrets(&state.content));
    }
    Ok(Laid { workspace, context, lock_file, has_variables, tape, secrets })
}

fn command(host: &Host, run: &dyn Run, laid: &Laid) -> process::Command {
    let ws = &laid.workspace;
    let mut args: Vec<std::ffi::OsString> =
        ["apply", "-json", "-input=false"].map(Into::into).into();
    args.push(
        if laid.context.keeping.is_own() { "-lock-timeout=60s" } else { "-lock=false" }.into(),
    );
    if let Some(parallelism) = host.parallelism {
        args.push(format!("-parallelism={parallelism}").into());
    }
    if laid.has_variables {
        let mut option = std::ffi::OsString::from("-var-file=");
        option.push(ws.variables_file());
        args.push(option);
    }
    args.push(ws.plan_file().into());
    host.command(run, ws, args)
}

/// Reads the state that the tool writes, and has it kept.
struct Keeper<'a> {
    run: &'a dyn Run,
    workspace: &'a Workspace,
    keeping: &'a Keeping,
}

impl Keeper<'_> {
    /// Saves the state while the apply goes on. Returns the last version that was saved, when
    /// `done`. If a save is refused because the lease is gone, the apply is killed: it may change
    /// nothing any more.
    async fn snapshots(
        &self,
        mut last: StateMark,
        changed: &Notify,
        mut heard: Heard,
        done: &CancellationToken,
        halt: &CancellationToken,
    ) -> Result<StateMark, DriverError> {
        let mut not_before = tokio::time::Instant::now() + SNAPSHOT_EVERY;
        loop {
            tokio::select! {
                () = done.cancelled() => return Ok(last),
                () = async {
                    changed.notified().await;
                    tokio::time::sleep_until(not_before).await;
                } => {}
            }
            let Some(path) = self.keeping.path() else { continue };
            not_before = tokio::time::Instant::now() + SNAPSHOT_EVERY;
            // The tool writes its state in place: what is cut off is left for the next time.
            let Some((_, blob)) = newest(vec![self.workspace.state_file(path)]).await else {
                continue;
            };
            let mark = blob.mark.clone();
            if !is_newer(&mark, &last) {
                continue;
            }
            // What the state records was begun before it was written, and said before that.
            heard.all().await;
            self.hide(&blob).await;
            match self.save(blob).await {
                Ok(()) => last = mark,
                Err(DriverError::Fenced) => {
                    halt.cancel();
                    done.cancelled().await;
                    return Err(DriverError::Fenced);
                }
                // The end of the apply tries again, and decides.
                Err(error) => tracing::warn!(%error, "a state in between was not saved"),
            }
        }
    }

    /// What was made meanwhile has secrets of its own, and errors may quote them.
    async fn hide(&self, blob: &StateBlob) {
        let content = blob.content.clone();
        let found = tokio::task::spawn_blocking(move || state::secrets(&content)).await;
        self.run.hide(found.unwrap_or_default());
    }

    /// Saves the state as the tool left it. `None`: it left nothing that could be read.
    async fn finish(&self, last: &StateMark) -> Result<Option<State>, DriverError> {
        let Some(path) = self.keeping.path() else { return Ok(None) };
        let files = vec![self.workspace.state_file(path), self.workspace.errored_state()];
        let Some((state, blob)) = newest(files).await else { return Ok(None) };
        if is_newer(&blob.mark, last) {
            self.hide(&blob).await;
            self.save(blob).await?;
        }
        Ok(Some(state))
    }

    /// Has a state kept, after the journal that names what is in it: a recovery believes nothing
    /// that is in a state alone.
    async fn save(&self, blob: StateBlob) -> Result<(), DriverError> {
        self.run.events_kept().await?;
        self.run.save_state(blob).await
    }
}

/// Whether a state comes after another one. A lineage of its own is a state begun anew.
fn is_newer(mark: &StateMark, than: &StateMark) -> bool {
    mark.lineage != than.lineage || mark.serial > than.serial
}

/// The readable state with the highest serial.
async fn newest(files: Vec<std::path::PathBuf>) -> Option<(State, StateBlob)> {
    let read = tokio::task::spawn_blocking(move || {
        files
            .iter()
            .filter_map(|file| state::blob(std::fs::read(file).ok()?.into()))
            .max_by_key(|(state, _)| state.mark.serial)
    });
    read.await.ok().flatten()
}

async fn conclude(
    host: &Host,
    run: &dyn Run,
    keeper: &Keeper<'_>,
    ended: Result<Ended, Failed>,
    ears: &Ears<'_>,
    last: StateMark,
) -> Result<Applied, DriverError> {
    let ended = match ended {
        Ok(ended) => ended,
        // It never began: nothing was touched.
        Err(failed @ Failed::Start { .. }) => return Err(failure::of_process(STEP, &failed)),
        Err(failed) => {
            let _ = keeper.finish(&last).await;
            return Err(DriverError::Lost {
                summary: format!("the apply was lost sight of: {failed}"),
            });
        }
    };
    let saved = keeper.finish(&last).await;
    if matches!(saved, Err(DriverError::Fenced)) {
        return Err(DriverError::Fenced);
    }
    if interrupted_before_it_began(&ended) && !ears.begun {
        saved?;
        return Err(DriverError::Stopped);
    }
    let killed = ended.signal.is_some() || ended.asked == Some(Stop::Now);
    if killed && ended.code != Some(0) {
        return Err(DriverError::Lost { summary: killed_summary(&ended, saved.is_ok()) });
    }
    let state = saved?;
    match ended.code {
        Some(0) => {}
        // Not an error that the tool reports in its ordinary way: it crashed.
        Some(code) if code != 1 => {
            let summary = format!(
                "the tool crashed during the apply (exit code {code}); what it did is not known for \
                 certain"
            );
            return Err(DriverError::Lost { summary });
        }
        _ => return Err(failed(&ended, ears)),
    }
    match (state, &keeper.keeping) {
        (Some(state), _) => Ok(Applied { outputs: state.outputs, state: state.mark }),
        (None, Keeping::Backend(_)) => {
            let outputs = outputs(host, run, keeper.workspace, ears).await;
            Ok(Applied { outputs, state: StateMark::default() })
        }
        (None, Keeping::Slipway(_)) => Err(DriverError::Lost {
            summary: "the apply finished, but the state that it wrote cannot be read".to_owned(),
        }),
    }
}

/// The tool takes SIGINT in hand before it does anything: one that dies of it had not come so far.
fn interrupted_before_it_began(ended: &Ended) -> bool {
    ended.asked == Some(Stop::Gently) && ended.signal == Some(rustix::process::Signal::INT.as_raw())
}

fn killed_summary(ended: &Ended, saved: bool) -> String {
    let how = match (ended.asked, ended.signal) {
        (Some(Stop::Now), _) => "the apply was killed before it was done".to_owned(),
        (_, Some(signal)) => format!("the apply was killed by signal {signal}"),
        _ => "the apply was killed".to_owned(),
    };
    let what = if saved {
        "what it had recorded is saved; what was in flight may exist beside it"
    } else {
        "its state could not be saved"
    };
    format!("{how}; {what}")
}

/// The apply ended with an error of the tool's own; the state is saved.
fn failed(ended: &Ended, ears: &Ears<'_>) -> DriverError {
    if ended.asked.is_some() {
        return DriverError::Stopped;
    }
    let mut errors = ears.errors();
    if failure::is_stale(&errors) && !ears.begun {
        return DriverError::Stale {
            summary: "the state has changed since the plan was made".to_owned(),
        };
    }
    if errors.is_empty() {
        errors = failure::from_text(&ears.tail);
    }
    let summary = failure::sentence(STEP, errors.first(), ended.code);
    DriverError::Permanent { summary, diagnostics: errors }
}

/// The outputs, where Slipway does not keep the state that holds them.
async fn outputs(host: &Host, run: &dyn Run, ws: &Workspace, ears: &Ears<'_>) -> Vec<Output> {
    let command = host.command(run, ws, ["output", "-json", "-no-color"]);
    let mut quiet = Ears::new(run, host.clock.as_ref(), ws, "output");
    let mut listener = |s, line: &str| quiet.hear(s, line);
    let ended =
        process::run(command, &Stops::of(run), Stdout::Keep(MAX_OUTPUTS_BYTES), &mut listener)
            .await;
    let read = ended.ok().filter(|e| e.code == Some(0)).and_then(|e| parse_outputs(&e.stdout));
    read.unwrap_or_else(|| {
        let text = "The outputs could not be read from the backend; sensitive ones are missing.";
        stream::say(run, host.clock.as_ref(), "output", text);
        let told = ears.outputs.as_ref().and_then(|told| serde_json::to_vec(told).ok());
        told.and_then(|told| parse_outputs(&told)).unwrap_or_default()
    })
}

fn parse_outputs(json: &[u8]) -> Option<Vec<Output>> {
    #[derive(serde::Deserialize)]
    struct Raw {
        #[serde(default)]
        sensitive: bool,
        #[serde(default, rename = "type")]
        kind: serde_json::Value,
        value: Option<serde_json::Value>,
    }
    let raw: std::collections::BTreeMap<String, Raw> = serde_json::from_slice(json).ok()?;
    let outputs = raw.into_iter().filter_map(|(name, raw)| {
        let value = match raw.value {
            Some(value) => value,
            None if raw.sensitive => return None,
            None => serde_json::Value::Null,
        };
        Some(Output { name, value, sensitive: raw.sensitive, kind: raw.kind })
    });
    Some(outputs.collect())
}
