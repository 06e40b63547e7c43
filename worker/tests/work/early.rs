//! Bells that come before the commit of what they ring for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use slipway_domain::id::{DeploymentId, JobId, RandomMint};
use slipway_domain::job::{Doorbell, Queue};
use slipway_domain::state::DeploymentState as S;
use slipway_queue::{Bells, Embedded, Signal, Transport, TransportError};
use sqlx::{Connection as _, Executor as _};
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

use super::postgres_and_url;

/// A transport in memory whose bells name their jobs, as those of brokers do. Nothing is faster.
#[derive(Debug, Default)]
struct Named {
    inner: Embedded,
    desk: Arc<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    waiting: Mutex<VecDeque<Doorbell>>,
    rung: Mutex<Vec<Doorbell>>,
    more: Notify,
}

struct NamedBells(Queue, Arc<Desk>);

#[async_trait]
impl Bells for NamedBells {
    async fn wait(&mut self) -> Result<Option<Doorbell>, TransportError> {
        loop {
            let mut more = std::pin::pin!(self.1.more.notified());
            more.as_mut().enable();
            let mine = {
                let mut waiting = self.1.waiting.lock().unwrap();
                let at = waiting.iter().position(|bell| bell.queue == self.0);
                at.and_then(|at| waiting.remove(at))
            };
            if let Some(bell) = mine {
                return Ok(Some(bell));
            }
            more.await;
        }
    }
}

#[async_trait]
impl Transport for Named {
    fn name(&self) -> &'static str {
        "named"
    }

    async fn ring(&self, bell: &Doorbell) -> Result<(), TransportError> {
        self.desk.rung.lock().unwrap().push(bell.clone());
        self.desk.waiting.lock().unwrap().push_back(bell.clone());
        self.desk.more.notify_waiters();
        Ok(())
    }

    async fn listen(&self, queue: Queue) -> Result<Box<dyn Bells>, TransportError> {
        Ok(Box::new(NamedBells(queue, self.desk.clone())))
    }

    async fn publish(&self, signal: Signal) -> Result<(), TransportError> {
        self.inner.publish(signal).await
    }

    fn signals(&self) -> broadcast::Receiver<Signal> {
        self.inner.signals()
    }

    async fn health(&self) -> Result<(), TransportError> {
        Ok(())
    }
}

/// Neither a poll nor the relay comes to help here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bell_may_come_before_its_job_is_committed() {
    let (mut rig, url) = postgres_and_url().await;
    let desk = Arc::new(Desk::default());
    rig.cx.transport = Arc::new(Named { inner: Embedded::default(), desk: desk.clone() });
    let mut db = sqlx::PgConnection::connect(&url).await.unwrap();
    db.execute(
        "create function pause() returns trigger language plpgsql as
             $$ begin perform pg_sleep(0.001); return null; end $$;
         create constraint trigger late after insert on jobs deferrable initially deferred
             for each row execute function pause()",
    )
    .await
    .unwrap();
    let worker = rig.start(false);
    for (stack, seconds) in [("quick", "0.001"), ("slow", "0.012"), ("stuck", "0.4")] {
        let function = format!(
            "create or replace function pause() returns trigger language plpgsql as
                 $$ begin perform pg_sleep({seconds}); return null; end $$"
        );
        db.execute(sqlx::AssertSqlSafe(function)).await.unwrap();
        for _ in 0..10 {
            desk.rung.lock().unwrap().clear();
            let id = rig.submit(stack, "document, the same").await;
            rig.until(id, S::NoChanges).await;
            let rung = desk.rung.lock().unwrap().clone();
            // On a busy machine any commit may be a long one.
            let most = rung.len() <= 2 && rung.iter().all(|bell| *bell == rung[0]);
            assert!(most, "{stack}: rung for {rung:?}");
            if stack == "stuck" {
                assert_eq!(rung.len(), 2, "nobody looks for so long: rung for once more");
                break;
            }
        }
    }
    rig.shutdown.drain.cancel();
    worker.await.unwrap();
}

/// A worker with two slots, and deployments that wait in its queue and of which nobody has been told.
async fn with_waiting(
    rig: &mut super::Rig,
    url: &str,
    stacks: &[&str],
) -> (Arc<Named>, Vec<DeploymentId>, JoinHandle<()>) {
    let named = Arc::new(Named::default());
    rig.cx.transport = named.clone();
    let mut db = sqlx::PgConnection::connect(url).await.unwrap();
    db.execute("update queues set paused_at = now() where name = 'plan'").await.unwrap();
    let worker = rig.start(false);
    let mut slow = Vec::new();
    for stack in stacks {
        slow.push(rig.submit(stack, "hang in plan").await);
    }
    let heard = || named.desk.waiting.lock().unwrap().is_empty();
    super::wait_for(heard, "the bells are not heard").await;
    // Longer than anybody looks for a job that is not there.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    db.execute("update queues set paused_at = null").await.unwrap();
    named.desk.rung.lock().unwrap().clear();
    (named, slow, worker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bell_that_finds_other_jobs_rings_for_somebody_else_when_there_is_no_slot_left() {
    let (mut rig, url) = postgres_and_url().await;
    let (named, slow, worker) = with_waiting(&mut rig, &url, &["one", "two"]).await;
    let coming = Doorbell::new(JobId::new(&RandomMint), Queue::Plan, None);
    named.ring(&coming).await.unwrap();
    // It takes the two that wait, and has no slot for what it was called for.
    let rung = || named.desk.rung.lock().unwrap().clone();
    super::wait_for(|| rung().len() == 2, "nobody else is told").await;
    for id in slow {
        rig.until(id, S::Planning).await;
    }
    rig.shutdown.drain.cancel();
    rig.shutdown.stop.cancel();
    worker.await.unwrap();
    assert_eq!(rung()[..2], [coming.clone(), coming], "for this one");
    assert!(rung()[2..].iter().all(|bell| bell.job_id != rung()[0].job_id), "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bell_for_several_jobs_is_rung_on_for_those_that_there_is_no_slot_for() {
    let (mut rig, url) = postgres_and_url().await;
    let (named, slow, worker) =
        with_waiting(&mut rig, &url, &["one", "two", "three", "four"]).await;
    let mut bells = Vec::new();
    for id in &slow {
        let jobs = rig.cx.store.read().await.unwrap().jobs_of(*id).await.unwrap();
        bells.extend(jobs.iter().map(Doorbell::of));
    }
    let together = Doorbell::together(&bells);
    assert_eq!(together, [Doorbell { others: 3, ..bells[0].clone() }]);
    named.ring(&together[0]).await.unwrap();
    let rung = || named.desk.rung.lock().unwrap().clone();
    super::wait_for(|| rung().len() == 2, "nobody else is told").await;
    assert_eq!(rung()[1].others, 2, "two are taken, the first of them and another");
    // Nobody else is there. The next that has a slot hears it, and takes what is left.
    for id in &slow[..2] {
        rig.until(*id, S::Planning).await;
    }
    rig.shutdown.drain.cancel();
    rig.shutdown.stop.cancel();
    worker.await.unwrap();
    // What was handed back is rung for by itself.
    assert!(rung()[2..].iter().all(|bell| bell.others == 0), "{:?}", rung());
}
