//! Bad days of what is written down: routers that can't hear of each other, a registry that goes back in time, a server
//! whose address changes, processes that don't end when they are told to.

use crate::bad_days::AWAY;
use portero_auth::MasterKey;
use portero_kernel::ExposeSecret;
use portero_pg::{EndError, SessionsOf};
use portero_testkit::{
    Census, DEADLINE, Load, Mode, Process, TestApp, TestCluster, scratch_dir, wait_for, wait_until,
};
use std::{fs, path::Path, time::Duration};

const SIX: [&str; 6] = ["acme", "globex", "initech", "hooli", "umbrella", "wayne"];
/// The states of the budget on the server that the tests are about.
const CAPACITY: [(&str, &str); 2] = [("server", "ill"), ("state", "capacity")];
const GRANTED: [(&str, &str); 2] = [("server", "ill"), ("state", "granted")];

#[tokio::test]
async fn a_router_that_alone_is_cut_off_from_the_registry_leaves_room_for_the_others() {
    let registry = TestCluster::private().await;
    let proxy = registry.proxy();
    let server = TestCluster::with_settings(&[("max_connections", "37")]).await;
    let app = TestApp::builder().cluster(&registry).registry_through(&proxy).start().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &SIX).await;
    let sibling = app.direct_sibling().await;
    let census = Census::of(&server);
    let mut cut_off = Load::on(&app, &companies).clients(24).eager().expecting(&AWAY).start();
    let mut other =
        Load::on(&app, &companies).through(&sibling.http).clients(24).eager().expecting(&AWAY).start();
    cut_off.came_back(300).await;
    other.came_back(300).await;
    let capacity = app.metric("portero_budget", &CAPACITY).await;

    proxy.set(Mode::BlackHole);
    cut_off.phase("cut off");
    other.phase("beside it");
    wait_until("the other to have all of it", DEADLINE, async || {
        sibling.metric("portero_budget", &GRANTED).await == capacity
    })
    .await;
    // The one that hears nothing sees what the other has on the server.
    wait_until("both together to keep to what the server bears", DEADLINE * 3, async || {
        census.begin_anew();
        let enough = census.times() + 100;
        wait_until("the connections to be counted", DEADLINE, async || census.times() >= enough).await;
        census.most() as f64 <= capacity
    })
    .await;

    proxy.set(Mode::Pass);
    wait_until("both to have a share again", DEADLINE, async || {
        let (mine, theirs) =
            (app.metric("portero_budget", &GRANTED).await, sibling.metric("portero_budget", &GRANTED).await);
        mine > 1.0 && theirs > 1.0 && mine + theirs <= capacity
    })
    .await;
    cut_off.stop().await.print("cut off from the registry alone");
    other.stop().await.print("the other");
}

#[tokio::test]
async fn a_router_that_fences_another_on_a_server_that_does_not_obey_goes_on_beating() {
    let registry = TestCluster::private().await;
    let server = TestCluster::private().await;
    let app = TestApp::builder().cluster(&registry).start().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &["acme", "globex", "initech"]).await;
    let mut sibling = app.sibling().await;
    let theirs = |name: &str| format!("portero:{}", name.replace('-', ""));
    let session = app.peek().await;
    let live = "SELECT id::text, beats FROM routers WHERE expires_at > now() ORDER BY started_at";
    let routers = wait_for("both routers to live", DEADLINE, async || {
        let rows = session.query(live, &[]).await.unwrap();
        (rows.len() == 2).then(|| [rows[0].get::<_, String>(0), rows[1].get(0)])
    })
    .await;
    for company in &companies {
        let at_sibling = sibling.http.request("GET", &company.host, "/api/v1/ping");
        at_sibling.send().await.expect(200);
    }
    let admin = server.superuser("postgres").await;
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = $1";
    let pids = admin.query(sql, &[&theirs(&routers[1])]).await.unwrap();
    assert_eq!(pids.len(), 3);
    let frozen: Vec<_> = pids.iter().map(|row| server.freeze_backend(row.get(0))).collect();
    sibling.process.kill();

    let beats = async || {
        let rows = session.query(live, &[]).await.unwrap();
        let alive = rows.iter().find(|row| row.get::<_, String>(0) == routers[0]);
        alive.expect("its lease lasts all the time").get::<_, i64>(1)
    };
    wait_until("the dead one's lease to run out", DEADLINE, async || {
        beats().await;
        session.query(live, &[]).await.unwrap().len() == 1
    })
    .await;
    // For longer than a lease lasts it tries to end sessions that don't end.
    let before = beats().await;
    wait_until("ten beats", DEADLINE, async || beats().await >= before + 10).await;
    let capacity = app.metric("portero_budget", &CAPACITY).await;
    assert!(app.metric("portero_budget", &GRANTED).await < capacity, "what didn't end counts");
    drop(frozen);
    wait_until("the dead one's share", DEADLINE, async || {
        app.metric("portero_budget", &GRANTED).await == capacity
    })
    .await;
    session.close().await;
    admin.close().await;
}

#[tokio::test]
async fn a_registry_that_was_restored_is_believed_though_it_knows_less() {
    let registry = TestCluster::private().await;
    let app = TestApp::builder().cluster(&registry).start().await;
    let companies = [app.sign_up("acme").await, app.sign_up("globex").await];
    let (live, backup) = (app.registry_database().to_owned(), format!("{}_backup", app.registry_database()));
    let session = registry.superuser("postgres").await;
    // Copied, and later put in its place, while nobody is connected.
    let alone = async |then: &str| {
        let close = format!("ALTER DATABASE {live} ALLOW_CONNECTIONS false");
        session.batch_execute(&close).await.unwrap();
        let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
        session.execute(sql, &[&live]).await.unwrap();
        for statement in then.split(';') {
            session.batch_execute(statement).await.unwrap();
        }
        let open = format!("ALTER DATABASE {live} ALLOW_CONNECTIONS true");
        session.batch_execute(&open).await.unwrap();
    };
    let mut load = Load::on(&app, &companies[1..]).clients(2).start();
    let copy = format!("CREATE DATABASE {backup} TEMPLATE {live} OWNER portero");
    alone(&format!("{copy}; REVOKE ALL ON DATABASE {backup} FROM PUBLIC")).await;
    for weight in ["2", "3", "4"] {
        app.portero(&["tenant", "weight", "acme", weight]).run().await.expect(0);
    }
    let late = app.sign_up("hooli").await;
    alone(&format!("DROP DATABASE {live}; ALTER DATABASE {backup} RENAME TO {live}")).await;

    let guest = app.guest("hooli");
    wait_until("a company that it doesn't know to be nobody", DEADLINE, async || {
        guest.get("/api/v1/ping").await.problem() == "tenant-not-found"
    })
    .await;
    app.api(&late).get("/api/v1/me").await.expect(404);
    // By its generations this is older than what was known of acme.
    app.portero(&["tenant", "pause", "acme"]).run().await.expect(0);
    app.api(&companies[0]).get("/api/v1/me").await.expect_problem(503, "tenant-paused");
    app.portero(&["tenant", "resume", "acme"]).run().await.expect(0);
    app.api(&companies[0]).get("/api/v1/me").await.expect(200);
    load.came_back(20).await;
    load.stop().await.print("a registry that was restored, neighbour");
    session.close().await;
}

#[tokio::test]
async fn a_server_that_is_reached_by_another_address_keeps_no_connection_at_the_old_one() {
    let server = TestCluster::private().await;
    let proxy = server.proxy();
    let app = TestApp::start().await;
    let companies = app.sign_up_on("ill", &server, proxy.address(), &["acme", "globex"]).await;
    let mut load = Load::on(&app, &companies).clients(4).start();
    load.came_back(50).await;
    assert!(proxy.open() >= 3, "one for each company and the prober's");
    let directly = server.url(server.address(), "postgres");
    app.registry().await.server_upsert("ill", &directly.into()).await.unwrap();
    wait_until("the old address to be left", DEADLINE, async || proxy.open() == 0).await;
    proxy.set(Mode::Reset);
    load.came_back(50).await;
    // Nobody was refused.
    load.stop().await.print("another address");
}

#[tokio::test]
async fn sessions_that_do_not_end_when_they_are_told_to_are_not_said_to_have_ended() {
    let server = TestCluster::private().await;
    let app = TestApp::start().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &["acme", "globex"]).await;
    let admin = server.superuser("postgres").await;
    let login = app.login_of(&companies[0]).await;
    let session = server.login(&login.name, &login.password, &login.name).await.unwrap();
    let pid = session.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let frozen = server.freeze_backend(pid);
    let role = SessionsOf::Role(&login.name);
    let soon = Duration::from_millis(300);
    assert!(!role.have_ended(&admin, soon).await.unwrap());
    let left = role.end(&admin, soon).await;
    assert!(matches!(left, Err(EndError::Left(1))), "{left:?}");
    drop(frozen);
    role.end(&admin, DEADLINE).await.unwrap();
    assert!(role.have_ended(&admin, soon).await.unwrap());
    // The neighbour's are none of that.
    let neighbour = app.login_of(&companies[1]).await;
    assert!(!SessionsOf::Role(&neighbour.name).have_ended(&admin, Duration::ZERO).await.unwrap());
    admin.close().await;
}

#[tokio::test]
async fn a_data_directory_that_was_copied_gives_no_two_routers_one_identity() {
    let mut app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    wait_until("all that is known to be on disk", DEADLINE, async || {
        app.metric("portero_snapshot_clock", &[]).await == app.metric("portero_route_clock", &[]).await
    })
    .await;
    let copy = scratch_dir("copied");
    fs::create_dir_all(&copy).unwrap();
    fs::copy(Path::new(&app.env()["PORTERO_DATA_DIR"]).join("router.snapshot"), copy.join("router.snapshot"))
        .unwrap();
    let sibling = app.sibling_in(&copy).await;
    let registry = app.registry().await.clone();
    wait_until("two routers", DEADLINE, async || registry.routers_live().await.unwrap().len() == 2).await;
    for company in [&acme, &globex] {
        app.api(company).get("/api/v1/me").await.expect(200);
        let ping = sibling.http.request("GET", &company.host, "/api/v1/ping");
        assert_eq!(ping.send().await.expect(200).str_at("/tenant"), company.subdomain);
    }
    drop(sibling);
    // Its own former life is nobody else.
    let before = registry.routers_live().await.unwrap();
    app.kill();
    app.boot().await;
    app.api(&acme).get("/api/v1/me").await.expect(200);
    let after = registry.routers_live().await.unwrap();
    assert!(after.iter().all(|router| before.iter().any(|known| known.id == router.id)), "{after:?}");
}

#[tokio::test]
async fn another_master_key_is_refused_before_anything_is_written_with_it() {
    let app = TestApp::start().await;
    let (acme, _globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let mut env = app.env().clone();
    let other = MasterKey::generate().to_text().expose_secret().to_owned();
    env.insert("PORTERO_MASTER_KEY".to_owned(), other);
    env.insert("PORTERO_DATA_DIR".to_owned(), scratch_dir("other-key").to_string_lossy().into_owned());
    let mut process = Process::spawn(&["serve"], &env);
    assert!(!process.ended().await.success());
    let said = process.log().join("\n");
    assert!(said.contains("written with another master key: set PORTERO_MASTER_KEY"), "{said}");
    app.api(&acme).get("/api/v1/me").await.expect(200);
    app.sign_up("initech").await;
    app.portero(&["doctor"]).run().await.expect(0);
}
