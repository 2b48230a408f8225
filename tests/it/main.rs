//! The whole of Portero from outside: the real binary, real PostgreSQL, real HTTP. A file per noun; what they stand on is
//! in `crates/testkit`.

mod bad_input;
mod browser;
mod cli;
mod cross_origin;
mod database_roles;
mod dev;
mod hosts;
mod isolation;
mod lifecycle;
mod nginx;
mod recovery;
mod signup;
mod site;
mod users;
mod wire;
