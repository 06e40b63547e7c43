//! `slipway test`: has a deployment tested, waits, and shows what came of it.

use std::path::Path;
use std::time::Duration;

use slipway_domain::Code;
use slipway_domain::id::DeploymentId;
use slipway_domain::test_report::{
    Check, CheckKind, TestRun, TestRunState, TestSettings, TestStatus,
};

use super::{Desk, refused};
use crate::cli::TestArgs;
use crate::client::error::ClientError;
use crate::client::exit::Exit;
use crate::client::view;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(300);
/// What ends the name of a check's file.
const SUFFIX: &str = ".tftest.hcl";

/// `slipway test`.
pub(super) async fn test(desk: &Desk<'_>, args: TestArgs) -> Result<Exit, ClientError> {
    let id = desk.resolve(&args.of.deployment).await?;
    let run = if args.show {
        let newest = desk.client.tests(id).await?.items.into_iter().next();
        newest.ok_or_else(|| {
            let detail = format!("The deployment {id} was not tested yet.");
            refused(404, Code::NotFound, detail)
        })?
    } else {
        let settings = settings(&args)?;
        let asked = desk.client.request_tests(id, &settings).await?;
        if args.no_wait { asked } else { wait(desk, id, asked).await? }
    };
    desk.screen.result(&run, |paint| view::tests(&run, paint))?;
    Ok(exit(&run))
}

fn settings(args: &TestArgs) -> Result<TestSettings, ClientError> {
    let usual = TestSettings::default();
    Ok(TestSettings {
        validate: !args.no_validate,
        terraform_test: !args.no_own_tests,
        checks: args.checks.iter().map(|path| check(path)).collect::<Result<_, _>>()?,
        allow_apply: args.allow_apply,
        time_limit_s: args.time_limit.unwrap_or(usual.time_limit_s),
        ..usual
    })
}

/// A check is called what its file is called.
fn check(path: &Path) -> Result<Check, ClientError> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let name = file.strip_suffix(SUFFIX).ok_or_else(|| {
        ClientError::Input(format!(
            "{} is no test file: the name of one ends with {SUFFIX}",
            path.display()
        ))
    })?;
    let content = std::fs::read_to_string(path).map_err(|error| {
        ClientError::Input(format!("{} cannot be read: {error}", path.display()))
    })?;
    Ok(Check { name: name.to_owned(), kind: CheckKind::TerraformTest, content })
}

async fn wait(desk: &Desk<'_>, id: DeploymentId, asked: TestRun) -> Result<TestRun, ClientError> {
    let mut run = asked;
    let mut told = None;
    while run.state.is_under_way() {
        if told != Some(run.state) {
            desk.screen.tell(&view::tests(&run, desk.screen.paint()))?;
            told = Some(run.state);
        }
        tokio::time::sleep(LOOK).await;
        let all = desk.client.tests(id).await?.items;
        run = all.into_iter().find(|one| one.id == run.id).ok_or_else(|| {
            let detail = "These tests are not kept any more: newer ones have taken their place.";
            refused(404, Code::NotFound, detail.to_owned())
        })?;
    }
    Ok(run)
}

/// What was not run is no success.
fn exit(run: &TestRun) -> Exit {
    match (&run.report, run.state) {
        (Some(report), _) => match report.status {
            TestStatus::Pass => Exit::Success,
            TestStatus::Fail | TestStatus::Error => Exit::Failed,
            TestStatus::Skipped => Exit::Other,
        },
        (None, TestRunState::Dropped) => Exit::Stopped,
        // Nobody wanted to wait.
        (None, _) => Exit::Success,
    }
}
