use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::effective::EffectiveSettings;
use super::reference::{Piece, Reference, are_plain, escape, fill, parse, uses_secret};
use super::*;
use crate::access::{Door, Principal};
use crate::deployment::Variables;
use uuid::Uuid;

fn scope(project: Option<&str>, environment: Option<&str>, service: Option<&str>) -> SettingScope {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    SettingScope {
        project: owned(project),
        environment: owned(environment),
        service: owned(service),
    }
}

fn item(number: u128, key: &str, scope: SettingScope) -> Setting {
    let by = Principal::local(Door::Rest).actor;
    Setting {
        id: SettingId(Uuid::from_u128(number)),
        key: key.to_owned(),
        value: json!(scope.to_string()),
        scope,
        kind: SettingKind::String,
        schema: None,
        description: None,
        version: 1,
        created_at: DateTime::UNIX_EPOCH,
        created_by: by.clone(),
        updated_at: DateTime::UNIX_EPOCH,
        updated_by: by,
        deleted_at: None,
    }
}

#[test]
fn the_narrower_scope_wins_in_the_order_that_is_documented() {
    let place = scope(Some("shop"), Some("prod"), Some("web"));
    let order: Vec<String> = place.looked_at().iter().map(ToString::to_string).collect();
    assert_eq!(
        order,
        [
            "service shop/web in prod",
            "service shop/web",
            "project shop in prod",
            "project shop",
            "environment prod",
            "everything"
        ]
    );
    // Each is outweighed by all before it.
    let mut items: Vec<_> =
        (1..).zip(place.looked_at()).map(|(number, scope)| item(number, "k", scope)).collect();
    while !items.is_empty() {
        let effective = EffectiveSettings::of(place.clone(), items.iter().rev().cloned());
        let [one] = effective.settings.as_slice() else { panic!("{effective:?}") };
        assert_eq!(one.setting_id, items[0].id);
        let shadows: Vec<_> = one.shadows.iter().map(|other| other.setting_id).collect();
        let others: Vec<_> = items[1..].iter().map(|other| other.id).collect();
        assert_eq!(shadows, others);
        items.remove(0);
    }
}

#[test]
fn what_is_deleted_or_elsewhere_does_not_count_and_keys_are_found() {
    let place = scope(Some("shop"), Some("prod"), None);
    let gone = Setting {
        deleted_at: Some(DateTime::UNIX_EPOCH),
        ..item(1, "a", scope(Some("shop"), None, None))
    };
    let items = [
        gone,
        item(2, "a", SettingScope::default()),
        item(3, "b", scope(Some("bank"), None, None)),
        item(4, "c", scope(Some("shop"), None, Some("web"))),
        item(5, "d", scope(None, Some("prod"), None)),
    ];
    let effective = EffectiveSettings::of(place, items);
    let keys: Vec<_> = effective.settings.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["a", "d"]);
    assert_eq!(effective.get("a").unwrap().setting_id.0.as_u128(), 2);
    assert!(effective.get("b").is_none());
}

#[test]
fn keys_values_and_scopes_are_checked() {
    use SettingKind as K;
    for good in ["a", "LOG_LEVEL", "db.pool-size", "a.1", &"k".repeat(128)] {
        assert!(is_key(good), "{good}");
    }
    for bad in ["", "1a", ".a", "a.", "a..b", "a b", "a/b", "a}", "ä", "_a", &"k".repeat(129)] {
        assert!(!is_key(bad), "{bad}");
    }
    let problem = |kind: SettingKind, value: Value| kind.problem(&value).is_some();
    assert!(!problem(K::String, json!("")) && problem(K::String, json!(1)));
    assert!(!problem(K::Number, json!(1.5)) && problem(K::Number, json!("1")));
    assert!(!problem(K::Bool, json!(false)) && problem(K::Bool, json!("false")));
    assert!(!problem(K::Json, json!([{}])) && problem(K::Json, Value::Null));
    assert!(!problem(K::Secret, json!("abcd")) && problem(K::Secret, json!("abc")));
    assert!(problem(K::Secret, json!({"a": "secret"})) && problem(K::String, json!("a\0")));
    assert!(problem(K::String, json!("x".repeat(MAX_VALUE_BYTES + 1))));
    let deep = (0..=MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    assert!(problem(K::Json, deep));
    let wrong = scope(None, Some("Prod"), Some("web")).problems("/scope");
    let at: Vec<_> = wrong.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(at, ["/scope/environment", "/scope/service"]);
    let hidden = NewSetting {
        key: "k".into(),
        scope: SettingScope::default(),
        kind: K::Secret,
        value: json!("hunter2"),
        schema: Some(json!({})),
        description: None,
        comment: None,
    };
    assert!(!format!("{hidden:?}").contains("hunter2"));
    assert_eq!(hidden.problems()[0].pointer, "/schema");
}

fn variables(value: Value) -> Variables {
    BTreeMap::from([("v".to_owned(), value)])
}

#[test]
fn references_are_filled_with_their_type_and_in_text() {
    let value_of = |reference: &Reference| match (reference.secret, reference.key.as_str()) {
        (false, "n") => Ok(json!(3)),
        (false, "list") => Ok(json!([1, 2])),
        (true, "pw") => Ok(json!("hunter2")),
        _ => Err(format!("no {reference}")),
    };
    let filled =
        |value: Value| fill(&variables(value), value_of).map(|mut all| all.remove("v").unwrap());
    assert_eq!(filled(json!("${config.n}")).unwrap(), json!(3));
    assert_eq!(filled(json!("${config.list}")).unwrap(), json!([1, 2]));
    assert_eq!(filled(json!("x${config.n}-${secret.pw}$")).unwrap(), json!("x3-hunter2$"));
    assert_eq!(
        filled(json!({"${config.n}": ["${secret.pw}", 1]})).unwrap(),
        json!({"${config.n}": ["hunter2", 1]})
    );
    assert_eq!(
        filled(json!("$${config.n} ${var.x} $$")).unwrap(),
        json!("${config.n} ${var.x} $$")
    );
    let wrong =
        filled(json!({"a/b": ["x", "${config.nope}"], "c": "a${config.list}"})).unwrap_err();
    let at: Vec<_> = wrong.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(at, ["/variables/v/a~1b/1", "/variables/v/c"]);
    for bad in ["${config.}", "${secret.a b}", "${config.a", "a ${config.a${config.b}}"] {
        assert!(filled(json!(bad)).is_err(), "{bad}");
        assert!(!bad.contains("secret") || uses_secret(&json!(bad)));
    }
    let many: Vec<_> = (0..=reference::MAX_REFERENCES).map(|_| "${config.n}").collect();
    assert_eq!(filled(json!(many)).unwrap_err()[0].pointer, "/variables");
    assert!(uses_secret(&json!([{"a": "x ${secret.pw}"}])));
    assert!(!uses_secret(&json!("$${secret.pw} ${config.n}")));
}

#[test]
fn differences_are_told_place_by_place_and_never_a_secret() {
    use difference::SettingDifference;
    let version = |number: i32, value: Option<Value>, schema: Option<Value>| SettingVersion {
        version: number,
        action: SettingAction::Updated,
        value,
        schema,
        description: Some(format!("d{number}")),
        from_version: None,
        comment: None,
        at: DateTime::UNIX_EPOCH,
        by: Principal::local(Door::Rest).actor,
    };
    let old = version(1, Some(json!({"pool": {"size": 1}, "x/y": 1})), None);
    let new = version(2, Some(json!({"pool": {"size": 2, "min": 1}})), Some(json!(true)));
    let found = SettingDifference::between(&old, &new, None);
    let told: Vec<_> = found
        .changes
        .iter()
        .map(|change| (change.pointer.as_str(), change.before.clone(), change.after.clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("/value/pool/min", None, Some(json!(1))),
            ("/value/pool/size", Some(json!(1)), Some(json!(2))),
            ("/value/x~1y", Some(json!(1)), None),
            ("/schema", None, Some(json!(true))),
            ("/description", Some(json!("d1")), Some(json!("d2"))),
        ]
    );
    let secret = SettingDifference::between(&old, &new, Some(true));
    assert_eq!(secret.changes[0].pointer, "/value");
    assert!(secret.changes[0].secret && secret.changes[0].before.is_none());
    assert!(SettingDifference::between(&old, &old, Some(false)).changes.is_empty());
}

fn names() -> impl Strategy<Value = SettingScope> {
    let name = || prop::option::of(prop::sample::select(vec!["a", "b"]));
    (name(), name(), name()).prop_map(|(project, environment, service)| {
        scope(project, environment, service.filter(|_| project.is_some()))
    })
}

proptest! {
    /// Of everything that holds there, the narrowest counts, whatever the order; and no two that
    /// hold for one place are equally narrow.
    #[test]
    fn one_item_counts_and_nothing_that_holds_is_narrower(
        place in names(),
        scopes in prop::collection::btree_set(names(), 0..12),
        turn in 0_usize..12,
    ) {
        let mut items: Vec<_> =
            (1..).zip(scopes).map(|(number, scope)| item(number, "k", scope)).collect();
        let holding: Vec<_> =
            items.iter().filter(|i| i.scope.holds_for(&place)).map(|i| i.scope.clone()).collect();
        let first = EffectiveSettings::of(place.clone(), items.clone());
        if !items.is_empty() {
            let turn = turn % items.len();
            items.rotate_left(turn);
        }
        prop_assert_eq!(&first, &EffectiveSettings::of(place.clone(), items));
        match first.get("k") {
            None => prop_assert!(holding.is_empty()),
            Some(one) => {
                prop_assert!(place.looked_at().contains(&one.scope));
                prop_assert_eq!(one.shadows.len() + 1, holding.len());
                for other in holding.iter().filter(|other| **other != one.scope) {
                    prop_assert!(one.scope.narrowness() > other.narrowness());
                }
            }
        }
    }

    #[test]
    fn what_is_escaped_is_the_text_again(
        parts in prop::collection::vec(
            prop::sample::select(vec!["$", "{", "${config.", "${secret.", "a", "}", "$$", ".k"]),
            0..12,
        ),
    ) {
        let text = parts.concat();
        let pieces = parse(&escape(&text)).unwrap();
        prop_assert_eq!(pieces, vec![Piece::Text(text.clone())]);
        let filled = fill(&variables(json!(escape(&text))), |_| Err("none".to_owned())).unwrap();
        prop_assert_eq!(&filled["v"], &json!(text));
        // What holds nothing of ours is not touched.
        if are_plain(&variables(json!(text))) {
            prop_assert_eq!(escape(&text), text);
        }
    }

    #[test]
    fn pieces_that_are_written_are_read_again(
        pieces in prop::collection::vec((".{0,8}", "[a-z][a-z0-9_.-]{0,4}[a-z]", any::<bool>()), 1..6),
    ) {
        let mut text = String::new();
        let mut wanted = Vec::new();
        for (before, key, secret) in pieces {
            prop_assume!(is_key(&key) && !before.ends_with('$'));
            text.push_str(&escape(&before));
            let reference = Reference { secret, key };
            text.push_str(&reference.to_string());
            if !before.is_empty() {
                wanted.push(Piece::Text(before));
            }
            wanted.push(Piece::Reference(reference));
        }
        prop_assert_eq!(parse(&text).unwrap(), wanted);
    }

    #[test]
    fn nothing_makes_the_parser_panic(text in "[$a-z{}.]{0,40}") {
        let _ = parse(&text);
        let _ = uses_secret(&json!(text));
    }
}
