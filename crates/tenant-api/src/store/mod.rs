//! The SQL on a tenant's tables, a file per noun.

pub(crate) mod audit;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod users;
