//! `config_resolve`: what holds for a place (`GET /api/v1/config/resolve`), of 500 items in six
//! scopes, 100 of them secrets; on SQLite and on PostgreSQL, over one connection, one request at a
//! time. The process is `slipway api` with its defaults.
//!
//! - `cached_*`: it was asked for before; the peer is the same request to the same process right after
//!   an item was changed, which reads all of them.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, IF_MATCH};
use serde_json::{Value, json};

use crate::figure::Figure;
use crate::load::Connection;
use crate::machine;
use crate::sample::Sample;
use crate::server::{Database, Start};
use crate::settings::Settings;

/// What `./bench` calls it.
pub(crate) const NAME: &str = "config_resolve";
/// Keys that hold for the place.
const KEYS: usize = 500;
/// Requests that are answered from memory.
const CACHED: usize = 5_000;
/// Requests before which something was changed.
const READ: usize = 300;
const PLACE: &str = "/api/v1/config/resolve?project=shop&environment=prod&service=web";

/// Runs it on both engines.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let url = settings.postgres()?;
    on(settings, Database::sqlite()).await?;
    on(settings, Database::postgres(url).await?).await
}

async fn on(settings: &Settings, database: Database) -> anyhow::Result<()> {
    let measured = measure(settings, &database).await;
    let dropped = database.drop().await.context("the benchmark's database cannot be removed");
    measured.and(dropped)
}

async fn measure(settings: &Settings, database: &Database) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("slipway-bench.").tempdir()?;
    let engine = database.engine();
    let start =
        Start { slipway: &settings.slipway, role: "api", dir: dir.path(), database, env: &[] };
    let (server, _) = start.start().await?;
    eprintln!("{NAME} on {engine}: {KEYS} keys, load {}", machine::load());
    let mut connection = Connection::open(server.address).await?;
    let changing = fill(&mut connection).await?;
    let (mut cached, mut read) = (Sample::default(), Sample::default());
    // Connections and prepared statements are there.
    for _ in 0..100 {
        resolve(&mut connection).await?;
    }
    for _ in 0..CACHED {
        cached.push(resolve(&mut connection).await?);
    }
    for number in 0..READ {
        let body = json!({ "value": format!("changed-{number}") });
        let request = connection.request("PUT", &changing).header(IF_MATCH, "*");
        let request = request.header(CONTENT_TYPE, "application/json");
        let answer = connection.send(request.body(Full::new(body.to_string().into()))?).await?;
        ensure!(answer.status == StatusCode::OK, "PUT: {}", answer.status);
        read.push(resolve(&mut connection).await?);
    }
    drop(server);
    for percent in [50, 99] {
        let of = |sample: &Sample| sample.percentile_ms(percent).context("nothing was measured");
        let name = format!("cached_p{percent}_{engine}");
        Figure::beside(NAME, name, "ms", of(&read)?, of(&cached)?).print()?;
    }
    Ok(())
}

/// Makes the items; gives the path of one that may be changed.
async fn fill(connection: &mut Connection<Full<Bytes>>) -> anyhow::Result<String> {
    let scopes = [
        json!({}),
        json!({"environment": "prod"}),
        json!({"project": "shop"}),
        json!({"project": "shop", "environment": "prod"}),
        json!({"project": "shop", "service": "web"}),
        json!({"project": "shop", "environment": "prod", "service": "web"}),
    ];
    let mut last = None;
    for (number, scope) in (0..KEYS).zip(scopes.iter().cycle()) {
        let kind = if number % 5 == 0 { "secret" } else { "string" };
        let body = json!({"key": format!("service.part-{number}.value"), "scope": scope,
            "type": kind, "value": format!("the value of item number {number}, of usual length")});
        let request = connection.request("POST", "/api/v1/config");
        let request = request.header(CONTENT_TYPE, "application/json");
        let answer = connection.send(request.body(Full::new(body.to_string().into()))?).await?;
        ensure!(answer.status == StatusCode::CREATED, "POST: {}", answer.status);
        if kind == "string" {
            last = answer.location;
        }
    }
    Ok(last.context("nothing was made")?.to_str()?.to_owned())
}

async fn resolve(connection: &mut Connection<Full<Bytes>>) -> anyhow::Result<std::time::Duration> {
    let request = connection.request("GET", PLACE).body(Full::new(Bytes::new()))?;
    let sent = Instant::now();
    let answer = connection.send(request).await?;
    let took = sent.elapsed();
    ensure!(answer.status == StatusCode::OK, "GET: {}", answer.status);
    let found: Value = serde_json::from_slice(&answer.body)?;
    let keys = found["settings"].as_array().map_or(0, Vec::len);
    ensure!(keys == KEYS, "{keys} keys hold");
    Ok(took)
}
