//! PostgreSQL plumbing without tables: connecting, quoting, error classes, locks, migrations, [`TenantDb`].
//!
//! This room knows how to talk to PostgreSQL and no table but the history of migrations. The registry's SQL is in
//! `registry`, a tenant's in `tenant-api` and, where it is made, in `provisioner`.

mod connect;
mod error;
mod limits;
mod migrate;
mod quote;
mod scram;
mod sessions;
mod tenant_db;
mod tls;
mod wire;

pub use connect::{Address, Session, TENANT_SESSION, connect, connect_within, hardened};
pub use error::{Class, classify, violated_constraint};
pub use limits::{RESERVE, tenant_capacity};
pub use migrate::{
    Attempt, MIGRATION_LOCK, MigrateError, Migration, Migrations, SetError, Terms, Versions, lock_key,
};
pub use quote::{ident, literal};
pub use scram::scram_verifier;
pub use sessions::{EndError, SessionsOf};
pub use tenant_db::{
    Fate, Lender, MARK_PREFIX, NotTheTenant, OpenError, Param, Stale, TenantConnection, TenantDb, TenantTxn,
    database_mark, prove, thread_number,
};
pub use tls::{TrustError, connector, trust_only};
pub use wire::Endpoint;

pub use deadpool_postgres;
pub use tokio_postgres;
