//! The first label of a company's address: `acme` in `acme.ejemplo.com`.

use crate::refusal::Refusal;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::LazyLock,
};

/// Names that nobody may take: infrastructure, the product's own pages, roles, well-known brands.
static RESERVED: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("reserved.txt")
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
});

/// The same by how they read.
static RESERVED_SKELETONS: LazyLock<HashMap<String, &'static str>> =
    LazyLock::new(|| RESERVED.iter().map(|word| (skeleton(word), *word)).collect());

/// Why nobody may take a name, for operators. To the outside all of it is "reserved".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reserved {
    /// It is on the list.
    #[error("it is on the list of reserved names")]
    Listed,
    /// It reads like this name on the list.
    #[error("it reads like {0:?}, which is on the list of reserved names")]
    LooksLike(&'static str),
}

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
        self.reserved().is_some()
    }

    /// Why new companies are refused this name, if they are.
    #[must_use]
    pub fn reserved(&self) -> Option<Reserved> {
        if RESERVED.contains(self.0.as_str()) {
            return Some(Reserved::Listed);
        }
        RESERVED_SKELETONS.get(&self.skeleton()).map(|word| Reserved::LooksLike(word))
    }

    /// How the name reads at a glance: names with the same skeleton are taken for each other. `0` and `1` beside a letter
    /// read as `o` and `l`, `i` as `l`, `rn` as `m`, `vv` as `w`; a hyphen between letters and a doubled letter are
    /// overlooked. Numbers stay what they are, so that `acme-1` is neither `acme` nor `acme-2`.
    #[must_use]
    pub fn skeleton(&self) -> String {
        skeleton(&self.0)
    }

    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The registry has the same in SQL, `name_skeleton`.
fn skeleton(label: &str) -> String {
    let text = beside_letters(label, '0', 'o');
    let text = beside_letters(&text, '1', 'l').replace('i', "l").replace("rn", "m").replace("vv", "w");
    let bytes = text.as_bytes();
    let is_digit =
        |place: Option<usize>| place.and_then(|place| bytes.get(place)).is_some_and(u8::is_ascii_digit);
    let mut seen = String::with_capacity(text.len());
    for (place, c) in text.char_indices() {
        let between_letters = !is_digit(place.checked_sub(1)) && !is_digit(Some(place + 1));
        let doubled = c.is_ascii_lowercase() && seen.ends_with(c);
        let overlooked = doubled || c == '-' && between_letters;
        if !overlooked {
            seen.push(c);
        }
    }
    seen
}

fn beside_letters(text: &str, digit: char, letter: char) -> String {
    let bytes = text.as_bytes();
    let is_letter =
        |place: Option<usize>| place.and_then(|place| bytes.get(place)).is_some_and(u8::is_ascii_lowercase);
    text.char_indices()
        .map(|(place, c)| {
            let beside = is_letter(place.checked_sub(1)) || is_letter(Some(place + 1));
            if c == digit && beside { letter } else { c }
        })
        .collect()
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
    fn names_that_read_alike_have_one_skeleton_and_others_their_own() {
        let skeleton = |name: &str| Subdomain::parse(name).unwrap().skeleton();
        for (one, other) in [
            ("acme", "acrne"),
            ("acme", "ac-me"),
            ("acme", "acmee"),
            ("google", "g00gle"),
            ("google", "gooogle"),
            ("paypal", "paypa1"),
            ("paypal", "paypai"),
            ("wise-tea", "vvisetea"),
            ("globex", "g1obex"),
            ("globex", "gl0bex"),
            ("initech", "lnltech"),
            ("hammer", "harnrner"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one} {other}");
        }
        let apart = [
            "acme",
            "acme-1",
            "acme-2",
            "acme-10",
            "acme-11",
            "acme2",
            "acme-corp",
            "acme-peru",
            "globex",
            "initech",
            "t1",
            "t10",
            "t11",
            "t101",
            "t110",
            "1-acme",
            "2-acme",
            "hamster",
            "master",
            "barn",
            "ban",
            "box",
            "fox",
        ];
        for (place, one) in apart.iter().enumerate().filter(|(_, name)| name.len() >= 3) {
            for other in apart[..place].iter().filter(|name| name.len() >= 3) {
                assert_ne!(skeleton(one), skeleton(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn who_reads_like_a_reserved_name_is_refused_too() {
        for (name, why) in [
            ("admin", Reserved::Listed),
            ("adrnin", Reserved::LooksLike("admin")),
            ("adm1n", Reserved::LooksLike("admin")),
            ("supp0rt", Reserved::LooksLike("support")),
            ("we-bmail", Reserved::LooksLike("webmail")),
        ] {
            assert_eq!(Subdomain::parse(name).unwrap().reserved(), Some(why), "{name}");
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
