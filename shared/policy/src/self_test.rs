//! The tests that a pack brings: rules called `test_…`, which must be true.

use regorus::Value;

use crate::engine::{explain, load};
use crate::error::{PackError, Problem};
use crate::limits::Limits;
use crate::lint;
use crate::pack::Pack;

/// What came of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestOutcome {
    /// It is true.
    Passed,
    /// It is false or undefined.
    Failed,
    /// It could not be evaluated.
    Error(String),
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestReport {
    /// Package and name, e.g. `user.net.test_open`.
    pub name: String,
    /// What came of it.
    pub outcome: TestOutcome,
}

/// Runs the tests of a pack, each within the time of an evaluation.
pub fn run_tests(pack: &Pack, limits: Limits) -> Result<Vec<TestReport>, PackError> {
    let outline = lint::outline(pack, &limits)?;
    let names: Vec<String> = outline
        .packages
        .iter()
        .flat_map(|(package, names)| {
            names
                .iter()
                .filter(|name| name.starts_with("test_"))
                .map(move |name| format!("{package}.{name}"))
        })
        .collect();
    if names.len() > limits.tests {
        return Err(Problem::whole(format!(
            "The pack has {} tests; {} are the most.",
            names.len(),
            limits.tests
        ))
        .into());
    }
    let base = load(pack, &limits)?;
    Ok(names
        .into_iter()
        .map(|name| {
            let mut engine = base.clone();
            engine.set_input(Value::new_object());
            let outcome = match engine.eval_rule(format!("data.{name}")) {
                Ok(value) if value == Value::from(true) => TestOutcome::Passed,
                Ok(_) => TestOutcome::Failed,
                Err(error) => TestOutcome::Error(explain(&error, &limits)),
            };
            TestReport { name, outcome }
        })
        .collect())
}
