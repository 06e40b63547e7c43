//! What every transport does.

use std::time::{Duration, Instant};

use slipway_domain::id::{DeploymentId, RandomMint};
use slipway_domain::job::Queue;
use slipway_queue::Signal;
use tokio::sync::broadcast::Receiver;

use crate::rig::{Kind, PATIENCE, bell, is_silent, rings, shared, until};

pub(crate) async fn a_ring_wakes_exactly_one_of_two_listeners(kind: Kind) {
    let broker = shared(kind).await;
    let (one, two) = (broker.process().await, broker.process().await);
    let mut a = one.listen(Queue::Plan).await.unwrap();
    let mut b = two.listen(Queue::Plan).await.unwrap();
    for _ in 0..20 {
        one.ring(&bell(Queue::Plan)).await.unwrap();
        let woken = async {
            tokio::select! {
                rung = a.wait() => rung,
                rung = b.wait() => rung,
            }
        };
        tokio::time::timeout(PATIENCE, woken).await.expect("nobody is woken").unwrap();
    }
    assert!(is_silent(&mut a).await && is_silent(&mut b).await, "a bell rang twice");
}

pub(crate) async fn only_the_queue_of_the_bell_is_woken(kind: Kind) {
    let broker = shared(kind).await;
    let transport = broker.process().await;
    let mut plan = transport.listen(Queue::Plan).await.unwrap();
    let mut apply = transport.listen(Queue::Apply).await.unwrap();
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut plan).await;
    assert!(is_silent(&mut apply).await);
    transport.ring(&bell(Queue::Apply)).await.unwrap();
    rings(&mut apply).await;
    assert!(is_silent(&mut plan).await);
}

pub(crate) async fn rings_before_anybody_listens_are_not_lost(kind: Kind) {
    let broker = shared(kind).await;
    let (early, later) = (broker.process().await, broker.process().await);
    early.ring(&bell(Queue::Apply)).await.unwrap();
    let mut late = later.listen(Queue::Apply).await.unwrap();
    rings(&mut late).await;
}

pub(crate) async fn a_dropped_wait_loses_no_bell(kind: Kind) {
    let broker = shared(kind).await;
    let transport = broker.process().await;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    // Waits that are given up at any point of a bell's way here.
    for micros in (0..4000).step_by(100) {
        transport.ring(&bell(Queue::Plan)).await.unwrap();
        let given_up =
            tokio::time::timeout(Duration::from_micros(micros), bells.wait()).await.is_err();
        if given_up {
            rings(&mut bells).await;
        }
    }
    assert!(is_silent(&mut bells).await, "a bell rang twice");
}

pub(crate) async fn who_rests_leaves_the_bell_to_another(kind: Kind) {
    let broker = shared(kind).await;
    let (one, two) = (broker.process().await, broker.process().await);
    let mut busy = one.listen(Queue::Plan).await.unwrap();
    let mut idle = two.listen(Queue::Plan).await.unwrap();
    // It has been served once, so everything is set up on its side.
    one.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut busy).await;
    busy.rest().await;
    for _ in 0..5 {
        one.ring(&bell(Queue::Plan)).await.unwrap();
        rings(&mut idle).await;
    }
    assert!(is_silent(&mut busy).await, "a bell was kept by who rested");
}

pub(crate) async fn who_rests_gives_back_what_came_too_late(kind: Kind) {
    let broker = shared(kind).await;
    let (one, two) = (broker.process().await, broker.process().await);
    let mut busy = one.listen(Queue::Plan).await.unwrap();
    let mut idle = two.listen(Queue::Plan).await.unwrap();
    for micros in (0..4000).step_by(200) {
        one.ring(&bell(Queue::Plan)).await.unwrap();
        // It gives up while the bell is on its way, and rests.
        let taken = tokio::time::timeout(Duration::from_micros(micros), busy.wait()).await.is_ok();
        busy.rest().await;
        if !taken {
            rings(&mut idle).await;
        }
    }
    assert!(is_silent(&mut idle).await, "a bell rang twice");
}

pub(crate) async fn hears(receiver: &mut Receiver<Signal>, wanted: Signal) {
    let heard = async { while receiver.recv().await.unwrap() != wanted {} };
    tokio::time::timeout(PATIENCE, heard).await.expect("the signal does not come");
}

pub(crate) async fn signals_reach_every_process_and_the_sender(kind: Kind) {
    let broker = shared(kind).await;
    let (one, two) = (broker.process().await, broker.process().await);
    until("both are connected", || async {
        one.health().await.is_ok() && two.health().await.is_ok()
    })
    .await;
    let (mut a, mut b) = (one.signals(), two.signals());
    let id = DeploymentId::new(&RandomMint);
    one.publish(Signal::Changed(id)).await.unwrap();
    one.publish(Signal::Cancel(id)).await.unwrap();
    for receiver in [&mut a, &mut b] {
        hears(receiver, Signal::Changed(id)).await;
        hears(receiver, Signal::Cancel(id)).await;
    }
    // Nobody hears it twice: the next thing that is heard is what is said next.
    let last = Signal::Changed(DeploymentId::new(&RandomMint));
    two.publish(last).await.unwrap();
    for receiver in [&mut a, &mut b] {
        let next = tokio::time::timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap();
        assert_eq!(next, last);
    }
}

/// What was handed over before is delivered.
pub(crate) async fn a_closed_transport_takes_nothing_more(kind: Kind) {
    let broker = shared(kind).await;
    let leaving = broker.process().await;
    until("it is connected", || async { leaving.health().await.is_ok() }).await;
    leaving.ring(&bell(Queue::Plan)).await.unwrap();
    leaving.close().await;
    let staying = broker.process().await;
    let mut bells = staying.listen(Queue::Plan).await.unwrap();
    rings(&mut bells).await;
    if kind != Kind::Embedded {
        assert!(leaving.ring(&bell(Queue::Plan)).await.is_err());
        assert!(leaving.health().await.is_err());
    }
}

pub(crate) async fn an_idle_listener_is_woken_fast(kind: Kind) {
    let broker = shared(kind).await;
    let (sender, receiver) = (broker.process().await, broker.process().await);
    let mut bells = receiver.listen(Queue::Plan).await.unwrap();
    sender.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
    let mut took = Vec::new();
    for _ in 0..200 {
        // The listener waits already when the bell rings.
        let listener = tokio::spawn(async move {
            rings(&mut bells).await;
            (Instant::now(), bells)
        });
        tokio::time::sleep(Duration::from_millis(2)).await;
        let rung = Instant::now();
        sender.ring(&bell(Queue::Plan)).await.unwrap();
        let (woken, back) = listener.await.unwrap();
        bells = back;
        took.push(woken - rung);
    }
    took.sort();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("{kind:?}: from ring to wake-up p50 {p50:?}, p99 {p99:?}");
    // Far above what it takes (see the figures), and far below any poll.
    assert!(p50 < Duration::from_millis(50), "{p50:?}");
}
