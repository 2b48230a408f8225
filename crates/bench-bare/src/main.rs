//! A server without Portero: actix-web and deadpool-postgres on one database, nothing else.
//!
//! It exists to be compared with. `cargo xtask bench route` runs it beside Portero on the same PostgreSQL, with as many
//! workers, as large a pool and the same SELECT; what Portero is slower by is the price of routing, isolation and the
//! headers of a real answer. So nothing may be added here that a server could do without: this is the ceiling.
//!
//! The password of a tenant's role is sealed in the registry, and a bench has no business opening it. The server makes
//! a role and a database of its own instead, as plain as a tenant's, and serves as that role: a login per server that
//! can reach one database, as each tenant has one. The timeouts of a tenant's role, for which PostgreSQL charges with each
//! statement, are copied: both pay them.
//!
//! Settings come by the environment (`BENCH_BARE_*`, see [`Settings`]); the address it serves on is the one line it
//! prints. SIGTERM stops it.

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, Result};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use serde::Serialize;
use std::{fs, io::Write as _, net::TcpListener, path::PathBuf, str::FromStr};
use tokio_postgres::{Config, NoTls};

/// The role, and the database of the same name: `pg_hba.conf` of `portero dev` lets a role into no other.
const NAME: &str = "bench_bare";

struct Settings {
    /// `BENCH_BARE_POSTGRES_PORT`: of the cluster, on 127.0.0.1.
    port: u16,
    /// `BENCH_BARE_PASSWORD_FILE`: holds the superuser's password.
    password_file: PathBuf,
    /// `BENCH_BARE_WORKERS`: threads that serve.
    workers: usize,
    /// `BENCH_BARE_POOL`: connections at most.
    pool: usize,
}

impl Settings {
    fn read() -> Result<Self> {
        Ok(Self {
            port: setting("BENCH_BARE_POSTGRES_PORT")?,
            password_file: setting("BENCH_BARE_PASSWORD_FILE")?,
            workers: setting("BENCH_BARE_WORKERS")?,
            pool: setting("BENCH_BARE_POOL")?,
        })
    }
}

#[derive(Serialize)]
struct Ping {
    status: &'static str,
    tenant: &'static str,
}

#[tokio::main]
async fn main() -> Result<()> {
    let settings = Settings::read()?;
    let config = prepare(&settings).await.context("the bare server's role and database can't be made")?;
    let manager =
        Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let pool = web::Data::new(Pool::builder(manager).max_size(settings.pool).build()?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = HttpServer::new(move || {
        App::new().app_data(pool.clone()).service(web::resource("/api/v1/ping").route(web::get().to(ping)))
    })
    .workers(settings.workers)
    .shutdown_timeout(1)
    .listen(listener)?
    .run();
    writeln!(std::io::stdout(), "{address}")?;
    server.await?;
    Ok(())
}

async fn ping(pool: web::Data<Pool>) -> actix_web::Result<HttpResponse> {
    use actix_web::error::ErrorInternalServerError as failed;
    let client = pool.get().await.map_err(failed)?;
    let statement = client.prepare_cached("SELECT 1").await.map_err(failed)?;
    client.query_one(&statement, &[]).await.map_err(failed)?;
    Ok(HttpResponse::Ok().json(Ping { status: "ok", tenant: "acme" }))
}

/// As superuser: a role with a password nobody has seen, and its database. Answers how that role logs in.
async fn prepare(settings: &Settings) -> Result<Config> {
    let superuser_password = fs::read_to_string(&settings.password_file)
        .with_context(|| format!("{} can't be read", settings.password_file.display()))?;
    let mut config = Config::new();
    config.host("127.0.0.1").port(settings.port).application_name("bench-bare");
    let mut superuser = config.clone();
    superuser.user("postgres").password(superuser_password.trim()).dbname("postgres");
    let (client, connection) = superuser.connect(NoTls).await?;
    let driver = tokio::spawn(connection);
    // PostgreSQL itself makes the password and quotes it: no text of ours is formatted into SQL.
    let made = client
        .query_one(
            "SELECT password, format('CREATE ROLE bench_bare LOGIN PASSWORD %L', password)
             FROM (SELECT gen_random_uuid()::text AS password) AS made",
            &[],
        )
        .await?;
    let (password, create_role): (String, String) = (made.get(0), made.get(1));
    client.batch_execute(&create_role).await?;
    let settings = client
        .query(
            "SELECT format('ALTER ROLE bench_bare SET %I = %L', split_part(one, '=', 1), substr(one, strpos(one, '=') + 1))
             FROM pg_db_role_setting, unnest(setconfig) AS one
             WHERE setdatabase = 0 AND one ~ '^[a-z_]+_(timeout|interval)='
               AND setrole = (SELECT oid FROM pg_roles WHERE rolname ~ '^t_[0-9a-f]{32}$' ORDER BY oid LIMIT 1)",
            &[],
        )
        .await?;
    for setting in settings {
        client.batch_execute(setting.get(0)).await?;
    }
    client
        .batch_execute("CREATE DATABASE bench_bare OWNER bench_bare TEMPLATE template0 ENCODING 'UTF8'")
        .await?;
    drop(client);
    // The outcome of a connection that was closed on purpose tells nothing.
    let _ = driver.await;
    config.user(NAME).password(password).dbname(NAME);
    Ok(config)
}

fn setting<T: FromStr>(key: &str) -> Result<T> {
    let value =
        std::env::var(key).with_context(|| format!("{key} is not set: `cargo xtask bench route` sets it"))?;
    value.parse().ok().with_context(|| format!("{key} can't be {value:?}"))
}
