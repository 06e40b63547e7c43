//! Tests on plans that real Terraform 1.11.4 made (`fixtures/`, cut down to what is read).

use serde_json::json;
use slipway_domain::plan::Counts;

use super::*;

fn fixture(name: &str) -> Shown {
    let path = format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    read(&std::fs::read(path).unwrap(), &Redactor::default()).unwrap()
}

fn change<'a>(shown: &'a Shown, address: &str) -> &'a ResourceChange {
    shown.changes.iter().find(|c| c.address == address).unwrap()
}

#[test]
fn a_first_plan_creates_and_says_what_is_not_known_yet() {
    let shown = fixture("create");
    assert_eq!(Counts::of(&shown.changes).create, 4);
    let a = change(&shown, "terraform_data.a[0]");
    assert_eq!((a.kind.as_str(), a.name.as_str()), ("terraform_data", "a"));
    assert_eq!(a.provider, "terraform.io/builtin/terraform");
    assert_eq!(a.before, Value::Null);
    assert_eq!(a.after["input"], json!({"s": "***", "v": "one"}));
    assert_eq!(a.unknown, ["/id", "/output"]);
    assert_eq!(a.sensitive, ["/input/s"]);
    assert_eq!(shown.sensitive_variables, ["secret".to_owned()].into());
    let secret = shown.outputs.iter().find(|o| o.name == "s").unwrap();
    assert!(secret.sensitive && secret.unknown);
    assert_eq!((&secret.before, &secret.after), (&Value::Null, &Value::Null));
}

#[test]
fn updates_and_both_kinds_of_replacement_are_told_apart() {
    let shown = fixture("update");
    assert_eq!(change(&shown, "terraform_data.a[1]").action, Action::Update);
    let r = change(&shown, "terraform_data.r");
    assert_eq!(r.action, Action::DeleteThenCreate);
    assert_eq!(r.replace_paths, ["/triggers_replace"]);
    assert_eq!(r.reason.as_deref(), Some("replace_because_cannot_update"));
    assert_eq!(change(&shown, "terraform_data.cbd").action, Action::CreateThenDelete);
    let secret = shown.outputs.iter().find(|o| o.name == "s").unwrap();
    assert_eq!((secret.action, &secret.before), (Action::Update, &json!("***")));
}

#[test]
fn nothing_to_do_is_nothing_and_outputs_are_there() {
    let shown = fixture("no-op");
    assert_eq!((shown.changes.len(), shown.outputs.len(), shown.drift.len()), (0, 0, 0));
    let o = shown.planned_outputs.iter().find(|o| o.name == "o").unwrap();
    assert_eq!((&o.value, &o.kind, o.sensitive), (&json!("two"), &json!("string"), false));
}

#[test]
fn moved_forgotten_and_imported_objects_are_known_as_such() {
    let shown = fixture("moved");
    let b = change(&shown, "terraform_data.b[0]");
    assert_eq!(b.action, Action::Update);
    assert_eq!(b.previous_address.as_deref(), Some("terraform_data.a[0]"));
    // It is no longer marked as sensitive, and has the same value as before.
    assert_eq!(b.after["input"]["s"], json!("***"));
    let imported = change(&shown, "terraform_data.imp");
    assert_eq!((imported.action, imported.importing_id.as_deref()), (Action::Import, Some("abc")));
    assert_eq!(change(&shown, "terraform_data.r").action, Action::Forget);
    let only = fixture("moved-only");
    assert_eq!(Counts::of(&only.changes).moved, 2);
}

#[test]
fn destroy_taint_read_and_drift_are_read() {
    assert_eq!(Counts::of(&fixture("destroy").changes).delete, 4);
    let tainted = fixture("tainted");
    let reasons: Vec<_> = tainted.changes.iter().filter_map(|c| c.reason.as_deref()).collect();
    assert_eq!(reasons, ["replace_because_tainted"; 2]);
    let read = fixture("read");
    assert_eq!(change(&read, "data.local_file.d").action, Action::Read);
    assert_eq!(change(&read, "local_file.f").after["sensitive_content"], json!("***"));
    let drift = fixture("drift");
    assert_eq!((drift.drift.len(), drift.drift[0].action), (1, Action::Delete));
    assert_eq!(drift.drift[0].before["sensitive_content"], json!("***"));
    let outputs = fixture("outputs");
    assert_eq!((outputs.changes.len(), outputs.outputs.len()), (0, 1));
}

#[test]
fn a_deposed_object_keeps_its_key() {
    let shown = fixture("deposed");
    let old = shown.changes.iter().find(|c| c.deposed.is_some()).unwrap();
    assert_eq!(old.action, Action::Delete);
}

#[test]
fn no_fixture_leaks_a_secret() {
    let dir = format!("{}/fixtures", env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let Ok(shown) = read(&std::fs::read(&path).unwrap(), &Redactor::default()) else {
            continue;
        };
        let text = serde_json::to_string(&(&shown.changes, &shown.outputs, &shown.drift)).unwrap();
        assert!(!text.contains("hunter22") && !text.contains("topsecret"), "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn known_secrets_go_even_where_terraform_shows_them() {
    let json = json!({"resource_changes": [{"address": "x.y", "change": {
        "actions": ["create"], "after": {"url": "https://u:hunter22@h", "n": [1]}}}]});
    let redactor = Redactor::new(["hunter22"]);
    let shown = read(json.to_string().as_bytes(), &redactor).unwrap();
    assert_eq!(shown.changes[0].after["url"], json!("https://u:***@h"));
}

#[test]
fn marks_of_every_shape_mask() {
    let cases = [
        (json!({"a": [1, 2]}), json!({"a": [false, true]}), json!({"a": [1, "***"]}), vec!["/a/1"]),
        (json!({"a": {"b": 1}}), json!(true), json!("***"), vec![""]),
        (json!({"a~/": 1}), json!({"a~/": true}), json!({"a~/": "***"}), vec!["/a~0~1"]),
        (json!("x"), json!({"a": true}), json!("***"), vec![""]),
        (json!({"a": null}), json!({"a": true}), json!({"a": null}), vec![]),
        (json!({"a": 1}), json!({}), json!({"a": 1}), vec![]),
    ];
    for (mut value, marks, expected, pointers) in cases {
        let mut masked = BTreeSet::new();
        mask(&mut value, &marks, "", &mut masked);
        assert_eq!(value, expected, "{marks}");
        assert_eq!(masked.into_iter().collect::<Vec<_>>(), pointers, "{marks}");
    }
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// A value and marks of any shapes, with every leaf of the value a secret.
    fn shapes() -> impl Strategy<Value = (Value, Value)> {
        let leaf = prop_oneof![Just(json!("SECRET")), Just(json!(["SECRET"])), Just(json!(null))];
        let value = leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        });
        let mark = any::<bool>().prop_map(Value::Bool).prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        });
        (value, mark)
    }

    /// Whether a secret is left at a place that is marked.
    fn leaks(value: &Value, marks: &Value) -> bool {
        match (value, marks) {
            (value, Value::Bool(true)) => value.to_string().contains("SECRET"),
            (Value::Object(v), Value::Object(m)) => {
                v.iter().any(|(k, v)| m.get(k).is_some_and(|m| leaks(v, m)))
            }
            (Value::Array(v), Value::Array(m)) => v.iter().zip(m).any(|(v, m)| leaks(v, m)),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn nothing_marked_is_left((mut value, marks) in shapes(), (_, more) in shapes()) {
            let both = union(&marks, &more);
            mask(&mut value, &both, "", &mut BTreeSet::new());
            prop_assert!(!leaks(&value, &marks), "{value} {marks}");
            prop_assert!(!leaks(&value, &more), "{value} {more}");
        }

        #[test]
        fn any_json_is_an_answer(text in "[\\[\\]{}\",:a-z0-9]{0,80}") {
            let _ = read(text.as_bytes(), &Redactor::default());
        }
    }
}

/// In the shape of a refresh-only plan of Terraform 1.11.4.
fn refreshed() -> DriftShown {
    let change = |before: Value, after: Value, marks: Value| {
        json!({"actions": ["update"], "before": before, "after": after, "after_unknown": {},
            "before_sensitive": marks, "after_sensitive": marks})
    };
    let resource = |address: &str, change: Value| {
        json!({"address": address, "mode": "managed", "type": "aws_s3_bucket", "name": "b",
            "provider_name": "registry.terraform.io/hashicorp/aws", "change": change})
    };
    let document = json!({
        "resource_drift": [
            resource("module.m[\"k\"].aws_s3_bucket.b[0]", change(
                json!({"acl": "private", "etag": "1", "tags": {"k": "v"}}),
                json!({"acl": "private", "etag": "2", "tags": {"k": "v"}}), json!({}))),
            resource("aws_s3_bucket.b", change(
                json!({"acl": "private", "token": "old-secret-1"}),
                json!({"acl": "public-read", "token": "new-secret-2"}), json!({"token": true}))),
        ],
        "resource_changes": [],
        "output_changes": {"url": {"actions": ["no-op"], "before": "a", "after": "a"}},
        "configuration": {"root_module": {
            "resources": [{"address": "aws_s3_bucket.b", "expressions": {"acl": {}, "token": {}}}],
            "module_calls": {"m": {"module": {"resources": [
                {"address": "aws_s3_bucket.b", "expressions": {"acl": {"references": []}}}]}}},
        }},
    });
    drift(document.to_string().as_bytes(), &Redactor::default()).unwrap()
}

#[test]
fn a_refresh_tells_where_resources_differ_and_what_the_configuration_sets() {
    let shown = refreshed();
    let [inner, outer] = shown.resources.as_slice() else { panic!("{shown:?}") };
    let paths = |found: &FoundResource| {
        found.differences.iter().map(|d| d.path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(paths(inner), ["/etag"]);
    assert_eq!(inner.configured, Some(["acl".to_owned()].into()));
    assert_eq!(paths(outer), ["/acl", "/token"], "also what is masked on both sides");
    assert_eq!(outer.change.after["token"], "***");
    assert!(!format!("{:?}", shown.resources).contains("secret-"), "{shown:?}");
    assert!(shown.outputs.is_empty());
}
