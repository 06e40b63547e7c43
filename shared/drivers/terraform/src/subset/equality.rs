//! Whether two plans are equal: nothing was done in between, and nothing is filled in.

use std::collections::BTreeSet;

use super::document::{Act, Document, Key, NULL};
use super::rules::{Proof, Step, tree, words};
use super::verdict::{Rule, Shown};
use super::walk::Holes;

impl Proof<'_> {
    /// Whether two plans do exactly the same, to exactly the same.
    pub(super) fn equality(&mut self, a: &Document, b: &Document) {
        let keys: BTreeSet<&Key> = a.changes.keys().chain(b.changes.keys()).collect();
        for key in keys {
            let address = &key.to_string();
            let (Some(old), Some(new)) = (a.changes.get(key), b.changes.get(key)) else {
                let which = if a.changes.contains_key(key) { "approved" } else { "new" };
                let something = |plan: &Document| {
                    plan.changes.get(key).is_some_and(|c| c.is_something() || c.act == Act::Read)
                };
                if something(a) || something(b) {
                    let detail = format!("only the {which} plan does something here");
                    self.refuse(Rule::Change, address, "", &detail);
                }
                continue;
            };
            self.statics(address, old, new);
            let (a_words, b_words) = (words(old), words(new));
            if a_words != b_words || old.reason() != new.reason() {
                let shown = |text: String| Some(Shown { text, mac: None });
                self.push(
                    Rule::Change,
                    address,
                    "",
                    "another action",
                    shown(a_words),
                    shown(b_words),
                );
                continue;
            }
            if old.importing() != new.importing() || old.previous() != new.previous() {
                self.refuse(Rule::Change, address, "", "another import or move than approved");
            }
            self.before(address, old, new, Step::Same);
            self.settings(address, old, new, Step::Same);
            let found = self.compare(address, Holes::Keep, tree(old), tree(new));
            self.refuse_all(Rule::After, address, found);
            let identities = (old.part("after_identity"), new.part("after_identity"));
            self.same(Rule::After, address, (identities.0, &NULL), (identities.1, &NULL));
            self.hidden(address, old, new, Step::Same);
        }
        self.bystanders_of_equals(a, b);
        self.drift(a, b);
        for key in a.drift.keys().filter(|key| !b.drift.contains_key(key)) {
            let detail = "had changed outside, and the new plan does not say so";
            self.refuse(Rule::Drift, &key.to_string(), "", detail);
        }
        let names: BTreeSet<&String> = a.outputs.keys().chain(b.outputs.keys()).collect();
        for name in names {
            let address = &format!("output.{name}");
            match (a.outputs.get(name), b.outputs.get(name)) {
                (Some(old), Some(new)) if old.act == new.act => {
                    let found = self.compare(address, Holes::Keep, tree(old), tree(new));
                    self.refuse_all(Rule::Outputs, address, found);
                    let marks = (old.part("before_sensitive"), new.part("before_sensitive"));
                    self.same(
                        Rule::Outputs,
                        address,
                        (old.before(), marks.0),
                        (new.before(), marks.1),
                    );
                    let marks = ("before_sensitive", "after_sensitive");
                    for mark in [marks.0, marks.1] {
                        self.covered(Rule::Outputs, address, old.part(mark), new.part(mark));
                    }
                }
                _ => self.refuse(Rule::Outputs, address, "", "another action than approved"),
            }
        }
    }

    /// Of equal plans, every object of the state is the same.
    fn bystanders_of_equals(&mut self, a: &Document, b: &Document) {
        let keys: BTreeSet<&Key> = a.objects.keys().chain(b.objects.keys()).collect();
        for key in keys {
            let address = &key.to_string();
            match (a.objects.get(key), b.objects.get(key)) {
                (Some(old), Some(new)) => self.unmoved(address, old, new),
                _ => self.refuse(Rule::Bystander, address, "", "is in one of the states only"),
            }
        }
    }
}
