//! A company's door: login, logout, and the way in for who has just signed up. The page behind it is in `people.rs`.

use crate::{
    pages::{Frame, LoginPage},
    routes::{Visit, see_other, spoken},
    text::{LoginState, Notice},
};
use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    cookie::time::Duration,
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use portero_auth::SessionSecret;
use portero_control::Control;
use portero_edge::{Db, Form, Kind, LoginTurn, Problem, TenantCtx, read};
use portero_kernel::{ExposeSecret, SecretString};
use portero_tenant_api::{Actor, TenantApi, login};
use serde::Deserialize;
use std::future::{Ready, ready};

/// Adds the routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/login").route(read().to(login_form)).route(web::post().to(log_in)))
        .service(web::resource("/logout").route(web::post().to(log_out)))
        .service(web::resource("/welcome").route(read().to(welcome)));
}

/// What every page of a company works with.
pub(super) struct Desk {
    pub(super) request: HttpRequest,
    pub(super) visit: Visit,
    pub(super) control: web::Data<Control>,
    pub(super) api: web::Data<TenantApi>,
}

impl FromRequest for Desk {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let parts = (request.app_data().cloned(), request.app_data().cloned());
        ready(match parts {
            (Some(control), Some(api)) => {
                Ok(Self { request: request.clone(), visit: Visit::of(request), control, api })
            }
            _ => Err(Problem::internal("the pages are not configured")),
        })
    }
}

impl Desk {
    /// Who is logged in; nobody is no error.
    pub(super) async fn actor(&self) -> Result<Option<Actor>, Problem> {
        match Actor::of(&self.request).await {
            Ok(actor) => Ok(Some(actor)),
            Err(problem) if problem.kind == Kind::Unauthorized => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// The form was made for this very session.
    pub(super) fn check_csrf(&self, actor: &Actor, csrf: &str) -> Result<(), Problem> {
        let ours = self.api.tokens(actor.tenant.id()).csrf_matches(actor.session, csrf);
        if ours { Ok(()) } else { Err(Problem::new(Kind::CrossOrigin)) }
    }

    fn login_page(
        &self,
        status: StatusCode,
        email: &str,
        state: LoginState,
    ) -> Result<HttpResponse, Problem> {
        let tenant = TenantCtx::of(&self.request)?;
        let site = self.control.site();
        let (apex, url) = (site.apex_url(), site.tenant_url(tenant.subdomain()));
        let company = tenant.name().as_str();
        let page = LoginPage {
            frame: Frame::tenant(self.visit.lang, &self.visit.path, company, &apex),
            company,
            address: spoken(&url),
            email,
            state,
        };
        self.visit.page(status, &page)
    }

    /// Lets the browser be known at its next login to this account.
    fn known_as(&self, email: &str, mut response: HttpResponse) -> Result<HttpResponse, Problem> {
        let device = login::device(&self.api, TenantCtx::of(&self.request)?.id(), email);
        // Base64 as well.
        let _ =
            response.add_cookie(&self.visit.cookie(self.api.device_cookie(), device, Duration::days(365)));
        Ok(response)
    }

    fn with_session(&self, secret: &SessionSecret, mut response: HttpResponse) -> HttpResponse {
        let lasts = Duration::try_from(login::COOKIE_TTL).unwrap_or(Duration::HOUR);
        let value = secret.to_text().expose_secret().to_owned();
        // The value is base64 and the name ours: always a valid header.
        let _ = response.add_cookie(&self.visit.cookie(self.api.session_cookie(), value, lasts));
        response
    }
}

#[derive(Deserialize)]
struct LoginQuery {
    #[serde(default)]
    state: String,
}

async fn login_form(desk: Desk, query: web::Query<LoginQuery>) -> Result<HttpResponse, Problem> {
    // Only these two may be asked for by a link.
    let state = match LoginState::from_code(&query.state) {
        Some(state @ (LoginState::LoggedOut | LoginState::Expired)) => state,
        _ => LoginState::Fresh,
    };
    desk.login_page(StatusCode::OK, "", state)
}

#[derive(Deserialize)]
struct LogIn {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
}

fn too_many(desk: &Desk, email: &str, problem: &Problem) -> Result<HttpResponse, Problem> {
    let mut response = desk.login_page(StatusCode::TOO_MANY_REQUESTS, email, LoginState::TooManyAttempts)?;
    if let Some(secs) = problem.retry_after_secs() {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(secs));
    }
    Ok(response)
}

async fn log_in(
    turn: Result<LoginTurn, Problem>,
    desk: Desk,
    Form(form): Form<LogIn>,
) -> Result<HttpResponse, Problem> {
    if let Err(problem) = turn {
        return too_many(&desk, &form.email, &problem);
    }
    let password = SecretString::from(form.password);
    match login::with_cookie(&desk.api, &desk.request, &form.email, password).await {
        Ok(secret) => Ok(desk.known_as(&form.email, desk.with_session(&secret, see_other("/")))?),
        Err(problem) if problem.kind == Kind::TooManyRequests => too_many(&desk, &form.email, &problem),
        Err(problem) if problem.kind == Kind::WrongCredentials => {
            desk.login_page(StatusCode::UNAUTHORIZED, &form.email, LoginState::Refused)
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Deserialize)]
struct Welcome {
    #[serde(default)]
    token: String,
}

/// The browser that signed up comes in, by a token that opens once.
async fn welcome(desk: Desk, query: web::Query<Welcome>, db: Db) -> Result<HttpResponse, Problem> {
    match login::with_handoff(&desk.api, &db, &query.token).await {
        Ok(secret) => Ok(desk.with_session(&secret, desk.visit.see_other_with("/", Notice::Welcome))),
        Err(problem) if problem.kind == Kind::Unauthorized => Ok(see_other("/login")),
        Err(problem) => Err(problem),
    }
}

#[derive(Deserialize)]
pub(super) struct CsrfOnly {
    #[serde(default)]
    pub(super) csrf: String,
}

async fn log_out(desk: Desk, Form(form): Form<CsrfOnly>) -> Result<HttpResponse, Problem> {
    if let Some(actor) = desk.actor().await? {
        desk.check_csrf(&actor, &form.csrf)?;
        login::out(&actor).await?;
    }
    let mut response = see_other("/login?state=logged-out");
    let gone = desk.visit.cookie(desk.api.session_cookie(), String::new(), Duration::ZERO);
    let _ = response.add_cookie(&gone);
    Ok(response)
}
