//! Every check one needs when something is wrong, each with what to do about it.

use crate::Control;
use portero_kernel::with_causes;
use portero_pg::{Session, TENANT_SESSION, connect, ident};
use portero_registry::{JobStatus, MIGRATIONS, RegistryError, ServerRow, TenantRow, TenantStatus};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Ok,
    /// Works, but not as it should.
    Warn,
    /// Doesn't work.
    Fail,
}

/// A check and its outcome.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it came out.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do about it; empty where nothing needs doing.
    pub advice: String,
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), health: Health::Ok, found: found.into(), advice: String::new() }
    }

    fn bad(
        health: Health,
        name: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), health, found: found.into(), advice: advice.into() }
    }
}

/// The oldest version of PostgreSQL that is supported, as `server_version_num`.
const OLDEST: i32 = 150_000;

impl Control {
    /// Looks at everything. Checks that need what an earlier one found missing are left out.
    pub async fn doctor(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        if let Err(error) = self.registry.ping().await {
            checks.push(Check::bad(
                Health::Fail,
                "registry",
                with_causes(&error),
                "start its PostgreSQL, or correct PORTERO_REGISTRY_URL",
            ));
            return checks;
        }
        checks.push(Check::ok("registry", "answers"));
        checks.push(self.check_registry_schema().await);
        checks.push(self.check_jobs().await);
        match self.registry.servers().await {
            Err(error) => checks.push(Check::bad(
                Health::Fail,
                "master key",
                with_causes(&error),
                "start with the master key that the registry was written with",
            )),
            Ok(servers) if servers.is_empty() => checks.push(Check::bad(
                Health::Fail,
                "servers",
                "no database server is known",
                "start `portero dev` or `portero serve` once: it adds the registry's own server",
            )),
            Ok(servers) => {
                checks.push(Check::ok("master key", "opens the registry's secrets"));
                for server in &servers {
                    self.check_server(server, &mut checks).await;
                }
            }
        }
        checks
    }

    async fn check_registry_schema(&self) -> Check {
        let wanted = MIGRATIONS.latest();
        match self.registry.schema_version().await {
            Ok(version) if version == wanted => Check::ok("registry schema", format!("version {version}")),
            Ok(version) if version < wanted => Check::bad(
                Health::Warn,
                "registry schema",
                format!("version {version}, this Portero has {wanted}"),
                "start `portero serve`: it migrates the registry",
            ),
            Ok(version) => Check::bad(
                Health::Fail,
                "registry schema",
                format!("version {version}, this Portero knows only {wanted}"),
                "run the newer Portero that migrated it",
            ),
            Err(error) => {
                Check::bad(Health::Fail, "registry schema", with_causes(&error), "see the registry's log")
            }
        }
    }

    async fn check_jobs(&self) -> Check {
        let looked = async {
            let mut stuck = Vec::new();
            for id in self.registry.jobs_with_status(JobStatus::Stuck, 10).await? {
                let error = self.registry.job_by_id(id).await?.and_then(|job| job.error).unwrap_or_default();
                stuck.push(format!("{id} ({error})"));
            }
            Ok::<_, RegistryError>((stuck, self.registry.jobs_open().await?))
        };
        match looked.await {
            Ok((stuck, open)) if stuck.is_empty() => {
                Check::ok("jobs", format!("{open} under way, none stuck"))
            }
            Ok((stuck, _)) => Check::bad(
                Health::Fail,
                "jobs",
                format!("stuck: {}", stuck.join("; ")),
                "remove what hinders the undo; the names stay reserved meanwhile",
            ),
            Err(error) => Check::bad(Health::Fail, "jobs", with_causes(&error), "see the registry's log"),
        }
    }

    async fn check_server(&self, server: &ServerRow, checks: &mut Vec<Check>) {
        let name = |what: &str| format!("{}: {what}", server.name);
        let session = match connect(&server.admin).await {
            Ok(session) => session,
            Err(error) => {
                checks.push(Check::bad(
                    Health::Fail,
                    name("connection"),
                    with_causes(&error),
                    "start it, or correct its address",
                ));
                return;
            }
        };
        let found = async {
            checks.push(check_role(&session, name("Portero's role")).await?);
            checks.push(check_version(&session, name("version")).await?);
            checks.push(check_public(&session, name("open databases")).await?);
            let tenants = self.tenants_on(server).await?;
            checks.push(check_orphans(&session, &tenants, name("orphans")).await?);
            checks.push(check_roles(&session, &tenants, name("tenants' roles")).await?);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        }
        .await;
        if let Err(error) = found {
            checks.push(Check::bad(
                Health::Fail,
                name("checks"),
                with_causes(error.as_ref()),
                "see the server's log",
            ));
        }
        session.close().await;
    }

    async fn tenants_on(&self, server: &ServerRow) -> Result<Vec<TenantRow>, RegistryError> {
        let mut tenants = Vec::new();
        let mut after = None;
        loop {
            let page = self.registry.tenants_after(after.as_ref(), 1000).await?;
            let Some(last) = page.last() else { return Ok(tenants) };
            after = Some(last.subdomain.clone());
            tenants.extend(page.into_iter().filter(|tenant| tenant.server == server.id));
        }
    }
}

/// Databases and roles that bear a tenant's name and belong to no tenant, and tenants without a database.
async fn check_orphans(
    session: &Session,
    tenants: &[TenantRow],
    name: String,
) -> Result<Check, tokio_postgres::Error> {
    const THERE: &str = "SELECT datname::text FROM pg_catalog.pg_database WHERE datname ~ '^t_[0-9a-f]{32}$'
            UNION SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname ~ '^t_[0-9a-f]{32}$'";
    let there: BTreeSet<String> = session.query(THERE, &[]).await?.iter().map(|row| row.get(0)).collect();
    let known: BTreeSet<String> = tenants.iter().map(|tenant| tenant.database.to_string()).collect();
    let made = tenants.iter().filter(|tenant| tenant.status != TenantStatus::Provisioning);
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

/// Tenants' roles that may log in where the door is shut, or may not where it is open, or that changed their settings.
async fn check_roles(
    session: &Session,
    tenants: &[TenantRow],
    name: String,
) -> Result<Check, tokio_postgres::Error> {
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
    for tenant in tenants.iter().filter(|tenant| tenant.status != TenantStatus::Provisioning) {
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

async fn check_role(session: &Session, name: String) -> Result<Check, tokio_postgres::Error> {
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

async fn check_version(session: &Session, name: String) -> Result<Check, tokio_postgres::Error> {
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
async fn check_public(session: &Session, name: String) -> Result<Check, tokio_postgres::Error> {
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
