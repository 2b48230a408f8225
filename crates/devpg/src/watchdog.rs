//! A small process that outlives us, to end the server when we were given no time to.
//!
//! It is a shell in a process group of its own whose standard input is a pipe that only we hold: when our process ends,
//! even by SIGKILL, the pipe does too, and the script in `watchdog.sh` does what is left to do. Only that script and
//! this file know how the two talk. If the watchdog dies as well, `orphans.rs` cleans up at the next start; of a
//! throwaway cluster whose directory is gone, the server itself ends within a minute.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::error::DevPgError;
use crate::home::Home;
use crate::options::Lifetime;

const SCRIPT: &str = include_str!("watchdog.sh");
const SHELL: &str = "/bin/sh";

/// A watchdog on guard. Dropped without [`Watchdog::dismiss`], it does its work at once, and the drop waits for it.
#[derive(Debug)]
pub(crate) struct Watchdog {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// Puts one on guard, if the lifetime asks for it.
    pub(crate) fn post(
        home: &Home,
        lifetime: Lifetime,
        patience: Duration,
    ) -> Result<Option<Self>, DevPgError> {
        let tenths = match lifetime {
            Lifetime::Lasting => return Ok(None),
            Lifetime::WithOwner => patience.as_millis() / 100 + 1,
            Lifetime::Throwaway => 0,
        };
        let mut command = Command::new(SHELL);
        command.args(["-c", SCRIPT, "portero-watchdog"]).arg(home.cluster()).arg(tenths.to_string());
        if lifetime == Lifetime::Throwaway {
            command.args(home.belongings()).arg("--").args([&home.root, &home.data_dir]);
        }
        command.current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child =
            command.spawn().map_err(|source| DevPgError::Program { program: SHELL.into(), source })?;
        let pipe = child.stdin.take();
        Ok(Some(Self { child, pipe }))
    }

    /// Tells which server to end, or that there is none just now.
    pub(crate) fn tell(&mut self, pid: Option<u32>) -> io::Result<()> {
        self.write(&pid.unwrap_or(0).to_string())
    }

    /// Sends it away: nothing is left to do.
    pub(crate) fn dismiss(mut self) {
        // If it is gone already, it needs no telling.
        let _ = self.write("done");
    }

    fn write(&mut self, word: &str) -> io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => pipe.write_all(format!("{word}\n").as_bytes()),
            None => Ok(()),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.child.wait();
    }
}
