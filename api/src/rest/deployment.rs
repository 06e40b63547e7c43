//! `/api/v1/deployments`: submitting, seeing, starting, stopping.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::deployment::{Deployment, Output, Waiting};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::DeploymentId;
use slipway_domain::page::{Page, PageRequest};
use slipway_domain::plan::Plan;
use slipway_domain::stack::is_name;
use slipway_domain::state::DeploymentState;
use slipway_services::deployment::{self, Accepted, Filter, Submit};
use slipway_services::{event, output, plan};
use utoipa::{IntoParams, ToSchema};

use super::upload::{Submission, SubmitForm};
use super::{MAX_WAIT, page, tagged};
use crate::extract::{Caller, MaybeJson, NoQuery, Path, Query};
use crate::openapi::{Always, Creating, Moving, OfOne, examples};
use crate::problem::Refused;
use crate::state::ApiState;

/// A project, name or environment in a query.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Name(String);

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if is_name(&text) {
            Ok(Self(text))
        } else {
            Err(
                "it must be 1 to 63 lower-case letters, digits, '-' or '_', starting with a letter \
                 or digit",
            )
        }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// The one `Idempotency-Key` of a request.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    match (key.to_str(), keys.next()) {
        (Ok(key), None) => Ok(Some(key)),
        _ => Err(Fault::new(
            Code::Malformed,
            "Idempotency-Key must be there once and hold visible ASCII characters only.",
        )),
    }
}

/// Says that an answer was given before.
pub(crate) fn mark_replayed(response: &mut Response, replayed: bool) {
    if replayed {
        let name = HeaderName::from_static("idempotency-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
}

/// Submit a deployment
///
/// Everything that can be checked without Terraform is checked now: names, source, HCL, variables.
/// What is accepted is durable; its plan is made by a worker. Follow it with `…/events` or
/// `GET …?wait_s=30`, look at `…/plan`, and approve it by the plan's digest.
///
/// A source directory is sent along as a `tar.gz` in a multipart form: part `request` is the JSON
/// without a source, part `archive` the archive.
#[utoipa::path(post, path = "/api/v1/deployments", operation_id = "submit_deployment",
    tag = "deployments",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and the same \
            request give the same answer; another request with the key is refused.",
            min_length = 1, max_length = 255, pattern = "^[ -~]+$"),
    ),
    request_body(
        description = "What to deploy.",
        content(
            (Submit = "application/json", examples(
                ("template" = (summary = "A template of the library",
                    value = json!(examples::submit_template()))),
                ("git" = (summary = "A git repository", value = json!(examples::submit_git()))),
                ("destroy" = (summary = "Remove what the stack runs",
                    value = json!(examples::submit_destroy()))),
            )),
            (SubmitForm = "multipart/form-data"),
        ),
    ),
    responses(
        (status = 202, description = "Accepted and durable.",
            headers(
                ("Location" = String, description = "Path of the deployment."),
                ("Idempotency-Replayed" = Option<String>, description = "`true` when this is the \
                    answer to an earlier request with the same key."),
            ),
            body = Deployment, example = json!(examples::deployment())),
        Always, OfOne, Creating,
    ))]
pub(crate) async fn submit_deployment(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    headers: HeaderMap,
    submission: Submission,
) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let accepted = match submission {
        Submission::Named(request) => deployment::submit(&state.cx, &who, request, key).await?,
        Submission::Sent { request, archive, path } => {
            deployment::submit_archive(&state.cx, &who, request, archive, path, key).await?
        }
    };
    Ok(submitted(accepted))
}

/// The answer to a submission.
pub(crate) fn submitted(accepted: Accepted) -> Response {
    let location = format!("/api/v1/deployments/{}", accepted.deployment.id);
    let mut response =
        (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(accepted.deployment))
            .into_response();
    mark_replayed(&mut response, accepted.replayed);
    response
}

/// Which deployments.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeploymentQuery {
    /// Only of this project.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    project: Option<Name>,
    /// Only of this environment.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    environment: Option<Name>,
    /// Only in this state.
    #[param(inline)]
    state: Option<DeploymentState>,
    /// Only of this stack.
    stack_id: Option<slipway_domain::id::StackId>,
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List deployments, newest first
#[utoipa::path(get, path = "/api/v1/deployments", operation_id = "list_deployments",
    tag = "deployments",
    params(DeploymentQuery),
    responses(
        (status = 200, description = "A page.", body = Page<Deployment>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always,
    ))]
pub(crate) async fn list_deployments(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<DeploymentQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    let filter = Filter {
        stack_id: query.stack_id,
        project: query.project.map(Name::into),
        environment: query.environment.map(Name::into),
        state: query.state,
    };
    Ok(page::answer(&uri, deployment::list(&state.cx, &who, &filter, ask).await?))
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// Answer when the deployment has ended or waits for a person, at the latest after so many
    /// seconds; at once when absent.
    #[param(minimum = 0, maximum = 60)]
    wait_s: Option<u64>,
}

/// One deployment, with what it waits for
#[utoipa::path(get, path = "/api/v1/deployments/{id}", operation_id = "get_deployment",
    tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment."), WaitQuery),
    responses(
        (status = 200, description = "The deployment.",
            headers(("ETag" = Option<String>, description = "For `If-None-Match`.")),
            body = Deployment, example = json!(examples::deployment())),
        (status = 304, description = "The caller has it already."),
        Always, OfOne,
    ))]
pub(crate) async fn get_deployment(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    Query(query): Query<WaitQuery>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let wait = Duration::from_secs(query.wait_s.unwrap_or(0));
    if wait > MAX_WAIT {
        let most = MAX_WAIT.as_secs();
        return Err(Fault::field("/wait_s", format!("wait_s must be from 0 to {most}")).into());
    }
    let found = if wait.is_zero() {
        deployment::get(&state.cx, &who, id).await?
    } else {
        tokio::select! {
            // A process that ends answers with what is known now.
            () = state.shutdown.cancelled() => deployment::get(&state.cx, &who, id).await?,
            waited = event::wait(&state.cx, &who, id, wait, stands_still) => waited?.0,
        }
    };
    Ok(tagged::answer(&headers, &found)?)
}

/// Whether nothing more happens until somebody does something.
fn stands_still(deployment: &Deployment) -> bool {
    deployment.state.is_terminal()
        || deployment.state.waits_for_person()
        || matches!(deployment.waiting, Some(Waiting::Apply { .. }))
}

/// The form of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlanFormat {
    /// All of it.
    #[default]
    Json,
    /// For a terminal.
    Text,
}

/// In which form.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PlanQuery {
    /// `json` when absent.
    #[param(inline)]
    format: Option<PlanFormat>,
}

/// The current plan
///
/// Every resource that changes with its values before and after, sensitive ones masked. Its
/// `digest` is what an approval names. 409 `not_ready` when there is none (yet).
#[utoipa::path(get, path = "/api/v1/deployments/{id}/plan", operation_id = "get_deployment_plan",
    tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment."), PlanQuery),
    responses(
        (status = 200, description = "The plan.",
            content((Plan = "application/json"), (String = "text/plain")),
            headers(("ETag" = Option<String>, description = "For `If-None-Match`."))),
        (status = 304, description = "The caller has it already."),
        Always, OfOne, Moving,
    ))]
pub(crate) async fn get_deployment_plan(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    Query(query): Query<PlanQuery>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let found = plan::get(&state.cx, &who, id).await?;
    match query.format.unwrap_or_default() {
        PlanFormat::Json => Ok(tagged::answer(&headers, &found)?),
        PlanFormat::Text => {
            let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            Ok((kind, found.to_text()).into_response())
        }
    }
}

/// Nothing to say.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {}

/// Start the apply of an approved plan
///
/// Needed only for a deployment with `auto_apply` off. The body is empty or `{}`.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/apply", operation_id = "apply_deployment",
    tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    request_body(content = Start),
    responses(
        (status = 202, description = "Its apply is enqueued.", body = Deployment,
            headers(("Location" = String, description = "Path of the deployment."))),
        Always, OfOne, Moving, crate::openapi::WithBody,
    ))]
pub(crate) async fn apply_deployment(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
    MaybeJson(Start {}): MaybeJson<Start>,
) -> Result<Response, Refused> {
    let started = deployment::apply(&state.cx, &who, id).await?;
    Ok(accepted(id, started))
}

/// Why to stop.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    /// For the record.
    #[schema(max_length = 2000)]
    #[serde(default)]
    reason: Option<String>,
    /// Kill what runs, also while it finishes what is in flight.
    #[serde(default)]
    force: bool,
}

/// Stop a deployment
///
/// One that waits ends as `cancelled` at once. A running one is asked to stop: it finishes what
/// is in flight, records it, and ends; see `cancel` in the deployment, and follow its events. When it
/// is asked again while it is `draining`, or with `force`, it is killed; what an apply did is then
/// found out as after every lost one, and only then does the deployment end. The body may be left
/// out.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/cancel", operation_id = "cancel_deployment",
    tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment.")),
    request_body(content = Cancel),
    responses(
        (status = 202, description = "It is cancelled, or asked to stop (`cancel_requested_at`).",
            body = Deployment,
            headers(("Location" = String, description = "Path of the deployment."))),
        Always, OfOne, Moving, crate::openapi::WithBody,
    ))]
pub(crate) async fn cancel_deployment(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    _: NoQuery,
    MaybeJson(Cancel { reason, force }): MaybeJson<Cancel>,
) -> Result<Response, Refused> {
    let cancelled = deployment::cancel(&state.cx, &who, id, reason, force).await?;
    Ok(accepted(id, cancelled))
}

fn accepted(id: DeploymentId, deployment: Deployment) -> Response {
    let location = [(header::LOCATION, format!("/api/v1/deployments/{id}"))];
    (StatusCode::ACCEPTED, location, Json(deployment)).into_response()
}

/// Whether sensitive values are shown.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OutputQuery {
    /// Show sensitive values in clear. Needs the scope `secrets:reveal` and goes on the audit log.
    reveal: Option<bool>,
}

/// The outputs
///
/// Sensitive values are `"***"` unless `reveal=true`. 409 `not_ready` when there are none (yet).
#[utoipa::path(get, path = "/api/v1/deployments/{id}/outputs",
    operation_id = "get_deployment_outputs", tag = "deployments",
    params(("id" = DeploymentId, Path, description = "The deployment."), OutputQuery),
    responses((status = 200, description = "All of them.", body = Page<Output>),
        Always, OfOne, Moving))]
pub(crate) async fn get_deployment_outputs(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<DeploymentId>,
    Query(query): Query<OutputQuery>,
) -> Result<Json<Page<Output>>, Refused> {
    let items = output::get(&state.cx, &who, id, query.reveal.unwrap_or(false)).await?;
    Ok(Json(Page { items, next_cursor: None }))
}
