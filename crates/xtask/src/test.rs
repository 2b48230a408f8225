//! `cargo xtask test`: everything the tests need, then all of the tests.

use crate::{needs, workspace};
use anyhow::{Context, Result};
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Run only the tests whose names contain this
    filter: Option<String>,
    /// What follows `--` is for the test programs: names to filter by, `--nocapture`, …
    #[arg(last = true, value_name = "ARGS")]
    programs: Vec<String>,
}

pub(crate) fn run(args: &TestArgs) -> Result<ExitCode> {
    needs::ensure(&[needs::POSTGRES, needs::NGINX, needs::CHROMIUM, needs::CHROMEDRIVER])?;
    let status = workspace::cargo()
        .args(["test", "--workspace", "--locked"])
        .args(&args.filter)
        .arg("--")
        .args(&args.programs)
        .status()
        .context("cargo can't be run")?;
    // Ended by a signal: as a shell would say it, a failure.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
