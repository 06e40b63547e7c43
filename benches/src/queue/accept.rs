//! Accepting, and looking at what waits; the memory that takes; and what the broker and the database
//! could do.

use std::sync::Arc;

use anyhow::Context as _;

use super::ours::{Broker, Ours};
use super::peer::Peer;
use super::shape::{Batch, OurSubmits, PeerSubmits};
use super::{Load, ROUNDS, Side, Who, looks, print, raw, remove};
use crate::settings::Settings;

/// Accepting and looking at what waits; memory; the raw limits of it.
pub(super) async fn part(
    settings: &Settings,
    brokers: &[Broker],
    redis: &str,
) -> anyhow::Result<()> {
    let peer = Peer::new(settings, redis, 1).await?;
    let mut sides = Vec::new();
    for broker in brokers {
        sides.push(Ours::new(settings, broker).await?);
    }
    let done = measure_all(settings, &peer, &sides, redis).await;
    remove(peer, sides).await.and(done)
}

async fn measure_all(
    settings: &Settings,
    peer: &Peer,
    sides: &[Ours],
    redis: &str,
) -> anyhow::Result<()> {
    let seconds = (settings.seconds / ROUNDS).max(1);
    let (peer_api, peer_address) = peer.api().await?;
    let mut apis = Vec::new();
    for side in sides {
        apis.push(side.api().await?);
    }
    let theirs = Side { address: peer_address, who: Who::Tree(&peer_api), url: peer.url()? };
    let mut ours = Vec::new();
    for (side, api) in sides.iter().zip(&apis) {
        ours.push(Side { address: api.address, who: Who::Ours(api), url: side.url()? });
    }
    let first = *ours.first().context("there is a transport")?;

    let mut peer_load = Load::default();
    let mut loads: Vec<Load> = sides.iter().map(|_| Load::default()).collect();
    let mut without_keys = Load::default();
    for round in 0..ROUNDS {
        let batch = || Batch::new(format!("load-{round}"));
        peer_load.turn(theirs, Arc::new(PeerSubmits(batch())), seconds).await?;
        for (side, load) in ours.iter().zip(&mut loads) {
            load.turn(*side, Arc::new(OurSubmits(batch())), seconds).await?;
        }
        let shape = Arc::new(OurSubmits(batch().without_keys()));
        without_keys.turn(first, shape, seconds.div_ceil(2)).await?;
    }
    for (side, load) in sides.iter().zip(&loads) {
        load.print(Some(&peer_load), "submit", &format!("_{}", side.broker.name))?;
    }
    without_keys.print(None, "submit_nokey", &format!("_{}", sides[0].broker.name))?;

    let our_paths = std::mem::take(&mut loads[0].paths);
    let peer_paths = std::mem::take(&mut peer_load.paths);
    looks(first, our_paths, theirs, peer_paths, seconds, "status_waiting").await?;

    let peer_memory = peer_api.memory()?;
    for (side, api) in sides.iter().zip(&apis) {
        let name = format!("rss_mb_{}", side.broker.name);
        print(name, "MiB", Some(peer_memory), api.memory()?.now)?;
    }
    drop((peer_api, apis));

    let dir = tempfile::Builder::new().prefix("slipway-bench.").tempdir()?;
    let same = raw::same_inserts(sides[0].url()?, dir.path()).await?;
    print("raw_pg_same_inserts_tps".to_owned(), "1/s", None, same)?;
    let share = loads[0].rate()? / same;
    print("submit_share_of_raw_pg".to_owned(), "ratio", None, share)?;
    let single = raw::single_inserts(peer.url()?, dir.path()).await?;
    print("raw_pg_single_insert_tps".to_owned(), "1/s", None, single)?;
    let pushes = raw::redis_pushes(redis, dir.path()).await?;
    print("raw_redis_lpush_rps".to_owned(), "1/s", None, pushes)
}
