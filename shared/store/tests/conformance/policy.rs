//! Policy packs, who uses them, and exemptions.

use chrono::Duration;
use slipway_domain::exemption::{Exemption, ExemptionState};
use slipway_domain::finding::{Severity, Verdict};
use slipway_domain::id::ExemptionId;
use slipway_domain::policy::{PackMode, PackUse, PolicyModule, PolicyRule, PolicyVersion};
use slipway_store::exemption;

use super::*;

on_both_engines! {
    versions_of_a_pack_are_numbered_once_and_come_back_as_they_were,
    two_who_upload_at_once_get_two_numbers,
    uses_of_packs_are_replaced_by_holder,
    exemptions_come_back_and_are_revoked_once,
    only_exemptions_that_hold_are_active,
}

fn version(name: &str, number: i32) -> PolicyVersion {
    PolicyVersion {
        name: name.into(),
        version: number,
        digest: format!("sha256:{number}"),
        files: vec!["a.rego".into()],
        rules: vec![PolicyRule {
            id: "r".into(),
            title: "A rule".into(),
            severity: Severity::High,
            verdict: Verdict::Deny,
            aliases: vec!["CKV_1".into()],
        }],
        tests_passed: 3,
        created_at: Some(now()),
        created_by: Some(Principal::local(Door::Rest).actor),
    }
}

fn modules(number: i32) -> Vec<PolicyModule> {
    vec![PolicyModule { path: "a.rego".into(), text: format!("package user.a{number}\n") }]
}

async fn add(rig: &Rig, name: &str) -> PolicyVersion {
    let mut tx = rig.store.begin().await.unwrap();
    let last = tx.lock_policy(name, now()).await.unwrap();
    let one = version(name, last + 1);
    tx.insert_policy_version(&one, &modules(last + 1), one.created_at.unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    one
}

async fn versions_of_a_pack_are_numbered_once_and_come_back_as_they_were(rig: Rig) {
    let first = add(&rig, "mine").await;
    let second = add(&rig, "mine").await;
    let other = add(&rig, "a-other").await;
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.policy_version("mine", None).await.unwrap(), Some(second.clone()));
    assert_eq!(tx.policy_version("mine", Some(1)).await.unwrap(), Some(first.clone()));
    assert_eq!(tx.policy_version("mine", Some(3)).await.unwrap(), None);
    assert_eq!(tx.policy_digest("mine", None).await.unwrap(), Some((2, "sha256:2".into())));
    assert_eq!(tx.policy_digest("mine", Some(1)).await.unwrap(), Some((1, "sha256:1".into())));
    assert_eq!(tx.policy_digest("nothing", None).await.unwrap(), None);
    assert_eq!(tx.policy_modules("mine", 2).await.unwrap(), Some(modules(2)));
    assert_eq!(tx.policy_modules("mine", 9).await.unwrap(), None);
    let all = tx.policies(10).await.unwrap();
    let seen: Vec<_> = all.iter().map(|pack| (pack.versions, &pack.latest)).collect();
    assert_eq!(seen, [(1, &other), (2, &second)]);
    let page = tx.policy_versions("mine", None, 1).await.unwrap();
    assert_eq!(page, std::slice::from_ref(&second));
    assert_eq!(tx.policy_versions("mine", Some(2), 9).await.unwrap(), [first]);
    assert_eq!(tx.policy("mine").await.unwrap().unwrap().versions, 2);
    assert_eq!(tx.policy_count().await.unwrap(), 2);
    drop(tx);

    let mut tx = rig.store.begin().await.unwrap();
    tx.lock_policies(&["mine", "nothing", "mine"]).await.unwrap();
    assert!(tx.delete_policy_version("mine", 2).await.unwrap());
    assert!(!tx.delete_policy_version("mine", 2).await.unwrap());
    tx.commit().await.unwrap();
    let third = add(&rig, "mine").await;
    assert_eq!(third.version, 3, "a number is not given out twice");
    let mut tx = rig.store.begin().await.unwrap();
    let late = tx.insert_policy_version(&version("mine", 3), &modules(3), now()).await;
    assert!(matches!(late, Err(Error::Changed)), "{late:?}");
}

async fn two_who_upload_at_once_get_two_numbers(rig: Rig) {
    let (a, b, c) = tokio::join!(add(&rig, "mine"), add(&rig, "mine"), add(&rig, "mine"));
    let mut numbers = [a.version, b.version, c.version];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
}

async fn uses_of_packs_are_replaced_by_holder(rig: Rig) {
    let pack = |name: &str, version| PackUse { name: name.into(), version, mode: PackMode::Warn };
    let mut tx = rig.store.begin().await.unwrap();
    tx.set_policy_uses("project a", &[pack("x", Some(1)), pack("y", None)]).await.unwrap();
    tx.set_policy_uses("project b", &[pack("x", None)]).await.unwrap();
    let used = tx.policy_uses("x").await.unwrap();
    assert_eq!(used, [("project a".into(), Some(1)), ("project b".into(), None)]);
    tx.set_policy_uses("project a", &[pack("y", Some(2))]).await.unwrap();
    assert_eq!(tx.policy_uses("x").await.unwrap(), [("project b".into(), None)]);
    assert_eq!(tx.policy_uses("y").await.unwrap(), [("project a".into(), Some(2))]);
    tx.set_policy_uses("project b", &[]).await.unwrap();
    assert_eq!(tx.policy_uses("x").await.unwrap(), []);
}

pub(super) fn exemption(project: Option<&str>, environment: Option<&str>, days: i64) -> Exemption {
    Exemption {
        id: ExemptionId::new(&RandomMint),
        rule: "r".into(),
        address: "a.*".into(),
        project: project.map(str::to_owned),
        environment: environment.map(str::to_owned),
        reason: "because it is all right".into(),
        owner: "web".into(),
        created_by: Principal::local(Door::Rest).actor,
        created_at: now(),
        expires_at: now() + Duration::days(days),
        revoked_by: None,
        revoked_at: None,
    }
}

async fn exemptions_come_back_and_are_revoked_once(rig: Rig) {
    let all = [
        exemption(Some("shop"), Some("prod"), 1),
        exemption(None, Some("prod"), 1),
        exemption(Some("shop"), None, -1),
    ];
    let mut tx = rig.store.begin().await.unwrap();
    for one in &all {
        tx.insert_exemption(one).await.unwrap();
    }
    let by = Principal::local(Door::Mcp).actor;
    let at = now();
    assert!(tx.revoke_exemption(all[1].id, &by, at).await.unwrap());
    assert!(!tx.revoke_exemption(all[1].id, &by, at + Duration::days(1)).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = rig.store.read().await.unwrap();
    assert_eq!(tx.exemption(all[0].id).await.unwrap().as_ref(), Some(&all[0]));
    let revoked = Exemption { revoked_by: Some(by), revoked_at: Some(at), ..all[1].clone() };
    assert_eq!(tx.exemption(all[1].id).await.unwrap(), Some(revoked));
    assert_eq!(tx.exemption(ExemptionId::new(&RandomMint)).await.unwrap(), None);

    let mut ids = async |filter: exemption::Filter, page| {
        let found = tx
            .exemptions(&filter, &Reach::Everywhere, page, at + Duration::minutes(1))
            .await
            .unwrap();
        found.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    let first = PageRequest::default();
    let none = exemption::Filter::default;
    let [a, b, c] = [all[0].id, all[1].id, all[2].id];
    assert_eq!(ids(none(), first).await, [c, b, a]);
    assert_eq!(ids(none(), PageRequest { after: Some(c.0), limit: 1 }).await, [b, a]);
    let project = Some("shop".to_owned());
    assert_eq!(ids(exemption::Filter { project, ..none() }, first).await, [c, a]);
    let environment = Some("prod".to_owned());
    assert_eq!(ids(exemption::Filter { environment, ..none() }, first).await, [b, a]);
    let rule = Some("other".to_owned());
    assert!(ids(exemption::Filter { rule, ..none() }, first).await.is_empty());
    let owner = Some("web".to_owned());
    assert_eq!(ids(exemption::Filter { owner, ..none() }, first).await.len(), 3);
    for (state, wanted) in
        [(ExemptionState::Active, a), (ExemptionState::Revoked, b), (ExemptionState::Expired, c)]
    {
        let filter = exemption::Filter { state: Some(state), ..none() };
        assert_eq!(ids(filter, first).await, [wanted], "{state:?}");
    }
}

async fn only_exemptions_that_hold_are_active(rig: Rig) {
    let all = [
        exemption(Some("shop"), Some("prod"), 1),
        exemption(None, Some("prod"), 1),
        exemption(Some("shop"), None, 1),
        exemption(None, None, 1),
        exemption(Some("shop"), Some("dev"), 1),
        exemption(Some("bank"), None, 1),
        exemption(Some("shop"), Some("prod"), -1),
        exemption(Some("shop"), Some("prod"), 1),
    ];
    let mut tx = rig.store.begin().await.unwrap();
    for one in &all {
        tx.insert_exemption(one).await.unwrap();
    }
    let by = Principal::local(Door::Rest).actor;
    tx.revoke_exemption(all[7].id, &by, now()).await.unwrap();
    let active = tx.active_exemptions("shop", "prod", now()).await.unwrap();
    let ids: Vec<_> = active.iter().map(|one| one.id).collect();
    assert_eq!(ids, [all[3].id, all[2].id, all[1].id, all[0].id]);
    // To the moment.
    let end = all[0].expires_at.max(all[3].expires_at);
    assert!(tx.active_exemptions("shop", "prod", end).await.unwrap().is_empty());
}
