//! Whoever runs the platform and meets trouble: everything that went wrong is named where one looks for it, with the step
//! that goes on from there.

use portero_testkit::{DEADLINE, StopMode, TestApp, TestCluster, new_password, wait_until};
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

/// An undo that fails for good, with the database and the role there; and one that goes on failing.
const STUCK: &str = "verify::before=return;database_cleanup::before-undo=return";
const FAILING: &str = "verify::before=return;database_cleanup::before-undo=return(again)";

async fn job_of(app: &TestApp, kind: &str) -> String {
    let listed = app.portero(&["jobs", "list", "--json"]).run().await.expect(0).json();
    let jobs = listed["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["kind"] == kind).unwrap_or_else(|| panic!("{listed}"));
    job["id"].as_str().unwrap().to_owned()
}

/// The overview, after the servers were looked at.
async fn overview(app: &TestApp) -> String {
    app.operator("POST", "/console/compare").await.send().await.expect(303);
    app.operator("GET", "/console").await.header("accept", "text/html").send().await.expect(200).text()
}

#[tokio::test]
async fn a_job_whose_undo_keeps_failing_is_named_everywhere_and_goes_on_by_itself() {
    let cluster = TestCluster::private().await;
    let mut app = TestApp::builder().cluster(&cluster).failpoints(FAILING).start().await;
    let (accepted, _) = app.ask_for("acme").await;
    let job = accepted.expect(202).str_at("/job");
    wait_until("a first round of tries", DEADLINE, async || {
        let shown = app.portero(&["jobs", "show", &job, "--json"]).run().await.expect(0).json();
        shown["status"] == "undoing" && shown["steps"][1]["attempts"].as_i64().unwrap() >= 4
    })
    .await;
    app.portero(&["doctor"]).run().await.expect(0);
    // As after some rounds more.
    let session = app.peek().await;
    session
        .batch_execute("UPDATE job_steps SET attempt = attempt + 20 WHERE status = 'undoing'")
        .await
        .unwrap();

    let told = app.portero(&["doctor"]).run().await.expect(1).stdout;
    assert!(told.contains("undo of database_cleanup") && told.contains("was told to fail once"), "{told}");
    assert!(told.contains(&format!("portero jobs show {job}")) && told.contains("by themselves"), "{told}");
    let page = overview(&app).await;
    assert!(page.contains("data-trouble=\"failing_jobs\"") && page.contains(&job), "{page}");
    let metric = async |state: &str| app.metric("portero_jobs", &[("state", state)]).await;
    assert_eq!((metric("undoing").await, metric("failing").await, metric("stuck").await), (1.0, 1.0, 0.0));

    // Neither of both ways to hurry it is one, and each says so.
    let told = app.portero(&["jobs", "retry", &job]).run().await.expect(1).stderr;
    assert!(told.contains("goes on by itself"), "{told}");
    let told = app.portero(&["jobs", "abandon", &job]).run().await.expect(2).stdout;
    assert!(told.contains("heals by itself") && told.contains("was told to fail once"), "{told}");

    app.kill();
    app.set_failpoints("");
    app.boot().await;
    app.expire_leases().await;
    assert_eq!(app.job_at_rest(&job).await["status"], "failed");
    let healed = app.portero(&["jobs", "show", &job, "--json"]).run().await.expect(0).json();
    assert_eq!(healed["status"], "undone");
    app.portero(&["doctor"]).run().await.expect(0);
    cluster.clean_slate().await;
}

#[tokio::test]
async fn what_a_job_that_was_given_up_left_is_removed_by_giving_it_up_again() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).failpoints(STUCK).start().await;
    let (accepted, _) = app.ask_for("acme").await;
    let job = accepted.expect(202).str_at("/job");
    app.job_at_rest(&job).await;
    let name = cluster.inventory().await.tenants.into_iter().next().unwrap();
    let page = overview(&app).await;
    assert!(
        page.contains("data-trouble=\"stuck_jobs\"") && page.contains(&format!("portero jobs retry {job}")),
        "{page}"
    );

    let again = format!("portero jobs abandon {job}");
    let told = app.portero(&["jobs", "abandon", &job, "--yes"]).run().await.expect(0).stdout;
    assert!(told.contains(&format!("database {name}, role {name}")) && told.contains(&again), "{told}");
    // Whoever looks elsewhere finds the same step.
    let told = app.portero(&["doctor"]).run().await.stdout;
    assert!(told.contains("acme") && told.contains(&again), "{told}");
    let told = app.portero(&["doctor", "--mend", "--yes"]).run().await.stdout;
    assert!(told.contains(&again), "{told}");
    let told = app.portero(&["jobs", "retry", &job]).run().await.expect(1).stderr;
    assert!(told.contains(&again), "{told}");
    assert!(overview(&app).await.contains(&again));
    app.ask_for("acme").await.0.expect_problem(409, "taken");

    // Nothing is dropped unasked, and nothing that bears another mark.
    let told = app.portero(&["jobs", "abandon", &job]).run().await.expect(2).stdout;
    assert!(told.contains(&format!("removes database {name}, role {name}")), "{told}");
    let mark = async |text: &str| {
        let sql = format!("COMMENT ON DATABASE {name} IS '{text}'");
        cluster.superuser("postgres").await.batch_execute(&sql).await.unwrap();
    };
    mark("somebody''s own").await;
    let told = app.portero(&["jobs", "abandon", &job, "--yes"]).run().await.expect(1);
    assert!(told.all().contains("another mark"), "{}", told.all());
    assert!(cluster.inventory().await.databases.contains(&name));
    mark(&format!("portero tenant {}", accepted_tenant(&app).await)).await;

    let told = app.portero(&["jobs", "abandon", &job, "--yes"]).run().await.expect(0).stdout;
    assert!(told.contains("Removed") && told.contains("acme is free again"), "{told}");
    app.portero(&["doctor"]).run().await.expect(0);
    assert_eq!(app.footprint().await, (0, 1));
    cluster.clean_slate().await;
    let told = app.portero(&["jobs", "abandon", &job, "--yes", "--json"]).run().await.expect(0).json();
    assert_eq!(
        (&told["left"]["on_server"], &told["left"]["reserved"]),
        (&json!([]), &json!(false)),
        "{told}"
    );
}

async fn accepted_tenant(app: &TestApp) -> String {
    let sql = "SELECT id::text FROM tenants WHERE subdomain = 'acme'";
    app.peek().await.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_purge_that_was_given_up_is_named_until_it_is_gone_on_with_and_then_proves_itself() {
    let cluster = TestCluster::private().await;
    let mut app = TestApp::builder().cluster(&cluster).failpoints("drop_role::before=return").start().await;
    app.sign_up("acme").await;
    app.portero(&["tenant", "delete", "acme", "--yes"]).run().await.expect(0);
    let purge = ["tenant", "purge", "acme", "--yes", "--before-grace"];
    app.portero(&purge).env("FAILPOINTS", "drop_role::before=return").run().await.expect(1);
    let job = job_of(&app, "purge_tenant").await;
    let told = app.portero(&["jobs", "abandon", &job, "--yes"]).run().await.expect(0).stdout;
    assert!(told.contains("portero tenant purge acme"), "{told}");

    let told = app.portero(&["doctor"]).run().await.expect(0).stdout;
    assert!(told.contains("no job works on") && told.contains("portero tenant purge acme"), "{told}");
    let page = overview(&app).await;
    assert!(
        page.contains("data-trouble=\"no_purge\"") && page.contains("portero tenant purge acme"),
        "{page}"
    );
    let shown = app.portero(&["tenant", "show", "acme"]).run().await.expect(0).stdout;
    assert!(!shown.contains("undelete") && !shown.contains("kept until"), "{shown}");
    assert!(shown.contains("purging") && shown.contains("no way back"), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("server") && line.ends_with("main")), "{shown}");
    let shown = app.portero(&["tenant", "show", "acme", "--json"]).run().await.expect(0).json();
    assert_eq!((&shown["undelete_to"], &shown["server"]), (&Value::Null, &json!("main")), "{shown}");

    app.kill();
    app.set_failpoints("");
    app.boot().await;
    app.portero(&purge).run().await.expect(0);
    app.portero(&["doctor"]).run().await.expect(0);
    // The proof stays with the job.
    let job = job_of(&app, "purge_tenant").await;
    let shown = app.portero(&["jobs", "show", &job]).run().await.expect(0).stdout;
    assert!(shown.contains("pg_database on main") && shown.contains("gone"), "{shown}");
    let shown = app.portero(&["jobs", "show", &job, "--json"]).run().await.expect(0).json();
    let by_api = app.operator("GET", &format!("/admin/v1/jobs/{job}")).await.send().await.expect(200).json();
    for job in [shown, by_api] {
        assert_eq!(job["report"]["looked_for"].as_array().unwrap().len(), 6, "{job}");
    }
    cluster.clean_slate().await;
}

#[tokio::test]
async fn a_pause_and_a_deletion_that_are_half_done_say_which_half_and_that_they_can_be_repeated() {
    let app = TestApp::start().await;
    let other = TestCluster::private().await;
    let at = format!("127.0.0.1:{}", other.port()).parse().unwrap();
    app.sign_up("globex").await;
    app.sign_up_on("other", &other, at, &["acme"]).await;
    other.halt(StopMode::Kill).await;

    let paused = app.portero(&["tenant", "pause", "acme"]).run().await.expect(1).stderr;
    assert!(paused.contains("its door is shut, its role isn't yet: run it again"), "{paused}");
    assert_eq!(app.portero(&["tenant", "show", "acme", "--json"]).run().await.json()["status"], "paused");
    let body = json!({});
    let path = "/admin/v1/tenants/acme/pause";
    let problem = app.operator("POST", path).await.json(&body).send().await;
    assert!(problem.text().contains("its role isn't yet"), "{}", problem.text());

    let deleted = app.portero(&["tenant", "delete", "acme", "--yes"]).run().await.expect(1);
    assert!(
        deleted.stderr.contains("its door is shut, its role isn't yet: run it again"),
        "{}",
        deleted.all()
    );
    assert!(!deleted.stdout.contains("others"), "{}", deleted.all());
    let deleted = app.portero(&["tenant", "delete", "acme", "globex", "--yes"]).run().await.expect(1).all();
    assert!(!deleted.contains("Deleted: acme") && deleted.contains("its role isn't yet"), "{deleted}");

    other.resume().await;
    app.portero(&["tenant", "delete", "acme", "--yes"]).run().await.expect(0);
    assert_eq!(app.portero(&["tenant", "show", "acme", "--json"]).run().await.json()["status"], "deleted");
}

#[tokio::test]
async fn who_waits_for_a_job_is_told_its_id_at_once_and_why_a_step_fails() {
    let app = TestApp::builder().failpoints("role::before=return(again)").start().await;
    let args =
        ["tenant", "create", "--name", "Acme", "--subdomain", "acme", "--admin-email", "ana@acme.example"];
    let create = app.portero(&[&args[..], &["--admin-password-stdin"]].concat()).stdin(&new_password());
    let create = create.env("FAILPOINTS", "role::before=return(again)");
    let told = timeout(Duration::from_secs(60), create.run()).await.unwrap().expect(1);
    let job = job_of(&app, "create_tenant").await;
    let first = told.stdout.lines().next().unwrap_or_default();
    assert!(first.contains(&job) && first.contains("Ctrl-C"), "{}", told.stdout);
    let why = told.stdout.lines().filter(|line| line.contains("was told to fail once")).count();
    assert!((1..=4).contains(&why), "{}", told.stdout);
}

#[tokio::test]
async fn a_refusal_says_what_to_do_next_in_the_words_of_whoever_asked() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    let refused = async |args: &[&str]| app.portero(args).run().await.expect(1).stderr;

    let away = refused(&["server", "add", "two", "--url", "postgresql://portero@127.0.0.1:1/postgres"]).await;
    assert!(away.contains("Connection refused") && away.contains("bootstrap.sql"), "{away}");
    let nobody = format!("postgresql://nobody:x@127.0.0.1:{}/postgres", app.cluster().port());
    let nobody = refused(&["server", "add", "two", "--url", &nobody]).await;
    assert!(nobody.contains("bootstrap.sql"), "{nobody}");

    app.portero(&["operator", "add", "maria"]).run().await.expect(0);
    let twice = refused(&["operator", "add", "maria"]).await;
    assert!(twice.contains("portero operator rotate maria"), "{twice}");

    let made = app.portero(&["invite", "create", "--json"]).run().await.expect(0).json();
    let id = made["id"].as_str().unwrap();
    let unknown = refused(&["invite", "revoke", "ffffffff"]).await;
    assert!(unknown.contains("portero invite list"), "{unknown}");
    let told = app.portero(&["invite", "revoke", &id[28..]]).run().await.expect(0).stdout;
    assert!(told.contains(id), "{told}");

    // The admin API has fields, and no flags.
    app.portero(&["tenant", "delete", "acme", "--yes"]).run().await.expect(0);
    let purge = app.operator("POST", "/admin/v1/tenants/acme/purge").await;
    let told = purge.json(&json!({ "confirm": "acme" })).send().await.expect(409).text();
    assert!(told.contains("before_grace") && !told.contains("--"), "{told}");
    let many: Vec<String> = (0..6).map(|number| format!("company-{number}")).collect();
    app.sign_up_all(&many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut told = String::new();
    for name in &many {
        let delete = app.operator("POST", &format!("/admin/v1/tenants/{name}/delete")).await;
        told = delete.json(&json!({ "confirm": name })).send().await.text();
    }
    assert!(told.contains("5 may be") && told.contains("24 hours"), "{told}");
}

#[tokio::test]
async fn tables_hold_a_line_each_and_times_are_easy_to_read() {
    let app = TestApp::builder().failpoints("verify::before=return").start().await;
    let (accepted, _) = app.ask_for("acme").await;
    let job = accepted.expect(202).str_at("/job");
    app.job_at_rest(&job).await;
    let two = "UPDATE jobs SET error = E'verify: one\\nDETAIL: two'; UPDATE job_steps SET error = E'one\\nDETAIL: two' WHERE name = 'verify'";
    app.peek().await.batch_execute(two).await.unwrap();
    let table = app.portero(&["jobs", "list"]).run().await.expect(0).stdout;
    assert!(table.lines().count() == 2 && !table.contains("DETAIL"), "{table}");
    assert!(table.contains("STEP OR ERROR") && table.contains(" UTC"), "{table}");
    let shown = app.portero(&["jobs", "show", &job]).run().await.expect(0).stdout;
    let lines: Vec<_> = shown.lines().filter(|line| line.contains("DETAIL: two")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with(' '), "{shown}");
    let at = shown.lines().find(|line| line.starts_with("asked for")).unwrap();
    assert!(at.ends_with(" UTC") && !at.contains('T'.to_string().repeat(2).as_str()), "{shown}");

    let invited = app.portero(&["invite", "create"]).run().await.expect(0).stdout;
    assert!(invited.contains("invite revoke"), "{invited}");
    let table = app.portero(&["invite", "list"]).run().await.expect(0).stdout;
    assert!(table.lines().nth(1).unwrap().ends_with(" UTC"), "{table}");
}

#[tokio::test]
async fn a_log_that_is_not_as_expected_is_not_said_to_hold_together_up_to_there() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    let seq = app.portero(&["audit", "verify", "--json"]).run().await.expect(0).json()["entries"].clone();
    let wrong = format!("{seq}:{}", "0".repeat(64));
    let told = app.portero(&["audit", "verify", "--expect", &wrong]).run().await.expect(1).stdout;
    assert!(told.contains(&format!("row {seq} is not what it was")), "{told}");
    assert!(!told.contains("What follows") && told.contains("restore"), "{told}");
}
