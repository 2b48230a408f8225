//! The companies: who has which subdomain and which database, and whether its door is open.

use crate::{
    Lease, Origin, Registry, RegistryError, Result, TenantLogin, Verb, connection::Transaction,
    route_changed_in_txn, routes::weight_of, signups::invitation_give_back_in_txn,
};
use portero_kernel::{
    CompanyName, DatabaseName, JobId, SchemaVersion, ServerId, Subdomain, TenantId, UserId,
};
use portero_pg::{Session, lock_key, violated_constraint};
use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantStatus {
    /// Its database is being made.
    Provisioning,
    /// Its door is open.
    Active,
    /// Its door is shut and its data kept.
    Paused,
    /// Deleted, and its fence is not known to be up yet.
    Deleting,
    /// Deleted; its data is kept until its grace is over, and it can be brought back.
    Deleted,
    /// Its data is being removed: there is no way back.
    Purging,
}

impl TenantStatus {
    /// As the registry and the wire write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Purging => "purging",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        [Self::Provisioning, Self::Active, Self::Paused, Self::Deleting, Self::Deleted, Self::Purging]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(RegistryError::Unreadable("tenant's status"))
    }
}

/// A tenant as it is about to be reserved.
pub struct NewTenant<'a> {
    /// Its id.
    pub id: TenantId,
    /// The company's name.
    pub name: &'a CompanyName,
    /// The subdomain it asked for.
    pub subdomain: &'a Subdomain,
    /// The login its role will have; where a spare is ready, that one's database and role with this password.
    pub login: &'a TenantLogin,
    /// The first admin's id in the tenant's own database.
    pub admin: UserId,
    /// The servers that its database may be put on.
    pub servers: &'a [ServerId],
    /// The newest version of a spare's schema that whoever makes the tenant knows: none of a newer one will do.
    pub newest_spare: SchemaVersion,
    /// Its plan.
    pub plan: Option<&'a TenantPlan>,
}

/// What a company's contract is called, and the weight that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantPlan {
    /// Its name: up to 32 of `a-z`, `0-9` and hyphens.
    pub name: String,
    /// 1 to 100.
    pub weight: u8,
}

/// A tenant.
#[derive(Debug, Clone)]
pub struct TenantRow {
    /// Its id.
    pub id: TenantId,
    /// The company's name.
    pub name: CompanyName,
    /// Its subdomain.
    pub subdomain: Subdomain,
    /// Its database, and role of the same name.
    pub database: DatabaseName,
    /// When it signed up.
    pub created_at: OffsetDateTime,
    /// Where it is in its life.
    pub status: TenantStatus,
    /// The first admin's id in its own database.
    pub admin: Option<UserId>,
    /// The server that holds its database.
    pub server: ServerId,
    /// The version of its schema.
    pub schema_version: SchemaVersion,
    /// Why it was paused, if anybody said.
    pub pause_reason: Option<String>,
    /// Its part of a server that is short of connections, beside others that wait: 1 to 100.
    pub weight: u8,
    /// The name of its plan, if it was given one.
    pub plan: Option<String>,
    /// When it was deleted, if it is.
    pub deleted_at: Option<OffsetDateTime>,
    /// Until when a deleted one is kept at least.
    pub purge_after: Option<OffsetDateTime>,
    /// The state that a deleted one comes back to.
    pub undelete_to: Option<TenantStatus>,
}

const COLUMNS: &str = "id, name, subdomain, db_name, created_at, status, admin_user_id, server_id, schema_version, pause_reason, weight, plan, deleted_at, purge_after, undelete_to";

impl TenantRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            id: TenantId::from(row.get::<_, Uuid>("id")),
            name: CompanyName::parse(row.get("name"))
                .map_err(|_| RegistryError::Unreadable("company's name"))?,
            subdomain: Subdomain::parse(row.get("subdomain"))
                .map_err(|_| RegistryError::Unreadable("subdomain"))?,
            database: row
                .get::<_, &str>("db_name")
                .parse()
                .map_err(|_| RegistryError::Unreadable("database's name"))?,
            created_at: row.get("created_at"),
            status: TenantStatus::parse(row.get("status"))?,
            admin: row.get::<_, Option<Uuid>>("admin_user_id").map(UserId::from),
            server: ServerId::from(row.get::<_, Uuid>("server_id")),
            schema_version: row.get("schema_version"),
            pause_reason: row.get("pause_reason"),
            weight: weight_of(row)?,
            plan: row.get("plan"),
            deleted_at: row.get("deleted_at"),
            purge_after: row.get("purge_after"),
            undelete_to: row.get::<_, Option<&str>>("undelete_to").map(TenantStatus::parse).transpose()?,
        })
    }
}

impl Registry {
    /// Reserves the subdomain, chooses a server, takes a spare of that server if one is ready, and notes the tenant as being
    /// made.
    ///
    /// # Errors
    /// [`RegistryError::NoServer`]; [`RegistryError::SubdomainTaken`] where somebody has it, also where they took it in this very moment.
    pub(crate) async fn tenant_insert_in_txn(
        &self,
        txn: &Transaction<'_>,
        new: &NewTenant<'_>,
    ) -> Result<()> {
        let server = self.server_choose_in_txn(txn, new.servers).await?;
        let spare = self.spare_claim_in_txn(txn, server, new.newest_spare).await?;
        let origin = spare.as_ref().map(|_| Origin::Spare.as_str());
        let database = spare.unwrap_or_else(|| new.login.database.clone());
        let login = TenantLogin { database, password: new.login.password.clone() };
        let sealed = self.seal_login(new.id, &login);
        txn.execute(
            "INSERT INTO tenants (id, name, subdomain, db_name, db_url, status, admin_user_id, server_id, origin, plan, weight)
             VALUES ($1, $2, $3, $4, $5, 'provisioning', $6, $7, $8, $9, coalesce($10::smallint, 1::smallint))",
            &[
                &new.id.uuid(),
                &new.name.as_str(),
                &new.subdomain.as_str(),
                &login.database.as_str(),
                &sealed,
                &new.admin.uuid(),
                &server.uuid(),
                &origin,
                &new.plan.map(|plan| plan.name.as_str()),
                &new.plan.map(|plan| i16::from(plan.weight)),
            ],
        )
        .await
        .map_err(|error| match violated_constraint(&error) {
            Some("tenants_subdomain_key") => RegistryError::SubdomainTaken,
            _ => error.into(),
        })?;
        route_changed_in_txn(txn, new.id).await?;
        Ok(())
    }

    /// A tenant by its id.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_by_id(&self, id: TenantId) -> Result<Option<TenantRow>> {
        let sql = select_where(COLUMNS, "id = $1");
        let row = self.client().await?.query_opt(&sql, &[&id.uuid()]).await?;
        row.as_ref().map(TenantRow::from_row).transpose()
    }

    /// A tenant by its subdomain.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_by_subdomain(&self, subdomain: &Subdomain) -> Result<Option<TenantRow>> {
        let sql = select_where(COLUMNS, "subdomain = $1");
        let row = self.client().await?.query_opt(&sql, &[&subdomain.as_str()]).await?;
        row.as_ref().map(TenantRow::from_row).transpose()
    }

    /// Up to `limit` tenants in the order of their subdomains, after the one named.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenants_after(&self, after: Option<&Subdomain>, limit: i64) -> Result<Vec<TenantRow>> {
        let sql = select_where(COLUMNS, "subdomain > $1 ORDER BY subdomain LIMIT $2");
        let after = after.map_or("", Subdomain::as_str);
        let rows = self.client().await?.query(&sql, &[&after, &limit]).await?;
        rows.iter().map(TenantRow::from_row).collect()
    }

    /// How many tenants there are in each state.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenants_by_status(&self) -> Result<Vec<(TenantStatus, i64)>> {
        let rows = self
            .client()
            .await?
            .query("SELECT status, count(*) FROM tenants GROUP BY status ORDER BY status", &[])
            .await?;
        rows.iter().map(|row| Ok((TenantStatus::parse(row.get(0))?, row.get(1)))).collect()
    }

    /// How many tenants have each version of the schema, the oldest first: those whose database can be migrated, which
    /// leaves out those that are being made or purged.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenants_by_schema(&self) -> Result<Vec<(SchemaVersion, i64)>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT schema_version, count(*) FROM tenants WHERE status NOT IN ('provisioning', 'purging')
                 GROUP BY schema_version ORDER BY schema_version",
                &[],
            )
            .await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Whether somebody has the subdomain, or had it not long enough ago.
    ///
    /// # Errors
    /// The registry.
    pub async fn subdomain_taken(&self, subdomain: &Subdomain) -> Result<bool> {
        let row = self
            .client()
            .await?
            .query_one(
                "SELECT EXISTS (SELECT FROM tenants WHERE subdomain = $1)
                     OR EXISTS (SELECT FROM former_subdomains WHERE subdomain = $1 AND quarantined_until > now())",
                &[&subdomain.as_str()],
            )
            .await?;
        Ok(row.get(0))
    }

    /// How a tenant's role logs in.
    ///
    /// # Errors
    /// The registry, or a secret that doesn't open.
    pub async fn tenant_login(&self, id: TenantId) -> Result<Option<TenantLogin>> {
        let row =
            self.client().await?.query_opt("SELECT db_url FROM tenants WHERE id = $1", &[&id.uuid()]).await?;
        row.map(|row| self.open_login(id, row.get(0))).transpose()
    }

    /// Opens the door of a tenant that was being made. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`] where another worker has the job.
    pub async fn tenant_activate(&self, id: TenantId, lease: &Lease) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        lease.check_in_txn(&txn).await?;
        let changed = txn
            .query_opt(
                "UPDATE tenants SET status = 'active' WHERE id = $1 AND status = 'provisioning' RETURNING subdomain",
                &[&id.uuid()],
            )
            .await?;
        if let Some(row) = changed {
            route_changed_in_txn(&txn, id).await?;
            self.note_end_in_txn(&txn, Verb::TenantMade, id, row.get(0)).await?;
        }
        txn.commit().await?;
        Ok(())
    }

    /// Notes what a tenant's database was made from, or which version its schema has: whichever is given.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`] where another worker has the job.
    pub async fn tenant_set_database(
        &self,
        id: TenantId,
        origin: Option<Origin>,
        version: Option<SchemaVersion>,
        lease: &Lease,
    ) -> Result<()> {
        let set = self
            .client()
            .await?
            .execute(
                "UPDATE tenants SET origin = coalesce($2, origin), schema_version = coalesce($3, schema_version)
                 WHERE id = $1 AND EXISTS (SELECT FROM jobs WHERE id = $4 AND fence = $5 FOR SHARE)",
                &[&id.uuid(), &origin.map(Origin::as_str), &version, &lease.job().uuid(), &lease.fence()],
            )
            .await?;
        if set == 1 { Ok(()) } else { Err(RegistryError::LeaseLost) }
    }

    /// Forgets a tenant whose making was undone: its subdomain is free again. Whatever its status says: the answer to
    /// its activation may have been lost, and its database is gone by now.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`] where another worker has the job.
    pub async fn tenant_release(&self, id: TenantId, lease: &Lease) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        lease.check_in_txn(&txn).await?;
        let sql = "DELETE FROM tenants WHERE id = $1 RETURNING subdomain";
        if let Some(row) = txn.query_opt(sql, &[&id.uuid()]).await? {
            invitation_give_back_in_txn(&txn, id).await?;
            route_changed_in_txn(&txn, id).await?;
            self.note_end_in_txn(&txn, Verb::TenantUndone, id, row.get(0)).await?;
        }
        txn.commit().await?;
        Ok(())
    }

    /// Forgets a tenant that was being made by a job which a person gave up; says whether there was such a one.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_release_given_up(&self, job: JobId) -> Result<bool> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let gone = txn
            .query_opt(
                "DELETE FROM tenants USING jobs
                 WHERE jobs.id = $1 AND jobs.status = 'abandoned'
                   AND tenants.id = jobs.tenant_id AND tenants.status = 'provisioning'
                 RETURNING tenants.id, tenants.subdomain",
                &[&job.uuid()],
            )
            .await?;
        if let Some(row) = &gone {
            let id = TenantId::from(row.get::<_, Uuid>(0));
            invitation_give_back_in_txn(&txn, id).await?;
            route_changed_in_txn(&txn, id).await?;
            self.note_end_in_txn(&txn, Verb::TenantUndone, id, row.get(1)).await?;
        }
        txn.commit().await?;
        Ok(gone.is_some())
    }

    /// Waits until nobody else is changing this tenant from outside a job. The lock lasts as long as the session.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_lock(&self, id: TenantId) -> Result<Session> {
        let session = self.session().await?;
        session.execute("SELECT pg_advisory_lock($1)", &[&tenant_lock_key(id)]).await?;
        Ok(session)
    }

    /// Moves a tenant between `active` and `paused`; returns the clock value of that, or nothing where it was not there
    /// to be moved.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_set_paused(
        &self,
        id: TenantId,
        from: TenantStatus,
        reason: Option<&str>,
    ) -> Result<Option<i64>> {
        let to = if from == TenantStatus::Active { TenantStatus::Paused } else { TenantStatus::Active };
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let changed = txn
            .execute(
                "UPDATE tenants SET status = $3, pause_reason = $4 WHERE id = $1 AND status = $2",
                &[&id.uuid(), &from.as_str(), &to.as_str(), &reason],
            )
            .await?;
        if changed != 1 {
            return Ok(None);
        }
        let clock = route_changed_in_txn(&txn, id).await?;
        self.note_in_txn(&txn, Some(id)).await?;
        txn.commit().await?;
        Ok(Some(clock))
    }
}

impl Registry {
    /// Gives a tenant another weight; returns the clock value of that, and nothing where there is no such tenant.
    ///
    /// # Errors
    /// The registry, and a weight that is not between 1 and 100.
    pub async fn tenant_set_weight(&self, id: TenantId, weight: u8) -> Result<Option<i64>> {
        self.tenant_set_share(id, weight, None).await
    }

    /// Gives a tenant a plan, and its weight; returns as [`tenant_set_weight`](Self::tenant_set_weight).
    ///
    /// # Errors
    /// As that, and a name that can be no plan's.
    pub async fn tenant_set_plan(&self, id: TenantId, plan: &TenantPlan) -> Result<Option<i64>> {
        self.tenant_set_share(id, plan.weight, Some(&plan.name)).await
    }

    async fn tenant_set_share(&self, id: TenantId, weight: u8, plan: Option<&str>) -> Result<Option<i64>> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let sql = "UPDATE tenants SET weight = $2, plan = coalesce($3, plan) WHERE id = $1";
        if txn.execute(sql, &[&id.uuid(), &i16::from(weight), &plan]).await? != 1 {
            return Ok(None);
        }
        let clock = route_changed_in_txn(&txn, id).await?;
        self.note_in_txn(&txn, Some(id)).await?;
        txn.commit().await?;
        Ok(Some(clock))
    }
}

impl Registry {
    /// The tenants that a condition and an order, both constants, ask for.
    pub(crate) async fn tenants_where(
        &self,
        condition: &'static str,
        order: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<TenantRow>> {
        let sql = [&select_where(COLUMNS, condition), order].concat();
        let rows = self.client().await?.query(&sql, params).await?;
        rows.iter().map(TenantRow::from_row).collect()
    }
}

/// What [`Registry::tenant_lock`] locks.
pub(crate) fn tenant_lock_key(id: TenantId) -> i64 {
    lock_key(&format!("portero.tenant.{id}"))
}

/// `SELECT columns FROM tenants WHERE condition`, of constants only.
fn select_where(columns: &'static str, condition: &'static str) -> String {
    ["SELECT ", columns, " FROM tenants WHERE ", condition].concat()
}
