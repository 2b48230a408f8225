//! What differs, decided from the registry's rows and one server's catalogue alone.

use crate::{Health, reconcile::world::World};
use portero_kernel::{DatabaseName, JobId, Subdomain, TenantId};
use portero_pg::{MARK_PREFIX, database_mark};
use portero_registry::{HoldingRow, ServerRow, TenantStatus};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $code:literal $health:ident $group:literal $found:literal $advice:literal,)*) => {
        /// The kinds of differences.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every kind, the worst first.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Its stable name, for metrics and pages.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            /// How bad it is.
            #[must_use]
            pub const fn health(self) -> Health {
                match self { $(Self::$kind => Health::$health,)* }
            }

            /// The check of `doctor` that it belongs to.
            pub(crate) const fn check(self) -> &'static str {
                match self { $(Self::$kind => $group,)* }
            }

            /// What was found; the names follow.
            #[must_use]
            pub const fn found(self) -> &'static str {
                match self { $(Self::$kind => $found,)* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$kind => $advice,)* }
            }
        }
    };
}

kinds! {
    /// A tenant's database isn't there.
    MissingDatabase "missing_database" Fail "orphans"
        "tenants' databases are missing"
        "restore them from a backup",
    /// A tenant's role isn't there, though its database is.
    MissingRole "missing_role" Fail "orphans"
        "tenants' roles are missing"
        "restore them from a backup of the server's roles (pg_dumpall --roles-only); portero tenant resume gives each its password again",
    /// A database under a tenant's name that bears another mark, or none.
    WrongMark "wrong_mark" Fail "orphans"
        "databases don't bear their tenant's mark, so nobody is let in"
        "find out whose they are; a database that was restored by hand gets its mark by COMMENT ON DATABASE … IS 'portero tenant ID'",
    /// An active tenant's database takes no connections.
    ClosedDatabase "closed_database" Fail "orphans"
        "active tenants' databases take no connections"
        "as their owner: ALTER DATABASE … ALLOW_CONNECTIONS true; one whose DROP was interrupted must be restored from a backup",
    /// A role may log in though its tenant's door is shut.
    OpenFence "open_fence" Fail "tenants' roles"
        "may log in, though the tenant's door is shut"
        "portero doctor --mend raises their fences as the registry says",
    /// A role may not log in though its tenant is active.
    ShutFence "shut_fence" Fail "tenants' roles"
        "may not log in, though the tenant is active"
        "portero doctor --mend lowers their fences as the registry says",
    /// A role has an attribute or a membership that no tenant's role has.
    RoleRights "role_rights" Fail "tenants' roles"
        "have rights that no tenant's role has"
        "find out who gave them; as a superuser: ALTER ROLE … NOSUPERUSER NOREPLICATION NOBYPASSRLS, and REVOKE each membership",
    /// A role has other settings or limits than it was given.
    RoleSettings "role_settings" Fail "tenants' roles"
        "have other settings than they were given"
        "portero tenant resume SUBDOMAIN sets its role right, and cuts nobody off",
    /// Everybody may connect to a database that is Portero's, or called or marked like a tenant's.
    OpenCompany "open_company" Fail "open databases"
        "open to everybody, and Portero's or like a tenant's: no new company is put on this server"
        "as their owner or a superuser: REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC",
    /// A database bears a tenant's mark and belongs to no tenant.
    OrphanDatabase "orphan_database" Warn "orphans"
        "databases bear Portero's mark and belong to no tenant of this registry"
        "if no other registry uses this server: portero doctor --mend drops them, after an hour",
    /// A role bears a tenant's mark and belongs to no tenant.
    OrphanRole "orphan_role" Warn "orphans"
        "roles bear Portero's mark and belong to no tenant of this registry"
        "if no other registry uses this server: portero doctor --mend drops them, after an hour",
    /// A database or role is called like a tenant's, and bears no mark.
    Unmarked "unmarked" Warn "orphans"
        "are called like a tenant's, bear no mark of Portero's, and belong to no tenant of this registry"
        "find out what they are; Portero drops nothing without its mark",
    /// Everybody may connect to another database: a tenant's role could look around there.
    OpenDatabase "open_database" Warn "open databases"
        "open to everybody"
        "as their owner or a superuser: REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC",
    /// A tenant is being made, and no job works on it.
    NoJob "no_job" Warn "sign-ups"
        "are being created, and no job works on them"
        "where a job was given up, giving it up again removes what it left and frees the name; where there was none, restore the registry's jobs from a backup",
    /// A tenant is being removed, and no job works on it.
    NoPurge "no_purge" Warn "purges"
        "are being purged, and no job works on them"
        "go on with them: there is no way back, and nothing else brings them to an end",
}

/// Something that is not as the registry says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// On which server.
    pub server: String,
    /// What is the matter.
    pub kind: Kind,
    /// The database or role.
    pub object: String,
    /// Whose it is, by the registry.
    pub subdomain: Option<String>,
    /// More about it, for a person.
    pub detail: String,
    /// Whose it is: by the registry, or by the mark that it bears.
    pub tenant_id: Option<TenantId>,
    /// The job that was given up, where that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The tenant's route, to notice that it has changed meanwhile.
    #[serde(skip)]
    generation: i64,
}

impl Finding {
    /// In a few words: whose, and what.
    #[must_use]
    pub fn told(&self) -> String {
        let whose = self.subdomain.as_ref().map_or_else(
            || self.object.clone(),
            |subdomain| {
                if *subdomain == self.object {
                    subdomain.clone()
                } else {
                    format!("{subdomain} ({})", self.object)
                }
            },
        );
        if self.detail.is_empty() { whose } else { format!("{whose}: {}", self.detail) }
    }

    /// The command that goes on from here, where there is one that is for this finding alone.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        match (self.kind, &self.subdomain, self.job) {
            (Kind::NoJob, _, Some(job)) => Some(format!("portero jobs abandon {job}")),
            (Kind::NoPurge, Some(subdomain), _) => Some(format!("portero tenant purge {subdomain}")),
            _ => None,
        }
    }

    /// The subdomain of the tenant that it is about.
    pub(crate) fn tenant(&self) -> Option<Subdomain> {
        self.subdomain.as_ref().and_then(|subdomain| Subdomain::parse(subdomain).ok())
    }
}

/// What differs between the registry and one server.
pub(super) fn compare(server: &ServerRow, holdings: &[HoldingRow], world: &World) -> BTreeSet<Finding> {
    let mut found = Vec::new();
    let here = holdings.iter().filter(|holding| holding.server == server.id);
    let mut known = BTreeMap::new();
    for holding in here {
        known.insert(holding.database.as_str(), holding);
        held(holding, world, &mut found);
    }
    let busy: BTreeSet<TenantId> =
        holdings.iter().filter(|holding| holding.has_job).map(|holding| holding.tenant).collect();
    let strays = |name: &str, mark: Option<&String>| stray(name, mark, &known, &busy);
    for (name, database) in &world.databases {
        if let Some((tenant_id, marked)) = strays(name, database.mark.as_ref()) {
            let kind = if marked { Kind::OrphanDatabase } else { Kind::Unmarked };
            found.push(Draft {
                tenant_id,
                detail: orphan_detail(kind, "a database"),
                ..Draft::of(kind, name)
            });
        }
        if database.is_public {
            let marked = database.mark.as_ref().is_some_and(|mark| mark.starts_with(MARK_PREFIX));
            let like_a_companys = database.is_own || marked || name.parse::<DatabaseName>().is_ok();
            // By CONNECT no new company would be put here; what else is open is only told.
            let kind =
                if like_a_companys && database.is_open { Kind::OpenCompany } else { Kind::OpenDatabase };
            found.push(Draft::of(kind, name));
        }
    }
    for (name, role) in &world.roles {
        if let Some((tenant_id, marked)) = strays(name, role.mark.as_ref()) {
            let kind = if marked { Kind::OrphanRole } else { Kind::Unmarked };
            found.push(Draft { tenant_id, detail: orphan_detail(kind, "a role"), ..Draft::of(kind, name) });
        }
    }
    found.into_iter().map(|draft| draft.on(&server.name)).collect()
}

/// What is missing or wrong of what a tenant should have.
fn held(holding: &HoldingRow, world: &World, found: &mut Vec<Draft>) {
    if holding.has_job {
        return;
    }
    let name = holding.database.as_str();
    let mut add = |kind, detail: String| {
        found.push(Draft {
            subdomain: Some(holding.subdomain.to_string()),
            tenant_id: Some(holding.tenant),
            generation: holding.generation,
            job: holding.given_up,
            detail,
            ..Draft::of(kind, name)
        });
    };
    match holding.status {
        TenantStatus::Provisioning => return add(Kind::NoJob, String::new()),
        // What is being removed may be there, or not.
        TenantStatus::Purging => return add(Kind::NoPurge, String::new()),
        _ => {}
    }
    let active = holding.status == TenantStatus::Active;
    let Some(database) = world.databases.get(name) else { return add(Kind::MissingDatabase, String::new()) };
    if database.mark.as_deref() != Some(database_mark(holding.tenant).as_str()) {
        add(Kind::WrongMark, String::new());
    } else if active && !database.takes_connections {
        add(Kind::ClosedDatabase, String::new());
    }
    let Some(role) = world.roles.get(name) else { return add(Kind::MissingRole, String::new()) };
    match (role.may_log_in, active) {
        (true, false) => add(Kind::OpenFence, format!("it is {}", holding.status.as_str())),
        (false, true) => add(Kind::ShutFence, String::new()),
        (true, true) if role.was_changed => add(Kind::RoleSettings, String::new()),
        _ => {}
    }
    if !role.rights.is_empty() {
        add(Kind::RoleRights, role.rights.join(", "));
    }
}

/// Whether something belongs to nobody here: then whose mark it bears, and whether it bears one.
fn stray(
    name: &str,
    mark: Option<&String>,
    known: &BTreeMap<&str, &HoldingRow>,
    busy: &BTreeSet<TenantId>,
) -> Option<(Option<TenantId>, bool)> {
    let marked = mark.and_then(|mark| mark.strip_prefix(MARK_PREFIX)).map(|id| id.parse::<TenantId>().ok());
    // A spare's or a template's mark is another, and not this room's.
    let unmarked = mark.is_none() && name.parse::<DatabaseName>().is_ok();
    match marked {
        _ if known.contains_key(name) => None,
        Some(Some(tenant)) if busy.contains(&tenant) => None,
        Some(tenant) => Some((tenant, true)),
        None => unmarked.then_some((None, false)),
    }
}

fn orphan_detail(kind: Kind, what: &str) -> String {
    if kind == Kind::Unmarked { what.to_owned() } else { String::new() }
}

/// A finding, but for its server.
struct Draft {
    kind: Kind,
    object: String,
    subdomain: Option<String>,
    detail: String,
    tenant_id: Option<TenantId>,
    job: Option<JobId>,
    generation: i64,
}

impl Draft {
    fn of(kind: Kind, object: &str) -> Self {
        Self {
            kind,
            object: object.to_owned(),
            subdomain: None,
            detail: String::new(),
            tenant_id: None,
            job: None,
            generation: 0,
        }
    }

    fn on(self, server: &str) -> Finding {
        let Self { kind, object, subdomain, detail, tenant_id, job, generation } = self;
        Finding { server: server.to_owned(), kind, object, subdomain, detail, tenant_id, job, generation }
    }
}
