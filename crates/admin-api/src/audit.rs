//! The audit log: list, verify.

use crate::{Operator, limit, without_nul};
use actix_web::{HttpResponse, web};
use portero_control::AuditFilter;
use portero_edge::{Kind, Problem};
use serde::Deserialize;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

type Answer = Result<HttpResponse, Problem>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    tenant: Option<String>,
    actor: Option<String>,
    since: Option<String>,
    before: Option<i64>,
    limit: Option<i64>,
}

pub(crate) async fn list(operator: Operator, query: web::Query<List>) -> Answer {
    let query = query.into_inner();
    let since = query.since.map(|text| OffsetDateTime::parse(&text, &Rfc3339)).transpose();
    let since = since.map_err(|_| Problem::new(Kind::Invalid).detail("since is a moment as in RFC 3339"))?;
    let (subdomain, actor) = (without_nul(query.tenant)?, without_nul(query.actor)?);
    let filter = AuditFilter { subdomain, actor, since, before: query.before, ..AuditFilter::default() };
    let entries = operator.control().audit(&filter, limit(query.limit)?).await?;
    let next = entries.last().map(|entry| entry.seq);
    Ok(HttpResponse::Ok().json(json!({ "entries": entries, "next": next })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verify {
    expect: Option<String>,
}

pub(crate) async fn verify(operator: Operator, query: web::Query<Verify>) -> Answer {
    let expected = query.expect.as_deref().map(str::parse).transpose();
    let expected = expected.map_err(|_| Problem::new(Kind::Invalid).detail("expect is NUMBER:HASH"))?;
    Ok(HttpResponse::Ok().json(operator.control().audit_verify(expected).await?))
}
