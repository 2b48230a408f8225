//! Two small things that every key here needs: random bytes, and HMAC-SHA256 over parts that can't run into each other.
//!
//! It doesn't know what the keys are for. Next: `master_key.rs`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Fills `bytes` from the operating system's generator.
///
/// # Panics
/// Where the system has no randomness to give: going on with a guessable key would be worse.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

/// HMAC-SHA256 (RFC 2104) over `parts`, each preceded by its length, so that `["ab", "c"]` and `["a", "bc"]` differ.
pub(crate) fn hmac_parts(key: &[u8; 32], parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(&length_prefix(part));
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// A part's length in bytes, as eight bytes, the highest first.
pub(crate) fn length_prefix(part: &[u8]) -> [u8; 8] {
    (part.len() as u64).to_be_bytes()
}
