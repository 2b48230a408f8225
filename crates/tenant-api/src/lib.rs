//! What every tenant has: login, me, users with roles, settings.
//!
//! `store` is the SQL, on a `TenantDb` and nothing else; [`login`] and [`users`] are the use cases, which the pages call
//! too; `routes` is the JSON API. [`Actor`] is who is asking, proven against the tenant's own database. This room knows
//! no other tenant and nothing of the registry.

mod actor;
mod attempts;
pub mod login;
pub mod ping;
mod routes;
pub mod settings;
mod store;
pub mod users;

pub use actor::{Actor, Admin, bears_own};
pub use routes::configure;
pub use store::users::{Role, User};

use attempts::Attempts;
use portero_auth::{MasterKey, Passwords, TenantTokens};
use portero_kernel::TenantId;
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// How many companies' keys are kept at hand. Making one's anew costs some microseconds.
const KEYS: usize = 8192;

/// What this room works with; kept as `web::Data<TenantApi>`.
pub struct TenantApi {
    key: MasterKey,
    passwords: Passwords,
    /// Whether cookies are `Secure` and bear the `__Host-` prefix: where browsers come by https.
    secure_cookies: bool,
    keys: RwLock<HashMap<TenantId, Arc<TenantTokens>>>,
    attempts: Attempts,
}

impl TenantApi {
    /// From its parts. So many logins in a row may fail on one account before each takes a pause; `0` is no limit.
    #[must_use]
    pub fn new(
        key: MasterKey,
        passwords: Passwords,
        secure_cookies: bool,
        attempts_per_account: u32,
    ) -> Self {
        let attempts = Attempts::new(attempts_per_account);
        Self { key, passwords, secure_cookies, keys: RwLock::default(), attempts }
    }

    /// The tokens of one tenant: made with a key of its own.
    #[must_use]
    pub fn tokens(&self, tenant: TenantId) -> Arc<TenantTokens> {
        let at_hand = self.keys.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned();
        at_hand.unwrap_or_else(|| {
            let made = Arc::new(TenantTokens::new(&self.key, tenant));
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            if keys.len() >= KEYS {
                keys.clear();
            }
            Arc::clone(keys.entry(tenant).or_insert(made))
        })
    }

    /// The name of the cookie by which a browser is known again that logged in before.
    #[must_use]
    pub fn device_cookie(&self) -> &'static str {
        if self.secure_cookies { "__Host-portero_device" } else { "portero_device" }
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
