//! Keys are rotated while everything goes on: from ring to ring, to Vault, and cut off in between.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use slipway_client_vault::fake::{self, Mood};
use slipway_domain::state::DeploymentState as S;
use sqlx::Connection as _;

use crate::harness::{
    Database, Server, command, deployed, digest, hello, planned, request, soon, template, until,
};

fn new_ring() -> String {
    let made = command().args(["keys", "generate"]).output().unwrap();
    assert!(made.status.success());
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn name(ring: &str) -> &str {
    ring.split_once(':').unwrap().0
}

/// An installation whose ring is a file of the test's.
struct House {
    server: Server,
    database: Database,
    env: Vec<(String, String)>,
}

impl House {
    async fn new(database: Database, env: &[(&str, &str)]) -> Self {
        let server = Server::start_with(database.clone(), env).await;
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self { server, database, env }
    }

    fn ring(&self) -> std::path::PathBuf {
        match self.database {
            Database::Sqlite => self.server.path("data/keyring"),
            Database::Postgres(_) => self.server.path("ring"),
        }
    }

    /// `slipway keys rotate` with the ring that is there.
    fn rotate(&self, flags: &[&str]) -> std::process::Command {
        let mut command = command();
        command
            .args(["keys", "rotate", "--data-dir"])
            .arg(self.server.path("data"))
            .args(flags)
            .envs(self.env.iter().cloned())
            .current_dir(self.server.dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Database::Postgres(url) = &self.database {
            command.env("SLIPWAY_DATABASE_URL", url).env("SLIPWAY_KEYS_RING_FILE", self.ring());
        }
        command
    }

    /// Whether it ended well, what it printed, and what it complained of.
    fn rotated(&self, flags: &[&str]) -> (bool, String, String) {
        let output = self.rotate(flags).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// Every process gets another ring.
    async fn with_ring(self, rings: &[&str]) -> Self {
        std::fs::write(self.ring(), rings.join("\n")).unwrap();
        Self { server: self.server.crash_and_restart().await, ..self }
    }

    async fn audited(&self) -> Vec<(String, String)> {
        let all = "select target, result from audit where action = 'keys.rotate' order by id";
        match &self.database {
            Database::Sqlite => {
                let path = self.server.path("data/slipway.db").display().to_string();
                let mut c = sqlx::SqliteConnection::connect(&path).await.unwrap();
                sqlx::query_as(all).fetch_all(&mut c).await.unwrap()
            }
            Database::Postgres(url) => {
                let mut c = sqlx::PgConnection::connect(url).await.unwrap();
                sqlx::query_as(all).fetch_all(&mut c).await.unwrap()
            }
        }
    }
}

#[tokio::test]
async fn keys_are_rotated_while_everything_goes_on_with_sqlite() {
    from_ring_to_ring(Database::Sqlite).await;
}

#[tokio::test]
async fn keys_are_rotated_while_everything_goes_on_with_postgres() {
    from_ring_to_ring(Database::postgres().await).await;
}

async fn from_ring_to_ring(database: Database) {
    let house = House::new(database, &[]).await;
    let old = std::fs::read_to_string(house.ring()).unwrap().trim().to_owned();
    let new = new_ring();
    let first = deployed(&house.server.client, &request("a", template("hello"), hello("a"))).await;
    let waits = planned(&house.server.client, &request("b", template("hello"), hello("b"))).await;

    // Nothing to rotate to, and a ring that lacks what is needed: told, and nothing is changed.
    let (good, _, why) = house.rotated(&[]);
    assert!(!good && why.contains("one key only") && why.contains(name(&old)), "{why}");
    std::fs::write(house.ring(), &new).unwrap();
    let (good, _, why) = house.rotated(&[]);
    assert!(!good && why.contains("nothing was changed"), "{why}");
    assert!(why.contains(&format!("need key {}, which is not here", name(&old))), "{why}");
    let (good, said, _) = house.rotated(&["--check"]);
    assert!(!good && said.contains("cannot be opened"), "{said}");

    let house = house.with_ring(&[&new, &old]).await;
    let client = house.server.client.clone();
    let (good, said, _) = house.rotated(&["--check", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(!good && said["left"].as_u64().unwrap() > 5, "{said}");
    assert_eq!(said["current"], name(&new));
    let busy = tokio::spawn(async move {
        for number in 0..3 {
            let key = format!("busy-{number}");
            deployed(&client, &request(&key, template("hello"), hello(&key))).await;
        }
    });
    // Killed wherever it is, and started again.
    for after in [0, 5, 15, 25, 40] {
        let mut cut = house.rotate(&[]).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(after)).await;
        cut.kill().unwrap();
        cut.wait().unwrap();
    }
    let (good, said, why) = house.rotated(&["--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(good && said["left"] == 0, "{said} {why}");
    busy.await.unwrap();
    let (good, said, why) = house.rotated(&["--check"]);
    assert!(good && said.contains("current") && !said.contains(name(&old)), "{said} {why}");
    let audited = house.audited().await;
    let (target, result) = audited.last().unwrap();
    assert_eq!((target.as_str(), result.as_str()), (name(&new), "allowed"));

    // The old key is gone; what was approved of before is what is applied after.
    let house = house.with_ring(&[&new]).await;
    let client = &house.server.client;
    client.approve(waits.id, digest(&waits), None).await.unwrap();
    until(client, waits.id, &[S::Succeeded]).await;
    assert!(!client.outputs(first.id, true).await.unwrap().is_empty());
    deployed(client, &request("a", template("hello"), hello("other"))).await;
    let said = house.server.said.lock().unwrap().clone();
    for ring in [&old, &new] {
        assert!(!said.contains(ring.split_once(':').unwrap().1), "{said}");
    }
}

// The stand-in for Vault must answer while a command is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_move_to_vault_and_from_version_to_version() {
    let (address, vault) = fake::start().await;
    let vault_env = [
        ("SLIPWAY_KEYS_VAULT_ADDRESS", address.as_str()),
        ("SLIPWAY_KEYS_VAULT_TOKEN", fake::TOKEN),
        ("SLIPWAY_KEYS_VAULT_CACHE_S", "1"),
        ("SLIPWAY_KEYS_VAULT_TIMEOUT_S", "1"),
        ("SLIPWAY_KEYS_PROVIDER", "vault_transit"),
    ];
    // It begins with the ring; Vault is only told of.
    let ring_seals = &vault_env[..4];
    let mut house = House::new(Database::Sqlite, ring_seals).await;
    let first = deployed(&house.server.client, &request("a", template("hello"), hello("a"))).await;
    house.env.push(("SLIPWAY_KEYS_PROVIDER".to_owned(), "vault_transit".to_owned()));
    let (good, said, why) = house.rotated(&[]);
    assert!(good && said.contains("vault:transit/slipway:v1  current"), "{said} {why}");
    // The process that still seals with the ring reads what Vault has.
    assert!(!house.server.client.outputs(first.id, true).await.unwrap().is_empty());

    // From now on there is no ring at all.
    let House { server, database, env } = house;
    let dir = server.dir.clone();
    drop(server);
    std::fs::remove_file(dir.path().join("data/keyring")).unwrap();
    let server = Server::start_in(dir, database.clone(), &vault_env).await;
    let house = House { server, database, env };
    let client = &house.server.client;
    assert!(!client.outputs(first.id, true).await.unwrap().is_empty());
    deployed(client, &request("b", template("hello"), hello("b"))).await;

    // A new version, and the old one is taken away after the rotation.
    vault.lock().unwrap().versions.push([2; 32]);
    let (good, said, _) = house.rotated(&["--check"]);
    assert!(!good && said.contains("vault:transit/slipway:v1  to be rotated"), "{said}");
    let (good, said, why) = house.rotated(&[]);
    assert!(good && said.contains("vault:transit/slipway:v2  current"), "{said} {why}");
    vault.lock().unwrap().oldest = 2;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(!client.outputs(first.id, true).await.unwrap().is_empty());

    // Sealed for a while: what needs a key waits or is told to come again, and then goes on.
    vault.lock().unwrap().mood = Mood { sealed: true, ..Mood::default() };
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let refused = client.outputs(first.id, true).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().status, 503, "{refused}");
    let (good, _, why) = house.rotated(&["--check"]);
    assert!(!good && why.contains("key service") && !why.contains(fake::TOKEN), "{why}");
    vault.lock().unwrap().mood = Mood::default();
    soon("it goes on", Duration::from_secs(20), async || {
        client.outputs(first.id, true).await.is_ok()
    })
    .await;
    deployed(client, &request("c", template("hello"), hello("c"))).await;
    let said = house.server.said.lock().unwrap().clone();
    assert!(!said.contains(fake::TOKEN), "{said}");
}
