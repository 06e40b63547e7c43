//! Members: who is what in a project and in the house.
//!
//! Nobody gives what they do not have, nor takes it: whoever changes a member must hold, where the
//! membership counts, every right that it gives before and after. Otherwise a token that was narrowed
//! to this could make its owner's rights whole again for somebody else.

use std::collections::BTreeSet;

use chrono::SubsecRound as _;
use slipway_domain::access::{Grants, Hold, Principal, Role, Scope};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::AccountId;
use slipway_domain::member::{Member, MemberRoles};
use slipway_domain::page::{Page, PageRequest};
use slipway_store::Tx;

use crate::Ctx;
use crate::access::{self, no_project};
use crate::change::audit;
use crate::gate::Precondition;

/// What an account may do where, as its memberships say now. What a token of it may do is less; see
/// [`Grants::narrowed`].
pub async fn grants(tx: &mut Tx, account: AccountId) -> Result<Grants, Fault> {
    let memberships = tx.memberships(account).await?;
    Ok(Grants::of(memberships.iter().map(|(project, roles)| (project.as_deref(), roles))))
}

/// Members of a project, or of the house.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    project: Option<&str>,
    page: PageRequest,
) -> Result<Page<Member>, Fault> {
    may_see(who, project)?;
    let mut tx = cx.store.read().await?;
    let rows = tx.members(project, page).await?;
    if rows.is_empty() {
        is_there(&mut tx, project).await?;
    }
    Ok(Page::from_surplus(rows, page, |member| member.account_id.0))
}

/// What one account is in a project, or in the house.
pub async fn get(
    cx: &Ctx,
    who: &Principal,
    project: Option<&str>,
    account: AccountId,
) -> Result<Member, Fault> {
    may_see(who, project)?;
    let mut tx = cx.store.read().await?;
    let found = tx.member(project, account).await?;
    if found.is_none() {
        is_there(&mut tx, project).await?;
    }
    found.ok_or_else(|| no_member(project, account))
}

/// Says what an account is, in place of what it was.
pub async fn set(
    cx: &Ctx,
    who: &Principal,
    project: Option<&str>,
    account: AccountId,
    MemberRoles { roles }: MemberRoles,
    from: Precondition,
) -> Result<Member, Fault> {
    may_change(who, project)?;
    let problems = MemberRoles { roles: roles.clone() }.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let mut tx = cx.store.begin().await?;
    let before = locked(&mut tx, who, project, account).await?;
    expected(before.as_ref(), project, account, from)?;
    may_give(who, project, &roles)?;
    crate::auth::account::is_there(&mut tx, account).await?;
    let Before { member: before, only_admin } = before;
    if before.as_ref().is_some_and(|before| before.roles == roles) {
        // It is as it was asked for.
        return before.ok_or_else(|| no_member(project, account));
    }
    if only_admin && !roles.contains(&Role::Admin) {
        return Err(last_admin());
    }
    let now = cx.now().trunc_subsecs(6);
    let version = before.as_ref().map_or(0, |before| before.version);
    let member = Member {
        account_id: account,
        project: project.map(str::to_owned),
        roles,
        changed_by: who.actor.clone(),
        created_at: before.as_ref().map_or(now, |before| before.created_at),
        updated_at: now,
        version: version + 1,
    };
    if !tx.set_member(&member, version).await? {
        return Err(moved(project, account));
    }
    let detail = serde_json::json!({"project": project, "before": before.map(|before| before.roles),
        "after": member.roles});
    audit(cx, &mut tx, who, "member.set", account.to_string(), detail).await?;
    tx.commit().await?;
    cx.gathered.auth.forget();
    tracing::info!(account_id = %account, project, by = who.actor.id, "member changed");
    Ok(member)
}

/// Has an account be nothing any more in a project, or in the house. Whoever is nothing stays so.
pub async fn remove(
    cx: &Ctx,
    who: &Principal,
    project: Option<&str>,
    account: AccountId,
    from: Precondition,
) -> Result<(), Fault> {
    may_change(who, project)?;
    let mut tx = cx.store.begin().await?;
    let before = locked(&mut tx, who, project, account).await?;
    expected(before.as_ref(), project, account, from)?;
    let Before { member: Some(before), only_admin } = before else {
        return Err(no_member(project, account));
    };
    if only_admin {
        return Err(last_admin());
    }
    if !tx.delete_member(project, account, before.version).await? {
        return Err(moved(project, account));
    }
    let detail = serde_json::json!({"project": project, "before": before.roles});
    audit(cx, &mut tx, who, "member.remove", account.to_string(), detail).await?;
    tx.commit().await?;
    cx.gathered.auth.forget();
    tracing::info!(account_id = %account, project, by = who.actor.id, "member removed");
    Ok(())
}

/// What an account is before a change.
struct Before {
    member: Option<Member>,
    /// Whether nobody else is an admin of the house.
    only_admin: bool,
}

impl Before {
    fn as_ref(&self) -> Option<&Member> {
        self.member.as_ref()
    }
}

/// Reads what is to be changed, so that nobody else changes it meanwhile.
async fn locked(
    tx: &mut Tx,
    who: &Principal,
    project: Option<&str>,
    account: AccountId,
) -> Result<Before, Fault> {
    let before = if let Some(name) = project {
        tx.lock_project(name).await?.ok_or_else(|| no_project(name))?;
        Before { member: tx.member(project, account).await?, only_admin: false }
    } else {
        let mut all = tx.lock_house_members().await?;
        let at = all.iter().position(|member| member.account_id == account);
        let member = at.map(|at| all.swap_remove(at));
        let is_one = member.as_ref().is_some_and(|member| member.roles.contains(&Role::Admin));
        let only_admin = is_one && !any_admin(tx, &all).await?;
        Before { member, only_admin }
    };
    if let Some(member) = &before.member {
        may_give(who, project, &member.roles)?;
    }
    Ok(before)
}

/// Whether one of these is an admin whose account has not been stopped.
async fn any_admin(tx: &mut Tx, members: &[Member]) -> Result<bool, Fault> {
    for member in members.iter().filter(|member| member.roles.contains(&Role::Admin)) {
        let account = tx.account(member.account_id).await?;
        if account.is_some_and(|account| account.disabled_at.is_none()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses to have this account stopped when no other admin of the house could undo it; nobody is made
/// or unmade an admin before the unit of work ends.
pub(crate) async fn another_admin_stays(tx: &mut Tx, of: AccountId) -> Result<(), Fault> {
    let mut all = tx.lock_house_members().await?;
    let is_one =
        all.iter().any(|member| member.account_id == of && member.roles.contains(&Role::Admin));
    all.retain(|member| member.account_id != of);
    if is_one && !any_admin(tx, &all).await? { Err(last_admin()) } else { Ok(()) }
}

fn may_see(who: &Principal, project: Option<&str>) -> Result<(), Fault> {
    match project {
        Some(name) => access::project(who, name, Scope::StacksRead),
        None => who.need(Scope::AdminAccounts),
    }
}

fn may_change(who: &Principal, project: Option<&str>) -> Result<(), Fault> {
    match project {
        Some(name) => access::project(who, name, Scope::AdminProjects),
        None => who.need(Scope::AdminAccounts),
    }
}

fn may_give(who: &Principal, project: Option<&str>, roles: &BTreeSet<Role>) -> Result<(), Fault> {
    let (given, held) = match project {
        Some(name) => (Hold::in_project(roles), who.grants.scopes_in(name)),
        None => (Hold::in_house(roles), who.grants.house.scopes.clone()),
    };
    match given.scopes.difference(&held).next() {
        None => Ok(()),
        Some(scope) => Err(Fault::new(
            Code::Forbidden,
            format!(
                "{} lacks the scope {scope} and can neither give it nor take it.",
                who.actor.id
            ),
        )),
    }
}

async fn is_there(tx: &mut Tx, project: Option<&str>) -> Result<(), Fault> {
    match project {
        Some(name) if tx.project(name).await?.is_none() => Err(no_project(name)),
        _ => Ok(()),
    }
}

fn no_member(project: Option<&str>, account: AccountId) -> Fault {
    Fault::not_found("member", format!("{account} {}", in_what(project)))
}

fn in_what(project: Option<&str>) -> String {
    project.map_or_else(|| "of the house".to_owned(), |name| format!("of the project {name}"))
}

fn last_admin() -> Fault {
    Fault::new(Code::LastAdmin, "It is the only admin of the house; make somebody else one before.")
}

fn expected(
    before: Option<&Member>,
    project: Option<&str>,
    account: AccountId,
    from: Precondition,
) -> Result<(), Fault> {
    let version = before.map(|before| before.version);
    match from {
        Precondition::Any => Ok(()),
        Precondition::New if version.is_none() => Ok(()),
        Precondition::Version(wanted) if version == Some(wanted) => Ok(()),
        Precondition::New | Precondition::Version(_) => Err(moved(project, account)),
    }
}

fn moved(project: Option<&str>, account: AccountId) -> Fault {
    Fault::new(
        Code::PreconditionFailed,
        format!(
            "What {account} is as a member {} was changed meanwhile. Read it again, and make the \
             change to that.",
            in_what(project)
        ),
    )
}
