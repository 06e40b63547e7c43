//! Rules 2 to 8 and 11: what is in the new plan was in the approved one, and what is in neither
//! any more was done, by this run.

use slipway_domain::plan::Action;

use super::document::{Act, Change, Document, Key, NULL, Veil};
use super::json::Json;
use super::verdict::{Filled, Inside, Left, Refusal, Rule, Shown};
use super::walk::{Difference, Found, Holes, RunKey, Tree, Walk, uncovered};
use crate::journal::{Journal, Phase};

/// Fields of an entry that never differ between two plans of one configuration.
const STATIC: [&str; 6] = ["mode", "type", "name", "index", "module_address", "provider_name"];

/// A proof in the making.
pub(super) struct Proof<'a> {
    pub(super) key: &'a RunKey,
    pub(super) veil: &'a Veil<'a>,
    /// What the run did; `None` when nothing was, and the plans must be equal.
    pub(super) journal: Option<&'a Journal>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) inside: Inside,
    /// Whether a half of a replacement is done.
    half_done: bool,
}

/// How a change of the new plan follows from an approved one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the same.
    Same,
    /// The delete of a replacement is done, the create is left.
    Create,
    /// The import is done, the update is left.
    Imported,
    /// What this run made is broken, and is made anew.
    Tainted,
    /// What this run made is lost to the state, and is taken in again.
    Rescued,
}

impl<'a> Proof<'a> {
    pub(super) fn new(key: &'a RunKey, veil: &'a Veil<'a>, journal: Option<&'a Journal>) -> Self {
        let inside = Inside::default();
        Self { key, veil, journal, refusals: Vec::new(), inside, half_done: false }
    }

    pub(super) fn push(
        &mut self,
        rule: Rule,
        address: &str,
        path: &str,
        detail: &str,
        approved: Option<Shown>,
        new: Option<Shown>,
    ) {
        let path = self.veil.text(path);
        let (address, detail) = (self.veil.text(address), self.veil.text(detail));
        self.refusals.push(Refusal { rule, address, path, approved, new, detail });
    }

    pub(super) fn refuse(&mut self, rule: Rule, address: &str, path: &str, detail: &str) {
        self.push(rule, address, path, detail, None, None);
    }

    pub(super) fn refuse_difference(&mut self, rule: Rule, address: &str, d: Difference) {
        self.push(rule, address, &d.path, d.what, d.approved, d.new);
    }

    pub(super) fn compare(
        &self,
        address: &str,
        holes: Holes,
        approved: Tree<'_>,
        new: Tree<'_>,
    ) -> Found {
        Walk::new(self.key, self.veil, address, holes).compare(approved, new)
    }

    pub(super) fn refuse_all(&mut self, rule: Rule, address: &str, found: Found) {
        for difference in found.differences {
            self.refuse_difference(rule, address, difference);
        }
    }

    /// Compares what must be known and the same.
    pub(super) fn same(&mut self, rule: Rule, address: &str, a: (&Json, &Json), b: (&Json, &Json)) {
        let found =
            self.compare(address, Holes::Keep, Tree::known(a.0, a.1), Tree::known(b.0, b.1));
        self.refuse_all(rule, address, found);
    }

    fn journal(&self) -> &'a Journal {
        static NONE: std::sync::LazyLock<Journal> = std::sync::LazyLock::new(Journal::default);
        self.journal.unwrap_or(&NONE)
    }

    fn began(&self, address: &str, action: Action) -> bool {
        self.journal().history(address, action).started > 0
    }

    /// Rules 2 to 10 for the rest of a run.
    pub(super) fn rest(&mut self, a: &Document, b: &Document) {
        self.lost(b);
        for (key, change) in b.effective() {
            self.change(a, b, key, change);
        }
        self.reads(a, b);
        for (key, approved) in a.effective() {
            if b.changes.get(key).is_none_or(|change| !change.is_something()) {
                self.finished(b, key, approved);
            }
        }
        self.bystanders(a, b);
        self.drift(a, b);
        self.outputs(a, b);
    }

    /// Rule 2: what was made is there, and is what was made.
    fn lost(&mut self, b: &Document) {
        let journal = self.journal();
        for address in journal.created() {
            let made = journal.history(address, Action::Create).completed;
            let object = b.objects.get(&Key::of(address));
            let Some(object) = object else {
                let detail = "was made by this run, and the state does not know it";
                self.refuse(Rule::LostState, address, "", detail);
                continue;
            };
            let Some((key, id)) =
                made.and_then(|entry| Some((entry.id_key.as_ref()?, entry.id_value.as_ref()?)))
            else {
                continue;
            };
            let same = match object.values().get(key) {
                None | Some(Json::Null) => false,
                Some(Json::String(value)) => value == id,
                Some(other) => other.canonical() == *id,
            };
            if !same {
                let detail = "was made by this run, and the state has another object in its place";
                let path = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
                self.refuse(Rule::LostState, address, &path, detail);
            }
        }
    }

    /// Rules 3 to 7 for one change of the new plan.
    fn change(&mut self, a: &Document, b: &Document, key: &Key, change: &Change) {
        let address = &key.to_string();
        let approved = a.changes.get(key).filter(|approved| approved.is_something());
        let Some(approved) = approved else {
            if !self.deposed_half(a, b, key, change) {
                self.push_unapproved(a, key, change);
            }
            return;
        };
        self.statics(address, approved, change);
        let Some(step) = self.step(key, approved, change) else { return };
        self.before(address, approved, change, step);
        self.after(address, approved, change, step);
        self.hidden(address, approved, change, step);
        self.settings(address, approved, change, step);
        if change.act.makes() && step != Step::Tainted {
            let made = self.journal().history(&key.address, Action::Create);
            if made.ended == Some(Phase::Completed) {
                // Also where the tool did not say by what to know it, and the state has its
                // predecessor in its place.
                let told = |r: &Refusal| r.rule == Rule::LostState && r.address == *address;
                if !self.refusals.iter().any(told) {
                    let detail = "was made by this run, and would be made again";
                    self.refuse(Rule::LostState, address, "", detail);
                }
            } else if self.journal().create_in_doubt(&key.address) {
                self.inside.in_doubt.push(address.clone());
            }
        }
        self.half_done |= step != Step::Same;
        self.inside.left.push(Left {
            address: address.clone(),
            action: words(change),
            rest_of_a_change: step != Step::Same,
        });
    }

    pub(super) fn push_unapproved(&mut self, a: &Document, key: &Key, change: &Change) {
        let other = a.changes.get(key).map_or("nothing", |approved| approved.act.word());
        let shown = |text: &str| Some(Shown { text: text.to_owned(), mac: None });
        self.push(
            Rule::Change,
            &key.to_string(),
            "",
            "the approved plan does nothing here",
            shown(other),
            shown(&words(change)),
        );
    }

    pub(super) fn statics(&mut self, address: &str, approved: &Change, change: &Change) {
        for name in STATIC {
            if approved.field(name) != change.field(name) {
                let of = |change: &Change| {
                    Some(Shown { text: self.veil.text(&change.field(name).canonical()), mac: None })
                };
                let (old, new) = (of(approved), of(change));
                self.push(
                    Rule::Change,
                    address,
                    "",
                    &format!("its {name} is another one"),
                    old,
                    new,
                );
            }
        }
    }

    /// How the change follows from the approved one; refused when it does not.
    fn step(&mut self, key: &Key, approved: &Change, change: &Change) -> Option<Step> {
        let address = &key.to_string();
        if self.rescues(key, approved, change) {
            self.inside.rescued.push(address.clone());
            return Some(Step::Rescued);
        }
        let tainted = change.reason() == Some("replace_because_tainted");
        let step = match (approved.act, change.act) {
            (old, Act::DeleteCreate | Act::CreateDelete)
                if tainted && (old != change.act || approved.reason() != change.reason()) =>
            {
                let making = self.journal().history(&key.address, Action::Create);
                let broken = making.started > 0 && making.ended != Some(Phase::Completed);
                if old.makes() && key.deposed.is_none() && broken {
                    Some(Step::Tainted)
                } else {
                    let detail = "it would be replaced because it is tainted, and it is not this \
                                  run that left it half made";
                    self.refuse(Rule::Change, address, "", detail);
                    return None;
                }
            }
            (old, new) if old == new => {
                // Equal reasons, or the person was told another one.
                (approved.reason() == change.reason()).then_some(Step::Same)
            }
            (Act::DeleteCreate, Act::Create) => {
                if !self.began(&key.address, Action::Delete) {
                    let detail = "is gone already, and this run did not begin to delete it";
                    self.refuse(Rule::Change, address, "", detail);
                    return None;
                }
                Some(Step::Create)
            }
            _ => None,
        };
        if step.is_none() {
            let shown = |change: &Change| {
                let reason = change.reason().map(|reason| format!(" ({reason})"));
                Some(Shown { text: words(change) + &reason.unwrap_or_default(), mac: None })
            };
            let (old, new) = (shown(approved), shown(change));
            self.push(Rule::Change, address, "", "another action", old, new);
            return None;
        }
        match (approved.importing(), change.importing()) {
            (old, new) if old == new => {}
            (Some(_), None) if step == Some(Step::Same) && change.act == Act::Update => {
                return Some(Step::Imported);
            }
            _ => {
                self.refuse(Rule::Change, address, "", "another import than approved");
                return None;
            }
        }
        match (approved.previous(), change.previous()) {
            (old, new) if old == new => {}
            // The move is in the state already.
            (Some(_), None) => {}
            _ => {
                self.refuse(Rule::Change, address, "", "another move than approved");
                return None;
            }
        }
        step
    }

    /// Whether the change takes in what the journal says was made here: by its id, and nothing
    /// else of it is known to be another.
    fn rescues(&self, key: &Key, approved: &Change, change: &Change) -> bool {
        let Some(importing) = change.importing() else { return false };
        let made = self.journal().history(&key.address, Action::Create).completed;
        let id = made
            .filter(|entry| entry.id_key.as_deref() == Some("id"))
            .and_then(|entry| entry.id_value.as_deref())
            .filter(|id| !id.is_empty());
        let Some(id) = id else { return false };
        // What it replaces would be forgotten.
        let alone = *approved.before() == Json::Null
            || self.journal().history(&key.address, Action::Delete).ended == Some(Phase::Completed);
        key.deposed.is_none()
            && alone
            && approved.act.makes()
            && approved.importing().is_none()
            && matches!(change.act, Act::Nothing | Act::Update)
            && change.previous().is_none()
            && importing.get("id").and_then(Json::str) == Some(id)
            && importing.get("identity").is_none_or(|identity| *identity == Json::Null)
            && change.before().get("id").and_then(Json::str) == Some(id)
    }

    /// Rule 5.
    pub(super) fn before(&mut self, address: &str, approved: &Change, change: &Change, step: Step) {
        let new = (change.before(), change.part("before_sensitive"));
        match step {
            Step::Same | Step::Imported => {
                let old = (approved.before(), approved.part("before_sensitive"));
                self.same(Rule::Before, address, old, new);
            }
            Step::Create => self.same(Rule::Before, address, (&NULL, &NULL), new),
            // What is removed is what was to be made, as far as it came.
            Step::Tainted => {
                let old = Tree {
                    value: approved.after(),
                    unknown: approved.part("after_unknown"),
                    marks: approved.part("after_sensitive"),
                };
                let found = self.compare(address, Holes::Half, old, Tree::known(new.0, new.1));
                self.refuse_all(Rule::Before, address, found);
            }
            // It is ours by its id; what an import learns of it differs from provider to provider.
            Step::Rescued => {}
        }
        let identities = match step {
            Step::Same | Step::Imported => approved.part("before_identity"),
            Step::Create => &NULL,
            Step::Tainted | Step::Rescued => return,
        };
        let new = change.part("before_identity");
        self.same(Rule::Before, address, (identities, &NULL), (new, &NULL));
    }

    /// Rule 6.
    fn after(&mut self, address: &str, approved: &Change, change: &Change, step: Step) {
        if approved.part("after_unknown").is_true() {
            let detail = "nothing of the result was known when it was approved";
            self.refuse(Rule::After, address, "", detail);
            return;
        }
        let found = self.compare(address, Holes::Fill, tree(approved), tree(change));
        for path in &found.filled {
            self.inside.filled.push(Filled { address: address.to_owned(), path: path.clone() });
        }
        self.refuse_all(Rule::After, address, found);
        if step == Step::Same || step == Step::Imported {
            let (old, new) = (approved.part("after_identity"), change.part("after_identity"));
            self.same(Rule::After, address, (old, &NULL), (new, &NULL));
        }
    }

    /// Rule 7.
    pub(super) fn hidden(&mut self, address: &str, approved: &Change, change: &Change, step: Step) {
        let mut pairs = vec![("after_sensitive", "after_sensitive")];
        match step {
            Step::Same | Step::Imported => pairs.push(("before_sensitive", "before_sensitive")),
            Step::Tainted => pairs.push(("after_sensitive", "before_sensitive")),
            Step::Create | Step::Rescued => {}
        }
        for (old, new) in pairs {
            self.covered(Rule::Sensitivity, address, approved.part(old), change.part(new));
        }
    }

    pub(super) fn covered(&mut self, rule: Rule, address: &str, approved: &Json, new: &Json) {
        for path in uncovered(approved, new) {
            self.refuse(rule, address, &path, "was hidden when it was approved, and is not now");
        }
    }

    /// What else an entry says about how it is done.
    pub(super) fn settings(
        &mut self,
        address: &str,
        approved: &Change,
        change: &Change,
        step: Step,
    ) {
        if approved.part("generated_config") != change.part("generated_config") {
            self.refuse(Rule::Change, address, "", "has another generated configuration");
        }
        if step == Step::Same && approved.part("replace_paths") != change.part("replace_paths") {
            self.refuse(Rule::Change, address, "", "is replaced because of other attributes");
        }
    }

    /// The second half of a create-before-destroy: the old object, now deposed.
    fn deposed_half(&mut self, a: &Document, b: &Document, key: &Key, change: &Change) -> bool {
        let main = Key::of(&key.address);
        let Some(approved) = a.changes.get(&main) else { return false };
        if key.deposed.is_none()
            || approved.act != Act::CreateDelete
            || change.act != Act::Delete
            || change.importing().is_some()
            || change.previous().is_some()
        {
            return false;
        }
        let address = &key.to_string();
        // Otherwise both halves are left, and would be done in any order.
        if b.changes.get(&main).is_some_and(|main| main.act.makes()) {
            let detail = "the old object would be removed before the new one is there";
            self.refuse(Rule::Change, address, "", detail);
            return true;
        }
        if !self.began(&key.address, Action::Create) {
            let detail = "is deposed, and this run did not begin to make its successor";
            self.refuse(Rule::Change, address, "", detail);
            return true;
        }
        let twins = b.at(&key.address).filter(|(other, twin)| {
            other.deposed.is_some() && twin.is_something() && !a.changes.contains_key(other)
        });
        // More than one: the successor was made, broke and was deposed too. A person should look.
        if twins.count() > 1 {
            let detail = "more than one deposed object has to go, and one was approved";
            self.refuse(Rule::Change, address, "", detail);
            return true;
        }
        self.statics(address, approved, change);
        let marks = (approved.part("before_sensitive"), change.part("before_sensitive"));
        // Secrets are bound to their address, which both have in common.
        let found = self.compare(
            &key.address,
            Holes::Keep,
            Tree::known(approved.before(), marks.0),
            Tree::known(change.before(), marks.1),
        );
        self.refuse_all(Rule::Before, address, found);
        let none = (&NULL, &NULL);
        self.same(Rule::After, address, none, (change.after(), change.part("after_unknown")));
        self.covered(Rule::Sensitivity, address, marks.0, marks.1);
        self.half_done = true;
        let (address, action) = (address.clone(), words(change));
        self.inside.left.push(Left { address, action, rest_of_a_change: true });
        true
    }

    /// Rule 8: what is not in the new plan any more was done, as approved.
    fn finished(&mut self, b: &Document, key: &Key, approved: &Change) {
        let address = &key.to_string();
        let did = match approved.act {
            Act::Create | Act::DeleteCreate | Act::CreateDelete => Some(Action::Create),
            Act::CreateForget | Act::ForgetCreate => Some(Action::Create),
            Act::Update => Some(Action::Update),
            Act::Delete => Some(Action::Delete),
            // The tool does not report what only changes the state.
            Act::Forget | Act::Nothing | Act::Read => None,
        };
        if let Some(action) = did
            && !self.began(&key.address, action)
        {
            let detail = "is not in the new plan any more, and this run did not begin it: somebody \
                          else did";
            self.refuse(Rule::Finished, address, "", detail);
        }
        let replaces = matches!(approved.act, Act::DeleteCreate | Act::CreateDelete);
        if replaces && !rest_left(b, key) && !self.began(&key.address, Action::Delete) {
            let detail = "was to be replaced, and this run did not begin to delete the old one";
            self.refuse(Rule::Finished, address, "", detail);
        }
        let object = b.objects.get(key);
        if matches!(approved.act, Act::Delete | Act::Forget) {
            if object.is_some() {
                self.refuse(Rule::Finished, address, "", "was to go, and is in the state");
            }
        } else if let Some(object) = object {
            if object.is_tainted() {
                self.refuse(Rule::Finished, address, "", "is tainted");
            }
            for name in ["mode", "type", "name", "index", "provider_name"] {
                if approved.field(name) != object.field(name) {
                    let detail = format!("the state has another {name}");
                    self.refuse(Rule::Finished, address, "", &detail);
                }
            }
            let new = Tree::known(object.values(), object.field("sensitive_values"));
            let found = self.compare(address, Holes::Fill, tree(approved), new);
            self.refuse_all(Rule::Finished, address, found);
        } else {
            self.refuse(Rule::Finished, address, "", "is not in the state");
        }
        if !rest_left(b, key) {
            self.inside.done.push(address.clone());
        }
    }

    /// Rule 11.
    pub(super) fn progress(&mut self, a: &Document, b: &Document, carry: super::Carry) {
        if carry.number > carry.max {
            let detail = format!(
                "the approved plan has been carried on {} times, which is as often as it may be",
                carry.max
            );
            self.refuse(Rule::Progress, "", "", &detail);
        }
        let weight = |plan: &Document| plan.effective().map(|(_, c)| c.act.weight()).sum::<usize>();
        let count = |plan: &Document| plan.effective().count();
        let gets_on = weight(b) < weight(a) || count(b) < count(a) || self.half_done;
        if !gets_on && !carry.retryable {
            let detail = "nothing of the approved plan was done, and what stopped it would stop it \
                          again";
            self.refuse(Rule::Progress, "", "", detail);
        }
    }
}

/// Whether something is left to do at the address, to another object than this.
fn rest_left(b: &Document, key: &Key) -> bool {
    b.at(&key.address).any(|(other, change)| other != key && change.is_something())
}

pub(super) fn tree(change: &Change) -> Tree<'_> {
    Tree {
        value: change.after(),
        unknown: change.part("after_unknown"),
        marks: change.part("after_sensitive"),
    }
}

/// What is done, with what only the state learns.
pub(super) fn words(change: &Change) -> String {
    let what = match (change.act, change.importing(), change.previous()) {
        (Act::Nothing, Some(_), _) => "import",
        (Act::Nothing, None, Some(_)) => "move",
        (Act::Update, Some(_), _) => "import and update",
        (act, _, _) => act.word(),
    };
    what.to_owned()
}
