//! The secret of a session: what a browser's cookie carries. Only its digest is ever stored.
//!
//! It doesn't know cookies nor the table of sessions. Next: `tokens.rs` for what is good without a look-up.

use crate::keyed::fill_random;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use portero_kernel::SecretString;
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// 256 random bits: twice what OWASP ASVS 5.0 asks of a session token (7.2.3). Wiped when dropped.
pub struct SessionSecret(Zeroizing<[u8; 32]>);

/// A text that isn't the secret of a session. It never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the secret of a session")]
pub struct NotASessionSecret;

impl SessionSecret {
    /// A new secret from the operating system's generator.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(&mut bytes[..]);
        Self(bytes)
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A secret that was derived, so that the same question is answered with the same one. `digest` is a keyed one.
    #[must_use]
    pub fn derived(digest: [u8; 32]) -> Self {
        Self::from_bytes(digest)
    }

    /// Reads the 43 characters of [`SessionSecret::to_text`], in that one spelling.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, NotASessionSecret> {
        if text.len() != 43 {
            return Err(NotASessionSecret);
        }
        let decoded = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| NotASessionSecret)?);
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(&decoded);
        Ok(Self(bytes))
    }

    /// 43 characters of base64url (RFC 4648, section 5, without padding): fit for a cookie as they are.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        SecretString::from(BASE64_URL_SAFE_NO_PAD.encode(&self.0[..]))
    }

    /// SHA-256 of the secret: what is stored and looked up by. A slow hash would add nothing, since 256 random bits
    /// can't be guessed; that a look-up isn't constant-time gives away digests, not secrets.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0[..]).into()
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_kernel::ExposeSecret;

    #[test]
    fn a_secret_survives_the_cookie() {
        let secret = SessionSecret::generate();
        let text = secret.to_text();
        assert_eq!(text.expose_secret().len(), 43);
        assert_eq!(SessionSecret::parse(text.expose_secret()).unwrap().digest(), secret.digest());
        assert_ne!(SessionSecret::generate().digest(), secret.digest());
    }

    #[test]
    fn the_digest_is_sha_256() {
        let secret = SessionSecret::parse(&"A".repeat(43)).unwrap();
        assert_eq!(secret.digest()[..4], [0x66, 0x68, 0x7a, 0xad]);
    }

    #[test]
    fn another_spelling_is_another_text() {
        let text = "-_".repeat(21) + "8";
        assert!(SessionSecret::parse(&text).is_ok());
        for bad in [
            String::new(),
            "A".repeat(42),
            "A".repeat(44),
            format!("{}=", "A".repeat(43)),
            format!("{}B", "A".repeat(42)),
            format!("{} ", "A".repeat(42)),
            text.replace('-', "+").replace('_', "/"),
            "é".repeat(21) + "A",
            "A".repeat(1_000_000),
        ] {
            assert_eq!(SessionSecret::parse(&bad).unwrap_err(), NotASessionSecret);
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", SessionSecret::generate()), "SessionSecret([redacted])");
    }
}
