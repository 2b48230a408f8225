//! Bodies: JSON that is exactly what was asked for, and forms; bounded in size and time, and errors that name the field.
//!
//! actix runs a handler's extractors side by side: one that takes a body must take no connection beside it, or a body
//! that doesn't come holds the connection. Such handlers ask for the connection themselves, after the body.

use crate::{FieldProblem, Kind, Problem};
use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header,
    web::{Bytes, BytesMut},
};
use futures_util::{StreamExt, future::LocalBoxFuture};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Bytes that a body may have at most.
pub const MAX_BODY: usize = 64 * 1024;

/// How long a body may take, as a whole.
const DEADLINE: Duration = Duration::from_secs(10);

/// A JSON body. Unknown fields are refused by the types themselves: `#[serde(deny_unknown_fields)]`.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A form, urlencoded.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let body = read(&request, payload, "application/json").await?;
            parse_json(&body).map(Self)
        })
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Form<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let body = read(&request, payload, "application/x-www-form-urlencoded").await?;
            serde_urlencoded::from_bytes(&body)
                .map(Self)
                .map_err(|error| Problem::new(Kind::Malformed).detail(error.to_string()))
        })
    }
}

async fn read(request: &HttpRequest, mut payload: Payload, media_type: &str) -> Result<Bytes, Problem> {
    let told =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let told = told.split(';').next().unwrap_or_default().trim();
    if !told.eq_ignore_ascii_case(media_type) {
        return Err(Problem::new(Kind::UnsupportedMediaType).detail(format!("send {media_type}")));
    }
    let too_large = || Problem::new(Kind::TooLarge).detail(format!("at most {MAX_BODY} bytes"));
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    let until = Instant::now() + DEADLINE;
    let mut body = BytesMut::new();
    while let Some(chunk) =
        timeout_at(until, payload.next()).await.map_err(|_| Problem::new(Kind::TooSlow))?
    {
        let chunk = chunk.map_err(|error| match error {
            PayloadError::Overflow => too_large(),
            _ => Problem::new(Kind::Malformed).detail("the body ended early or is garbled"),
        })?;
        if body.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // serde would take a list for a struct, field by field in their order.
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if is_list && is_json(body) {
        return Err(Problem { errors: vec![field_problem(".", "")], ..Problem::new(Kind::Invalid) });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        // serde calls a number where an enum should be a mistake of syntax: what is JSON has a field at fault.
        if inner.is_data() || is_json(body) {
            Problem { errors: vec![field_problem(&path, &inner.to_string())], ..Problem::new(Kind::Invalid) }
        } else {
            malformed(&inner)
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(parsed)
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Kind::Malformed).detail(format!(
        "the body is not JSON: line {}, column {}",
        error.line(),
        error.column()
    ))
}

/// serde names unknown, missing and doubled fields in backticks in its message; a wrong type is at the path.
fn field_problem(path: &str, message: &str) -> FieldProblem {
    let named = message.split('`').nth(1).unwrap_or_default();
    let inside = |name: &str| {
        if path == "." || path.ends_with(name) { name_or(path, name) } else { format!("{path}.{name}") }
    };
    let (field, code, what) = if message.starts_with("unknown field") {
        (inside(named), "unknown-field", "is not a field of this request")
    } else if message.starts_with("missing field") {
        (inside(named), "required", "is required")
    } else if message.starts_with("duplicate field") {
        (inside(named), "duplicate-field", "is there twice")
    } else if message.starts_with("unknown variant") {
        (path.to_owned(), "not-allowed", "is not one of the allowed values")
    } else {
        (path.to_owned(), "wrong-type", "has the wrong type")
    };
    let field = if field == "." { "body".to_owned() } else { field };
    FieldProblem::new(field, code, what)
}

fn name_or(path: &str, name: &str) -> String {
    if path == "." { name.to_owned() } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by Debug alone")]
    struct Outer {
        name: String,
        admin: Inner,
        #[serde(default)]
        colour: Option<Colour>,
    }

    #[derive(Deserialize, Debug)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
    }

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by Debug alone")]
    struct Inner {
        email: String,
    }

    #[test]
    fn an_error_names_the_field() {
        for (body, field, code) in [
            (r#"{"name":1,"admin":{"email":"a"}}"#, "name", "wrong-type"),
            (r#"{"name":"a","admin":{"email":[]}}"#, "admin.email", "wrong-type"),
            (r#"{"name":"a","admin":{}}"#, "admin.email", "required"),
            (r#"{"admin":{"email":"a"}}"#, "name", "required"),
            (r#"{"name":"a","admin":{"email":"a","x":1}}"#, "admin.x", "unknown-field"),
            (r#"{"name":"a","tenant_id":"b","admin":{"email":"a"}}"#, "tenant_id", "unknown-field"),
            (r#"{"name":"a","name":"b","admin":{"email":"a"}}"#, "name", "duplicate-field"),
            (r#"{"name":"a","colour":1}"#, "colour", "wrong-type"),
            (r#"{"name":"a","colour":[]}"#, "colour", "wrong-type"),
            (r#"{"name":"a","colour":{}}"#, "colour", "wrong-type"),
            (r#"{"name":"a","colour":true}"#, "colour", "wrong-type"),
            (r#"{"name":"a","colour":"blue"}"#, "colour", "not-allowed"),
            (r#"[]"#, "body", "wrong-type"),
            (r#" ["a",{"email":"a"},null]"#, "body", "wrong-type"),
            (r#""x""#, "body", "wrong-type"),
        ] {
            let problem = parse_json::<Outer>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.kind, Kind::Invalid, "{body}");
            assert_eq!((problem.errors[0].field.as_str(), problem.errors[0].code), (field, code), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        let deep = "[".repeat(100_000);
        for body in ["", "{", "nope", r#"{"name":"a","admin":{"email":"a"}} x"#, "\u{feff}{}", deep.as_str()]
        {
            let problem = parse_json::<serde_json::Value>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.kind, Kind::Malformed, "{:.20}", body);
        }
    }
}
