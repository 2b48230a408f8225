//! The platform's audit log, as operators read it: who did what to whom, in words. The page knows no log: it is given rows.

use super::Frame;
use crate::text::console::{Section, Verb};
use askama::Template;

/// `GET /console/audit`.
#[derive(Debug, Clone, Template)]
#[template(path = "console/audit.html")]
pub struct AuditPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// The company that is shown, by its subdomain or its id; empty for all.
    pub company: &'a str,
    /// Whose deeds are shown; empty for everybody's.
    pub who: &'a str,
    /// What is shown, by its code; empty for everything.
    pub what: &'a str,
    /// This page of it.
    pub deeds: Vec<DeedRow>,
    /// Where the list goes on.
    pub next_href: Option<String>,
    /// Whether this is not its beginning.
    pub is_later: bool,
}

/// Something that was done, from the audit log.
#[derive(Debug, Clone)]
pub struct DeedRow {
    /// When, in RFC 3339; nothing where the log has no moment.
    pub at: Option<String>,
    /// Whose name it was done in; empty where there is none.
    pub actor: String,
    /// What kind of actor that is, by its code.
    pub actor_kind: String,
    /// What, by its code.
    pub verb: String,
    /// More of it, in words.
    pub details: Vec<String>,
    /// To which company, as it was called then.
    pub company: Option<String>,
    /// Where that is looked at; its history, where it isn't there any more.
    pub company_href: Option<String>,
    /// `done`, `refused` or `failed`, or [`crate::text::console::AT_FAULT`].
    pub outcome: String,
    /// Why it was not done, as the log has it.
    pub error: Option<String>,
    /// From where.
    pub address: Option<String>,
}

impl AuditPage<'_> {
    fn is_filtered(&self) -> bool {
        !(self.company.is_empty() && self.who.is_empty() && self.what.is_empty())
    }

    fn what_is(&self, verb: Verb) -> bool {
        self.what == verb.code()
    }

    fn shows_company(&self) -> bool {
        true
    }
}
