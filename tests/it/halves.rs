//! The platform in two processes on one registry: `--only control` and `--only router`. Together they are the whole.

use portero_testkit::{Answer, Api, DEADLINE, Http, Sibling, TestApp, wait_for, wait_until};
use serde_json::{Value, json};

const PASSWORD: &str = "seven purple doors";

/// Both halves; the application itself isn't started.
async fn halves() -> (TestApp, Sibling, Sibling) {
    let app = TestApp::builder().env("PORTERO_SPARES", "1").prepare().await;
    // Neither waits for the other.
    let router = app.sibling_only("router").await;
    let control = app.sibling_only("control").await;
    (app, control, router)
}

async fn sign_up(app: &TestApp, control: &Sibling, subdomain: &str) -> Value {
    let apex = Api::new(&control.http, &app.apex(), None);
    let admin = json!({ "email": format!("admin@{subdomain}.example"), "password": PASSWORD });
    let body = json!({ "name": subdomain, "subdomain": subdomain, "admin": admin });
    let job = apex.post("/api/v1/tenants", &body).await.expect(202).str_at("/job");
    wait_for("the job to come to rest", DEADLINE, async || {
        let job = apex.get(&format!("/api/v1/jobs/{job}")).await.expect(200).json();
        (job["status"] != "running").then_some(job)
    })
    .await
}

async fn page(http: &Http, host: &str, path: &str) -> Answer {
    let request = http.request("GET", host, path).header("accept", "text/html");
    request.header("accept-language", "en").send().await
}

#[tokio::test]
async fn who_signs_up_at_one_half_logs_in_at_the_other() {
    let (app, control, router) = halves().await;
    for subdomain in ["acme", "globex"] {
        assert_eq!(sign_up(&app, &control, subdomain).await["status"], "done");
        let door = Api::new(&router.http, &app.host(subdomain), None);
        wait_until("the router to hear of it", DEADLINE, async || {
            door.get("/api/v1/ping").await.status == 200
        })
        .await;
        let email = format!("admin@{subdomain}.example");
        let login = json!({ "email": email, "password": PASSWORD });
        let token = door.post("/api/v1/auth/login", &login).await.expect(200).str_at("/access_token");
        let me = door.with_token(&token).get("/api/v1/me").await.expect(200);
        assert_eq!((me.str_at("/user/email"), me.str_at("/tenant/subdomain")), (email, subdomain.to_owned()));
    }
    // A command waits for the half that routes, and for no other.
    let paused = app.portero(&["tenant", "pause", "acme", "--json"]).run().await.expect(0).json();
    assert_eq!((&paused["known"]["routers"], &paused["known"]["late"]), (&json!(1), &json!([])));
    let acme = Api::new(&router.http, &app.host("acme"), None);
    acme.get("/api/v1/ping").await.expect_problem(503, "tenant-paused");
    Api::new(&router.http, &app.host("globex"), None).get("/api/v1/ping").await.expect(200);
    // Every connection is the router's to lend.
    let granted = async |half: &Sibling| half.metric("portero_budget", &[("state", "granted")]).await;
    let all = router.metric("portero_budget", &[("state", "capacity")]).await;
    assert_eq!((granted(&router).await, granted(&control).await), (all, 0.0));
}

#[tokio::test]
async fn each_half_says_of_the_other_s_hosts_that_they_are_not_its_own() {
    let (app, control, router) = halves().await;
    sign_up(&app, &control, "acme").await;
    let acme = app.host("acme");
    for path in ["/api/v1/ping", "/login", "/nowhere"] {
        let refused = control.http.request("GET", &acme, path).send().await;
        let refused = refused.expect_problem(421, "not-served-here").json();
        assert!(refused["detail"].as_str().unwrap().contains("--only router"), "{refused}");
    }
    // Whoever they are: who asks learns nothing of who is there.
    control.http.request("GET", &app.host("nobody"), "/").send().await.expect_problem(421, "not-served-here");
    let form = json!({ "name": "Globex", "subdomain": "globex" });
    let apex = Api::new(&router.http, &app.apex(), None);
    let refused = apex.post("/api/v1/tenants", &form).await.expect_problem(421, "not-served-here").json();
    assert!(refused["detail"].as_str().unwrap().contains("--only control"), "{refused}");
    for path in ["/", "/signup", "/api/v1/subdomains/initech"] {
        apex.get(path).await.expect_problem(421, "not-served-here");
    }
    assert!(page(&router.http, &app.apex(), "/signup").await.expect(421).text().contains("another"));
    page(&control.http, &app.apex(), "/signup").await.expect(200);
    page(&router.http, &acme, "/login").await.expect(200);

    // The router's operators' listener has what a process is asked, and nobody logs in there.
    for path in ["/healthz", "/readyz", "/metrics"] {
        router.operators.request("GET", "localhost", path).send().await.expect(200);
        control.operators.request("GET", "localhost", path).send().await.expect(200);
    }
    let token = app.operator_token().await;
    for path in
        ["/", "/console", "/console/login", "/admin/v1/tenants", "/openapi.json", "/budget", "/mailbox"]
    {
        let asked = router.operators.request("GET", "localhost", path).bearer(token).send().await;
        asked.expect_problem(421, "not-served-here");
    }
    let tenants =
        control.operators.request("GET", "localhost", "/admin/v1/tenants").bearer(token).send().await;
    assert_eq!(tenants.expect(200).json()["tenants"][0]["subdomain"], "acme");
}

#[tokio::test]
async fn a_router_alone_does_no_job_and_makes_no_spare() {
    let app = TestApp::builder().env("PORTERO_SPARES", "1").prepare().await;
    let router = app.sibling_only("router").await;
    let apex = Api::new(&router.http, &app.apex(), None);
    apex.get("/").await.expect_problem(421, "not-served-here");
    let asked =
        ["tenant", "create", "--name", "Acme", "--subdomain", "acme", "--admin-email", "a@acme.example"];
    let asked = [&asked[..], &["--admin-password-stdin", "--no-wait", "--json"]].concat();
    let job = app.portero(&asked).stdin(PASSWORD).run().await.expect(0).json();
    let door = Api::new(&router.http, &app.host("acme"), None);
    wait_until("the router to hear of it", DEADLINE, async || {
        door.get("/api/v1/ping").await.problem() == "tenant-provisioning"
    })
    .await;
    let untouched = "SELECT count(*) FROM jobs WHERE status = 'running' AND lease_until IS NULL";
    let session = app.peek().await;
    assert_eq!(session.query_one(untouched, &[]).await.unwrap().get::<_, i64>(0), 1, "{job}");
    // The other half comes, and does it; by then it has made a spare, too.
    let _control = app.sibling_only("control").await;
    wait_until("the company's door", DEADLINE, async || door.get("/api/v1/ping").await.status == 200).await;
    let spares = "SELECT count(*) FROM spares";
    wait_until("a spare", DEADLINE, async || {
        session.query_one(spares, &[]).await.unwrap().get::<_, i64>(0) > 0
    })
    .await;
}
