//! SCRAM verifiers made on this side, so that no password ever stands in a statement, a server's log or
//! `pg_stat_statements`.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use portero_kernel::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// How often a password is hashed. PostgreSQL's own 4,096 rounds make guessing dear; what has 244 random bits can't be
/// guessed anyway, and each login would pay 4 ms for them, more than for all the rest of it.
const ROUNDS: u32 = 1;
const SALT_LEN: usize = 16;

/// The verifier (RFC 5803) of a password that was made at random, to store with `PASSWORD '…'`. Never for one that a person
/// chose: it is hashed only once.
///
/// # Panics
/// If the system has no random numbers.
#[must_use]
pub fn scram_verifier(random: &SecretString) -> String {
    let mut salt = [0; SALT_LEN];
    getrandom::fill(&mut salt).expect("the system has random numbers");
    verifier(random.expose_secret().as_bytes(), &salt, ROUNDS)
}

fn verifier(password: &[u8], salt: &[u8], rounds: u32) -> String {
    // PBKDF2 with one block.
    let mut last = keyed(password, &[salt, &1_u32.to_be_bytes()]);
    let mut salted = last;
    for _ in 1..rounds {
        last = keyed(password, &[&last]);
        salted.iter_mut().zip(last).for_each(|(sum, byte)| *sum ^= byte);
    }
    let stored = Sha256::digest(keyed(&salted, &[b"Client Key"]));
    let server = keyed(&salted, &[b"Server Key"]);
    let [salt, stored, server] = [salt, &stored[..], &server[..]].map(|bytes| STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${rounds}:{salt}${stored}:{server}")
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_what_postgresql_would_make() {
        let theirs = postgres_protocol::password::scram_sha_256(b"seven purple doors");
        let (salt, _) = theirs.split_once(':').unwrap().1.split_once('$').unwrap();
        assert_eq!(verifier(b"seven purple doors", &STANDARD.decode(salt).unwrap(), 4096), theirs);
    }

    #[test]
    fn no_two_have_the_same_salt() {
        let password = SecretString::from("x".to_owned());
        assert_ne!(scram_verifier(&password), scram_verifier(&password));
    }
}
