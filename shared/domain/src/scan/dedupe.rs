//! One finding for one thing that is wrong, however many tools saw it.

use std::collections::HashMap;

use super::book::plain;
use crate::finding::Finding;

/// Most tools that a finding names beside its own.
const MAX_ALSO: usize = 20;

/// Joins what policies and scanners found: one finding for a resource and a check. A policy's
/// finding is kept as it is, since it judged the plan; of scanners' the first one is kept. The one
/// that is kept names the others in [`Finding::also_found_by`], and takes over the strictest verdict
/// unless it is exempted.
///
/// Policies' findings are never joined with each other, and what names no resource is joined only
/// with the same rule at the same place.
pub fn dedupe(policy: Vec<Finding>, scan: Vec<Finding>) -> Vec<Finding> {
    let mut kept = policy;
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, finding) in kept.iter().enumerate() {
        places.entry(bare(&finding.address)).or_default().push(at);
    }
    for found in scan {
        let place = bare(&found.address);
        let ids = ids(&found);
        let same = places
            .get(&place)
            .and_then(|there| there.iter().copied().find(|at| is_same(&kept[*at], &found, &ids)));
        if let Some(at) = same {
            join(&mut kept[at], found);
        } else {
            places.entry(place).or_default().push(kept.len());
            kept.push(found);
        }
    }
    kept.sort_by(Finding::order);
    kept
}

/// Whether two addresses may be of the same resource: a scanner that reads the source does not
/// know the instances that `count` and `for_each` make.
pub fn same_address(a: &str, b: &str) -> bool {
    a == b || (bare(a) == bare(b) && (!a.contains('[') || !b.contains('[')))
}

/// The address without the keys of instances.
fn bare(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    let (mut inside, mut quoted, mut escaped) = (false, false, false);
    for c in address.chars() {
        match (inside, c) {
            (false, '[') => inside = true,
            (false, c) => out.push(c),
            (true, _) if escaped => escaped = false,
            (true, '\\') if quoted => escaped = true,
            (true, '"') => quoted = !quoted,
            (true, ']') if !quoted => inside = false,
            (true, _) => {}
        }
    }
    out
}

fn ids(finding: &Finding) -> Vec<String> {
    std::iter::once(&finding.rule).chain(&finding.aliases).map(|id| plain(id)).collect()
}

fn is_same(kept: &Finding, found: &Finding, found_ids: &[String]) -> bool {
    if !same_address(&kept.address, &found.address) {
        return false;
    }
    if found.address.is_empty() {
        return kept.rule == found.rule
            && kept.tool == found.tool
            && (&kept.file, kept.line) == (&found.file, found.line);
    }
    ids(kept).iter().any(|id| found_ids.contains(id))
}

fn join(kept: &mut Finding, found: Finding) {
    let by = format!("{} {}", found.tool, found.rule);
    let own = kept.tool == found.tool && kept.rule == found.rule;
    if !own && kept.also_found_by.len() < MAX_ALSO && !kept.also_found_by.contains(&by) {
        kept.also_found_by.push(by);
    }
    if kept.exemption.is_none() && found.exemption.is_none() {
        kept.verdict = kept.verdict.max(found.verdict);
    }
    if kept.tool != Finding::POLICY {
        kept.severity = kept.severity.max(found.severity);
        // Somebody did not hear the author.
        if found.suppressed.is_none() {
            kept.suppressed = None;
        }
        if found.exemption.is_none() && kept.exemption.take().is_some() {
            kept.verdict = found.verdict;
        }
    }
    if kept.file.is_none() {
        (kept.file, kept.line) = (found.file, found.line);
    }
    for alias in std::iter::once(found.rule).chain(found.aliases) {
        if alias != kept.rule && !kept.aliases.contains(&alias) {
            kept.aliases.push(alias);
        }
    }
    if kept.remedy.is_empty() {
        kept.remedy = found.remedy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Severity, Verdict};
    use crate::scan::judge::tests::finding;

    fn with(mut finding: Finding, aliases: &[&str]) -> Finding {
        finding.aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        finding
    }

    fn policy(rule: &str, address: &str, aliases: &[&str]) -> Finding {
        with(finding(Finding::POLICY, rule, address, Severity::Critical), aliases)
    }

    #[test]
    fn what_several_tools_saw_is_told_once_and_names_them() {
        let policies = vec![
            policy("s3_public", "aws_s3_bucket.a", &["CKV_AWS_20", "AVD-AWS-0092"]),
            policy("s3_public", "aws_s3_bucket.b", &["CKV_AWS_20", "AVD-AWS-0092"]),
        ];
        let mut checkov = finding("checkov", "CKV_AWS_20", "aws_s3_bucket.a", Severity::Critical);
        checkov.file = Some("main.tf".into());
        checkov.line = Some(3);
        checkov.verdict = Verdict::Deny;
        let trivy = finding("trivy", "AWS-0092", "aws_s3_bucket.a", Severity::Critical);
        let other = finding("checkov", "CKV_AWS_18", "aws_s3_bucket.a", Severity::Medium);
        let found = dedupe(policies, vec![checkov, trivy, other]);
        assert_eq!(found.len(), 3);
        let first = found.iter().find(|f| f.address == "aws_s3_bucket.a").unwrap();
        assert_eq!((first.tool.as_str(), first.rule.as_str()), (Finding::POLICY, "s3_public"));
        assert_eq!(first.also_found_by, ["checkov CKV_AWS_20", "trivy AWS-0092"]);
        assert_eq!((first.file.as_deref(), first.line), (Some("main.tf"), Some(3)));
        assert_eq!(first.verdict, Verdict::Deny, "the strictest counts");
        assert!(found.iter().any(|f| f.rule == "CKV_AWS_18"));
    }

    #[test]
    fn policies_are_not_joined_with_each_other() {
        let both = ["AVD-AWS-0107"];
        let policies = vec![policy("ssh", "sg.x", &both), policy("rdp", "sg.x", &both)];
        let tfsec = finding("tfsec", "AVD-AWS-0107", "sg.x", Severity::High);
        let found = dedupe(policies, vec![tfsec]);
        assert_eq!(found.len(), 2);
        assert_eq!(found.iter().filter(|f| !f.also_found_by.is_empty()).count(), 1);
    }

    #[test]
    fn instances_are_joined_with_their_resource_and_not_with_each_other() {
        assert!(same_address("module.a[0].x.y", "module.a.x.y"));
        assert!(same_address("x.y[\"a]\\\"b\"]", "x.y"));
        assert!(!same_address("x.y[0]", "x.y[1]"));
        assert!(!same_address("x.y", "x.z"));
        let policies = vec![policy("p", "x.y[0]", &["C"]), policy("p", "x.y[1]", &["C"])];
        let found = dedupe(policies, vec![finding("checkov", "C", "x.y[1]", Severity::Low)]);
        assert_eq!(found.len(), 2);
        let second = found.iter().find(|f| f.address == "x.y[1]").unwrap();
        assert_eq!(second.also_found_by.len(), 1);
    }

    #[test]
    fn what_names_no_resource_stays_apart() {
        let at = |line| Finding { line: Some(line), ..finding("tfsec", "R", "", Severity::Low) };
        assert_eq!(dedupe(Vec::new(), vec![at(1), at(2), at(1)]).len(), 2);
    }

    #[test]
    fn scanners_are_joined_with_each_other_through_our_rules() {
        let checkov = with(finding("checkov", "CKV_AWS_24", "sg.x", Severity::Critical), &["ssh"]);
        let tfsec = with(finding("tfsec", "AVD-AWS-0107", "sg.x", Severity::High), &["ssh", "rdp"]);
        let found = dedupe(Vec::new(), vec![checkov, tfsec]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].also_found_by, ["tfsec AVD-AWS-0107"]);
        assert_eq!(found[0].severity, Severity::Critical);
    }

    #[test]
    fn an_exemption_of_the_policy_is_not_undone_and_one_of_another_tool_does_not_spread() {
        let id = Some(crate::id::ExemptionId(uuid::Uuid::nil()));
        let mut exempted = policy("p", "x.y", &["C"]);
        (exempted.exemption, exempted.verdict) = (id, Verdict::Warn);
        let denied = || Finding {
            verdict: Verdict::Deny,
            ..finding("checkov", "C", "x.y", Severity::Critical)
        };
        let found = dedupe(vec![exempted], vec![denied()]);
        assert_eq!((found[0].exemption, found[0].verdict), (id, Verdict::Warn));
        let other = Finding { exemption: id, ..with(denied(), &["D"]) };
        let mut tfsec = denied();
        (tfsec.tool, tfsec.rule) = ("tfsec".into(), "D".into());
        let found = dedupe(Vec::new(), vec![other, tfsec]);
        assert_eq!((found.len(), found[0].exemption, found[0].verdict), (1, None, Verdict::Deny));
    }
}
