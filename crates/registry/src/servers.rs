//! The PostgreSQL servers that hold tenants' databases.

use crate::{Registry, RegistryError, Result, connection::Transaction, routers::int};
use portero_kernel::{SecretString, ServerId};
use portero_pg::violated_constraint;
use std::collections::BTreeMap;
use tokio_postgres::{Config, Row};
use uuid::Uuid;

/// Whether a server takes new tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerStatus {
    /// It does.
    Active,
    /// It serves those it has.
    Draining,
}

impl ServerStatus {
    /// As the registry and the wire write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        match text {
            "active" => Ok(Self::Active),
            "draining" => Ok(Self::Draining),
            _ => Err(RegistryError::Unreadable("server's status")),
        }
    }
}

/// A server and Portero's own login on it.
#[derive(Clone, Debug)]
pub struct ServerRow {
    /// Its id.
    pub id: ServerId,
    /// Its name, for people.
    pub name: String,
    /// How Portero's own role logs in; the hosts are where tenants' roles go too.
    pub admin: Config,
    /// The same as the registry has it.
    pub sealed_url: Vec<u8>,
    /// Whether it takes new tenants.
    pub status: ServerStatus,
    /// The connections that tenants together may hold, as last read from it; nothing where nobody has asked it yet.
    pub capacity: Option<usize>,
}

const COLUMNS: &str = "id, name, admin_url, status, capacity";

impl Registry {
    /// Notes a server, or its new address, under its name.
    ///
    /// # Errors
    /// The registry; and [`RegistryError::Secret`] where what is there was written with another master key: nothing is
    /// written over it.
    pub async fn server_upsert(&self, name: &str, admin_url: &SecretString) -> Result<ServerId> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let known =
            txn.query_opt("SELECT id, admin_url FROM servers WHERE name = $1 FOR UPDATE", &[&name]).await?;
        let id = match known {
            Some(row) => {
                let id = ServerId::from(row.get::<_, Uuid>("id"));
                self.open_server_url(id, row.get("admin_url"))?;
                id
            }
            None => ServerId::generate(),
        };
        let sealed = self.seal_server_url(id, admin_url);
        txn.execute(
            "INSERT INTO servers (id, name, admin_url) VALUES ($1, $2, $3)
             ON CONFLICT (id) DO UPDATE SET admin_url = excluded.admin_url",
            &[&id.uuid(), &name, &sealed],
        )
        .await?;
        txn.commit().await?;
        Ok(id)
    }

    /// Notes a server that is new.
    ///
    /// # Errors
    /// [`RegistryError::ServerTaken`] where the name is another's.
    pub async fn server_add(
        &self,
        name: &str,
        admin_url: &SecretString,
        capacity: usize,
    ) -> Result<ServerId> {
        let id = ServerId::generate();
        let sealed = self.seal_server_url(id, admin_url);
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        txn.execute(
            "INSERT INTO servers (id, name, admin_url, capacity) VALUES ($1, $2, $3, $4)",
            &[&id.uuid(), &name, &sealed, &int(capacity)],
        )
        .await
        .map_err(|error| match violated_constraint(&error) {
            Some("servers_name_key") => RegistryError::ServerTaken,
            _ => error.into(),
        })?;
        self.note_in_txn(&txn, None).await?;
        txn.commit().await?;
        Ok(id)
    }

    /// Says whether a server takes new tenants. Those who are being reserved meanwhile are waited for: afterwards every
    /// tenant that was placed by the old status is in the registry.
    ///
    /// # Errors
    /// The registry.
    pub async fn server_set_status(&self, id: ServerId, status: ServerStatus) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        // Also where it has the status: whoever set it may not have waited.
        txn.execute("SELECT FROM servers WHERE id = $1 FOR NO KEY UPDATE", &[&id.uuid()]).await?;
        let sql = "UPDATE servers SET status = $2 WHERE id = $1 AND status <> $2";
        if txn.execute(sql, &[&id.uuid(), &status.as_str()]).await? == 1 {
            self.note_in_txn(&txn, None).await?;
        }
        txn.commit().await?;
        Ok(())
    }

    /// The server for one more tenant: of these, as far as they take new ones, the one that has the fewest for the
    /// connections that it can bear. Its status stays as it is until the transaction ends.
    ///
    /// # Errors
    /// [`RegistryError::NoServer`].
    pub(crate) async fn server_choose_in_txn(
        &self,
        txn: &Transaction<'_>,
        among: &[ServerId],
    ) -> Result<ServerId> {
        let among: Vec<Uuid> = among.iter().map(|server| server.uuid()).collect();
        // One that nobody has asked yet is taken for as large as the largest.
        let row = txn
            .query_opt(
                "SELECT s.id FROM servers s WHERE s.status = 'active' AND s.id = ANY($1)
                 ORDER BY (SELECT count(*) FROM tenants t WHERE t.server_id = s.id)::float8
                              / greatest(coalesce(s.capacity, (SELECT max(capacity) FROM servers)), 1),
                          s.created_at, s.id
                 LIMIT 1 FOR SHARE OF s",
                &[&among],
            )
            .await?;
        row.map(|row| ServerId::from(row.get::<_, Uuid>("id"))).ok_or(RegistryError::NoServer)
    }

    /// How many tenants each server has that has any.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenants_by_server(&self) -> Result<BTreeMap<ServerId, i64>> {
        let rows = self
            .client()
            .await?
            .query("SELECT server_id, count(*) FROM tenants GROUP BY server_id", &[])
            .await?;
        Ok(rows.iter().map(|row| (ServerId::from(row.get::<_, Uuid>(0)), row.get(1))).collect())
    }

    /// Every server.
    ///
    /// # Errors
    /// The registry, or a URL that the master key doesn't open.
    pub async fn servers(&self) -> Result<Vec<ServerRow>> {
        self.servers_each().await?.into_iter().map(|server| server.map_err(|(_, error)| error)).collect()
    }

    /// Every server; of one that can't be read, its name and why. One bad row should not keep the others from whoever
    /// serves them.
    ///
    /// # Errors
    /// The registry.
    pub async fn servers_each(&self) -> Result<Vec<std::result::Result<ServerRow, (String, RegistryError)>>> {
        let sql = ["SELECT ", COLUMNS, " FROM servers ORDER BY created_at, id"].concat();
        let rows = self.client().await?.query(&sql, &[]).await?;
        let read = |row: &Row| self.server_from_row(row).map_err(|error| (row.get("name"), error));
        Ok(rows.iter().map(read).collect())
    }

    /// One server.
    ///
    /// # Errors
    /// As [`Registry::servers`].
    pub async fn server_by_id(&self, id: ServerId) -> Result<Option<ServerRow>> {
        let sql = ["SELECT ", COLUMNS, " FROM servers WHERE id = $1"].concat();
        let row = self.client().await?.query_opt(&sql, &[&id.uuid()]).await?;
        row.map(|row| self.server_from_row(&row)).transpose()
    }

    /// A server by its name.
    ///
    /// # Errors
    /// As [`Registry::servers`].
    pub async fn server_by_name(&self, name: &str) -> Result<Option<ServerRow>> {
        let sql = ["SELECT ", COLUMNS, " FROM servers WHERE name = $1"].concat();
        let row = self.client().await?.query_opt(&sql, &[&name]).await?;
        row.map(|row| self.server_from_row(&row)).transpose()
    }

    fn server_from_row(&self, row: &Row) -> Result<ServerRow> {
        let id = ServerId::from(row.get::<_, Uuid>("id"));
        let sealed_url: Vec<u8> = row.get("admin_url");
        let admin = self.open_server_url(id, &sealed_url)?;
        let capacity = row.get::<_, Option<i32>>("capacity").and_then(|count| usize::try_from(count).ok());
        Ok(ServerRow {
            id,
            name: row.get("name"),
            admin,
            sealed_url,
            status: ServerStatus::parse(row.get("status"))?,
            capacity,
        })
    }
}
