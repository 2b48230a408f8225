//! The checks of one server.

use crate::doctor::{Check, Health};
use portero_pg::{Session, TENANT_SESSION, ident, tenant_capacity};
use portero_registry::{SpareRow, TenantRow, TenantStatus};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Error;

/// The oldest version of PostgreSQL that is supported, as `server_version_num`.
const OLDEST: i32 = 150_000;
/// Fewer connections than this are not worth the name of a server: one busy tenant uses as many.
const FEWEST_CONNECTIONS: usize = 8;

/// Whether the server can hold tenants at all. Each check's name is `name` of what it is about.
pub(crate) async fn check_fitness(
    session: &Session,
    name: impl Fn(&str) -> String,
) -> Result<Vec<Check>, Error> {
    Ok(vec![
        check_role(session, name("Portero's role")).await?,
        check_version(session, name("version")).await?,
        check_writable(session, name("writing")).await?,
        check_connections(session, name("connections")).await?,
    ])
}

/// Whether it holds its tenants as the registry has them.
pub(crate) async fn check_tenants(
    session: &Session,
    tenants: &[&TenantRow],
    spares: &[SpareRow],
    name: impl Fn(&str) -> String,
) -> Result<Vec<Check>, Error> {
    Ok(vec![
        check_public(session, name("open databases")).await?,
        check_orphans(session, tenants, spares, name("orphans")).await?,
        check_roles(session, tenants, name("tenants' roles")).await?,
    ])
}

/// Databases and roles that bear a tenant's name and belong to no tenant and are no spare, and tenants without a database.
async fn check_orphans(
    session: &Session,
    tenants: &[&TenantRow],
    spares: &[SpareRow],
    name: String,
) -> Result<Check, Error> {
    const THERE: &str = "SELECT datname::text FROM pg_catalog.pg_database WHERE datname ~ '^t_[0-9a-f]{32}$'
            UNION SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname ~ '^t_[0-9a-f]{32}$'";
    let there: BTreeSet<String> = session.query(THERE, &[]).await?.iter().map(|row| row.get(0)).collect();
    let names =
        tenants.iter().map(|tenant| &tenant.database).chain(spares.iter().map(|spare| &spare.database));
    let known: BTreeSet<String> = names.map(ToString::to_string).collect();
    let made = tenants.iter().filter(|tenant| is_whole(tenant.status));
    let missing: Vec<_> =
        made.map(|tenant| tenant.database.to_string()).filter(|made| !there.contains(made)).collect();
    let orphans: Vec<_> = there.difference(&known).cloned().collect();
    Ok(match (orphans.is_empty(), missing.is_empty()) {
        (true, true) => Check::ok(name, "every database belongs to a tenant, and every tenant has one"),
        (false, true) => Check::bad(
            Health::Warn,
            name,
            format!("belong to no tenant of this registry: {}", orphans.join(", ")),
            "if no other registry uses this server, drop these databases and roles",
        ),
        _ => Check::bad(
            Health::Fail,
            name,
            format!("tenants' databases are missing: {}", missing.join(", ")),
            "restore them from a backup",
        ),
    })
}

/// Whether everything of a tenant in this state has to be there: nothing is being made, or removed.
const fn is_whole(status: TenantStatus) -> bool {
    !matches!(status, TenantStatus::Provisioning | TenantStatus::Purging)
}

/// Tenants' roles that may log in where the door is shut, or may not where it is open, or that changed their settings.
async fn check_roles(session: &Session, tenants: &[&TenantRow], name: String) -> Result<Check, Error> {
    const ROLES: &str =
        "SELECT rolname::text, rolcanlogin, coalesce(rolconfig, '{}') FROM pg_catalog.pg_roles
            WHERE rolname ~ '^t_[0-9a-f]{32}$'";
    let roles: BTreeMap<String, (bool, Vec<String>)> =
        session.query(ROLES, &[]).await?.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    let wanted: BTreeSet<String> = TENANT_SESSION
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(setting, value)| format!("{setting}={value}"))
        .collect();
    let mut wrong = Vec::new();
    for tenant in tenants.iter().filter(|tenant| is_whole(tenant.status)) {
        let Some((may_log_in, settings)) = roles.get(tenant.database.as_str()) else { continue };
        if *may_log_in != (tenant.status == TenantStatus::Active) {
            let state = if *may_log_in { "may log in" } else { "may not log in" };
            wrong.push(format!("{} is {} and its role {state}", tenant.subdomain, tenant.status.as_str()));
        } else if settings.iter().cloned().collect::<BTreeSet<_>>() != wanted {
            wrong.push(format!("{}'s role has other settings than it was given", tenant.subdomain));
        }
    }
    Ok(if wrong.is_empty() {
        Check::ok(name, "every tenant's role is as it should be")
    } else {
        Check::bad(
            Health::Fail,
            name,
            wrong.join("; "),
            "portero tenant pause shuts a door again; portero tenant resume opens it and sets the role right",
        )
    })
}

/// Whether Portero's own role may do its work, and no more.
async fn check_role(session: &Session, name: String) -> Result<Check, Error> {
    let row = session
        .query_one("SELECT rolsuper, rolcreatedb, rolcreaterole, rolname::text FROM pg_catalog.pg_roles WHERE rolname = current_user", &[])
        .await?;
    let role: String = row.get(3);
    Ok(match (row.get(0), row.get(1), row.get(2)) {
        (false, true, true) => {
            Check::ok(name, format!("{role} may create databases and roles, and is no superuser"))
        }
        (true, _, _) => Check::bad(
            Health::Warn,
            name,
            format!("{role} is a superuser"),
            format!("ALTER ROLE {} NOSUPERUSER CREATEDB CREATEROLE", ident(&role)),
        ),
        _ => Check::bad(
            Health::Fail,
            name,
            format!("{role} may not create databases and roles"),
            format!("as a superuser: ALTER ROLE {} CREATEDB CREATEROLE", ident(&role)),
        ),
    })
}

async fn check_version(session: &Session, name: String) -> Result<Check, Error> {
    let row = session
        .query_one(
            "SELECT current_setting('server_version_num')::integer, current_setting('server_version')",
            &[],
        )
        .await?;
    let version: String = row.get(1);
    Ok(if row.get::<_, i32>(0) >= OLDEST {
        Check::ok(name, format!("PostgreSQL {version}"))
    } else {
        Check::bad(
            Health::Fail,
            name,
            format!("PostgreSQL {version}"),
            "Portero needs PostgreSQL 15 or newer",
        )
    })
}

/// Databases that everybody may connect to: a tenant's role could look around there.
async fn check_public(session: &Session, name: String) -> Result<Check, Error> {
    let rows = session
        .query(
            "SELECT datname::text FROM pg_catalog.pg_database
             WHERE datallowconn AND (datacl IS NULL OR EXISTS
                   (SELECT FROM aclexplode(datacl) WHERE grantee = 0 AND privilege_type IN ('CONNECT', 'TEMPORARY')))
             ORDER BY datname",
            &[],
        )
        .await?;
    let open: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(if open.is_empty() {
        Check::ok(name, "none is open to everybody")
    } else {
        let commands: Vec<_> = open
            .iter()
            .map(|database| format!("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC;", ident(database)))
            .collect();
        Check::bad(
            Health::Warn,
            name,
            format!("open to everybody: {}", open.join(", ")),
            format!("as their owner or a superuser: {}", commands.join(" ")),
        )
    })
}

/// A standby takes no tenants, though it answers.
async fn check_writable(session: &Session, name: String) -> Result<Check, Error> {
    let row = session
        .query_one("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean", &[])
        .await?;
    Ok(match (row.get(0), row.get(1)) {
        (false, false) => Check::ok(name, "takes writes"),
        (true, _) => Check::bad(Health::Fail, name, "it is a standby", "name its primary instead"),
        (false, true) => Check::bad(
            Health::Fail,
            name,
            "it is read-only",
            "set default_transaction_read_only off, for the server and for Portero's role",
        ),
    })
}

async fn check_connections(session: &Session, name: String) -> Result<Check, Error> {
    let capacity = tenant_capacity(session).await?;
    Ok(if capacity >= FEWEST_CONNECTIONS {
        Check::ok(name, format!("{capacity} for companies"))
    } else {
        Check::bad(
            Health::Warn,
            name,
            format!("{capacity} for companies, beside what is kept for operators and for Portero"),
            format!("raise max_connections by {} or more", FEWEST_CONNECTIONS - capacity),
        )
    })
}
