//! Runs tests: source → checks beside it → `validate -json` → `test -json`. Neither uses nor writes any
//! state of the stack: there is none in the workspace, and the configuration's backend is not asked.
//!
//! The default of a `run` is to apply, so what is run at all is decided by [`select`].

mod hear;
pub(crate) mod select;

use std::ffi::OsString;

use serde_json::Value;
use slipway_domain::log::LogStream;
use slipway_domain::plan::{Diagnostic, Severity};
use slipway_domain::port::driver::{DriverError, Run, Stop, TestInput};
use slipway_domain::test_report::{TestCase, TestStatus, Tested};

use crate::failure;
use crate::host::Host;
use crate::init::{self, Ready};
use crate::plan::{Inputs, Laid, lay};
use crate::stream::{self, Ears};
use crate::toolbox::Toolbox;
use crate::workspace::{Workspace, blocking};
use hear::Hearing;
use select::{Judge, Selection};
use slipway_process::{self as process, Ended, Stdout, Stops};

/// Largest answer of `validate`, in bytes.
const MAX_VALIDATE_BYTES: usize = 16 << 20;
/// The step of everything here, and the name of the tests as a whole.
const STEP: &str = "test";

/// What is laid out in the workspace.
struct Scene {
    host: Host,
    laid: Laid,
    selection: Selection,
}

pub(crate) async fn test(
    tools: &Toolbox,
    run: &dyn Run,
    mut input: TestInput,
) -> Result<Tested, DriverError> {
    failure::asked_before(run)?;
    run.hide(tools.default().env.secrets());
    let settings = std::mem::take(&mut input.settings);
    let wanted = settings.clone();
    let Scene { host, laid, selection } = {
        let (tools, top) = (tools.clone(), run.workspace().to_path_buf());
        blocking(move || {
            let host = tools.choose(input.tool.as_ref(), &input.source, input.root.as_deref())?;
            let workspace = Workspace::new(&top, input.root.as_deref())?;
            workspace.write_source(&input.source)?;
            let inputs = Inputs { root: input.root, variables: input.variables, state: None };
            let mut laid = lay(host, workspace, &input.source, inputs)?;
            let judge = Judge {
                tree: &input.source,
                configuration: laid.configuration.as_ref(),
                dialect: host.dialect(),
                settings: &wanted,
            };
            let selection = select::select(&laid.workspace, &judge)?;
            host.allowed.check(&selection.named)?;
            laid.need = laid.need.without_backend();
            if selection.needs_more {
                laid.need = laid.need.and_more();
            }
            Ok(Scene { host: host.clone(), laid, selection })
        })
        .await?
    };
    tracing::Span::current().record("tool", tracing::field::display(&host.tool));
    run.hide(laid.secrets.clone());
    let mut tested = Tested { tool: Some(host.tool.clone()), ..Tested::default() };
    if !settings.validate && selection.files == 0 {
        tested.cases = selection.cases;
        return Ok(tested);
    }
    let mut ready = init::prepare(&host, run, &laid.workspace, &laid.need, false).await?;
    let mut valid = true;
    if settings.validate {
        let case = validate(&host, run, &laid, &mut ready).await?;
        valid = case.status == TestStatus::Pass;
        tested.cases.push(case);
    }
    tested.cases.extend(selection.cases.iter().cloned());
    if selection.files == 0 {
        return Ok(tested);
    }
    let not_run = |why: &str| {
        let case = TestCase::of(format!("{} test", host.tool.name), TestStatus::Skipped);
        case.because(why)
    };
    if !valid {
        tested.cases.push(not_run("the configuration is not valid"));
        return Ok(tested);
    }
    if !host.knows_tests() {
        let why = format!("{} does not know tests yet: 1.6 or later is needed", host.tool);
        tested.cases.push(not_run(&why));
        return Ok(tested);
    }
    run_files(&host, run, &laid, &selection, ready, &mut tested).await?;
    Ok(tested)
}

/// Whether something that is installed is missing, and what is to be done then has been done.
async fn installed_anew(
    host: &Host,
    run: &dyn Run,
    laid: &Laid,
    ready: &mut Ready,
    said: &[Diagnostic],
) -> Result<bool, DriverError> {
    if *ready == Ready::Ran || !failure::wants_init(said) {
        return Ok(false);
    }
    let text = "What was installed before does not fit the configuration; installing it anew.";
    stream::say(run, host.clock.as_ref(), "init", text);
    *ready = init::prepare(host, run, &laid.workspace, &laid.need, true).await?;
    Ok(true)
}

async fn validate(
    host: &Host,
    run: &dyn Run,
    laid: &Laid,
    ready: &mut Ready,
) -> Result<TestCase, DriverError> {
    loop {
        failure::asked_before(run)?;
        stream::step(run, "validate", None);
        let ws = &laid.workspace;
        let mut ears = Ears::new(run, host.clock.as_ref(), ws, "validate");
        let command = host.command(run, ws, ["validate", "-json"]);
        let stdout = Stdout::Keep(MAX_VALIDATE_BYTES);
        let ended = process::run(command, &Stops::of(run), stdout, &mut |s, l| ears.hear(s, l))
            .await
            .map_err(|failed| failure::of_process("validation", &failed))?;
        let answer: Value = match serde_json::from_slice(&ended.stdout) {
            Ok(answer) if ended.asked.is_none() && ended.signal.is_none() => answer,
            _ => return Err(failure::of_reading("validation", &ended, &ears)),
        };
        for diagnostic in answer["diagnostics"].as_array().into_iter().flatten() {
            let line = serde_json::json!({"type": "diagnostic", "diagnostic": diagnostic});
            ears.hear(LogStream::Stdout, &line.to_string());
        }
        if installed_anew(host, run, laid, ready, &ears.diagnostics).await? {
            continue;
        }
        let valid = answer["valid"].as_bool() == Some(true);
        let status = if valid { TestStatus::Pass } else { TestStatus::Fail };
        let case = TestCase::of(format!("{} validate", host.tool.name), status);
        return Ok(case.saying(ears.diagnostics));
    }
}

/// Runs the test files that are left in the workspace.
async fn run_files(
    host: &Host,
    run: &dyn Run,
    laid: &Laid,
    selection: &Selection,
    mut ready: Ready,
    tested: &mut Tested,
) -> Result<(), DriverError> {
    let ws = &laid.workspace;
    let mut args: Vec<OsString> = vec![STEP.into(), "-json".into()];
    if laid.has_variables {
        let mut option = OsString::from("-var-file=");
        option.push(ws.variables_file());
        args.push(option);
    }
    loop {
        failure::asked_before(run)?;
        stream::step(run, STEP, None);
        let ears = Ears::new(run, host.clock.as_ref(), ws, STEP);
        let mut hearing = Hearing::new(ears, ws);
        let command = host.command(run, ws, args.iter().cloned());
        let ended =
            process::run(command, &Stops::of(run), Stdout::Lines, &mut |s, l| hearing.hear(s, l))
                .await
                .map_err(|failed| failure::of_process("tests", &failed))?;
        let cut_off = ended.asked == Some(Stop::Now) || ended.signal.is_some();
        if cut_off && selection.applies && hearing.begun {
            return Err(DriverError::Lost {
                summary: "the tests were killed before they could remove what they had made"
                    .to_owned(),
            });
        }
        if !cut_off && installed_anew(host, run, laid, &mut ready, &hearing.general).await? {
            continue;
        }
        return conclude(host, &ended, hearing, tested);
    }
}

/// What came of the tool.
fn conclude(
    host: &Host,
    ended: &Ended,
    mut hearing: Hearing<'_>,
    tested: &mut Tested,
) -> Result<(), DriverError> {
    if ended.asked.is_some() {
        // Whatever it says then: runs that it passed over do not count as failed to it.
        if hearing.leftovers.is_empty() {
            return Err(DriverError::Stopped);
        }
        return Err(DriverError::permanent(format!(
            "the tests were stopped, and these things that they had made could not be removed: {}. \
             Remove them by hand: no state knows them",
            hearing.leftovers.join(", ")
        )));
    }
    let failure = match (hearing.summed_up, ended.code) {
        (true, Some(0 | 1)) => None,
        _ => Some(failure::of_reading("tests", ended, &hearing.ears)),
    };
    if let Some(passing @ (DriverError::Transient { .. } | DriverError::Stopped)) = failure
        && !hearing.begun
    {
        return Err(passing);
    }
    let cases = hearing.cases();
    let is_bad = |case: &TestCase| case.status != TestStatus::Pass;
    let explained = cases.iter().any(is_bad) || !hearing.leftovers.is_empty();
    tested.cases.extend(cases);
    tested.leftovers = std::mem::take(&mut hearing.leftovers);
    let general = std::mem::take(&mut hearing.general);
    let whole = |status| TestCase::of(format!("{} test", host.tool.name), status);
    if general.iter().any(|d| d.severity == Severity::Error) {
        tested.cases.push(whole(TestStatus::Error).saying(general));
    } else if hearing.ears.diagnostics.is_empty()
        && !hearing.ears.tail.is_empty()
        && !hearing.summed_up
    {
        let said = failure::from_text(&hearing.ears.tail);
        tested.cases.push(whole(TestStatus::Error).saying(said));
    } else if !hearing.summed_up || !explained && ended.code != Some(0) {
        // Nothing that it said explains it; it is no pass all the same.
        let code = ended.code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
        let why = format!("the tool ended with {code} and did not say why");
        tested.cases.push(whole(TestStatus::Error).because(why));
    }
    Ok(())
}
