//! Following events and logs, to the end and from the middle.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use slipway_api::ApiOptions;

use crate::house::{House, path};

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Default)]
struct Message {
    event: String,
    id: String,
    data: Value,
}

fn messages(text: &str) -> Vec<Message> {
    text.split("\n\n")
        .filter_map(|block| {
            let mut message = Message::default();
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("event", value)) => value.clone_into(&mut message.event),
                    Some(("id", value)) => value.clone_into(&mut message.id),
                    Some(("data", value)) => message.data = serde_json::from_str(value).unwrap(),
                    _ => {}
                }
            }
            (!message.event.is_empty()).then_some(message)
        })
        .collect()
}

async fn finished(house: &House) -> String {
    let at = path(&house.submit(json!({})).await);
    let digest = house.plan().await.plan.unwrap().digest;
    house.post(&format!("{at}/approve"), &json!({"plan_digest": digest})).await.ok(200);
    house.apply().await;
    at
}

#[tokio::test]
async fn all_events_come_numbered_and_then_the_end() {
    let house = House::new().await;
    let at = finished(&house).await;
    let answer = house.get(&format!("{at}/events")).await;
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert!(answer.header("cache-control").contains("no-cache"));
    let all = messages(&answer.text());
    let (end, events) = all.split_last().unwrap();
    assert_eq!(end.event, "end");
    assert_eq!(end.data["state"], "succeeded");
    for (number, message) in events.iter().enumerate() {
        assert_eq!(message.id, (number + 1).to_string(), "without holes");
        assert_eq!(message.data["seq"], number + 1);
        assert_eq!(message.event, message.data["type"]);
    }
    assert_eq!(events[0].event, "submitted");

    // From the middle, either way, it is the same list.
    let resumed = Request::get(format!("{at}/events?after=1"))
        .header("last-event-id", "4")
        .body(Body::empty())
        .unwrap();
    assert_eq!(messages(&house.send(resumed).await.text()), all[4..]);
    assert_eq!(messages(&house.get(&format!("{at}/events?after=4")).await.text()), all[4..]);

    // As pages, too.
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page =
            house.get(&format!("{at}/events?format=json&limit=3&after={after}")).await.ok(200);
        seen.extend(page["items"].as_array().unwrap().clone());
        after = page["next_after"].as_i64().unwrap();
        if page["complete"] == true {
            break;
        }
    }
    let data: Vec<_> = events.iter().map(|m| m.data.clone()).collect();
    assert_eq!(seen, data);
    let only_json = Request::get(format!("{at}/events")).header(header::ACCEPT, "application/json");
    let page = house.send(only_json.body(Body::empty()).unwrap()).await.ok(200);
    assert_eq!(page["items"].as_array().unwrap().len(), events.len());
}

#[tokio::test]
async fn a_stream_tells_what_happens_while_it_is_open() {
    let house = House::new().await;
    let at = path(&house.submit(json!({})).await);
    let ask = Request::get(format!("{at}/events")).body(Body::empty()).unwrap();
    let mut body = house.open(ask).await.into_body();
    let mut text = String::new();
    let mut planned = false;
    while !text.contains("awaiting_approval") {
        let frame = tokio::time::timeout(Duration::from_secs(4), body.frame()).await;
        let frame = frame.expect("it is told, not found by looking again").unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        if !planned && text.contains("event: submitted") {
            planned = true;
            house.plan().await;
        }
    }
    house.post(&format!("{at}/cancel"), &json!({})).await.ok(202);
    text.push_str(std::str::from_utf8(&body.collect().await.unwrap().to_bytes()).unwrap());
    let all = messages(&text);
    assert_eq!(all.last().unwrap().data["state"], "cancelled");
}

#[tokio::test]
async fn a_log_is_read_in_pages_by_its_tail_or_followed() {
    let house = House::new().await;
    let at = finished(&house).await;
    let page = house.get(&format!("{at}/logs?limit=2")).await.ok(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert_eq!((page["next_after"].as_i64(), page["complete"].as_bool()), (Some(2), Some(false)));
    let rest = house.get(&format!("{at}/logs?after=2")).await.ok(200);
    assert_eq!(rest["complete"], true);
    let tail = house.get(&format!("{at}/logs?tail=1")).await.ok(200);
    assert_eq!(tail["items"][0]["text"], "Apply complete!");
    let followed = messages(&house.get(&format!("{at}/logs?follow=true&tail=2")).await.text());
    let ids: Vec<_> = followed.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(ids, ["3", "4", ""]);
    assert_eq!(followed[0].event, "line");
    assert_eq!(followed[2].event, "end");
    let resumed = Request::get(format!("{at}/logs?tail=2"))
        .header(header::ACCEPT, "text/event-stream")
        .header("last-event-id", "1")
        .body(Body::empty())
        .unwrap();
    assert_eq!(messages(&house.send(resumed).await.text()).len(), 4);
}

#[tokio::test]
async fn streams_end_with_the_process_and_at_their_longest() {
    let house = House::new().await;
    let at = path(&house.submit(json!({})).await);
    let (answer, ()) = tokio::join!(
        tokio::time::timeout(Duration::from_secs(4), async {
            house.get(&format!("{at}/events")).await
        }),
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            house.state.shutdown.cancel();
        }
    );
    let all = messages(&answer.expect("it ends").text());
    assert_eq!(all.len(), 1, "no `end`: the reader is to come back: {all:?}");

    let options = ApiOptions { stream_max: Duration::from_millis(100), ..Default::default() };
    let house = House::with(options).await;
    let at = path(&house.submit(json!({})).await);
    let events = format!("{at}/events");
    let answer = tokio::time::timeout(Duration::from_secs(4), house.get(&events)).await;
    assert_eq!(messages(&answer.expect("it ends").text()).len(), 1);
}

#[tokio::test]
async fn there_are_only_so_many_streams() {
    let house = House::with(ApiOptions { max_streams: 1, ..Default::default() }).await;
    let at = path(&house.submit(json!({})).await);
    let ask = || Request::get(format!("{at}/events")).body(Body::empty()).unwrap();
    let open = house.open(ask()).await;
    let refused = house.send(ask()).await;
    refused.problem(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), "5");
    drop(open);
    assert_eq!(house.open(ask()).await.status(), 200, "a closed one makes room");
    let nobody = "/api/v1/deployments/dep_00000000000000000000000000000000/events";
    house.get(nobody).await.problem(404, "not_found");
}
