//! What Portero's own role does on a tenants' server, statement by statement. Each can be repeated.

use crate::{engine::StepError, points, removal};
use portero_kernel::{DatabaseName, JobId, RoleName, ServerId, TenantId, with_causes};
use portero_pg::{
    Class, EndError, MARK_PREFIX, Session, TENANT_SESSION, classify, connect, database_mark, ident, literal,
};
use std::slice;
use tokio_postgres::{Config, Error, error::SqlState};

/// Connections that one tenant's role may hold on the server, over all routers.
pub const CONNECTION_LIMIT: u32 = 20;

/// Why the server didn't do it.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// As PostgreSQL says.
    #[error("the database server refused")]
    Postgres(#[from] Error),
    /// A database or role of that name is somebody else's: never adopted, never dropped.
    #[error("{0} exists and bears another mark")]
    Foreign(String),
    /// It is held by transactions that no session has: each is ended by the statement named, or by whoever prepared it.
    #[error("prepared transactions hold on to it: as a superuser, {0}")]
    Prepared(String),
    /// An earlier session of a job was told to end and is still there.
    #[error("an earlier session of this job doesn't end")]
    EarlierSession,
    /// Sessions of the tenant's role were told to end and are still there.
    #[error("{0} sessions of the tenant don't end: look at their processes on the server, and try again")]
    SessionsLeft(usize),
}

impl From<EndError> for ServerError {
    fn from(error: EndError) -> Self {
        match error {
            EndError::Postgres(error) => Self::Postgres(error),
            EndError::Left(count) => Self::SessionsLeft(count),
        }
    }
}

impl ServerError {
    /// Whether another try may succeed.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            // A template that is looked into at this moment, by autovacuum for example.
            Self::Postgres(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => true,
            Self::Postgres(error) => !matches!(classify(error), Class::Other),
            Self::Foreign(_) => false,
            Self::SessionsLeft(_) | Self::EarlierSession | Self::Prepared(_) => true,
        }
    }
}

impl From<ServerError> for StepError {
    fn from(error: ServerError) -> Self {
        if error.may_pass() { Self::Again(with_causes(&error)) } else { Self::Never(with_causes(&error)) }
    }
}

impl From<Error> for StepError {
    fn from(error: Error) -> Self {
        ServerError::from(error).into()
    }
}

type Result<T> = std::result::Result<T, ServerError>;

/// Portero's own login, in the database named.
pub(crate) async fn session_in(admin: &Config, database: &str) -> Result<Session> {
    let mut config = admin.clone();
    config.dbname(database);
    Ok(connect(&config).await?)
}

/// Portero's own login in a server's maintenance database, under the name of a job.
pub(crate) async fn session_of(admin: &Config, job: JobId) -> Result<Session> {
    session_of_job_in(admin, admin.get_dbname().unwrap_or("postgres"), job).await
}

/// The same, in the database named.
pub(crate) async fn session_of_job_in(admin: &Config, database: &str, job: JobId) -> Result<Session> {
    let mut config = admin.clone();
    config.application_name(format!("portero job {job}"));
    session_in(&config, database).await
}

/// Portero's own login in a server's maintenance database, for whoever refills it. What an earlier one is still at ends:
/// PostgreSQL goes on with a `CREATE DATABASE` whose client is dead, and nobody would know of what comes of it.
pub(crate) async fn refiller(admin: &Config, server: ServerId) -> Result<Session> {
    let mut config = admin.clone();
    config.application_name(format!("portero refill {server}"));
    let session = session_in(&config, admin.get_dbname().unwrap_or("postgres")).await?;
    end_others_of_that_name(&session).await?;
    Ok(session)
}

/// Ends all other sessions of this one's name and role, and waits until they have ended.
pub(crate) async fn end_others_of_that_name(session: &Session) -> Result<()> {
    // A second look, for one that had ended by itself when it was told to: that is answered like one that stays.
    for _ in 0..2 {
        let told = session
            .query_one(
                "SELECT coalesce(bool_and(pg_terminate_backend(pid, 10000)), true)
                 FROM pg_catalog.pg_stat_activity
                 WHERE application_name = current_setting('application_name')
                   AND usename = current_user AND pid <> pg_backend_pid()",
                &[],
            )
            .await?;
        if told.get(0) {
            return Ok(());
        }
    }
    Err(ServerError::EarlierSession)
}

/// Whose a database or a role is: the comment that it bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark(String);

impl Mark {
    /// A tenant's.
    pub(crate) fn tenant(tenant: TenantId) -> Self {
        Self(database_mark(tenant))
    }

    /// A spare's, until a tenant is given it. It names the server's id in the registry: other registries may have spares
    /// on the same server.
    pub(crate) fn spare(server: ServerId) -> Self {
        Self(format!("portero spare {server}"))
    }
}

/// What is known of a database or a role on the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// Unmarked and owned by us under the opaque name that only our registry row holds: the moment between
    /// `CREATE DATABASE` and `COMMENT`.
    Unmarked,
    /// Ours: it bears this one of the marks that were asked for.
    Marked(Mark),
    Foreign,
}

pub(crate) async fn find_database(
    session: &Session,
    database: &DatabaseName,
    marks: &[Mark],
) -> Result<Found> {
    let row = session
        .query_opt(
            "SELECT shobj_description(oid, 'pg_database'), pg_get_userbyid(datdba) = current_user
             FROM pg_catalog.pg_database WHERE datname = $1",
            &[&database.as_str()],
        )
        .await?;
    Ok(judge(row.map(|row| (row.get(0), row.get(1))), marks))
}

pub(crate) async fn find_role(session: &Session, role: &RoleName, marks: &[Mark]) -> Result<Found> {
    let row = session
        .query_opt(
            "SELECT shobj_description(oid, 'pg_authid') FROM pg_catalog.pg_roles WHERE rolname = $1",
            &[&role.as_str()],
        )
        .await?;
    Ok(judge(row.map(|row| (row.get(0), true)), marks))
}

fn judge(row: Option<(Option<String>, bool)>, marks: &[Mark]) -> Found {
    match row {
        None => Found::Nothing,
        Some((None, true)) => Found::Unmarked,
        Some((None, false)) => Found::Foreign,
        Some((Some(mark), _)) => marks
            .iter()
            .find(|ours| ours.0 == mark)
            .map_or(Found::Foreign, |ours| Found::Marked(ours.clone())),
    }
}

/// Makes a database from a template, closed to everybody until its rights are set, marked, then opened; or goes on where
/// that was left.
///
/// Blocks go over by the log (`wal_log`): of a database as small as ours that is quicker than copying its files, which wants
/// two checkpoints (0.10 s beside 0.17 s on a busy machine with fsync on).
pub(crate) async fn create_database(
    session: &Session,
    database: &DatabaseName,
    mark: &Mark,
    template: &str,
) -> Result<()> {
    let name = ident(database.as_str());
    match find_database(session, database, slice::from_ref(mark)).await? {
        Found::Foreign => return Err(ServerError::Foreign(format!("database {database}"))),
        Found::Unmarked | Found::Marked(_) => {}
        Found::Nothing => {
            points::hold("create").await;
            session
                .batch_execute(&format!(
                    "CREATE DATABASE {name} TEMPLATE {} ENCODING 'UTF8' STRATEGY wal_log ALLOW_CONNECTIONS false",
                    ident(template)
                ))
                .await?;
        }
    }
    points::hold("created").await;
    session
        .batch_execute(&format!(
            "REVOKE ALL ON DATABASE {name} FROM PUBLIC;
             COMMENT ON DATABASE {name} IS {};
             ALTER DATABASE {name} ALLOW_CONNECTIONS true",
            literal(&mark.0)
        ))
        .await?;
    Ok(())
}

/// What was there of a tenant's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// A spare, which is the tenant's now.
    Spare,
    /// The tenant's own, finished or not.
    Begun,
    Nothing,
}

/// Makes a spare's database the tenant's, by its mark, if that is what is there under the name.
pub(crate) async fn take_spare(
    session: &Session,
    database: &DatabaseName,
    spare: &Mark,
    tenant: &Mark,
) -> Result<Before> {
    match find_database(session, database, &[spare.clone(), tenant.clone()]).await? {
        Found::Foreign => return Err(ServerError::Foreign(format!("database {database}"))),
        Found::Nothing => return Ok(Before::Nothing),
        Found::Marked(mark) if mark == *spare => {}
        Found::Unmarked | Found::Marked(_) => return Ok(Before::Begun),
    }
    let (name, mark) = (ident(database.as_str()), literal(&tenant.0));
    session.batch_execute(&format!("COMMENT ON DATABASE {name} IS {mark}")).await?;
    Ok(Before::Spare)
}

/// What a role needs to log in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Door<'a> {
    /// This verifier of its password.
    Open(&'a str),
    /// It has no password and may not log in: it belongs to nobody yet.
    Shut,
}

/// Makes a role, or sets one that bears one of the `marks` as it should be: the login, the limits, the first of the marks,
/// nothing else.
pub(crate) async fn create_role(
    session: &Session,
    role: &RoleName,
    door: Door<'_>,
    marks: &[Mark],
) -> Result<()> {
    let name = ident(role.as_str());
    let verb = match find_role(session, role, marks).await? {
        Found::Foreign => return Err(ServerError::Foreign(format!("role {role}"))),
        Found::Unmarked | Found::Marked(_) => "ALTER",
        Found::Nothing => "CREATE",
    };
    let login = match door {
        Door::Open(verifier) => format!("LOGIN PASSWORD {}", literal(verifier)),
        Door::Shut => "NOLOGIN PASSWORD NULL".to_owned(),
    };
    let mark = marks.first().map_or("NULL".to_owned(), |mark| literal(&mark.0));
    let settings: String = TENANT_SESSION
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(setting, value)| format!("ALTER ROLE {name} SET {setting} = {};", literal(value)))
        .collect();
    let mut resets = String::new();
    for database in databases_with_settings_of(session, role).await? {
        resets += &format!("ALTER ROLE {name} IN DATABASE {} RESET ALL;", ident(&database));
    }
    // All in one message, so in one transaction. Whatever the role has set for itself meanwhile is gone. A list that should
    // be empty is so by that: set to '' for a role, PostgreSQL would look for a library without a name, and let nobody in.
    // The membership, the other way round: whoever fences a tenant must be allowed to end its sessions.
    session
        .batch_execute(&format!(
            "{verb} ROLE {name} WITH {login} NOCREATEDB NOCREATEROLE INHERIT CONNECTION LIMIT {CONNECTION_LIMIT};
             COMMENT ON ROLE {name} IS {mark};
             ALTER ROLE {name} RESET ALL;
             {resets}
             {settings}
             GRANT {name} TO CURRENT_USER"
        ))
        .await?;
    Ok(())
}

/// The databases for which the role has settings of their own.
async fn databases_with_settings_of(session: &Session, role: &RoleName) -> Result<Vec<String>> {
    let rows = session
        .query(
            "SELECT d.datname FROM pg_catalog.pg_db_role_setting s
             JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
             JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE r.rolname = $1",
            &[&role.as_str()],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Makes a role that may do nothing, in a transaction that is rolled back: to see what a tenant's role would be granted.
pub(crate) async fn create_passing_role(session: &Session, role: &RoleName) -> Result<()> {
    session.batch_execute(&format!("CREATE ROLE {} NOLOGIN", ident(role.as_str()))).await?;
    Ok(())
}

/// Lets the role into its database.
pub(crate) async fn grant_connect(session: &Session, database: &str, role: &RoleName) -> Result<()> {
    let (database, role) = (ident(database), ident(role.as_str()));
    session.batch_execute(&format!("GRANT CONNECT ON DATABASE {database} TO {role}")).await?;
    Ok(())
}

/// What PUBLIC may not do in a tenant's database, nor in a template: the schema's rights come over with a clone.
pub(crate) const HARDENING: &str = "REVOKE ALL ON SCHEMA public FROM PUBLIC;
    ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC";

/// In the tenant's database: data yes, structure no. Of what a template brought along, and of what migrations bring yet.
pub(crate) async fn grant_data(session: &Session, role: &RoleName) -> Result<()> {
    let role = ident(role.as_str());
    session
        .batch_execute(&format!(
            "{HARDENING};
             GRANT USAGE ON SCHEMA public TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role};
             ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
             ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {role};
             ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO {role}"
        ))
        .await?;
    Ok(())
}

/// After a migration: what the role may read but not rewrite. Of the audit it may write what happened, not when.
pub(crate) async fn restrict_data(session: &Session, role: &RoleName) -> Result<()> {
    session.batch_execute(&restriction(role)).await?;
    Ok(())
}

/// The same, for whoever runs it with something else.
pub(crate) fn restriction(role: &RoleName) -> String {
    let role = ident(role.as_str());
    format!(
        "REVOKE INSERT, UPDATE, DELETE ON public.schema_history FROM {role};
         REVOKE INSERT, UPDATE, DELETE ON public.audit FROM {role};
         GRANT INSERT (actor_id, action, subject_id, detail) ON public.audit TO {role};
         REVOKE ALL ON SEQUENCE public.audit_id_seq FROM {role}"
    )
}

/// The same of a schema that is older than the audit.
pub(crate) async fn restrict_history(session: &Session, role: &RoleName) -> Result<()> {
    let role = ident(role.as_str());
    session
        .batch_execute(&format!("REVOKE INSERT, UPDATE, DELETE ON public.schema_history FROM {role}"))
        .await?;
    Ok(())
}

/// Whether the tenant's role is there.
pub(crate) async fn has_role(session: &Session, role: &RoleName, tenant: TenantId) -> Result<bool> {
    match find_role(session, role, &[Mark::tenant(tenant)]).await? {
        Found::Foreign => Err(ServerError::Foreign(format!("role {role}"))),
        found => Ok(found != Found::Nothing),
    }
}

/// What there is of a tenant on the server, by its name or its mark.
pub(crate) struct Remains {
    pub(crate) databases: i64,
    pub(crate) roles: i64,
    pub(crate) sessions: i64,
}

/// Counts what there is of a tenant.
pub(crate) async fn remains(session: &Session, database: &DatabaseName, tenant: TenantId) -> Result<Remains> {
    let row = session
        .query_one(
            "SELECT (SELECT count(*) FROM pg_catalog.pg_database
                     WHERE datname = $1 OR shobj_description(oid, 'pg_database') = $2),
                    (SELECT count(*) FROM pg_catalog.pg_roles
                     WHERE rolname = $1 OR shobj_description(oid, 'pg_authid') = $2),
                    (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = $1 OR usename = $1)",
            &[&database.as_str(), &database_mark(tenant)],
        )
        .await?;
    Ok(Remains { databases: row.get(0), roles: row.get(1), sessions: row.get(2) })
}

/// What there is on the server under a tenant's names, as people call it. Whatever an earlier session of this job was told
/// to do has happened by then.
///
/// # Errors
/// As PostgreSQL says.
pub async fn left_of(admin: &Config, job: JobId, database: &DatabaseName) -> Result<Vec<String>> {
    let session = session_of(admin, job).await?;
    end_others_of_that_name(&session).await?;
    let rows = session
        .query(
            "SELECT 'database ' || datname FROM pg_catalog.pg_database WHERE datname = $1
             UNION ALL SELECT 'role ' || rolname FROM pg_catalog.pg_roles WHERE rolname = $1",
            &[&database.as_str()],
        )
        .await?;
    session.close().await;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Removes what a job that was given up has left of a tenant that never came to be: the database and the role of this name.
/// Neither goes that bears another mark than the tenant's, or that of the spare it was.
///
/// # Errors
/// [`ServerError::Foreign`], or as PostgreSQL says; repeating it goes on.
pub async fn remove_left(
    admin: &Config,
    job: JobId,
    tenant: TenantId,
    server: ServerId,
    database: &DatabaseName,
) -> Result<()> {
    let session = session_of(admin, job).await?;
    end_others_of_that_name(&session).await?;
    let marks = [Mark::tenant(tenant), Mark::spare(server)];
    let removed = removal::drop_database_and_role(&session, admin, database, &marks).await;
    session.close().await;
    removed
}

/// Databases of other companies that this role may connect to: there must be none. Portero's own are meant, and those that
/// are called or marked like a company's, whoever owns them; of the server's others `doctor` tells.
pub(crate) async fn other_open_databases(
    session: &Session,
    role: &RoleName,
    own: &DatabaseName,
) -> Result<Vec<String>> {
    let rows = session
        .query(
            "SELECT datname FROM pg_catalog.pg_database
             WHERE datname <> $2 AND datallowconn
               AND (pg_get_userbyid(datdba) = current_user
                    OR datname ~ '^t_[0-9a-f]{32}$'
                    OR starts_with(shobj_description(oid, 'pg_database'), $3))
               AND has_database_privilege($1, oid, 'CONNECT')
             ORDER BY datname LIMIT 10",
            &[&role.as_str(), &own.as_str(), &MARK_PREFIX],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether the role is more than a tenant's may be: it has an attribute, or is a member of another role.
pub(crate) async fn is_more_than_a_tenants(session: &Session, role: &RoleName) -> Result<bool> {
    let row = session
        .query_one(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
                    OR EXISTS (SELECT FROM pg_catalog.pg_auth_members WHERE member = r.oid)
             FROM pg_catalog.pg_roles r WHERE rolname = $1",
            &[&role.as_str()],
        )
        .await?;
    Ok(row.get(0))
}

/// Names that bear this mark, of databases and of roles.
pub(crate) async fn marked(session: &Session, mark: &Mark) -> Result<Vec<String>> {
    let rows = session
        .query(
            "SELECT datname::text FROM pg_catalog.pg_database WHERE shobj_description(oid, 'pg_database') = $1
             UNION SELECT rolname::text FROM pg_catalog.pg_roles WHERE shobj_description(oid, 'pg_authid') = $1",
            &[&mark.0],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
