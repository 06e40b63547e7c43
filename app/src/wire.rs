//! Puts the house together: translates the configuration into every crate's own options. The only
//! place that knows both, with `gate_tools`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use slipway_api::state::ForwardedHeader;
use slipway_api::{ApiOptions, ApiState, AuthMode, Limits as ApiLimits, Tls};
use slipway_client_oidc::{
    Fetch, GitHub, GitHubOptions, IdentityProvider, Issuers, Oidc, OidcOptions, TokenIssuers,
};
use slipway_client_vault::{Options as VaultOptions, Token, Transit};
use slipway_config::section::{
    self, Auth, AuthMode as Mode, JobKindLimits, KeyProvider, LogFormat, TransportKind,
};
use slipway_config::{Config, DatabaseLocation};
use slipway_domain::Secret;
use slipway_domain::clock::{Clock, SystemClock};
use slipway_domain::drift::schedule::Schedule;
use slipway_domain::gate_settings::GateSettings;
use slipway_domain::id::{Mint as _, RandomMint};
use slipway_domain::job::JobLimits;
use slipway_domain::port::buckets::Buckets;
use slipway_domain::tree::Limits;
use slipway_driver_terraform::{
    GitOptions, Guard as RunGuard, Inspector, Options as DriverOptions, Terraform,
};
use slipway_outbound::{Allow, Guard};
use slipway_queue::{Embedded, RabbitMq, RabbitMqOptions, Redis, RedisOptions, SharedTransport};
use slipway_services::auth::{AuthSettings, FileKeys};
use slipway_services::{Ctx, Library, Settings};
use slipway_store::crypto::{Keyring, Keys, ServiceOptions};
use slipway_store::{DatabaseUrl, Error as StoreError, Store};
use slipway_telemetry::metrics::Metrics;
use slipway_telemetry::{LogFormat as TelemetryFormat, TelemetryOptions};
use slipway_worker::Loops;
use tokio_util::sync::CancellationToken;

/// Everything that doors and workers share.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) cx: Ctx,
    pub(crate) metrics: Metrics,
    /// Where requests are counted for all processes, if somewhere.
    pub(crate) buckets: Option<Arc<dyn Buckets>>,
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

pub(crate) fn source_limits(config: &Config) -> Limits {
    Limits { total_bytes: config.source.max_unpacked_bytes, entries: config.source.max_entries }
}

/// Finds the tool. Writes nothing, so that a machine without one is left as it was.
pub(crate) async fn driver(config: &Config) -> anyhow::Result<Arc<Terraform>> {
    let terraform = &config.terraform;
    let mut env_allow = DriverOptions::default_env_allow();
    env_allow.extend(terraform.env_allow.iter().cloned());
    let options = DriverOptions {
        binary: terraform.binary.clone(),
        tools: terraform.tools.clone(),
        guard: RunGuard::This,
        provider_mirror: terraform.provider_mirror.clone(),
        allowed_providers: terraform.allowed_providers.clone(),
        cli_config_file: terraform.cli_config_file.clone(),
        env_allow,
        git: GitOptions {
            allow_file: config.source.git_allow_file,
            allow_http: config.source.git_allow_http,
            timeout_s: config.source.git_timeout_s,
            outbound: outbound(config)?,
        },
        limits: source_limits(config),
        parallelism: u16::try_from(terraform.parallelism).ok(),
        gc_percent: u16::try_from(terraform.gc_percent).ok(),
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
    // Before anything is opened: a key that others can read is said at once.
    let auth = auth(config)?;
    let store = store(config).await?;
    let (transport, buckets) = transport(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cx = Ctx {
        store,
        transport,
        clock,
        mint: Arc::new(RandomMint),
        inspector,
        templates: Arc::new(templates),
        settings: Arc::new(settings(config, limits, gates(config)?, auth)),
        gathered: Arc::default(),
    };
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION")).context("metrics cannot be set up")?;
    Ok(House { cx, metrics, buckets })
}

/// Starts the transport. A broker that is away is no reason to fail: work goes on without it.
fn transport(config: &Config) -> anyhow::Result<(SharedTransport, Option<Arc<dyn Buckets>>)> {
    let queue = &config.queue;
    Ok(match queue.transport {
        TransportKind::Embedded => (Arc::new(Embedded::default()), None),
        TransportKind::Redis => {
            let options = RedisOptions {
                prefix: queue.prefix.clone(),
                instance: instance(),
                ..RedisOptions::new(queue.url.clone())
            };
            let redis = Redis::connect(options)?;
            let buckets: Arc<dyn Buckets> = Arc::new(redis.buckets());
            (Arc::new(redis), Some(buckets))
        }
        TransportKind::RabbitMq => {
            let options = RabbitMqOptions {
                prefix: queue.prefix.clone(),
                connection_name: instance(),
                ..RabbitMqOptions::new(queue.url.clone())
            };
            (Arc::new(RabbitMq::connect(&options)?), None)
        }
    })
}

/// A name for this process that a person recognises and no other process has.
fn instance() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let process = std::process::id();
    // A process number comes again; so does a host's name.
    format!("{host}-{process}-{}", RandomMint.uuid().simple())
}

/// Reads what the operator's file says about the gates.
fn gates(config: &Config) -> anyhow::Result<GateSettings> {
    let Some(path) = &config.gates.settings_file else { return Ok(GateSettings::default()) };
    let wrong = || format!("gates.settings_file: {}", path.display());
    let text = std::fs::read(path).with_context(wrong)?;
    anyhow::ensure!(text.len() <= 1 << 20, "{}: it has more than 1 MiB", wrong());
    let settings: GateSettings = serde_json::from_slice(&text).with_context(wrong)?;
    let problems: Vec<String> = settings
        .problems("")
        .into_iter()
        .map(|problem| format!("{}: {}", problem.pointer, problem.detail))
        .collect();
    anyhow::ensure!(problems.is_empty(), "{}: {}", wrong(), problems.join("; "));
    Ok(settings)
}

/// How people and machines sign in.
fn auth(config: &Config) -> anyhow::Result<AuthSettings> {
    let auth = &config.auth;
    let file_keys = match &auth.signing_key_path {
        None => None,
        Some(path) => {
            let what = || format!("the signing key {} (auth.signing_key_path)", path.display());
            check_private(path, "signing key")?;
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", what()))?;
            let keys = FileKeys::parse(&text).map_err(anyhow::Error::msg).with_context(what)?;
            Some(keys)
        }
    };
    let fetch = Fetch::new(outbound(config)?)?;
    let workloads = &auth.workload_issuers;
    let issuers = (!workloads.is_empty())
        .then(|| Arc::new(Issuers::new(&fetch, workloads)) as Arc<dyn TokenIssuers>);
    Ok(AuthSettings {
        providers: providers(auth, &fetch),
        issuers,
        registration: auth.registration,
        issuer: issuer(config),
        access_ttl: chrono::Duration::seconds(auth.access_token_s.into()),
        session_idle: chrono::Duration::hours(auth.session_idle_h.into()),
        session_max: chrono::Duration::hours(auth.session_max_h.into()),
        key_life: chrono::Duration::days(auth.signing_key_days.into()),
        file_keys,
        provider_accounts: auth.provider_accounts,
        email_domains: auth.email_domains.clone(),
    })
}

/// Where people can sign in, beside here.
fn providers(auth: &Auth, fetch: &Fetch) -> Vec<Arc<dyn IdentityProvider>> {
    let mut providers: Vec<Arc<dyn IdentityProvider>> = Vec::new();
    if let Some(client_id) = &auth.github.client_id {
        let options = GitHubOptions {
            url: auth.github.url.clone(),
            api_url: auth.github.api_url.clone(),
            client_id: client_id.clone(),
            client_secret: auth.github.client_secret.clone(),
        };
        providers.push(Arc::new(GitHub::new(fetch, options)));
    }
    let mut openid = |name: &str, title: &str, issuer: &str, id: &str, secret: &Secret<String>| {
        let options = OidcOptions {
            name: name.to_owned(),
            title: title.to_owned(),
            issuer: issuer.to_owned(),
            client_id: id.to_owned(),
            client_secret: secret.clone(),
        };
        providers.push(Arc::new(Oidc::new(fetch, options)));
    };
    if let Some(id) = &auth.google.client_id {
        openid("google", "Google", "https://accounts.google.com", id, &auth.google.client_secret);
    }
    let oidc = &auth.oidc;
    if let (Some(issuer), Some(id)) = (&oidc.issuer, &oidc.client_id) {
        openid("oidc", &oidc.title, issuer, id, &oidc.client_secret);
    }
    providers
}

/// What this installation calls itself: its own URL, without a slash at the end.
fn issuer(config: &Config) -> String {
    let listened = || format!("http://{}", config.api.listen);
    config.auth.public_url.clone().unwrap_or_else(listened)
}

fn settings(
    config: &Config,
    source_limits: Limits,
    gates: GateSettings,
    auth: AuthSettings,
) -> Settings {
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
        gates,
        plan_limits: limits(&config.jobs.plan),
        apply_limits: limits(&config.jobs.apply),
        test_limits: limits(&config.jobs.test),
        adaptive_limits: config.jobs.adaptive_limits,
        drift: Schedule {
            enabled: config.drift.enabled,
            interval_s: config.drift.interval_s,
            jitter_percent: config.drift.jitter_percent,
            per_round: config.drift.per_round,
        },
        idempotency_ttl: chrono::Duration::hours(config.retention.idempotency_hours.into()),
        recovery_grace: chrono::Duration::seconds(config.worker.recovery_grace_s.into()),
        log_retention: chrono::Duration::days(config.retention.logs_days.into()),
        auth,
    }
}

/// Opens the store.
pub(crate) async fn store(config: &Config) -> anyhow::Result<Store> {
    let location = config.database_location();
    let keys = keys(config, &location)?;
    let options = store_options(config, &location);
    let place = format!("{:?}", options.database);
    let opened = match Store::open(&options, keys).await {
        Ok(store) => store.check_keys().await.map(|()| store),
        Err(error) => Err(error),
    };
    opened.map_err(|error| {
        let what = match &error {
            StoreError::Sealed(_) => format!(
                "the key ring of this process does not open what is sealed in the database \
                 {place}; every process of an installation needs the same one"
            ),
            StoreError::KeysAway(_) => "the keys cannot be used".to_owned(),
            _ => format!("the database {place} cannot be used"),
        };
        anyhow::Error::new(error).context(what)
    })
}

/// Opens the store to rotate its keys, even if this process lacks some that are in use.
pub(crate) async fn store_of_keys(config: &Config) -> anyhow::Result<Store> {
    let location = config.database_location();
    let keys = keys(config, &location)?;
    let options = store_options(config, &location);
    Store::open_without_house(&options, keys)
        .await
        .with_context(|| format!("the database {:?} cannot be used", options.database))
}

/// Looks at the database and the key ring as they are; says what it found and changes nothing.
pub(crate) async fn look(config: &Config) -> anyhow::Result<String> {
    let location = config.database_location();
    if let DatabaseLocation::Sqlite(path) = &location
        && !path.exists()
    {
        return Ok(format!("sqlite, to be made at the first start as {}", path.display()));
    }
    let has_keys = !config.keys.ring.reveal().is_empty()
        || config.keys.file.exists()
        || config.keys.provider == KeyProvider::VaultTransit;
    anyhow::ensure!(has_keys, "there is a database, and no key ring to open it with");
    let keys = keys(config, &location)?;
    let missing = Store::look(&store_options(config, &location), keys).await?;
    let engine =
        if matches!(location, DatabaseLocation::Sqlite(_)) { "sqlite" } else { "postgres" };
    Ok(match missing {
        0 => format!("{engine} answers, its schema is current, the keys fit"),
        n => format!("{engine} answers; {n} migrations are missing (`slipway migrate`)"),
    })
}

fn store_options(config: &Config, location: &DatabaseLocation) -> slipway_store::Options {
    slipway_store::Options {
        database: match location {
            DatabaseLocation::Sqlite(path) => DatabaseUrl::Sqlite(path.clone()),
            DatabaseLocation::Postgres(url) => DatabaseUrl::Postgres(url.reveal().clone()),
        },
        max_connections: config.database.max_connections,
        connect_timeout: Duration::from_secs(config.database.connect_timeout_s),
        artifacts_dir: config.artifacts.dir.clone(),
        inline_max_bytes: config.artifacts.inline_max_bytes,
    }
}

/// The keys: the ring, and Vault where it is configured.
fn keys(config: &Config, database: &DatabaseLocation) -> anyhow::Result<Keys> {
    let vault = &config.keys.vault;
    let vault_seals = config.keys.provider == KeyProvider::VaultTransit;
    let ring = ring(config, database, vault_seals)?;
    let Some(address) = &vault.address else { return Ok(ring.into()) };
    let token = match &vault.token_path {
        Some(path) if vault.token.reveal().is_empty() => Token::File(path.clone()),
        _ => Token::Value(vault.token.clone()),
    };
    let certificates = match &vault.ca_file {
        Some(path) => Some(std::fs::read(path).with_context(|| {
            format!("the certificates {} (keys.vault.ca_file) cannot be read", path.display())
        })?),
        None => None,
    };
    let timeout = Duration::from_secs(vault.timeout_s);
    let transit = Transit::new(VaultOptions {
        namespace: vault.namespace.clone(),
        certificates,
        timeout,
        // Room for a second attempt, within what a unit of work may take.
        deadline: (timeout * 5 / 2).min(Duration::from_secs(20)).max(timeout),
        ..VaultOptions::new(address, &vault.mount, &vault.key, token)
    })?;
    let options = ServiceOptions {
        keep: Duration::from_secs(vault.cache_s),
        keep_at_most: vault.cache_keys,
        ..ServiceOptions::default()
    };
    let keys = Keys::with_service(ring, Arc::new(transit), options);
    Ok(if vault_seals { keys } else { keys.sealing_with_ring() })
}

/// Reads the key ring: from `keys.ring`, or from `keys.file`, which is made for a new
/// single-machine installation. An installation whose keys are elsewhere needs none.
fn ring(
    config: &Config,
    database: &DatabaseLocation,
    keys_elsewhere: bool,
) -> anyhow::Result<Keyring> {
    let ring = config.keys.ring.reveal();
    if !ring.is_empty() {
        return Ok(Keyring::parse(ring)?);
    }
    let file = &config.keys.file;
    if !file.exists() && keys_elsewhere {
        return Ok(Keyring::empty());
    }
    if !file.exists() {
        if let DatabaseLocation::Sqlite(path) = database {
            anyhow::ensure!(
                !path.exists(),
                "the database {} is there and its key ring {} is not. What is sealed in it cannot \
                 be opened without; a new key ring would not help. Put the old one back (mode \
                 0600), or name it with SLIPWAY_KEYS_RING_FILE.",
                path.display(),
                file.display()
            );
        }
        anyhow::ensure!(
            matches!(database, DatabaseLocation::Sqlite(_)),
            "there is no key ring: {} does not exist and keys.ring is empty.\nEvery process of \
             this installation needs the same one. Make it once with `slipway keys generate`, and \
             give it to all of them as SLIPWAY_KEYS_RING_FILE=/path (mode 0600).",
            file.display()
        );
        let made = Keyring::generate()?;
        write_new_private(file, made.as_bytes())
            .with_context(|| format!("the key ring {} cannot be written", file.display()))?;
    }
    check_private(file, "key ring")?;
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
    // Whole or not at all: a file that was cut off by a crash, or that another process reads while
    // it is written, would be no key ring.
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(content)?;
    // The database is worth nothing without it.
    file.sync_all()?;
    let linked = std::fs::hard_link(&part, path);
    std::fs::remove_file(&part)?;
    match linked {
        // Another process was faster: its key ring is everybody's.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            Some(dir) => std::fs::File::open(dir)?.sync_all(),
            None => Ok(()),
        },
    }
}

fn check_private(path: &Path, what: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    const OTHERS: u32 = 0o077;
    let mode = std::fs::metadata(path)
        .with_context(|| format!("the {what} {} cannot be read", path.display()))?
        .permissions()
        .mode();
    anyhow::ensure!(
        mode & OTHERS == 0,
        "the {what} {} can be read by others (mode {:03o}); set it right with `chmod 600 {}`",
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
) -> anyhow::Result<ApiState> {
    let api = &config.api;
    let options = ApiOptions {
        auth: match config.auth.mode {
            Mode::Required => AuthMode::Required,
            Mode::None => AuthMode::None,
        },
        allowed_hosts: config.api.allowed_hosts.iter().cloned().collect(),
        max_body_bytes: config.api.max_body_bytes,
        max_archive_bytes: config.api.max_archive_bytes,
        max_state_bytes: config.api.max_state_bytes,
        request_timeout: Duration::from_secs(config.api.request_timeout_s),
        stream_max: Duration::from_secs(config.api.stream_max_s),
        trusted_proxies: api.proxies(),
        forwarded_header: match api.forwarded_header {
            section::ForwardedHeader::XForwardedFor => ForwardedHeader::XForwardedFor,
            section::ForwardedHeader::Forwarded => ForwardedHeader::Forwarded,
        },
        cors_origins: api.cors_origins.clone(),
        tls: match (&api.tls.cert, &api.tls.key) {
            (Some(cert), Some(key)) => Some(Tls::load(cert, key).context("api.tls")?),
            _ => None,
        },
        limits: limits(config),
        port,
        ..ApiOptions::default()
    };
    let state = ApiState::new(house.cx.clone(), house.metrics.clone(), options, shutdown);
    Ok(if let Some(buckets) = &house.buckets {
        tracing::info!("requests are counted in Redis, for all processes together");
        state.counting_in(buckets.clone())
    } else {
        tracing::info!("requests are counted by this process, for itself");
        state
    })
}

fn limits(config: &Config) -> ApiLimits {
    let section::Limits { loopback, per_address, login, webhook, mcp, read, write, upload, state } =
        config.limits;
    ApiLimits { loopback, per_address, login, webhook, mcp, read, write, upload, state }
}

/// Where requests may go that a user named.
fn outbound(config: &Config) -> anyhow::Result<Guard> {
    let entries = config.outbound.allow.iter().map(String::as_str);
    Ok(Guard::new(Allow::parse(entries).context("outbound.allow")?))
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
        work_dir: crate::work_dir::choose(config),
        host,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scan_time_limit: Duration::from_secs(config.scan.time_limit_s.into()),
    }
}

/// The loops that every process runs.
pub(crate) fn loops(config: &Config) -> Loops {
    let audit = &config.audit;
    let days = u64::from(audit.retention_days);
    Loops {
        relay: Duration::from_millis(config.queue.relay_interval_ms),
        checkpoint: Duration::from_secs(audit.checkpoint_interval_s),
        keep_audit: (days > 0).then(|| Duration::from_hours(24 * days)),
        ..Loops::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_key_rings_stays_and_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/ring");
        write_new_private(&path, b"first").unwrap();
        write_new_private(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        check_private(&path, "key ring").unwrap();
        let left = std::fs::read_dir(dir.path().join("keys")).unwrap().count();
        assert_eq!(left, 1, "no half-written file is left");
    }

    #[test]
    fn a_database_without_its_key_ring_gets_no_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.keys.file = dir.path().join("ring");
        let database = dir.path().join("slipway.db");
        std::fs::write(&database, "rows").unwrap();
        let refused = keys(&config, &DatabaseLocation::Sqlite(database.clone())).unwrap_err();
        assert!(refused.to_string().contains("key ring"), "{refused}");
        assert!(!config.keys.file.exists());
        std::fs::remove_file(&database).unwrap();
        keys(&config, &DatabaseLocation::Sqlite(database)).unwrap();
        assert!(config.keys.file.exists());
    }
}
