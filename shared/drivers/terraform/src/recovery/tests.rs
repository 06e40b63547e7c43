//! Journals against states, with every way in which they can disagree.

use serde_json::{Value, json};

use super::*;
use crate::journal::Entry;

fn entry(address: &str, action: Action, phase: Phase, id: Option<&str>) -> Entry {
    Entry {
        address: address.to_owned(),
        action,
        phase,
        id_key: id.map(|_| "id".to_owned()),
        id_value: id.map(str::to_owned),
    }
}

fn began(address: &str, action: Action) -> Entry {
    entry(address, action, Phase::Started, None)
}

fn ended(address: &str, action: Action, id: Option<&str>) -> Vec<Entry> {
    vec![began(address, action), entry(address, action, Phase::Completed, id)]
}

fn change(address: &str, words: &[&str], before: &Value) -> Value {
    json!({"address": address, "mode": "managed", "type": "t", "name": "n",
        "change": {"actions": words, "before": before, "after": {}}})
}

fn plan(changes: &[Value]) -> Document {
    let plan = json!({"format_version": "1.2", "resource_changes": changes});
    Document::read(plan.to_string().as_bytes()).unwrap()
}

/// A state with these: module, type.name, key, id, what is special about it.
fn state(objects: &[(&str, &str, Value, &str, &str)]) -> String {
    let resources: Vec<Value> = objects
        .iter()
        .map(|(module, resource, key, id, special)| {
            let (kind, name) = resource.split_once('.').unwrap();
            let mut instance = json!({"attributes": {"id": id}});
            if !key.is_null() {
                instance["index_key"] = key.clone();
            }
            match *special {
                "tainted" => instance["status"] = json!("tainted"),
                "deposed" => instance["deposed"] = json!("d0"),
                _ => {}
            }
            let mut resource =
                json!({"mode": "managed", "type": kind, "name": name, "instances": [instance]});
            if !module.is_empty() {
                resource["module"] = json!(module);
            }
            resource
        })
        .collect();
    json!({"version": 4, "lineage": "l", "serial": 3, "resources": resources}).to_string()
}

fn recover(entries: Vec<Entry>, state: &str, approved: &[Value]) -> Recovery {
    let state = (!state.is_empty()).then_some(state.as_bytes());
    Recovery::of(&Journal::new(entries), state, &plan(approved)).unwrap()
}

fn none() -> Value {
    Value::Null
}

#[test]
fn what_was_made_and_is_recorded_is_done() {
    let entries = [
        ended("t.a", Action::Create, Some("i-a")),
        ended("module.m[\"k.x\"].t.b[0]", Action::Create, Some("i-b")),
        ended("t.c[\"${x}\"]", Action::Create, Some("i-c")),
        ended("t.u", Action::Update, Some("i-u")),
        ended("t.d", Action::Delete, None),
    ]
    .concat();
    let state = state(&[
        ("", "t.a", none(), "i-a", ""),
        ("module.m[\"k.x\"]", "t.b", json!(0), "i-b", ""),
        ("", "t.c", json!("${x}"), "i-c", ""),
        ("", "t.u", none(), "i-u", ""),
    ]);
    // The tool writes the key as `$${x}`.
    let entries: Vec<_> = entries
        .into_iter()
        .map(|mut e| {
            e.address = e.address.replace("\"${x}", "\"$${x}");
            e
        })
        .collect();
    let approved = [change("t.new", &["create"], &none()), change("t.f", &["forget"], &json!({}))];
    let recovery = recover(entries, &state, &approved);
    assert_eq!(recovery.done.len(), 5, "{recovery:?}");
    assert_eq!(recovery.untouched, ["t.new"]);
    assert!(recovery.is_clear() && recovery.import_file().is_none());
    assert_eq!(
        recovery.sentence(),
        "The apply was cut off: 5 changes are done, 1 change is not begun. Nothing is lost and \
         nothing is in doubt."
    );
}

#[test]
fn what_was_made_and_is_not_recorded_is_imported() {
    let key = "a\"b ${file(\"x\")} \\ \n";
    let address =
        Address { key: Some(InstanceKey::Name(key.into())), ..Address::parse("t.c").unwrap() };
    let entries = [
        ended("t.a", Action::Create, Some("i-\"a\"\n${x}")),
        ended("module.m[\"k\"].module.n[3].t.b", Action::Create, Some("i-b")),
        ended(&address.to_string(), Action::Create, Some("i-c")),
    ]
    .concat();
    let recovery = recover(entries, "", &[]);
    assert_eq!(recovery.lost.len(), 3);
    assert!(!recovery.is_clear());
    let file = recovery.import_file().unwrap();
    assert!(
        file.contains("import {\n  to = module.m[\"k\"].module.n[3].t.b\n  id = \"i-b\"\n}\n"),
        "{file}"
    );
    assert!(file.contains(r#"id = "i-\"a\"\n$${x}""#), "{file}");
    // HCL reads exactly these blocks, with literals only.
    let body: hcl_edit::structure::Body = file.parse().unwrap();
    let ids: Vec<_> = body
        .blocks()
        .map(|block| {
            assert_eq!(block.ident.as_str(), "import");
            block.body.get_attribute("id").unwrap().value.as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids, ["i-b", "i-\"a\"\n${x}", "i-c"]);
    let said = recovery.sentence();
    assert!(said.contains("Made, and missing in the state: module.m"), "{said}");
    assert!(recovery.to_text().contains("t.b (id i-b): can be imported"), "{}", recovery.to_text());
}

#[test]
fn what_cannot_be_imported_says_why() {
    let mut keyed = ended("t.key", Action::Create, Some("name"));
    keyed[1].id_key = Some("name".into());
    let entries = [
        ended("t.noid", Action::Create, None),
        keyed,
        ended("random_password.p", Action::Create, Some("none")),
        ended("t.taken", Action::Create, Some("new")),
        ended("not an address", Action::Create, Some("x")),
    ]
    .concat();
    let state = state(&[("", "t.taken", none(), "old", "")]);
    let recovery = recover(
        entries,
        &state,
        &[change("t.taken", &["create", "delete"], &json!({"id": "old"}))],
    );
    let of: Vec<_> = recovery.lost.iter().map(|l| (l.address.as_str(), l.obstacle)).collect();
    assert_eq!(
        of,
        [
            ("not an address", Some(Obstacle::BadAddress)),
            ("random_password.p", Some(Obstacle::NotById)),
            ("t.key", Some(Obstacle::NotById)),
            ("t.noid", Some(Obstacle::NoId)),
            ("t.taken", Some(Obstacle::PlaceTaken)),
        ]
    );
    assert!(recovery.imports().is_empty() && recovery.import_file().is_none());
    for obstacle in of.iter().filter_map(|(_, obstacle)| *obstacle) {
        assert!(recovery.to_text().contains(obstacle.words()), "{}", recovery.to_text());
    }
}

#[test]
fn what_was_begun_and_did_not_end_is_in_doubt() {
    let entries = vec![
        began("t.made", Action::Create),
        began("t.changed", Action::Update),
        began("t.gone", Action::Delete),
    ];
    let state = state(&[("", "t.changed", none(), "i-c", ""), ("", "t.gone", none(), "i-g", "")]);
    let recovery = recover(entries, &state, &[]);
    let of: Vec<_> = recovery
        .in_doubt
        .iter()
        .map(|d| (d.address.as_str(), d.words(), d.id.as_deref()))
        .collect();
    assert_eq!(
        of,
        [
            ("t.changed", "may be changed, in part or whole", Some("i-c")),
            ("t.gone", "may be gone", Some("i-g")),
            ("t.made", "may exist", None),
        ]
    );
    let said = recovery.sentence();
    for (address, words, _) in of {
        assert!(said.contains(address) && said.contains(words), "{said}");
    }
}

#[test]
fn a_state_that_is_ahead_of_the_journal_settles_a_doubt() {
    let entries = || vec![began("t.a", Action::Create)];
    let with = |special| state(&[("", "t.a", none(), "i", special)]);
    let create = [change("t.a", &["create"], &none())];
    assert_eq!(recover(entries(), &with(""), &create).done, ["t.a"]);
    assert_eq!(recover(entries(), &with("tainted"), &create).tainted, ["t.a"]);
    assert_eq!(recover(entries(), &with("deposed"), &create).in_doubt.len(), 1);
    // Of a replacement, what is there may be the old one still.
    for words in [["delete", "create"], ["create", "delete"]] {
        let replace = |id: &Value| [change("t.a", &words, &json!({"id": id}))];
        assert_eq!(recover(entries(), &with(""), &replace(&json!("i"))).in_doubt.len(), 1);
        assert_eq!(recover(entries(), &with(""), &replace(&none())).in_doubt.len(), 1);
        assert_eq!(recover(entries(), &with(""), &replace(&json!("old"))).done, ["t.a"]);
    }
}

#[test]
fn failures_are_on_record_only_after_an_orderly_end() {
    let entries = vec![
        began("t.a", Action::Create),
        entry("t.a", Action::Create, Phase::Failed, None),
        began("t.u", Action::Update),
        entry("t.u", Action::Update, Phase::Failed, None),
    ];
    let approved = plan(&[]);
    let orderly = Journal::new(entries.clone()).ended_orderly();
    let recovery = Recovery::of(&orderly, None, &approved).unwrap();
    assert_eq!(recovery.failed, ["t.a", "t.u"]);
    let killed = Recovery::of(&Journal::new(entries), None, &approved).unwrap();
    assert_eq!(killed.in_doubt[0].address, "t.a");
    assert_eq!(killed.failed, ["t.u"]);
}

#[test]
fn a_half_done_replacement_is_told_by_its_halves() {
    let mut entries = ended("t.r", Action::Delete, None);
    let replace = [change("t.r", &["delete", "create"], &json!({"id": "old"}))];
    // The create was not begun: nothing is lost, and the new plan makes it.
    assert!(recover(entries.clone(), "", &replace).is_clear());
    entries.push(began("t.r", Action::Create));
    assert_eq!(recover(entries, "", &replace).in_doubt[0].words(), "may exist");
}

#[test]
fn states_that_cannot_be_read_are_errors() {
    let of = |state: &str| Recovery::of(&Journal::default(), Some(state.as_bytes()), &plan(&[]));
    for bad in [
        "",
        "{",
        "{}",
        "{\"version\": 3}",
        r#"{"version":4,"resources":[{"mode":"managed","type":"t","name":"n","module":"x","instances":[{}]}]}"#,
        r#"{"version":4,"resources":[{"mode":"managed","type":"t","name":"n","instances":[{"index_key":1.5}]}]}"#,
    ] {
        assert_eq!(of(bad), Err(UnreadableState::Malformed), "{bad}");
    }
    assert_eq!(of(r#"{"version":4,"encrypted_data":"x"}"#), Err(UnreadableState::Encrypted));
    assert!(of(r#"{"version":4}"#).is_ok());
    // Data sources are nobody's loss.
    let data = r#"{"version":4,"resources":[{"mode":"data","type":"t","name":"n","instances":[{"index_key":1.5}]}]}"#;
    assert!(of(data).is_ok());
}
