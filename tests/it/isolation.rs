//! Nobody reaches another company by HTTP: not with a token, not with a cookie, not with an id, not with a header. Database
//! logins are in `database_roles`.

use portero_testkit::{Browser, Company, TestApp, join_all};
use serde_json::json;

const NAMES: [&str; 4] = ["acme", "globex", "initech", "umbrella"];

async fn four(app: &TestApp) -> Vec<Company> {
    join_all(NAMES.iter().map(|name| app.sign_up(name))).await
}

#[tokio::test]
async fn a_token_opens_the_door_of_its_own_company_and_no_other() {
    let app = TestApp::start().await;
    let companies = four(&app).await;
    for owner in &companies {
        for door in &companies {
            let api = app.guest(&door.subdomain).with_token(&owner.token);
            let own = owner.tenant_id == door.tenant_id;
            for path in ["/api/v1/me", "/api/v1/users", "/api/v1/settings"] {
                let answer = api.get(path).await;
                if own {
                    answer.expect(200);
                } else {
                    assert!(answer.header("www-authenticate").is_some());
                    answer.expect_problem(401, "unauthorized");
                }
            }
            if own {
                assert_eq!(api.get("/api/v1/me").await.str_at("/tenant/id"), door.tenant_id);
            } else {
                let user =
                    json!({ "email": "eve@evil.example", "password": "kite-lantern-92", "role": "admin" });
                api.post("/api/v1/users", &user).await.expect_problem(401, "unauthorized");
                api.delete(&format!("/api/v1/users/{}", door.admin_id))
                    .await
                    .expect_problem(401, "unauthorized");
                api.put("/api/v1/settings", &json!({ "locale": "es" }))
                    .await
                    .expect_problem(401, "unauthorized");
                api.post("/api/v1/auth/logout", &json!({})).await.expect_problem(401, "unauthorized");
            }
        }
    }
    for company in &companies {
        let users = app.api(company).get("/api/v1/users").await.expect(200).json();
        assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
    }
}

#[tokio::test]
async fn a_token_is_refused_for_itself_even_where_its_user_and_session_are_known() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    // As if Acme's rows had been restored into Globex's database by mistake.
    let from = app.cluster().superuser(&app.login_of(&acme).await.name).await;
    let to = app.cluster().superuser(&app.login_of(&globex).await.name).await;
    for (table, columns) in
        [("users", "id, email, password_hash, role"), ("sessions", "id, user_id, kind, expires_at")]
    {
        let rows = from.query_one(&format!("SELECT json_agg(t)::text FROM {table} t"), &[]).await.unwrap();
        let copy = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM json_populate_recordset(NULL::{table}, $1::text::json)"
        );
        assert!(to.execute(&copy, &[&rows.get::<_, &str>(0)]).await.unwrap() > 0);
    }
    app.api(&acme).get("/api/v1/me").await.expect(200);
    app.guest("globex").with_token(&acme.token).get("/api/v1/me").await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn a_session_cookie_opens_the_door_of_its_own_company_and_no_other() {
    let app = TestApp::start().await;
    let companies = four(&app).await;
    let mut cookies = Vec::new();
    for company in &companies {
        let mut browser = Browser::new(&app);
        let fields = [("email", company.email.as_str()), ("password", &company.password)];
        browser.submit(&company.host, "/login", &fields).await.expect(303);
        cookies.push(browser.cookie(&company.host, "portero_session").unwrap().to_owned());
    }
    for (owner, cookie) in companies.iter().zip(&cookies) {
        for door in &companies {
            let mut browser = Browser::new(&app);
            browser.plant(&door.host, "portero_session", cookie);
            let answer = browser.visit(&door.host, "/").await;
            if owner.tenant_id == door.tenant_id {
                assert!(answer.expect(200).text().contains(&door.email));
            } else {
                answer.expect_way_to("/login");
                let me = app.http().request("GET", &door.host, "/api/v1/me");
                me.header("cookie", &format!("portero_session={cookie}"))
                    .send()
                    .await
                    .expect_problem(401, "unauthorized");
            }
        }
    }
}

#[tokio::test]
async fn an_admin_finds_nobody_of_another_company_by_their_id() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let eve = app.api(&acme);
    let path = format!("/api/v1/users/{}", globex.admin_id);
    eve.get(&path).await.expect_problem(404, "not-found");
    eve.patch(&path, &json!({ "role": "member" })).await.expect_problem(404, "not-found");
    eve.delete(&path).await.expect_problem(404, "not-found");
    assert_eq!(app.api(&globex).get("/api/v1/me").await.expect(200).str_at("/user/role"), "admin");
}

#[tokio::test]
async fn a_password_of_one_company_logs_nobody_in_at_another() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    // The same person at both, with a password each.
    app.add_user(&globex, &acme.email, "member").await;
    let body = json!({ "email": acme.email, "password": acme.password });
    app.guest("globex").post("/api/v1/auth/login", &body).await.expect_problem(401, "wrong-credentials");
    app.guest("acme").post("/api/v1/auth/login", &body).await.expect(200);
}

#[tokio::test]
async fn nothing_but_the_host_names_the_company() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let told = [
        ("x-forwarded-host", "globex.portero.test"),
        ("x-forwarded-server", "globex.portero.test"),
        ("x-original-host", "globex.portero.test"),
        ("x-host", "globex.portero.test"),
        ("forwarded", "host=globex.portero.test;proto=http"),
        ("forwarded", "for=127.0.0.1;host=\"globex.portero.test\""),
        ("x-tenant-id", globex.tenant_id.as_str()),
        ("x-tenant", "globex"),
        ("x-original-url", "http://globex.portero.test/api/v1/ping"),
        ("x-rewrite-url", "/api/v1/ping?tenant=globex"),
        ("origin", "http://globex.portero.test"),
        ("referer", "http://globex.portero.test/"),
        ("cookie", "tenant=globex; tenant_id=globex"),
    ];
    for (name, value) in told {
        let ping = app.http().request("GET", &acme.host, "/api/v1/ping").header(name, value).send().await;
        assert_eq!(ping.expect(200).str_at("/tenant"), "acme", "{name}: {value}");
        let me = app
            .http()
            .request("GET", &acme.host, "/api/v1/me")
            .bearer(&acme.token)
            .header(name, value)
            .send()
            .await;
        assert_eq!(me.expect(200).str_at("/tenant/id"), acme.tenant_id, "{name}: {value}");
    }
    for query in ["tenant=globex", "tenant_id=globex", "host=globex.portero.test", "subdomain=globex"] {
        let ping = app.guest("acme").get(&format!("/api/v1/ping?{query}")).await.expect(200);
        assert_eq!(ping.str_at("/tenant"), "acme", "{query}");
    }
    let smuggled = json!({ "email": acme.email, "password": acme.password, "tenant_id": globex.tenant_id });
    let refused =
        app.guest("acme").post("/api/v1/auth/login", &smuggled).await.expect_problem(422, "invalid");
    assert_eq!(refused.faults(), [("tenant_id".to_owned(), "unknown-field".to_owned())]);
    let smuggled = json!({ "email": "b@b.example", "password": "kite-lantern-92", "role": "member", "tenant": "globex" });
    app.api(&acme).post("/api/v1/users", &smuggled).await.expect_problem(422, "invalid");
    // A company's host has no door to the platform, and the apex none to a company.
    for path in ["/api/v1/tenants", "/api/v1/jobs/x", "/api/v1/subdomains/globex", "/signup"] {
        app.guest("acme").get(path).await.expect(404);
    }
    for path in ["/api/v1/me", "/api/v1/users", "/api/v1/ping", "/login", "/welcome", "/users"] {
        app.at_apex().get(path).await.expect(404);
    }
    // Nor is what operators ask to be had at either.
    for path in ["/budget", "/metrics", "/healthz", "/readyz", "/openapi.json", "/admin/v1/tenants"] {
        app.guest("acme").get(path).await.expect(404);
        app.at_apex().get(path).await.expect(404);
    }
}
