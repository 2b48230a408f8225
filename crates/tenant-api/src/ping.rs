//! Whether a company's database answers; and, asked with a nonce, that this answer is to this question and from this
//! company's database.
//!
//! The mark was read when the connection was opened. Here it is read again beside the nonce, in one statement, so that
//! an answer with a nonce proves the whole way: a monitor, or a test that asks a million times, believes nobody's
//! bookkeeping.

use crate::store::ping::{database_answers, nonce_and_mark};
use portero_edge::Problem;
use portero_kernel::{FieldError, Refusal, TenantId};
use portero_pg::{TenantDb, database_mark};

/// The most characters of a nonce.
const LONGEST: usize = 64;

/// What a caller wants to see again: 1 to 64 letters of ASCII, digits and hyphens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// Reads one.
    ///
    /// # Errors
    /// Of the field `nonce`.
    pub fn parse(text: String) -> Result<Self, Problem> {
        let refusal = match text.len() {
            0 => Some(Refusal::Required),
            _ if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
                Some(Refusal::NotAllowed)
            }
            length if length > LONGEST => Some(Refusal::TooLong { max: LONGEST }),
            _ => None,
        };
        match refusal {
            Some(refusal) => Err(Problem::invalid(vec![FieldError { field: "nonce", refusal }])),
            None => Ok(Self(text)),
        }
    }
}

/// One round trip to the database.
///
/// # Errors
/// What the client reads where there is none.
pub async fn answers(db: &TenantDb) -> Result<(), Problem> {
    Ok(database_answers(db).await?)
}

/// The nonce as this tenant's database gave it back.
///
/// # Errors
/// [`Kind::Internal`](portero_edge::Kind::Internal) where the database isn't this tenant's by its own mark, or gave
/// back something else: nothing of its answer is shown.
pub async fn echo(db: &TenantDb, tenant: TenantId, nonce: &Nonce) -> Result<String, Problem> {
    let (echoed, mark) = nonce_and_mark(db, &nonce.0).await?;
    if mark.as_deref() != Some(database_mark(tenant).as_str()) {
        return Err(Problem::internal("a connection leads to a database without this tenant's mark"));
    }
    if echoed != nonce.0 {
        return Err(Problem::internal("the database answered another question"));
    }
    Ok(echoed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_short_and_plain() {
        for good in ["a", "Z-9", "550e8400-e29b-41d4-a716-446655440000", &"x".repeat(64)] {
            assert!(Nonce::parse(good.to_owned()).is_ok(), "{good}");
        }
        for (bad, code) in [
            ("", "required"),
            ("a b", "not-allowed"),
            ("a_b", "not-allowed"),
            ("ñ", "not-allowed"),
            ("a\0", "not-allowed"),
            ("';--", "not-allowed"),
            (&"x".repeat(65), "too-long"),
        ] {
            let problem = Nonce::parse(bad.to_owned()).unwrap_err();
            assert_eq!((problem.errors[0].field.as_str(), problem.errors[0].code), ("nonce", code), "{bad}");
        }
    }
}
