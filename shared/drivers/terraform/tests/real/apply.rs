//! Applies: a stack's whole life, and what is kept when one goes wrong.

use serde_json::json;
use slipway_domain::event::{EventBody, ResourceStatus};
use slipway_domain::plan::{Action, Counts};
use slipway_domain::port::driver::{Driver as _, DriverError, Health};

use crate::job::{Job, Rig, output, permanent, tree};

fn source(value: &str) -> slipway_domain::tree::Tree {
    tree(&[(
        "main.tf",
        &format!(
            "resource \"terraform_data\" \"a\" {{\n  input = \"{value}\"\n}}\n\
             resource \"terraform_data\" \"b\" {{\n  triggers_replace = terraform_data.a.input\n}}\n\
             output \"value\" {{\n  value = terraform_data.a.output\n}}\n\
             output \"list\" {{\n  value = [1, 2]\n}}\n\
             output \"secret\" {{\n  value = \"s3cret\"\n  sensitive = true\n}}\n"
        ),
    )])
}

#[tokio::test]
async fn a_stack_lives_from_create_to_destroy() {
    let mut rig = Rig::new().await;
    let planning = Job::new();
    let planned = rig.plan(&planning, &source("one")).await.unwrap();
    let job = Job::new();
    let applied = rig.apply(&job, &source("one"), &planned).await.unwrap();
    for measured in [&planning, &job] {
        let measures = measured.measures.lock().unwrap().clone();
        let [measure] = measures.as_slice() else { panic!("{measures:?}") };
        assert!(measure.wall_ms > 10 && measure.wall_ms < 600_000, "{measure:?}");
        let peak = measure.peak_rss_bytes.unwrap();
        assert!(peak > 10 << 20 && peak < 16 << 30, "{measure:?}");
    }
    assert_eq!(output(&applied.outputs, "value").value, json!("one"));
    assert_eq!(output(&applied.outputs, "value").kind, json!("string"));
    assert_eq!(output(&applied.outputs, "list").value, json!([1, 2]));
    assert!(output(&applied.outputs, "secret").sensitive);
    assert_eq!(output(&applied.outputs, "secret").value, json!("s3cret"));
    assert_eq!(job.steps(), ["apply"]);
    let state = rig.state.clone().unwrap();
    assert_eq!((&state.mark, state.resource_count), (&applied.state, 2));
    assert_eq!(job.resources(ResourceStatus::Completed).len(), 2);
    assert!(job.text().contains("Apply complete!"), "{}", job.text());
    let events = job.events.lock().unwrap().clone();
    assert!(events.iter().any(|event| matches!(event, EventBody::Resource {
        address, action: Action::Create, status: ResourceStatus::Completed, resource_id: Some(id), id_key: None, elapsed_s: Some(_),
    } if address == "terraform_data.a" && id.len() == 36)), "{events:?}");
    assert_eq!(rig.driver.verify(&job, &applied).await.unwrap(), Health::Healthy);

    let same = rig.plan(&Job::new(), &source("one")).await.unwrap();
    assert!(same.no_changes && same.changes.is_empty() && same.outputs.is_empty());
    assert_eq!(same.state, state.mark);
    assert_eq!(output(&same.current_outputs, "value").value, json!("one"));

    let update = rig.plan(&Job::new(), &source("two")).await.unwrap();
    let counts = Counts::of(&update.changes);
    assert_eq!((counts.update, counts.replace), (1, 1));
    let applied = rig.apply(&Job::new(), &source("two"), &update).await.unwrap();
    assert_eq!(output(&applied.outputs, "value").value, json!("two"));
    assert_eq!(applied.state.lineage, state.mark.lineage);
    assert!(applied.state.serial > state.mark.serial);

    let destroy = rig.destroy(&Job::new(), &source("two")).await.unwrap();
    assert_eq!(Counts::of(&destroy.changes).delete, 2);
    let applied = rig.apply(&Job::new(), &source("two"), &destroy).await.unwrap();
    assert!(applied.outputs.is_empty());
    assert_eq!(rig.state.as_ref().unwrap().resource_count, 0);
    assert!(rig.destroy(&Job::new(), &source("two")).await.unwrap().no_changes);
}

#[tokio::test]
async fn a_failing_apply_keeps_the_state_of_what_was_made() {
    let mut rig = Rig::new().await;
    let source = tree(&[(
        "main.tf",
        "resource \"terraform_data\" \"ok\" {}\n\
         resource \"terraform_data\" \"bad\" {\n  depends_on = [terraform_data.ok]\n  provisioner \"local-exec\" {\n    command = \"exit 3\"\n  }\n}\n",
    )]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = Job::new();
    let (summary, diagnostics) = permanent(rig.apply(&job, &source, &planned).await.unwrap_err());
    assert!(summary.contains("local-exec provisioner error"), "{summary}");
    assert_eq!(diagnostics[0].address.as_deref(), Some("terraform_data.bad"));
    assert_eq!((diagnostics[0].file.as_deref(), diagnostics[0].line), (Some("main.tf"), Some(4)));
    assert_eq!(rig.state.as_ref().unwrap().resource_count, 2, "the tainted one is recorded too");
    assert_eq!(job.resources(ResourceStatus::Completed), ["terraform_data.ok"]);
    assert_eq!(job.resources(ResourceStatus::Errored), ["terraform_data.bad"]);
    let again = rig.plan(&Job::new(), &source).await.unwrap();
    assert_eq!(Counts::of(&again.changes).create, 0);
    assert_eq!(again.changes[0].reason.as_deref(), Some("replace_because_tainted"));
}

#[tokio::test]
async fn a_plan_whose_state_moved_on_is_stale() {
    let mut rig = Rig::new().await;
    let first = rig.plan(&Job::new(), &source("one")).await.unwrap();
    rig.apply(&Job::new(), &source("one"), &first).await.unwrap();
    let job = Job::new();
    let error = rig.apply(&job, &source("one"), &first).await.unwrap_err();
    assert!(matches!(error, DriverError::Stale { .. }), "{error:?}");
    assert!(job.states.lock().unwrap().is_empty());
}

#[tokio::test]
async fn another_tool_may_not_apply_it() {
    let rig = Rig::new().await;
    let planned = rig.plan(&Job::new(), &source("one")).await.unwrap();
    let mut input = rig.applying(&source("one"), &planned);
    input.tool.version = "0.0.1".into();
    let (summary, _) = permanent(rig.driver.apply(&Job::new(), input).await.unwrap_err());
    assert!(summary.contains("0.0.1") && summary.contains(&rig.driver.tool().version), "{summary}");
}

#[tokio::test]
async fn a_plan_file_that_is_none_is_refused() {
    let rig = Rig::new().await;
    let planned = rig.plan(&Job::new(), &source("one")).await.unwrap();
    let mut input = rig.applying(&source("one"), &planned);
    input.plan_file = "nonsense".into();
    let (summary, _) = permanent(rig.driver.apply(&Job::new(), input).await.unwrap_err());
    assert!(summary.starts_with("the apply failed"), "{summary}");
}

#[tokio::test]
async fn files_of_the_source_are_there_when_it_is_applied() {
    let mut rig = Rig::new().await;
    let source = tree(&[
        (
            "main.tf",
            "resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n    command = \"cat note.txt\"\n  }\n}\n",
        ),
        ("note.txt", "read-at-apply"),
    ]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = Job::new();
    rig.apply(&job, &source, &planned).await.unwrap();
    assert!(job.text().contains("read-at-apply"), "{}", job.text());
}

#[tokio::test]
async fn ephemeral_variables_are_given_again_at_apply() {
    let mut rig = Rig::new().await;
    let source = tree(&[(
        "main.tf",
        "variable \"token\" {\n  type = string\n  ephemeral = true\n}\nvariable \"plain\" { type = string }\n\
         resource \"terraform_data\" \"x\" {\n  input = var.plain\n  provisioner \"local-exec\" {\n    command = \"test -n \\\"$T\\\"\"\n    environment = { T = var.token }\n  }\n}\n",
    )]);
    let values = [("token", json!("tok-tok-tok")), ("plain", json!("p"))];
    let planned = rig.plan_with(&Job::new(), &source, &values).await.unwrap();
    let mut input = rig.applying(&source, &planned);
    input.variables = crate::job::values(&values);
    let job = Job::new();
    let applied = rig.driver.apply(&job, input).await;
    assert!(applied.is_ok(), "{applied:?}\n{}", job.text());
    rig.state = job.last_state();
    assert_eq!(rig.state.unwrap().resource_count, 1);
}

#[tokio::test]
async fn what_the_tool_starts_knows_its_trace() {
    let mut rig = Rig::new().await;
    let mark = tempfile::tempdir().unwrap();
    let seen = mark.path().join("seen");
    let source = tree(&[(
        "main.tf",
        &format!(
            "resource \"terraform_data\" \"x\" {{\n  provisioner \"local-exec\" {{\n    command = \"echo $TRACEPARENT > {}\"\n  }}\n}}\n",
            seen.display()
        ),
    )]);
    rig.deploy(&source).await;
    assert_eq!(std::fs::read_to_string(seen).unwrap().trim(), crate::job::TRACEPARENT);
}

#[tokio::test]
async fn no_state_is_saved_before_the_journal_that_names_what_is_in_it() {
    let mut rig = Rig::with(|options| options.parallelism = Some(4)).await;
    // Many that are quick, for as long as it takes to save some states in between.
    let source = tree(&[(
        "main.tf",
        "resource \"terraform_data\" \"x\" {\n  count = 160\n  provisioner \"local-exec\" {\n    command = \"sleep 0.1\"\n  }\n}\n",
    )]);
    let planned = rig.plan(&Job::new(), &source).await.unwrap();
    let job = Job::new();
    rig.apply(&job, &source, &planned).await.unwrap();
    let (states, safe) = (job.states.lock().unwrap().clone(), job.safe.lock().unwrap().clone());
    assert!(states.len() >= 2, "{} states", states.len());
    let events = job.events.lock().unwrap().clone();
    for (state, safe) in states.iter().zip(safe) {
        let begun: std::collections::BTreeSet<String> = events[..safe]
            .iter()
            .filter_map(|event| match event {
                EventBody::Resource { address, status: ResourceStatus::Started, .. } => {
                    Some(address.clone())
                }
                _ => None,
            })
            .collect();
        let json: serde_json::Value = serde_json::from_slice(&state.content).unwrap();
        let instances = json["resources"][0]["instances"].as_array().unwrap();
        for instance in instances {
            let address = format!("terraform_data.x[{}]", instance["index_key"]);
            assert!(begun.contains(&address), "{address} is in a state, and in no journal");
        }
    }
}
