//! The vocabulary of Portero, pure: ids, names, hosts, and why a value was refused.
//!
//! Parse, don't validate: a [`Subdomain`], a [`HostName`] or a [`TenantId`] in one's hands has been proven, so no
//! other room checks it again. This room knows no tokio, no SQL, no HTTP and no environment.
//! Next: `pg` for PostgreSQL, `registry` for where these names are kept.

mod cause;
mod host;
mod id;
mod names;
mod refusal;
mod site;
mod subdomain;

pub use cause::with_causes;
pub use host::{HostName, HostNameError, Place};
pub use id::{JobId, MigrationRunId, OperatorId, RouterId, ServerId, SessionId, SpareId, TenantId, UserId};
pub use names::{CompanyName, DatabaseName, EmailAddress, NotOpaque, RoleName};
pub use refusal::{FieldError, Fields, Refusal};
pub use secrecy::{ExposeSecret, SecretString};
pub use site::Site;
pub use subdomain::{Reserved, Subdomain};

/// The version of a schema: the number of its newest applied migration. `0` is an empty database.
pub type SchemaVersion = i32;
