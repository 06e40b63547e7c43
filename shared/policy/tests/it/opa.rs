//! The shipped pack says the same in OPA as here.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use slipway_policy::Pack;

use crate::cases::{shipped, table};
use crate::plan::Case;

/// Runs `opa`, if it is on the path.
#[expect(clippy::disallowed_methods, reason = "a test compares with another program")]
fn opa(arguments: &[&str], at: &Path) -> Option<Output> {
    std::process::Command::new("opa").args(arguments).current_dir(at).output().ok()
}

type Verdicts = BTreeMap<(usize, String, String), String>;

#[test]
fn opa_finds_the_same() {
    let home = tempfile::tempdir().expect("a directory");
    let Some(version) = opa(&["version"], home.path()) else {
        println!("SKIPPED: no `opa` on the path, so there is nothing to compare with");
        return;
    };
    println!("{}", String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default());

    let engine = shipped();
    let mut ours = Verdicts::new();
    let mut inputs = Vec::new();
    for (n, (rule, _, text)) in table().into_iter().enumerate() {
        let case = Case::read(text);
        inputs.push(engine.input(&case.document()).expect("an input"));
        for f in case.judge(&engine).findings {
            let state = serde_json::to_value(f.state).expect("a state");
            assert_ne!(f.rule, "policy_error", "{rule}: {}", f.message);
            let state = state.as_str().expect("a text").to_owned();
            ours.insert((n, f.rule, f.address), state);
        }
    }

    let packages: Vec<String> = Pack::shipped()
        .modules()
        .iter()
        .filter(|m| m.text.contains("\nresult contains "))
        .map(|m| m.path.trim_start_matches("slipway/").trim_end_matches(".rego").to_owned())
        .collect();
    for module in Pack::shipped().modules() {
        write(&home.path().join(module.path.replace('/', "_")), &module.text);
    }
    write(&home.path().join("lib.rego"), include_str!("../../packs/terraform/lib.rego"));
    write(
        &home.path().join("primitives.rego"),
        include_str!("../../packs/terraform/primitives.rego"),
    );
    write(&home.path().join("cases.json"), &json!({"cases": inputs}).to_string());
    let query = format!(
        "[[n, r] | some n, doc in data.cases; some p in {}; some r in data.slipway[p].result with input as doc]",
        json!(packages)
    );
    let output =
        opa(&["eval", "--format", "json", "--data", ".", &query], home.path()).expect("opa runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let entries = answer["result"][0]["expressions"][0]["value"].as_array().expect("a list");
    let mut theirs = Verdicts::new();
    for entry in entries {
        let text = |key: &str| entry[1][key].as_str().expect("a text").to_owned();
        let n = usize::try_from(entry[0].as_u64().expect("a number")).expect("small");
        let state =
            theirs.entry((n, text("rule"), text("address"))).or_insert_with(|| text("state"));
        if text("state") == "fail" {
            *state = text("state");
        }
    }
    println!("{} inputs, {} findings compared", inputs.len(), theirs.len());
    assert!(theirs.len() > inputs.len(), "there is something to compare");
    let entries = |of: &Verdicts, other: &Verdicts| -> Vec<String> {
        of.iter()
            .filter(|(key, state)| other.get(*key) != Some(*state))
            .map(|((n, rule, address), state)| format!("{n} {rule} {address} {state}"))
            .collect()
    };
    assert_eq!(entries(&ours, &theirs), entries(&theirs, &ours), "only here and only in OPA");
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}
