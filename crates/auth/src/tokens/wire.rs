//! The claims as they travel, and whether they hold. Times are whole Unix seconds, by the clock the caller brings.
//!
//! Nothing is optional but what depends on the use: `sid` in an access token, `jti` in a handoff token. Unknown and
//! doubled claims are refused, as are other JSON types. It doesn't know signatures. Next: `tokens.rs`.

use super::{TenantTokens, TokenFault};
use portero_kernel::{SessionId, TenantId, UserId};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

const ISSUER: &str = "portero";

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Purpose {
    Access,
    Handoff,
}

/// The claims of RFC 7519, section 4.1, in the one form that is issued here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wire {
    pub(super) iss: String,
    /// The tenant's id: one string, never a list.
    pub(super) aud: TenantId,
    pub(super) sub: UserId,
    #[serde(rename = "use")]
    pub(super) purpose: Purpose,
    pub(super) iat: u64,
    pub(super) nbf: u64,
    pub(super) exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sid: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) jti: Option<Uuid>,
}

/// To whom a token says to be addressed.
#[derive(Deserialize)]
pub(super) struct UnverifiedAudience {
    pub(super) aud: TenantId,
}

impl Wire {
    pub(super) fn new(
        tenant: TenantId,
        user: UserId,
        purpose: Purpose,
        now: OffsetDateTime,
        life: Duration,
    ) -> Self {
        let now = unix_secs(now);
        let exp = now.saturating_add(life.as_secs());
        let iss = ISSUER.to_owned();
        Self { iss, aud: tenant, sub: user, purpose, iat: now, nbf: now, exp, sid: None, jti: None }
    }

    /// Whether claims whose signature holds are good for `purpose` at the door of `tenant`.
    pub(super) fn check(
        &self,
        tenant: TenantId,
        purpose: Purpose,
        now: OffsetDateTime,
        life_max: Duration,
    ) -> Result<(), TokenFault> {
        if self.iss != ISSUER {
            return Err(TokenFault::Issuer);
        }
        if self.aud != tenant {
            return Err(TokenFault::Audience);
        }
        if self.purpose != purpose {
            return Err(TokenFault::Use);
        }
        if self.exp.checked_sub(self.iat).is_none_or(|life| life > life_max.as_secs()) {
            return Err(TokenFault::Lifetime);
        }
        let now = unix_secs(now);
        let leeway = TenantTokens::LEEWAY.as_secs();
        if self.iat.max(self.nbf) > now.saturating_add(leeway) {
            return Err(TokenFault::NotYet);
        }
        // "on or after which the JWT MUST NOT be accepted" (RFC 7519, section 4.1.4).
        if now >= self.exp.saturating_add(leeway) {
            return Err(TokenFault::Expired);
        }
        Ok(())
    }
}

fn unix_secs(moment: OffsetDateTime) -> u64 {
    u64::try_from(moment.unix_timestamp()).unwrap_or(0)
}
