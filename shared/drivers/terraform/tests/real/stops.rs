//! Stops: gentle, hard, by a lost lease, and what is left behind.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use slipway_domain::port::driver::{Driver as _, DriverError, LeaseEnd, Run as _, Stop};
use slipway_domain::tree::Tree;

use crate::job::{Job, Rig, tree};

/// Two that are quick and two that take long; the mark is in the environment of their processes.
fn slow(mark: &str) -> Tree {
    tree(&[(
        "main.tf",
        &format!(
            "resource \"terraform_data\" \"quick\" {{\n  count = 2\n}}\n\
             resource \"terraform_data\" \"slow\" {{\n  count = 2\n  depends_on = [terraform_data.quick]\n\
             provisioner \"local-exec\" {{\n    command = \"trap '' INT TERM; sleep 300\"\n    environment = {{ MARK = \"{mark}\" }}\n  }}\n}}\n"
        ),
    )])
}

/// Processes with the mark in their environment.
fn marked(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for item in std::fs::read_dir("/proc").unwrap().flatten() {
        let environ = std::fs::read(item.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environ).contains(mark) {
            let command = std::fs::read(item.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    found
}

async fn none_left(mark: &str) {
    let start = Instant::now();
    loop {
        let left = marked(mark);
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_gentle_stop_records_what_was_done() {
    let mut rig = Rig::new().await;
    let source = slow("slipway-test-gentle");
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = Job::stopping_at(4, Stop::Gently);
    let start = Instant::now();
    let error = rig.apply(&job, &source, &planned).await.unwrap_err();
    assert!(matches!(error, DriverError::Stopped), "{error:?}\n{}", job.text());
    assert!(start.elapsed() < Duration::from_mins(1));
    assert_eq!(rig.state.as_ref().unwrap().resource_count, 4);
    none_left("slipway-test-gentle").await;
    let again = rig.plan(&Job::new(), &source).await.unwrap();
    assert_eq!(again.changes.len(), 2, "only the two that were interrupted");
}

#[tokio::test]
async fn a_gentle_stop_that_comes_before_the_tool_listens_is_no_lost_apply() {
    // Like the tool in its first milliseconds: it has not taken SIGINT in hand yet.
    let dir = tempfile::tempdir().unwrap();
    let deaf = dir.path().join("terraform");
    let tool = "tool=$(command -v terraform || command -v tofu)";
    let script = format!(
        "#!/bin/sh\n{tool}\ncase $1 in apply) exec sleep 60;; *) exec \"$tool\" \"$@\";; esac\n"
    );
    std::fs::write(&deaf, script).unwrap();
    std::fs::set_permissions(&deaf, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut rig = Rig::with(|options| options.binary = Some(deaf)).await;
    let source = tree(&[("main.tf", "resource \"terraform_data\" \"a\" {}\n")]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    // With the first event of all: the tool is about to be started.
    let job = Job::stopping_at(0, Stop::Gently);
    let error = rig.apply(&job, &source, &planned).await.unwrap_err();
    assert!(matches!(error, DriverError::Stopped), "{error:?}");
}

#[tokio::test]
async fn a_hard_kill_leaves_no_process_and_saves_what_can_be_read() {
    let mut rig = Rig::new().await;
    let source = slow("slipway-test-hard");
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = Job::stopping_at(4, Stop::Now);
    let error = rig.apply(&job, &source, &planned).await.unwrap_err();
    assert!(matches!(error, DriverError::Lost { .. }), "{error:?}");
    none_left("slipway-test-hard").await;
    assert!(rig.state.as_ref().unwrap().resource_count >= 2);
}

#[tokio::test]
async fn a_dropped_apply_leaves_no_process() {
    let rig = Rig::new().await;
    let source = slow("slipway-test-dropped");
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let input = rig.applying(&source, &planned);
    let driver = rig.driver.clone();
    let task = tokio::spawn(async move { driver.apply(&Job::new(), input).await.map(|_| ()) });
    let start = Instant::now();
    while marked("slipway-test-dropped").is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never began");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    task.abort();
    let _ = task.await;
    none_left("slipway-test-dropped").await;
}

#[tokio::test]
async fn a_lost_lease_kills_the_apply() {
    let mut rig = Rig::new().await;
    // The first snapshot comes two seconds in; the long ones would run for minutes.
    let source = tree(&[(
        "main.tf",
        "resource \"terraform_data\" \"a\" {}\n\
         resource \"terraform_data\" \"b\" {\n  depends_on = [terraform_data.a]\n  provisioner \"local-exec\" {\n    command = \"sleep 300\"\n    environment = { MARK = \"slipway-test-fenced\" }\n  }\n}\n",
    )]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = Job::fenced();
    let start = Instant::now();
    let error = rig.apply(&job, &source, &planned).await.unwrap_err();
    assert!(matches!(error, DriverError::Fenced), "{error:?}");
    assert!(start.elapsed() < Duration::from_mins(1));
    none_left("slipway-test-fenced").await;
}

#[tokio::test]
async fn a_lease_that_fades_unheard_ends_the_apply_in_order() {
    let mut rig = Rig::new().await;
    let source = slow("slipway-test-fading");
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let now = Instant::now();
    let (soon, later) = (now + Duration::from_secs(3), now + Duration::from_mins(5));
    let job = Job::until(LeaseEnd { interrupt_at: soon, kill_at: later });
    let error = rig.apply(&job, &source, &planned).await.unwrap_err();
    assert!(Instant::now() >= soon);
    // Nobody had asked the driver, and yet it knows.
    assert!(matches!(error, DriverError::Stopped), "{error:?}\n{}", job.text());
    assert_eq!(rig.state.as_ref().unwrap().resource_count, 4);
    none_left("slipway-test-fading").await;
}

#[tokio::test]
async fn a_guard_that_is_killed_takes_its_apply_with_it() {
    let rig = Rig::new().await;
    let source = slow("slipway-test-unguarded");
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let input = rig.applying(&source, &planned);
    let (driver, job) = (rig.driver.clone(), Job::new());
    let place = job.workspace().to_owned();
    let task = tokio::spawn(async move { driver.apply(&job, input).await.map(|_| ()) });
    let start = Instant::now();
    while marked("slipway-test-unguarded").is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "it never began");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let guard = std::fs::read_dir("/proc").unwrap().flatten().find(|item| {
        let cwd = std::fs::read_link(item.path().join("cwd")).unwrap_or_default();
        let name = std::fs::read_to_string(item.path().join("comm")).unwrap_or_default();
        cwd.starts_with(&place) && name == "slipway-guard\n"
    });
    let guard = guard.unwrap().file_name().into_string().unwrap().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(guard).unwrap(), Signal::KILL).unwrap();
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, DriverError::Lost { .. }), "{error:?}");
    none_left("slipway-test-unguarded").await;
}

#[tokio::test]
async fn the_state_is_saved_while_the_apply_goes_on() {
    let mut rig = Rig::new().await;
    let source = tree(&[(
        "main.tf",
        "resource \"terraform_data\" \"a\" {}\n\
         resource \"terraform_data\" \"b\" {\n  depends_on = [terraform_data.a]\n  provisioner \"local-exec\" {\n    command = \"sleep 3\"\n  }\n}\n",
    )]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = Job::new();
    rig.apply(&job, &source, &planned).await.unwrap();
    let states = job.states.lock().unwrap();
    assert!(states.len() >= 2, "{states:?}");
    assert_eq!(states[0].resource_count, 1);
    assert!(states.windows(2).all(|two| two[1].mark.serial > two[0].mark.serial), "{states:?}");
}
