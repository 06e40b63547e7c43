//! The program that a deployment asks for: refused when nobody could have it, and told to the driver.

use slipway_domain::deployment::Options as How;
use slipway_domain::fault::Code;
use slipway_domain::job::Queue;
use slipway_services::deployment::{self, Submit};
use slipway_services::execution::{self, Begun};

use crate::rig::{Rig, code, on_both_engines};

on_both_engines! {
    a_tool_that_is_asked_for_reaches_the_driver,
    a_tool_that_nobody_could_have_is_refused,
}

async fn a_tool_that_is_asked_for_reaches_the_driver(rig: Rig) {
    for asked in [Some("terraform 1.10.5"), None] {
        let how = How { tool: asked.map(str::to_owned), ..How::default() };
        let id = rig.submit_with(if asked.is_some() { "one" } else { "two" }, how).await;
        assert_eq!(rig.get(id).await.options.tool.as_deref(), asked);
        let (job, lease) = rig.claim(Queue::Plan).await.unwrap();
        let begun = execution::begin(&rig.cx, &job, &lease).await.unwrap();
        let Begun::Plan { input, .. } = begun else { panic!("{begun:?}") };
        assert_eq!(input.tool.map(|tool| tool.to_string()).as_deref(), asked);
    }
}

async fn a_tool_that_nobody_could_have_is_refused(rig: Rig) {
    for asked in ["pulumi", "terraform latest", "terraform 1.10.5; rm", ""] {
        let options = How { tool: Some(asked.to_owned()), ..How::default() };
        let request = Submit { options, ..rig.request("net").await };
        let refused = deployment::submit(&rig.cx, &rig.who, request, None).await;
        assert_eq!(code(refused), Code::InvalidInput, "{asked}");
    }
}
