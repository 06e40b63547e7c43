//! The audit log, as a security team lives it: read, exported, verified; and tampered with by somebody
//! who has the database in hand.

use std::process::Output;

use serde_json::Value;
use sqlx::{Connection as _, Executor as _};

use crate::harness::{Database, Server, command, deployed, hello, request, template};

struct House {
    server: Server,
    database: Database,
}

impl House {
    fn slipway(&self, args: &[&str]) -> Output {
        let mut command = command();
        command.args(args).env("SLIPWAY_URL", &self.server.url).current_dir(self.server.dir.path());
        if let Database::Postgres(url) = &self.database {
            command.env("SLIPWAY_DATABASE_URL", url);
            command.env("SLIPWAY_KEYS_RING_FILE", self.server.path("ring"));
        }
        command.output().unwrap()
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.slipway(args);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}\n{why}");
        said
    }

    /// A verification that must find something; what it says.
    #[track_caller]
    fn found(&self, args: &[&str]) -> String {
        let output = self.slipway(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A statement as somebody with the database in hand sends it.
    async fn by_hand(&self, text: &str) -> Result<(), sqlx::Error> {
        let text = sqlx::AssertSqlSafe(text.to_owned());
        match &self.database {
            Database::Sqlite => {
                let path = self.server.path("data/slipway.db").display().to_string();
                sqlx::SqliteConnection::connect(&path).await?.execute(text).await?;
            }
            Database::Postgres(url) => {
                sqlx::PgConnection::connect(url).await?.execute(text).await?;
            }
        }
        Ok(())
    }

    /// Waits until everything that is on record is sealed.
    async fn sealed(&self) {
        for _ in 0..100 {
            let text = self.ok(&["audit", "list", "--json", "--limit", "200"]);
            let listed: Value = serde_json::from_str(&text).unwrap();
            let items = listed["items"].as_array().unwrap();
            if items.iter().all(|item| item.get("seal").is_some()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("records were not sealed within ten seconds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_shows_who_touched_it_with_sqlite() {
    shows_who_touched_it(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_shows_who_touched_it_with_postgres() {
    shows_who_touched_it(Database::postgres().await).await;
}

async fn shows_who_touched_it(database: Database) {
    let server = Server::start_with(database.clone(), &[]).await;
    let house = House { server, database };
    let done = deployed(&house.server.client, &request("a", template("hello"), hello("a"))).await;
    let stranger = reqwest::Client::new()
        .get(format!("{}/api/v1/stacks", house.server.url))
        .header("authorization", "Digest hunter2")
        .header("user-agent", "stranger/1")
        .send()
        .await
        .unwrap();
    assert_eq!(stranger.status(), 401);
    house.sealed().await;

    let text = house.ok(&["audit", "list", "--target", &done.id.to_string()]);
    for action in ["deployment.submit", "deployment.approve", "deployment.succeed"] {
        assert!(text.contains(action), "{action} is not in\n{text}");
    }
    let denied = house.ok(&["audit", "list", "--result", "denied", "--json"]);
    let denied: Value = serde_json::from_str(&denied).unwrap();
    let denied = &denied["items"][0];
    assert_eq!(denied["target"], "GET /api/v1/stacks");
    assert_eq!(
        (&denied["address"], &denied["user_agent"]),
        (&"127.0.0.1".into(), &"stranger/1".into())
    );
    assert!(!denied.to_string().contains("hunter2"), "{denied}");

    assert!(house.ok(&["audit", "verify"]).contains("records hold, from 1 to"));
    let data = house.server.path("data").display().to_string();
    let database = ["audit", "verify", "--database", "--data-dir", &data];
    assert!(house.ok(&database).contains("records hold, from 1 to"));
    let kept = house.server.path("kept.jsonl").display().to_string();
    std::fs::write(&kept, house.ok(&["audit", "checkpoint"])).unwrap();
    let export = house.server.path("log.jsonl").display().to_string();
    house.ok(&["audit", "export", "--output", &export]);
    house.ok(&["audit", "verify", "--file", &export, "--checkpoints", &kept]);
    assert!(!house.slipway(&["audit", "export", "-o", &export]).status.success(), "it is there");

    // An export that somebody edited.
    let lines: Vec<String> =
        std::fs::read_to_string(&export).unwrap().lines().map(str::to_owned).collect();
    assert!(lines.len() > 5, "{lines:?}");
    let edited = house.server.path("edited.jsonl").display().to_string();
    let verify_edited = |lines: &[String]| {
        std::fs::write(&edited, lines.join("\n")).unwrap();
        house.found(&["audit", "verify", "--file", &edited])
    };
    let mut other = lines.clone();
    other[2] = other[2].replacen("\"result\":\"allowed\"", "\"result\":\"failed\"", 1);
    assert!(verify_edited(&other).contains("Record 2 is not the one that was sealed"));
    let mut other = lines.clone();
    other.remove(3);
    assert!(verify_edited(&other).contains("Record 3 is not there"));
    assert!(verify_edited(&lines[..lines.len() - 1]).contains("no checkpoint at its end"));
    let mut other = lines.clone();
    other.remove(lines.len() - 2);
    assert!(verify_edited(&other).contains("cut off"));

    // The guards of the tables refuse; who owns the tables can take them away, and is seen.
    for text in [
        "update audit set target = 'x' where seq = 2",
        "delete from audit where seq = 2",
        "update audit_chain set seq = 1",
    ] {
        let refused = house.by_hand(text).await.unwrap_err().to_string();
        assert!(refused.contains("audit"), "{text}: {refused}");
    }
    let unguard: &[&str] = match &house.database {
        Database::Sqlite => &["drop trigger audit_guard_update", "drop trigger audit_guard_delete"],
        Database::Postgres(_) => &["alter table audit disable trigger all"],
    };
    for text in unguard {
        house.by_hand(text).await.unwrap();
    }
    house.by_hand("update audit set target = 'dep_x' where seq = 2").await.unwrap();
    assert!(house.found(&["audit", "verify"]).contains("Record 2 is not the one that was sealed"));
    assert!(house.found(&database).contains("Record 2"));
    let shown: Value = serde_json::from_str(&house.found(&["audit", "verify", "--json"])).unwrap();
    assert_eq!(
        (&shown["findings"][0]["kind"], &shown["findings"][0]["seq"]),
        (&"changed".into(), &2.into())
    );
    house.by_hand("delete from audit where seq = 2").await.unwrap();
    assert!(house.found(&["audit", "verify"]).contains("Record 2 is not there"));
}

#[tokio::test]
async fn the_password_of_a_database_is_never_said() {
    let dir = tempfile::tempdir().unwrap();
    for url in [
        "postgres://slipway:hunter2@127.0.0.1:1/slipway",
        "postgres://slipway:hunter2@127.0.0.1:bad/slipway",
        "mysql://slipway:hunter2@127.0.0.1/slipway",
    ] {
        let output = command()
            .arg("api")
            .env("SLIPWAY_DATABASE_URL", url)
            .env("SLIPWAY_DATABASE_CONNECT_TIMEOUT_S", "1")
            .env("SLIPWAY_KEYS_RING", format!("k:{}=", "A".repeat(43)))
            .env("SLIPWAY_TELEMETRY_LOG_LEVEL", "trace")
            .env("SLIPWAY_API_LISTEN", "127.0.0.1:0")
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{url}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("hunter2"), "{said}");
        assert!(said.contains("database"), "it says what is wrong: {said}");
    }
}
