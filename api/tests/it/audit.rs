//! The audit log at its doors: every write and every refusal is on it, and it can be read, exported
//! and verified.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use serde_json::{Value, json};
use slipway_api::ApiOptions;
use slipway_domain::Secret;
use slipway_domain::access::{Door, Grants, Principal, Role, Scope};
use slipway_domain::approval::ApprovalRules;
use slipway_domain::audit::{AuditResult, ExportLine, Filter, Mark, Verifier, Walked};
use slipway_domain::job::Queue;
use slipway_domain::page::PageRequest;
use slipway_services::audit;
use slipway_services::auth::AuthSettings;
use slipway_services::auth::sign_in::{self, NewPerson};

use crate::house::{Answer, House, archive, path, posted, submission};

const OF: &str = "/api/v1/deployments/{id}";
const TEMPLATE: &str = "/api/v1/templates/{name}";
const PACK: &str = "/api/v1/policies/{name}/versions";
const CONFIG: &str = "/api/v1/config/{id}";
const PROJECT: &str = "/api/v1/projects/{name}";
const STATE: &str = "/api/v1/stacks/{id}/state";
const DRIFT: &str = "/api/v1/stacks/{id}/drift";

/// Routes that change nothing although their method might.
const NO_WRITE: &[(&str, &str)] = &[
    ("POST", "/api/v1/policies/dry-run"),
    ("POST", "/api/v1/templates/{name}/render"),
    // A session goes on; its begin, its end and tokens that come twice are on record.
    ("POST", "/api/v1/auth/refresh"),
];

/// Routes whose records are tested where there is what they take: a worker that was lost
/// (`slipway-services`), a provider or an issuer (`auth.rs`).
const ELSEWHERE: &[(&str, &str)] = &[
    ("POST", "/api/v1/deployments/{id}/recovery"),
    ("POST", "/api/v1/auth/exchange"),
    ("POST", "/api/v1/auth/identities/{name}"),
    ("DELETE", "/api/v1/auth/identities/{name}"),
    ("POST", "/api/v1/auth/trust-rules"),
    ("DELETE", "/api/v1/auth/trust-rules/{id}"),
];

/// Routes that only refuse, or find nothing to do: nothing is written.
const NOTHING_TO_DO: &[(&str, &str)] = &[("DELETE", "/api/v1/stacks/{id}/state")];

/// Walks routes, and sees to it that each one leaves its record.
struct Steps {
    house: House,
    seen: BTreeSet<(String, String)>,
    /// Whatever is wrong, all of it.
    wrong: Vec<String>,
    /// `If-Match` of the next call.
    from: Option<String>,
    /// Who calls, where that is asked.
    token: Option<String>,
}

impl Steps {
    async fn actions(&self) -> Vec<String> {
        let page = PageRequest { limit: 200, after: None };
        let rows = self.house.cx.store.read().await.unwrap();
        let rows = { rows }.audit_page(&Filter::default(), page).await.unwrap();
        rows.into_iter().map(|entry| entry.record.action).collect()
    }

    /// Calls a route, whose parts in braces are `parts` in order; `action` is what must be on record.
    async fn step(
        &mut self,
        call: &str,
        parts: &[&str],
        query: &str,
        body: impl Into<Body>,
        action: &str,
    ) -> Answer {
        let (method, route) = call.split_once(' ').unwrap();
        let mut parts = parts.iter();
        let at: Vec<_> = route
            .split('/')
            .map(|part| if part.starts_with('{') { *parts.next().unwrap() } else { part })
            .collect();
        let before = self.actions().await.len();
        let kind =
            if route == "/api/v1/artifacts" { "application/gzip" } else { "application/json" };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{query}", at.join("/")))
            .header(header::CONTENT_TYPE, kind);
        if let Some(from) = &self.from {
            request = request.header(header::IF_MATCH, from);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(body.into()).unwrap();
        let answer = self.house.send(request).await;
        if !answer.status.is_success() {
            self.wrong.push(format!("{call}: {}", answer.text()));
        }
        let after = self.actions().await;
        let new = &after[..after.len() - before];
        if !new.iter().any(|new| new == action) {
            self.wrong.push(format!("{call} left {new:?}, not {action}"));
        }
        self.seen.insert((method.to_owned(), route.to_owned()));
        answer
    }

    /// The same, from a version that was read.
    async fn tagged(
        &mut self,
        call: &str,
        parts: &[&str],
        version: &str,
        body: impl Into<Body>,
        action: &str,
    ) {
        self.from =
            Some(if version == "*" { version.to_owned() } else { format!("\"{version}\"") });
        self.step(call, parts, "", body, action).await;
        self.from = None;
    }

    async fn json(&mut self, call: &str, parts: &[&str], body: &Value, action: &str) -> Value {
        let answer = self.step(call, parts, "", body.to_string(), action).await;
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// A deployment whose plan waits.
    async fn waiting(&mut self, options: Value) -> (String, Value) {
        let mut body = submission();
        body["options"] = options;
        let put = self.json("POST /api/v1/deployments", &[], &body, "deployment.submit").await;
        let planned = self.house.plan().await;
        let digest = json!({"plan_digest": planned.plan.unwrap().digest});
        (put["id"].as_str().unwrap().to_owned(), digest)
    }
}

fn state(serial: i64) -> String {
    json!({"version": 4, "lineage": "line", "serial": serial, "outputs": {}, "resources": []})
        .to_string()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one call a route")]
async fn every_write_leaves_its_record() {
    let two = ApprovalRules { approvals: 2, ..ApprovalRules::default() };
    let mut at = Steps {
        house: House::asking(two).await,
        seen: BTreeSet::new(),
        wrong: Vec::new(),
        from: None,
        token: None,
    };
    let none = json!({});

    // Deployments.
    let (id, digest) = at.waiting(json!({})).await;
    let given = at.json(&format!("POST {OF}/approve"), &[&id], &digest, "deployment.approve").await;
    let by = given["approvals"]["decisions"][0]["id"].as_str().unwrap_or_default().to_owned();
    let listed = at.house.get(&format!("/api/v1/deployments/{id}/approvals")).await.ok(200);
    let by = if by.is_empty() { first_id(&listed).unwrap() } else { by };
    let revoke = format!("DELETE {OF}/approvals/{{approval_id}}");
    at.json(&revoke, &[&id, &by], &none, "deployment.revoke").await;
    at.json(&format!("POST {OF}/tests"), &[&id], &none, "deployment.test").await;
    at.json(&format!("POST {OF}/reject"), &[&id], &digest, "deployment.cancel").await;
    let (id, _) = at.waiting(json!({})).await;
    at.json(&format!("POST {OF}/reconsider"), &[&id], &none, "deployment.replan").await;
    at.json(&format!("POST {OF}/cancel"), &[&id], &none, "deployment.cancel").await;

    // Queues and jobs.
    let queue = ["plan"];
    at.json("PUT /api/v1/queues/{name}", &queue, &json!({"cap": 5}), "queue.cap").await;
    at.json("POST /api/v1/queues/{name}/pause", &queue, &none, "queue.pause").await;
    at.json("POST /api/v1/queues/{name}/resume", &queue, &none, "queue.resume").await;
    at.json("POST /api/v1/deployments", &[], &submission(), "deployment.submit").await;
    at.house.die(Queue::Plan).await;
    let dead = at.house.get("/api/v1/jobs?state=dead").await.ok(200);
    let job = dead["items"][0]["id"].as_str().unwrap().to_owned();
    at.json("POST /api/v1/jobs/{id}/requeue", &[&job], &none, "job.requeue").await;
    at.house.die(Queue::Plan).await;
    at.json("POST /api/v1/jobs/requeue", &[], &none, "job.requeue").await;
    at.house.die(Queue::Plan).await;
    at.json("POST /api/v1/jobs/purge", &[], &none, "job.purge").await;

    // Sources, templates, policies, exemptions, gates.
    let files = archive(&[("main.tf", "")]);
    at.step("POST /api/v1/artifacts", &[], "", files.clone(), "artifact.upload").await;
    let packed = base64_of(&files);
    let template = json!({"name": "mine", "title": "Mine", "description": "d", "archive": packed});
    at.json("POST /api/v1/templates", &[], &template, "template.publish").await;
    let one = json!({"version": 1});
    at.json(&format!("POST {TEMPLATE}/deprecate"), &["mine"], &one, "template.deprecate").await;
    at.json(&format!("POST {TEMPLATE}/restore"), &["mine"], &one, "template.restore").await;
    let delete = format!("DELETE {TEMPLATE}/versions/{{version}}");
    at.json(&delete, &["mine", "1"], &none, "template.delete").await;
    let pack = json!({"modules": [{"path": "a.rego", "text": RULE}]});
    at.json(&format!("POST {PACK}"), &["mine"], &pack, "policy.upload").await;
    at.json(&format!("DELETE {PACK}/{{version}}"), &["mine", "1"], &none, "policy.remove").await;
    let exemption = json!({"rule": "CKV_AWS_20", "address": "aws_s3_bucket.site", "owner": "web",
        "reason": "a page that everybody may read", "expires_at": "2026-03-01T00:00:00Z"});
    let granted = at.json("POST /api/v1/exemptions", &[], &exemption, "exemption.create").await;
    let id = granted["id"].as_str().unwrap();
    at.json("POST /api/v1/exemptions/{id}/revoke", &[id], &none, "exemption.revoke").await;
    let settings = json!({"scan": {"honour_inline_skips": true}});
    at.tagged("PUT /api/v1/gates/settings", &[], "*", settings.to_string(), "gates.set").await;
    let version = at.house.get("/api/v1/gates/settings").await.ok(200);
    let etag = format!("\"{}\"", version["items"][0]["version"]);
    let forget = Request::delete("/api/v1/gates/settings").header(header::IF_MATCH, etag);
    let gone = at.house.send(forget.body(Body::empty()).unwrap()).await;
    assert!(gone.status.is_success(), "{}", gone.text());
    assert_eq!(at.actions().await[0], "gates.forget");
    at.seen.insert(("DELETE".to_owned(), "/api/v1/gates/settings".to_owned()));

    // The central configuration.
    let setting = json!({"key": "k", "type": "string", "value": "a"});
    let made = at.json("POST /api/v1/config", &[], &setting, "setting.create").await;
    let one = [made["id"].as_str().unwrap()];
    let other = json!({"value": "b"}).to_string();
    at.tagged(&format!("PUT {CONFIG}"), &one, "1", other, "setting.update").await;
    let back = json!({"to_version": 1}).to_string();
    at.tagged(&format!("POST {CONFIG}/rollback"), &one, "2", back, "setting.roll_back").await;
    at.tagged(&format!("DELETE {CONFIG}"), &one, "3", "", "setting.delete").await;
    let secret = json!({"key": "s", "type": "secret", "value": "hunter2"});
    let made = at.json("POST /api/v1/config", &[], &secret, "setting.create").await;
    let one = [made["id"].as_str().unwrap()];
    let why = json!({"reason": "to see"});
    at.json(&format!("POST {CONFIG}/reveal"), &one, &why, "setting.reveal").await;
    at.json(&format!("POST {CONFIG}/rotate"), &one, &none, "setting.rotate").await;

    // Prices.
    let rows = "provider,key,region,unit,price,currency,source,as_of\n\
                aws,ec2/linux/m5.large,us-east-1,hour,0.2,USD,https://example.com,2026-01-01\n";
    let query = "?format=csv&source=test";
    let kept = at.step("POST /api/v1/prices", &[], query, rows, "price.import").await.json();
    let file = [kept["file"]["id"].as_str().or(kept["id"].as_str()).unwrap()];
    at.json("DELETE /api/v1/prices/{id}", &file, &none, "price.remove").await;

    // Projects and members.
    let mill = json!({"name": "mill"});
    at.json("POST /api/v1/projects", &[], &mill, "project.create").await;
    let change = json!({"description": "grain"});
    at.json(&format!("PATCH {PROJECT}"), &["mill"], &change, "project.change").await;
    let ci = json!({"kind": "service", "name": "ci"});
    let made = at.json("POST /api/v1/accounts", &[], &ci, "account.create").await;
    let account = made["id"].as_str().unwrap().to_owned();
    for (verb, action) in [("disable", "account.disable"), ("enable", "account.enable")] {
        let call = format!("POST /api/v1/accounts/{{id}}/{verb}");
        at.json(&call, &[&account], &none, action).await;
    }
    let roles = json!({"roles": ["developer"]});
    for (route, parts) in [
        (format!("{PROJECT}/members/{{account}}"), &["mill", account.as_str()][..]),
        ("/api/v1/members/{account}".to_owned(), &[account.as_str()][..]),
    ] {
        at.json(&format!("PUT {route}"), parts, &roles, "member.set").await;
        at.json(&format!("DELETE {route}"), parts, &none, "member.remove").await;
    }
    at.json(&format!("DELETE {PROJECT}"), &["mill"], &none, "project.remove").await;

    // States.
    let stack = at.house.get("/api/v1/stacks").await.ok(200)["items"][0]["id"].clone();
    let stack = [stack.as_str().unwrap()];
    let lock = json!({"ID": "l", "Who": "ann"});
    at.json(&format!("PUT {STATE}/lock"), &stack, &lock, "state.lock").await;
    at.step(&format!("POST {STATE}"), &stack, "?ID=l", state(1), "state.write").await;
    let refused = at
        .house
        .send(posted(
            &format!("/api/v1/stacks/{}/state?ID=l", stack[0]),
            &json!({"version": 4, "lineage": "other", "serial": 1, "resources": []}),
        ))
        .await;
    refused.problem(409, "state_refused");
    assert_eq!(at.actions().await[0], "state.refuse");
    at.step(&format!("DELETE {STATE}/lock"), &stack, "", lock.to_string(), "state.unlock").await;
    at.json(&format!("PUT {STATE}/lock"), &stack, &lock, "state.lock").await;
    at.json(&format!("POST {STATE}/unlock"), &stack, &none, "state.force_unlock").await;
    let import = format!("POST {STATE}/import");
    at.step(&import, &stack, "?current_serial=1", state(2), "state.import").await;
    let restore = format!("POST {STATE}/versions/{{version}}/restore");
    let seen = json!({"current_serial": 2});
    at.json(&restore, &[stack[0], "1"], &seen, "state.restore").await;
    let orphans = at.house.get(&format!("/api/v1/stacks/{}/state/orphans", stack[0])).await.ok(200);
    let orphan = orphans["items"][0]["id"].as_str().unwrap().to_owned();
    let seen = json!({"current_serial": 3});
    at.json(
        &format!("POST {STATE}/orphans/{{orphan}}/adopt"),
        &[stack[0], &orphan],
        &seen,
        "state.adopt",
    )
    .await;
    let again = format!("/api/v1/stacks/{}/state?ID=x", stack[0]);
    at.house
        .send(posted(
            &again,
            &json!({"version": 4, "lineage": "z", "serial": 1,
        "resources": []}),
        ))
        .await
        .problem(409, "state_refused");
    let orphans = at.house.get(&format!("/api/v1/stacks/{}/state/orphans", stack[0])).await.ok(200);
    let orphan = orphans["items"][0]["id"].as_str().unwrap().to_owned();
    at.json(
        &format!("DELETE {STATE}/orphans/{{orphan}}"),
        &[stack[0], &orphan],
        &none,
        "state.discard",
    )
    .await;
    // Looking at what is secret is on record, too.
    for (below, action) in [("", "state.read"), ("/versions/1/download", "state.read")] {
        let read = at.house.get(&format!("/api/v1/stacks/{}/state{below}", stack[0])).await;
        assert!(read.status.is_success(), "{}", read.text());
        assert_eq!(at.actions().await[0], action, "{below}");
    }

    // Applying, and looking at what came of it.
    let mut at = Steps { house: House::new().await, ..at };
    let (id, digest) = at.waiting(json!({"auto_apply": false})).await;
    let approve = format!("POST {OF}/approve");
    at.json(&approve, &[&id], &digest, "deployment.approve").await;
    if at.house.get(&format!("/api/v1/deployments/{id}")).await.ok(200)["state"] == "approved" {
        at.json(&format!("POST {OF}/apply"), &[&id], &none, "deployment.apply").await;
    }
    at.house.apply().await;
    at.house.get(&format!("/api/v1/deployments/{id}/outputs?reveal=true")).await.ok(200);
    assert_eq!(at.actions().await[0], "output.reveal");

    // Drift of what was applied.
    let of = at.house.get(&format!("/api/v1/deployments/{id}")).await.ok(200)["stack_id"].clone();
    let of = [of.as_str().unwrap()];
    let never = json!({"enabled": false});
    at.json(&format!("PUT {DRIFT}/settings"), &of, &never, "drift.set").await;
    at.json(&format!("POST {DRIFT}/check"), &of, &none, "drift.check").await;
    at.json(&format!("POST {DRIFT}/reconcile"), &of, &none, "deployment.submit").await;

    // Where callers must say who they are.
    let auth = AuthSettings { registration: true, ..AuthSettings::default() };
    let mut at = Steps { house: House::asking_who(auth).await, ..at };
    let password = "correct horse battery";
    let ann = json!({"name": "ann", "password": password});
    let made = at.json("POST /api/v1/auth/register", &[], &ann, "account.create").await;
    let session = async |at: &mut Steps, password: &str| {
        let ann = json!({"name": "ann", "password": password});
        let given = at.json("POST /api/v1/auth/login", &[], &ann, "session.login").await;
        at.token = Some(given["access_token"].as_str().unwrap().to_owned());
        given["session"]["id"].as_str().unwrap().to_owned()
    };
    session(&mut at, password).await;
    at.json("POST /api/v1/auth/logout", &[], &none, "session.end").await;
    at.token = None;
    session(&mut at, password).await;
    let change = json!({"password": password, "new_password": "battery horse correct"});
    at.json("POST /api/v1/auth/password", &[], &change, "account.password").await;
    at.token = None;
    let own = session(&mut at, "battery horse correct").await;
    let key = json!({"name": "nightly", "scopes": ["stacks:read"]});
    let key = at.json("POST /api/v1/auth/keys", &[], &key, "api_key.create").await;
    let key = key["id"].as_str().or(key["key"]["id"].as_str()).unwrap().to_owned();
    at.json("DELETE /api/v1/auth/keys/{id}", &[&key], &none, "api_key.revoke").await;
    at.json("DELETE /api/v1/auth/sessions/{id}", &[&own], &none, "session.end").await;
    at.token = None;
    session(&mut at, "battery horse correct").await;
    at.json("DELETE /api/v1/auth/sessions", &[], &none, "session.end_all").await;
    // An admin ends those of somebody else.
    let who = Principal::local(Door::Internal);
    let admin = NewPerson {
        name: "bob".to_owned(),
        email: None,
        password: Secret::new(password.to_owned()),
    };
    sign_in::create_admin(&at.house.cx, &who, &admin).await.unwrap();
    at.token = None;
    let bob = json!({"name": "bob", "password": password});
    let given = at.json("POST /api/v1/auth/login", &[], &bob, "session.login").await;
    at.token = Some(given["access_token"].as_str().unwrap().to_owned());
    let of = [made["id"].as_str().unwrap()];
    at.json("DELETE /api/v1/accounts/{id}/sessions", &of, &none, "session.end_all").await;

    let api = serde_json::to_value(slipway_api::openapi()).unwrap();
    let routes = api["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys().filter(|method| *method != "get");
        methods.map(|method| (method.to_uppercase(), path.clone()))
    });
    let known: BTreeSet<_> = [NO_WRITE, ELSEWHERE, NOTHING_TO_DO]
        .concat()
        .into_iter()
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    let missing: Vec<_> =
        routes.filter(|route| !at.seen.contains(route) && !known.contains(route)).collect();
    assert!(at.wrong.is_empty(), "{:#?}", at.wrong);
    assert!(missing.is_empty(), "nobody knows whether these leave a record: {missing:?}");
}

const RULE: &str = "package user.mine\n\nimport rego.v1\n";

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The first id of an approval anywhere in a document.
fn first_id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.starts_with("apr_") => Some(text.clone()),
        Value::Array(items) => items.iter().find_map(first_id),
        Value::Object(fields) => fields.values().find_map(first_id),
        _ => None,
    }
}

fn from(address: &str, request: Request<Body>) -> Request<Body> {
    let mut request = request;
    let peer: std::net::SocketAddr = format!("{address}:4711").parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

#[tokio::test]
async fn every_refusal_is_on_record_and_a_flood_is_counted() {
    let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let house = House::with(ApiOptions { trusted_proxies, ..ApiOptions::default() }).await;
    let ask = |scopes: &[Scope], request: Request<Body>| {
        let mut request = from("10.0.0.1", request);
        let mut who = Principal::local(Door::Rest);
        "eve".clone_into(&mut who.actor.id);
        who.token = Some("key_7".to_owned());
        who.grants.house.scopes = scopes.iter().copied().collect();
        request.extensions_mut().insert(who);
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", "1.2.3.4, 192.0.2.7".parse().unwrap());
        headers.insert(header::USER_AGENT, "probe/1".parse().unwrap());
        request
    };
    let at = path(&house.submit(json!({})).await);
    let refused = ask(
        &[Scope::StacksRead],
        Request::post(format!("{at}/cancel")).body(Body::empty()).unwrap(),
    );
    house.send(refused).await.problem(403, "forbidden");
    let nonsense = Request::get("/api/v1/stacks").header(header::AUTHORIZATION, "Digest hunter2");
    house
        .send(from("192.0.2.8", nonsense.body(Body::empty()).unwrap()))
        .await
        .problem(401, "unauthenticated");
    let mut foreign = posted("/api/v1/deployments", &submission());
    foreign.headers_mut().insert(header::ORIGIN, "https://evil.example".parse().unwrap());
    house.send(from("192.0.2.9", foreign)).await.problem(403, "forbidden");
    // Neither who asks for nothing nor who asks for too much is a refusal of this kind.
    house.get("/api/v1/nothing").await.problem(404, "not_found");
    house.get(&format!("/api/v1/deployments/dep_{:032x}", 7)).await.problem(404, "not_found");
    // What is hidden from who asks is one, whatever they are told.
    let mut hidden = Request::get(&at).body(Body::empty()).unwrap();
    let mut mallory = Principal::local(Door::Rest);
    "mallory".clone_into(&mut mallory.actor.id);
    mallory.grants = Grants::of([(Some("bank"), &[Role::Admin].into())]);
    hidden.extensions_mut().insert(mallory);
    house.send(hidden).await.problem(404, "not_found");

    let found = house.get("/api/v1/audit?result=denied").await.ok(200);
    let items = found["items"].as_array().unwrap();
    assert_eq!(items.len(), 4, "{found}");
    let [mallory, origin, nobody, eve] = &items[..] else { unreachable!() };
    assert_eq!(mallory["actor"]["id"], "mallory");
    assert_eq!(
        (&mallory["detail"]["code"], &mallory["detail"]["path"]),
        (&json!("not_found"), &json!(at))
    );
    assert!(mallory["reason"].as_str().unwrap().starts_with("mallory holds nothing where it is"));
    assert_eq!((&eve["actor"]["id"], &eve["token"]), (&json!("eve"), &json!("key_7")));
    assert_eq!((&eve["address"], &eve["user_agent"]), (&json!("192.0.2.7"), &json!("probe/1")));
    assert_eq!(eve["target"], "POST /api/v1/deployments/{id}/cancel");
    assert_eq!(eve["detail"]["path"], format!("{at}/cancel"));
    assert_eq!(eve["reason"], "eve lacks the scope deployments:write in shop.");
    assert_eq!(
        (&nobody["actor"]["id"], &nobody["address"]),
        (&json!("unknown"), &json!("192.0.2.8"))
    );
    assert_eq!(nobody["detail"]["code"], "unauthenticated");
    assert!(!found.to_string().contains("hunter2"), "what was shown is not kept");
    assert_eq!(
        (&origin["actor"]["id"], &origin["address"]),
        (&json!("unknown"), &json!("192.0.2.9"))
    );

    for _ in 0..100 {
        let again =
            ask(&[Scope::StacksRead], Request::get("/api/v1/jobs").body(Body::empty()).unwrap());
        house.send(again).await.problem(403, "forbidden");
    }
    let found = house.get("/api/v1/audit?result=denied&actor=eve&limit=200").await.ok(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 20, "its share of a minute");
    assert_eq!(audit::tell_left_out(&house.cx).await.unwrap(), 1);
    let told = house.get("/api/v1/audit?result=denied&limit=1").await.ok(200)["items"][0].clone();
    assert_eq!((&told["detail"]["left_out"], &told["address"]), (&json!(81), &json!("192.0.2.7")));
}

#[tokio::test]
async fn a_refused_tool_is_on_record() {
    let house = House::new().await;
    let call = |scopes: &[Scope], tool: &str| {
        let mut request = posted(
            "/mcp",
            &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": {}}}),
        );
        let headers = request.headers_mut();
        let both = "application/json, text/event-stream";
        headers.insert(header::ACCEPT, both.parse().unwrap());
        headers.insert("mcp-protocol-version", "2025-06-18".parse().unwrap());
        let mut who = Principal::local(Door::Mcp);
        who.grants.house.scopes = scopes.iter().copied().collect();
        request.extensions_mut().insert(who);
        request
    };
    house.send(call(&[Scope::McpExecute], "list_stacks")).await;
    house.send(call(&[], "list_stacks")).await;
    house.send(call(&[], "no_such_tool")).await;
    let found = house.get("/api/v1/audit?result=denied").await.ok(200);
    let items = found["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{found}");
    assert!(items.iter().all(|item| item["target"] == "mcp list_stacks"), "{found}");
    assert_eq!(items[1]["reason"], "local lacks the scope stacks:read.");
    assert_eq!(items[0]["reason"], "local lacks the scope mcp:execute.");
}

#[tokio::test]
async fn the_log_is_read_exported_and_verified() {
    let house = House::new().await;
    for _ in 0..3 {
        house.submit(json!({})).await;
    }
    let first = house.get("/api/v1/audit?action=deployment.&limit=2").await;
    assert!(first.header("link").contains("rel=\"next\""), "{}", first.text());
    assert!(first.ok(200)["items"][0].get("seal").is_none(), "not sealed yet");
    // The first one made the project as well.
    assert_eq!(audit::seal(&house.cx).await.unwrap(), 4);
    let listed = house.get("/api/v1/audit?target=nothing").await.ok(200);
    assert_eq!(listed["items"], json!([]));
    let listed = house.get("/api/v1/audit").await.ok(200);
    assert_eq!(listed["items"][0]["seal"]["seq"], 4);
    for bad in [
        "?result=maybe",
        "?since=yesterday",
        "?limit=0",
        "?cursor=x",
        "?what=1",
        "?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
    ] {
        house.get(&format!("/api/v1/audit{bad}")).await.problem(422, "invalid_input");
    }

    let export = house.get("/api/v1/audit/export").await;
    assert_eq!(export.header("content-type"), "application/x-ndjson");
    let lines: Vec<ExportLine> =
        export.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (Some(ExportLine::Anchor(anchor)), Some(ExportLine::Checkpoint(end))) =
        (lines.first(), lines.last())
    else {
        panic!("{lines:?}")
    };
    let mut verifier = Verifier::new(*anchor, 0);
    for line in &lines[1..lines.len() - 1] {
        let ExportLine::Record(row) = line else { panic!("{line:?}") };
        let record = Some(row.record.clone());
        verifier.walk(&Walked { seal: row.seal, id: None, record, mark: Mark::Unknown });
    }
    verifier.reached(&end.checkpoint);
    let verdict = verifier.verdict();
    assert!(verdict.intact && verdict.records == 4, "{verdict:?}");
    assert!(slipway_store::crypto::is_signed(end));
    let asked = house.get("/api/v1/audit?action=audit.export").await.ok(200);
    assert_eq!(asked["items"].as_array().unwrap().len(), 1, "who took it is on record");

    let verified = house.get("/api/v1/audit/verify").await.ok(200);
    assert_eq!((&verified["intact"], &verified["records"]), (&json!(true), &json!(4)));
    let part = house.get("/api/v1/audit/verify?from_seq=2&to_seq=2").await.ok(200);
    assert_eq!((&part["records"], &part["next_seq"]), (&json!(1), &json!(3)));
    for bad in ["?from_seq=9", "?from_seq=0", "?from_seq=3&to_seq=1", "?to_seq=x"] {
        house.get(&format!("/api/v1/audit/verify{bad}")).await.problem(422, "invalid_input");
        house.get(&format!("/api/v1/audit/export{bad}")).await.problem(422, "invalid_input");
    }
    let checkpoint = house.get("/api/v1/audit/checkpoint").await.ok(200);
    assert_eq!(checkpoint["head"]["seq"], 4);
    let metrics = house.get("/metrics").await.text();
    assert!(metrics.contains("slipway_audit_unsealed_seconds"), "{metrics}");
    let page = PageRequest::default();
    let denied = Filter { result: Some(AuditResult::Denied), ..Filter::default() };
    let none = audit::list(&house.cx, &Principal::local(Door::Rest), &denied, page).await.unwrap();
    assert_eq!(none.items, []);
}
