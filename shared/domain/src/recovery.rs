//! Recovery of a lost apply: what is known of it, what follows, and what a person can say about the
//! rest. The driver finds it out; the house keeps it and acts on it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Actor;
use crate::event::ResourceStatus;
use crate::fault::{Fault, FieldError};
use crate::id::{DeploymentId, JobId};
use crate::plan::Action;

/// Resources about which one request may say something.
pub const MAX_RESOLUTIONS: usize = 10_000;
/// Longest id of a resource, in bytes.
pub const MAX_RESOURCE_ID_BYTES: usize = 2048;
/// Longest address of a resource, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 4096;

/// One line of the journal of an apply: what its tool said that it began or finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Full address of the resource instance.
    pub address: String,
    /// What was done.
    pub action: Action,
    /// How far it came.
    pub status: ResourceStatus,
    /// The id that the provider gave it.
    pub resource_id: Option<String>,
    /// The attribute that holds that id; `id` when absent.
    pub id_key: Option<String>,
}

/// A journal without what a tool repeats while something goes on, which says nothing new.
pub fn without_repeats(entries: Vec<JournalEntry>) -> Vec<JournalEntry> {
    let mut last: HashMap<String, (Action, ResourceStatus)> = HashMap::new();
    let is_new = |entry: &JournalEntry| {
        let now = (entry.action, entry.status);
        let before = last.insert(entry.address.clone(), now);
        entry.status != ResourceStatus::Started || before != Some(now)
    };
    entries.into_iter().filter(is_new).collect()
}

/// What follows from what was found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryVerdict {
    /// Everything was done; nothing is left to apply.
    Finished,
    /// What is left is proved to be inside what was approved: it goes on under that approval.
    Continued,
    /// What is left is another plan than the one approved: somebody must approve it.
    Proposed,
    /// Somebody must say what became of the resources in doubt.
    NeedsAttention,
}

impl RecoveryVerdict {
    /// The text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Continued => "continued",
            Self::Proposed => "proposed",
            Self::NeedsAttention => "needs_attention",
        }
    }
}

/// Something that was made and that the state does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct LostResource {
    /// Where it belongs.
    pub address: String,
    /// Its id, as far as the provider told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// Why it cannot be taken into the state by that id; absent when it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
}

/// Something of which nobody knows whether it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct InDoubt {
    /// Where.
    pub address: String,
    /// What was begun, or may have been.
    pub action: Action,
    /// Its id, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// What may be the case: `may exist`, `may be gone`, `may be changed, in part or whole`.
    pub detail: String,
}

/// What became of a lost apply, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct RecoveryReport {
    /// Whether everything that the lost worker left on its machine was collected: then the journal
    /// is complete, and nothing of the tool runs any more.
    pub collected: bool,
    /// Done, and recorded in the state.
    #[serde(default)]
    pub done: Vec<String>,
    /// Made, and not recorded.
    #[serde(default)]
    pub lost: Vec<LostResource>,
    /// Begun, and nobody knows how it ended.
    #[serde(default)]
    pub in_doubt: Vec<InDoubt>,
    /// Half made and recorded as such: it is made anew.
    #[serde(default)]
    pub tainted: Vec<String>,
    /// Failed, and recorded.
    #[serde(default)]
    pub failed: Vec<String>,
    /// Not begun.
    #[serde(default)]
    pub untouched: Vec<String>,
    /// What would be taken into the state: address and id.
    #[serde(default)]
    pub imports: BTreeMap<String, String>,
    /// Why the rest is not proved to be inside what was approved, for a person; one line each.
    #[serde(default)]
    pub refusals: Vec<String>,
}

impl RecoveryReport {
    /// What a journal alone says: what was finished is done, what was only begun is in doubt.
    pub fn of_journal(journal: &[JournalEntry], collected: bool) -> Self {
        let mut last: BTreeMap<&str, &JournalEntry> = BTreeMap::new();
        for entry in journal {
            last.insert(&entry.address, entry);
        }
        let mut report = Self { collected, ..Self::default() };
        for (address, entry) in last {
            match entry.status {
                ResourceStatus::Completed => report.done.push(address.to_owned()),
                ResourceStatus::Started | ResourceStatus::Errored => {
                    report.in_doubt.push(InDoubt {
                        address: address.to_owned(),
                        action: entry.action,
                        resource_id: entry.resource_id.clone(),
                        detail: "was begun, and how it ended is not known".to_owned(),
                    });
                }
            }
        }
        report
    }
}

/// What a person says became of a resource in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResolutionOutcome {
    /// It is not there (or not changed): it is made (or changed, or removed) anew.
    Absent,
    /// It is there; with an `id` it is taken into the state.
    Exists,
}

/// What a person says about one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    /// Which, by its full address.
    pub address: String,
    /// What became of it.
    pub outcome: ResolutionOutcome,
    /// Its id, as its provider imports it; with `exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Checks what a person says, on its own.
pub fn check_resolutions(resolutions: &[Resolution]) -> Result<(), Fault> {
    let mut errors = Vec::new();
    if resolutions.len() > MAX_RESOLUTIONS {
        errors.push(FieldError::at(
            "/resolutions",
            format!("There are more than {MAX_RESOLUTIONS} of them."),
        ));
    }
    let mut seen = std::collections::BTreeSet::new();
    for (i, resolution) in resolutions.iter().take(MAX_RESOLUTIONS).enumerate() {
        let mut wrong = |field: &str, detail: String| {
            errors.push(FieldError::at(format!("/resolutions/{i}/{field}"), detail));
        };
        let address = &resolution.address;
        if address.is_empty() || address.len() > MAX_ADDRESS_BYTES {
            wrong("address", format!("An address has 1 to {MAX_ADDRESS_BYTES} bytes."));
        } else if !seen.insert(address.as_str()) {
            wrong("address", "This address is there twice.".to_owned());
        }
        match (resolution.outcome, &resolution.id) {
            (ResolutionOutcome::Absent, Some(_)) => {
                wrong("id", "What is absent has no id.".to_owned());
            }
            (_, Some(id)) if id.is_empty() || id.len() > MAX_RESOURCE_ID_BYTES => {
                wrong("id", format!("An id has 1 to {MAX_RESOURCE_ID_BYTES} bytes."));
            }
            (_, Some(id)) if id.chars().any(char::is_control) => {
                wrong("id", "An id holds no control characters.".to_owned());
            }
            _ => {}
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Fault::fields(crate::fault::Code::InvalidInput, errors))
    }
}

/// A recovery as it is kept: one attempt to find out what a lost apply did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct Recovery {
    /// Whose.
    pub deployment_id: DeploymentId,
    /// Its number in the deployment, from 1.
    pub number: i64,
    /// The job that was lost.
    pub lost_job_id: JobId,
    /// What follows; absent while it is being found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<RecoveryVerdict>,
    /// One sentence.
    pub summary: String,
    /// What is known; absent while it is being found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<RecoveryReport>,
    /// What a person said before it began.
    #[serde(default)]
    pub resolutions: Vec<Resolution>,
    /// Who said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<Actor>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When the verdict was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(address: &str, outcome: ResolutionOutcome, id: Option<&str>) -> Resolution {
        Resolution { address: address.to_owned(), outcome, id: id.map(str::to_owned) }
    }

    #[test]
    fn progress_is_told_once() {
        use ResourceStatus::{Completed, Started};
        let entry = |address: &str, action, status| JournalEntry {
            address: address.to_owned(),
            action,
            status,
            resource_id: None,
            id_key: None,
        };
        let (a, b) = (|s| entry("a", Action::Create, s), |s| entry("b", Action::Delete, s));
        let again = entry("b", Action::Create, Started);
        let told = vec![
            a(Started),
            b(Started),
            a(Started),
            a(Completed),
            b(Started),
            b(Completed),
            again.clone(),
            again.clone(),
        ];
        let kept = [a(Started), b(Started), a(Completed), b(Completed), again];
        assert_eq!(without_repeats(told), kept);
    }

    #[test]
    fn what_a_person_says_is_checked() {
        use ResolutionOutcome::{Absent, Exists};
        check_resolutions(&[one("a.b", Absent, None), one("a.c", Exists, Some("x"))]).unwrap();
        let long = "x".repeat(MAX_RESOURCE_ID_BYTES + 1);
        for (bad, at) in [
            (vec![one("", Absent, None)], "/resolutions/0/address"),
            (vec![one("a", Absent, None), one("a", Exists, None)], "/resolutions/1/address"),
            (vec![one("a", Absent, Some("x"))], "/resolutions/0/id"),
            (vec![one("a", Exists, Some(""))], "/resolutions/0/id"),
            (vec![one("a", Exists, Some(&long))], "/resolutions/0/id"),
            (vec![one("a", Exists, Some("x\ny"))], "/resolutions/0/id"),
            (vec![one("a", Absent, None); MAX_RESOLUTIONS + 1], "/resolutions"),
        ] {
            let fault = check_resolutions(&bad).unwrap_err();
            assert!(fault.errors.iter().any(|error| error.pointer == at), "{fault:?}");
        }
    }
}
