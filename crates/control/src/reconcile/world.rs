//! What is on a server: its databases and its tenants' roles, by one question to the catalogue.

use portero_pg::{Session, TENANT_SESSION, connect};
use portero_provisioner::CONNECTION_LIMIT;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Config, Error, Row};

/// What is on a server.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) databases: BTreeMap<String, Database>,
    pub(super) roles: BTreeMap<String, Role>,
}

/// A database.
#[derive(Debug, Default)]
pub(super) struct Database {
    /// The comment on it.
    pub(super) mark: Option<String>,
    /// Whether anybody can connect to it at all; one whose `DROP` was interrupted takes nobody.
    pub(super) takes_connections: bool,
    /// Whether everybody may.
    pub(super) is_open: bool,
    /// Whether everybody may make temporary tables in it, or has what it takes to connect.
    pub(super) is_public: bool,
    /// Whether it is Portero's own.
    pub(super) is_own: bool,
}

/// A role that is called like a tenant's, or bears a mark of Portero's.
#[derive(Debug, Default)]
pub(super) struct Role {
    /// The comment on it.
    pub(super) mark: Option<String>,
    pub(super) may_log_in: bool,
    /// What it may do that no tenant's role may, as one would write it in a statement.
    pub(super) rights: Vec<String>,
    /// Whether it has other settings and limits than it was given.
    pub(super) was_changed: bool,
}

/// A role's settings for one database count like those for all: it was given none.
const QUESTION: &str = "
    SELECT 'database', d.datname::text, m.description, d.datallowconn AND d.datconnlimit <> -2,
           d.datallowconn AND (d.datacl IS NULL OR EXISTS
               (SELECT FROM aclexplode(d.datacl) WHERE grantee = 0 AND privilege_type IN ('CONNECT', 'TEMPORARY'))),
           '{}'::text[], '{}'::text[], 0, pg_get_userbyid(d.datdba) = current_user,
           d.datallowconn AND has_database_privilege('public', d.oid, 'CONNECT')
    FROM pg_catalog.pg_database d
    LEFT JOIN pg_catalog.pg_shdescription m ON m.objoid = d.oid AND m.classoid = 'pg_catalog.pg_database'::regclass
    UNION ALL
    SELECT 'role', r.rolname::text, m.description, r.rolcanlogin, r.rolcreatedb OR r.rolcreaterole,
           array_remove(ARRAY[CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                              CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL)
           || ARRAY(SELECT 'member of ' || quote_ident(pg_get_userbyid(roleid)) FROM pg_catalog.pg_auth_members WHERE member = r.oid)
           || ARRAY(SELECT quote_ident(o.rolname) || ' is a member' FROM pg_catalog.pg_auth_members
                    JOIN pg_catalog.pg_roles o ON o.oid = member
                    WHERE roleid = r.oid AND o.rolname <> current_user AND NOT o.rolsuper),
           coalesce(r.rolconfig, '{}')
           || ARRAY(SELECT unnest(setconfig) FROM pg_catalog.pg_db_role_setting WHERE setrole = r.oid AND setdatabase <> 0),
           r.rolconnlimit, false, false
    FROM pg_catalog.pg_roles r
    LEFT JOIN pg_catalog.pg_shdescription m ON m.objoid = r.oid AND m.classoid = 'pg_catalog.pg_authid'::regclass
    WHERE r.rolname ~ '^t_[0-9a-f]{32}$' OR starts_with(m.description, 'portero ')";

impl World {
    /// Asks the server that `admin` logs in to.
    pub(super) async fn of(admin: &Config) -> Result<Self, Error> {
        let session = connect(admin).await?;
        let world = Self::seen_by(&session).await;
        session.close().await;
        world
    }

    async fn seen_by(session: &Session) -> Result<Self, Error> {
        let mut world = Self::default();
        let given = given_settings();
        for row in session.query(QUESTION, &[]).await? {
            match row.get::<_, &str>(0) {
                "database" => world.databases.insert(row.get(1), Database::from_row(&row)).map(|_| ()),
                _ => world.roles.insert(row.get(1), Role::from_row(&row, &given)).map(|_| ()),
            };
        }
        Ok(world)
    }
}

/// What every tenant's role was given, as the catalogue writes it.
fn given_settings() -> BTreeSet<String> {
    let given = TENANT_SESSION.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(setting, value)| format!("{setting}={value}")).collect()
}

impl Database {
    fn from_row(row: &Row) -> Self {
        Self {
            mark: row.get(2),
            takes_connections: row.get(3),
            is_open: row.get(9),
            is_public: row.get(4),
            is_own: row.get(8),
        }
    }
}

impl Role {
    fn from_row(row: &Row, given: &BTreeSet<String>) -> Self {
        let settings: Vec<String> = row.get(6);
        let limit = i32::try_from(CONNECTION_LIMIT).unwrap_or(i32::MAX);
        let as_given =
            settings.len() == given.len() && settings.iter().all(|setting| given.contains(setting));
        Self {
            mark: row.get(2),
            may_log_in: row.get(3),
            rights: row.get(5),
            was_changed: row.get::<_, bool>(4) || !as_given || row.get::<_, i32>(7) != limit,
        }
    }
}
