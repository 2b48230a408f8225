//! Looking after tenants: list, show, pause, resume.

use crate::{
    Control, FormerNameView, Known,
    life::{must_be_made, must_live},
};
use portero_kernel::{Refusal, RoleName, SchemaVersion, Subdomain, TenantId, with_causes};
use portero_pg::Session;
use portero_provisioner::{ServerError, fence};
use portero_registry::{RegistryError, ServerRow, TenantFilter, TenantRow, TenantStatus};
use serde::Serialize;
use std::time::Duration;
use time::{Date, OffsetDateTime};

/// A tenant, as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct TenantView {
    /// Its id.
    pub id: TenantId,
    /// The company's name.
    pub name: String,
    /// Its subdomain.
    pub subdomain: String,
    /// `provisioning`, `active`, `paused`, `deleting`, `deleted` or `purging`.
    pub status: &'static str,
    /// Where it is.
    pub url: String,
    /// Its database, and role of the same name.
    pub db_name: String,
    /// The name of the server that holds its database.
    pub server: String,
    /// The version of its schema.
    pub schema_version: SchemaVersion,
    /// When it signed up.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Why it was paused, if anybody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_reason: Option<String>,
    /// Its part of a server that is short of connections, beside others that wait: 1 to 100.
    pub weight: u8,
    /// The name of its plan, if it was given one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// When it was deleted, if it is.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<OffsetDateTime>,
    /// Until when the data of a deleted one is kept; nothing once it is being purged.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub purge_after: Option<OffsetDateTime>,
    /// The state that a deleted one comes back to: `active` or `paused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undelete_to: Option<&'static str>,
    /// Names that it gave up and nobody else may have yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<FormerNameView>,
}

/// A tenant that was changed, and who knows of that.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// As it is now.
    #[serde(flatten)]
    pub tenant: TenantView,
    /// The routers that know.
    pub known: Known,
    /// Connections that were cut in the middle of something.
    pub cut: usize,
    /// Whether it was as it was asked to be before.
    pub already: bool,
}

/// Why a tenant could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// Nobody has the subdomain.
    #[error("no tenant has the subdomain {0}: portero tenant list shows them all")]
    NotFound(Subdomain),
    /// Nobody has it any more.
    #[error("{was} is called {now} now")]
    Renamed {
        /// The name that it gave up.
        was: Subdomain,
        /// Its present one.
        now: Subdomain,
    },
    /// It is gone for good.
    #[error("{subdomain} was purged on {at}: nothing of it is left, and the name is free again after {free}")]
    Purged {
        /// The name that it had.
        subdomain: Subdomain,
        /// When.
        at: Date,
        /// When its name's quarantine is over.
        free: Date,
    },
    /// It is deleted, and has to be brought back before anything else.
    #[error("{0} is deleted: portero tenant undelete {0} brings it back")]
    Deleted(Subdomain),
    /// Its data is being removed.
    #[error("{0} is being purged: there is no way back")]
    Purging(Subdomain),
    /// It lives.
    #[error("{0} is not deleted: only a deleted tenant can be purged, after portero tenant delete {0}")]
    NotDeleted(Subdomain),
    /// Its data is to be kept.
    #[error(
        "{subdomain} is deleted, and its data is kept until {until}: to purge it before that, say --before-grace"
    )]
    InGrace {
        /// The tenant.
        subdomain: Subdomain,
        /// Until when.
        until: Date,
    },
    /// More deletions than may be.
    #[error(
        "nothing was deleted: that would be {asked} more, after {recent} in the last 24 hours, and {cap} may be (1 % of all tenants, and 5 at least)"
    )]
    TooMany {
        /// How many were to be deleted.
        asked: i64,
        /// How many were.
        recent: i64,
        /// How many may be.
        cap: i64,
    },
    /// A name that nobody can have.
    #[error("the subdomain {0:?} {1}")]
    NewName(String, Refusal),
    /// A name that is somebody's, or was not long ago.
    #[error("the subdomain {0} is taken, or was given up by another tenant not long enough ago")]
    Taken(Subdomain),
    /// A name that can be mistaken for another's.
    #[error(
        "{0} reads like {1}, which is another company's or held for one: say --allow-look-alike to have it nonetheless"
    )]
    LookAlike(Subdomain, String),
    /// It is still being made.
    #[error("{0} is still being created: wait until that is done")]
    Provisioning(Subdomain),
    /// It changed while one looked.
    #[error("{0} was changed by somebody else at the same moment: try again")]
    Changed(Subdomain),
    /// The registry.
    #[error("the registry doesn't answer")]
    Registry(#[from] RegistryError),
    /// The routers refuse its requests, and its role may still log in.
    #[error("{0}: its door is shut, its role isn't yet: run it again, once its database server does it")]
    HalfShut(Subdomain, #[source] ServerError),
    /// The server that holds its database.
    #[error("the tenant's database server doesn't do it")]
    Server(#[from] ServerError),
}

/// What the registry says is done, and the routers hear of it; the fence is not up.
pub(crate) fn half_shut(tenant: &TenantRow, error: ServerError) -> TenantError {
    tracing::warn!(tenant = %tenant.id, error = with_causes(&error), "a tenant's door is shut, and its role isn't");
    TenantError::HalfShut(tenant.subdomain.clone(), error)
}

impl Control {
    /// Up to `limit` tenants in the order of their subdomains, after the one named.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenants(
        &self,
        after: Option<&Subdomain>,
        limit: i64,
    ) -> Result<Vec<TenantView>, RegistryError> {
        let rows = self.registry.tenants_after(after, limit).await?;
        self.tenant_views(rows).await
    }

    /// Up to `limit` of those that are wanted.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenants_found(
        &self,
        filter: &TenantFilter<'_>,
        limit: i64,
    ) -> Result<Vec<TenantView>, RegistryError> {
        let rows = self.registry.tenants_listed(filter, limit).await?;
        self.tenant_views(rows).await
    }

    /// A tenant by its subdomain.
    ///
    /// # Errors
    /// [`TenantError::NotFound`], or the registry.
    pub async fn tenant(&self, subdomain: &Subdomain) -> Result<TenantView, TenantError> {
        let row = self.find(subdomain).await?;
        let view = self.tenant_views(vec![row]).await?.pop();
        view.ok_or_else(|| TenantError::NotFound(subdomain.clone()))
    }

    pub(crate) async fn do_pause(
        &self,
        subdomain: &Subdomain,
        reason: Option<&str>,
        drain: Duration,
    ) -> Result<Change, TenantError> {
        let (tenant, lock) = self.find_and_lock(subdomain).await?;
        must_live(&tenant)?;
        let already = tenant.status == TenantStatus::Paused;
        // The routers hear it first: they let what is under way finish, and read "paused" to everybody else.
        let clock = match tenant.status {
            TenantStatus::Paused => self.registry.route_clock().await?,
            _ => self.set_paused(&tenant, TenantStatus::Active, reason).await?,
        };
        let server = self.admin_of(&tenant).await?;
        let cut = fence::raise(&server, &RoleName::from(&tenant.database), drain).await;
        let cut = cut.map_err(|error| half_shut(&tenant, error))?;
        lock.close().await;
        tracing::info!(tenant = %tenant.id, %subdomain, cut, "a tenant was paused");
        let change = self.changed(subdomain, clock, cut).await?;
        Ok(Change { already, ..change })
    }

    pub(crate) async fn do_resume(&self, subdomain: &Subdomain) -> Result<Change, TenantError> {
        let (tenant, lock) = self.find_and_lock(subdomain).await?;
        must_live(&tenant)?;
        let already = tenant.status == TenantStatus::Active;
        let server = self.admin_of(&tenant).await?;
        let login = self.registry.tenant_login(tenant.id).await?;
        fence::lower(&server, tenant.id, &login.ok_or(RegistryError::Unreadable("tenant's login"))?).await?;
        let clock = match tenant.status {
            TenantStatus::Paused => self.set_paused(&tenant, TenantStatus::Paused, None).await?,
            _ => self.registry.route_clock().await?,
        };
        lock.close().await;
        tracing::info!(tenant = %tenant.id, %subdomain, "a tenant was resumed");
        let change = self.changed(subdomain, clock, 0).await?;
        Ok(Change { already, ..change })
    }

    pub(crate) async fn do_set_weight(
        &self,
        subdomain: &Subdomain,
        weight: u8,
    ) -> Result<Change, TenantError> {
        let tenant = self.find(subdomain).await?;
        if tenant.weight == weight {
            return self.nothing_new(subdomain).await;
        }
        let clock = self.registry.tenant_set_weight(tenant.id, weight).await?;
        let clock = clock.ok_or_else(|| TenantError::Changed(subdomain.clone()))?;
        tracing::info!(tenant = %tenant.id, %subdomain, weight, "a tenant has another weight");
        self.changed(subdomain, clock, 0).await
    }

    /// A tenant, when the routers know of all that has happened to it so far.
    ///
    /// # Errors
    /// [`TenantError`].
    pub async fn tenant_when_known(&self, subdomain: &Subdomain) -> Result<(TenantView, Known), TenantError> {
        let clock = self.registry.route_clock().await?;
        let change = self.changed(subdomain, clock, 0).await?;
        Ok((change.tenant, change.known))
    }

    pub(crate) async fn changed(
        &self,
        subdomain: &Subdomain,
        clock: i64,
        cut: usize,
    ) -> Result<Change, TenantError> {
        let known = self.wait_until_known(clock).await?;
        Ok(Change { tenant: self.tenant(subdomain).await?, known, cut, already: false })
    }

    /// A tenant that is there, and the lock by which one at a time changes it; dropped, the lock is given up.
    pub(crate) async fn find_and_lock(
        &self,
        subdomain: &Subdomain,
    ) -> Result<(TenantRow, Session), TenantError> {
        let found = self.find(subdomain).await?.id;
        let lock = self.registry.tenant_lock(found).await?;
        // As it is now that nobody else changes it: it may have another name, or be gone.
        let tenant = self.find(subdomain).await?;
        if tenant.id != found {
            return Err(TenantError::Changed(subdomain.clone()));
        }
        must_be_made(&tenant)?;
        Ok((tenant, lock))
    }

    async fn set_paused(
        &self,
        tenant: &TenantRow,
        from: TenantStatus,
        reason: Option<&str>,
    ) -> Result<i64, TenantError> {
        let clock = self.registry.tenant_set_paused(tenant.id, from, reason).await?;
        clock.ok_or_else(|| TenantError::Changed(tenant.subdomain.clone()))
    }

    pub(crate) async fn admin_of(&self, tenant: &TenantRow) -> Result<tokio_postgres::Config, TenantError> {
        let server = self.registry.server_by_id(tenant.server).await?;
        Ok(server.ok_or(RegistryError::Unreadable("tenant's server"))?.admin)
    }

    pub(crate) async fn find(&self, subdomain: &Subdomain) -> Result<TenantRow, TenantError> {
        match self.registry.tenant_by_subdomain(subdomain).await? {
            Some(tenant) => Ok(tenant),
            None => Err(self.why_nobody(subdomain).await?),
        }
    }

    async fn tenant_views(&self, rows: Vec<TenantRow>) -> Result<Vec<TenantView>, RegistryError> {
        let ids: Vec<TenantId> = rows.iter().map(|row| row.id).collect();
        let servers = self.registry.servers().await?;
        let mut views: Vec<_> = rows.into_iter().map(|row| self.tenant_view(row, &servers)).collect();
        for former in self.registry.former_subdomains_of(&ids).await? {
            if let Some(view) = views.iter_mut().find(|view| view.id == former.tenant) {
                view.former.push(former.into());
            }
        }
        Ok(views)
    }

    fn tenant_view(&self, row: TenantRow, servers: &[ServerRow]) -> TenantView {
        let server = servers.iter().find(|server| server.id == row.server);
        // Of one that is being purged there is nothing to come back to.
        let kept = row.status != TenantStatus::Purging;
        TenantView {
            id: row.id,
            url: self.site.tenant_url(&row.subdomain),
            name: row.name.to_string(),
            subdomain: row.subdomain.to_string(),
            status: row.status.as_str(),
            db_name: row.database.to_string(),
            server: server.map(|server| server.name.clone()).unwrap_or_default(),
            schema_version: row.schema_version,
            created_at: row.created_at,
            pause_reason: row.pause_reason,
            weight: row.weight,
            plan: row.plan,
            deleted_at: row.deleted_at,
            purge_after: row.purge_after.filter(|_| kept),
            undelete_to: row.undelete_to.filter(|_| kept).map(TenantStatus::as_str),
            former: Vec::new(),
        }
    }
}
