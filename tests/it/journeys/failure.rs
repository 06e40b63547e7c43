//! What Terraform refuses, in plan and in apply: `failed`, with the diagnostic and the log kept.

use slipway_domain::event::EventBody;
use slipway_domain::state::DeploymentState as S;
use slipway_services::log::Part;

use crate::harness::{Server, digest, planned, request, until, upload};

#[tokio::test]
async fn a_failing_plan_ends_with_its_diagnostic_and_place() {
    let server = Server::start().await;
    let client = &server.client;
    let source = upload(client, "failing-plan").await;
    let accepted = client.submit(&request("bad", source, [].into()), None).await.unwrap();
    let failed = until(client, accepted.id, &[S::Failed]).await;
    let failure = failed.failure.unwrap();
    assert_eq!(failure.during, S::Planning);
    let diagnostic = &failure.diagnostics[0];
    assert_eq!(diagnostic.summary, "Invalid index");
    assert!(diagnostic.detail.contains("does not identify an element"), "{diagnostic:?}");
    assert_eq!((diagnostic.file.as_deref(), diagnostic.line), (Some("main.tf"), Some(14)));
    assert!(diagnostic.column.is_some());
    let log = client.log_page(failed.id, Part::After(0), 1000).await.unwrap();
    assert!(log.complete && log.items.iter().any(|l| l.text.contains("Invalid index")), "{log:?}");
    let events = client.event_page(failed.id, 0, 1000).await.unwrap();
    assert!(events.iter().any(|e| matches!(&e.body, EventBody::Diagnostic { .. })));
    assert!(client.plan(failed.id).await.is_err(), "there is no plan");
}

#[tokio::test]
async fn a_failing_apply_keeps_what_was_made_and_the_next_one_goes_on() {
    let server = Server::start().await;
    let client = &server.client;
    let source = upload(client, "failing-apply").await;
    let submit = request("bad", source, [].into());
    let first = planned(client, &submit).await;
    client.approve(first.id, digest(&first), None).await.unwrap();
    let failed = until(client, first.id, &[S::Failed]).await;
    let failure = failed.failure.unwrap();
    assert_eq!(failure.during, S::Applying);
    let diagnostic = &failure.diagnostics[0];
    assert!(diagnostic.summary.contains("local-exec"), "{diagnostic:?}");
    assert_eq!((diagnostic.file.as_deref(), diagnostic.line), (Some("main.tf"), Some(21)));
    assert_eq!(diagnostic.address.as_deref(), Some("terraform_data.third"));
    let log = client.log_page(first.id, Part::After(0), 1000).await.unwrap();
    assert!(log.items.iter().any(|l| l.text.contains("the third resource refuses")), "{log:#?}");
    let stack = client.stack(failed.stack_id).await.unwrap();
    assert_eq!(stack.state.unwrap().resource_count, 3, "two made, one tainted, one not begun");
    assert_eq!(stack.current_deployment, None);
    let mut mended = submit.clone();
    mended.variables.insert("exit_code".into(), 0.into());
    let second = planned(client, &mended).await;
    let plan = client.plan(second.id).await.unwrap();
    assert_eq!((plan.counts.replace, plan.counts.create), (1, 1), "{:#?}", plan.changes);
    client.approve(second.id, digest(&second), None).await.unwrap();
    until(client, second.id, &[S::Succeeded]).await;
}
