//! Bad days that only a router which budgets, judges and remembers comes through: servers that hang instead of failing,
//! slots that are few, routers that freeze, a registry that is away when it starts.

use crate::bad_days::{AWAY, HEALED, Scene, assert_silent, figure, take_every_slot};
use portero_testkit::{
    Census, DEADLINE, Load, Mode, Sibling, StopMode, TestApp, TestCluster, wait_for, wait_until,
};
use std::{
    cell::RefCell,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// The longest that anybody waits for a server of which nobody knows yet that it hangs: a statement's own limit, and some.
const NOTICED: Duration = Duration::from_secs(12);
/// How soon a request is answered once that is known.
const KNOWN: Duration = Duration::from_secs(1);
/// A dead router's share is somebody else's after its lease, and some time to judge.
const INHERITED: Duration = Duration::from_secs(10);
const SIX: [&str; 6] = ["acme", "globex", "initech", "hooli", "umbrella", "wayne"];

async fn granted(app: &TestApp) -> f64 {
    app.metric("portero_budget", &[("server", "ill"), ("state", "granted")]).await
}

async fn granted_to(sibling: &Sibling) -> f64 {
    sibling.metric("portero_budget", &[("server", "ill"), ("state", "granted")]).await
}

/// Connections that tenants together may hold on the server.
async fn capacity(app: &TestApp) -> f64 {
    wait_for("the server's capacity to be known", DEADLINE, async || {
        let capacity = app.metric("portero_budget", &[("server", "ill"), ("state", "capacity")]).await;
        (capacity > 0.0).then_some(capacity)
    })
    .await
}

/// Waits until the connections were counted often enough, and checks that there were never more.
#[expect(clippy::print_stdout, reason = "a test's figures, where libtest shows them on request")]
async fn assert_within(census: &Census, capacity: f64) {
    wait_until("the connections to be counted", DEADLINE, async || census.times() > 100).await;
    println!("{} connections at most of {capacity}, counted {} times", census.most(), census.times());
    assert!(census.most() > 0, "nobody was there to be counted");
    assert!(census.most() as f64 <= capacity, "{} connections, and {capacity} are the most", census.most());
}

/// From `hang` to `end` the server takes everything and answers nothing.
async fn is_given_up_on(mut scene: Scene, what: &str, hang: impl FnOnce(), end: impl FnOnce()) {
    scene.load.phase("hanging");
    hang();
    scene.load.refused("tenant-database-unavailable").await;
    // Those that were sent before anybody knew.
    scene.load.came_back(15).await;
    scene.load.phase("known to hang");
    scene.load.came_back(300).await;
    end();
    figure(&format!("{what}, served again after"), scene.healing().await);
    let report = scene.end(what).await;
    let (hanging, known) = (report.phase("hanging"), report.phase("known to hang"));
    assert!(hanging.slowest() < NOTICED, "{hanging}");
    assert!(known.slowest() < KNOWN, "{known}");
    assert_silent(known);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_on_and_taken_back() {
    let server = TestCluster::private().await;
    let scene = Scene::on(&server, server.address(), &AWAY).await;
    let frozen = RefCell::new(None);
    let hang = || *frozen.borrow_mut() = Some(server.freeze());
    is_given_up_on(scene, "a server that hangs", hang, || drop(frozen.take())).await;
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_given_up_on_and_taken_back() {
    let server = TestCluster::private().await;
    let proxy = server.proxy();
    let scene = Scene::on(&server, proxy.address(), &AWAY).await;
    let hang = || proxy.set(Mode::BlackHole);
    is_given_up_on(scene, "a black hole", hang, || proxy.set(Mode::Pass)).await;
}

#[tokio::test]
async fn when_the_primary_is_gone_its_promoted_standby_serves() {
    let primary = TestCluster::private().await;
    let app = TestApp::start().await;
    let companies = app.sign_up_on("ill", &primary, primary.address(), &["acme", "globex"]).await;
    let standby = primary.standby().await;
    let proxy = standby.proxy();
    proxy.set(Mode::BlackHole);
    let hosts = format!("{},{}", proxy.address(), primary.address());
    let url = primary.url(primary.address(), "postgres").replace(&primary.address().to_string(), &hosts)
        + "?target_session_attrs=read-write";
    app.registry().await.server_upsert("ill", &url.into()).await.unwrap();
    wait_until("the new address to be tried", DEADLINE, async || proxy.accepted() > 0).await;
    let mut load = Load::on(&app, &companies).clients(4).expecting(&AWAY).start();

    load.phase("a host that hangs before one that answers");
    figure("with a host that hangs, served after", load.healed().await);
    // Nobody waits for it again and again.
    let session = primary.superuser("postgres").await;
    session
        .batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 't\\_%'")
        .await
        .unwrap();
    load.phase("logins beside a host that hangs");
    load.came_back(100).await;
    proxy.set(Mode::Pass);
    load.phase("a standby before the primary");
    load.came_back(100).await;
    // What was asked until here has its answer before the primary is gone.
    load.phase("both, for the last time");
    load.came_back(50).await;
    load.phase("a standby alone");
    primary.halt(StopMode::Kill).await;
    load.refused("tenant-database-unavailable").await;
    load.came_back(100).await;
    standby.promote().await;
    load.phase("promoted");
    let took = load.healed().await;
    figure("a promoted standby, served after", took);
    assert!(took < HEALED, "{took:?}");
    let report = load.stop().await;
    report.print("a standby");
    let beside = report.phase("logins beside a host that hangs");
    assert!(beside.slowest() < KNOWN, "{beside}");
    assert_eq!(report.phase("a standby before the primary").refused(), 0);
}

#[tokio::test]
async fn a_primary_that_vanished_holds_no_slot_of_its_successor() {
    let primary = TestCluster::with_settings(&[("max_connections", "33")]).await;
    let proxy = primary.proxy();
    let app = TestApp::start().await;
    let companies = app.sign_up_on("ill", &primary, proxy.address(), &SIX).await;
    let standby = primary.standby().await;
    let hosts = format!("{},{}", proxy.address(), standby.address());
    let url = primary.url(proxy.address(), "postgres").replace(&proxy.address().to_string(), &hosts)
        + "?target_session_attrs=read-write";
    app.registry().await.server_upsert("ill", &url.into()).await.unwrap();
    let mut load = Load::on(&app, &companies).clients(12).eager().expecting(&AWAY).start();
    // The primary was away for a moment while it was copied.
    load.healed().await;
    load.phase("well");
    load.were_answered(300).await;
    assert!(capacity(&app).await <= 6.0, "every slot is taken");
    load.phase("vanished");
    // Nobody hears of an end: not the router, nor whoever waits for its connections to end.
    proxy.set(Mode::BlackHole);
    load.refused("tenant-database-unavailable").await;
    standby.promote().await;
    load.phase("succeeded");
    let took = load.healed().await;
    figure("after a primary that vanished, served after", took);
    assert!(took < HEALED, "{took:?}");
    load.came_back(300).await;
    let report = load.stop().await;
    report.print("a primary that vanished");
    let after = report.phase("succeeded");
    assert!(after.within(0.99) < Duration::from_secs(3), "{after}");
}

#[tokio::test]
async fn a_server_that_is_away_or_full_is_not_knocked_at_by_every_request() {
    let server = TestCluster::with_settings(&[("max_connections", "40")]).await;
    let proxy = server.proxy();
    let mut scene = Scene::on(&server, proxy.address(), &AWAY).await;
    scene.load.phase("away");
    proxy.set(Mode::Reset);
    scene.load.refused("tenant-database-unavailable").await;
    let (before, began) = (proxy.accepted(), Instant::now());
    scene.load.came_back(600).await;
    let knocks = (proxy.accepted() - before, began.elapsed());
    proxy.set(Mode::Pass);
    scene.healing().await;

    let taken = take_every_slot(&server).await;
    scene.load.phase("full");
    scene.load.refused("tenant-busy").await;
    let (before, began) = (proxy.accepted(), Instant::now());
    scene.load.came_back(15).await;
    let tries = (proxy.accepted() - before, began.elapsed());
    drop(taken);
    scene.healing().await;
    scene.end("a server that is away, then full").await;
    assert_few("away", knocks);
    assert_few("full", tries);
}

#[expect(clippy::print_stdout, reason = "a test's figures, where libtest shows them on request")]
fn assert_few(what: &str, (connections, within): (u64, Duration)) {
    println!("{what}: {connections} connections in {within:?}");
    // A prober every 200 ms, and logins that were under way or wait longer each time.
    let most = 10.0 + 10.0 * within.as_secs_f64();
    assert!((connections as f64) < most, "{what}: {connections} connections in {within:?}");
}

#[tokio::test]
async fn two_routers_share_a_server_and_when_one_freezes_the_other_has_all_of_it() {
    let server = TestCluster::with_settings(&[("max_connections", "39")]).await;
    let app = TestApp::start().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &SIX).await;
    let sibling = app.sibling().await;
    let capacity = capacity(&app).await;
    let census = Census::of(&server);
    // The clients of the one that lives on notice nothing at all.
    let mut one = Load::on(&app, &companies).start();
    let mut two = Load::on(&app, &companies).through(&sibling.http).expecting(&AWAY).start();
    one.came_back(200).await;
    two.came_back(200).await;
    wait_until("both to have a share", DEADLINE, async || {
        let (mine, theirs) = (granted(&app).await, granted_to(&sibling).await);
        mine >= 1.0 && theirs >= 1.0 && mine + theirs <= capacity
    })
    .await;

    two.phase("frozen");
    one.phase("alone");
    sibling.process.suspend();
    let began = Instant::now();
    wait_until("the share of the frozen one", DEADLINE, async || granted(&app).await == capacity).await;
    figure("the share of a frozen router, had after", began.elapsed());
    assert!(began.elapsed() < INHERITED, "{:?}", began.elapsed());
    one.came_back(200).await;

    one.phase("together again");
    two.phase("together again");
    sibling.process.resume();
    let took = two.healed().await;
    figure("a router that runs on, serves again after", took);
    assert!(took < HEALED, "{took:?}");
    wait_until("both to have a share", DEADLINE, async || {
        let (mine, theirs) = (granted(&app).await, granted_to(&sibling).await);
        mine >= 1.0 && theirs >= 1.0 && mine + theirs <= capacity
    })
    .await;
    one.came_back(200).await;
    two.came_back(200).await;
    one.stop().await.print("two routers, the one");
    two.stop().await.print("two routers, the one that froze");
    assert_within(&census, capacity).await;
}

#[tokio::test]
async fn a_server_that_comes_back_with_fewer_slots_is_never_asked_for_more() {
    let server = TestCluster::with_settings(&[("max_connections", "39")]).await;
    let app = TestApp::start().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &SIX).await;
    let before = capacity(&app).await;
    let census = Census::of(&server);
    let mut load = Load::on(&app, &companies).expecting(&AWAY).start();
    load.came_back(300).await;
    assert_within(&census, before).await;
    load.phase("restarting");
    server.halt(StopMode::Fast).await;
    census.begin_anew();
    server.set("max_connections", "33");
    server.resume().await;
    load.phase("fewer slots");
    let took = load.healed().await;
    figure("with fewer slots, served again after", took);
    assert!(took < HEALED, "{took:?}");
    load.came_back(400).await;
    let now = capacity(&app).await;
    assert_eq!(before - now, 6.0);
    assert_within(&census, now).await;
    load.stop().await.print("fewer slots");
}

#[tokio::test]
async fn more_companies_than_connections_are_all_served_and_come_back_together() {
    let server = TestCluster::with_settings(&[("max_connections", "32")]).await;
    let app = TestApp::start().await;
    let names: Vec<String> = (0..16).map(|number| format!("company-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let companies = app.sign_up_on("ill", &server, server.address(), &names).await;
    let capacity = capacity(&app).await;
    assert!(capacity * 3.0 <= 16.0, "{capacity}");
    let census = Census::of(&server);
    // Not one refusal.
    let mut load = Load::on(&app, &companies).start();
    load.came_back(600).await;
    load.stop().await.print("more companies than connections");
    // And when all of them come at once to a server that was away.
    let mut load = Load::on(&app, &companies).expecting(&AWAY).start();
    load.came_back(100).await;
    load.phase("away");
    server.halt(StopMode::Fast).await;
    load.refused("tenant-database-unavailable").await;
    load.came_back(300).await;
    server.resume().await;
    load.phase("back");
    let took = load.healed().await;
    figure("sixteen companies, all served again after", took);
    assert!(took < HEALED, "{took:?}");
    load.stop().await.print("more companies than connections, together");
    assert_within(&census, capacity).await;
}

#[tokio::test]
async fn a_company_that_takes_all_it_can_get_leaves_the_others_theirs() {
    let server = TestCluster::with_settings(&[("max_connections", "35")]).await;
    let app = TestApp::start().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &SIX).await;
    let mut others = Load::on(&app, &companies[1..]).clients(3).start();
    others.came_back(300).await;
    others.phase("beside a hog");
    let mut hog = Load::on(&app, &companies[..1]).clients(16).eager().expecting(&["tenant-busy"]).start();
    others.came_back(300).await;
    hog.came_back(1000).await;
    hog.stop().await.print("the hog");
    let others = others.stop().await;
    others.print("beside the hog");
    // How much longer they wait is for the bench to say. Here nobody may come near the end of their patience, which with a
    // queue of requests rather than of companies they would: the hog's sixteen clients never let it run dry.
    let beside = others.phase("beside a hog");
    assert!(beside.within(0.99) < Duration::from_millis(1500), "{beside}");
}

#[tokio::test]
async fn a_registry_that_hangs_holds_nobody_up() {
    let registry = TestCluster::private().await;
    let app = TestApp::builder().cluster(&registry).start().await;
    let server = TestCluster::private().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &["acme", "globex"]).await;
    let mut load = Load::on(&app, &companies).clients(4).start();
    load.came_back(50).await;
    let frozen = registry.freeze();
    load.phase("hanging");
    let began = Instant::now();
    let answer = timeout(Duration::from_secs(12), app.ask_for("initech")).await;
    answer.expect("a sign-up is answered in time").0.expect_problem(503, "registry-unavailable");
    figure("a sign-up without the registry, refused after", began.elapsed());
    load.came_back(300).await;
    drop(frozen);
    let began = Instant::now();
    let (accepted, password) = wait_for("sign-ups to go on", HEALED, async || {
        let (answer, password) = app.ask_for("initech").await;
        (answer.status == 202).then_some((answer, password))
    })
    .await;
    figure("with the registry, sign-ups taken on again after", began.elapsed());
    app.finish_sign_up("initech", &accepted, &password).await;
    load.stop().await.print("a registry that hangs");
}

#[tokio::test]
async fn connections_to_the_registry_that_are_silently_dead_are_replaced() {
    let registry = TestCluster::private().await;
    let proxy = registry.proxy();
    let app = TestApp::builder().cluster(&registry).registry_through(&proxy).start().await;
    let server = TestCluster::private().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &["acme", "globex"]).await;
    let codes = ["tenant-paused", AWAY[0], AWAY[1]];
    let mut load = Load::on(&app, &companies[..1]).clients(3).expecting(&codes).start();
    let mut neighbour = Load::on(&app, &companies[1..]).clients(2).start();
    load.came_back(20).await;
    neighbour.came_back(20).await;
    proxy.strand();
    app.portero(&["tenant", "pause", "acme"]).run().await.expect(0);
    load.phase("paused");
    let began = Instant::now();
    load.refused("tenant-paused").await;
    figure("a pause, heard of over dead connections after", began.elapsed());
    assert!(began.elapsed() < INHERITED, "{:?}", began.elapsed());
    let report = load.stop().await;
    report.print("dead connections");
    assert_eq!(report.phase("paused").answered(), 0);
    neighbour.stop().await.print("dead connections, neighbour");
}

#[tokio::test]
async fn a_router_that_starts_without_the_registry_remembers_who_was_there() {
    let registry = TestCluster::private().await;
    let mut app = TestApp::builder().cluster(&registry).start().await;
    let server = TestCluster::private().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &["acme", "globex", "initech"]).await;
    wait_until("all that is known to be on disk", DEADLINE, async || {
        app.metric("portero_snapshot_clock", &[]).await == app.metric("portero_route_clock", &[]).await
    })
    .await;
    app.kill();
    // It can't hear of this: the fence must do.
    app.portero(&["tenant", "pause", "initech"]).run().await.expect(0);
    registry.halt(StopMode::Fast).await;

    let began = Instant::now();
    app.boot().await;
    let mut load = Load::on(&app, &companies[..2]).clients(4).start();
    load.came_back(100).await;
    figure("from the start without the registry to a hundred answers", began.elapsed());
    let paused = app.guest("initech").get("/api/v1/ping").await.expect(503);
    assert!(["tenant-paused", AWAY[0]].contains(&paused.problem().as_str()), "{}", paused.text());
    app.ask_for("umbrella").await.0.expect_problem(503, "registry-unavailable");
    let dir = app.env()["PORTERO_DATA_DIR"].clone();
    assert_sealed(&app, Path::new(&dir));

    registry.resume().await;
    let (accepted, password) = wait_for("sign-ups to go on", HEALED, async || {
        let (answer, password) = app.ask_for("umbrella").await;
        (answer.status == 202).then_some((answer, password))
    })
    .await;
    app.finish_sign_up("umbrella", &accepted, &password).await;
    wait_until("the pause to be heard of", HEALED, async || {
        app.guest("initech").get("/api/v1/ping").await.problem() == "tenant-paused"
    })
    .await;
    load.stop().await.print("started without the registry");
    let login = app.login_of(&companies[0]).await;
    app.kill();

    // What it kept and can't be read is as good as nothing, and the sentence says so.
    registry.halt(StopMode::Fast).await;
    for file in files(Path::new(&dir)) {
        let mut bytes = fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(&login.password), "{}", file.display());
        bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&file, bytes).unwrap();
    }
    let refused = app.portero(&["serve"]).env("PORTERO_DATA_DIR", &dir).run().await.expect(1);
    let last = refused.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("registry") && last.contains("snapshot"), "{}", refused.stderr);
    assert!(!refused.all().contains("panicked"), "{}", refused.stderr);
}

/// What a router keeps on disk is nobody else's to read, and has no secret in the clear.
fn assert_sealed(app: &TestApp, dir: &Path) {
    let kept = files(dir);
    assert!(!kept.is_empty(), "nothing is kept in {}", dir.display());
    for file in kept {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        for secret in app.secrets() {
            assert!(!text.contains(secret), "{} has a secret", file.display());
        }
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is others' to read: {mode:o}", file.display());
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}
