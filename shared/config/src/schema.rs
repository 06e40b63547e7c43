//! The JSON schema of the configuration, and the list of keys that is read off it. The structs
//! and their docstrings are the only place where a key is written down.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::Config;

/// A key, described.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its path, e.g. `api.listen`.
    pub path: String,
    /// The variable that sets it, e.g. `SLIPWAY_API_LISTEN`.
    pub env: String,
    /// What it is, with its unit.
    pub description: String,
    /// Whether its value is hidden. Such a key can also be read from a file that the variable
    /// with `_FILE` at its end names.
    pub secret: bool,
    /// Its default; null when it has none.
    pub default: Value,
    pub(crate) kind: Kind,
}

/// What a value looks like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A text that may not be empty; an empty one that is optional counts as not set.
    Text {
        optional: bool,
    },
    Secret,
    Address,
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    Number {
        min: f64,
        max: f64,
    },
    List,
    Choice(Vec<String>),
    /// Queue names and slots.
    Slots,
}

impl Key {
    /// The variable that names a file with the value; secrets only.
    pub fn env_file(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.env))
    }
}

/// The JSON schema (draft 2020-12) of the TOML file.
pub fn json_schema() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
    finish(&mut schema, &defaults());
    schema
}

/// Every key, in alphabetical order.
pub fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    collect(&json_schema(), "", &mut keys);
    keys.sort_by(|a, b| a.path.cmp(&b.path));
    keys
}

/// The defaults as a tree. A configuration always has this form; secrets are empty in it.
pub(crate) fn defaults() -> Value {
    serde_json::to_value(Config::default()).unwrap_or_default()
}

/// A section has properties; everything else is a value.
fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// Nothing is required, and each key tells its own default: two sections of one type differ.
fn finish(schema: &mut Value, default: &Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    schema.remove("required");
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties {
            finish(property, &default[name.as_str()]);
        }
        schema.remove("default");
    } else if default.is_null() {
        schema.remove("default");
    } else {
        schema.insert("default".to_owned(), default.clone());
    }
}

fn collect(schema: &Value, path: &str, keys: &mut Vec<Key>) {
    if let Some(properties) = properties(schema) {
        for (name, property) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            collect(property, &path, keys);
        }
        return;
    }
    let kind = kind_of(schema);
    keys.push(Key {
        path: path.to_owned(),
        env: format!("SLIPWAY_{}", path.replace('.', "_").to_uppercase()),
        description: text(schema, "description").replace('\n', " "),
        secret: kind == Kind::Secret,
        default: schema.get("default").cloned().unwrap_or_default(),
        kind,
    });
}

fn kind_of(schema: &Value) -> Kind {
    let choices = choices(schema);
    if !choices.is_empty() {
        return Kind::Choice(choices);
    }
    match text(schema, "x-kind") {
        "secret" => return Kind::Secret,
        "address" => return Kind::Address,
        "slots" => return Kind::Slots,
        _ => {}
    }
    // An optional value may also be null.
    let (of, optional) = match schema.get("type") {
        Some(Value::Array(types)) => (types.iter().find(|t| *t != "null"), true),
        other => (other, false),
    };
    let bound = |name: &str| schema.get(name);
    match of.and_then(Value::as_str) {
        Some("boolean") => Kind::Bool,
        Some("integer") => Kind::Integer {
            min: bound("minimum").and_then(Value::as_i64).unwrap_or(i64::MIN),
            max: bound("maximum").and_then(Value::as_i64).unwrap_or(i64::MAX),
        },
        Some("number") => Kind::Number {
            min: bound("minimum").and_then(Value::as_f64).unwrap_or(f64::MIN),
            max: bound("maximum").and_then(Value::as_f64).unwrap_or(f64::MAX),
        },
        Some("array") => Kind::List,
        _ => Kind::Text { optional },
    }
}

/// An enum's words: `enum`, or `oneOf` with a description each.
fn choices(schema: &Value) -> Vec<String> {
    let plain = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let described = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let words = plain.chain(described.filter_map(|one| one.get("const")));
    words.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

fn text<'s>(schema: &'s Value, name: &str) -> &'s str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn key(path: &str) -> Key {
        keys().into_iter().find(|key| key.path == path).unwrap()
    }

    #[test]
    fn keys_have_the_names_that_are_promised() {
        let paths: Vec<_> = keys().into_iter().map(|key| key.path).collect();
        let expected = "api.allowed_hosts api.cors_origins api.forwarded_header api.listen \
            api.max_archive_bytes api.max_body_bytes api.max_state_bytes \
            api.request_timeout_s api.stream_max_s api.tls.cert api.tls.key \
            api.trusted_proxies artifacts.dir artifacts.inline_max_bytes \
            audit.checkpoint_interval_s audit.retention_days \
            auth.access_token_s auth.email_domains auth.github.api_url auth.github.client_id \
            auth.github.client_secret auth.github.url auth.google.client_id \
            auth.google.client_secret auth.mode auth.oidc.client_id auth.oidc.client_secret \
            auth.oidc.issuer auth.oidc.title auth.provider_accounts auth.public_url \
            auth.registration auth.session_idle_h auth.session_max_h auth.signing_key_days \
            auth.signing_key_path auth.workload_issuers cost.infracost data_dir \
            database.connect_timeout_s database.max_connections database.url drift.enabled drift.interval_s drift.jitter_percent drift.per_round \
            gates.settings_file jobs.adaptive_limits jobs.apply.hard_limit_s \
            jobs.apply.max_attempts jobs.apply.soft_limit_s jobs.plan.hard_limit_s \
            jobs.plan.max_attempts jobs.plan.soft_limit_s jobs.test.hard_limit_s \
            jobs.test.max_attempts jobs.test.soft_limit_s keys.file keys.provider keys.ring \
            keys.vault.address keys.vault.ca_file keys.vault.cache_keys keys.vault.cache_s \
            keys.vault.key keys.vault.mount keys.vault.namespace keys.vault.timeout_s \
            keys.vault.token keys.vault.token_path limits.login limits.loopback limits.mcp \
            limits.per_address limits.read limits.state limits.upload limits.webhook \
            limits.write outbound.allow queue.prefix queue.relay_interval_ms queue.transport \
            queue.url retention.events_days retention.idempotency_hours retention.logs_days \
            scan.conftest_policies scan.env_allow scan.parallel scan.time_limit_s scan.tools \
            source.directory_root source.git_allow_file source.git_allow_http \
            source.git_timeout_s source.max_entries source.max_unpacked_bytes \
            telemetry.log_format telemetry.log_level telemetry.otlp_endpoint \
            telemetry.service_name telemetry.trace_sample_ratio templates.dir \
            terraform.allowed_providers terraform.binary terraform.cache_dir \
            terraform.cli_config_file terraform.env_allow terraform.gc_percent terraform.parallelism \
            terraform.provider_mirror terraform.tools worker.drain_grace_s \
            worker.heartbeat_s worker.lease_s worker.listen worker.poll_s worker.queues \
            worker.recovery_grace_s worker.workspace";
        assert_eq!(paths, expected.split_whitespace().collect::<Vec<_>>());
        assert_eq!(key("api.listen").env, "SLIPWAY_API_LISTEN");
        assert_eq!(key("database.url").env_file().unwrap(), "SLIPWAY_DATABASE_URL_FILE");
        assert_eq!(key("api.listen").env_file(), None);
    }

    #[test]
    fn no_two_variables_have_one_name() {
        let keys = keys();
        let names: Vec<_> =
            keys.iter().flat_map(|k| [Some(k.env.clone()), k.env_file()]).flatten().collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }

    #[test]
    fn every_key_is_described_and_every_number_is_bounded() {
        for key in keys() {
            assert!(key.description.len() > 5, "{} has no description", key.path);
            match key.kind {
                Kind::Integer { min, max } => {
                    assert!(min >= 0 && max < i64::MAX, "{} is not bounded", key.path);
                }
                Kind::Number { min, max } => {
                    assert!(min > f64::MIN && max < f64::MAX, "{} is not bounded", key.path);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn kinds_and_defaults_are_read_off_the_structs() {
        assert_eq!(
            key("queue.transport").kind,
            Kind::Choice(vec!["embedded".into(), "redis".into(), "rabbitmq".into()])
        );
        assert_eq!(key("telemetry.trace_sample_ratio").kind, Kind::Number { min: 0.0, max: 1.0 });
        assert_eq!(key("source.directory_root").kind, Kind::Text { optional: true });
        assert_eq!(key("data_dir").kind, Kind::Text { optional: false });
        assert_eq!(key("source.git_allow_http").kind, Kind::Bool);
        assert_eq!(key("worker.queues").kind, Kind::Slots);
        assert_eq!(key("terraform.env_allow").kind, Kind::List);
        assert_eq!(key("jobs.plan.max_attempts").default, 3);
        assert_eq!(key("jobs.apply.max_attempts").default, 1);
        assert_eq!(key("database.url").default, "");
        assert!(key("terraform.binary").default.is_null());
        let secrets: Vec<_> = keys().into_iter().filter(|k| k.secret).map(|k| k.path).collect();
        let hidden = "auth.github.client_secret auth.google.client_secret \
            auth.oidc.client_secret database.url keys.ring keys.vault.token queue.url";
        assert_eq!(secrets, hidden.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn the_schema_refuses_unknown_keys_and_requires_none() {
        let schema = json_schema();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["api"]["additionalProperties"], false);
        // As a key: it is also what `auth.mode` may be.
        assert!(!schema.to_string().contains("\"required\":"));
        assert_eq!(
            schema["properties"]["jobs"]["properties"]["apply"]["properties"]["max_attempts"]["default"],
            1
        );
    }
}
