//! The console's words in English.

use super::{
    ConsoleWords, JobKind, JobState, Order, Outcome, PurgeStep, Refused, Section, TenantState, Trouble,
};

/// The table.
pub(in crate::text) static WORDS: ConsoleWords = ConsoleWords {
    console: "Console",
    sections: "Console",
    all_well: "All is well",
    all_well_text: "The registry answers, the servers hold what the registry says, and no job waits for a person.",
    one_trouble: "One thing needs you",
    troubles: |count| format!("{count} things need you"),
    trouble_text: "The worst comes first. Each says what to do about it.",
    compared: "Servers compared with the registry",
    not_compared: "The servers have not been compared with the registry yet.",
    look_now: "Compare now",
    and_more: |count| format!("and {count} more"),
    tenants_lead: "Every company with a database here.",
    search: "Search",
    search_hint: "Part of the subdomain or the name, or a whole id",
    state: "State",
    all_states: "All states",
    server: "Server",
    all_servers: "All servers",
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
    servers_lead: "The PostgreSQL servers that hold companies' databases.",
    no_servers: "No server is known.",
    companies: "Companies",
    capacity: "Connections for companies",
    takes_new: "takes new companies",
    draining: "draining",
    routers: "Routers",
    router_ok: "knows all routes",
    router_behind: |behind| format!("{behind} changes behind"),
    jobs_open: "Jobs under way",
    jobs_stuck: "Stuck jobs",
    more: "More",
    unknown: "not known",
    rename: "Rename…",
    rename_title: |subdomain| format!("Rename {subdomain}?"),
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
    section: |section| match section {
        Section::Overview => "Overview",
        Section::Tenants => "Companies",
        Section::Jobs => "Jobs",
        Section::Servers => "Servers",
        Section::Connections => "Connections",
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
        Trouble::NoServer => {
            ("No server takes new companies", "portero server add, or portero server drain NAME --undo")
        }
        Trouble::ServerAway => ("A server doesn't answer", "Start it, or correct its address."),
        Trouble::NoRouter => ("No router is known to the registry", "Start portero serve."),
        Trouble::RouterBehind => (
            "A router hasn't heard of the last changes",
            "See whether it reaches the registry; if not, restart it.",
        ),
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
            "Where a job was given up, portero jobs abandon ID releases the name once nothing of it is left.",
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
        Refused::TooMany => "Too many companies were deleted in the last 24 hours. Nothing was done.",
        Refused::InGrace => "Its data is to be kept for 30 days, and they are not over. Nothing was done.",
        Refused::Server => {
            "Its database server doesn't do it. The door is shut for requests; try again, so that the role is shut out too."
        }
    },
    order_word: |order| match order {
        Order::Subdomain => "by subdomain",
        Order::Name => "by name",
        Order::Newest => "newest first",
    },
};
