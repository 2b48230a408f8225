//! Shared HTTP pieces: the door, extractors, the one map from errors to problem+json, request ids.
//!
//! Every request passes [`door()`]: the host gate (whose door is this?), the origin check (does a page of ours ask?), and on
//! the way out the request id, the headers and the form of errors. The tenant comes from the gate alone: [`TenantCtx`]
//! has no other constructor, and [`Db`] can't be had without it. This room knows no SQL.

mod address;
mod body;
mod context;
mod door;
mod fair_use;
mod gate;
mod idempotency;
mod limits;
mod operators;
mod origin;
mod problem;
mod refusals;
mod sightings;

pub use address::{ClientAddress, user_agent};
pub use body::{Form, Json, MAX_BODY};
pub use context::{Db, TenantCtx, at_apex, at_tenant};
pub use door::door;
pub use fair_use::FairUse;
pub use gate::{Doors, Host};
pub use idempotency::idempotency_key;
pub use limits::{Limits, LoginTurn, NameTurn, SignUpTurn};
pub use operators::{OPERATORS_LOGIN, OperatorsHost, operators_door};
pub use problem::{FieldProblem, Kind, Problem};
pub use refusals::Refusals;
pub use sightings::{Sight, Sighted, Sightings};

use actix_web::{HttpRequest, Route, guard, web};
use portero_kernel::{Site, TenantId};
use portero_router::Router;
use std::net::IpAddr;

/// Draws a problem as a page, for browsers.
pub type DrawProblem = fn(&HttpRequest, &Problem, request_id: &str) -> ProblemPage;

/// Whether a request bears something that this company has issued: a token, or a session's cookie. It is asked for every
/// request of a company, and does no I/O; what it verified it leaves in the request, so that nobody verifies it again.
pub type BearsOwn = fn(&HttpRequest, TenantId) -> bool;

/// A problem as a page.
pub struct ProblemPage {
    /// The page.
    pub html: String,
    /// The `Content-Security-Policy` that it is written for.
    pub policy: String,
}

/// What the pieces of this room work with; kept as `web::Data<Edge>`.
pub struct Edge {
    /// Where the platform is on the web.
    pub site: Site,
    /// Where tenants are.
    pub router: Router,
    /// Which hosts this process answers for.
    pub doors: Doors,
    /// Peers whose `X-Forwarded-For` and `X-Request-Id` are believed; the former on the operators' listener only where it has
    /// names.
    pub trusted_proxies: Vec<IpAddr>,
    /// The names, besides loopback's and IP addresses, that the operators' listener answers to; in lower case.
    pub admin_hosts: Vec<String>,
    /// How often one address may do what is expensive.
    pub limits: Limits,
    /// How much one company may ask.
    pub fair_use: FairUse,
    /// What was refused.
    pub refusals: Refusals,
    /// What of that is written down.
    pub sightings: Sightings,
    /// How problems look in a browser.
    pub page: DrawProblem,
    /// Who is one of a company's own.
    pub own: BearsOwn,
}

/// A route for reading: GET, and HEAD, which is GET without its body.
#[must_use]
pub fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}
