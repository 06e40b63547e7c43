//! Which test files are run. A file whose runs would make real things is left out, with the reason,
//! unless that is allowed: it is never run in the hope that it does no harm.

use std::collections::BTreeSet;
use std::path::PathBuf;

use slipway_domain::plan::Diagnostic;
use slipway_domain::port::driver::DriverError;
use slipway_domain::test_report::{MAX_RUNS, TestCase, TestSettings, TestStatus};
use slipway_domain::tree::Tree;

use crate::allow::{self, Named};
use crate::hcl::test_file::{self, Module, TestBlock, TestFile};
use crate::hcl::{self, Asked, Configuration, Dialect};
use crate::workspace::{Workspace, remove, trouble, write_private};

/// Where tests are looked for beside the root module itself.
const DIRECTORY: &str = "tests";
/// Begins the names of the files of checks.
const CHECK: &str = "slipway_check_";
/// Ends them.
const SUFFIX: &str = ".tftest.hcl";
/// Most test files.
const MAX_FILES: usize = 500;

/// What is run, and what is not.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// The cases that are known before anything is run: files that are left out, or cannot be read.
    pub(crate) cases: Vec<TestCase>,
    /// How many files are left to run.
    pub(crate) files: usize,
    /// Whether one of them may make real things.
    pub(crate) applies: bool,
    /// Whether they need more installed than the configuration does.
    pub(crate) needs_more: bool,
    /// The providers that they name, beyond the configuration's own.
    pub(crate) named: Named,
}

/// What the files are judged by.
pub(crate) struct Judge<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) configuration: Option<&'a Configuration>,
    pub(crate) dialect: Dialect,
    pub(crate) settings: &'a TestSettings,
}

/// A test file in the workspace.
struct Found {
    path: PathBuf,
    /// Its path in the source tree; that of a check is its name alone.
    shown: String,
    is_check: bool,
}

/// What a person calls the test file that the tool names so, and its path in the source tree.
pub(crate) fn known_as(workspace: &Workspace, named: &str) -> (String, Option<String>) {
    let file = named.rsplit('/').next().unwrap_or(named);
    if let Some(check) = file.strip_prefix(CHECK).and_then(|rest| rest.strip_suffix(SUFFIX)) {
        return (format!("check {check}"), None);
    }
    let path = workspace.in_source(named).unwrap_or_else(|| named.to_owned());
    (path.clone(), Some(path))
}

/// Puts the checks beside the configuration's own tests, and removes what is not to be run. It looks
/// at the files as the tool will see them, links followed. Blocking.
pub(crate) fn select(workspace: &Workspace, judge: &Judge<'_>) -> Result<Selection, DriverError> {
    let mut selection = Selection::default();
    let own = find(workspace, judge.dialect)?;
    for found in &own {
        if found.is_check {
            return Err(DriverError::permanent(format!(
                "the source has a test file {:?}: names that begin with {CHECK:?} are kept for \
                 checks that are given beside it",
                found.shown
            )));
        }
    }
    if own.len() > MAX_FILES {
        return Err(DriverError::permanent(format!("there are more than {MAX_FILES} test files")));
    }
    for check in &judge.settings.checks {
        let path = workspace.module().join(format!("{CHECK}{}{SUFFIX}", check.name));
        write_private(&path, check.content.as_bytes())?;
    }
    let mut runs = 0;
    for found in find(workspace, judge.dialect)? {
        if !found.is_check && !judge.settings.terraform_test {
            remove(&found.path).map_err(trouble)?;
            continue;
        }
        let content = std::fs::read(&found.path).map_err(trouble)?;
        let left_out = match read(&found, &content) {
            Ok(file) => {
                runs += file.runs.len();
                let why = judge.look(&file, &mut selection).err();
                why.map(|why| found.case(TestStatus::Skipped).because(why))
            }
            Err(said) => Some(found.case(TestStatus::Error).saying(vec![said])),
        };
        match left_out {
            None => selection.files += 1,
            Some(case) => {
                selection.cases.push(case);
                remove(&found.path).map_err(trouble)?;
            }
        }
    }
    if runs > MAX_RUNS {
        return Err(DriverError::permanent(format!(
            "there are {runs} runs in the test files; at most {MAX_RUNS} are run at a time"
        )));
    }
    Ok(selection)
}

impl Found {
    fn case(&self, status: TestStatus) -> TestCase {
        let file = (!self.is_check).then(|| self.shown.clone());
        TestCase { file, ..TestCase::of(self.shown.clone(), status) }
    }
}

fn read(found: &Found, content: &[u8]) -> Result<TestFile, Diagnostic> {
    // The end of its name says how it is read.
    let suffix = if found.is_check { SUFFIX } else { "" };
    test_file::read(&format!("{}{suffix}", found.shown), content).map_err(|problem| {
        let file = problem.file.filter(|_| !found.is_check);
        let (line, column) = (problem.line, problem.column);
        let said = Diagnostic::error("The test file cannot be read", problem.detail);
        Diagnostic { file, line, column, ..said }
    })
}

/// The test files that the tool would find.
fn find(workspace: &Workspace, dialect: Dialect) -> Result<Vec<Found>, DriverError> {
    let mut found = Vec::new();
    for dir in ["", DIRECTORY] {
        let Ok(entries) = std::fs::read_dir(workspace.module().join(dir)) else { continue };
        for entry in entries {
            let entry = entry.map_err(trouble)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_test(&name, dialect) || !entry.path().is_file() {
                continue;
            }
            let named = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            let (shown, file) = known_as(workspace, &named);
            found.push(Found { path: entry.path(), shown, is_check: file.is_none() });
        }
    }
    found.sort_by(|a, b| (a.is_check, &a.shown).cmp(&(b.is_check, &b.shown)));
    Ok(found)
}

fn is_test(name: &str, dialect: Dialect) -> bool {
    let ends = |suffix: &str| name.ends_with(suffix);
    ends(SUFFIX)
        || ends(".tftest.json")
        || dialect != Dialect::Terraform && (ends(".tofutest.hcl") || ends(".tofutest.json"))
}

impl Judge<'_> {
    /// Whether a file may be run; if not, why.
    fn look(&self, file: &TestFile, into: &mut Selection) -> Result<(), String> {
        for run in &file.runs {
            if run.has_backend {
                return Err(format!(
                    "the run {:?} has a backend block, and tests here keep no state: remove it",
                    run.name
                ));
            }
            if let Module::Local(source) = &run.module {
                // One that leaves the source tree is not read either.
                self.local(source)?;
            }
        }
        let applying = file.runs.iter().find(|run| !run.only_plans);
        let mut real = false;
        if let Some(run) = applying
            && let Err(obstacle) = self.all_mocked(file)
        {
            if !self.settings.allow_apply {
                return Err(format!(
                    "the run {:?} applies, which makes real things ({obstacle}): write `command = \
                     plan` in it (what does not say so applies), mock every provider, or allow it \
                     with `allow_apply`",
                    run.name
                ));
            }
            real = true;
        }
        into.applies |= real;
        self.note(file, into);
        Ok(())
    }

    /// Whether nothing real can come of the applying runs of a file; if not, why.
    fn all_mocked(&self, file: &TestFile) -> Result<(), String> {
        if file.mocks.is_empty() {
            return Err("it mocks no provider".to_owned());
        }
        if !file.real.is_empty() {
            return Err("it configures a real provider".to_owned());
        }
        let mocked: BTreeSet<String> = file
            .mocks
            .iter()
            .filter(|(_, alias)| alias.is_none())
            .map(|(name, _)| self.address(name))
            .collect();
        let mut root = false;
        for run in file.runs.iter().filter(|run| !run.only_plans) {
            if run.chooses_providers {
                return Err(format!("the run {:?} chooses its providers", run.name));
            }
            match self.tested(run)? {
                None => root = true,
                Some(configuration) => {
                    if let Some((name, _)) = configuration.configured.first() {
                        return Err(format!("a module of it configures the provider {name}"));
                    }
                    harmless(&configuration, &mocked)?;
                }
            }
        }
        if root {
            let configuration =
                self.configuration.ok_or("the configuration cannot be read here")?;
            for (name, alias) in &configuration.configured {
                if alias.is_some() && !file.mocks.contains(&(name.clone(), alias.clone())) {
                    let alias = alias.as_deref().unwrap_or_default();
                    return Err(format!("the provider {name}.{alias} is not mocked"));
                }
            }
            harmless(configuration, &mocked)?;
        }
        Ok(())
    }

    /// The module that a run tests; `None` for the root module.
    fn tested(&self, run: &TestBlock) -> Result<Option<Configuration>, String> {
        match &run.module {
            Module::Root => Ok(None),
            Module::Elsewhere => {
                Err(format!("the module of the run {:?} cannot be read here", run.name))
            }
            Module::Local(source) => self.local(source).map(Some),
        }
    }

    fn local(&self, source: &str) -> Result<Configuration, String> {
        let root = self.configuration.map(|c| c.root.as_str()).unwrap_or_default();
        hcl::load(self.tree, Some(&format!("{root}/{source}")), self.dialect)
            .map_err(|_| format!("the module {source:?} cannot be read here"))
    }

    /// The source address of a provider, by its local name in the root module.
    fn address(&self, name: &str) -> String {
        let known = self.configuration.and_then(|c| c.local_names.get(name).cloned());
        known.unwrap_or_else(|| format!("hashicorp/{name}").to_lowercase())
    }

    /// Notes what a file that is run needs beyond the configuration.
    fn note(&self, file: &TestFile, into: &mut Selection) {
        let has =
            |address: &str| self.configuration.is_some_and(|c| c.providers.contains_key(address));
        let names = file.mocks.iter().map(|(name, _)| name).chain(&file.real);
        for name in names.filter(|name| name.as_str() != "terraform") {
            let address = self.address(name);
            if !has(&address) {
                into.needs_more = true;
                let asked = Asked { module: "(a test file)".to_owned(), place: None };
                into.named.entry(allow::full(&address, self.dialect)).or_insert(asked);
            }
        }
        for run in &file.runs {
            if run.module == Module::Root {
                continue;
            }
            into.needs_more = true;
            if let Ok(Some(configuration)) = self.tested(run) {
                for (address, asked) in configuration.providers {
                    into.named.entry(allow::full(&address, self.dialect)).or_insert(asked);
                }
            }
        }
    }
}

/// Whether a configuration acts through providers that are mocked, and through nothing else.
fn harmless(configuration: &Configuration, mocked: &BTreeSet<String>) -> Result<(), String> {
    if configuration.acts {
        // Measured: a mocked resource runs its provisioners.
        return Err("it has provisioners, actions, or providers of modules, which run although \
                    providers are mocked"
            .to_owned());
    }
    if !configuration.understood || configuration.remote_modules() {
        return Err("a part of the configuration cannot be read here".to_owned());
    }
    match configuration.providers.keys().find(|address| !mocked.contains(*address)) {
        Some(address) => Err(format!("the provider {address} is not mocked")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
