//! The golden list: which scope each route needs. A route without a row fails.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use slipway_domain::access::{Door, Principal, Scope};

use crate::house::{House, archive, path, submission};

/// Method, route, what is asked for beyond the route, scopes.
const GOLDEN: &[(&str, &str, &str, &[Scope])] = &[
    ("GET", "/api/v1/deployments/{id}/tests", "", &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/deployments/{id}/tests", "", &[Scope::DeploymentsWrite]),
    ("GET", "/api/v1/artifacts/{id}", "", &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/artifacts", "", &[Scope::DeploymentsWrite]),
    ("GET", "/api/v1/deployments", "", &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/deployments", "", &[Scope::DeploymentsWrite]),
    ("GET", "/api/v1/deployments/{id}", "", &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}", "?wait_s=1", &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/deployments/{id}/apply", "", &[Scope::DeploymentsApply]),
    ("GET", "/api/v1/deployments/{id}/approvals", "", &[Scope::DeploymentsRead]),
    (
        "DELETE",
        "/api/v1/deployments/{id}/approvals/{approval_id}",
        "",
        &[Scope::DeploymentsApprove],
    ),
    ("POST", "/api/v1/deployments/{id}/approve", "", &[Scope::DeploymentsApprove]),
    ("POST", "/api/v1/deployments/{id}/cancel", "", &[Scope::DeploymentsWrite]),
    ("GET", "/api/v1/deployments/{id}/events", "", &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}/events", "?format=json", &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}/logs", "", &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}/logs", "?follow=true", &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}/outputs", "", &[Scope::DeploymentsRead]),
    (
        "GET",
        "/api/v1/deployments/{id}/outputs",
        "?reveal=true",
        &[Scope::DeploymentsRead, Scope::SecretsReveal],
    ),
    ("GET", "/api/v1/deployments/{id}/plan", "", &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/deployments/{id}/reconsider", "", &[Scope::DeploymentsWrite]),
    ("GET", "/api/v1/deployments/{id}/report", "", &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}/recovery", "", &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/deployments/{id}/recovery", "", &[Scope::DeploymentsApprove]),
    ("POST", "/api/v1/deployments/{id}/reject", "", &[Scope::DeploymentsApprove]),
    ("GET", "/api/v1/gates/resolved", "?project=a&environment=b", &[Scope::GatesRead]),
    ("GET", "/api/v1/gates/settings", "", &[Scope::GatesRead]),
    ("PUT", "/api/v1/gates/settings", "", &[Scope::GatesWrite]),
    ("DELETE", "/api/v1/gates/settings", "", &[Scope::GatesWrite]),
    ("GET", "/api/v1/exemptions", "", &[Scope::PoliciesRead]),
    ("POST", "/api/v1/exemptions", "", &[Scope::ExemptionsWrite, Scope::PoliciesWrite]),
    ("GET", "/api/v1/exemptions/{id}", "", &[Scope::PoliciesRead]),
    ("POST", "/api/v1/exemptions/{id}/revoke", "", &[Scope::ExemptionsWrite]),
    ("GET", "/api/v1/jobs", "", &[Scope::QueuesRead]),
    ("GET", "/api/v1/jobs/{id}", "", &[Scope::QueuesRead]),
    ("POST", "/api/v1/jobs/{id}/requeue", "", &[Scope::QueuesOperate]),
    ("POST", "/api/v1/jobs/purge", "", &[Scope::QueuesOperate]),
    ("POST", "/api/v1/jobs/requeue", "", &[Scope::QueuesOperate]),
    ("GET", "/api/v1/policies", "", &[Scope::PoliciesRead]),
    ("GET", "/api/v1/policies/{name}", "", &[Scope::PoliciesRead]),
    ("GET", "/api/v1/policies/{name}/versions", "", &[Scope::PoliciesRead]),
    ("POST", "/api/v1/policies/{name}/versions", "", &[Scope::PoliciesWrite]),
    ("GET", "/api/v1/policies/{name}/versions/{version}", "", &[Scope::PoliciesRead]),
    ("DELETE", "/api/v1/policies/{name}/versions/{version}", "", &[Scope::PoliciesWrite]),
    ("GET", "/api/v1/policies/{name}/versions/{version}/source", "", &[Scope::PoliciesRead]),
    ("POST", "/api/v1/policies/dry-run", "", &[Scope::PoliciesRead, Scope::DeploymentsRead]),
    ("GET", "/api/v1/queues", "", &[Scope::QueuesRead]),
    ("GET", "/api/v1/queues/stats", "", &[Scope::QueuesRead]),
    ("PUT", "/api/v1/queues/{name}", "", &[Scope::QueuesOperate]),
    ("POST", "/api/v1/queues/{name}/pause", "", &[Scope::QueuesOperate]),
    ("POST", "/api/v1/queues/{name}/resume", "", &[Scope::QueuesOperate]),
    ("GET", "/api/v1/stacks", "", &[Scope::StacksRead]),
    ("GET", "/api/v1/stacks/{id}", "", &[Scope::StacksRead]),
    ("GET", "/api/v1/stacks/{id}/deployments", "", &[Scope::StacksRead, Scope::DeploymentsRead]),
    ("GET", "/api/v1/stacks/{id}/state", "", &[Scope::StateRead]),
    ("POST", "/api/v1/stacks/{id}/state", "?ID=x", &[Scope::StateWrite]),
    ("DELETE", "/api/v1/stacks/{id}/state", "", &[Scope::StateWrite]),
    ("GET", "/api/v1/stacks/{id}/state/diff", "", &[Scope::StateRead]),
    ("POST", "/api/v1/stacks/{id}/state/import", "", &[Scope::StateWrite]),
    ("GET", "/api/v1/stacks/{id}/state/lock", "", &[Scope::StacksRead]),
    ("PUT", "/api/v1/stacks/{id}/state/lock", "", &[Scope::StateWrite]),
    ("DELETE", "/api/v1/stacks/{id}/state/lock", "", &[Scope::StateWrite]),
    ("GET", "/api/v1/stacks/{id}/state/orphans", "", &[Scope::StateRead]),
    ("DELETE", "/api/v1/stacks/{id}/state/orphans/{orphan}", "", &[Scope::StateWrite]),
    ("POST", "/api/v1/stacks/{id}/state/orphans/{orphan}/adopt", "", &[Scope::StateWrite]),
    ("GET", "/api/v1/stacks/{id}/state/orphans/{orphan}/download", "", &[Scope::StateRead]),
    ("POST", "/api/v1/stacks/{id}/state/unlock", "", &[Scope::StateWrite]),
    ("GET", "/api/v1/stacks/{id}/state/versions", "", &[Scope::StateRead]),
    ("GET", "/api/v1/stacks/{id}/state/versions/{version}", "", &[Scope::StateRead]),
    ("GET", "/api/v1/stacks/{id}/state/versions/{version}/download", "", &[Scope::StateRead]),
    ("POST", "/api/v1/stacks/{id}/state/versions/{version}/restore", "", &[Scope::StateWrite]),
    ("GET", "/api/v1/templates", "", &[Scope::TemplatesRead]),
    ("POST", "/api/v1/templates", "", &[Scope::TemplatesWrite]),
    ("GET", "/api/v1/templates/{name}", "", &[Scope::TemplatesRead]),
    ("POST", "/api/v1/templates/{name}/deprecate", "", &[Scope::TemplatesWrite]),
    ("POST", "/api/v1/templates/{name}/render", "", &[Scope::TemplatesRead]),
    ("POST", "/api/v1/templates/{name}/restore", "", &[Scope::TemplatesWrite]),
    ("GET", "/api/v1/templates/{name}/source", "", &[Scope::TemplatesRead]),
    ("GET", "/api/v1/templates/{name}/versions", "", &[Scope::TemplatesRead]),
    ("GET", "/api/v1/templates/{name}/versions/{version}", "", &[Scope::TemplatesRead]),
    ("DELETE", "/api/v1/templates/{name}/versions/{version}", "", &[Scope::TemplatesWrite]),
    ("GET", "/api/v1/workers", "", &[Scope::QueuesRead]),
    ("GET", "/.well-known/jwks.json", "", &[]),
    ("GET", "/.well-known/oauth-protected-resource", "", &[]),
    ("GET", "/.well-known/oauth-protected-resource/mcp", "", &[]),
    ("GET", "/api/v1/accounts", "", &[Scope::AdminAccounts]),
    ("POST", "/api/v1/accounts", "", &[Scope::AdminAccounts]),
    ("GET", "/api/v1/accounts/{id}", "", &[Scope::AdminAccounts]),
    ("POST", "/api/v1/accounts/{id}/disable", "", &[Scope::AdminAccounts]),
    ("POST", "/api/v1/accounts/{id}/enable", "", &[Scope::AdminAccounts]),
    ("GET", "/api/v1/accounts/{id}/keys", "", &[Scope::AdminAccounts]),
    ("GET", "/api/v1/accounts/{id}/sessions", "", &[Scope::AdminAccounts]),
    ("DELETE", "/api/v1/accounts/{id}/sessions", "", &[Scope::AdminAccounts]),
    ("POST", "/api/v1/auth/exchange", "", &[]),
    ("GET", "/api/v1/auth/identities", "", &[]),
    ("POST", "/api/v1/auth/identities/{name}", "", &[]),
    ("DELETE", "/api/v1/auth/identities/{name}", "", &[]),
    ("GET", "/api/v1/auth/keys", "", &[]),
    ("POST", "/api/v1/auth/keys", "", &[]),
    ("DELETE", "/api/v1/auth/keys/{id}", "", &[]),
    ("POST", "/api/v1/auth/login", "", &[]),
    ("POST", "/api/v1/auth/logout", "", &[]),
    ("GET", "/api/v1/auth/me", "", &[]),
    ("POST", "/api/v1/auth/password", "", &[]),
    ("GET", "/api/v1/auth/providers", "", &[]),
    ("GET", "/api/v1/auth/providers/{name}/callback", "", &[]),
    ("GET", "/api/v1/auth/providers/{name}/start", "", &[]),
    ("POST", "/api/v1/auth/refresh", "", &[]),
    ("POST", "/api/v1/auth/register", "", &[]),
    ("GET", "/api/v1/auth/sessions", "", &[]),
    ("DELETE", "/api/v1/auth/sessions", "", &[]),
    ("DELETE", "/api/v1/auth/sessions/{id}", "", &[]),
    ("GET", "/api/v1/auth/trust-rules", "", &[Scope::AdminAccounts]),
    ("POST", "/api/v1/auth/trust-rules", "", &[Scope::AdminAccounts]),
    ("DELETE", "/api/v1/auth/trust-rules/{id}", "", &[Scope::AdminAccounts]),
    ("GET", "/health", "", &[]),
    ("GET", "/livez", "", &[]),
    ("GET", "/metrics", "", &[]),
    ("GET", "/openapi.json", "", &[]),
    ("GET", "/problems/{code}", "", &[]),
    ("GET", "/readyz", "", &[]),
];

#[test]
fn every_route_has_a_row_and_every_row_a_route() {
    let api = serde_json::to_value(slipway_api::openapi()).unwrap();
    let served: BTreeSet<(String, String)> = api["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect();
    let listed: BTreeSet<(String, String)> = GOLDEN
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(served, listed);
}

fn with_scopes(scopes: impl IntoIterator<Item = Scope>) -> Principal {
    let mut who = Principal::local(Door::Rest);
    "tester".clone_into(&mut who.actor.id);
    who.grants.house.scopes = scopes.into_iter().collect();
    who
}

#[tokio::test]
async fn each_route_needs_just_its_scopes() {
    let house = House::new().await;
    for (method, route, query, scopes) in GOLDEN {
        // A deployment that has ended, so that its streams end.
        let ended = house.submit(json!({})).await;
        house.post(&format!("{}/cancel", path(&ended)), &json!({})).await.ok(202);
        let call = async |who: Principal| {
            let at = fill(&house, route, &ended).await;
            let (kind, body) = body(method, route);
            let mut request = Request::builder()
                .method(*method)
                .uri(format!("{at}{query}"))
                .header(header::CONTENT_TYPE, kind)
                .body(body)
                .unwrap();
            request.extensions_mut().insert(who);
            house.send(request).await
        };
        for missing in *scopes {
            let others = Scope::ALL.iter().copied().filter(|scope| scope != missing);
            let answer = call(with_scopes(others)).await;
            let problem = answer.problem(403, "forbidden");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(missing.as_str()), "{method} {route}{query}: {detail}");
        }
        let answer = call(with_scopes(scopes.iter().copied())).await;
        let enough = answer.status != 403 && answer.status.as_u16() < 500;
        assert!(enough, "{method} {route}{query}: {}", answer.text());
    }
}

async fn fill(house: &House, route: &str, deployment: &Value) -> String {
    let id = if route.contains("/accounts/") {
        format!("acc_{:032x}", 1)
    } else if route.contains("/trust-rules/") {
        format!("tru_{:032x}", 1)
    } else if route.contains("/auth/keys/") {
        format!("key_{:032x}", 1)
    } else if route.contains("/auth/sessions/") {
        format!("ses_{:032x}", 1)
    } else if route.contains("/artifacts/") {
        let upload = Request::post("/api/v1/artifacts")
            .header(header::CONTENT_TYPE, "application/gzip")
            .body(Body::from(archive(&[("main.tf", "")])))
            .unwrap();
        house.send(upload).await.ok(201)["id"].as_str().unwrap().to_owned()
    } else if route.contains("/stacks/") {
        deployment["stack_id"].as_str().unwrap().to_owned()
    } else if route.contains("/exemptions/") {
        let granted = house.post("/api/v1/exemptions", &exemption()).await;
        granted.ok(201)["id"].as_str().unwrap().to_owned()
    } else if route.contains("/jobs/") {
        house.get("/api/v1/jobs").await.ok(200)["items"][0]["id"].as_str().unwrap().to_owned()
    } else {
        deployment["id"].as_str().unwrap().to_owned()
    };
    let name = if route.contains("/queues/") { "plan" } else { "tiny" };
    let route = route.replace("{version}", "1").replace("{orphan}", &format!("orp_{:032x}", 1));
    let route = route.replace("{approval_id}", &format!("apr_{:032x}", 1));
    route.replace("{id}", &id).replace("{name}", name).replace("{code}", "not_found")
}

fn body(method: &str, route: &str) -> (&'static str, Body) {
    if method == "GET" {
        return ("application/json", Body::empty());
    }
    let json = match route {
        "/api/v1/artifacts" => {
            return ("application/gzip", Body::from(archive(&[("main.tf", "")])));
        }
        "/api/v1/deployments" => submission(),
        "/api/v1/templates" => json!({"name": "x", "archive": "AA=="}),
        "/api/v1/exemptions" => exemption(),
        "/api/v1/policies/{name}/versions" => {
            json!({"modules": [{"path": "a.rego", "text": "package user.a\n"}]})
        }
        "/api/v1/policies/dry-run" => {
            json!({"pack": {"name": "slipway/terraform"}, "project": "shop"})
        }
        route if route.ends_with("/approve") || route.ends_with("/reject") => {
            json!({"plan_digest": "sha256:0"})
        }
        route if route.ends_with("/state/lock") => json!({"ID": "x"}),
        route if route.ends_with("/{version}/restore") => json!({"current_serial": 1}),
        "/api/v1/queues/{name}" => json!({"cap": 5}),
        "/api/v1/accounts" => json!({"kind": "service", "name": "ci"}),
        "/api/v1/auth/trust-rules" => json!({"name": "r", "issuer": "https://issuer.example",
            "audience": "a", "conditions": {"sub": "s"}, "account_id": format!("acc_{:032x}", 1),
            "scopes": ["admin:accounts"]}),
        _ => json!({}),
    };
    ("application/json", Body::from(json.to_string()))
}

/// One for everywhere.
fn exemption() -> Value {
    json!({"rule": "CKV_AWS_20", "address": "aws_s3_bucket.site", "owner": "web",
        "reason": "a page that everybody may read", "expires_at": "2026-03-01T00:00:00Z"})
}
