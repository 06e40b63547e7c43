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
use std::time::Duration;

use serde::de::DeserializeSeed as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::changes::{self, Change, merge};
use crate::configuration::{Configuration, Resource};
use crate::engine::Document;
use crate::limits::Limits;
use crate::links::{self, Linking, Links};
use crate::pack::Pack;
use crate::reading::Reader;
use crate::values::{Arena, Field, Val};
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

/// Builds the input, in memory that it shares with the document.
pub(crate) fn gather<'a>(
    document: &Document<'a>,
    wants: Wants,
    limits: &Limits,
    arena: &'a Arena,
) -> Result<Val<'a>, String> {
    let bytes = document.terraform.unwrap_or_default();
    if bytes.len() > limits.input_bytes {
        return Err(format!(
            "The plan has {} bytes; policies judge at most {}. Split the stack.",
            bytes.len(),
            limits.input_bytes
        ));
    }
    let reader = Reader::new(arena);
    let (changes, configuration) = if let Some(bytes) = document.terraform {
        changes::read(bytes, &reader)?
    } else {
        let changes = document.changes.iter().map(|change| Change::of(change, &reader));
        (changes.collect::<Result<_, _>>()?, Configuration::default())
    };
    if changes.len() > limits.resources {
        return Err(format!(
            "The plan has {} resources; policies judge at most {}. Split the stack.",
            changes.len(),
            limits.resources
        ));
    }
    let mut input = split(&changes, &configuration, limits.reading, arena)?;
    let mut add = |name: &'static str, part: Val<'a>| input.push((Val::Text(name), part));
    add("modules", configuration.modules(arena));
    add("providers", configuration.providers(arena));
    let context = serde_json::to_value(document.context).map_err(|e| e.to_string())?;
    add("context", reader.read(context)?);
    if wants.plan {
        let plan = serde_json::to_value(document.changes).map_err(|e| e.to_string())?;
        add("plan", reader.read(plan)?);
    }
    if wants.terraform && document.terraform.is_some() {
        let mut from = serde_json::Deserializer::from_slice(bytes);
        let whole = reader.deserialize(&mut from);
        add("terraform", whole.map_err(|e| format!("The plan cannot be judged: {e}."))?);
    }
    Ok(arena.object(input))
}

/// A field of an object.
const fn named<'a>(name: &'static str, value: Val<'a>) -> Field<'a> {
    (Val::Text(name), value)
}

/// Puts every change where rules look for it.
fn split<'a>(
    changes: &[Change<'a>],
    configuration: &Configuration<'a>,
    time: Duration,
    arena: &'a Arena,
) -> Result<Vec<Field<'a>>, String> {
    let (mut deleted, mut data) = (Vec::new(), Vec::new());
    let mut resources = Vec::with_capacity(changes.len());
    let placing = Placing { configuration, documents: documents(changes, arena), arena };
    for change in changes {
        let placed = placing.place(change);
        data.extend(placed.data);
        deleted.extend(placed.deleted);
        resources.extend(placed.planned);
    }
    data.extend(configuration.data(changes.iter().map(|change| change.address), arena));
    let linking: Vec<Linking<'_, 'a>> = resources.iter().map(Planned::linking).collect();
    let links = links::resolve(&linking, configuration, time)?;
    let (linked, open_ends) = links::reversed(&linking, &links, arena);

    // Under both names it is the same one in memory.
    let mut by_type: BTreeMap<&str, Vec<Val<'a>>> = BTreeMap::new();
    let mut all = Vec::with_capacity(resources.len());
    for (resource, links) in resources.iter().zip(&links) {
        let value = resource.value(links, arena);
        by_type.entry(resource.change.kind).or_default().push(value);
        all.push(value);
    }
    let by_type = by_type.into_iter().map(|(kind, them)| (Val::Text(kind), arena.list(&them)));
    let by_type = arena.fields(&by_type.collect::<Vec<_>>());
    Ok(vec![
        named("resources", arena.list(&all)),
        named("by_type", by_type),
        named("linked", linked),
        named("open_ends", open_ends),
        named("deleted", arena.list(&deleted)),
        named("data", arena.list(&data)),
    ])
}

/// What is needed to place a change.
struct Placing<'c, 'a> {
    configuration: &'c Configuration<'a>,
    documents: BTreeMap<&'a str, &'a str>,
    arena: &'a Arena,
}

/// Where a change goes.
#[derive(Default)]
struct Placed<'c, 'a> {
    data: Option<Val<'a>>,
    deleted: Option<Val<'a>>,
    planned: Option<Planned<'c, 'a>>,
}

impl<'c, 'a> Placing<'c, 'a> {
    fn place(&self, change: &Change<'a>) -> Placed<'c, 'a> {
        let mut placed = Placed::default();
        let text = Val::Text;
        let arena = self.arena;
        if change.mode == "data" {
            placed.data = Some(arena.fields(&[
                named("address", text(change.address)),
                named("module", text(change.module)),
                named("name", text(change.name)),
                named("type", text(change.kind)),
                named("values", merge(change.after, change.unknown, arena)),
            ]));
            return placed;
        }
        if change.has("delete") {
            placed.deleted = Some(arena.fields(&[
                named("address", text(change.address)),
                named("deposed", Val::Bool(change.deposed)),
                named("module", text(change.module)),
                named("name", text(change.name)),
                named("replaced", Val::Bool(change.has("create"))),
                named("type", text(change.kind)),
                named("values", change.before),
            ]));
        }
        // What is deleted, dropped or deposed is not there afterwards: its attributes are nobody's
        // business.
        let gone = change.deposed
            || change.has("forget")
            || (change.has("delete") && !change.has("create"));
        if !gone && !change.after.is_null() {
            let configured = self.configuration.resource(change.address);
            let mut values = merge(change.after, change.unknown, arena);
            if let (Some(configured), Val::Object(fields)) = (configured, values) {
                values = self.filled(fields, change.address, configured);
            }
            placed.planned = Some(Planned { change: *change, values, configured });
        }
        placed
    }

    /// Takes away what is unknown because the provider computes it, and puts in what will be put
    /// together.
    fn filled(&self, fields: &'a [Field<'a>], address: &str, configured: &Resource<'a>) -> Val<'a> {
        let mut fields = written::prune(fields, &configured.written, self.arena);
        if !self.documents.is_empty() {
            for (attribute, value) in &mut fields {
                if value.is(UNKNOWN)
                    && let Some(attribute) = attribute.text()
                    && let Some(text) =
                        self.configuration.document(configured, address, attribute, &self.documents)
                {
                    *value = Val::Text(text);
                }
            }
        }
        self.arena.fields(&fields)
    }
}

/// The policies that are put together while applying, by the address of their data source.
fn documents<'a>(changes: &[Change<'a>], arena: &'a Arena) -> BTreeMap<&'a str, &'a str> {
    let of_kind = |change: &&Change<'_>| change.mode == "data" && change.kind == documents::KIND;
    let written = |change: &Change<'a>| {
        let values = merge(change.after, change.unknown, arena).to_json();
        (change.address, arena.text(&documents::assemble(&values)))
    };
    changes.iter().filter(of_kind).map(written).collect()
}

/// A resource that is there after the apply.
struct Planned<'c, 'a> {
    change: Change<'a>,
    values: Val<'a>,
    configured: Option<&'c Resource<'a>>,
}

impl<'c, 'a> Planned<'c, 'a> {
    const fn linking(&self) -> Linking<'c, 'a> {
        Linking {
            address: self.change.address,
            kind: self.change.kind,
            values: self.values,
            configured: self.configured,
        }
    }

    fn value(&self, links: &Links<'a>, arena: &'a Arena) -> Val<'a> {
        let change = &self.change;
        let text = Val::Text;
        let (links, open) = links.values(arena);
        let (constants, provisioners) = match self.configured {
            Some(configured) => (configured.constants, configured.provisioners),
            None => (Val::EMPTY, Val::NOTHING),
        };
        arena.fields(&[
            named("action", text(change.action())),
            named("address", text(change.address)),
            named("before", change.before),
            named("configured", constants),
            named("index", change.index),
            named("links", links),
            named("module", text(change.module)),
            named("name", text(change.name)),
            named("open", open),
            named("provider", text(change.provider)),
            named("provisioners", provisioners),
            named("type", text(change.kind)),
            named("values", self.values),
        ])
    }
}
