//! Findings as SARIF 2.1.0, for those who read them elsewhere (code hosts, editors).
//!
//! It is always made here and never taken from a tool: what tools write holds pieces of the source,
//! with the secrets that are in it, and their own severities.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::finding::{Finding, Severity, State};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// One document with one run: what a tool found.
pub fn document(tool: &str, version: Option<&str>, findings: &[Finding]) -> Value {
    let findings: Vec<&Finding> = findings.iter().collect();
    whole(vec![run(tool, version, &findings)])
}

/// One document with a run for each tool, in the order of their names: everything that was found in
/// one plan. `of` says whose plan it is.
pub fn log(of: &str, findings: &[Finding]) -> Value {
    let mut tools: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        tools.entry(&finding.tool).or_default().push(finding);
    }
    // A log without any run would not say that somebody looked.
    tools.entry(Finding::POLICY).or_default();
    let runs = tools.into_iter().map(|(tool, findings)| {
        let mut run = run(tool, None, &findings);
        run["automationDetails"] = json!({ "id": format!("slipway/{tool}/{of}/") });
        run
    });
    whole(runs.collect())
}

fn whole(runs: Vec<Value>) -> Value {
    json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": runs })
}

fn run(tool: &str, version: Option<&str>, findings: &[&Finding]) -> Value {
    let mut rules: BTreeMap<&str, &Finding> = BTreeMap::new();
    for finding in findings {
        rules.entry(&finding.rule).or_insert(finding);
    }
    let index: BTreeMap<&str, usize> = rules.keys().enumerate().map(|(i, id)| (*id, i)).collect();
    let mut driver = json!({
        "name": tool,
        "rules": rules.values().map(|finding| rule(finding)).collect::<Vec<_>>(),
    });
    if let Some(version) = version {
        driver["version"] = json!(version);
    }
    let results = findings.iter().map(|finding| result(finding, index[finding.rule.as_str()]));
    json!({
        "tool": { "driver": driver },
        "columnKind": "unicodeCodePoints",
        "results": results.collect::<Vec<_>>(),
    })
}

fn rule(finding: &Finding) -> Value {
    let mut rule = json!({
        "id": finding.rule,
        "shortDescription": { "text": or(&finding.title, &finding.rule) },
        "defaultConfiguration": { "level": level(finding.severity) },
        "properties": {
            "security-severity": score(finding.severity),
            "aliases": finding.aliases,
        },
    });
    if finding.remedy.starts_with("https://") {
        rule["helpUri"] = json!(finding.remedy);
    }
    if !finding.remedy.is_empty() {
        rule["help"] = json!({ "text": finding.remedy });
    }
    rule
}

fn result(finding: &Finding, rule_index: usize) -> Value {
    let mut location = serde_json::Map::new();
    if let Some(file) = &finding.file {
        let mut physical = json!({ "artifactLocation": { "uri": uri(file) } });
        if let Some(line) = finding.line.filter(|line| *line > 0) {
            physical["region"] = json!({ "startLine": line });
        }
        location.insert("physicalLocation".into(), physical);
    }
    if !finding.address.is_empty() {
        let logical = json!([{ "fullyQualifiedName": finding.address, "kind": "resource" }]);
        location.insert("logicalLocations".into(), logical);
    }
    let mut result = json!({
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": level(finding.severity),
        "message": { "text": or(&finding.message, &finding.title) },
    });
    if !location.is_empty() {
        result["locations"] = json!([location]);
    }
    if finding.state == State::Unknown {
        // The format has a level for failures only.
        result["kind"] = json!("open");
        result["level"] = json!("none");
    }
    let mut suppressions = Vec::new();
    if let Some(why) = &finding.suppressed {
        suppressions.push(json!({ "kind": "inSource", "justification": why }));
    }
    if let Some(exemption) = &finding.exemption {
        let why = format!("exemption {exemption}");
        suppressions
            .push(json!({ "kind": "external", "status": "accepted", "justification": why }));
    }
    if !suppressions.is_empty() {
        result["suppressions"] = json!(suppressions);
    }
    if !finding.also_found_by.is_empty() {
        result["properties"] = json!({ "also_found_by": finding.also_found_by });
    }
    result
}

/// The format wants a text.
fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

/// The number by which code hosts sort security findings.
const fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
    }
}

/// A relative path as a URI reference.
fn uri(path: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::judge::tests::finding;

    #[test]
    fn the_document_has_what_the_format_asks_for() {
        let mut first = finding("checkov", "CKV_AWS_20", "aws_s3_bucket.a", Severity::Critical);
        first.file = Some("modules/a b/main:1.tf".into());
        first.line = Some(7);
        first.remedy = "https://example.com/x".into();
        let mut second = finding("checkov", "CKV_AWS_18", "", Severity::Low);
        second.message = String::new();
        second.suppressed = Some("because".into());
        let third = Finding { address: "aws_s3_bucket.b".into(), ..first.clone() };
        let document = document("checkov", Some("3.3.30"), &[first, second, third]);
        assert_eq!((&document["version"], &document["$schema"]), (&json!("2.1.0"), &json!(SCHEMA)));
        let run = &document["runs"][0];
        let driver = &run["tool"]["driver"];
        assert_eq!((&driver["name"], &driver["version"]), (&json!("checkov"), &json!("3.3.30")));
        let rules = driver["rules"].as_array().unwrap();
        assert_eq!(rules.len(), 2);
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 3);
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
            assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        }
        let place = &results[0]["locations"][0];
        let physical = &place["physicalLocation"];
        assert_eq!(physical["artifactLocation"]["uri"], "modules/a%20b/main%3A1.tf");
        assert_eq!(physical["region"]["startLine"], 7);
        assert_eq!(place["logicalLocations"][0]["fullyQualifiedName"], "aws_s3_bucket.a");
        assert!(results[1].get("locations").is_none());
        assert_eq!(results[1]["suppressions"][0]["kind"], "inSource");
        assert_eq!(rules[1]["helpUri"], "https://example.com/x");
    }

    #[test]
    fn a_log_has_a_run_for_each_tool_and_says_what_does_not_count() {
        let mut exempt = finding("policy", "aws_open_ssh", "aws_security_group.a", Severity::High);
        exempt.exemption = "exm_0192f1c0111170008000000000000000".parse().ok();
        exempt.also_found_by = vec!["checkov CKV_AWS_24".into()];
        let mut open = finding("policy", "aws_rds_public", "aws_db_instance.a", Severity::High);
        open.state = State::Unknown;
        let scanned = finding("checkov", "CKV_AWS_18", "", Severity::Low);
        let log = log("shop/web/prod", &[exempt, scanned, open]);
        let runs = log["runs"].as_array().unwrap();
        let names: Vec<_> = runs.iter().map(|run| &run["tool"]["driver"]["name"]).collect();
        assert_eq!(names, ["checkov", "policy"]);
        assert_eq!(runs[1]["automationDetails"]["id"], "slipway/policy/shop/web/prod/");
        let [first, second] = runs[1]["results"].as_array().unwrap().as_slice() else {
            panic!("two results")
        };
        assert_eq!(first["suppressions"][0]["kind"], "external");
        assert_eq!(first["properties"]["also_found_by"][0], "checkov CKV_AWS_24");
        assert_eq!((&second["kind"], &second["level"]), (&json!("open"), &json!("none")));
        let nothing = super::log("shop/web/prod", &[]);
        assert_eq!(nothing["runs"][0]["results"], json!([]));
    }
}
