//! `portero operator`: add, list, disable, rotate.

use crate::{
    commands::direct,
    output::{Failure, Output},
    settings::Settings,
};
use anyhow::anyhow;
use clap::Subcommand;
use portero_auth::OperatorToken;
use portero_control::{OperatorError, OperatorView};
use portero_kernel::ExposeSecret;
use std::process::ExitCode;

#[derive(Subcommand)]
pub(crate) enum OperatorCommand {
    /// Add an operator; the token is shown this once
    Add {
        /// What to call them: lower-case letters, digits, dots and hyphens
        name: String,
    },
    /// List all operators
    List,
    /// Shut an operator out, with every login; the name stays theirs
    Disable {
        /// Its name
        name: String,
    },
    /// Give an operator another token; the one before ends, and every login with it
    Rotate {
        /// Its name
        name: String,
    },
}

pub(crate) async fn run(
    settings: Settings,
    command: OperatorCommand,
    output: Output,
) -> Result<ExitCode, Failure> {
    let control = direct(settings)?.control;
    match command {
        OperatorCommand::Add { name } => {
            let (operator, token) = control.operator_add(&name).await.map_err(failure)?;
            output.line(format_args!("{name} is an operator. The token, shown this once:\n"));
            show(&operator, &token, output);
        }
        OperatorCommand::Rotate { name } => {
            let (operator, token) = control.operator_rotate(&name).await.map_err(failure)?;
            output.line(format_args!(
                "{name} has another token, shown this once; the one before has ended, and every login:\n"
            ));
            show(&operator, &token, output);
        }
        OperatorCommand::Disable { name } => {
            let operator = control.operator_disable(&name).await.map_err(failure)?;
            output.json(&operator);
            output.line(format_args!("{name} is shut out, from the next request on."));
        }
        OperatorCommand::List => list(&control.operators().await?, output),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(operator: &OperatorView, token: &OperatorToken, output: Output) {
    let token = token.to_text();
    output.json(&serde_json::json!({ "operator": operator, "token": token.expose_secret() }));
    output.line(format_args!("  {}\n", token.expose_secret()));
    output.line("It opens the console, and the admin API as `Authorization: Bearer`.");
}

fn list(operators: &[OperatorView], output: Output) {
    output.json(&serde_json::json!({ "operators": operators }));
    if operators.is_empty() {
        return output.line("There are no operators yet: portero operator add NAME");
    }
    let rows: Vec<_> = operators
        .iter()
        .map(|one| [one.name.clone(), one.status.to_owned(), one.created_at.date().to_string()])
        .collect();
    output.table(["NAME", "STATUS", "SINCE"], &rows);
}

fn failure(error: OperatorError) -> Failure {
    match error {
        OperatorError::Name(_) => Failure::usage(error),
        OperatorError::Taken(ref name) => {
            let next =
                format!("portero operator rotate {name} gives another token to one who isn't disabled");
            Failure::Failed(anyhow!("{error}: {next}"))
        }
        error => Failure::Failed(error.into()),
    }
}
