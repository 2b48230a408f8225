//! The words of the operators' console, and the codes that it shows.

pub(super) mod en;
pub(super) mod es;
pub mod migrations;

pub use portero_control::Verb;

use super::codes::{StepKey, coded};
use migrations::MigrationWords;

/// How an entry of the audit log went that Portero didn't write: it holds what no entry holds.
pub const AT_FAULT: &str = "at-fault";

coded! {
    /// A part of the console.
    Section {
        /// Is all well?
        Overview = "overview",
        /// Companies.
        Tenants = "tenants",
        /// Work under way and done.
        Jobs = "jobs",
        /// How new schemas came to the companies.
        Migrations = "migrations",
        /// Database servers.
        Servers = "servers",
        /// What the connections are doing.
        Connections = "connections",
        /// What was done, by whom.
        Audit = "audit",
        /// Mails that aren't sent, in development.
        Mailbox = "mailbox",
    }
}

coded! {
    /// Where a company is in its life.
    TenantState {
        /// Being made.
        Provisioning = "provisioning",
        /// Served.
        Active = "active",
        /// Its door is shut.
        Paused = "paused",
        /// Being deleted.
        Deleting = "deleting",
        /// Deleted, and kept for a while.
        Deleted = "deleted",
        /// Being removed for good.
        Purging = "purging",
    }
}

coded! {
    /// Where a job is.
    JobState {
        /// Under way.
        Running = "running",
        /// Being taken back.
        Undoing = "undoing",
        /// Done.
        Done = "done",
        /// Taken back.
        Undone = "undone",
        /// A person is needed.
        Stuck = "stuck",
        /// Given up by a person.
        Abandoned = "abandoned",
    }
}

coded! {
    /// What a job is for.
    JobKind {
        /// A company's making.
        CreateTenant = "create_tenant",
        /// A company's removal.
        PurgeTenant = "purge_tenant",
    }
}

coded! {
    /// What is not as it should be.
    Trouble {
        /// The registry doesn't answer.
        RegistryAway = "registry_away",
        /// Jobs that need a person.
        StuckJobs = "stuck_jobs",
        /// Jobs under way of which a step keeps failing.
        FailingJobs = "failing_jobs",
        /// No server takes new companies.
        NoServer = "no_server",
        /// A server doesn't answer.
        ServerAway = "server_away",
        /// No router is known.
        NoRouter = "no_router",
        /// A router hasn't heard of changes.
        RouterBehind = "router_behind",
        /// A check of the doctor's fails.
        Check = "check",
        /// See the reconciler.
        MissingDatabase = "missing_database",
        /// See the reconciler.
        MissingRole = "missing_role",
        /// See the reconciler.
        WrongMark = "wrong_mark",
        /// See the reconciler.
        ClosedDatabase = "closed_database",
        /// See the reconciler.
        OpenFence = "open_fence",
        /// See the reconciler.
        ShutFence = "shut_fence",
        /// See the reconciler.
        RoleRights = "role_rights",
        /// See the reconciler.
        RoleSettings = "role_settings",
        /// See the reconciler.
        OpenCompany = "open_company",
        /// See the reconciler.
        OrphanDatabase = "orphan_database",
        /// See the reconciler.
        OrphanRole = "orphan_role",
        /// See the reconciler.
        Unmarked = "unmarked",
        /// See the reconciler.
        OpenDatabase = "open_database",
        /// See the reconciler.
        NoJob = "no_job",
        /// See the reconciler.
        NoPurge = "no_purge",
    }
}

coded! {
    /// What was done on the page before.
    Outcome {
        /// A company was paused.
        Paused = "paused",
        /// A company was resumed.
        Resumed = "resumed",
        /// A company has another weight.
        Weighed = "weighed",
        /// A company was renamed.
        Renamed = "renamed",
        /// A company was deleted.
        Deleted = "deleted",
        /// A company was brought back.
        Undeleted = "undeleted",
        /// A job goes on.
        Retried = "retried",
        /// A job was given up.
        Abandoned = "abandoned",
        /// The servers were compared with the registry.
        Looked = "looked",
    }
}

coded! {
    /// Why something was not done.
    Refused {
        /// What was typed is not the subdomain.
        NotTyped = "not-typed",
        /// The number of seconds is none.
        NoSeconds = "no-seconds",
        /// Somebody else changed it, or it is in a state that doesn't allow it.
        Changed = "changed",
        /// The name can't be had.
        Name = "name",
        /// The name reads like another's.
        LookAlike = "look-alike",
        /// More deletions than may be.
        TooMany = "too-many",
        /// Its data is to be kept.
        InGrace = "in-grace",
        /// Its server doesn't do it.
        Server = "server",
    }
}

coded! {
    /// A step of removing a company for good, by its name in the job.
    PurgeStep {
        /// The door is shut in the database itself.
        Fence = "fence",
        /// The database goes.
        DropDatabase = "drop_database",
        /// The login role goes.
        DropRole = "drop_role",
        /// A tombstone takes the company's place.
        Bury = "bury",
        /// All there was is looked for.
        Prove = "prove",
    }
}

coded! {
    /// What kind of actor did it.
    ActorKind {
        /// Somebody at the command line.
        Cli = "cli",
        /// An operator, by console or admin API.
        Operator = "operator",
        /// A company that signs up.
        SignUp = "signup",
        /// Portero by itself.
        System = "system",
        /// Nobody that is known.
        Outsider = "outsider",
    }
}

coded! {
    /// An order of the companies.
    Order {
        /// By subdomain.
        Subdomain = "subdomain",
        /// By name.
        Name = "name",
        /// The newest first.
        Newest = "newest",
    }
}

/// Words of the console.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say where the words stand")]
pub struct ConsoleWords {
    pub console: &'static str,
    pub sections: &'static str,
    pub all_well: &'static str,
    pub all_well_text: &'static str,
    pub one_trouble: &'static str,
    pub troubles: fn(usize) -> String,
    pub trouble_text: &'static str,
    pub compared: &'static str,
    pub not_compared: &'static str,
    pub look_now: &'static str,
    pub and_more: fn(usize) -> String,
    pub tenants_lead: &'static str,
    pub search: &'static str,
    pub search_hint: &'static str,
    pub state: &'static str,
    pub all_states: &'static str,
    pub server: &'static str,
    pub all_servers: &'static str,
    pub order: &'static str,
    pub filter: &'static str,
    pub clear: &'static str,
    pub subdomain: &'static str,
    pub schema: &'static str,
    pub size: &'static str,
    pub connections: &'static str,
    pub connections_hint: &'static str,
    pub created: &'static str,
    pub no_tenants: &'static str,
    pub next_page: &'static str,
    pub first_page: &'static str,
    pub address: &'static str,
    pub database: &'static str,
    pub id: &'static str,
    pub reason: &'static str,
    pub plan: &'static str,
    pub weight: &'static str,
    pub weight_hint: &'static str,
    pub set_weight: &'static str,
    pub what_it_is: &'static str,
    pub what_to_do: &'static str,
    pub history: &'static str,
    pub no_history: &'static str,
    pub connections_now: &'static str,
    pub in_use: &'static str,
    pub idle: &'static str,
    pub waiting: &'static str,
    pub of_this_process: &'static str,
    pub pause: &'static str,
    pub pause_title: fn(&str) -> String,
    pub pause_text: &'static str,
    pub resume: &'static str,
    pub resume_text: &'static str,
    pub nothing_to_do: &'static str,
    pub drain: &'static str,
    pub drain_hint: &'static str,
    pub reason_hint: &'static str,
    pub type_it: fn(&str) -> String,
    pub cancel: &'static str,
    pub jobs_lead: &'static str,
    pub unfinished: &'static str,
    pub all_jobs: &'static str,
    pub no_jobs: &'static str,
    pub job: &'static str,
    pub kind: &'static str,
    pub company: &'static str,
    pub steps: &'static str,
    pub steps_of: fn(i64, i64) -> String,
    pub began: &'static str,
    pub took: &'static str,
    pub worked_on: &'static str,
    pub not_worked_on: &'static str,
    pub attempts: fn(i32) -> String,
    pub stuck_text: &'static str,
    pub stuck_purge_text: &'static str,
    pub step_undoing: &'static str,
    pub servers_lead: &'static str,
    pub no_servers: &'static str,
    pub companies: &'static str,
    pub capacity: &'static str,
    pub takes_new: &'static str,
    pub spares: &'static str,
    pub spares_stopped: &'static str,
    pub draining: &'static str,
    pub routers: &'static str,
    pub router_ok: &'static str,
    pub router_behind: fn(i64) -> String,
    pub jobs_open: &'static str,
    pub jobs_stuck: &'static str,
    pub more: &'static str,
    pub unknown: &'static str,
    pub rename: &'static str,
    pub rename_title: fn(&str) -> String,
    pub rename_text: &'static str,
    pub new_name: &'static str,
    pub delete: &'static str,
    pub delete_title: fn(&str) -> String,
    pub delete_text: &'static str,
    pub undelete: &'static str,
    pub undelete_text: &'static str,
    pub purge: &'static str,
    pub purge_title: fn(&str) -> String,
    pub purge_text: &'static str,
    pub waive: &'static str,
    pub look_alike: &'static str,
    pub kept_until: &'static str,
    pub deleted_at: &'static str,
    pub former: &'static str,
    pub retry: &'static str,
    pub retry_text: &'static str,
    pub abandon: &'static str,
    pub abandon_title: fn(&str) -> String,
    pub abandon_text: &'static str,
    pub deeds: &'static str,
    pub deed: &'static str,
    pub actor: &'static str,
    pub outcome: &'static str,
    pub from: &'static str,
    pub done: &'static str,
    pub was_refused: &'static str,
    pub failed: &'static str,
    pub(super) at_fault: &'static str,
    pub when: &'static str,
    pub audit_lead: &'static str,
    pub audit_company_hint: &'static str,
    pub audit_who_hint: &'static str,
    pub everything: &'static str,
    pub clear_audit: &'static str,
    pub no_deeds: &'static str,
    pub all_deeds: &'static str,
    pub said: fn(&str) -> String,
    pub renamed_to: fn(&str) -> String,
    pub plan_of: fn(&str) -> String,
    pub weight_of: fn(i64) -> String,
    pub before_grace: &'static str,
    pub was_so: &'static str,
    pub times: fn(i64) -> String,
    pub leads_until: fn(&str) -> String,
    pub nobodys_until: fn(&str) -> String,
    pub migrations: &'static MigrationWords,
    pub(super) section: fn(Section) -> &'static str,
    pub(super) tenant_state: fn(TenantState) -> &'static str,
    pub(super) job_state: fn(JobState) -> &'static str,
    pub(super) job_kind: fn(JobKind) -> &'static str,
    pub(super) trouble: fn(Trouble) -> (&'static str, &'static str),
    pub(super) outcome_word: fn(Outcome) -> &'static str,
    pub(super) refused: fn(Refused) -> &'static str,
    pub(super) create_step: fn(StepKey) -> &'static str,
    pub(super) purge_step: fn(PurgeStep) -> &'static str,
    pub(super) verb: fn(Verb) -> &'static str,
    pub(super) actor_kind: fn(ActorKind) -> &'static str,
    pub(super) order_word: fn(Order) -> &'static str,
}

impl ConsoleWords {
    /// What a part of the console is called.
    #[must_use]
    pub fn section(&self, section: Section) -> &'static str {
        (self.section)(section)
    }

    /// A company's state; one without words as it is written.
    #[must_use]
    pub fn tenant_state<'a>(&self, code: &'a str) -> &'a str {
        TenantState::from_code(code).map_or(code, |state| (self.tenant_state)(state))
    }

    /// A job's state; one without words as it is written.
    #[must_use]
    pub fn job_state<'a>(&self, code: &'a str) -> &'a str {
        JobState::from_code(code).map_or(code, |state| (self.job_state)(state))
    }

    /// What a job is for; a kind without words as it is written.
    #[must_use]
    pub fn job_kind<'a>(&self, code: &'a str) -> &'a str {
        JobKind::from_code(code).map_or(code, |kind| (self.job_kind)(kind))
    }

    /// What is the matter, and what to do about it.
    #[must_use]
    pub fn trouble(&self, trouble: Trouble) -> (&'static str, &'static str) {
        (self.trouble)(trouble)
    }

    /// What was done.
    #[must_use]
    pub fn outcome(&self, outcome: Outcome) -> &'static str {
        (self.outcome_word)(outcome)
    }

    /// How something that was done went, as the audit log writes it.
    #[must_use]
    pub fn deed_outcome<'a>(&self, code: &'a str) -> &'a str {
        match code {
            "done" => self.done,
            "refused" => self.was_refused,
            "failed" => self.failed,
            AT_FAULT => self.at_fault,
            code => code,
        }
    }

    /// What was done; what has no words as the audit log writes it.
    #[must_use]
    pub fn verb<'a>(&self, code: &'a str) -> &'a str {
        Verb::from_code(code).map_or(code, |verb| (self.verb)(verb))
    }

    /// What kind of actor did it; one without words as the audit log writes it.
    #[must_use]
    pub fn actor_kind<'a>(&self, code: &'a str) -> &'a str {
        ActorKind::from_code(code).map_or(code, |kind| (self.actor_kind)(kind))
    }

    /// A step of a company's making, as operators call it.
    #[must_use]
    pub fn create_step(&self, step: StepKey) -> &'static str {
        (self.create_step)(step)
    }

    /// A step of a company's end.
    #[must_use]
    pub fn purge_step(&self, step: PurgeStep) -> &'static str {
        (self.purge_step)(step)
    }

    /// Why it was not done.
    #[must_use]
    pub fn refused(&self, refused: Refused) -> &'static str {
        (self.refused)(refused)
    }

    /// What an order is called.
    #[must_use]
    pub fn order_word(&self, order: Order) -> &'static str {
        (self.order_word)(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lang;
    use std::collections::HashSet;

    #[test]
    fn every_code_has_words_of_its_own() {
        for lang in Lang::ALL {
            let w = &lang.words().console;
            let mut said = HashSet::new();
            let mut says = |text: &'static str| {
                assert!(text.len() > 1 && said.insert(text), "{lang:?} says twice: {text}");
            };
            Section::ALL.iter().filter(|s| **s != Section::Connections).for_each(|s| says(w.section(*s)));
            TenantState::ALL.iter().for_each(|s| says(w.tenant_state(s.code())));
            JobState::ALL.iter().for_each(|s| says(w.job_state(s.code())));
            JobKind::ALL.iter().for_each(|k| says(w.job_kind(k.code())));
            Trouble::ALL.iter().for_each(|t| says(w.trouble(*t).0));
            Outcome::ALL.iter().for_each(|o| says(w.outcome(*o)));
            Refused::ALL.iter().for_each(|r| says(w.refused(*r)));
            StepKey::ALL.iter().for_each(|s| says(w.create_step(*s)));
            PurgeStep::ALL.iter().for_each(|s| says(w.purge_step(*s)));
            Verb::ALL.iter().for_each(|v| says(w.verb(v.code())));
            ActorKind::ALL.iter().for_each(|k| says(w.actor_kind(k.code())));
            Order::ALL.iter().for_each(|o| says(w.order_word(*o)));
            assert_eq!(w.tenant_state("of-another-world"), "of-another-world");
        }
    }

    #[test]
    fn every_difference_that_the_reconciler_finds_has_words() {
        for kind in portero_control::Kind::ALL {
            assert!(Trouble::from_code(kind.code()).is_some(), "{}", kind.code());
        }
    }
}
