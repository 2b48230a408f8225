//! What goes wrong, as clients read it: RFC 9457 with a stable `type`. No SQL, no other tenant, nothing internal.

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use portero_kernel::{FieldError, with_causes};
use portero_pg::{Class, classify};
use portero_registry::RegistryError;
use portero_router::AcquireError;
use serde::Serialize;
use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $status:ident $code:literal $title:literal,)*) => {
        /// The kinds of problems. Their codes end the `type` that clients may rely on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The stable name.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            /// What it means, in English.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)* }
            }
        }
    };
}

kinds! {
    /// The `Host` isn't one, or contradicts the request line.
    HostInvalid BAD_REQUEST "host-invalid" "The host of this request is not understood",
    /// The operators' listener doesn't answer to this host.
    Misdirected MISDIRECTED_REQUEST "misdirected" "This server does not answer to this host: see PORTERO_ADMIN_HOSTS",
    /// This process is one half of the platform, and the host is for the other.
    NotServedHere MISDIRECTED_REQUEST "not-served-here" "Another process of this platform answers for this host",
    /// Nobody has this host.
    TenantNotFound NOT_FOUND "tenant-not-found" "No company is at this address",
    /// Its database is being made.
    TenantProvisioning SERVICE_UNAVAILABLE "tenant-provisioning" "This company is being set up: try again in a moment",
    /// Its schema waits for a migration, or changed under the request.
    TenantUpgrading SERVICE_UNAVAILABLE "tenant-upgrading" "This company is being upgraded: try again in a moment",
    /// Its door is shut.
    TenantPaused SERVICE_UNAVAILABLE "tenant-paused" "This company is paused",
    /// It is deleted, and its name not free.
    TenantDeleted GONE "tenant-deleted" "This company has been deleted",
    /// It has another name now. What only reads is led there instead.
    TenantMoved MISDIRECTED_REQUEST "tenant-moved" "This company is at another address now",
    /// Its database can't be reached.
    TenantDatabaseUnavailable SERVICE_UNAVAILABLE "tenant-database-unavailable" "This company's database can't be reached: try again in a moment",
    /// No connection within the deadline, or too many requests of this tenant under way.
    TenantBusy SERVICE_UNAVAILABLE "tenant-busy" "This company is very busy: try again in a moment",
    /// More requests of this tenant in a short time than it may make.
    TenantRateLimited TOO_MANY_REQUESTS "tenant-rate-limited" "This company makes too many requests at once: try again in a moment",
    /// The registry can't be reached: signing up has to wait.
    RegistryUnavailable SERVICE_UNAVAILABLE "registry-unavailable" "Signing up is not possible at this moment: try again soon",
    /// More passwords to check than this machine should at once.
    Overloaded SERVICE_UNAVAILABLE "overloaded" "Too much at once: try again in a moment",
    /// No such page or thing.
    NotFound NOT_FOUND "not-found" "There is nothing here",
    /// The path is there, for other methods.
    MethodNotAllowed METHOD_NOT_ALLOWED "method-not-allowed" "This address is not for that method",
    /// Not logged in, or not any more.
    Unauthorized UNAUTHORIZED "unauthorized" "Log in first",
    /// Unknown user or wrong password; which of them is nobody's business.
    WrongCredentials UNAUTHORIZED "wrong-credentials" "The e-mail address or the password is wrong",
    /// Logged in, and not allowed.
    Forbidden FORBIDDEN "forbidden" "Your role does not allow this",
    /// A page of another origin sent it.
    CrossOrigin FORBIDDEN "cross-origin" "This request came from another site and was refused",
    /// The name or the address is somebody's already.
    Taken CONFLICT "taken" "This is already taken",
    /// It isn't in a state for that.
    Conflict CONFLICT "conflict" "This is not possible as things are now",
    /// A company without an admin could never be opened again.
    LastAdmin CONFLICT "last-admin" "The last admin of a company can't be removed, disabled or made a member",
    /// Sign-ups are closed.
    SignUpsClosed FORBIDDEN "sign-ups-closed" "Sign-ups are closed at the moment",
    /// It takes an invitation to sign up, and this is none, or no longer.
    InvitationNeeded FORBIDDEN "invitation-needed" "Signing up takes an invitation that is still good",
    /// The link of a mail was used, has expired, or never was one.
    LinkSpent GONE "link-spent" "This link is no longer good",
    /// The same key came with another body.
    KeyReused UNPROCESSABLE_ENTITY "idempotency-key-reused" "This Idempotency-Key was used for another request",
    /// Fields at fault; they are named.
    Invalid UNPROCESSABLE_ENTITY "invalid" "Some fields need your attention",
    /// A body that can't be read at all.
    Malformed BAD_REQUEST "malformed" "The request can't be read",
    /// A body that doesn't come.
    TooSlow REQUEST_TIMEOUT "too-slow" "The request took too long to arrive",
    /// A body over the limit.
    TooLarge PAYLOAD_TOO_LARGE "too-large" "The request is too large",
    /// A body of another media type.
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "The request has another content type than expected",
    /// More from one address than is allowed.
    TooManyRequests TOO_MANY_REQUESTS "too-many-requests" "Too many requests: try again later",
    /// Our mistake.
    Internal INTERNAL_SERVER_ERROR "internal" "Something went wrong on our side",
}

/// A problem on its way to a client.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Which.
    pub kind: Kind,
    /// More about this occurrence, for the client to read.
    pub detail: Option<String>,
    /// Fields at fault.
    pub errors: Vec<FieldProblem>,
    /// Seconds after which another try makes sense, where it is known better than by the kind.
    pub wait_secs: Option<u64>,
    /// Where to go instead: the answer is a redirect, and nothing else.
    pub(crate) instead: Option<String>,
    /// What is behind it, for our own log.
    pub(crate) cause: Option<String>,
}

/// A field at fault, on the wire.
#[derive(Debug, Clone, Serialize)]
pub struct FieldProblem {
    /// The field, with dots for nesting.
    pub field: String,
    /// A stable name of what is wrong.
    pub code: &'static str,
    /// The same in English.
    pub message: String,
    /// The number of characters that a length was held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl FieldProblem {
    /// A field at fault, in words.
    #[must_use]
    pub fn new(field: impl Into<String>, code: &'static str, what: &str) -> Self {
        let field = field.into();
        Self { message: format!("{field} {what}"), field, code, limit: None }
    }
}

impl From<FieldError> for FieldProblem {
    fn from(error: FieldError) -> Self {
        let problem = Self::new(error.field, error.refusal.code(), &error.refusal.to_string());
        Self { limit: error.refusal.limit(), ..problem }
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    type_: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldProblem],
    request_id: &'a str,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self { kind, detail: None, errors: Vec::new(), wait_secs: None, instead: None, cause: None }
    }

    /// With more about this occurrence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Answered by the way to where it is.
    #[must_use]
    pub(crate) fn to(mut self, url: String) -> Self {
        self.instead = Some(url);
        self
    }

    /// With the seconds after which another try makes sense.
    #[must_use]
    pub const fn wait(mut self, secs: u64) -> Self {
        self.wait_secs = Some(secs);
        self
    }

    /// Fields at fault.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self { errors: errors.into_iter().map(FieldProblem::from).collect(), ..Self::new(Kind::Invalid) }
    }

    /// A field whose value is somebody's already.
    #[must_use]
    pub fn taken(field: &str) -> Self {
        Self { errors: vec![FieldProblem::new(field, "taken", "is already taken")], ..Self::new(Kind::Taken) }
    }

    /// Our mistake: the cause goes to the log, with the request's id beside it, and not to the client.
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Kind::Internal).because(error.into().as_ref())
    }

    fn because(mut self, error: &dyn std::error::Error) -> Self {
        self.cause = Some(with_causes(error));
        self
    }

    /// The nearest problem to a bare status that a library answered with.
    #[must_use]
    pub fn from_status(status: StatusCode) -> Self {
        Self::new(match status {
            StatusCode::NOT_FOUND => Kind::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Kind::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::UnsupportedMediaType,
            status if status.is_client_error() => Kind::Malformed,
            _ => Kind::Internal,
        })
    }

    /// Seconds after which another try makes sense.
    #[must_use]
    pub const fn retry_after_secs(&self) -> Option<u64> {
        match self.kind {
            _ if self.wait_secs.is_some() => self.wait_secs,
            Kind::TenantProvisioning | Kind::TenantBusy | Kind::Overloaded => Some(1),
            Kind::TenantUpgrading | Kind::TenantDatabaseUnavailable | Kind::RegistryUnavailable => Some(5),
            Kind::TenantPaused => Some(60),
            _ => None,
        }
    }

    /// As `application/problem+json`.
    #[must_use]
    pub fn to_json(&self, request_id: &str) -> String {
        let wire = Wire {
            type_: format!("urn:portero:problem:{}", self.kind.code()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: self.detail.as_deref(),
            errors: &self.errors,
            request_id,
        };
        serde_json::to_string(&wire).expect("strings and numbers are JSON")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.title())
    }
}

/// The body is written by [`crate::door()`], which knows the request.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(secs) = self.retry_after_secs() {
            response.insert_header((header::RETRY_AFTER, secs.to_string()));
        }
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.finish()
    }
}

impl From<AcquireError> for Problem {
    fn from(error: AcquireError) -> Self {
        let kind = match error {
            AcquireError::Provisioning => Kind::TenantProvisioning,
            AcquireError::Paused => Kind::TenantPaused,
            AcquireError::Deleted => Kind::TenantDeleted,
            AcquireError::Upgrading => Kind::TenantUpgrading,
            AcquireError::Busy => Kind::TenantBusy,
            AcquireError::Unavailable => Kind::TenantDatabaseUnavailable,
        };
        Self::new(kind).because(&error)
    }
}

/// An error of a statement in a tenant's database.
impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        match classify(&error) {
            Class::Unavailable | Class::Refused => Self::new(Kind::TenantDatabaseUnavailable).because(&error),
            Class::TooManyConnections | Class::Timeout | Class::Conflict => Self::new(Kind::TenantBusy),
            Class::BadText => Self::new(Kind::Malformed),
            // A migration came between two statements of a transaction; it is over by now.
            Class::Stale => Self::new(Kind::TenantUpgrading).because(&error).wait(1),
            _ => Self::internal(error),
        }
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Unavailable(_) => Self::new(Kind::RegistryUnavailable).because(&error),
            RegistryError::SubdomainTaken => Self::new(Kind::Taken),
            error => Self::internal(error),
        }
    }
}
