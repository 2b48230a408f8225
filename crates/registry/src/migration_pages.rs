//! Runs of migrations as people look at them: page by page, and how far each wave is.

use crate::{
    MigrationCounts, MigrationRunRow, MigrationState, MigrationTenantRow, Registry, Result,
    migration_runs::{RUN, counts},
};
use portero_kernel::MigrationRunId;

/// How far a wave of a run is.
#[derive(Debug, Clone, Copy)]
pub struct MigrationWave {
    /// Its number, from 1.
    pub number: i32,
    /// How many tenants are in which state.
    pub counts: MigrationCounts,
}

impl Registry {
    /// Up to `limit` runs, newest first; those that come after this one, if it is given.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_runs(
        &self,
        after: Option<MigrationRunId>,
        limit: i64,
    ) -> Result<Vec<MigrationRunRow>> {
        let page = " WHERE $2::uuid IS NULL
                        OR (r.created_at, r.id) < (SELECT b.created_at, b.id FROM migration_runs b WHERE b.id = $2)
                     ORDER BY r.created_at DESC, r.id DESC LIMIT $1";
        let sql = [RUN, page].concat();
        let after = after.map(MigrationRunId::uuid);
        let rows = self.client().await?.query(&sql, &[&limit, &after]).await?;
        rows.iter().map(MigrationRunRow::from_row).collect()
    }

    /// The waves of a run, in order.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_run_waves(&self, run: MigrationRunId) -> Result<Vec<MigrationWave>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT wave, count(*) FILTER (WHERE state = 'pending') AS pending,
                        count(*) FILTER (WHERE state = 'running') AS running,
                        count(*) FILTER (WHERE state = 'done') AS done,
                        count(*) FILTER (WHERE state = 'failed') AS failed,
                        count(*) FILTER (WHERE state = 'skipped') AS skipped
                 FROM migration_run_tenants WHERE run_id = $1 GROUP BY wave ORDER BY wave",
                &[&run.uuid()],
            )
            .await?;
        Ok(rows.iter().map(|row| MigrationWave { number: row.get("wave"), counts: counts(row) }).collect())
    }

    /// Up to `limit` tenants of a run, in order: those in this state, if one is given, that come after this place.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_run_page(
        &self,
        run: MigrationRunId,
        state: Option<MigrationState>,
        after: i32,
        limit: i64,
    ) -> Result<Vec<MigrationTenantRow>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT m.tenant_id, m.subdomain, s.name AS server, m.wave, m.position, m.state, m.version_before,
                        m.version_after, m.attempts, m.started_at, m.took_ms, m.error
                 FROM migration_run_tenants m LEFT JOIN servers s ON s.id = m.server_id
                 WHERE m.run_id = $1 AND ($2::text IS NULL OR m.state = $2) AND m.position > $3
                 ORDER BY m.position LIMIT $4",
                &[&run.uuid(), &state.map(MigrationState::as_str), &after, &limit],
            )
            .await?;
        rows.iter().map(MigrationTenantRow::from_row).collect()
    }
}
