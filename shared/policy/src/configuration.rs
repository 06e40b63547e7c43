//! Reads `configuration` of Terraform's plan: what is set, by whom it is provisioned, and what
//! refers to what, through variables and outputs of modules.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::documents;
use crate::links::{nearest, plain, split_module};
use crate::values::{Arena, Val};
use crate::written::{self, Fields};

/// How many modules a reference may pass.
const DEPTH: usize = 16;

/// The configuration, by address without indices.
#[derive(Debug, Default)]
pub(crate) struct Configuration<'a> {
    modules: BTreeMap<&'a str, Module<'a>>,
    providers: Vec<Val<'a>>,
}

#[derive(Debug)]
struct Module<'a> {
    parent: Option<&'a str>,
    source: &'a str,
    version: Val<'a>,
    resources: BTreeMap<&'a str, Resource<'a>>,
    /// What the parent passes in: variable → references in the parent.
    inputs: Named<'a>,
    outputs: Named<'a>,
}

/// References by a name.
type Named<'a> = BTreeMap<&'a str, &'a [&'a str]>;

/// A resource as it is written, with the module that it is written in.
#[derive(Debug)]
pub(crate) struct Resource<'a> {
    module: &'a str,
    data: bool,
    kind: &'a str,
    name: &'a str,
    /// Attribute → what it refers to.
    pub(crate) attributes: Vec<(&'a str, &'a [&'a str])>,
    /// What `for_each` and `count` refer to.
    pub(crate) each: Vec<&'a str>,
    /// Types of its provisioners.
    pub(crate) provisioners: Val<'a>,
    /// The attributes whose values stand in the configuration itself.
    pub(crate) constants: Val<'a>,
    /// What the configuration sets.
    pub(crate) written: Fields<'a>,
}

impl<'a> Configuration<'a> {
    /// Reads it from `configuration` of Terraform's document. Whatever is not there is left out.
    pub(crate) fn read(raw: Val<'a>, arena: &'a Arena) -> Self {
        let mut configuration = Self::default();
        let root = raw.at("root_module");
        if matches!(root, Val::Object(_)) {
            let module = Module {
                parent: None,
                source: "",
                version: Val::Null,
                resources: BTreeMap::new(),
                inputs: Named::new(),
                outputs: Named::new(),
            };
            configuration.module("", root, module, 0, arena);
        }
        for (key, provider) in raw.at("provider_config").named() {
            configuration.providers.push(arena.fields(&[
                (Val::Text("key"), Val::Text(key)),
                (Val::Text("module"), provider.at("module_address")),
                (Val::Text("name"), provider.at("name")),
                (Val::Text("source"), provider.at("full_name")),
                (Val::Text("values"), constants(provider.at("expressions"), arena)),
            ]));
        }
        configuration
    }

    fn module(
        &mut self,
        address: &'a str,
        raw: Val<'a>,
        mut module: Module<'a>,
        depth: usize,
        arena: &'a Arena,
    ) {
        let mut found = Vec::new();
        let mut references = |of: Val<'a>| {
            references(of, &mut found);
            let kept = arena.texts(&found);
            found.clear();
            kept
        };
        for resource in raw.at("resources").items() {
            let text = |name: &str| resource.at(name).text();
            let Some(at) = text("address") else { continue };
            let each = ["for_each_expression", "count_expression"];
            let expressions = resource.at("expressions");
            let provisioners = resource.at("provisioners").items().iter().map(|p| p.at("type"));
            let provisioners = provisioners.filter(|kind| kind.text().is_some());
            module.resources.insert(
                at,
                Resource {
                    module: address,
                    data: text("mode") == Some("data"),
                    kind: text("type").unwrap_or_default(),
                    name: text("name").unwrap_or_default(),
                    attributes: expressions
                        .named()
                        .map(|(key, expression)| (key, references(expression)))
                        .collect(),
                    each: each
                        .iter()
                        .flat_map(|key| references(resource.at(key)))
                        .copied()
                        .collect(),
                    provisioners: arena.list(&provisioners.collect::<Vec<_>>()),
                    constants: constants(expressions, arena),
                    written: written::read(expressions),
                },
            );
        }
        for (name, output) in raw.at("outputs").named() {
            module.outputs.insert(name, references(output.at("expression")));
        }
        for (name, call) in raw.at("module_calls").named() {
            let inner = Module {
                parent: Some(address),
                source: call.at("source").text().unwrap_or_default(),
                version: call.at("version_constraint"),
                resources: BTreeMap::new(),
                inputs: call
                    .at("expressions")
                    .named()
                    .map(|(key, expression)| (key, references(expression)))
                    .collect(),
                outputs: Named::new(),
            };
            if depth < DEPTH {
                let address = arena.text(&join(address, &format!("module.{name}")));
                self.module(address, call.at("module"), inner, depth + 1, arena);
            }
        }
        self.modules.insert(address, module);
    }

    /// The resource of an address, if it is in the configuration.
    pub(crate) fn resource(&self, address: &str) -> Option<&Resource<'a>> {
        let plain = plain(address);
        let (module, own) = split_module(&plain);
        self.modules.get(module)?.resources.get(own)
    }

    /// The policy that an attribute will be, where it refers to one data source that puts policies
    /// together, and to nothing else.
    pub(crate) fn document(
        &self,
        resource: &Resource<'a>,
        address: &str,
        attribute: &str,
        documents: &BTreeMap<&'a str, &'a str>,
    ) -> Option<&'a str> {
        let (_, references) = resource.attributes.iter().find(|(name, _)| *name == attribute)?;
        let mut found = BTreeSet::new();
        let followed = self.follow(resource, references, &mut found);
        let mut found = found.into_iter();
        let (true, Some(target), None) = (followed, found.next(), found.next()) else {
            return None;
        };
        if !target.contains(&format!("data.{}.", documents::KIND)) {
            return None;
        }
        let bare = plain(&target);
        let instances: Vec<&str> =
            documents.keys().copied().filter(|address| plain(address) == bare).collect();
        let [one] = *nearest(address, &target, &instances) else { return None };
        documents.get(one).copied()
    }

    /// Data sources that are not among the changes, since they were read while planning.
    pub(crate) fn data<'c>(
        &self,
        planned: impl Iterator<Item = &'c str>,
        arena: &'a Arena,
    ) -> Vec<Val<'a>> {
        let mut found = Vec::new();
        if !self.modules.values().any(|module| module.resources.values().any(|r| r.data)) {
            return found;
        }
        let planned: BTreeSet<Cow<'_, str>> = planned.map(plain).collect();
        for (module, inside) in &self.modules {
            for (own, resource) in inside.resources.iter().filter(|(_, resource)| resource.data) {
                let address = join(module, own);
                if !planned.contains(address.as_str()) {
                    found.push(arena.fields(&[
                        (Val::Text("address"), Val::Text(arena.text(&address))),
                        (Val::Text("module"), Val::Text(resource.module)),
                        (Val::Text("name"), Val::Text(resource.name)),
                        (Val::Text("type"), Val::Text(resource.kind)),
                        (Val::Text("values"), resource.constants),
                    ]));
                }
            }
        }
        found
    }

    /// Every module that is called.
    pub(crate) fn modules(&self, arena: &'a Arena) -> Val<'a> {
        let called = self.modules.iter().filter(|(address, _)| !address.is_empty());
        let called = called.map(|(address, module)| {
            arena.fields(&[
                (Val::Text("address"), Val::Text(address)),
                (Val::Text("source"), Val::Text(module.source)),
                (Val::Text("version"), module.version),
            ])
        });
        arena.list(&called.collect::<Vec<_>>())
    }

    /// Every provider that is configured.
    pub(crate) fn providers(&self, arena: &'a Arena) -> Val<'a> {
        arena.list(&self.providers)
    }

    /// Follows references of a resource to other resources. False when one could not be followed.
    pub(crate) fn follow(
        &self,
        from: &Resource<'a>,
        references: &[&str],
        found: &mut BTreeSet<String>,
    ) -> bool {
        self.follow_in(from.module, references, 0, &mut HashMap::new(), found)
    }

    /// `seen` has the lists of references that were followed, each with the least depth at which it was:
    /// without it, outputs that each name all outputs of the next module take for ever.
    fn follow_in(
        &self,
        module: &str,
        references: &[&str],
        depth: usize,
        seen: &mut HashMap<*const u8, usize>,
        found: &mut BTreeSet<String>,
    ) -> bool {
        let Some(inside) = self.modules.get(module) else { return false };
        if !references.is_empty() {
            // What was found then is found, and what could not be followed has been told.
            match seen.entry(references.as_ptr().cast()) {
                Entry::Occupied(before) if *before.get() <= depth => return true,
                Entry::Occupied(mut before) => drop(before.insert(depth)),
                Entry::Vacant(first) => drop(first.insert(depth)),
            }
        }
        let mut all = true;
        for reference in references {
            let indexless = plain(reference);
            let parts: Vec<&str> = indexless.split('.').collect();
            all &= match parts.as_slice() {
                _ if depth > DEPTH => false,
                ["var", name, ..] => match (&inside.parent, inside.inputs.get(*name)) {
                    (Some(parent), Some(passed)) => {
                        self.follow_in(parent, passed, depth + 1, seen, found)
                    }
                    // A variable of the root, or a default: not a resource of this plan.
                    _ => true,
                },
                ["module", call, output, ..] => {
                    let child = join(module, &format!("module.{call}"));
                    match self.modules.get(&*child).and_then(|m| m.outputs.get(*output)) {
                        Some(inner) => self.follow_in(&child, inner, depth + 1, seen, found),
                        None => false,
                    }
                }
                // Terraform names the module once more, without the output.
                ["module", _] => true,
                // The plan does not say what a local is made of.
                ["local", ..] => false,
                ["each" | "count" | "self" | "path" | "terraform", ..] => true,
                ["data", kind, name, ..] => {
                    found.insert(join(module, &format!("data.{kind}.{name}")));
                    true
                }
                [kind, name, ..] => {
                    // With its index, where the reference has one.
                    let own = format!("{kind}.{name}");
                    let exact = reference
                        .strip_prefix(&own)
                        .and_then(|rest| rest.strip_prefix('['))
                        .and_then(|rest| rest.split_once(']'))
                        .map_or_else(|| own.clone(), |(index, _)| format!("{own}[{index}]"));
                    // Terraform lists `a.b[0].id`, `a.b[0]` and `a.b`; the last says nothing new.
                    let general = exact == own
                        && references.iter().any(|r| r.starts_with(&format!("{own}[")));
                    if !general {
                        found.insert(join(module, &exact));
                    }
                    true
                }
                _ => true,
            };
        }
        all
    }
}

impl<'a> Resource<'a> {
    /// The attributes that refer to something.
    pub(crate) fn referring(&self) -> impl Iterator<Item = &'a str> {
        let referring = self.attributes.iter().filter(|(_, to)| !to.is_empty());
        referring.map(|(name, _)| *name)
    }
}

fn join(module: &str, own: &str) -> String {
    if module.is_empty() { own.to_owned() } else { format!("{module}.{own}") }
}

/// Adds all references of an expression, at any depth.
fn references<'a>(expression: Val<'a>, found: &mut Vec<&'a str>) {
    match expression {
        Val::Object(fields) => {
            found.extend(expression.at("references").items().iter().filter_map(|r| r.text()));
            for (name, value) in fields {
                if !name.is("constant_value") {
                    references(*value, found);
                }
            }
        }
        Val::List(items) => items.iter().for_each(|item| references(*item, found)),
        _ => {}
    }
}

/// The attributes whose values stand in the configuration itself.
fn constants<'a>(expressions: Val<'a>, arena: &'a Arena) -> Val<'a> {
    let constants = expressions.fields().iter().filter_map(|(name, expression)| {
        expression.field("constant_value").map(|value| (*name, value))
    });
    arena.fields(&constants.collect::<Vec<_>>())
}
