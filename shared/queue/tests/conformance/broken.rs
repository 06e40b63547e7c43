//! What a transport does whose broker is restarted, emptied, away, or fed with garbage.

use std::time::{Duration, Instant};

use slipway_domain::id::{DeploymentId, RandomMint};
use slipway_domain::job::Queue;
use slipway_queue::{Bells, Signal, Transport};

use crate::cases::hears;
use crate::rig::{Kind, PATIENCE, bell, emptied, own, rings, until};

/// No caller waits longer for a broker than this.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Rings, as the relay does again and again for what is due, until the listener wakes.
async fn ring_until_woken(sender: &dyn Transport, bells: &mut Box<dyn Bells>, queue: Queue) {
    let woken = async {
        loop {
            let _ = sender.ring(&bell(queue)).await;
            if let Ok(rung) = tokio::time::timeout(Duration::from_millis(500), bells.wait()).await {
                return rung.unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, woken).await.expect("it never rings again");
}

pub(crate) async fn bells_ring_again_after_a_restart(kind: Kind) {
    let mut broker = own(kind).await;
    let (sender, receiver) = (broker.process().await, broker.process().await);
    let mut bells = receiver.listen(Queue::Plan).await.unwrap();
    sender.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
    for _ in 0..2 {
        broker.stop().await;
        until("it is seen", || async {
            sender.health().await.is_err() && receiver.health().await.is_err()
        })
        .await;
        broker.start().await;
        let up = Instant::now();
        ring_until_woken(&*sender, &mut bells, Queue::Plan).await;
        println!("{kind:?}: bells rang again {:?} after the restart", up.elapsed());
        assert!(up.elapsed() < Duration::from_secs(15), "{:?}", up.elapsed());
    }
}

pub(crate) async fn bells_ring_again_after_the_broker_was_emptied(kind: Kind) {
    let broker = emptied(kind).await;
    let (sender, receiver) = (broker.process().await, broker.process().await);
    let mut bells = receiver.listen(Queue::Apply).await.unwrap();
    sender.ring(&bell(Queue::Apply)).await.unwrap();
    rings(&mut bells).await;
    for _ in 0..3 {
        broker.empty().await;
        let emptied = Instant::now();
        ring_until_woken(&*sender, &mut bells, Queue::Apply).await;
        println!("{kind:?}: bells rang again {:?} after it was emptied", emptied.elapsed());
        assert!(emptied.elapsed() < Duration::from_secs(15), "{:?}", emptied.elapsed());
    }
    // Emptied while everybody rests.
    bells.rest().await;
    broker.empty().await;
    ring_until_woken(&*sender, &mut bells, Queue::Apply).await;
}

pub(crate) async fn a_broker_that_is_down_at_the_start_is_waited_for(kind: Kind) {
    let mut broker = own(kind).await;
    broker.stop().await;
    let (sender, receiver) = (broker.process().await, broker.process().await);
    assert!(sender.health().await.is_err());
    let mut bells = receiver.listen(Queue::Plan).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(200), bells.wait()).await;
    assert!(early.is_err(), "it rang without a broker");
    broker.start().await;
    ring_until_woken(&*sender, &mut bells, Queue::Plan).await;
    until("it is well", || async { sender.health().await.is_ok() }).await;
}

pub(crate) async fn ringing_never_waits_and_is_refused_when_too_much_waits(kind: Kind) {
    let mut broker = own(kind).await;
    let transport = broker.process().await;
    until("it is connected", || async { transport.health().await.is_ok() }).await;
    broker.stop().await;
    let mut refused = 0;
    let mut longest = Duration::ZERO;
    for _ in 0..30_000 {
        let rung = Instant::now();
        refused += usize::from(transport.ring(&bell(Queue::Plan)).await.is_err());
        let of = DeploymentId::new(&RandomMint);
        let _ = transport.publish(Signal::Changed(of)).await;
        longest = longest.max(rung.elapsed());
    }
    println!("{kind:?}: 30000 rings without a broker: longest {longest:?}, {refused} refused");
    // A busy machine may stop a thread for longer than any of this takes.
    assert!(longest < AT_ONCE * 4, "{longest:?}");
    assert!(refused > 0, "what waits is not bounded");
    // It works again after that.
    broker.start().await;
    let receiver = broker.process().await;
    let mut bells = receiver.listen(Queue::Plan).await.unwrap();
    ring_until_woken(&*transport, &mut bells, Queue::Plan).await;
}

pub(crate) async fn receivers_learn_that_they_may_have_missed_signals(kind: Kind) {
    let mut broker = own(kind).await;
    let (one, two) = (broker.process().await, broker.process().await);
    until("both are connected", || async {
        one.health().await.is_ok() && two.health().await.is_ok()
    })
    .await;
    let (mut a, mut b) = (one.signals(), two.signals());
    broker.stop().await;
    until("it is seen", || async { one.health().await.is_err() && two.health().await.is_err() })
        .await;
    // A process hears itself without any broker.
    let alone = Signal::Cancel(DeploymentId::new(&RandomMint));
    one.publish(alone).await.unwrap();
    hears(&mut a, alone).await;
    broker.start().await;
    for receiver in [&mut a, &mut b] {
        hears(receiver, Signal::Missed).await;
    }
    // What is said before a process is connected again is one more thing that is missed.
    until("both are connected again", || async {
        one.health().await.is_ok() && two.health().await.is_ok()
    })
    .await;
    let again = Signal::Changed(DeploymentId::new(&RandomMint));
    one.publish(again).await.unwrap();
    for receiver in [&mut a, &mut b] {
        hears(receiver, again).await;
    }
}

pub(crate) async fn malformed_messages_are_put_aside_and_counted(kind: Kind) {
    let broker = emptied(kind).await;
    let transport = broker.process().await;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
    let garbage: [&[u8]; 4] = [
        b"",
        b"\xff\xfe\x00",
        b"[1, 2, 3]",
        br#"{"job_id": "job_of_a_later_version", "queue": "plan"}"#,
    ];
    for message in garbage {
        broker.throw(Queue::Plan, message).await;
    }
    // The consumer lives.
    ring_until_woken(&*transport, &mut bells, Queue::Plan).await;
    let waiting = tokio::spawn(async move {
        loop {
            let _ = bells.wait().await;
        }
    });
    until("all of them are put aside", || async { transport.quarantined() == 4 }).await;
    waiting.abort();
    // A message with more in it than we know is none of them.
    let mut more = serde_json::to_value(bell(Queue::Apply)).unwrap();
    more["priority"] = 7.into();
    let mut apply = transport.listen(Queue::Apply).await.unwrap();
    broker.throw(Queue::Apply, more.to_string().as_bytes()).await;
    rings(&mut apply).await;
    assert_eq!(transport.quarantined(), 4);
}

pub(crate) async fn health_tells_the_truth_and_no_password(kind: Kind) {
    let mut broker = own(kind).await;
    let transport = broker.process().await;
    until("it is connected", || async { transport.health().await.is_ok() }).await;
    broker.stop().await;
    until("it is seen", || async { transport.health().await.is_err() }).await;
    let error = transport.health().await.unwrap_err();
    assert!(!error.detail.is_empty());
    let shown = format!("{error} {error:?} {transport:?}");
    assert!(!broker.password().is_empty());
    assert!(!shown.contains(&broker.password()), "{shown}");
    broker.start().await;
    until("it is well again", || async { transport.health().await.is_ok() }).await;
}

pub(crate) async fn closing_does_not_wait_for_a_broker_that_is_gone(kind: Kind) {
    let mut broker = own(kind).await;
    let transport = broker.process().await;
    let mut bells = transport.listen(Queue::Plan).await.unwrap();
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    rings(&mut bells).await;
    broker.stop().await;
    transport.ring(&bell(Queue::Plan)).await.unwrap();
    let closing = Instant::now();
    tokio::time::timeout(Duration::from_secs(10), transport.close()).await.expect("it hangs");
    println!("{kind:?}: closed in {:?}", closing.elapsed());
}
