//! Whether a run of migrations was left undone.

use super::{Check, Health};
use crate::{Control, MigrationError, MigrationRunView};
use portero_kernel::with_causes;

const NAME: &str = "migrations";

impl Control {
    pub(super) async fn check_migrations(&self) -> Check {
        match self.run_left().await {
            Ok(None) => Check::ok(NAME, "no run was left undone"),
            Ok(Some(run)) => judge(&run),
            Err(error) => Check::bad(Health::Fail, NAME, with_causes(&error), "see the registry's log"),
        }
    }

    async fn run_left(&self) -> Result<Option<MigrationRunView>, MigrationError> {
        match self.migration_left().await? {
            Some(id) => Ok(Some(self.migration_run(id).await?.into())),
            None => Ok(None),
        }
    }
}

fn judge(run: &MigrationRunView) -> Check {
    let (id, left) = (run.id, run.pending + run.running);
    if run.status == "running" {
        return Check::ok(NAME, format!("run {id} is under way: {} done, {left} left", run.done));
    }
    Check::bad(
        Health::Warn,
        NAME,
        format!(
            "run {id} to version {} is {}: {} failed, {left} not done",
            run.target, run.status, run.failed
        ),
        format!("portero migrate show {id}; then resume it, or run again where a file was changed"),
    )
}
