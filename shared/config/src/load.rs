//! Puts the sources together: flags over variables over the file over defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use slipway_domain::Secret;

use crate::Config;
use crate::problem::{ConfigError, Problem};
use crate::provenance::{Provenance, Provenances};
use crate::schema::{self, Key};
use crate::suggest::{did_you_mean, nearest};
use crate::{render, toml_file, value};

/// The file that is read, if it is there, when none is named.
pub const DEFAULT_FILE: &str = "slipway.toml";
/// The variable that names the TOML file.
pub const CONFIG_VARIABLE: &str = "SLIPWAY_CONFIG";
/// The variable that names the server, for the client commands. Not part of the configuration.
pub const URL_VARIABLE: &str = "SLIPWAY_URL";
/// The variable with the token that the client commands show. Not part of the configuration.
pub const TOKEN_VARIABLE: &str = "SLIPWAY_TOKEN";

const PREFIX: &str = "SLIPWAY_";
/// Variables of tests and benchmarks.
const RESERVED_PREFIXES: [&str; 2] = ["SLIPWAY_TEST_", "SLIPWAY_BENCH_"];
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// The variables of this process that may concern Slipway. This is the only place that reads the
/// environment for it.
pub fn read_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            // What is not UTF-8 is kept, so that it is reported and not silently left out.
            name.starts_with(PREFIX).then(|| (name, value.to_string_lossy().into_owned()))
        })
        .collect()
}

/// The token that the client commands show, when [`TOKEN_VARIABLE`] holds one.
pub fn client_token() -> Option<Secret<String>> {
    let token = std::env::var_os(TOKEN_VARIABLE)?.into_string().ok()?;
    (!token.trim().is_empty()).then(|| Secret::new(token.trim().to_owned()))
}

/// Where the client commands keep what is of whoever runs them: `$XDG_CONFIG_HOME/slipway`, else
/// `~/.config/slipway`.
pub fn user_dir() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(base.join("slipway"))
}

/// The sources of a configuration.
#[derive(Clone)]
pub struct Loader {
    /// Environment variables. Those that do not begin with `SLIPWAY_` are passed over, and so are
    /// empty ones: an empty variable counts as not set.
    pub env: Vec<(String, String)>,
    /// The TOML file. One that is named must exist. `None` takes the one that `SLIPWAY_CONFIG`
    /// names, else [`Loader::default_file`].
    pub file: Option<PathBuf>,
    /// The file that is read, if it exists, when none is named.
    pub default_file: Option<PathBuf>,
    /// Defaults of the command that runs, below everything else: key and text, as in a variable.
    pub defaults: Vec<(String, String)>,
    /// Flags, above everything else: key (`api.listen`) and text, as in a variable.
    pub overrides: Vec<(String, String)>,
}

impl Loader {
    /// Sources with these variables, no flags, and [`DEFAULT_FILE`] in the working directory.
    pub fn new(env: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            env: env.into_iter().collect(),
            file: None,
            default_file: Some(PathBuf::from(DEFAULT_FILE)),
            defaults: Vec::new(),
            overrides: Vec::new(),
        }
    }

    /// Names the TOML file; it must exist. `None` changes nothing.
    #[must_use]
    pub fn with_file(mut self, file: Option<PathBuf>) -> Self {
        self.file = file.or(self.file);
        self
    }

    /// Sets `key` by a flag. `None` (the flag was not given) changes nothing.
    #[must_use]
    pub fn with_flag(mut self, key: &str, value: Option<impl ToString>) -> Self {
        self.overrides.extend(value.map(|value| (key.to_owned(), value.to_string())));
        self
    }

    /// Gives `key` another default, for the command that runs.
    #[must_use]
    pub fn with_default(mut self, key: &str, value: impl Into<String>) -> Self {
        self.defaults.push((key.to_owned(), value.into()));
        self
    }

    /// Reads everything. The error has every problem that was found.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let keys = schema::keys();
        let mut gathered = Gathered::default();
        for (path, text) in &self.defaults {
            gathered.take_text(find(&keys, path), path, text, Provenance::Default);
        }
        self.take_file(&keys, &mut gathered);
        self.take_env(&keys, &mut gathered);
        for (path, text) in &self.overrides {
            gathered.take_text(find(&keys, path), path, text, Provenance::Flag);
        }
        gathered.finish()
    }

    fn take_file(&self, keys: &[Key], gathered: &mut Gathered) {
        let named = self.file.clone().or_else(|| {
            let (_, path) = self.env.iter().find(|(name, _)| name == CONFIG_VARIABLE)?;
            (!path.is_empty()).then(|| PathBuf::from(path))
        });
        let said = match (&named, &self.default_file) {
            (Some(path), _) => toml_file::read(path, true, keys),
            (None, Some(path)) => toml_file::read(path, false, keys),
            (None, None) => return,
        };
        for (key, value, place) in said.values {
            gathered.take(&key, value, place);
        }
        said.problems.into_iter().for_each(|problem| gathered.fail(problem));
    }

    fn take_env(&self, keys: &[Key], gathered: &mut Gathered) {
        let mut set_by = BTreeMap::<&str, &str>::new();
        for (name, text) in &self.env {
            let reserved = RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                || name == CONFIG_VARIABLE
                || name == URL_VARIABLE
                || name == TOKEN_VARIABLE;
            if !name.starts_with(PREFIX) || reserved {
                continue;
            }
            let place = Provenance::Env { name: name.clone() };
            let plain = keys.iter().find(|key| key.env == *name);
            let from_file =
                keys.iter().find(|key| key.env_file().is_some_and(|file| file == *name));
            let Some(key) = plain.or(from_file) else {
                gathered.fail(Problem::in_place(place, unknown_variable(name, keys)));
                continue;
            };
            if text.is_empty() {
                continue;
            }
            if let Some(other) = set_by.insert(&key.path, name) {
                gathered.fail(Problem {
                    place: Some(place),
                    ..Problem::at(
                        &key.path,
                        format!("it is set by {other} too; set one of the two"),
                    )
                });
                continue;
            }
            if plain.is_some() {
                gathered.take_text(Some(key), &key.path, text, place);
                continue;
            }
            match toml_file::text_of(Path::new(text), MAX_SECRET_BYTES) {
                Ok(secret) if secret.trim().is_empty() => gathered.fail(Problem {
                    place: Some(place),
                    ..Problem::at(&key.path, format!("the file {text} is empty"))
                }),
                Ok(secret) => gathered.take_text(Some(key), &key.path, &secret, place),
                Err((_, why)) => gathered.fail(Problem {
                    place: Some(place),
                    ..Problem::at(&key.path, format!("the file {text} cannot be read: {why}"))
                }),
            }
        }
    }
}

fn find<'k>(keys: &'k [Key], path: &str) -> Option<&'k Key> {
    keys.iter().find(|key| key.path == path)
}

fn unknown_variable(name: &str, keys: &[Key]) -> String {
    if let Some(key) = name.strip_suffix("_FILE").and_then(|n| keys.iter().find(|k| k.env == n)) {
        return format!("only secrets can be read from a file; set {}", key.env);
    }
    let files: Vec<_> = keys.iter().filter_map(Key::env_file).collect();
    let known = keys
        .iter()
        .map(|key| key.env.as_str())
        .chain(files.iter().map(String::as_str))
        .chain([CONFIG_VARIABLE, URL_VARIABLE, TOKEN_VARIABLE]);
    format!("unknown variable{}", did_you_mean(nearest(name, known, '_')))
}

/// What the sources said so far. Later sources go over earlier ones.
#[derive(Default)]
struct Gathered {
    values: BTreeMap<String, Value>,
    provenance: Provenances,
    problems: Vec<Problem>,
    /// Keys whose value could not be read: rules that concern them are not checked.
    unread: BTreeSet<String>,
}

impl Gathered {
    fn take(&mut self, key: &str, value: Value, place: Provenance) {
        self.values.insert(key.to_owned(), value);
        self.provenance.set(key, place);
    }

    fn take_text(&mut self, key: Option<&Key>, path: &str, text: &str, place: Provenance) {
        let read = match key {
            Some(key) => value::from_text(&key.kind, text),
            None => Err("there is no such key".to_owned()),
        };
        match read {
            Ok(value) => self.take(path, value, place),
            Err(detail) => {
                self.fail(Problem { place: Some(place), ..Problem::at(path, detail) });
            }
        }
    }

    fn fail(&mut self, problem: Problem) {
        self.unread.insert(problem.key.clone());
        self.problems.push(problem);
    }

    fn finish(mut self) -> Result<Loaded, ConfigError> {
        let mut tree = schema::defaults();
        for (key, value) in &self.values {
            let slot = key.split('.').fold(&mut tree, |at, part| &mut at[part]);
            *slot = value.clone();
        }
        let Ok(mut config) = serde_json::from_value::<Config>(tree) else {
            // Each value was read by its own rule, so this is a rule that is missing. The cause
            // is not shown: it may quote a secret.
            self.problems.push(Problem::at("", "a value has a form that is not allowed"));
            return Err(ConfigError { problems: self.problems });
        };
        config.fill_below_data_dir(|key| self.values.contains_key(key));
        for mut problem in config.validate() {
            let mut about = std::iter::once(&problem.key).chain(&problem.related);
            if about.any(|key| self.unread.contains(key)) {
                continue;
            }
            problem.place = Some(self.provenance.of(&problem.key).clone());
            self.problems.push(problem);
        }
        if self.problems.is_empty() {
            Ok(Loaded { config, provenance: self.provenance })
        } else {
            Err(ConfigError { problems: self.problems })
        }
    }
}

/// A configuration that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where they came from.
    pub provenance: Provenances,
}

impl Loaded {
    /// The values as TOML, secrets masked, each with a comment that tells where it came from.
    pub fn render(&self) -> String {
        render::toml(&self.config, &self.provenance)
    }
}
