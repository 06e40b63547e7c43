//! Approval through the client's person.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use slipway_domain::Secret;
use slipway_domain::access::{Door as Through, Principal};
use slipway_services::auth::session;
use slipway_services::auth::sign_in::{self, Login, NewPerson};
use tokio::runtime::Handle;

use super::client::{Client, World};
use super::house::{House, change, creates};
use slipway_domain::plan::Action;

const OLDER: World = World::Older("2025-06-18");

fn can_ask() -> Value {
    json!({"elicitation": {}})
}

/// A deployment that waits for approval: its id and the arguments of a yes.
async fn waiting(house: &House, client: &Client) -> (String, Value) {
    let id = client.submit().await;
    let mut changes = creates(2);
    changes.push(change("aws_instance.db", Action::DeleteThenCreate));
    house.plan(changes).await;
    let plan = client.call("get_plan", json!({"deployment_id": id})).await;
    let digest = plan.ok()["plan_digest"].clone();
    let arguments = json!({"deployment_id": id, "plan_digest": digest});
    (id, arguments)
}

async fn state(client: &Client, id: &str) -> Value {
    client.call("get_deployment", json!({"deployment_id": id})).await.ok()["state"].clone()
}

#[tokio::test]
async fn an_older_client_asks_its_person_while_the_call_is_open() {
    let replies = [
        (json!({"action": "accept", "content": {"approve": true}}), Ok("approved")),
        (json!({"action": "accept", "content": {"approve": false}}), Err("did not tick it")),
        (json!({"action": "accept"}), Err("did not tick it")),
        (json!({"action": "decline"}), Err("declined")),
        (json!({"action": "cancel"}), Err("dismissed")),
    ];
    for (reply, expected) in replies {
        let house = House::new().await;
        let url = house.open().await;
        let mut client = Client::connect_with(&url, OLDER, can_ask()).await;
        assert!(client.session.is_some(), "a question needs a session");
        let (id, arguments) = waiting(&house, &client).await;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (asked.clone(), reply.clone());
        client.reply = Some(Box::new(move |question| {
            kept.lock().unwrap().push(question.clone());
            answer.clone()
        }));
        let answer = client.call("approve_deployment", arguments).await;
        match expected {
            Ok(state) => assert_eq!(answer.ok()["state"], state),
            Err(why) => {
                assert_eq!(answer.refused()["code"], "forbidden", "{reply}");
                let detail = answer.refused()["detail"].as_str().unwrap();
                assert!(detail.contains(why), "{detail}");
                assert_eq!(state(&client, &id).await, "awaiting_approval");
            }
        }
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0]["method"], "elicitation/create");
        let message = asked[0]["params"]["message"].as_str().unwrap();
        for part in ["shop/web/dev", "2 to create", "1 to replace", "aws_instance.db", &id] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(asked[0]["params"]["requestedSchema"]["required"], json!(["approve"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_is_worth_nothing_when_the_caller_was_put_out_meanwhile() {
    for put_out in [false, true] {
        let house = House::new().await;
        let local = Principal::local(Through::Internal);
        let secret = || Secret::new("correct horse battery".to_owned());
        let ann = NewPerson { name: "ann".to_owned(), email: None, password: secret() };
        sign_in::create_admin(&house.cx, &local, &ann).await.unwrap();
        let login = Login { name: "ann".to_owned(), password: secret() };
        let signed_in = sign_in::login(&house.cx, &local, &login).await.unwrap();
        let mut who = Principal::local(Through::Mcp);
        who.actor.id = signed_in.session.account_id.to_string();
        who.token = Some(signed_in.session.id.to_string());
        let url = house.open_as(Some(who.clone())).await;
        let mut client = Client::connect_with(&url, OLDER, can_ask()).await;
        let (id, arguments) = waiting(&house, &client).await;
        let cx = house.cx.clone();
        client.reply = Some(Box::new(move |_| {
            if put_out {
                let ended = session::logout(&cx, &who);
                tokio::task::block_in_place(|| Handle::current().block_on(ended)).unwrap();
            }
            json!({"action": "accept", "content": {"approve": true}})
        }));
        let answer = client.call("approve_deployment", arguments).await;
        if put_out {
            assert_eq!(answer.refused()["code"], "unauthenticated");
            assert_eq!(state(&client, &id).await, "awaiting_approval");
        } else {
            assert_eq!(answer.ok()["state"], "approved");
        }
    }
}

#[tokio::test]
async fn a_person_is_not_asked_for_what_would_be_refused() {
    for world in [OLDER, World::Stateless] {
        let house = House::new().await;
        let url = house.open().await;
        // It has no reply: a question would panic.
        let client = Client::connect_with(&url, world, can_ask()).await;
        let (id, mut arguments) = waiting(&house, &client).await;
        arguments["plan_digest"] = json!("sha256:other");
        let answer = client.call("approve_deployment", arguments.clone()).await;
        assert_eq!(answer.refused()["code"], "plan_digest_mismatch");
        client.call("cancel_deployment", json!({"deployment_id": id})).await.ok();
        let answer = client.call("approve_deployment", arguments).await;
        assert_eq!(answer.refused()["code"], "illegal_transition");
    }
}

#[tokio::test]
async fn another_replica_takes_a_session_over_and_a_forged_one_is_unknown() {
    let house = House::new().await;
    let mut client = Client::connect_with(&house.open().await, OLDER, can_ask()).await;
    client.url = house.open().await;
    client.reply = Some(Box::new(|_| json!({"action": "accept", "content": {"approve": true}})));
    let (id, arguments) = waiting(&house, &client).await;
    // The other replica still knows that this client can ask.
    client.call("approve_deployment", arguments).await.ok();
    assert_eq!(state(&client, &id).await, "approved");

    // To somebody else there is no such session: neither to be asked in, nor to be answered or ended.
    let own = client.url.clone();
    for (id, token) in [("mallory", None), ("local", Some("key_of_local"))] {
        let mut other = Principal::local(Through::Mcp);
        id.clone_into(&mut other.actor.id);
        other.token = token.map(str::to_owned);
        client.url = house.open_as(Some(other)).await;
        assert_eq!(client.request("tools/list", json!({})).await.status, 404, "{id}");
        assert_eq!(client.end_session().await, 404, "{id}");
    }
    client.url = own;
    assert_eq!(client.end_session().await, 204);
    let session = client.session.clone().unwrap();
    for forged in ["nonsense".to_owned(), format!("A{session}"), session[..40].to_owned()] {
        client.session = Some(forged);
        let answer = client.request("tools/list", json!({})).await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
}

#[tokio::test]
async fn a_stateless_client_gets_the_question_as_its_answer() {
    let house = House::new().await;
    let client = Client::connect_with(&house.open().await, World::Stateless, can_ask()).await;
    let (id, arguments) = waiting(&house, &client).await;
    let answer = client.call("approve_deployment", arguments.clone()).await;
    let question = answer.result();
    assert_eq!(question["resultType"], "input_required");
    assert_eq!(question["inputRequests"]["approve"]["method"], "elicitation/create");
    let sealed = question["requestState"].as_str().unwrap().to_owned();
    assert_eq!(state(&client, &id).await, "awaiting_approval");

    let retry = |arguments: &Value, state: &str, reply: Value| {
        let params = json!({
            "name": "approve_deployment",
            "arguments": arguments,
            "inputResponses": reply,
            "requestState": state,
        });
        client.request("tools/call", params)
    };
    let yes = json!({"approve": {"action": "accept", "content": {"approve": true}}});

    // Forged, cut, or about other arguments.
    let mut other = arguments.clone();
    other["comment"] = json!("something else");
    for (arguments, state) in [
        (&arguments, "nonsense".to_owned()),
        (&arguments, sealed[..sealed.len() - 4].to_owned()),
        (&other, sealed.clone()),
    ] {
        assert_eq!(retry(arguments, &state, yes.clone()).await.error(), -32602);
    }
    // No reply, or one to another question: asked again.
    for reply in [json!({}), json!({"other": {"action": "accept"}})] {
        let again = retry(&arguments, &sealed, reply).await;
        assert_eq!(again.result()["resultType"], "input_required");
    }
    let no = retry(&arguments, &sealed, json!({"approve": {"action": "decline"}})).await;
    assert_eq!(no.refused()["code"], "forbidden");
    assert_eq!(state(&client, &id).await, "awaiting_approval");
    // Too late: asked again.
    house.clock.advance(chrono::Duration::minutes(16));
    let late = retry(&arguments, &sealed, yes.clone()).await;
    assert_eq!(late.result()["resultType"], "input_required");
    let sealed = late.result()["requestState"].as_str().unwrap();
    assert_eq!(state(&client, &id).await, "awaiting_approval");

    let given = retry(&arguments, sealed, yes.clone()).await;
    assert_eq!(given.ok()["state"], "approved");
    let record = house.cx.store.read().await.unwrap().deployment(id.parse().unwrap()).await;
    let approval = record.unwrap().unwrap().deployment.approval.unwrap();
    assert_eq!(approval.comment.as_deref(), Some("confirmed by the person at the client"));
    // The same yes again changes nothing.
    assert_eq!(retry(&arguments, sealed, yes).await.refused()["code"], "illegal_transition");
}

#[tokio::test]
async fn a_client_that_can_only_open_urls_is_not_asked() {
    let house = House::new().await;
    let only_urls = json!({"elicitation": {"url": {}}});
    for world in [OLDER, World::Stateless] {
        let client = Client::connect_with(&house.open().await, world, only_urls.clone()).await;
        assert_eq!(client.session, None);
        let (_, arguments) = waiting(&house, &client).await;
        client.call("approve_deployment", arguments).await.ok();
        house.apply(Vec::new()).await;
    }
}
