//! Ids as types: a tenant's id can't be passed where a job's is meant.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id: UUID version 7, so that ids made one after the other sort by time.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The UUID inside, for a statement's parameter or a wire type.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

id!(
    /// A company with a database of its own.
    TenantId
);
id!(
    /// A piece of long work in the registry, with steps one can see, resume and undo.
    JobId
);
id!(
    /// A migration of all tenants, or of some, as the registry keeps it.
    MigrationRunId
);
id!(
    /// A PostgreSQL server that holds tenants' databases.
    ServerId
);
id!(
    /// A database that was made ahead, until a company is given it.
    SpareId
);
id!(
    /// A running router. Several share the servers' connections.
    RouterId
);
id!(
    /// A person in one tenant's database. The same person in two companies has two ids.
    UserId
);
id!(
    /// A person who runs the platform, or a program of theirs.
    OperatorId
);
id!(
    /// A login of a user in one tenant's database, by cookie or by token.
    SessionId
);
