//! Reads Terraform configurations without Terraform: what variables a root module takes, what it
//! needs installed, and whether values fit.
//!
//! It parses and never evaluates: what only Terraform can know (references, providers' schemas)
//! is left to the plan. It starts no process and touches neither disk nor network, and it is
//! bounded in size, depth and time, because the API runs it on whatever it is sent.

mod convert;
mod declare;
mod json;
mod literal;
mod load;
mod native;
mod pattern;
mod place;
mod render;
mod rule;
pub(crate) mod test_file;
mod types;
mod validation;

use slipway_domain::deployment::Variables;
use slipway_domain::fault::FieldError;
use slipway_domain::port::driver::{Inspect, Inspection};
use slipway_domain::stack::DriverKind;
use slipway_domain::template::InputSpec;
use slipway_domain::tree::Tree;

pub(crate) use declare::Backend;
pub(crate) use load::{Asked, Configuration, Dialect, Installed, load};
pub(crate) use place::Text;

/// Reads Terraform and OpenTofu configurations. Needs neither of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inspector;

impl Inspect for Inspector {
    fn kind(&self) -> DriverKind {
        DriverKind::Terraform
    }

    fn inspect(&self, tree: &Tree, root: Option<&str>) -> Result<Inspection, Vec<FieldError>> {
        Ok(load(tree, root, Dialect::Either)?.inspection())
    }

    fn check(&self, inspection: &Inspection, variables: &Variables) -> Vec<FieldError> {
        check(&inspection.inputs, variables)
    }

    fn render(&self, variables: &Variables) -> String {
        render::values(variables)
    }
}

/// Most problems that are told at once.
pub(crate) const MAX_PROBLEMS: usize = 100;

/// Checks values against inputs; see [`Inspect::check`].
pub(crate) fn check(inputs: &[InputSpec], variables: &Variables) -> Vec<FieldError> {
    let mut problems = Vec::new();
    let mut patterns = pattern::Patterns::default();
    for (name, value) in variables {
        if problems.len() >= MAX_PROBLEMS {
            break;
        }
        let pointer = convert::pointer("/variables", name);
        let Some(input) = inputs.iter().find(|input| &input.name == name) else {
            let shown: String = name.chars().take(80).collect();
            let hint = convert::nearest(name, inputs.iter().map(|i| i.name.as_str()))
                .map_or_else(|| known(inputs), |near| format!("; did you mean {near:?}?"));
            problems.push(FieldError::at(
                pointer,
                format!("the configuration has no variable {shown:?}{hint}"),
            ));
            continue;
        };
        if value.is_null() && !input.nullable {
            if input.required {
                problems.push(FieldError::at(
                    pointer,
                    format!("{name} must not be null: it has no default and is not nullable"),
                ));
            }
            continue;
        }
        // A type that cannot be read was refused when the configuration was inspected.
        if let Ok(wanted) = types::Type::parse(&input.kind) {
            let before = problems.len();
            convert::check(value, &wanted, name, &pointer, &mut problems);
            if problems.len() == before
                && let Some(detail) = rule::broken(input, &wanted, value, &mut patterns)
            {
                problems.push(FieldError::at(pointer, detail));
            }
        }
    }
    for input in inputs {
        if input.required && !variables.contains_key(&input.name) && problems.len() < MAX_PROBLEMS {
            let what = input.description.as_deref().map(str::trim).filter(|d| !d.is_empty());
            let what = what.map(|d| format!(" ({d})")).unwrap_or_default();
            problems.push(FieldError::at(
                convert::pointer("/variables", &input.name),
                format!("{}{what} is required: a value of type {}", input.name, input.kind),
            ));
        }
    }
    problems
}

fn known(inputs: &[InputSpec]) -> String {
    match inputs {
        [] => "; it has no variables at all".to_owned(),
        few if few.len() <= 12 => {
            let names: Vec<_> = few.iter().map(|i| i.name.as_str()).collect();
            format!("; it has {}", names.join(", "))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
