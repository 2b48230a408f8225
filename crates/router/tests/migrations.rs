//! What migrations do to who is served: tenants on versions that the program runs on, or doesn't; and statements that
//! become stale while connections have them prepared. Nobody notices, or reads that the whole transaction may be tried
//! again, and the connection is good for whoever comes next.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed; helpers are no tests to clippy")]

use portero_pg::{
    Class, TenantDb, classify,
    tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked},
};
use portero_router::{AcquireError, Behind, Router, RouterOptions, SchemaPolicy};
use portero_testkit::{BareTenant, BareTenants, DEADLINE, TestCluster, wait_until};
use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

const ALL: &str = "SELECT * FROM tally";

/// A router, and two tenants with a table `tally` each; and another, which no migration touches.
struct House {
    cluster: Arc<TestCluster>,
    router: Router,
    acme: BareTenant,
    globex: BareTenant,
    _stop: watch::Sender<bool>,
}

impl House {
    async fn open() -> Self {
        let cluster = TestCluster::shared().await;
        let bare = BareTenants::on(&cluster).await;
        let (acme, globex) = (bare.make("acme").await, bare.make("globex").await);
        let router = Router::start(bare.registry, RouterOptions::default()).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(router.clone().run(stopped));
        let house = Self { cluster, router, acme, globex, _stop: stop };
        for tenant in [&house.acme, &house.globex] {
            let tables = "CREATE TABLE public.tally (nonce text NOT NULL); GRANT ALL ON public.tally TO PUBLIC;
                          CREATE TABLE public.other (nonce text NOT NULL); GRANT ALL ON public.other TO PUBLIC;
                          INSERT INTO public.tally VALUES ('one')";
            house.migrate(tenant, tables).await;
        }
        house
    }

    async fn migrate(&self, tenant: &BareTenant, sql: &str) {
        let session = self.cluster.superuser(&tenant.database).await;
        session.batch_execute(sql).await.unwrap();
        session.close().await;
    }

    async fn lend(&self, tenant: &BareTenant) -> TenantDb {
        let route = self.router.lookup(&tenant.subdomain).unwrap();
        self.router.acquire(&route).await.unwrap()
    }

    /// Statements retried, and told to whoever asked.
    fn stale(&self) -> (u64, u64) {
        let [(_, retried), (_, told)] = self.router.figures().servers[0].stale_statements;
        (retried, told)
    }
}

#[tokio::test]
async fn a_version_behind_the_newest_is_served_where_the_code_runs_on_it_and_where_that_is_wanted() {
    const HOLD: Duration = Duration::from_millis(200);
    let cluster = TestCluster::shared().await;
    // Both tenants have version 1.
    for (behind, oldest, newest, served, waits) in [
        (Behind::Serve, 1, 2, true, false),
        (Behind::Serve, 2, 3, false, true),
        (Behind::Hold, 1, 2, false, true),
        (Behind::Refuse, 1, 2, false, false),
        (Behind::Refuse, 1, 1, true, false),
        (Behind::Hold, 0, 0, true, false),
    ] {
        let bare = BareTenants::on(&cluster).await;
        let tenants = [bare.make("acme").await, bare.make("globex").await];
        let schema = SchemaPolicy { oldest, newest, behind, hold: HOLD };
        let options = RouterOptions { schema, ..RouterOptions::default() };
        let router = Router::start(bare.registry, options).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(router.clone().run(stopped));
        for tenant in &tenants {
            let route = router.lookup(&tenant.subdomain).unwrap();
            assert_eq!(router.serves(&route), served, "{schema:?}");
            match router.acquire(&route).await {
                Ok(db) => assert!(served && db.tenant() == tenant.id, "{schema:?}"),
                Err(error) => assert!(!served && matches!(error, AcquireError::Upgrading), "{error:?}"),
            }
            let began = Instant::now();
            router.hold(tenant.id).await;
            assert_eq!(began.elapsed() >= HOLD, waits, "{schema:?}");
        }
        let figures = router.figures().schema;
        assert_eq!((figures.unserved, figures.held), (if served { 0 } else { 2 }, 0), "{schema:?}");
        assert_eq!(figures.held_in_vain, if waits { 2 } else { 0 }, "{schema:?}");
        stop.send_replace(true);
        running.await.unwrap();
    }
}

#[tokio::test]
async fn a_statement_that_lost_its_shape_is_prepared_again_and_nobody_notices() {
    let house = House::open().await;
    let (db, neighbour) = (house.lend(&house.acme).await, house.lend(&house.globex).await);
    let insert = "INSERT INTO tally (nonce) VALUES ('more') RETURNING *";
    let first = "SELECT * FROM tally ORDER BY nonce LIMIT 1";
    for shape in 1..4 {
        assert_eq!(db.query(ALL, &[]).await.unwrap()[0].len(), shape);
        assert_eq!(db.query_opt(first, &[]).await.unwrap().unwrap().len(), shape);
        assert_eq!(db.query_one(first, &[]).await.unwrap().len(), shape);
        assert_eq!(db.execute(insert, &[]).await.unwrap(), 1);
        assert_eq!(neighbour.query(ALL, &[]).await.unwrap()[0].len(), 1);
        house.migrate(&house.acme, &format!("ALTER TABLE tally ADD COLUMN more_{shape} int")).await;
        match shape {
            1 => assert_eq!(db.query_one(first, &[]).await.unwrap().len(), 2),
            2 => assert_eq!(db.execute(insert, &[]).await.unwrap(), 1, "once, and not twice"),
            _ => assert_eq!(db.query_opt(first, &[]).await.unwrap().unwrap().len(), 4),
        }
    }
    // One refusal is enough: whatever else was prepared is forgotten with it.
    assert_eq!(house.stale(), (3, 0));
    assert_eq!(db.query(ALL, &[]).await.unwrap().len(), 5, "one, three in a row, and one after a migration");
}

/// An enum's value, of whatever type the statement says.
#[derive(Debug)]
struct Label(&'static str);

impl ToSql for Label {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

#[tokio::test]
async fn a_statement_whose_parameter_lost_its_type_is_prepared_again() {
    const REPLACE: &str = "ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('calm', 'glad');
        ALTER TABLE tally ALTER COLUMN mood TYPE mood USING mood::text::mood";
    let house = House::open().await;
    let mood =
        "CREATE TYPE mood AS ENUM ('calm'); ALTER TABLE tally ADD COLUMN mood mood DEFAULT 'calm' NOT NULL;
                ALTER TABLE tally ALTER COLUMN mood DROP DEFAULT";
    house.migrate(&house.acme, mood).await;
    let mut db = house.lend(&house.acme).await;
    let (sql, calm) = ("SELECT nonce FROM tally WHERE mood = $1", Label("calm"));
    assert_eq!(db.query(sql, &[&calm]).await.unwrap().len(), 1);
    house.migrate(&house.acme, REPLACE).await;
    assert_eq!(db.query(sql, &[&calm]).await.unwrap().len(), 1);
    house.migrate(&house.acme, "DROP TYPE mood_old").await;
    assert_eq!(house.stale(), (1, 0));
    let all_at_once = format!("{REPLACE}; DROP TYPE mood_old");
    house.migrate(&house.acme, &all_at_once).await;
    assert_eq!(db.query(sql, &[&calm]).await.unwrap().len(), 1);
    assert_eq!(house.stale(), (2, 0));
    house.migrate(&house.acme, &all_at_once).await;
    let txn = db.transaction().await.unwrap();
    let error = txn.query(sql, &[&calm]).await.unwrap_err();
    assert_eq!(classify(&error), Class::Stale, "{error:?}");
    drop(txn);
    let txn = db.transaction().await.unwrap();
    assert_eq!(txn.query(sql, &[&calm]).await.unwrap().len(), 1);
    drop(txn);
    assert_eq!(house.stale(), (2, 1));
    // A mistake is one at once, and nobody tries it twice.
    assert!(db.query("SELECT nonce FROM tally WHERE mood = 1", &[]).await.is_err());
    assert_eq!(house.stale(), (2, 1));
}

#[tokio::test]
async fn a_session_that_has_lost_its_statements_prepares_them_again() {
    let house = House::open().await;
    let db = house.lend(&house.acme).await;
    db.query(ALL, &[]).await.unwrap();
    db.execute("DEALLOCATE ALL", &[]).await.unwrap();
    assert_eq!(db.query(ALL, &[]).await.unwrap().len(), 1);
    assert_eq!(house.stale(), (1, 0));
}

#[tokio::test]
async fn what_is_stale_again_is_told_and_not_tried_for_ever() {
    let house = House::open().await;
    let stubborn = "CREATE SEQUENCE public.tries;
        CREATE FUNCTION public.stubborn() RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN PERFORM nextval('public.tries'); RAISE SQLSTATE '26000'; END $$;
        GRANT ALL ON SEQUENCE public.tries TO PUBLIC";
    house.migrate(&house.acme, stubborn).await;
    let db = house.lend(&house.acme).await;
    let error = db.query("SELECT public.stubborn()", &[]).await.unwrap_err();
    assert_eq!(classify(&error), Class::Stale, "{error:?}");
    let row = db.query_one("SELECT last_value FROM public.tries", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), house.stale()), (2, (1, 1)));
}

#[tokio::test]
async fn in_a_transaction_it_is_told_and_the_next_one_goes_well_on_the_same_connection() {
    let house = House::open().await;
    let mut db = house.lend(&house.acme).await;
    let pid = "SELECT pg_backend_pid()";
    let before: i32 = db.query_one(pid, &[]).await.unwrap().get(0);
    for (column, by_execute) in [("a", false), ("b", true)] {
        db.query(ALL, &[]).await.unwrap();
        let txn = db.transaction().await.unwrap();
        txn.execute("INSERT INTO other (nonce) VALUES ('lost')", &[]).await.unwrap();
        house.migrate(&house.acme, &format!("ALTER TABLE tally ADD COLUMN {column} int")).await;
        let outcome =
            if by_execute { txn.execute(ALL, &[]).await.err() } else { txn.query(ALL, &[]).await.err() };
        let error = outcome.expect("there is no doing it again alone");
        assert_eq!(classify(&error), Class::Stale, "{error:?}");
        assert!(txn.commit().await.is_err(), "nothing of it is kept");
        let txn = db.transaction().await.unwrap();
        txn.query(ALL, &[]).await.unwrap();
        txn.execute("INSERT INTO other (nonce) VALUES ('kept')", &[]).await.unwrap();
        txn.commit().await.unwrap();
    }
    assert_eq!(house.stale(), (0, 2));
    drop(db);
    let db = house.lend(&house.acme).await;
    assert_eq!(db.query_one(pid, &[]).await.unwrap().get::<_, i32>(0), before, "it is lent again");
    assert_eq!(db.query_one(ALL, &[]).await.unwrap().len(), 3);
    let kept = db.query("SELECT nonce FROM other", &[]).await.unwrap();
    assert!(kept.len() == 2 && kept.iter().all(|row| row.get::<_, &str>(0) == "kept"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_under_load_fail_nobody() {
    const MIGRATIONS: u64 = 30;
    let house = Arc::new(House::open().await);
    let stop = Arc::new(AtomicBool::new(false));
    let borrowers = (0..8).map(|number| {
        let (house, stop, answered) = (Arc::clone(&house), Arc::clone(&stop), Arc::new(AtomicU64::new(0)));
        let count = Arc::clone(&answered);
        let asking = tokio::spawn(async move {
            let tenant = if number % 4 == 0 { &house.globex } else { &house.acme };
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(house.lend(tenant).await.query(ALL, &[]).await.unwrap().len(), 1);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        (asking, answered)
    });
    let borrowers: Vec<_> = borrowers.collect();
    for number in 0..MIGRATIONS {
        house.migrate(&house.acme, &format!("ALTER TABLE tally ADD COLUMN c{number} int")).await;
        // The second of two answers was asked for after it: nobody meets two migrations in one question.
        let before: Vec<_> = borrowers.iter().map(|(_, answered)| answered.load(Ordering::Relaxed)).collect();
        wait_until("everybody to meet it", DEADLINE, async || {
            borrowers.iter().zip(&before).all(|((asking, answered), before)| {
                asking.is_finished() || answered.load(Ordering::Relaxed) >= before + 2
            })
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for (asking, _) in borrowers {
        asking.await.unwrap();
    }
    let (retried, told) = house.stale();
    assert!(retried >= MIGRATIONS && told == 0, "{retried} retried, {told} told");
    let rows = house.lend(&house.acme).await.query(ALL, &[]).await.unwrap();
    assert_eq!(rows[0].len(), 31);
}
