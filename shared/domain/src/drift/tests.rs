//! What is found becomes groups, and moments become spread.

use proptest::prelude::*;
use serde_json::json;

use super::compare::{differences, means_the_same};
use super::schedule::{first_wait_ms, next_wait_ms, soon_ms};
use super::*;

fn found(address: &str, action: Action, before: Value, after: Value) -> FoundResource {
    let differences = differences(&before, &after);
    FoundResource {
        change: ResourceChange {
            address: address.to_owned(),
            kind: "aws_s3_bucket".to_owned(),
            name: "x".to_owned(),
            provider: "registry.terraform.io/hashicorp/aws".to_owned(),
            action,
            reason: None,
            before,
            after,
            unknown: vec![],
            sensitive: vec![],
            replace_paths: vec![],
            previous_address: None,
            deposed: None,
            importing_id: None,
        },
        differences,
        configured: None,
    }
}

fn setting(names: &[&str], mut resource: FoundResource) -> FoundResource {
    resource.configured = Some(names.iter().map(|name| (*name).to_owned()).collect());
    resource
}

fn report(resources: Vec<FoundResource>, outputs: Vec<OutputChange>) -> DriftReport {
    let found = DriftFound {
        tool: Tool { name: "terraform".to_owned(), version: "1.11.4".to_owned() },
        resources,
        outputs,
        warnings: vec![],
        state: StateMark { lineage: "l".to_owned(), serial: 3 },
        caveats: vec![],
    };
    DriftReport::of(found, DateTime::UNIX_EPOCH)
}

fn causes(report: &DriftReport) -> Vec<(DriftCause, usize)> {
    report.groups.iter().map(|group| (group.cause, group.count)).collect()
}

fn output(name: &str, before: Value, after: Value) -> OutputChange {
    let (action, unknown, sensitive) = (Action::Update, false, false);
    OutputChange { name: name.to_owned(), action, before, after, unknown, sensitive }
}

#[test]
fn what_was_found_is_grouped_by_cause() {
    use Action::{Delete, Update};
    let report = report(
        vec![
            found("a.gone", Delete, json!({"id": "1"}), Value::Null),
            setting(
                &["acl"],
                found(
                    "a.changed",
                    Update,
                    json!({"acl": "private", "tags": {"a": "1"}}),
                    json!({"acl": "public-read", "tags": {"a": "1"}}),
                ),
            ),
            setting(&["acl"], found("a.etag", Update, json!({"etag": "1"}), json!({"etag": "2"}))),
            found("a.null", Update, json!({"tags": null}), json!({"tags": {}})),
            found("a.moved", Action::Move, json!({"id": 1}), json!({"id": 1})),
        ],
        vec![output("url", json!("a"), json!("b"))],
    );
    let expected = [
        (DriftCause::DeletedOutside, 1),
        (DriftCause::ChangedOutside, 1),
        (DriftCause::Computed, 1),
        (DriftCause::Outputs, 1),
        (DriftCause::Normalised, 1),
    ];
    assert_eq!(causes(&report), expected);
    assert!(report.drifted);
    assert!(report.summary.starts_with("1 resource deleted outside; 1 resource changed outside"));
    let changed = &report.groups[1].resources[0];
    let acl = DriftedAttribute {
        path: "/acl".to_owned(),
        before: json!("private"),
        after: json!("public-read"),
    };
    assert_eq!(changed.attributes, [acl]);
    assert!(report.groups[0].resources[0].attributes.is_empty());
}

#[test]
fn what_is_only_written_otherwise_is_no_drift() {
    let same = found("a.b", Action::Update, json!({"n": "1", "t": null}), json!({"n": 1, "t": []}));
    let same = report(vec![same], vec![]);
    assert_eq!(causes(&same), [(DriftCause::Normalised, 1)]);
    assert!(!same.drifted);
    assert_eq!(same.fingerprint(), report(vec![], vec![]).fingerprint());
    assert_eq!(report(vec![], vec![]).summary, "everything is as the state says");
}

#[test]
fn what_was_added_where_nobody_set_anything_is_a_change() {
    // The configuration sets no tags, and neither did the provider: a deployment would remove them.
    let added =
        found("a.b", Action::Update, json!({"tags": null}), json!({"tags": {"by": "hand"}}));
    let added = report(vec![setting(&["acl"], added)], vec![]);
    assert_eq!(causes(&added), [(DriftCause::ChangedOutside, 1)]);
    // Nor is anything taken for the provider's where the configuration is not known.
    let unknown = found("a.b", Action::Update, json!({"etag": "1"}), json!({"etag": "2"}));
    assert_eq!(causes(&report(vec![unknown], vec![])), [(DriftCause::ChangedOutside, 1)]);
}

#[test]
fn outputs_alone_are_a_drift() {
    let report = report(vec![], vec![output("url", json!("a"), json!("b"))]);
    assert!(report.drifted);
    assert_eq!(report.summary, "1 output with another value");
}

#[test]
fn what_is_sensitive_is_told_without_its_value_and_without_what_is_inside() {
    let (before, after) = (json!({"secret": {"k1": "a"}}), json!({"secret": {"k2": "b"}}));
    let mut resource = found("a.b", Action::Update, before, after);
    assert_eq!(resource.differences.len(), 2);
    resource.change.before = json!({"secret": MASK});
    resource.change.after = json!({"secret": MASK});
    resource.change.sensitive = vec!["/secret".to_owned()];
    let report = report(vec![resource], vec![]);
    let shown = &report.groups[0].resources[0].attributes;
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!((shown[0].path.as_str(), &shown[0].after), ("/secret", &json!(MASK)));
}

#[test]
fn reports_are_bounded() {
    let big = "x".repeat(100_000);
    let many: Map = (0..200).map(|i| (format!("a{i:03}"), json!(1))).collect();
    let more: Map = (0..200).map(|i| (format!("a{i:03}"), json!(2))).collect();
    let mut resources =
        vec![found("a.large", Action::Update, json!({"v": "y"}), json!({ "v": big }))];
    resources.push(found("a.wide", Action::Update, Value::from(many), Value::from(more)));
    resources.extend(
        (0..1000)
            .map(|i| found(&format!("a.b[{i}]"), Action::Delete, json!({"id": i}), Value::Null)),
    );
    let report = report(resources, vec![]);
    let listed: usize = report.groups.iter().map(|group| group.resources.len()).sum();
    assert_eq!(listed, MAX_RESOURCES);
    assert_eq!(causes(&report)[0], (DriftCause::DeletedOutside, 1000));
    assert!(serde_json::to_string(&report).unwrap().len() < 200_000);
}

type Map = serde_json::Map<String, Value>;

#[test]
fn a_wide_resource_says_how_much_is_left_off() {
    let many: Map = (0..200).map(|i| (format!("a{i:03}"), json!(1))).collect();
    let more: Map = (0..200).map(|i| (format!("a{i:03}"), json!(2))).collect();
    let wide = found("a.wide", Action::Update, Value::from(many), Value::from(more));
    let report = report(vec![wide], vec![]);
    let shown = &report.groups[0].resources[0];
    assert_eq!((shown.attributes.len(), shown.attributes_left_off), (50, 150));
}

#[test]
fn drift_is_told_once_when_it_begins_changes_and_ends() {
    assert_eq!(DriftTurn::of(None, None), None);
    assert_eq!(DriftTurn::of(None, Some("a")), Some(DriftTurn::Began));
    assert_eq!(DriftTurn::of(Some("a"), Some("a")), None);
    assert_eq!(DriftTurn::of(Some("a"), Some("b")), Some(DriftTurn::Changed));
    assert_eq!(DriftTurn::of(Some("b"), None), Some(DriftTurn::Ended));
}

#[test]
fn another_drift_has_another_fingerprint_and_restless_values_do_not_count() {
    let etag = |value: &str| {
        let one = found("a.b", Action::Update, json!({"etag": "0"}), json!({ "etag": value }));
        report(vec![setting(&["acl"], one)], vec![]).fingerprint()
    };
    assert_eq!(etag("1"), etag("2"));
    let acl = |value: &str| {
        let one = found("a.b", Action::Update, json!({"acl": "0"}), json!({ "acl": value }));
        report(vec![setting(&["acl"], one)], vec![]).fingerprint()
    };
    assert_ne!(acl("1"), acl("2"));
    let gone =
        |address| report(vec![found(address, Action::Delete, json!({}), Value::Null)], vec![]);
    assert_ne!(gone("a.b").fingerprint(), gone("a.c").fingerprint());
}

#[test]
fn the_same_meaning_in_two_ways() {
    for (before, after) in [
        (json!(null), json!("")),
        (json!([]), json!(null)),
        (json!(0), json!(null)),
        (json!(false), json!(null)),
        (json!("80"), json!(80)),
        (json!(true), json!("true")),
        (json!("{\"a\": [1]}"), json!("{ \"a\":[1] }\n")),
        (json!("line\r\n"), json!("line\n")),
    ] {
        assert!(means_the_same(&before, &after), "{before} {after}");
    }
    for (before, after) in [
        (json!("a"), json!("A")),
        (json!(null), json!("a")),
        (json!("81"), json!(80)),
        (json!(["a", "b"]), json!(["b", "a"])),
        (json!("{\"a\": 1}"), json!("{\"a\": 2}")),
        (json!(true), json!(null)),
        (json!("a  b"), json!("a b")),
    ] {
        assert!(!means_the_same(&before, &after), "{before} {after}");
    }
}

#[test]
fn a_thousand_stacks_that_are_found_together_are_not_checked_together() {
    // Chances as they come: a walk by a large odd number hits everything evenly.
    let chance = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let hour = 3_600_000;
    let mut per_hour = [0_u32; 24];
    for i in 0..1000 {
        let wait = first_wait_ms(86_400, chance(i));
        per_hour[usize::try_from(wait / hour).unwrap().min(23)] += 1;
    }
    assert!(per_hour.iter().all(|n| (20..=70).contains(n)), "{per_hour:?}");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..3_i64).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c/~]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Without the keys that say nothing.
fn bare(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(bare).collect(),
        Value::Object(fields) => {
            let said = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(said.map(|(key, value)| (key.clone(), bare(value))).collect())
        }
        other => other.clone(),
    }
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-e]", value(), 0..5)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

proptest! {
    #[test]
    fn waits_are_within_their_bounds(interval in 300..=2_592_000_u32, jitter in 0..=100_u8, chance: u64) {
        let most = i64::from(interval) * 1000;
        prop_assert!((0..=most).contains(&first_wait_ms(interval, chance)));
        let next = next_wait_ms(interval, jitter, chance);
        prop_assert!(next <= most && next >= most - most * i64::from(jitter) / 100);
        let soon = soon_ms(interval, chance);
        prop_assert!(soon <= most && (100_000..=900_000).contains(&soon));
    }

    #[test]
    fn every_difference_is_found_where_it_is(before in object(), after in object()) {
        let found = differences(&before, &after);
        prop_assert_eq!(before == after, found.is_empty() && before == after);
        for difference in &found {
            let of = |value: &Value| value.pointer(&difference.path).cloned().unwrap_or_default();
            let (b, a) = (of(&before), of(&after));
            prop_assert_ne!(&b, &a, "{}", difference.path);
            prop_assert_eq!(difference.same_meaning, means_the_same(&b, &a));
        }
        for key in before.as_object().unwrap().keys().chain(after.as_object().unwrap().keys()) {
            let of = |value: &Value| value.get(key).cloned().unwrap_or_default();
            let (b, a) = (of(&before), of(&after));
            let told = found.iter().any(|difference| difference.attribute() == key);
            prop_assert!(told || bare(&b) == bare(&a), "{}", key);
        }
    }
}
