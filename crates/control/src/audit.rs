//! The audit log, as operators see it: list, verify.

use crate::Control;
use portero_kernel::TenantId;
use portero_registry::{AuditFilter, AuditHead, AuditRow, AuditVerdict, RegistryError};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

/// An entry of the audit log.
#[derive(Debug, Clone, Serialize)]
pub struct AuditView {
    /// Its number.
    pub seq: i64,
    /// When; nothing where the log doesn't have a moment that could be one.
    #[serde(with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
    /// `cli`, `operator`, `signup`, `system` or `outsider`.
    pub actor_kind: String,
    /// Its name.
    pub actor: String,
    /// What was done.
    pub verb: String,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// To which tenant.
    pub tenant: Option<TenantId>,
    /// As it was called then.
    pub subdomain: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// With what.
    pub agent: Option<String>,
    /// More.
    pub details: Value,
    /// Whether it holds what Portero doesn't write: somebody laid hands on it.
    pub at_fault: bool,
}

/// What became of following the log.
#[derive(Debug, Clone, Serialize)]
pub struct AuditReport {
    /// Whether it holds together.
    pub intact: bool,
    /// How many entries do.
    pub entries: i64,
    /// The last of them as `NUMBER:HASH`, to be kept elsewhere and expected later.
    pub head: String,
    /// What is wrong, if something is.
    pub fault: Option<String>,
}

impl Control {
    /// Up to `limit` entries, newest first.
    ///
    /// # Errors
    /// The registry.
    pub async fn audit(&self, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditView>, RegistryError> {
        Ok(self.registry.audit_rows(filter, limit).await?.into_iter().map(AuditView::from).collect())
    }

    /// Follows the log from its beginning, and through a place that was kept before.
    ///
    /// # Errors
    /// The registry. What is wrong with the log is in the report.
    pub async fn audit_verify(&self, expected: Option<AuditHead>) -> Result<AuditReport, RegistryError> {
        let AuditVerdict { rows, head, fault } = self.registry.audit_verify(expected).await?;
        Ok(AuditReport {
            intact: fault.is_none(),
            entries: rows,
            head: head.to_string(),
            fault: fault.map(|fault| fault.to_string()),
        })
    }
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        Self {
            seq: row.seq,
            at: row.at,
            actor_kind: row.actor_kind,
            actor: row.actor,
            verb: row.verb,
            outcome: row.outcome,
            tenant: row.tenant,
            subdomain: row.subdomain,
            address: row.address,
            agent: row.agent,
            details: serde_json::from_str(&row.details).unwrap_or_default(),
            at_fault: row.is_at_fault,
        }
    }
}
