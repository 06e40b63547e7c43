//! What is asked of a stack's state.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use slipway_domain::id::{OrphanId, StackId};
use slipway_domain::page::Page;
use slipway_domain::state_diff::StateDiff;
use slipway_domain::state_version::{LockStatus, OrphanState, StateVersion};

use super::transport::Call;
use super::{Client, ClientError, Items};

/// A state may take this long on its way.
const STATE_DEADLINE: Duration = Duration::from_mins(10);
/// Largest state that is read; the server has a limit of its own for those it takes.
pub const MAX_STATE_BYTES: usize = 1 << 30;

/// Which state to download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The current one.
    Current,
    /// This version.
    Version(i64),
    /// One that was refused.
    Orphan(OrphanId),
}

#[derive(Serialize)]
struct Seen {
    #[serde(skip_serializing_if = "Option::is_none")]
    current_serial: Option<i64>,
}

#[derive(Serialize)]
struct BreakLock<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// What became of a request to break a lock.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
pub struct LockBroken {
    /// Whether there was a lock.
    pub released: bool,
}

impl Client {
    /// `GET …/state/versions`: at most `limit` of them, newest first.
    pub async fn state_versions(
        &self,
        of: StackId,
        limit: u32,
    ) -> Result<Page<StateVersion>, ClientError> {
        self.pages(&["stacks", &of.to_string(), "state", "versions"], &[], limit).await
    }

    /// `GET …/state/versions/{version}`.
    pub async fn state_version(
        &self,
        of: StackId,
        version: i64,
    ) -> Result<StateVersion, ClientError> {
        let path = ["stacks", &of.to_string(), "state", "versions", &version.to_string()];
        self.get(&path, &[]).await?.json().await
    }

    /// `GET …/state` and the downloads beside it; `None` when the stack has no state yet.
    pub async fn download_state(
        &self,
        of: StackId,
        which: Which,
    ) -> Result<Option<Bytes>, ClientError> {
        let of = of.to_string();
        let (version, orphan);
        let below: &[&str] = match which {
            Which::Current => &[],
            Which::Version(number) => {
                version = number.to_string();
                &["versions", &version, "download"]
            }
            Which::Orphan(id) => {
                orphan = id.to_string();
                &["orphans", &orphan, "download"]
            }
        };
        let path = [&["stacks", of.as_str(), "state"], below].concat();
        let call = Call::new(Method::GET, &path).deadline(STATE_DEADLINE);
        let answer = self.send(call).await?;
        if answer.response.status() == reqwest::StatusCode::NO_CONTENT {
            return Ok(None);
        }
        answer.at_most(MAX_STATE_BYTES).await.map(Some)
    }

    /// `GET …/state/diff`.
    pub async fn state_diff(
        &self,
        of: StackId,
        from: Option<i64>,
        to: Option<i64>,
    ) -> Result<StateDiff, ClientError> {
        let query: Vec<_> = [("from", from), ("to", to)]
            .into_iter()
            .filter_map(|(name, number)| Some((name, number?.to_string())))
            .collect();
        self.get(&["stacks", &of.to_string(), "state", "diff"], &query).await?.json().await
    }

    /// `POST …/state/versions/{version}/restore`.
    pub async fn restore_state(
        &self,
        of: StackId,
        version: i64,
        current_serial: i64,
    ) -> Result<StateVersion, ClientError> {
        let path =
            ["stacks", &of.to_string(), "state", "versions", &version.to_string(), "restore"];
        let seen = Seen { current_serial: Some(current_serial) };
        self.send(Call::new(Method::POST, &path).json(&seen)?).await?.json().await
    }

    /// `POST …/state/import`.
    pub async fn import_state(
        &self,
        of: StackId,
        content: Bytes,
        current_serial: Option<i64>,
    ) -> Result<StateVersion, ClientError> {
        let query: Vec<_> = current_serial
            .map(|serial| ("current_serial", serial.to_string()))
            .into_iter()
            .collect();
        let call = Call::new(Method::POST, &["stacks", &of.to_string(), "state", "import"])
            .query(&query)
            .bytes("application/json", content)
            .deadline(STATE_DEADLINE);
        self.send(call).await?.json().await
    }

    /// `GET …/state/lock`.
    pub async fn state_lock(&self, of: StackId) -> Result<LockStatus, ClientError> {
        self.get(&["stacks", &of.to_string(), "state", "lock"], &[]).await?.json().await
    }

    /// `POST …/state/unlock`.
    pub async fn unlock_state(
        &self,
        of: StackId,
        lock_id: Option<&str>,
        reason: Option<&str>,
    ) -> Result<LockBroken, ClientError> {
        let path = ["stacks", &of.to_string(), "state", "unlock"];
        let call = Call::new(Method::POST, &path).json(&BreakLock { lock_id, reason })?;
        self.send(call).await?.json().await
    }

    /// `GET …/state/orphans`.
    pub async fn orphan_states(&self, of: StackId) -> Result<Vec<OrphanState>, ClientError> {
        let answer = self.get(&["stacks", &of.to_string(), "state", "orphans"], &[]).await?;
        Ok(answer.json::<Items<OrphanState>>().await?.items)
    }

    /// `POST …/state/orphans/{orphan}/adopt`.
    pub async fn adopt_state(
        &self,
        of: StackId,
        orphan: OrphanId,
        current_serial: Option<i64>,
    ) -> Result<StateVersion, ClientError> {
        let path = ["stacks", &of.to_string(), "state", "orphans", &orphan.to_string(), "adopt"];
        let call = Call::new(Method::POST, &path).json(&Seen { current_serial })?;
        self.send(call).await?.json().await
    }

    /// `DELETE …/state/orphans/{orphan}`.
    pub async fn discard_state(&self, of: StackId, orphan: OrphanId) -> Result<(), ClientError> {
        let path = ["stacks", &of.to_string(), "state", "orphans", &orphan.to_string()];
        self.send(Call::new(Method::DELETE, &path)).await?;
        Ok(())
    }
}
