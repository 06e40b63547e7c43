//! Rules 9 and 10, and what is around the changes: data that is read, and bystanders.

use super::document::{Act, Change, Document, Key, Object};
use super::rules::{Proof, tree};
use super::verdict::{Filled, Rule};
use super::walk::Holes;

impl Proof<'_> {
    /// Data sources that are read during the apply: no others than those of the approved plan.
    pub(super) fn reads(&mut self, a: &Document, b: &Document) {
        for (key, change) in b.changes.iter().filter(|(_, change)| change.act == Act::Read) {
            let address = &key.to_string();
            let Some(approved) = a.changes.get(key).filter(|old| old.act == Act::Read) else {
                self.push_unapproved(a, key, change);
                continue;
            };
            self.statics(address, approved, change);
            let found = self.compare(address, Holes::Fill, tree(approved), tree(change));
            self.refuse_all(Rule::After, address, found);
            let (old, new) = (approved.part("after_sensitive"), change.part("after_sensitive"));
            self.covered(Rule::Sensitivity, address, old, new);
        }
    }

    /// What the plan leaves alone and what it reads is as it was.
    pub(super) fn bystanders(&mut self, a: &Document, b: &Document) {
        // What is touched, the other rules look at. What is left alone at an address where only a
        // deposed object goes is a bystander like any other.
        let touched = |key: &Key| a.changes.get(key).is_some_and(Change::is_something);
        for (key, object) in &b.objects {
            let rest = key.deposed.is_some()
                && touched(&Key::of(&key.address))
                && b.changes.get(key).is_some_and(Change::is_something);
            if touched(key) || rest {
                continue;
            }
            let address = &key.to_string();
            match a.objects.get(key) {
                Some(old) => self.unmoved(address, old, object),
                // A data source that could only be read now, or was to be read by the apply.
                None if object.is_data() => self.read_now(a, address, key),
                None => {
                    let detail = "is in the state, and was neither there nor planned when it was \
                                  approved";
                    self.refuse(Rule::Bystander, address, "", detail);
                }
            }
        }
        for (key, object) in &a.objects {
            if !b.objects.contains_key(key) && !touched(key) && !object.is_data() {
                let detail = "was in the state, and is gone; nobody planned that";
                self.refuse(Rule::Bystander, &key.to_string(), "", detail);
            }
        }
    }

    pub(super) fn unmoved(&mut self, address: &str, old: &Object, new: &Object) {
        let (a, b) = (old.field("sensitive_values"), new.field("sensitive_values"));
        self.same(Rule::Bystander, address, (old.values(), a), (new.values(), b));
        if old.is_tainted() != new.is_tainted() {
            self.refuse(Rule::Bystander, address, "", "is tainted in one of the states only");
        }
    }

    fn read_now(&mut self, a: &Document, address: &str, key: &Key) {
        let planned = a.changes.get(key).is_some_and(|change| change.act == Act::Read);
        if planned {
            self.inside.filled.push(Filled { address: address.to_owned(), path: String::new() });
        } else {
            let detail = "is read, and was neither read nor planned when it was approved";
            self.refuse(Rule::Bystander, address, "", detail);
        }
    }

    /// Rule 9: every entry of drift was there when it was approved.
    pub(super) fn drift(&mut self, a: &Document, b: &Document) {
        for (key, change) in &b.drift {
            let known = a.drift.get(key).is_some_and(|old| old.whole() == change.whole());
            if !known {
                let detail = format!("has changed outside ({})", change.act.word());
                self.refuse(Rule::Drift, &key.to_string(), "", &detail);
            }
        }
    }

    /// Rule 10.
    pub(super) fn outputs(&mut self, a: &Document, b: &Document) {
        for (name, change) in &b.outputs {
            let address = &format!("output.{name}");
            let approved = a.outputs.get(name);
            let Some(approved) = approved.filter(|approved| approved.act != Act::Nothing) else {
                if change.act != Act::Nothing {
                    self.refuse(Rule::Outputs, address, "", "was not to change");
                }
                continue;
            };
            let goes = |act| act == Act::Delete;
            if change.act != Act::Nothing && goes(approved.act) != goes(change.act) {
                self.refuse(Rule::Outputs, address, "", "another action than approved");
                continue;
            }
            let found = self.compare(address, Holes::Fill, tree(approved), tree(change));
            for path in &found.filled {
                self.inside.filled.push(Filled { address: address.clone(), path: path.clone() });
            }
            self.refuse_all(Rule::Outputs, address, found);
            let (old, new) = (approved.part("after_sensitive"), change.part("after_sensitive"));
            self.covered(Rule::Outputs, address, old, new);
        }
        for (name, approved) in &a.outputs {
            let gone = !b.outputs.contains_key(name);
            let address = &format!("output.{name}");
            if gone && approved.act == Act::Delete && b.state_output(name).is_some() {
                self.refuse(Rule::Outputs, address, "", "was to go, and is in the state");
            } else if gone && approved.act != Act::Delete {
                self.refuse(Rule::Outputs, address, "", "is not in the new plan");
            }
        }
    }
}
