//! The audit log: what is written comes back, the chain has no holes however units of work end, the
//! guards of the table hold, and whatever is done around them is seen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slipway_domain::access::{Door, Principal};
use slipway_domain::audit::{
    Anchor, AuditRecord, AuditResult, Filter, FindingKind, Mark, Verdict, Verifier, canonical,
};
use slipway_domain::clock::SystemClock;
use slipway_domain::page::PageRequest;

use super::*;
use FindingKind::{Broken, Changed, Missing, Truncated};

on_both_engines! {
    a_record_comes_back_as_it_was_put_in_and_is_found_by_what_it_says,
    the_chain_has_no_holes_and_nobody_is_left_out,
    one_who_commits_late_is_sealed_all_the_same,
    the_guards_of_the_tables_hold,
    what_was_put_in_by_other_means_is_sealed_and_named,
    what_is_changed_dropped_or_sealed_anew_is_named,
    retention_leaves_a_chain_that_can_be_verified,
    a_run_without_work_holds_nobody_up,
    sealing_is_fast_enough,
}

fn record(target: &str, number: usize) -> AuditRecord {
    let who = Principal {
        token: Some("key_1".into()),
        address: Some("192.0.2.1".into()),
        user_agent: Some("slipway/1".into()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        ..Principal::local(Door::Rest)
    };
    let detail = serde_json::json!({"n": number, "reason": "so", "before": 1, "after": [number]});
    AuditRecord::of(&SystemClock, &RandomMint, &who, "thing.do", target.to_owned(), detail)
}

async fn write(store: &Store, target: &str, count: usize) -> Vec<AuditRecord> {
    let records: Vec<_> = (0..count).map(|number| record(target, number)).collect();
    let mut tx = store.begin().await.unwrap();
    tx.insert_audit(&records).await.unwrap();
    tx.commit().await.unwrap();
    records
}

async fn seal_all(store: &Store) -> usize {
    let mut sealed = 0;
    loop {
        let run = store.seal_audit(now(), 7).await.unwrap();
        sealed += run.records;
        if run.records == 0 {
            return sealed;
        }
    }
}

async fn verify(store: &Store) -> Verdict {
    let mut tx = store.read().await.unwrap();
    let head = tx.audit_head().await.unwrap();
    assert!(head.genuine);
    let checkpoint = *head.checkpoint();
    let mut verifier = Verifier::new(checkpoint.pruned, checkpoint.unmarked);
    for row in tx.audit_chain(checkpoint.pruned.seq, 10_000).await.unwrap() {
        verifier.walk(&row);
    }
    verifier.reached(&checkpoint);
    verifier.verdict()
}

/// Statements as somebody with the database in hand sends them.
async fn by_hand(rig: &Rig, statements: &[&str]) -> Result<(), sqlx::Error> {
    match &rig.url {
        None => {
            let path = rig.dir.path().join("test.db");
            let mut c = sqlx::SqliteConnection::connect(&path.to_string_lossy()).await?;
            for text in statements {
                c.execute(sqlx::AssertSqlSafe((*text).to_owned())).await?;
            }
        }
        Some(url) => {
            let mut c = sqlx::PgConnection::connect(url).await?;
            for text in statements {
                c.execute(sqlx::AssertSqlSafe((*text).to_owned())).await?;
            }
        }
    }
    Ok(())
}

/// Takes the guards away, as only the owner of the tables can.
async fn unguard(rig: &Rig) {
    let statements: &[&str] = if rig.url.is_some() {
        &[
            "alter table audit disable trigger all",
            "alter table audit_chain disable trigger all",
            "alter table audit_checkpoints disable trigger all",
        ]
    } else {
        &[
            "drop trigger audit_guard_update",
            "drop trigger audit_guard_delete",
            "drop trigger audit_chain_guard_update",
            "drop trigger audit_checkpoint_guard_delete",
        ]
    };
    by_hand(rig, statements).await.unwrap();
}

async fn a_record_comes_back_as_it_was_put_in_and_is_found_by_what_it_says(rig: Rig) {
    let put = write(&rig.store, "dep_1", 3).await;
    let denied = AuditRecord {
        action: "thing.see".into(),
        actor: slipway_domain::access::Actor { id: "eve \"e\"".into(), ..put[0].actor.clone() },
        ..record("dep_2", 9).ended(AuditResult::Denied)
    };
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_audit(std::slice::from_ref(&denied)).await.unwrap();
    tx.commit().await.unwrap();
    let page = async |filter: Filter, page| {
        let rows = rig.store.read().await.unwrap().audit_page(&filter, page).await.unwrap();
        rows.into_iter().map(|entry| entry.record).collect::<Vec<_>>()
    };
    let all = page(Filter::default(), PageRequest::default()).await;
    let mut newest_first: Vec<_> = put.iter().cloned().chain([denied.clone()]).collect();
    newest_first.sort_by_key(|record| std::cmp::Reverse(record.id));
    assert_eq!(all, newest_first);
    let filters = [
        Filter { actor: Some("eve \"e\"".into()), ..Filter::default() },
        Filter { action: Some("thing.see".into()), ..Filter::default() },
        Filter { target: Some("dep_2".into()), ..Filter::default() },
        Filter { result: Some(AuditResult::Denied), ..Filter::default() },
        Filter { since: Some(denied.at), action: Some("thing.see".into()), ..Filter::default() },
    ];
    for filter in filters {
        let found = page(filter.clone(), PageRequest::default()).await;
        assert_eq!(found, std::slice::from_ref(&denied), "{filter:?}");
    }
    let with_front = Filter { action: Some("thing.".into()), ..Filter::default() };
    assert_eq!(page(with_front, PageRequest::default()).await.len(), 4);
    let nothing = [
        Filter { actor: Some("eve".into()), ..Filter::default() },
        Filter { action: Some("thing".into()), ..Filter::default() },
        Filter { until: Some(put[0].at), ..Filter::default() },
    ];
    for filter in nothing {
        assert_eq!(page(filter.clone(), PageRequest::default()).await, [], "{filter:?}");
    }
    let one = PageRequest { limit: 1, after: Some(newest_first[0].id.0) };
    assert_eq!(page(Filter::default(), one).await, &newest_first[1..3]);
}

async fn the_chain_has_no_holes_and_nobody_is_left_out(rig: Rig) {
    let rig = Arc::new(rig);
    let writers = (0..6).map(|writer| {
        let store = rig.store.clone();
        async move {
            for round in 0..12 {
                let records: Vec<_> = (0..3).map(|n| record(&format!("{writer}"), n)).collect();
                let mut tx = store.begin().await.unwrap();
                tx.insert_audit(&records).await.unwrap();
                if round % 4 == 0 {
                    tx.rollback().await.unwrap();
                } else {
                    tx.commit().await.unwrap();
                }
            }
        }
    });
    // Several processes seal at once, and some do while nothing is there.
    let sealers = (0..3).map(|_| {
        let store = rig.store.clone();
        async move {
            for _ in 0..40 {
                store.seal_audit(now(), 5).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let (writers, sealers) =
        (futures::future::join_all(writers), futures::future::join_all(sealers));
    futures::future::join(writers, sealers).await;
    seal_all(&rig.store).await;
    let verdict = verify(&rig.store).await;
    assert!(verdict.intact, "{verdict:?}");
    assert_eq!(verdict.records, 6 * 9 * 3, "every record that was committed, once");
    assert_eq!(rig.store.read().await.unwrap().oldest_unsealed_audit().await.unwrap(), None);
}

async fn one_who_commits_late_is_sealed_all_the_same(rig: Rig) {
    if rig.url.is_none() {
        // SQLite has one writer: nobody can be in between.
        return;
    }
    let mut late = rig.store.begin().await.unwrap();
    let first = record("late", 0);
    late.insert_audit(std::slice::from_ref(&first)).await.unwrap();
    write(&rig.store, "early", 5).await;
    assert_eq!(seal_all(&rig.store).await, 5, "nobody waits for one who is not done");
    late.commit().await.unwrap();
    assert_eq!(seal_all(&rig.store).await, 1);
    let mut tx = rig.store.read().await.unwrap();
    let last = tx.audit_chain(5, 10).await.unwrap().remove(0);
    assert_eq!((last.seal.seq, last.record, last.mark), (6, Some(first), Mark::Right));
    drop(tx);
    assert!(verify(&rig.store).await.intact);
}

async fn the_guards_of_the_tables_hold(rig: Rig) {
    write(&rig.store, "a", 3).await;
    seal_all(&rig.store).await;
    write(&rig.store, "b", 1).await;
    let mut tx = rig.store.begin().await.unwrap();
    assert!(tx.keep_audit_checkpoint(now()).await.unwrap().is_some());
    assert!(tx.keep_audit_checkpoint(now()).await.unwrap().is_none(), "one a place");
    tx.commit().await.unwrap();
    let mut refused = vec![
        "update audit set target = 'x' where seq = 1",
        "update audit set reason = null where seq = 1",
        "update audit set seq = 9 where seq = 3",
        "update audit set seq = null where seq = 3",
        "update audit set hash = prev_hash where seq = 3",
        // Not sealed yet, and other columns along with the seal.
        "update audit set target = 'x' where seq is null",
        "update audit set seq = 4, prev_hash = '', hash = '', mark = null where seq is null",
        "delete from audit",
        "delete from audit where seq is null",
        "delete from audit where seq = 1",
        "delete from audit_chain",
        "update audit_chain set seq = 1",
        "update audit_chain set pruned_seq = 9",
        "update audit_chain set unmarked = 9",
        "update audit_checkpoints set seq = 1",
        "delete from audit_checkpoints",
    ];
    if rig.url.is_some() {
        refused.extend(["truncate audit", "truncate audit_chain", "truncate audit_checkpoints"]);
    }
    for text in refused {
        let error = by_hand(&rig, &[text]).await.expect_err(text).to_string();
        assert!(error.contains("audit"), "{text}: {error}");
    }
    seal_all(&rig.store).await;
    assert!(verify(&rig.store).await.intact);
}

async fn what_was_put_in_by_other_means_is_sealed_and_named(rig: Rig) {
    write(&rig.store, "a", 2).await;
    let id = if rig.url.is_some() { "gen_random_uuid()" } else { "randomblob(16)" };
    let put = format!(
        "insert into audit (id, at, actor, action, target, result, detail, mark)
         select {id}, at, actor, action, 'put in', result, detail, mark from audit limit 1"
    );
    let bare = put.replace("detail, mark from", "detail, null from");
    by_hand(&rig, &[&put, &bare]).await.unwrap();
    let run = rig.store.seal_audit(now(), 100).await.unwrap();
    assert_eq!((run.records, run.forged, run.head.seq), (4, 2, 4));
    let verdict = verify(&rig.store).await;
    let kinds: Vec<_> = verdict.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::Forged; 2], "{verdict:?}");
}

async fn what_is_changed_dropped_or_sealed_anew_is_named(rig: Rig) {
    write(&rig.store, "a", 8).await;
    seal_all(&rig.store).await;
    unguard(&rig).await;
    let touch = async |statements: &[&str]| {
        by_hand(&rig, statements).await.unwrap();
        let verdict = verify(&rig.store).await;
        let found = verdict.findings.into_iter().map(|finding| (finding.kind, finding.seq));
        found.collect::<Vec<_>>()
    };
    let found = touch(&["update audit set target = 'b' where seq = 2"]).await;
    assert_eq!(found, [(FindingKind::Changed, 2)]);
    let found = touch(&[
        "update audit set target = 'a' where seq = 2",
        "update audit set detail = detail || ' ' where seq = 3",
    ]);
    assert_eq!(found.await, [(FindingKind::Unreadable, 3)], "not to the letter");
    let found = touch(&[
        "update audit set detail = trim(detail) where seq = 3",
        "update audit set seq = -1 where seq = 4",
        "update audit set seq = 4 where seq = 5",
        "update audit set seq = 5 where seq = -1",
    ]);
    let swapped = found.await;
    assert!(swapped.contains(&(Changed, 4)) && swapped.contains(&(Changed, 5)), "{swapped:?}");
    let found = touch(&[
        "update audit set seq = -1 where seq = 4",
        "update audit set seq = 4 where seq = 5",
        "update audit set seq = 5 where seq = -1",
        "delete from audit where seq = 6",
    ]);
    assert_eq!(found.await, [(Missing, 6)]);
    assert_eq!(touch(&["delete from audit where seq = 8"]).await, [(Missing, 6), (Truncated, 8)]);

    // Somebody who knows how the chain is made drops one and seals the next anew: it does not follow.
    let mut tx = rig.store.read().await.unwrap();
    let row = tx.audit_chain(2, 1).await.unwrap().remove(0);
    drop(tx);
    let mut other = row.record.clone().unwrap();
    other.target = "b".into();
    assert_ne!(canonical(&other, None), canonical(&row.record.unwrap(), None));
    let before = Anchor { seq: 2, hash: row.seal.prev_hash };
    let seal = slipway_domain::audit::Seal::after(before, &other);
    let anew = format!("update audit set target = 'b', hash = '{}' where seq = 3", seal.hash);
    let found = touch(&[&anew]).await;
    assert!(found.contains(&(FindingKind::Forged, 3)), "its mark is another: {found:?}");
    assert!(found.contains(&(Broken, 4)), "{found:?}");

    // The end put back to before, with what followed taken away: only what is kept elsewhere shows it.
    by_hand(&rig, &["update audit_chain set seq = 7"]).await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    assert!(!tx.audit_head().await.unwrap().genuine, "the signature was for another end");
    drop(tx);
    write(&rig.store, "more", 1).await;
    assert!(rig.store.seal_audit(now(), 10).await.is_err(), "nothing is put behind such an end");
}

async fn retention_leaves_a_chain_that_can_be_verified(rig: Rig) {
    write(&rig.store, "old", 10).await;
    seal_all(&rig.store).await;
    let kept = {
        let mut tx = rig.store.begin().await.unwrap();
        let kept = tx.keep_audit_checkpoint(now()).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        kept
    };
    assert_eq!(kept.checkpoint.head.seq, 10);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let limit = now();
    write(&rig.store, "new", 3).await;
    // One that is old and has no place yet stays until it has one.
    let tell = |count: usize, last: Anchor| {
        assert!(last.seq > 0);
        record("pruned", count)
    };
    let gone = rig.store.prune_audit(now(), limit, 4, tell).await.unwrap();
    assert_eq!(gone, 4);
    seal_all(&rig.store).await;
    while rig.store.prune_audit(now(), limit, 4, tell).await.unwrap() > 0 {}
    seal_all(&rig.store).await;
    let verdict = verify(&rig.store).await;
    assert!(verdict.intact, "{verdict:?}");
    assert_eq!((verdict.from, verdict.records), (kept.checkpoint.head, 3 + 3), "ten are gone");
    let mut tx = rig.store.read().await.unwrap();
    assert!(tx.is_ours(&kept).unwrap());
    assert_eq!(tx.audit_of("old").await.unwrap(), []);
    assert_eq!(tx.audit_of("pruned").await.unwrap().len(), 3, "each time is on record");
}

async fn a_run_without_work_holds_nobody_up(rig: Rig) {
    for round in 0..50 {
        let limit = now() - chrono::Duration::hours(1);
        let gone = rig.store.prune_audit(now(), limit, 10, |_, _| record("pruned", 0)).await;
        assert_eq!(gone.unwrap(), 0);
        write(&rig.store, "one", 1).await;
        let sealed = rig.store.seal_audit(now(), 10).await.unwrap().records;
        assert_eq!(sealed, 1, "after pruning nothing, round {round}");
        assert_eq!(rig.store.seal_audit(now(), 10).await.unwrap().records, 0);
        write(&rig.store, "one", 1).await;
        let sealed = rig.store.seal_audit(now(), 10).await.unwrap().records;
        assert_eq!(sealed, 1, "after sealing nothing, round {round}");
    }
}

async fn sealing_is_fast_enough(rig: Rig) {
    const RECORDS: usize = 5_000;
    for _ in 0..RECORDS / 500 {
        write(&rig.store, "many", 500).await;
    }
    let began = Instant::now();
    let mut sealed = 0;
    while sealed < RECORDS {
        sealed += rig.store.seal_audit(now(), 500).await.unwrap().records;
    }
    let took = began.elapsed();
    let each_s = RECORDS as u128 * 1_000_000 / took.as_micros().max(1);
    println!("{}: {RECORDS} records sealed in {took:?}, {each_s}/s", rig.store.engine());
    assert_eq!(sealed, RECORDS);
}
