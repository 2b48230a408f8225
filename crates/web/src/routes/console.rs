//! The console's pages to look at. What changes something is in `acts.rs`. All of it is for an [`Operator`], on the
//! operators' listener; that the page that asks is the console's own is seen to by that listener's door.

mod acts;
mod audit;
mod migrations;
mod rows;

use super::Visit;
use crate::{
    Template,
    pages::{
        Frame, Glance, JobPage, JobsPage, OverviewPage, ServerBudget, ServerRow, ServersPage, TenantPage,
        TenantsPage, TroubleRow,
    },
    text::{
        Breaker,
        console::{Order, Outcome, Refused, Section, Trouble},
    },
};
use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration},
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use portero_admin_api::Operator;
use portero_control::{
    Control, FailingJob, JobError, JobLine, JobQuery, Overview, Rounds, TenantFilter, TenantLine, TenantOrder,
};
use portero_edge::{Edge, Kind, Problem, read};
use portero_kernel::{JobId, Subdomain, TenantId};
use rows::{former_name, job_row, rfc3339, spares_row, step_rows, tenant_row};
use serde::Deserialize;
use std::{collections::BTreeMap, pin::Pin};
use time::OffsetDateTime;

/// Where the console begins.
pub const CONSOLE: &str = "/console";
/// Where the list of servers is; who has the router's figures answers with it.
pub const SERVERS: &str = "/console/servers";

const NOTICE: &str = "portero_console_notice";
const PAGE: usize = 50;
const JOBS_OF_TENANT: usize = 10;
const DEEDS_OF_TENANT: i64 = 20;
/// So many are named of what is wrong in the same way.
const NAMED: usize = 5;

/// Adds the routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource(CONSOLE).route(read().to(overview)))
        .service(web::resource("/console/compare").route(web::post().to(acts::compare)))
        .service(web::resource("/console/tenants").route(read().to(tenants)))
        .service(web::resource("/console/tenants/{id}").route(read().to(tenant)))
        .service(web::resource("/console/jobs").route(read().to(jobs)))
        .service(web::resource("/console/jobs/{id}").route(read().to(job)))
        .service(web::resource(migrations::MIGRATIONS).route(read().to(migrations::list)))
        .service(web::resource("/console/migrations/{id}").route(read().to(migrations::show)))
        .service(web::resource(audit::AUDIT).route(read().to(audit::audit)))
        .configure(acts::configure);
}

/// What every page of the console works with.
pub(super) struct Desk {
    visit: Visit,
    operator: Operator,
    edge: web::Data<Edge>,
    rounds: web::Data<Rounds>,
    notice: Option<String>,
}

impl FromRequest for Desk {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let operator = Operator::of(&request).await?;
            let parts = (request.app_data().cloned(), request.app_data().cloned());
            let (Some(edge), Some(rounds)) = parts else {
                return Err(Problem::internal("the console is not configured"));
            };
            let notice = request.cookie(NOTICE).map(|cookie| cookie.value().to_owned());
            Ok(Self { visit: Visit::of(&request), operator, edge, rounds, notice })
        })
    }
}

impl Desk {
    fn control(&self) -> &Control {
        self.operator.control()
    }

    fn frame<'a>(&'a self, path: &'a str, section: Section) -> Frame<'a> {
        self.visit.console(path, section, Some(&self.operator.name))
    }

    fn outcome(&self) -> Option<Outcome> {
        self.notice.as_deref().and_then(Outcome::from_code)
    }

    fn refused(&self) -> Option<Refused> {
        self.notice.as_deref().and_then(Refused::from_code)
    }

    fn page(&self, page: &impl Template) -> Result<HttpResponse, Problem> {
        let mut response = self.visit.page(StatusCode::OK, page)?;
        if self.notice.is_some() {
            let _ = response.add_cookie(&notice_cookie(String::new(), Duration::ZERO));
        }
        Ok(response)
    }

    /// To another page of the console, with something to say there.
    fn go(path: &str, notice: &str) -> HttpResponse {
        let cookie = notice_cookie(notice.to_owned(), Duration::minutes(1));
        HttpResponse::SeeOther().insert_header((header::LOCATION, path)).cookie(cookie).finish()
    }

    async fn tenant(&self, id: &str) -> Result<TenantLine, Problem> {
        let id: TenantId = id.parse().map_err(|_| Problem::new(Kind::NotFound))?;
        self.control().tenant_line(id).await?.ok_or(Problem::new(Kind::NotFound))
    }

    async fn job_rows(&self, jobs: Vec<JobLine>) -> Result<Vec<crate::pages::JobRow>, Problem> {
        let ids: Vec<TenantId> = jobs.iter().map(|job| job.tenant).collect();
        let there = self.control().tenants_there(&ids).await?;
        Ok(jobs.into_iter().map(|job| job_row(job, &there)).collect())
    }

    async fn tenant_rows(&self, tenants: Vec<TenantLine>) -> Result<Vec<crate::pages::TenantRow>, Problem> {
        let ids: Vec<TenantId> = tenants.iter().map(|tenant| tenant.id).collect();
        let shares = self.edge.router.shares(&ids);
        let sizes = self.control().sizes(&tenants).await?;
        let row = |tenant: &TenantLine| {
            let share = shares.get(&tenant.id).copied().unwrap_or_default();
            let connections =
                crate::pages::Connections { in_use: share.in_use, idle: share.idle, waiting: share.waiting };
            tenant_row(tenant, sizes.get(&tenant.db_name).copied(), connections)
        };
        Ok(tenants.iter().map(row).collect())
    }
}

/// A word for the next page, no secret.
fn notice_cookie(value: String, lasts: Duration) -> Cookie<'static> {
    Cookie::build(NOTICE, value)
        .path(CONSOLE)
        .http_only(true)
        .same_site(SameSite::Strict)
        .max_age(lasts)
        .finish()
}

async fn overview(desk: Desk) -> Result<HttpResponse, Problem> {
    let seen = desk.control().overview().await.ok();
    let round = desk.rounds.last();
    let figures = desk.edge.router.figures();
    let away: Vec<String> = figures
        .servers
        .iter()
        .filter(|server| server.breaker.as_str() == Breaker::Open.code())
        .map(|server| server.name.clone())
        .collect();
    let breakers: BTreeMap<String, Breaker> = figures
        .servers
        .iter()
        .filter_map(|server| Some((server.name.clone(), Breaker::from_code(server.breaker.as_str())?)))
        .collect();
    let mut troubles = Vec::new();
    match &seen {
        None => troubles.push(trouble(Trouble::RegistryAway, Vec::new())),
        Some(seen) => troubles.extend(troubles_of(seen)),
    }
    let mut not_answering = away;
    if let Some(round) = &round {
        let unanswered = round.differences.unanswered.keys();
        not_answering.extend(unanswered.filter(|name| !breakers.contains_key(*name)).cloned());
    }
    if !not_answering.is_empty() {
        let about = not_answering.into_iter().map(|name| (name, Some(SERVERS.to_owned()))).collect();
        troubles.push(trouble(Trouble::ServerAway, about));
    }
    if let Some(round) = &round {
        troubles.extend(round.failing.iter().map(|check| {
            let about = vec![(format!("{}: {}", check.name, check.found), None)];
            trouble_with(Trouble::Check, about, std::iter::once(check.advice.clone()))
        }));
        for kind in portero_control::Kind::ALL {
            let found = round.differences.findings.iter().filter(|finding| finding.kind == *kind);
            let commands = found.clone().filter_map(portero_control::Finding::command);
            let about: Vec<_> = found
                .map(|finding| {
                    let href = finding.subdomain.as_ref().and(finding.tenant_id);
                    let name = finding.subdomain.as_ref().unwrap_or(&finding.object);
                    (name.clone(), href.map(|id| format!("/console/tenants/{id}")))
                })
                .collect();
            if let Some(what) = Trouble::from_code(kind.code()).filter(|_| !about.is_empty()) {
                troubles.push(trouble_with(what, about, commands));
            }
        }
    }
    let glance = seen.map(|seen| glance(seen, &breakers));
    let page = OverviewPage {
        frame: desk.frame(CONSOLE, Section::Overview),
        notice: desk.outcome(),
        troubles,
        compared: round.map(|round| rfc3339(round.at)),
        glance,
    };
    desk.page(&page)
}

fn trouble(what: Trouble, mut about: Vec<(String, Option<String>)>) -> TroubleRow {
    let more = about.len().saturating_sub(NAMED);
    about.truncate(NAMED);
    TroubleRow { what, about, more, commands: Vec::new() }
}

/// The same, with a command for each that is named.
fn trouble_with(
    what: Trouble,
    about: Vec<(String, Option<String>)>,
    commands: impl Iterator<Item = String>,
) -> TroubleRow {
    TroubleRow { commands: commands.take(NAMED).collect(), ..trouble(what, about) }
}

fn troubles_of(seen: &Overview) -> Vec<TroubleRow> {
    let mut troubles = Vec::new();
    let page_of = |id: JobId| Some(format!("/console/jobs/{id}"));
    if !seen.stuck.is_empty() {
        let about = seen.stuck.iter().map(|job| (job.subdomain.clone(), page_of(job.id))).collect();
        let commands = seen.stuck.iter().map(|job| format!("portero jobs retry {}", job.id));
        troubles.push(trouble_with(Trouble::StuckJobs, about, commands));
    }
    if !seen.failing.is_empty() {
        let told = |job: &FailingJob| (format!("{}: {}", job.subdomain, job.error), page_of(job.id));
        let about = seen.failing.iter().map(told).collect();
        let commands = seen.failing.iter().map(|job| format!("portero jobs show {}", job.id));
        troubles.push(trouble_with(Trouble::FailingJobs, about, commands));
    }
    if seen.servers.iter().all(|server| server.status != "active") {
        troubles.push(trouble(Trouble::NoServer, Vec::new()));
    }
    if seen.routers.is_empty() {
        troubles.push(trouble(Trouble::NoRouter, Vec::new()));
    }
    // A router says what it knows once a second: what it is behind by then is not news.
    let old = OffsetDateTime::now_utc() - std::time::Duration::from_secs(5);
    let behind: Vec<_> = seen
        .routers
        .iter()
        .filter(|router| router.behind > 0 && router.seen_at < old)
        .map(|router| (router.name.clone(), None))
        .collect();
    if !behind.is_empty() {
        troubles.push(trouble(Trouble::RouterBehind, behind));
    }
    troubles
}

fn glance(seen: Overview, breakers: &BTreeMap<String, Breaker>) -> Glance {
    let breaker = |name: &str| breakers.get(name).copied().unwrap_or(Breaker::SlowStart);
    Glance {
        tenants: seen.tenants.into_iter().map(|(state, count)| (state.to_owned(), count)).collect(),
        jobs_open: seen.jobs_open,
        jobs_stuck: seen.jobs_stuck,
        servers: seen
            .servers
            .into_iter()
            .map(|server| (server.name.clone(), breaker(&server.name), server.tenants))
            .collect(),
        routers: seen.routers.into_iter().map(|router| (router.name, router.behind)).collect(),
    }
}

#[derive(Deserialize)]
struct TenantsQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    server: String,
    #[serde(default)]
    order: String,
    #[serde(default)]
    after: String,
}

async fn tenants(desk: Desk, query: web::Query<TenantsQuery>) -> Result<HttpResponse, Problem> {
    let servers = desk.control().servers().await?;
    let order = Order::from_code(&query.order).unwrap_or(Order::Subdomain);
    let search = query.q.trim();
    let filter = TenantFilter {
        // What PostgreSQL can't hold, nobody is called.
        search: if search.contains('\0') { "\u{fffd}" } else { search },
        status: Some(query.state.as_str()).filter(|state| !state.is_empty() && !state.contains('\0')),
        server: servers.iter().find(|server| server.name == query.server).map(|server| server.id),
        order: match order {
            Order::Subdomain => TenantOrder::Subdomain,
            Order::Name => TenantOrder::Name,
            Order::Newest => TenantOrder::Newest,
        },
        after: query.after.parse().ok(),
        beyond: None,
    };
    let list = desk.control().tenants_listed(&filter, PAGE).await?;
    let next_href = list.next.and_then(|id| {
        let after = id.to_string();
        let query: [(&str, &str); 5] = [
            ("q", search),
            ("state", &query.state),
            ("server", &query.server),
            ("order", order.code()),
            ("after", &after),
        ];
        let query = query.iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>();
        Some(format!("/console/tenants?{}", serde_urlencoded::to_string(query).ok()?))
    });
    let counts = desk.control().tenant_counts().await?;
    let page = TenantsPage {
        frame: desk.frame("/console/tenants", Section::Tenants),
        search,
        state: &query.state,
        server: &query.server,
        order,
        servers: servers.iter().map(|server| server.name.clone()).collect(),
        counts: counts.into_iter().map(|(state, count)| (state.to_owned(), count)).collect(),
        tenants: desk.tenant_rows(list.tenants).await?,
        next_href,
        is_later: filter.after.is_some(),
    };
    desk.page(&page)
}

async fn tenant(desk: Desk, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let line = desk.tenant(&id).await?;
    let subdomain = Subdomain::parse(&line.subdomain).map_err(|_| Problem::new(Kind::NotFound))?;
    let more = desk.control().tenant(&subdomain).await.ok();
    let query = JobQuery { tenant: Some(line.id), ..JobQuery::default() };
    let (jobs, _) = desk.control().jobs_listed(&query, JOBS_OF_TENANT).await?;
    let rows = desk.tenant_rows(vec![line.clone()]).await?;
    let path = format!("/console/tenants/{}", line.id);
    let former: Vec<_> = more.iter().flat_map(|more| more.former.iter().map(former_name)).collect();
    let names: Vec<String> =
        former.iter().map(|name| name.subdomain.clone()).chain([line.subdomain.clone()]).collect();
    let deeds = desk.control().audit_of(&names, DEEDS_OF_TENANT).await?;
    let page = TenantPage {
        frame: desk.frame(&path, Section::Tenants),
        notice: desk.outcome(),
        refused: desk.refused(),
        tenant: rows.into_iter().next().ok_or(Problem::new(Kind::NotFound))?,
        url: &line.url,
        database: &line.db_name,
        reason: line.pause_reason.as_deref(),
        plan: line.plan.as_deref(),
        weight: line.weight,
        deleted: more.as_ref().and_then(|more| {
            Some((rfc3339(more.deleted_at?), more.purge_after.map(rfc3339).unwrap_or_default()))
        }),
        former,
        deeds: desk.deed_rows(deeds).await?,
        jobs: desk.job_rows(jobs).await?,
    };
    desk.page(&page)
}

#[derive(Deserialize)]
struct JobsQuery {
    #[serde(default)]
    state: String,
    #[serde(default)]
    after: String,
}

async fn jobs(desk: Desk, query: web::Query<JobsQuery>) -> Result<HttpResponse, Problem> {
    let one = [query.state.as_str()];
    let statuses: &[&str] = match query.state.as_str() {
        "" => &[],
        "unfinished" => &["running", "undoing", "stuck"],
        state if state.contains('\0') => return Err(Problem::new(Kind::NotFound)),
        _ => &one,
    };
    let after: Option<JobId> = query.after.parse().ok();
    let filter = JobQuery { statuses, tenant: None, after };
    let (jobs, next) = desk.control().jobs_listed(&filter, PAGE).await?;
    let next_href = next.and_then(|id| {
        let query = serde_urlencoded::to_string([("state", query.state.clone()), ("after", id.to_string())]);
        Some(format!("/console/jobs?{}", query.ok()?))
    });
    let page = JobsPage {
        frame: desk.frame("/console/jobs", Section::Jobs),
        state: &query.state,
        jobs: desk.job_rows(jobs).await?,
        next_href,
        is_later: after.is_some(),
    };
    desk.page(&page)
}

async fn job(desk: Desk, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let id: JobId = id.parse().map_err(|_| Problem::new(Kind::NotFound))?;
    let job = desk.control().job_details(&id.to_string()).await.map_err(|error| match error {
        JobError::Registry(error) => error.into(),
        _ => Problem::new(Kind::NotFound),
    })?;
    let there = desk.control().tenants_there(&[job.tenant]).await?;
    let path = format!("/console/jobs/{id}");
    let page = JobPage {
        frame: desk.frame(&path, Section::Jobs),
        notice: desk.outcome(),
        refused: desk.refused(),
        steps: step_rows(&job),
        job: rows::job_with_steps(job, &there),
    };
    desk.page(&page)
}

/// Every server, with what this process's connections to it are doing.
///
/// # Errors
/// The registry, or the page can't be drawn.
pub async fn servers_page(
    request: &HttpRequest,
    operator: &Operator,
    budgets: Vec<ServerBudget>,
) -> Result<HttpResponse, Problem> {
    let visit = Visit::of(request);
    let mut budgets: BTreeMap<String, ServerBudget> =
        budgets.into_iter().map(|budget| (budget.name.clone(), budget)).collect();
    let servers = operator.control().servers().await?;
    let mut versions = operator.control().server_versions().await?;
    let mut spares = operator.control().spares().await?;
    let servers = servers
        .into_iter()
        .map(|server| ServerRow {
            is_active: server.status == "active",
            tenants: server.tenants,
            capacity: server.capacity,
            version: versions.remove(&server.id),
            spares: spares.remove(&server.id).and_then(spares_row),
            address: server.address,
            budget: budgets.remove(&server.name),
            name: server.name,
        })
        .collect();
    let frame = visit.console(SERVERS, Section::Servers, Some(&operator.name));
    visit.page(StatusCode::OK, &ServersPage { frame, servers })
}
