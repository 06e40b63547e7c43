//! `plan_overhead`: from submitting a stack to its plan, against the bare tool doing the same.
//!
//! The clock of ours starts before `POST /api/v1/deployments` and stops when the event stream says
//! that the plan is there, committed. The source is a directory of this machine, so reading,
//! checking and packing it are in that one request, and the bare tool finds its files in place
//! too. The peer is `init && plan && show -json`. Both sides install from the same mirror, and are
//! run in turn, with the first place going round, so that what else the machine does hits both.
//!
//! - `cold_N`: nothing is initialised. Ours has a new data directory and a new process (ready
//!   before the clock starts); the peer a new directory.
//! - `warm_N`: ours has planned this stack before, so `init` is skipped; the peer still is what a
//!   CI job is, in a new directory.
//! - `warm_N_kept_dir`: the same of ours; the peer keeps its directory with `.terraform` and the
//!   lock file, and calls all three again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use slipway_app::client::http::Client;
use slipway_domain::deployment::{Operation, Options, Variables};
use slipway_domain::event::EventBody;
use slipway_domain::source::Source;
use slipway_domain::stack::StackKey;
use slipway_services::deployment::Submit;

use crate::bare::{self, Bare};
use crate::figure::Figure;
use crate::machine;
use crate::sample::{Sample, ms};
use crate::server::{Database, Server, Start};
use crate::settings::Settings;

/// What `./bench` calls it.
pub(crate) const NAME: &str = "plan_overhead";
/// The stacks of the tests' rig, and how many resources each creates.
const STACKS: [(&str, usize); 2] = [("one", 1), ("fifty", 50)];
/// A plan that takes longer is none.
const PATIENCE: Duration = Duration::from_mins(2);

/// Runs it.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("slipway-bench.").tempdir()?;
    let (tool, mirror) = (Settings::tool()?, settings.mirror()?.to_owned());
    let bare = Bare::new(&tool, &mirror, dir.path())?;
    for (stack, creates) in STACKS {
        let stacks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rig/stacks");
        let top = dir.path().join(stack);
        std::fs::create_dir(&top)?;
        let case = Case {
            slipway: settings.slipway.clone(),
            tool: tool.clone(),
            mirror: mirror.clone(),
            bare: bare.clone(),
            stack: stacks.join(stack),
            creates,
            top,
        };
        case.measure(settings.repeat).await?;
    }
    Ok(())
}

/// One stack.
struct Case {
    slipway: PathBuf,
    tool: PathBuf,
    mirror: PathBuf,
    bare: Bare,
    stack: PathBuf,
    creates: usize,
    top: PathBuf,
}

/// Ours and the peer's times of one figure.
#[derive(Default)]
struct Pair {
    peer: Sample,
    ours: Sample,
}

impl Pair {
    fn print(&self, name: String) -> anyhow::Result<()> {
        let (peer, ours) = (self.peer.median_ms(), self.ours.median_ms());
        let (peer, ours) = peer.zip(ours).context("nothing was measured")?;
        Figure::beside(NAME, name, "ms", peer, ours).print()
    }
}

impl Case {
    async fn measure(&self, repeat: usize) -> anyhow::Result<()> {
        let creates = self.creates;
        eprintln!("{NAME}, {creates} resources: {repeat} repetitions, load {}", machine::load());
        let warm = self.serve("warm").await?;
        let kept = self.fresh("kept")?;
        // Once, not counted: files into the page cache, the warm server's init cache filled, the
        // kept directory initialised.
        self.peer(self.fresh("first")?).await?;
        self.peer(kept.clone()).await?;
        self.ours(&warm, Init::Runs).await?;
        self.ours(&warm, Init::Skipped).await?;

        let (mut cold, mut warm_fresh, mut warm_kept) =
            (Pair::default(), Pair::default(), Pair::default());
        for i in 0..repeat {
            // Even turns begin with the peer, odd ones with ours.
            for ours_now in [i % 2 == 1, i % 2 == 0] {
                if ours_now {
                    let name = format!("cold-{i}");
                    let server = self.serve(&name).await?;
                    cold.ours.push(self.ours(&server, Init::Runs).await?);
                    drop(server);
                    std::fs::remove_dir_all(self.top.join(name))?;
                } else {
                    cold.peer.push(self.once(&format!("bare-{i}")).await?);
                }
            }
            for ours_now in [i % 2 == 1, i % 2 == 0] {
                if ours_now {
                    warm_fresh.ours.push(self.ours(&warm, Init::Skipped).await?);
                } else {
                    warm_fresh.peer.push(self.once(&format!("bare-warm-{i}")).await?);
                }
            }
            for ours_now in [i % 2 == 1, i % 2 == 0] {
                if ours_now {
                    warm_kept.ours.push(self.ours(&warm, Init::Skipped).await?);
                } else {
                    warm_kept.peer.push(self.peer(kept.clone()).await?);
                }
            }
        }
        cold.print(format!("cold_{creates}"))?;
        warm_fresh.print(format!("warm_{creates}"))?;
        warm_kept.print(format!("warm_{creates}_kept_dir"))
    }

    /// A directory with the stack's files and nothing else.
    fn fresh(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.top.join(name);
        bare::copy(&self.stack, &dir)?;
        Ok(dir)
    }

    /// The peer in a new directory, which goes afterwards.
    async fn once(&self, name: &str) -> anyhow::Result<Duration> {
        let dir = self.fresh(name)?;
        let took = self.peer(dir.clone()).await?;
        std::fs::remove_dir_all(dir)?;
        Ok(took)
    }

    async fn peer(&self, dir: PathBuf) -> anyhow::Result<Duration> {
        let (bare, creates) = (self.bare.clone(), self.creates);
        let took = tokio::task::spawn_blocking(move || bare.plan(&dir, creates)).await??;
        eprintln!("  bare {:>31.0} ms", ms(took));
        Ok(took)
    }

    /// A new server with a new data directory, and a client that has a connection to it.
    async fn serve(&self, name: &str) -> anyhow::Result<Ours> {
        let dir = self.top.join(name);
        std::fs::create_dir(&dir)?;
        let source = dir.join("stack");
        bare::copy(&self.stack, &source)?;
        let start = Start {
            slipway: &self.slipway,
            role: "dev",
            dir: &dir,
            database: &Database::sqlite(),
            env: &[
                ("SLIPWAY_TERRAFORM_BINARY", self.tool.as_path()),
                ("SLIPWAY_TERRAFORM_PROVIDER_MIRROR", self.mirror.as_path()),
                ("SLIPWAY_SOURCE_DIRECTORY_ROOT", dir.as_path()),
            ],
        };
        let (server, _) = start.start().await?;
        let client = Client::new(&format!("http://{}", server.address))?;
        client.templates().await?;
        Ok(Ours { _server: server, client })
    }

    /// One plan of ours.
    async fn ours(&self, ours: &Ours, init: Init) -> anyhow::Result<Duration> {
        let planned = tokio::time::timeout(PATIENCE, ours.plan(init, self.creates));
        planned.await.context("there is no plan yet; giving up")?
    }
}

/// What `init` must have done for the figure to be what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Init {
    Runs,
    Skipped,
}

/// A server and its client.
struct Ours {
    _server: Server,
    client: Client,
}

impl Ours {
    async fn plan(&self, init: Init, creates: usize) -> anyhow::Result<Duration> {
        let request = Submit {
            stack: StackKey {
                project: "bench".to_owned(),
                name: "stack".to_owned(),
                environment: "dev".to_owned(),
            },
            source: Some(Source::Directory { path: "stack".to_owned() }),
            variables: Variables::new(),
            operation: Operation::Deploy,
            options: Options::default(),
        };
        let started = Instant::now();
        let accepted = self.client.submit(&request, None).await?;
        let accepted_after = started.elapsed();
        let mut events = self.client.events(accepted.id, 0);
        let mut ran = None;
        let (plan, took) = loop {
            let Some(event) = events.next().await? else {
                let deployment = self.client.deployment(accepted.id).await?;
                bail!("no plan: it is {}: {:?}", deployment.state, deployment.failure);
            };
            match event.body {
                EventBody::Step { step, detail } if step == "init" => ran = detail,
                EventBody::PlanReady { plan } => break (plan, started.elapsed()),
                _ => {}
            }
        };
        drop(events);
        // Not part of the time: that it is what it is said to be.
        let wanted = if init == Init::Runs { "running" } else { "cached" };
        if ran.as_deref() != Some(wanted) {
            bail!("init should have been {wanted:?}, but was {ran:?}");
        }
        let planned = usize::try_from(plan.counts.create)?;
        if planned != creates {
            bail!("our plan creates {planned} resources, not {creates}");
        }
        self.client.cancel(accepted.id, None).await?;
        eprintln!(
            "  ours, init {wanted:<8} {:>13.0} ms (accepted after {:.1} ms)",
            ms(took),
            ms(accepted_after)
        );
        Ok(took)
    }
}
