//! How operators log in to the console, and out, and what its pages fetch. These are routes of the operators' listener.

use super::{Visit, see_other, static_file};
use crate::pages::{Frame, OperatorLoginPage, OperatorLoginState};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{HeaderValue, RETRY_AFTER},
    },
    web,
};
use portero_admin_api::AdminApi;
use portero_edge::{Form, Kind, OPERATORS_LOGIN, Problem, read};
use serde::Deserialize;

/// Where the link leads that logs one in once: with `key=` in its query.
pub const ENTER: &str = "/console/enter";
const LOGOUT: &str = "/console/logout";
/// Where one is after logging in.
const FRONT: &str = "/";

/// Adds the console's routes, and those that an operator needs before there is one: the login, and what its page fetches.
pub fn configure_operators(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/static/{name}").route(read().to(static_file)))
        .service(web::resource(OPERATORS_LOGIN).route(read().to(login_form)).route(web::post().to(log_in)))
        .service(web::resource(ENTER).route(web::get().to(enter)))
        .service(web::resource(LOGOUT).route(web::post().to(log_out)))
        .configure(super::console::configure);
}

async fn login_form(visit: Visit) -> Result<HttpResponse, Problem> {
    login_page(&visit, StatusCode::OK, OperatorLoginState::Fresh)
}

fn login_page(visit: &Visit, status: StatusCode, state: OperatorLoginState) -> Result<HttpResponse, Problem> {
    visit.page(status, &OperatorLoginPage { frame: Frame::apex(visit.lang, OPERATORS_LOGIN), state })
}

#[derive(Deserialize)]
struct LogIn {
    #[serde(default)]
    token: String,
}

async fn log_in(
    visit: Visit,
    request: HttpRequest,
    api: web::Data<AdminApi>,
    Form(form): Form<LogIn>,
) -> Result<HttpResponse, Problem> {
    match api.log_in(&request, &form.token).await {
        Ok(cookie) => {
            let mut response = see_other(FRONT);
            let _ = response.add_cookie(&cookie);
            Ok(response)
        }
        Err(problem) if problem.kind == Kind::WrongCredentials => {
            login_page(&visit, StatusCode::UNAUTHORIZED, OperatorLoginState::Refused)
        }
        Err(problem) if problem.kind == Kind::TooManyRequests => {
            let mut response =
                login_page(&visit, StatusCode::TOO_MANY_REQUESTS, OperatorLoginState::TooMany)?;
            if let Some(secs) = problem.retry_after_secs() {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
            }
            Ok(response)
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Deserialize)]
struct Enter {
    #[serde(default)]
    key: String,
}

/// A link that was used leads to the login, or, for a browser that is logged in, on to the console.
async fn enter(
    request: HttpRequest,
    api: web::Data<AdminApi>,
    query: web::Query<Enter>,
) -> Result<HttpResponse, Problem> {
    let mut response = see_other(FRONT);
    match api.enter(&request, &query.key).await {
        Ok(cookie) => {
            let _ = response.add_cookie(&cookie);
        }
        Err(problem) if problem.kind == Kind::Unauthorized => {}
        Err(problem) => return Err(problem),
    }
    Ok(response)
}

async fn log_out(request: HttpRequest, api: web::Data<AdminApi>) -> Result<HttpResponse, Problem> {
    let mut response = see_other(OPERATORS_LOGIN);
    let _ = response.add_cookie(&api.log_out(&request).await?);
    Ok(response)
}
