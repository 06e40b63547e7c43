//! Gathering, without a house.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[derive(Clone, Default)]
struct Counts {
    rounds: Arc<AtomicUsize>,
    largest: Arc<AtomicUsize>,
}

/// Doubles numbers. Equal ones do not fit into one round; 13 makes a round panic.
struct Doubles;

#[async_trait]
impl Together for Doubles {
    type House = Counts;
    type Item = u64;
    type Done = u64;
    const ROUNDS: usize = 1;
    const MOST: usize = 10;

    fn fits(taken: &[u64], next: &u64) -> bool {
        !taken.contains(next)
    }

    async fn all(counts: Counts, items: Vec<u64>) -> Vec<Result<u64, Fault>> {
        counts.rounds.fetch_add(1, Ordering::Relaxed);
        counts.largest.fetch_max(items.len(), Ordering::Relaxed);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        assert!(!items.contains(&13), "this round breaks off");
        items.into_iter().map(|item| Ok(item * 2)).collect()
    }
}

async fn ask_all(
    gather: &Gather<Doubles>,
    counts: &Counts,
    items: impl IntoIterator<Item = u64>,
) -> Vec<(u64, Result<u64, Fault>)> {
    let mut tasks = Vec::new();
    for item in items {
        let (gather, counts) = (gather.clone(), counts.clone());
        let task = tokio::spawn(async move { (item, gather.ask(&counts, item).await) });
        tasks.push(task);
    }
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

#[tokio::test]
async fn those_who_ask_at_the_same_time_share_rounds_and_get_their_own_answers() {
    let (gather, counts) = (Gather::<Doubles>::default(), Counts::default());
    let done = ask_all(&gather, &counts, 100..141).await;
    assert_eq!(done.len(), 41);
    for (item, answer) in done {
        assert_eq!(answer.unwrap(), item * 2);
    }
    let (rounds, largest) = (&counts.rounds, &counts.largest);
    assert_eq!(largest.load(Ordering::Relaxed), 10, "no more than fit");
    assert!(rounds.load(Ordering::Relaxed) <= 7, "{} rounds", rounds.load(Ordering::Relaxed));
}

#[tokio::test]
async fn what_does_not_fit_has_its_turn_in_the_next_round() {
    let (gather, counts) = (Gather::<Doubles>::default(), Counts::default());
    let done = ask_all(&gather, &counts, [1, 1, 1, 2, 1]).await;
    assert!(done.iter().all(|(item, answer)| answer.as_ref().unwrap() == &(item * 2)));
    assert!(counts.rounds.load(Ordering::Relaxed) >= 4, "four equal ones, four rounds");
}

#[tokio::test]
async fn a_round_that_breaks_off_takes_nobody_else_with_it() {
    let (gather, counts) = (Gather::<Doubles>::default(), Counts::default());
    for _ in 0..3 {
        let fault = gather.ask(&counts, 13).await.unwrap_err();
        assert_eq!(fault.code, slipway_domain::fault::Code::Internal);
        assert_eq!(gather.ask(&counts, 4).await.unwrap(), 8);
    }
    // They end a moment after their last answer.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gather.lock().rounds, 0);
}

#[tokio::test]
async fn one_who_goes_away_does_not_keep_the_others() {
    let (gather, counts) = (Gather::<Doubles>::default(), Counts::default());
    let impatient = {
        let (gather, counts) = (gather.clone(), counts.clone());
        tokio::spawn(async move { gather.ask(&counts, 1).await })
    };
    tokio::task::yield_now().await;
    impatient.abort();
    let done = ask_all(&gather, &counts, [2, 3]).await;
    assert!(done.iter().all(|(_, answer)| answer.is_ok()));
}
