//! Queues, jobs and workers, for operators.

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use slipway_domain::job::Queue;

use crate::house::{House, path};

async fn put(house: &House, path: &str, body: &Value) -> crate::house::Answer {
    let request = Request::put(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    house.send(request).await
}

async fn stats(house: &House, queue: &str) -> Value {
    house.get("/api/v1/queues/stats").await.ok(200)["queues"][queue].clone()
}

async fn only_job(house: &House) -> Value {
    let jobs = house.get("/api/v1/jobs").await.ok(200);
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1, "{jobs}");
    jobs["items"][0].clone()
}

#[tokio::test]
async fn what_is_in_a_queue_is_told_for_people_and_autoscalers() {
    let house = House::new().await;
    assert_eq!(stats(&house, "plan").await["desired"], 0);
    house.submit(json!({})).await;
    house.submit(json!({})).await;
    let plan = stats(&house, "plan").await;
    assert_eq!(
        (&plan["waiting"], &plan["desired"], &plan["running"]),
        (&json!(2), &json!(2), &json!(0))
    );
    assert!(plan["oldest_wait_s"].is_number());
    put(&house, "/api/v1/queues/plan", &json!({"cap": 1})).await.ok(200);
    assert_eq!(stats(&house, "plan").await["desired"], 1, "not more than the cap");
    let queues = house.get("/api/v1/queues").await.ok(200);
    let names: Vec<_> = queues["items"].as_array().unwrap().iter().map(|q| &q["name"]).collect();
    assert_eq!(names, ["apply", "plan", "test"]);
    assert_eq!(queues["items"][1]["cap"], 1);
    let free = put(&house, "/api/v1/queues/plan", &json!({"cap": null})).await.ok(200);
    assert!(free.get("cap").is_none());
}

#[tokio::test]
async fn a_paused_queue_says_who_stopped_it_and_why_until_it_is_resumed() {
    let house = House::new().await;
    house.submit(json!({})).await;
    let paused =
        house.post("/api/v1/queues/plan/pause", &json!({"reason": "provider down"})).await.ok(200);
    assert_eq!(paused["paused"]["reason"], "provider down");
    assert_eq!(paused["paused"]["by"]["id"], "local");
    assert_eq!(paused["desired"], 0, "it starts nothing");
    house.post("/api/v1/queues/plan/pause", &json!({})).await.ok(200);
    let resumed = house.post("/api/v1/queues/plan/resume", &json!({})).await.ok(200);
    assert!(resumed.get("paused").is_none());
    assert_eq!(resumed["desired"], 1);
    house.plan().await;
}

#[tokio::test]
async fn what_is_no_queue_and_what_is_no_cap_is_refused() {
    let house = House::new().await;
    house.post("/api/v1/queues/plans/pause", &json!({})).await.problem(404, "not_found");
    for cap in [json!(0), json!(-1), json!("many"), json!(200_000)] {
        let answer = put(&house, "/api/v1/queues/plan", &json!({"cap": cap})).await;
        answer.problem(422, "invalid_input");
    }
    put(&house, "/api/v1/queues/plan", &json!({})).await.problem(422, "invalid_input");
    let long = json!({"reason": "x".repeat(2001)});
    house.post("/api/v1/queues/plan/pause", &long).await.problem(422, "invalid_input");
    house.get("/api/v1/jobs?queue=nope").await.problem(422, "invalid_input");
    house.get("/api/v1/jobs/job_00000000000000000000000000000000").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_job_whose_attempts_are_used_up_is_dead_until_it_is_requeued() {
    let house = House::new().await;
    let deployment = house.submit(json!({})).await;
    house.die(Queue::Plan).await;
    let dead = only_job(&house).await;
    assert_eq!((&dead["state"], &dead["attempt"]), (&json!("dead"), &json!(3)));
    assert!(dead["last_error"].as_str().unwrap().contains("the registry is away"), "{dead}");
    assert_eq!(stats(&house, "plan").await["dead"], 1);
    let failed = house.get(&path(&deployment)).await.ok(200);
    assert_eq!(failed["state"], "failed");

    let at = format!("/api/v1/jobs/{}/requeue", dead["id"].as_str().unwrap());
    let queued = house.post(&at, &json!({})).await.ok(200);
    assert_eq!(
        (&queued["id"], &queued["state"], &queued["attempt"]),
        (&dead["id"], &json!("queued"), &json!(0))
    );
    let again = house.get(&path(&deployment)).await.ok(200);
    assert_eq!(again["state"], "submitted");
    assert!(again.get("failure").is_none() && again.get("ended_at").is_none(), "{again}");
    let refused = house.post(&at, &json!({})).await;
    refused.problem(409, "job_not_dead");
    house.plan().await;
    assert_eq!(house.get(&path(&deployment)).await.ok(200)["state"], "awaiting_approval");
}

#[tokio::test]
async fn many_dead_jobs_are_requeued_or_purged_at_once() {
    let house = House::new().await;
    for _ in 0..3 {
        house.submit(json!({})).await;
        house.die(Queue::Plan).await;
    }
    let none = house.post("/api/v1/jobs/requeue", &json!({"project": "other"})).await.ok(200);
    assert_eq!((&none["job_ids"], &none["remaining"]), (&json!([]), &json!(false)));
    let wrong = house.post("/api/v1/jobs/requeue", &json!({"state": "lost"})).await;
    wrong.problem(422, "invalid_input");
    let done = house.post("/api/v1/jobs/requeue", &json!({"queue": "plan"})).await.ok(200);
    assert_eq!(done["job_ids"].as_array().unwrap().len(), 3, "{done}");
    assert_eq!(stats(&house, "plan").await["waiting"], 3);

    house
        .post("/api/v1/jobs/purge", &json!({"state": "queued"}))
        .await
        .problem(422, "invalid_input");
    house.die(Queue::Plan).await;
    let purged = house.post("/api/v1/jobs/purge", &json!({})).await.ok(200);
    assert_eq!(purged["job_ids"].as_array().unwrap().len(), 1);
    assert_eq!(stats(&house, "plan").await["dead"], 0);
    assert_eq!(stats(&house, "plan").await["waiting"], 2);
}

#[tokio::test]
async fn only_operators_may_go_first() {
    let house = House::new().await;
    let high = house.submit(json!({"priority": "high"})).await;
    assert_eq!(high["options"]["priority"], "high");
    house.submit(json!({"priority": "low"})).await;
    let mut body = crate::house::submission();
    body["options"] = json!({"priority": "urgent"});
    house.post("/api/v1/deployments", &body).await.problem(422, "invalid_input");
}
