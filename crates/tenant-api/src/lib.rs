//! What every tenant has: login, me, users with roles, settings.
//!
//! `store` is the SQL, on a `TenantDb` and nothing else; [`login`] and [`users`] are the use cases, which the pages call
//! too; `routes` is the JSON API. [`Actor`] is who is asking, proven against the tenant's own database. This room knows
//! no other tenant and nothing of the registry.

mod actor;
pub mod login;
pub mod ping;
mod routes;
pub mod settings;
mod store;
pub mod users;

pub use actor::{Actor, Admin};
pub use routes::configure;
pub use store::users::{Role, User};

use portero_auth::{MasterKey, Passwords, TenantTokens};
use portero_kernel::TenantId;

/// What this room works with; kept as `web::Data<TenantApi>`.
pub struct TenantApi {
    key: MasterKey,
    passwords: Passwords,
    /// Whether cookies are `Secure` and bear the `__Host-` prefix: where browsers come by https.
    secure_cookies: bool,
}

impl TenantApi {
    /// From its parts.
    #[must_use]
    pub fn new(key: MasterKey, passwords: Passwords, secure_cookies: bool) -> Self {
        Self { key, passwords, secure_cookies }
    }

    /// The tokens of one tenant: made with a key of its own.
    #[must_use]
    pub fn tokens(&self, tenant: TenantId) -> TenantTokens {
        TenantTokens::new(&self.key, tenant)
    }

    /// The name of the session's cookie. With `__Host-` a browser takes it from this very host alone, so a sibling
    /// subdomain can't plant one.
    #[must_use]
    pub fn session_cookie(&self) -> &'static str {
        if self.secure_cookies { "__Host-portero_session" } else { "portero_session" }
    }

    /// Whether cookies are `Secure`.
    #[must_use]
    pub fn secure_cookies(&self) -> bool {
        self.secure_cookies
    }
}
