//! A company's pages: login, and the home page with its users.

use crate::{
    pages::{AddUser, AddUserErrors, Frame, HomePage, LoginPage, Me, UserRow},
    routes::{Visit, page_route, see_other, spoken},
    text::{Field, LoginState, Notice, Role as RoleWord},
};
use actix_web::{
    HttpRequest, HttpResponse,
    cookie::time::Duration,
    http::{StatusCode, header},
    web,
};
use portero_auth::SessionSecret;
use portero_control::Control;
use portero_edge::{Db, FieldProblem, Form, Kind, LoginTurn, Problem, TenantCtx};
use portero_kernel::{ExposeSecret, SecretString, UserId};
use portero_tenant_api::{Actor, Role, TenantApi, login, users};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;

/// Adds the routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/").route(page_route().to(home)))
        .service(web::resource("/login").route(page_route().to(login_form)).route(web::post().to(log_in)))
        .service(web::resource("/logout").route(web::post().to(log_out)))
        .service(web::resource("/welcome").route(page_route().to(welcome)))
        .service(web::resource("/users").route(web::post().to(add_user)))
        .service(web::resource("/users/{id}/role").route(web::post().to(change_role)))
        .service(web::resource("/users/{id}/disable").route(web::post().to(disable)))
        .service(web::resource("/users/{id}/enable").route(web::post().to(enable)));
}

#[derive(Deserialize)]
struct LoginQuery {
    #[serde(default)]
    state: String,
}

async fn login_form(
    visit: Visit,
    tenant: TenantCtx,
    control: web::Data<Control>,
    query: web::Query<LoginQuery>,
) -> Result<HttpResponse, Problem> {
    // Only these two may be asked for by a link.
    let state = match LoginState::from_code(&query.state) {
        Some(state @ (LoginState::LoggedOut | LoginState::Expired)) => state,
        _ => LoginState::Fresh,
    };
    login_page(&visit, &tenant, &control, StatusCode::OK, "", state)
}

#[derive(Deserialize)]
struct LogIn {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
}

async fn log_in(
    turn: Result<LoginTurn, Problem>,
    visit: Visit,
    tenant: TenantCtx,
    control: web::Data<Control>,
    api: web::Data<TenantApi>,
    request: HttpRequest,
    Form(form): Form<LogIn>,
) -> Result<HttpResponse, Problem> {
    let refused = |status, state| login_page(&visit, &tenant, &control, status, &form.email, state);
    if let Err(problem) = turn {
        let mut response = refused(StatusCode::TOO_MANY_REQUESTS, LoginState::TooManyAttempts)?;
        if let Some(secs) = problem.retry_after_secs() {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(secs));
        }
        return Ok(response);
    }
    match login::with_cookie(&api, &request, &form.email, SecretString::from(form.password.clone())).await {
        Ok(secret) => Ok(with_session(&visit, &api, &secret, see_other("/"))),
        Err(problem) if problem.kind == Kind::WrongCredentials => {
            refused(StatusCode::UNAUTHORIZED, LoginState::Refused)
        }
        Err(problem) => Err(problem),
    }
}

fn login_page(
    visit: &Visit,
    tenant: &TenantCtx,
    control: &Control,
    status: StatusCode,
    email: &str,
    state: LoginState,
) -> Result<HttpResponse, Problem> {
    let (apex, url) = (control.site().apex_url(), control.site().tenant_url(tenant.subdomain()));
    let company = tenant.name().as_str();
    let page = LoginPage {
        frame: Frame::tenant(visit.lang, &visit.path, company, &apex),
        company,
        address: spoken(&url),
        email,
        state,
    };
    visit.page(status, &page)
}

#[derive(Deserialize)]
struct Welcome {
    #[serde(default)]
    token: String,
}

/// The browser that signed up comes in, by a token that opens once.
async fn welcome(
    visit: Visit,
    api: web::Data<TenantApi>,
    query: web::Query<Welcome>,
    db: Db,
) -> Result<HttpResponse, Problem> {
    match login::with_handoff(&api, &db, &query.token).await {
        Ok(secret) => Ok(with_session(&visit, &api, &secret, visit.see_other_with("/", Notice::Welcome))),
        Err(problem) if problem.kind == Kind::Unauthorized => Ok(see_other("/login")),
        Err(problem) => Err(problem),
    }
}

fn with_session(
    visit: &Visit,
    api: &TenantApi,
    secret: &SessionSecret,
    mut response: HttpResponse,
) -> HttpResponse {
    let lasts = Duration::try_from(login::COOKIE_TTL).unwrap_or(Duration::HOUR);
    let cookie = visit.cookie(api.session_cookie(), secret.to_text().expose_secret().to_owned(), lasts);
    // The value is base64 and the name ours: always a valid header.
    let _ = response.add_cookie(&cookie);
    response
}

#[derive(Deserialize)]
struct CsrfOnly {
    #[serde(default)]
    csrf: String,
}

async fn log_out(
    request: HttpRequest,
    visit: Visit,
    api: web::Data<TenantApi>,
    Form(form): Form<CsrfOnly>,
) -> Result<HttpResponse, Problem> {
    let mut response = see_other("/login?state=logged-out");
    match Actor::of(&request).await {
        Ok(actor) => {
            check_csrf(&api, &actor, &form.csrf)?;
            login::out(&actor).await?;
        }
        Err(problem) if problem.kind == Kind::Unauthorized => {}
        Err(problem) => return Err(problem),
    }
    let _ = response.add_cookie(&visit.cookie(api.session_cookie(), String::new(), Duration::ZERO));
    Ok(response)
}

#[derive(Deserialize)]
struct HomeQuery {
    #[serde(default)]
    after: String,
}

async fn home(
    request: HttpRequest,
    visit: Visit,
    control: web::Data<Control>,
    api: web::Data<TenantApi>,
    query: web::Query<HomeQuery>,
) -> Result<HttpResponse, Problem> {
    match Actor::of(&request).await {
        Ok(actor) => {
            home_page(&visit, &control, &api, &actor, StatusCode::OK, &query.after, AddUser::default()).await
        }
        Err(problem) if problem.kind == Kind::Unauthorized => {
            let had_one = request.cookie(api.session_cookie()).is_some();
            Ok(see_other(if had_one { "/login?state=expired" } else { "/login" }))
        }
        Err(problem) => Err(problem),
    }
}

async fn home_page(
    visit: &Visit,
    control: &Control,
    api: &TenantApi,
    actor: &Actor,
    status: StatusCode,
    after: &str,
    add: AddUser<'_>,
) -> Result<HttpResponse, Problem> {
    let found = users::list(actor, after, users::PAGE).await?;
    let last_admin = users::last_admin(actor).await?;
    let texts: Vec<_> = found
        .iter()
        .map(|user| (user.id.to_string(), user.created_at.format(&Rfc3339).unwrap_or_default()))
        .collect();
    let rows = found
        .iter()
        .zip(&texts)
        .map(|(user, (id, created))| UserRow {
            id,
            email: &user.email,
            role: role_word(user.role),
            active: user.disabled_at.is_none(),
            created,
            is_me: user.id == actor.user.id,
            is_last_admin: last_admin == Some(user.id),
        })
        .collect();
    let full = i64::try_from(found.len()).is_ok_and(|count| count == users::PAGE);
    let more = found
        .last()
        .filter(|_| full)
        .and_then(|user| serde_urlencoded::to_string([("after", &user.email)]).ok());
    let more_href = more.map(|query| format!("/?{query}"));
    let apex = control.site().apex_url();
    let company = actor.tenant.name().as_str();
    let csrf = api.tokens(actor.tenant.id()).csrf_token(actor.session);
    let page = HomePage {
        // A refused POST /users shows this page: the language switch leads to where it can be looked at.
        frame: Frame::tenant(visit.lang, "/", company, &apex),
        company,
        me: Me { email: &actor.user.email, role: role_word(actor.user.role) },
        csrf: &csrf,
        users: rows,
        more_href: more_href.as_deref(),
        notice: visit.notice,
        add: (actor.user.role == Role::Admin).then_some(add),
    };
    visit.page(status, &page)
}

#[derive(Deserialize)]
struct NewUser {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    role: String,
}

async fn add_user(
    request: HttpRequest,
    visit: Visit,
    control: web::Data<Control>,
    api: web::Data<TenantApi>,
    Form(form): Form<NewUser>,
) -> Result<HttpResponse, Problem> {
    let mut actor = match admin(&request, &visit, &api, &form.csrf).await? {
        Ok(actor) => actor,
        Err(elsewhere) => return Ok(elsewhere),
    };
    match users::create(&api, &mut actor, &form.email, &form.password, &form.role).await {
        Ok(_) => Ok(visit.see_other_with("/", Notice::UserAdded)),
        Err(problem) if matches!(problem.kind, Kind::Invalid | Kind::Taken) => {
            let role = Role::parse(&form.role).map(role_word);
            let add = AddUser { email: &form.email, role, errors: add_errors(&visit, &problem.errors) };
            home_page(&visit, &control, &api, &actor, problem.kind.status(), "", add).await
        }
        Err(problem) => Err(problem),
    }
}

fn add_errors(visit: &Visit, errors: &[FieldProblem]) -> AddUserErrors {
    let mut words = AddUserErrors::default();
    for error in errors {
        let (slot, field) = match error.field.as_str() {
            "email" => (&mut words.email, Field::Email),
            "password" => (&mut words.password, Field::Password),
            _ => (&mut words.role, Field::Role),
        };
        *slot = Some(visit.lang.words().refusal(field, error.code, error.limit.unwrap_or_default()));
    }
    words
}

#[derive(Deserialize)]
struct NewRole {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    role: String,
}

async fn change_role(
    request: HttpRequest,
    visit: Visit,
    api: web::Data<TenantApi>,
    id: web::Path<String>,
    Form(form): Form<NewRole>,
) -> Result<HttpResponse, Problem> {
    let role = Role::parse(&form.role).ok_or(Problem::new(Kind::Malformed))?;
    let change = users::Change { role: Some(role), disabled: None };
    change_user(&request, &visit, &api, &id, &form.csrf, change, Notice::RoleChanged).await
}

async fn disable(
    request: HttpRequest,
    visit: Visit,
    api: web::Data<TenantApi>,
    id: web::Path<String>,
    Form(form): Form<CsrfOnly>,
) -> Result<HttpResponse, Problem> {
    let change = users::Change { role: None, disabled: Some(true) };
    change_user(&request, &visit, &api, &id, &form.csrf, change, Notice::UserDisabled).await
}

async fn enable(
    request: HttpRequest,
    visit: Visit,
    api: web::Data<TenantApi>,
    id: web::Path<String>,
    Form(form): Form<CsrfOnly>,
) -> Result<HttpResponse, Problem> {
    let change = users::Change { role: None, disabled: Some(false) };
    change_user(&request, &visit, &api, &id, &form.csrf, change, Notice::UserEnabled).await
}

async fn change_user(
    request: &HttpRequest,
    visit: &Visit,
    api: &TenantApi,
    id: &str,
    csrf: &str,
    change: users::Change,
    done: Notice,
) -> Result<HttpResponse, Problem> {
    let id: UserId = id.parse().map_err(|_| Problem::new(Kind::NotFound))?;
    let mut actor = match admin(request, visit, api, csrf).await? {
        Ok(actor) => actor,
        Err(elsewhere) => return Ok(elsewhere),
    };
    match users::change(&mut actor, id, change).await {
        Ok(_) => Ok(visit.see_other_with("/", done)),
        Err(problem) if problem.kind == Kind::LastAdmin => Ok(visit.see_other_with("/", Notice::LastAdmin)),
        Err(problem) if problem.kind == Kind::NotFound => Ok(visit.see_other_with("/", Notice::UserGone)),
        Err(problem) => Err(problem),
    }
}

/// The admin who sent a form, or where to send whoever it was instead.
async fn admin(
    request: &HttpRequest,
    visit: &Visit,
    api: &TenantApi,
    csrf: &str,
) -> Result<Result<Actor, HttpResponse>, Problem> {
    match Actor::of(request).await {
        Ok(actor) => {
            check_csrf(api, &actor, csrf)?;
            let allowed = actor.user.role == Role::Admin;
            Ok(if allowed { Ok(actor) } else { Err(visit.see_other_with("/", Notice::NotAllowed)) })
        }
        Err(problem) if problem.kind == Kind::Unauthorized => Ok(Err(see_other("/login?state=expired"))),
        Err(problem) => Err(problem),
    }
}

/// The form was made for this very session.
fn check_csrf(api: &TenantApi, actor: &Actor, csrf: &str) -> Result<(), Problem> {
    let ours = api.tokens(actor.tenant.id()).csrf_matches(actor.session, csrf);
    if ours { Ok(()) } else { Err(Problem::new(Kind::CrossOrigin)) }
}

fn role_word(role: Role) -> RoleWord {
    match role {
        Role::Admin => RoleWord::Admin,
        Role::Member => RoleWord::Member,
    }
}
