//! Requests that are made up from the OpenAPI document, against every endpoint and by every role:
//! nothing ends in a server error, every answer is one that the document describes, nothing that asks
//! for a token is had without one, and nobody reads what somebody else made in a project of theirs.
//! Run it with `./test api-fuzz`.
//!
//! Environment: `SCHEMATHESIS_SEED` (1 when it is not set),
//! `SCHEMATHESIS_EXAMPLES` (made-up requests for each operation; 10).

use std::fmt::Write as _;
use std::process::Command;

use slipway_app::client::http::Client;
use slipway_domain::Secret;
use slipway_domain::access::{Role, Scope};
use slipway_domain::auth::account::AccountKind;
use slipway_domain::auth::api_key::NewApiKey;
use slipway_domain::id::AccountId;
use slipway_domain::member::MemberRoles;
use slipway_domain::project::NewProject;

use crate::chaos::run::number;
use crate::harness::{Database, PATIENCE, Server, deployed, hello, planned, request, template};

/// Whatever is asked: no server error, and no status, media type, header or body that the document
/// does not know; what was deleted is gone, and what was made is there; a token that is missing or
/// wrong is refused; who is somewhere else does not see it.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,use_after_free,\
                      ensure_resource_availability,ignored_auth,object_level_authorization";

const PASSWORD: &str = "correct horse battery";

/// Somebody whose requests are made up.
struct Caller {
    name: &'static str,
    phases: &'static str,
    /// How long it goes on: what is made up at random is repeated until then, so a slow machine sends
    /// fewer requests.
    limit_s: u32,
}

/// The admin of the house comes last, because that one may take the roles of the others away.
const CALLERS: &[Caller] = &[
    Caller { name: "viewer", phases: "examples,coverage,fuzzing", limit_s: 60 },
    Caller { name: "developer", phases: "examples,coverage,fuzzing", limit_s: 60 },
    Caller { name: "approver", phases: "examples,coverage,fuzzing", limit_s: 60 },
    Caller { name: "operator", phases: "examples,coverage,fuzzing", limit_s: 60 },
    Caller { name: "owner", phases: "examples,coverage,fuzzing,stateful", limit_s: 240 },
    Caller { name: "house", phases: "examples,coverage,fuzzing,stateful", limit_s: 420 },
];

/// Who must not see what the other one has.
const PEERS: [&str; 2] = ["owner", "other"];

fn run(server: &Server, caller: &Caller) -> String {
    let config = server.path("schemathesis.toml");
    let users = format!("[auth.wfc]\npath = \"users.yaml\"\nuser = \"{}\"\n", caller.name);
    std::fs::write(&config, format!("{users}peers = {PEERS:?}\n")).unwrap();
    let program = std::env::var_os("SLIPWAY_TEST_SCHEMATHESIS")
        .expect("SLIPWAY_TEST_SCHEMATHESIS is not set; `./test api-fuzz` installs it");
    let seed = number("SCHEMATHESIS_SEED").unwrap_or(1);
    let examples = number("SCHEMATHESIS_EXAMPLES").unwrap_or(10);
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(config)
        .arg("run")
        .arg(format!("{}/openapi.json", server.url))
        .args(["--phases", caller.phases, "--checks", CHECKS, "--continue-on-failure"])
        .args(["--seed", &seed.to_string(), "--max-examples", &examples.to_string()])
        .args(["--max-time", &caller.limit_s.to_string(), "--request-timeout", "70"])
        // What it thinks of our patterns, and how fast it is, is not what is asked here.
        .args(["--no-shrink", "--suppress-health-check", "all", "--warnings", "off"])
        .current_dir(server.dir.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let name = caller.name;
    if output.status.success() {
        let summary = said.split("SUMMARY").last().unwrap_or(&said);
        println!("{name}, seed {seed}: {summary}");
        return String::new();
    }
    format!("{name}, seed {seed}:\n{said}\n{}\n", String::from_utf8_lossy(&output.stderr))
}

/// The first account, and a client that shows a token of it.
async fn first_admin(server: &Server) -> Client {
    let end = tokio::time::Instant::now() + PATIENCE;
    let token = loop {
        let said = server.said.lock().unwrap().clone();
        let (_, after) = said.split_once("which is shown this once:\n").unwrap_or_default();
        match after.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
            Some(token) => break Secret::new(token.to_owned()),
            None => assert!(tokio::time::Instant::now() < end, "{said}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let password = Secret::new(PASSWORD.to_owned());
    server.client.register("ann", None, &password, Some(&token)).await.unwrap();
    signed_in(server).await
}

/// A client with a token that is good for a quarter of an hour.
async fn signed_in(server: &Server) -> Client {
    let password = Secret::new(PASSWORD.to_owned());
    let tokens = server.client.login("ann", &password).await.unwrap();
    Client::new(&server.url).unwrap().showing(Some(tokens.access_token()), None)
}

/// A machine's account with a role, in a project or in the house, and its key.
async fn account(ann: &Client, name: &str, project: Option<&str>, role: Role) -> String {
    let made = ann.create_account(AccountKind::Service, name, None, None).await.unwrap();
    let roles = MemberRoles { roles: [role].into() };
    ann.set_member(project, made.id, &roles, None).await.unwrap();
    key(ann, made.id).await
}

async fn key(ann: &Client, of: AccountId) -> String {
    let new = NewApiKey {
        name: "fuzz".to_owned(),
        scopes: Scope::ALL.iter().copied().collect(),
        project: None,
        addresses: Vec::new(),
        expires_at: None,
        account_id: Some(of),
    };
    ann.create_api_key(&new).await.unwrap().token
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_the_answer_is_documented() {
    let server = Server::start_with(Database::Sqlite, &[("SLIPWAY_AUTH_MODE", "required")]).await;
    let ann = first_admin(&server).await;
    // Something that is there to be asked for.
    deployed(&ann, &request("fuzz", template("hello"), hello("one"))).await;
    planned(&ann, &request("waiting", template("hello"), hello("two"))).await;
    let bank = NewProject { name: "bank".to_owned(), description: None };
    ann.create_project(&bank, "the bank").await.unwrap();
    let tests = Some("tests");
    let mut users = String::from("auth:\n");
    for (name, project, role) in [
        ("viewer", tests, Role::Viewer),
        ("developer", tests, Role::Developer),
        ("approver", tests, Role::Approver),
        ("operator", tests, Role::Operator),
        ("owner", tests, Role::Admin),
        ("other", Some("bank"), Role::Admin),
        ("house", None, Role::Admin),
    ] {
        let key = account(&ann, name, project, role).await;
        let header = format!("[{{name: Authorization, value: \"Bearer {key}\"}}]");
        let _ = writeln!(users, "  - {{name: {name}, fixedHeaders: {header}}}");
    }
    std::fs::write(server.path("users.yaml"), users).unwrap();
    let wrong: String = CALLERS.iter().map(|caller| run(&server, caller)).collect();
    assert!(wrong.is_empty(), "{wrong}");
    signed_in(&server).await.health().await.unwrap();
}
