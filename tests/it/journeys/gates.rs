//! The gates from one end to the other: plans that must not go through do not, at every door, each
//! with a report that names resource, rule and remedy.
//!
//! The providers of clouds cannot be had without their accounts, so `tests/rig/canned` stands for
//! Terraform here: its plans are documents in the form that those providers give. Everything else is
//! real.

use std::process::Output;

use serde_json::{Value, json};
use slipway_domain::deployment::Deployment;
use slipway_domain::gate::{GateKind, GateVerdict};
use slipway_domain::source::Source;
use slipway_domain::state::DeploymentState as S;

use crate::harness::{
    Database, Entry, Server, command, digest, repository, request, soon, tar_gz, until,
};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

async fn server() -> Server {
    let tool = repository().join("tests/rig/canned/terraform");
    Server::start_with(Database::Sqlite, &[("SLIPWAY_TERRAFORM_BINARY", tool.to_str().unwrap())])
        .await
}

/// A created resource as a plan has it.
fn created(kind: &str, name: &str, after: Value, unknown: Value) -> Value {
    json!({"address": format!("{kind}.{name}"), "mode": "managed", "type": kind, "name": name,
        "provider_name": "registry.terraform.io/hashicorp/aws",
        "change": {"actions": ["create"], "before": null, "after": after,
            "after_unknown": unknown, "before_sensitive": false, "after_sensitive": {}}})
}

fn document(changes: &[Value]) -> Value {
    let resources: Vec<Value> = changes
        .iter()
        .map(|c| {
            json!({"address": c["address"], "mode": "managed", "type": c["type"],
                "name": c["name"], "provider_config_key": "aws", "expressions": {}})
        })
        .collect();
    json!({"format_version": "1.2", "terraform_version": "1.11.4", "variables": {},
        "planned_values": {"root_module": {}}, "resource_changes": changes,
        "configuration": {
            "provider_config": {"aws": {"name": "aws",
                "full_name": "registry.terraform.io/hashicorp/aws",
                "expressions": {"region": {"constant_value": "us-east-1"}}}},
            "root_module": {"resources": resources}}})
}

fn public_bucket() -> Value {
    document(&[
        created(
            "aws_s3_bucket",
            "site",
            json!({"bucket": "site-1", "force_destroy": false, "tags": null}),
            json!({"id": true, "arn": true}),
        ),
        created(
            "aws_s3_bucket_acl",
            "site",
            json!({"bucket": "site-1", "acl": "public-read", "expected_bucket_owner": null}),
            json!({"id": true}),
        ),
    ])
}

fn open_ssh() -> Value {
    let rule = json!([{"cidr_blocks": ["0.0.0.0/0"], "description": "ssh", "from_port": 22,
        "ipv6_cidr_blocks": [], "prefix_list_ids": [], "protocol": "tcp", "security_groups": [],
        "self": false, "to_port": 22}]);
    document(&[created(
        "aws_security_group",
        "bastion",
        json!({"name": "bastion", "description": "ssh", "ingress": rule}),
        json!({"id": true, "arn": true, "egress": true, "vpc_id": true}),
    )])
}

fn large_machine() -> Value {
    document(&[created(
        "aws_instance",
        "big",
        json!({"ami": "ami-1", "instance_type": "m5.24xlarge", "tenancy": "default",
            "associate_public_ip_address": false, "ebs_optimized": true,
            "metadata_options": [{"http_tokens": "required", "http_endpoint": "enabled"}],
            "root_block_device": [{"encrypted": true, "volume_size": 10, "volume_type": "gp3"}]}),
        json!({"id": true}),
    )])
}

fn deleted_database() -> Value {
    document(&[json!({"address": "aws_db_instance.orders", "mode": "managed",
        "type": "aws_db_instance", "name": "orders",
        "provider_name": "registry.terraform.io/hashicorp/aws",
        "change": {"actions": ["delete"], "after": null, "after_unknown": {},
            "before": {"identifier": "orders", "engine": "postgres", "instance_class":
                "db.t3.micro", "allocated_storage": 20}, "before_sensitive": {},
            "after_sensitive": false}})])
}

/// Submits a stack whose plan is this document.
async fn submit(server: &Server, name: &str, plan: &Value) -> Deployment {
    submit_filled(server, name, plan, 0).await
}

/// The same, with `@FILL@` in it replaced by so many bytes.
async fn submit_filled(server: &Server, name: &str, plan: &Value, fill: usize) -> Deployment {
    let plan = plan.to_string();
    let mut files = vec![
        Entry::File("main.tf", b"terraform {\n  required_version = \">= 1.0\"\n}\n".to_vec()),
        Entry::File("plan.json", plan.into_bytes()),
    ];
    if fill > 0 {
        files.push(Entry::File("fill", fill.to_string().into_bytes()));
    }
    let archive = tar_gz(&files);
    let artifact = server.client.upload_archive(archive.into(), None).await.unwrap();
    let source = Source::Archive { artifact_id: artifact.id, path: None };
    server.client.submit(&request(name, source, [].into()), None).await.unwrap()
}

fn slipway(server: &Server, args: &[&str]) -> Output {
    command()
        .args(args)
        .env("SLIPWAY_URL", &server.url)
        .current_dir(server.dir.path())
        .output()
        .unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "stdout: {out}\nstderr: {err}");
    out.into_owned()
}

/// Asks a tool over MCP, as a client of the newest revision does.
async fn mcp(server: &Server, tool: &str, arguments: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": tool, "arguments": arguments,
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}}}});
    let url = format!("{}/mcp", server.url.trim_end_matches('/'));
    #[expect(clippy::disallowed_methods, reason = "a client for a test")]
    let answer = reqwest::Client::new()
        .post(url)
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", tool)
        .json(&body)
        .send()
        .await
        .unwrap();
    let text = answer.text().await.unwrap();
    let json = text.lines().find_map(|line| line.strip_prefix("data: ").filter(|d| d.len() > 2));
    let answer: Value = serde_json::from_str(json.unwrap_or(&text)).unwrap();
    assert_ne!(answer["result"]["isError"], json!(true), "{answer:#}");
    answer["result"]["structuredContent"].clone()
}

/// What every door says of a plan: the rule, the resource and something to do.
async fn told_everywhere(server: &Server, of: &Deployment, rule: &str, address: &str) {
    let report = server.client.report(of.id).await.unwrap();
    let finding = report.judgement.findings.iter().find(|f| f.rule == rule);
    let finding = finding.unwrap_or_else(|| panic!("{rule}: {:#?}", report.judgement));
    assert_eq!(finding.address, address);
    assert!(!finding.remedy.is_empty(), "{finding:?}");
    let page = said(&slipway(server, &["report", &of.id.to_string()]));
    let tool = mcp(server, "get_report", json!({"deployment_id": of.id})).await.to_string();
    for text in [&page, &tool] {
        assert!(text.contains(rule) && text.contains(address), "{rule}: {text}");
        // Its first words: on the page some characters are escaped.
        let words: String = finding.remedy.chars().take(12).collect();
        assert!(text.contains(&words), "{words}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_go_through_is_blocked_at_every_door() {
    let server = server().await;
    let client = &server.client;
    for (name, plan, rule, address) in [
        ("site", public_bucket(), "aws_s3_public_acl", "aws_s3_bucket_acl.site"),
        ("bastion", open_ssh(), "aws_open_ssh", "aws_security_group.bastion"),
    ] {
        let accepted = submit(&server, name, &plan).await;
        let blocked = until(client, accepted.id, &[S::Blocked]).await;
        assert!(blocked.reason.as_deref().unwrap().contains("policy"), "{:?}", blocked.reason);
        told_everywhere(&server, &blocked, rule, address).await;
        let refused = client.approve(blocked.id, digest(&blocked), None).await.unwrap_err();
        assert!(refused.to_string().contains("blocked"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_over_the_limit_of_cost_is_blocked() {
    let server = server().await;
    let settings = server.path("gates.json");
    let limit = json!({"cost": {"limits": {"max_monthly_total":
        {"max": "1000", "then": "deny"}}}});
    std::fs::write(&settings, limit.to_string()).unwrap();
    let settings = settings.to_str().unwrap();
    said(&slipway(&server, &["gates", "set", settings, "--project", "tests"]));
    let resolved = said(&slipway(&server, &["gates", "resolve", "tests", "dev"]));
    assert!(resolved.contains("settings for project tests, version 1"), "{resolved}");

    let accepted = submit(&server, "big", &large_machine()).await;
    let blocked = until(&server.client, accepted.id, &[S::Blocked]).await;
    assert!(blocked.reason.as_deref().unwrap().contains("gate cost"), "{:?}", blocked.reason);
    let report = server.client.report(blocked.id).await.unwrap();
    let cost = report.judgement.cost.as_ref().unwrap();
    assert_eq!(cost.resources.len(), 1, "{cost:#?}");
    let finding = report.judgement.findings.iter().find(|f| f.rule == "cost_monthly_total");
    assert!(finding.unwrap().message.contains("aws_instance.big"), "{finding:?}");
    told_everywhere(&server, &blocked, "cost_monthly_total", "aws_instance.big").await;

    // A change that somebody made meanwhile is not overwritten.
    let late = ["gates", "set", settings, "--project", "tests", "--if-version", "7"];
    let refused = slipway(&server, &late);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another version"), "{refused:?}");
    // Where nothing is said, nothing is limited.
    said(&slipway(&server, &["gates", "forget", "--project", "tests"]));
    let again = submit(&server, "big", &large_machine()).await;
    let waits = until(&server.client, again.id, &[S::AwaitingApproval]).await;
    let gates = server.client.plan(waits.id).await.unwrap().gates;
    let cost = gates.iter().find(|gate| gate.gate == GateKind::Cost).unwrap();
    assert_ne!(cost.verdict, GateVerdict::Deny, "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_deletes_a_database_wants_two_people() {
    let server = server().await;
    let accepted = submit(&server, "orders", &deleted_database()).await;
    let waits = until(&server.client, accepted.id, &[S::AwaitingApproval]).await;
    told_everywhere(&server, &waits, "stateful_delete", "aws_db_instance.orders").await;
    let need = server.client.report(waits.id).await.unwrap().judgement.approval.unwrap();
    assert_eq!(need.approvals, 2, "{need:#?}");
    let one = server.client.approve(waits.id, digest(&waits), None).await.unwrap();
    assert_eq!(one.state, S::AwaitingApproval, "one person is not enough");
    let page = said(&slipway(&server, &["approvals", &waits.id.to_string()]));
    assert!(page.contains('1') && page.contains('2'), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exemption_lets_one_through_until_it_ends() {
    let server = server().await;
    let client = &server.client;
    let accepted = submit(&server, "site", &public_bucket()).await;
    let blocked = until(client, accepted.id, &[S::Blocked]).await;
    let report = client.report(blocked.id).await.unwrap();
    let mut granted = Vec::new();
    let denied = report.judgement.findings.iter().filter(|f| {
        use slipway_domain::finding::Verdict;
        f.verdict == Verdict::Deny
    });
    for finding in denied {
        let address = if finding.address.is_empty() { "*" } else { &finding.address };
        let args = [
            "exemptions",
            "add",
            &finding.rule,
            address,
            "--project",
            "tests",
            "--env",
            "dev",
            "--days",
            "30",
            "--owner",
            "web",
            "--reason",
            "a public site, reviewed",
            "--json",
        ];
        let made: Value = serde_json::from_str(&said(&slipway(&server, &args))).unwrap();
        granted.push(made["id"].as_str().unwrap().to_owned());
    }
    assert!(!granted.is_empty());
    said(&slipway(&server, &["reconsider", &blocked.id.to_string(), "--reason", "exempted"]));
    let waits = until(client, blocked.id, &[S::AwaitingApproval]).await;
    let report = client.report(waits.id).await.unwrap();
    assert!(report.judgement.holds_until.is_some());
    assert!(!report.judgement.exemptions.is_empty());

    // It ends before anybody has approved: the approval finds that, and a new plan is judged.
    said(&slipway(&server, &["exemptions", "revoke", &granted[0]]));
    let refused = client.approve(waits.id, digest(&waits), None).await.unwrap_err();
    assert!(refused.to_string().contains("exemption"), "{refused}");
    let blocked = until(client, waits.id, &[S::Blocked]).await;
    soon("no plan is applied", PATIENCE, async || {
        client.deployment(blocked.id).await.unwrap().approval.is_none()
    })
    .await;
}

/// Whatever a plan or a policy is like, the gate stays shut and the worker goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_gate_cannot_judge_does_not_go_through() {
    let server = server().await;
    let client = &server.client;
    // A plan of 100 MB, and one that is larger than what is read.
    let machine = created(
        "aws_instance",
        "big",
        json!({"ami": "ami-1", "instance_type": "t3.micro", "user_data": "@FILL@"}),
        json!({"id": true}),
    );
    let plan = document(&[machine]);
    let accepted = submit_filled(&server, "large", &plan, 100_000_000).await;
    let ended = until(client, accepted.id, &[S::Blocked, S::Failed, S::AwaitingApproval]).await;
    assert_eq!(ended.state, S::Blocked, "{:?} {:?}", ended.reason, ended.failure);
    let report = client.report(ended.id).await.unwrap();
    let denied: Vec<_> =
        report.judgement.gates.iter().filter(|g| g.verdict == GateVerdict::Deny).collect();
    assert!(denied.iter().any(|gate| gate.gate == GateKind::Policy), "{denied:?}");
    for rule in ["policy_error", "cost_error"] {
        let finding = report.judgement.findings.iter().find(|finding| finding.rule == rule);
        assert!(finding.is_some_and(|f| f.message.contains("bytes")), "{rule}: {finding:?}");
    }
    let accepted = submit_filled(&server, "larger", &plan, 300_000_000).await;
    let ended = until(client, accepted.id, &[S::Blocked, S::Failed, S::AwaitingApproval]).await;
    assert_eq!(ended.state, S::Failed, "{:?}", ended.reason);
    let why = ended.failure.as_ref().unwrap();
    assert!(format!("{why:?}").contains("bytes"), "{why:?}");

    // A policy that goes on for ever, as a warning only.
    let dir = server.path("loops");
    std::fs::create_dir(&dir).unwrap();
    let list = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let text = format!(
        "package user.loops\n\nimport rego.v1\n\nn := [{list}]\n\nwarn contains \"never\" if {{\n\t\
         some a in n\n\tsome b in n\n\tsome c in n\n\tsome d in n\n\ta + b + c + d < 0\n}}\n"
    );
    std::fs::write(dir.join("a.rego"), text).unwrap();
    said(&slipway(&server, &["policies", "push", "loops"]));
    let settings = server.path("loops.json");
    let packs = json!({"policy": {"packs": [{"name": "loops", "mode": "warn"}]}});
    std::fs::write(&settings, packs.to_string()).unwrap();
    said(&slipway(&server, &["gates", "set", settings.to_str().unwrap(), "--project", "tests"]));
    let small = document(&[created("terraform_data", "x", json!({"input": 1}), json!({}))]);
    let accepted = submit(&server, "looped", &small).await;
    let ended = until(client, accepted.id, &[S::Blocked, S::Failed, S::AwaitingApproval]).await;
    assert_eq!(ended.state, S::Blocked, "{:?} {:?}", ended.reason, ended.failure);
    let report = client.report(ended.id).await.unwrap();
    let finding = report.judgement.findings.iter().find(|f| f.rule == "policy_error");
    assert!(finding.unwrap().message.contains("longer than"), "{finding:?}");

    // The worker lives, and judges the next one.
    said(&slipway(&server, &["gates", "forget", "--project", "tests"]));
    let accepted = submit(&server, "small", &small).await;
    until(client, accepted.id, &[S::AwaitingApproval]).await;
}
