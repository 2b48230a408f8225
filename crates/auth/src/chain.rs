//! The mathematics of the audit log: a chain of hashes that anybody can follow, and seals on it that only the holder of
//! the master key can make.
//!
//! Each link is SHA-256 over the link before and the row's own fields, so a row can't be changed, taken out, put in or
//! moved without every later link being another. Whoever owns the database could compute all of those anew: so each
//! link is sealed besides, with a key that the database doesn't have. What neither tells is that the last rows are
//! missing; for that one keeps a link elsewhere and compares.

use crate::{
    MasterKey,
    keyed::{hmac_parts, length_prefix},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A link: SHA-256.
pub type Link = [u8; 32];

/// Makes and checks links and seals.
pub struct Chain {
    key: Zeroizing<[u8; 32]>,
}

impl Chain {
    /// What stands before the first link.
    pub const START: Link = [0; 32];

    /// Derives the key of the seals.
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        Self { key: master.derive("audit", b"") }
    }

    /// The link of a row with these fields. Each is preceded by its length, so that they can't run into each other.
    #[must_use]
    pub fn link(before: &Link, fields: &[&[u8]]) -> Link {
        let mut hash = Sha256::new_with_prefix(before);
        for field in fields {
            hash.update(length_prefix(field));
            hash.update(field);
        }
        hash.finalize().into()
    }

    /// The seal of a link at its place.
    #[must_use]
    pub fn seal(&self, number: i64, link: &Link) -> [u8; 32] {
        *hmac_parts(&self.key, &[&number.to_be_bytes(), link])
    }

    /// Whether this is the seal, in a time that doesn't tell how much of it is right.
    #[must_use]
    pub fn seals(&self, number: i64, link: &Link, seal: &[u8]) -> bool {
        self.seal(number, link)[..].ct_eq(seal).into()
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chain([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_of_its_fields_and_of_what_came_before() {
        let link = Chain::link(&Chain::START, &[b"ab", b"c"]);
        assert_ne!(link, Chain::link(&Chain::START, &[b"a", b"bc"]));
        assert_ne!(link, Chain::link(&link, &[b"ab", b"c"]));
        assert_eq!(link, Chain::link(&Chain::START, &[b"ab", b"c"]));
    }

    #[test]
    fn only_the_same_key_seals_and_only_in_the_same_place() {
        let (ours, theirs) = (Chain::new(&MasterKey::generate()), Chain::new(&MasterKey::generate()));
        let link = Chain::link(&Chain::START, &[b"row"]);
        let seal = ours.seal(7, &link);
        assert!(ours.seals(7, &link, &seal));
        assert!(!ours.seals(8, &link, &seal) && !ours.seals(7, &Chain::START, &seal));
        assert!(!theirs.seals(7, &link, &seal) && !ours.seals(7, &link, &seal[..31]));
    }
}
