//! Killed at any moment of a sign-up, Portero finishes it or takes it back: the company works, or nothing of it is left.
//! Each test counts what is there on a cluster of its own.

use portero_testkit::{Company, DEADLINE, StopMode, TestApp, TestCluster, join_all, wait_for, wait_until};

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
/// Cases that go on at the same time.
const LANES: usize = 3;

/// Runs all cases, a few at a time.
async fn each<T>(cases: impl IntoIterator<Item = T>, run: impl AsyncFn(T)) {
    let mut lanes: Vec<Vec<T>> = (0..LANES).map(|_| Vec::new()).collect();
    for (number, case) in cases.into_iter().enumerate() {
        lanes[number % LANES].push(case);
    }
    let run = &run;
    join_all(lanes.into_iter().map(async |lane| {
        for case in lane {
            run(case).await;
        }
    }))
    .await;
}

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

/// Nothing of it is left, and the name is free.
async fn check_undone(app: &TestApp, job: &str, what: &str) {
    assert_eq!(app.job_at_rest(job).await["status"], "failed", "{what}");
    let session = app.peek().await;
    let row = session
        .query_one("SELECT status, secret IS NULL, (SELECT count(*) FROM tenants) FROM jobs", &[])
        .await
        .unwrap();
    assert_eq!(
        (row.get::<_, &str>(0), row.get::<_, bool>(1), row.get::<_, i64>(2)),
        ("undone", true, 0),
        "{what}"
    );
    let free = app.at_apex().get("/api/v1/subdomains/acme").await.expect(200).json();
    assert_eq!(free["available"], true, "{what}");
    wait_until("the router to hear of it", DEADLINE, async || {
        app.guest("acme").get("/api/v1/ping").await.problem() == "tenant-not-found"
    })
    .await;
}

#[tokio::test]
async fn killed_at_any_moment_of_a_sign_up_the_next_start_finishes_it() {
    let cluster = TestCluster::private().await;
    each(moments(&STEPS, ["before", "after"]), async |point| {
        let mut app =
            TestApp::builder().cluster(&cluster).failpoints(&format!("{point}=pause")).start().await;
        let (accepted, password) = app.ask_for("acme").await;
        let accepted = accepted.expect(202);
        app.wait_for_point(&point).await;
        app.recover().await;
        let company = app.finish_sign_up("acme", &accepted, &password).await;
        check_company(&app, &company).await;
    })
    .await;
    cluster.clean_slate().await;
}

#[tokio::test]
async fn a_step_that_fails_for_good_leaves_nothing_and_the_name_is_free_again() {
    let cluster = TestCluster::private().await;
    // Before the step has done anything, and when all its effect is there. The first can't fail: it was done with the
    // sign-up itself.
    each(moments(&STEPS[1..], ["before", "after"]), async |point| {
        let mut app =
            TestApp::builder().cluster(&cluster).failpoints(&format!("{point}=return")).start().await;
        let (accepted, _) = app.ask_for("acme").await;
        check_undone(&app, &accepted.expect(202).str_at("/job"), &point).await;
        // The very name can be had by whoever comes next.
        if point.ends_with("after") {
            app.recover().await;
            app.sign_up("acme").await;
        }
    })
    .await;
    cluster.clean_slate().await;
}

#[tokio::test]
async fn killed_at_any_moment_of_an_undo_the_next_start_finishes_it() {
    let cluster = TestCluster::private().await;
    each(moments(&STEPS[..8], ["before-undo", "after-undo"]), async |point| {
        let points = format!("activate::before=return;{point}=pause");
        let mut app = TestApp::builder().cluster(&cluster).failpoints(&points).start().await;
        let (accepted, _) = app.ask_for("acme").await;
        let job = accepted.expect(202).str_at("/job");
        app.wait_for_point(&point).await;
        app.recover().await;
        check_undone(&app, &job, &point).await;
    })
    .await;
    let inventory = cluster.inventory().await;
    assert!(
        inventory.databases.is_empty() && inventory.roles.is_empty() && inventory.tenants.is_empty(),
        "{inventory:?}"
    );
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
    app.guest("acme").get("/api/v1/ping").await.expect_problem(503, "tenant-provisioning");
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
