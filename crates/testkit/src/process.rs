//! The binary as a server: a child process, its JSON greeting, its log.

use crate::{DEADLINE, scratch::binary, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

/// What the log says at each failpoint: of use to tests, and noise to people.
const POINT: &str = "a point is passed";

type Lines = Arc<Mutex<Vec<String>>>;

/// A running `portero serve` or `portero dev`. Dropped, it is killed; with a test that fails, its log is shown.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Lines,
    log: Lines,
}

impl Process {
    /// Starts it with these arguments and this environment and no other.
    ///
    /// # Panics
    /// If the binary can't be run.
    #[must_use]
    pub fn spawn(args: &[&str], env: &BTreeMap<String, String>) -> Self {
        let mut command = Command::new(binary());
        command.env_clear().envs(env).current_dir("/").args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be run");
        let stdout = collect(child.stdout.take().expect("it is piped"));
        let log = collect(child.stderr.take().expect("it is piped"));
        Self { child, stdout, log }
    }

    /// Waits for the JSON that it prints once it serves.
    ///
    /// # Panics
    /// If it ends instead.
    pub async fn greeting(&mut self) -> Value {
        wait_for("the server's greeting", DEADLINE, async || {
            let text = lines(&self.stdout).join("\n");
            let greeting = serde_json::from_str(&text).ok();
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(
                greeting.is_some() || ended.is_none(),
                "it ended with {ended:?}:\n{}",
                self.log().join("\n")
            );
            greeting
        })
        .await
    }

    /// The lines of its log so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        lines(&self.log).clone()
    }

    /// All that it printed on stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        lines(&self.stdout).join("\n")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without a warning, as a crash would.
    ///
    /// # Panics
    /// Never: a child that has ended is fine.
    pub fn kill(&mut self) {
        self.child.kill().expect("one's own child can be killed");
        self.child.wait().expect("a child that was killed ends");
    }

    /// Sends SIGTERM and waits for an orderly end.
    ///
    /// # Panics
    /// If it doesn't end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Stops it from running at all, as a machine that hangs, until [`Process::resume`].
    pub fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it run on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has an id");
        kill_process(pid, signal).expect("one's own child takes signals");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// If it doesn't.
    pub async fn ended(&mut self) -> ExitStatus {
        wait_for("the process to end", DEADLINE, async || {
            self.child.try_wait().expect("a child can be asked")
        })
        .await
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the test's output, where libtest shows it with the failure")]
    fn drop(&mut self) {
        // Also where it has ended: that is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let mut log = self.log();
            log.retain(|line| !line.contains(POINT));
            eprintln!(
                "the last lines of the server's log:\n{}",
                log[log.len().saturating_sub(60)..].join("\n")
            );
        }
    }
}

/// Reads a pipe in the background, so that its writer never waits.
fn collect(pipe: impl Read + Send + 'static) -> Lines {
    let collected = Lines::default();
    let to = Arc::clone(&collected);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            lines(&to).push(line);
        }
    });
    collected
}

fn lines(collected: &Lines) -> MutexGuard<'_, Vec<String>> {
    collected.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
