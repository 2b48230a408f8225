//! Requests that are no requests: bodies too large, of another kind, unreadable; odd addresses and queries; markup where text
//! should be. Fields are in `bad_input`. Every answer is checked on arrival for being nobody's mistake but the sender's.

use portero_testkit::{Browser, Request, TestApp, new_password};
use serde_json::json;

#[tokio::test]
async fn a_body_that_is_too_large_or_of_another_kind_or_unreadable_is_refused() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let before = app.footprint().await;
    let (admin, guest, apex) = (app.api(&acme), app.guest("acme"), app.at_apex());
    let doors: [&dyn Fn() -> Request; 5] = [
        &|| apex.request("POST", "/api/v1/tenants"),
        &|| guest.request("POST", "/api/v1/auth/login"),
        &|| admin.request("POST", "/api/v1/users"),
        &|| admin.request("PATCH", &format!("/api/v1/users/{}", acme.admin_id)),
        &|| admin.request("PUT", "/api/v1/settings"),
    ];
    let large = format!("{{\"name\":\"{}\"}}", "a".repeat(64 * 1024));
    let deep = format!("{{\"name\":{}", "[".repeat(30_000));
    for door in doors {
        door().body("application/json", large.as_str()).send().await.expect_problem(413, "too-large");
        for kind in [
            "text/plain",
            "application/xml",
            "multipart/form-data",
            "application/x-www-form-urlencoded",
            "application/jsonx",
            "",
        ] {
            door().body(kind, "{}").send().await.expect_problem(415, "unsupported-media-type");
        }
        door().send().await.expect_problem(415, "unsupported-media-type");
        for body in [
            "",
            "{",
            "nope",
            "{}{}",
            "{\"a\":}",
            "\u{feff}{}",
            "{\"name\":\"\\ud800\"}",
            "NaN",
            deep.as_str(),
        ] {
            let refused = door().body("application/json", body).send().await;
            assert!([400, 422].contains(&refused.status), "{body:.40}: {}", refused.text());
        }
        door()
            .body("application/json", b"\xff\xfe{}".as_slice())
            .send()
            .await
            .expect_problem(400, "malformed");
        for body in ["null", "[]", "\"x\"", "1", "[{}]"] {
            door().body("application/json", body).send().await.expect_problem(422, "invalid");
        }
    }
    let accepted =
        apex.request("POST", "/api/v1/tenants").body("Application/JSON; charset=utf-8", "{}").send().await;
    accepted.expect_problem(422, "invalid");
    let form = "application/x-www-form-urlencoded";
    for (host, path) in [(app.apex(), "/signup"), (acme.host.clone(), "/login")] {
        let post = |kind, body: &str| app.http().request("POST", &host, path).body(kind, body).send();
        post(form, &format!("company={}", "a".repeat(64 * 1024))).await.expect(413);
        post("application/json", "{}").await.expect(415);
        post("multipart/form-data; boundary=x", "--x--").await.expect(415);
        for odd in ["%", "%zz", "=", "&&&", "company=%00", "company=%ff%fe", "email=%00&password=%00"] {
            let refused = post(form, odd).await;
            assert!((400..500).contains(&refused.status), "{odd}: {}", refused.status);
        }
    }
    assert_eq!(app.footprint().await, before);
}

#[tokio::test]
async fn odd_addresses_and_queries_are_nobodys_mistake() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let mut browser = Browser::new(&app);
    browser
        .submit(&acme.host, "/login", &[("email", &acme.email), ("password", &acme.password)])
        .await
        .expect_way_to("/");
    let queries = [
        "%00",
        "a=%00",
        "after=%00",
        "after=%ff",
        "after='%3b--",
        "limit=%00",
        "limit=x",
        "limit=99999999999999999999",
        "after=a&after=b",
        "lang=%00",
        "lang=xx",
        "token=%00",
        "token=x",
        "subdomain=%00",
        "=",
        "&&",
        "%",
    ];
    let long = format!("after={}", "a".repeat(4000));
    for query in queries.into_iter().chain([long.as_str()]) {
        for path in ["/api/v1/users", "/api/v1/ping", "/api/v1/me"] {
            app.api(&acme).get(&format!("{path}?{query}")).await;
        }
        for path in ["/", "/login", "/welcome"] {
            browser.visit(&acme.host, &format!("{path}?{query}")).await;
        }
        for path in ["/", "/go", "/signup"] {
            Browser::new(&app).visit(&app.apex(), &format!("{path}?{query}")).await;
        }
    }
    for path in [
        "/%00",
        "/%ff",
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2fCargo.toml",
        "/static/%00",
        "//",
        "/api/v1/me/x.css",
        "/api/v1/users/x/y",
        "/login/",
        "/LOGIN",
        "/.env",
        "/.git/config",
    ] {
        app.guest("acme").get(path).await.expect(404);
        app.at_apex().get(path).await.expect(404);
    }
    for path in [
        "/api/v1/jobs/x",
        "/api/v1/jobs/%00",
        "/signup/x",
        "/signup/%00",
        "/signup/x/events",
        "/signup/x/enter",
    ] {
        app.at_apex().get(path).await.expect(404);
    }
    for name in ["%00", "a'b", "ab", &"a".repeat(5000)] {
        let answer = app.at_apex().get(&format!("/api/v1/subdomains/{name}")).await.expect(200).json();
        assert_eq!(answer["available"], false, "{name}");
    }
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "HEAD"] {
        let status = app.http().request(method, &acme.host, "/api/v1/users").send().await.status;
        assert!([401, 404, 405].contains(&status), "{method}: {status}");
    }
    browser.visit(&acme.host, "/").await.expect(200);
}

#[tokio::test]
async fn what_people_type_comes_back_as_text_and_never_as_markup() {
    let app = TestApp::start().await;
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let password = new_password();
    let admin = json!({ "email": "ana@acme.example", "password": password });
    let body = json!({ "name": evil, "subdomain": "acme", "admin": admin });
    let accepted = app.at_apex().post("/api/v1/tenants", &body).await.expect(202);
    let job = accepted.str_at("/job");
    assert_eq!(app.job_at_rest(&job).await["status"], "done");
    let acme = app.meet("acme", "ana@acme.example", &password).await;
    assert_eq!(app.api(&acme).get("/api/v1/me").await.str_at("/tenant/name"), evil);
    let mut browser = Browser::new(&app);
    let progress = browser.visit(&app.apex(), &format!("/signup/{job}")).await.expect(200);
    browser
        .submit(&acme.host, "/login", &[("email", "ana@acme.example"), ("password", &password)])
        .await
        .expect_way_to("/");
    let home = browser.visit(&acme.host, "/").await.expect(200);
    let csrf = home.input("csrf").unwrap();
    let fields = [("csrf", csrf.as_str()), ("email", evil), ("password", &password), ("role", evil)];
    let refused = browser.submit(&acme.host, "/users", &fields).await.expect(422);
    let found = Browser::new(&app)
        .visit(&app.apex(), &format!("/go?subdomain={}", "%3Cscript%3Ealert(1)"))
        .await
        .expect(422);
    for page in [progress, home, refused, found] {
        let html = page.text();
        assert!(!html.contains("<script>alert") && !html.contains("<img src=x"), "{html}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(!policy.contains("unsafe-inline") && policy.contains("frame-ancestors 'none'"), "{policy}");
    }
}
