//! The router without the rest of Portero: from a subdomain to rows of that tenant's own database.
//!
//! It wants a registry with a tenant in it, and the key that its secrets are sealed with:
//!
//! ```text
//! export PORTERO_REGISTRY_URL=postgresql://portero:…@127.0.0.1/portero_registry
//! export PORTERO_MASTER_KEY=…                       # 64 hexadecimal digits
//! cargo run -p portero-router --example lend -- acme
//! ```

#![expect(clippy::print_stdout, reason = "it is there to be watched")]

use portero_kernel::Subdomain;
use portero_registry::{MasterKey, Registry};
use portero_router::{Router, RouterOptions};
use std::{env, error::Error};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let subdomain = env::args().nth(1).ok_or("which tenant? give its subdomain")?;
    // Parsed once, at the door: nothing further in has to ask whether it is one.
    let subdomain = Subdomain::parse(&subdomain).map_err(|_| "that is no subdomain")?;

    // The registry knows all tenants and servers. This is a handle to it; nothing is connected yet.
    let key = MasterKey::parse(&env::var("PORTERO_MASTER_KEY")?)?;
    let registry = Registry::new(env::var("PORTERO_REGISTRY_URL")?.parse()?, &key);

    // Starting reads all routes. With a `data_dir` it would start by its last snapshot even while the registry is away.
    let options = RouterOptions { name: "lend".to_owned(), ..RouterOptions::default() };
    let router = Router::start(registry, options).await?;

    // Running follows what changes from then on, and asks the registry for this router's part of each server's connections.
    // There are none before that, so whoever acquires now waits for a moment.
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(router.clone().run(stopped));

    let outcome = ask(&router, &subdomain).await;
    show(&router);

    // In order: first the last borrower is done, then the router. It closes its connections and gives its part back, so
    // that other routers needn't wait until its lease runs out.
    stop.send_replace(true);
    running.await?;
    outcome
}

async fn ask(router: &Router, subdomain: &Subdomain) -> Result<(), Box<dyn Error>> {
    // In memory, without I/O. A tenant that this router hasn't heard of isn't there.
    let route = router.lookup(subdomain).ok_or("nobody has that subdomain")?;
    println!("{subdomain} is {}, whose tenant id is {}", route.name.as_str(), route.tenant);

    // Lent until it is dropped. In a service, the four errors are four answers: see `AcquireError`.
    let db = router.acquire(&route).await?;
    let row = db.query_one("SELECT current_database()::text, count(*) FROM users", &[]).await?;
    println!("its database is {}, with {} users", row.get::<_, &str>(0), row.get::<_, i64>(1));
    drop(db);

    // The connection rests now, and whoever is next has it at once.
    let mut db = router.acquire(&route).await?;
    let txn = db.transaction().await?;
    txn.execute("DELETE FROM users", &[]).await?;
    // Not committed, so nothing happened.
    drop(txn);
    let row = db.query_one("SELECT count(*) FROM users", &[]).await?;
    println!("after a transaction that was not committed: {} users", row.get::<_, i64>(0));
    Ok(())
}

fn show(router: &Router) {
    let figures = router.figures();
    println!("routes: {}, lookups: {}", figures.routes, figures.lookups_hit + figures.lookups_missed);
    for server in figures.servers {
        println!(
            "server {}: {} of {} connections granted, {} in use, {} idle",
            server.name, server.granted, server.capacity, server.in_use, server.idle
        );
        for (path, taken) in server.checkout.iter().filter(|(_, taken)| taken.count > 0) {
            println!("  lent by way of {path}: {} times, {:.1} ms in all", taken.count, taken.sum * 1000.0);
        }
    }
}
