//! The page behind a company's door: its people, and for admins the ways to look after them.

use crate::{
    pages::{AddUser, AddUserErrors, Frame, HomePage, Me, UserRow},
    routes::{
        see_other,
        tenant::{CsrfOnly, Desk},
    },
    text::{Field, Notice, Role as RoleWord},
};
use actix_web::{HttpResponse, http::StatusCode, web};
use portero_edge::{FieldProblem, Form, Kind, Problem, read};
use portero_kernel::UserId;
use portero_tenant_api::{Actor, Role, users};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;

/// Adds the routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/").route(read().to(home)))
        .service(web::resource("/users").route(web::post().to(add_user)))
        .service(web::resource("/users/{id}/role").route(web::post().to(change_role)))
        .service(web::resource("/users/{id}/disable").route(web::post().to(disable)))
        .service(web::resource("/users/{id}/enable").route(web::post().to(enable)));
}

#[derive(Deserialize)]
struct HomeQuery {
    #[serde(default)]
    after: String,
}

async fn home(desk: Desk, query: web::Query<HomeQuery>) -> Result<HttpResponse, Problem> {
    match desk.actor().await? {
        Some(actor) => home_page(&desk, &actor, StatusCode::OK, &query.after, AddUser::default()).await,
        None => {
            let had_one = desk.request.cookie(desk.api.session_cookie()).is_some();
            Ok(see_other(if had_one { "/login?state=expired" } else { "/login" }))
        }
    }
}

async fn home_page(
    desk: &Desk,
    actor: &Actor,
    status: StatusCode,
    after: &str,
    add: AddUser<'_>,
) -> Result<HttpResponse, Problem> {
    // Who is in the company is for its admins; a member sees themselves.
    let is_admin = actor.user.role == Role::Admin;
    let found =
        if is_admin { users::list(actor, after, users::PAGE).await? } else { vec![actor.user.clone()] };
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
    let apex = desk.control.site().apex_url();
    let company = actor.tenant.name().as_str();
    let csrf = desk.api.tokens(actor.tenant.id()).csrf_token(actor.session);
    let page = HomePage {
        // A refused POST /users shows this page: the language switch leads to where it can be looked at.
        frame: Frame::tenant(desk.visit.lang, "/", company, &apex),
        company,
        me: Me { email: &actor.user.email, role: role_word(actor.user.role) },
        csrf: &csrf,
        users: rows,
        more_href: more_href.as_deref(),
        notice: desk.visit.notice,
        add: is_admin.then_some(add),
    };
    desk.visit.page(status, &page)
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

async fn add_user(desk: Desk, Form(form): Form<NewUser>) -> Result<HttpResponse, Problem> {
    if let Err(elsewhere) = admin(&desk, &form.csrf).await? {
        return Ok(elsewhere);
    }
    match users::create(&desk.api, &desk.request, &form.email, &form.password, &form.role).await {
        Ok(_) => Ok(desk.visit.see_other_with("/", Notice::UserAdded)),
        Err(problem) if matches!(problem.kind, Kind::Invalid | Kind::Taken) => {
            let Some(actor) = desk.actor().await? else { return Ok(see_other("/login?state=expired")) };
            let role = Role::parse(&form.role).map(role_word);
            let add = AddUser { email: &form.email, role, errors: add_errors(&desk, &problem.errors) };
            home_page(&desk, &actor, problem.kind.status(), "", add).await
        }
        Err(problem) => Err(problem),
    }
}

fn add_errors(desk: &Desk, errors: &[FieldProblem]) -> AddUserErrors {
    let mut words = AddUserErrors::default();
    for error in errors {
        let (slot, field) = match error.field.as_str() {
            "email" => (&mut words.email, Field::Email),
            "password" => (&mut words.password, Field::Password),
            _ => (&mut words.role, Field::Role),
        };
        *slot = Some(desk.visit.lang.words().refusal(field, error.code, error.limit.unwrap_or_default()));
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
    desk: Desk,
    id: web::Path<String>,
    Form(form): Form<NewRole>,
) -> Result<HttpResponse, Problem> {
    let role = Role::parse(&form.role).ok_or(Problem::new(Kind::Malformed))?;
    let change = users::Change { role: Some(role), disabled: None };
    change_user(&desk, &id, &form.csrf, change, Notice::RoleChanged).await
}

async fn disable(
    desk: Desk,
    id: web::Path<String>,
    Form(form): Form<CsrfOnly>,
) -> Result<HttpResponse, Problem> {
    let change = users::Change { role: None, disabled: Some(true) };
    change_user(&desk, &id, &form.csrf, change, Notice::UserDisabled).await
}

async fn enable(
    desk: Desk,
    id: web::Path<String>,
    Form(form): Form<CsrfOnly>,
) -> Result<HttpResponse, Problem> {
    let change = users::Change { role: None, disabled: Some(false) };
    change_user(&desk, &id, &form.csrf, change, Notice::UserEnabled).await
}

async fn change_user(
    desk: &Desk,
    id: &str,
    csrf: &str,
    change: users::Change,
    done: Notice,
) -> Result<HttpResponse, Problem> {
    let id: UserId = id.parse().map_err(|_| Problem::new(Kind::NotFound))?;
    let mut actor = match admin(desk, csrf).await? {
        Ok(actor) => actor,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let notice = match users::change(&mut actor, id, change).await {
        Ok(_) => done,
        Err(problem) if problem.kind == Kind::LastAdmin => Notice::LastAdmin,
        Err(problem) if problem.kind == Kind::NotFound => Notice::UserGone,
        Err(problem) => return Err(problem),
    };
    Ok(desk.visit.see_other_with("/", notice))
}

/// The admin who sent a form, or where to send whoever it was instead.
async fn admin(desk: &Desk, csrf: &str) -> Result<Result<Actor, HttpResponse>, Problem> {
    let Some(actor) = desk.actor().await? else { return Ok(Err(see_other("/login?state=expired"))) };
    desk.check_csrf(&actor, csrf)?;
    let allowed = actor.user.role == Role::Admin;
    Ok(if allowed { Ok(actor) } else { Err(desk.visit.see_other_with("/", Notice::NotAllowed)) })
}

fn role_word(role: Role) -> RoleWord {
    match role {
        Role::Admin => RoleWord::Admin,
        Role::Member => RoleWord::Member,
    }
}
