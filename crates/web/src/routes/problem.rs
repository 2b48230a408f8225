//! Problems as pages, for browsers.

use crate::{
    Template,
    pages::{Action, Frame, MessagePage},
    routes::Visit,
    text::{Problem as Words, Way},
};
use actix_web::{HttpMessage, HttpRequest, http::Method, web};
use portero_edge::{Edge, Host, Kind, OPERATORS_LOGIN, OperatorsHost, Problem, ProblemPage, TenantCtx};

/// Draws a problem as a page in the visitor's language.
#[must_use]
pub fn problem_page(request: &HttpRequest, problem: &Problem, request_id: &str) -> ProblemPage {
    let visit = Visit::of(request);
    let edge = request.app_data::<web::Data<Edge>>();
    let apex = edge.map(|edge| edge.site.apex_url()).unwrap_or_default();
    let tenant = TenantCtx::of(request).ok();
    let words = words_for(problem.kind);
    let console = OperatorsHost::of(request).is_some();
    let frame = match &tenant {
        // Whoever may not be here is shown no way further in.
        None if console && !is_shut_out(problem.kind) => visit.console(&visit.path, None, None),
        Some(tenant) => Frame::tenant(visit.lang, &visit.path, tenant.name().as_str(), &apex),
        None => Frame::elsewhere(visit.lang, &visit.path, &apex),
    };
    let signup = format!("{apex}/signup");
    let action = match problem.kind {
        Kind::Unauthorized if console => Some(Action { way: Way::Login, href: OPERATORS_LOGIN }),
        Kind::TenantNotFound | Kind::LinkSpent => Some(Action { way: Way::Signup, href: &signup }),
        Kind::Unauthorized | Kind::WrongCredentials => Some(Action { way: Way::Login, href: "/login" }),
        Kind::HostInvalid | Kind::TenantDeleted => Some(Action { way: Way::Home, href: &apex }),
        Kind::NotServedHere => Some(Action { way: Way::Retry, href: &visit.path }),
        // At a former address this leads to the new one.
        Kind::TenantMoved => Some(Action { way: Way::Home, href: "/" }),
        _ if problem.retry_after_secs().is_some() => Some(Action { way: Way::Retry, href: &visit.path }),
        _ => Some(Action { way: Way::Home, href: "/" }),
    };
    let refresh_secs = match problem.kind {
        Kind::TenantProvisioning => Some(1),
        // What was sent is not sent again by itself.
        Kind::TenantUpgrading if matches!(*request.method(), Method::GET | Method::HEAD) => Some(5),
        _ => None,
    };
    let shows_id = problem.kind.status().is_server_error();
    // Nobody's address is shown over the shut door, with the port that browsers see; it is a host name, with nothing in it
    // to mistrust.
    let port = edge.and_then(|edge| edge.site.port).map(|port| format!(":{port}")).unwrap_or_default();
    let nobodys = request
        .extensions()
        .get::<Host>()
        .filter(|_| problem.kind == Kind::TenantNotFound)
        .map(|host| host.0.to_string() + &port);
    let page = MessagePage {
        frame,
        problem: words,
        address: nobodys.as_deref(),
        action,
        request_id: shows_id.then_some(request_id),
        refresh_secs,
    };
    // Rendering writes to a string and has nothing to fail at; the plain title stands in if it does.
    let html = page.render().unwrap_or_else(|_| problem.kind.title().to_owned());
    ProblemPage { html, policy: visit.policy }
}

const fn is_shut_out(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::HostInvalid | Kind::Misdirected | Kind::NotServedHere | Kind::CrossOrigin | Kind::Unauthorized
    )
}

fn words_for(kind: Kind) -> Words {
    match kind {
        Kind::HostInvalid | Kind::Misdirected => Words::HostInvalid,
        Kind::NotServedHere => Words::NotServedHere,
        Kind::TenantNotFound => Words::TenantNotFound,
        Kind::TenantProvisioning => Words::TenantProvisioning,
        Kind::TenantUpgrading => Words::TenantUpgrading,
        Kind::TenantPaused => Words::TenantPaused,
        Kind::TenantDeleted => Words::TenantDeleted,
        Kind::TenantMoved => Words::TenantMoved,
        Kind::TenantDatabaseUnavailable => Words::TenantDatabaseUnavailable,
        Kind::TenantBusy | Kind::Overloaded => Words::TenantBusy,
        Kind::TenantRateLimited => Words::TenantRateLimited,
        Kind::RegistryUnavailable => Words::Unavailable,
        Kind::NotFound => Words::NotFound,
        Kind::MethodNotAllowed => Words::MethodNotAllowed,
        Kind::Unauthorized | Kind::WrongCredentials | Kind::Forbidden => Words::Forbidden,
        Kind::CrossOrigin => Words::CrossSite,
        Kind::SignUpsClosed => Words::SignupClosed,
        Kind::InvitationNeeded => Words::InvitationNeeded,
        Kind::LinkSpent => Words::LinkSpent,
        Kind::TooLarge => Words::TooLarge,
        Kind::TooManyRequests => Words::TooManyRequests,
        Kind::Taken
        | Kind::Conflict
        | Kind::LastAdmin
        | Kind::Invalid
        | Kind::KeyReused
        | Kind::Malformed
        | Kind::TooSlow
        | Kind::UnsupportedMediaType => Words::BadRequest,
        Kind::Internal => Words::Internal,
    }
}
