//! A company's log-in page.

use super::Frame;
use crate::text::LoginState;
use askama::Template;

/// `GET /login` and a refused `POST /login` on a company's host.
#[derive(Debug, Clone, Template)]
#[template(path = "login.html")]
pub struct LoginPage<'a> {
    /// The surroundings: [`Frame::tenant`].
    pub frame: Frame<'a>,
    /// The company's name.
    pub company: &'a str,
    /// The company's address without its scheme: `acme.localhost:8080`.
    pub address: &'a str,
    /// What was typed before.
    pub email: &'a str,
    /// What there is to say.
    pub state: LoginState,
}

impl LoginPage<'_> {
    fn headline(&self) -> String {
        (self.frame.w.login.lead)(self.company)
    }

    fn is_error(&self) -> bool {
        matches!(self.state, LoginState::Refused | LoginState::TooManyAttempts)
    }
}
