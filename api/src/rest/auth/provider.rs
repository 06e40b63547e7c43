//! Signing in at a provider, and linking an account to one.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;
use slipway_domain::auth::identity::Identity;
use slipway_domain::fault::{Code, Fault};
use slipway_services::auth::provider::{self, Back, Begun, Choice, Finished};
use utoipa::{IntoParams, ToSchema};

use crate::auth::{SESSION_COOKIE, VISIT_COOKIE, Visitor, cookie, set_cookie};
use crate::extract::{Caller, MaybeJson, NoQuery, Path, Query};
use crate::openapi::{Always, Moving, OfOne, WithBody};
use crate::problem::Refused;
use crate::state::ApiState;

/// How long a browser may stay at a provider, in seconds.
const STAY_S: i64 = 600;

/// Where people can sign in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Providers {
    /// The providers.
    items: Vec<Choice>,
}

/// List where people can sign in, beside here
#[utoipa::path(get, path = "/api/v1/auth/providers", operation_id = "list_providers", tag = "auth",

    responses((status = 200, description = "The providers.", body = Providers), Always))]
pub(crate) async fn list_providers(State(state): State<ApiState>, _: NoQuery) -> Json<Providers> {
    Json(Providers { items: provider::list(&state.cx) })
}

/// Where to go afterwards.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StartQuery {
    /// A path on this server; `/` when absent.
    #[param(max_length = 1000)]
    return_to: Option<String>,
}

/// Go to a provider to sign in
///
/// For browsers: the answer leads to the provider and sets a cookie, without which coming back is
/// refused.
#[utoipa::path(get, path = "/api/v1/auth/providers/{name}/start", operation_id = "start_sign_in",
    tag = "auth",
    params(("name" = String, Path, description = "The provider."), StartQuery),
    responses(
        (status = 303, description = "To the provider.",
            headers(("Location" = String, description = "The provider."),
                ("Set-Cookie" = String, description = "What this browser shows when it is back."))),
        Always, OfOne,
    ))]
pub(crate) async fn start_sign_in(
    State(state): State<ApiState>,
    Visitor(who): Visitor,
    Path(name): Path<String>,
    Query(query): Query<StartQuery>,
) -> Result<Response, Refused> {
    let return_to = query.return_to.as_deref().unwrap_or("/");
    let begun = provider::begin(&state.cx, &who, &name, return_to, false).await?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    leave(&mut response, &begun, header::LOCATION)?;
    Ok(response)
}

fn leave(response: &mut Response, begun: &Begun, place: header::HeaderName) -> Result<(), Fault> {
    let to = HeaderValue::from_str(&begun.url).map_err(Fault::internal)?;
    response.headers_mut().insert(place, to);
    let kept = set_cookie(VISIT_COOKIE, &begun.cookie, STAY_S);
    response.headers_mut().extend(kept.map(|value| (header::SET_COOKIE, value)));
    Ok(())
}

/// What a provider sends a browser back with. Providers add what they like.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallbackQuery {
    /// What can be changed for who they are.
    #[param(value_type = Option<String>)]
    code: Option<Secret<String>>,
    /// What we gave the provider.
    #[param(value_type = Option<String>)]
    state: Option<Secret<String>>,
    /// Why there is no code.
    error: Option<String>,
}

/// Come back from a provider
///
/// For browsers. The answer sets the session's cookie and leads to where the sign-in began.
#[utoipa::path(get, path = "/api/v1/auth/providers/{name}/callback",
    operation_id = "finish_sign_in", tag = "auth",
    params(("name" = String, Path, description = "The provider."), CallbackQuery),
    responses(
        (status = 303, description = "Signed in, or linked.",
            headers(("Location" = String, description = "Where it began."),
                ("Set-Cookie" = String, description = "The session."))),
        Always, OfOne, Moving,
    ))]
pub(crate) async fn finish_sign_in(
    State(state): State<ApiState>,
    Visitor(who): Visitor,
    Path(name): Path<String>,
    headers: HeaderMap,
    Query(query): Query<CallbackQuery>,
) -> Result<Response, Refused> {
    let refused = |why: &str| Refused(Fault::new(Code::Unauthenticated, why));
    if query.error.is_some() {
        return Err(refused("The provider did not sign you in. Begin again."));
    }
    let (Some(code), Some(given)) = (query.code, query.state) else {
        return Err(refused("This is no way back from a provider: code and state are missing."));
    };
    let kept = cookie(&headers, VISIT_COOKIE);
    let kept =
        kept.ok_or_else(|| refused("Another browser began this sign-in. Begin it again."))?;
    let back = Back { state: given, code, cookie: kept };
    let finished = provider::finish(&state.cx, &who, &name, &back).await?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    let gone = set_cookie(VISIT_COOKIE, &Secret::default(), 0);
    headers.extend(gone.map(|value| (header::SET_COOKIE, value)));
    let return_to = match finished {
        Finished::Linked { return_to } => return_to,
        Finished::SignedIn { browser, return_to } => {
            let seconds = (browser.session.expires_at - browser.session.created_at).num_seconds();
            let session = set_cookie(SESSION_COOKIE, &browser.cookie, seconds);
            if let Some(value) = session {
                headers.append(header::SET_COOKIE, value);
            }
            return_to
        }
    };
    headers.insert(header::LOCATION, HeaderValue::from_str(&return_to).map_err(Fault::internal)?);
    Ok(response)
}

/// Where an account can sign in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Identities {
    /// The links.
    items: Vec<Identity>,
}

/// List where one can sign in
#[utoipa::path(get, path = "/api/v1/auth/identities", operation_id = "list_identities",
    tag = "auth",
    responses((status = 200, description = "The links.", body = Identities), Always, OfOne))]
pub(crate) async fn list_identities(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
) -> Result<Json<Identities>, Refused> {
    Ok(Json(Identities { items: provider::identities(&state.cx, &who).await? }))
}

/// Where to go afterwards.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkRequest {
    /// A path on this server; `/` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    return_to: Option<String>,
}

/// Where to send the browser.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Leave {
    /// The provider's page.
    url: String,
}

/// Link one's account to a provider
///
/// By whoever has signed in. Send the browser that gets the answer's cookie to `url`; when it comes
/// back, the account is linked.
#[utoipa::path(post, path = "/api/v1/auth/identities/{name}", operation_id = "link_identity",
    tag = "auth",
    params(("name" = String, Path, description = "The provider.")),
    request_body(content = LinkRequest),
    responses(
        (status = 200, description = "Where to go.", body = Leave,
            headers(("Set-Cookie" = String, description = "What this browser shows when it is back."),
                ("Location" = String, description = "The provider."))),
        Always, OfOne, WithBody,
    ))]
pub(crate) async fn link_identity(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
    MaybeJson(LinkRequest { return_to }): MaybeJson<LinkRequest>,
) -> Result<Response, Refused> {
    let return_to = return_to.as_deref().unwrap_or("/");
    let begun = provider::begin(&state.cx, &who, &name, return_to, true).await?;
    let mut response = Json(Leave { url: begun.url.clone() }).into_response();
    leave(&mut response, &begun, header::LOCATION)?;
    Ok(response)
}

/// Unlink one's account from a provider
///
/// The last way to sign in stays.
#[utoipa::path(delete, path = "/api/v1/auth/identities/{name}", operation_id = "unlink_identity",
    tag = "auth",
    params(("name" = String, Path, description = "The provider.")),
    responses((status = 204, description = "It is unlinked."), Always, OfOne, Moving))]
pub(crate) async fn unlink_identity(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(name): Path<String>,
    _: NoQuery,
) -> Result<StatusCode, Refused> {
    provider::unlink(&state.cx, &who, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
