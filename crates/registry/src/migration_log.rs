//! The log of a migration run, as whoever works at it writes it: what they have claimed, and what came of it.

use crate::{ClaimedMigration, MigrationPlace, MigrationResult, Registry, Result, migration_runs::millis};
use portero_kernel::{MigrationRunId, ServerId, TenantId};
use std::time::Duration;
use tokio_postgres::Row;
use uuid::Uuid;

/// When a run is stopped.
#[derive(Debug, Clone, Copy)]
pub struct StopRule {
    /// The wave that it is at, for the reason.
    pub wave: i32,
    /// How many may fail.
    pub limit: i64,
}

/// Whoever works at a run.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// By this name.
    pub owner: Uuid,
    /// For how long without being renewed.
    pub lease: Duration,
    /// What it knows to have.
    pub held: &'a [TenantId],
}

impl Registry {
    /// The servers that have tenants of this wave that are not seen to.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_servers(&self, run: MigrationRunId, wave: i32) -> Result<Vec<ServerId>> {
        const SQL: &str = "SELECT DISTINCT server_id FROM migration_run_tenants
            WHERE run_id = $1 AND wave = $2 AND state IN ('pending', 'running')";
        let rows = self.client().await?.query(SQL, &[&run.uuid(), &wave]).await?;
        Ok(rows.iter().map(|row| ServerId::from(row.get::<_, Uuid>(0))).collect())
    }

    /// Claims up to `limit` tenants of a wave whose databases were on this server: that nobody has, or whoever had them
    /// was not heard of for as long as a lease lasts; and those that are the claimant's without its knowing, since it never read
    /// the answer of the claim that gave it them. None of a run that was stopped.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_claim(
        &self,
        run: MigrationRunId,
        wave: i32,
        server: ServerId,
        by: Claimant<'_>,
        limit: i64,
    ) -> Result<Vec<ClaimedMigration>> {
        let held: Vec<_> = by.held.iter().map(|tenant| tenant.uuid()).collect();
        let rows = self
            .client()
            .await?
            .query(
                "WITH next AS (
                     SELECT tenant_id FROM migration_run_tenants
                     WHERE run_id = $1 AND wave = $2 AND server_id = $3
                       AND (state = 'pending' OR (state = 'running' AND lease_until < now())
                            OR (state = 'running' AND lease_owner = $4 AND tenant_id <> ALL($7)))
                       AND EXISTS (SELECT FROM migration_runs WHERE id = $1 AND status = 'running')
                     ORDER BY position LIMIT $6 FOR UPDATE SKIP LOCKED
                 ), claimed AS (
                     UPDATE migration_run_tenants m
                     SET state = 'running', lease_owner = $4, lease_until = now() + make_interval(secs => $5),
                         started_at = coalesce(started_at, now())
                     FROM next WHERE m.run_id = $1 AND m.tenant_id = next.tenant_id
                     RETURNING m.tenant_id, m.subdomain, m.position)
                 SELECT c.tenant_id, c.subdomain, t.status, t.server_id, t.db_name, t.schema_version
                 FROM claimed c LEFT JOIN tenants t ON t.id = c.tenant_id ORDER BY c.position",
                &[&run.uuid(), &wave, &server.uuid(), &by.owner, &by.lease.as_secs_f64(), &limit, &held],
            )
            .await?;
        let read = |row: &Row| {
            let tenant = TenantId::from(row.get::<_, Uuid>("tenant_id"));
            Ok(ClaimedMigration {
                tenant,
                subdomain: row.get("subdomain"),
                at: MigrationPlace::from_row(row)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Where a tenant's database is now; nothing where it is gone.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_place(&self, tenant: TenantId) -> Result<Option<MigrationPlace>> {
        const SQL: &str = "SELECT status, server_id, db_name, schema_version FROM tenants WHERE id = $1";
        let row = self.client().await?.query_opt(SQL, &[&tenant.uuid()]).await?;
        row.as_ref().map_or(Ok(None), MigrationPlace::from_row)
    }

    /// Makes the leases last longer of all that this worker has, and says that somebody works at the run.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_renew(&self, run: MigrationRunId, owner: Uuid, by: Duration) -> Result<()> {
        self.client()
            .await?
            .execute(
                "WITH alive AS (
                     UPDATE migration_runs SET alive_until = now() + make_interval(secs => $3) WHERE id = $1)
                 UPDATE migration_run_tenants SET lease_until = now() + make_interval(secs => $3)
                 WHERE run_id = $1 AND lease_owner = $2 AND state = 'running'",
                &[&run.uuid(), &owner, &by.as_secs_f64()],
            )
            .await?;
        Ok(())
    }

    /// Writes down what came of tenants that this worker has, and their versions with the change of their routes; and stops the
    /// run in the same moment if more have failed by now than may. Says whether it is stopped or at its end now, by whomever: no
    /// more begin then. Written down twice, it is as once.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_record(
        &self,
        run: MigrationRunId,
        owner: Uuid,
        results: &[MigrationResult],
        stop: Option<StopRule>,
    ) -> Result<bool> {
        let ids: Vec<_> = results.iter().map(|result| result.tenant.uuid()).collect();
        let states: Vec<_> = results.iter().map(|result| result.state.as_str()).collect();
        let before: Vec<_> = results.iter().map(|result| result.before).collect();
        let after: Vec<_> = results.iter().map(|result| result.after).collect();
        let attempts: Vec<_> = results.iter().map(|result| result.attempts).collect();
        let took: Vec<_> = results.iter().map(|result| millis(result.took)).collect();
        let errors: Vec<_> = results.iter().map(|result| result.error.as_deref()).collect();
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        if stop.is_some() {
            // One at a time: two that each write a failure down would each count their own alone.
            txn.query_one("SELECT FROM migration_runs WHERE id = $1 FOR UPDATE", &[&run.uuid()]).await?;
        }
        txn.execute(
            "UPDATE migration_run_tenants m
             SET state = r.state, version_before = coalesce(r.before, m.version_before),
                 version_after = coalesce(r.after, m.version_after), attempts = m.attempts + r.attempts,
                 took_ms = r.took, error = r.error, lease_owner = NULL, lease_until = NULL
             FROM unnest($3::uuid[], $4::text[], $5::integer[], $6::integer[], $7::integer[], $8::integer[], $9::text[])
                  AS r (tenant_id, state, before, after, attempts, took, error)
             WHERE m.run_id = $1 AND m.lease_owner = $2 AND m.state = 'running' AND m.tenant_id = r.tenant_id",
            &[&run.uuid(), &owner, &ids, &states, &before, &after, &attempts, &took, &errors],
        )
        .await?;
        // What was read from a tenant's own history holds, whoever has the tenant now; an older look never counts. In the
        // order of their ids, as every other run takes them.
        let changed = txn
            .query(
                "WITH known AS MATERIALIZED (
                     SELECT t.id, r.after FROM tenants t
                     JOIN unnest($1::uuid[], $2::integer[]) AS r (id, after) ON r.id = t.id
                     WHERE t.schema_version < r.after ORDER BY t.id FOR NO KEY UPDATE OF t)
                 UPDATE tenants t SET schema_version = known.after FROM known
                 WHERE t.id = known.id AND t.schema_version < known.after RETURNING t.id",
                &[&ids, &after],
            )
            .await?;
        let changed: Vec<Uuid> = changed.iter().map(|row| row.get(0)).collect();
        if !changed.is_empty() {
            txn.execute("SELECT public.route_changed(id) FROM unnest($1::uuid[]) AS id", &[&changed]).await?;
        }
        if let Some(StopRule { wave, limit }) = stop {
            txn.execute(
                "UPDATE migration_runs SET status = 'stopped', finished_at = now(),
                        reason = format('%s failed by wave %s, and no more than %s may', failed.count, $2::integer, $3::bigint)
                 FROM (SELECT count(*) FROM migration_run_tenants WHERE run_id = $1 AND state = 'failed') failed
                 WHERE id = $1 AND status = 'running' AND failed.count > $3",
                &[&run.uuid(), &wave, &limit],
            )
            .await?;
        }
        let at_rest = txn
            .query_one("SELECT status <> 'running' FROM migration_runs WHERE id = $1", &[&run.uuid()])
            .await?
            .get(0);
        txn.commit().await?;
        Ok(at_rest)
    }

    /// Gives back what this worker has and has not begun, or will not end.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_give_back(&self, run: MigrationRunId, owner: Uuid) -> Result<()> {
        const SQL: &str =
            "UPDATE migration_run_tenants SET state = 'pending', lease_owner = NULL, lease_until = NULL
            WHERE run_id = $1 AND lease_owner = $2 AND state = 'running'";
        self.client().await?.execute(SQL, &[&run.uuid(), &owner]).await?;
        Ok(())
    }

    /// Says that nobody works at the run any more, where this worker was the only one.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_leave(&self, run: MigrationRunId) -> Result<()> {
        const SQL: &str = "UPDATE migration_runs SET alive_until = now() WHERE id = $1
            AND NOT EXISTS (SELECT FROM migration_run_tenants WHERE run_id = $1 AND state = 'running')";
        self.client().await?.execute(SQL, &[&run.uuid()]).await?;
        Ok(())
    }

    /// Goes on from a wave of which every tenant was seen to. Whoever is second changes nothing.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_advance(&self, run: MigrationRunId, from: i32) -> Result<()> {
        const SQL: &str =
            "UPDATE migration_runs SET wave = $2 + 1 WHERE id = $1 AND wave = $2 AND status = 'running'";
        self.client().await?.execute(SQL, &[&run.uuid(), &from]).await?;
        Ok(())
    }

    /// Adds a wave of those that came meanwhile, and whose schema is older; says how many they are.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_add_latecomers(&self, run: MigrationRunId) -> Result<u64> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        // One at a time: two would give the same tenants a wave each.
        txn.query_one("SELECT FROM migration_runs WHERE id = $1 FOR UPDATE", &[&run.uuid()]).await?;
        let added = txn
            .execute(
                "INSERT INTO migration_run_tenants
                     (run_id, tenant_id, subdomain, server_id, wave, version_before, position)
                 SELECT r.id, t.id, t.subdomain, t.server_id, greatest(last.wave, r.wave) + 1, t.schema_version,
                        last.position + row_number() OVER (ORDER BY t.created_at, t.id)
                 FROM migration_runs r
                 CROSS JOIN LATERAL (SELECT coalesce(max(wave), 0) AS wave, coalesce(max(position), 0) AS position
                                     FROM migration_run_tenants WHERE run_id = r.id) last
                 JOIN tenants t ON t.schema_version < r.target AND t.status <> 'purging'
                 WHERE r.id = $1 AND r.status = 'running' AND r.whole_fleet
                   AND NOT EXISTS (SELECT FROM migration_run_tenants m WHERE m.run_id = r.id AND m.tenant_id = t.id)",
                &[&run.uuid()],
            )
            .await?;
        txn.commit().await?;
        Ok(added)
    }

    /// Ends a run that was gone through.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_end(&self, run: MigrationRunId) -> Result<()> {
        const SQL: &str = "UPDATE migration_runs
             SET status = 'finished', reason = NULL, finished_at = now(), completed_at = coalesce(completed_at, now())
             WHERE id = $1 AND status = 'running'";
        self.client().await?.execute(SQL, &[&run.uuid()]).await?;
        Ok(())
    }
}
