//! The JSON API that every tenant has.

use crate::{
    Actor, Admin, Role, TenantApi, User, login,
    ping::{self, Nonce},
    settings::{self, Settings},
    users,
};
use actix_web::{HttpRequest, HttpResponse, web};
use portero_edge::{Db, Json, Kind, LoginTurn, Problem, TenantCtx, read};
use portero_kernel::{SecretString, TenantId, UserId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Adds the routes, for tenants' hosts.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/api/v1/ping").route(read().to(get_ping)))
        .service(web::resource("/api/v1/auth/login").route(web::post().to(log_in)))
        .service(web::resource("/api/v1/auth/logout").route(web::post().to(log_out)))
        .service(web::resource("/api/v1/me").route(read().to(me)))
        .service(
            web::resource("/api/v1/users").route(read().to(list_users)).route(web::post().to(create_user)),
        )
        .service(
            web::resource("/api/v1/users/{id}")
                .route(read().to(get_user))
                .route(web::patch().to(change_user))
                .route(web::delete().to(remove_user)),
        )
        .service(
            web::resource("/api/v1/settings")
                .route(read().to(get_settings))
                .route(web::put().to(put_settings)),
        );
}

#[derive(Deserialize)]
struct AskPing {
    nonce: Option<String>,
}

#[derive(Serialize)]
struct Ping<'a> {
    status: &'static str,
    tenant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

/// What is asked is looked at first: a nonce that is refused takes no connection.
async fn get_ping(
    tenant: TenantCtx,
    request: HttpRequest,
    web::Query(asked): web::Query<AskPing>,
) -> Result<HttpResponse, Problem> {
    let nonce = asked.nonce.map(Nonce::parse).transpose()?;
    let db = Db::of(&request).await?;
    let nonce = match nonce {
        Some(nonce) => Some(ping::echo(&db, tenant.id(), &nonce).await?),
        None => {
            ping::answers(&db).await?;
            None
        }
    };
    Ok(HttpResponse::Ok().json(Ping { status: "ok", tenant: tenant.subdomain().as_str(), nonce }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIn {
    email: String,
    password: String,
}

#[derive(Serialize)]
struct Token {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
}

async fn log_in(
    _turn: LoginTurn,
    request: HttpRequest,
    api: web::Data<TenantApi>,
    Json(body): Json<LogIn>,
) -> Result<HttpResponse, Problem> {
    let access_token =
        login::with_token(&api, &request, &body.email, SecretString::from(body.password)).await?;
    Ok(HttpResponse::Ok().json(Token {
        access_token,
        token_type: "Bearer",
        expires_in: login::TOKEN_TTL.as_secs(),
    }))
}

async fn log_out(actor: Actor) -> Result<HttpResponse, Problem> {
    login::out(&actor).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Serialize)]
struct Me<'a> {
    user: MeUser<'a>,
    tenant: MeTenant<'a>,
}

#[derive(Serialize)]
struct MeUser<'a> {
    id: UserId,
    email: &'a str,
    role: Role,
}

#[derive(Serialize)]
struct MeTenant<'a> {
    id: TenantId,
    name: &'a str,
    subdomain: &'a str,
}

async fn me(actor: Actor) -> HttpResponse {
    let (user, tenant) = (&actor.user, &actor.tenant);
    HttpResponse::Ok().json(Me {
        user: MeUser { id: user.id, email: &user.email, role: user.role },
        tenant: MeTenant {
            id: tenant.id(),
            name: tenant.name().as_str(),
            subdomain: tenant.subdomain().as_str(),
        },
    })
}

#[derive(Serialize)]
struct UserWire {
    id: UserId,
    email: String,
    role: Role,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    disabled: bool,
}

impl From<User> for UserWire {
    fn from(user: User) -> Self {
        Self {
            id: user.id,
            email: user.email,
            role: user.role,
            created_at: user.created_at,
            disabled: user.disabled_at.is_some(),
        }
    }
}

#[derive(Serialize)]
struct UserPage {
    users: Vec<UserWire>,
    /// What to send as `after` for the next page; nothing on the last.
    next: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    after: String,
    limit: Option<i64>,
}

async fn list_users(Admin(actor): Admin, page: web::Query<Page>) -> Result<HttpResponse, Problem> {
    let limit = page.limit.unwrap_or(users::PAGE).clamp(1, users::PAGE);
    let found = users::list(&actor, &page.after, limit).await?;
    let full = i64::try_from(found.len()).is_ok_and(|count| count == limit);
    let next = found.last().filter(|_| full).map(|user| user.email.clone());
    Ok(HttpResponse::Ok().json(UserPage { users: found.into_iter().map(UserWire::from).collect(), next }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    email: String,
    password: String,
    role: String,
}

async fn create_user(
    api: web::Data<TenantApi>,
    request: HttpRequest,
    Json(body): Json<NewUser>,
) -> Result<HttpResponse, Problem> {
    let user = users::create(&api, &request, &body.email, &body.password, &body.role).await?;
    Ok(HttpResponse::Created()
        .insert_header(("Location", format!("/api/v1/users/{}", user.id)))
        .json(UserWire::from(user)))
}

async fn get_user(Admin(actor): Admin, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let user = users::get(&actor, user_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(UserWire::from(user)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeUser {
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    disabled: Option<bool>,
}

async fn change_user(
    request: HttpRequest,
    id: web::Path<String>,
    Json(body): Json<ChangeUser>,
) -> Result<HttpResponse, Problem> {
    let Admin(mut actor) = Admin::of(&request).await?;
    let change = users::Change { role: body.role, disabled: body.disabled };
    let user = users::change(&mut actor, user_id(&id)?, change).await?;
    Ok(HttpResponse::Ok().json(UserWire::from(user)))
}

async fn remove_user(Admin(mut actor): Admin, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    users::remove(&mut actor, user_id(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn get_settings(actor: Actor) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(settings::read(&actor.db).await?))
}

async fn put_settings(request: HttpRequest, Json(new): Json<Settings>) -> Result<HttpResponse, Problem> {
    let Admin(actor) = Admin::of(&request).await?;
    settings::write(&actor, new).await?;
    Ok(HttpResponse::Ok().json(new))
}

/// What isn't an id is nobody's.
fn user_id(text: &str) -> Result<UserId, Problem> {
    text.parse().map_err(|_| Problem::new(Kind::NotFound))
}
