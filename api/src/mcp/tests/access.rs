//! Every tool for every role: what is listed, and what a call on a thing of a project answers. What
//! comes of it is a table in `docs/ACCESS.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};
use slipway_domain::access::{Door, Grants, Principal, Role};

use super::client::{Client, World};
use super::house::{House, creates, submission};
use crate::mcp::tool;

fn with_role(project: Option<&str>, role: Role) -> Principal {
    let mut who = Principal::local(Door::Mcp);
    who.actor.id = format!("{role}@{}", project.unwrap_or("house"));
    who.grants = Grants::of([(project, &BTreeSet::from([role]))]);
    who
}

fn callers() -> Vec<(String, Principal)> {
    let mut nobody = with_role(None, Role::Viewer);
    nobody.grants = Grants::default();
    let mut all = vec![
        ("nobody".to_owned(), nobody),
        ("other admin".to_owned(), with_role(Some("bank"), Role::Admin)),
    ];
    all.extend(Role::ALL.map(|role| (role.to_string(), with_role(Some("shop"), role))));
    all.extend(Role::ALL.map(|role| (format!("house {role}"), with_role(None, role))));
    all
}

/// Arguments for a deployment of the project `shop`; `None` for a tool that this test does not know.
fn arguments(tool: &str, of: &str, stack: &str) -> Option<Value> {
    let one = json!({"deployment_id": of});
    Some(match tool {
        "list_templates" | "list_deployments" | "list_stacks" | "list_config" => json!({}),
        "resolve_config" => json!({"project": "shop"}),
        "get_drift" | "reconcile_drift" => json!({"stack_id": stack}),
        "submit_deployment" => submission(),
        "approve_deployment" | "reject_deployment" => {
            json!({"deployment_id": of, "plan_digest": format!("sha256:{}", "0".repeat(64))})
        }
        "wait_for_deployment" => json!({"deployment_id": of, "timeout_s": 1}),
        "get_deployment" | "get_plan" | "apply_deployment" | "cancel_deployment"
        | "get_outputs" | "get_recovery" | "get_report" | "read_logs" => one,
        _ => return None,
    })
}

#[tokio::test]
async fn every_tool_for_every_role() {
    let house = House::new().await;
    let local = Client::connect(&house.open().await, World::Stateless).await;
    let callers = callers();
    let mut cells = vec![String::new(); tool::all().len()];
    let mut wrong = Vec::new();
    for (caller, who) in &callers {
        let of = local.submit().await;
        let shown = local.call("get_deployment", json!({"deployment_id": of})).await;
        let stack = shown.ok()["stack_id"].as_str().unwrap().to_owned();
        house.plan(creates(1)).await;
        let client =
            Client::connect(&house.open_as(Some(who.clone())).await, World::Stateless).await;
        let listed = client.request("tools/list", json!({})).await;
        let listed: Vec<_> = listed.result()["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect();
        for (entry, line) in tool::all().iter().zip(&mut cells) {
            let name = entry.tool.name.as_ref();
            let given =
                arguments(name, &of, &stack).unwrap_or_else(|| panic!("{name} has no arguments"));
            let answer = client.call(name, given.clone()).await;
            let came = if answer.body.get("error").is_some() {
                assert_eq!(answer.error(), -32602, "{caller}: {name}");
                "–"
            } else {
                match answer.result()["structuredContent"]["code"].as_str() {
                    Some("forbidden") => "403",
                    Some("not_found") => "404",
                    _ => "yes",
                }
            };
            let names_project = given != json!({});
            let may = who.grants.may_in("shop", entry.scope);
            let should = match () {
                () if !who.grants.may_somewhere(entry.scope) => "–",
                () if !names_project || may => "yes",
                () if who.grants.sees("shop") => "403",
                () => "404",
            };
            // Nobody's agent decides on a plan by itself; see `consent`.
            if came != should {
                wrong.push(format!("{caller}: {name}: {came}, not {should}: {:?}", answer.body));
            }
            assert_eq!(listed.iter().any(|tool| tool == name), came != "–", "{caller}: {name}");
            let _ = write!(line, " {came} |");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let names: Vec<_> = callers.iter().map(|(name, _)| name.as_str()).collect();
    let mut text =
        format!("| tool | {} |\n|{}\n", names.join(" | "), " --- |".repeat(names.len() + 1));
    for (entry, line) in tool::all().iter().zip(&cells) {
        let _ = writeln!(text, "| `{}` |{line}", entry.tool.name);
    }
    is_in_the_docs(&text);
}

fn is_in_the_docs(text: &str) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ACCESS.md");
    let page = std::fs::read_to_string(file).unwrap();
    let (begin, end) = ("<!-- generated: tools -->\n", "<!-- end of tools -->");
    let (head, rest) = page.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let should = format!("{head}{begin}\n{text}\n{end}{tail}");
    #[expect(clippy::disallowed_methods, reason = "a switch of this test")]
    if std::env::var("SLIPWAY_TEST_UPDATE_SNAPSHOTS").is_ok() {
        std::fs::write(file, &should).unwrap();
        return;
    }
    assert!(page == should, "docs/ACCESS.md is old: SLIPWAY_TEST_UPDATE_SNAPSHOTS=1");
}
