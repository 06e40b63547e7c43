//! Accounts, sessions, refresh tokens, keys, and what is kept while somebody signs in.

use chrono::Duration;
use slipway_domain::access::Scope;
use slipway_domain::auth::Narrowing;
use slipway_domain::auth::account::{Account, AccountKind};
use slipway_domain::auth::api_key::ApiKey;
use slipway_domain::auth::identity::Identity;
use slipway_domain::auth::session::Session;
use slipway_domain::auth::trust::{NewTrustRule, TrustRule};
use slipway_domain::id::{AccountId, ApiKeyId, SessionId, TrustRuleId};
use slipway_store::auth::account::Filter;
use slipway_store::auth::sign_in::{Failures, Visit};
use slipway_store::auth::signing_key::Slot;

use super::*;

on_both_engines! {
    accounts_come_back_and_no_name_comes_twice,
    sessions_come_back_and_end_with_their_tokens,
    keys_are_found_by_their_public_part,
    what_is_kept_of_a_sign_in_is_taken_once,
    rules_of_trust_come_back,
    a_signing_key_gives_way_to_the_next_one,
    what_is_past_its_time_is_swept,
}

/// One moment; nothing here is told by the database's clock.
fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

fn account(name: &str) -> Account {
    Account {
        id: AccountId::new(&RandomMint),
        kind: AccountKind::Person,
        name: name.to_owned(),
        email: Some("ann@example.com".to_owned()),
        created_at: at(),
        created_by: Principal::local(Door::Rest).actor,
        disabled_at: None,
    }
}

async fn kept(rig: &Rig, name: &str) -> Account {
    let one = account(name);
    let mut tx = rig.store.begin().await.unwrap();
    assert!(tx.insert_account(&one).await.unwrap());
    tx.commit().await.unwrap();
    one
}

async fn accounts_come_back_and_no_name_comes_twice(rig: Rig) {
    assert!(!rig.store.read().await.unwrap().has_accounts().await.unwrap());
    let mut ann = kept(&rig, "ann").await;
    let bob = kept(&rig, "bob").await;
    let mut tx = rig.store.begin().await.unwrap();
    assert!(!tx.insert_account(&account("ann")).await.unwrap());
    assert!(tx.has_accounts().await.unwrap());
    tx.set_password(ann.id, "old", at()).await.unwrap();
    tx.rehash_password(ann.id, "another", "wrong").await.unwrap();
    let found = tx.account_to_sign_in("ann").await.unwrap();
    assert_eq!(found, Some((ann.clone(), Some("old".to_owned()))));
    tx.rehash_password(ann.id, "old", "new").await.unwrap();
    assert_eq!(tx.password_hash(ann.id).await.unwrap().as_deref(), Some("new"));
    assert_eq!(tx.account_to_sign_in("bob").await.unwrap(), Some((bob.clone(), None)));
    assert_eq!(tx.account_to_sign_in("eve").await.unwrap(), None);
    tx.set_account_disabled(ann.id, Some(at())).await.unwrap();
    ann.disabled_at = Some(at());
    assert_eq!(tx.lock_account(ann.id).await.unwrap(), Some(ann.clone()));
    let page = PageRequest { limit: 1, after: None };
    let all = Filter::default();
    assert_eq!(tx.accounts(&all, page).await.unwrap(), [bob.clone(), ann.clone()]);
    let after = PageRequest { limit: 1, after: Some(bob.id.0) };
    assert_eq!(tx.accounts(&all, after).await.unwrap(), [ann.clone()]);
    let named = Filter { kind: Some(AccountKind::Person), name: Some("ann".to_owned()) };
    assert_eq!(tx.accounts(&named, page).await.unwrap(), [ann.clone()]);
    let none = Filter { kind: Some(AccountKind::Service), name: None };
    assert!(tx.accounts(&none, page).await.unwrap().is_empty());
    let link = Identity {
        provider: "github".to_owned(),
        issuer: "https://github.com".to_owned(),
        subject: "1".to_owned(),
        account_id: ann.id,
        email: None,
        created_at: at(),
    };
    assert!(tx.insert_identity(&link).await.unwrap());
    let theft = Identity { account_id: bob.id, ..link.clone() };
    assert!(!tx.insert_identity(&theft).await.unwrap());
    let found = tx.identity("github", "https://github.com", "1").await.unwrap();
    assert_eq!(found, Some(link.clone()));
    // The same number elsewhere is somebody else, whatever the provider is called.
    let elsewhere = "https://github.acme.example";
    assert_eq!(tx.identity("github", elsewhere, "1").await.unwrap(), None);
    let other = Identity { issuer: elsewhere.to_owned(), account_id: bob.id, ..link.clone() };
    assert!(tx.insert_identity(&other).await.unwrap());
    assert_eq!(tx.identities(ann.id).await.unwrap(), [link]);
    assert_eq!(tx.delete_identities(ann.id, "github").await.unwrap(), 1);
}

fn session(of: AccountId) -> Session {
    Session {
        id: SessionId::new(&RandomMint),
        account_id: of,
        method: "password".to_owned(),
        narrowing: Narrowing {
            scopes: Some([Scope::StacksRead].into()),
            project: Some("shop".to_owned()),
        },
        address: Some("203.0.113.9".to_owned()),
        user_agent: None,
        created_at: at(),
        last_used_at: at(),
        expires_at: at() + Duration::days(1),
        ended_at: None,
        ended_why: None,
    }
}

async fn sessions_come_back_and_end_with_their_tokens(rig: Rig) {
    let ann = kept(&rig, "ann").await;
    let (one, two) = (session(ann.id), session(ann.id));
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_session(&one, Some(&[1; 32])).await.unwrap();
    tx.insert_session(&two, None).await.unwrap();
    assert_eq!(tx.session(one.id).await.unwrap(), Some(one.clone()));
    assert_eq!(tx.lock_session(two.id).await.unwrap(), Some(two.clone()));
    assert_eq!(tx.session_of_cookie(&[1; 32]).await.unwrap(), Some(one.clone()));
    assert_eq!(tx.session_of_cookie(&[2; 32]).await.unwrap(), None);
    let page = PageRequest::default();
    assert_eq!(tx.sessions(ann.id, Some(at()), page).await.unwrap(), [two.clone(), one.clone()]);
    let later = at() + Duration::days(2);
    assert!(tx.sessions(ann.id, Some(later), page).await.unwrap().is_empty());
    tx.insert_refresh(&[3; 32], two.id, later).await.unwrap();
    let found = tx.lock_refresh(&[3; 32]).await.unwrap().unwrap();
    assert_eq!((found.session_id, found.used_at), (two.id, None));
    tx.use_refresh(&[3; 32], at()).await.unwrap();
    tx.use_refresh(&[3; 32], later).await.unwrap();
    let found = tx.lock_refresh(&[3; 32]).await.unwrap().unwrap();
    assert_eq!(found.used_at, Some(at()), "the first use counts");
    let used = at() + Duration::minutes(1);
    tx.touch_session(one.id, used).await.unwrap();
    assert_eq!(tx.session(one.id).await.unwrap().unwrap().last_used_at, used);
    assert!(tx.end_session(two.id, "logout", at()).await.unwrap());
    assert!(!tx.end_session(two.id, "revoked", later).await.unwrap());
    let ended = tx.session(two.id).await.unwrap().unwrap();
    assert_eq!((ended.ended_at, ended.ended_why.as_deref()), (Some(at()), Some("logout")));
    assert_eq!(tx.lock_refresh(&[3; 32]).await.unwrap(), None);
    assert_eq!(tx.end_sessions(ann.id, Some(one.id), "revoked", at()).await.unwrap(), 0);
    assert_eq!(tx.end_sessions(ann.id, None, "revoked", at()).await.unwrap(), 1);
}

async fn keys_are_found_by_their_public_part(rig: Rig) {
    let ann = kept(&rig, "ann").await;
    let key = ApiKey {
        id: ApiKeyId::new(&RandomMint),
        public: "Zk81Lq0c".to_owned(),
        account_id: ann.id,
        name: "n".to_owned(),
        narrowing: Narrowing { scopes: Some([Scope::StacksRead].into()), project: None },
        addresses: vec!["10.0.0.0/8".parse().unwrap()],
        created_at: at(),
        created_by: Principal::local(Door::Rest).actor,
        expires_at: Some(at() + Duration::days(1)),
        last_used_at: None,
        revoked_at: None,
    };
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_api_key(&key, &[7; 32]).await.unwrap();
    assert_eq!(tx.api_key(key.id).await.unwrap(), Some(key.clone()));
    let found = tx.api_key_to_check("Zk81Lq0c").await.unwrap();
    assert_eq!(found, Some((key.clone(), vec![7; 32])));
    assert_eq!(tx.api_key_to_check("zk81Lq0c").await.unwrap(), None);
    assert_eq!(
        tx.api_keys(ann.id, PageRequest::default()).await.unwrap(),
        std::slice::from_ref(&key)
    );
    assert_eq!(tx.count_api_keys(ann.id, at()).await.unwrap(), 1);
    assert_eq!(tx.count_api_keys(ann.id, at() + Duration::days(1)).await.unwrap(), 0);
    tx.touch_api_key(key.id, at()).await.unwrap();
    assert!(tx.revoke_api_key(key.id, at()).await.unwrap());
    assert!(!tx.revoke_api_key(key.id, at()).await.unwrap());
    let key = tx.api_key(key.id).await.unwrap().unwrap();
    assert_eq!((key.last_used_at, key.revoked_at), (Some(at()), Some(at())));
    assert_eq!(tx.count_api_keys(ann.id, at()).await.unwrap(), 0);
}

async fn what_is_kept_of_a_sign_in_is_taken_once(rig: Rig) {
    let ann = kept(&rig, "ann").await;
    let mut tx = rig.store.begin().await.unwrap();
    let none = Failures { failures: 0, last_at: at(), wait_until: at() };
    assert_eq!(tx.lock_failures(&[1; 32], at()).await.unwrap(), none);
    let two = Failures { failures: 2, wait_until: at() + Duration::seconds(4), ..none };
    tx.set_failures(&[1; 32], &two).await.unwrap();
    assert_eq!(tx.lock_failures(&[1; 32], at()).await.unwrap(), two);
    tx.clear_failures(&[1; 32]).await.unwrap();
    assert_eq!(tx.lock_failures(&[1; 32], at()).await.unwrap(), none);
    let visit = Visit {
        provider: "github".to_owned(),
        account_id: Some(ann.id),
        session_id: Some(SessionId::new(&RandomMint)),
        return_to: "/".to_owned(),
        expires_at: at() + Duration::minutes(10),
    };
    tx.insert_visit(&[2; 32], &[3; 32], &visit).await.unwrap();
    assert_eq!(tx.take_visit(&[2; 32], &[4; 32]).await.unwrap(), None);
    assert_eq!(tx.take_visit(&[2; 32], &[3; 32]).await.unwrap(), Some(visit));
    assert_eq!(tx.take_visit(&[2; 32], &[3; 32]).await.unwrap(), None);
    for number in [5, 6] {
        tx.insert_first_token(&[number; 32], at() + Duration::hours(1)).await.unwrap();
    }
    assert!(!tx.take_first_token(&[7; 32], at()).await.unwrap());
    assert!(!tx.take_first_token(&[5; 32], at() + Duration::hours(1)).await.unwrap());
    assert!(tx.take_first_token(&[5; 32], at()).await.unwrap());
    assert!(!tx.take_first_token(&[6; 32], at()).await.unwrap(), "there is one first admin");
}

async fn rules_of_trust_come_back(rig: Rig) {
    let ann = kept(&rig, "ann").await;
    let rule = TrustRule {
        id: TrustRuleId::new(&RandomMint),
        rule: NewTrustRule {
            name: "main".to_owned(),
            issuer: "https://issuer.example".to_owned(),
            audience: "a".to_owned(),
            conditions: [("sub".to_owned(), "s".to_owned())].into(),
            account_id: ann.id,
            scopes: [Scope::StacksRead].into(),
            project: Some("shop".to_owned()),
        },
        created_at: at(),
        created_by: Principal::local(Door::Rest).actor,
    };
    let mut tx = rig.store.begin().await.unwrap();
    assert!(tx.insert_trust_rule(&rule).await.unwrap());
    let same = TrustRule { id: TrustRuleId::new(&RandomMint), ..rule.clone() };
    assert!(!tx.insert_trust_rule(&same).await.unwrap());
    assert_eq!(tx.trust_rules().await.unwrap(), std::slice::from_ref(&rule));
    assert_eq!(
        tx.trust_rules_of("https://issuer.example").await.unwrap(),
        std::slice::from_ref(&rule)
    );
    assert!(tx.trust_rules_of("https://another").await.unwrap().is_empty());
    assert_eq!(tx.trust_rule(rule.id).await.unwrap(), Some(rule.clone()));
    assert!(tx.delete_trust_rule(rule.id).await.unwrap());
    assert!(!tx.delete_trust_rule(rule.id).await.unwrap());
}

async fn a_signing_key_gives_way_to_the_next_one(rig: Rig) {
    let store = &rig.store;
    let seal = async |kid: &str| {
        let id = RandomMint.uuid();
        store.seal_signing_key(id, kid, kid.as_bytes(), b"private").await.unwrap()
    };
    let (a, b, c) = (seal("a").await, seal("b").await, seal("c").await);
    let mut tx = store.begin().await.unwrap();
    assert!(tx.insert_signing_key(&a, &Slot::Current, at()).await.unwrap());
    assert!(!tx.insert_signing_key(&b, &Slot::Current, at()).await.unwrap());
    assert!(tx.insert_signing_key(&b, &Slot::Next, at()).await.unwrap());
    let later = at() + Duration::days(30);
    assert!(!tx.promote_signing_key("b", later).await.unwrap(), "it is not the one that signs");
    assert!(tx.promote_signing_key("a", later).await.unwrap());
    assert!(tx.insert_signing_key(&c, &Slot::Next, later).await.unwrap());
    tx.commit().await.unwrap();
    let keys = store.signing_keys().await.unwrap();
    let slot = |kid: &str| keys.iter().find(|key| key.kid == kid).unwrap().slot.clone();
    assert_eq!((slot("a"), slot("b"), slot("c")), (Slot::Retired, Slot::Current, Slot::Next));
    assert!(keys.iter().all(|key| *key.private_key == b"private"));
    assert_eq!(keys.iter().find(|key| key.kid == "b").unwrap().public_key, b"b");
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.delete_retired_keys(later).await.unwrap(), 0);
    assert_eq!(tx.delete_retired_keys(later + Duration::hours(2)).await.unwrap(), 1);
    assert_eq!(tx.delete_signing_keys().await.unwrap(), 2);
}

async fn what_is_past_its_time_is_swept(rig: Rig) {
    let ann = kept(&rig, "ann").await;
    let one = session(ann.id);
    let mut tx = rig.store.begin().await.unwrap();
    tx.insert_session(&one, None).await.unwrap();
    tx.insert_refresh(&[3; 32], one.id, at() + Duration::days(1)).await.unwrap();
    tx.lock_failures(&[1; 32], at()).await.unwrap();
    tx.insert_first_token(&[5; 32], at() + Duration::hours(1)).await.unwrap();
    assert_eq!(tx.sweep_auth(at() + Duration::minutes(1)).await.unwrap(), 0);
    assert_eq!(tx.sweep_auth(at() + Duration::days(2)).await.unwrap(), 2);
    assert!(tx.session(one.id).await.unwrap().is_some());
    assert_eq!(tx.sweep_auth(at() + Duration::days(32)).await.unwrap(), 2);
    assert!(tx.session(one.id).await.unwrap().is_none());
}
