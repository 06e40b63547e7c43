//! What must hold among the rows, and between them and what clients were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slipway_domain::event::EventBody;
use slipway_domain::id::JobId;
use slipway_domain::state::{DeploymentState as S, Move};

use super::{Found, Promise, Turn, View, without_holes};

/// How a deployment may fail in bad times. Anything else is a surprise.
const REASONS: [&str; 3] = [
    // Cut off or frozen for nearly as long as its lease: the same.
    "because its lease could not be renewed in time",
    // Drained: asked to stop, and what was made is recorded.
    "because its worker was shut down",
    "everything was applied, but its health was not looked at",
];

/// A lease that is over is noticed by a loop that looks every second, and whose own lease, when its
/// process is gone, is over after three. The rest is for a machine that has more to do than it can.
const OVERDUE: Duration = Duration::from_secs(15);

pub(super) fn kept(view: &View<'_>, found: &mut Found) {
    let history = &view.all.history;
    for asked in history.asked.values() {
        found.unless(!asked.answers.is_empty(), Promise::Kept, || {
            format!("{} was never accepted", asked.name)
        });
        for id in asked.answers.iter().filter(|id| !view.by_id.contains_key(id)) {
            found.add(Promise::Kept, format!("{id} ({}) was accepted and is lost", asked.name));
        }
    }
    for (id, digest) in &history.approved {
        let there = view.audit(*id).iter().any(|row| {
            row.action == "deployment.approve" && row.detail["plan_digest"] == digest.as_str()
        });
        found.unless(there, Promise::Kept, || {
            format!("the approval of {digest} of {id} was accepted and is lost")
        });
    }
    for id in &history.cancelled {
        let there = view.audit(*id).iter().any(|row| row.action == "deployment.cancel");
        found.unless(there, Promise::Kept, || {
            format!("the request to stop {id} was accepted and is lost")
        });
    }
    for deployment in view.deployments() {
        let (id, name, state) = (deployment.id, &deployment.name, deployment.state);
        let lost: Vec<_> = view.jobs(id).iter().filter(|job| job.state == "lost").collect();
        let stands = state.is_terminal() || state == S::NeedsAttention;
        found.unless(stands, Promise::Kept, || format!("{id} ({name}) is still {state}"));
        let interrupted = view.turns(id).iter().filter(|turn| turn.to == S::Interrupted).count();
        let rule = lost.len() == interrupted;
        found.unless(rule, Promise::Kept, || {
            format!("{id} ({name}): interrupted {interrupted}, lost jobs {}", lost.len())
        });
        for job in lost {
            found.unless(job.kind == "apply", Promise::Kept, || {
                format!("{id} ({name}): a lost {} is made again", job.kind)
            });
            found.unless(view.explained(job), Promise::Kept, || {
                format!("{id} ({name}): {} was lost, and nothing had happened to it", job.id)
            });
            let recovered = view.turns(id).iter().any(|turn| {
                turn.from == S::Recovering
                    && matches!(turn.to, S::Approved | S::Verifying | S::Planned)
            });
            found.unless(state != S::Succeeded || recovered, Promise::Kept, || {
                format!("{id} ({name}) is said to have succeeded, and its apply was lost")
            });
        }
        let known = REASONS.iter().any(|reason| deployment.reason.contains(reason));
        found.unless(state != S::Failed || known, Promise::Kept, || {
            format!("{id} ({name}) failed: {}", deployment.reason)
        });
        found.unless(!name.starts_with("after") || state == S::Succeeded, Promise::Kept, || {
            format!("{id} ({name}) came when all was well again, and is {state}")
        });
        let fitting = !matches!(state, S::Expired | S::NoChanges | S::Blocked | S::RolledBack);
        found.unless(fitting, Promise::Kept, || {
            format!("{id} ({name}) is {state}, and nobody asked for what leads there")
        });
    }
}

pub(super) fn same_answer(view: &View<'_>, found: &mut Found) {
    let mut named: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for deployment in view.deployments() {
        named.entry(&deployment.name).or_default().push(deployment.id);
    }
    for (name, ids) in &named {
        found.unless(ids.len() == 1, Promise::SameAnswer, || {
            format!("{name} was asked for with one key and made {} times: {ids:?}", ids.len())
        });
        found.unless(view.all.history.asked.contains_key(*name), Promise::SameAnswer, || {
            format!("{ids:?} ({name}) was asked for by nobody")
        });
    }
    for deployment in view.deployments() {
        let asked = view.all.history.asked.get(&deployment.name);
        let right = asked.is_none_or(|asked| asked.stack == deployment.stack);
        found.unless(right, Promise::SameAnswer, || {
            let (id, name) = (deployment.id, &deployment.name);
            format!("{id} ({name}) is of stack {}, which nobody asked for", deployment.stack)
        });
    }
    for asked in view.all.history.asked.values() {
        let ids: BTreeSet<_> = asked.answers.iter().collect();
        found.unless(ids.len() <= 1, Promise::SameAnswer, || {
            format!("{}: one key was answered with {ids:?}", asked.name)
        });
    }
}

pub(super) fn leases(view: &View<'_>, found: &mut Found) {
    for deployment in view.deployments() {
        let (id, state) = (deployment.id, deployment.state);
        let jobs = view.jobs(id);
        for job in jobs.iter().filter(|job| job.state == "running" && !job.leased) {
            found.add(Promise::Leases, format!("{} of {id} runs without a lease", job.id));
        }
        let active: Vec<_> =
            jobs.iter().filter(|job| job.state == "queued" || job.state == "running").collect();
        for job in &active {
            let owed = match job.kind.as_str() {
                "plan" => matches!(state, S::Submitted | S::Planning),
                "recover" => matches!(state, S::Recovering | S::Verifying),
                _ => matches!(state, S::Approved | S::Applying | S::Verifying),
            };
            found.unless(owed, Promise::Leases, || {
                format!("{} is {}, and {id} is {state}", job.id, job.state)
            });
        }
        found.unless(active.len() <= 1, Promise::Leases, || {
            format!("{id} has {} jobs at once", active.len())
        });
        let waits = matches!(
            state,
            S::Submitted | S::Planning | S::Applying | S::Verifying | S::Recovering
        ) || (state == S::Approved && deployment.auto_apply);
        found.unless(!waits || active.len() == 1, Promise::Leases, || {
            format!("{id} is {state}, and no job goes on with it")
        });
    }
    let overdue = view.all.seen.overdue;
    found.unless(overdue <= OVERDUE, Promise::Leases, || {
        format!("a job was running {overdue:?} after the end of its lease")
    });
}

pub(super) fn sequences(view: &View<'_>, found: &mut Found) {
    let mut logs: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for (id, seq) in &view.all.rows.logs {
        logs.entry(*id).or_default().push(*seq);
    }
    for deployment in view.deployments() {
        let (id, events) = (deployment.id, view.events(deployment.id));
        let whole = without_holes(events.iter().map(|e| e.seq), deployment.event_seq);
        found.unless(whole, Promise::Sequences, || {
            let seqs: Vec<_> = events.iter().map(|e| e.seq).collect();
            format!("the events of {id} up to {} are {seqs:?}", deployment.event_seq)
        });
        let lines = logs.get(&id).map(Vec::as_slice).unwrap_or_default();
        let whole = without_holes(lines.iter().copied(), deployment.log_seq);
        found.unless(whole, Promise::Sequences, || {
            format!("the log lines of {id} up to {} are {lines:?}", deployment.log_seq)
        });
        let first = events.first().map(|e| &e.body);
        found.unless(
            matches!(first, Some(EventBody::Submitted { .. })),
            Promise::Sequences,
            || format!("the first event of {id} is {first:?}"),
        );
        let turns = view.turns(id);
        let mut at = S::Submitted;
        for Turn { from, to, seq, .. } in &turns {
            found.unless(*from == at, Promise::Sequences, || {
                format!("event {seq} of {id} goes from {from}, and it was {at}")
            });
            let legal = Move::ALL.iter().any(|by| from.next(*by) == Ok(*to));
            found.unless(legal, Promise::Sequences, || {
                format!("event {seq} of {id} goes from {from} to {to}")
            });
            at = *to;
        }
        found.unless(at == deployment.state, Promise::Sequences, || {
            format!("{id} is {}, and its events say {at}", deployment.state)
        });
        // The end is the last thing that is said.
        let end = turns.iter().find(|turn| turn.to.is_terminal()).map(|turn| turn.seq);
        if let (Some(end), Some(last)) = (end, events.last()) {
            found.unless(last.seq == end, Promise::Sequences, || {
                format!("{id} ended with event {end}, and {} follow", last.seq - end)
            });
        }
    }
}

/// Whoever follows, or goes on following at another replica, is given what the rows have.
pub(super) fn streams(view: &View<'_>, found: &mut Found) {
    for stream in &view.all.streams {
        let events = view.events(stream.of).iter().map(|event| event.seq);
        let wanted: Vec<_> = events.filter(|seq| *seq > stream.after).collect();
        found.unless(stream.given == wanted, Promise::Sequences, || {
            let super::Stream { of, after, given } = stream;
            format!("who followed {of} after {after} was given {given:?}, not {wanted:?}")
        });
    }
}

pub(super) fn audit(view: &View<'_>, found: &mut Found) {
    for deployment in view.deployments() {
        let id = deployment.id;
        let rows = view.audit(id);
        let submitted = rows.iter().filter(|row| row.action == "deployment.submit").count();
        found.unless(submitted == 1, Promise::Audit, || {
            format!("{id} has {submitted} records of its submission")
        });
        // A move and its event are written in one unit of work, with one time.
        let mut records: Vec<_> = rows
            .iter()
            .filter(|row| row.detail["asked"] != true)
            .filter_map(|row| {
                let by = Move::parse(row.action.strip_prefix("deployment.")?)?;
                Some((row.at_us, by))
            })
            .collect();
        for turn in view.turns(id) {
            let fits = |(at_us, by): &(i64, Move)| {
                *at_us == turn.at_us && turn.from.next(*by) == Ok(turn.to)
            };
            match records.iter().position(fits) {
                Some(index) => drop(records.remove(index)),
                None => found.add(
                    Promise::Audit,
                    format!("{id} went from {} to {} without a record", turn.from, turn.to),
                ),
            }
        }
        for (_, by) in records {
            found.add(Promise::Audit, format!("{id} has a record of {by} that never happened"));
        }
    }
}

pub(super) fn traces(view: &View<'_>, found: &mut Found) {
    let mut wanted: BTreeMap<JobId, &str> = BTreeMap::new();
    for deployment in view.deployments() {
        let id = deployment.id;
        let Some(trace) = deployment.trace.as_deref() else {
            found.add(Promise::Trace, format!("{id} belongs to no trace"));
            continue;
        };
        for job in view.jobs(id) {
            wanted.insert(job.id, trace);
            found.unless(job.trace.as_deref() == Some(trace), Promise::Trace, || {
                format!("{} of {id} is of trace {:?}, not {trace}", job.id, job.trace)
            });
        }
        for row in view.audit(id).iter().filter(|row| row.system) {
            found.unless(row.trace.as_deref() == Some(trace), Promise::Trace, || {
                format!("{} of {id} is of trace {:?}, not {trace}", row.action, row.trace)
            });
        }
    }
    for (job, trace) in &view.all.said.traces {
        // A job that is not in the rows is found elsewhere.
        let Some(wanted) = wanted.get(job) else { continue };
        found.unless(trace.as_deref() == Some(*wanted), Promise::Trace, || {
            format!("a worker ran {job} in trace {trace:?}, not {wanted}")
        });
    }
}
