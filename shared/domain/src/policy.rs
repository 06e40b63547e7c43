//! Policies as resources: packs and their versions, what an operator chose of them, and what
//! follows for the gate from what they found. How a pack is judged is not here.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::exemption::is_rule;
use crate::fault::FieldError;
use crate::finding::{Finding, Severity, State, Verdict};
use crate::gate::GateVerdict;
use crate::id::{DeploymentId, PlanId};
use crate::stack::is_name;

/// The pack that comes with the executable.
pub const SHIPPED: &str = "slipway/terraform";
/// Names that no uploaded pack may have: there are routes of these names.
const RESERVED: &[&str] = &["dry-run"];
/// Packs that one plan is judged by.
const MAX_USES: usize = 16;
/// Entries of a list of [`RuleSettings`], and single rules that are set.
const MAX_LIST: usize = 200;
/// Bytes of an entry of such a list.
const MAX_ENTRY: usize = 200;

/// Whether an uploaded pack may have this name.
pub fn is_pack_name(text: &str) -> bool {
    is_name(text) && !RESERVED.contains(&text)
}

/// How much a pack's word counts.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PackMode {
    /// It blocks what it denies.
    #[default]
    Enforce,
    /// It is asked, and only warns.
    Warn,
    /// It is not asked.
    Off,
}

/// One pack that plans are judged by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackUse {
    /// Its name; `slipway/terraform` is the one that is built in.
    #[schema(example = "slipway/terraform")]
    pub name: String,
    /// Which version; the newest when absent. The built-in one has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub version: Option<i32>,
    /// How much its word counts.
    #[serde(default)]
    pub mode: PackMode,
}

impl PackUse {
    /// The built-in pack.
    pub fn shipped() -> Self {
        Self { name: SHIPPED.to_owned(), version: None, mode: PackMode::Enforce }
    }
}

/// What rules are told. A rule whose setting is absent says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// Tags that everything that can be tagged must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_tags: Option<Vec<String>>,
    /// Regions in which things may be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_regions: Option<Vec<String>>,
    /// Types of machines; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_instance_types: Option<Vec<String>>,
    /// Providers by source address, e.g. `hashicorp/*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_providers: Option<Vec<String>>,
    /// Sources of modules; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_module_sources: Option<Vec<String>>,
    /// How many resources a plan may delete or replace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_deletes: Option<u32>,
    /// How many resources a plan may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_changes: Option<u32>,
}

/// What follows when a rule cannot be judged before the apply.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// No.
    Deny,
    /// A person must say yes.
    #[default]
    NeedsApproval,
    /// Say it and go on.
    Warn,
}

/// What an operator makes of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(tag = "verdict", rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleOverride {
    /// It blocks.
    Deny {},
    /// It needs the yes of somebody with this role.
    RequireRole {
        /// The role.
        role: String,
    },
    /// It warns, also where it cannot be judged yet.
    Warn {},
    /// It is not looked at.
    Off {},
}

/// What an operator chose of policies, for a project or an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// The packs that plans are judged by; the built-in one when absent.
    #[serde(default = "shipped_only")]
    #[schema(max_items = 16)]
    pub packs: Vec<PackUse>,
    /// What rules are told.
    #[serde(default)]
    pub settings: RuleSettings,
    /// What follows when a rule cannot be judged before the apply.
    #[serde(default)]
    pub on_unknown: OnUnknown,
    /// Rules (by their id, here or in another tool) that count for more or less than their pack
    /// says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, RuleOverride>,
}

fn shipped_only() -> Vec<PackUse> {
    vec![PackUse::shipped()]
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            packs: shipped_only(),
            settings: RuleSettings::default(),
            on_unknown: OnUnknown::default(),
            rules: BTreeMap::new(),
        }
    }
}

impl PolicySettings {
    /// What is wrong with the form; `at` is the pointer of the document. Whether packs exist, the
    /// store knows.
    pub fn problems(&self, at: &str) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let mut wrong = |place: String, detail: &str| {
            problems.push(FieldError::at(format!("{at}/{place}"), detail));
        };
        if self.packs.len() > MAX_USES {
            wrong("packs".to_owned(), "at most 16 packs");
        }
        let mut seen = BTreeSet::new();
        for (n, pack) in self.packs.iter().enumerate() {
            if pack.name == SHIPPED {
                if pack.version.is_some() {
                    wrong(
                        format!("packs/{n}/version"),
                        "the built-in pack has the version of the executable; leave it out",
                    );
                }
            } else if !is_pack_name(&pack.name) {
                wrong(format!("packs/{n}/name"), "there can be no pack of this name");
            }
            if pack.version.is_some_and(|version| version < 1) {
                wrong(format!("packs/{n}/version"), "versions are counted from 1");
            }
            if !seen.insert(&pack.name) {
                wrong(format!("packs/{n}/name"), "the pack is there twice");
            }
        }
        let lists = [
            ("required_tags", &self.settings.required_tags),
            ("allowed_regions", &self.settings.allowed_regions),
            ("allowed_instance_types", &self.settings.allowed_instance_types),
            ("allowed_providers", &self.settings.allowed_providers),
            ("allowed_module_sources", &self.settings.allowed_module_sources),
        ];
        for (name, list) in lists {
            let Some(list) = list else { continue };
            let fits = |entry: &String| !entry.is_empty() && entry.len() <= MAX_ENTRY;
            if list.len() > MAX_LIST || !list.iter().all(fits) {
                wrong(
                    format!("settings/{name}"),
                    "at most 200 entries of 1 to 200 bytes; leave it out for no rule at all",
                );
            }
        }
        if self.rules.len() > MAX_LIST {
            wrong("rules".to_owned(), "at most 200 rules");
        }
        for (rule, how) in &self.rules {
            let place = || format!("rules/{}", rule.replace('~', "~0").replace('/', "~1"));
            if rule == Finding::POLICY_ERROR {
                wrong(place(), "a policy that could not be evaluated always denies");
            } else if !is_rule(rule) {
                wrong(place(), "there can be no rule of this name");
            }
            if let RuleOverride::RequireRole { role } = how
                && !is_name(role)
            {
                wrong(format!("{}/role", place()), "the name of a role");
            }
        }
        problems
    }

    /// What the operator makes of a finding's rule: by its id, else by the strictest entry for one
    /// of its other names.
    fn of_rule(&self, finding: &Finding) -> Option<&RuleOverride> {
        let strictness = |how: &&RuleOverride| match how {
            RuleOverride::Off {} => 0,
            RuleOverride::Warn {} => 1,
            RuleOverride::RequireRole { .. } => 2,
            RuleOverride::Deny {} => 3,
        };
        self.rules.get(&finding.rule).or_else(|| {
            finding.aliases.iter().filter_map(|alias| self.rules.get(alias)).max_by_key(strictness)
        })
    }

    /// The strictest verdict that an entry of `rules` can give a rule.
    fn strictest_override(&self) -> Verdict {
        self.rules
            .values()
            .map(|how| match how {
                RuleOverride::Deny {} => Verdict::Deny,
                RuleOverride::RequireRole { .. } => Verdict::RequireRole,
                RuleOverride::Warn {} => Verdict::Warn,
                RuleOverride::Off {} => Verdict::Pass,
            })
            .max()
            .unwrap_or(Verdict::Pass)
    }
}

/// What one pack said about a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackSaid {
    /// Which pack, and how much its word counts.
    pub pack: PackUse,
    /// What it found, strictest first.
    pub findings: Vec<Finding>,
    /// How many findings did not fit. None of them is stricter than the last that did.
    pub left_off: usize,
}

/// What follows for the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What the policy gate says.
    pub verdict: GateVerdict,
    /// Why, in a sentence.
    pub detail: String,
    /// What was found, with the verdicts that count here; strictest first, what is exempted last.
    pub findings: Vec<Finding>,
    /// Somebody with each of these roles must say yes.
    pub roles: BTreeSet<String>,
}

/// What follows from what packs found. Findings with an exemption do not count; a policy that could
/// not be evaluated always denies.
pub fn judge(settings: &PolicySettings, said: Vec<PackSaid>) -> Judgement {
    let mut findings = Vec::new();
    let mut left_off = 0;
    let mut hidden = Verdict::Pass;
    for PackSaid { pack, findings: found, left_off: more } in said {
        if more > 0 && pack.mode != PackMode::Off {
            left_off += more;
            // What nobody sees may be as strict as the mildest that is seen, may have been raised,
            // and is under no exemption.
            let last = found.last().map_or(Verdict::Deny, |f| f.verdict);
            let raised = last.max(settings.strictest_override());
            hidden = hidden.max(in_mode(pack.mode, raised));
        }
        findings.extend(found.into_iter().filter_map(|f| weigh(settings, pack.mode, f)));
    }
    findings.sort_by(Finding::order);
    let counts = |verdict: Verdict| {
        findings.iter().filter(|f| f.exemption.is_none() && f.verdict == verdict).count()
    };
    let exempted = findings.iter().filter(|f| f.exemption.is_some()).count();
    let roles: BTreeSet<String> = findings
        .iter()
        .filter(|f| f.exemption.is_none() && f.verdict == Verdict::RequireRole)
        .filter_map(|f| f.role.clone())
        .collect();
    let verdict = findings
        .iter()
        .filter(|f| f.exemption.is_none())
        .map(|f| f.verdict)
        .chain([hidden])
        .map(|verdict| gate_verdict(settings.on_unknown, verdict))
        .max_by_key(|verdict| strictness(*verdict))
        .unwrap_or(GateVerdict::Pass);
    let detail = tell(
        &[
            (counts(Verdict::Deny), "denied"),
            (counts(Verdict::RequireRole), "needing a role's yes"),
            (counts(Verdict::Unknown), "known only after apply"),
            (counts(Verdict::Warn), "warned of"),
            (exempted, "exempted"),
            (left_off, "too many to keep"),
        ],
        &findings,
        &roles,
    );
    Judgement { verdict, detail, findings, roles }
}

/// A finding as it counts here; `None` when it does not.
fn weigh(settings: &PolicySettings, mode: PackMode, mut finding: Finding) -> Option<Finding> {
    if finding.rule == Finding::POLICY_ERROR {
        finding.verdict = Verdict::Deny;
        finding.exemption = None;
        // A pack that is off is not asked, so this is a mistake of ours, and no pass.
        return Some(finding);
    }
    if mode == PackMode::Off {
        return None;
    }
    let unknown = finding.state == State::Unknown || finding.verdict == Verdict::Unknown;
    match settings.of_rule(&finding) {
        None => {}
        Some(RuleOverride::Off {}) => return None,
        Some(RuleOverride::Warn {}) => finding.verdict = Verdict::Warn,
        // What is not known yet is not there yet.
        Some(_) if unknown => finding.verdict = Verdict::Unknown,
        Some(RuleOverride::Deny {}) => finding.verdict = Verdict::Deny,
        Some(RuleOverride::RequireRole { role }) => {
            finding.verdict = Verdict::RequireRole;
            finding.role = Some(role.clone());
        }
    }
    if finding.verdict == Verdict::RequireRole && finding.role.is_none() {
        // Nobody could say this yes.
        finding.verdict = Verdict::Deny;
    }
    finding.verdict = in_mode(mode, finding.verdict);
    Some(finding)
}

/// A verdict of a pack that is used so.
fn in_mode(mode: PackMode, verdict: Verdict) -> Verdict {
    match mode {
        PackMode::Enforce => verdict,
        PackMode::Warn => verdict.min(Verdict::Warn),
        PackMode::Off => Verdict::Pass,
    }
}

const fn gate_verdict(on_unknown: OnUnknown, verdict: Verdict) -> GateVerdict {
    match verdict {
        Verdict::Pass => GateVerdict::Pass,
        Verdict::Warn => GateVerdict::Warn,
        Verdict::RequireRole => GateVerdict::NeedsApproval,
        Verdict::Deny => GateVerdict::Deny,
        Verdict::Unknown => match on_unknown {
            OnUnknown::Deny => GateVerdict::Deny,
            OnUnknown::NeedsApproval => GateVerdict::NeedsApproval,
            OnUnknown::Warn => GateVerdict::Warn,
        },
    }
}

const fn strictness(verdict: GateVerdict) -> u8 {
    match verdict {
        GateVerdict::Pass => 0,
        GateVerdict::Warn => 1,
        GateVerdict::Pending => 2,
        GateVerdict::NeedsApproval => 3,
        GateVerdict::Deny => 4,
    }
}

/// The sentence of a judgement.
fn tell(counts: &[(usize, &str)], findings: &[Finding], roles: &BTreeSet<String>) -> String {
    use std::fmt::Write as _;
    let parts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if parts.is_empty() {
        return "No rule has anything to say.".to_owned();
    }
    let mut text = format!("Findings: {}.", parts.join(", "));
    if let Some(first) = findings.first().filter(|f| f.exemption.is_none()) {
        let place = if first.address.is_empty() { "the plan" } else { first.address.as_str() };
        let _ = write!(text, " First: {} at {place}.", first.rule);
    }
    if !roles.is_empty() {
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        let _ = write!(text, " Needed: the yes of {}.", roles.join(", "));
    }
    text
}

/// Where a pack is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PackOrigin {
    /// It comes with the executable, and is read-only.
    BuiltIn,
    /// Somebody uploaded it.
    Uploaded,
}

/// One rule of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct PolicyRule {
    /// Its id.
    pub id: String,
    /// What it checks.
    pub title: String,
    /// How much harm it does when it does not hold.
    pub severity: Severity,
    /// What follows when it does not hold.
    pub verdict: Verdict,
    /// Ids of the same check in other tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// A version of a pack. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct PolicyVersion {
    /// Name of the pack.
    pub name: String,
    /// Its number, from 1; 0 for the built-in pack, whose version is that of the executable.
    pub version: i32,
    /// Digest of its text.
    pub digest: String,
    /// Paths of its files.
    pub files: Vec<String>,
    /// The rules that it describes.
    pub rules: Vec<PolicyRule>,
    /// How many tests it brought, all of which passed.
    pub tests_passed: u32,
    /// When it was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// Who uploaded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<Actor>,
}

/// A pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct PolicyPack {
    /// Its name.
    pub name: String,
    /// Where it is from.
    pub origin: PackOrigin,
    /// How many versions there are.
    pub versions: u32,
    /// The newest one.
    pub latest: PolicyVersion,
}

/// One file of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyModule {
    /// Its path inside the pack, e.g. `network.rego`.
    #[schema(min_length = 1, max_length = 1024, example = "network.rego")]
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Which form of a past plan a dry run judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JudgedForm {
    /// The plan as everybody may see it: only what changes, secrets masked, no configuration. Rules
    /// that look at unchanged resources, at links between resources or at `input.terraform` may say
    /// something else about the plan itself.
    Normalised,
}

/// What a pack says of one past plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct DryRunResult {
    /// Whose plan.
    pub deployment_id: DeploymentId,
    /// Which plan.
    pub plan_id: PlanId,
    /// Digest of the plan.
    pub plan_digest: String,
    /// What was judged.
    pub form: JudgedForm,
    /// What the policy gate would say, with nothing but this pack and under today's exemptions.
    pub verdict: GateVerdict,
    /// Why, in a sentence.
    pub detail: String,
    /// What it found.
    pub findings: Vec<Finding>,
    /// How many more findings there are.
    pub left_off: u32,
}

/// A deployment that a dry run did not judge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct DryRunSkip {
    /// Which.
    pub deployment_id: DeploymentId,
    /// Why not.
    pub reason: String,
}

/// What a pack says of past plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct DryRun {
    /// Digest of the pack that was asked.
    pub pack_digest: String,
    /// One for each plan, in the order that was asked for.
    pub results: Vec<DryRunResult>,
    /// What was not judged.
    pub skipped: Vec<DryRunSkip>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::id::ExemptionId;

    fn finding(rule: &str, verdict: Verdict) -> Finding {
        Finding {
            rule: rule.into(),
            address: "a.b".into(),
            verdict,
            state: if verdict == Verdict::Unknown { State::Unknown } else { State::Fail },
            role: (verdict == Verdict::RequireRole).then(|| "dba".to_owned()),
            ..Finding::policy_error("x")
        }
    }

    fn exempted(mut finding: Finding) -> Finding {
        finding.exemption = Some(ExemptionId(Uuid::from_u128(1)));
        finding
    }

    fn said(mode: PackMode, findings: Vec<Finding>) -> PackSaid {
        PackSaid { pack: PackUse { mode, ..PackUse::shipped() }, findings, left_off: 0 }
    }

    fn verdict(settings: &PolicySettings, mode: PackMode, findings: Vec<Finding>) -> GateVerdict {
        judge(settings, vec![said(mode, findings)]).verdict
    }

    #[test]
    fn an_empty_document_is_the_default() {
        let empty: PolicySettings = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, PolicySettings::default());
        assert_eq!(empty.packs, [PackUse::shipped()]);
        assert_eq!(empty.problems(""), []);
        let text = r#"{"packs": [{"name": "mine", "version": 3, "mode": "warn"}],
            "settings": {"max_deletes": 2}, "on_unknown": "deny",
            "rules": {"a": {"verdict": "off"}, "b": {"verdict": "require_role", "role": "dba"}}}"#;
        let full: PolicySettings = serde_json::from_str(text).unwrap();
        assert_eq!(full.problems(""), []);
        let back = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<PolicySettings>(&back).unwrap(), full);
        for wrong in [r#"{"pack": []}"#, r#"{"rules": {"a": {"verdict": "deny", "role": "x"}}}"#] {
            assert!(serde_json::from_str::<PolicySettings>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let text = r#"{"packs": [{"name": "slipway/terraform", "version": 1}, {"name": "dry-run"},
            {"name": "a", "version": 0}, {"name": "a"}],
            "settings": {"required_tags": [""]},
            "rules": {"policy_error": {"verdict": "off"}, "x/*": {"verdict": "warn"},
                "y": {"verdict": "require_role", "role": ""}}}"#;
        let settings: PolicySettings = serde_json::from_str(text).unwrap();
        let pointers: Vec<_> =
            settings.problems("/policy").into_iter().map(|p| p.pointer).collect();
        assert_eq!(
            pointers,
            [
                "/policy/packs/0/version",
                "/policy/packs/1/name",
                "/policy/packs/2/version",
                "/policy/packs/3/name",
                "/policy/settings/required_tags",
                "/policy/rules/policy_error",
                "/policy/rules/x~1*",
                "/policy/rules/y/role",
            ]
        );
    }

    #[test]
    fn verdicts_become_the_gates() {
        let settings = PolicySettings::default();
        let of = |v| verdict(&settings, PackMode::Enforce, vec![finding("r", v)]);
        assert_eq!(of(Verdict::Deny), GateVerdict::Deny);
        assert_eq!(of(Verdict::RequireRole), GateVerdict::NeedsApproval);
        assert_eq!(of(Verdict::Unknown), GateVerdict::NeedsApproval);
        assert_eq!(of(Verdict::Warn), GateVerdict::Warn);
        assert_eq!(verdict(&settings, PackMode::Enforce, Vec::new()), GateVerdict::Pass);
        let one = judge(
            &settings,
            vec![said(PackMode::Enforce, vec![finding("r", Verdict::RequireRole)])],
        );
        assert_eq!(one.roles, BTreeSet::from(["dba".to_owned()]));
        assert_eq!(
            one.detail,
            "Findings: 1 needing a role's yes. First: r at a.b. Needed: the yes of dba."
        );
    }

    #[test]
    fn a_pack_that_only_warns_blocks_nothing_but_when_it_fails() {
        let settings = PolicySettings { on_unknown: OnUnknown::Deny, ..PolicySettings::default() };
        for v in [Verdict::Deny, Verdict::RequireRole, Verdict::Unknown, Verdict::Warn] {
            let found = vec![finding("r", v)];
            assert_eq!(verdict(&settings, PackMode::Warn, found), GateVerdict::Warn, "{v:?}");
        }
        let failed = vec![Finding::policy_error("it loops")];
        assert_eq!(verdict(&settings, PackMode::Warn, failed), GateVerdict::Deny);
    }

    #[test]
    fn operators_lower_and_raise_single_rules() {
        let rules = [
            ("off".to_owned(), RuleOverride::Off {}),
            ("down".to_owned(), RuleOverride::Warn {}),
            ("up".to_owned(), RuleOverride::Deny {}),
            ("ask".to_owned(), RuleOverride::RequireRole { role: "sec".into() }),
        ];
        let settings = PolicySettings { rules: rules.into(), ..PolicySettings::default() };
        let of = |rule: &str, v| verdict(&settings, PackMode::Enforce, vec![finding(rule, v)]);
        assert_eq!(of("off", Verdict::Deny), GateVerdict::Pass);
        assert_eq!(of("down", Verdict::Deny), GateVerdict::Warn);
        assert_eq!(of("down", Verdict::Unknown), GateVerdict::Warn);
        assert_eq!(of("up", Verdict::Warn), GateVerdict::Deny);
        assert_eq!(of("up", Verdict::Unknown), GateVerdict::NeedsApproval);
        let asked =
            judge(&settings, vec![said(PackMode::Enforce, vec![finding("ask", Verdict::Deny)])]);
        assert_eq!(asked.verdict, GateVerdict::NeedsApproval);
        assert_eq!(asked.roles, BTreeSet::from(["sec".to_owned()]));
        let mut other = finding("x", Verdict::Warn);
        other.aliases = vec!["off".into(), "up".into()];
        assert_eq!(
            verdict(&settings, PackMode::Enforce, vec![other]),
            GateVerdict::Deny,
            "of two names the stricter entry counts"
        );
    }

    #[test]
    fn what_is_exempted_does_not_count_and_is_told_last() {
        let settings = PolicySettings::default();
        let found = vec![exempted(finding("r", Verdict::Deny)), finding("s", Verdict::Warn)];
        let one = judge(&settings, vec![said(PackMode::Enforce, found)]);
        assert_eq!(one.verdict, GateVerdict::Warn);
        assert_eq!(one.findings.last().map(|f| f.rule.as_str()), Some("r"));
        assert!(one.detail.contains("1 exempted"), "{}", one.detail);
    }

    #[test]
    fn findings_that_nobody_sees_cannot_be_exempted_away() {
        let settings = PolicySettings::default();
        let found = vec![exempted(finding("r", Verdict::Deny))];
        let many = PackSaid { left_off: 5, ..said(PackMode::Enforce, found) };
        assert_eq!(judge(&settings, vec![many.clone()]).verdict, GateVerdict::Deny);
        let mild = vec![finding("r", Verdict::Warn)];
        let mild = PackSaid { left_off: 5, ..said(PackMode::Enforce, mild) };
        assert_eq!(judge(&settings, vec![mild.clone()]).verdict, GateVerdict::Warn);
        let raised = PolicySettings {
            rules: [("z".to_owned(), RuleOverride::Deny {})].into(),
            ..PolicySettings::default()
        };
        assert_eq!(judge(&raised, vec![mild]).verdict, GateVerdict::Deny);
    }

    fn some_finding() -> impl Strategy<Value = Finding> {
        let verdicts = vec![Verdict::Warn, Verdict::Unknown, Verdict::RequireRole, Verdict::Deny];
        (prop::sample::select(vec!["a", "b", "c"]), prop::sample::select(verdicts), any::<bool>())
            .prop_map(|(rule, verdict, covered)| {
                let one = finding(rule, verdict);
                if covered { exempted(one) } else { one }
            })
    }

    fn some_settings() -> impl Strategy<Value = PolicySettings> {
        let overrides = vec![
            RuleOverride::Deny {},
            RuleOverride::Warn {},
            RuleOverride::Off {},
            RuleOverride::RequireRole { role: "sec".into() },
        ];
        (
            prop::collection::btree_map("[abc]", prop::sample::select(overrides), 0..3),
            prop::sample::select(vec![OnUnknown::Deny, OnUnknown::NeedsApproval, OnUnknown::Warn]),
        )
            .prop_map(|(rules, on_unknown)| PolicySettings {
                on_unknown,
                rules,
                ..PolicySettings::default()
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_gate_never_opens_by_accident(
            settings in some_settings(),
            found in prop::collection::vec(some_finding(), 0..6),
            more in prop::collection::vec(some_finding(), 0..3),
            mode in prop::sample::select(vec![PackMode::Enforce, PackMode::Warn]),
        ) {
            let alone = judge(&settings, vec![said(mode, found.clone())]);
            // More findings never make it milder.
            let both = [found.clone(), more].concat();
            let with_more = judge(&settings, vec![said(mode, both)]);
            prop_assert!(strictness(with_more.verdict) >= strictness(alone.verdict));
            // An error denies whatever else there is and whoever exempts from it.
            let mut failed = found.clone();
            failed.push(exempted(Finding::policy_error("x")));
            prop_assert_eq!(verdict(&settings, mode, failed), GateVerdict::Deny);
            // Enforcing is never milder than warning.
            let enforced = verdict(&settings, PackMode::Enforce, found.clone());
            prop_assert!(strictness(enforced) >= strictness(alone.verdict));
            // A deny that nobody lowered or exempted denies.
            let plain = found.iter().any(|f| f.verdict == Verdict::Deny
                && f.exemption.is_none() && !settings.rules.contains_key(&f.rule));
            if plain {
                prop_assert_eq!(enforced, GateVerdict::Deny);
            }
        }
    }
}
