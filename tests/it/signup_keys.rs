//! A sign-up that is sent twice is one sign-up: by its key, also after a crash and while the first is under way.

use portero_testkit::{Answer, Browser, DEADLINE, TestApp, join_all, new_password, wait_for, wait_until};
use serde_json::{Value, json};

fn body(subdomain: &str, password: &str) -> Value {
    json!({ "name": "Acme", "subdomain": subdomain, "admin": { "email": "ana@acme.example", "password": password } })
}

async fn post(app: &TestApp, key: &str, body: &Value) -> Answer {
    app.at_apex().request("POST", "/api/v1/tenants").header("idempotency-key", key).json(body).send().await
}

#[tokio::test]
async fn the_same_request_has_the_same_answer_and_another_body_is_refused() {
    let app = TestApp::start().await;
    let asked = body("acme", &new_password());
    let first = post(&app, "key-1", &asked).await.expect(202);
    app.job_at_rest(&first.str_at("/job")).await;
    let again = post(&app, "key-1", &asked).await.expect(202);
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("location"), first.header("location"));

    for other in [body("globex", &new_password()), body("acme", &new_password())] {
        post(&app, "key-1", &other).await.expect_problem(422, "idempotency-key-reused");
    }
    assert_eq!(app.footprint().await.0, 1);
    // Another key asks anew, and so does no key.
    post(&app, "key-2", &asked).await.expect_problem(409, "taken");
    app.at_apex().post("/api/v1/tenants", &asked).await.expect_problem(409, "taken");
    // What was refused is looked at anew: the key isn't spent.
    post(&app, "key-2", &body("globex", &new_password())).await.expect(202);

    let kept =
        app.peek().await.query_one("SELECT string_agg(k::text, ' ') FROM signup_keys k", &[]).await.unwrap();
    let kept: String = kept.get(0);
    assert!(!kept.contains("key-1") && !kept.contains("ana@"), "{kept}");
}

#[tokio::test]
async fn keys_that_are_none_are_refused_and_the_longest_passes() {
    let app = TestApp::start().await;
    for key in ["", "two words", "ñ", &"k".repeat(256)] {
        let refused = post(&app, key, &body("acme", &new_password())).await;
        refused.expect_problem(400, "malformed");
    }
    let twice = app.at_apex().request("POST", "/api/v1/tenants").header("idempotency-key", "a");
    let twice = twice.header("idempotency-key", "a").json(&body("acme", &new_password())).send().await;
    twice.expect_problem(400, "malformed");
    post(&app, &"k".repeat(255), &body("acme", &new_password())).await.expect(202);
}

#[tokio::test]
async fn callers_in_other_networks_have_keys_of_their_own_and_the_same_caller_has_one_everywhere() {
    let app = TestApp::start().await;
    let from = async |address: &str, body: &Value| {
        let request = app.at_apex().request("POST", "/api/v1/tenants").header("idempotency-key", "1");
        request.header("x-forwarded-for", address).json(body).send().await
    };
    let (ana, bob) = (body("acme", &new_password()), body("globex", &new_password()));
    let first = from("192.0.2.1", &ana).await.expect(202);
    from("192.0.2.2", &bob).await.expect(202);
    assert_eq!(from("2001:db8::1", &ana).await.expect(202).body, first.body, "over IPv6 this time");
    from("192.0.2.1", &bob).await.expect(202);
    from("192.0.2.1", &body("initech", &new_password())).await.expect_problem(422, "idempotency-key-reused");
    assert_eq!(app.footprint().await.0, 2);
}

#[tokio::test]
async fn twenty_at_once_with_one_key_are_one_company_and_one_answer() {
    let app = TestApp::start().await;
    let asked = body("acme", &new_password());
    let answers = join_all((0..20).map(|_| post(&app, "same", &asked))).await;
    let first = answers[0].clone().expect(202);
    for answer in answers {
        assert_eq!(answer.expect(202).body, first.body);
    }
    assert_eq!(app.footprint().await, (1, 1));
    assert_eq!(app.job_at_rest(&first.str_at("/job")).await["status"], "done");
}

#[tokio::test]
async fn a_crash_between_writing_and_answering_changes_no_answer() {
    let mut app = TestApp::builder().failpoints("role::before=pause").start().await;
    let asked = body("acme", &new_password());
    let request = app.at_apex().request("POST", "/api/v1/tenants").header("idempotency-key", "crash");
    let lost = tokio::spawn(request.json(&asked).attempt());
    let session = app.peek().await;
    wait_until("the job to be written", DEADLINE, async || {
        session.query_one("SELECT count(*) FROM jobs", &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    app.kill();
    drop(lost.await);
    let written: String = session.query_one("SELECT id::text FROM jobs", &[]).await.unwrap().get(0);
    app.recover().await;
    let answer = post(&app, "crash", &asked).await.expect(202);
    assert_eq!(answer.str_at("/job"), written);
    assert_eq!(app.job_at_rest(&written).await["status"], "done");
    assert_eq!(app.footprint().await, (1, 1));
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let app = TestApp::start().await;
    let asked = body("acme", &new_password());
    post(&app, "old", &asked).await.expect(202);
    let session = app.peek().await;
    session.batch_execute("UPDATE signup_keys SET created_at = now() - interval '25 hours'").await.unwrap();
    post(&app, "old", &asked).await.expect_problem(409, "taken");
    post(&app, "old", &body("globex", &new_password())).await.expect(202);
    app.registry().await.signups_prune().await.unwrap();
    let left = session.query_one("SELECT count(*) FROM signup_keys", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_form_sent_twice_makes_one_company_and_leads_the_browser_in() {
    let app = TestApp::start().await;
    let apex = app.apex();
    let mut ana = Browser::new(&app);
    let key = ana.visit(&apex, "/signup").await.expect(200).input("key").unwrap();
    assert!(key.len() >= 32, "{key}");
    let password = new_password();
    let fields = [
        ("company", "Acme"),
        ("subdomain", "acme"),
        ("email", "ana@acme.example"),
        ("password", &password),
        ("key", &key),
    ];
    // A double click: the browser shows the second answer, and keeps what either gave it.
    let mut double = ana.clone();
    let (first, second) =
        tokio::join!(ana.submit(&apex, "/signup", &fields), double.submit(&apex, "/signup", &fields));
    let progress = second.expect(303).header("location").unwrap().to_owned();
    assert_eq!(first.expect(303).header("location"), Some(progress.as_str()));
    assert_eq!(app.footprint().await, (1, 1));
    app.job_at_rest(progress.strip_prefix("/signup/").unwrap()).await;
    // A reload, after all is done.
    double.submit(&apex, "/signup", &fields).await.expect_way_to(&progress);
    let entered = double.visit(&apex, &format!("{progress}/enter")).await;
    entered.expect_way_to("http://acme.portero.test/welcome");
    assert_ne!(double.visit(&apex, "/signup").await.expect(200).input("key").unwrap(), key);
}

#[tokio::test]
async fn an_operator_s_request_is_one_by_a_key_of_their_own() {
    let app = TestApp::start().await;
    let post = async |token: &str, key: &str, body: &Value| {
        let request = app.operators_http().request("POST", "localhost", "/admin/v1/tenants").bearer(token);
        request.header("idempotency-key", key).json(body).send().await
    };
    let ana = app.operator_token().await;
    let added = app.portero(&["operator", "add", "bob", "--json"]).run().await.expect(0).json();
    let bob = added["token"].as_str().unwrap();
    let asked = body("acme", &new_password());
    // Eight hashes at once may be more than a busy machine bears: who is refused for that asks again.
    let answers = join_all((0..8).map(async |_| {
        wait_for("an answer", DEADLINE, async || {
            let answer = post(ana, "key-1", &asked).await;
            (answer.status != 503).then_some(answer)
        })
        .await
    }));
    let answers = answers.await;
    let first = answers[0].body.clone();
    for answer in answers {
        assert_eq!(answer.expect(202).body, first, "eight at once");
    }
    assert_eq!(post(ana, "key-1", &asked).await.expect(202).body, first);
    for other in [body("globex", &new_password()), body("acme", &new_password())] {
        post(ana, "key-1", &other).await.expect_problem(422, "idempotency-key-reused");
    }
    assert_eq!(app.footprint().await, (1, 1));
    // Another operator has keys of their own, so has the apex; without one it is asked anew.
    post(bob, "key-1", &asked).await.expect_problem(409, "taken");
    self::post(&app, "key-1", &asked).await.expect_problem(409, "taken");
    app.operator("POST", "/admin/v1/tenants").await.json(&asked).send().await.expect_problem(409, "taken");
    post(bob, "key-1", &body("globex", &new_password())).await.expect(202);
    post(bob, "two words", &body("initech", &new_password())).await.expect_problem(400, "malformed");
    // One company was made, and the log says so once.
    let listed = app.portero(&["audit", "list", "--json"]).run().await.expect(0).json();
    let made = listed["entries"].as_array().unwrap().iter().filter(|entry| {
        entry["verb"] == "tenant.create"
            && entry["subdomain"] == "acme"
            && entry["details"]["unchanged"].is_null()
    });
    assert_eq!(made.count(), 1, "{listed}");
}
