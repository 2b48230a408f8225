//! A throw-away PostgreSQL cluster, prepared as `deploy/bootstrap.sql` and `portero dev` prepare one.

use crate::{ChaosProxy, scratch_dir};
use portero_devpg::{Binaries, Cluster, ClusterOptions, Lifetime, StopMode};
use portero_pg::{Session, connect, ident, literal};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{sync::OnceCell, task::spawn_blocking};
use tokio_postgres::{Config, Error};
use uuid::Uuid;

pub(crate) const ROLE: &str = "portero";

/// As `portero dev` writes it.
const HBA: [&str; 3] = [
    "host all postgres 127.0.0.1/32 scram-sha-256",
    "host all portero 127.0.0.1/32 scram-sha-256",
    "host sameuser all 127.0.0.1/32 scram-sha-256",
];

/// Where nobody but the provider writes pg_hba.conf: who has a password may come, and privileges alone keep roles apart.
const MANAGED_HBA: [&str; 1] = ["host all all 127.0.0.1/32 scram-sha-256"];

/// Nothing here outlives the machine, so nothing needs to reach the disk. What was committed outlives the server: tests crash
/// it.
const SETTINGS: [(&str, &str); 3] =
    [("max_connections", "400"), ("fsync", "off"), ("full_page_writes", "off")];

type Settings = Vec<(String, String)>;

/// A cluster with Portero's role in it. It is deleted with its process, however that ends.
pub struct TestCluster {
    cluster: Mutex<Cluster>,
    /// As it was first started.
    settings: Settings,
    port: u16,
    superuser_password: String,
    password: String,
    registries: AtomicU32,
}

impl TestCluster {
    /// The one that all tests of this process share.
    pub async fn shared() -> Arc<Self> {
        static SHARED: OnceCell<Arc<TestCluster>> = OnceCell::const_new();
        Arc::clone(SHARED.get_or_init(Self::private).await)
    }

    /// One of the test's own: to halt it, or to say exactly what is in it.
    ///
    /// # Panics
    /// Without PostgreSQL.
    pub async fn private() -> Arc<Self> {
        Self::with(&HBA, &[]).await
    }

    /// One of the test's own, with these settings.
    ///
    /// # Panics
    /// Without PostgreSQL.
    pub async fn with_settings(settings: &[(&str, &str)]) -> Arc<Self> {
        Self::with(&HBA, settings).await
    }

    /// One as managed services have them: pg_hba.conf lets everybody try every database.
    ///
    /// # Panics
    /// Without PostgreSQL.
    pub async fn managed() -> Arc<Self> {
        Self::with(&MANAGED_HBA, &[]).await
    }

    async fn with(hba: &'static [&'static str], settings: &[(&str, &str)]) -> Arc<Self> {
        let settings = SETTINGS.iter().chain(settings);
        let settings: Settings =
            settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = options(scratch_dir("cluster"), hba, settings.clone());
        let cluster = spawn_blocking(move || Cluster::start(options).expect("a cluster starts"));
        let cluster = cluster.await.expect("starting a cluster doesn't panic");
        let this = Self {
            port: cluster.port(),
            superuser_password: cluster.superuser_password().to_owned(),
            password: Uuid::new_v4().simple().to_string(),
            cluster: Mutex::new(cluster),
            settings,
            registries: AtomicU32::new(0),
        };
        this.prepare().await;
        Arc::new(this)
    }

    /// A standby with all that is in this one now, and nothing that comes later: it answers, and takes no writes until it is
    /// promoted. This one is stopped for the moment that it takes. Only for private ones.
    ///
    /// # Panics
    /// If PostgreSQL's files can't be copied, or it doesn't start.
    pub async fn standby(self: &Arc<Self>) -> Arc<Self> {
        self.halt(StopMode::Fast).await;
        let this = Arc::clone(self);
        let cluster = spawn_blocking(move || {
            let original = this.cluster.lock().expect("no test holds it").location();
            let data_dir = scratch_dir("standby");
            fs::create_dir_all(&data_dir).expect("a directory is made");
            let copied = Command::new("cp")
                .arg("-a")
                .arg(&original)
                .arg(original.with_file_name("superuser.password"))
                .arg(&data_dir)
                .status();
            assert!(copied.is_ok_and(|status| status.success()), "{} is copied", original.display());
            fs::write(data_dir.join("pg/standby.signal"), "").expect("it is told that it is a standby");
            Cluster::start(options(data_dir, &HBA, this.settings.clone())).expect("a standby starts")
        });
        let cluster = cluster.await.expect("starting a standby doesn't panic");
        self.resume().await;
        Arc::new(Self {
            port: cluster.port(),
            superuser_password: self.superuser_password.clone(),
            password: self.password.clone(),
            cluster: Mutex::new(cluster),
            settings: self.settings.clone(),
            registries: AtomicU32::new(0),
        })
    }

    /// Makes a standby take writes.
    ///
    /// # Panics
    /// If it isn't one.
    pub async fn promote(&self) {
        let promoted = self.superuser("postgres").await.query_one("SELECT pg_promote()", &[]).await;
        assert!(promoted.expect("a standby is promoted").get::<_, bool>(0));
    }

    async fn prepare(&self) {
        let session = self.superuser("postgres").await;
        let (role, password) = (ident(ROLE), literal(&self.password));
        let sql = format!(
            "CREATE ROLE {role} LOGIN CREATEDB CREATEROLE PASSWORD {password};
             REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC;
             GRANT CONNECT ON DATABASE postgres TO {role}"
        );
        session.batch_execute(&sql).await.expect("the cluster is prepared");
        session.close().await;
    }

    /// An empty registry of its own; its name and the URL to reach it as Portero's role.
    ///
    /// # Panics
    /// Without the server.
    pub async fn new_registry(&self) -> (String, String) {
        let name = format!("portero_registry_{}", self.registries.fetch_add(1, Ordering::Relaxed));
        let session = self.superuser("postgres").await;
        let database = ident(&name);
        // Closed until its rights are set: a sign-up of another test would rightly refuse to go on beside an open one.
        for sql in [
            format!(
                "CREATE DATABASE {database} OWNER {} TEMPLATE template0 ENCODING 'UTF8' ALLOW_CONNECTIONS false",
                ident(ROLE)
            ),
            format!("REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC"),
            format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"),
        ] {
            session.batch_execute(&sql).await.expect("a registry is created");
        }
        session.close().await;
        let url = self.url(self.address(), &name);
        (name, url)
    }

    /// How Portero's role reaches a database, by the server's own address or by that of a proxy before it.
    #[must_use]
    pub fn url(&self, address: SocketAddr, database: &str) -> String {
        format!("postgresql://{ROLE}:{}@{address}/{database}", self.password)
    }

    /// A proxy before this server.
    #[must_use]
    pub fn proxy(&self) -> ChaosProxy {
        ChaosProxy::before(self.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of Portero's own role, which no answer and no log may show.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A session of the superuser: to look from outside.
    ///
    /// # Panics
    /// Without the server or the database.
    pub async fn superuser(&self, database: &str) -> Session {
        let session = self.try_superuser(database).await;
        session.unwrap_or_else(|error| panic!("the superuser can't get into {database}: {error}"))
    }

    /// A session of the superuser, where the server may be away.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn try_superuser(&self, database: &str) -> Result<Session, Error> {
        self.login("postgres", &self.superuser_password, database).await
    }

    /// A session of Portero's own role.
    ///
    /// # Panics
    /// Without the server or the database.
    pub async fn portero(&self, database: &str) -> Session {
        let session = self.login(ROLE, &self.password, database).await;
        session.unwrap_or_else(|error| panic!("Portero's role can't get into {database}: {error}"))
    }

    /// Logs in as anybody.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn login(&self, user: &str, password: &str, database: &str) -> Result<Session, Error> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(password).dbname(database);
        config.connect_timeout(Duration::from_secs(10));
        connect(&config).await
    }

    /// Stops the server: as an outage if `mode` is [`StopMode::Immediate`] or [`StopMode::Kill`]. Only for private ones.
    ///
    /// # Panics
    /// If it outlives every signal.
    pub async fn halt(self: &Arc<Self>, mode: StopMode) {
        let this = Arc::clone(self);
        let halted = spawn_blocking(move || this.cluster.lock().expect("no test holds it").halt(mode));
        halted.await.expect("halting doesn't panic").expect("the server stops");
    }

    /// Starts a server that was halted, on the same port.
    ///
    /// # Panics
    /// If it doesn't start, or somebody took its port.
    pub async fn resume(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let port = spawn_blocking(move || {
            let mut cluster = this.cluster.lock().expect("no test holds it");
            cluster.resume().expect("the server starts again");
            cluster.port()
        });
        assert_eq!(port.await.expect("resuming doesn't panic"), self.port, "somebody took the server's port");
    }

    /// Stops the server and starts it again.
    ///
    /// # Panics
    /// As the two.
    pub async fn restart(self: &Arc<Self>, mode: StopMode) {
        self.halt(mode).await;
        self.resume().await;
    }

    /// Changes a setting, from the next start on. Only for private ones.
    ///
    /// # Panics
    /// Never: nothing panics while it is changed.
    pub fn set(&self, name: &str, value: &str) {
        self.cluster.lock().expect("no test holds it").set(name, value);
    }

    /// Stops all its processes in their tracks, as a machine that hangs: sockets stay open and nobody answers. They run
    /// on when the guard is dropped. Only for private ones.
    ///
    /// # Panics
    /// While it is halted.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        let postmaster = self.cluster.lock().expect("no test holds it").postmaster_pid().expect("it runs");
        let mut frozen = Frozen(BTreeSet::new());
        // The postmaster first: afterwards it starts no more of them.
        frozen.freeze(postmaster);
        while let Some(child) = children(postmaster).into_iter().find(|pid| !frozen.0.contains(pid)) {
            frozen.freeze(child);
        }
        frozen
    }

    /// Stops one of its processes in its tracks, by the pid that `pg_stat_activity` has: a session that is silently dead.
    /// Only for private ones: others that drop a database would wait for it.
    ///
    /// # Panics
    /// If it isn't one.
    #[must_use]
    pub fn freeze_backend(&self, pid: i32) -> Frozen {
        let mut frozen = Frozen(BTreeSet::new());
        frozen.freeze(u32::try_from(pid).expect("a pid is positive"));
        frozen
    }

    /// The server's log, since its last start.
    ///
    /// # Panics
    /// If it can't be read.
    #[must_use]
    pub fn server_log(&self) -> String {
        let file = self.cluster.lock().expect("no test holds it").log_file();
        fs::read_to_string(file).expect("the server's log is there")
    }
}

fn options(data_dir: PathBuf, hba: &[&str], settings: Settings) -> ClusterOptions {
    let binaries = Binaries::find(None).expect("PostgreSQL is installed");
    let mut options = ClusterOptions::new(binaries, data_dir);
    options.lifetime = Lifetime::Throwaway;
    options.settings = settings;
    options.hba = hba.iter().map(|line| (*line).to_owned()).collect();
    options
}

/// A server that hangs. Dropped, it runs on.
#[derive(Debug)]
pub struct Frozen(BTreeSet<u32>);

impl Frozen {
    fn freeze(&mut self, pid: u32) {
        signal(pid, Signal::STOP);
        self.0.insert(pid);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            signal(*pid, Signal::CONT);
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that has ended meanwhile is no concern.
        let _ = kill_process(pid, signal);
    }
}

/// The processes that this one started and that still are.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// The second field after the name, which is in parentheses and may hold anything.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
