//! One run of the server: started, ready, ended.
//!
//! `postgres` is our own child, without `pg_ctl` between us: no shell reads the paths, its end shows at once, and its
//! pid can't become anybody else's while we hold it. Readiness is read where `pg_ctl` reads it, in the last line of
//! postmaster.pid. Ports are chosen in `port.rs`, what is left of an earlier run is taken down in `orphans.rs`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{DevPgError, io};
use crate::home::Home;
use crate::options::{ClusterOptions, StopMode};
use crate::orphans::{PID_FILE, wait_until};
use crate::user::ServerUser;

/// How long a server may take to end when told to go at once. It gives its own children five seconds.
const IMMEDIATE: Duration = Duration::from_secs(10);
/// How much of the log an error shows.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 8 * 1024;

/// What it takes to run the server of a cluster.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) home: &'a Home,
    pub(crate) user: &'a ServerUser,
    pub(crate) bin_dir: &'a Path,
    pub(crate) options: &'a ClusterOptions,
}

/// Why a run didn't begin.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// Somebody was quicker: try another port.
    PortTaken,
    /// A process of an earlier run still holds the shared memory: try again.
    Haunted(DevPgError),
    /// Nothing to be done about it here.
    Failed(DevPgError),
}

/// A running server; its end stops it at once.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Launch<'_> {
    /// Starts the server on `port` and waits until it accepts connections.
    pub(crate) fn on(&self, port: u16) -> Result<Server, NotStarted> {
        let (log, log_start) =
            self.open_log().map_err(|e| NotStarted::Failed(io("open", &self.home.log())(e)))?;
        let mut server = self.spawn(port, log).map_err(NotStarted::Failed)?;
        let deadline = Instant::now() + self.options.start_timeout;
        let pid_file = self.home.cluster().join(PID_FILE);
        loop {
            if !server.is_alive() {
                return Err(self.why_ended(log_start, port));
            }
            if is_ready(&fs::read_to_string(&pid_file).unwrap_or_default(), server.pid()) {
                return Ok(server);
            }
            if Instant::now() >= deadline {
                drop(server);
                let (log, tail) = (self.home.log(), self.log_tail(log_start));
                return Err(NotStarted::Failed(DevPgError::StartTimeout {
                    after: self.options.start_timeout,
                    log,
                    tail,
                }));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn spawn(&self, port: u16, log: File) -> Result<Server, DevPgError> {
        let program = self.bin_dir.join("postgres");
        let as_program = |source: io::Error| DevPgError::Program { program: program.clone(), source };
        let mut command = self.user.command(&program);
        command.arg("-D").arg(self.home.cluster());
        for (name, value) in &self.options.settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // After the caller's, so that these win.
        for (name, value) in [
            ("listen_addresses", "127.0.0.1"),
            ("port", &port.to_string()),
            ("unix_socket_directories", ""),
            ("logging_collector", "off"),
        ] {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let mut hba = std::ffi::OsString::from("hba_file=");
        hba.push(self.home.hba());
        command.arg("-c").arg(hba);
        command.stdout(log.try_clone().map_err(as_program)?).stderr(log);
        let child = command.spawn().map_err(as_program)?;
        Ok(Server { child, port })
    }

    /// Opens the log for appending; also says where this run's part begins.
    fn open_log(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.home.log())?;
        let start = file.metadata()?.len();
        Ok((file, start))
    }

    fn log_tail(&self, start: u64) -> String {
        tail(&self.home.log(), start).unwrap_or_else(|error| format!("(the log can't be read: {error})"))
    }

    fn why_ended(&self, log_start: u64, port: u16) -> NotStarted {
        let tail = self.log_tail(log_start);
        if tail.contains("Address already in use") || !crate::port::is_free(port) {
            return NotStarted::PortTaken;
        }
        let haunted = tail.contains("shared memory block") && tail.contains("is still in use");
        let error = DevPgError::StartFailed { log: self.home.log(), tail };
        if haunted { NotStarted::Haunted(error) } else { NotStarted::Failed(error) }
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Is the postmaster still there?
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends the server, with more force when it takes longer than it may. `patience` is for an orderly end.
    pub(crate) fn stop(
        mut self,
        mode: StopMode,
        patience: Duration,
        location: &Path,
    ) -> Result<(), DevPgError> {
        if self.end(mode, patience) {
            return Ok(());
        }
        Err(DevPgError::WontEnd { pid: self.pid(), location: location.into() })
    }

    fn end(&mut self, mode: StopMode, patience: Duration) -> bool {
        let steps = [
            (StopMode::Fast, Signal::INT, patience),
            (StopMode::Immediate, Signal::QUIT, IMMEDIATE),
            (StopMode::Kill, Signal::KILL, IMMEDIATE),
        ];
        for (_, signal, wait) in steps.into_iter().skip_while(|(step, ..)| *step != mode) {
            if !self.is_alive() {
                return true;
            }
            let _ = kill_process(Pid::from_child(&self.child), signal);
            if wait_until(wait, || !self.is_alive()) {
                return true;
            }
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(StopMode::Immediate, IMMEDIATE);
    }
}

/// Does postmaster.pid say that the server of this pid accepts connections? Its eighth line is the status.
fn is_ready(pid_file: &str, pid: u32) -> bool {
    let mut lines = pid_file.lines().map(str::trim);
    lines.next().and_then(|line| line.parse().ok()) == Some(pid) && lines.nth(6) == Some("ready")
}

/// The last lines of a file, none from before `start`.
fn tail(path: &PathBuf, start: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(end.saturating_sub(TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_the_eighth_line_of_our_own_pid_file() {
        let file = "7797\n/data/pg\n1795227014\n25999\n\n127.0.0.1\n 10010673         4\nready   \n";
        assert!(is_ready(file, 7797));
        assert!(!is_ready(file, 7798));
        assert!(!is_ready(&file.replace("ready   ", "starting"), 7797));
        assert!(!is_ready("7797\n/data/pg\n", 7797));
        assert!(!is_ready("", 7797));
    }

    #[test]
    fn the_tail_keeps_to_this_run() {
        let path = std::env::temp_dir().join(format!("portero-tail-{}", std::process::id()));
        let lines: String = (0..100).map(|i| format!("line {i}\n")).collect();
        fs::write(&path, format!("before\n{lines}")).unwrap();
        let all = tail(&path, 0).unwrap();
        assert!(all.starts_with("line 80") && all.ends_with("line 99"), "{all}");
        let start = u64::try_from(format!("before\n{lines}").len()).unwrap() - 8;
        assert_eq!(tail(&path, start).unwrap(), "line 99");
        fs::remove_file(&path).unwrap();
    }
}
