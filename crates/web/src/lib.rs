//! What people see: server-rendered pages in Spanish and English, their look and their words.
//!
//! A page is a struct of [`pages`] with everything it shows; `render` comes from [`Template`]. Words are in [`text`],
//! files that browsers fetch in [`assets`]. Nothing here knows SQL, and no rule of the platform lives here: a page
//! shows what its model says. Every page works without JavaScript, and under [`content_security_policy`].

pub mod assets;
mod letter;
pub mod pages;
mod routes;
pub mod text;

pub use askama::{Error as RenderError, Template};
pub use letter::letter;
pub use routes::{
    BUDGET, CONSOLE, ENTER, MAILBOX, SERVERS, Web, budget_page, configure, configure_operators, mail_html,
    mail_page, mailbox_page, problem_page, servers_page,
};
pub use text::{Lang, Words};

/// The `Content-Security-Policy` that every page is written for: everything from the page's own host, nothing inline.
///
/// `form_redirects` is for the apex alone: browsers hold `form-action` against the *redirects* of a form as well, and
/// the form "find your company" leads to another host. Give it the tenants' origins, such as
/// `http://*.localhost:8080`; on tenant hosts give `None`.
#[must_use]
pub fn content_security_policy(form_redirects: Option<&str>) -> String {
    let (space, targets) = form_redirects.map_or(("", ""), |targets| (" ", targets));
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'{space}{targets}; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_lead_nowhere_else_unless_told() {
        assert!(content_security_policy(None).contains("form-action 'self';"));
        let apex = content_security_policy(Some("https://*.ejemplo.com"));
        assert!(apex.contains("form-action 'self' https://*.ejemplo.com;"));
        assert!(!apex.contains("unsafe"));
    }
}
