//! What people do to the platform, each written down in the audit log: who, what, to which tenant, how it went.
//!
//! What was done is written in the transaction of the change; what was refused or failed after it, and so is what changed
//! nothing in the registry because it was so already: that says so (`unchanged`). The work itself is in the noun's own file.
//! Sign-ups that are refused are not written down: anybody can make as many as they like.

use crate::{
    Asking, Change, Control, FieldNames, Finding, Grace, JobError, Leftovers, LookAlike, MendError,
    MigrationError, MigrationReport, MigrationRequest, NewInvitation, OperatorError, OperatorView, Purge,
    RehearsalOptions, RehearsalReport, RequestKey, ServerError, ServerView, SignUp, SignUpError,
    SignUpOutcome, SignedUp, TenantError, Wishes,
};
use portero_auth::{OperatorToken, SessionSecret};
use portero_kernel::{EmailAddress, JobId, MigrationRunId, OperatorId, SecretString, Subdomain};
use portero_pg::Migrations;
use portero_provisioner::fleet::Tell;
use portero_registry::{Actor, Entry, Outcome, RegistryError, TenantPlan, Verb};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

/// Characters of a text from outside that are written down.
const LONGEST: usize = 100;

/// Something that is about to be done.
struct Act {
    verb: Verb,
    subdomain: Option<Subdomain>,
    details: Value,
}

/// Whether it was refused, or something was in its way.
trait Fault: std::error::Error {
    fn outcome(&self) -> Outcome;
}

impl Control {
    /// The use cases, done in this one's name.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Self {
        Self { actor, ..self.clone() }
    }

    /// Takes a company on from outside, in the way that the mode says.
    ///
    /// With a key, the same request gets the same answer for a day: also after a crash, and while the first is still under
    /// way. Who has the key and the whole body, the password in it, is taken for the one who asked, wherever they are now;
    /// within a network a key means one body. What was refused left nothing behind, and is looked at anew.
    ///
    /// # Errors
    /// [`SignUpError`].
    pub async fn sign_up(
        &self,
        form: &SignUp<'_>,
        names: FieldNames,
        asking: &Asking<'_>,
    ) -> Result<SignUpOutcome, SignUpError> {
        let act = Act { verb: Verb::TenantSignUp, subdomain: None, details: json!({}) };
        self.noting(&self.entry(act)).take_on_if_open(form, names, asking).await
    }

    /// Takes the company on that waits for this link, with the password that is chosen now; it works once. `claim` is the SHA-256 of what the browser that
    /// confirms will show to be led in.
    ///
    /// # Errors
    /// [`SignUpError::LinkSpent`], [`SignUpError::Invalid`] or [`SignUpError::Busy`] (the link is good for another try).
    pub async fn confirm(&self, token: &str, password: &str, claim: &[u8]) -> Result<SignedUp, SignUpError> {
        let act = Act { verb: Verb::TenantSignUp, subdomain: None, details: json!({ "confirmed": true }) };
        self.noting(&self.entry(act)).do_confirm(token, password, claim).await
    }

    /// Takes a company on, for an operator: whatever the mode, and whatever is under way, and as it is wished. With a key, the same request of the
    /// same operator gets the same answer for a day.
    ///
    /// # Errors
    /// [`SignUpError`].
    pub async fn create_tenant(
        &self,
        form: &SignUp<'_>,
        names: FieldNames,
        wishes: &Wishes,
        key: Option<&RequestKey>,
    ) -> Result<SignedUp, SignUpError> {
        let mut details = json!({
            "name": cut(form.company), "asked": cut(form.subdomain), "look_alike": wishes.look_alike.is_allowed(),
        });
        if let Some(plan) = &wishes.plan {
            details["plan"] = json!(plan.name);
        }
        let act = Act { verb: Verb::TenantCreate, subdomain: None, details };
        self.done(act, async |control| match key {
            Some(key) => control.take_on_once(form, names, wishes, key).await,
            None => control.take_on(form, names, wishes, None).await,
        })
        .await
    }

    /// Makes an invitation.
    ///
    /// # Errors
    /// The registry.
    pub async fn invite(
        &self,
        email: Option<&EmailAddress>,
        subdomain: Option<&Subdomain>,
        life: Duration,
    ) -> Result<NewInvitation, RegistryError> {
        let id = Uuid::now_v7();
        // The address is sealed where it is kept, and stays out of here.
        let details = json!({
            "invitation": id, "personal": email.is_some(), "for": subdomain.map(Subdomain::as_str),
            "life_secs": life.as_secs(),
        });
        let act = Act { verb: Verb::InvitationCreate, subdomain: None, details };
        self.done(act, async |control| control.do_invite(id, email, subdomain, life).await).await
    }

    /// Takes an invitation back; says whether it was good until now. One that wasn't is not written down.
    ///
    /// # Errors
    /// The registry.
    pub async fn revoke_invitation(&self, id: Uuid) -> Result<bool, RegistryError> {
        let act = Act::on(Verb::InvitationRevoke, "invitation", &id.to_string());
        self.noting(&self.entry(act)).registry.invitation_revoke(id).await
    }

    /// Shuts a tenant's door: its role is fenced out of the database and every request is answered `tenant-paused`, by
    /// every router that lives and has said so in time. Requests under way have until `drain` is over, and are cut then.
    /// Repeating it raises the fence again.
    ///
    /// # Errors
    /// [`TenantError`].
    pub async fn pause(
        &self,
        subdomain: &Subdomain,
        reason: Option<&str>,
        drain: Duration,
    ) -> Result<Change, TenantError> {
        let details = json!({ "reason": reason.map(cut), "drain_secs": drain.as_secs() });
        let act = Act::of(Verb::TenantPause, subdomain, details);
        self.done(act, async |control| control.do_pause(subdomain, reason, drain).await).await
    }

    /// Opens a paused tenant's door again, and waits for the routers to hear of it. Repeating it sets the tenant's role
    /// as it should be.
    ///
    /// # Errors
    /// [`TenantError`].
    pub async fn resume(&self, subdomain: &Subdomain) -> Result<Change, TenantError> {
        let act = Act::of(Verb::TenantResume, subdomain, json!({}));
        self.done(act, async |control| control.do_resume(subdomain).await).await
    }

    /// Gives a tenant another weight, from 1 to 100, and waits for the routers to hear of it.
    ///
    /// # Errors
    /// [`TenantError`].
    pub async fn set_weight(&self, subdomain: &Subdomain, weight: u8) -> Result<Change, TenantError> {
        let act = Act::of(Verb::TenantWeight, subdomain, json!({ "weight": weight }));
        self.done(act, async |control| control.do_set_weight(subdomain, weight).await).await
    }

    /// Gives a tenant a plan and its weight, and waits for the routers to hear of it.
    ///
    /// # Errors
    /// [`TenantError`].
    pub async fn set_plan(&self, subdomain: &Subdomain, plan: &TenantPlan) -> Result<Change, TenantError> {
        let details = json!({ "plan": plan.name, "weight": plan.weight });
        let act = Act::of(Verb::TenantPlan, subdomain, details);
        self.done(act, async |control| control.do_set_plan(subdomain, plan).await).await
    }

    /// Gives a tenant another subdomain. The old one leads there for 30 days, and is nobody's for 90 more. Repeating it
    /// says so.
    ///
    /// # Errors
    /// [`TenantError::NewName`] for a name that can't be had, [`TenantError::Taken`], [`TenantError::LookAlike`], and the
    /// others.
    pub async fn rename(
        &self,
        subdomain: &Subdomain,
        to: &str,
        look_alike: LookAlike,
    ) -> Result<Change, TenantError> {
        let details = json!({ "to": cut(to), "look_alike": look_alike.is_allowed() });
        let act = Act::of(Verb::TenantRename, subdomain, details);
        self.done(act, async |control| control.do_rename(subdomain, to, look_alike).await).await
    }

    /// Deletes tenants, all that can be or none: every request is answered `tenant-deleted`, their roles are fenced out,
    /// and their data is kept for 30 days, in which [`Control::undelete`] brings them back. What is under way has until
    /// `drain` is over. One that is deleted already is fenced again.
    ///
    /// # Errors
    /// [`TenantError::TooMany`] where that would be more in 24 hours than may be, and nothing is done. An error on the way
    /// leaves those before deleted; calling it again goes on.
    pub async fn delete(
        &self,
        subdomains: &[Subdomain],
        drain: Duration,
    ) -> Result<Vec<Change>, TenantError> {
        let names: Vec<_> = subdomains.iter().map(Subdomain::as_str).collect();
        let details = json!({ "asked": names, "drain_secs": drain.as_secs() });
        let one = if let [one] = subdomains { Some(one.clone()) } else { None };
        let act = Act { verb: Verb::TenantDelete, subdomain: one, details };
        self.done(act, async |control| control.do_delete(subdomains, drain).await).await
    }

    /// Brings a deleted tenant back with everything it had, in the state that it had: a paused one is paused. That works
    /// until its purge has begun.
    ///
    /// # Errors
    /// [`TenantError::Purging`], [`TenantError::Purged`], and the others.
    pub async fn undelete(&self, subdomain: &Subdomain) -> Result<Change, TenantError> {
        let act = Act::of(Verb::TenantUndelete, subdomain, json!({}));
        self.done(act, async |control| control.do_undelete(subdomain).await).await
    }

    /// Begins to purge a deleted tenant: there is no way back from here. A job does it; one that is under way, or done,
    /// is told again.
    ///
    /// # Errors
    /// [`TenantError::NotDeleted`] for one that lives, [`TenantError::InGrace`] for one whose data is to be kept, unless
    /// that is waived.
    pub async fn purge(&self, subdomain: &Subdomain, grace: Grace) -> Result<Purge, TenantError> {
        let act = Act::of(Verb::TenantPurge, subdomain, json!({ "before_grace": grace == Grace::Waive }));
        self.done(act, async |control| control.do_purge(subdomain, grace).await).await
    }

    /// Runs what tenants lack of these migrations on clones of some of them, and drops those. Tenants themselves are only read;
    /// what is written down is that their data is copied.
    ///
    /// # Errors
    /// [`TenantError::NotFound`] for a name that is nobody's, and the registry. What goes wrong with a clone is in the report.
    pub async fn rehearse(
        &self,
        set: &Migrations,
        options: &RehearsalOptions,
    ) -> Result<RehearsalReport, TenantError> {
        let only: Vec<_> = options.only.iter().map(Subdomain::as_str).collect();
        let details = json!({ "target": set.latest(), "sample": options.sample, "only": only });
        let act = Act { verb: Verb::MigrationRehearse, subdomain: None, details };
        // Before it begins: it may be cut off, and data was copied all the same.
        self.note(&self.entry(act)).await;
        self.do_rehearse(set, options).await
    }

    /// Adds a server, after it was looked at: new companies go there from now on, too.
    ///
    /// # Errors
    /// [`ServerError`] says what it lacks, or what the URL does.
    pub async fn server_add(&self, name: &str, url: &SecretString) -> Result<ServerView, ServerError> {
        let act = Act::on(Verb::ServerAdd, "server", name);
        self.done(act, async |control| control.do_server_add(name, url).await).await
    }

    /// No new company is put on this server from now on. Those it has stay and are served.
    ///
    /// # Errors
    /// [`ServerError::NotFound`], or the registry.
    pub async fn server_drain(&self, name: &str) -> Result<ServerView, ServerError> {
        let act = Act::on(Verb::ServerDrain, "server", name);
        self.done(act, async |control| control.do_server_drain(name).await).await
    }

    /// New companies are put on this server again.
    ///
    /// # Errors
    /// [`ServerError::NotFound`], or the registry.
    pub async fn server_undrain(&self, name: &str) -> Result<ServerView, ServerError> {
        let act = Act::on(Verb::ServerUndrain, "server", name);
        self.done(act, async |control| control.do_server_undrain(name).await).await
    }

    /// Lets a stuck job go on, in the direction in which it was going. Whoever claims it next does.
    ///
    /// # Errors
    /// [`JobError::NotStuck`].
    pub async fn job_retry(&self, id: JobId) -> Result<(), JobError> {
        let act = Act::on(Verb::JobRetry, "job", &id.to_string());
        self.done(act, async |control| control.do_job_retry(id).await).await
    }

    /// Gives a job up that is stuck, or waits for a server that doesn't come back; says what it leaves behind. The name of
    /// a company that was being made stays reserved, unless nothing of it is left. Repeating this removes what is left of such
    /// a company, and frees the name.
    ///
    /// # Errors
    /// [`JobError::UnderWay`], [`JobError::AtRest`].
    pub async fn job_abandon(&self, id: JobId) -> Result<Leftovers, JobError> {
        let act = Act::on(Verb::JobAbandon, "job", &id.to_string());
        self.done(act, async |control| control.do_job_abandon(id).await).await
    }

    /// Migrates the fleet, or some of it, until that is done, was stopped by its failures, or `stop` says so; `tell` hears of
    /// each tenant. Nothing where every tenant has the version. That it began is written down: what came of it is kept with
    /// the run.
    ///
    /// # Errors
    /// [`MigrationError`]. That tenants failed is none: the report says so.
    pub async fn migrate(
        &self,
        request: &MigrationRequest,
        tell: Tell<'_>,
        stop: watch::Receiver<bool>,
    ) -> Result<Option<MigrationReport>, MigrationError> {
        let some: Vec<_> = request.tenants.iter().map(Subdomain::as_str).collect();
        let details = json!({
            "only": some, "waves": request.waves.to_string(), "max_failures": request.max_failures,
            "files": request.directory.is_some(),
        });
        let act = Act { verb: Verb::MigrationRun, subdomain: None, details };
        self.done(act, async |control| control.do_migrate(request, tell, stop).await).await
    }

    /// Goes on with a run that was left, or tries again what failed in one that came to rest; what isn't given stays.
    ///
    /// # Errors
    /// [`MigrationError`].
    pub async fn migration_resume(
        &self,
        id: MigrationRunId,
        max_failures: Option<u16>,
        jobs: Option<u16>,
        tell: Tell<'_>,
        stop: watch::Receiver<bool>,
    ) -> Result<MigrationReport, MigrationError> {
        let act = Act::on(Verb::MigrationResume, "run", &id.to_string());
        self.done(act, async |control| control.do_migration_resume(id, max_failures, jobs, tell, stop).await)
            .await
    }

    /// Adds an operator. The token is known from now on to whoever is shown it, and to nobody else.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn operator_add(&self, name: &str) -> Result<(OperatorView, OperatorToken), OperatorError> {
        let act = Act::on(Verb::OperatorAdd, "operator", name);
        self.done(act, async |control| control.do_operator_add(name).await).await
    }

    /// Shuts an operator out, from the next request on.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn operator_disable(&self, name: &str) -> Result<OperatorView, OperatorError> {
        let act = Act::on(Verb::OperatorDisable, "operator", name);
        self.done(act, async |control| control.do_operator_disable(name).await).await
    }

    /// Gives an operator another token. The one before, and every login with it, ends.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn operator_rotate(&self, name: &str) -> Result<(OperatorView, OperatorToken), OperatorError> {
        let act = Act::on(Verb::OperatorRotate, "operator", name);
        self.done(act, async |control| control.do_operator_rotate(name).await).await
    }

    /// Does about a finding what can be done without a person's judgement.
    ///
    /// # Errors
    /// [`MendError`] says why it was left as it is.
    pub async fn mend(&self, finding: &Finding) -> Result<(), MendError> {
        let details = json!({
            "server": finding.server, "kind": finding.kind.code(), "object": cut(&finding.object),
            "tenant": finding.tenant_id,
        });
        let act = Act { verb: Verb::DoctorMend, subdomain: finding.tenant(), details };
        // What it changes is on a server, and not in the registry.
        self.told(self.entry(act), finding.tenant().as_ref(), self.do_mend(finding).await).await
    }

    /// Begins a session of [`Control::OPERATOR_SESSION`] for an operator who has proven who they are.
    ///
    /// # Errors
    /// The registry.
    pub async fn operator_log_in(&self, operator: OperatorId) -> Result<SessionSecret, RegistryError> {
        let act = Act { verb: Verb::OperatorLogin, subdomain: None, details: json!({}) };
        self.done(act, async |control| control.do_operator_log_in(operator).await).await
    }

    /// Ends a session. One that is over already is not written down.
    ///
    /// # Errors
    /// The registry.
    pub async fn operator_log_out(&self, session: &SessionSecret) -> Result<(), RegistryError> {
        let act = Act { verb: Verb::OperatorLogout, subdomain: None, details: json!({}) };
        self.noting(&self.entry(act)).registry.operator_session_delete(&session.digest()).await
    }

    fn entry(&self, act: Act) -> Entry {
        Entry {
            actor: self.actor.clone(),
            verb: act.verb,
            outcome: Outcome::Done,
            tenant: None,
            subdomain: act.subdomain.as_ref().map(ToString::to_string),
            details: act.details,
        }
    }

    /// This one, with the change that it makes next written down in its transaction. Where nothing changes, nothing is.
    fn noting(&self, entry: &Entry) -> Self {
        Self { registry: self.registry.noting(entry.clone()), ..self.clone() }
    }

    /// Does it, and writes it down.
    async fn done<T, E: Fault>(
        &self,
        act: Act,
        work: impl AsyncFnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let subdomain = act.subdomain.clone();
        let mut entry = self.entry(act);
        let noting = self.noting(&entry);
        let outcome = work(&noting).await;
        match &outcome {
            Ok(_) if noting.registry.has_noted() => return outcome,
            Ok(_) => entry.details["unchanged"] = Value::Bool(true),
            Err(_) => {}
        }
        self.told(entry, subdomain.as_ref(), outcome).await
    }

    /// Writes down what has been done to this one, refused, or has failed already.
    async fn told<T, E: Fault>(
        &self,
        mut entry: Entry,
        subdomain: Option<&Subdomain>,
        outcome: Result<T, E>,
    ) -> Result<T, E> {
        if let Err(error) = &outcome {
            entry.outcome = error.outcome();
            entry.details["error"] = Value::from(cut(&error.to_string()));
        }
        // Of one that was renamed or purged meanwhile, the name says enough.
        if let Some(subdomain) = subdomain
            && let Ok(Some(tenant)) = self.registry.tenant_by_subdomain(subdomain).await
        {
            entry.tenant = Some(tenant.id);
        }
        self.note(&entry).await;
        outcome
    }

    /// Writes down what has been done or refused already. The registry's absence is told by the log then, and by the
    /// act's own error.
    pub(crate) async fn note(&self, entry: &Entry) {
        if let Err(error) = self.registry.audit_append(entry).await {
            let error = portero_kernel::with_causes(&error);
            tracing::error!(verb = entry.verb.code(), error, "the audit log lacks an entry");
        }
    }
}

impl Act {
    fn of(verb: Verb, subdomain: &Subdomain, details: Value) -> Self {
        Self { verb, subdomain: Some(subdomain.clone()), details }
    }

    fn on(verb: Verb, what: &'static str, name: &str) -> Self {
        Self { verb, subdomain: None, details: json!({ what: cut(name) }) }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).filter(|one| *one != '\0').collect()
}

impl Fault for TenantError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Registry(_) | Self::Server(_) | Self::HalfShut(..) => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }
}

impl Fault for ServerError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Registry(_) | Self::Unreachable(_) => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }
}

impl Fault for SignUpError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Registry(_) | Self::NoServer | Self::Busy => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }
}

impl Fault for MendError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Registry(_) | Self::Server(_) => Outcome::Failed,
            Self::Tenant(error) => error.outcome(),
            _ => Outcome::Refused,
        }
    }
}

impl Fault for RegistryError {
    fn outcome(&self) -> Outcome {
        Outcome::Failed
    }
}

impl Fault for JobError {
    fn outcome(&self) -> Outcome {
        if matches!(self, Self::Registry(_)) { Outcome::Failed } else { Outcome::Refused }
    }
}

impl Fault for MigrationError {
    fn outcome(&self) -> Outcome {
        if matches!(self, Self::Registry(_)) { Outcome::Failed } else { Outcome::Refused }
    }
}

impl Fault for OperatorError {
    fn outcome(&self) -> Outcome {
        if matches!(self, Self::Registry(_)) { Outcome::Failed } else { Outcome::Refused }
    }
}
