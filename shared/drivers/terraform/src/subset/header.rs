//! Rule 1: both plans are of the same things, and whole; and rule 11, that carrying on ends.

use slipway_domain::plan::{Binding, StateMark};

use super::document::{Document, NULL};
use super::json::Json;
use super::rules::Proof;
use super::verdict::{Rule, Shown};
use super::walk::{Holes, Tree, any, clip};

/// Which of two plans.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) binding: &'a Binding,
    pub(super) plan: &'a Document,
}

impl Proof<'_> {
    /// Everything that must be equal, whatever was done.
    pub(super) fn header(&mut self, a: Side<'_>, b: Side<'_>) {
        self.bindings(a.binding, b.binding);
        for (side, which) in [(a, "approved"), (b, "new")] {
            self.whole(side, which);
        }
        let (a_plan, b_plan) = (a.plan, b.plan);
        for (part, what) in [
            ("format_version", "the format of the plan is another one"),
            ("terraform_version", "the plan was made by another version of the tool"),
        ] {
            let of = |plan: &Document| plan.top(part).canonical();
            if of(a_plan) != of(b_plan) {
                self.refuse_values(Rule::Header, "", "", what, of(a_plan), of(b_plan));
            }
        }
        // Where, not what: literals of a configuration may be secrets that nothing marks.
        let compared = self.compare(
            "configuration",
            Holes::Keep,
            Tree::known(a_plan.top("configuration"), &NULL),
            Tree::known(b_plan.top("configuration"), &NULL),
        );
        for difference in compared.differences {
            self.refuse(Rule::Header, "configuration", &difference.path, "is another one");
        }
        self.variables(a_plan, b_plan);
        self.checks(a_plan, b_plan);
    }

    fn bindings(&mut self, a: &Binding, b: &Binding) {
        let texts = [
            ("the source tree is another one", a.source.clone(), b.source.clone()),
            (
                "the dependency lock file is another one",
                a.lock_file.clone().unwrap_or_else(|| "none".to_owned()),
                b.lock_file.clone().unwrap_or_else(|| "none".to_owned()),
            ),
            ("the variables have another digest", a.variables.clone(), b.variables.clone()),
            ("the tool is another one", a.tool.to_string(), b.tool.to_string()),
            ("the operation is another one", a.operation.clone(), b.operation.clone()),
        ];
        for (what, approved, new) in texts {
            if approved != new {
                self.refuse_values(Rule::Header, "", "", what, approved, new);
            }
        }
        let (a, b) = (&a.state, &b.state);
        // A first deployment is planned without a state; what this run wrote since has a lineage.
        if a.lineage != b.lineage && !a.lineage.is_empty() {
            let (approved, new) = (a.lineage.clone(), b.lineage.clone());
            let what = "the state is of another lineage";
            self.refuse_values(Rule::Header, "", "", what, approved, new);
        }
        if b.serial < a.serial {
            self.serial(a, b, "the state is older than the approved one");
        }
    }

    /// What was done is in a newer state, or was lost; then it must be taken in again, which rule
    /// 2 and the imports are about.
    pub(super) fn newer(&mut self, a: &Binding, b: &Binding) {
        let grows = self.journal.is_some_and(crate::journal::Journal::has_completes);
        if grows && b.state.serial == a.state.serial && self.inside.rescued.is_empty() {
            let what = "the run has finished something, and the state is not newer than the \
                        approved one";
            self.serial(&a.state, &b.state, what);
        }
    }

    fn serial(&mut self, a: &StateMark, b: &StateMark, what: &str) {
        let (approved, new) = (a.serial.to_string(), b.serial.to_string());
        self.refuse_values(Rule::Header, "", "", what, approved, new);
    }

    /// A plan that is complete, without errors, and has nothing that is decided later.
    fn whole(&mut self, side: Side<'_>, which: &str) {
        let plan = side.plan;
        if plan.top("terraform_version").str() != Some(side.binding.tool.version.as_str()) {
            let detail = format!("the {which} plan was not made by the tool that is on record");
            self.refuse(Rule::Header, "", "", &detail);
        }
        // OpenTofu knows no deferred changes and does not write these.
        let may_be_absent = side.binding.tool.name == "tofu";
        for (name, wanted) in [("errored", false), ("complete", true)] {
            let fine = match plan.top(name) {
                Json::Bool(value) => *value == wanted,
                Json::Null => may_be_absent,
                _ => false,
            };
            if !fine {
                let detail = format!("the {which} plan does not say that it is whole (`{name}`)");
                self.refuse(Rule::Header, "", "", &detail);
            }
        }
        for name in [
            "deferred_changes",
            "deferred_action_invocations",
            "action_invocations",
            "proposed_unknown",
        ] {
            if !plan.top(name).is_nothing() {
                let detail =
                    format!("the {which} plan has `{name}`, about which nothing can be proved");
                self.refuse(Rule::Header, "", "", &detail);
            }
        }
    }

    fn variables(&mut self, a: &Document, b: &Document) {
        let names = |plan: &Document| match plan.top("variables") {
            Json::Object(fields) => fields.keys().cloned().collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        let mut all = names(a);
        all.extend(names(b));
        all.sort();
        all.dedup();
        let hidden = Json::Bool(true);
        for name in all {
            let hides = a.hides_variable(&name) || b.hides_variable(&name);
            let marks = if hides { &hidden } else { &NULL };
            let of = |plan: &Document| plan.top("variables").get(&name).cloned();
            let address = format!("var.{name}");
            let (Some(old), Some(new)) = (of(a), of(b)) else {
                self.refuse(Rule::Header, &address, "", "is set in one of the plans only");
                continue;
            };
            let found = self.compare(
                &address,
                Holes::Keep,
                Tree::known(&old, marks),
                Tree::known(&new, marks),
            );
            for mut difference in found.differences {
                if let Some(rest) = difference.path.strip_prefix("/value") {
                    difference.path = rest.to_string();
                }
                self.refuse_difference(Rule::Header, &address, difference);
            }
        }
        if any_shape(a.top("variables")) || any_shape(b.top("variables")) {
            self.refuse(Rule::Header, "", "", "the variables of a plan cannot be read");
        }
    }

    /// A check that fails, and did not when the plan was approved.
    fn checks(&mut self, a: &Document, b: &Document) {
        for (name, status) in &b.checks {
            let fails = !matches!(status.as_str(), "pass" | "unknown");
            let before = a.checks.get(name);
            if fails && before != Some(status) {
                let before = before.map_or("(absent)", String::as_str).to_owned();
                let what = "a check fails that did not";
                self.refuse_values(Rule::Header, name, "", what, before, status.clone());
            }
        }
    }

    fn refuse_values(
        &mut self,
        rule: Rule,
        address: &str,
        path: &str,
        what: &str,
        approved: String,
        new: String,
    ) {
        let shown = |text: String| Some(Shown { text: clip(&self.veil.text(&text)), mac: None });
        let (approved, new) = (shown(approved), shown(new));
        self.push(rule, address, path, what, approved, new);
    }
}

/// Whether it is anything but an object or absent.
fn any_shape(value: &Json) -> bool {
    !matches!(value, Json::Null | Json::Object(_)) && any(value)
}
