//! Looking after jobs that got stuck, and the end of old ones.

use portero_kernel::{JobId, TenantId};
use portero_registry::{NewJob, RegistryError};
use portero_testkit::{TestApp, TestCluster};
use std::time::Duration;

/// An undo that fails, so that a sign-up gets stuck with its database and role there.
const STUCK: &str = "verify::before=return;database_cleanup::before-undo=return";

async fn stuck(app: &TestApp, subdomain: &str) -> String {
    let (accepted, _) = app.ask_for(subdomain).await;
    let job = accepted.expect(202).str_at("/job");
    assert_eq!(app.job_at_rest(&job).await["status"], "failed");
    job
}

#[tokio::test]
async fn a_stuck_job_is_found_and_a_retry_goes_on_where_it_stands() {
    let cluster = TestCluster::private().await;
    let mut app = TestApp::builder().cluster(&cluster).failpoints(STUCK).start().await;
    let job = stuck(&app, "acme").await;

    let listed = app.portero(&["jobs", "list", "--state", "stuck", "--json"]).run().await.expect(0).json();
    assert_eq!(listed["jobs"][0]["id"], job.as_str(), "{listed}");
    let table = app.portero(&["jobs", "list"]).run().await.expect(0).stdout;
    assert!(table.starts_with("ID") && table.contains("stuck"), "{table}");
    let none = app.portero(&["jobs", "list", "--state", "done"]).run().await.expect(0).stdout;
    assert!(none.contains("no such jobs"), "{none}");
    let shown = app.portero(&["jobs", "show", &job[28..]]).run().await.expect(0).stdout;
    assert!(shown.contains("undoing database_cleanup") && shown.contains(&job), "{shown}");
    let doctor = app.portero(&["doctor"]).run().await.expect(1).stdout;
    assert!(doctor.contains(&format!("portero jobs retry {job}")), "{doctor}");

    // What hindered it is removed.
    app.kill();
    let told = app.portero(&["jobs", "retry", &job[28..]]).run().await.expect(0).stdout;
    assert!(told.contains("undone  database_cleanup") && told.contains("is undone"), "{told}");
    cluster.clean_slate().await;
    assert_eq!(app.footprint().await, (0, 1));
    app.set_failpoints("");
    app.boot().await;
    app.sign_up("acme").await;
    let again = app.portero(&["jobs", "retry", &job]).run().await.expect(1).stderr;
    assert!(again.contains("only a stuck one"), "{again}");
    let unknown = app.portero(&["jobs", "show", "ffffffff"]).run().await.expect(1).stderr;
    assert!(unknown.contains("portero jobs list"), "{unknown}");
}

#[tokio::test]
async fn a_job_that_is_given_up_says_what_it_leaves_and_frees_the_name_when_nothing_is_left() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).failpoints(STUCK).start().await;
    let job = stuck(&app, "acme").await;
    let name = cluster.inventory().await.tenants.into_iter().next().unwrap();

    let asked = app.portero(&["jobs", "abandon", &job]).run().await.expect(2);
    assert!(asked.stderr.contains("--yes") && asked.stdout.contains(&name), "{}", asked.all());
    let told = app.portero(&["jobs", "abandon", &job, "--yes"]).run().await.expect(0).stdout;
    assert!(told.contains(&format!("database {name}, role {name}")), "{told}");
    assert!(told.contains("stays reserved"), "{told}");
    app.ask_for("acme").await.0.expect_problem(409, "taken");
    app.portero(&["doctor"]).run().await.expect(0);

    let session = cluster.superuser("postgres").await;
    session.batch_execute(&format!("DROP DATABASE {name}")).await.unwrap();
    session.batch_execute(&format!("DROP ROLE {name}")).await.unwrap();
    session.close().await;
    let told = app.portero(&["jobs", "abandon", &job, "--yes", "--json"]).run().await.expect(0).json();
    assert_eq!(told["left"]["reserved"], false, "{told}");
    assert_eq!(app.footprint().await, (0, 1));
    cluster.clean_slate().await;
    let listed = app.portero(&["audit", "list", "--json"]).run().await.expect(0).json();
    let undone = listed["entries"].as_array().unwrap().iter().find(|entry| entry["verb"] == "tenant.undone");
    assert_eq!(undone.unwrap()["actor_kind"], "cli", "a person gave it up: {listed}");
}

#[tokio::test]
async fn a_job_under_way_is_not_given_up_and_a_tenant_has_one_at_a_time() {
    let app = TestApp::builder().failpoints("role::before=pause").start().await;
    let (accepted, _) = app.ask_for("acme").await;
    let accepted = accepted.expect(202);
    app.wait_for_point("role::before").await;
    let refused = app.portero(&["jobs", "abandon", &accepted.str_at("/job"), "--yes"]).run().await.expect(1);
    assert!(refused.stderr.contains("comes to rest by itself"), "{}", refused.stderr);

    let registry = app.registry().await;
    let tenant: TenantId = accepted.str_at("/id").parse().unwrap();
    let tenant = registry.tenant_by_id(tenant).await.unwrap().unwrap();
    let second =
        NewJob { id: JobId::generate(), kind: "second", steps: &["first"], secret: None, claim: None };
    let refused = registry.job_insert_for(&second, &tenant).await;
    let Err(error @ RegistryError::JobOpen(_)) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains("portero jobs list"), "{error}");
}

#[tokio::test]
async fn jobs_at_rest_are_forgotten_in_time_and_those_that_wait_for_a_person_are_not() {
    let app = TestApp::builder().failpoints(STUCK.replace("verify", "sad/verify").as_str()).start().await;
    app.sign_up("glad").await;
    let job = stuck(&app, "sad").await;
    let registry = app.registry().await;
    assert_eq!(registry.jobs_prune(Duration::from_secs(60)).await.unwrap(), 0, "none is that old");
    let session = app.peek().await;
    session.batch_execute("UPDATE jobs SET finished_at = finished_at - interval '91 days'").await.unwrap();
    session.close().await;
    let ninety = Duration::from_secs(90 * 24 * 60 * 60);
    assert_eq!(registry.jobs_prune(ninety).await.unwrap(), 1);
    app.portero(&["jobs", "show", &job]).run().await.expect(0);
    // Given up, it is still what says why the name is reserved.
    app.portero(&["jobs", "abandon", &job, "--yes"]).run().await.expect(0);
    let session = app.peek().await;
    session.batch_execute("UPDATE jobs SET finished_at = finished_at - interval '91 days'").await.unwrap();
    session.close().await;
    assert_eq!(registry.jobs_prune(ninety).await.unwrap(), 0);
}

#[tokio::test]
async fn a_job_that_hangs_keeps_no_other_from_its_server() {
    // As many as work there at a time.
    let hang = (std::thread::available_parallelism().map_or(1, std::num::NonZero::get) / 2).max(1);
    let hang: Vec<_> = (0..hang).map(|number| format!("acme-{number}")).collect();
    let points: Vec<_> = hang.iter().map(|name| format!("{name}/role::before=pause")).collect();
    let app = TestApp::builder().failpoints(&points.join(";")).start().await;
    for name in &hang {
        app.ask_for(name).await.0.expect(202);
        app.wait_for_point_of(name, "role::before").await;
    }
    let companies = [app.sign_up("globex").await, app.sign_up("initech").await];
    for company in &companies {
        app.api(company).get("/api/v1/me").await.expect(200);
    }
    app.guest("acme-0").get("/api/v1/ping").await.expect_problem(503, "tenant-provisioning");
}
