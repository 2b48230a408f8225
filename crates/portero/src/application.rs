//! The application: its parts put together, run, and stopped in order. `portero dev`, `portero serve` and the tests
//! build the same one.

use crate::{
    commands::parse_url,
    mailer::{Mailer, Smtp},
    operations, security,
};
use actix_web::{App, HttpServer, dev::ServerHandle, middleware::from_fn, web};
use anyhow::{Context, Result, bail};
use portero_admin_api::AdminApi;
use portero_auth::{MasterKey, Passwords};
use portero_control::{Control, Plans, Rounds, SignUpMode};
use portero_edge::{Doors, Edge, FairUse, Limits, Refusals, Sightings, door, operators_door};
use portero_kernel::{ExposeSecret, SecretString, Site};
use portero_pg::{Class, classify};
use portero_provisioner::{Refill, RefillOptions, Worker, WorkerOptions, reap};
use portero_registry::{Registry, RegistryError};
use portero_router::{Router, RouterOptions, SchemaPolicy};
use portero_tenant_api::TenantApi;
use portero_web::{Web, pages::Mailbox};
use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// How long requests and jobs under way may take to end after the signal to stop.
const DRAIN: Duration = Duration::from_secs(25);
/// How often a registry that was away at the start is tried again.
const PREPARE_AGAIN: Duration = Duration::from_secs(1);

/// What the first tenants' server is called: the registry's own, wherever that is now.
const FIRST_SERVER: &str = "main";

/// How many connections were lent so far.
fn loans(router: &Router) -> u64 {
    router.figures().servers.iter().flat_map(|server| &server.checkout).map(|(_, took)| took.count).sum()
}

/// What an application is built from.
pub(crate) struct Plan {
    /// Which hosts it answers for, and so which half of the work is its own.
    pub(crate) doors: Doors,
    pub(crate) registry_url: SecretString,
    pub(crate) key: MasterKey,
    pub(crate) site: Site,
    pub(crate) listener: TcpListener,
    pub(crate) admin_listener: TcpListener,
    pub(crate) trusted_proxies: Vec<IpAddr>,
    pub(crate) admin_hosts: Vec<String>,
    pub(crate) workers: usize,
    pub(crate) signup_mode: SignUpMode,
    pub(crate) signups_in_flight: u32,
    /// What companies may have.
    pub(crate) plans: Plans,
    pub(crate) smtp: Option<Smtp>,
    pub(crate) mails_per_hour: u32,
    /// Whether mails that are not sent are shown on the operators' listener.
    pub(crate) mailbox: Mailbox,
    pub(crate) login_attempts: u32,
    pub(crate) limits: Limits,
    pub(crate) fair_use: FairUse,
    pub(crate) schema: SchemaPolicy,
    pub(crate) refill: RefillOptions,
    pub(crate) data_dir: PathBuf,
}

/// A running application.
pub(crate) struct Application {
    stop: watch::Sender<bool>,
    handles: Vec<ServerHandle>,
    servers: JoinSet<std::io::Result<()>>,
    background: Vec<JoinHandle<()>>,
    stop_router: watch::Sender<bool>,
    routing: JoinHandle<()>,
    admin_api: web::Data<AdminApi>,
}

/// Listens, and says in a sentence why not.
///
/// # Errors
/// The address is taken, or not this machine's.
pub(crate) fn listen(address: SocketAddr, setting: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("can't listen on {address}: stop what listens there, or choose another with {setting}")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Application {
    /// Migrates the registry, reads the routes, and begins to serve. While the registry is away it serves the routes of
    /// the last snapshot, and migrates when the registry is back.
    ///
    /// # Errors
    /// What could not be begun.
    pub(crate) async fn build(plan: Plan) -> Result<Self> {
        let registry = Registry::new(parse_url(&plan.registry_url)?, &plan.key);
        let ready = prepare(&registry, &plan.registry_url).await;
        let ready = match ready {
            Err(error) if !is_away(&error) => return Err(error),
            ready => ready.is_ok(),
        };
        let name = name(&plan.listener)?;
        let options = RouterOptions {
            name: name.clone(),
            // Without tenants' hosts there is nothing to be kept for a start without the registry.
            data_dir: plan.doors.has_tenants().then_some(plan.data_dir),
            lends: plan.doors.has_tenants(),
            schema: plan.schema,
            ..RouterOptions::default()
        };
        let router = Router::start(registry.clone(), options).await?;
        // As many passwords at once as there are cores, and some seconds' worth of waiting.
        let passwords = Passwords::new(plan.workers, 256 * plan.workers);
        let control = Control::new(registry.clone(), passwords.clone(), plan.site.clone(), plan.signup_mode)
            .with_in_flight(plan.signups_in_flight)
            .with_plans(plan.plans)
            .with_letters(portero_web::letter);
        let (stop, stopping) = watch::channel(false);
        let (stop_router, router_stops) = watch::channel(false);

        let mut worker = Worker::new(registry.clone(), WorkerOptions::default());
        if plan.doors.has_tenants() {
            let lender = router.clone();
            worker = worker.beside(move || loans(&lender));
        }
        let refill = Refill::new(registry.clone(), plan.refill);
        let rounds = web::Data::new(Rounds::default());
        let mailer = Mailer {
            registry: registry.clone(),
            smtp: plan.smtp,
            per_hour: plan.mails_per_hour,
            apex: plan.site.apex.clone(),
        };
        let mut background = Vec::new();
        if plan.doors.has_apex() {
            background.extend([
                tokio::spawn(worker.run(stopping.clone(), DRAIN)),
                tokio::spawn(Rounds::clone(&rounds).run(control.clone(), stopping.clone())),
                tokio::spawn(control.clone().hear_jobs(stopping.clone())),
                tokio::spawn(reap(registry.clone(), stopping.clone())),
                tokio::spawn(refill.run(stopping.clone())),
                tokio::spawn(mailer.run(stopping.clone())),
            ]);
        }
        if !ready {
            let url = plan.registry_url;
            background.push(tokio::spawn(prepare_later(registry, url, stopping.clone())));
        }
        let routing = tokio::spawn(router.clone().run(router_stops));

        let edge = web::Data::new(Edge {
            site: plan.site.clone(),
            router: router.clone(),
            doors: plan.doors,
            trusted_proxies: plan.trusted_proxies,
            admin_hosts: plan.admin_hosts,
            limits: plan.limits,
            fair_use: plan.fair_use,
            refusals: Refusals::default(),
            sightings: Sightings::default(),
            page: portero_web::problem_page,
            own: portero_tenant_api::bears_own,
        });
        let sights = security::write_down(edge.clone(), control.registry().clone(), stopping.clone());
        background.push(tokio::spawn(sights));
        let operations_data = web::Data::new(operations::Operations {
            name,
            control: control.clone(),
            mailbox: plan.mailbox,
            router,
            edge: edge.clone(),
            rounds: rounds.clone(),
            stopping: stopping.clone(),
        });
        let admin_api = web::Data::new(AdminApi::new(control.clone()));
        let mailbox = web::Data::new(plan.mailbox);
        let (admin_data, admin_edge) = (admin_api.clone(), edge.clone());
        let tenant_api =
            web::Data::new(TenantApi::new(plan.key, passwords, plan.site.https, plan.login_attempts));
        let control = web::Data::new(control);
        let web_data = web::Data::new(Web::new(stopping));
        let public = HttpServer::new(move || {
            App::new()
                .app_data(edge.clone())
                .app_data(tenant_api.clone())
                .app_data(control.clone())
                .app_data(web_data.clone())
                .wrap(from_fn(door))
                .configure(portero_web::configure)
        })
        .workers(plan.workers)
        .max_connections(sockets_per_worker(plan.workers))
        .keep_alive(Duration::from_secs(75))
        .client_request_timeout(Duration::from_secs(10))
        .shutdown_timeout(DRAIN.as_secs())
        .disable_signals()
        .listen(plan.listener)?
        .run();
        let own: fn(&mut web::ServiceConfig) =
            if plan.doors.has_apex() { operations::configure } else { operations::configure_router };
        let admin = HttpServer::new(move || {
            App::new()
                .app_data(admin_edge.clone())
                .app_data(admin_data.clone())
                .app_data(rounds.clone())
                .app_data(operations_data.clone())
                .app_data(mailbox.clone())
                .wrap(from_fn(operators_door))
                .configure(own)
        })
        .workers(1)
        .shutdown_timeout(1)
        .disable_signals()
        .listen(plan.admin_listener)?
        .run();

        let handles = vec![public.handle(), admin.handle()];
        let mut servers = JoinSet::new();
        servers.spawn(public);
        servers.spawn(admin);
        Ok(Self { stop, handles, servers, background, stop_router, routing, admin_api })
    }

    /// The path of a link that logs this operator in, once. The operator is added if there is none of that name.
    ///
    /// # Errors
    /// The registry; the operator was disabled.
    pub(crate) async fn link_for(&self, operator: &str) -> Result<String> {
        let control = self.admin_api.control();
        let found = control.operators().await?.into_iter().find(|one| one.name == operator);
        let found = match found {
            Some(one) if one.disabled_at.is_some() => bail!("the operator {operator} is disabled"),
            Some(one) => one,
            None => control.operator_add(operator).await?.0,
        };
        Ok(format!("{}?key={}", portero_web::ENTER, self.admin_api.link(found).expose_secret()))
    }

    /// Serves until `signal` comes, then stops in order: readiness first, then requests and jobs under way, then pools.
    ///
    /// # Errors
    /// A listener that ended by itself.
    pub(crate) async fn run_until(mut self, signal: impl Future<Output = ()>) -> Result<()> {
        tokio::select! {
            () = signal => {}
            ended = self.servers.join_next() => {
                ended.context("no server was running")??.context("a server ended by itself")?;
            }
            ended = &mut self.routing => {
                ended?;
                bail!("the router ended by itself");
            }
        }
        self.stop.send_replace(true);
        for handle in &self.handles {
            handle.stop(true).await;
        }
        while self.servers.join_next().await.is_some() {}
        for task in self.background {
            task.await?;
        }
        self.stop_router.send_replace(true);
        self.routing.await?;
        Ok(())
    }
}

/// So many clients' connections as leave some descriptors for databases, files, and the operators' listener: without any
/// left, nobody could even ask what is wrong.
fn sockets_per_worker(workers: usize) -> usize {
    const OTHERS: u64 = 1024;
    const MOST: usize = 25_000;
    let all = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let ours = all.saturating_sub(OTHERS).max(all / 2);
    usize::try_from(ours).unwrap_or(usize::MAX).div_euclid(workers.max(1)).clamp(16, MOST)
}

/// What this process is called among the routers: its machine, and where it listens.
fn name(listener: &TcpListener) -> Result<String> {
    let machine = rustix::system::uname();
    Ok(format!("{} {}", machine.nodename().to_string_lossy(), listener.local_addr()?))
}

async fn prepare(registry: &Registry, url: &SecretString) -> Result<()> {
    registry.migrate().await.context("the registry could not be migrated")?;
    match registry.server_upsert(FIRST_SERVER, url).await {
        Err(RegistryError::Secret(_)) => {
            bail!("the registry was written with another master key: set PORTERO_MASTER_KEY to that one")
        }
        outcome => outcome?,
    };
    Ok(())
}

/// Whether the registry merely doesn't answer now.
fn is_away(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<tokio_postgres::Error>())
        .any(|error| matches!(classify(error), Class::Unavailable | Class::TooManyConnections))
}

async fn prepare_later(registry: Registry, url: SecretString, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopping.changed() => return,
            () = tokio::time::sleep(PREPARE_AGAIN) => {}
        }
        match prepare(&registry, &url).await {
            Ok(()) => return tracing::info!("the registry is back and up to date"),
            Err(error) if is_away(&error) => {}
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the registry is back and can't be used");
            }
        }
    }
}
