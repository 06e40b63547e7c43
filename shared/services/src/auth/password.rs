//! Hashes of passwords: argon2id, a few at a time.
//!
//! One hash takes 19 MiB and tens of milliseconds on purpose, so that guessing is dear. Two run at a
//! time, on threads of their own, and only so many wait: a flood of sign-ins costs those who flood,
//! not the memory of the process.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use slipway_domain::Secret;
use slipway_domain::fault::{Code, Fault};
use tokio::sync::Semaphore;

/// Hashes at a time.
const AT_ONCE: usize = 2;
/// Hashes that may wait.
const WAITING: usize = 32;

/// 19 MiB, two passes, one lane.
static PARAMS: LazyLock<Params> =
    LazyLock::new(|| Params::new(19 * 1024, 2, 1, Some(32)).unwrap_or_default());

fn argon() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS.clone())
}

/// What a password is held against when there is none: no password has this hash, and finding that
/// out takes as long as for any other.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2xpcHdheS1ub2JvZHktMDA\
                       $AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What came of holding a password against a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It is another one.
    Wrong,
    /// It is the one.
    Right,
    /// It is the one, and its hash has parameters of another day.
    RightButOld,
}

/// The right to hash.
#[derive(Debug)]
pub(crate) struct Passwords {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    runs: AtomicU64,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: AtomicUsize::new(0),
            runs: AtomicU64::new(0),
        }
    }
}

/// One that waits; it stops being counted when it goes, however it goes.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Passwords {
    /// How many hashes were made.
    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Acquire)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _place = Place(&self.waiting);
        if before >= WAITING + AT_ONCE {
            return Err(Fault {
                retry_after_s: Some(2),
                ..Fault::new(Code::RateLimited, "Too many sign in at once. Try again in a moment.")
            });
        }
        let permit = self.permits.clone().acquire_owned().await.map_err(Fault::internal)?;
        self.runs.fetch_add(1, Ordering::AcqRel);
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // A caller that went away does not let another one begin beside this one.
            drop(permit);
            done
        });
        done.await.map_err(Fault::internal)
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: &Secret<String>) -> Result<String, Fault> {
        let salt = slipway_store::crypto::random::<16>()?;
        let password = password.clone();
        let hashed =
            self.run(move || argon().hash_password_with_salt(password.reveal().as_bytes(), &*salt));
        Ok(hashed.await?.map_err(|why| Fault::internal(why.to_string()))?.to_string())
    }

    /// Holds a password against a hash; against nobody's, where there is none.
    pub(crate) async fn check(
        &self,
        password: &Secret<String>,
        hash: Option<String>,
    ) -> Result<Checked, Fault> {
        let password = password.clone();
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODYS.to_owned());
        self.run(move || {
            let Ok(hash) = PasswordHash::new(&hash) else { return Checked::Wrong };
            let right = argon().verify_password(password.reveal().as_bytes(), &hash).is_ok();
            let current = Params::try_from(&hash).is_ok_and(|params| {
                (params.m_cost(), params.t_cost(), params.p_cost())
                    == (PARAMS.m_cost(), PARAMS.t_cost(), PARAMS.p_cost())
            }) && hash.algorithm.as_str() == "argon2id";
            match (right && known, current) {
                (false, _) => Checked::Wrong,
                (true, true) => Checked::Right,
                (true, false) => Checked::RightButOld,
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other() {
        let passwords = Passwords::default();
        let hash = passwords.hash(&secret("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let check = async |text: &str, hash: Option<String>| {
            passwords.check(&secret(text), hash).await.unwrap()
        };
        assert_eq!(check("correct horse", Some(hash.clone())).await, Checked::Right);
        assert_eq!(check("correct Horse", Some(hash.clone())).await, Checked::Wrong);
        assert_eq!(check("correct horse", Some("no hash".to_owned())).await, Checked::Wrong);
        let runs = passwords.runs();
        assert_eq!(check("correct horse", None).await, Checked::Wrong);
        assert_eq!(passwords.runs(), runs + 1, "nobody's hash is worked out too");
        let weak = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(8 * 1024, 1, 1, Some(32)).unwrap(),
        );
        let old = weak.hash_password_with_salt(b"correct horse", b"0123456789abcdef").unwrap();
        assert_eq!(check("correct horse", Some(old.to_string())).await, Checked::RightButOld);
    }

    #[test]
    fn nobodys_hash_is_one_with_the_parameters_of_all_others() {
        let hash = PasswordHash::new(NOBODYS).unwrap();
        let params = Params::try_from(&hash).unwrap();
        assert_eq!(params.m_cost(), PARAMS.m_cost());
        assert_eq!((params.t_cost(), params.p_cost()), (PARAMS.t_cost(), PARAMS.p_cost()));
    }

    #[tokio::test]
    async fn only_so_many_wait() {
        use futures::StreamExt as _;

        let passwords = Passwords::default();
        let held = passwords.permits.clone().acquire_many_owned(2).await.unwrap();
        let word = secret("correct horse");
        let ask = || passwords.check(&word, None);
        let mut waiting = futures::stream::FuturesUnordered::new();
        for _ in 0..WAITING + AT_ONCE + 3 {
            waiting.push(ask());
        }
        for _ in 0..3 {
            let refused = waiting.next().await.unwrap().unwrap_err();
            assert_eq!(refused.code, Code::RateLimited);
        }
        drop(held);
        drop(waiting);
        assert_eq!(passwords.check(&word, None).await.unwrap(), Checked::Wrong);
        assert_eq!(passwords.waiting.load(Ordering::Acquire), 0);
    }
}
