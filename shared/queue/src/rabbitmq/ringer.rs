//! Doorbells out: publishes what was rung, many at a time, and reads what the broker says of each.
//!
//! A doorbell that the broker does not take is counted and dropped. Ringing again is the relay's.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use slipway_domain::job::Doorbell;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::House;
use super::backoff::Backoff;
use super::keeper::{Line, over, pause, up};
use super::link::{Link, Lost};

pub(super) const PART: &str = "doorbells out";

/// Doorbells that the broker has not answered yet, at most.
const IN_FLIGHT: usize = 256;

/// What the broker may take to say that it has a doorbell.
const CONFIRM: Duration = Duration::from_secs(10);

/// After a refusal, until the next try.
const REFUSED: Duration = Duration::from_millis(50);

/// A doorbell that waited longer is not sent any more. The relay has rung for its job since.
const STALE: Duration = Duration::from_secs(5);

/// `delivery_mode` of a message that is not kept on disk. Where it has to wait, a quorum keeps it.
const TRANSIENT: u8 = 1;

/// A doorbell that was handed over.
pub(super) struct Rung {
    pub(super) bell: Doorbell,
    pub(super) at: Instant,
}

/// Publishes until there are no more senders.
pub(super) async fn run(
    mut rung: mpsc::Receiver<Rung>,
    mut line: watch::Receiver<Line>,
    mut closing: watch::Receiver<bool>,
    house: Arc<House>,
) {
    let mut backoff = Backoff::default();
    loop {
        // Once it closes, an absent broker is not waited for.
        let link = tokio::select! {
            biased;
            link = up(&mut line) => link,
            _ = closing.wait_for(|closing| *closing) => None,
        };
        let Some(link) = link else { break };
        match session(&link, &mut rung, &mut line, &house, &mut backoff).await {
            Ok(()) => break,
            Err(lost) => {
                link.failed(PART, &lost, &house);
                pause(&mut line, &link, &mut backoff).await;
            }
        }
    }
    rung.close();
    let left = rung.len();
    if left > 0 {
        count(&house, left, "the broker is away");
    }
}

fn count(house: &House, bells: usize, why: &str) {
    let total = house.unconfirmed.fetch_add(bells as u64, Ordering::Relaxed) + bells as u64;
    tracing::warn!(bells, total, why, "doorbells did not ring; the relay will ring again");
}

/// What became of one doorbell.
enum Fate {
    Taken,
    /// The broker could not store it.
    Refused,
    /// There is no such queue.
    Returned,
}

/// Publishes over one connection. Returns when there are no more senders and all is answered.
async fn session(
    link: &Arc<Link>,
    rung: &mut mpsc::Receiver<Rung>,
    line: &mut watch::Receiver<Line>,
    house: &House,
    backoff: &mut Backoff,
) -> Result<(), Lost> {
    link.declare(house, false).await?;
    let channel = link.channel().await?;
    let confirms = ConfirmSelectOptions::default();
    link.answer("confirm", channel.confirm_select(confirms)).await?;
    house.ward.well(PART);

    let mut in_flight = FuturesUnordered::new();
    let mut open = true;
    let mut absent = false;
    let lost: Option<Lost> = loop {
        if in_flight.is_empty() && (!open || absent) {
            break None;
        }
        tokio::select! {
            biased;
            Some(answered) = in_flight.next() => match answered {
                Ok(Fate::Taken) => backoff.reset(),
                Ok(Fate::Refused) => count(house, 1, "the broker refused it"),
                Ok(Fate::Returned) => {
                    count(house, 1, "the queue is not there");
                    absent = true;
                }
                Err(Lost(why)) => {
                    count(house, 1, &why);
                    break Some(Lost(why));
                }
            },
            () = over(line, link) => break Some(Lost("the connection was lost".into())),
            next = rung.recv(), if open && !absent && in_flight.len() < IN_FLIGHT => match next {
                None => open = false,
                Some(rung) if rung.at.elapsed() > STALE => count(house, 1, "it waited too long"),
                Some(rung) => in_flight.push(insist(&channel, house, rung)),
            },
        }
    };
    if let Some(lost) = lost {
        if !in_flight.is_empty() {
            count(house, in_flight.len(), &lost.to_string());
        }
        return Err(lost);
    }
    drop(in_flight);
    link.close_channel(&channel).await;
    if absent {
        link.declare(house, true).await?;
        return Err(Lost("a queue was not there; it is declared again".into()));
    }
    Ok(())
}

/// Publishes, again while the broker refuses it: a queue that has just been made, or whose leader
/// has just gone, does so for a moment.
async fn insist(channel: &Channel, house: &House, rung: Rung) -> Result<Fate, Lost> {
    loop {
        match publish(channel, house, &rung.bell).await? {
            Fate::Refused if rung.at.elapsed() < STALE => tokio::time::sleep(REFUSED).await,
            fate => return Ok(fate),
        }
    }
}

async fn publish(channel: &Channel, house: &House, bell: &Doorbell) -> Result<Fate, Lost> {
    let body = serde_json::to_vec(bell).map_err(|error| Lost(error.to_string()))?;
    let properties = BasicProperties::default()
        .with_delivery_mode(TRANSIENT)
        .with_content_type("application/json".into())
        .with_type("doorbell".into())
        .with_app_id("slipway".into());
    let said = timeout(CONFIRM, async {
        // To the default exchange, which knows every queue by its name.
        channel
            .basic_publish(
                ShortString::default(),
                house.topology.now(bell.queue),
                BasicPublishOptions { mandatory: true, ..Default::default() },
                &body,
                properties,
            )
            .await?
            .await
    });
    match said.await {
        Ok(Ok(Confirmation::Ack(None))) => Ok(Fate::Taken),
        Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => Ok(Fate::Returned),
        Ok(Ok(Confirmation::Nack(None))) => Ok(Fate::Refused),
        Ok(Ok(Confirmation::NotRequested)) => {
            Err(Lost("the channel does not confirm what it takes".into()))
        }
        Ok(Err(error)) => Err(error.into()),
        // lapin keeps the promise of a confirmation for as long as its channel lives, so the
        // channel goes.
        Err(_) => Err(Lost("the broker did not confirm a doorbell in time".into())),
    }
}
