//! What tests need to see Portero as its users do: a real PostgreSQL cluster, the real binary as a child process on free
//! ports, and people who use it.
//!
//! ```no_run
//! # async fn example() {
//! use portero_testkit::{Browser, TestApp};
//!
//! let app = TestApp::start().await; // a registry of its own on the cluster that this process's tests share
//! let acme = app.sign_up("acme").await; // by the API, until its first admin is logged in
//! app.api(&acme).get("/api/v1/me").await.expect(200);
//! app.guest("acme").get("/api/v1/me").await.expect_problem(401, "unauthorized");
//! let mut ana = Browser::new(&app);
//! ana.visit(&app.host("acme"), "/login").await.expect(200);
//! # }
//! ```
//!
//! | room | what for |
//! |---|---|
//! | `cluster` | [`TestCluster`]: shared by the process, or private where a test halts it or counts what is in it |
//! | `app` | [`TestApp`]: start, kill, restart; sign-ups; what the registry holds |
//! | `bare` | [`BareTenants`]: a registry and databases without an application, for the router as a library |
//! | `process`, `command` | the binary as a server, and as a command that ends |
//! | `http`, `raw` | requests and [`Answer`]s, and bytes on a socket where a client library would be too polite |
//! | `actors` | [`Api`] with a token, [`Browser`] with cookies |
//! | `chrome`, `nginx` | the real ones, as children |
//! | `servers` | companies on another server than the registry's |
//! | `chaos` | [`ChaosProxy`]: a network that misbehaves on demand |
//! | `census` | [`Census`]: how many connections a server has, seen from outside and all the time |
//! | `load` | [`Load`]: many clients, and every answer held against its question |
//! | `smtp` | [`SmtpServer`]: takes mails, or refuses, delays and drops them |
//! | `wait` | [`wait_for`]: conditions, never a fixed time |
//! | `slate` | what a cluster holds against what the registries say |
//!
//! Every [`Answer`] of the public listener is checked on arrival for what must hold of all of them: a request id, the
//! headers that no answer lacks, no 500, and nothing internal in an error.

mod actors;
mod app;
mod bare;
mod census;
mod chaos;
mod chrome;
mod cluster;
mod command;
mod http;
mod load;
mod nginx;
mod operator;
mod process;
mod raw;
mod scratch;
mod servers;
mod slate;
mod smtp;
mod wait;

pub use actors::{Api, Browser};
pub use app::{AppBuilder, BASE_DOMAIN, Company, DatabaseLogin, Sibling, TestApp, new_password};
pub use bare::{BareTenant, BareTenants};
pub use census::Census;
pub use chaos::{ChaosProxy, Mode, Way};
pub use chrome::{Chrome, ChromeOptions};
pub use cluster::{Frozen, TestCluster};
pub use command::{Outcome, Portero};
pub use http::{Answer, Http, Request};
pub use load::{Load, NO_ANSWER, Phase, Report, Running};
pub use nginx::{Nginx, free_address};
pub use process::Process;
pub use raw::{RawAnswer, exchange, hang_up};
pub use scratch::scratch_dir;
pub use slate::Inventory;
pub use smtp::{Manners, Received, SmtpServer};
pub use wait::{DEADLINE, wait_for, wait_until};

pub use futures_util::future::join_all;
pub use portero_devpg::StopMode;
pub use portero_registry::Registry;
