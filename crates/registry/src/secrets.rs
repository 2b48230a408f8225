//! What the registry holds sealed: tenants' and servers' logins, and what a job needs until it rests.

use crate::{Registry, RegistryError, Result};
use portero_kernel::{DatabaseName, ExposeSecret, JobId, RoleName, SecretString, ServerId, TenantId};
use portero_pg::hardened;
use tokio_postgres::Config;
use uuid::Uuid;

const TENANT_URL: &str = "tenants.db_url";
const SERVER_URL: &str = "servers.admin_url";
const JOB_SECRET: &str = "jobs.secret";
const PENDING_SECRET: &str = "signup_pending.secret";
const INVITATION_EMAIL: &str = "invitations.email";
const MAIL: &str = "outbox.message";

/// How a tenant's role logs in to its database.
#[derive(Clone, Debug)]
pub struct TenantLogin {
    /// The database, and the role of the same name.
    pub database: DatabaseName,
    /// The role's password: 64 hexadecimal digits.
    pub password: SecretString,
}

impl TenantLogin {
    /// The role.
    #[must_use]
    pub fn role(&self) -> RoleName {
        RoleName::from(&self.database)
    }

    /// As a connection URL without a host. Neither part has a character that a URL would need escaped.
    fn to_url(&self) -> String {
        format!("postgresql://{}:{}@/{}", self.role(), self.password.expose_secret(), self.database)
    }

    fn from_url(url: &str) -> Option<Self> {
        let config: Config = url.parse().ok()?;
        let database = config.get_dbname()?.parse().ok()?;
        let password = std::str::from_utf8(config.get_password()?).ok()?;
        Some(Self { database, password: SecretString::from(password) })
    }
}

impl Registry {
    pub(crate) fn seal_login(&self, tenant: TenantId, login: &TenantLogin) -> Vec<u8> {
        self.sealer.seal(TENANT_URL, tenant.uuid(), login.to_url().as_bytes())
    }

    /// Opens a tenant's `db_url`.
    ///
    /// # Errors
    /// [`RegistryError::Secret`] for another tenant's or a changed ciphertext, or another master key.
    pub fn open_login(&self, tenant: TenantId, sealed: &[u8]) -> Result<TenantLogin> {
        let url = self.open(TENANT_URL, tenant.uuid(), sealed)?;
        TenantLogin::from_url(&url).ok_or(RegistryError::Unreadable("tenant's URL"))
    }

    pub(crate) fn seal_server_url(&self, server: ServerId, url: &SecretString) -> Vec<u8> {
        self.sealer.seal(SERVER_URL, server.uuid(), url.expose_secret().as_bytes())
    }

    pub(crate) fn open_server_url(&self, server: ServerId, sealed: &[u8]) -> Result<Config> {
        let url = self.open(SERVER_URL, server.uuid(), sealed)?;
        server_config(&url).ok_or(RegistryError::Unreadable("server's URL"))
    }

    pub(crate) fn seal_job_secret(&self, job: JobId, secret: &SecretString) -> Vec<u8> {
        self.sealer.seal(JOB_SECRET, job.uuid(), secret.expose_secret().as_bytes())
    }

    pub(crate) fn open_job_secret(&self, job: JobId, sealed: &[u8]) -> Result<SecretString> {
        Ok(SecretString::from(self.open(JOB_SECRET, job.uuid(), sealed)?))
    }

    pub(crate) fn seal_pending(&self, id: Uuid, secret: &SecretString) -> Vec<u8> {
        self.sealer.seal(PENDING_SECRET, id, secret.expose_secret().as_bytes())
    }

    pub(crate) fn open_pending(&self, id: Uuid, sealed: &[u8]) -> Result<SecretString> {
        Ok(SecretString::from(self.open(PENDING_SECRET, id, sealed)?))
    }

    pub(crate) fn seal_invitation(&self, id: Uuid, email: &str) -> Vec<u8> {
        self.sealer.seal(INVITATION_EMAIL, id, email.as_bytes())
    }

    pub(crate) fn open_invitation(&self, id: Uuid, sealed: &[u8]) -> Result<String> {
        self.open(INVITATION_EMAIL, id, sealed)
    }

    pub(crate) fn seal_mail(&self, id: Uuid, message: &str) -> Vec<u8> {
        self.sealer.seal(MAIL, id, message.as_bytes())
    }

    pub(crate) fn open_mail(&self, id: Uuid, sealed: &[u8]) -> Result<String> {
        self.open(MAIL, id, sealed)
    }

    fn open(&self, place: &str, owner: Uuid, sealed: &[u8]) -> Result<String> {
        let plain = self
            .sealer
            .open(place, owner, sealed)
            .map_err(|error| RegistryError::Secret(error.to_string()))?;
        String::from_utf8(plain.to_vec()).map_err(|_| RegistryError::Unreadable("secret"))
    }
}

/// How Portero logs in to a server by its URL; nothing where that is not one. Without a database it means the one that
/// every server has, and not one called like the role.
#[must_use]
pub fn server_config(url: &str) -> Option<Config> {
    let mut config: Config = url.parse().ok()?;
    if config.get_dbname().is_none() {
        config.dbname("postgres");
    }
    Some(hardened(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_survives_its_url() {
        let login = TenantLogin {
            database: DatabaseName::from_uuid(Uuid::from_u128(7)),
            password: SecretString::from("ab12"),
        };
        let again = TenantLogin::from_url(&login.to_url()).unwrap();
        assert_eq!(again.database, login.database);
        assert_eq!(again.password.expose_secret(), "ab12");
        assert!(TenantLogin::from_url("postgresql://x:y@/postgres").is_none());
    }
}
