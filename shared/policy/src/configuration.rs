//! Reads `configuration` of Terraform's plan: what is set, by whom it is provisioned, and what
//! refers to what, through variables and outputs of modules.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use regorus::Value as Input;

use crate::documents;
use crate::links::{nearest, plain, split_module};
use crate::written::{self, Fields};

/// How many modules a reference may pass.
const DEPTH: usize = 16;

/// The configuration, by address without indices.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    modules: BTreeMap<String, Module>,
    providers: Vec<Value>,
}

#[derive(Debug, Default)]
struct Module {
    parent: Option<(String, String)>,
    source: String,
    version: Value,
    resources: BTreeMap<String, Resource>,
    /// What the parent passes in: variable → references in the parent.
    inputs: BTreeMap<String, Vec<String>>,
    outputs: BTreeMap<String, Vec<String>>,
}

/// A resource as it is written, with the module that it is written in.
#[derive(Debug)]
pub(crate) struct Resource {
    module: String,
    data: bool,
    kind: String,
    name: String,
    /// Attribute → what it refers to.
    pub(crate) attributes: BTreeMap<String, Vec<String>>,
    /// What `for_each` and `count` refer to.
    pub(crate) each: Vec<String>,
    /// Types of its provisioners.
    pub(crate) provisioners: Input,
    /// The attributes whose values stand in the configuration itself.
    pub(crate) constants: Input,
    /// What the configuration sets.
    pub(crate) written: Fields,
}

impl Configuration {
    /// Reads it from `configuration` of Terraform's document. Whatever is not there is left out.
    pub(crate) fn read(raw: &Value) -> Self {
        let mut configuration = Self::default();
        let root = &raw["root_module"];
        if root.is_object() {
            configuration.module(String::new(), root, Module::default(), 0);
        }
        for (key, provider) in fields(&raw["provider_config"]) {
            configuration.providers.push(json!({
                "key": key,
                "name": provider["name"],
                "source": provider["full_name"],
                "module": provider["module_address"],
                "values": constants(&provider["expressions"]),
            }));
        }
        configuration
    }

    fn module(&mut self, address: String, raw: &Value, mut module: Module, depth: usize) {
        for resource in raw["resources"].as_array().into_iter().flatten() {
            let Some(at) = resource["address"].as_str() else { continue };
            let each = ["for_each_expression", "count_expression"];
            let expressions = &resource["expressions"];
            let provisioners = resource["provisioners"].as_array().into_iter().flatten();
            let provisioners = provisioners.filter_map(|p| p["type"].as_str().map(Input::from));
            module.resources.insert(
                at.to_owned(),
                Resource {
                    module: address.clone(),
                    data: resource["mode"] == "data",
                    kind: resource["type"].as_str().unwrap_or_default().to_owned(),
                    name: resource["name"].as_str().unwrap_or_default().to_owned(),
                    attributes: fields(expressions)
                        .map(|(key, expression)| (key.clone(), references(expression)))
                        .collect(),
                    each: each.iter().flat_map(|key| references(&resource[*key])).collect(),
                    provisioners: provisioners.collect::<Vec<_>>().into(),
                    constants: constants(expressions).into(),
                    written: written::read(expressions),
                },
            );
        }
        for (name, output) in fields(&raw["outputs"]) {
            module.outputs.insert(name.clone(), references(&output["expression"]));
        }
        for (name, call) in fields(&raw["module_calls"]) {
            let inner = Module {
                parent: Some((address.clone(), name.clone())),
                source: call["source"].as_str().unwrap_or_default().to_owned(),
                version: call["version_constraint"].clone(),
                inputs: fields(&call["expressions"])
                    .map(|(key, expression)| (key.clone(), references(expression)))
                    .collect(),
                ..Module::default()
            };
            if depth < DEPTH {
                self.module(
                    join(&address, &format!("module.{name}")),
                    &call["module"],
                    inner,
                    depth + 1,
                );
            }
        }
        self.modules.insert(address, module);
    }

    /// The resource of an address, if it is in the configuration.
    pub(crate) fn resource(&self, address: &str) -> Option<&Resource> {
        let plain = plain(address);
        let (module, own) = split_module(&plain);
        self.modules.get(module)?.resources.get(own)
    }

    /// The policy that an attribute will be, where it refers to one data source that puts policies
    /// together, and to nothing else.
    pub(crate) fn document(
        &self,
        resource: &Resource,
        address: &str,
        attribute: &str,
        documents: &BTreeMap<Arc<str>, String>,
    ) -> Option<String> {
        let references = resource.attributes.get(attribute)?;
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
        let instances: Vec<&Arc<str>> = documents.keys().filter(|a| plain(a) == bare).collect();
        let [one] = *nearest(address, &target, &instances) else { return None };
        documents.get(one).cloned()
    }

    /// Data sources that are not among the changes, since they were read while planning.
    pub(crate) fn data<'a>(&self, planned: impl Iterator<Item = &'a str>) -> Vec<Input> {
        let mut found = Vec::new();
        if !self.modules.values().any(|module| module.resources.values().any(|r| r.data)) {
            return found;
        }
        let planned: BTreeSet<Cow<'_, str>> = planned.map(plain).collect();
        for (module, inside) in &self.modules {
            for (own, resource) in inside.resources.iter().filter(|(_, resource)| resource.data) {
                let address = join(module, own);
                if !planned.contains(address.as_str()) {
                    let names = [
                        ("address", address.as_str()),
                        ("type", &resource.kind),
                        ("name", &resource.name),
                        ("module", module),
                    ];
                    let names = names.map(|(key, name)| (Input::from(key), Input::from(name)));
                    let mut one: BTreeMap<Input, Input> = names.into_iter().collect();
                    one.insert("values".into(), resource.constants.clone());
                    found.push(one.into());
                }
            }
        }
        found
    }

    /// Every module that is called.
    pub(crate) fn modules(&self) -> Value {
        self.modules
            .iter()
            .filter(|(address, _)| !address.is_empty())
            .map(|(address, module)| {
                json!({"address": address, "source": module.source, "version": module.version})
            })
            .collect()
    }

    /// Every provider that is configured.
    pub(crate) fn providers(&self) -> Value {
        Value::Array(self.providers.clone())
    }

    /// Follows references of a resource to other resources. False when one could not be followed.
    pub(crate) fn follow(
        &self,
        from: &Resource,
        references: &[String],
        found: &mut BTreeSet<String>,
    ) -> bool {
        self.follow_in(&from.module, references, 0, &mut HashMap::new(), found)
    }

    /// `seen` has the lists of references that were followed, each with the least depth at which it was:
    /// without it, outputs that each name all outputs of the next module take for ever.
    fn follow_in(
        &self,
        module: &str,
        references: &[String],
        depth: usize,
        seen: &mut HashMap<*const String, usize>,
        found: &mut BTreeSet<String>,
    ) -> bool {
        let Some(inside) = self.modules.get(module) else { return false };
        if !references.is_empty() {
            // What was found then is found, and what could not be followed has been told.
            match seen.entry(references.as_ptr()) {
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
                    (Some((parent, _)), Some(passed)) => {
                        self.follow_in(parent, passed, depth + 1, seen, found)
                    }
                    // A variable of the root, or a default: not a resource of this plan.
                    _ => true,
                },
                ["module", call, output, ..] => {
                    let child = join(module, &format!("module.{call}"));
                    match self.modules.get(&child).and_then(|m| m.outputs.get(*output)) {
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

impl Resource {
    /// The attributes that refer to something.
    pub(crate) fn referring(&self) -> impl Iterator<Item = &str> {
        let referring = self.attributes.iter().filter(|(_, to)| !to.is_empty());
        referring.map(|(name, _)| name.as_str())
    }
}

fn join(module: &str, own: &str) -> String {
    if module.is_empty() { own.to_owned() } else { format!("{module}.{own}") }
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// All references of an expression, at any depth.
fn references(expression: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = vec![expression];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(Value::Array(references)) = fields.get("references") {
                    found.extend(references.iter().filter_map(|r| r.as_str().map(str::to_owned)));
                }
                rest.extend(fields.iter().filter(|(k, _)| *k != "constant_value").map(|(_, v)| v));
            }
            Value::Array(items) => rest.extend(items),
            _ => {}
        }
    }
    found
}

/// The attributes whose values stand in the configuration itself.
fn constants(expressions: &Value) -> Value {
    fields(expressions)
        .filter_map(|(key, expression)| {
            expression.get("constant_value").map(|value| (key.clone(), value.clone()))
        })
        .collect::<Map<_, _>>()
        .into()
}
