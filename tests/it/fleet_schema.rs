//! What a company gets that signs up after files were run on the fleet, and when it doesn't.

use crate::{
    migrate::{Fleet, next_version, of},
    spares::{full, no_refill, origin, ready},
};
use portero_testkit::{DEADLINE, Outcome, wait_until};
use std::fs;

const NICKNAME: &str = "ALTER TABLE users ADD nickname text;";

/// The same, where a company's first admin has another address than this.
fn nickname_but_for(address: &str) -> String {
    format!(
        "{NICKNAME}
         -- portero: allow constraint-missing-not-valid: it is to fail
         ALTER TABLE users ADD CONSTRAINT users_poison CHECK (email !~ '{address}')"
    )
}

/// Signs a company up; says whether its users have nicknames. Its history and the registry agree on its version.
async fn newcomer(fleet: &mut Fleet, subdomain: &str) -> bool {
    let company = fleet.app.sign_up(subdomain).await;
    fleet.app.api(&company).get("/api/v1/users").await.expect(200);
    fleet.databases.insert(subdomain.to_owned(), fleet.app.login_of(&company).await.name);
    let (versions, has) = fleet.truth(subdomain, "nickname").await;
    let known = format!("SELECT schema_version::text FROM tenants WHERE subdomain = '{subdomain}'");
    assert_eq!(fleet.query(&known).await, [versions.len().to_string()], "{subdomain}");
    has
}

/// `portero migrate` without a directory.
async fn plainly(fleet: &Fleet, args: &[&str]) -> Outcome {
    fleet.app.portero(&[&["migrate"][..], args].concat()).run().await
}

async fn doctor(fleet: &Fleet, code: i32) -> String {
    fleet.app.portero(&["doctor"]).run().await.expect(code).stdout
}

/// Waits until somebody waits for a lock.
async fn somebody_waits(fleet: &Fleet) {
    let waiting = "SELECT DISTINCT pid::text FROM pg_locks WHERE NOT granted";
    wait_until("a migration to wait", DEADLINE, async || !fleet.query(waiting).await.is_empty()).await;
}

#[tokio::test]
async fn who_signs_up_after_a_run_has_its_files_from_spares_and_templates_old_and_new_and_from_nothing() {
    let mut fleet = Fleet::keeping("1", &["acme", "globex"]).await;
    let old = full(&fleet.app, 1).await;
    let quiet = no_refill(&fleet.app).await;
    fleet.file(1, "nicknames", NICKNAME).migrate(&["run"]).await.expect(0);
    for (subdomain, from) in [("initech", "spare"), ("hooli", "template")] {
        assert!(newcomer(&mut fleet, subdomain).await, "{subdomain}");
        assert_eq!(origin(&fleet.app, subdomain).await.as_deref(), Some(from));
    }
    assert!(old.contains(&fleet.databases["initech"]));

    drop(quiet);
    wait_until("a spare of the new schema", DEADLINE, async || {
        let sql = "SELECT schema_version::text FROM spares WHERE state = 'ready'";
        fleet.query(sql).await == [next_version().to_string()]
    })
    .await;
    let quiet = no_refill(&fleet.app).await;
    for (subdomain, from) in [("umbrella", "spare"), ("piedpiper", "template")] {
        assert!(newcomer(&mut fleet, subdomain).await, "{subdomain}");
        assert_eq!(origin(&fleet.app, subdomain).await.as_deref(), Some(from));
    }
    let superuser = fleet.cluster.superuser("postgres").await;
    let sql = "UPDATE pg_database SET datistemplate = false WHERE datname LIKE 'p\\_template\\_%'";
    superuser.batch_execute(sql).await.unwrap();
    assert!(newcomer(&mut fleet, "aviato").await);
    assert_eq!(origin(&fleet.app, "aviato").await.as_deref(), Some("migrations"));
    // Each is as the others are, down to what its role may do.
    fleet.all_have("nickname").await;
    let drift = plainly(&fleet, &["drift", "--json"]).await.expect(0).json();
    assert_eq!(drift["same"], 7, "{drift}");
    let plan = plainly(&fleet, &["plan"]).await.expect(0).stdout;
    assert!(plan.contains(&format!("the newest schema is version {}", next_version())), "{plan}");
    drop(quiet);
    full(&fleet.app, 1).await;
    let _quiet = no_refill(&fleet.app).await;
    let (newest, built_in) = (next_version(), next_version() - 1);
    let told = doctor(&fleet, 0).await;
    for part in [
        format!("version {newest}: {built_in} is built in, the rest is of run "),
        format!("all 7 at version {newest}"),
        format!("1 of 1 ready, template of schema {newest}"),
    ] {
        assert!(told.contains(&part), "{part}: {told}");
    }
    fleet.cluster.clean_slate().await;
}

#[tokio::test]
async fn a_run_of_some_one_that_is_stopped_and_one_under_way_are_not_the_fleet_s() {
    let mut fleet = Fleet::of(&["acme", "globex"]).await;
    fleet.file(1, "nicknames", &nickname_but_for("globex"));
    fleet.migrate(&["run", "--tenant", "acme"]).await.expect(0);
    assert!(!newcomer(&mut fleet, "initech").await, "one company is not the fleet");
    drop(fleet.migrate(&["run", "--max-failures", "0", "--lock-timeout", "20s"]).await);
    assert_eq!(fleet.query("SELECT status FROM migration_runs ORDER BY created_at DESC").await[0], "stopped");
    assert!(!newcomer(&mut fleet, "hooli").await, "it was stopped");
    assert!(doctor(&fleet, 0).await.contains(&format!("version {}, which is built in", next_version() - 1)));

    fleet.change("globex", "UPDATE users SET email = 'ana@example.org'").await;
    let held = fleet.lock("globex").await;
    let resume = fleet.app.portero(&["migrate", "resume", "--json"]);
    let meanwhile = async {
        somebody_waits(&fleet).await;
        let has = newcomer(&mut fleet, "umbrella").await;
        held.close().await;
        assert!(!has, "it is under way");
    };
    let (resumed, ()) = tokio::join!(resume.run(), meanwhile);
    let report = resumed.expect(0).json();
    assert_eq!(of(&report, "umbrella")["state"], "done", "who came meanwhile is migrated: {report}");
    assert!(newcomer(&mut fleet, "piedpiper").await);
    fleet.all_have("nickname").await;
}

#[tokio::test]
async fn a_run_that_ended_with_failures_counts_also_while_they_are_tried_again_and_one_of_failures_alone_does_not()
 {
    let mut fleet = Fleet::of(&["acme", "globex"]).await;
    fleet.file(1, "nicknames", &nickname_but_for("acme|globex|initech"));
    fleet.migrate(&["run", "--waves", "100%"]).await.expect(1);
    assert_eq!(fleet.query("SELECT status FROM migration_runs").await, ["finished"]);
    assert!(!newcomer(&mut fleet, "initech").await, "nobody came through it");
    fleet.change("acme", "UPDATE users SET email = 'ana@example.org'").await;
    fleet.migrate(&["run", "--waves", "100%"]).await.expect(3);
    assert!(newcomer(&mut fleet, "hooli").await, "two may fail there");

    let held = fleet.lock("globex").await;
    let resume = fleet.app.portero(&["migrate", "resume", "--json"]);
    let meanwhile = async {
        somebody_waits(&fleet).await;
        let runs = plainly(&fleet, &["runs", "--json"]).await.expect(0).json();
        let run = &runs["runs"][0];
        assert!(run["status"] == "running" && run["finished_at"].is_null(), "{run}");
        let has = newcomer(&mut fleet, "umbrella").await;
        held.close().await;
        assert!(has, "it is the fleet's");
    };
    let (resumed, ()) = tokio::join!(resume.run(), meanwhile);
    resumed.expect(3);
    fleet.migrate(&["resume", "--max-failures", "0"]).await.expect(3);
    assert_eq!(fleet.query("SELECT status FROM migration_runs ORDER BY created_at DESC").await[0], "stopped");
    assert!(
        newcomer(&mut fleet, "piedpiper").await,
        "it was stopped in what was tried again: others have it"
    );
}

#[tokio::test]
async fn where_nobody_lacks_a_file_the_next_to_come_has_it_all_the_same() {
    let mut fleet = Fleet::of(&[]).await;
    fleet.file(1, "nicknames", NICKNAME);
    let told = fleet.migrate(&["run"]).await.expect(0).stdout;
    let expected =
        format!("Nobody lacked anything. Who signs up has version {} from now on.\n", next_version());
    assert_eq!(told, expected);
    assert!(newcomer(&mut fleet, "acme").await);
    let again = fleet.migrate(&["run"]).await.expect(0).stdout;
    assert!(again.contains("Nobody lacks anything"), "{again}");
    // It is what makes new companies: no matter how long ago it was.
    let session = fleet.app.peek().await;
    session.batch_execute("UPDATE migration_runs SET finished_at = now() - interval '1 year'").await.unwrap();
    fleet.file(2, "notes", "CREATE TABLE notes (id bigint PRIMARY KEY)");
    fleet.migrate(&["run", "--tenant", "acme"]).await.expect(0);
    assert_eq!(fleet.query("SELECT count(*)::text FROM migration_runs").await, ["2"]);
    // Of a file that is not there any more the run has the text.
    fs::remove_file(fleet.dir.join(format!("V{}__nicknames.sql", next_version()))).unwrap();
    assert!(newcomer(&mut fleet, "globex").await);
    let plan = fleet.migrate(&["plan", "--json"]).await.expect(0).json();
    assert_eq!(
        (&plan["target"], &plan["waves"][0][0]["subdomain"]),
        (&(next_version() + 1).into(), &"globex".into())
    );
}

#[tokio::test]
async fn a_file_that_is_another_than_the_fleet_s_is_refused() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    fleet.file(1, "nicknames", NICKNAME).migrate(&["run"]).await.expect(0);
    for (name, sql) in [("nicknames", "ALTER TABLE users ADD nickname bytea"), ("names", NICKNAME)] {
        fs::remove_dir_all(&fleet.dir).unwrap();
        fs::create_dir(&fleet.dir).unwrap();
        fleet.file(1, name, sql).file(2, "notes", "CREATE TABLE notes (id bigint PRIMARY KEY)");
        for action in ["plan", "run"] {
            let told = fleet.migrate(&[action]).await.expect(1).stderr;
            let expected = format!("V{}__{name}.sql is not the ", next_version());
            assert!(told.contains(&expected), "{told}");
        }
    }
    fleet.all_have("nickname").await;
}

#[tokio::test]
async fn a_program_with_other_migrations_than_the_fleet_s_says_so_and_mixes_nothing() {
    let mut fleet = Fleet::keeping("1", &["acme", "globex"]).await;
    let spare = full(&fleet.app, 1).await;
    let _quiet = no_refill(&fleet.app).await;
    fleet.file(1, "nicknames", NICKNAME).migrate(&["run"]).await.expect(0);
    // As if this program had been built with another text of its newest: who knows which of them a spare has.
    let newest = portero_provisioner::TENANT_MIGRATIONS.find(next_version() - 1).unwrap().to_string();
    let other = serde_json::json!([{ "name": newest, "sql": "SELECT 1" }]);
    let session = fleet.app.peek().await;
    session.execute("UPDATE migration_runs SET files = $1 || files", &[&other]).await.unwrap();
    let told = doctor(&fleet, 1).await;
    assert!(
        told.contains(&format!("{newest} is another there than the one that is built in here")),
        "{told}"
    );
    assert!(!newcomer(&mut fleet, "initech").await);
    assert_eq!(origin(&fleet.app, "initech").await.as_deref(), Some("template"));
    assert_eq!(ready(&fleet.app).await, spare);
    fleet.app.guest("acme").get("/api/v1/ping").await.expect(200);
}

#[tokio::test]
async fn a_file_that_companies_bore_and_a_new_database_does_not_keeps_nobody_from_signing_up() {
    let mut fleet = Fleet::keeping("1", &["acme", "globex"]).await;
    let sql = format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM users) THEN RAISE 'nobody'; END IF; END $$; {NICKNAME}"
    );
    fleet.file(1, "nicknames", &sql).migrate(&["run"]).await.expect(0);
    assert!(!newcomer(&mut fleet, "initech").await);
    assert!(!newcomer(&mut fleet, "hooli").await);
    let told = doctor(&fleet, 0).await;
    assert!(
        told.contains(&format!("2 at {}: older than version {}", next_version() - 1, next_version())),
        "{told}"
    );
    let spares = "SELECT reason FROM refills WHERE reason LIKE '%nicknames failed%'";
    wait_until("it to be told where spares are", DEADLINE, async || !fleet.query(spares).await.is_empty())
        .await;
    // With somebody in it, it goes.
    plainly(&fleet, &["run"]).await.expect(0);
    fleet.all_have("nickname").await;
}

#[tokio::test]
async fn a_spare_that_a_newer_program_made_and_gave_away_is_taken_as_it_is() {
    let mut fleet = Fleet::keeping("1", &["acme", "globex"]).await;
    let spare = full(&fleet.app, 1).await.pop_first().unwrap();
    let _quiet = no_refill(&fleet.app).await;
    // Whoever gave it away knew what is in it; who makes the company of it doesn't.
    let session = fleet.cluster.portero(&spare).await;
    let next = format!(
        "{NICKNAME} INSERT INTO schema_history (version, name, applied_on, checksum) VALUES ({}, 'nicknames', '', '0')",
        next_version()
    );
    session.batch_execute(&next).await.unwrap();
    session.close().await;
    assert!(newcomer(&mut fleet, "initech").await);
    assert_eq!(fleet.databases["initech"], spare);
    assert_eq!(fleet.query("SELECT status FROM jobs WHERE subdomain = 'initech'").await, ["done"]);
}
