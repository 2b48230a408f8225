//! The operators' door: who they are ([`Operator`]), how they log in ([`AdminApi`]), and the admin API in JSON.
//!
//! The rules are `control`'s; this room knows no SQL and no HTML. Next: `web` for the console's pages, which take an
//! [`Operator`] too.

mod entrance;
mod operator;

pub use entrance::AdminApi;
pub use operator::Operator;
