//! Servers that a dead owner left behind.
//!
//! Their only trace is postmaster.pid, and a number in a file proves nothing: the postmaster may be gone and its pid
//! somebody else's by now. So a process is taken for a server of this cluster only if the system agrees: on Linux, its
//! executable is a `postgres` and its working directory is the cluster (a server goes there at its start and stays);
//! elsewhere, its command line is a `postgres` with this cluster's directory. Looking and then signalling leaves room
//! for a pid to change hands between the two, a matter of microseconds against a whole turn of the pid counter.
//!
//! A server started by our own process is different: it is our child, so its pid stays its own until we wait for it.
//! See `server.rs`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{DevPgError, io};

/// The file a postmaster keeps in its cluster while it runs.
pub(crate) const PID_FILE: &str = "postmaster.pid";

/// How long a server may take for each of the less patient signals.
const IMPATIENT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// Takes down every server of this cluster, in an orderly way if it ends within `patience`, and clears away the stale
/// postmaster.pid. Afterwards nothing stands in the way of a new server. `cluster` is a resolved path; it need not exist.
pub(crate) fn take_down(cluster: &Path, patience: Duration) -> Result<(), DevPgError> {
    for (signal, wait) in [(Signal::INT, patience), (Signal::QUIT, IMPATIENT), (Signal::KILL, IMPATIENT)] {
        let servers = servers_of(cluster);
        if servers.is_empty() {
            return clear_pid_file(cluster);
        }
        // The postmaster takes its children down in order. Without one they are orphans that just haven't noticed.
        let postmaster = pid_in_file(cluster).filter(|pid| servers.contains(pid));
        let to_signal = match postmaster {
            Some(pid) if signal != Signal::KILL => vec![pid],
            _ => servers,
        };
        for pid in to_signal {
            send(pid, signal);
        }
        wait_until(wait, || servers_of(cluster).is_empty());
    }
    match servers_of(cluster).first() {
        None => clear_pid_file(cluster),
        Some(&pid) => Err(DevPgError::WontEnd { pid, location: cluster.into() }),
    }
}

/// Polls until the condition holds or the time is over; says whether it holds.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// A stale file names a pid that may be alive as somebody else, and then the server refuses to start.
fn clear_pid_file(cluster: &Path) -> Result<(), DevPgError> {
    let path = cluster.join(PID_FILE);
    crate::home::remove(&path).map_err(io("delete", &path))
}

fn pid_in_file(cluster: &Path) -> Option<u32> {
    fs::read_to_string(cluster.join(PID_FILE)).ok()?.lines().next()?.trim().parse().ok()
}

/// The proven servers of the cluster. Elsewhere than on Linux, the postmaster only.
fn servers_of(cluster: &Path) -> Vec<u32> {
    if !cfg!(target_os = "linux") {
        return pid_in_file(cluster).filter(|&pid| is_postmaster_by_ps(pid, cluster)).into_iter().collect();
    }
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| is_server_by_proc(pid, cluster))
        .collect()
}

fn is_server_by_proc(pid: u32, cluster: &Path) -> bool {
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).ok();
    let in_cluster = link("cwd").is_some_and(|cwd| cwd == cluster);
    // After an upgrade under a running server the link reads `postgres (deleted)`.
    in_cluster
        && link("exe").is_some_and(|exe| {
            exe.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("postgres"))
        })
}

fn is_postmaster_by_ps(pid: u32, cluster: &Path) -> bool {
    let output = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
    let Ok(output) = output else { return false };
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    line.contains("postgres") && cluster.to_str().is_some_and(|cluster| line.contains(cluster))
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // Gone in between is what we want; anything else shows in the wait.
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recycled_pid_is_never_signalled() {
        let dir = std::env::temp_dir().join(format!("portero-orphans-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        // Lives, and even sits in the cluster's directory, but is no postgres.
        let mut bystander = Command::new("sleep").arg("60").current_dir(&dir).spawn().unwrap();
        let text = format!("{}\n{}\n1700000000\n5432\n\n127.0.0.1\n", bystander.id(), dir.display());
        fs::write(dir.join(PID_FILE), text).unwrap();

        take_down(&dir, Duration::from_secs(5)).unwrap();

        let alive = bystander.try_wait().unwrap().is_none();
        let cleared = !dir.join(PID_FILE).exists();
        bystander.kill().unwrap();
        bystander.wait().unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert!(alive && cleared, "alive {alive}, cleared {cleared}");
    }
}
