//! What the broker and the database can do by themselves, with as many connections.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use slipway_domain::deployment::Deployment;
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::load::CONNECTIONS;
use crate::machine;
use crate::settings::Settings;

/// Seconds of each run of pgbench.
const SECONDS: &str = "4";

/// `LPUSH`es a second.
pub(super) async fn redis_pushes(url: &str, dir: &Path) -> anyhow::Result<f64> {
    let server = PathBuf::from(Settings::needed("SLIPWAY_TEST_REDIS_BIN")?);
    let program = server.with_file_name("redis-benchmark");
    let port = url.rsplit_once(':').context("the URL of Redis")?.1.to_owned();
    let connections = CONNECTIONS.to_string();
    let args = ["-h", "127.0.0.1", "-p", &port, "-c", &connections, "-n", "200000", "--csv"];
    let said = output(&program, dir, &[&args[..], &["-t", "lpush"]].concat()).await?;
    let line = said.lines().last().context("redis-benchmark says nothing")?;
    let rate = line.split(',').nth(1).map(|word| word.trim_matches('"'));
    rate.and_then(|rate| rate.parse().ok()).with_context(|| format!("no rate in {line:?}"))
}

/// Transactions a second that write what a submission writes, a statement a table and one commit;
/// `url` is that of a database in which a deployment was submitted with an idempotency key.
pub(super) async fn same_inserts(url: &str, dir: &Path) -> anyhow::Result<f64> {
    // Copies of one submission under new ids: whatever columns the schema has.
    let mut db = PgConnection::connect(url).await?;
    let row = sqlx::query("select key, answer from idempotency order by key limit 1")
        .fetch_one(&mut db)
        .await
        .context("a submission to copy")?;
    let (key, answer): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let deployment: Deployment = serde_json::from_str(&answer)?;
    let id = deployment.id.0;
    let artifact: uuid::Uuid = sqlx::query("select source_artifact from deployments where id = $1")
        .bind(id)
        .fetch_one(&mut db)
        .await?
        .try_get(0)?;
    let audit: uuid::Uuid =
        sqlx::query("select id from audit where target = $1 order by id limit 1")
            .bind(deployment.id.to_string())
            .fetch_one(&mut db)
            .await?
            .try_get(0)?;
    let new = |salt: &str| format!("md5(:n::text || '{salt}')::uuid");
    let word = "md5(:n::text)".to_owned();
    // Table, which row, and what is new in each copy.
    let rows = [
        ("artifacts", format!("id = '{artifact}'"), vec![("id", new("a"))]),
        (
            "deployments",
            format!("id = '{id}'"),
            vec![("id", new("d")), ("source_artifact", new("a"))],
        ),
        (
            "events",
            format!("deployment_id = '{id}' and seq = 1"),
            vec![("deployment_id", new("d"))],
        ),
        // Its place in the chain comes after the commit.
        ("audit", format!("id = '{audit}'"), vec![("id", new("u")), ("seq", "null".to_owned())]),
        (
            "jobs",
            format!("deployment_id = '{id}'"),
            vec![("id", new("j")), ("deployment_id", new("d")), ("idempotency_key", word.clone())],
        ),
        ("idempotency", format!("key = '{key}'"), vec![("key", word)]),
    ];
    let mut script = String::from("\\set n random(1, 9000000000000000000)\nbegin;\n");
    for (table, which, new) in rows {
        let columns: Vec<String> = sqlx::query_scalar(
            "select cast(column_name as text) from information_schema.columns
             where table_schema = 'public' and table_name = $1 and is_generated = 'NEVER'
               and is_identity = 'NO' order by ordinal_position",
        )
        .bind(table)
        .fetch_all(&mut db)
        .await?;
        let value = |column: &String| {
            let new = new.iter().find(|(name, _)| name == column);
            new.map_or_else(|| column.clone(), |(_, value)| value.clone())
        };
        let values: Vec<String> = columns.iter().map(value).collect();
        writeln!(
            script,
            "insert into {table} ({}) select {} from {table} where {which};",
            columns.join(", "),
            values.join(", ")
        )?;
    }
    script.push_str("commit;\n");
    db.close().await?;
    pgbench(url, dir, "same", &script).await
}

/// Inserts a second of one row as the peer's API makes them, each committed by itself; `url` is
/// that of the peer's database.
pub(super) async fn single_inserts(url: &str, dir: &Path) -> anyhow::Result<f64> {
    let script = "\\set n random(1, 9000000000000000000)\n\
        insert into deployments (id, idempotency_key, project, stack, environment, state, variables)\n\
        values (md5(:n::text)::uuid, md5(:n::text), 'raw', 'stack', 'dev', 'queued', '{}');\n";
    pgbench(url, dir, "single", script).await
}

async fn pgbench(url: &str, dir: &Path, name: &str, script: &str) -> anyhow::Result<f64> {
    let program = PathBuf::from(Settings::needed("SLIPWAY_TEST_POSTGRES_BIN")?).join("pgbench");
    let file = dir.join(format!("{name}.sql"));
    std::fs::write(&file, script)?;
    let file = file.to_str().context("a path of a temporary directory")?;
    let connections = CONNECTIONS.to_string();
    let args = ["-n", "-M", "prepared", "-c", &connections, "-j", "2", "-T", SECONDS];
    let said = output(&program, dir, &[&args[..], &["-f", file, url]].concat()).await?;
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    rate.with_context(|| format!("no rate in what pgbench says: {said}"))
}

async fn output(program: &Path, dir: &Path, args: &[&str]) -> anyhow::Result<String> {
    let mut command = machine::command(program, dir);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || command.output()).await?;
    let ended = ended.with_context(|| format!("{} does not start", program.display()))?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    if !ended.status.success() || said.contains("aborted") {
        let error = String::from_utf8_lossy(&ended.stderr);
        let error: Vec<_> = error.lines().take(3).collect();
        bail!("{} failed: {}", program.display(), error.join("\n"));
    }
    Ok(said)
}
