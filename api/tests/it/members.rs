//! Projects and members over REST: versions, what is in the way, and who may give what.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use slipway_domain::access::{Door, Grants, Principal, Role, Scope};
use slipway_domain::auth::account::{Account, AccountKind};
use slipway_domain::id::AccountId;

use crate::house::{Answer, House, posted};
use crate::scopes::exemption;

fn sent(method: &str, at: &str, condition: Option<(&str, &str)>, body: &Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(format!("/api/v1/{at}"));
    if let Some((name, value)) = condition {
        request = request.header(name, value);
    }
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    request.body(body).unwrap()
}

async fn as_one(house: &House, who: &Principal, mut request: Request<Body>) -> Answer {
    request.extensions_mut().insert(who.clone());
    house.send(request).await
}

fn account(number: u8) -> String {
    format!("acc_{number:032x}")
}

/// A house that knows the accounts 1 to 9.
async fn with_accounts() -> House {
    let house = House::new().await;
    let mut tx = house.cx.store.begin().await.unwrap();
    for number in 1..10 {
        let account = Account {
            id: account(number).parse().unwrap(),
            kind: AccountKind::Service,
            name: format!("number-{number}"),
            email: None,
            created_at: house.cx.now(),
            created_by: Principal::local(Door::Internal).actor,
            disabled_at: None,
        };
        assert!(tx.insert_account(&account).await.unwrap());
    }
    tx.commit().await.unwrap();
    house
}

#[tokio::test]
async fn a_project_is_made_described_and_removed() {
    let house = House::new().await;
    let new = json!({"name": "mill", "description": " Grinds. "});
    let with_key = || {
        let mut request = posted("/api/v1/projects", &new);
        request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        request
    };
    let made = house.send(with_key()).await;
    assert_eq!((made.header("location"), made.header("etag")), ("/api/v1/projects/mill", "\"1\""));
    let project = made.ok(201);
    assert_eq!((&project["description"], &project["version"]), (&json!("Grinds."), &json!(1)));
    let again = house.send(with_key()).await;
    assert_eq!((again.header("idempotency-replayed"), again.ok(201)), ("true", project.clone()));
    house.post("/api/v1/projects", &new).await.problem(409, "project_exists");
    let bad = house.post("/api/v1/projects", &json!({"name": "No Good"})).await;
    assert_eq!(bad.problem(422, "invalid_input")["errors"][0]["pointer"], "/name");

    let change = json!({"description": "Ground."});
    let old = Some(("if-match", "\"7\""));
    house
        .send(sent("PATCH", "projects/mill", old, &change))
        .await
        .problem(412, "precondition_failed");
    let current = Some(("if-match", "\"1\""));
    let changed = house.send(sent("PATCH", "projects/mill", current, &change)).await;
    assert_eq!(
        (changed.header("etag"), &changed.ok(200)["description"]),
        ("\"2\"", &json!("Ground."))
    );
    let same = house.send(sent("PATCH", "projects/mill", None, &json!({}))).await;
    assert_eq!(same.ok(200)["description"], "Ground.", "what is absent stays");
    let none = house.send(sent("PATCH", "projects/mill", None, &json!({"description": ""}))).await;
    assert_eq!(none.ok(200).get("description"), None);

    for name in ["a", "z"] {
        house.post("/api/v1/projects", &json!({"name": name})).await.ok(201);
    }
    let first = house.get("/api/v1/projects?limit=2").await;
    assert!(first.header("link").contains("rel=\"next\""));
    let first = first.ok(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let next = house.get(&format!("/api/v1/projects?limit=2&cursor={cursor}")).await.ok(200);
    let names: Vec<_> = [&first, &next]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|project| project["name"].as_str().unwrap())
        .collect();
    assert_eq!((names, next.get("next_cursor")), (vec!["a", "mill", "z"], None));

    let remove = |name: &str| sent("DELETE", &format!("projects/{name}"), None, &Value::Null);
    house
        .send(sent("DELETE", "projects/mill", old, &Value::Null))
        .await
        .problem(412, "precondition_failed");
    assert_eq!(house.send(remove("mill")).await.status, 204);
    house.send(remove("mill")).await.problem(404, "not_found");
}

#[tokio::test]
async fn what_belongs_to_a_project_keeps_it() {
    let house = House::new().await;
    house.submit(json!({})).await;
    house.post("/api/v1/exemptions", &exemption(Some("shop"))).await.ok(201);
    let set = sent("PUT", "gates/settings?project=shop", None, &json!({}));
    house.send(set).await.ok(200);
    let removal = house.send(sent("DELETE", "projects/shop", None, &Value::Null)).await;
    let detail = removal.problem(409, "project_in_use")["detail"].clone();
    assert_eq!(
        detail,
        "The project shop has 1 stacks, 1 settings of gates, 1 exemptions that hold; it can be \
         removed when it has none."
    );
}

#[tokio::test]
async fn a_membership_gives_what_its_roles_give_until_it_ends() {
    let house = with_accounts().await;
    house.submit(json!({})).await;
    let at = format!("projects/shop/members/{}", account(1));
    let put = |condition, roles: Value| sent("PUT", &at, condition, &json!({"roles": roles}));
    house.send(put(None, json!([]))).await.problem(422, "invalid_input");
    house.send(put(None, json!(["king"]))).await.problem(422, "invalid_input");
    let made = house.send(put(Some(("if-none-match", "*")), json!(["viewer"]))).await;
    assert_eq!((made.header("etag"), &made.ok(200)["roles"]), ("\"1\"", &json!(["viewer"])));
    let again = house.send(put(Some(("if-none-match", "*")), json!(["admin"]))).await;
    again.problem(412, "precondition_failed");
    let more = house.send(put(Some(("if-match", "\"1\"")), json!(["developer", "approver"]))).await;
    assert_eq!(more.ok(200)["version"], 2);
    let listed = house.get("/api/v1/projects/shop/members").await.ok(200);
    assert_eq!(listed["items"][0]["account_id"], account(1));

    let id: AccountId = account(1).parse().unwrap();
    let grants = async || {
        let mut tx = house.cx.store.read().await.unwrap();
        slipway_services::member::grants(&mut tx, id).await.unwrap()
    };
    let held = grants().await;
    assert!(held.may_in("shop", Scope::DeploymentsApprove) && !held.sees("bank"));
    assert_eq!(held.roles_in("shop"), [Role::Developer, Role::Approver].into());
    assert_eq!(house.send(sent("DELETE", &at, None, &Value::Null)).await.status, 204);
    house.send(sent("DELETE", &at, None, &Value::Null)).await.problem(404, "not_found");
    assert_eq!(grants().await, Grants::default());
    house.get("/api/v1/projects/nowhere/members").await.problem(404, "not_found");
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_have() {
    let house = with_accounts().await;
    house.submit(json!({})).await;
    let admin = Grants::of([(Some("shop"), &[Role::Admin].into())]);
    let who = |grants: &Grants| Principal::new(Principal::local(Door::Rest).actor, grants.clone());
    let put = |place: &str, role: &str| {
        let at = format!("{place}members/{}", account(1));
        sent("PUT", &at, None, &json!({"roles": [role]}))
    };
    // An admin's token that is for members only does not make another admin.
    let few = [Scope::AdminProjects, Scope::StacksRead].into();
    let narrow = who(&admin.narrowed(&few, None));
    let refused = as_one(&house, &narrow, put("projects/shop/", "admin")).await;
    assert!(
        refused.problem(403, "forbidden")["detail"].as_str().unwrap().contains("can neither give")
    );
    as_one(&house, &who(&admin), put("projects/shop/", "admin")).await.ok(200);
    // Nor unmakes one.
    as_one(&house, &narrow, put("projects/shop/", "viewer")).await.problem(403, "forbidden");
    let remove =
        sent("DELETE", &format!("projects/shop/members/{}", account(1)), None, &Value::Null);
    as_one(&house, &narrow, remove).await.problem(403, "forbidden");
    // Being an admin of a project is nothing in the house, nor in another project.
    as_one(&house, &who(&admin), put("", "viewer")).await.problem(403, "forbidden");
    as_one(&house, &who(&admin), put("projects/bank/", "viewer")).await.problem(404, "not_found");
}

#[tokio::test]
async fn the_last_admin_of_the_house_stays_one() {
    let house = with_accounts().await;
    let put = |number: u8, role: &str| {
        sent("PUT", &format!("members/{}", account(number)), None, &json!({"roles": [role]}))
    };
    let remove =
        |number: u8| sent("DELETE", &format!("members/{}", account(number)), None, &Value::Null);
    house.send(put(1, "admin")).await.ok(200);
    house.send(put(2, "operator")).await.ok(200);
    house.send(put(1, "viewer")).await.problem(409, "last_admin");
    house.send(remove(1)).await.problem(409, "last_admin");
    house.send(put(2, "admin")).await.ok(200);
    assert_eq!(house.send(remove(1)).await.status, 204);
    house.send(remove(2)).await.problem(409, "last_admin");
    assert_eq!(house.get("/api/v1/members").await.ok(200)["items"][0]["roles"], json!(["admin"]));
}
