//! How long the shipped pack takes: a tool for whoever works on its speed.
//!
//! `cargo run --release -p slipway-policy --example speed -- PLAN.json…` prints one line of JSON for
//! each file: the best and the mean of many judgements, and what building the input takes of it.
//! Without files, a plan without resources is judged: what any plan costs.

use std::time::{Duration, Instant};

use serde_json::json;
use slipway_policy::{Context, Document, Engine, Limits, Pack};

/// How long each is repeated.
const PATIENCE: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::compile(&Pack::shipped(), Limits::default())?;
    let context = Context::default();
    let mut plans = vec![("nothing".to_owned(), br#"{"resource_changes": []}"#.to_vec())];
    let files: Vec<String> = std::env::args().skip(1).collect();
    for file in files {
        let plan = std::fs::read(&file).map_err(|e| format!("{file}: {e}"))?;
        plans.push((file, plan));
    }
    for (file, plan) in plans {
        let document = Document { changes: &[], terraform: Some(&plan), context: &context };
        let findings = engine.evaluate(&document).findings.len();
        let (best, mean) = measure(|| drop(engine.evaluate(&document)));
        let (input, _) = measure(|| drop(engine.input(&document)));
        println!(
            "{}",
            json!({"file": file, "bytes": plan.len(), "findings": findings, "best_ms": best,
                "mean_ms": mean, "input_as_json_ms": input})
        );
    }
    Ok(())
}

/// The best and the mean, in ms.
fn measure(mut once: impl FnMut()) -> (f64, f64) {
    once();
    let (mut best, mut times) = (f64::MAX, 0.0);
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let one = Instant::now();
        once();
        best = best.min(one.elapsed().as_secs_f64() * 1e3);
        times += 1.0;
    }
    (best, begin.elapsed().as_secs_f64() * 1e3 / times)
}
