//! What `terraform show -json PLANFILE` prints, as far as prices depend on it.

mod document;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use self::document::{ConfigModule, Document, RawChange, Stated};
use crate::error::CostError;
use crate::limits::Limits;
use crate::value::View;

static NULL: Value = Value::Null;

/// How a resource is written.
pub(crate) struct Written {
    pub(crate) expressions: Value,
    pub(crate) provider: String,
}

/// A module of the configuration: its parent, what the parent gives it, and its defaults.
struct Called {
    parent: String,
    given: Value,
    defaults: BTreeMap<String, Value>,
}

/// A side of a resource.
pub(crate) struct Known {
    values: Value,
    unknown: Value,
    sensitive: Value,
}

/// One managed resource of a plan.
pub(crate) struct Resource {
    /// Its address; of an object that waits to be removed, with that word behind it.
    pub(crate) address: String,
    /// The address without indexes, which is that of the configuration.
    pub(crate) bare: String,
    /// The modules of `bare`, e.g. `module.a.module.b`; empty for the root.
    pub(crate) module: String,
    pub(crate) kind: String,
    pub(crate) before: Option<Known>,
    pub(crate) after: Option<Known>,
    /// It is dropped from the state and stays in the world.
    pub(crate) forgotten: bool,
}

/// A plan.
pub(crate) struct Plan {
    pub(crate) resources: Vec<Resource>,
    variables: BTreeMap<String, Value>,
    written: HashMap<String, Written>,
    modules: HashMap<String, Called>,
    providers: BTreeMap<String, (String, Value)>,
    by_address: HashMap<String, usize>,
    by_bare: HashMap<String, Vec<usize>>,
    /// Of types that others refer to: by type and what they are called.
    by_name: HashMap<(&'static str, String), Vec<usize>>,
}

/// Types that others refer to for what decides about their price.
const REFERRED: &[&str] = &[
    "aws_db_instance",
    "aws_ecs_task_definition",
    "aws_elasticache_replication_group",
    "aws_launch_configuration",
    "aws_launch_template",
    "aws_rds_cluster",
    "azurerm_kubernetes_cluster",
    "azurerm_mssql_server",
    "google_container_cluster",
];

/// Most resources of one name that are looked at: a plan in which thousands are called the same must
/// not take a minute.
const NAMESAKES: usize = 64;

/// The modules of an address with their indexes, and the resource's own index.
fn ends(address: &str) -> (&str, &str) {
    let (mut inside, mut quoted, mut escaped) = (false, false, false);
    let (mut last, mut before, mut index) = (None, None, address.len());
    for (at, c) in address.char_indices() {
        if inside {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                ']' if !quoted => inside = false,
                _ => {}
            }
        } else if c == '[' {
            inside = true;
            index = at;
        } else if c == '.' {
            before = last;
            last = Some(at);
            index = address.len();
        }
    }
    (before.map_or("", |at| &address[..at]), &address[index..])
}

/// An address without its indexes. Keys may hold dots and brackets in quotes.
pub(crate) fn bare(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    let (mut inside, mut quoted, mut escaped) = (false, false, false);
    for c in address.chars() {
        if inside {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                ']' if !quoted => inside = false,
                _ => {}
            }
        } else if c == '[' {
            inside = true;
        } else {
            out.push(c);
        }
    }
    out
}

/// The modules of a bare address.
fn module_of(bare: &str, kind: &str) -> String {
    bare.rfind(&format!("{kind}."))
        .map(|at| bare[..at].trim_end_matches('.').to_owned())
        .unwrap_or_default()
}

fn joined(module: &str, rest: &str) -> String {
    if module.is_empty() { rest.to_owned() } else { format!("{module}.{rest}") }
}

impl Plan {
    /// Reads a plan's document.
    pub(crate) fn read(document: &[u8], limits: Limits) -> Result<Self, CostError> {
        if document.len() > limits.input_bytes {
            return Err(CostError::TooLarge { bytes: document.len(), limit: limits.input_bytes });
        }
        let document: Document =
            serde_json::from_slice(document).map_err(|why| CostError::NotAPlan(why.to_string()))?;
        if document.format_version.is_none() {
            return Err(CostError::NotAPlan("it has no `format_version`".to_owned()));
        }
        if document.resource_changes.is_none() && document.planned_values.is_none() {
            return Err(CostError::NotAPlan(
                "it has neither `resource_changes` nor `planned_values`".to_owned(),
            ));
        }

        let mut resources: Vec<Resource> = Vec::new();
        let mut listed = HashSet::new();
        for raw in document.resource_changes.unwrap_or_default() {
            if raw.mode != "data" {
                listed.insert(raw.address.clone());
                resources.push(Resource::of_change(raw));
            }
            if resources.len() > limits.resources {
                return Err(CostError::TooMany { limit: limits.resources });
            }
        }
        // Every managed resource is among the changes; older or foreign writers leave out what does
        // not change.
        let mut prior = HashMap::new();
        if let Some(root) = document.prior_state.and_then(|s| s.values).and_then(|v| v.root_module)
        {
            root.each(&mut |stated| {
                if !listed.contains(&stated.address) {
                    prior.insert(stated.address.clone(), stated);
                }
            });
        }
        if let Some(root) = document.planned_values.and_then(|v| v.root_module) {
            root.each(&mut |stated| {
                if listed.insert(stated.address.clone()) {
                    let before = prior.remove(&stated.address);
                    resources.push(Resource::of_states(stated, before));
                }
            });
        }
        if resources.len() > limits.resources {
            return Err(CostError::TooMany { limit: limits.resources });
        }

        let configuration = document.configuration.unwrap_or_default();
        let mut plan = Self {
            resources,
            variables: document.variables.into_iter().map(|(k, v)| (k, v.value)).collect(),
            written: HashMap::new(),
            modules: HashMap::new(),
            providers: configuration
                .provider_config
                .into_iter()
                .map(|(key, p)| (key, (bare(&p.module_address), p.expressions)))
                .collect(),
            by_address: HashMap::new(),
            by_bare: HashMap::new(),
            by_name: HashMap::new(),
        };
        plan.walk("", configuration.root_module);
        plan.index();
        Ok(plan)
    }

    fn index(&mut self) {
        let keep = |list: &mut Vec<usize>, i: usize| {
            if list.len() < NAMESAKES && !list.contains(&i) {
                list.push(i);
            }
        };
        for (i, resource) in self.resources.iter().enumerate() {
            let Some(kind) = REFERRED.iter().find(|kind| **kind == resource.kind) else { continue };
            self.by_address.insert(resource.address.clone(), i);
            keep(self.by_bare.entry(resource.bare.clone()).or_default(), i);
            for side in [&resource.after, &resource.before].into_iter().flatten() {
                for name in ["id", "name", "arn", "identifier", "cluster_identifier"] {
                    if let Some(text) = side.values.get(name).and_then(Value::as_str)
                        && !text.is_empty()
                    {
                        keep(self.by_name.entry((kind, text.to_owned())).or_default(), i);
                    }
                }
            }
        }
    }

    fn walk(&mut self, module: &str, written: ConfigModule) {
        for resource in written.resources {
            if resource.mode == "data" {
                continue;
            }
            let address = joined(module, &format!("{}.{}", resource.kind, resource.name));
            self.written.insert(
                address,
                Written {
                    expressions: resource.expressions,
                    provider: resource.provider_config_key,
                },
            );
        }
        for (name, call) in written.module_calls {
            let path = joined(module, &format!("module.{name}"));
            let defaults = &call.module.variables;
            self.modules.insert(
                path.clone(),
                Called {
                    parent: module.to_owned(),
                    given: call.expressions,
                    defaults: defaults
                        .iter()
                        .map(|(k, d)| (k.clone(), d.default.clone()))
                        .collect(),
                },
            );
            self.walk(&path, call.module);
        }
    }

    /// How a resource is written, if the plan says it.
    pub(crate) fn written(&self, resource: &Resource) -> Option<&Written> {
        self.written.get(&resource.bare)
    }

    /// The attribute of the provider that a resource is of, if it can be followed to a text.
    pub(crate) fn provider_text(
        &self,
        resource: &Resource,
        fallback: &str,
        attribute: &str,
    ) -> Option<String> {
        let key = self.written(resource).map(|w| w.provider.as_str()).filter(|k| !k.is_empty());
        let (module, expressions) = self.providers.get(key.unwrap_or(fallback))?;
        self.resolve(module, expressions.get(attribute)?, 0)
    }

    /// Follows an expression to a text: a constant, or exactly one variable.
    fn resolve(&self, module: &str, expression: &Value, depth: u8) -> Option<String> {
        let text = |value: &Value| value.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        if depth > 16 {
            return None;
        }
        if let Some(constant) = expression.get("constant_value") {
            return text(constant);
        }
        let references: Vec<&str> =
            expression.get("references")?.as_array()?.iter().filter_map(Value::as_str).collect();
        // `var.a.b` is given as `var.a.b` and `var.a`.
        let longest = references.iter().max_by_key(|r| r.len())?;
        let mut path = longest.split('.');
        if path.next() != Some("var") {
            return None;
        }
        let name = path.next()?;
        let root = format!("var.{name}");
        if !references.iter().all(|r| *r == root || r.starts_with(&format!("{root}."))) {
            return None;
        }
        let rest: Vec<&str> = path.collect();
        let inside = |value: &Value| {
            rest.iter().try_fold(value, |value, part| value.get(*part)).and_then(text)
        };
        if module.is_empty() {
            return inside(self.variables.get(name)?);
        }
        let called = self.modules.get(module)?;
        match called.given.get(name) {
            Some(given) if rest.is_empty() => self.resolve(&called.parent, given, depth + 1),
            Some(given) => inside(given.get("constant_value")?),
            None => inside(called.defaults.get(name)?),
        }
    }

    /// Resources of a type that a resource refers to in its configuration, or that a value of it
    /// names; those that most likely are meant come first.
    pub(crate) fn neighbours(
        &self,
        of: &Resource,
        kind: &'static str,
        names: &[&str],
    ) -> Vec<&Resource> {
        let mut found: Vec<usize> = Vec::new();
        if let Some(written) = self.written(of) {
            let mut references = HashSet::new();
            collect(&written.expressions, &mut references, 0);
            let prefix = format!("{kind}.");
            let mut addresses: Vec<String> = references
                .iter()
                .filter(|r| r.starts_with(&prefix))
                .map(|r| bare(r).split('.').take(2).collect::<Vec<_>>().join("."))
                .collect();
            addresses.sort();
            addresses.dedup();
            let (module, index) = ends(&of.address);
            for address in &addresses {
                // Of several, the one of the same module and the same index.
                let here = joined(module, address);
                let exact = [format!("{here}{index}"), here.clone(), format!("{here}[0]")];
                found.extend(exact.iter().find_map(|a| self.by_address.get(a)).copied());
            }
            for address in &addresses {
                let all = self.by_bare.get(&joined(&of.module, address));
                found.extend(all.into_iter().flatten().copied());
            }
        }
        if found.is_empty() {
            for side in [&of.after, &of.before].into_iter().flatten() {
                for text in names.iter().filter_map(|n| side.values.get(*n)?.as_str()) {
                    found.extend(self.by_name.get(&(kind, text.to_owned())).into_iter().flatten());
                }
            }
        }
        let mut seen = HashSet::new();
        found.retain(|i| seen.insert(*i));
        found.into_iter().map(|i| &self.resources[i]).collect()
    }
}

/// All references of an expression, however deep.
fn collect<'a>(expression: &'a Value, into: &mut HashSet<&'a str>, depth: u8) {
    if depth > 64 || into.len() > 4096 {
        return;
    }
    match expression {
        Value::Object(map) => {
            for (name, value) in map {
                match value {
                    Value::Array(items) if name == "references" => {
                        into.extend(items.iter().filter_map(Value::as_str));
                    }
                    other => collect(other, into, depth + 1),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, into, depth + 1)),
        _ => {}
    }
}

impl Resource {
    fn of_change(raw: RawChange) -> Self {
        let forgotten = raw.change.actions.iter().any(|a| a == "forget");
        let there = |values: Value, unknown: Value, sensitive: Value| {
            values.is_object().then_some(Known { values, unknown, sensitive })
        };
        let bare = bare(&raw.address);
        Self {
            module: module_of(&bare, &raw.kind),
            bare,
            address: match raw.deposed {
                Some(key) => format!("{} (deposed {key})", raw.address),
                None => raw.address,
            },
            kind: raw.kind,
            before: there(raw.change.before, Value::Null, raw.change.before_sensitive),
            after: there(raw.change.after, raw.change.after_unknown, raw.change.after_sensitive),
            forgotten,
        }
    }

    fn of_states(after: Stated, before: Option<Stated>) -> Self {
        let bare = bare(&after.address);
        let known = |s: Stated| Known {
            values: s.values,
            unknown: Value::Null,
            sensitive: s.sensitive_values,
        };
        Self {
            module: module_of(&bare, &after.kind),
            bare,
            address: after.address.clone(),
            kind: after.kind.clone(),
            before: before.map(known),
            after: Some(known(after)),
            forgotten: false,
        }
    }

    /// One side of it.
    pub(crate) fn view<'a>(
        &'a self,
        after: bool,
        written: Option<&'a Written>,
    ) -> Option<View<'a>> {
        let side = if after { &self.after } else { &self.before };
        side.as_ref().map(|known| {
            let configured = written.map(|w| &w.expressions);
            let unknown = if after { &known.unknown } else { &NULL };
            View::new(&known.values, unknown, &known.sensitive, configured)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_taken_off_an_address() {
        for (address, without) in [
            ("aws_instance.web", "aws_instance.web"),
            ("aws_instance.web[0]", "aws_instance.web"),
            (
                "module.a[\"x.y[0]\"].module.b[2].aws_instance.web[\"k]\"]",
                "module.a.module.b.aws_instance.web",
            ),
            ("aws_instance.web[\"a\\\"]b\"]", "aws_instance.web"),
        ] {
            assert_eq!(bare(address), without);
        }
        assert_eq!(
            module_of("module.a.module.b.aws_instance.web", "aws_instance"),
            "module.a.module.b"
        );
        assert_eq!(module_of("aws_instance.web", "aws_instance"), "");
    }
}
