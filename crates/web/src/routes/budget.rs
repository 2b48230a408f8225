//! The operators' page. It isn't among the public listener's routes: who has the operators' listener answers with it.

use super::Visit;
use crate::{
    pages::{BudgetPage, ServerBudget},
    text::console::Section,
};
use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use portero_admin_api::Operator;
use portero_edge::Problem;

/// Where the page is mounted.
pub const BUDGET: &str = "/budget";

/// Every server's connections, as a page. With `live=no` in its query it doesn't look again by itself.
///
/// # Errors
/// The page can't be drawn.
pub fn budget_page(
    request: &HttpRequest,
    operator: &Operator,
    servers: Vec<ServerBudget>,
) -> Result<HttpResponse, Problem> {
    let visit = Visit::of(request);
    let live = !request.query_string().split('&').any(|pair| pair == "live=no");
    let frame = visit.console(BUDGET, Section::Connections, Some(&operator.name));
    let page = BudgetPage { frame, servers, live };
    visit.page(StatusCode::OK, &page)
}
