//! What policies see: the plan in the form in which rules are easy to write and right.
//!
//! `input` is an object with
//!
//! - `resources`: every managed resource that is there after the apply, also those that do not
//!   change. Each has `address`, `type`, `name`, `index`, `module` (its address, empty for the
//!   root), `provider`, `action` (`create`, `update`, `replace`, `no-op`, …), `values` (attributes
//!   after), `before`, `links` and `open` (below), `provisioners` (their types) and
//!   `configured` (attributes that are literals in the source, which providers may show as hashes);
//! - `by_type`: the same, by type;
//! - `linked`: address → `TYPE.ATTRIBUTE` → positions in `resources` of those that refer to it, and
//!   `open_ends`: `TYPE.ATTRIBUTE` → positions of those that may refer to anything
//!   (`lib.linked` and `lib.maybe_linked` look there);
//! - `deleted`: every resource that the plan removes or replaces, with `values` as they were,
//!   `replaced` and `type`, `address`, …;
//! - `data`: data sources that the configuration reads;
//! - `modules` (`address`, `source`, `version`) and `providers` (`key`, `source`, `values`);
//! - `context`: project, environment, actor, cost, history and settings;
//! - `plan`: the normalised changes, and `terraform`: Terraform's own document, both only when the
//!   pack's text names them.
//!
//! **Unknown until apply.** An attribute whose value is not known stands in `values` as the text
//! [`UNKNOWN`], at any depth. Compared with a good value it is not equal, so a rule that asks for
//! good values does not pass by accident; `data.slipway.lib` has the three-valued helpers. An
//! attribute that the configuration does not set and that the provider will compute is absent, also
//! inside blocks. A policy that `aws_iam_policy_document` will put together while applying stands in
//! `values` as far as it is known.
//!
//! **Links.** Providers split one thing over several resources, which refer to each other by ids
//! that are not known yet. `links` maps an attribute to the addresses of the resources that it
//! refers to, read from the configuration (through variables and outputs of modules) or from equal
//! names; `open` lists the attributes whose references could not be followed.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use regorus::Value as Input;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::changes::{self, Change, merge};
use crate::configuration::{Configuration, Resource};
use crate::engine::Document;
use crate::limits::Limits;
use crate::links::{self, Linking, Links};
use crate::pack::Pack;
use crate::reading::{Names, Tree};
use crate::shape::Shape;
use crate::{documents, written};

/// Stands for a value that is known only after apply. A configuration that holds this very text
/// gains nothing by it: unknown is never a pass.
pub const UNKNOWN: &str = "__slipway_unknown__";

/// For whom, where and at what cost a plan is judged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Context {
    /// The project.
    pub project: String,
    /// The environment, e.g. `production`.
    pub environment: String,
    /// Who asks: id, kind, roles.
    #[serde(default)]
    pub actor: Value,
    /// What the cost gate says.
    #[serde(default)]
    pub cost: Value,
    /// Earlier deployments of the stack, as far as rules may look at them.
    #[serde(default)]
    pub history: Value,
    /// What rules may be told: `required_tags`, `allowed_regions`, `allowed_instance_types`,
    /// `allowed_providers`, `allowed_module_sources`, `max_deletes`, `max_changes`.
    #[serde(default)]
    pub settings: Value,
}

/// Which of the large parts of the input a pack reads. Others are not built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wants {
    plan: bool,
    terraform: bool,
}

impl Wants {
    /// Looks for the word `input` in the text. What is not plainly `input.NAME` counts as all.
    pub(crate) fn of(pack: &Pack) -> Self {
        let mut wants = Self { plan: false, terraform: false };
        for module in pack.modules() {
            for (at, word) in module.text.match_indices("input") {
                let rest = &module.text[at + word.len()..];
                let name: Option<String> = rest.strip_prefix('.').map(|rest| {
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
                });
                wants.plan |= name.as_deref().is_none_or(|name| name == "plan");
                wants.terraform |= name.as_deref().is_none_or(|name| name == "terraform");
            }
        }
        wants
    }
}

/// Builds the input.
pub(crate) fn gather(
    document: &Document<'_>,
    wants: Wants,
    limits: &Limits,
) -> Result<Input, String> {
    let bytes = document.terraform.unwrap_or_default();
    if bytes.len() > limits.input_bytes {
        return Err(format!(
            "The plan has {} bytes; policies judge at most {}. Split the stack.",
            bytes.len(),
            limits.input_bytes
        ));
    }
    let names = Names::default();
    let (changes, configuration) = if let Some(bytes) = document.terraform {
        changes::read(bytes, &names)?
    } else {
        let changes = document.changes.iter().map(|change| Change::of(change, &names));
        (changes.collect::<Result<_, _>>()?, Configuration::default())
    };
    if changes.len() > limits.resources {
        return Err(format!(
            "The plan has {} resources; policies judge at most {}. Split the stack.",
            changes.len(),
            limits.resources
        ));
    }
    let mut input = split(changes, &configuration, &names, limits.reading)?;
    let mut add = |name: &str, part: Input| drop(input.insert(name.into(), part));
    add("modules", convert(configuration.modules())?);
    add("providers", convert(configuration.providers())?);
    let context = serde_json::to_value(document.context).map_err(|e| e.to_string())?;
    add("context", convert(context)?);
    if wants.plan {
        let plan = serde_json::to_value(document.changes).map_err(|e| e.to_string())?;
        add("plan", convert(plan)?);
    }
    if wants.terraform && document.terraform.is_some() {
        let whole = serde_json::from_slice(bytes);
        add("terraform", whole.map_err(|e| format!("The plan cannot be judged: {e}."))?);
    }
    Ok(input.into())
}

/// What the interpreter makes of a value. One that it cannot hold is an error, and not just absent.
fn convert(value: Value) -> Result<Input, String> {
    serde_json::from_value(value).map_err(|e| format!("The plan cannot be judged: {e}."))
}

/// What Terraform calls a thing.
fn names_of(change: &Change) -> BTreeMap<Input, Input> {
    let names = [
        ("address", &change.address),
        ("type", &change.kind),
        ("name", &change.name),
        ("module", &change.module),
    ];
    names.into_iter().map(|(key, name)| (key.into(), Input::String(name.clone()))).collect()
}

/// Puts every change where rules look for it.
fn split(
    changes: Vec<Change>,
    configuration: &Configuration,
    names: &Names,
    time: Duration,
) -> Result<BTreeMap<Input, Input>, String> {
    let unknown = names.get(UNKNOWN);
    let read_before = configuration.data(changes.iter().map(|change| &*change.address));
    let documents = documents(&changes, &unknown);
    let (mut deleted, mut data) = (Vec::new(), Vec::new());
    let mut resources = Vec::with_capacity(changes.len());
    let placing = Placing { unknown, configuration, documents };
    for change in changes {
        let placed = placing.place(change);
        data.extend(placed.data);
        deleted.extend(placed.deleted);
        resources.extend(placed.planned);
    }
    data.extend(read_before);
    let linking: Vec<Linking<'_>> = resources.iter().map(Planned::linking).collect();
    let links = links::resolve(&linking, configuration, time)?;
    let (linked, open_ends) = links::reversed(&linking, &links);

    // Under both names it is the same one in memory.
    let mut by_type: BTreeMap<Input, Vec<Input>> = BTreeMap::new();
    let mut all = Vec::with_capacity(resources.len());
    for (resource, links) in resources.iter().zip(&links) {
        let kind = Input::String(resource.change.kind.clone());
        let resource = resource.value(links, names);
        by_type.entry(kind).or_default().push(resource.clone());
        all.push(resource);
    }
    let by_type: BTreeMap<Input, Input> =
        by_type.into_iter().map(|(kind, them)| (kind, Input::from(them))).collect();
    let parts = [
        ("resources", Input::from(all)),
        ("by_type", Input::from(by_type)),
        ("linked", linked),
        ("open_ends", open_ends),
        ("deleted", Input::from(deleted)),
        ("data", Input::from(data)),
    ];
    Ok(parts.into_iter().map(|(name, part)| (Input::from(name), part)).collect())
}

/// What is needed to place a change.
struct Placing<'a> {
    unknown: Arc<str>,
    configuration: &'a Configuration,
    documents: BTreeMap<Arc<str>, String>,
}

/// Where a change goes.
#[derive(Default)]
struct Placed<'a> {
    data: Option<Input>,
    deleted: Option<Input>,
    planned: Option<Planned<'a>>,
}

impl<'a> Placing<'a> {
    fn place(&self, mut change: Change) -> Placed<'a> {
        let mut placed = Placed::default();
        if *change.mode == *"data" {
            let mut one = names_of(&change);
            let values = merge(change.after, change.unknown, &self.unknown);
            one.insert("values".into(), values.into_value());
            placed.data = Some(one.into());
            return placed;
        }
        let before = std::mem::replace(&mut change.before, Tree::NULL).into_value();
        if change.has("delete") {
            let mut one = names_of(&change);
            one.insert("deposed".into(), change.deposed.into());
            one.insert("replaced".into(), change.has("create").into());
            one.insert("values".into(), before.clone());
            placed.deleted = Some(one.into());
        }
        // What is deleted, dropped or deposed is not there afterwards: its attributes are nobody's
        // business.
        let gone = change.deposed
            || change.has("forget")
            || (change.has("delete") && !change.has("create"));
        if !gone && !change.after.is_null() {
            let configured = self.configuration.resource(&change.address);
            let after = std::mem::replace(&mut change.after, Tree::NULL);
            let marks = std::mem::take(&mut change.unknown);
            let mut values = merge(after, marks, &self.unknown);
            if let (Some(configured), Tree::Fields(fields)) = (configured, &mut values) {
                fill(fields, &change.address, configured, self.configuration, &self.documents);
            }
            let values = values.into_value();
            placed.planned = Some(Planned { change, before, values, configured });
        }
        placed
    }
}

/// The policies that are put together while applying, by the address of their data source.
fn documents(changes: &[Change], unknown: &Arc<str>) -> BTreeMap<Arc<str>, String> {
    let of_kind = |change: &&Change| *change.mode == *"data" && *change.kind == *documents::KIND;
    let written = |change: &Change| {
        let values = merge(change.after.clone(), change.unknown.clone(), unknown).into_value();
        let values = serde_json::to_value(&values).unwrap_or_default();
        (change.address.clone(), documents::assemble(&values))
    };
    changes.iter().filter(of_kind).map(written).collect()
}

/// Takes away what is unknown because the provider computes it, and puts in what will be put
/// together.
fn fill(
    fields: &mut Vec<(Arc<str>, Tree)>,
    address: &str,
    configured: &Resource,
    configuration: &Configuration,
    documents: &BTreeMap<Arc<str>, String>,
) {
    written::prune(fields, &configured.written);
    if documents.is_empty() {
        return;
    }
    for (attribute, value) in fields {
        if value.text().is_some_and(|text| **text == *UNKNOWN)
            && let Some(text) = configuration.document(configured, address, attribute, documents)
        {
            *value = Tree::Leaf(text.into());
        }
    }
}

/// A resource that is there after the apply.
struct Planned<'a> {
    change: Change,
    before: Input,
    values: Input,
    configured: Option<&'a Resource>,
}

/// What a resource has in the input.
static FIELDS: LazyLock<Option<Shape>> = LazyLock::new(|| {
    let names = [
        "action",
        "address",
        "before",
        "configured",
        "index",
        "links",
        "module",
        "name",
        "open",
        "provider",
        "provisioners",
        "type",
        "values",
    ];
    Shape::of(&names.map(Input::from))
});

impl Planned<'_> {
    fn linking(&self) -> Linking<'_> {
        Linking {
            address: &self.change.address,
            kind: &self.change.kind,
            values: &self.values,
            configured: self.configured,
        }
    }

    fn value(&self, links: &Links<'_>, names: &Names) -> Input {
        let text = |text: &Arc<str>| Input::String(text.clone());
        let change = &self.change;
        let (links, open) = links.values();
        let (constants, provisioners) = match self.configured {
            Some(configured) => (&configured.constants, &configured.provisioners),
            None => (&links::NONE.0, &links::NONE.1),
        };
        let mut fields = [
            Input::String(names.get(change.action())),
            text(&change.address),
            self.before.clone(),
            constants.clone(),
            change.index.clone(),
            links,
            text(&change.module),
            text(&change.name),
            open,
            text(&change.provider),
            provisioners.clone(),
            text(&change.kind),
            self.values.clone(),
        ];
        FIELDS.as_ref().map_or(Input::Undefined, |shape| shape.filled(&mut fields))
    }
}
