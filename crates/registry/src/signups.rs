//! Sign-ups from outside: keys of repeated requests, companies that wait to be confirmed, invitations; and the transaction
//! that turns one into a tenant and a job.
//!
//! Every question that decides is asked inside that transaction, behind a lock on how the name reads: two sign-ups for one
//! name, or for two that read alike, come one after the other.

use crate::{
    Mail, NewJob, NewTenant, Registry, RegistryError, Result, TenantPlan,
    connection::Transaction,
    names::{NameFor, name_check_in_txn, name_lock_in_txn},
};
use portero_kernel::{CompanyName, EmailAddress, JobId, SecretString, Subdomain, TenantId};
use portero_pg::{lock_key, violated_constraint};
use std::time::Duration;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

/// For how long the answer to a key is kept.
const KEY_LIFE: &str = "24 hours";

/// An `Idempotency-Key`, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignUpKey {
    /// Keyed digest of the key and the whole body.
    pub exact: [u8; 32],
    /// Keyed digest of the key and the caller's network.
    pub scoped: [u8; 32],
}

/// What a key was answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAnswer {
    /// The key was not used, or long ago.
    Unused,
    /// The same caller used it for another body.
    OtherBody,
    /// A company is being made, or was.
    Begun {
        /// Its id.
        tenant: TenantId,
        /// The job that makes it.
        job: JobId,
        /// Its name.
        company: CompanyName,
        /// Its subdomain.
        subdomain: Subdomain,
    },
    /// A mail was sent.
    MailSent {
        /// The company's name.
        company: CompanyName,
        /// The subdomain that is held for it.
        subdomain: Subdomain,
    },
}

/// SHA-256 of what a link carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Of the link in a mail.
    Confirmation([u8; 32]),
    /// Of an invitation.
    Invitation([u8; 32]),
}

/// On what terms a company is taken on.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// The key of the request, to be kept with the answer.
    pub key: Option<SignUpKey>,
    /// The link it is done by; it is used up.
    pub token: Option<Token>,
    /// How many companies may be in the making at once; nothing is no limit.
    pub in_flight: Option<i64>,
    /// Whether a name is taken that reads like another's.
    pub look_alikes: bool,
    /// The plan that it is given; without one it has the weight 1.
    pub plan: Option<TenantPlan>,
}

/// By what the number of companies that wait to be confirmed is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The client's network.
    Network,
    /// The address.
    Email,
    /// The address's domain.
    EmailDomain,
    /// All of them.
    All,
}

impl Bound {
    /// How many at most.
    #[must_use]
    pub const fn limit(self) -> i64 {
        match self {
            // An address is sent so many mails, whoever asks for them.
            Self::Email => 3,
            Self::Network => 5,
            // Many companies have their mail with the same few providers.
            Self::EmailDomain => 500,
            Self::All => 10_000,
        }
    }
}

/// A company as it is about to wait.
pub struct NewPending<'a> {
    /// Its name.
    pub company: &'a CompanyName,
    /// The subdomain that is held for it.
    pub subdomain: &'a Subdomain,
    /// The first admin's address.
    pub email: &'a EmailAddress,
    /// What is known of its first admin.
    pub secret: &'a SecretString,
    /// SHA-256 of what the link carries.
    pub token: [u8; 32],
    /// Keyed digest of the client's network.
    pub network: [u8; 32],
    /// How long the link works and the name is held.
    pub life: Duration,
}

/// A company that waits.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Its name.
    pub company: CompanyName,
    /// The subdomain that is held for it.
    pub subdomain: Subdomain,
    /// What is known of its first admin.
    pub secret: SecretString,
}

/// An invitation as it is about to be written.
pub struct Invitation<'a> {
    /// Its id.
    pub id: Uuid,
    /// SHA-256 of what the link carries.
    pub token: [u8; 32],
    /// Whom it is for, if not whoever has the link.
    pub email: Option<&'a EmailAddress>,
    /// Which name it is for, if not any.
    pub subdomain: Option<&'a Subdomain>,
    /// How long it is good.
    pub life: Duration,
}

/// Where an invitation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationState {
    /// Good.
    Open,
    /// A company signed up by it.
    Used,
    /// Taken back.
    Revoked,
    /// Nobody used it in time.
    Expired,
}

impl InvitationState {
    /// As people and programs read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Used => "used",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [Self::Open, Self::Used, Self::Revoked, Self::Expired]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(RegistryError::Unreadable("invitation's state"))
    }
}

/// An invitation.
#[derive(Debug, Clone)]
pub struct InvitationRow {
    /// Its id.
    pub id: Uuid,
    /// Whom it is for.
    pub email: Option<String>,
    /// Which name it is for.
    pub subdomain: Option<String>,
    /// Where it is.
    pub state: InvitationState,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// Until when it is good.
    pub expires_at: OffsetDateTime,
    /// The company that signed up by it.
    pub tenant: Option<TenantId>,
}

const INVITATION: &str = "SELECT id, email, subdomain, created_at, expires_at, tenant_id,
        CASE WHEN used_at IS NOT NULL THEN 'used' WHEN revoked_at IS NOT NULL THEN 'revoked'
             WHEN expires_at <= now() THEN 'expired' ELSE 'open' END AS state
 FROM invitations";

impl Registry {
    /// Takes a company on, on these terms: the key, the link, the name, the tenant and the job in one transaction.
    ///
    /// # Errors
    /// [`RegistryError::KeyUsed`], [`RegistryError::TokenSpent`], [`RegistryError::SubdomainTaken`],
    /// [`RegistryError::LookAlike`], [`RegistryError::NoServer`], [`RegistryError::InFlight`].
    pub async fn signup_insert(&self, job: &NewJob<'_>, tenant: &NewTenant<'_>, terms: &Terms) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        name_lock_in_txn(&txn, tenant.subdomain).await?;
        if let Some(key) = &terms.key {
            key_insert_in_txn(&txn, key, tenant.name, tenant.subdomain, Some((tenant.id, job.id))).await?;
        }
        match &terms.token {
            Some(Token::Confirmation(digest)) => pending_take_in_txn(&txn, digest).await?,
            Some(Token::Invitation(digest)) => invitation_use_in_txn(&txn, digest, tenant.id).await?,
            None => {}
        }
        name_check_in_txn(&txn, tenant.subdomain, terms.look_alikes, NameFor::Anybody).await?;
        self.job_insert_with_tenant_in_txn(&txn, job, tenant).await?;
        // By now this transaction holds the route clock, as every other that takes a company on: the count is exact.
        if let Some(limit) = terms.in_flight
            && open_signups_in_txn(&txn).await? > limit
        {
            return Err(RegistryError::InFlight);
        }
        self.note_in_txn(&txn, Some(tenant.id)).await?;
        txn.commit().await?;
        Ok(())
    }

    /// How many companies are being made or unmade.
    ///
    /// # Errors
    /// The registry.
    pub async fn signups_open(&self) -> Result<i64> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        open_signups_in_txn(&txn).await
    }

    /// Holds a name for a company that is to be confirmed, and puts the mail into the outbox. Who asks again for the same
    /// name by the same address gets another mail; the former link no longer works.
    ///
    /// # Errors
    /// [`RegistryError::KeyUsed`], [`RegistryError::SubdomainTaken`], [`RegistryError::LookAlike`],
    /// [`RegistryError::PendingFull`].
    pub async fn pending_insert(
        &self,
        new: &NewPending<'_>,
        key: Option<&SignUpKey>,
        mail: &Mail,
    ) -> Result<()> {
        let domain = new.email.as_str().rsplit('@').next().unwrap_or_default();
        let email = self.digest("signup_pending.email", &[new.email.as_str().as_bytes()]);
        let domain = self.digest("signup_pending.email_domain", &[domain.as_bytes()]);
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        // One after the other, so that the bounds hold.
        txn.execute("SELECT pg_advisory_xact_lock($1)", &[&lock_key("portero.signup_pending")]).await?;
        name_lock_in_txn(&txn, new.subdomain).await?;
        if let Some(key) = key {
            key_insert_in_txn(&txn, key, new.company, new.subdomain, None).await?;
        }
        name_check_in_txn(&txn, new.subdomain, false, NameFor::Email(&email)).await?;
        pending_bounds_in_txn(&txn, &new.network, &email, &domain).await?;
        let id = Uuid::now_v7();
        txn.execute(
            "INSERT INTO signup_pending (id, token_digest, name, subdomain, secret, network, email, email_domain, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(secs => $9))
             ON CONFLICT ON CONSTRAINT signup_pending_subdomain_key DO UPDATE
             SET id = excluded.id, token_digest = excluded.token_digest, name = excluded.name, secret = excluded.secret,
                 network = excluded.network, email = excluded.email, email_domain = excluded.email_domain,
                 mails = CASE WHEN signup_pending.expires_at > now() THEN signup_pending.mails + 1 ELSE 1 END,
                 expires_at = excluded.expires_at",
            &[
                &id,
                &new.token.as_slice(),
                &new.company.as_str(),
                &new.subdomain.as_str(),
                &self.seal_pending(id, new.secret),
                &new.network.as_slice(),
                &email.as_slice(),
                &domain.as_slice(),
                &new.life.as_secs_f64(),
            ],
        )
        .await?;
        self.mail_insert_in_txn(&txn, mail, new.life).await?;
        txn.commit().await?;
        Ok(())
    }

    /// The company that waits for this link to be confirmed. Nothing is used up.
    ///
    /// # Errors
    /// The registry, or a secret that doesn't open.
    pub async fn pending_by_token(&self, token: &[u8; 32]) -> Result<Option<Pending>> {
        let row = self
            .client()
            .await?
            .query_opt(
                "SELECT id, name, subdomain, secret FROM signup_pending WHERE token_digest = $1 AND expires_at > now()",
                &[&token.as_slice()],
            )
            .await?;
        row.map(|row| {
            Ok(Pending {
                company: company(row.get("name"))?,
                subdomain: subdomain(row.get("subdomain"))?,
                secret: self.open_pending(row.get("id"), row.get("secret"))?,
            })
        })
        .transpose()
    }

    /// What a key was answered with, by a caller with this body.
    ///
    /// # Errors
    /// The registry.
    pub async fn signup_key_answer(&self, key: &SignUpKey) -> Result<KeyAnswer> {
        let row = self
            .client()
            .await?
            .query_opt(
                "SELECT exact = $1 AS same, name, subdomain, tenant_id, job_id FROM signup_keys
                 WHERE (exact = $1 OR scoped = $2) AND created_at > now() - $3::text::interval
                 ORDER BY same DESC LIMIT 1",
                &[&key.exact.as_slice(), &key.scoped.as_slice(), &KEY_LIFE],
            )
            .await?;
        let Some(row) = row else { return Ok(KeyAnswer::Unused) };
        if !row.get::<_, bool>("same") {
            return Ok(KeyAnswer::OtherBody);
        }
        let (company, subdomain) = (company(row.get("name"))?, subdomain(row.get("subdomain"))?);
        let ids = (row.get::<_, Option<Uuid>>("tenant_id"), row.get::<_, Option<Uuid>>("job_id"));
        Ok(match ids {
            (Some(tenant), Some(job)) => {
                KeyAnswer::Begun { tenant: tenant.into(), job: job.into(), company, subdomain }
            }
            _ => KeyAnswer::MailSent { company, subdomain },
        })
    }

    /// Whether a name could be had from outside now: [`RegistryError::SubdomainTaken`] where it is held for somebody who is
    /// to confirm it, [`RegistryError::LookAlike`] where it reads like another's. Whether a company has it is
    /// [`Registry::subdomain_taken`]'s to say.
    ///
    /// # Errors
    /// As said.
    pub async fn name_check(&self, name: &Subdomain) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        name_check_in_txn(&txn, name, false, NameFor::Anybody).await
    }

    /// Writes an invitation.
    ///
    /// # Errors
    /// The registry.
    pub async fn invitation_insert(&self, new: &Invitation<'_>) -> Result<()> {
        let email = new.email.map(|email| self.seal_invitation(new.id, email.as_str()));
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        txn.execute(
            "INSERT INTO invitations (id, token_digest, email, subdomain, expires_at)
             VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))",
            &[
                &new.id,
                &new.token.as_slice(),
                &email,
                &new.subdomain.map(Subdomain::as_str),
                &new.life.as_secs_f64(),
            ],
        )
        .await?;
        self.note_in_txn(&txn, None).await?;
        txn.commit().await?;
        Ok(())
    }

    /// The newest invitations, at most `limit`.
    ///
    /// # Errors
    /// The registry, or an address that doesn't open.
    pub async fn invitations(&self, limit: i64) -> Result<Vec<InvitationRow>> {
        let sql = [INVITATION, " ORDER BY created_at DESC, id DESC LIMIT $1"].concat();
        let rows = self.client().await?.query(sql.as_str(), &[&limit]).await?;
        rows.iter().map(|row| self.invitation_from_row(row)).collect()
    }

    /// The invitation of a link, whatever its state.
    ///
    /// # Errors
    /// The registry, or an address that doesn't open.
    pub async fn invitation_by_token(&self, token: &[u8; 32]) -> Result<Option<InvitationRow>> {
        let sql = [INVITATION, " WHERE token_digest = $1"].concat();
        let row = self.client().await?.query_opt(sql.as_str(), &[&token.as_slice()]).await?;
        row.map(|row| self.invitation_from_row(&row)).transpose()
    }

    /// Takes an invitation back; says whether it was there to be taken back.
    ///
    /// # Errors
    /// The registry.
    pub async fn invitation_revoke(&self, id: Uuid) -> Result<bool> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let sql = "UPDATE invitations SET revoked_at = now()
                   WHERE id = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > now()";
        if txn.execute(sql, &[&id]).await? == 0 {
            return Ok(false);
        }
        self.note_in_txn(&txn, None).await?;
        txn.commit().await?;
        Ok(true)
    }

    /// Forgets what has had its time: keys, companies that nobody confirmed, invitations a month after their end.
    ///
    /// # Errors
    /// The registry.
    pub async fn signups_prune(&self) -> Result<()> {
        let client = self.client().await?;
        client
            .execute("DELETE FROM signup_keys WHERE created_at <= now() - $1::text::interval", &[&KEY_LIFE])
            .await?;
        client.execute("DELETE FROM signup_pending WHERE expires_at <= now()", &[]).await?;
        client.execute("DELETE FROM invitations WHERE expires_at <= now() - interval '30 days'", &[]).await?;
        Ok(())
    }

    fn invitation_from_row(&self, row: &Row) -> Result<InvitationRow> {
        let id = row.get("id");
        let email = row
            .get::<_, Option<&[u8]>>("email")
            .map(|sealed| self.open_invitation(id, sealed))
            .transpose()?;
        Ok(InvitationRow {
            id,
            email,
            subdomain: row.get("subdomain"),
            state: InvitationState::parse(row.get("state"))?,
            created_at: row.get("created_at"),
            expires_at: row.get("expires_at"),
            tenant: row.get::<_, Option<Uuid>>("tenant_id").map(TenantId::from),
        })
    }
}

/// Keeps a key; one whose time is over makes room.
async fn key_insert_in_txn(
    txn: &Transaction<'_>,
    key: &SignUpKey,
    company: &CompanyName,
    subdomain: &Subdomain,
    begun: Option<(TenantId, JobId)>,
) -> Result<()> {
    let (exact, scoped) = (key.exact.as_slice(), key.scoped.as_slice());
    txn.execute(
        "DELETE FROM signup_keys WHERE (exact = $1 OR scoped = $2) AND created_at <= now() - $3::text::interval",
        &[&exact, &scoped, &KEY_LIFE],
    )
    .await?;
    txn.execute(
        "INSERT INTO signup_keys (exact, scoped, name, subdomain, tenant_id, job_id) VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            &exact,
            &scoped,
            &company.as_str(),
            &subdomain.as_str(),
            &begun.map(|(tenant, _)| tenant.uuid()),
            &begun.map(|(_, job)| job.uuid()),
        ],
    )
    .await
    .map_err(|error| match violated_constraint(&error) {
        Some("signup_keys_pkey" | "signup_keys_scoped_key") => RegistryError::KeyUsed,
        _ => error.into(),
    })?;
    Ok(())
}

async fn pending_take_in_txn(txn: &Transaction<'_>, token: &[u8; 32]) -> Result<()> {
    let taken = txn
        .execute(
            "DELETE FROM signup_pending WHERE token_digest = $1 AND expires_at > now()",
            &[&token.as_slice()],
        )
        .await?;
    if taken == 1 { Ok(()) } else { Err(RegistryError::TokenSpent) }
}

async fn invitation_use_in_txn(txn: &Transaction<'_>, token: &[u8; 32], tenant: TenantId) -> Result<()> {
    let used = txn
        .execute(
            "UPDATE invitations SET used_at = now(), tenant_id = $2
             WHERE token_digest = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > now()",
            &[&token.as_slice(), &tenant.uuid()],
        )
        .await?;
    if used == 1 { Ok(()) } else { Err(RegistryError::TokenSpent) }
}

/// Lets the invitation be used again that a company was made by, where that came to nothing.
pub(crate) async fn invitation_give_back_in_txn(txn: &Transaction<'_>, tenant: TenantId) -> Result<()> {
    let sql = "UPDATE invitations SET used_at = NULL, tenant_id = NULL WHERE tenant_id = $1";
    txn.execute(sql, &[&tenant.uuid()]).await?;
    Ok(())
}

async fn pending_bounds_in_txn(
    txn: &Transaction<'_>,
    network: &[u8; 32],
    email: &[u8; 32],
    domain: &[u8; 32],
) -> Result<()> {
    let row = txn
        .query_one(
            "SELECT count(*) FILTER (WHERE network = $1), coalesce(sum(mails) FILTER (WHERE email = $2), 0)::bigint,
                    count(*) FILTER (WHERE email_domain = $3), count(*)
             FROM signup_pending WHERE expires_at > now()",
            &[&network.as_slice(), &email.as_slice(), &domain.as_slice()],
        )
        .await?;
    let bounds = [Bound::Network, Bound::Email, Bound::EmailDomain, Bound::All];
    let full =
        bounds.into_iter().enumerate().find(|(column, bound)| row.get::<_, i64>(*column) >= bound.limit());
    full.map_or(Ok(()), |(_, bound)| Err(RegistryError::PendingFull(bound)))
}

async fn open_signups_in_txn(txn: &Transaction<'_>) -> Result<i64> {
    let row = txn
        .query_one(
            "SELECT count(*) FROM jobs WHERE status IN ('running', 'undoing') AND kind = 'create_tenant'",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

fn company(name: &str) -> Result<CompanyName> {
    CompanyName::parse(name).map_err(|_| RegistryError::Unreadable("company's name"))
}

fn subdomain(name: &str) -> Result<Subdomain> {
    Subdomain::parse(name).map_err(|_| RegistryError::Unreadable("subdomain"))
}
