//! Accounts, for admins.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;
use slipway_domain::auth::account::{Account, AccountKind};
use slipway_domain::auth::api_key::ApiKey;
use slipway_domain::auth::session::Session;
use slipway_domain::fault::Fault;
use slipway_domain::id::AccountId;
use slipway_domain::page::{Page, PageRequest};
use slipway_services::auth::account::{self, NewAccount};
use slipway_services::auth::sign_in::NewPerson;
use slipway_services::auth::{api_key, session};
use utoipa::{IntoParams, ToSchema};

use super::session::{Ended, PageQuery};
use crate::extract::{Caller, Json as Body, NoQuery, Path, Query};
use crate::openapi::{Always, Creating, Moving, OfOne};
use crate::problem::Refused;
use crate::rest::page;
use crate::state::ApiState;

/// Which accounts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccountQuery {
    /// Only those of this kind.
    #[param(inline)]
    kind: Option<AccountKind>,
    /// Only the one with this name.
    name: Option<String>,
    /// At most this many; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List accounts, newest first
#[utoipa::path(get, path = "/api/v1/accounts", operation_id = "list_accounts", tag = "auth",
    params(AccountQuery),
    responses(
        (status = 200, description = "A page.", body = Page<Account>,
            headers(("Link" = Option<String>, description = "The next page, `rel=\"next\"`."))),
        Always,
    ))]
pub(crate) async fn list_accounts(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Query(query): Query<AccountQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    let filter = account::Filter { kind: query.kind, name: query.name };
    Ok(page::answer(&uri, account::list(&state.cx, &who, &filter, ask).await?))
}

/// An account that an admin makes.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateAccount {
    /// Whose it is.
    kind: AccountKind,
    /// What it is called, and signs in as.
    #[schema(example = "ci", pattern = "^[a-z0-9][a-z0-9._-]{0,62}$")]
    name: String,
    /// Where mail reaches them, or whoever answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 254)]
    email: Option<String>,
    /// A first password, of a person: at least 12 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Password, min_length = 12, max_length = 1024)]
    password: Option<Secret<String>>,
}

/// Make an account
///
/// It may do nothing until somebody makes it a member of a project or of the house.
#[utoipa::path(post, path = "/api/v1/accounts", operation_id = "create_account", tag = "auth",
    request_body(content = CreateAccount),
    responses(
        (status = 201, description = "It is there.", body = Account,
            headers(("Location" = String, description = "Path of the account."))),
        Always, Creating,
    ))]
pub(crate) async fn create_account(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    Body(CreateAccount { kind, name, email, password }): Body<CreateAccount>,
) -> Result<Response, Refused> {
    let new = match (kind, password) {
        (AccountKind::Person, Some(password)) => {
            NewAccount::Person(NewPerson { name, email, password })
        }
        (AccountKind::Service, None) => NewAccount::Service { name, email },
        (AccountKind::Person, None) => {
            return Err(Fault::field("/password", "a person needs a first password").into());
        }
        (AccountKind::Service, Some(_)) => {
            let why = "a service account has no password; it has keys";
            return Err(Fault::field("/password", why).into());
        }
    };
    let made = account::create(&state.cx, &who, &new).await?;
    let location = [(header::LOCATION, format!("/api/v1/accounts/{}", made.id))];
    Ok((StatusCode::CREATED, location, Json(made)).into_response())
}

/// One account
#[utoipa::path(get, path = "/api/v1/accounts/{id}", operation_id = "get_account", tag = "auth",
    params(("id" = AccountId, Path, description = "The account.")),
    responses((status = 200, description = "The account.", body = Account), Always, OfOne))]
pub(crate) async fn get_account(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<AccountId>,
    _: NoQuery,
) -> Result<Json<Account>, Refused> {
    Ok(Json(account::get(&state.cx, &who, id).await?))
}

/// Stop an account
///
/// Nothing of it is taken any more: no password, no key, no token. Its sessions end.
#[utoipa::path(post, path = "/api/v1/accounts/{id}/disable", operation_id = "disable_account",
    tag = "auth",
    params(("id" = AccountId, Path, description = "The account.")),
    responses((status = 200, description = "It is stopped.", body = Account),
        Always, OfOne, Moving))]
pub(crate) async fn disable_account(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<AccountId>,
    _: NoQuery,
) -> Result<Json<Account>, Refused> {
    Ok(Json(account::set_disabled(&state.cx, &who, id, true).await?))
}

/// Let a stopped account go on
#[utoipa::path(post, path = "/api/v1/accounts/{id}/enable", operation_id = "enable_account",
    tag = "auth",
    params(("id" = AccountId, Path, description = "The account.")),
    responses((status = 200, description = "It goes on.", body = Account),
        Always, OfOne, Moving))]
pub(crate) async fn enable_account(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<AccountId>,
    _: NoQuery,
) -> Result<Json<Account>, Refused> {
    Ok(Json(account::set_disabled(&state.cx, &who, id, false).await?))
}

/// List an account's API keys, newest first
#[utoipa::path(get, path = "/api/v1/accounts/{id}/keys", operation_id = "list_account_keys",
    tag = "auth",
    params(("id" = AccountId, Path, description = "The account."), PageQuery),
    responses((status = 200, description = "A page.", body = Page<ApiKey>), Always, OfOne))]
pub(crate) async fn list_account_keys(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<AccountId>,
    Query(query): Query<PageQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    Ok(page::answer(&uri, api_key::list(&state.cx, &who, Some(id), ask).await?))
}

/// List an account's sessions, newest first
#[utoipa::path(get, path = "/api/v1/accounts/{id}/sessions", operation_id = "list_account_sessions",
    tag = "auth",
    params(("id" = AccountId, Path, description = "The account."), PageQuery),
    responses((status = 200, description = "A page.", body = Page<Session>), Always, OfOne))]
pub(crate) async fn list_account_sessions(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<AccountId>,
    Query(query): Query<PageQuery>,
    uri: Uri,
) -> Result<Response, Refused> {
    let ask = PageRequest::parse(query.limit, query.cursor.as_deref())?;
    Ok(page::answer(&uri, session::list(&state.cx, &who, Some(id), ask).await?))
}

/// End an account's sessions
#[utoipa::path(delete, path = "/api/v1/accounts/{id}/sessions",
    operation_id = "revoke_account_sessions", tag = "auth",
    params(("id" = AccountId, Path, description = "The account.")),
    responses((status = 200, description = "They have ended.", body = Ended), Always, OfOne))]
pub(crate) async fn revoke_account_sessions(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<AccountId>,
    _: NoQuery,
) -> Result<Json<Ended>, Refused> {
    Ok(Json(Ended { ended: session::revoke_all(&state.cx, &who, Some(id)).await? }))
}
