//! Runs of migrations as operators look at them: page by page. All of one at once is `MigrationReport`'s.

use crate::{Control, MigratedTenant, MigrationError, MigrationRunView};
use portero_kernel::MigrationRunId;
use portero_registry::{MigrationCounts, MigrationState, MigrationTenantRow, MigrationWave, RegistryError};
use serde::Serialize;

/// A page of the runs, newest first.
#[derive(Debug, Clone, Serialize)]
pub struct MigrationRunList {
    /// The runs.
    pub runs: Vec<MigrationRunView>,
    /// After which one to go on, if there are more.
    pub next: Option<MigrationRunId>,
}

/// A run, its waves, and a page of its tenants.
#[derive(Debug, Clone, Serialize)]
pub struct MigrationRunDetails {
    /// The run.
    pub run: MigrationRunView,
    /// Its waves, in order.
    pub waves: Vec<WaveView>,
    /// Tenants, in the order in which they have their turns.
    pub tenants: Vec<MigratedTenant>,
    /// After which place to go on, if there are more.
    pub next: Option<i32>,
}

/// How far a wave is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WaveView {
    /// Its number, from 1.
    pub number: i32,
    /// Not begun.
    pub pending: i64,
    /// Under way.
    pub running: i64,
    /// They have the version.
    pub done: i64,
    /// They have not.
    pub failed: i64,
    /// They were left out.
    pub skipped: i64,
}

/// Which tenants of a run are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct MigratedFilter {
    /// Only those in this state.
    pub state: Option<MigrationState>,
    /// Those after this place in the run.
    pub after: i32,
}

impl From<MigrationWave> for WaveView {
    fn from(wave: MigrationWave) -> Self {
        let MigrationCounts { pending, running, done, failed, skipped } = wave.counts;
        Self { number: wave.number, pending, running, done, failed, skipped }
    }
}

impl Control {
    /// Up to `limit` runs, newest first; those that come after this one, if it is given.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_runs(
        &self,
        after: Option<MigrationRunId>,
        limit: i64,
    ) -> Result<MigrationRunList, RegistryError> {
        let rows = self.registry.migration_runs(after, limit + 1).await?;
        let (rows, more) = cut(rows, limit);
        let next = rows.last().filter(|_| more).map(|last| last.id);
        Ok(MigrationRunList { runs: rows.into_iter().map(MigrationRunView::from).collect(), next })
    }

    /// A run and its waves, and up to `limit` of its tenants.
    ///
    /// # Errors
    /// [`MigrationError::NotFound`].
    pub async fn migration_details(
        &self,
        id: MigrationRunId,
        filter: MigratedFilter,
        limit: i64,
    ) -> Result<MigrationRunDetails, MigrationError> {
        let run = self.migration_run(id).await?.into();
        let waves = self.registry.migration_run_waves(id).await?;
        let rows: Vec<MigrationTenantRow> =
            self.registry.migration_run_page(id, filter.state, filter.after, limit + 1).await?;
        let (rows, more) = cut(rows, limit);
        Ok(MigrationRunDetails {
            run,
            waves: waves.into_iter().map(WaveView::from).collect(),
            next: rows.last().filter(|_| more).map(|last| last.position),
            tenants: rows.into_iter().map(MigratedTenant::from).collect(),
        })
    }
}

/// As many as were asked for, and whether there are more.
fn cut<T>(mut rows: Vec<T>, limit: i64) -> (Vec<T>, bool) {
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = rows.len() > limit;
    rows.truncate(limit);
    (rows, more)
}
