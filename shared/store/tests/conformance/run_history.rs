//! What past runs took.

use chrono::Duration;
use slipway_domain::run_history::Measure;

use super::*;

on_both_engines! {
    the_newest_runs_of_each_stack_and_kind_are_kept,
}

async fn the_newest_runs_of_each_stack_and_kind_are_kept(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let other = deployment(&rig.store, "db").await;
    let at = now();
    let claimed = async |of: &Record, kind: JobKind| {
        job(&rig.store, of, kind, 0).await;
        let claimed = rig.store.claim_job(kind.queue(), worker(), 60_000, at).await.unwrap();
        claimed.unwrap().0
    };
    let plan = claimed(&record, JobKind::Plan).await;
    let apply = claimed(&record, JobKind::Apply).await;
    let foreign = claimed(&other, JobKind::Plan).await;

    let mut tx = rig.store.begin().await.unwrap();
    let took = |wall_ms, peak_rss_bytes| Measure { wall_ms, peak_rss_bytes };
    tx.add_past_run(&apply, took(7, None), 3, at).await.unwrap();
    tx.add_past_run(&foreign, took(8, Some(1)), 3, at).await.unwrap();
    for n in 1..=5 {
        let mut one = plan.clone();
        one.id = JobId::new(&RandomMint);
        let after = at + Duration::seconds(n);
        tx.add_past_run(&one, took(n, Some(n << 40)), 3, after).await.unwrap();
        // Told twice: the first counts.
        tx.add_past_run(&one, took(99, None), 3, after).await.unwrap();
    }
    tx.commit().await.unwrap();

    let mut tx = rig.store.read().await.unwrap();
    let runs = tx.past_runs(record.deployment.stack_id).await.unwrap();
    let seen: Vec<_> = runs.iter().map(|run| (run.kind, run.measure)).collect();
    assert_eq!(
        seen,
        [
            (JobKind::Plan, took(5, Some(5 << 40))),
            (JobKind::Plan, took(4, Some(4 << 40))),
            (JobKind::Plan, took(3, Some(3 << 40))),
            (JobKind::Apply, took(7, None)),
        ]
    );
    let last = runs.last().unwrap();
    assert_eq!((last.job_id, last.at, last.resources), (apply.id, at, None));
    assert_eq!(last.stack_id, record.deployment.stack_id);
    let runs = tx.past_runs(other.deployment.stack_id).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.job_id).collect::<Vec<_>>(), [foreign.id]);
    drop(tx);

    // How many resources there are is taken from the state that is current then.
    let mut tx = rig.store.begin().await.unwrap();
    let artifact = ArtifactId::new(&RandomMint);
    let sealed = rig.store.seal_artifact(artifact, ArtifactKind::State, b"{}", at).await.unwrap();
    tx.insert_artifact(&sealed).await.unwrap();
    let version = NewStateVersion {
        stack_id: other.deployment.stack_id,
        mark: StateMark { lineage: "l".into(), serial: 1 },
        resource_count: 12,
        artifact,
        origin: StateOrigin::Run,
        deployment_id: None,
        epoch: None,
        written_by: None,
        restored_from: None,
    };
    tx.add_state_version(&version, at).await.unwrap();
    let mut again = foreign.clone();
    again.id = JobId::new(&RandomMint);
    tx.add_past_run(&again, took(9, None), 3, at + Duration::seconds(1)).await.unwrap();
    let runs = tx.past_runs(other.deployment.stack_id).await.unwrap();
    assert_eq!((runs[0].job_id, runs[0].resources), (again.id, Some(12)));
}
