//! Whoever runs the platform and meets trouble: everything that went wrong is named where one looks for it, with the step
//! that goes on from there.

use portero_testkit::{DEADLINE, StopMode, TestApp, TestCluster, new_password, wait_until};
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

/// An undo that fails for good, with the database and the role there; and one that goes on failing.
const STUCK: &str = "verify::before=return;database_cleanup::before-undo=return";
const FAILING: &str = "verify::before=return;database_cleanup::before-undo=return(again)";

async fn job_of(app: &TestApp, kind: &str) -> String {
    let listed = app.portero(&["jobs", "list", "--json"]).run().await.expect(0).json();
    let jobs = listed["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["kind"] == kind).unwrap_or_else(|| panic!("{listed}"));
    job["id"].as_str().unwrap().to_owned()
}

/// The overview, after the servers were looked at.
async fn overview(app: &TestApp) -> String {
    app.operator("POST", "/console/compare").await.send().await.expect(303);
    app.operator("GET", "/console").await.header("accept", "text/html").send().await.expect(200).text()
}

#[tokio::test]
async fn a_job_whose_undo_keeps_failing_is_named_everywhere_and_goes_on_by_itself() {
    let cluster = TestCluster::private().await;
    let mut app = TestApp::builder().cluster(&cluster).failpoints(FAILING).start().await;
    let (accepted, _) = app.ask_for("acme").await;
    let job = accepted.expect(202).str_at("/job");
    wait_until("a first round of tries", DEADLINE, async || {
        let shown = app.portero(&["jobs", "show", &job, "--json"]).run().await.expect(0).json();
        shown["status"] == "undoing" && shown["steps"][1]["attempts"].as_i64().unwrap() >= 4
    })
    .await;
    app.portero(&["doctor"]).run().await.expect(0);
    // As after some rounds more.
    let session = app.peek().await;
    session
        .batch_execute("UPDATE job_steps SET attempt = attempt + 20 WHERE status = 'undoing'")
        .await
        .unwrap();

    let told = app.portero(&["doctor"]).run().await.expect(1).stdout;
    assert!(told.contains("undo of database_cleanup") && told.contains("was told to fail once"), "{told}");
    assert!(told.contains(&format!("portero jobs show {job}")) && told.contains("by itself"), "{told}");
    let page = overview(&app).await;
    assert!(page.contains("data-trouble=\"failing_jobs\"") && page.contains(&job), "{page}");
    let metric = async |state: &str| app.metric("portero_jobs", &[("state", state)]).await;
    assert_eq!((metric("undoing").await, metric("failing").await, metric("stuck").await), (1.0, 1.0, 0.0));

    // Neither of both ways to hurry it is one, and each says so.
    let told = app.portero(&["jobs", "retry", &job]).run().await.expect(1).stderr;
    assert!(told.contains("goes on by itself"), "{told}");
    let told = app.portero(&["jobs", "abandon", &job]).run().await.expect(2).stdout;
    assert!(told.contains("heals by itself") && told.contains("was told to fail once"), "{told}");

    app.kill();
    app.set_failpoints("");
    app.boot().await;
    app.expire_leases().await;
    assert_eq!(app.job_at_rest(&job).await["status"], "failed");
    let healed = app.portero(&["jobs", "show", &job, "--json"]).run().await.expect(0).json();
    assert_eq!(healed["status"], "undone");
    app.portero(&["doctor"]).run().await.expect(0);
    cluster.clean_slate().await;
}

#[tokio::test]
async fn what_a_job_that_was_given_up_left_is_removed_by_giving_it_up_again() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).failpoints(STUCK).start().await;
    let (accepted, _) = app.ask_for("acme").await;
    let job = accepted.expect(202).str_at("/job");
    app.job_at_rest(&job).await;
    let name = cluster.inventory().await.tenants.into_iter().next().unwrap();
    let page = overview(&app).await;
    assert!(
        page.contains("data-trouble=\"stuck_jobs\"") && page.contains(&format!("portero jobs retry {job}")),
        "{page}"
    );

    let again = format!("portero jobs abandon {job}");
    let told = app.portero(&["jobs", "abandon", &job, "--yes"]).run().await.expect(0).stdout;
    assert!(told.contains(&format!("database {name}, role {name}")) && told.contains(&again), "{told}");
    // Whoever looks elsewhere finds the same step.
    let told = app.portero(&["doctor"]).run().await.stdout;
    assert!(told.contains("acme") && told.contains(&again), "{told}");
    let told = app.portero(&["doctor", "--mend", "--yes"]).run().await.stdout;
    assert!(told.contains(&again), "{told}");
    let told = app.portero(&["jobs", "retry", &job]).run().await.expect(1).stderr;
    assert!(told.contains(&again), "{told}");
    assert!(overview(&app).await.contains(&again));
    app.ask_for("acme").await.0.expect_problem(409, "taken");

    // Nothing is dropped unasked, and nothing that bears another mark.
    let told = app.portero(&["jobs", "abandon", &job]).run().await.expect(2).stdout;
    assert!(told.contains(&format!("removes database {name}, role {name}")), "{told}");
    let mark = async |text: &str| {
        let sql = format!("COMMENT ON DATABASE {name} IS '{text}'");
        cluster.superuser("postgres").await.batch_execute(&sql).await.unwrap();
    };
    mark("somebody''s own").await;
    let told = app.portero(&["jobs", "abandon", &job, "--yes"]).run().await.expect(1);
    assert!(told.all().contains("another mark"), "{}", told.all());
    assert!(cluster.inventory().await.databases.contains(&name));
    mark(&format!("portero tenant {}", accepted_tenant(&app).await)).await;

    let told = app.portero(&["jobs", "abandon", &job, "--yes"]).run().await.expect(0).stdout;
    assert!(told.contains("Removed") && told.contains("acme is free again"), "{told}");
    app.portero(&["doctor"]).run().await.expect(0);
    assert_eq!(app.footprint().await, (0, 1));
    cluster.clean_slate().await;
    let told = app.portero(&["jobs", "abandon", &job, "--yes", "--json"]).run().await.expect(0).json();
    assert_eq!(
        (&told["left"]["on_server"], &told["left"]["reserved"]),
        (&json!([]), &json!(false)),
        "{told}"
    );
}

async fn accepted_tenant(app: &TestApp) -> String {
    let sql = "SELECT id::text FROM tenants WHERE subdomain = 'acme'";
    app.peek().await.query_one(sql, &[]).await.unwrap().get(0)
}
