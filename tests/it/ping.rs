//! `GET /api/v1/ping`: with a nonce, an answer is to this question and from this company's own database.

use portero_testkit::{Http, TestApp, join_all};
use serde_json::json;

#[tokio::test]
async fn a_nonce_comes_back_from_the_companys_own_database() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    app.sign_up("globex").await;
    assert_eq!(
        app.guest("acme").get("/api/v1/ping").await.expect(200).json(),
        json!({ "status": "ok", "tenant": "acme" }),
        "without a nonce nothing is added"
    );
    let asked = (0..60).map(async |number: u32| {
        let tenant = if number.is_multiple_of(2) { "acme" } else { "globex" };
        let nonce = format!("{tenant}-{number}");
        let answer = app.guest(tenant).get(&format!("/api/v1/ping?nonce={nonce}")).await.expect(200);
        assert_eq!(answer.json(), json!({ "status": "ok", "tenant": tenant, "nonce": nonce }));
    });
    join_all(asked).await;
}

#[tokio::test]
async fn a_nonce_that_is_none_is_refused_by_name() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    let guest = app.guest("acme");
    let long = "x".repeat(65);
    for (nonce, code) in
        [("", "required"), ("a%20b", "not-allowed"), ("%C3%B1", "not-allowed"), (&long, "too-long")]
    {
        let refused = guest.get(&format!("/api/v1/ping?nonce={nonce}")).await.expect_problem(422, "invalid");
        assert_eq!(refused.faults(), [("nonce".to_owned(), code.to_owned())], "{nonce}");
    }
    guest.get("/api/v1/ping?nonce=a&nonce=b").await.expect_problem(400, "malformed");
}

#[tokio::test]
async fn a_database_that_bears_anothers_mark_answers_no_nonce() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let database = app.login_of(&acme).await.name;
    let operator = app.peek().await;
    let mark = |tenant: &str| format!("COMMENT ON DATABASE {database} IS 'portero tenant {tenant}'");
    // Its connections were proven when they were opened, and stay open.
    operator.batch_execute(&mark(&globex.tenant_id)).await.unwrap();
    app.guest("acme").get("/api/v1/ping").await.expect(200);
    // By the way without the check that no answer is a 500: here one must be.
    let unchecked = Http::operators();
    unchecked.lead_to(app.http().address());
    let refused = unchecked.request("GET", &acme.host, "/api/v1/ping?nonce=a").send().await;
    assert!(!refused.expect_problem(500, "internal").text().contains("nonce"), "nothing of it is shown");
    operator.batch_execute(&mark(&acme.tenant_id)).await.unwrap();
    app.guest("acme").get("/api/v1/ping?nonce=a").await.expect(200);
    operator.close().await;
}
