//! Logs of a deployment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_domain::access::{Principal, Scope};
use slipway_domain::fault::Fault;
use slipway_domain::id::DeploymentId;
use slipway_domain::log::LogLine;
use utoipa::ToSchema;

use crate::Ctx;
use crate::access::read_deployment;

/// Lines at most in one page.
pub const MAX_LINES: u32 = 1000;

/// A page of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, JsonSchema)]
pub struct LogPage {
    /// The lines, in order.
    pub items: Vec<LogLine>,
    /// Pass it as `after` for what follows, now or later.
    pub next_after: i64,
    /// Whether the deployment has ended and nothing follows any more.
    pub complete: bool,
}

/// Which part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Lines with numbers above this one.
    After(i64),
    /// The last so many lines.
    Tail(u32),
}

/// Lines of a deployment's log.
pub async fn page(
    cx: &Ctx,
    who: &Principal,
    of: DeploymentId,
    part: Part,
    limit: u32,
) -> Result<LogPage, Fault> {
    if !(1..=MAX_LINES).contains(&limit) {
        return Err(Fault::field("/limit", format!("limit must be from 1 to {MAX_LINES}")));
    }
    let mut tx = cx.store.read().await?;
    // The state first, the lines after: an end that is seen here has all its lines behind it.
    let record = read_deployment(&mut tx, who, of, Scope::DeploymentsRead).await?;
    let after = match part {
        Part::After(after) if after < 0 => {
            return Err(Fault::field("/after", "after must not be negative"));
        }
        Part::After(after) => after,
        Part::Tail(lines) => (tx.last_log_seq(of).await? - i64::from(lines)).max(0),
    };
    let items = tx.log_lines(of, after, i64::from(limit)).await?;
    let next_after = items.last().map_or(after, |line| line.seq);
    // A page that is not full is the last one, also when the lines were let go after a while.
    let full = items.len() >= limit as usize;
    let complete = record.deployment.state.is_terminal()
        && (!full || next_after >= tx.last_log_seq(of).await?);
    Ok(LogPage { items, next_after, complete })
}
