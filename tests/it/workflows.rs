//! Each workflow through the kit, and what only one of them can suffer.

use crate::workflow_kit::{
    Flow, everything_twice, failed_at_every_step, frozen_at_every_step, killed_at_every_point, steps,
};
use portero_registry::{Bell, Channel};
use portero_testkit::{ChaosProxy, DEADLINE, Mode, TestApp, TestCluster, Way, wait_for, wait_until};
use std::sync::{Arc, Mutex};

/// A sign-up.
struct CreateTenant;

impl Flow for CreateTenant {
    const STEPS: &'static [&'static str] = &[
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
    const INSIDE: &'static [&'static str] = &[
        "claim_or_create_database::opened",
        "claim_or_create_database::create",
        "claim_or_create_database::created",
        "role::opened",
        "grants::opened",
        "migrate::opened",
        "seed_admin::opened",
        "verify::opened",
    ];
    const INSIDE_UNDO: &'static [&'static str] =
        &["database_cleanup::opened-undo", "database_cleanup::dropped-undo"];
    const UNDOABLE: bool = true;
    // The first was done with the sign-up itself.
    const FIRST_TO_FAIL: usize = 1;
    type Ticket = String;

    async fn start(app: &TestApp, subdomain: &str) -> (String, String) {
        let (accepted, password) = app.ask_for(subdomain).await;
        (accepted.expect(202).str_at("/job"), password)
    }

    /// The company works and has one admin, made once.
    async fn check_done(app: &TestApp, subdomain: &str, password: &String) {
        let company = app.meet(subdomain, &format!("admin@{subdomain}.example"), password).await;
        let users = app.api(&company).get("/api/v1/users").await.expect(200).json();
        assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
        let database = app.database_of(&company).await;
        let sql = "SELECT count(*) FROM audit WHERE action = 'company.created'";
        assert_eq!(database.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 1, "{subdomain}");
        database.close().await;
    }

    /// Nothing of it is left, and the name is free.
    async fn check_undone(app: &TestApp, subdomain: &str) {
        let free = app.at_apex().get(&format!("/api/v1/subdomains/{subdomain}")).await.expect(200).json();
        assert_eq!(free["available"], true, "{subdomain}");
        wait_until("the router to hear of it", DEADLINE, async || {
            app.guest(subdomain).get("/api/v1/ping").await.problem() == "tenant-not-found"
        })
        .await;
    }
}

#[tokio::test]
async fn a_sign_up_killed_at_any_point_comes_to_rest_and_leaves_no_orphan() {
    killed_at_every_point::<CreateTenant>().await;
}

#[tokio::test]
async fn a_sign_up_of_which_everything_happens_twice_is_as_if_it_had_happened_once() {
    everything_twice::<CreateTenant>().await;
}

#[tokio::test]
async fn a_sign_up_of_which_a_step_fails_leaves_nothing() {
    failed_at_every_step::<CreateTenant>().await;
}

#[tokio::test]
async fn a_sign_up_goes_on_elsewhere_when_its_worker_freezes_and_no_late_write_counts() {
    frozen_at_every_step::<CreateTenant>().await;
}

#[tokio::test]
async fn a_lost_reply_to_create_database_makes_no_second_one() {
    let cluster = TestCluster::private().await;
    let elsewhere = TestCluster::private().await;
    let app = TestApp::builder()
        .cluster(&cluster)
        .failpoints("lost/claim_or_create_database::create=1*sleep(1500)")
        .start()
        .await;
    let proxy = ChaosProxy::before(elsewhere.address());
    let cut = async {
        app.wait_for_point_of("lost", "claim_or_create_database::create").await;
        // The statement gets there. The first byte of the answer doesn't come back.
        proxy.set(Mode::Cut { way: Way::Down, after: 0 });
        wait_until("the reply to be lost", DEADLINE, async || {
            app.process().log().iter().any(|line| line.contains("a step failed and will be tried again"))
        })
        .await;
        proxy.set(Mode::Pass);
    };
    let ((), companies) = tokio::join!(cut, app.sign_up_on("second", &elsewhere, proxy.address(), &["lost"]));
    let company = &companies[0];
    app.api(company).get("/api/v1/users").await.expect(200);
    let made = elsewhere.inventory().await;
    assert_eq!((made.databases.len(), made.roles.len()), (1, 1), "{made:?}");
    let here = cluster.inventory().await;
    assert_eq!(made.databases, here.tenants, "the one that there is belongs to the tenant");
}

#[tokio::test]
async fn a_try_that_hangs_is_cut_and_what_it_left_under_way_is_ended_before_the_next() {
    let app = TestApp::builder()
        .failpoints("slow/role::limit=return(600);slow/role::opened=1*sleep(3000)")
        .start()
        .await;
    let (accepted, password) = app.ask_for("slow").await;
    let accepted = accepted.expect(202);
    app.wait_for_point_of("slow", "role::opened").await;
    app.finish_sign_up("slow", &accepted, &password).await;
    let steps = steps(&app, &accepted.str_at("/job")).await;
    let role = steps.iter().find(|step| step["name"] == "role").unwrap();
    assert!(role["attempts"].as_i64().unwrap() >= 2, "{role}");
    let log = app.process().log();
    assert!(log.iter().any(|line| line.contains("was cut")), "the log says why it was tried again");
}

#[tokio::test]
async fn a_worker_frozen_inside_a_step_does_not_open_a_door_that_was_shut_meanwhile() {
    // It has looked whether the job is its own, its session is open, and nothing will tell it that it lost the job.
    let app =
        TestApp::builder().failpoints("acme/role::opened=sleep(6000);acme/job::renew=pause").start().await;
    let (accepted, password) = app.ask_for("acme").await;
    let job = accepted.expect(202).str_at("/job");
    app.wait_for_point_of("acme", "role::opened").await;
    app.process().suspend();
    app.expire_leases().await;
    let sibling = app.sibling().await;
    wait_for("the other process to finish the job", DEADLINE, async || {
        let path = format!("/api/v1/jobs/{job}");
        let job = sibling.http.request("GET", &app.apex(), &path).send().await.expect(200).json();
        (job["status"] == "done").then_some(())
    })
    .await;
    app.portero(&["tenant", "pause", "acme", "--drain", "0"]).run().await.expect(0);
    app.process().resume();
    wait_until("the first to see that it lost the job", DEADLINE, async || {
        app.process().log().iter().any(|line| line.contains("another worker has taken over the job"))
    })
    .await;
    let session = app.peek().await;
    let row = session
        .query_one(
            "SELECT rolcanlogin FROM pg_roles JOIN tenants ON rolname = db_name WHERE subdomain = 'acme'",
            &[],
        )
        .await
        .unwrap();
    assert!(!row.get::<_, bool>(0), "a paused tenant's role may not log in");
    session.close().await;
    app.portero(&["tenant", "resume", "acme"]).run().await.expect(0);
    app.meet("acme", "admin@acme.example", &password).await;
}

#[tokio::test]
async fn what_happens_to_a_job_is_heard_by_whoever_listens() {
    let app = TestApp::start().await;
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let to = Arc::clone(&heard);
    let mut bell = Bell::new(app.registry().await, Channel::JobEvents)
        .telling(move |job| to.lock().unwrap().push(job.to_owned()));
    bell.listen().await;
    let (accepted, password) = app.ask_for("acme").await;
    let accepted = accepted.expect(202);
    app.finish_sign_up("acme", &accepted, &password).await;
    // Each of nine steps begins and ends, and then the job.
    wait_until("all of it to be heard", DEADLINE, async || heard.lock().unwrap().len() >= 19).await;
    let job = accepted.str_at("/job");
    assert!(heard.lock().unwrap().iter().all(|one| *one == job), "{heard:?} {job}");
}
