//! Several database servers, and what the routers that share them know of each other.

use portero_kernel::RouterId;
use portero_pg::Session;
use portero_registry::{Beat, Use};
use portero_testkit::{
    Company, DEADLINE, StopMode, TestApp, TestCluster, new_password, wait_for, wait_until,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_postgres::error::SqlState;

/// How Portero's role logs in to a cluster.
fn url(cluster: &TestCluster) -> String {
    format!("postgresql://portero:{}@127.0.0.1:{}/postgres", cluster.password(), cluster.port())
}

/// An application with a second server.
async fn two_servers() -> (TestApp, Arc<TestCluster>) {
    two_servers_of(400).await
}

/// The second of them takes so many connections; the first takes 400.
async fn two_servers_of(max_connections: usize) -> (TestApp, Arc<TestCluster>) {
    let first = TestCluster::private().await;
    let second = TestCluster::with_settings(&[("max_connections", &max_connections.to_string())]).await;
    let app = TestApp::builder().cluster(&first).start().await;
    let added = app
        .portero(&["server", "add", "second", "--url-stdin", "--json"])
        .stdin(&format!("{}\n", url(&second)))
        .run()
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&added["name"], &added["status"], &added["tenants"]),
        (&json!("second"), &json!("active"), &json!(0))
    );
    assert_eq!(added["address"], format!("127.0.0.1:{}", second.port()));
    assert_eq!(added["capacity"], max_connections - 3 - 24);
    (app, second)
}

/// How many companies each server has.
async fn spread(app: &TestApp) -> Value {
    let list = app.portero(&["server", "list", "--json"]).run().await.expect(0).json();
    list["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|server| (server["name"].as_str().unwrap(), server["tenants"].clone()))
        .collect()
}

async fn sign_up_all<const N: usize>(app: &TestApp, subdomains: [&str; N]) -> Vec<Company> {
    let mut companies = Vec::new();
    for subdomain in subdomains {
        companies.push(app.sign_up(subdomain).await);
    }
    companies
}

async fn has_database(session: &Session, name: &str) -> bool {
    let sql = "SELECT FROM pg_database WHERE datname = $1";
    session.query_opt(sql, &[&name]).await.unwrap().is_some()
}

#[tokio::test]
async fn companies_are_spread_over_the_servers_and_none_goes_to_one_that_drains() {
    let (app, second) = two_servers().await;
    sign_up_all(&app, ["a-one", "b-two", "c-three", "d-four"]).await;
    assert_eq!(spread(&app).await, json!({ "main": 2, "second": 2 }));

    let drained = app.portero(&["server", "drain", "second", "--json"]).run().await.expect(0).json();
    assert_eq!((&drained["status"], &drained["tenants"]), (&json!("draining"), &json!(2)));
    let told = app.portero(&["server", "drain", "second"]).run().await.expect(0).stdout;
    assert!(
        told.contains("2 companies stay") && told.contains("--undo") && !told.contains("nobody"),
        "{told}"
    );
    sign_up_all(&app, ["e-five", "f-six"]).await;
    assert_eq!(spread(&app).await, json!({ "main": 4, "second": 2 }));
    for company in ["a-one", "b-two", "c-three", "d-four", "e-five", "f-six"] {
        app.guest(company).get("/api/v1/ping").await.expect(200);
    }

    let told = app.portero(&["server", "drain", "main"]).run().await.expect(0).stdout;
    assert!(told.contains("nobody can sign up"), "{told}");
    let before = app.footprint().await;
    let (refused, _) = app.ask_for("g-seven").await;
    assert!(refused.expect_problem(503, "registry-unavailable").header("retry-after").is_some());
    let create =
        ["tenant", "create", "--name", "G", "--subdomain", "g-seven", "--admin-email", "g@g.example"];
    let create =
        app.portero(&[create.as_slice(), &["--admin-password-stdin"]].concat()).stdin(&new_password());
    let told = create.run().await.expect(1).stderr;
    assert!(told.contains("no database server can take a new company"), "{told}");
    assert_eq!(app.footprint().await, before, "nothing of it is left");
    let told = app.portero(&["doctor"]).run().await.expect(1).stdout;
    assert!(told.contains("nobody can sign up") && told.contains("ok    second: tenants' roles"), "{told}");

    app.portero(&["server", "drain", "second", "--undo"]).run().await.expect(0);
    app.sign_up("g-seven").await;
    assert_eq!(spread(&app).await, json!({ "main": 4, "second": 3 }));
    app.portero(&["server", "drain", "main", "--undo"]).run().await.expect(0);
    app.portero(&["doctor"]).run().await.expect(0);

    drop(second);
}

#[tokio::test]
async fn no_company_is_taken_where_a_database_like_a_companys_is_open_to_everybody() {
    let (app, second) = two_servers().await;
    let there = second.portero("postgres").await;
    there.batch_execute("CREATE DATABASE scratch").await.unwrap();
    sign_up_all(&app, ["a-one", "b-two"]).await;
    assert_eq!(spread(&app).await, json!({ "main": 2, "second": 0 }));
    let told = app.portero(&["doctor"]).run().await.expect(1).stdout;
    let lines: Vec<_> = told.lines().filter(|line| !line.starts_with("ok ")).collect();
    assert!(lines[0].starts_with("FAIL  second: open databases") && lines[0].contains("scratch"), "{told}");

    let open = "t_00000000000000000000000000000abc";
    let superuser = app.cluster().superuser("postgres").await;
    superuser.batch_execute(&format!("CREATE DATABASE {open}")).await.unwrap();
    let before = app.footprint().await;
    let (refused, _) = app.ask_for("c-three").await;
    refused.expect_problem(503, "registry-unavailable");
    assert_eq!(app.footprint().await, before, "nothing was accepted that would be undone");
    superuser.batch_execute(&format!("REVOKE CONNECT ON DATABASE {open} FROM PUBLIC")).await.unwrap();
    app.sign_up("c-three").await;
    there.batch_execute("REVOKE CONNECT ON DATABASE scratch FROM PUBLIC").await.unwrap();
    // Temporary tables of everybody's are told of, and in no new company's way.
    let told = app.portero(&["doctor"]).run().await.expect(0).stdout;
    assert!(told.contains("warn  second: open databases"), "{told}");
    app.sign_up("d-four").await;
    assert_eq!(spread(&app).await, json!({ "main": 3, "second": 1 }));
}

#[tokio::test]
async fn a_server_twice_as_large_gets_twice_as_many_companies() {
    let (app, _second) = two_servers_of(213).await;
    sign_up_all(&app, ["a-one", "b-two", "c-three", "d-four", "e-five", "f-six"]).await;
    assert_eq!(spread(&app).await, json!({ "main": 4, "second": 2 }));
}

#[tokio::test]
async fn companies_on_different_servers_are_closed_to_each_other_and_share_no_fate() {
    let (app, second) = two_servers().await;
    let companies = sign_up_all(&app, ["acme", "globex"]).await;
    let (first_session, second_session) = (app.peek().await, second.superuser("postgres").await);
    let mut on_second = BTreeSet::new();
    for company in &companies {
        let login = app.login_of(company).await;
        let (here, there) = (
            has_database(&first_session, &login.name).await,
            has_database(&second_session, &login.name).await,
        );
        assert!(here != there, "{} is on one server", company.subdomain);
        // On the other server its role is nobody.
        let foreign = if there { app.cluster() } else { &second };
        let refused = foreign.login(&login.name, &login.password, &login.name).await.expect_err("a stranger");
        assert_eq!(refused.code(), Some(&SqlState::INVALID_PASSWORD), "{refused:?}");
        if there {
            on_second.insert(company.subdomain.clone());
            let session = second.login(&login.name, &login.password, &login.name).await.unwrap();
            session.query_one("SELECT count(*) FROM users", &[]).await.unwrap();
            let refused = second.login(&login.name, &login.password, "postgres").await.expect_err("sameuser");
            assert!(refused.code().is_some(), "{refused:?}");
        }
    }
    assert_eq!(on_second.len(), 1);
    let [acme, globex] = companies.as_slice() else { panic!("two companies") };
    let (away, stays) = if on_second.contains("acme") { (acme, globex) } else { (globex, acme) };
    for (token, host) in [(acme, globex), (globex, acme)] {
        let stranger = app.guest(&host.subdomain).with_token(&token.token);
        stranger.get("/api/v1/me").await.expect_problem(401, "unauthorized");
        app.api(token).get("/api/v1/me").await.expect(200);
    }

    // A pause reaches the right server.
    let login = app.login_of(away).await;
    app.portero(&["tenant", "pause", &away.subdomain]).run().await.expect(0);
    let refused = second.login(&login.name, &login.password, &login.name).await.expect_err("fenced");
    assert_eq!(refused.code(), Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION));
    app.portero(&["tenant", "resume", &away.subdomain]).run().await.expect(0);
    wait_until("the door to open", DEADLINE, async || app.api(away).get("/api/v1/me").await.status == 200)
        .await;

    second.halt(StopMode::Immediate).await;
    app.api(away).get("/api/v1/me").await.expect_problem(503, "tenant-database-unavailable");
    app.api(stays).get("/api/v1/me").await.expect(200);
    // Who signs up meanwhile is put where a server answers, though the other has as few.
    sign_up_all(&app, ["initech", "umbrella"]).await;
    let told = app.portero(&["doctor"]).run().await.expect(1).stdout;
    assert!(told.contains("FAIL  second: connection") && told.contains("ok    main: orphans"), "{told}");
    second.resume().await;
    wait_until("the company to be served again", DEADLINE, async || {
        app.api(away).get("/api/v1/me").await.status == 200
    })
    .await;
    assert_eq!(spread(&app).await, json!({ "main": 3, "second": 1 }));
    app.portero(&["doctor"]).run().await.expect(0);
}

#[tokio::test]
async fn a_sign_up_whose_server_goes_away_leaves_nothing_once_it_is_back() {
    let (first, second) = (TestCluster::private().await, TestCluster::private().await);
    let mut app = TestApp::builder().cluster(&first).failpoints("migrate::before=sleep(2000)").start().await;
    app.portero(&["server", "add", "second", "--url-stdin"]).stdin(&url(&second)).run().await.expect(0);
    app.portero(&["server", "drain", "main"]).run().await.expect(0);
    let (accepted, _) = app.ask_for("acme").await;
    let job = accepted.expect(202).str_at("/job");
    app.wait_for_point("migrate::before").await;
    second.halt(StopMode::Immediate).await;
    wait_until("the undo to wait", DEADLINE, async || {
        app.process().log().iter().any(|line| line.contains("it will be tried again"))
    })
    .await;
    assert_eq!(
        app.at_apex().get(&format!("/api/v1/jobs/{job}")).await.expect(200).json()["status"],
        "running"
    );
    app.ask_for("acme").await.0.expect_problem(409, "taken");
    // Others are not held up by it, and whoever comes next goes on with it.
    app.set_failpoints("");
    app.portero(&["server", "drain", "main", "--undo"]).run().await.expect(0);
    assert!(app.terminate().await.success());
    app.boot().await;
    app.sign_up("globex").await;
    second.resume().await;
    assert_eq!(app.job_at_rest(&job).await["status"], "failed");
    assert_eq!(app.footprint().await.0, 1);
    let left = second.inventory().await;
    assert!(left.databases.is_empty() && left.roles.is_empty(), "{left:?}");
    app.sign_up("acme").await;
}

#[tokio::test]
async fn a_server_that_is_not_fit_is_refused_in_a_sentence() {
    let (app, second) = two_servers().await;
    let third = TestCluster::private().await;
    let admin = third.superuser("postgres").await;
    let good = url(&third);
    let refused = async |name: &str, url: &str, code: i32, says: &str| {
        for args in
            [["server", "add", name, "--url-stdin"].as_slice(), &["-vv", "server", "add", name, "--url", url]]
        {
            let told = app.portero(args).stdin(url).run().await.expect(code);
            assert!(told.stderr.contains(says) && told.stdout.is_empty(), "{args:?}: {}", told.all());
            for secret in [third.password(), second.password(), "hunter2"] {
                assert!(!told.all().contains(secret), "a secret: {}", told.all());
            }
        }
    };
    let at = |user: &str, password: &str| {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/postgres", third.port())
    };
    refused("third", "mysql://portero:hunter2@db/postgres", 2, "is not a PostgreSQL URL").await;
    refused("third", "postgresql://portero:hunter2@/postgres", 2, "names no host").await;
    refused("Third", &good, 2, "can't be called").await;
    refused("second", &good, 1, "already").await;
    refused("third", "postgresql://portero:hunter2@127.0.0.1:1/postgres", 1, "does not let Portero in").await;
    refused("third", &at("portero", "hunter2"), 1, "password authentication failed").await;
    refused("third", &url(app.cluster()), 1, "it is called main").await;
    refused("third", &url(&second).replace("127.0.0.1", "localhost"), 1, "it is called second").await;
    for (change, says, back) in [
        ("ALTER ROLE portero SUPERUSER", "is a superuser", "ALTER ROLE portero NOSUPERUSER"),
        ("ALTER ROLE portero NOCREATEROLE", "may not create", "ALTER ROLE portero CREATEROLE"),
        (
            "ALTER ROLE portero SET default_transaction_read_only = on",
            "it is read-only",
            "ALTER ROLE portero RESET ALL",
        ),
    ] {
        admin.batch_execute(change).await.unwrap();
        refused("third", &good, 1, says).await;
        admin.batch_execute(back).await.unwrap();
    }
    admin.batch_execute("ALTER SYSTEM SET superuser_reserved_connections = 373").await.unwrap();
    third.halt(StopMode::Immediate).await;
    third.resume().await;
    refused("third", &good, 1, "raise max_connections by 5").await;
    for missing in [app.portero(&["server", "add", "third"]), app.portero(&["server", "add"])] {
        missing.run().await.expect(2);
    }
    for unknown in ["show", "drain"] {
        let told = app.portero(&["server", unknown, "nobody"]).run().await.expect(1).stderr;
        assert!(told.contains("no server is called nobody"), "{told}");
    }
    assert_eq!(spread(&app).await, json!({ "main": 0, "second": 0 }), "nothing was added");

    // What is left is fit: the URL may come by the environment, without a database.
    let admin = third.superuser("postgres").await;
    admin.batch_execute("ALTER SYSTEM RESET superuser_reserved_connections").await.unwrap();
    third.halt(StopMode::Immediate).await;
    third.resume().await;
    let by_environment = app
        .portero(&["server", "add", "third"])
        .env("PORTERO_SERVER_URL", good.trim_end_matches("/postgres"));
    by_environment.run().await.expect(0);
    app.portero(&["doctor"]).run().await.expect(0);
    for args in [
        ["server", "list"].as_slice(),
        &["server", "show", "third"],
        &["-vv", "server", "show", "third", "--json"],
    ] {
        let told = app.portero(args).run().await.expect(0).all();
        assert!(!told.contains(third.password()) && told.contains("third"), "{told}");
    }
}

/// A router that the test plays.
async fn beat(app: &TestApp, name: &str, applied: i64, ttl: Duration) -> RouterId {
    let registry = app.registry().await;
    let server = registry.servers().await.unwrap()[0].id;
    let router = RouterId::generate();
    let used = Use { server, capacity: 40, held: 0, wanted: 10, used: 5 };
    let beat = Beat {
        router,
        name: name.to_owned(),
        address: None,
        applied,
        ttl,
        fenced: Vec::new(),
        servers: vec![used],
    };
    registry.router_beat(&beat).await.unwrap();
    router
}

#[tokio::test]
async fn a_pause_waits_for_every_router_that_lives_and_names_those_that_are_late() {
    let app = TestApp::start().await;
    let (acme, _globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let registry = app.registry().await;
    let hour = Duration::from_secs(3600);
    let quick = beat(&app, "quick", 0, hour).await;
    beat(&app, "dead", 0, Duration::ZERO).await;

    let mut pausing = pin!(app.portero(&["tenant", "pause", "acme", "--json"]).run());
    let fenced = async {
        let login = app.login_of(&acme).await;
        wait_for("the fence", DEADLINE, async || {
            app.cluster().login(&login.name, &login.password, &login.name).await.err()
        })
        .await;
        registry.router_applied(quick, registry.route_clock().await.unwrap()).await.unwrap();
    };
    tokio::select! {
        outcome = &mut pausing => panic!("it didn't wait: {}", outcome.all()),
        () = fenced => {}
    }
    let paused = pausing.await.expect(0).json();
    assert_eq!((&paused["status"], &paused["known"]["late"]), (&json!("paused"), &json!([])));
    assert!(paused["known"]["routers"].as_i64().unwrap() >= 1, "{paused}");

    beat(&app, "slow", 0, hour).await;
    let begun = Instant::now();
    let told = app.portero(&["tenant", "resume", "acme"]).run().await.expect(0).stdout;
    assert!(begun.elapsed() >= Duration::from_secs(5), "{told}");
    assert!(told.contains("acme is active again") && told.contains("not yet: quick, slow."), "{told}");
    wait_until("the door to open", DEADLINE, async || {
        app.guest("acme").get("/api/v1/ping").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_picture_shows_what_each_router_holds() {
    let app = TestApp::start().await;
    for name in ["web-1", "web-22"] {
        beat(&app, name, 0, Duration::from_secs(3600)).await;
    }
    let shown = app.portero(&["server", "show", "main", "--json"]).run().await.expect(0).json();
    let lease = shown["leases"].as_array().unwrap().iter().find(|lease| lease["name"] == "web-1").unwrap();
    assert_eq!((&lease["used"], &lease["wanted"], &lease["live"]), (&json!(5), &json!(10), &json!(true)));
    let shown = app.portero(&["server", "show", "main"]).run().await.expect(0).stdout;
    let bar = shown.lines().find(|line| line.contains("web-1 ")).unwrap();
    assert!(bar.contains('█') && bar.contains("5 of"), "{shown}");
    let list = app.portero(&["server", "list"]).run().await.expect(0).stdout;
    assert!(list.starts_with("NAME") && list.lines().count() == 2, "{list}");
}
