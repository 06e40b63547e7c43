//! The state backend as Terraform's own command line meets it: states that move in, locks, races,
//! and everything that must not get through.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use slipway_domain::id::StackId;
use slipway_domain::state::DeploymentState as S;
use slipway_domain::state_version::{StateOrigin, StateRefusal};

use crate::harness::{
    Database, Server, command, digest, hello, key, planned, refused, request, soon, stack_dir,
    template, until, upload,
};

/// A value in states that must not show.
const SECRET: &str = "hunter2-of-the-state";
const STEP: Duration = Duration::from_mins(1);

const CONFIG: &str = r#"
terraform {
  backend "http" {}
}

variable "note" {
  default = "one"
}

resource "terraform_data" "a" {
  input = var.note
}

resource "terraform_data" "b" {
  input = "b"
}
"#;

/// A directory in which somebody runs Terraform against a stack's state.
struct Desk {
    dir: PathBuf,
    env: Vec<(String, String)>,
}

impl Desk {
    fn new(server: &Server, name: &str, of: StackId, config: &str) -> Self {
        let dir = server.path(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("main.tf"), config).unwrap();
        let url = format!("{}/api/v1/stacks/{of}/state", server.url);
        let env = [
            ("TF_HTTP_ADDRESS", url.as_str()),
            ("TF_HTTP_LOCK_ADDRESS", &url),
            ("TF_HTTP_UNLOCK_ADDRESS", &url),
            ("TF_HTTP_USERNAME", "ann"),
            ("TF_HTTP_PASSWORD", "any-token"),
            ("TF_HTTP_RETRY_MAX", "0"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { dir, env }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    fn start(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("terraform");
        command
            .args(args)
            .current_dir(&self.dir)
            .env_remove("TF_CLI_CONFIG_FILE")
            .envs([
                ("TF_IN_AUTOMATION", "1"),
                ("TF_INPUT", "0"),
                ("TF_CLI_ARGS", "-no-color"),
                ("CHECKPOINT_DISABLE", "1"),
            ])
            .envs(self.env.iter().cloned())
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str]) -> Output {
        let output = self.start(args).output();
        tokio::time::timeout(crate::harness::PATIENCE, output).await.expect("it hangs").unwrap()
    }

    /// Runs what must work, and gives what it said.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> impl Future<Output = String> {
        let at = std::panic::Location::caller();
        async move {
            let output = self.run(args).await;
            assert!(output.status.success(), "{at}: {args:?}: {}", said(&output));
            said(&output)
        }
    }

    /// Runs what must fail, and gives what it said.
    async fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
        said(&output)
    }
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    // Terraform breaks its lines in frames.
    let text = String::from_utf8_lossy(&text).replace(['│', '╷', '╵'], " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A stack that has no state: its first deployment was not approved.
async fn empty_stack(server: &Server, name: &str) -> StackId {
    let deployment = planned(&server.client, &request(name, template("hello"), hello("x"))).await;
    server.client.cancel(deployment.id, None).await.unwrap();
    deployment.stack_id
}

/// Sends what Terraform would, without Terraform.
async fn send(
    server: &Server,
    method: &str,
    of: StackId,
    below: &str,
    body: Value,
) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let url = format!("{}/api/v1/stacks/{of}/state{below}", server.url);
    let http = reqwest::Client::builder().build().unwrap();
    let answer = http
        .request(method, url)
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

fn holder(id: &str) -> Value {
    json!({"ID": id, "Operation": "OperationTypeApply", "Who": "ann@laptop", "Info": "",
        "Version": "1.11.4", "Created": "2026-01-01T00:00:00Z", "Path": ""})
}

async fn current(server: &Server, of: StackId) -> Value {
    let which = slipway_app::client::http::Which::Current;
    let content = server.client.download_state(of, which).await.unwrap().unwrap();
    serde_json::from_slice(&content).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_state_moves_in_on_sqlite() {
    moves_in(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_state_moves_in_on_postgres() {
    moves_in(Database::postgres().await).await;
}

async fn moves_in(database: Database) {
    let server = Server::start_with(database, &[]).await;
    let client = &server.client;
    let of = empty_stack(&server, "net").await;
    let local = CONFIG.replace("backend \"http\" {}", "");
    let desk = Desk::new(&server, "desk", of, &local);
    desk.ok(&["init"]).await;
    desk.ok(&["apply", "-auto-approve"]).await;
    let file = std::fs::read_to_string(desk.dir.join("terraform.tfstate")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();

    std::fs::write(desk.dir.join("main.tf"), CONFIG).unwrap();
    desk.ok(&["init", "-migrate-state", "-force-copy"]).await;
    let moved = current(&server, of).await;
    assert_eq!(moved["resources"], file["resources"], "nothing got lost on the way");
    assert_eq!(desk.ok(&["state", "list"]).await, "terraform_data.a terraform_data.b");
    assert!(!client.state_lock(of).await.unwrap().locked, "the lock was given back");
    assert!(desk.ok(&["plan"]).await.contains("No changes."));

    // Every command that changes the state leaves a version.
    let first = client.state_versions(of, 10).await.unwrap().items[0].clone();
    assert_eq!((first.origin, first.resource_count), (StateOrigin::Backend, 2));
    desk.ok(&["state", "mv", "terraform_data.b", "terraform_data.c"]).await;
    assert_eq!(desk.ok(&["state", "list"]).await, "terraform_data.a terraform_data.c");
    desk.ok(&["state", "rm", "terraform_data.c"]).await;
    desk.ok(&["apply", "-auto-approve", "-var", "note=two"]).await;
    let versions = client.state_versions(of, 10).await.unwrap().items;
    assert!(versions.len() >= 4, "{versions:#?}");
    assert!(versions.windows(2).all(|two| two[0].mark.serial > two[1].mark.serial));
    let now = current(&server, of).await;
    let names: Vec<_> =
        now["resources"].as_array().unwrap().iter().map(|r| r["name"].clone()).collect();
    assert_eq!(names, ["a", "b"]);

    // An old version comes back, and Terraform goes on from there.
    let diff = client.state_diff(of, Some(first.version), None).await.unwrap();
    assert_eq!((diff.counts.added, diff.counts.removed), (0, 0), "{diff:#?}");
    let a = diff.resources.iter().find(|r| r.address == "terraform_data.a").unwrap();
    assert!(a.attributes.iter().any(|at| at.path == "/input/value" || at.path == "/input"));
    let serial = versions[0].mark.serial;
    assert_eq!(refused(client.restore_state(of, first.version, serial - 1).await).0, 409);
    let back = client.restore_state(of, first.version, serial).await.unwrap();
    assert_eq!((back.mark.serial, back.restored_from), (serial + 1, Some(first.version)));
    assert!(desk.ok(&["plan"]).await.contains("No changes."), "as it was with note=one");
    desk.ok(&["destroy", "-auto-approve"]).await;
    assert_eq!(current(&server, of).await["resources"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_said_broken_and_needed() {
    let server = Server::start().await;
    let client = &server.client;
    let of = empty_stack(&server, "net").await;
    let mut desk = Desk::new(&server, "desk", of, CONFIG);
    desk.ok(&["init"]).await;
    desk.ok(&["apply", "-auto-approve"]).await;

    let id = "11111111-2222-3333-4444-555555555555";
    assert_eq!(send(&server, "LOCK", of, "", holder(id)).await.0, 200);
    let told = desk.fails(&["apply", "-auto-approve", "-var", "note=two"]).await;
    assert!(told.contains("Error acquiring the state lock") && told.contains(id), "{told}");
    let status = client.state_lock(of).await.unwrap();
    assert_eq!(status.lock.unwrap().who, "ann@laptop");

    // Somebody with another lock, or with none, changes nothing, and nothing is lost.
    let serial = client.state_versions(of, 1).await.unwrap().items[0].mark.serial;
    let mut newer = current(&server, of).await;
    newer["serial"] = json!(serial + 1);
    let (status, problem) = send(&server, "POST", of, "?ID=another", newer.clone()).await;
    assert_eq!((status, &problem["ID"]), (423, &json!(id)), "{problem}");
    newer["outputs"] = json!({"x": {"value": "y", "type": "string"}});
    assert_eq!(send(&server, "POST", of, "", newer).await.0, 423);
    let told = desk.fails(&["apply", "-auto-approve", "-lock=false", "-var", "note=three"]).await;
    assert!(told.contains("Failed to save state"), "{told}");
    assert!(desk.dir.join("errored.tfstate").exists());
    std::fs::remove_file(desk.dir.join("errored.tfstate")).unwrap();
    assert_eq!(client.state_versions(of, 1).await.unwrap().items[0].mark.serial, serial);
    let orphans = client.orphan_states(of).await.unwrap();
    assert!(orphans.len() >= 3, "{orphans:#?}");
    assert!(orphans.iter().all(|orphan| orphan.reason == StateRefusal::OtherLock));

    desk.ok(&["force-unlock", "-force", id]).await;
    assert!(!client.state_lock(of).await.unwrap().locked);
    // What the apply without a lock made is in the state that was refused.
    let made = client.adopt_state(of, orphans[0].id, Some(serial)).await.unwrap();
    assert_eq!((made.origin, made.mark.serial), (StateOrigin::Adopt, serial + 1));
    assert!(desk.ok(&["plan", "-var", "note=three"]).await.contains("No changes."));

    // A state of another life is refused, even when its owner insists.
    let mut other = current(&server, of).await;
    other["lineage"] = json!("another-life");
    other["serial"] = json!(serial + 50);
    std::fs::write(desk.dir.join("other.tfstate"), other.to_string()).unwrap();
    let told = desk.fails(&["state", "push", "-force", "other.tfstate"]).await;
    assert!(told.contains("409"), "{told}");
    let newest = &client.orphan_states(of).await.unwrap()[0];
    assert_eq!(
        (newest.reason, &*newest.mark.lineage),
        (StateRefusal::OtherLineage, "another-life")
    );
    assert!(!client.state_lock(of).await.unwrap().locked, "it gave its lock back");
    client.discard_state(of, newest.id).await.unwrap();

    // Behind a proxy that knows no LOCK.
    let lock = format!("{}/api/v1/stacks/{of}/state/lock", server.url);
    desk.set("TF_HTTP_LOCK_ADDRESS", &lock);
    desk.set("TF_HTTP_UNLOCK_ADDRESS", &lock);
    desk.set("TF_HTTP_LOCK_METHOD", "PUT");
    desk.set("TF_HTTP_UNLOCK_METHOD", "DELETE");
    desk.ok(&["init", "-reconfigure"]).await;
    desk.ok(&["apply", "-auto-approve", "-var", "note=four"]).await;
    assert!(!client.state_lock(of).await.unwrap().locked);
    assert_eq!(send(&server, "PUT", of, "/lock", holder(id)).await.0, 200);
    assert!(desk.fails(&["plan"]).await.contains(id));
    client.unlock_state(of, Some(id), Some("the laptop is gone")).await.unwrap();
    desk.ok(&["plan"]).await;

    // Credentials that cannot be any. Terraform sends Basic as soon as there is a user name.
    desk.set("TF_HTTP_PASSWORD", "");
    let told = desk.fails(&["plan"]).await;
    assert!(told.contains("requires auth"), "{told}");
    assert!(!server.said.lock().unwrap().contains("any-token"), "a token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_command_lines_one_waits_and_nothing_is_lost() {
    let server = Server::start().await;
    let of = empty_stack(&server, "race").await;
    let ledger = server.path("ledger");
    let config = format!(
        "terraform {{\n  backend \"http\" {{}}\n}}\n\
         resource \"terraform_data\" \"x\" {{\n  count = 4\n  provisioner \"local-exec\" {{\n    \
         command = \"echo made >> '{}'; sleep 0.5\"\n  }}\n}}\n",
        ledger.display()
    );
    let desks = ["one", "two", "three"].map(|name| Desk::new(&server, name, of, &config));
    for desk in &desks {
        desk.ok(&["init"]).await;
    }
    let apply = &["apply", "-auto-approve", "-parallelism=1", "-lock-timeout=60s"];
    let (a, b) = (desks[0].start(apply).output(), desks[1].start(apply).output());
    let impatient = async {
        soon("somebody has the lock", STEP, async || {
            server.client.state_lock(of).await.unwrap().locked
        })
        .await;
        desks[2].fails(&["plan"]).await
    };
    let (a, b, told) = tokio::join!(a, b, impatient);
    for output in [a.unwrap(), b.unwrap()] {
        assert!(output.status.success(), "{}", said(&output));
    }
    assert!(told.contains("state already locked: ID="), "{told}");
    let made = std::fs::read_to_string(&ledger).unwrap().lines().count();
    assert_eq!(made, 4, "the second one found what the first one had made");
    let state = current(&server, of).await;
    assert_eq!(state["resources"][0]["instances"].as_array().unwrap().len(), 4);
    assert!(server.client.orphan_states(of).await.unwrap().is_empty());
    assert!(!server.client.state_lock(of).await.unwrap().locked);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_while_slipway_applies() {
    let server = Server::start().await;
    let client = &server.client;
    let variables = [("seconds".to_owned(), json!(4))].into();
    let submit = request("slow", upload(client, "slow").await, variables);
    let deployment = planned(client, &submit).await;
    let config = std::fs::read_to_string(stack_dir("slow").join("main.tf")).unwrap();
    let config = format!("terraform {{\n  backend \"http\" {{}}\n}}\n{config}");
    let of = deployment.stack_id;
    let desk = Desk::new(&server, "desk", of, &config);
    desk.ok(&["init"]).await;
    client.approve(deployment.id, digest(&deployment), None).await.unwrap();
    until(client, deployment.id, &[S::Applying]).await;
    soon("the apply runs", STEP, async || {
        client.state_lock(of).await.unwrap().applying == Some(deployment.id)
    })
    .await;
    let told = desk.fails(&["plan", "-var", "seconds=4"]).await;
    assert!(told.contains(&format!("ID={}", deployment.id)), "{told}");
    let foreign = json!({"version": 4, "lineage": "foreign", "serial": 99, "resources": []});
    assert_eq!(send(&server, "POST", of, "?ID=x", foreign.clone()).await.0, 409);
    assert_eq!(send(&server, "POST", of, "/import", foreign).await.0, 423);
    // Who has patience comes next, and finds what was made.
    let patient = desk.ok(&["plan", "-var", "seconds=4", "-lock-timeout=60s"]).await;
    assert!(patient.contains("No changes."), "{patient}");
    let done = until(client, deployment.id, &[S::Succeeded]).await;
    assert!(done.failure.is_none());
    assert_eq!(current(&server, of).await["resources"].as_array().unwrap().len(), 4);
    assert_eq!(client.orphan_states(of).await.unwrap().len(), 1);
}

fn slipway(server: &Server, args: &[&str], wanted: i32) -> String {
    let mut command = command();
    let output = command
        .args(args)
        .env("SLIPWAY_URL", &server.url)
        .current_dir(server.dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(wanted), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_has_it_all() {
    let server = Server::start().await;
    let of = empty_stack(&server, "net").await;
    let stack = key("net").to_string();
    let state = |lineage: &str, serial: i64, note: &str| {
        json!({"version": 4, "lineage": lineage, "serial": serial, "resources": [
            {"mode": "managed", "type": "t", "name": "n", "instances": [
                {"attributes": {"note": note, "password": format!("{SECRET}-{serial}")}}]}]})
        .to_string()
    };
    let file = |name: &str, content: String| {
        std::fs::write(server.path(name), content).unwrap();
    };
    assert!(slipway(&server, &["state", "list", &stack], 0).contains("no state yet"));
    slipway(&server, &["state", "pull", &stack], 4);
    file("one.tfstate", state("line", 7, "alpha"));
    file("two.tfstate", state("other", 1, "omega"));
    assert!(slipway(&server, &["state", "import", &stack, "one.tfstate"], 0).contains("import"));
    slipway(&server, &["state", "import", &stack, "two.tfstate"], 7);
    slipway(&server, &["state", "import", &stack, "missing.tfstate"], 1);
    slipway(&server, &["state", "import", &stack, "two.tfstate", "--replace", "7"], 0);
    let list = slipway(&server, &["state", "list", &stack, "--json"], 0);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["items"][0]["serial"], 8);
    let diff = slipway(&server, &["state", "diff", &stack], 0);
    assert!(diff.contains("/note: \"alpha\" -> \"omega\""), "{diff}");
    assert!(diff.contains("/password: (sensitive) \"***\"") && !diff.contains(SECRET), "{diff}");
    let old = slipway(&server, &["state", "pull", &stack, "--at", "1"], 0);
    assert_eq!(old, state("line", 7, "alpha"));
    slipway(&server, &["state", "pull", &stack, "-o", "pulled.tfstate"], 0);
    let pulled = server.path("pulled.tfstate");
    assert!(std::fs::read_to_string(&pulled).unwrap().contains("omega"));
    assert_eq!(mode(&pulled), 0o600);
    slipway(&server, &["state", "pull", &stack, "-o", "pulled.tfstate"], 1);
    slipway(&server, &["state", "restore", &stack, "1", "--serial", "7"], 7);
    assert!(slipway(&server, &["state", "restore", &stack, "1"], 0).contains("restore of 1"));

    assert_eq!(send(&server, "LOCK", of, "", holder("l1")).await.0, 200);
    let shown = slipway(&server, &["state", "show", &stack], 0);
    assert!(shown.contains("l1 by ann@laptop") && shown.contains("serial     9"), "{shown}");
    slipway(&server, &["state", "restore", &stack, "1"], 7);
    slipway(&server, &["state", "unlock", &stack, "--lock-id", "l2"], 7);
    let broken = ["state", "unlock", &stack, "--lock-id", "l1", "--reason", "gone"];
    assert!(slipway(&server, &broken, 0).contains("broken"));

    for serial in [3, 4] {
        let body = serde_json::from_str(&state("lost", serial, "found")).unwrap();
        assert_eq!(send(&server, "POST", of, "?ID=x", body).await.0, 409);
    }
    let orphans = slipway(&server, &["state", "orphans", &stack, "--json"], 0);
    let orphans: Value = serde_json::from_str(&orphans).unwrap();
    let id = |i: usize| orphans["items"][i]["id"].as_str().unwrap().to_owned();
    let read = slipway(&server, &["state", "pull", &stack, "--orphan", &id(0)], 0);
    assert!(read.contains("found"));
    assert!(slipway(&server, &["state", "adopt", &stack, &id(0)], 0).contains("adopt by local"));
    slipway(&server, &["state", "discard", &stack, &id(1)], 0);
    slipway(&server, &["state", "discard", &stack, &id(1)], 4);
    assert!(slipway(&server, &["state", "orphans", &stack], 0).contains("No state"));

    // Nothing of all that lies about in clear.
    assert!(!server.said.lock().unwrap().contains(SECRET));
    let (mut looked, mut todo) = (0, vec![server.path("data")]);
    while let Some(dir) = todo.pop() {
        for item in std::fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            looked += 1;
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
            assert!(!found, "a secret of a state is in {}", path.display());
        }
    }
    assert!(looked > 1, "the database at least");
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
