//! What the operators' console looks at: lists in pages, one thing with all that is known of it, and everything at a glance.

use crate::{AuditView, Control, FailingJob, JobDetails, JobFilter, ServerView, SparesView};
use portero_kernel::{JobId, RouterId, SchemaVersion, ServerId, TenantId};
use portero_pg::connect;
use portero_registry::{AuditFilter, JobLine, JobQuery, RegistryError, ServerRow, TenantFilter, TenantRow};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use time::OffsetDateTime;
use tokio::{task::JoinSet, time::timeout};

/// How long a server may take to say its version, or how large a page's databases are. A page doesn't wait for what is nice to know.
const SIZES: Duration = Duration::from_millis(400);
/// Jobs in trouble that are looked at: whoever has more begins with these.
const IN_TROUBLE: i64 = 50;

/// A tenant in a list.
#[derive(Debug, Clone)]
pub struct TenantLine {
    /// Its id.
    pub id: TenantId,
    /// The company's name.
    pub name: String,
    /// Its subdomain.
    pub subdomain: String,
    /// Where it is in its life, as the registry writes it.
    pub status: &'static str,
    /// Where it is on the web.
    pub url: String,
    /// The id of its server.
    pub server_id: ServerId,
    /// The name of its server.
    pub server: String,
    /// Its database, and role of the same name.
    pub db_name: String,
    /// The version of its schema.
    pub schema_version: SchemaVersion,
    /// When it signed up.
    pub created_at: OffsetDateTime,
    /// Why it was paused, if anybody said.
    pub pause_reason: Option<String>,
    /// Its part of a server that is short of connections.
    pub weight: u8,
    /// The name of its plan, if it was given one.
    pub plan: Option<String>,
}

/// A page of a list of tenants.
#[derive(Debug, Clone)]
pub struct TenantList {
    /// The tenants.
    pub tenants: Vec<TenantLine>,
    /// After which one to go on, if there are more.
    pub next: Option<TenantId>,
}

/// A router, and how far it is.
#[derive(Debug, Clone)]
pub struct RouterView {
    /// Its id.
    pub id: RouterId,
    /// Its name.
    pub name: String,
    /// How many changes of routes it hasn't heard of.
    pub behind: i64,
    /// When it last spoke.
    pub seen_at: OffsetDateTime,
}

/// Everything at a glance.
#[derive(Debug, Clone)]
pub struct Overview {
    /// How many tenants there are in each state.
    pub tenants: Vec<(&'static str, i64)>,
    /// Jobs under way.
    pub jobs_open: i64,
    /// Jobs that need a person.
    pub jobs_stuck: i64,
    /// The newest of them.
    pub stuck: Vec<JobDetails>,
    /// Jobs under way of which a step, or its undo, keeps failing.
    pub failing: Vec<FailingJob>,
    /// The routers that live.
    pub routers: Vec<RouterView>,
    /// Every server.
    pub servers: Vec<ServerView>,
}

impl Control {
    /// Up to `limit` tenants.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenants_listed(
        &self,
        filter: &TenantFilter<'_>,
        limit: usize,
    ) -> Result<TenantList, RegistryError> {
        let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut rows = self.registry.tenants_listed(filter, one_more).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|last| last.id);
        let servers = self.registry.servers().await?;
        Ok(TenantList { tenants: rows.into_iter().map(|row| self.line(row, &servers)).collect(), next })
    }

    /// A tenant by its id.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_line(&self, id: TenantId) -> Result<Option<TenantLine>, RegistryError> {
        let Some(row) = self.registry.tenant_by_id(id).await? else { return Ok(None) };
        let servers = self.registry.servers().await?;
        Ok(Some(self.line(row, &servers)))
    }

    /// How many bytes the databases of these tenants take, of those whose servers say so at once.
    ///
    /// # Errors
    /// The registry.
    pub async fn sizes(&self, tenants: &[TenantLine]) -> Result<BTreeMap<String, i64>, RegistryError> {
        let mut asked = JoinSet::new();
        for server in self.registry.servers().await? {
            let here = tenants.iter().filter(|tenant| tenant.server_id == server.id);
            let names: Vec<String> = here.map(|tenant| tenant.db_name.clone()).collect();
            if !names.is_empty() {
                asked.spawn(async move { timeout(SIZES, sizes_on(&server, &names)).await });
            }
        }
        Ok(asked.join_all().await.into_iter().flatten().flatten().flatten().collect())
    }

    /// Up to `limit` jobs, the newest first; and after which one to go on, if there are more.
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs_listed(
        &self,
        filter: &JobQuery<'_>,
        limit: usize,
    ) -> Result<(Vec<JobLine>, Option<JobId>), RegistryError> {
        let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut jobs = self.registry.jobs_listed(filter, one_more).await?;
        let more = jobs.len() > limit;
        jobs.truncate(limit);
        let next = jobs.last().filter(|_| more).map(|last| last.id);
        Ok((jobs, next))
    }

    /// Those of these tenants that are there; the others were purged, or never came to be.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenants_there(&self, ids: &[TenantId]) -> Result<BTreeSet<TenantId>, RegistryError> {
        self.registry.tenants_there(ids).await
    }

    /// The last of what was done to a tenant, newest first, under its present subdomain and those that it gave up.
    ///
    /// # Errors
    /// The registry.
    pub async fn audit_of(&self, names: &[String], limit: i64) -> Result<Vec<AuditView>, RegistryError> {
        let mut entries = Vec::new();
        for name in names {
            let filter = AuditFilter { subdomain: Some(name.clone()), ..AuditFilter::default() };
            entries.extend(self.audit(&filter, limit).await?);
        }
        entries.sort_by_key(|entry| Reverse(entry.seq));
        entries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(entries)
    }

    /// Each server's databases made ahead.
    ///
    /// # Errors
    /// The registry.
    pub async fn spares(&self) -> Result<BTreeMap<ServerId, SparesView>, RegistryError> {
        let figures = self.registry.spare_figures().await?;
        Ok(figures.into_iter().map(|figures| (figures.server, SparesView::from(figures))).collect())
    }

    /// The version of PostgreSQL of those servers that say so at once.
    ///
    /// # Errors
    /// The registry.
    pub async fn server_versions(&self) -> Result<BTreeMap<ServerId, String>, RegistryError> {
        let mut asked = JoinSet::new();
        for server in self.registry.servers().await? {
            asked.spawn(
                async move { Some((server.id, timeout(SIZES, version_of(&server)).await.ok()?.ok()?)) },
            );
        }
        Ok(asked.join_all().await.into_iter().flatten().collect())
    }

    /// How many tenants there are in each state.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_counts(&self) -> Result<Vec<(&'static str, i64)>, RegistryError> {
        let counts = self.registry.tenants_by_status().await?;
        Ok(counts.into_iter().map(|(status, count)| (status.as_str(), count)).collect())
    }

    /// Everything at a glance. No server is asked.
    ///
    /// # Errors
    /// The registry.
    pub async fn overview(&self) -> Result<Overview, RegistryError> {
        // The clock first: what routers have heard of meanwhile is no lead.
        let clock = self.registry.route_clock().await?;
        let (jobs_open, jobs_stuck) = self.registry.jobs_unfinished().await?;
        let routers = self.registry.routers_live().await?;
        Ok(Overview {
            tenants: self.tenant_counts().await?,
            jobs_open,
            jobs_stuck,
            stuck: self.jobs(JobFilter::Stuck, IN_TROUBLE).await?,
            failing: self.registry.jobs_failing(IN_TROUBLE).await?,
            routers: routers
                .into_iter()
                .map(|row| RouterView {
                    id: row.id,
                    name: row.name,
                    behind: (clock - row.applied).max(0),
                    seen_at: row.seen_at,
                })
                .collect(),
            servers: self.servers().await?,
        })
    }

    fn line(&self, row: TenantRow, servers: &[ServerRow]) -> TenantLine {
        let server = servers.iter().find(|server| server.id == row.server);
        TenantLine {
            id: row.id,
            url: self.site.tenant_url(&row.subdomain),
            name: row.name.to_string(),
            subdomain: row.subdomain.to_string(),
            status: row.status.as_str(),
            server_id: row.server,
            server: server.map(|server| server.name.clone()).unwrap_or_default(),
            db_name: row.database.to_string(),
            schema_version: row.schema_version,
            created_at: row.created_at,
            pause_reason: row.pause_reason,
            weight: row.weight,
            plan: row.plan,
        }
    }
}

/// Without what a distribution adds to it.
async fn version_of(server: &ServerRow) -> Result<String, tokio_postgres::Error> {
    let session = connect(&server.admin).await?;
    let row = session.query_one("SELECT split_part(current_setting('server_version'), ' ', 1)", &[]).await?;
    session.close().await;
    Ok(row.get(0))
}

/// As the server says; one that may not be looked at is passed over.
async fn sizes_on(
    server: &ServerRow,
    names: &[String],
) -> Result<BTreeMap<String, i64>, tokio_postgres::Error> {
    const SIZES: &str = "SELECT datname::text, pg_database_size(oid) FROM pg_catalog.pg_database
        WHERE datname = ANY($1) AND datconnlimit <> -2";
    let session = connect(&server.admin).await?;
    let rows = session.query(SIZES, &[&names]).await?;
    session.close().await;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
