//! The control plane's JSON door on the apex: sign up, watch a job, ask whether a name is free.
//!
//! The rules are `control`'s; this room knows no SQL and no HTML.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use portero_control::{Actor, Control, FieldNames, SignUp, SignUpError};
use portero_edge::{ClientAddress, Json, Kind, Problem, SignUpTurn, read, user_agent};
use portero_kernel::{JobId, Refusal, TenantId};
use serde::{Deserialize, Serialize};

/// Adds the routes, for the apex.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/api/v1/tenants").route(web::post().to(create_tenant)))
        .service(web::resource("/api/v1/jobs/{job}").route(read().to(get_job)))
        .service(web::resource("/api/v1/subdomains/{name}").route(read().to(get_subdomain)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTenant {
    name: String,
    subdomain: String,
    admin: NewAdmin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAdmin {
    email: String,
    password: String,
}

#[derive(Serialize)]
struct TenantWire<'a> {
    id: TenantId,
    name: &'a str,
    subdomain: &'a str,
    status: &'static str,
    url: &'a str,
    job: JobId,
}

async fn create_tenant(
    _turn: SignUpTurn,
    request: HttpRequest,
    control: web::Data<Control>,
    Json(body): Json<NewTenant>,
) -> Result<HttpResponse, Problem> {
    let form = SignUp {
        company: &body.name,
        subdomain: &body.subdomain,
        email: &body.admin.email,
        password: &body.admin.password,
    };
    let control = control.by(newcomer(&request));
    let signed_up = control.sign_up(&form, FieldNames::API, None).await.map_err(problem)?;
    let wire = TenantWire {
        id: signed_up.tenant,
        name: signed_up.company.as_str(),
        subdomain: signed_up.subdomain.as_str(),
        status: "provisioning",
        url: &signed_up.url,
        job: signed_up.job,
    };
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, format!("/api/v1/jobs/{}", signed_up.job)))
        .json(wire))
}

async fn get_job(control: web::Data<Control>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let id: JobId = id.parse().map_err(|_| Problem::new(Kind::NotFound))?;
    let job = control.job(id).await?.ok_or(Problem::new(Kind::NotFound))?;
    Ok(HttpResponse::Ok().json(job))
}

/// Who signs up, for the audit log.
#[must_use]
pub fn newcomer(request: &HttpRequest) -> Actor {
    Actor::SignUp { address: Some(ClientAddress::of(request).0), agent: user_agent(request) }
}

#[derive(Serialize)]
struct Availability {
    available: bool,
    /// The stable name of why not.
    reason: Option<&'static str>,
}

async fn get_subdomain(
    control: web::Data<Control>,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let refusal = control.subdomain_refusal(&name).await?;
    Ok(HttpResponse::Ok()
        .json(Availability { available: refusal.is_none(), reason: refusal.map(Refusal::code) }))
}

/// What a client reads of a sign-up that was not taken on.
fn problem(error: SignUpError) -> Problem {
    match error {
        SignUpError::Invalid(errors) => Problem::invalid(errors),
        SignUpError::Taken(_) => Problem::taken("subdomain"),
        SignUpError::Closed => Problem::new(Kind::SignUpsClosed),
        SignUpError::Busy => Problem::new(Kind::Overloaded),
        SignUpError::NoServer => Problem::new(Kind::RegistryUnavailable),
        SignUpError::Registry(error) => error.into(),
    }
}
