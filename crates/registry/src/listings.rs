//! Tenants and jobs in pages, as operators look through them: filtered, sorted, and gone on from by key.

use crate::{JobStatus, Registry, Result, TenantRow};
use portero_kernel::{JobId, ServerId, Subdomain, TenantId};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

/// The order of a list of tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TenantOrder {
    /// By subdomain.
    #[default]
    Subdomain,
    /// By the company's name.
    Name,
    /// Who came last first.
    Newest,
}

/// Which tenants are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct TenantFilter<'a> {
    /// Part of a subdomain or of a name, in any case; or an id, or a database's name. Empty for all.
    pub search: &'a str,
    /// In this state only.
    pub status: Option<&'a str>,
    /// On this server only.
    pub server: Option<ServerId>,
    /// In which order.
    pub order: TenantOrder,
    /// Those after this one.
    pub after: Option<TenantId>,
    /// Those whose subdomain comes after this, whoever has it.
    pub beyond: Option<&'a Subdomain>,
}

const WANTED: &str = "($1 = '' OR strpos(subdomain, lower($1)) > 0 OR strpos(lower(name), lower($1)) > 0
        OR id = $6 OR db_name = $1)
    AND ($2::text IS NULL OR status = $2) AND ($3::uuid IS NULL OR server_id = $3)
    AND ($7::text IS NULL OR subdomain > $7)";
const BY_SUBDOMAIN: &str =
    " AND ($4::uuid IS NULL OR subdomain > (SELECT subdomain FROM tenants WHERE id = $4))
    ORDER BY subdomain LIMIT $5";
const BY_NAME: &str =
    " AND ($4::uuid IS NULL OR (lower(name), id) > (SELECT lower(name), id FROM tenants WHERE id = $4))
    ORDER BY lower(name), id LIMIT $5";
const BY_NEWEST: &str =
    " AND ($4::uuid IS NULL OR (created_at, id) < (SELECT created_at, id FROM tenants WHERE id = $4))
    ORDER BY created_at DESC, id DESC LIMIT $5";

/// Which jobs are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobQuery<'a> {
    /// In one of these states; empty for all.
    pub statuses: &'a [&'a str],
    /// This tenant's only.
    pub tenant: Option<TenantId>,
    /// Those older than this one.
    pub after: Option<JobId>,
}

/// A job in a list.
#[derive(Debug, Clone)]
pub struct JobLine {
    /// Its id.
    pub id: JobId,
    /// Which workflow.
    pub kind: String,
    /// For whom.
    pub tenant: TenantId,
    /// The subdomain it was for.
    pub subdomain: String,
    /// Where it is, as the registry writes it.
    pub status: String,
    /// Why it failed, for operators.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// When it came to rest.
    pub finished_at: Option<OffsetDateTime>,
    /// Steps that are done.
    pub done: i64,
    /// All its steps.
    pub steps: i64,
    /// Whether a worker has it now.
    pub is_worked_on: bool,
}

/// A job under way of which a step, or its undo, keeps failing.
#[derive(Debug, Clone)]
pub struct FailingJob {
    /// Its id.
    pub id: JobId,
    /// Which workflow.
    pub kind: String,
    /// The subdomain it was for.
    pub subdomain: String,
    /// Where it is: `running` or `undoing`.
    pub status: JobStatus,
    /// The step.
    pub step: String,
    /// How often it was tried.
    pub attempts: i32,
    /// Why the last try failed that did, for operators.
    pub error: String,
}

/// Tries after which a step is said to keep failing: more than two rounds of them, with a lease's time between.
const KEEPS_FAILING: i32 = 8;

const FAILING: &str = " FROM jobs j JOIN job_steps s ON s.job_id = j.id
    WHERE j.status IN ('running', 'undoing') AND s.status IN ('running', 'undoing')
      AND s.error IS NOT NULL AND s.attempt > $1";

const JOBS: &str =
    "SELECT j.id, j.kind, j.tenant_id, j.subdomain, j.status, j.error, j.created_at, j.finished_at,
           j.lease_until > now() AND j.status IN ('running', 'undoing') AS is_worked_on,
           (SELECT count(*) FROM job_steps s WHERE s.job_id = j.id) AS steps,
           (SELECT count(*) FROM job_steps s WHERE s.job_id = j.id AND s.status = 'done') AS done
    FROM jobs j";

impl Registry {
    /// Up to `limit` tenants. After one that is gone meanwhile comes none.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenants_listed(&self, filter: &TenantFilter<'_>, limit: i64) -> Result<Vec<TenantRow>> {
        let order = match filter.order {
            TenantOrder::Subdomain => BY_SUBDOMAIN,
            TenantOrder::Name => BY_NAME,
            TenantOrder::Newest => BY_NEWEST,
        };
        let id = Uuid::parse_str(filter.search).ok();
        let (server, after) = (filter.server.map(ServerId::uuid), filter.after.map(TenantId::uuid));
        let beyond = filter.beyond.map(Subdomain::as_str);
        let params: [&(dyn ToSql + Sync); 7] =
            [&filter.search, &filter.status, &server, &after, &limit, &id, &beyond];
        self.tenants_where(WANTED, order, &params).await
    }

    /// Up to `limit` jobs, the newest first.
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs_listed(&self, filter: &JobQuery<'_>, limit: i64) -> Result<Vec<JobLine>> {
        const WHICH: &str = " WHERE (cardinality($1::text[]) = 0 OR j.status = ANY($1))
            AND ($2::uuid IS NULL OR j.tenant_id = $2) AND ($3::uuid IS NULL OR j.id < $3)
            ORDER BY j.id DESC LIMIT $4";
        let sql = [JOBS, WHICH].concat();
        let (tenant, after) = (filter.tenant.map(TenantId::uuid), filter.after.map(JobId::uuid));
        let rows = self.client().await?.query(&sql, &[&filter.statuses, &tenant, &after, &limit]).await?;
        Ok(rows.iter().map(JobLine::from_row).collect())
    }

    /// Up to `limit` jobs under way of which a step, or its undo, keeps failing: those that were asked for first.
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs_failing(&self, limit: i64) -> Result<Vec<FailingJob>> {
        const WHAT: &str = "SELECT j.id, j.kind, j.subdomain, j.status, s.name, s.attempt, s.error";
        let sql = [WHAT, FAILING, " ORDER BY j.created_at, j.id LIMIT $2"].concat();
        let rows = self.client().await?.query(&sql, &[&KEEPS_FAILING, &limit]).await?;
        rows.iter().map(FailingJob::from_row).collect()
    }

    /// How many jobs there are in each state in which somebody works on them or should, by its name; and as `failing`
    /// how many of those under way keep failing.
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs_by_state(&self) -> Result<Vec<(&'static str, i64)>> {
        let client = self.client().await?;
        let counted = client
            .query_one(
                "SELECT count(*) FILTER (WHERE status = 'running'), count(*) FILTER (WHERE status = 'undoing'),
                        count(*) FILTER (WHERE status = 'stuck')
                 FROM jobs WHERE status IN ('running', 'undoing', 'stuck')",
                &[],
            )
            .await?;
        let sql = ["SELECT count(DISTINCT j.id)", FAILING].concat();
        let failing = client.query_one(&sql, &[&KEEPS_FAILING]).await?.get(0);
        Ok(vec![
            (JobStatus::Running.as_str(), counted.get(0)),
            (JobStatus::Undoing.as_str(), counted.get(1)),
            (JobStatus::Stuck.as_str(), counted.get(2)),
            ("failing", failing),
        ])
    }

    /// Those of these tenants that are there; the others were purged, or never came to be.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenants_there(&self, ids: &[TenantId]) -> Result<BTreeSet<TenantId>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        let sql = "SELECT id FROM tenants WHERE id = ANY($1)";
        let rows = self.client().await?.query(sql, &[&ids]).await?;
        Ok(rows.iter().map(|row| TenantId::from(row.get::<_, Uuid>(0))).collect())
    }

    /// How many jobs there are in each state that is not a good end.
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs_unfinished(&self) -> Result<(i64, i64)> {
        let row = self
            .client()
            .await?
            .query_one(
                "SELECT count(*) FILTER (WHERE status <> 'stuck'), count(*) FILTER (WHERE status = 'stuck')
                 FROM jobs WHERE status IN ('running', 'undoing', 'stuck')",
                &[],
            )
            .await?;
        Ok((row.get(0), row.get(1)))
    }
}

impl FailingJob {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: JobId::from(row.get::<_, Uuid>("id")),
            kind: row.get("kind"),
            subdomain: row.get("subdomain"),
            status: JobStatus::parse(row.get("status"))?,
            step: row.get("name"),
            attempts: row.get("attempt"),
            error: row.get("error"),
        })
    }
}

impl JobLine {
    fn from_row(row: &Row) -> Self {
        Self {
            id: JobId::from(row.get::<_, Uuid>("id")),
            kind: row.get("kind"),
            tenant: TenantId::from(row.get::<_, Uuid>("tenant_id")),
            subdomain: row.get("subdomain"),
            status: row.get("status"),
            error: row.get("error"),
            created_at: row.get("created_at"),
            finished_at: row.get("finished_at"),
            done: row.get("done"),
            steps: row.get("steps"),
            is_worked_on: row.get::<_, Option<bool>>("is_worked_on").unwrap_or(false),
        }
    }
}
