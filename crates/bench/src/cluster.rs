//! A PostgreSQL cluster for one bench, with as many connections for tenants as the bench says, prepared as
//! `deploy/bootstrap.sql` prepares one. It goes with its process, however that ends.

use crate::Place;
use anyhow::{Context, Result};
use portero_auth::MasterKey;
use portero_devpg::{Binaries, Cluster, ClusterOptions, Lifetime};
use portero_kernel::{ExposeSecret, SecretString};
use portero_pg::{RESERVE, Session, connect, hardened};
use portero_registry::Registry;
use std::{
    env, fs,
    net::TcpListener,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};
use tokio::task::spawn_blocking;
use tokio_postgres::Config;

/// What PostgreSQL leaves to superusers: a bench looks on as one of those, so it takes nobody's place.
const SUPERUSERS: usize = 3;

/// As `portero dev` writes it.
const HBA: [&str; 3] = [
    "host all postgres 127.0.0.1/32 scram-sha-256",
    "host all portero 127.0.0.1/32 scram-sha-256",
    "host sameuser all 127.0.0.1/32 scram-sha-256",
];

/// A running cluster, and where a bench's files are.
pub(crate) struct Scratch {
    cluster: Cluster,
    /// The password of Portero's role.
    password: SecretString,
    key: SecretString,
    // Deleted last.
    home: Home,
}

/// A registry on the cluster: all that a `portero serve` needs to know.
pub(crate) struct RegistryPlace {
    pub(crate) database: String,
    pub(crate) url: SecretString,
    pub(crate) key: SecretString,
}

impl RegistryPlace {
    /// The registry as Portero opens it.
    pub(crate) fn open(&self) -> Result<Registry> {
        Ok(Registry::new(self.url.expose_secret().parse()?, &MasterKey::parse(self.key.expose_secret())?))
    }

    /// The same registry where nobody answers: the port is one that was free a moment ago.
    pub(crate) fn away(&self) -> Result<Self> {
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let url = format!("postgresql://portero:nobody@127.0.0.1:{free}/{}", self.database);
        Ok(Self { database: self.database.clone(), url: SecretString::from(url), key: self.key.clone() })
    }
}

impl Scratch {
    /// Starts a cluster whose server lets the router have `capacity` connections.
    pub(crate) async fn start(place: &Place, capacity: usize) -> Result<Self> {
        let home = Home::make(&place.scratch)?;
        let binaries = Binaries::find(env::var_os("PORTERO_PG_BIN_DIR").as_deref().map(Path::new))?;
        let mut options = ClusterOptions::new(binaries, home.0.join("cluster"));
        options.lifetime = Lifetime::Throwaway;
        options.hba = HBA.map(str::to_owned).to_vec();
        let max_connections = (capacity + RESERVE + SUPERUSERS).to_string();
        // What is measured isn't the disk: nothing here is to outlive the machine.
        options.settings =
            [("max_connections", max_connections.as_str()), ("fsync", "off"), ("full_page_writes", "off")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec();
        let cluster = spawn_blocking(move || Cluster::start(options)).await??;
        let key = MasterKey::generate().to_text();
        let mut scratch = Self { cluster, password: SecretString::from(""), key, home };
        scratch.password = scratch.prepare().await.context("the cluster can't be prepared")?;
        Ok(scratch)
    }

    /// Portero's role, with a password that PostgreSQL makes and quotes: no text of ours is formatted into SQL.
    async fn prepare(&self) -> Result<SecretString> {
        let session = self.superuser("postgres").await?;
        let made = session
            .query_one(
                "SELECT password, format('CREATE ROLE portero LOGIN CREATEDB CREATEROLE PASSWORD %L', password)
                 FROM (SELECT gen_random_uuid()::text AS password) AS made",
                &[],
            )
            .await?;
        session.batch_execute(made.get(1)).await?;
        session
            .batch_execute(
                "REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC;
                 GRANT CONNECT ON DATABASE postgres TO portero",
            )
            .await?;
        session.close().await;
        Ok(SecretString::from(made.get::<_, &str>(0)))
    }

    /// An empty registry of this name.
    pub(crate) async fn registry(&self, database: &str) -> Result<RegistryPlace> {
        let session = self.superuser("postgres").await?;
        for statement in [
            "SELECT format('CREATE DATABASE %I OWNER portero TEMPLATE template0 ENCODING ''UTF8''', $1::text)",
            "SELECT format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', $1::text)",
        ] {
            let row = session.query_one(statement, &[&database]).await?;
            session.batch_execute(row.get(0)).await?;
        }
        session.close().await;
        let url = format!(
            "postgresql://portero:{}@127.0.0.1:{}/{database}",
            self.password.expose_secret(),
            self.cluster.port()
        );
        Ok(RegistryPlace {
            database: database.to_owned(),
            url: SecretString::from(url),
            key: self.key.clone(),
        })
    }

    /// A session of the superuser: to look from outside.
    pub(crate) async fn superuser(&self, database: &str) -> Result<Session> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.cluster.port()).dbname(database);
        config.user(self.cluster.superuser()).password(self.cluster.superuser_password());
        Ok(connect(&hardened(config)).await?)
    }

    /// PostgreSQL's version.
    pub(crate) fn version(&self) -> String {
        self.cluster.version().to_string()
    }

    /// A directory for the files of a `portero serve` that nobody has had.
    pub(crate) fn fresh_data_dir(&self) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        self.data_dir(&format!("serve-{}", NUMBER.fetch_add(1, Ordering::Relaxed)))
    }

    /// A directory for the files of one `portero serve`.
    pub(crate) fn data_dir(&self, name: &str) -> PathBuf {
        self.home.0.join(name)
    }
}

/// Deleted when dropped.
struct Home(PathBuf);

impl Home {
    fn make(scratch: &Path) -> Result<Self> {
        let dir = scratch.join(process::id().to_string());
        // Open to passers-by: PostgreSQL's user must get through, and needn't list it.
        let made = fs::DirBuilder::new().recursive(true).mode(0o711).create(&dir);
        made.with_context(|| format!("{} can't be made", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            println!("{} could not be deleted: {error}", self.0.display());
        }
    }
}
