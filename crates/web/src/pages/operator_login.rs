//! The operators' log-in page.

use super::Frame;
use askama::Template;

/// `GET /console/login` and a refused `POST` of it, on the operators' listener.
#[derive(Debug, Clone, Template)]
#[template(path = "operator_login.html")]
pub struct OperatorLoginPage<'a> {
    /// The surroundings: [`Frame::apex`].
    pub frame: Frame<'a>,
    /// What there is to say.
    pub state: OperatorLoginState,
}

/// What the page has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorLoginState {
    /// Nothing.
    Fresh,
    /// The token is nobody's, or of one who was disabled.
    Refused,
    /// Too many attempts from this address.
    TooMany,
}

impl OperatorLoginPage<'_> {
    fn trouble(&self) -> Option<&'static str> {
        match self.state {
            OperatorLoginState::Fresh => None,
            OperatorLoginState::Refused => Some(self.frame.w.operators.refused),
            OperatorLoginState::TooMany => Some(self.frame.w.operators.too_many),
        }
    }
}
