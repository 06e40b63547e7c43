//! What Rust says and what the text says are the same, for whatever is asked.

use std::fmt::Write as _;

use proptest::prelude::*;
use regorus::Value;
use serde_json::{Value as Json, json};

use super::ALL;
use crate::facts::UNKNOWN;
use crate::pack::Pack;
use crate::values::{Arena, Val};

/// Texts that mean something to one of the functions, and some that do not.
fn texts() -> impl Strategy<Value = Json> {
    let known = prop::sample::select(vec![
        UNKNOWN,
        "fail",
        "unknown",
        "pass",
        "true",
        "ON",
        "1",
        "enabled",
        "",
        " ",
        "*",
        "ANY ",
        "0.0.0.0/0",
        "10.0.0.0/8",
        "::/0",
        "2000::/3",
        "2001:db8::/4",
        "128.0.0.0/1",
        "a/b/0",
        "/",
        "/ 0",
        "x/0.5",
        "x/1e0",
        "x/-1",
        "0::0",
        "values",
        "links",
        "address",
        "key",
    ]);
    prop_oneof![8 => known.prop_map(Json::from), 1 => "[ -~]{0,8}".prop_map(Json::from)]
}

fn values() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        6 => texts(),
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::from),
        1 => (-2_i64..5).prop_map(Json::from),
        1 => Just(json!(0.5)),
    ];
    let key = prop::sample::select(vec!["values", "links", "address", "key", "a"]);
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(key.clone(), inner, 0..4).prop_map(|fields| Json::Object(
                fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            )),
        ]
    })
}

/// A name of an attribute, or a path.
fn names() -> impl Strategy<Value = Json> {
    let name =
        || prop::sample::select(vec![json!("key"), json!("a"), json!("links"), json!(0), json!(1)]);
    prop_oneof![name(), prop::collection::vec(name(), 0..8).prop_map(Json::from)]
}

/// The interpreter with the text, and a rule `called` for each function.
fn by_text() -> regorus::Engine {
    let mut engine = regorus::Engine::new();
    engine.set_strict_builtin_errors(false);
    for module in Pack::library() {
        engine.add_policy(module.path, module.text).expect("it parses");
    }
    let mut text = "package t\nimport rego.v1\nimport data.slipway.lib\n".to_owned();
    for (name, arguments, _) in ALL {
        let list: Vec<String> = (0..arguments).map(|n| format!("input[{n}]")).collect();
        let list = list.join(", ");
        let _ = writeln!(text, "{name}_said contains it if {{\n\tit := lib.{name}({list})\n}}");
    }
    engine.add_policy("t.rego".to_owned(), text).expect("it parses");
    engine
}

fn check(engine: &mut regorus::Engine, arguments: &[Json]) -> Result<(), TestCaseError> {
    let given: Vec<Value> = arguments.iter().cloned().map(Value::from).collect();
    engine.set_input(Value::from(given.clone()));
    for (name, count, primitive) in ALL {
        let text = engine.eval_rule(format!("data.t.{name}_said")).ok();
        let text: Option<Vec<Value>> = text.map(|set| match set {
            Value::Undefined => Vec::new(),
            set => set.as_set().expect("a set").iter().cloned().collect(),
        });
        let arena = Arena::default();
        let given: Vec<Val<'_>> =
            given.iter().take(usize::from(count)).filter_map(|one| arena.take(one)).collect();
        let rust = primitive(&given, &arena).ok();
        let rust = rust.map(|said| said.map(Val::to_value).into_iter().collect::<Vec<_>>());
        prop_assert_eq!(text, rust, "{} of {:?}", name, arguments);
    }
    Ok(())
}

#[test]
fn rust_and_text_say_the_same() {
    let mut engine = by_text();
    let mut runner = proptest::test_runner::TestRunner::default();
    let four = prop_oneof![
        3 => (values(), names(), values(), texts()),
        1 => (values(), values(), values(), values()),
        2 => (texts(), values(), texts(), texts()),
    ];
    let engine = std::cell::RefCell::new(&mut engine);
    runner
        .run(&four, |(a, b, c, d)| check(&mut engine.borrow_mut(), &[a, b, c, d]))
        .expect("they say the same");
}

#[test]
fn what_rules_ask_most_is_the_same() {
    let mut engine = by_text();
    let resource = json!({"address": "a.b", "links": {"key": ["c.d"]}, "values": {"key": UNKNOWN, "a": {"b": 1}, "list": [{"x": null}, UNKNOWN]}});
    for arguments in [
        [resource.clone(), json!("key"), json!(UNKNOWN), json!("m")],
        [resource["values"].clone(), json!("list"), json!("fail"), json!("m")],
        [resource["values"].clone(), json!(["a", "b"]), json!("unknown"), json!("m")],
        [resource["values"].clone(), json!(["list", 1, "x", "y"]), json!(null), json!("m")],
        [json!("rule"), resource.clone(), json!("fail"), json!("m")],
        [json!("rule"), resource, json!("unknown"), json!("m")],
        [json!("rule"), json!({}), json!("fail"), json!("m")],
        [json!(["0.0.0.0/0", UNKNOWN]), json!([]), json!(null), json!(null)],
        [json!([UNKNOWN, "10.0.0.0/8"]), json!([UNKNOWN]), json!(null), json!(null)],
    ] {
        check(&mut engine, &arguments).expect("they say the same");
    }
}
