//! The console's words in English.

use super::{
    ActorKind, ConsoleWords, JobKind, JobState, Order, Outcome, PurgeStep, Refused, Section, TenantState,
    Trouble, Verb,
};
use crate::text::StepKey;

/// The table.
pub(in crate::text) static WORDS: ConsoleWords = ConsoleWords {
    console: "Console",
    sections: "Console",
    all_well: "All is well",
    all_well_text: "The registry answers, the servers hold what the registry says, and no job waits for a person.",
    one_trouble: "One thing needs you",
    troubles: |count| format!("{count} things need you"),
    trouble_text: "The worst comes first. Each says what to do about it.",
    compared: "Servers checked, and compared with the registry",
    not_compared: "The servers have not been compared with the registry yet.",
    look_now: "Compare now",
    and_more: |count| format!("and {count} more"),
    tenants_lead: "Every company with a database here.",
    search: "Search",
    search_hint: "Part of the subdomain or the name, or a whole id",
    state: "State",
    all_states: "All",
    server: "Server",
    all_servers: "All",
    order: "Order",
    filter: "Show",
    clear: "Show all",
    subdomain: "Subdomain",
    schema: "Schema",
    size: "Size",
    connections: "Connections",
    connections_hint: "In use / idle / waiting",
    created: "Created",
    no_tenants: "No company is like this.",
    next_page: "Next page",
    first_page: "From the start",
    address: "Address",
    database: "Database and role",
    id: "Id",
    reason: "Reason",
    plan: "Plan",
    weight: "Weight",
    weight_hint: "1 to 100: its part of a server that is short of connections, beside others that wait.",
    set_weight: "Set weight",
    what_it_is: "What it is",
    what_to_do: "What can be done",
    history: "Its jobs",
    no_history: "There are no jobs for it.",
    connections_now: "Connections now",
    in_use: "In use",
    idle: "Idle",
    waiting: "Waiting requests",
    of_this_process: "Of this process; other routers have their own.",
    pause: "Pause…",
    pause_title: |subdomain| format!("Pause {subdomain}?"),
    pause_text: "Every request will be answered with “paused”, and the company's role is shut out of its database. The data stays as it is, and resuming opens the door again.",
    resume: "Resume",
    resume_text: "Opens its door again, and sets its role right.",
    nothing_to_do: "There is nothing to be done about it in this state.",
    drain: "Seconds for what is under way",
    drain_hint: "0 to 60. Then it is cut off.",
    reason_hint: "For whoever looks at it later. May be left empty.",
    type_it: |subdomain| format!("Type {subdomain} to go on"),
    cancel: "Leave it as it is",
    jobs_lead: "What is made, changed and removed, step by step.",
    unfinished: "Unfinished",
    all_jobs: "All",
    no_jobs: "There are no jobs like this.",
    job: "Job",
    kind: "What for",
    company: "Company",
    steps: "Steps",
    steps_of: |done, all| format!("{done} of {all}"),
    began: "Began",
    took: "Took",
    worked_on: "A worker has it now",
    not_worked_on: "No worker has it now",
    attempts: |count| format!("{count} tries"),
    stuck_text: "What was done could not be taken back. Remove what the error names; the name stays reserved meanwhile.",
    stuck_purge_text: "It could not go on, and nothing of it is taken back. Remove what the error names, and let it go on; what is gone already stays gone.",
    step_undoing: "being undone",
    servers_lead: "The PostgreSQL servers that hold companies' databases.",
    no_servers: "No server is known.",
    companies: "Companies",
    capacity: "Connections for companies",
    spares: "Databases made ahead",
    spares_stopped: "No more are made ahead",
    takes_new: "takes new companies",
    draining: "takes no new companies",
    routers: "Routers",
    router_ok: "knows all routes",
    router_behind: |behind| format!("{behind} changes behind"),
    jobs_open: "Jobs under way",
    jobs_stuck: "Stuck jobs",
    more: "More",
    unknown: "not known",
    rename: "Change subdomain…",
    rename_title: |subdomain| format!("Change {subdomain}'s subdomain?"),
    rename_text: "Its address becomes another at once. The old one leads there for 30 days, and is nobody's for 90 more.",
    new_name: "New subdomain",
    delete: "Delete…",
    delete_title: |subdomain| format!("Delete {subdomain}?"),
    delete_text: "Every request will be answered with “deleted”, and the role is shut out. The data is kept for 30 days, in which it can be brought back.",
    undelete: "Bring back",
    undelete_text: "Brings it back with everything it had, in the state that it had.",
    purge: "Purge…",
    purge_title: |subdomain| format!("Purge {subdomain} for good?"),
    purge_text: "The database, the role and every secret are removed, and proven to be gone. There is no way back.",
    waive: "Do it though its 30 days are not over",
    look_alike: "Take the name though it reads like another",
    kept_until: "Data kept until",
    deleted_at: "Deleted",
    former: "Former subdomains",
    retry: "Let it go on",
    retry_text: "It goes on in the direction in which it was going.",
    abandon: "Give up…",
    abandon_title: |subdomain| format!("Give up the job for {subdomain}?"),
    abandon_text: "Nobody works on it any more. What it leaves behind stays, and a name that was being made stays reserved until nothing is left.",
    deeds: "What was done to it",
    deed: "What",
    actor: "By whom",
    outcome: "How it went",
    from: "From where",
    done: "done",
    was_refused: "refused",
    failed: "failed",
    at_fault: "tampered with",
    when: "When",
    audit_lead: "What was done and what was refused, the newest first. portero audit verify proves that nothing is missing.",
    audit_company_hint: "A subdomain, also a former one, or an id",
    audit_who_hint: "A name, in full",
    everything: "Everything",
    clear_audit: "Show all of it",
    no_deeds: "Nothing like this was done.",
    all_deeds: "All of it",
    said: |text| format!("“{text}”"),
    renamed_to: |name| format!("to {name}"),
    plan_of: |name| format!("plan {name}"),
    weight_of: |weight| format!("to {weight}"),
    before_grace: "before its 30 days were over",
    was_so: "it was so already",
    times: |count| format!("{count} times"),
    leads_until: |day| format!("leads here until {day}"),
    nobodys_until: |day| format!("nobody else's until {day}"),
    migrations: &super::migrations::EN,
    section: |section| match section {
        Section::Overview => "Overview",
        Section::Tenants => "Companies",
        Section::Jobs => "Jobs",
        Section::Migrations => "Migrations",
        Section::Servers => "Servers",
        Section::Connections => "Connections",
        Section::Audit => "Audit log",
        Section::Mailbox => "Mailbox",
    },
    tenant_state: |state| match state {
        TenantState::Provisioning => "being created",
        TenantState::Active => "active",
        TenantState::Paused => "paused",
        TenantState::Deleting => "being deleted",
        TenantState::Deleted => "deleted",
        TenantState::Purging => "being purged",
    },
    job_state: |state| match state {
        JobState::Running => "under way",
        JobState::Undoing => "being undone",
        JobState::Done => "done",
        JobState::Undone => "undone",
        JobState::Abandoned => "given up",
        JobState::Stuck => "stuck",
    },
    job_kind: |kind| match kind {
        JobKind::CreateTenant => "Create company",
        JobKind::PurgeTenant => "Purge company",
    },
    trouble: |trouble| match trouble {
        Trouble::RegistryAway => (
            "The registry doesn't answer",
            "Start its PostgreSQL. Companies are served on meanwhile; sign-ups and changes wait.",
        ),
        Trouble::StuckJobs => {
            ("Jobs are stuck", "Look at each, and remove what hinders it; the names stay reserved meanwhile.")
        }
        Trouble::FailingJobs => (
            "Jobs fail again and again",
            "Remove what hinders them: they are tried every few seconds, and go on by themselves then.",
        ),
        Trouble::NoServer => {
            ("No server takes new companies", "portero server add, or portero server drain NAME --undo")
        }
        Trouble::ServerAway => ("A server doesn't answer", "Start it, or correct its address."),
        Trouble::NoRouter => ("No router is known to the registry", "Start portero serve."),
        Trouble::RouterBehind => (
            "A router hasn't heard of the last changes",
            "See whether it reaches the registry; if not, restart it.",
        ),
        Trouble::Check => ("A check fails", "Do what it says; portero doctor looks again:"),
        Trouble::MissingDatabase => ("Companies' databases are missing", "Restore them from a backup."),
        Trouble::MissingRole => (
            "Companies' roles are missing",
            "Restore them from a backup of the server's roles; resuming gives each its password again.",
        ),
        Trouble::WrongMark => {
            ("Databases don't bear their company's mark", "Nobody is let in. Find out whose they are.")
        }
        Trouble::ClosedDatabase => (
            "Active companies' databases take no connections",
            "ALTER DATABASE … ALLOW_CONNECTIONS true; one whose DROP was interrupted must be restored.",
        ),
        Trouble::OpenFence => {
            ("Roles may log in though their company's door is shut", "portero doctor --mend")
        }
        Trouble::ShutFence => {
            ("Roles may not log in though their company is active", "portero doctor --mend")
        }
        Trouble::RoleRights => {
            ("Roles have rights that no company's role has", "Find out who gave them, and take them away.")
        }
        Trouble::RoleSettings => (
            "Roles have other settings than they were given",
            "Resume the company: it sets its role right, and cuts nobody off.",
        ),
        Trouble::OpenCompany => (
            "Databases like a company's are open to everybody: no new company is put there",
            "REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC",
        ),
        Trouble::OrphanDatabase => (
            "Databases with our mark belong to no company",
            "If no other registry uses the server: portero doctor --mend",
        ),
        Trouble::OrphanRole => (
            "Roles with our mark belong to no company",
            "If no other registry uses the server: portero doctor --mend",
        ),
        Trouble::Unmarked => {
            ("Databases or roles are called like a company's and bear no mark", "Find out what they are.")
        }
        Trouble::OpenDatabase => {
            ("Databases are open to everybody", "REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC")
        }
        Trouble::NoJob => (
            "Companies are being created, and no job works on them",
            "Where a job was given up, giving it up again removes what it left and frees the name.",
        ),
        Trouble::NoPurge => (
            "Companies are being purged, and no job works on them",
            "Go on with it: there is no way back, and nothing else brings it to an end.",
        ),
    },
    outcome_word: |outcome| match outcome {
        Outcome::Paused => "It is paused. Its data is kept.",
        Outcome::Resumed => "It is active again.",
        Outcome::Weighed => "Its weight was set.",
        Outcome::Renamed => "It has another subdomain.",
        Outcome::Deleted => "It is deleted. Its data is kept for 30 days.",
        Outcome::Undeleted => "It is back, as it was.",
        Outcome::Retried => "The job goes on.",
        Outcome::Abandoned => "The job was given up.",
        Outcome::Looked => "The servers were compared with the registry just now.",
    },
    create_step: |step| match step {
        StepKey::Reserve => "Reserving the name",
        StepKey::DatabaseCleanup => "Making room for the database",
        StepKey::ClaimOrCreateDatabase => "Creating the database, or taking a ready one",
        StepKey::Role => "Creating its role",
        StepKey::Grants => "Giving the role its rights",
        StepKey::Migrate => "Bringing the schema up to date",
        StepKey::SeedAdmin => "Writing the first administrator",
        StepKey::Verify => "Checking that everything works",
        StepKey::Activate => "Telling the routers",
    },
    purge_step: |step| match step {
        PurgeStep::Fence => "Shutting the door in the database",
        PurgeStep::DropDatabase => "Dropping the database",
        PurgeStep::DropRole => "Dropping its role",
        PurgeStep::Bury => "Putting a tombstone in its place",
        PurgeStep::Prove => "Proving that nothing is left",
    },
    refused: |refused| match refused {
        Refused::NotTyped => "What you typed is not its subdomain. Nothing was done.",
        Refused::NoSeconds => "That is no number from 0 to 60. Nothing was done.",
        Refused::Changed => {
            "It has changed meanwhile, or is in a state that doesn't allow this. Nothing was done."
        }
        Refused::Name => {
            "That subdomain can't be had: it is taken, reserved, in quarantine, or no subdomain. Nothing was done."
        }
        Refused::LookAlike => {
            "The name reads like another company's, or like one held for somebody. Nothing was done."
        }
        Refused::TooMany => {
            "1 % of all companies, and 5 at least, may be deleted within 24 hours: this would be more. Nothing was done."
        }
        Refused::InGrace => "Its data is to be kept for 30 days, and they are not over. Nothing was done.",
        Refused::Server => {
            "Its database server doesn't do it. The door is shut for requests; try again, so that the role is shut out too."
        }
    },
    verb: |verb| match verb {
        Verb::TenantSignUp => "Sign-up",
        Verb::TenantCreate => "Creating a company",
        Verb::TenantMade => "Company made, and open",
        Verb::TenantUndone => "Making a company came to nothing",
        Verb::TenantPurged => "Company removed for good",
        Verb::MigrationRehearse => "Rehearsing a migration",
        Verb::DoctorMend => "Setting a server right",
        Verb::OperatorLogout => "Logging out of the console",
        Verb::TenantPause => "Pausing",
        Verb::TenantResume => "Resuming",
        Verb::TenantPlan => "Giving a plan",
        Verb::TenantWeight => "Setting the weight",
        Verb::TenantRename => "Changing the subdomain",
        Verb::TenantDelete => "Deleting",
        Verb::TenantUndelete => "Bringing back",
        Verb::TenantPurge => "Purging",
        Verb::JobRetry => "Letting a job go on",
        Verb::JobAbandon => "Giving a job up",
        Verb::InvitationCreate => "Making an invitation",
        Verb::InvitationRevoke => "Taking an invitation back",
        Verb::ServerAdd => "Adding a server",
        Verb::ServerDrain => "No new companies for a server",
        Verb::ServerUndrain => "New companies for a server again",
        Verb::MigrationRun => "Migrating the companies",
        Verb::MigrationResume => "Going on with a migration",
        Verb::OperatorAdd => "Adding an operator",
        Verb::OperatorDisable => "Shutting an operator out",
        Verb::OperatorRotate => "A new token for an operator",
        Verb::OperatorLogin => "Logging in to the console",
        Verb::CrossOrigin => "A request from another site's page",
        Verb::HostInvalid => "A request for a host that is none",
        Verb::Misdirected => "A request for somebody else's host",
        Verb::RateLimited => "Too many requests from one address",
        Verb::TenantRateLimited => "Too many requests to one company",
        Verb::CrossTenantToken => "A token of another company",
        Verb::OperatorRefused => "A login to the console that was refused",
    },
    actor_kind: |kind| match kind {
        ActorKind::Cli => "command line",
        ActorKind::Operator => "operator",
        ActorKind::SignUp => "newcomer",
        ActorKind::System => "Portero itself",
        ActorKind::Outsider => "a stranger",
    },
    order_word: |order| match order {
        Order::Subdomain => "by subdomain",
        Order::Name => "by name",
        Order::Newest => "newest first",
    },
};
