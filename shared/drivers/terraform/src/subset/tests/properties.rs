//! Properties of whole runs: wherever one is interrupted, its rest is inside; and whatever else is
//! changed in the new plan, it is not.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::Case;
use super::model::{Item, Kind, Stage, World};
use crate::subset::Rule;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1000i32..1000).prop_map(|n| json!(f64::from(n) / 8.0)),
        "[a-z~/\\\\\"é]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-c/~]{1,2}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn attributes(prefix: &'static str) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[a-d]", value(), 0..4)
        .prop_map(move |m| m.into_iter().map(|(k, v)| (format!("{prefix}{k}"), v)).collect())
}

fn item() -> impl Strategy<Value = Item> {
    let kinds = [
        Kind::Create,
        Kind::Update,
        Kind::Replace,
        Kind::Cbd,
        Kind::Delete,
        Kind::Forget,
        Kind::Import,
        Kind::Move,
        Kind::Still,
    ];
    let stages = [Stage::Todo, Stage::Half, Stage::Done];
    (
        prop::sample::select(kinds.to_vec()),
        prop::sample::select(stages.to_vec()),
        attributes("k"),
        attributes("k"),
        attributes("h"),
        any::<(bool, bool)>(),
    )
        .prop_map(|(kind, stage, before, known, holes, (filled, secret))| {
            let mut item = Item::new("", kind, stage);
            item.before = before;
            item.known = known;
            item.holes.extend(holes);
            item.before.insert("id".into(), json!("old"));
            if secret {
                item.before.insert("secret".into(), json!("old-secret-value"));
                item.known.insert("secret".into(), json!("hunter2-hunter2"));
            }
            item.filled = filled;
            item
        })
}

fn world() -> impl Strategy<Value = World> {
    prop::collection::vec(item(), 1..7).prop_map(|mut items| {
        for (i, item) in items.iter_mut().enumerate() {
            item.name = format!("r{i}");
            item.holes.insert("id".into(), json!(format!("new-r{i}")));
        }
        World::new(items)
    })
}

/// Pointers to every leaf and every container below `at`.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{i}"), found);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                places(item, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        _ => {}
    }
}

/// Places in the new plan whose value was known to whoever approved.
fn known_places(case: &Case) -> Vec<String> {
    let mut found = Vec::new();
    for (i, entry) in case.b["resource_changes"].as_array().unwrap().iter().enumerate() {
        let something = entry["change"]["actions"] != json!(["no-op"])
            || entry["change"].get("importing").is_some()
            || entry.get("previous_address").is_some();
        if something {
            places(
                &entry["change"]["before"],
                &format!("/resource_changes/{i}/change/before"),
                &mut found,
            );
            places(
                &entry["change"]["after"],
                &format!("/resource_changes/{i}/change/after"),
                &mut found,
            );
        }
    }
    let objects = "/prior_state/values/root_module/resources";
    for (i, object) in case.b.pointer(objects).unwrap().as_array().unwrap().iter().enumerate() {
        let deposed = object.get("deposed_key").is_some();
        let address = &object["address"];
        let left = case.b["resource_changes"].as_array().unwrap().iter().any(|entry| {
            entry["address"] == *address
                && entry.get("deposed").is_none()
                && entry["change"]["actions"] != json!(["no-op"])
        });
        let stateful = case.b["resource_changes"].as_array().unwrap().iter().any(|entry| {
            entry["address"] == *address
                && (entry["change"].get("importing").is_some()
                    || entry.get("previous_address").is_some())
        });
        // What is still to be changed is compared by its `before`.
        if !deposed && !left && !stateful {
            places(&object["values"], &format!("{objects}/{i}/values"), &mut found);
        }
    }
    places(&case.b["variables"], "/variables", &mut found);
    places(&case.b["configuration"], "/configuration", &mut found);
    // Holes may hold anything, except the ids that the journal knows.
    let hole = |place: &String| {
        let step =
            |after: &str| place.rsplit_once(after).is_some_and(|(_, rest)| rest.starts_with('h'));
        step("/change/after/") || step("/values/")
    };
    let id = |place: &String| place.ends_with("/id");
    found.retain(|place| !hole(place) && !id(place));
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_rest_of_any_interrupted_run_is_inside(world in world()) {
        let inside = Case::of(&world).prove();
        prop_assert!(inside.is_ok(), "{}", inside.unwrap_err().to_text());
        let inside = inside.unwrap();
        prop_assert!(inside.may_continue());
        let changing = world.items.iter().filter(|item| item.kind != Kind::Still);
        prop_assert_eq!(inside.left.len() + inside.done.len(), changing.count());
    }

    #[test]
    fn any_plan_is_equal_to_itself_and_to_nothing_else(world in world(), at in any::<prop::sample::Index>(), other in value()) {
        let mut start = world;
        start.rewind();
        let case = Case::of(&start);
        prop_assert!(case.equal().is_ok(), "{}", case.equal().unwrap_err().to_text());
        let places = known_places(&case);
        let place = &places[at.index(places.len())];
        let mut bent = Case::of(&start);
        let target = bent.b.pointer_mut(place).unwrap();
        prop_assume!(*target != other);
        *target = other;
        if crate::subset::Document::read(bent.b.to_string().as_bytes()).is_ok() {
            prop_assert!(bent.equal().is_err(), "{place}");
        }
    }

    #[test]
    fn any_known_value_that_is_another_is_refused(world in world(), at in any::<prop::sample::Index>(), other in value()) {
        let case = Case::of(&world);
        let places = known_places(&case);
        let place = &places[at.index(places.len())];
        let mut bent = Case::of(&world);
        let target = bent.b.pointer_mut(place).unwrap();
        prop_assume!(*target != other);
        *target = other;
        if crate::subset::Document::read(bent.b.to_string().as_bytes()).is_ok() {
            let answer = bent.prove();
            prop_assert!(answer.is_err(), "{place} may be anything");
            let said = answer.unwrap_err().to_text();
            prop_assert!(!said.contains("hunter2") && !said.contains("old-secret"), "{said}");
        }
    }

    #[test]
    fn any_other_change_is_refused(world in world(), pick in 0usize..6) {
        let mut case = Case::of(&world);
        let address = "x.intruder";
        let words: &[&str] = [&["create"][..], &["update"], &["delete"], &["forget"], &["delete", "create"], &["create", "delete"]][pick];
        case.add(super::model::change(address, words, json!({}), json!({})));
        prop_assert!(case.prove().unwrap_err().has(Rule::Change));
    }

    #[test]
    fn a_change_that_was_done_may_not_come_back(mut world in world(), pick in any::<prop::sample::Index>()) {
        world.items.push(Item::new("made", Kind::Create, Stage::Done));
        // The plan as approved, of one thing that was made already: it would be made twice.
        let made: Vec<_> = world.items.iter()
            .filter(|item| item.kind == Kind::Create && item.stage == Stage::Done).collect();
        let address = made[pick.index(made.len())].address();
        let mut case = Case::of(&world);
        let again = case.old(&address).clone();
        *case.fresh(&address) = again;
        let module = &mut case.b["prior_state"]["values"]["root_module"];
        module["resources"].as_array_mut().unwrap().retain(|o| o["address"] != address.as_str());
        prop_assert!(case.prove().unwrap_err().has(Rule::LostState));
    }

    #[test]
    fn any_bytes_are_an_answer(text in "[\\[\\]{}\",:a-z0-9_.]{0,80}") {
        let _ = crate::subset::Document::read(text.as_bytes());
    }
}
