//! One column more for every company: `portero migrate run` as CI calls it, from its start to its end, beside the same
//! `ALTER TABLE` over bare connections to the same databases, as many at once. Who goes first alternates.
//!
//! Portero's part is all that it does beside: a run written down, canaries first, the lock and the history in each
//! database, what came of each, and every router told.

use crate::{
    Place,
    cluster::{RegistryPlace, Scratch},
    outcome::{Chart, Line, Measure, Outcome, Role},
    portero::{APEX, Portero},
    tenants,
};
use anyhow::{Context, Result, ensure};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use portero_kernel::ExposeSecret;
use portero_pg::connect;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{process::Command, time::Instant};
use tokio_postgres::Config;

/// Connections that tenants may have.
const CAPACITY: usize = 100;

#[derive(Args)]
pub(crate) struct MigrateArgs {
    #[arg(long)]
    pairs: usize,
    /// Companies
    #[arg(long)]
    tenants: usize,
    /// How many at once, of both
    #[arg(long)]
    jobs: usize,
}

/// A fleet, and both ways to change it.
struct Fleet<'a> {
    place: &'a Place,
    registry: RegistryPlace,
    files: PathBuf,
    /// Portero's own login in each database.
    logins: Vec<Config>,
    /// The version that every company has.
    version: i32,
    jobs: usize,
}

pub(crate) async fn run(args: &MigrateArgs, place: &Place) -> Result<Outcome> {
    let scratch = Scratch::start(place, CAPACITY).await?;
    let registry = scratch.registry("portero_registry").await?;
    let portero = Portero::start(place, &registry, &scratch.data_dir("serve")).await?;
    let tenants = tenants::sign_up(&portero, &registry, args.tenants).await?;
    // What nobody asked for would be in the way of what is measured.
    portero.stop().await?;
    let files = scratch.data_dir("migrations");
    fs::create_dir_all(&files)?;
    let mut fleet = Fleet::of(place, registry, &tenants, files, args.jobs).await?;
    let superuser = scratch.superuser("postgres").await?;
    let statement = async |column: &str| -> Result<String> {
        let sql = "SELECT format('ALTER TABLE public.users ADD %I integer', $1::text)";
        Ok(superuser.query_one(sql, &[&column]).await?.get(0))
    };

    let mut measures = [
        Measure::new("migrate.run", "s"),
        Measure::new("migrate.each", "ms"),
        Measure::new("migrate.wave", "s"),
    ];
    let mut lines: [Vec<(f64, f64)>; 3] = Default::default();
    for pair in 0..args.pairs {
        let mut took = [Duration::ZERO; 3];
        for turn in 0..3 {
            let at = (turn + pair) % 3;
            took[at] = match at {
                0 => fleet.migrated("1,10%,100%", &statement(&column("waves", pair)).await?).await?,
                1 => fleet.migrated("100%", &statement(&column("wave", pair)).await?).await?,
                _ => fleet.bare(&statement(&column("bare", pair)).await?).await?,
            };
        }
        let [waves, wave, bare] = took.map(|took| took.as_secs_f64());
        println!(
            "{:>3}  in waves {waves:>6.2} s   in one {wave:>6.2} s   bare {bare:>6.2} s   {:.2} ×",
            pair + 1,
            waves / bare
        );
        let [run, each, one] = &mut measures;
        run.add(waves, bare);
        one.add(wave, bare);
        each.add(waves * 1e3 / args.tenants as f64, bare * 1e3 / args.tenants as f64);
        for (line, seconds) in lines.iter_mut().zip([waves, bare, 1.5 * bare]) {
            line.push(((pair + 1) as f64, seconds));
        }
    }
    let [figure, ceiling, limit] = lines;
    let line = |name: &str, role, points| Line { name: name.to_owned(), role, points };
    Ok(Outcome {
        postgres: scratch.version(),
        setting: format!("one column more for {} companies, {} at once", args.tenants, args.jobs),
        measures: measures.into(),
        chart: Chart {
            title: format!("One column more for {} companies", args.tenants),
            x: "measurement",
            y: "s",
            shares: false,
            lines: vec![
                line("portero migrate run", Role::Figure, figure),
                line("bare connections", Role::Ceiling, ceiling),
                line("1.5 × bare", Role::Limit, limit),
            ],
        },
        bars: None,
    })
}

fn column(way: &str, pair: usize) -> String {
    format!("{way}_{pair}")
}

impl<'a> Fleet<'a> {
    async fn of(
        place: &'a Place,
        registry: RegistryPlace,
        tenants: &[tenants::Tenant],
        files: PathBuf,
        jobs: usize,
    ) -> Result<Self> {
        let open = registry.open()?;
        let admin = open.servers().await?.into_iter().next().context("the registry knows no server")?.admin;
        let known = open.tenants_to_migrate().await?;
        let version = known.first().context("somebody signed up")?.version;
        let logins = tenants.iter().map(|tenant| {
            let mut login = admin.clone();
            login.dbname(tenant.login.get_dbname().unwrap_or_default());
            login
        });
        let logins = logins.collect();
        Ok(Self { place, registry, files, logins, version, jobs })
    }

    /// One more migration, run by Portero.
    async fn migrated(&mut self, waves: &str, sql: &str) -> Result<Duration> {
        self.version += 1;
        let version = self.version;
        fs::write(self.files.join(format!("V{version}__column.sql")), sql)?;
        let mut command = Command::new(&self.place.portero);
        command
            .args(["migrate", "run", "--json", "--waves", waves, "--jobs", &self.jobs.to_string()])
            .args([Path::new("--tenant-migrations"), &self.files])
            .current_dir("/")
            .env_clear()
            .env("PORTERO_REGISTRY_URL", self.registry.url.expose_secret())
            .env("PORTERO_MASTER_KEY", self.registry.key.expose_secret())
            .env("PORTERO_BASE_DOMAIN", APEX)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let began = Instant::now();
        let output = command.output().await?;
        let took = began.elapsed();
        ensure!(output.status.success(), "the run ended with {}", output.status);
        let report: Value = serde_json::from_slice(&output.stdout).context("the run tells no report")?;
        let done = report["run"]["done"].as_u64();
        ensure!(done == u64::try_from(self.logins.len()).ok(), "not all were migrated: {}", report["run"]);
        Ok(took)
    }

    /// The same statement in every database, and nothing else.
    async fn bare(&self, sql: &str) -> Result<Duration> {
        let began = Instant::now();
        stream::iter(&self.logins)
            .map(|login| async move {
                let session = connect(login).await?;
                session.batch_execute(sql).await?;
                session.close().await;
                Ok::<_, anyhow::Error>(())
            })
            .buffer_unordered(self.jobs)
            .try_collect::<()>()
            .await?;
        Ok(began.elapsed())
    }
}
