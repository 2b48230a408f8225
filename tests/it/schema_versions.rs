//! Code and schema that are not of one version: tenants that are behind are served, held or refused, tenants that are
//! ahead are served; and a migration under load is nobody's 500. A tenant is set back, migrated and set forward by hand
//! here: what these tests are about is who is let in meanwhile.

use portero_provisioner::TENANT_MIGRATIONS;
use portero_testkit::{
    Answer, Company, DEADLINE, Load, StopMode, TestApp, TestCluster, join_all, wait_until,
};
use serde_json::json;
use std::{
    slice::from_ref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{spawn, task::JoinHandle};

const UPGRADING: &str = "tenant-upgrading";

/// Says which version a tenant's schema has, in the registry, as a migration does when it is done.
async fn note_version(app: &TestApp, company: &Company, version: i32) {
    let id = &company.tenant_id;
    let sql = format!(
        "UPDATE tenants SET schema_version = {version} WHERE id = '{id}'; SELECT route_changed('{id}')"
    );
    app.peek().await.batch_execute(&sql).await.unwrap();
}

/// Waits until so many tenants are known to stand so beside the program.
async fn tenants(app: &TestApp, state: &str, count: f64) {
    wait_until(&format!("{count} tenants to be {state}"), DEADLINE, async || {
        app.metric("portero_tenants_by_schema", &[("state", state)]).await == count
    })
    .await;
}

async fn held(app: &TestApp, count: f64) {
    wait_until(&format!("{count} requests to be held"), DEADLINE, async || {
        app.metric("portero_held", &[]).await == count
    })
    .await;
}

async fn in_database(app: &TestApp, company: &Company, sql: &str) {
    let session = app.cluster().portero(&app.login_of(company).await.name).await;
    session.batch_execute(sql).await.unwrap();
    session.close().await;
}

fn asks(app: &TestApp, company: &Company) -> JoinHandle<Answer> {
    spawn(app.api(company).get("/api/v1/me"))
}

async fn doctor(app: &TestApp, code: i32) -> String {
    app.portero(&["doctor"]).run().await.expect(code).stdout
}

#[tokio::test]
async fn who_comes_before_the_migration_is_held_until_it_is_done_and_the_neighbour_notices_nothing() {
    let app = TestApp::builder().env("PORTERO_SCHEMA_HOLD_SECONDS", "20").start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let newest = TENANT_MIGRATIONS.latest();
    let mut neighbour = Load::on(&app, from_ref(&globex)).start();
    // As the version before left it: whoever logged in now would be a 500.
    let before = format!("DROP TABLE audit; DELETE FROM schema_history WHERE version = {newest}");
    in_database(&app, &acme, &before).await;
    note_version(&app, &acme, newest - 1).await;
    tenants(&app, "unserved", 1.0).await;
    tenants(&app, "current", 1.0).await;

    let began = Instant::now();
    let early: Vec<_> = (0..10).map(|_| asks(&app, &acme)).collect();
    let login = json!({ "email": acme.email, "password": acme.password });
    let login = spawn(app.guest("acme").post("/api/v1/auth/login", &login));
    held(&app, 11.0).await;
    app.guest("acme").get("/static/portero.css").await.expect(200);
    // Word of something else is no reason to let them in.
    note_version(&app, &acme, newest - 1).await;
    neighbour.came_back(50).await;
    held(&app, 11.0).await;

    drop(app.portero(&["migrate", "run"]).run().await.expect(0));
    for answer in join_all(early).await {
        answer.unwrap().expect(200);
    }
    login.await.unwrap().expect(200);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "they waited for the clock, and not for the migration"
    );
    held(&app, 0.0).await;
    assert_eq!(app.metric("portero_held_total", &[("outcome", "served")]).await, 11.0);
    assert_eq!(app.metric("portero_refused_total", &[("reason", UPGRADING)]).await, 0.0);
    tenants(&app, "current", 2.0).await;
    let report = neighbour.stop().await;
    report.print("next door to a tenant that is held");
    assert_eq!(report.refused(), 0);
}

#[tokio::test]
async fn who_is_not_migrated_in_time_reads_when_to_come_again_or_at_once_where_that_is_set() {
    let newest = TENANT_MIGRATIONS.latest();
    for (behind, waits) in [("serve", true), ("hold", true), ("refuse", false)] {
        let builder = TestApp::builder().env("PORTERO_SCHEMA_BEHIND", behind);
        let app = builder.env("PORTERO_SCHEMA_HOLD_SECONDS", "1").start().await;
        let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
        assert!(doctor(&app, 0).await.contains(&format!("all 2 at version {newest}")));
        note_version(&app, &acme, newest - 1).await;
        tenants(&app, "unserved", 1.0).await;

        let answer = app.api(&acme).get("/api/v1/me").await.expect_problem(503, UPGRADING);
        assert_eq!(answer.header("retry-after"), Some("5"), "{behind}");
        app.guest("acme").post("/login", "{}").await.expect_problem(503, UPGRADING);
        for (language, words) in [("es", "Estamos mejorando este lugar"), ("en", "improving this place")] {
            let page = app.http().request("GET", &acme.host, "/login").header("accept", "text/html");
            let page = page.header("accept-language", language).send().await.expect(503);
            assert_eq!(page.header("retry-after"), Some("5"), "{behind}");
            let text = page.text();
            assert!(text.contains(words) && text.contains("data-problem=\"tenant-upgrading\""), "{text}");
            assert!(text.contains("http-equiv=\"refresh\""), "{text}");
        }
        let in_vain = app.metric("portero_held_total", &[("outcome", "refused")]).await;
        assert_eq!(in_vain, if waits { 4.0 } else { 0.0 }, "{behind}");
        assert_eq!(app.metric("portero_refused_total", &[("reason", UPGRADING)]).await, 4.0);
        app.api(&globex).get("/api/v1/me").await.expect(200);
        let told = doctor(&app, 1).await;
        assert!(told.contains(&format!("1 at {}: this Portero needs", newest - 1)), "{told}");
        assert!(told.contains("→ portero migrate run"), "{told}");

        note_version(&app, &acme, newest).await;
        tenants(&app, "current", 2.0).await;
        app.api(&acme).get("/api/v1/me").await.expect(200);
    }
}

#[tokio::test]
async fn a_shut_door_is_told_before_a_schema_that_is_behind() {
    let app = TestApp::builder().env("PORTERO_SCHEMA_HOLD_SECONDS", "20").start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let newest = TENANT_MIGRATIONS.latest();
    note_version(&app, &acme, newest - 1).await;
    note_version(&app, &globex, newest - 1).await;
    tenants(&app, "unserved", 2.0).await;
    let (at_acme, at_globex) = (asks(&app, &acme), asks(&app, &globex));
    held(&app, 2.0).await;
    app.portero(&["tenant", "pause", "acme"]).run().await.expect(0);
    at_acme.await.unwrap().expect_problem(503, "tenant-paused");
    held(&app, 1.0).await;
    app.api(&acme).get("/api/v1/me").await.expect_problem(503, "tenant-paused");
    note_version(&app, &globex, newest).await;
    at_globex.await.unwrap().expect(200);
    // Its door open again, it is still behind.
    app.portero(&["tenant", "resume", "acme"]).run().await.expect(0);
    let at_acme = asks(&app, &acme);
    held(&app, 1.0).await;
    note_version(&app, &acme, newest).await;
    at_acme.await.unwrap().expect(200);
}

#[tokio::test]
async fn a_tenant_that_is_ahead_of_the_code_is_served_and_its_old_connections_are_not() {
    // The strictest setting has nothing against it.
    let app = TestApp::builder().env("PORTERO_SCHEMA_BEHIND", "refuse").start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let ahead = TENANT_MIGRATIONS.latest() + 1;
    let stale = [("reason", "stale")];
    app.api(&acme).get("/api/v1/me").await.expect(200);
    let before = app.metric("portero_evictions_total", &stale).await;
    // As CI leaves it, which migrates before the code is deployed.
    let next = format!(
        "ALTER TABLE users ADD COLUMN nickname text, ALTER COLUMN email TYPE varchar(400);
         CREATE TABLE teams (id uuid PRIMARY KEY);
         INSERT INTO schema_history (version, name, applied_on, checksum) VALUES ({ahead}, 'teams', '', '0')"
    );
    in_database(&app, &acme, &next).await;
    note_version(&app, &acme, ahead).await;
    tenants(&app, "ahead", 1.0).await;
    tenants(&app, "current", 1.0).await;
    wait_until("the connections from before to be closed", DEADLINE, async || {
        app.metric("portero_evictions_total", &stale).await > before
    })
    .await;
    let admin = app.log_in("acme", &acme.email, &acme.password).await;
    admin.get("/api/v1/users").await.expect(200);
    app.add_user(&acme, "mia@acme.example", "member").await;
    app.api(&globex).get("/api/v1/me").await.expect(200);
    let told = doctor(&app, 0).await;
    assert!(told.contains(&format!("1 at {ahead}: newer than version")), "{told}");
}

#[tokio::test]
async fn a_router_that_starts_without_the_registry_remembers_who_is_behind() {
    let registry = TestCluster::private().await;
    let mut app = TestApp::builder().cluster(&registry).env("PORTERO_SCHEMA_HOLD_SECONDS", "0").start().await;
    let server = TestCluster::private().await;
    let companies = app.sign_up_on("ill", &server, server.address(), &["acme", "globex"]).await;
    let (acme, globex) = (&companies[0], &companies[1]);
    let newest = TENANT_MIGRATIONS.latest();
    note_version(&app, acme, newest - 1).await;
    tenants(&app, "unserved", 1.0).await;
    wait_until("all that is known to be on disk", DEADLINE, async || {
        app.metric("portero_snapshot_clock", &[]).await == app.metric("portero_route_clock", &[]).await
    })
    .await;
    app.kill();
    registry.halt(StopMode::Fast).await;
    app.boot().await;
    app.api(acme).get("/api/v1/me").await.expect_problem(503, UPGRADING);
    wait_until("the other to be served", DEADLINE, async || {
        app.api(globex).get("/api/v1/me").await.status == 200
    })
    .await;
    tenants(&app, "current", 1.0).await;
    registry.resume().await;
    note_version(&app, acme, newest).await;
    wait_until("it to be served", DEADLINE, async || app.api(acme).get("/api/v1/me").await.status == 200)
        .await;
}

#[tokio::test]
async fn a_column_that_changes_its_type_under_load_is_nobodys_500() {
    const MIGRATIONS: u64 = 20;
    let app = Arc::new(TestApp::start().await);
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let (member, _) = app.add_user(&acme, "mia@acme.example", "member").await;
    let path = format!("/api/v1/users/{member}");
    let (stop, put_off) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients = (0..8).map(|number| {
        let admin = app.api(if number == 0 { &globex } else { &acme });
        let (stop, put_off, path) = (Arc::clone(&stop), Arc::clone(&put_off), path.clone());
        let answered = Arc::new(AtomicU64::new(0));
        let client = Arc::clone(&answered);
        let asking = spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // Reading is retried behind the scenes. Some of writing is a transaction: it may be put off, and no more.
                let answer = match number {
                    0..5 => admin.get("/api/v1/users").await.expect(200),
                    _ => admin.patch(&path, &json!({ "role": "member" })).await,
                };
                if answer.status != 200 {
                    let put = answer.expect_problem(503, UPGRADING);
                    assert_eq!(put.header("retry-after"), Some("1"));
                    put_off.fetch_add(1, Ordering::Relaxed);
                }
                client.fetch_add(1, Ordering::Relaxed);
            }
        });
        (asking, answered)
    });
    let clients: Vec<_> = clients.collect();
    for number in 0..MIGRATIONS {
        let other = if number % 2 == 0 { "varchar(400)" } else { "text" };
        in_database(&app, &acme, &format!("ALTER TABLE users ALTER COLUMN email TYPE {other}")).await;
        // The second of two answers was asked for after it: nobody meets two migrations in one question.
        let before: Vec<_> = clients.iter().map(|(_, answered)| answered.load(Ordering::Relaxed)).collect();
        wait_until("everybody to meet it", DEADLINE, async || {
            clients.iter().zip(&before).all(|((asking, answered), before)| {
                asking.is_finished() || answered.load(Ordering::Relaxed) >= before + 2
            })
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for (asking, _) in clients {
        asking.await.unwrap();
    }
    let stale = async |outcome| app.metric("portero_stale_statements_total", &[("outcome", outcome)]).await;
    let (retried, told) = (stale("retried").await, stale("told").await);
    assert!(retried >= MIGRATIONS as f64, "{retried} were retried");
    assert_eq!(told, put_off.load(Ordering::Relaxed) as f64, "who was put off, and nobody else");

    // What a migration that comes between two statements of a transaction does, for certain.
    let between =
        "CREATE FUNCTION lost() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '26000'; END $$;
                   CREATE TRIGGER lost BEFORE UPDATE ON users EXECUTE FUNCTION lost()";
    in_database(&app, &acme, between).await;
    let admin = app.api(&acme);
    let put_off = admin.patch(&path, &json!({ "role": "admin" })).await.expect_problem(503, UPGRADING);
    assert_eq!(put_off.header("retry-after"), Some("1"));
    assert_eq!(stale("told").await, told + 1.0);
    in_database(&app, &acme, "DROP TRIGGER lost ON users").await;
    assert_eq!(admin.patch(&path, &json!({ "role": "admin" })).await.expect(200).str_at("/role"), "admin");
}
