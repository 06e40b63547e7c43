//! What is asked of the audit log.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use slipway_domain::audit::{Anchor, AuditEntry, SignedCheckpoint};
use slipway_domain::page::Page;
use slipway_services::audit::Verified;

use super::transport::{Answer, Call};
use super::{Client, ClientError};
use crate::cli::AuditListArgs;

/// An export may take this long.
const EXPORT_DEADLINE: Duration = Duration::from_hours(1);
/// One call verifies thousands of records.
const VERIFY_DEADLINE: Duration = Duration::from_mins(5);

/// An export on its way.
pub struct Export(Answer);

impl Export {
    /// The next part of it; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.0.chunk().await
    }
}

fn range(from: Option<i64>, to: Option<i64>) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    query.extend(from.map(|seq| ("from_seq", seq.to_string())));
    query.extend(to.map(|seq| ("to_seq", seq.to_string())));
    query
}

impl Client {
    /// `GET /audit`: at most as many as are asked for, newest first, over as many pages as it takes.
    pub async fn audit(&self, which: &AuditListArgs) -> Result<Page<AuditEntry>, ClientError> {
        let mut filters = Vec::new();
        filters.extend(which.actor.clone().map(|actor| ("actor", actor)));
        filters.extend(which.action.clone().map(|action| ("action", action)));
        filters.extend(which.target.clone().map(|target| ("target", target)));
        filters.extend(which.result.map(|result| ("result", result.to_string())));
        filters.extend(which.since.map(|since| ("since", since.to_rfc3339())));
        filters.extend(which.until.map(|until| ("until", until.to_rfc3339())));
        self.pages(&["audit"], &filters, which.limit).await
    }

    /// `GET /audit/export`.
    pub async fn export_audit(
        &self,
        from: Option<i64>,
        to: Option<i64>,
    ) -> Result<Export, ClientError> {
        let call = Call::new(Method::GET, &["audit", "export"])
            .query(&range(from, to))
            .accept("application/x-ndjson, application/problem+json")
            .deadline(EXPORT_DEADLINE);
        Ok(Export(self.send(call).await?))
    }

    /// `GET /audit/verify` from a record on, as many as the server does at once.
    pub async fn verify_audit(&self, from: Option<i64>) -> Result<Verified, ClientError> {
        let call = Call::new(Method::GET, &["audit", "verify"])
            .query(&range(from, None))
            .deadline(VERIFY_DEADLINE);
        self.send(call).await?.json().await
    }

    /// The place of one record, as the server knows it; `None` when it is not there.
    pub async fn audit_anchor(&self, seq: i64) -> Result<Option<Anchor>, ClientError> {
        let call = Call::new(Method::GET, &["audit", "verify"]).query(&range(Some(seq), Some(seq)));
        let found: Verified = self.send(call).await?.json().await?;
        Ok(Some(found.verdict.to).filter(|at| at.seq == seq))
    }

    /// `GET /audit/checkpoint`.
    pub async fn audit_checkpoint(&self) -> Result<SignedCheckpoint, ClientError> {
        self.get(&["audit", "checkpoint"], &[]).await?.json().await
    }
}
