//! The apex's pages: the landing, the page that shows a company being set up, the way in. The forms are in `signup.rs`.

use crate::{
    pages::{Frame, JobStatus, LandingPage, ProgressPage, Step},
    routes::{Visit, Web, see_other, signup, spoken},
    text::Field,
};
use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use portero_auth::SessionSecret;
use portero_control::{Control, JobView, JobWatch};
use portero_edge::{Kind, Problem, read};
use portero_kernel::{JobId, Subdomain};
use portero_tenant_api::TenantApi;
use serde::Deserialize;
use std::{convert::Infallible, time::Duration as StdDuration};
use time::OffsetDateTime;
use tokio::sync::watch;
use uuid::Uuid;

/// How often the page that watches a job looks by itself; it hears at once of what happens.
const LOOK_EVERY: StdDuration = StdDuration::from_secs(2);
/// How long it watches before the browser must ask again.
const WATCH_FOR: StdDuration = StdDuration::from_secs(600);
/// How often something is sent while nothing happens, so that no proxy in between gives up.
const KEEP_ALIVE: StdDuration = StdDuration::from_secs(15);

/// Adds the routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/").route(read().to(landing)))
        .service(web::resource("/go").route(read().to(go)))
        .configure(signup::configure)
        .service(web::resource("/signup/{job}").route(read().to(progress)))
        .service(web::resource("/signup/{job}/events").route(web::get().to(events)))
        .service(web::resource("/signup/{job}/enter").route(read().to(enter)));
}

async fn landing(visit: Visit, control: web::Data<Control>) -> Result<HttpResponse, Problem> {
    landing_page(&visit, &control, "", None)
}

fn landing_page(
    visit: &Visit,
    control: &Control,
    value: &str,
    error: Option<&str>,
) -> Result<HttpResponse, Problem> {
    let suffix = control.site().suffix();
    let page = LandingPage {
        frame: Frame::apex(visit.lang, &visit.path),
        base: suffix.trim_start_matches('.'),
        find_value: value,
        find_error: error,
    };
    visit.page(if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, &page)
}

#[derive(Deserialize)]
struct Go {
    #[serde(default)]
    subdomain: String,
}

/// To the company's own address. Whether there is such a company, its own host says.
async fn go(
    visit: Visit,
    control: web::Data<Control>,
    query: web::Query<Go>,
) -> Result<HttpResponse, Problem> {
    match Subdomain::parse(&query.subdomain) {
        Ok(subdomain) => Ok(see_other(&format!("{}/", control.site().tenant_url(&subdomain)))),
        Err(refusal) => {
            let error = signup::refusal_words(visit.lang, Field::Subdomain, refusal);
            let visit = Visit { path: "/".to_owned(), ..visit };
            landing_page(&visit, &control, &query.subdomain, Some(&error))
        }
    }
}

async fn find_job(control: &Control, id: &str) -> Result<JobView, Problem> {
    let id: JobId = id.parse().map_err(|_| Problem::new(Kind::NotFound))?;
    control.job(id).await?.ok_or(Problem::new(Kind::NotFound))
}

async fn progress(
    request: HttpRequest,
    visit: Visit,
    control: web::Data<Control>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let job = find_job(&control, &id).await?;
    let retry_href = signup::form_again(&request);
    let page = ProgressPage {
        frame: Frame::apex(visit.lang, &visit.path),
        job: &id,
        company: &job.company,
        address: spoken(&job.url),
        steps: Step::of_signup(job.steps.iter().map(|step| (step.name.as_str(), step.status))),
        status: match job.status {
            "running" if job.steps.iter().any(|step| matches!(step.status, "undoing" | "undone")) => {
                JobStatus::Undoing
            }
            "running" => JobStatus::Running,
            "done" => JobStatus::Done,
            _ => JobStatus::Failed { message: None, retry_href: &retry_href },
        },
    };
    visit.page(StatusCode::OK, &page)
}

/// The job as server-sent events: at once, with each change, and once more at rest; then the stream ends.
async fn events(
    control: web::Data<Control>,
    web: web::Data<Web>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let job = find_job(&control, &id).await?;
    let watching = Watching {
        events: control.watch_job(job.id),
        control: control.into_inner(),
        id: job.id,
        stopping: web.stopping.clone(),
        seen: None,
        at_rest: false,
        until: tokio::time::Instant::now() + WATCH_FOR,
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(futures_util::stream::unfold(watching, Watching::next)))
}

struct Watching {
    events: JobWatch,
    control: std::sync::Arc<Control>,
    id: JobId,
    stopping: watch::Receiver<bool>,
    seen: Option<JobView>,
    at_rest: bool,
    until: tokio::time::Instant,
}

impl Watching {
    async fn next(mut self) -> Option<(Result<web::Bytes, Infallible>, Self)> {
        let quiet_until = tokio::time::Instant::now() + KEEP_ALIVE;
        while !self.at_rest && !*self.stopping.borrow() && tokio::time::Instant::now() < self.until {
            // A registry that is away for a moment is asked again; the browser goes on waiting.
            if let Ok(Some(job)) = self.control.job(self.id).await
                && self.seen.as_ref() != Some(&job)
            {
                self.at_rest = job.status != "running";
                let data = serde_json::to_string(&job).unwrap_or_default();
                self.seen = Some(job);
                return Some((Ok(web::Bytes::from(format!("event: job\ndata: {data}\n\n"))), self));
            }
            if tokio::time::Instant::now() > quiet_until {
                return Some((Ok(web::Bytes::from_static(b": still here\n\n")), self));
            }
            tokio::select! {
                _ = self.stopping.changed() => {}
                () = self.events.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        None
    }
}

/// Leads the browser that signed up into its company, logged in; any other to the company's login page.
async fn enter(
    request: HttpRequest,
    control: web::Data<Control>,
    api: web::Data<TenantApi>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let job = find_job(&control, &id).await?;
    if job.status != "done" {
        return Ok(see_other(&format!("/signup/{}", job.id)));
    }
    let claim =
        request.cookie(claim_cookie(&api)).and_then(|cookie| SessionSecret::parse(cookie.value()).ok());
    let hand_over = match claim {
        Some(claim) => control.hand_over(job.id, &claim.digest()).await?,
        None => None,
    };
    Ok(match hand_over {
        Some(hand_over) => {
            let token = api.tokens(hand_over.tenant).issue_handoff(
                hand_over.admin,
                Uuid::new_v4(),
                OffsetDateTime::now_utc(),
            );
            see_other(&format!("{}/welcome?token={token}", hand_over.url))
        }
        None => see_other(&format!("{}/", job.url)),
    })
}

/// The name of the cookie by which the browser that signed up is known again.
pub(super) fn claim_cookie(api: &TenantApi) -> &'static str {
    if api.secure_cookies() { "__Host-portero_signup" } else { "portero_signup" }
}
