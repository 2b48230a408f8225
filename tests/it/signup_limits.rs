//! How much strangers may ask for: companies in the making, sign-ups from an address, logins on an account, and what a
//! company's own people have whatever strangers do.

use portero_testkit::{Browser, DEADLINE, TestApp, join_all, new_password, wait_for, wait_until};
use serde_json::json;

#[tokio::test]
async fn over_so_many_in_the_making_a_sign_up_is_told_to_come_back() {
    let mut app = TestApp::builder()
        .env("PORTERO_SIGNUPS_IN_FLIGHT", "2")
        .failpoints("role::before=pause")
        .start()
        .await;
    // Six at once: no more than two pass, whatever they find before.
    let names = ["acme", "globex", "initech", "umbra", "hooli", "stark"];
    let answers = join_all(names.map(|name| app.ask_for(name))).await;
    let (begun, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(answer, _)| answer.status == 202);
    assert_eq!(begun.len(), 2);
    for (answer, _) in refused {
        let answer = answer.expect_problem(503, "overloaded");
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    let password = new_password();
    let form = [("company", "X"), ("subdomain", "wayne"), ("email", "x@x.example"), ("password", &password)];
    let page = Browser::new(&app).submit(&app.apex(), "/signup", &form).await.expect(503);
    assert!(page.text().contains("value=\"wayne\"") && page.header("retry-after") == Some("5"));
    assert_eq!(app.footprint().await.0, 2);
    app.recover().await;
    wait_until("room", DEADLINE, async || app.ask_for("wayne").await.0.status == 202).await;
}

#[tokio::test]
async fn a_peer_that_is_no_proxy_counts_as_itself_whatever_it_says() {
    let app = TestApp::builder()
        .env("PORTERO_SIGNUP_PER_ADDRESS_HOUR", "2")
        .env("PORTERO_TRUSTED_PROXIES", "192.0.2.254")
        .start()
        .await;
    let statuses = join_all((0..6).map(|number| {
        let body = json!({ "name": "X", "subdomain": format!("x-co-{number}"), "admin": { "email": "x@x.example", "password": new_password() } });
        let request = app.at_apex().request("POST", "/api/v1/tenants");
        request.header("x-forwarded-for", &format!("198.51.100.{number}")).json(&body).send()
    }))
    .await;
    let passed = statuses.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(passed, 2, "{:?}", statuses.iter().map(|answer| answer.status).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_network_of_ipv6_is_one_customer() {
    let app = TestApp::builder().env("PORTERO_SIGNUP_PER_ADDRESS_HOUR", "2").start().await;
    let from = |address: &str, name: &str| {
        let body = json!({ "name": "X", "subdomain": name, "admin": { "email": "x@x.example", "password": new_password() } });
        let request = app.at_apex().request("POST", "/api/v1/tenants");
        request.header("x-forwarded-for", address).json(&body).send()
    };
    from("2001:db8::1", "acme").await.expect(202);
    from("2001:db8::ffff:2", "globex").await.expect(202);
    from("2001:db8::3", "initech").await.expect_problem(429, "too-many-requests");
    from("2001:db8:0:1::3", "initech").await.expect(202);
}

#[tokio::test]
async fn whoever_goes_through_names_is_slowed_down_and_whoever_types_one_is_not() {
    let app = TestApp::builder().env("PORTERO_NAME_CHECKS_PER_ADDRESS_MINUTE", "5").start().await;
    app.sign_up("acme").await;
    let ask = |name: &str, address: &str| {
        let request = app.at_apex().request("GET", &format!("/api/v1/subdomains/{name}"));
        request.header("x-forwarded-for", address).send()
    };
    for name in ["a", "ac", "acm", "acme", "acme-inc"] {
        ask(name, "198.51.100.1").await.expect(200);
    }
    let refused = ask("acme", "198.51.100.1").await.expect_problem(429, "too-many-requests");
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=12).contains(&wait), "{wait}");
    assert!(refused.json().get("available").is_none());
    assert_eq!(ask("acme", "198.51.100.2").await.expect(200).json()["available"], false);
    // It is an allowance of its own.
    let body = json!({ "name": "X", "subdomain": "globex", "admin": { "email": "x@x.example", "password": new_password() } });
    let request = app.at_apex().request("POST", "/api/v1/tenants").header("x-forwarded-for", "198.51.100.1");
    request.json(&body).send().await.expect(202);
}

#[tokio::test]
async fn guessing_at_an_account_takes_pauses_and_locks_nobody_out() {
    let app = TestApp::builder().env("PORTERO_LOGIN_ATTEMPTS_PER_ACCOUNT", "5").start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let mut ana = Browser::new(&app);
    let right = [("email", acme.email.as_str()), ("password", acme.password.as_str())];
    ana.submit(&acme.host, "/login", &right).await.expect_way_to("/");
    let device = ana.cookie(&acme.host, "portero_device").unwrap().to_owned();

    // From many addresses, at once, and at somebody who isn't there: alike.
    for email in [acme.email.as_str(), "nobody@acme.example"] {
        let tries = join_all((0..12).map(|number| {
            let body = json!({ "email": email, "password": format!("wrong-{number}-{}", new_password()) });
            let request = app.guest("acme").request("POST", "/api/v1/auth/login");
            request.header("x-forwarded-for", &format!("198.51.100.{number}")).json(&body).send()
        }))
        .await;
        let count = |status| tries.iter().filter(|answer| answer.status == status).count();
        // A pause of a second may pass while the passwords are computed.
        assert!((5..=7).contains(&count(401)) && count(401) + count(429) == 12, "{email}");
    }
    let log_in = json!({ "email": acme.email.to_uppercase(), "password": acme.password });
    let refused = wait_for("a pause", DEADLINE, async || {
        let wrong = json!({ "email": acme.email, "password": new_password() });
        let answer = app.guest("acme").post("/api/v1/auth/login", &wrong).await;
        (answer.status == 429).then_some(answer)
    })
    .await;
    let wait: u64 =
        refused.expect_problem(429, "too-many-requests").header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // A browser that was here before isn't held up; nor is the same address at another company.
    ana.submit(&acme.host, "/login", &right).await.expect_way_to("/");
    app.log_in("globex", &globex.email, &globex.password).await;
    // Nobody else's browser is taken for it.
    let mut eve = Browser::new(&app);
    eve.plant(&globex.host, "portero_device", &device);
    eve.plant(&acme.host, "portero_device", "x");
    let wrong = [("email", acme.email.as_str()), ("password", "wrong-wrong-wrong")];
    let page = eve.submit(&acme.host, "/login", &wrong).await;
    assert!(page.status == 429 || page.status == 401, "{}", page.status);
    // And the right password opens after the pause.
    wait_until("the pause to pass", DEADLINE, async || {
        app.guest("acme").post("/api/v1/auth/login", &log_in).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn strangers_who_flood_a_company_take_nothing_from_its_people() {
    let app = TestApp::builder().env("PORTERO_TENANT_REQUESTS_PER_SECOND", "20").start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let mut ana = Browser::new(&app);
    let form = [("email", acme.email.as_str()), ("password", acme.password.as_str())];
    wait_until("ana to be logged in", DEADLINE, async || {
        ana.submit(&acme.host, "/login", &form).await.status == 303
    })
    .await;

    let strangers = app.guest("acme");
    let flood = async || join_all((0..80).map(|_| strangers.get("/api/v1/ping"))).await;
    let (mut by_token, mut by_cookie, mut refused) = (Vec::new(), Vec::new(), 0);
    for _ in 0..5 {
        let (answers, token, cookie) =
            tokio::join!(flood(), app.api(&acme).get("/api/v1/me"), ana.visit(&acme.host, "/"));
        refused += answers.iter().filter(|answer| answer.status == 429).count();
        by_token.push(token.status);
        by_cookie.push(cookie.status);
    }
    assert!(refused >= 100, "{refused}");
    assert_eq!((by_token, by_cookie), (vec![200; 5], vec![200; 5]));

    // What another company has issued, or nobody, is a stranger's.
    let forged = [globex.token.clone(), format!("{}x", acme.token), "x".to_owned()];
    for token in forged {
        let answers =
            join_all((0..60).map(|_| strangers.with_token(&token).request("GET", "/api/v1/ping").send()))
                .await;
        assert!(answers.iter().any(|answer| answer.status == 429));
        assert_eq!(app.api(&acme).get("/api/v1/me").await.status, 200);
    }
}
