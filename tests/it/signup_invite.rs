//! Where it takes an invitation: made by operators, used once, for whom it is for.

use portero_testkit::{Browser, TestApp, join_all, new_password};
use serde_json::{Value, json};

async fn app() -> TestApp {
    TestApp::builder().env("PORTERO_SIGNUP_MODE", "invite").start().await
}

async fn invite(app: &TestApp, args: &[&str]) -> (String, String) {
    let args = [&["--json", "invite", "create"], args].concat();
    let made = app.portero(&args).run().await.expect(0).json();
    let link = made["link"].as_str().unwrap().to_owned();
    let token = link.strip_prefix("http://portero.test/signup?invitation=").unwrap().to_owned();
    assert_eq!(token.len(), 43);
    (made["id"].as_str().unwrap().to_owned(), token)
}

fn body(subdomain: &str, token: &str) -> Value {
    let admin = json!({ "email": format!("ana@{subdomain}.example"), "password": new_password() });
    json!({ "name": "Acme", "subdomain": subdomain, "admin": admin, "invitation": token })
}

/// What Ana's browser sends.
fn form<'a>(password: &'a str, key: &'a str, token: &'a str) -> [(&'static str, &'a str); 6] {
    [
        ("company", "Acme"),
        ("subdomain", "acme"),
        ("email", "ana@acme.example"),
        ("password", password),
        ("key", key),
        ("invitation", token),
    ]
}

#[tokio::test]
async fn nobody_signs_up_without_an_invitation_and_with_one_once() {
    let app = app().await;
    app.ask_for("acme").await.0.expect_problem(403, "invitation-needed");
    let never = "A".repeat(43);
    for token in ["", "x", &never] {
        app.at_apex()
            .post("/api/v1/tenants", &body("acme", token))
            .await
            .expect_problem(403, "invitation-needed");
    }
    Browser::new(&app).visit(&app.apex(), "/signup").await.expect(403);
    let password = new_password();
    let form = [("company", "X"), ("subdomain", "acme"), ("email", "x@x.example"), ("password", &password)];
    Browser::new(&app).submit(&app.apex(), "/signup", &form).await.expect(403);
    assert_eq!(app.footprint().await, (0, 0));

    let (id, token) = invite(&app, &[]).await;
    let names = ["acme", "globex", "initech", "umbra", "hooli", "stark", "wayne", "tyrell"];
    let answers = join_all(names.map(|name| {
        let api = app.at_apex();
        let body = body(name, &token);
        async move { api.post("/api/v1/tenants", &body).await }
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1);
    for answer in answers.into_iter().filter(|answer| answer.status != 202) {
        answer.expect_problem(403, "invitation-needed");
    }
    assert_eq!(app.footprint().await.0, 1);
    let listed = app.portero(&["--json", "invite", "list"]).run().await.expect(0).json();
    assert_eq!((&listed[0]["id"], &listed[0]["state"]), (&json!(id), &json!("used")));
    assert!(listed[0]["tenant"].is_string());
    let kept =
        app.peek().await.query_one("SELECT string_agg(i::text, ' ') FROM invitations i", &[]).await.unwrap();
    assert!(!kept.get::<_, &str>(0).contains(&token));
}

#[tokio::test]
async fn an_invitation_is_for_whom_it_is_for_and_a_refusal_uses_nothing_up() {
    let app = app().await;
    let (_, token) = invite(&app, &["--email", "Ana@Acme.example", "--subdomain", "acme"]).await;
    let post = async |body: Value| app.at_apex().post("/api/v1/tenants", &body).await;
    let refused = post(body("globex", &token)).await.expect_problem(422, "invalid");
    let faults = ["admin.email", "subdomain"].map(|field| (field.to_owned(), "not-allowed".to_owned()));
    assert_eq!(refused.faults(), faults);
    let mut weak = body("acme", &token);
    weak["admin"]["password"] = json!("short");
    post(weak).await.expect_problem(422, "invalid");

    let mut ana = Browser::new(&app);
    let apex = app.apex();
    let page = ana.visit(&apex, &format!("/signup?invitation={token}")).await.expect(200);
    assert!(page.text().contains("value=\"ana@acme.example\"") && page.text().contains(" readonly"));
    let (key, password) = (page.input("key").unwrap(), new_password());
    let form = form(&password, &key, &token);
    let sent = ana.submit(&apex, "/signup", &form).await.expect(303);
    // Sent twice, it is the same; the invitation is used by then.
    ana.submit(&apex, "/signup", &form).await.expect_way_to(sent.header("location").unwrap());
    ana.visit(&apex, &format!("/signup?invitation={token}")).await.expect(403);
}

#[tokio::test]
async fn what_was_taken_back_or_is_over_opens_nothing() {
    let app = app().await;
    let (id, revoked) = invite(&app, &[]).await;
    drop(app.portero(&["invite", "revoke", &id]).run().await.expect(0));
    drop(app.portero(&["invite", "revoke", &id]).run().await.expect(1));
    let (_, expired) = invite(&app, &["--expires", "1m"]).await;
    let session = app.peek().await;
    session
        .batch_execute("UPDATE invitations SET expires_at = now() WHERE revoked_at IS NULL")
        .await
        .unwrap();
    for token in [revoked, expired] {
        app.at_apex()
            .post("/api/v1/tenants", &body("acme", &token))
            .await
            .expect_problem(403, "invitation-needed");
    }
    let listed = app.portero(&["--json", "invite", "list"]).run().await.expect(0).json();
    let states: Vec<_> =
        listed.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["expired", "revoked"]);
    for wrong in [["--expires", "7w"], ["--expires", "0d"], ["--email", "ana"], ["--subdomain", "x y"]] {
        let args = [&["invite", "create"], wrong.as_slice()].concat();
        drop(app.portero(&args).run().await.expect(2));
    }
}

#[tokio::test]
async fn an_invitation_whose_company_came_to_nothing_is_good_again() {
    let app = TestApp::builder()
        .env("PORTERO_SIGNUP_MODE", "invite")
        .failpoints("acme/verify::before=return")
        .start()
        .await;
    let (_, token) = invite(&app, &[]).await;
    let asked = app.at_apex().post("/api/v1/tenants", &body("acme", &token)).await.expect(202).json();
    app.job_at_rest(asked["job"].as_str().unwrap()).await;
    let listed = app.portero(&["--json", "invite", "list"]).run().await.expect(0).json();
    assert_eq!((&listed[0]["state"], &listed[0]["tenant"]), (&json!("open"), &Value::Null));
    let asked = app.at_apex().post("/api/v1/tenants", &body("globex", &token)).await.expect(202).json();
    app.job_at_rest(asked["job"].as_str().unwrap()).await;
    app.guest("globex").get("/api/v1/ping").await.expect(200);
    app.at_apex()
        .post("/api/v1/tenants", &body("hooli", &token))
        .await
        .expect_problem(403, "invitation-needed");
}

#[tokio::test]
async fn the_way_to_try_once_more_takes_the_invitation_along() {
    let app = TestApp::builder()
        .env("PORTERO_SIGNUP_MODE", "invite")
        .failpoints("acme/verify::before=return")
        .start()
        .await;
    let (_, token) = invite(&app, &[]).await;
    let (mut ana, apex, password) = (Browser::new(&app), app.apex(), new_password());
    let page = ana.visit(&apex, &format!("/signup?invitation={token}")).await.expect(200);
    let key = page.input("key").unwrap();
    let form = form(&password, &key, &token);
    let sent = ana.submit(&apex, "/signup", &form).await.expect(303);
    let way = sent.header("location").unwrap().to_owned();
    app.job_at_rest(way.rsplit('/').next().unwrap()).await;
    let again = format!("/signup?invitation={token}");
    let told = ana.visit(&apex, &way).await.expect(200).text();
    assert!(told.contains(&format!("href=\"{again}\"")), "{told}");
    ana.visit(&apex, &again).await.expect(200);
    // Nobody else who looks at the page is shown it.
    let other = Browser::new(&app).visit(&apex, &way).await.expect(200).text();
    assert!(!other.contains(&token) && other.contains("href=\"/signup\""));
}
