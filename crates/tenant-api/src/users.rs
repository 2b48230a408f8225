//! Looking after the company's users: list, add, change, remove; never the last admin.

use crate::{
    Actor, Admin, TenantApi, User,
    store::{
        audit, sessions,
        users::{self, Role},
    },
};
use actix_web::HttpRequest;
use portero_auth::{AuthError, Claimant};
use portero_edge::{Kind, Problem};
use portero_kernel::{EmailAddress, Fields, Refusal, UserId};
use serde_json::json;

/// A page of users at most.
pub const PAGE: i64 = 200;

/// Users in the order of their addresses, after the one named.
///
/// # Errors
/// The database.
pub async fn list(actor: &Actor, after: &str, limit: i64) -> Result<Vec<User>, Problem> {
    Ok(users::users_after(&actor.db, after, limit.clamp(1, PAGE)).await?)
}

/// The only admin who can log in, if there is just one.
///
/// # Errors
/// The database.
pub async fn last_admin(actor: &Actor) -> Result<Option<UserId>, Problem> {
    let admins = users::active_admins(&actor.db, 2).await?;
    Ok(if let [only] = admins[..] { Some(only) } else { None })
}

/// One user.
///
/// # Errors
/// [`Kind::NotFound`].
pub async fn get(actor: &Actor, id: UserId) -> Result<User, Problem> {
    users::user_by_id(&actor.db, id).await?.ok_or(Problem::new(Kind::NotFound))
}

/// Adds a user, for an admin.
///
/// # Errors
/// [`Kind::Invalid`] with the fields at fault; [`Kind::Taken`] where somebody has the address; and as [`Admin::of`].
pub async fn create(
    api: &TenantApi,
    request: &HttpRequest,
    email: &str,
    password: &str,
    role: &str,
) -> Result<User, Problem> {
    let Admin(actor) = Admin::of(request).await?;
    let tenant = actor.tenant.clone();
    // What follows takes long, and many may wait for it: nobody else is kept from the tenant's connections meanwhile.
    drop(actor);
    let claimant = Claimant::Tenant(tenant.id());
    let busy = |error| match error {
        AuthError::Busy => Problem::new(Kind::Overloaded),
        error => Problem::internal(error),
    };
    let mut fields = Fields::default();
    let parsed_email = fields.take("email", EmailAddress::parse(email));
    let context = [email, tenant.name().as_str(), tenant.subdomain().as_str()];
    let chosen = api.passwords.choose(claimant, password, &context).await.map_err(busy)?;
    let parsed_password = fields.take("password", chosen);
    let unknown_role = if role.is_empty() { Refusal::Required } else { Refusal::NotAllowed };
    let parsed_role = fields.take("role", Role::parse(role).ok_or(unknown_role));
    let (Some(email), Some(password), Some(role)) = (parsed_email, parsed_password, parsed_role) else {
        return Err(Problem::invalid(fields.into_errors()));
    };
    let hash = api.passwords.hash(claimant, &password).await.map_err(busy)?;
    let Admin(mut actor) = Admin::of(request).await?;
    let id = UserId::generate();
    let by = actor.user.id;
    let txn = actor.db.transaction().await?;
    let Some(user) = users::user_insert_in_txn(&txn, id, &email, &hash, role).await? else {
        return Err(Problem::taken("email"));
    };
    audit::audit_insert_in_txn(&txn, by, "user.created", id, &json!({ "role": role })).await?;
    txn.commit().await?;
    Ok(user)
}

/// What to change of a user; nothing is left as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    /// Another role.
    pub role: Option<Role>,
    /// Whether they may not log in.
    pub disabled: Option<bool>,
}

/// Changes a user. Who is disabled is logged out everywhere.
///
/// # Errors
/// [`Kind::NotFound`], or [`Kind::LastAdmin`].
pub async fn change(actor: &mut Actor, id: UserId, change: Change) -> Result<User, Problem> {
    let by = actor.user.id;
    let txn = actor.db.transaction().await?;
    let admins = users::active_admins_in_txn(&txn).await?;
    let user = users::user_update_in_txn(&txn, id, change.role, change.disabled)
        .await?
        .ok_or(Problem::new(Kind::NotFound))?;
    let stays_admin = user.role == Role::Admin && user.disabled_at.is_none();
    if admins == [id] && !stays_admin {
        return Err(Problem::new(Kind::LastAdmin));
    }
    if user.disabled_at.is_some() {
        sessions::sessions_delete_of_user_in_txn(&txn, id).await?;
    }
    let detail = json!({ "role": change.role, "disabled": change.disabled });
    audit::audit_insert_in_txn(&txn, by, "user.changed", id, &detail).await?;
    txn.commit().await?;
    Ok(user)
}

/// Removes a user and their logins.
///
/// # Errors
/// [`Kind::NotFound`], or [`Kind::LastAdmin`].
pub async fn remove(actor: &mut Actor, id: UserId) -> Result<(), Problem> {
    let by = actor.user.id;
    let txn = actor.db.transaction().await?;
    if users::active_admins_in_txn(&txn).await? == [id] {
        return Err(Problem::new(Kind::LastAdmin));
    }
    if !users::user_delete_in_txn(&txn, id).await? {
        return Err(Problem::new(Kind::NotFound));
    }
    audit::audit_insert_in_txn(&txn, by, "user.removed", id, &json!({})).await?;
    txn.commit().await?;
    Ok(())
}
