//! What is other in the world than the state says.

use std::path::Path;

use serde_json::json;
use slipway_domain::drift::{DriftCause, DriftFound, DriftReport};
use slipway_domain::id::{DeploymentId, Mint as _, RandomMint, StackId};
use slipway_domain::plan::{Action, StateMark};
use slipway_domain::port::driver::{DriftInput, Driver as _, DriverError};
use slipway_domain::tree::Tree;

use crate::job::{Job, Rig, key, permanent, tree, values};

fn input(rig: &Rig, source: &Tree) -> DriftInput {
    DriftInput {
        deployment_id: DeploymentId(RandomMint.uuid()),
        stack_id: StackId(RandomMint.uuid()),
        stack: key(),
        source: source.clone(),
        root: rig.root.clone(),
        variables: values(&[]),
        tool: None,
        state: rig.state.clone(),
    }
}

async fn looked(rig: &Rig, job: &Job, source: &Tree) -> Result<DriftFound, DriverError> {
    rig.driver.drift(job, input(rig, source)).await
}

/// Two files outside of the workspace, one with something secret in it, and a value that is read.
fn files(dir: &Path) -> Tree {
    let at = |name: &str| dir.join(name).display().to_string();
    let (a, b, read) = (at("a"), at("b"), at("read"));
    let main = format!(
        "terraform {{\n  required_providers {{\n    local = {{ source = \"hashicorp/local\" }}\n  \
         }}\n}}\n\
         resource \"local_file\" \"a\" {{\n  filename = \"{a}\"\n  content  = \"one\"\n}}\n\
         module \"m\" {{\n  source   = \"./m\"\n  filename = \"{b}\"\n}}\n\
         data \"local_file\" \"read\" {{\n  filename = \"{read}\"\n}}\n\
         output \"read\" {{\n  value = data.local_file.read.content\n}}\n"
    );
    let module = "terraform {\n  required_providers {\n    local = { source = \"hashicorp/local\" }\n  \
                  }\n}\nvariable \"filename\" {}\n\
                  resource \"local_file\" \"b\" {\n  count             = 1\n  filename          = \
                  var.filename\n  sensitive_content = \"hunter2-hunter2\"\n}\n";
    tree(&[("main.tf", &main), ("m/main.tf", module)])
}

fn report(found: DriftFound) -> DriftReport {
    DriftReport::of(found, chrono::DateTime::UNIX_EPOCH)
}

#[tokio::test]
async fn what_was_changed_and_removed_outside_is_found_and_nothing_is_changed() {
    let outside = tempfile::tempdir().unwrap();
    let dir = outside.path();
    std::fs::write(dir.join("read"), "before").unwrap();
    let source = files(dir);
    let mut rig = Rig::with_mirror().await;
    rig.deploy(&source).await;
    let state = rig.state.clone().unwrap();

    let job = Job::new();
    let found = looked(&rig, &job, &source).await.unwrap();
    assert_eq!((&found.state, found.resources.len(), found.outputs.len()), (&state.mark, 0, 0));
    assert!(found.caveats.is_empty());
    assert!(!report(found).drifted);
    assert!(job.states.lock().unwrap().is_empty(), "no state is written");

    std::fs::write(dir.join("a"), "by hand").unwrap();
    std::fs::remove_file(dir.join("b")).unwrap();
    std::fs::write(dir.join("read"), "after").unwrap();
    let job = Job::new();
    let found = looked(&rig, &job, &source).await.unwrap();
    let mut gone: Vec<_> = found
        .resources
        .iter()
        .map(|r| (r.change.address.clone(), r.change.action, r.configured.clone()))
        .collect();
    gone.sort();
    let set = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    // The provider takes a file with another content for one that is gone.
    assert_eq!(
        gone,
        [
            ("local_file.a".to_owned(), Action::Delete, set(&["content", "filename"])),
            (
                "module.m.local_file.b[0]".to_owned(),
                Action::Delete,
                set(&["filename", "sensitive_content"])
            ),
        ]
    );
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    let report = report(found);
    let causes: Vec<_> = report.groups.iter().map(|group| (group.cause, group.count)).collect();
    assert_eq!(causes, [(DriftCause::DeletedOutside, 2), (DriftCause::Outputs, 1)]);
    let output = &report.groups[1].outputs[0];
    assert_eq!((&output.before, &output.after), (&json!("before"), &json!("after")));

    assert!(job.states.lock().unwrap().is_empty(), "no state is written");
    assert_eq!(std::fs::read_to_string(dir.join("a")).unwrap(), "by hand", "nothing is put right");
    assert!(!dir.join("b").exists());
    assert_eq!(rig.state, Some(state));
}

#[tokio::test]
async fn outputs_alone_are_found() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("read"), "before").unwrap();
    let source = files(outside.path());
    let mut rig = Rig::with_mirror().await;
    rig.deploy(&source).await;
    std::fs::write(outside.path().join("read"), "after").unwrap();
    let report = report(looked(&rig, &Job::new(), &source).await.unwrap());
    assert_eq!(report.summary, "1 output with another value");
    assert!(report.drifted);
}

#[tokio::test]
async fn a_backend_of_the_configurations_own_is_read_and_what_cannot_be_told_is_said() {
    // A backend that Terraform has built in, and that holds nothing.
    let source = tree(&[(
        "main.tf",
        "terraform {\n  backend \"inmem\" {}\n}\nresource \"terraform_data\" \"x\" {}\n",
    )]);
    let rig = Rig::new().await;
    let found = looked(&rig, &Job::new(), &source).await.unwrap();
    assert_eq!(found.state, StateMark::default());
    assert!(found.caveats[0].contains("(inmem)"), "{:?}", found.caveats);
    assert_eq!(report(found).caveats.len(), 1);
}

#[tokio::test]
async fn a_configuration_that_cannot_be_planned_says_why() {
    let source =
        tree(&[("main.tf", "resource \"terraform_data\" \"x\" {\n  input = var.none\n}\n")]);
    let rig = Rig::new().await;
    let (summary, said) = permanent(looked(&rig, &Job::new(), &source).await.unwrap_err());
    assert!(format!("{summary} {said:?}").contains("none"), "{summary} {said:?}");
}

#[tokio::test]
async fn a_stack_without_a_state_has_nothing_that_could_be_other() {
    let source = tree(&[("main.tf", "resource \"terraform_data\" \"x\" {}\n")]);
    let rig = Rig::new().await;
    let found = looked(&rig, &Job::new(), &source).await.unwrap();
    assert_eq!((found.state.clone(), found.resources.len()), (StateMark::default(), 0));
}
