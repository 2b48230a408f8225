//! The control plane's JSON door on the apex: sign up, watch a job, ask whether a name is free.
//!
//! The rules are `control`'s; this room knows no SQL and no HTML.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use portero_control::{
    Actor, Asking, Control, FieldNames, RequestKey, SignUp, SignUpError, SignUpMode, SignUpOutcome,
};
use portero_edge::{
    ClientAddress, Json, Kind, NameTurn, Problem, SignUpTurn, idempotency_key, read, user_agent,
};
use portero_kernel::{FieldError, JobId, Refusal, TenantId};
use serde::{Deserialize, Deserializer, Serialize};

/// After how many seconds another try makes sense where too many companies are being made.
const BUSY_SECS: u64 = 5;

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
    /// What an invitation's link carries, where one is needed.
    invitation: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAdmin {
    email: String,
    /// Not where a mail confirms: it is chosen behind the mail's link.
    #[serde(default, deserialize_with = "there")]
    password: Option<String>,
}

/// What may be missing, and is what it should be where it isn't.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

#[derive(Serialize)]
struct TenantWire<'a> {
    /// Nothing before the company was confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<TenantId>,
    name: &'a str,
    subdomain: &'a str,
    status: &'static str,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobId>,
}

async fn create_tenant(
    _turn: SignUpTurn,
    address: ClientAddress,
    request: HttpRequest,
    control: web::Data<Control>,
    Json(body): Json<NewTenant>,
) -> Result<HttpResponse, Problem> {
    if body.admin.password.is_none() && control.sign_up_mode() != SignUpMode::Confirm {
        let missing = FieldError { field: FieldNames::API.password, refusal: Refusal::Required };
        return Err(Problem::invalid(vec![missing]));
    }
    let form = SignUp {
        company: &body.name,
        subdomain: &body.subdomain,
        email: &body.admin.email,
        password: body.admin.password.as_deref().unwrap_or_default(),
    };
    let key = idempotency_key(&request, RequestKey::parse)?;
    let asking = Asking {
        key: key.as_ref(),
        network: address.network(),
        invitation: body.invitation.as_deref(),
        lang: language(&request),
        claim: None,
    };
    let control = control.by(newcomer(&request));
    match control.sign_up(&form, FieldNames::API, &asking).await.map_err(problem)? {
        SignUpOutcome::Begun(begun) => {
            let wire = TenantWire {
                id: Some(begun.tenant),
                name: begun.company.as_str(),
                subdomain: begun.subdomain.as_str(),
                status: "provisioning",
                url: &begun.url,
                job: Some(begun.job),
            };
            Ok(HttpResponse::Accepted()
                .insert_header((header::LOCATION, format!("/api/v1/jobs/{}", begun.job)))
                .json(wire))
        }
        SignUpOutcome::MailSent(awaited) => Ok(HttpResponse::Accepted().json(TenantWire {
            id: None,
            name: awaited.company.as_str(),
            subdomain: awaited.subdomain.as_str(),
            status: "awaiting-confirmation",
            url: &awaited.url,
            job: None,
        })),
    }
}

/// Of the mail that asks to confirm: what the client asks for first, of the two there are.
fn language(request: &HttpRequest) -> &'static str {
    let wished = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    if wished.is_some_and(|wished| wished.trim().to_ascii_lowercase().starts_with("es")) {
        "es"
    } else {
        "en"
    }
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
    _turn: NameTurn,
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
        SignUpError::Taken(_) | SignUpError::LookAlike(..) => Problem::taken("subdomain"),
        SignUpError::InvitationNeeded => Problem::new(Kind::InvitationNeeded),
        SignUpError::LinkSpent => Problem::new(Kind::LinkSpent),
        SignUpError::KeyReused => Problem::new(Kind::KeyReused),
        SignUpError::TooManyWaiting => Problem::new(Kind::TooManyRequests).wait(3600),
        SignUpError::Closed => Problem::new(Kind::SignUpsClosed),
        SignUpError::Busy => Problem::new(Kind::Overloaded).wait(BUSY_SECS),
        SignUpError::NoServer => Problem::new(Kind::RegistryUnavailable),
        SignUpError::Registry(error) => error.into(),
    }
}
