//! `submit`: how fast deployments are accepted and looked at, how much memory the process takes,
//! and how soon it is there; on SQLite and on PostgreSQL. The process is `slipway api` with its
//! defaults, so no worker competes with it, and no job is ever run: what was accepted waits.
//!
//! - `post_*`: `POST /api/v1/deployments`.
//! - `get_*`: `GET /api/v1/deployments/{id}` while a hundred deployments wait.
//! - `get_backlog_*`: the same while everything waits that was accepted before (`backlog_*`); the
//!   answer says which place in the queue a deployment has.
//! - `rss_*`, `rss_peak_*`: resident memory of the process after all that, and at its highest.
//! - `cold_start_*`: from starting the process on a database that is there to its first 200 on
//!   `/readyz`.

use std::sync::Arc;

use anyhow::Context as _;
use hyper::StatusCode;
use hyper::body::Bytes;
use slipway_domain::deployment::{Operation, Options};
use slipway_domain::source::Source;
use slipway_domain::stack::StackKey;
use slipway_services::deployment::Submit;

use crate::figure::Figure;
use crate::load::{self, CONNECTIONS, Measured, Shape};
use crate::machine;
use crate::sample::Sample;
use crate::server::{Database, Start};
use crate::settings::Settings;

/// What `./bench` calls it.
pub(crate) const NAME: &str = "submit";
/// Starts that are timed.
const STARTS: usize = 5;
/// Deployments that wait when `get` is measured: what a busy installation may have.
const FEW: u64 = 100;

/// Runs it on both engines.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let url = settings.postgres()?;
    on(settings, Database::sqlite()).await?;
    on(settings, Database::postgres(url).await?).await
}

async fn on(settings: &Settings, database: Database) -> anyhow::Result<()> {
    let measured = measure(settings, &database).await;
    // The database goes whatever happened; the first error counts.
    let dropped = database.drop().await.context("the benchmark's database cannot be removed");
    measured.and(dropped)
}

async fn measure(settings: &Settings, database: &Database) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("slipway-bench.").tempdir()?;
    let engine = database.engine();
    let start =
        Start { slipway: &settings.slipway, role: "api", dir: dir.path(), database, env: &[] };
    // The first start makes schema and keys. What is timed is what an operator waits for when a
    // process is replaced.
    drop(start.start().await?);
    let mut starts = Sample::default();
    for _ in 0..STARTS {
        starts.push(start.start().await?.1);
    }
    let (server, _) = start.start().await?;
    eprintln!(
        "{NAME} on {engine}: {CONNECTIONS} connections, {} s each, load {}",
        settings.seconds,
        machine::load()
    );

    let alone = |name: &str, unit, ours| {
        Figure::alone(NAME, format!("{name}_{engine}"), unit, ours).print()
    };
    let few = load::send(server.address, &Posts { project: "few" }, FEW).await?;
    let gets = Arc::new(Gets { paths: few });
    let gets = load::measure(server.address, gets, settings.seconds).await?;
    requests("get", engine, &gets)?;

    let posts = Arc::new(Posts { project: "many" });
    let posts = load::measure(server.address, posts, settings.seconds).await?;
    requests("post", engine, &posts)?;

    let backlog = u32::try_from(posts.locations.len())?;
    let gets = Arc::new(Gets { paths: posts.locations });
    let gets = load::measure(server.address, gets, settings.seconds).await?;
    requests("get_backlog", engine, &gets)?;
    alone("backlog", "jobs", f64::from(backlog))?;

    let memory = server.memory()?;
    drop(server);
    alone("rss", "MiB", memory.now)?;
    alone("rss_peak", "MiB", memory.peak)?;
    alone("cold_start", "ms", starts.median_ms().context("nothing was started")?)
}

fn requests(what: &str, engine: &str, measured: &Measured) -> anyhow::Result<()> {
    let alone = |name: &str, unit, ours: Option<f64>| {
        let ours = ours.context("nothing was measured")?;
        Figure::alone(NAME, format!("{what}_{name}_{engine}"), unit, ours).print()
    };
    alone("rps", "1/s", Some(measured.rate))?;
    alone("p50", "ms", measured.latencies.percentile_ms(50))?;
    alone("p99", "ms", measured.latencies.percentile_ms(99))
}

/// `POST /api/v1/deployments`, each for a stack of its own in one project.
struct Posts {
    project: &'static str,
}

impl Shape for Posts {
    const METHOD: &'static str = "POST";
    const STATUS: StatusCode = StatusCode::ACCEPTED;

    fn request(&self, number: u64) -> anyhow::Result<(String, Bytes)> {
        let request = Submit {
            stack: StackKey {
                project: self.project.to_owned(),
                name: format!("stack-{number}"),
                environment: "dev".to_owned(),
            },
            source: Some(Source::Template { name: "hello".to_owned(), version: None }),
            variables: [("name".to_owned(), "bench".into())].into(),
            operation: Operation::Deploy,
            options: Options::default(),
        };
        Ok(("/api/v1/deployments".to_owned(), serde_json::to_vec(&request)?.into()))
    }
}

/// `GET /api/v1/deployments/{id}`, one after the other.
pub(crate) struct Gets {
    pub(crate) paths: Vec<String>,
}

impl Shape for Gets {
    const METHOD: &'static str = "GET";
    const STATUS: StatusCode = StatusCode::OK;

    fn request(&self, number: u64) -> anyhow::Result<(String, Bytes)> {
        // Spread over all of them, old ones and new ones.
        let count = u64::try_from(self.paths.len())?.max(1);
        let index = usize::try_from(number.wrapping_mul(7919) % count)?;
        let path = self.paths.get(index).context("there is nothing to look at")?;
        Ok((path.clone(), Bytes::new()))
    }
}
