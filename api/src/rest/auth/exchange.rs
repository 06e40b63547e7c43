//! Tokens of other issuers, and which of them are trusted.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use slipway_domain::Secret;
use slipway_domain::access::Scope;
use slipway_domain::auth::trust::{NewTrustRule, TrustRule};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::TrustRuleId;
use slipway_services::auth::exchange::{self, Exchange};
use utoipa::ToSchema;

use crate::auth::Visitor;
use crate::extract::{Caller, Json as Body, NoQuery, Path, content_type, read, unsupported};
use crate::openapi::{Always, Creating, OfOne, WithBody};
use crate::problem::Refused;
use crate::state::ApiState;

/// The one kind of grant.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The kind of token that is given.
const GIVEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Kinds of tokens that are taken.
const TAKEN: &[&str] =
    &["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];
/// Largest form, in bytes.
const MAX_FORM: usize = 64 << 10;

/// A token exchange (RFC 8693).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExchangeForm {
    /// Always `urn:ietf:params:oauth:grant-type:token-exchange`.
    #[schema(example = "urn:ietf:params:oauth:grant-type:token-exchange")]
    grant_type: String,
    /// The token of the other issuer.
    #[schema(value_type = String)]
    subject_token: Secret<String>,
    /// `urn:ietf:params:oauth:token-type:jwt` or `…:id_token`.
    #[schema(example = "urn:ietf:params:oauth:token-type:jwt")]
    subject_token_type: String,
    /// For this door only: this server's URL, or that of its MCP endpoint.
    audience: Option<String>,
    /// These scopes only, with spaces between.
    scope: Option<String>,
    /// Always `urn:ietf:params:oauth:token-type:access_token`, where it is said.
    requested_token_type: Option<String>,
}

/// A token that was exchanged (RFC 8693).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExchangeAnswer {
    /// What to show as `Authorization: Bearer …`.
    access_token: String,
    /// Always `urn:ietf:params:oauth:token-type:access_token`.
    issued_token_type: &'static str,
    /// Always `Bearer`.
    token_type: &'static str,
    /// How many seconds it is good.
    expires_in: u64,
    /// The scopes that it has at most, with spaces between.
    scope: String,
}

/// Exchange a token of another issuer
///
/// For pipelines: the OIDC token of the run (of GitHub Actions, say) for a short one of ours, without a
/// secret of its own. Rules of trust say which tokens, and for which service account.
#[utoipa::path(post, path = "/api/v1/auth/exchange", operation_id = "exchange_token", tag = "auth",

    request_body(content = ExchangeForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The token.", body = ExchangeAnswer), Always, WithBody))]
pub(crate) async fn exchange_token(
    State(state): State<ApiState>,
    Visitor(who): Visitor,
    _: NoQuery,
    request: Request,
) -> Result<Json<ExchangeAnswer>, Refused> {
    const FORM: &str = "application/x-www-form-urlencoded";
    let given = content_type(request.headers());
    if given != FORM {
        return Err(unsupported(&given, FORM).into());
    }
    let body = read(request.into_body(), MAX_FORM).await?;
    let pairs = form_urlencoded::parse(&body);
    let form: ExchangeForm =
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs)).map_err(
            // What is wrong may be the token itself.
            |_| Fault::new(Code::InvalidInput, "The form has not the fields of a token exchange."),
        )?;
    if form.grant_type != GRANT {
        return Err(Fault::field("/grant_type", format!("it must be {GRANT}")).into());
    }
    if !TAKEN.contains(&form.subject_token_type.as_str()) {
        let why = format!("it must be one of {}", TAKEN.join(", "));
        return Err(Fault::field("/subject_token_type", why).into());
    }
    if form.requested_token_type.as_deref().is_some_and(|kind| kind != GIVEN) {
        return Err(Fault::field("/requested_token_type", format!("only {GIVEN} is given")).into());
    }
    let scopes = form.scope.as_deref().map(scopes).transpose()?;
    let ask = Exchange { subject_token: form.subject_token, scopes, audience: form.audience };
    let given = exchange::exchange(&state.cx, &who, &ask).await?;
    Ok(Json(ExchangeAnswer {
        access_token: given.access_token.reveal().clone(),
        issued_token_type: GIVEN,
        token_type: "Bearer",
        expires_in: given.expires_in_s,
        scope: given.scopes.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" "),
    }))
}

fn scopes(text: &str) -> Result<BTreeSet<Scope>, Fault> {
    text.split_ascii_whitespace()
        .map(|word| {
            let word: String = word.chars().take(80).collect();
            let unknown = || Fault::field("/scope", format!("there is no scope {word:?}"));
            Scope::parse(&word).ok_or_else(unknown)
        })
        .collect()
}

/// Rules of trust.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrustRules {
    /// The rules, by name.
    items: Vec<TrustRule>,
}

/// List the rules of trust
#[utoipa::path(get, path = "/api/v1/auth/trust-rules", operation_id = "list_trust_rules",
    tag = "auth",
    responses((status = 200, description = "The rules.", body = TrustRules), Always))]
pub(crate) async fn list_trust_rules(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
) -> Result<Json<TrustRules>, Refused> {
    Ok(Json(TrustRules { items: exchange::rules(&state.cx, &who).await? }))
}

/// Make a rule of trust
///
/// Tokens of an issuer, for an audience, whose claims are as said stand for a service account, with these
/// scopes at most. Whoever makes it needs every one of them.
#[utoipa::path(post, path = "/api/v1/auth/trust-rules", operation_id = "create_trust_rule",
    tag = "auth",
    request_body(content = NewTrustRule),
    responses(
        (status = 201, description = "It holds.", body = TrustRule,
            headers(("Location" = String, description = "Path of the rule."))),
        Always, OfOne, Creating,
    ))]
pub(crate) async fn create_trust_rule(
    State(state): State<ApiState>,
    Caller(who): Caller,
    _: NoQuery,
    Body(rule): Body<NewTrustRule>,
) -> Result<Response, Refused> {
    let made = exchange::create_rule(&state.cx, &who, rule).await?;
    let location = [(header::LOCATION, format!("/api/v1/auth/trust-rules/{}", made.id))];
    Ok((StatusCode::CREATED, location, Json(made)).into_response())
}

/// Remove a rule of trust
#[utoipa::path(delete, path = "/api/v1/auth/trust-rules/{id}", operation_id = "delete_trust_rule",
    tag = "auth",
    params(("id" = TrustRuleId, Path, description = "The rule.")),
    responses((status = 204, description = "It is gone."), Always, OfOne))]
pub(crate) async fn delete_trust_rule(
    State(state): State<ApiState>,
    Caller(who): Caller,
    Path(id): Path<TrustRuleId>,
    _: NoQuery,
) -> Result<StatusCode, Refused> {
    exchange::delete_rule(&state.cx, &who, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
