//! `portero doctor`: every check one needs when something is wrong.

use crate::{
    commands::direct,
    output::{Failure, Output},
    settings::Settings,
};
use portero_control::Health;
use std::process::ExitCode;

pub(crate) async fn run(settings: Settings, output: Output) -> Result<ExitCode, Failure> {
    let checks = direct(settings)?.control.doctor().await;
    output.json(&serde_json::json!({ "checks": checks }));
    let widest = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    for check in &checks {
        let sign = match check.health {
            Health::Ok => "ok  ",
            Health::Warn => "warn",
            Health::Fail => "FAIL",
        };
        output.line(format_args!("{sign}  {:widest$}  {}", check.name, check.found));
        if !check.advice.is_empty() {
            output.line(format_args!("      {:widest$}  → {}", "", check.advice));
        }
    }
    let failed = checks.iter().any(|check| check.health == Health::Fail);
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
