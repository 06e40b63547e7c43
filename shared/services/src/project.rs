//! Projects: making them, seeing them, describing them, removing them.

use chrono::SubsecRound as _;
use slipway_domain::access::{Principal, Scope};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::page::{NamedPageRequest, Page};
use slipway_domain::project::{NewProject, Project, ProjectChange};

use crate::Ctx;
use crate::access::{self, no_project};
use crate::change::audit;
use crate::gate::Precondition;
use crate::idempotency::Guard;

/// What somebody gets who makes one.
#[derive(Debug, Clone)]
pub struct Made {
    /// The project.
    pub project: Project,
    /// Whether this is the stored answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// Makes a project.
pub async fn create(
    cx: &Ctx,
    who: &Principal,
    request: NewProject,
    idempotency_key: Option<&str>,
) -> Result<Made, Fault> {
    who.need(Scope::AdminProjects)?;
    let guard = Guard::new(who, "project.create", idempotency_key, &request)?;
    if let Some(answered) = answered(cx, guard.as_ref()).await? {
        return Ok(answered);
    }
    let problems = request.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let now = cx.now().trunc_subsecs(6);
    let project = Project {
        name: request.name,
        description: said(request.description),
        created_by: Some(who.actor.clone()),
        created_at: now,
        updated_at: now,
        version: 1,
    };
    let mut tx = cx.store.begin().await?;
    let added = tx.insert_project(&project).await?;
    if added {
        let detail = serde_json::to_value(&project).map_err(Fault::internal)?;
        audit(cx, &mut tx, who, "project.create", project.name.clone(), detail).await?;
    }
    if let Some(guard) = &guard
        && (!added || !guard.keep(cx, &mut tx, &project).await?)
    {
        // Somebody sent the same request at the same time and was first, or made one before.
        tx.rollback().await?;
        if let Some(answered) = answered(cx, Some(guard)).await? {
            return Ok(answered);
        }
        return Err(exists(&project.name));
    }
    if !added {
        return Err(exists(&project.name));
    }
    tx.commit().await?;
    tracing::info!(project = project.name, by = who.actor.id, "project made");
    Ok(Made { project, replayed: false })
}

async fn answered(cx: &Ctx, guard: Option<&Guard>) -> Result<Option<Made>, Fault> {
    let Some(guard) = guard else { return Ok(None) };
    let mut tx = cx.store.read().await?;
    let answer = guard.answer(cx, &mut tx).await?;
    Ok(answer.map(|project| Made { project, replayed: true }))
}

fn exists(name: &str) -> Fault {
    Fault::new(Code::ProjectExists, format!("There is a project {name} already."))
}

/// A text that says something.
fn said(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The projects in which the caller may look, by name.
pub async fn list(
    cx: &Ctx,
    who: &Principal,
    page: &NamedPageRequest,
) -> Result<Page<Project>, Fault> {
    let reach = access::reach(who, Scope::StacksRead)?;
    let rows = cx.store.read().await?.projects(&reach, page).await?;
    Ok(Page::of_named(rows, page, |project| &project.name))
}

/// One project.
pub async fn get(cx: &Ctx, who: &Principal, name: &str) -> Result<Project, Fault> {
    access::project(who, name, Scope::StacksRead)?;
    cx.store.read().await?.project(name).await?.ok_or_else(|| no_project(name))
}

/// Changes what is said of a project.
pub async fn change(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    change: ProjectChange,
    from: Precondition,
) -> Result<Project, Fault> {
    access::project(who, name, Scope::AdminProjects)?;
    let problems = change.problems();
    if !problems.is_empty() {
        return Err(Fault::fields(Code::InvalidInput, problems));
    }
    let mut tx = cx.store.begin().await?;
    let before = tx.lock_project(name).await?.ok_or_else(|| no_project(name))?;
    expected(&before, from)?;
    let Some(description) = change.description else { return Ok(before) };
    let description = said(Some(description));
    let now = cx.now().trunc_subsecs(6);
    if !tx.describe_project(name, description.as_deref(), before.version, now).await? {
        return Err(moved(name));
    }
    let detail = serde_json::json!({"before": {"description": before.description},
        "after": {"description": description}});
    audit(cx, &mut tx, who, "project.change", name.to_owned(), detail).await?;
    tx.commit().await?;
    Ok(Project { description, updated_at: now, version: before.version + 1, ..before })
}

/// Removes a project to which nothing belongs; its memberships end.
pub async fn remove(
    cx: &Ctx,
    who: &Principal,
    name: &str,
    from: Precondition,
) -> Result<(), Fault> {
    access::project(who, name, Scope::AdminProjects)?;
    // Being an admin of a project is not enough to end it.
    who.need(Scope::AdminProjects)?;
    let mut tx = cx.store.begin().await?;
    let before = tx.lock_project(name).await?.ok_or_else(|| no_project(name))?;
    expected(&before, from)?;
    let left = tx.belongings(name, cx.now()).await?;
    let what = [
        (left.stacks, "stacks"),
        (left.gate_settings, "settings of gates"),
        (left.exemptions, "exemptions that hold"),
    ];
    let what: Vec<_> = what.iter().filter(|(count, _)| *count > 0).collect();
    if !what.is_empty() {
        let what: Vec<_> = what.iter().map(|(count, what)| format!("{count} {what}")).collect();
        return Err(Fault::new(
            Code::ProjectInUse,
            format!(
                "The project {name} has {}; it can be removed when it has none.",
                what.join(", ")
            ),
        ));
    }
    tx.delete_project(name).await?;
    let detail = serde_json::to_value(&before).map_err(Fault::internal)?;
    audit(cx, &mut tx, who, "project.remove", name.to_owned(), detail).await?;
    tx.commit().await?;
    tracing::info!(project = name, by = who.actor.id, "project removed");
    Ok(())
}

fn expected(project: &Project, from: Precondition) -> Result<(), Fault> {
    match from {
        Precondition::Any => Ok(()),
        Precondition::Version(wanted) if wanted == project.version => Ok(()),
        Precondition::New | Precondition::Version(_) => Err(moved(&project.name)),
    }
}

fn moved(name: &str) -> Fault {
    Fault::new(
        Code::PreconditionFailed,
        format!(
            "The project {name} is of another version by now. Read it again, and make the change to \
             that."
        ),
    )
}
