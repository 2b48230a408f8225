//! The operators' page. It isn't among the public listener's routes: who has the operators' listener answers with it.

use super::{Visit, static_file};
use crate::pages::{BudgetPage, Frame, ServerBudget};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    },
    web,
};
use portero_edge::{Problem, read};

/// Where the page is mounted.
pub const BUDGET: &str = "/budget";

/// Adds what the operators' page fetches.
pub fn configure_operators(config: &mut web::ServiceConfig) {
    config.service(web::resource("/static/{name}").route(read().to(static_file)));
}

/// Every server's connections, as a page. With `live=no` in its query it doesn't look again by itself.
///
/// # Errors
/// The page can't be drawn.
pub fn budget_page(request: &HttpRequest, servers: Vec<ServerBudget>) -> Result<HttpResponse, Problem> {
    let visit = Visit::of(request);
    let live = !request.query_string().split('&').any(|pair| pair == "live=no");
    let page = BudgetPage { frame: Frame::apex(visit.lang, BUDGET), servers, live };
    let mut response = visit.page(StatusCode::OK, &page)?;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
