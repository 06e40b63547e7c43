//! Outputs of a deployment.

use slipway_domain::access::{Principal, Scope};
use slipway_domain::deployment::Output;
use slipway_domain::fault::{Code, Fault};
use slipway_domain::id::DeploymentId;
use slipway_domain::secret::MASK;
use slipway_domain::state::DeploymentState;

use crate::access::{self, read_deployment};
use crate::{Ctx, change};

/// The outputs; sensitive ones are masked unless `reveal` is asked for, which needs
/// `secrets:reveal` and goes on the audit log.
pub async fn get(
    cx: &Ctx,
    who: &Principal,
    of: DeploymentId,
    reveal: bool,
) -> Result<Vec<Output>, Fault> {
    let mut tx = cx.store.read().await?;
    let record = read_deployment(&mut tx, who, of, Scope::DeploymentsRead).await?;
    if reveal {
        access::project(who, &record.deployment.stack.project, Scope::SecretsReveal)?;
    }
    let outputs = tx.outputs(of).await?;
    drop(tx);
    // A plan that found nothing to do, of a configuration without outputs, keeps none.
    let none = record.deployment.state == DeploymentState::NoChanges;
    let outputs = outputs.or_else(|| none.then(Vec::new));
    let Some(mut outputs) = outputs else {
        return Err(Fault::new(
            Code::NotReady,
            format!("The deployment is {} and has no outputs.", record.deployment.state),
        ));
    };
    if reveal {
        let names: Vec<_> =
            outputs.iter().filter(|o| o.sensitive).map(|o| o.name.as_str()).collect();
        let mut tx = cx.store.begin().await?;
        let detail = serde_json::json!({"names": names});
        change::audit(cx, &mut tx, who, "output.reveal", of.to_string(), detail).await?;
        tx.commit().await?;
    } else {
        for output in outputs.iter_mut().filter(|o| o.sensitive) {
            output.value = MASK.into();
        }
    }
    Ok(outputs)
}
