//! Sign-ups that a mail confirms: the name is held, and nothing else exists before the button behind the mail's link is
//! pressed.
//!
//! Whoever knows a name and an address can ask for them, again and again, so nothing that is asked with counts but what the
//! page shows before the button is pressed. The password is chosen there, by whoever opened the link.

use super::{
    Asking, Checked, FieldNames, Refused, SignUp, SignUpError, SignedUp, new_subdomain, token_digest,
};
use crate::Control;
use portero_auth::{Claimant, SessionSecret};
use portero_kernel::{CompanyName, EmailAddress, ExposeSecret, FieldError, Fields, Refusal, Subdomain};
use portero_provisioner::workflows::create_tenant;
use portero_registry::{Bound, Letter, Mail, NewPending, RegistryError, SignUpKey, Terms, Token};
use std::time::Duration;

/// How long a mail's link works, and the name is held.
const LINK_LIFE: Duration = Duration::from_secs(6 * 60 * 60);

/// What a mail's letter is written from.
#[derive(Debug, Clone, Copy)]
pub struct LetterFacts<'a> {
    /// The language: `es` or `en`.
    pub lang: &'a str,
    /// The company's name, as somebody typed it.
    pub company: &'a str,
    /// Where the company will be, with its scheme.
    pub address: &'a str,
    /// The link to press.
    pub link: &'a str,
    /// For how many hours it works.
    pub hours: u64,
}

/// Writes the letter that asks to confirm a sign-up; its words are a door's.
pub type WriteLetter = fn(&LetterFacts<'_>) -> Letter;

/// A company that is to be confirmed.
#[derive(Debug, Clone)]
pub struct Awaited {
    /// Its name.
    pub company: CompanyName,
    /// The subdomain that is held for it.
    pub subdomain: Subdomain,
    /// Where it will be.
    pub url: String,
}

impl Control {
    /// The company that waits for this link; nothing where the link is no longer good. Opening it uses nothing up: mail
    /// scanners open links.
    ///
    /// # Errors
    /// The registry.
    pub async fn awaited(&self, token: &str) -> Result<Option<Awaited>, RegistryError> {
        let Some(digest) = token_digest(token) else { return Ok(None) };
        let pending = self.registry.pending_by_token(&digest).await?;
        Ok(pending.map(|pending| self.awaited_of(pending.company, pending.subdomain)))
    }

    pub(crate) async fn do_confirm(
        &self,
        token: &str,
        password: &str,
        claim: &[u8],
    ) -> Result<SignedUp, SignUpError> {
        let digest = token_digest(token).ok_or(SignUpError::LinkSpent)?;
        let pending = self.registry.pending_by_token(&digest).await?.ok_or(SignUpError::LinkSpent)?;
        let email = create_tenant::Admin::email_of(&pending.secret).ok_or(SignUpError::LinkSpent)?;
        let _turn = self.turn().await?;
        self.check_room().await?;
        let context = [pending.company.as_str(), pending.subdomain.as_str(), email.as_str()];
        let chosen = self.passwords.choose(Claimant::Platform, password, &context).await?;
        let invalid = |refusal| vec![FieldError { field: FieldNames::FORM.password, refusal }];
        let password = chosen.map_err(|refusal| SignUpError::Invalid(invalid(refusal)))?;
        let terms = Terms {
            token: Some(Token::Confirmation(digest)),
            in_flight: self.in_flight,
            // It was looked at when the name was held.
            look_alikes: true,
            ..Terms::default()
        };
        let checked = Checked { company: pending.company, subdomain: pending.subdomain, email, password };
        let begun = self.begin(checked, &terms, Some(claim)).await;
        begun.map_err(|refused| match refused.outside(FieldNames::FORM) {
            // It was held for this link: who has it now pressed the button a moment before.
            SignUpError::Taken(_) => SignUpError::LinkSpent,
            error => error,
        })
    }

    /// Holds the name, and writes the mail. Whether the address was written to as often as it may be doesn't show.
    pub(super) async fn hold(
        &self,
        form: &SignUp<'_>,
        names: FieldNames,
        asking: &Asking<'_>,
        key: Option<&SignUpKey>,
    ) -> Result<Awaited, SignUpError> {
        let (company, subdomain, email) = without_password(form, names)?;
        if self.registry.subdomain_taken(&subdomain).await? {
            return Err(SignUpError::Taken(subdomain));
        }
        let token = SessionSecret::generate();
        let awaited = self.awaited_of(company, subdomain);
        let link =
            format!("{}/signup/confirm?token={}", self.site.apex_url(), token.to_text().expose_secret());
        let letter = (self.write_letter)(&LetterFacts {
            lang: asking.lang,
            company: awaited.company.as_str(),
            address: &awaited.url,
            link: &link,
            hours: LINK_LIFE.as_secs() / 3600,
        });
        let new = NewPending {
            company: &awaited.company,
            subdomain: &awaited.subdomain,
            email: &email,
            secret: &create_tenant::Admin::awaited(&email),
            token: token.digest(),
            network: self.registry.digest("signup_pending.network", &[asking.network.to_string().as_bytes()]),
            life: LINK_LIFE,
        };
        let mail = Mail { to: email.to_string(), letter };
        match self.registry.pending_insert(&new, key, &mail).await {
            Ok(()) | Err(RegistryError::PendingFull(Bound::Email)) => Ok(awaited),
            Err(RegistryError::PendingFull(Bound::Network)) => Err(SignUpError::TooManyWaiting),
            Err(RegistryError::PendingFull(_)) => Err(SignUpError::Busy),
            Err(error) => Err(Refused::of(error, &awaited.subdomain).outside(names)),
        }
    }

    pub(super) fn awaited_of(&self, company: CompanyName, subdomain: Subdomain) -> Awaited {
        let url = self.site.tenant_url(&subdomain);
        Awaited { company, subdomain, url }
    }
}

/// What is asked with where a mail is to confirm it. One who sends a password would take it for theirs: it is refused.
fn without_password(
    form: &SignUp<'_>,
    names: FieldNames,
) -> Result<(CompanyName, Subdomain, EmailAddress), SignUpError> {
    let mut fields = Fields::default();
    let company = fields.take(names.company, CompanyName::parse(form.company));
    let subdomain = fields.take(names.subdomain, new_subdomain(form.subdomain));
    let email = fields.take(names.email, EmailAddress::parse(form.email));
    let none = if form.password.is_empty() { Ok(()) } else { Err(Refusal::NotAllowed) };
    match (company, subdomain, email, fields.take(names.password, none)) {
        (Some(company), Some(subdomain), Some(email), Some(())) => Ok((company, subdomain, email)),
        _ => Err(SignUpError::Invalid(fields.into_errors())),
    }
}
