//! The words of the pages about runs of migrations, in both languages, and the codes that they show.

use crate::text::codes::coded;

coded! {
    /// Where a run is.
    RunState {
        /// Somebody works at it.
        Running = "running",
        /// Nobody does, and it has not come to its end.
        Interrupted = "interrupted",
        /// Too many have failed.
        Stopped = "stopped",
        /// Every company was seen to, and some have failed.
        Incomplete = "incomplete",
        /// Every company was seen to, and none has failed.
        Finished = "finished",
    }
}

coded! {
    /// Where a company is in a run.
    MigratedState {
        /// It has not.
        Failed = "failed",
        /// Under way.
        Running = "running",
        /// Not begun.
        Pending = "pending",
        /// It was left out.
        Skipped = "skipped",
        /// It has the version.
        Done = "done",
    }
}

/// Words about runs of migrations.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct MigrationWords {
    pub lead: &'static str,
    pub none: &'static str,
    pub run: &'static str,
    pub to_version: fn(i32) -> String,
    pub whole_fleet: &'static str,
    pub some: &'static str,
    pub wave: &'static str,
    pub waves: &'static str,
    pub wave_of: fn(i32, i32) -> String,
    pub left: &'static str,
    pub ended: &'static str,
    pub companies: &'static str,
    pub nobody: &'static str,
    pub versions: &'static str,
    pub next: &'static str,
    pub next_running: &'static str,
    pub next_interrupted: &'static str,
    pub next_stopped: &'static str,
    pub next_failed: &'static str,
    pub next_nothing: &'static str,
    pub(super) run_state: fn(RunState) -> &'static str,
    pub(super) migrated_state: fn(MigratedState) -> &'static str,
}

impl MigrationWords {
    /// A run's state; one without words as it is written.
    #[must_use]
    pub fn run_state<'a>(&self, code: &'a str) -> &'a str {
        RunState::from_code(code).map_or(code, |state| (self.run_state)(state))
    }

    /// A company's state in a run; one without words as it is written.
    #[must_use]
    pub fn migrated_state<'a>(&self, code: &'a str) -> &'a str {
        MigratedState::from_code(code).map_or(code, |state| (self.migrated_state)(state))
    }
}

/// In English.
pub(super) static EN: MigrationWords = MigrationWords {
    lead: "How new schemas came to the companies. A run is begun at the command line: portero migrate run.",
    none: "No migration has been run.",
    run: "Run",
    to_version: |version| format!("To version {version}"),
    whole_fleet: "all companies",
    some: "companies that were named",
    wave: "Wave",
    waves: "Waves",
    wave_of: |wave, last| format!("wave {wave} of {last}"),
    left: "Left",
    ended: "Ended",
    companies: "Companies",
    nobody: "There is no company like that in this run.",
    versions: "Version",
    next: "What to do next",
    next_running: "Nothing: it goes on by itself. Stopped where it runs (Ctrl-C), it ends what it has begun, and can be gone on with.",
    next_interrupted: "Nobody works at it any more. Go on with it:",
    next_stopped: "More have failed than may, and the others were left as they were. Remove what hindered those that failed; then go on with it:",
    next_failed: "The others have the version. Remove what hindered those that failed; then try them again:",
    next_nothing: "Nothing: every company has the version, or was left out for a reason.",
    run_state: |state| match state {
        RunState::Running => "under way",
        RunState::Interrupted => "interrupted",
        RunState::Stopped => "stopped",
        RunState::Incomplete => "finished, but for those that failed",
        RunState::Finished => "finished",
    },
    migrated_state: |state| match state {
        MigratedState::Failed => "failed",
        MigratedState::Running => "under way",
        MigratedState::Pending => "not begun",
        MigratedState::Skipped => "left out",
        MigratedState::Done => "done",
    },
};

/// In Spanish.
pub(super) static ES: MigrationWords = MigrationWords {
    lead: "Cómo llegaron los esquemas nuevos a las empresas. Una migración se empieza en la línea de órdenes: portero migrate run.",
    none: "No se ha hecho ninguna migración.",
    run: "Migración",
    to_version: |version| format!("A la versión {version}"),
    whole_fleet: "todas las empresas",
    some: "las empresas que se nombraron",
    wave: "Tanda",
    waves: "Tandas",
    wave_of: |wave, last| format!("tanda {wave} de {last}"),
    left: "Faltan",
    ended: "Terminó",
    companies: "Empresas",
    nobody: "No hay ninguna empresa así en esta migración.",
    versions: "Versión",
    next: "Qué hacer ahora",
    next_running: "Nada: sigue por sí sola. Si se detiene donde corre (Ctrl-C), acaba lo que ha empezado y se puede seguir con ella.",
    next_interrupted: "Ya nadie trabaja en ella. Para seguir:",
    next_stopped: "Han fallado más de las que pueden, y las demás se dejaron como estaban. Quita lo que estorba a las que fallaron; luego, para seguir:",
    next_failed: "Las demás tienen la versión. Quita lo que estorba a las que fallaron; luego, para intentarlas otra vez:",
    next_nothing: "Nada: cada empresa tiene la versión, o se quedó fuera por algún motivo.",
    run_state: |state| match state {
        RunState::Running => "en curso",
        RunState::Interrupted => "interrumpida",
        RunState::Stopped => "detenida",
        RunState::Incomplete => "terminada, salvo las que fallaron",
        RunState::Finished => "terminada",
    },
    migrated_state: |state| match state {
        MigratedState::Failed => "falló",
        MigratedState::Running => "en curso",
        MigratedState::Pending => "sin empezar",
        MigratedState::Skipped => "fuera",
        MigratedState::Done => "hecha",
    },
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_state_has_words_of_its_own() {
        for words in [&EN, &ES] {
            let runs: HashSet<_> = RunState::ALL.iter().map(|state| words.run_state(state.code())).collect();
            let companies: HashSet<_> =
                MigratedState::ALL.iter().map(|state| words.migrated_state(state.code())).collect();
            assert_eq!((runs.len(), companies.len()), (RunState::ALL.len(), MigratedState::ALL.len()));
            assert_eq!(words.run_state("of-another-world"), "of-another-world");
        }
    }
}
