//! Points at which tests stop and kill the process are in no release: only what tests need may ask for them.

use serde_json::Value;

const FEATURE: &str = "failpoints";

/// Reads `cargo metadata --no-deps`; complaints about packages that would build them in.
pub(super) fn check(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    packages.iter().flat_map(complaints).collect()
}

fn complaints(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let mut complaints = Vec::new();
    for one in package["dependencies"].as_array().into_iter().flatten() {
        let asks = one["features"].as_array().into_iter().flatten().any(|feature| feature == FEATURE);
        if asks && one["kind"].as_str() != Some("dev") {
            let of = one["name"].as_str().unwrap_or_default();
            complaints.push(format!(
                "{name}: asks for {FEATURE} of {of}: only [dev-dependencies] may, or a release has them"
            ));
        }
    }
    for (feature, needs) in package["features"].as_object().into_iter().flatten() {
        let needs_it = needs
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|need| need == FEATURE || need.ends_with("/failpoints"));
        if needs_it && feature != FEATURE {
            complaints
                .push(format!("{name}: its feature {feature} brings {FEATURE}: a release would have them"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_tests_may_ask_for_them() {
        let package = |kind: Value, features: Value| {
            let uses = json!([{ "name": "engine", "kind": kind, "features": ["failpoints"] }]);
            check(&json!({ "packages": [{ "name": "app", "dependencies": uses, "features": features }] }))
                .len()
        };
        assert_eq!(package(json!("dev"), json!({ "failpoints": ["fail/failpoints"] })), 0);
        assert_eq!(package(Value::Null, json!({})), 1);
        assert_eq!(package(json!("build"), json!({})), 1);
        assert_eq!(package(json!("dev"), json!({ "default": ["failpoints"] })), 1);
        assert_eq!(package(json!("dev"), json!({ "chaos": ["engine/failpoints"] })), 1);
    }
}
