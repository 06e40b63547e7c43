//! Finds a root module and its local child modules in a source tree, and reads them all.

use std::collections::{BTreeMap, BTreeSet};

use slipway_domain::deployment::Variables;
use slipway_domain::fault::FieldError;
use slipway_domain::port::driver::Inspection;
use slipway_domain::template::InputSpec;
use slipway_domain::tree::Tree;
use slipway_domain::variable::{Hidden, secrets_in};

use super::declare::{Backend, Given, Module, Variable};
use super::place::{Place, Text};
use super::types::Type;
use super::{MAX_PROBLEMS, convert, json, native};

/// Largest configuration file, in bytes.
pub(super) const MAX_FILE_BYTES: usize = 1 << 20;
/// Configuration of all modules together, in bytes.
const MAX_TOTAL_BYTES: usize = 16 << 20;
/// Signs of assignment (`=` and `:`) in a file and in all together. The parser compares every key of
/// a body with all others of it, so the cost grows with the square.
pub(super) const MAX_FILE_ASSIGNMENTS: usize = 25_000;
const MAX_TOTAL_ASSIGNMENTS: usize = 100_000;
/// Most module calls, nested ones counted every time they are reached.
const MAX_CALLS: usize = 1000;
/// Deepest nesting of module calls.
const MAX_DEPTH: usize = 32;

/// Whose files count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `.tf` only.
    Terraform,
    /// `.tofu` too; `x.tofu` takes the place of `x.tf`.
    OpenTofu,
    /// It is not known yet which of them will run: like `OpenTofu`.
    Either,
}

/// A module call that is installed into `.terraform/modules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installed {
    /// Path of names, e.g. `net.subnet`.
    pub(crate) key: String,
    /// Source as Terraform writes it down.
    pub(crate) source: String,
    /// Version constraint.
    pub(crate) version: Option<String>,
    /// Directory in the tree, for a local one.
    pub(crate) dir: Option<String>,
}

/// Who asks for a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Path of names of the module; empty for the root module.
    pub(crate) module: String,
    /// Where in the tree.
    pub(crate) place: Option<Place>,
}

/// What is known of a configuration.
#[derive(Debug)]
pub(crate) struct Configuration {
    variables: Vec<Variable>,
    /// What the tree's own `terraform.tfvars` and `*.auto.tfvars` give.
    given: BTreeMap<String, Given>,
    /// Every module call, also those of local modules.
    pub(crate) modules: Vec<Installed>,
    /// Everything that decides which providers are installed, as text, in order.
    pub(crate) requirements: BTreeSet<String>,
    /// Source addresses of the providers in them, as they are written, and who asks for them first.
    pub(crate) providers: BTreeMap<String, Asked>,
    /// What it and its local modules say of the tool's version.
    pub(crate) required_versions: Vec<String>,
    /// Whether there is anything to install beyond the built-in provider.
    pub(crate) needs_providers: bool,
    /// Where the state is.
    pub(crate) backend: Backend,
    /// Where the `import` blocks of the root module lead, as it is written.
    imports: Vec<String>,
    /// The root module's directory.
    pub(crate) root: String,
    /// Which provider each local name of the root module stands for.
    pub(crate) local_names: BTreeMap<String, String>,
    /// The root module's provider configurations: local name and alias.
    pub(crate) configured: BTreeSet<(String, Option<String>)>,
    /// Whether something acts on the world beside the providers that the root module knows of:
    /// provisioners, actions, or provider configurations of other modules.
    pub(crate) acts: bool,
    /// Whether all of it was understood; if not, `init` must not be skipped.
    pub(crate) understood: bool,
}

impl Configuration {
    /// Whether an `import` block of its own may lead to an instance of this resource. Keys may be
    /// expressions, so they are not looked at.
    pub(crate) fn may_import(&self, kind: &str, name: &str) -> bool {
        let resource = format!("{kind}.{name}");
        self.imports.iter().any(|to| to.is_empty() || to.contains(&resource))
    }

    /// Whether the configuration itself asks for the provider with this full address
    /// (`registry.terraform.io/hashicorp/null`).
    pub(crate) fn requires(&self, provider: &str) -> bool {
        let short = provider.split_once('/').map(|(_, short)| short);
        self.providers.contains_key(provider)
            || short.is_some_and(|short| {
                // Only the tool's own registry may be left out.
                let own = ["registry.terraform.io/", "registry.opentofu.org/"];
                own.iter().any(|host| provider.starts_with(host))
                    && self.providers.contains_key(short)
            })
    }

    /// Whether a module must be fetched.
    pub(crate) fn remote_modules(&self) -> bool {
        self.modules.iter().any(|m| m.dir.is_none())
    }

    /// What the API shows of it.
    pub(crate) fn inspection(&self) -> Inspection {
        Inspection { inputs: self.variables.iter().map(|v| self.input(v)).collect() }
    }

    /// Names of the variables that a saved plan does not hold.
    pub(crate) fn ephemeral(&self) -> BTreeSet<&str> {
        let ephemeral = self.variables.iter().filter(|v| v.ephemeral == Some(true));
        ephemeral.map(|v| v.name.as_str()).collect()
    }

    /// What the tree itself gives to sensitive variables: defaults, and values of `*.tfvars`.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let mut values = Variables::new();
        for variable in self.variables.iter().filter(|v| v.sensitive == Some(true)) {
            let given = [self.given.get(&variable.name), variable.default.as_ref()];
            for (number, given) in given.into_iter().enumerate() {
                if let Some(Given::Literal(value)) = given {
                    values.insert(format!("{} {number}", variable.name), value.clone());
                }
            }
        }
        secrets_in(&values, &Hidden::All)
    }

    fn input(&self, variable: &Variable) -> InputSpec {
        let given = self.given.get(&variable.name).or(variable.default.as_ref());
        let sensitive = variable.sensitive.unwrap_or(false);
        let default = match given {
            Some(Given::Literal(value)) if !sensitive || value.is_null() => Some(value.clone()),
            _ => None,
        };
        InputSpec {
            name: variable.name.clone(),
            kind: variable.kind.as_ref().unwrap_or(&Type::Any).to_string(),
            description: variable.description.clone(),
            required: given.is_none(),
            default,
            sensitive,
            nullable: variable.nullable.unwrap_or(true),
            constraints: variable.constraints.clone(),
        }
    }
}

/// Reads the configuration whose root module is at `root`.
pub(crate) fn load(
    tree: &Tree,
    root: Option<&str>,
    dialect: Dialect,
) -> Result<Configuration, Vec<FieldError>> {
    let root = clean(root.unwrap_or_default())
        .ok_or_else(|| vec![FieldError::at("/source", "the root module's path leaves the tree")])?;
    let mut loader = Loader {
        tree,
        dirs: directories(tree),
        dialect,
        read: BTreeMap::new(),
        total: 0,
        assignments: 0,
    };
    if !loader.is_module(&root) {
        return Err(vec![FieldError::at("/source", loader.nothing_at(&root))]);
    }
    let mut found = Found::default();
    loader.walk(&root, "", 0, &mut Vec::new(), &mut found)?;
    let module = loader.read.remove(&root).unwrap_or_default();
    let given = loader.given(&root, &mut found.problems);
    for variable in &module.variables {
        check_default(variable, &mut found.problems);
    }
    if !found.problems.is_empty() {
        found.problems.truncate(MAX_PROBLEMS);
        return Err(found.problems);
    }
    let local_names = local_names(&module);
    Ok(Configuration {
        variables: module.variables,
        root,
        local_names,
        configured: module.configured.into_iter().collect(),
        acts: found.acts,
        given,
        modules: found.modules,
        needs_providers: found.needs_providers,
        requirements: found.requirements,
        required_versions: found.required_versions,
        providers: found.providers,
        backend: module.backend,
        imports: module.imports,
        understood: !found.unknown_blocks,
    })
}

fn check_default(variable: &Variable, problems: &mut Vec<FieldError>) {
    let (Some(kind), Some(Given::Literal(value))) = (&variable.kind, &variable.default) else {
        return;
    };
    if value.is_null() && variable.nullable == Some(false) {
        problems.push(variable.default_place.fault(format!(
            "the default of the variable {:?} is null, but it is not nullable",
            variable.name
        )));
        return;
    }
    let mut wrong = Vec::new();
    convert::check(value, kind, "it", "", &mut wrong);
    if let Some(first) = wrong.first() {
        problems.push(variable.default_place.fault(format!(
            "the default of the variable {:?} does not fit its type {kind}: {}",
            variable.name, first.detail
        )));
    }
}

#[derive(Default)]
struct Found {
    modules: Vec<Installed>,
    requirements: BTreeSet<String>,
    required_versions: Vec<String>,
    providers: BTreeMap<String, Asked>,
    needs_providers: bool,
    acts: bool,
    unknown_blocks: bool,
    problems: Vec<FieldError>,
}

struct Loader<'a> {
    tree: &'a Tree,
    /// File names by directory.
    dirs: BTreeMap<&'a str, Vec<&'a str>>,
    dialect: Dialect,
    read: BTreeMap<String, Module>,
    total: usize,
    assignments: usize,
}

fn directories(tree: &Tree) -> BTreeMap<&str, Vec<&str>> {
    let mut dirs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, _) in tree.entries() {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        dirs.entry(dir).or_default().push(name);
    }
    dirs
}

/// What kind of configuration file a name is.
fn syntax(name: &str) -> Option<(&str, Syntax)> {
    // Editors' own files, as Terraform ignores them.
    if name.starts_with('.')
        || name.ends_with('~')
        || (name.starts_with('#') && name.ends_with('#'))
    {
        return None;
    }
    let suffixes = [
        (".tf", Syntax { json: false, tofu: false }),
        (".tf.json", Syntax { json: true, tofu: false }),
        (".tofu", Syntax { json: false, tofu: true }),
        (".tofu.json", Syntax { json: true, tofu: true }),
    ];
    suffixes.into_iter().find_map(|(suffix, syntax)| Some((name.strip_suffix(suffix)?, syntax)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Syntax {
    json: bool,
    tofu: bool,
}

impl<'a> Loader<'a> {
    /// The configuration files of a directory: ordinary ones, then override files.
    fn files(&self, dir: &str) -> Vec<(String, Syntax, bool)> {
        let names = self.dirs.get(dir).map(Vec::as_slice).unwrap_or_default();
        let tofu_too = self.dialect != Dialect::Terraform;
        let mut files = Vec::new();
        for name in names {
            let Some((stem, syntax)) = syntax(name) else { continue };
            if syntax.tofu && !tofu_too {
                continue;
            }
            let json = if syntax.json { ".json" } else { "" };
            let shadow = format!("{stem}.tofu{json}");
            if !syntax.tofu && tofu_too && names.contains(&shadow.as_str()) {
                continue;
            }
            let path = if dir.is_empty() { (*name).to_owned() } else { format!("{dir}/{name}") };
            let over = stem == "override" || stem.ends_with("_override");
            files.push((path, syntax, over));
        }
        files.sort_by_key(|(path, _, over)| (*over, path.clone()));
        files
    }

    fn is_module(&self, dir: &str) -> bool {
        !self.files(dir).is_empty()
    }

    fn nothing_at(&self, root: &str) -> String {
        let place =
            if root.is_empty() { "the top of the source tree".into() } else { format!("{root:?}") };
        let mut elsewhere: Vec<&str> =
            self.dirs.keys().copied().filter(|dir| *dir != root && self.is_module(dir)).collect();
        elsewhere.sort_by_key(|dir| dir.matches('/').count());
        elsewhere.truncate(5);
        let hint = if elsewhere.is_empty() {
            String::new()
        } else {
            let list: Vec<_> = elsewhere
                .iter()
                .map(|d| format!("{:?}", if d.is_empty() { "." } else { d }))
                .collect();
            format!("; there are some in {}: set the source's path", list.join(", "))
        };
        format!("there is no Terraform configuration (no .tf file) at {place}{hint}")
    }

    fn text(&mut self, path: &str) -> Result<&'a str, FieldError> {
        let place = Place::file(path);
        let Some(content) = self.tree.file(path) else {
            return Err(place.fault("this is a link that leads to no file"));
        };
        self.total += content.len();
        if content.len() > MAX_FILE_BYTES || self.total > MAX_TOTAL_BYTES {
            return Err(place.fault(format!(
                "there is too much configuration to read: a file may have {} KiB and all \
                 together {} MiB",
                MAX_FILE_BYTES >> 10,
                MAX_TOTAL_BYTES >> 20
            )));
        }
        if !path.ends_with(".json") {
            let assignments = content.iter().filter(|b| matches!(b, b'=' | b':')).count();
            self.assignments += assignments;
            if assignments > MAX_FILE_ASSIGNMENTS || self.assignments > MAX_TOTAL_ASSIGNMENTS {
                return Err(place.fault(format!(
                    "there are too many assignments to read: a file may have \
                     {MAX_FILE_ASSIGNMENTS} and all together {MAX_TOTAL_ASSIGNMENTS}; a .tf.json \
                     or .tfvars.json file may have more"
                )));
            }
        }
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        std::str::from_utf8(content).map_err(|_| place.fault("this file is not UTF-8 text"))
    }

    fn module(&mut self, dir: &str) -> Module {
        let mut module = Module::default();
        for (path, syntax, over) in self.files(dir) {
            let text = match self.text(&path) {
                Ok(text) => Text::new(&path, text),
                Err(problem) => {
                    module.problems.push(problem);
                    continue;
                }
            };
            let file = if syntax.json { json::module(&text) } else { native::module(&text) };
            if over { module.merge(file) } else { module.add(file) }
        }
        module
    }

    /// Reads the module at `dir` and those that it calls.
    fn walk(
        &mut self,
        dir: &str,
        key: &str,
        depth: usize,
        above: &mut Vec<String>,
        found: &mut Found,
    ) -> Result<(), Vec<FieldError>> {
        if !self.read.contains_key(dir) {
            let mut module = self.module(dir);
            found.problems.append(&mut module.problems);
            self.read.insert(dir.to_owned(), module);
        }
        let Some(module) = self.read.get(dir) else { return Ok(()) };
        providers(module, key, found);
        found.unknown_blocks |= module.unknown_blocks;
        found.acts |= module.acts || !key.is_empty() && !module.configured.is_empty();
        found.required_versions.extend(module.required_versions.iter().cloned());
        above.push(dir.to_owned());
        for call in module.calls.clone() {
            let key =
                if key.is_empty() { call.name.clone() } else { format!("{key}.{}", call.name) };
            if found.modules.len() >= MAX_CALLS || depth >= MAX_DEPTH {
                return Err(vec![call.place.fault(format!(
                    "there are too many modules: at most {MAX_CALLS} calls, {MAX_DEPTH} deep"
                ))]);
            }
            let Some(source) = call.source else {
                // Not a literal: only the tool can say what it is.
                found.unknown_blocks = true;
                continue;
            };
            let local = source == "."
                || source == ".."
                || source.starts_with("./")
                || source.starts_with("../");
            if !local {
                found.modules.push(Installed { key, source, version: call.version, dir: None });
                continue;
            }
            let Some(child) = join(dir, &source) else {
                found.problems.push(call.place.fault(format!(
                    "the source {source:?} of the module {:?} leaves the source tree",
                    call.name
                )));
                continue;
            };
            if !self.is_module(&child) {
                found.problems.push(call.place.fault(format!(
                    "the source {source:?} of the module {:?} has no configuration: there is no .tf \
                     file in {child:?}",
                    call.name
                )));
                continue;
            }
            if above.contains(&child) {
                found.problems.push(
                    call.place
                        .fault(format!("the module {:?} calls itself: {source:?}", call.name)),
                );
                continue;
            }
            let source = normal(&source);
            found.modules.push(Installed {
                key: key.clone(),
                source,
                version: None,
                dir: Some(child.clone()),
            });
            self.walk(&child, &key, depth + 1, above, found)?;
        }
        above.pop();
        Ok(())
    }

    /// What the files of values give that Terraform reads by itself.
    fn given(&mut self, root: &str, problems: &mut Vec<FieldError>) -> BTreeMap<String, Given> {
        let names = self.dirs.get(root).cloned().unwrap_or_default();
        let mut files: Vec<&str> = names
            .into_iter()
            .filter(|n| {
                matches!(*n, "terraform.tfvars" | "terraform.tfvars.json")
                    || n.ends_with(".auto.tfvars")
                    || n.ends_with(".auto.tfvars.json")
            })
            .collect();
        files.sort_by_key(|n| (n.contains(".auto."), *n));
        let mut given = BTreeMap::new();
        for name in files {
            let path = if root.is_empty() { name.to_owned() } else { format!("{root}/{name}") };
            let values = self.text(&path).and_then(|text| {
                let text = Text::new(&path, text);
                if path.ends_with(".json") { json::values(&text) } else { native::values(&text) }
            });
            match values {
                Ok(values) => given.extend(values),
                Err(problem) => problems.push(problem),
            }
        }
        given
    }
}

/// The source address of the provider that a local name of a module stands for.
fn source_of(module: &Module, name: &str) -> String {
    match module.required.get(name).and_then(|r| r.source.clone()) {
        Some(source) => source,
        None if name == "terraform" => "terraform.io/builtin/terraform".to_owned(),
        None => format!("hashicorp/{name}"),
    }
}

fn local_names(module: &Module) -> BTreeMap<String, String> {
    let names = module.used.keys().chain(module.required.keys());
    names.map(|name| (name.clone(), source_of(module, name).to_lowercase())).collect()
}

/// Notes which providers a module needs.
fn providers(module: &Module, key: &str, found: &mut Found) {
    let builtin = |source: &str| source.starts_with("terraform.io/builtin/");
    for name in module.used.keys().chain(module.required.keys()) {
        let requirement = module.required.get(name);
        let source = source_of(module, name);
        if builtin(&source) {
            continue;
        }
        found.needs_providers = true;
        let version = requirement.and_then(|r| r.version.as_deref()).unwrap_or_default();
        found.requirements.insert(format!("{key}: {source} {version}"));
        let place = requirement.and_then(|r| r.place.clone());
        let place = place.or_else(|| module.used.get(name).cloned());
        let asked = Asked { module: key.to_owned(), place };
        found.providers.entry(source.to_lowercase()).or_insert(asked);
    }
}

/// A path without `.` and `..`; `None` when it leaves the tree.
fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn join(dir: &str, source: &str) -> Option<String> {
    clean(&format!("{dir}/{source}"))
}

/// A local source as Terraform writes it down: cleaned, beginning with `./` or `../`.
fn normal(source: &str) -> String {
    let mut up = 0;
    let mut parts: Vec<&str> = Vec::new();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => up += 1,
            ".." => {}
            part => parts.push(part),
        }
    }
    let rest = parts.join("/");
    let head = vec![".."; up].join("/");
    match (up, rest.is_empty()) {
        (0, _) => format!("./{rest}"),
        (_, true) => head,
        (_, false) => format!("{head}/{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_sources_are_cleaned_like_terraform_does() {
        for (given, clean) in [
            ("./a/", "./a"),
            ("./a//b/./c", "./a/b/c"),
            ("../x/../y", "../y"),
            ("../../z/", "../../z"),
            ("..", ".."),
            ("./", "./"),
        ] {
            assert_eq!(normal(given), clean, "{given}");
        }
        assert_eq!(join("env/prod", "../../mod/a").as_deref(), Some("mod/a"));
        assert_eq!(join("env", "../../x"), None);
    }
}
