//! What the console changes. What shuts out or takes away has a page of its own, where the subdomain is to be typed: a slip
//! of the hand does nothing.

use super::Desk;
use crate::{
    pages::{Act, ActPage},
    text::console::{Outcome, Refused, Section},
};
use actix_web::{HttpResponse, http::StatusCode, web};
use portero_control::{Grace, JobError, LookAlike, TenantError};
use portero_edge::{Form, Kind, Problem, read};
use portero_kernel::{JobId, Subdomain};
use serde::Deserialize;
use std::time::Duration;

/// Seconds that a page may be waited for, for requests under way to end.
const LONGEST_DRAIN: u64 = 60;
const DRAIN: &str = "5";
const LONGEST_REASON: usize = 200;

/// Adds the routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    for act in [Act::Pause, Act::Rename, Act::Delete, Act::Purge] {
        let path = format!("/console/tenants/{{id}}/{}", code(act));
        config.service(
            web::resource(path)
                .route(read().to(move |desk: Desk, id: web::Path<String>| ask_about_tenant(desk, id, act)))
                .route(web::post().to(move |desk: Desk, id: web::Path<String>, form: Form<ActForm>| {
                    act_on_tenant(desk, id, form, act)
                })),
        );
    }
    config
        .service(web::resource("/console/tenants/{id}/resume").route(web::post().to(resume)))
        .service(web::resource("/console/tenants/{id}/undelete").route(web::post().to(undelete)))
        .service(web::resource("/console/tenants/{id}/weight").route(web::post().to(weigh)))
        .service(web::resource("/console/jobs/{id}/retry").route(web::post().to(retry)))
        .service(
            web::resource("/console/jobs/{id}/abandon")
                .route(read().to(ask_about_job))
                .route(web::post().to(abandon)),
        );
}

const fn code(act: Act) -> &'static str {
    match act {
        Act::Pause => "pause",
        Act::Rename => "rename",
        Act::Delete => "delete",
        Act::Purge => "purge",
        Act::Abandon => "abandon",
    }
}

/// What the forms of all acts send.
#[derive(Default, Deserialize)]
pub(super) struct ActForm {
    #[serde(default)]
    typed: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    drain: String,
    #[serde(default, rename = "new")]
    new_name: String,
    #[serde(default)]
    look_alike: String,
    #[serde(default)]
    waive: String,
}

/// Whom an act is about.
struct Subject {
    /// Where that is looked at.
    path: String,
    subdomain: String,
    name: String,
    section: Section,
}

impl Desk {
    async fn subject(&self, id: &str) -> Result<Subject, Problem> {
        let tenant = self.tenant(id).await?;
        Ok(Subject {
            path: format!("/console/tenants/{}", tenant.id),
            subdomain: tenant.subdomain,
            name: tenant.name,
            section: Section::Tenants,
        })
    }

    async fn job_subject(&self, id: JobId) -> Result<Subject, Problem> {
        let job = self.control().job_details(&id.to_string()).await.map_err(job_problem)?;
        let name = self.visit.lang.words().console.job_kind(&job.kind).to_owned();
        let path = format!("/console/jobs/{id}");
        Ok(Subject { path, subdomain: job.subdomain, name, section: Section::Jobs })
    }

    fn act_page(
        &self,
        subject: &Subject,
        act: Act,
        form: &ActForm,
        refused: Option<Refused>,
    ) -> Result<HttpResponse, Problem> {
        let action = format!("{}/{}", subject.path, code(act));
        let page = ActPage {
            frame: self.frame(&action, subject.section),
            act,
            action: &action,
            back: &subject.path,
            subdomain: &subject.subdomain,
            name: &subject.name,
            reason: &form.reason,
            drain: &form.drain,
            new_name: &form.new_name,
            refused,
        };
        let status = if refused.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        self.visit.page(status, &page)
    }
}

async fn ask_about_tenant(desk: Desk, id: web::Path<String>, act: Act) -> Result<HttpResponse, Problem> {
    let subject = desk.subject(&id).await?;
    let form = ActForm { drain: DRAIN.to_owned(), ..ActForm::default() };
    desk.act_page(&subject, act, &form, None)
}

async fn act_on_tenant(
    desk: Desk,
    id: web::Path<String>,
    Form(form): Form<ActForm>,
    act: Act,
) -> Result<HttpResponse, Problem> {
    let subject = desk.subject(&id).await?;
    match do_to_tenant(&desk, &subject, &form, act).await? {
        Ok(done) => Ok(Desk::go(&done.0, done.1.code())),
        Err(refused) => desk.act_page(&subject, act, &form, Some(refused)),
    }
}

/// Where to go afterwards and what to say there; or why nothing was done.
type Done = Result<(String, Outcome), Refused>;

async fn do_to_tenant(desk: &Desk, subject: &Subject, form: &ActForm, act: Act) -> Result<Done, Problem> {
    if form.typed.trim() != subject.subdomain {
        return Ok(Err(Refused::NotTyped));
    }
    let Ok(name) = Subdomain::parse(&subject.subdomain) else { return Ok(Err(Refused::Changed)) };
    let drain = match act {
        Act::Pause | Act::Delete => form.drain.trim().parse::<u64>().ok(),
        _ => Some(0),
    };
    let Some(drain) = drain.filter(|secs| *secs <= LONGEST_DRAIN).map(Duration::from_secs) else {
        return Ok(Err(Refused::NoSeconds));
    };
    let (control, path) = (desk.control(), subject.path.clone());
    let outcome = match act {
        Act::Pause => {
            let reason = form.reason.trim();
            let reason: String = reason.chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect();
            let reason = Some(reason.as_str()).filter(|reason| !reason.is_empty());
            control.pause(&name, reason, drain).await.map(|_| (path, Outcome::Paused))
        }
        Act::Rename => {
            let look_alike = LookAlike::allowed_if(form.look_alike == "yes");
            let renamed = control.rename(&name, form.new_name.trim(), look_alike).await;
            renamed.map(|_| (path, Outcome::Renamed))
        }
        Act::Delete => control.delete(&[name], drain).await.map(|_| (path, Outcome::Deleted)),
        Act::Purge => {
            let grace = if form.waive == "yes" { Grace::Waive } else { Grace::Respect };
            control.purge(&name, grace).await.map(|purge| match purge {
                portero_control::Purge::Job(job) => (format!("/console/jobs/{job}"), Outcome::Retried),
                portero_control::Purge::Done(_) => ("/console/tenants".to_owned(), Outcome::Retried),
            })
        }
        Act::Abandon => return Ok(Err(Refused::Changed)),
    };
    match outcome {
        Ok(done) => Ok(Ok(done)),
        Err(error) => refusal(error).map(Err),
    }
}

/// What to tell about an error, where it is one to be told on the page.
fn refusal(error: TenantError) -> Result<Refused, Problem> {
    match error {
        TenantError::Registry(error) => Err(error.into()),
        TenantError::NotFound(_) => Err(Problem::new(Kind::NotFound)),
        TenantError::NewName(..) | TenantError::Taken(_) => Ok(Refused::Name),
        TenantError::LookAlike(..) => Ok(Refused::LookAlike),
        TenantError::TooMany { .. } => Ok(Refused::TooMany),
        TenantError::InGrace { .. } => Ok(Refused::InGrace),
        TenantError::Server(_) | TenantError::HalfShut(..) => Ok(Refused::Server),
        _ => Ok(Refused::Changed),
    }
}

async fn resume(desk: Desk, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let subject = desk.subject(&id).await?;
    let Ok(name) = Subdomain::parse(&subject.subdomain) else { return Err(Problem::new(Kind::NotFound)) };
    let done = desk.control().resume(&name).await.map(|_| Outcome::Resumed);
    told(&subject, done)
}

async fn undelete(desk: Desk, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let subject = desk.subject(&id).await?;
    let Ok(name) = Subdomain::parse(&subject.subdomain) else { return Err(Problem::new(Kind::NotFound)) };
    let done = desk.control().undelete(&name).await.map(|_| Outcome::Undeleted);
    told(&subject, done)
}

#[derive(Deserialize)]
struct WeightForm {
    #[serde(default)]
    weight: String,
}

async fn weigh(
    desk: Desk,
    id: web::Path<String>,
    Form(form): Form<WeightForm>,
) -> Result<HttpResponse, Problem> {
    let subject = desk.subject(&id).await?;
    let Ok(name) = Subdomain::parse(&subject.subdomain) else { return Err(Problem::new(Kind::NotFound)) };
    let weight = form.weight.trim().parse::<u8>().ok().filter(|weight| (1..=100).contains(weight));
    let weight = weight.ok_or(Problem::new(Kind::Malformed))?;
    let done = desk.control().set_weight(&name, weight).await.map(|_| Outcome::Weighed);
    told(&subject, done)
}

fn told(subject: &Subject, done: Result<Outcome, TenantError>) -> Result<HttpResponse, Problem> {
    let notice = match done {
        Ok(outcome) => outcome.code(),
        Err(error) => refusal(error)?.code(),
    };
    Ok(Desk::go(&subject.path, notice))
}

fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| Problem::new(Kind::NotFound))
}

fn job_problem(error: JobError) -> Problem {
    match error {
        JobError::Registry(error) => error.into(),
        _ => Problem::new(Kind::NotFound),
    }
}

async fn retry(desk: Desk, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let id = job_id(&id)?;
    let notice = match desk.control().job_retry(id).await {
        Ok(()) => Outcome::Retried.code(),
        Err(JobError::NotStuck(..)) => Refused::Changed.code(),
        Err(error) => return Err(job_problem(error)),
    };
    Ok(Desk::go(&format!("/console/jobs/{id}"), notice))
}

async fn ask_about_job(desk: Desk, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let subject = desk.job_subject(job_id(&id)?).await?;
    desk.act_page(&subject, Act::Abandon, &ActForm::default(), None)
}

async fn abandon(
    desk: Desk,
    id: web::Path<String>,
    Form(form): Form<ActForm>,
) -> Result<HttpResponse, Problem> {
    let id = job_id(&id)?;
    let subject = desk.job_subject(id).await?;
    if form.typed.trim() != subject.subdomain {
        return desk.act_page(&subject, Act::Abandon, &form, Some(Refused::NotTyped));
    }
    match desk.control().job_abandon(id).await {
        Ok(_) => Ok(Desk::go(&subject.path, Outcome::Abandoned.code())),
        Err(JobError::UnderWay(_) | JobError::AtRest(..)) => {
            desk.act_page(&subject, Act::Abandon, &form, Some(Refused::Changed))
        }
        Err(error) => Err(job_problem(error)),
    }
}

/// Compares the servers with the registry, and checks the rest, now.
pub(super) async fn compare(desk: Desk) -> Result<HttpResponse, Problem> {
    desk.rounds.go(desk.control()).await?;
    Ok(Desk::go(super::CONSOLE, Outcome::Looked.code()))
}
