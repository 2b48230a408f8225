//! Rehearsals: what pending migrations do to clones of some tenants, before they are run on any tenant.

use crate::{Control, DifferenceView, TenantError};
use portero_kernel::{SchemaVersion, ServerId, Subdomain, with_causes};
use portero_pg::{Migrations, connect};
use portero_provisioner::fleet::{CloneLimits, Rehearsed, rehearse, sample, sweep_server};
use portero_registry::{ServerRow, TenantRow, TenantStatus};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use tokio::task::JoinSet;

/// No more tenants than these are asked for their size: the sample is taken among them.
const CANDIDATES: usize = 1000;

/// What to rehearse on.
#[derive(Debug, Clone)]
pub struct RehearsalOptions {
    /// So many tenants, the largest among them.
    pub sample: usize,
    /// Only these, if there are any; then the size of the sample is theirs.
    pub only: Vec<Subdomain>,
    /// What may be cloned.
    pub limits: CloneLimits,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct RehearsalReport {
    /// The version that the migrations lead to.
    pub target: SchemaVersion,
    /// Tenants that lack any of them.
    pub pending: usize,
    /// Those that were picked, by subdomain.
    pub tenants: Vec<TenantRehearsal>,
    /// Each migration, with what was seen of it on all clones, in order.
    pub migrations: Vec<MigrationSeen>,
}

/// How a tenant's rehearsal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RehearsalState {
    /// Every migration ran.
    Done,
    /// One failed.
    Failed,
    /// There is no clone to run any on.
    NotCloned,
}

/// One tenant's rehearsal.
#[derive(Debug, Clone, Serialize)]
pub struct TenantRehearsal {
    /// Its subdomain.
    pub subdomain: String,
    /// The name of its server.
    pub server: String,
    /// How it ended.
    pub state: RehearsalState,
    /// Why, where it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The version that it has.
    pub version: SchemaVersion,
    /// What its database takes.
    pub bytes: u64,
    /// The rows that were copied.
    pub rows: u64,
    /// How long that took, with the making of the clone.
    pub copy_ms: u64,
    /// What it has otherwise than migrations make it: the clone has not.
    pub drift: Vec<DifferenceView>,
    /// The migrations that were run on the clone.
    pub steps: Vec<StepSeen>,
}

/// A migration on one clone.
#[derive(Debug, Clone, Serialize)]
pub struct StepSeen {
    /// Which.
    pub migration: String,
    /// How long it took.
    pub took_ms: u64,
    /// Whether it ran in a transaction. Else its locks are not known.
    pub in_transaction: bool,
    /// The locks that it held before it committed.
    pub locks: Vec<LockSeen>,
    /// Tables that it wrote anew.
    pub rewritten: Vec<String>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A lock on a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LockSeen {
    /// The table.
    pub relation: String,
    /// Its mode, as PostgreSQL calls it.
    pub mode: String,
    /// What requests can't do meanwhile: `reads and writes`, `writes` or `nothing`.
    pub blocks: &'static str,
}

/// A migration on all clones.
#[derive(Debug, Clone, Serialize)]
pub struct MigrationSeen {
    /// Which.
    pub migration: String,
    /// On how many clones it ran.
    pub clones: usize,
    /// On how many it failed.
    pub failed: usize,
    /// In the middle.
    pub median_ms: u64,
    /// At worst.
    pub longest_ms: u64,
    /// Whether it ran in a transaction. Else its locks are not known.
    pub in_transaction: bool,
    /// The locks that it held on any.
    pub locks: Vec<LockSeen>,
    /// Tables that it wrote anew on any.
    pub rewritten: Vec<String>,
}

impl RehearsalReport {
    /// How many are in this state.
    #[must_use]
    pub fn count(&self, state: RehearsalState) -> usize {
        self.tenants.iter().filter(|tenant| tenant.state == state).count()
    }
}

/// A tenant that lacks migrations.
struct Candidate {
    tenant: TenantRow,
    bytes: u64,
}

impl Control {
    /// Runs what tenants lack on clones of some of them. Tenants themselves are only read. Clones are dropped, whatever
    /// happens; where this is cut off, by [`Control::sweep_clones`] or by whoever serves.
    ///
    /// # Errors
    /// [`TenantError::NotFound`] for a name that is nobody's, and the registry. What goes wrong with a clone is in the report.
    pub(crate) async fn do_rehearse(
        &self,
        set: &Migrations,
        options: &RehearsalOptions,
    ) -> Result<RehearsalReport, TenantError> {
        self.sweep_clones().await;
        let servers: BTreeMap<ServerId, ServerRow> =
            self.registry.servers().await?.into_iter().map(|server| (server.id, server)).collect();
        let behind = self.behind(set.latest(), &options.only).await?;
        let pending = behind.len();
        let picked = pick(sizes(&servers, behind).await, options);
        let mut tasks = JoinSet::new();
        for (id, candidates) in by_server(picked) {
            let Some(server) = servers.get(&id).cloned() else { continue };
            let (set, limits) = (set.clone(), options.limits);
            // One after the other: a server is to notice as little as may be.
            tasks.spawn(async move {
                let mut seen = Vec::new();
                for candidate in candidates {
                    seen.push(one(&server, &set, candidate, limits).await);
                }
                seen
            });
        }
        let mut tenants: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        tenants.sort_by(|a, b| a.subdomain.cmp(&b.subdomain));
        let migrations = summed_up(set, &tenants);
        Ok(RehearsalReport { target: set.latest(), pending, tenants, migrations })
    }

    /// Drops clones that nobody uses any more, on all servers that answer; says how many.
    pub async fn sweep_clones(&self) -> usize {
        let mut swept = 0;
        for server in self.registry.servers().await.unwrap_or_default() {
            match sweep_server(&server).await {
                Ok(dropped) => swept += dropped.len(),
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::warn!(server = server.name, error, "clones could not be looked for");
                }
            }
        }
        swept
    }

    /// The tenants that lack migrations, of these or of all.
    async fn behind(&self, target: SchemaVersion, only: &[Subdomain]) -> Result<Vec<TenantRow>, TenantError> {
        let mut behind = Vec::new();
        if only.is_empty() {
            let mut after: Option<Subdomain> = None;
            loop {
                let page = self.registry.tenants_after(after.as_ref(), 1000).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.subdomain.clone());
                behind.extend(page);
            }
        } else {
            for subdomain in only {
                let found = self.registry.tenant_by_subdomain(subdomain).await?;
                behind.push(found.ok_or_else(|| TenantError::NotFound(subdomain.clone()))?);
            }
        }
        behind.retain(|tenant| {
            tenant.schema_version < target
                && !matches!(tenant.status, TenantStatus::Provisioning | TenantStatus::Purging)
        });
        Ok(behind)
    }
}

/// What their databases take. Where a server doesn't say, all of its tenants are as large.
async fn sizes(servers: &BTreeMap<ServerId, ServerRow>, tenants: Vec<TenantRow>) -> Vec<Candidate> {
    let step = tenants.len().div_ceil(CANDIDATES).max(1);
    let tenants: Vec<_> = tenants.into_iter().step_by(step).collect();
    let mut known: BTreeMap<String, u64> = BTreeMap::new();
    for server in servers.values() {
        let here = tenants.iter().filter(|tenant| tenant.server == server.id);
        let names: Vec<String> = here.map(|tenant| tenant.database.to_string()).collect();
        match of_server(server, &names).await {
            Ok(sizes) => known.extend(sizes),
            Err(error) => {
                tracing::warn!(server = server.name, %error, "it doesn't say how large databases are");
            }
        }
    }
    let bytes = |tenant: &TenantRow| known.get(tenant.database.as_str()).copied().unwrap_or(0);
    tenants.into_iter().map(|tenant| Candidate { bytes: bytes(&tenant), tenant }).collect()
}

async fn of_server(
    server: &ServerRow,
    names: &[String],
) -> Result<Vec<(String, u64)>, tokio_postgres::Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let session = connect(&server.admin).await?;
    let rows = session
        .query(
            "SELECT datname::text, pg_database_size(oid) FROM pg_catalog.pg_database WHERE datname = ANY($1::text[]::name[])",
            &[&names],
        )
        .await?;
    session.close().await;
    Ok(rows.iter().map(|row| (row.get(0), u64::try_from(row.get::<_, i64>(1)).unwrap_or(0))).collect())
}

/// Those to rehearse on: of each version some, since each lacks other migrations.
fn pick(candidates: Vec<Candidate>, options: &RehearsalOptions) -> Vec<Candidate> {
    if !options.only.is_empty() {
        return candidates;
    }
    let mut versions: BTreeMap<SchemaVersion, Vec<Candidate>> = BTreeMap::new();
    for candidate in candidates {
        versions.entry(candidate.tenant.schema_version).or_default().push(candidate);
    }
    let (total, mut left, mut picked) = (versions.len(), options.sample, Vec::new());
    for (n, (_, group)) in versions.into_iter().enumerate() {
        let part = left.div_ceil(total - n).min(group.len());
        let sizes: Vec<u64> = group.iter().map(|candidate| candidate.bytes).collect();
        let mut group: Vec<Option<Candidate>> = group.into_iter().map(Some).collect();
        let chosen = sample(&sizes, part);
        left -= chosen.len();
        picked.extend(chosen.into_iter().filter_map(|at| group[at].take()));
    }
    picked
}

fn by_server(candidates: Vec<Candidate>) -> BTreeMap<ServerId, Vec<Candidate>> {
    let mut servers: BTreeMap<ServerId, Vec<Candidate>> = BTreeMap::new();
    for candidate in candidates {
        servers.entry(candidate.tenant.server).or_default().push(candidate);
    }
    servers
}

async fn one(
    server: &ServerRow,
    set: &Migrations,
    candidate: Candidate,
    limits: CloneLimits,
) -> TenantRehearsal {
    let Candidate { tenant, bytes } = candidate;
    let mut seen = TenantRehearsal {
        subdomain: tenant.subdomain.to_string(),
        server: server.name.clone(),
        state: RehearsalState::NotCloned,
        reason: None,
        version: tenant.schema_version,
        bytes,
        rows: 0,
        copy_ms: 0,
        drift: Vec::new(),
        steps: Vec::new(),
    };
    match rehearse(server, set, tenant.subdomain.as_str(), &tenant.database, limits).await {
        Err(error) => seen.reason = Some(with_causes(&error)),
        Ok(rehearsal) => {
            let failed = rehearsal.steps.iter().find_map(|step| step.error.clone());
            seen.state = if failed.is_some() { RehearsalState::Failed } else { RehearsalState::Done };
            seen.reason = failed;
            seen.version = rehearsal.version;
            seen.bytes = rehearsal.bytes;
            seen.rows = rehearsal.rows;
            seen.copy_ms = millis(rehearsal.copied_in);
            seen.drift = rehearsal.drift.into_iter().map(Into::into).collect();
            seen.steps = rehearsal.steps.into_iter().map(StepSeen::from).collect();
        }
    }
    seen
}

impl From<Rehearsed> for StepSeen {
    fn from(step: Rehearsed) -> Self {
        let locks = step.locks.into_iter();
        Self {
            migration: step.migration,
            took_ms: millis(step.took),
            in_transaction: step.in_transaction,
            locks: locks
                .map(|lock| LockSeen { blocks: lock.blocks(), relation: lock.relation, mode: lock.mode })
                .collect(),
            rewritten: step.rewritten,
            error: step.error,
        }
    }
}

fn summed_up(set: &Migrations, tenants: &[TenantRehearsal]) -> Vec<MigrationSeen> {
    let mut all = Vec::new();
    for migration in set.all() {
        let name = migration.to_string();
        let steps: Vec<_> =
            tenants.iter().flat_map(|tenant| &tenant.steps).filter(|step| step.migration == name).collect();
        if steps.is_empty() {
            continue;
        }
        let mut took: Vec<u64> = steps.iter().map(|step| step.took_ms).collect();
        took.sort_unstable();
        let mut locks: Vec<_> = steps.iter().flat_map(|step| step.locks.iter().cloned()).collect();
        let mut rewritten: Vec<_> = steps.iter().flat_map(|step| step.rewritten.iter().cloned()).collect();
        locks.sort();
        locks.dedup();
        rewritten.sort();
        rewritten.dedup();
        all.push(MigrationSeen {
            migration: name,
            clones: steps.len(),
            failed: steps.iter().filter(|step| step.error.is_some()).count(),
            median_ms: took[took.len() / 2],
            longest_ms: took[took.len() - 1],
            in_transaction: migration.is_transactional(),
            locks,
            rewritten,
        });
    }
    all
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
