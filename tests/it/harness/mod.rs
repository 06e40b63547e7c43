//! The rig of a journey: a server of its own, stacks, archives, and a typed client.

mod archive;
mod pool;
mod port;
mod postgres;
mod proxy;
mod rabbit;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use slipway_app::client::error::ClientError;
use slipway_app::client::http::Client;
use slipway_domain::deployment::{Deployment, Options, Variables};
use slipway_domain::id::DeploymentId;
use slipway_domain::source::Source;
use slipway_domain::stack::StackKey;
use slipway_domain::state::DeploymentState;
use slipway_services::deployment::Submit;

pub(crate) use archive::{Entry, tar_gz};
pub(crate) use pool::{Broker, Installation, Redis};
pub(crate) use port::quiet_port;
pub(crate) use postgres::{Postgres, Stop};
pub(crate) use proxy::{Mode, Proxy};
pub(crate) use rabbit::Rabbit;
pub(crate) use server::{Database, Server, command};

/// No step of a journey takes longer, on a busy machine either.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until a check succeeds.
pub(crate) async fn soon(what: &str, limit: Duration, check: impl AsyncFn() -> bool) {
    let end = tokio::time::Instant::now() + limit;
    while !check().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A stack of `tests/rig/stacks`.
pub(crate) fn stack_dir(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rig/stacks").join(name)
}

/// The top of the repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The provider mirror that `./test` builds.
pub(crate) fn provider_mirror() -> PathBuf {
    std::env::var_os("SLIPWAY_TEST_PROVIDER_MIRROR")
        .map(PathBuf::from)
        .expect("SLIPWAY_TEST_PROVIDER_MIRROR is not set; `./test journeys` builds the mirror")
}

pub(crate) fn key(name: &str) -> StackKey {
    StackKey { project: "tests".into(), name: name.into(), environment: "dev".into() }
}

/// A request for stack `name` from `source`.
pub(crate) fn request(name: &str, source: Source, variables: Variables) -> Submit {
    Submit {
        stack: key(name),
        source: Some(source),
        variables,
        operation: slipway_domain::deployment::Operation::Deploy,
        options: Options::default(),
    }
}

pub(crate) fn template(name: &str) -> Source {
    Source::Template { name: name.into(), version: None }
}

/// The variables of the template `hello`.
pub(crate) fn hello(name: &str) -> Variables {
    [("name".to_owned(), name.into())].into()
}

/// Uploads a stack of the rig and returns it as a source.
pub(crate) async fn upload(client: &Client, stack: &str) -> Source {
    let artifact = client.upload_directory(&stack_dir(stack), None).await.unwrap();
    Source::Archive { artifact_id: artifact.id, path: None }
}

/// Waits until the deployment is in one of `states`; fails when it ends elsewhere.
pub(crate) async fn until(
    client: &Client,
    id: DeploymentId,
    states: &[DeploymentState],
) -> Deployment {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let deployment = client.deployment(id).await.unwrap();
        if states.contains(&deployment.state) {
            return deployment;
        }
        assert!(
            !deployment.state.is_terminal() && tokio::time::Instant::now() < end,
            "waited for {states:?}, but it is {}: {:?} {:#?}",
            deployment.state,
            deployment.reason,
            deployment.failure
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Submits, and waits for the plan to want an approval.
pub(crate) async fn planned(client: &Client, request: &Submit) -> Deployment {
    let accepted = client.submit(request, None).await.unwrap();
    until(client, accepted.id, &[DeploymentState::AwaitingApproval]).await
}

/// The digest of the current plan.
pub(crate) fn digest(deployment: &Deployment) -> &str {
    &deployment.plan.as_ref().unwrap().digest
}

/// Submits, approves and waits for success.
pub(crate) async fn deployed(client: &Client, request: &Submit) -> Deployment {
    let planned = planned(client, request).await;
    client.approve(planned.id, digest(&planned), None).await.unwrap();
    until(client, planned.id, &[DeploymentState::Succeeded]).await
}

/// Status and code of a refusal.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (u16, String) {
    let error = result.expect_err("it should have been refused");
    let problem = error.problem().unwrap_or_else(|| panic!("not a refusal: {error}"));
    (problem.status, problem.code.clone())
}
