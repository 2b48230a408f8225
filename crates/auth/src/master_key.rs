//! The master key: the one secret an operator keeps, from which every other key is derived.
//!
//! It doesn't know where it is kept (a file, the environment) nor what the derived keys do.
//! Next: `sealer.rs` and `tokens.rs`, which derive theirs.

use crate::keyed::{fill_random, hmac_parts};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, general_purpose::PAD};
use portero_kernel::SecretString;
use std::fmt;
use zeroize::Zeroizing;

/// Keeps these derivations apart from any other use of the same 32 bytes, and from later ways of deriving.
const DOMAIN: &[u8] = b"portero/1";

/// 256 random bits. Wiped when dropped; boxed, so that moving it leaves no copy behind.
pub struct MasterKey(Box<Zeroizing<[u8; 32]>>);

/// A text that isn't a master key. It never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    /// Neither of the two spellings.
    #[error("the master key must be 32 bytes, written as 64 hexadecimal digits or as base64")]
    Malformed,
    /// The same byte 32 times: a placeholder that somebody forgot to replace.
    #[error("the master key is a placeholder: all of its bytes are the same")]
    Placeholder,
}

impl MasterKey {
    /// A new key from the operating system's generator.
    #[must_use]
    pub fn generate() -> Self {
        let mut key = Self::empty();
        fill_random(&mut key.0[..]);
        key
    }

    /// Reads 64 hexadecimal digits, or 32 bytes in base64 (standard or URL-safe, padded or not). White space around it
    /// is ignored: files end with a new line.
    ///
    /// # Errors
    /// Anything else, and a key of 32 equal bytes such as zeros.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        let bytes = if text.len() == 64 { from_hex(text) } else { from_base64(text) };
        let bytes = bytes.filter(|bytes| bytes.len() == 32).ok_or(MasterKeyError::Malformed)?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(MasterKeyError::Placeholder);
        }
        let mut key = Self::empty();
        key.0.copy_from_slice(&bytes);
        Ok(key)
    }

    /// 64 hexadecimal digits, for a file that only its owner can read.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        let mut text = String::with_capacity(64);
        for byte in self.0.iter() {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is a digit"));
            }
        }
        SecretString::from(text)
    }

    /// The key for one purpose (`label`) and one holder (`context`): HMAC-SHA256 under the master key, which is the
    /// pseudorandom function of NIST SP 800-108. Who has a derived key learns neither the master key nor its siblings.
    #[must_use]
    pub fn derive(&self, label: &str, context: &[u8]) -> Zeroizing<[u8; 32]> {
        hmac_parts(&self.0, &[DOMAIN, label.as_bytes(), context])
    }

    fn empty() -> Self {
        Self(Box::new(Zeroizing::new([0; 32])))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey([redacted])")
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.as_bytes().chunks(2) {
        let [high, low] = pair else { return None };
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
        bytes.push(nibble(*high)? << 4 | nibble(*low)?);
    }
    Some(bytes)
}

fn from_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let padding = PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, padding).decode(text).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_kernel::ExposeSecret;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";

    fn refused(text: &str) -> MasterKeyError {
        MasterKey::parse(text).unwrap_err()
    }

    #[test]
    fn every_spelling_is_the_same_key() {
        for text in [
            HEX,
            "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1EFF",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=\r\n",
        ] {
            assert_eq!(MasterKey::parse(text).unwrap().to_text().expose_secret(), HEX, "{text}");
        }
        let url_safe = MasterKey::parse("-_ECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8").unwrap();
        assert!(url_safe.to_text().expose_secret().starts_with("fbf102"));
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        for text in [
            "",
            "secret",
            &HEX[2..],
            &format!("{HEX}00"),
            &format!("+f{}", &HEX[2..]),
            &format!("é{}", &HEX[2..]),
            &format!("0x{HEX}"),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv9=",
        ] {
            assert_eq!(refused(text), MasterKeyError::Malformed, "{text:?}");
        }
        for text in ["0".repeat(64), "42".repeat(32), "A".repeat(43)] {
            assert_eq!(refused(&text), MasterKeyError::Placeholder, "{text}");
        }
    }

    #[test]
    fn generated_keys_differ_and_survive_being_written_down() {
        let (one, two) = (MasterKey::generate().to_text(), MasterKey::generate().to_text());
        assert_ne!(one.expose_secret(), two.expose_secret());
        let read = MasterKey::parse(one.expose_secret()).unwrap();
        assert_eq!(read.to_text().expose_secret(), one.expose_secret());
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", MasterKey::parse(HEX).unwrap()), "MasterKey([redacted])");
    }

    #[test]
    fn label_and_context_cannot_run_into_each_other() {
        let key = MasterKey::parse(HEX).unwrap();
        assert_ne!(key.derive("ab", b"c"), key.derive("a", b"bc"));
        assert_ne!(key.derive("ab", b""), key.derive("", b"ab"));
        assert_ne!(key.derive("token", b"a"), key.derive("token", b"b"));
        assert_ne!(key.derive("token", b"a"), MasterKey::generate().derive("token", b"a"));
    }

    /// Made with another implementation (Python's hmac): a change here would lock every stored secret away.
    #[test]
    fn the_derivation_is_what_it_was() {
        let derived = MasterKey::parse(HEX).unwrap().derive("token", b"tenant");
        assert_eq!(derived[..8], GOLDEN_DERIVED);
    }

    const GOLDEN_DERIVED: [u8; 8] = [41, 215, 136, 200, 11, 62, 69, 117];
}
