use serde_json::json;

use super::*;

fn merged(after: Value, marks: Value) -> Value {
    let arena = Arena::default();
    let read = |value: Value| Reader::new(&arena).read(value).expect("a value");
    merge(read(after), read(marks), &arena).to_json()
}

#[test]
fn unknown_stands_where_it_is_unknown_and_nowhere_else() {
    let after = json!({"a": 1, "list": [{"x": 1}], "none": null});
    let unknown = json!({"b": true, "list": [{"y": true}, true], "none": {"c": false},
        "tags": {}, "deep": {"d": {"e": true}}});
    assert_eq!(
        merged(after, unknown),
        json!({"a": 1, "b": UNKNOWN, "list": [{"x": 1, "y": UNKNOWN}, UNKNOWN], "none": null,
            "deep": {"d": {"e": UNKNOWN}}})
    );
    assert_eq!(merged(json!(null), json!([])), json!(null));
    assert_eq!(merged(json!(null), json!([false, true])), json!([null, UNKNOWN]));
    assert_eq!(merged(json!(7), json!({"a": true})), json!(7));
    assert_eq!(merged(json!([1, 2]), json!([true])), json!([UNKNOWN, 2]));
}

#[test]
fn pointers_mark_what_is_not_there_yet() {
    let mut after = json!({"list": [1]});
    for pointer in ["/a/b~1c", "/list/1", "/list/7"] {
        mark(&mut after, pointer);
    }
    assert_eq!(after, json!({"list": [1, UNKNOWN], "a": {"b/c": UNKNOWN}}));
}

/// What is made of the changes of a document.
fn changes<T>(raw: &str, made: impl FnOnce(&[Change<'_>]) -> T) -> Result<T, String> {
    let arena = Arena::default();
    let (changes, _) = read(raw.as_bytes(), &Reader::new(&arena))?;
    Ok(made(&changes))
}

#[test]
fn a_document_without_changes_is_read_from_what_is_planned() {
    let raw = json!({"format_version": "1.2",
        "planned_values": {"root_module": {
            "resources": [{"address": "aws_x.a", "type": "aws_x", "name": "a",
                "values": {"size": 1, "none": null}}],
            "child_modules": [{"address": "module.m", "resources": [
                {"address": "module.m.aws_x.b[0]", "type": "aws_x", "name": "b", "index": 0,
                 "values": {}}]}]}},
        "configuration": {"root_module": {"resources": [{"address": "aws_x.a", "expressions": {
            "size": {"references": ["var.size"]}, "none": {"references": ["var.none"]},
            "key": {"references": ["aws_k.k.arn"]}, "name": {"constant_value": "n"}}}]}}});
    let seen = changes(&raw.to_string(), |changes| {
        assert_eq!(changes[0].unknown.to_json(), json!({"key": true}));
        assert_eq!((changes[1].module, changes[1].action()), ("module.m", "create"));
    });
    seen.expect("a plan");
}

#[test]
fn a_document_that_is_no_plan_is_an_error() {
    for raw in [
        json!({}),
        json!([]),
        json!({"resource_changes": {}}),
        json!({"resource_changes": 3, "format_version": "1.2"}),
        json!("plan"),
    ] {
        let why = changes(&raw.to_string(), |_| ()).expect_err("no plan");
        assert!(why.contains("not a document of `terraform show -json`"), "{raw}: {why}");
    }
    for broken in ["", "{", "{} {}", "nonsense"] {
        let why = changes(broken, |_| ()).expect_err("no JSON");
        assert!(why.contains("not JSON"), "{broken}: {why}");
    }
    let lacking = json!({"resource_changes": [{"address": "a.b"}]});
    let why = changes(&lacking.to_string(), |_| ()).expect_err("no change");
    assert!(why.contains("lacks"), "{why}");
    let empty = json!({"format_version": "1.2"}).to_string();
    assert!(changes(&empty, |changes| changes.is_empty()).expect("an empty plan"));
}
