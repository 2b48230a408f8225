//! Tokens that are good at one tenant's door and at no other, without a look-up.
//!
//! Each tenant's keys are derived from the master key and the tenant's id. A token of one company is not only addressed
//! to it (`aud`): at another's door its signature can't be verified, not even by mistake, nor can it at the door of
//! whoever gets the same subdomain later.
//!
//! `jsonwebtoken` is used for what it is good at, the encoding and the signature. Its checks of claims are off and made
//! here instead, since by themselves they let a token pass that lacks `nbf`, `aud`, `iss` or `sub`, that has a list as
//! `aud` or a fraction as `exp`, and know no clock but the system's. The header must equal the one that is issued here,
//! so `alg`, `kid`, `jku`, `jwk`, `x5u` and `crit` decide nothing. RFC 8725 lists the attacks.
//!
//! It doesn't know whether the session still exists or whether a handoff was used before: the caller looks that up.
//! Next: `session.rs`; `tenant-api` for cookies and headers.

mod wire;

use crate::keyed::{fill_random, hmac_parts};
use crate::{MasterKey, SessionSecret};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use portero_kernel::{SessionId, TenantId, UserId};
use std::{fmt, time::Duration};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use uuid::Uuid;
use wire::{Purpose, UnverifiedAudience, Wire};
use zeroize::Zeroizing;

/// The only key id there is. A new way of deriving keys or another set of claims would get the next.
const KEY_ID: &str = "1";
/// Bytes of a session's secret that are random, and those under its MAC: with four for until when it is good.
const RANDOM: usize = 16;
const MARKED: usize = RANDOM + 4;
/// Bytes of a token at most; those issued here have about 400.
const BYTES_MAX: usize = 4096;

/// Issues and verifies one tenant's tokens. Making one costs microseconds.
#[derive(Clone)]
pub struct TenantTokens {
    tenant: TenantId,
    header: Header,
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
    csrf_key: Zeroizing<[u8; 32]>,
    cookie_key: Zeroizing<[u8; 32]>,
}

/// What an access token says, verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessClaims {
    /// Whose it is.
    pub user: UserId,
    /// The login it came from; whether that still holds is the caller's to look up.
    pub session: SessionId,
    /// When it was issued, Unix seconds.
    pub issued_at: u64,
    /// When it ends, Unix seconds.
    pub expires_at: u64,
}

/// What a handoff token says, verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandoffClaims {
    /// Who signed up.
    pub user: UserId,
    /// To be noted as used by the caller: a handoff is good once.
    pub jti: Uuid,
    /// When it ends, Unix seconds. A note of its use may go [`TenantTokens::LEEWAY`] after that.
    pub expires_at: u64,
}

/// A token that isn't good here. Its text says no more than that; the reason is for logs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid here")]
pub struct TokenError(#[source] TokenFault);

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// More than 4 KiB. It wasn't parsed.
    #[error("it is longer than 4 KiB")]
    TooLong,
    /// Not three parts, or another header than the one issued here: algorithm, key id, anything added.
    #[error("its header is not the one issued here")]
    Header,
    /// Not signed with this tenant's key.
    #[error("its signature is not this tenant's")]
    Signature,
    /// Not signed with this tenant's key, and addressed to another tenant. The address is unverified: anybody can
    /// write one.
    #[error("its signature is not this tenant's, and it says to be for {0}")]
    OtherTenant(TenantId),
    /// Claims that are missing, of the wrong type, doubled or unknown.
    #[error("its claims are not the ones issued here")]
    Claims,
    /// Another issuer.
    #[error("its issuer is another")]
    Issuer,
    /// Addressed to another tenant, and yet signed with this one's key.
    #[error("its audience is another")]
    Audience,
    /// A handoff token shown as an access token, or the other way round.
    #[error("it is for another use")]
    Use,
    /// Issued in the future, or not valid yet.
    #[error("it is not valid yet")]
    NotYet,
    /// Over.
    #[error("it has expired")]
    Expired,
    /// Ends before it begins, or lives longer than such tokens may.
    #[error("its lifetime is out of bounds")]
    Lifetime,
}

impl TokenError {
    /// What is wrong, for a log or an audit entry. Never for the answer.
    #[must_use]
    pub const fn fault(self) -> TokenFault {
        self.0
    }
}

impl From<TokenFault> for TokenError {
    fn from(fault: TokenFault) -> Self {
        Self(fault)
    }
}

impl TenantTokens {
    /// How far the clocks of two servers may be apart.
    pub const LEEWAY: Duration = Duration::from_secs(15);
    /// The longest life of an access token.
    pub const ACCESS_MAX: Duration = Duration::from_secs(24 * 60 * 60);
    /// The life of a handoff token.
    pub const HANDOFF: Duration = Duration::from_secs(60);

    /// Derives the keys of `tenant`.
    #[must_use]
    pub fn new(master: &MasterKey, tenant: TenantId) -> Self {
        let key = master.derive("token", tenant.uuid().as_bytes());
        let mut validation = Validation::new(Algorithm::HS256);
        // These checks are made in `wire.rs`, by the caller's clock and without exceptions.
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self {
            tenant,
            header: Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::HS256) },
            signing: EncodingKey::from_secret(&key[..]),
            verifying: DecodingKey::from_secret(&key[..]),
            validation,
            csrf_key: master.derive("csrf", tenant.uuid().as_bytes()),
            cookie_key: master.derive("cookie", tenant.uuid().as_bytes()),
        }
    }

    /// The tenant at whose door these are good.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// An access token for a login, good from `now` for `ttl`, but not for longer than [`Self::ACCESS_MAX`].
    #[must_use]
    pub fn issue_access(
        &self,
        user: UserId,
        session: SessionId,
        now: OffsetDateTime,
        ttl: Duration,
    ) -> String {
        let wire = Wire::new(self.tenant, user, Purpose::Access, now, ttl.min(Self::ACCESS_MAX));
        self.sign(&Wire { sid: Some(session), ..wire })
    }

    /// Verifies an access token at `now`.
    ///
    /// # Errors
    /// One kind for whatever is wrong, with the fault inside for logs.
    pub fn verify_access(&self, token: &str, now: OffsetDateTime) -> Result<AccessClaims, TokenError> {
        let wire = self.verify(token, Purpose::Access, now, Self::ACCESS_MAX)?;
        let (Some(session), None) = (wire.sid, wire.jti) else { return Err(TokenFault::Claims.into()) };
        Ok(AccessClaims { user: wire.sub, session, issued_at: wire.iat, expires_at: wire.exp })
    }

    /// A token that carries a login from the apex to the new subdomain, where `jti` (random) is good once. It ends
    /// after [`Self::HANDOFF`], since it travels in an address.
    #[must_use]
    pub fn issue_handoff(&self, user: UserId, jti: Uuid, now: OffsetDateTime) -> String {
        let wire = Wire::new(self.tenant, user, Purpose::Handoff, now, Self::HANDOFF);
        self.sign(&Wire { jti: Some(jti), ..wire })
    }

    /// Verifies a handoff token at `now`. The caller makes sure that its `jti` wasn't used before.
    ///
    /// # Errors
    /// One kind for whatever is wrong, with the fault inside for logs.
    pub fn verify_handoff(&self, token: &str, now: OffsetDateTime) -> Result<HandoffClaims, TokenError> {
        let wire = self.verify(token, Purpose::Handoff, now, Self::HANDOFF)?;
        let (None, Some(jti)) = (wire.sid, wire.jti) else { return Err(TokenFault::Claims.into()) };
        Ok(HandoffClaims { user: wire.sub, jti, expires_at: wire.exp })
    }

    /// The token that a session's forms carry: 43 characters, the same for the session's whole life.
    #[must_use]
    pub fn csrf_token(&self, session: SessionId) -> String {
        let mac = hmac_parts(&self.csrf_key, &[session.uuid().as_bytes()]);
        BASE64_URL_SAFE_NO_PAD.encode(&mac[..])
    }

    /// Whether `candidate` is the session's token, in a time that doesn't tell how much of it is right.
    #[must_use]
    pub fn csrf_matches(&self, session: SessionId, candidate: &str) -> bool {
        self.csrf_token(session).as_bytes().ct_eq(candidate.as_bytes()).into()
    }

    /// The secret of a new session, good from `now` for `ttl`. Half of it is random, 128 bits; the rest says until when it
    /// is good, under a MAC of this tenant's: so that one that was never issued here is told without a look-up. Whether
    /// the session still exists is the caller's to look up all the same.
    #[must_use]
    pub fn issue_session(&self, now: OffsetDateTime, ttl: Duration) -> SessionSecret {
        let mut bytes = [0; 32];
        fill_random(&mut bytes[..RANDOM]);
        let until = now.unix_timestamp().saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
        bytes[RANDOM..MARKED].copy_from_slice(&u32::try_from(until).unwrap_or(u32::MAX).to_be_bytes());
        let mac = hmac_parts(&self.cookie_key, &[&bytes[..MARKED]]);
        bytes[MARKED..].copy_from_slice(&mac[..32 - MARKED]);
        SessionSecret::from_bytes(bytes)
    }

    /// Whether [`TenantTokens::issue_session`] of this tenant made this secret, and its time isn't over at `now`.
    #[must_use]
    pub fn issued_session(&self, secret: &SessionSecret, now: OffsetDateTime) -> bool {
        let bytes = secret.bytes();
        let mac = hmac_parts(&self.cookie_key, &[&bytes[..MARKED]]);
        let until = bytes[RANDOM..MARKED].iter().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
        bool::from(mac[..32 - MARKED].ct_eq(&bytes[MARKED..])) && now.unix_timestamp() < until
    }

    /// By what attempts on an account are counted: nothing that tells whose it is.
    #[must_use]
    pub fn account(&self, email: &str) -> [u8; 32] {
        *hmac_parts(&self.cookie_key, &[b"account", email.as_bytes()])
    }

    /// What a browser that logged in to an account is known by at its next login: 43 characters.
    #[must_use]
    pub fn device(&self, email: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(&hmac_parts(&self.cookie_key, &[b"device", email.as_bytes()])[..])
    }

    fn sign(&self, wire: &Wire) -> String {
        jsonwebtoken::encode(&self.header, wire, &self.signing)
            .expect("claims are plain JSON and the key is of the header's algorithm")
    }

    fn verify(
        &self,
        token: &str,
        purpose: Purpose,
        now: OffsetDateTime,
        life_max: Duration,
    ) -> Result<Wire, TokenFault> {
        if token.len() > BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        if jsonwebtoken::decode_header(token).ok().as_ref() != Some(&self.header) {
            return Err(TokenFault::Header);
        }
        let wire = jsonwebtoken::decode::<Wire>(token, &self.verifying, &self.validation)
            .map_err(|error| self.fault(error.kind(), token))?
            .claims;
        wire.check(self.tenant, purpose, now, life_max)?;
        Ok(wire)
    }

    fn fault(&self, kind: &ErrorKind, token: &str) -> TokenFault {
        match kind {
            ErrorKind::Json(_) => TokenFault::Claims,
            ErrorKind::InvalidSignature => {
                match jsonwebtoken::dangerous::insecure_decode_claims::<UnverifiedAudience>(token) {
                    Ok(address) if address.aud != self.tenant => TokenFault::OtherTenant(address.aud),
                    _ => TokenFault::Signature,
                }
            }
            _ => TokenFault::Signature,
        }
    }
}

impl fmt::Debug for TenantTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantTokens").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
