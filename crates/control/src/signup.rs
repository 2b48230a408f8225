//! A company signs up: everything is checked, then the name is reserved and the work written down in one transaction.
//! `confirm.rs` is for where a mail comes before that.

mod confirm;
mod keyed;

pub use confirm::{Awaited, LetterFacts, WriteLetter};

use crate::{Control, invitations::token_digest};
use portero_auth::{AuthError, Claimant, Password, Passwords, SessionSecret};
use portero_kernel::{
    CompanyName, DatabaseName, EmailAddress, FieldError, Fields, JobId, Refusal, SchemaVersion, SecretString,
    ServerId, Subdomain, TenantId, UserId,
};
use portero_provisioner::{Workflow, fleet::FleetSchema, workflows::create_tenant};
use portero_registry::{
    InvitationState, KeyAnswer, NewJob, NewTenant, RegistryError, SignUpKey, TenantLogin, TenantPlan, Terms,
    Token,
};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
    try_join,
};
use uuid::Uuid;

/// How many sign-ups are looked at together: a crowd waits for its turn, and not on the threads that serve requests.
pub(crate) const AT_ONCE: usize = 1;
/// How long one waits for that.
const PATIENCE: Duration = Duration::from_secs(25);
/// After one, the next begins only when as long has gone by as it took, but no longer than this: who is served meanwhile has the
/// cores for half of the time.
const LONGEST_REST: Duration = Duration::from_millis(100);

/// How many companies may be in the making at once, unless set: what some minutes' work is.
pub const IN_FLIGHT: u32 = 200;

/// Who may sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignUpMode {
    /// Anybody.
    #[default]
    Open,
    /// Who opens the link in a mail, and presses the button there.
    Confirm,
    /// Who has an invitation.
    Invite,
    /// Nobody but through operators.
    Closed,
}

impl SignUpMode {
    /// Every mode, by its name in the settings.
    pub const ALL: [(&str, Self); 4] = [
        ("open", Self::Open),
        ("confirm", Self::Confirm),
        ("invite", Self::Invite),
        ("closed", Self::Closed),
    ];
}

/// An `Idempotency-Key`: 1 to 255 visible characters of ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey(String);

impl RequestKey {
    /// Reads one; nothing where it isn't one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let proper = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        proper.then(|| Self(text.to_owned()))
    }
}

/// What there is to know of a request to sign up besides its form.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The key that makes a repeated request the same one.
    pub key: Option<&'a RequestKey>,
    /// The network that the client is in: an IPv4 address, or the /64 of an IPv6 one.
    pub network: IpAddr,
    /// What an invitation's link carries.
    pub invitation: Option<&'a str>,
    /// The language of the form: `es` or `en`.
    pub lang: &'a str,
    /// SHA-256 of what the browser will show to be led in.
    pub claim: Option<&'a [u8]>,
}

/// What became of a sign-up.
#[derive(Debug, Clone)]
pub enum SignUpOutcome {
    /// The company is being made.
    Begun(SignedUp),
    /// A mail was sent, or would have been: nothing exists until its link was opened.
    MailSent(Awaited),
}

/// What a company sends, as it came.
pub struct SignUp<'a> {
    /// The company's name.
    pub company: &'a str,
    /// The subdomain it asks for.
    pub subdomain: &'a str,
    /// The first admin's address.
    pub email: &'a str,
    /// The first admin's password; empty where a mail is to confirm, since it is chosen behind the mail's link.
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
    /// The name reads like another company's; for operators, since to the outside it is a reserved one.
    #[error(
        "the subdomain {0} reads like {1}, which is another company's: --allow-look-alike to have it nonetheless"
    )]
    LookAlike(Subdomain, String),
    /// Sign-ups are closed.
    #[error("sign-ups are closed")]
    Closed,
    /// There is no invitation, or it is no longer good.
    #[error("an invitation that is good is needed")]
    InvitationNeeded,
    /// The link of a mail was used, has expired, or never was one.
    #[error("the link is no longer good")]
    LinkSpent,
    /// The same key came with another request before.
    #[error("the key was used for another request")]
    KeyReused,
    /// Too many companies of this network wait to be confirmed.
    #[error("too many sign-ups of this network wait to be confirmed")]
    TooManyWaiting,
    /// No server takes new companies and answers.
    #[error("no database server can take a new company now: see `portero doctor`")]
    NoServer,
    /// Too many companies are being made, or too many passwords hashed.
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
        asking: &Asking<'_>,
    ) -> Result<SignUpOutcome, SignUpError> {
        let key = asking.key.map(|key| self.key_digests(key, form, asking));
        if let Some(key) = &key
            && let Some(outcome) = self.answered(key).await?
        {
            return Ok(outcome);
        }
        if self.mode == SignUpMode::Closed {
            return Err(SignUpError::Closed);
        }
        let _turn = self.turn().await?;
        let Some(key) = key else { return self.sign_up_once(form, names, asking, None).await };
        // The same request may have been before this one at the desk.
        if let Some(outcome) = self.answered(&key).await? {
            return Ok(outcome);
        }
        match self.sign_up_once(form, names, asking, Some(&key)).await {
            // It may be this very request, sent twice, that was there a moment before.
            Err(error @ (SignUpError::Taken(_) | SignUpError::KeyReused | SignUpError::InvitationNeeded)) => {
                self.answered(&key).await?.ok_or(error)
            }
            outcome => outcome,
        }
    }

    /// One's turn at the desk.
    async fn turn(&self) -> Result<Turn, SignUpError> {
        let place = timeout(PATIENCE, Arc::clone(&self.desk).acquire_owned()).await;
        place.ok().and_then(Result::ok).map(Turn::of).ok_or(SignUpError::Busy)
    }

    /// What the browser that sent this form will show to be led in: the same for the same form, sent twice.
    #[must_use]
    pub fn claim_of(&self, key: &RequestKey, form: &SignUp<'_>) -> SessionSecret {
        SessionSecret::derived(self.registry.digest("signup.claim", &parts(key, form)))
    }

    pub(crate) async fn take_on(
        &self,
        form: &SignUp<'_>,
        names: FieldNames,
        wishes: &Wishes,
        key: Option<SignUpKey>,
    ) -> Result<SignedUp, SignUpError> {
        let checked = Checked::parse(&self.passwords, form, names).await?;
        let (look_alikes, plan) = (wishes.look_alike.is_allowed(), wishes.plan.clone());
        let terms = Terms { key, look_alikes, plan, ..Terms::default() };
        let subdomain = checked.subdomain.clone();
        self.begin(checked, &terms, None).await.map_err(|refused| match refused {
            Refused::LookAlike(other) => SignUpError::LookAlike(subdomain, other),
            Refused::Other(error) => error,
        })
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
        if self.registry.subdomain_taken(&subdomain).await? {
            return Ok(Some(Refusal::Taken));
        }
        match self.registry.name_check(&subdomain).await {
            Ok(()) => Ok(None),
            Err(RegistryError::SubdomainTaken) => Ok(Some(Refusal::Taken)),
            Err(RegistryError::LookAlike(_)) => Ok(Some(Refusal::Reserved)),
            Err(error) => Err(error),
        }
    }

    fn key_digests(&self, key: &RequestKey, form: &SignUp<'_>, asking: &Asking<'_>) -> SignUpKey {
        let exact =
            [parts(key, form).as_slice(), &[asking.invitation.unwrap_or_default().as_bytes()]].concat();
        let network = asking.network.to_string();
        SignUpKey {
            exact: self.registry.digest("signup_keys.exact", &exact),
            scoped: self.registry.digest("signup_keys.scoped", &[key.0.as_bytes(), network.as_bytes()]),
        }
    }

    /// What the key was answered with before.
    async fn answered(&self, key: &SignUpKey) -> Result<Option<SignUpOutcome>, SignUpError> {
        Ok(match self.registry.signup_key_answer(key).await? {
            KeyAnswer::Unused => None,
            KeyAnswer::OtherBody => return Err(SignUpError::KeyReused),
            KeyAnswer::Begun { tenant, job, company, subdomain } => {
                let url = self.site.tenant_url(&subdomain);
                Some(SignUpOutcome::Begun(SignedUp { tenant, company, subdomain, url, job }))
            }
            KeyAnswer::MailSent { company, subdomain } => {
                Some(SignUpOutcome::MailSent(self.awaited_of(company, subdomain)))
            }
        })
    }

    async fn sign_up_once(
        &self,
        form: &SignUp<'_>,
        names: FieldNames,
        asking: &Asking<'_>,
        key: Option<&SignUpKey>,
    ) -> Result<SignUpOutcome, SignUpError> {
        let token = match self.mode {
            SignUpMode::Closed => return Err(SignUpError::Closed),
            SignUpMode::Confirm => {
                return self.hold(form, names, asking, key).await.map(SignUpOutcome::MailSent);
            }
            SignUpMode::Invite => Some(Token::Invitation(self.invited(form, names, asking).await?)),
            SignUpMode::Open => None,
        };
        self.check_room().await?;
        let checked = Checked::parse(&self.passwords, form, names).await?;
        let terms = Terms { key: key.cloned(), token, in_flight: self.in_flight, ..Terms::default() };
        let begun = self.begin(checked, &terms, asking.claim).await;
        begun.map(SignUpOutcome::Begun).map_err(|refused| match refused.outside(names) {
            // The invitation was good a moment ago.
            SignUpError::LinkSpent => SignUpError::InvitationNeeded,
            error => error,
        })
    }

    /// The invitation that is shown, if it is good for what is asked.
    async fn invited(
        &self,
        form: &SignUp<'_>,
        names: FieldNames,
        asking: &Asking<'_>,
    ) -> Result<[u8; 32], SignUpError> {
        let digest = asking.invitation.and_then(token_digest).ok_or(SignUpError::InvitationNeeded)?;
        let invitation = self
            .registry
            .invitation_by_token(&digest)
            .await?
            .filter(|invitation| invitation.state == InvitationState::Open)
            .ok_or(SignUpError::InvitationNeeded)?;
        let same = |wanted: Option<&str>, typed: &str| {
            let fits = wanted.is_none_or(|wanted| wanted == typed.trim().to_lowercase());
            if fits { Ok(()) } else { Err(Refusal::NotAllowed) }
        };
        let mut fields = Fields::default();
        fields.take(names.email, same(invitation.email.as_deref(), form.email));
        fields.take(names.subdomain, same(invitation.subdomain.as_deref(), form.subdomain));
        match fields.into_errors() {
            errors if errors.is_empty() => Ok(digest),
            errors => Err(SignUpError::Invalid(errors)),
        }
    }

    async fn check_room(&self) -> Result<(), SignUpError> {
        match self.in_flight {
            Some(limit) if self.registry.signups_open().await? >= limit => Err(SignUpError::Busy),
            _ => Ok(()),
        }
    }

    async fn servers_with_room(&self) -> Result<Vec<ServerId>, SignUpError> {
        let servers = self.servers_that_answer().await?;
        if servers.is_empty() { Err(no_server()) } else { Ok(servers) }
    }

    async fn begin(
        &self,
        checked: Checked,
        terms: &Terms,
        claim: Option<&[u8]>,
    ) -> Result<SignedUp, Refused> {
        // Before the expensive hash; the transaction decides.
        if self.registry.subdomain_taken(&checked.subdomain).await.map_err(SignUpError::from)? {
            return Err(SignUpError::Taken(checked.subdomain).into());
        }
        // While the password is hashed, the servers are asked, and the registry which spares would do.
        let place = async {
            let servers = self.servers_with_room().await?;
            Ok::<_, SignUpError>((servers, FleetSchema::read(&self.registry).await?.spares_up_to))
        };
        let ((servers, newest_spare), hash) = try_join!(place, async {
            Ok::<_, SignUpError>(self.passwords.hash(Claimant::Platform, &checked.password).await?)
        })?;
        let secret = create_tenant::Admin::to_secret(&checked.email, hash);
        let new = NewCompany { company: checked.company, subdomain: checked.subdomain, secret, claim };
        self.write_down(new, &servers, newest_spare, terms).await
    }

    /// The one transaction by which a company begins.
    async fn write_down(
        &self,
        new: NewCompany<'_>,
        servers: &[ServerId],
        newest_spare: SchemaVersion,
        terms: &Terms,
    ) -> Result<SignedUp, Refused> {
        let (tenant, job) = (TenantId::generate(), JobId::generate());
        let login =
            TenantLogin { database: DatabaseName::from_uuid(Uuid::new_v4()), password: random_password() };
        let new_job = NewJob {
            id: job,
            kind: create_tenant::WORKFLOW.kind(),
            steps: &create_tenant::WORKFLOW.step_names(),
            secret: Some(&new.secret),
            claim: new.claim,
        };
        let new_tenant = NewTenant {
            id: tenant,
            name: &new.company,
            subdomain: &new.subdomain,
            login: &login,
            admin: UserId::generate(),
            servers,
            newest_spare,
            plan: terms.plan.as_ref(),
        };
        self.registry
            .signup_insert(&new_job, &new_tenant, terms)
            .await
            .map_err(|error| Refused::of(error, &new.subdomain))?;
        tracing::info!(%tenant, subdomain = %new.subdomain, %job, "a company signed up");
        let url = self.site.tenant_url(&new.subdomain);
        Ok(SignedUp { tenant, company: new.company, subdomain: new.subdomain, url, job })
    }
}

/// Somebody's turn at the desk, and a rest for those who are served after it.
struct Turn {
    place: Option<OwnedSemaphorePermit>,
    began: Instant,
}

impl Turn {
    fn of(place: OwnedSemaphorePermit) -> Self {
        Self { place: Some(place), began: Instant::now() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (place, rest) = (self.place.take(), self.began.elapsed().min(LONGEST_REST));
        // Without a runtime the process is ending, and nobody waits.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                sleep(rest).await;
                drop(place);
            });
        }
    }
}

/// What an operator wishes for a company besides what it sends itself.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Whether its name may read like another's.
    pub look_alike: LookAlike,
    /// Its plan, if any.
    pub plan: Option<TenantPlan>,
}

/// Whether a name may read like another company's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookAlike {
    /// It may: an operator knows both.
    Allowed,
    /// It may not.
    Refused,
}

impl LookAlike {
    /// As a door was told.
    #[must_use]
    pub const fn allowed_if(told: bool) -> Self {
        if told { Self::Allowed } else { Self::Refused }
    }

    pub(crate) fn is_allowed(self) -> bool {
        self == Self::Allowed
    }
}

struct NewCompany<'a> {
    company: CompanyName,
    subdomain: Subdomain,
    secret: SecretString,
    claim: Option<&'a [u8]>,
}

/// A refusal before it is known who reads it.
enum Refused {
    /// The name reads like this one.
    LookAlike(String),
    Other(SignUpError),
}

impl From<SignUpError> for Refused {
    fn from(error: SignUpError) -> Self {
        Self::Other(error)
    }
}

impl Refused {
    fn of(error: RegistryError, subdomain: &Subdomain) -> Self {
        Self::Other(match error {
            RegistryError::LookAlike(other) => {
                tracing::info!(%subdomain, other, "a name was refused that reads like another company's");
                return Self::LookAlike(other);
            }
            RegistryError::SubdomainTaken => SignUpError::Taken(subdomain.clone()),
            RegistryError::NoServer => no_server(),
            RegistryError::InFlight => SignUpError::Busy,
            RegistryError::KeyUsed => SignUpError::KeyReused,
            RegistryError::TokenSpent => SignUpError::LinkSpent,
            error => SignUpError::Registry(error),
        })
    }

    /// As strangers read it: whose name it is like is nobody's business.
    fn outside(self, names: FieldNames) -> SignUpError {
        match self {
            Self::LookAlike(_) => {
                SignUpError::Invalid(vec![FieldError { field: names.subdomain, refusal: Refusal::Reserved }])
            }
            Self::Other(error) => error,
        }
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
    match subdomain.reserved() {
        Some(reserved) => {
            tracing::info!(%subdomain, %reserved, "a name was refused");
            Err(Refusal::Reserved)
        }
        None => Ok(subdomain),
    }
}

/// 244 random bits in 64 hexadecimal digits.
fn random_password() -> SecretString {
    SecretString::from(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
}

/// What makes two requests the same one.
fn parts<'a>(key: &'a RequestKey, form: &SignUp<'a>) -> [&'a [u8]; 5] {
    [key.0.as_str(), form.company, form.subdomain, form.email, form.password].map(str::as_bytes)
}
