//! `auth`: what it costs to know who asks, on SQLite and on PostgreSQL.
//!
//! Two processes of `slipway api` serve the same database; one asks nobody, one takes only those who
//! have signed in. They are measured in turn, in many short rounds that each begin with another one,
//! so that both have the same machine. `peer` is the one that asks nobody.
//!
//! - `get_p50_*`, `get_p99_*`: `GET /api/v1/stacks`, with an access token; medians of the rounds.
//! - `get_rps_*`: how many of them a second.
//! - `key_p50_*`: the same with an API key, whose secret is looked up once a second.
//! - `login_*`: `POST /api/v1/auth/login` one after the other: what argon2 is told to take.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use http_body_util::Full;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::figure::Figure;
use crate::load::{self, Connection, Shape};
use crate::machine;
use crate::sample::Sample;
use crate::server::{Database, Server, Start};
use crate::settings::Settings;

/// What `./bench` calls it.
pub(crate) const NAME: &str = "auth";
/// Rounds, each of every kind of request, and a third of the seconds long.
const ROUNDS: usize = 12;
/// Sign-ins that are timed.
const LOGINS: usize = 20;
const PASSWORD: &str = "a password for a benchmark";

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

/// Rates and latencies of the rounds.
#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Rounds {
    async fn add(
        &mut self,
        server: &Server,
        token: Option<&str>,
        seconds: u64,
    ) -> anyhow::Result<()> {
        let gets = Arc::new(Gets { authorization: token.map(|token| format!("Bearer {token}")) });
        let measured = load::measure(server.address, gets, seconds).await?;
        let nothing = "nothing was measured";
        self.rates.push(measured.rate);
        self.p50.push(measured.latencies.percentile_ms(50).context(nothing)?);
        self.p99.push(measured.latencies.percentile_ms(99).context(nothing)?);
        Ok(())
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

async fn measure(settings: &Settings, database: &Database) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("slipway-bench.").tempdir()?;
    let engine = database.engine();
    let asks = [("SLIPWAY_AUTH_MODE", Path::new("required"))];
    let start = async |env: &[(&str, &Path)]| {
        let slipway = &settings.slipway;
        let start = Start { slipway, role: "api", dir: dir.path(), database, env };
        Ok::<_, anyhow::Error>(start.start().await?.0)
    };
    let (open, closed) = (start(&[]).await?, start(&asks).await?);
    make_admin(settings, database, dir.path())?;
    let (token, logins) = sign_in(&closed).await?;
    let key = make_key(&closed, &token).await?;
    let seconds = settings.seconds.div_ceil(3);
    eprintln!(
        "{NAME} on {engine}: {} connections, {ROUNDS} × {seconds} s each, load {}",
        load::CONNECTIONS,
        machine::load()
    );
    let mut rounds: [Rounds; 3] = Default::default();
    let kinds = [(&open, None), (&closed, Some(token.as_str())), (&closed, Some(key.as_str()))];
    for round in 0..ROUNDS {
        for turn in 0..kinds.len() {
            let at = (round + turn) % kinds.len();
            let (server, token) = kinds[at];
            rounds[at].add(server, token, seconds).await?;
        }
    }
    let [bare, with_token, with_key] = rounds;
    let beside = |name: &str, unit, peer: &[f64], ours: &[f64]| {
        let name = format!("{name}_{engine}");
        Figure::beside(NAME, name, unit, median(peer), median(ours)).print()
    };
    beside("get_rps", "1/s", &bare.rates, &with_token.rates)?;
    beside("get_p50", "ms", &bare.p50, &with_token.p50)?;
    beside("get_p99", "ms", &bare.p99, &with_token.p99)?;
    beside("key_rps", "1/s", &bare.rates, &with_key.rates)?;
    beside("key_p50", "ms", &bare.p50, &with_key.p50)?;
    let login = logins.median_ms().context("nobody signed in")?;
    Figure::alone(NAME, format!("login_{engine}"), "ms", login).print()
}

/// Makes the first admin as an operator does.
fn make_admin(settings: &Settings, database: &Database, dir: &Path) -> anyhow::Result<()> {
    let file = dir.join("password");
    std::fs::write(&file, PASSWORD)?;
    let mut command = machine::command(&settings.slipway, dir);
    command.args(["admin", "create", "bench", "--password-file"]).arg(&file).arg("--data-dir");
    command.arg(dir.join("data"));
    if let Some(url) = database.url() {
        command.env("SLIPWAY_DATABASE_URL", url).env("SLIPWAY_KEYS_RING_FILE", dir.join("ring"));
    }
    let made = command.output()?;
    if !made.status.success() {
        bail!("no admin: {}", String::from_utf8_lossy(&made.stderr).trim());
    }
    Ok(())
}

async fn post(
    server: &Server,
    path: &str,
    token: Option<&str>,
    body: &Value,
) -> anyhow::Result<Value> {
    let mut connection = Connection::<Full<Bytes>>::open(server.address).await?;
    let mut request = connection.request("POST", path).header(CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let answer = connection.send(request.body(Full::new(body.to_string().into()))?).await?;
    if !answer.status.is_success() {
        bail!("{path}: {}", answer.status);
    }
    Ok(serde_json::from_slice(&answer.body)?)
}

/// Signs in a few times; gives the last access token.
async fn sign_in(server: &Server) -> anyhow::Result<(String, Sample)> {
    let mut times = Sample::default();
    let mut token = String::new();
    for _ in 0..LOGINS {
        let body = json!({"name": "bench", "password": PASSWORD});
        let asked = Instant::now();
        let answer = post(server, "/api/v1/auth/login", None, &body).await?;
        times.push(asked.elapsed());
        answer["access_token"].as_str().context("no token")?.clone_into(&mut token);
    }
    Ok((token, times))
}

async fn make_key(server: &Server, token: &str) -> anyhow::Result<String> {
    let body = json!({"name": "bench", "scopes": ["stacks:read"]});
    let made = post(server, "/api/v1/auth/keys", Some(token), &body).await?;
    Ok(made["token"].as_str().context("no key")?.to_owned())
}

/// `GET /api/v1/stacks`.
struct Gets {
    authorization: Option<String>,
}

impl Shape for Gets {
    const METHOD: &'static str = "GET";
    const STATUS: StatusCode = StatusCode::OK;

    fn request(&self, _: u64) -> anyhow::Result<(String, Bytes)> {
        Ok(("/api/v1/stacks".to_owned(), Bytes::new()))
    }

    fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}
