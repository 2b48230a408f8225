//! Hashing and verifying passwords with argon2id, a few at a time and off the async threads.
//!
//! One hash takes 19 MiB and tens of milliseconds of a core, which makes a login a way to exhaust the server. So a
//! number of them run at once, a number wait, and the rest are refused at once; and no tenant has more than its share
//! of that. A caller that goes away doesn't free its place while its hash is still being computed. Whether a user
//! exists doesn't show in the time: for nobody, a dummy hash is verified.
//!
//! It doesn't know users nor how often somebody tried. Next: `passwords/places.rs` for whose turn it is,
//! `passwords/memory.rs` for what is computed in, `tenant-api` for logins, `edge` for how often one may try.

mod memory;
mod places;

pub use places::Claimant;

use crate::Password;
use crate::password::{Candidate, is_too_long};
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::password_hash::{self, try_generate_salt};
use argon2::{ARGON2ID_IDENT, Argon2, Params, Version};
use memory::Memory;
use places::Places;
use portero_kernel::{ExposeSecret, Refusal, SecretString};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// OWASP's Password Storage Cheat Sheet, argon2id: 19 MiB, two passes, one lane. Also RustCrypto's default.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How long one waits for a turn: who waits holds a request, and somebody who looks at a form.
const PATIENCE: Duration = Duration::from_secs(5);
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

/// Hashes and verifies. Clones share the places and the memory.
#[derive(Debug, Clone)]
pub struct Passwords {
    places: Places,
    memory: Memory,
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

/// Why there is neither a password nor a hash nor a verdict.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Too many are waiting already, of all or of this claimant: try again in a second or so.
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
    /// The thread that computed it is gone: it panicked, or the process is shutting down.
    #[error("the thread that computed the password hash is gone")]
    Gone(#[source] JoinError),
}

impl Default for Passwords {
    /// Two at once, 32 waiting: 38 MiB, and half a second for the last in the queue at 30 ms a hash.
    fn default() -> Self {
        Self::new(2, 32)
    }
}

impl Passwords {
    /// A service that computes `at_once` hashes at a time (at least one) and lets `waiting` more wait. One [`Claimant`]
    /// may have a quarter of those places, and at least four. Its memory is 19 MiB for each of `at_once`, taken when
    /// first needed and kept.
    #[must_use]
    pub fn new(at_once: usize, waiting: usize) -> Self {
        Self { places: Places::new(at_once, waiting), memory: Memory::default() }
    }

    /// [`Password::parse`] for servers: what is cheap to see is refused at once, and the estimate, some milliseconds of
    /// processor, takes its turn off the async threads.
    ///
    /// # Errors
    /// [`AuthError::Busy`], or the thread that estimated is gone. Within, why the password may not be chosen.
    pub async fn choose(
        &self,
        claimant: Claimant,
        raw: &str,
        context: &[&str],
    ) -> Result<Result<Password, Refusal>, AuthError> {
        match Candidate::parse(raw, context) {
            Ok(candidate) => self.run(claimant, move || Ok(candidate.estimate())).await,
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// The PHC string of `password`, with a salt of its own: what is stored.
    ///
    /// # Errors
    /// [`AuthError::Busy`], or the computation failed.
    pub async fn hash(&self, claimant: Claimant, password: &Password) -> Result<String, AuthError> {
        self.hash_secret(claimant, password.secret().clone()).await
    }

    /// A new hash for a candidate that has just matched with `rehash: true`. Today's rules for choosing aren't applied:
    /// the password was chosen long ago.
    ///
    /// # Errors
    /// [`AuthError::Busy`], or the computation failed.
    pub async fn rehash(&self, claimant: Claimant, matched: SecretString) -> Result<String, AuthError> {
        self.hash_secret(claimant, matched).await
    }

    /// Whether `candidate` is the password whose hash is `stored`; `None` for a user who doesn't exist. A mismatch, no
    /// user and a candidate longer than [`Password::MAX`] characters cost the same.
    ///
    /// # Errors
    /// [`AuthError::Busy`], a stored hash that isn't argon2id or would cost too much, or the computation failed.
    pub async fn verify(
        &self,
        claimant: Claimant,
        candidate: SecretString,
        stored: Option<&str>,
    ) -> Result<Verdict, AuthError> {
        let hash = StoredHash::parse(stored.unwrap_or(DUMMY))?;
        let too_long = is_too_long(candidate.expose_secret());
        let hopeless = stored.is_none() || too_long;
        let candidate = if too_long { SecretString::default() } else { candidate };
        let memory = self.memory.clone();
        self.run(claimant, move || {
            let computed = compute(&memory, &hash.params, &candidate, &hash.salt)?;
            let same = bool::from(computed.as_slice().ct_eq(hash.output.as_bytes()));
            let rehash = hash.is_outdated();
            Ok(if same && !hopeless { Verdict::Match { rehash } } else { Verdict::Mismatch })
        })
        .await
    }

    async fn hash_secret(&self, claimant: Claimant, secret: SecretString) -> Result<String, AuthError> {
        let memory = self.memory.clone();
        self.run(claimant, move || {
            let params = params();
            let salt = try_generate_salt().map_err(|error| AuthError::Hash(error.into()))?;
            let output = compute(&memory, &params, &secret, &salt)?;
            phc(&params, &salt, &output).map_err(AuthError::Hash)
        })
        .await
    }

    async fn run<T, F>(&self, claimant: Claimant, work: F) -> Result<T, AuthError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, AuthError> + Send + 'static,
    {
        let place = self.places.claim(claimant)?;
        let turn = timeout(PATIENCE, place.turn()).await.map_err(|_| AuthError::Busy)?;
        spawn_blocking(move || {
            let _held_until_computed = turn;
            make_way();
            work()
        })
        .await
        .map_err(AuthError::Gone)?
    }
}

/// From now on this thread, which is for work that blocks, lets others go first. A hash keeps a core busy for as long as some
/// hundred requests do, and who waits for one doesn't notice a few milliseconds.
fn make_way() {
    // Elsewhere it would be about the whole process.
    #[cfg(target_os = "linux")]
    {
        const NICE: i32 = 10;
        thread_local!(static DONE: () = {
            // A system that forbids it is one where everybody is alike.
            let _ = rustix::process::setpriority_process(None, NICE);
        });
        DONE.with(|()| ());
    }
}

/// What new hashes cost.
fn params() -> Params {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT)).expect("OWASP's parameters are in range")
}

/// argon2id of `secret`, in memory that is lent and wiped.
fn compute(
    memory: &Memory,
    params: &Params,
    secret: &SecretString,
    salt: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AuthError> {
    let failed = |error: argon2::Error| AuthError::Hash(error.into());
    let argon2id = Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut output = Zeroizing::new(vec![0; params.output_len().unwrap_or(OUTPUT)]);
    let mut lent = memory.lend(params.block_count()).map_err(failed)?;
    argon2id
        .hash_password_into_with_memory(secret.expose_secret().as_bytes(), salt, &mut output, &mut lent)
        .map_err(failed)?;
    Ok(output)
}

/// A PHC string of argon2id.
fn phc(params: &Params, salt: &[u8], output: &[u8]) -> password_hash::Result<String> {
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params)?,
        salt: Some(Salt::new(salt)?),
        hash: Some(Output::new(output)?),
    };
    Ok(hash.to_string())
}

/// A stored hash that Portero could have written, and that costs no more than it may.
#[derive(Debug)]
struct StoredHash {
    params: Params,
    salt: Salt,
    output: Output,
}

impl StoredHash {
    /// Parses a PHC string, and refuses what Portero wouldn't have written before anything is computed.
    fn parse(stored: &str) -> Result<Self, AuthError> {
        let refused = |reason| AuthError::StoredHash { reason };
        let hash = PasswordHash::new(stored).map_err(|_| refused("it is not a PHC string"))?;
        if hash.algorithm != ARGON2ID_IDENT {
            return Err(refused("it is not argon2id"));
        }
        if hash.version != Some(Version::V0x13.into()) {
            return Err(refused("it is not of argon2's version 19"));
        }
        let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
            return Err(refused("its salt or its hash is missing"));
        };
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
        Ok(Self { params, salt, output })
    }

    /// Whether it has other parameters than new ones get.
    fn is_outdated(&self) -> bool {
        self.params != params()
    }
}

#[cfg(test)]
mod tests;
