//! Scratch databases: made on a tenants' server to find something out, and dropped by whoever made them.
//!
//! One begins as migrations make a tenant's database at some version: a copy of that version's template, or migrated from
//! nothing. Nobody but Portero's role may connect to it: what PUBLIC may do is revoked before the database takes its first
//! connection, and no tenant's role is granted anything.
//!
//! Whoever made one holds, in the server's maintenance database, an advisory lock that goes by its name. It is taken before the
//! database is there and given up after it is gone, or when the process dies: so a scratch database that nobody holds the lock
//! of was left by a crash, and [`sweep`] drops it. `portero serve` sweeps its servers every few seconds, and so does whoever
//! is about to make one.

use crate::{
    ServerError,
    server::{HARDENING, session_in},
    templates::{self, TemplateError, maintenance},
};
use portero_kernel::{SchemaVersion, ServerId};
use portero_pg::{Migrations, Session, ident, literal, lock_key};
use portero_registry::ServerRow;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

const PREFIX: &str = "p_scratch_";
const MARK: &str = "portero scratch ";

/// A scratch database, and whoever is in it.
pub(super) struct Scratch {
    name: String,
    /// In the maintenance database; it holds the lock.
    outside: Session,
    /// In the scratch database.
    pub(super) inside: Session,
}

/// What scratch databases of this server are called. Registries that share a server don't sweep each other's.
fn prefix(server: ServerId) -> String {
    format!("{PREFIX}{}_", server.uuid().simple())
}

impl Scratch {
    /// Makes one with the schema of this version. `purpose` is for whoever meets it on the server.
    pub(super) async fn make(
        server: &ServerRow,
        set: &Migrations,
        version: SchemaVersion,
        purpose: &str,
    ) -> Result<Self, TemplateError> {
        let outside = maintenance(&server.admin).await?;
        let random = Uuid::new_v4().simple().to_string();
        let name = format!("{}{}", prefix(server.id), &random[..8]);
        outside
            .execute("SELECT pg_advisory_lock($1)", &[&lock_key(&name)])
            .await
            .map_err(ServerError::from)?;
        match Self::furnish(&outside, server, &name, set, version, purpose).await {
            Ok(inside) => Ok(Self { name, outside, inside }),
            Err(error) => {
                let _ = templates::drop(&outside, &name).await;
                outside.close().await;
                Err(error)
            }
        }
    }

    async fn furnish(
        outside: &Session,
        server: &ServerRow,
        name: &str,
        set: &Migrations,
        version: SchemaVersion,
        purpose: &str,
    ) -> Result<Session, TemplateError> {
        let set = set.up_to(version);
        let template = templates::find(outside, &set).await?;
        let copied = match &template {
            Some(template) => match create(outside, name, &template.name, purpose).await {
                Ok(()) => true,
                // Somebody looks into it at this moment, or it was pruned.
                Err(error) if is_passing(&error) => false,
                Err(error) => return Err(error.into()),
            },
            None => false,
        };
        if !copied {
            create(outside, name, templates::NOTHING, purpose).await?;
        }
        let mut inside = session_in(&server.admin, name).await?;
        if !copied {
            inside.batch_execute(HARDENING).await?;
        }
        set.run(&mut inside).await?;
        inside.batch_execute("SET search_path = public").await?;
        Ok(inside)
    }

    /// The database's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Drops it.
    pub(super) async fn drop(self) -> Result<(), ServerError> {
        self.inside.close().await;
        templates::drop(&self.outside, &self.name).await?;
        // The lock goes with the session.
        self.outside.close().await;
        Ok(())
    }
}

async fn create(
    outside: &Session,
    name: &str,
    template: &str,
    purpose: &str,
) -> Result<(), tokio_postgres::Error> {
    let (database, mark) = (ident(name), literal(&format!("{MARK}{purpose}")));
    outside
        .batch_execute(&format!(
            "CREATE DATABASE {database} TEMPLATE {} ENCODING 'UTF8' STRATEGY wal_log ALLOW_CONNECTIONS false",
            ident(template)
        ))
        .await?;
    outside
        .batch_execute(&format!(
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC;
             COMMENT ON DATABASE {database} IS {mark};
             ALTER DATABASE {database} ALLOW_CONNECTIONS true"
        ))
        .await
}

fn is_passing(error: &tokio_postgres::Error) -> bool {
    [Some(&SqlState::OBJECT_IN_USE), Some(&SqlState::INVALID_CATALOG_NAME)].contains(&error.code())
}

/// The scratch databases of this server that whoever made them has left behind.
///
/// # Errors
/// As PostgreSQL says.
pub async fn left_behind(session: &Session, server: ServerId) -> Result<Vec<String>, ServerError> {
    let mut left = Vec::new();
    for name in all(session, server).await? {
        if lock(session, &name).await? {
            unlock(session, &name).await?;
            left.push(name);
        }
    }
    Ok(left)
}

/// Drops the scratch databases of this server that whoever made them has left behind; says which. The session is in the
/// maintenance database.
pub(crate) async fn sweep(session: &Session, server: ServerId) -> Result<Vec<String>, ServerError> {
    let mut swept = Vec::new();
    for name in all(session, server).await? {
        if !lock(session, &name).await? {
            continue;
        }
        // Whoever made it may have dropped it in this moment.
        let is_there = all(session, server).await?.contains(&name);
        let dropped = templates::drop(session, &name).await;
        unlock(session, &name).await?;
        dropped?;
        if !is_there {
            continue;
        }
        tracing::warn!(database = name, "a scratch database was left behind, and is dropped");
        swept.push(name);
    }
    Ok(swept)
}

async fn all(session: &Session, server: ServerId) -> Result<Vec<String>, ServerError> {
    let rows = session
        .query(
            "SELECT datname::text FROM pg_catalog.pg_database
             WHERE starts_with(datname::text, $1) AND pg_get_userbyid(datdba) = current_user ORDER BY oid",
            &[&prefix(server)],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn lock(session: &Session, name: &str) -> Result<bool, ServerError> {
    Ok(session.query_one("SELECT pg_try_advisory_lock($1)", &[&lock_key(name)]).await?.get(0))
}

async fn unlock(session: &Session, name: &str) -> Result<(), ServerError> {
    session.execute("SELECT pg_advisory_unlock($1)", &[&lock_key(name)]).await?;
    Ok(())
}
