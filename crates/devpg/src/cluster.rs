//! The cluster as its owner holds it: made or opened, running, ended.
//!
//! This file has the order of things; each step is in a room of its own. The order matters: nothing is touched before
//! the lock is ours, the watchdog is on guard before there is anything to guard, and a server of a dead owner is down
//! before the cluster is opened anew.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{DevPgError, io};
use crate::find::Installation;
use crate::home::{self, Home};
use crate::lock::Lock;
use crate::options::{ClusterOptions, Lifetime, StopMode};
use crate::server::{Launch, NotStarted, Server};
use crate::user::ServerUser;
use crate::version::Version;
use crate::watchdog::Watchdog;
use crate::{initdb, orphans, port};

/// How often the server is tried while processes of an earlier run are still ending.
const HAUNTED_POLL: Duration = Duration::from_millis(100);

/// A private PostgreSQL cluster and its server. Dropped, it stops the server at once ([`StopMode::Immediate`]); call
/// [`Cluster::stop`] for an orderly end. One of [`Lifetime::Throwaway`] is deleted in either case.
pub struct Cluster {
    // In the order of their ends: the server first, the locks last.
    server: Option<Server>,
    watchdog: Option<Watchdog>,
    installation: Installation,
    password: String,
    port: u16,
    user: ServerUser,
    options: ClusterOptions,
    home: Home,
    lock: Lock,
    _lock_elsewhere: Option<Lock>,
}

impl Cluster {
    /// Opens the cluster of `options.data_dir`, made first if there is none, and starts its server on a free port of
    /// 127.0.0.1, the one of last time if possible. A server that a killed owner left behind is taken down before;
    /// the data stay. Blocks until the server accepts connections: a fraction of a second, a few when the cluster is
    /// made.
    ///
    /// # Errors
    /// [`DevPgError`]; the text of each says what to do next.
    pub fn start(options: ClusterOptions) -> Result<Self, DevPgError> {
        let data_dir = home::open_data_dir(&options.data_dir)?;
        let lock = Lock::acquire(&data_dir, &data_dir)?;
        let (home, user) = Home::settle(data_dir, Path::new(home::ELSEWHERE))?;
        // A copied data directory points to the same place elsewhere, so that place has a lock of its own.
        let lock_elsewhere =
            home.is_elsewhere().then(|| Lock::acquire(&home.root, &home.data_dir)).transpose()?;
        let watchdog = Watchdog::post(&home, options.lifetime, options.stop_timeout)?;

        orphans::take_down(&home.cluster(), options.stop_timeout)?;
        home.claim()?;
        initdb::sweep(&home);
        let (installation, password) = open_or_create(&home, &user, &options)?;

        let mut cluster = Self {
            server: None,
            watchdog,
            installation,
            password,
            port: 0,
            user,
            options,
            home,
            lock,
            _lock_elsewhere: lock_elsewhere,
        };
        cluster.resume()?;
        Ok(cluster)
    }

    /// The port on 127.0.0.1. While the server is halted, the one it had.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's name: `postgres`.
    pub fn superuser(&self) -> &'static str {
        initdb::SUPERUSER
    }

    /// The superuser's password, made at random with the cluster.
    pub fn superuser_password(&self) -> &str {
        &self.password
    }

    /// The directory of the programs that run this cluster. Not always that of the options: a cluster made by another
    /// major version runs with that one's, if it is installed.
    pub fn bin_dir(&self) -> &Path {
        &self.installation.bin_dir
    }

    /// The version that runs this cluster.
    pub fn version(&self) -> Version {
        self.installation.version
    }

    /// The cluster's own directory, PGDATA. Elsewhere than in the data directory, when we are root and the server's user
    /// can't get there.
    pub fn location(&self) -> PathBuf {
        self.home.cluster()
    }

    /// The server's log, since its last start.
    pub fn log_file(&self) -> PathBuf {
        self.home.log()
    }

    /// The postmaster's process id; `None` while it is halted.
    pub fn postmaster_pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Is the server still running? `false` when it was halted, crashed or was stopped by somebody else.
    pub fn is_alive(&mut self) -> bool {
        self.server.as_mut().is_some_and(Server::is_alive)
    }

    /// Changes a setting of postgresql.conf, from the server's next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.options.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Stops the server but keeps the cluster in hand, for [`Cluster::resume`]. No effect when it isn't running.
    ///
    /// # Errors
    /// [`DevPgError::WontEnd`] if it outlives every signal.
    pub fn halt(&mut self, mode: StopMode) -> Result<(), DevPgError> {
        self.lock.announce(None).map_err(io("write", &self.home.data_dir.join(home::LOCK)))?;
        if let Some(server) = self.server.take() {
            server.stop(mode, self.options.stop_timeout, &self.home.cluster())?;
        }
        if let Some(watchdog) = &mut self.watchdog {
            // One that is gone can't do harm; `resume` replaces it.
            let _ = watchdog.tell(None);
        }
        Ok(())
    }

    /// Starts the server that was halted or has crashed. It keeps its port unless somebody took it meanwhile: ask
    /// [`Cluster::port`] again. No effect when it is running.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn resume(&mut self) -> Result<(), DevPgError> {
        if self.is_alive() {
            return Ok(());
        }
        self.server = None;
        orphans::take_down(&self.home.cluster(), self.options.stop_timeout)?;
        write_hba(&self.home, &self.user, &self.options.hba)?;
        self.home.turn_log()?;
        let server = self.launch()?;
        self.port = server.port();
        let pid = server.pid();
        self.server = Some(server);
        self.tell_watchdog(pid)?;
        self.home.remember_port(self.port)?;
        self.lock.announce(Some(self.port)).map_err(io("write", &self.home.data_dir.join(home::LOCK)))
    }

    /// [`Cluster::halt`] and [`Cluster::resume`].
    ///
    /// # Errors
    /// As the two.
    pub fn restart(&mut self, mode: StopMode) -> Result<(), DevPgError> {
        self.halt(mode)?;
        self.resume()
    }

    /// Stops the server in an orderly way, by force if that takes longer than `stop_timeout`, and gives the data
    /// directory free. A [`Lifetime::Throwaway`] cluster is deleted.
    ///
    /// # Errors
    /// [`DevPgError::WontEnd`]; [`DevPgError::Io`] if a throwaway cluster can't be deleted.
    pub fn stop(mut self) -> Result<(), DevPgError> {
        self.end(StopMode::Fast, self.options.lifetime == Lifetime::Throwaway)
    }

    /// Stops the server at once and deletes the cluster, its password and its log. The data directory itself goes if
    /// nothing of others is in it.
    ///
    /// # Errors
    /// As [`Cluster::stop`].
    pub fn wipe(mut self) -> Result<(), DevPgError> {
        self.end(StopMode::Immediate, true)
    }

    fn end(&mut self, mode: StopMode, wipe: bool) -> Result<(), DevPgError> {
        self.halt(mode)?;
        if wipe {
            // Servers that lost their postmaster to a crash would go on writing.
            orphans::take_down(&self.home.cluster(), self.options.stop_timeout)?;
            self.home.wipe()?;
        }
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss();
        }
        Ok(())
    }

    fn launch(&self) -> Result<Server, DevPgError> {
        let launch = Launch {
            home: &self.home,
            user: &self.user,
            bin_dir: &self.installation.bin_dir,
            options: &self.options,
        };
        let deadline = Instant::now() + self.options.start_timeout;
        let last_time = Some(self.port).filter(|&port| port != 0).or_else(|| self.home.last_port());
        for port in port::candidates(last_time) {
            loop {
                match launch.on(port) {
                    Ok(server) => return Ok(server),
                    Err(NotStarted::PortTaken) => break,
                    Err(NotStarted::Haunted(_)) if Instant::now() < deadline => thread::sleep(HAUNTED_POLL),
                    Err(NotStarted::Haunted(error) | NotStarted::Failed(error)) => return Err(error),
                }
            }
        }
        Err(DevPgError::NoFreePort { tried: port::TRIES })
    }

    /// Puts the new server in the watchdog's care. One that somebody killed is replaced.
    fn tell_watchdog(&mut self, pid: u32) -> Result<(), DevPgError> {
        let Some(watchdog) = &mut self.watchdog else { return Ok(()) };
        if watchdog.tell(Some(pid)).is_ok() {
            return Ok(());
        }
        self.watchdog = Watchdog::post(&self.home, self.options.lifetime, self.options.stop_timeout)?;
        match &mut self.watchdog {
            Some(watchdog) => {
                watchdog.tell(Some(pid)).map_err(io("write to", Path::new("the watchdog process")))
            }
            None => Ok(()),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // `end` that went through leaves nothing to do here; one that failed has told its caller why.
        if self.server.is_some() || self.watchdog.is_some() {
            let _ = self.end(StopMode::Immediate, self.options.lifetime == Lifetime::Throwaway);
        }
    }
}

impl fmt::Debug for Cluster {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("location", &self.home.cluster())
            .field("port", &self.port)
            .field("version", &self.installation.version)
            .field("postmaster_pid", &self.postmaster_pid())
            .finish_non_exhaustive()
    }
}

/// The programs for the cluster there is, or a new cluster; and the superuser's password.
fn open_or_create(
    home: &Home,
    user: &ServerUser,
    options: &ClusterOptions,
) -> Result<(Installation, String), DevPgError> {
    let cluster = home.cluster();
    if !cluster.exists() {
        let installation =
            Installation { bin_dir: options.binaries.bin_dir().into(), version: options.binaries.version() };
        let password = initdb::create(home, user, &installation.bin_dir, !fsync_is_off(&options.settings))?;
        return Ok((installation, password));
    }
    let major = fs::read_to_string(cluster.join("PG_VERSION")).ok().and_then(|text| Version::parse(&text));
    let major = major.ok_or_else(|| DevPgError::NotACluster { location: cluster.clone() })?.major;
    let Some(installation) = options.binaries.for_major(major) else {
        let found: Vec<String> = options.binaries.found().iter().map(|one| one.version.to_string()).collect();
        return Err(DevPgError::WrongMajor { location: cluster, cluster: major, found: found.join(", ") });
    };
    let password = initdb::password_of(home, user, &installation.bin_dir)?;
    Ok((installation.clone(), password))
}

fn fsync_is_off(settings: &[(String, String)]) -> bool {
    let fsync = settings.iter().rev().find(|(name, _)| name == "fsync");
    fsync.is_some_and(|(_, value)| ["off", "false", "no", "0"].contains(&value.as_str()))
}

fn write_hba(home: &Home, user: &ServerUser, lines: &[String]) -> Result<(), DevPgError> {
    let mut text = String::from("# Written by Portero at every start.\n");
    if lines.is_empty() {
        text.push_str("host all all 127.0.0.1/32 scram-sha-256\n");
    }
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    let path = home.hba();
    home::write_file(&path, text.as_bytes(), 0o600)?;
    user.give(&path).map_err(io("change the owner of", &path))
}
