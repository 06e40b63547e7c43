//! Hundreds of deployments while everything around them dies, and a checker that looks at what is
//! left. Run it with `./test chaos`.
//!
//! Environment: `CHAOS_SEED` (drawn and printed when it is not set), `CHAOS_DEPLOYMENTS` (how many
//! in each run; 300). The same seed breaks the same things at the same moments and asks for the
//! same deployments; how the machine is busy meanwhile is not in its hands.

pub(crate) mod broker;
mod check;
pub(crate) mod clock;
mod cut;
pub(crate) mod fleet;
mod history;
mod load;
mod nemesis;
mod orphan;
pub(crate) mod proc;
mod record;
pub(crate) mod rig;
pub(crate) mod run;
mod watch;

use broker::Transport;

use crate::harness::Mode;

#[tokio::test]
async fn database_only() {
    run::run(Transport::Embedded).await;
}

#[tokio::test]
async fn redis() {
    run::run(Transport::Redis).await;
}

#[tokio::test]
async fn rabbitmq() {
    run::run(Transport::RabbitMq).await;
}

#[tokio::test]
async fn cut_from_the_database_in_silence() {
    cut::from_the_database(Transport::Embedded, Mode::Drop).await;
}

#[tokio::test]
async fn cut_from_the_database_with_a_bang() {
    cut::from_the_database(Transport::Embedded, Mode::Reset).await;
}

#[tokio::test]
async fn cut_from_database_and_redis() {
    cut::from_the_database(Transport::Redis, Mode::Drop).await;
}

#[tokio::test]
async fn cut_from_database_and_rabbitmq() {
    cut::from_the_database(Transport::RabbitMq, Mode::Drop).await;
}

#[tokio::test]
async fn cut_from_redis_alone() {
    cut::from_the_broker(Transport::Redis, Mode::Drop).await;
}

#[tokio::test]
async fn cut_from_rabbitmq_alone() {
    cut::from_the_broker(Transport::RabbitMq, Mode::Drop).await;
}

#[tokio::test]
async fn a_killed_worker_leaves_nothing_running() {
    orphan::nothing_goes_on_after_a_lost_apply(orphan::End::Killed).await;
}

#[tokio::test]
async fn a_frozen_worker_leaves_nothing_running() {
    orphan::nothing_goes_on_after_a_lost_apply(orphan::End::Frozen).await;
}
