//! What operators see: the same numbers as a picture and as metrics, on their own listener alone.

use portero_testkit::{
    Answer, ChaosProxy, Chrome, ChromeOptions, DEADLINE, Mode, TestApp, TestCluster, wait_until,
};

/// The number that the page has for this.
fn shown(page: &Answer, state: &str) -> f64 {
    let text = page.text();
    let cell = text.split(&format!("data-state=\"{state}\">")).nth(1);
    cell.unwrap_or_else(|| panic!("no {state}")).split('<').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_picture_has_the_numbers_of_the_metrics_and_is_for_operators_alone() {
    let app = TestApp::start().await;
    let companies = [app.sign_up("acme").await, app.sign_up("globex").await];
    // Connections rest after a sign-up: the picture and the metrics are then of the same moment.
    wait_until("the same numbers twice", DEADLINE, async || {
        let page = app.operator("GET", "/budget").await.send().await.expect(200);
        for state in ["in_use", "connecting", "closing", "idle"] {
            if shown(&page, state) != app.metric("portero_budget", &[("state", state)]).await {
                return false;
            }
        }
        shown(&page, "idle") >= 2.0
    })
    .await;
    let page = app.operator("GET", "/budget").await.header("accept-language", "es").send().await.expect(200);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let text = page.text();
    for there in ["data-breaker=\"closed\"", "acme", "globex", "Conexiones", "este</small>"] {
        assert!(text.contains(there), "{there}: {text}");
    }
    let capacity = app.metric("portero_budget", &[("state", "capacity")]).await;
    let all = ["in_use", "connecting", "closing", "idle", "free", "others", "rest"];
    assert_eq!(all.iter().map(|state| shown(&page, state)).sum::<f64>(), capacity, "each is somewhere");
    assert_eq!(app.operators("/").send().await.expect_way_to("/console").status, 303);
    app.operators("/static/portero.css").send().await.expect(200);

    for path in ["/budget", "/budget?live=no", "/metrics"] {
        for company in &companies {
            let refused = app.api(company).get(path).await.expect_problem(404, "not-found");
            assert!(!refused.text().contains("globex") && !refused.text().contains("acme"));
        }
        app.at_apex().get(path).await.expect(404);
    }
}

#[tokio::test]
async fn without_the_registry_the_picture_is_there_and_says_what_it_lacks() {
    let proxy = ChaosProxy::before(TestCluster::shared().await.address());
    let app = TestApp::builder().registry_through(&proxy).start().await;
    // Who was let in before the registry went away is let in on.
    app.operator("GET", "/budget").await.send().await.expect(200);
    proxy.set(Mode::Refuse);
    wait_until("a picture without the others' part", DEADLINE, async || {
        let page =
            app.operator("GET", "/budget").await.header("accept-language", "en").send().await.expect(200);
        let text = page.text();
        text.contains("The registry doesn&#39;t answer") && text.contains("data-server=\"main\"")
    })
    .await;
    wait_until("the router to notice, too", DEADLINE, async || {
        app.metric("portero_registry_reachable", &[]).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn the_picture_is_live_in_a_browser_and_holds_still_when_asked_to() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    let url = app.operators_url();
    let chrome = Chrome::start(ChromeOptions::default()).await;
    app.log_in_operator(&chrome).await;
    chrome.open(&format!("{url}/budget")).await;
    chrome.screenshot("budget").await;
    // A company that comes later is there without anybody's doing.
    app.sign_up("globex").await;
    wait_until("the company in the picture", DEADLINE, async || {
        chrome.page.source().await.unwrap().contains("globex")
    })
    .await;
    chrome.click(".budget-head a").await;
    chrome.at(&format!("{url}/budget?live=no")).await;
    assert!(!chrome.has("[data-live]").await);
    chrome.click(".budget-head a").await;
    chrome.find("[data-live]").await;

    let phone = ChromeOptions { window: (390, 844), language: "es", scripts: false };
    let phone = Chrome::start(phone).await;
    app.log_in_operator(&phone).await;
    phone.open(&format!("{url}/budget")).await;
    phone.screenshot("budget-phone").await;
    // Without scripts it loads itself again, and then has who came meanwhile.
    app.sign_up("initech").await;
    wait_until("the page to load itself again", DEADLINE, async || {
        phone.page.source().await.unwrap().contains("initech")
    })
    .await;
}
