//! The platform's cryptography and the rules around it: passwords, sessions, tokens, secrets at rest. What comes
//! in is text and keys, what goes out is text and verdicts.
//!
//! - [`MasterKey`] is the one secret an operator keeps; every other key is derived from it.
//! - [`Sealer`] encrypts what the registry stores, bound to its tenant and its column.
//! - [`Digester`] makes what the registry looks guessable values up by.
//! - [`Password`] is one that may be chosen; [`Passwords`] judges, hashes and verifies, a few at a time, and for no
//!   [`Claimant`] more than its share.
//! - [`SessionSecret`] is what a session cookie carries; only its digest is stored.
//! - [`Chain`] makes the audit log tell if it was tampered with.
//! - [`OperatorToken`] is what an operator shows; only its digest is stored.
//! - [`TenantTokens`] issues and verifies what is good at one tenant's door and at no other.
//!
//! It deliberately knows no SQL, no HTTP, no files and no environment, and of time only what its callers tell it.
//! Next: `registry` for where sealed secrets and digests are kept, `tenant-api` for where tokens are shown.

mod chain;
mod digest;
mod keyed;
mod master_key;
mod operator_token;
mod password;
mod passwords;
mod sealer;
mod session;
mod tokens;

pub use chain::{Chain, Link};
pub use digest::Digester;
pub use master_key::{MasterKey, MasterKeyError};
pub use operator_token::{NotAnOperatorToken, OperatorToken};
pub use password::Password;
pub use passwords::{AuthError, Claimant, Passwords, Verdict};
pub use sealer::{OpenError, Sealer};
pub use session::{NotASessionSecret, SessionSecret};
pub use tokens::{AccessClaims, HandoffClaims, TenantTokens, TokenError, TokenFault};
