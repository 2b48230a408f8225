//! The checks of one server.

use crate::{
    Finding, Kind,
    doctor::{Check, Health},
};
use portero_pg::{Session, ident, tenant_capacity};
use tokio_postgres::Error;

/// The oldest version of PostgreSQL that is supported, as `server_version_num`.
const OLDEST: i32 = 150_000;
/// Fewer connections than this are not worth the name of a server: one busy tenant uses as many.
const FEWEST_CONNECTIONS: usize = 8;

/// So many are named of what is wrong in the same way.
const MOST_TOLD: usize = 10;

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

/// Whether it holds its tenants as the registry has them: a check that is well, or one for each kind of difference.
pub(crate) fn check_tenants(server: &str, findings: &[Finding], name: impl Fn(&str) -> String) -> Vec<Check> {
    let mut checks = Vec::new();
    for (check, well) in [
        ("open databases", "none is open to everybody"),
        ("orphans", "every database belongs to a tenant, and every tenant has one"),
        ("tenants' roles", "every tenant's role is as it should be"),
        ("sign-ups", "each that is under way has its job"),
        ("purges", "each that is under way has its job"),
    ] {
        let kinds = Kind::ALL.iter().filter(|kind| kind.check() == check);
        let found = kinds.filter_map(|kind| check_kind(*kind, server, findings, name(check)));
        let before = checks.len();
        checks.extend(found);
        if checks.len() == before {
            checks.push(Check::ok(name(check), well));
        }
    }
    checks
}

/// What was found of one kind, if anything was.
fn check_kind(kind: Kind, server: &str, findings: &[Finding], name: String) -> Option<Check> {
    let of_kind: Vec<&Finding> =
        findings.iter().filter(|finding| finding.kind == kind && finding.server == server).collect();
    let mut told: Vec<String> = of_kind.iter().take(MOST_TOLD).map(|finding| finding.told()).collect();
    match of_kind.len().saturating_sub(MOST_TOLD) {
        0 => {}
        more => told.push(format!("and {more} more")),
    }
    let found = || format!("{}: {}", kind.found(), told.join(", "));
    let commands: Vec<String> =
        of_kind.iter().take(MOST_TOLD).filter_map(|finding| finding.command()).collect();
    let advice = match commands.as_slice() {
        [] => kind.advice().to_owned(),
        commands => format!("{}: {}", kind.advice(), commands.join("; ")),
    };
    (!of_kind.is_empty()).then(|| Check::bad(kind.health(), name, found(), advice))
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
