//! The operators' console: is all well, companies, jobs, servers; and a page for each act that wants to be thought about.
//! The pages are given what they show and know neither the registry nor the router.

use super::{DeedRow, Frame, ServerBudget};
use crate::text::{
    Breaker, Lang, StepKey,
    console::{JobKind, JobState, Order, Outcome, PurgeStep, Refused, Section, TenantState, Trouble},
};
use askama::Template;

/// Units that a timeline is wide, and the least that a step takes of them.
const WIDE: i64 = 1000;
const LEAST: i64 = 6;

/// `GET /console`.
#[derive(Debug, Clone, Template)]
#[template(path = "console/overview.html")]
pub struct OverviewPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// What was done on the page before.
    pub notice: Option<Outcome>,
    /// What needs somebody, the worst first.
    pub troubles: Vec<TroubleRow>,
    /// When the servers were last compared with the registry, in RFC 3339.
    pub compared: Option<String>,
    /// The numbers; nothing while the registry is away.
    pub glance: Option<Glance>,
}

/// Something that needs somebody.
#[derive(Debug, Clone)]
pub struct TroubleRow {
    /// What.
    pub what: Trouble,
    /// Whom or what it is about, with where to look at it.
    pub about: Vec<(String, Option<String>)>,
    /// How many more it is about.
    pub more: usize,
    /// Commands that go on from here, each with whom it is about in it.
    pub commands: Vec<String>,
}

/// Numbers at a glance.
#[derive(Debug, Clone)]
pub struct Glance {
    /// Companies in each state, by its code.
    pub tenants: Vec<(String, i64)>,
    /// Jobs under way.
    pub jobs_open: i64,
    /// Jobs that need somebody.
    pub jobs_stuck: i64,
    /// Servers: name, whether this process uses it, companies.
    pub servers: Vec<(String, Breaker, i64)>,
    /// Routers: name, and how many changes they are behind.
    pub routers: Vec<(String, i64)>,
}

/// `GET /console/tenants`.
#[derive(Debug, Clone, Template)]
#[template(path = "console/tenants.html")]
pub struct TenantsPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// What is searched for.
    pub search: &'a str,
    /// The state that is shown; empty for all.
    pub state: &'a str,
    /// The server that is shown; empty for all.
    pub server: &'a str,
    /// In which order.
    pub order: Order,
    /// Every server's name.
    pub servers: Vec<String>,
    /// Companies in each state, by its code.
    pub counts: Vec<(String, i64)>,
    /// This page of them.
    pub tenants: Vec<TenantRow>,
    /// Where the list goes on.
    pub next_href: Option<String>,
    /// Whether this is not its beginning.
    pub is_later: bool,
}

/// A company in the list.
#[derive(Debug, Clone)]
pub struct TenantRow {
    /// Its id, as it stands in the path.
    pub id: String,
    /// Its subdomain.
    pub subdomain: String,
    /// Its name.
    pub name: String,
    /// Its state's code.
    pub state: String,
    /// Its server.
    pub server: String,
    /// The version of its schema.
    pub schema: i32,
    /// Bytes that its database takes; nothing where the server didn't say.
    pub size: Option<i64>,
    /// Its connections.
    pub connections: Connections,
    /// When it signed up, in RFC 3339.
    pub created: String,
}

/// A company's connections, by this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Connections {
    /// Lent.
    pub in_use: usize,
    /// Idle.
    pub idle: usize,
    /// Requests that wait.
    pub waiting: usize,
}

/// `GET /console/tenants/{id}`.
#[derive(Debug, Clone, Template)]
#[template(path = "console/tenant.html")]
pub struct TenantPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// What was done on the page before.
    pub notice: Option<Outcome>,
    /// Why something was not done.
    pub refused: Option<Refused>,
    /// The company.
    pub tenant: TenantRow,
    /// Its address, with its scheme.
    pub url: &'a str,
    /// Its database.
    pub database: &'a str,
    /// Why it was paused.
    pub reason: Option<&'a str>,
    /// The name of its plan, if it has one.
    pub plan: Option<&'a str>,
    /// Its weight.
    pub weight: u8,
    /// When it was deleted, and until when its data is kept, in RFC 3339.
    pub deleted: Option<(String, String)>,
    /// Names that it gave up; until when each leads on, and until when it is nobody's, in RFC 3339.
    pub former: Vec<FormerName>,
    /// Its last jobs.
    pub jobs: Vec<JobRow>,
    /// What was last done to it.
    pub deeds: Vec<DeedRow>,
}

/// A name that a company gave up.
#[derive(Debug, Clone)]
pub struct FormerName {
    /// The name.
    pub subdomain: String,
    /// Until when it leads on, in RFC 3339; nothing once it doesn't.
    pub leads_until: Option<String>,
    /// Until when nobody else may have it, in RFC 3339.
    pub kept_until: String,
}

/// Something that wants to be thought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Shut a company's door.
    Pause,
    /// Give it another subdomain.
    Rename,
    /// Delete it, for a while.
    Delete,
    /// Remove it for good.
    Purge,
    /// Give a job up.
    Abandon,
}

/// `GET` and, where it is refused, `POST /console/tenants/{id}/pause` and its like.
#[derive(Debug, Clone, Template)]
#[template(path = "console/act.html")]
pub struct ActPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// What is to be done.
    pub act: Act,
    /// Where the form goes, and where one gets back without it.
    pub action: &'a str,
    /// Where it leads back to.
    pub back: &'a str,
    /// The company's subdomain, to be typed.
    pub subdomain: &'a str,
    /// The company's name.
    pub name: &'a str,
    /// The reason that was given.
    pub reason: &'a str,
    /// The seconds that were given.
    pub drain: &'a str,
    /// The new name that was given.
    pub new_name: &'a str,
    /// Why it was not done.
    pub refused: Option<Refused>,
}

/// `GET /console/jobs`.
#[derive(Debug, Clone, Template)]
#[template(path = "console/jobs.html")]
pub struct JobsPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// The state that is shown: a state's code, `unfinished`, or empty for all.
    pub state: &'a str,
    /// This page of them.
    pub jobs: Vec<JobRow>,
    /// Where the list goes on.
    pub next_href: Option<String>,
    /// Whether this is not its beginning.
    pub is_later: bool,
}

/// A job in a list.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its id.
    pub id: String,
    /// What for, by its code.
    pub kind: String,
    /// For which company.
    pub subdomain: String,
    /// Where that company is looked at; its history, where it isn't there any more.
    pub tenant_href: String,
    /// Its state's code.
    pub state: String,
    /// When it was asked for, in RFC 3339.
    pub created: String,
    /// How long it took, or has taken so far, in milliseconds.
    pub took_ms: i64,
    /// Steps that are done.
    pub done: i64,
    /// All its steps.
    pub steps: i64,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether a worker has it.
    pub is_worked_on: bool,
}

/// `GET /console/jobs/{id}`.
#[derive(Debug, Clone, Template)]
#[template(path = "console/job.html")]
pub struct JobPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// What was done on the page before.
    pub notice: Option<Outcome>,
    /// Why something was not done.
    pub refused: Option<Refused>,
    /// The job.
    pub job: JobRow,
    /// Its steps, in order.
    pub steps: Vec<StepRow>,
}

/// A step of a job.
#[derive(Debug, Clone)]
pub struct StepRow {
    /// Its name.
    pub name: String,
    /// Its state's code.
    pub state: String,
    /// How often it was begun.
    pub attempts: i32,
    /// Milliseconds from the job's beginning until it last began, and how long it took or has taken.
    pub span: Option<(i64, i64)>,
    /// What went wrong.
    pub error: Option<String>,
}

/// `GET /console/servers`.
#[derive(Debug, Clone, Template)]
#[template(path = "console/servers.html")]
pub struct ServersPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// Every server.
    pub servers: Vec<ServerRow>,
}

/// A server.
#[derive(Debug, Clone)]
pub struct ServerRow {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Whether it takes new companies.
    pub is_active: bool,
    /// How many it has.
    pub tenants: i64,
    /// The connections that they may hold together.
    pub capacity: Option<usize>,
    /// Its version of PostgreSQL; nothing where it didn't say.
    pub version: Option<String>,
    /// Its databases made ahead; nothing where nobody has looked after them yet.
    pub spares: Option<SparesRow>,
    /// What its connections are doing, as this process sees it.
    pub budget: Option<ServerBudget>,
}

/// A server's databases made ahead.
#[derive(Debug, Clone)]
pub struct SparesRow {
    /// Those that can be given away.
    pub ready: i64,
    /// How many are kept.
    pub wanted: i64,
    /// Why no more are made, as the registry has it, where that wants somebody.
    pub stopped: Option<String>,
}

impl OverviewPage<'_> {
    fn headline(&self) -> String {
        let w = self.frame.w.console;
        match self.troubles.len() {
            0 => w.all_well.to_owned(),
            1 => w.one_trouble.to_owned(),
            count => (w.troubles)(count),
        }
    }

    fn door(&self) -> &'static str {
        if self.troubles.is_empty() { "open" } else { "ajar" }
    }
}

impl TenantsPage<'_> {
    fn is_filtered(&self) -> bool {
        !(self.search.is_empty() && self.state.is_empty() && self.server.is_empty())
    }

    fn state_is(&self, state: TenantState) -> bool {
        self.state == state.code()
    }

    fn order_is(&self, order: Order) -> bool {
        self.order == order
    }

    fn size(&self, tenant: &TenantRow) -> String {
        tenant.size.map_or_else(|| "–".to_owned(), |bytes| size(self.frame.lang, bytes))
    }
}

impl TenantPage<'_> {
    fn here(&self) -> String {
        format!("/console/tenants/{}", self.tenant.id)
    }

    fn size(&self) -> String {
        self.tenant
            .size
            .map_or_else(|| self.frame.w.console.unknown.to_owned(), |bytes| size(self.frame.lang, bytes))
    }

    fn is(&self, states: &[TenantState]) -> bool {
        states.iter().any(|state| state.code() == self.tenant.state)
    }

    fn is_active(&self) -> bool {
        self.is(&[TenantState::Active])
    }

    fn is_paused(&self) -> bool {
        self.is(&[TenantState::Paused])
    }

    fn is_deleted(&self) -> bool {
        self.is(&[TenantState::Deleting, TenantState::Deleted])
    }

    fn took(&self, job: &JobRow) -> String {
        took(self.frame.lang, job.took_ms)
    }

    /// Until when a name leads here, or is nobody's, in words.
    fn until(&self, name: &FormerName) -> String {
        let w = self.frame.w;
        match &name.leads_until {
            Some(until) => (w.console.leads_until)(&w.day(until)),
            None => (w.console.nobodys_until)(&w.day(&name.kept_until)),
        }
    }

    fn shows_company(&self) -> bool {
        false
    }
}

impl ActPage<'_> {
    fn title(&self) -> String {
        let w = self.frame.w.console;
        let title = match self.act {
            Act::Pause => w.pause_title,
            Act::Rename => w.rename_title,
            Act::Delete => w.delete_title,
            Act::Purge => w.purge_title,
            Act::Abandon => w.abandon_title,
        };
        title(self.subdomain)
    }

    fn text(&self) -> &'static str {
        let w = self.frame.w.console;
        match self.act {
            Act::Pause => w.pause_text,
            Act::Rename => w.rename_text,
            Act::Delete => w.delete_text,
            Act::Purge => w.purge_text,
            Act::Abandon => w.abandon_text,
        }
    }

    /// The button's words are the link's that led here, without what says that a page comes first.
    fn submit(&self) -> &'static str {
        let w = self.frame.w.console;
        match self.act {
            Act::Pause => w.pause,
            Act::Rename => w.rename,
            Act::Delete => w.delete,
            Act::Purge => w.purge,
            Act::Abandon => w.abandon,
        }
        .trim_end_matches('…')
    }

    fn type_it(&self) -> String {
        (self.frame.w.console.type_it)(self.subdomain)
    }

    /// Asked once it was said that the name reads like another's.
    fn may_look_alike(&self) -> bool {
        matches!(self.refused, Some(Refused::LookAlike))
    }

    fn drains(&self) -> bool {
        matches!(self.act, Act::Pause | Act::Delete)
    }
}

impl JobsPage<'_> {
    fn shows(&self, state: &str) -> bool {
        self.state == state
    }

    fn took(&self, job: &JobRow) -> String {
        took(self.frame.lang, job.took_ms)
    }
}

impl JobPage<'_> {
    fn is_stuck(&self) -> bool {
        self.job.state == JobState::Stuck.code()
    }

    /// A removal goes forward only: what to do about it is another thing.
    fn stuck_text(&self) -> &'static str {
        let w = self.frame.w.console;
        if self.job.kind == JobKind::PurgeTenant.code() { w.stuck_purge_text } else { w.stuck_text }
    }

    fn is_open(&self) -> bool {
        matches!(self.job.state.as_str(), "running" | "undoing")
    }

    fn took(&self) -> String {
        took(self.frame.lang, self.job.took_ms)
    }

    fn step_took(&self, step: &StepRow) -> String {
        step.span.map_or_else(|| "–".to_owned(), |(_, ms)| took(self.frame.lang, ms))
    }

    /// A step in words; one of a workflow that has none is called as in the log.
    fn step_name<'s>(&self, step: &'s StepRow) -> &'s str {
        let made = StepKey::from_code(&step.name).map(|key| self.frame.w.console.create_step(key));
        let removed = || PurgeStep::from_code(&step.name).map(|key| self.frame.w.console.purge_step(key));
        made.or_else(removed).unwrap_or(&step.name)
    }

    fn step_state<'s>(&self, step: &'s StepRow) -> &'s str {
        if step.state == "undoing" {
            return self.frame.w.console.step_undoing;
        }
        crate::text::StepStatus::from_code(&step.state)
            .map_or(step.state.as_str(), |status| self.frame.w.step_status(status))
    }

    /// Where a step's bar begins, and how wide it is.
    fn bar(&self, step: &StepRow) -> Option<(i64, i64)> {
        let (from, ms) = step.span?;
        let end = self.steps.iter().filter_map(|step| step.span).map(|(from, ms)| from + ms).max()?.max(1);
        let wide = (ms * WIDE / end).max(LEAST);
        Some(((from * WIDE / end).clamp(0, WIDE - LEAST).min(WIDE - wide.min(WIDE)), wide.min(WIDE)))
    }
}

/// Bytes, as people write them.
fn size(lang: Lang, bytes: i64) -> String {
    let mib = i32::try_from(bytes / 104_858).map_or(f64::from(i32::MAX), f64::from) / 10.0;
    let text = if mib < 1024.0 { format!("{mib:.1} MB") } else { format!("{:.1} GB", mib / 1024.0) };
    in_words(lang, text)
}

/// Milliseconds, as people write them.
pub(super) fn took(lang: Lang, ms: i64) -> String {
    let seconds = i32::try_from(ms).map_or(f64::from(i32::MAX), f64::from) / 1000.0;
    let text = match ms {
        ..1000 => format!("{} ms", ms.max(0)),
        1000..60_000 => format!("{seconds:.1} s"),
        60_000..3_600_000 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    };
    in_words(lang, text)
}

fn in_words(lang: Lang, text: String) -> String {
    match lang {
        Lang::Es => text.replace('.', ","),
        Lang::En => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_written_as_people_write_them() {
        for (bytes, en, es) in
            [(0, "0.0 MB", "0,0 MB"), (8_200_000, "7.8 MB", "7,8 MB"), (5_368_709_120, "5.0 GB", "5,0 GB")]
        {
            assert_eq!((size(Lang::En, bytes).as_str(), size(Lang::Es, bytes).as_str()), (en, es));
        }
        for (ms, en) in
            [(-3, "0 ms"), (12, "12 ms"), (1500, "1.5 s"), (120_000, "2 min"), (5_400_000, "1.5 h")]
        {
            assert_eq!(took(Lang::En, ms), en);
        }
    }
}
