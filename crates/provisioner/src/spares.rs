//! Spares: tenants' databases made ahead, with everything that a sign-up would else wait for.
//!
//! The row in the registry comes first and goes last, so that a crash leaves no database that nobody knows. A spare's role has
//! no password and may not log in; a tenant that is given the spare gets both with its own password, by the steps that
//! every tenant's making has.

use crate::{
    Catalogue, ServerError,
    removal::drop_database_and_role,
    server::{
        self, Door, Mark, create_database, create_role, grant_connect, grant_data, restrict_data, session_in,
    },
    templates::{self, Template, TemplateError},
};
use portero_kernel::{DatabaseName, RoleName, SchemaVersion, SpareId, with_causes};
use portero_pg::{MigrateError, Session};
use portero_registry::{Registry, RegistryError, ServerRow, SpareRow};
use tokio_postgres::Config;
use uuid::Uuid;

/// Why spares could not be looked after.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpareError {
    #[error("the registry doesn't answer")]
    Registry(#[from] RegistryError),
    #[error("the server didn't do it")]
    Server(#[from] ServerError),
    #[error("there is no template")]
    Template(#[source] TemplateError),
    #[error("a spare could not be migrated")]
    Migrate(#[from] MigrateError),
    #[error("a copy of template {0} is not what migrations make: the template was dropped, and is made anew")]
    Differs(String),
    #[error("a spare was taken for a leftover while it was being made: two processes refill this server")]
    Overtaken,
}

impl From<tokio_postgres::Error> for SpareError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error.into())
    }
}

/// Makes one.
///
/// # Errors
/// Whatever was made stays, and its row with it: see [`discard`].
pub(crate) async fn make(
    registry: &Registry,
    session: &Session,
    at: &ServerRow,
    template: &Template,
) -> Result<(), SpareError> {
    let (id, database) = (SpareId::generate(), DatabaseName::from_uuid(Uuid::new_v4()));
    registry.spare_insert(id, at.id, &database).await?;
    create_database(session, &database, &Mark::spare(at.id), &template.name).await?;
    let role = RoleName::from(&database);
    create_role(session, &role, Door::Shut, &[Mark::spare(at.id)]).await?;
    let version = furnish(&at.admin, &database, &role, session, template).await?;
    // The first login of all fills caches that PostgreSQL keeps beside a database: that of `furnish` did.
    if registry.spare_ready(id, version).await? { Ok(()) } else { Err(SpareError::Overtaken) }
}

/// In the database: rights, whatever the template lacks, and a look whether all is as migrations make it.
async fn furnish(
    admin: &Config,
    database: &DatabaseName,
    role: &RoleName,
    session: &Session,
    template: &Template,
) -> Result<SchemaVersion, SpareError> {
    let mut inside = session_in(admin, database.as_str()).await?;
    grant_connect(&inside, database.as_str(), role).await?;
    grant_data(&inside, role).await?;
    let version = template.set.run(&mut inside).await?;
    restrict_data(&inside, role).await?;
    let fingerprint = Catalogue::read(&inside).await?.fingerprint();
    inside.close().await;
    if fingerprint != template.fingerprint {
        templates::drop(session, &template.name).await?;
        return Err(SpareError::Differs(template.name.clone()));
    }
    Ok(version)
}

/// Drops a spare, unless a tenant was given it.
pub(crate) async fn discard(
    registry: &Registry,
    session: &Session,
    at: &ServerRow,
    spare: &SpareRow,
) -> Result<(), SpareError> {
    if !registry.spare_discard(spare.id).await? {
        return Ok(());
    }
    match drop_database_and_role(session, &at.admin, &spare.database, &[Mark::spare(at.id)]).await {
        // Not ours to drop; and nobody may be given what is somebody else's.
        Err(error @ ServerError::Foreign(_)) => {
            tracing::error!(
                server = at.name,
                error = with_causes(&error),
                "a spare is forgotten, and left alone"
            );
        }
        dropped => dropped?,
    }
    Ok(registry.spare_forget(spare.id).await?)
}

/// Drops what bears the mark of this server's spares and is in no row: of a spare, or of a tenant that was given one and
/// hasn't marked it yet. Says of which ready spares there is no database.
pub(crate) async fn reconcile(
    registry: &Registry,
    session: &Session,
    at: &ServerRow,
    spares: &[SpareRow],
) -> Result<Vec<SpareRow>, SpareError> {
    let mark = Mark::spare(at.id);
    // The server first: by the time that the registry is asked, whatever was marked is in some row, or in none for good.
    let marked = server::marked(session, &mark).await?;
    let known = registry.databases_known(&marked).await?;
    for orphan in marked.iter().filter(|name| !known.contains(*name)) {
        let Ok(database) = orphan.parse::<DatabaseName>() else { continue };
        drop_database_and_role(session, &at.admin, &database, std::slice::from_ref(&mark)).await?;
        tracing::warn!(server = at.name, database = orphan, "a spare without a row was dropped");
    }
    Ok(spares.iter().filter(|spare| !marked.contains(&spare.database.to_string())).cloned().collect())
}
