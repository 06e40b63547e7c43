//! Every end of a run, from every state: the job is closed and nothing stays running.

use slipway_domain::job::{JobKind, JobState, Queue};
use slipway_domain::plan::StateMark;
use slipway_domain::port::driver::Applied;
use slipway_domain::state::DeploymentState as S;
use slipway_services::execution::{self, Ending};
use slipway_services::{deployment, test};

use crate::rig::{Rig, on_both_engines};

on_both_engines! {
    every_ending_closes_the_job_from_every_state,
    a_request_to_stop_survives_a_hand_back,
    a_wait_without_end_is_cut,
    whatever_a_tool_says_can_be_recorded,
}

fn endings() -> Vec<Ending> {
    let summary = || "why".to_owned();
    vec![
        Ending::Failed { summary: summary(), diagnostics: Vec::new() },
        Ending::Retry { error: summary(), delay_ms: 0 },
        Ending::HandBack,
        Ending::Cancelled,
        Ending::Stopped { summary: summary() },
        Ending::Lost { summary: summary() },
        Ending::Stale { summary: summary() },
    ]
}

async fn every_ending_closes_the_job_from_every_state(rig: Rig) {
    let mut number = 0;
    for kind in JobKind::ALL {
        for state in S::ALL {
            for ending in endings() {
                number += 1;
                let stack = format!("s{number}");
                let (id, job, lease) = match kind {
                    JobKind::Plan => rig.planning(&stack).await,
                    JobKind::Apply => rig.applying(&stack).await,
                    JobKind::Recover => rig.recovering(&stack).await,
                    JobKind::Test => rig.testing(&stack).await,
                    JobKind::Drift => {
                        let (of, id) = rig.deployed(&stack).await;
                        let (job, lease) = rig.checking(of).await;
                        (id, job, lease)
                    }
                };
                let mut tx = rig.cx.store.begin().await.unwrap();
                let mut record = tx.deployment(id).await.unwrap().unwrap();
                let from = record.deployment.state;
                record.deployment.state = *state;
                tx.update_deployment(&mut record, from, &[]).await.unwrap();
                tx.commit().await.unwrap();
                let name = format!("{kind} in {state}: {ending:?}");
                let after = execution::ended(&rig.cx, &job, &lease, ending.clone())
                    .await
                    .unwrap_or_else(|fault| panic!("{name}: {fault} {}", fault.causes()));
                let jobs = rig.jobs(id).await;
                let ended = jobs.iter().find(|j| j.id == job.id).unwrap();
                assert_ne!(ended.state, JobState::Running, "{name}");
                // Whoever still runs is another job's; here there is none.
                let mine = match kind {
                    JobKind::Plan => matches!(state, S::Submitted | S::Planning),
                    JobKind::Apply => matches!(state, S::Approved | S::Applying | S::Verifying),
                    JobKind::Recover => matches!(state, S::Recovering | S::Verifying),
                    // They move nothing, and leave a report unless they run again.
                    JobKind::Test => {
                        let all = test::list(&rig.cx, &rig.who, id).await.unwrap().items;
                        let there = all[0].report.is_some();
                        let waits = ended.state == JobState::Queued;
                        assert_eq!(there, !waits && !state.is_terminal(), "{name}");
                        false
                    }
                    // It is about the stack, whatever the deployment is.
                    JobKind::Drift => false,
                };
                if mine {
                    let runs = matches!(after.state, S::Planning | S::Applying | S::Verifying);
                    assert!(!runs, "{name}: it is {} and nobody works on it", after.state);
                    let waits = matches!(after.state, S::Submitted | S::Approved | S::Recovering);
                    let queued = jobs.iter().any(|j| j.state == JobState::Queued);
                    assert_eq!(waits, queued, "{name}: it is {}", after.state);
                } else {
                    assert_eq!(after.state, *state, "{name}: it is not this job's any more");
                }
                // Out of the way of the next round.
                if !after.state.is_terminal() || *kind == JobKind::Drift {
                    let mut tx = rig.cx.store.begin().await.unwrap();
                    tx.cancel_jobs(id, rig.cx.now()).await.unwrap();
                    tx.commit().await.unwrap();
                }
            }
        }
    }
}

async fn a_request_to_stop_survives_a_hand_back(rig: Rig) {
    let ways = [Ending::HandBack, Ending::Stale { summary: "moved".into() }];
    for (round, ending) in ways.into_iter().enumerate() {
        let (id, job, lease) = rig.applying(&format!("s{round}")).await;
        deployment::cancel(&rig.cx, &rig.who, id, None, false).await.unwrap();
        execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
        assert_eq!(rig.get(id).await.state, S::Cancelled);
        assert!(rig.jobs(id).await.iter().all(|j| !j.state.is_active()));
    }
    let (id, job, lease) = rig.applying("verified").await;
    deployment::cancel(&rig.cx, &rig.who, id, None, false).await.unwrap();
    let applied = Applied { outputs: Vec::new(), state: StateMark::default() };
    execution::apply_finished(&rig.cx, &job, &lease, &applied).await.unwrap();
    // It was too late to stop: everything is made.
    execution::ended(&rig.cx, &job, &lease, Ending::Cancelled).await.unwrap();
    let after = rig.get(id).await;
    assert_eq!(after.state, S::Failed);
    assert!(after.reason.unwrap().contains("applied"));
}

async fn a_wait_without_end_is_cut(rig: Rig) {
    let (id, job, lease) = rig.planning("net").await;
    let ending = Ending::Retry { error: "429".into(), delay_ms: i64::MAX };
    execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
    assert_eq!(rig.get(id).await.state, S::Submitted);
    let run_at = rig.jobs(id).await[0].run_at;
    assert!(run_at < rig.cx.now() + chrono::Duration::hours(25), "{run_at}");
    assert!(rig.claim(Queue::Plan).await.is_none());
}

async fn whatever_a_tool_says_can_be_recorded(rig: Rig) {
    let text = "it said \0 and \u{7} and \u{1F600}".to_owned();
    let (id, job, lease) = rig.planning("net").await;
    let ending = Ending::Failed { summary: text.clone(), diagnostics: Vec::new() };
    execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
    assert_eq!(rig.get(id).await.state, S::Failed);
    let (_, job, lease) = rig.planning("db").await;
    let ending = Ending::Retry { error: text, delay_ms: 0 };
    execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
}
