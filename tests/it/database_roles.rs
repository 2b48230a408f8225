//! What a company's database role can do, if somebody got hold of its password or into its statements: read and write its
//! own data, and nothing else.

use portero_pg::Session;
use portero_testkit::{Company, DEADLINE, TestApp, TestCluster, join_all, wait_until};
use tokio_postgres::error::SqlState;

#[tokio::test]
async fn a_role_gets_into_its_own_database_and_no_other() {
    roles_are_kept_apart(&TestApp::start().await).await;
}

#[tokio::test]
async fn privileges_alone_keep_roles_apart_where_pg_hba_conf_lets_everybody_try() {
    roles_are_kept_apart(&TestApp::builder().cluster(&TestCluster::managed().await).start().await).await;
}

async fn roles_are_kept_apart(app: &TestApp) {
    let companies = join_all(["acme", "globex", "initech", "umbrella"].map(|name| app.sign_up(name))).await;
    let logins = join_all(companies.iter().map(|company| app.login_of(company))).await;
    let mut databases: Vec<&str> = logins.iter().map(|login| login.name.as_str()).collect();
    databases.extend(["postgres", "template1", "template0", app.registry_database()]);
    for login in &logins {
        for database in &databases {
            let entered = app.cluster().login(&login.name, &login.password, database).await;
            if *database == login.name {
                entered.unwrap();
            } else {
                let error = entered.expect_err(database);
                let code = error.code().unwrap_or_else(|| panic!("{database}: {error:?}")).code();
                // Without the privilege, without a line in pg_hba.conf, or closed to all (template0).
                assert!(["42501", "28000", "55000"].contains(&code), "{database}: {error:?}");
            }
        }
    }
    // Whoever is no tenant finds everything closed as well: nothing is open to PUBLIC.
    let session = app.cluster().superuser("postgres").await;
    let open = session
        .query(
            "SELECT datname::text FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
             WHERE datallowconn AND grantee = 0",
            &[],
        )
        .await
        .unwrap();
    let open: Vec<String> = open.iter().map(|row| row.get(0)).collect();
    assert!(open.is_empty(), "open to everybody: {open:?}");
}

#[tokio::test]
async fn a_role_has_no_attribute_and_no_membership_that_would_lead_further() {
    let app = TestApp::start().await;
    let login = app.login_of(&app.sign_up("acme").await).await;
    let session = app.cluster().superuser("postgres").await;
    let row = session
        .query_one(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls,
                    rolcanlogin, rolconnlimit,
                    EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid),
                    rolpassword LIKE 'SCRAM-SHA-256$%',
                    EXISTS (SELECT FROM pg_database WHERE datdba = r.oid),
                    (SELECT setconfig::text FROM pg_db_role_setting WHERE setrole = r.oid AND setdatabase = 0)
             FROM pg_authid r WHERE rolname = $1",
            &[&login.name],
        )
        .await
        .unwrap();
    assert!(!row.get::<_, bool>(0), "it has an attribute");
    assert!(row.get::<_, bool>(1));
    assert!((1..100).contains(&row.get::<_, i32>(2)), "its connections are limited");
    assert!(!row.get::<_, bool>(3), "it is a member of another role");
    assert!(row.get::<_, bool>(4), "its password is kept as a verifier");
    assert!(!row.get::<_, bool>(5), "it owns a database");
    let settings: String = row.get(6);
    for setting in ["search_path", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    {
        assert!(settings.contains(setting), "{setting} is not in {settings}");
    }
}

/// `{me}` is the role and its database; `{other}` another company's.
const REFUSED: [&str; 65] = [
    // Structure.
    "CREATE TABLE x (i integer)",
    "CREATE TABLE public.x (i integer)",
    "CREATE TABLE x AS SELECT 1",
    "SELECT 1 INTO x",
    "CREATE TEMPORARY TABLE x (i integer)",
    "CREATE TEMPORARY VIEW x AS SELECT 1",
    "CREATE SCHEMA x",
    "CREATE VIEW public.x AS SELECT 1",
    "CREATE MATERIALIZED VIEW public.x AS SELECT 1",
    "CREATE SEQUENCE public.x",
    "CREATE TYPE public.x AS ENUM ('a')",
    "CREATE DOMAIN public.x AS text",
    "CREATE INDEX x ON users (role)",
    "CREATE FUNCTION public.x() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
    "CREATE FUNCTION pg_temp.x() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE TRIGGER x BEFORE INSERT ON users EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE x AS ON INSERT TO users DO INSTEAD NOTHING",
    "CREATE POLICY x ON users",
    "CREATE EVENT TRIGGER x ON ddl_command_start EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE EXTENSION pgcrypto",
    "CREATE EXTENSION dblink",
    "CREATE LANGUAGE x HANDLER plpgsql_call_handler",
    "CREATE PUBLICATION x",
    "CREATE FOREIGN DATA WRAPPER x",
    "ALTER TABLE users ADD COLUMN x text",
    "ALTER TABLE users DISABLE TRIGGER ALL",
    "ALTER TABLE users OWNER TO CURRENT_USER",
    "ALTER TABLE audit NO INHERIT users",
    "ALTER SCHEMA public RENAME TO x",
    "DROP TABLE users",
    "DROP SCHEMA public CASCADE",
    "TRUNCATE users",
    // What it may read and not rewrite.
    "INSERT INTO schema_history (version, name, applied_on, checksum) VALUES (99, 'x', 'x', 'x')",
    "UPDATE schema_history SET checksum = 'x'",
    "DELETE FROM schema_history",
    "UPDATE audit SET action = 'x'",
    "DELETE FROM audit",
    "TRUNCATE audit",
    "INSERT INTO audit (at, action) VALUES ('2000-01-01', 'login.accepted')",
    "INSERT INTO audit (id, action) OVERRIDING SYSTEM VALUE VALUES (1, 'login.accepted')",
    "SELECT setval('audit_id_seq', 1)",
    // The machine.
    "COPY users TO PROGRAM 'cat'",
    "COPY users FROM PROGRAM 'id'",
    "COPY users TO '/tmp/x'",
    "COPY settings FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('PG_VERSION')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_reload_conf()",
    "SELECT pg_rotate_logfile()",
    "ALTER SYSTEM SET log_statement = 'none'",
    "LOAD 'dblink'",
    // Others.
    "SELECT * FROM pg_authid",
    "SELECT * FROM pg_shadow",
    "SET ROLE portero",
    "SET SESSION AUTHORIZATION postgres",
    "SET ROLE {other}",
    "ALTER ROLE {me} CREATEDB",
    "ALTER ROLE {other} PASSWORD 'x'",
    "CREATE ROLE x",
    "CREATE DATABASE x",
    "COMMENT ON DATABASE {me} IS 'portero tenant of another'",
];

#[tokio::test]
async fn a_role_can_neither_make_nor_change_nor_break_out_of_anything() {
    let app = TestApp::start().await;
    let companies = join_all(["acme", "globex"].map(|name| app.sign_up(name))).await;
    for (mine, others) in [(0, 1), (1, 0)] {
        let (me, other) = (app.login_of(&companies[mine]).await, app.login_of(&companies[others]).await);
        let session = app.database_of(&companies[mine]).await;
        for statement in REFUSED {
            let statement = statement.replace("{me}", &me.name).replace("{other}", &other.name);
            let refused = session.batch_execute(&statement).await.expect_err(&statement);
            let code = refused.code().unwrap_or_else(|| panic!("{statement}: {refused:?}"));
            // An extension that isn't installed on the machine is not there to be refused.
            let absent =
                statement.starts_with("CREATE EXTENSION") && *code == SqlState::FEATURE_NOT_SUPPORTED;
            assert!(absent || *code == SqlState::INSUFFICIENT_PRIVILEGE, "{statement}: {refused:?}");
        }
        // Without the right to grant, PostgreSQL warns and does nothing.
        session.batch_execute("GRANT SELECT ON users TO PUBLIC").await.unwrap();
        let public = session.query_one("SELECT has_table_privilege('public', 'users', 'SELECT')", &[]).await;
        assert!(!public.unwrap().get::<_, bool>(0));
        for own in [
            "SELECT count(*) FROM schema_history",
            "SELECT count(*) FROM audit",
            "SELECT count(*) FROM users",
        ] {
            assert!(session.query_one(own, &[]).await.unwrap().get::<_, i64>(0) > 0, "{own}");
        }
    }
}

#[tokio::test]
async fn what_a_role_sets_for_itself_neither_reaches_our_sessions_nor_outlives_a_resume() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let (login, session) = (app.login_of(&acme).await, app.database_of(&acme).await);
    for setting in ["statement_timeout = 0", "default_transaction_read_only = on", "search_path = pg_temp"] {
        session.batch_execute(&format!("ALTER ROLE CURRENT_USER SET {setting}")).await.unwrap();
    }
    // PostgreSQL prefers what is set for the one database.
    let here = format!("ALTER ROLE CURRENT_USER IN DATABASE {} SET statement_timeout = 0", login.name);
    session.batch_execute(&here).await.unwrap();
    let admin = app.cluster().superuser("postgres").await;
    let cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1";
    admin.execute(cut, &[&login.name]).await.unwrap();
    let open = async || app.guest("acme").get("/api/v1/ping").await.status == 200;
    wait_until("the company to be served again", DEADLINE, open).await;
    app.add_user(&acme, "berta@acme.example", "member").await;

    let session = app.database_of(&acme).await;
    session.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    session.batch_execute("ALTER ROLE CURRENT_USER PASSWORD 'another'").await.unwrap();
    admin.execute(cut, &[&login.name]).await.unwrap();
    wait_until("the password to be missed", DEADLINE, async || {
        app.guest("acme").get("/api/v1/ping").await.problem() == "tenant-database-unavailable"
    })
    .await;
    app.portero(&["tenant", "resume", "acme"]).run().await.expect(0);
    wait_until("the company to be served again", DEADLINE, open).await;
    let session = app.database_of(&acme).await;
    let timeout: String = session.query_one("SHOW statement_timeout", &[]).await.unwrap().get(0);
    assert_eq!(timeout, "10s", "whoever logs in as the role has its limits again");
}

#[tokio::test]
async fn a_role_ends_and_reads_no_statement_of_others() {
    let app = TestApp::start().await;
    let companies = join_all(["acme", "globex"].map(|name| app.sign_up(name))).await;
    let theirs = app.database_of(&companies[1]).await;
    let pid: i32 = theirs.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let admin = app.cluster().superuser("postgres").await;
    let admin_pid: i32 = admin.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let mine = app.database_of(&companies[0]).await;
    for pid in [pid, admin_pid] {
        for function in ["pg_terminate_backend", "pg_cancel_backend"] {
            let refused = mine.query(&format!("SELECT {function}($1)"), &[&pid]).await.expect_err(function);
            assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{function}");
        }
        let seen =
            mine.query_one("SELECT query FROM pg_stat_activity WHERE pid = $1", &[&pid]).await.unwrap();
        assert_eq!(seen.get::<_, Option<&str>>(0), Some("<insufficient privilege>"));
    }
    theirs.query_one("SELECT 1", &[]).await.unwrap();
}

#[tokio::test]
async fn the_catalogue_tells_a_role_nothing_about_who_the_others_are() {
    let app = TestApp::start().await;
    let companies = join_all(["acme", "globex"].map(|name| app.sign_up(name))).await;
    for (mine, others) in [(0, 1), (1, 0)] {
        let catalogue = everything_to_be_seen(&app.database_of(&companies[mine]).await).await;
        let Company { subdomain, name, email, .. } = &companies[others];
        for word in [subdomain, name, email] {
            assert!(!catalogue.contains(word.as_str()), "{word} is to be seen");
        }
    }
}

async fn everything_to_be_seen(session: &Session) -> String {
    let mut text = String::new();
    for table in [
        "pg_database",
        "pg_roles",
        "pg_shdescription",
        "pg_stat_activity",
        "pg_stat_database",
        "pg_db_role_setting",
    ] {
        let sql = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t");
        text.push_str(session.query_one(&sql, &[]).await.unwrap().get(0));
    }
    text
}
