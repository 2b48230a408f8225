//! A sign-up that a mail confirms: the page that sends one to one's mail, the page with the button, and the mail itself.

use super::Frame;
use crate::text::Words;
use askama::Template;

/// `GET /signup/sent`: look into your mail.
#[derive(Debug, Clone, Template)]
#[template(path = "sent.html")]
pub struct SentPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// The address that is held, without its scheme.
    pub address: Option<&'a str>,
}

/// `GET /signup/confirm`: the password and the button. Opening the page makes nothing, since mail scanners open links.
#[derive(Debug, Clone, Template)]
#[template(path = "confirm.html")]
pub struct ConfirmPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// The company's name.
    pub company: &'a str,
    /// The company's address without its scheme.
    pub address: &'a str,
    /// What the link carried.
    pub token: &'a str,
    /// The button was pressed, and too many companies are being made.
    pub busy: bool,
    /// What is wrong with the password.
    pub error: Option<String>,
}

impl ConfirmPage<'_> {
    fn headline(&self) -> String {
        (self.frame.w.confirm.title)(self.company)
    }
}

/// The mail, as HTML: nothing in it is fetched from anywhere.
#[derive(Debug, Clone, Template)]
#[template(path = "letter.html")]
pub struct LetterPage<'a> {
    pub(crate) lang: &'static str,
    pub(crate) w: &'static Words,
    pub(crate) asked: String,
    pub(crate) lasts: String,
    pub(crate) link: &'a str,
}
