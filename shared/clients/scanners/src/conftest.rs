//! conftest, with the operator's own policies: on the plan where there is one, else on the files of
//! the root module. Seen with 0.71.1.
//!
//! The policies are the operator's word, so what they say of severity counts as it is
//! (`metadata.severity`), and what they deny without saying is critical. A policy names the resource
//! in `metadata.address` (or `resource`), its rule in `rule` (or `id`) and what to do in `remedy`.

use std::ffi::OsString;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::Deserialize;
use slipway_domain::finding::Severity;
use slipway_domain::port::driver::Run;
use slipway_domain::port::scanner::{ScanInput, Scanner};
use slipway_domain::scan::{ScanOutcome, ScanStatus, ScannerName};

use crate::report::{Raw, Seen};
use crate::source::Laid;
use crate::tool::{Question, Tool};

/// Most files that are named on its command line.
const MAX_FILES: usize = 2_000;

/// conftest.
#[derive(Debug, Clone)]
pub struct Conftest {
    tool: Tool,
    policies: Vec<PathBuf>,
}

impl Conftest {
    pub(crate) fn new(tool: Tool, policies: &[PathBuf]) -> Result<Self, String> {
        if policies.is_empty() {
            return Err("no directory of policies is set for conftest".to_owned());
        }
        let policies = policies.iter().map(|dir| {
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
            if dir.is_dir() {
                Ok(dir)
            } else {
                Err(format!("{}, for the policies of conftest, is not a directory", dir.display()))
            }
        });
        Ok(Self { tool, policies: policies.collect::<Result<_, _>>()? })
    }
}

#[async_trait]
impl Scanner for Conftest {
    fn name(&self) -> ScannerName {
        ScannerName::Conftest
    }

    fn version(&self) -> Option<&str> {
        self.tool.version.as_deref()
    }

    async fn scan(&self, run: &dyn Run, input: &ScanInput) -> ScanOutcome {
        let (plan, policies) = (input.plan.clone(), self.policies.clone());
        let of_plan = plan.is_some();
        let question = move |laid: &Laid| {
            let failed = |why: String| ScanStatus::Failed { why };
            let mut args: Vec<OsString> = vec!["test".into(), "--no-color".into()];
            args.extend(["-o".into(), "json".into()]);
            for dir in policies {
                args.extend(["-p".into(), dir.into()]);
            }
            args.push("--all-namespaces".into());
            let parser = if plan.is_some() { "json" } else { "hcl2" };
            args.extend(["--parser".into(), parser.into(), "--".into()]);
            if let Some(plan) = plan {
                args.push(std::path::absolute(&plan).unwrap_or(plan).into());
            } else {
                let mut files = 0;
                for file in laid.root_files() {
                    if !file.ends_with(".tf") {
                        let why = format!("it does not read {file} as configuration");
                        return Err(failed(why));
                    }
                    files += 1;
                    args.push(laid.source.join(file).into());
                }
                if files == 0 || files > MAX_FILES {
                    let why = format!("the root module has {files} files, not 1 to {MAX_FILES}");
                    return Err(failed(why));
                }
            }
            // 1: it found something, or failed; then there is no report.
            Ok(Question { args, env: Vec::new(), good: &[0, 1, 2] })
        };
        self.tool
            .scan(
                run,
                input,
                |_, _| None,
                question,
                move |_, text| {
                    let seen = read(text)?;
                    Ok(if of_plan { seen.of_plan() } else { seen })
                },
            )
            .await
    }
}

#[derive(Deserialize)]
struct File {
    filename: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    warnings: Option<Vec<Said>>,
    #[serde(default)]
    failures: Option<Vec<Said>>,
}

#[derive(Deserialize)]
struct Said {
    msg: String,
    #[serde(default)]
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

fn read(text: &[u8]) -> Result<Seen, String> {
    let files: Vec<File> =
        serde_json::from_slice(text).map_err(|_| "it printed no report".to_owned())?;
    let mut seen = Seen::default();
    for file in files {
        let denied =
            file.failures.unwrap_or_default().into_iter().map(|said| (said, Severity::Critical));
        let warned =
            file.warnings.unwrap_or_default().into_iter().map(|said| (said, Severity::Medium));
        for (said, otherwise) in denied.chain(warned) {
            seen.raw.push(raw(said, otherwise, &file.namespace, &file.filename));
        }
    }
    Ok(seen)
}

fn raw(said: Said, otherwise: Severity, namespace: &str, file: &str) -> Raw {
    let metadata = said.metadata.unwrap_or_default();
    let text = |names: &[&str]| {
        names.iter().find_map(|name| metadata.get(*name)?.as_str().map(str::to_owned))
    };
    let severity = text(&["severity"]).map(|word| word.to_ascii_lowercase());
    let severity = match severity.as_deref() {
        Some("critical") => Severity::Critical,
        Some("high") => Severity::High,
        Some("medium") => Severity::Medium,
        Some("low") => Severity::Low,
        _ => otherwise,
    };
    let query = text(&["query"]).map(|query| query.trim_start_matches("data.").to_owned());
    let rule = text(&["rule", "id"]).or(query).unwrap_or_else(|| namespace.to_owned());
    Raw {
        aliases: Vec::new(),
        title: text(&["title"]).unwrap_or_else(|| rule.clone()),
        rule,
        message: said.msg,
        remedy: text(&["remedy", "resolution"]).unwrap_or_default(),
        severity,
        address: text(&["address", "resource"]).unwrap_or_default(),
        file: Some(file.to_owned()),
        line: None,
        suppressed: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let seen = read(include_bytes!("../tests/fixtures/conftest.json")).unwrap();
        assert_eq!(seen.raw.len(), 2);
        let denied = seen.raw.iter().find(|raw| raw.rule == "s3_public").unwrap();
        assert_eq!(
            (denied.address.as_str(), denied.severity),
            ("aws_s3_bucket.data", Severity::Critical)
        );
        let warned = seen.raw.iter().find(|raw| raw.rule == "main.warn").unwrap();
        assert_eq!((warned.severity, warned.address.as_str()), (Severity::Medium, ""));
        assert!(warned.message.contains("no tags"));
    }

    #[test]
    fn the_operators_word_counts_and_no_report_is_no_pass() {
        let own = r#"[{"filename":"a.tf","failures":[{"msg":"m","metadata":{"severity":"LOW"}},
            {"msg":"n"}]}]"#;
        let seen = read(own.as_bytes()).unwrap();
        let severities: Vec<Severity> = seen.raw.iter().map(|raw| raw.severity).collect();
        assert_eq!(severities, [Severity::Low, Severity::Critical]);
        for bad in ["", "{}", "null", "[1]", "oops"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
