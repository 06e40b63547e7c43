//! What is secret stays so, also where nobody looks.

use serde_json::json;
use slipway_domain::deployment::{Operation, Output};
use slipway_domain::port::driver::Health;
use slipway_domain::port::driver::{Applied, StateBlob};
use slipway_services::deployment::{self, Submit};
use slipway_services::execution;

use crate::rig::{Rig, blob, on_both_engines};

on_both_engines! {
    a_teardown_hides_what_its_configuration_hides,
    nothing_that_a_worker_gets_can_be_printed_in_clear,
    the_stored_hash_of_a_request_says_nothing_of_its_secrets,
}

async fn a_teardown_hides_what_its_configuration_hides(rig: Rig) {
    let (first, job, lease) = rig.applying("net").await;
    execution::save_state(&rig.cx, &job, &lease, blob(1, b"one")).await.unwrap();
    let applied = Applied { outputs: Vec::new(), state: rig.mark(first).await };
    execution::apply_finished(&rig.cx, &job, &lease, &applied).await.unwrap();
    execution::verified(&rig.cx, &job, &lease, Health::Healthy).await.unwrap();
    let mut request = Submit {
        source: None,
        operation: Operation::Destroy,
        variables: [("token".to_owned(), json!("s3cret-token"))].into(),
        ..rig.request("net").await
    };
    let destroy = deployment::submit(&rig.cx, &rig.who, request.clone(), None).await.unwrap();
    let shown = destroy.deployment.variables;
    assert_eq!(shown["token"], json!("***"), "given anew");
    assert_eq!(shown["password"], json!("***"), "kept from before");
    assert_eq!(shown["region"], json!("eu-west-1"), "not secret");
    request.variables.insert("nonsense".into(), json!(1));
    let refused = deployment::submit(&rig.cx, &rig.who, request, None).await.unwrap_err();
    assert_eq!(refused.errors[0].pointer, "/variables/nonsense");
}

async fn nothing_that_a_worker_gets_can_be_printed_in_clear(rig: Rig) {
    let request = rig.request("net").await;
    assert!(!format!("{request:?}").contains("hunter2"), "{request:?}");
    let (_, job, lease) = rig.planning("net").await;
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(!format!("{begun:?}").contains("hunter2"), "{begun:?}");
    let (_, job, lease) = rig.applying("db").await;
    let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
    assert!(!format!("{begun:?}").contains("hunter2"), "{begun:?}");
    let plan = crate::rig::plan_of(slipway_domain::plan::StateMark::default());
    assert!(!format!("{plan:?}").contains("hunter2"), "{plan:?}");
    let output = Output {
        name: "key".into(),
        value: json!("hunter2"),
        sensitive: true,
        kind: json!("string"),
    };
    assert!(!format!("{output:?}").contains("hunter2"), "{output:?}");
    let state = StateBlob { content: bytes::Bytes::from_static(b"hunter2"), ..blob(1, b"") };
    assert!(!format!("{state:?}").contains("hunter2"), "{state:?}");
}

async fn the_stored_hash_of_a_request_says_nothing_of_its_secrets(rig: Rig) {
    let request = rig.request("net").await;
    deployment::submit(&rig.cx, &rig.who, request.clone(), Some("k")).await.unwrap();
    let key = slipway_store::idempotency::Key {
        principal: rig.who.actor.id.clone(),
        operation: "deployment.submit".into(),
        key: "k".into(),
    };
    let mut tx = rig.cx.store.read().await.unwrap();
    let stored = tx.idempotent_answer(&key, rig.cx.now()).await.unwrap().unwrap();
    // Who has the table could otherwise try passwords against it.
    let guess = serde_json::to_value(&request).unwrap().to_string();
    assert_ne!(stored.request_hash, slipway_domain::artifact::digest(guess.as_bytes()));
    assert!(!stored.answer.contains("hunter2"));
}
