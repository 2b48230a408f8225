//! Servers: list, show, add, drain; and the doctor's checks.

use crate::Operator;
use actix_web::{HttpResponse, web};
use portero_edge::{Json, Problem};
use portero_kernel::SecretString;
use serde::Deserialize;
use serde_json::json;

type Answer = Result<HttpResponse, Problem>;

pub(crate) async fn list(operator: Operator) -> Answer {
    Ok(HttpResponse::Ok().json(json!({ "servers": operator.control().servers().await? })))
}

pub(crate) async fn show(operator: Operator, name: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok().json(operator.control().server(&name).await.map_err(crate::problems::server)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewServer {
    name: String,
    url: String,
}

pub(crate) async fn add(operator: Operator, Json(body): Json<NewServer>) -> Answer {
    let url = SecretString::from(body.url);
    Ok(HttpResponse::Created()
        .json(operator.control().server_add(&body.name, &url).await.map_err(crate::problems::server)?))
}

pub(crate) async fn drain(operator: Operator, name: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok()
        .json(operator.control().server_drain(&name).await.map_err(crate::problems::server)?))
}

pub(crate) async fn undrain(operator: Operator, name: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok()
        .json(operator.control().server_undrain(&name).await.map_err(crate::problems::server)?))
}

pub(crate) async fn doctor(operator: Operator) -> Answer {
    Ok(HttpResponse::Ok().json(json!({ "checks": operator.control().doctor().await })))
}
