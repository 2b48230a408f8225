//! Pages of other sites, siblings included, can't make a browser do anything here: not log in, not sign up, not change a
//! user. Companies are siblings on one domain, so "same-site" is no protection.

use portero_testkit::{Browser, Company, TestApp, new_password};
use serde_json::json;

/// What a request says of where it comes from, and whether that is the very same host or no page at all.
fn origins(host: &str) -> Vec<(Vec<(&'static str, String)>, bool)> {
    let own = format!("http://{host}");
    let origin = |value: &str| ("origin", value.to_owned());
    let site = |value: &str| ("sec-fetch-site", value.to_owned());
    let mut matrix = vec![
        (vec![], true),
        (vec![site("none")], true),
        (vec![site("same-origin")], true),
        (vec![origin(&own)], true),
        (vec![origin(&own), site("same-origin")], true),
        (vec![origin(&format!("{own}:8080")), site("same-origin")], true),
        (vec![origin(&own.to_uppercase().replace("HTTP", "http"))], true),
        // One of them alone is enough to refuse.
        (vec![origin(&own), site("same-site")], false),
        (vec![origin(&own), site("cross-site")], false),
        (vec![origin("http://globex.portero.test"), site("same-origin")], false),
        (vec![origin(&own), origin("http://evil.example")], false),
        (vec![site("same-origin"), site("cross-site")], false),
        (vec![site("")], false),
        (vec![site("Same-Origin")], false),
        (vec![site("same-origin, cross-site")], false),
    ];
    for foreign in [
        "null",
        "",
        "http://",
        "http://globex.portero.test",
        "http://portero.test.evil.example",
        "http://evil.example",
        "http://evilportero.test",
        "http://x.acme.portero.test",
        "http://localhost",
        "http://127.0.0.1",
        "file://",
    ] {
        matrix.push((vec![origin(foreign)], false));
    }
    for odd in [
        format!("https://{host}"),
        format!("http://{host}.evil.example"),
        format!("http://{host}@evil.example"),
        format!("http://evil.example/{host}"),
        format!("http://{host}/"),
        host.to_owned(),
        format!("http://{host}, http://evil.example"),
    ] {
        matrix.push((vec![origin(&odd)], false));
    }
    matrix
}

#[tokio::test]
async fn a_form_of_another_site_is_refused_whatever_it_says_of_itself() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    app.sign_up("globex").await;
    let (browser, csrf) = logged_in(&app, &acme).await;
    let mut added = 0;
    for (headers, ours) in origins(&acme.host) {
        let login = [("email", acme.email.as_str()), ("password", acme.password.as_str())];
        let (email, password) = (format!("user-{added}@acme.example"), new_password());
        let user = [("csrf", csrf.as_str()), ("email", &email), ("password", &password), ("role", "member")];
        for (path, fields) in [("/login", login.as_slice()), ("/users", &user)] {
            let request = browser.form(&acme.host, path, fields);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            let answer = request.send().await;
            assert_eq!(answer.status, if ours { 303 } else { 403 }, "{path} {headers:?}");
            assert!(ours || answer.cookies().next().is_none(), "{path} {headers:?} sets a cookie");
        }
        added += i32::from(ours);
    }
    let users = app.api(&acme).get("/api/v1/users").await.expect(200).json();
    assert_eq!(users["users"].as_array().unwrap().len(), usize::try_from(added).unwrap() + 1);
}

#[tokio::test]
async fn a_sign_up_sent_by_another_site_is_refused() {
    let app = TestApp::start().await;
    for (number, (headers, ours)) in origins(&app.apex()).into_iter().enumerate() {
        let (name, password) = (format!("company-{number}"), new_password());
        let fields = [
            ("company", "X"),
            ("subdomain", name.as_str()),
            ("email", "a@x.example"),
            ("password", &password),
        ];
        let request = app.http().request("POST", &app.apex(), "/signup").form(&fields);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let status = request.send().await.status;
        assert_eq!(status, if ours { 303 } else { 403 }, "{headers:?}");
        let api = json!({ "name": "X", "subdomain": format!("program-{number}"), "admin": { "email": "a@x.example", "password": password } });
        let request = app.at_apex().request("POST", "/api/v1/tenants").json(&api);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = request.send().await;
        if ours {
            answer.expect(202)
        } else {
            answer.expect_problem(403, "cross-origin")
        };
    }
}

#[tokio::test]
async fn a_page_of_another_site_does_nothing_with_a_cookie_at_the_api() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let (browser, _) = logged_in(&app, &acme).await;
    let cookie = format!("portero_session={}", browser.cookie(&acme.host, "portero_session").unwrap());
    let path = format!("/api/v1/users/{}", acme.admin_id);
    for (headers, _) in origins(&acme.host).into_iter().filter(|(_, ours)| !ours) {
        for method in ["POST", "PATCH", "PUT", "DELETE"] {
            let request =
                app.http().request(method, &acme.host, &path).header("cookie", &cookie).json(&json!({}));
            let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            request.send().await.expect_problem(403, "cross-origin");
        }
        // Even what is only read is never opened to another origin; that is checked with each answer.
        let request = app.http().request("GET", &acme.host, "/api/v1/me").header("cookie", &cookie);
        headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value))
            .send()
            .await
            .expect(200);
    }
    let preflight =
        app.http().request("OPTIONS", &acme.host, "/api/v1/users").header("origin", "http://evil.example");
    let preflight = preflight.header("access-control-request-method", "POST").send().await;
    assert!(preflight.status >= 400, "{}", preflight.status);
}

#[tokio::test]
async fn a_form_without_the_token_of_its_own_session_is_refused() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let (mut browser, csrf) = logged_in(&app, &acme).await;
    let (mut elsewhere, of_another_session) = logged_in(&app, &acme).await;
    let globex = app.sign_up("globex").await;
    let (_, of_another_company) = logged_in(&app, &globex).await;
    assert_ne!(csrf, of_another_session);
    let (id, _) = app.add_user(&acme, "berta@acme.example", "member").await;
    let password = new_password();
    let cut = &csrf[1..];
    let longer = format!("{csrf}x");
    for wrong in ["", "x", cut, &longer, &of_another_session, &of_another_company, &acme.token] {
        for (path, more) in [
            (
                "/users".to_owned(),
                vec![("email", "x@x.example"), ("password", password.as_str()), ("role", "admin")],
            ),
            (format!("/users/{id}/role"), vec![("role", "admin")]),
            (format!("/users/{id}/disable"), vec![]),
            (format!("/users/{id}/enable"), vec![]),
            ("/logout".to_owned(), vec![]),
        ] {
            let fields = [more.as_slice(), &[("csrf", wrong)]].concat();
            browser.submit(&acme.host, &path, &fields).await.expect(403);
            browser.submit(&acme.host, &path, &more).await.expect(403);
        }
    }
    let users = app.api(&acme).get("/api/v1/users").await.expect(200).json();
    assert_eq!(users["users"].as_array().unwrap().len(), 2);
    assert_eq!(users["users"][1]["role"], "member");
    // With their own each goes through.
    browser
        .submit(&acme.host, &format!("/users/{id}/role"), &[("csrf", &csrf), ("role", "admin")])
        .await
        .expect_way_to("/");
    elsewhere.submit(&acme.host, "/logout", &[("csrf", &of_another_session)]).await.expect_way_to("/login");
}

#[tokio::test]
async fn a_login_begins_a_session_of_its_own_and_takes_none_that_was_planted() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let planted = "A".repeat(43);
    let mut browser = Browser::new(&app);
    browser.plant(&acme.host, "portero_session", &planted);
    browser.visit(&acme.host, "/").await.expect_way_to("/login");
    browser
        .submit(&acme.host, "/login", &[("email", &acme.email), ("password", &acme.password)])
        .await
        .expect_way_to("/");
    let first = browser.cookie(&acme.host, "portero_session").unwrap().to_owned();
    assert_ne!(first, planted);
    browser
        .submit(&acme.host, "/login", &[("email", &acme.email), ("password", &acme.password)])
        .await
        .expect_way_to("/");
    assert_ne!(browser.cookie(&acme.host, "portero_session").unwrap(), first);
}

async fn logged_in(app: &TestApp, company: &Company) -> (Browser, String) {
    let mut browser = Browser::new(app);
    let fields = [("email", company.email.as_str()), ("password", &company.password)];
    browser.submit(&company.host, "/login", &fields).await.expect_way_to("/");
    let home = browser.visit(&company.host, "/").await.expect(200);
    let csrf = home.input("csrf").expect("a home page has a form to log out");
    (browser, csrf)
}
