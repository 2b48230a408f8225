//! Spares: a company that signs up is given a database that was made ahead, whole and its own; the pool is filled again, and
//! never beyond what is wanted. Each test has a cluster of its own, to say what is in it.

use portero_kernel::ServerId;
use portero_pg::Session;
use portero_provisioner::{Catalogue, TENANT_MIGRATIONS};
use portero_testkit::{Company, DEADLINE, TestApp, TestCluster, join_all, wait_for, wait_until};
use std::{collections::BTreeSet, sync::Arc};
use uuid::Uuid;

/// An application that keeps this many spares on each server.
async fn start(cluster: &Arc<TestCluster>, spares: &str) -> TestApp {
    TestApp::builder().cluster(cluster).env("PORTERO_SPARES", spares).start().await
}

/// The only column of all rows that the registry has for this.
async fn names(app: &TestApp, sql: &str) -> BTreeSet<String> {
    let session = app.peek().await;
    let rows = session.query(sql, &[]).await.unwrap();
    session.close().await;
    rows.iter().map(|row| row.get(0)).collect()
}

/// The databases of the spares that are ready.
pub(crate) async fn ready(app: &TestApp) -> BTreeSet<String> {
    names(app, "SELECT db_name FROM spares WHERE state = 'ready'").await
}

/// Waits until there are as many as this, ready, and no other.
pub(crate) async fn full(app: &TestApp, count: usize) -> BTreeSet<String> {
    wait_for(&format!("{count} spares"), DEADLINE, async || {
        let (ready, all) = (ready(app).await, names(app, "SELECT db_name FROM spares").await);
        (ready.len() == count && all == ready).then_some(ready)
    })
    .await
}

/// Changes the registry behind Portero's back.
async fn change(app: &TestApp, sql: &str) {
    let session = app.peek().await;
    session.batch_execute(sql).await.unwrap();
    session.close().await;
}

pub(crate) async fn origin(app: &TestApp, subdomain: &str) -> Option<String> {
    let session = app.peek().await;
    let sql = "SELECT origin FROM tenants WHERE subdomain = $1";
    let origin = session.query_one(sql, &[&subdomain]).await.unwrap().get(0);
    session.close().await;
    origin
}

async fn server(app: &TestApp) -> ServerId {
    let session = app.peek().await;
    let id: Uuid = session.query_one("SELECT id FROM servers", &[]).await.unwrap().get(0);
    session.close().await;
    id.into()
}

/// Keeps everybody from refilling, as long as the session is there.
pub(crate) async fn no_refill(app: &TestApp) -> Session {
    let server = server(app).await;
    let registry = app.registry().await;
    wait_for("the end of a round", DEADLINE, async || registry.refill_lock(server).await.unwrap()).await
}

/// Waits until the server has a template.
async fn template(app: &TestApp) {
    let session = app.cluster().superuser("postgres").await;
    let sql = "SELECT FROM pg_database WHERE datname LIKE 'p\\_template\\_%' AND datistemplate";
    wait_until("a template", DEADLINE, async || session.query_opt(sql, &[]).await.unwrap().is_some()).await;
}

/// Whose mark a company's database bears.
async fn mark(app: &TestApp, company: &Company) -> String {
    let database = app.login_of(company).await.name;
    let session = app.cluster().superuser("postgres").await;
    let sql = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1";
    session.query_one(sql, &[&database]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_company_is_given_a_spare_and_the_pool_is_filled_again() {
    let cluster = TestCluster::private().await;
    let app = start(&cluster, "2").await;
    let before = full(&app, 2).await;
    let (accepted, password) = app.ask_for("acme").await;
    let accepted = accepted.expect(202);
    let acme = app.finish_sign_up("acme", &accepted, &password).await;
    let job = app.job_at_rest(&accepted.str_at("/job")).await;
    assert_eq!(job["origin"], "spare", "{job}");
    let name = app.login_of(&acme).await.name;
    assert!(before.contains(&name), "{name} is one of {before:?}");
    assert_eq!(mark(&app, &acme).await, format!("portero tenant {}", acme.tenant_id));
    wait_until("the pool to be full again", DEADLINE, async || {
        let now = ready(&app).await;
        now.len() == 2 && !now.contains(&name)
    })
    .await;
    let _quiet = no_refill(&app).await;
    cluster.clean_slate().await;
    assert_eq!(app.metric("portero_spares", &[("server", "main"), ("state", "ready")]).await, 2.0);
    assert_eq!(app.metric("portero_tenants_made_from", &[("origin", "spare")]).await, 1.0);
    assert_eq!(app.metric("portero_templates", &[]).await, 1.0);
    let shown = app.portero(&["server", "show", "main", "--json"]).run().await.expect(0).json();
    assert_eq!((&shown["spares"]["ready"], &shown["spares"]["wanted"]), (&2.into(), &2.into()), "{shown}");
    let doctor = app.portero(&["doctor"]).run().await.expect(0);
    assert!(doctor.stdout.contains("2 of 2 ready"), "{}", doctor.stdout);
}

#[tokio::test]
async fn two_companies_from_two_spares_are_closed_to_each_other_and_to_the_spares_that_are_left() {
    // Where privileges alone keep roles apart.
    let cluster = TestCluster::managed().await;
    let app = start(&cluster, "3").await;
    full(&app, 3).await;
    let quiet = no_refill(&app).await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let logins = [app.login_of(&acme).await, app.login_of(&globex).await];
    let spare = ready(&app).await.pop_first().unwrap();
    for login in &logins {
        for database in [&logins[0].name, &logins[1].name, &spare] {
            let entered = cluster.login(&login.name, &login.password, database).await.is_ok();
            assert_eq!(entered, login.name == *database, "{} into {database}", login.name);
        }
    }
    let session = cluster.superuser("postgres").await;
    let sql = "SELECT rolcanlogin OR rolpassword IS NOT NULL FROM pg_authid WHERE rolname = $1";
    assert!(!session.query_one(sql, &[&spare]).await.unwrap().get::<_, bool>(0), "nobody is a spare's role");
    app.api(&acme).get(&format!("/api/v1/users/{}", globex.admin_id)).await.expect(404);
    drop(quiet);
}

#[tokio::test]
async fn whichever_way_a_database_came_about_it_is_the_same() {
    let cluster = TestCluster::private().await;
    let app = start(&cluster, "1").await;
    full(&app, 1).await;
    let quiet = no_refill(&app).await;
    app.sign_up("warm").await;
    app.sign_up("copied").await;
    let superuser = cluster.superuser("postgres").await;
    let sql = "SELECT datname::text FROM pg_database WHERE datname LIKE 'p\\_template\\_%'";
    let name: String = superuser.query_one(sql, &[]).await.unwrap().get(0);
    superuser.batch_execute(&format!("ALTER DATABASE {name} RENAME TO put_away")).await.unwrap();
    app.sign_up("migrated").await;
    drop(quiet);
    let mut found = Vec::new();
    for (subdomain, expected) in [("warm", "spare"), ("copied", "template"), ("migrated", "migrations")] {
        assert_eq!(origin(&app, subdomain).await.as_deref(), Some(expected), "{subdomain}");
        let sql = format!("SELECT db_name FROM tenants WHERE subdomain = '{subdomain}'");
        let session = cluster.portero(&names(&app, &sql).await.pop_first().unwrap()).await;
        let catalogue = Catalogue::read(&session).await.unwrap();
        let has = |line: &str| catalogue.grants.iter().any(|grant| grant == line);
        assert!(
            has("grant SELECT on public.audit to tenant") && !has("grant DELETE on public.audit to tenant")
        );
        assert!(catalogue.structure.iter().any(|thing| thing.what == "column public.users.email"));
        found.push(catalogue);
        session.close().await;
    }
    assert_eq!(found[0], found[2], "a spare and one that was migrated from nothing");
    assert_eq!(found[1], found[2], "a copy of the template and one that was migrated from nothing");
    // What differs is seen.
    let session =
        cluster.portero(&names(&app, "SELECT db_name FROM tenants").await.pop_first().unwrap()).await;
    session.batch_execute("ALTER TABLE users ADD nickname text").await.unwrap();
    assert_ne!(Catalogue::read(&session).await.unwrap().fingerprint(), found[2].fingerprint());
}

#[tokio::test]
async fn killed_around_the_claim_a_company_keeps_the_spare_it_was_given() {
    let cluster = TestCluster::private().await;
    for point in [
        "reserve::before",
        "claim_or_create_database::before",
        "claim_or_create_database::after",
        "role::before",
        "role::after",
    ] {
        let mut app = TestApp::builder()
            .cluster(&cluster)
            .env("PORTERO_SPARES", "1")
            .failpoints(&format!("{point}=pause"))
            .start()
            .await;
        let spare = full(&app, 1).await;
        let quiet = no_refill(&app).await;
        let (accepted, password) = app.ask_for("acme").await;
        let accepted = accepted.expect(202);
        app.wait_for_point(point).await;
        assert!(ready(&app).await.is_empty(), "{point}: it is given away with the name");
        app.recover().await;
        let acme = app.finish_sign_up("acme", &accepted, &password).await;
        assert!(spare.contains(&app.login_of(&acme).await.name), "{point}");
        assert_eq!(mark(&app, &acme).await, format!("portero tenant {}", acme.tenant_id), "{point}");
        drop(quiet);
        let next = full(&app, 1).await;
        assert_ne!(next, spare, "{point}");
        app.terminate().await;
    }
    cluster.clean_slate().await;
}

#[tokio::test]
async fn a_sign_up_that_is_undone_takes_its_spare_along() {
    let cluster = TestCluster::private().await;
    // Before it bears the company's mark, and after.
    for point in ["claim_or_create_database::before", "claim_or_create_database::after", "verify::after"] {
        let mut app = TestApp::builder()
            .cluster(&cluster)
            .env("PORTERO_SPARES", "1")
            .failpoints(&format!("{point}=return"))
            .start()
            .await;
        let spare = full(&app, 1).await;
        let (accepted, _) = app.ask_for("acme").await;
        assert_eq!(
            app.job_at_rest(&accepted.expect(202).str_at("/job")).await["status"],
            "failed",
            "{point}"
        );
        wait_until("another spare", DEADLINE, async || {
            let now = ready(&app).await;
            now.len() == 1 && now != spare
        })
        .await;
        app.terminate().await;
        cluster.clean_slate().await;
    }
}

#[tokio::test]
async fn what_a_crash_left_is_cleared_away() {
    let cluster = TestCluster::private().await;
    let app = start(&cluster, "2").await;
    full(&app, 2).await;
    let quiet = no_refill(&app).await;
    let server = server(&app).await;
    let portero = cluster.portero("postgres").await;
    let name = || format!("t_{}", Uuid::new_v4().simple());
    let [unmarked, dropped, nowhere, orphan] = [name(), name(), name(), name()];
    for database in [&unmarked, &dropped, &orphan] {
        portero.batch_execute(&format!("CREATE DATABASE {database} ALLOW_CONNECTIONS false")).await.unwrap();
    }
    portero.batch_execute(&format!("CREATE ROLE {orphan} NOLOGIN")).await.unwrap();
    for (what, database) in [("DATABASE", &dropped), ("DATABASE", &orphan), ("ROLE", &orphan)] {
        portero
            .batch_execute(&format!("COMMENT ON {what} {database} IS 'portero spare {server}'"))
            .await
            .unwrap();
    }
    let making = format!("p_making_{}", server.uuid().simple());
    portero.batch_execute(&format!("CREATE DATABASE {making}")).await.unwrap();
    let superuser = cluster.superuser("postgres").await;
    // As an interrupted DROP leaves it.
    let sql = format!("UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{dropped}'");
    superuser.batch_execute(&sql).await.unwrap();
    for (database, state) in [(&unmarked, "making"), (&dropped, "dropping"), (&nowhere, "ready")] {
        change(
            &app,
            &format!(
                "INSERT INTO spares (id, server_id, db_name, state)
                 VALUES (gen_random_uuid(), '{server}', '{database}', '{state}')"
            ),
        )
        .await;
    }
    // The template goes, so that one is made again.
    superuser
        .batch_execute("UPDATE pg_database SET datistemplate = false WHERE datname LIKE 'p\\_template\\_%'")
        .await
        .unwrap();
    drop(quiet);
    wait_until("all of it to be gone", DEADLINE, async || {
        let sql = "SELECT datname::text FROM pg_database UNION SELECT rolname::text FROM pg_roles";
        let there: BTreeSet<String> =
            superuser.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        [&unmarked, &dropped, &nowhere, &orphan, &making].iter().all(|name| !there.contains(*name))
            && !names(&app, "SELECT db_name FROM spares").await.contains(&nowhere)
    })
    .await;
    template(&app).await;
    full(&app, 2).await;
    cluster.clean_slate().await;
}

#[tokio::test]
async fn spares_of_an_older_schema_are_replaced_and_serve_until_then() {
    let cluster = TestCluster::private().await;
    let app = start(&cluster, "2").await;
    let old = full(&app, 2).await;
    let quiet = no_refill(&app).await;
    let newest = TENANT_MIGRATIONS.latest();
    // As the version before left them.
    for database in &old {
        let session = cluster.portero(database).await;
        let sql = format!("DROP TABLE audit; DELETE FROM schema_history WHERE version = {newest}");
        session.batch_execute(&sql).await.unwrap();
        session.close().await;
    }
    change(&app, &format!("UPDATE spares SET schema_version = {}", newest - 1)).await;
    let acme = app.sign_up("acme").await;
    assert!(old.contains(&app.login_of(&acme).await.name), "one of an older schema is better than none");
    let version = names(&app, "SELECT schema_version::text FROM tenants").await;
    assert_eq!(version, BTreeSet::from([newest.to_string()]), "its own sign-up migrates it");
    drop(quiet);
    wait_until("the old ones to be replaced", DEADLINE, async || full(&app, 2).await.is_disjoint(&old)).await;
    let versions = names(&app, "SELECT schema_version::text FROM spares").await;
    assert_eq!(versions, BTreeSet::from([newest.to_string()]));
    // One of a newer Portero is not for this one, which doesn't know its schema.
    let quiet = no_refill(&app).await;
    change(&app, &format!("UPDATE spares SET schema_version = {}", newest + 1)).await;
    app.sign_up("globex").await;
    assert_eq!(origin(&app, "globex").await.as_deref(), Some("template"));
    drop(quiet);
}

#[tokio::test]
async fn none_are_made_where_none_are_wanted() {
    let cluster = TestCluster::private().await;
    let app = start(&cluster, "0").await;
    template(&app).await;
    let acme = app.sign_up("acme").await;
    assert_eq!(origin(&app, "acme").await.as_deref(), Some("template"), "and still no migration is run");
    app.api(&acme).get("/api/v1/users").await.expect(200);
    wait_until("a round", DEADLINE, async || {
        !names(&app, "SELECT wanted::text FROM refills").await.is_empty()
    })
    .await;
    assert!(names(&app, "SELECT db_name FROM spares").await.is_empty());
    cluster.clean_slate().await;
    app.portero(&["doctor"]).run().await.expect(0);
}

#[tokio::test]
async fn a_full_server_gets_no_spares_and_serves_on() {
    let cluster = TestCluster::private().await;
    let builder = TestApp::builder().cluster(&cluster).env("PORTERO_SPARES", "2");
    let app = builder.env("PORTERO_SERVER_SIZE_LIMIT_MB", "1").start().await;
    wait_until("a round that stops", DEADLINE, async || {
        names(&app, "SELECT coalesce(stopped, '') FROM refills").await.contains("disk")
    })
    .await;
    let acme = app.sign_up("acme").await;
    app.api(&acme).get("/api/v1/users").await.expect(200);
    assert!(names(&app, "SELECT db_name FROM spares").await.is_empty());
    assert_eq!(app.metric("portero_refill_stopped", &[("reason", "disk")]).await, 1.0);
    let doctor = app.portero(&["doctor"]).run().await.expect(0);
    assert!(doctor.stdout.contains("PORTERO_SERVER_SIZE_LIMIT_MB"), "{}", doctor.stdout);
    let shown = app.portero(&["server", "show", "main"]).run().await.expect(0);
    assert!(shown.stdout.contains("stopped: its databases take"), "{}", shown.stdout);
}

#[tokio::test]
async fn two_processes_make_no_more_than_are_wanted() {
    let cluster = TestCluster::private().await;
    let app = start(&cluster, "3").await;
    let sibling = app.sibling().await;
    let watched = async {
        let mut most = 0;
        // Long enough for each to have looked a few times.
        for subdomain in ["acme", "globex", "initech", "umbrella"] {
            app.sign_up(subdomain).await;
            wait_until("three spares", DEADLINE, async || {
                most = most.max(names(&app, "SELECT db_name FROM spares").await.len());
                ready(&app).await.len() == 3
            })
            .await;
        }
        most
    };
    assert_eq!(watched.await, 3);
    let quiet = no_refill(&app).await;
    cluster.clean_slate().await;
    drop((quiet, sibling));
}

#[tokio::test]
async fn a_spare_is_given_to_one_of_twenty_at_once() {
    let cluster = TestCluster::private().await;
    let app = start(&cluster, "3").await;
    let spares = full(&app, 3).await;
    let quiet = no_refill(&app).await;
    let subdomains: Vec<_> = (0..20).map(|number| format!("company-{number}")).collect();
    let companies = join_all(subdomains.iter().map(|subdomain| app.sign_up(subdomain))).await;
    let mut databases = BTreeSet::new();
    for company in &companies {
        databases.insert(app.login_of(company).await.name);
        assert_eq!(mark(&app, company).await, format!("portero tenant {}", company.tenant_id));
        let users = app.api(company).get("/api/v1/users").await.expect(200).json();
        assert_eq!(users["users"].as_array().unwrap().len(), 1, "{users}");
    }
    assert_eq!(databases.len(), 20, "no two share one");
    assert!(databases.is_superset(&spares));
    assert_eq!(names(&app, "SELECT db_name FROM tenants WHERE origin = 'spare'").await, spares);
    drop(quiet);
    full(&app, 3).await;
    let _quiet = no_refill(&app).await;
    cluster.clean_slate().await;
}

#[tokio::test]
async fn a_server_that_drains_loses_its_spares_and_gets_them_back() {
    let cluster = TestCluster::private().await;
    let app = start(&cluster, "1").await;
    full(&app, 1).await;
    app.portero(&["server", "drain", "main"]).run().await.expect(0);
    full(&app, 0).await;
    cluster.clean_slate().await;
    app.portero(&["server", "drain", "main", "--undo"]).run().await.expect(0);
    full(&app, 1).await;
}

#[tokio::test]
async fn a_database_that_is_still_being_copied_when_its_maker_dies_is_nobody_s_orphan() {
    let cluster = TestCluster::private().await;
    let mut app = start(&cluster, "1").await;
    full(&app, 1).await;
    // Nobody copies the template while somebody changes it.
    let mut superuser = cluster.superuser("postgres").await;
    let sql = "SELECT datname::text FROM pg_database WHERE datname LIKE 'p\\_template\\_%'";
    let template: String = superuser.query_one(sql, &[]).await.unwrap().get(0);
    let holding = superuser.transaction().await.unwrap();
    holding.batch_execute(&format!("COMMENT ON DATABASE {template} IS 'held'")).await.unwrap();
    app.sign_up("acme").await;
    let looking = cluster.superuser("postgres").await;
    let copies = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE%' AND wait_event_type = 'Lock'";
    let waiting = async || looking.query_one(copies, &[]).await.unwrap().get::<_, i64>(0);
    wait_until("a copy to wait", DEADLINE, async || waiting().await == 1).await;
    let making = names(&app, "SELECT db_name FROM spares WHERE state = 'making'").await;
    app.kill();
    app.boot().await;
    wait_until("the row to be forgotten", DEADLINE, async || {
        names(&app, "SELECT db_name FROM spares").await.is_disjoint(&making)
    })
    .await;
    holding.rollback().await.unwrap();
    let spare = full(&app, 1).await;
    assert!(spare.is_disjoint(&making));
    cluster.clean_slate().await;
}

#[tokio::test]
async fn a_company_s_open_transaction_holds_no_old_template_up() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).env("PORTERO_SPARES", "1").start().await;
    let acme = app.sign_up("acme").await;
    let superuser = cluster.superuser("postgres").await;
    // The second of them is the one before the newest, which is kept. Portero doesn't see the first yet.
    for version in [1, 2] {
        let make = format!("CREATE DATABASE p_template_{version}_0 TEMPLATE template0 STRATEGY wal_log");
        superuser.batch_execute(&make).await.unwrap();
    }
    superuser.batch_execute("ALTER DATABASE p_template_2_0 OWNER TO portero").await.unwrap();
    let theirs = app.database_of(&acme).await;
    let hold = "SET idle_in_transaction_session_timeout = 0; BEGIN;
                ALTER ROLE CURRENT_USER IN DATABASE p_template_1_0 SET work_mem = '1MB'";
    theirs.batch_execute(hold).await.unwrap();
    superuser.batch_execute("ALTER DATABASE p_template_1_0 OWNER TO portero").await.unwrap();
    wait_until("the old template to be gone", DEADLINE, async || {
        let sql =
            "SELECT datname::text FROM pg_database WHERE datname IN ('p_template_1_0', 'p_template_2_0')";
        let left = superuser.query(sql, &[]).await.unwrap();
        left.iter().map(|row| row.get::<_, String>(0)).eq(["p_template_2_0"])
    })
    .await;
    assert!(theirs.query_one("SELECT 1", &[]).await.is_err(), "it is cut off");
    app.guest("acme").get("/api/v1/ping").await.expect(200);
}
