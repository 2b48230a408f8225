//! Hashing and verifying passwords with argon2id, a few at a time and off the async threads.
//!
//! One hash takes 19 MiB and tens of milliseconds of a core, which makes a login a way to exhaust the server. So a
//! number of them run at once, a number wait, and the rest are refused at once. A caller that goes away doesn't free
//! its place while its hash is still being computed. Whether a user exists doesn't show in the time: for nobody, a
//! dummy hash is verified.
//!
//! It doesn't know users nor how often somebody tried. Next: `tenant-api` for logins, `edge` for how often one may try.

use crate::Password;
use crate::password::is_too_long;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{ARGON2ID_IDENT, Argon2, Params, Version};
use portero_kernel::{ExposeSecret, SecretString};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

/// OWASP's Password Storage Cheat Sheet, argon2id: 19 MiB, two passes, one lane. Also RustCrypto's default.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Bytes of a hash.
const OUTPUT: usize = 32;

/// A stored hash may cost this much at most: room above OWASP's largest option (46 MiB), and no way to exhaust the
/// server by writing one row.
const MEMORY_KIB_MAX: u32 = 64 * 1024;
const PASSES_MAX: u32 = 10;
const LANES_MAX: u32 = 4;

/// What a candidate is compared with where there is no user: of today's cost. It is the hash of `nobody`, which
/// doesn't match either.
const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$zjdcfARTKBrN9LwjgzcZeQ$zTUzcVJy9BNJhl0XOW/zVuTsKrZFDK/2G4NogYZQEec";

/// Hashes and verifies. Clones share the places.
#[derive(Debug, Clone)]
pub struct Passwords {
    /// Running and waiting together.
    places: Arc<Semaphore>,
    /// Running.
    running: Arc<Semaphore>,
}

/// What came out of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the password.
    Match {
        /// Its hash has other parameters than new ones get: hash it anew while the password is at hand.
        rehash: bool,
    },
    /// It isn't, or there is no user.
    Mismatch,
}

/// Why there is neither a hash nor a verdict.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Too many are waiting already: try again in a second or so.
    #[error("too many passwords are being checked at once")]
    Busy,
    /// A stored hash that Portero wouldn't have written. Nothing was computed.
    #[error("the stored password hash is refused: {reason}")]
    StoredHash {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The computation itself failed, for want of memory for instance.
    #[error("the password hash could not be computed")]
    Hash(#[source] password_hash::Error),
    /// The thread that computed it is gone: the process is shutting down.
    #[error("the thread that computed the password hash is gone")]
    Gone(#[source] JoinError),
}

impl Default for Passwords {
    /// Two at once, 32 waiting: about 40 MiB, and half a second for the last in the queue at 30 ms a hash.
    fn default() -> Self {
        Self::new(2, 32)
    }
}

impl Passwords {
    /// A service that computes `at_once` hashes at a time (at least one) and lets `waiting` more wait.
    #[must_use]
    pub fn new(at_once: usize, waiting: usize) -> Self {
        let at_once = at_once.max(1);
        Self {
            places: Arc::new(Semaphore::new(at_once.saturating_add(waiting).min(Semaphore::MAX_PERMITS))),
            running: Arc::new(Semaphore::new(at_once.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// The PHC string of `password`, with a salt of its own: what is stored.
    ///
    /// # Errors
    /// [`AuthError::Busy`], or the computation failed.
    pub async fn hash(&self, password: &Password) -> Result<String, AuthError> {
        self.hash_secret(password.secret().clone()).await
    }

    /// A new hash for a candidate that has just matched with `rehash: true`. Today's rules for choosing aren't applied:
    /// the password was chosen long ago.
    ///
    /// # Errors
    /// [`AuthError::Busy`], or the computation failed.
    pub async fn rehash(&self, matched: SecretString) -> Result<String, AuthError> {
        self.hash_secret(matched).await
    }

    /// Whether `candidate` is the password whose hash is `stored`; `None` for a user who doesn't exist. A mismatch, no
    /// user and a candidate longer than [`Password::MAX`] characters cost the same.
    ///
    /// # Errors
    /// [`AuthError::Busy`], a stored hash that isn't argon2id or would cost too much, or the computation failed.
    pub async fn verify(&self, candidate: SecretString, stored: Option<&str>) -> Result<Verdict, AuthError> {
        let hash = read_stored(stored.unwrap_or(DUMMY))?;
        let too_long = is_too_long(candidate.expose_secret());
        let hopeless = stored.is_none() || too_long;
        let candidate = if too_long { SecretString::default() } else { candidate };
        self.run(move || match argon2id().verify_password(candidate.expose_secret().as_bytes(), &hash) {
            Ok(()) if !hopeless => Ok(Verdict::Match { rehash: is_outdated(&hash) }),
            Ok(()) | Err(password_hash::Error::PasswordInvalid) => Ok(Verdict::Mismatch),
            Err(error) => Err(AuthError::Hash(error)),
        })
        .await
    }

    async fn hash_secret(&self, secret: SecretString) -> Result<String, AuthError> {
        self.run(move || {
            let hash =
                argon2id().hash_password(secret.expose_secret().as_bytes()).map_err(AuthError::Hash)?;
            Ok(hash.to_string())
        })
        .await
    }

    async fn run<T, F>(&self, work: F) -> Result<T, AuthError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, AuthError> + Send + 'static,
    {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| AuthError::Busy)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| AuthError::Busy)?;
        spawn_blocking(move || {
            let _held_until_computed = (place, turn);
            work()
        })
        .await
        .map_err(AuthError::Gone)?
    }
}

fn argon2id() -> Argon2<'static> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT)).expect("OWASP's parameters are in range");
    Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params)
}

/// Parses a PHC string, and refuses what Portero wouldn't have written before anything is computed.
fn read_stored(stored: &str) -> Result<PasswordHash, AuthError> {
    let refused = |reason| AuthError::StoredHash { reason };
    let hash = PasswordHash::new(stored).map_err(|_| refused("it is not a PHC string"))?;
    if hash.algorithm != ARGON2ID_IDENT {
        return Err(refused("it is not argon2id"));
    }
    if hash.version != Some(Version::V0x13.into()) {
        return Err(refused("it is not of argon2's version 19"));
    }
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(refused("its salt or its hash is missing"));
    }
    let params = Params::try_from(&hash).map_err(|_| refused("its parameters are not argon2's"))?;
    if params.m_cost() > MEMORY_KIB_MAX {
        return Err(refused("it asks for more than 64 MiB"));
    }
    if params.t_cost() > PASSES_MAX {
        return Err(refused("it asks for more than 10 passes"));
    }
    if params.p_cost() > LANES_MAX {
        return Err(refused("it asks for more than 4 lanes"));
    }
    Ok(hash)
}

/// Whether a hash that was read has other parameters than new ones get.
fn is_outdated(hash: &PasswordHash) -> bool {
    Params::try_from(hash).is_ok_and(|params| params != *argon2id().params())
}

#[cfg(test)]
mod tests;
