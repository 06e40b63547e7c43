//! Accepting, and looking at what waits; the memory that takes; and what the broker and the database
//! could do.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;

use super::ours::{Broker, Ours};
use super::peer::Peer;
use super::shape::{Batch, OurSubmits, PeerSubmits};
use super::{Load, ROUNDS, looks, print, raw, remove};
use crate::load::{self, Measured, Shape};
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
    let first = apis.first().context("there is a transport")?.address;

    let mut peer_load = Load::default();
    let mut loads: Vec<Load> = sides.iter().map(|_| Load::default()).collect();
    let mut without_keys = Load::default();
    for round in 0..ROUNDS {
        let project = format!("load-{round}");
        let batch = || Batch::new(project.clone());
        peer_load.add(measure(peer_address, PeerSubmits(batch()), seconds).await?);
        for (api, load) in apis.iter().zip(&mut loads) {
            load.add(measure(api.address, OurSubmits(batch()), seconds).await?);
        }
        let shape = OurSubmits(batch().without_keys());
        without_keys.add(measure(first, shape, seconds.div_ceil(2)).await?);
    }
    for (side, load) in sides.iter().zip(&loads) {
        load.print(Some(&peer_load), "submit", &format!("_{}", side.broker.name))?;
    }
    without_keys.print(None, "submit_nokey", &format!("_{}", sides[0].broker.name))?;

    let ours = std::mem::take(&mut loads[0].paths);
    let theirs = std::mem::take(&mut peer_load.paths);
    looks(first, ours, peer_address, theirs, seconds, "status_waiting").await?;

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

async fn measure(address: SocketAddr, shape: impl Shape, seconds: u64) -> anyhow::Result<Measured> {
    load::measure(address, Arc::new(shape), seconds).await
}
