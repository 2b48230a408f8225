//! What a router keeps of the registry on its own disk, sealed as a whole: who can write the file could otherwise lead a
//! subdomain to another company.

use crate::{Registry, RegistryError, Result, RouteRow, ServerRow, ServerStatus, TenantStatus};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use portero_kernel::{CompanyName, RouterId, ServerId, Subdomain, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const PLACE: &str = "router.snapshot";
const VERSION: u32 = 1;

/// Every route and every server, as they were at one value of the clock, and who kept them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The router.
    pub router: RouterId,
    /// The value of the route clock.
    pub clock: i64,
    /// Every route.
    pub routes: Vec<RouteRow>,
    /// Every server.
    pub servers: Vec<ServerRow>,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    router: Uuid,
    clock: i64,
    servers: Vec<FileServer>,
    routes: Vec<FileRoute>,
}

#[derive(Serialize, Deserialize)]
struct FileServer {
    id: Uuid,
    name: String,
    url: String,
    capacity: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct FileRoute {
    tenant: Uuid,
    name: String,
    subdomain: String,
    status: String,
    server: Uuid,
    login: String,
    schema: i32,
    generation: i64,
    weight: u8,
}

impl Registry {
    /// Seals a snapshot for the disk.
    ///
    /// # Panics
    /// Never: the file's own types are JSON.
    #[must_use]
    pub fn seal_snapshot(&self, snapshot: &Snapshot) -> Vec<u8> {
        let file = File {
            version: VERSION,
            router: snapshot.router.uuid(),
            clock: snapshot.clock,
            servers: snapshot.servers.iter().map(FileServer::from).collect(),
            routes: snapshot.routes.iter().map(FileRoute::from).collect(),
        };
        let plain = serde_json::to_vec(&file).expect("the file's own types are JSON");
        self.sealer.seal(PLACE, Uuid::nil(), &plain)
    }

    /// Opens a sealed snapshot.
    ///
    /// # Errors
    /// [`RegistryError::Secret`] for a changed file or another master key, [`RegistryError::Unreadable`] for one of
    /// another version.
    pub fn open_snapshot(&self, sealed: &[u8]) -> Result<Snapshot> {
        let plain = self
            .sealer
            .open(PLACE, Uuid::nil(), sealed)
            .map_err(|error| RegistryError::Secret(error.to_string()))?;
        let unreadable = || RegistryError::Unreadable("snapshot");
        let file: File = serde_json::from_slice(&plain).map_err(|_| unreadable())?;
        if file.version != VERSION {
            return Err(unreadable());
        }
        Ok(Snapshot {
            router: RouterId::from(file.router),
            clock: file.clock,
            servers: file.servers.into_iter().map(|row| self.server_from_file(row)).collect::<Result<_>>()?,
            routes: file.routes.into_iter().map(RouteRow::try_from).collect::<Result<_>>()?,
        })
    }

    fn server_from_file(&self, file: FileServer) -> Result<ServerRow> {
        let id = ServerId::from(file.id);
        let sealed_url = from_text(&file.url)?;
        Ok(ServerRow {
            id,
            name: file.name,
            admin: self.open_server_url(id, &sealed_url)?,
            sealed_url,
            // Nobody places tenants by a snapshot.
            status: ServerStatus::Active,
            capacity: file.capacity,
        })
    }
}

impl From<&ServerRow> for FileServer {
    fn from(row: &ServerRow) -> Self {
        Self {
            id: row.id.uuid(),
            name: row.name.clone(),
            url: STANDARD_NO_PAD.encode(&row.sealed_url),
            capacity: row.capacity,
        }
    }
}

impl From<&RouteRow> for FileRoute {
    fn from(row: &RouteRow) -> Self {
        Self {
            tenant: row.tenant.uuid(),
            name: row.name.to_string(),
            subdomain: row.subdomain.to_string(),
            status: row.status.as_str().to_owned(),
            server: row.server.uuid(),
            login: STANDARD_NO_PAD.encode(&row.sealed_login),
            schema: row.schema_version,
            generation: row.generation,
            weight: row.weight,
        }
    }
}

impl TryFrom<FileRoute> for RouteRow {
    type Error = RegistryError;

    fn try_from(file: FileRoute) -> Result<Self> {
        Ok(Self {
            tenant: TenantId::from(file.tenant),
            name: CompanyName::parse(&file.name).map_err(|_| RegistryError::Unreadable("company's name"))?,
            subdomain: Subdomain::parse(&file.subdomain)
                .map_err(|_| RegistryError::Unreadable("subdomain"))?,
            status: TenantStatus::parse(&file.status)?,
            server: ServerId::from(file.server),
            sealed_login: from_text(&file.login)?,
            schema_version: file.schema,
            generation: file.generation,
            weight: file.weight,
        })
    }
}

fn from_text(text: &str) -> Result<Vec<u8>> {
    STANDARD_NO_PAD.decode(text).map_err(|_| RegistryError::Unreadable("snapshot"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_auth::MasterKey;
    use portero_kernel::SecretString;

    fn registry(key: &str) -> Registry {
        Registry::new("host=nowhere".parse().unwrap(), &MasterKey::parse(&key.repeat(32)).unwrap())
    }

    #[test]
    fn a_snapshot_opens_for_its_own_key_and_unchanged_only() {
        let ours = registry("3f");
        let server = ServerId::generate();
        let url = SecretString::from("postgresql://portero:hushhush@db.example/postgres");
        let sealed_url = ours.seal_server_url(server, &url);
        let snapshot = Snapshot {
            router: RouterId::generate(),
            clock: 7,
            servers: vec![ServerRow {
                id: server,
                name: "main".to_owned(),
                admin: ours.open_server_url(server, &sealed_url).unwrap(),
                sealed_url,
                status: ServerStatus::Active,
                capacity: Some(73),
            }],
            routes: vec![RouteRow {
                tenant: TenantId::generate(),
                name: CompanyName::parse("Ñandú S.A.").unwrap(),
                subdomain: Subdomain::parse("nandu").unwrap(),
                status: TenantStatus::Paused,
                server,
                sealed_login: vec![0, 255, 7],
                schema_version: 3,
                generation: 9,
                weight: 3,
            }],
        };
        let sealed = ours.seal_snapshot(&snapshot);
        let again = ours.open_snapshot(&sealed).unwrap();
        assert_eq!((again.router, again.clock), (snapshot.router, 7));
        assert_eq!(again.servers[0].admin, snapshot.servers[0].admin);
        assert_eq!(again.routes[0].sealed_login, [0, 255, 7]);
        assert_eq!((again.routes[0].status, again.routes[0].generation), (TenantStatus::Paused, 9));

        assert!(registry("4a").open_snapshot(&sealed).is_err(), "another master key");
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(ours.open_snapshot(&changed).is_err(), "a changed byte");
    }
}
