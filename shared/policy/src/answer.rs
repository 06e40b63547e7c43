//! What is asked of a pack: every package by itself, several at a time.
//!
//! Packages share nothing but helpers, so each is evaluated on a copy of the interpreter of its own;
//! a pack of several is judged on several threads.

use std::io;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use regorus::Value;

use crate::engine::{explain, timer};
use crate::lint::Outline;
use crate::room::with_rooms;

/// What a package may say.
const KINDS: [&str; 5] = ["deny", "warn", "require_role", "unknown", "result"];

/// Threads that judge one plan.
const THREADS: usize = 4;

/// On how many threads a plan is judged here.
pub(crate) fn threads() -> usize {
    available_parallelism().map_or(1, NonZero::get).min(THREADS)
}

/// One question: a package and what it says there.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    package: String,
    /// The kind of all that is said; without one every entry is `{"as": …, "it": …}`.
    kind: Option<&'static str>,
    /// The rule that says it.
    path: String,
}

/// One thing that was said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) package: String,
    pub(crate) kind: String,
    pub(crate) it: Value,
}

/// What to ask, and the module that some of the questions are in.
pub(crate) fn asks(outline: &Outline) -> (Vec<Ask>, String) {
    use std::fmt::Write as _;
    let mut text = String::from("package slipway_answer\n\nimport rego.v1\n\n");
    let (mut asks, mut rules) = (Vec::new(), Vec::new());
    for (package, names) in &outline.packages {
        let said: Vec<&'static str> =
            KINDS.into_iter().filter(|kind| names.contains(*kind)).collect();
        match said.as_slice() {
            [] => {}
            // A set can be taken as it is. Of anything else the interpreter takes the members.
            [kind] if outline.sets.contains(&format!("{package}.{kind}")) => asks.push(Ask {
                package: package.clone(),
                kind: Some(kind),
                path: format!("data.{package}.{kind}"),
            }),
            said => {
                let name = format!("answer_{}", asks.len());
                for kind in said {
                    let _ = writeln!(
                        text,
                        "{name} contains {{\"as\": \"{kind}\", \"it\": it}} if {{\n\tsome it in data.{package}.{kind}\n}}\n",
                    );
                }
                let path = format!("data.slipway_answer.{name}");
                asks.push(Ask { package: package.clone(), kind: None, path });
            }
        }
        if names.contains("rules") {
            rules.push(format!("data.{package}.rules"));
        }
    }
    let _ = writeln!(text, "rules := [{}]", rules.join(", "));
    (asks, text)
}

/// Asks everything, within a time for all of it. What is said has at most so many bytes as JSON.
pub(crate) fn ask_all(
    base: &regorus::Engine,
    asks: &[Ask],
    input: &Value,
    time: Duration,
    most: usize,
) -> Result<Vec<Said>, String> {
    let begin = Instant::now();
    let next = AtomicUsize::new(0);
    let answers: Mutex<Vec<(usize, Result<Value, String>)>> = Mutex::default();
    let work = || {
        let mut engine: Option<regorus::Engine> = None;
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(ask) = asks.get(at) else { return };
            let engine = engine.get_or_insert_with(|| {
                let mut engine = base.clone();
                engine.set_input(input.clone());
                engine
            });
            engine.set_execution_timer_config(timer(time.saturating_sub(begin.elapsed())));
            let answer = engine.eval_rule(ask.path.clone()).map_err(|e| explain(&e, time));
            let failed = answer.is_err();
            answers.lock().unwrap_or_else(PoisonError::into_inner).push((at, answer));
            if failed {
                // The answer of the whole is known: nobody needs the rest.
                next.store(asks.len(), Ordering::Relaxed);
            }
        }
    };
    with_rooms(threads().min(asks.len()), &work)?;
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_by_key(|(at, _)| *at);
    let mut left = Counter { left: most };
    let mut said = Vec::new();
    for (at, answer) in answers {
        let answer = answer?;
        if answer != Value::Undefined {
            serde_json::to_writer(&mut left, &answer)
                .map_err(|_| format!("The answer of the policy is larger than {most} bytes."))?;
        }
        if let Some(ask) = asks.get(at) {
            read(ask, &answer, &mut said)?;
        }
    }
    Ok(said)
}

fn read(ask: &Ask, answer: &Value, said: &mut Vec<Said>) -> Result<(), String> {
    let entries = match answer {
        Value::Undefined => return Ok(()),
        Value::Set(entries) => entries,
        _ => return Err("The policy did not answer.".to_owned()),
    };
    for entry in entries.iter() {
        let (kind, it) = match ask.kind {
            Some(kind) => (kind.to_owned(), entry.clone()),
            None => (text(&entry["as"]).unwrap_or_default().to_owned(), entry["it"].clone()),
        };
        said.push(Said { package: ask.package.clone(), kind, it });
    }
    Ok(())
}

pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Counts what is written, and stops when it is too much.
struct Counter {
    left: usize,
}

impl io::Write for Counter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.left =
            self.left.checked_sub(buf.len()).ok_or_else(|| io::Error::other("too large"))?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
