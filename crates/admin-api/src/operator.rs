//! Who is asking: an operator, proven with each request, so that one who is disabled is so from the next request on.

use crate::{AdminApi, entrance::shown};
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, web};
use portero_control::{Actor, Control};
use portero_edge::{ClientAddress, Kind, Problem, user_agent};
use portero_kernel::OperatorId;
use std::pin::Pin;

/// An operator who asks, by a token or logged in.
///
/// ```compile_fail
/// // Nobody else makes one: a handler that takes it is not for strangers.
/// let forged = portero_admin_api::Operator { id: todo!(), name: String::new(), control: todo!() };
/// ```
pub struct Operator {
    /// Which.
    pub id: OperatorId,
    /// Its name.
    pub name: String,
    control: Control,
}

impl Operator {
    /// The use cases, done in this operator's name.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Reads the token, or else the cookie, and looks up whose it is.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`]; [`Kind::TooManyRequests`] for too many guesses; the registry.
    pub async fn of(request: &HttpRequest) -> Result<Self, Problem> {
        // Proven already, by what stands around the admin API.
        if let Some(operator) = request.extensions_mut().remove::<Self>() {
            return Ok(operator);
        }
        let api = request
            .app_data::<web::Data<AdminApi>>()
            .ok_or_else(|| Problem::internal("the admin API is not configured"))?;
        let shown = shown(request).ok_or(Problem::new(Kind::Unauthorized))?;
        let operator = api.identify(request, shown).await?;
        let control = api.control().by(actor(&operator.name, request));
        Ok(Self { id: operator.id, name: operator.name, control })
    }
}

/// As the audit log has it.
pub(crate) fn actor(name: &str, request: &HttpRequest) -> Actor {
    Actor::Operator {
        name: name.to_owned(),
        address: Some(ClientAddress::of(request).0),
        agent: user_agent(request),
    }
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request).await })
    }
}
