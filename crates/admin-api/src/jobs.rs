//! Jobs: list, show, retry, abandon.

use crate::{Operator, limit, problems::confirmed};
use actix_web::{HttpResponse, web};
use portero_control::{JobDetails, JobFilter};
use portero_edge::{Json, Kind, Problem};
use serde::Deserialize;
use serde_json::json;

type Answer = Result<HttpResponse, Problem>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    state: Option<String>,
    limit: Option<i64>,
}

pub(crate) async fn list(operator: Operator, query: web::Query<List>) -> Answer {
    let filter = match query.state.as_deref() {
        None | Some("all") => JobFilter::All,
        Some("open") => JobFilter::Open,
        Some("stuck") => JobFilter::Stuck,
        Some("failed") => JobFilter::Failed,
        Some("done") => JobFilter::Done,
        Some(_) => {
            return Err(Problem::new(Kind::Invalid).detail("state is all, open, stuck, failed or done"));
        }
    };
    let jobs = operator.control().jobs(filter, limit(query.limit)?).await?;
    Ok(HttpResponse::Ok().json(json!({ "jobs": jobs })))
}

pub(crate) async fn show(operator: Operator, id: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok().json(find(&operator, &id).await?))
}

pub(crate) async fn retry(operator: Operator, id: web::Path<String>) -> Answer {
    let job = find(&operator, &id).await?;
    operator.control().job_retry(job.id).await.map_err(crate::problems::job)?;
    Ok(HttpResponse::Ok().json(find(&operator, &id).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confirm {
    confirm: String,
}

pub(crate) async fn abandon(operator: Operator, id: web::Path<String>, Json(body): Json<Confirm>) -> Answer {
    let job = find(&operator, &id).await?;
    confirmed(&job.subdomain, &body.confirm)?;
    Ok(HttpResponse::Ok().json(operator.control().job_abandon(job.id).await.map_err(crate::problems::job)?))
}

async fn find(operator: &Operator, id: &str) -> Result<JobDetails, Problem> {
    operator.control().job_details(id).await.map_err(crate::problems::job)
}
