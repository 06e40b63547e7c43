//! The state backend's verbs: who may write, what becomes of what is refused, and races.

use bytes::Bytes;
use serde_json::{Value, json};
use slipway_domain::access::{Actor, ActorKind, Door, Principal, Scope};
use slipway_domain::fault::Code;
use slipway_domain::id::StackId;
use slipway_domain::job::Lease;
use slipway_domain::page::PageRequest;
use slipway_domain::state_version::{StateOrigin, StateRefusal, StateVersion};
use slipway_services::execution;
use slipway_services::state::{self, Locked, Unlocked, Written};
use slipway_services::state_version as version;

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
    nothing_is_deleted,
    a_lock_is_broken_for_a_reason,
    versions_come_in_pages,
    a_state_is_imported_where_none_is_or_over_what_was_seen,
    an_orphan_is_adopted_or_dropped,
    nothing_is_set_under_a_writer,
    versions_are_compared_without_their_secrets,
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

    async fn versions(&self, of: StackId) -> Vec<StateVersion> {
        let ask = PageRequest { limit: 10, after: None };
        version::list(&self.cx, &self.who, of, ask).await.unwrap().items
    }

    /// Writes a state as a plain tool does, from lock to unlock.
    async fn put(&self, of: StackId, content: &Bytes) -> Written {
        self.lock(of, "put", None).await;
        let written = self.write(of, "put", None, content).await;
        state::unlock(&self.cx, &self.who, of, Some("put"), None).await.unwrap();
        written
    }

    async fn current(&self, of: StackId) -> Bytes {
        state::read(&self.cx, &self.who, of).await.unwrap().unwrap().1
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
    let versions = rig.versions(of).await;
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
    let versions = rig.versions(of).await;
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
    assert!(!state::lock_status(&rig.cx, &rig.who, of).await.unwrap().locked);
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
    assert_eq!(rig.versions(of).await.len(), 0);
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
    let stale = version::restore(&rig.cx, &rig.who, of, 1, 3).await;
    assert_eq!(code(stale), Code::Conflict);
    let missing = version::restore(&rig.cx, &rig.who, of, 9, 7).await;
    assert_eq!(code(missing), Code::NotFound);
    let back = version::restore(&rig.cx, &rig.who, of, 1, 7).await.unwrap();
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
    let applied = version::restore(&rig.cx, &rig.who, of, 1, 3).await.unwrap_err();
    assert!(applied.detail.contains("is being applied"), "{applied}");
    let of = rig.stack("net").await;
    rig.lock(of, "l", None).await;
    rig.write(of, "l", None, &body("line", 3, "a")).await;
    let locked = version::restore(&rig.cx, &rig.who, of, 1, 3).await.unwrap_err();
    assert_eq!(locked.code, Code::StateLocked);
    assert!(locked.detail.contains("local") && locked.detail.contains("lock l"), "{locked}");
}

async fn nothing_is_deleted(rig: Rig) {
    let of = rig.stack("net").await;
    state::remove(&rig.cx, &rig.who, of).await.unwrap();
    rig.put(of, &body("line", 3, "a")).await;
    assert_eq!(code(state::remove(&rig.cx, &rig.who, of).await), Code::StateRefused);
    assert_eq!(rig.current(of).await, body("line", 3, "a"));
}

async fn a_lock_is_broken_for_a_reason(rig: Rig) {
    let (db, lease) = rig.running("db", 60_000).await;
    let of = rig.stack("net").await;
    rig.lock(of, "l", None).await;
    let shown = state::lock_status(&rig.cx, &rig.who, of).await.unwrap();
    assert_eq!((shown.locked, shown.applying), (true, None));
    assert_eq!(shown.lock.unwrap().who, "ann@host");
    let unlock = async |id: Option<&str>, reason: &str| {
        state::force_unlock(&rig.cx, &rig.who, of, id, Some(reason.to_owned())).await
    };
    assert!(matches!(unlock(Some("m"), "x").await.unwrap(), Unlocked::Held(_)));
    assert_eq!(code(unlock(None, &"x".repeat(2001)).await), Code::InvalidInput);
    assert_eq!(unlock(Some("l"), "the laptop is gone").await.unwrap(), Unlocked::Released);
    assert_eq!(unlock(None, "x").await.unwrap(), Unlocked::NotLocked);
    assert_eq!(rig.audited().await.last().unwrap(), "state.force_unlock");
    rig.lock(db, "r", Some(lease)).await;
    let of = db;
    let asked = state::force_unlock(&rig.cx, &rig.who, of, Some("r"), None).await.unwrap();
    assert!(matches!(asked, Unlocked::Held(_)), "a living run's lock was broken");
    let shown = state::lock_status(&rig.cx, &rig.who, of).await.unwrap();
    assert_eq!(shown.job_id, Some(lease.job_id));
    assert!(shown.applying.is_some());
}

async fn versions_come_in_pages(rig: Rig) {
    let of = rig.stack("net").await;
    for serial in 1..=5 {
        rig.put(of, &body("line", serial, "a")).await;
    }
    let mut ask = PageRequest { limit: 2, after: None };
    let mut seen = Vec::new();
    loop {
        let page = version::list(&rig.cx, &rig.who, of, ask).await.unwrap();
        seen.extend(page.items.iter().map(|v| v.version));
        let Some(cursor) = page.next_cursor else { break };
        ask = PageRequest::parse(Some(2), Some(&cursor)).unwrap();
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let one = version::get(&rig.cx, &rig.who, of, 3).await.unwrap();
    assert_eq!((one.version, one.mark.serial), (3, 3));
    assert_eq!(code(version::get(&rig.cx, &rig.who, of, 6).await), Code::NotFound);
    let nowhere = StackId::new(&*rig.cx.mint);
    assert_eq!(code(version::list(&rig.cx, &rig.who, nowhere, ask).await), Code::NotFound);
}

async fn a_state_is_imported_where_none_is_or_over_what_was_seen(rig: Rig) {
    let of = rig.stack("net").await;
    let import = async |seen: Option<i64>, content: &Bytes| {
        version::import(&rig.cx, &rig.who, of, seen, content).await
    };
    let first = body("elsewhere", 42, "a");
    assert_eq!(code(import(Some(1), &first).await), Code::Conflict);
    assert_eq!(code(import(None, &"{}".into()).await), Code::InvalidInput);
    let kept = import(None, &first).await.unwrap();
    assert_eq!((kept.version, kept.mark.serial, kept.origin), (1, 42, StateOrigin::Import));
    assert_eq!(kept.written_by.as_ref().unwrap().id, "local");
    assert_eq!(rig.current(of).await, first, "not a byte is another");
    assert_eq!(import(None, &first).await.unwrap(), kept, "its answer was lost");
    let other = body("a new life", 1, "b");
    assert_eq!(code(import(None, &other).await), Code::Conflict);
    assert_eq!(code(import(Some(41), &other).await), Code::Conflict);
    let second = import(Some(42), &other).await.unwrap();
    assert_eq!((second.version, second.mark.serial), (2, 43));
    assert_eq!(second.mark.lineage, "elsewhere", "there is one line of versions");
    let content: Value = serde_json::from_slice(&rig.current(of).await).unwrap();
    assert_eq!(content["outputs"]["s"]["value"], "b");
    // Two that import at the same time: one of them is told.
    let (a, b) = (body("x", 1, "c"), body("x", 1, "d"));
    let (a, b) = tokio::join!(import(Some(43), &a), import(Some(43), &b));
    assert_eq!(i32::from(a.is_ok()) + i32::from(b.is_ok()), 1, "{a:?} {b:?}");
    assert_eq!(rig.versions(of).await.len(), 3);
}

async fn an_orphan_is_adopted_or_dropped(rig: Rig) {
    let of = rig.stack("net").await;
    rig.put(of, &body("line", 5, "a")).await;
    // Large enough for the object store.
    let big = "b".repeat(10_000);
    for content in [body("another", 2, &big), body("line", 4, "c"), body("line", 9, "d")] {
        assert!(matches!(rig.write(of, "x", None, &content).await, Written::Refused { .. }));
    }
    let orphans = state::orphans(&rig.cx, &rig.who, of).await.unwrap();
    let id = |serial: i64| orphans.iter().find(|o| o.mark.serial == serial).unwrap().id;
    let adopt = async |serial: i64, seen: Option<i64>| {
        version::adopt(&rig.cx, &rig.who, of, id(serial), seen).await
    };
    assert_eq!(code(adopt(2, None).await), Code::Conflict);
    assert_eq!(code(adopt(2, Some(4)).await), Code::Conflict);
    let other = adopt(2, Some(5)).await.unwrap();
    assert_eq!((other.mark.serial, other.origin), (6, StateOrigin::Adopt));
    assert_eq!(other.mark.lineage, "line");
    let content: Value = serde_json::from_slice(&rig.current(of).await).unwrap();
    assert_eq!(content["outputs"]["s"]["value"], big);
    assert_eq!(code(adopt(2, Some(6)).await), Code::NotFound, "it is no orphan any more");
    let newer = adopt(9, Some(6)).await.unwrap();
    assert_eq!(newer.mark.serial, 9, "what follows is left as it is");
    assert_eq!(rig.current(of).await, body("line", 9, "d"));
    version::discard(&rig.cx, &rig.who, of, id(4)).await.unwrap();
    assert_eq!(code(version::discard(&rig.cx, &rig.who, of, id(4)).await), Code::NotFound);
    assert_eq!(state::orphans(&rig.cx, &rig.who, of).await.unwrap(), []);
    let last = rig.audited().await;
    assert_eq!(last[last.len() - 1], "state.discard");
    // What was dropped can be refused and kept again.
    rig.write(of, "x", None, &body("line", 4, "c")).await;
    assert_eq!(state::orphans(&rig.cx, &rig.who, of).await.unwrap().len(), 1);
}

async fn nothing_is_set_under_a_writer(rig: Rig) {
    let (of, _) = rig.running("net", 60_000).await;
    let content = body("line", 1, "a");
    rig.write(of, "x", None, &content).await;
    let orphan = state::orphans(&rig.cx, &rig.who, of).await.unwrap()[0].id;
    let applied = version::adopt(&rig.cx, &rig.who, of, orphan, None).await.unwrap_err();
    assert_eq!(applied.code, Code::StateLocked);
    assert!(applied.detail.contains("is being applied"), "{applied}");
    assert_eq!(state::orphans(&rig.cx, &rig.who, of).await.unwrap().len(), 1, "it is still kept");
    let of = rig.stack("db").await;
    rig.lock(of, "l", None).await;
    let locked = version::import(&rig.cx, &rig.who, of, None, &content).await.unwrap_err();
    assert_eq!(locked.code, Code::StateLocked);
    assert!(locked.detail.contains("lock l"), "{locked}");
}

async fn versions_are_compared_without_their_secrets(rig: Rig) {
    let content = |serial: i64, size: &str| -> Bytes {
        json!({"version": 4, "lineage": "line", "serial": serial, "resources": [
            {"mode": "managed", "type": "t", "name": "n", "instances": [{"attributes": {
                // The value of a sensitive variable of a deployment of this stack.
                "size": size, "note": format!("{size} hunter2")}}]}]})
        .to_string()
        .into()
    };
    // The secrets of a deployment that wrote a version are known.
    let (_, job, lease) = rig.applying("db").await;
    let db = job.stack_id;
    let blob = |serial: i64, size: &str| slipway_domain::port::driver::StateBlob {
        mark: slipway_domain::plan::StateMark { lineage: "line".into(), serial },
        resource_count: 1,
        content: content(serial, size),
    };
    execution::save_state(&rig.cx, &job, &lease, blob(1, "small")).await.unwrap();
    execution::save_state(&rig.cx, &job, &lease, blob(2, "large")).await.unwrap();
    let diff = version::diff(&rig.cx, &rig.who, db, None, None).await.unwrap();
    assert_eq!((diff.from, diff.to, diff.counts.changed), (1, 2, 1));
    let text = serde_json::to_string(&diff).unwrap();
    assert!(!text.contains("hunter2") && text.contains("large ***"), "{text}");
    let whole = version::diff(&rig.cx, &rig.who, db, Some(0), Some(2)).await.unwrap();
    assert_eq!(whole.counts.added, 1);
    assert_eq!(code(version::diff(&rig.cx, &rig.who, db, Some(1), Some(7)).await), Code::NotFound);
}

async fn scopes_are_asked_for(rig: Rig) {
    let of = rig.stack("net").await;
    let mut none = rig.who.clone();
    none.grants.house.scopes = Scope::ALL
        .iter()
        .copied()
        .filter(|s| !matches!(s, Scope::StateRead | Scope::StateWrite | Scope::StacksRead))
        .collect();
    let (cx, none) = (&rig.cx, &none);
    let content = body("line", 1, "a");
    assert_eq!(code(state::lock(cx, none, of, &info("l"), None).await), Code::Forbidden);
    assert_eq!(code(state::unlock(cx, none, of, None, None).await), Code::Forbidden);
    assert_eq!(code(state::write(cx, none, of, None, None, &content).await), Code::Forbidden);
    assert_eq!(code(version::restore(cx, none, of, 1, 1).await), Code::Forbidden);
    assert_eq!(code(state::read(cx, none, of).await), Code::Forbidden);
    assert_eq!(code(state::read_version(cx, none, of, 1).await), Code::Forbidden);
    assert_eq!(code(version::list(cx, none, of, PageRequest::default()).await), Code::Forbidden);
    assert_eq!(code(state::orphans(cx, none, of).await), Code::Forbidden);
    assert_eq!(code(state::lock_status(cx, none, of).await), Code::Forbidden);
    let id = slipway_domain::id::OrphanId::new(&*cx.mint);
    assert_eq!(code(state::read_orphan(cx, none, of, id).await), Code::Forbidden);
    assert_eq!(code(state::force_unlock(cx, none, of, None, None).await), Code::Forbidden);
    assert_eq!(code(state::remove(cx, none, of).await), Code::Forbidden);
    assert_eq!(code(version::get(cx, none, of, 1).await), Code::Forbidden);
    assert_eq!(code(version::diff(cx, none, of, None, None).await), Code::Forbidden);
    assert_eq!(code(version::import(cx, none, of, None, &content).await), Code::Forbidden);
    assert_eq!(code(version::adopt(cx, none, of, id, None).await), Code::Forbidden);
    assert_eq!(code(version::discard(cx, none, of, id).await), Code::Forbidden);
}

async fn everything_is_on_record(rig: Rig) {
    let of = rig.stack("net").await;
    let before = rig.audited().await.len();
    rig.lock(of, "l", None).await;
    rig.write(of, "l", None, &body("line", 1, "a")).await;
    rig.write(of, "x", None, &body("line", 2, "a")).await;
    state::read(&rig.cx, &rig.who, of).await.unwrap().unwrap();
    state::unlock(&rig.cx, &rig.who, of, Some("l"), None).await.unwrap();
    version::restore(&rig.cx, &rig.who, of, 1, 1).await.unwrap();
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
