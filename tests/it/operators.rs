//! Operators: how they are added and shut out, how they log in, and which names and pages their listener answers to.

use portero_testkit::{Http, Portero, Process, TestApp, scratch_dir};
use std::collections::BTreeMap;

/// The cookie that an answer sets, as a browser sends it back.
fn session(answer: &portero_testkit::Answer) -> String {
    let cookie = answer.cookies().next().expect("a session");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

async fn add(app: &TestApp, name: &str) -> String {
    let added = app.portero(&["operator", "add", name, "--json"]).run().await.expect(0).json();
    assert_eq!((&added["operator"]["name"], &added["operator"]["status"]), (&name.into(), &"active".into()));
    added["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_shown_once_and_ends_when_it_is_rotated_or_its_operator_disabled() {
    let app = TestApp::start().await;
    let (ana, bob) = (add(&app, "ana").await, add(&app, "bob").await);
    assert!(ana.len() == 79 && ana.starts_with("ptr_op_") && ana != bob, "{ana}");
    let status = async |token: &str| app.operators("/budget").bearer(token).send().await.status;
    assert_eq!((status(&ana).await, status(&bob).await), (200, 200));
    let login = app.operators_http().request("POST", "localhost", "/console/login").form(&[("token", &ana)]);
    let cookie = session(&login.send().await.expect(303));
    let with_cookie = async || app.operators("/budget").header("cookie", &cookie).send().await.status;
    assert_eq!(with_cookie().await, 200);

    let rotated = app.portero(&["operator", "rotate", "ana", "--json"]).run().await.expect(0).json();
    let again = rotated["token"].as_str().unwrap();
    assert_eq!((status(&ana).await, with_cookie().await, status(again).await), (401, 401, 200));
    let told = app.portero(&["operator", "disable", "ana"]).run().await.expect(0).stdout;
    assert!(told.contains("shut out"), "{told}");
    assert_eq!((status(again).await, status(&bob).await), (401, 200));

    let listed = app.portero(&["operator", "list"]).run().await.expect(0).stdout;
    assert!(
        listed.starts_with("NAME") && listed.contains("disabled") && !listed.contains("ptr_op_"),
        "{listed}"
    );
    for (args, code, told) in [
        (["operator", "add", "ana"], 1, "already"),
        (["operator", "add", "Ana!"], 2, "lower-case"),
        (["operator", "rotate", "ana"], 1, "disabled"),
        (["operator", "disable", "nobody"], 1, "portero operator list"),
    ] {
        let outcome = app.portero(&args).run().await.expect(code);
        assert!(outcome.stderr.contains(told), "{args:?}: {}", outcome.stderr);
    }
    // Neither in the log nor in the registry.
    let log = app.process().log().join("\n");
    let held = app.peek().await.query("SELECT o::text FROM operators o", &[]).await.unwrap();
    let held: String = held.iter().map(|row| row.get::<_, String>(0)).collect();
    for token in [&ana, &bob, again] {
        assert!(!log.contains(token) && !held.contains(&token[7..71]), "a token is kept");
    }
}

#[tokio::test]
async fn a_login_is_a_cookie_of_this_host_and_a_logout_ends_it() {
    let app = TestApp::builder().env("PORTERO_ADMIN_HOSTS", "ops.ejemplo.com").start().await;
    let token = app.operator_token().await;
    let post = |path: &str| app.operators_http().request("POST", "localhost", path);
    let browser = ("accept", "text/html");
    let asked = app.operators("/budget").header(browser.0, browser.1).send().await;
    asked.expect_way_to("/console/login");
    app.operators("/budget").send().await.expect_problem(401, "unauthorized");
    let page = app.operators("/console/login").header("accept-language", "en").send().await.expect(200);
    assert!(page.text().contains("Operator token"), "{}", page.text());

    for wrong in ["", "ptr_op_", &token.replace('a', "b"), &token[..78]] {
        let refused = post("/console/login").form(&[("token", wrong)]).send().await.expect(401);
        assert!(refused.cookies().next().is_none() && refused.text().contains("role=\"alert\""));
    }
    let cookie = session(&post("/console/login").form(&[("token", token)]).send().await.expect(303));
    assert!(cookie.starts_with("portero_operator="), "{cookie}");
    app.operators("/budget").header("cookie", &cookie).send().await.expect(200);

    // Another page can't log it out, nor in.
    for (header, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "http://localhost:3000"),
        ("origin", "null"),
        ("origin", "https://evil.example"),
    ] {
        let host = format!("localhost:{}", app.operators_http().address().port());
        for path in ["/console/logout", "/console/login"] {
            let request = app.operators_http().request("POST", &host, path).header("cookie", &cookie);
            let request = request.header(header, value).form(&[("token", token)]);
            request.send().await.expect_problem(403, "cross-origin");
        }
    }
    app.operators("/budget").header("cookie", &cookie).send().await.expect(200);
    let out = post("/console/logout").header("cookie", &cookie).header("sec-fetch-site", "same-origin");
    out.send().await.expect_way_to("/console/login");
    app.operators("/budget").header("cookie", &cookie).send().await.expect_problem(401, "unauthorized");
}

#[tokio::test]
async fn only_names_that_nobody_else_can_point_here_are_answered() {
    let app = TestApp::builder().env("PORTERO_ADMIN_HOSTS", "ops.ejemplo.com, console.example").start().await;
    for (host, answered) in [
        ("localhost", true),
        ("127.0.0.1:8081", true),
        ("[::1]", true),
        ("ops.ejemplo.com", true),
        ("console.example", true),
        ("evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("portero.test", false),
    ] {
        for path in ["/healthz", "/readyz", "/metrics", "/console/login", "/budget", "/static/portero.css"] {
            let asked = app.operators_http().request("GET", host, path).send().await;
            if answered {
                assert_ne!(asked.status, 421, "{host} {path}");
            } else {
                asked.expect_problem(421, "misdirected");
            }
        }
    }
}

#[tokio::test]
async fn guesses_have_a_limit_and_shut_nobody_out_who_is_known() {
    let app = TestApp::builder().env("PORTERO_LOGIN_PER_ADDRESS_MINUTE", "5").start().await;
    let token = app.operator_token().await.to_owned();
    app.operator("GET", "/budget").await.send().await.expect(200);
    let guess = token.replace('1', "2").replace('0', "1");
    let mut refused = app.operators("/budget").bearer(&guess).send().await;
    for _ in 0..6 {
        refused = app.operators("/budget").bearer(&guess).send().await;
    }
    assert!(refused.expect_problem(429, "too-many-requests").header("retry-after").is_some());
    app.operator("GET", "/budget").await.send().await.expect(200);
}

#[tokio::test]
async fn in_development_a_link_logs_one_in_and_works_once() {
    let dir = scratch_dir("dev-link").join("data");
    let dir = dir.to_str().unwrap();
    let args =
        ["dev", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", dir];
    let mut process = Process::spawn(&args, &BTreeMap::new());
    let greeting = process.greeting().await;
    let link = greeting["console_url"].as_str().unwrap();
    let (address, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let http = Http::operators();
    http.lead_to(address.parse().unwrap());
    let path = format!("/{path}");
    let entered = http.request("GET", address, &path).send().await.expect_way_to("/");
    let cookie = session(&entered);
    http.request("GET", address, "/budget").header("cookie", &cookie).send().await.expect(200);
    let again = http.request("GET", address, &path).send().await.expect_way_to("/");
    assert!(again.cookies().next().is_none(), "it works once");
    let listed = Portero::new(&["operator", "list", "--json"]).env("PORTERO_DATA_DIR", dir).run().await;
    assert_eq!(listed.expect(0).json()["operators"][0]["name"], "dev");
}
