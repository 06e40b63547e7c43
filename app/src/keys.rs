//! `slipway keys`: the keys that seal what is kept.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use slipway_config::Config;
use slipway_domain::access::{Door, Principal};
use slipway_domain::clock::SystemClock;
use slipway_domain::id::RandomMint;
use slipway_services::key::{self, InUse, Progress};
use slipway_store::Store;
use slipway_store::crypto::Keyring;

use crate::wire;

/// Prints a new key ring.
pub(crate) fn generate() -> anyhow::Result<()> {
    println!("{}", *Keyring::generate()?);
    Ok(())
}

/// Gives everything that is sealed the current key, or (`check`) says which keys are in use.
pub(crate) async fn rotate(config: &Config, check: bool, json: bool) -> anyhow::Result<()> {
    let store = wire::store_of_keys(config).await?;
    let done = if check { look(&store, json).await } else { go(&store, json).await };
    store.close().await;
    let in_use = done?;
    anyhow::ensure!(
        in_use.objects_missing == 0,
        "{} artifacts are named by the database and are not in {}",
        in_use.objects_missing,
        config.artifacts.dir.display()
    );
    anyhow::ensure!(
        in_use.left == 0,
        "{} envelopes are not under the current key {}{}",
        in_use.left,
        in_use.current,
        if check {
            ""
        } else {
            ": another process still seals with its old key. Restart it with the \
             current one, and rotate again"
        }
    );
    Ok(())
}

async fn look(store: &Store, json: bool) -> anyhow::Result<InUse> {
    let in_use = key::in_use(store).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&in_use)?);
    } else {
        print!("{}", table(&in_use));
    }
    Ok(in_use)
}

async fn go(store: &Store, json: bool) -> anyhow::Result<InUse> {
    let who = Principal::local(Door::Internal);
    let mut shown = Instant::now();
    let each = if std::io::stderr().is_terminal() { 1 } else { 10 };
    let progress = |so_far: Progress| {
        if shown.elapsed() >= Duration::from_secs(each) {
            shown = Instant::now();
            eprintln!("{} of {} envelopes have the current key", so_far.rewrapped, so_far.total);
        }
    };
    let rotated = key::rotate(store, &SystemClock, &RandomMint, &who, progress).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&rotated)?);
    } else {
        let current = &rotated.now.current;
        println!("{} envelopes were given the current key, {current}.", rotated.rewrapped);
        print!("{}", table(&rotated.now));
    }
    Ok(rotated.now)
}

/// One line a key.
fn table(in_use: &InUse) -> String {
    let mut text = String::new();
    let mut say = |key: &str, count: u64| {
        let note = if key == in_use.current {
            "current"
        } else if in_use.keys_missing.contains_key(key) {
            "not here: what is under it cannot be opened"
        } else {
            "to be rotated"
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{count:>9}  {key}  {note}");
    };
    if !in_use.envelopes.contains_key(&in_use.current) {
        say(&in_use.current, 0);
    }
    for (key, count) in &in_use.envelopes {
        say(key, *count);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_of_every_key_what_it_is() {
        let in_use = InUse {
            current: "k-new".to_owned(),
            envelopes: [("k-gone".to_owned(), 2), ("k-old".to_owned(), 30)].into(),
            left: 32,
            keys_missing: [("k-gone".to_owned(), 2)].into(),
            objects_missing: 0,
        };
        let text = table(&in_use);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].ends_with("k-new  current"), "{text}");
        assert!(lines[1].contains("k-gone  not here"), "{text}");
        assert!(lines[2].trim_start().starts_with("30  k-old  to be"), "{text}");
    }
}
