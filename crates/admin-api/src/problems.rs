//! What a program reads of a use case that was refused. Operators may read more than strangers: their own errors say what
//! to do next. What came from elsewhere stays in the log.

use portero_control::{JobError, MigrationError, OperatorError, ServerError, SignUpError, TenantError};
use portero_edge::{Kind, Problem};
use portero_kernel::Subdomain;

/// Whether the body repeats what is about to be harmed.
pub(crate) fn confirmed(name: &str, typed: &str) -> Result<(), Problem> {
    if typed == name {
        return Ok(());
    }
    Err(Problem::new(Kind::Invalid).detail("confirm has to repeat the subdomain: nothing was done"))
}

pub(crate) fn tenant(error: TenantError) -> Problem {
    let told = error.to_string();
    let kind = match error {
        TenantError::Registry(error) => return error.into(),
        TenantError::Server(error) => return Problem::internal(error),
        TenantError::HalfShut(..) => Kind::TenantDatabaseUnavailable,
        TenantError::NotFound(_) => Kind::NotFound,
        TenantError::NewName(..) => Kind::Invalid,
        TenantError::Taken(_) => return Problem::taken("to").detail(told),
        TenantError::LookAlike(name, other) => return look_alike("to", &name, &other),
        TenantError::InGrace { subdomain, until } => {
            return Problem::new(Kind::Conflict).detail(format!(
                "{subdomain} is deleted, and its data is kept until {until}: `before_grace` to purge it before that"
            ));
        }
        _ => Kind::Conflict,
    };
    Problem::new(kind).detail(told)
}

pub(crate) fn server(error: ServerError) -> Problem {
    let told = error.to_string();
    let kind = match error {
        ServerError::Registry(error) => return error.into(),
        ServerError::NotFound(_) => Kind::NotFound,
        ServerError::Taken(_) => return Problem::taken("name").detail(told),
        _ => Kind::Invalid,
    };
    Problem::new(kind).detail(told)
}

pub(crate) fn job(error: JobError) -> Problem {
    let told = error.to_string();
    let kind = match error {
        JobError::Registry(error) => return error.into(),
        JobError::NotFound(_) => Kind::NotFound,
        _ => Kind::Conflict,
    };
    Problem::new(kind).detail(told)
}

pub(crate) fn migration(error: MigrationError) -> Problem {
    let told = error.to_string();
    let kind = match error {
        MigrationError::Registry(error) => return error.into(),
        MigrationError::NotFound(_) => Kind::NotFound,
        _ => Kind::Conflict,
    };
    Problem::new(kind).detail(told)
}

pub(crate) fn operator(error: OperatorError) -> Problem {
    let told = error.to_string();
    let kind = match error {
        OperatorError::Registry(error) => return error.into(),
        OperatorError::NotFound(_) => Kind::NotFound,
        OperatorError::Name(_) => Kind::Invalid,
        OperatorError::Taken(_) => return Problem::taken("name").detail(told),
    };
    Problem::new(kind).detail(told)
}

pub(crate) fn sign_up(error: SignUpError) -> Problem {
    match error {
        SignUpError::Invalid(errors) => Problem::invalid(errors),
        SignUpError::Taken(_) => Problem::taken("subdomain"),
        SignUpError::KeyReused => Problem::new(Kind::KeyReused),
        SignUpError::LookAlike(name, other) => look_alike("subdomain", &name, &other),
        SignUpError::Registry(error) => error.into(),
        error => Problem::new(Kind::Overloaded).detail(error.to_string()),
    }
}

fn look_alike(field: &'static str, name: &Subdomain, other: &str) -> Problem {
    Problem::taken(field).detail(format!(
        "{name} reads like {other}, which is another company's or held for one: `allow_look_alike` to have it nonetheless"
    ))
}
