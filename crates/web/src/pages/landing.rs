//! The apex's front page: what this is, the way to sign up, and the way to one's own company.

use super::Frame;
use askama::Template;

/// `GET /` on the apex.
#[derive(Debug, Clone, Template)]
#[template(path = "landing.html")]
pub struct LandingPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// What follows a subdomain and its dot, with the port: `localhost:8080`.
    pub base: &'a str,
    /// What was typed into "find your company", if it led nowhere.
    pub find_value: &'a str,
    /// Why it led nowhere: [`Words::refusal`](crate::Words::refusal) of the field `subdomain`.
    pub find_error: Option<&'a str>,
}

impl LandingPage<'_> {
    /// An address as the plate over the door shows it.
    fn example(&self) -> String {
        format!("{}.{}", self.frame.w.landing.example, self.base)
    }
}
