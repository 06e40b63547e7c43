//! What the gates are to look for: settings for all, for an environment, for a project, and for an
//! environment of a project.
//!
//! Each scope says as much as it wants, by section. For a deployment each section is taken whole
//! from the narrowest scope that has it ([`resolve`]), so that one document tells what a gate does.

use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::approval::ApprovalRules;
use crate::cost::{CostLimits, CostSettings, InfracostSettings};
use crate::fault::FieldError;
use crate::policy::PolicySettings;
use crate::scan::ScanSettings;
use crate::stack::is_name;
use crate::test_report::TestSettings;

/// What the cost gate is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CostRules {
    /// How costs are reckoned.
    pub estimate: CostSettings,
    /// What they may be.
    pub limits: CostLimits,
    /// How infracost is asked; it is not, and the price book judges, when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infracost: Option<InfracostSettings>,
}

/// What one scope says about the gates. A section that is absent is left to wider scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GateSettings {
    /// Which scanners are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan: Option<ScanSettings>,
    /// Which policies are asked, and what they are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicySettings>,
    /// What it may cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostRules>,
    /// Which tests are run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<TestSettings>,
    /// Whose yes it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalRules>,
}

impl GateSettings {
    /// Everything that is wrong with them; pointers begin with `at`.
    pub fn problems(&self, at: &str) -> Vec<FieldError> {
        let below = |section: &str, problems: Vec<FieldError>| {
            problems
                .into_iter()
                .map(|problem| FieldError {
                    pointer: format!("{at}/{section}{}", problem.pointer),
                    ..problem
                })
                .collect::<Vec<_>>()
        };
        let mut all = Vec::new();
        if let Some(scan) = &self.scan {
            all.extend(below("scan", scan.check()));
        }
        if let Some(policy) = &self.policy {
            all.extend(policy.problems(&format!("{at}/policy")));
        }
        if let Some(cost) = &self.cost {
            all.extend(below("cost/estimate", cost.estimate.problems()));
            all.extend(below("cost/limits", cost.limits.problems()));
            if let Some(infracost) = &cost.infracost {
                all.extend(below("cost/infracost", infracost.problems()));
            }
        }
        if let Some(test) = &self.test {
            all.extend(test.problems(&format!("{at}/test")));
        }
        if let Some(approval) = &self.approval {
            all.extend(approval.problems(&format!("{at}/approval")));
        }
        all
    }
}

/// For whom settings hold. The narrowest one counts.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct GateScope {
    /// Only for this project.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub project: Option<String>,
    /// Only for this environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub environment: Option<String>,
}

impl GateScope {
    /// What is wrong with its names.
    pub fn problems(&self) -> Vec<FieldError> {
        [("project", &self.project), ("environment", &self.environment)]
            .into_iter()
            .filter(|(_, name)| name.as_deref().is_some_and(|name| !is_name(name)))
            .map(|(field, _)| {
                FieldError::at(
                    format!("/{field}"),
                    format!(
                        "{field} must be 1 to 63 lower-case letters, digits, '-' or '_', starting \
                         with a letter or digit"
                    ),
                )
            })
            .collect()
    }

    /// How narrow it is: a project outweighs an environment.
    const fn narrowness(&self) -> u8 {
        2 * (self.project.is_some() as u8) + self.environment.is_some() as u8
    }

    /// Whether it holds for a project and environment.
    pub fn holds_for(&self, project: &str, environment: &str) -> bool {
        self.project.as_deref().is_none_or(|only| only == project)
            && self.environment.as_deref().is_none_or(|only| only == environment)
    }
}

impl fmt::Display for GateScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.project, &self.environment) {
            (None, None) => f.write_str("everything"),
            (Some(project), None) => write!(f, "project {project}"),
            (None, Some(environment)) => write!(f, "environment {environment}"),
            (Some(project), Some(environment)) => {
                write!(f, "project {project}, environment {environment}")
            }
        }
    }
}

/// Settings as they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct ScopedSettings {
    /// For whom.
    pub scope: GateScope,
    /// What they say.
    pub settings: GateSettings,
    /// Grows with every change.
    pub version: i64,
    /// When they were last changed.
    pub updated_at: DateTime<Utc>,
    /// By whom.
    pub updated_by: Actor,
}

/// Where a section comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct SettingsOrigin {
    /// From settings of this scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<GateScope>,
    /// In words.
    pub text: String,
}

/// What holds for one project and environment, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct ResolvedSettings {
    /// Which scanners are asked.
    pub scan: ScanSettings,
    /// Which policies are asked.
    pub policy: PolicySettings,
    /// What it may cost.
    pub cost: CostRules,
    /// Which tests are run; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<TestSettings>,
    /// Whose yes it needs.
    pub approval: ApprovalRules,
    /// Where each section comes from.
    pub origin: std::collections::BTreeMap<String, SettingsOrigin>,
}

/// What holds for a project and environment, given everything that was said; `house` is what the
/// operator's configuration says for all, below what was said through the API.
pub fn resolve(
    house: &GateSettings,
    said: &[ScopedSettings],
    project: &str,
    environment: &str,
) -> ResolvedSettings {
    let mut of_this: Vec<&ScopedSettings> =
        said.iter().filter(|s| s.scope.holds_for(project, environment)).collect();
    of_this.sort_by_key(|s| std::cmp::Reverse(s.scope.narrowness()));
    let mut origin = std::collections::BTreeMap::new();
    let scan = pick(&of_this, house, "scan", |s| s.scan.clone(), &mut origin);
    let policy = pick(&of_this, house, "policy", |s| s.policy.clone(), &mut origin);
    let cost = pick(&of_this, house, "cost", |s| s.cost.clone(), &mut origin);
    let test = pick(&of_this, house, "test", |s| s.test.clone(), &mut origin);
    let approval = pick(&of_this, house, "approval", |s| s.approval.clone(), &mut origin);
    ResolvedSettings {
        scan: scan.unwrap_or_default(),
        policy: policy.unwrap_or_default(),
        cost: cost.unwrap_or_default(),
        test,
        approval: approval.unwrap_or_default(),
        origin,
    }
}

fn pick<T>(
    said: &[&ScopedSettings],
    house: &GateSettings,
    section: &str,
    of: impl Fn(&GateSettings) -> Option<T>,
    origin: &mut std::collections::BTreeMap<String, SettingsOrigin>,
) -> Option<T> {
    let narrowest = said.iter().find_map(|s| of(&s.settings).map(|value| (s, value)));
    let (from, value) = if let Some((scoped, value)) = narrowest {
        let scope = scoped.scope.clone();
        let text = format!("settings for {scope}, version {}", scoped.version);
        (SettingsOrigin { scope: Some(scope), text }, Some(value))
    } else if let Some(value) = of(house) {
        let text = "the operator's configuration (gates.settings_file)".to_owned();
        (SettingsOrigin { scope: None, text }, Some(value))
    } else {
        (SettingsOrigin { scope: None, text: "built in".to_owned() }, None)
    };
    origin.insert(section.to_owned(), from);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Door;

    fn said(project: Option<&str>, environment: Option<&str>, approvals: u32) -> ScopedSettings {
        ScopedSettings {
            scope: GateScope {
                project: project.map(str::to_owned),
                environment: environment.map(str::to_owned),
            },
            settings: GateSettings {
                approval: Some(ApprovalRules { approvals, ..ApprovalRules::default() }),
                ..GateSettings::default()
            },
            version: 1,
            updated_at: DateTime::UNIX_EPOCH,
            updated_by: crate::access::Principal::local(Door::Rest).actor,
        }
    }

    #[test]
    fn the_narrowest_scope_counts_and_a_project_outweighs_an_environment() {
        let all = [
            said(None, None, 1),
            said(None, Some("prod"), 2),
            said(Some("shop"), None, 3),
            said(Some("shop"), Some("prod"), 4),
        ];
        let house = GateSettings::default();
        let of = |said: &[ScopedSettings], project: &str, environment: &str| {
            resolve(&house, said, project, environment).approval.approvals
        };
        assert_eq!(of(&all, "shop", "prod"), 4);
        assert_eq!(of(&all[..3], "shop", "prod"), 3);
        assert_eq!(of(&all, "shop", "dev"), 3);
        assert_eq!(of(&all, "bank", "prod"), 2);
        assert_eq!(of(&all, "bank", "dev"), 1);
        assert_eq!(of(&[], "bank", "dev"), ApprovalRules::default().approvals);
    }

    #[test]
    fn a_section_that_is_absent_is_left_to_wider_scopes_and_says_where_it_is_from() {
        let house = GateSettings {
            cost: Some(CostRules::default()),
            approval: Some(ApprovalRules { approvals: 9, ..ApprovalRules::default() }),
            ..GateSettings::default()
        };
        let mut narrow = said(Some("shop"), None, 2);
        narrow.settings.approval = None;
        narrow.settings.scan = Some(ScanSettings::default());
        let resolved = resolve(&house, &[narrow, said(None, None, 5)], "shop", "prod");
        assert_eq!(resolved.approval.approvals, 5);
        let from = |section: &str| resolved.origin[section].text.clone();
        assert_eq!(from("scan"), "settings for project shop, version 1");
        assert_eq!(from("approval"), "settings for everything, version 1");
        assert_eq!(from("cost"), "the operator's configuration (gates.settings_file)");
        assert_eq!(from("policy"), "built in");
    }

    #[test]
    fn what_is_wrong_names_its_place() {
        let text = r#"{"approval": {"approvals": 99}, "scan": {"scanners": [{"name": "checkov",
            "time_limit_s": 0}]}, "cost": {"limits": {"currency": "dollars"},
            "infracost": {"time_limit_s": 3601}}}"#;
        let settings: GateSettings = serde_json::from_str(text).unwrap();
        let problems = settings.problems("/settings");
        let at: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
        assert_eq!(
            at,
            [
                "/settings/scan/scanners/0/time_limit_s",
                "/settings/cost/limits/currency",
                "/settings/cost/infracost/time_limit_s",
                "/settings/approval/approvals"
            ]
        );
        assert!(serde_json::from_str::<GateSettings>(r#"{"approvals": {}}"#).is_err());
        let misspelt = r#"{"cost": {"infracost": {"requred": true}}}"#;
        assert!(serde_json::from_str::<GateSettings>(misspelt).is_err());
    }
}
