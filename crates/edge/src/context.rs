//! What handlers take: whose door this is, and a connection to that tenant's database.

use crate::{Edge, Kind, Problem};
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, guard::GuardContext, web};
use futures_util::future::{LocalBoxFuture, Ready, ready};
use portero_kernel::{CompanyName, Subdomain, TenantId};
use portero_pg::TenantDb;
use portero_router::Route;
use std::{ops, sync::Arc};

/// Where the gate let the request pass to.
#[derive(Clone)]
pub(crate) enum Here {
    Apex,
    Tenant(Arc<Route>),
}

/// For routes of the apex.
#[must_use]
pub fn at_apex(context: &GuardContext<'_>) -> bool {
    matches!(context.req_data().get::<Here>(), Some(Here::Apex))
}

/// For routes of tenants' hosts.
#[must_use]
pub fn at_tenant(context: &GuardContext<'_>) -> bool {
    matches!(context.req_data().get::<Here>(), Some(Here::Tenant(_)))
}

/// The tenant at whose door the request stands. Only the gate makes one.
///
/// ```compile_fail
/// // The route inside is private: a handler can't make up a tenant.
/// let forged = portero_edge::TenantCtx { route: todo!() };
/// ```
#[derive(Clone)]
pub struct TenantCtx {
    route: Arc<Route>,
}

impl TenantCtx {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> TenantId {
        self.route.tenant
    }

    /// The company's name.
    #[must_use]
    pub fn name(&self) -> &CompanyName {
        &self.route.name
    }

    /// Its subdomain.
    #[must_use]
    pub fn subdomain(&self) -> &Subdomain {
        &self.route.subdomain
    }

    /// Reads where the gate let this request pass to.
    ///
    /// # Errors
    /// [`Kind::NotFound`] on the apex.
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        match request.extensions().get::<Here>() {
            Some(Here::Tenant(route)) => Ok(Self { route: Arc::clone(route) }),
            _ => Err(Problem::new(Kind::NotFound)),
        }
    }
}

impl FromRequest for TenantCtx {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

/// A connection to the database of the tenant at whose door the request stands.
pub struct Db(TenantDb);

impl Db {
    /// Borrows one from the tenant's pool.
    ///
    /// # Errors
    /// What the client reads where none is to be had.
    pub async fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let context = TenantCtx::of(request)?;
        let edge = request
            .app_data::<web::Data<Edge>>()
            .ok_or_else(|| Problem::internal("the edge is not configured"))?;
        Ok(Self(edge.router.acquire(&context.route).await?))
    }
}

impl FromRequest for Db {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request).await })
    }
}

impl ops::Deref for Db {
    type Target = TenantDb;

    fn deref(&self) -> &TenantDb {
        &self.0
    }
}

impl ops::DerefMut for Db {
    fn deref_mut(&mut self) -> &mut TenantDb {
        &mut self.0
    }
}
