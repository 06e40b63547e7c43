//! checkov, on the source or on the plan. Seen with 3.3.30.
//!
//! Its free version gives no severities, so what we do not know counts as medium. `--quiet` is not
//! used: it leaves out what the source asks to skip. A file that it cannot read is no error to it,
//! so that is looked for here. It may print stack traces on standard error and be right all the
//! same.

use std::ffi::OsString;

use async_trait::async_trait;
use serde::Deserialize;
use slipway_domain::finding::Severity;
use slipway_domain::port::driver::Run;
use slipway_domain::port::scanner::{ScanInput, Scanner};
use slipway_domain::scan::{ScanOutcome, ScannerName};

use crate::report::{Raw, Seen};
use crate::source::{Laid, is_of_opentofu};
use crate::tool::{Question, Tool};

/// checkov.
#[derive(Debug, Clone)]
pub struct Checkov {
    tool: Tool,
}

impl Checkov {
    pub(crate) fn new(tool: Tool) -> Self {
        Self { tool }
    }
}

#[async_trait]
impl Scanner for Checkov {
    fn name(&self) -> ScannerName {
        ScannerName::Checkov
    }

    fn version(&self) -> Option<&str> {
        self.tool.version.as_deref()
    }

    async fn scan(&self, run: &dyn Run, input: &ScanInput) -> ScanOutcome {
        let plan = input.plan.clone();
        let of_plan = plan.is_some();
        let question = move |laid: &Laid| {
            let mut args: Vec<OsString> = Vec::new();
            if let Some(plan) = plan {
                let plan = std::path::absolute(&plan).unwrap_or(plan);
                args.extend(["-f".into(), plan.into()]);
                args.extend(["--framework".into(), "terraform_plan".into()]);
            } else {
                args.extend(["-d".into(), laid.root.clone().into()]);
                args.extend(["--framework".into(), "terraform".into()]);
                if laid.files.iter().any(|file| file.ends_with(".tf.json")) {
                    args.push("terraform_json".into());
                }
            }
            let rest = ["-o", "json", "--compact", "--skip-download"];
            args.extend(rest.map(OsString::from));
            args.extend(["--download-external-modules", "false"].map(OsString::from));
            Ok(Question {
                args,
                env: vec![
                    // It passes over such directories otherwise, whoever uses them as modules.
                    ("CKV_IGNORE_HIDDEN_DIRECTORIES", "False".into()),
                    ("CKV_IGNORED_DIRECTORIES", "".into()),
                    ("PYTHONDONTWRITEBYTECODE", "1".into()),
                    ("PYTHONNOUSERSITE", "1".into()),
                ],
                // 1: it found something.
                good: &[0, 1],
            })
        };
        self.tool
            .scan(
                run,
                input,
                |_, _| None,
                question,
                move |laid, text| {
                    let mut seen = read(text)?;
                    if of_plan {
                        return Ok(seen.of_plan());
                    }
                    if seen.incomplete.is_none()
                        && let Some(file) = laid.files.iter().find(|file| is_of_opentofu(file))
                    {
                        seen.incomplete =
                            Some(format!("it does not read files of OpenTofu, as {file}"));
                    }
                    Ok(seen)
                },
            )
            .await
    }
}

/// One framework's report, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Many(Vec<Report>),
    One(Box<Report>),
}

#[derive(Deserialize)]
struct Report {
    /// Not there when there was nothing to look at.
    #[serde(default)]
    results: Option<Results>,
    #[serde(default)]
    summary: Option<Summary>,
    /// The summary itself, when there was nothing to look at.
    #[serde(default)]
    resource_count: Option<u64>,
}

#[derive(Deserialize)]
struct Summary {
    #[serde(default)]
    parsing_errors: u64,
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    failed_checks: Vec<Check>,
    #[serde(default)]
    skipped_checks: Vec<Check>,
    #[serde(default)]
    parsing_errors: Vec<String>,
}

/// One check. What else is there holds pieces of the source, with the secrets in them.
#[derive(Deserialize)]
struct Check {
    check_id: String,
    #[serde(default)]
    check_name: Option<String>,
    #[serde(default)]
    resource: Option<String>,
    #[serde(default)]
    resource_address: Option<String>,
    #[serde(default)]
    file_path: Option<String>,
    #[serde(default)]
    file_line_range: Option<Vec<i64>>,
    #[serde(default)]
    guideline: Option<String>,
    #[serde(default)]
    check_result: Option<CheckResult>,
}

#[derive(Deserialize)]
struct CheckResult {
    #[serde(default)]
    suppress_comment: Option<String>,
}

fn read(text: &[u8]) -> Result<Seen, String> {
    let answer: Answer = serde_json::from_slice(text)
        .map_err(|_| "its report is not the JSON that is known of checkov".to_owned())?;
    let reports = match answer {
        Answer::Many(reports) => reports,
        Answer::One(report) => vec![*report],
    };
    let mut seen = Seen::default();
    let mut unread = 0;
    for report in reports {
        if report.results.is_none() && report.resource_count.is_none() {
            return Err("its report has no results".to_owned());
        }
        unread = unread.max(report.summary.map_or(0, |summary| summary.parsing_errors));
        let Some(results) = report.results else { continue };
        if let Some(file) = results.parsing_errors.first() {
            seen.incomplete = Some(format!("it could not read {file}"));
        }
        seen.raw.extend(results.failed_checks.into_iter().map(|check| raw(check, false)));
        seen.raw.extend(results.skipped_checks.into_iter().map(|check| raw(check, true)));
    }
    if unread > 0 && seen.incomplete.is_none() {
        seen.incomplete = Some(format!("it could not read {unread} files"));
    }
    Ok(seen)
}

fn raw(check: Check, skipped: bool) -> Raw {
    let line = check.file_line_range.and_then(|range| range.first().copied());
    let name = check.check_name.unwrap_or_default();
    let said = check.check_result.and_then(|result| result.suppress_comment);
    Raw {
        rule: check.check_id,
        aliases: Vec::new(),
        message: name
            .strip_prefix("Ensure ")
            .map_or_else(|| name.clone(), |rest| format!("Not so: {rest}")),
        title: name,
        remedy: check.guideline.unwrap_or_default(),
        severity: Severity::Medium,
        address: check.resource_address.or(check.resource).unwrap_or_default(),
        file: check.file_path,
        line: line.and_then(|line| u32::try_from(line).ok()),
        suppressed: skipped.then(|| said.unwrap_or_else(|| "No comment provided".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_the_source_is_read() {
        let seen = read(include_bytes!("../tests/fixtures/checkov-source.json")).unwrap();
        assert!(seen.incomplete.is_none());
        let of = |rule: &str, address: &str| {
            seen.raw.iter().find(|raw| raw.rule == rule && raw.address == address).unwrap()
        };
        let open = of("CKV_AWS_24", "aws_security_group.admin");
        assert_eq!((open.file.as_deref(), open.line), (Some("/main.tf"), Some(21)));
        assert!(open.title.contains("port 22"), "{}", open.title);
        let inner = of("CKV_AWS_17", "module.db.aws_db_instance.main[\"a\"]");
        assert_eq!(inner.file.as_deref(), Some("/db/main.tf"));
        let skipped = of("CKV_AWS_18", "aws_s3_bucket.logs");
        assert_eq!(
            skipped.suppressed.as_deref(),
            Some("Access logging of the log bucket would loop")
        );
        assert!(open.suppressed.is_none());
    }

    #[test]
    fn a_report_of_the_plan_is_read() {
        let seen = read(include_bytes!("../tests/fixtures/checkov-plan.json")).unwrap();
        assert!(seen.incomplete.is_none() && !seen.raw.is_empty());
        assert!(seen.raw.iter().all(|raw| raw.address.starts_with("aws_")), "{seen:?}");
    }

    #[test]
    fn what_could_not_be_read_is_no_pass() {
        let one = r#"{"check_type":"terraform","results":{"passed_checks":[],"failed_checks":[],
            "skipped_checks":[],"parsing_errors":["/x/bad.tf"]},"summary":{"parsing_errors":1}}"#;
        let why = read(one.as_bytes()).unwrap().incomplete.unwrap();
        assert!(why.contains("bad.tf"), "{why}");
        let counted = r#"[{"results":{},"summary":{"parsing_errors":2}}]"#;
        assert!(read(counted.as_bytes()).unwrap().incomplete.is_some());
        // Nothing to look at.
        let nothing = r#"{"passed":0,"failed":0,"skipped":0,"parsing_errors":0,"resource_count":0,
            "checkov_version":"3.3.30"}"#;
        let seen = read(nothing.as_bytes()).unwrap();
        assert!(seen.raw.is_empty() && seen.incomplete.is_none());
        for bad in ["", "{}", "[{}]", "null", "[1]", "{\"results\":", "oops", "\"x\""] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
