//! API and workers as processes of their own, which a broker connects.
//!
//! The database is asked so seldom here that whatever goes on is brought by the broker.

use std::time::{Duration, Instant};

use slipway_domain::event::EventBody;
use slipway_domain::state::DeploymentState as S;
use slipway_services::health::Status;

use crate::harness::{
    Broker, Installation, PATIENCE, Rabbit, Redis, deployed, digest, hello, planned, request,
    template, until, upload,
};

/// Polls and heartbeats that come too late for any test.
fn seldom() -> Vec<(String, String)> {
    [
        ("SLIPWAY_WORKER_POLL_S", "300"),
        ("SLIPWAY_WORKER_HEARTBEAT_S", "120"),
        ("SLIPWAY_WORKER_LEASE_S", "600"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

async fn healthy(client: &slipway_app::client::http::Client, wanted: Status) {
    let end = Instant::now() + PATIENCE;
    loop {
        let health = client.health().await.unwrap();
        if health.status == wanted {
            return;
        }
        assert!(Instant::now() < end, "{health:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn separate_processes_deploy_over_redis() {
    separate_processes_deploy(Redis::stopped()).await;
}

#[tokio::test]
async fn separate_processes_deploy_over_rabbitmq() {
    separate_processes_deploy(Rabbit::shared()).await;
}

async fn separate_processes_deploy<B: Broker>(mut broker: B) {
    broker.start().await;
    let mut env = broker.env();
    env.extend(seldom());
    // Nothing is rung a second time.
    env.push(("SLIPWAY_QUEUE_RELAY_INTERVAL_MS".into(), "60000".into()));
    let installation = Installation::new(env).await;
    let (first, one) = installation.api().await;
    let (second, two) = installation.api().await;
    let planner = installation.worker("plan=2");
    let applier = installation.worker("apply=1");
    planner.says(B::CONNECTED).await;
    applier.says(B::CONNECTED).await;
    healthy(&one, Status::Ok).await;

    deployed(&one, &request("hello", template("hello"), hello("pools"))).await;

    // What is submitted at one is followed at the other, while two workers do it.
    let submit = request("other", template("hello"), hello("again"));
    let accepted = two.submit(&submit, None).await.unwrap();
    let mut events = one.events(accepted.id, 0);
    let planned_in = Instant::now();
    let waits = async {
        while let Some(event) = events.next().await.unwrap() {
            if let EventBody::StateChanged { to: S::AwaitingApproval, .. } = event.body {
                return;
            }
        }
        panic!("the events ended");
    };
    tokio::time::timeout(PATIENCE, waits).await.expect("no event comes");
    println!("planned and told in {:?}", planned_in.elapsed());
    let waiting = one.deployment(accepted.id).await.unwrap();
    one.approve(waiting.id, digest(&waiting), None).await.unwrap();
    until(&two, waiting.id, &[S::Succeeded]).await;
    for process in [first, second, planner, applier] {
        assert!(process.ends().await);
    }
}

#[tokio::test]
async fn a_request_to_cancel_reaches_the_worker_over_redis() {
    a_request_to_cancel_reaches_the_worker(Redis::stopped()).await;
}

#[tokio::test]
async fn a_request_to_cancel_reaches_the_worker_over_rabbitmq() {
    a_request_to_cancel_reaches_the_worker(Rabbit::shared()).await;
}

async fn a_request_to_cancel_reaches_the_worker<B: Broker>(mut broker: B) {
    broker.start().await;
    let mut env = broker.env();
    env.extend(seldom());
    let installation = Installation::new(env).await;
    let (_api, client) = installation.api().await;
    let _worker = installation.worker("plan=1,apply=1");
    let source = upload(&client, "slow").await;
    let variables = [("seconds".to_owned(), 600.into())].into();
    let first = planned(&client, &request("slow", source, variables)).await;
    client.approve(first.id, digest(&first), None).await.unwrap();
    until(&client, first.id, &[S::Applying]).await;
    let mut events = client.events(first.id, 0);
    let begins = async {
        while let Some(event) = events.next().await.unwrap() {
            if matches!(&event.body, EventBody::Resource { address, .. }
                if address == "terraform_data.step_1")
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, begins).await.expect("the apply does not begin");
    let asked = Instant::now();
    client.cancel(first.id, None).await.unwrap();
    until(&client, first.id, &[S::Cancelled]).await;
    println!("cancelled in {:?}", asked.elapsed());
    // No heartbeat has looked since.
    assert!(asked.elapsed() < Duration::from_mins(1), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_redis_that_comes_late_goes_and_is_emptied_costs_nothing_but_time() {
    comes_late_goes_and_is_emptied(Redis::stopped()).await;
}

#[tokio::test]
async fn a_rabbitmq_that_comes_late_goes_and_is_emptied_costs_nothing_but_time() {
    comes_late_goes_and_is_emptied(Rabbit::stopped().await).await;
}

async fn comes_late_goes_and_is_emptied<B: Broker>(mut broker: B) {
    let mut env = broker.env();
    env.extend(seldom());
    let installation = Installation::new(env).await;
    let (_api, client) = installation.api().await;
    let worker = installation.worker("plan=2,apply=2");
    let _other = installation.worker("plan=2,apply=2");
    // Work is accepted, and it is said that it will be slow.
    let health = client.health().await.unwrap();
    assert_eq!(health.status, Status::Degraded, "{health:?}");
    let said = health.dependencies.iter().find(|d| d.name == "transport").unwrap();
    assert!(said.kind == B::KIND && said.detail.is_some(), "{said:?}");
    let early =
        client.submit(&request("early", template("hello"), hello("early")), None).await.unwrap();
    worker.says(B::AWAY).await;
    broker.start().await;
    let early = until(&client, early.id, &[S::AwaitingApproval]).await;
    healthy(&client, Status::Ok).await;

    broker.stop();
    client.approve(early.id, digest(&early), None).await.unwrap();
    healthy(&client, Status::Degraded).await;
    broker.start().await;
    until(&client, early.id, &[S::Succeeded]).await;

    broker.empty().await;
    deployed(&client, &request("late", template("hello"), hello("late"))).await;
}
