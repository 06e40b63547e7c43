//! Templates: ready-made configurations with typed inputs, in versions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use utoipa::ToSchema;

use crate::access::Actor;

/// One typed input of a configuration: a Terraform `variable` block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// Its type constraint as it is written, e.g. `list(string)`; `any` when there is none.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether a value must be given.
    pub required: bool,
    /// The value when none is given; absent when it is not a plain literal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    pub default: Option<Value>,
    /// Whether its value is masked everywhere.
    pub sensitive: bool,
    /// Whether `null` is a value.
    pub nullable: bool,
    /// What its value must be beyond its type: one for each `validation` block.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
}

/// One condition on the value of an input: a Terraform `validation` block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Constraint {
    /// What must hold, all of it. It is checked before a deployment is accepted.
    pub rules: Vec<Rule>,
    /// Whether the rules say all of the condition. What they do not say is left to the plan.
    pub complete: bool,
    /// The condition as it is written.
    pub expression: String,
    /// What the configuration says to whoever breaks it; absent when it has to be evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A number that another one is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(transparent)]
#[schema(value_type = f64)]
pub struct Bound(pub Number);

/// Something that can be told of a value without Terraform. The words are those of JSON Schema where
/// it has one. A rule about another kind of value (the `pattern` of a list) tells nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A number of at least this.
    Minimum(Bound),
    /// A number above this.
    ExclusiveMinimum(Bound),
    /// A number of at most this.
    Maximum(Bound),
    /// A number below this.
    ExclusiveMaximum(Bound),
    /// A whole number.
    Integer(bool),
    /// Characters, or elements, at least.
    MinLength(u64),
    /// Characters, or elements, at most.
    MaxLength(u64),
    /// A text in which this regular expression (RE2's syntax) is found.
    Pattern(String),
    /// A text that begins so.
    StartsWith(String),
    /// A text that ends so.
    EndsWith(String),
    /// One of these values.
    OneOf(Vec<Value>),
    /// `null`.
    Null(bool),
    /// A list or set whose elements all are so.
    #[schema(no_recursion)]
    Items(Box<Rule>),
    /// All of these.
    #[schema(no_recursion)]
    AllOf(Vec<Rule>),
    /// At least one of these.
    #[schema(no_recursion)]
    AnyOf(Vec<Rule>),
    /// Not this.
    #[schema(no_recursion)]
    Not(Box<Rule>),
}

/// Who brought a template.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TemplateSource {
    /// It comes with Slipway.
    #[default]
    BuiltIn,
    /// It is in the operator's directory (`templates.dir`).
    OperatorDirectory,
    /// It was published with `POST /api/v1/templates`.
    Uploaded,
}

/// Whether a template, or a version of it, is offered.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TemplateState {
    /// It is.
    #[default]
    Active,
    /// Only to those who name the version: nobody gets it by default.
    Deprecated,
}

impl TemplateState {
    /// The text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deprecated => "deprecated",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Deprecated].into_iter().find(|state| state.as_str() == text)
    }
}

const fn first() -> i32 {
    1
}

/// A template of the library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// One line about it.
    pub title: String,
    /// What it makes and when to use it.
    pub description: String,
    /// What it is about, e.g. `storage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Labels by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Who brought it.
    #[serde(default)]
    pub source: TemplateSource,
    /// `deprecated` when all of its versions are.
    #[serde(default)]
    pub state: TemplateState,
    /// The version that a deployment gets that names none: the newest active one. It is the one
    /// that is described here. When all are deprecated it is the newest.
    #[serde(default = "first")]
    pub version: i32,
    /// The number of the newest version, whatever its state.
    #[serde(default = "first")]
    pub latest_version: i32,
    /// Its inputs.
    pub inputs: Vec<InputSpec>,
    /// Digest of its source tree.
    pub digest: String,
    /// When its first version was published; absent for what is in no database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// When anything of it changed last; absent for what is in no database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
}

/// One version of a template. What it consists of never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct TemplateVersion {
    /// The template's name.
    pub name: String,
    /// Its number, from 1.
    pub version: i32,
    /// Whether it is offered.
    pub state: TemplateState,
    /// Why it is deprecated, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Digest of its source tree.
    pub digest: String,
    /// Its inputs.
    pub inputs: Vec<InputSpec>,
    /// Who published it; absent for what is in no database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_by: Option<Actor>,
    /// When it was published; absent for what is in no database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<DateTime<Utc>>,
}

/// A template as it would be deployed with some values. Nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Rendered {
    /// The template.
    pub name: String,
    /// The version that was rendered.
    pub version: i32,
    /// Digest of its source tree.
    pub digest: String,
    /// The configuration's files, by path.
    pub files: Vec<RenderedFile>,
    /// The values, as Terraform's own syntax has them; sensitive ones are masked.
    pub tfvars: String,
    /// The values, as they are handed to Terraform (`.tfvars.json`); sensitive ones are masked.
    #[schema(value_type = Object)]
    pub tfvars_json: crate::deployment::Variables,
    /// Names of the inputs whose values are masked here.
    pub masked: Vec<String>,
}

/// A file of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct RenderedFile {
    /// Path inside the source tree.
    pub path: String,
    /// Its text; absent when it is no text, a link, or too long to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Bytes in it.
    pub size_bytes: u64,
}
