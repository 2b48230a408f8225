//! Files of migrations from one run to the next: what companies have is neither changed, nor left out, nor overtaken; and what
//! a company wrote is text in a log.

use crate::migrate::{Fleet, next_version};
use std::fs;

const NICKNAME: &str = "ALTER TABLE users ADD nickname text";
const NOTES: &str = "CREATE TABLE notes (id bigint PRIMARY KEY)";

/// A directory with other files.
fn files<'a>(fleet: &'a Fleet, files: &[(i32, &str, &str)]) -> &'a Fleet {
    fs::remove_dir_all(&fleet.dir).unwrap();
    fs::create_dir(&fleet.dir).unwrap();
    for (number, name, sql) in files {
        fleet.file(*number, name, sql);
    }
    fleet
}

/// A plan, a rehearsal and a run all refuse, and nobody is migrated.
async fn is_refused(fleet: &Fleet, words: &str) {
    let runs = fleet.query("SELECT id::text FROM migration_runs").await;
    for args in [&["plan"][..], &["plan", "--rehearse"], &["run"]] {
        let told = fleet.migrate(args).await.expect(1).stderr;
        assert!(told.contains(words), "{args:?}: {told}");
    }
    assert_eq!(fleet.query("SELECT id::text FROM migration_runs").await, runs, "no run began");
}

#[tokio::test]
async fn a_file_that_only_a_canary_has_is_not_changed_under_it() {
    let fleet = Fleet::of(&["acme", "globex", "initech"]).await;
    let poison = "-- portero: allow constraint-missing-not-valid: it is to fail\n\
                  ALTER TABLE users ADD CHECK (email <> 'admin@globex.example')";
    files(&fleet, &[(1, "nicknames", NICKNAME), (2, "checked", poison)]);
    fleet.migrate(&["run", "--waves", "1,2,100%"]).await.expect(3);
    let (second, mended) = (next_version() + 1, "ALTER TABLE users ADD checked boolean");
    files(&fleet, &[(1, "nicknames", NICKNAME), (2, "checked", mended)]);
    is_refused(&fleet, &format!("V{second}__checked.sql is not the V{second}__checked.sql that run ")).await;
    files(&fleet, &[(2, "checked", poison)]);
    is_refused(&fleet, &format!("V{}__nicknames.sql, which run ", next_version())).await;

    // The way out: what stands stays, and the company that was in the way is mended.
    files(&fleet, &[(1, "nicknames", NICKNAME), (2, "checked", poison), (3, "more", mended)]);
    fleet.change("globex", "UPDATE users SET email = 'ana@globex.example'").await;
    fleet.migrate(&["run"]).await.expect(0);
    let told = fleet.migrate(&["resume"]).await.expect(0).stdout;
    assert!(told.contains("nothing to resume"), "the run before is done with: {told}");
}

#[tokio::test]
async fn a_file_that_comes_late_is_not_passed_over() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    files(&fleet, &[(3, "notes", NOTES)]).migrate(&["run", "--tenant", "acme"]).await.expect(0);
    files(&fleet, &[(2, "nicknames", NICKNAME), (3, "notes", NOTES)]);
    let [late, newest] = [1, 2].map(|number| next_version() + number);
    is_refused(&fleet, &format!("V{late}__nicknames.sql is older than V{newest}__notes.sql")).await;
    files(&fleet, &[(3, "notes", NOTES), (4, "nicknames", NICKNAME)]);
    fleet.migrate(&["run"]).await.expect(0);
}

#[tokio::test]
async fn what_a_company_wrote_is_in_no_log_and_doctor_names_the_run() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    fleet.change("acme", "UPDATE users SET email = E'12\\n::error::pwned\\u001b]0;t'").await;
    fleet.file(1, "numbers", "ALTER TABLE users ADD n int; UPDATE users SET n = email::int WHERE n IS NULL");
    let ran = fleet.migrate(&["run", "--tenant", "acme"]).await.expect(1);
    let shown = fleet.migrate(&["show"]).await.expect(0);
    for told in [&ran.stdout, &shown.stdout] {
        assert!(told.contains("invalid input syntax for type integer: … (22P02"), "{told}");
        assert!(!told.contains("pwned") && !told.contains('\u{1b}'), "{told}");
    }
    let doctor = fleet.app.portero(&["doctor"]).run().await.stdout;
    let line = doctor.lines().find(|line| line.contains(" migrations ")).unwrap();
    assert!(line.starts_with("warn") && line.contains("1 failed"), "{doctor}");
    assert!(doctor.contains("portero migrate show"), "{doctor}");
}

#[tokio::test]
async fn a_failure_and_the_end_of_its_run_are_one() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    fleet.file(1, "wrong", "SELECT 1 / 0");
    // Whatever writes the end of a run by itself is too late, and fails: so does a process that is killed before it.
    let session = fleet.app.peek().await;
    session
        .batch_execute(
            "CREATE FUNCTION apart() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NOT EXISTS (SELECT FROM migration_run_tenants WHERE xmin = pg_current_xact_id()::xid) THEN
                     RAISE 'the end of a run is written apart from the failure that ends it';
                 END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER apart BEFORE UPDATE ON migration_runs FOR EACH ROW
                 WHEN (OLD.status = 'running' AND NEW.status = 'stopped')
                 EXECUTE FUNCTION apart()",
        )
        .await
        .unwrap();
    let stopped = fleet.migrate(&["run", "--waves", "1,100%"]).await.expect(1);
    let told = "1 failed by wave 1, and no more than 0 may";
    assert!(stopped.stdout.contains(told), "{}{}", stopped.stdout, stopped.stderr);
}

#[tokio::test]
async fn a_companys_own_session_does_not_keep_its_schema_old() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    fleet.file(1, "nicknames", NICKNAME);
    let login = fleet.login("acme").await;
    let held = fleet.cluster.login(&login.name, &login.password, &fleet.databases["acme"]).await.unwrap();
    let key = portero_pg::lock_key("portero.migrate");
    held.execute("SELECT pg_advisory_lock($1)", &[&key]).await.unwrap();
    fleet.migrate(&["run"]).await.expect(0);
    fleet.all_have("nickname").await;
}

#[tokio::test]
async fn what_was_done_though_its_answer_was_none_is_told_as_done() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    // Whoever migrates is no client for rows: the answer is not understood, and PostgreSQL has gone on.
    let copied =
        "-- portero: allow needs-a-client: it is to answer with what nobody reads\nCOPY users TO STDOUT;\n";
    fleet.file(1, "nicknames", &format!("{copied}{NICKNAME}"));
    fleet.migrate(&["run"]).await.expect(0);
    fleet.all_have("nickname").await;
}

const INDEXES: &str = r#"-- portero: no transaction
CREATE UNIQUE INDEX CONCURRENTLY users_one ON public.users
    (lower(email) text_pattern_ops, created_at DESC) INCLUDE (role) WHERE disabled_at IS NULL AND users.role <> '';
CREATE INDEX CONCURRENTLY IF NOT EXISTS "Users two" ON ONLY users USING hash ((users.role || 'a; b')); -- and
CREATE INDEX CONCURRENTLY users_three ON users ((users IS NULL), id)"#;

#[tokio::test]
async fn an_index_that_is_there_is_the_one_of_the_file_or_it_is_told_of() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    fleet.file(1, "indexes", INDEXES);
    let one = "(lower(email) text_pattern_ops, created_at DESC) INCLUDE (role) WHERE disabled_at IS NULL AND role <> ''";
    let others = [
        ("CREATE UNIQUE INDEX users_one ON sessions (id)".to_owned(), "users_one ON public.sessions"),
        (format!("CREATE INDEX users_one ON users {one}"), "CREATE INDEX users_one"),
        (
            format!("CREATE UNIQUE INDEX users_one ON users {}", &one[..one.len() - 15]),
            "(disabled_at IS NULL). The",
        ),
        (
            format!("CREATE UNIQUE INDEX users_one ON users {}", one.replace(" DESC", "")),
            ", created_at) INCLUDE",
        ),
        (
            r#"CREATE INDEX "Users two" ON users ((role || 'a; b'))"#.to_owned(),
            r#""Users two" ON public.users USING btree"#,
        ),
    ];
    let mut args = vec!["run", "--tenant", "acme"];
    for (other, there) in &others {
        fleet.change("acme", r#"DROP INDEX IF EXISTS users_one; DROP INDEX IF EXISTS "Users two""#).await;
        fleet.change("acme", other).await;
        let told = fleet.migrate(&args).await.expect(1).stdout;
        let wanted = if other.contains("two") {
            r#"The file says: CREATE INDEX "Users two" ON public.users USING hash"#
        } else {
            "The file says: CREATE UNIQUE INDEX users_one ON public.users USING btree (lower(email) text_pattern_ops"
        };
        assert!(
            told.contains(there) && told.contains(wanted) && told.contains("Drop the one that is there"),
            "{other}: {told}"
        );
        args = vec!["resume"];
    }
    fleet.change("acme", r#"DROP INDEX "Users two""#).await;
    fleet.migrate(&args).await.expect(0);
    // The history was lost, and they are there, as the file writes them.
    fleet.change("acme", &format!("DELETE FROM schema_history WHERE version = {}", next_version())).await;
    let oids = "SELECT string_agg(indexrelid::text, ' ' ORDER BY indexrelid) FROM pg_index";
    let there = fleet.inside("acme").await;
    let before: String = there.query_one(oids, &[]).await.unwrap().get(0);
    let registry = fleet.app.peek().await;
    registry
        .batch_execute(&format!("UPDATE tenants SET schema_version = {}", next_version() - 1))
        .await
        .unwrap();
    fleet.migrate(&["run"]).await.expect(0);
    assert_eq!(there.query_one(oids, &[]).await.unwrap().get::<_, String>(0), before);
    assert_eq!(fleet.truth("acme", "role").await.0.last(), Some(&next_version()));
}

#[tokio::test]
async fn a_history_that_was_damaged_is_told_of_and_nothing_is_run_again() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    fleet.file(1, "nicknames", NICKNAME);
    let newest = next_version() - 1;
    fleet.change("acme", &format!("UPDATE schema_history SET name = NULL WHERE version = {newest}")).await;
    let told = fleet.migrate(&["run", "--tenant", "acme"]).await.expect(1).stdout;
    assert!(told.contains("a row of public.schema_history has no name"), "{told}");
    let drift = fleet.migrate(&["drift"]).await.expect(3).stdout;
    assert!(drift.contains(&format!("migration {newest}: name is none, and should be ")), "{drift}");
    let nobodys =
        "ALTER TABLE schema_history DROP CONSTRAINT schema_history_pkey, ALTER version DROP NOT NULL;
                   UPDATE schema_history SET version = NULL WHERE name IS NULL";
    fleet.change("acme", nobodys).await;
    let told = fleet.migrate(&["resume"]).await.expect(1).stdout;
    assert!(told.contains("a row of public.schema_history has no version"), "{told}");
    let drift = fleet.migrate(&["drift"]).await.expect(3).stdout;
    assert!(drift.contains("migration without a number is extra"), "{drift}");
}
