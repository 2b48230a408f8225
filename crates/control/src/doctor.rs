//! Every check one needs when something is wrong, each with what to do about it.

mod bells;
mod jobs;
mod migrations;
mod schemas;
mod server;
mod spares;

pub(crate) use server::check_fitness;

use crate::{Control, Differences};
use portero_kernel::with_causes;
use portero_pg::connect;
use portero_provisioner::{
    Prepared,
    fleet::{FleetSchema, left_behind},
    oldest_tenant_schema, prepared_by_tenants,
};
use portero_registry::{MIGRATIONS, RegistryError, ServerRow, ServerStatus};
use schemas::{check_fleet_schema, check_schemas};
use serde::Serialize;
use server::check_tenants;
use spares::check_spares;
use std::{collections::BTreeSet, sync::Arc};
use tokio::task::JoinSet;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All.
    All,
    /// What neither [`Control::overview`] nor [`Control::reconcile`] tells.
    Rest,
}

impl Control {
    /// Looks at everything. Checks that need what an earlier one found missing are left out.
    pub async fn doctor(&self) -> Vec<Check> {
        self.checks(Scope::All).await
    }

    /// What doesn't work, beside what [`Control::overview`] and [`Control::reconcile`] tell.
    pub(crate) async fn failing(&self) -> Vec<Check> {
        let mut checks = self.checks(Scope::Rest).await;
        checks.retain(|check| check.health == Health::Fail);
        checks
    }

    async fn checks(&self, scope: Scope) -> Vec<Check> {
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
        checks.push(self.check_bells().await);
        if scope == Scope::All {
            checks.extend(self.check_jobs().await);
        }
        checks.push(self.check_migrations().await);
        checks.extend(self.check_schemas().await.unwrap_or_else(|error| {
            vec![Check::bad(Health::Fail, "tenants' schema", with_causes(&error), "see the registry's log")]
        }));
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
                if scope == Scope::All {
                    checks.push(check_placement(&servers));
                }
                self.check_servers(&servers, scope, &mut checks).await;
                self.check_spares(&servers, &mut checks).await;
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

    async fn check_schemas(&self) -> Result<Vec<Check>, RegistryError> {
        let (schema, tenants) =
            (FleetSchema::read(&self.registry).await?, self.registry.tenants_by_schema().await?);
        let newest = schema.migrations.latest();
        Ok(vec![check_fleet_schema(&schema), check_schemas(&tenants, oldest_tenant_schema(), newest)])
    }

    async fn check_servers(&self, servers: &[ServerRow], scope: Scope, checks: &mut Vec<Check>) {
        let differences = match scope {
            Scope::Rest => None,
            Scope::All => match self.reconcile().await {
                Ok(differences) => Some(Arc::new(differences)),
                Err(error) => {
                    let advice = "see the registry's log";
                    return checks.push(Check::bad(Health::Fail, "tenants", with_causes(&error), advice));
                }
            },
        };
        // Side by side: one that doesn't answer is waited for.
        let mut asked = JoinSet::new();
        for (place, server) in servers.iter().cloned().enumerate() {
            let differences = differences.clone();
            asked.spawn(async move { (place, check_server(&server, differences.as_deref()).await) });
        }
        let mut told = asked.join_all().await;
        told.sort_unstable_by_key(|(place, _)| *place);
        checks.extend(told.into_iter().flat_map(|(_, checks)| checks));
    }

    async fn check_spares(&self, servers: &[ServerRow], checks: &mut Vec<Check>) {
        let looked = async {
            let newest = FleetSchema::read(&self.registry).await?.migrations.latest();
            Ok::<_, RegistryError>((self.registry.spare_figures().await?, newest))
        };
        match looked.await {
            Err(error) => {
                checks.push(Check::bad(
                    Health::Fail,
                    "spares",
                    with_causes(&error),
                    "see the registry's log",
                ));
            }
            Ok((figures, newest)) => {
                let draining = |server: &&ServerRow| server.status == ServerStatus::Draining;
                let draining: Vec<_> = servers.iter().filter(draining).map(|server| server.id).collect();
                let active = figures.iter().filter(|figures| !draining.contains(&figures.server));
                checks.extend(active.map(|figures| check_spares(figures, newest)));
            }
        }
    }
}

/// Whether a company that signs up finds a place.
fn check_placement(servers: &[ServerRow]) -> Check {
    let active = servers.iter().filter(|server| server.status == ServerStatus::Active).count();
    let draining = servers.len() - active;
    if active == 0 {
        return Check::bad(
            Health::Fail,
            "servers",
            "all are draining: nobody can sign up",
            "portero server add, or portero server drain NAME --undo",
        );
    }
    Check::ok("servers", format!("{active} taking new companies, {draining} draining"))
}

/// Whether a rehearsal that was cut off has left something.
fn check_clones(left: &[String], name: String) -> Check {
    if left.is_empty() {
        return Check::ok(name, "none is left behind");
    }
    Check::bad(
        Health::Warn,
        name,
        format!("left behind by a rehearsal that was cut off: {}", left.join(", ")),
        "`portero serve` drops them within seconds, and so does the next portero migrate plan --rehearse",
    )
}

/// Whether a company's role has a transaction that nobody ends: it holds its locks for ever, and its database when that is to
/// be purged.
fn check_prepared(prepared: &[Prepared], name: String) -> Check {
    if prepared.is_empty() {
        return Check::ok(name, "no company has a prepared transaction");
    }
    let databases: BTreeSet<_> = prepared.iter().map(|one| one.database.as_str()).collect();
    let databases = databases.into_iter().collect::<Vec<_>>().join(", ");
    let remedies = prepared.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Check::bad(
        Health::Warn,
        name,
        format!("companies have prepared transactions, which hold up purges and others: {databases}"),
        format!(
            "as a superuser, {remedies}; and set max_prepared_transactions to 0, if nothing else needs them"
        ),
    )
}

/// Without `differences`, they are told elsewhere, and so is a server that doesn't answer.
async fn check_server(server: &ServerRow, differences: Option<&Differences>) -> Vec<Check> {
    let name = |what: &str| format!("{}: {what}", server.name);
    let session = match connect(&server.admin).await {
        Ok(session) => session,
        Err(_) if differences.is_none() => return Vec::new(),
        Err(error) => {
            let advice = "start it, or correct its address";
            return vec![Check::bad(Health::Fail, name("connection"), with_causes(&error), advice)];
        }
    };
    let mut checks = Vec::new();
    let see_log = "see the server's log";
    match check_fitness(&session, name).await {
        Ok(fitness) => checks.extend(fitness),
        Err(error) => checks.push(Check::bad(Health::Fail, name("checks"), with_causes(&error), see_log)),
    }
    if let Some(differences) = differences {
        match differences.unanswered.get(&server.name) {
            Some(error) => checks.push(Check::bad(Health::Fail, name("tenants"), error, see_log)),
            None => checks.extend(check_tenants(&server.name, &differences.findings, name)),
        }
    }
    checks.push(match left_behind(&session, server.id).await {
        Ok(clones) => check_clones(&clones, name("clones")),
        Err(error) => Check::bad(Health::Fail, name("clones"), with_causes(&error), see_log),
    });
    checks.push(match prepared_by_tenants(&session).await {
        Ok(prepared) => check_prepared(&prepared, name("prepared")),
        Err(error) => Check::bad(Health::Fail, name("prepared"), with_causes(&error), see_log),
    });
    session.close().await;
    checks
}
