//! What scanners find is rated by the shipped pack.

use slipway_domain::finding::{Finding, Severity, State, Verdict};
use slipway_policy::{Engine, Limits, Pack};

#[expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]
fn rated(rule: &str) -> Finding {
    let book = Engine::compile(&Pack::shipped(), Limits::default()).unwrap().rule_book();
    let mut finding = Finding {
        tool: "a scanner".into(),
        rule: rule.into(),
        title: "t".into(),
        severity: Severity::Medium,
        address: "a.b".into(),
        message: "m".into(),
        remedy: String::new(),
        aliases: Vec::new(),
        also_found_by: Vec::new(),
        suppressed: None,
        state: State::Fail,
        verdict: Verdict::Warn,
        role: None,
        file: None,
        line: None,
        exemption: None,
    };
    book.rate(&mut finding);
    finding
}

#[test]
fn a_check_that_we_know_has_our_severity_our_id_and_our_remedy() {
    let ssh = rated("CKV_AWS_24");
    assert_eq!((ssh.severity, ssh.is_of_rule("aws_open_ssh")), (Severity::Critical, true));
    assert!(!ssh.remedy.is_empty());
    let bucket = rated("AWS-0092");
    assert_eq!(
        (bucket.severity, bucket.is_of_rule("aws_s3_public_acl")),
        (Severity::Critical, true)
    );
    // Any port to anybody: a web server does that.
    let open = rated("AVD-AWS-0107");
    assert_eq!((open.severity, open.is_of_rule("aws_open_ssh")), (Severity::High, true));
}

#[test]
fn what_only_looks_alike_is_not_ours() {
    // Logging of buckets, and one that there is not.
    for rule in ["AVD-AWS-0089", "CKV_AWS_9999"] {
        let finding = rated(rule);
        assert_eq!((finding.severity, finding.aliases.len()), (Severity::Medium, 0), "{rule}");
    }
}
