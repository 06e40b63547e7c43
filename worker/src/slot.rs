//! Slots: on how many jobs of a queue this worker works at a time.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of one queue.
pub(crate) struct Slots {
    working: Arc<Semaphore>,
    recording: Arc<Semaphore>,
}

impl Slots {
    pub(crate) fn new(slots: u16) -> Self {
        let semaphore = || Arc::new(Semaphore::new(usize::from(slots)));
        Self { working: semaphore(), recording: semaphore() }
    }

    /// A slot, if one is free.
    pub(crate) fn try_take(&self) -> Option<Slot> {
        self.working.clone().try_acquire_owned().ok().map(|taken| self.slot(taken))
    }

    /// Waits for a slot.
    pub(crate) async fn take(&self) -> Slot {
        match self.working.clone().acquire_owned().await {
            Ok(taken) => self.slot(taken),
            // Nobody closes it.
            Err(_) => std::future::pending().await,
        }
    }

    fn slot(&self, working: OwnedSemaphorePermit) -> Slot {
        Slot { permit: Mutex::new(working), recording: self.recording.clone() }
    }
}

/// The right to work on one job, until it is dropped or [`Slot::worked`].
pub(crate) struct Slot {
    permit: Mutex<OwnedSemaphorePermit>,
    recording: Arc<Semaphore>,
}

impl Slot {
    /// The work is done and has only to be recorded: the next job need not wait for that. But no
    /// more than a queue has slots are recorded beside those that are worked on; one that is too
    /// much keeps its slot, so that results do not pile up before a database that is slow or away.
    pub(crate) fn worked(&self) {
        if let Ok(recording) = self.recording.clone().try_acquire_owned() {
            *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = recording;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_leaves_its_slot_to_the_next_but_does_not_pile_up() {
        let slots = Slots::new(2);
        let first: Vec<_> = (0..2).map(|_| slots.try_take().unwrap()).collect();
        assert!(slots.try_take().is_none());
        first.iter().for_each(Slot::worked);
        let second: Vec<_> = (0..2).map(|_| slots.try_take().unwrap()).collect();
        second.iter().for_each(Slot::worked);
        assert!(slots.try_take().is_none(), "two are recorded already");
        drop(first);
        assert!(slots.try_take().is_none(), "they keep the slots that they had to keep");
        second[0].worked();
        let third = slots.try_take().unwrap();
        assert!(slots.try_take().is_none());
        drop((second, third));
        assert_eq!(slots.working.available_permits(), 2);
        assert_eq!(slots.recording.available_permits(), 2);
    }
}
