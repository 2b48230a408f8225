//! The one layer around everything: whose door is this, may this page ask, a request id, the headers that every answer
//! bears, and problems in the form their reader wants. One layer rather than three, since each costs on every request.

use crate::{
    ClientAddress, Edge, Kind, Problem,
    context::Here,
    fair_use::{Place, Who},
    gate, origin,
};
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::sleep;
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// For every answer that doesn't say otherwise. A page brings a policy of its own; anything else loads nothing at all.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not `no-referrer`: under it browsers send `Origin: null` with our own forms.
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Wraps everything else: lets a request pass to the apex or to an open tenant's door, if it doesn't come from a page of
/// another origin, and finishes its answer. What went wrong becomes an answer here.
///
/// # Errors
/// None of the layers inside fails: each answers. (The request can't be kept for it: actix needs it undivided.)
pub async fn door<B: MessageBody + 'static>(
    edge: web::Data<Edge>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let began = Instant::now();
    let request_id = request_id(request.request());
    let opened = match gate::open(&edge, request.request()) {
        // Boxed: few requests come this way, and what is in here is part of every one.
        Err(problem) if problem.kind == Kind::TenantUpgrading => {
            Box::pin(gate::hold(&edge, request.request())).await
        }
        opened => opened,
    };
    // Held until the request is answered, or dropped.
    let place = match admit(&edge, request.request(), opened) {
        Ok(place) => place,
        Err(problem) => {
            slow_down(&problem).await;
            return Ok(answer_with(&edge, request.into_parts().0, &problem, None, &request_id, began));
        }
    };
    let answered = next.call(request).await?;
    let Some(problem) = problem_in(&answered) else {
        return Ok(sealed(answered.map_into_left_body(), &request_id, began));
    };
    edge.refusals.problem(problem.kind);
    drop(place);
    slow_down(&problem).await;
    let allow = answered.headers().get(header::ALLOW).cloned();
    Ok(answer_with(&edge, answered.into_parts().0, &problem, allow, &request_id, began))
}

/// Lets somebody who asks too much wait for the refusal, which costs us next to nothing. One who would ask again at once,
/// a thousand times over, would otherwise take from everybody what refusing costs.
async fn slow_down(problem: &Problem) {
    const PATIENCE: Duration = Duration::from_millis(500);
    if matches!(problem.kind, Kind::TenantBusy | Kind::TenantRateLimited) {
        sleep(PATIENCE).await;
    }
}

/// Whether the request may pass: what the gate said, then where it comes from, then its company's limits.
fn admit<'a>(
    edge: &'a Edge,
    request: &HttpRequest,
    opened: Result<(), Problem>,
) -> Result<Option<Place<'a>>, Problem> {
    opened
        .and_then(|()| origin::check(edge, request))
        .inspect_err(|problem| edge.refusals.problem(problem.kind))?;
    let tenant = match request.extensions().get::<Here>() {
        Some(Here::Tenant(route)) if !request.path().starts_with(gate::STATIC) => route.tenant,
        _ => return Ok(None),
    };
    if !edge.fair_use.is_limited() {
        return Ok(None);
    }
    let who = if (edge.own)(request, tenant) { Who::Own } else { Who::Stranger };
    edge.fair_use.enter(tenant, who).map_err(|unfair| {
        edge.refusals.unfair(unfair);
        Problem::from(unfair)
    })
}

/// What went wrong, where something did that is not told yet.
pub(crate) fn problem_in<B>(answered: &ServiceResponse<B>) -> Option<Problem> {
    let status = answered.status();
    let bare = (status.is_client_error() || status.is_server_error()) && !has_body(answered.headers());
    match answered.response().error() {
        Some(error) => Some(problem_of(error)),
        None if bare => Some(Problem::from_status(status)),
        None => None,
    }
}

pub(crate) fn answer_with<B>(
    edge: &Edge,
    request: HttpRequest,
    problem: &Problem,
    allow: Option<HeaderValue>,
    request_id: &str,
    began: Instant,
) -> ServiceResponse<EitherBody<B, BoxBody>> {
    edge.sightings.problem(problem.kind, &request);
    let cause = problem.cause.as_deref();
    match problem.kind.status() {
        StatusCode::INTERNAL_SERVER_ERROR => {
            tracing::error!(request_id, path = request.path(), cause, "a request failed on our side");
        }
        StatusCode::SERVICE_UNAVAILABLE if cause.is_some() => {
            if let Some(others) = edge.refusals.to_tell(problem.kind) {
                let problem = problem.kind.code();
                tracing::warn!(request_id, problem, cause, others, "a request could not be served");
            }
        }
        StatusCode::FORBIDDEN => {
            tracing::info!(
                request_id,
                problem = problem.kind.code(),
                path = request.path(),
                "a request was refused"
            );
        }
        _ => {}
    }
    let mut response = draw(edge, &request, problem, request_id);
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    sealed(ServiceResponse::new(request, response).map_into_right_body(), request_id, began)
}

/// Answers of handlers that already wrote what their reader wants bear a content type.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_TYPE)
}

fn problem_of(error: &Error) -> Problem {
    error.as_error::<Problem>().cloned().unwrap_or_else(|| {
        let cause = Some(error.to_string());
        Problem { cause, ..Problem::from_status(error.as_response_error().status_code()) }
    })
}

fn draw(edge: &Edge, request: &HttpRequest, problem: &Problem, request_id: &str) -> HttpResponse {
    if let Some(url) = &problem.instead {
        return HttpResponse::PermanentRedirect().insert_header((header::LOCATION, url.as_str())).finish();
    }
    let bare = actix_web::ResponseError::error_response(problem);
    let mut response = HttpResponseBuilder::new(bare.status());
    for header in bare.headers() {
        response.insert_header(header);
    }
    if wants_page(request) {
        let page = (edge.page)(request, problem, request_id);
        response
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, page.policy))
            .body(page.html)
    } else {
        response.content_type("application/problem+json").body(problem.to_json(request_id))
    }
}

/// Browsers get pages, except for the API.
pub(crate) fn wants_page(request: &HttpRequest) -> bool {
    let accepts_html = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    accepts_html && !["/api/", "/admin/"].iter().any(|programs| request.path().starts_with(programs))
}

pub(crate) fn sealed<B>(
    mut response: ServiceResponse<B>,
    request_id: &str,
    began: Instant,
) -> ServiceResponse<B> {
    let tenant = match response.request().extensions().get::<Here>() {
        Some(Here::Tenant(route)) => Some(route.tenant),
        _ => None,
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    let request = response.request();
    tracing::debug!(
        request_id,
        tenant = tenant.map(tracing::field::display),
        method = %request.method(),
        path = request.path(),
        status = response.status().as_u16(),
        micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

/// A trusted proxy's, so that both logs tell one story; otherwise a new one: this process's random half, and a count.
pub(crate) fn request_id(request: &HttpRequest) -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| Uuid::new_v4().as_u64_pair().0);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    request
        .headers()
        .get(&REQUEST_ID)
        .filter(|_| ClientAddress::peer_is_trusted(request))
        .and_then(|id| id.to_str().ok())
        .filter(|id| {
            (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
        .map_or_else(
            || format!("{:016x}{:016x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed)),
            str::to_owned,
        )
}
