//! The people of a company.

use portero_kernel::{EmailAddress, UserId};
use portero_pg::{TenantDb, TenantTxn};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks after the company's users.
    Admin,
    /// Uses what the company has.
    Member,
}

impl Role {
    /// As the database and the wire write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// Reads what a form sent.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "admin" => Some(Self::Admin),
            "member" => Some(Self::Member),
            _ => None,
        }
    }
}

/// A person in one company.
#[derive(Debug, Clone)]
pub struct User {
    /// Their id here.
    pub id: UserId,
    /// Their address.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// Since when they may not log in.
    pub disabled_at: Option<OffsetDateTime>,
}

impl User {
    pub(crate) fn from_row(row: &Row) -> Self {
        Self {
            id: UserId::from(row.get::<_, Uuid>("id")),
            email: row.get("email"),
            // A CHECK constraint holds the column to these two; the lesser is the safe reading of anything else.
            role: Role::parse(row.get("role")).unwrap_or(Role::Member),
            created_at: row.get("created_at"),
            disabled_at: row.get("disabled_at"),
        }
    }
}

/// A user with the hash of the password.
pub(crate) struct Credentials {
    pub(crate) user: User,
    pub(crate) password_hash: String,
}

pub(crate) async fn credentials_by_email(
    db: &TenantDb,
    email: &EmailAddress,
) -> Result<Option<Credentials>, Error> {
    let row = db
        .query_opt(
            "SELECT id, email, role, created_at, disabled_at, password_hash FROM users WHERE email = $1",
            &[&email.as_str()],
        )
        .await?;
    Ok(row.map(|row| Credentials { user: User::from_row(&row), password_hash: row.get("password_hash") }))
}

pub(crate) async fn user_by_id(db: &TenantDb, id: UserId) -> Result<Option<User>, Error> {
    let row = db
        .query_opt("SELECT id, email, role, created_at, disabled_at FROM users WHERE id = $1", &[&id.uuid()])
        .await?;
    Ok(row.as_ref().map(User::from_row))
}

/// Up to `limit` users in the order of their addresses, after the one named.
pub(crate) async fn users_after(db: &TenantDb, after: &str, limit: i64) -> Result<Vec<User>, Error> {
    let rows = db
        .query(
            "SELECT id, email, role, created_at, disabled_at FROM users WHERE email > $1 ORDER BY email LIMIT $2",
            &[&after, &limit],
        )
        .await?;
    Ok(rows.iter().map(User::from_row).collect())
}

pub(crate) async fn user_insert_in_txn(
    txn: &TenantTxn<'_>,
    id: UserId,
    email: &EmailAddress,
    password_hash: &str,
    role: Role,
) -> Result<Option<User>, Error> {
    let rows = txn
        .query(
            "INSERT INTO users (id, email, password_hash, role) VALUES ($1, $2, $3, $4)
             ON CONFLICT ON CONSTRAINT users_email_key DO NOTHING
             RETURNING id, email, role, created_at, disabled_at",
            &[&id.uuid(), &email.as_str(), &password_hash, &role.as_str()],
        )
        .await?;
    Ok(rows.first().map(User::from_row))
}

/// Up to `limit` admins who can log in.
pub(crate) async fn active_admins(db: &TenantDb, limit: i64) -> Result<Vec<UserId>, Error> {
    let rows = db
        .query(
            "SELECT id FROM users WHERE role = 'admin' AND disabled_at IS NULL ORDER BY id LIMIT $1",
            &[&limit],
        )
        .await?;
    Ok(rows.iter().map(|row| UserId::from(row.get::<_, Uuid>(0))).collect())
}

/// The admins who can log in, their rows held until the transaction ends: nobody else takes one away meanwhile.
pub(crate) async fn active_admins_in_txn(txn: &TenantTxn<'_>) -> Result<Vec<UserId>, Error> {
    let rows = txn
        .query(
            "SELECT id FROM users WHERE role = 'admin' AND disabled_at IS NULL ORDER BY id FOR UPDATE",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| UserId::from(row.get::<_, Uuid>(0))).collect())
}

/// Sets what is given and leaves the rest.
pub(crate) async fn user_update_in_txn(
    txn: &TenantTxn<'_>,
    id: UserId,
    role: Option<Role>,
    disabled: Option<bool>,
) -> Result<Option<User>, Error> {
    let rows = txn
        .query(
            "UPDATE users SET role = coalesce($2, role),
                    disabled_at = CASE WHEN $3::boolean IS NULL THEN disabled_at
                                       WHEN $3 THEN coalesce(disabled_at, now()) END
             WHERE id = $1
             RETURNING id, email, role, created_at, disabled_at",
            &[&id.uuid(), &role.map(Role::as_str), &disabled],
        )
        .await?;
    Ok(rows.first().map(User::from_row))
}

pub(crate) async fn user_delete_in_txn(txn: &TenantTxn<'_>, id: UserId) -> Result<bool, Error> {
    Ok(txn.execute("DELETE FROM users WHERE id = $1", &[&id.uuid()]).await? == 1)
}

pub(crate) async fn password_hash_set(db: &TenantDb, id: UserId, hash: &str) -> Result<(), Error> {
    db.execute("UPDATE users SET password_hash = $2 WHERE id = $1", &[&id.uuid(), &hash]).await?;
    Ok(())
}
