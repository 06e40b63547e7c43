//! How long it takes; printed, since machines differ.

use std::time::Instant;

use crate::cases::shipped;
use crate::plan::Case;

#[test]
fn five_hundred_resources() {
    let mut plan = serde_json::Map::new();
    for n in 0..250 {
        plan.insert(
            format!("aws_security_group.g[{n}]"),
            serde_json::json!({"ingress": [{"protocol": "tcp", "from_port": 22, "to_port": 22,
                "cidr_blocks": ["0.0.0.0/0"]}]}),
        );
        plan.insert(
            format!("aws_s3_bucket.b[{n}]"),
            serde_json::json!({"bucket": format!("b{n}"), "acl": "public-read"}),
        );
    }
    let case = Case::read(&serde_json::Value::Object(plan).to_string());
    let engine = shipped();
    let begin = Instant::now();
    let evaluation = case.judge(&engine);
    println!("500 resources: {:?}, {} bytes", begin.elapsed(), case.plan.len());
    let found = |rule: &str| evaluation.findings.iter().filter(|f| f.rule == rule).count();
    assert_eq!(found("aws_open_ssh"), 250);
    assert_eq!(found("aws_s3_public_acl"), 250);
}
