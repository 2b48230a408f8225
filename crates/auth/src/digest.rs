//! Digests that only the holder of the master key can make: for values that are looked up by, and that few enough people
//! could have chosen to be guessed from a plain digest: addresses, passwords.
//!
//! It doesn't know what is looked up. Next: `registry` for the columns that hold these.

use crate::{MasterKey, keyed::hmac_parts};
use std::fmt;
use zeroize::Zeroizing;

/// Makes keyed digests, one kind for each purpose.
#[derive(Clone)]
pub struct Digester(Zeroizing<[u8; 32]>);

impl Digester {
    /// One under `master`.
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        Self(master.derive("digest", b""))
    }

    /// The digest of `parts` for one purpose (`signup_keys.exact`): the same each time, and another for another purpose.
    #[must_use]
    pub fn of(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let parts: Vec<&[u8]> = std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()).collect();
        *hmac_parts(&self.0, &parts)
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_differ_by_key_by_purpose_and_by_where_parts_end() {
        let digester = Digester::new(&MasterKey::generate());
        let digest = digester.of("a", &[b"one", b"two"]);
        assert_eq!(digest, digester.clone().of("a", &[b"one", b"two"]));
        assert_ne!(digest, digester.of("b", &[b"one", b"two"]));
        assert_ne!(digest, digester.of("a", &[b"onet", b"wo"]));
        assert_ne!(digest, Digester::new(&MasterKey::generate()).of("a", &[b"one", b"two"]));
    }
}
