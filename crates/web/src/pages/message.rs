//! The page for states and errors that take a whole page.

use super::{Frame, frame::stays_here};
use crate::text::{Problem, Way};
use askama::Template;

/// Title, text, and where to go from here. The words go by [`Problem`].
#[derive(Debug, Clone, Template)]
#[template(path = "message.html")]
pub struct MessagePage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// What it is.
    pub problem: Problem,
    /// The host that was asked for, to be shown over the door.
    pub address: Option<&'a str>,
    /// Where to go on.
    pub action: Option<Action<'a>>,
    /// The request's id: `X-Request-Id`.
    pub request_id: Option<&'a str>,
    /// After how many seconds the page looks again by itself; pair it with `Retry-After`. `None`: never.
    pub refresh_secs: Option<u32>,
}

/// A link onward.
#[derive(Debug, Clone, Copy)]
pub struct Action<'a> {
    /// What it says.
    pub way: Way,
    /// Where it leads: the platform's own URL, or a path here. The path may be the one that was asked for: one that
    /// would lead to another host becomes `/`.
    pub href: &'a str,
}

impl Action<'_> {
    fn safe_href(&self) -> &str {
        let elsewhere = self.href.starts_with('/') && !stays_here(self.href);
        if elsewhere { "/" } else { self.href }
    }
}

impl MessagePage<'_> {
    /// How the door in the picture stands.
    fn door(&self) -> &'static str {
        match self.problem {
            Problem::TenantProvisioning | Problem::TenantUpgrading => "working",
            Problem::TenantBusy | Problem::TenantRateLimited | Problem::TooManyRequests => "ajar",
            _ => "shut",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trying_again_never_leads_to_another_host() {
        for (href, expected) in [
            ("/users?after=x", "/users?after=x"),
            ("//evil.test/", "/"),
            ("/\\evil.test/", "/"),
            ("http://localhost:8080/signup", "http://localhost:8080/signup"),
        ] {
            assert_eq!(Action { way: Way::Retry, href }.safe_href(), expected);
        }
    }
}
