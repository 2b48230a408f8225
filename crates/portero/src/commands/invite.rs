//! `portero invite`: create, list, revoke.

use crate::{
    commands::direct,
    output::{Failure, Output, moment},
    settings::Settings,
};
use anyhow::anyhow;
use clap::Subcommand;
use portero_control::{InvitationView, SignUpMode};
use portero_kernel::{EmailAddress, ExposeSecret, Refusal, Subdomain};
use std::{process::ExitCode, time::Duration};
use uuid::Uuid;

#[derive(Subcommand)]
pub(crate) enum InviteCommand {
    /// Make an invitation; its link is shown this once
    Create {
        /// For this address alone
        #[arg(long)]
        email: Option<String>,
        /// For this subdomain alone
        #[arg(long)]
        subdomain: Option<String>,
        /// How long it is good: 30m, 12h, 7d
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = life)]
        expires: Duration,
    },
    /// List the newest invitations
    List,
    /// Take an invitation back
    Revoke {
        /// Its id, or enough of its beginning or its end
        id: String,
    },
}

pub(crate) async fn run(
    settings: Settings,
    command: InviteCommand,
    output: Output,
) -> Result<ExitCode, Failure> {
    let mode = settings.signup_mode;
    let control = direct(settings)?.control;
    match command {
        InviteCommand::Create { email, subdomain, expires } => {
            let refused = |what: &str, refusal: Refusal| Failure::usage(anyhow!("{what} {refusal}"));
            let email = email.map(|email| EmailAddress::parse(&email)).transpose();
            let email = email.map_err(|refusal| refused("--email", refusal))?;
            let subdomain = subdomain.map(|name| Subdomain::parse(&name)).transpose();
            let subdomain = subdomain.map_err(|refusal| refused("--subdomain", refusal))?;
            let made = control.invite(email.as_ref(), subdomain.as_ref(), expires).await?;
            let link = made.link.expose_secret();
            output.json(&serde_json::json!({ "id": made.id, "link": link }));
            output.line(link);
            output.line(format_args!(
                "\nIt works once. Give it to whom it is for: it isn't shown again. To take it back: portero invite revoke {}",
                made.id
            ));
            if mode != SignUpMode::Invite {
                output.line(
                    "\nOnly a server that runs with PORTERO_SIGNUP_MODE=invite asks for it; this command sees its own environment alone.",
                );
            }
        }
        InviteCommand::List => list(&control.invitations().await?, output),
        InviteCommand::Revoke { id } => {
            let id = find(&control.invitations().await?, &id)?;
            if !control.revoke_invitation(id).await? {
                return Err(Failure::Failed(anyhow!(
                    "there is no open invitation {id}: see `portero invite list`"
                )));
            }
            output.json(&serde_json::json!({ "id": id, "state": "revoked" }));
            output.line(format_args!("{id} is revoked: its link opens nothing any more."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The invitation that is meant. A whole id may be one that isn't listed any more.
fn find(listed: &[InvitationView], text: &str) -> Result<Uuid, Failure> {
    let text = text.trim().to_ascii_lowercase();
    if let Ok(id) = Uuid::parse_str(&text) {
        return Ok(id);
    }
    let is_meant = |id: &String| !text.is_empty() && (id.starts_with(&text) || id.ends_with(&text));
    let ids: Vec<_> = listed.iter().map(|one| one.id.to_string()).filter(is_meant).collect();
    match ids.as_slice() {
        [] => Err(Failure::Failed(anyhow!("no invitation has the id {text}: see `portero invite list`"))),
        [id] => Ok(id.parse()?),
        _ => Err(Failure::Failed(anyhow!("several invitations have an id like {text}: write more of it"))),
    }
}

fn list(invitations: &[InvitationView], output: Output) {
    output.json(&invitations);
    if invitations.is_empty() {
        return output.line("There are no invitations: portero invite create");
    }
    let any = |value: &Option<String>| value.clone().unwrap_or_else(|| "any".to_owned());
    let rows: Vec<_> = invitations
        .iter()
        .map(|one| {
            [
                one.id.to_string(),
                one.state.to_owned(),
                any(&one.email),
                any(&one.subdomain),
                moment(one.expires_at),
            ]
        })
        .collect();
    output.table(["ID", "STATE", "E-MAIL", "SUBDOMAIN", "EXPIRES"], &rows);
}

/// A number and `m`, `h` or `d`: at least a minute, at most a year.
fn life(text: &str) -> Result<Duration, String> {
    let unit = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err("a number and m, h or d, such as 7d".to_owned()),
    };
    let count: u64 =
        text[..text.len() - 1].parse().map_err(|_| "a number and m, h or d, such as 7d".to_owned())?;
    match count.checked_mul(unit) {
        Some(secs @ 60..=31_536_000) => Ok(Duration::from_secs(secs)),
        _ => Err("from a minute to a year".to_owned()),
    }
}
