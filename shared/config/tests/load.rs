//! Loading as operators see it: which source wins, what is refused and how it is said, and what
//! `slipway config` prints.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use slipway_config::{Config, ConfigError, DatabaseLocation, Loaded, Loader, Provenance};
use slipway_domain::job::{JobLimits, Queue};
use tempfile::TempDir;

/// A loader that sees nothing of this machine.
fn loader(env: &[(&str, &str)]) -> Loader {
    let mut loader = Loader::new(env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
    loader.default_file = None;
    loader
}

fn file(text: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new().expect("a directory for the file");
    let path = dir.path().join("slipway.toml");
    fs::write(&path, text).expect("the file can be written");
    (dir, path)
}

fn load_file(text: &str) -> Result<Loaded, ConfigError> {
    let (_dir, path) = file(text);
    loader(&[]).with_file(Some(path)).load()
}

fn messages(result: Result<Loaded, ConfigError>) -> Vec<String> {
    result.expect_err("it is refused").problems.iter().map(ToString::to_string).collect()
}

/// The only problem; fails when there are none or more.
fn message(result: Result<Loaded, ConfigError>) -> String {
    let messages = messages(result);
    let [one] = messages.as_slice() else { panic!("{messages:#?}") };
    one.clone()
}

fn env_message(name: &str, value: &str) -> String {
    message(loader(&[(name, value)]).load())
}

#[test]
fn without_any_source_the_defaults_hold() {
    let loaded = loader(&[]).load().unwrap();
    assert_eq!(loaded.config, Config::default());
    let config = loaded.config;
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.artifacts.dir, Path::new(".slipway/artifacts"));
    assert_eq!(config.keys.file, Path::new(".slipway/keyring"));
    assert_eq!(config.terraform.cache_dir, Path::new(".slipway/cache"));
    assert_eq!(
        config.database_location(),
        DatabaseLocation::Sqlite(PathBuf::from(".slipway/slipway.db"))
    );
    assert_eq!(
        config.worker.queues,
        BTreeMap::from([(Queue::Plan, 4), (Queue::Apply, 2), (Queue::Test, 2)])
    );
    assert_eq!(
        JobLimits::from(config.jobs.apply),
        JobLimits { max_attempts: 1, soft_limit_s: 3600, hard_limit_s: 4200 }
    );
    assert_eq!(Config::default().validate(), []);
}

#[test]
fn flags_go_over_variables_over_the_file_over_defaults() {
    let (_dir, path) = file(
        "[api]\nlisten = \"127.0.0.1:1\"\n[worker]\npoll_s = 1\nlease_s = 60\n[retention]\nlogs_days = 1\n",
    );
    let loaded = loader(&[("SLIPWAY_API_LISTEN", "127.0.0.1:2"), ("SLIPWAY_WORKER_POLL_S", "2")])
        .with_file(Some(path.clone()))
        .with_default("telemetry.log_format", "text")
        .with_default("retention.logs_days", "7")
        .with_flag("api.listen", Some("127.0.0.1:3"))
        .with_flag("worker.poll_s", None::<u64>)
        .load()
        .unwrap();
    let config = &loaded.config;
    assert_eq!(config.api.listen.port(), 3);
    assert_eq!(config.worker.poll_s, 2);
    assert_eq!(config.worker.lease_s, 60);
    assert_eq!(config.worker.heartbeat_s, 10);
    assert_eq!(config.retention.logs_days, 1);
    assert_eq!(config.telemetry.log_format, slipway_config::section::LogFormat::Text);

    let from = |key: &str| loaded.provenance.of(key).clone();
    assert_eq!(from("api.listen"), Provenance::Flag);
    assert_eq!(from("worker.poll_s"), Provenance::Env { name: "SLIPWAY_WORKER_POLL_S".into() });
    assert_eq!(from("worker.lease_s"), Provenance::File { path: path.clone(), line: 5 });
    assert_eq!(from("retention.logs_days"), Provenance::File { path, line: 7 });
    assert_eq!(from("worker.heartbeat_s"), Provenance::Default);
    assert_eq!(from("telemetry.log_format"), Provenance::Default);
}

#[test]
fn every_form_of_value_can_be_a_variable() {
    let config = loader(&[
        ("SLIPWAY_API_ALLOWED_HOSTS", "slipway.example.org, slipway:8000"),
        ("SLIPWAY_WORKER_QUEUES", "apply=1"),
        ("SLIPWAY_SOURCE_GIT_ALLOW_FILE", "true"),
        ("SLIPWAY_TELEMETRY_TRACE_SAMPLE_RATIO", "0.25"),
        ("SLIPWAY_TELEMETRY_LOG_FORMAT", "text"),
        ("SLIPWAY_DATA_DIR", "/var/lib/slipway"),
        ("SLIPWAY_TERRAFORM_BINARY", "/opt/tofu"),
        ("SLIPWAY_JOBS_PLAN_MAX_ATTEMPTS", "5"),
    ])
    .load()
    .unwrap()
    .config;
    assert_eq!(config.api.allowed_hosts, ["slipway.example.org", "slipway:8000"]);
    assert_eq!(config.worker.queues, BTreeMap::from([(Queue::Apply, 1)]));
    assert!(config.source.git_allow_file);
    assert_eq!(config.telemetry.trace_sample_ratio.to_string(), "0.25");
    assert_eq!(config.terraform.binary.as_deref(), Some(Path::new("/opt/tofu")));
    assert_eq!(config.jobs.plan.max_attempts, 5);
    assert_eq!(config.artifacts.dir, Path::new("/var/lib/slipway/artifacts"));
    assert_eq!(
        config.database_location(),
        DatabaseLocation::Sqlite("/var/lib/slipway/slipway.db".into())
    );
}

#[test]
fn every_form_of_value_can_be_in_the_file() {
    let config = load_file(
        r#"
data_dir = "d"
[api]
allowed_hosts = ["a", "b:1"]
max_body_bytes = 1_000_000
[worker.queues]
plan = 8
[jobs.apply]
hard_limit_s = 5000
[artifacts]
dir = "elsewhere"
[source]
directory_root = "."
git_allow_http = true
[telemetry]
trace_sample_ratio = 1
"#,
    )
    .unwrap()
    .config;
    assert_eq!(config.api.allowed_hosts, ["a", "b:1"]);
    assert_eq!(config.api.max_body_bytes, 1_000_000);
    assert_eq!(config.worker.queues, BTreeMap::from([(Queue::Plan, 8)]));
    assert_eq!(config.jobs.apply.soft_limit_s, 3600, "the rest of the section keeps its defaults");
    assert_eq!(config.jobs.apply.hard_limit_s, 5000);
    assert_eq!(config.artifacts.dir, Path::new("elsewhere"));
    assert_eq!(config.keys.file, Path::new("d/keyring"));
    assert_eq!(config.source.directory_root.as_deref(), Some(Path::new(".")));
}

#[test]
fn an_empty_variable_is_not_set() {
    let loaded = loader(&[
        ("SLIPWAY_API_LISTEN", ""),
        ("SLIPWAY_DATABASE_URL", ""),
        ("SLIPWAY_DATABASE_URL_FILE", ""),
        ("SLIPWAY_CONFIG", ""),
    ])
    .load()
    .unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(!loaded.provenance.is_chosen("api.listen"));
}

#[test]
fn reserved_and_foreign_variables_are_left_alone() {
    let loaded = loader(&[
        ("SLIPWAY_URL", "http://127.0.0.1:8000"),
        ("SLIPWAY_TEST_PROVIDER_MIRROR", "/mirror"),
        ("SLIPWAY_BENCH_ROUNDS", "3"),
        ("PATH", "/usr/bin"),
        ("slipway_api_listen", "nonsense"),
    ])
    .load()
    .unwrap();
    assert_eq!(loaded.config, Config::default());
}

#[test]
fn unknown_variables_are_refused_with_a_suggestion() {
    for (name, meant) in [
        ("SLIPWAY_API_LISEN", "SLIPWAY_API_LISTEN"),
        ("SLIPWAY_LISTEN", "SLIPWAY_API_LISTEN"),
        ("SLIPWAY_DATABASE_URI", "SLIPWAY_DATABASE_URL"),
        ("SLIPWAY_DATABASE_URL_FIEL", "SLIPWAY_DATABASE_URL_FILE"),
        ("SLIPWAY_CONFG", "SLIPWAY_CONFIG"),
    ] {
        assert_eq!(
            env_message(name, "hunter2"),
            format!("env {name}: unknown variable; did you mean `{meant}`?")
        );
    }
    assert_eq!(
        env_message("SLIPWAY_WHATEVER_ELSE", "x"),
        "env SLIPWAY_WHATEVER_ELSE: unknown variable"
    );
    assert_eq!(
        env_message("SLIPWAY_API_LISTEN_FILE", "/x"),
        "env SLIPWAY_API_LISTEN_FILE: only secrets can be read from a file; set SLIPWAY_API_LISTEN"
    );
}

#[test]
fn unknown_keys_are_refused_with_their_line_and_a_suggestion() {
    let (_dir, path) =
        file("listen = \"x\"\n\n[api]\nlisen = \"x\"\n[databse]\nurl = \"x\"\n[api.deep]\nx = 1\n");
    let at = path.display();
    let mut found = messages(loader(&[]).with_file(Some(path.clone())).load());
    found.sort();
    assert_eq!(
        found,
        [
            format!("api.deep ({at}:7): unknown section"),
            format!("api.lisen ({at}:4): unknown key; did you mean `api.listen`?"),
            format!("databse ({at}:5): unknown section; did you mean `database`?"),
            format!("listen ({at}:1): unknown key; did you mean `api.listen`?"),
        ]
    );
}

#[test]
fn wrong_forms_in_the_file_are_refused_where_they_are() {
    for (text, expected) in [
        (
            "[api]\nlisten = 8000",
            "api.listen (F:2): it must be a string in quotes, not a whole number",
        ),
        ("api = 1", "api (F:1): it is a section; write its keys under [api]"),
        (
            "[api]\nallowed_hosts = \"a\"",
            "api.allowed_hosts (F:2): it must be a list of strings, e.g. [\"one\", \"two\"], not a string",
        ),
        (
            "[api]\nallowed_hosts = [1]",
            "api.allowed_hosts (F:2): it must be a list of strings; one item is a whole number",
        ),
        (
            "[worker]\nlease_s = \"30\"",
            "worker.lease_s (F:2): it must be a whole number, not a string",
        ),
        (
            "[worker]\nlease_s = 1.5",
            "worker.lease_s (F:2): it must be a whole number, not a number",
        ),
        ("[worker]\nlease_s = -1", "worker.lease_s (F:2): -1 is not between 3 and 3600"),
        (
            "[worker]\nlease_s = 99999999999999999999",
            "worker.lease_s (F:2): it must be between 3 and 3600",
        ),
        (
            "[worker]\nqueues = { plann = 1 }",
            "worker.queues (F:2): there is no queue `plann`, only `plan`, `apply`, `test`; did you mean `plan`?",
        ),
        (
            "[worker]\nqueues = { plan = \"many\" }",
            "worker.queues (F:2): the slots of `plan` must be a whole number, not a string",
        ),
        (
            "[source]\ngit_allow_file = \"yes\"",
            "source.git_allow_file (F:2): it must be true or false, not a string",
        ),
        (
            "[telemetry]\ntrace_sample_ratio = 2",
            "telemetry.trace_sample_ratio (F:2): 2 is not between 0 and 1",
        ),
        (
            "[telemetry]\nlog_format = \"jsno\"",
            "telemetry.log_format (F:2): `jsno` is not one of `json`, `text`; did you mean `json`?",
        ),
        ("data_dir = \"\"", "data_dir (F:1): it must not be empty"),
        (
            "[database]\nurl = 5",
            "database.url (F:2): it must be a string in quotes, not a whole number",
        ),
    ] {
        let (_dir, path) = file(text);
        let found = message(loader(&[]).with_file(Some(path.clone())).load());
        assert_eq!(found.replace(&path.display().to_string(), "F"), expected);
    }
}

#[test]
fn wrong_forms_in_variables_and_flags_are_refused() {
    for (name, value, expected) in [
        (
            "SLIPWAY_API_LISTEN",
            "localhost:80",
            "`localhost:80` is not an IP address with a port, such as 127.0.0.1:8000 or [::1]:8000",
        ),
        ("SLIPWAY_WORKER_LEASE_S", "30s", "`30s` is not a whole number"),
        ("SLIPWAY_WORKER_QUEUES", "plan", "`plan` is not `queue=slots`, e.g. `plan=4`"),
        (
            "SLIPWAY_WORKER_QUEUES",
            "plan=x",
            "the slots of `plan` must be a whole number from 1 to 256",
        ),
        ("SLIPWAY_WORKER_QUEUES", "plan=1,plan=2", "`plan` is there twice"),
        ("SLIPWAY_SOURCE_GIT_ALLOW_HTTP", "ja", "`ja` is not `true` or `false`"),
        ("SLIPWAY_TELEMETRY_TRACE_SAMPLE_RATIO", "NaN", "NaN is not between 0 and 1"),
    ] {
        let found = env_message(name, value);
        assert!(found.ends_with(&format!(" (env {name}): {expected}")), "{found}");
    }
    let found = message(loader(&[]).with_flag("api.lissen", Some("x")).load());
    assert_eq!(found, "api.lissen (flag): there is no such key");
}

#[test]
fn a_file_that_is_not_toml_is_refused_without_quoting_it() {
    let found = messages(load_file("[database]\nurl = \"postgres://u:hunter2@h/d\nx = 1\n"));
    assert!(found[0].contains("slipway.toml:2: it is not TOML: "), "{found:?}");
    assert!(!found.concat().contains("hunter2"), "{found:?}");
    let found = messages(load_file("[api]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n"));
    assert!(found[0].contains("slipway.toml:3: it is not TOML: duplicate key"), "{found:?}");
}

#[test]
fn a_named_file_must_exist_and_the_default_one_need_not() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("missing.toml");
    let shown = missing.display().to_string();
    for loader in
        [loader(&[]).with_file(Some(missing.clone())), loader(&[("SLIPWAY_CONFIG", &shown)])]
    {
        let found = message(loader.load());
        let expected = format!("{shown}: the configuration file cannot be read: ");
        assert!(found.starts_with(&expected), "{found}");
    }
    let mut optional = loader(&[]);
    optional.default_file = Some(missing);
    assert_eq!(optional.load().unwrap().config, Config::default());

    // The flag goes over the variable, the variable over the default file.
    let (_one, one) = file("[worker]\npoll_s = 1\n");
    let (_two, two) = file("[worker]\npoll_s = 2\n");
    let (_three, three) = file("[worker]\npoll_s = 3\n");
    let mut all = loader(&[("SLIPWAY_CONFIG", two.to_str().unwrap())]);
    all.default_file = Some(three.clone());
    assert_eq!(all.load().unwrap().config.worker.poll_s, 2);
    assert_eq!(all.with_file(Some(one)).load().unwrap().config.worker.poll_s, 1);
    let mut by_default = loader(&[]);
    by_default.default_file = Some(three);
    assert_eq!(by_default.load().unwrap().config.worker.poll_s, 3);
}

#[test]
fn a_file_that_is_too_large_or_a_directory_is_refused() {
    let (_dir, path) = file(&"#".repeat((1 << 20) + 1));
    let found = message(loader(&[]).with_file(Some(path.clone())).load());
    assert!(found.ends_with("it is larger than 1048576 bytes"), "{found}");
    let found = message(loader(&[]).with_file(path.parent().map(Path::to_owned)).load());
    assert!(found.contains("cannot be read"), "{found}");
}

#[test]
fn secrets_can_come_from_a_file_and_from_one_place_only() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("url");
    fs::write(&path, "postgres://u:hunter2@h/d\n").unwrap();
    let shown = path.to_str().unwrap();
    let loaded = loader(&[("SLIPWAY_DATABASE_URL_FILE", shown)]).load().unwrap();
    assert_eq!(loaded.config.database.url.reveal(), "postgres://u:hunter2@h/d");
    assert_eq!(loaded.provenance.of("database.url").to_string(), "env SLIPWAY_DATABASE_URL_FILE");

    let both = [("SLIPWAY_DATABASE_URL", "postgres://h/d"), ("SLIPWAY_DATABASE_URL_FILE", shown)];
    assert_eq!(
        message(loader(&both).load()),
        "database.url (env SLIPWAY_DATABASE_URL_FILE): it is set by SLIPWAY_DATABASE_URL too; set one of the two"
    );
    let found = env_message("SLIPWAY_DATABASE_URL_FILE", "/does/not/exist");
    assert!(
        found.starts_with(
            "database.url (env SLIPWAY_DATABASE_URL_FILE): the file /does/not/exist cannot be read: "
        ),
        "{found}"
    );
    fs::write(&path, " \n").unwrap();
    let found = env_message("SLIPWAY_DATABASE_URL_FILE", shown);
    assert!(found.ends_with("is empty"), "{found}");
}

#[test]
fn every_problem_is_told_at_once() {
    let (_dir, path) = file(
        "[api]\nlisten = \"0.0.0.0:80\"\nextra = 1\n[auth]\nmode = \"none\"\n[worker]\nlease_s = 20\n",
    );
    let error = loader(&[
        ("SLIPWAY_JOBS_PLAN_SOFT_LIMIT_S", "1200"),
        ("SLIPWAY_QUEUE_TRANSPORT", "redis"),
        ("SLIPWAY_OOPS", "1"),
    ])
    .with_file(Some(path))
    .with_flag("database.url", Some("mysql://root:hunter2@h"))
    .load()
    .unwrap_err();
    let keys: Vec<_> = error.problems.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "api.extra",
            "",
            "api.listen",
            "database.url",
            "queue.url",
            "worker.heartbeat_s",
            "jobs.plan.soft_limit_s",
        ]
    );
    let text = error.to_string();
    assert!(text.starts_with("the configuration is not valid, for 7 reasons:\n  - "), "{text}");
    assert!(text.contains("slipway.toml:2"), "a rule that is broken names the place: {text}");
    assert!(text.contains("queue.url") && text.contains("redis://… or rediss://"), "{text}");
    assert!(text.contains("3 × 10 s is more than lease_s = 20 s"));
    assert!(!text.contains("hunter2") && !format!("{error:?}").contains("hunter2"));
}

#[test]
fn rules_are_not_applied_to_values_that_could_not_be_read() {
    let env = [("SLIPWAY_WORKER_LEASE_S", "x"), ("SLIPWAY_WORKER_HEARTBEAT_S", "100")];
    let found = message(loader(&env).load());
    assert!(found.starts_with("worker.lease_s"), "{found}");
}

#[test]
fn only_loopback_is_listened_on_where_nobody_is_asked() {
    for good in
        ["127.0.0.1:8000", "127.9.9.9:1", "[::1]:8000", "[::ffff:127.0.0.1]:8000", "127.0.0.1:0"]
    {
        loader(&[("SLIPWAY_API_LISTEN", good)]).load().unwrap();
        let worker = loader(&[("SLIPWAY_WORKER_LISTEN", good)]).load().unwrap();
        assert_eq!(worker.config.worker.listen, Some(good.parse().unwrap()));
    }
    for bad in
        ["0.0.0.0:8000", "[::]:8000", "10.0.0.1:8000", "192.168.1.2:80", "[::ffff:10.0.0.1]:80"]
    {
        loader(&[("SLIPWAY_API_LISTEN", bad)]).load().unwrap();
        let open = [("SLIPWAY_API_LISTEN", bad), ("SLIPWAY_AUTH_MODE", "none")];
        let found = message(loader(&open).load());
        for part in ["api.listen", bad, "auth.mode", "required", "127.0.0.1:"] {
            assert!(found.contains(part), "{found}");
        }
        assert!(env_message("SLIPWAY_WORKER_LISTEN", bad).contains("worker.listen"));
    }
}

#[test]
fn rules_of_the_sections() {
    let good = format!("k1:{}=", "A".repeat(43));
    let twice = format!("{good},{good}");
    for (name, value, expected) in [
        ("SLIPWAY_API_TRUSTED_PROXIES", "10.0.0.0/8,::1", None),
        ("SLIPWAY_API_TRUSTED_PROXIES", "10.0.0.0/33", Some("is no network")),
        ("SLIPWAY_API_CORS_ORIGINS", "https://app.example.com,http://localhost:3000", None),
        ("SLIPWAY_API_CORS_ORIGINS", "*", Some("is no origin")),
        ("SLIPWAY_API_CORS_ORIGINS", "https://app.example.com/", Some("is no origin")),
        ("SLIPWAY_API_TLS_CERT", "cert.pem", Some("api.tls.cert is set and this is not")),
        ("SLIPWAY_API_TLS_KEY", "key.pem", Some("api.tls.key is set and this is not")),
        ("SLIPWAY_API_FORWARDED_HEADER", "x_real_ip", Some("x_forwarded_for")),
        ("SLIPWAY_LIMITS_READ", "1000001", Some("1000000")),
        ("SLIPWAY_DATABASE_URL", "hunter2", Some("must begin with postgres://")),
        ("SLIPWAY_DATABASE_URL", "sqlite://", Some("names no file")),
        ("SLIPWAY_DATABASE_URL", "sqlite://hunter2?mode=ro", Some("parameters")),
        ("SLIPWAY_DATABASE_URL", "postgres://", Some("names no server")),
        ("SLIPWAY_DATABASE_URL", "postgresql://u:hunter2@h/d", None),
        ("SLIPWAY_QUEUE_URL", "redis://:hunter2@h", Some("has no broker")),
        ("SLIPWAY_KEYS_RING", &good, None),
        ("SLIPWAY_KEYS_RING", "hunter2", Some("entry 1 is not `name:base64`")),
        ("SLIPWAY_KEYS_RING", ":hunter2=", Some("1 to 64 visible")),
        ("SLIPWAY_KEYS_RING", "k:hunter2!", Some("not base64")),
        ("SLIPWAY_KEYS_RING", "k:QUJD", Some("has 3 bytes, not 32")),
        ("SLIPWAY_KEYS_RING", &twice, Some("entry 2 has the name of another one")),
        ("SLIPWAY_KEYS_RING", ",", Some("there is no key")),
        ("SLIPWAY_WORKER_QUEUES", ",", Some("at least one queue")),
        ("SLIPWAY_WORKER_QUEUES", "plan=0", Some("1 to 256 slots")),
        ("SLIPWAY_WORKER_HEARTBEAT_S", "11", Some("three heartbeats")),
        ("SLIPWAY_JOBS_APPLY_HARD_LIMIT_S", "3600", Some("less than jobs.apply.hard_limit_s")),
        ("SLIPWAY_QUEUE_TRANSPORT", "rabbitmq", Some("write amqp://… or amqps://…")),
        ("SLIPWAY_QUEUE_TRANSPORT", "redis", Some("queue.url")),
        ("SLIPWAY_QUEUE_PREFIX", "a:b", Some("1 to 64 letters")),
        ("SLIPWAY_QUEUE_PREFIX", "team-a.slipway_2", None),
        ("SLIPWAY_API_ALLOWED_HOSTS", "http://a/", Some("not a host name")),
        ("SLIPWAY_API_MAX_ARCHIVE_BYTES", "100000000", Some("source.max_unpacked_bytes")),
        ("SLIPWAY_TERRAFORM_ENV_ALLOW", "AWS_PROFILE,TF_VAR_x", None),
        ("SLIPWAY_TERRAFORM_ENV_ALLOW", "A=hunter2", Some("\"A\" is not the name of a variable")),
        ("SLIPWAY_TERRAFORM_ENV_ALLOW", "SLIPWAY_DATABASE_URL", Some("may not see them")),
        ("SLIPWAY_TELEMETRY_OTLP_ENDPOINT", "collector:4317", Some("must be a URL")),
        ("SLIPWAY_TELEMETRY_OTLP_ENDPOINT", "https://u:hunter2@c", Some("OTLP_HEADERS")),
        ("SLIPWAY_TELEMETRY_OTLP_ENDPOINT", "https://c:4318/x", None),
    ] {
        let result = loader(&[(name, value)]).load();
        let Some(expected) = expected else {
            result.unwrap();
            continue;
        };
        let found = message(result);
        assert!(found.contains(expected), "{name}={value}: {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn a_broker_has_an_url_of_its_kind() {
    for (transport, url, expected) in [
        ("redis", "redis://:hunter2@h:6379/0", None),
        ("redis", "rediss://u:hunter2@h", None),
        ("redis", "redis+unix:///run/redis.sock", None),
        ("redis", "amqp://u:hunter2@h", Some("must begin with redis:// or rediss://")),
        ("redis", "hunter2", Some("must begin with")),
        ("redis", "rediss://", Some("names no broker")),
        ("rabbitmq", "amqp://u:hunter2@h/v", None),
        ("rabbitmq", "amqps://h", None),
        ("rabbitmq", "redis://:hunter2@h", Some("must begin with amqp:// or amqps://")),
    ] {
        let env = [("SLIPWAY_QUEUE_TRANSPORT", transport), ("SLIPWAY_QUEUE_URL", url)];
        let result = loader(&env).load();
        let Some(expected) = expected else {
            result.unwrap();
            continue;
        };
        let found = message(result);
        assert!(found.contains("queue.url") && found.contains(expected), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn urls_say_where_the_database_is() {
    let location = |url: &str| {
        loader(&[("SLIPWAY_DATABASE_URL", url)]).load().unwrap().config.database_location()
    };
    assert_eq!(location("sqlite:///var/x.db"), DatabaseLocation::Sqlite("/var/x.db".into()));
    assert_eq!(location("sqlite://x.db"), DatabaseLocation::Sqlite("x.db".into()));
    let DatabaseLocation::Postgres(url) = location("postgres://u:p@h/d") else { panic!() };
    assert_eq!(url.reveal(), "postgres://u:p@h/d");
}

#[test]
fn what_is_printed_is_toml_with_secrets_masked_and_places_named() {
    let (_dir, path) =
        file("[api]\nlisten = \"127.0.0.1:9000\"\n[templates]\ndir = \"my \\\"templates\\\"\"\n");
    let loaded = loader(&[
        ("SLIPWAY_DATABASE_URL", "postgres://u:hunter2@h/d"),
        ("SLIPWAY_WORKER_QUEUES", "plan=2,apply=1"),
        ("SLIPWAY_API_ALLOWED_HOSTS", "a,b"),
    ])
    .with_file(Some(path.clone()))
    .with_flag("data_dir", Some("/data"))
    .load()
    .unwrap();
    let text = loaded.render();
    for line in [
        "data_dir = \"/data\"  # flag".to_owned(),
        format!("listen = \"127.0.0.1:9000\"  # {}:2", path.display()),
        "url = \"***\"  # env SLIPWAY_DATABASE_URL".to_owned(),
        "url = \"\"  # default".to_owned(),
        "allowed_hosts = [\"a\", \"b\"]  # env SLIPWAY_API_ALLOWED_HOSTS".to_owned(),
        "queues = { apply = 1, plan = 2 }  # env SLIPWAY_WORKER_QUEUES".to_owned(),
        "lease_s = 30  # default".to_owned(),
        "trace_sample_ratio = 1.0  # default".to_owned(),
        "# binary is not set  # default".to_owned(),
        "dir = \"/data/artifacts\"  # default".to_owned(),
        "[jobs.apply]".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    let debug = format!("{loaded:?}");
    let json = serde_json::to_string(&loaded.config).unwrap();
    for shown in [&text, &debug, &json] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    // What was printed can be loaded again; only the secrets have to be given again.
    let (_dir, again) = file(&text.replace("***", "postgres://u:hunter2@h/d"));
    let again = loader(&[]).with_file(Some(again)).load().unwrap();
    assert_eq!(again.config, loaded.config);
}

#[test]
fn of_the_real_environment_only_our_names_are_read() {
    // Cargo sets variables of its own, so the real environment is not empty here.
    assert!(std::env::vars_os().next().is_some());
    let env = slipway_config::read_environment();
    assert!(env.iter().all(|(name, _)| name.starts_with("SLIPWAY_")));
}
