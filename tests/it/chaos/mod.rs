//! Hundreds of deployments while everything around them dies, and a checker that looks at what is
//! left. Run it with `./test chaos`.
//!
//! Environment: `CHAOS_SEED` (drawn and printed when it is not set), `CHAOS_DEPLOYMENTS` (how many
//! in each run; 300). The same seed breaks the same things at the same moments and asks for the
//! same deployments; how the machine is busy meanwhile is not in its hands.

mod broker;
mod check;
mod clock;
mod fleet;
mod history;
mod load;
mod nemesis;
mod proc;
mod record;
mod rig;
mod run;
mod watch;

use broker::Transport;

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
