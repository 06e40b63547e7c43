//! tfsec, on the source. Seen with 1.26.0. It reads no plans.

use std::ffi::OsString;

use async_trait::async_trait;
use serde::Deserialize;
use slipway_domain::port::driver::Run;
use slipway_domain::port::scanner::{ScanInput, Scanner};
use slipway_domain::scan::{ScanOutcome, ScannerName};

use crate::report::{Raw, Seen, or, severity};
use crate::source::{Laid, is_of_opentofu};
use crate::tool::{Question, Tool};

/// `status` of what a comment in the source asks to skip.
const IGNORED: i64 = 2;

/// tfsec.
#[derive(Debug, Clone)]
pub struct Tfsec {
    tool: Tool,
}

impl Tfsec {
    pub(crate) fn new(tool: Tool) -> Self {
        Self { tool }
    }
}

#[async_trait]
impl Scanner for Tfsec {
    fn name(&self) -> ScannerName {
        ScannerName::Tfsec
    }

    fn version(&self) -> Option<&str> {
        self.tool.version.as_deref()
    }

    async fn scan(&self, run: &dyn Run, input: &ScanInput) -> ScanOutcome {
        let question = |laid: &Laid| {
            let mut args: Vec<OsString> = vec![laid.root.clone().into()];
            let rest = [
                "--format",
                "json",
                "--no-colour",
                "--no-code",
                "--no-module-downloads",
                "--include-ignored",
            ];
            args.extend(rest.map(OsString::from));
            // 1: it found something, or failed; then there is no report.
            Ok(Question { args, env: Vec::new(), good: &[0, 1] })
        };
        self.tool
            .scan(
                run,
                input,
                |_, _| None,
                question,
                |laid, text| {
                    let mut seen = read(text)?;
                    if let Some(file) = laid.files.iter().find(|file| is_of_opentofu(file)) {
                        seen.incomplete =
                            Some(format!("it does not read files of OpenTofu, as {file}"));
                    }
                    Ok(seen)
                },
            )
            .await
    }
}

#[derive(Deserialize)]
struct Report {
    /// `null` when there are none; but it is there.
    results: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    rule_id: String,
    #[serde(default)]
    long_id: String,
    #[serde(default)]
    rule_description: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    resolution: String,
    #[serde(default)]
    links: Option<Vec<String>>,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    status: i64,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Location {
    #[serde(default)]
    filename: String,
    #[serde(default)]
    start_line: i64,
}

fn read(text: &[u8]) -> Result<Seen, String> {
    let value: serde_json::Value =
        serde_json::from_slice(text).map_err(|_| "it printed no report".to_owned())?;
    // A field that is not there and one that is null are not the same.
    if value.get("results").is_none() {
        return Err("its report has no results".to_owned());
    }
    let report: Report = serde_json::from_value(value)
        .map_err(|_| "its report is not the JSON that is known of tfsec".to_owned())?;
    let raw = report.results.unwrap_or_default().into_iter().map(raw).collect();
    Ok(Seen { raw, incomplete: None })
}

fn raw(entry: Entry) -> Raw {
    let link = entry.links.and_then(|links| links.into_iter().next()).unwrap_or_default();
    let remedy = match (entry.resolution.trim(), link.trim()) {
        ("", link) => link.to_owned(),
        (resolution, "") => resolution.to_owned(),
        (resolution, link) => format!("{} ({link})", resolution.trim_end_matches('.')),
    };
    let (file, line) = entry
        .location
        .map_or((None, None), |at| (Some(at.filename), u32::try_from(at.start_line).ok()));
    // Of something inside a module it names the call alone.
    let is_call = entry.resource.split('.').next_back() == entry.resource.split('.').nth(1)
        && entry.resource.starts_with("module.");
    let message = or(&entry.description, &entry.rule_description);
    Raw {
        aliases: (!entry.long_id.is_empty()).then(|| entry.long_id.clone()).into_iter().collect(),
        title: or(&entry.rule_description, &entry.long_id).to_owned(),
        message: if is_call {
            format!("{message} (Somewhere in {}.)", entry.resource)
        } else {
            message.to_owned()
        },
        remedy,
        severity: severity(&entry.severity),
        address: entry.resource,
        file: file.filter(|file| !file.is_empty()),
        line,
        suppressed: (entry.status == IGNORED).then(|| format!("tfsec:ignore:{}", entry.long_id)),
        rule: entry.rule_id,
    }
}

#[cfg(test)]
mod tests {
    use slipway_domain::finding::Severity;

    use super::*;

    #[test]
    fn a_report_is_read() {
        let seen = read(include_bytes!("../tests/fixtures/tfsec.json")).unwrap();
        assert!(seen.incomplete.is_none());
        let of = |rule: &str, address: &str| {
            seen.raw.iter().find(|raw| raw.rule == rule && raw.address == address).unwrap()
        };
        let open = of("AVD-AWS-0107", "aws_security_group.admin");
        assert!(open.file.as_deref().unwrap().ends_with("/main.tf"));
        assert_eq!((open.line, open.severity), (Some(29), Severity::High));
        assert_eq!(open.aliases, ["aws-vpc-no-public-ingress-sgr"]);
        assert!(open.remedy.contains("https://"), "{}", open.remedy);
        let ignored = of("AVD-AWS-0089", "aws_s3_bucket.logs");
        assert_eq!(
            ignored.suppressed.as_deref(),
            Some("tfsec:ignore:aws-s3-enable-bucket-logging")
        );
        assert!(of("AVD-AWS-0089", "aws_s3_bucket.data").suppressed.is_none());
        let inner = of("AVD-AWS-0080", "module.db");
        assert!(inner.message.contains("in module.db"), "{}", inner.message);
    }

    #[test]
    fn no_report_is_no_pass() {
        let nothing = read(b"{\n\t\"results\": null\n}\n").unwrap();
        assert!(nothing.raw.is_empty() && nothing.incomplete.is_none());
        for bad in ["", "{}", "[]", "{\"results\": 1}", "{\"results\":[{}]}", "oops"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
