//! Locks, versions and orphans of states.

use serde_json::json;
use slipway_domain::access::{Actor, ActorKind, Door};
use slipway_domain::id::OrphanId;
use slipway_domain::state_version::{OrphanState, StateLock, StateRefusal};
use slipway_store::state::NewOrphan;

use super::*;

on_both_engines! {
    a_state_version_must_follow_the_one_before,
    a_state_has_one_lock,
    a_lock_of_a_run_is_worth_its_lease,
    versions_are_listed_with_who_wrote_them,
    a_refused_state_is_kept_once_and_not_without_bound,
    an_apply_that_runs_is_known,
    versions_from_before_the_backend_are_still_there,
}

/// Keeps a state of as many resources as its serial says.
pub(crate) async fn keep(store: &Store, of: &Record, mark: StateMark) -> Result<ArtifactId, Error> {
    let id = ArtifactId::new(&RandomMint);
    let sealed = store.seal_artifact(id, ArtifactKind::State, b"{}", now()).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.lock_stack(of.deployment.stack_id).await.unwrap().unwrap();
    tx.insert_artifact(&sealed).await.unwrap();
    let new = NewStateVersion {
        stack_id: of.deployment.stack_id,
        resource_count: mark.serial,
        mark,
        artifact: id,
        origin: StateOrigin::Run,
        deployment_id: Some(of.deployment.id),
        epoch: Some(1),
        written_by: None,
        restored_from: None,
    };
    tx.add_state_version(&new, now()).await?;
    tx.commit().await.unwrap();
    Ok(id)
}

async fn a_state_version_must_follow_the_one_before(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let stack_id = record.deployment.stack_id;
    let add = |lineage: &'static str, serial: i64| {
        keep(&rig.store, &record, StateMark { lineage: lineage.into(), serial })
    };
    add("a", 3).await.unwrap();
    for (lineage, serial) in [("a", 3), ("a", 2), ("b", 4)] {
        let refused = add(lineage, serial).await.unwrap_err();
        assert!(matches!(refused, Error::Changed), "{lineage} {serial}: {refused}");
    }
    add("a", 7).await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    let stack = tx.stack(stack_id).await.unwrap().unwrap();
    assert_eq!(stack.state_mark(), StateMark { lineage: "a".into(), serial: 7 });
    assert_eq!(stack.stack.state.unwrap().resource_count, 7);
}

fn person() -> Actor {
    Actor { id: "ann".into(), kind: ActorKind::Person, via: Door::Rest }
}

fn lock(record: &Record, id: &str, lease: Option<Lease>) -> StateLock {
    StateLock {
        stack_id: record.deployment.stack_id,
        lock_id: id.into(),
        info: json!({"ID": id, "Who": "ann@host \u{1F600} '; --"}),
        lease,
        held_by: person(),
        acquired_at: now(),
    }
}

async fn a_state_has_one_lock(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let other = deployment(&rig.store, "db").await;
    let stack = record.deployment.stack_id;
    let tries = (0..6).map(|i| {
        let (store, lock) = (rig.store.clone(), lock(&record, &format!("l{i}"), None));
        async move {
            let mut tx = store.begin().await.unwrap();
            let taken = tx.take_state_lock(&lock).await.unwrap();
            tx.commit().await.unwrap();
            taken.then_some(lock)
        }
    });
    let taken: Vec<_> = futures::future::join_all(tries).await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 1);
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.state_lock(stack).await.unwrap().as_ref(), Some(&taken[0]));
    assert_eq!(tx.state_lock(other.deployment.stack_id).await.unwrap(), None);
    assert!(tx.take_state_lock(&lock(&other, "o", None)).await.unwrap(), "another stack's");
    assert!(!tx.drop_state_lock(&lock(&record, "another", None)).await.unwrap());
    assert!(tx.drop_state_lock(&taken[0]).await.unwrap());
    assert!(!tx.drop_state_lock(&taken[0]).await.unwrap());
    assert_eq!(tx.state_lock(stack).await.unwrap(), None);
    tx.commit().await.unwrap();
}

async fn a_lock_of_a_run_is_worth_its_lease(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    job(&rig.store, &record, JobKind::Apply, 0).await;
    let lease = claim(&rig.store, Queue::Apply, worker(), 300).await.unwrap();
    let mut tx = rig.store.begin().await.unwrap();
    let held = lock(&record, "l", Some(lease));
    assert!(tx.take_state_lock(&held).await.unwrap());
    assert_eq!(tx.state_lock(record.deployment.stack_id).await.unwrap(), Some(held));
    assert!(tx.is_lease_alive(&lease).await.unwrap());
    assert!(!tx.is_lease_alive(&Lease { epoch: lease.epoch + 1, ..lease }).await.unwrap());
    assert!(!tx.is_lease_alive(&Lease { worker_id: worker(), ..lease }).await.unwrap());
    tx.commit().await.unwrap();
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert!(!rig.store.read().await.unwrap().is_lease_alive(&lease).await.unwrap());
}

async fn add(store: &Store, record: &Record, serial: i64, by: Option<Actor>) -> i64 {
    let id = ArtifactId::new(&RandomMint);
    let content = format!("state {serial}");
    let sealed = store.seal_artifact(id, ArtifactKind::State, content.as_bytes(), now()).await;
    let mut tx = store.begin().await.unwrap();
    tx.lock_stack(record.deployment.stack_id).await.unwrap().unwrap();
    tx.insert_artifact(&sealed.unwrap()).await.unwrap();
    let run = by.is_none();
    let new = NewStateVersion {
        stack_id: record.deployment.stack_id,
        mark: StateMark { lineage: "l".into(), serial },
        resource_count: 2,
        artifact: id,
        origin: if run { StateOrigin::Run } else { StateOrigin::Restore },
        deployment_id: run.then_some(record.deployment.id),
        epoch: run.then_some(1),
        written_by: by,
        restored_from: (!run).then_some(1),
    };
    let version = tx.add_state_version(&new, now()).await.unwrap();
    tx.commit().await.unwrap();
    version
}

async fn versions_are_listed_with_who_wrote_them(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let other = deployment(&rig.store, "db").await;
    add(&rig.store, &other, 9, None).await;
    for (serial, by) in [(3, None), (4, None), (9, Some(person()))] {
        add(&rig.store, &record, serial, by).await;
    }
    let stack = record.deployment.stack_id;
    let mut tx = rig.store.read().await.unwrap();
    let all = tx.state_versions(stack, None, 10).await.unwrap();
    assert_eq!(all.iter().map(|v| v.row.version).collect::<Vec<_>>(), [3, 2, 1]);
    let newest = &all[0].row;
    assert_eq!((newest.mark.serial, newest.origin), (9, StateOrigin::Restore));
    assert_eq!((newest.written_by.clone(), newest.restored_from), (Some(person()), Some(1)));
    assert_eq!((newest.deployment_id, newest.size_bytes), (None, 7));
    assert_eq!(newest.digest, slipway_domain::artifact::digest(b"state 9"));
    assert_eq!(all[2].row.deployment_id, Some(record.deployment.id));
    let page = tx.state_versions(stack, Some(3), 1).await.unwrap();
    assert_eq!(page.iter().map(|v| v.row.version).collect::<Vec<_>>(), [2]);
    assert_eq!(tx.state_version(stack, 1).await.unwrap().as_ref(), Some(&all[2]));
    assert_eq!(tx.state_version(stack, 4).await.unwrap(), None);
    let (_, content) = rig.store.open_artifact(all[0].artifact).await.unwrap().unwrap();
    assert_eq!(content.as_ref(), b"state 9");
}

async fn a_refused_state_is_kept_once_and_not_without_bound(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let stack = record.deployment.stack_id;
    let keep = |content: &'static str, reason| {
        let store = rig.store.clone();
        async move {
            let artifact = ArtifactId::new(&RandomMint);
            let kind = ArtifactKind::State;
            let sealed = store.seal_artifact(artifact, kind, content.as_bytes(), now()).await;
            let sealed = sealed.unwrap();
            let orphan = OrphanState {
                id: OrphanId::new(&RandomMint),
                stack_id: stack,
                mark: StateMark { lineage: "l".into(), serial: 4 },
                resource_count: 1,
                digest: sealed.artifact.digest.clone(),
                reason,
                written_by: person(),
                created_at: now(),
            };
            let new = NewOrphan {
                orphan: orphan.clone(),
                artifact,
                lock_id: Some("x\u{0}y".into()),
                lease: None,
            };
            let mut tx = store.begin().await.unwrap();
            tx.lock_stack(stack).await.unwrap().unwrap();
            tx.insert_artifact(&sealed).await.unwrap();
            let kept = tx.keep_orphan(&new, 3).await.unwrap();
            if kept {
                tx.commit().await.unwrap();
            }
            (kept, orphan)
        }
    };
    let (kept, first) = keep("a", StateRefusal::LeaseLost).await;
    assert!(kept);
    assert!(!keep("a", StateRefusal::NotLocked).await.0, "the same bytes again");
    assert!(keep("b", StateRefusal::OtherLineage).await.0);
    assert!(keep("c", StateRefusal::OldSerial).await.0);
    assert!(!keep("d", StateRefusal::OldSerial).await.0, "one too many");
    let mut tx = rig.store.read().await.unwrap();
    let all = tx.orphans(stack, 10).await.unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[2].row, first);
    assert_eq!(tx.orphan(stack, first.id).await.unwrap().as_ref(), Some(&all[2]));
    let elsewhere = StackId::new(&RandomMint);
    assert_eq!(tx.orphan(elsewhere, first.id).await.unwrap(), None, "not of another stack");
    assert_eq!(tx.stack(stack).await.unwrap().unwrap().state_artifact, None, "it is no version");
    drop(tx);
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.remove_orphan(elsewhere, first.id).await.unwrap(), None);
    assert_eq!(tx.remove_orphan(stack, first.id).await.unwrap(), Some(Vec::new()));
    assert_eq!(tx.remove_orphan(stack, first.id).await.unwrap(), None);
    tx.commit().await.unwrap();
    let gone = rig.store.open_artifact(all[2].artifact).await.unwrap();
    assert!(gone.is_none(), "its bytes went with it");
    assert!(keep("d", StateRefusal::OldSerial).await.0, "there is room again");
}

async fn an_apply_that_runs_is_known(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let stack = record.deployment.stack_id;
    job(&rig.store, &record, JobKind::Plan, 0).await;
    claim(&rig.store, Queue::Plan, worker(), 60_000).await.unwrap();
    job(&rig.store, &record, JobKind::Apply, 0).await;
    assert_eq!(rig.store.read().await.unwrap().running_apply(stack).await.unwrap(), None);
    claim(&rig.store, Queue::Apply, worker(), 60_000).await.unwrap();
    let running = rig.store.read().await.unwrap().running_apply(stack).await.unwrap();
    assert_eq!(running, Some(record.deployment.id));
}

/// The third migration makes the table of versions anew on SQLite.
async fn versions_from_before_the_backend_are_still_there(rig: Rig) {
    let Some(url) = &rig.url else {
        let path = rig.dir.path().join("old.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut c =
            sqlx::SqliteConnection::connect_with(&options.create_if_missing(true)).await.unwrap();
        let all = sqlx::migrate!("../../migrations/sqlite");
        for migration in all.iter().filter(|m| m.version < 3) {
            sqlx::raw_sql(migration.sql.clone()).execute(&mut c).await.unwrap();
        }
        let insert = "insert into stacks (id, project, name, environment, driver, created_at, updated_at) values (x'01', 'p', 'n', 'e', 'terraform', 't', 't');
            insert into artifacts (id, kind, digest, size_bytes, created_at) values (x'02', 'state', 'd', 1, 't');
            pragma foreign_keys = off;
            insert into state_versions values (x'01', 1, 'l', 5, 2, x'02', x'03', 7, 't');";
        sqlx::raw_sql(insert).execute(&mut c).await.unwrap();
        let third = all.iter().find(|m| m.version == 3).unwrap();
        sqlx::raw_sql(third.sql.clone()).execute(&mut c).await.unwrap();
        let row: (i64, i64, String, Option<String>) =
            sqlx::query_as("select serial, epoch, origin, written_by from state_versions")
                .fetch_one(&mut c)
                .await
                .unwrap();
        assert_eq!(row, (5, 7, "run".into(), None));
        return;
    };
    // On PostgreSQL its columns only change; that rows keep their values is its own promise.
    let mut c = sqlx::PgConnection::connect(url).await.unwrap();
    let default: Option<String> = sqlx::query_scalar(
        "select column_default from information_schema.columns
         where table_name = 'state_versions' and column_name = 'origin'",
    )
    .fetch_one(&mut c)
    .await
    .unwrap();
    assert_eq!(default, None, "nobody forgets to say it");
}
