//! What must hold between the ledger, which is outside of the product, and what the product says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slipway_domain::event::EventBody;
use slipway_domain::state::DeploymentState as S;

use super::{Found, Promise, View};

/// A process whose worker has lost its lease and is well is killed at once; this is for a machine
/// that has more to do than it can.
const ZOMBIE: Duration = Duration::from_secs(4);
/// One whose worker is dead or frozen is killed before its lease is over; this is for the moments
/// between two looks, and for those in which what was frozen itself goes on and is killed.
const UNWATCHED: Duration = Duration::from_secs(1);

pub(super) fn once(view: &View<'_>, found: &mut Found) {
    for line in &view.all.broken {
        found.add(Promise::Once, format!("the ledger has a line that is none: {line:?}"));
    }
    for (name, lines) in &view.ledger {
        let Some(asked) = view.all.history.asked.get(*name) else {
            found.add(Promise::Once, format!("{name} was applied and is asked for by nobody"));
            continue;
        };
        let deployment = view.deployments().find(|d| d.name == *name);
        let indexes: BTreeSet<_> = lines.iter().map(|line| line.index).collect();
        for index in indexes {
            let again = |start| {
                let mut at: Vec<_> = lines
                    .iter()
                    .filter(|line| line.index == index && line.start == start)
                    .map(|line| line.at_us)
                    .collect();
                at.sort_unstable();
                at.windows(2).filter(|pair| !view.replaced(deployment, pair[0], pair[1])).count()
            };
            let (begun, made) = (again(true), again(false));
            let anew = deployment.map_or(0, |deployment| view.tainted(deployment, index));
            found.unless(begun <= anew, Promise::Once, || {
                format!("resource {index} of {name} was begun twice: {begun} more, tainted {anew}")
            });
            found.unless(made == 0, Promise::Once, || {
                format!("resource {index} of {name} was made twice")
            });
        }
        let runs: BTreeSet<_> = lines.iter().map(|l| &l.run).collect();
        // Once for each time that the house began to apply it: a recovery may go on with the rest.
        let applies = deployment.map_or(0, |deployment| {
            view.turns(deployment.id).iter().filter(|turn| turn.to == S::Applying).count()
        });
        found.unless(runs.len() <= applies, Promise::Once, || {
            format!("{name} was applied by {} processes in {applies} applies: {runs:?}", runs.len())
        });
        for line in lines {
            found.unless(line.index < asked.resources, Promise::Once, || {
                format!("{name} has no resource {}, which was made", line.index)
            });
            let begun = lines.iter().any(|l| l.start && l.index == line.index && l.pid == line.pid);
            found.unless(begun, Promise::Once, || {
                format!("resource {} of {name} ended and never began", line.index)
            });
        }
    }
    for deployment in view.deployments().filter(|d| d.state == S::Succeeded) {
        let Some(asked) = view.all.history.asked.get(&deployment.name) else { continue };
        let made: BTreeSet<_> =
            view.lines(deployment).iter().filter(|l| !l.start).map(|l| l.index).collect();
        found.unless(made.iter().copied().eq(0..asked.resources), Promise::Once, || {
            let (id, name) = (deployment.id, &deployment.name);
            format!(
                "{id} ({name}) succeeded with {} resources, and {made:?} were made",
                asked.resources
            )
        });
    }
}

/// What was applied is the latest plan before the apply, and a yes to it was said after it was made.
pub(super) fn approved(view: &View<'_>, found: &mut Found) {
    for deployment in view.deployments() {
        let (id, name) = (deployment.id, &deployment.name);
        let applies: Vec<_> =
            view.turns(id).into_iter().filter(|turn| turn.to == S::Applying).collect();
        for apply in &applies {
            let plan = view.events(id).iter().rev().filter(|e| e.seq < apply.seq).find_map(|e| {
                match &e.body {
                    EventBody::PlanReady { plan } => Some((e.at_us, plan.digest.as_str())),
                    _ => None,
                }
            });
            let approved = |made_us: i64, digest: &str| {
                view.audit(id).iter().any(|row| {
                    row.action == "deployment.approve"
                        && row.detail["plan_digest"] == digest
                        && (made_us..=apply.at_us).contains(&row.at_us)
                })
            };
            // Or it was proved to be inside a plan to which a yes was said before.
            let carried = |digest: &str| {
                let resumed = view.audit(id).iter().find(|row| {
                    row.action == "deployment.resume" && row.detail["plan_digest"] == digest
                });
                resumed.is_some_and(|row| {
                    row.detail["approved_plan_digest"]
                        .as_str()
                        .is_some_and(|seen| approved(0, seen))
                })
            };
            let yes =
                plan.is_some_and(|(made_us, digest)| approved(made_us, digest) || carried(digest));
            found.unless(yes, Promise::Approved, || {
                format!("{id} ({name}) was applied, and nobody approved {plan:?}")
            });
        }
        let begun_us = applies.first().map(|apply| apply.at_us);
        let early = |at_us| begun_us.is_none_or(|begun_us| at_us < begun_us);
        for line in view.lines(deployment).iter().filter(|l| early(l.at_us)) {
            found.add(
                Promise::Approved,
                format!("resource {} of {id} ({name}) was touched before its apply", line.index),
            );
        }
    }
}

/// From the first to the last line of one run of an apply, no other run of the stack's applies has
/// any. A deployment whose apply was lost may have several: while a person is asked for a yes to what
/// is left, others have their turn.
pub(super) fn one_apply(view: &View<'_>, found: &mut Found) {
    let mut stacks: BTreeMap<&str, Vec<(i64, i64, &str)>> = BTreeMap::new();
    for (name, lines) in &view.ledger {
        let Some(asked) = view.all.history.asked.get(*name) else { continue };
        if asked.answers.first().is_some_and(|id| view.careless(*id)) {
            continue;
        }
        let mut runs: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for line in lines {
            let (first, last) = runs.entry(&line.run).or_insert((line.at_us, line.at_us));
            (*first, *last) = ((*first).min(line.at_us), (*last).max(line.at_us));
        }
        let spans = runs.into_values().map(|(first, last)| (first, last, *name));
        stacks.entry(&asked.stack).or_default().extend(spans);
    }
    for (stack, mut spans) in stacks {
        spans.sort_unstable();
        for pair in spans.windows(2) {
            let ((_, last, one), (first, _, other)) = (pair[0], pair[1]);
            found.unless(last < first, Promise::OneApply, || {
                format!(
                    "{one} and {other} of {stack} were applied at once, for {} us",
                    last - first
                )
            });
        }
    }
}

/// Nobody writes for an apply that is over, and nobody goes on with it.
pub(super) fn fenced(view: &View<'_>, found: &mut Found) {
    for pair in view.all.rows.states.windows(2).filter(|pair| pair[0].stack == pair[1].stack) {
        let (one, next) = (&pair[0], &pair[1]);
        let follows = next.version == one.version + 1
            && (next.lineage != one.lineage || next.serial > one.serial);
        found.unless(follows, Promise::Fenced, || {
            format!(
                "state {} (serial {}) of {} is followed by {} (serial {})",
                one.version, one.serial, one.stack, next.version, next.serial
            )
        });
    }
    // What a dead worker left on its machine is taken in until it is known what it did.
    let at_work = |state: S| {
        use S::{Applying, Interrupted, NeedsAttention, Recovering, Verifying};
        matches!(state, Applying | Verifying | Interrupted | Recovering | NeedsAttention)
    };
    for state in &view.all.rows.states {
        let turns = view.turns(state.deployment);
        let begun = turns.iter().find(|turn| turn.to == S::Applying).map(|turn| turn.at_us);
        let ended = turns
            .iter()
            .rev()
            .find(|turn| at_work(turn.from))
            .filter(|turn| !at_work(turn.to))
            .map(|turn| turn.at_us);
        let inside = begun.is_some_and(|begun| begun <= state.at_us)
            && ended.is_none_or(|ended| state.at_us <= ended);
        found.unless(inside, Promise::Fenced, || {
            format!(
                "state {} of {} was written by {} outside of its apply",
                state.version, state.stack, state.deployment
            )
        });
    }
    // A person frees a stack when nothing of the lost apply runs any more: what the ledger has
    // after that is of a process that was started without a lease.
    for deployment in view.deployments() {
        if view.careless(deployment.id) {
            continue;
        }
        let turns = view.turns(deployment.id);
        let Some(end) = turns.iter().find(|turn| turn.to.is_terminal()) else { continue };
        for line in view.lines(deployment).iter().filter(|l| l.at_us > end.at_us) {
            let (id, name) = (deployment.id, &deployment.name);
            found.add(
                Promise::Fenced,
                format!("resource {} of {id} ({name}) was touched after its end", line.index),
            );
        }
    }
    let seen = &view.all.seen;
    found.unless(seen.zombie <= ZOMBIE, Promise::Fenced, || {
        format!("{:?} went on for {:?} without its lease", seen.zombie_run, seen.zombie)
    });
    for (who, how_long) in [("dead", seen.orphan), ("frozen", seen.frozen)] {
        found.unless(how_long <= UNWATCHED, Promise::Fenced, || {
            format!("a run of a {who} worker went on for {how_long:?} after the end of its lease")
        });
    }
}
