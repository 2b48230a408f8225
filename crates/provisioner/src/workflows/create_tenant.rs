//! Making a tenant: from a reserved name to an open door.
//!
//! The name was reserved in the transaction that wrote the job, and every id and name below was chosen then, so each
//! step can look first and act only on what is this tenant's.

use super::subject::Subject;
use crate::{
    Direction, Plan, TENANT_MIGRATIONS,
    engine::{Step, StepError},
    fleet::{FleetSchema, SchemaSource},
    removal,
    server::{self, Before, Door},
    templates,
};
use portero_kernel::{EmailAddress, ExposeSecret, SchemaVersion, SecretString, UserId, with_causes};
use portero_pg::{Class, MigrateError, Migrations, Session, classify, prove, scram_verifier};
use portero_registry::{Claim, Origin, Registry, RegistryError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use tokio::try_join;

/// The workflow.
pub static WORKFLOW: Plan<Context> = Plan {
    kind: "create_tenant",
    direction: Direction::Undoable,
    steps: &STEPS,
    load: |registry, claim| Box::pin(Context::load(registry, claim)),
};

static STEPS: [Step<Context>; 9] = [
    Step::new("reserve", |_| Box::pin(async { Ok(()) })).undo(|c| Box::pin(release(c))),
    Step::new("database_cleanup", |_| Box::pin(async { Ok(()) })).undo(|c| Box::pin(drop_everything(c))),
    Step::new("claim_or_create_database", |c| Box::pin(create_database(c))),
    Step::new("role", |c| Box::pin(create_role(c))),
    Step::new("grants", |c| Box::pin(grant(c))),
    // Each migration may take a minute.
    Step::new("migrate", |c| Box::pin(migrate(c))).within(Duration::from_secs(600)),
    Step::new("seed_admin", |c| Box::pin(seed_admin(c))),
    Step::new("verify", |c| Box::pin(verify(c))),
    Step::new("activate", |c| Box::pin(activate(c))),
];

/// The first admin, as the job keeps it, sealed, until it rests.
#[derive(Serialize, Deserialize)]
pub struct Admin {
    email: String,
    password_hash: String,
}

impl Admin {
    /// The secret to write the job with: the address and the argon2id hash; the password itself is kept nowhere.
    ///
    /// # Panics
    /// Never: two strings are always JSON.
    #[must_use]
    pub fn to_secret(email: &EmailAddress, password_hash: String) -> SecretString {
        let admin = Self { email: email.to_string(), password_hash };
        SecretString::from(serde_json::to_string(&admin).expect("two strings are JSON"))
    }

    /// The address alone, of one who has yet to choose a password. No job can be done with it.
    #[must_use]
    pub fn awaited(email: &EmailAddress) -> SecretString {
        SecretString::from(json!({ "email": email.as_str() }).to_string())
    }

    /// The address, whether or not there is a password yet.
    #[must_use]
    pub fn email_of(secret: &SecretString) -> Option<EmailAddress> {
        let admin: serde_json::Value = serde_json::from_str(secret.expose_secret()).ok()?;
        EmailAddress::parse(admin["email"].as_str()?).ok()
    }
}

/// What the steps work with.
pub struct Context {
    /// Nothing where an earlier undo has already released the name: there is nothing left to do.
    subject: Option<Subject>,
    secret: Option<SecretString>,
}

impl Context {
    async fn load(registry: &Registry, claim: &Claim) -> Result<Self, RegistryError> {
        Ok(Self { subject: Subject::load(registry, claim).await?, secret: claim.secret.clone() })
    }

    fn subject(&self) -> Result<&Subject, StepError> {
        self.subject.as_ref().ok_or_else(|| StepError::Never("the tenant is not in the registry".to_owned()))
    }
}

async fn release(context: &Context) -> Result<(), StepError> {
    let Some(subject) = &context.subject else { return Ok(()) };
    Ok(subject.registry.tenant_release(subject.tenant.id, &subject.lease).await?)
}

async fn drop_everything(context: &Context) -> Result<(), StepError> {
    let Some(subject) = &context.subject else { return Ok(()) };
    let session = subject.on_server().await?;
    removal::drop_database_and_role(&session, &subject.admin, &subject.tenant.database, &subject.marks())
        .await?;
    session.close().await;
    Ok(())
}

/// The warm way: the spare that was chosen with the name becomes the tenant's. Else a copy of the template, else a database
/// for all migrations.
async fn create_database(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    let session = subject.on_server().await?;
    let (database, [mark, spare]) = (&subject.tenant.database, subject.marks());
    let before = server::take_spare(&session, database, &spare, &mark).await?;
    if before != Before::Spare {
        let schema = FleetSchema::read(&subject.registry).await?;
        // One of what is built in is better than none: the rest is migrated.
        let template = match templates::find(&session, &schema.migrations).await? {
            None => templates::find(&session, &TENANT_MIGRATIONS).await?,
            found => found,
        };
        let (origin, from) = match &template {
            Some(template) => (Origin::Template, template.name.as_str()),
            None => (Origin::Migrations, templates::NOTHING),
        };
        if before == Before::Nothing {
            subject
                .registry
                .tenant_set_database(subject.tenant.id, Some(origin), None, &subject.lease)
                .await?;
        }
        server::create_database(&session, database, &mark, from).await?;
    }
    subject.leave_on_server(session);
    Ok(())
}

async fn create_role(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    let session = subject.on_server().await?;
    let verifier = scram_verifier(&subject.login.password);
    server::create_role(&session, &subject.role(), Door::Open(&verifier), &subject.marks()).await?;
    subject.leave_on_server(session);
    Ok(())
}

async fn grant(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    let session = subject.in_database().await?;
    server::grant_connect(&session, subject.tenant.database.as_str(), &subject.role()).await?;
    server::grant_data(&session, &subject.role()).await?;
    subject.leave_in_database(session);
    Ok(())
}

/// To the fleet's schema. Files that companies bore and a new database doesn't are no reason to have no new companies: code runs
/// on what is built in, and the next run says what is wrong.
async fn migrate(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    let schema = FleetSchema::read(&subject.registry).await?;
    let mut session = subject.in_database().await?;
    let mut outcome = bring_to(&schema.migrations, &mut session).await;
    if let Err(error) = &outcome
        && matches!(schema.source, SchemaSource::Run(_))
        && fails_for_good(error)
    {
        let (tenant, error) = (subject.tenant.id, with_causes(error));
        tracing::error!(%tenant, error, "a file that the fleet has fails on a new database, which goes without");
        session = subject.in_database().await?;
        outcome = bring_to(&TENANT_MIGRATIONS, &mut session).await;
    }
    let version = outcome.map_err(|error| StepError::Again(with_causes(&error)))?;
    server::restrict_data(&session, &subject.role()).await?;
    subject.leave_in_database(session);
    Ok(subject.registry.tenant_set_database(subject.tenant.id, None, Some(version), &subject.lease).await?)
}

/// Says the version that the database has then. One that has a newer one was a spare that a newer Portero made and gave away:
/// code runs on a version more than its own.
async fn bring_to(set: &Migrations, session: &mut Session) -> Result<SchemaVersion, MigrateError> {
    match set.run(session).await {
        Err(MigrateError::Newer { found, .. }) => {
            session.batch_execute("ROLLBACK").await?;
            Ok(found)
        }
        outcome => outcome,
    }
}

/// Whether a migration is at fault, so that another try would end alike: and not the server, which had no time or room for it
/// (classes 53, 57 and 58).
fn fails_for_good(error: &MigrateError) -> bool {
    let MigrateError::Migration { source, .. } = error else { return false };
    let of_the_server = source
        .code()
        .is_none_or(|code| ["53", "57", "58"].into_iter().any(|class| code.code().starts_with(class)));
    let may_pass = matches!(classify(source), Class::Unavailable | Class::Conflict | Class::Timeout);
    !of_the_server && !may_pass
}

async fn seed_admin(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    let missing = || StepError::Never("the job has no first admin".to_owned());
    let secret = context.secret.as_ref().ok_or_else(missing)?;
    let admin: Admin = serde_json::from_str(secret.expose_secret()).map_err(|_| missing())?;
    let id: UserId = subject.tenant.admin.ok_or_else(missing)?;
    let mut session = subject.in_database().await?;
    let txn = session.transaction().await?;
    let seeded = txn
        .execute(
            "INSERT INTO public.users (id, email, password_hash, role) VALUES ($1, $2, $3, 'admin') ON CONFLICT (id) DO NOTHING",
            &[&id.uuid(), &admin.email, &admin.password_hash],
        )
        .await?;
    if seeded == 1 {
        txn.execute(
            "INSERT INTO public.audit (action, subject_id) VALUES ('company.created', $1)",
            &[&id.uuid()],
        )
        .await?;
    }
    txn.commit().await?;
    subject.leave_in_database(session);
    Ok(())
}

/// Goes through the door as the tenant will, and rattles at the others.
async fn verify(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    try_join!(enter(subject), rattle(subject)).map(|_| ())
}

/// Logs in as the tenant's role, and looks whether all is there and nothing more is allowed.
async fn enter(subject: &Subject) -> Result<(), StepError> {
    let login = portero_pg::Address::of(&subject.admin).login(
        subject.role().as_str(),
        &subject.login.password,
        subject.tenant.database.as_str(),
        "portero verify",
    );
    let session = portero_pg::connect(&login).await?;
    prove(&session, subject.tenant.id).await.map_err(|error| StepError::Never(with_causes(&error)))?;
    let seen = session
        .query_one(
            "SELECT EXISTS (SELECT FROM users WHERE role = 'admin'),
                    has_schema_privilege('public', 'CREATE')
                    OR has_database_privilege(current_database(), 'CREATE, TEMPORARY')",
            &[],
        )
        .await?;
    session.close().await;
    if !seen.get::<_, bool>(0) {
        return Err(StepError::Never("the new database has no admin".to_owned()));
    }
    if seen.get::<_, bool>(1) {
        return Err(StepError::Never("the tenant's role may create things in its database".to_owned()));
    }
    Ok(())
}

/// Looks whether the role is no more than a tenant's, and no other company's door is open to it.
async fn rattle(subject: &Subject) -> Result<(), StepError> {
    let role = subject.role();
    let session = subject.on_server().await?;
    let others = server::other_open_databases(&session, &role, &subject.tenant.database).await?;
    let is_more = server::is_more_than_a_tenants(&session, &role).await?;
    subject.leave_on_server(session);
    if is_more {
        return Err(StepError::Never(
            "the tenant's role has an attribute or is a member of a role".to_owned(),
        ));
    }
    if !others.is_empty() {
        let others = others.join(", ");
        return Err(StepError::Never(format!(
            "the tenant's role could connect to other databases: {others}"
        )));
    }
    Ok(())
}

async fn activate(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    Ok(subject.registry.tenant_activate(subject.tenant.id, &subject.lease).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_yet_to_choose_a_password_is_nobodys_admin() {
        let email = EmailAddress::parse("ana@acme.example").unwrap();
        let awaited = Admin::awaited(&email);
        assert_eq!(Admin::email_of(&awaited), Some(email.clone()));
        assert!(serde_json::from_str::<Admin>(awaited.expose_secret()).is_err(), "no job takes it for one");
        let chosen = Admin::to_secret(&email, "$argon2id$".to_owned());
        assert_eq!(Admin::email_of(&chosen), Some(email));
        assert_eq!(Admin::email_of(&SecretString::from("{}".to_owned())), None);
    }
}
