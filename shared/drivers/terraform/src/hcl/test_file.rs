//! Reads test files (`*.tftest.hcl`, `*.tftest.json`): which of their runs would apply, and with what
//! providers. Like the rest it parses and never evaluates.

use std::collections::BTreeSet;

use hcl_edit::expr::Expression;
use hcl_edit::structure::{Attribute, Block, Structure};
use serde_json::{Map, Value};
use slipway_domain::fault::FieldError;

use super::place::{Place, Text};
use super::{json, literal, load, native};

/// The configuration under test that a `run` names instead of the root module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Module {
    /// The root module.
    Root,
    /// A directory beside it.
    Local(String),
    /// Something that must be fetched, or that only the tool can read.
    Elsewhere,
}

/// A `run` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestBlock {
    /// Its name.
    pub(crate) name: String,
    /// Whether it only plans. What does not say so applies.
    pub(crate) only_plans: bool,
    /// What it tests.
    pub(crate) module: Module,
    /// Whether it chooses its providers.
    pub(crate) chooses_providers: bool,
    /// Whether it keeps a state somewhere.
    pub(crate) has_backend: bool,
}

/// A test file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TestFile {
    /// Its runs, in order.
    pub(crate) runs: Vec<TestBlock>,
    /// Providers that it mocks: local name and alias.
    pub(crate) mocks: BTreeSet<(String, Option<String>)>,
    /// Local names of the real providers that it configures.
    pub(crate) real: BTreeSet<String>,
}

/// Reads the test file `file` with this content.
pub(crate) fn read(file: &str, content: &[u8]) -> Result<TestFile, FieldError> {
    let place = Place::file(file);
    if content.len() > load::MAX_FILE_BYTES {
        let most = load::MAX_FILE_BYTES >> 10;
        return Err(place.fault(format!("this test file is too long: at most {most} KiB")));
    }
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let text =
        std::str::from_utf8(content).map_err(|_| place.fault("this file is not UTF-8 text"))?;
    let text = Text::new(file, text);
    if file.ends_with(".json") {
        return json::parse(&text).map(|value| of_json(&value));
    }
    // The parser's cost grows with the square of them.
    if content.iter().filter(|b| matches!(b, b'=' | b':')).count() > load::MAX_FILE_ASSIGNMENTS {
        let most = load::MAX_FILE_ASSIGNMENTS;
        return Err(place.fault(format!("there are too many assignments to read: at most {most}")));
    }
    let mut found = TestFile::default();
    for structure in &native::parse(&text)? {
        let Structure::Block(block) = structure else { continue };
        let label = block.labels.first().map(|label| label.as_str().to_owned()).unwrap_or_default();
        match block.ident.as_str() {
            "run" => found.runs.push(run(label, block)),
            "mock_provider" => {
                let alias = block.body.get_attribute("alias");
                let alias = alias.and_then(|a| literal::text(&a.value));
                found.mocks.insert((label, alias));
            }
            "provider" => {
                found.real.insert(label);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn run(name: String, block: &Block) -> TestBlock {
    let body = &block.body;
    let keyword = |attribute: &Attribute| match &attribute.value {
        Expression::Variable(word) => Some(word.as_str().to_owned()),
        other => literal::text(other),
    };
    let module = body.get_blocks("module").next().map_or(Module::Root, |module| {
        let source = module.body.get_attribute("source");
        tested(source.and_then(|source| literal::text(&source.value)))
    });
    TestBlock {
        name,
        only_plans: body.get_attribute("command").and_then(keyword).as_deref() == Some("plan"),
        module,
        chooses_providers: body.get_attribute("providers").is_some(),
        has_backend: body.get_blocks("backend").next().is_some(),
    }
}

/// By the source that a run names; `None`: it is no literal.
fn tested(source: Option<String>) -> Module {
    match source {
        Some(source) if source.starts_with("./") || source.starts_with("../") => {
            Module::Local(source)
        }
        _ => Module::Elsewhere,
    }
}

fn of_json(value: &Value) -> TestFile {
    let mut found = TestFile::default();
    for body in json::bodies(value) {
        for (name, run) in body.get("run").into_iter().flat_map(json::labelled) {
            found.runs.push(run_of_json(name, run));
        }
        for (name, mock) in body.get("mock_provider").into_iter().flat_map(json::labelled) {
            let alias = mock.get("alias").and_then(Value::as_str).map(str::to_owned);
            found.mocks.insert((name.clone(), alias));
        }
        for (name, _) in body.get("provider").into_iter().flat_map(json::labelled) {
            found.real.insert(name.clone());
        }
    }
    found
}

fn run_of_json(name: &str, body: &Map<String, Value>) -> TestBlock {
    let module = body.get("module").map_or(Module::Root, |module| {
        let source = json::bodies(module).first().and_then(|module| module.get("source"));
        tested(source.and_then(Value::as_str).map(str::to_owned))
    });
    TestBlock {
        name: name.to_owned(),
        only_plans: body.get("command").and_then(Value::as_str) == Some("plan"),
        module,
        chooses_providers: body.contains_key("providers"),
        has_backend: body.contains_key("backend"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans(name: &str) -> TestBlock {
        TestBlock {
            name: name.to_owned(),
            only_plans: true,
            module: Module::Root,
            chooses_providers: false,
            has_backend: false,
        }
    }

    #[test]
    fn a_run_applies_unless_it_says_plan() {
        let text = "variables {\n  a = 1\n}\nrun \"a\" {\n  command = plan\n}\nrun \"b\" {}\n\
                    run \"c\" {\n  command = apply\n}\nrun \"d\" {\n  command = local.plan\n}\n";
        let found = read("a.tftest.hcl", text.as_bytes()).unwrap();
        let seen: Vec<_> = found.runs.iter().map(|r| (r.name.as_str(), r.only_plans)).collect();
        assert_eq!(seen, [("a", true), ("b", false), ("c", false), ("d", false)]);
        assert_eq!(found.runs[0], plans("a"));
        let json = r#"{"run": {"a": {"command": "plan"}, "b": {}, "c": [{"command": "plan"}]}}"#;
        let found = read("a.tftest.json", json.as_bytes()).unwrap();
        let seen: Vec<_> = found.runs.iter().map(|r| (r.name.as_str(), r.only_plans)).collect();
        assert_eq!(seen, [("a", true), ("b", false), ("c", true)]);
    }

    #[test]
    fn modules_providers_and_backends_of_runs_are_seen() {
        let text = "mock_provider \"aws\" {}\nmock_provider \"aws\" {\n  alias = \"west\"\n}\n\
                    provider \"null\" {}\n\
                    run \"a\" {\n  module {\n    source = \"./tests/setup\"\n  }\n}\n\
                    run \"b\" {\n  module {\n    source = \"acme/setup/aws\"\n  }\n  \
                    providers = {\n    aws = aws.west\n  }\n}\n\
                    run \"c\" {\n  backend \"s3\" {}\n}\n";
        let found = read("a.tftest.hcl", text.as_bytes()).unwrap();
        assert_eq!(found.mocks, [("aws".into(), None), ("aws".into(), Some("west".into()))].into());
        assert_eq!(found.real, ["null".to_owned()].into());
        assert_eq!(found.runs[0].module, Module::Local("./tests/setup".into()));
        assert_eq!(found.runs[1].module, Module::Elsewhere);
        assert!(found.runs[1].chooses_providers && found.runs[2].has_backend);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        let bad = read("tests/a.tftest.hcl", b"run \"a\" {\n  command = [\n").unwrap_err();
        assert_eq!(bad.file.as_deref(), Some("tests/a.tftest.hcl"));
        assert!(bad.line.is_some(), "{bad:?}");
        assert!(read("a.tftest.hcl", b"\xff").is_err());
        assert!(read("a.tftest.json", b"{").is_err());
        let many = "a = 1\n".repeat(load::MAX_FILE_ASSIGNMENTS + 1);
        assert!(read("a.tftest.hcl", many.as_bytes()).is_err());
        assert!(read("a.tftest.hcl", &vec![b' '; load::MAX_FILE_BYTES + 1]).is_err());
    }
}
