//! The application: its parts put together, run, and stopped in order. `portero dev`, `portero serve` and the tests
//! build the same one.

use crate::operations;
use actix_web::{App, HttpServer, dev::ServerHandle, middleware::from_fn, web};
use anyhow::{Context, Result};
use portero_auth::{MasterKey, Passwords};
use portero_control::{Control, SignUpMode};
use portero_edge::{Edge, Limits, door};
use portero_kernel::Site;
use portero_provisioner::{Worker, WorkerOptions};
use portero_registry::Registry;
use portero_router::{Router, RouterOptions};
use portero_tenant_api::TenantApi;
use portero_web::Web;
use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// How long requests and jobs under way may take to end after the signal to stop.
const DRAIN: Duration = Duration::from_secs(25);

/// What an application is built from.
pub(crate) struct Plan {
    pub(crate) registry_url: tokio_postgres::Config,
    pub(crate) key: MasterKey,
    pub(crate) site: Site,
    pub(crate) listener: TcpListener,
    pub(crate) admin_listener: TcpListener,
    pub(crate) trusted_proxies: Vec<IpAddr>,
    pub(crate) workers: usize,
    pub(crate) signup_mode: SignUpMode,
    pub(crate) limits: Limits,
}

/// A running application.
pub(crate) struct Application {
    stop: watch::Sender<bool>,
    handles: Vec<ServerHandle>,
    servers: JoinSet<std::io::Result<()>>,
    background: Vec<JoinHandle<()>>,
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
    /// Migrates the registry, reads the routes, and begins to serve.
    ///
    /// # Errors
    /// What could not be begun.
    pub(crate) async fn build(plan: Plan) -> Result<Self> {
        let registry = Registry::new(plan.registry_url, &plan.key);
        registry.migrate().await.context("the registry could not be migrated")?;
        let router = Router::start(registry.clone(), RouterOptions::default())
            .await
            .context("the routes could not be read")?;
        // As many passwords at once as there are cores, and some seconds' worth of waiting.
        let passwords = Passwords::new(plan.workers, 256 * plan.workers);
        let control = Control::new(registry.clone(), passwords.clone(), plan.site.clone(), plan.signup_mode);
        let (stop, stopping) = watch::channel(false);

        let worker = Worker::new(registry, WorkerOptions::default());
        let background = vec![
            tokio::spawn(worker.run(stopping.clone(), DRAIN)),
            tokio::spawn(router.clone().run(stopping.clone())),
        ];

        let operations_data = web::Data::new(operations::Operations {
            control: control.clone(),
            router: router.clone(),
            stopping: stopping.clone(),
        });
        let edge = web::Data::new(Edge {
            site: plan.site.clone(),
            router,
            trusted_proxies: plan.trusted_proxies,
            limits: plan.limits,
            page: portero_web::problem_page,
        });
        let tenant_api = web::Data::new(TenantApi::new(plan.key, passwords, plan.site.https));
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
        .keep_alive(Duration::from_secs(75))
        .client_request_timeout(Duration::from_secs(10))
        .shutdown_timeout(DRAIN.as_secs())
        .disable_signals()
        .listen(plan.listener)?
        .run();
        let admin = HttpServer::new(move || {
            App::new().app_data(operations_data.clone()).configure(operations::configure)
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
        Ok(Self { stop, handles, servers, background })
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
        }
        self.stop.send_replace(true);
        for handle in &self.handles {
            handle.stop(true).await;
        }
        while self.servers.join_next().await.is_some() {}
        for task in self.background {
            task.await?;
        }
        Ok(())
    }
}
