//! A plan that needs several people, over REST: two principals, one door.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use slipway_domain::access::{Door, Principal, Role};
use slipway_domain::approval::ApprovalRules;

use crate::house::{Answer, House, path, posted};

fn person(id: &str, roles: &[Role]) -> Principal {
    let mut who = Principal::local(Door::Rest);
    id.clone_into(&mut who.actor.id);
    who.grants.house.roles = roles.iter().copied().collect();
    who
}

async fn as_one(house: &House, who: &Principal, mut request: Request<Body>) -> Answer {
    request.extensions_mut().insert(who.clone());
    house.send(request).await
}

async fn say(house: &House, who: &Principal, at: &str, body: &Value) -> Answer {
    as_one(house, who, posted(at, body)).await
}

fn two_with_an_approver() -> ApprovalRules {
    serde_json::from_value(json!({"approvals": 2, "roles": ["approver"], "not_author": true}))
        .unwrap()
}

#[tokio::test]
async fn two_people_approve_and_one_thinks_again() {
    let house = House::asking(two_with_an_approver()).await;
    let at = path(&house.submit(json!({})).await);
    let none = house.get(&format!("{at}/approvals")).await.ok(200);
    assert_eq!(none, json!({"items": []}));
    house.plan().await;
    let digest = house.get(&format!("{at}/plan")).await.ok(200)["digest"].clone();
    let yes = json!({"plan_digest": digest, "comment": "fine"});
    let (approve, approvals) = (format!("{at}/approve"), format!("{at}/approvals"));
    let (ann, bob) = (person("ann", &[Role::Approver]), person("bob", &[Role::Admin]));

    let refused = house.post(&approve, &yes).await.problem(403, "forbidden");
    assert_eq!(
        refused["detail"],
        "local submitted this deployment, so it cannot approve it. Somebody else must: it needs 2 \
         approvals by an approver."
    );
    let dev = person("dev", &[Role::Developer]);
    let refused = say(&house, &dev, &approve, &yes).await.problem(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("2 approvals by an approver"));

    let first = say(&house, &ann, &approve, &yes).await.ok(200);
    assert_eq!(first["state"], "awaiting_approval");
    assert_eq!(
        first["approvals"],
        json!({"required": 2, "given": 1, "complete": false,
            "missing": ["an approver (every change needs 2 approvals)"]})
    );
    assert_eq!(say(&house, &ann, &approve, &yes).await.ok(200)["approvals"], first["approvals"]);
    let other = json!({"plan_digest": digest, "comment": "no, wait"});
    say(&house, &ann, &approve, &other).await.problem(409, "already_decided");
    let found = house.get(&at).await.ok(200);
    assert!(found["reason"].as_str().unwrap().starts_with("1 of 2 approvals"), "{found}");
    assert_eq!(found.get("approvals"), None, "it is in the answer to a decision only");

    let second = say(&house, &bob, &approve, &yes).await.ok(200);
    assert_eq!(
        (&second["state"], &second["approval"]["by"]["id"]),
        (&json!("approved"), &json!("bob"))
    );
    assert_eq!(second["approvals"]["complete"], true);

    let all = house.get(&approvals).await.ok(200);
    assert_eq!(all["need"]["verdict"], "needs_approval");
    assert_eq!(all["need"]["barred"][0]["actor_id"], "local");
    let item = &all["items"][0];
    assert_eq!((&item["plan_digest"], &item["roles"]), (&digest, &json!(["approver"])));
    let revoke = async |who: &Principal, query: &str| {
        let id = item["id"].as_str().unwrap();
        let request = Request::delete(format!("{approvals}/{id}{query}"));
        as_one(&house, who, request.body(Body::empty()).unwrap()).await
    };
    let not_hers = revoke(&dev, "").await.problem(403, "forbidden");
    assert!(not_hers["detail"].as_str().unwrap().contains("ann's"), "{not_hers}");
    revoke(&ann, "?why=x").await.problem(422, "invalid_input");
    let back = revoke(&ann, "?reason=not%20today").await.ok(200);
    assert_eq!(
        (&back["state"], &back["approvals"]["given"]),
        (&json!("awaiting_approval"), &json!(1))
    );
    let all = house.get(&approvals).await.ok(200);
    assert_eq!(all["items"][0]["revoked"]["reason"], "not today");
    assert_eq!(house.get("/api/v1/jobs?kind=apply&state=queued").await.ok(200)["items"], json!([]));

    assert_eq!(say(&house, &ann, &approve, &yes).await.ok(200)["state"], "approved");
    assert_eq!(house.apply().await.state.as_str(), "succeeded");
    revoke(&ann, "").await.problem(409, "illegal_transition");
    let events = house.get(&format!("{at}/events?format=json")).await.ok(200);
    let told: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] == "approval")
        .map(|event| (event["decision"].as_str().unwrap(), event["by"]["id"].as_str().unwrap()))
        .collect();
    let said = [("approve", "ann"), ("approve", "bob"), ("revoke", "ann"), ("approve", "ann")];
    assert_eq!(told, said);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_taken_back() {
    let house = House::new().await;
    let at = path(&house.submit(json!({})).await);
    let gone = format!("{at}/approvals/apr_{:032x}", 7);
    let request = Request::delete(&gone).header(header::HOST, "localhost:8000");
    house.send(request.body(Body::empty()).unwrap()).await.problem(404, "not_found");
    house.request("DELETE", &format!("{at}/approvals/dep_1")).await.problem(404, "not_found");
    let nobody = format!("/api/v1/deployments/dep_{:032x}/approvals", 9);
    house.get(&nobody).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_freeze_says_until_when_and_why() {
    let rules = json!({"freeze": [{
        "when": {"kind": "once", "from": "2025-12-23T00:00:00Z", "to": "2026-01-02T08:00:00Z"},
        "reason": "the holidays",
    }]});
    let house = House::asking(serde_json::from_value(rules).unwrap()).await;
    let at = path(&house.submit(json!({})).await);
    let planned = house.plan().await;
    let yes = json!({"plan_digest": planned.plan.unwrap().digest});
    let approved = house.post(&format!("{at}/approve"), &yes).await.ok(200);
    assert_eq!(approved["state"], "approved");
    let waiting =
        json!({"for": "freeze", "until": "2026-01-02T08:00:00Z", "reason": "the holidays"});
    assert_eq!(approved["waiting"], waiting);
    assert_eq!(house.get(&at).await.ok(200)["waiting"], waiting);
    house.begin_apply().await;
    assert_eq!(house.get(&at).await.ok(200)["state"], "approved", "nothing was begun");
    assert_eq!(
        house.get(&format!("{at}/approvals")).await.ok(200)["frozen"]["reason"],
        "the holidays"
    );
}
