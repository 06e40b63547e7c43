//! Settings of the gates: seeing them, changing them, and what holds for a stack.

use slipway_domain::access::{Principal, Scope};
use slipway_domain::fault::{Code, Fault, FieldError};
use slipway_domain::gate_settings::{
    GateScope, GateSettings, ResolvedSettings, ScopedSettings, resolve,
};
use slipway_domain::stack::{StackKey, is_name};
use slipway_store::Tx;

use crate::change::audit;
use crate::{Ctx, access, policy};

/// Which version a change is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// There are none yet.
    New,
    /// This one is current.
    Version(i64),
    /// Whatever there is.
    Any,
}

/// The settings that were made through the API for projects that the caller may look into, and for
/// all of them; widest scopes first.
pub async fn all(cx: &Ctx, who: &Principal) -> Result<Vec<ScopedSettings>, Fault> {
    let reach = access::reach(who, Scope::GatesRead)?;
    Ok(cx.store.read().await?.all_gate_settings(&reach).await?)
}

/// The settings of just this scope.
pub async fn get(cx: &Ctx, who: &Principal, scope: &GateScope) -> Result<ScopedSettings, Fault> {
    checked(scope)?;
    match &scope.project {
        Some(project) => access::project(who, project, Scope::GatesRead)?,
        // They hold for whoever asks, too.
        None => who.need_somewhere(Scope::GatesRead)?,
    }
    let found = cx.store.read().await?.gate_settings(scope).await?;
    found.ok_or_else(|| none(scope))
}

/// What holds for a project and environment, and where it comes from.
pub async fn resolved(
    cx: &Ctx,
    who: &Principal,
    project: &str,
    environment: &str,
) -> Result<ResolvedSettings, Fault> {
    for (field, name) in [("project", project), ("environment", environment)] {
        if !is_name(name) {
            let why = format!("{field} is not the name of one");
            return Err(Fault::field(format!("/{field}"), why));
        }
    }
    access::project(who, project, Scope::GatesRead)?;
    let said = cx.store.read().await?.gate_settings_for(project, environment).await?;
    Ok(resolve(&cx.settings.gates, &said, project, environment))
}

/// What holds for a stack.
pub(crate) async fn resolved_in(
    cx: &Ctx,
    tx: &mut Tx,
    stack: &StackKey,
) -> Result<ResolvedSettings, Fault> {
    let said = tx.gate_settings_for(&stack.project, &stack.environment).await?;
    Ok(resolve(&cx.settings.gates, &said, &stack.project, &stack.environment))
}

/// Keeps settings for a scope in place of what was there. Plans that are made from now on are judged
/// by them; those that wait keep what was said of them until they are reconsidered.
pub async fn set(
    cx: &Ctx,
    who: &Principal,
    scope: GateScope,
    settings: GateSettings,
    from: Precondition,
) -> Result<ScopedSettings, Fault> {
    may_change(who, &scope)?;
    let problems = settings.problems("");
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let mut tx = cx.store.begin().await?;
    let before = tx.gate_settings(&scope).await?;
    let version = before.as_ref().map_or(0, |before| before.version);
    expected(&scope, version, from)?;
    policy::name_packs(&mut tx, &holder(&scope), settings.policy.as_ref(), "/policy").await?;
    if !tx.set_gate_settings(&scope, &settings, version, &who.actor, cx.now()).await? {
        return Err(moved(&scope));
    }
    let detail = serde_json::json!({"scope": scope, "from_version": version,
        "before": before.map(|before| before.settings), "after": settings});
    audit(cx, &mut tx, who, "gates.set", holder(&scope), detail).await?;
    let kept = tx.gate_settings(&scope).await?.ok_or_else(|| none(&scope))?;
    tx.commit().await?;
    tracing::info!(%scope, version = kept.version, by = who.actor.id, "gate settings changed");
    Ok(kept)
}

/// Forgets the settings of a scope: wider ones count again.
pub async fn forget(
    cx: &Ctx,
    who: &Principal,
    scope: &GateScope,
    from: Precondition,
) -> Result<(), Fault> {
    may_change(who, scope)?;
    let mut tx = cx.store.begin().await?;
    let Some(before) = tx.gate_settings(scope).await? else {
        // It is as it was asked for.
        return expected(scope, 0, from);
    };
    expected(scope, before.version, from)?;
    if !tx.delete_gate_settings(scope, before.version).await? {
        return Err(moved(scope));
    }
    policy::name_packs(&mut tx, &holder(scope), None, "/policy").await?;
    let detail = serde_json::json!({"scope": scope, "before": before.settings});
    audit(cx, &mut tx, who, "gates.forget", holder(scope), detail).await?;
    tx.commit().await?;
    tracing::info!(%scope, by = who.actor.id, "gate settings removed");
    Ok(())
}

fn holder(scope: &GateScope) -> String {
    format!("gate settings for {scope}")
}

/// Settings of a project are changed by who may do that there, any others in the house.
fn may_change(who: &Principal, scope: &GateScope) -> Result<(), Fault> {
    checked(scope)?;
    match &scope.project {
        Some(project) => access::project(who, project, Scope::GatesWrite),
        None => who.need(Scope::GatesWrite),
    }
}

fn checked(scope: &GateScope) -> Result<(), Fault> {
    let problems: Vec<FieldError> = scope.problems();
    if problems.is_empty() { Ok(()) } else { Err(Fault::fields(Code::InvalidInput, problems)) }
}

fn none(scope: &GateScope) -> Fault {
    Fault::new(
        Code::NotFound,
        format!("There are no gate settings for {scope}; those of wider scopes hold."),
    )
}

fn expected(scope: &GateScope, version: i64, from: Precondition) -> Result<(), Fault> {
    match from {
        Precondition::Any => Ok(()),
        Precondition::New if version == 0 => Ok(()),
        Precondition::Version(wanted) if wanted == version => Ok(()),
        Precondition::New | Precondition::Version(_) => Err(moved(scope)),
    }
}

fn moved(scope: &GateScope) -> Fault {
    Fault::new(
        Code::PreconditionFailed,
        format!(
            "The gate settings for {scope} are of another version by now. Read them again, and make \
             the change to those."
        ),
    )
}
