//! Templates: on each server a database that has a tenant's schema and nobody's data, sealed. Making a tenant's database is a
//! copy of it then, and not all migrations again.
//!
//! A template comes about under another name (`p_making_` and the server's id, so that what a crash left is known for what
//! it is), is migrated from nothing, sealed, and renamed last: one that bears a template's name is complete. The name says
//! which migrations it has; its mark says the fingerprint of its catalogue, which every spare is held against. Registries
//! that share a server share its templates: whoever is second to rename drops their own.
//!
//! While a template is copied, nobody may be connected to it; so it lets nobody in (`ALLOW_CONNECTIONS false`). Several
//! copies at once are fine. A copy doesn't have the template's rights on the database itself, its settings and its limit of
//! connections: `grants` and `role` set those for each tenant.

use crate::{
    Catalogue, ServerError, removal,
    server::{HARDENING, session_in},
};
use portero_kernel::{SchemaVersion, ServerId};
use portero_pg::{MigrateError, Migrations, Session, ident, literal, lock_key};
use tokio_postgres::{Config, error::SqlState};

const PREFIX: &str = "p_template_";
const MARK: &str = "portero template ";
/// What a database is made of where there is no template yet.
pub(crate) const NOTHING: &str = "template0";

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The server.
    #[error("the server didn't make it")]
    Server(#[from] ServerError),
    /// A migration.
    #[error("it could not be migrated")]
    Migrate(#[from] MigrateError),
}

impl From<tokio_postgres::Error> for TemplateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error.into())
    }
}

/// A template that is there, complete and sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// The database.
    pub(crate) name: String,
    /// That of its catalogue.
    pub(crate) fingerprint: String,
    /// The migrations that it has.
    pub(crate) set: Migrations,
}

/// The name of the template with these migrations.
fn name_with(set: &Migrations) -> String {
    let content = lock_key(&format!("{:x} {HARDENING}", set.digest()));
    format!("{PREFIX}{}_{content:016x}", set.latest())
}

/// The version that a template's name says.
fn version_of(name: &str) -> Option<SchemaVersion> {
    name.strip_prefix(PREFIX)?.split_once('_')?.0.parse().ok()
}

/// The server's template with these migrations, if it is there.
pub(crate) async fn find(session: &Session, set: &Migrations) -> Result<Option<Template>, ServerError> {
    let name = name_with(set);
    let row = session
        .query_opt(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database
             WHERE datname = $1 AND datistemplate AND NOT datallowconn AND datconnlimit = -1
               AND pg_get_userbyid(datdba) = current_user",
            &[&name],
        )
        .await?;
    let mark: Option<String> = row.and_then(|row| row.get(0));
    Ok(mark.and_then(|mark| {
        Some(Template { name, fingerprint: mark.strip_prefix(MARK)?.to_owned(), set: set.clone() })
    }))
}

/// The same; made, where it isn't there. Nobody else may be making one for this server of the same registry.
pub(crate) async fn ensure(
    admin: &Config,
    server: ServerId,
    set: &Migrations,
) -> Result<Template, TemplateError> {
    let session = maintenance(admin).await?;
    let template = match find(&session, set).await? {
        Some(template) => template,
        None => {
            let template = make(&session, admin, server, set).await?;
            tracing::info!(%server, template = template.name, "a template was made");
            template
        }
    };
    session.close().await;
    Ok(template)
}

async fn make(
    session: &Session,
    admin: &Config,
    server: ServerId,
    set: &Migrations,
) -> Result<Template, TemplateError> {
    let (making, name) = (format!("p_making_{}", server.uuid().simple()), name_with(set));
    // What a crash left, half-made; and what bears the right name and is not sealed as it should be.
    for leftover in [&making, &name] {
        drop(session, leftover).await?;
    }
    let database = ident(&making);
    session
        .batch_execute(&format!(
            "CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' STRATEGY wal_log ALLOW_CONNECTIONS false"
        ))
        .await?;
    session
        .batch_execute(&format!(
            "REVOKE ALL ON DATABASE {database} FROM PUBLIC; ALTER DATABASE {database} ALLOW_CONNECTIONS true"
        ))
        .await?;
    let mut inside = session_in(admin, &making).await?;
    inside.batch_execute(HARDENING).await?;
    set.run(&mut inside).await?;
    let fingerprint = Catalogue::read(&inside).await?.fingerprint();
    inside.close().await;
    let (target, mark) = (ident(&name), literal(&format!("{MARK}{fingerprint}")));
    session.batch_execute(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false")).await?;
    // In one transaction: under its name it is a template.
    let published = session
        .batch_execute(&format!(
            "COMMENT ON DATABASE {database} IS {mark};
             ALTER DATABASE {database} IS_TEMPLATE true;
             ALTER DATABASE {database} RENAME TO {target}"
        ))
        .await;
    match published {
        Ok(()) => {}
        // Another registry was first, with the same migrations.
        Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => drop(session, &making).await?,
        Err(error) => return Err(error.into()),
    }
    Ok(Template { name, fingerprint, set: set.clone() })
}

/// Drops those that are older than the one with these migrations and the one before it; says the versions of those that stay,
/// newest first.
pub(crate) async fn prune(session: &Session, set: &Migrations) -> Result<Vec<SchemaVersion>, ServerError> {
    let rows = session
        .query(
            "SELECT datname::text FROM pg_catalog.pg_database
             WHERE datname LIKE 'p\\_template\\_%' AND pg_get_userbyid(datdba) = current_user ORDER BY oid DESC",
            &[],
        )
        .await?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let old = superfluous(&names, &name_with(set));
    for name in &old {
        drop(session, name).await?;
        tracing::info!(template = name, "an old template was dropped");
    }
    let mut left: Vec<_> =
        names.iter().filter(|name| !old.contains(name)).filter_map(|name| version_of(name)).collect();
    left.sort_unstable_by(|a, b| b.cmp(a));
    Ok(left)
}

/// Of `names`, youngest first, those that nobody needs any more: all but the `current` one, the best of those before it, and
/// those of newer programs.
fn superfluous<'a>(names: &'a [String], current: &str) -> Vec<&'a String> {
    let newest = version_of(current).unwrap_or(0);
    let mut before: Vec<_> = names
        .iter()
        .filter(|name| name.as_str() != current)
        .filter_map(|name| {
            version_of(name).filter(|version| *version <= newest).map(|version| (version, name))
        })
        .collect();
    // Stable: of one version the youngest stays first.
    before.sort_by_key(|(version, _)| -version);
    before.into_iter().skip(1).map(|(_, name)| name).collect()
}

/// Drops a template, or what was to be one. Where somebody else owns it, PostgreSQL refuses.
pub(crate) async fn drop(session: &Session, name: &str) -> Result<(), ServerError> {
    let row = session
        .query_opt("SELECT datistemplate FROM pg_catalog.pg_database WHERE datname = $1", &[&name])
        .await?;
    let Some(row) = row else { return Ok(()) };
    let database = ident(name);
    // PostgreSQL drops no template, and changes nothing of what an interrupted drop left: that was one no longer.
    if row.get(0) {
        session.batch_execute(&format!("ALTER DATABASE {database} IS_TEMPLATE false")).await?;
    }
    removal::drop_by_name(session, name).await
}

/// Portero's own session in the server's maintenance database.
pub(crate) async fn maintenance(admin: &Config) -> Result<Session, ServerError> {
    session_in(admin, admin.get_dbname().unwrap_or("postgres")).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TENANT_MIGRATIONS;

    #[test]
    fn two_versions_are_kept_and_those_of_newer_programs() {
        let names = |versions: &[i32]| -> Vec<String> {
            versions.iter().enumerate().map(|(at, version)| format!("{PREFIX}{version}_{at:016x}")).collect()
        };
        for (there, current, dropped) in [
            (&[4][..], 0, &[][..]),
            (&[4, 3], 0, &[]),
            (&[4, 3, 2, 1], 0, &[2, 3]),
            (&[1, 2, 3, 4], 3, &[1, 0]),
            (&[6, 5, 4, 3, 2], 2, &[4]),
            // Of the same version, with other migrations: the youngest of them is the one before.
            (&[4, 4, 4, 3], 0, &[2, 3]),
        ] {
            let names = names(there);
            let expected: Vec<_> = dropped.iter().map(|at| &names[*at]).collect();
            assert_eq!(superfluous(&names, &names[current]), expected, "{there:?}");
        }
        assert!(
            superfluous(&["p_template_x_1".to_owned(), "postgres".to_owned()], "p_template_4_0").is_empty()
        );
    }

    #[test]
    fn the_name_says_which_version() {
        let name = name_with(&TENANT_MIGRATIONS);
        assert_eq!(version_of(&name), Some(TENANT_MIGRATIONS.latest()));
        assert!(name.len() <= 63, "PostgreSQL cuts longer names");
    }
}
