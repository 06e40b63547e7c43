//! Rules 1 to 6: the same inputs, nothing lost, and the changes themselves.

use serde_json::{Value, json};
use slipway_domain::plan::{Action, StateMark};

use super::model::{self, Item, Kind, Stage};
use super::{Bends, Case, case, entry, set};
use crate::journal::Phase;
use crate::subset::{Document, Rule};

// Rule 1

#[test]
fn rule_1_everything_the_plans_are_bound_to_is_equal() {
    let bends: Bends = vec![
        Box::new(|c| c.b_binding.source = "sha256:other".into()),
        Box::new(|c| c.b_binding.lock_file = None),
        Box::new(|c| c.b_binding.variables = "hmac-sha256:other".into()),
        Box::new(|c| c.b_binding.tool.name = "tofu".into()),
        Box::new(|c| c.b_binding.tool.version = "1.11.5".into()),
        Box::new(|c| c.b_binding.operation = "destroy".into()),
        Box::new(|c| c.b_binding.state.lineage = "other".into()),
        Box::new(|c| c.b_binding.state.lineage = String::new()),
        Box::new(|c| c.b_binding.state.serial = 5),
        Box::new(|c| c.b_binding.state.serial = 4),
        Box::new(|c| c.b["terraform_version"] = json!("1.11.5")),
        Box::new(|c| c.a["terraform_version"] = json!("1.11.5")),
        Box::new(|c| c.b["format_version"] = json!("1.1")),
        Box::new(|c| c.b["configuration"]["root_module"]["more"] = json!(1)),
        Box::new(|c| c.b["configuration"] = json!(null)),
        Box::new(|c| c.b["variables"]["v"]["value"] = json!("other")),
        Box::new(|c| c.b["variables"]["w"] = json!({"value": 1})),
        Box::new(|c| c.b["variables"] = json!({})),
        Box::new(|c| c.b["variables"] = json!(["v"])),
        Box::new(|c| c.b["errored"] = json!(true)),
        Box::new(|c| c.b["errored"] = json!(null)),
        Box::new(|c| c.b["complete"] = json!(false)),
        Box::new(|c| c.a["complete"] = json!(false)),
        Box::new(|c| c.b["complete"] = json!("true")),
        Box::new(|c| c.b.as_object_mut().unwrap().remove("complete").map_or((), |_| ())),
        Box::new(|c| c.b["deferred_changes"] = json!([{"reason": "x"}])),
        Box::new(|c| c.b["action_invocations"] = json!([{"address": "action.x"}])),
        Box::new(|c| c.a["deferred_action_invocations"] = json!([1])),
    ];
    for (i, bend) in bends.iter().enumerate() {
        let refused = case().with(|c| bend(c)).refused(Rule::Header);
        assert!(refused.refusals.iter().all(|r| r.rule == Rule::Header), "{i}: {refused}");
    }
}

#[test]
fn rule_1_a_first_deployment_has_a_lineage_only_after_it_began() {
    case().with(|c| c.a_binding.state = StateMark::default()).accepted();
}

#[test]
fn rule_1_opentofu_does_not_say_complete() {
    let tofu = |c: &mut Case| {
        for (plan, binding) in [(&mut c.a, &mut c.a_binding), (&mut c.b, &mut c.b_binding)] {
            plan.as_object_mut().unwrap().remove("complete");
            binding.tool.name = "tofu".into();
        }
    };
    case().with(tofu).accepted();
    case().with(tofu).with(|c| c.b["complete"] = json!(false)).refused_only(Rule::Header);
}

#[test]
fn rule_1_no_check_fails_anew() {
    let checks = |status: &str, instance: &str| {
        json!([{"address": {"kind": "check", "to_display": "check.c"}, "status": status,
            "instances": [{"address": {"to_display": "check.c"}, "status": instance}]}])
    };
    let of = |a: Value, b: Value| case().with(|c| (c.a["checks"], c.b["checks"]) = (a, b));
    of(checks("pass", "pass"), checks("unknown", "pass")).accepted();
    of(checks("unknown", "unknown"), checks("pass", "pass")).accepted();
    of(checks("fail", "fail"), checks("fail", "fail")).accepted();
    of(checks("unknown", "unknown"), checks("fail", "fail")).refused_only(Rule::Header);
    of(checks("fail", "pass"), checks("fail", "fail")).refused_only(Rule::Header);
    of(json!([]), checks("error", "error")).refused_only(Rule::Header);
    of(json!([]), checks("strange", "pass")).refused_only(Rule::Header);
}

#[test]
fn a_plan_with_unknown_parts_is_not_read_at_all() {
    let bends: Bends = vec![
        Box::new(|c| c.b["format_version"] = json!("1.3")),
        Box::new(|c| c.b["format_version"] = json!("2.0")),
        Box::new(|c| c.b["format_version"] = json!(1.2)),
        Box::new(|c| c.b["novelties"] = json!([1])),
        Box::new(|c| c.fresh("x.new")["novelty"] = json!("x")),
        Box::new(|c| c.fresh("x.new")["change"]["novelty"] = json!({"a": 1})),
        Box::new(|c| c.fresh("x.new")["change"]["actions"] = json!(["create", "explode"])),
        Box::new(|c| c.fresh("x.new")["change"]["actions"] = json!([])),
        Box::new(|c| c.fresh("x.new")["change"]["actions"] = json!(["read"])),
        Box::new(|c| c.fresh("x.new")["change"] = json!(null)),
        Box::new(|c| c.fresh("x.new")["mode"] = json!("ephemeral")),
        Box::new(|c| c.fresh("x.new")["mode"] = json!("data")),
        Box::new(|c| c.fresh("x.take")["change"]["importing"] = json!({"unknown": true})),
        Box::new(|c| c.b["resource_changes"] = json!({})),
        Box::new(|c| c.b["output_changes"] = json!([])),
        Box::new(|c| {
            let twin = c.fresh("x.new").clone();
            c.add(twin);
        }),
        Box::new(|c| c.b["prior_state"]["values"]["root_module"]["child_modules"] = json!(1)),
        Box::new(|c| c.b["checks"] = json!([1])),
    ];
    for (i, bend) in bends.iter().enumerate() {
        let case = case().with(|c| bend(c));
        assert!(Document::read(case.b.to_string().as_bytes()).is_err(), "{i}");
    }
    case().with(|c| c.b["novelties"] = json!([])).accepted();
    for text in ["", "[]", "{}", "{\"format_version\": \"1.2\"} x"] {
        assert!(Document::read(text.as_bytes()).is_err(), "{text}");
    }
}

// Rule 2

#[test]
fn rule_2_what_was_made_must_be_in_the_state() {
    let lost = case().with(|c| {
        let module = &mut c.b["prior_state"]["values"]["root_module"];
        module["resources"].as_array_mut().unwrap().retain(|o| o["address"] != "x.made");
        // The tool would make it again.
        *c.fresh("x.made") = c.a["resource_changes"][0].clone();
    });
    assert_eq!(lost.a["resource_changes"][0]["address"], "x.made");
    lost.refused_only(Rule::LostState);
}

#[test]
fn rule_2_and_must_be_the_same_object() {
    let other = case().with(|c| c.object("x.made")["values"]["id"] = json!("another"));
    let refused = other.refused(Rule::LostState);
    assert_eq!(refused.refusals[0].path, "/id");
    case()
        .with(|c| {
            c.object("x.made")["values"]["id"] = json!(17);
            let made = c.entries.iter_mut().filter(|e| e.address == "x.made");
            made.filter(|e| e.id_value.is_some()).for_each(|e| e.id_value = Some("17".into()));
        })
        .accepted();
}

#[test]
fn rule_2_nothing_is_made_again_also_where_its_id_is_not_known() {
    // The state is as old as it was, with the predecessor in its place; no id was told.
    let mut world = super::world();
    world.items.retain(|item| item.name != "cbd");
    world.items.push(Item::new("again", Kind::Cbd, Stage::Todo));
    Case::of(&world).accepted();
    let made = Case::of(&world).with(|c| {
        for phase in [Phase::Started, Phase::Completed] {
            c.entries.push(model::entry("x.again", Action::Create, phase));
        }
    });
    let refused = made.refused_only(Rule::LostState);
    assert!(refused.to_string().contains("would be made again"), "{refused}");
}

// Rules 3 and 4

#[test]
fn rule_4_nothing_else_may_happen() {
    let deposed = json!({"deposed": "d9"});
    let adds = [
        model::create("x.more"),
        model::change("x.still", &["update"], json!({"id": "s"}), json!({"id": "s", "name": "x"})),
        model::change("x.still", &["delete"], json!({"id": "s"}), json!(null)),
        model::change("x.still", &["forget"], json!({"id": "s"}), json!(null)),
        model::merge(
            model::change("x.new", &["delete"], json!({"name": "n"}), json!(null)),
            &deposed,
        ),
    ];
    for add in adds {
        let address = add["address"].as_str().unwrap().to_owned();
        let refused = case().with(|c| {
            if address == "x.still" {
                *c.fresh("x.still") = add;
            } else {
                c.add(add);
            }
        });
        let refused = refused.refused(Rule::Change);
        assert!(refused.refusals[0].address.starts_with(&address), "{refused}");
    }
    // An import or a move of what was to be left alone changes the state.
    case()
        .with(|c| c.fresh("x.still")["change"]["importing"] = json!({"id": "x"}))
        .refused_only(Rule::Change);
    case()
        .with(|c| c.fresh("x.still")["previous_address"] = json!("x.b"))
        .refused_only(Rule::Change);
}

#[test]
fn rule_4_actions_follow_from_approved_ones_or_not() {
    let acts: [&[&str]; 8] = [
        &["create"],
        &["update"],
        &["delete"],
        &["forget"],
        &["delete", "create"],
        &["create", "delete"],
        &["create", "forget"],
        &["forget", "create"],
    ];
    for address in ["x.new", "x.change", "x.delete", "x.drop", "x.replace", "x.half"] {
        for act in acts {
            let bent = case().with(|c| c.fresh(address)["change"]["actions"] = json!(act));
            let mut original = case();
            if original.fresh(address)["change"]["actions"] == json!(act) {
                bent.accepted();
            } else {
                bent.refused(Rule::Change);
            }
        }
    }
}

#[test]
fn rule_4_the_delete_of_a_replacement_was_ours() {
    case().with(|c| c.forget("x.half")).refused_only(Rule::Change);
}

#[test]
fn rule_4_a_deposed_object_is_the_old_half_of_an_approved_replacement() {
    case()
        .with(|c| c.fresh_deposed()["change"]["before"]["name"] = json!("z"))
        .refused_only(Rule::Before);
    let unmade = case().with(|c| c.forget("x.cbd"));
    unmade.refused(Rule::Change);
    // Its successor is not there yet: the old one would go first.
    let early = case().with(|c| {
        let again = c.old("x.cbd").clone();
        *c.fresh("x.cbd") = again;
    });
    early.refused(Rule::Change);
    let two = case().with(|c| {
        let mut twin = c.fresh_deposed().clone();
        twin["deposed"] = json!("d1");
        c.add(twin);
    });
    two.refused(Rule::Change);
    // A deposed object of what is replaced the other way round.
    let other = case().with(|c| c.fresh_deposed()["address"] = json!("x.replace"));
    other.refused(Rule::Change);
}

#[test]
fn rule_4_taint_is_ours_or_refused() {
    let tainted = |c: &mut Case| {
        let after = c.old("x.new")["change"]["after"].clone();
        let entry = c.fresh("x.new");
        entry["change"]["actions"] = json!(["delete", "create"]);
        entry["action_reason"] = json!("replace_because_tainted");
        entry["change"]["before"] = after.clone();
        entry["change"]["before"]["id"] = json!("half-made");
        entry["change"]["before_sensitive"] = entry["change"]["after_sensitive"].clone();
        let mut object = model::object("x.new", entry["change"]["before"].clone());
        object["tainted"] = json!(true);
        let module = &mut c.b["prior_state"]["values"]["root_module"];
        module["resources"].as_array_mut().unwrap().push(object);
    };
    let began = |c: &mut Case, phase| {
        c.entries.push(model::entry("x.new", Action::Create, phase));
    };
    let inside = case().with(tainted).with(|c| began(c, Phase::Failed)).accepted();
    assert!(inside.left.iter().any(|l| l.address == "x.new" && l.rest_of_a_change));
    assert!(inside.may_continue());
    case().with(tainted).with(|c| began(c, Phase::Started)).accepted();
    // Nothing in the journal: somebody else made or tainted it.
    case().with(tainted).refused(Rule::Change);
    // It was finished: somebody tainted it since.
    let finished = case().with(tainted).with(|c| began(c, Phase::Completed));
    finished.refused(Rule::Change);
    // It is not what was to be made.
    let foreign = case().with(tainted).with(|c| {
        began(c, Phase::Failed);
        c.fresh("x.new")["change"]["before"]["name"] = json!("production");
    });
    foreign.refused_only(Rule::Before);
    // As far as it came.
    let part = case().with(tainted).with(|c| {
        began(c, Phase::Failed);
        c.fresh("x.new")["change"]["before"]["name"] = json!(null);
    });
    part.accepted();
    // Something that was to be changed, not made.
    let update = case().with(|c| {
        let entry = c.fresh("x.change");
        entry["change"]["actions"] = json!(["delete", "create"]);
        entry["action_reason"] = json!("replace_because_tainted");
        c.entries.push(model::entry("x.change", Action::Create, Phase::Failed));
    });
    update.refused(Rule::Change);
}

#[test]
fn rule_4_type_provider_and_place_stay() {
    for (field, value) in [
        ("type", json!("y")),
        ("provider_name", json!("registry.example/evil/x")),
        ("module_address", json!("module.m")),
        ("index", json!(1)),
        ("name", json!("other")),
    ] {
        case().with(|c| c.fresh("x.new")[field] = value.clone()).refused_only(Rule::Change);
        case().with(|c| c.fresh_deposed()[field] = value).refused_only(Rule::Change);
    }
}

#[test]
fn rule_4_imports_and_moves_are_the_approved_ones_or_done() {
    case()
        .with(|c| c.fresh("x.take")["change"]["importing"] = json!({"id": "other"}))
        .refused_only(Rule::Change);
    case()
        .with(|c| c.fresh("x.new")["change"]["importing"] = json!({"id": "i"}))
        .refused_only(Rule::Change);
    case()
        .with(|c| c.fresh("x.move")["previous_address"] = json!("x.else"))
        .refused_only(Rule::Change);
    case()
        .with(|c| c.fresh("x.change")["previous_address"] = json!("x.else"))
        .refused_only(Rule::Change);
    // Imported already, and the update is left.
    let update = |c: &mut Case| c.old("x.change")["change"]["importing"] = json!({"id": "i"});
    case().with(update).accepted();
    // Moved already, and the update is left.
    case().with(|c| c.old("x.change")["previous_address"] = json!("x.else")).accepted();
}

#[test]
fn rule_4_a_reason_is_part_of_what_was_approved() {
    case()
        .with(|c| c.fresh("x.replace")["action_reason"] = json!("replace_by_request"))
        .refused_only(Rule::Change);
    case()
        .with(|c| c.fresh("x.replace")["change"]["replace_paths"] = json!([["other"]]))
        .refused_only(Rule::Change);
}

#[test]
fn data_is_read_only_where_that_was_approved() {
    let read = || {
        let mut read = model::change("data.d.r", &["read"], json!(null), json!({"q": "x"}));
        read["mode"] = json!("data");
        read["change"]["after_unknown"] = json!({"answer": true});
        read
    };
    let both = |c: &mut Case| {
        c.a["resource_changes"].as_array_mut().unwrap().push(read());
        c.add(read());
    };
    case().with(both).accepted();
    case().with(|c| c.add(read())).refused_only(Rule::Change);
    case()
        .with(both)
        .with(|c| c.fresh("data.d.r")["change"]["after"]["q"] = json!("y"))
        .refused_only(Rule::After);
    // Read in the meantime, as planned.
    let object = || {
        let mut object = model::object("data.d.r", json!({"q": "x", "answer": "a"}));
        object["mode"] = json!("data");
        object
    };
    let add = |c: &mut Case, which: bool| {
        let plan = if which { &mut c.a } else { &mut c.b };
        let module = &mut plan["prior_state"]["values"]["root_module"];
        module["resources"].as_array_mut().unwrap().push(object());
    };
    let planned = case().with(|c| {
        c.a["resource_changes"].as_array_mut().unwrap().push(read());
        add(c, false);
    });
    assert!(planned.accepted().filled.iter().any(|f| f.address == "data.d.r"));
    case().with(|c| add(c, false)).refused_only(Rule::Bystander);
    // Read before both plans.
    let both = |c: &mut Case| {
        add(c, true);
        add(c, false);
    };
    case().with(both).accepted();
    case()
        .with(both)
        .with(|c| c.object("data.d.r")["values"]["answer"] = json!("b"))
        .refused_only(Rule::Bystander);
}

// Rule 5

#[test]
fn rule_5_what_is_changed_or_removed_is_as_it_was() {
    for address in ["x.change", "x.replace", "x.delete", "x.drop", "x.take", "x.move"] {
        for (path, value) in [
            ("name", json!("somebody's")),
            ("size", json!(4)),
            ("size", json!("3")),
            ("size", json!(null)),
            ("secret", json!("other-secret")),
            ("extra", json!(1)),
        ] {
            let bent = case().with(|c| c.fresh(address)["change"]["before"][path] = value.clone());
            bent.refused_only(Rule::Before);
        }
        case()
            .with(|c| {
                let before = &mut c.fresh(address)["change"]["before"];
                before.as_object_mut().unwrap().remove("size");
            })
            .refused_only(Rule::Before);
        // The same number in other words.
        case().with(|c| c.fresh(address)["change"]["before"]["size"] = json!(3.0)).accepted();
        case()
            .with(|c| c.fresh(address)["change"]["before_identity"] = json!({"id": "z"}))
            .refused_only(Rule::Before);
    }
    case()
        .with(|c| c.fresh("x.new")["change"]["before"] = json!({"name": "n"}))
        .refused_only(Rule::Before);
    case().with(|c| c.fresh("x.half")["change"]["before"] = json!({})).refused_only(Rule::Before);
}

// Rule 6

#[test]
fn rule_6_known_leaves_stay_and_holes_may_be_filled() {
    for (pointer, value) in [
        ("/name", json!("other")),
        ("/name", json!(null)),
        ("/tags/a", json!("other")),
        ("/tags/more", json!("x")),
        ("/tags/more", json!(null)),
        ("/tags", json!(null)),
        ("/tags", json!([])),
        ("/list", json!([1])),
        ("/list", json!([1, 2, 3])),
        ("/list/1", json!(3)),
        ("/list/0", json!(true)),
        ("/size", json!("3")),
        ("/size", json!(3.000_001)),
        ("/more", json!(1)),
        ("/more", json!(null)),
        ("/secret", json!("another-secret")),
    ] {
        for address in ["x.new", "x.change", "x.replace", "x.half"] {
            let bent = case()
                .with(|c| set(&mut c.fresh(address)["change"]["after"], pointer, value.clone()));
            let refused = bent.refused_only(Rule::After);
            assert!(refused.refusals[0].path.starts_with(&pointer[..4]), "{refused}");
        }
    }
    for filled in [json!("i-1"), json!(null), json!({"a": [1]}), json!(false)] {
        let inside = case()
            .with(|c| {
                c.fresh("x.new")["change"]["after"]["id"] = filled;
                c.fresh("x.new")["change"]["after_unknown"] = json!({});
            })
            .accepted();
        assert!(inside.filled.iter().any(|f| f.address == "x.new" && f.path == "/id"));
    }
    case().with(|c| c.fresh("x.new")["change"]["after"]["size"] = json!(3.0)).accepted();
}

#[test]
fn rule_6_what_was_known_stays_known() {
    for unknown in [
        json!({"id": true, "name": true}),
        json!({"id": true, "tags": {"a": true}}),
        json!({"id": true, "tags": {"b": true}}),
        json!({"id": true, "list": [false, true]}),
        json!({"id": true, "list": [false, false, true]}),
        json!({"id": true, "name": {"x": true}}),
        json!({"id": true, "list": {"x": true}}),
        json!({"id": true, "name": "yes"}),
        json!(true),
    ] {
        let bent = case().with(|c| c.fresh("x.new")["change"]["after_unknown"] = unknown.clone());
        bent.refused_only(Rule::After);
    }
    // Half of a list or map was unknown.
    let partly = |c: &mut Case| {
        let change = &mut c.old("x.new")["change"];
        change["after"]["list"] = json!([1, null]);
        change["after_unknown"] = json!({"id": true, "list": [false, true], "tags": {"z": true}});
    };
    let b = |after: Value, tags: Value, unknown: Value| {
        case().with(partly).with(|c| {
            let change = &mut c.fresh("x.new")["change"];
            change["after"]["list"] = after;
            change["after"]["tags"] = tags;
            change["after_unknown"] = unknown;
        })
    };
    let all = json!({"id": true});
    b(json!([1, 9]), json!({"a": "b", "z": "y"}), all.clone()).accepted();
    b(
        json!([1, null]),
        json!({"a": "b"}),
        json!({"id": true, "list": [false, true], "tags": {"z": true}}),
    )
    .accepted();
    b(json!([2, 9]), json!({"a": "b", "z": "y"}), all.clone()).refused_only(Rule::After);
    b(json!([1, 9, 9]), json!({"a": "b", "z": "y"}), all.clone()).refused_only(Rule::After);
    b(json!([1, 9]), json!({"a": "c", "z": "y"}), all).refused_only(Rule::After);
}

#[test]
fn rule_6_a_result_of_which_nothing_was_known_proves_nothing() {
    let blind = |c: &mut Case| {
        for plan in [&mut c.a, &mut c.b] {
            let new = entry(plan, "resource_changes", "x.new");
            new["change"]["after_unknown"] = json!(true);
        }
    };
    case().with(blind).refused_only(Rule::After);
}

#[test]
fn rule_6_a_deleted_thing_leaves_nothing() {
    case()
        .with(|c| c.fresh("x.delete")["change"]["after"] = json!({"name": "n"}))
        .refused_only(Rule::After);
    case()
        .with(|c| c.fresh_deposed()["change"]["after"] = json!({"name": "n"}))
        .refused_only(Rule::After);
}
