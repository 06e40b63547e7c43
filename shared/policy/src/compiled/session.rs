//! One input that is judged, by several threads at once.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use regorus::Value;

use super::Program;
use super::run::Machine;

/// Why it ended early. What then follows is a deny.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The time is over.
    Late,
    /// What the pack asks for cannot be done.
    Failed(String),
}

/// One thing that a pack says of a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told<'p> {
    /// Which of the packages says it.
    pub(crate) package: usize,
    pub(crate) rule: Cow<'p, Value>,
    pub(crate) address: Cow<'p, Value>,
    /// What is wrong, if it is.
    pub(crate) message: Cow<'p, Value>,
    /// Whether it is certain; otherwise it is known only after apply.
    pub(crate) certain: bool,
}

/// The value of a rule, once it has been worked out.
pub(crate) type Worked = OnceLock<Result<Option<Value>, Stop>>;

/// What several threads that judge one input share.
pub(crate) struct Session<'p> {
    program: &'p Program,
    input: &'p Value,
    deadline: Instant,
    values: &'p [Worked],
    next: &'p AtomicUsize,
}

impl Program {
    /// The name of a package.
    pub(crate) fn package(&self, number: usize) -> &str {
        self.packages.get(number).map_or("", String::as_str)
    }

    /// Room for the values of rules, each of which is worked out once.
    pub(crate) fn values(&self) -> Vec<Worked> {
        self.rules.iter().map(|_| OnceLock::new()).collect()
    }

    /// Begins to judge. Those who judge together share the values and what comes `next`.
    pub(crate) const fn session<'p>(
        &'p self,
        input: &'p Value,
        values: &'p [Worked],
        next: &'p AtomicUsize,
        deadline: Instant,
    ) -> Session<'p> {
        Session { program: self, input, deadline, values, next }
    }
}

impl<'p> Session<'p> {
    /// Judges, until nothing is left that no other thread has taken.
    pub(crate) fn work(&self) -> Result<Vec<Told<'p>>, Stop> {
        let mut machine = Machine::new(self.program, self.input, self.values, self.deadline);
        let mut told = Vec::new();
        while let Some((package, result)) =
            self.program.results.get(self.next.fetch_add(1, Ordering::Relaxed))
        {
            if let Err(stop) = machine.result(*package, result, &mut told) {
                // What follows is known: nobody needs the rest.
                self.next.store(self.program.results.len(), Ordering::Relaxed);
                return Err(stop);
            }
        }
        Ok(told)
    }
}
