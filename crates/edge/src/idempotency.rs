//! The `Idempotency-Key` of a request: how it is read at every door. What it means is the use case's.

use crate::{Kind, Problem};
use actix_web::HttpRequest;

/// The key of a request, as `parse` reads it; nothing where none came.
///
/// # Errors
/// [`Kind::Malformed`] where it is none, or came twice.
pub fn idempotency_key<K>(
    request: &HttpRequest,
    parse: impl FnOnce(&str) -> Option<K>,
) -> Result<Option<K>, Problem> {
    let mut keys = request.headers().get_all("idempotency-key");
    let key = match (keys.next(), keys.next()) {
        (None, _) => return Ok(None),
        (Some(key), None) => key.to_str().ok().and_then(parse),
        (Some(_), Some(_)) => None,
    };
    let malformed = || {
        Problem::new(Kind::Malformed).detail("Idempotency-Key takes 1 to 255 visible ASCII characters, once")
    };
    key.map(Some).ok_or_else(malformed)
}
