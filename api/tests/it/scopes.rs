//! The golden list: which scope each route needs. A route without a row fails.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use slipway_domain::access::{Door, Principal, Scope};

use crate::house::{House, archive, path, submission};

/// Where a route wants its scopes held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// Nobody is asked.
    Public,
    /// In any project, or in the house: what it shows is kept to those.
    Anywhere,
    /// In the project of the thing. Who holds nothing there gets the 404 of a thing that is not.
    Shop,
    /// Anywhere at all first, and then in the project of the thing.
    Named,
    /// In the project of the thing, and then in the house.
    ShopThenHouse,
    /// In the house.
    House,
}
use Where::{Anywhere, House as InHouse, Named, Public, Shop, ShopThenHouse};

/// A route, with what is asked for beyond it, and which scopes it wants where.
pub(crate) type Row = (&'static str, &'static str, &'static str, Where, &'static [Scope]);

pub(crate) const GOLDEN: &[Row] = &[
    ("GET", "/.well-known/jwks.json", "", Public, &[]),
    ("GET", "/.well-known/oauth-protected-resource", "", Public, &[]),
    ("GET", "/.well-known/oauth-protected-resource/mcp", "", Public, &[]),
    ("GET", "/api/v1/accounts", "", InHouse, &[Scope::AdminAccounts]),
    ("POST", "/api/v1/accounts", "", InHouse, &[Scope::AdminAccounts]),
    ("GET", "/api/v1/accounts/{id}", "", InHouse, &[Scope::AdminAccounts]),
    ("POST", "/api/v1/accounts/{id}/disable", "", InHouse, &[Scope::AdminAccounts]),
    ("POST", "/api/v1/accounts/{id}/enable", "", InHouse, &[Scope::AdminAccounts]),
    ("GET", "/api/v1/accounts/{id}/keys", "", InHouse, &[Scope::AdminAccounts]),
    ("GET", "/api/v1/accounts/{id}/sessions", "", InHouse, &[Scope::AdminAccounts]),
    ("DELETE", "/api/v1/accounts/{id}/sessions", "", InHouse, &[Scope::AdminAccounts]),
    ("POST", "/api/v1/auth/exchange", "", Public, &[]),
    ("GET", "/api/v1/auth/identities", "", Public, &[]),
    ("POST", "/api/v1/auth/identities/{name}", "", Public, &[]),
    ("DELETE", "/api/v1/auth/identities/{name}", "", Public, &[]),
    ("GET", "/api/v1/auth/keys", "", Public, &[]),
    ("POST", "/api/v1/auth/keys", "", Public, &[]),
    ("DELETE", "/api/v1/auth/keys/{id}", "", Public, &[]),
    ("POST", "/api/v1/auth/login", "", Public, &[]),
    ("POST", "/api/v1/auth/logout", "", Public, &[]),
    ("GET", "/api/v1/auth/me", "", Public, &[]),
    ("POST", "/api/v1/auth/password", "", Public, &[]),
    ("GET", "/api/v1/auth/providers", "", Public, &[]),
    ("GET", "/api/v1/auth/providers/{name}/callback", "", Public, &[]),
    ("GET", "/api/v1/auth/providers/{name}/start", "", Public, &[]),
    ("POST", "/api/v1/auth/refresh", "", Public, &[]),
    ("POST", "/api/v1/auth/register", "", Public, &[]),
    ("GET", "/api/v1/auth/sessions", "", Public, &[]),
    ("DELETE", "/api/v1/auth/sessions", "", Public, &[]),
    ("DELETE", "/api/v1/auth/sessions/{id}", "", Public, &[]),
    ("GET", "/api/v1/auth/trust-rules", "", InHouse, &[Scope::AdminAccounts]),
    ("POST", "/api/v1/auth/trust-rules", "", InHouse, &[Scope::AdminAccounts]),
    ("DELETE", "/api/v1/auth/trust-rules/{id}", "", InHouse, &[Scope::AdminAccounts]),
    ("GET", "/api/v1/deployments/{id}/tests", "", Shop, &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/deployments/{id}/tests", "", Shop, &[Scope::DeploymentsWrite]),
    ("GET", "/api/v1/artifacts/{id}", "", Named, &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/artifacts", "", Anywhere, &[Scope::DeploymentsWrite]),
    ("GET", "/api/v1/deployments", "", Anywhere, &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/deployments", "", Shop, &[Scope::DeploymentsWrite, Scope::DeploymentsApply]),
    ("GET", "/api/v1/deployments/{id}", "", Shop, &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}", "?wait_s=1", Shop, &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/deployments/{id}/apply", "", Shop, &[Scope::DeploymentsApply]),
    ("GET", "/api/v1/deployments/{id}/approvals", "", Shop, &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/audit", "", InHouse, &[Scope::AuditRead]),
    ("GET", "/api/v1/audit/checkpoint", "", InHouse, &[Scope::AuditRead]),
    ("GET", "/api/v1/audit/export", "", InHouse, &[Scope::AuditRead]),
    ("GET", "/api/v1/audit/verify", "", InHouse, &[Scope::AuditRead]),
    (
        "DELETE",
        "/api/v1/deployments/{id}/approvals/{approval_id}",
        "",
        Shop,
        &[Scope::DeploymentsApprove],
    ),
    ("POST", "/api/v1/deployments/{id}/approve", "", Shop, &[Scope::DeploymentsApprove]),
    ("POST", "/api/v1/deployments/{id}/cancel", "", Shop, &[Scope::DeploymentsWrite]),
    ("GET", "/api/v1/deployments/{id}/events", "", Shop, &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}/events", "?format=json", Shop, &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}/logs", "", Shop, &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}/logs", "?follow=true", Shop, &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}/outputs", "", Shop, &[Scope::DeploymentsRead]),
    (
        "GET",
        "/api/v1/deployments/{id}/outputs",
        "?reveal=true",
        Shop,
        &[Scope::DeploymentsRead, Scope::SecretsReveal],
    ),
    ("GET", "/api/v1/deployments/{id}/plan", "", Shop, &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/deployments/{id}/reconsider", "", Shop, &[Scope::DeploymentsWrite]),
    ("GET", "/api/v1/deployments/{id}/report", "", Shop, &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}/recovery", "", Shop, &[Scope::DeploymentsRead]),
    ("POST", "/api/v1/deployments/{id}/recovery", "", Shop, &[Scope::DeploymentsApprove]),
    ("POST", "/api/v1/deployments/{id}/reject", "", Shop, &[Scope::DeploymentsApprove]),
    ("GET", "/api/v1/gates/resolved", "?project=shop&environment=b", Shop, &[Scope::GatesRead]),
    ("GET", "/api/v1/gates/settings", "", Anywhere, &[Scope::GatesRead]),
    ("PUT", "/api/v1/gates/settings", "", InHouse, &[Scope::GatesWrite]),
    ("DELETE", "/api/v1/gates/settings", "", InHouse, &[Scope::GatesWrite]),
    ("GET", "/api/v1/exemptions", "", Anywhere, &[Scope::PoliciesRead]),
    ("POST", "/api/v1/exemptions", "", InHouse, &[Scope::ExemptionsWrite, Scope::PoliciesWrite]),
    ("GET", "/api/v1/exemptions/{id}", "", Shop, &[Scope::PoliciesRead]),
    ("POST", "/api/v1/exemptions/{id}/revoke", "", Shop, &[Scope::ExemptionsWrite]),
    ("GET", "/api/v1/jobs", "", Anywhere, &[Scope::QueuesRead]),
    ("GET", "/api/v1/jobs/{id}", "", Shop, &[Scope::QueuesRead]),
    ("POST", "/api/v1/jobs/{id}/requeue", "", Shop, &[Scope::QueuesOperate]),
    ("POST", "/api/v1/jobs/purge", "", Anywhere, &[Scope::QueuesOperate]),
    ("POST", "/api/v1/jobs/requeue", "", Anywhere, &[Scope::QueuesOperate]),
    ("GET", "/api/v1/policies", "", Anywhere, &[Scope::PoliciesRead]),
    ("GET", "/api/v1/policies/{name}", "", Anywhere, &[Scope::PoliciesRead]),
    ("GET", "/api/v1/policies/{name}/versions", "", Anywhere, &[Scope::PoliciesRead]),
    ("POST", "/api/v1/policies/{name}/versions", "", InHouse, &[Scope::PoliciesWrite]),
    ("GET", "/api/v1/policies/{name}/versions/{version}", "", Anywhere, &[Scope::PoliciesRead]),
    ("DELETE", "/api/v1/policies/{name}/versions/{version}", "", InHouse, &[Scope::PoliciesWrite]),
    (
        "GET",
        "/api/v1/policies/{name}/versions/{version}/source",
        "",
        Anywhere,
        &[Scope::PoliciesRead],
    ),
    ("POST", "/api/v1/policies/dry-run", "", Named, &[Scope::PoliciesRead, Scope::DeploymentsRead]),
    ("GET", "/api/v1/queues", "", Anywhere, &[Scope::QueuesRead]),
    ("GET", "/api/v1/queues/stats", "", Anywhere, &[Scope::QueuesRead]),
    ("PUT", "/api/v1/queues/{name}", "", InHouse, &[Scope::QueuesOperate]),
    ("POST", "/api/v1/queues/{name}/pause", "", InHouse, &[Scope::QueuesOperate]),
    ("POST", "/api/v1/queues/{name}/resume", "", InHouse, &[Scope::QueuesOperate]),
    ("GET", "/api/v1/stacks", "", Anywhere, &[Scope::StacksRead]),
    ("GET", "/api/v1/stacks/{id}", "", Shop, &[Scope::StacksRead]),
    (
        "GET",
        "/api/v1/stacks/{id}/deployments",
        "",
        Shop,
        &[Scope::StacksRead, Scope::DeploymentsRead],
    ),
    ("GET", "/api/v1/stacks/{id}/state", "", Shop, &[Scope::StateRead]),
    ("POST", "/api/v1/stacks/{id}/state", "?ID=x", Shop, &[Scope::StateWrite]),
    ("DELETE", "/api/v1/stacks/{id}/state", "", Shop, &[Scope::StateWrite]),
    ("GET", "/api/v1/stacks/{id}/state/diff", "", Shop, &[Scope::StateRead]),
    ("POST", "/api/v1/stacks/{id}/state/import", "", Shop, &[Scope::StateWrite]),
    ("GET", "/api/v1/stacks/{id}/state/lock", "", Shop, &[Scope::StacksRead]),
    ("PUT", "/api/v1/stacks/{id}/state/lock", "", Shop, &[Scope::StateWrite]),
    ("DELETE", "/api/v1/stacks/{id}/state/lock", "", Shop, &[Scope::StateWrite]),
    ("GET", "/api/v1/stacks/{id}/state/orphans", "", Shop, &[Scope::StateRead]),
    ("DELETE", "/api/v1/stacks/{id}/state/orphans/{orphan}", "", Shop, &[Scope::StateWrite]),
    ("POST", "/api/v1/stacks/{id}/state/orphans/{orphan}/adopt", "", Shop, &[Scope::StateWrite]),
    ("GET", "/api/v1/stacks/{id}/state/orphans/{orphan}/download", "", Shop, &[Scope::StateRead]),
    ("POST", "/api/v1/stacks/{id}/state/unlock", "", Shop, &[Scope::StateWrite]),
    ("GET", "/api/v1/stacks/{id}/state/versions", "", Shop, &[Scope::StateRead]),
    ("GET", "/api/v1/stacks/{id}/state/versions/{version}", "", Shop, &[Scope::StateRead]),
    ("GET", "/api/v1/stacks/{id}/state/versions/{version}/download", "", Shop, &[Scope::StateRead]),
    (
        "POST",
        "/api/v1/stacks/{id}/state/versions/{version}/restore",
        "",
        Shop,
        &[Scope::StateWrite],
    ),
    ("GET", "/api/v1/templates", "", Anywhere, &[Scope::TemplatesRead]),
    ("POST", "/api/v1/templates", "", InHouse, &[Scope::TemplatesWrite]),
    ("GET", "/api/v1/templates/{name}", "", Anywhere, &[Scope::TemplatesRead]),
    ("POST", "/api/v1/templates/{name}/deprecate", "", InHouse, &[Scope::TemplatesWrite]),
    ("POST", "/api/v1/templates/{name}/render", "", Anywhere, &[Scope::TemplatesRead]),
    ("POST", "/api/v1/templates/{name}/restore", "", InHouse, &[Scope::TemplatesWrite]),
    ("GET", "/api/v1/templates/{name}/source", "", Anywhere, &[Scope::TemplatesRead]),
    ("GET", "/api/v1/templates/{name}/versions", "", Anywhere, &[Scope::TemplatesRead]),
    ("GET", "/api/v1/templates/{name}/versions/{version}", "", Anywhere, &[Scope::TemplatesRead]),
    (
        "DELETE",
        "/api/v1/templates/{name}/versions/{version}",
        "",
        InHouse,
        &[Scope::TemplatesWrite],
    ),
    ("GET", "/api/v1/workers", "", Anywhere, &[Scope::QueuesRead]),
    ("GET", "/health", "", Public, &[]),
    ("GET", "/livez", "", Public, &[]),
    ("GET", "/metrics", "", Public, &[]),
    ("GET", "/openapi.json", "", Public, &[]),
    ("GET", "/problems/{code}", "", Public, &[]),
    ("GET", "/readyz", "", Public, &[]),
    ("PUT", "/api/v1/gates/settings", "?project=shop", Shop, &[Scope::GatesWrite]),
    ("DELETE", "/api/v1/gates/settings", "?project=shop", Shop, &[Scope::GatesWrite]),
    ("GET", "/api/v1/projects", "", Anywhere, &[Scope::StacksRead]),
    ("POST", "/api/v1/projects", "", InHouse, &[Scope::AdminProjects]),
    ("GET", "/api/v1/projects/{name}", "", Shop, &[Scope::StacksRead]),
    ("PATCH", "/api/v1/projects/{name}", "", Shop, &[Scope::AdminProjects]),
    ("DELETE", "/api/v1/projects/{name}", "", ShopThenHouse, &[Scope::AdminProjects]),
    ("GET", "/api/v1/projects/{name}/members", "", Shop, &[Scope::StacksRead]),
    ("GET", "/api/v1/projects/{name}/members/{account}", "", Shop, &[Scope::StacksRead]),
    ("PUT", "/api/v1/projects/{name}/members/{account}", "", Shop, &[Scope::AdminProjects]),
    ("DELETE", "/api/v1/projects/{name}/members/{account}", "", Shop, &[Scope::AdminProjects]),
    ("GET", "/api/v1/members", "", InHouse, &[Scope::AdminAccounts]),
    ("GET", "/api/v1/members/{account}", "", InHouse, &[Scope::AdminAccounts]),
    ("PUT", "/api/v1/members/{account}", "", InHouse, &[Scope::AdminAccounts]),
    ("DELETE", "/api/v1/members/{account}", "", InHouse, &[Scope::AdminAccounts]),
    ("GET", "/api/v1/config", "", Anywhere, &[Scope::ConfigRead]),
    ("POST", "/api/v1/config", "", InHouse, &[Scope::ConfigWrite]),
    ("GET", "/api/v1/config/resolve", "?project=shop", Shop, &[Scope::ConfigRead]),
    ("GET", "/api/v1/config/{id}", "", Shop, &[Scope::ConfigRead]),
    ("PUT", "/api/v1/config/{id}", "", Shop, &[Scope::ConfigWrite]),
    ("DELETE", "/api/v1/config/{id}", "", Shop, &[Scope::ConfigWrite]),
    ("GET", "/api/v1/config/{id}/audit", "", Shop, &[Scope::ConfigRead]),
    ("GET", "/api/v1/config/{id}/diff", "", Shop, &[Scope::ConfigRead]),
    ("POST", "/api/v1/config/{id}/reveal", "", Shop, &[Scope::SecretsReveal]),
    ("POST", "/api/v1/config/{id}/rollback", "", Shop, &[Scope::ConfigWrite]),
    ("POST", "/api/v1/config/{id}/rotate", "", Shop, &[Scope::ConfigWrite]),
    ("GET", "/api/v1/config/{id}/versions", "", Shop, &[Scope::ConfigRead]),
    ("GET", "/api/v1/drift", "", Anywhere, &[Scope::StacksRead]),
    ("GET", "/api/v1/stacks/{id}/drift", "", Shop, &[Scope::StacksRead]),
    ("POST", "/api/v1/stacks/{id}/drift/check", "", Shop, &[Scope::DeploymentsWrite]),
    ("POST", "/api/v1/stacks/{id}/drift/reconcile", "", Shop, &[Scope::DeploymentsWrite]),
    ("GET", "/api/v1/stacks/{id}/drift/settings", "", Shop, &[Scope::StacksRead]),
    ("PUT", "/api/v1/stacks/{id}/drift/settings", "", Shop, &[Scope::DeploymentsWrite]),
    ("GET", "/api/v1/deployments/{id}/report.html", "", Shop, &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/deployments/{id}/report.sarif", "", Shop, &[Scope::DeploymentsRead]),
    ("GET", "/api/v1/prices", "", Anywhere, &[Scope::GatesRead]),
    ("POST", "/api/v1/prices", "?format=csv&source=test", InHouse, &[Scope::GatesWrite]),
    ("GET", "/api/v1/prices/{id}", "", Anywhere, &[Scope::GatesRead]),
    ("DELETE", "/api/v1/prices/{id}", "", InHouse, &[Scope::GatesWrite]),
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
    for (method, route, query, _, scopes) in GOLDEN {
        // A deployment that has ended, so that its streams end.
        let ended = house.submit(json!({})).await;
        house.post(&format!("{}/cancel", path(&ended)), &json!({})).await.ok(202);
        let call = async |who: Principal| {
            let at = fill(&house, route, &ended).await;
            let mut request = request(method, route, &format!("{at}{query}"));
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

/// A request to `uri`, which is `route` filled in, with a body that it takes.
pub(crate) fn request(method: &str, route: &str, uri: &str) -> Request<Body> {
    let (kind, body) = body(method, route);
    let request = Request::builder().method(method).uri(uri);
    request.header(header::CONTENT_TYPE, kind).body(body).unwrap()
}

/// The path of `route` to things of the project `shop`.
pub(crate) async fn fill(house: &House, route: &str, deployment: &Value) -> String {
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
        let id = house.send(upload).await.ok(201)["id"].clone();
        // What only its sender knows of becomes a thing of the project with its deployment.
        let mut deployment = submission();
        deployment["source"] = json!({"type": "archive", "artifact_id": id});
        deployment["variables"] = json!({});
        house.post("/api/v1/deployments", &deployment).await.ok(202);
        id.as_str().unwrap().to_owned()
    } else if route.contains("/stacks/") {
        deployment["stack_id"].as_str().unwrap().to_owned()
    } else if route.contains("/exemptions/") {
        let granted = house.post("/api/v1/exemptions", &exemption(Some("shop"))).await;
        granted.ok(201)["id"].as_str().unwrap().to_owned()
    } else if route.contains("/config/{id}") {
        let made = house
            .post("/api/v1/config", &setting(deployment["id"].as_str().unwrap(), Some("shop")))
            .await;
        made.ok(201)["id"].as_str().unwrap().to_owned()
    } else if route.contains("/prices/") {
        format!("prc_{:032x}", 1)
    } else if route.contains("/jobs/") {
        house.get("/api/v1/jobs").await.ok(200)["items"][0]["id"].as_str().unwrap().to_owned()
    } else {
        deployment["id"].as_str().unwrap().to_owned()
    };
    let name = match route {
        route if route.contains("/queues/") => "plan",
        route if route.contains("/projects/") => "shop",
        _ => "tiny",
    };
    let route = route.replace("{version}", "1").replace("{orphan}", &format!("orp_{:032x}", 1));
    let route = route.replace("{account}", &format!("acc_{:032x}", 1));
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
        "/api/v1/exemptions" => exemption(None),
        "/api/v1/config" => setting("made", None),
        "/api/v1/config/{id}/reveal" => json!({"reason": "to see"}),
        "/api/v1/config/{id}/rollback" => json!({"to_version": 1}),
        "/api/v1/projects" => json!({"name": "mill"}),
        route if route.ends_with("/members/{account}") => json!({"roles": []}),
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

/// One for a project, or for everywhere.
pub(crate) fn exemption(project: Option<&str>) -> Value {
    let mut one = json!({"rule": "CKV_AWS_20", "address": "aws_s3_bucket.site", "owner": "web",
        "reason": "a page that everybody may read", "expires_at": "2026-03-01T00:00:00Z"});
    if let Some(project) = project {
        one["project"] = project.into();
    }
    one
}

/// One for a project or for everywhere, of a name of its own.
fn setting(name: &str, project: Option<&str>) -> Value {
    let key = format!("k.{}.{}", name, NUMBER.fetch_add(1, Ordering::SeqCst));
    let mut one = json!({"key": key, "type": "secret", "value": "hunter2"});
    if let Some(project) = project {
        one["scope"] = json!({"project": project});
    }
    one
}

static NUMBER: AtomicU32 = AtomicU32::new(0);
