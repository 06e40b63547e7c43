//! Stacks.

mod known;

use slipway_domain::access::{Principal, Scope};
use slipway_domain::fault::Fault;
use slipway_domain::id::StackId;
use slipway_domain::page::{Page, PageRequest};
use slipway_domain::stack::{Stack, StackDetails};
pub use slipway_store::stack::Filter;

pub(crate) use self::known::{Fixed, Known};
use crate::{Ctx, access, run_history};

/// Stacks, newest first.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<Stack>, Fault> {
    let reach = access::reach(who, Scope::StacksRead)?;
    let rows = cx.store.read().await?.stacks(filter, &reach, page).await?;
    Ok(Page::from_surplus(rows, page, |row| row.stack.id.0).map(|row| row.stack))
}

/// One stack.
pub async fn get(cx: &Ctx, who: &Principal, id: StackId) -> Result<Stack, Fault> {
    let mut tx = cx.store.read().await?;
    Ok(access::read_stack(&mut tx, who, id, Scope::StacksRead).await?.stack)
}

/// One stack, and what its runs are likely to take.
pub async fn details(cx: &Ctx, who: &Principal, id: StackId) -> Result<StackDetails, Fault> {
    let stack = get(cx, who, id).await?;
    let estimates = run_history::estimates(&mut cx.store.read().await?, id).await?;
    Ok(StackDetails { stack, estimates })
}
