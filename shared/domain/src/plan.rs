//! Plans: the reviewed change, normalised from whatever the driver's tool prints.

use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gate::GateResult;
use crate::id::{DeploymentId, PlanId};
use crate::setting::SettingUse;

/// What a plan does to one resource.
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
pub enum Action {
    /// Make it.
    Create,
    /// Change it in place.
    Update,
    /// Remove it, then make it anew.
    DeleteThenCreate,
    /// Make the new one, then remove the old.
    CreateThenDelete,
    /// Remove it.
    Delete,
    /// Drop it from the state and leave it in the world.
    Forget,
    /// Take an existing thing into the state, without changing it.
    Import,
    /// Read a data source during apply.
    Read,
    /// Only its address changes.
    Move,
}

impl Action {
    /// The sign in front of a line of the text form, as Terraform prints it.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Create => "+",
            Self::Update => "~",
            Self::DeleteThenCreate => "-/+",
            Self::CreateThenDelete => "+/-",
            Self::Delete => "-",
            Self::Forget => ".",
            Self::Import => "=>",
            Self::Read => "<=",
            Self::Move => "->",
        }
    }

    /// Whether the world is different after it.
    pub const fn changes_the_world(self) -> bool {
        !matches!(self, Self::Read | Self::Move | Self::Forget | Self::Import)
    }
}

/// One resource of a plan. Sensitive values are already masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct ResourceChange {
    /// Full address, e.g. `module.net.aws_subnet.a[0]`.
    pub address: String,
    /// Resource type, e.g. `aws_subnet`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name in the configuration.
    pub name: String,
    /// Provider's source address.
    pub provider: String,
    /// What happens to it.
    pub action: Action,
    /// Why, when Terraform says so (e.g. `replace_because_tainted`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Attributes before; `null` for a create.
    #[schema(value_type = Value)]
    pub before: serde_json::Value,
    /// Attributes after, as far as known; `null` for a delete.
    #[schema(value_type = Value)]
    pub after: serde_json::Value,
    /// JSON pointers into `after` of what is known only after apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// JSON pointers of what is masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
    /// JSON pointers of what forces a replacement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace_paths: Vec<String>,
    /// Address before a `moved` block took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_address: Option<String>,
    /// Key of a deposed object (the old half of create-before-destroy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deposed: Option<String>,
    /// Id that is imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importing_id: Option<String>,
}

/// One output value that the plan changes. Sensitive values are already masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct OutputChange {
    /// Its name.
    pub name: String,
    /// What happens to it.
    pub action: Action,
    /// Value before.
    #[schema(value_type = Value)]
    pub before: serde_json::Value,
    /// Value after; `null` where unknown.
    #[schema(value_type = Value)]
    pub after: serde_json::Value,
    /// Whether it is (partly) known only after apply.
    pub unknown: bool,
    /// Whether it is masked.
    pub sensitive: bool,
}

/// How many resources a plan touches, by action. A replacement counts as `replace` only.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema,
)]
pub struct Counts {
    /// To create.
    pub create: u32,
    /// To update in place.
    pub update: u32,
    /// To replace.
    pub replace: u32,
    /// To delete.
    pub delete: u32,
    /// To import.
    pub import: u32,
    /// To forget.
    pub forget: u32,
    /// To move only.
    #[serde(rename = "move")]
    pub moved: u32,
    /// Data sources to read during apply.
    pub read: u32,
}

impl Counts {
    /// Counts what is in `changes`.
    pub fn of(changes: &[ResourceChange]) -> Self {
        let mut counts = Self::default();
        for change in changes {
            let slot = match change.action {
                Action::Create => &mut counts.create,
                Action::Update => &mut counts.update,
                Action::DeleteThenCreate | Action::CreateThenDelete => &mut counts.replace,
                Action::Delete => &mut counts.delete,
                Action::Forget => &mut counts.forget,
                Action::Import => &mut counts.import,
                Action::Read => &mut counts.read,
                Action::Move => &mut counts.moved,
            };
            *slot += 1;
        }
        counts
    }

    /// How many resources it touches.
    pub const fn resources(&self) -> usize {
        let all = self.create
            + self.update
            + self.replace
            + self.delete
            + self.import
            + self.forget
            + self.moved
            + self.read;
        all as usize
    }

    /// How many operations an apply of this performs (a replacement is two).
    pub const fn operations(&self) -> u32 {
        self.create + self.update + self.delete + 2 * self.replace
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} to create, {} to update, {} to replace, {} to delete",
            self.create, self.update, self.replace, self.delete
        )?;
        for (count, word) in [
            (self.import, "import"),
            (self.forget, "forget"),
            (self.moved, "move"),
            (self.read, "read"),
        ] {
            if count > 0 {
                write!(f, ", {count} to {word}")?;
            }
        }
        Ok(())
    }
}

/// Which program made a plan, and so must apply it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Tool {
    /// `terraform` or `tofu`.
    pub name: String,
    /// Its version, e.g. `1.11.4`.
    pub version: String,
}

/// Which program somebody asks for: `tofu`, or `terraform 1.11.4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolChoice {
    name: String,
    version: Option<String>,
}

impl ToolChoice {
    /// Reads it.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, version) = match text.split_once(' ') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let shaped = |v: &str| {
            v.len() <= 64
                && v.starts_with(|c: char| c.is_ascii_digit())
                && v.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+'))
        };
        (matches!(name, "terraform" | "tofu") && version.is_none_or(shaped))
            .then(|| Self { name: name.to_owned(), version: version.map(str::to_owned) })
    }

    /// Whether a program is what was asked for.
    pub fn fits(&self, tool: &Tool) -> bool {
        self.name == tool.name && self.version.as_ref().is_none_or(|v| *v == tool.version)
    }
}

impl fmt::Display for ToolChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, " {version}"))
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It stopped the work.
    Error,
    /// It did not.
    Warning,
}

/// What a driver's tool said went wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub summary: String,
    /// The rest; may be empty.
    pub detail: String,
    /// The resource it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// File in the source tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            summary: summary.into(),
            detail: detail.into(),
            address: None,
            file: None,
            line: None,
            column: None,
        }
    }
}

/// What a plan is bound to. [`Binding::digest`] is what an approval names: another plan file,
/// another configuration, other variables, another tool or a moved state give another digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Digest of the plan file.
    pub plan_file: String,
    /// Digest of the source tree.
    pub source: String,
    /// Digest of the dependency lock file, if there is one.
    pub lock_file: Option<String>,
    /// Digest of the variables as they were given and of the versions of the settings that they use,
    /// keyed so that it says nothing of their values.
    pub variables: String,
    /// The program that made it.
    pub tool: Tool,
    /// The state it was made against.
    pub state: StateMark,
    /// What it is for.
    pub operation: String,
}

/// Which version of a state: lineage and serial. An empty lineage is "no state yet".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct StateMark {
    /// Terraform's lineage; empty when there is no state yet.
    pub lineage: String,
    /// Terraform's serial; 0 when there is no state yet.
    pub serial: i64,
}

impl Binding {
    /// `sha256:<hex>` over the canonical JSON of everything the plan is bound to.
    pub fn digest(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        crate::artifact::digest(value.to_string().as_bytes())
    }
}

/// A plan as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// Whose it is.
    pub deployment_id: DeploymentId,
    /// First, second … plan of the deployment, from 1.
    pub number: i32,
    /// What an approval must name.
    #[schema(example = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    pub digest: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The program that made it.
    pub tool: Tool,
    /// The state it was made against.
    pub state: StateMark,
    /// Totals.
    pub counts: Counts,
    /// Every resource that changes.
    pub changes: Vec<ResourceChange>,
    /// Every output that changes.
    pub outputs: Vec<OutputChange>,
    /// What changed in the world since the last apply, outside Slipway.
    pub drift: Vec<ResourceChange>,
    /// Warnings of the tool.
    pub warnings: Vec<Diagnostic>,
    /// What the gates said.
    pub gates: Vec<GateResult>,
    /// Until when that holds, where it rests on something that ends, such as an exemption. After
    /// that a new plan is made and judged before anything is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_until: Option<DateTime<Utc>>,
    /// The items of the central configuration that its variables were made with. The apply uses these
    /// very versions, whatever was changed since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<SettingUse>,
    /// In what it differs from the plan that was approved before it, when its approval could not be
    /// carried on to this one: one line each. Sensitive values are masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub difference: Vec<String>,
}

/// What a list or a status shows of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct PlanSummary {
    /// Its id.
    pub id: PlanId,
    /// First, second … plan of the deployment.
    pub number: i32,
    /// What an approval must name.
    pub digest: String,
    /// Totals.
    pub counts: Counts,
}

impl Plan {
    /// The short form.
    pub fn summary(&self) -> PlanSummary {
        PlanSummary {
            id: self.id,
            number: self.number,
            digest: self.digest.clone(),
            counts: self.counts,
        }
    }

    /// The plan for a terminal: one line a resource, changed attributes below it, totals last.
    pub fn to_text(&self) -> String {
        use fmt::Write as _;
        let mut out = String::new();
        for change in &self.changes {
            let _ = write!(out, "{:>3} {}", change.action.sign(), change.address);
            if let Some(from) = &change.previous_address {
                let _ = write!(out, " (moved from {from})");
            }
            if let Some(deposed) = &change.deposed {
                let _ = write!(out, " (deposed object {deposed})");
            }
            if let Some(reason) = &change.reason {
                let _ = write!(out, " ({})", reason.replace('_', " "));
            }
            out.push('\n');
            attribute_lines(change, &mut out);
        }
        for output in &self.outputs {
            let after = if output.unknown {
                "(known after apply)".to_owned()
            } else {
                output.after.to_string()
            };
            let _ = writeln!(out, "{:>3} output {} = {after}", output.action.sign(), output.name);
        }
        if !self.drift.is_empty() {
            let _ = writeln!(out, "\nChanged outside Slipway since the last apply:");
            for change in &self.drift {
                let _ = writeln!(out, "{:>3} {}", change.action.sign(), change.address);
            }
        }
        for warning in &self.warnings {
            let _ = writeln!(out, "\nWarning: {}\n{}", warning.summary, warning.detail);
        }
        if !self.settings.is_empty() {
            let _ = writeln!(out, "\nMade with these settings:");
            for used in &self.settings {
                let kind = if used.secret { "secret" } else { "config" };
                let _ = writeln!(
                    out,
                    "  {kind}.{} version {} ({}) in {}",
                    used.key,
                    used.version,
                    used.scope,
                    used.variables.join(", ")
                );
            }
        }
        if !self.difference.is_empty() {
            let _ = writeln!(out, "\nNot the same as the plan that was approved before:");
            for line in &self.difference {
                let _ = writeln!(out, "  {line}");
            }
        }
        let _ = writeln!(out, "\nPlan: {}.\nDigest: {}", self.counts, self.digest);
        out
    }
}

fn attribute_lines(change: &ResourceChange, out: &mut String) {
    use fmt::Write as _;
    let empty = serde_json::Map::new();
    let before = change.before.as_object().unwrap_or(&empty);
    let after = change.after.as_object().unwrap_or(&empty);
    let unknown_top = |key: &str| {
        let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        change.unknown.iter().any(|u| *u == pointer || u.starts_with(&format!("{pointer}/")))
    };
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    let unknown_keys: Vec<String> = change
        .unknown
        .iter()
        .filter_map(|u| u.strip_prefix('/'))
        .map(|u| u.split('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~"))
        .collect();
    keys.extend(unknown_keys.iter());
    keys.sort();
    keys.dedup();
    for key in keys {
        let (old, new) = (before.get(key), after.get(key));
        let unknown = unknown_top(key);
        let nothing = |v: Option<&serde_json::Value>| v.is_none_or(serde_json::Value::is_null);
        if !unknown && (old == new || nothing(old) && nothing(new)) {
            // A masked value is always "***", so an equal pair may hide a change; say that much.
            let pointer = format!("/{key}");
            let hidden = change.sensitive.contains(&pointer) && change.action == Action::Update;
            if hidden {
                let _ = writeln!(out, "      {key}: {}", crate::secret::MASK);
            }
            continue;
        }
        let new = if unknown && nothing(new) {
            "(known after apply)".to_owned()
        } else {
            new.map_or_else(|| "null".to_owned(), ToString::to_string)
        };
        match old {
            Some(old) if !old.is_null() => {
                let _ = writeln!(out, "      {key}: {old} -> {new}");
            }
            _ => {
                let _ = writeln!(out, "      {key}: {new}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(
        action: Action,
        before: serde_json::Value,
        after: serde_json::Value,
    ) -> ResourceChange {
        ResourceChange {
            address: "null_resource.a".into(),
            kind: "null_resource".into(),
            name: "a".into(),
            provider: "registry.terraform.io/hashicorp/null".into(),
            action,
            reason: None,
            before,
            after,
            unknown: vec!["/id".into()],
            sensitive: vec![],
            replace_paths: vec![],
            previous_address: None,
            deposed: None,
            importing_id: None,
        }
    }

    #[test]
    fn counts_follow_the_changes() {
        let counts = Counts::of(&[
            change(Action::Create, json!(null), json!({})),
            change(Action::DeleteThenCreate, json!({}), json!({})),
            change(Action::Delete, json!({}), json!(null)),
        ]);
        assert_eq!((counts.create, counts.replace, counts.delete), (1, 1, 1));
        assert_eq!(counts.operations(), 4);
    }

    #[test]
    fn attributes_show_old_new_and_unknown() {
        let mut out = String::new();
        let c = change(Action::Update, json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}));
        attribute_lines(&c, &mut out);
        assert_eq!(out, "      b: 2 -> 3\n      id: (known after apply)\n");
    }

    #[test]
    fn the_digest_covers_every_part_of_the_binding() {
        let base = Binding {
            plan_file: "a".into(),
            source: "b".into(),
            lock_file: None,
            variables: "c".into(),
            tool: Tool { name: "terraform".into(), version: "1.11.4".into() },
            state: StateMark::default(),
            operation: "deploy".into(),
        };
        let variants = [
            Binding { plan_file: "x".into(), ..base.clone() },
            Binding { source: "x".into(), ..base.clone() },
            Binding { lock_file: Some("x".into()), ..base.clone() },
            Binding { variables: "x".into(), ..base.clone() },
            Binding { tool: Tool { version: "1.12".into(), ..base.tool.clone() }, ..base.clone() },
            Binding { state: StateMark { serial: 1, ..base.state.clone() }, ..base.clone() },
            Binding { operation: "destroy".into(), ..base.clone() },
        ];
        for variant in variants {
            assert_ne!(variant.digest(), base.digest(), "{variant:?}");
        }
    }

    #[test]
    fn a_tool_is_asked_for_by_name_and_perhaps_version() {
        let tool = Tool { name: "terraform".into(), version: "1.11.4".into() };
        for (text, fits) in [
            ("terraform", true),
            ("terraform 1.11.4", true),
            ("terraform 1.11.5", false),
            ("tofu", false),
        ] {
            let choice = ToolChoice::parse(text).unwrap();
            assert_eq!((choice.fits(&tool), choice.to_string().as_str()), (fits, text));
        }
        for text in
            ["", "pulumi", "terraform ", "terraform v1", "terraform 1.1 x", "terraform latest"]
        {
            assert_eq!(ToolChoice::parse(text), None, "{text}");
        }
    }
}
