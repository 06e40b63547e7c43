//! Terraform states as Slipway keeps them: versions that only grow, the lock that says who may add
//! one, and the orphans that were refused and kept all the same.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::access::Actor;
use crate::fault::{Code, Fault, FieldError};
use crate::id::{DeploymentId, JobId, OrphanId, StackId};
use crate::job::Lease;
use crate::plan::StateMark;

/// Longest lock id, in bytes.
pub const MAX_LOCK_ID_BYTES: usize = 200;
/// Longest lock information, in bytes.
pub const MAX_LOCK_INFO_BYTES: usize = 16 << 10;
/// Largest serial: beyond it, programs that read JSON numbers as doubles would be off by one.
pub const MAX_SERIAL: i64 = 1 << 53;

/// Who wrote a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateOrigin {
    /// A run of a deployment.
    Run,
    /// Somebody with a tool of their own, through the state backend.
    Backend,
    /// Somebody who put an older version back.
    Restore,
    /// Somebody who brought a state along that was kept elsewhere.
    Import,
    /// Somebody who took a refused state all the same.
    Adopt,
}

impl StateOrigin {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Run, Self::Backend, Self::Restore, Self::Import, Self::Adopt];

    /// The text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Backend => "backend",
            Self::Restore => "restore",
            Self::Import => "import",
            Self::Adopt => "adopt",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == text)
    }
}

/// A version of a stack's state. Its bytes are elsewhere, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct StateVersion {
    /// Whose.
    pub stack_id: StackId,
    /// Slipway's own number, from 1 without holes.
    pub version: i64,
    /// Terraform's lineage and serial.
    #[serde(flatten)]
    pub mark: StateMark,
    /// How many resource instances it records.
    pub resource_count: i64,
    /// Size in bytes, in clear.
    pub size_bytes: u64,
    /// SHA-256 of the bytes in clear, as `sha256:<hex>`.
    pub digest: String,
    /// Who wrote it.
    pub origin: StateOrigin,
    /// The deployment that wrote it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<DeploymentId>,
    /// Who wrote it, if nobody's run did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<Actor>,
    /// Which version was put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<i64>,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Who may write a stack's state.
#[derive(Debug, Clone, PartialEq)]
pub struct StateLock {
    /// Whose state.
    pub stack_id: StackId,
    /// The name that the holder gave it. Every write names it.
    pub lock_id: String,
    /// What the holder said of itself, in Terraform's own form; given back to whoever is refused.
    pub info: Value,
    /// The lease of the run that holds it; `None` for somebody with a tool of their own. A lock
    /// with a lease that is not alive lets nobody write.
    pub lease: Option<Lease>,
    /// Who took it.
    pub held_by: Actor,
    /// When.
    pub acquired_at: DateTime<Utc>,
}

/// What the holder of a lock says of itself, in the form that Terraform writes and reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct LockInfo {
    /// The name of the lock.
    #[serde(rename = "ID")]
    #[schema(example = "8fd8a4d0-2a30-6d3f-bb0b-b8e3c1a3a5ba")]
    pub id: String,
    /// What the holder does.
    #[schema(example = "OperationTypeApply")]
    pub operation: String,
    /// What else it says.
    pub info: String,
    /// Who and where.
    #[schema(example = "ann@laptop")]
    pub who: String,
    /// The version of its tool.
    #[schema(example = "1.11.4")]
    pub version: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<DateTime<Utc>>,
    /// Where its state is, if it says so.
    pub path: String,
}

impl LockInfo {
    /// Reads what a holder once sent. What it should not have sent is left out: it goes to others.
    pub fn of(info: &Value) -> Self {
        let text = |name: &str| {
            let text = info.get(name).and_then(Value::as_str).unwrap_or_default();
            text.chars().take(MAX_LOCK_ID_BYTES).collect()
        };
        let created = info.get("Created").and_then(Value::as_str);
        Self {
            id: text("ID"),
            operation: text("Operation"),
            info: text("Info"),
            who: text("Who"),
            version: text("Version"),
            created: created.and_then(|at| at.parse().ok()),
            path: text("Path"),
        }
    }
}

/// Whether a stack's state may be written, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct LockStatus {
    /// Whether somebody holds the lock.
    pub locked: bool,
    /// What the holder says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockInfo>,
    /// Who took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<Actor>,
    /// When it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquired_at: Option<DateTime<Utc>>,
    /// The job whose run holds it, if a run does. It cannot be broken while that lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The deployment that is being applied, which keeps others out even without a lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applying: Option<DeploymentId>,
}

/// Why a state was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateRefusal {
    /// Nobody holds the lock, so nobody may write.
    NotLocked,
    /// Somebody else holds the lock.
    OtherLock,
    /// The run that holds the lock has lost its lease.
    LeaseLost,
    /// It is of another lineage than the state that is kept.
    OtherLineage,
    /// It is not newer than the state that is kept.
    OldSerial,
}

impl StateRefusal {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::NotLocked, Self::OtherLock, Self::LeaseLost, Self::OtherLineage, Self::OldSerial];

    /// The text form in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotLocked => "not_locked",
            Self::OtherLock => "other_lock",
            Self::LeaseLost => "lease_lost",
            Self::OtherLineage => "other_lineage",
            Self::OldSerial => "old_serial",
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.as_str() == text)
    }

    /// For a person.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotLocked => "the state is not locked, and only the holder of its lock may write",
            Self::OtherLock => "somebody else holds the lock of the state",
            Self::LeaseLost => "the run that holds the lock has lost its lease",
            Self::OtherLineage => "it is of another lineage than the state that is kept",
            Self::OldSerial => "it is not newer than the state that is kept",
        }
    }
}

/// A state that was refused and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct OrphanState {
    /// Its id.
    pub id: OrphanId,
    /// Whose state it was to be.
    pub stack_id: StackId,
    /// Terraform's lineage and serial.
    #[serde(flatten)]
    pub mark: StateMark,
    /// How many resource instances it records.
    pub resource_count: i64,
    /// SHA-256 of the bytes in clear, as `sha256:<hex>`.
    pub digest: String,
    /// Why it was refused.
    pub reason: StateRefusal,
    /// Who wrote it.
    pub written_by: Actor,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// What a state says of itself, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateHead {
    /// Lineage and serial.
    pub mark: StateMark,
    /// How many resource instances it records; data sources are not counted.
    pub resource_count: i64,
    /// Whether OpenTofu has encrypted it, so that nothing else of it can be read.
    pub encrypted: bool,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    version: Option<u32>,
    lineage: String,
    serial: i64,
    #[serde(default)]
    resources: Vec<FileResource>,
    /// OpenTofu's own encryption: the rest cannot be read.
    #[serde(default)]
    encrypted_data: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct FileResource {
    #[serde(default)]
    mode: String,
    #[serde(default)]
    instances: Vec<serde::de::IgnoredAny>,
}

impl StateHead {
    /// Reads a state file. The error quotes nothing of it.
    pub fn read(content: &[u8]) -> Result<Self, Fault> {
        let bad = |detail: &str| {
            Fault::fields(Code::InvalidInput, vec![FieldError::at("", detail.to_owned())])
        };
        let file: File = serde_json::from_slice(content)
            .map_err(|_| bad("The body is not a Terraform state in JSON."))?;
        if file.version != Some(4) && file.encrypted_data.is_none() {
            return Err(bad(
                "The state is not of version 4, which Terraform 0.12 and later write.",
            ));
        }
        if file.lineage.is_empty() || file.lineage.len() > MAX_LOCK_ID_BYTES {
            return Err(bad("The state has no lineage, or one of more than 200 bytes."));
        }
        if !(0..=MAX_SERIAL).contains(&file.serial) {
            return Err(bad("The state's serial is negative or above 2^53."));
        }
        let managed = file.resources.iter().filter(|resource| resource.mode == "managed");
        let count: usize = managed.map(|resource| resource.instances.len()).sum();
        Ok(Self {
            mark: StateMark { lineage: file.lineage, serial: file.serial },
            resource_count: i64::try_from(count).unwrap_or(i64::MAX),
            encrypted: file.encrypted_data.is_some(),
        })
    }
}

/// Reads what Terraform sends with LOCK: its id, and all of it for who is refused later.
pub fn lock_info(body: &[u8]) -> Result<(String, Value), Fault> {
    let bad = |detail: String| Fault::field("/ID", detail);
    if body.len() > MAX_LOCK_INFO_BYTES {
        return Err(Fault::new(Code::TooLarge, "The lock information is larger than 16 KiB."));
    }
    let info: Value = serde_json::from_slice(body)
        .map_err(|_| Fault::new(Code::Malformed, "The lock information is not JSON."))?;
    match info.get("ID").and_then(Value::as_str) {
        Some(id) if !id.is_empty() && id.len() <= MAX_LOCK_ID_BYTES && !id.contains('\0') => {
            Ok((id.to_owned(), info))
        }
        Some(_) => Err(bad(format!("ID must have 1 to {MAX_LOCK_ID_BYTES} bytes and no NUL."))),
        None => Err(bad("The lock information has no ID.".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_state_is_known_by_its_head() {
        let state = json!({"version": 4, "lineage": "l", "serial": 7, "resources": [
            {"mode": "managed", "instances": [{}, {}]}, {"mode": "data", "instances": [{}]}]});
        let head = StateHead::read(state.to_string().as_bytes()).unwrap();
        assert_eq!(
            (head.mark.lineage.as_str(), head.mark.serial, head.resource_count),
            ("l", 7, 2)
        );
        let sealed = json!({"lineage": "l", "serial": 7, "encrypted_data": "x"});
        assert_eq!(StateHead::read(sealed.to_string().as_bytes()).unwrap().resource_count, 0);
    }

    #[test]
    fn what_is_no_state_is_refused_and_not_quoted() {
        for body in [
            "",
            "{}",
            "[]",
            "{\"version\":4,\"lineage\":\"hunter2\",\"serial\":\"hunter2\"}",
            "{\"version\":3,\"lineage\":\"l\",\"serial\":1}",
            "{\"version\":4,\"lineage\":\"\",\"serial\":1}",
            "{\"version\":4,\"lineage\":\"l\",\"serial\":-1}",
            "{\"version\":4,\"lineage\":\"l\",\"serial\":9007199254740993}",
            "{\"version\":4,\"lineage\":\"l\",\"serial\":9999999999999999999}",
        ] {
            let fault = StateHead::read(body.as_bytes()).unwrap_err();
            assert_eq!(fault.code, Code::InvalidInput, "{body}");
            assert!(!fault.to_string().contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn a_lock_has_a_name_of_bounded_length() {
        let (id, info) = lock_info(br#"{"ID":"x","Operation":"OperationTypeApply"}"#).unwrap();
        assert_eq!((id.as_str(), &info["Operation"]), ("x", &json!("OperationTypeApply")));
        let long = json!({"ID": "x".repeat(201)}).to_string();
        let big = json!({"ID": "x", "Info": "x".repeat(20_000)}).to_string();
        for body in ["", "{}", "{\"ID\":\"\"}", "{\"ID\":1}", "{\"ID\":\"a\\u0000\"}", &long, &big]
        {
            assert!(lock_info(body.as_bytes()).is_err(), "{body:.40}");
        }
    }

    #[test]
    fn a_holder_is_shown_as_far_as_it_is_sane() {
        let info = LockInfo::of(&json!({"ID": "x", "Who": "ann@host", "Operation": 7,
            "Created": "yesterday", "Info": "i".repeat(5000), "Password": "hunter2"}));
        assert_eq!((info.id.as_str(), info.who.as_str(), info.created), ("x", "ann@host", None));
        assert_eq!((info.operation.as_str(), info.info.len()), ("", 200));
        let text = serde_json::to_string(&info).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("Created"), "{text}");
        let dated = LockInfo::of(&json!({"ID": "x", "Created": "2026-01-01T00:00:00.5Z"}));
        assert!(dated.created.is_some());
    }

    #[test]
    fn texts_go_there_and_back() {
        for refusal in StateRefusal::ALL {
            assert_eq!(StateRefusal::parse(refusal.as_str()), Some(refusal));
            assert!(!refusal.words().is_empty());
        }
        for origin in StateOrigin::ALL {
            assert_eq!(StateOrigin::parse(origin.as_str()), Some(origin));
        }
        assert_eq!(StateRefusal::parse("x"), None);
    }
}
