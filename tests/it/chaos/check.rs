//! The checker: looks at what a run was asked for and what it left behind, and says what of the
//! design's promises was not kept. Pure; it asks nobody and changes nothing.

mod effects;
mod rows;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use slipway_domain::event::EventBody;
use slipway_domain::id::DeploymentId;
use slipway_domain::state::DeploymentState as S;

use super::fleet::Exit;
use super::history::History;
use super::nemesis::{Act, Incident};
use super::record::{AuditRow, DeploymentRow, EventRow, JobRow, Line, Rows, Said};
use super::watch::Seen;

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Promise {
    /// What was accepted is there, and comes to an end; what was answered with yes was done.
    Kept,
    /// No change is made twice, and what is said to be made is made.
    Once,
    /// Nothing is applied that was not approved.
    Approved,
    /// One apply a stack.
    OneApply,
    /// The same idempotency key, the same deployment.
    SameAnswer,
    /// Nothing runs without a lease, nothing waits that nobody owes.
    Leases,
    /// Numbers without holes, nothing after the end, the row says what the events say.
    Sequences,
    /// Every change is on the record.
    Audit,
    /// One trace from the request to the job.
    Trace,
    /// Who has no lease changes nothing: neither rows nor the world.
    Fenced,
    /// No process ends by itself, panics, or refuses to end.
    Processes,
    /// Bad times are no reason for bad answers.
    Answers,
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) promise: Promise,
    pub(super) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.what)
    }
}

/// Everything that is known about a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    pub(super) history: History,
    pub(super) rows: Rows,
    pub(super) ledger: Vec<Line>,
    /// Lines of the ledger that are none.
    pub(super) broken: Vec<String>,
    pub(super) said: Said,
    pub(super) incidents: Vec<Incident>,
    pub(super) exits: Vec<Exit>,
    pub(super) seen: Seen,
    /// Streams of events that were followed at the end.
    pub(super) streams: Vec<Stream>,
}

/// What a client was given that followed a deployment from some number on.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) of: DeploymentId,
    /// The last number that it knew.
    pub(super) after: i64,
    pub(super) given: Vec<i64>,
}

/// Violations that were found.
#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, promise: Promise, what: impl Into<String>) {
        self.0.push(Violation { promise, what: what.into() });
    }

    fn unless(&mut self, holds: bool, promise: Promise, what: impl FnOnce() -> String) {
        if !holds {
            self.add(promise, what());
        }
    }
}

/// The evidence, sorted by what it is about.
struct View<'e> {
    all: &'e Evidence,
    by_id: BTreeMap<DeploymentId, &'e DeploymentRow>,
    events: BTreeMap<DeploymentId, Vec<&'e EventRow>>,
    jobs: BTreeMap<DeploymentId, Vec<&'e JobRow>>,
    audit: BTreeMap<String, Vec<&'e AuditRow>>,
    ledger: BTreeMap<&'e str, Vec<&'e Line>>,
}

/// A change of state, as the events tell it.
#[derive(Debug, Clone, Copy)]
struct Turn {
    seq: i64,
    from: S,
    to: S,
    at_us: i64,
}

impl<'e> View<'e> {
    fn new(all: &'e Evidence) -> Self {
        let mut view = Self {
            all,
            by_id: all.rows.deployments.iter().map(|d| (d.id, d)).collect(),
            events: BTreeMap::new(),
            jobs: BTreeMap::new(),
            audit: BTreeMap::new(),
            ledger: BTreeMap::new(),
        };
        for event in &all.rows.events {
            view.events.entry(event.deployment).or_default().push(event);
        }
        for job in &all.rows.jobs {
            view.jobs.entry(job.deployment).or_default().push(job);
        }
        for audit in &all.rows.audit {
            view.audit.entry(audit.target.clone()).or_default().push(audit);
        }
        for line in &all.ledger {
            view.ledger.entry(line.name.as_str()).or_default().push(line);
        }
        view
    }

    fn deployments(&self) -> impl Iterator<Item = &'e DeploymentRow> + use<'e> {
        self.all.rows.deployments.iter()
    }

    fn events(&self, of: DeploymentId) -> &[&'e EventRow] {
        self.events.get(&of).map(Vec::as_slice).unwrap_or_default()
    }

    fn jobs(&self, of: DeploymentId) -> &[&'e JobRow] {
        self.jobs.get(&of).map(Vec::as_slice).unwrap_or_default()
    }

    fn audit(&self, of: DeploymentId) -> &[&'e AuditRow] {
        self.audit.get(&of.to_string()).map(Vec::as_slice).unwrap_or_default()
    }

    fn lines(&self, of: &DeploymentRow) -> &[&'e Line] {
        self.ledger.get(of.name.as_str()).map(Vec::as_slice).unwrap_or_default()
    }

    fn turns(&self, of: DeploymentId) -> Vec<Turn> {
        let turn = |event: &&EventRow| match &event.body {
            EventBody::StateChanged { from, to, .. } => {
                Some(Turn { seq: event.seq, from: *from, to: *to, at_us: event.at_us })
            }
            _ => None,
        };
        self.events(of).iter().filter_map(turn).collect()
    }

    /// Whether a client who had not looked set the stack free after an apply was lost: they wanted
    /// to stop it, and were answered after it had been lost. What such a one brings about is not
    /// the product's.
    fn careless(&self, of: DeploymentId) -> bool {
        self.turns(of).iter().any(|turn| turn.from == S::NeedsAttention && turn.to.is_terminal())
            && !self.all.history.freed.contains(&of)
    }

    /// How often a resource was found half made, and recorded as such: it is removed and made anew.
    fn tainted(&self, of: &DeploymentRow, index: u32) -> usize {
        let address = format!("terraform_data.entry[{index}]");
        let reports = self.all.rows.reports.iter().filter(|(id, _)| *id == of.id);
        reports.filter(|(_, report)| report.tainted.contains(&address)).count()
    }

    /// Whether an apply of somebody else was kept for its stack between two moments: what a
    /// deployment had made before is then theirs, and making it again is what its next plan says,
    /// which a person has seen.
    fn replaced(&self, of: Option<&DeploymentRow>, after_us: i64, before_us: i64) -> bool {
        let Some(of) = of else { return false };
        let begun: Vec<_> =
            self.turns(of.id).into_iter().filter(|turn| turn.to == S::Applying).collect();
        // It was planned and begun anew after that.
        let anew = |kept_us: i64| {
            let planned = |event: &&EventRow| {
                event.at_us > kept_us && matches!(event.body, EventBody::PlanReady { .. })
            };
            self.events(of.id).iter().copied().filter(|event| planned(event)).any(|planned| {
                begun.iter().any(|turn| turn.seq > planned.seq && turn.at_us <= before_us)
            })
        };
        self.all.rows.states.iter().any(|state| {
            let whose = self.by_id.get(&state.deployment);
            state.deployment != of.id
                && whose.is_some_and(|whose| whose.stack == of.stack)
                && (after_us..before_us).contains(&state.at_us)
                && anew(state.at_us)
        })
    }

    /// Where a worker was.
    fn place(&self, job: &JobRow) -> Option<&'e str> {
        let worker = job.worker?;
        let (_, place) = self.all.said.workers.iter().find(|(id, _)| *id == worker)?;
        Some(place)
    }

    /// Whether something was done, while a job ran, that may cost it its lease.
    fn explained(&self, job: &JobRow) -> bool {
        let place = self.place(job);
        self.all.incidents.iter().any(|incident| {
            let then = incident.from_us <= job.ended_us && incident.to_us >= job.started_us;
            // A worker that is killed while it starts may not have said who it was.
            let its = place.is_none() || incident.place.as_deref() == place;
            let hard = match incident.act {
                Act::Kill | Act::Crash | Act::Freeze | Act::FreezeTree | Act::Cut => its,
                Act::Drain => its && incident.hung,
                Act::DatabaseFast | Act::DatabaseImmediate => true,
                Act::BrokerRestart | Act::BrokerEmpty => false,
            };
            then && hard
        })
    }
}

/// Everything that is wrong.
pub(super) fn check(evidence: &Evidence) -> Vec<Violation> {
    let view = View::new(evidence);
    let mut found = Found::default();
    rows::kept(&view, &mut found);
    rows::same_answer(&view, &mut found);
    rows::leases(&view, &mut found);
    rows::sequences(&view, &mut found);
    rows::streams(&view, &mut found);
    rows::audit(&view, &mut found);
    rows::traces(&view, &mut found);
    effects::once(&view, &mut found);
    effects::approved(&view, &mut found);
    effects::one_apply(&view, &mut found);
    effects::fenced(&view, &mut found);
    processes(&view, &mut found);
    found.0
}

/// An exit is no wonder when the process had just been started and the database was away.
fn processes(view: &View<'_>, found: &mut Found) {
    /// How long a process that starts waits for its database, and a margin.
    const START_US: i64 = 12_000_000;
    for exit in &view.all.exits {
        let young = exit.lived.as_micros() <= START_US.unsigned_abs().into();
        let away = view
            .all
            .incidents
            .iter()
            .filter(|i| i.of_database())
            .any(|i| i.from_us <= exit.at_us && exit.at_us <= i.to_us + START_US);
        found.unless(young && away, Promise::Processes, || {
            let Exit { place, lived, status, said, .. } = exit;
            format!("{place} ended by itself after {lived:?} ({status}):\n{said}")
        });
    }
    for panic in &view.all.said.panics {
        found.add(Promise::Processes, panic.as_str());
    }
    for incident in view.all.incidents.iter().filter(|i| i.hung) {
        let place = incident.place.as_deref().unwrap_or_default();
        found.add(Promise::Processes, format!("{place} was asked to end and did not"));
    }
    // What is not the database's or the broker's absence is a mistake of ours, whoever it is told to.
    for (what, count) in view.all.said.errors.iter().filter(|(what, _)| is_internal(what)) {
        found.add(Promise::Answers, format!("{count} times in the logs: {what}"));
    }
    for odd in &view.all.history.odd {
        found.add(Promise::Answers, odd.as_str());
    }
}

/// Whether the product took something for a mistake of its own: its faults begin with their code.
fn is_internal(error: &str) -> bool {
    error.split(": ").any(|part| part == "internal")
}

/// Whether the numbers are 1, 2, 3 … up to `last`.
fn without_holes(numbers: impl Iterator<Item = i64>, last: i64) -> bool {
    numbers.eq(1..=last)
}
