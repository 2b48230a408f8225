//! Invitations: a link for one company, made by operators and used once.

use crate::Control;
use portero_auth::SessionSecret;
use portero_kernel::{EmailAddress, ExposeSecret, SecretString, Subdomain, TenantId};
use portero_registry::{Invitation, InvitationRow, InvitationState, RegistryError};
use serde::Serialize;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// How many are listed: the newest.
const LISTED: i64 = 500;

/// An invitation, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InvitationView {
    /// Its id.
    pub id: Uuid,
    /// Whom it is for; nothing where it is for whoever has the link.
    pub email: Option<String>,
    /// Which name it is for; nothing where that is theirs to choose.
    pub subdomain: Option<String>,
    /// `open`, `used`, `revoked` or `expired`.
    pub state: &'static str,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Until when it is good.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// The company that signed up by it.
    pub tenant: Option<TenantId>,
}

impl InvitationView {
    /// Whether somebody can sign up by it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == InvitationState::Open.as_str()
    }
}

impl From<InvitationRow> for InvitationView {
    fn from(row: InvitationRow) -> Self {
        Self {
            id: row.id,
            email: row.email,
            subdomain: row.subdomain,
            state: row.state.as_str(),
            created_at: row.created_at,
            expires_at: row.expires_at,
            tenant: row.tenant,
        }
    }
}

/// A new invitation.
pub struct NewInvitation {
    /// Its id.
    pub id: Uuid,
    /// What to give to whom it is for. It is shown this once: the registry has a digest of it.
    pub link: SecretString,
}

impl Control {
    pub(crate) async fn do_invite(
        &self,
        id: Uuid,
        email: Option<&EmailAddress>,
        subdomain: Option<&Subdomain>,
        life: Duration,
    ) -> Result<NewInvitation, RegistryError> {
        let token = SessionSecret::generate();
        let new = Invitation { id, token: token.digest(), email, subdomain, life };
        self.registry.invitation_insert(&new).await?;
        let link = format!("{}/signup?invitation={}", self.site.apex_url(), token.to_text().expose_secret());
        Ok(NewInvitation { id, link: SecretString::from(link) })
    }

    /// The newest invitations.
    ///
    /// # Errors
    /// The registry.
    pub async fn invitations(&self) -> Result<Vec<InvitationView>, RegistryError> {
        Ok(self.registry.invitations(LISTED).await?.into_iter().map(InvitationView::from).collect())
    }

    /// The invitation of a link, if it is still good.
    ///
    /// # Errors
    /// The registry.
    pub async fn invitation(&self, token: &str) -> Result<Option<InvitationView>, RegistryError> {
        let Some(digest) = token_digest(token) else { return Ok(None) };
        let found = self.registry.invitation_by_token(&digest).await?.map(InvitationView::from);
        Ok(found.filter(InvitationView::is_open))
    }
}

/// What is stored of a link's token; nothing where it isn't one.
pub(crate) fn token_digest(token: &str) -> Option<[u8; 32]> {
    SessionSecret::parse(token).ok().map(|secret| secret.digest())
}
