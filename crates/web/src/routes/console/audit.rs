//! The platform's audit log as a page: all of it, a company's, somebody's, or one kind of act. Also of companies that aren't
//! there any more.

use super::{Desk, PAGE, rows::deed_row};
use crate::{
    pages::{AuditPage, DeedRow},
    text::console::Section,
};
use actix_web::{HttpResponse, web};
use portero_control::{AuditFilter, AuditView};
use portero_edge::Problem;
use portero_kernel::TenantId;
use serde::Deserialize;

/// Where it is.
pub(super) const AUDIT: &str = "/console/audit";

#[derive(Deserialize)]
pub(super) struct AuditQuery {
    #[serde(default)]
    company: String,
    #[serde(default)]
    who: String,
    #[serde(default)]
    what: String,
    #[serde(default)]
    before: String,
}

pub(super) async fn audit(desk: Desk, query: web::Query<AuditQuery>) -> Result<HttpResponse, Problem> {
    let (company, who, what) = (query.company.trim(), query.who.trim(), query.what.trim());
    let tenant: Option<TenantId> = company.parse().ok();
    let filter = AuditFilter {
        subdomain: wanted(company).filter(|_| tenant.is_none()).map(|name| name.to_lowercase()),
        tenant,
        actor: wanted(who),
        verb: wanted(what),
        before: query.before.parse().ok(),
        ..AuditFilter::default()
    };
    let one_more = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut entries = desk.control().audit(&filter, one_more).await?;
    let more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let next_href = entries.last().filter(|_| more).and_then(|last| {
        let before = last.seq.to_string();
        let query = [("company", company), ("who", who), ("what", what), ("before", &before)];
        let query = query.iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>();
        Some(format!("{AUDIT}?{}", serde_urlencoded::to_string(query).ok()?))
    });
    let page = AuditPage {
        frame: desk.frame(AUDIT, Section::Audit),
        company,
        who,
        what,
        deeds: desk.deed_rows(entries).await?,
        next_href,
        is_later: filter.before.is_some(),
    };
    desk.page(&page)
}

/// What PostgreSQL can't hold, the log doesn't have.
fn wanted(text: &str) -> Option<String> {
    Some(text.replace('\0', "\u{fffd}")).filter(|text| !text.is_empty())
}

impl Desk {
    /// Acts in words, with ways to the companies that are there.
    pub(super) async fn deed_rows(&self, entries: Vec<AuditView>) -> Result<Vec<DeedRow>, Problem> {
        let ids: Vec<TenantId> = entries.iter().filter_map(|entry| entry.tenant).collect();
        let there = self.control().tenants_there(&ids).await?;
        let words = self.visit.lang.words().console;
        Ok(entries.into_iter().map(|entry| deed_row(entry, words, &there)).collect())
    }
}
