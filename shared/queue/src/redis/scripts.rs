//! What is done in Redis beside what apalis does, each in one step.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};
use slipway_domain::job::Queue;

use super::keys::Keys;

/// Bells that may wait in a queue. Each says only "look", and whoever looks takes all that it can:
/// more of them than there are processes are of no use, and each costs a look at the database. The
/// relay rings again for whatever is due.
const BACKLOG: usize = 256;
/// Messages that are kept in quarantine.
const QUARANTINE: isize = 1000;
/// Bytes of a message that are kept.
const MESSAGE: usize = 4096;
/// Entries of a list that are looked at in one go.
const SCREENED: usize = 5000;
/// How long the metadata of a listener stay that does not renew them.
const METADATA_S: i64 = 3600;

static PROMOTE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("promote.lua")));
static TIDY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("tidy.lua")));

/// Makes what was pushed available, and wakes who waits. Returns how many bells that were.
pub(super) async fn promote(
    keys: &Keys,
    queue: Queue,
    connection: &mut MultiplexedConnection,
) -> RedisResult<usize> {
    let config = keys.config(queue);
    PROMOTE
        .key(config.scheduled_jobs_set())
        .key(config.active_jobs_list())
        .key(config.job_data_hash())
        .key(config.job_meta_hash())
        .arg(keys.available(queue))
        .arg(BACKLOG)
        .invoke_async(connection)
        .await
}

fn inflight(keys: &Keys, queue: Queue, listener: &str) -> String {
    format!("{}:{listener}", keys.config(queue).inflight_jobs_set())
}

fn metadata(keys: &Keys, queue: Queue, listener: &str) -> String {
    format!("{}:workers:metadata:{listener}", keys.config(queue).queue)
}

/// Puts the queue in order, and gives back what the listener `gone` had taken, if one is named.
/// Returns how many messages were put aside.
pub(super) async fn tidy(
    keys: &Keys,
    queue: Queue,
    gone: &str,
    connection: &mut MultiplexedConnection,
) -> RedisResult<u64> {
    let config = keys.config(queue);
    TIDY.key(config.active_jobs_list())
        .key(config.job_data_hash())
        .key(config.job_meta_hash())
        .key(config.scheduled_jobs_set())
        .key(keys.quarantine(queue))
        .key(config.workers_set())
        .key(config.signal_list())
        .key(inflight(keys, queue, gone))
        .key(metadata(keys, queue, gone))
        .arg(gone)
        .arg(SCREENED)
        .arg(QUARANTINE)
        .arg(keys.available(queue))
        // Twice, for what is in flight.
        .arg(BACKLOG * 2)
        .invoke_async(connection)
        .await
}

/// Lets the library's record of a listener, which it never deletes, end some time after it.
pub(super) async fn keep_metadata(
    keys: &Keys,
    queue: Queue,
    listener: &str,
    connection: &mut MultiplexedConnection,
) -> RedisResult<()> {
    redis::cmd("EXPIRE")
        .arg(metadata(keys, queue, listener))
        .arg(METADATA_S)
        .query_async(connection)
        .await
}

/// Deletes a bell that a listener has taken; with `message`, keeps that in quarantine.
pub(super) async fn forget(
    keys: &Keys,
    queue: Queue,
    listener: &str,
    id: &str,
    message: Option<(&[u8], &str)>,
    connection: &mut MultiplexedConnection,
) -> RedisResult<()> {
    let config = keys.config(queue);
    let mut pipe = redis::pipe();
    pipe.atomic();
    pipe.cmd("SREM").arg(inflight(keys, queue, listener)).arg(id).ignore();
    pipe.cmd("HDEL").arg(config.job_data_hash()).arg(id).ignore();
    pipe.cmd("DEL").arg(format!("{}:{id}", config.job_meta_hash())).ignore();
    if let Some((message, why)) = message {
        let shown = String::from_utf8_lossy(&message[..message.len().min(MESSAGE)]);
        let entry = serde_json::json!({ "id": id, "why": why, "message": shown });
        let quarantine = keys.quarantine(queue);
        pipe.cmd("LPUSH").arg(&quarantine).arg(entry.to_string()).ignore();
        pipe.cmd("LTRIM").arg(&quarantine).arg(0).arg(QUARANTINE - 1).ignore();
    }
    pipe.query_async(connection).await
}
