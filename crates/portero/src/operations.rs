//! What operators' tools ask, on a listener of its own: is it alive, is it ready, how is it doing.

use crate::{budget, metrics, process::Usage};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use portero_admin_api::Operator;
use portero_control::{Control, Rounds};
use portero_edge::{Doors, Edge, Kind, Problem};
use portero_registry::RegistryError;
use portero_router::{Figures, Router, ServerFigures};
use portero_web::pages::{Mailbox, ServerBudget};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;

/// Mails that the mailbox shows: the newest.
const MAILS: i64 = 100;

/// How long the registry may take for figures.
const REGISTRY: Duration = Duration::from_secs(1);

/// What the endpoints look at.
pub(crate) struct Operations {
    /// What this process is called among the routers.
    pub(crate) name: String,
    pub(crate) control: Control,
    pub(crate) router: Router,
    pub(crate) edge: web::Data<Edge>,
    pub(crate) rounds: web::Data<Rounds>,
    pub(crate) mailbox: Mailbox,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Adds the routes. Those of the process itself are open to whoever reaches the listener: orchestrators and Prometheus ask
/// them, and they tell no secret, though names of companies. Everything else is for an [`Operator`].
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .configure(of_the_process)
        .route("/", web::get().to(front))
        .route(portero_web::BUDGET, web::get().to(budget))
        .route(portero_web::SERVERS, web::get().to(servers))
        .route(portero_web::MAILBOX, web::get().to(mailbox))
        .route("/mailbox/{id}", web::get().to(mail))
        .route("/mailbox/{id}/html", web::get().to(mail_html))
        .configure(portero_web::configure_operators)
        .configure(portero_admin_api::configure);
}

/// The routes of a process that only routes: nobody can log in there.
pub(crate) fn configure_router(config: &mut web::ServiceConfig) {
    config.configure(of_the_process).default_service(web::to(not_here));
}

fn of_the_process(config: &mut web::ServiceConfig) {
    config
        .route("/healthz", web::get().to(alive))
        .route("/readyz", web::get().to(ready))
        .route("/metrics", web::get().to(metrics));
}

async fn not_here() -> Result<HttpResponse, Problem> {
    Err(Doors::Tenants.not_here())
}

/// The process answers; nothing else is asked of it.
async fn alive() -> HttpResponse {
    text(StatusCode::OK, "ok\n")
}

/// Whether to send requests here. Known tenants are served without the registry, so its absence is told, not punished.
async fn ready(operations: web::Data<Operations>) -> HttpResponse {
    if *operations.stopping.borrow() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match operations.control.registry().ping().await {
        Ok(()) => text(StatusCode::OK, "ready\n"),
        Err(_) => text(StatusCode::OK, "ready, without the registry: no sign-ups, no changes\n"),
    }
}

async fn metrics(operations: web::Data<Operations>) -> HttpResponse {
    let figures = operations.router.figures();
    let refused: Vec<_> = operations.edge.refusals.counts().collect();
    let tenants = ask(&figures, operations.control.registry().tenants_by_status()).await;
    let jobs = ask(&figures, operations.control.registry().jobs_by_state()).await;
    let round = operations.rounds.last();
    let spares = ask(&figures, operations.control.registry().spare_figures()).await;
    let shown = metrics::Shown {
        figures: &figures,
        refused: &refused,
        tenants: tenants.as_deref(),
        jobs: jobs.as_deref(),
        round: round.as_ref(),
        spares: spares.as_deref(),
        usage: Usage::now(),
    };
    HttpResponse::Ok().content_type(metrics::CONTENT_TYPE).body(metrics::render(&shown))
}

async fn front() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, portero_web::CONSOLE)).finish()
}

/// The same figures as a picture, and every router's part.
async fn budget(
    operator: Operator,
    request: HttpRequest,
    operations: web::Data<Operations>,
) -> Result<HttpResponse, Problem> {
    portero_web::budget_page(&request, &operator, pictures(&operations).await)
}

/// The registry's servers, each with its picture.
async fn servers(
    operator: Operator,
    request: HttpRequest,
    operations: web::Data<Operations>,
) -> Result<HttpResponse, Problem> {
    portero_web::servers_page(&request, &operator, pictures(&operations).await).await
}

async fn pictures(operations: &Operations) -> Vec<ServerBudget> {
    let figures = operations.router.figures();
    let registry = operations.control.registry();
    let leases = async {
        let mut leases = BTreeMap::new();
        for server in &figures.servers {
            leases.insert(server.id, registry.server_leases(server.id).await?);
        }
        Ok(leases)
    };
    let mut leases = ask(&figures, leases).await;
    let picture = |server| {
        let server: &ServerFigures = server;
        let leases = leases.as_mut().and_then(|leases| leases.remove(&server.id));
        budget::picture(server, leases, &operations.name)
    };
    figures.servers.iter().map(picture).collect()
}

/// The newest mails, where they aren't sent.
async fn mailbox(
    operator: Operator,
    request: HttpRequest,
    operations: web::Data<Operations>,
) -> Result<HttpResponse, Problem> {
    operations.check_mailbox()?;
    portero_web::mailbox_page(&request, &operator, operations.control.registry().mails(MAILS).await?)
}

async fn mail(
    operator: Operator,
    request: HttpRequest,
    operations: web::Data<Operations>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    operations.check_mailbox()?;
    portero_web::mail_page(&request, &operator, operations.control.registry().mail_by_id(*id).await?)
}

async fn mail_html(
    _: Operator,
    operations: web::Data<Operations>,
    id: web::Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    operations.check_mailbox()?;
    portero_web::mail_html(operations.control.registry().mail_by_id(*id).await?)
}

impl Operations {
    /// Mails carry links that open something: they are shown in development alone.
    fn check_mailbox(&self) -> Result<(), Problem> {
        if self.mailbox == Mailbox::Shown { Ok(()) } else { Err(Problem::new(Kind::NotFound)) }
    }
}

/// What the registry says, if it is there and says it soon: figures are wanted most on a bad day.
async fn ask<T>(figures: &Figures, question: impl Future<Output = Result<T, RegistryError>>) -> Option<T> {
    if !figures.registry_reachable {
        return None;
    }
    timeout(REGISTRY, question).await.ok()?.ok()
}

fn text(status: StatusCode, body: &'static str) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(body)
}
