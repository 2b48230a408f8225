//! Killed at any moment of a sign-up, Portero finishes it or takes it back: the company works, or nothing of it is left.
//! What every workflow passes is in `workflows`; here is what befalls a whole process, or the server.

use portero_testkit::{Company, DEADLINE, StopMode, TestApp, TestCluster, wait_for, wait_until};

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
fn moments(steps: &[&str], moments: [&str; 2]) -> Vec<String> {
    steps.iter().flat_map(|step| moments.map(|moment| format!("{step}::{moment}"))).collect()
}

/// The company works and has one admin, made once.
async fn check_company(app: &TestApp, company: &Company) {
    let users = app.api(company).get("/api/v1/users").await.expect(200).json();
    assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
    let session = app.peek().await;
    let row = session
        .query_one("SELECT admin_user_id::text, status FROM tenants WHERE subdomain = 'acme'", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), (company.admin_id.as_str(), "active"));
    let left = session
        .query_one("SELECT count(*) FROM jobs WHERE secret IS NOT NULL OR lease_until IS NOT NULL", &[])
        .await;
    assert_eq!(left.unwrap().get::<_, i64>(0), 0, "a job at rest keeps no secret and no lease");
    let audit = app.database_of(company).await;
    let made =
        audit.query_one("SELECT count(*) FROM audit WHERE action = 'company.created'", &[]).await.unwrap();
    assert_eq!(made.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn killed_again_and_again_it_still_finishes() {
    let cluster = TestCluster::private().await;
    let mut app = TestApp::builder().cluster(&cluster).failpoints("reserve::before=pause").start().await;
    let (accepted, password) = app.ask_for("acme").await;
    let accepted = accepted.expect(202);
    app.wait_for_point("reserve::before").await;
    for point in moments(&STEPS, ["before", "after"]).into_iter().step_by(3) {
        app.kill();
        app.expire_leases().await;
        app.set_failpoints(&format!("{point}=pause"));
        app.boot().await;
        app.wait_for_point(&point).await;
    }
    app.recover().await;
    let company = app.finish_sign_up("acme", &accepted, &password).await;
    check_company(&app, &company).await;
    cluster.clean_slate().await;
}

#[tokio::test]
async fn an_undo_that_fails_for_good_is_for_a_person_and_keeps_the_name_reserved() {
    let app = TestApp::builder()
        .failpoints("verify::before=return;database_cleanup::before-undo=return")
        .start()
        .await;
    let (accepted, _) = app.ask_for("acme").await;
    let job = accepted.expect(202).str_at("/job");
    assert_eq!(app.job_at_rest(&job).await["status"], "failed");
    app.ask_for("acme").await.0.expect_problem(409, "taken");
    // Nobody is being made there: who comes is told so, however long the name stays reserved.
    wait_until("the router to hear of it", DEADLINE, async || {
        app.guest("acme").get("/api/v1/ping").await.problem() == "tenant-not-found"
    })
    .await;
    let sibling = app.sibling().await;
    let door = sibling.http.request("GET", &app.host("acme"), "/api/v1/ping").send().await;
    door.expect_problem(404, "tenant-not-found");
    let doctor = app.portero(&["doctor"]).run().await.expect(1);
    assert!(doctor.stdout.contains(&job), "the doctor names it: {}", doctor.stdout);
}

#[tokio::test]
async fn another_process_takes_over_when_the_lease_of_a_dead_one_has_run_out() {
    let mut app = TestApp::builder().failpoints("migrate::after=pause").start().await;
    let (accepted, password) = app.ask_for("acme").await;
    let accepted = accepted.expect(202);
    app.wait_for_point("migrate::after").await;
    let sibling = app.sibling().await;
    app.kill();
    // Nobody helps: the lease runs out in its own time.
    let job = format!("/api/v1/jobs/{}", accepted.str_at("/job"));
    wait_for("the other process to finish the job", DEADLINE, async || {
        let job = sibling.http.request("GET", &app.apex(), &job).send().await.expect(200).json();
        (job["status"] == "done").then_some(())
    })
    .await;
    app.set_failpoints("");
    app.boot().await;
    let company = app.finish_sign_up("acme", &accepted, &password).await;
    check_company(&app, &company).await;
}

#[tokio::test]
async fn a_worker_that_was_away_longer_than_its_lease_writes_nothing_more() {
    let app = TestApp::builder().failpoints("activate::before=pause").start().await;
    let (accepted, password) = app.ask_for("acme").await;
    let accepted = accepted.expect(202);
    app.wait_for_point("activate::before").await;
    // As a machine that hangs.
    app.process().suspend();
    app.expire_leases().await;
    let sibling = app.sibling().await;
    let job = format!("/api/v1/jobs/{}", accepted.str_at("/job"));
    wait_for("the other process to finish the job", DEADLINE, async || {
        let job = sibling.http.request("GET", &app.apex(), &job).send().await.expect(200).json();
        (job["status"] == "done").then_some(())
    })
    .await;
    app.process().resume();
    wait_until("the first to see that it lost the job", DEADLINE, async || {
        app.process().log().iter().any(|line| line.contains("another worker has taken over the job"))
    })
    .await;
    let company = app.finish_sign_up("acme", &accepted, &password).await;
    check_company(&app, &company).await;
}

#[tokio::test]
async fn a_database_server_that_crashes_under_a_sign_up_leaves_all_of_it_or_nothing() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).failpoints("migrate::before=sleep(1000)").start().await;
    let (accepted, _) = app.ask_for("acme").await;
    let job = accepted.expect(202).str_at("/job");
    app.wait_for_point("migrate::before").await;
    cluster.halt(StopMode::Kill).await;
    cluster.resume().await;
    let path = format!("/api/v1/jobs/{job}");
    let status = wait_for("the job to come to rest", DEADLINE, async || {
        let answer = app.at_apex().get(&path).await;
        let job: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        (answer.status == 200 && job["status"] != "running").then(|| job["status"].clone())
    })
    .await;
    assert!(status == "done" || status == "failed", "{status}");
    cluster.clean_slate().await;
    assert_eq!(app.footprint().await.0, i64::from(status == "done"));
}
