//! What an operator shows: a token that says by itself what it is. Only its digest is ever stored.
//!
//! It begins with `ptr_op_` and ends with a checksum, so that a scanner that looks through repositories and logs for
//! leaked secrets finds it and isn't fooled by what merely looks alike: `ptr_op_[0-9a-f]{72}`. The checksum protects
//! nothing; it also lets a mistyped token be refused without asking anybody.

use crate::keyed::fill_random;
use portero_kernel::SecretString;
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

const PREFIX: &str = "ptr_op_";
/// Bytes of the checksum: the first ones of SHA-256 over what stands before it.
const CHECKSUM: usize = 4;

/// 256 random bits. Wiped when dropped.
pub struct OperatorToken(Zeroizing<[u8; 32]>);

/// A text that isn't an operator's token. It never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an operator's token")]
pub struct NotAnOperatorToken;

impl OperatorToken {
    /// A new token from the operating system's generator.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(&mut bytes[..]);
        Self(bytes)
    }

    /// Reads the 79 characters of [`OperatorToken::to_text`], in that one spelling.
    ///
    /// # Errors
    /// Anything else, and a wrong checksum.
    pub fn parse(text: &str) -> Result<Self, NotAnOperatorToken> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotAnOperatorToken)?;
        let (secret, sum) = digits.as_bytes().split_at_checked(64).ok_or(NotAnOperatorToken)?;
        let mut bytes = Zeroizing::new([0; 32]);
        read_hex(secret, &mut bytes[..])?;
        let mut told = [0; CHECKSUM];
        read_hex(sum, &mut told)?;
        let token = Self(bytes);
        if told == token.checksum() { Ok(token) } else { Err(NotAnOperatorToken) }
    }

    /// To be shown to its operator, once.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        let mut text = String::with_capacity(PREFIX.len() + 72);
        text.push_str(PREFIX);
        write_hex(&self.0[..], &mut text);
        write_hex(&self.checksum(), &mut text);
        SecretString::from(text)
    }

    /// SHA-256 of the secret: what is stored and looked up by. A slow hash would add nothing, since 256 random bits
    /// can't be guessed; that a look-up isn't constant-time gives away digests, not secrets.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0[..]).into()
    }

    fn checksum(&self) -> [u8; CHECKSUM] {
        let sum = Sha256::new().chain_update(PREFIX).chain_update(&self.0[..]).finalize();
        let mut first = [0; CHECKSUM];
        first.copy_from_slice(&sum[..CHECKSUM]);
        first
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken([redacted])")
    }
}

fn write_hex(bytes: &[u8], text: &mut String) {
    for nibble in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is a digit"));
    }
}

/// Lower-case digits, as many as `bytes` needs.
fn read_hex(digits: &[u8], bytes: &mut [u8]) -> Result<(), NotAnOperatorToken> {
    if digits.len() != 2 * bytes.len() {
        return Err(NotAnOperatorToken);
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(NotAnOperatorToken),
    };
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_kernel::ExposeSecret;

    #[test]
    fn a_token_survives_being_shown() {
        let token = OperatorToken::generate();
        let text = token.to_text();
        let text = text.expose_secret();
        assert!(text.len() == 79 && text.starts_with("ptr_op_"), "{}", text.len());
        assert_eq!(OperatorToken::parse(text).unwrap().digest(), token.digest());
        assert_ne!(OperatorToken::generate().digest(), token.digest());
        assert_eq!(format!("{token:?}"), "OperatorToken([redacted])");
    }

    #[test]
    fn another_spelling_and_a_slip_are_no_token() {
        let text = OperatorToken::generate().to_text().expose_secret().to_owned();
        let slip = if text.ends_with('0') { '1' } else { '0' };
        for bad in [
            String::new(),
            "ptr_op_".to_owned(),
            text[1..].to_owned(),
            text[..78].to_owned(),
            format!("{text}0"),
            format!("{text} "),
            format!("{}{slip}", &text[..78]),
            format!("ptr_op_{}é", &text[7..77]),
            format!("ptr_op_{}", "0".repeat(72)),
            text.to_uppercase(),
            "é".repeat(1_000_000),
        ] {
            assert_eq!(OperatorToken::parse(&bad).unwrap_err(), NotAnOperatorToken);
        }
    }

    /// Made with another implementation (Python's hashlib): a change here would refuse every token that is out there.
    #[test]
    fn the_checksum_is_what_it_was() {
        assert!(OperatorToken::parse(&format!("ptr_op_{}{GOLDEN_CHECKSUM}", "2a".repeat(32))).is_ok());
    }

    const GOLDEN_CHECKSUM: &str = "492e5029";
}
