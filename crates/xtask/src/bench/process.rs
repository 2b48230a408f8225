//! Programs that are started for a bench and must not outlive it.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

/// How long a program may take to stop when asked to: longer than Portero lets requests drain, and than it takes to delete
/// some thousand databases.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running program: asked to stop when dropped, and killed if it doesn't.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts it; what it says on stderr is for whoever runs the bench.
    pub(super) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} can't be started"))?;
        let stdout = BufReader::new(child.stdout.take().context("stdout was asked for")?);
        Ok(Self { name, child, stdout })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of what it prints.
    pub(super) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("{} ended instead of serving; what it says is above", self.name);
        }
        Ok(line)
    }

    /// Asks it to stop, and waits.
    ///
    /// # Errors
    /// It had to be killed, or failed.
    pub(super) fn stop(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended by itself: {status}", self.name);
        }
        end(self.name, &mut self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None))
            && let Err(error) = self.stop()
        {
            eprintln!("{error:#}");
        }
    }
}

/// Runs a program that tells people itself what it does.
///
/// # Errors
/// It failed, or somebody asked this to end: then it is asked too, and waited for.
pub(super) fn run_to_end(name: &str, command: &mut Command, interrupted: &Interrupted) -> Result<()> {
    let mut child =
        command.stdin(Stdio::null()).spawn().with_context(|| format!("{name} can't be started"))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if interrupted.check().is_err() {
            end(name, &mut child)?;
        }
        sleep(Duration::from_millis(50));
    };
    interrupted.check()?;
    if !status.success() {
        bail!("{name} failed; what it says is above");
    }
    Ok(())
}

/// Asks a child to end, and waits.
fn end(name: &str, child: &mut Child) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a pid is a number above 0")?;
    kill_process(pid, Signal::TERM)?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    bail!("{name} didn't stop within {} s and was killed", PATIENCE.as_secs())
}

/// Whether somebody pressed Ctrl-C, or asked this to end. The terminal tells the programs too; this stays to clean up.
pub(super) struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    pub(super) fn watch() -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(&asked)).context("signals can't be watched")?;
        }
        Ok(Self(asked))
    }

    /// # Errors
    /// Where it happened.
    pub(super) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("interrupted: everything was stopped, nothing was kept");
        }
        Ok(())
    }
}
