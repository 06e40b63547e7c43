//! trivy, on the source. **Not seen**: written from its documentation (0.58 and later) and from
//! reports that others show, never run here.
//!
//! What a comment asks to skip it passes over in silence, so those comments are made unreadable to
//! it in its copy of the source, and [`crate::inline`] says afterwards whom they were meant for.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::Deserialize;
use slipway_domain::port::driver::Run;
use slipway_domain::port::scanner::{ScanInput, Scanner};
use slipway_domain::scan::{ScanOutcome, ScannerName};

use crate::inline::Directives;
use crate::report::{Raw, Seen, or, severity};
use crate::source::{Laid, is_of_opentofu};
use crate::tool::{Question, Tool};

/// trivy.
#[derive(Debug, Clone)]
pub struct Trivy {
    tool: Tool,
}

impl Trivy {
    pub(crate) fn new(tool: Tool) -> Self {
        Self { tool }
    }
}

#[async_trait]
impl Scanner for Trivy {
    fn name(&self) -> ScannerName {
        ScannerName::Trivy
    }

    fn version(&self) -> Option<&str> {
        self.tool.version.as_deref()
    }

    async fn scan(&self, run: &dyn Run, input: &ScanInput) -> ScanOutcome {
        let question = |laid: &Laid| {
            let mut args: Vec<OsString> = vec!["config".into()];
            let rest = [
                "--format",
                "json",
                "--quiet",
                "--exit-code",
                "0",
                "--misconfig-scanners",
                "terraform",
                "--skip-check-update",
            ];
            args.extend(rest.map(OsString::from));
            args.extend(["--cache-dir".into(), laid.home.join("cache").into()]);
            args.push(laid.root.clone().into());
            Ok(Question {
                args,
                env: vec![("TRIVY_SKIP_VERSION_CHECK", "true".into())],
                good: &[0],
            })
        };
        let directives = Arc::new(Mutex::new(Directives::default()));
        let written = directives.clone();
        let edit = move |path: &str, content: &[u8]| {
            written.lock().unwrap_or_else(PoisonError::into_inner).take_out(path, content)
        };
        self.tool
            .scan(run, input, edit, question, move |laid, text| {
                let mut seen = read(text)?;
                let directives = directives.lock().unwrap_or_else(PoisonError::into_inner);
                for (raw, end) in &mut seen {
                    let file = raw.file.as_deref().and_then(|file| laid.path_of(file));
                    if let (Some(file), Some(line)) = (file, raw.line) {
                        raw.suppressed = directives.meant_for(&file, line, *end, &raw.rule);
                    }
                }
                let tofu = laid.files.iter().find(|file| is_of_opentofu(file));
                Ok(Seen {
                    raw: seen.into_iter().map(|(raw, _)| raw).collect(),
                    incomplete: tofu
                        .map(|file| format!("it does not read files of OpenTofu, as {file}")),
                })
            })
            .await
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    schema_version: u32,
    #[serde(default)]
    results: Option<Vec<Target>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Target {
    #[serde(default)]
    target: String,
    #[serde(default)]
    misconfigurations: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default, rename = "AVDID")]
    avd_id: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    resolution: String,
    #[serde(default)]
    severity: String,
    #[serde(default, rename = "PrimaryURL")]
    primary_url: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    cause_metadata: Cause,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Cause {
    resource: String,
    start_line: u32,
    end_line: u32,
}

/// Each with the last line of its place.
fn read(text: &[u8]) -> Result<Vec<(Raw, u32)>, String> {
    let report: Report = serde_json::from_slice(text)
        .map_err(|_| "its report is not the JSON that is known of trivy".to_owned())?;
    if report.schema_version != 2 {
        return Err(format!("its report is of version {}, not 2", report.schema_version));
    }
    let mut seen = Vec::new();
    for target in report.results.unwrap_or_default() {
        for entry in target.misconfigurations.unwrap_or_default() {
            if entry.status != "PASS" {
                let end = entry.cause_metadata.end_line.max(entry.cause_metadata.start_line);
                seen.push((raw(entry, &target.target), end));
            }
        }
    }
    Ok(seen)
}

fn raw(entry: Entry, target: &str) -> Raw {
    let remedy = match (entry.resolution.trim(), entry.primary_url.trim()) {
        ("", link) => link.to_owned(),
        (resolution, "") => resolution.to_owned(),
        (resolution, link) => format!("{} ({link})", resolution.trim_end_matches('.')),
    };
    let alias = (!entry.avd_id.is_empty() && entry.avd_id != entry.id).then_some(entry.avd_id);
    Raw {
        aliases: alias.into_iter().collect(),
        message: or(&entry.message, &entry.title).to_owned(),
        title: or(&entry.title, &entry.id).to_owned(),
        remedy,
        severity: severity(&entry.severity),
        address: entry.cause_metadata.resource,
        file: Some(target.to_owned()).filter(|file| !file.is_empty() && file != "."),
        line: Some(entry.cause_metadata.start_line),
        suppressed: None,
        rule: entry.id,
    }
}

#[cfg(test)]
mod tests {
    use slipway_domain::finding::Severity;

    use super::*;

    /// In the documented shape; no trivy has written it.
    const REPORT: &str = r#"{
        "SchemaVersion": 2, "ArtifactName": "/tmp/x", "ArtifactType": "filesystem",
        "Results": [
            {"Target": ".", "Class": "config", "Type": "terraform", "MisconfSummary": {"Successes": 0, "Failures": 1}},
            {"Target": "main.tf", "Class": "config", "Type": "terraform", "Misconfigurations": [
                {"Type": "Terraform Security Check", "ID": "AWS-0107", "AVDID": "AVD-AWS-0107",
                 "Title": "Open ingress", "Description": "d", "Message": "Security group rule allows ingress from public internet.",
                 "Resolution": "Set a more restrictive CIDR range.", "Severity": "CRITICAL",
                 "PrimaryURL": "https://avd.aquasec.com/misconfig/aws-0107", "Status": "FAIL",
                 "CauseMetadata": {"Resource": "aws_security_group.admin", "Provider": "AWS", "Service": "ec2",
                    "StartLine": 29, "EndLine": 29, "Code": {"Lines": [{"Number": 29, "Content": "secret"}]}}},
                {"ID": "AVD-AWS-0001", "Status": "PASS", "CauseMetadata": {}}
            ]}
        ]}"#;

    #[test]
    fn a_report_is_read() {
        let seen = read(REPORT.as_bytes()).unwrap();
        assert_eq!(seen.len(), 1);
        let (raw, end) = &seen[0];
        assert_eq!(
            (raw.rule.as_str(), raw.aliases.as_slice()),
            ("AWS-0107", &["AVD-AWS-0107".to_owned()][..])
        );
        assert_eq!(raw.address, "aws_security_group.admin");
        assert_eq!((raw.file.as_deref(), raw.line, *end), (Some("main.tf"), Some(29), 29));
        assert_eq!(raw.severity, Severity::High);
    }

    #[test]
    fn no_report_is_no_pass() {
        assert!(read(br#"{"SchemaVersion":2}"#).unwrap().is_empty());
        for bad in ["", "{}", "[]", r#"{"SchemaVersion":3}"#, "oops"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
