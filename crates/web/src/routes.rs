//! The addresses of the pages, and what every handler needs: the visitor's language, a page as an answer.

mod apex;
mod budget;
mod console;
mod mailbox;
mod operators;
mod people;
mod problem;
mod signup;
mod tenant;

pub use budget::{BUDGET, budget_page};
pub use console::{CONSOLE, SERVERS, servers_page};
pub use mailbox::{MAILBOX, mail_html, mail_page, mailbox_page};
pub use operators::{ENTER, configure_operators};
pub use problem::problem_page;

use crate::{
    Lang, Template, assets, content_security_policy,
    pages::{Frame, Mailbox},
    text::{Notice, console::Section},
};
use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration},
    dev::Payload,
    guard,
    http::{StatusCode, header},
    web,
};
use portero_edge::{Edge, Kind, OperatorsHost, Problem, at_apex, at_tenant, read};
use std::future::{Ready, ready};
use tokio::sync::watch;

const LANGUAGE_COOKIE: &str = "portero_lang";
const NOTICE_COOKIE: &str = "portero_notice";

/// What the pages work with; kept as `web::Data<Web>`.
pub struct Web {
    /// Turns true when the process stops: pages that watch something end then.
    stopping: watch::Receiver<bool>,
}

impl Web {
    /// From its parts.
    #[must_use]
    pub fn new(stopping: watch::Receiver<bool>) -> Self {
        Self { stopping }
    }
}

/// Adds all routes of the public listener: the apex's and the tenants', pages and APIs.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/static/{name}").route(read().to(static_file)))
        .service(
            web::scope("")
                .guard(guard::fn_guard(at_apex))
                .configure(portero_control_api::configure)
                .configure(apex::configure)
                .default_service(web::to(nothing_here)),
        )
        .service(
            web::scope("")
                .guard(guard::fn_guard(at_tenant))
                .configure(portero_tenant_api::configure)
                .configure(tenant::configure)
                .configure(people::configure)
                .default_service(web::to(nothing_here)),
        );
}

async fn nothing_here() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::NotFound))
}

async fn static_file(name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let found = assets::find(&name).ok_or(Problem::new(Kind::NotFound))?;
    Ok(HttpResponse::Ok()
        .content_type(found.asset.content_type)
        .insert_header((header::CACHE_CONTROL, found.cache_control))
        .body(found.asset.bytes))
}

/// Who looks at a page, and from where.
struct Visit {
    lang: Lang,
    path: String,
    /// The language to remember: the visitor has just chosen it.
    chosen: Option<Lang>,
    notice: Option<Notice>,
    secure: bool,
    policy: String,
    /// Whether the console's menu leads to the mailbox.
    mailbox: Mailbox,
}

impl Visit {
    fn of(request: &HttpRequest) -> Self {
        let chosen = request
            .query_string()
            .split('&')
            .find_map(|pair| pair.strip_prefix("lang="))
            .and_then(Lang::from_code);
        let cookie = request.cookie(LANGUAGE_COOKIE);
        let accept = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let lang = Lang::choose(chosen.map(Lang::code), cookie.as_ref().map(Cookie::value), accept);
        let notice = request.cookie(NOTICE_COOKIE).and_then(|cookie| Notice::from_code(cookie.value()));
        let edge = request.app_data::<web::Data<Edge>>();
        let https = edge.is_some_and(|edge| edge.site.https);
        let operators = OperatorsHost::of(request);
        let secure = operators.as_ref().map_or(https, |host| host.secure);
        let at_home = operators.is_some() || portero_edge::TenantCtx::of(request).is_ok();
        // Only the apex has a form that leads to another host, "find your company".
        let elsewhere = edge.filter(|_| !at_home).map(|edge| {
            let scheme = if https { "https" } else { "http" };
            format!("{scheme}://*{}", edge.site.suffix())
        });
        Self {
            lang,
            path: request.path().to_owned(),
            chosen,
            notice,
            secure,
            policy: content_security_policy(elsewhere.as_deref()),
            mailbox: request.app_data::<web::Data<Mailbox>>().map_or(Mailbox::Hidden, |mailbox| ***mailbox),
        }
    }

    /// What stands around a page of the operators' console.
    fn console<'a>(
        &self,
        path: &'a str,
        section: impl Into<Option<Section>>,
        operator: Option<&'a str>,
    ) -> Frame<'a> {
        Frame::console(self.lang, path, section.into(), operator, self.mailbox)
    }

    /// A page as an answer.
    fn page(&self, status: StatusCode, page: &impl Template) -> Result<HttpResponse, Problem> {
        let html = page.render().map_err(Problem::internal)?;
        let mut response = HttpResponse::build(status);
        response
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, self.policy.as_str()));
        if let Some(lang) = self.chosen {
            response.cookie(self.cookie(LANGUAGE_COOKIE, lang.code().to_owned(), Duration::days(365)));
        }
        if self.notice.is_some() {
            response.cookie(self.cookie(NOTICE_COOKIE, String::new(), Duration::ZERO));
        }
        Ok(response.body(html))
    }

    /// To another page, with something to say there.
    fn see_other_with(&self, path: &str, notice: Notice) -> HttpResponse {
        let cookie = self.cookie(NOTICE_COOKIE, notice.code().to_owned(), Duration::minutes(1));
        HttpResponse::SeeOther().insert_header((header::LOCATION, path)).cookie(cookie).finish()
    }

    /// A cookie of this very host: no `Domain`, so no sibling gets it.
    fn cookie(&self, name: &str, value: String, lasts: Duration) -> Cookie<'static> {
        Cookie::build(name.to_owned(), value)
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.secure)
            .max_age(lasts)
            .finish()
    }
}

impl FromRequest for Visit {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

/// To another page.
fn see_other(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, path)).finish()
}

/// Without its scheme, as people write an address.
fn spoken(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}
