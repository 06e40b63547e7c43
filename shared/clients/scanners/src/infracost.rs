//! infracost, on a plan: what a month costs by the prices of its own pricing API. Its flags and
//! variables are those of the 0.10 line.
//!
//! It asks the network. Of the environment it sees the key and address of its API, certificates and
//! proxies. It is told to leave alone what is no price: its makers' dashboard with their policies and
//! usage figures (which would be sent attributes, tags and ids of the resources), their updates,
//! files with variables, and prices that somebody left lying in a directory above.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use serde::de::IgnoredAny;
use slipway_domain::clock::{Clock, SystemClock};
use slipway_domain::log::LogStream;
use slipway_domain::port::driver::Run;
use slipway_domain::port::estimator::{Estimate, EstimateInput, EstimateStatus, Estimated};
use slipway_process::{Environment, Guard};

use crate::program::{ALLOW, Asked, Program, Stand, Unheard};

/// What it is called, which is also the name of its executable.
const NAME: &str = "infracost";
/// What it sees of our environment beside what every tool sees.
const OPEN: &[&str] = &[
    "INFRACOST_API_KEY",
    "INFRACOST_PRICING_API_ENDPOINT",
    "INFRACOST_TLS_CA_CERT_FILE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];
/// What it is told, whatever the operator's environment says.
const TOLD: &[(&str, &str)] = &[
    ("NO_COLOR", "1"),
    ("INFRACOST_NO_COLOR", "true"),
    ("INFRACOST_SKIP_UPDATE_CHECK", "true"),
    ("INFRACOST_ENABLE_CLOUD", "false"),
    ("INFRACOST_DISABLE_ENVFILE", "true"),
    ("INFRACOST_PRICING_CACHE_DISABLED", "true"),
];
/// The plan's file in the directory that it runs in.
const PLAN: &str = "plan.json";

/// Where infracost is, and how it is run.
#[derive(Debug, Clone)]
pub struct InfracostOptions {
    /// Its executable; looked for on `PATH` when absent.
    pub program: Option<PathBuf>,
    /// Through what it is started.
    pub guard: Guard,
    /// What it sees of this is chosen here: names that it does not need are left out.
    pub env: Environment,
}

impl Default for InfracostOptions {
    /// From `PATH`, with the environment of this process.
    fn default() -> Self {
        let names: Vec<&str> = ALLOW.iter().chain(OPEN).copied().collect();
        Self { program: None, guard: Guard::None, env: Environment::from_process(&names) }
    }
}

/// infracost, if it is there. Cheap to clone.
#[derive(Clone)]
pub struct Infracost {
    stand: Arc<Stand>,
    /// What it sees when it is asked for prices.
    env: Environment,
    found: Result<Program, String>,
}

impl fmt::Debug for Infracost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Infracost({self})")
    }
}

/// For people: its version, or why it is not there.
impl fmt::Display for Infracost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Ok(program) => {
                let version = program.version.as_deref().unwrap_or("of unknown version");
                write!(f, "{NAME} {version}")
            }
            Err(why) => f.write_str(why),
        }
    }
}

impl Infracost {
    /// Looks for it and asks its version, once. Writes nothing, and asks no network. That it is not
    /// there is no error: the gate says what that comes to.
    pub async fn discover(options: InfracostOptions) -> Self {
        Self::discover_with(options, Arc::new(SystemClock)).await
    }

    /// Like [`Infracost::discover`], with a clock of the caller's.
    pub async fn discover_with(options: InfracostOptions, clock: Arc<dyn Clock>) -> Self {
        let InfracostOptions { program, guard, env } = options;
        let told = |env: Environment| TOLD.iter().fold(env, |env, (k, v)| env.with(k, *v));
        // For its version it needs no key.
        let plain = told(env.only(ALLOW));
        let names: Vec<&str> = ALLOW.iter().chain(OPEN).copied().collect();
        let env = told(env.only(&names));
        let stand = Arc::new(Stand { env: plain, guard, clock, step: "cost" });
        let found = Program::find(stand.clone(), NAME, program.as_deref()).await;
        Self { stand, env, found }
    }

    /// Whether it is there and runs.
    pub const fn is_installed(&self) -> bool {
        self.found.is_ok()
    }

    /// Its version, as far as it tells one.
    pub fn version(&self) -> Option<&str> {
        self.found.as_ref().ok()?.version.as_deref()
    }

    async fn ask(&self, program: &Program, run: &dyn Run, input: &EstimateInput) -> EstimateStatus {
        let failed = |why: String| EstimateStatus::Failed { why };
        let secrets = self.env.secrets();
        run.hide(secrets.clone());
        // Also where a run does not remember what it is told.
        let redactor = run.redactor().and(secrets);
        let (workspace, document) = (run.workspace().to_path_buf(), input.document.clone());
        let making = tokio::task::spawn_blocking(move || Place::make(&workspace, &document));
        let place = match making.await {
            Ok(Ok(place)) => place,
            Ok(Err(error)) => return failed(format!("the plan could not be written: {error}")),
            Err(_) => return failed("the plan was not written".to_owned()),
        };
        let args = ["diff", "--path", PLAN, "--format", "json", "--no-color"];
        let env = self.env.clone().with("INFRACOST_CURRENCY", &input.currency);
        let asked = Asked {
            args: args.map(Into::into).to_vec(),
            env: env.with("HOME", &place.home).with("TMPDIR", &place.home),
            cwd: &place.cwd,
            good: &[0],
            limit: input.time_limit,
            tidy: &|line| redactor.text(&place.hide(line)),
            error: Some("Error"),
        };
        let answer = program.ask(run, asked).await;
        let reading = tokio::task::spawn_blocking(move || {
            drop(place);
            match answer {
                Ok(text) if is_object(&text) => EstimateStatus::Done { document: text.into() },
                Ok(_) => failed("it printed no report".to_owned()),
                Err(Unheard::TimedOut(after_s)) => EstimateStatus::TimedOut { after_s },
                Err(Unheard::Failed(why)) => failed(why),
            }
        });
        reading.await.unwrap_or_else(|_| failed("its report was not read".to_owned()))
    }
}

#[async_trait]
impl Estimate for Infracost {
    async fn estimate(&self, run: &dyn Run, input: &EstimateInput) -> Estimated {
        let began = Instant::now();
        let status = match &self.found {
            Ok(program) => self.ask(program, run, input).await,
            Err(why) => EstimateStatus::Missing { why: run.redactor().text(why) },
        };
        let duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.stand.tell(run, NAME, LogStream::System, &summary(&status, duration_ms));
        Estimated { version: self.version().map(str::to_owned), status, duration_ms }
    }
}

/// What is said of an estimate in the log.
fn summary(status: &EstimateStatus, ms: i64) -> String {
    match status {
        EstimateStatus::Done { .. } => format!("answered in {ms} ms"),
        EstimateStatus::Missing { why } => format!("not asked: {why}"),
        EstimateStatus::TimedOut { after_s } => format!("killed at its limit of {after_s} s"),
        EstimateStatus::Failed { why } => format!("failed after {ms} ms: {why}"),
    }
}

fn is_object(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// The directories of one estimate, with the plan in them. They are gone when this is dropped.
struct Place {
    top: PathBuf,
    cwd: PathBuf,
    /// A home without anybody's configuration.
    home: PathBuf,
}

impl Place {
    /// Writes the plan where only this user can read it. Blocking.
    fn make(workspace: &Path, document: &Bytes) -> io::Result<Self> {
        let top = std::path::absolute(workspace)?.join("estimate-infracost");
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700);
        private.create(&top)?;
        let place = Self { cwd: top.join("work"), home: top.join("home"), top };
        private.create(&place.cwd)?;
        private.create(&place.home)?;
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.write(true).create_new(true).mode(0o600).open(place.cwd.join(PLAN))?;
        file.write_all(document)?;
        Ok(place)
    }

    /// The same text without this machine's directories.
    fn hide(&self, text: &str) -> String {
        let inside = format!("{}/", self.cwd.display());
        text.replace(&inside, "").replace(&self.top.display().to_string(), "")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The workspace is wiped in any case.
        let _ = std::fs::remove_dir_all(&self.top);
    }
}
