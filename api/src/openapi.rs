//! The OpenAPI document: what holds for all operations, and what the macros cannot say. The
//! operations themselves are described at their handlers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::{Method, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::json;
use slipway_domain::fault::{Code, FieldError};
use slipway_domain::state_version::LockInfo;
use utoipa::IntoResponses;
use utoipa::openapi::header::Header;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, Object, Schema, SchemaType};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref,
    RefOr, Required, Response as Described, ResponseBuilder, ServerBuilder, Type,
};
use utoipa::openapi::{Paths, tag::TagBuilder};

use crate::auth::{SESSION_COOKIE, is_open};
use crate::edge::limit::Class;
use crate::extract::NoQuery;
use crate::problem::{CONTENT_TYPE, LockedProblem, Problem, status};

pub(crate) mod examples;

const DESCRIPTION: &str = "\
Slipway is a self-hosted deployment control plane: submit a stack, look at its plan, approve it, \
have just that applied.\n\n\
- Errors are `application/problem+json` (RFC 9457) with a stable `code`; every code has a page under \
`/problems/`.\n\
- Long work answers `202` with a `Location`; follow it with `GET …?wait_s=30` or as server-sent \
events.\n\
- Lists are pages: pass `next_cursor` as `cursor`, or follow `Link: <…>; rel=\"next\"`.\n\
- A `POST` that creates takes an `Idempotency-Key`.\n\
- Unknown fields and query parameters are errors.\n\
- Every answer carries `X-Request-Id`; a W3C `traceparent` is continued.";

/// The refusals that are described once: status, name, when, an example's code.
const REFUSALS: &[(u16, &str, &str, Code)] = &[
    (400, "BadRequest", "The request cannot be read.", Code::Malformed),
    (401, "Unauthorized", "The credentials cannot be used.", Code::Unauthenticated),
    (403, "Forbidden", "The caller may not do this.", Code::Forbidden),
    (404, "NotFound", "There is no such thing.", Code::NotFound),
    (405, "MethodNotAllowed", "Another method is meant; see `Allow`.", Code::MethodNotAllowed),
    (409, "Conflict", "Its state does not allow this now.", Code::IllegalTransition),
    (412, "PreconditionFailed", "What the request names is not current.", Code::PlanDigestMismatch),
    (413, "TooLarge", "The body is too large.", Code::TooLarge),
    (415, "UnsupportedMediaType", "The content type is not taken.", Code::UnsupportedMediaType),
    (421, "Misdirected", "This server does not serve that host.", Code::Misdirected),
    (422, "Invalid", "One or more fields are not valid; see `errors`.", Code::InvalidInput),
    (423, "Locked", "Somebody else holds the lock; it says who.", Code::StateLocked),
    (
        428,
        "PreconditionRequired",
        "It must say which version it is made from.",
        Code::PreconditionRequired,
    ),
    (429, "TooManyRequests", "Too much at once; see `Retry-After`.", Code::RateLimited),
    (500, "Internal", "A fault on our side; the cause is in the server's log.", Code::Internal),
    (503, "Unavailable", "Something needed is down; see `Retry-After`.", Code::Unavailable),
    (504, "Timeout", "It took too long.", Code::Timeout),
];

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = [$($status:literal),*];)*) => { $(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Described>> {
                refer(&[$($status),*])
            }
        }
    )* };
}

refusals! {
    /// What any route of the API may answer.
    Always = [400, 401, 403, 405, 421, 422, 500, 503, 504];
    /// What a route for operators may answer.
    Operating = [400, 401, 403, 405, 421, 422, 500, 503, 504];
    /// Of a route that names one thing.
    OfOne = [404];
    /// Of a route with a body.
    WithBody = [413, 415];
    /// Of a route that creates.
    Creating = [409, 413, 415];
    /// Of a route that needs a certain state.
    Moving = [409];
    /// Of a route that names a plan.
    Deciding = [412, 413, 415];
    /// Of a route that changes what was read.
    Changing = [409, 412, 428];
    /// Of a route that only removes what was read.
    Removing = [412];
    /// Of a route that somebody else's lock may keep from its work.
    Locking = [423];
}

fn refer(statuses: &[u16]) -> BTreeMap<String, RefOr<Described>> {
    let wanted = REFUSALS.iter().filter(|(status, ..)| statuses.contains(status));
    wanted
        .map(|(status, name, ..)| (status.to_string(), Ref::from_response_name(*name).into()))
        .collect()
}

/// The document before its operations.
pub(crate) fn base() -> OpenApi {
    let mut components =
        ComponentsBuilder::new().schema_from::<Problem>().schema_from::<FieldError>();
    components = components.schema_from::<LockInfo>().schema_from::<LockedProblem>();
    for (number, name, when, code) in REFUSALS {
        components = components.response(*name, refusal(*number, when, *code));
    }
    let basic =
        "The token is the password, the user name says nothing: for Terraform's `http` backend.";
    let schemes = [
        (
            "bearer",
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("An access token, or an API key.")),
        ),
        ("basic", HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some(basic))),
    ];
    for (name, scheme) in schemes {
        components = components.security_scheme(name, SecurityScheme::Http(scheme.build()));
    }
    let cookie = ApiKeyValue::with_description(SESSION_COOKIE, "A browser that has signed in.");
    components =
        components.security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    let tag = |name: &str, text: &str| TagBuilder::new().name(name).description(Some(text)).build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Slipway API")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(
                    LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
                ))
                .build(),
        )
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .security(Some(
            ["bearer", "basic", "cookie"]
                .map(|name| SecurityRequirement::new(name, std::iter::empty::<String>())),
        ))
        .tags(Some([
            tag("deployments", "Attempts to bring a stack to a desired state."),
            tag("stacks", "The long-lived things that are deployed."),
            tag("drift", "What is other in the world than the state of a stack says."),
            tag("states", "Terraform states: the backend, versions, locks, orphans."),
            tag("queues", "Queues, jobs and workers, for operators and autoscalers."),
            tag(
                "gates",
                "What plans must pass before they are applied, by project and environment.",
            ),
            tag("config", "The central configuration: settings, their versions, secrets."),
            tag("templates", "The library of ready-made configurations."),
            tag("policies", "Policy packs, and exemptions from their rules."),
            tag("auth", "Accounts, and how people and machines sign in."),
            tag("projects", "What stacks belong to, and who is what in them and in the house."),
            tag("artifacts", "Uploaded source archives."),
            tag("audit", "Who did what, in a chain that shows when somebody touched it."),
            tag("operations", "Health, metrics and this document."),
        ]))
        .components(Some(components.build()))
        .build()
}

fn refusal(number: u16, when: &str, code: Code) -> Described {
    debug_assert_eq!(status(code).as_u16(), number);
    let schema = if number == 423 { "LockedProblem" } else { "Problem" };
    let mut example = json!({
        "type": format!("/problems/{code}"),
        "title": code.title(),
        "status": number,
        "detail": when,
        "instance": "/api/v1/deployments",
        "code": code.as_str(),
        "request_id": "req_01920000000070008000000000000000",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    });
    if number == 423 {
        example["ID"] = "8fd8a4d0-2a30-6d3f-bb0b-b8e3c1a3a5ba".into();
        for (field, text) in [("Operation", "OperationTypeApply"), ("Who", "ann@laptop")] {
            example[field] = text.into();
        }
        for field in ["Info", "Version", "Path"] {
            example[field] = "".into();
        }
    }
    let text = |about: &str| {
        let mut header = Header::new(Object::with_type(Type::String));
        header.description = Some(about.to_owned());
        header
    };
    let mut response = ResponseBuilder::new()
        .description(when)
        .content(
            CONTENT_TYPE,
            ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(schema)))
                .example(Some(example))
                .build(),
        )
        .header("X-Request-Id", text("The id of this request."));
    if number == 405 {
        response = response.header("Allow", text("The methods of this route."));
    }
    if number == 401 {
        response = response.header("WWW-Authenticate", text("The schemes that are taken."));
    }
    if matches!(number, 429 | 503) {
        let mut seconds = Header::new(Object::with_type(Type::Integer));
        seconds.description = Some("When to come back, in seconds.".to_owned());
        response = response.header("Retry-After", seconds);
    }
    response.build()
}

/// What leads from one operation to the next: from, status, name of the link, to, parameters, body.
type Link = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    Option<&'static str>,
);

const BY_ID: &[(&str, &str)] = &[("id", "$response.body#/id")];
const SAME_ID: &[(&str, &str)] = &[("id", "$request.path.id")];

const LINKS: &[Link] = &[
    ("submit_deployment", "202", "deployment", "get_deployment", BY_ID, None),
    ("submit_deployment", "202", "plan", "get_deployment_plan", BY_ID, None),
    ("submit_deployment", "202", "apply", "apply_deployment", BY_ID, None),
    ("submit_deployment", "202", "cancel", "cancel_deployment", BY_ID, None),
    ("submit_deployment", "202", "logs", "get_deployment_logs", BY_ID, None),
    (
        "submit_deployment",
        "202",
        "events",
        "get_deployment_events",
        &[("id", "$response.body#/id"), ("format", "json")],
        None,
    ),
    ("submit_deployment", "202", "outputs", "get_deployment_outputs", BY_ID, None),
    ("submit_deployment", "202", "stack", "get_stack", &[("id", "$response.body#/stack_id")], None),
    (
        "get_deployment_plan",
        "200",
        "approve",
        "approve_deployment",
        SAME_ID,
        Some(r#"{"plan_digest": "$response.body#/digest"}"#),
    ),
    (
        "get_deployment_plan",
        "200",
        "reject",
        "reject_deployment",
        SAME_ID,
        Some(r#"{"plan_digest": "$response.body#/digest"}"#),
    ),
    ("approve_deployment", "200", "apply", "apply_deployment", SAME_ID, None),
    ("get_stack", "200", "deployments", "list_stack_deployments", SAME_ID, None),
    ("upload_artifact", "201", "artifact", "get_artifact", BY_ID, None),
    ("create_setting", "201", "setting", "get_setting", BY_ID, None),
    ("create_setting", "201", "versions", "list_setting_versions", BY_ID, None),
    ("create_exemption", "201", "exemption", "get_exemption", BY_ID, None),
    ("create_project", "201", "project", "get_project", &[("name", "$response.body#/name")], None),
    (
        "create_project",
        "201",
        "members",
        "list_project_members",
        &[("name", "$response.body#/name")],
        None,
    ),
    ("create_exemption", "201", "revoke", "revoke_exemption", BY_ID, None),
];

/// Operations whose body may be left out.
const MAY_BE_EMPTY: &[&str] = &[
    "adopt_orphan_state",
    "apply_deployment",
    "cancel_deployment",
    "link_identity",
    "release_state",
    "revoke_exemption",
    "unlock_state",
];

/// Completes what the macros made.
pub(crate) fn finish(mut api: OpenApi) -> OpenApi {
    for (from, status, name, to, parameters, body) in LINKS {
        let mut link = LinkBuilder::new().operation_id(*to);
        for (parameter, expression) in *parameters {
            link = link.parameter(*parameter, *expression);
        }
        let body = body.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        let link = link.request_body(body).build();
        let operation =
            operations(&mut api.paths).find(|o| o.operation_id.as_deref() == Some(from));
        let response = operation.and_then(|o| o.responses.responses.get_mut(*status));
        debug_assert!(response.is_some(), "{from} {status}");
        if let Some(RefOr::T(response)) = response {
            response.links.insert((*name).to_owned(), link.into());
        }
    }
    for operation in operations(&mut api.paths) {
        without_null(operation);
        let may_be_empty =
            MAY_BE_EMPTY.contains(&operation.operation_id.as_deref().unwrap_or_default());
        if let Some(RefOr::T(body)) = operation.request_body.as_mut().filter(|_| may_be_empty) {
            body.required = Some(Required::False);
        }
    }
    for (path, item) in &mut api.paths.paths {
        let operations = [
            (Method::GET, &mut item.get),
            (Method::POST, &mut item.post),
            (Method::PUT, &mut item.put),
            (Method::PATCH, &mut item.patch),
            (Method::DELETE, &mut item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            if Class::of(&method, path).is_some() {
                operation.responses.responses.extend(refer(&[429]));
            }
            if is_open(&method, path) {
                // Nothing at all will do.
                operation.security = Some(vec![SecurityRequirement::default()]);
            }
        }
    }
    if let Some(components) = &mut api.components {
        name_items(&mut components.schemas);
        while join_flattened(&mut components.schemas) {}
        close_variants(&mut components.schemas, "Source");
    }
    api
}

/// Every operation, whatever its method.
fn operations(paths: &mut Paths) -> impl Iterator<Item = &mut Operation> {
    paths.paths.values_mut().flat_map(|item| {
        [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete]
            .into_iter()
            .filter_map(Option::as_mut)
    })
}

/// The derive says of an optional parameter or header that it may be `null`, which none can be.
fn without_null(operation: &mut Operation) {
    fn strip(schema: &mut RefOr<Schema>) {
        let RefOr::T(Schema::Object(object)) = schema else { return };
        let SchemaType::Array(types) = &mut object.schema_type else { return };
        types.retain(|kind| *kind != Type::Null);
        if let [one] = types.as_slice() {
            object.schema_type = one.clone().into();
        }
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && let Some(schema) = &mut parameter.schema
        {
            strip(schema);
        }
    }
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        for header in response.headers.values_mut() {
            if let RefOr::T(header) = header
                && let Some(schema) = &mut header.schema
            {
                strip(schema);
            }
        }
    }
}

/// Names the items of pages, which the derive spells out in every page.
fn name_items(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    let names: Vec<String> = schemas.keys().cloned().collect();
    for (name, schema) in schemas.iter_mut() {
        let Some(of) = name.strip_prefix("Page_").filter(|of| names.iter().any(|n| n == of)) else {
            continue;
        };
        let RefOr::T(Schema::Object(page)) = schema else { continue };
        if let Some(RefOr::T(Schema::Array(list))) = page.properties.get_mut("items") {
            list.items = ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(of).into()));
        }
    }
}

/// A struct with a flattened struct in it is one object, but is described as `allOf` of two. When
/// one of those refuses other properties, nothing at all would fit; so they are joined. Says whether any
/// was: what it is flattened into can be joined then.
fn join_flattened(schemas: &mut BTreeMap<String, RefOr<Schema>>) -> bool {
    let known = schemas.clone();
    let mut any = false;
    for schema in schemas.values_mut() {
        let RefOr::T(Schema::AllOf(all)) = schema else { continue };
        let parts: Option<Vec<&Object>> =
            all.items.iter().map(|part| object(part, &known)).collect();
        let Some(parts) = parts else { continue };
        let mut joined = Object::with_type(Type::Object);
        joined.description.clone_from(&all.description);
        for part in parts {
            joined.properties.extend(part.properties.clone());
            joined.required.extend(part.required.clone());
        }
        *schema = RefOr::T(Schema::Object(joined));
        any = true;
    }
    any
}

fn object<'s>(
    part: &'s RefOr<Schema>,
    known: &'s BTreeMap<String, RefOr<Schema>>,
) -> Option<&'s Object> {
    match part {
        RefOr::T(Schema::Object(object)) => Some(object),
        RefOr::T(_) => None,
        RefOr::Ref(to) => object(known.get(to.ref_location.rsplit('/').next()?)?, known),
    }
}

/// Says that the variants of a tagged enum take no other fields, as their reader does
/// (`deny_unknown_fields`); the derive says so of structs only.
fn close_variants(schemas: &mut BTreeMap<String, RefOr<Schema>>, name: &str) {
    let Some(RefOr::T(Schema::OneOf(one_of))) = schemas.get_mut(name) else { return };
    for variant in &mut one_of.items {
        if let RefOr::T(Schema::Object(object)) = variant {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

/// The document as it is served. It depends on nothing but this build.
static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| crate::openapi().to_json().unwrap_or_default().into());

/// This document
#[utoipa::path(get, path = "/openapi.json", operation_id = "get_openapi", tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json",
        body = Object), Operating))]
pub(crate) async fn get_openapi(_: NoQuery) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (kind, DOCUMENT.clone()).into_response()
}
