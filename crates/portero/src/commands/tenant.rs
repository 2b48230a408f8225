//! `portero tenant`: create, list, show, pause, resume, plan, weight; what follows in a tenant's life is in [`life`].

mod life;

use crate::{
    commands::{Direct, direct, jobs::watch},
    output::{Failure, Output, moment},
    settings::Settings,
};
use anyhow::{Context, anyhow};
use clap::Subcommand;
use portero_control::{FieldNames, Known, LookAlike, SignUp, SignUpError, TenantPlan, TenantView, Wishes};
use portero_kernel::Subdomain;
use portero_registry::JobStatus;
use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
    time::Duration,
};

#[derive(Subcommand)]
pub(crate) enum TenantCommand {
    /// Create a company: its database, its role, its first admin
    Create {
        /// The company's name
        #[arg(long)]
        name: String,
        /// The subdomain it gets
        #[arg(long)]
        subdomain: String,
        /// The first admin's address
        #[arg(long, value_name = "EMAIL")]
        admin_email: String,
        /// Read the first admin's password from stdin
        #[arg(long)]
        admin_password_stdin: bool,
        /// Have the name though it reads like another company's
        #[arg(long)]
        allow_look_alike: bool,
        /// The plan it has, one of those in the settings, and the weight that goes with it
        #[arg(long)]
        plan: Option<String>,
        /// Don't wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
    /// List all tenants
    List,
    /// Show a tenant
    Show {
        /// Its subdomain
        subdomain: String,
    },
    /// Shut a tenant's door: its data is kept, every request is answered 503
    Pause {
        /// Its subdomain
        subdomain: String,
        /// Why, for whoever looks at it later
        #[arg(long, value_parser = reason)]
        reason: Option<String>,
        /// How long requests under way may take to end before they are cut
        #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=600))]
        drain: u64,
    },
    /// Open a paused tenant's door again
    Resume {
        /// Its subdomain
        subdomain: String,
    },
    /// Give a tenant another subdomain: the old one leads there for 30 days
    Rename(life::RenameArgs),
    /// Delete tenants: every request is answered 410, their data is kept for 30 days
    Delete(life::DeleteArgs),
    /// Bring a deleted tenant back, as it was
    Undelete {
        /// Its subdomain
        subdomain: String,
    },
    /// Remove all that there is of a deleted tenant, and prove it: there is no way back
    Purge(life::PurgeArgs),
    /// Give a tenant another plan, and the weight that goes with it
    Plan {
        /// Its subdomain
        subdomain: String,
        /// One of those in the settings
        plan: String,
    },
    /// Set a tenant's part of a server that is short of connections
    Weight {
        /// Its subdomain
        subdomain: String,
        /// From 1, what every tenant begins with, to 100
        #[arg(value_parser = clap::value_parser!(u8).range(1..=100))]
        weight: u8,
    },
}

pub(crate) async fn run(
    settings: Settings,
    command: TenantCommand,
    output: Output,
) -> Result<ExitCode, Failure> {
    let direct = direct(settings)?;
    match command {
        TenantCommand::Create {
            name,
            subdomain,
            admin_email,
            admin_password_stdin,
            allow_look_alike,
            plan,
            no_wait,
        } => {
            let plan = plan.map(|name| plan_of(&direct, &name)).transpose()?;
            let password = read_password(admin_password_stdin)?;
            let form =
                SignUp { company: &name, subdomain: &subdomain, email: &admin_email, password: &password };
            let wishes = Wishes { look_alike: LookAlike::allowed_if(allow_look_alike), plan };
            create(&direct, &form, &wishes, no_wait, output).await
        }
        TenantCommand::List => list(&direct, output).await,
        TenantCommand::Show { subdomain } => {
            let tenant = direct.control.tenant(&label(&subdomain)?).await?;
            show(&tenant, output);
            Ok(ExitCode::SUCCESS)
        }
        TenantCommand::Pause { subdomain, reason, drain } => {
            let drain = Duration::from_secs(drain);
            let change = direct.control.pause(&label(&subdomain)?, reason.as_deref(), drain).await?;
            output.json(&change);
            let so = if change.already { "is paused already" } else { "is paused" };
            output.line(format_args!(
                "{} {so}. Its data is kept: portero tenant resume {0}",
                change.tenant.subdomain
            ));
            if change.cut > 0 {
                output.line(format_args!("Cut in the middle of something: {} connections.", change.cut));
            }
            output.line(who_knows(&change.known));
            Ok(ExitCode::SUCCESS)
        }
        TenantCommand::Resume { subdomain } => {
            let change = direct.control.resume(&label(&subdomain)?).await?;
            output.json(&change);
            let so = if change.already { "was active already" } else { "is active again" };
            output.line(format_args!("{} {so}: {}", change.tenant.subdomain, change.tenant.url));
            output.line(who_knows(&change.known));
            Ok(ExitCode::SUCCESS)
        }
        TenantCommand::Rename(args) => life::rename(&direct, &args, output).await,
        TenantCommand::Delete(args) => life::delete(&direct, &args, output).await,
        TenantCommand::Undelete { subdomain } => life::undelete(&direct, &subdomain, output).await,
        TenantCommand::Purge(args) => life::purge(&direct, &args, output).await,
        TenantCommand::Plan { subdomain, plan } => {
            let plan = plan_of(&direct, &plan)?;
            let change = direct.control.set_plan(&label(&subdomain)?, &plan).await?;
            output.json(&change);
            output.line(format_args!(
                "{} has the plan {}, of weight {}.",
                change.tenant.subdomain, plan.name, plan.weight
            ));
            output.line(who_knows(&change.known));
            Ok(ExitCode::SUCCESS)
        }
        TenantCommand::Weight { subdomain, weight } => {
            let change = direct.control.set_weight(&label(&subdomain)?, weight).await?;
            output.json(&change);
            output.line(format_args!("{} has the weight {weight}.", change.tenant.subdomain));
            output.line(who_knows(&change.known));
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn create(
    direct: &Direct,
    form: &SignUp<'_>,
    wishes: &Wishes,
    no_wait: bool,
    output: Output,
) -> Result<ExitCode, Failure> {
    let signed_up =
        direct.control.create_tenant(form, FieldNames::COMMAND, wishes, None).await.map_err(|error| {
            match error {
                SignUpError::Invalid(errors) => {
                    let lines: Vec<_> =
                        errors.iter().map(|error| format!("{} {}", error.field, error.refusal)).collect();
                    Failure::usage(anyhow!("{}", lines.join("; ")))
                }
                error => Failure::Failed(error.into()),
            }
        })?;
    if no_wait {
        let job = direct.control.job(signed_up.job).await?;
        output.json(&serde_json::json!({ "id": signed_up.tenant, "subdomain": signed_up.subdomain.as_str(), "url": signed_up.url, "status": "provisioning", "job": job }));
        output.line(format_args!("{} is being created by job {}", signed_up.subdomain, signed_up.job));
        return Ok(ExitCode::SUCCESS);
    }
    let job = watch(direct, signed_up.job, &[], output).await?;
    if job.status != "done" {
        let job = direct
            .registry
            .job_by_id(signed_up.job)
            .await?
            .context("the job has vanished from the registry")?;
        let left = match job.status {
            JobStatus::Undone => "nothing of it is left",
            JobStatus::Stuck => "it could not be cleaned up (`portero doctor` says more)",
            _ => "what there is of it is still being removed",
        };
        let error = job.error.unwrap_or_default();
        return Err(Failure::Failed(anyhow!("{} was not created, and {left}: {error}", signed_up.subdomain)));
    }
    let (tenant, known) = direct.control.tenant_when_known(&signed_up.subdomain).await?;
    output.json(&tenant);
    output.line(format_args!("{} is ready: {}", tenant.name, tenant.url));
    if !known.late.is_empty() {
        output.line(who_knows(&known));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(direct: &Direct, output: Output) -> Result<ExitCode, Failure> {
    let mut tenants: Vec<TenantView> = Vec::new();
    loop {
        let after = tenants.last().and_then(|tenant| Subdomain::parse(&tenant.subdomain).ok());
        let page = direct.control.tenants(after.as_ref(), 1000).await?;
        if page.is_empty() {
            break;
        }
        tenants.extend(page);
    }
    output.json(&serde_json::json!({ "tenants": tenants }));
    if tenants.is_empty() {
        output.line("There are no tenants yet: portero tenant create --name … --subdomain … --admin-email …");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = tenants
        .iter()
        .map(|tenant| {
            [
                tenant.subdomain.clone(),
                until(tenant),
                tenant.schema_version.to_string(),
                tenant.created_at.date().to_string(),
                tenant.name.clone(),
            ]
        })
        .collect();
    output.table(["SUBDOMAIN", "STATUS", "SCHEMA", "CREATED", "NAME"], &rows);
    Ok(ExitCode::SUCCESS)
}

/// Its status, and until when it stays so where that is written.
fn until(tenant: &TenantView) -> String {
    match tenant.purge_after {
        Some(at) if tenant.status == "deleted" => format!("deleted, kept until {}", at.date()),
        _ => tenant.status.to_owned(),
    }
}

fn show(tenant: &TenantView, output: Output) {
    output.json(tenant);
    let reason = tenant.pause_reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    for (name, value) in [
        ("name", tenant.name.clone()),
        ("url", tenant.url.clone()),
        ("status", format!("{}{reason}", tenant.status)),
        ("id", tenant.id.to_string()),
        ("database", tenant.db_name.clone()),
        ("server", tenant.server.clone()),
        ("schema", format!("version {}", tenant.schema_version)),
        ("plan", tenant.plan.clone().unwrap_or_else(|| "none".to_owned())),
        ("weight", tenant.weight.to_string()),
        ("created", moment(tenant.created_at)),
    ] {
        output.line(format_args!("{name:<9} {value}"));
    }
    if let (Some(deleted), Some(purge), Some(back)) =
        (tenant.deleted_at, tenant.purge_after, tenant.undelete_to)
    {
        output.line(format_args!("{:<9} {}, kept until {}", "deleted", moment(deleted), moment(purge)));
        output.line(format_args!("{:<9} {back}", "undelete"));
    }
    if tenant.status == "purging" {
        output.line(format_args!(
            "\nIt is being removed, and there is no way back. Where no job goes on with it: portero tenant purge {}",
            tenant.subdomain
        ));
    }
    for former in &tenant.former {
        output.line(format_args!(
            "{:<9} {} (leads here until {}, nobody else's until {})",
            "former",
            former.subdomain,
            former.redirects_until.date(),
            former.quarantined_until.date()
        ));
    }
}

/// Which routers have heard of a change.
fn who_knows(known: &Known) -> String {
    let know = match known.routers {
        0 => "No router has confirmed it".to_owned(),
        1 => "1 router knows".to_owned(),
        count => format!("{count} routers know"),
    };
    match (known.routers, known.late.as_slice()) {
        (0, []) => "No router is running that would have to know.".to_owned(),
        (_, []) => format!("{know}."),
        (_, late) => format!("{know}; not yet: {}. They hear of it as soon as they can.", late.join(", ")),
    }
}

fn label(raw: &str) -> Result<Subdomain, Failure> {
    Subdomain::parse(raw).map_err(|refusal| Failure::usage(anyhow!("the subdomain {raw:?} {refusal}")))
}

fn plan_of(direct: &Direct, name: &str) -> Result<TenantPlan, Failure> {
    direct.control.plan(name).map_err(|unknown| Failure::usage(anyhow!(unknown)))
}

/// It is shown in a line, here and elsewhere.
fn reason(text: &str) -> Result<String, &'static str> {
    if text.contains(char::is_control) {
        Err("a line of text, without control characters")
    } else {
        Ok(text.to_owned())
    }
}

fn read_password(from_stdin: bool) -> Result<String, Failure> {
    if from_stdin {
        let mut text = String::new();
        std::io::stdin()
            .take(4096)
            .read_to_string(&mut text)
            .context("the password can't be read from stdin")?;
        return Ok(text.trim_end_matches(['\n', '\r']).to_owned());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(anyhow!(
            "there is no terminal to ask for the admin's password: use --admin-password-stdin"
        )));
    }
    rpassword::prompt_password("Password of the first admin: ").map_err(Into::into)
}
