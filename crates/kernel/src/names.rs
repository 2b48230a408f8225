//! Names of things: what people typed (companies, addresses) and what Portero made (databases, roles).

use crate::refusal::{Refusal, plain_text};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// A company's name as its people write it: 1 to 100 characters, any script, nothing invisible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanyName(String);

impl CompanyName {
    /// Characters allowed at most.
    pub const MAX: usize = 100;

    /// Trims and checks what was typed.
    ///
    /// # Errors
    /// Empty, too long, or with characters that can't be shown.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        plain_text(raw, Self::MAX).map(|text| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CompanyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An e-mail address, kept in lower case: nobody has two mailboxes that differ by case alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Characters allowed at most: RFC 5321's path of 256 octets without its angle brackets.
    pub const MAX: usize = 254;

    /// Trims, checks by RFC 5322's addr-spec without comments, quotes or IP literals, and lowers the case.
    ///
    /// # Errors
    /// Empty, too long, with characters that can't be shown, or not an address.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let text = plain_text(raw, Self::MAX)?;
        let options = email_address::Options::default()
            .without_display_text()
            .without_domain_literal()
            .with_minimum_sub_domains(2);
        let address = email_address::EmailAddress::parse_with_options(text, options)
            .map_err(|_| Refusal::NotAnEmail)?;
        if address.local_part().starts_with('"') {
            return Err(Refusal::NotAnEmail);
        }
        Ok(Self(text.to_lowercase()))
    }

    /// The address in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that isn't `t_` and 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a tenant's database or role")]
pub struct NotOpaque(String);

macro_rules! opaque_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// `t_` and the UUID's 32 hexadecimal digits: 34 bytes, far from PostgreSQL's limit of 63.
            #[must_use]
            pub fn from_uuid(uuid: Uuid) -> Self {
                Self(format!("t_{}", uuid.simple()))
            }

            /// The name, unquoted.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotOpaque;

            fn from_str(text: &str) -> Result<Self, NotOpaque> {
                text.strip_prefix("t_")
                    .filter(|hex| hex.len() == 32)
                    .filter(|hex| hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
                    .map(|_| Self(text.to_owned()))
                    .ok_or_else(|| NotOpaque(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_name!(
    /// The name of a tenant's database: opaque, never made from what a user typed.
    DatabaseName
);
opaque_name!(
    /// The name of a tenant's login role. It equals its database's name, so that one `pg_hba.conf` line with
    /// `sameuser` keeps every tenant role to its own database.
    RoleName
);

impl From<&DatabaseName> for RoleName {
    fn from(database: &DatabaseName) -> Self {
        Self(database.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn company_names_keep_every_script_and_lose_what_is_invisible() {
        assert_eq!(
            CompanyName::parse("  Añañuca & Hijos 株式会社 ").unwrap().as_str(),
            "Añañuca & Hijos 株式会社"
        );
        assert_eq!(
            CompanyName::parse("'; DROP TABLE tenants; --").unwrap().as_str(),
            "'; DROP TABLE tenants; --"
        );
        assert_eq!(CompanyName::parse(" \t "), Err(Refusal::Required));
        assert_eq!(CompanyName::parse(&"ñ".repeat(101)), Err(Refusal::TooLong { max: 100 }));
        assert!(CompanyName::parse(&"ñ".repeat(100)).is_ok());
        for hostile in [
            "a\0b",
            "a\nb",
            "a\u{202E}b",
            "a\u{200B}b",
            "a\u{7f}b",
            "a\u{85}b",
            "a\u{3164}b",
            "a\u{AD}b",
            "a\u{E0041}b",
            "a\u{FFFF}b",
            "a\u{E000}b",
        ] {
            assert_eq!(CompanyName::parse(hostile), Err(Refusal::Unprintable), "{hostile:?}");
        }
    }

    #[test]
    fn email_addresses_are_addresses() {
        assert_eq!(EmailAddress::parse(" Ana@Acme.Test ").unwrap().as_str(), "ana@acme.test");
        assert!(EmailAddress::parse("o'brien+x@sub.acme.test").is_ok());
        for bad in [
            "ana",
            "ana@",
            "@acme.test",
            "a b@acme.test",
            "ana@acme..test",
            "ana@@acme.test",
            "Ana <ana@acme.test>",
            "ana@[127.0.0.1]",
            "\"a b\"@acme.test",
            "ana@localhost",
        ] {
            assert_eq!(EmailAddress::parse(bad), Err(Refusal::NotAnEmail), "{bad}");
        }
        assert_eq!(EmailAddress::parse(""), Err(Refusal::Required));
        assert_eq!(EmailAddress::parse("a\r\nBcc: b@acme.test"), Err(Refusal::Unprintable));
        let long = format!("{}@acme.test", "a".repeat(250));
        assert_eq!(EmailAddress::parse(&long), Err(Refusal::TooLong { max: 254 }));
    }

    #[test]
    fn opaque_names_are_opaque() {
        let uuid = Uuid::from_u128(0xABC);
        let name = DatabaseName::from_uuid(uuid);
        assert_eq!(name.as_str(), "t_00000000000000000000000000000abc");
        assert_eq!(name.as_str().parse::<DatabaseName>().unwrap(), name);
        for bad in [
            "",
            "t_",
            "postgres",
            "t_00000000000000000000000000000ABC",
            "t_00000000000000000000000000000ab;",
            "T_00000000000000000000000000000abc",
        ] {
            assert!(bad.parse::<DatabaseName>().is_err(), "{bad}");
        }
    }
}
