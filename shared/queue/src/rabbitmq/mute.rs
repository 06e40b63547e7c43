//! Queues that do not answer although their broker does.
//!
//! A broker that is killed right after it made a quorum queue may know the queue when it is back
//! and have nothing of what keeps it: who wants to consume waits for an answer for ever, and so
//! does who publishes (seen on RabbitMQ 3.10). No restart mends that; to delete the queue does, and
//! costs nothing: doorbells are all it holds, and the relay rings again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use slipway_domain::job::Queue;

/// So many questions in a row without an answer, each on a connection of its own, and the queue is
/// made anew. A cluster that elects a leader answers long before that.
const PATIENCE: u32 = 3;

/// Counts questions without an answer, by queue.
#[derive(Debug, Default)]
pub(super) struct Mute(Mutex<BTreeMap<Queue, u32>>);

impl Mute {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<Queue, u32>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One more question to `queue` that was not answered.
    pub(super) fn silent(&self, queue: Queue) {
        self.with(|silent| *silent.entry(queue).or_default() += 1);
    }

    /// `queue` answered.
    pub(super) fn answered(&self, queue: Queue) {
        self.with(|silent| silent.remove(&queue));
    }

    /// Whether `queue` is to be made anew now. Counting begins anew, too.
    pub(super) fn given_up(&self, queue: Queue) -> bool {
        self.with(|silent| {
            let given_up = silent.get(&queue).is_some_and(|questions| *questions >= PATIENCE);
            given_up && silent.remove(&queue).is_some()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_given_up_after_several_questions_in_a_row_and_once() {
        let mute = Mute::default();
        for _ in 1..PATIENCE {
            mute.silent(Queue::Plan);
            assert!(!mute.given_up(Queue::Plan));
        }
        mute.answered(Queue::Plan);
        for _ in 0..PATIENCE {
            assert!(!mute.given_up(Queue::Plan));
            mute.silent(Queue::Plan);
        }
        assert!(!mute.given_up(Queue::Apply), "another queue");
        assert!(mute.given_up(Queue::Plan));
        assert!(!mute.given_up(Queue::Plan), "once is enough");
    }
}
