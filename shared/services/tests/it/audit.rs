//! The audit log as a chain, over whole verbs, on both engines.

use slipway_domain::access::Scope;
use slipway_domain::audit::{Filter, FindingKind, Verdict};
use slipway_domain::page::PageRequest;
use slipway_services::audit;

use crate::rig::{Rig, code, on_both_engines};

on_both_engines! {
    verbs_leave_a_chain_that_holds,
    every_column_of_every_record_counts,
    what_is_kept_elsewhere_shows_a_chain_that_was_put_back,
    retention_and_verifying_go_together,
}

async fn verify(rig: &Rig) -> Verdict {
    audit::verify_all(&rig.cx.store, &[]).await.unwrap()
}

async fn unguard(rig: &Rig) {
    let statements: &[&str] = if rig.cx.store.engine() == "postgres" {
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
    let statements: Vec<_> = statements.iter().map(|text| (*text).to_owned()).collect();
    rig.by_hand(&statements).await;
}

async fn verbs_leave_a_chain_that_holds(rig: Rig) {
    let submitted = rig.submit("net").await;
    rig.submit("db").await;
    let mut nobody = rig.who.clone();
    nobody.grants.house.scopes = [Scope::StacksRead].into();
    let page = PageRequest::default();
    for refused in [
        audit::list(&rig.cx, &nobody, &Filter::default(), page).await.map(|_| ()),
        audit::export(&rig.cx, &nobody, None, None).await.map(|_| ()),
        audit::verify(&rig.cx, &nobody, None, None).await.map(|_| ()),
        audit::checkpoint(&rig.cx, &nobody).await.map(|_| ()),
    ] {
        assert_eq!(code(refused), slipway_domain::Code::Forbidden);
    }
    assert!(audit::unsealed_for(&rig.cx).await.unwrap() >= chrono::Duration::zero());
    rig.clock.advance(chrono::Duration::seconds(9));
    assert!(audit::unsealed_for(&rig.cx).await.unwrap() >= chrono::Duration::seconds(9));
    let sealed = audit::seal(&rig.cx).await.unwrap();
    assert!(sealed >= 2);
    assert_eq!(audit::seal(&rig.cx).await.unwrap(), 0);
    assert_eq!(audit::unsealed_for(&rig.cx).await.unwrap(), chrono::Duration::zero());
    let of = Filter { target: Some(submitted.to_string()), ..Filter::default() };
    let found = audit::list(&rig.cx, &rig.who, &of, page).await.unwrap().items;
    assert_eq!(found[0].record.action, "deployment.submit");
    assert!(found[0].seal.is_some());
    let verdict = verify(&rig).await;
    assert!(verdict.intact && verdict.records == i64::try_from(sealed).unwrap(), "{verdict:?}");
}

/// Whatever is changed, in whichever record: it is found, and the record is named.
async fn every_column_of_every_record_counts(rig: Rig) {
    for _ in 0..3 {
        rig.submit("net").await;
    }
    audit::seal(&rig.cx).await.unwrap();
    let rows = verify(&rig).await.records;
    unguard(&rig).await;
    let columns = [
        "actor",
        "token",
        "address",
        "user_agent",
        "action",
        "target",
        "result",
        "reason",
        "detail",
        "trace_id",
        "before_digest",
        "after_digest",
        "mark",
        "prev_hash",
        "hash",
    ];
    for seq in 1..=rows {
        for column in columns {
            let change = format!(
                "update audit set {column} = coalesce({column}, '') || ' ' where seq = {seq}"
            );
            rig.by_hand(&[change]).await;
            let found = verify(&rig).await.findings;
            assert!(found.iter().any(|f| f.seq == seq), "{column} of {seq}: {found:?}");
            let back = format!(
                "update audit set {column} = nullif(substr({column}, 1, length({column}) - 1), '')
                 where seq = {seq}"
            );
            rig.by_hand(&[back]).await;
        }
        assert!(verify(&rig).await.intact, "all is as it was");
    }
    // Taken away from the end, one by one.
    for seq in (1..=rows).rev() {
        rig.by_hand(&[format!("delete from audit where seq = {seq}")]).await;
        let found = verify(&rig).await.findings;
        let named = found.iter().any(|f| (f.seq..=f.to_seq.unwrap_or(f.seq)).contains(&seq));
        assert!(named && found[0].kind == FindingKind::Truncated, "{seq}: {found:?}");
    }
}

async fn what_is_kept_elsewhere_shows_a_chain_that_was_put_back(rig: Rig) {
    rig.submit("net").await;
    audit::seal(&rig.cx).await.unwrap();
    let before: Vec<String> = ["seq", "hash", "at", "signature"].map(str::to_owned).into();
    let early = rig.texts(&format!("select {} from audit_chain", cast(&before))).await;
    rig.submit("net").await;
    audit::seal(&rig.cx).await.unwrap();
    let kept = audit::checkpoint(&rig.cx, &rig.who).await.unwrap();
    audit::keep_checkpoint(&rig.cx).await.unwrap();
    audit::keep_checkpoint(&rig.cx).await.unwrap();
    let intact = audit::verify_all(&rig.cx.store, std::slice::from_ref(&kept)).await.unwrap();
    assert!(intact.intact, "{intact:?}");

    // The end as it was before, to the letter, with its own good signature, and the rest taken away.
    unguard(&rig).await;
    let at = if rig.cx.store.engine() == "postgres" {
        format!("cast('{}' as timestamptz)", early[2])
    } else {
        format!("'{}'", early[2])
    };
    let put_back = format!(
        "update audit_chain set seq = {}, hash = '{}', at = {at}, signature = '{}'",
        early[0], early[1], early[3]
    );
    let delete = format!("delete from audit where seq > {}", early[0]);
    rig.by_hand(&[put_back, delete]).await;
    let inside = verify(&rig).await;
    assert_eq!(inside.findings[0].kind, FindingKind::Truncated, "the checkpoints inside show it");
    rig.by_hand(&["delete from audit_checkpoints".to_owned()]).await;
    assert!(verify(&rig).await.intact, "nothing inside of the database shows it any more");
    let outside = audit::verify_all(&rig.cx.store, std::slice::from_ref(&kept)).await.unwrap();
    assert_eq!(outside.findings[0].kind, FindingKind::Truncated, "{outside:?}");
    let mut other = kept.clone();
    "AAAA".clone_into(&mut other.signature);
    let outside = audit::verify_all(&rig.cx.store, &[other]).await.unwrap();
    assert_eq!(outside.findings[0].kind, FindingKind::BadSignature, "{outside:?}");
}

fn cast(columns: &[String]) -> String {
    let texts = columns.iter().map(|column| format!("cast({column} as text)"));
    texts.collect::<Vec<_>>().join(", ")
}

async fn retention_and_verifying_go_together(rig: Rig) {
    rig.submit("net").await;
    audit::seal(&rig.cx).await.unwrap();
    audit::keep_checkpoint(&rig.cx).await.unwrap();
    let kept = audit::checkpoint(&rig.cx, &rig.who).await.unwrap();
    rig.clock.advance(chrono::Duration::days(40));
    rig.submit("net").await;
    audit::seal(&rig.cx).await.unwrap();
    assert_eq!(audit::prune(&rig.cx, chrono::Duration::days(100)).await.unwrap(), 0);
    let gone = audit::prune(&rig.cx, chrono::Duration::days(30)).await.unwrap();
    assert_eq!(i64::try_from(gone).unwrap(), kept.checkpoint.head.seq);
    audit::seal(&rig.cx).await.unwrap();
    let verdict = audit::verify_all(&rig.cx.store, std::slice::from_ref(&kept)).await.unwrap();
    assert!(verdict.intact, "{verdict:?}");
    assert_eq!(verdict.from, kept.checkpoint.head);
    let refused = audit::export(&rig.cx, &rig.who, Some(1), None).await;
    assert_eq!(code(refused), slipway_domain::Code::InvalidInput);
    let pruned = Filter { action: Some("audit.prune".into()), ..Filter::default() };
    let page = PageRequest::default();
    let told = audit::list(&rig.cx, &rig.who, &pruned, page).await.unwrap().items;
    assert_eq!(told[0].record.detail["to_hash"], kept.checkpoint.head.hash.to_string());
}
