//! Plans, as everybody may see them.

use slipway_domain::access::{Principal, Scope};
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::DeploymentId;
use slipway_domain::plan::Plan;

use crate::Ctx;
use crate::access::read_deployment;

/// The current plan of a deployment.
pub async fn get(cx: &Ctx, who: &Principal, of: DeploymentId) -> Result<Plan, Fault> {
    let mut tx = cx.store.read().await?;
    let record = read_deployment(&mut tx, who, of, Scope::DeploymentsRead).await?;
    match tx.latest_plan(of).await? {
        Some(found) => Ok(found.plan),
        None => Err(Fault::new(
            Code::NotReady,
            format!("The deployment is {} and has no plan.", record.deployment.state),
        )),
    }
}
