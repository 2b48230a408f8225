//! The document of the admin API, OpenAPI 3.1: made of the table that the routes are made of, and of the schemas here.

use crate::routes::OPERATIONS;
use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

/// It tells no secret: what is in it is in the source, too.
pub(crate) async fn show() -> HttpResponse {
    HttpResponse::Ok().json(document())
}

/// The whole document.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let mut parameters: Vec<Value> = path_parameters(operation.path)
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        // A page of one goes by the places in it.
        let of_a_run = operation.path == "/admin/v1/migrations/{run}";
        parameters.extend(operation.query.iter().map(|name| {
            let number = ["limit", "before"].contains(name) || (*name == "after" && of_a_run);
            let of = if number { "integer" } else { "string" };
            json!({ "name": name, "in": "query", "schema": { "type": of } })
        }));
        if operation.body == "NewTenant" {
            let told = "Sent again with the same key and body, it has the same answer for a day";
            let of = json!({ "type": "string", "maxLength": 255 });
            parameters.push(
                json!({ "name": "Idempotency-Key", "in": "header", "description": told, "schema": of }),
            );
        }
        let mut told = json!({
            "summary": operation.summary,
            "parameters": parameters,
            "responses": {
                operation.status: {
                    "description": operation.summary,
                    "content": { "application/json": { "schema": reference(operation.answer) } },
                },
                "401": { "$ref": "#/components/responses/Problem" },
                "default": { "$ref": "#/components/responses/Problem" },
            },
        });
        if !operation.body.is_empty() {
            told["requestBody"] = json!({
                "required": true,
                "content": { "application/json": { "schema": reference(operation.body) } },
            });
        }
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = told;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Portero admin API", "version": "1" },
        "security": [{ "operator": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "operator": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `portero operator add`. Without an Authorization header, a session of the console is taken.",
                },
            },
            "responses": {
                "Problem": {
                    "description": "What went wrong (RFC 9457)",
                    "content": { "application/problem+json": { "schema": reference("Problem") } },
                },
            },
            "schemas": schemas(),
        },
    })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// An object with these required properties, and then these that may be left out.
fn object(required: &[(&str, &str)], optional: &[(&str, &str)]) -> Value {
    let properties: Map<String, Value> =
        required.iter().chain(optional).map(|(name, of)| ((*name).to_owned(), typed(of))).collect();
    let names: Vec<_> = required.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "properties": properties, "required": names })
}

/// `string`, `integer`, …; `time`; `?` behind it where it may be null; `[]` for a list; capitals for a schema of ours.
fn typed(of: &str) -> Value {
    if let Some(item) = of.strip_suffix("[]") {
        return json!({ "type": "array", "items": typed(item) });
    }
    if let Some(of) = of.strip_suffix('?') {
        return match typed(of) {
            Value::Object(mut one) if one.contains_key("type") => {
                let plain = one.remove("type");
                one.insert("type".to_owned(), json!([plain, "null"]));
                Value::Object(one)
            }
            other => json!({ "anyOf": [other, { "type": "null" }] }),
        };
    }
    match of {
        "time" => json!({ "type": "string", "format": "date-time" }),
        "uuid" => json!({ "type": "string", "format": "uuid" }),
        _ if of.starts_with(char::is_uppercase) => reference(of),
        _ => json!({ "type": of }),
    }
}

fn schemas() -> Value {
    let tenant = [
        ("id", "uuid"),
        ("name", "string"),
        ("subdomain", "string"),
        ("status", "string"),
        ("url", "string"),
        ("db_name", "string"),
        ("server", "string"),
        ("schema_version", "integer"),
        ("created_at", "time"),
        ("weight", "integer"),
    ];
    let changed = [&tenant[..], &[("known", "Known"), ("cut", "integer"), ("already", "boolean")]].concat();
    let server = [
        ("id", "uuid"),
        ("name", "string"),
        ("address", "string"),
        ("status", "string"),
        ("tenants", "integer"),
        ("capacity", "integer?"),
    ];
    let counts = [
        ("pending", "integer"),
        ("running", "integer"),
        ("done", "integer"),
        ("failed", "integer"),
        ("skipped", "integer"),
    ];
    let run = [
        ("id", "uuid"),
        ("status", "string"),
        ("reason", "string?"),
        ("target", "integer"),
        ("whole_fleet", "boolean"),
        ("waves", "string"),
        ("wave", "integer"),
        ("last_wave", "integer"),
        ("created_at", "time"),
        ("finished_at", "time?"),
    ];
    json!({
        "Problem": object(&[("type", "string"), ("title", "string"), ("status", "integer"), ("request_id", "string")], &[("detail", "string"), ("errors", "object[]")]),
        "Tenant": object(&tenant, &[("pause_reason", "string"), ("plan", "string")]),
        "TenantList": object(&[("tenants", "Tenant[]"), ("next", "string?")], &[]),
        "Known": object(&[("routers", "integer"), ("late", "string[]")], &[]),
        "Change": object(&changed, &[("pause_reason", "string"), ("plan", "string")]),
        "NewTenant": object(&[("name", "string"), ("subdomain", "string"), ("admin", "NewAdmin")], &[("allow_look_alike", "boolean"), ("plan", "string")]),
        "NewAdmin": object(&[("email", "string"), ("password", "string")], &[]),
        "NewTenantAccepted": object(&[("id", "uuid"), ("name", "string"), ("subdomain", "string"), ("status", "string"), ("url", "string"), ("job", "uuid")], &[]),
        "Pause": object(&[], &[("reason", "string"), ("drain_secs", "integer")]),
        "Plan": object(&[("plan", "string")], &[]),
        "Weight": object(&[("weight", "integer")], &[]),
        "Rename": object(&[("to", "string")], &[("allow_look_alike", "boolean")]),
        "Delete": object(&[("confirm", "string")], &[("drain_secs", "integer")]),
        "PurgeRequest": object(&[("confirm", "string")], &[("before_grace", "boolean")]),
        "Purge": object(&[("job", "uuid"), ("purged", "object?")], &[]),
        "Server": object(&server, &[("leases", "object[]")]),
        "ServerList": object(&[("servers", "Server[]")], &[]),
        "NewServer": object(&[("name", "string"), ("url", "string")], &[]),
        "Job": object(&[("id", "uuid"), ("kind", "string"), ("tenant", "uuid"), ("subdomain", "string"), ("status", "string"), ("error", "string?"), ("created_at", "time"), ("finished_at", "time?"), ("lease_until", "time?"), ("report", "object?"), ("steps", "Step[]")], &[]),
        "Step": object(&[("name", "string"), ("status", "string"), ("attempts", "integer"), ("error", "string?"), ("started_at", "time?"), ("finished_at", "time?")], &[]),
        "JobList": object(&[("jobs", "Job[]")], &[]),
        "Confirm": object(&[("confirm", "string")], &[]),
        "Leftovers": object(&[("on_server", "string[]"), ("unseen", "string?"), ("reserved", "boolean"), ("purging", "boolean"), ("removed", "string[]"), ("kept", "string?")], &[]),
        "MigrationRun": object(&[&run[..], &counts].concat(), &[]),
        "MigrationRunList": object(&[("runs", "MigrationRun[]"), ("next", "uuid?")], &[]),
        "MigrationWave": object(&[&[("number", "integer")], &counts[..]].concat(), &[]),
        "MigratedTenant": object(&[("id", "uuid"), ("subdomain", "string"), ("server", "string"), ("wave", "integer"), ("state", "string"), ("version_before", "integer"), ("version_after", "integer?"), ("attempts", "integer"), ("started_at", "time?"), ("took_ms", "integer?"), ("error", "string?")], &[]),
        "MigrationRunDetails": object(&[("run", "MigrationRun"), ("waves", "MigrationWave[]"), ("tenants", "MigratedTenant[]"), ("next", "integer?")], &[]),
        "AuditEntry": object(&[("seq", "integer"), ("at", "time?"), ("actor_kind", "string"), ("actor", "string"), ("verb", "string"), ("outcome", "string"), ("tenant", "uuid?"), ("subdomain", "string?"), ("address", "string?"), ("agent", "string?"), ("details", "object?"), ("at_fault", "boolean")], &[]),
        "AuditList": object(&[("entries", "AuditEntry[]"), ("next", "integer?")], &[]),
        "AuditReport": object(&[("intact", "boolean"), ("entries", "integer"), ("head", "string"), ("fault", "string?")], &[]),
        "Operator": object(&[("id", "uuid"), ("name", "string"), ("status", "string"), ("created_at", "time")], &[("disabled_at", "time?")]),
        "OperatorList": object(&[("operators", "Operator[]")], &[]),
        "NewOperator": object(&[("name", "string")], &[]),
        "OperatorToken": object(&[("operator", "Operator"), ("token", "string")], &[]),
        "Checks": object(&[("checks", "object[]")], &[]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_schema_is_there_and_used() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(found.contains(&format!("#/components/schemas/{name}")), "{name} is not used");
        }
    }
}
