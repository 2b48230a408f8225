//! What operators' tools ask, on a listener of its own: is it alive, is it ready, how is it doing.

use actix_web::{HttpResponse, http::StatusCode, web};
use portero_control::Control;
use portero_router::Router;
use std::fmt::Write as _;
use tokio::sync::watch;

/// What the endpoints look at.
pub(crate) struct Operations {
    pub(crate) control: Control,
    pub(crate) router: Router,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Adds the routes.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/healthz", web::get().to(alive))
        .route("/readyz", web::get().to(ready))
        .route("/metrics", web::get().to(metrics));
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
    let mut body = String::new();
    let mut gauge = |name: &str, help: &str, values: &[(String, usize)]| {
        // Writing to a string can't fail.
        let _ = writeln!(body, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in values {
            let _ = writeln!(body, "{name}{labels} {value}");
        }
    };
    gauge("portero_routes", "Routes known to this router.", &[(String::new(), figures.routes)]);
    let clock = |value: i64| usize::try_from(value).unwrap_or(0);
    gauge(
        "portero_route_clock",
        "Changes of routes that are applied here.",
        &[(String::new(), clock(figures.clock))],
    );
    gauge(
        "portero_snapshot_clock",
        "Changes of routes that the snapshot on disk has.",
        &[(String::new(), clock(figures.saved_clock))],
    );
    let mut budget = Vec::new();
    for server in &figures.servers {
        for (state, count) in [
            ("capacity", server.capacity),
            ("granted", server.granted),
            ("in_use", server.in_use),
            ("idle", server.idle),
            ("connecting", server.connecting),
            ("closing", server.closing),
        ] {
            budget.push((format!("{{server=\"{}\",state=\"{state}\"}}", server.name), count));
        }
    }
    gauge("portero_budget", "Connections to each server, by what they are doing.", &budget);
    if let Ok(tenants) = operations.control.registry().tenants_by_status().await {
        let tenants: Vec<_> = tenants
            .iter()
            .map(|(status, count)| {
                (format!("{{status=\"{}\"}}", status.as_str()), usize::try_from(*count).unwrap_or(0))
            })
            .collect();
        gauge("portero_tenants", "Tenants, by status.", &tenants);
    }
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(body)
}

fn text(status: StatusCode, body: &'static str) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(body)
}
