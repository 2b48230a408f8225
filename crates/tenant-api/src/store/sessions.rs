//! Logins. A row that is gone or past its time opens nothing.

use crate::store::users::User;
use portero_kernel::{SessionId, UserId};
use portero_pg::{TenantDb, TenantTxn};
use std::time::Duration;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// A login by token, of a user who may log in at this moment: who is being disabled or removed is waited for.
pub(crate) async fn session_insert_api(
    db: &TenantDb,
    id: SessionId,
    user: UserId,
    ttl: Duration,
) -> Result<bool, Error> {
    let inserted = db
        .execute(
            "INSERT INTO sessions (id, user_id, kind, expires_at)
             SELECT $1, u.id, 'api', now() + make_interval(secs => $3) FROM users u
             WHERE u.id = $2 AND u.disabled_at IS NULL FOR SHARE OF u",
            &[&id.uuid(), &user.uuid(), &ttl.as_secs_f64()],
        )
        .await?;
    Ok(inserted == 1)
}

/// A login by cookie, of a user who may log in at this moment.
pub(crate) async fn session_insert_web(
    db: &TenantDb,
    id: SessionId,
    user: UserId,
    digest: &[u8],
    ttl: Duration,
) -> Result<bool, Error> {
    let inserted = db
        .execute(
            "INSERT INTO sessions (id, user_id, kind, secret_digest, expires_at)
             SELECT $1, u.id, 'web', $3, now() + make_interval(secs => $4) FROM users u
             WHERE u.id = $2 AND u.disabled_at IS NULL FOR SHARE OF u",
            &[&id.uuid(), &user.uuid(), &digest, &ttl.as_secs_f64()],
        )
        .await?;
    Ok(inserted == 1)
}

/// The user of a token's session, if both are still good.
pub(crate) async fn user_of_api_session(
    db: &TenantDb,
    id: SessionId,
    user: UserId,
) -> Result<Option<User>, Error> {
    let row = db
        .query_opt(
            "SELECT u.id, u.email, u.role, u.created_at, u.disabled_at
             FROM sessions s JOIN users u ON u.id = s.user_id
             WHERE s.id = $1 AND s.user_id = $2 AND s.kind = 'api' AND s.expires_at > now() AND u.disabled_at IS NULL",
            &[&id.uuid(), &user.uuid()],
        )
        .await?;
    Ok(row.as_ref().map(User::from_row))
}

/// The session of a cookie and its user, if both are still good.
pub(crate) async fn user_of_web_session(
    db: &TenantDb,
    digest: &[u8],
) -> Result<Option<(SessionId, User)>, Error> {
    let row = db
        .query_opt(
            "SELECT s.id AS session, u.id, u.email, u.role, u.created_at, u.disabled_at
             FROM sessions s JOIN users u ON u.id = s.user_id
             WHERE s.secret_digest = $1 AND s.kind = 'web' AND s.expires_at > now() AND u.disabled_at IS NULL",
            &[&digest],
        )
        .await?;
    Ok(row.map(|row: Row| (SessionId::from(row.get::<_, Uuid>("session")), User::from_row(&row))))
}

pub(crate) async fn session_delete(db: &TenantDb, id: SessionId) -> Result<(), Error> {
    db.execute("DELETE FROM sessions WHERE id = $1", &[&id.uuid()]).await?;
    Ok(())
}

pub(crate) async fn sessions_delete_of_user_in_txn(txn: &TenantTxn<'_>, user: UserId) -> Result<(), Error> {
    txn.execute("DELETE FROM sessions WHERE user_id = $1", &[&user.uuid()]).await?;
    Ok(())
}

/// Sweeps out what is past its time, of this user's: done at their next login, so no background work is needed.
pub(crate) async fn sessions_delete_expired(db: &TenantDb, user: UserId) -> Result<(), Error> {
    db.execute("DELETE FROM sessions WHERE user_id = $1 AND expires_at <= now()", &[&user.uuid()]).await?;
    Ok(())
}

/// Uses up a hand-over token; says whether it was the first time. A token is good for a minute at most, so what was
/// used yesterday can be forgotten.
pub(crate) async fn handoff_use(db: &TenantDb, jti: Uuid) -> Result<bool, Error> {
    let first =
        db.execute("INSERT INTO used_handoffs (jti) VALUES ($1) ON CONFLICT DO NOTHING", &[&jti]).await?;
    db.execute("DELETE FROM used_handoffs WHERE used_at < now() - interval '1 day'", &[]).await?;
    Ok(first == 1)
}
