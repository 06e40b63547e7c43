//! What one module's files declare, whatever their syntax: the common form that the native and
//! the JSON reader fill, and that override files are merged into.

use std::collections::BTreeMap;

use serde_json::Value;
use slipway_domain::fault::FieldError;
use slipway_domain::template::Constraint;

use super::place::Place;
use super::types::Type;

/// A `variable` block as one file has it.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) kind: Option<Type>,
    pub(crate) default: Option<Given>,
    pub(crate) description: Option<String>,
    pub(crate) sensitive: Option<bool>,
    pub(crate) nullable: Option<bool>,
    pub(crate) ephemeral: Option<bool>,
    pub(crate) constraints: Vec<Constraint>,
    pub(crate) place: Place,
    /// Where the default stands.
    pub(crate) default_place: Place,
}

/// A value that a file gives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Given {
    /// A literal.
    Literal(Value),
    /// Something that only Terraform can evaluate.
    Expression,
}

/// A `module` block.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// Absent when it is not a literal (OpenTofu evaluates some).
    pub(crate) source: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) place: Place,
}

/// An entry of `required_providers`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Requirement {
    pub(crate) source: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) place: Option<Place>,
}

/// Where the configuration says that its state is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Backend {
    /// It says nothing: Slipway keeps it.
    #[default]
    Unset,
    /// A `backend "local"`: a file, which Slipway keeps; `None` when its path is not a literal.
    Local {
        /// Path of the state file relative to the root module.
        path: Option<String>,
    },
    /// Elsewhere.
    Own {
        /// `s3`, `http`, `cloud` …
        kind: String,
    },
}

/// Everything that a module's files declare.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) variables: Vec<Variable>,
    pub(crate) calls: Vec<Call>,
    pub(crate) required: BTreeMap<String, Requirement>,
    /// Local names of the providers that its resources and blocks use, and where the first of them
    /// stands.
    pub(crate) used: BTreeMap<String, Place>,
    pub(crate) backend: Backend,
    /// What it says of the tool's version.
    pub(crate) required_versions: Vec<String>,
    /// Provider configurations: local name and alias.
    pub(crate) configured: Vec<(String, Option<String>)>,
    /// Whether something in it acts on the world beside providers: provisioners, actions.
    pub(crate) acts: bool,
    /// Where its `import` blocks lead, as it is written.
    pub(crate) imports: Vec<String>,
    /// A block that this reader does not know: what it needs is unknown too.
    pub(crate) unknown_blocks: bool,
    pub(crate) problems: Vec<FieldError>,
}

impl Module {
    /// Takes in what an ordinary file declares.
    pub(crate) fn add(&mut self, mut file: Module) {
        self.problems.append(&mut file.problems);
        for variable in file.variables {
            match self.variables.iter().find(|v| v.name == variable.name) {
                Some(first) => {
                    let first = &first.place;
                    let line = first.line.map(|l| format!(":{l}")).unwrap_or_default();
                    self.problems.push(variable.place.fault(format!(
                        "the variable {:?} is declared twice; the first is at {}{line}",
                        variable.name, first.file
                    )));
                }
                None => self.variables.push(variable),
            }
        }
        for call in file.calls {
            if self.calls.iter().any(|c| c.name == call.name) {
                let fault = format!("the module {:?} is called twice", call.name);
                self.problems.push(call.place.fault(fault));
            } else {
                self.calls.push(call);
            }
        }
        self.required.extend(file.required);
        self.used.extend(file.used);
        self.imports.append(&mut file.imports);
        self.required_versions.append(&mut file.required_versions);
        if file.backend != Backend::Unset {
            self.backend = file.backend;
        }
        self.configured.append(&mut file.configured);
        self.acts |= file.acts;
        self.unknown_blocks |= file.unknown_blocks;
    }

    /// Takes in an override file: its arguments replace those of the block of the same name.
    pub(crate) fn merge(&mut self, mut file: Module) {
        self.problems.append(&mut file.problems);
        for over in file.variables {
            if let Some(variable) = self.variables.iter_mut().find(|v| v.name == over.name) {
                variable.kind = over.kind.or(variable.kind.take());
                if over.default.is_some() {
                    variable.default = over.default;
                    variable.default_place = over.default_place;
                }
                variable.description = over.description.or(variable.description.take());
                variable.sensitive = over.sensitive.or(variable.sensitive);
                variable.nullable = over.nullable.or(variable.nullable);
                variable.ephemeral = over.ephemeral.or(variable.ephemeral);
                if !over.constraints.is_empty() {
                    // Which of them count is the tool's business.
                    variable.constraints.extend(over.constraints);
                    for constraint in &mut variable.constraints {
                        constraint.rules.clear();
                        constraint.complete = false;
                    }
                }
            } else {
                let fault = format!("there is no variable {:?} to override", over.name);
                self.problems.push(over.place.fault(fault));
            }
        }
        for over in file.calls {
            if let Some(call) = self.calls.iter_mut().find(|c| c.name == over.name) {
                call.source = over.source.or(call.source.take());
                call.version = over.version.or(call.version.take());
            }
        }
        self.required.extend(file.required);
        self.used.extend(file.used);
        self.imports.append(&mut file.imports);
        self.required_versions.append(&mut file.required_versions);
        if file.backend != Backend::Unset {
            self.backend = file.backend;
        }
        self.configured.append(&mut file.configured);
        self.acts |= file.acts;
        self.unknown_blocks |= file.unknown_blocks;
    }

    /// A resource of type `kind` that names `provider`, or none, uses a provider.
    pub(crate) fn uses(&mut self, kind: &str, provider: Option<&str>, place: &Place) {
        let name = provider.map_or_else(
            || kind.split('_').next().unwrap_or(kind),
            |named| named.split('.').next().unwrap_or(named).trim(),
        );
        self.used.entry(name.to_owned()).or_insert_with(|| place.clone());
    }
}
