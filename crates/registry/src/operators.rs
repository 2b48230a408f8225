//! The people who run the platform, and the programs they gave a token to. Of tokens and sessions there are only digests.

use crate::{Registry, RegistryError, Result};
use portero_kernel::OperatorId;
use portero_pg::violated_constraint;
use std::time::Duration;
use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRow {
    /// Its id.
    pub id: OperatorId,
    /// Its name.
    pub name: String,
    /// When it was added.
    pub created_at: OffsetDateTime,
    /// When it was disabled, if it is.
    pub disabled_at: Option<OffsetDateTime>,
}

impl OperatorRow {
    fn from_row(row: &Row) -> Self {
        Self {
            id: OperatorId::from(row.get::<_, Uuid>("id")),
            name: row.get("name"),
            created_at: row.get("created_at"),
            disabled_at: row.get("disabled_at"),
        }
    }
}

impl Registry {
    /// Notes an operator that is new, by the digest of its token.
    ///
    /// # Errors
    /// [`RegistryError::OperatorTaken`] where the name is another's, disabled or not.
    pub async fn operator_insert(&self, id: OperatorId, name: &str, token: &[u8; 32]) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        txn.execute(
            "INSERT INTO operators (id, name, token_digest) VALUES ($1, $2, $3)",
            &[&id.uuid(), &name, &token.as_slice()],
        )
        .await
        .map_err(|error| match violated_constraint(&error) {
            Some("operators_name_key") => RegistryError::OperatorTaken,
            _ => error.into(),
        })?;
        self.note_in_txn(&txn, None).await?;
        txn.commit().await?;
        Ok(())
    }

    /// Every operator, by name.
    ///
    /// # Errors
    /// The registry.
    pub async fn operators(&self) -> Result<Vec<OperatorRow>> {
        let sql = "SELECT id, name, created_at, disabled_at FROM operators ORDER BY name";
        Ok(self.client().await?.query(sql, &[]).await?.iter().map(OperatorRow::from_row).collect())
    }

    /// Gives an operator another token and ends its sessions; says whether there is such a one that isn't disabled.
    ///
    /// # Errors
    /// The registry.
    pub async fn operator_set_token(&self, name: &str, token: &[u8; 32]) -> Result<bool> {
        let sql = "WITH changed AS (UPDATE operators SET token_digest = $2
                                    WHERE name = $1 AND disabled_at IS NULL RETURNING id),
                        ended AS (DELETE FROM operator_sessions WHERE operator_id IN (SELECT id FROM changed))
                   SELECT FROM changed";
        self.operator_change(sql, &[&name, &token.as_slice()]).await
    }

    /// Shuts an operator out and ends its sessions; says whether there is such a one that wasn't already.
    ///
    /// # Errors
    /// The registry.
    pub async fn operator_disable(&self, name: &str) -> Result<bool> {
        let sql = "WITH changed AS (UPDATE operators SET disabled_at = now()
                                    WHERE name = $1 AND disabled_at IS NULL RETURNING id),
                        ended AS (DELETE FROM operator_sessions WHERE operator_id IN (SELECT id FROM changed))
                   SELECT FROM changed";
        self.operator_change(sql, &[&name]).await
    }

    async fn operator_change(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<bool> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let changed = txn.query_opt(sql, parameters).await?.is_some();
        if changed {
            self.note_in_txn(&txn, None).await?;
        }
        txn.commit().await?;
        Ok(changed)
    }

    /// Whose token this is, unless they are disabled.
    ///
    /// # Errors
    /// The registry.
    pub async fn operator_by_token(&self, token: &[u8; 32]) -> Result<Option<OperatorRow>> {
        let sql = "SELECT id, name, created_at, disabled_at FROM operators
                   WHERE token_digest = $1 AND disabled_at IS NULL";
        let row = self.client().await?.query_opt(sql, &[&token.as_slice()]).await?;
        Ok(row.as_ref().map(OperatorRow::from_row))
    }

    /// Whose session this is, while it lasts and they aren't disabled.
    ///
    /// # Errors
    /// The registry.
    pub async fn operator_by_session(&self, session: &[u8; 32]) -> Result<Option<OperatorRow>> {
        let sql = "SELECT o.id, o.name, o.created_at, o.disabled_at
                   FROM operator_sessions s JOIN operators o ON o.id = s.operator_id
                   WHERE s.digest = $1 AND s.expires_at > now() AND o.disabled_at IS NULL";
        let row = self.client().await?.query_opt(sql, &[&session.as_slice()]).await?;
        Ok(row.as_ref().map(OperatorRow::from_row))
    }

    /// Begins a session, and forgets those that are over.
    ///
    /// # Errors
    /// The registry.
    pub async fn operator_session_insert(
        &self,
        operator: OperatorId,
        session: &[u8; 32],
        lasts: Duration,
    ) -> Result<()> {
        let sql = "WITH over AS (DELETE FROM operator_sessions WHERE expires_at <= now())
                   INSERT INTO operator_sessions (digest, operator_id, expires_at)
                   VALUES ($1, $2, now() + make_interval(secs => $3)) RETURNING digest";
        self.operator_change(sql, &[&session.as_slice(), &operator.uuid(), &lasts.as_secs_f64()]).await?;
        Ok(())
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The registry.
    pub async fn operator_session_delete(&self, session: &[u8; 32]) -> Result<()> {
        let sql = "DELETE FROM operator_sessions WHERE digest = $1 AND expires_at > now() RETURNING digest";
        self.operator_change(sql, &[&session.as_slice()]).await?;
        Ok(())
    }
}
