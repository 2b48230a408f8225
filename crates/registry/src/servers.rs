//! The PostgreSQL servers that hold tenants' databases.

use crate::{Registry, Result};
use portero_kernel::{SecretString, ServerId};
use tokio_postgres::{Config, Row};

/// A server and Portero's own login on it.
#[derive(Clone, Debug)]
pub struct ServerRow {
    /// Its id.
    pub id: ServerId,
    /// Its name, for people.
    pub name: String,
    /// How Portero's own role logs in; the hosts are where tenants' roles go too.
    pub admin: Config,
}

impl Registry {
    /// Notes a server, or its new address, under its name.
    ///
    /// # Errors
    /// The registry.
    pub async fn server_upsert(&self, name: &str, admin_url: &SecretString) -> Result<ServerId> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let known = txn.query_opt("SELECT id FROM servers WHERE name = $1 FOR UPDATE", &[&name]).await?;
        let id = known.map_or_else(ServerId::generate, |row| ServerId::from(row.get::<_, uuid::Uuid>(0)));
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

    /// Every server.
    ///
    /// # Errors
    /// The registry, or a URL that the master key doesn't open.
    pub async fn servers(&self) -> Result<Vec<ServerRow>> {
        let rows = self
            .client()
            .await?
            .query("SELECT id, name, admin_url FROM servers ORDER BY created_at, id", &[])
            .await?;
        rows.iter().map(|row| self.server_from_row(row)).collect()
    }

    /// One server.
    ///
    /// # Errors
    /// As [`Registry::servers`].
    pub async fn server_by_id(&self, id: ServerId) -> Result<Option<ServerRow>> {
        let row = self
            .client()
            .await?
            .query_opt("SELECT id, name, admin_url FROM servers WHERE id = $1", &[&id.uuid()])
            .await?;
        row.map(|row| self.server_from_row(&row)).transpose()
    }

    fn server_from_row(&self, row: &Row) -> Result<ServerRow> {
        let id = ServerId::from(row.get::<_, uuid::Uuid>("id"));
        let admin = self.open_server_url(id, row.get("admin_url"))?;
        Ok(ServerRow { id, name: row.get("name"), admin })
    }
}
