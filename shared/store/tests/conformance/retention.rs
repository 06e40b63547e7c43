//! What is swept, and what is not.

use super::*;

on_both_engines! {
    an_upload_that_is_being_named_is_not_swept,
    a_sweep_removes_what_is_past_its_time_only,
    a_long_log_is_swept_whole,
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
