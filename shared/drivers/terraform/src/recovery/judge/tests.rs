//! Journals, states and what people say, with every way in which they meet.

use serde_json::{Value, json};

use super::*;
use crate::journal::Entry;

/// A plan with these: address, actions, what was there, whether provisioners go with it.
fn plan(changes: &[(&str, &[&str], Value, bool)]) -> Document {
    let mut entries = Vec::new();
    let mut resources = Vec::new();
    for (address, actions, before, provisioned) in changes {
        let (kind, name) = address.split_once('.').unwrap();
        let provider = if kind == "null_resource" { "hashicorp/null" } else { "acme/t" };
        entries.push(json!({
            "address": address, "mode": "managed", "type": kind, "name": name,
            "provider_name": format!("registry.terraform.io/{provider}"),
            "change": {"actions": actions, "before": before, "after": {}},
        }));
        let mut resource = json!({"mode": "managed", "type": kind, "name": name});
        if *provisioned {
            resource["provisioners"] = json!([{"type": "local-exec"}]);
        }
        resources.push(resource);
    }
    let plan = json!({
        "format_version": "1.2",
        "resource_changes": entries,
        "configuration": {"root_module": {"resources": resources}},
    });
    Document::read(plan.to_string().as_bytes()).unwrap()
}

fn create(address: &str) -> (&str, &'static [&'static str], Value, bool) {
    (address, &["create"], Value::Null, false)
}

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

fn ended(address: &str, action: Action, id: &str) -> Entry {
    entry(address, action, Phase::Completed, Some(id))
}

fn state(objects: &[(&str, &str)]) -> String {
    let resources: Vec<Value> = objects
        .iter()
        .map(|(address, id)| {
            let (kind, name) = address.split_once('.').unwrap();
            json!({"mode": "managed", "type": kind, "name": name,
                   "instances": [{"attributes": {"id": id}}]})
        })
        .collect();
    json!({"version": 4, "lineage": "l", "serial": 3, "resources": resources}).to_string()
}

fn absent(address: &str) -> Resolution {
    Resolution { address: address.into(), outcome: ResolutionOutcome::Absent, id: None }
}

fn exists(address: &str, id: Option<&str>) -> Resolution {
    let id = id.map(str::to_owned);
    Resolution { address: address.into(), outcome: ResolutionOutcome::Exists, id }
}

struct Scene {
    journal: Vec<Entry>,
    state: String,
    approved: Document,
    collected: bool,
    knows_imports: bool,
}

impl Scene {
    fn new(journal: Vec<Entry>, state: String, approved: Document) -> Self {
        Self { journal, state, approved, collected: true, knows_imports: true }
    }

    fn judge(&self, resolutions: &[Resolution]) -> Judgement {
        judge(Facts {
            journal: &Journal::new(self.journal.clone()),
            state: Some(self.state.as_bytes()),
            approved: &self.approved,
            collected: self.collected,
            resolutions,
            knows_imports: self.knows_imports,
            declared: &|address| address.name == "declared",
        })
        .unwrap()
    }
}

fn doubted(judged: &Judgement) -> Vec<&str> {
    judged.report.in_doubt.iter().map(|doubt| doubt.address.as_str()).collect()
}

#[test]
fn a_create_in_doubt_is_settled_by_a_person_alone() {
    let scene = Scene::new(
        vec![began("t.a", Action::Create)],
        state(&[]),
        plan(&[create("t.a"), create("t.b")]),
    );
    let judged = scene.judge(&[]);
    assert_eq!(doubted(&judged), ["t.a"]);
    assert_eq!(judged.report.untouched, ["t.b"]);
    assert!(judged.settled.is_empty());

    let judged = scene.judge(&[absent("t.a")]);
    assert!(doubted(&judged).is_empty() && judged.report.imports.is_empty());
    assert!(judged.settled.contains("t.a"));

    let judged = scene.judge(&[exists("t.a", None)]);
    assert_eq!(doubted(&judged), ["t.a"]);
    assert!(judged.report.in_doubt[0].detail.contains("id is needed"), "{judged:?}");

    let judged = scene.judge(&[exists("t.a", Some("i-1")), absent("t.b"), absent("t.zzz")]);
    assert!(doubted(&judged).is_empty());
    assert_eq!(judged.report.imports, [("t.a".to_owned(), "i-1".to_owned())].into());
    assert_eq!(judged.unused.len(), 2, "{judged:?}");

    let old = Scene { knows_imports: false, ..scene };
    assert_eq!(doubted(&old.judge(&[exists("t.a", Some("i-1"))])), ["t.a"]);
}

#[test]
fn what_lives_in_the_state_alone_is_not_asked_about() {
    let mut run = create("null_resource.run");
    run.3 = true;
    let scene = Scene::new(
        vec![began("null_resource.a", Action::Create), began("null_resource.run", Action::Create)],
        state(&[]),
        plan(&[create("null_resource.a"), run]),
    );
    let judged = scene.judge(&[]);
    assert_eq!(doubted(&judged), ["null_resource.run"]);
    assert!(judged.settled.contains("null_resource.a"));
    assert_eq!(judged.report.untouched, ["null_resource.a"]);
}

#[test]
fn what_is_recorded_before_its_provisioners_have_run_is_asked_about() {
    let mut provisioned = create("t.p");
    provisioned.3 = true;
    let scene = Scene::new(
        vec![began("t.p", Action::Create), began("t.a", Action::Create)],
        state(&[("t.p", "i-p"), ("t.a", "i-a")]),
        plan(&[create("t.a"), provisioned]),
    );
    let judged = scene.judge(&[]);
    assert_eq!(doubted(&judged), ["t.p"]);
    assert_eq!(judged.report.in_doubt[0].resource_id.as_deref(), Some("i-p"));
    assert_eq!(judged.report.done, ["t.a"]);
    let judged = scene.judge(&[exists("t.p", None)]);
    assert!(doubted(&judged).is_empty() && judged.replace.is_empty());
    assert_eq!(judged.report.done, ["t.a", "t.p"]);
    let judged = scene.judge(&[absent("t.p")]);
    assert!(doubted(&judged).is_empty());
    assert_eq!(judged.replace, ["t.p"]);
}

#[test]
fn what_is_tainted_is_made_anew_by_itself_only_when_no_provisioner_ran() {
    let mut provisioned = create("t.p");
    provisioned.3 = true;
    let failed = |address| entry(address, Action::Create, Phase::Failed, None);
    let half = |name: &str, id: &str| {
        json!({"mode": "managed", "type": "t", "name": name,
               "instances": [{"status": "tainted", "attributes": {"id": id}}]})
    };
    let state = json!({"version": 4, "lineage": "l", "serial": 3,
                       "resources": [half("p", "i-p"), half("a", "i-a")]});
    let scene = Scene::new(
        vec![
            began("t.p", Action::Create),
            failed("t.p"),
            began("t.a", Action::Create),
            failed("t.a"),
        ],
        state.to_string(),
        plan(&[create("t.a"), provisioned]),
    );
    let judged = scene.judge(&[]);
    assert_eq!(doubted(&judged), ["t.p"]);
    let doubt = &judged.report.in_doubt[0];
    assert_eq!(doubt.resource_id.as_deref(), Some("i-p"));
    assert!(doubt.detail.contains("tainted"), "{doubt:?}");
    assert_eq!(judged.report.tainted, ["t.a"]);
    let judged = scene.judge(&[exists("t.p", None)]);
    assert!(doubted(&judged).is_empty() && judged.replace.is_empty());
    assert_eq!(
        (&*judged.untaint, &*judged.report.done),
        (&["t.p".into()][..], &["t.p".into()][..])
    );
    let judged = scene.judge(&[absent("t.p")]);
    assert!(doubted(&judged).is_empty() && judged.untaint.is_empty() && judged.replace.is_empty());
    assert_eq!(judged.report.tainted, ["t.a", "t.p"]);
}

#[test]
fn what_is_lost_is_taken_in_or_asked_about() {
    let taken = json!({"id": "old"});
    let scene = Scene::new(
        vec![
            ended("t.a", Action::Create, "i-a"),
            ended("null_resource.n", Action::Create, "n"),
            ended("t.r", Action::Create, "new"),
        ],
        state(&[("t.r", "old")]),
        plan(&[
            create("t.a"),
            create("null_resource.n"),
            ("t.r", &["create", "delete"], taken, false),
        ]),
    );
    let judged = scene.judge(&[]);
    assert_eq!(judged.report.lost.len(), 3, "{judged:?}");
    assert_eq!(doubted(&judged), ["null_resource.n", "t.r"]);
    assert_eq!(judged.report.imports, [("t.a".to_owned(), "i-a".to_owned())].into());
    assert_eq!(judged.unasked, ["t.a".to_owned()].into());
    // A place that is taken cannot be filled, whatever a person says.
    let said = [exists("null_resource.n", Some("by-hand")), exists("t.r", Some("new"))];
    let judged = scene.judge(&said);
    assert_eq!(doubted(&judged), ["t.r"]);
    assert_eq!(judged.report.imports["null_resource.n"], "by-hand");
    let judged = scene.judge(&[absent("t.a"), absent("t.r"), absent("null_resource.n")]);
    assert!(doubted(&judged).is_empty() && judged.report.imports.is_empty(), "{judged:?}");
    assert!(judged.unused.is_empty());
    // A person knows better by what it is imported.
    let judged = scene.judge(&[exists("t.a", Some("better"))]);
    assert_eq!(judged.report.imports["t.a"], "better");
    assert!(judged.unasked.is_empty(), "{judged:?}");
    let old = Scene { knows_imports: false, ..scene };
    assert_eq!(doubted(&old.judge(&[])), ["null_resource.n", "t.a", "t.r"]);
}

#[test]
fn without_the_last_moment_everything_that_is_left_is_asked_about() {
    let before = || json!({"id": "x"});
    let approved = || {
        let mut provisioned = create("t.provisioned");
        provisioned.3 = true;
        plan(&[
            create("t.done"),
            create("t.next"),
            create("t.recorded"),
            provisioned,
            create("null_resource.free"),
            ("t.up", &["update"], before(), false),
            ("t.upped", &["update"], before(), false),
            ("t.gone", &["delete"], before(), false),
            ("t.there", &["delete"], before(), false),
            ("t.swap", &["delete", "create"], before(), false),
            ("t.half", &["delete", "create"], before(), false),
            ("t.last", &["create", "delete"], before(), false),
        ])
    };
    let journal = vec![
        ended("t.done", Action::Create, "d"),
        ended("t.upped", Action::Update, "x"),
        ended("t.half", Action::Delete, "x"),
        ended("t.last", Action::Create, "new"),
    ];
    let recorded = [
        ("t.done", "d"),
        ("t.recorded", "r"),
        ("t.provisioned", "p"),
        ("t.up", "x"),
        ("t.upped", "x"),
        ("t.there", "x"),
        ("t.swap", "x"),
        ("t.last", "new"),
    ];
    let mut scene = Scene::new(journal, state(&recorded), approved());
    let judged = scene.judge(&[]);
    assert!(doubted(&judged).is_empty(), "{judged:?}");
    // Half of it is not all of it.
    assert_eq!(judged.report.done, ["t.done", "t.last", "t.upped"]);
    assert!(judged.report.untouched.contains(&"t.half".to_owned()));

    scene.collected = false;
    let judged = scene.judge(&[]);
    assert_eq!(
        doubted(&judged),
        ["t.half", "t.last", "t.next", "t.provisioned", "t.swap", "t.there", "t.up"]
    );
    let of = |address: &str| {
        judged.report.in_doubt.iter().find(|doubt| doubt.address == address).unwrap().action
    };
    assert_eq!(
        (of("t.half"), of("t.last"), of("t.swap")),
        (Action::Create, Action::Delete, Action::DeleteThenCreate)
    );
    assert!(!judged.report.collected);
    assert!(!judged.report.untouched.contains(&"t.next".to_owned()));
    let all: Vec<Resolution> = doubted(&judged).into_iter().map(absent).collect();
    let judged = scene.judge(&all);
    assert!(doubted(&judged).is_empty() && judged.unused.is_empty(), "{judged:?}");
    assert_eq!(judged.replace, ["t.provisioned"]);
}

#[test]
fn an_update_or_a_delete_in_doubt_is_settled_either_way() {
    let before = json!({"id": "x"});
    let scene = Scene::new(
        vec![began("t.u", Action::Update), began("t.d", Action::Delete)],
        state(&[("t.u", "x"), ("t.d", "x")]),
        plan(&[("t.u", &["update"], before.clone(), false), ("t.d", &["delete"], before, false)]),
    );
    assert_eq!(doubted(&scene.judge(&[])), ["t.d", "t.u"]);
    for said in [[absent("t.u"), exists("t.d", None)], [exists("t.u", Some("x")), absent("t.d")]] {
        let judged = scene.judge(&said);
        assert!(doubted(&judged).is_empty() && judged.report.imports.is_empty(), "{judged:?}");
        assert_eq!(judged.settled.len(), 2);
    }
}

#[test]
fn what_was_approved_to_be_taken_in_and_is_not_recorded_is_taken_in_still() {
    let import = |address: &str| {
        json!({"address": address, "mode": "managed", "type": "t", "name": "n",
               "change": {"actions": ["no-op"], "before": {}, "after": {},
                          "importing": {"id": format!("id-of-{address}")}}})
    };
    let plan = json!({
        "format_version": "1.2",
        "resource_changes": [import("t.a"), import("t.there"), import("t.declared")],
    });
    let approved = Document::read(plan.to_string().as_bytes()).unwrap();
    let scene = Scene::new(Vec::new(), state(&[("t.there", "x")]), approved);
    let judged = scene.judge(&[]);
    assert!(doubted(&judged).is_empty());
    assert_eq!(judged.report.imports, [("t.a".to_owned(), "id-of-t.a".to_owned())].into());
}
