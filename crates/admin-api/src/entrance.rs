//! How operators are let in: by a token with each request, or by a session that began with one; and once, in development,
//! by a link.

use crate::operator::actor;
use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite, time::Duration as CookieDuration},
    http::header,
    web,
};
use portero_auth::{OperatorToken, SessionSecret};
use portero_control::{Control, OperatorView};
use portero_edge::{ClientAddress, Edge, Kind, OperatorsHost, Problem, Sight};
use portero_kernel::{ExposeSecret, SecretString};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How long the registry may take to say who somebody is.
const REGISTRY: Duration = Duration::from_secs(3);
/// Operators' tokens and sessions that are remembered at most.
const REMEMBERED: usize = 1024;

/// What the operators' door works with; kept as `web::Data<AdminApi>`.
pub struct AdminApi {
    control: Control,
    /// Who was let in by this process, by the digest of what they showed. The registry is asked with each request all the
    /// same: this is for when it is away.
    known: Mutex<HashMap<[u8; 32], Known>>,
    /// The link that lets one in, until it is used.
    link: Mutex<Option<([u8; 32], OperatorView)>>,
}

#[derive(Clone)]
struct Known {
    operator: OperatorView,
    until: Instant,
}

/// What somebody shows.
pub(crate) enum Shown {
    Token(OperatorToken),
    Session(SessionSecret),
    /// Something, and it can't be right.
    Garbled,
}

impl AdminApi {
    /// From its parts.
    #[must_use]
    pub fn new(control: Control) -> Self {
        Self { control, known: Mutex::default(), link: Mutex::default() }
    }

    /// The use cases.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// A secret that logs this operator in once, at [`AdminApi::enter`]. A new one replaces the one before.
    #[must_use]
    pub fn link(&self, operator: OperatorView) -> SecretString {
        let secret = SessionSecret::generate();
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some((secret.digest(), operator));
        secret.to_text()
    }

    /// Begins a session by the link's secret.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`] where it was used or never was; the registry.
    pub async fn enter(&self, request: &HttpRequest, secret: &str) -> Result<Cookie<'static>, Problem> {
        let operator = SessionSecret::parse(secret).ok().and_then(|secret| {
            let shown = secret.digest();
            let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
            link.take_if(|(digest, _)| *digest == shown).map(|(_, operator)| operator)
        });
        let operator = operator.ok_or_else(|| turned_away(request))?;
        self.begin(request, &operator).await
    }

    /// Begins a session for whoever has this token.
    ///
    /// # Errors
    /// [`Kind::WrongCredentials`], [`Kind::TooManyRequests`], the registry.
    pub async fn log_in(&self, request: &HttpRequest, token: &str) -> Result<Cookie<'static>, Problem> {
        let shown = OperatorToken::parse(token.trim()).map_or(Shown::Garbled, Shown::Token);
        match self.identify(request, shown).await {
            Ok(operator) => self.begin(request, &operator).await,
            Err(problem) if problem.kind == Kind::Unauthorized => Err(Problem::new(Kind::WrongCredentials)),
            Err(problem) => Err(problem),
        }
    }

    /// Ends the session of this browser, if there is one.
    ///
    /// # Errors
    /// The registry.
    pub async fn log_out(&self, request: &HttpRequest) -> Result<Cookie<'static>, Problem> {
        if let Some(Shown::Session(session)) = shown(request) {
            let digest = session.digest();
            self.forget(&digest);
            if let Some(operator) = self.control.operator_by_session(&digest).await? {
                self.control.by(actor(&operator.name, request)).operator_log_out(&session).await?;
            }
        }
        Ok(cookie(request, String::new(), Duration::ZERO))
    }

    async fn begin(
        &self,
        request: &HttpRequest,
        operator: &OperatorView,
    ) -> Result<Cookie<'static>, Problem> {
        let session = self.control.by(actor(&operator.name, request)).operator_log_in(operator.id).await?;
        let value = session.to_text().expose_secret().to_owned();
        Ok(cookie(request, value, Control::OPERATOR_SESSION))
    }

    /// Who shows this.
    pub(crate) async fn identify(
        &self,
        request: &HttpRequest,
        shown: Shown,
    ) -> Result<OperatorView, Problem> {
        match shown {
            Shown::Garbled => {
                refused(request);
                Err(turned_away(request))
            }
            Shown::Token(token) => {
                let digest = token.digest();
                let found = self.control.operator_by_token(&digest);
                self.ask(digest, found).await?.ok_or_else(|| {
                    refused(request);
                    turned_away(request)
                })
            }
            Shown::Session(session) => {
                let digest = session.digest();
                let found = self.control.operator_by_session(&digest);
                self.ask(digest, found).await?.ok_or(Problem::new(Kind::Unauthorized))
            }
        }
    }

    /// Asks the registry; while that is away, whom it let in before is let in on, to look.
    async fn ask<E: Into<Problem>>(
        &self,
        digest: [u8; 32],
        question: impl Future<Output = Result<Option<OperatorView>, E>>,
    ) -> Result<Option<OperatorView>, Problem> {
        let answer = match timeout(REGISTRY, question).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(Problem::new(Kind::RegistryUnavailable)),
        };
        match answer {
            Ok(Some(operator)) => {
                self.remember(digest, &operator);
                Ok(Some(operator))
            }
            Ok(None) => {
                self.forget(&digest);
                Ok(None)
            }
            Err(problem) if problem.kind == Kind::RegistryUnavailable => {
                self.known(&digest).map(|known| Some(known.operator)).ok_or(problem)
            }
            Err(problem) => Err(problem),
        }
    }

    fn known(&self, digest: &[u8; 32]) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest).filter(|known| known.until > Instant::now()).cloned()
    }

    fn remember(&self, digest: [u8; 32], operator: &OperatorView) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            let now = Instant::now();
            known.retain(|_, one| one.until > now);
        }
        if known.len() < REMEMBERED {
            // From the first time on: a session is not remembered for longer than it lasts.
            let until = Instant::now() + Control::OPERATOR_SESSION;
            known.entry(digest).or_insert_with(|| Known { operator: operator.clone(), until });
        }
    }

    fn forget(&self, digest: &[u8; 32]) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }
}

/// A token goes before a cookie: whoever sends one means it.
pub(crate) fn shown(request: &HttpRequest) -> Option<Shown> {
    if let Some(value) = request.headers().get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let token = token.and_then(|(_, token)| OperatorToken::parse(token.trim()).ok());
        return Some(token.map_or(Shown::Garbled, Shown::Token));
    }
    let cookie = request.cookie(cookie_name(request))?;
    SessionSecret::parse(cookie.value()).ok().map(Shown::Session)
}

/// What somebody reads whose token is nobody's: after many from their address, how long to wait. Who shows a good one is let
/// in all the same, as others at the same address may have guessed; a guess has no chance however often it is made.
fn turned_away(request: &HttpRequest) -> Problem {
    let edge = request.app_data::<web::Data<Edge>>();
    let turn = edge.map_or(Ok(()), |edge| edge.limits.operator_turn(ClientAddress::of(request)));
    turn.err().unwrap_or(Problem::new(Kind::Unauthorized))
}

/// For the audit log: a token that is nobody's. A cookie that has run out is no such thing.
fn refused(request: &HttpRequest) {
    if let Some(edge) = request.app_data::<web::Data<Edge>>() {
        edge.sightings.note(Sight::OperatorRefused, None, ClientAddress::of(request), None);
    }
}

fn is_secure(request: &HttpRequest) -> bool {
    OperatorsHost::of(request).is_some_and(|host| host.secure)
}

fn cookie_name(request: &HttpRequest) -> &'static str {
    if is_secure(request) { "__Host-portero_operator" } else { "portero_operator" }
}

fn cookie(request: &HttpRequest, value: String, lasts: Duration) -> Cookie<'static> {
    let lasts = i64::try_from(lasts.as_secs()).unwrap_or(0);
    Cookie::build(cookie_name(request), value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(is_secure(request))
        .max_age(CookieDuration::seconds(lasts))
        .finish()
}
