//! Databases made ahead, and how the making of them goes on each server.
//!
//! A spare's row is there before its database and until after it, so that whatever dies, somebody knows the name. It is
//! given to a tenant in the transaction that reserves the tenant's subdomain: the spare's row goes and the tenant's comes,
//! with the same name. So nobody ever holds half a spare, and none is given twice.

use crate::{Registry, RegistryError, Result, connection::Transaction, routers::int};
use portero_kernel::{DatabaseName, SchemaVersion, ServerId, SpareId, TenantId};
use portero_pg::{Session, lock_key};
use std::{collections::BTreeSet, time::Duration};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

/// Where a spare is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpareState {
    /// Its database is being made, or was when its maker died.
    Making,
    /// It can be given away.
    Ready,
    /// Its database is being dropped.
    Dropping,
}

impl SpareState {
    /// As the registry and the metrics write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Making => "making",
            Self::Ready => "ready",
            Self::Dropping => "dropping",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [Self::Making, Self::Ready, Self::Dropping]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(RegistryError::Unreadable("spare's state"))
    }
}

/// What a tenant's database was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A spare that was ready: the warm way.
    Spare,
    /// The server's template.
    Template,
    /// All migrations, one after the other: there was no template yet.
    Migrations,
}

impl Origin {
    /// Each.
    pub const ALL: [Self; 3] = [Self::Spare, Self::Template, Self::Migrations];

    /// As the registry and the wire write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spare => "spare",
            Self::Template => "template",
            Self::Migrations => "migrations",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|origin| origin.as_str() == text)
            .ok_or(RegistryError::Unreadable("tenant's origin"))
    }
}

/// A spare.
#[derive(Debug, Clone)]
pub struct SpareRow {
    /// Its id.
    pub id: SpareId,
    /// Its database, and role of the same name.
    pub database: DatabaseName,
    /// The version of its schema; 0 until it is ready.
    pub schema_version: SchemaVersion,
    /// Where it is in its life.
    pub state: SpareState,
}

/// Why no spares are made on a server now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Its disk is too full, or it holds as much as it may.
    Disk,
    /// It takes no new tenants.
    Draining,
    /// The last try failed.
    Error,
}

impl Stopped {
    /// Each.
    pub const ALL: [Self; 3] = [Self::Disk, Self::Draining, Self::Error];

    /// As the registry and the metrics write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Draining => "draining",
            Self::Error => "error",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|stopped| stopped.as_str() == text)
            .ok_or(RegistryError::Unreadable("refill's state"))
    }
}

/// How the refilling of a server went when it was last looked after.
#[derive(Debug, Clone, Default)]
pub struct Refilled {
    /// How many spares are kept there.
    pub wanted: usize,
    /// The schema versions of the templates there, newest first; nothing where nobody could look.
    pub templates: Option<Vec<SchemaVersion>>,
    /// Why no spares are made there now, and the same in words.
    pub stopped: Option<(Stopped, String)>,
}

/// The spares of a server, in figures.
#[derive(Debug, Clone)]
pub struct SpareFigures {
    /// The server.
    pub server: ServerId,
    /// Its name.
    pub name: String,
    /// Spares that can be given away.
    pub ready: i64,
    /// Spares that are being made.
    pub making: i64,
    /// Tenants whose database was a spare, was made from a template, and by migrations, as in [`Origin::ALL`].
    pub origins: [i64; 3],
    /// How the refilling went; nothing where nobody has looked after the server yet.
    pub refill: Option<RefillRow>,
}

/// How the refilling of a server goes.
#[derive(Debug, Clone)]
pub struct RefillRow {
    /// When the server was last looked after.
    pub looked_at: OffsetDateTime,
    /// How long ago that is by the registry's clock.
    pub age: Duration,
    /// How many spares are kept there.
    pub wanted: i32,
    /// The schema versions of the templates there, newest first.
    pub templates: Vec<SchemaVersion>,
    /// Why no spares are made there now.
    pub stopped: Option<Stopped>,
    /// The same in words.
    pub reason: Option<String>,
    /// How often it failed.
    pub failures: i64,
}

impl Registry {
    /// Notes a spare that is about to be made.
    ///
    /// # Errors
    /// The registry.
    pub async fn spare_insert(&self, id: SpareId, server: ServerId, database: &DatabaseName) -> Result<()> {
        self.client()
            .await?
            .execute(
                "INSERT INTO spares (id, server_id, db_name) VALUES ($1, $2, $3)",
                &[&id.uuid(), &server.uuid(), &database.as_str()],
            )
            .await?;
        Ok(())
    }

    /// Notes that a spare can be given away; says no where it was taken for a leftover meanwhile.
    ///
    /// # Errors
    /// The registry.
    pub async fn spare_ready(&self, id: SpareId, version: SchemaVersion) -> Result<bool> {
        let sql = "UPDATE spares SET state = 'ready', schema_version = $2 WHERE id = $1 AND state = 'making'";
        Ok(self.client().await?.execute(sql, &[&id.uuid(), &version]).await? == 1)
    }

    /// Keeps a spare from being given away, for good; says no where somebody was given it before.
    ///
    /// # Errors
    /// The registry.
    pub async fn spare_discard(&self, id: SpareId) -> Result<bool> {
        let sql = "UPDATE spares SET state = 'dropping' WHERE id = $1";
        Ok(self.client().await?.execute(sql, &[&id.uuid()]).await? == 1)
    }

    /// Forgets a spare whose database is gone.
    ///
    /// # Errors
    /// The registry.
    pub async fn spare_forget(&self, id: SpareId) -> Result<()> {
        let sql = "DELETE FROM spares WHERE id = $1 AND state = 'dropping'";
        self.client().await?.execute(sql, &[&id.uuid()]).await?;
        Ok(())
    }

    /// The spares of a server, oldest first.
    ///
    /// # Errors
    /// The registry.
    pub async fn spares_of(&self, server: ServerId) -> Result<Vec<SpareRow>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT id, db_name, schema_version, state FROM spares WHERE server_id = $1
                 ORDER BY created_at, id",
                &[&server.uuid()],
            )
            .await?;
        rows.iter().map(spare_from_row).collect()
    }

    /// All spares of all servers, whatever their state.
    ///
    /// # Errors
    /// The registry.
    pub async fn spares(&self) -> Result<Vec<SpareRow>> {
        let sql = "SELECT id, db_name, schema_version, state FROM spares";
        self.client().await?.query(sql, &[]).await?.iter().map(spare_from_row).collect()
    }

    /// Takes the server's best spare, if one is ready whose schema this program knows: its database is the caller's, if the
    /// transaction commits.
    pub(crate) async fn spare_claim_in_txn(
        &self,
        txn: &Transaction<'_>,
        server: ServerId,
        newest: SchemaVersion,
    ) -> Result<Option<DatabaseName>> {
        let row = txn
            .query_opt(
                "DELETE FROM spares WHERE id = (
                     SELECT id FROM spares WHERE server_id = $1 AND state = 'ready' AND schema_version <= $2
                     ORDER BY schema_version DESC, created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
                 RETURNING db_name",
                &[&server.uuid(), &newest],
            )
            .await?;
        row.as_ref().map(database_name).transpose()
    }

    /// Of these databases, those that the registry knows, as a tenant's or as a spare.
    ///
    /// # Errors
    /// The registry.
    pub async fn databases_known(&self, names: &[String]) -> Result<BTreeSet<String>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT db_name FROM tenants WHERE db_name = ANY($1)
                 UNION SELECT db_name FROM spares WHERE db_name = ANY($1)",
                &[&names],
            )
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// What a tenant's database was made from, as far as that is known.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_origin(&self, id: TenantId) -> Result<Option<Origin>> {
        let sql = "SELECT origin FROM tenants WHERE id = $1";
        let row = self.client().await?.query_opt(sql, &[&id.uuid()]).await?;
        row.and_then(|row| row.get::<_, Option<String>>(0)).map(|origin| Origin::parse(&origin)).transpose()
    }

    /// The right to refill a server, if nobody has it now; it lasts as long as the session.
    ///
    /// # Errors
    /// The registry.
    pub async fn refill_lock(&self, server: ServerId) -> Result<Option<Session>> {
        let session = self.session().await?;
        let key = lock_key(&format!("portero.refill.{server}"));
        let row = session.query_one("SELECT pg_try_advisory_lock($1)", &[&key]).await?;
        if row.get(0) {
            return Ok(Some(session));
        }
        session.close().await;
        Ok(None)
    }

    /// Notes how the refilling of a server went.
    ///
    /// # Errors
    /// The registry.
    pub async fn refill_set(&self, server: ServerId, refilled: &Refilled) -> Result<()> {
        let (stopped, reason) = match &refilled.stopped {
            Some((stopped, reason)) => (Some(stopped.as_str()), Some(reason.as_str())),
            None => (None, None),
        };
        let failed = i64::from(stopped == Some(Stopped::Error.as_str()));
        self.client()
            .await?
            .execute(
                "INSERT INTO refills AS r (server_id, wanted, templates, stopped, reason, failures)
                 VALUES ($1, $2, coalesce($3::integer[], '{}'), $4, $5, $6)
                 ON CONFLICT (server_id) DO UPDATE SET looked_at = now(), wanted = excluded.wanted,
                     templates = coalesce($3::integer[], r.templates), stopped = excluded.stopped,
                     reason = excluded.reason, failures = r.failures + excluded.failures",
                &[&server.uuid(), &int(refilled.wanted), &refilled.templates, &stopped, &reason, &failed],
            )
            .await?;
        Ok(())
    }

    /// The spares of every server, in figures, oldest server first.
    ///
    /// # Errors
    /// The registry.
    pub async fn spare_figures(&self) -> Result<Vec<SpareFigures>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT s.id, s.name, coalesce(p.ready, 0) AS ready, coalesce(p.making, 0) AS making,
                        coalesce(t.spare, 0) AS spare, coalesce(t.template, 0) AS template,
                        coalesce(t.migrations, 0) AS migrations,
                        r.looked_at, extract(epoch FROM now() - r.looked_at)::float8 AS age, r.wanted,
                        r.templates, r.stopped, r.reason, r.failures
                 FROM servers s
                 LEFT JOIN (SELECT server_id, count(*) FILTER (WHERE state = 'ready') AS ready,
                                   count(*) FILTER (WHERE state = 'making') AS making
                            FROM spares GROUP BY server_id) p ON p.server_id = s.id
                 LEFT JOIN (SELECT server_id, count(*) FILTER (WHERE origin = 'spare') AS spare,
                                   count(*) FILTER (WHERE origin = 'template') AS template,
                                   count(*) FILTER (WHERE origin = 'migrations') AS migrations
                            FROM tenants GROUP BY server_id) t ON t.server_id = s.id
                 LEFT JOIN refills r ON r.server_id = s.id
                 ORDER BY s.created_at, s.id",
                &[],
            )
            .await?;
        rows.iter().map(figures_from_row).collect()
    }
}

fn spare_from_row(row: &Row) -> Result<SpareRow> {
    Ok(SpareRow {
        id: SpareId::from(row.get::<_, Uuid>("id")),
        database: database_name(row)?,
        schema_version: row.get("schema_version"),
        state: SpareState::parse(row.get("state"))?,
    })
}

fn database_name(row: &Row) -> Result<DatabaseName> {
    row.get::<_, &str>("db_name").parse().map_err(|_| RegistryError::Unreadable("database's name"))
}

fn figures_from_row(row: &Row) -> Result<SpareFigures> {
    let refill = match row.get::<_, Option<OffsetDateTime>>("looked_at") {
        None => None,
        Some(looked_at) => Some(RefillRow {
            looked_at,
            age: Duration::try_from_secs_f64(row.get("age")).unwrap_or_default(),
            wanted: row.get("wanted"),
            templates: row.get("templates"),
            stopped: row.get::<_, Option<&str>>("stopped").map(Stopped::parse).transpose()?,
            reason: row.get("reason"),
            failures: row.get("failures"),
        }),
    };
    Ok(SpareFigures {
        server: ServerId::from(row.get::<_, Uuid>("id")),
        name: row.get("name"),
        ready: row.get("ready"),
        making: row.get("making"),
        origins: ["spare", "template", "migrations"].map(|origin| row.get(origin)),
        refill,
    })
}
