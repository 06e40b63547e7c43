//! Rules 7 to 11, bystanders, doubt, and how refusals read.

use serde_json::{Value, json};
use slipway_domain::plan::Action::{self, Create};

use super::model::{self, Item, Kind, Stage, World};
use super::{Bends, Case, case};
use crate::journal::Phase;
use crate::subset::json::Json;
use crate::subset::{Rule, RunKey};

// Rule 7

#[test]
fn rule_7_what_was_hidden_stays_hidden() {
    let bare = json!({});
    for address in ["x.new", "x.change", "x.replace"] {
        case()
            .with(|c| c.fresh(address)["change"]["after_sensitive"] = bare.clone())
            .refused_only(Rule::Sensitivity);
    }
    for address in ["x.change", "x.delete"] {
        case()
            .with(|c| c.fresh(address)["change"]["before_sensitive"] = bare.clone())
            .refused_only(Rule::Sensitivity);
    }
    case()
        .with(|c| c.fresh_deposed()["change"]["before_sensitive"] = bare)
        .refused_only(Rule::Sensitivity);
    // A mark above covers those below, and more may be hidden.
    case().with(|c| c.fresh("x.new")["change"]["after_sensitive"] = json!(true)).accepted();
    case()
        .with(|c| {
            c.fresh("x.new")["change"]["after_sensitive"] = json!({"secret": true, "name": true});
        })
        .accepted();
    // One below does not cover the one above.
    let deep = |c: &mut Case| {
        c.old("x.new")["change"]["after_sensitive"] = json!({"secret": true, "tags": true});
    };
    case()
        .with(deep)
        .with(|c| {
            c.fresh("x.new")["change"]["after_sensitive"] =
                json!({"secret": true, "tags": {"a": true}});
        })
        .refused_only(Rule::Sensitivity);
}

#[test]
fn rule_7_refusals_quote_no_secret() {
    let bent = case().with(|c| {
        c.fresh("x.new")["change"]["after"]["secret"] = json!("hunter3-hunter3");
        c.fresh("x.new")["change"]["after"]["name"] = json!("holds hunter3-hunter3");
        c.fresh("x.change")["change"]["before"]["secret"] = json!(123_456);
        c.fresh("x.replace")["change"]["after"] = json!("hunter3-hunter3");
        c.b["variables"]["s"]["value"] = json!("s3cret-variable");
        c.object("x.made")["values"]["secret"] = json!({"deep": "also-secret-here"});
        c.b["configuration"]["root_module"]["password"] = json!("literal-in-configuration");
    });
    let refused = bent.prove().unwrap_err();
    let said = format!(
        "{refused} {refused:?} {} {}",
        refused.to_text(),
        serde_json::to_string(&refused).unwrap()
    );
    for secret in
        ["hunter3", "hunter2-", "123456", "s3cret", "also-secret", "literal-in", "old-secret"]
    {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    let of = |address: &str, path: &str| {
        let mut all = refused.refusals.iter();
        all.find(|r| r.address == address && r.path == path).unwrap().clone()
    };
    let secret = of("x.new", "/secret");
    assert_eq!(
        (secret.rule, secret.approved.as_ref().unwrap().text.as_str()),
        (Rule::After, "***")
    );
    let macs = (secret.approved.unwrap().mac.unwrap(), secret.new.unwrap().mac.unwrap());
    assert!(macs.0.starts_with("hmac-sha256:") && macs.0 != macs.1);
    assert_eq!(of("x.new", "/name").new.unwrap().text, "\"holds ***\"");
    assert_eq!(of("var.s", "").new.unwrap().text, "***");
}

#[test]
fn secrets_are_told_apart_by_key_place_and_value() {
    let key = RunKey::new([1; 32]);
    let value = Json::String("v".into());
    let mac = key.mac("a", "/b", &value);
    assert_eq!(mac, key.mac("a", "/b", &Json::String("v".into())));
    assert_ne!(mac, key.mac("a/", "b", &value));
    assert_ne!(mac, key.mac("a", "/b", &Json::Null));
    assert_ne!(mac, RunKey::new([2; 32]).mac("a", "/b", &value));
    assert_eq!(format!("{key:?}"), "RunKey(***)");
}

// Rule 8

#[test]
fn rule_8_what_is_done_is_done_as_approved() {
    for (address, path, value) in [
        ("x.made", "name", json!("other")),
        ("x.made", "secret", json!("other-secret")),
        ("x.changed", "size", json!(4)),
        ("x.cbd", "tags", json!({})),
        ("x.taken", "name", json!("other")),
        ("x.moved", "name", json!("other")),
    ] {
        let bent = case().with(|c| c.object(address)["values"][path] = value);
        let refused = bent.refused_only(Rule::Finished);
        assert!(refused.refusals[0].path.starts_with(&format!("/{path}")), "{refused}");
    }
    case().with(|c| c.object("x.changed")["tainted"] = json!(true)).refused_only(Rule::Finished);
    case().with(|c| c.object("x.changed")["type"] = json!("y")).refused_only(Rule::Finished);
    let gone = case().with(|c| {
        let module = &mut c.b["prior_state"]["values"]["root_module"];
        module["resources"].as_array_mut().unwrap().retain(|o| o["address"] != "x.changed");
    });
    gone.refused_only(Rule::Finished);
    for address in ["x.gone", "x.dropped"] {
        let there = case().with(|c| {
            let object = model::object(address, json!({"id": "x"}));
            let module = &mut c.b["prior_state"]["values"]["root_module"];
            module["resources"].as_array_mut().unwrap().push(object);
        });
        there.refused_only(Rule::Finished);
    }
}

#[test]
fn rule_8_what_is_done_was_done_by_this_run() {
    for address in ["x.made", "x.changed", "x.gone"] {
        case().with(|c| c.forget(address)).refused_only(Rule::Finished);
    }
    // A beginning is enough: the state says that it ended.
    case()
        .with(|c| c.entries.retain(|e| e.address != "x.changed" || e.phase != Phase::Completed))
        .accepted();
    // The tool does not report what only changes the state.
    for address in ["x.dropped", "x.taken", "x.moved"] {
        assert!(case().entries.iter().all(|e| e.address != address));
    }
}

#[test]
fn rule_8_a_replacement_is_done_when_the_old_one_was_deleted_by_this_run() {
    let whole = |kind| {
        let items =
            vec![Item::new("r", kind, Stage::Done), Item::new("new", Kind::Create, Stage::Todo)];
        Case::of(&World::new(items))
    };
    for kind in [Kind::Replace, Kind::Cbd] {
        assert_eq!(whole(kind).accepted().done, ["x.r"]);
        // The old one is nowhere, and nobody says that it was deleted.
        whole(kind)
            .with(|c| c.entries.retain(|entry| entry.action != Action::Delete))
            .refused_only(Rule::Finished);
        whole(kind)
            .with(|c| c.entries.retain(|entry| entry.action != Create))
            .refused_only(Rule::Finished);
    }
}

// Rule 9

#[test]
fn rule_9_drift_is_what_it_was() {
    let drifted =
        |name: &str| model::change("x.drifted", &["update"], json!({"n": 1}), json!({"n": name}));
    let both = |c: &mut Case| {
        c.a["resource_drift"] = json!([drifted("a")]);
        c.b["resource_drift"] = json!([drifted("a")]);
    };
    case().with(both).accepted();
    case().with(both).with(|c| c.b["resource_drift"] = json!([])).accepted();
    case()
        .with(both)
        .with(|c| c.b["resource_drift"] = json!([drifted("b")]))
        .refused_only(Rule::Drift);
    case().with(|c| c.b["resource_drift"] = json!([drifted("a")])).refused_only(Rule::Drift);
}

// Rule 10

#[test]
fn rule_10_outputs_are_those_that_were_approved() {
    let bends: Bends = vec![
        Box::new(|c| c.b["output_changes"]["k"]["after"] = json!("other")),
        Box::new(|c| c.b["output_changes"]["k"]["actions"] = json!(["delete"])),
        Box::new(|c| c.b["output_changes"]["k"]["after_unknown"] = json!(true)),
        Box::new(|c| c.b["output_changes"]["k"]["after_sensitive"] = json!(false)),
        Box::new(|c| c.b["output_changes"]["n"]["actions"] = json!(["update"])),
        Box::new(|c| {
            c.b["output_changes"]["more"] =
                json!({"actions": ["create"], "before": null, "after": 1});
        }),
        Box::new(|c| c.b["output_changes"].as_object_mut().unwrap().remove("k").map_or((), |_| ())),
    ];
    for bend in bends {
        case().with(|c| bend(c)).refused_only(Rule::Outputs);
    }
    case().with(|c| c.b["output_changes"]["k"]["actions"] = json!(["no-op"])).accepted();
    case().with(|c| c.b["output_changes"]["k"]["actions"] = json!(["update"])).accepted();
    let deleted = |c: &mut Case| {
        c.a["output_changes"]["x"] =
            json!({"actions": ["delete"], "before": 1, "after": null, "after_unknown": false});
    };
    case().with(deleted).accepted();
    case()
        .with(deleted)
        .with(|c| c.b["prior_state"]["values"]["outputs"] = json!({"x": {"value": 1}}))
        .refused_only(Rule::Outputs);
}

// Rule 11

#[test]
fn rule_11_it_gets_somewhere_and_not_for_ever() {
    case().with(|c| c.carry.number = 3).accepted();
    case().with(|c| c.carry.number = 4).refused_only(Rule::Progress);
    case().with(|c| c.carry.retryable = false).accepted();
}

// Bystanders

#[test]
fn what_no_plan_touches_is_as_it_was() {
    case()
        .with(|c| c.object("x.still")["values"]["name"] = json!("other"))
        .refused_only(Rule::Bystander);
    case().with(|c| c.object("x.still")["tainted"] = json!(true)).refused_only(Rule::Bystander);
    let push = |object: Value| {
        case().with(|c| {
            let module = &mut c.b["prior_state"]["values"]["root_module"];
            module["resources"].as_array_mut().unwrap().push(object);
        })
    };
    push(model::object("x.foreign", json!({"id": "f"}))).refused_only(Rule::Bystander);
    let mut deposed = model::object("x.made", json!({"id": "f"}));
    deposed["deposed_key"] = json!("d5");
    push(deposed).refused_only(Rule::Bystander);
    let gone = case().with(|c| {
        let module = &mut c.b["prior_state"]["values"]["root_module"];
        module["resources"].as_array_mut().unwrap().retain(|o| o["address"] != "x.still");
    });
    gone.refused_only(Rule::Bystander);
    // In a module, too.
    let inner = case().with(|c| {
        let child = json!([{"address": "module.m", "resources": [model::object("module.m.x.f", json!({}))]}]);
        c.b["prior_state"]["values"]["root_module"]["child_modules"] = child;
    });
    inner.refused_only(Rule::Bystander);
}

#[test]
fn what_stands_where_only_a_deposed_object_goes_is_a_bystander() {
    let old = |c: &mut Case| {
        for plan in [&mut c.a, &mut c.b] {
            let mut object = model::object("x.still", json!({"id": "older"}));
            object["deposed_key"] = json!("d7");
            let module = &mut plan["prior_state"]["values"]["root_module"];
            module["resources"].as_array_mut().unwrap().push(object);
            let mut change =
                model::change("x.still", &["delete"], json!({"id": "older"}), Value::Null);
            change["deposed"] = json!("d7");
            plan["resource_changes"].as_array_mut().unwrap().push(change);
        }
    };
    assert!(case().with(old).accepted().left.iter().any(|l| l.address.contains("d7")));
    let bent = case().with(old).with(|c| c.object("x.still")["values"]["name"] = json!("other"));
    bent.refused_only(Rule::Bystander);
}

// Doubt

#[test]
fn what_may_exist_already_is_not_made_again_without_a_word() {
    let with = |phase| case().with(|c| c.entries.push(model::entry("x.new", Create, phase)));
    let inside = with(Phase::Started).accepted();
    assert_eq!(
        (inside.in_doubt.as_slice(), inside.may_continue()),
        (["x.new".to_owned()].as_slice(), false)
    );
    let failed = with(Phase::Failed);
    assert!(!failed.accepted().may_continue(), "its failure may not have been recorded");
    assert!(failed.with(|c| c.orderly = true).accepted().may_continue());
    let half = case().with(|c| c.entries.push(model::entry("x.half", Create, Phase::Started)));
    assert_eq!(half.accepted().in_doubt, ["x.half"]);
}

#[test]
fn refusals_are_bounded_sorted_and_readable() {
    let many = case().with(|c| {
        for i in 0..300 {
            c.add(model::create(&format!("x.more{i}")));
        }
    });
    let refused = many.refused_only(Rule::Change);
    assert_eq!((refused.refusals.len(), refused.more), (200, 100));
    assert!(refused.to_text().ends_with("and 100 more.\n"));
    let one = case().with(|c| c.fresh("x.new")["change"]["after"]["name"] = json!("other"));
    let one = one.refused_only(Rule::After);
    assert_eq!(one.to_string(), r#"x.new /name: is another value: approved "n", now "other""#);
    assert_eq!(
        one.to_text(),
        "The new plan is not inside the approved one:\n\n  x.new\n    another result than approved: \
         /name is another value\n      - \"n\"\n      + \"other\"\n"
    );
}

// Rescue

/// What was made and is lost, as the new plan has it with the `import` block that recovery wrote.
fn rescue(c: &mut Case) {
    let values = c.object("x.made")["values"].clone();
    let mut entry = model::change("x.made", &["no-op"], values.clone(), values);
    entry["change"]["importing"] = json!({"id": "new-made"});
    *c.fresh("x.made") = entry;
}

#[test]
fn what_this_run_made_may_be_taken_in_again_when_a_person_says_so() {
    let inside = case().with(rescue).accepted();
    assert_eq!(
        (inside.rescued.as_slice(), inside.may_continue()),
        (["x.made".to_owned()].as_slice(), false)
    );
    // Then the state may be as old as it was.
    case().with(rescue).with(|c| c.b_binding.state.serial = 5).accepted();
    // What the import does not learn is set to what was approved.
    let update = |c: &mut Case| {
        let change = &mut c.fresh("x.made")["change"];
        change["actions"] = json!(["update"]);
        change["before"] = json!({"id": "new-made", "name": null});
    };
    case().with(rescue).with(update).accepted();
    let bends: Bends = vec![
        Box::new(|c| c.fresh("x.made")["change"]["importing"] = json!({"id": "another"})),
        Box::new(|c| {
            c.fresh("x.made")["change"]["importing"] = json!({"identity": {"id": "new-made"}});
        }),
        Box::new(|c| {
            c.fresh("x.made")["change"]["importing"] =
                json!({"id": "new-made", "identity": {"a": 1}});
        }),
        Box::new(|c| c.fresh("x.made")["change"]["before"]["id"] = json!("another")),
        Box::new(|c| c.fresh("x.made")["change"]["actions"] = json!(["delete"])),
        Box::new(|c| c.fresh("x.made")["previous_address"] = json!("x.b")),
        Box::new(|c| c.forget("x.made")),
        Box::new(|c| c.entries.iter_mut().for_each(|e| e.id_key = Some("name".into()))),
    ];
    for (i, bend) in bends.iter().enumerate() {
        let bent = case().with(rescue).with(|c| bend(c));
        assert!(bent.refused(Rule::Change).refusals.iter().any(|r| r.address == "x.made"), "{i}");
    }
    // It would not be what was approved.
    case()
        .with(rescue)
        .with(update)
        .with(|c| c.fresh("x.made")["change"]["after"]["name"] = json!("other"))
        .refused_only(Rule::After);
    // What it replaces would be forgotten, unless it was deleted.
    let replaced = |words: &[&str]| {
        let before = json!({"id": "old", "name": "o"});
        case().with(rescue).with(|c| {
            let old = c.old("x.made");
            old["change"]["actions"] = json!(words);
            old["change"]["before"] = before;
        })
    };
    replaced(&["create", "delete"]).refused(Rule::Change);
    replaced(&["delete", "create"])
        .with(|c| c.entries.push(model::entry("x.made", Action::Delete, Phase::Completed)))
        .accepted();
    // What was to be changed is not ours to import.
    let changed = case().with(|c| {
        let values = c.object("x.changed")["values"].clone();
        let mut entry = model::change("x.changed", &["no-op"], values.clone(), values);
        entry["change"]["importing"] = json!({"id": "new-changed"});
        *c.fresh("x.changed") = entry;
    });
    changed.refused(Rule::Change);
}
