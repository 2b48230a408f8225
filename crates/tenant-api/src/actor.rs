//! Who is asking: a token or a cookie, proven against the sessions in the tenant's own database with each request, so
//! that a logout, a disabled user or a deleted session counts from the next request on.

use crate::{
    TenantApi, User,
    store::{sessions, users::Role},
};
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header, web};
use portero_auth::{AccessClaims, SessionSecret, TokenFault};
use portero_edge::{ClientAddress, Db, Edge, Kind, Problem, Sight, TenantCtx};
use portero_kernel::{SessionId, TenantId};
use std::pin::Pin;
use time::OffsetDateTime;

/// A logged-in user, and the connection that proved it.
pub struct Actor {
    /// Who.
    pub user: User,
    /// By which login.
    pub session: SessionId,
    /// The tenant they belong to.
    pub tenant: TenantCtx,
    /// A connection to that tenant's database.
    pub db: Db,
}

/// An [`Actor`] who is an admin of the company.
pub struct Admin(pub Actor);

enum Shown<'a> {
    Token(&'a str),
    Cookie(SessionSecret),
}

impl Actor {
    /// Reads the token, or else the cookie, and looks up its session.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`], or what the client reads where there is no connection.
    pub async fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let tenant = TenantCtx::of(request)?;
        let api = request
            .app_data::<web::Data<TenantApi>>()
            .ok_or_else(|| Problem::internal("the tenant API is not configured"))?;
        let unauthorized = || Problem::new(Kind::Unauthorized);
        match shown(request, api).ok_or_else(unauthorized)? {
            Shown::Token(token) => {
                let claims = claims_of(request, api, &tenant, token)?;
                let db = Db::of(request).await?;
                let user = sessions::user_of_api_session(&db, claims.session, claims.user)
                    .await?
                    .ok_or_else(unauthorized)?;
                Ok(Self { user, session: claims.session, tenant, db })
            }
            Shown::Cookie(secret) => {
                let db = Db::of(request).await?;
                let (session, user) =
                    sessions::user_of_web_session(&db, &secret.digest()).await?.ok_or_else(unauthorized)?;
                Ok(Self { user, session, tenant, db })
            }
        }
    }
}

impl Admin {
    /// Reads who is asking, and lets admins pass.
    ///
    /// # Errors
    /// [`Kind::Forbidden`], and as [`Actor::of`].
    pub async fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let actor = Actor::of(request).await?;
        if actor.user.role == Role::Admin { Ok(Self(actor)) } else { Err(Problem::new(Kind::Forbidden)) }
    }
}

/// Claims that the door has verified already, with this very request in hand.
#[derive(Clone, Copy)]
struct Verified(AccessClaims);

/// Whether a request bears a token of this company's that is good now, or a session's cookie that it has issued. Claims that
/// were verified stay in the request. Whether the session still exists isn't asked: that takes I/O.
#[must_use]
pub fn bears_own(request: &HttpRequest, tenant: TenantId) -> bool {
    let headers = request.headers();
    if !headers.contains_key(header::AUTHORIZATION) && !headers.contains_key(header::COOKIE) {
        return false;
    }
    let Some(api) = request.app_data::<web::Data<TenantApi>>() else { return false };
    let now = OffsetDateTime::now_utc();
    match shown(request, api) {
        None => false,
        Some(Shown::Cookie(secret)) => api.tokens(tenant).issued_session(&secret, now),
        Some(Shown::Token(token)) => match api.tokens(tenant).verify_access(token, now) {
            Ok(claims) => {
                request.extensions_mut().insert(Verified(claims));
                true
            }
            // Whoever asks who is there verifies it again, and says why not.
            Err(_) => false,
        },
    }
}

fn claims_of(
    request: &HttpRequest,
    api: &TenantApi,
    tenant: &TenantCtx,
    token: &str,
) -> Result<AccessClaims, Problem> {
    if let Some(Verified(claims)) = request.extensions().get() {
        return Ok(*claims);
    }
    api.tokens(tenant.id()).verify_access(token, OffsetDateTime::now_utc()).map_err(|error| {
        tracing::info!(tenant = %tenant.id(), fault = ?error.fault(), "a token was refused");
        tell_of_stray_token(request, api, tenant, token, error.fault());
        Problem::new(Kind::Unauthorized)
    })
}

fn shown<'a>(request: &'a HttpRequest, api: &TenantApi) -> Option<Shown<'a>> {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| Shown::Token(token.trim()));
    }
    let cookie = request.cookie(api.session_cookie())?;
    SessionSecret::parse(cookie.value()).ok().map(Shown::Cookie)
}

/// A token that is good at another company's door is worth a word to the operators; one that merely says so is not.
fn tell_of_stray_token(
    request: &HttpRequest,
    api: &TenantApi,
    here: &TenantCtx,
    token: &str,
    fault: TokenFault,
) {
    let TokenFault::OtherTenant(other) = fault else { return };
    let is_theirs = api.tokens(other).verify_access(token, OffsetDateTime::now_utc()).is_ok();
    if let Some(edge) = request.app_data::<web::Data<Edge>>().filter(|_| is_theirs) {
        let address = ClientAddress::of(request);
        edge.sightings.note(Sight::CrossTenantToken, Some(here.id()), address, Some(other));
    }
}

impl FromRequest for Actor {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request).await })
    }
}

impl FromRequest for Admin {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request).await })
    }
}
