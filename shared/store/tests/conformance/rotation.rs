//! Giving everything that is sealed another key, while it is read and written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use slipway_domain::deployment::Output;
use slipway_store::rotation::{Step, Walk, sealed_columns};

use super::*;

on_both_engines! {
    everything_gets_the_new_key_and_nothing_else_changes,
    a_rotation_that_is_cut_off_anywhere_goes_on,
    whoever_writes_meanwhile_loses_nothing,
    an_object_that_is_gone_is_told,
}

fn ring() -> String {
    (*Keyring::generate().unwrap()).clone()
}

fn parsed(rings: &[&str]) -> Keyring {
    Keyring::parse(&rings.join(",")).unwrap()
}

/// The rig's store and a ring of its own for it.
fn options(rig: &Rig) -> Options {
    let database = match &rig.url {
        Some(url) => DatabaseUrl::Postgres(url.clone()),
        None => DatabaseUrl::Sqlite(rig.dir.path().join("rotation.db")),
    };
    Options {
        database,
        max_connections: 4,
        connect_timeout: Duration::from_secs(20),
        artifacts_dir: rig.dir.path().join("artifacts"),
        inline_max_bytes: 4096,
    }
}

/// A store of its own beside the rig's: its keys are known here.
async fn opened(rig: &Rig, keys: Keyring) -> Store {
    let mut options = options(rig);
    if let DatabaseUrl::Postgres(url) = &mut options.database {
        let (base, name) = url.rsplit_once('/').unwrap();
        let own = format!("{name}_r");
        let mut admin = sqlx::PgConnection::connect(url).await.unwrap();
        // Opened more than once by a test.
        let _ = admin.execute(sqlx::AssertSqlSafe(format!("create database {own}"))).await;
        *url = format!("{base}/{own}");
    }
    Store::open(&options, keys).await.unwrap()
}

/// Ids of deployments (all have variables, every third one outputs) and of artifacts, small and
/// large.
async fn fill(store: &Store, deployments: usize) -> (Vec<DeploymentId>, Vec<ArtifactId>) {
    let mut ids = Vec::new();
    for number in 0..deployments {
        let id = deployment(store, "net").await.deployment.id;
        if number % 3 == 0 {
            let mut tx = store.begin().await.unwrap();
            tx.set_outputs(id, &outputs(number)).await.unwrap();
            tx.commit().await.unwrap();
        }
        ids.push(id);
    }
    let mut artifacts = Vec::new();
    for size in [10, 3000, 9000, 200_000] {
        let id = ArtifactId::new(&RandomMint);
        let content = vec![7; size];
        let sealed = store.seal_artifact(id, ArtifactKind::State, &content, now()).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        tx.insert_artifact(&sealed).await.unwrap();
        tx.commit().await.unwrap();
        artifacts.push(id);
    }
    (ids, artifacts)
}

fn outputs(number: usize) -> Vec<Output> {
    vec![Output { name: "n".into(), value: number.into(), sensitive: true, kind: "number".into() }]
}

async fn rotate(store: &Store) -> u64 {
    let current = store.keys().current().await.unwrap();
    let (mut walk, mut rewrapped) = (Some(Walk::default()), 0);
    while let Some(at) = walk {
        let Step { next, rewrapped: some, .. } = store.rewrap_some(at, &current).await.unwrap();
        (walk, rewrapped) = (next, rewrapped + some);
    }
    rewrapped
}

async fn all_is_there(store: &Store, ids: &[DeploymentId], artifacts: &[ArtifactId]) {
    let mut tx = store.read().await.unwrap();
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(tx.variables(*id).await.unwrap()["password"], "hunter2");
        let kept = tx.outputs(*id).await.unwrap();
        assert_eq!(kept, (number % 3 == 0).then(|| outputs(number)));
    }
    drop(tx);
    for id in artifacts {
        let (artifact, bytes) = store.open_artifact(*id).await.unwrap().unwrap();
        assert!(bytes.iter().all(|b| *b == 7) && bytes.len() as u64 == artifact.size_bytes);
    }
}

async fn everything_gets_the_new_key_and_nothing_else_changes(rig: Rig) {
    let (old, new) = (ring(), ring());
    let before = opened(&rig, parsed(&[&old])).await;
    let (ids, artifacts) = fill(&before, 103).await;
    let mac = before.house().mac("variables", b"v");
    let given = before.house().seal("mcp|x", b"session").unwrap();
    let sealed = 1 + 103 + 35 + 4;
    let both = opened(&rig, parsed(&[&new, &old])).await;
    all_is_there(&both, &ids, &artifacts).await;
    let found = both.keys_in_use().await.unwrap();
    assert_eq!(found.under, [(parsed(&[&old]).current().to_owned(), sealed)].into());
    assert_eq!(rotate(&both).await, sealed);
    assert_eq!(rotate(&both).await, 0, "everything has it");
    // A process that has both goes on; one with the new key alone opens everything.
    all_is_there(&both, &ids, &artifacts).await;
    let after = opened(&rig, parsed(&[&new])).await;
    all_is_there(&after, &ids, &artifacts).await;
    let found = after.keys_in_use().await.unwrap();
    assert_eq!(found.under, [(parsed(&[&new]).current().to_owned(), sealed)].into());
    // What an approval is bound to, and what clients were given, outlives the old key.
    assert_eq!(after.house().mac("variables", b"v"), mac);
    assert_eq!(after.house().open("mcp|x", &given).unwrap(), b"session");
    assert!(before.check_keys().await.is_err(), "the old key opens nothing any more");
}

async fn a_rotation_that_is_cut_off_anywhere_goes_on(rig: Rig) {
    let (old, new) = (ring(), ring());
    let before = opened(&rig, parsed(&[&old])).await;
    let (ids, artifacts) = fill(&before, 101).await;
    let both = opened(&rig, parsed(&[&new, &old])).await;
    let current = both.keys().current().await.unwrap();
    let (mut at, mut steps) = (Walk::default(), 0);
    loop {
        // Whatever was done, whoever has both keys reads all of it.
        let step = both.rewrap_some(at, &current).await.unwrap();
        steps += 1;
        let found = both.keys_in_use().await.unwrap();
        assert_eq!(found.under.values().sum::<u64>(), 1 + 101 + 34 + 4);
        let Some(next) = step.next else { break };
        if steps == 2 {
            all_is_there(&both, &ids, &artifacts).await;
            assert_eq!(found.under[&current], 101, "cut off here, it begins anew");
        }
        at = next;
    }
    assert!(steps >= 5, "{steps}");
    assert_eq!(rotate(&both).await, 0);
    all_is_there(&opened(&rig, parsed(&[&new])).await, &ids, &artifacts).await;
}

async fn whoever_writes_meanwhile_loses_nothing(rig: Rig) {
    let (old, new) = (ring(), ring());
    let before = opened(&rig, parsed(&[&old])).await;
    let (ids, artifacts) = fill(&before, 30).await;
    let both = opened(&rig, parsed(&[&new, &old])).await;
    let ended = Arc::new(AtomicBool::new(false));
    // It still seals with the old key, again and again.
    let writer = tokio::spawn({
        let (ended, before, id) = (ended.clone(), before.clone(), ids[0]);
        async move {
            let mut last = 0;
            while !ended.load(Ordering::SeqCst) {
                last += 3;
                let mut tx = before.begin().await.unwrap();
                tx.set_outputs(id, &outputs(last)).await.unwrap();
                tx.commit().await.unwrap();
            }
            last
        }
    });
    for _ in 0..5 {
        rotate(&both).await;
        let mut tx = both.read().await.unwrap();
        assert!(tx.outputs(ids[0]).await.unwrap().is_some());
    }
    ended.store(true, Ordering::SeqCst);
    let last = writer.await.unwrap();
    rotate(&both).await;
    let after = opened(&rig, parsed(&[&new])).await;
    let mut tx = after.begin().await.unwrap();
    assert_eq!(tx.outputs(ids[0]).await.unwrap(), Some(outputs(last)), "the last word stands");
    tx.set_outputs(ids[0], &outputs(0)).await.unwrap();
    tx.commit().await.unwrap();
    all_is_there(&after, &ids, &artifacts).await;
}

async fn an_object_that_is_gone_is_told(rig: Rig) {
    let (old, new) = (ring(), ring());
    let before = opened(&rig, parsed(&[&old])).await;
    let (ids, mut artifacts) = fill(&before, 1).await;
    let gone = artifacts.pop().unwrap();
    std::fs::remove_file(rig.dir.path().join(format!("artifacts/state/{gone}"))).unwrap();
    let both = opened(&rig, parsed(&[&new, &old])).await;
    assert_eq!(rotate(&both).await, 1 + 1 + 1 + 3);
    let found = both.keys_in_use().await.unwrap();
    assert_eq!((found.objects_missing, found.under.len()), (1, 1));
    all_is_there(&both, &ids, &artifacts).await;
    assert!(!rig.dir.path().join(format!("artifacts/state/{gone}")).exists());
}

/// A column for bytes that nobody rotates would be lost with the old key.
#[tokio::test]
async fn every_column_of_bytes_is_rotated() {
    let rig = postgres().await;
    let mut c = sqlx::PgConnection::connect(rig.url.as_ref().unwrap()).await.unwrap();
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text from information_schema.columns
         where table_schema = 'public' and data_type = 'bytea'
           and table_name not like '\\_%' order by 1, 2",
    )
    .fetch_all(&mut c)
    .await
    .unwrap();
    let mut rotated: Vec<_> = sealed_columns();
    rotated.sort_unstable();
    let columns: Vec<_> = columns.iter().map(|(t, c)| (t.as_str(), c.as_str())).collect();
    assert_eq!(columns, rotated);
}
