//! Tenants: list, show, create, pause, resume, plan, weight, rename, delete, undelete, purge.

use crate::{Operator, limit, problems::confirmed, without_nul};
use actix_web::{HttpRequest, HttpResponse, web};
use portero_control::{
    FieldNames, Grace, LookAlike, Purge, RequestKey, SignUp, TenantFilter, TenantPlan, Wishes,
};
use portero_edge::{Json, Kind, Problem, idempotency_key};
use portero_kernel::Subdomain;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// Seconds that requests under way have to end, unless it is said.
const DRAIN: u64 = 5;
const LONGEST_DRAIN: u64 = 600;

type Answer = Result<HttpResponse, Problem>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    search: Option<String>,
    status: Option<String>,
    after: Option<String>,
    limit: Option<i64>,
}

pub(crate) async fn list(operator: Operator, query: web::Query<List>) -> Answer {
    let query = query.into_inner();
    let after = query.after.as_deref().map(label).transpose()?;
    let (search, status) = (without_nul(query.search)?, without_nul(query.status)?);
    let filter = TenantFilter {
        search: search.as_deref().unwrap_or_default(),
        status: status.as_deref(),
        beyond: after.as_ref(),
        ..TenantFilter::default()
    };
    let tenants = operator.control().tenants_found(&filter, limit(query.limit)?).await?;
    let next = tenants.last().map(|tenant| tenant.subdomain.clone());
    Ok(HttpResponse::Ok().json(json!({ "tenants": tenants, "next": next })))
}

pub(crate) async fn show(operator: Operator, subdomain: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok()
        .json(operator.control().tenant(&label(&subdomain)?).await.map_err(crate::problems::tenant)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    name: String,
    subdomain: String,
    admin: NewAdmin,
    /// To have the name though it reads like another company's.
    #[serde(default)]
    allow_look_alike: bool,
    plan: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAdmin {
    email: String,
    password: String,
}

pub(crate) async fn create(operator: Operator, request: HttpRequest, Json(body): Json<NewTenant>) -> Answer {
    let key = idempotency_key(&request, RequestKey::parse)?;
    let form = SignUp {
        company: &body.name,
        subdomain: &body.subdomain,
        email: &body.admin.email,
        password: &body.admin.password,
    };
    let plan = body.plan.as_deref().map(|name| plan_of(&operator, name)).transpose()?;
    let wishes = Wishes { look_alike: LookAlike::allowed_if(body.allow_look_alike), plan };
    let taken_on = operator.control().create_tenant(&form, FieldNames::API, &wishes, key.as_ref()).await;
    let taken_on = taken_on.map_err(crate::problems::sign_up)?;
    Ok(HttpResponse::Accepted().json(json!({
        "id": taken_on.tenant,
        "name": taken_on.company.as_str(),
        "subdomain": taken_on.subdomain.as_str(),
        "status": "provisioning",
        "url": taken_on.url,
        "job": taken_on.job,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pause {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    drain_secs: Option<u64>,
}

pub(crate) async fn pause(
    operator: Operator,
    subdomain: web::Path<String>,
    Json(body): Json<Pause>,
) -> Answer {
    if body.reason.as_deref().is_some_and(|reason| reason.contains(char::is_control)) {
        return Err(
            Problem::new(Kind::Invalid).detail("reason is a line of text, without control characters")
        );
    }
    let drain = drain(body.drain_secs)?;
    let change = operator
        .control()
        .pause(&label(&subdomain)?, body.reason.as_deref(), drain)
        .await
        .map_err(crate::problems::tenant)?;
    Ok(HttpResponse::Ok().json(change))
}

pub(crate) async fn resume(operator: Operator, subdomain: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok()
        .json(operator.control().resume(&label(&subdomain)?).await.map_err(crate::problems::tenant)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    plan: String,
}

pub(crate) async fn plan(operator: Operator, subdomain: web::Path<String>, Json(body): Json<Plan>) -> Answer {
    let plan = plan_of(&operator, &body.plan)?;
    let change = operator.control().set_plan(&label(&subdomain)?, &plan).await;
    Ok(HttpResponse::Ok().json(change.map_err(crate::problems::tenant)?))
}

fn plan_of(operator: &Operator, name: &str) -> Result<TenantPlan, Problem> {
    operator.control().plan(name).map_err(|unknown| Problem::new(Kind::Invalid).detail(unknown.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Weight {
    weight: u8,
}

pub(crate) async fn weight(
    operator: Operator,
    subdomain: web::Path<String>,
    Json(body): Json<Weight>,
) -> Answer {
    if !(1..=100).contains(&body.weight) {
        return Err(Problem::new(Kind::Invalid).detail("weight is from 1 to 100"));
    }
    Ok(HttpResponse::Ok().json(
        operator
            .control()
            .set_weight(&label(&subdomain)?, body.weight)
            .await
            .map_err(crate::problems::tenant)?,
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rename {
    to: String,
    /// To have the name though it reads like another company's.
    #[serde(default)]
    allow_look_alike: bool,
}

pub(crate) async fn rename(
    operator: Operator,
    subdomain: web::Path<String>,
    Json(body): Json<Rename>,
) -> Answer {
    Ok(HttpResponse::Ok().json(
        operator
            .control()
            .rename(&label(&subdomain)?, &body.to, LookAlike::allowed_if(body.allow_look_alike))
            .await
            .map_err(crate::problems::tenant)?,
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delete {
    confirm: String,
    #[serde(default)]
    drain_secs: Option<u64>,
}

pub(crate) async fn delete(
    operator: Operator,
    subdomain: web::Path<String>,
    Json(body): Json<Delete>,
) -> Answer {
    let subdomain = label(&subdomain)?;
    confirmed(subdomain.as_str(), &body.confirm)?;
    let changes = operator
        .control()
        .delete(std::slice::from_ref(&subdomain), drain(body.drain_secs)?)
        .await
        .map_err(crate::problems::tenant)?;
    let change = changes.into_iter().next().ok_or(Problem::new(Kind::NotFound))?;
    Ok(HttpResponse::Ok().json(change))
}

pub(crate) async fn undelete(operator: Operator, subdomain: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok()
        .json(operator.control().undelete(&label(&subdomain)?).await.map_err(crate::problems::tenant)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeRequest {
    confirm: String,
    #[serde(default)]
    before_grace: bool,
}

pub(crate) async fn purge(
    operator: Operator,
    subdomain: web::Path<String>,
    Json(body): Json<PurgeRequest>,
) -> Answer {
    let subdomain = label(&subdomain)?;
    confirmed(subdomain.as_str(), &body.confirm)?;
    let grace = if body.before_grace { Grace::Waive } else { Grace::Respect };
    Ok(match operator.control().purge(&subdomain, grace).await.map_err(crate::problems::tenant)? {
        Purge::Job(job) => HttpResponse::Accepted().json(json!({ "job": job, "purged": null })),
        Purge::Done(purged) => HttpResponse::Accepted().json(json!({ "job": purged.job, "purged": purged })),
    })
}

/// What can't be a subdomain is nobody's.
fn label(raw: &str) -> Result<Subdomain, Problem> {
    Subdomain::parse(raw).map_err(|_| Problem::new(Kind::NotFound))
}

fn drain(secs: Option<u64>) -> Result<Duration, Problem> {
    let secs = secs.unwrap_or(DRAIN);
    if secs > LONGEST_DRAIN {
        return Err(Problem::new(Kind::Invalid).detail("drain_secs is 600 at most"));
    }
    Ok(Duration::from_secs(secs))
}
