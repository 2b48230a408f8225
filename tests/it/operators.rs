//! Operators: how they are added and shut out, how they log in, and which names and pages their listener answers to.

use portero_auth::OperatorToken;
use portero_kernel::ExposeSecret;
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
    // One that is written wrong, and those that are nobody's.
    let mut refused =
        app.operators("/budget").bearer(&token.replace('1', "2").replace('0', "1")).send().await;
    for _ in 0..6 {
        let guess = OperatorToken::generate().to_text();
        refused = app.operators("/budget").bearer(guess.expose_secret()).send().await;
    }
    assert!(refused.expect_problem(429, "too-many-requests").header("retry-after").is_some());
    app.operator("GET", "/budget").await.send().await.expect(200);
}

#[tokio::test]
async fn who_asks_is_the_peer_whatever_a_header_says_unless_a_proxy_is_meant() {
    let few = TestApp::builder().env("PORTERO_LOGIN_PER_ADDRESS_MINUTE", "5");
    let app = few.start().await;
    let token = add(&app, "ana").await;
    let guess = token.replace('1', "2").replace('0', "1");
    let mut refused = Vec::new();
    for number in 0..9 {
        let from = format!("192.0.2.{number}");
        let guess = app.operators("/budget").bearer(&guess).header("x-forwarded-for", &from).send().await;
        refused.push(guess.status);
    }
    assert_eq!((refused[0], refused[8]), (401, 429), "{refused:?}");
    // Whoever has a good one is let in, though others at this address used its allowance up.
    app.operators("/budget").bearer(&token).send().await.expect(200);
    let pause = app.operators_http().request("POST", "localhost", "/admin/v1/tenants/nobody/pause");
    let pause = pause.bearer(&token).header("x-forwarded-for", "203.0.113.9").json(&serde_json::json!({}));
    pause.send().await.expect(404);
    let told = async |app: &TestApp| {
        let list = app.portero(&["audit", "list", "--json"]).run().await.expect(0).json();
        let entries = list["entries"].as_array().unwrap();
        let addresses = entries.iter().filter_map(|entry| entry["address"].as_str()).map(str::to_owned);
        addresses.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(told(&app).await, ["127.0.0.1".to_owned()].into());

    let app = TestApp::builder().env("PORTERO_ADMIN_HOSTS", "ops.ejemplo.com").start().await;
    let token = add(&app, "ana").await;
    let pause = app.operators_http().request("POST", "ops.ejemplo.com", "/admin/v1/tenants/nobody/pause");
    let pause = pause.bearer(&token).header("x-forwarded-for", "203.0.113.9").json(&serde_json::json!({}));
    pause.send().await.expect(404);
    assert_eq!(told(&app).await, ["203.0.113.9".to_owned()].into());
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

/// Every operation of the document, with its path's parameters filled in.
async fn operations(app: &TestApp) -> Vec<(String, String, bool)> {
    let document = app.operators("/openapi.json").send().await.expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let path = path
                .replace("{subdomain}", "acme")
                .replace("{name}", "main")
                .replace("{id}", &"0".repeat(32));
            found.push((method.to_uppercase(), path, operation.get("requestBody").is_some()));
        }
    }
    found
}

#[tokio::test]
async fn every_operation_is_for_operators_and_for_nobody_else() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let (good, gone) = (add(&app, "ana").await, add(&app, "bob").await);
    app.portero(&["operator", "disable", "bob"]).run().await.expect(0);
    let operations = operations(&app).await;
    assert!(operations.len() >= 25, "{}", operations.len());
    let wrong = OperatorToken::generate().to_text();
    let wrong = wrong.expose_secret();
    for (method, path, takes_body) in &operations {
        let request = |token: Option<&str>| {
            let request = app.operators_http().request(method, "localhost", path);
            let request = if let Some(token) = token { request.bearer(token) } else { request };
            // A body that no operation takes: whoever gets this far has been let in, and does nothing.
            if *takes_body { request.json(&serde_json::json!({ "nothing": 1 })) } else { request }
        };
        for (who, token) in [
            ("a stranger", None),
            ("a wrong token", Some(wrong)),
            ("a disabled operator", Some(gone.as_str())),
            ("a company's admin", Some(acme.token.as_str())),
            ("garbage", Some("ptr_op_")),
        ] {
            let refused = request(token).send().await;
            assert_eq!(
                (refused.status, refused.problem().as_str()),
                (401, "unauthorized"),
                "{who}: {method} {path}"
            );
        }
        let answered = request(Some(&good)).send().await;
        let there = if *takes_body { answered.status == 422 } else { answered.status != 401 };
        assert!(there && answered.status != 405, "{method} {path}: {} {}", answered.status, answered.text());
        assert!(!answered.text().contains("urn:portero:problem:internal"), "{method} {path}");
        // At the public listener there is none of it.
        let request = app.http().request(method, &acme.host, path).bearer(&good);
        request.send().await.expect_problem(404, "not-found");
    }
    app.operators("/admin/v1/nothing").send().await.expect_problem(401, "unauthorized");
    app.operators("/admin/v1/nothing").bearer(&good).send().await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn the_admin_api_does_what_the_command_line_does() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let body = serde_json::json!({
        "name": "Globex", "subdomain": "globex",
        "admin": { "email": "g@globex.example", "password": portero_testkit::new_password() },
    });
    let created = app.operator("POST", "/admin/v1/tenants").await.json(&body).send().await.expect(202);
    app.job_at_rest(&created.str_at("/job")).await;
    let get = async |path: &str| app.operator("GET", path).await.send().await.expect(200).json();
    let post =
        async |path: &str, body: serde_json::Value| app.operator("POST", path).await.json(&body).send().await;
    let names = async |query: &str| {
        let listed = get(&format!("/admin/v1/tenants?{query}")).await;
        let names: Vec<_> =
            listed["tenants"].as_array().unwrap().iter().map(|one| one["subdomain"].clone()).collect();
        serde_json::json!(names)
    };
    assert_eq!(names("").await, serde_json::json!(["acme", "globex"]));
    assert_eq!(names("search=GLO").await, serde_json::json!(["globex"]));
    assert_eq!(names("search=%25").await, serde_json::json!([]), "it is text, and no pattern");
    assert_eq!(names("after=acme&limit=1").await, serde_json::json!(["globex"]));
    let paused =
        post("/admin/v1/tenants/acme/pause", serde_json::json!({ "reason": "unpaid" })).await.expect(200);
    assert_eq!(
        (paused.str_at("/status"), paused.str_at("/pause_reason")),
        ("paused".into(), "unpaid".into())
    );
    assert_eq!(names("status=paused").await, serde_json::json!(["acme"]));
    app.guest("acme").get("/api/v1/ping").await.expect_problem(503, "tenant-paused");
    app.operator("POST", "/admin/v1/tenants/acme/resume").await.send().await.expect(200);
    app.api(&acme).get("/api/v1/me").await.expect(200);
    let weight = app.operator("PUT", "/admin/v1/tenants/acme/weight").await;
    assert_eq!(weight.json(&serde_json::json!({ "weight": 9 })).send().await.expect(200).json()["weight"], 9);

    for wrong in ["", "globex", "ACME"] {
        let refused = post("/admin/v1/tenants/acme/delete", serde_json::json!({ "confirm": wrong })).await;
        refused.expect_problem(422, "invalid");
    }
    app.guest("acme").get("/api/v1/ping").await.expect(200);
    let yes = serde_json::json!({ "confirm": "acme" });
    post("/admin/v1/tenants/acme/purge", yes.clone()).await.expect_problem(409, "conflict");
    post("/admin/v1/tenants/acme/delete", yes.clone()).await.expect(200);
    app.guest("acme").get("/api/v1/ping").await.expect_problem(410, "tenant-deleted");
    post("/admin/v1/tenants/acme/purge", yes).await.expect_problem(409, "conflict");
    app.operator("POST", "/admin/v1/tenants/acme/undelete").await.send().await.expect(200);
    app.api(&acme).get("/api/v1/me").await.expect(200);
    post("/admin/v1/tenants/nobody/pause", serde_json::json!({})).await.expect_problem(404, "not-found");
    let renamed = post("/admin/v1/tenants/acme/rename", serde_json::json!({ "to": "apex-inc" })).await;
    assert_eq!(renamed.expect(200).str_at("/subdomain"), "apex-inc");

    assert_eq!(get("/admin/v1/servers/main").await["name"], "main");
    let drained = app.operator("POST", "/admin/v1/servers/main/drain").await.send().await.expect(200);
    assert_eq!(drained.str_at("/status"), "draining");
    app.operator("POST", "/admin/v1/servers/main/undrain").await.send().await.expect(200);
    let jobs = get("/admin/v1/jobs?state=done").await;
    let job = jobs["jobs"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(get(&format!("/admin/v1/jobs/{job}")).await["status"], "done");
    let retry = app.operator("POST", &format!("/admin/v1/jobs/{job}/retry")).await.send().await;
    retry.expect_problem(409, "conflict");
    let added = post("/admin/v1/operators", serde_json::json!({ "name": "carl" })).await.expect(201);
    app.operators("/admin/v1/operators").bearer(&added.str_at("/token")).send().await.expect(200);
    app.operator("POST", "/admin/v1/operators/carl/disable").await.send().await.expect(200);
    app.operators("/admin/v1/operators").bearer(&added.str_at("/token")).send().await.expect(401);
    let log = get("/admin/v1/audit?actor=tester&limit=2").await;
    assert_eq!(log["entries"][0]["verb"], "operator.disable");
    let older = get(&format!("/admin/v1/audit?before={}", log["next"])).await;
    assert!(older["entries"][0]["seq"].as_i64() < log["next"].as_i64());
    assert_eq!(get("/admin/v1/audit/verify").await["intact"], true);
    assert!(get("/admin/v1/doctor").await["checks"].as_array().is_some());
}

#[tokio::test]
async fn characters_that_no_text_has_are_refused_and_nothing_breaks() {
    let app = TestApp::start().await;
    for (path, status) in [
        ("/admin/v1/tenants?search=%00", 422),
        ("/admin/v1/tenants?status=%00", 422),
        ("/admin/v1/audit?actor=%00", 422),
        ("/admin/v1/audit?tenant=a%00b", 422),
        ("/admin/v1/servers/%00", 404),
        ("/admin/v1/jobs/%00", 404),
    ] {
        assert_eq!(app.operator("GET", path).await.send().await.status, status, "{path}");
    }
    for path in ["/admin/v1/operators/%00/disable", "/admin/v1/operators/a%00b/rotate"] {
        app.operator("POST", path).await.send().await.expect_problem(404, "not-found");
    }
    for reason in ["a\0b", "\u{1b}[2J", "a\r\nb", "\u{7}"] {
        let pause = app.operator("POST", "/admin/v1/tenants/acme/pause").await;
        pause.json(&serde_json::json!({ "reason": reason })).send().await.expect_problem(422, "invalid");
    }
}
