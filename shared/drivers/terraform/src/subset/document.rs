//! A plan as `show -json` writes it, read strictly: a part that this version does not know is an
//! error, because it could be something that an apply does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use slipway_domain::redact::Redactor;

use super::json::{Bad, Json};

/// Format versions whose every part is known here.
const FORMATS: [&str; 3] = ["1.0", "1.1", "1.2"];

const TOP: [&str; 19] = [
    "format_version",
    "terraform_version",
    "variables",
    "planned_values",
    "proposed_unknown",
    "resource_drift",
    "resource_changes",
    "deferred_changes",
    "deferred_action_invocations",
    "action_invocations",
    "output_changes",
    "prior_state",
    "configuration",
    "relevant_attributes",
    "checks",
    "timestamp",
    "applyable",
    "complete",
    "errored",
];

const RESOURCE: [&str; 11] = [
    "address",
    "previous_address",
    "module_address",
    "mode",
    "type",
    "name",
    "index",
    "provider_name",
    "deposed",
    "change",
    "action_reason",
];

const CHANGE: [&str; 11] = [
    "actions",
    "before",
    "after",
    "after_unknown",
    "before_sensitive",
    "after_sensitive",
    "replace_paths",
    "importing",
    "generated_config",
    "before_identity",
    "after_identity",
];

/// What stands for a value that is absent.
pub(super) static NULL: Json = Json::Null;

/// A plan in its JSON form. Holds secrets; its `Debug` shows none.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    root: Json,
    /// By address and deposed key.
    pub(super) changes: BTreeMap<Key, Change>,
    pub(super) drift: BTreeMap<Key, Change>,
    pub(super) outputs: BTreeMap<String, Change>,
    /// What is in the state that the plan was made against, after the refresh.
    pub(super) objects: BTreeMap<Key, Object>,
    pub(super) checks: BTreeMap<String, String>,
}

/// Why a plan cannot be reasoned about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The text is not the JSON that was expected. Quotes no value.
    #[error("the plan's JSON form cannot be read: {0}")]
    Text(String),
    /// It is of a format that is not known here.
    #[error(
        "the plan's JSON form has format version {0}, and this version of Slipway knows 1.0 to 1.2"
    )]
    Format(String),
    /// It has a part that is not known here, so nothing can be proved about it.
    #[error("the plan has a part that this version of Slipway does not know: {0}")]
    Part(String),
}

impl From<Bad> for Unreadable {
    fn from(bad: Bad) -> Self {
        Self::Text(bad.to_string())
    }
}

/// One object: where it is, and which of several (the deposed ones have a key).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) address: String,
    pub(crate) deposed: Option<String>,
}

impl Key {
    pub(crate) fn of(address: &str) -> Self {
        Self { address: address.to_owned(), deposed: None }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.deposed {
            None => f.write_str(&self.address),
            Some(deposed) => write!(f, "{} (deposed object {deposed})", self.address),
        }
    }
}

/// What happens to one object, as the tool words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    Create,
    Read,
    Update,
    DeleteCreate,
    CreateDelete,
    Delete,
    Forget,
    CreateForget,
    ForgetCreate,
}

impl Act {
    fn read(actions: &Json) -> Option<Self> {
        let Json::Array(words) = actions else { return None };
        let words: Option<Vec<&str>> = words.iter().map(Json::str).collect();
        Some(match words?.as_slice() {
            ["no-op"] => Self::Nothing,
            ["create"] => Self::Create,
            ["read"] => Self::Read,
            ["update"] => Self::Update,
            ["delete", "create"] => Self::DeleteCreate,
            ["create", "delete"] => Self::CreateDelete,
            ["delete"] => Self::Delete,
            ["forget"] => Self::Forget,
            ["create", "forget"] => Self::CreateForget,
            ["forget", "create"] => Self::ForgetCreate,
            _ => return None,
        })
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "no change",
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::DeleteCreate => "replace (delete, then create)",
            Self::CreateDelete => "replace (create, then delete)",
            Self::Delete => "delete",
            Self::Forget => "forget",
            Self::CreateForget => "replace (create, then forget)",
            Self::ForgetCreate => "replace (forget, then create)",
        }
    }

    /// Whether an object is made.
    pub(super) const fn makes(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::DeleteCreate
                | Self::CreateDelete
                | Self::CreateForget
                | Self::ForgetCreate
        )
    }

    /// How many operations it is.
    pub(super) const fn weight(self) -> usize {
        match self {
            Self::Nothing | Self::Read => 0,
            Self::Create | Self::Update | Self::Delete | Self::Forget => 1,
            _ => 2,
        }
    }
}

/// One entry of `resource_changes`, `resource_drift` or `output_changes`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Change {
    entry: Json,
    pub(super) act: Act,
    pub(super) address: String,
}

impl Change {
    fn read(entry: &Json, address: String, body: &Json) -> Result<Self, Unreadable> {
        known(body, &CHANGE, &address)?;
        if let Some(importing @ Json::Object(_)) = body.get("importing") {
            // An id that is not known yet is one that nobody has seen.
            known(importing, &["id", "identity"], &format!("the import of {address}"))?;
        }
        let act = body
            .get("actions")
            .and_then(Act::read)
            .ok_or_else(|| Unreadable::Part(format!("the actions of {address}")))?;
        Ok(Self { entry: entry.clone(), act, address })
    }

    /// A field of the entry itself.
    pub(super) fn field(&self, name: &str) -> &Json {
        self.entry.get(name).unwrap_or(&NULL)
    }

    fn body(&self) -> &Json {
        self.entry.get("change").unwrap_or(&self.entry)
    }

    /// A field of its change.
    pub(super) fn part(&self, name: &str) -> &Json {
        self.body().get(name).unwrap_or(&NULL)
    }

    pub(super) fn before(&self) -> &Json {
        self.part("before")
    }

    pub(super) fn after(&self) -> &Json {
        self.part("after")
    }

    pub(super) fn importing(&self) -> Option<&Json> {
        Some(self.part("importing")).filter(|importing| **importing != Json::Null)
    }

    /// Where it was before it moved.
    pub(super) fn previous(&self) -> Option<&str> {
        self.field("previous_address").str().filter(|previous| *previous != self.address)
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.field("action_reason").str()
    }

    /// Whether an apply does anything for it. Imports and moves without a change are something:
    /// they change what the state says.
    pub(super) fn is_something(&self) -> bool {
        !matches!(self.act, Act::Nothing | Act::Read)
            || (self.act == Act::Nothing
                && (self.importing().is_some() || self.previous().is_some()))
    }

    /// The whole entry, for comparing drift.
    pub(super) fn whole(&self) -> &Json {
        &self.entry
    }
}

/// One object in the state.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Object {
    entry: Json,
}

impl Object {
    pub(super) fn field(&self, name: &str) -> &Json {
        self.entry.get(name).unwrap_or(&NULL)
    }

    pub(super) fn values(&self) -> &Json {
        self.field("values")
    }

    pub(super) fn is_data(&self) -> bool {
        self.field("mode").str() == Some("data")
    }

    pub(super) fn is_tainted(&self) -> bool {
        self.field("tainted").is_true()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} changes, {} objects)", self.changes.len(), self.objects.len())
    }
}

impl Document {
    /// Reads the output of `show -json` of a plan file.
    pub fn read(json: &[u8]) -> Result<Self, Unreadable> {
        let root = Json::read(json)?;
        let Json::Object(fields) = &root else {
            return Err(Unreadable::Text("it is not an object".to_owned()));
        };
        let format = fields.get("format_version").and_then(Json::str).unwrap_or("none");
        if !FORMATS.contains(&format) {
            return Err(Unreadable::Format(format.chars().take(40).collect()));
        }
        known(&root, &TOP, "the plan")?;
        let changes = entries(root.get("resource_changes"))?;
        let drift = entries(root.get("resource_drift"))?;
        let mut outputs = BTreeMap::new();
        if let Some(Json::Object(all)) = root.get("output_changes") {
            for (name, entry) in all {
                let change = Change::read(entry, format!("output.{name}"), entry)?;
                outputs.insert(name.clone(), change);
            }
        } else if root.get("output_changes").is_some_and(|all| *all != Json::Null) {
            return Err(Unreadable::Text("`output_changes` is not an object".to_owned()));
        }
        let mut objects = BTreeMap::new();
        let state = root.get("prior_state").and_then(|state| state.get("values"));
        if let Some(module) = state.and_then(|values| values.get("root_module")) {
            module_objects(module, &mut objects)?;
        }
        let checks = checks(root.get("checks"))?;
        Ok(Self { root, changes, drift, outputs, objects, checks })
    }

    /// A part at the top of the document.
    pub(super) fn top(&self, name: &str) -> &Json {
        self.root.get(name).unwrap_or(&NULL)
    }

    /// The value of an output in the state that the plan was made against.
    pub(super) fn state_output(&self, name: &str) -> Option<&Json> {
        let values = self.top("prior_state").get("values")?;
        values.get("outputs")?.get(name)?.get("value")
    }

    /// The changes at one address: of the object there and of deposed ones.
    pub(super) fn at(&self, address: &str) -> impl Iterator<Item = (&Key, &Change)> {
        let all = self.changes.range(Key::of(address)..);
        all.take_while(move |(key, _)| key.address == address)
    }

    /// The changes for which an apply does something.
    pub(super) fn effective(&self) -> impl Iterator<Item = (&Key, &Change)> {
        self.changes.iter().filter(|(_, change)| change.is_something())
    }

    /// Whether the configuration hides the variable.
    pub(super) fn hides_variable(&self, name: &str) -> bool {
        let variables = self.top("configuration").get("root_module");
        let of = variables.and_then(|module| module.get("variables")?.get(name));
        of.is_some_and(|of| {
            ["sensitive", "ephemeral"].iter().any(|mark| of.get(mark).is_some_and(Json::is_true))
        })
    }

    /// Strings that are marked as sensitive anywhere in it: what is secret in one place is taken
    /// for secret in all (marks do not follow a value through every provider).
    pub(super) fn marked(&self, found: &mut BTreeSet<String>) {
        let changes = self.changes.values().chain(self.drift.values()).chain(self.outputs.values());
        for change in changes {
            collect(change.before(), change.part("before_sensitive"), found);
            collect(change.after(), change.part("after_sensitive"), found);
        }
        for object in self.objects.values() {
            collect(object.values(), object.field("sensitive_values"), found);
        }
        if let Json::Object(variables) = self.top("variables") {
            let hidden = variables.iter().filter(|(name, _)| self.hides_variable(name));
            for (_, variable) in hidden {
                collect(variable.get("value").unwrap_or(&NULL), &Json::Bool(true), found);
            }
        }
    }
}

/// Takes known secrets and marked strings out of text.
pub(super) struct Veil<'a> {
    known: &'a Redactor,
    told: Redactor,
}

impl<'a> Veil<'a> {
    pub(super) fn over(known: &'a Redactor, documents: [&Document; 2]) -> Self {
        let mut found = BTreeSet::new();
        for document in documents {
            document.marked(&mut found);
        }
        Self { known, told: Redactor::new(found) }
    }

    pub(super) fn text(&self, text: &str) -> String {
        self.told.text(&self.known.text(text))
    }
}

/// Shorter marked strings are not looked for elsewhere: a marked `dev` would hide half the text.
const MIN_MARKED_BYTES: usize = 8;

fn collect(value: &Json, marks: &Json, found: &mut BTreeSet<String>) {
    match (value, marks) {
        (Json::String(text), Json::Bool(true)) if text.len() >= MIN_MARKED_BYTES => {
            found.insert(text.clone());
        }
        (Json::Array(items), Json::Bool(true)) => {
            for item in items {
                collect(item, marks, found);
            }
        }
        (Json::Object(fields), Json::Bool(true)) => {
            for field in fields.values() {
                collect(field, marks, found);
            }
        }
        (Json::Array(items), Json::Array(marks)) => {
            items.iter().zip(marks).for_each(|(item, marks)| collect(item, marks, found));
        }
        (Json::Object(fields), Json::Object(marks)) => {
            for (key, field) in fields {
                if let Some(marks) = marks.get(key) {
                    collect(field, marks, found);
                }
            }
        }
        _ => {}
    }
}

/// Refuses parts that are not known and say something.
fn known(object: &Json, names: &[&str], of: &str) -> Result<(), Unreadable> {
    let Json::Object(fields) = object else {
        return Err(Unreadable::Text(format!("{of} is not an object")));
    };
    for (name, value) in fields {
        let strange = !names.contains(&name.as_str()) && !value.is_nothing();
        if strange {
            let name: String = name.chars().take(60).collect();
            return Err(Unreadable::Part(format!("`{name}` of {of}")));
        }
    }
    Ok(())
}

fn entries(list: Option<&Json>) -> Result<BTreeMap<Key, Change>, Unreadable> {
    let mut found = BTreeMap::new();
    let list = match list {
        None | Some(Json::Null) => return Ok(found),
        Some(Json::Array(list)) => list,
        Some(_) => return Err(Unreadable::Text("a list of changes is no list".to_owned())),
    };
    for entry in list {
        let address = entry
            .get("address")
            .and_then(Json::str)
            .ok_or_else(|| Unreadable::Text("a change has no address".to_owned()))?;
        known(entry, &RESOURCE, address)?;
        let body = entry.get("change").unwrap_or(&NULL);
        let change = Change::read(entry, address.to_owned(), body)?;
        let mode = change.field("mode").str();
        let fits = match mode {
            Some("managed") => change.act != Act::Read,
            Some("data") => matches!(change.act, Act::Read | Act::Nothing),
            _ => false,
        };
        if !fits {
            return Err(Unreadable::Part(format!(
                "{address}, which is {} with the action {:?}",
                mode.unwrap_or("of no mode"),
                change.act.word()
            )));
        }
        let key = Key { address: address.to_owned(), deposed: deposed(entry, "deposed")? };
        if found.insert(key, change).is_some() {
            return Err(Unreadable::Text(format!("{address} is there twice")));
        }
    }
    Ok(found)
}

fn deposed(entry: &Json, name: &str) -> Result<Option<String>, Unreadable> {
    match entry.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(key)) if !key.is_empty() => Ok(Some(key.clone())),
        Some(Json::String(_)) => Ok(None),
        Some(_) => Err(Unreadable::Text("a deposed key is no string".to_owned())),
    }
}

/// Bounded by the depth that the JSON may have.
fn module_objects(module: &Json, found: &mut BTreeMap<Key, Object>) -> Result<(), Unreadable> {
    let list = |name| match module.get(name) {
        None | Some(Json::Null) => Ok([].as_slice()),
        Some(Json::Array(items)) => Ok(items.as_slice()),
        Some(_) => Err(Unreadable::Text(format!("`{name}` of the prior state is no list"))),
    };
    for entry in list("resources")? {
        let address = entry
            .get("address")
            .and_then(Json::str)
            .ok_or_else(|| Unreadable::Text("an object of the state has no address".to_owned()))?;
        let key = Key { address: address.to_owned(), deposed: deposed(entry, "deposed_key")? };
        if found.insert(key, Object { entry: entry.clone() }).is_some() {
            return Err(Unreadable::Text(format!("{address} is in the state twice")));
        }
    }
    for child in list("child_modules")? {
        module_objects(child, found)?;
    }
    Ok(())
}

/// The status of every check and of each of its instances.
fn checks(list: Option<&Json>) -> Result<BTreeMap<String, String>, Unreadable> {
    let bad = || Unreadable::Text("`checks` has another form than was expected".to_owned());
    let mut found = BTreeMap::new();
    let list = match list {
        None | Some(Json::Null) => return Ok(found),
        Some(Json::Array(list)) => list,
        Some(_) => return Err(bad()),
    };
    let mut note = |check: &Json, prefix: &str| {
        let name = check.get("address").and_then(|a| a.get("to_display")?.str()).ok_or_else(bad)?;
        let status = check.get("status").and_then(Json::str).ok_or_else(bad)?;
        found.insert(format!("{prefix}{name}"), status.to_owned());
        Ok::<_, Unreadable>(())
    };
    for check in list {
        note(check, "")?;
        if let Some(Json::Array(instances)) = check.get("instances") {
            for instance in instances {
                note(instance, "instance ")?;
            }
        }
    }
    Ok(found)
}
