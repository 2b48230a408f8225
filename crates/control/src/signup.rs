//! A company signs up: everything is checked, then the name is reserved and the work written down in one transaction.

use crate::Control;
use portero_auth::{AuthError, Claimant, Password, Passwords};
use portero_kernel::{
    CompanyName, DatabaseName, EmailAddress, FieldError, Fields, JobId, Refusal, SecretString, Subdomain,
    TenantId, UserId,
};
use portero_provisioner::{TENANT_MIGRATIONS, Workflow, workflows::create_tenant};
use portero_registry::{NewJob, NewTenant, RegistryError, TenantLogin};
use uuid::Uuid;

/// Who may sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignUpMode {
    /// Anybody.
    #[default]
    Open,
    /// Nobody but through operators.
    Closed,
}

/// What a company sends, as it came.
pub struct SignUp<'a> {
    /// The company's name.
    pub company: &'a str,
    /// The subdomain it asks for.
    pub subdomain: &'a str,
    /// The first admin's address.
    pub email: &'a str,
    /// The first admin's password.
    pub password: &'a str,
}

/// What the door calls these fields, so that an error names what its caller sent.
#[derive(Debug, Clone, Copy)]
pub struct FieldNames {
    /// The company's name.
    pub company: &'static str,
    /// The subdomain.
    pub subdomain: &'static str,
    /// The first admin's address.
    pub email: &'static str,
    /// The first admin's password.
    pub password: &'static str,
}

impl FieldNames {
    /// As the form has them.
    pub const FORM: Self =
        Self { company: "company", subdomain: "subdomain", email: "email", password: "password" };
    /// As the API has them.
    pub const API: Self =
        Self { company: "name", subdomain: "subdomain", email: "admin.email", password: "admin.password" };
    /// As the command line has them.
    pub const COMMAND: Self = Self {
        company: "--name",
        subdomain: "--subdomain",
        email: "--admin-email",
        password: "the admin's password",
    };
}

/// A sign-up that was taken on.
#[derive(Debug, Clone)]
pub struct SignedUp {
    /// The new tenant.
    pub tenant: TenantId,
    /// Its name, trimmed.
    pub company: CompanyName,
    /// Its subdomain, in lower case.
    pub subdomain: Subdomain,
    /// Where it will be.
    pub url: String,
    /// The job that makes it.
    pub job: JobId,
}

/// Why a sign-up was not taken on. Nothing of it stays behind.
#[derive(Debug, thiserror::Error)]
pub enum SignUpError {
    /// Fields at fault.
    #[error("the sign-up has fields at fault")]
    Invalid(Vec<FieldError>),
    /// Somebody has the name.
    #[error("the subdomain {0} is taken")]
    Taken(Subdomain),
    /// Sign-ups are closed.
    #[error("sign-ups are closed")]
    Closed,
    /// No server takes new companies and answers.
    #[error("no database server can take a new company now: see `portero doctor`")]
    NoServer,
    /// Too many passwords are being hashed.
    #[error("too many sign-ups at once")]
    Busy,
    /// The registry.
    #[error("the sign-up could not be written down")]
    Registry(#[from] RegistryError),
}

impl Control {
    pub(crate) async fn take_on_if_open(
        &self,
        form: &SignUp<'_>,
        names: FieldNames,
        claim: Option<&[u8]>,
    ) -> Result<SignedUp, SignUpError> {
        if self.mode == SignUpMode::Closed {
            return Err(SignUpError::Closed);
        }
        self.take_on(form, names, claim).await
    }

    pub(crate) async fn take_on(
        &self,
        form: &SignUp<'_>,
        names: FieldNames,
        claim: Option<&[u8]>,
    ) -> Result<SignedUp, SignUpError> {
        let checked = Checked::parse(&self.passwords, form, names).await?;
        // Both before the expensive hash; the unique index and the servers' status decide.
        if self.registry.subdomain_taken(&checked.subdomain).await? {
            return Err(SignUpError::Taken(checked.subdomain));
        }
        let servers = self.servers_that_answer().await?;
        if servers.is_empty() {
            return Err(no_server());
        }
        let hash = self.passwords.hash(Claimant::Platform, &checked.password).await?;
        let (tenant, job) = (TenantId::generate(), JobId::generate());
        let login =
            TenantLogin { database: DatabaseName::from_uuid(Uuid::new_v4()), password: random_password() };
        let new_job = NewJob {
            id: job,
            kind: create_tenant::WORKFLOW.kind(),
            steps: &create_tenant::WORKFLOW.step_names(),
            secret: Some(&create_tenant::Admin::to_secret(&checked.email, hash)),
            claim,
        };
        let new_tenant = NewTenant {
            id: tenant,
            name: &checked.company,
            subdomain: &checked.subdomain,
            login: &login,
            admin: UserId::generate(),
            servers: &servers,
            newest_schema: TENANT_MIGRATIONS.latest(),
        };
        match self.registry.job_insert_with_tenant(&new_job, &new_tenant).await {
            Err(RegistryError::SubdomainTaken) => return Err(SignUpError::Taken(checked.subdomain)),
            Err(RegistryError::NoServer) => return Err(no_server()),
            outcome => outcome?,
        }
        tracing::info!(%tenant, subdomain = %checked.subdomain, %job, "a company signed up");
        let url = self.site.tenant_url(&checked.subdomain);
        Ok(SignedUp { tenant, company: checked.company, subdomain: checked.subdomain, url, job })
    }

    /// Whether a new company could have this subdomain, and if not, why.
    ///
    /// # Errors
    /// The registry.
    pub async fn subdomain_refusal(&self, raw: &str) -> Result<Option<Refusal>, RegistryError> {
        let subdomain = match new_subdomain(raw) {
            Ok(subdomain) => subdomain,
            Err(refusal) => return Ok(Some(refusal)),
        };
        Ok(self.registry.subdomain_taken(&subdomain).await?.then_some(Refusal::Taken))
    }
}

struct Checked {
    company: CompanyName,
    subdomain: Subdomain,
    email: EmailAddress,
    password: Password,
}

impl Checked {
    async fn parse(passwords: &Passwords, form: &SignUp<'_>, names: FieldNames) -> Result<Self, SignUpError> {
        let mut fields = Fields::default();
        let company = fields.take(names.company, CompanyName::parse(form.company));
        let subdomain = fields.take(names.subdomain, new_subdomain(form.subdomain));
        let email = fields.take(names.email, EmailAddress::parse(form.email));
        let context = [form.company, form.subdomain, form.email];
        let chosen = passwords.choose(Claimant::Platform, form.password, &context).await?;
        match (company, subdomain, email, fields.take(names.password, chosen)) {
            (Some(company), Some(subdomain), Some(email), Some(password)) => {
                Ok(Self { company, subdomain, email, password })
            }
            _ => Err(SignUpError::Invalid(fields.into_errors())),
        }
    }
}

impl From<AuthError> for SignUpError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Busy => Self::Busy,
            error => Self::Registry(RegistryError::Secret(error.to_string())),
        }
    }
}

fn no_server() -> SignUpError {
    tracing::error!("nobody can sign up: no database server takes new companies and answers");
    SignUpError::NoServer
}

pub(crate) fn new_subdomain(raw: &str) -> Result<Subdomain, Refusal> {
    let subdomain = Subdomain::parse(raw)?;
    if subdomain.is_reserved() { Err(Refusal::Reserved) } else { Ok(subdomain) }
}

/// 244 random bits in 64 hexadecimal digits.
fn random_password() -> SecretString {
    SecretString::from(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
}
