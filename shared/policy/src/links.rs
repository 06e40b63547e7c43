//! Reads `configuration` of Terraform's plan: what is set, by whom it is provisioned, and what
//! refers to what, through variables and outputs of modules.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::documents;
use crate::facts::UNKNOWN;
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

#[derive(Debug, Default)]
struct Resource {
    data: bool,
    kind: String,
    name: String,
    attributes: BTreeMap<String, Vec<String>>,
    each: Vec<String>,
    provisioners: Vec<String>,
    constants: Value,
    written: Fields,
}

impl Configuration {
    /// Reads it from Terraform's document. Whatever is not there is left out.
    pub(crate) fn read(raw: &Value) -> Self {
        let mut configuration = Self::default();
        let root = &raw["configuration"]["root_module"];
        if root.is_object() {
            configuration.module(String::new(), root, Module::default(), 0);
        }
        for (key, provider) in fields(&raw["configuration"]["provider_config"]) {
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
            module.resources.insert(
                at.to_owned(),
                Resource {
                    data: resource["mode"] == "data",
                    kind: resource["type"].as_str().unwrap_or_default().to_owned(),
                    name: resource["name"].as_str().unwrap_or_default().to_owned(),
                    attributes: fields(&resource["expressions"])
                        .map(|(key, expression)| (key.clone(), references(expression)))
                        .collect(),
                    each: each.iter().flat_map(|key| references(&resource[*key])).collect(),
                    provisioners: resource["provisioners"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|p| p["type"].as_str().map(str::to_owned))
                        .collect(),
                    constants: constants(&resource["expressions"]),
                    written: written::read(&resource["expressions"]),
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

    fn resource(&self, address: &str) -> Option<&Resource> {
        let plain = plain(address);
        let (module, own) = split_module(&plain);
        self.modules.get(module)?.resources.get(own)
    }

    /// What the configuration sets, if the resource is in it.
    pub(crate) fn written(&self, address: &str) -> Option<&Fields> {
        self.resource(address).map(|r| &r.written)
    }

    /// The attributes of a resource that refer to something.
    pub(crate) fn referring(&self, address: &str) -> impl Iterator<Item = &str> {
        let attributes = self.resource(address).into_iter().flat_map(|r| &r.attributes);
        attributes.filter(|(_, to)| !to.is_empty()).map(|(name, _)| name.as_str())
    }

    /// The policy that an attribute will be, where it refers to one data source that puts policies
    /// together, and to nothing else.
    pub(crate) fn document(
        &self,
        address: &str,
        attribute: &str,
        documents: &BTreeMap<String, String>,
    ) -> Option<String> {
        let references = self.resource(address)?.attributes.get(attribute)?;
        let bare = plain(address);
        let (module, _) = split_module(&bare);
        let mut found = BTreeSet::new();
        let followed = self.follow(module, references, 0, &mut found);
        let mut found = found.into_iter();
        let (true, Some(target), None) = (followed, found.next(), found.next()) else {
            return None;
        };
        if !target.contains(&format!("data.{}.", documents::KIND)) {
            return None;
        }
        let mut instances: BTreeMap<String, Vec<String>> = BTreeMap::new();
        instances.insert(
            plain(&target),
            documents.keys().filter(|a| plain(a) == plain(&target)).cloned().collect(),
        );
        let nearest = nearest(address, &target, &instances);
        let [one] = nearest.as_slice() else { return None };
        documents.get(one).cloned()
    }

    /// Types of the provisioners of a resource.
    pub(crate) fn provisioners(&self, address: &str) -> &[String] {
        self.resource(address).map(|r| r.provisioners.as_slice()).unwrap_or_default()
    }

    /// The attributes of a resource whose values stand in the configuration itself.
    pub(crate) fn constants(&self, address: &str) -> Value {
        self.resource(address).map_or_else(|| json!({}), |r| r.constants.clone())
    }

    /// Data sources that are not among the changes, since they were read while planning.
    pub(crate) fn data(&self, planned: &BTreeSet<&str>) -> Vec<Value> {
        let planned: BTreeSet<String> = planned.iter().map(|address| plain(address)).collect();
        let mut found = Vec::new();
        for (module, inside) in &self.modules {
            for (own, resource) in &inside.resources {
                let address = join(module, own);
                if resource.data && !planned.contains(&address) {
                    found.push(json!({"address": address, "type": resource.kind,
                        "name": resource.name, "module": module, "values": resource.constants}));
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

    /// Follows references from inside `module` to resources. False when one could not be followed.
    fn follow(
        &self,
        module: &str,
        references: &[String],
        depth: usize,
        found: &mut BTreeSet<String>,
    ) -> bool {
        let Some(inside) = self.modules.get(module) else { return false };
        let mut all = true;
        for reference in references {
            let indexless = plain(reference);
            let parts: Vec<&str> = indexless.split('.').collect();
            all &= match parts.as_slice() {
                _ if depth > DEPTH => false,
                ["var", name, ..] => match (&inside.parent, inside.inputs.get(*name)) {
                    (Some((parent, _)), Some(passed)) => {
                        self.follow(parent, passed, depth + 1, found)
                    }
                    // A variable of the root, or a default: not a resource of this plan.
                    _ => true,
                },
                ["module", call, output, ..] => {
                    let child = join(module, &format!("module.{call}"));
                    match self.modules.get(&child).and_then(|m| m.outputs.get(*output)) {
                        Some(inner) => self.follow(&child, inner, depth + 1, found),
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

/// Adds `links` and `open` to every resource.
pub(crate) fn resolve(resources: &mut [Value], configuration: &Configuration) {
    // Instances by address without indices, and resources by what others call them.
    let mut instances: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut names: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for resource in resources.iter() {
        let address = text(resource, "address").to_owned();
        instances.entry(plain(&address)).or_default().push(address.clone());
        for key in ["id", "arn", "bucket", "name", "key_id", "identifier", "self_link"] {
            if let Some(name) = resource["values"][key].as_str()
                && !name.is_empty()
                && name != UNKNOWN
            {
                // A bare name means something only together with the attribute that holds it.
                let family =
                    if matches!(key, "bucket" | "name") { text(resource, "type") } else { "" };
                names
                    .entry((family.to_owned(), name.to_owned()))
                    .or_default()
                    .push(address.clone());
            }
        }
    }
    for resource in resources {
        let address = text(resource, "address").to_owned();
        let (links, open) = links_of(resource, &address, configuration, &instances, &names);
        if let Value::Object(fields) = resource {
            fields.insert("links".to_owned(), json!(links));
            fields.insert("open".to_owned(), json!(open));
        }
    }
}

/// Positions of resources, by type and attribute.
type Ends = BTreeMap<String, Vec<usize>>;

/// Who refers to an address, and whose reference could not be followed to anything.
pub(crate) fn reversed(resources: &[Value]) -> (BTreeMap<&str, Ends>, Ends) {
    let mut linked: BTreeMap<&str, Ends> = BTreeMap::new();
    let mut open_ends = Ends::new();
    for (at, resource) in resources.iter().enumerate() {
        let key = |attribute: &str| format!("{}.{attribute}", text(resource, "type"));
        for (attribute, targets) in fields(&resource["links"]) {
            for target in targets.as_array().into_iter().flatten().filter_map(Value::as_str) {
                linked.entry(target).or_default().entry(key(attribute)).or_default().push(at);
            }
        }
        for attribute in resource["open"].as_array().into_iter().flatten() {
            let Some(attribute) = attribute.as_str() else { continue };
            if resource["links"][attribute].is_null() {
                open_ends.entry(key(attribute)).or_default().push(at);
            }
        }
    }
    (linked, open_ends)
}

fn links_of(
    resource: &Value,
    address: &str,
    configuration: &Configuration,
    instances: &BTreeMap<String, Vec<String>>,
    names: &BTreeMap<(String, String), Vec<String>>,
) -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
    let mut links: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut open = BTreeSet::new();
    if let Some(configured) = configuration.resource(address) {
        let bare = plain(address);
        let (module, _) = split_module(&bare);
        for (attribute, given) in &configured.attributes {
            let mut references = given.clone();
            if given.iter().any(|r| r.starts_with("each.")) {
                references.extend(configured.each.iter().cloned());
            }
            let mut found = BTreeSet::new();
            if !configuration.follow(module, &references, 0, &mut found) {
                open.insert(attribute.clone());
            }
            let targets: BTreeSet<String> =
                found.iter().flat_map(|target| nearest(address, target, instances)).collect();
            if !targets.is_empty() {
                links.insert(attribute.clone(), targets);
            }
        }
    }
    for (attribute, value) in fields(&resource["values"]) {
        let Some(name) = value.as_str() else { continue };
        if links.contains_key(attribute) {
            continue;
        }
        let families: &[&str] = match attribute.as_str() {
            "bucket" => &["", "aws_s3_bucket", "google_storage_bucket"],
            "function_name" => &["", "aws_lambda_function"],
            "instance" => &["", "google_sql_database_instance"],
            "network_security_group_name" => &["", "azurerm_network_security_group"],
            _ => &[""],
        };
        let mut targets: BTreeSet<String> = families
            .iter()
            .filter_map(|family| names.get(&((*family).to_owned(), name.to_owned())))
            .flatten()
            .cloned()
            .collect();
        targets.remove(address);
        if !targets.is_empty() {
            links.insert(attribute.clone(), targets);
        } else if name == UNKNOWN && configuration.resource(address).is_none() {
            open.insert(attribute.clone());
        }
    }
    (links, open)
}

/// The instances that `target` means when `from` refers to it: those in the same instances of
/// modules and with the same index, if there are such.
fn nearest(from: &str, target: &str, instances: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let Some(all) = instances.get(&plain(target)) else { return Vec::new() };
    if plain(target) != target {
        // Inside modules with indices of their own only the end can be compared.
        let (_, own) = split_module(target);
        let exact: Vec<String> = all.iter().filter(|a| split_module(a).1 == own).cloned().collect();
        if !exact.is_empty() {
            return exact;
        }
    }
    let (module, own) = split_module(from);
    let same_module: Vec<&String> = all.iter().filter(|a| split_module(a).0 == module).collect();
    let pool = if same_module.is_empty() { all.iter().collect() } else { same_module };
    let index = own.find('[').map(|at| &own[at..]);
    let same_index: Vec<String> = pool
        .iter()
        .filter(|a| index.is_some_and(|index| a.ends_with(index)))
        .map(|a| (*a).clone())
        .collect();
    if same_index.is_empty() { pool.into_iter().cloned().collect() } else { same_index }
}

/// An address without indices; dots inside quoted indices are gone with them.
fn plain(address: &str) -> String {
    let mut text = String::with_capacity(address.len());
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for c in address.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if depth > 0 => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth = depth.saturating_sub(1),
            _ if depth == 0 => text.push(c),
            _ => {}
        }
    }
    text
}

/// Module and rest of an address, with indices as they are.
fn split_module(address: &str) -> (&str, &str) {
    let mut end = 0;
    while let Some(rest) = address[end..].trim_start_matches('.').strip_prefix("module.") {
        let start = address.len() - rest.len();
        let (mut depth, mut quoted) = (0_u32, false);
        let length = rest.char_indices().find(|(_, c)| {
            match c {
                '"' if depth > 0 => quoted = !quoted,
                '[' if !quoted => depth += 1,
                ']' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            *c == '.' && depth == 0
        });
        let Some((length, _)) = length else { return (address, "") };
        end = start + length;
    }
    (&address[..end], address[end..].trim_start_matches('.'))
}

fn join(module: &str, own: &str) -> String {
    if module.is_empty() { own.to_owned() } else { format!("{module}.{own}") }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(plain(r#"module.a["x.y"].aws_b.c["]."][0]"#), "module.a.aws_b.c");
        assert_eq!(
            split_module(r#"module.a["x.y"].module.b.aws_b.c[0]"#),
            (r#"module.a["x.y"].module.b"#, "aws_b.c[0]")
        );
        assert_eq!(split_module("aws_b.c"), ("", "aws_b.c"));
    }

    #[test]
    fn references_pass_variables_and_outputs() {
        let raw = json!({"configuration": {"root_module": {
        "resources": [{"address": "aws_x.acl", "expressions": {"bucket": {"references": ["module.m.id", "module.m"]}}}],
        "module_calls": {
            "m": {"source": "./m", "module": {
                "resources": [{"address": "aws_s3_bucket.b", "expressions": {}}],
                "outputs": {"id": {"expression": {"references": ["aws_s3_bucket.b.id", "aws_s3_bucket.b"]}}}}},
            "n": {"source": "./n", "expressions": {"name": {"references": ["module.m.id", "module.m"]}},
                "module": {"resources": [{"address": "aws_x.y", "expressions": {"bucket": {"references": ["var.name"]}}}]}},
        }}}});
        let configuration = Configuration::read(&raw);
        let mut resources = vec![
            json!({"address": "module.m.aws_s3_bucket.b", "type": "aws_s3_bucket", "values": {}}),
            json!({"address": "aws_x.acl", "type": "aws_x", "values": {}}),
            json!({"address": "module.n.aws_x.y", "type": "aws_x", "values": {}}),
        ];
        resolve(&mut resources, &configuration);
        for at in [1, 2] {
            assert_eq!(resources[at]["links"]["bucket"], json!(["module.m.aws_s3_bucket.b"]));
            assert_eq!(resources[at]["open"], json!([]));
        }
    }

    #[test]
    fn instances_meet_by_index_and_names_by_value() {
        let raw = json!({"configuration": {"root_module": {"resources": [
            {"address": "aws_s3_bucket.b", "expressions": {}},
            {"address": "aws_x.y", "expressions": {"bucket": {"references": ["aws_s3_bucket.b", "each.key"]}}},
            {"address": "aws_x.z", "expressions": {"bucket": {"references": ["local.bucket"]}}}]}}});
        let mut resources = vec![
            json!({"address": "aws_s3_bucket.b[\"one\"]", "type": "aws_s3_bucket", "values": {"bucket": "first"}}),
            json!({"address": "aws_s3_bucket.b[\"two\"]", "type": "aws_s3_bucket", "values": {}}),
            json!({"address": "aws_x.y[\"two\"]", "type": "aws_x", "values": {}}),
            json!({"address": "aws_x.z", "type": "aws_x", "values": {"bucket": "first"}}),
        ];
        resolve(&mut resources, &Configuration::read(&raw));
        assert_eq!(resources[2]["links"]["bucket"], json!(["aws_s3_bucket.b[\"two\"]"]));
        assert_eq!(resources[3]["links"]["bucket"], json!(["aws_s3_bucket.b[\"one\"]"]));
        assert_eq!(resources[3]["open"], json!(["bucket"]));
    }
}
