//! A tenant's turn in a run: as many tries as it takes and may, on one connection each, and what to say of it.
//!
//! What its own history said is what counts: a migration of which the answer was lost is found there by the next try.

use super::blockers::{end_others_here, end_tenants_hold, process_of, seen_while};
use crate::{engine::jittered, points, server::restriction};
use portero_kernel::{RoleName, SchemaVersion, ServerId, TenantId, with_causes};
use portero_pg::{
    Attempt, Class, MigrateError, Migration, Migrations, Terms, Versions, classify, connect, database_mark,
};
use portero_registry::{
    ClaimedMigration, MigrationPlace, MigrationResult, MigrationState, Registry, ServerRow, TenantStatus,
};
use std::{collections::HashMap, time::Duration};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{Config, Error, error::SqlState};

/// How often a tenant is tried whose locks are held, or whose server is away.
const TRIES: i32 = 5;
/// The pause after the first try, give or take a half; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How long one waits for somebody else who migrates the same tenant.
const BUSY_FOR: Duration = Duration::from_secs(90);
/// How long one waits for a tenant that is being made.
const MAKING_TAKES: Duration = Duration::from_secs(30);
/// How often to look at what one waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long each migration may take, and the login before them: longer than any one statement may (60 s).
const TAKES: Duration = Duration::from_secs(90);
/// The same where one of them runs without a transaction, and so without a limit on its statements.
const TAKES_UNGUARDED: Duration = Duration::from_secs(24 * 60 * 60);

/// What all turns of a run in this process work with.
pub(super) struct Fleet {
    pub(super) registry: Registry,
    pub(super) set: Migrations,
    pub(super) lock_timeout: Duration,
    pub(super) sites: HashMap<ServerId, Site>,
    /// Whether no more are to begin.
    pub(super) halted: watch::Receiver<bool>,
}

/// A server, and how many may be migrated there at once.
pub(super) struct Site {
    pub(super) server: ServerRow,
    pub(super) slots: Semaphore,
    /// The comments of its databases, by their names, as they were when the run began.
    pub(super) marks: HashMap<String, String>,
}

impl Site {
    /// Whether the database was seen to bear the tenant's mark.
    fn knows(&self, place: &MigrationPlace, tenant: TenantId) -> bool {
        self.marks.get(place.database.as_str()).is_some_and(|mark| *mark == database_mark(tenant))
    }
}

/// Why a try was in vain.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// Another may help.
    Again(String),
    /// Somebody holds a lock that it needs.
    Locked(String),
    /// Another process migrates it.
    Busy,
    /// None will help.
    Never(String),
    /// Whether it was done is not known: the server was not done with it, or said what nobody understands.
    Unknown(String),
    /// It is not for this run.
    Skip(String),
}

/// Where a turn is.
struct Turn<'a> {
    fleet: &'a Fleet,
    tenant: TenantId,
    /// When it had its slot; until then, when it was claimed.
    began: Instant,
    attempts: i32,
    versions: Option<Versions>,
}

impl Fleet {
    /// Migrates a tenant; nothing where the run was halted before that was begun, or gone on with.
    pub(super) async fn turn(&self, claimed: ClaimedMigration) -> Option<MigrationResult> {
        let ClaimedMigration { tenant, subdomain, at } = claimed;
        let turn = Turn { fleet: self, tenant, began: Instant::now(), attempts: 0, versions: None };
        points::within(&subdomain, "fleet", false, turn.take(at)).await
    }

    fn is_halted(&self) -> bool {
        *self.halted.borrow()
    }

    /// How long a try may take.
    fn limit(&self, from: SchemaVersion) -> Duration {
        let pending = self.set.after(from);
        if pending.iter().any(|migration| !migration.is_transactional()) {
            return TAKES_UNGUARDED;
        }
        TAKES * u32::try_from(pending.len() + 1).unwrap_or(u32::MAX)
    }
}

impl Turn<'_> {
    async fn take(mut self, mut at: Option<MigrationPlace>) -> Option<MigrationResult> {
        let (mut pause, mut busy_since) = (FIRST_PAUSE, None);
        let (mut tries, mut locked_by) = (0, None);
        loop {
            let place = match self.ready(at).await {
                Ok(place) => place,
                Err(_) if self.fleet.is_halted() => return None,
                Err(why) => return Some(self.skipped(why)),
            };
            let Some(site) = self.fleet.sites.get(&place.server) else {
                return Some(self.failed("its server was added after this run began: resume it".to_owned()));
            };
            let slot = site.slots.acquire().await.ok()?;
            if self.fleet.is_halted() {
                return None;
            }
            if self.attempts == 0 {
                self.began = Instant::now();
            }
            self.attempts += 1;
            points::hold("begun").await;
            // Where it met a lock before, somebody looks on who holds it.
            let looks_on = locked_by.is_some();
            let limit = self.fleet.limit(place.version);
            let tried = timeout(limit, self.attempt(site, &place, looks_on)).await;
            points::hold("migrated").await;
            drop(slot);
            let trouble = match tried {
                Ok(Ok(())) => return Some(self.result(MigrationState::Done, None)),
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::Unknown(format!("it took longer than {} s", limit.as_secs())),
            };
            let trouble = match trouble {
                Trouble::Unknown(_) if self.has_it(site, &place).await => {
                    return Some(self.result(MigrationState::Done, None));
                }
                Trouble::Unknown(why) => Trouble::Never(why),
                trouble => trouble,
            };
            at = self.look_again(place).await;
            if at.as_ref().is_none_or(|place| place.status == TenantStatus::Purging) {
                return Some(self.skipped(GONE.to_owned()));
            }
            let last_words = match trouble {
                Trouble::Skip(why) => return Some(self.skipped(why)),
                Trouble::Never(why) | Trouble::Unknown(why) => return Some(self.failed(why)),
                Trouble::Busy => {
                    // It doesn't count as a try: the other may be about something that takes long.
                    self.attempts -= 1;
                    let since = *busy_since.get_or_insert_with(Instant::now);
                    if since.elapsed() < BUSY_FOR {
                        sleep(jittered(LOOK_AGAIN)).await;
                        continue;
                    }
                    return Some(self.failed(format!(
                        "another process has had the lock on its migrations for {} s",
                        BUSY_FOR.as_secs()
                    )));
                }
                Trouble::Locked(why) => locked_by.insert(why).clone(),
                Trouble::Again(why) => why,
            };
            tries += 1;
            if tries == TRIES {
                return Some(self.failed(format!("{last_words}; tried {tries} times")));
            }
            if self.fleet.is_halted() {
                return None;
            }
            sleep(jittered(pause)).await;
            pause *= 2;
        }
    }

    /// Waits until the tenant can be migrated, or says why it can't.
    async fn ready(&self, mut at: Option<MigrationPlace>) -> Result<MigrationPlace, String> {
        let until = Instant::now() + MAKING_TAKES;
        loop {
            match at {
                None => return Err(GONE.to_owned()),
                Some(place) if place.status == TenantStatus::Purging => return Err(GONE.to_owned()),
                Some(place) if place.status != TenantStatus::Provisioning => return Ok(place),
                Some(_) if Instant::now() >= until || self.fleet.is_halted() => {
                    return Err(
                        "it is still being made: if it has an older schema then, the next run finds it"
                            .to_owned(),
                    );
                }
                Some(place) => {
                    sleep(LOOK_AGAIN).await;
                    at = self.look_again(place).await;
                }
            }
        }
    }

    /// Where it is now; as before, while the registry is away.
    async fn look_again(&self, before: MigrationPlace) -> Option<MigrationPlace> {
        self.fleet.registry.migration_place(self.tenant).await.unwrap_or(Some(before))
    }

    /// One try, on a connection of its own.
    async fn attempt(&mut self, site: &Site, place: &MigrationPlace, looks_on: bool) -> Result<(), Trouble> {
        let config = login(&site.server.admin, place, self.fleet.lock_timeout);
        let mut session = connect(&config).await.map_err(|error| trouble_of(&error, "the login failed"))?;
        let role = RoleName::from(&place.database);
        let terms = Terms {
            tenant: (!site.knows(place, self.tenant)).then_some(self.tenant),
            lock_timeout: self.fleet.lock_timeout,
            and_then: &|migration| rights_after(migration, &role),
        };
        let process = if looks_on { process_of(&session).await } else { None };
        let migrating = self.fleet.set.attempt(&mut session, terms, &mut self.versions);
        let (outcome, seen) = match process {
            Some(process) => seen_while(&site.server.admin, process, migrating).await,
            None => (migrating.await, None),
        };
        if matches!(outcome, Ok(Attempt::Busy)) {
            end_tenants_hold(&session, &role).await;
        }
        session.close().await;
        match outcome {
            Ok(Attempt::Done) => Ok(()),
            Ok(Attempt::Busy) => Err(Trouble::Busy),
            Err(error) => Err(judge(&error, self.fleet.lock_timeout, seen.as_deref())),
        }
    }

    /// Whether it has all migrations, by its own history, once nobody of Portero's is at it any more.
    async fn has_it(&mut self, site: &Site, place: &MigrationPlace) -> bool {
        let config = login(&site.server.admin, place, self.fleet.lock_timeout);
        let Ok(Ok(session)) = timeout(TAKES, connect(&config)).await else { return false };
        let looked = async {
            end_others_here(&session).await.ok()?;
            self.fleet.set.is_complete(&session, &mut self.versions).await.ok()
        };
        let has = timeout(TAKES, looked).await;
        session.close().await;
        has == Ok(Some(true))
    }

    fn result(&self, state: MigrationState, error: Option<String>) -> MigrationResult {
        MigrationResult {
            tenant: self.tenant,
            state,
            before: self.versions.map(|versions| versions.before),
            after: self.versions.map(|versions| versions.after),
            attempts: self.attempts,
            took: self.began.elapsed(),
            error,
        }
    }

    fn failed(&self, why: String) -> MigrationResult {
        self.result(MigrationState::Failed, Some(why))
    }

    fn skipped(&self, why: String) -> MigrationResult {
        self.result(MigrationState::Skipped, Some(why))
    }
}

const GONE: &str = "it is gone, or is being purged";

/// Portero's own login in a tenant's database, with every setting in the first message.
fn login(admin: &Config, place: &MigrationPlace, lock_timeout: Duration) -> Config {
    let mut config = admin.clone();
    let usual = admin.get_options().unwrap_or_default();
    config.dbname(place.database.as_str()).application_name("portero migrate").options(format!(
        "{usual} -c search_path=public -c statement_timeout=60s -c idle_in_transaction_session_timeout=10s \
         -c lock_timeout={}ms",
        lock_timeout.as_millis()
    ));
    config
}

/// What the tenant's role may do with tables that are made anew comes from the rights by default. Two of them are for it
/// to read: whoever makes one of those names it.
fn rights_after(migration: &Migration, role: &RoleName) -> String {
    let text = migration.sql.to_ascii_lowercase();
    let names = |table| text.contains(table);
    if names("audit") || names("schema_history") { restriction(role) } else { String::new() }
}

/// What to do about an error, and what to say of it. Rows of the tenant's that PostgreSQL shows are left out.
fn judge(error: &MigrateError, lock_timeout: Duration, seen: Option<&str>) -> Trouble {
    match error {
        MigrateError::Newer { found, known } => {
            Trouble::Skip(format!("its schema has version {found}, and the newest of this run is {known}"))
        }
        MigrateError::Migration { source, .. } | MigrateError::Prepare(source)
            if source.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) =>
        {
            let by = seen.map(|seen| format!(", held by {seen}")).unwrap_or_default();
            Trouble::Locked(format!(
                "{error}: a lock was not free within {} ms{by}",
                lock_timeout.as_millis()
            ))
        }
        // An answer that isn't PostgreSQL's refusal: it may have gone on.
        MigrateError::Migration { source, .. } if source.code().is_none() && !source.is_closed() => {
            Trouble::Unknown(format!("{error}: {}", with_causes(source)))
        }
        MigrateError::Migration { source, .. } | MigrateError::Prepare(source) => {
            trouble_of(source, &error.to_string())
        }
        _ => Trouble::Never(error.to_string()),
    }
}

fn trouble_of(error: &Error, what: &str) -> Trouble {
    let said = format!("{what}: {}", words_of(error));
    match classify(error) {
        Class::Unavailable | Class::TooManyConnections | Class::Conflict => Trouble::Again(said),
        _ => Trouble::Never(said),
    }
}

/// What PostgreSQL says, with where, and without what is a tenant's: rows are in its details, which are left out, and values in
/// its words for errors of data (class 22), between the quotes of its language; bytes that are no text come after them. What a
/// migration raises by itself may hold anything: what a terminal or a CI system would take for more than text is shown as it is
/// written in code.
pub(super) fn words_of(error: &Error) -> String {
    let Some(db) = error.as_db_error() else { return with_causes(error) };
    let places = [("table", db.table()), ("column", db.column()), ("constraint", db.constraint())];
    let places: Vec<_> =
        places.iter().filter_map(|(what, name)| Some(format!(", {what} {}", (*name)?))).collect();
    let code = db.code().code();
    let message = if db.code() == &SqlState::CHARACTER_NOT_IN_REPERTOIRE {
        without_values(db.message()).split_inclusive('…').next().unwrap_or_default().to_owned()
    } else if code.starts_with("22") {
        without_values(db.message())
    } else {
        db.message().to_owned()
    };
    plain(&format!("{message} ({code}{})", places.concat()))
}

/// With `…` for all from the first quote to the last, or to the end where there is only one. PostgreSQL speaks the language that
/// its server was set to (`lc_messages`), and quotes as that does.
fn without_values(message: &str) -> String {
    const QUOTES: [char; 19] =
        ['"', '«', '»', '‹', '›', '„', '“', '”', '‟', '‚', '‘', '’', '‛', '「', '」', '『', '』', '《', '》'];
    let mut quotes = message.match_indices(QUOTES);
    match (quotes.next(), quotes.next_back()) {
        (Some((first, _)), Some((last, quote))) => {
            [&message[..first], "…", &message[last + quote.len()..]].concat()
        }
        (Some((first, _)), None) => [&message[..first], "…"].concat(),
        (None, _) => message.to_owned(),
    }
}

fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        // With the marks that change the direction of what follows.
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_kernel::DatabaseName;

    #[test]
    fn every_setting_is_in_the_first_message() {
        let place = MigrationPlace {
            status: TenantStatus::Active,
            server: ServerId::generate(),
            database: DatabaseName::from_uuid(TenantId::generate().uuid()),
            version: 4,
        };
        let admin = portero_registry::server_config("postgresql://portero@db").unwrap();
        let config = login(&admin, &place, Duration::from_millis(1500));
        let options = config.get_options().unwrap();
        for setting in
            ["search_path=public", "lock_timeout=1500ms", "idle_in_transaction_session_timeout=10s"]
        {
            assert!(options.contains(setting), "{setting} is not in {options}");
        }
        assert_eq!(config.get_dbname(), Some(place.database.as_str()));
    }

    #[test]
    fn values_are_left_out() {
        for (said, told) in [
            ("invalid input syntax for type uuid: \"$argon2id$\"", "invalid input syntax for type uuid: …"),
            ("value \"7 \" 8\" is out of range for type integer", "value … is out of range for type integer"),
            (
                "la sintaxis de entrada no es válida para tipo integer: «ana@acme.example»",
                "la sintaxis de entrada no es válida para tipo integer: …",
            ),
            (
                "ungültige Eingabesyntax für Typ integer: »ana »x««",
                "ungültige Eingabesyntax für Typ integer: …",
            ),
            (
                "la valeur « 7 » est en dehors des limites du type integer",
                "la valeur … est en dehors des limites du type integer",
            ),
            ("invalid input: \"half", "invalid input: …"),
            ("division by zero", "division by zero"),
        ] {
            assert_eq!(without_values(said), told);
        }
    }

    #[test]
    fn what_a_tenant_wrote_is_text_in_a_log() {
        assert_eq!(
            plain("\"12\n::error::ñ\u{1b}]0;t\u{7}\u{202e}\u{2066}\""),
            r#""12\n::error::ñ\u{1b}]0;t\u{7}\u{202e}\u{2066}""#
        );
    }

    #[test]
    fn whoever_names_the_audit_has_its_rights_set() {
        let role = RoleName::from(&DatabaseName::from_uuid(TenantId::generate().uuid()));
        let rights = |sql| rights_after(&Migration::new("V5__a", sql).unwrap(), &role);
        assert!(rights("CREATE TABLE audit (id bigint)").contains("REVOKE INSERT"));
        assert!(rights("CREATE TABLE AUDIT (id bigint)").contains("REVOKE INSERT"));
        assert_eq!(rights("ALTER TABLE users ADD a integer"), "");
    }
}
