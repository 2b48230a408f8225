//! The first label of a company's address: `acme` in `acme.ejemplo.com`.

use crate::refusal::Refusal;
use std::{collections::HashSet, fmt, sync::LazyLock};

/// Names that nobody may take: infrastructure, the product's own pages, roles, well-known brands.
static RESERVED: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("reserved.txt")
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
});

/// A DNS label of 3 to 40 characters: `a` to `z`, digits, inner hyphens, at least one letter, no `--` in third and
/// fourth place (RFC 5891 keeps those for encodings such as `xn--`).
///
/// Whether a *new* company may have it is [`Subdomain::is_reserved`] and the registry's to say; a name that was given
/// away before it was reserved goes on working.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subdomain(String);

impl Subdomain {
    /// Characters needed at least.
    pub const MIN: usize = 3;
    /// Characters allowed at most.
    pub const MAX: usize = 40;

    /// Trims, lowers the case and checks what was typed.
    ///
    /// # Errors
    /// Empty, too short, too long, or not a label.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let text = raw.trim();
        if text.is_empty() {
            return Err(Refusal::Required);
        }
        let label = text.to_ascii_lowercase();
        let proper = label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && label.bytes().any(|b| b.is_ascii_lowercase())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.get(2..4) != Some("--");
        if !proper {
            return Err(Refusal::NotALabel);
        }
        match label.len() {
            ..Self::MIN => Err(Refusal::TooShort { min: Self::MIN }),
            Self::MIN..=Self::MAX => Ok(Self(label)),
            _ => Err(Refusal::TooLong { max: Self::MAX }),
        }
    }

    /// Whether new companies are refused this name.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(self.0.as_str())
    }

    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subdomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_parsed_once() {
        assert_eq!(Subdomain::parse(" ACME ").unwrap().as_str(), "acme");
        assert!(Subdomain::parse("a-1").is_ok());
        assert!(Subdomain::parse(&"a".repeat(40)).is_ok());
        assert_eq!(Subdomain::parse("ab"), Err(Refusal::TooShort { min: 3 }));
        assert_eq!(Subdomain::parse(&"a".repeat(41)), Err(Refusal::TooLong { max: 40 }));
        assert_eq!(Subdomain::parse("  "), Err(Refusal::Required));
        for bad in [
            "-acme",
            "acme-",
            "ac.me",
            "ac me",
            "ac_me",
            "xn--acme",
            "ab--c",
            "añil",
            "12345",
            "a\"; DROP DATABASE x;--",
            "acme\0",
            "ＡＣＭＥ",
            "%61cme",
        ] {
            assert_eq!(Subdomain::parse(bad), Err(Refusal::NotALabel), "{bad:?}");
        }
    }

    #[test]
    fn the_reserved_list_holds_labels_that_could_be_asked_for() {
        assert!(RESERVED.len() >= 300, "{} names", RESERVED.len());
        for name in RESERVED.iter() {
            assert_eq!(Subdomain::parse(name).map(|s| s.to_string()), Ok((*name).to_owned()), "{name}");
        }
        for name in
            ["www", "api", "admin", "mail", "login", "status", "static", "autodiscover", "wpad", "localhost"]
        {
            assert!(Subdomain::parse(name).unwrap().is_reserved(), "{name}");
        }
        for name in ["acme", "globex", "empresa", "tienda"] {
            assert!(!Subdomain::parse(name).unwrap().is_reserved(), "{name}");
        }
    }
}
