//! The queues and exchanges, their names, and their bounds.
//!
//! A work queue has two. Doorbells are published to a classic one, in which nothing stays: it gives
//! a bell to a listener that waits right now, and has it go on to the quorum queue when there is
//! none, or when that one goes away without an answer (TTL 0, and the quorum queue as where dead
//! letters go). So what waits is kept by a quorum, and a bell that somebody waits for is not kept
//! waiting by its write to the disk, which is longer than all the rest of its way.
//!
//! Nothing here grows without bound: a doorbell is worth nothing after a minute (the relay rings
//! every few seconds for what is due), and of too many the oldest go first. Neither is a loss, so
//! neither goes to the quarantine: its exchange looks at *why* a message was turned away.

use std::convert::Infallible;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ErrorKind, ExchangeKind};
use slipway_domain::job::Queue;

use super::House;
use super::link::Link;
use super::ward::Ward;

const PART: &str = "queues";

/// How often what exists with other arguments is looked at again: nothing tells of its deletion to who
/// does not listen to it.
const AGAIN: Duration = Duration::from_secs(10);

/// Milliseconds that a doorbell is kept for.
const BELL_TTL_MS: i32 = 60_000;
/// Doorbells that a queue keeps; the oldest go first.
const BELLS: i32 = 10_000;
/// Bytes that a queue keeps: whoever writes to it may not be Slipway.
const BELL_BYTES: i32 = 16 << 20;
/// How often a message may come back to its queue unanswered. A worker that is killed, or has no
/// free slot after all, gives one back.
const DELIVERIES: i32 = 100;

/// Messages that the quarantine keeps, for a person to look at; the oldest go first.
const QUARANTINED: i32 = 1_000;
const QUARANTINED_BYTES: i32 = 16 << 20;

/// Signals that wait for one process at most, and for how many milliseconds.
const SIGNALS: i32 = 10_000;
const SIGNAL_TTL_MS: i32 = 60_000;

/// The longest prefix that leaves room for the rest of a name (255 bytes in AMQP).
const PREFIX_MAX: usize = 100;

/// The names.
#[derive(Debug, Clone)]
pub(super) struct Topology {
    prefix: String,
}

/// A queue or exchange that exists with other arguments than these.
#[derive(Debug, Clone)]
pub(super) struct Conflict {
    /// Which, what the broker says, and what to do.
    why: String,
}

impl Topology {
    /// Checks the prefix.
    pub(super) fn new(prefix: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if prefix.is_empty() || prefix.len() > PREFIX_MAX || !prefix.chars().all(fits) {
            return Err(format!(
                "the prefix of queues must be 1 to {PREFIX_MAX} letters, digits, '.', '_' or '-'"
            ));
        }
        Ok(Self { prefix: prefix.to_owned() })
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The queue through which doorbells of a work queue come.
    pub(super) fn now(&self, queue: Queue) -> ShortString {
        format!("{}.{queue}.now", self.prefix).into()
    }

    /// The queue of doorbells of a work queue for which nobody waited.
    pub(super) fn bells(&self, queue: Queue) -> ShortString {
        format!("{}.{queue}", self.prefix).into()
    }

    /// The exchange of signals.
    pub(super) fn signals(&self) -> ShortString {
        format!("{}.signals", self.prefix).into()
    }

    /// The queue of messages that could not be read, and the exchange before it.
    pub(super) fn quarantine(&self) -> ShortString {
        format!("{}.quarantine", self.prefix).into()
    }

    fn bell_arguments(&self) -> FieldTable {
        table([
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", AMQPValue::LongInt(DELIVERIES)),
            ("x-message-ttl", AMQPValue::LongInt(BELL_TTL_MS)),
            ("x-max-length", AMQPValue::LongInt(BELLS)),
            ("x-max-length-bytes", AMQPValue::LongInt(BELL_BYTES)),
            ("x-overflow", text("drop-head")),
            ("x-dead-letter-exchange", AMQPValue::LongString(self.quarantine().as_str().into())),
        ])
    }

    fn now_arguments(&self, queue: Queue) -> FieldTable {
        table([
            ("x-queue-type", text("classic")),
            ("x-message-ttl", AMQPValue::LongInt(0)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(self.bells(queue).as_str())),
        ])
    }

    fn quarantine_arguments() -> FieldTable {
        table([
            ("x-queue-type", text("quorum")),
            ("x-max-length", AMQPValue::LongInt(QUARANTINED)),
            ("x-max-length-bytes", AMQPValue::LongInt(QUARANTINED_BYTES)),
            ("x-overflow", text("drop-head")),
        ])
    }

    /// Arguments of a process's own queue of signals.
    pub(super) fn signal_arguments() -> FieldTable {
        table([
            ("x-max-length", AMQPValue::LongInt(SIGNALS)),
            ("x-message-ttl", AMQPValue::LongInt(SIGNAL_TTL_MS)),
            ("x-overflow", text("drop-head")),
        ])
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

/// One thing to declare.
enum Part {
    Exchange(ShortString, ExchangeKind),
    Queue(ShortString, FieldTable),
    /// From the quarantine's exchange to its queue, for messages turned away for this reason.
    Reason(&'static str),
}

/// Declares everything. What exists with other arguments is left as it is, and told: doorbells of
/// an older or a newer Slipway still ring.
pub(super) async fn declare(link: &Link, topology: &Topology) -> lapin::Result<Vec<Conflict>> {
    let quarantine = topology.quarantine();
    let mut parts = vec![
        Part::Exchange(quarantine.clone(), ExchangeKind::Headers),
        Part::Queue(quarantine.clone(), Topology::quarantine_arguments()),
        Part::Reason("rejected"),
        Part::Reason("delivery_limit"),
        Part::Exchange(topology.signals(), ExchangeKind::Fanout),
    ];
    for queue in Queue::ALL {
        parts.push(Part::Queue(topology.bells(*queue), topology.bell_arguments()));
        parts.push(Part::Queue(topology.now(*queue), topology.now_arguments(*queue)));
    }
    let mut conflicts = Vec::new();
    let mut channel = link.channel().await?;
    for part in parts {
        let Err(error) = link.answer("declare", one(&channel, &quarantine, &part)).await else {
            continue;
        };
        conflicts.push(conflict(&part, &quarantine, error)?);
        // A refusal costs the channel.
        channel = link.channel().await?;
    }
    link.close_channel(&channel).await;
    Ok(conflicts)
}

/// Tells of conflicts, and of their end.
pub(super) fn tell(conflicts: &[Conflict], ward: &Ward) {
    match conflicts.first() {
        Some(first) if conflicts.len() == 1 => ward.ill(PART, first.why.clone()),
        Some(first) => ward.ill(PART, format!("{} And {} more.", first.why, conflicts.len() - 1)),
        None => ward.well(PART),
    }
}

/// Looks, for as long as it is polled, whether what existed with other arguments has been deleted, and
/// declares it anew.
pub(super) async fn heal(link: &Link, house: &House) -> Infallible {
    loop {
        tokio::time::sleep(AGAIN).await;
        if house.ward.is_ill(PART)
            && let Err(error) = link.declare(house, true).await
        {
            tracing::debug!(%error, "the queues could not be looked at again");
        }
    }
}

async fn one(channel: &Channel, quarantine: &ShortString, part: &Part) -> lapin::Result<()> {
    match part {
        Part::Exchange(name, kind) => {
            let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
            channel
                .exchange_declare(name.clone(), kind.clone(), options, FieldTable::default())
                .await
        }
        Part::Queue(name, arguments) => {
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(name.clone(), options, arguments.clone()).await.map(drop)
        }
        Part::Reason(reason) => {
            // Since 3.10: a plain `all` does not look at headers that begin with `x-`.
            let arguments =
                table([("x-match", text("all-with-x")), ("x-first-death-reason", text(reason))]);
            channel
                .queue_bind(
                    quarantine.clone(),
                    quarantine.clone(),
                    ShortString::default(),
                    QueueBindOptions::default(),
                    arguments,
                )
                .await
        }
    }
}

/// What a refusal means: other arguments can be lived with, all else cannot.
fn conflict(part: &Part, quarantine: &ShortString, error: lapin::Error) -> lapin::Result<Conflict> {
    const PRECONDITION_FAILED: u16 = 406;
    match error.kind() {
        ErrorKind::ProtocolError(said) if said.get_id() == PRECONDITION_FAILED => {
            let (kind, name) = match part {
                Part::Exchange(name, _) => ("exchange", name),
                Part::Queue(name, _) => ("queue", name),
                Part::Reason(_) => ("binding of", quarantine),
            };
            Ok(Conflict {
                why: format!(
                    "the {kind} {name} exists with other arguments than this version declares \
                     ({said}). Delete it in the broker, then it is declared anew: doorbells are \
                     all it holds, and they ring again. Or choose another prefix."
                ),
            })
        }
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_the_prefix_and_an_odd_prefix_is_refused() {
        let topology = Topology::new("prod.slipway-2").unwrap();
        assert_eq!(topology.bells(Queue::Plan).as_str(), "prod.slipway-2.plan");
        assert_eq!(topology.now(Queue::Plan).as_str(), "prod.slipway-2.plan.now");
        assert_eq!(topology.signals().as_str(), "prod.slipway-2.signals");
        assert_eq!(topology.quarantine().as_str(), "prod.slipway-2.quarantine");
        for odd in ["", "a b", "a/b", "ä", "a\n", &"a".repeat(101)] {
            assert!(Topology::new(odd).unwrap_err().contains("prefix"), "{odd:?}");
        }
    }

    #[test]
    fn no_work_queue_has_the_name_of_something_else() {
        for queue in Queue::ALL {
            assert!(!["signals", "quarantine"].contains(&queue.as_str()), "{queue}");
        }
    }
}
