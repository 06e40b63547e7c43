//! What is left of an apply whose worker is killed as nothing can be caught.

use std::time::{Duration, Instant};

use slipway_domain::deployment::{Operation, Options};
use slipway_domain::state::DeploymentState as S;
use slipway_services::deployment::Submit;

use super::broker::Transport;
use super::fleet::Role;
use super::proc;
use super::rig::{LEASE_S, Rig};
use super::run::ready;
use crate::harness::{PATIENCE, digest, key, until};

/// How a worker goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// `kill -9`.
    Killed,
    /// SIGSTOP, and nobody lets it go on.
    Frozen,
}

/// From the moment on in which the house says that an apply is lost, nothing of it may go on: a
/// person may set the stack free at any time then.
pub(super) async fn nothing_goes_on_after_a_lost_apply(end: End) {
    let rig = Rig::new(Transport::Embedded).await;
    rig.fleet.add_api();
    let worker = rig.fleet.add_worker("plan=1,apply=1", Vec::new());
    let client = rig.fleet.clients().remove(0);
    ready(&client).await;
    let source = Rig::source(&client).await;
    let request = Submit {
        stack: key("orphan"),
        source: Some(source),
        variables: [
            ("ledger".to_owned(), rig.ledger.display().to_string().into()),
            ("deployment".to_owned(), "orphan".into()),
            ("resources".to_owned(), 1.into()),
            ("seconds".to_owned(), 45.into()),
        ]
        .into(),
        operation: Operation::Deploy,
        options: Options::default(),
    };
    let id = client.submit(&request, None).await.unwrap().id;
    let planned = until(&client, id, &[S::AwaitingApproval]).await;
    client.approve(id, digest(&planned), None).await.unwrap();
    let began = Instant::now();
    while !rig.ledger.exists() {
        assert!(began.elapsed() < PATIENCE, "the apply does not begin");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rig.fleet.of(Role::Worker), [worker]);
    let fleet = rig.fleet.clone();
    let its_own = move |p: &&proc::Proc| p.run().is_some() && p.is_below(fleet.dir());
    let runs = move || proc::all().iter().filter(&its_own).count();
    assert!(runs() > 0, "there is something to end");
    match end {
        End::Killed => rig.fleet.kill(worker, false),
        End::Frozen => rig.fleet.freeze(worker, false),
    }
    let gone = Instant::now();
    let watch = runs.clone();
    let seen = tokio::spawn(async move {
        let mut last = gone.elapsed();
        while watch() > 0 && gone.elapsed() < Duration::from_mins(1) {
            last = gone.elapsed();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        last
    });
    // The API's own loops close the job.
    until(&client, id, &[S::Recovering]).await;
    let lost = gone.elapsed();
    let left = runs();
    let last = seen.await.unwrap();
    let ledger = std::fs::read_to_string(&rig.ledger).unwrap();
    println!(
        "lost after {lost:?}, its last process was seen after {last:?}; the ledger:\n{ledger}"
    );
    assert_eq!(left, 0, "{left} processes of the lost apply go on; the last one until {last:?}");
    // The last heartbeat was before that.
    assert!(last < Duration::from_secs(LEASE_S), "its lease was over before: {last:?}");
}
