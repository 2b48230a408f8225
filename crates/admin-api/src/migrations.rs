//! Runs of migrations: list, show. What begins one is the command line, where its files are.

use crate::{Operator, limit};
use actix_web::{HttpResponse, web};
use portero_control::{MigratedFilter, MigrationState};
use portero_edge::{Kind, Problem};
use portero_kernel::MigrationRunId;
use serde::Deserialize;

type Answer = Result<HttpResponse, Problem>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    after: Option<String>,
    limit: Option<i64>,
}

pub(crate) async fn list(operator: Operator, query: web::Query<List>) -> Answer {
    let after: Option<MigrationRunId> = query
        .after
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|_| Problem::new(Kind::Invalid).detail("after is the id of a run"))?;
    Ok(HttpResponse::Ok().json(operator.control().migration_runs(after, limit(query.limit)?).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Show {
    state: Option<String>,
    after: Option<i32>,
    limit: Option<i64>,
}

pub(crate) async fn show(operator: Operator, run: web::Path<String>, query: web::Query<Show>) -> Answer {
    let state = match query.state.as_deref() {
        None => None,
        Some(state) => Some(MigrationState::from_code(state).ok_or_else(|| {
            Problem::new(Kind::Invalid).detail("state is pending, running, done, failed or skipped")
        })?),
    };
    let filter = MigratedFilter { state, after: query.after.unwrap_or(0) };
    let limit = limit(query.limit)?;
    let id = operator.control().migration_find(&run).await.map_err(crate::problems::migration)?;
    let shown = operator.control().migration_details(id, filter, limit).await;
    Ok(HttpResponse::Ok().json(shown.map_err(crate::problems::migration)?))
}
