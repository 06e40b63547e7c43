//! Decisions about plans, and the applies that they start and stop.

use slipway_domain::access::Role;
use slipway_domain::approval::{Decision, Revocation, Verb};
use slipway_domain::id::{ApprovalId, PlanId};

use super::*;

on_both_engines! {
    decisions_come_back_as_they_were_put_in,
    an_apply_is_withdrawn_with_its_lease,
    an_apply_that_waits_is_made_due,
}

async fn decisions_come_back_as_they_were_put_in(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let other = deployment(&rig.store, "db").await;
    let of = record.deployment.id;
    let at = now();
    let yes = Decision {
        id: ApprovalId::new(&RandomMint),
        deployment_id: of,
        plan_id: PlanId::new(&RandomMint),
        plan_digest: "sha256:1".to_owned(),
        decision: Verb::Approve,
        by: Principal::local(Door::Rest).actor,
        roles: [Role::Approver, Role::Admin].into(),
        comment: Some("fine".to_owned()),
        at,
        expires_at: Some(at + chrono::Duration::hours(1)),
        revoked: None,
        carried_from: Some("sha256:0".to_owned()),
    };
    let no = Decision {
        id: ApprovalId::new(&RandomMint),
        decision: Verb::Reject,
        roles: [].into(),
        comment: None,
        expires_at: None,
        carried_from: None,
        ..yes.clone()
    };
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_approval(&yes).await.unwrap();
    tx.insert_approval(&no).await.unwrap();
    assert_eq!(tx.approvals_of(of).await.unwrap(), [yes.clone(), no.clone()]);
    let how = Revocation { at, by: yes.by.clone(), reason: Some("too soon".to_owned()) };
    assert!(tx.revoke_approval(yes.id, &how).await.unwrap());
    let again = Revocation { reason: None, ..how.clone() };
    assert!(!tx.revoke_approval(yes.id, &again).await.unwrap(), "the first one counts");
    assert!(!tx.revoke_approval(ApprovalId::new(&RandomMint), &how).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    let revoked = Decision { revoked: Some(how), ..yes };
    assert_eq!(tx.approvals_of(of).await.unwrap(), [revoked, no]);
    assert_eq!(tx.approvals_of(other.deployment.id).await.unwrap(), []);
}

async fn an_apply_is_withdrawn_with_its_lease(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let other = deployment(&rig.store, "db").await;
    let of = record.deployment.id;
    let plan = job(&rig.store, &record, JobKind::Plan, 0).await;
    let claimed = job(&rig.store, &record, JobKind::Apply, 0).await;
    let lease = claim(&rig.store, Queue::Apply, worker(), 60_000).await.unwrap();
    assert_eq!(lease.job_id, claimed);
    let queued = job(&rig.store, &record, JobKind::Apply, 0).await;
    let foreign = job(&rig.store, &other, JobKind::Apply, 0).await;
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.withdraw_apply(of, "revoked", now()).await.unwrap(), 2);
    assert_eq!(tx.withdraw_apply(of, "revoked", now()).await.unwrap(), 0);
    assert!(matches!(tx.fence(&lease).await, Err(Error::LeaseLost)));
    for id in [claimed, queued] {
        let job = tx.job(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.last_error.as_deref()), (JobState::Cancelled, Some("revoked")));
    }
    for id in [plan, foreign] {
        assert_eq!(tx.job(id).await.unwrap().unwrap().state, JobState::Queued);
    }
}

async fn an_apply_that_waits_is_made_due(rig: Rig) {
    let record = deployment(&rig.store, "net").await;
    let of = record.deployment.id;
    let late = job(&rig.store, &record, JobKind::Apply, 3600).await;
    assert!(claim(&rig.store, Queue::Apply, worker(), 60_000).await.is_none());
    let mut tx = rig.store.begin().await.unwrap();
    let bell = tx.hasten_apply(of).await.unwrap().unwrap();
    assert_eq!((bell.job_id, bell.queue), (late, Queue::Apply));
    assert!(tx.hasten_apply(of).await.unwrap().is_none(), "it is due already");
    tx.commit().await.unwrap();
    assert!(claim(&rig.store, Queue::Apply, worker(), 60_000).await.is_some());
}
