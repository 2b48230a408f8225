//! The pages by which a company signs up: the form, "look into your mail", the button of the mail's link.

use crate::{
    Lang,
    pages::{ConfirmPage, Frame, SentPage, SignupErrors, SignupPage, SignupValues, SignupWay},
    routes::{Visit, apex::claim_cookie, see_other, spoken},
    text::{Field, Trouble},
};
use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, time::Duration},
    http::{StatusCode, header},
    web,
};
use portero_auth::SessionSecret;
use portero_control::{
    Asking, Control, FieldNames, InvitationView, RequestKey, SignUp, SignUpError, SignUpMode, SignUpOutcome,
    SignedUp,
};
use portero_control_api::newcomer;
use portero_edge::{ClientAddress, Form, Kind, LoginTurn, Problem, SignUpTurn, read};
use portero_kernel::{ExposeSecret, FieldError, Refusal, Subdomain};
use portero_tenant_api::TenantApi;
use serde::Deserialize;
use uuid::Uuid;

/// By which invitation this browser signed up: should that fail, it is good again, and the form is at its link alone.
const INVITATION_COOKIE: &str = "portero_invitation";
/// After how many seconds another try makes sense where too many companies are being made.
const BUSY_SECS: u32 = 5;

/// Adds the routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/signup").route(read().to(signup_form)).route(web::post().to(sign_up)))
        .service(web::resource("/signup/sent").route(read().to(sent)))
        .service(
            web::resource("/signup/confirm").route(read().to(ask_to_confirm)).route(web::post().to(confirm)),
        );
}

#[derive(Deserialize, Default)]
struct SignUpForm {
    #[serde(default)]
    company: String,
    #[serde(default)]
    subdomain: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    /// What makes a form that is sent twice, by a double click or a reload, the same one.
    #[serde(default)]
    key: String,
    #[serde(default)]
    invitation: String,
}

#[derive(Deserialize)]
struct Invited {
    #[serde(default)]
    invitation: String,
}

/// What a form is drawn with.
struct Desk {
    visit: Visit,
    control: web::Data<Control>,
    invitation: Option<InvitationView>,
}

impl Desk {
    /// # Errors
    /// [`Kind::InvitationNeeded`].
    async fn new(visit: Visit, control: web::Data<Control>, token: &str) -> Result<Self, Problem> {
        let invitation = match control.sign_up_mode() {
            SignUpMode::Invite => {
                Some(control.invitation(token).await?.ok_or(Problem::new(Kind::InvitationNeeded))?)
            }
            _ => None,
        };
        Ok(Self { visit, control, invitation })
    }

    fn page(
        &self,
        status: StatusCode,
        form: &SignUpForm,
        errors: SignupErrors,
        trouble: Option<Trouble>,
    ) -> Result<HttpResponse, Problem> {
        let suffix = self.control.site().suffix();
        let page = SignupPage {
            frame: Frame::apex(self.visit.lang, &self.visit.path),
            base: suffix.trim_start_matches('.'),
            values: SignupValues { company: &form.company, subdomain: &form.subdomain, email: &form.email },
            errors,
            key: &form.key,
            way: self.way(form),
            trouble,
        };
        self.visit.page(status, &page)
    }

    fn way<'a>(&'a self, form: &'a SignUpForm) -> SignupWay<'a> {
        match (&self.invitation, self.control.sign_up_mode()) {
            (Some(invitation), _) => SignupWay::Invited {
                token: &form.invitation,
                email: invitation.email.as_deref(),
                subdomain: invitation.subdomain.as_deref(),
            },
            (None, SignUpMode::Confirm) => SignupWay::Confirm,
            (None, _) => SignupWay::Open,
        }
    }

    /// The form once more, with why it can't go on, and when it might.
    fn trouble(
        &self,
        status: StatusCode,
        form: &SignUpForm,
        trouble: Trouble,
        wait_secs: Option<u64>,
    ) -> Result<HttpResponse, Problem> {
        let mut response = self.page(status, form, SignupErrors::default(), Some(trouble))?;
        if let Some(secs) = wait_secs {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(secs));
        }
        Ok(response)
    }

    /// With what is wrong with the name, too: that one can't be had is otherwise told only to a form in order.
    async fn with_the_name(&self, form: &SignUpForm, error: SignUpError) -> SignUpError {
        let SignUpError::Invalid(mut errors) = error else { return error };
        let said = errors.iter().any(|error| error.field == FieldNames::FORM.subdomain);
        if !said && let Ok(Some(refusal)) = self.control.subdomain_refusal(&form.subdomain).await {
            errors.push(FieldError { field: FieldNames::FORM.subdomain, refusal });
        }
        SignUpError::Invalid(errors)
    }

    fn refused(&self, form: &mut SignUpForm, error: SignUpError) -> Result<HttpResponse, Problem> {
        let busy = Some(u64::from(BUSY_SECS));
        match error {
            SignUpError::Invalid(errors) => {
                let errors = signup_errors(self.visit.lang, &errors);
                self.page(StatusCode::UNPROCESSABLE_ENTITY, form, errors, None)
            }
            SignUpError::Taken(_) | SignUpError::LookAlike(..) => {
                let subdomain = Some(refusal_words(self.visit.lang, Field::Subdomain, Refusal::Taken));
                let errors = SignupErrors { subdomain, ..SignupErrors::default() };
                self.page(StatusCode::CONFLICT, form, errors, None)
            }
            SignUpError::Closed => self.trouble(StatusCode::FORBIDDEN, form, Trouble::Closed, None),
            SignUpError::InvitationNeeded => Err(Problem::new(Kind::InvitationNeeded)),
            SignUpError::LinkSpent => Err(Problem::new(Kind::LinkSpent)),
            SignUpError::KeyReused => {
                form.key = new_key();
                self.trouble(StatusCode::UNPROCESSABLE_ENTITY, form, Trouble::Stale, None)
            }
            SignUpError::TooManyWaiting => {
                self.trouble(StatusCode::TOO_MANY_REQUESTS, form, Trouble::TooManyWaiting, Some(3600))
            }
            SignUpError::Busy => self.trouble(StatusCode::SERVICE_UNAVAILABLE, form, Trouble::Busy, busy),
            SignUpError::NoServer => {
                self.trouble(StatusCode::SERVICE_UNAVAILABLE, form, Trouble::Unavailable, None)
            }
            SignUpError::Registry(error) => match Problem::from(error) {
                problem if problem.kind == Kind::RegistryUnavailable => {
                    self.trouble(StatusCode::SERVICE_UNAVAILABLE, form, Trouble::Unavailable, None)
                }
                problem => Err(problem),
            },
        }
    }

    /// To the page that watches, with what this browser will be known again by.
    fn begun(&self, begun: &SignedUp, api: &TenantApi, claim: &SessionSecret) -> HttpResponse {
        let value = claim.to_text().expose_secret().to_owned();
        let cookie = self.visit.cookie(claim_cookie(api), value, Duration::hours(1));
        HttpResponse::SeeOther()
            .insert_header((header::LOCATION, format!("/signup/{}", begun.job)))
            .cookie(cookie)
            .finish()
    }
}

async fn signup_form(
    visit: Visit,
    control: web::Data<Control>,
    query: web::Query<Invited>,
) -> Result<HttpResponse, Problem> {
    let desk = Desk::new(visit, control, &query.invitation).await?;
    let of_invitation = |value: fn(&InvitationView) -> Option<&String>| {
        desk.invitation.as_ref().and_then(value).cloned().unwrap_or_default()
    };
    let form = SignUpForm {
        email: of_invitation(|invitation| invitation.email.as_ref()),
        subdomain: of_invitation(|invitation| invitation.subdomain.as_ref()),
        key: new_key(),
        invitation: query.into_inner().invitation,
        ..SignUpForm::default()
    };
    desk.page(StatusCode::OK, &form, SignupErrors::default(), None)
}

async fn sign_up(
    turn: Result<SignUpTurn, Problem>,
    request: HttpRequest,
    visit: Visit,
    control: web::Data<Control>,
    api: web::Data<TenantApi>,
    Form(mut form): Form<SignUpForm>,
) -> Result<HttpResponse, Problem> {
    let mut desk = Desk { visit, control, invitation: None };
    if let Err(problem) = turn {
        let wait = problem.retry_after_secs();
        return desk.trouble(StatusCode::TOO_MANY_REQUESTS, &form, Trouble::TooMany, wait);
    }
    let key = RequestKey::parse(&form.key);
    let asked = SignUp {
        company: &form.company,
        subdomain: &form.subdomain,
        email: &form.email,
        password: &form.password,
    };
    // Twice the same form, twice the same claim: whichever answer the browser keeps, it is led in.
    let claim = key.as_ref().map_or_else(SessionSecret::generate, |key| desk.control.claim_of(key, &asked));
    let digest = claim.digest();
    let asking = Asking {
        key: key.as_ref(),
        network: ClientAddress::of(&request).network(),
        invitation: Some(form.invitation.as_str()).filter(|token| !token.is_empty()),
        lang: desk.visit.lang.code(),
        claim: Some(&digest),
    };
    match desk.control.by(newcomer(&request)).sign_up(&asked, FieldNames::FORM, &asking).await {
        Ok(SignUpOutcome::Begun(begun)) => {
            let mut response = desk.begun(&begun, &api, &claim);
            if desk.control.sign_up_mode() == SignUpMode::Invite {
                let cookie = desk.visit.cookie(INVITATION_COOKIE, form.invitation, Duration::hours(1));
                let _ = response.add_cookie(&cookie);
            }
            Ok(response)
        }
        Ok(SignUpOutcome::MailSent(awaited)) => {
            Ok(see_other(&format!("/signup/sent?subdomain={}", awaited.subdomain)))
        }
        Err(error) => {
            if desk.control.sign_up_mode() == SignUpMode::Invite {
                desk.invitation = desk.control.invitation(&form.invitation).await?;
            }
            let error = desk.with_the_name(&form, error).await;
            desk.refused(&mut form, error)
        }
    }
}

#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    subdomain: String,
}

async fn sent(
    visit: Visit,
    control: web::Data<Control>,
    query: web::Query<Sent>,
) -> Result<HttpResponse, Problem> {
    let url = Subdomain::parse(&query.subdomain).ok().map(|subdomain| control.site().tenant_url(&subdomain));
    let page = SentPage { frame: Frame::apex(visit.lang, &visit.path), address: url.as_deref().map(spoken) };
    visit.page(StatusCode::OK, &page)
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    token: String,
}

/// Looks, and changes nothing.
async fn ask_to_confirm(
    visit: Visit,
    control: web::Data<Control>,
    link: web::Query<Link>,
) -> Result<HttpResponse, Problem> {
    confirm_page(&visit, &control, &link.token, Press::NotYet).await
}

/// What became of the button, where the page is shown once more.
enum Press {
    NotYet,
    Busy,
    /// The password, and why.
    Refused(Option<String>),
}

async fn confirm_page(
    visit: &Visit,
    control: &Control,
    token: &str,
    press: Press,
) -> Result<HttpResponse, Problem> {
    let awaited = control.awaited(token).await?.ok_or(Problem::new(Kind::LinkSpent))?;
    let status = match &press {
        Press::NotYet => StatusCode::OK,
        Press::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Press::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let page = ConfirmPage {
        frame: Frame::apex(visit.lang, &visit.path),
        company: awaited.company.as_str(),
        address: spoken(&awaited.url),
        token,
        busy: matches!(press, Press::Busy),
        error: if let Press::Refused(error) = press { error } else { None },
    };
    visit.page(status, &page)
}

#[derive(Deserialize)]
struct Confirmation {
    #[serde(default)]
    token: String,
    #[serde(default)]
    password: String,
}

/// The button was pressed.
async fn confirm(
    _turn: LoginTurn,
    request: HttpRequest,
    visit: Visit,
    control: web::Data<Control>,
    api: web::Data<TenantApi>,
    Form(form): Form<Confirmation>,
) -> Result<HttpResponse, Problem> {
    let claim = SessionSecret::generate();
    match control.by(newcomer(&request)).confirm(&form.token, &form.password, &claim.digest()).await {
        Ok(begun) => Ok(Desk { visit, control, invitation: None }.begun(&begun, &api, &claim)),
        Err(SignUpError::Busy | SignUpError::NoServer) => {
            let mut response = confirm_page(&visit, &control, &form.token, Press::Busy).await?;
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(BUSY_SECS));
            Ok(response)
        }
        Err(SignUpError::Invalid(errors)) => {
            let press = Press::Refused(signup_errors(visit.lang, &errors).password);
            confirm_page(&visit, &control, &form.token, press).await
        }
        Err(SignUpError::Registry(error)) => Err(error.into()),
        Err(_) => Err(Problem::new(Kind::LinkSpent)),
    }
}

/// Where the form is once more, for a browser whose sign-up failed.
pub(super) fn form_again(request: &HttpRequest) -> String {
    let cookie = request.cookie(INVITATION_COOKIE);
    // What isn't a token came from elsewhere.
    let token = cookie.as_ref().map(Cookie::value).filter(|token| SessionSecret::parse(token).is_ok());
    let query = token.and_then(|token| serde_urlencoded::to_string([("invitation", token)]).ok());
    query.map_or_else(|| "/signup".to_owned(), |query| format!("/signup?{query}"))
}

fn new_key() -> String {
    Uuid::new_v4().simple().to_string()
}

fn signup_errors(lang: Lang, errors: &[FieldError]) -> SignupErrors {
    let mut words = SignupErrors::default();
    for error in errors {
        let (slot, field) = match error.field {
            "company" => (&mut words.company, Field::Company),
            "subdomain" => (&mut words.subdomain, Field::Subdomain),
            "email" => (&mut words.email, Field::Email),
            _ => (&mut words.password, Field::Password),
        };
        *slot = Some(refusal_words(lang, field, error.refusal));
    }
    words
}

pub(super) fn refusal_words(lang: Lang, field: Field, refusal: Refusal) -> String {
    lang.words().refusal(field, refusal.code(), refusal.limit().unwrap_or_default())
}
