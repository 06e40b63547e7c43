//! Doing together what is asked for at the same time.
//!
//! While one round is at the database, whatever else is asked for waits, and the next round takes
//! all of it: under load one statement serves many callers, and nobody waits for a clock. A caller
//! that goes away meanwhile (its request timed out) does not take the others with it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use slipway_domain::fault::Fault;
use tokio::sync::oneshot;

/// What can be done together.
#[async_trait]
pub(crate) trait Together: 'static {
    /// What a round needs of the house.
    type House: Clone + Send + 'static;
    /// What one caller asks for.
    type Item: Send + 'static;
    /// What it gets.
    type Done: Send + 'static;
    /// Rounds at a time.
    const ROUNDS: usize;
    /// Items of one round at most.
    const MOST: usize;

    /// Whether `next` may go into the same round as `taken`, which is not empty.
    fn fits(taken: &[Self::Item], next: &Self::Item) -> bool {
        let _ = (taken, next);
        true
    }

    /// One round: gives as many answers as there are items, in their order.
    async fn all(cx: Self::House, items: Vec<Self::Item>) -> Vec<Result<Self::Done, Fault>>;
}

type Answer<T> = oneshot::Sender<Result<<T as Together>::Done, Fault>>;

/// What one round takes, and where its answers go.
type Taken<T> = (Vec<<T as Together>::Item>, Vec<Answer<T>>);

/// Who waits, and how many rounds are under way.
struct Waiting<T: Together> {
    items: VecDeque<(T::Item, Answer<T>)>,
    rounds: usize,
}

/// Gathers what is asked for at the same time. Cheap to clone.
pub(crate) struct Gather<T: Together>(Arc<Mutex<Waiting<T>>>);

impl<T: Together> Clone for Gather<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Together> Default for Gather<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Waiting { items: VecDeque::new(), rounds: 0 })))
    }
}

impl<T: Together> fmt::Debug for Gather<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.lock();
        write!(f, "Gather({} wait, {} rounds)", waiting.items.len(), waiting.rounds)
    }
}

impl<T: Together> Gather<T> {
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `item` done in the next round.
    pub(crate) async fn ask(&self, cx: &T::House, item: T::Item) -> Result<T::Done, Fault> {
        let (answer, answered) = oneshot::channel();
        let starts = {
            let mut waiting = self.lock();
            waiting.items.push_back((item, answer));
            let starts = waiting.rounds < T::ROUNDS;
            waiting.rounds += usize::from(starts);
            starts
        };
        if starts {
            tokio::spawn(self.clone().rounds(cx.clone()));
        }
        answered.await.map_err(|_| Fault::internal("the round that had this request broke off"))?
    }

    /// Does rounds until nobody waits.
    async fn rounds(self, cx: T::House) {
        // Whoever is about to ask comes along: who was answered together mostly asks together again.
        tokio::task::yield_now().await;
        while let Some((items, answers)) = self.take() {
            // A task of its own: a round that panics takes its own callers with it, nobody else.
            let Ok(done) = tokio::spawn(T::all(cx.clone(), items)).await else { continue };
            debug_assert_eq!(answers.len(), done.len(), "an answer for everybody");
            for (answer, done) in answers.into_iter().zip(done) {
                // Whoever has gone away does not want it any more.
                let _ = answer.send(done);
            }
            tokio::task::yield_now().await;
        }
    }

    /// What the next round takes. With `None` the rounds are over, and whoever asks next begins
    /// new ones.
    fn take(&self) -> Option<Taken<T>> {
        let mut waiting = self.lock();
        let (mut items, mut answers, mut later) = (Vec::new(), Vec::new(), VecDeque::new());
        while items.len() < T::MOST
            && let Some((item, answer)) = waiting.items.pop_front()
        {
            if items.is_empty() || T::fits(&items, &item) {
                items.push(item);
                answers.push(answer);
            } else {
                later.push_back((item, answer));
            }
        }
        // What did not fit keeps its place before what came after it.
        while let Some(last) = later.pop_back() {
            waiting.items.push_front(last);
        }
        if items.is_empty() {
            waiting.rounds -= 1;
            return None;
        }
        Some((items, answers))
    }
}

#[cfg(test)]
mod tests;
