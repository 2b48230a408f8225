//! Logging in and out. Unknown user, wrong password and disabled user read alike and take alike.

use crate::{
    Actor, TenantApi, User,
    attempts::Account,
    store::{audit, sessions, users},
};
use actix_web::HttpRequest;
use portero_auth::{AuthError, Claimant, SessionSecret, Verdict};
use portero_edge::{Db, Kind, Problem, TenantCtx};
use portero_kernel::{EmailAddress, SecretString, SessionId, TenantId};
use serde_json::json;
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// How long a token is good.
pub const TOKEN_TTL: Duration = Duration::from_secs(60 * 60);
/// How long a cookie is good.
pub const COOKIE_TTL: Duration = Duration::from_secs(12 * 60 * 60);

/// Logs in for the API: a token.
///
/// # Errors
/// [`Kind::WrongCredentials`]; [`Kind::Overloaded`] where too many passwords are being checked;
/// [`Kind::TooManyRequests`] where too many tries on this account failed.
pub async fn with_token(
    api: &TenantApi,
    request: &HttpRequest,
    email: &str,
    password: SecretString,
) -> Result<String, Problem> {
    let (db, user) = check(api, request, email, password).await?;
    let session = SessionId::generate();
    if !sessions::session_insert_api(&db, session, user.id, TOKEN_TTL).await? {
        return Err(Problem::new(Kind::WrongCredentials));
    }
    Ok(api.tokens(db.tenant()).issue_access(user.id, session, OffsetDateTime::now_utc(), TOKEN_TTL))
}

/// Logs in for the pages: a new secret for the cookie.
///
/// # Errors
/// As [`with_token`].
pub async fn with_cookie(
    api: &TenantApi,
    request: &HttpRequest,
    email: &str,
    password: SecretString,
) -> Result<SessionSecret, Problem> {
    let (db, user) = check(api, request, email, password).await?;
    web_session(api, &db, &user).await?.ok_or(Problem::new(Kind::WrongCredentials))
}

/// Logs in the admin who just signed up, by the token that the apex gave their browser.
///
/// # Errors
/// [`Kind::Unauthorized`] for a token that isn't one, is past its time, was used, or whose user may not log in.
pub async fn with_handoff(api: &TenantApi, db: &Db, token: &str) -> Result<SessionSecret, Problem> {
    let unauthorized = || Problem::new(Kind::Unauthorized);
    let claims =
        api.tokens(db.tenant()).verify_handoff(token, OffsetDateTime::now_utc()).map_err(|error| {
            tracing::info!(tenant = %db.tenant(), %error, "a hand-over token was refused");
            unauthorized()
        })?;
    let user = users::user_by_id(db, claims.user)
        .await?
        .filter(|user| user.disabled_at.is_none())
        .ok_or_else(unauthorized)?;
    if !sessions::handoff_use(db, claims.jti).await? {
        return Err(unauthorized());
    }
    web_session(api, db, &user).await?.ok_or_else(unauthorized)
}

/// What a browser that has just logged in as `email` keeps, to be known at its next login.
#[must_use]
pub fn device(api: &TenantApi, tenant: TenantId, email: &str) -> String {
    api.tokens(tenant).device(&email.trim().to_lowercase())
}

/// Ends the login that this request came by.
///
/// # Errors
/// The database.
pub async fn out(actor: &Actor) -> Result<(), Problem> {
    Ok(sessions::session_delete(&actor.db, actor.session).await?)
}

/// Nothing where the user was disabled or removed in this very moment.
async fn web_session(api: &TenantApi, db: &Db, user: &User) -> Result<Option<SessionSecret>, Problem> {
    let secret = api.tokens(db.tenant()).issue_session(OffsetDateTime::now_utc(), COOKIE_TTL);
    let made = sessions::session_insert_web(db, SessionId::generate(), user.id, &secret.digest(), COOKIE_TTL)
        .await?;
    Ok(made.then_some(secret))
}

/// By what tries are counted: the account, and apart from it the account as tried by browsers that logged in to it before.
/// A stolen cookie of such a browser opens nothing; it has tries of its own.
fn account_of(api: &TenantApi, request: &HttpRequest, tenant: TenantId, email: &str) -> Account {
    let email = email.trim().to_lowercase();
    let tokens = api.tokens(tenant);
    let known =
        request.cookie(api.device_cookie()).is_some_and(|cookie| cookie.value() == tokens.device(&email));
    tokens.account(&if known { format!("{email} known") } else { email })
}

async fn check(
    api: &TenantApi,
    request: &HttpRequest,
    email: &str,
    password: SecretString,
) -> Result<(Db, User), Problem> {
    let tenant = TenantCtx::of(request)?.id();
    let account = account_of(api, request, tenant, email);
    api.attempts.take(account, Instant::now()).map_err(|wait| {
        tracing::info!(%tenant, "a login was refused: too many on this account failed");
        Problem::new(Kind::TooManyRequests).wait(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    })?;
    let db = Db::of(request).await?;
    // An address that isn't one belongs to nobody; the work below is the same.
    let found = match EmailAddress::parse(email) {
        Ok(email) => users::credentials_by_email(&db, &email).await?,
        Err(_) => None,
    };
    // Checking takes long, and many may wait for it: nobody else is kept from the tenant's connections meanwhile.
    let claimant = Claimant::Tenant(db.tenant());
    drop(db);
    let candidate = password.clone();
    let stored = found.as_ref().map(|found| found.password_hash.as_str());
    let verdict = api.passwords.verify(claimant, password, stored).await.map_err(|error| match error {
        AuthError::Busy => Problem::new(Kind::Overloaded),
        error => Problem::internal(error),
    })?;
    let db = Db::of(request).await?;
    let known = found.as_ref().map(|found| found.user.id);
    let allowed = found.map(|found| found.user).filter(|user| user.disabled_at.is_none());
    let (Verdict::Match { rehash }, Some(user)) = (verdict, allowed) else {
        tracing::info!(tenant = %db.tenant(), user = known.map(tracing::field::display), "a login was refused");
        audit::audit_insert(&db, None, "login.refused", known, &json!({})).await?;
        return Err(Problem::new(Kind::WrongCredentials));
    };
    api.attempts.succeeded(&account);
    if rehash && let Ok(hash) = api.passwords.rehash(claimant, candidate).await {
        users::password_hash_set(&db, user.id, &hash).await?;
    }
    sessions::sessions_delete_expired(&db, user.id).await?;
    audit::audit_insert(&db, Some(user.id), "login.accepted", Some(user.id), &json!({})).await?;
    Ok((db, user))
}
