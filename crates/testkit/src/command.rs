//! The binary as a command that runs to its end.

use crate::{scratch::binary, wait::DEADLINE};
use serde_json::Value;
use std::process::Stdio;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// A call of `portero`. Its environment is empty but for what it is given, its directory is `/`.
#[derive(Debug)]
pub struct Portero {
    command: Command,
    stdin: Vec<u8>,
    line: String,
}

/// How a call ended.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it answered.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
    line: String,
}

impl Portero {
    /// With these arguments.
    #[must_use]
    pub fn new(args: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.env_clear().current_dir("/").args(args).kill_on_drop(true);
        Self { command, stdin: Vec::new(), line: format!("portero {}", args.join(" ")) }
    }

    /// With this in its environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    /// Without this in its environment.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    /// With this on its stdin.
    #[must_use]
    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = text.as_bytes().to_vec();
        self
    }

    /// Runs it.
    ///
    /// # Panics
    /// If it doesn't end.
    pub async fn run(mut self) -> Outcome {
        let command = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be run");
        let mut stdin = child.stdin.take().expect("it is piped");
        // One that doesn't read its stdin may be gone before all is written.
        let _ = stdin.write_all(&self.stdin).await;
        drop(stdin);
        let ended = timeout(DEADLINE, child.wait_with_output()).await;
        let output =
            ended.unwrap_or_else(|_| panic!("{} doesn't end", self.line)).expect("it can be waited for");
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            line: self.line,
        }
    }
}

impl Outcome {
    /// Checks the exit code.
    ///
    /// # Panics
    /// On another, with all that was said.
    #[track_caller]
    #[expect(clippy::must_use_candidate, reason = "that it didn't panic may be all a test wants")]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\nstdout: {}\nstderr: {}", self.line, self.stdout, self.stderr);
        self
    }

    /// Stdout as the one JSON value that it is.
    ///
    /// # Panics
    /// If it isn't.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{} answered no JSON: {error}: {}", self.line, self.stdout))
    }

    /// Everything it said.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}
