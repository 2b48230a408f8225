//! What stands around every page: the language, the head with its links, the header and the footer.

use crate::assets;
use crate::pages::Mailbox;
use crate::text::{Lang, Words, console::Section};

/// The surroundings of a page.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    pub(crate) lang: Lang,
    pub(crate) w: &'static Words,
    /// The page's own path, for the language switch.
    pub(crate) path: &'a str,
    /// The apex's front page.
    pub(crate) apex: &'a str,
    /// Whose house it is, on a tenant's host.
    pub(crate) company: Option<&'a str>,
    /// The parts of the operators' console, if it is a page of that.
    pub(crate) sections: &'static [Section],
    /// Which of them it is.
    pub(crate) section: Option<Section>,
    /// The operator who is logged in.
    pub(crate) operator: Option<&'a str>,
}

impl<'a> Frame<'a> {
    /// A page of the apex. `path` is the path that `?lang=` is put behind: the page's own, or where it would be looked
    /// at by GET if it answers a POST.
    #[must_use]
    pub fn apex(lang: Lang, path: &'a str) -> Self {
        Self {
            lang,
            w: lang.words(),
            path: own_path(path),
            apex: "/",
            company: None,
            sections: &[],
            section: None,
            operator: None,
        }
    }

    /// A page on a company's host; the company's name leads. `apex_url` is the platform's address with its scheme and
    /// port: `http://localhost:8080`.
    #[must_use]
    pub fn tenant(lang: Lang, path: &'a str, company: &'a str, apex_url: &'a str) -> Self {
        Self {
            lang,
            w: lang.words(),
            path: own_path(path),
            apex: apex_url,
            company: Some(company),
            sections: &[],
            section: None,
            operator: None,
        }
    }

    /// A page on a host that is nobody's, or whose company isn't to be named.
    #[must_use]
    pub fn elsewhere(lang: Lang, path: &'a str, apex_url: &'a str) -> Self {
        Self {
            lang,
            w: lang.words(),
            path: own_path(path),
            apex: apex_url,
            company: None,
            sections: &[],
            section: None,
            operator: None,
        }
    }

    /// A page of the operators' console, for whoever is logged in there. One that isn't there is of no part of it.
    #[must_use]
    pub fn console(
        lang: Lang,
        path: &'a str,
        section: Option<Section>,
        operator: Option<&'a str>,
        mailbox: Mailbox,
    ) -> Self {
        let sections = match mailbox {
            Mailbox::Shown => Section::ALL,
            Mailbox::Hidden => WITHOUT_MAILBOX,
        };
        Self { apex: "/console", sections, section, operator, ..Self::apex(lang, path) }
    }

    pub(crate) fn sections(&self) -> impl Iterator<Item = (Section, &'static str)> {
        self.sections.iter().map(|section| (*section, section.path()))
    }

    pub(crate) fn is_section(&self, section: Section) -> bool {
        self.section == Some(section)
    }

    pub(crate) fn css(&self) -> &'static str {
        &assets::stylesheet().url
    }

    pub(crate) fn js(&self) -> &'static str {
        &assets::script().url
    }

    pub(crate) fn mark(&self) -> &'static str {
        &assets::mark().url
    }

    pub(crate) fn languages(&self) -> [Lang; 2] {
        Lang::ALL
    }
}

const WITHOUT_MAILBOX: &[Section] = &[
    Section::Overview,
    Section::Tenants,
    Section::Jobs,
    Section::Migrations,
    Section::Servers,
    Section::Connections,
    Section::Audit,
];

impl Section {
    /// Where it is.
    const fn path(self) -> &'static str {
        match self {
            Self::Overview => "/console",
            Self::Tenants => "/console/tenants",
            Self::Jobs => "/console/jobs",
            Self::Migrations => "/console/migrations",
            Self::Servers => "/console/servers",
            Self::Connections => "/budget",
            Self::Audit => "/console/audit",
            Self::Mailbox => "/mailbox",
        }
    }
}

/// The path without its query, if it leads to this host.
fn own_path(path: &str) -> &str {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if stays_here(path) { path } else { "/" }
}

/// Whether it's a path that no browser takes for another host (`//host`, `/\host`).
pub(super) fn stays_here(path: &str) -> bool {
    path.starts_with('/')
        && !path[1..].starts_with(['/', '\\'])
        && !path.bytes().any(|b| b.is_ascii_control() || b == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_switch_stays_in_the_house() {
        for (path, expected) in [
            ("/", "/"),
            ("/signup", "/signup"),
            ("/signup?lang=en#x", "/signup"),
            ("//evil.test", "/"),
            ("/\\evil.test", "/"),
            ("/\t/evil.test", "/"),
            ("javascript:alert(1)", "/"),
            ("", "/"),
            ("/ñ", "/ñ"),
        ] {
            assert_eq!(own_path(path), expected, "{path:?}");
        }
    }
}
