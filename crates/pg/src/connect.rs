//! Opening one connection, with the timeouts that tokio-postgres leaves unset.

use crate::{
    OpenError, connector,
    tenant_db::tls_for,
    tls::secured,
    wire::{Endpoint, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, Stream, USER_TIMEOUT},
};
use portero_kernel::{ExposeSecret, SecretString};
use std::{io, ops, time::Duration};
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{Client, Config, Error, config::TargetSessionAttrs};

/// What every session of a tenant's role starts with. A statement that outlives its request ends, a lock is not waited
/// for long, a forgotten transaction doesn't keep its locks, and a client that went away is noticed.
///
/// They are set on the role, for whoever logs in as it, and again by each login of ours: a role may change its own
/// settings, and what the client asks for outranks them.
pub const TENANT_SESSION: [(&str, &str); 10] = [
    ("search_path", "public"),
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "15s"),
    ("idle_session_timeout", "0"),
    ("client_connection_check_interval", "2s"),
    ("client_min_messages", "notice"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("local_preload_libraries", ""),
];

/// Where a PostgreSQL server is, apart from who asks for what: hosts, ports, and how to reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Config);

impl Address {
    /// The address part of a connection URL; its user, password and database are left behind.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let mut bare = Config::new();
        for host in config.get_hosts() {
            match host {
                tokio_postgres::config::Host::Tcp(name) => bare.host(name),
                #[cfg(unix)]
                tokio_postgres::config::Host::Unix(path) => bare.host_path(path),
            };
        }
        for address in config.get_hostaddrs() {
            bare.hostaddr(*address);
        }
        for port in config.get_ports() {
            bare.port(*port);
        }
        let config = hardened(config.clone());
        bare.ssl_mode(config.get_ssl_mode())
            .ssl_negotiation(config.get_ssl_negotiation())
            .channel_binding(config.get_channel_binding())
            .target_session_attrs(config.get_target_session_attrs());
        Self(bounded(bare))
    }

    /// A configuration for a tenant's role to log in with here.
    #[must_use]
    pub fn login(&self, user: &str, password: &SecretString, database: &str, application: &str) -> Config {
        let mut config = self.0.clone();
        config.user(user).password(password.expose_secret()).dbname(database).application_name(application);
        let options: Vec<_> = TENANT_SESSION
            .iter()
            .map(|(name, value)| format!("-c {name}={}", value.replace(' ', "\\ ")))
            .collect();
        config.options(options.join(" "));
        config
    }
}

/// A configuration as this process uses it for its own logins: its `sslmode` decided, and every wait bounded.
#[must_use]
pub fn hardened(config: Config) -> Config {
    let mut config = bounded(secured(config));
    if config.get_options().is_none() {
        // What Portero itself asks of a server is done in seconds; `CREATE DATABASE` on a busy disk takes the longest. None
        // of it is worth compiling: where a small table was never analyzed, PostgreSQL takes a second to compile for a
        // millisecond's work. Within a transaction nobody waits for anything else: who is idle in one for so long was frozen,
        // and what it has locked holds all the others up.
        config.options("-c statement_timeout=60s -c idle_in_transaction_session_timeout=10s -c jit=off");
    }
    config
}

/// No connect timeout and two hours of keepalive by default: a server that vanished would be waited for.
fn bounded(mut config: Config) -> Config {
    config
        .connect_timeout(Duration::from_secs(5))
        .tcp_user_timeout(USER_TIMEOUT)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_RETRIES);
    config
}

/// One connection and the task that drives it; dropping it closes the socket.
#[derive(Debug)]
pub struct Session {
    client: Client,
    driver: JoinHandle<()>,
}

/// Logs in with a configuration that is [`hardened`], or was made by [`Address::login`].
///
/// # Errors
/// As PostgreSQL or the network says; see [`crate::classify`].
pub async fn connect(config: &Config) -> Result<Session, Error> {
    let (client, connection) = secured(config.clone()).connect(connector()).await?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    Ok(Session { client, driver })
}

/// Logs in as [`connect`] does, to the first of several hosts that lets us in, and that takes writes where
/// `target_session_attrs=read-write` asks for it; and says which one it was. No host is waited for longer than `per_host`.
///
/// # Errors
/// That of the last host.
pub async fn connect_within(config: &Config, per_host: Duration) -> Result<(Session, Endpoint), OpenError> {
    let config = secured(config.clone());
    let mut last = OpenError::ReadOnly;
    for endpoint in Endpoint::all(&config).await.map_err(OpenError::Unreachable)? {
        match timeout(per_host, connect_at(&endpoint, &config)).await {
            Ok(Ok(session)) => return Ok((session, endpoint)),
            Ok(Err(error)) => last = error,
            Err(_) => last = OpenError::Unreachable(io::ErrorKind::TimedOut.into()),
        }
    }
    Err(last)
}

async fn connect_at(endpoint: &Endpoint, config: &Config) -> Result<Session, OpenError> {
    let stream = endpoint.dial().await.map_err(OpenError::Unreachable)?;
    let tls = tls_for::<Stream>(endpoint).map_err(OpenError::Unreachable)?;
    let (client, connection) = config.connect_raw(stream, tls).await.map_err(OpenError::Login)?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    });
    let session = Session { client, driver };
    if config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite {
        let row = session.query_one("SELECT pg_is_in_recovery()", &[]).await.map_err(OpenError::Login)?;
        if row.get(0) {
            return Err(OpenError::ReadOnly);
        }
    }
    Ok(session)
}

impl Session {
    /// Says goodbye, and waits until the socket is closed.
    pub async fn close(self) {
        let Self { client, driver } = self;
        drop(client);
        // The driver ends once the client is gone and Terminate is sent; a join error means it had ended already.
        let _ = driver.await;
    }
}

impl ops::Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl ops::DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
