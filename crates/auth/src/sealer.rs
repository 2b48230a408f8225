//! Secrets at rest: sealed for one tenant and one column, so that a stolen registry gives nothing away and a value
//! moved to another row doesn't open.
//!
//! Layout: version (1 byte) ‖ key id (8) ‖ nonce (24) ‖ ciphertext ‖ tag (16). The nonce is random: XChaCha20's 192
//! bits leave no birthday to fear (draft-irtf-cfrg-xchacha-03), so there is no counter to keep. The place and the owner
//! aren't stored; they are authenticated, and whoever opens must know them. The key id tells a wrong master key from a
//! tampered value, and lets a rotation find what is still sealed with the old one.
//!
//! It doesn't know the registry: a place is a word. Next: `registry` for the columns that hold these.

use crate::MasterKey;
use crate::keyed::{fill_random, length_prefix};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use std::fmt;
use uuid::Uuid;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const KEY_ID: usize = 8;
const NONCE: usize = 24;
const TAG: usize = 16;

/// Seals and opens with one master key.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    key_id: [u8; KEY_ID],
}

/// Why a sealed secret didn't open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short, or of a version that isn't known here.
    #[error("this is not a sealed secret of a known version")]
    Malformed,
    /// Sealed with another master key than the one in use.
    #[error("the secret was sealed with another master key")]
    OtherKey,
    /// The right key, and yet: changed, or taken from another owner or another place.
    #[error("the secret was tampered with, or belongs to another owner or place")]
    Tampered,
}

impl Sealer {
    /// A sealer under `master`, with keys of its own.
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        let mut key_id = [0; KEY_ID];
        key_id.copy_from_slice(&master.derive("seal-key-id", b"")[..KEY_ID]);
        Self { cipher: XChaCha20Poly1305::new((&*master.derive("seal", b"")).into()), key_id }
    }

    /// Seals `plain` for one place (`tenants.db_url`) and one owner, to be opened there and nowhere else. The result is
    /// 49 bytes longer than `plain`, and another one each time.
    #[must_use]
    pub fn seal(&self, place: &str, owner: Uuid, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        fill_random(&mut nonce);
        self.seal_with(nonce, place, owner, plain)
    }

    /// Opens what [`Sealer::seal`] made for the same place and owner.
    ///
    /// # Errors
    /// Not a sealed secret, sealed with another master key, or tampered with.
    pub fn open(&self, place: &str, owner: Uuid, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (&version, rest) = sealed.split_first().ok_or(OpenError::Malformed)?;
        if version != VERSION || rest.len() < KEY_ID + NONCE + TAG {
            return Err(OpenError::Malformed);
        }
        let (key_id, rest) = rest.split_at(KEY_ID);
        if key_id != self.key_id {
            return Err(OpenError::OtherKey);
        }
        let (nonce, msg) = rest.split_at(NONCE);
        let nonce = XNonce::try_from(nonce).map_err(|_| OpenError::Malformed)?;
        let payload = Payload { msg, aad: &associated_data(place, owner) };
        self.cipher.decrypt(&nonce, payload).map(Zeroizing::new).map_err(|_| OpenError::Tampered)
    }

    fn seal_with(&self, nonce: [u8; NONCE], place: &str, owner: Uuid, plain: &[u8]) -> Vec<u8> {
        let payload = Payload { msg: plain, aad: &associated_data(place, owner) };
        let ciphertext = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a secret is far shorter than the cipher's limit of 256 GiB");
        [&[VERSION][..], &self.key_id, &nonce, &ciphertext].concat()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

fn associated_data(place: &str, owner: Uuid) -> Vec<u8> {
    [&[VERSION][..], &length_prefix(place.as_bytes()), place.as_bytes(), owner.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &str = "tenants.db_url";
    const URL: &[u8] = b"postgres://t_1:secret@db/t_1";

    fn sealer(digit: char) -> Sealer {
        let text = format!("{}0", digit.to_string().repeat(63));
        Sealer::new(&MasterKey::parse(&text).unwrap())
    }

    #[test]
    fn what_was_sealed_opens_at_its_place_for_its_owner() {
        let (sealer, owner) = (sealer('1'), Uuid::new_v4());
        for plain in [&b""[..], URL, &[0; 100_000]] {
            let sealed = sealer.seal(PLACE, owner, plain);
            assert_eq!(sealed.len(), plain.len() + 49);
            assert_eq!(sealer.open(PLACE, owner, &sealed).unwrap()[..], *plain);
        }
    }

    #[test]
    fn two_tenants_swapped_do_not_open() {
        let (sealer, a, b) = (sealer('1'), Uuid::new_v4(), Uuid::new_v4());
        let (of_a, of_b) = (sealer.seal(PLACE, a, b"a"), sealer.seal(PLACE, b, b"b"));
        assert_eq!(sealer.open(PLACE, b, &of_a), Err(OpenError::Tampered));
        assert_eq!(sealer.open(PLACE, a, &of_b), Err(OpenError::Tampered));
    }

    #[test]
    fn two_columns_swapped_do_not_open() {
        let (sealer, owner) = (sealer('1'), Uuid::new_v4());
        let sealed = sealer.seal(PLACE, owner, URL);
        for place in ["servers.admin_url", "tenants.db_ur", "tenants.db_url ", ""] {
            assert_eq!(sealer.open(place, owner, &sealed), Err(OpenError::Tampered), "{place}");
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let (sealer, owner) = (sealer('1'), Uuid::new_v4());
        let sealed = sealer.seal(PLACE, owner, URL);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = match bit / 8 {
                0 => OpenError::Malformed,
                1..=KEY_ID => OpenError::OtherKey,
                _ => OpenError::Tampered,
            };
            assert_eq!(sealer.open(PLACE, owner, &flipped), Err(expected), "bit {bit}");
        }
    }

    #[test]
    fn every_cut_and_every_addition_is_seen() {
        let (sealer, owner) = (sealer('1'), Uuid::new_v4());
        let mut sealed = sealer.seal(PLACE, owner, URL);
        for end in 0..sealed.len() {
            assert!(sealer.open(PLACE, owner, &sealed[..end]).is_err(), "{end} bytes");
        }
        sealed.push(0);
        assert_eq!(sealer.open(PLACE, owner, &sealed), Err(OpenError::Tampered));
    }

    #[test]
    fn another_master_key_is_told_from_tampering() {
        let owner = Uuid::new_v4();
        let sealed = sealer('1').seal(PLACE, owner, URL);
        let error = sealer('2').open(PLACE, owner, &sealed).unwrap_err();
        assert_eq!(error, OpenError::OtherKey);
        assert_eq!(error.to_string(), "the secret was sealed with another master key");
    }

    #[test]
    fn the_same_secret_never_looks_the_same_twice() {
        let (sealer, owner) = (sealer('1'), Uuid::new_v4());
        assert_ne!(sealer.seal(PLACE, owner, URL)[9..], sealer.seal(PLACE, owner, URL)[9..]);
    }

    /// Made with another implementation (libsodium): a change here would lock every stored secret away.
    #[test]
    fn the_layout_is_what_it_was() {
        let sealed = sealer('1').seal_with([7; NONCE], PLACE, Uuid::from_u128(5), b"plain");
        assert_eq!(sealed, GOLDEN);
    }

    const GOLDEN: [u8; 54] = [
        1, 59, 219, 12, 62, 108, 83, 22, 206, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        7, 7, 7, 113, 248, 138, 168, 197, 186, 156, 112, 236, 202, 40, 156, 219, 196, 216, 7, 88, 65, 146,
        236, 141,
    ];
}
