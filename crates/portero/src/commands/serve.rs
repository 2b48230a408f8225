//! `portero serve`: production, by the settings, on a PostgreSQL that is there.

use crate::{
    application::{Application, Plan, listen},
    commands::{asked_to_stop, required_key, site},
    output::{Failure, Output},
    settings::Settings,
};
use anyhow::anyhow;
use clap::{Args, ValueEnum};
use portero_control::SignUpMode;
use portero_edge::{Doors, FairUse, Limits};
use portero_web::pages::Mailbox;
use std::process::ExitCode;

/// Sign-ups that one address may begin in an hour, unless set.
const SIGNUPS_PER_HOUR: u32 = 10;
/// Logins that one address may try in a minute, unless set.
const LOGINS_PER_MINUTE: u32 = 30;
/// Times that one address may ask in a minute whether a name is free, unless set. Whoever types one asks a few times.
const NAME_CHECKS_PER_MINUTE: u32 = 60;
/// Logins in a row that may fail on one account before each takes a pause, unless set.
const LOGIN_ATTEMPTS_PER_ACCOUNT: u32 = 10;
/// Requests that one company may make in a second, unless set.
const TENANT_REQUESTS_PER_SECOND: u32 = 1000;

/// Spares on each server, unless set.
const SPARES: usize = 3;

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Only half of it: there must be a process for the other half, on the same registry
    #[arg(long, value_enum, value_name = "HALF")]
    only: Option<Half>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Half {
    /// The apex, sign-ups, jobs, console and admin API; no company's host
    Control,
    /// Companies' hosts; no apex, no jobs, and of the operators' endpoints health and metrics
    Router,
}

impl ServeArgs {
    const fn doors(&self) -> Doors {
        match self.only {
            None => Doors::All,
            Some(Half::Control) => Doors::Apex,
            Some(Half::Router) => Doors::Tenants,
        }
    }
}

pub(crate) async fn run(
    mut settings: Settings,
    args: ServeArgs,
    output: Output,
) -> Result<ExitCode, Failure> {
    let doors = args.doors();
    let url = settings.registry_url.clone().ok_or_else(|| {
        Failure::usage(anyhow!(
            "registry_url is not set: PORTERO_REGISTRY_URL=postgresql://portero:…@host/portero_registry"
        ))
    })?;
    if doors.has_apex() && settings.signup_mode == SignUpMode::Confirm && settings.smtp.is_none() {
        return Err(Failure::usage(anyhow!(
            "signup_mode is confirm, and there is no server to send mails by: set PORTERO_SMTP_URL and PORTERO_MAIL_FROM"
        )));
    }
    let site = site(&settings)?;
    let key = required_key(&mut settings)?;
    tracing::info!(
        apex = site.apex_url(),
        doors = ?doors,
        listen = %settings.listen,
        admin_listen = %settings.admin_listen,
        admin_hosts = ?settings.admin_hosts,
        trusted_proxies = ?settings.trusted_proxies,
        signup_mode = ?settings.signup_mode,
        workers = settings.workers,
        schema_behind = ?settings.schema.behind,
        spares = settings.spares.unwrap_or(SPARES),
        "settings"
    );
    let refill = settings.refill(SPARES);
    let listener = listen(settings.listen, "PORTERO_LISTEN")?;
    let admin_listener = listen(settings.admin_listen, "PORTERO_ADMIN_LISTEN")?;
    let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let application = Application::build(Plan {
        doors,
        registry_url: url,
        key,
        listener,
        admin_listener,
        trusted_proxies: settings.trusted_proxies,
        admin_hosts: settings.admin_hosts,
        workers: settings.workers,
        signup_mode: settings.signup_mode,
        signups_in_flight: settings.signups_in_flight,
        plans: settings.plans,
        mailbox: Mailbox::Hidden,
        smtp: settings.smtp,
        mails_per_hour: settings.mails_per_hour,
        login_attempts: settings.login_attempts_per_account.unwrap_or(LOGIN_ATTEMPTS_PER_ACCOUNT),
        limits: Limits::new(
            settings.signup_per_address_hour.unwrap_or(SIGNUPS_PER_HOUR),
            settings.login_per_address_minute.unwrap_or(LOGINS_PER_MINUTE),
            settings.name_checks_per_address_minute.unwrap_or(NAME_CHECKS_PER_MINUTE),
        ),
        fair_use: FairUse::new(
            settings.tenant_requests_per_second.unwrap_or(TENANT_REQUESTS_PER_SECOND),
            settings.tenant_concurrency,
        ),
        schema: settings.schema,
        refill,
        site: site.clone(),
        data_dir: settings.data_dir,
    })
    .await?;
    output.json(
        &serde_json::json!({ "url": site.apex_url(), "listen": address, "admin_listen": admin_address }),
    );
    output.line(format_args!(
        "Serving {} on {address}, operators' endpoints on {admin_address}",
        match doors {
            Doors::All => site.apex_url(),
            Doors::Apex => format!("{}, and no company,", site.apex_url()),
            Doors::Tenants => format!("the companies of {}, and nothing else,", site.apex_url()),
        }
    ));
    application.run_until(asked_to_stop()).await?;
    Ok(ExitCode::SUCCESS)
}
