//! What becomes of the jobs of workers that are killed.

use std::time::Duration;

use anyhow::Context as _;

use super::ours::{Broker, Ours};
use super::peer::Peer;
use super::shape::{Batch, OurSubmits, PeerSubmits};
use super::{LEASE_S, SLOTS, now_us, print, remove, within};
use crate::load;
use crate::settings::Settings;

/// Workers that are killed.
const VICTIMS: u16 = 3;

/// What becomes of the jobs of killed workers.
pub(super) async fn part(
    settings: &Settings,
    brokers: &[Broker],
    redis: &str,
) -> anyhow::Result<()> {
    let peer = Peer::new(settings, redis, 2).await?;
    let mut sides = Vec::new();
    for broker in brokers {
        sides.push(Ours::new(settings, broker).await?);
    }
    let done = measure_all(&peer, &sides).await;
    remove(peer, sides).await.and(done)
}

async fn measure_all(peer: &Peer, sides: &[Ours]) -> anyhow::Result<()> {
    let theirs = peer_recovery(peer).await?;
    print("lease_s".to_owned(), "s", Some(seconds_of(LEASE_S)), seconds_of(LEASE_S))?;
    // Nothing but waiting: the transports can do it side by side.
    let (first, second) = tokio::try_join!(our_recovery(&sides[0]), our_recovery(&sides[1]))?;
    for (side, ours) in sides.iter().zip([first, second]) {
        print(format!("recovery_s_{}", side.broker.name), "s", Some(theirs), ours)?;
    }
    Ok(())
}

fn seconds_of(whole: u64) -> f64 {
    Duration::from_secs(whole).as_secs_f64()
}

async fn our_recovery(side: &Ours) -> anyhow::Result<f64> {
    let api = side.api().await?;
    let mut victims = Vec::new();
    for number in 0..VICTIMS {
        let name = format!("victim-{number}");
        victims.push((side.worker(&name, 1)?, name));
    }
    let shape = OurSubmits(Batch::new("recovery").held());
    let paths = load::send(api.address, &shape, VICTIMS.into()).await?;
    // Each has one.
    within(|| async {
        let busy = victims.iter().map(|(_, name)| Ok(side.starts(name)?.len()));
        let busy = busy.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(busy.iter().all(|count| *count == 1).then_some(()))
    })
    .await?;
    let mut survivor = side.worker("survivor", SLOTS)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut killed = Vec::new();
    for (process, name) in &mut victims {
        let heartbeat = Duration::from_secs(LEASE_S / 3);
        process.kill();
        let now = now_us();
        let had = side.starts(name)?.into_keys().next().context("it had a job")?;
        killed.push((had, now));
        tokio::time::sleep(heartbeat / u32::from(VICTIMS)).await;
    }
    let again = within(|| async {
        let starts = side.starts("survivor")?;
        Ok((starts.len() == paths.len()).then_some(starts))
    });
    let again = again.await?;
    // It holds jobs that do not end.
    survivor.kill();
    let mut longest = 0;
    for (id, at) in killed {
        let started = again.get(&id).context("a job that did not start again")?;
        longest = longest.max(started - at);
    }
    Ok(Duration::from_micros(u64::try_from(longest)?).as_secs_f64())
}

async fn peer_recovery(peer: &Peer) -> anyhow::Result<f64> {
    const PROJECT: &str = "recovery";
    let (_api, address) = peer.api().await?;
    let mut victim = peer.worker("victim", VICTIMS)?;
    load::send(address, &PeerSubmits(Batch::new(PROJECT).held()), VICTIMS.into()).await?;
    let all = usize::from(VICTIMS);
    within(|| async {
        let times = peer.times(PROJECT).await?;
        Ok((times.len() == all).then_some(()))
    })
    .await?;
    let mut survivor = peer.worker("survivor", SLOTS)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    survivor.runs()?;
    victim.kill();
    #[expect(clippy::cast_precision_loss, reason = "microseconds of this century fit")]
    let killed = now_us() as f64 / 1e6;
    let again = within(|| async {
        let times = peer.times(PROJECT).await?;
        Ok(times.iter().all(|times| times.started > killed).then_some(times))
    });
    let again = again.await?;
    // It holds tasks that do not end.
    survivor.kill();
    Ok(again.iter().map(|times| times.started - killed).fold(0.0, f64::max))
}
