//! What this process knows of stacks without asking: a stack is never deleted, and its name, its id
//! and its driver stay what they are.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use slipway_domain::id::StackId;
use slipway_domain::stack::{DriverKind, Stack, StackKey};

/// So many at most; a key has up to 191 bytes.
const MOST: usize = 10_000;

/// What never changes of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) id: StackId,
    pub(crate) key: StackKey,
    pub(crate) driver: DriverKind,
}

impl From<Stack> for Fixed {
    fn from(stack: Stack) -> Self {
        Self { id: stack.id, key: stack.key, driver: stack.driver }
    }
}

/// Stacks that were seen in the database.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<StackKey, (StackId, DriverKind)>>);

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Known({} stacks)", self.lock().len())
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, HashMap<StackKey, (StackId, DriverKind)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stacks of these keys, if each of them is known.
    pub(crate) fn all(&self, keys: &HashSet<&StackKey>) -> Option<Vec<Fixed>> {
        let known = self.lock();
        let of = |key: &&StackKey| {
            known.get(*key).map(|&(id, driver)| Fixed { id, key: (*key).clone(), driver })
        };
        keys.iter().map(of).collect()
    }

    /// Takes note of stacks, which must be committed.
    pub(crate) fn keep(&self, stacks: &[Fixed]) {
        let mut known = self.lock();
        if known.len() + stacks.len() > MOST {
            known.clear();
        }
        known.extend(stacks.iter().map(|s| (s.key.clone(), (s.id, s.driver))));
    }

    /// Forgets them all: another database may be in the place of the one they were seen in.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use slipway_domain::id::{Mint as _, RandomMint};

    use super::*;

    fn stack(name: &str) -> Fixed {
        let key = StackKey { project: "p".into(), name: name.into(), environment: "e".into() };
        Fixed { id: StackId(RandomMint.uuid()), key, driver: DriverKind::Terraform }
    }

    #[test]
    fn stacks_are_known_together_or_not_at_all() {
        let (known, net, web) = (Known::default(), stack("net"), stack("web"));
        known.keep(std::slice::from_ref(&net));
        assert_eq!(known.all(&HashSet::from([&net.key])), Some(vec![net.clone()]));
        assert_eq!(known.all(&HashSet::from([&net.key, &web.key])), None);
        known.forget();
        assert_eq!(known.all(&HashSet::from([&net.key])), None);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let known = Known::default();
        for n in 0..=MOST {
            known.keep(&[stack(&format!("s{n}"))]);
        }
        assert_eq!(known.lock().len(), 1);
    }
}
