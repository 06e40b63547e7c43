//! What is swept, and what is not.

use super::*;

on_both_engines! {
    an_upload_that_is_being_named_is_not_swept,
    a_sweep_removes_what_is_past_its_time_only,
    a_long_log_is_swept_whole,
    logs_of_the_old_are_swept_whoever_still_waits_among_them,
    many_answers_are_swept_and_one_that_is_being_replaced_is_passed_over,
}

async fn an_upload_that_is_being_named_is_not_swept(rig: Rig) {
    let old = now() - chrono::Duration::days(2);
    let limit = now() - chrono::Duration::days(1);
    let upload = ArtifactId::new(&RandomMint);
    let sealed = rig.store.seal_artifact(upload, ArtifactKind::Source, b"x", old).await.unwrap();
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_artifact(&sealed).await.unwrap();
    tx.commit().await.unwrap();
    let mut record = deployment(&rig.store, "net").await;
    let mut tx = rig.store.begin().await.unwrap();
    let asked = [upload, ArtifactId::new(&RandomMint)];
    assert_eq!(tx.keep_artifacts(&asked).await.unwrap(), [upload]);
    let store = rig.store.clone();
    let sweeping = tokio::spawn(async move { store.sweep(now(), limit, limit).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    record.source_artifact = Some(upload);
    tx.update_deployment(&mut record, DeploymentState::Submitted, &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(sweeping.await.unwrap().unwrap().artifacts, 0);
    let mut tx = rig.store.read().await.unwrap();
    assert!(tx.artifact(upload).await.unwrap().is_some(), "a deployment needs it");
}

async fn a_sweep_removes_what_is_past_its_time_only(rig: Rig) {
    let mut ended = deployment(&rig.store, "net").await;
    let running = deployment(&rig.store, "db").await;
    let line =
        NewLogLine { at: now(), stream: LogStream::Stdout, step: "s".into(), text: "x".into() };
    let old = now() - chrono::Duration::days(100);
    let upload = ArtifactId::new(&RandomMint);
    let sealed =
        rig.store.seal_artifact(upload, ArtifactKind::Source, &[7; 9000], old).await.unwrap();
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_artifact(&sealed).await.unwrap();
    tx.append_log(ended.deployment.id, std::slice::from_ref(&line)).await.unwrap();
    tx.append_log(running.deployment.id, &[line]).await.unwrap();
    ended.deployment.state = DeploymentState::Failed;
    ended.deployment.ended_at = Some(old);
    tx.update_deployment(&mut ended, DeploymentState::Submitted, &[]).await.unwrap();
    tx.commit().await.unwrap();
    let limit = now() - chrono::Duration::days(90);
    let swept = rig.store.sweep(now(), limit, limit).await.unwrap();
    assert_eq!((swept.log_lines, swept.artifacts), (1, 1));
    let again = rig.store.sweep(now(), limit, limit).await.unwrap();
    assert_eq!((again.log_lines, again.artifacts), (0, 0));
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.log_lines(running.deployment.id, 0, 10).await.unwrap().len(), 1);
    assert!(tx.artifact(upload).await.unwrap().is_none());
}

async fn a_long_log_is_swept_whole(rig: Rig) {
    let mut ended = deployment(&rig.store, "net").await;
    let line =
        NewLogLine { at: now(), stream: LogStream::Stdout, step: "s".into(), text: "x".into() };
    let old = now() - chrono::Duration::days(100);
    let mut tx = rig.store.begin().await.unwrap();
    tx.append_log(ended.deployment.id, &vec![line; 4500]).await.unwrap();
    ended.deployment.state = DeploymentState::Failed;
    ended.deployment.ended_at = Some(old);
    tx.update_deployment(&mut ended, DeploymentState::Submitted, &[]).await.unwrap();
    tx.commit().await.unwrap();
    let limit = now() - chrono::Duration::days(90);
    assert_eq!(rig.store.sweep(now(), limit, limit).await.unwrap().log_lines, 4500);
}

async fn logs_of_the_old_are_swept_whoever_still_waits_among_them(rig: Rig) {
    let line =
        NewLogLine { at: now(), stream: LogStream::Stdout, step: "s".into(), text: "x".into() };
    let (soon, limit) = (now() + chrono::Duration::days(1), now() + chrono::Duration::days(10));
    let late = limit + chrono::Duration::days(80);
    let mut ids = Vec::new();
    for (stack, ended) in [("a", Some(soon)), ("b", None), ("c", Some(limit)), ("d", Some(soon))] {
        let mut record = deployment(&rig.store, stack).await;
        let mut tx = rig.store.begin().await.unwrap();
        tx.append_log(record.deployment.id, &[line.clone(), line.clone()]).await.unwrap();
        if ended.is_some() {
            record.deployment.state = DeploymentState::Failed;
            record.deployment.ended_at = ended;
            tx.update_deployment(&mut record, DeploymentState::Submitted, &[]).await.unwrap();
        }
        tx.commit().await.unwrap();
        ids.push(record.deployment.id);
    }
    assert_eq!(rig.store.sweep(late, limit, limit).await.unwrap().log_lines, 4);
    let mut tx = rig.store.read().await.unwrap();
    let mut left = Vec::new();
    for id in ids {
        left.push(tx.log_lines(id, 0, 10).await.unwrap().len());
    }
    assert_eq!(left, [0, 2, 2, 0]);
}

async fn many_answers_are_swept_and_one_that_is_being_replaced_is_passed_over(rig: Rig) {
    let key = |n: usize| Key { principal: "p".into(), operation: "o".into(), key: n.to_string() };
    let stored = || Stored { request_hash: "h".into(), answer: "a".into() };
    let (until, later) = (now() + chrono::Duration::hours(1), now() + chrono::Duration::hours(2));
    let keys: Vec<Key> = (0..4500).map(key).collect();
    let answers: Vec<_> = keys.iter().map(|key| (key, stored())).collect();
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.keep_answers(&answers, now(), until).await.unwrap(), 4500);
    tx.commit().await.unwrap();
    assert_eq!(rig.store.sweep(now(), now(), now()).await.unwrap().answers, 0);
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.keep_answers(&answers[..1], until, later).await.unwrap(), 1);
    let mut kept = 0;
    if rig.url.is_some() {
        // Units of work of others are beside it: the sweep does not wait for it.
        assert_eq!(rig.store.sweep(until, now(), now()).await.unwrap().answers, 4499);
        kept = 4499;
    }
    tx.commit().await.unwrap();
    assert_eq!(rig.store.sweep(until, now(), now()).await.unwrap().answers, 4499 - kept);
    let mut tx = rig.store.read().await.unwrap();
    assert!(tx.idempotent_answer(&keys[0], until).await.unwrap().is_some());
}
