//! What one knows before and after a migration: drift, rehearsals on clones, the lint, and the pipelines that use them.

use portero_pg::Session;
use portero_provisioner::TENANT_MIGRATIONS;
use portero_testkit::{Company, DEADLINE, Process, StopMode, TestApp, TestCluster, scratch_dir, wait_until};
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::PathBuf};

/// Two companies on a cluster of their own.
async fn two(app: &TestApp) -> [Company; 2] {
    [app.sign_up("acme").await, app.sign_up("globex").await]
}

/// Portero's own session in a company's database: whoever changes something there by hand.
async fn by_hand(app: &TestApp, company: &Company) -> Session {
    app.cluster().portero(&app.login_of(company).await.name).await
}

/// A directory with these files, as migrations after those built in.
fn migrations(files: &[(&str, &str)]) -> PathBuf {
    let directory = scratch_dir("migrations");
    fs::create_dir_all(&directory).unwrap();
    for (version, (name, sql)) in (TENANT_MIGRATIONS.latest() + 1..).zip(files) {
        fs::write(directory.join(format!("V{version}__{name}.sql")), sql).unwrap();
    }
    directory
}

/// Scratch databases that are there.
async fn scratch(app: &TestApp) -> Vec<String> {
    let session = app.cluster().superuser("postgres").await;
    let sql = "SELECT datname::text FROM pg_database WHERE datname LIKE 'p\\_scratch\\_%'";
    let rows = session.query(sql, &[]).await.unwrap();
    session.close().await;
    rows.iter().map(|row| row.get(0)).collect()
}

fn of<'a>(report: &'a Value, subdomain: &str) -> &'a Value {
    let tenants = report["tenants"].as_array().unwrap();
    tenants
        .iter()
        .find(|tenant| tenant["subdomain"] == subdomain)
        .unwrap_or_else(|| panic!("no {subdomain}: {report}"))
}

/// What differs, in words.
fn told(report: &Value, subdomain: &str) -> Vec<String> {
    let all = of(report, subdomain)["differences"].as_array().unwrap();
    all.iter().map(|difference| difference["told"].as_str().unwrap().to_owned()).collect()
}

async fn drift(app: &TestApp, code: i32) -> Value {
    app.portero(&["migrate", "drift", "--json"]).run().await.expect(code).json()
}

#[tokio::test]
async fn each_thing_that_differs_is_named_and_of_its_own_tenant_alone() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    let [acme, globex] = two(&app).await;
    app.portero(&["tenant", "pause", "globex"]).run().await.expect(0);
    let report = drift(&app, 0).await;
    assert_eq!((&report["same"], &report["drifted"]), (&2.into(), &0.into()), "{report}");
    let role = app.login_of(&acme).await.name;
    let session = by_hand(&app, &acme).await;
    session
        .batch_execute(&format!(
            "ALTER TABLE users ALTER email TYPE varchar(200);
             ALTER TABLE users ALTER password_hash DROP NOT NULL;
             ALTER TABLE users ALTER disabled_at SET DEFAULT now();
             ALTER TABLE users ADD nickname text;
             ALTER TABLE users DROP CONSTRAINT users_role_check;
             DROP INDEX sessions_user;
             CREATE TABLE notes (id int PRIMARY KEY);
             CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER t BEFORE INSERT ON settings FOR EACH ROW EXECUTE FUNCTION f();
             DROP TABLE used_handoffs;
             GRANT CREATE ON SCHEMA public TO {role};
             REVOKE DELETE ON sessions FROM {role};
             GRANT UPDATE ON audit TO {role};
             UPDATE schema_history SET checksum = '1' WHERE version = 2"
        ))
        .await
        .unwrap();
    let report = drift(&app, 3).await;
    assert!(told(&report, "globex").is_empty(), "{report}");
    let told = told(&report, "acme");
    for expected in [
        "column public.users.email: type is character varying(200), and should be text",
        "column public.users.password_hash: nullable is true, and should be false",
        "column public.users.disabled_at: default is now(), and should be none",
        "column public.users.nickname is extra",
        "constraint users_role_check on public.users is missing",
        "index sessions_user on public.sessions is missing",
        "table public.notes is extra",
        "table public.used_handoffs is missing",
        "function public.f() is extra",
        "trigger t on public.settings is extra",
        "grant CREATE on schema public to tenant is extra",
        "grant DELETE on public.sessions to tenant is missing",
        "grant UPDATE on public.audit to tenant is extra",
    ] {
        assert!(told.iter().any(|told| told == expected), "{expected}: {told:#?}");
    }
    assert!(
        told.iter().any(|told| told.starts_with("migration 2: checksum is 1, and should be ")),
        "{told:#?}"
    );
    assert!(!told.iter().any(|told| told.contains("notes.id") || told.contains("notes_pkey")), "{told:#?}");
    let text = app.portero(&["migrate", "drift"]).run().await.expect(3).stdout;
    assert!(text.contains("acme on main") && text.contains("1 of 2 tenants have drifted"), "{text}");
    app.portero(&["migrate", "drift", "--tenant", "globex"]).run().await.expect(0);
    app.portero(&["migrate", "drift", "--tenant", "nobody-here"]).run().await.expect(1);
    // Who can't be looked at is no drift.
    let login = app.login_of(&globex).await;
    let close = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", login.name);
    cluster.superuser("postgres").await.batch_execute(&close).await.unwrap();
    assert_eq!(of(&drift(&app, 1).await, "globex")["state"], "failed");
    assert!(scratch(&app).await.is_empty());
    cluster.clean_slate().await;
}

#[tokio::test]
async fn what_differs_in_many_alike_is_told_once_with_who_they_are() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    let [acme, globex] = two(&app).await;
    let initech = app.sign_up("initech").await;
    for company in [&acme, &globex, &initech] {
        let session = by_hand(&app, company).await;
        session.batch_execute("ALTER TABLE users ADD nickname text, ADD shoe int").await.unwrap();
        session.close().await;
    }
    by_hand(&app, &globex).await.batch_execute("DROP INDEX sessions_user").await.unwrap();
    let text = app.portero(&["migrate", "drift"]).run().await.expect(3).stdout;
    let newest = TENANT_MIGRATIONS.latest();
    let expected = format!(
        "column public.users.nickname is extra\n\
         column public.users.shoe is extra\n    \
         2 tenants on main, schema {newest}:\n    \
         acme, initech\n\n\
         column public.users.nickname is extra\n\
         column public.users.shoe is extra\n\
         index sessions_user on public.sessions is missing\n    \
         globex on main, schema {newest}\n\n\
         3 of 3 tenants have drifted."
    );
    assert!(text.starts_with(&expected), "{text}");
    let report = drift(&app, 3).await;
    assert_eq!((told(&report, "acme").len(), told(&report, "initech").len()), (2, 2), "{report}");
}

#[tokio::test]
async fn a_tenant_is_held_against_its_own_version() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    let [acme, _] = two(&app).await;
    // As the version before left it.
    let session = by_hand(&app, &acme).await;
    let newest = TENANT_MIGRATIONS.latest();
    let sql = format!("DROP TABLE audit; DELETE FROM schema_history WHERE version = {newest}");
    session.batch_execute(&sql).await.unwrap();
    let report = drift(&app, 3).await;
    let not_as_the_registry = format!(
        "its history: newest version is {}, and should be {newest}, as the registry says",
        newest - 1
    );
    assert_eq!(told(&report, "acme"), [not_as_the_registry]);
    let registry = app.peek().await;
    let sql = "UPDATE tenants SET schema_version = $1 WHERE subdomain = 'acme'";
    registry.execute(sql, &[&(newest - 1)]).await.unwrap();
    let report = drift(&app, 0).await;
    assert_eq!(of(&report, "acme")["version"], newest - 1);
    assert_eq!(of(&report, "globex")["version"], newest);
    session.batch_execute("DROP INDEX sessions_expires").await.unwrap();
    let report = drift(&app, 3).await;
    assert_eq!(told(&report, "acme"), ["index sessions_expires on public.sessions is missing"]);
}

#[tokio::test]
async fn each_server_is_asked_for_its_own_and_one_that_is_away_is_said_to_be() {
    let (main, second) = (TestCluster::private().await, TestCluster::private().await);
    let app = TestApp::builder().cluster(&main).start().await;
    app.sign_up("acme").await;
    let globex = app.sign_up_on("second", &second, second.address(), &["globex"]).await.remove(0);
    let database = app.login_of(&globex).await.name;
    second.portero(&database).await.batch_execute("ALTER TABLE users ADD nickname text").await.unwrap();
    let report = drift(&app, 3).await;
    assert_eq!(told(&report, "globex"), ["column public.users.nickname is extra"]);
    assert_eq!(
        (&of(&report, "globex")["server"], &of(&report, "acme")["state"]),
        (&"second".into(), &"same".into())
    );
    let directory = migrations(&[("one", "ALTER TABLE users ADD COLUMN nickname text")]);
    let plan =
        ["migrate", "plan", "--rehearse", "--json", "--tenant-migrations", directory.to_str().unwrap()];
    let report = app.portero(&plan).run().await.expect(0).json();
    assert_eq!(
        (&of(&report, "acme")["state"], &of(&report, "globex")["state"]),
        (&"done".into(), &"done".into())
    );
    // Its clone has no such column: that it will fail on the company itself is for the drift to tell.
    assert_eq!(of(&report, "globex")["drift"][0]["told"], "column public.users.nickname is extra");
    second.halt(StopMode::Immediate).await;
    let report = drift(&app, 1).await;
    assert_eq!(
        (&of(&report, "acme")["state"], &of(&report, "globex")["state"]),
        (&"same".into(), &"failed".into())
    );
    let report = app.portero(&plan).run().await.expect(0).json();
    assert_eq!(
        (&of(&report, "acme")["state"], &of(&report, "globex")["state"]),
        (&"done".into(), &"not_cloned".into())
    );
}

/// Adds people to a company, and a row that breaks what comes.
async fn people(app: &TestApp, company: &Company, poisoned: bool) {
    let session = by_hand(app, company).await;
    session
        .batch_execute(
            "INSERT INTO users (id, email, password_hash, role)
             SELECT gen_random_uuid(), 'user' || n || '@example.org', 'x', 'member' FROM generate_series(1, 500) AS n;
             INSERT INTO sessions (id, user_id, kind, expires_at) SELECT gen_random_uuid(), id, 'api', now() FROM users",
        )
        .await
        .unwrap();
    if poisoned {
        session
            .batch_execute("UPDATE users SET email = 'poison' WHERE email = 'user7@example.org'")
            .await
            .unwrap();
    }
    session.close().await;
}

#[tokio::test]
async fn a_rehearsal_says_what_would_happen_and_touches_nobody() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    let [acme, globex] = two(&app).await;
    people(&app, &acme, false).await;
    people(&app, &globex, true).await;
    let count = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM sessions), (SELECT max(version) FROM schema_history)";
    let directory = migrations(&[
        // Rows, foreign keys and sequences are as they were.
        (
            "look",
            "DO $$ BEGIN
                 IF (SELECT count(*) FROM users) <> 501 OR (SELECT count(*) FROM sessions) < 501 THEN RAISE 'rows'; END IF;
                 IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'sessions_user_id_fkey' AND convalidated) THEN
                     RAISE 'foreign keys'; END IF;
                 INSERT INTO audit (action) VALUES ('rehearsed');
             END $$",
        ),
        ("valid", "ALTER TABLE users ADD CONSTRAINT users_email_at CHECK (email LIKE '%@%')"),
        ("rewrite", "ALTER TABLE users ALTER COLUMN role TYPE varchar(20)"),
        ("index", "-- portero: no transaction\nCREATE INDEX CONCURRENTLY users_role ON users (role)"),
    ]);
    // A company that is served: its connections stay.
    let busy = app.database_of(&acme).await;
    busy.batch_execute("BEGIN; SELECT count(*) FROM users").await.unwrap();
    let before = busy.query_one(count, &[]).await.unwrap();
    let directory = directory.to_str().unwrap();
    let plan = ["migrate", "plan", "--rehearse", "--json", "--tenant-migrations", directory];
    let report = app.portero(&plan).run().await.expect(3).json();
    let (done, failed) = (of(&report, "acme"), of(&report, "globex"));
    assert_eq!((&done["state"], &failed["state"]), (&"done".into(), &"failed".into()), "{report:#}");
    assert!(done["rows"].as_u64().unwrap() > 1000, "{done:#}");
    let reason = failed["reason"].as_str().unwrap();
    assert!(
        reason.contains("users_email_at") && failed["steps"].as_array().unwrap().len() == 2,
        "{failed:#}"
    );
    let step = |name: &str| {
        let steps = done["steps"].as_array().unwrap();
        steps.iter().find(|step| step["migration"].as_str().unwrap().ends_with(name)).unwrap()
    };
    let holds = |name: &str, mode: &str| {
        let locks = step(name)["locks"].as_array().unwrap();
        locks.iter().any(|lock| lock["relation"] == "public.users" && lock["mode"] == mode)
    };
    assert!(holds("valid", "AccessExclusiveLock") && holds("rewrite", "AccessExclusiveLock"), "{done:#}");
    assert!(!holds("look", "AccessExclusiveLock"), "{done:#}");
    assert_eq!(step("rewrite")["rewritten"], serde_json::json!(["public.users"]));
    assert_eq!(step("valid")["rewritten"], serde_json::json!([]));
    assert!(step("valid")["in_transaction"] == true && step("index")["in_transaction"] == false, "{done:#}");
    let words = app.portero(&[&plan[..3], &plan[4..]].concat()).run().await.expect(3).stdout;
    let index = format!("V{}__index", TENANT_MIGRATIONS.latest() + 4);
    assert!(words.contains(&format!("since they run without a transaction: {index}\n")), "{words}");
    let after = busy.query_one(count, &[]).await.unwrap();
    for column in 0..2 {
        assert_eq!(before.get::<_, i64>(column), after.get::<_, i64>(column), "{column}");
    }
    assert_eq!(after.get::<_, i32>(2), TENANT_MIGRATIONS.latest());
    assert!(scratch(&app).await.is_empty());
    cluster.clean_slate().await;
    let text = app.portero(&plan[..3]).run().await.expect(0).stdout;
    assert!(text.contains("nothing to rehearse"), "{text}");
    let session = app.peek().await;
    let sql = "SELECT count(*) FROM audit WHERE verb = 'migration.rehearse'";
    assert_eq!(session.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 3);
}

#[tokio::test]
async fn a_clone_is_as_its_tenant_whatever_is_in_it() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    let [acme, _] = two(&app).await;
    let things = "
        CREATE TABLE boxes (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            inside bigint REFERENCES boxes DEFERRABLE INITIALLY DEFERRED,
            owner uuid CONSTRAINT boxes_owner REFERENCES users ON DELETE SET NULL,
            side int NOT NULL, volume int GENERATED ALWAYS AS (side * side * side) STORED, label \"char\", \"odd name\" text[]);
        CREATE TABLE visits (at date NOT NULL, who uuid REFERENCES users, PRIMARY KEY (at, who)) PARTITION BY RANGE (at);
        CREATE TABLE visits_old PARTITION OF visits FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
        CREATE TABLE visits_new PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
        CREATE SEQUENCE numbers;
        CREATE TABLE log (what text);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.log VALUES (TG_NAME); RETURN NEW; END';
        CREATE TRIGGER usual AFTER INSERT ON boxes FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER always AFTER INSERT ON boxes FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER never AFTER INSERT ON boxes FOR EACH ROW EXECUTE FUNCTION note();
        CREATE TRIGGER parts AFTER INSERT ON visits FOR EACH ROW EXECUTE FUNCTION note();
        ALTER TABLE boxes ENABLE ALWAYS TRIGGER always;
        ALTER TABLE boxes DISABLE TRIGGER never";
    let directory = migrations(&[("things", things)]);
    let run = ["migrate", "run", "--tenant-migrations", directory.to_str().unwrap()];
    app.portero(&run).run().await.expect(0);
    by_hand(&app, &acme)
        .await
        .batch_execute(
            "INSERT INTO boxes (inside, owner, side, label, \"odd name\")
             SELECT nullif(n % 10, 0) + 1, (SELECT id FROM users LIMIT 1), n, 'x', ARRAY['a', NULL] FROM generate_series(1, 100) AS n;
             INSERT INTO visits SELECT date '2025-12-01' + n, (SELECT id FROM users LIMIT 1) FROM generate_series(1, 60) AS n;
             SELECT setval('numbers', 7)",
        )
        .await
        .unwrap();
    let look = "DO $$ BEGIN
        IF (SELECT (count(*), sum(volume), max(inside), count(owner)) <> (100, 25502500, 10, 100) FROM boxes) THEN RAISE 'boxes'; END IF;
        IF (SELECT count(*) FROM ONLY visits_old) <> 30 OR (SELECT count(*) FROM visits) <> 60 THEN RAISE 'visits'; END IF;
        IF (SELECT count(*) FROM log) <> 260 THEN RAISE 'triggers have fired'; END IF;
        IF nextval('numbers') <> 8 THEN RAISE 'numbers'; END IF;
        INSERT INTO boxes (side) VALUES (1);
        IF (SELECT count(*) FROM log) <> 262 THEN RAISE 'triggers do not fire'; END IF;
        END $$";
    let directory = migrations(&[("things", things), ("look", look)]);
    let plan = [
        "migrate",
        "plan",
        "--rehearse",
        "--tenant",
        "acme",
        "--json",
        "--tenant-migrations",
        directory.to_str().unwrap(),
    ];
    let report = app.portero(&plan).run().await.expect(0).json();
    assert_eq!(
        (&of(&report, "acme")["state"], &of(&report, "acme")["drift"]),
        (&"done".into(), &serde_json::json!([])),
        "{report:#}"
    );
}

#[tokio::test]
async fn what_is_too_large_is_not_cloned_and_said_to_be_so() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    two(&app).await;
    let directory = migrations(&[("one", "ALTER TABLE users ADD COLUMN note text")]);
    let plan = ["migrate", "plan", "--rehearse", "--tenant-migrations", directory.to_str().unwrap()];
    let small = app.portero(&[&plan[..], &["--clone-limit-mb", "1"]].concat()).run().await.expect(1).stdout;
    assert!(small.contains("not cloned") && small.contains("may be cloned"), "{small}");
    let full = app.portero(&plan).env("PORTERO_SERVER_SIZE_LIMIT_MB", "10").run().await.expect(1).stdout;
    assert!(full.contains("has no room for a clone"), "{full}");
    let one = app.portero(&[&plan[..], &["--sample", "1"]].concat()).run().await.expect(0).stdout;
    assert!(one.contains("clones of 1 of the 2 tenants"), "{one}");
    let named = app.portero(&[&plan[..], &["--tenant", "globex"]].concat()).run().await.expect(0).stdout;
    assert!(named.contains("globex") && !named.contains("acme"), "{named}");
    assert!(scratch(&app).await.is_empty());
}

/// A rehearsal that holds when its clone has all rows.
async fn held(app: &TestApp, directory: &str) -> (Process, String) {
    let mut env: BTreeMap<String, String> = app.env().clone();
    env.insert("FAILPOINTS".to_owned(), "rehearse::cloned=pause".to_owned());
    let args = ["migrate", "plan", "--rehearse", "--tenant", "acme", "--tenant-migrations", directory, "-v"];
    let process = Process::spawn(&args, &env);
    wait_until("the clone", DEADLINE, async || {
        process.log().iter().any(|line| line.contains("rehearse::cloned"))
    })
    .await;
    (process, scratch(app).await.pop().unwrap())
}

#[tokio::test]
async fn a_clone_opens_to_no_tenant_and_goes_though_its_maker_was_killed() {
    // Where privileges alone keep roles apart.
    let cluster = TestCluster::managed().await;
    let mut app = TestApp::builder().cluster(&cluster).start().await;
    let companies = two(&app).await;
    let logins = [app.login_of(&companies[0]).await, app.login_of(&companies[1]).await];
    let directory = migrations(&[("one", "ALTER TABLE users ADD COLUMN note text")]);
    let directory = directory.to_str().unwrap();
    app.kill();
    let (mut process, clone) = held(&app, directory).await;
    let session = cluster.superuser(&clone).await;
    let people: i64 = session.query_one("SELECT count(*) FROM users", &[]).await.unwrap().get(0);
    assert_eq!(people, 1, "it has a company's rows");
    session.close().await;
    for login in &logins {
        let entered = cluster.login(&login.name, &login.password, &clone).await;
        assert!(entered.is_err(), "{} is let into {clone}", login.name);
        cluster.login(&login.name, &login.password, &login.name).await.unwrap().close().await;
    }
    // While it is used, nobody clears it away.
    let plan = ["migrate", "plan", "--rehearse", "--tenant", "globex", "--tenant-migrations", directory];
    app.portero(&plan).run().await.expect(0);
    assert_eq!(scratch(&app).await, [clone.as_str()]);
    process.kill();
    wait_until("doctor to tell of it", DEADLINE, async || {
        app.portero(&["doctor"]).run().await.stdout.contains(&clone)
    })
    .await;
    app.portero(&plan).run().await.expect(0);
    assert!(scratch(&app).await.is_empty(), "the next rehearsal clears it away");
    let (mut process, _) = held(&app, directory).await;
    process.kill();
    app.boot().await;
    wait_until("whoever serves to clear it away", DEADLINE, async || scratch(&app).await.is_empty()).await;
    // Told to stop, a rehearsal clears up by itself. What holds it here keeps its process from ending.
    app.kill();
    let (mut process, _) = held(&app, directory).await;
    let cleared = wait_until("the clone to be dropped", DEADLINE, async || scratch(&app).await.is_empty());
    tokio::select! {
        status = process.terminate() => panic!("it is held: {status}"),
        () = cleared => {}
    }
    cluster.clean_slate().await;
}

#[tokio::test]
async fn the_lint_stops_what_blocks_unless_the_file_says_why() {
    let index = "CREATE INDEX users_role ON users (role);";
    let drop = "ALTER TABLE users DROP COLUMN disabled_at;";
    let allowed = format!("-- portero: allow require-concurrent-index-creation: 40 rows in each\n{index}");
    let contract = format!("-- portero: contract: not read since 1.4\n{drop}");
    let lint = async |files: &[(&str, &str)], code| {
        let directory = migrations(files);
        let call = portero_testkit::Portero::new(&["migrate", "lint", directory.to_str().unwrap()]);
        call.run().await.expect(code).stdout
    };
    let told = lint(&[("index", index), ("gone", drop)], 1).await;
    let first = TENANT_MIGRATIONS.latest() + 1;
    assert!(
        told.contains(&format!("V{first}__index.sql:1: error: require-concurrent-index-creation")),
        "{told}"
    );
    assert!(told.contains(&format!("V{}__gone.sql:1: error: ban-drop-column", first + 1)), "{told}");
    let told = lint(&[("index", &allowed), ("gone", &contract)], 0).await;
    assert!(
        told.contains("allowed") && told.contains("40 rows in each") && told.contains("nothing stops"),
        "{told}"
    );
    portero_testkit::Portero::new(&["migrate", "lint"]).run().await.expect(0);
}

#[tokio::test]
async fn a_run_does_not_begin_with_what_the_lint_stops() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    two(&app).await;
    let newest = TENANT_MIGRATIONS.latest();
    let index = "CREATE INDEX users_role ON users (role);";
    let call = async |action: &str, sql: &str, code| {
        let directory = migrations(&[("index", sql)]);
        let args = ["migrate", action, "--tenant-migrations", directory.to_str().unwrap()];
        app.portero(&args).run().await.expect(code)
    };
    let (directory, report) = (migrations(&[("index", index)]), scratch_dir("reports").join("report.xml"));
    let args = ["migrate", "run", "--tenant-migrations", directory.to_str().unwrap(), "--report"];
    let refused = app.portero(&[args.as_slice(), &[report.to_str().unwrap()]].concat()).run().await.expect(1);
    assert!(!report.exists(), "CI would take an empty file for a report");
    let refused = refused.stderr;
    assert!(
        refused.contains("require-concurrent-index-creation") && refused.contains("-- portero: allow"),
        "{refused}"
    );
    let plan = call("plan", index, 0).await.stdout;
    assert!(plan.contains("error: require-concurrent-index-creation"), "{plan}");
    assert!(of(&drift(&app, 0).await, "acme")["version"] == newest, "nothing was run");
    // What it makes anew has the rights by default, which are those that a database is made with.
    let allowed = format!(
        "-- portero: allow require-concurrent-index-creation: 40 rows in each\n{index}
         CREATE TABLE plans (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
         CREATE VIEW names AS SELECT name FROM plans;
         CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    );
    call("run", &allowed, 0).await;
    // Both have it, and what is known of it; without the file, too, since the run is the fleet's.
    let directory = migrations(&[("index", &allowed)]);
    let with = ["migrate", "drift", "--json", "--tenant-migrations", directory.to_str().unwrap()];
    let report = app.portero(&with).run().await.expect(0).json();
    assert_eq!((&of(&report, "globex")["version"], &report["same"]), (&(newest + 1).into(), &2.into()));
    assert_eq!(drift(&app, 0).await["same"], 2);
}

/// All text in a YAML document.
fn texts(yaml: &Yaml<'_>, found: &mut Vec<String>) {
    if let Some(text) = yaml.as_str() {
        found.push(text.to_owned());
    }
    for item in yaml.as_vec().into_iter().flatten() {
        texts(item, found);
    }
    for (_, value) in yaml.as_mapping().into_iter().flatten() {
        texts(value, found);
    }
}

#[tokio::test]
async fn the_pipelines_are_yaml_and_call_what_there_is() {
    for file in ["github-actions.yml", "gitlab-ci.yml"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/ci").join(file);
        let text = fs::read_to_string(&path).unwrap();
        let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(documents.len(), 1, "{file}");
        let mut found = Vec::new();
        texts(&documents[0], &mut found);
        let calls: Vec<&str> = found
            .iter()
            .flat_map(|text| text.match_indices("portero migrate ").map(|(at, _)| &text[at..]))
            .collect();
        let mut called = Vec::new();
        for call in calls {
            // Up to the end of the line, or of the command that it is a part of.
            let call = call.split(['\n', '|', ')', ';']).next().unwrap();
            let mut words = call.split_whitespace().skip(2);
            let subcommand = words.next().unwrap().to_owned();
            let help = portero_testkit::Portero::new(&["migrate", &subcommand, "--help"])
                .run()
                .await
                .expect(0)
                .stdout;
            for flag in words.filter(|word| word.starts_with("--")) {
                assert!(help.contains(flag), "{file}: {call}: there is no {flag}");
            }
            called.push(subcommand);
        }
        for needed in ["lint", "plan", "run", "show", "drift"] {
            assert!(called.iter().any(|call| call == needed), "{file} doesn't call {needed}: {called:?}");
        }
        assert!(
            text.contains("--rehearse") && text.contains("--waves 1,10%,100%") && text.contains("--report "),
            "{file}"
        );
    }
}
