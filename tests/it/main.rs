//! The whole of Portero from outside: the real binary, real PostgreSQL, real HTTP. A file per noun; what they stand on is
//! in `crates/testkit`.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed; helpers are no tests to clippy")]

mod audit;
mod bad_days;
mod bad_days_registry;
mod bad_days_router;
mod bad_input;
mod bad_requests;
mod browser;
mod budget;
mod cli;
mod console;
mod console_migrations;
mod cross_origin;
mod database_roles;
mod dev;
mod fair_use;
mod fleet_schema;
mod forward;
mod halves;
mod hosts;
mod isolation;
mod jobs;
mod life;
mod lifecycle;
mod migrate;
mod migrate_checks;
mod migrate_files;
mod migrate_fleet;
mod migration_log;
mod next_steps;
mod nginx;
mod operators;
mod ping;
mod plans;
mod purge;
mod reconcile;
mod recovery;
mod schema_versions;
mod servers;
mod signup;
mod signup_confirm;
mod signup_invite;
mod signup_keys;
mod signup_limits;
mod signup_names;
mod site;
mod soak;
mod spares;
mod stalls;
mod users;
mod wire;
mod workflow_kit;
mod workflows;
