//! The one place where verbs check who may do what to things of a project.
//!
//! A thing is in the project of its stack. Whoever holds nothing at all in that project gets the
//! answer of a thing that does not exist; who sees the project, but lacks the right, is told which.
//! What belongs to no project is held in the house: [`Principal::need`] for changing it,
//! [`Principal::need_somewhere`] for what everybody may read who may read it anywhere.

use std::borrow::Borrow;

use slipway_domain::access::{Principal, Reach, Scope};
use slipway_domain::fault::Fault;
use slipway_domain::id::{DeploymentId, StackId};
use slipway_store::deployment::Record;
use slipway_store::{Tx, stack};

/// Where a list may take its rows from; refuses whoever holds `scope` nowhere.
pub(crate) fn reach(who: &Principal, scope: Scope) -> Result<Reach, Fault> {
    who.need_somewhere(scope)?;
    Ok(who.grants.reach(scope))
}

/// Refuses who may not do this in a project that the request names.
pub(crate) fn project(who: &Principal, project: &str, scope: Scope) -> Result<(), Fault> {
    who.need_in(project, scope, || no_project(project))
}

/// There is none, or none for whoever asks.
pub(crate) fn no_project(name: &str) -> Fault {
    Fault::not_found("project", name.chars().take(80).collect::<String>())
}

/// A deployment that was looked for, if there is one for the caller.
pub(crate) fn deployment<R: Borrow<Record>>(
    who: &Principal,
    id: DeploymentId,
    found: Option<R>,
    scope: Scope,
) -> Result<R, Fault> {
    let missing = || Fault::not_found("deployment", id);
    let record = found.ok_or_else(missing)?;
    who.need_in(&record.borrow().deployment.stack.project, scope, missing)?;
    Ok(record)
}

/// Reads a deployment.
pub(crate) async fn read_deployment(
    tx: &mut Tx,
    who: &Principal,
    id: DeploymentId,
    scope: Scope,
) -> Result<Record, Fault> {
    deployment(who, id, tx.deployment(id).await?, scope)
}

/// Reads a deployment and locks it.
pub(crate) async fn lock_deployment(
    tx: &mut Tx,
    who: &Principal,
    id: DeploymentId,
    scope: Scope,
) -> Result<Record, Fault> {
    deployment(who, id, tx.lock_deployment(id).await?, scope)
}

/// A stack that was looked for, if there is one for the caller.
pub(crate) fn stack(
    who: &Principal,
    id: StackId,
    found: Option<stack::Record>,
    scope: Scope,
) -> Result<stack::Record, Fault> {
    let missing = || Fault::not_found("stack", id);
    let record = found.ok_or_else(missing)?;
    who.need_in(&record.stack.key.project, scope, missing)?;
    Ok(record)
}

/// Reads a stack.
pub(crate) async fn read_stack(
    tx: &mut Tx,
    who: &Principal,
    id: StackId,
    scope: Scope,
) -> Result<stack::Record, Fault> {
    stack(who, id, tx.stack(id).await?, scope)
}

/// Reads a stack and locks it.
pub(crate) async fn lock_stack(
    tx: &mut Tx,
    who: &Principal,
    id: StackId,
    scope: Scope,
) -> Result<stack::Record, Fault> {
    stack(who, id, tx.lock_stack(id).await?, scope)
}
