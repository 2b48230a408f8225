//! Through a real nginx with the configuration that is shipped: TLS in front, one `Host` behind.

use portero_testkit::{Nginx, TestApp, free_address};

async fn behind_nginx(env: &[(&str, &str)]) -> (TestApp, Nginx) {
    let https = free_address();
    let builder = TestApp::builder()
        .env("PORTERO_PUBLIC_SCHEME", "https")
        .env("PORTERO_PUBLIC_PORT", &https.port().to_string());
    let app = env.iter().fold(builder, |builder, (key, value)| builder.env(key, value)).start().await;
    let nginx = Nginx::before(app.http().address(), &app.apex(), https).await;
    (app, nginx)
}

/// Sends one request to a host and returns the whole answer.
fn ask(nginx: &Nginx, host: &str, head: &str, body: &str) -> String {
    let request = format!(
        "{head} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    nginx.exchange(host.split(':').next().unwrap_or(host), &[], request.as_bytes()).1
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("closed")
}

#[tokio::test]
async fn companies_are_reached_by_tls_and_cookies_belong_to_one_host() {
    let (app, nginx) = behind_nginx(&[]).await;
    app.sign_up("acme").await;
    let globex = app.sign_up("globex").await;
    for name in ["acme", "globex"] {
        let answer = ask(&nginx, &app.host(name), "GET /api/v1/ping", "");
        assert_eq!(status(&answer), "200", "{answer}");
        assert!(answer.contains(&format!("\"tenant\":\"{name}\"")), "{answer}");
        assert!(answer.to_lowercase().contains("strict-transport-security:"), "{answer}");
    }
    let host = app.host("globex");
    let body = format!("email={}&password={}", globex.email, globex.password).replace('@', "%40");
    let request = format!(
        "POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: https://{host}:{}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        nginx.https.port(),
        body.len()
    );
    let answer = nginx.exchange(&host, &[], request.as_bytes()).1;
    assert_eq!(status(&answer), "303", "{answer}");
    let cookie = answer.lines().find(|line| line.to_lowercase().starts_with("set-cookie:")).unwrap();
    assert!(cookie.contains("__Host-portero_session=") && cookie.contains("; Secure"), "{cookie}");
    assert!(!cookie.to_lowercase().contains("domain="), "{cookie}");
}

#[tokio::test]
async fn http_2_is_offered() {
    let (app, nginx) = behind_nginx(&[]).await;
    let (agreed, _) = nginx.exchange(&app.apex(), &[b"h2", b"http/1.1"], b"");
    assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn no_header_but_host_says_whose_door_it_is() {
    let (app, nginx) = behind_nginx(&[]).await;
    app.sign_up("acme").await;
    app.sign_up("globex").await;
    let (acme, globex) = (app.host("acme"), app.host("globex"));
    for liar in
        ["X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-Host", "X-Tenant-Id", "X_Forwarded_Host"]
    {
        let value = if liar == "Forwarded" { format!("host={globex}") } else { globex.clone() };
        let answer = ask(&nginx, &acme, "GET /api/v1/ping", "");
        assert!(answer.contains("\"tenant\":\"acme\""), "{answer}");
        let request = format!(
            "GET /api/v1/ping HTTP/1.1\r\nHost: {acme}\r\n{liar}: {value}\r\nConnection: close\r\n\r\n"
        );
        let answer = nginx.exchange(&acme, &[], request.as_bytes()).1;
        assert!(answer.contains("\"tenant\":\"acme\""), "{liar}: {answer}");
    }
    for spelling in [acme.to_uppercase(), format!("{acme}."), format!("{acme}:443")] {
        let request = format!("GET /api/v1/ping HTTP/1.1\r\nHost: {spelling}\r\nConnection: close\r\n\r\n");
        let answer = nginx.exchange(&acme, &[], request.as_bytes()).1;
        assert!(answer.contains("\"tenant\":\"acme\""), "{spelling}: {answer}");
    }
    for (what, request) in [
        (
            "two hosts",
            format!("GET / HTTP/1.1\r\nHost: {acme}\r\nHost: {globex}\r\nConnection: close\r\n\r\n"),
        ),
        (
            "another in the line",
            format!("GET http://{globex}/ HTTP/1.1\r\nHost: {acme}\r\nConnection: close\r\n\r\n"),
        ),
        ("none", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned()),
    ] {
        let answer = nginx.exchange(&acme, &[], request.as_bytes()).1;
        assert_eq!(status(&answer), "400", "{what}: {answer}");
    }
}

#[tokio::test]
async fn strangers_are_closed_on_and_large_bodies_refused() {
    let (app, nginx) = behind_nginx(&[]).await;
    let request = b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(nginx.exchange(&app.apex(), &[], request).1, "", "an unknown host behind a known name");
    let answer = ask(&nginx, &app.apex(), "POST /api/v1/tenants", &"x".repeat(64 * 1024 + 1));
    assert_eq!(status(&answer), "413", "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    let answer = ask(&nginx, &app.host("nobody"), "GET /", "");
    assert!(answer.contains("tenant-not-found"), "{answer}");
}

#[tokio::test]
async fn a_forged_address_does_not_get_around_a_limit() {
    let (app, nginx) = behind_nginx(&[("PORTERO_LOGIN_PER_ADDRESS_MINUTE", "3")]).await;
    let acme = app.host("acme");
    app.ask_for("acme").await.0.expect(202);
    portero_testkit::wait_until("acme's door", portero_testkit::DEADLINE, async || {
        app.guest("acme").get("/api/v1/ping").await.status == 200
    })
    .await;
    let body = r#"{"email":"a@b.example","password":"wrong-wrong-wrong"}"#;
    let outcomes: Vec<String> = (0..5)
        .map(|n| {
            let request = format!(
                "POST /api/v1/auth/login HTTP/1.1\r\nHost: {acme}\r\nX-Forwarded-For: 192.0.2.{n}\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            status(&nginx.exchange(&acme, &[], request.as_bytes()).1).to_owned()
        })
        .collect();
    assert_eq!(outcomes, ["401", "401", "401", "429", "429"]);
}

#[tokio::test]
async fn the_steps_of_a_sign_up_arrive_as_they_happen() {
    let (mut app, nginx) = behind_nginx(&[("FAILPOINTS", "migrate::before=pause")]).await;
    let (answer, _) = app.ask_for("acme").await;
    let job = answer.expect(202).str_at("/job");
    app.wait_for_point("migrate::before").await;
    let request = format!("GET /signup/{job}/events HTTP/1.1\r\nHost: {}\r\n\r\n", app.apex());
    // Buffered, nothing of it would come while the job stands still.
    let first = nginx.first_part(&app.apex(), request.as_bytes(), "event: job");
    assert!(first.contains(r#""name":"migrate","status":"running""#), "{first}");
    app.recover().await;
    assert_eq!(app.job_at_rest(&job).await["status"], "done");
}
