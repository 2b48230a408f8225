//! The SQL in a tenant's database, a file per noun.

pub(crate) mod audit;
pub(crate) mod ping;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod users;
