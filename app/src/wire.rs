//! Puts the house together: translates the configuration into every crate's own options. The only
//! place that knows both.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use slipway_api::{ApiOptions, ApiState};
use slipway_config::section::{JobKindLimits, LogFormat, TransportKind};
use slipway_config::{Config, DatabaseLocation};
use slipway_domain::clock::{Clock, SystemClock};
use slipway_domain::id::RandomMint;
use slipway_domain::job::JobLimits;
use slipway_domain::tree::Limits;
use slipway_driver_terraform::{GitOptions, Inspector, Options as DriverOptions, Terraform};
use slipway_queue::{Embedded, SharedTransport};
use slipway_services::{Ctx, Library, Settings};
use slipway_store::crypto::Keyring;
use slipway_store::{DatabaseUrl, Store};
use slipway_telemetry::metrics::Metrics;
use slipway_telemetry::{LogFormat as TelemetryFormat, TelemetryOptions};
use slipway_worker::Loops;
use tokio_util::sync::CancellationToken;

/// Everything that doors and workers share.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) cx: Ctx,
    pub(crate) metrics: Metrics,
}

/// How the process talks about itself.
pub(crate) fn telemetry(config: &Config) -> TelemetryOptions {
    let telemetry = &config.telemetry;
    TelemetryOptions {
        service_name: telemetry.service_name.clone(),
        service_version: env!("CARGO_PKG_VERSION").to_owned(),
        log_format: match telemetry.log_format {
            LogFormat::Json => TelemetryFormat::Json,
            LogFormat::Text => TelemetryFormat::Text,
        },
        log_filter: telemetry.log_level.clone(),
        otlp_endpoint: telemetry.otlp_endpoint.clone(),
        trace_sample_ratio: telemetry.trace_sample_ratio,
    }
}

fn source_limits(config: &Config) -> Limits {
    Limits { total_bytes: config.source.max_unpacked_bytes, entries: config.source.max_entries }
}

/// Finds the tool. Writes nothing, so that a machine without one is left as it was.
pub(crate) async fn driver(config: &Config) -> anyhow::Result<Arc<Terraform>> {
    let terraform = &config.terraform;
    let mut env_allow = DriverOptions::default_env_allow();
    env_allow.extend(terraform.env_allow.iter().cloned());
    let options = DriverOptions {
        binary: terraform.binary.clone(),
        provider_mirror: terraform.provider_mirror.clone(),
        cli_config_file: terraform.cli_config_file.clone(),
        env_allow,
        git: GitOptions {
            allow_file: config.source.git_allow_file,
            allow_http: config.source.git_allow_http,
            timeout_s: config.source.git_timeout_s,
        },
        limits: source_limits(config),
        parallelism: u16::try_from(terraform.parallelism).ok(),
        ..DriverOptions::new(terraform.cache_dir.clone())
    };
    Ok(Arc::new(Terraform::detect(options).await?))
}

/// Opens the database (and makes it, for SQLite), reads the keys and the templates.
pub(crate) async fn house(config: &Config) -> anyhow::Result<House> {
    let inspector = Arc::new(Inspector);
    let limits = source_limits(config);
    let templates = Library::load(&*inspector, config.templates.dir.as_deref(), limits)
        .map_err(anyhow::Error::msg)?;
    let store = store(config).await?;
    let transport: SharedTransport = match config.queue.transport {
        TransportKind::Embedded => Arc::new(Embedded::default()),
        other => anyhow::bail!("the transport {other:?} is not available in this build"),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cx = Ctx {
        store,
        transport,
        clock,
        mint: Arc::new(RandomMint),
        inspector,
        templates: Arc::new(templates),
        settings: Arc::new(settings(config, limits)),
    };
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics cannot be set up")?;
    Ok(House { cx, metrics })
}

fn settings(config: &Config, source_limits: Limits) -> Settings {
    let limits = |kind: &JobKindLimits| JobLimits {
        max_attempts: kind.max_attempts,
        soft_limit_s: kind.soft_limit_s,
        hard_limit_s: kind.hard_limit_s,
    };
    Settings {
        source_limits,
        directory_root: config.source.directory_root.clone(),
        git_allow_file: config.source.git_allow_file,
        git_allow_http: config.source.git_allow_http,
        plan_limits: limits(&config.jobs.plan),
        apply_limits: limits(&config.jobs.apply),
        idempotency_ttl: chrono::Duration::hours(config.retention.idempotency_hours.into()),
        log_retention: chrono::Duration::days(config.retention.logs_days.into()),
    }
}

/// Opens the store.
pub(crate) async fn store(config: &Config) -> anyhow::Result<Store> {
    let location = config.database_location();
    let keys = keys(config, matches!(location, DatabaseLocation::Sqlite(_)))?;
    let options = slipway_store::Options {
        database: match &location {
            DatabaseLocation::Sqlite(path) => DatabaseUrl::Sqlite(path.clone()),
            DatabaseLocation::Postgres(url) => DatabaseUrl::Postgres(url.reveal().clone()),
        },
        max_connections: config.database.max_connections,
        connect_timeout: Duration::from_secs(config.database.connect_timeout_s),
        artifacts_dir: config.artifacts.dir.clone(),
        inline_max_bytes: config.artifacts.inline_max_bytes,
    };
    let place = format!("{:?}", options.database);
    Store::open(&options, keys)
        .await
        .with_context(|| format!("the database {place} cannot be used"))
}

/// Reads the key ring: from `keys.ring`, or from `keys.file`, which is made for a new
/// single-machine installation.
fn keys(config: &Config, single_machine: bool) -> anyhow::Result<Keyring> {
    let ring = config.keys.ring.reveal();
    if !ring.is_empty() {
        return Ok(Keyring::parse(ring)?);
    }
    let file = &config.keys.file;
    if !file.exists() {
        anyhow::ensure!(
            single_machine,
            "there is no key ring: {} does not exist and keys.ring is empty.\nEvery process of \
             this installation needs the same one. Make it once with `slipway keys generate`, and \
             give it to all of them as SLIPWAY_KEYS_RING_FILE=/path (mode 0600).",
            file.display()
        );
        let made = Keyring::generate()?;
        write_new_private(file, made.as_bytes())
            .with_context(|| format!("the key ring {} cannot be written", file.display()))?;
    }
    check_private(file)?;
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the key ring {} cannot be read", file.display()))?;
    Keyring::parse(text.trim()).with_context(|| format!("in {}", file.display()))
}

fn write_new_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    // The database is worth nothing without it.
    file.sync_all()
}

fn check_private(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    const OTHERS: u32 = 0o077;
    let mode = std::fs::metadata(path)
        .with_context(|| format!("the key ring {} cannot be read", path.display()))?
        .permissions()
        .mode();
    anyhow::ensure!(
        mode & OTHERS == 0,
        "the key ring {} can be read by others (mode {:03o}); set it right with `chmod 600 {}`",
        path.display(),
        mode & 0o777,
        path.display()
    );
    Ok(())
}

/// The doors' state.
pub(crate) fn api(
    config: &Config,
    house: &House,
    port: u16,
    shutdown: CancellationToken,
) -> ApiState {
    let options = ApiOptions {
        allowed_hosts: config.api.allowed_hosts.iter().cloned().collect(),
        max_body_bytes: config.api.max_body_bytes,
        max_archive_bytes: config.api.max_archive_bytes,
        request_timeout: Duration::from_secs(config.api.request_timeout_s),
        stream_max: Duration::from_secs(config.api.stream_max_s),
        port,
        ..ApiOptions::default()
    };
    ApiState::new(house.cx.clone(), house.metrics.clone(), options, shutdown)
}

/// How the worker works.
pub(crate) fn worker(config: &Config) -> slipway_worker::Options {
    let worker = &config.worker;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    slipway_worker::Options {
        queues: worker.queues.clone(),
        lease: Duration::from_secs(worker.lease_s),
        heartbeat: Duration::from_secs(worker.heartbeat_s),
        drain_grace: Duration::from_secs(worker.drain_grace_s),
        poll: Duration::from_secs(worker.poll_s),
        work_dir: config.data_dir.join("work"),
        host,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The loops that every process runs.
pub(crate) fn loops(config: &Config) -> Loops {
    Loops { relay: Duration::from_millis(config.queue.relay_interval_ms), ..Loops::default() }
}
