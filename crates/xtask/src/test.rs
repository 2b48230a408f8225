//! `cargo xtask test`: everything the tests need, then all of the tests, and one line with their number.

use crate::{needs, workspace};
use anyhow::{Context, Result};
use clap::Args;
use std::{
    io::{BufRead, BufReader},
    process::{ExitCode, Stdio},
};

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Run only the tests whose names contain this
    filter: Option<String>,
    /// What follows `--` is for the test programs: names to filter by, `--nocapture`, …
    #[arg(last = true, value_name = "ARGS")]
    programs: Vec<String>,
}

#[expect(clippy::print_stdout, reason = "what the test programs print, as it comes")]
pub(crate) fn run(args: &TestArgs) -> Result<ExitCode> {
    needs::ensure(&[needs::POSTGRES, needs::NGINX, needs::CHROMIUM, needs::CHROMEDRIVER])?;
    let mut cargo = workspace::cargo()
        .args(["test", "--workspace", "--locked"])
        .args(&args.filter)
        .arg("--")
        .args(&args.programs)
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo can't be run")?;
    let mut total = Total::default();
    let stdout = cargo.stdout.take().context("cargo's output is piped")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        total.add(&line);
        println!("{line}");
    }
    let status = cargo.wait()?;
    if !status.success() && total.failed == 0 {
        println!("\nNot all tests could be run: above stands why.");
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    // Ended by a signal: as a shell would say it, a failure.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// The test programs' own counts, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    passed: u64,
    failed: u64,
}

impl Total {
    /// `test result: ok. 3 passed; 0 failed; …`; any other line is none.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        let count = |what: &str| {
            let mut words = counts.split([' ', ';', '.']).filter(|word| !word.is_empty());
            let mut before = None;
            words.find_map(|word| {
                if word == what {
                    before
                } else {
                    before = word.parse().ok();
                    None
                }
            })
        };
        self.passed += count("passed").unwrap_or(0);
        self.failed += count("failed").unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_and_nothing_else() {
        let mut total = Total::default();
        for line in [
            "test result: ok. 97 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 100.72s",
            "test users::a_test ... ok",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.00s",
            "5 passed; 5 failed",
        ] {
            total.add(line);
        }
        assert_eq!(total, Total { passed: 100, failed: 2 });
    }
}
