//! A template's life: pushed from the command line, deployed through REST and MCP, replaced by its
//! next version, taken out of offer.

use std::process::Output;

use serde_json::{Value, json};
use slipway_domain::source::Source;
use slipway_domain::state::DeploymentState;
use slipway_domain::template::TemplateState;
use slipway_services::template::{Deprecate, Publish, Render};

use crate::harness::{
    Database, Server, command, deployed, digest, planned, refused, request, template, until,
};

const MAIN: &str = r#"
resource "terraform_data" "it" {
  input = "VERSION ${var.name} ${var.token}"
}

output "text" {
  value     = terraform_data.it.output
  sensitive = true
}
"#;

const VARIABLES: &str = r#"
variable "name" {
  description = "What it is called."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{3,8}$", var.name))
    error_message = "A name has 3 to 8 small letters."
  }
}

variable "token" {
  type      = string
  default   = ""
  sensitive = true
}
"#;

fn write(server: &Server, main: &str) {
    let dir = server.path("greeter");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("main.tf"), main).unwrap();
    std::fs::write(dir.join("variables.tf"), VARIABLES).unwrap();
    let manifest = "title = \"Greeter\"\ndescription = \"Greets.\"\ncategory = \"example\"\n";
    std::fs::write(dir.join("template.toml"), manifest).unwrap();
}

fn slipway(server: &Server, args: &[&str]) -> Output {
    let mut command = command();
    command.args(args).env("SLIPWAY_URL", &server.url).current_dir(server.dir.path());
    command.output().unwrap()
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    out + &err
}

/// Calls a tool over MCP; gives its structured answer.
async fn tool(server: &Server, name: &str, arguments: Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": name, "arguments": arguments, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}}}});
    let answer = reqwest::Client::builder()
        .build()
        .unwrap()
        .post(format!("{}/mcp", server.url))
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", name)
        .json(&message)
        .send()
        .await
        .unwrap();
    let text = answer.text().await.unwrap();
    let json = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back();
    let answer: Value = serde_json::from_str(json.unwrap_or(&text)).unwrap();
    answer["result"].clone()
}

fn version_of(source: &Source) -> Option<i32> {
    match source {
        Source::Template { version, .. } => *version,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_lives_through_its_versions_on_sqlite() {
    life(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_lives_through_its_versions_on_postgres() {
    life(Database::postgres().await).await;
}

async fn life(database: Database) {
    let server = Server::start_with(database, &[]).await;
    let client = &server.client;
    write(&server, &MAIN.replace("VERSION", "one"));
    let pushed = slipway(&server, &["templates", "push", "greeter"]);
    assert!(said(&pushed, 0).contains("published version 1 of greeter"));
    let again = slipway(&server, &["templates", "push", "greeter"]);
    assert!(said(&again, 0).contains("nothing is new"));
    let shown = said(&slipway(&server, &["templates", "show", "greeter"]), 0);
    assert!(shown.contains("A name has 3 to 8 small letters."), "{shown}");

    // A constraint that is broken is found before anything is accepted, by every door.
    let named = |name: &str| [("name".to_owned(), name.into())].into();
    let wrong = request("a", template("greeter"), named("No"));
    let error = client.submit(&wrong, None).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.status, &*problem.errors[0].pointer), (422, "/variables/name"));
    assert_eq!(problem.errors[0].detail, "A name has 3 to 8 small letters.");
    let arguments = |version: Option<i32>, name: &str| {
        let mut source = json!({"type": "template", "name": "greeter"});
        if let Some(version) = version {
            source["version"] = json!(version);
        }
        json!({"stack": {"project": "tests", "name": "mcp", "environment": "dev"},
            "source": source, "variables": {"name": name}})
    };
    let answer = tool(&server, "submit_deployment", arguments(None, "NO")).await;
    assert_eq!(answer["isError"], json!(true), "{answer}");
    assert!(answer.to_string().contains("A name has 3 to 8 small letters."), "{answer}");
    let cli = ["deploy", "--template", "greeter", "--var", "name=NO"];
    assert!(said(&slipway(&server, &cli), 2).contains("A name has 3 to 8 small letters."));
    let page = client.deployments(&slipway_app::client::http::DeploymentQuery::default(), 10).await;
    assert_eq!(page.unwrap().items, [], "nothing was accepted");

    let first = deployed(client, &request("a", template("greeter"), named("ada"))).await;
    assert_eq!(version_of(&first.source), Some(1));
    assert_eq!(outputs(&server, &first).await, "one ada ");

    write(&server, &MAIN.replace("VERSION", "two"));
    let pushed = slipway(&server, &["templates", "push", "greeter", "--expected-version", "0"]);
    assert!(said(&pushed, 7).contains("is 1, not 0"));
    let pushed = slipway(&server, &["templates", "push", "greeter", "--expected-version", "1"]);
    assert!(said(&pushed, 0).contains("published version 2"));

    // Pinned, over REST and MCP; by default the new one.
    let pinned = Source::Template { name: "greeter".to_owned(), version: Some(1) };
    let old = deployed(client, &request("b", pinned, named("bob"))).await;
    assert_eq!(version_of(&old.source), Some(1));
    assert_eq!(outputs(&server, &old).await, "one bob ");
    for (version, text) in [(Some(1), "one cyd "), (None, "two cyd ")] {
        let answer = tool(&server, "submit_deployment", arguments(version, "cyd")).await;
        let id = &answer["structuredContent"]["deployment_id"];
        let id = id.as_str().unwrap_or_else(|| panic!("{answer}")).parse().unwrap();
        let waiting = until(client, id, &[DeploymentState::AwaitingApproval]).await;
        assert_eq!(version_of(&waiting.source), Some(version.unwrap_or(2)));
        client.approve(id, digest(&waiting), None).await.unwrap();
        let done = until(client, id, &[DeploymentState::Succeeded]).await;
        assert_eq!(outputs(&server, &done).await, text);
    }
    let listed = tool(&server, "list_templates", json!({"name": "greeter"})).await;
    let listed = &listed["structuredContent"]["templates"][0];
    assert_eq!((&listed["version"], &listed["title"]), (&json!(2), &json!("Greeter")));
    assert_eq!(
        listed["inputs"][0]["constraints"],
        json!(["A name has 3 to 8 small letters."]),
        "{listed}"
    );

    // What stands in a value stays a value, all the way to the state.
    let hostile = "a\"b ${1+1} %{ if true }x%{ endif } \\ \n $${y} 日本";
    let variables =
        [("name".to_owned(), json!("dan")), ("token".to_owned(), json!(hostile))].into();
    let render = Render { version: None, variables };
    let rendered = client.render("greeter", &render).await.unwrap();
    assert!(!serde_json::to_string(&rendered).unwrap().contains("1+1"), "it is sensitive");
    let done = deployed(client, &request("c", template("greeter"), render.variables)).await;
    assert_eq!(outputs(&server, &done).await, format!("two dan {hostile}"));

    retirement(&server).await;
}

/// Deprecating and deleting.
async fn retirement(server: &Server) {
    let client = &server.client;
    let named: slipway_domain::deployment::Variables = [("name".to_owned(), json!("eve"))].into();
    said(&slipway(server, &["templates", "deprecate", "greeter", "--template-version", "2"]), 0);
    let back = planned(client, &request("d", template("greeter"), named.clone())).await;
    assert_eq!(version_of(&back.source), Some(1));
    let all = ["templates", "deprecate", "greeter", "--reason", "use greeter2"];
    assert!(said(&slipway(server, &all), 0).contains("deprecated"));
    let error = client.submit(&request("e", template("greeter"), named.clone()), None).await;
    assert!(error.unwrap_err().problem().unwrap().detail.contains("use greeter2"));
    said(&slipway(server, &["templates", "deprecate", "greeter", "--undo"]), 0);
    let state = client.template("greeter").await.unwrap();
    assert_eq!((state.state, state.version), (TemplateState::Active, 2));
    let in_use = refused(client.delete_template_version("greeter", 1).await);
    assert_eq!(in_use, (409, "template_in_use".to_owned()));
    let reserved = refused(client.deprecate_template("hello", &Deprecate::default()).await);
    assert_eq!(reserved, (409, "template_reserved".to_owned()));

    // What is no good is not taken, and leaves nothing.
    let bad = server.path("bad");
    std::fs::create_dir(&bad).unwrap();
    std::fs::write(bad.join("main.tf"), "variable \"x\" {}\n").unwrap();
    let publish = Publish {
        name: "bad".to_owned(),
        title: Some("Bad".to_owned()),
        description: None,
        category: None,
        labels: None,
        expected_version: None,
    };
    let refusal = refused(client.publish(&publish, &bad, "k1").await);
    assert_eq!(refusal, (422, "invalid_configuration".to_owned()), "an input without a type");
    std::fs::write(bad.join("main.tf"), "resource {\n").unwrap();
    let refusal = refused(client.publish(&publish, &bad, "k2").await);
    assert_eq!(refusal, (422, "invalid_configuration".to_owned()));
    assert_eq!(refused(client.template("bad").await).0, 404);
}

async fn outputs(server: &Server, of: &slipway_domain::deployment::Deployment) -> String {
    let outputs = server.client.outputs(of.id, true).await.unwrap();
    outputs[0].value.as_str().unwrap().to_owned()
}
