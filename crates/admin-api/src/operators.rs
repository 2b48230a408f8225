//! Operators: list, add, disable, rotate.

use crate::Operator;
use actix_web::{HttpResponse, web};
use portero_auth::OperatorToken;
use portero_control::OperatorView;
use portero_edge::{Json, Problem};
use portero_kernel::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

type Answer = Result<HttpResponse, Problem>;

pub(crate) async fn list(operator: Operator) -> Answer {
    Ok(HttpResponse::Ok().json(json!({ "operators": operator.control().operators().await? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOperator {
    name: String,
}

pub(crate) async fn add(operator: Operator, Json(body): Json<NewOperator>) -> Answer {
    let (added, token) =
        operator.control().operator_add(&body.name).await.map_err(crate::problems::operator)?;
    Ok(HttpResponse::Created().json(with_token(&added, &token)))
}

pub(crate) async fn disable(operator: Operator, name: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok()
        .json(operator.control().operator_disable(&name).await.map_err(crate::problems::operator)?))
}

pub(crate) async fn rotate(operator: Operator, name: web::Path<String>) -> Answer {
    let (rotated, token) =
        operator.control().operator_rotate(&name).await.map_err(crate::problems::operator)?;
    Ok(HttpResponse::Ok().json(with_token(&rotated, &token)))
}

/// The one time that it is shown.
fn with_token(operator: &OperatorView, token: &OperatorToken) -> Value {
    json!({ "operator": operator, "token": token.to_text().expose_secret() })
}
