//! What one company may ask: over it, it waits, and another company doesn't.

use portero_testkit::{Answer, Browser, Company, DEADLINE, TestApp, join_all, wait_for, wait_until};
use tokio::{io::AsyncWriteExt, net::TcpStream};

async fn pings(app: &TestApp, subdomain: &str, count: usize) -> Vec<Answer> {
    let guest = app.guest(subdomain);
    join_all((0..count).map(|_| guest.get("/api/v1/ping"))).await
}

async fn refusals(app: &TestApp, reason: &str) -> f64 {
    app.metric("portero_refused_total", &[("reason", reason)]).await
}

/// Seconds until another try makes sense.
fn retry_after(refused: &Answer) -> u64 {
    refused.header("retry-after").expect("when to come back").parse().unwrap()
}

#[tokio::test]
async fn a_company_over_its_rate_is_told_when_to_come_back_and_another_is_served() {
    let app = TestApp::builder().env("PORTERO_TENANT_REQUESTS_PER_SECOND", "20").start().await;
    for name in ["acme", "globex"] {
        app.sign_up(name).await;
    }
    let refused = wait_for("acme to be over its rate", DEADLINE, async || {
        pings(&app, "acme", 60).await.into_iter().find(|answer| answer.status != 200)
    })
    .await;
    let refused = refused.expect_problem(429, "tenant-rate-limited");
    assert_eq!(retry_after(&refused), 1);
    for answer in pings(&app, "globex", 10).await {
        answer.expect(200);
    }
    wait_for("a page that says so", DEADLINE, async || {
        // At the same time: those that are refused wait for it, and then there is room again.
        let (mut browser, host) = (Browser::new(&app), app.host("acme"));
        let (_, page) = tokio::join!(pings(&app, "acme", 60), browser.visit(&host, "/login"));
        (page.status == 429).then(|| assert!(page.text().contains("data-problem=\"tenant-rate-limited\"")))
    })
    .await;
    wait_until("acme to be served again", DEADLINE, async || pings(&app, "acme", 1).await[0].status == 200)
        .await;
    assert!(refusals(&app, "tenant-rate-limited").await >= 2.0);
    assert_eq!(refusals(&app, "tenant-concurrency").await, 0.0);
}

#[tokio::test]
async fn a_company_with_too_many_requests_under_way_is_busy_and_another_is_served() {
    let app = TestApp::builder().env("PORTERO_TENANT_CONCURRENCY", "2").start().await;
    let acme = app.sign_up("acme").await;
    app.sign_up("globex").await;
    // One that came while a ping was there was refused itself; so there are more of them until no ping passes.
    let mut dawdlers = Vec::new();
    let refused = wait_for("acme to have its two under way", DEADLINE, async || {
        dawdlers.push(dawdle(&app, &acme).await);
        let answer = app.api(&acme).get("/api/v1/ping").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    let refused = refused.expect_problem(503, "tenant-busy");
    assert_eq!(retry_after(&refused), 1);
    assert!(refusals(&app, "tenant-concurrency").await >= 1.0);
    assert_eq!(refusals(&app, "tenant-busy").await, 0.0, "that one is for want of a connection");
    for _ in 0..5 {
        pings(&app, "globex", 1).await.remove(0).expect(200);
    }
    // Strangers have places of their own.
    pings(&app, "acme", 1).await.remove(0).expect(200);
    // The stylesheet of the page that says so is nobody's request.
    app.guest("acme").get("/static/portero.css").await.expect(200);
    drop(dawdlers);
    wait_until("acme to be served again", DEADLINE, async || {
        app.api(&acme).get("/api/v1/ping").await.status == 200
    })
    .await;
}

/// A request whose body doesn't come.
async fn dawdle(app: &TestApp, company: &Company) -> TcpStream {
    let mut socket = TcpStream::connect(app.http().address()).await.unwrap();
    let head = format!(
        "POST /api/v1/users HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 60000\r\n\r\n{{",
        company.host, company.token
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}
