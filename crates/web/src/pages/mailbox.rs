//! The mailbox of development: mails that would be sent, if there were a server.

use super::Frame;
use askama::Template;

/// Who may read mails that are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mailbox {
    /// Whoever runs the platform, in the console: for development.
    Shown,
    /// Nobody.
    Hidden,
}

/// All mails, the newest first.
#[derive(Debug, Clone, Template)]
#[template(path = "mailbox.html")]
pub struct MailboxPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// What there is.
    pub mails: Vec<MailLine>,
}

/// A mail in the list.
#[derive(Debug, Clone)]
pub struct MailLine {
    /// Where it is shown.
    pub href: String,
    /// To whom it goes; nothing where what it said was erased.
    pub to: Option<String>,
    /// Its subject.
    pub subject: String,
    /// When it was written, as RFC 3339 has it.
    pub written: String,
}

/// One mail, as text and as HTML. The HTML stands in a frame where nothing runs and nothing is fetched.
#[derive(Debug, Clone, Template)]
#[template(path = "mail.html")]
pub struct MailPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// To whom it goes.
    pub to: &'a str,
    /// Its subject.
    pub subject: &'a str,
    /// Its lines as plain text.
    pub lines: Vec<&'a str>,
    /// Where its HTML is.
    pub html_href: &'a str,
}

impl MailPage<'_> {
    /// Whether a line is nothing but a link.
    fn is_link(line: &str) -> bool {
        (line.starts_with("http://") || line.starts_with("https://")) && !line.contains(char::is_whitespace)
    }
}
