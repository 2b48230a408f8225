//! The operators' door: who they are ([`Operator`]), how they log in ([`AdminApi`]), and the admin API in JSON, with the
//! same nouns as the command line.
//!
//! The rules are `control`'s; this room knows no SQL and no HTML. Every handler takes an [`Operator`], and works by what
//! that hands out, so that the audit log has a name. Next: `routes.rs` for the table of all routes; `web` for the
//! console's pages, which take an [`Operator`] too.

mod audit;
mod document;
mod entrance;
mod jobs;
mod migrations;
mod operator;
mod operators;
mod problems;
mod routes;
mod servers;
mod tenants;

pub use entrance::AdminApi;
pub use operator::Operator;
pub use routes::configure;

use portero_edge::{Kind, Problem};

/// Rows of a list, unless it is said.
const LIMIT: i64 = 100;
const LARGEST_LIMIT: i64 = 1000;

/// What is asked for by a text. PostgreSQL has no text with a NUL in it.
fn without_nul(asked: Option<String>) -> Result<Option<String>, Problem> {
    match asked {
        Some(text) if text.contains('\0') => Err(Problem::new(Kind::Invalid).detail("a NUL is in nothing")),
        asked => Ok(asked),
    }
}

fn limit(asked: Option<i64>) -> Result<i64, Problem> {
    let limit = asked.unwrap_or(LIMIT);
    if (1..=LARGEST_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::new(Kind::Invalid).detail("limit is from 1 to 1000"))
    }
}
