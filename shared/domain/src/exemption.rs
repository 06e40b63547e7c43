//! Exemptions: a rule that does not count for a resource, for a reason, until a day.

use chrono::{DateTime, Duration, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::fault::FieldError;
use crate::finding::Finding;
use crate::id::ExemptionId;
use crate::stack::is_name;

/// How long an exemption may last at most, in days.
pub const MAX_DAYS: i64 = 365;
/// How short a reason may be, in characters.
pub const MIN_REASON: usize = 10;
/// How long a reason may be, in characters.
pub const MAX_REASON: usize = 2000;
/// How long an owner's name may be, in characters.
const MAX_OWNER: usize = 200;
/// How long a rule's id may be, in bytes.
pub const MAX_RULE: usize = 200;
/// How long an address may be, in bytes.
const MAX_ADDRESS: usize = 1000;

/// A request for an exemption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExemption {
    /// Id of the rule, here or in another tool. One rule: no patterns.
    #[schema(min_length = 1, max_length = 200, example = "s3_public_acl")]
    pub rule: String,
    /// Address of the resource; `*` in it stands for any text, also none.
    #[schema(min_length = 1, max_length = 1000, example = "module.site.aws_s3_bucket.public")]
    pub address: String,
    /// Only in this project; everywhere when absent, which needs the scope `policies:write` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub project: Option<String>,
    /// Only in this environment; in all of them when absent, which needs the scope
    /// `policies:write` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    pub environment: Option<String>,
    /// Why it is all right.
    #[schema(min_length = 10, max_length = 2000)]
    pub reason: String,
    /// Who answers for it: a person or a team.
    #[schema(min_length = 1, max_length = 200)]
    pub owner: String,
    /// When it ends: within a year.
    pub expires_at: DateTime<Utc>,
}

impl NewExemption {
    /// What is wrong with it; empty when it may be granted.
    pub fn problems(&self, now: DateTime<Utc>) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, detail: String| {
            problems.push(FieldError::at(format!("/{field}"), detail));
        };
        if self.rule == Finding::POLICY_ERROR {
            wrong(
                "rule",
                "a policy that could not be evaluated is corrected, not exempted from".to_owned(),
            );
        } else if !is_rule(&self.rule) {
            wrong(
                "rule",
                format!(
                    "the id of one rule, 1 to {MAX_RULE} letters, digits and `_ - . : /`; there are \
                     no patterns"
                ),
            );
        }
        let printed = self.address.chars().all(|c| !c.is_control());
        if self.address.is_empty() || self.address.len() > MAX_ADDRESS || !printed {
            wrong("address", format!("1 to {MAX_ADDRESS} bytes; `*` stands for any text"));
        }
        for (field, name) in [("project", &self.project), ("environment", &self.environment)] {
            if name.as_ref().is_some_and(|name| !is_name(name)) {
                wrong(
                    field,
                    "1 to 63 lower-case letters, digits, '-' or '_', starting with a letter or \
                     digit"
                        .to_owned(),
                );
            }
        }
        let reason = self.reason.trim().chars().count();
        if reason < MIN_REASON || self.reason.chars().count() > MAX_REASON {
            wrong(
                "reason",
                format!("{MIN_REASON} to {MAX_REASON} characters that say why it is all right"),
            );
        }
        if self.owner.trim().is_empty() || self.owner.chars().count() > MAX_OWNER {
            wrong("owner", format!("1 to {MAX_OWNER} characters: who answers for it"));
        }
        let latest = now + Duration::days(MAX_DAYS);
        if self.expires_at <= now {
            wrong("expires_at", "it must be in the future".to_owned());
        } else if self.expires_at > latest {
            wrong("expires_at", format!("at most {MAX_DAYS} days from now: {latest}"));
        }
        problems
    }

    /// Whether it holds in more than one project and environment.
    pub const fn is_broad(&self) -> bool {
        self.project.is_none() || self.environment.is_none()
    }
}

/// Whether a text may be the id of a rule.
pub fn is_rule(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b);
    !text.is_empty() && text.len() <= MAX_RULE && text.bytes().all(known)
}

/// What has become of an exemption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExemptionState {
    /// It holds.
    Active,
    /// Its time is over.
    Expired,
    /// Somebody took it back.
    Revoked,
}

/// A rule that does not count for a resource, for a reason, until a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Exemption {
    /// Its id.
    pub id: ExemptionId,
    /// Id of the rule, here or in another tool.
    pub rule: String,
    /// Address of the resource; `*` in it stands for any text.
    pub address: String,
    /// Only in this project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Only in this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Why it is all right.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Who granted it.
    pub created_by: Actor,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// Who took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<Actor>,
    /// When it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Exemption {
    /// What has become of it.
    pub fn state(&self, now: DateTime<Utc>) -> ExemptionState {
        if self.revoked_at.is_some() {
            ExemptionState::Revoked
        } else if self.expires_at <= now {
            ExemptionState::Expired
        } else {
            ExemptionState::Active
        }
    }

    /// Whether it covers a finding in a plan for this project and environment.
    pub fn covers(
        &self,
        finding: &Finding,
        project: &str,
        environment: &str,
        now: DateTime<Utc>,
    ) -> bool {
        finding.rule != Finding::POLICY_ERROR
            && self.state(now) == ExemptionState::Active
            && self.project.as_ref().is_none_or(|only| only == project)
            && self.environment.as_ref().is_none_or(|only| only == environment)
            && finding.is_of_rule(&self.rule)
            && fits(&self.address, &finding.address)
    }
}

/// An exemption that covers something, for the record of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct UsedExemption {
    /// Which.
    pub id: ExemptionId,
    /// Until when it holds.
    pub expires_at: DateTime<Utc>,
    /// How many findings it covers.
    pub findings: u32,
}

/// Marks the findings that exemptions cover, and says which exemptions were needed. Of several that
/// cover one finding, the one that lasts longest is taken. What was marked before is marked anew.
pub fn apply(
    findings: &mut [Finding],
    exemptions: &[Exemption],
    project: &str,
    environment: &str,
    now: DateTime<Utc>,
) -> Vec<UsedExemption> {
    let mut used: Vec<UsedExemption> = Vec::new();
    for finding in findings {
        let best = exemptions
            .iter()
            .filter(|exemption| exemption.covers(finding, project, environment, now))
            .max_by_key(|exemption| (exemption.expires_at, exemption.id));
        finding.exemption = best.map(|exemption| exemption.id);
        let Some(best) = best else { continue };
        match used.iter_mut().find(|one| one.id == best.id) {
            Some(one) => one.findings += 1,
            None => {
                used.push(UsedExemption { id: best.id, expires_at: best.expires_at, findings: 1 });
            }
        }
    }
    used
}

/// When the first of them ends: what was let through under them is to be judged again then.
pub fn earliest_expiry(used: &[UsedExemption]) -> Option<DateTime<Utc>> {
    used.iter().map(|one| one.expires_at).min()
}

/// Whether a text fits a pattern in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::access::{Door, Principal};

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::days(day)
    }

    fn exemption() -> Exemption {
        Exemption {
            id: ExemptionId(Uuid::from_u128(1)),
            rule: "rule".into(),
            address: "aws_s3_bucket.*".into(),
            project: Some("shop".into()),
            environment: Some("prod".into()),
            reason: "a page that everybody may read".into(),
            owner: "web".into(),
            created_by: Principal::local(Door::Rest).actor,
            created_at: at(0),
            expires_at: at(10),
            revoked_by: None,
            revoked_at: None,
        }
    }

    fn finding(rule: &str, address: &str) -> Finding {
        Finding {
            rule: rule.into(),
            address: address.into(),
            aliases: vec!["CKV_1".into()],
            ..Finding::policy_error("x")
        }
    }

    #[test]
    fn it_covers_its_rule_at_its_place_until_its_day() {
        let found = finding("rule", "aws_s3_bucket.a[\"x\"]");
        let covers = |exemption: &Exemption, day| exemption.covers(&found, "shop", "prod", at(day));
        assert!(covers(&exemption(), 9));
        assert!(!covers(&exemption(), 10), "it ends with its time");
        assert!(!covers(&Exemption { revoked_at: Some(at(1)), ..exemption() }, 9));
        assert!(!exemption().covers(&found, "shop", "dev", at(9)));
        assert!(!exemption().covers(&found, "bank", "prod", at(9)));
        assert!(covers(&Exemption { rule: "CKV_1".into(), ..exemption() }, 9), "an alias");
        assert!(!covers(&Exemption { rule: "CKV_2".into(), ..exemption() }, 9));
        assert!(!covers(&Exemption { address: "aws_s3_bucket.b".into(), ..exemption() }, 9));
        let broad = Exemption { project: None, environment: None, ..exemption() };
        assert!(broad.covers(&found, "bank", "dev", at(9)));
    }

    #[test]
    fn the_one_that_lasts_longest_is_used_and_counted() {
        let long =
            Exemption { id: ExemptionId(Uuid::from_u128(2)), expires_at: at(20), ..exemption() };
        let other = Exemption {
            id: ExemptionId(Uuid::from_u128(3)),
            address: "other.a".into(),
            ..exemption()
        };
        let mut findings = vec![
            finding("rule", "aws_s3_bucket.a"),
            finding("rule", "aws_s3_bucket.b"),
            finding("rule", "other.a"),
            finding("rule", "other.b"),
        ];
        let all = [exemption(), long.clone(), other.clone()];
        let used = apply(&mut findings, &all, "shop", "prod", at(1));
        let one = |of: &Exemption, findings| UsedExemption {
            id: of.id,
            expires_at: of.expires_at,
            findings,
        };
        assert_eq!(used, [one(&long, 2), one(&other, 1)]);
        assert_eq!(earliest_expiry(&used), Some(at(10)));
        assert_eq!(findings[3].exemption, None);
        // Judged again later, nothing of it is left.
        assert_eq!(apply(&mut findings, &all, "shop", "prod", at(20)), []);
        assert!(findings.iter().all(|f| f.exemption.is_none()));
    }

    #[test]
    fn what_is_asked_for_is_checked_field_by_field() {
        let good = NewExemption {
            rule: "CKV_AWS_20".into(),
            address: "aws_s3_bucket.site".into(),
            project: Some("shop".into()),
            environment: Some("prod".into()),
            reason: "a page that everybody may read".into(),
            owner: "web".into(),
            expires_at: at(365),
        };
        assert_eq!(good.problems(at(0)), []);
        assert!(!good.is_broad());
        let bad = |change: fn(&mut NewExemption)| {
            let mut one = good.clone();
            change(&mut one);
            one.problems(at(0)).into_iter().map(|p| p.pointer).collect::<Vec<_>>()
        };
        assert_eq!(bad(|e| e.rule = "*".into()), ["/rule"]);
        assert_eq!(bad(|e| e.rule = "s3_*".into()), ["/rule"]);
        assert_eq!(bad(|e| e.rule = String::new()), ["/rule"]);
        assert_eq!(bad(|e| e.rule = "policy_error".into()), ["/rule"]);
        assert_eq!(bad(|e| e.address = String::new()), ["/address"]);
        assert_eq!(bad(|e| e.address = "a\nb".into()), ["/address"]);
        assert_eq!(bad(|e| e.project = Some("A".into())), ["/project"]);
        assert_eq!(bad(|e| e.reason = "because         ".into()), ["/reason"]);
        assert_eq!(bad(|e| e.owner = " ".into()), ["/owner"]);
        assert_eq!(bad(|e| e.expires_at = at(0)), ["/expires_at"]);
        assert_eq!(bad(|e| e.expires_at = at(366)), ["/expires_at"]);
    }

    /// The same question, asked naively.
    fn fits_slowly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) if fits_slowly(rest, text) => true,
            (Some((b'*', _)), Some((_, rest))) => fits_slowly(pattern, rest),
            (Some((a, pattern)), Some((b, text))) if a == b => fits_slowly(pattern, text),
            _ => false,
        }
    }

    fn some_exemption() -> impl Strategy<Value = Exemption> {
        (
            any::<u8>(),
            prop::sample::select(vec!["rule", "CKV_1", "policy_error", "other"]),
            "[ab*]{0,4}",
            prop::option::of(prop::sample::select(vec!["shop", "bank"])),
            prop::option::of(prop::sample::select(vec!["prod", "dev"])),
            0_i64..20,
            any::<bool>(),
        )
            .prop_map(|(id, rule, address, project, environment, until, revoked)| {
                Exemption {
                    id: ExemptionId(Uuid::from_u128(id.into())),
                    rule: rule.into(),
                    address,
                    project: project.map(str::to_owned),
                    environment: environment.map(str::to_owned),
                    expires_at: at(until),
                    revoked_at: revoked.then(|| at(0)),
                    ..exemption()
                }
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn stars_stand_for_any_text(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(
                fits(&pattern, &text),
                fits_slowly(pattern.as_bytes(), text.as_bytes())
            );
        }

        #[test]
        fn nothing_expired_revoked_or_foreign_covers_and_errors_are_never_covered(
            exemptions in prop::collection::vec(some_exemption(), 0..6),
            addresses in prop::collection::vec("[ab]{0,3}", 1..4),
            day in 0_i64..20,
        ) {
            let mut findings: Vec<Finding> = addresses
                .iter()
                .flat_map(|address| {
                    [finding("rule", address), finding(Finding::POLICY_ERROR, address)]
                })
                .collect();
            let used = apply(&mut findings, &exemptions, "shop", "prod", at(day));
            for found in &findings {
                let Some(id) = found.exemption else { continue };
                prop_assert_ne!(&found.rule, Finding::POLICY_ERROR);
                let by: Vec<_> = exemptions.iter().filter(|e| e.id == id).collect();
                let holds = |e: &&Exemption| {
                    e.revoked_at.is_none()
                        && e.expires_at > at(day)
                        && e.project.as_deref() != Some("bank")
                        && e.environment.as_deref() != Some("dev")
                        && ["rule", "CKV_1"].contains(&e.rule.as_str())
                        && fits_slowly(e.address.as_bytes(), found.address.as_bytes())
                };
                prop_assert!(by.iter().any(holds));
                prop_assert!(used.iter().any(|one| one.id == id));
            }
            let marked = findings.iter().filter(|f| f.exemption.is_some()).count();
            prop_assert_eq!(used.iter().map(|one| one.findings as usize).sum::<usize>(), marked);
            prop_assert!(earliest_expiry(&used).is_none_or(|first| first > at(day)));
        }
    }
}
