//! Companies to measure with, signed up as companies are: each has a real database and a real role.

use crate::{
    cluster::RegistryPlace,
    http::{Connection, Request},
    portero::{APEX, Portero},
};
use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use portero_kernel::{SecretString, TenantId};
use portero_pg::Address;
use serde_json::Value;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio::time::sleep;
use tokio_postgres::Config;

/// Sign-ups that are under way at the same time: a few more than Portero works at.
const AT_ONCE: usize = 6;

/// The first admin of each.
pub(crate) const EMAIL: &str = "ana@company.example";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// One company.
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) subdomain: String,
    /// How its role logs in to its database, as the router does it.
    pub(crate) login: Config,
}

impl Tenant {
    /// The request that is measured.
    pub(crate) fn ping(&self) -> Request {
        Request::ping(&self.subdomain)
    }
}

/// Signs up this many companies, and waits until all their doors are open.
pub(crate) async fn sign_up(
    portero: &Portero,
    registry: &RegistryPlace,
    count: usize,
) -> Result<Vec<Tenant>> {
    let began = Instant::now();
    println!("Signing up {count} companies …");
    let next = AtomicUsize::new(0);
    let signed_up = try_join_all((0..AT_ONCE).map(|_| worker(portero, count, &next))).await?;
    let mut tenants: Vec<(usize, String, TenantId)> = signed_up.into_iter().flatten().collect();
    tenants.sort_unstable_by_key(|(number, ..)| *number);

    let registry = registry.open()?;
    let servers = registry.servers().await?;
    let address = Address::of(&servers.first().context("the registry knows no server")?.admin);
    let mut ready = Vec::with_capacity(count);
    for (_, subdomain, id) in tenants {
        let login = registry.tenant_login(id).await?.context("a company that signed up is gone")?;
        let password: &SecretString = &login.password;
        let login =
            address.login(login.role().as_str(), password, login.database.as_str(), "portero-bench: bare");
        ready.push(Tenant { id, subdomain, login });
    }
    println!("They are there after {:.0} s.", began.elapsed().as_secs_f64());
    Ok(ready)
}

async fn worker(
    portero: &Portero,
    count: usize,
    next: &AtomicUsize,
) -> Result<Vec<(usize, String, TenantId)>> {
    let mut connection = Connection::to(portero.address);
    let mut done = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok(done);
        }
        let subdomain = format!("company-{number}");
        let id = one(&mut connection, &subdomain).await.with_context(|| format!("signing up {subdomain}"))?;
        done.push((number, subdomain, id));
    }
}

async fn one(connection: &mut Connection, subdomain: &str) -> Result<TenantId> {
    let body = serde_json::json!({
        "name": subdomain,
        "subdomain": subdomain,
        "admin": { "email": EMAIL, "password": PASSWORD },
    });
    let answer = connection.ask(&Request::post_json(APEX, "/api/v1/tenants", &body.to_string())).await?;
    if answer.status != 202 {
        bail!("answered with {}: {}", answer.status, answer.body);
    }
    let accepted: Value = serde_json::from_str(&answer.body)?;
    let id = accepted["id"].as_str().and_then(|id| id.parse().ok()).context("the answer names no id")?;
    let ping = Request::ping(subdomain);
    let began = Instant::now();
    loop {
        let answer = connection.ask(&ping).await?;
        if answer.status == 200 {
            return Ok(id);
        }
        if began.elapsed() > Duration::from_secs(120) {
            bail!("its door still answers {} after two minutes: {}", answer.status, answer.body);
        }
        sleep(Duration::from_millis(20)).await;
    }
}
