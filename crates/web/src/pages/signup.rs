//! The form by which a company signs up.

use super::Frame;
use crate::text::Trouble;
use askama::Template;

/// `GET /signup`, and `POST /signup` when something is to be corrected.
#[derive(Debug, Clone, Template)]
#[template(path = "signup.html")]
pub struct SignupPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// What follows a subdomain and its dot, with the port: `localhost:8080`.
    pub base: &'a str,
    /// What was typed before.
    pub values: SignupValues<'a>,
    /// What is wrong with it.
    pub errors: SignupErrors,
    /// What keeps a sign-up from going on though its fields are in order.
    pub trouble: Option<Trouble>,
}

/// What was typed into the form. Passwords are never shown again.
#[derive(Debug, Clone, Copy, Default)]
pub struct SignupValues<'a> {
    /// The company's name.
    pub company: &'a str,
    /// The subdomain.
    pub subdomain: &'a str,
    /// The first administrator's address.
    pub email: &'a str,
}

/// What is wrong, field by field, in the visitor's language: [`Words::refusal`](crate::Words::refusal).
#[derive(Debug, Clone, Default)]
pub struct SignupErrors {
    /// With the company's name.
    pub company: Option<String>,
    /// With the subdomain.
    pub subdomain: Option<String>,
    /// With the address.
    pub email: Option<String>,
    /// With the password.
    pub password: Option<String>,
}

impl SignupErrors {
    /// Whether anything is wrong.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.company.is_some() || self.subdomain.is_some() || self.email.is_some() || self.password.is_some()
    }
}

impl SignupPage<'_> {
    fn has_errors(&self) -> bool {
        self.trouble.is_some() || self.errors.any()
    }
}
