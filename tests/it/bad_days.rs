//! Bad days of database servers and of the network before them, under load: what clients read meanwhile, how soon it is
//! over, that no answer ever goes to the wrong tenant, and that tenants on other servers notice nothing. Each test prints
//! its figures.

use portero_pg::Session;
use portero_testkit::{
    DEADLINE, Load, Mode, Phase, Report, Running, StopMode, TestApp, TestCluster, Way, hang_up, join_all,
    wait_for, wait_until,
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// How soon after a fault is over everybody must be served again.
pub(crate) const HEALED: Duration = Duration::from_secs(5);
/// What a tenant reads whose server is away, and what of that may come instead while connections are made anew.
pub(crate) const AWAY: [&str; 2] = ["tenant-database-unavailable", "tenant-busy"];

/// Clients of the tenants on the server that falls ill. So many requests may be under way when a fault ends.
pub(crate) const CLIENTS: usize = 5;

/// Tenants on a server that falls ill, and others on the registry's own that must not notice, all under load.
pub(crate) struct Scene {
    pub(crate) app: TestApp,
    pub(crate) load: Running,
    others: Running,
}

impl Scene {
    /// On this server, reached at this address. Its tenants may be refused with these codes.
    pub(crate) async fn on(server: &TestCluster, address: SocketAddr, codes: &[&'static str]) -> Self {
        let app = TestApp::start().await;
        let ill = app.sign_up_on("ill", server, address, &["acme", "globex", "initech"]).await;
        let well = app.sign_up_all(&["hooli", "umbrella"]).await;
        let mut load = Load::on(&app, &ill).clients(CLIENTS).expecting(codes).start();
        let mut others = Load::on(&app, &well).clients(3).start();
        load.came_back(50).await;
        others.came_back(50).await;
        Self { app, load, others }
    }

    /// The server is as it should be again: how soon everybody is served.
    pub(crate) async fn healing(&mut self) -> Duration {
        self.load.phase("healing");
        let took = self.load.healed().await;
        assert!(took < HEALED, "served again only after {took:?}");
        took
    }

    /// Ends the load: nothing crossed, the others had not one refusal, and every connection came back.
    pub(crate) async fn end(self, what: &str) -> Report {
        let others = self.others.stop().await;
        others.print(&format!("{what}, others"));
        assert_eq!(others.refused(), 0, "tenants of another server noticed");
        let report = self.load.stop().await;
        report.print(what);
        wait_until("every connection to be given back", DEADLINE, async || in_use(&self.app).await == 0.0)
            .await;
        report
    }
}

/// Connections to tenants' databases that requests hold at the moment.
pub(crate) async fn in_use(app: &TestApp) -> f64 {
    app.metric("portero_budget", &[("state", "in_use")]).await
}

/// Checks that nothing was answered while nothing could be: but for those that were under way when the fault ended.
#[track_caller]
pub(crate) fn assert_silent(phase: &Phase) {
    assert!(phase.answered() <= CLIENTS as u64, "{phase}");
}

#[expect(clippy::print_stdout, reason = "a test's figures, where libtest shows them on request")]
pub(crate) fn figure(what: &str, took: Duration) {
    println!("{what}: {:.0} ms", took.as_secs_f64() * 1e3);
}

#[tokio::test]
async fn a_server_that_stops_refuses_its_own_tenants_at_once_and_serves_them_when_it_is_back() {
    let server = TestCluster::private().await;
    let mut scene = Scene::on(&server, server.address(), &AWAY).await;
    for (name, mode) in
        [("stopped", StopMode::Fast), ("stopped at once", StopMode::Immediate), ("killed", StopMode::Kill)]
    {
        scene.load.phase("going");
        server.halt(mode).await;
        scene.load.phase(name);
        scene.load.refused("tenant-database-unavailable").await;
        scene.load.came_back(600).await;
        server.resume().await;
        figure(&format!("{name}, served again after"), scene.healing().await);
    }
    let report = scene.end("a server that stops").await;
    for name in ["stopped", "stopped at once", "killed"] {
        let phase = report.phase(name);
        assert_silent(phase);
        assert!(phase.slowest() < Duration::from_secs(1), "{phase}");
    }
}

#[tokio::test]
async fn a_server_that_restarts_again_and_again_gives_no_wrong_answer() {
    let server = TestCluster::private().await;
    let mut scene = Scene::on(&server, server.address(), &AWAY).await;
    for mode in [StopMode::Immediate, StopMode::Fast, StopMode::Kill, StopMode::Immediate] {
        scene.load.phase("restarting");
        server.restart(mode).await;
        scene.load.came_back(200).await;
    }
    figure("served again after the last restart", scene.healing().await);
    scene.end("a server that restarts").await;
}

#[tokio::test]
async fn a_network_that_cuts_and_resets_refuses_and_heals() {
    let server = TestCluster::private().await;
    let proxy = server.proxy();
    let mut scene = Scene::on(&server, proxy.address(), &AWAY).await;
    for (name, mode) in [
        ("reset", Mode::Reset),
        ("refused", Mode::Refuse),
        // In the middle of a login, of an answer, and of a question.
        ("cut in the login", Mode::Cut { way: Way::Down, after: 20 }),
        ("cut in the answer", Mode::Cut { way: Way::Down, after: 700 }),
        ("cut in the question", Mode::Cut { way: Way::Up, after: 450 }),
        ("half closed", Mode::HalfClose),
    ] {
        scene.load.phase(name);
        proxy.set(mode);
        scene.load.refused("tenant-database-unavailable").await;
        scene.load.came_back(50).await;
        proxy.set(Mode::Pass);
        figure(&format!("{name}, served again after"), scene.healing().await);
    }
    scene.end("a network that cuts").await;
}

#[tokio::test]
async fn a_slow_network_is_slow_and_little_else() {
    let server = TestCluster::private().await;
    let proxy = server.proxy();
    let mut scene = Scene::on(&server, proxy.address(), &AWAY).await;
    scene.load.phase("slow");
    proxy.set(Mode::Slow { latency: Duration::from_millis(300), jitter: Duration::from_millis(50) });
    scene.load.came_back(40).await;
    proxy.set(Mode::Pass);
    figure("a slow network, quick again after", scene.healing().await);
    let report = scene.end("a slow network").await;
    let slow = report.phase("slow");
    assert!(slow.refused() * 20 <= slow.count(), "more than one of twenty refused: {slow}");
}

#[tokio::test]
async fn a_paused_company_is_not_answered_any_more_and_its_neighbour_notices_nothing() {
    let server = TestCluster::private().await;
    let app = TestApp::start().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &["acme", "globex"]).await;
    let codes = ["tenant-paused", AWAY[0], AWAY[1]];
    let mut paused = Load::on(&app, &companies[..1]).clients(4).expecting(&codes).start();
    let mut neighbour = Load::on(&app, &companies[1..]).clients(4).start();
    paused.came_back(50).await;
    neighbour.came_back(50).await;
    for _ in 0..3 {
        paused.phase("pausing");
        app.portero(&["tenant", "pause", "acme"]).run().await.expect(0);
        let fenced = Instant::now();
        paused.phase("paused");
        paused.refused("tenant-paused").await;
        figure("a pause, heard of after the fence was up", fenced.elapsed());
        paused.came_back(100).await;
        paused.phase("resuming");
        app.portero(&["tenant", "resume", "acme"]).run().await.expect(0);
        paused.phase("resumed");
        figure("resumed, served again after", paused.healed().await);
    }
    let neighbour = neighbour.stop().await;
    neighbour.print("a pause, neighbour");
    assert_eq!(neighbour.refused(), 0, "the neighbour noticed");
    let report = paused.stop().await;
    report.print("a pause");
    for phase in report.phases().filter(|phase| phase.name() == "paused") {
        assert_eq!(phase.answered(), 0, "an answer after the pause: {phase}");
    }
}

#[tokio::test]
async fn a_pause_is_seen_within_the_poll_interval_where_the_bell_does_not_ring() {
    let registry = TestCluster::private().await;
    let app = TestApp::builder().cluster(&registry).start().await;
    let company = app.sign_up("acme").await;
    let codes = ["tenant-paused", AWAY[0], AWAY[1]];
    let mut load = Load::on(&app, &[company]).clients(2).expecting(&codes).start();
    load.came_back(20).await;
    let session = app.peek().await;
    let listener = async || {
        let sql = "SELECT pid FROM pg_stat_activity
                   WHERE datname = current_database() AND query LIKE 'LISTEN portero_routes%'";
        session.query_opt(sql, &[]).await.unwrap().map(|row| row.get::<_, i32>(0))
    };
    // Its connection is lost, as often as it comes back.
    let first = wait_for("the bell to listen", DEADLINE, &listener).await;
    let lost = async {
        loop {
            if let Some(pid) = listener().await {
                session.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! { () = pause_and_resume(&app, &mut load, "a lost bell") => {}, () = lost => unreachable!() }
    // It is there, and silent: what is sent to it is lost on the way.
    let pid = wait_for("the bell to listen again", DEADLINE, &listener).await;
    assert_ne!(pid, first);
    let silent = registry.freeze_backend(pid);
    pause_and_resume(&app, &mut load, "a silent bell").await;
    drop(silent);
    // Somebody has filled the server's queue: ringing would be an error, and isn't tried.
    let full = "DO $$ BEGIN
        EXECUTE replace(replace(pg_get_functiondef('public.ring(text, text)'::regprocedure),
            'pg_catalog.pg_notification_queue_usage()', '0.9'),
            'PERFORM pg_catalog.pg_notify(channel, payload)', 'RAISE ''too many notifications in the NOTIFY queue''');
    END $$";
    session.batch_execute(full).await.unwrap();
    pause_and_resume(&app, &mut load, "a full queue").await;
    app.sign_up("hooli").await;
    load.stop().await.print("a bell that does not ring");
}

async fn pause_and_resume(app: &TestApp, load: &mut Running, what: &str) {
    app.portero(&["tenant", "pause", "acme"]).run().await.expect(0);
    load.phase("paused");
    let fenced = Instant::now();
    load.refused("tenant-paused").await;
    let took = fenced.elapsed();
    figure(&format!("{what}, a pause heard of after"), took);
    assert!(took < Duration::from_secs(2), "{took:?}");
    app.portero(&["tenant", "resume", "acme"]).run().await.expect(0);
    load.phase("resumed");
    let took = load.healed().await;
    figure(&format!("{what}, served again after"), took);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn without_the_registry_known_companies_are_served_and_sign_ups_wait() {
    let registry = TestCluster::private().await;
    let app = TestApp::builder().cluster(&registry).start().await;
    let server = TestCluster::private().await;
    let companies = app.sign_up_on("elsewhere", &server, server.address(), &["acme", "globex"]).await;
    let mut load = Load::on(&app, &companies).clients(4).start();
    load.came_back(50).await;
    for mode in [StopMode::Fast, StopMode::Kill] {
        registry.halt(mode).await;
        load.phase("without the registry");
        let began = Instant::now();
        app.ask_for("initech").await.0.expect_problem(503, "registry-unavailable");
        figure("a sign-up without the registry, refused after", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(5));
        // Logins need the company's own database and nothing else.
        app.log_in("acme", &companies[0].email, &companies[0].password).await;
        load.came_back(300).await;
        registry.resume().await;
    }
    let began = Instant::now();
    let accepted = wait_for("sign-ups to go on", HEALED, async || {
        let (answer, password) = app.ask_for("initech").await;
        (answer.status == 202).then_some((answer, password))
    })
    .await;
    figure("with the registry, sign-ups taken on again after", began.elapsed());
    app.finish_sign_up("initech", &accepted.0, &accepted.1).await;
    load.stop().await.print("without the registry");
    // What changes is heard of again.
    app.portero(&["tenant", "pause", "globex"]).run().await.expect(0);
    wait_until("the pause to be seen", HEALED, async || {
        app.guest("globex").get("/api/v1/ping").await.problem() == "tenant-paused"
    })
    .await;
}

#[tokio::test]
async fn clients_that_hang_up_at_any_moment_leave_nothing_behind() {
    let server = TestCluster::private().await;
    let app = TestApp::start().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &["acme", "globex"]).await;
    let mut load = Load::on(&app, &companies).clients(4).expecting(&["tenant-busy"]).start();
    load.phase("hanging up");
    join_all((0..8).map(async |number: usize| {
        let company = &companies[number % 2];
        let request = format!("GET /api/v1/ping?nonce=gone HTTP/1.1\r\nHost: {}\r\n\r\n", company.host);
        for _ in 0..150 {
            hang_up(app.http().address(), request.as_bytes(), Duration::from_millis(12)).await;
        }
    }))
    .await;
    load.phase("healing");
    figure("nobody hangs up, served again after", load.healed().await);
    load.stop().await.print("clients that hang up");
    wait_until("every connection to be given back", DEADLINE, async || in_use(&app).await == 0.0).await;
    // From outside: nothing is under way, and no transaction is open.
    let session = server.superuser("postgres").await;
    wait_until("every connection to rest", DEADLINE, async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 't\\_%' AND state <> 'idle'";
        session.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    // And all that one company may have are there to be had.
    let mut load = Load::on(&app, &companies[..1]).clients(8).start();
    load.came_back(200).await;
    assert_eq!(load.stop().await.refused(), 0);
}

#[tokio::test]
async fn slots_that_others_have_taken_are_waited_for_and_not_fought_over() {
    let server = TestCluster::with_settings(&[("max_connections", "40")]).await;
    let codes = ["tenant-busy", "tenant-database-unavailable"];
    let mut scene = Scene::on(&server, server.address(), &codes).await;
    let taken = take_every_slot(&server).await;
    scene.load.phase("full");
    scene.load.refused("tenant-busy").await;
    scene.load.came_back(15).await;
    drop(taken);
    figure("slots are free, served again after", scene.healing().await);
    let report = scene.end("a full server").await;
    let full = report.phase("full");
    assert_silent(full);
    assert_eq!(full.with("tenant-busy"), full.refused(), "{full}");
}

/// Somebody else's program takes every slot there is, those of tenants' connections as soon as they are cut. Portero's own
/// watch of the server keeps its one; what else Portero has there it has for a moment, and a tenant would get it next.
pub(crate) async fn take_every_slot(server: &TestCluster) -> Vec<Session> {
    let mut taken = vec![server.superuser("postgres").await];
    wait_until("all slots to be taken", DEADLINE, async || {
        taken[0].execute(CUT_TENANTS, &[]).await.unwrap();
        while let Ok(session) = server.login("portero", server.password(), "postgres").await {
            taken.push(session);
        }
        let row = taken[0].query_one(TAKEN, &[]).await.unwrap();
        let (slots, all): (i64, bool) = (row.get("slots"), row.get("all"));
        all && i64::try_from(taken.len()).unwrap() >= slots - 1
    })
    .await;
    taken
}

/// As an operator, or a fence, would.
const CUT_TENANTS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 't\\_%'";
/// How many slots there are but those kept for superusers, and whether all are taken, and none by a tenant or by somebody
/// who is still logging in.
const TAKEN: &str = "
    SELECT slots, count(*) = slots AND bool_and(usename IS NOT NULL AND usename NOT LIKE 't\\_%') AS all
    FROM pg_stat_activity, LATERAL (SELECT current_setting('max_connections')::bigint
                                         - current_setting('superuser_reserved_connections')::bigint) AS there (slots)
    WHERE backend_type = 'client backend' GROUP BY slots";

#[tokio::test]
async fn a_role_that_may_not_log_in_shuts_out_its_own_company_only() {
    let server = TestCluster::private().await;
    let app = TestApp::start().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &["acme", "globex"]).await;
    let login = app.login_of(&companies[0]).await;
    let mut load = Load::on(&app, &companies[..1]).clients(3).expecting(&AWAY).start();
    let mut neighbour = Load::on(&app, &companies[1..]).clients(3).start();
    load.came_back(20).await;
    neighbour.came_back(20).await;
    let superuser = server.superuser("postgres").await;
    let (role, password) = (&login.name, &login.password);
    for (name, fault, mended, code, count) in [
        (
            "no connections",
            format!("ALTER ROLE {role} CONNECTION LIMIT 0"),
            format!("ALTER ROLE {role} CONNECTION LIMIT 20"),
            // Each of them waits as long as it may.
            "tenant-busy",
            6,
        ),
        (
            "another password",
            format!("ALTER ROLE {role} PASSWORD 'somebody else''s'"),
            format!("ALTER ROLE {role} PASSWORD '{password}'"),
            "tenant-database-unavailable",
            50,
        ),
    ] {
        superuser.batch_execute(&fault).await.unwrap();
        let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
        superuser.batch_execute(&cut).await.unwrap();
        load.phase(name);
        load.refused(code).await;
        load.came_back(count).await;
        load.phase("mending");
        superuser.batch_execute(&mended).await.unwrap();
        load.phase("mended");
        let took = load.healed().await;
        figure(&format!("{name}, served again after"), took);
        assert!(took < HEALED, "{took:?}");
    }
    let neighbour = neighbour.stop().await;
    neighbour.print("a role that may not log in, neighbour");
    assert_eq!(neighbour.refused(), 0);
    load.stop().await.print("a role that may not log in");
}

#[tokio::test]
async fn without_the_registry_and_without_memory_nothing_starts_and_a_sentence_says_why() {
    let registry = TestCluster::private().await;
    let app = TestApp::builder().cluster(&registry).prepare().await;
    registry.halt(StopMode::Fast).await;
    let refused = app.portero(&["serve"]).run().await.expect(1);
    let last = refused.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("registry"), "{}", refused.stderr);
    assert!(!refused.all().contains("panicked"), "{}", refused.stderr);
    for secret in app.secrets() {
        assert!(!refused.all().contains(secret));
    }
}
