//! Looking after the servers that hold companies' databases: add, list, show, drain.

use crate::{Control, Health, doctor::check_fitness};
use portero_kernel::{ExposeSecret, RouterId, SecretString, ServerId};
use portero_pg::{MARK_PREFIX, Session, connect, tenant_capacity};
use portero_registry::{LeaseRow, RegistryError, ServerRow, ServerStatus, SpareFigures, server_config};
use serde::Serialize;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_postgres::{Config, config::Host};

const LONGEST_NAME: usize = 40;
/// How long a server may take to let Portero in before a new company is put elsewhere.
const PROBE: Duration = Duration::from_secs(1);

/// For how long a session is kept that was asked over: in a crowd the next comes sooner.
const KEPT: Duration = Duration::from_millis(300);

/// For how long a server that let a question go unanswered is passed over while others answer: each sign-up would wait for it.
const SILENCE: Duration = Duration::from_secs(5);

/// What is known of each server from the sign-up before.
#[derive(Clone, Default)]
pub(crate) struct Probes(Arc<Mutex<HashMap<ServerId, Probe>>>);

enum Probe {
    /// A session of Portero's own since then, kept for the next sign-up of a crowd: a login would cost as much as all that is
    /// asked.
    Kept(Instant, Session),
    /// It didn't answer then.
    Silent(Instant),
}

impl Probes {
    /// Those of these servers that take companies.
    async fn ask(&self, servers: Vec<ServerRow>) -> Vec<ServerId> {
        let mut asked = JoinSet::new();
        for server in servers {
            let probes = self.clone();
            asked.spawn(async move { probes.takes_companies(&server).await.then_some(server.id) });
        }
        asked.join_all().await.into_iter().flatten().collect()
    }

    /// Whether the server lets Portero in, and nobody else where a company would be.
    async fn takes_companies(&self, server: &ServerRow) -> bool {
        let kept = self.lock().remove(&server.id);
        if let Some(Probe::Kept(_, session)) = kept
            && !session.is_closed()
            && let Ok(Ok(open)) = timeout(PROBE, open_databases(&session)).await
        {
            return self.judge(server, session, &open);
        }
        let asked = timeout(PROBE, async {
            let session = connect(&server.admin).await?;
            let open = open_databases(&session).await?;
            Ok::<_, tokio_postgres::Error>((session, open))
        });
        match asked.await {
            Ok(Ok((session, open))) => self.judge(server, session, &open),
            Ok(Err(_)) => false,
            Err(_) => {
                self.lock().insert(server.id, Probe::Silent(Instant::now()));
                false
            }
        }
    }

    /// Whether it let a question go unanswered lately.
    fn is_silent(&self, server: ServerId) -> bool {
        matches!(self.lock().get(&server), Some(Probe::Silent(since)) if since.elapsed() < SILENCE)
    }

    fn judge(&self, server: &ServerRow, session: Session, open: &[String]) -> bool {
        self.keep(server.id, session);
        if !open.is_empty() {
            let (server, databases) = (&server.name, open.join(", "));
            tracing::error!(server, databases, "no company is put there: these are open to everybody");
        }
        open.is_empty()
    }

    fn keep(&self, server: ServerId, session: Session) {
        let since = Instant::now();
        self.lock().insert(server, Probe::Kept(since, session));
        let probes = self.clone();
        tokio::spawn(async move {
            sleep(KEPT).await;
            let mut kept = probes.lock();
            if matches!(kept.get(&server), Some(Probe::Kept(at, _)) if *at == since) {
                kept.remove(&server);
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, Probe>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server, as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct ServerView {
    /// Its id.
    pub id: ServerId,
    /// Its name.
    pub name: String,
    /// Where it is: `host:port`, several with commas.
    pub address: String,
    /// `active` or `draining`.
    pub status: &'static str,
    /// How many companies' databases it holds.
    pub tenants: i64,
    /// The connections that companies together may hold, as last read from it; nothing where nobody has asked it yet.
    pub capacity: Option<usize>,
}

/// A server and how its connections are divided among the routers.
#[derive(Debug, Clone, Serialize)]
pub struct ServerDetails {
    /// The server.
    #[serde(flatten)]
    pub server: ServerView,
    /// The routers' leases on its connections.
    pub leases: Vec<LeaseView>,
    /// The databases made ahead.
    pub spares: SparesView,
}

/// A server's databases made ahead, and how the making goes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SparesView {
    /// Those that can be given away.
    pub ready: i64,
    /// Those that are being made.
    pub making: i64,
    /// How many are kept; nothing where no process has looked after the server yet, and so for all that follow.
    pub wanted: Option<i32>,
    /// The schema versions of the templates there, newest first.
    pub templates: Vec<i32>,
    /// When the server was last looked after.
    #[serde(with = "time::serde::rfc3339::option")]
    pub looked_at: Option<OffsetDateTime>,
    /// Why none are made now: `disk`, `draining` or `error`.
    pub stopped: Option<&'static str>,
    /// The same in words.
    pub reason: Option<String>,
    /// How often the making failed.
    pub failures: i64,
    /// Companies there whose database was a spare.
    pub from_spare: i64,
    /// Companies there whose database was made from a template.
    pub from_template: i64,
    /// Companies there whose database was made by all migrations.
    pub from_migrations: i64,
}

impl From<SpareFigures> for SparesView {
    fn from(figures: SpareFigures) -> Self {
        let [from_spare, from_template, from_migrations] = figures.origins;
        let counted = Self {
            ready: figures.ready,
            making: figures.making,
            from_spare,
            from_template,
            from_migrations,
            ..Self::default()
        };
        let Some(refill) = figures.refill else { return counted };
        Self {
            wanted: Some(refill.wanted),
            templates: refill.templates,
            looked_at: Some(refill.looked_at),
            stopped: refill.stopped.map(portero_registry::Stopped::as_str),
            reason: refill.reason,
            failures: refill.failures,
            ..counted
        }
    }
}

/// A router's lease on a server's connections.
#[derive(Debug, Clone, Serialize)]
pub struct LeaseView {
    /// Whose.
    pub router: RouterId,
    /// Its name.
    pub name: String,
    /// Whether it lasts. One that ran out counts until another router has ended the connections it was for.
    pub live: bool,
    /// The connections it may hold.
    pub granted: usize,
    /// What it could put to use.
    pub wanted: usize,
    /// What it had open when it last spoke.
    pub used: usize,
}

/// Why a server could not be looked after.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No server has the name.
    #[error("no server is called {0}")]
    NotFound(String),
    /// It can't be a server's name.
    #[error("a server can't be called {0:?}: 1 to {LONGEST_NAME} lower-case letters, digits and hyphens")]
    Name(String),
    /// Another server has the name.
    #[error("there is a server called {0} already")]
    Taken(String),
    /// Not a URL, or one that leaves out what is needed. It may hold a password, so it is not quoted.
    #[error("the server's URL {0}: postgresql://user:password@host:port/postgres")]
    Url(&'static str),
    /// It is not there, or doesn't let Portero's role in.
    #[error(
        "the server does not let Portero in: start it, or correct the URL; where it has no role for Portero yet, deploy/bootstrap.sql makes one"
    )]
    Unreachable(#[source] tokio_postgres::Error),
    /// It is there under another name: its connections would be given away twice.
    #[error("this server is known already: it is called {0}")]
    Known(String),
    /// It could not hold companies.
    #[error("the server can't hold companies: {}", .0.join("; "))]
    Unfit(Vec<String>),
    /// The registry.
    #[error("the registry doesn't answer")]
    Registry(#[from] RegistryError),
}

impl Control {
    pub(crate) async fn do_server_add(
        &self,
        name: &str,
        url: &SecretString,
    ) -> Result<ServerView, ServerError> {
        check_name(name)?;
        let config = parse_url(url)?;
        if self.registry.server_by_name(name).await?.is_some() {
            return Err(ServerError::Taken(name.to_owned()));
        }
        let session = connect(&config).await.map_err(ServerError::Unreachable)?;
        let capacity = self.inspect(&session).await;
        session.close().await;
        match self.registry.server_add(name, url, capacity?).await {
            Err(RegistryError::ServerTaken) => return Err(ServerError::Taken(name.to_owned())),
            outcome => outcome?,
        };
        tracing::info!(server = name, "a server was added");
        self.server(name).await.map(|details| details.server)
    }

    /// Every server, oldest first.
    ///
    /// # Errors
    /// The registry.
    pub async fn servers(&self) -> Result<Vec<ServerView>, RegistryError> {
        let tenants = self.registry.tenants_by_server().await?;
        let servers = self.registry.servers().await?;
        let count = |server: &ServerRow| tenants.get(&server.id).copied().unwrap_or(0);
        Ok(servers.iter().map(|server| view(server, count(server))).collect())
    }

    /// A server by its name, and who shares its connections.
    ///
    /// # Errors
    /// [`ServerError::NotFound`], or the registry.
    pub async fn server(&self, name: &str) -> Result<ServerDetails, ServerError> {
        let server = self.find_server(name).await?;
        let tenants = self.registry.tenants_by_server().await?.get(&server.id).copied().unwrap_or(0);
        let leases = self.registry.server_leases(server.id).await?;
        let figures = self.registry.spare_figures().await?;
        let spares = figures.into_iter().find(|figures| figures.server == server.id);
        Ok(ServerDetails {
            server: view(&server, tenants),
            leases: leases.into_iter().map(LeaseView::from).collect(),
            spares: spares.map(SparesView::from).unwrap_or_default(),
        })
    }

    pub(crate) async fn do_server_drain(&self, name: &str) -> Result<ServerView, ServerError> {
        self.set_status(name, ServerStatus::Draining).await
    }

    pub(crate) async fn do_server_undrain(&self, name: &str) -> Result<ServerView, ServerError> {
        self.set_status(name, ServerStatus::Active).await
    }

    /// The servers that take new companies and let Portero in at this moment: a company that signs up is not put on one
    /// that is away, nor on one where its role could look into what is not its own.
    pub(crate) async fn servers_that_answer(&self) -> Result<Vec<ServerId>, RegistryError> {
        let active = |server: &ServerRow| server.status == ServerStatus::Active;
        let servers = self.registry.servers().await?.into_iter().filter(active);
        let (silent, others): (Vec<_>, Vec<_>) = servers.partition(|server| self.probes.is_silent(server.id));
        let answer = self.probes.ask(others).await;
        Ok(if answer.is_empty() { self.probes.ask(silent).await } else { answer })
    }

    async fn set_status(&self, name: &str, status: ServerStatus) -> Result<ServerView, ServerError> {
        let server = self.find_server(name).await?;
        self.registry.server_set_status(server.id, status).await?;
        tracing::info!(server = name, status = status.as_str(), "a server's status was set");
        self.server(name).await.map(|details| details.server)
    }

    async fn find_server(&self, name: &str) -> Result<ServerRow, ServerError> {
        if check_name(name).is_err() {
            return Err(ServerError::NotFound(name.to_owned()));
        }
        let found = self.registry.server_by_name(name).await?;
        found.ok_or_else(|| ServerError::NotFound(name.to_owned()))
    }

    /// What tenants together may hold on a server that is new and fit for them.
    async fn inspect(&self, session: &Session) -> Result<usize, ServerError> {
        let checks = check_fitness(session, str::to_owned).await.map_err(ServerError::Unreachable)?;
        let unfit: Vec<String> = checks
            .into_iter()
            .filter(|check| check.health != Health::Ok)
            .map(|check| format!("{}: {} ({})", check.name, check.found, check.advice))
            .collect();
        if !unfit.is_empty() {
            return Err(ServerError::Unfit(unfit));
        }
        if let Some(name) = self.name_of(session).await? {
            return Err(ServerError::Known(name));
        }
        tenant_capacity(session).await.map_err(ServerError::Unreachable)
    }

    /// What the server at the other end is called, if it is known by another address. One that doesn't answer now can't
    /// be this one.
    async fn name_of(&self, session: &Session) -> Result<Option<String>, ServerError> {
        let started = started_at(session).await.map_err(ServerError::Unreachable)?;
        for server in self.registry.servers().await? {
            let Ok(other) = connect(&server.admin).await else { continue };
            let same = started_at(&other).await.is_ok_and(|other| other == started);
            other.close().await;
            if same {
                return Ok(Some(server.name));
            }
        }
        Ok(None)
    }
}

/// Databases that are Portero's own, or called or marked like a company's, and open to every role: the last check of a new
/// company (`verify`) would find them, and undo it.
async fn open_databases(session: &Session) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = session
        .query(
            "SELECT datname::text FROM pg_catalog.pg_database
             WHERE datallowconn AND has_database_privilege('public', oid, 'CONNECT')
               AND (pg_get_userbyid(datdba) = current_user OR datname ~ '^t_[0-9a-f]{32}$'
                    OR starts_with(shobj_description(oid, 'pg_database'), $1))
             ORDER BY datname LIMIT 10",
            &[&MARK_PREFIX],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// When the server was started, to the microsecond: no two say the same.
async fn started_at(session: &Session) -> Result<OffsetDateTime, tokio_postgres::Error> {
    Ok(session.query_one("SELECT pg_postmaster_start_time()", &[]).await?.get(0))
}

fn check_name(name: &str) -> Result<(), ServerError> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
        return Err(ServerError::Name(name.to_owned()));
    }
    Ok(())
}

fn parse_url(url: &SecretString) -> Result<Config, ServerError> {
    // The parse error is left out: it may quote the password.
    let config = server_config(url.expose_secret()).ok_or(ServerError::Url("is not a PostgreSQL URL"))?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(ServerError::Url("names no host"));
    }
    if config.get_user().is_none() {
        return Err(ServerError::Url("names no user"));
    }
    Ok(config)
}

fn view(server: &ServerRow, tenants: i64) -> ServerView {
    ServerView {
        id: server.id,
        name: server.name.clone(),
        address: address(&server.admin),
        status: server.status.as_str(),
        tenants,
        capacity: server.capacity,
    }
}

fn address(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let hosts: Vec<String> = if config.get_hosts().is_empty() {
        config.get_hostaddrs().iter().map(ToString::to_string).collect()
    } else {
        hosts.collect()
    };
    // One port for all, or one for each.
    let port = |at: usize| config.get_ports().get(at).or(config.get_ports().first()).unwrap_or(&5432);
    let named: Vec<_> = hosts.iter().enumerate().map(|(at, host)| format!("{host}:{}", port(at))).collect();
    named.join(",")
}

impl From<LeaseRow> for LeaseView {
    fn from(row: LeaseRow) -> Self {
        Self {
            router: row.router,
            name: row.name,
            live: row.live,
            granted: row.granted,
            wanted: row.wanted,
            used: row.used,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["a", "db-2", "eu-west-1", &"x".repeat(40)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "A", "ñ", "a b", "a_b", "a\nb", &"x".repeat(41)] {
            assert!(matches!(check_name(name), Err(ServerError::Name(_))), "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_swallows_what_it_is_asked_is_not_waited_for_again_at_once() {
        let swallows = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url =
            format!("postgresql://portero@127.0.0.1:{}/postgres", swallows.local_addr().unwrap().port());
        let server = |url: &str| ServerRow {
            id: ServerId::generate(),
            name: "far".to_owned(),
            admin: server_config(url).unwrap(),
            sealed_url: Vec::new(),
            status: ServerStatus::Active,
            capacity: None,
        };
        let (silent, refuses) = (server(&url), server("postgresql://portero@127.0.0.1:1/postgres"));
        let (ids, probes) = ([silent.id, refuses.id], Probes::default());
        assert_eq!(probes.ask(vec![silent, refuses]).await, []);
        assert_eq!(ids.map(|id| probes.is_silent(id)), [true, false], "a refusal costs nobody time");
    }

    #[test]
    fn a_url_says_where_and_who_and_is_never_quoted() {
        for (url, lacks) in [
            ("mysql://portero:hunter2@db/postgres", "is not a PostgreSQL URL"),
            ("hunter2", "is not a PostgreSQL URL"),
            ("", "names no host"),
            ("postgresql://portero:hunter2@/postgres", "names no host"),
            ("postgresql://db:5432/postgres", "names no user"),
        ] {
            let refused = parse_url(&url.into()).unwrap_err().to_string();
            assert!(refused.contains(lacks) && !refused.contains("hunter2"), "{url}: {refused}");
        }
        for (url, at) in [
            ("postgresql://portero:hunter2@db", "db:5432"),
            ("postgresql://portero@db:5433/postgres", "db:5433"),
            ("postgresql://portero@a:1,b:2/postgres", "a:1,b:2"),
            ("postgresql://portero@[::1]/postgres", "[::1]:5432"),
            ("postgresql://portero@%2Frun%2Fpg/postgres", "/run/pg:5432"),
            ("host=a,b port=6000 user=portero", "a:6000,b:6000"),
        ] {
            let config = parse_url(&url.into()).unwrap();
            assert_eq!((address(&config).as_str(), config.get_dbname()), (at, Some("postgres")), "{url}");
        }
    }
}
