//! What is lent, on a real PostgreSQL: the tenant's own database, as new, within the budget, whatever the borrower before
//! did to it or in the middle of what they left. Every test has two tenants or more, and where the hand-over matters each
//! has one connection: whoever is next gets what came back.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed; helpers are no tests to clippy")]

use portero_pg::{TENANT_SESSION, TenantDb, tokio_postgres::Error};
use portero_router::{Router, RouterOptions, scheduler::Limits};
use portero_testkit::{BareTenant, BareTenants, Census, DEADLINE, TestCluster, join_all, wait_until};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// A router, tenants with a table `tally` each, and somebody who looks from outside.
struct House {
    cluster: Arc<TestCluster>,
    router: Router,
    tenants: Vec<BareTenant>,
    _stop: watch::Sender<bool>,
}

impl House {
    async fn open(cluster: &Arc<TestCluster>, subdomains: &[&str], per_tenant: usize) -> Self {
        let bare = BareTenants::on(cluster).await;
        let mut tenants = Vec::new();
        for subdomain in subdomains {
            let tenant = bare.make(subdomain).await;
            let session = cluster.superuser(&tenant.database).await;
            let table =
                "CREATE TABLE public.tally (nonce text NOT NULL); GRANT ALL ON public.tally TO PUBLIC";
            session.batch_execute(table).await.unwrap();
            session.close().await;
            tenants.push(tenant);
        }
        let limits = Limits { per_tenant, ..Limits::default() };
        let options = RouterOptions { deadline: DEADLINE, limits, ..RouterOptions::default() };
        let router = Router::start(bare.registry, options).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(router.clone().run(stopped));
        Self { cluster: Arc::clone(cluster), router, tenants, _stop: stop }
    }

    /// On a cluster of its own that has so many connections for tenants, counted all the time; and each database takes no
    /// more than its tenant may hold, so that PostgreSQL refuses a login that comes before the end of the session it
    /// replaces.
    async fn with_budget(slots: usize, subdomains: &[&str], per_tenant: usize) -> (Self, Census) {
        let others = 3 + portero_pg::RESERVE;
        let cluster = TestCluster::with_settings(&[("max_connections", &(others + slots).to_string())]).await;
        let house = Self::open(&cluster, subdomains, per_tenant).await;
        for tenant in &house.tenants {
            let limit = format!("ALTER DATABASE {} CONNECTION LIMIT {per_tenant}", tenant.database);
            house.as_superuser("postgres", &limit).await;
        }
        let census = Census::of(&cluster);
        (house, census)
    }

    async fn lend(&self, tenant: &BareTenant) -> TenantDb {
        let route = self.router.lookup(&tenant.subdomain).unwrap();
        self.router.acquire(&route).await.unwrap()
    }

    /// Borrows for one question, and sees that it is answered in the tenant's own database.
    async fn expect_own(&self, tenant: &BareTenant, nonce: &str) {
        let db = self.lend(tenant).await;
        assert_eq!(db.tenant(), tenant.id);
        let sql = "SELECT current_database()::text, current_user::text, $1::text";
        let row = db.query_one(sql, &[&nonce]).await.unwrap();
        let seen: [&str; 3] = [row.get(0), row.get(1), row.get(2)];
        assert_eq!(seen, [&tenant.database, &tenant.database, nonce]);
    }

    /// What the superuser reads, as one number.
    async fn outside(&self, sql: &str, tenant: &BareTenant) -> i64 {
        let session = self.cluster.superuser("postgres").await;
        let number = session.query_one(sql, &[&tenant.database]).await.unwrap().get(0);
        session.close().await;
        number
    }

    async fn as_superuser(&self, database: &str, sql: &str) {
        let session = self.cluster.superuser(database).await;
        session.batch_execute(sql).await.unwrap();
        session.close().await;
    }

    /// Ends a session, and waits until its process is gone.
    async fn kill(&self, pid: i32) {
        self.as_superuser("postgres", &format!("SELECT pg_terminate_backend({pid})")).await;
        let process = format!("/proc/{pid}");
        wait_until("the session's process to end", DEADLINE, async || !Path::new(&process).exists()).await;
    }

    /// No more than were granted, at no time, and no login that PostgreSQL refused.
    fn expect_within(&self, slots: i64, census: &Census) {
        assert!(census.most() <= slots, "{} at once", census.most());
        assert!(census.times() > 20, "counted {} times", census.times());
        for server in self.router.figures().servers {
            assert!(server.connect_failures.is_empty(), "{:?}", server.connect_failures);
        }
    }

    fn resting(&self) -> usize {
        self.router.figures().servers.iter().map(|server| server.idle).sum()
    }

    fn lent(&self) -> usize {
        self.router.figures().servers.iter().map(|server| server.in_use).sum()
    }
}

/// A sequence that a seed determines.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Ends within 5 ms: by the clock, or, since a timer knows milliseconds only, after some turns of the runtime.
    async fn moment(&mut self) {
        if self.below(2) == 0 {
            tokio::time::sleep(Duration::from_millis(self.below(6))).await;
        } else {
            for _ in 0..self.below(60) {
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn pid(db: &TenantDb) -> i32 {
    db.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

async fn tallied(db: &TenantDb, nonce: &str) -> i64 {
    db.query_one("SELECT count(*) FROM tally WHERE nonce = $1", &[&nonce]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_commit_after_a_statement_that_failed_is_an_error_unless_that_was_rolled_back() {
    let house = House::open(&TestCluster::shared().await, &["acme"], 1).await;
    let mut db = house.lend(&house.tenants[0]).await;
    for (savepoint, kept) in [(false, 0), (true, 1)] {
        let nonce = savepoint.to_string();
        let txn = db.transaction().await.unwrap();
        txn.execute("INSERT INTO tally VALUES ($1)", &[&nonce]).await.unwrap();
        txn.execute("SAVEPOINT before", &[]).await.unwrap();
        txn.query("SELECT 1 / 0", &[]).await.unwrap_err();
        if savepoint {
            txn.execute("ROLLBACK TO SAVEPOINT before", &[]).await.unwrap();
        }
        let committed = txn.commit().await;
        assert_eq!(committed.is_ok(), savepoint, "{committed:?}");
        assert_eq!(tallied(&db, &nonce).await, kept);
    }
}

#[tokio::test]
async fn a_transaction_that_was_left_open_is_over_before_the_connection_is_lent_again() {
    let house = House::open(&TestCluster::shared().await, &["acme", "globex"], 1).await;
    for (round, tenant) in house.tenants.iter().cycle().take(20).enumerate() {
        let nonce = round.to_string();
        let mut db = house.lend(tenant).await;
        let first = pid(&db).await;
        let txn = db.transaction().await.unwrap();
        txn.execute("INSERT INTO tally VALUES ($1)", &[&nonce]).await.unwrap();
        // Every other one has failed, and PostgreSQL takes nothing but its end.
        if round % 2 == 1 {
            txn.query("SELECT 1 / 0", &[]).await.unwrap_err();
        }
        drop(txn);
        drop(db);
        let mut db = house.lend(tenant).await;
        let none = "SELECT pg_current_xact_id_if_assigned() IS NULL, pg_backend_pid()";
        let row = db.query_one(none, &[]).await.unwrap();
        assert!(row.get::<_, bool>(0), "round {round}: a transaction is open");
        assert_eq!(row.get::<_, i32>(1), first, "round {round}: it was closed, and need not be");
        assert_eq!(tallied(&db, &nonce).await, 0, "round {round}");
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state LIKE 'idle in%'";
        assert_eq!(house.outside(open, tenant).await, 0, "round {round}");
        let txn = db.transaction().await.unwrap();
        txn.execute("INSERT INTO tally VALUES ($1)", &[&nonce]).await.unwrap();
        txn.commit().await.unwrap();
        drop(db);
        assert_eq!(tallied(&house.lend(tenant).await, &nonce).await, 1, "round {round}");
    }
}

/// What a request may be in the middle of. Those below [`NEVER_DONE`] don't end by themselves.
async fn work(db: &mut TenantDb, kind: u64, nonce: &str) -> Result<(), Error> {
    match kind {
        0 => drop(db.query("SELECT $1::text, pg_sleep(60)::text", &[&nonce]).await?),
        1 => drop(db.execute("INSERT INTO tally SELECT $1 FROM pg_sleep(60)", &[&nonce]).await?),
        2 => {
            let txn = db.transaction().await?;
            txn.execute("INSERT INTO tally VALUES ($1)", &[&nonce]).await?;
            txn.query("SELECT pg_sleep(60)::text", &[]).await?;
            txn.commit().await?;
        }
        3 => {
            for n in 0..100 {
                // Another text each time: it is prepared anew.
                db.query(&format!("SELECT $1::text AS n{n}_{nonce}"), &[&nonce]).await?;
            }
        }
        4 => {
            for _ in 0..100 {
                let txn = db.transaction().await?;
                txn.execute("INSERT INTO tally VALUES ($1)", &[&format!("{nonce} kept")]).await?;
                txn.commit().await?;
            }
        }
        _ => {
            for _ in 0..100 {
                db.query("SELECT $1::text FROM generate_series(1, 200)", &[&nonce]).await?;
            }
        }
    }
    Ok(())
}

const NEVER_DONE: u64 = 3;

#[tokio::test]
async fn a_request_that_was_dropped_half_way_leaves_nothing_to_the_next() {
    let (house, census) = House::with_budget(2, &["acme", "globex"], 1).await;
    let mut dice = Dice(20_260_709);
    let mut waits = Vec::new();
    for round in 0..120 {
        let tenant = &house.tenants[round % 2];
        let kind = dice.below(6);
        let nonce = format!("left_{round}");
        let mut db = house.lend(tenant).await;
        tokio::select! {
            biased;
            done = work(&mut db, kind, &nonce) => done.unwrap(),
            () = dice.moment() => {}
        }
        drop(db);
        let began = Instant::now();
        let next = house.lend(tenant).await;
        if kind < NEVER_DONE {
            waits.push(began.elapsed());
        }
        let own = format!("own_{round}");
        for _ in 0..3 {
            let rows = next.query("SELECT $1::text, current_database()::text", &[&own]).await.unwrap();
            assert_eq!(rows.len(), 1, "round {round}, after {kind}");
            assert_eq!(rows[0].get::<_, &str>(0), own, "round {round}, after {kind}");
            assert_eq!(rows[0].get::<_, &str>(1), tenant.database, "round {round}, after {kind}");
        }
        assert_eq!(tallied(&next, &nonce).await, 0, "round {round}, after {kind}");
        let running = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = $1 AND state <> 'idle' AND query LIKE '%pg_sleep%'";
        assert_eq!(house.outside(running, tenant).await, 0, "round {round}: what was left runs on");
    }
    house.expect_within(2, &census);
    // By itself the server looks every 2 s whether anybody is still there.
    waits.sort();
    let late = waits.iter().filter(|wait| **wait > Duration::from_secs(1)).count();
    assert!(late <= waits.len() / 10, "what nobody wants runs on: {waits:?}");
}

#[tokio::test]
async fn an_answer_that_was_given_up_on_is_not_waited_for_by_the_next() {
    let house = House::open(&TestCluster::shared().await, &["acme", "globex"], 1).await;
    // Rows that fill PostgreSQL's buffer, so that the second is here long before the last.
    let sql =
        "SELECT repeat('x', 20000), CASE WHEN n > 4 THEN pg_sleep(60)::text END FROM generate_series(1, 5) n";
    for tenant in &house.tenants {
        let db = house.lend(tenant).await;
        let first = pid(&db).await;
        assert!(db.query_opt(sql, &[]).await.unwrap_err().code().is_none(), "there are too many rows");
        drop(db);
        let db = house.lend(tenant).await;
        assert_ne!(pid(&db).await, first);
        // What PostgreSQL refuses is over, and the connection as good as before.
        let second = pid(&db).await;
        db.query("SELECT 1 / 0", &[]).await.unwrap_err();
        drop(db);
        assert_eq!(pid(&house.lend(tenant).await).await, second);
    }
}

/// Of a session, all that a borrower could change for the next.
const STATE: &str = "SELECT json_build_array(
    current_user = session_user, current_setting('search_path'), current_setting('statement_timeout'),
    current_setting('TimeZone'), current_setting('portero.note', true), pg_current_xact_id_if_assigned(),
    (SELECT json_agg(c) FROM pg_listening_channels() c),
    (SELECT json_agg(relname) FROM pg_class WHERE relpersistence = 't'),
    (SELECT json_agg(objid) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
    (SELECT json_agg(name) FROM pg_prepared_statements WHERE from_sql),
    (SELECT json_agg(name) FROM pg_cursors WHERE is_holdable))::text";

async fn state(db: &TenantDb) -> String {
    db.query_one(STATE, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn what_was_changed_in_a_session_never_reaches_the_next() {
    let house = House::open(&TestCluster::shared().await, &["acme", "globex"], 1).await;
    for tenant in &house.tenants {
        let name = &tenant.database;
        let guest = format!("CREATE ROLE {name}_guest; GRANT {name}_guest TO {name}");
        house.as_superuser("postgres", &guest).await;
        let db = house.lend(tenant).await;
        let (fresh, first) = (state(&db).await, pid(&db).await);
        drop(db);
        let db = house.lend(tenant).await;
        assert_eq!(pid(&db).await, first, "plain reading is no reason to close a connection");
        drop(db);
        let set_role = format!("SET ROLE {name}_guest");
        for sql in [
            "SET search_path = pg_temp",
            "SET TIME ZONE 'Asia/Tokyo'",
            "SET SESSION statement_timeout = 0",
            "SET portero.note = 'behind'",
            &set_role,
            "LISTEN behind",
            "CREATE TEMPORARY TABLE behind ()",
            "SELECT 1 AS one INTO TEMPORARY behind",
            "select 1 as one into\n temp table behind",
            "WITH one AS (SELECT 1) SELECT * INTO LOCAL TEMP behind FROM one",
            "SELECT 1 AS one INTO pg_temp.behind",
            "SELECT pg_advisory_lock(7)::text",
            "SELECT pg_try_advisory_lock_shared(7)",
            "PREPARE behind AS SELECT 1",
            "DECLARE behind CURSOR WITH HOLD FOR SELECT 1",
            "SELECT set_config('search_path', 'pg_temp', false)",
            "WITH x AS (SELECT \"set_config\"('portero.note', 'behind', false)) SELECT * FROM x",
            "UPDATE pg_settings SET setting = 'pg_temp' WHERE name = 'search_path'",
            "UPDATE pg_catalog.PG_SETTINGS SET setting = '0' WHERE name = 'statement_timeout'",
            "DO $$ BEGIN PERFORM set_config('portero.note', 'behind', false); END $$",
        ] {
            let db = house.lend(tenant).await;
            assert_eq!(state(&db).await, fresh, "before {sql}");
            db.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            assert_ne!(state(&db).await, fresh, "{sql} changes nothing that is looked at");
            drop(db);
            assert_eq!(state(&house.lend(tenant).await).await, fresh, "after {sql}");
        }
        for sql in ["SET LOCAL statement_timeout = 0", "SET portero.note = 'behind'", "LISTEN behind"] {
            for end in ["commit", "drop", "fail"] {
                let mut db = house.lend(tenant).await;
                let txn = db.transaction().await.unwrap();
                txn.query(sql, &[]).await.unwrap();
                match end {
                    "commit" => txn.commit().await.unwrap(),
                    "fail" => {
                        txn.query("SELECT 1 / 0", &[]).await.unwrap_err();
                        drop(txn);
                    }
                    _ => drop(txn),
                }
                drop(db);
                assert_eq!(state(&house.lend(tenant).await).await, fresh, "after {sql}, {end}");
            }
        }
        for sql in
            ["BEGIN", "SET LOCAL search_path = pg_temp", "START TRANSACTION ISOLATION LEVEL SERIALIZABLE"]
        {
            let db = house.lend(tenant).await;
            db.query(sql, &[]).await.unwrap();
            db.execute("INSERT INTO tally VALUES ('left')", &[]).await.unwrap();
            drop(db);
            assert_eq!(state(&house.lend(tenant).await).await, fresh, "after {sql}");
        }
    }
}

#[tokio::test]
async fn what_bounds_a_session_holds_whatever_its_role_set_for_itself() {
    let house = House::open(&TestCluster::shared().await, &["acme", "globex", "initech"], 1).await;
    let bounds = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
    for tenant in &house.tenants {
        for setting in bounds {
            let db = house.lend(tenant).await;
            db.execute(&format!("ALTER ROLE CURRENT_USER SET {setting} = 0"), &[]).await.unwrap();
        }
        let db = house.lend(tenant).await;
        for (setting, value) in TENANT_SESSION {
            let found = db.query_one("SELECT current_setting($1)", &[&setting]).await.unwrap();
            assert_eq!(found.get::<_, &str>(0), value, "{setting}");
        }
    }
    let [acme, globex, initech] = &house.tenants[..] else { unreachable!() };
    tokio::join!(
        async {
            let db = house.lend(acme).await;
            let ended = db.query("SELECT pg_sleep(60)::text", &[]).await.unwrap_err();
            assert_eq!(ended.code().unwrap().code(), "57014");
        },
        async {
            let mut locker = house.cluster.superuser(&globex.database).await;
            let lock = locker.transaction().await.unwrap();
            lock.batch_execute("LOCK TABLE public.tally").await.unwrap();
            let db = house.lend(globex).await;
            let ended = db.execute("INSERT INTO tally VALUES ('late')", &[]).await.unwrap_err();
            assert_eq!(ended.code().unwrap().code(), "55P03");
        },
        async {
            let mut db = house.lend(initech).await;
            let first = pid(&db).await;
            let txn = db.transaction().await.unwrap();
            txn.execute("INSERT INTO tally VALUES ('forgotten')", &[]).await.unwrap();
            let process = format!("/proc/{first}");
            wait_until("a forgotten transaction to end", DEADLINE, async || !Path::new(&process).exists())
                .await;
            txn.commit().await.unwrap_err();
            drop(db);
            let db = house.lend(initech).await;
            assert_ne!(pid(&db).await, first);
            assert_eq!(tallied(&db, "forgotten").await, 0);
        }
    );
}

#[tokio::test]
async fn a_session_that_was_ended_from_outside_is_never_lent() {
    let house = House::open(&TestCluster::shared().await, &["acme", "globex"], 1).await;
    for round in 0..10 {
        for tenant in &house.tenants {
            // At rest.
            let db = house.lend(tenant).await;
            let first = pid(&db).await;
            drop(db);
            let resting = house.resting();
            house.kill(first).await;
            wait_until("the router to see it", DEADLINE, async || house.resting() < resting).await;
            // On loan, and the borrower sees it.
            let db = house.lend(tenant).await;
            let second = pid(&db).await;
            assert_ne!(first, second, "round {round}");
            house.kill(second).await;
            let ended = db.query("SELECT 1", &[]).await.unwrap_err();
            assert!(ended.is_closed() || ended.code().is_some(), "round {round}: {ended:?}");
            drop(db);
            // On loan, and nobody looks.
            let db = house.lend(tenant).await;
            let third = pid(&db).await;
            assert_ne!(second, third, "round {round}");
            let resting = house.resting();
            house.kill(third).await;
            drop(db);
            wait_until("the router to see it", DEADLINE, async || {
                house.resting() == resting && house.lent() == 0
            })
            .await;
            assert_ne!(pid(&house.lend(tenant).await).await, third, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_a_connection_of_another_tenant_however_often_the_one_slot_changes_hands() {
    const EACH: usize = 250;
    let subdomains = ["acme", "globex", "initech", "umbrella"];
    let (house, census) = House::with_budget(1, &subdomains, 1).await;
    // One after the other: each finds the one before at rest.
    for tenant in house.tenants.iter().cycle().take(200) {
        house.expect_own(tenant, "alone").await;
    }
    // All at once: who gives back finds others waiting.
    let house = Arc::new(house);
    let borrowers = (0..8).map(|borrower| {
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            let tenant = &house.tenants[borrower % house.tenants.len()];
            for n in 0..EACH {
                house.expect_own(tenant, &format!("{borrower}-{n}")).await;
            }
        })
    });
    for borrower in join_all(borrowers).await {
        borrower.unwrap();
    }
    let connects = house.router.figures().servers[0].connect.count;
    assert!(connects > 200, "the slot changed hands {connects} times");
    house.expect_within(1, &census);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_leaves_while_it_waits_takes_no_slot_along() {
    const SLOTS: usize = 4;
    let (house, census) = House::with_budget(SLOTS, &["acme", "globex"], SLOTS).await;
    let house = Arc::new(house);
    let mut dice = Dice(7);
    for round in 0..100 {
        // The other one's turn: its requests find slots that must be emptied and logged in to first.
        let asking = (0..8).map(|_| {
            let mut dice = Dice(dice.below(1 << 31));
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                let tenant = &house.tenants[round % 2];
                tokio::select! {
                    biased;
                    db = house.lend(tenant) => assert_eq!(db.tenant(), tenant.id),
                    () = dice.moment() => {}
                }
            })
        });
        for asked in join_all(asking).await {
            asked.unwrap();
        }
    }
    for tenant in house.tenants.iter().cycle().take(4) {
        let all = join_all((0..SLOTS).map(|_| house.lend(tenant))).await;
        let mut pids = join_all(all.iter().map(pid)).await;
        pids.sort_unstable();
        pids.dedup();
        assert_eq!((pids.len(), house.lent()), (SLOTS, SLOTS));
    }
    let figures = house.router.figures();
    let server = &figures.servers[0];
    assert_eq!((server.in_use, server.waiting, server.connecting), (0, 0, 0));
    house.expect_within(4, &census);
}

#[test]
fn a_runtime_may_end_while_requests_wait() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let house = runtime.block_on(async {
        let (house, _) = House::with_budget(1, &["acme", "globex"], 1).await;
        let house = Arc::new(house);
        for tenant in 0..2 {
            for _ in 0..20 {
                let house = Arc::clone(&house);
                tokio::spawn(async move {
                    let _held = house.lend(&house.tenants[tenant]).await;
                    std::future::pending::<()>().await;
                });
            }
        }
        wait_until("all but one to wait", DEADLINE, async || {
            house.lent() == 1 && house.router.figures().servers[0].waiting == 39
        })
        .await;
        house
    });
    // Whatever is spawned from here on is dropped at once, the logins for those who wait too.
    drop(runtime);
    assert_eq!(house.lent(), 0);
}
