//! The routes of the admin API, in one table: what is served and what the document says are the same rows.

use crate::{Operator, audit, document, jobs, migrations, operators, servers, tenants};
use actix_web::{
    Error, HttpMessage, HttpResponse,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::{Next, from_fn},
    web,
};
use portero_edge::{Kind, Problem};

/// What every path of the table begins with.
const PREFIX: &str = "/admin/v1";

/// One operation, as the document tells it.
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    /// Names in the query.
    pub(crate) query: &'static [&'static str],
    /// The schema of its body; empty where it takes none.
    pub(crate) body: &'static str,
    pub(crate) status: &'static str,
    /// The schema of its answer.
    pub(crate) answer: &'static str,
}

macro_rules! routes {
    ($($method:ident $path:literal $handler:path, $summary:literal, [$($query:literal),*], $body:literal, $status:literal $answer:literal;)*) => {
        /// Every operation.
        pub(crate) const OPERATIONS: &[Operation] = &[$(Operation {
            method: stringify!($method),
            path: $path,
            summary: $summary,
            query: &[$($query),*],
            body: $body,
            status: $status,
            answer: $answer,
        }),*];

        /// Adds the routes, for the operators' listener.
        pub fn configure(config: &mut web::ServiceConfig) {
            let scope = web::scope(PREFIX).wrap(from_fn(operators_only));
            $(let scope = scope.route(&$path[PREFIX.len()..], web::$method().to($handler));)*
            config
                .service(scope.default_service(web::to(nothing_here)))
                .route("/openapi.json", web::get().to(document::show));
        }
    };
}

routes! {
    get "/admin/v1/tenants" tenants::list, "Tenants, by subdomain", ["search", "status", "after", "limit"], "", "200" "TenantList";
    post "/admin/v1/tenants" tenants::create, "Create a company; a job does it", [], "NewTenant", "202" "NewTenantAccepted";
    get "/admin/v1/tenants/{subdomain}" tenants::show, "A tenant", [], "", "200" "Tenant";
    post "/admin/v1/tenants/{subdomain}/pause" tenants::pause, "Shut its door; its data is kept", [], "Pause", "200" "Change";
    post "/admin/v1/tenants/{subdomain}/resume" tenants::resume, "Open its door again", [], "", "200" "Change";
    put "/admin/v1/tenants/{subdomain}/plan" tenants::plan, "Give it a plan, and the weight of that", [], "Plan", "200" "Change";
    put "/admin/v1/tenants/{subdomain}/weight" tenants::weight, "Set its part of a server that is short of connections", [], "Weight", "200" "Change";
    post "/admin/v1/tenants/{subdomain}/rename" tenants::rename, "Give it another subdomain", [], "Rename", "200" "Change";
    post "/admin/v1/tenants/{subdomain}/delete" tenants::delete, "Delete it; its data is kept for 30 days", [], "Delete", "200" "Change";
    post "/admin/v1/tenants/{subdomain}/undelete" tenants::undelete, "Bring it back", [], "", "200" "Change";
    post "/admin/v1/tenants/{subdomain}/purge" tenants::purge, "Remove it for good; a job does it", [], "PurgeRequest", "202" "Purge";
    get "/admin/v1/servers" servers::list, "The servers that hold companies' databases", [], "", "200" "ServerList";
    post "/admin/v1/servers" servers::add, "Add a server, after it was looked at", [], "NewServer", "201" "Server";
    get "/admin/v1/servers/{name}" servers::show, "A server, and how its connections are divided", [], "", "200" "Server";
    post "/admin/v1/servers/{name}/drain" servers::drain, "Put no new companies on it", [], "", "200" "Server";
    post "/admin/v1/servers/{name}/undrain" servers::undrain, "Put new companies on it again", [], "", "200" "Server";
    get "/admin/v1/jobs" jobs::list, "Jobs, newest first", ["state", "limit"], "", "200" "JobList";
    get "/admin/v1/jobs/{id}" jobs::show, "A job and its steps", [], "", "200" "Job";
    post "/admin/v1/jobs/{id}/retry" jobs::retry, "Let a stuck job go on", [], "", "200" "Job";
    post "/admin/v1/jobs/{id}/abandon" jobs::abandon, "Give a job up that is stuck; again, remove what it left", [], "Confirm", "200" "Leftovers";
    get "/admin/v1/migrations" migrations::list, "Runs of migrations, newest first", ["after", "limit"], "", "200" "MigrationRunList";
    get "/admin/v1/migrations/{run}" migrations::show, "A run, its waves, and what became of its tenants", ["state", "after", "limit"], "", "200" "MigrationRunDetails";
    get "/admin/v1/audit" audit::list, "What was done and refused, newest first", ["tenant", "actor", "since", "before", "limit"], "", "200" "AuditList";
    get "/admin/v1/audit/verify" audit::verify, "Follow the audit log, and say whether it holds together", ["expect"], "", "200" "AuditReport";
    get "/admin/v1/operators" operators::list, "Operators, by name", [], "", "200" "OperatorList";
    post "/admin/v1/operators" operators::add, "Add an operator; the token is shown this once", [], "NewOperator", "201" "OperatorToken";
    post "/admin/v1/operators/{name}/disable" operators::disable, "Shut an operator out", [], "", "200" "Operator";
    post "/admin/v1/operators/{name}/rotate" operators::rotate, "Give an operator another token", [], "", "200" "OperatorToken";
    get "/admin/v1/doctor" servers::doctor, "Every check, each with what to do about it", [], "", "200" "Checks";
}

/// Before anything else: who is nobody here learns neither what is there nor what a body should look like. (A handler's
/// extractors run side by side, so the one that reads the body may be the first to complain.)
async fn operators_only<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    match Operator::of(request.request()).await {
        Ok(operator) => {
            request.extensions_mut().insert(operator);
            Ok(next.call(request).await?.map_into_left_body())
        }
        // An answer, so that the layer around it finds it and says it as it says all of them.
        Err(problem) => Ok(request.error_response(problem).map_into_right_body()),
    }
}

async fn nothing_here() -> Result<HttpResponse, Problem> {
    Err(Problem::new(Kind::NotFound))
}
