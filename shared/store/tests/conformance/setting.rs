//! Items of the central configuration: their places, versions, secrets.

use serde_json::{Value, json};
use slipway_domain::Secret;
use slipway_domain::access::Reach;
use slipway_domain::id::SettingId;
use slipway_domain::setting::{Setting, SettingAction, SettingKind, SettingScope, SettingVersion};
use slipway_store::setting::Filter;

use super::*;

on_both_engines! {
    an_item_comes_back_as_it_was_and_its_place_is_its_own,
    a_change_compares_and_versions_stay,
    a_secret_opens_in_its_own_version_only,
    a_secret_gets_another_key_and_opens_all_the_while,
    lists_are_filtered_and_in_pages,
}

fn scope(project: &str, environment: &str, service: &str) -> SettingScope {
    let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    SettingScope {
        project: named(project),
        environment: named(environment),
        service: named(service),
    }
}

fn item(key: &str, scope: SettingScope, kind: SettingKind, value: Value) -> Setting {
    let by = Principal::local(Door::Rest).actor;
    Setting {
        id: SettingId::new(&RandomMint),
        key: key.to_owned(),
        scope,
        kind,
        value,
        schema: Some(json!({"type": "string"})).filter(|_| kind != SettingKind::Secret),
        description: Some("what it is for".to_owned()),
        version: 1,
        created_at: now(),
        created_by: by.clone(),
        updated_at: now(),
        updated_by: by,
        deleted_at: None,
    }
}

fn version(of: &Setting, number: i32, value: Option<Value>) -> SettingVersion {
    SettingVersion {
        version: number,
        action: SettingAction::Updated,
        value,
        schema: of.schema.clone(),
        description: None,
        from_version: Some(1),
        comment: Some("why".to_owned()),
        at: now(),
        by: of.updated_by.clone(),
    }
}

async fn kept(store: &Store, item: &Setting) -> bool {
    let mut tx = store.begin().await.unwrap();
    let added = tx.insert_setting(item).await.unwrap();
    tx.commit().await.unwrap();
    added
}

async fn keep_secret(store: &Store, of: &Setting, number: i32, text: &str) {
    let secret = Secret::new(text.to_owned());
    let sealed = store.seal_setting(of.id, number, &secret).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let version = version(of, number, Some(json!("***")));
    tx.insert_setting_version(RandomMint.uuid(), of.id, &version, Some(&sealed)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn an_item_comes_back_as_it_was_and_its_place_is_its_own(rig: Rig) {
    let place = scope("shop", "prod", "");
    let first = item("a.b", place.clone(), SettingKind::Json, json!({"x": [1, "\u{e4}"]}));
    assert!(kept(&rig.store, &first).await);
    let again = item("a.b", place.clone(), SettingKind::String, json!("x"));
    assert!(!kept(&rig.store, &again).await, "there is one already");
    assert!(
        kept(&rig.store, &item("a.b", scope("shop", "", ""), SettingKind::Bool, json!(true))).await
    );
    let mut tx = rig.store.begin().await.unwrap();
    assert_eq!(tx.setting(first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(tx.setting_in(&place, "a.b").await.unwrap(), Some(first.clone()));
    assert_eq!(tx.count_settings(&place).await.unwrap(), 1);
    // A deleted one makes room for another one.
    let gone = Setting { version: 2, deleted_at: Some(now()), ..first.clone() };
    assert!(tx.update_setting(&gone, 1).await.unwrap());
    assert_eq!(tx.setting_in(&place, "a.b").await.unwrap(), None);
    assert!(tx.insert_setting(&again).await.unwrap());
    assert_eq!(tx.setting(first.id).await.unwrap(), Some(gone.clone()), "its history stays");
    tx.commit().await.unwrap();
    // And cannot come back while that one lives.
    let mut tx = rig.store.begin().await.unwrap();
    let back = Setting { version: 3, deleted_at: None, ..gone };
    assert!(tx.update_setting(&back, 2).await.unwrap_err().is_duplicate());
}

async fn a_change_compares_and_versions_stay(rig: Rig) {
    let mut one = item("k", scope("", "", ""), SettingKind::Number, json!(1));
    assert!(kept(&rig.store, &one).await);
    let mut tx = rig.store.begin().await.unwrap();
    let rows: Vec<_> = (1..=5).map(|number| version(&one, number, Some(json!(number)))).collect();
    for row in &rows {
        tx.insert_setting_version(RandomMint.uuid(), one.id, row, None).await.unwrap();
    }
    one.version = 2;
    one.value = json!(2);
    one.schema = None;
    assert!(tx.update_setting(&one, 1).await.unwrap());
    assert!(!tx.update_setting(&one, 1).await.unwrap(), "it is of another version");
    assert_eq!(tx.setting(one.id).await.unwrap(), Some(one.clone()));
    let page = PageRequest { limit: 2, after: None };
    let first = tx.setting_versions(one.id, page).await.unwrap();
    let numbers = |rows: &[slipway_store::setting::VersionRecord]| {
        rows.iter().map(|row| row.version.version).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&first), [5, 4, 3], "one more than asked for");
    let page = PageRequest { limit: 2, after: Some(first[1].row) };
    assert_eq!(numbers(&tx.setting_versions(one.id, page).await.unwrap()), [3, 2, 1]);
    let page = PageRequest { limit: 2, after: Some(RandomMint.uuid()) };
    assert!(tx.setting_versions(one.id, page).await.unwrap().is_empty());
    let row = tx.setting_version(one.id, 4).await.unwrap().unwrap();
    assert_eq!(row.version, rows[3]);
    assert!(row.mac.is_none());
    let again = version(&one, 5, None);
    let twice = tx.insert_setting_version(RandomMint.uuid(), one.id, &again, None).await;
    assert!(twice.unwrap_err().is_duplicate(), "a version is written once");
}

async fn a_secret_opens_in_its_own_version_only(rig: Rig) {
    let one = item("pw", scope("shop", "", ""), SettingKind::Secret, json!("***"));
    let other = item("pw", scope("bank", "", ""), SettingKind::Secret, json!("***"));
    for item in [&one, &other] {
        assert!(kept(&rig.store, item).await);
        keep_secret(&rig.store, item, 1, "hunter2-of-the-test").await;
        keep_secret(&rig.store, item, 2, "another").await;
        keep_secret(&rig.store, item, 3, "hunter2-of-the-test").await;
    }
    let mut tx = rig.store.begin().await.unwrap();
    let secret = tx.setting_secret(one.id, 1).await.unwrap().unwrap();
    assert_eq!(secret.reveal(), "hunter2-of-the-test");
    assert!(tx.setting_secret(one.id, 9).await.unwrap().is_none());
    // Whether two versions have the same secret can be told, of one item and not of two.
    let mut macs = Vec::new();
    for (of, number) in [(one.id, 1), (one.id, 2), (one.id, 3), (other.id, 1)] {
        macs.push(tx.setting_version(of, number).await.unwrap().unwrap().mac.unwrap());
    }
    assert!(macs[0] == macs[2] && macs[0] != macs[1] && macs[0] != macs[3]);
    let shown = tx.setting_version(one.id, 1).await.unwrap().unwrap();
    assert_eq!(shown.version.value, Some(json!("***")));
    // Sealed for one version, it is no other's.
    let secret = Secret::new("moved".to_owned());
    let sealed = rig.store.seal_setting(one.id, 4, &secret).await.unwrap();
    let row = version(&one, 5, None);
    let moved = tx.insert_setting_version(RandomMint.uuid(), one.id, &row, Some(&sealed)).await;
    assert!(moved.is_err());
    tx.commit().await.unwrap();
    let swap = "update setting_versions set sealed = (select sealed from setting_versions
        where setting_id = $1 and version = 2) where setting_id = $1 and version = 1";
    if let Some(url) = &rig.url {
        let mut c = sqlx::PgConnection::connect(url).await.unwrap();
        sqlx::query(swap).bind(one.id.0).execute(&mut c).await.unwrap();
    } else {
        let path = rig.dir.path().join("test.db");
        let mut c = sqlx::SqliteConnection::connect(&path.to_string_lossy()).await.unwrap();
        sqlx::query(swap).bind(one.id.0).execute(&mut c).await.unwrap();
    }
    let mut tx = rig.store.read().await.unwrap();
    assert!(tx.setting_secret(one.id, 1).await.is_err(), "put into another version's place");
}

async fn a_secret_gets_another_key_and_opens_all_the_while(rig: Rig) {
    let ring = || (*Keyring::generate().unwrap()).clone();
    let (old, new) = (ring(), ring());
    let parsed = |rings: &[&str]| Keyring::parse(&rings.join(",")).unwrap();
    let before = rig.store.with_keys(parsed(&[&old]));
    let one = item("pw", scope("", "", ""), SettingKind::Secret, json!("***"));
    let other = item("other", scope("", "", ""), SettingKind::Secret, json!("***"));
    for item in [&one, &other] {
        assert!(kept(&before, item).await);
        for number in 1..=120 {
            keep_secret(&before, item, number, &format!("secret-{number}")).await;
        }
    }
    let both = rig.store.with_keys(parsed(&[&new, &old]));
    let current = both.keys().current().await.unwrap();
    let step = both.rewrap_setting(one.id, &current).await.unwrap();
    assert_eq!((step.looked, step.rewrapped), (120, 120));
    let step = both.rewrap_setting(one.id, &current).await.unwrap();
    assert_eq!((step.looked, step.rewrapped), (120, 0), "they have it");
    let after = rig.store.with_keys(parsed(&[&new]));
    let opened = async |store: &Store, of: SettingId, number: i32| {
        let mut tx = store.read().await.unwrap();
        tx.setting_secret(of, number).await.map(|secret| secret.unwrap().reveal().clone())
    };
    assert_eq!(opened(&after, one.id, 101).await.unwrap(), "secret-101");
    assert!(opened(&after, other.id, 101).await.is_err(), "this one was not asked for");
    assert_eq!(opened(&both, other.id, 101).await.unwrap(), "secret-101");
}

async fn lists_are_filtered_and_in_pages(rig: Rig) {
    for (key, place) in [
        ("a", scope("", "", "")),
        ("a", scope("shop", "", "")),
        ("a", scope("shop", "prod", "web")),
        ("b", scope("shop", "prod", "")),
        ("b", scope("", "prod", "")),
        ("c", scope("bank", "", "")),
    ] {
        assert!(kept(&rig.store, &item(key, place, SettingKind::String, json!("x"))).await);
    }
    let mut tx = rig.store.read().await.unwrap();
    let all = PageRequest { limit: 100, after: None };
    let mut count =
        async |filter: Filter| tx.settings(&filter, &Reach::Everywhere, all).await.unwrap().len();
    assert_eq!(count(Filter::default()).await, 6);
    let named = |text: &str| Some(text.to_owned());
    assert_eq!(count(Filter { project: named("shop"), ..Filter::default() }).await, 3);
    assert_eq!(count(Filter { environment: named("prod"), ..Filter::default() }).await, 3);
    assert_eq!(count(Filter { key: named("a"), ..Filter::default() }).await, 3);
    let one = Filter { key: named("a"), service: named("web"), ..Filter::default() };
    assert_eq!(count(one).await, 1);
    let four = PageRequest { limit: 4, after: None };
    let first = tx.settings(&Filter::default(), &Reach::Everywhere, four).await.unwrap();
    assert_eq!(first.len(), 5);
    let page = PageRequest { limit: 4, after: Some(first[3].id.0) };
    let rest = tx.settings(&Filter::default(), &Reach::Everywhere, page).await.unwrap();
    assert_eq!(rest.len(), 2);
    // What holds in all projects is everybody's to see.
    let mut seen_from = async |projects: &[&str]| {
        let reach = Reach::Projects(projects.iter().map(|name| (*name).to_owned()).collect());
        tx.settings(&Filter::default(), &reach, all).await.unwrap().len()
    };
    let nobodys = seen_from(&[]).await;
    assert!(nobodys < 6);
    assert_eq!(seen_from(&["other"]).await, nobodys);
    assert_eq!(seen_from(&["shop"]).await, nobodys + 3);
    assert_eq!(seen_from(&["bank"]).await, nobodys + 1);
    assert_eq!(seen_from(&["bank", "shop"]).await, nobodys + 4);
    let mut held = async |place: SettingScope| {
        let mut all: Vec<_> = tx
            .settings_for(&place)
            .await
            .unwrap()
            .iter()
            .map(|item| format!("{} {}", item.key, item.scope))
            .collect();
        all.sort();
        all
    };
    assert_eq!(
        held(scope("shop", "prod", "web")).await,
        [
            "a everything",
            "a project shop",
            "a service shop/web in prod",
            "b environment prod",
            "b project shop in prod"
        ]
    );
    assert_eq!(held(scope("shop", "", "")).await, ["a everything", "a project shop"]);
    assert_eq!(held(SettingScope::default()).await, ["a everything"]);
}
