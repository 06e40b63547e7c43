//! Applies of thirty resources that are killed in the middle, and what becomes of them. Run it with
//! `./test killed-apply`.
//!
//! The ledger outside of the product is the truth: whatever it says was begun must be known as done,
//! or be named as in doubt; nothing that we make may be in it twice.
//!
//! Environment: `KILLED_APPLY_SEED` (drawn and printed when it is not set), `KILLED_APPLY_KILLS` (how
//! many applies are killed with their whole machine; 50).

mod ledger;
mod scene;

use scene::{Blow, Tally};

#[tokio::test]
async fn with_worker_and_process_group() {
    let kills = crate::chaos::run::number("KILLED_APPLY_KILLS").unwrap_or(50);
    let tally = scene::play(Blow::Tree, usize::try_from(kills).unwrap()).await;
    assert!(tally.interrupted > 0, "nothing was interrupted: {tally:?}");
}

#[tokio::test]
async fn with_the_worker_alone() {
    scene::play(Blow::Worker, 9).await;
}

#[tokio::test]
async fn with_a_machine_that_never_comes_back() {
    let tally = scene::play(Blow::Machine, 6).await;
    assert!(tally.asked > 0, "nobody was asked although the machine is gone: {tally:?}");
}

#[tokio::test]
async fn with_the_api_killed() {
    let tally = scene::play(Blow::Api, 6).await;
    assert_eq!(tally, Tally { succeeded: 6, ..Tally::default() }, "the API has no part in it");
}

#[tokio::test]
async fn with_a_worker_frozen_past_its_lease() {
    let tally = scene::play(Blow::Frozen, 6).await;
    assert!(tally.interrupted > 0, "nothing was interrupted: {tally:?}");
}

#[tokio::test]
async fn with_the_database_restarted() {
    scene::play(Blow::Database, 6).await;
}
