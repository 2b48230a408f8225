//! Drift: what a tenant's database has that migrations didn't make, and what it lacks or has otherwise.
//!
//! A database is held against a reference of its own version: the template of that version, in a scratch copy where a role has
//! been granted what a tenant's role is granted; that transaction is rolled back. Which migrations were applied, and with which
//! text, is part of the catalogue, so that a checksum that differs is told like any other difference. Nothing is changed in a
//! tenant's database: its session is read-only.
//!
//! What this doesn't see: rows, owners of rows' values (sequences), comments, statistics, and what belongs to the server: roles
//! and their settings are `doctor`'s to check.

use super::scratch::Scratch;
use crate::{
    Catalogue, ServerError,
    catalogue::Thing,
    server::{create_passing_role, grant_connect, grant_data, restrict_data, restrict_history},
    templates::TemplateError,
};
use portero_kernel::{DatabaseName, RoleName, SchemaVersion};
use portero_pg::{MigrateError, Migrations, Session, connect};
use portero_registry::ServerRow;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::Config;
use uuid::Uuid;

/// What differs is looked at again after this: a migration may be under way.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why a tenant could not be held against its version.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// The server that holds its database.
    #[error("its database can't be read")]
    Server(#[from] ServerError),
    /// The scratch database.
    #[error("there is nothing to hold it against")]
    Reference(#[source] TemplateError),
    /// The history of its migrations.
    #[error("which migrations it has can't be read")]
    History(#[from] MigrateError),
}

impl From<tokio_postgres::Error> for DriftError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error.into())
    }
}

/// In which way a thing is not as migrations make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// It isn't there.
    Missing,
    /// It is there, and no migration makes it.
    Extra,
    /// An aspect of it is another.
    Different,
}

/// Something in a database that is not as migrations make it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// What it is: `column public.users.email`, `grant INSERT on public.audit to tenant`.
    pub what: String,
    /// In which way it differs.
    pub way: Way,
    /// Which aspect of it, where it is different: `type`, `default`, `definition`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect: Option<String>,
    /// How it is; nothing where it has no such aspect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// How migrations make it; nothing where they give it no such aspect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub should_be: Option<String>,
}

impl Difference {
    fn whole(what: &str, way: Way) -> Self {
        Self { what: what.to_owned(), way, aspect: None, is: None, should_be: None }
    }

    /// In words.
    #[must_use]
    pub fn told(&self) -> String {
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        match (self.way, &self.aspect) {
            (Way::Missing, _) => format!("{} is missing", self.what),
            (Way::Extra, _) => format!("{} is extra", self.what),
            (Way::Different, aspect) => format!(
                "{}: {} is {}, and should be {}",
                self.what,
                aspect.as_deref().unwrap_or("it"),
                or_none(&self.is),
                or_none(&self.should_be)
            ),
        }
    }
}

/// How a tenant's database is, beside its version.
#[derive(Debug, Clone)]
pub struct Drift {
    /// The version that its history says.
    pub version: SchemaVersion,
    /// What differs, in a fixed order; empty where nothing does.
    pub differences: Vec<Difference>,
}

/// What one database has otherwise than the other. What belongs to a table that is missing or extra as a whole is not told
/// again.
#[must_use]
pub(super) fn differences(is: &Catalogue, should_be: &Catalogue) -> Vec<Difference> {
    let (is_by, should_by) = (by_name(&is.structure), by_name(&should_be.structure));
    let mut found = Vec::new();
    for (what, wanted) in &should_by {
        match is_by.get(what) {
            None => found.push(Difference::whole(what, Way::Missing)),
            Some(there) => aspects(there, wanted, &mut found),
        }
    }
    found.extend(
        is_by
            .keys()
            .filter(|what| !should_by.contains_key(*what))
            .map(|what| Difference::whole(what, Way::Extra)),
    );
    let grants = |of: &Catalogue| of.grants.iter().cloned().collect::<BTreeSet<_>>();
    let (granted, wanted) = (grants(is), grants(should_be));
    found.extend(wanted.difference(&granted).map(|grant| Difference::whole(grant, Way::Missing)));
    found.extend(granted.difference(&wanted).map(|grant| Difference::whole(grant, Way::Extra)));
    let whole = whole_relations(&found);
    found.retain(|difference| !belongs_to(&difference.what, &whole));
    found.sort();
    found
}

fn by_name(things: &[Thing]) -> BTreeMap<&str, &Thing> {
    things.iter().map(|thing| (thing.what.as_str(), thing)).collect()
}

fn aspects(is: &Thing, should_be: &Thing, found: &mut Vec<Difference>) {
    let names: BTreeSet<&String> =
        is.aspects.iter().chain(&should_be.aspects).map(|(aspect, _)| aspect).collect();
    for aspect in names {
        let (there, wanted) = (is.aspect(aspect), should_be.aspect(aspect));
        if there != wanted {
            found.push(Difference {
                what: is.what.clone(),
                way: Way::Different,
                aspect: Some(aspect.clone()),
                is: there.map(str::to_owned),
                should_be: wanted.map(str::to_owned),
            });
        }
    }
}

/// The tables, views and sequences that are missing or extra.
fn whole_relations(found: &[Difference]) -> BTreeSet<String> {
    const KINDS: [&str; 7] = [
        "table ",
        "partitioned table ",
        "view ",
        "materialized view ",
        "foreign table ",
        "sequence ",
        "composite type ",
    ];
    let whole = found.iter().filter(|difference| difference.way != Way::Different);
    whole
        .filter_map(|difference| KINDS.iter().find_map(|kind| difference.what.strip_prefix(kind)))
        .map(str::to_owned)
        .collect()
}

/// Whether a thing is part of one of these relations: a column, or something on it.
fn belongs_to(what: &str, relations: &BTreeSet<String>) -> bool {
    if let Some(column) = what.strip_prefix("column ") {
        return column.rsplit_once('.').is_some_and(|(relation, _)| relations.contains(relation));
    }
    if let Some(relation) = what.strip_prefix("definition of ") {
        return relations.contains(relation);
    }
    if let Some(grant) = what.strip_prefix("grant ") {
        let granted = grant.split_once(" on ").and_then(|(_, rest)| rest.split_once(" to "));
        return granted.is_some_and(|(on, _)| {
            relations.contains(on) || on.rsplit_once('.').is_some_and(|(on, _)| relations.contains(on))
        });
    }
    let on = ["constraint ", "index ", "trigger ", "policy "].iter().any(|kind| what.starts_with(kind));
    on && what.rsplit_once(" on ").is_some_and(|(_, relation)| relations.contains(relation))
}

/// What tenants of one server are held against: made when the first tenant of a version asks, and kept.
pub struct References {
    server: ServerRow,
    set: Migrations,
    known: Mutex<HashMap<SchemaVersion, Arc<OnceCell<Arc<Catalogue>>>>>,
}

impl References {
    /// For the tenants of this server.
    #[must_use]
    pub fn new(server: ServerRow, set: Migrations) -> Self {
        Self { server, set, known: Mutex::default() }
    }

    /// Holds a tenant's database against its own version. What differs is looked at a second time, and told if it is still so.
    ///
    /// # Errors
    /// [`DriftError`].
    pub async fn check(&self, database: &DatabaseName) -> Result<Drift, DriftError> {
        let first = self.look(database).await?;
        if first.differences.is_empty() {
            return Ok(first);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        self.look(database).await
    }

    async fn look(&self, database: &DatabaseName) -> Result<Drift, DriftError> {
        let session = read_only(&self.server.admin, database.as_str()).await?;
        let version = self.set.version(&session).await?;
        let is = Catalogue::read(&session).await?;
        session.close().await;
        let differences = differences(&is, &*self.of(version).await?);
        Ok(Drift { version, differences })
    }

    /// How migrations make a tenant's database of this version; of one that is newer than the set, how they make the newest.
    async fn of(&self, version: SchemaVersion) -> Result<Arc<Catalogue>, DriftError> {
        let version = version.min(self.set.latest());
        let cell = Arc::clone(self.known.lock().await.entry(version).or_default());
        let made = cell.get_or_try_init(async || {
            let reference = make(&self.server, &self.set, version).await?;
            Ok::<_, DriftError>(Arc::new(reference))
        });
        Ok(Arc::clone(made.await?))
    }
}

async fn make(server: &ServerRow, set: &Migrations, version: SchemaVersion) -> Result<Catalogue, DriftError> {
    let mut scratch = Scratch::make(server, set, version, "to hold tenants against")
        .await
        .map_err(DriftError::Reference)?;
    let name = scratch.name().to_owned();
    let read = as_a_tenants(&mut scratch.inside, &name).await;
    let dropped = scratch.drop().await;
    let catalogue = read?;
    dropped?;
    Ok(catalogue)
}

/// The catalogue of the session's database as if it were a tenant's, with a role that is there for the length of a transaction.
pub(super) async fn as_a_tenants(session: &mut Session, database: &str) -> Result<Catalogue, ServerError> {
    let role = RoleName::from(&DatabaseName::from_uuid(Uuid::new_v4()));
    session.batch_execute("BEGIN").await?;
    create_passing_role(session, &role).await?;
    grant_connect(session, database, &role).await?;
    grant_data(session, &role).await?;
    let audited = session.query_one("SELECT to_regclass('public.audit') IS NOT NULL", &[]).await?;
    if audited.get(0) {
        restrict_data(session, &role).await?;
    } else {
        restrict_history(session, &role).await?;
    }
    let catalogue = Catalogue::read_for(session, role.as_str()).await?;
    session.batch_execute("ROLLBACK").await?;
    Ok(catalogue)
}

/// Portero's own session in a tenant's database, which can change nothing there and waits for no lock.
pub(super) async fn read_only(admin: &Config, database: &str) -> Result<Session, ServerError> {
    let mut config = admin.clone();
    config.dbname(database).application_name("portero check");
    let session = connect(&config).await?;
    session
        .batch_execute(
            "SET default_transaction_read_only = on; SET lock_timeout = '2s'; SET search_path = public",
        )
        .await?;
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(things: &[(&str, &[(&str, &str)])], grants: &[&str]) -> Catalogue {
        let thing = |(what, aspects): &(&str, &[(&str, &str)])| Thing {
            what: (*what).to_owned(),
            aspects: aspects.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        Catalogue {
            structure: things.iter().map(thing).collect(),
            grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
        }
    }

    fn told(is: &Catalogue, should_be: &Catalogue) -> Vec<String> {
        differences(is, should_be).iter().map(Difference::told).collect()
    }

    #[test]
    fn each_aspect_that_differs_is_told_with_what_it_should_be() {
        let should = catalogue(
            &[
                ("table public.users", &[("owner", "owner")]),
                ("column public.users.email", &[("type", "text"), ("nullable", "false")]),
                ("column public.users.at", &[("type", "date"), ("default", "now()")]),
                ("migration 1", &[("name", "users"), ("checksum", "11")]),
            ],
            &["grant SELECT on public.users to tenant"],
        );
        let is = catalogue(
            &[
                ("table public.users", &[("owner", "owner")]),
                ("column public.users.email", &[("type", "integer"), ("nullable", "true")]),
                ("column public.users.at", &[("type", "date")]),
                ("migration 1", &[("name", "users"), ("checksum", "12")]),
            ],
            &["grant SELECT on public.users to tenant", "grant CREATE on schema public to tenant"],
        );
        assert_eq!(
            told(&is, &should),
            [
                "column public.users.at: default is none, and should be now()",
                "column public.users.email: nullable is true, and should be false",
                "column public.users.email: type is integer, and should be text",
                "grant CREATE on schema public to tenant is extra",
                "migration 1: checksum is 12, and should be 11",
            ]
        );
        assert!(told(&should, &should).is_empty());
    }

    #[test]
    fn what_belongs_to_a_table_that_is_not_there_is_not_told_again() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("table public.notes", &[]),
            ("column public.notes.text", &[("type", "text")]),
            ("index notes_pkey on public.notes", &[]),
            ("constraint notes_pkey on public.notes", &[]),
            ("trigger t on public.notes", &[]),
        ];
        let grants =
            ["grant SELECT on public.notes to tenant", "grant INSERT on public.notes.text to tenant"];
        let (with, without) = (catalogue(table, &grants), catalogue(&[], &[]));
        assert_eq!(told(&without, &with), ["table public.notes is missing"]);
        assert_eq!(told(&with, &without), ["table public.notes is extra"]);
    }
}
