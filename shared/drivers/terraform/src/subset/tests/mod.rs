//! The rules on plans made by hand, each with what it accepts and what it refuses, and properties
//! of whole runs. Plans of the real tool are in `tests/real/subset.rs`.

mod changes;
mod model;
mod properties;
mod rest;

use serde_json::{Value, json};
use slipway_domain::plan::{Binding, StateMark, Tool};
use slipway_domain::redact::Redactor;

use super::*;
use crate::journal::Entry;
use model::{Item, Kind, Stage, World};

fn binding(serial: i64) -> Binding {
    Binding {
        plan_file: format!("sha256:{serial}"),
        source: "sha256:tree".into(),
        lock_file: Some("sha256:lock".into()),
        variables: "hmac-sha256:vars".into(),
        tool: Tool { name: "terraform".into(), version: "1.11.4".into() },
        state: StateMark { lineage: "l".into(), serial },
        operation: "deploy".into(),
    }
}

fn document(value: &Value) -> Document {
    Document::read(value.to_string().as_bytes()).unwrap()
}

/// Ways to bend a case.
type Bends = Vec<Bend>;
type Bend = Box<dyn Fn(&mut Case)>;

/// One proof, all of whose inputs can be bent.
struct Case {
    a: Value,
    b: Value,
    a_binding: Binding,
    b_binding: Binding,
    entries: Vec<Entry>,
    orderly: bool,
    carry: Carry,
}

impl Case {
    /// The run of `world`, interrupted as its items say.
    fn of(world: &World) -> Self {
        Self {
            a: world.approved(),
            b: world.fresh(),
            a_binding: binding(5),
            b_binding: binding(9),
            entries: world.journal(),
            orderly: false,
            carry: Carry { number: 1, max: 3, retryable: true },
        }
    }

    fn with(mut self, bend: impl FnOnce(&mut Self)) -> Self {
        bend(&mut self);
        self
    }

    fn prove(&self) -> Result<Inside, Refused> {
        let (a, b) = (document(&self.a), document(&self.b));
        let mut journal = Journal::new(self.entries.clone());
        if self.orderly {
            journal = journal.ended_orderly();
        }
        prove(
            Planned { binding: &self.a_binding, document: &a },
            Planned { binding: &self.b_binding, document: &b },
            &journal,
            self.carry,
            &RunKey::new([7; 32]),
            &Redactor::default(),
        )
    }

    fn equal(&self) -> Result<(), Refused> {
        let (a, b) = (document(&self.a), document(&self.b));
        equal(
            Planned { binding: &self.a_binding, document: &a },
            Planned { binding: &self.b_binding, document: &b },
            &RunKey::new([7; 32]),
            &Redactor::default(),
        )
    }

    #[track_caller]
    fn accepted(&self) -> Inside {
        self.prove().unwrap_or_else(|refused| panic!("{}", refused.to_text()))
    }

    #[track_caller]
    fn refused(&self, rule: Rule) -> Refused {
        let refused = match self.prove() {
            Ok(inside) => panic!("accepted: {inside:?}"),
            Err(refused) => refused,
        };
        assert!(refused.has(rule), "not for {rule:?}: {}", refused.to_text());
        refused
    }

    #[track_caller]
    fn refused_only(&self, rule: Rule) -> Refused {
        let refused = self.refused(rule);
        let other = refused.refusals.iter().find(|refusal| refusal.rule != rule);
        assert!(other.is_none(), "also for {other:?}");
        refused
    }

    /// The entry of `address` in the new plan.
    fn fresh(&mut self, address: &str) -> &mut Value {
        entry(&mut self.b, "resource_changes", address)
    }

    fn old(&mut self, address: &str) -> &mut Value {
        entry(&mut self.a, "resource_changes", address)
    }

    fn object(&mut self, address: &str) -> &mut Value {
        let resources = &mut self.b["prior_state"]["values"]["root_module"];
        entry(resources, "resources", address)
    }

    fn add(&mut self, change: Value) {
        self.b["resource_changes"].as_array_mut().unwrap().push(change);
    }

    /// Takes what the journal says of `address` away.
    fn forget(&mut self, address: &str) {
        self.entries.retain(|entry| entry.address != address);
    }
}

fn entry<'a>(of: &'a mut Value, list: &str, address: &str) -> &'a mut Value {
    let list = of[list].as_array_mut().unwrap();
    list.iter_mut().find(|entry| entry["address"] == address).unwrap()
}

/// A world with one of each: three done, the rest to do.
fn world() -> World {
    let item = |name: &str, kind, stage| Item::new(name, kind, stage);
    World::new(vec![
        item("made", Kind::Create, Stage::Done),
        item("new", Kind::Create, Stage::Todo),
        item("changed", Kind::Update, Stage::Done),
        item("change", Kind::Update, Stage::Todo),
        item("replace", Kind::Replace, Stage::Todo),
        item("half", Kind::Replace, Stage::Half),
        item("cbd", Kind::Cbd, Stage::Half),
        item("gone", Kind::Delete, Stage::Done),
        item("delete", Kind::Delete, Stage::Todo),
        item("dropped", Kind::Forget, Stage::Done),
        item("drop", Kind::Forget, Stage::Todo),
        item("taken", Kind::Import, Stage::Done),
        item("take", Kind::Import, Stage::Todo),
        item("moved", Kind::Move, Stage::Done),
        item("move", Kind::Move, Stage::Todo),
        item("still", Kind::Still, Stage::Todo),
    ])
}

fn case() -> Case {
    Case::of(&world())
}

#[test]
fn the_rest_of_a_run_is_inside_and_said_what_it_is() {
    let inside = case().accepted();
    let left: Vec<_> = inside.left.iter().map(|l| l.address.as_str()).collect();
    assert_eq!(
        left,
        [
            "x.cbd (deposed object d0)",
            "x.change",
            "x.delete",
            "x.drop",
            "x.half",
            "x.move",
            "x.new",
            "x.replace",
            "x.take"
        ]
    );
    let rest: Vec<_> = inside.left.iter().filter(|l| l.rest_of_a_change).collect();
    assert_eq!(rest.len(), 2, "{rest:?}");
    assert_eq!(inside.done, ["x.changed", "x.dropped", "x.gone", "x.made", "x.moved", "x.taken"]);
    assert!(inside.may_continue());
    assert!(inside.filled.iter().any(|f| f.address == "output.o"), "{:?}", inside.filled);
}

#[test]
fn a_plan_is_equal_to_itself_and_inside_itself() {
    let mut world = world();
    world.rewind();
    let case = Case::of(&world);
    assert_eq!(case.a, case.b);
    case.equal().unwrap();
    let inside = case.accepted();
    assert!(inside.done.is_empty() && inside.filled.is_empty(), "{inside:?}");
    assert_eq!(inside.left.len(), 15);
    // And for an answer that nothing was done for, there must be a reason to try again.
    case.with(|c| c.carry.retryable = false).refused_only(Rule::Progress);
}

#[test]
fn a_newer_serial_with_the_same_in_it_is_equal_and_an_older_one_is_not() {
    let mut world = world();
    world.rewind();
    Case::of(&world).with(|c| c.b_binding.state.serial = 6).equal().unwrap();
    let older = Case::of(&world).with(|c| c.b_binding.state.serial = 4).equal().unwrap_err();
    assert!(older.has(Rule::Header));
    // What is half done is not equal, though it may be inside.
    assert!(case().equal().is_err());
}

#[test]
fn equality_is_of_everything() {
    let mut world = world();
    world.rewind();
    let bends: Vec<(&str, Bend)> = vec![
        (
            "a known leaf",
            Box::new(|c| c.fresh("x.new")["change"]["after"]["name"] = json!("other")),
        ),
        (
            "a filled hole",
            Box::new(|c| {
                c.fresh("x.new")["change"]["after"]["id"] = json!("i");
                c.fresh("x.new")["change"]["after_unknown"] = json!({});
            }),
        ),
        (
            "another before",
            Box::new(|c| c.fresh("x.delete")["change"]["before"]["name"] = json!("b")),
        ),
        (
            "a missing change",
            Box::new(|c| {
                let list = c.b["resource_changes"].as_array_mut().unwrap();
                list.retain(|entry| entry["address"] != "x.delete");
            }),
        ),
        ("one more", Box::new(|c| c.add(model::create("x.more")))),
        (
            "an action",
            Box::new(|c| c.fresh("x.replace")["change"]["actions"] = json!(["create", "delete"])),
        ),
        ("a bystander", Box::new(|c| c.object("x.still")["values"]["name"] = json!("b"))),
        ("an output", Box::new(|c| c.b["output_changes"]["o"]["actions"] = json!(["no-op"]))),
        ("a mark", Box::new(|c| c.fresh("x.new")["change"]["after_sensitive"] = json!({}))),
        (
            "a reason",
            Box::new(|c| c.fresh("x.replace")["action_reason"] = json!("replace_by_request")),
        ),
        ("drift", Box::new(|c| c.b["resource_drift"] = json!([model::create("x.drifted")]))),
        (
            "drift that is no more",
            Box::new(|c| c.a["resource_drift"] = json!([model::create("x.drifted")])),
        ),
        ("the tree", Box::new(|c| c.b_binding.source = "sha256:other".into())),
        (
            "an import",
            Box::new(|c| c.fresh("x.take")["change"]["importing"] = json!({"id": "other"})),
        ),
        ("a move", Box::new(|c| c.fresh("x.move")["previous_address"] = json!("x.elsewhere"))),
    ];
    for (what, bend) in bends {
        let bent = Case::of(&world).with(|c| bend(c));
        assert!(bent.equal().is_err(), "{what} is not seen");
    }
}

impl Case {
    fn fresh_deposed(&mut self) -> &mut Value {
        let list = self.b["resource_changes"].as_array_mut().unwrap();
        list.iter_mut().find(|entry| entry["deposed"] == "d0").unwrap()
    }
}

/// Sets the value at a pointer; the last step may be new.
fn set(of: &mut Value, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match of.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[last.parse::<usize>().unwrap()] = value,
        Value::Object(fields) => {
            fields.insert(last.to_owned(), value);
        }
        other => panic!("{other}"),
    }
}
