//! Versions of PostgreSQL, as its programs print them.
//!
//! Knows nothing of where programs are: `find.rs` does.

use std::fmt;

/// A version of PostgreSQL. Betas and development builds count as minor 0 of their major.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The part that decides whether a cluster's files can be opened: 15, 16, 17 …
    pub major: u32,
    /// The part that only mends: the 18 of 15.18.
    pub minor: u32,
}

impl Version {
    /// Reads what `postgres --version` or `initdb --version` prints, such as
    /// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` or `initdb (PostgreSQL) 18beta1`.
    pub fn parse(printed: &str) -> Option<Self> {
        let number =
            printed.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let (major, rest) = leading_number(number)?;
        let minor = rest.strip_prefix('.').and_then(leading_number).map_or(0, |(minor, _)| minor);
        Some(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn leading_number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        for (printed, expected) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some((15, 18))),
            ("initdb (PostgreSQL) 17.2", Some((17, 2))),
            ("postgres (PostgreSQL) 18beta1", Some((18, 0))),
            ("postgres (PostgreSQL) 19devel", Some((19, 0))),
            ("postgres (PostgreSQL) 9.6.24", Some((9, 6))),
            ("postgres (EnterpriseDB Advanced Server) 16.4.0", Some((16, 4))),
            ("postgres: command not found", None),
            ("", None),
        ] {
            let expected = expected.map(|(major, minor)| Version { major, minor });
            assert_eq!(Version::parse(printed), expected, "{printed:?}");
        }
    }

    #[test]
    fn newer_is_greater() {
        let v = |major, minor| Version { major, minor };
        assert!(v(15, 18) < v(16, 0) && v(15, 2) < v(15, 18));
    }
}
