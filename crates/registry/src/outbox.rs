//! Mails to send: written in the transaction of what they tell of, sent later, each at least once.
//!
//! Whoever takes one has it for a while; if nothing is heard, it is somebody's turn again. What a mail says is sealed, since
//! it carries links that open something, and erased when it was sent.

use crate::{Registry, RegistryError, Result, connection::Transaction};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

/// For how long whoever took a mail may try to send it.
const TAKEN_FOR: Duration = Duration::from_secs(90);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// What a mail says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The subject.
    pub subject: String,
    /// For readers of plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// A mail: a letter, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The recipient's address.
    pub to: String,
    /// What it says.
    pub letter: Letter,
}

/// Where a mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailState {
    /// To be sent, or sent again.
    Waiting,
    /// A server took it.
    Sent,
    /// Given up.
    Failed,
}

/// A mail in the outbox.
#[derive(Debug, Clone)]
pub struct MailRow {
    /// Its id.
    pub id: Uuid,
    /// What it says; nothing where that was erased.
    pub mail: Option<Mail>,
    /// Where it is.
    pub state: MailState,
    /// How often somebody tried to send it.
    pub attempts: i32,
    /// When it was written.
    pub created_at: OffsetDateTime,
}

const COLUMNS: &str = "id, message, attempts, created_at, sent_at, failed_at";

impl Registry {
    /// Puts a mail into the outbox, to be sent within `life` or not at all.
    pub(crate) async fn mail_insert_in_txn(
        &self,
        txn: &Transaction<'_>,
        mail: &Mail,
        life: Duration,
    ) -> Result<()> {
        let id = Uuid::now_v7();
        let message = serde_json::to_string(mail).expect("texts are JSON");
        txn.execute(
            "INSERT INTO outbox (id, message, expires_at) VALUES ($1, $2, now() + make_interval(secs => $3))",
            &[&id, &self.seal_mail(id, &message), &life.as_secs_f64()],
        )
        .await?;
        Ok(())
    }

    /// Takes up to `limit` mails whose time has come, no more than `per_hour` in an hour where that isn't 0. Each is the
    /// caller's for 90 seconds.
    ///
    /// # Errors
    /// The registry, or a mail that doesn't open.
    pub async fn mails_take(&self, limit: i64, per_hour: i64) -> Result<Vec<MailRow>> {
        let rows = self
            .client()
            .await?
            .query(
                "UPDATE outbox SET attempts = attempts + 1, next_at = now() + make_interval(secs => $3)
                 WHERE id IN (SELECT id FROM outbox
                              WHERE sent_at IS NULL AND failed_at IS NULL AND next_at <= now() AND expires_at > now()
                              ORDER BY next_at
                              LIMIT CASE WHEN $2::bigint = 0 THEN $1::bigint
                                         ELSE least($1::bigint, greatest(0, $2::bigint - (SELECT count(*) FROM outbox
                                                                          WHERE sent_at > now() - interval '1 hour'))) END
                              FOR UPDATE SKIP LOCKED)
                 RETURNING id, message, attempts, created_at, sent_at, failed_at",
                &[&limit, &per_hour, &TAKEN_FOR.as_secs_f64()],
            )
            .await?;
        rows.iter().map(|row| self.mail_from_row(row)).collect()
    }

    /// Notes that a server took a mail, and erases what it says.
    ///
    /// # Errors
    /// The registry.
    pub async fn mail_sent(&self, id: Uuid) -> Result<()> {
        self.client()
            .await?
            .execute(
                "UPDATE outbox SET sent_at = coalesce(sent_at, now()), message = NULL, error = NULL WHERE id = $1",
                &[&id],
            )
            .await?;
        Ok(())
    }

    /// Notes that a mail could not be sent: it is tried again after a pause that doubles with each try, from a second to a
    /// quarter of an hour.
    ///
    /// # Errors
    /// The registry.
    pub async fn mail_try_later(&self, id: Uuid, error: &str) -> Result<()> {
        self.client()
            .await?
            .execute(
                "UPDATE outbox SET error = $2,
                        next_at = now() + make_interval(secs => least(power(2, least(attempts, 20) - 1), $3))
                 WHERE id = $1",
                &[&id, &error, &PAUSE_MAX.as_secs_f64()],
            )
            .await?;
        Ok(())
    }

    /// Gives a mail up, and erases what it says.
    ///
    /// # Errors
    /// The registry.
    pub async fn mail_give_up(&self, id: Uuid, error: &str) -> Result<()> {
        self.client()
            .await?
            .execute(
                "UPDATE outbox SET failed_at = now(), message = NULL, error = $2 WHERE id = $1",
                &[&id, &error],
            )
            .await?;
        Ok(())
    }

    /// The newest mails, for the mailbox of `portero dev`.
    ///
    /// # Errors
    /// The registry, or a mail that doesn't open.
    pub async fn mails(&self, limit: i64) -> Result<Vec<MailRow>> {
        let sql = ["SELECT ", COLUMNS, " FROM outbox ORDER BY created_at DESC, id DESC LIMIT $1"].concat();
        let rows = self.client().await?.query(sql.as_str(), &[&limit]).await?;
        rows.iter().map(|row| self.mail_from_row(row)).collect()
    }

    /// A mail.
    ///
    /// # Errors
    /// The registry, or a mail that doesn't open.
    pub async fn mail_by_id(&self, id: Uuid) -> Result<Option<MailRow>> {
        let sql = ["SELECT ", COLUMNS, " FROM outbox WHERE id = $1"].concat();
        let row = self.client().await?.query_opt(sql.as_str(), &[&id]).await?;
        row.map(|row| self.mail_from_row(&row)).transpose()
    }

    /// Forgets mails that are a day old, and what those say that it is too late for.
    ///
    /// # Errors
    /// The registry.
    pub async fn outbox_prune(&self) -> Result<()> {
        let client = self.client().await?;
        client
            .execute(
                "UPDATE outbox SET failed_at = now(), message = NULL, error = coalesce(error, 'too late')
                 WHERE sent_at IS NULL AND failed_at IS NULL AND expires_at < now()",
                &[],
            )
            .await?;
        client
            .execute(
                "DELETE FROM outbox WHERE created_at < now() - interval '1 day' AND expires_at < now()",
                &[],
            )
            .await?;
        Ok(())
    }

    fn mail_from_row(&self, row: &Row) -> Result<MailRow> {
        let id = row.get("id");
        let mail = row
            .get::<_, Option<&[u8]>>("message")
            .map(|sealed| {
                let text = self.open_mail(id, sealed)?;
                serde_json::from_str(&text).map_err(|_| RegistryError::Unreadable("mail"))
            })
            .transpose()?;
        let at = |column| row.get::<_, Option<OffsetDateTime>>(column);
        let state = match (at("sent_at"), at("failed_at")) {
            (Some(_), _) => MailState::Sent,
            (None, Some(_)) => MailState::Failed,
            (None, None) => MailState::Waiting,
        };
        Ok(MailRow { id, mail, state, attempts: row.get("attempts"), created_at: row.get("created_at") })
    }
}
