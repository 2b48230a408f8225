//! Dropping a tenant's or a spare's database and role, whatever other tenants' roles did to hold that up.
//!
//! Every role sees every other's name. One can be granted things by somebody who is in another database, and PostgreSQL drops
//! no role that is mentioned anywhere; and somebody can hold a lock on what is to go. Neither may keep a tenant here.

use crate::{
    ServerError, points,
    prepared::{Prepared, prepared_by_tenants},
    server::{Found, Mark, find_database, find_role, session_in},
    templates::maintenance,
};
use portero_kernel::{DatabaseName, RoleName};
use portero_pg::{Session, ident};
use std::{pin::pin, time::Duration};
use tokio::time::timeout;
use tokio_postgres::{Config, error::SqlState};

/// How often a role is freed of what others have granted it: they may go on with it meanwhile.
const TRIES: u32 = 5;
/// What takes longer than that may be waiting for somebody.
const LOOK_AFTER: Duration = Duration::from_millis(200);

type Result<T> = std::result::Result<T, ServerError>;

/// Drops a database and its role that bear one of these marks. Nothing there is fine; somebody else's is an error. What an
/// interrupted drop left (`datconnlimit` -2) goes like any other. `session` is in the server's maintenance database, by `admin`.
pub(crate) async fn drop_database_and_role(
    session: &Session,
    admin: &Config,
    database: &DatabaseName,
    marks: &[Mark],
) -> Result<()> {
    drop_database(session, admin, database, marks).await?;
    points::hold("dropped").await;
    drop_role(session, admin, &RoleName::from(database), marks).await
}

/// Drops a database that bears one of these marks. Nothing there is fine; somebody else's is an error.
pub(crate) async fn drop_database(
    session: &Session,
    admin: &Config,
    database: &DatabaseName,
    marks: &[Mark],
) -> Result<()> {
    match find_database(session, database, marks).await? {
        Found::Foreign => Err(ServerError::Foreign(format!("database {database}"))),
        Found::Nothing => Ok(()),
        Found::Unmarked | Found::Marked(_) => drop_the_database(session, admin, database).await,
    }
}

/// Drops a role that bears one of these marks, and must have no database any more. Nothing there is fine; somebody else's is
/// an error.
pub(crate) async fn drop_role(
    session: &Session,
    admin: &Config,
    role: &RoleName,
    marks: &[Mark],
) -> Result<()> {
    match find_role(session, role, marks).await? {
        Found::Foreign => Err(ServerError::Foreign(format!("role {role}"))),
        Found::Nothing => Ok(()),
        Found::Unmarked | Found::Marked(_) => drop_the_role(session, admin, role).await,
    }
}

/// Drops a database, whoever's it is.
pub(crate) async fn drop_the_database(
    session: &Session,
    admin: &Config,
    database: &DatabaseName,
) -> Result<()> {
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", ident(database.as_str()));
    match unhindered(session, admin, &statement).await {
        Ok(()) => Ok(()),
        Err(hindered) => {
            Err(name_prepared(session, hindered.into(), |one| one.database == database.as_str()).await)
        }
    }
}

/// Drops a database that is no tenant's, over this session alone: it doesn't wait long for a lock, ends the sessions of
/// tenants' roles that have one on the database, and tries again.
pub(crate) async fn drop_by_name(session: &Session, database: &str) -> Result<()> {
    let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", ident(database));
    let mut tries = 1..TRIES;
    session.batch_execute("SET lock_timeout = '500ms'").await?;
    let dropped = loop {
        match session.batch_execute(&statement).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && tries.next().is_some() => {
                free(session, database).await?;
            }
            outcome => break outcome,
        }
    };
    session.batch_execute("RESET lock_timeout").await?;
    Ok(dropped?)
}

/// Ends the sessions of tenants' roles that hold a lock on a database: each can have one on any, for as long as it leaves a
/// transaction open.
async fn free(session: &Session, database: &str) -> Result<()> {
    session
        .execute(
            "SELECT pg_terminate_backend(l.pid, 5000) FROM pg_catalog.pg_locks l
             JOIN pg_catalog.pg_database d ON d.oid = l.objid
             JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
             WHERE l.locktype = 'object' AND l.classid = 'pg_catalog.pg_database'::regclass AND d.datname = $1
               AND a.usename ~ '^t_[0-9a-f]{32}$'",
            &[&database],
        )
        .await?;
    Ok(())
}

/// Drops a role, whoever's it is.
pub(crate) async fn drop_the_role(session: &Session, admin: &Config, role: &RoleName) -> Result<()> {
    let statement = format!("DROP ROLE IF EXISTS {}", ident(role.as_str()));
    let mut tries = 1..TRIES;
    loop {
        match unhindered(session, admin, &statement).await {
            Err(Hindered::Statement(error))
                if error.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST)
                    && tries.next().is_some() =>
            {
                disown(session, admin, role).await?;
            }
            Err(hindered) => return Err(name_prepared(session, hindered.into(), |_| true).await),
            Ok(()) => return Ok(()),
        }
    }
}

/// What held something up for too long, with the prepared transactions named that may: they have no session that could be
/// ended.
async fn name_prepared(
    session: &Session,
    error: ServerError,
    may: impl Fn(&Prepared) -> bool,
) -> ServerError {
    let ServerError::Postgres(told) = &error else { return error };
    if !matches!(told.code(), Some(&SqlState::OBJECT_IN_USE | &SqlState::LOCK_NOT_AVAILABLE)) {
        return error;
    }
    let mut prepared = prepared_by_tenants(session).await.unwrap_or_default();
    prepared.retain(may);
    if prepared.is_empty() {
        return error;
    }
    ServerError::Prepared(prepared.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// Takes from a role whatever it was granted, in every database that mentions it.
async fn disown(session: &Session, admin: &Config, role: &RoleName) -> Result<()> {
    let mentioned = session
        .query(
            "SELECT DISTINCT d.datname::text FROM pg_catalog.pg_shdepend s
             JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid AND s.refclassid = 'pg_catalog.pg_authid'::regclass
             JOIN pg_catalog.pg_database d ON d.oid = s.dbid
             WHERE r.rolname = $1",
            &[&role.as_str()],
        )
        .await?;
    let statement = format!("DROP OWNED BY {}", ident(role.as_str()));
    // What it was granted of things that all databases share goes with any of them.
    unhindered(session, admin, &statement).await?;
    for row in mentioned {
        let database: &str = row.get(0);
        tracing::warn!(%role, database, "a role that is to be dropped was granted something there: it is taken back");
        let inside = session_in(admin, database).await?;
        unhindered(&inside, admin, &statement).await?;
        inside.close().await;
    }
    Ok(())
}

/// Why something was not done, though nobody was let be in its way.
#[derive(Debug, thiserror::Error)]
enum Hindered {
    #[error(transparent)]
    Statement(tokio_postgres::Error),
    #[error(transparent)]
    Watch(ServerError),
}

impl From<Hindered> for ServerError {
    fn from(hindered: Hindered) -> Self {
        match hindered {
            Hindered::Statement(error) => error.into(),
            Hindered::Watch(error) => error,
        }
    }
}

/// Runs a statement, and ends the sessions of tenants' roles that it waits for: whoever leaves a transaction open that holds a
/// lock on what is to go.
async fn unhindered(session: &Session, admin: &Config, statement: &str) -> std::result::Result<(), Hindered> {
    let settled = session.query_one("SELECT pg_backend_pid(), set_config('lock_timeout', '5s', false)", &[]);
    let process: i32 = settled.await.map_err(Hindered::Statement)?.get(0);
    let mut running = pin!(session.batch_execute(statement));
    let mut watcher = None;
    loop {
        if let Ok(outcome) = timeout(LOOK_AFTER, running.as_mut()).await {
            return outcome.map_err(Hindered::Statement);
        }
        let watcher = match &mut watcher {
            Some(watcher) => watcher,
            none => none.insert(maintenance(admin).await.map_err(Hindered::Watch)?),
        };
        watcher
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
                 WHERE pid = ANY(pg_blocking_pids($1)) AND usename ~ '^t_[0-9a-f]{32}$'",
                &[&process],
            )
            .await
            .map_err(|error| Hindered::Watch(error.into()))?;
    }
}
