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
    /// What makes a form that is sent twice the same one.
    pub key: &'a str,
    /// By whom it may be sent.
    pub way: SignupWay<'a>,
    /// What keeps a sign-up from going on though its fields are in order.
    pub trouble: Option<Trouble>,
}

/// How one comes to sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignupWay<'a> {
    /// Just so.
    Open,
    /// A mail is sent, and nothing made before it is answered; the password is chosen then.
    Confirm,
    /// By an invitation.
    Invited {
        /// What its link carries.
        token: &'a str,
        /// The address that it is for.
        email: Option<&'a str>,
        /// The name that it is for.
        subdomain: Option<&'a str>,
    },
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
    fn note(&self) -> &'static str {
        let w = &self.frame.w.signup;
        if self.way == SignupWay::Confirm { w.confirm_note } else { w.submit_note }
    }

    fn asks_password(&self) -> bool {
        self.way != SignupWay::Confirm
    }

    fn token(&self) -> Option<&str> {
        match self.way {
            SignupWay::Invited { token, .. } => Some(token),
            _ => None,
        }
    }

    fn email_is_set(&self) -> bool {
        matches!(self.way, SignupWay::Invited { email: Some(_), .. })
    }

    fn subdomain_is_set(&self) -> bool {
        matches!(self.way, SignupWay::Invited { subdomain: Some(_), .. })
    }

    fn has_errors(&self) -> bool {
        self.trouble.is_some() || self.errors.any()
    }
}
