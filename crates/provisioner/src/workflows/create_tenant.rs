//! Making a tenant: from a reserved name to an open door.
//!
//! The name was reserved in the transaction that wrote the job, and every id and name below was chosen then, so each
//! step can look first and act only on what is this tenant's.

use crate::{
    ServerError, TENANT_MIGRATIONS,
    engine::{Step, StepError},
    server::{self, Before, Door, Mark},
    templates::{self, maintenance},
};
use portero_kernel::{ExposeSecret, RoleName, SecretString, UserId, with_causes};
use portero_pg::{Session, prove, scram_verifier};
use portero_registry::{Claim, Lease, Origin, Registry, RegistryError, TenantLogin, TenantRow};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_postgres::Config;

/// The job's kind in the log.
pub const KIND: &str = "create_tenant";

/// The steps, in order.
pub static STEPS: [Step<Context>; 9] = [
    Step::new("reserve", |_| Box::pin(async { Ok(()) })).undo(|c| Box::pin(release(c))),
    Step::new("database_cleanup", |_| Box::pin(async { Ok(()) })).undo(|c| Box::pin(drop_everything(c))),
    Step::new("claim_or_create_database", |c| Box::pin(create_database(c))),
    Step::new("role", |c| Box::pin(create_role(c))),
    Step::new("grants", |c| Box::pin(grant(c))),
    Step::new("migrate", |c| Box::pin(migrate(c))),
    Step::new("seed_admin", |c| Box::pin(seed_admin(c))),
    Step::new("verify", |c| Box::pin(verify(c))),
    Step::new("activate", |c| Box::pin(activate(c))),
];

/// The names of the steps, in order.
#[must_use]
pub fn step_names() -> Vec<&'static str> {
    STEPS.iter().map(Step::name).collect()
}

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
    pub fn to_secret(email: &portero_kernel::EmailAddress, password_hash: String) -> SecretString {
        let admin = Self { email: email.to_string(), password_hash };
        SecretString::from(serde_json::to_string(&admin).expect("two strings are JSON"))
    }
}

/// What the steps work with.
pub struct Context {
    registry: Registry,
    lease: Lease,
    /// Nothing where an earlier undo has already released the name: there is nothing left to do.
    subject: Option<Subject>,
    secret: Option<SecretString>,
}

struct Subject {
    tenant: TenantRow,
    login: TenantLogin,
    admin: Config,
    /// Portero's own sessions that a step left for the next: a login costs as much as what most steps do. After an error
    /// none is left, so that another try begins with a new one.
    on_server: Mutex<Option<Session>>,
    in_database: Mutex<Option<Session>>,
}

impl Context {
    /// Reads what the steps of a claimed job need.
    ///
    /// # Errors
    /// The registry.
    pub async fn load(registry: &Registry, claim: &Claim) -> Result<Self, RegistryError> {
        let subject = match registry.tenant_by_id(claim.job.tenant).await? {
            None => None,
            Some(tenant) => {
                let login = registry
                    .tenant_login(tenant.id)
                    .await?
                    .ok_or(RegistryError::Unreadable("tenant's login"))?;
                let server = registry
                    .server_by_id(tenant.server)
                    .await?
                    .ok_or(RegistryError::Unreadable("tenant's server"))?;
                let (on_server, in_database) = Default::default();
                Some(Subject { tenant, login, admin: server.admin, on_server, in_database })
            }
        };
        Ok(Self {
            registry: registry.clone(),
            lease: claim.lease.clone(),
            subject,
            secret: claim.secret.clone(),
        })
    }

    fn subject(&self) -> Result<&Subject, StepError> {
        self.subject.as_ref().ok_or_else(|| StepError::Never("the tenant is not in the registry".to_owned()))
    }
}

impl Subject {
    fn role(&self) -> RoleName {
        self.login.role()
    }

    /// What its role and database bear: the tenant's mark, and before that maybe a spare's. The name is in this tenant's row
    /// and in no other, so a spare that is there under it is this tenant's.
    fn marks(&self) -> [Mark; 2] {
        [Mark::tenant(self.tenant.id), Mark::spare(self.tenant.server)]
    }

    /// Portero's own session in the server's maintenance database.
    async fn on_server(&self) -> Result<Session, ServerError> {
        match left(&self.on_server) {
            Some(session) => Ok(session),
            None => maintenance(&self.admin).await,
        }
    }

    /// Portero's own session in the tenant's database.
    async fn in_database(&self) -> Result<Session, StepError> {
        if let Some(session) = left(&self.in_database) {
            return Ok(session);
        }
        let session = server::session_in(&self.admin, self.tenant.database.as_str()).await?;
        prove(&session, self.tenant.id).await.map_err(|error| StepError::Never(with_causes(&error)))?;
        // Nothing that a tenant may have planted in another schema is ever found by name.
        session.batch_execute("SET search_path = public").await?;
        Ok(session)
    }
}

/// Takes what a step before has left, if it is of use.
fn left(session: &Mutex<Option<Session>>) -> Option<Session> {
    locked(session).take().filter(|session| !session.is_closed())
}

/// Leaves it for the next step.
fn leave(session: Session, to: &Mutex<Option<Session>>) {
    *locked(to) = Some(session);
}

fn locked(session: &Mutex<Option<Session>>) -> MutexGuard<'_, Option<Session>> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<ServerError> for StepError {
    fn from(error: ServerError) -> Self {
        if error.may_pass() { Self::Again(with_causes(&error)) } else { Self::Never(with_causes(&error)) }
    }
}

impl From<tokio_postgres::Error> for StepError {
    fn from(error: tokio_postgres::Error) -> Self {
        ServerError::from(error).into()
    }
}

async fn release(context: &Context) -> Result<(), StepError> {
    let Some(subject) = &context.subject else { return Ok(()) };
    Ok(context.registry.tenant_release(subject.tenant.id, &context.lease).await?)
}

async fn drop_everything(context: &Context) -> Result<(), StepError> {
    let Some(subject) = &context.subject else { return Ok(()) };
    let session = subject.on_server().await?;
    server::drop_database_and_role(&session, &subject.tenant.database, &subject.marks()).await?;
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
        let template = templates::find(&session).await?;
        let (origin, from) = match &template {
            Some(template) => (Origin::Template, template.name.as_str()),
            None => (Origin::Migrations, templates::NOTHING),
        };
        if before == Before::Nothing {
            context.registry.tenant_set_origin(subject.tenant.id, origin, &context.lease).await?;
        }
        server::create_database(&session, database, &mark, from).await?;
    }
    leave(session, &subject.on_server);
    Ok(())
}

async fn create_role(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    let session = subject.on_server().await?;
    let verifier = scram_verifier(&subject.login.password);
    server::create_role(&session, &subject.role(), Door::Open(&verifier), &subject.marks()).await?;
    leave(session, &subject.on_server);
    Ok(())
}

async fn grant(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    let session = subject.in_database().await?;
    server::grant_connect(&session, &subject.tenant.database, &subject.role()).await?;
    server::grant_data(&session, &subject.role()).await?;
    leave(session, &subject.in_database);
    Ok(())
}

async fn migrate(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    let mut session = subject.in_database().await?;
    let version =
        TENANT_MIGRATIONS.run(&mut session).await.map_err(|error| StepError::Again(with_causes(&error)))?;
    server::restrict_data(&session, &subject.role()).await?;
    leave(session, &subject.in_database);
    Ok(context.registry.tenant_set_schema_version(subject.tenant.id, version, &context.lease).await?)
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
    leave(session, &subject.in_database);
    Ok(())
}

/// Goes through the door as the tenant will, and rattles at the others.
async fn verify(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    let role = subject.role();
    let login = portero_pg::Address::of(&subject.admin).login(
        role.as_str(),
        &subject.login.password,
        subject.tenant.database.as_str(),
        "portero verify",
    );
    let session = portero_pg::connect(&login).await?;
    prove(&session, subject.tenant.id).await.map_err(|error| StepError::Never(with_causes(&error)))?;
    let users: i64 = session.query_one("SELECT count(*) FROM users WHERE role = 'admin'", &[]).await?.get(0);
    let rights = session
        .query_one(
            "SELECT has_schema_privilege('public', 'CREATE') OR has_database_privilege(current_database(), 'CREATE, TEMPORARY')",
            &[],
        )
        .await?;
    session.close().await;
    if users == 0 {
        return Err(StepError::Never("the new database has no admin".to_owned()));
    }
    if rights.get::<_, bool>(0) {
        return Err(StepError::Never("the tenant's role may create things in its database".to_owned()));
    }
    let session = subject.on_server().await?;
    let others = server::other_open_databases(&session, &role, &subject.tenant.database).await?;
    leave(session, &subject.on_server);
    if others.is_empty() {
        Ok(())
    } else {
        Err(StepError::Never(format!(
            "the tenant's role could connect to other databases: {}",
            others.join(", ")
        )))
    }
}

async fn activate(context: &Context) -> Result<(), StepError> {
    let subject = context.subject()?;
    Ok(context.registry.tenant_activate(subject.tenant.id, &context.lease).await?)
}
