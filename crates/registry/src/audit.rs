//! The platform's audit log: who did what to whom, when and from where, in a chain that tells if it was tampered with.
//!
//! A change and its row are one transaction: [`Registry::noting`] gives a handle whose next change is written down with
//! it. Appending holds the chain's head until the transaction ends, so it comes last in one; there is no number without
//! a row. `auth` has the mathematics of the chain; `audit_walk` follows it.

use crate::{Registry, Result, Verb, connection::Transaction};
use portero_auth::Chain;
use portero_kernel::TenantId;
use serde_json::Value;
use std::{
    cell::Cell,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use time::OffsetDateTime;
use tokio_postgres::{Row, types::FromSql};
use uuid::Uuid;

/// Characters of a user agent that are kept.
const LONGEST_AGENT: usize = 120;

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Somebody at the command line of a machine.
    Cli {
        /// As the system calls them.
        os_user: String,
        /// The machine.
        host: String,
    },
    /// An operator, by the console or the admin API.
    Operator {
        /// Its name, which is nobody else's ever.
        name: String,
        /// Where from.
        address: Option<IpAddr>,
        /// With what.
        agent: Option<String>,
    },
    /// A company that signs up.
    SignUp {
        /// Where from.
        address: Option<IpAddr>,
        /// With what.
        agent: Option<String>,
    },
    /// Portero by itself.
    System {
        /// Which task of it.
        task: &'static str,
    },
    /// Nobody that is known: what they tried was refused.
    Outsider {
        /// Where from: of several, one.
        address: Option<IpAddr>,
    },
}

impl Actor {
    fn kind(&self) -> &'static str {
        match self {
            Self::Cli { .. } => "cli",
            Self::Operator { .. } => "operator",
            Self::SignUp { .. } => "signup",
            Self::System { .. } => "system",
            Self::Outsider { .. } => "outsider",
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Cli { os_user, host } => format!("{os_user}@{host}"),
            Self::Operator { name, .. } => name.clone(),
            Self::System { task } => (*task).to_owned(),
            Self::SignUp { .. } | Self::Outsider { .. } => String::new(),
        }
    }

    fn address(&self) -> Option<String> {
        match self {
            Self::Operator { address, .. } | Self::SignUp { address, .. } | Self::Outsider { address } => {
                address.map(|address| address.to_string())
            }
            Self::Cli { .. } | Self::System { .. } => None,
        }
    }

    fn agent(&self) -> Option<String> {
        match self {
            Self::Operator { agent, .. } | Self::SignUp { agent, .. } => {
                agent.as_ref().map(|agent| agent.chars().take(LONGEST_AGENT).collect())
            }
            _ => None,
        }
    }
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// A rule forbade it.
    Refused,
    /// Something was in its way; it may have been done in part.
    Failed,
}

impl Outcome {
    /// As the registry and the wire write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What is to be written down.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who.
    pub actor: Actor,
    /// What.
    pub verb: Verb,
    /// How it went.
    pub outcome: Outcome,
    /// To which tenant.
    pub tenant: Option<TenantId>,
    /// As it was called; where that isn't said, as it is called in the registry.
    pub subdomain: Option<String>,
    /// More, without a secret in it.
    pub details: Value,
}

/// An entry that the next change is to be written down by.
pub(crate) struct Note {
    entry: Entry,
    written: AtomicBool,
}

/// A row of the log.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// Its number: 1, 2, 3 …
    pub seq: i64,
    /// When, by the registry's clock; nothing where the table has no moment that could be one.
    pub at: Option<OffsetDateTime>,
    /// `cli`, `operator`, `signup`, `system` or `outsider`.
    pub actor_kind: String,
    /// Its name; empty where it has none.
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
    /// More, as JSON, to the byte as it was written.
    pub details: String,
    /// Whether it holds what no entry holds, nothing where something must be for instance: whoever owns the table can
    /// write that, and Portero doesn't. What can't be read of it is empty here.
    pub is_at_fault: bool,
    pub(crate) hash: Vec<u8>,
    pub(crate) seal: Vec<u8>,
}

/// Which rows to list.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of tenants that were called this then.
    pub subdomain: Option<String>,
    /// Of this tenant, whatever it was called.
    pub tenant: Option<TenantId>,
    /// By actors of this name.
    pub actor: Option<String>,
    /// This was done.
    pub verb: Option<String>,
    /// Not before this.
    pub since: Option<OffsetDateTime>,
    /// Numbered below this: to go on from the last row of a list.
    pub before: Option<i64>,
}

/// Reads a row as it may be, not as it should be.
struct Wary<'a> {
    row: &'a Row,
    faults: Cell<bool>,
}

impl<'a> Wary<'a> {
    /// A column, or nothing where there is none of this kind.
    fn get<T: FromSql<'a> + Default>(&self, column: &str) -> T {
        self.row.try_get(column).unwrap_or_else(|_| {
            self.faults.set(true);
            T::default()
        })
    }
}

impl AuditRow {
    /// A row of columns as [`Registry::audit_rows`] reads them.
    pub(crate) fn from_row(row: &Row) -> Self {
        let wary = Wary { row, faults: Cell::new(false) };
        let read = Self {
            seq: wary.get("seq"),
            at: wary.get("at"),
            actor_kind: wary.get("actor_kind"),
            actor: wary.get("actor"),
            verb: wary.get("verb"),
            outcome: wary.get("outcome"),
            tenant: wary.get::<Option<Uuid>>("tenant_id").map(TenantId::from),
            subdomain: wary.get("subdomain"),
            address: wary.get("address"),
            agent: wary.get("agent"),
            details: wary.get("details"),
            is_at_fault: false,
            hash: wary.get("hash"),
            seal: wary.get("seal"),
        };
        Self { is_at_fault: wary.faults.get() || read.at.is_none(), ..read }
    }

    /// The link that belongs to this row after that one: over everything that it says.
    pub(crate) fn link(&self, before: &[u8; 32]) -> [u8; 32] {
        let micros = self.at.map_or(0, |at| at.unix_timestamp_nanos() / 1000);
        let tenant = self.tenant.map(|tenant| tenant.uuid().to_string());
        let [tenant, subdomain, address, agent] =
            [&tenant, &self.subdomain, &self.address, &self.agent].map(there_or_not);
        Chain::link(
            before,
            &[
                &self.seq.to_be_bytes(),
                &micros.to_be_bytes(),
                self.actor_kind.as_bytes(),
                self.actor.as_bytes(),
                self.verb.as_bytes(),
                self.outcome.as_bytes(),
                &tenant,
                &subdomain,
                &address,
                &agent,
                self.details.as_bytes(),
            ],
        )
    }
}

/// Nothing differs from an empty text.
fn there_or_not(text: &Option<String>) -> Vec<u8> {
    text.as_ref().map_or_else(Vec::new, |text| [b"+", text.as_bytes()].concat())
}

impl Registry {
    /// A handle whose next change is written down as this, in the change's own transaction.
    #[must_use]
    pub fn noting(&self, entry: Entry) -> Self {
        let note = Arc::new(Note { entry, written: AtomicBool::new(false) });
        Self { note: Some(note), ..self.clone() }
    }

    /// Whether a change was written down with what [`Registry::noting`] was given. One that failed after that has not
    /// changed anything.
    #[must_use]
    pub fn has_noted(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.written.load(Ordering::Relaxed))
    }

    /// To be called last in the transaction of a change: writes down what this handle was given, if it was.
    pub(crate) async fn note_in_txn(&self, txn: &Transaction<'_>, tenant: Option<TenantId>) -> Result<()> {
        let Some(note) = &self.note else { return Ok(()) };
        let mut entry = note.entry.clone();
        entry.tenant = tenant.or(entry.tenant);
        self.audit_append_in_txn(txn, &entry).await?;
        note.written.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// To be called last in the transaction that ends what a job was for: a worker's, or that of whoever gave it up.
    pub(crate) async fn note_end_in_txn(
        &self,
        txn: &Transaction<'_>,
        verb: Verb,
        tenant: TenantId,
        subdomain: String,
    ) -> Result<()> {
        let by = self.note.as_ref().map(|note| note.entry.actor.clone());
        let entry = Entry {
            actor: by.unwrap_or(Actor::System { task: "worker" }),
            verb,
            outcome: Outcome::Done,
            tenant: Some(tenant),
            subdomain: Some(subdomain),
            details: Value::Object(Default::default()),
        };
        self.audit_append_in_txn(txn, &entry).await.map(|_| ())
    }

    /// Writes down what has no transaction of its own; returns its number.
    ///
    /// # Errors
    /// The registry.
    pub async fn audit_append(&self, entry: &Entry) -> Result<i64> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let number = self.audit_append_in_txn(&txn, entry).await?;
        txn.commit().await?;
        Ok(number)
    }

    async fn audit_append_in_txn(&self, txn: &Transaction<'_>, entry: &Entry) -> Result<i64> {
        let subdomain = match (&entry.subdomain, entry.tenant) {
            (None, Some(tenant)) => {
                let sql = "SELECT subdomain FROM tenants WHERE id = $1";
                txn.query_opt(sql, &[&tenant.uuid()]).await?.map(|row| row.get(0))
            }
            (told, _) => told.clone(),
        };
        let head = txn
            .query_one("SELECT seq, hash, clock_timestamp() AS at FROM audit_head FOR UPDATE", &[])
            .await?;
        let mut row = AuditRow {
            seq: head.try_get::<_, i64>("seq")?.saturating_add(1),
            at: Some(head.get("at")),
            actor_kind: entry.actor.kind().to_owned(),
            actor: entry.actor.name(),
            verb: entry.verb.code().to_owned(),
            outcome: entry.outcome.as_str().to_owned(),
            tenant: entry.tenant,
            subdomain,
            address: entry.actor.address(),
            agent: entry.actor.agent(),
            details: entry.details.to_string(),
            is_at_fault: false,
            hash: Vec::new(),
            seal: Vec::new(),
        };
        let link = row.link(&link_of(head.try_get("hash")?));
        row.hash = link.to_vec();
        row.seal = self.chain.seal(row.seq, &link).to_vec();
        txn.execute(
            "INSERT INTO audit (seq, at, actor_kind, actor, verb, outcome, tenant_id, subdomain, address, agent,
                                details, hash, seal)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::json, $12, $13)",
            &[
                &row.seq,
                &row.at,
                &row.actor_kind,
                &row.actor,
                &row.verb,
                &row.outcome,
                &row.tenant.map(TenantId::uuid),
                &row.subdomain,
                &row.address,
                &row.agent,
                &row.details,
                &row.hash,
                &row.seal,
            ],
        )
        .await?;
        txn.execute("UPDATE audit_head SET seq = $1, hash = $2", &[&row.seq, &row.hash]).await?;
        Ok(row.seq)
    }

    /// Up to `limit` rows, newest first.
    ///
    /// # Errors
    /// The registry.
    pub async fn audit_rows(&self, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditRow>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT seq, CASE WHEN at >= '0001-01-01 00:00Z' AND at < '10000-01-01 00:00Z' THEN at END AS at,
                        actor_kind, actor, verb, outcome, tenant_id, subdomain, address, agent,
                        details::text AS details, hash, seal
                 FROM audit
                 WHERE ($1::text IS NULL OR subdomain = $1) AND ($2::text IS NULL OR actor = $2)
                   AND ($3::timestamptz IS NULL OR at >= $3) AND ($4::bigint IS NULL OR seq < $4)
                   AND ($6::uuid IS NULL OR tenant_id = $6) AND ($7::text IS NULL OR verb = $7)
                 ORDER BY seq DESC LIMIT $5",
                &[
                    &filter.subdomain,
                    &filter.actor,
                    &filter.since,
                    &filter.before,
                    &limit,
                    &filter.tenant.map(TenantId::uuid),
                    &filter.verb,
                ],
            )
            .await?;
        Ok(rows.iter().map(AuditRow::from_row).collect())
    }
}

/// A link as it is stored; one of another length matches none.
pub(crate) fn link_of(stored: &[u8]) -> [u8; 32] {
    stored.try_into().unwrap_or(Chain::START)
}
