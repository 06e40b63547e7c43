//! A plan that is compared with one that was approved and turned stale.

use bytes::Bytes;
use serde_json::{Value, json};
use slipway_domain::artifact::digest;
use slipway_domain::deployment::Operation;
use slipway_domain::plan::{Binding, StateMark, Tool};
use slipway_domain::port::driver::{
    ApprovedPlan, Driver as _, DriverError, Equality, Planned, SourceInput, StateBlob, Stop,
};
use slipway_domain::tree::Tree;

use crate::job::{Job, Rig, tree};

const SECRET: &str = "hunter2-hunter2";

fn source(second: &str) -> Tree {
    let text = format!(
        "variable \"pw\" {{\n  type = string\n  sensitive = true\n  default = \"{SECRET}\"\n}}\n\
         resource \"terraform_data\" \"first\" {{\n  input = var.pw\n}}\n{second}"
    );
    tree(&[("main.tf", &text)])
}

const SECOND: &str = "resource \"terraform_data\" \"second\" {\n  input = \"new\"\n}\n\
                      output \"id\" {\n  value = terraform_data.second.id\n}\n";

fn approved(planned: &Planned) -> ApprovedPlan {
    ApprovedPlan {
        binding: Binding {
            plan_file: digest(&planned.plan_file),
            source: planned.source_digest.clone(),
            lock_file: planned.lock_file_digest.clone(),
            variables: "v".to_owned(),
            tool: planned.tool.clone(),
            state: planned.state.clone(),
            operation: "deploy".to_owned(),
        },
        plan_file: planned.plan_file.clone(),
        context: planned.context.clone(),
        variables_digest: "v".to_owned(),
        key: [7; 32],
    }
}

/// The state with a new serial, and with `change` made to it.
fn bump(rig: &mut Rig, change: impl FnOnce(&mut Value)) {
    let old = rig.state.take().unwrap();
    let mut state: Value = serde_json::from_slice(&old.content).unwrap();
    let serial = old.mark.serial + 1;
    state["serial"] = serial.into();
    change(&mut state);
    rig.state = Some(StateBlob {
        mark: StateMark { serial, ..old.mark },
        content: Bytes::from(serde_json::to_vec(&state).unwrap()),
        ..old
    });
}

async fn compared(rig: &Rig, job: &Job, tree: &Tree, with: ApprovedPlan) -> Planned {
    let mut input = rig.input(SourceInput::Tree(tree.clone()), &[]);
    input.approved = Some(Box::new(with));
    rig.driver.plan(job, input).await.unwrap_or_else(|error| panic!("{error:?}\n{}", job.text()))
}

#[track_caller]
fn differs(planned: &Planned, says: &str) {
    let Some(Equality::Different(lines)) = &planned.equality else { panic!("{planned:?}") };
    assert!(lines.iter().any(|line| line.contains(says)), "{says:?} is not in {lines:#?}");
    assert!(!lines.concat().contains(SECRET), "{lines:#?}");
}

/// A stack with one resource, and the approved plan of a second one.
async fn begun() -> (Rig, Tree, Planned) {
    let mut rig = Rig::new().await;
    rig.deploy(&source("")).await;
    let tree = source(SECOND);
    let job = Job::new();
    let planned = rig.plan(&job, &tree).await.unwrap();
    assert_eq!(planned.equality, None);
    assert_eq!(job.steps(), ["init: not needed", "plan", "show"], "it costs nothing unasked");
    (rig, tree, planned)
}

#[tokio::test]
async fn after_a_new_serial_alone_it_is_equal_and_can_be_applied() {
    let (mut rig, tree, old) = begun().await;
    bump(&mut rig, |_| {});
    let job = Job::new();
    let new = compared(&rig, &job, &tree, approved(&old)).await;
    assert_eq!(new.equality, Some(Equality::Equal));
    assert_eq!(job.steps(), ["init: not needed", "plan", "show", "compare", "show"]);
    assert_eq!(new.state.serial, old.state.serial + 1);
    // The old one would not be.
    let stale = rig.apply(&Job::new(), &tree, &old).await.unwrap_err();
    assert!(matches!(stale, DriverError::Stale { .. }), "{stale:?}");
    rig.apply(&Job::new(), &tree, &new).await.unwrap();
    assert_eq!(rig.state.unwrap().resource_count, 2);
}

#[tokio::test]
async fn with_providers_it_is_equal_too() {
    let mut rig = Rig::with_mirror().await;
    let first = "resource \"random_pet\" \"a\" {}\n";
    rig.deploy(&tree(&[("main.tf", first)])).await;
    let tree = tree(&[("main.tf", &format!("{first}resource \"random_pet\" \"b\" {{}}\n"))]);
    let old = rig.plan(&Job::new(), &tree).await.unwrap();
    assert!(old.lock_file_digest.is_some());
    bump(&mut rig, |_| {});
    let new = compared(&rig, &Job::new(), &tree, approved(&old)).await;
    assert_eq!(new.equality, Some(Equality::Equal));
    let mut other = approved(&old);
    other.binding.lock_file = Some("sha256:0".to_owned());
    differs(&compared(&rig, &Job::new(), &tree, other).await, "lock file is another one");
}

#[tokio::test]
async fn what_changed_in_between_is_told_without_secrets() {
    let (mut rig, tree, old) = begun().await;
    // Somebody else has made what was to be made.
    let mut theirs = Rig::new().await;
    theirs.state.clone_from(&rig.state);
    theirs.deploy(&source(&SECOND.replace("\"new\"", "\"theirs\""))).await;
    let before = std::mem::replace(&mut rig.state, theirs.state);
    let new = compared(&rig, &Job::new(), &tree, approved(&old)).await;
    differs(&new, "terraform_data.second: another action: approved create, now update");
    // Somebody has changed the secret in another thing, which the plan would leave alone.
    rig.state = before;
    bump(&mut rig, |state| {
        let attributes = &mut state["resources"][0]["instances"][0]["attributes"];
        attributes["input"]["value"] = json!("hunter3-hunter3");
        attributes["output"]["value"] = json!("hunter3-hunter3");
    });
    let new = compared(&rig, &Job::new(), &tree, approved(&old)).await;
    differs(&new, "terraform_data.first");
    let Some(Equality::Different(lines)) = new.equality else { unreachable!() };
    assert!(!lines.concat().contains("hunter3"), "{lines:#?}");
}

#[tokio::test]
async fn another_tree_tool_variables_or_operation_is_different() {
    let (mut rig, tree, old) = begun().await;
    bump(&mut rig, |_| {});
    let other = source(&SECOND.replace("new", "newer"));
    differs(&compared(&rig, &Job::new(), &other, approved(&old)).await, "source tree is another");
    let mut with = approved(&old);
    with.binding.tool = Tool { version: "1.0.0".to_owned(), ..with.binding.tool };
    let job = Job::new();
    differs(
        &compared(&rig, &job, &tree, with).await,
        "tool is another one: approved terraform 1.0.0",
    );
    assert_eq!(job.steps().last().unwrap(), "compare", "it is not even shown");
    let with = ApprovedPlan { variables_digest: "w".to_owned(), ..approved(&old) };
    differs(&compared(&rig, &Job::new(), &tree, with).await, "variables have another digest");
    let mut input = rig.input(SourceInput::Tree(tree.clone()), &[]);
    input.operation = Operation::Destroy;
    input.approved = Some(Box::new(approved(&old)));
    let destroy = rig.driver.plan(&Job::new(), input).await.unwrap();
    differs(&destroy, "operation is another one");
}

#[tokio::test]
async fn what_cannot_be_read_is_different_and_a_stop_is_a_stop() {
    let (rig, tree, old) = begun().await;
    let broken = |file: &'static [u8]| {
        let mut with = approved(&old);
        with.binding.plan_file = digest(file);
        ApprovedPlan { plan_file: Bytes::from_static(file), ..with }
    };
    let new = compared(&rig, &Job::new(), &tree, broken(b"no plan")).await;
    differs(&new, "cannot be shown any more");
    let with = ApprovedPlan { plan_file: Bytes::from_static(b"x"), ..approved(&old) };
    differs(&compared(&rig, &Job::new(), &tree, with).await, "has another digest");
    let with = ApprovedPlan { context: Bytes::from_static(b"x"), ..approved(&old) };
    differs(&compared(&rig, &Job::new(), &tree, with).await, "packed with the approved plan");
    let mut input = rig.input(SourceInput::Tree(tree.clone()), &[]);
    input.approved = Some(Box::new(approved(&old)));
    let job = Job::new();
    job.ask(Stop::Gently);
    let error = rig.driver.plan(&job, input).await.unwrap_err();
    assert!(matches!(error, DriverError::Stopped), "{error:?}");
}
