//! A pack before it is kept: read out of what was sent, linted, compiled, and its tests run. Pure
//! work within limits; it asks nobody and keeps nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::policy::{PolicyModule, PolicyRule, PolicyVersion};
use slipway_domain::tree::{Limits as TreeLimits, Tree};
use slipway_policy::{Engine, Limits, Module, Pack, Problem, TestOutcome, run_tests};

use super::{Sent, UploadPolicy};

/// Bytes of an archive with a pack.
pub const MAX_ARCHIVE_BYTES: usize = 2 << 20;
/// Problems that are told at once.
const MAX_PROBLEMS: usize = 100;

/// What an archive or directory with a pack may hold; what is not Rego does not count as the pack,
/// and is read all the same.
pub const fn tree_limits() -> TreeLimits {
    TreeLimits { total_bytes: 4 << 20, entries: 500 }
}

/// The limits of an upload: somebody waits for the answer.
fn limits() -> Limits {
    Limits {
        time: Duration::from_secs(2),
        tests_time: Duration::from_secs(10),
        ..Limits::default()
    }
}

/// A pack that may be kept.
#[derive(Debug, Clone)]
pub struct Checked {
    pack: Pack,
    engine: Engine,
    tests_passed: u32,
}

impl Checked {
    /// Digest of its text.
    pub fn digest(&self) -> &str {
        self.engine.digest()
    }

    /// What is known of it as a version of a pack.
    pub fn version(&self, name: &str, number: i32) -> PolicyVersion {
        PolicyVersion {
            name: name.to_owned(),
            version: number,
            digest: self.digest().to_owned(),
            files: self.pack.modules().iter().map(|module| module.path.clone()).collect(),
            rules: rules_of(&self.engine),
            tests_passed: self.tests_passed,
            created_at: None,
            created_by: None,
        }
    }

    /// It, compiled.
    pub(super) fn engine(self) -> Arc<Engine> {
        Arc::new(self.engine)
    }

    /// Its files.
    pub fn modules(&self) -> Vec<PolicyModule> {
        modules_of(&self.pack)
    }
}

pub(super) fn modules_of(pack: &Pack) -> Vec<PolicyModule> {
    let module = |m: &Module| PolicyModule { path: m.path.clone(), text: m.text.clone() };
    pack.modules().iter().map(module).collect()
}

pub(super) fn rules_of(engine: &Engine) -> Vec<PolicyRule> {
    let rules = engine.rules().iter().map(|(id, info)| PolicyRule {
        id: id.clone(),
        title: info.title.clone(),
        severity: info.severity,
        verdict: info.verdict(),
        aliases: info.aliases.clone(),
    });
    rules.collect()
}

/// Reads what was sent and checks it.
pub(super) fn check_sent(sent: Sent) -> Result<Checked, Fault> {
    let tree = match sent {
        Sent::Archive(archive) => unpack(&archive)?,
        Sent::Modules(files) => gather(files, "")?,
    };
    check_tree(&tree)
}

fn unpack(archive: &Bytes) -> Result<Tree, Fault> {
    if archive.len() > MAX_ARCHIVE_BYTES {
        return Err(Fault::new(
            Code::TooLarge,
            format!("The archive is larger than {MAX_ARCHIVE_BYTES} bytes, the most for a pack."),
        ));
    }
    Ok(Tree::from_tar_gz(archive, tree_limits())?)
}

/// Files as a tree, so that their paths are looked at where all paths are.
pub(super) fn gather(files: UploadPolicy, at: &str) -> Result<Tree, Fault> {
    let mut tree = Tree::new();
    let mut problems = Vec::new();
    for (n, PolicyModule { path, text }) in files.modules.into_iter().enumerate() {
        let mut wrong = |why: String| {
            problems.push(FieldError::at(format!("{at}/modules/{n}/path"), why));
        };
        if !is_rego(&path) {
            wrong("a file of a pack is called `*.rego`".to_owned());
        } else if tree.file(path.trim_start_matches("./")).is_some() {
            wrong("there are two files of this name".to_owned());
        } else if let Err(why) = tree.add_file(&path, text, false) {
            wrong(why.to_string());
        }
    }
    if problems.is_empty() { Ok(tree) } else { Err(Fault::fields(Code::InvalidInput, problems)) }
}

fn is_rego(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, kind)| kind == "rego")
}

/// Checks the Rego files of a tree as a pack: that they parse, do only what a policy may, compile,
/// and that their tests pass. Everything that is wrong is said at once, with its place. Blocking, and
/// bounded in time.
pub fn check_tree(tree: &Tree) -> Result<Checked, Fault> {
    let limits = limits();
    let mut modules = Vec::new();
    let mut problems = Vec::new();
    for (path, _) in tree.entries().filter(|(path, _)| is_rego(path)) {
        match tree.file(path).map(|content| std::str::from_utf8(content)) {
            Some(Ok(text)) => {
                modules.push(Module { path: path.to_owned(), text: text.to_owned() });
            }
            _ => problems.push(FieldError {
                file: Some(path.to_owned()),
                ..FieldError::at("", "the file is not text in UTF-8")
            }),
        }
    }
    if modules.is_empty() && problems.is_empty() {
        problems.push(FieldError::at("", "There is no file called `*.rego` in it."));
    }
    if !problems.is_empty() {
        return Err(refused(problems));
    }
    let pack = Pack::user(modules);
    let wrong = |found: Vec<Problem>| refused(found.into_iter().map(field).collect());
    let engine = Engine::compile(&pack, limits).map_err(|e| wrong(e.problems))?;
    let tests = run_tests(&pack, limits).map_err(|e| wrong(e.problems))?;
    let failed: Vec<_> = tests.iter().filter_map(slipway_policy::TestReport::problem).collect();
    if !failed.is_empty() {
        return Err(wrong(failed));
    }
    let passed = tests.iter().filter(|test| test.outcome == TestOutcome::Passed).count();
    Ok(Checked { pack, engine, tests_passed: u32::try_from(passed).unwrap_or(u32::MAX) })
}

fn field(problem: Problem) -> FieldError {
    let place = |number: u32| (number > 0).then_some(number);
    FieldError {
        file: (!problem.file.is_empty()).then_some(problem.file),
        line: place(problem.line),
        column: place(problem.column),
        ..FieldError::at("", problem.message)
    }
}

fn refused(mut problems: Vec<FieldError>) -> Fault {
    let count = problems.len();
    problems.truncate(MAX_PROBLEMS);
    let detail = match problems.as_slice() {
        [one] => one.detail.clone(),
        _ => format!("{count} things are wrong with the pack; see `errors`."),
    };
    Fault { detail, ..Fault::fields(Code::InvalidPolicy, problems) }
}
