//! What an error of PostgreSQL means to whoever must answer for it.

use tokio_postgres::{Error, error::SqlState};

/// What went wrong, by what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The server can't be reached, is going down or coming up, or lost the connection: try another time.
    Unavailable,
    /// The server or the role has no free connection slot (53300): back off.
    TooManyConnections,
    /// The role may not log in or connect: a fence, or a password that changed.
    Refused,
    /// A unique constraint: somebody was first.
    Duplicate,
    /// Cancelled: by `statement_timeout`, `lock_timeout` or a person.
    Timeout,
    /// A deadlock or a serialization failure: the whole transaction may be tried again.
    Conflict,
    /// The database named does not exist.
    NoSuchDatabase,
    /// Text that PostgreSQL can't hold, such as a NUL.
    BadText,
    /// A prepared statement from before a change of the schema, or one that the session has lost: prepared again it may
    /// work, and so may the whole transaction.
    Stale,
    /// Anything else: a mistake in a statement or in the data.
    Other,
}

/// Sorts an error into its class.
#[must_use]
pub fn classify(error: &Error) -> Class {
    let Some(state) = error.code() else {
        // No SQLSTATE: the error arose on this side of the wire. A closed connection, a refused or timed-out connect
        // and a cut socket all carry an I/O error or say `is_closed`; the rest (types, columns) is our mistake.
        return if error.is_closed() || has_io_source(error) { Class::Unavailable } else { Class::Other };
    };
    match *state {
        SqlState::TOO_MANY_CONNECTIONS => Class::TooManyConnections,
        SqlState::UNIQUE_VIOLATION => Class::Duplicate,
        SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => Class::Timeout,
        SqlState::T_R_DEADLOCK_DETECTED | SqlState::T_R_SERIALIZATION_FAILURE => Class::Conflict,
        SqlState::INVALID_CATALOG_NAME => Class::NoSuchDatabase,
        SqlState::CHARACTER_NOT_IN_REPERTOIRE | SqlState::UNTRANSLATABLE_CHARACTER => Class::BadText,
        SqlState::INVALID_PASSWORD
        | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
        | SqlState::INSUFFICIENT_PRIVILEGE => Class::Refused,
        SqlState::INVALID_SQL_STATEMENT_NAME => Class::Stale,
        SqlState::FEATURE_NOT_SUPPORTED if is_about_a_cached_plan(error) => Class::Stale,
        SqlState::INTERNAL_ERROR if is_about_what_was_dropped(error) => Class::Stale,
        SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::READ_ONLY_SQL_TRANSACTION
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Class::Unavailable,
        // idle_session_timeout: tokio-postgres has no name for it.
        ref other if other.code() == "57P05" => Class::Unavailable,
        ref other if other.code().starts_with("08") => Class::Unavailable,
        _ => Class::Other,
    }
}

/// The constraint that a statement violated.
#[must_use]
pub fn violated_constraint(error: &Error) -> Option<&str> {
    error.as_db_error().and_then(|db| db.constraint())
}

/// Whether a statement that could be prepared says, when it is run, that it means nothing any more: the schema has changed
/// under it. Beside [`Class::Stale`] these are errors that are plain mistakes where a statement is prepared: its parameters
/// have types (42804, 42883, 42846), and a migration that replaces an enum leaves them with the old one's.
pub(crate) fn is_outdated(error: &Error) -> bool {
    let types =
        [SqlState::DATATYPE_MISMATCH, SqlState::UNDEFINED_FUNCTION, SqlState::CANNOT_COERCE].map(Some);
    classify(error) == Class::Stale || types.contains(&error.code().cloned())
}

/// "cached plan must not change result type", whatever language the server speaks. Other things that are not supported
/// (0A000 too) stay so.
fn is_about_a_cached_plan(error: &Error) -> bool {
    error.as_db_error().and_then(|db| db.routine()) == Some("RevalidateCachedQuery")
}

/// "cache lookup failed for type 16385": the type of a parameter, or whatever else, was dropped. PostgreSQL translates no
/// internal errors.
fn is_about_what_was_dropped(error: &Error) -> bool {
    error.as_db_error().is_some_and(|db| db.message().starts_with("cache lookup failed for"))
}

fn has_io_source(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<std::io::Error>() {
            return true;
        }
        cause = inner.source();
    }
    // tokio-postgres reports its connect timeout as a `Connect` error around an `io::Error`, found above.
    false
}
