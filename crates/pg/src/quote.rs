//! Quoting for the statements that take no parameters: `CREATE DATABASE`, `CREATE ROLE`, `COMMENT`, `GRANT`.
//!
//! Everywhere else values go by parameter. Nothing is formatted into SQL but through these two.

use postgres_protocol::escape;

/// A quoted identifier. What comes in is a name that Portero made or read from the catalogue, never what a user typed.
#[must_use]
pub fn ident(name: &str) -> String {
    escape::escape_identifier(name)
}

/// A quoted string literal, safe whatever `standard_conforming_strings` says.
#[must_use]
pub fn literal(value: &str) -> String {
    escape::escape_literal(value).trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_backslashes_escaped() {
        assert_eq!(ident("t_1\"; DROP"), "\"t_1\"\"; DROP\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }
}
