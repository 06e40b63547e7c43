//! Signing in and out, making an account, changing a password.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;
use slipway_domain::access::{Role, Scope};
use slipway_domain::auth::account::Account;
use slipway_domain::auth::session::Session;
use slipway_services::auth::session::SignedIn;
use slipway_services::auth::sign_in::{Login, NewPerson};
use slipway_services::auth::{account, session, sign_in};
use utoipa::ToSchema;

use crate::auth::{SESSION_COOKIE, Visitor, set_cookie};
use crate::extract::{Caller, Json as Body, NoQuery};
use crate::openapi::{Always, Creating, Moving, OfOne, WithBody};
use crate::problem::Refused;
use crate::state::ApiState;

/// What somebody signs in with.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginRequest {
    /// The name.
    #[schema(example = "ann", max_length = 63)]
    name: String,
    /// The password.
    #[schema(value_type = String, format = Password, max_length = 1024)]
    password: Secret<String>,
    /// Set a cookie instead of answering with tokens: for pages of this server.
    #[serde(default)]
    #[schema(required = false)]
    cookie: bool,
}

/// What somebody has who has signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// The session.
    session: Session,
    /// What to show as `Authorization: Bearer …`; absent where a cookie was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<String>,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// How many seconds the access token is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    /// What to change for the next access token, once; absent where a cookie was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

impl From<SignedIn> for Tokens {
    fn from(signed_in: SignedIn) -> Self {
        Self {
            session: signed_in.session,
            access_token: Some(signed_in.access_token.reveal().clone()),
            token_type: "Bearer",
            expires_in: Some(signed_in.expires_in_s),
            refresh_token: Some(signed_in.refresh_token.reveal().clone()),
        }
    }
}

/// Sign in with a name and a password
///
/// Whoever fails too often waits, as `Retry-After` says; the account itself is never shut.
#[utoipa::path(post, path = "/api/v1/auth/login", operation_id = "login", tag = "auth",

    request_body(content = LoginRequest),
    responses(
        (status = 200, description = "Signed in.", body = Tokens,
            headers(("Set-Cookie" = Option<String>, description = "The session, where a cookie was asked for."))),
        Always, WithBody,
    ))]
pub(crate) async fn login(
    State(state): State<ApiState>,
    Visitor(who): Visitor,
    _: NoQuery,
    Body(LoginRequest { name, password, cookie }): Body<LoginRequest>,
) -> Result<Response, Refused> {
    let login = Login { name, password };
    if !cookie {
        let signed_in = sign_in::login(&state.cx, &who, &login).await?;
        return Ok(Json(Tokens::from(signed_in)).into_response());
    }
    let browser = sign_in::login_browser(&state.cx, &who, &login).await?;
    let seconds = (browser.session.expires_at - browser.session.created_at).num_seconds();
    let kept = set_cookie(SESSION_COOKIE, &browser.cookie, seconds);
    let tokens = Tokens {
        session: browser.session,
        access_token: None,
        token_type: "Bearer",
        expires_in: None,
        refresh_token: None,
    };
    let mut response = Json(tokens).into_response();
    response.headers_mut().extend(kept.map(|value| (header::SET_COOKIE, value)));
    Ok(response)
}

/// A refresh token.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshRequest {
    /// The one that came with the last access token.
    #[schema(value_type = String, max_length = 200)]
    refresh_token: Secret<String>,
}

/// Change a refresh token for new tokens
///
/// It is good once. Should the answer be lost, the same request gives the same refresh token again for
/// ten seconds; one that comes later than that ends the session.
#[utoipa::path(post, path = "/api/v1/auth/refresh", operation_id = "refresh", tag = "auth",

    request_body(content = RefreshRequest),
    responses((status = 200, description = "New tokens.", body = Tokens), Always, WithBody))]
pub(crate) async fn refresh(
    State(state): State<ApiState>,
    Visitor(who): Visitor,
    _: NoQuery,
    Body(RefreshRequest { refresh_token }): Body<RefreshRequest>,
) -> Result<Json<Tokens>, Refused> {
    Ok(Json(session::refresh(&state.cx, &who, &refresh_token).await?.into()))
}

/// Sign out
///
/// The session ends, and with it its tokens, also those that have not expired.
#[utoipa::path(post, path = "/api/v1/auth/logout", operation_id = "logout", tag = "auth",
    responses((status = 204, description = "Signed out.",
        headers(("Set-Cookie" = String, description = "Has the browser forget the session."))),
        Always, OfOne, Moving))]
pub(crate) async fn logout(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
) -> Result<Response, Refused> {
    session::logout(&state.cx, &who).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let forget = set_cookie(SESSION_COOKIE, &Secret::default(), 0);
    response.headers_mut().extend(forget.map(|value| (header::SET_COOKIE, value)));
    Ok(response)
}

/// Who asks, and what they may do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// The account; absent where nobody has to sign in.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Account>,
    /// What the record calls whoever asks.
    #[schema(example = "acc_01920000000070008000000000000000")]
    actor: String,
    /// The session or key that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// What they may do everywhere.
    house: Held,
    /// What they may do in single projects.
    projects: std::collections::BTreeMap<String, Held>,
}

/// What somebody may do and is, in one place.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Held {
    /// What they may do.
    #[schema(value_type = Vec<String>)]
    scopes: std::collections::BTreeSet<Scope>,
    /// What they are.
    roles: std::collections::BTreeSet<Role>,
}

/// Who asks, and what they may do
#[utoipa::path(get, path = "/api/v1/auth/me", operation_id = "get_me", tag = "auth",
    responses((status = 200, description = "Whoever asks.", body = Me), Always))]
pub(crate) async fn me(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
) -> Result<Json<Me>, Refused> {
    let account = match who.account() {
        Some(_) => Some(account::me(&state.cx, &who).await?),
        None => None,
    };
    let held = |hold: slipway_domain::access::Hold| Held { scopes: hold.scopes, roles: hold.roles };
    let projects = who.grants.projects.into_iter().map(|(name, hold)| (name, held(hold))).collect();
    let house = held(who.grants.house);
    Ok(Json(Me { account, actor: who.actor.id, token: who.token, house, projects }))
}

/// An account that is to be.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegisterRequest {
    /// What to sign in as.
    #[schema(example = "ann", pattern = "^[a-z0-9][a-z0-9._-]{0,62}$")]
    name: String,
    /// Where mail reaches you.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 254)]
    email: Option<String>,
    /// The password: at least 12 characters.
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 1024)]
    password: Secret<String>,
    /// The token that the server showed at its first start: makes the first admin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 200)]
    first_token: Option<Secret<String>>,
}

/// Make an account
///
/// Only where the operator allows it (`auth.registration`), or with the token that makes the first
/// admin. The account may do nothing until somebody makes it a member.
#[utoipa::path(post, path = "/api/v1/auth/register", operation_id = "register", tag = "auth",

    request_body(content = RegisterRequest),
    responses((status = 201, description = "It is there.", body = Account),
        Always, Creating))]
pub(crate) async fn register(
    State(state): State<ApiState>,
    Visitor(who): Visitor,
    _: NoQuery,
    Body(RegisterRequest { name, email, password, first_token }): Body<RegisterRequest>,
) -> Result<(StatusCode, Json<Account>), Refused> {
    let person = NewPerson { name, email, password };
    let made = sign_in::register(&state.cx, &who, &person, first_token.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// A change of one's password.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordRequest {
    /// The present one; empty for whoever has none because they sign in at a provider.
    #[serde(default)]
    #[schema(value_type = String, format = Password, required = false, max_length = 1024)]
    password: Secret<String>,
    /// The one from now on: at least 12 characters.
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 1024)]
    new_password: Secret<String>,
}

/// Change one's password
///
/// All other sessions of the account end.
#[utoipa::path(post, path = "/api/v1/auth/password", operation_id = "change_password", tag = "auth",
    request_body(content = PasswordRequest),
    responses((status = 204, description = "It is changed."),
        Always, OfOne, WithBody))]
pub(crate) async fn change_password(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    Body(PasswordRequest { password, new_password }): Body<PasswordRequest>,
) -> Result<StatusCode, Refused> {
    sign_in::change_password(&state.cx, &who, &password, &new_password).await?;
    Ok(StatusCode::NO_CONTENT)
}
