//! Drift: what is other in the world than the state of a stack says. Checks for it change nothing,
//! neither a stack nor a deployment; this is what they find, grouped by cause, and when they are
//! made.

pub mod compare;
pub mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::fault::FieldError;
use crate::id::{DeploymentId, JobId, StackId};
use crate::plan::{Action, Diagnostic, OutputChange, ResourceChange, StateMark, Tool};
use crate::secret::MASK;
use crate::stack::StackKey;
use compare::Difference;

/// Most resources of a report that are kept, all causes together.
const MAX_RESOURCES: usize = 500;
/// Most attributes of a resource that are kept.
const MAX_ATTRIBUTES: usize = 50;
/// Most outputs that are kept.
const MAX_OUTPUTS: usize = 100;
/// Most bytes of a value that is kept.
const MAX_VALUE_BYTES: usize = 4096;
/// Most diagnostics that are kept.
const MAX_DIAGNOSTICS: usize = 20;

/// What is known of a stack's drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftStatus {
    /// No check has ended yet.
    Unknown,
    /// The last check found nothing that a deployment would put right.
    InSync,
    /// Something was changed or removed outside.
    Drifted,
    /// The last check could not be made; what was known before stands beside it.
    Failed,
}

impl DriftStatus {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Unknown, Self::InSync, Self::Drifted, Self::Failed];

    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::InSync => "in_sync",
            Self::Drifted => "drifted",
            Self::Failed => "failed",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for DriftStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something is other than the state says.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DriftCause {
    /// It is not there any more.
    DeletedOutside,
    /// Attributes have other values.
    ChangedOutside,
    /// Only attributes that the configuration does not set have other values: a deployment of the
    /// same source changes nothing about them. Often the provider's own bookkeeping.
    Computed,
    /// Outputs have other values.
    Outputs,
    /// The same meaning, written in another way. This alone is no drift.
    Normalised,
}

impl DriftCause {
    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeletedOutside => "deleted_outside",
            Self::ChangedOutside => "changed_outside",
            Self::Computed => "computed",
            Self::Outputs => "outputs",
            Self::Normalised => "normalised",
        }
    }

    /// What it says of `n` things, for a person.
    fn of(self, n: usize) -> String {
        let resources = if n == 1 { "1 resource".to_owned() } else { format!("{n} resources") };
        match self {
            Self::DeletedOutside => format!("{resources} deleted outside"),
            Self::ChangedOutside => format!("{resources} changed outside"),
            Self::Computed => {
                format!("{resources} with other values that the configuration does not set")
            }
            Self::Outputs if n == 1 => "1 output with another value".to_owned(),
            Self::Outputs => format!("{n} outputs with other values"),
            Self::Normalised => format!("{resources} written in another way"),
        }
    }
}

/// One resource as the driver found it.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundResource {
    /// What changed; sensitive values are masked.
    pub change: ResourceChange,
    /// Where it differs, by the values in clear.
    pub differences: Vec<Difference>,
    /// The attributes that the configuration sets; `None` when that is not known.
    pub configured: Option<BTreeSet<String>>,
}

/// What a driver found when it looked. Sensitive values are masked.
#[derive(Debug, Clone, PartialEq)]
pub struct DriftFound {
    /// The program that looked.
    pub tool: Tool,
    /// Resources that are other than the state says.
    pub resources: Vec<FoundResource>,
    /// Outputs that would be.
    pub outputs: Vec<OutputChange>,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
    /// The state that it was looked at from; the default where Slipway does not keep it.
    pub state: StateMark,
    /// What is not guaranteed, in words for a person.
    pub caveats: Vec<String>,
}

/// One attribute that is other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct DriftedAttribute {
    /// A JSON pointer into the resource's attributes.
    pub path: String,
    /// What the state says; `***` where it is sensitive.
    #[schema(value_type = Value)]
    pub before: Value,
    /// What is there; `***` where it is sensitive.
    #[schema(value_type = Value)]
    pub after: Value,
}

/// One resource that is other than the state says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct DriftedResource {
    /// Its address.
    pub address: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its provider.
    pub provider: String,
    /// The attributes that are other; none for one that is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<DriftedAttribute>,
    /// How many more attributes are other than are listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attributes_left_off: usize,
}

/// What has one cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct DriftGroup {
    /// The cause.
    pub cause: DriftCause,
    /// How many there are, also of those that are not listed.
    pub count: usize,
    /// One sentence.
    pub summary: String,
    /// The resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<DriftedResource>,
    /// The outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OutputChange>,
}

/// What a check found. It holds no secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct DriftReport {
    /// When the check ended.
    pub at: DateTime<Utc>,
    /// Whether anything was changed or removed outside.
    pub drifted: bool,
    /// The whole in one sentence.
    pub summary: String,
    /// The program that looked.
    pub tool: Tool,
    /// The state that it was looked at from; an empty lineage where Slipway does not keep it.
    pub state: StateMark,
    /// What was found, by cause.
    pub groups: Vec<DriftGroup>,
    /// Warnings of the tool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Diagnostic>,
    /// What is not guaranteed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caveats: Vec<String>,
}

impl DriftReport {
    /// Groups what was found by cause, and cuts it to what is kept.
    pub fn of(found: DriftFound, at: DateTime<Utc>) -> Self {
        let mut by_cause: BTreeMap<DriftCause, Vec<FoundResource>> = BTreeMap::new();
        for resource in found.resources {
            if let Some(cause) = cause(&resource) {
                by_cause.entry(cause).or_default().push(resource);
            }
        }
        let mut room = MAX_RESOURCES;
        let mut groups: Vec<DriftGroup> = by_cause
            .into_iter()
            .map(|(cause, resources)| {
                let count = resources.len();
                let kept: Vec<_> = resources.into_iter().take(room).map(drifted).collect();
                room -= kept.len();
                DriftGroup {
                    cause,
                    count,
                    summary: cause.of(count),
                    resources: kept,
                    outputs: vec![],
                }
            })
            .collect();
        let count = found.outputs.len();
        if count > 0 {
            let outputs = found.outputs.into_iter().take(MAX_OUTPUTS).map(bounded_output).collect();
            let cause = DriftCause::Outputs;
            let group =
                DriftGroup { cause, count, summary: cause.of(count), resources: vec![], outputs };
            groups.push(group);
            groups.sort_by_key(|group| group.cause);
        }
        let said: Vec<&str> = groups.iter().map(|group| group.summary.as_str()).collect();
        let mut warnings = found.warnings;
        warnings.truncate(MAX_DIAGNOSTICS);
        Self {
            at,
            drifted: groups.iter().any(|group| group.cause != DriftCause::Normalised),
            summary: if said.is_empty() {
                "everything is as the state says".to_owned()
            } else {
                said.join("; ")
            },
            tool: found.tool,
            state: found.state,
            groups,
            warnings,
            caveats: found.caveats,
        }
    }

    /// What makes this drift another one. Values that nobody sets are left out: some of them are
    /// other each time somebody looks.
    pub fn fingerprint(&self) -> String {
        let mut parts = Vec::new();
        for group in self.groups.iter().filter(|group| group.cause != DriftCause::Normalised) {
            let cause = group.cause.as_str();
            let values = group.cause != DriftCause::Computed;
            for resource in &group.resources {
                for at in &resource.attributes {
                    let told = values.then_some((&at.before, &at.after));
                    parts.push(serde_json::json!([cause, resource.address, at.path, told]));
                }
                let more = resource.attributes_left_off;
                parts.push(serde_json::json!([cause, resource.address, more]));
            }
            for output in &group.outputs {
                let told = [&output.before, &output.after];
                parts.push(serde_json::json!([cause, output.name, told]));
            }
            parts.push(serde_json::json!([cause, group.count]));
        }
        crate::artifact::digest(Value::from(parts).to_string().as_bytes())
    }
}

/// Why a resource is other; `None` when it is not.
fn cause(found: &FoundResource) -> Option<DriftCause> {
    match found.change.action {
        Action::Delete | Action::Forget => return Some(DriftCause::DeletedOutside),
        // The world is as it was; only the configuration names it otherwise.
        Action::Move | Action::Read => return None,
        _ => {}
    }
    let differences = &found.differences;
    if differences.is_empty() {
        return None;
    }
    if differences.iter().all(|difference| difference.same_meaning) {
        return Some(DriftCause::Normalised);
    }
    // One that was empty and is not set by anybody may be something that was added by hand.
    let computed = |set: &BTreeSet<String>, difference: &Difference| {
        difference.same_meaning || difference.was_set && !set.contains(difference.attribute())
    };
    match &found.configured {
        Some(set) if differences.iter().all(|d| computed(set, d)) => Some(DriftCause::Computed),
        _ => Some(DriftCause::ChangedOutside),
    }
}

fn drifted(found: FoundResource) -> DriftedResource {
    let FoundResource { change, differences, .. } = found;
    let ResourceChange { address, kind, provider, before, after, sensitive, .. } = change;
    let mut attributes: Vec<DriftedAttribute> = Vec::new();
    let mut left_off = 0;
    let gone = matches!(change.action, Action::Delete | Action::Forget);
    for difference in differences.into_iter().filter(|_| !gone) {
        // What is inside of something sensitive is not named either.
        let hidden = sensitive.iter().find(|at| is_inside(&difference.path, at));
        let path = hidden.cloned().unwrap_or(difference.path);
        if attributes.last().is_some_and(|last| last.path == path) {
            continue;
        }
        if attributes.len() == MAX_ATTRIBUTES {
            left_off += 1;
            continue;
        }
        let value = |of: &Value| match of.pointer(&path) {
            _ if hidden.is_some() => Value::from(MASK),
            Some(value) => bounded(value.clone()),
            None => Value::Null,
        };
        attributes.push(DriftedAttribute { before: value(&before), after: value(&after), path });
    }
    DriftedResource { address, kind, provider, attributes, attributes_left_off: left_off }
}

/// Whether the pointer `path` is `node` or leads into it.
fn is_inside(path: &str, node: &str) -> bool {
    path.strip_prefix(node).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn bounded_output(output: OutputChange) -> OutputChange {
    OutputChange { before: bounded(output.before), after: bounded(output.after), ..output }
}

/// A value, or how large it is when it is too large to keep.
fn bounded(value: Value) -> Value {
    let bytes = value.to_string().len();
    if bytes <= MAX_VALUE_BYTES { value } else { Value::from(format!("({bytes} bytes)")) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// How a stack's drift became another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftTurn {
    /// It began to drift.
    Began,
    /// It drifts in another way.
    Changed,
    /// It drifts no more.
    Ended,
}

impl DriftTurn {
    /// What becomes known with a check: `before` is the fingerprint of the drift that was known,
    /// `now` of the one that was found. `None`: nothing new.
    pub fn of(before: Option<&str>, now: Option<&str>) -> Option<Self> {
        match (before, now) {
            (None, Some(_)) => Some(Self::Began),
            (Some(before), Some(now)) if before != now => Some(Self::Changed),
            (Some(_), None) => Some(Self::Ended),
            _ => None,
        }
    }

    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Began => "began",
            Self::Changed => "changed",
            Self::Ended => "ended",
        }
    }
}

/// Why the last check could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct DriftFailure {
    /// When.
    pub at: DateTime<Utc>,
    /// One sentence.
    pub summary: String,
    /// What the tool said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

impl DriftFailure {
    /// A failure, cut to what is kept.
    pub fn new(at: DateTime<Utc>, summary: String, mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.truncate(MAX_DIAGNOSTICS);
        Self { at, summary, diagnostics }
    }
}

/// What somebody said about the checks of one stack. What is absent is as the installation has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DriftSettings {
    /// Whether the stack is checked by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How often, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 300, maximum = 2_592_000)]
    #[schemars(range(min = 300, max = 2_592_000))]
    pub interval_s: Option<u32>,
}

impl DriftSettings {
    /// What is wrong with them; empty when all is well.
    pub fn problems(&self) -> Vec<FieldError> {
        let wrong = self.interval_s.filter(|s| !schedule::INTERVAL_S.contains(s));
        let why =
            |_| FieldError::at("/interval_s", "interval_s must be from 300 to 2592000 (30 days)");
        wrong.map(why).into_iter().collect()
    }
}

/// The settings of a stack's checks, and what holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct StackDriftSettings {
    /// What was said for this stack.
    pub settings: DriftSettings,
    /// Whether it is checked by itself.
    pub enabled: bool,
    /// How often, in seconds.
    pub interval_s: u32,
    /// Grows with every change; the `ETag`.
    pub version: i64,
}

/// What is known of a stack's drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct StackDrift {
    /// The stack.
    pub stack_id: StackId,
    /// What names it.
    pub stack: StackKey,
    /// What is known.
    pub status: DriftStatus,
    /// Since when it is known to drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// The check that is queued or runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// When the last check ended with an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<DateTime<Utc>>,
    /// When it is checked next by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check_at: Option<DateTime<Utc>>,
    /// The deployment that the last check compared the world with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<DeploymentId>,
    /// Whether the stack has moved on since: what is said here is of an older state.
    pub out_of_date: bool,
    /// What the last check that ended with an answer found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<DriftReport>,
    /// Why the last check could not be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<DriftFailure>,
    /// Why the last check was put off, or thrown away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_off: Option<String>,
    /// What holds for its checks.
    pub settings: StackDriftSettings,
}

/// One line of the list of all stacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct DriftOverview {
    /// The stack.
    pub stack_id: StackId,
    /// What names it.
    pub stack: StackKey,
    /// What is known.
    pub status: DriftStatus,
    /// One sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Since when it is known to drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// When the last check ended with an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<DateTime<Utc>>,
    /// When it is checked next by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests;
