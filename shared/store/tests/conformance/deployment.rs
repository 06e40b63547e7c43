//! Deployments, their events and their logs.

use slipway_domain::deployment::Output;
use slipway_domain::event::EventBody;
use slipway_store::deployment::Filter;

use super::*;

on_both_engines! {
    a_deployment_comes_back_as_it_was_put_in,
    a_change_made_from_an_older_row_is_refused,
    events_and_log_lines_are_numbered_without_holes_under_concurrency,
    pages_follow_each_other_without_gap_or_repeat,
    hostile_text_is_kept_as_it_is,
}

async fn a_deployment_comes_back_as_it_was_put_in(rig: Rig) {
    let put = deployment(&rig.store, "net").await;
    let id = put.deployment.id;
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.deployment(id).await.unwrap().unwrap(), put);
    assert_eq!(tx.variables(id).await.unwrap()["password"], "hunter2");
    assert_eq!(tx.outputs(id).await.unwrap(), None);
    assert!(tx.deployment(DeploymentId::new(&RandomMint)).await.unwrap().is_none());
    drop(tx);
    let outputs = [Output {
        name: "url".into(),
        value: "http://x".into(),
        sensitive: true,
        kind: "string".into(),
    }];
    let mut tx = rig.store.begin().await.unwrap();
    tx.set_outputs(id, &outputs).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.outputs(id).await.unwrap().unwrap(), outputs);
}

async fn a_change_made_from_an_older_row_is_refused(rig: Rig) {
    let mut first = deployment(&rig.store, "net").await;
    let mut second = first.clone();
    let from = DeploymentState::Submitted;
    first.deployment.state = DeploymentState::Planning;
    let mut tx = rig.store.begin().await.unwrap();
    tx.update_deployment(&mut first, from, &[]).await.unwrap();
    tx.commit().await.unwrap();
    second.deployment.state = DeploymentState::Cancelled;
    let mut tx = rig.store.begin().await.unwrap();
    let refused = tx.update_deployment(&mut second, from, &[]).await.unwrap_err();
    assert!(matches!(refused, Error::Changed), "{refused}");
    drop(tx);
    let mut tx = rig.store.read().await.unwrap();
    let kept = tx.deployment(first.deployment.id).await.unwrap().unwrap();
    assert_eq!((kept.deployment.state, kept.version), (DeploymentState::Planning, 2));
}

async fn events_and_log_lines_are_numbered_without_holes_under_concurrency(rig: Rig) {
    let id = deployment(&rig.store, "net").await.deployment.id;
    let writers = (0..4).map(|writer| {
        let store = rig.store.clone();
        async move {
            for round in 0..10 {
                let step = format!("{writer}-{round}");
                let event = EventBody::Step { step: step.clone(), detail: None };
                let line =
                    NewLogLine { at: now(), stream: LogStream::Stdout, step, text: "x".into() };
                let mut tx = store.begin().await.unwrap();
                tx.append_events(id, &[event.clone(), event], now()).await.unwrap();
                tx.append_log(id, &[line]).await.unwrap();
                if round % 3 == 0 {
                    tx.rollback().await.unwrap();
                } else {
                    tx.commit().await.unwrap();
                }
            }
        }
    });
    futures::future::join_all(writers).await;
    let mut tx = rig.store.read().await.unwrap();
    let seqs: Vec<_> = tx.events(id, 0, 1000).await.unwrap().iter().map(|e| e.seq).collect();
    assert_eq!(seqs, (1..=48).collect::<Vec<i64>>(), "four writers, six rounds kept, two each");
    let lines = tx.log_lines(id, 0, 1000).await.unwrap();
    assert_eq!(lines.iter().map(|l| l.seq).collect::<Vec<_>>(), (1..=24).collect::<Vec<i64>>());
    assert_eq!(tx.last_log_seq(id).await.unwrap(), 24);
    assert_eq!(tx.events(id, 40, 3).await.unwrap()[0].seq, 41);
}

async fn pages_follow_each_other_without_gap_or_repeat(rig: Rig) {
    let mut all = Vec::new();
    for i in 0..7 {
        all.push(deployment(&rig.store, &format!("s{}", i % 2)).await.deployment.id);
    }
    all.reverse();
    let mut got = Vec::new();
    let mut page = PageRequest { limit: 3, after: None };
    loop {
        let mut tx = rig.store.read().await.unwrap();
        let mut rows = tx.deployments(&Filter::default(), &Reach::Everywhere, page).await.unwrap();
        let more = rows.len() > 3;
        rows.truncate(3);
        got.extend(rows.iter().map(|r| r.deployment.id));
        page.after = got.last().map(|id| id.0);
        if !more {
            break;
        }
    }
    assert_eq!(got, all);
    let mut tx = rig.store.read().await.unwrap();
    let whole = PageRequest { limit: 100, after: None };
    for (filter, count) in [
        (Filter { project: Some("shop".into()), ..Filter::default() }, 7),
        (Filter { project: Some("none".into()), ..Filter::default() }, 0),
        (Filter { state: Some(DeploymentState::Failed), ..Filter::default() }, 0),
        (Filter { environment: Some("dev".into()), ..Filter::default() }, 7),
    ] {
        assert_eq!(
            tx.deployments(&filter, &Reach::Everywhere, whole).await.unwrap().len(),
            count,
            "{filter:?}"
        );
    }
    let stacks = tx
        .stacks(&slipway_store::stack::Filter::default(), &Reach::Everywhere, whole)
        .await
        .unwrap();
    assert_eq!(stacks.len(), 2);
    let of = Filter { stack_id: Some(stacks[1].stack.id), ..Filter::default() };
    assert_eq!(tx.deployments(&of, &Reach::Everywhere, whole).await.unwrap().len(), 4);
}

async fn hostile_text_is_kept_as_it_is(rig: Rig) {
    let id = deployment(&rig.store, "net").await.deployment.id;
    let text = "'; drop table jobs; -- \u{1F600} \u{0}\u{7} \\ \" $1 {now_ms}";
    let line =
        NewLogLine { at: now(), stream: LogStream::Stderr, step: "s".into(), text: text.into() };
    let event = EventBody::Step { step: text.into(), detail: Some(text.into()) };
    let record = rig.store.read().await.unwrap().deployment(id).await.unwrap().unwrap();
    let job = job(&rig.store, &record, JobKind::Plan, 0).await;
    let mut tx = rig.store.begin().await.unwrap();
    tx.append_log(id, &[line]).await.unwrap();
    tx.append_events(id, std::slice::from_ref(&event), now()).await.unwrap();
    let mut record = tx.deployment(id).await.unwrap().unwrap();
    record.deployment.reason = Some(text.into());
    tx.update_deployment(&mut record, DeploymentState::Submitted, &[]).await.unwrap();
    tx.requeue_job(job, 0, true, Some(text)).await.unwrap();
    tx.end_job(job, JobState::Failed, Some(text), now()).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    let reason = tx.deployment(id).await.unwrap().unwrap().deployment.reason.unwrap();
    assert_eq!(reason, text.replace('\0', "\u{fffd}"));
    assert_eq!(tx.events(id, 0, 1).await.unwrap()[0].body, event);
    let kept = &tx.log_lines(id, 0, 1).await.unwrap()[0].text;
    assert_eq!(*kept, text.replace('\0', "\u{fffd}"), "only NUL cannot be kept");
    assert!(tx.job(JobId::new(&RandomMint)).await.unwrap().is_none());
}
