//! Who may do what: every route for every role, in a project, in another one and in the house. What
//! comes of it is the table in `docs/ACCESS.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use slipway_domain::access::{Door, Grants, Principal, Role, Scope};

use crate::house::{Answer, House, path, posted, submission};
use crate::scopes::{GOLDEN, Row, Where, exemption, fill, request};

/// Somebody with grants.
fn somebody(id: &str, grants: Grants) -> Principal {
    let mut who = Principal::local(Door::Rest);
    id.clone_into(&mut who.actor.id);
    who.grants = grants;
    who
}

/// Somebody with a role in a project, or in the house.
fn with_role(project: Option<&str>, role: Role) -> Principal {
    let roles = BTreeSet::from([role]);
    let place = project.unwrap_or("house");
    somebody(&format!("{role}@{place}"), Grants::of([(project, &roles)]))
}

fn nobody() -> Principal {
    somebody("nobody", Grants::default())
}

/// May do everything, in another project.
fn stranger() -> Principal {
    with_role(Some("bank"), Role::Admin)
}

/// The columns of the table.
fn callers() -> Vec<(String, Principal)> {
    let in_project = Role::ALL.map(|role| (role.to_string(), with_role(Some("shop"), role)));
    let in_house = Role::ALL.map(|role| (format!("house {role}"), with_role(None, role)));
    let mut all = vec![("nobody".to_owned(), nobody()), ("other admin".to_owned(), stranger())];
    all.extend(in_project);
    all.extend(in_house);
    all
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was let through, whatever came of it then.
    Allowed,
    Forbidden,
    /// As if there was no such thing.
    Hidden,
}

/// What should become of it, by the scopes of the route.
fn expected(row: &Row, grants: &Grants) -> Outcome {
    use Outcome::{Allowed, Forbidden, Hidden};
    let (_, _, _, place, scopes) = row;
    let all = |holds: &dyn Fn(Scope) -> bool| scopes.iter().all(|scope| holds(*scope));
    let here = || match () {
        () if !grants.sees("shop") => Hidden,
        () if all(&|scope| grants.may_in("shop", scope)) => Allowed,
        () => Forbidden,
    };
    let when = |is: bool| if is { Allowed } else { Forbidden };
    let in_house = || when(all(&|scope| grants.house.scopes.contains(&scope)));
    match place {
        Where::Public => Allowed,
        Where::Anywhere => when(all(&|scope| grants.may_somewhere(scope))),
        Where::Shop => here(),
        Where::Named if all(&|scope| grants.may_somewhere(scope)) => here(),
        Where::Named => Forbidden,
        Where::ShopThenHouse if here() == Allowed => in_house(),
        Where::ShopThenHouse => here(),
        Where::House => in_house(),
    }
}

/// The words of a 404 for a thing of the project that the caller may not know of.
fn hidden_words(route: &str, at: &str) -> String {
    let kinds = ["deployment", "stack", "job", "exemption", "artifact"];
    let named = |kind: &&str| route.contains(&format!("/{kind}s/{{id}}"));
    let kind =
        kinds.into_iter().find(named).or(route.contains("/config/{id}").then_some("setting"));
    match kind {
        Some(kind) => {
            let id = at.split(['/', '?']).nth(4).unwrap();
            format!("There is no {kind} {id}.")
        }
        None => "There is no project shop.".to_owned(),
    }
}

async fn call(house: &House, who: &Principal, mut request: Request<Body>) -> Answer {
    request.extensions_mut().insert(who.clone());
    house.send(request).await
}

fn outcome(answer: &Answer, hidden: &str, what: &str) -> Outcome {
    assert!(answer.status.as_u16() < 500, "{what}: {}", answer.text());
    match answer.status.as_u16() {
        403 => Outcome::Forbidden,
        404 if answer.json()["detail"] == hidden => Outcome::Hidden,
        401 => panic!("{what}: {}", answer.text()),
        _ => Outcome::Allowed,
    }
}

#[tokio::test]
async fn every_route_for_every_role() {
    let house = House::new().await;
    let callers = callers();
    let mut lines = String::new();
    let mut wrong = Vec::new();
    for row in GOLDEN {
        let (method, route, query, place, _) = row;
        if *place == Where::Public {
            continue;
        }
        let name = format!("{method} {}{query}", route.trim_start_matches("/api/v1"));
        let _ = write!(lines, "| `{name}` |");
        let mut things = None;
        for (caller, who) in &callers {
            let at = if let Some(at) = things.take() {
                at
            } else {
                // One that has ended, so that its streams end.
                let ended = house.submit(json!({})).await;
                house.post(&format!("{}/cancel", path(&ended)), &json!({})).await.ok(202);
                fill(&house, route, &ended).await
            };
            let sent = request(method, route, &format!("{at}{query}"));
            let answer = call(&house, who, sent).await;
            let what = format!("{caller}: {name}");
            let came = outcome(&answer, &hidden_words(route, &at), &what);
            if came != expected(row, &who.grants) {
                wrong.push(format!("{what}: {came:?}, {}", answer.text()));
            }
            let cell = match came {
                Outcome::Allowed => "yes",
                Outcome::Forbidden => "403",
                Outcome::Hidden => "404",
            };
            let _ = write!(lines, " {cell} |");
            // What a reader or a refused request leaves as it was serves the next one.
            if *method == "GET" || came != Outcome::Allowed {
                things = Some(at);
            }
        }
        lines.push('\n');
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let names: Vec<_> = callers.iter().map(|(name, _)| name.as_str()).collect();
    let head =
        format!("| route | {} |\n|{}\n", names.join(" | "), " --- |".repeat(names.len() + 1));
    is_in_the_docs(&[("roles", scopes_of_roles()), ("routes", head + &lines)]);
}

/// Which scopes each role has.
fn scopes_of_roles() -> String {
    let names = Role::ALL.map(Role::as_str).join(" | ");
    let mut text =
        format!("| scope | {names} | held |\n|{}\n", " --- |".repeat(Role::ALL.len() + 2));
    for scope in Scope::ALL {
        let cells =
            Role::ALL.map(|role| if role.scopes().contains(scope) { " yes |" } else { " |" });
        let held =
            if scope.is_of_house() { "in the house only" } else { "in a project or the house" };
        let _ = writeln!(text, "| `{scope}` |{} {held} |", cells.concat());
    }
    text
}

/// Compares parts of `docs/ACCESS.md` with what they should be, or writes them.
fn is_in_the_docs(parts: &[(&str, String)]) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ACCESS.md");
    let page = std::fs::read_to_string(file).unwrap();
    let mut should = page.clone();
    for (name, text) in parts {
        let (begin, end) =
            (format!("<!-- generated: {name} -->\n"), format!("<!-- end of {name} -->"));
        let (head, rest) = should.split_once(&begin).unwrap();
        let (_, tail) = rest.split_once(&end).unwrap();
        should = format!("{head}{begin}\n{text}\n{end}{tail}");
    }
    #[expect(clippy::disallowed_methods, reason = "a switch of this test")]
    if std::env::var("SLIPWAY_TEST_UPDATE_SNAPSHOTS").is_ok() {
        std::fs::write(file, &should).unwrap();
        return;
    }
    assert!(page == should, "docs/ACCESS.md is old: SLIPWAY_TEST_UPDATE_SNAPSHOTS=1");
}

/// Broken object level authorization: whoever holds nothing in a project gets, for every thing of it
/// and whatever they would do to it, word for word the answer of a thing that is not there.
#[tokio::test]
async fn a_thing_of_another_project_is_a_thing_that_is_not_there() {
    let house = House::new().await;
    let api = serde_json::to_value(slipway_api::openapi()).unwrap();
    let mut looked_at = 0;
    for (route, item) in api["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            let row = GOLDEN.iter().find(|row| (row.0, row.1) == (method.as_str(), route.as_str()));
            let place = row.expect("the golden list has every route").3;
            let of_project = matches!(place, Where::Shop | Where::Named | Where::ShopThenHouse);
            if !(route.contains("/{id}") || route.contains("/projects/{name}")) {
                continue;
            }
            // The house's, or somebody's own.
            let others = ["/api/v1/prices/", "/api/v1/accounts/", "/api/v1/auth/"];
            if others.iter().any(|others| route.starts_with(others)) {
                continue;
            }
            assert!(of_project, "{method} {route} names a thing of a project");
            looked_at += 1;
            let ended = house.submit(json!({})).await;
            house.post(&format!("{}/cancel", path(&ended)), &json!({})).await.ok(202);
            let query = row.unwrap().2;
            let at = fill(&house, route, &ended).await;
            let theirs = at.split(['/', '?']).nth(4).unwrap();
            let nothing = match theirs.split_once('_') {
                Some((prefix, _)) => format!("{prefix}_{:032x}", 77),
                None => "mill".to_owned(),
            };
            let mut said = Vec::new();
            for (id, at) in [(theirs, at.clone()), (nothing.as_str(), at.replace(theirs, &nothing))]
            {
                let sent = request(&method, route, &format!("{at}{query}"));
                let answer = call(&house, &stranger(), sent).await;
                let problem = answer.problem(404, "not_found");
                said.push(problem["detail"].as_str().unwrap().replace(id, "it"));
            }
            assert_eq!(said[0], said[1], "{method} {route}");
            let sent = request(&method, route, &format!("{at}{query}"));
            let own = call(&house, &with_role(Some("shop"), Role::Admin), sent).await;
            let hidden = outcome(&own, &hidden_words(route, &at), route) == Outcome::Hidden;
            assert!(!hidden, "{method} {route}: {}", own.text());
        }
    }
    assert!(looked_at > 45, "{looked_at} routes name a thing of a project");
}

#[tokio::test]
async fn lists_and_counts_show_nothing_of_other_projects() {
    let house = House::new().await;
    house.submit(json!({})).await;
    house.post("/api/v1/exemptions", &exemption(Some("shop"))).await.ok(201);
    let put = |query: &str| {
        Request::put(format!("/api/v1/gates/settings{query}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from("{}"))
            .unwrap()
    };
    house.send(put("?project=shop")).await.ok(200);
    let lists = ["deployments", "stacks", "jobs", "exemptions", "gates/settings", "projects"];
    for (who, sees) in [(stranger(), 0), (with_role(Some("shop"), Role::Viewer), 1)] {
        let get = async |at: &str| {
            let sent = Request::get(format!("/api/v1/{at}")).body(Body::empty()).unwrap();
            call(&house, &who, sent).await.ok(200)
        };
        for list in lists {
            let items = get(list).await["items"].as_array().unwrap().len();
            assert_eq!(items, sees, "{list} of {}", who.actor.id);
        }
        assert_eq!(
            get("queues/stats").await["queues"]["plan"]["waiting"],
            sees,
            "{}",
            who.actor.id
        );
        assert_eq!(get("deployments?project=shop").await["items"].as_array().unwrap().len(), sees);
    }
    // What bulk requests change is kept to the caller's projects too.
    house.die(slipway_domain::job::Queue::Plan).await;
    let all = json!({});
    let sent = posted("/api/v1/jobs/requeue", &all);
    assert_eq!(call(&house, &stranger(), sent).await.ok(200)["job_ids"], json!([]));
    let sent = posted("/api/v1/jobs/purge", &all);
    assert_eq!(call(&house, &stranger(), sent).await.ok(200)["job_ids"], json!([]));
    let sent = posted("/api/v1/jobs/requeue", &all);
    let own = with_role(Some("shop"), Role::Operator);
    assert_eq!(call(&house, &own, sent).await.ok(200)["job_ids"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_dry_run_and_a_source_reach_into_no_other_project() {
    let house = House::new().await;
    let deployment = house.submit(json!({})).await;
    house.plan().await;
    let body = json!({"pack": {"name": "slipway/terraform"}, "deployments": [deployment["id"]]});
    let sent = || posted("/api/v1/policies/dry-run", &body);
    let theirs = call(&house, &stranger(), sent()).await.ok(200);
    assert_eq!(theirs["results"], json!([]));
    let why = theirs["skipped"][0]["reason"].as_str().unwrap();
    assert_eq!(why, format!("There is no deployment {}.", deployment["id"].as_str().unwrap()));
    let own = call(&house, &with_role(Some("shop"), Role::Viewer), sent()).await.ok(200);
    assert_eq!(own["results"].as_array().unwrap().len(), 1);

    // An archive that somebody of another project sent.
    let upload = Request::post("/api/v1/artifacts")
        .header(header::CONTENT_TYPE, "application/gzip")
        .body(Body::from(crate::house::archive(&[("main.tf", "")])))
        .unwrap();
    let ann = with_role(Some("shop"), Role::Developer);
    let id = call(&house, &ann, upload).await.ok(201)["id"].clone();
    house.post("/api/v1/projects", &json!({"name": "bank"})).await.ok(201);
    let mut request = submission();
    request["source"] = json!({"type": "archive", "artifact_id": id});
    request["variables"] = json!({});
    request["stack"]["project"] = json!("bank");
    let refused = call(&house, &stranger(), posted("/api/v1/deployments", &request)).await;
    let refused = refused.problem(422, "invalid_input");
    assert_eq!(refused["errors"][0]["pointer"], "/source/artifact_id");
    request["stack"]["project"] = json!("shop");
    call(&house, &ann, posted("/api/v1/deployments", &request)).await.ok(202);
}

#[tokio::test]
async fn a_project_comes_before_its_first_stack() {
    let house = House::new().await;
    let deploy = async |who: &Principal, project: &str| {
        let mut request = submission();
        request["stack"]["project"] = json!(project);
        call(&house, who, posted("/api/v1/deployments", &request)).await
    };
    // Who may deploy everywhere makes no project by a slip of the pen.
    let developer = with_role(None, Role::Developer);
    let refused = deploy(&developer, "shopp").await.problem(404, "not_found");
    assert_eq!(refused["detail"], "There is no project shopp.");
    house.get("/api/v1/projects/shopp").await.problem(404, "not_found");
    // The same words for one that is there, to whom it does not concern.
    deploy(&with_role(None, Role::Admin), "shop").await.ok(202);
    let hidden = deploy(&stranger(), "shop").await.problem(404, "not_found");
    assert_eq!(hidden["detail"], "There is no project shop.");
    deploy(&developer, "shop").await.ok(202);
    let made = house.get("/api/v1/projects/shop").await.ok(200);
    assert_eq!(made["created_by"]["id"], "admin@house");
    let ill = deploy(&stranger(), "No Good").await.problem(422, "invalid_input");
    assert_eq!(ill["errors"][0]["pointer"], "/stack/project");
}

/// Broken object property level authorization: what the house decides cannot be sent along.
#[tokio::test]
async fn what_the_house_decides_is_no_field_of_a_request() {
    let house = House::new().await;
    let api = serde_json::to_value(slipway_api::openapi()).unwrap();
    // These take a file as it is.
    let raw = ["/api/v1/artifacts", "/api/v1/prices", "/state", "/state/import", "/state/lock"];
    let mut tried = 0;
    let mut bodies = BTreeSet::new();
    for (method, route, query, ..) in GOLDEN {
        let operation = &api["paths"][route][method.to_lowercase()];
        let takes_json = operation["requestBody"]["content"].get("application/json").is_some();
        if !takes_json || raw.iter().any(|end| route.ends_with(end)) {
            continue;
        }
        let ended = house.submit(json!({})).await;
        house.post(&format!("{}/cancel", path(&ended)), &json!({})).await.ok(202);
        let at = fill(&house, route, &ended).await;
        for field in ["status", "state", "role", "approved_by", "submitted_by", "created_by", "id"]
        {
            let (parts, body) = request(method, route, &format!("{at}{query}")).into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let mut body: Value = serde_json::from_slice(&body).unwrap();
            let known =
                matches!((*route, field), ("/api/v1/jobs/purge" | "/api/v1/jobs/requeue", "state"));
            if known {
                continue;
            }
            body[field] = json!("admin");
            let sent = Request::from_parts(parts, Body::from(body.to_string()));
            let answer = house.send(sent).await;
            let problem = answer.problem(422, "invalid_input");
            let pointer = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
            assert_eq!(pointer, format!("/{field}"), "{method} {route}: {problem}");
            tried += 1;
        }
        bodies.insert(*route);
    }
    assert!(bodies.len() > 15 && tried > 100, "{tried} fields of {} routes", bodies.len());
}

/// A token that may submit and not apply has nothing applied by leaving `auto_apply` as it is.
#[tokio::test]
async fn who_may_only_submit_has_nothing_applied() {
    let house = House::new().await;
    house.submit(json!({})).await;
    let mut who = with_role(Some("shop"), Role::Developer);
    who.grants =
        who.grants.narrowed(&[Scope::DeploymentsRead, Scope::DeploymentsWrite].into(), None);
    let mut request = submission();
    let refused = call(&house, &who, posted("/api/v1/deployments", &request)).await;
    let why = refused.problem(403, "forbidden")["detail"].as_str().unwrap().to_owned();
    assert!(why.contains("deployments:apply") && why.contains("`auto_apply` off"), "{why}");
    for options in [json!({"plan_only": true}), json!({"auto_apply": false})] {
        request["options"] = options;
        call(&house, &who, posted("/api/v1/deployments", &request)).await.ok(202);
    }
    house.plan().await;
}
