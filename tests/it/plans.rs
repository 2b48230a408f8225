//! Plans: an operator gives a company one by its name, and with it a weight.

use portero_testkit::{Answer, Portero, TestApp, new_password};
use serde_json::{Value, json};

/// As the server has them, and whoever calls a command beside it.
const PLANS: (&str, &str) = ("PORTERO_PLANS", "free=1, pro=4,big=16");

async fn start() -> TestApp {
    TestApp::builder().env(PLANS.0, PLANS.1).start().await
}

fn portero(app: &TestApp, args: &[&str]) -> Portero {
    app.portero(args).env(PLANS.0, PLANS.1)
}

fn globex(plan: &str) -> Vec<&str> {
    let args = ["tenant", "create", "--name", "Globex", "--subdomain", "globex", "--plan", plan];
    [args.as_slice(), &["--admin-email", "g@globex.example", "--admin-password-stdin"]].concat()
}

async fn plan_of(app: &TestApp, subdomain: &str) -> (Value, Value) {
    let tenant = app.portero(&["tenant", "show", subdomain, "--json"]).run().await.expect(0).json();
    (tenant["plan"].clone(), tenant["weight"].clone())
}

fn of(plan: &str, weight: u8) -> (Value, Value) {
    (json!(plan), json!(weight))
}

async fn create(app: &TestApp, body: &Value, plan: &str, key: &str) -> Answer {
    let mut body = body.clone();
    body["plan"] = json!(plan);
    app.operator("POST", "/admin/v1/tenants").await.header("idempotency-key", key).json(&body).send().await
}

#[tokio::test]
async fn a_company_has_the_plan_that_it_was_given_and_the_weight_of_that() {
    let app = start().await;
    let acme = app.sign_up("acme").await;
    assert_eq!(plan_of(&app, "acme").await, (Value::Null, json!(1)), "nobody gave it one");

    portero(&app, &globex("pro")).stdin(&new_password()).run().await.expect(0);
    assert_eq!(plan_of(&app, "globex").await, of("pro", 4));

    let body = json!({
        "name": "Initech", "subdomain": "initech",
        "admin": { "email": "i@initech.example", "password": new_password() },
    });
    let created = create(&app, &body, "big", "once").await.expect(202);
    app.job_at_rest(&created.str_at("/job")).await;
    assert_eq!(plan_of(&app, "initech").await, of("big", 16));
    let again = create(&app, &body, "big", "once").await.expect(202);
    assert_eq!(again.str_at("/id"), created.str_at("/id"), "the same request");
    create(&app, &body, "free", "once").await.expect_problem(422, "idempotency-key-reused");

    let told = portero(&app, &["tenant", "plan", "acme", "big"]).run().await.expect(0).stdout;
    assert!(told.starts_with("acme has the plan big, of weight 16."), "{told}");
    assert_eq!(plan_of(&app, "acme").await, of("big", 16));
    let set = app.operator("PUT", "/admin/v1/tenants/acme/plan").await.json(&json!({ "plan": "free" }));
    assert_eq!(set.send().await.expect(200).json()["plan"], "free");
    assert_eq!(plan_of(&app, "acme").await, of("free", 1));
    // What was agreed on besides the plan.
    app.portero(&["tenant", "weight", "acme", "9"]).run().await.expect(0);
    assert_eq!(plan_of(&app, "acme").await, of("free", 9));
    assert_eq!(plan_of(&app, "globex").await, of("pro", 4), "what is another's stays as it is");

    let page = app.operator("GET", &format!("/console/tenants/{}", acme.tenant_id)).await.send().await;
    let page = page.expect(200).text();
    assert!(page.contains("<dt>Plan</dt><dd>free</dd>"), "{page}");
    let audit = app.portero(&["audit", "list", "--tenant", "acme", "--json"]).run().await.expect(0).json();
    let entries = audit["entries"].as_array().unwrap();
    let given = entries.iter().filter(|entry| entry["verb"] == "tenant.plan");
    let given: Vec<_> = given.map(|entry| entry["details"]["plan"].clone()).collect();
    assert_eq!(given, ["free", "big"]);
}

#[tokio::test]
async fn a_plan_that_is_not_there_is_refused_with_those_that_are_and_nothing_is_made() {
    let app = start().await;
    let acme = app.sign_up("acme").await;
    let before = app.footprint().await;
    let refused = portero(&app, &globex("gold")).stdin(&new_password()).run().await.expect(2);
    assert!(
        refused.stderr.contains("there is no plan \"gold\": those that are set are big, free, pro"),
        "{refused:?}"
    );
    portero(&app, &["tenant", "plan", "acme", "Pro"]).run().await.expect(2);
    let body = json!({
        "name": "Globex", "subdomain": "globex",
        "admin": { "email": "g@globex.example", "password": new_password() },
    });
    let refused = create(&app, &body, "gold", "once").await.expect_problem(422, "invalid");
    assert!(refused.text().contains("big, free, pro"), "{}", refused.text());
    let set = app.operator("PUT", "/admin/v1/tenants/acme/plan").await.json(&json!({ "plan": "" }));
    set.send().await.expect_problem(422, "invalid");
    // From outside nobody chooses a plan.
    let request = app.http().request("POST", &app.apex(), "/api/v1/tenants");
    let mut greedy = body.clone();
    greedy["plan"] = json!("pro");
    request.json(&greedy).send().await.expect_problem(422, "invalid");
    assert_eq!(app.footprint().await, before);
    assert_eq!(plan_of(&app, &acme.subdomain).await, (Value::Null, json!(1)));
}
