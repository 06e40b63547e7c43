//! The state backend's verbs: who may write, what becomes of what is refused, and races.

use bytes::Bytes;
use serde_json::{Value, json};
use slipway_domain::access::{Actor, ActorKind, Door, Principal, Scope};
use slipway_domain::fault::Code;
use slipway_domain::id::StackId;
use slipway_domain::job::Lease;
use slipway_domain::state_version::{StateOrigin, StateRefusal};
use slipway_services::execution;
use slipway_services::state::{self, Locked, Unlocked, Written};

use crate::rig::{Rig, blob, code, on_both_engines};

on_both_engines! {
    a_plain_tool_locks_writes_and_unlocks,
    only_the_holder_of_the_lock_writes,
    a_run_writes_while_its_lease_is_alive,
    a_zombie_changes_nothing,
    what_is_refused_is_kept_once,
    lineage_and_serial_are_guarded,
    a_lock_of_a_living_run_is_not_broken,
    a_plain_tool_waits_for_an_apply,
    of_two_that_lock_one_has_it,
    an_old_version_comes_back_as_a_new_one,
    nothing_is_restored_under_a_writer,
    scopes_are_asked_for,
    everything_is_on_record,
}

fn body(lineage: &str, serial: i64, secret: &str) -> Bytes {
    json!({"version": 4, "lineage": lineage, "serial": serial, "outputs": {"s": {"value": secret}},
        "resources": [{"mode": "managed", "instances": [{}]}]})
    .to_string()
    .into()
}

fn info(id: &str) -> Vec<u8> {
    json!({"ID": id, "Operation": "OperationTypeApply", "Who": "ann@host"}).to_string().into()
}

fn other() -> Principal {
    let actor = Actor { id: "bob".into(), kind: ActorKind::Person, via: Door::Rest };
    Principal { actor, ..Principal::local(Door::Rest) }
}

impl Rig {
    async fn stack(&self, name: &str) -> StackId {
        let id = self.submit(name).await;
        self.get(id).await.stack_id
    }

    async fn lock(&self, of: StackId, id: &str, run: Option<Lease>) -> Locked {
        state::lock(&self.cx, &self.who, of, &info(id), run).await.unwrap()
    }

    async fn write(&self, of: StackId, id: &str, run: Option<Lease>, content: &Bytes) -> Written {
        state::write(&self.cx, &self.who, of, Some(id), run, content).await.unwrap()
    }

    async fn serial(&self, of: StackId) -> i64 {
        let mut tx = self.cx.store.read().await.unwrap();
        tx.stack(of).await.unwrap().unwrap().state_mark().serial
    }

    /// A stack that is being applied, and the lease of its apply.
    async fn running(&self, name: &str, lease_ms: i64) -> (StackId, Lease) {
        let id = self.approved(name).await;
        let (job, lease) =
            self.claim_for(slipway_domain::job::Queue::Apply, lease_ms).await.unwrap();
        execution::begin(&self.cx, &job, &lease).await.unwrap();
        (self.get(id).await.stack_id, lease)
    }
}

fn reason(written: &Written) -> StateRefusal {
    match written {
        Written::Refused { reason, .. } => *reason,
        other => panic!("it was to be refused: {other:?}"),
    }
}

async fn a_plain_tool_locks_writes_and_unlocks(rig: Rig) {
    let of = rig.stack("net").await;
    assert_eq!(state::read(&rig.cx, &rig.who, of).await.unwrap(), None);
    assert!(matches!(rig.lock(of, "l", None).await, Locked::Taken(_)));
    assert!(matches!(rig.lock(of, "l", None).await, Locked::Taken(_)), "its answer was lost");
    let first = body("line", 3, "a");
    assert_eq!(rig.write(of, "l", None, &first).await, Written::Kept { version: 1 });
    assert_eq!(rig.write(of, "l", None, &first).await, Written::Unchanged, "its answer was lost");
    assert_eq!(rig.write(of, "l", None, &body("line", 4, "b")).await, Written::Kept { version: 2 });
    let unlock = |id: &'static str| state::unlock(&rig.cx, &rig.who, of, Some(id), None);
    assert!(matches!(unlock("another").await.unwrap(), Unlocked::Held(_)));
    assert_eq!(unlock("l").await.unwrap(), Unlocked::Released);
    assert_eq!(unlock("l").await.unwrap(), Unlocked::NotLocked);
    let (mark, content) = state::read(&rig.cx, &rig.who, of).await.unwrap().unwrap();
    assert_eq!((mark.serial, content), (4, body("line", 4, "b")));
    let versions = state::list(&rig.cx, &rig.who, of, None, 10).await.unwrap();
    assert_eq!(versions.iter().map(|v| v.version).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((versions[0].origin, versions[0].resource_count), (StateOrigin::Backend, 1));
    assert_eq!(versions[0].written_by.as_ref().unwrap().id, "local");
    let (_, old) = state::read_version(&rig.cx, &rig.who, of, 1).await.unwrap();
    assert_eq!(old, first);
}

async fn only_the_holder_of_the_lock_writes(rig: Rig) {
    let of = rig.stack("net").await;
    let content = body("line", 3, "a");
    let not = rig.write(of, "l", None, &content).await;
    assert_eq!(reason(&not), StateRefusal::NotLocked);
    rig.lock(of, "l", None).await;
    for id in [None, Some("x"), Some("")] {
        let written = state::write(&rig.cx, &rig.who, of, id, None, &content).await.unwrap();
        assert_eq!(reason(&written), StateRefusal::OtherLock);
        let Written::Refused { held: Some(held), .. } = written else { panic!("{written:?}") };
        assert_eq!(held["ID"], "l", "who is refused is told who holds it");
    }
    assert_eq!(rig.serial(of).await, 0);
    let nonsense = state::write(&rig.cx, &rig.who, of, Some("l"), None, &"{}".into()).await;
    assert_eq!(code(nonsense), Code::InvalidInput);
    let nowhere = StackId::new(&*rig.cx.mint);
    let missing = state::write(&rig.cx, &rig.who, nowhere, Some("l"), None, &content).await;
    assert_eq!(code(missing), Code::NotFound);
}

async fn a_run_writes_while_its_lease_is_alive(rig: Rig) {
    let (of, lease) = rig.running("net", 60_000).await;
    assert!(matches!(rig.lock(of, "l", Some(lease)).await, Locked::Taken(_)));
    let content = body("line", 1, "a");
    // Its lock without its lease is worth nothing, and neither is another holding of its job.
    assert_eq!(reason(&rig.write(of, "l", None, &content).await), StateRefusal::OtherLock);
    let next = Lease { epoch: lease.epoch + 1, ..lease };
    assert_eq!(reason(&rig.write(of, "l", Some(next), &content).await), StateRefusal::LeaseLost);
    assert_eq!(rig.write(of, "l", Some(lease), &content).await, Written::Kept { version: 1 });
    let versions = state::list(&rig.cx, &rig.who, of, None, 10).await.unwrap();
    assert_eq!((versions[0].origin, versions[0].written_by.clone()), (StateOrigin::Run, None));
    assert!(versions[0].deployment_id.is_some());
    // A run cannot take the lock of another stack with its own lease.
    let elsewhere = rig.stack("db").await;
    let taken = state::lock(&rig.cx, &rig.who, elsewhere, &info("m"), Some(lease)).await;
    assert_eq!(code(taken), Code::LeaseLost);
    let released = state::unlock(&rig.cx, &rig.who, of, Some("l"), Some(lease)).await.unwrap();
    assert_eq!(released, Unlocked::Released);
}

async fn a_zombie_changes_nothing(rig: Rig) {
    let (of, lease) = rig.running("net", 400).await;
    rig.lock(of, "l", Some(lease)).await;
    assert!(matches!(
        rig.write(of, "l", Some(lease), &body("line", 1, "a")).await,
        Written::Kept { .. }
    ));
    assert!(!state::release_dead(&rig.cx, of).await.unwrap(), "it lives");
    tokio::time::sleep(std::time::Duration::from_millis(450)).await;
    let late = rig.write(of, "l", Some(lease), &body("line", 2, "late")).await;
    assert_eq!(reason(&late), StateRefusal::LeaseLost);
    assert_eq!(rig.serial(of).await, 1);
    let zombie = state::unlock(&rig.cx, &rig.who, of, Some("l"), Some(lease)).await.unwrap();
    assert!(matches!(zombie, Unlocked::Held(_)), "its tool may be writing still");
    let relock = state::lock(&rig.cx, &rig.who, of, &info("l"), Some(lease)).await;
    assert_eq!(code(relock), Code::LeaseLost);
    // Its last words are kept.
    let orphans = state::orphans(&rig.cx, &rig.who, of).await.unwrap();
    assert_eq!((orphans.len(), orphans[0].mark.serial), (1, 2));
    let (_, words) = state::read_orphan(&rig.cx, &rig.who, of, orphans[0].id).await.unwrap();
    assert_eq!(words, body("line", 2, "late"));
    assert!(state::release_dead(&rig.cx, of).await.unwrap());
    assert!(state::lock_of(&rig.cx, &rig.who, of).await.unwrap().is_none());
}

async fn what_is_refused_is_kept_once(rig: Rig) {
    let of = rig.stack("net").await;
    let content = body("line", 1, "a");
    let kept = |written: Written| match written {
        Written::Refused { orphan, .. } => orphan.is_some(),
        other => panic!("{other:?}"),
    };
    assert!(kept(rig.write(of, "l", None, &content).await));
    assert!(!kept(rig.write(of, "l", None, &content).await), "a client that tries and tries");
    assert!(kept(rig.write(of, "l", None, &body("line", 1, "b")).await));
    assert_eq!(state::orphans(&rig.cx, &rig.who, of).await.unwrap().len(), 2);
    assert_eq!(state::list(&rig.cx, &rig.who, of, None, 10).await.unwrap().len(), 0);
}

async fn lineage_and_serial_are_guarded(rig: Rig) {
    let of = rig.stack("net").await;
    rig.lock(of, "l", None).await;
    rig.write(of, "l", None, &body("line", 5, "a")).await;
    for (content, why) in [
        (body("another", 6, "a"), StateRefusal::OtherLineage),
        (body("line", 5, "b"), StateRefusal::OldSerial),
        (body("line", 4, "a"), StateRefusal::OldSerial),
    ] {
        assert_eq!(reason(&rig.write(of, "l", None, &content).await), why);
    }
    assert_eq!(rig.write(of, "l", None, &body("line", 9, "a")).await, Written::Kept { version: 2 });
}

async fn a_lock_of_a_living_run_is_not_broken(rig: Rig) {
    let (of, lease) = rig.running("net", 500).await;
    rig.lock(of, "l", Some(lease)).await;
    for id in [None, Some("l")] {
        let asked = state::unlock(&rig.cx, &other(), of, id, None).await.unwrap();
        assert!(matches!(asked, Unlocked::Held(_)), "{asked:?}");
    }
    tokio::time::sleep(std::time::Duration::from_millis(550)).await;
    let broken = state::unlock(&rig.cx, &other(), of, None, None).await.unwrap();
    assert_eq!(broken, Unlocked::Released);
    // A lock of nobody's run can be broken by who may write, and that is on record.
    let plain = rig.stack("db").await;
    rig.lock(plain, "p", None).await;
    assert_eq!(
        state::unlock(&rig.cx, &other(), plain, None, None).await.unwrap(),
        Unlocked::Released
    );
}

async fn a_plain_tool_waits_for_an_apply(rig: Rig) {
    let (of, lease) = rig.running("net", 60_000).await;
    let Locked::Held(by) = rig.lock(of, "l", None).await else { panic!("it was given away") };
    assert_eq!(by["Operation"], "apply");
    assert!(by["Info"].as_str().unwrap().starts_with("dep_"), "{by}");
    assert!(matches!(rig.lock(of, "l", Some(lease)).await, Locked::Taken(_)));
    // The snapshots of a run go on beside it.
    let mut tx = rig.cx.store.read().await.unwrap();
    let job = tx.job(lease.job_id).await.unwrap().unwrap();
    drop(tx);
    execution::save_state(&rig.cx, &job, &lease, blob(1, b"one")).await.unwrap();
    assert_eq!(rig.serial(of).await, 1);
}

async fn of_two_that_lock_one_has_it(rig: Rig) {
    let of = rig.stack("net").await;
    let all = futures::future::join_all((0..6).map(|i| {
        let (cx, who) = (rig.cx.clone(), rig.who.clone());
        async move {
            let taken = state::lock(&cx, &who, of, &info(&format!("l{i}")), None).await.unwrap();
            let id = format!("l{i}");
            let content = body("line", 1, &id);
            (taken, state::write(&cx, &who, of, Some(&id), None, &content).await.unwrap())
        }
    }))
    .await;
    let taken = all.iter().filter(|(lock, _)| matches!(lock, Locked::Taken(_))).count();
    let written = all.iter().filter(|(_, w)| matches!(w, Written::Kept { .. })).count();
    assert_eq!((taken, written), (1, 1), "{all:?}");
    assert_eq!(state::orphans(&rig.cx, &rig.who, of).await.unwrap().len(), 5);
}

async fn an_old_version_comes_back_as_a_new_one(rig: Rig) {
    let of = rig.stack("net").await;
    rig.lock(of, "l", None).await;
    for serial in [3, 7] {
        rig.write(of, "l", None, &body("line", serial, &format!("s{serial}"))).await;
    }
    state::unlock(&rig.cx, &rig.who, of, Some("l"), None).await.unwrap();
    let stale = state::restore(&rig.cx, &rig.who, of, 1, 3).await;
    assert_eq!(code(stale), Code::Conflict);
    let missing = state::restore(&rig.cx, &rig.who, of, 9, 7).await;
    assert_eq!(code(missing), Code::NotFound);
    let back = state::restore(&rig.cx, &rig.who, of, 1, 7).await.unwrap();
    assert_eq!((back.version, back.mark.serial, back.restored_from), (3, 8, Some(1)));
    assert_eq!(back.origin, StateOrigin::Restore);
    let (mark, content) = state::read(&rig.cx, &rig.who, of).await.unwrap().unwrap();
    let content: Value = serde_json::from_slice(&content).unwrap();
    assert_eq!((mark.serial, &content["serial"]), (8, &json!(8)));
    assert_eq!(content["outputs"]["s"]["value"], "s3");
}

async fn nothing_is_restored_under_a_writer(rig: Rig) {
    let (of, lease) = rig.running("db", 60_000).await;
    rig.lock(of, "m", Some(lease)).await;
    rig.write(of, "m", Some(lease), &body("line", 3, "a")).await;
    state::unlock(&rig.cx, &rig.who, of, Some("m"), Some(lease)).await.unwrap();
    let applied = state::restore(&rig.cx, &rig.who, of, 1, 3).await.unwrap_err();
    assert!(applied.detail.contains("is being applied"), "{applied}");
    let of = rig.stack("net").await;
    rig.lock(of, "l", None).await;
    rig.write(of, "l", None, &body("line", 3, "a")).await;
    let locked = state::restore(&rig.cx, &rig.who, of, 1, 3).await.unwrap_err();
    assert_eq!(locked.code, Code::Conflict);
    assert!(locked.detail.contains("local") && locked.detail.contains("lock l"), "{locked}");
}

async fn scopes_are_asked_for(rig: Rig) {
    let of = rig.stack("net").await;
    let mut none = rig.who.clone();
    none.scopes = Scope::ALL
        .iter()
        .copied()
        .filter(|s| !matches!(s, Scope::StateRead | Scope::StateWrite | Scope::StacksRead))
        .collect();
    let (cx, none) = (&rig.cx, &none);
    let content = body("line", 1, "a");
    assert_eq!(code(state::lock(cx, none, of, &info("l"), None).await), Code::Forbidden);
    assert_eq!(code(state::unlock(cx, none, of, None, None).await), Code::Forbidden);
    assert_eq!(code(state::write(cx, none, of, None, None, &content).await), Code::Forbidden);
    assert_eq!(code(state::restore(cx, none, of, 1, 1).await), Code::Forbidden);
    assert_eq!(code(state::read(cx, none, of).await), Code::Forbidden);
    assert_eq!(code(state::read_version(cx, none, of, 1).await), Code::Forbidden);
    assert_eq!(code(state::list(cx, none, of, None, 1).await), Code::Forbidden);
    assert_eq!(code(state::orphans(cx, none, of).await), Code::Forbidden);
    assert_eq!(code(state::lock_of(cx, none, of).await), Code::Forbidden);
    let id = slipway_domain::id::OrphanId::new(&*cx.mint);
    assert_eq!(code(state::read_orphan(cx, none, of, id).await), Code::Forbidden);
}

async fn everything_is_on_record(rig: Rig) {
    let of = rig.stack("net").await;
    let before = rig.audited().await.len();
    rig.lock(of, "l", None).await;
    rig.write(of, "l", None, &body("line", 1, "a")).await;
    rig.write(of, "x", None, &body("line", 2, "a")).await;
    state::read(&rig.cx, &rig.who, of).await.unwrap().unwrap();
    state::unlock(&rig.cx, &rig.who, of, Some("l"), None).await.unwrap();
    state::restore(&rig.cx, &rig.who, of, 1, 1).await.unwrap();
    rig.lock(of, "m", None).await;
    state::unlock(&rig.cx, &other(), of, Some("m"), None).await.unwrap();
    assert_eq!(
        rig.audited().await[before..],
        [
            "state.lock",
            "state.write",
            "state.refuse",
            "state.read",
            "state.unlock",
            "state.restore",
            "state.lock",
            "state.force_unlock"
        ]
    );
}
