//! What does not work right now, part by part; the source of the transport's health.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The troubles of all parts. Says in the log when one begins, changes or ends, not each time it
/// is met again.
#[derive(Debug, Default)]
pub(super) struct Ward(Mutex<BTreeMap<String, Trouble>>);

#[derive(Debug, PartialEq, Eq)]
struct Trouble {
    why: String,
    /// Whether the log has it.
    said: bool,
}

impl Ward {
    fn troubles(&self) -> MutexGuard<'_, BTreeMap<String, Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `part` does not work, because of `why`.
    pub(super) fn ill(&self, part: &str, why: impl Into<String>) {
        let now = Trouble { why: why.into(), said: true };
        let mut troubles = self.troubles();
        if troubles.get(part) != Some(&now) {
            tracing::warn!(transport = super::NAME, part, why = now.why, "a part does not work");
            troubles.insert(part.to_owned(), now);
        }
    }

    /// `part` does not work until something else does, which says so itself.
    pub(super) fn waits(&self, part: &str) {
        let why = "waits for the broker".to_owned();
        self.troubles().entry(part.to_owned()).or_insert(Trouble { why, said: false });
    }

    /// `part` works.
    pub(super) fn well(&self, part: &str) {
        if self.troubles().remove(part).is_some_and(|trouble| trouble.said) {
            tracing::info!(transport = super::NAME, part, "a part works again");
        }
    }

    /// Whether `part` is known not to work.
    pub(super) fn is_ill(&self, part: &str) -> bool {
        self.troubles().contains_key(part)
    }

    /// The first trouble, if there is any.
    pub(super) fn check(&self) -> Result<(), String> {
        let troubles = self.troubles();
        troubles.iter().next().map_or(Ok(()), |(part, is)| Err(format!("{part}: {}", is.why)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_well_when_every_part_is() {
        let ward = Ward::default();
        assert_eq!(ward.check(), Ok(()));
        ward.ill("b", "away");
        ward.waits("a");
        ward.ill("a", "gone");
        ward.ill("a", "still gone");
        ward.waits("a");
        assert_eq!(ward.check(), Err("a: still gone".to_owned()));
        assert!(ward.is_ill("a"));
        ward.well("a");
        assert!(!ward.is_ill("a"));
        assert_eq!(ward.check(), Err("b: away".to_owned()));
        ward.well("b");
        assert_eq!(ward.check(), Ok(()));
    }
}
