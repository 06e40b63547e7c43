//! Reads `.tf` and `.tfvars` files: HCL's native syntax.

use std::collections::BTreeMap;

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, ObjectKey};
use hcl_edit::structure::{Attribute, Block, Body, Structure};
use slipway_domain::fault::FieldError;

use super::declare::{Backend, Call, Given, Module, Requirement, Variable};
use super::place::Text;
use super::types::Type;
use super::{literal, validation};

/// Reads a configuration file.
pub(crate) fn module(text: &Text<'_>) -> Module {
    let mut module = Module::default();
    let body = match parse(text) {
        Ok(body) => body,
        Err(problem) => {
            module.problems.push(problem);
            return module;
        }
    };
    for structure in &body {
        match structure {
            Structure::Block(block) => read(text, block, &mut module),
            Structure::Attribute(attribute) => {
                let place = text.span(attribute.span());
                let name = attribute.key.as_str();
                module.problems.push(place.fault(format!(
                    "the argument {name:?} is not expected here: a configuration file holds blocks"
                )));
            }
        }
    }
    module
}

/// Reads a file of values.
pub(crate) fn values(text: &Text<'_>) -> Result<BTreeMap<String, Given>, FieldError> {
    let body = parse(text)?;
    let mut values = BTreeMap::new();
    for structure in &body {
        match structure {
            Structure::Attribute(a) => {
                values.insert(a.key.as_str().to_owned(), given(&a.value));
            }
            Structure::Block(block) => {
                return Err(text.span(block.span()).fault(format!(
                    "the block {:?} is not expected here: a file of values holds name = value",
                    block.ident.as_str()
                )));
            }
        }
    }
    Ok(values)
}

pub(super) fn parse(text: &Text<'_>) -> Result<Body, FieldError> {
    hcl_edit::parser::parse_body(text.text).map_err(|error| {
        let place = text.at(error.location().offset());
        place.fault(format!("this is not valid HCL: {}", error.message()))
    })
}

fn given(expr: &Expression) -> Given {
    literal::value(expr).map_or(Given::Expression, Given::Literal)
}

fn read(text: &Text<'_>, block: &Block, module: &mut Module) {
    let place = text.span(block.span());
    let labels: Vec<&str> =
        block.labels.iter().map(hcl_edit::structure::BlockLabel::as_str).collect();
    let body = &block.body;
    let wrong = |what: &str| place.fault(what.to_owned());
    match (block.ident.as_str(), labels.as_slice()) {
        ("variable", [name]) => match variable(text, name, block) {
            Ok(variable) => module.variables.push(variable),
            Err(problem) => module.problems.push(problem),
        },
        ("variable", _) => {
            module.problems.push(wrong("a variable block has one label: variable \"name\" { … }"));
        }
        ("module", [name]) => {
            let argument = |key| body.get_attribute(key).and_then(|a| literal::text(&a.value));
            if body.get_attribute("source").is_none() && !is_override(text.file) {
                module.problems.push(wrong(&format!("the module {name:?} has no source")));
            }
            module.calls.push(Call {
                name: (*name).to_owned(),
                source: argument("source"),
                version: argument("version"),
                place,
            });
        }
        ("module", _) => {
            module.problems.push(wrong("a module block has one label: module \"name\" { … }"));
        }
        ("resource" | "data" | "ephemeral" | "list" | "action", [kind, _]) => {
            let provider = body.get_attribute("provider").and_then(root_name);
            module.uses(kind, provider.as_deref(), &place);
            module.acts |=
                body.get_blocks("provisioner").next().is_some() || block.ident.as_str() == "action";
        }
        ("resource" | "data" | "ephemeral", _) => module.problems.push(wrong(&format!(
            "a {0} block has two labels: {0} \"type\" \"name\" {{ … }}",
            block.ident.as_str()
        ))),
        ("provider", [name]) => {
            module.uses(name, Some(name), &place);
            let alias = body.get_attribute("alias").and_then(|a| literal::text(&a.value));
            module.configured.push(((*name).to_owned(), alias));
        }
        ("check", _) => {
            for data in body.get_blocks("data") {
                if let Some(kind) = data.labels.first() {
                    let provider = data.body.get_attribute("provider").and_then(root_name);
                    module.uses(kind.as_str(), provider.as_deref(), &place);
                }
            }
        }
        ("terraform" | "tofu", []) => settings(text, body, module),
        ("import", []) => {
            let to = body.get_attribute("to").map(|to| to.value.to_string());
            module.imports.push(to.unwrap_or_default());
            if let Some(provider) = body.get_attribute("provider").and_then(root_name) {
                module.uses("", Some(&provider), &place);
            }
        }
        ("removed", _) => {
            module.acts |= body.get_blocks("provisioner").next().is_some();
        }
        ("locals" | "output" | "moved", _) => {}
        (other, _) => {
            let known = [
                "variable",
                "resource",
                "data",
                "module",
                "output",
                "locals",
                "provider",
                "terraform",
                "ephemeral",
                "import",
                "moved",
                "removed",
                "check",
            ];
            // A newer Terraform may know it; a slip of a known word is nearly surely a slip.
            if let Some(near) = super::convert::nearest(other, known)
                && near != other
            {
                module.problems.push(wrong(&format!(
                    "there is no block type {other:?}; did you mean {near:?}?"
                )));
            }
            module.unknown_blocks = true;
        }
    }
}

fn is_override(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    let stem = name.split('.').next().unwrap_or(name);
    stem == "override" || stem.ends_with("_override")
}

/// The first name of a reference, e.g. `aws` of `aws.west`.
fn root_name(attribute: &Attribute) -> Option<String> {
    match &attribute.value {
        Expression::Variable(name) => Some(name.as_str().to_owned()),
        Expression::Traversal(traversal) => match &traversal.expr {
            Expression::Variable(name) => Some(name.as_str().to_owned()),
            _ => None,
        },
        Expression::String(text) => Some(text.value().clone()),
        _ => None,
    }
}

fn variable(text: &Text<'_>, name: &str, block: &Block) -> Result<Variable, FieldError> {
    let body = &block.body;
    let kind = match body.get_attribute("type") {
        None => None,
        Some(attribute) => Some(Type::read(&attribute.value, text.text).map_err(|bad| {
            text.span(bad.span.or_else(|| attribute.span()))
                .fault(format!("the type of the variable {name:?}: {}", bad.detail))
        })?),
    };
    let flag = |key: &str| -> Result<Option<bool>, FieldError> {
        let Some(attribute) = body.get_attribute(key) else { return Ok(None) };
        match literal::value(&attribute.value) {
            Some(serde_json::Value::Bool(flag)) => Ok(Some(flag)),
            // Not a literal, or "true" in quotes: Terraform converts or complains.
            Some(serde_json::Value::String(flag)) if flag == "true" => Ok(Some(true)),
            Some(serde_json::Value::String(flag)) if flag == "false" => Ok(Some(false)),
            Some(serde_json::Value::Null) | None => Ok(None),
            Some(_) => {
                Err(text.span(attribute.span()).fault(format!("{key} must be true or false")))
            }
        }
    };
    let default = body.get_attribute("default");
    Ok(Variable {
        name: name.to_owned(),
        kind,
        default: default.map(|a| given(&a.value)),
        description: body.get_attribute("description").and_then(|a| literal::text(&a.value)),
        sensitive: flag("sensitive")?,
        nullable: flag("nullable")?,
        ephemeral: flag("ephemeral")?,
        constraints: validation::of_body(text, name, body),
        place: text.span(block.span()),
        default_place: text.span(default.and_then(|a| a.value.span())),
    })
}

fn settings(text: &Text<'_>, body: &Body, module: &mut Module) {
    let version = body.get_attribute("required_version");
    module.required_versions.extend(version.and_then(|a| literal::text(&a.value)));
    for required in body.get_blocks("required_providers") {
        for attribute in required.body.attributes() {
            let place = Some(text.span(attribute.span()));
            let requirement = match &attribute.value {
                Expression::Object(fields) => {
                    let field = |wanted: &str| {
                        fields.iter().find_map(|(key, item)| {
                            let named = match key {
                                ObjectKey::Ident(name) => name.as_str() == wanted,
                                ObjectKey::Expression(expr) => expr.as_str() == Some(wanted),
                            };
                            if named { literal::text(item.expr()) } else { None }
                        })
                    };
                    Requirement { source: field("source"), version: field("version"), place }
                }
                other => Requirement { source: None, version: literal::text(other), place },
            };
            module.required.insert(attribute.key.as_str().to_owned(), requirement);
        }
    }
    if let Some(backend) = body.get_blocks("backend").next() {
        let kind = backend.labels.first().map_or("", |l| l.as_str()).to_owned();
        module.backend = if kind == "local" {
            let path = match backend.body.get_attribute("path") {
                None => Some("terraform.tfstate".to_owned()),
                Some(path) => literal::text(&path.value),
            };
            Backend::Local { path }
        } else {
            Backend::Own { kind }
        };
    }
    if body.get_blocks("cloud").next().is_some() {
        module.backend = Backend::Own { kind: "cloud".to_owned() };
    }
}
