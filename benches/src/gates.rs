//! `gates`: what each gate adds to a plan, on 20 and on 500 resources of AWS.
//!
//! - `policy_N`: the shipped pack judges the plan's document, reading it included, in this process;
//!   the median of many. The peer is `checkov -f plan.json` as a command on the same document, in the
//!   same run.
//! - `policy_first_N`: the same, the first time after the pack was compiled.
//! - `cost_N`: the price book on the same document.
//! - `scan_20`: checkov on a source of 20 resources through our adapter; the peer is the bare command
//!   on the same directory.
//! - `rss_peak_mib`: the highest resident memory of this process, and of checkov.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use serde_json::{Value, json};
use slipway_client_scanners::{Choice, Options as ScanOptions, Scanners};
use slipway_cost::Book;
use slipway_domain::cost::CostSettings;
use slipway_domain::event::EventBody;
use slipway_domain::log::NewLogLine;
use slipway_domain::port::driver::{DriverError, Run, StateBlob, Stop};
use slipway_domain::port::scanner::{Scan as _, ScanInput};
use slipway_domain::redact::Redactor;
use slipway_domain::scan::{ScanSettings, ScanStatus, ScannerName, ScannerSettings};
use slipway_policy::{Context as Told, Document, Engine, Limits, Pack};

use tokio::process::Command;

use crate::figure::Figure;
use crate::machine;
use crate::sample::{Sample, ms};
use crate::settings::Settings;

/// What `./bench` calls it.
pub(crate) const NAME: &str = "gates";
/// How often the gates in the process are asked; the median counts, as that of the peer does.
const TIMES: u32 = 50;
/// How often checkov is asked, which takes seconds.
const PEER_TIMES: usize = 3;
/// A scan that takes longer is none.
const PATIENCE: Duration = Duration::from_mins(5);

/// Runs it.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let checkov = settings.checkov()?;
    let dir = tempfile::Builder::new().prefix("slipway-bench.").tempdir()?;
    let mut peer_rss = 0.0_f64;
    for resources in [20, 500] {
        let document = serde_json::to_vec(&plan(resources))?;
        let file = dir.path().join(format!("plan_{resources}.json"));
        std::fs::write(&file, &document)?;
        let mut peer = Sample::default();
        for _ in 0..PEER_TIMES {
            let mut command = bare(&checkov, dir.path());
            command.arg("-f").arg(&file).args(["--framework", "terraform_plan"]);
            let (took, rss) = timed(command).await?;
            peer.push(took);
            peer_rss = peer_rss.max(rss);
        }
        let peer_ms = peer.median_ms().context("nothing was measured")?;
        let engine = Engine::compile(&Pack::shipped(), Limits::default())?;
        let context = Told::default();
        let judged = Document { changes: &[], terraform: Some(&document), context: &context };
        let begin = Instant::now();
        let found = engine.evaluate(&judged);
        let first = ms(begin.elapsed());
        ensure!(!found.findings.is_empty(), "the plan is meant to have findings");
        let ours = median(|| drop(engine.evaluate(&judged)))?;
        let name = |gate: &str| format!("{gate}_{resources}");
        Figure::beside(NAME, name("policy"), "ms", peer_ms, ours).print()?;
        Figure::beside(NAME, name("policy_first"), "ms", peer_ms, first).print()?;
        let (book, told) = (Book::shipped()?, CostSettings::default());
        let today = slipway_domain::Clock::now(&slipway_domain::clock::SystemClock).date_naive();
        let report = book.estimate(&document, &told, today, slipway_cost::Limits::default())?;
        ensure!(!report.resources.is_empty(), "the plan is meant to cost something");
        let ours = median(|| {
            drop(book.estimate(&document, &told, today, slipway_cost::Limits::default()));
        })?;
        Figure::alone(NAME, name("cost"), "ms", ours).print()?;
    }
    scan(&checkov, dir.path()).await?;
    let own = machine::memory(std::process::id())?;
    Figure::beside(NAME, "rss_peak_mib".to_owned(), "MiB", peer_rss, own.peak).print()
}

fn median(mut once: impl FnMut()) -> anyhow::Result<f64> {
    let mut sample = Sample::default();
    for _ in 0..TIMES {
        let begin = Instant::now();
        once();
        sample.push(begin.elapsed());
    }
    sample.median_ms().context("nothing was measured")
}

/// The command as a pipeline would call it, without what it would ask the network.
fn bare(checkov: &Path, dir: &Path) -> Command {
    let mut command = Command::from(machine::command(checkov, dir));
    command
        .args(["--compact", "--skip-download", "-o", "json"])
        .env("BC_SKIP_MAPPING", "TRUE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// How long it took, and its memory at its highest, in MiB.
async fn timed(mut command: Command) -> anyhow::Result<(Duration, f64)> {
    let begin = Instant::now();
    let mut child = command.spawn()?;
    let pid = child.id().context("it has no process")?;
    let mut peak = 0.0_f64;
    let status = loop {
        if let Ok(memory) = machine::memory(pid) {
            peak = peak.max(memory.peak);
        }
        match tokio::time::timeout(Duration::from_millis(20), child.wait()).await {
            Ok(status) => break status?,
            Err(_) => ensure!(begin.elapsed() < PATIENCE, "checkov took too long"),
        }
    };
    // 1: it found something.
    ensure!(matches!(status.code(), Some(0 | 1)), "checkov ended with {status}");
    Ok((begin.elapsed(), peak))
}

async fn scan(checkov: &Path, dir: &Path) -> anyhow::Result<()> {
    let source = dir.join("source");
    std::fs::create_dir(&source)?;
    std::fs::write(source.join("main.tf"), configuration(20))?;
    let options = ScanOptions {
        scanners: Choice::at(checkov.to_path_buf()).into_iter().collect(),
        ..ScanOptions::default()
    };
    let scanners = Scanners::discover(options).await;
    let wanted = ScanSettings {
        scanners: vec![ScannerSettings::new(ScannerName::Checkov)],
        ..ScanSettings::default()
    };
    let (mut peer, mut ours) = (Sample::default(), Sample::default());
    for _ in 0..PEER_TIMES {
        let mut command = bare(checkov, dir);
        command.arg("-d").arg(&source).args(["--framework", "terraform"]);
        peer.push(timed(command).await?.0);
        let job = Job(tempfile::tempdir_in(dir)?);
        let input =
            ScanInput { source: source.clone(), root: None, plan: None, time_limit: PATIENCE };
        let begin = Instant::now();
        let outcomes = scanners.scan_all(&wanted, &job, &input).await;
        ours.push(begin.elapsed());
        let done = outcomes.first().context("there is no outcome")?;
        ensure!(done.status == ScanStatus::Done, "the scan did not end well: {done:?}");
    }
    let (peer, ours) = peer.median_ms().zip(ours.median_ms()).context("nothing was measured")?;
    Figure::beside(NAME, "scan_20".to_owned(), "ms", peer, ours).print()
}

/// A plan of so many resources, as the provider of AWS gives it.
fn plan(resources: usize) -> Value {
    let made: Vec<Value> = (0..resources).map(resource).collect();
    let configured: Vec<Value> = made
        .iter()
        .map(|r| {
            json!({"address": r["address"], "mode": "managed", "type": r["type"],
                "name": r["name"], "provider_config_key": "aws", "expressions": {}})
        })
        .collect();
    let planned: Vec<Value> = made
        .iter()
        .map(|r| {
            json!({"address": r["address"], "mode": "managed", "type": r["type"],
                "name": r["name"], "provider_name": r["provider_name"], "schema_version": 0,
                "values": r["change"]["after"], "sensitive_values": {}})
        })
        .collect();
    json!({"format_version": "1.2", "terraform_version": "1.11.4", "variables": {},
        "planned_values": {"root_module": {"resources": planned}}, "resource_changes": made,
        "configuration": {"provider_config": {"aws": {"name": "aws",
            "full_name": "registry.terraform.io/hashicorp/aws",
            "expressions": {"region": {"constant_value": "us-east-1"}}}},
            "root_module": {"resources": configured}}})
}

fn resource(n: usize) -> Value {
    let (kind, after, unknown) = match n % 4 {
        0 => (
            "aws_s3_bucket",
            json!({"bucket": format!("b-{n}"), "force_destroy": false, "tags": {"n": "1"}}),
            json!({"id": true, "arn": true}),
        ),
        1 => (
            "aws_security_group",
            json!({"name": format!("sg-{n}"), "description": "d", "ingress": [{
                "cidr_blocks": ["0.0.0.0/0"], "description": "d", "from_port": 22,
                "ipv6_cidr_blocks": [], "prefix_list_ids": [], "protocol": "tcp",
                "security_groups": [], "self": false, "to_port": 22}]}),
            json!({"id": true, "arn": true, "egress": true}),
        ),
        2 => (
            "aws_instance",
            json!({"ami": "ami-1", "instance_type": "m5.large", "tenancy": "default",
                "root_block_device": [{"volume_size": 20, "volume_type": "gp3"}]}),
            json!({"id": true, "metadata_options": true}),
        ),
        _ => (
            "aws_db_instance",
            json!({"identifier": format!("db-{n}"), "engine": "postgres",
                "instance_class": "db.t3.micro", "allocated_storage": 20,
                "publicly_accessible": true, "storage_encrypted": false}),
            json!({"id": true}),
        ),
    };
    json!({"address": format!("{kind}.r{n}"), "mode": "managed", "type": kind,
        "name": format!("r{n}"), "provider_name": "registry.terraform.io/hashicorp/aws",
        "change": {"actions": ["create"], "before": null, "after": after,
            "after_unknown": unknown, "before_sensitive": false, "after_sensitive": {}}})
}

/// The same as a configuration.
fn configuration(resources: usize) -> String {
    let mut text = String::new();
    for n in 0..resources {
        let (kind, body) = match n % 4 {
            0 => ("aws_s3_bucket", format!("  bucket = \"b-{n}\"\n")),
            1 => (
                "aws_security_group",
                "  ingress {\n    from_port   = 22\n    to_port     = 22\n    protocol    = \"tcp\"\n    \
                 cidr_blocks = [\"0.0.0.0/0\"]\n  }\n"
                    .to_owned(),
            ),
            2 => ("aws_instance", "  ami           = \"ami-1\"\n  instance_type = \"m5.large\"\n".to_owned()),
            _ => ("aws_db_instance", "  engine         = \"postgres\"\n  instance_class = \"db.t3.micro\"\n".to_owned()),
        };
        let _ = writeln!(text, "resource \"{kind}\" \"r{n}\" {{\n{body}}}\n");
    }
    text
}

/// A job that does nothing but scan.
struct Job(tempfile::TempDir);

#[async_trait]
impl Run for Job {
    fn workspace(&self) -> &Path {
        self.0.path()
    }

    fn redactor(&self) -> Redactor {
        Redactor::default()
    }

    fn hide(&self, _: Vec<String>) {}

    fn log(&self, _: NewLogLine) {}

    fn event(&self, _: EventBody) {}

    async fn save_state(&self, _: StateBlob) -> Result<(), DriverError> {
        Err(DriverError::Fenced)
    }

    fn stop(&self) -> Option<Stop> {
        None
    }

    async fn stopped(&self, _: Stop) -> Stop {
        std::future::pending().await
    }
}
