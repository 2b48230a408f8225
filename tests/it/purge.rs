//! A purge through the kit that every workflow passes: killed, failed, frozen and repeated at every point, it ends with
//! nothing left, proven.

use crate::workflow_kit::{
    Flow, everything_twice, failed_at_every_step, frozen_at_every_step, killed_at_every_point,
};
use portero_kernel::{JobId, Subdomain, TenantId};
use portero_registry::NewJob;
use portero_testkit::{DEADLINE, TestApp, TestCluster, wait_for, wait_until};
use serde_json::json;

/// The purge of a company that is deleted, and whose fence was never raised.
struct PurgeTenant;

impl Flow for PurgeTenant {
    const STEPS: &'static [&'static str] = &["fence", "drop_database", "drop_role", "bury", "prove"];
    const INSIDE: &'static [&'static str] =
        &["fence::opened", "drop_database::opened", "drop_role::opened", "prove::opened"];
    const UNDOABLE: bool = false;
    type Ticket = (TenantId, String);

    async fn prepare(app: &TestApp, subdomain: &str) {
        let company = app.sign_up(subdomain).await;
        let sql = format!(
            "UPDATE tenants SET status = 'deleted', undelete_to = 'active', deleted_at = now(), purge_after = now() + interval '30 days'
             WHERE id = '{0}'; SELECT route_changed('{0}')",
            company.tenant_id
        );
        app.peek().await.batch_execute(&sql).await.unwrap();
    }

    async fn start(app: &TestApp, subdomain: &str) -> (String, Self::Ticket) {
        let tenant = app.registry().await.tenant_by_subdomain(&label(subdomain)).await.unwrap().unwrap();
        let id = JobId::generate();
        let job = NewJob { id, kind: "purge_tenant", steps: Self::STEPS, secret: None, claim: None };
        assert!(app.registry().await.purge_insert(&job, tenant.id).await.unwrap());
        (id.to_string(), (tenant.id, tenant.database.to_string()))
    }

    async fn check_done(app: &TestApp, subdomain: &str, (tenant, database): &Self::Ticket) {
        let inventory = app.cluster().inventory().await;
        assert!(
            !inventory.databases.contains(database) && !inventory.roles.contains(database),
            "{subdomain}"
        );
        let stone = app.registry().await.tombstone(*tenant).await.unwrap().expect(subdomain);
        let report = app.registry().await.job_report(stone.job).await.unwrap().expect(subdomain);
        let looks = report["looked_for"].as_array().unwrap();
        assert!(looks.len() == 6 && looks.iter().all(|look| look["found"] == 0), "{subdomain}: {report}");
        assert!(app.registry().await.subdomain_taken(&label(subdomain)).await.unwrap());
        wait_until("the router to hear of it", DEADLINE, async || {
            app.guest(subdomain).get("/api/v1/ping").await.problem() == "tenant-not-found"
        })
        .await;
    }

    async fn check_undone(_: &TestApp, subdomain: &str) {
        panic!("{subdomain}: there is no way back from a purge");
    }
}

fn label(subdomain: &str) -> Subdomain {
    Subdomain::parse(subdomain).unwrap()
}

#[tokio::test]
async fn a_purge_killed_at_any_point_is_finished_and_leaves_no_orphan() {
    killed_at_every_point::<PurgeTenant>().await;
}

#[tokio::test]
async fn a_purge_of_which_everything_happens_twice_is_as_if_it_had_happened_once() {
    everything_twice::<PurgeTenant>().await;
}

#[tokio::test]
async fn a_purge_of_which_a_step_fails_waits_for_a_person_and_goes_on_from_there() {
    failed_at_every_step::<PurgeTenant>().await;
}

#[tokio::test]
async fn a_purge_goes_on_elsewhere_when_its_worker_freezes_and_no_late_write_counts() {
    frozen_at_every_step::<PurgeTenant>().await;
}

#[tokio::test]
async fn what_another_company_s_role_was_made_to_do_holds_up_nobody_s_end() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).env("PORTERO_SPARES", "1").start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let theirs = app.login_of(&globex).await.name;
    let spare = wait_for("a spare", DEADLINE, async || {
        let sql = "SELECT db_name FROM spares WHERE state = 'ready'";
        app.peek().await.query_opt(sql, &[]).await.unwrap().map(|row| row.get::<_, String>(0))
    })
    .await;
    let session = app.database_of(&acme).await;
    for role in [&theirs, &spare] {
        let grant = format!("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role}");
        session.batch_execute(&grant).await.unwrap();
    }
    let grant = format!("SELECT lo_create(4711); GRANT SELECT ON LARGE OBJECT 4711 TO {theirs}");
    session.batch_execute(&grant).await.unwrap();
    let hold = format!(
        "SET idle_in_transaction_session_timeout = 0; BEGIN; ALTER DEFAULT PRIVILEGES GRANT UPDATE ON TABLES TO {theirs}"
    );
    session.batch_execute(&hold).await.unwrap();

    drop(app.portero(&["tenant", "delete", "globex", "--yes"]).run().await.expect(0));
    let purge = ["tenant", "purge", "globex", "--before-grace", "--yes"];
    drop(app.portero(&purge).run().await.expect(0));
    assert!(!cluster.inventory().await.roles.contains(&theirs));
    drop(app.portero(&["server", "drain", "main"]).run().await.expect(0));
    wait_until("the spare to be gone", DEADLINE, async || !cluster.inventory().await.roles.contains(&spare))
        .await;
    // What is theirs is left to them.
    let session = app.database_of(&acme).await;
    let object: i64 =
        session.query_one("SELECT count(*) FROM pg_largeobject_metadata", &[]).await.unwrap().get(0);
    assert_eq!(object, 1);
    app.guest("acme").get("/api/v1/ping").await.expect(200);
}

#[tokio::test]
async fn a_transaction_that_no_session_has_is_named_where_it_holds_a_purge_up() {
    let cluster = TestCluster::with_settings(&[("max_prepared_transactions", "10")]).await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let login = app.login_of(&globex).await.name;
    // One that holds its own database, and one that holds a role that is another company's.
    let prepare = "BEGIN; SELECT 1; PREPARE TRANSACTION 'it''s mine'";
    app.database_of(&globex).await.batch_execute(prepare).await.unwrap();
    let prepare = format!(
        "BEGIN; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {login}; PREPARE TRANSACTION 'of acme'"
    );
    app.database_of(&acme).await.batch_execute(&prepare).await.unwrap();
    let doctor = app.portero(&["doctor"]).run().await.expect(0).stdout;
    let told =
        ["warn  main: prepared", "ROLLBACK PREPARED 'it''s mine' in", "ROLLBACK PREPARED 'of acme' in"];
    assert!(told.iter().all(|words| doctor.contains(words)), "{doctor}");

    drop(app.portero(&["tenant", "delete", "globex", "--yes"]).run().await.expect(0));
    let purge = app.operator("POST", "/admin/v1/tenants/globex/purge").await;
    let purge = purge.json(&json!({ "confirm": "globex", "before_grace": true }));
    let job = purge.send().await.expect(202).str_at("/job");
    let superuser = cluster.superuser("postgres").await;
    let held = async |step: &str, gid: &str, database: &str| {
        wait_until("it to be named", DEADLINE, async || {
            let job =
                app.operator("GET", &format!("/admin/v1/jobs/{job}")).await.send().await.expect(200).json();
            let steps = job["steps"].as_array().unwrap();
            let error = steps.iter().find(|one| one["name"] == step).unwrap()["error"].to_string();
            error.contains("ROLLBACK PREPARED") && error.contains(gid)
        })
        .await;
        let inside = cluster.superuser(database).await;
        inside.batch_execute(&format!("ROLLBACK PREPARED '{gid}'")).await.unwrap();
    };
    held("drop_database", "it''s mine", &login).await;
    held("drop_role", "of acme", &app.login_of(&acme).await.name).await;
    wait_until("globex to be gone", DEADLINE, async || {
        let roles = "SELECT count(*) FROM pg_roles WHERE rolname = $1";
        superuser.query_one(roles, &[&login]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    assert!(app.portero(&["doctor"]).run().await.expect(0).stdout.contains("no company has a prepared"));
}
