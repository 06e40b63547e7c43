//! The subset proof on plans of the real tool, of runs that were really killed, failed or
//! tampered with. Plans, states and journals are the tool's own.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use slipway_domain::plan::{Action, Binding, StateMark, Tool};
use slipway_domain::redact::Redactor;
use slipway_driver_terraform::journal::{Entry, Journal, Phase};
use slipway_driver_terraform::recovery::Recovery;
use slipway_driver_terraform::subset::{
    Carry, Document, Inside, Planned, Refused, Rule, RunKey, equal, prove,
};

/// A directory with a configuration and a state, and what was done there.
struct Stack {
    dir: tempfile::TempDir,
    journal: Vec<Entry>,
    approved: Option<(Binding, Document)>,
}

impl Stack {
    fn new(source: &str) -> Self {
        let stack = Self { dir: tempfile::tempdir().unwrap(), journal: Vec::new(), approved: None };
        stack.write("main.tf", source);
        stack
    }

    /// With providers from the mirror.
    fn with_providers(source: &str) -> Self {
        let stack = Self::new(source);
        let mirror = crate::job::mirror();
        let rc = format!(
            "provider_installation {{\n  filesystem_mirror {{\n    path = {:?}\n  }}\n}}\n",
            mirror.display().to_string()
        );
        stack.write("cli.tfrc", &rc);
        let init = stack.tool(&["init", "-input=false"]);
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
        stack
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.path(name));
    }

    fn tool(&self, args: &[&str]) -> Output {
        #[expect(clippy::disallowed_methods, reason = "a test that plays the driver's part")]
        let mut command = std::process::Command::new("terraform");
        command.args(args).current_dir(self.dir.path());
        command.env("TF_IN_AUTOMATION", "1").env("CHECKPOINT_DISABLE", "1");
        command.env_remove("TF_CLI_CONFIG_FILE");
        if self.path("cli.tfrc").exists() {
            command.env("TF_CLI_CONFIG_FILE", self.path("cli.tfrc"));
        }
        command.output().unwrap()
    }

    fn state(&self) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.path("terraform.tfstate")).ok()?).ok()
    }

    fn plan(&self, args: &[&str]) -> (Binding, Document) {
        let state = self.state();
        let mut all = vec!["plan", "-input=false", "-out=plan"];
        all.extend(args);
        let planned = self.tool(&all);
        assert!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));
        let shown = self.tool(&["show", "-json", "plan"]);
        let json: Value = serde_json::from_slice(&shown.stdout).unwrap();
        let lock = std::fs::read(self.path(".terraform.lock.hcl")).ok();
        let binding = Binding {
            plan_file: slipway_domain::artifact::digest(&std::fs::read(self.path("plan")).unwrap()),
            source: slipway_domain::artifact::digest(&std::fs::read(self.path("main.tf")).unwrap()),
            lock_file: lock.map(|lock| slipway_domain::artifact::digest(&lock)),
            variables: slipway_domain::artifact::digest(format!("{args:?}").as_bytes()),
            tool: Tool {
                name: "terraform".into(),
                version: json["terraform_version"].as_str().unwrap().to_owned(),
            },
            state: StateMark {
                lineage: state.as_ref().map_or("", |s| s["lineage"].as_str().unwrap()).to_owned(),
                serial: state.as_ref().map_or(0, |s| s["serial"].as_i64().unwrap()),
            },
            operation: "deploy".into(),
        };
        (binding, Document::read(&shown.stdout).unwrap())
    }

    /// Plans and applies without a hitch; what it did is not part of the run that is looked at.
    fn deploy(&self, args: &[&str]) {
        self.plan(args);
        let applied = self.tool(&["apply", "-input=false", "plan"]);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }

    fn approve(&mut self, args: &[&str]) {
        self.approved = Some(self.plan(args));
    }

    /// Applies the plan file that was made last, and keeps its journal.
    fn apply(&mut self) -> bool {
        let applied = self.tool(&["apply", "-input=false", "-json", "plan"]);
        for line in String::from_utf8_lossy(&applied.stdout).lines() {
            let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
            let phase = match message["type"].as_str() {
                Some("apply_start") => Phase::Started,
                Some("apply_complete") => Phase::Completed,
                Some("apply_errored") => Phase::Failed,
                _ => continue,
            };
            let hook = &message["hook"];
            let action = match hook["action"].as_str().unwrap() {
                "create" => Action::Create,
                "update" => Action::Update,
                "delete" => Action::Delete,
                "read" => Action::Read,
                other => panic!("{other}"),
            };
            let text = |key: &str| hook[key].as_str().map(str::to_owned);
            self.journal.push(Entry {
                address: hook["resource"]["addr"].as_str().unwrap().to_owned(),
                action,
                phase,
                id_key: text("id_key"),
                id_value: text("id_value"),
            });
        }
        self.remove(".terraform.tfstate.lock.info");
        applied.status.success()
    }

    fn prove(&self, args: &[&str], orderly: bool) -> Result<Inside, Refused> {
        let (a_binding, a) = self.approved.as_ref().unwrap();
        let (b_binding, b) = self.plan(args);
        let mut journal = Journal::new(self.journal.clone());
        if orderly {
            journal = journal.ended_orderly();
        }
        prove(
            Planned { binding: a_binding, document: a },
            Planned { binding: &b_binding, document: &b },
            &journal,
            Carry { number: 1, max: 3, retryable: true },
            &RunKey::new([9; 32]),
            &Redactor::default(),
        )
    }

    #[track_caller]
    fn accepted(&self, args: &[&str], orderly: bool) -> Inside {
        self.prove(args, orderly).unwrap_or_else(|refused| panic!("{}", refused.to_text()))
    }

    #[track_caller]
    fn refused(&self, args: &[&str], rule: Rule) -> Refused {
        let refused = self.prove(args, true).unwrap_err();
        assert!(refused.has(rule), "not for {rule:?}: {}", refused.to_text());
        refused
    }

    fn equal(&self, args: &[&str]) -> Result<(), Refused> {
        let (a_binding, a) = self.approved.as_ref().unwrap();
        let (b_binding, b) = self.plan(args);
        equal(
            Planned { binding: a_binding, document: a },
            Planned { binding: &b_binding, document: &b },
            &RunKey::new([9; 32]),
            &Redactor::default(),
        )
    }
}

fn left(inside: &Inside) -> Vec<&str> {
    inside.left.iter().map(|left| left.address.as_str()).collect()
}

/// A chain whose fourth link kills the tool or fails, as files in the directory say.
const CHAIN: &str = r#"
variable "v" { default = "one" }
variable "secret" {
  default   = "hunter22-hunter22"
  sensitive = true
}
resource "terraform_data" "a" {
  for_each = toset(["x/y", "k\"q"])
  input    = { v = var.v, s = var.secret }
}
resource "terraform_data" "b" {
  input            = terraform_data.a["x/y"].output.v
  triggers_replace = var.v
}
resource "terraform_data" "c" {
  triggers_replace = [terraform_data.b.id, var.v]
  lifecycle { create_before_destroy = true }
}
resource "terraform_data" "d" {
  input            = terraform_data.c.id
  triggers_replace = var.v
  provisioner "local-exec" {
    command = "if test -e die; then sleep 0.5; kill -9 $PPID; fi; test ! -e fail"
  }
}
resource "terraform_data" "e" { input = terraform_data.d.output }
resource "terraform_data" "still" { input = [1, 2.5, null, { a = true }] }
check "later" {
  assert {
    condition     = terraform_data.e.id != ""
    error_message = "no id"
  }
}
output "e" {
  value     = [terraform_data.e.output, var.secret]
  sensitive = true
}
output "known" { value = var.v }
"#;

#[test]
fn a_killed_first_deployment_is_carried_on_but_for_what_is_in_doubt() {
    let mut stack = Stack::new(CHAIN);
    stack.approve(&[]);
    assert!(stack.equal(&[]).is_ok());
    stack.write("die", "");
    assert!(!stack.apply());
    stack.remove("die");
    let inside = stack.accepted(&[], false);
    assert_eq!(left(&inside), ["terraform_data.d", "terraform_data.e"]);
    assert_eq!(inside.done.len(), 5, "{inside:?}");
    // The tool died while it made `d`: whether it exists, nobody knows.
    assert_eq!(inside.in_doubt, ["terraform_data.d"]);
    assert!(!inside.may_continue());
    assert!(inside.filled.iter().any(|f| f.address == "terraform_data.d" && f.path == "/input"));
    let other = stack.refused(&["-var=v=two"], Rule::Header);
    assert!(other.has(Rule::Change) && other.has(Rule::After), "{}", other.to_text());
    stack.refused(&["-var=secret=other-other"], Rule::Header);
    assert!(stack.equal(&[]).is_err());
}

#[test]
fn a_failed_first_deployment_is_carried_on_and_finished() {
    let mut stack = Stack::new(CHAIN);
    stack.approve(&[]);
    stack.write("fail", "");
    assert!(!stack.apply());
    stack.remove("fail");
    // What failed is tainted, by us.
    let inside = stack.accepted(&[], true);
    assert_eq!(left(&inside), ["terraform_data.d", "terraform_data.e"]);
    assert!(inside.left[0].rest_of_a_change && inside.may_continue(), "{inside:?}");
    let journal = std::mem::take(&mut stack.journal);
    stack.refused(&[], Rule::Change);
    stack.journal = journal;
    assert!(stack.apply());
    let inside = stack.accepted(&[], true);
    assert!(inside.left.is_empty() && inside.done.len() == 7, "{inside:?}");
}

#[test]
fn a_killed_update_with_both_replacements_is_carried_on() {
    let mut stack = Stack::new(CHAIN);
    stack.deploy(&[]);
    let two = ["-var=v=two"];
    stack.approve(&two);
    stack.write("die", "");
    assert!(!stack.apply());
    stack.remove("die");
    let inside = stack.accepted(&two, false);
    let deposed: Vec<_> = inside.left.iter().filter(|l| l.address.contains("deposed")).collect();
    // `c` makes its new one first, and so must `b`, on which it depends.
    assert_eq!(deposed.len(), 2, "{inside:?}");
    assert_eq!(left(&inside)[2..], ["terraform_data.d", "terraform_data.e"]);
    assert_eq!(inside.in_doubt, ["terraform_data.d"]);
    // Without the journal nothing of it is believed.
    let journal = std::mem::take(&mut stack.journal);
    stack.refused(&two, Rule::Finished);
    stack.journal = journal;
    stack.refused(&[], Rule::Header);
    stack.refused(&["-var=v=three"], Rule::After);
}

#[test]
fn somebody_elses_hand_is_seen() {
    let mut stack = Stack::new(CHAIN);
    stack.deploy(&[]);
    let two = ["-var=v=two"];
    stack.approve(&two);
    stack.write("die", "");
    stack.apply();
    stack.remove("die");
    stack.accepted(&two, false);
    let state = std::fs::read_to_string(stack.path("terraform.tfstate")).unwrap();
    let bend = |change: &dyn Fn(&mut Value)| {
        let mut bent: Value = serde_json::from_str(&state).unwrap();
        bent["serial"] = (bent["serial"].as_i64().unwrap() + 1).into();
        change(&mut bent);
        stack.write("terraform.tfstate", &bent.to_string());
    };
    let at = |state: &Value, name: &str| {
        let all = state["resources"].as_array().unwrap();
        all.iter().position(|r| r["name"] == name).unwrap()
    };
    // What was finished was altered.
    bend(&|s| {
        let i = at(s, "b");
        s["resources"][i]["instances"][0]["attributes"]["triggers_replace"]["value"] = "x".into();
    });
    stack.refused(&two, Rule::Change);
    // It is another object.
    bend(&|s| {
        let i = at(s, "b");
        s["resources"][i]["instances"][0]["attributes"]["id"] = "another".into();
    });
    stack.refused(&two, Rule::LostState);
    // It is lost.
    bend(&|s| {
        let i = at(s, "b");
        s["resources"].as_array_mut().unwrap().remove(i);
    });
    stack.refused(&two, Rule::LostState);
    // What nobody wanted to touch was altered, tainted or forgotten.
    bend(&|s| {
        let i = at(s, "still");
        s["resources"][i]["instances"][0]["attributes"]["id"] = "another".into();
    });
    stack.refused(&two, Rule::Bystander);
    bend(&|s| {
        let i = at(s, "still");
        s["resources"][i]["instances"][0]["status"] = "tainted".into();
    });
    stack.refused(&two, Rule::Change);
    bend(&|s| {
        let i = at(s, "still");
        s["resources"].as_array_mut().unwrap().remove(i);
    });
    stack.refused(&two, Rule::Change);
    // A finished one was tainted by somebody.
    bend(&|s| {
        let i = at(s, "b");
        s["resources"][i]["instances"][0]["status"] = "tainted".into();
    });
    stack.refused(&two, Rule::Change);
    // What is left to be changed was altered.
    bend(&|s| {
        let i = at(s, "e");
        s["resources"][i]["instances"][0]["attributes"]["id"] = "another".into();
    });
    stack.refused(&two, Rule::Before);
    // A foreign object came into the state.
    bend(&|s| {
        let i = at(s, "still");
        let mut foreign = s["resources"][i].clone();
        foreign["name"] = "foreign".into();
        s["resources"].as_array_mut().unwrap().push(foreign);
    });
    stack.refused(&two, Rule::Change);
    // Another history altogether.
    bend(&|s| s["lineage"] = "another".into());
    stack.refused(&two, Rule::Header);
}

const MOVES: &str = r#"
moved {
  from = terraform_data.old
  to   = terraform_data.new
}
import {
  to = terraform_data.taken
  id = "abc"
}
removed {
  from = terraform_data.dropped
  lifecycle { destroy = false }
}
resource "terraform_data" "new" { input = "x" }
resource "terraform_data" "taken" { input = "q" }
resource "random_id" "r" {
  byte_length = 3
  keepers     = { v = "two" }
}
resource "null_resource" "n" {
  triggers = { r = random_id.r.hex }
  provisioner "local-exec" { command = "test ! -e fail" }
}
resource "local_file" "f" {
  content  = "r is ${null_resource.n.id}"
  filename = "${path.root}/out.txt"
}
resource "local_file" "g" {
  content  = "g"
  filename = "${path.root}/g.txt"
}
"#;

#[test]
fn moves_imports_removals_and_real_providers() {
    let before = MOVES.split("resource \"random_id\"").nth(1).unwrap().replace("two", "one");
    let mut stack = Stack::with_providers(&format!(
        "resource \"terraform_data\" \"old\" {{ input = \"x\" }}\nresource \"terraform_data\" \
         \"dropped\" {{}}\nresource \"random_id\"{before}"
    ));
    stack.deploy(&[]);
    stack.write("main.tf", MOVES);
    stack.approve(&[]);
    assert!(stack.equal(&[]).is_ok());
    assert_eq!(stack.accepted(&[], false).left.len(), 6);
    stack.write("fail", "");
    assert!(!stack.apply());
    stack.remove("fail");
    let inside = stack.accepted(&[], true);
    assert_eq!(left(&inside), ["local_file.f", "null_resource.n"]);
    assert_eq!(
        inside.done,
        ["random_id.r", "terraform_data.dropped", "terraform_data.new", "terraform_data.taken"]
    );
    // The file was changed by hand in the meantime.
    stack.write("g.txt", "by hand");
    let refused = stack.refused(&[], Rule::Drift);
    assert!(refused.has(Rule::Change), "{}", refused.to_text());
}

#[test]
fn an_approval_survives_a_new_plan_that_is_the_same_and_no_other() {
    let mut stack = Stack::new(CHAIN);
    stack.deploy(&[]);
    let two = ["-var=v=two"];
    stack.approve(&two);
    stack.equal(&two).unwrap_or_else(|refused| panic!("{}", refused.to_text()));
    assert!(stack.equal(&["-var=v=three"]).is_err());
    stack.write("main.tf", &CHAIN.replace("no id", "no  id"));
    assert!(stack.equal(&two).unwrap_err().has(Rule::Header), "another tree");
    stack.write("main.tf", CHAIN);
    assert!(stack.equal(&two).is_ok());
    stack.deploy(&["-var=v=three"]);
    assert!(stack.equal(&two).is_err(), "somebody else deployed in between");
}

#[test]
fn no_refusal_shows_a_secret() {
    let mut stack = Stack::new(CHAIN);
    stack.deploy(&[]);
    stack.approve(&["-var=v=two"]);
    let refused = stack.refused(&["-var=v=two", "-var=secret=very-secret-value"], Rule::Header);
    let said = format!("{refused:?} {refused} {}", refused.to_text());
    assert!(said.contains("var.secret") && said.contains("***"), "{said}");
    assert!(!said.contains("hunter22") && !said.contains("very-secret"), "{said}");
}

#[test]
fn a_fixture_of_every_kind_is_understood() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut seen = 0;
    for file in std::fs::read_dir(fixtures).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        let json: Value = serde_json::from_slice(&content).unwrap();
        if json.get("resource_changes").is_some() {
            Document::read(&content).unwrap();
            seen += 1;
        }
    }
    assert!(seen >= 9, "{seen}");
}

/// What is made is written to a ledger outside of the state.
const LEDGER: &str = r#"
resource "terraform_data" "a" {
  for_each = toset(["x/y", "k\"q ${"$"}{z}"])
  input    = each.key
  provisioner "local-exec" { command = "echo made >> ledger" }
}
resource "random_id" "r" {
  byte_length = 4
  depends_on  = [terraform_data.a]
}
resource "terraform_data" "kill" {
  input = random_id.r.hex
  provisioner "local-exec" {
    command = "if test -e die; then sleep 0.5; kill -9 $PPID; exit 1; fi; echo made >> ledger"
  }
}
"#;

#[test]
fn what_was_made_and_lost_is_imported_and_not_made_again() {
    let mut stack = Stack::with_providers(LEDGER);
    stack.approve(&[]);
    stack.write("die", "");
    assert!(!stack.apply());
    stack.remove("die");
    // The state never came home, as with a remote one and a tool that was killed.
    stack.remove("terraform.tfstate");
    let lost = stack.refused(&[], Rule::LostState);
    assert_eq!(lost.refusals.iter().filter(|r| r.rule == Rule::LostState).count(), 3);

    let journal = Journal::new(stack.journal.clone());
    let (_, approved) = stack.approved.as_ref().unwrap();
    let recovery = Recovery::of(&journal, None, approved).unwrap();
    assert_eq!(recovery.in_doubt.len(), 1, "{}", recovery.to_text());
    assert_eq!(recovery.in_doubt[0].address, "terraform_data.kill");
    assert_eq!(recovery.imports().len(), 3, "{}", recovery.to_text());
    stack.write("slipway_recovered.tf", &recovery.import_file().unwrap());
    let inside = stack.accepted(&[], false);
    assert_eq!(inside.rescued.len(), 3, "{inside:?}");
    assert!(!inside.may_continue(), "a person must confirm");

    // Somebody looked: the thing in doubt is not there. The rest is made, nothing twice.
    assert!(stack.apply());
    assert_eq!(std::fs::read_to_string(stack.path("ledger")).unwrap(), "made\nmade\nmade\n");
    stack.remove("slipway_recovered.tf");
    let inside = stack.accepted(&[], true);
    assert!(inside.left.is_empty() && inside.done.len() == 4, "{inside:?}");
    let recorded = std::fs::read(stack.path("terraform.tfstate")).unwrap();
    let (_, approved) = stack.approved.as_ref().unwrap();
    let journal = Journal::new(stack.journal.clone()).ended_orderly();
    let recovery = Recovery::of(&journal, Some(&recorded), approved).unwrap();
    assert!(recovery.is_clear() && recovery.done.len() == 4, "{}", recovery.to_text());
}

#[test]
fn an_import_of_something_else_is_refused() {
    let mut stack = Stack::with_providers(LEDGER);
    stack.approve(&[]);
    stack.write("die", "");
    stack.apply();
    stack.remove("die");
    stack.remove("terraform.tfstate");
    let (_, approved) = stack.approved.as_ref().unwrap();
    let recovery = Recovery::of(&Journal::new(stack.journal.clone()), None, approved).unwrap();
    let mut imports = recovery.imports();
    let other = imports.iter_mut().find(|import| import.address.contains("x/y")).unwrap();
    other.id = "somebody-elses".into();
    let file: String =
        imports.iter().map(slipway_driver_terraform::recovery::Import::to_hcl).collect();
    stack.write("slipway_recovered.tf", &file);
    let refused = stack.refused(&[], Rule::LostState);
    assert!(refused.has(Rule::Change), "{}", refused.to_text());
}

/// Modules with keys, and data that is read before and during the apply.
const MODULES: &str = r#"
variable "v" { default = "one" }
module "m" {
  source   = "./m"
  for_each = toset(["a.b", "c\"d"])
  v        = var.v
}
data "local_file" "early" { filename = "${path.root}/early.txt" }
data "local_file" "late" {
  filename   = "${path.root}/early.txt"
  depends_on = [module.m]
}
resource "terraform_data" "kill" {
  input            = [data.local_file.late.content, data.local_file.early.content]
  triggers_replace = var.v
  provisioner "local-exec" {
    command = "if test -e die; then sleep 0.5; kill -9 $PPID; exit 1; fi; test ! -e fail"
  }
}
resource "terraform_data" "end" { input = terraform_data.kill.id }
output "ids" { value = [for m in module.m : m.ids] }
"#;

const MODULE: &str = r#"
variable "v" {}
resource "terraform_data" "x" {
  count            = 2
  input            = "${var.v}-${count.index}"
  triggers_replace = var.v
}
output "ids" { value = terraform_data.x[*].id }
"#;

#[test]
fn modules_and_data_are_carried_on_unless_the_data_changed() {
    let mut stack = Stack::with_providers(
        "resource \"local_file\" \"unused\" {\n  count    = 0\n  content  = \"\"\n  filename = \"x\"\n}\n",
    );
    std::fs::create_dir(stack.path("m")).unwrap();
    stack.write("m/main.tf", MODULE);
    stack.write("main.tf", MODULES);
    stack.write("early.txt", "early");
    assert!(stack.tool(&["init", "-input=false"]).status.success());
    stack.deploy(&[]);
    let two = ["-var=v=two"];
    stack.approve(&two);
    assert!(stack.equal(&two).is_ok());
    stack.write("fail", "");
    assert!(!stack.apply());
    stack.remove("fail");
    let inside = stack.accepted(&two, true);
    assert_eq!(left(&inside), ["terraform_data.end", "terraform_data.kill"]);
    assert_eq!(inside.done.len(), 4, "{inside:?}");
    assert!(inside.done.contains(&r#"module.m["c\"d"].terraform_data.x[1]"#.to_owned()));
    assert!(inside.filled.iter().any(|f| f.address == "data.local_file.late"), "{inside:?}");
    // What is mixed into an unknown value came from data that is another now.
    stack.write("early.txt", "another");
    stack.refused(&two, Rule::Bystander);
    stack.write("early.txt", "early");
    assert!(stack.apply_fresh(&two));
    assert!(stack.accepted(&two, true).left.is_empty());
}

impl Stack {
    /// Plans anew and applies that, as part of the same run.
    fn apply_fresh(&mut self, args: &[&str]) -> bool {
        self.plan(args);
        self.apply()
    }
}
