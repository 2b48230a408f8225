//! What a router keeps of the registry on its own disk, sealed as a whole: who can write the file could otherwise lead a
//! subdomain to another company.

use crate::{FormerName, Registry, RegistryError, Result, RouteRow, ServerRow, ServerStatus, TenantStatus};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use portero_kernel::{CompanyName, RouterId, ServerId, Subdomain, TenantId};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Write},
    ops::Deref,
};
use time::OffsetDateTime;
use uuid::Uuid;

const PLACE: &str = "router.snapshot";
const VERSION: u32 = 2;
/// Routes that are sealed together: so much of a large file is in memory at a time.
const PAGE: usize = 1000;

/// Who kept a snapshot, when, and every server.
#[derive(Debug, Clone)]
pub struct SnapshotHead {
    /// The router.
    pub router: RouterId,
    /// The value of the route clock.
    pub clock: i64,
    /// Every server.
    pub servers: Vec<ServerRow>,
}

/// Sealed first, and names what follows it.
#[derive(Serialize, Deserialize)]
struct FileHead {
    version: u32,
    /// The pages of this file and no other bear it.
    file: Uuid,
    pages: usize,
    router: Uuid,
    clock: i64,
    servers: Vec<FileServer>,
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
    /// Names, and until when they lead here, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<(String, i64)>,
}

impl Registry {
    /// Seals a snapshot for the disk, and writes it page by page.
    ///
    /// # Errors
    /// Writing.
    ///
    /// # Panics
    /// Never: the file's own types are JSON.
    pub fn write_snapshot(
        &self,
        head: &SnapshotHead,
        routes: impl ExactSizeIterator<Item = RouteRow>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let head = FileHead {
            version: VERSION,
            file: Uuid::new_v4(),
            pages: routes.len().div_ceil(PAGE),
            router: head.router.uuid(),
            clock: head.clock,
            servers: head.servers.iter().map(FileServer::from).collect(),
        };
        let mut write = |place: &str, owner, plain: Vec<u8>| {
            let sealed = self.sealer.seal(place, owner, &plain);
            let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
            out.write_all(&length.to_le_bytes())?;
            out.write_all(&sealed)
        };
        write(PLACE, Uuid::nil(), serde_json::to_vec(&head).expect("the file's own types are JSON"))?;
        let mut routes = routes.map(|row| FileRoute::from(&row));
        for page in 0..head.pages {
            let some: Vec<FileRoute> = routes.by_ref().take(PAGE).collect();
            write(
                &place_of(page),
                head.file,
                serde_json::to_vec(&some).expect("the file's own types are JSON"),
            )?;
        }
        Ok(())
    }

    /// Opens the head of a snapshot.
    ///
    /// # Errors
    /// As [`Registry::open_snapshot`].
    pub fn open_snapshot_head(&self, file: &[u8]) -> Result<SnapshotHead> {
        let (head, _) = self.open_file_head(file)?;
        self.head_from_file(head)
    }

    /// Opens a snapshot: its head, and every route.
    ///
    /// # Errors
    /// [`RegistryError::Secret`] for a changed file or another master key, [`RegistryError::Unreadable`] for one of
    /// another version, or cut short.
    pub fn open_snapshot(&self, file: &[u8]) -> Result<(SnapshotHead, Vec<RouteRow>)> {
        let (head, mut rest) = self.open_file_head(file)?;
        let mut routes = Vec::with_capacity(head.pages * PAGE);
        for page in 0..head.pages {
            let (plain, after) = self.open_page(rest, &place_of(page), head.file)?;
            let some: Vec<FileRoute> = serde_json::from_slice(&plain).map_err(|_| UNREADABLE)?;
            for route in some {
                routes.push(route.try_into()?);
            }
            rest = after;
        }
        Ok((self.head_from_file(head)?, routes))
    }

    fn open_file_head<'a>(&self, file: &'a [u8]) -> Result<(FileHead, &'a [u8])> {
        let (plain, rest) = self.open_page(file, PLACE, Uuid::nil())?;
        let head: FileHead = serde_json::from_slice(&plain).map_err(|_| UNREADABLE)?;
        if head.version == VERSION { Ok((head, rest)) } else { Err(UNREADABLE) }
    }

    fn open_page<'a>(
        &self,
        file: &'a [u8],
        place: &str,
        owner: Uuid,
    ) -> Result<(impl Deref<Target = Vec<u8>> + use<>, &'a [u8])> {
        let (length, rest) = file.split_first_chunk::<4>().ok_or(UNREADABLE)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| UNREADABLE)?;
        let (sealed, rest) = rest.split_at_checked(length).ok_or(UNREADABLE)?;
        let plain = self.sealer.open(place, owner, sealed);
        Ok((plain.map_err(|error| RegistryError::Secret(error.to_string()))?, rest))
    }

    fn head_from_file(&self, file: FileHead) -> Result<SnapshotHead> {
        Ok(SnapshotHead {
            router: RouterId::from(file.router),
            clock: file.clock,
            servers: file.servers.into_iter().map(|row| self.server_from_file(row)).collect::<Result<_>>()?,
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
            former: row
                .former
                .iter()
                .map(|former| (former.subdomain.to_string(), former.until.unix_timestamp()))
                .collect(),
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
            former: file.former.iter().map(former_from_file).collect::<Result<_>>()?,
        })
    }
}

fn former_from_file((name, until): &(String, i64)) -> Result<FormerName> {
    let subdomain = Subdomain::parse(name).map_err(|_| RegistryError::Unreadable("former subdomain"))?;
    Ok(FormerName { subdomain, until: OffsetDateTime::from_unix_timestamp(*until).map_err(|_| UNREADABLE)? })
}

const UNREADABLE: RegistryError = RegistryError::Unreadable("snapshot");

/// No page opens in the place of another.
fn place_of(page: usize) -> String {
    format!("{PLACE} {page}")
}

fn from_text(text: &str) -> Result<Vec<u8>> {
    STANDARD_NO_PAD.decode(text).map_err(|_| RegistryError::Unreadable("snapshot"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_auth::MasterKey;
    use portero_kernel::SecretString;

    fn registry() -> Registry {
        Registry::new("host=nowhere".parse().unwrap(), &MasterKey::generate())
    }

    #[test]
    fn a_snapshot_opens_for_its_own_key_and_unchanged_only() {
        let ours = registry();
        let server = ServerId::generate();
        let url = SecretString::from("postgresql://portero:hushhush@db.example/postgres");
        let sealed_url = ours.seal_server_url(server, &url);
        let head = SnapshotHead {
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
        };
        let route = |number: usize| RouteRow {
            tenant: TenantId::generate(),
            name: CompanyName::parse("Ñandú S.A.").unwrap(),
            subdomain: Subdomain::parse(&format!("nandu-{number}x")).unwrap(),
            status: TenantStatus::Paused,
            server,
            sealed_login: vec![0, 255, 7],
            schema_version: 3,
            generation: 9,
            weight: 3,
            former: vec![FormerName {
                subdomain: Subdomain::parse("nandu").unwrap(),
                until: OffsetDateTime::UNIX_EPOCH,
            }],
        };
        // Two pages and some.
        let count = 2 * PAGE + 1;
        let mut sealed = Vec::new();
        ours.write_snapshot(&head, (0..count).map(route), &mut sealed).unwrap();
        let (again, routes) = ours.open_snapshot(&sealed).unwrap();
        assert_eq!((again.router, again.clock), (head.router, 7));
        assert_eq!(again.servers[0].admin, head.servers[0].admin);
        assert_eq!(routes.len(), count);
        assert!(
            routes.iter().enumerate().all(|(n, route)| route.subdomain.as_str() == format!("nandu-{n}x"))
        );
        assert_eq!((&routes[0].sealed_login, routes[0].weight), (&vec![0, 255, 7], 3));
        assert_eq!(routes[0].former, route(0).former);
        assert_eq!((routes[0].status, routes[0].generation), (TenantStatus::Paused, 9));
        assert_eq!(ours.open_snapshot_head(&sealed).unwrap().router, head.router);

        assert!(registry().open_snapshot(&sealed).is_err(), "another master key");
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(ours.open_snapshot(&changed).is_err(), "a changed byte");
        assert!(ours.open_snapshot(&sealed[..sealed.len() - 10]).is_err(), "cut short");
        let pages = pages_of(&sealed);
        let swapped = [pages[0], pages[2], pages[1], pages[3]].concat();
        assert!(ours.open_snapshot(&swapped).is_err(), "pages in another order");
        let mut other = Vec::new();
        ours.write_snapshot(&head, (0..count).map(route), &mut other).unwrap();
        let mixed = [pages[0], pages_of(&other)[1], pages[2], pages[3]].concat();
        assert!(ours.open_snapshot(&mixed).is_err(), "a page of another snapshot");
    }

    fn pages_of(mut file: &[u8]) -> Vec<&[u8]> {
        let mut pages = Vec::new();
        while let Some((length, _)) = file.split_first_chunk::<4>() {
            let (page, rest) = file.split_at(4 + u32::from_le_bytes(*length) as usize);
            pages.push(page);
            file = rest;
        }
        pages
    }
}
