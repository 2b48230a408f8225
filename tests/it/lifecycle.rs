//! A company's door in every state: being made, paused, its database away; and what that costs the others: nothing.

use portero_testkit::{Browser, DEADLINE, StopMode, TestApp, TestCluster, join_all, wait_until};
use tokio_postgres::error::SqlState;

async fn ping(app: &TestApp, subdomain: &str) -> u16 {
    app.guest(subdomain).get("/api/v1/ping").await.status
}

#[tokio::test]
async fn a_paused_company_is_answered_so_by_a_running_server_and_shut_out_of_its_database() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let (connected, login) = (app.database_of(&acme).await, app.login_of(&acme).await);
    connected.query_one("SELECT 1", &[]).await.unwrap();

    let paused = app
        .portero(&["tenant", "pause", "acme", "--reason", "unpaid", "--drain", "0", "--json"])
        .run()
        .await
        .expect(0)
        .json();
    assert_eq!((&paused["status"], &paused["pause_reason"]), (&"paused".into(), &"unpaid".into()));
    // The fence is up when the command ends, whatever a router has heard.
    connected.query_one("SELECT 1", &[]).await.expect_err("the connection is cut");
    let refused = app
        .cluster()
        .login(&login.name, &login.password, &login.name)
        .await
        .expect_err("the role is shut out");
    assert_eq!(refused.code(), Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION), "{refused:?}");

    wait_until("the router to hear of it", DEADLINE, async || {
        app.guest("acme").get("/api/v1/ping").await.problem() == "tenant-paused"
    })
    .await;
    for path in ["/api/v1/ping", "/api/v1/me", "/api/v1/users", "/", "/login", "/nowhere"] {
        let answer = app.api(&acme).get(path).await.expect_problem(503, "tenant-paused");
        assert!(answer.header("retry-after").is_some());
        assert!(!answer.text().contains("unpaid"), "the reason is the operators'");
    }
    Browser::new(&app).visit(&acme.host, "/").await.expect(503);
    app.portero(&["tenant", "pause", "acme"]).run().await.expect(0);
    app.api(&globex).get("/api/v1/me").await.expect(200);

    let resumed = app.portero(&["tenant", "resume", "acme", "--json"]).run().await.expect(0).json();
    assert_eq!((&resumed["status"], &resumed["pause_reason"]), (&"active".into(), &serde_json::Value::Null));
    wait_until("the door to open", DEADLINE, async || ping(&app, "acme").await == 200).await;
    app.api(&acme).get("/api/v1/me").await.expect(200);
    app.database_of(&acme).await.query_one("SELECT 1", &[]).await.unwrap();
    app.portero(&["tenant", "resume", "acme"]).run().await.expect(0);
}

#[tokio::test]
async fn what_is_under_way_at_a_pause_may_finish_and_is_cut_when_it_takes_too_long() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let database = app.login_of(&acme).await.name;
    // What a session sees of the others stands still within a transaction.
    let (blocker, looker) =
        (app.cluster().superuser(&database).await, app.cluster().superuser(&database).await);
    // A request that waits for a lock is under way for as long as the test wants it to be.
    for (drain, cut, status) in [("60", 0, 200), ("1", 1, 503)] {
        blocker.batch_execute("BEGIN; LOCK TABLE settings IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let under_way = tokio::spawn(app.api(&acme).get("/api/v1/settings"));
        wait_until("the request to wait for the lock", DEADLINE, async || {
            let sql = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
            looker.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
        })
        .await;
        let call = app.portero(&["tenant", "pause", "acme", "--drain", drain, "--json"]);
        let pausing = tokio::spawn(async move { call.run().await.expect(0).json() });
        wait_until("the pause to be heard of", DEADLINE, async || {
            app.guest("acme").get("/api/v1/ping").await.problem() == "tenant-paused"
        })
        .await;
        if status == 200 {
            assert!(!under_way.is_finished() && !pausing.is_finished());
            blocker.batch_execute("ROLLBACK").await.unwrap();
        }
        assert_eq!(under_way.await.unwrap().expect(status).status, status);
        assert_eq!(pausing.await.unwrap()["cut"], cut);
        blocker.batch_execute("ROLLBACK").await.unwrap();
        app.portero(&["tenant", "resume", "acme"]).run().await.expect(0);
    }
}

#[tokio::test]
async fn a_company_stays_paused_over_a_restart() {
    let mut app = TestApp::start().await;
    app.sign_up("acme").await;
    app.portero(&["tenant", "pause", "acme"]).run().await.expect(0);
    assert!(app.terminate().await.success());
    app.boot().await;
    app.guest("acme").get("/api/v1/ping").await.expect_problem(503, "tenant-paused");
}

#[tokio::test]
async fn a_company_that_is_being_made_is_answered_so_until_it_is_done() {
    let mut app = TestApp::builder().failpoints("migrate::before=pause").start().await;
    let (accepted, password) = app.ask_for("acme").await;
    let accepted = accepted.expect(202);
    app.wait_for_point("migrate::before").await;
    wait_until("the router to hear of it", DEADLINE, async || ping(&app, "acme").await == 503).await;
    for path in ["/api/v1/ping", "/api/v1/me", "/", "/welcome?token=x"] {
        let answer = app.guest("acme").get(path).await.expect_problem(503, "tenant-provisioning");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let page = Browser::new(&app).visit(&app.host("acme"), "/").await.expect(503);
    assert!(page.text().contains("http-equiv=\"refresh\""), "the page loads itself again: {}", page.text());
    app.ask_for("acme").await.0.expect_problem(409, "taken");
    for command in ["pause", "resume"] {
        let refused = app.portero(&["tenant", command, "acme"]).run().await.expect(1);
        assert!(refused.stderr.contains("still being created"), "{}", refused.stderr);
    }
    // Over the shoulder: nobody is led in before it is done.
    let enter = format!("/signup/{}/enter", accepted.str_at("/job"));
    Browser::new(&app)
        .visit(&app.apex(), &enter)
        .await
        .expect_way_to(&format!("/signup/{}", accepted.str_at("/job")));

    app.recover().await;
    app.finish_sign_up("acme", &accepted, &password).await;
}

#[tokio::test]
async fn a_database_that_is_half_made_is_closed_to_every_other_company() {
    let cluster = TestCluster::managed().await;
    let points = ["claim_or_create_database::after", "role::after", "grants::before", "migrate::before"];
    join_all(points.map(async |point| {
        let mut app = TestApp::builder().cluster(&cluster).start().await;
        let other = app.sign_up("globex").await;
        app.kill();
        app.set_failpoints(&format!("{point}=pause"));
        app.boot().await;
        app.ask_for("acme").await.0.expect(202);
        app.wait_for_point(point).await;
        let session = app.peek().await;
        let row =
            session.query_one("SELECT db_name FROM tenants WHERE subdomain = 'acme'", &[]).await.unwrap();
        let login = app.login_of(&other).await;
        let entered = cluster.login(&login.name, &login.password, row.get(0)).await;
        assert_eq!(entered.expect_err(point).code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{point}");
    }))
    .await;
}

#[tokio::test]
async fn a_server_that_is_away_is_told_with_a_time_to_come_back_and_heals_by_itself() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    let acme = app.sign_up("acme").await;
    cluster.halt(StopMode::Immediate).await;
    for path in ["/api/v1/ping", "/api/v1/me", "/api/v1/users"] {
        let answer = app.api(&acme).get(path).await.expect_problem(503, "tenant-database-unavailable");
        assert!(answer.header("retry-after").is_some());
    }
    let fields = [("email", acme.email.as_str()), ("password", &acme.password)];
    Browser::new(&app).submit(&acme.host, "/login", &fields).await.expect(503);
    let (refused, _) = app.ask_for("globex").await;
    assert!(refused.expect_problem(503, "registry-unavailable").header("retry-after").is_some());
    // What needs no database goes on.
    Browser::new(&app).visit(&app.apex(), "/").await.expect(200);
    Browser::new(&app).visit(&acme.host, "/login").await.expect(200);
    app.guest("nobody").get("/").await.expect_problem(404, "tenant-not-found");
    app.operators("/healthz").send().await.expect(200);
    let ready = app.operators("/readyz").send().await.expect(200);
    assert!(ready.text().contains("without the registry"), "{}", ready.text());
    app.operators("/metrics").send().await.expect(200);

    cluster.resume().await;
    wait_until("the company to be served again", DEADLINE, async || ping(&app, "acme").await == 200).await;
    app.api(&acme).get("/api/v1/me").await.expect(200);
    wait_until("the registry to answer again", DEADLINE, async || {
        app.operators("/readyz").send().await.text() == "ready\n"
    })
    .await;
    app.sign_up("globex").await;
    cluster.clean_slate().await;
}

#[tokio::test]
async fn without_the_registry_companies_that_are_known_are_served_on() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let admin = app.cluster().superuser("postgres").await;
    let database = app.registry_database();
    admin.batch_execute(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false")).await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    admin.execute(cut, &[&database]).await.unwrap();
    for company in [&acme, &globex] {
        for _ in 0..10 {
            app.api(company).get("/api/v1/me").await.expect(200);
        }
    }
    let mut browser = Browser::new(&app);
    browser
        .submit(&acme.host, "/login", &[("email", &acme.email), ("password", &acme.password)])
        .await
        .expect_way_to("/");
    app.ask_for("initech").await.0.expect_problem(503, "registry-unavailable");
    admin.batch_execute(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true")).await.unwrap();
    wait_until("sign-ups to go on", DEADLINE, async || app.ask_for("initech").await.0.status != 503).await;
    // Changes are heard again, too.
    app.portero(&["tenant", "pause", "acme"]).run().await.expect(0);
    wait_until("the pause to be heard", DEADLINE, async || ping(&app, "acme").await == 503).await;
}

#[tokio::test]
async fn connections_that_are_cut_are_replaced() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let login = app.login_of(&acme).await;
    let admin = app.cluster().superuser("postgres").await;
    for _ in 0..5 {
        app.api(&acme).get("/api/v1/me").await.expect(200);
        let cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1";
        assert!(admin.execute(cut, &[&login.name]).await.unwrap() > 0);
        wait_until("the company to be served again", DEADLINE, async || ping(&app, "acme").await == 200)
            .await;
    }
}

#[tokio::test]
async fn a_server_that_is_asked_to_stop_ends_in_order_and_goes_on_where_it_was() {
    let mut app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    // Sign-ups under way, and somebody who watches one.
    let accepted = join_all(["globex", "initech"].map(async |name| app.ask_for(name).await)).await;
    let (jobs, passwords): (Vec<_>, Vec<_>) =
        accepted.into_iter().map(|(answer, password)| (answer.expect(202), password)).unzip();
    let events = app
        .http()
        .request("GET", &app.apex(), &format!("/signup/{}/events", jobs[0].str_at("/job")))
        .open()
        .await;
    assert!(app.terminate().await.success());
    events.bytes().await.expect("the stream ends in order");
    app.boot().await;
    app.api(&acme).get("/api/v1/me").await.expect(200);
    for ((job, password), name) in jobs.iter().zip(&passwords).zip(["globex", "initech"]) {
        app.finish_sign_up(name, job, password).await;
    }
}

#[tokio::test]
async fn a_route_is_read_alone_as_it_is_read_among_all() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let registry = app.registry().await;
    let (_, all) = registry.routes_snapshot().await.unwrap();
    for company in [&acme, &globex] {
        let id = company.tenant_id.parse().unwrap();
        let alone = registry.route_of(id).await.unwrap().expect("it is there");
        let among = all.iter().find(|route| route.tenant == id).unwrap();
        assert_eq!(alone.subdomain.as_str(), company.subdomain);
        assert_eq!((alone.generation, &alone.sealed_login), (among.generation, &among.sealed_login));
    }
    assert!(registry.route_of(portero_kernel::TenantId::generate()).await.unwrap().is_none());
}
