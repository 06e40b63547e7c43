//! The tests that a pack brings: rules called `test_…`, which must be true.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use regorus::Value;

use crate::engine::{explain, load, timer};
use crate::error::{PackError, Problem};
use crate::limits::Limits;
use crate::lint;
use crate::pack::Pack;
use crate::room::with_room;

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
    /// The file that it is in.
    pub file: String,
    /// Its line there, from 1; 0 when it could not be found.
    pub line: u32,
}

impl TestReport {
    /// What is wrong with the pack, when the test did not pass.
    pub fn problem(&self) -> Option<Problem> {
        let why = match &self.outcome {
            TestOutcome::Passed => return None,
            TestOutcome::Failed => "it is false or undefined",
            TestOutcome::Error(why) => why.as_str(),
        };
        Some(Problem {
            file: self.file.clone(),
            line: self.line,
            column: self.line.min(1),
            message: format!("The test `{}` failed: {why}", self.name),
        })
    }
}

/// Runs the tests of a pack, each within the time of an evaluation, and all within theirs. Those for
/// which no time is left have failed.
pub fn run_tests(pack: &Pack, limits: Limits) -> Result<Vec<TestReport>, PackError> {
    with_room(|| run_here(pack, limits)).unwrap_or_else(|why| Err(Problem::whole(why).into()))
}

fn run_here(pack: &Pack, limits: Limits) -> Result<Vec<TestReport>, PackError> {
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
    let begin = Instant::now();
    Ok(names
        .into_iter()
        .map(|name| {
            let left = limits.tests_time.saturating_sub(begin.elapsed()).min(limits.time);
            let outcome = run(&base, &name, left, &limits);
            let (file, line) = place(pack, &name);
            TestReport { name, outcome, file, line }
        })
        .collect())
}

fn run(base: &regorus::Engine, name: &str, time: Duration, limits: &Limits) -> TestOutcome {
    if time.is_zero() {
        let seconds = limits.tests_time.as_secs_f32();
        return TestOutcome::Error(format!(
            "it was not run, because the tests before it took all of their {seconds} s"
        ));
    }
    let mut engine = base.clone();
    engine.set_execution_timer_config(timer(time));
    engine.set_input(Value::new_object());
    // The interpreter promises not to panic. A server does not rest on promises.
    let said = catch_unwind(AssertUnwindSafe(|| engine.eval_rule(format!("data.{name}"))));
    match said {
        Ok(Ok(value)) if value == Value::from(true) => TestOutcome::Passed,
        Ok(Ok(_)) => TestOutcome::Failed,
        Ok(Err(error)) => TestOutcome::Error(explain(&error, time)),
        Err(_) => TestOutcome::Error("the interpreter broke down".to_owned()),
    }
}

/// Where the text of a test begins.
fn place(pack: &Pack, name: &str) -> (String, u32) {
    let (package, rule) = name.rsplit_once('.').unwrap_or_default();
    for module in pack.modules() {
        let mut inside = false;
        for (at, line) in module.text.lines().enumerate() {
            let mut words = line.split(|c: char| c.is_whitespace() || c == ':' || c == '=');
            match words.next() {
                Some("package") => inside = line["package".len()..].trim().starts_with(package),
                Some(first) if inside && first == rule => {
                    return (module.path.clone(), u32::try_from(at + 1).unwrap_or_default());
                }
                _ => {}
            }
        }
    }
    (String::new(), 0)
}
