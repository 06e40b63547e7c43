//! Each template that is shipped passes the shipped pack.
//!
//! The providers of the clouds are not here, so no real plan is. Plans are made of the templates'
//! own text instead: expressions are evaluated with the values below, whatever refers to another
//! resource is unknown until apply, and nested blocks become lists, as the schemas of
//! hashicorp/aws 5 and 6, hashicorp/google 5 and 6, hashicorp/azurerm 4 and
//! NaverCloudPlatform/ncloud 3 and 4 have them. What a provider would add by itself (computed
//! attributes and its own defaults) is left out.

use std::path::PathBuf;

use hcl::eval::{Context as Scope, Evaluate as _, FuncArgs, FuncDef, ParamType};
use hcl::structure::{Block, Body};
use hcl::{Expression, Structure};
use serde_json::{Map, Value, json};
use slipway_policy::{Context, Document, Engine, Evaluation, State, Verdict};

use crate::cases::shipped;

/// Template, values, and the rules that warn: each is a choice that is explained here.
const TEMPLATES: &[(&str, &str, &[&str])] = &[
    ("hello", r#"{"name": "ada", "copies": 2}"#, &[]),
    ("random-pets", "{}", &[]),
    ("credentials", r#"{"services": ["db", "queue"]}"#, &[]),
    (
        "aws-s3-bucket",
        r#"{"bucket": "my-logs-1", "region": "ap-northeast-2", "log_bucket": "access-logs"}"#,
        // Without a key of one's own it is encrypted with that of S3.
        &["aws_s3_key"],
    ),
    (
        "aws-s3-bucket",
        r#"{"bucket": "my-logs-1", "region": "cn-north-1",
            "kms_key_arn": "arn:aws-cn:kms:cn-north-1:123456789012:key/a"}"#,
        &[],
    ),
    ("aws-vpc", r#"{"name": "main", "region": "ap-northeast-2"}"#, &[]),
    ("aws-vpc", r#"{"name": "main", "region": "ap-northeast-2", "public": true}"#, &[]),
    (
        "aws-rds-postgres",
        r#"{"name": "orders", "region": "ap-northeast-2", "vpc_id": "vpc-0a1b2c3d",
            "subnet_ids": ["subnet-0a1b2c3d", "subnet-0a1b2c3e"], "allowed_cidrs": ["10.30.0.0/16"]}"#,
        &[],
    ),
    (
        "gcp-storage-bucket",
        r#"{"project": "my-project", "bucket": "my-logs-1", "location": "ASIA-NORTHEAST3"}"#,
        &[],
    ),
    (
        "gcp-sql-postgres",
        r#"{"project": "my-project", "region": "asia-northeast3", "name": "orders",
            "network": "projects/my-project/global/networks/main"}"#,
        &[],
    ),
    (
        "azure-storage-account",
        r#"{"subscription_id": "00000000-0000-0000-0000-000000000001", "resource_group": "main",
            "name": "mylogs1", "containers": ["logs"], "allowed_ips": ["203.0.113.7"]}"#,
        &[],
    ),
    (
        "ncp-server",
        r#"{"name": "bastion", "login_key_name": "ops", "ssh_from": ["203.0.113.7/32"],
            "public": true}"#,
        // The provider takes the encryption of the first disk for RHV images only; these are KVM.
        // And it fetches its updates from anywhere.
        &["ncp_storage_unencrypted", "ncp_open_egress"],
    ),
    (
        "ncp-nks",
        r#"{"name": "main", "login_key_name": "ops", "vpc_no": "1", "subnet_nos": ["2"],
            "lb_subnet_no": "3", "k8s_version": "1.30.8-nks.1"}"#,
        &[],
    ),
];

fn directory(template: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/templates")).join(template)
}

/// The configuration of a template.
fn source(template: &str) -> String {
    let mut files: Vec<_> = std::fs::read_dir(directory(template))
        .expect("the template")
        .map(|item| item.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tf"))
        .collect();
    files.sort();
    let text = files.iter().map(|path| std::fs::read_to_string(path).expect("text") + "\n");
    text.collect()
}

fn judge(engine: &Engine, source: &str, inputs: &str) -> Evaluation {
    let inputs = serde_json::from_str(inputs).expect("an object");
    let plan = serde_json::to_vec(&Plan::of(source, inputs).document()).expect("JSON");
    let context = Context {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        ..Context::default()
    };
    engine.evaluate(&Document { changes: &[], terraform: Some(&plan), context: &context })
}

#[test]
fn every_shipped_template_passes() {
    let engine = shipped();
    let mut wrong = Vec::new();
    for (template, inputs, warns) in TEMPLATES {
        let evaluation = judge(&engine, &source(template), inputs);
        for finding in &evaluation.findings {
            let allowed = warns.contains(&finding.rule.as_str())
                && finding.verdict == Verdict::Warn
                && finding.state == State::Fail;
            if !allowed {
                wrong.push(format!("{template}: {finding:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_shipped_template_is_judged() {
    let judged: std::collections::BTreeSet<&str> =
        TEMPLATES.iter().map(|(name, ..)| *name).collect();
    let shipped = std::fs::read_dir(directory("")).expect("the templates");
    for item in shipped {
        let name = item.expect("a directory").file_name();
        assert!(judged.contains(name.to_str().expect("a name")), "{name:?} has no line here");
    }
    for (template, inputs, _) in TEMPLATES {
        let plan = Plan::of(&source(template), serde_json::from_str(inputs).expect("an object"));
        assert!(!plan.changes.is_empty(), "{template}: a plan of nothing passes everything");
    }
}

/// The plans are close enough to real ones that what is made worse is found.
#[test]
fn a_template_that_is_made_worse_does_not_pass() {
    let engine = shipped();
    for (template, from, to, rule) in [
        (
            "aws-s3-bucket",
            "block_public_acls       = true",
            "block_public_acls = false",
            "aws_s3_block_public_acls",
        ),
        ("aws-s3-bucket", "Effect    = \"Deny\"", "Effect = \"Allow\"", "aws_s3_public_policy"),
        ("aws-vpc", "Resource = \"arn", "Resource = \"*\", X = \"arn", "aws_iam_resource_any"),
        (
            "aws-rds-postgres",
            "publicly_accessible                 = false",
            "publicly_accessible = true",
            "aws_rds_public",
        ),
        ("aws-rds-postgres", "storage_encrypted     = true", "", "aws_rds_unencrypted"),
        (
            "aws-rds-postgres",
            "cidr_ipv4         = each.value",
            "cidr_ipv4 = \"0.0.0.0/0\"",
            "aws_open_database",
        ),
        ("gcp-storage-bucket", "uniform_bucket_level_access = true", "", "gcp_bucket_uniform"),
        ("gcp-sql-postgres", "ssl_mode        = \"ENCRYPTED_ONLY\"", "", "gcp_sql_ssl"),
        (
            "azure-storage-account",
            "container_access_type = \"private\"",
            "container_access_type = \"blob\"",
            "azure_container_public",
        ),
        (
            "azure-storage-account",
            "https_traffic_only_enabled        = true",
            "https_traffic_only_enabled = false",
            "azure_storage_http",
        ),
        ("ncp-server", "ip_block    = inbound.value", "ip_block = \"0.0.0.0/0\"", "ncp_open_ssh"),
        ("ncp-nks", "public_network = false", "public_network = true", "ncp_nks_public"),
    ] {
        let text = source(template);
        assert!(text.contains(from), "{template}: {from}");
        let (_, inputs, _) = TEMPLATES.iter().rfind(|(name, ..)| *name == template).expect("it");
        let evaluation = judge(&engine, &text.replace(from, to), inputs);
        let rules: Vec<_> = evaluation.findings.iter().map(|f| f.rule.as_str()).collect();
        assert!(rules.contains(&rule), "{template} without {from}: {rules:?}");
    }
}

/// A plan made of a configuration's text.
struct Plan {
    changes: Vec<Value>,
    resources: Vec<Value>,
    providers: Map<String, Value>,
}

/// What is no attribute of a resource.
const META: [&str; 6] = ["count", "for_each", "depends_on", "provider", "lifecycle", "provisioner"];

impl Plan {
    fn of(source: &str, inputs: Map<String, Value>) -> Self {
        let body = hcl::parse(source).expect("HCL");
        let mut scope = scope(&body, inputs);
        let names: Vec<String> = body
            .blocks()
            .filter(|block| matches!(block.identifier(), "resource" | "data"))
            .map(address)
            .collect();
        locals(&body, &mut scope);
        let mut plan = Self { changes: Vec::new(), resources: Vec::new(), providers: Map::new() };
        for block in body.blocks() {
            match block.identifier() {
                "resource" => plan.add(block, &scope, &names),
                "provider" => {
                    let name = block.labels()[0].as_str();
                    let mut expressions = Map::new();
                    for attribute in block.body().attributes() {
                        let value = match attribute.expr() {
                            Expression::String(text) => json!({"constant_value": text}),
                            other => json!({"references": [other.to_string()]}),
                        };
                        expressions.insert(attribute.key().to_owned(), value);
                    }
                    let full = format!("registry.terraform.io/hashicorp/{name}");
                    let provider =
                        json!({"name": name, "full_name": full, "expressions": expressions});
                    plan.providers.insert(name.to_owned(), provider);
                }
                _ => {}
            }
        }
        plan
    }

    fn add(&mut self, block: &Block, scope: &Scope<'_>, names: &[String]) {
        let plain = address(block);
        let (kind, name) = plain.split_once('.').expect("type and name");
        let meta = |key: &str| block.body().attributes().find(|a| a.key() == key);
        let mut instances: Vec<(String, Scope<'_>)> = Vec::new();
        if let Some(count) = meta("count") {
            for index in 0..evaluated(count.expr(), scope).as_u64().expect("a count") {
                let mut scope = scope.clone();
                scope.declare_var("count", hcl::value!({ index = (index) }));
                instances.push((format!("[{index}]"), scope));
            }
        } else if let Some(each) = meta("for_each") {
            for (key, value) in elements(&evaluated(each.expr(), scope)) {
                let mut scope = scope.clone();
                scope.declare_var("each", hcl_of(&json!({"key": key, "value": value})));
                instances.push((format!("[{key}]"), scope));
            }
        } else {
            instances.push((String::new(), scope.clone()));
        }
        for (index, scope) in instances {
            let mut unknown = Map::new();
            let after = values(block.body(), &scope, names, &mut unknown);
            self.changes.push(json!({"address": format!("{plain}{index}"), "mode": "managed",
                "type": kind, "name": name,
                "change": {"actions": ["create"], "before": null, "after": after,
                    "after_unknown": unknown}}));
        }
        let mut expressions = Map::new();
        for attribute in block.body().attributes().filter(|a| !META.contains(&a.key())) {
            let text = attribute.expr().to_string();
            let mut references = Vec::new();
            for name in names.iter().filter(|name| refers(&text, name)) {
                references.extend([format!("{name}.id"), name.clone()]);
            }
            let value = match attribute.expr() {
                Expression::String(text) => json!({"constant_value": text}),
                Expression::Bool(flag) => json!({"constant_value": flag}),
                _ => json!({"references": references}),
            };
            expressions.insert(attribute.key().to_owned(), value);
        }
        self.resources.push(json!({"address": plain, "mode": "managed", "type": kind,
            "name": name, "expressions": expressions}));
    }

    fn document(&self) -> Value {
        json!({"format_version": "1.2", "terraform_version": "1.11.4",
            "resource_changes": self.changes,
            "configuration": {"provider_config": self.providers,
                "root_module": {"resources": self.resources}}})
    }
}

/// `type.name` of a resource, `data.type.name` of a data source.
fn address(block: &Block) -> String {
    let labels: Vec<_> = block.labels().iter().map(hcl::BlockLabel::as_str).collect();
    let data = if block.identifier() == "data" { "data." } else { "" };
    format!("{data}{}", labels.join("."))
}

fn refers(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
        let before = text[..at].chars().next_back().is_some_and(word);
        let after = text[at + name.len()..].chars().next();
        !before && after.is_some_and(|c| matches!(c, '.' | '['))
    })
}

/// The attributes and blocks of a body, evaluated. What refers to resources is unknown.
fn values(
    body: &Body,
    scope: &Scope<'_>,
    names: &[String],
    unknown: &mut Map<String, Value>,
) -> Map<String, Value> {
    let mut after: Map<String, Value> = Map::new();
    for structure in body {
        match structure {
            Structure::Attribute(attribute) if META.contains(&attribute.key()) => {}
            Structure::Attribute(attribute) => {
                let text = attribute.expr().to_string();
                if names.iter().any(|name| refers(&text, name)) {
                    unknown.insert(attribute.key().to_owned(), json!(true));
                } else {
                    let value = evaluated(attribute.expr(), scope);
                    after.insert(attribute.key().to_owned(), value);
                }
            }
            Structure::Block(block) if META.contains(&block.identifier()) => {}
            Structure::Block(block) => {
                let mut made = Vec::new();
                let name = if block.identifier() == "dynamic" {
                    let name = block.labels()[0].as_str();
                    let each = block.body().attributes().find(|a| a.key() == "for_each");
                    let all = evaluated(each.expect("for_each").expr(), scope);
                    let content = block.body().blocks().find(|b| b.identifier() == "content");
                    for (key, value) in elements(&all) {
                        let mut scope = scope.clone();
                        scope.declare_var(name, hcl_of(&json!({"key": key, "value": value})));
                        made.push((content.expect("content").body(), scope));
                    }
                    name
                } else {
                    made.push((block.body(), scope.clone()));
                    block.identifier()
                };
                for (body, scope) in made {
                    let mut inner = Map::new();
                    let value = values(body, &scope, names, &mut inner);
                    let list = after.entry(name).or_insert_with(|| json!([]));
                    list.as_array_mut().expect("a list").push(Value::Object(value));
                    let list = unknown.entry(name).or_insert_with(|| json!([]));
                    list.as_array_mut().expect("a list").push(Value::Object(inner));
                }
            }
        }
    }
    after
}

fn evaluated(expr: &Expression, scope: &Scope<'_>) -> Value {
    let value = expr.evaluate(scope).unwrap_or_else(|e| panic!("{e}: {expr}"));
    serde_json::to_value(value).expect("JSON")
}

fn hcl_of(value: &Value) -> hcl::Value {
    serde_json::from_value(value.clone()).expect("a value")
}

fn elements(all: &Value) -> Vec<(Value, Value)> {
    match all {
        Value::Array(items) => items.iter().map(|item| (item.clone(), item.clone())).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (json!(key), value.clone())).collect()
        }
        other => panic!("{other} has no elements"),
    }
}

/// `var` and the functions.
fn scope(body: &Body, mut inputs: Map<String, Value>) -> Scope<'static> {
    let mut scope = Scope::new();
    for (name, function) in functions() {
        scope.declare_func(name, FuncDef::builder().variadic_param(ParamType::Any).build(function));
    }
    let mut values = Map::new();
    for block in body.blocks().filter(|block| block.identifier() == "variable") {
        let name = block.labels()[0].as_str();
        let default = block.body().attributes().find(|a| a.key() == "default");
        let value = inputs.remove(name).unwrap_or_else(|| {
            let default = default.unwrap_or_else(|| panic!("{name} is required"));
            evaluated(default.expr(), &Scope::new())
        });
        // Attributes of object types that have defaults.
        let value = match (name, value) {
            ("settings", Value::Object(fields)) if fields.is_empty() => {
                json!({"salutation": "Hello", "punctuation": "!"})
            }
            (_, value) => value,
        };
        values.insert(name.to_owned(), value);
    }
    assert!(inputs.is_empty(), "no such variables: {inputs:?}");
    scope.declare_var("var", hcl_of(&Value::Object(values)));
    scope
}

/// `local`: some are made of others.
fn locals(body: &Body, scope: &mut Scope<'static>) {
    let blocks = body.blocks().filter(|block| block.identifier() == "locals");
    let mut left: Vec<_> = blocks.flat_map(|block| block.body().attributes()).collect();
    let mut done = Map::new();
    while !left.is_empty() {
        let before = left.len();
        scope.declare_var("local", hcl_of(&Value::Object(done.clone())));
        left.retain(|attribute| match attribute.expr().evaluate(scope) {
            Ok(value) => {
                let value = serde_json::to_value(value).expect("JSON");
                done.insert(attribute.key().to_owned(), value);
                false
            }
            Err(_) => true,
        });
        assert!(left.len() < before, "{:?}", left[0].expr().evaluate(scope));
    }
    scope.declare_var("local", hcl_of(&Value::Object(done)));
}

type Function = fn(FuncArgs) -> Result<hcl::Value, String>;

/// Those that the templates use.
fn functions() -> Vec<(&'static str, Function)> {
    fn args(args: FuncArgs) -> Vec<Value> {
        args.into_values().iter().map(|v| serde_json::to_value(v).expect("JSON")).collect()
    }
    fn text(value: &Value) -> &str {
        value.as_str().expect("a text")
    }
    fn number(value: &Value) -> usize {
        usize::try_from(value.as_u64().expect("a number")).expect("small")
    }
    vec![
        ("toset", |a| Ok(hcl_of(&args(a)[0]))),
        ("jsonencode", |a| Ok(args(a)[0].to_string().into())),
        ("startswith", |a| {
            let a = args(a);
            Ok(text(&a[0]).starts_with(text(&a[1])).into())
        }),
        ("substr", |a| {
            let a = args(a);
            let part: String =
                text(&a[0]).chars().skip(number(&a[1])).take(number(&a[2])).collect();
            Ok(part.into())
        }),
        ("split", |a| {
            let a = args(a);
            let parts: Vec<_> = text(&a[1]).split(text(&a[0])).collect();
            Ok(hcl_of(&json!(parts)))
        }),
        ("max", |a| Ok(hcl_of(&json!(args(a).iter().map(number).max())))),
        ("range", |a| Ok(hcl_of(&json!((0..number(&args(a)[0])).collect::<Vec<_>>())))),
        ("format", |a| {
            let a = args(a);
            assert_eq!(text(&a[0]), "%03d");
            Ok(format!("{:03}", number(&a[1])).into())
        }),
        ("cidrsubnet", |a| {
            let a = args(a);
            let (base, bits) = text(&a[0]).split_once('/').expect("a block");
            let base: std::net::Ipv4Addr = base.parse().map_err(|e| format!("{e}"))?;
            let bits = bits.parse::<usize>().map_err(|e| e.to_string())? + number(&a[1]);
            let number = u32::try_from(number(&a[2])).expect("small") << (32 - bits);
            let address = std::net::Ipv4Addr::from_bits(base.to_bits() | number);
            Ok(format!("{address}/{bits}").into())
        }),
    ]
}
