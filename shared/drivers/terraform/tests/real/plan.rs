//! Plans: what they say, what they keep secret, and how they fail.

use serde_json::json;
use slipway_domain::plan::{Action, Counts};
use slipway_domain::port::driver::{DriverError, Stop};

use crate::job::{Job, Rig, inits, permanent, tree};

#[tokio::test]
async fn a_plan_says_what_will_be_and_masks_what_is_secret() {
    let rig = Rig::new().await;
    let source = tree(&[(
        "main.tf",
        "variable \"pw\" {\n  type = string\n  sensitive = true\n}\n\
         variable \"name\" { type = string }\n\
         resource \"terraform_data\" \"x\" {\n  count = 2\n  input = \"${var.name} ${var.pw}\"\n}\n\
         output \"o\" {\n  value = terraform_data.x[0].id\n}\n\
         output \"p\" {\n  value = var.pw\n  sensitive = true\n}\n",
    )]);
    let job = Job::knowing(&["hunter2-hunter2"]);
    let values = [("pw", json!("hunter2-hunter2")), ("name", json!("a"))];
    let planned = rig.plan_with(&job, &source, &values).await.unwrap();
    assert!(!planned.no_changes);
    assert_eq!(Counts::of(&planned.changes).create, 2);
    assert_eq!(planned.changes[0].after["input"], json!("***"));
    assert_eq!(planned.sensitive_variables, ["pw".to_owned()].into());
    assert_eq!(planned.tool, *rig.driver.tool());
    assert_eq!(planned.source_digest, source.digest());
    assert_eq!((planned.state.lineage.as_str(), planned.state.serial), ("", 0));
    assert!(planned.lock_file_digest.is_none() && planned.fetched.is_none());
    assert_eq!(job.steps(), ["init: not needed", "plan", "show"]);
    assert!(job.text().contains("terraform_data.x[0]: Plan to create"), "{}", job.text());
    let said = format!("{:?} {:?}", planned.changes, planned.outputs) + &job.text();
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_broken_configuration_fails_with_file_and_line() {
    let mut rig = Rig::new().await;
    rig.root = Some("env/prod".into());
    let source = tree(&[
        ("env/prod/main.tf", "module \"m\" {\n  source = \"../../mod\"\n}\n"),
        ("mod/main.tf", "\nresource \"terraform_data\" \"x\" {\n  input = local.nothing\n}\n"),
    ]);
    let job = Job::new();
    let (summary, diagnostics) = permanent(rig.plan(&job, &source).await.unwrap_err());
    assert!(
        summary.starts_with("the plan failed: Reference to undeclared local value"),
        "{summary}"
    );
    assert_eq!(diagnostics[0].file.as_deref(), Some("mod/main.tf"));
    assert_eq!((diagnostics[0].line, diagnostics[0].column), (Some(3), Some(11)));
    assert!(job.text().contains("on mod/main.tf line 3"), "{}", job.text());
    let events = job.events.lock().unwrap();
    let told = events.iter().filter(|e| e.kind() == "diagnostic").count();
    assert_eq!(told, 1, "{events:?}");
}

#[tokio::test]
async fn hcl_that_does_not_parse_is_told_by_terraform_itself() {
    let rig = Rig::new().await;
    let source = tree(&[("main.tf", "resource \"terraform_data\" \"x\" {\n  input = [\n}\n")]);
    let (_, diagnostics) = permanent(rig.plan(&Job::new(), &source).await.unwrap_err());
    assert_eq!(diagnostics[0].file.as_deref(), Some("main.tf"));
    assert!(diagnostics[0].line.is_some());
}

#[tokio::test]
async fn variables_that_do_not_fit_fail_before_terraform_runs() {
    let rig = Rig::new().await;
    let source = tree(&[("main.tf", "variable \"region\" { type = string }\n")]);
    let job = Job::new();
    let error = rig.plan_with(&job, &source, &[("regoin", json!("x"))]).await.unwrap_err();
    let (_, diagnostics) = permanent(error);
    assert_eq!(diagnostics.len(), 2, "{diagnostics:?}");
    assert!(diagnostics[0].detail.contains("did you mean \"region\""), "{diagnostics:?}");
    assert_eq!(job.steps(), [""; 0]);
}

#[tokio::test]
async fn our_values_win_over_files_in_the_tree() {
    let rig = Rig::new().await;
    let source = tree(&[
        (
            "main.tf",
            "variable \"a\" {}\nvariable \"b\" {}\noutput \"o\" {\n  value = \"${var.a} ${var.b}\"\n}\n",
        ),
        ("terraform.tfvars", "a = \"file\"\nb = \"file\"\n"),
        ("zz.auto.tfvars", "a = \"auto\"\n"),
    ]);
    let planned = rig.plan_with(&Job::new(), &source, &[("a", json!("ours"))]).await.unwrap();
    assert_eq!(planned.outputs[0].after, json!("ours file"));
}

#[tokio::test]
async fn a_tree_cannot_bring_state_or_plugins_of_its_own() {
    let rig = Rig::new().await;
    let state = r#"{"version":4,"terraform_version":"1.0.0","serial":9,"lineage":"evil","outputs":{},
        "resources":[{"mode":"managed","type":"terraform_data","name":"gone","provider":"provider[\"terraform.io/builtin/terraform\"]","instances":[{"schema_version":0,"attributes":{"id":"x","input":null,"output":null,"triggers_replace":null}}]}]}"#;
    let source = tree(&[
        ("main.tf", "resource \"terraform_data\" \"x\" {}\n"),
        ("terraform.tfstate", state),
        (".terraform/terraform.tfstate", "{\"version\":3,\"backend\":{\"type\":\"http\"}}"),
    ]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    assert_eq!(Counts::of(&planned.changes).delete, 0);
    assert_eq!(Counts::of(&planned.changes).create, 1);
}

#[tokio::test]
async fn local_modules_need_no_init() {
    let mut rig = Rig::new().await;
    rig.root = Some("env".into());
    let source = tree(&[
        (
            "env/main.tf",
            "module \"net\" {\n  source = \"../modules//net/\"\n}\noutput \"o\" {\n  value = module.net.text\n}\n",
        ),
        (
            "modules/net/main.tf",
            "module \"sub\" {\n  source = \"./sub\"\n}\nresource \"terraform_data\" \"x\" {}\noutput \"text\" {\n  value = file(\"${path.module}/text\")\n}\n",
        ),
        ("modules/net/text", "hello"),
        ("modules/net/sub/main.tf", "resource \"terraform_data\" \"y\" {}\n"),
    ]);
    let job = Job::new();
    let planned = rig.plan(&job, &source).await.unwrap();
    assert_eq!(inits(&job), ["init: not needed"], "{}", job.text());
    let mut addresses: Vec<_> = planned.changes.iter().map(|c| c.address.as_str()).collect();
    addresses.sort_unstable();
    assert_eq!(
        addresses,
        ["module.net.module.sub.terraform_data.y", "module.net.terraform_data.x"]
    );
    let applied = rig.apply(&Job::new(), &source, &planned).await.unwrap();
    assert_eq!(applied.outputs[0].value, json!("hello"));
}

#[tokio::test]
async fn a_moved_resource_is_a_change() {
    let mut rig = Rig::new().await;
    rig.deploy(&tree(&[("main.tf", "resource \"terraform_data\" \"a\" {}\n")])).await;
    let moved = "resource \"terraform_data\" \"b\" {}\nmoved {\n  from = terraform_data.a\n  to = terraform_data.b\n}\n";
    let planned = rig.plan(&Job::new(), &tree(&[("main.tf", moved)])).await.unwrap();
    assert!(!planned.no_changes);
    assert_eq!(planned.changes[0].action, Action::Move);
    assert_eq!(planned.changes[0].previous_address.as_deref(), Some("terraform_data.a"));
}

#[tokio::test]
async fn an_output_alone_is_a_change() {
    let mut rig = Rig::new().await;
    rig.deploy(&tree(&[("main.tf", "output \"o\" {\n  value = 1\n}\n")])).await;
    let source = tree(&[("main.tf", "output \"o\" {\n  value = 2\n}\n")]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    assert!(!planned.no_changes && planned.changes.is_empty());
    assert_eq!((&planned.outputs[0].before, &planned.outputs[0].after), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn warnings_are_kept() {
    let rig = Rig::new().await;
    let source = tree(&[(
        "main.tf",
        "variable \"n\" {\n  default = 1\n}\ncheck \"c\" {\n  assert {\n    condition = var.n > 2\n    error_message = \"one is not more than two\"\n  }\n}\n",
    )]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    assert_eq!(planned.warnings.len(), 1, "{:?}", planned.warnings);
    assert!(planned.warnings[0].detail.contains("one is not more"), "{:?}", planned.warnings);
    assert_eq!(planned.warnings[0].file.as_deref(), Some("main.tf"));
}

#[tokio::test]
async fn a_plan_that_is_stopped_says_so() {
    let rig = Rig::new().await;
    let source = tree(&[("main.tf", "")]);
    let job = Job::new();
    job.ask(Stop::Gently);
    assert!(matches!(rig.plan(&job, &source).await, Err(DriverError::Stopped)));
}

#[tokio::test]
async fn a_tree_without_a_root_module_is_refused_in_words() {
    let mut rig = Rig::new().await;
    let source = tree(&[("infra/main.tf", "")]);
    let (summary, _) = permanent(rig.plan(&Job::new(), &source).await.unwrap_err());
    assert!(summary.contains("no .tf file") && summary.contains("\"infra\""), "{summary}");
    rig.root = Some("nowhere".into());
    let (summary, _) = permanent(rig.plan(&Job::new(), &source).await.unwrap_err());
    assert!(summary.contains("nowhere"), "{summary}");
}

#[tokio::test]
async fn a_local_backend_outside_the_tree_is_refused_and_one_inside_is_kept() {
    let mut rig = Rig::new().await;
    let with = |path: &str| {
        tree(&[(
            "main.tf",
            &format!(
                "terraform {{\n  backend \"local\" {{\n    path = \"{path}\"\n  }}\n}}\nresource \"terraform_data\" \"x\" {{}}\n"
            ),
        )])
    };
    let (summary, _) = permanent(rig.plan(&Job::new(), &with("/var/x.tfstate")).await.unwrap_err());
    assert!(summary.contains("remove the backend block"), "{summary}");
    let inside = with("state/x.tfstate");
    rig.deploy(&inside).await;
    assert_eq!(rig.state.as_ref().unwrap().resource_count, 1);
    assert!(rig.plan(&Job::new(), &inside).await.unwrap().no_changes);
}
