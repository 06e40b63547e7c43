//! Judges plans by the shipped pack: a tool for whoever works on the rules.
//!
//! `cargo run -p slipway-policy --example judge -- PLAN.json…` reads files of `terraform show -json`
//! and prints one line of JSON for each: `{"file", "findings": [{"rule", "address", "state", "message"}]}`.
//! With examples that somebody has labelled good and bad it shows where a rule is wrong.

use serde_json::json;
use slipway_policy::{Context, Document, Engine, Limits, Pack};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::compile(&Pack::shipped(), Limits::default())?;
    let context = Context::default();
    for file in std::env::args().skip(1) {
        let plan = std::fs::read(&file).map_err(|e| format!("{file}: {e}"))?;
        let document = Document { changes: &[], terraform: Some(&plan), context: &context };
        let findings: Vec<_> = engine
            .evaluate(&document)
            .findings
            .into_iter()
            .map(|f| json!({"rule": f.rule, "address": f.address, "state": f.state, "message": f.message}))
            .collect();
        println!("{}", json!({"file": file, "findings": findings}));
    }
    Ok(())
}
