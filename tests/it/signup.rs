//! A company signs up: by the API, by the form as a browser, at the same moment as others, and where it may not.

use portero_testkit::{Answer, Browser, DEADLINE, TestApp, join_all, new_password, wait_for, wait_until};
use serde_json::{Value, json};

const STEPS: [&str; 9] = [
    "reserve",
    "database_cleanup",
    "claim_or_create_database",
    "role",
    "grants",
    "migrate",
    "seed_admin",
    "verify",
    "activate",
];

#[tokio::test]
async fn a_program_signs_a_company_up_and_is_served_from_its_own_database() {
    let app = TestApp::start().await;
    let apex = app.at_apex();
    let free = apex.get("/api/v1/subdomains/acme").await.expect(200).json();
    assert_eq!(free, json!({ "available": true, "reason": null }));

    let (accepted, password) = app.ask_for("acme").await;
    let accepted = accepted.expect(202);
    let tenant = accepted.json();
    assert_eq!(tenant["status"], "provisioning");
    assert_eq!(tenant["subdomain"], "acme");
    assert_eq!(tenant["name"], "acme & Söhne");
    assert_eq!(tenant["url"], "http://acme.portero.test");
    let job_path = format!("/api/v1/jobs/{}", accepted.str_at("/job"));
    assert_eq!(accepted.header("location"), Some(job_path.as_str()));

    let job = app.job_at_rest(&accepted.str_at("/job")).await;
    assert_eq!((&job["status"], &job["kind"]), (&json!("done"), &json!("create_tenant")));
    assert_eq!(job["url"], "http://acme.portero.test");
    let steps = job["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|step| step["name"].as_str().unwrap()).collect::<Vec<_>>(), STEPS);
    for step in steps {
        assert_eq!(step["status"], "done");
        assert!(step["started_at"].as_str().unwrap() <= step["finished_at"].as_str().unwrap(), "{step}");
    }

    let acme = app.finish_sign_up("acme", &accepted, &password).await;
    let ping = app.guest("acme").get("/api/v1/ping").await.expect(200).json();
    assert_eq!(ping, json!({ "status": "ok", "tenant": "acme" }));
    let me = app.api(&acme).get("/api/v1/me").await.expect(200).json();
    assert_eq!(me["tenant"], json!({ "id": acme.tenant_id, "name": "acme & Söhne", "subdomain": "acme" }));
    assert_eq!(me["user"], json!({ "id": acme.admin_id, "email": "admin@acme.example", "role": "admin" }));
    let users = app.api(&acme).get("/api/v1/users").await.expect(200).json();
    assert_eq!(users["users"].as_array().unwrap().len(), 1);
    assert_eq!(users["users"][0]["id"], acme.admin_id.as_str());

    let taken = apex.get("/api/v1/subdomains/acme").await.expect(200).json();
    assert_eq!(taken, json!({ "available": false, "reason": "taken" }));
    app.cluster().no_strays().await;
}

#[tokio::test]
async fn the_registry_keeps_what_was_asked_and_no_password() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let session = app.peek().await;
    let row = session.query_one("SELECT name, subdomain, db_name, status, admin_user_id::text, schema_version, tenants::text FROM tenants", &[]).await;
    let row = row.unwrap();
    assert_eq!(row.get::<_, &str>("name"), acme.name);
    assert_eq!(row.get::<_, &str>("subdomain"), "acme");
    assert_eq!(row.get::<_, &str>("status"), "active");
    assert_eq!(row.get::<_, &str>("admin_user_id"), acme.admin_id);
    assert!(row.get::<_, i32>("schema_version") > 0);
    let login = app.login_of(&acme).await;
    assert_eq!(row.get::<_, &str>("db_name"), login.name);
    assert!(
        !row.get::<_, &str>("tenants").contains(acme.email.as_str()),
        "the registry knows companies, not users"
    );
    let left = session.query_one("SELECT count(*) FROM jobs WHERE secret IS NOT NULL", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 0, "a job at rest keeps no secret");
    // What a server logs, others read.
    let log = app.process().log().join("\n");
    for secret in app.secrets().into_iter().chain([acme.password.as_str(), &acme.token, &login.password]) {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

#[tokio::test]
async fn a_person_signs_up_by_the_form_watches_the_steps_and_is_led_in_logged_in() {
    let app = TestApp::start().await;
    let (apex, host) = (app.apex(), app.host("acme"));
    let mut ana = Browser::new(&app);
    let page = ana.visit(&apex, "/signup").await.expect(200);
    assert!(page.text().contains("name=\"subdomain\""));

    let password = new_password();
    let sent = ana.submit(&apex, "/signup", &form("acme", &password)).await.expect(303);
    let progress = sent.header("location").unwrap().to_owned();
    let job = progress.strip_prefix("/signup/").unwrap().to_owned();
    let page = ana.follow(&sent).await.expect(200);
    assert!(page.text().contains("Acme Corp") && page.text().contains("acme.portero.test"));

    let seen = watch(&app, &job).await;
    let last = seen.last().unwrap();
    assert_eq!(last["status"], "done", "the stream ends when the job rests: {last}");
    assert!(last["steps"].as_array().unwrap().iter().all(|step| step["status"] == "done"));
    let done =
        |job: &Value| job["steps"].as_array().unwrap().iter().filter(|step| step["status"] == "done").count();
    assert!(seen.windows(2).all(|pair| done(&pair[0]) <= done(&pair[1])), "steps go forward only");

    let entered = ana.visit(&apex, &format!("/signup/{job}/enter")).await.expect(303);
    let welcome = entered.header("location").unwrap().to_owned();
    assert!(welcome.starts_with("http://acme.portero.test/welcome?token="), "{welcome}");
    let welcomed = follow_when_open(&mut ana, &entered).await.expect_way_to("/");
    let home = ana.follow(&welcomed).await.expect(200);
    assert!(home.text().contains("admin@acme.example") && home.text().contains("Acme Corp"));

    // Somebody else reads the progress page's address over the shoulder: no claim, no way in.
    let mut eve = Browser::new(&app);
    eve.visit(&apex, &format!("/signup/{job}/enter")).await.expect_way_to("http://acme.portero.test/");
    // Nor does the claim open twice: who comes back, comes as everybody does.
    ana.visit(&apex, &format!("/signup/{job}/enter")).await.expect_way_to("http://acme.portero.test/");
    // Or finds the address with the token in a history: it opened once.
    eve.visit(&host, welcome.strip_prefix("http://acme.portero.test").unwrap()).await.expect_way_to("/login");
    assert!(eve.cookie(&host, "portero_session").is_none());
    eve.visit(&host, "/").await.expect_way_to("/login");

    let logged_in =
        eve.submit(&host, "/login", &[("email", "admin@acme.example"), ("password", &password)]).await;
    logged_in.expect_way_to("/");
}

#[tokio::test]
async fn a_claim_opens_only_the_company_that_its_browser_signed_up() {
    let app = TestApp::start().await;
    let apex = app.apex();
    let mut browsers = [Browser::new(&app), Browser::new(&app)];
    let mut jobs = Vec::new();
    for (browser, name) in browsers.iter_mut().zip(["acme", "globex"]) {
        let sent = browser.submit(&apex, "/signup", &form(name, &new_password())).await.expect(303);
        let job = sent.header("location").unwrap().strip_prefix("/signup/").unwrap().to_owned();
        assert_eq!(app.job_at_rest(&job).await["status"], "done");
        jobs.push(job);
    }
    for (asks, job, door) in [(0, 1, "http://globex.portero.test/"), (1, 0, "http://acme.portero.test/")] {
        browsers[asks].visit(&apex, &format!("/signup/{}/enter", jobs[job])).await.expect_way_to(door);
    }
    // A token of one company's shown at the other's door.
    let own = browsers[0].visit(&apex, &format!("/signup/{}/enter", jobs[0])).await.expect(303);
    let path = own.header("location").unwrap().strip_prefix("http://acme.portero.test").unwrap().to_owned();
    let mut eve = Browser::new(&app);
    wait_until("globex's door", DEADLINE, async || {
        app.guest("globex").get("/api/v1/ping").await.status == 200
    })
    .await;
    let answer = eve.visit(&app.host("globex"), &path).await;
    answer.expect_way_to("/login");
    // Which doesn't use it up at its own.
    let answer = eve.visit(&app.host("acme"), &path).await;
    answer.expect_way_to("/");
}

#[tokio::test]
async fn a_name_that_somebody_has_is_refused_with_the_field_named() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    let before = app.footprint().await;
    for spelling in ["acme", "ACME", " acme "] {
        let body = json!({ "name": "Other", "subdomain": spelling, "admin": { "email": "b@b.example", "password": new_password() } });
        let refused = app.at_apex().post("/api/v1/tenants", &body).await.expect_problem(409, "taken");
        assert_eq!(refused.faults(), [("subdomain".to_owned(), "taken".to_owned())]);
    }
    let page =
        Browser::new(&app).submit(&app.apex(), "/signup", &form("acme", &new_password())).await.expect(409);
    assert!(page.text().contains("value=\"acme\""), "what was typed is kept");
    assert_eq!(app.footprint().await, before);
}

#[tokio::test]
async fn of_twenty_sign_ups_for_one_name_at_once_exactly_one_wins() {
    let app = TestApp::start().await;
    let answers: Vec<Answer> =
        join_all((0..20).map(|_| app.ask_for("acme"))).await.into_iter().map(|(answer, _)| answer).collect();
    let accepted: Vec<_> = answers.iter().filter(|answer| answer.status == 202).collect();
    assert_eq!(accepted.len(), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    for answer in answers.iter().filter(|answer| answer.status != 202) {
        answer.clone().expect_problem(409, "taken");
    }
    assert_eq!(app.job_at_rest(&accepted[0].str_at("/job")).await["status"], "done");
    assert_eq!(app.footprint().await, (1, 1));
    app.cluster().no_strays().await;
}

#[tokio::test]
async fn many_companies_sign_up_at_once_and_each_gets_its_own() {
    let app = TestApp::start().await;
    let names: Vec<String> = (0..8).map(|number| format!("company-{number}")).collect();
    let companies = join_all(names.iter().map(|name| app.sign_up(name))).await;
    for company in &companies {
        let me = app.api(company).get("/api/v1/me").await.expect(200);
        assert_eq!(me.str_at("/tenant/id"), company.tenant_id);
    }
    app.cluster().no_strays().await;
}

#[tokio::test]
async fn where_sign_ups_are_closed_nobody_gets_in_but_through_operators() {
    let app = TestApp::builder().env("PORTERO_SIGNUP_MODE", "closed").start().await;
    let (answer, _) = app.ask_for("acme").await;
    answer.expect_problem(403, "sign-ups-closed");
    let page = Browser::new(&app).submit(&app.apex(), "/signup", &form("acme", &new_password())).await;
    page.expect(403);
    assert_eq!(app.footprint().await, (0, 0));

    let args =
        ["tenant", "create", "--name", "Acme", "--subdomain", "acme", "--admin-email", "ana@acme.example"];
    let args = [args.as_slice(), &["--admin-password-stdin", "--json"]].concat();
    let password = new_password();
    let created = app.portero(&args).stdin(&password).run().await.expect(0).json();
    assert_eq!(created["status"], "active");
    app.log_in("acme", "ana@acme.example", &password).await.get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn an_address_that_signs_up_too_often_is_told_when_to_come_back() {
    let app = TestApp::builder().env("PORTERO_SIGNUP_PER_ADDRESS_HOUR", "2").start().await;
    for name in ["acme", "globex"] {
        app.ask_for(name).await.0.expect(202);
    }
    let (refused, _) = app.ask_for("initech").await;
    let refused = refused.expect_problem(429, "too-many-requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1801).contains(&wait), "{wait}");
    let page = Browser::new(&app)
        .submit(&app.apex(), "/signup", &form("initech", &new_password()))
        .await
        .expect(429);
    assert!(page.header("retry-after").is_some());
    assert!(page.text().contains("value=\"initech\""), "what was typed is kept");
    assert_eq!(app.footprint().await.0, 2);
    // Saying that one is somebody else helps only a proxy that is trusted, as the one on this machine is; and then its
    // own entry counts, the last.
    let spoofed = |told: &str| {
        let body = json!({ "name": "X", "subdomain": "initech", "admin": { "email": "x@x.example", "password": new_password() } });
        app.at_apex().request("POST", "/api/v1/tenants").header("x-forwarded-for", told).json(&body).send()
    };
    spoofed("203.0.113.7, 127.0.0.1").await.expect_problem(429, "too-many-requests");
    spoofed("203.0.113.7").await.expect(202);
}

#[tokio::test]
async fn the_page_that_watches_hears_at_once_of_what_happens() {
    // It looks by itself every two seconds: too seldom to see the last step under way.
    let app =
        TestApp::builder().failpoints("verify::before=sleep(700);activate::before=sleep(700)").start().await;
    let (accepted, _) = app.ask_for("acme").await;
    let seen = watch(&app, &accepted.expect(202).str_at("/job")).await;
    let activating = |job: &&Value| {
        let steps = job["steps"].as_array().unwrap();
        steps.iter().any(|step| step["name"] == "activate" && step["status"] == "running")
    };
    assert!(seen.iter().find(activating).is_some(), "{seen:?}");
}

fn form<'a>(subdomain: &'a str, password: &'a str) -> [(&'a str, &'a str); 4] {
    let email = if subdomain == "acme" { "admin@acme.example" } else { "admin@other.example" };
    [("company", "Acme Corp"), ("subdomain", subdomain), ("email", email), ("password", password)]
}

/// Reads the stream of events to its end.
async fn watch(app: &TestApp, job: &str) -> Vec<Value> {
    let request = app.http().request("GET", &app.apex(), &format!("/signup/{job}/events"));
    let mut stream = request.header("accept", "text/event-stream").open().await;
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["cache-control"], "no-store");
    assert_eq!(stream.headers()["x-accel-buffering"], "no", "a proxy must not keep events back");
    let mut text = String::new();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let events: Vec<Value> = text
        .split("\n\n")
        .filter_map(|event| event.strip_prefix("event: job\ndata: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert!(!events.is_empty(), "{text}");
    events
}

/// The router hears of a new company a moment after its job is done; until then the page says so and loads itself again.
async fn follow_when_open(browser: &mut Browser, answer: &Answer) -> Answer {
    wait_for("the new company's door", DEADLINE, async || {
        let page = browser.follow(answer).await;
        (page.status != 503).then_some(page)
    })
    .await
}

#[tokio::test]
async fn a_form_hears_at_once_of_everything_that_is_wrong_with_it() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    let password = new_password();
    let form = [("company", "X"), ("subdomain", "acme"), ("email", "no-address"), ("password", &password)];
    let told = Browser::new(&app).submit(&app.apex(), "/signup", &form).await.expect(422).text();
    for field in ["id=\"email-error\"", "id=\"subdomain-error\""] {
        assert!(told.contains(field), "{field}: {told}");
    }
    let form = [("company", "X"), ("subdomain", "globex"), ("email", "no-address"), ("password", &password)];
    let told = Browser::new(&app).submit(&app.apex(), "/signup", &form).await.expect(422).text();
    assert!(told.contains("id=\"email-error\"") && !told.contains("id=\"subdomain-error\""));
}

#[tokio::test]
async fn who_watches_hears_that_it_is_being_taken_back_and_operators_where_it_hangs() {
    let app = TestApp::builder()
        .failpoints("acme/verify::before=return;acme/database_cleanup::before-undo=return(again)")
        .start()
        .await;
    let (answer, _) = app.ask_for("acme").await;
    let job = answer.expect(202).str_at("/job");
    let page = wait_for("the undo to be seen", DEADLINE, async || {
        let page = Browser::new(&app).visit(&app.apex(), &format!("/signup/{job}")).await.expect(200).text();
        page.contains("data-status=\"undoing\" data-events").then_some(page)
    })
    .await;
    assert!(!page.contains("data-way-in") && page.contains("http-equiv=\"refresh\""), "{page}");
    wait_until("the step that hangs to be named", DEADLINE, async || {
        let request = app.operator("GET", &format!("/console/jobs/{job}")).await;
        let page = request.header("accept-language", "en").send().await.expect(200).text();
        let (_, step) = page.split_once("data-step=\"database_cleanup\"").unwrap();
        let step = step.split("</li>").next().unwrap();
        step.contains("data-status=\"undoing\"") && step.contains("being undone")
    })
    .await;
}
