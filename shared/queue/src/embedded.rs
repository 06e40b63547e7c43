//! The transport of a single process: notifications in memory.

use std::sync::Arc;

use async_trait::async_trait;
use slipway_domain::job::{Doorbell, Queue};
use tokio::sync::{Notify, broadcast};

use crate::{Bells, Signal, Transport, TransportError};

/// Signals that a slow receiver may be behind before it is told to read the rows instead.
const SIGNAL_BACKLOG: usize = 4096;

/// Wakes by notification; holds no messages, so nothing can pile up.
#[derive(Debug)]
pub struct Embedded {
    bells: Vec<(Queue, Arc<Notify>)>,
    signals: broadcast::Sender<Signal>,
}

impl Default for Embedded {
    fn default() -> Self {
        Self {
            bells: Queue::ALL.iter().map(|queue| (*queue, Arc::new(Notify::new()))).collect(),
            signals: broadcast::channel(SIGNAL_BACKLOG).0,
        }
    }
}

impl Embedded {
    fn bell(&self, queue: Queue) -> Arc<Notify> {
        self.bells
            .iter()
            .find(|(name, _)| *name == queue)
            .map_or_else(|| Arc::new(Notify::new()), |(_, bell)| bell.clone())
    }
}

struct EmbeddedBells(Arc<Notify>);

#[async_trait]
impl Bells for EmbeddedBells {
    async fn wait(&mut self) -> Result<Option<Doorbell>, TransportError> {
        self.0.notified().await;
        Ok(None)
    }
}

#[async_trait]
impl Transport for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    async fn ring(&self, bell: &Doorbell) -> Result<(), TransportError> {
        // A ring without a listener is kept as one permit, so a listener that comes a moment too
        // late still looks.
        self.bell(bell.queue).notify_one();
        Ok(())
    }

    /// Many rings are one notification.
    fn names_the_job(&self) -> bool {
        false
    }

    async fn listen(&self, queue: Queue) -> Result<Box<dyn Bells>, TransportError> {
        Ok(Box::new(EmbeddedBells(self.bell(queue))))
    }

    async fn publish(&self, signal: Signal) -> Result<(), TransportError> {
        // No receiver is no fault.
        let _ = self.signals.send(signal);
        Ok(())
    }

    fn signals(&self) -> broadcast::Receiver<Signal> {
        self.signals.subscribe()
    }

    async fn health(&self) -> Result<(), TransportError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_domain::id::{JobId, RandomMint};
    use std::time::Duration;

    fn bell(queue: Queue) -> Doorbell {
        Doorbell::new(JobId::new(&RandomMint), queue, None)
    }

    async fn rings(bells: &mut Box<dyn Bells>) -> bool {
        tokio::time::timeout(Duration::from_millis(50), bells.wait()).await.is_ok()
    }

    #[tokio::test]
    async fn a_ring_before_the_listener_waits_is_not_lost_and_wakes_only_its_queue() {
        let transport = Embedded::default();
        transport.ring(&bell(Queue::Plan)).await.unwrap();
        let mut plan = transport.listen(Queue::Plan).await.unwrap();
        let mut apply = transport.listen(Queue::Apply).await.unwrap();
        assert!(rings(&mut plan).await);
        assert!(!rings(&mut plan).await, "one ring wakes once");
        assert!(!rings(&mut apply).await);
    }

    #[tokio::test]
    async fn every_receiver_gets_every_signal() {
        let transport = Embedded::default();
        let (mut a, mut b) = (transport.signals(), transport.signals());
        let id = slipway_domain::id::DeploymentId::new(&RandomMint);
        transport.publish(Signal::Cancel(id)).await.unwrap();
        assert_eq!(a.recv().await.unwrap(), Signal::Cancel(id));
        assert_eq!(b.recv().await.unwrap(), Signal::Cancel(id));
    }
}
