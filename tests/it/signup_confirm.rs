//! Where a mail confirms a sign-up: nothing is made before its link was opened and a button pressed.

use crate::site::Site;
use portero_testkit::{
    Answer, AppBuilder, Browser, Chrome, ChromeOptions, DEADLINE, Manners, SmtpServer, TestApp, join_all,
    new_password, wait_until,
};
use serde_json::{Value, json};
use std::time::Duration;

const LINK: &str = "http://portero.test/signup/confirm?token=";

fn confirming(mails: &SmtpServer) -> AppBuilder {
    TestApp::builder()
        .env("PORTERO_SIGNUP_MODE", "confirm")
        .env("PORTERO_SMTP_URL", &mails.url())
        .env("PORTERO_MAIL_FROM", "Portero <no-reply@portero.test>")
}

async fn app() -> (TestApp, SmtpServer) {
    let mails = SmtpServer::start().await;
    (confirming(&mails).start().await, mails)
}

/// Asks by the API; returns the path of the link that came.
async fn ask(app: &TestApp, mails: &SmtpServer, subdomain: &str) -> (Value, String) {
    let answer = ask_without_mail(app, subdomain).await;
    let mail = mails.mail_to(&format!("admin@{subdomain}.example")).await;
    (answer.expect(202).json(), mail.link(LINK).strip_prefix("http://portero.test").unwrap().to_owned())
}

/// As [`ask`], and doesn't wait for the mail.
async fn ask_without_mail(app: &TestApp, subdomain: &str) -> Answer {
    let admin = json!({ "email": format!("admin@{subdomain}.example") });
    let body = json!({ "name": subdomain, "subdomain": subdomain, "admin": admin });
    app.at_apex().post("/api/v1/tenants", &body).await
}

/// What a browser sends by the button.
fn press<'a>(path: &'a str, password: &'a str) -> [(&'a str, &'a str); 2] {
    [("token", token(path)), ("password", password)]
}

fn token(path: &str) -> &str {
    path.split_once("token=").unwrap().1
}

#[tokio::test]
async fn nothing_is_made_before_the_button_is_pressed_and_then_the_browser_is_led_in() {
    let (app, mails) = app().await;
    let (apex, password) = (app.apex(), new_password());
    let mut ana = Browser::new(&app);
    let key = ana.visit(&apex, "/signup?lang=es").await.expect(200).input("key").unwrap();
    let form = [("company", "Añañuca"), ("subdomain", "acme"), ("email", "Ana@Acme.example"), ("key", &key)];
    let sent = ana.submit(&apex, "/signup", &form).await.expect(303);
    let page = ana.follow(&sent).await.expect(200);
    assert!(page.text().contains("acme.portero.test") && page.text().contains("lang=\"es\""));
    // A double click sends no second mail.
    ana.submit(&apex, "/signup", &form).await.expect_way_to("/signup/sent");
    let mail = mails.mail_to("ana@acme.example").await;
    assert_eq!(mail.header("From"), Some("Portero <no-reply@portero.test>"));
    assert!(mail.raw.contains("text/plain") && mail.raw.contains("text/html"));
    assert!(mail.text.contains("Añañuca") && mail.text.contains("Hola"), "{}", mail.text);
    assert_eq!(app.footprint().await, (0, 0), "no tenant, no job");
    app.guest("acme").get("/api/v1/ping").await.expect_problem(404, "tenant-not-found");

    let session = app.peek().await;
    let kept = session.query_one("SELECT p::text FROM signup_pending p", &[]).await.unwrap();
    let kept: String = kept.get(0);
    let path = mail.link(LINK).strip_prefix("http://portero.test").unwrap().to_owned();
    assert!(!kept.contains(token(&path)) && !kept.contains("argon2") && !kept.contains('@'), "{kept}");
    // The mail is erased once it was sent, and it was sent once.
    wait_until("the mail to be erased", DEADLINE, async || {
        let row = session
            .query_one("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL AND message IS NULL", &[]);
        row.await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    assert_eq!(mails.received().len(), 1);

    // A scanner opens the link, as often as it likes.
    let mut scanner = Browser::new(&app);
    for _ in 0..3 {
        scanner.visit(&apex, &path).await.expect(200);
    }
    assert_eq!(app.footprint().await, (0, 0));
    let page = ana.visit(&apex, &path).await.expect(200);
    assert!(page.text().contains("Añañuca"));
    let token = page.input("token").unwrap();
    for weak in ["", "short", "acme-acme-acme"] {
        let again = ana.submit(&apex, "/signup/confirm", &[("token", &token), ("password", weak)]).await;
        let again = again.expect(422);
        assert!(again.input("token").as_deref() == Some(token.as_str()), "the link is good for another try");
        assert!(again.text().contains("id=\"password-error\""), "{}", again.text());
    }
    assert_eq!(app.footprint().await, (0, 0));
    let chosen = [("token", token.as_str()), ("password", &password)];
    let pressed = ana.submit(&apex, "/signup/confirm", &chosen).await.expect(303);
    let job = pressed.header("location").unwrap().strip_prefix("/signup/").unwrap().to_owned();
    assert_eq!(app.job_at_rest(&job).await["status"], "done");
    ana.visit(&apex, &format!("/signup/{job}/enter")).await.expect_way_to("http://acme.portero.test/welcome");
    scanner.visit(&apex, &path).await.expect(410);
    app.meet("acme", "ana@acme.example", &password).await;
}

#[tokio::test]
async fn who_asks_with_anothers_address_gets_no_way_into_what_that_one_confirms() {
    let (app, mails) = app().await;
    let (apex, theirs, mine) = (app.apex(), new_password(), new_password());
    let ask = async |password: Option<&str>, network: &str| {
        let mut admin = json!({ "email": "ana@acme.example" });
        if let Some(password) = password {
            admin["password"] = json!(password);
        }
        let request = app.at_apex().request("POST", "/api/v1/tenants").header("x-forwarded-for", network);
        request.json(&json!({ "name": "Acme", "subdomain": "acme", "admin": admin })).send().await
    };
    ask(None, "192.0.2.1").await.expect(202);
    mails.mail_to("ana@acme.example").await;
    // Somebody else, who has no way to read that mail, asks for the same.
    let refused = ask(Some(&theirs), "192.0.2.2").await.expect_problem(422, "invalid");
    assert_eq!(refused.str_at("/errors/0/field"), "admin.password");
    ask(None, "192.0.2.2").await.expect(202);
    wait_until("the second mail", DEADLINE, async || mails.received().len() == 2).await;
    let path = mails.received()[1].link(LINK).strip_prefix("http://portero.test").unwrap().to_owned();
    let mut ana = Browser::new(&app);
    let pressed = ana.submit(&apex, "/signup/confirm", &press(&path, &mine)).await.expect(303);
    let job = pressed.header("location").unwrap().strip_prefix("/signup/").unwrap().to_owned();
    assert_eq!(app.job_at_rest(&job).await["status"], "done");
    app.meet("acme", "ana@acme.example", &mine).await;
    let theirs = json!({ "email": "ana@acme.example", "password": theirs });
    app.guest("acme").post("/api/v1/auth/login", &theirs).await.expect_problem(401, "wrong-credentials");
}

#[tokio::test]
async fn of_fifty_presses_at_once_one_makes_the_company() {
    let (app, mails) = app().await;
    let (told, path) = ask(&app, &mails, "acme").await;
    assert_eq!(told["status"], "awaiting-confirmation");
    assert!(told.get("job").is_none() && told.get("id").is_none(), "{told}");
    let apex = app.apex();
    let answers =
        join_all(
            (0..50).map(|_| {
                let mut browser = Browser::new(&app);
                let (apex, path) = (apex.clone(), path.clone());
                async move {
                    browser.submit(&apex, "/signup/confirm", &press(&path, &new_password())).await.status
                }
            }),
        )
        .await;
    assert_eq!(answers.iter().filter(|status| **status == 303).count(), 1, "{answers:?}");
    // So many passwords aren't hashed at once.
    assert!(answers.iter().all(|status| matches!(*status, 303 | 410 | 503)), "{answers:?}");
    assert_eq!(app.footprint().await, (1, 1));
}

#[tokio::test]
async fn a_link_ends_with_its_time_and_so_does_the_hold_on_the_name() {
    let (app, mails) = app().await;
    let (_, path) = ask(&app, &mails, "acme").await;
    let other = |name: &str| json!({ "name": "B", "subdomain": name, "admin": { "email": "b@b.example" } });
    app.at_apex().post("/api/v1/tenants", &other("acme")).await.expect_problem(409, "taken");
    app.at_apex().post("/api/v1/tenants", &other("acrne")).await.expect_problem(422, "invalid");
    let reason = app.at_apex().get("/api/v1/subdomains/acme").await.expect(200).str_at("/reason");
    assert_eq!(reason, "taken");
    let session = app.peek().await;
    session.batch_execute("UPDATE signup_pending SET expires_at = now()").await.unwrap();
    let mut browser = Browser::new(&app);
    browser.visit(&app.apex(), &path).await.expect(410);
    browser.submit(&app.apex(), "/signup/confirm", &press(&path, &new_password())).await.expect(410);
    for never in ["", "x", &"A".repeat(43)] {
        let form = [("token", never), ("password", "kite-lantern-92-river")];
        browser.submit(&app.apex(), "/signup/confirm", &form).await.expect(410);
    }
    app.at_apex().post("/api/v1/tenants", &other("acme")).await.expect(202);
    assert_eq!(app.footprint().await, (0, 0));
}

#[tokio::test]
async fn the_link_leads_to_the_platform_whatever_the_request_says() {
    let (app, mails) = app().await;
    let body = json!({ "name": "see evil.example now", "subdomain": "acme", "admin": { "email": "ana@acme.example" } });
    let request = app.at_apex().request("POST", "/api/v1/tenants");
    let request = request.header("x-forwarded-host", "evil.example").header("forwarded", "host=evil.example");
    request.header("referer", "http://evil.example/").json(&body).send().await.expect(202);
    let mail = mails.mail_to("ana@acme.example").await;
    assert!(!mail.raw.contains("evil") && !mail.text.contains("evil"), "{}", mail.text);
    assert!(mail.link(LINK).len() > LINK.len());
}

#[tokio::test]
async fn an_address_gets_few_mails_and_the_answer_does_not_tell() {
    let (app, mails) = app().await;
    let body =
        |name: &str| json!({ "name": "A", "subdomain": name, "admin": { "email": "ana@acme.example" } });
    let from = |number: u8, name: &str| {
        let request = app.at_apex().request("POST", "/api/v1/tenants");
        request.header("x-forwarded-for", &format!("192.0.2.{number}")).json(&body(name)).send()
    };
    // Asked again for the same name: another mail, and the former link is dead.
    from(1, "acme").await.expect(202);
    let first = mails.mail_to("ana@acme.example").await.link(LINK);
    from(2, "acme").await.expect(202);
    wait_until("the second mail", DEADLINE, async || mails.received().len() == 2).await;
    let path = first.strip_prefix("http://portero.test").unwrap();
    Browser::new(&app).visit(&app.apex(), path).await.expect(410);
    from(3, "globex").await.expect(202);
    // The fourth reads the same, and holds and sends nothing.
    from(4, "initech").await.expect(202);
    let session = app.peek().await;
    let count = async |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        session.query_one(sql.as_str(), &[]).await.unwrap().get::<_, i64>(0)
    };
    assert_eq!((count("signup_pending").await, count("outbox").await), (2, 3));

    // A network has so many that wait.
    for number in 0..5 {
        ask_without_mail(&app, &format!("company-{number}")).await.expect(202);
    }
    ask_without_mail(&app, "company-5").await.expect_problem(429, "too-many-requests");
}

#[tokio::test]
async fn a_mail_is_tried_until_the_server_takes_it_and_outlives_a_crash() {
    let mails = SmtpServer::start().await;
    mails.behave(Manners::RefuseForNow);
    let mut app = confirming(&mails).start().await;
    ask_without_mail(&app, "acme").await.expect(202);
    wait_until("two refusals", DEADLINE, async || mails.refused() >= 2).await;
    app.kill();
    mails.behave(Manners::Drop);
    app.boot().await;
    let session = app.peek().await;
    session.batch_execute("UPDATE outbox SET next_at = now()").await.unwrap();
    let lost = mails.mail_to("admin@acme.example").await;
    mails.behave(Manners::Delay(Duration::from_millis(300)));
    wait_until("the mail to be sent", DEADLINE, async || {
        // The pause is the database's; it is cut short here.
        session
            .batch_execute("UPDATE outbox SET next_at = least(next_at, now()) WHERE error IS NOT NULL")
            .await
            .unwrap();
        let sent =
            session.query_one("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL", &[]).await.unwrap();
        sent.get::<_, i64>(0) == 1
    })
    .await;
    let received = mails.received();
    assert!(received.len() >= 2, "at least once");
    for again in &received {
        assert_eq!(again.header("Message-ID"), lost.header("Message-ID"), "known as one");
    }
    let log = app.process().log().join("\n");
    assert!(!log.contains("admin@acme.example") && !log.contains("dear ana"), "{log}");
    assert!(!log.contains(token(&lost.link(LINK))));
}

#[tokio::test]
async fn a_server_that_refuses_for_good_is_believed_and_an_hour_has_its_bound() {
    let mails = SmtpServer::start().await;
    mails.behave(Manners::Refuse);
    let app = confirming(&mails).env("PORTERO_MAILS_PER_HOUR", "2").start().await;
    let session = app.peek().await;
    ask_without_mail(&app, "acme").await.expect(202);
    wait_until("the mail to be given up", DEADLINE, async || {
        let sql = "SELECT count(*) FROM outbox WHERE failed_at IS NOT NULL AND message IS NULL AND error = 'the server answered 550'";
        session.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    assert_eq!(mails.refused(), 3);
    mails.behave(Manners::Take);
    for name in ["globex", "initech", "umbra"] {
        ask_without_mail(&app, name).await.expect(202);
        if name != "umbra" {
            mails.mail_to(&format!("admin@{name}.example")).await;
        }
    }
    // The third waits for the hour; it goes when the first has left it.
    let waiting =
        session.query_one("SELECT count(*) FROM outbox WHERE sent_at IS NULL AND failed_at IS NULL", &[]);
    assert_eq!(waiting.await.unwrap().get::<_, i64>(0), 1);
    assert_eq!(mails.received().len(), 2);
    session
        .batch_execute("UPDATE outbox SET sent_at = sent_at - interval '1 hour' WHERE sent_at IS NOT NULL")
        .await
        .unwrap();
    mails.mail_to("admin@umbra.example").await;
}

#[tokio::test]
async fn too_many_in_the_making_leave_the_link_good() {
    let mails = SmtpServer::start().await;
    let mut app = confirming(&mails)
        .env("PORTERO_SIGNUPS_IN_FLIGHT", "1")
        .failpoints("role::before=pause")
        .start()
        .await;
    let (_, first) = ask(&app, &mails, "acme").await;
    let (_, second) = ask(&app, &mails, "globex").await;
    let mut browser = Browser::new(&app);
    let apex = app.apex();
    let password = new_password();
    browser.submit(&apex, "/signup/confirm", &press(&first, &password)).await.expect(303);
    let busy = browser.submit(&apex, "/signup/confirm", &press(&second, &password)).await.expect(503);
    assert!(busy.header("retry-after").is_some() && busy.input("token").is_some());
    app.recover().await;
    wait_until("room", DEADLINE, async || {
        browser.submit(&apex, "/signup/confirm", &press(&second, &password)).await.status == 303
    })
    .await;
}

#[tokio::test]
async fn without_a_server_for_mails_the_start_is_refused_and_nobody_sees_a_mailbox() {
    let app = TestApp::builder().env("PORTERO_SIGNUP_MODE", "confirm").prepare().await;
    let refused = app.env().iter().fold(app.portero(&["serve"]), |call, (key, value)| call.env(key, value));
    let refused = refused.run().await.expect(2);
    assert!(refused.stderr.contains("PORTERO_SMTP_URL"), "{}", refused.stderr);
    let (app, _mails) = self::app().await;
    app.operator("GET", "/mailbox").await.send().await.expect(404);
}

#[tokio::test]
async fn a_person_confirms_in_a_browser_on_a_phone_without_scripts_by_keyboard() {
    let mails = SmtpServer::start().await;
    let site = Site::start_with(confirming(&mails)).await;
    let options = ChromeOptions { window: (390, 844), language: "es-CL", scripts: false };
    let chrome = Chrome::start(options).await;
    chrome.open(&format!("{}/signup", site.apex())).await;
    chrome.fill("#company", "Panadería Ñuñoa").await;
    chrome.fill("#subdomain", "panaderia").await;
    chrome.fill("#email", "ana@panaderia.test").await;
    chrome.screenshot("confirm-form").await;
    chrome
        .find("#email")
        .await
        .send_keys(&char::from(fantoccini::key::Key::Enter).to_string())
        .await
        .unwrap();
    chrome.find("[data-sent]").await;
    chrome.screenshot("confirm-sent").await;
    assert_eq!(site.app().footprint().await, (0, 0));
    let link = mails.mail_to("ana@panaderia.test").await.link(&format!("{}/signup/confirm", site.apex()));
    chrome.open(&link).await;
    chrome.find("[data-confirm]").await;
    chrome.fill("#password", "kite-lantern-92-river").await;
    chrome.screenshot("confirm-button").await;
    let button = chrome.find("form button[type=submit]").await;
    button.send_keys(&char::from(fantoccini::key::Key::Enter).to_string()).await.unwrap();
    chrome.at(&format!("{}/", site.tenant("panaderia"))).await;
    chrome.find("tr[data-user='ana@panaderia.test']").await;
    chrome.open(&link).await;
    chrome.find("[data-problem='link-spent']").await;
    chrome.screenshot("confirm-spent").await;
}
