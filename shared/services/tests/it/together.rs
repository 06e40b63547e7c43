//! What is done together at the same time is the same as what is done one by one.

use std::collections::BTreeSet;

use slipway_domain::access::Reach;
use slipway_domain::cancel::CancelPhase;
use slipway_domain::deployment::Options as How;
use slipway_domain::fault::Code;
use slipway_domain::id::{ArtifactId, RandomMint};
use slipway_domain::job::{JobKind, JobState, Lease, Queue};
use slipway_domain::page::PageRequest;
use slipway_domain::plan::StateMark;
use slipway_domain::port::driver::Planned;
use slipway_domain::source::Source;
use slipway_domain::state::DeploymentState as S;
use slipway_services::deployment::{self, Filter, Submit};
use slipway_services::execution::{self, Begun};
use slipway_services::gate::Seen;
use slipway_services::{event, project};
use slipway_store::crypto::Keyring;

use crate::rig::{Rig, code, key, on_both_engines, plan_of};

on_both_engines! {
    submissions_at_the_same_time_are_judged_one_by_one,
    an_archive_that_is_shared_is_kept_once_and_again_when_it_is_gone,
    plans_that_are_taken_together_are_begun_together,
    a_deployment_that_cannot_be_read_keeps_nobody_from_work,
    who_lost_the_lease_begins_nothing,
    an_end_that_knows_an_older_deployment_takes_nothing_back,
    a_database_that_was_put_in_the_place_of_another_takes_submissions,
    an_answer_that_cannot_be_read_adds_nobody_elses_submission_twice,
    who_is_refused_leaves_no_project_and_no_stack,
}

/// A key that was used for another request is found out only when the submission is written.
async fn who_is_refused_leaves_no_project_and_no_stack(rig: Rig) {
    let first = of_a_template("net");
    let of_another = |name: &str| {
        let mut request = of_a_template("net");
        name.clone_into(&mut request.stack.project);
        request
    };
    deployment::submit(&rig.cx, &rig.who, first, Some("used")).await.unwrap();
    let there = |name: &'static str| project::get(&rig.cx, &rig.who, name);

    let alone = deployment::submit(&rig.cx, &rig.who, of_another("alone"), Some("used")).await;
    assert_eq!(alone.unwrap_err().code, Code::IdempotencyKeyReused);
    assert_eq!(there("alone").await.unwrap_err().code, Code::NotFound);

    let names = ["refused", "accepted"];
    let both = names.map(|name| {
        let key = (name == "refused").then_some("used");
        deployment::submit(&rig.cx, &rig.who, of_another(name), key)
    });
    let [refused, accepted] = <[_; 2]>::try_from(futures::future::join_all(both).await).unwrap();
    assert_eq!(refused.unwrap_err().code, Code::IdempotencyKeyReused);
    accepted.unwrap();
    assert_eq!(there("refused").await.unwrap_err().code, Code::NotFound);
    assert_eq!(there("accepted").await.unwrap().name, "accepted");
    let made = rig.audited().await.into_iter().filter(|action| action == "project.create");
    assert_eq!(made.count(), 2, "of the first one and of the accepted one");
}

/// A request for a template of the installation.
fn of_a_template(stack: &str) -> Submit {
    Submit {
        stack: key(stack),
        source: Some(Source::Template { name: "hello".to_owned(), version: None }),
        variables: [].into(),
        operation: slipway_domain::deployment::Operation::Deploy,
        options: How::default(),
    }
}

/// Whoever comes with a key whose answer is broken is told so; who comes at the same time is added
/// once.
async fn an_answer_that_cannot_be_read_adds_nobody_elses_submission_twice(rig: Rig) {
    let request = of_a_template("net");
    let submit = |key| deployment::submit(&rig.cx, &rig.who, request.clone(), key);
    let keys: Vec<String> = (0..10).map(|n| format!("broken-{n}")).collect();
    for key in &keys {
        submit(Some(key)).await.unwrap();
    }
    rig.by_hand(&["update idempotency set answer = 'no answer'".to_owned()]).await;

    let both = keys.iter().flat_map(|key| [Some(key.as_str()), None]).map(submit);
    let mut added = 0;
    for outcome in futures::future::join_all(both).await {
        match outcome {
            Ok(_) => added += 1,
            Err(fault) => assert_eq!(fault.code, Code::Internal),
        }
    }
    let page = PageRequest { limit: 100, after: None };
    let all = deployment::list(&rig.cx, &rig.who, &Filter::default(), page).await.unwrap();
    assert_eq!((added, all.items.len()), (10, 20));
}

/// A process remembers the stacks that it saw. Who restores a backup under it has not lost the
/// submissions that come afterwards.
async fn a_database_that_was_put_in_the_place_of_another_takes_submissions(rig: Rig) {
    let before = [rig.submit("net").await, rig.submit("net").await];
    let tables = ["jobs", "events", "deployments", "stacks"];
    rig.by_hand(&tables.map(|table| format!("delete from {table}"))).await;
    for id in before {
        let gone = deployment::get(&rig.cx, &rig.who, id).await.unwrap_err();
        assert_eq!(gone.code, Code::NotFound);
    }
    let after = rig.submit("net").await;
    assert_eq!(rig.get(after).await.state, S::Submitted);
    let again = rig.submit("net").await;
    assert_eq!(rig.get(again).await.stack_id, rig.get(after).await.stack_id);
}

/// Every round has some of each: new stacks and old ones, keys that come twice, the same key with
/// another request, an upload that is not there, one that supersedes.
async fn submissions_at_the_same_time_are_judged_one_by_one(rig: Rig) {
    let base = rig.request("net").await;
    let missing = Source::Archive { artifact_id: ArtifactId::new(&RandomMint), path: None };
    let other =
        Submit { operation: slipway_domain::deployment::Operation::Destroy, ..base.clone() };
    let requests: Vec<(Submit, Option<String>)> = (0..60)
        .map(|n| {
            let stack = key(&format!("s{}", n % 7));
            let request = Submit { stack, ..base.clone() };
            match n % 6 {
                0 => (request, None),
                1 => (request, Some(format!("own-{n}"))),
                2 => (base.clone(), Some("twice".to_owned())),
                3 => (other.clone(), Some("twice".to_owned())),
                4 => (Submit { source: Some(missing.clone()), ..request }, Some(format!("no-{n}"))),
                _ => {
                    let options = How { supersede: true, ..How::default() };
                    (Submit { options, stack: key("only"), ..base.clone() }, None)
                }
            }
        })
        .collect();
    let all = requests.iter().map(|(request, idempotency_key)| {
        deployment::submit(&rig.cx, &rig.who, request.clone(), idempotency_key.as_deref())
    });
    let all = futures::future::join_all(all).await;

    let mut first_twice = BTreeSet::new();
    let mut made = BTreeSet::new();
    for (n, outcome) in all.into_iter().enumerate() {
        match n % 6 {
            4 => {
                let fault = outcome.unwrap_err();
                assert_eq!(fault.errors[0].pointer, "/source/artifact_id", "{fault}");
            }
            // Whichever of the two requests came first has the key.
            2 | 3 => match outcome {
                Ok(accepted) => {
                    first_twice.insert(accepted.deployment.id);
                    made.insert(accepted.deployment.id);
                }
                Err(fault) => assert_eq!(fault.code, Code::IdempotencyKeyReused, "{fault}"),
            },
            _ => {
                let accepted = outcome.unwrap();
                assert!(!accepted.replayed);
                assert!(made.insert(accepted.deployment.id), "each is a deployment of its own");
                assert_eq!(accepted.deployment.stack, requests[n].0.stack);
            }
        }
    }
    assert_eq!(first_twice.len(), 1, "one key, one deployment");
    assert_eq!(made.len(), 31);
    let mut superseded = 0;
    for id in &made {
        let deployment = rig.get(*id).await;
        let jobs = rig.jobs(*id).await;
        assert_eq!(jobs.len(), 1);
        let events = event::page(&rig.cx, &rig.who, *id, 0, 100).await.unwrap();
        let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=i64::try_from(seqs.len()).unwrap()).collect::<Vec<_>>());
        let mut tx = rig.cx.store.read().await.unwrap();
        let audit = tx.audit_of(&id.to_string()).await.unwrap();
        assert_eq!(audit[0].0, "deployment.submit");
        if deployment.state == S::Superseded {
            superseded += 1;
            assert_eq!(jobs[0].state, JobState::Cancelled);
        } else {
            assert_eq!((deployment.state, jobs[0].state), (S::Submitted, JobState::Queued));
        }
    }
    assert_eq!(superseded, 9, "of ten for one stack the last remains");
    // The refused ones left nothing: as many jobs as deployments.
    let mut tx = rig.cx.store.read().await.unwrap();
    let totals = tx.queue_totals(&Reach::Everywhere).await.unwrap();
    assert_eq!(totals[0].waiting, 31 - 9);
}

async fn an_archive_that_is_shared_is_kept_once_and_again_when_it_is_gone(rig: Rig) {
    let request = of_a_template("net");
    let artifact = async |rig: &Rig| {
        let accepted = deployment::submit(&rig.cx, &rig.who, request.clone(), None).await.unwrap();
        let mut tx = rig.cx.store.read().await.unwrap();
        let record = tx.deployment(accepted.deployment.id).await.unwrap().unwrap();
        let id = record.source_artifact.unwrap();
        assert!(tx.artifact(id).await.unwrap().is_some(), "it is there");
        id
    };
    let first = artifact(&rig).await;
    assert_eq!(artifact(&rig).await, first);
    // Another store, where what this process remembers is not.
    let mut other = crate::rig::sqlite(4).await;
    other.cx.templates = rig.cx.templates.clone();
    let second = artifact(&other).await;
    assert_ne!(second, first);
    assert_eq!(artifact(&other).await, second);
}

async fn plans_that_are_taken_together_are_begun_together(rig: Rig) {
    let mut ids = BTreeSet::new();
    for stack in ["a", "b", "c", "d"] {
        ids.insert(rig.submit(stack).await);
    }
    let take =
        async |most| execution::take(&rig.cx, Queue::Plan, rig.worker, 60_000, most).await.unwrap();
    let taken = take(3).await.jobs;
    assert_eq!(taken.len(), 3, "as many as asked for");
    for (job, _) in &taken {
        assert_eq!((job.kind, job.state, job.attempt), (JobKind::Plan, JobState::Running, 1));
        assert_eq!(rig.get(job.deployment_id).await.state, S::Submitted, "not begun yet");
    }
    let begins = taken.iter().map(|(job, lease)| execution::begin(&rig.cx, job, lease));
    for ((job, lease), begun) in taken.iter().zip(futures::future::join_all(begins).await) {
        assert!(ids.remove(&job.deployment_id), "each once");
        assert_eq!(rig.get(job.deployment_id).await.state, S::Planning);
        let Begun::Plan { input, .. } = begun.unwrap() else { panic!("not a plan") };
        assert_eq!(input.variables["password"], "hunter2");
        // Whoever finds it begun under its own lease goes on.
        let again = execution::begin(&rig.cx, job, lease).await.unwrap();
        assert!(matches!(again, Begun::Plan { .. }), "{again:?}");
        rig.check_events(job.deployment_id).await;
    }
    let rest = take(3).await.jobs;
    assert_eq!(rest.len(), 1);
    assert!(ids.remove(&rest[0].0.deployment_id));
    assert!(take(3).await.jobs.is_empty());
}

async fn a_deployment_that_cannot_be_read_keeps_nobody_from_work(mut rig: Rig) {
    let sealed_before = rig.submit("old").await;
    // Its variables are sealed with a key that is gone.
    let keys = Keyring::parse(&Keyring::generate().unwrap()).unwrap();
    rig.cx.store = rig.cx.store.with_keys(keys);
    rig.cx.gathered = std::sync::Arc::default();
    let readable = rig.submit("new").await;
    let taken = execution::take(&rig.cx, Queue::Plan, rig.worker, 60_000, 5).await.unwrap().jobs;
    assert_eq!(taken.len(), 2);
    let begins = taken.iter().map(|(job, lease)| execution::begin(&rig.cx, job, lease));
    for ((job, _), begun) in taken.iter().zip(futures::future::join_all(begins).await) {
        if job.deployment_id == sealed_before {
            assert_eq!(code(begun), Code::Internal);
        } else {
            assert_eq!(job.deployment_id, readable);
            begun.unwrap();
        }
    }
}

async fn who_lost_the_lease_begins_nothing(rig: Rig) {
    for stack in ["a", "b"] {
        rig.submit(stack).await;
    }
    let taken = execution::take(&rig.cx, Queue::Plan, rig.worker, 60_000, 2).await.unwrap().jobs;
    // Of one of them somebody believes to hold an earlier, or a later, epoch.
    let (held, lost) = (&taken[0], &taken[1]);
    for epoch in [lost.1.epoch - 1, lost.1.epoch + 1] {
        let stale = Lease { epoch, ..lost.1 };
        let (begun, refused) = futures::join!(
            execution::begin(&rig.cx, &held.0, &held.1),
            execution::begin(&rig.cx, &lost.0, &stale),
        );
        assert!(matches!(begun.unwrap(), Begun::Plan { .. }));
        assert_eq!(code(refused), Code::LeaseLost);
        assert_eq!(rig.get(lost.0.deployment_id).await.state, S::Submitted);
    }
}

async fn an_end_that_knows_an_older_deployment_takes_nothing_back(rig: Rig) {
    let nothing =
        Planned { no_changes: true, changes: Vec::new(), ..plan_of(StateMark::default()) };
    for asked_to_stop in [false, true] {
        let id = rig.submit("net").await;
        let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
        let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
        let Begun::Plan { record, .. } = begun else { panic!("not a plan") };
        assert_eq!(record.deployment, rig.get(id).await);
        if asked_to_stop {
            deployment::cancel(&rig.cx, &rig.who, id, None, false).await.unwrap();
        }
        let before = rig.get(id).await;
        assert_eq!(before.cancel_requested_at.is_some(), asked_to_stop);
        let seen = Seen::default();
        let ended =
            execution::plan_finished_from(&rig.cx, &record, &job, &lease, nothing.clone(), &seen);
        assert_eq!(ended.await.unwrap().state, S::NoChanges);
        let kept = rig.get(id).await;
        assert_eq!(
            (kept.state, kept.cancel_requested_at),
            (S::NoChanges, before.cancel_requested_at)
        );
        // Who asked is not left waiting.
        let phase = kept.cancel.map(|cancel| cancel.phase);
        assert_eq!(phase, asked_to_stop.then_some(CancelPhase::Stopped));
        rig.check_events(id).await;
    }
}
