//! Exemptions: granting them, seeing them, taking them back.

use chrono::SubsecRound as _;
use slipway_domain::access::{Principal, Scope};
use slipway_domain::exemption::{Exemption, NewExemption};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::ExemptionId;
use slipway_domain::page::{Page, PageRequest};
pub use slipway_store::exemption::Filter;

use crate::Ctx;
use crate::access::{self, no_project};
use crate::change::audit;
use crate::idempotency::Guard;

/// What somebody gets who asks for one.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The exemption.
    pub exemption: Exemption,
    /// Whether this is the stored answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Grants an exemption. One that holds in more than one project and environment needs the right to
/// change policies too.
pub async fn create(
    cx: &Ctx,
    who: &Principal,
    request: NewExemption,
    idempotency_key: Option<&str>,
) -> Result<Granted, Fault> {
    may(who, request.project.as_deref(), Scope::ExemptionsWrite, no_project)?;
    if request.is_broad() {
        may(who, request.project.as_deref(), Scope::PoliciesWrite, no_project)?;
    }
    let guard = Guard::new(who, "exemption.create", idempotency_key, &request)?;
    if let Some(answered) = answered(cx, guard.as_ref()).await? {
        return Ok(answered);
    }
    let now = cx.now().trunc_subsecs(6);
    let problems = request.problems(now);
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let exemption = Exemption {
        id: ExemptionId::new(&*cx.mint),
        rule: request.rule,
        address: request.address,
        project: request.project,
        environment: request.environment,
        reason: request.reason.trim().to_owned(),
        owner: request.owner.trim().to_owned(),
        created_by: who.actor.clone(),
        created_at: now,
        expires_at: request.expires_at.trunc_subsecs(6),
        revoked_by: None,
        revoked_at: None,
    };
    let mut tx = cx.store.begin().await?;
    tx.insert_exemption(&exemption).await?;
    let detail = serde_json::to_value(&exemption).map_err(Fault::internal)?;
    audit(cx, &mut tx, who, "exemption.create", exemption.id.to_string(), detail).await?;
    if let Some(guard) = &guard
        && !guard.keep(cx, &mut tx, &exemption).await?
    {
        // Somebody sent the same request at the same time and was first.
        tx.rollback().await?;
        return answered(cx, Some(guard)).await?.ok_or_else(|| {
            Fault::new(
                Code::IdempotencyInFlight,
                "A request with this idempotency key is being answered. Try again in a moment.",
            )
        });
    }
    tx.commit().await?;
    tracing::info!(exemption_id = %exemption.id, rule = exemption.rule, by = who.actor.id,
        "exemption granted");
    Ok(Granted { exemption, replayed: false })
}

/// One for a single project is a thing of that project, any other a thing of the house.
fn may(
    who: &Principal,
    project: Option<&str>,
    scope: Scope,
    missing: impl FnOnce(&str) -> Fault,
) -> Result<(), Fault> {
    match project {
        Some(project) => who.need_in(project, scope, || missing(project)),
        None => who.need(scope),
    }
}

async fn answered(cx: &Ctx, guard: Option<&Guard>) -> Result<Option<Granted>, Fault> {
    let Some(guard) = guard else { return Ok(None) };
    let mut tx = cx.store.read().await?;
    let answer = guard.answer(cx, &mut tx).await?;
    Ok(answer.map(|exemption| Granted { exemption, replayed: true }))
}

/// Exemptions, newest first: those for projects that the caller may look into, and those that hold
/// in every project.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<Exemption>, Fault> {
    let reach = access::reach(who, Scope::PoliciesRead)?;
    let rows = cx.store.read().await?.exemptions(filter, &reach, page, cx.now()).await?;
    Ok(Page::from_surplus(rows, page, |row| row.id.0))
}

/// One exemption.
pub async fn get(cx: &Ctx, who: &Principal, id: ExemptionId) -> Result<Exemption, Fault> {
    let found = cx.store.read().await?.exemption(id).await?;
    let found = found.ok_or_else(|| missing(id))?;
    match &found.project {
        Some(project) => who.need_in(project, Scope::PoliciesRead, || missing(id))?,
        // It holds for whoever asks, too.
        None => who.need_somewhere(Scope::PoliciesRead)?,
    }
    Ok(found)
}

/// Takes an exemption back: from now on it covers nothing. Taking it back twice is the same.
pub async fn revoke(
    cx: &Ctx,
    who: &Principal,
    id: ExemptionId,
    reason: Option<String>,
) -> Result<Exemption, Fault> {
    let most = slipway_domain::exemption::MAX_REASON;
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > most) {
        return Err(Fault::field("/reason", format!("at most {most} characters")));
    }
    let now = cx.now().trunc_subsecs(6);
    let mut tx = cx.store.begin().await?;
    let found = tx.exemption(id).await?.ok_or_else(|| missing(id))?;
    may(who, found.project.as_deref(), Scope::ExemptionsWrite, |_| missing(id))?;
    if tx.revoke_exemption(id, &who.actor, now).await? {
        tx.end_judgements(id, now).await?;
        let detail = serde_json::json!({"reason": reason});
        audit(cx, &mut tx, who, "exemption.revoke", id.to_string(), detail).await?;
        tracing::info!(exemption_id = %id, by = who.actor.id, "exemption revoked");
    }
    let found = tx.exemption(id).await?.ok_or_else(|| missing(id))?;
    tx.commit().await?;
    Ok(found)
}

fn missing(id: ExemptionId) -> Fault {
    Fault::not_found("exemption", id)
}
