//! The central configuration: versions and who made them, secrets, what every process remembers, and
//! what deployments make of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};
use slipway_domain::Code;
use slipway_domain::access::Scope;
use slipway_domain::deployment::Options as How;
use slipway_domain::id::{DeploymentId, SettingId};
use slipway_domain::job::Queue;
use slipway_domain::page::PageRequest;
use slipway_domain::plan::Plan;
use slipway_domain::port::driver::{ApplyInput, PlanInput};
use slipway_domain::redact::Redactor;
use slipway_domain::setting::{
    ChangeSetting, NewSetting, Setting, SettingAction, SettingKind, SettingScope,
};
use slipway_services::deployment::Submit;
use slipway_services::execution::{self, Begun};
use slipway_services::gate::{Precondition, Seen};
use slipway_services::setting::{self, Effective, Filter, Reveal, RollBack};
use slipway_services::{Ctx, deployment, plan};
use slipway_store::crypto::Keyring;

use crate::rig::{Rig, code, key, on_both_engines, plan_of};

on_both_engines! {
    a_setting_goes_through_its_life_and_every_step_is_kept,
    bad_settings_are_refused_with_their_place,
    of_two_writers_with_one_version_one_wins,
    the_same_request_makes_one_setting,
    a_secret_is_shown_only_to_who_asks_for_it_on_record,
    secrets_are_read_all_the_while_their_keys_change,
    a_change_is_seen_by_every_process,
    variables_that_name_what_is_not_there_are_refused,
    what_was_planned_is_what_is_applied,
    an_approval_goes_on_only_with_the_same_versions,
    nobody_reads_in_the_record_what_a_secret_was,
}

fn scope(project: Option<&str>, environment: Option<&str>, service: Option<&str>) -> SettingScope {
    SettingScope {
        project: project.map(Into::into),
        environment: environment.map(Into::into),
        service: service.map(Into::into),
    }
}

fn new(key: &str, scope: SettingScope, kind: SettingKind, value: Value) -> NewSetting {
    NewSetting {
        key: key.into(),
        scope,
        kind,
        value,
        schema: None,
        description: None,
        comment: None,
    }
}

async fn make(
    rig: &Rig,
    key: &str,
    scope: SettingScope,
    kind: SettingKind,
    value: Value,
) -> Setting {
    setting::create(&rig.cx, &rig.who, new(key, scope, kind, value), None).await.unwrap().setting
}

fn to(value: Value) -> ChangeSetting {
    ChangeSetting { value: Some(value), ..ChangeSetting::default() }
}

async fn set(rig: &Rig, id: SettingId, value: Value) -> Setting {
    let from = Some(Precondition::Any);
    setting::update(&rig.cx, &rig.who, id, to(value), from).await.unwrap()
}

async fn reveal(cx: &Ctx, rig: &Rig, id: SettingId, version: Option<i32>) -> Result<String, Code> {
    let why = Reveal { reason: "a test".into(), version };
    let shown = setting::reveal(cx, &rig.who, id, why).await;
    shown.map(|shown| shown.value).map_err(|fault| fault.code)
}

const PAGE: PageRequest = PageRequest { limit: 100, after: None };

async fn a_setting_goes_through_its_life_and_every_step_is_kept(rig: Rig) {
    use SettingAction as A;
    let (cx, who) = (&rig.cx, &rig.who);
    let request = NewSetting {
        schema: Some(json!({"type": "object", "required": ["size"]})),
        description: Some("the pool".into()),
        comment: Some("first".into()),
        ..new("db.pool", scope(Some("shop"), None, None), SettingKind::Json, json!({"size": 1}))
    };
    let made = setting::create(cx, who, request.clone(), None).await.unwrap().setting;
    assert_eq!((made.version, made.value.clone()), (1, json!({"size": 1})));
    assert_eq!(code(setting::create(cx, who, request, None).await), Code::Conflict);
    let id = made.id;
    let change = ChangeSetting {
        value: Some(json!({"size": 2})),
        schema: made.schema.clone(),
        ..ChangeSetting::default()
    };
    let update = |change: ChangeSetting, from| setting::update(cx, who, id, change, from);
    assert_eq!(code(update(change.clone(), None).await), Code::PreconditionRequired);
    let wrong = Some(Precondition::Version(7));
    assert_eq!(code(update(change.clone(), wrong).await), Code::PreconditionFailed);
    let second = update(change.clone(), Some(Precondition::Version(1))).await.unwrap();
    assert_eq!((second.version, second.description.clone()), (2, None));
    let bad = ChangeSetting { value: Some(json!({})), ..change };
    let refused = update(bad, Some(Precondition::Any)).await.unwrap_err();
    assert_eq!(refused.errors[0].pointer, "/value");
    // What is left out but the value is gone; the value stays.
    let third = update(ChangeSetting::default(), Some(Precondition::Any)).await.unwrap();
    assert_eq!((third.value, third.schema), (json!({"size": 2}), None));
    let back = RollBack { to_version: 1, comment: Some("it was better".into()) };
    let from = Some(Precondition::Version(3));
    let fourth = setting::roll_back(cx, who, id, back.clone(), from).await.unwrap();
    assert_eq!((fourth.version, fourth.value, fourth.schema), (4, made.value, made.schema));
    for to_version in [0, 4, 9] {
        let back = RollBack { to_version, comment: None };
        let refused = setting::roll_back(cx, who, id, back, Some(Precondition::Any)).await;
        assert_eq!(refused.unwrap_err().errors[0].pointer, "/to_version", "{to_version}");
    }
    let diff = setting::diff(cx, who, id, Some(2), Some(1)).await.unwrap();
    let places: Vec<_> = diff.changes.iter().map(|change| change.pointer.as_str()).collect();
    assert_eq!(places, ["/value/size", "/description"]);
    let diff = setting::diff(cx, who, id, None, None).await.unwrap();
    assert_eq!((diff.from, diff.to), (3, 4));

    setting::delete(cx, who, id, Some(Precondition::Version(4))).await.unwrap();
    let again = setting::delete(cx, who, id, Some(Precondition::Any)).await;
    assert_eq!(code(again), Code::NotFound);
    assert_eq!(code(setting::get(cx, who, id).await), Code::NotFound);
    assert!(setting::list(cx, who, &Filter::default(), PAGE).await.unwrap().items.is_empty());
    let versions = setting::versions(cx, who, id, PAGE).await.unwrap().items;
    let told: Vec<_> = versions.iter().map(|v| (v.version, v.action, v.from_version)).collect();
    assert_eq!(
        told,
        [
            (5, A::Deleted, None),
            (4, A::RolledBack, Some(1)),
            (3, A::Updated, None),
            (2, A::Updated, None),
            (1, A::Created, None)
        ]
    );
    assert!(versions[0].value.is_none() && versions[4].comment.as_deref() == Some("first"));
    // While another one has its place it cannot come back.
    let place = scope(Some("shop"), None, None);
    let other = make(&rig, "db.pool", place, SettingKind::Bool, json!(true)).await;
    let restore = || setting::roll_back(cx, who, id, back.clone(), Some(Precondition::Version(5)));
    assert_eq!(code(restore().await), Code::Conflict);
    setting::delete(cx, who, other.id, Some(Precondition::Any)).await.unwrap();
    let restored = restore().await.unwrap();
    assert_eq!((restored.version, restored.deleted_at), (6, None));
    assert_eq!(setting::get(cx, who, id).await.unwrap(), restored);

    let first = PageRequest { limit: 4, after: None };
    let audit = setting::audit_of(cx, who, id, first).await.unwrap();
    let next = PageRequest::parse(Some(4), audit.next_cursor.as_deref()).unwrap();
    let rest = setting::audit_of(cx, who, id, next).await.unwrap();
    let actions: Vec<_> =
        audit.items.iter().chain(&rest.items).map(|row| row.action.clone()).collect();
    let wanted = ["roll_back", "delete", "roll_back", "update", "update", "create"];
    assert_eq!(actions, wanted.map(|action| format!("setting.{action}")));
}

async fn bad_settings_are_refused_with_their_place(rig: Rig) {
    let places = async |request: NewSetting| {
        let refused = setting::create(&rig.cx, &rig.who, request, None).await.unwrap_err();
        assert_eq!(refused.code, Code::InvalidInput);
        refused.errors.into_iter().map(|error| error.pointer).collect::<Vec<_>>()
    };
    let everywhere = SettingScope::default;
    let bad = new("1", scope(None, Some("Prod"), Some("web")), SettingKind::Number, json!("1"));
    let at = ["/scope/environment", "/scope/service", "/key", "/value"];
    assert_eq!(places(bad).await, at);
    let remote = NewSetting {
        schema: Some(json!({"$ref": "https://example.com/s.json"})),
        ..new("k", everywhere(), SettingKind::String, json!("x"))
    };
    assert_eq!(places(remote).await, ["/schema/$ref"]);
    let unfit = NewSetting {
        schema: Some(json!({"enum": ["a", "b"]})),
        ..new("k", everywhere(), SettingKind::String, json!("x"))
    };
    assert_eq!(places(unfit).await, ["/value"]);
    let short = new("k", everywhere(), SettingKind::Secret, json!("abc"));
    assert_eq!(places(short).await, ["/value"]);
    assert!(rig.audited().await.is_empty(), "nothing was written");
}

async fn of_two_writers_with_one_version_one_wins(rig: Rig) {
    let one = make(&rig, "k", SettingScope::default(), SettingKind::Number, json!(0)).await;
    for round in 1..=5 {
        let from = Some(Precondition::Version(round));
        let writers: Vec<_> = (0..6)
            .map(|number| {
                let (cx, who) = (rig.cx.clone(), rig.who.clone());
                tokio::spawn(async move {
                    setting::update(&cx, &who, one.id, to(json!(number)), from).await
                })
            })
            .collect();
        let mut won = Vec::new();
        for (number, writer) in writers.into_iter().enumerate() {
            match writer.await.unwrap() {
                Ok(setting) => won.push((number, setting.version)),
                Err(fault) => assert_eq!(fault.code, Code::PreconditionFailed, "{fault}"),
            }
        }
        let [(number, version)] = won[..] else { panic!("{won:?}") };
        assert_eq!(i64::from(version), round + 1);
        let now = setting::get(&rig.cx, &rig.who, one.id).await.unwrap();
        assert_eq!((now.version, now.value), (version, json!(number)));
    }
    // Who takes whatever there is loses nothing either: every change is a version.
    let writers: Vec<_> = (0..3)
        .map(|number| {
            let (cx, who) = (rig.cx.clone(), rig.who.clone());
            let from = Some(Precondition::Any);
            tokio::spawn(async move {
                setting::update(&cx, &who, one.id, to(json!(number)), from).await
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let versions = setting::versions(&rig.cx, &rig.who, one.id, PAGE).await.unwrap().items;
    assert_eq!(versions.len(), 9);
    // And two that make the same one.
    let makers: Vec<_> = (0..4)
        .map(|_| {
            let (cx, who) = (rig.cx.clone(), rig.who.clone());
            let request = new("same", SettingScope::default(), SettingKind::Bool, json!(true));
            tokio::spawn(async move { setting::create(&cx, &who, request, None).await.is_ok() })
        })
        .collect();
    let mut made = 0;
    for maker in makers {
        made += u32::from(maker.await.unwrap());
    }
    assert_eq!(made, 1);
}

async fn the_same_request_makes_one_setting(rig: Rig) {
    let request = new("k", SettingScope::default(), SettingKind::Secret, json!("hunter2"));
    let make = |request: NewSetting| setting::create(&rig.cx, &rig.who, request, Some("key-1"));
    let first = make(request.clone()).await.unwrap();
    let again = make(request.clone()).await.unwrap();
    assert!(!first.replayed && again.replayed && first.setting.id == again.setting.id);
    let other = NewSetting { value: json!("hunter3"), ..request };
    assert_eq!(code(make(other).await), Code::IdempotencyKeyReused);
}

async fn a_secret_is_shown_only_to_who_asks_for_it_on_record(rig: Rig) {
    let (cx, who) = (&rig.cx, &rig.who);
    let one =
        make(&rig, "pw", scope(Some("shop"), None, None), SettingKind::Secret, json!("hunter2"))
            .await;
    set(&rig, one.id, json!("hunter3-and-more")).await;
    // Without a value it keeps the one that it has.
    let about =
        ChangeSetting { description: Some("of the database".into()), ..ChangeSetting::default() };
    setting::update(cx, who, one.id, about, Some(Precondition::Any)).await.unwrap();
    let back = RollBack { to_version: 1, comment: None };
    setting::roll_back(cx, who, one.id, back, Some(Precondition::Any)).await.unwrap();
    let diff = async |from, to| setting::diff(cx, who, one.id, Some(from), Some(to)).await.unwrap();
    let changed = diff(1, 2).await;
    assert!(changed.changes[0].secret && changed.changes[0].after.is_none(), "{changed:?}");
    assert_eq!(diff(2, 3).await.changes[0].pointer, "/description", "the same secret");
    assert!(diff(1, 4).await.changes.is_empty());
    let shown = [
        format!("{:?}", setting::get(cx, who, one.id).await.unwrap()),
        format!("{:?}", setting::versions(cx, who, one.id, PAGE).await.unwrap()),
        format!("{:?}", setting::list(cx, who, &Filter::default(), PAGE).await.unwrap()),
        format!("{changed:?}"),
        format!("{:?}", setting::resolve(cx, who, one.scope.clone()).await.unwrap()),
        format!("{:?}", setting::audit_of(cx, who, one.id, PAGE).await.unwrap()),
    ];
    for text in shown {
        assert!(!text.contains("hunter"), "{text}");
    }
    for (version, wanted) in
        [(1, "hunter2"), (2, "hunter3-and-more"), (3, "hunter3-and-more"), (4, "hunter2")]
    {
        assert_eq!(reveal(cx, &rig, one.id, Some(version)).await.unwrap(), wanted);
    }
    assert_eq!(reveal(cx, &rig, one.id, None).await.unwrap(), "hunter2");
    assert_eq!(reveal(cx, &rig, one.id, Some(9)).await.unwrap_err(), Code::InvalidInput);
    let silent = Reveal { reason: "  ".into(), version: None };
    let refused = setting::reveal(cx, who, one.id, silent).await.unwrap_err();
    assert_eq!(refused.errors[0].pointer, "/reason");
    let open = make(&rig, "open", SettingScope::default(), SettingKind::String, json!("x")).await;
    assert_eq!(reveal(cx, &rig, open.id, None).await.unwrap_err(), Code::InvalidInput);
    let audited = setting::audit_of(cx, who, one.id, PAGE).await.unwrap().items;
    let reveals: Vec<_> = audited.iter().filter(|row| row.action == "setting.reveal").collect();
    assert_eq!(reveals.len(), 5, "those that showed something");
    assert_eq!(reveals[0].detail["reason"], "a test");
    let mut blind = who.clone();
    blind.grants.house.scopes = [Scope::ConfigRead, Scope::ConfigWrite].into();
    let why = Reveal { reason: "a test".into(), version: None };
    assert_eq!(code(setting::reveal(cx, &blind, one.id, why).await), Code::Forbidden);
}

async fn secrets_are_read_all_the_while_their_keys_change(rig: Rig) {
    let ring = || (*Keyring::generate().unwrap()).clone();
    let (first, second) = (ring(), ring());
    let house = |rings: [&str; 2]| Ctx {
        store: rig.cx.store.with_keys(Keyring::parse(&rings.join(",")).unwrap()),
        ..rig.cx.clone()
    };
    // Processes that seal with the one, and with the other.
    let (one, other) = (house([&first, &second]), house([&second, &first]));
    let request = new("pw", SettingScope::default(), SettingKind::Secret, json!("secret-1"));
    let id = setting::create(&one, &rig.who, request, None).await.unwrap().setting.id;
    for number in 2..=40 {
        let from = Some(Precondition::Any);
        let value = to(json!(format!("secret-{number}")));
        setting::update(&one, &rig.who, id, value, from).await.unwrap();
    }
    let ended = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU32::new(0));
    let readers: Vec<_> = (0..3_i32)
        .map(|reader| {
            let (ended, reads, cx) = (ended.clone(), reads.clone(), one.clone());
            tokio::spawn(async move {
                let mut number = reader;
                while !ended.load(Ordering::SeqCst) {
                    number = number % 40 + 1;
                    let mut tx = cx.store.read().await.unwrap();
                    let secret = tx.setting_secret(id, number).await.unwrap().unwrap();
                    assert_eq!(*secret.reveal(), format!("secret-{number}"));
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for round in 0..8 {
        let cx = if round % 2 == 0 { &other } else { &one };
        let rotated = setting::rotate(cx, &rig.who, id).await.unwrap();
        assert_eq!((rotated.versions, rotated.rewrapped), (40, 40), "round {round}");
    }
    // Where the key is in use already there is nothing to do.
    assert_eq!(setting::rotate(&one, &rig.who, id).await.unwrap().rewrapped, 0);
    ended.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(reads.load(Ordering::SeqCst) > 20);
    assert_eq!(reveal(&other, &rig, id, Some(7)).await.unwrap(), "secret-7");
}

async fn a_change_is_seen_by_every_process(rig: Rig) {
    let place = || scope(Some("shop"), Some("dev"), Some("net"));
    // Another process: it shares database and transport, and nothing that is remembered.
    let other = Ctx { gathered: Arc::default(), ..rig.cx.clone() };
    let held = async |cx: &Ctx| setting::resolve(cx, &rig.who, place()).await.unwrap();
    let value =
        |effective: &Arc<Effective>| effective.settings.get("k").map(|one| one.value.clone());
    let one = make(&rig, "k", SettingScope::default(), SettingKind::Number, json!(1)).await;
    for cx in [&rig.cx, &other] {
        assert_eq!(value(&held(cx).await), Some(json!(1)));
        assert!(Arc::ptr_eq(&held(cx).await, &held(cx).await), "it is remembered");
    }
    let before = held(&other).await;
    for number in 2..20 {
        set(&rig, one.id, json!(number)).await;
        assert_eq!(value(&held(&rig.cx).await), Some(json!(number)));
        assert_eq!(value(&held(&other).await), Some(json!(number)));
    }
    assert_ne!(before.tag, held(&other).await.tag);
    // A narrower one there.
    let from = Some(Precondition::Any);
    let narrow = new("k", scope(Some("shop"), None, Some("net")), SettingKind::String, json!("n"));
    let narrow = setting::create(&other, &rig.who, narrow, None).await.unwrap().setting;
    let now = held(&rig.cx).await;
    let k = now.settings.get("k").unwrap();
    assert_eq!((&k.value, &k.setting_id, &k.scope), (&json!("n"), &narrow.id, &narrow.scope));
    assert_eq!(k.shadows[0].setting_id, one.id);
    setting::delete(&other, &rig.who, narrow.id, from).await.unwrap();
    assert_eq!(value(&held(&rig.cx).await), Some(json!(19)));
    // What was changed behind everybody's back is not seen at once; whoever was away is told.
    assert_eq!(value(&held(&other).await), Some(json!(19)));
    let mut tx = rig.cx.store.begin().await.unwrap();
    let now = tx.setting(one.id).await.unwrap().unwrap();
    let next = Setting { value: json!(0), version: now.version + 1, ..now.clone() };
    assert!(tx.update_setting(&next, now.version).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(value(&held(&other).await), Some(json!(19)));
    rig.cx.transport.publish(slipway_queue::Signal::Missed).await.unwrap();
    assert_eq!(value(&held(&other).await), Some(json!(0)));
}

async fn asking(rig: &Rig, stack: &str, variables: Value) -> Submit {
    Submit {
        variables: serde_json::from_value(variables).unwrap(),
        options: How { auto_apply: true, ..How::default() },
        ..rig.request(stack).await
    }
}

async fn variables_that_name_what_is_not_there_are_refused(rig: Rig) {
    let shop = || scope(Some("shop"), None, None);
    make(&rig, "region", shop(), SettingKind::String, json!("eu-1")).await;
    make(&rig, "pw", shop(), SettingKind::Secret, json!("hunter2")).await;
    make(&rig, "list", shop(), SettingKind::Json, json!([1])).await;
    make(&rig, "other", scope(Some("bank"), None, None), SettingKind::String, json!("x")).await;
    let refused = async |variables: Value| {
        let request = asking(&rig, "net", variables).await;
        let fault = deployment::submit(&rig.cx, &rig.who, request, None).await.unwrap_err();
        assert_eq!(fault.code, Code::InvalidInput);
        let [error] = fault.errors.as_slice() else { panic!("{:?}", fault.errors) };
        (error.pointer.clone(), error.detail.clone())
    };
    let (at, why) = refused(json!({"region": "${config.nope}"})).await;
    assert_eq!(at, "/variables/region");
    for part in
        ["\"nope\"", "service shop/net in dev", "project shop", "environment dev", "everything"]
    {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert!(refused(json!({"region": "${config.other}"})).await.1.contains("there is no setting"));
    assert!(refused(json!({"region": "${config.pw}"})).await.1.contains("${secret.pw}"));
    assert!(refused(json!({"password": "${secret.region}"})).await.1.contains("${config.region}"));
    assert!(refused(json!({"region": "a ${config.list}"})).await.1.contains("JSON"));
    assert!(refused(json!({"region": "${config.}"})).await.1.contains("$${config."));
    let (at, why) = refused(json!({"nobody": "${secret.pw}"})).await;
    assert_eq!((at.as_str(), why.as_str()), ("/variables/nobody", "unknown"));
    // The same in an uploaded archive.
    let request = asking(&rig, "net", json!({"region": "${config.nope}"})).await;
    let archive = crate::rig::packed();
    let sent = deployment::submit_archive(&rig.cx, &rig.who, request, archive, None, None).await;
    assert_eq!(sent.unwrap_err().errors[0].pointer, "/variables/region");
}

fn planning(begun: Begun) -> (Box<PlanInput>, Redactor) {
    match begun {
        Begun::Plan { input, redactor, .. } => (input, redactor),
        other => panic!("{other:?}"),
    }
}

fn applying(begun: Begun) -> (Box<ApplyInput>, Redactor) {
    match begun {
        Begun::Apply { input, redactor } => (input, redactor),
        other => panic!("{other:?}"),
    }
}

/// Plans what was submitted, as a worker does; gives what it was planned with, and the plan.
async fn planned(rig: &Rig, id: DeploymentId) -> (Box<PlanInput>, Plan) {
    let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
    assert_eq!(job.deployment_id, id);
    let (input, redactor) = planning(execution::begin(&rig.cx, &job, &lease).await.unwrap());
    assert!(
        !redactor.text("x hunter2-secret y").contains("hunter2"),
        "it is hidden from the run on"
    );
    let made = plan_of(rig.mark(id).await);
    let seen = Seen { redactor, settings: input.settings.clone(), ..Seen::default() };
    execution::plan_finished(&rig.cx, &job, &lease, made, &seen).await.unwrap();
    (input, plan::get(&rig.cx, &rig.who, id).await.unwrap())
}

async fn with_settings(rig: &Rig) -> (Setting, Setting) {
    let shop = scope(Some("shop"), None, None);
    let region = make(rig, "region", shop, SettingKind::String, json!("eu-1")).await;
    let service = scope(Some("shop"), Some("dev"), Some("net"));
    let pw = make(rig, "pw", service, SettingKind::Secret, json!("hunter2-secret")).await;
    (region, pw)
}

const VARIABLES: &str = r#"{"region": "${config.region}-a $${config.x}",
    "password": "user:${secret.pw}", "token": "${secret.pw}"}"#;

async fn what_was_planned_is_what_is_applied(rig: Rig) {
    let (region, pw) = with_settings(&rig).await;
    let variables: Value = serde_json::from_str(VARIABLES).unwrap();
    let request = asking(&rig, "net", variables).await;
    let accepted = deployment::submit(&rig.cx, &rig.who, request, None).await.unwrap().deployment;
    assert_eq!(accepted.variables["token"], "***");
    assert_eq!(accepted.variables["region"], "${config.region}-a $${config.x}");
    let id = accepted.id;
    // What was changed between submission and plan counts.
    set(&rig, region.id, json!("eu-2")).await;
    let (input, plan) = planned(&rig, id).await;
    assert_eq!(input.variables["region"], "eu-2-a ${config.x}");
    assert_eq!(input.variables["password"], "user:hunter2-secret");
    let used: Vec<_> = plan
        .settings
        .iter()
        .map(|used| (used.key.as_str(), used.secret, used.setting_id, used.version))
        .collect();
    assert_eq!(used, [("region", false, region.id, 2), ("pw", true, pw.id, 1)]);
    assert_eq!(plan.settings[1].variables, ["password", "token"]);
    assert!(plan.to_text().contains("secret.pw version 1 (service shop/net in dev)"));
    // What is changed, and what is deleted, after it does not.
    set(&rig, region.id, json!("eu-3")).await;
    set(&rig, pw.id, json!("another-secret")).await;
    setting::delete(&rig.cx, &rig.who, pw.id, Some(Precondition::Any)).await.unwrap();
    deployment::approve(&rig.cx, &rig.who, id, &plan.digest, None).await.unwrap();
    let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
    for _ in 0..2 {
        // It may be begun again.
        let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
        assert!(!format!("{begun:?}").contains("hunter2"), "{begun:?}");
        let (apply, redactor) = applying(begun);
        assert_eq!(apply.variables, input.variables);
        assert_eq!(redactor.text("hunter2-secret"), "***");
    }
    // Another deployment gets what holds now: nothing.
    let request = asking(&rig, "net", json!({"token": "${secret.pw}"})).await;
    let late = deployment::submit(&rig.cx, &rig.who, request, None).await.unwrap_err();
    assert_eq!(late.errors[0].pointer, "/variables/token");
}

async fn an_approval_goes_on_only_with_the_same_versions(rig: Rig) {
    let (region, _) = with_settings(&rig).await;
    let variables: Value = serde_json::from_str(VARIABLES).unwrap();
    let request = asking(&rig, "net", variables).await;
    let id = deployment::submit(&rig.cx, &rig.who, request, None).await.unwrap().deployment.id;
    let (_, plan) = planned(&rig, id).await;
    let stale = async || {
        let (job, lease) = rig.claim(Queue::Apply).await.unwrap();
        let ending = execution::Ending::Stale { summary: "the state moved".to_owned() };
        execution::begin(&rig.cx, &job, &lease).await.unwrap();
        execution::ended(&rig.cx, &job, &lease, ending).await.unwrap();
        let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
        let (input, redactor) = planning(execution::begin(&rig.cx, &job, &lease).await.unwrap());
        let approved = input.approved.clone().expect("it was approved");
        let same = approved.variables_digest == approved.binding.variables;
        let made = plan_of(rig.mark(id).await);
        let seen = Seen { redactor, settings: input.settings.clone(), ..Seen::default() };
        let now = execution::plan_finished(&rig.cx, &job, &lease, made, &seen).await.unwrap();
        (same, now.plan.unwrap().digest)
    };
    deployment::approve(&rig.cx, &rig.who, id, &plan.digest, None).await.unwrap();
    let (same, digest) = stale().await;
    assert!(same, "nothing was changed");
    assert_eq!(digest, plan.digest, "of the same, made anew");
    deployment::approve(&rig.cx, &rig.who, id, &digest, None).await.unwrap();
    // The same value, as another version.
    set(&rig, region.id, json!("eu-1")).await;
    let (same, other) = stale().await;
    assert!(!same, "a driver that compares them says that they differ");
    assert_ne!(other, digest);
}

async fn nobody_reads_in_the_record_what_a_secret_was(rig: Rig) {
    with_settings(&rig).await;
    let variables: Value = serde_json::from_str(VARIABLES).unwrap();
    let request = asking(&rig, "net", variables).await;
    let accepted = deployment::submit(&rig.cx, &rig.who, request, Some("k")).await.unwrap();
    let id = accepted.deployment.id;
    let (input, plan) = planned(&rig, id).await;
    assert!(!format!("{input:?}").contains("hunter2"), "{input:?}");
    assert!(!format!("{plan:?}").contains("hunter2-secret"), "{plan:?}");
    assert!(!rig.dump(id).await.contains("hunter2-secret"));
    // What is kept of the deployment is what it names.
    let mut tx = rig.cx.store.read().await.unwrap();
    assert_eq!(tx.variables(id).await.unwrap()["token"], "${secret.pw}");
    assert_eq!(key("net").to_string(), "shop/net/dev");
}
