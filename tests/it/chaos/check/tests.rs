//! Every promise can be broken: sound evidence has no violation, and with one thing wrong in it the
//! checker says which promise was not kept.

use std::time::Duration;

use serde_json::json;
use slipway_domain::id::{DeploymentId, JobId, Mint as _, RandomMint, StackId, WorkerId};
use slipway_domain::state::Move;

use super::*;
use crate::chaos::history::Asked;
use crate::chaos::record::StateRow;

/// Writes the evidence of deployments, one after the other in time.
struct Writer {
    evidence: Evidence,
    now_us: i64,
    worker: WorkerId,
}

/// One that is being written.
struct Story {
    id: DeploymentId,
    name: String,
    at: S,
    seq: i64,
    plans: u32,
}

impl Writer {
    fn new() -> Self {
        let worker = WorkerId::new(&RandomMint);
        let mut evidence = Evidence::default();
        evidence.said.workers.push((worker, "worker-1".to_owned()));
        Self { evidence, now_us: 1_000_000_000, worker }
    }

    fn tick(&mut self) -> i64 {
        self.now_us += 1000;
        self.now_us
    }

    fn event(&mut self, story: &mut Story, body: serde_json::Value) {
        story.seq += 1;
        self.evidence.rows.events.push(EventRow {
            deployment: story.id,
            seq: story.seq,
            at_us: self.now_us,
            body: serde_json::from_value(body).unwrap(),
        });
    }

    fn record(&mut self, story: &Story, action: &str, detail: serde_json::Value, system: bool) {
        self.evidence.rows.audit.push(AuditRow {
            at_us: self.now_us,
            action: action.to_owned(),
            target: story.id.to_string(),
            detail,
            system,
            trace: Some(format!("trace-{}", story.name)),
        });
    }

    fn submit(&mut self, name: &str, stack: &str) -> Story {
        self.tick();
        let id = DeploymentId::new(&RandomMint);
        let mut story = Story { id, name: name.to_owned(), at: S::Submitted, seq: 0, plans: 0 };
        let asked = Asked {
            name: name.to_owned(),
            stack: stack.to_owned(),
            resources: 2,
            answers: vec![id, id],
        };
        self.evidence.history.asked.insert(name.to_owned(), asked);
        self.event(
            &mut story,
            json!({
                "type": "submitted",
                "stack": {"project": "p", "name": stack, "environment": "e"},
                "source": {"type": "template", "name": "ledger"},
                "by": {"kind": "person", "id": "me", "via": "rest"},
            }),
        );
        self.record(&story, "deployment.submit", json!({}), false);
        story
    }

    fn go(&mut self, story: &mut Story, by: Move) {
        self.tick();
        let to = story.at.next(by).unwrap();
        let digest = format!("digest-{}", story.name);
        if by == Move::FinishPlan {
            story.plans += 1;
            self.event(
                story,
                json!({
                    "type": "plan_ready",
                    "plan": {
                        "id": format!("pln_{}", RandomMint.uuid().simple()),
                        "number": story.plans,
                        "digest": digest,
                        "counts": slipway_domain::plan::Counts::default(),
                    },
                }),
            );
        }
        self.event(story, json!({"type": "state_changed", "from": story.at, "to": to}));
        let person = matches!(by, Move::Approve | Move::Cancel);
        let detail = if by == Move::Approve {
            self.evidence.history.approved.push((story.id, digest.clone()));
            json!({"plan_digest": digest})
        } else {
            json!({})
        };
        if by == Move::Cancel {
            self.evidence.history.cancelled.push(story.id);
        }
        self.record(story, &format!("deployment.{by}"), detail, !person);
        story.at = to;
    }

    fn job(&mut self, story: &Story, kind: &str, state: &str) {
        let job = JobRow {
            id: JobId::new(&RandomMint),
            deployment: story.id,
            kind: kind.to_owned(),
            state: state.to_owned(),
            worker: Some(self.worker),
            leased: false,
            trace: Some(format!("trace-{}", story.name)),
            started_us: self.now_us - 10_000,
            ended_us: self.now_us,
        };
        self.evidence.said.traces.push((job.id, job.trace.clone()));
        self.evidence.rows.jobs.push(job);
    }

    fn line(&mut self, story: &Story, index: u32, start: bool) {
        let at_us = self.tick();
        self.evidence.ledger.push(Line {
            name: story.name.clone(),
            run: format!("run-{}", story.name),
            index,
            pid: 100 + index,
            start,
            at_us,
        });
    }

    fn state(&mut self, story: &Story, stack: StackId, version: i64) {
        let at_us = self.tick();
        self.evidence.rows.states.push(StateRow {
            stack,
            version,
            lineage: "l".to_owned(),
            serial: version * 10,
            deployment: story.id,
            at_us,
        });
    }

    fn planned(&mut self, name: &str, stack: &str) -> Story {
        let mut story = self.submit(name, stack);
        for by in [Move::StartPlanning, Move::FinishPlan, Move::AskApproval] {
            self.go(&mut story, by);
        }
        self.job(&story, "plan", "succeeded");
        story
    }

    fn end(&mut self, story: &Story, reason: &str) {
        let stack = self.evidence.history.asked[&story.name].stack.clone();
        for seq in 1..=3 {
            self.evidence.rows.logs.push((story.id, seq));
        }
        self.evidence.rows.deployments.push(DeploymentRow {
            id: story.id,
            stack,
            state: story.at,
            reason: reason.to_owned(),
            auto_apply: true,
            name: story.name.clone(),
            trace: Some(format!("trace-{}", story.name)),
            event_seq: story.seq,
            log_seq: 3,
        });
    }
}

/// Two applied one after the other, one that was cancelled, one that is lost with its worker, one
/// that was drained, and one that waits.
fn sound() -> Evidence {
    let mut w = Writer::new();
    let stack = StackId::new(&RandomMint);
    for (version, name) in [(1, "a"), (2, "b")] {
        let mut story = w.planned(name, "s1");
        w.go(&mut story, Move::Approve);
        w.go(&mut story, Move::StartApply);
        for index in 0..2 {
            w.line(&story, index, true);
            w.line(&story, index, false);
        }
        w.state(&story, stack, version);
        w.go(&mut story, Move::FinishApply);
        w.go(&mut story, Move::Succeed);
        w.job(&story, "apply", "succeeded");
        w.end(&story, "");
    }
    let mut story = w.planned("c", "s1");
    w.go(&mut story, Move::Cancel);
    w.end(&story, "");
    let mut story = w.planned("l", "s2");
    w.go(&mut story, Move::Approve);
    w.go(&mut story, Move::StartApply);
    w.line(&story, 0, true);
    let from_us = w.tick();
    let to_us = w.tick();
    let place = Some("worker-1".to_owned());
    let incident = Incident { act: Act::Kill, place, from_us, to_us, hung: false };
    w.evidence.incidents.push(incident);
    w.go(&mut story, Move::Interrupt);
    w.go(&mut story, Move::AskAttention);
    w.job(&story, "apply", "lost");
    w.end(&story, "the worker of attempt 1 was lost");
    let mut story = w.planned("f", "s3");
    w.go(&mut story, Move::Approve);
    w.go(&mut story, Move::StartApply);
    w.go(&mut story, Move::Fail);
    w.job(&story, "apply", "failed");
    w.end(&story, "the apply was stopped because its worker was shut down");
    w.evidence
}

fn index_of(e: &Evidence, name: &str) -> usize {
    e.rows.deployments.iter().position(|d| d.name == name).unwrap()
}

fn id_of(e: &Evidence, name: &str) -> DeploymentId {
    e.rows.deployments[index_of(e, name)].id
}

/// The first row of a deployment that a test is about.
fn row<'e>(e: &'e mut Evidence, name: &str) -> &'e mut DeploymentRow {
    let index = index_of(e, name);
    &mut e.rows.deployments[index]
}

fn job<'e>(e: &'e mut Evidence, name: &str, kind: &str) -> &'e mut JobRow {
    let id = id_of(e, name);
    e.rows.jobs.iter_mut().find(|j| j.deployment == id && j.kind == kind).unwrap()
}

fn lines<'e>(e: &'e mut Evidence, name: &str) -> Vec<&'e mut Line> {
    e.ledger.iter_mut().filter(|l| l.name == name).collect()
}

fn audit_index(e: &Evidence, name: &str, action: &str) -> usize {
    let target = id_of(e, name).to_string();
    e.rows.audit.iter().position(|a| a.target == target && a.action == action).unwrap()
}

#[test]
fn sound_evidence_has_no_violation() {
    let found = check(&sound());
    assert!(found.is_empty(), "{found:#?}");
}

/// With this one thing wrong, this promise is found broken, in these words.
#[track_caller]
fn planted(promise: Promise, words: &str, plant: impl FnOnce(&mut Evidence)) {
    let mut evidence = sound();
    plant(&mut evidence);
    let found = check(&evidence);
    assert!(
        found.iter().any(|v| v.promise == promise && v.what.contains(words)),
        "{promise:?} {words:?} is not in {found:#?}"
    );
}

#[test]
fn what_is_lost_or_does_not_end_is_found() {
    use Promise::Kept as P;
    planted(P, "accepted and is lost", |e| {
        let index = index_of(e, "c");
        e.rows.deployments.remove(index);
    });
    planted(P, "never accepted", |e| e.history.asked.get_mut("a").unwrap().answers.clear());
    planted(P, "the approval of", |e| {
        let id = id_of(e, "c");
        e.history.approved.push((id, "digest-c".to_owned()));
    });
    planted(P, "the request to stop", |e| {
        let id = id_of(e, "a");
        e.history.cancelled.push(id);
    });
    planted(P, "is still applying", |e| row(e, "a").state = S::Applying);
    planted(P, "is no_changes", |e| row(e, "a").state = S::NoChanges);
    planted(P, "came when all was well again", |e| row(e, "c").name = "after0".to_owned());
    planted(P, "failed: exploded", |e| row(e, "f").reason = "exploded".to_owned());
}

#[test]
fn a_loss_that_is_against_the_rule_is_found() {
    use Promise::Kept as P;
    planted(P, "nothing had happened to it", |e| e.incidents.clear());
    planted(P, "nothing had happened to it", |e| {
        e.incidents[0].place = Some("worker-2".to_owned());
    });
    planted(P, "nothing had happened to it", |e| e.incidents[0].act = Act::BrokerEmpty);
    planted(P, "nothing had happened to it", |e| {
        (e.incidents[0].from_us, e.incidents[0].to_us) = (0, 1);
    });
    planted(P, "is said to have succeeded", |e| row(e, "l").state = S::Succeeded);
    planted(P, "interrupted 1, lost jobs 0", |e| {
        job(e, "l", "apply").state = "failed".to_owned();
    });
    planted(P, "interrupted 0, lost jobs 1", |e| {
        job(e, "a", "apply").state = "lost".to_owned();
    });
    planted(P, "a lost plan is made again", |e| job(e, "l", "plan").state = "lost".to_owned());
}

#[test]
fn what_is_made_twice_or_not_at_all_is_found() {
    use Promise::Once as P;
    planted(P, "begun twice", |e| lines(e, "a")[2].index = 0);
    planted(P, "made twice", |e| lines(e, "a")[3].index = 0);
    planted(P, "by 2 processes", |e| lines(e, "a")[3].run = "another".to_owned());
    planted(P, "were made", |e| {
        let last = e.ledger.iter().rposition(|l| l.name == "b").unwrap();
        e.ledger.remove(last);
    });
    planted(P, "asked for by nobody", |e| lines(e, "a")[0].name = "ghost".to_owned());
    planted(P, "has no resource 7", |e| lines(e, "a")[2].index = 7);
    planted(P, "never began", |e| lines(e, "a")[3].pid = 999);
    planted(P, "a line that is none", |e| e.broken.push("a run".to_owned()));
}

#[test]
fn what_another_apply_replaced_is_made_again_and_nothing_else_is() {
    for (by_us, anew, wrong) in [(10, true, false), (10, false, true), (-1, true, true)] {
        let mut evidence = sound();
        let id = id_of(&evidence, "b");
        let kept = evidence.rows.states.iter().find(|s| s.deployment == id).unwrap().at_us;
        if anew {
            let a = id_of(&evidence, "a");
            let of = |e: &&EventRow| e.deployment == a;
            let planned = |e: &&EventRow| matches!(e.body, EventBody::PlanReady { .. });
            let all: Vec<_> = evidence.rows.events.iter().filter(of).cloned().collect();
            let seq = all.last().unwrap().seq;
            let plan = all.iter().find(|e| planned(e)).unwrap().clone();
            let body = json!({"type": "state_changed", "from": "approved", "to": "applying"});
            let body = serde_json::from_value(body).unwrap();
            evidence.rows.events.push(EventRow { seq: seq + 1, at_us: kept + 1, ..plan });
            evidence.rows.events.push(EventRow {
                deployment: a,
                seq: seq + 2,
                at_us: kept + 2,
                body,
            });
        }
        for (nth, start) in [(0, true), (1, false)] {
            let at_us = kept + by_us;
            let again = Line { at_us, ..lines(&mut evidence, "a")[nth].clone() };
            assert_eq!(again.start, start);
            evidence.ledger.push(again);
        }
        let once = |v: &&Violation| v.promise == Promise::Once;
        let found: Vec<_> = check(&evidence).iter().filter(once).map(|v| v.what.clone()).collect();
        let said = [
            "resource 0 of a was begun twice: 1 more, tainted 0",
            "resource 0 of a was made twice",
        ];
        assert_eq!(found, if wrong { said.to_vec() } else { Vec::new() });
    }
}

#[test]
fn what_nobody_approved_is_found() {
    use Promise::Approved as P;
    planted(P, "nobody approved", |e| {
        let index = audit_index(e, "a", "deployment.approve");
        e.rows.audit[index].detail = json!({"plan_digest": "another"});
    });
    planted(P, "nobody approved", |e| {
        // Said before there was a plan.
        let index = audit_index(e, "a", "deployment.approve");
        e.rows.audit[index].at_us = 0;
    });
    planted(P, "before its apply", |e| lines(e, "a")[0].at_us = 0);
    planted(P, "before its apply", |e| lines(e, "a")[0].name = "c".to_owned());
}

#[test]
fn two_applies_at_once_are_found() {
    planted(Promise::OneApply, "were applied at once", |e| {
        let inside = lines(e, "a")[2].at_us;
        lines(e, "b")[0].at_us = inside;
    });
    // Two runs of one deployment are two applies.
    planted(Promise::OneApply, "a and a of s1 were applied at once", |e| {
        let inside = lines(e, "a")[1].at_us - 1;
        let mut lines = lines(e, "a");
        lines[2].at_us = inside;
        for line in &mut lines[2..] {
            line.run = "second".to_owned();
        }
    });
}

/// What is left of a lost apply waits for a yes, and others have their turn meanwhile.
#[test]
fn a_second_run_after_another_apply_is_no_second_apply_at_once() {
    let mut evidence = sound();
    let after = lines(&mut evidence, "b").iter().map(|line| line.at_us).max().unwrap();
    for (line, at_us) in lines(&mut evidence, "a").into_iter().skip(2).zip(after + 1..) {
        line.run = "second".to_owned();
        line.at_us = at_us;
    }
    let found = check(&evidence);
    assert!(found.iter().all(|v| v.promise != Promise::OneApply), "{found:#?}");
}

#[test]
fn two_answers_to_one_key_are_found() {
    use Promise::SameAnswer as P;
    planted(P, "one key was answered with", |e| {
        let other = id_of(e, "b");
        e.history.asked.get_mut("a").unwrap().answers.push(other);
    });
    planted(P, "is of stack s9", |e| row(e, "a").stack = "s9".to_owned());
    planted(P, "made 2 times", |e| row(e, "b").name = "a".to_owned());
    planted(P, "asked for by nobody", |e| row(e, "b").name = "ghost".to_owned());
}

#[test]
fn jobs_without_leases_or_owners_are_found() {
    use Promise::Leases as P;
    planted(P, "runs without a lease", |e| job(e, "a", "apply").state = "running".to_owned());
    planted(P, "is queued, and", |e| job(e, "c", "plan").state = "queued".to_owned());
    planted(P, "no job goes on with it", |e| row(e, "a").state = S::Approved);
    planted(P, "no job goes on with it", |e| row(e, "a").state = S::Submitted);
    planted(P, "2 jobs at once", |e| {
        for kind in ["plan", "apply"] {
            job(e, "a", kind).state = "queued".to_owned();
        }
    });
    planted(P, "after the end of its lease", |e| e.seen.overdue = Duration::from_mins(1));
}

#[test]
fn holes_and_what_follows_the_end_are_found() {
    use Promise::Sequences as P;
    planted(P, "the events of", |e| {
        let id = id_of(e, "a");
        let index = e.rows.events.iter().position(|v| v.deployment == id && v.seq == 3).unwrap();
        e.rows.events.remove(index);
    });
    planted(P, "the events of", |e| row(e, "a").event_seq += 1);
    planted(P, "the log lines of", |e| {
        let id = id_of(e, "a");
        e.rows.logs.retain(|(of, seq)| *of != id || *seq != 2);
    });
    planted(P, "was given [4, 6]", |e| {
        let of = id_of(e, "a");
        e.streams.push(Stream { of, after: 3, given: vec![4, 6] });
    });
    planted(P, "and 1 follow", |e| {
        let (id, seq) = (id_of(e, "a"), row(e, "a").event_seq + 1);
        row(e, "a").event_seq = seq;
        let body = EventBody::Step { step: "late".to_owned(), detail: None };
        e.rows.events.push(EventRow { deployment: id, seq, at_us: 0, body });
    });
    planted(P, "and its events say succeeded", |e| row(e, "a").state = S::Cancelled);
    planted(P, "the first event of", |e| {
        let body = EventBody::Step { step: "early".to_owned(), detail: None };
        e.rows.events[0].body = body;
    });
    planted(P, "and it was", |e| {
        let id = id_of(e, "c");
        let last = e.rows.events.iter_mut().rfind(|v| v.deployment == id).unwrap();
        let EventBody::StateChanged { from, .. } = &mut last.body else { panic!() };
        *from = S::Submitted;
    });
    planted(P, "from awaiting_approval to applying", |e| {
        let id = id_of(e, "c");
        let last = e.rows.events.iter_mut().rfind(|v| v.deployment == id).unwrap();
        let EventBody::StateChanged { to, .. } = &mut last.body else { panic!() };
        *to = S::Applying;
    });
}

#[test]
fn a_change_off_the_record_is_found() {
    use Promise::Audit as P;
    planted(P, "from planning to planned without a record", |e| {
        let index = audit_index(e, "a", "deployment.finish_plan");
        e.rows.audit.remove(index);
    });
    planted(P, "that never happened", |e| {
        let index = audit_index(e, "a", "deployment.succeed");
        let again = e.rows.audit[index].clone();
        e.rows.audit.push(again);
    });
    planted(P, "2 records of its submission", |e| {
        let index = audit_index(e, "a", "deployment.submit");
        let again = e.rows.audit[index].clone();
        e.rows.audit.push(again);
    });
}

#[test]
fn a_trace_that_breaks_off_is_found() {
    use Promise::Trace as P;
    planted(P, "belongs to no trace", |e| row(e, "a").trace = None);
    planted(P, "is of trace None", |e| job(e, "a", "apply").trace = None);
    planted(P, "deployment.succeed of", |e| {
        let index = audit_index(e, "a", "deployment.succeed");
        e.rows.audit[index].trace = Some("another".to_owned());
    });
    planted(P, "a worker ran", |e| e.said.traces[0].1 = Some("another".to_owned()));
}

#[test]
fn whoever_writes_without_a_lease_is_found() {
    use Promise::Fenced as P;
    planted(P, "is followed by 3", |e| e.rows.states[1].version = 3);
    planted(P, "is followed by", |e| e.rows.states[1].serial = 1);
    planted(P, "outside of its apply", |e| e.rows.states[1].at_us = i64::MAX);
    planted(P, "outside of its apply", |e| {
        let id = id_of(e, "c");
        e.rows.states[1].deployment = id;
    });
    planted(P, "after its end", |e| lines(e, "b")[3].at_us = i64::MAX / 2);
    planted(P, "without its lease", |e| e.seen.zombie = Duration::from_mins(1));
    planted(P, "of a dead worker", |e| e.seen.orphan = Duration::from_secs(2));
    planted(P, "of a frozen worker", |e| e.seen.frozen = Duration::from_secs(2));
}

#[test]
fn whoever_frees_a_stack_unseen_answers_for_it() {
    // The product is not to blame for what a careless client brings about.
    let mut evidence = sound();
    let l = row(&mut evidence, "l").id;
    row(&mut evidence, "l").state = S::Cancelled;
    row(&mut evidence, "l").event_seq += 1;
    let (seq, at_us) = (row(&mut evidence, "l").event_seq, 2_000_000_000);
    let body = json!({"type": "state_changed", "from": "needs_attention", "to": "cancelled"});
    let body = serde_json::from_value(body).unwrap();
    evidence.rows.events.push(EventRow { deployment: l, seq, at_us, body });
    let index = audit_index(&evidence, "c", "deployment.cancel");
    let record = AuditRow {
        target: l.to_string(),
        at_us,
        trace: None,
        ..evidence.rows.audit[index].clone()
    };
    evidence.rows.audit.push(record);
    let mut late = lines(&mut evidence, "l")[0].clone();
    (late.at_us, late.start) = (at_us + 1, false);
    evidence.ledger.push(late);
    assert_eq!(check(&evidence), []);
    evidence.history.freed.insert(l);
    let found = check(&evidence);
    assert!(found.iter().any(|v| v.what.contains("after its end")), "{found:?}");
}

#[test]
fn a_process_that_ends_by_itself_is_found() {
    use Promise::Processes as P;
    let exit = || Exit {
        place: "api-1".to_owned(),
        at_us: 5_000_000,
        lived: Duration::from_secs(1),
        status: "exit status: 1".to_owned(),
        said: "oh".to_owned(),
    };
    planted(P, "ended by itself", |e| e.exits.push(exit()));
    planted(P, "panicked", |e| e.said.panics.push("worker-1.1.log: panicked".to_owned()));
    planted(P, "was asked to end and did not", |e| e.incidents[0].hung = true);
    planted(Promise::Answers, "2 times in the logs", |e| {
        e.said.errors.insert("a loop failed: internal: : a statement failed".to_owned(), 2);
    });
    planted(Promise::Answers, "500", |e| e.history.odd.push("look: 500".to_owned()));
    // One that cannot start while the database is away is no wonder; one that has run is.
    let mut evidence = sound();
    let incident = Incident {
        act: Act::DatabaseFast,
        place: None,
        from_us: 4_000_000,
        to_us: 6_000_000,
        hung: false,
    };
    evidence.incidents.push(incident);
    evidence.exits.push(exit());
    assert_eq!(check(&evidence), []);
    evidence.exits[0].lived = Duration::from_mins(1);
    assert_eq!(check(&evidence).len(), 1);
}
