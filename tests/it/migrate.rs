//! Migrating the fleet: plan, run, waves and the stop rule, locks, two at once, what can't run in a transaction.

use portero_pg::Session;
use portero_testkit::{
    Api, DEADLINE, DatabaseLogin, Outcome, TestApp, TestCluster, join_all, scratch_dir, wait_until,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// The version after those built in.
pub(crate) fn next_version() -> i32 {
    portero_provisioner::TENANT_MIGRATIONS.latest() + 1
}

/// An application on a cluster of its own with these companies, and a directory for newer migrations.
pub(crate) struct Fleet {
    pub(crate) cluster: Arc<TestCluster>,
    pub(crate) app: TestApp,
    pub(crate) dir: PathBuf,
    /// By subdomain.
    pub(crate) databases: BTreeMap<String, String>,
    passwords: BTreeMap<String, String>,
}

impl Fleet {
    pub(crate) async fn of(subdomains: &[&str]) -> Self {
        Self::keeping("0", subdomains).await
    }

    /// The same, with this many spares.
    pub(crate) async fn keeping(spares: &str, subdomains: &[&str]) -> Self {
        let cluster = TestCluster::private().await;
        let app = TestApp::builder().cluster(&cluster).env("PORTERO_SPARES", spares).start().await;
        let (mut databases, mut passwords) = (BTreeMap::new(), BTreeMap::new());
        for some in subdomains.chunks(6) {
            let asked = join_all(some.iter().map(|subdomain| app.ask_for(subdomain))).await;
            for (subdomain, (answer, password)) in some.iter().zip(asked) {
                let job = app.job_at_rest(&answer.expect(202).str_at("/job")).await;
                assert_eq!(job["status"], "done", "{job}");
                passwords.insert((*subdomain).to_owned(), password);
            }
        }
        // Who is oldest comes first.
        let session = app.peek().await;
        let sql = "UPDATE tenants t SET created_at = now() + number * interval '1 s'
                   FROM unnest($1::text[]) WITH ORDINALITY AS s (wanted, number) WHERE subdomain = wanted
                   RETURNING subdomain, db_name";
        for row in session.query(sql, &[&subdomains]).await.unwrap() {
            databases.insert(row.get(0), row.get(1));
        }
        session.close().await;
        assert_eq!(databases.len(), subdomains.len());
        Self { cluster, app, dir: scratch_dir("migrations"), databases, passwords }
    }

    /// The program of a company's first admin.
    pub(crate) async fn admin(&self, subdomain: &str) -> Api {
        let email = format!("admin@{subdomain}.example");
        self.app.api(&self.app.meet(subdomain, &email, &self.passwords[subdomain]).await)
    }

    /// What a company's own role logs in with.
    pub(crate) async fn login(&self, subdomain: &str) -> DatabaseLogin {
        let email = format!("admin@{subdomain}.example");
        self.app.login_of(&self.app.meet(subdomain, &email, &self.passwords[subdomain]).await).await
    }

    /// Adds a migration to the directory; 1 is the first after those built in.
    pub(crate) fn file(&self, number: i32, name: &str, sql: &str) -> &Self {
        let version = next_version() + number - 1;
        fs::write(self.dir.join(format!("V{version}__{name}.sql")), sql).unwrap();
        self
    }

    pub(crate) async fn migrate(&self, args: &[&str]) -> Outcome {
        self.app.portero(&self.args(args)).run().await
    }

    /// `portero migrate` with the directory, where that is a question.
    pub(crate) fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["migrate"];
        all.extend(args);
        if ["run", "plan"].contains(&args[0]) {
            all.extend(["--tenant-migrations", self.dir.to_str().unwrap()]);
        }
        all
    }

    /// Texts in the first column, of the registry.
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        let session = self.app.peek().await;
        let found = session.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        session.close().await;
        found
    }

    /// The superuser in a company's database.
    pub(crate) async fn inside(&self, subdomain: &str) -> Session {
        self.cluster.superuser(&self.databases[subdomain]).await
    }

    pub(crate) async fn change(&self, subdomain: &str, sql: &str) {
        let session = self.inside(subdomain).await;
        session.batch_execute(sql).await.unwrap();
        session.close().await;
    }

    /// Holds a lock that a change of the users' table waits for, until it is dropped.
    pub(crate) async fn lock(&self, subdomain: &str) -> Session {
        let session = self.cluster.portero(&self.databases[subdomain]).await;
        session
            .batch_execute("SET application_name = 'a long report'; BEGIN; SELECT count(*) FROM users")
            .await
            .unwrap();
        session
    }

    /// The versions in a company's own history, and whether its users have this column.
    pub(crate) async fn truth(&self, subdomain: &str, column: &str) -> (Vec<i32>, bool) {
        let session = self.inside(subdomain).await;
        let rows = session.query("SELECT version FROM schema_history ORDER BY version", &[]).await.unwrap();
        let sql =
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = $1)";
        let has = session.query_one(sql, &[&column]).await.unwrap().get(0);
        session.close().await;
        (rows.iter().map(|row| row.get(0)).collect(), has)
    }

    /// Each company is at this version after the built-in ones, each of which it has once.
    pub(crate) async fn all_have(&self, column: &str) {
        let expected: Vec<i32> = (1..=next_version()).collect();
        for subdomain in self.databases.keys() {
            assert_eq!(self.truth(subdomain, column).await, (expected.clone(), true), "{subdomain}");
        }
        let known = self.query("SELECT DISTINCT schema_version::text FROM tenants").await;
        assert_eq!(known, [next_version().to_string()]);
    }
}

/// What a report says of a company.
#[track_caller]
pub(crate) fn of<'a>(report: &'a Value, subdomain: &str) -> &'a Value {
    let tenants = report["tenants"].as_array().unwrap();
    let found = tenants.iter().find(|tenant| tenant["subdomain"] == subdomain);
    found.unwrap_or_else(|| panic!("{subdomain} is not in {report}"))
}

const NICKNAME: &str = "ALTER TABLE users ADD nickname text;";

#[tokio::test]
async fn a_run_brings_everybody_to_the_newest_schema_and_the_next_has_nothing_to_do() {
    let fleet = Fleet::of(&["acme", "globex", "initech"]).await;
    fleet.file(1, "nicknames", NICKNAME);
    let plan = fleet.migrate(&["plan", "--json"]).await.expect(0).json();
    assert_eq!(plan["target"], next_version(), "{plan}");
    assert_eq!(plan["migrations"][0]["tenants"], 3, "{plan}");
    assert_eq!(plan["waves"].as_array().unwrap().len(), 2, "one canary, and the rest: {plan}");
    let words = fleet.migrate(&["plan"]).await.expect(0).stdout;
    assert!(words.contains("__nicknames") && words.contains("wave 2      2"), "{words}");
    assert_eq!(
        fleet.query("SELECT id::text FROM migration_runs").await,
        Vec::<String>::new(),
        "a plan is no run"
    );

    let clock = fleet.query("SELECT value::text FROM route_clock").await.remove(0);
    let reports = [fleet.dir.join("report.xml"), fleet.dir.join("report.json")];
    let [xml, json] = reports.each_ref().map(|path| path.to_str().unwrap());
    let ran = fleet.migrate(&["run", "--report", xml, "--report", json]).await.expect(0);
    assert!(ran.stdout.contains("3 done. The run is finished."), "{}", ran.stdout);
    fleet.all_have("nickname").await;
    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    let acme = of(&report, "acme");
    assert_eq!((&acme["state"], &acme["wave"], &acme["attempts"]), (&"done".into(), &1.into(), &1.into()));
    assert_eq!(acme["version_before"], next_version() - 1);
    let xml = fs::read_to_string(xml).unwrap();
    assert!(xml.contains("tests=\"3\" failures=\"0\"") && xml.contains("name=\"globex\""), "{xml}");

    let again = fleet.migrate(&["run"]).await.expect(0).stdout;
    assert!(again.contains("Nobody lacks anything"), "{again}");
    let runs = fleet.migrate(&["runs", "--json"]).await.expect(0).json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "{runs}");
    let id = runs["runs"][0]["id"].as_str().unwrap();
    let shown = fleet.migrate(&["show", &id[28..]]).await.expect(0).stdout;
    assert!(shown.contains("finished") && shown.contains("initech"), "{shown}");
    assert!(shown.contains(" UTC\nended    20"), "times are written as everywhere: {shown}");
    fleet.migrate(&["resume"]).await.expect(0);
    let verbs = fleet.query("SELECT verb FROM audit WHERE verb LIKE 'migration%' ORDER BY seq").await;
    assert_eq!(verbs, ["migration.run", "migration.run"]);
    // Who serves hears of each.
    let heard = format!("SELECT DISTINCT tenant_id::text FROM route_log WHERE clock > {clock}");
    assert_eq!(fleet.query(&heard).await.len(), 3);
    let schema = fleet.app.portero(&["tenant", "show", "acme", "--json"]).run().await.expect(0).json();
    assert_eq!(schema["schema_version"], next_version());
}

#[tokio::test]
async fn a_canary_that_fails_stops_the_run_and_a_resume_goes_on_from_it() {
    let fleet = Fleet::of(&["acme", "globex", "initech"]).await;
    fleet.file(
        1,
        "nicknames",
        "ALTER TABLE users ADD nickname text;\n-- portero: allow constraint-missing-not-valid: it is to fail\nALTER TABLE users ADD CHECK (email <> 'admin@acme.example')",
    );
    let stopped = fleet.migrate(&["run"]).await.expect(1);
    assert!(stopped.stdout.contains("1 failed, 2 not begun"), "{}", stopped.stdout);
    let report = fleet.migrate(&["show", &run_id(&fleet).await, "--json"]).await.expect(0).json();
    assert_eq!(report["run"]["status"], "stopped", "{report}");
    let error = of(&report, "acme")["error"].as_str().unwrap();
    assert!(error.contains("nicknames failed: check constraint") && error.contains("23514"), "{error}");
    assert!(!error.contains("admin@"), "rows stay in their database: {error}");
    assert_eq!(of(&report, "globex")["state"], "pending");
    for subdomain in ["acme", "globex"] {
        let (versions, has) = fleet.truth(subdomain, "nickname").await;
        assert_eq!(
            (versions.len(), has),
            (next_version() as usize - 1, false),
            "{subdomain}: nothing half done"
        );
    }
    fleet.migrate(&["resume"]).await.expect(1);

    // The text is the run's: what is mended is the company.
    fleet.file(1, "nicknames", "SELECT 1");
    fleet.change("acme", "UPDATE users SET email = 'ana@acme.example'").await;
    let resumed = fleet.migrate(&["resume", "--json"]).await.expect(0).json();
    assert_eq!((&resumed["run"]["done"], &resumed["run"]["status"]), (&3.into(), &"finished".into()));
    assert_eq!(of(&resumed, "acme")["attempts"], 3, "{resumed}");
    fleet.all_have("nickname").await;
}

#[tokio::test]
async fn more_failures_than_may_be_end_the_run_and_fewer_do_not() {
    let fleet = Fleet::of(&["acme", "globex", "initech", "umbrella"]).await;
    fleet.file(
        1,
        "nicknames",
        "-- portero: allow constraint-missing-not-valid: it is to fail\nALTER TABLE users ADD CHECK (email !~ 'globex|umbrella'), ADD nickname text",
    );
    let one =
        fleet.migrate(&["run", "--waves", "2,100%", "--max-failures", "2", "--json"]).await.expect(3).json();
    assert_eq!((&one["run"]["done"], &one["run"]["failed"]), (&2.into(), &2.into()), "{one}");
    assert_eq!(one["run"]["status"], "finished", "two may: {one}");
    let two =
        fleet.migrate(&["run", "--waves", "1,100%", "--max-failures", "0", "--json"]).await.expect(1).json();
    assert_eq!((&two["run"]["status"], &two["run"]["pending"]), (&"stopped".into(), &1.into()), "{two}");
}

async fn run_id(fleet: &Fleet) -> String {
    fleet.query("SELECT id::text FROM migration_runs ORDER BY created_at DESC").await.remove(0)
}

#[tokio::test]
async fn a_lock_that_is_held_is_waited_for_in_turns_and_its_holder_is_named() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    let acme = fleet.admin("acme").await;
    fleet.file(1, "nicknames", NICKNAME);
    let report = fleet.lock("acme").await;
    let run = fleet.migrate(&["run", "--lock-timeout", "300ms", "--waves", "100%", "--json"]);
    let mut slowest = Duration::ZERO;
    let asking = async {
        loop {
            let began = Instant::now();
            acme.get("/api/v1/users").await.expect(200);
            slowest = slowest.max(began.elapsed());
        }
    };
    let ran = tokio::select! { ran = run => ran, _ = asking => unreachable!("it asks on") };
    let ran = ran.expect(3).json();
    assert!(slowest < Duration::from_secs(2), "nobody waits long behind a migration: {slowest:?}");
    let error = of(&ran, "acme")["error"].as_str().unwrap();
    for part in
        ["not free within 300 ms", "held by pid", "a long report", "idle in transaction", "tried 5 times"]
    {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert_eq!(of(&ran, "globex")["state"], "done");
    report.close().await;

    // One that is given up in time is waited for.
    let report = fleet.lock("acme").await;
    let giving_up = async {
        let met = "SELECT 1 FROM pg_locks WHERE NOT granted";
        wait_until("the migration to wait", DEADLINE, async || {
            !report.query(met, &[]).await.unwrap().is_empty()
        })
        .await;
        report.close().await;
    };
    let resume = fleet.migrate(&["resume", "--json"]);
    let (resumed, ()) = tokio::join!(resume, giving_up);
    assert_eq!(of(&resumed.expect(0).json(), "acme")["state"], "done");
    fleet.all_have("nickname").await;
}

#[tokio::test]
async fn several_runs_at_once_migrate_each_tenant_once() {
    let names: Vec<_> = (0..12).map(|number| format!("company-{number}")).collect();
    let fleet = Fleet::of(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // Would fail if it ran twice.
    fleet.file(1, "nicknames", "ALTER TABLE users ADD nickname text; SELECT pg_sleep(0.05)");
    let runs =
        join_all((0..4).map(|_| fleet.migrate(&["run", "--waves", "100%", "--jobs", "3", "--json"]))).await;
    for ran in runs {
        let report = ran.expect(0).json();
        assert!(report["run"].is_null() || report["run"]["failed"] == 0, "{report}");
    }
    fleet.all_have("nickname").await;
}

#[tokio::test]
async fn what_can_not_run_in_a_transaction_is_run_without_and_bears_a_second_try() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    fleet.file(1, "nicknames", "ALTER TABLE users ADD nickname text DEFAULT 'kit'");
    fleet.file(
        2,
        "nicknames_index",
        "-- portero: no transaction\n-- People look for them.\nCREATE UNIQUE INDEX CONCURRENTLY users_nickname ON users (nickname);\nCREATE INDEX CONCURRENTLY users_created ON users (created_at);",
    );
    fleet.migrate(&["run", "--tenant", "globex"]).await.expect(0);
    // Two with one nickname: the index is left INVALID.
    let second = "INSERT INTO users (id, email, password_hash, role) VALUES (gen_random_uuid(), 'b@a.example', '', 'member')";
    fleet.change("acme", second).await;
    let failed = fleet.migrate(&["run", "--json"]).await.expect(1).json();
    let error = of(&failed, "acme")["error"].as_str().unwrap();
    assert!(error.contains("nicknames_index failed") && error.contains("23505"), "{error}");
    assert_eq!(of(&failed, "acme")["version_after"], next_version(), "the first is there: {failed}");
    let indexes = async |subdomain| {
        let session = fleet.inside(subdomain).await;
        let sql = "SELECT indexrelid::regclass::text || ' ' || indisvalid FROM pg_index
                   WHERE indexrelid::regclass::text LIKE 'users_%ed' OR indexrelid::regclass::text = 'users_nickname' ORDER BY 1";
        let found: Vec<String> =
            session.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        session.close().await;
        found
    };
    assert_eq!(indexes("acme").await, ["users_nickname false"]);
    fleet.change("acme", "UPDATE users SET nickname = id::text").await;
    // As if a crash had left it between two statements: one index is whole, one was never begun.
    fleet.migrate(&["resume"]).await.expect(0);
    for subdomain in ["acme", "globex"] {
        assert_eq!(indexes(subdomain).await, ["users_created true", "users_nickname true"], "{subdomain}");
        let (versions, _) = fleet.truth(subdomain, "nickname").await;
        assert_eq!(versions.last(), Some(&(next_version() + 1)), "{subdomain}");
    }
    // The history was lost, and both indexes are there.
    fleet.change("acme", &format!("DELETE FROM schema_history WHERE version > {}", next_version())).await;
    let session = fleet.app.peek().await;
    session.batch_execute(&format!("UPDATE tenants SET schema_version = {}", next_version())).await.unwrap();
    fleet.migrate(&["run"]).await.expect(0);
    assert_eq!(indexes("acme").await, ["users_created true", "users_nickname true"]);
}

#[tokio::test]
async fn a_tenant_that_is_purged_meanwhile_is_left_out_and_one_that_comes_is_migrated_too() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    fleet.file(1, "nicknames", NICKNAME);
    let (purged, held) = (fleet.lock("globex").await, fleet.lock("acme").await);
    let run = fleet.migrate(&["run", "--waves", "100%", "--lock-timeout", "3s", "--json"]);
    let meanwhile = async {
        let waiting = "SELECT count(DISTINCT pid)::text FROM pg_locks WHERE NOT granted";
        wait_until("both to wait", DEADLINE, async || fleet.query(waiting).await == ["2"]).await;
        let (accepted, _) = fleet.app.ask_for("initech").await;
        fleet.app.job_at_rest(&accepted.expect(202).str_at("/job")).await;
        fleet.app.portero(&["tenant", "delete", "globex", "--yes"]).run().await.expect(0);
        fleet.app.portero(&["tenant", "purge", "globex", "--yes", "--before-grace"]).run().await.expect(0);
        held.close().await;
    };
    let (ran, ()) = tokio::join!(run, meanwhile);
    let report = ran.expect(0).json();
    drop(purged);
    assert_eq!(of(&report, "acme")["state"], "done", "{report}");
    assert_eq!(of(&report, "globex")["state"], "skipped", "{report}");
    assert!(of(&report, "globex")["error"].as_str().unwrap().contains("purged"), "{report}");
    assert_eq!(
        (&of(&report, "initech")["state"], &of(&report, "initech")["wave"]),
        (&"done".into(), &2.into())
    );
}

#[tokio::test]
async fn a_registry_that_knows_no_runs_is_told_of_with_what_migrates_it() {
    let app = TestApp::builder().prepare().await;
    let mut session = app.cluster().portero(app.registry_database()).await;
    portero_registry::MIGRATIONS.up_to(12).run(&mut session).await.unwrap();
    for args in [&["migrate", "plan"][..], &["migrate", "run"], &["migrate", "runs"], &["migrate", "drift"]] {
        let told = app.portero(args).run().await.expect(1).stderr;
        assert!(
            told.contains("has version 12") && told.contains("start this version's `portero serve`"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_told_before_anything_is_done() {
    let fleet = Fleet::of(&["acme"]).await;
    for args in [
        &["run", "--waves", "10%"][..],
        &["run", "--report", "report.txt"],
        &["run", "--lock-timeout", "2"],
        &["run", "--tenant", "no such name"],
        &["run", "--jobs", "0"],
    ] {
        fleet.migrate(args).await.expect(2);
    }
    let unknown = fleet.migrate(&["run", "--tenant", "globex"]).await.expect(1).stderr;
    assert!(unknown.contains("no tenant has the subdomain globex"), "{unknown}");
    fleet.file(1, "a", "COMMIT; SELECT 1");
    let told = fleet.migrate(&["plan"]).await.expect(2).stderr;
    assert!(told.contains("has a COMMIT"), "{told}");
    let nowhere = fleet.migrate(&["run", "--report", "/nowhere/report.xml"]).await.expect(2).stderr;
    assert!(nowhere.contains("/nowhere/report.xml can't be written"), "{nowhere}");
    fs::remove_dir_all(&fleet.dir).unwrap();
    fs::create_dir(&fleet.dir).unwrap();
    fs::write(Path::new(&fleet.dir).join("V1__users.sql"), "SELECT 1").unwrap();
    let told = fleet.migrate(&["run"]).await.expect(2).stderr;
    assert!(told.contains("V1__users is built into this Portero with another text"), "{told}");
    assert_eq!(fleet.query("SELECT id::text FROM migration_runs").await, Vec::<String>::new());
}
