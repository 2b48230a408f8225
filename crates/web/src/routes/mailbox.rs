//! The mailbox of development, on the operators' listener: whoever has that answers with it, where mails aren't sent.

use super::Visit;
use crate::{
    pages::{MailLine, MailPage, MailboxPage},
    text::console::Section,
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
};
use portero_admin_api::Operator;
use portero_control::MailRow;
use portero_edge::{Kind, Problem};
use time::format_description::well_known::Rfc3339;

/// Where the list is mounted.
pub const MAILBOX: &str = "/mailbox";

/// What a mail's HTML may do: nothing, but be laid out.
const MAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox";

/// The list.
///
/// # Errors
/// The page can't be drawn.
pub fn mailbox_page(
    request: &HttpRequest,
    operator: &Operator,
    mails: Vec<MailRow>,
) -> Result<HttpResponse, Problem> {
    let visit = Visit::of(request);
    let mails = mails.into_iter().map(|row| {
        let (to, subject) = match row.mail {
            Some(mail) => (Some(mail.to), mail.letter.subject),
            None => (None, String::new()),
        };
        let written = row.created_at.format(&Rfc3339).unwrap_or_default();
        MailLine { href: format!("{MAILBOX}/{}", row.id), to, subject, written }
    });
    let frame = visit.console(MAILBOX, Section::Mailbox, Some(&operator.name));
    let page = MailboxPage { frame, mails: mails.collect() };
    visit.page(StatusCode::OK, &page).map(kept_to_itself)
}

/// One mail.
///
/// # Errors
/// There is none, or what it said was erased.
pub fn mail_page(
    request: &HttpRequest,
    operator: &Operator,
    row: Option<MailRow>,
) -> Result<HttpResponse, Problem> {
    let nothing = Problem::new(Kind::NotFound);
    let Some((id, mail)) = row.and_then(|row| Some((row.id, row.mail?))) else { return Err(nothing) };
    let visit = Visit::of(request);
    let visit = Visit { policy: format!("{}; frame-src 'self'", visit.policy), ..visit };
    let (path, html_href) = (format!("{MAILBOX}/{id}"), format!("{MAILBOX}/{id}/html"));
    let page = MailPage {
        frame: visit.console(&path, Section::Mailbox, Some(&operator.name)),
        to: &mail.to,
        subject: &mail.letter.subject,
        lines: mail.letter.text.lines().filter(|line| !line.is_empty()).collect(),
        html_href: &html_href,
    };
    visit.page(StatusCode::OK, &page).map(kept_to_itself)
}

/// A mail's HTML by itself, for the frame in its page. By its own policy nothing in it runs, wherever it is opened.
///
/// # Errors
/// There is none, or what it said was erased.
pub fn mail_html(row: Option<MailRow>) -> Result<HttpResponse, Problem> {
    let mail = row.and_then(|row| row.mail).ok_or(Problem::new(Kind::NotFound))?;
    let response = HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, MAIL_POLICY))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .body(mail.letter.html);
    Ok(kept_to_itself(response))
}

fn kept_to_itself(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
