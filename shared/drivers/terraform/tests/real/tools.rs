//! Several tools on one worker. There is one real Terraform here: the others are scripts that call
//! it and tell another version.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use slipway_domain::plan::ToolChoice;
use slipway_domain::port::driver::{Driver as _, DriverError, PlanInput, SourceInput};
use slipway_domain::tree::Tree;

use crate::job::{Job, Rig, permanent, tree};

/// A tool that is the default one in all but its version.
fn another(dir: &Path, real: &Path, version: &str) -> PathBuf {
    let file = dir.join(format!("terraform-{version}"));
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = version ]; then\n  echo 'Terraform v{version}'\n  echo 'on \
         linux_amd64'\n  exit 0\nfi\necho {version} >>'{}'\nexec '{}' \"$@\"\n",
        dir.join("used").display(),
        real.display()
    );
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
}

struct Tools {
    rig: Rig,
    dir: tempfile::TempDir,
}

async fn tools(versions: &[&str]) -> Tools {
    let dir = tempfile::tempdir().unwrap();
    let plain = Rig::new().await;
    for version in versions {
        another(dir.path(), plain.driver.program(), version);
    }
    std::fs::write(dir.path().join("terraform-notes.txt"), "no tool").unwrap();
    let rig = Rig::with(|options| options.tools = vec![dir.path().to_path_buf()]).await;
    Tools { rig, dir }
}

fn source(required: &str) -> Tree {
    let settings = format!("terraform {{\n  required_version = \"{required}\"\n}}\n");
    tree(&[("main.tf", &format!("{settings}resource \"terraform_data\" \"x\" {{}}\n"))])
}

fn asking(rig: &Rig, tree: &Tree, tool: &str) -> PlanInput {
    let mut input = rig.input(SourceInput::Tree(tree.clone()), &[]);
    input.tool = Some(ToolChoice::parse(tool).unwrap());
    input
}

#[tokio::test]
async fn a_stack_chooses_its_tool_and_the_apply_is_done_with_it() {
    let Tools { mut rig, dir } = tools(&["1.10.9", "1.9.9"]).await;
    let source = source(">= 1.0");
    let default = rig.driver.tool().clone();
    assert_eq!(rig.plan(&Job::new(), &source).await.unwrap().tool, default, "as without others");
    let input = asking(&rig, &source, "terraform 1.10.9");
    let planned = rig.driver.plan(&Job::new(), input).await.unwrap();
    assert_eq!(planned.tool.to_string(), "terraform 1.10.9");
    rig.apply(&Job::new(), &source, &planned).await.unwrap();
    let used = std::fs::read_to_string(dir.path().join("used")).unwrap();
    assert_eq!(used, "1.10.9\n".repeat(3), "plan, show and apply");
    assert_eq!(rig.state.as_ref().map(|s| s.resource_count), Some(1));
    // A worker without it does not apply the plan with something else.
    let other = Rig::new().await;
    let error = other.driver.apply(&Job::new(), other.applying(&source, &planned)).await;
    let Err(DriverError::Permanent { summary, .. }) = error else { panic!("{error:?}") };
    assert!(summary.contains("1.10.9") && summary.contains(&default.to_string()), "{summary}");
}

#[tokio::test]
async fn what_no_worker_has_is_refused_in_words() {
    let Tools { rig, dir: _dir } = tools(&["1.10.9"]).await;
    for choice in ["terraform 1.3.0", "tofu 1.8.0"] {
        let input = asking(&rig, &source(">= 1.0"), choice);
        let (summary, _) = permanent(rig.driver.plan(&Job::new(), input).await.unwrap_err());
        for part in [choice, "1.10.9", "terraform.tools"] {
            assert!(summary.contains(part), "{part}: {summary}");
        }
    }
    let (summary, _) = permanent(rig.plan(&Job::new(), &source("< 1.2")).await.unwrap_err());
    assert!(summary.contains("< 1.2") && summary.contains("terraform.tools"), "{summary}");
}

#[tokio::test]
async fn required_version_chooses_where_only_one_fits() {
    let Tools { rig, dir } = tools(&["99.1.0", "98.1.0", "97.1.0"]).await;
    let default = rig.driver.tool().clone();
    let different = format!("!= {}", default.version);
    let (summary, _) = permanent(rig.plan(&Job::new(), &source(&different)).await.unwrap_err());
    assert!(summary.contains("`tool`") && summary.contains("98.1.0"), "{summary}");
    let job = Job::new();
    let one = source("~> 98.0");
    // The refusal is that of the Terraform behind the script, which was chosen.
    let (summary, _) = permanent(rig.plan(&job, &one).await.unwrap_err());
    assert!(!summary.contains("terraform.tools"), "{summary}");
    assert_eq!(std::fs::read_to_string(dir.path().join("used")).unwrap(), "98.1.0\n");
}

#[tokio::test]
async fn a_named_file_that_is_no_tool_stops_the_worker_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = slipway_driver_terraform::Options::new(dir.path());
    options.tools = vec![dir.path().join("missing")];
    let error = slipway_driver_terraform::Terraform::detect(options).await.unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}
