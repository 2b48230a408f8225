//! What the lint says of which text.

use super::*;

/// The rules that stop a run.
fn stops(sql: &str) -> Vec<String> {
    let told = lint("V9__test", sql);
    told.iter().filter(|complaint| complaint.stops()).map(|complaint| complaint.rule.clone()).collect()
}

#[test]
fn what_blocks_for_long_stops_a_run() {
    for (sql, rule) in [
        ("CREATE INDEX a ON users (email);", "require-concurrent-index-creation"),
        ("CREATE INDEX CONCURRENTLY a ON users (email);", "needs-no-transaction"),
        ("DROP INDEX CONCURRENTLY users_a;", "needs-no-transaction"),
        ("REINDEX INDEX CONCURRENTLY users_a;", "needs-no-transaction"),
        ("ALTER TABLE visits DETACH PARTITION visits_old CONCURRENTLY;", "needs-no-transaction"),
        ("VACUUM users;", "needs-no-transaction"),
        ("REINDEX TABLE users;", "require-concurrent-reindex"),
        ("ALTER TABLE visits DETACH PARTITION visits_old;", "require-concurrent-partition-detach"),
        ("ALTER TABLE users ADD COLUMN n bigserial PRIMARY KEY;", "adding-serial-primary-key-field"),
        ("TRUNCATE sessions CASCADE;", "ban-truncate-cascade"),
        ("ALTER TABLE users ALTER COLUMN role TYPE varchar(10);", "changing-column-type"),
        ("ALTER TABLE users ADD COLUMN x uuid DEFAULT gen_random_uuid();", "adding-field-with-default"),
        (
            "ALTER TABLE users ADD COLUMN x int GENERATED ALWAYS AS (1 + 1) STORED;",
            "adding-field-with-default",
        ),
        ("ALTER TABLE users ALTER COLUMN disabled_at SET NOT NULL;", "adding-not-nullable-field"),
        ("ALTER TABLE users ADD CONSTRAINT c CHECK (email <> '');", "constraint-missing-not-valid"),
        (
            "ALTER TABLE users ADD CONSTRAINT c CHECK (email <> '') NOT VALID; ALTER TABLE users VALIDATE CONSTRAINT c;",
            "constraint-missing-not-valid",
        ),
        (
            "ALTER TABLE sessions ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES users;",
            "adding-foreign-key-constraint",
        ),
        ("ALTER TABLE sessions ADD COLUMN by uuid REFERENCES users;", "adding-foreign-key-constraint"),
        ("ALTER TABLE users ADD CONSTRAINT u UNIQUE (role);", "disallowed-unique-constraint"),
        ("VACUUM FULL users;", "blocking-upkeep"),
        ("VACUUM (FULL, ANALYZE) users;", "blocking-upkeep"),
        ("CLUSTER users USING users_pkey;", "blocking-upkeep"),
        ("LOCK TABLE users IN SHARE MODE;", "explicit-lock"),
        ("BEGIN; SELECT 1; COMMIT;", "transaction-nesting"),
        ("REFRESH MATERIALIZED VIEW counts;", "blocking-upkeep"),
        ("ALTER TABLE sessions SET UNLOGGED;", "rewrites-the-table"),
        ("ALTER TABLE sessions SET LOGGED;", "rewrites-the-table"),
        ("ALTER TABLE sessions SET ACCESS METHOD heap2;", "rewrites-the-table"),
        ("ALTER TABLE sessions SET TABLESPACE fast;", "rewrites-the-table"),
        ("ALTER INDEX users_email_key SET TABLESPACE fast;", "rewrites-the-table"),
        ("ALTER MATERIALIZED VIEW counts SET ACCESS METHOD heap2;", "rewrites-the-table"),
        ("ALTER TABLE users ADD COLUMN number SERIAL;", "rewrites-the-table"),
        ("ALTER TABLE users ADD COLUMN number smallserial;", "rewrites-the-table"),
        ("ALTER TABLE users ADD COLUMN number serial2;", "rewrites-the-table"),
        ("ALTER TABLE users ADD COLUMN number serial4;", "rewrites-the-table"),
        ("ALTER TABLE users ADD COLUMN number serial8;", "rewrites-the-table"),
        ("ALTER TABLE users ADD COLUMN number bigserial;", "rewrites-the-table"),
        ("COPY users TO STDOUT;", "needs-a-client"),
        ("COPY users FROM STDIN;", "needs-a-client"),
        ("TRUNCATE sessions;", "takes-every-row"),
        ("SET lock_timeout = 0;", "session-setting"),
        ("SET LOCAL statement_timeout TO '0';", "session-setting"),
        ("SET ROLE postgres;", "session-setting"),
        ("SET SESSION AUTHORIZATION postgres;", "session-setting"),
        ("RESET ALL;", "session-setting"),
        ("RESET ROLE;", "session-setting"),
        ("RESET SESSION AUTHORIZATION;", "session-setting"),
        ("DISCARD ALL;", "session-setting"),
        ("CREATE ROLE reader;", "beyond-the-database"),
        ("ALTER ROLE reader NOLOGIN;", "beyond-the-database"),
        ("DROP ROLE reader;", "beyond-the-database"),
        ("CREATE DATABASE other;", "beyond-the-database"),
        ("ALTER DATABASE other SET work_mem = '1GB';", "beyond-the-database"),
        ("ALTER SYSTEM SET work_mem = '1GB';", "beyond-the-database"),
        ("DROP DATABASE other;", "beyond-the-database"),
    ] {
        assert!(stops(sql).contains(&rule.to_owned()), "{sql}: {:?}", lint("V9__test", sql));
    }
}

#[test]
fn what_the_version_before_uses_is_taken_away_by_a_contract_step_alone() {
    for (sql, rule) in [
        ("ALTER TABLE users DROP COLUMN role;", "ban-drop-column"),
        ("DROP TABLE users;", "ban-drop-table"),
        ("ALTER TABLE users RENAME COLUMN role TO kind;", "renaming-column"),
        ("ALTER TABLE users RENAME TO people;", "renaming-table"),
        ("ALTER TABLE users ADD COLUMN x int NOT NULL;", "adding-required-field"),
        ("DROP VIEW people;", "drops-what-is-used"),
        ("DROP MATERIALIZED VIEW counts;", "drops-what-is-used"),
        ("DROP FUNCTION f(int);", "drops-what-is-used"),
        ("DROP PROCEDURE p(int);", "drops-what-is-used"),
        ("DROP ROUTINE f(int);", "drops-what-is-used"),
        ("DROP AGGREGATE longest(text);", "drops-what-is-used"),
        ("DROP TYPE colour;", "drops-what-is-used"),
        ("DROP DOMAIN postcode;", "drops-what-is-used"),
        ("DROP SEQUENCE numbers;", "drops-what-is-used"),
        ("DROP SCHEMA app;", "drops-what-is-used"),
        ("DROP EXTENSION citext;", "drops-what-is-used"),
        ("ALTER TYPE colour RENAME VALUE 'red' TO 'rot';", "renames-what-is-used"),
        ("ALTER VIEW people RENAME TO users2;", "renames-what-is-used"),
        ("ALTER MATERIALIZED VIEW counts RENAME TO sums;", "renames-what-is-used"),
        ("ALTER FUNCTION f(int) RENAME TO g;", "renames-what-is-used"),
        ("ALTER PROCEDURE p(int) RENAME TO q;", "renames-what-is-used"),
        ("ALTER ROUTINE f(int) RENAME TO g;", "renames-what-is-used"),
        ("ALTER DOMAIN postcode RENAME TO zip;", "renames-what-is-used"),
        ("ALTER SEQUENCE numbers RENAME TO digits;", "renames-what-is-used"),
        ("ALTER SCHEMA app RENAME TO app2;", "renames-what-is-used"),
    ] {
        assert!(stops(sql).contains(&rule.to_owned()), "{sql}: {:?}", lint("V9__test", sql));
        let contract = format!("-- portero: contract: nothing has used it since 1.4\n{sql}");
        let left = stops(&contract);
        assert!(!left.contains(&rule.to_owned()), "{sql}: {left:?}");
        assert!(
            !stops(&format!("-- portero: contract:\n{sql}")).is_empty(),
            "without a reason it is none: {sql}"
        );
    }
    let both = "-- portero: contract: gone\nALTER TABLE users ALTER COLUMN role TYPE int USING 1;";
    assert_eq!(stops(both), ["changing-column-type"], "a contract step blocks nobody, either");
}

#[test]
fn what_is_well_is_not_spoken_of() {
    for sql in [
        "CREATE TABLE a (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, u uuid REFERENCES users); CREATE INDEX b ON a (u);",
        "ALTER TABLE users ADD COLUMN x text;",
        "ALTER TABLE users ADD COLUMN serial text;",
        "ALTER TABLE users ADD COLUMN x text NOT NULL DEFAULT '';",
        "ALTER TABLE users ADD COLUMN x timestamptz DEFAULT now();",
        "ALTER TABLE users ADD CONSTRAINT c CHECK (email <> '') NOT VALID;",
        "ALTER TABLE users VALIDATE CONSTRAINT c;",
        "CREATE TABLE numbered (id bigserial PRIMARY KEY);",
        "SET CONSTRAINTS ALL DEFERRED;",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY counts;",
        "-- portero: no transaction\nVACUUM users;",
        "ALTER VIEW people SET (security_barrier);",
        "COPY users FROM '/srv/users';",
        "ALTER TABLE sessions ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES users NOT VALID;",
        "-- portero: no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a ON users (email);",
        "UPDATE users SET role = 'admin' WHERE role = 'root';",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; DROP TABLE users $$;",
        "COMMENT ON TABLE users IS 'DROP TABLE users; VACUUM FULL';",
    ] {
        assert_eq!(lint("V9__test", sql), [], "{sql}");
    }
}

#[test]
fn built_in_migrations_are_well() {
    for migration in crate::TENANT_MIGRATIONS.all() {
        let told = lint(&migration.to_string(), &migration.sql);
        assert!(!told.iter().any(Complaint::stops), "{told:?}");
    }
}

#[test]
fn a_reason_beside_a_statement_is_for_that_statement() {
    let index = "CREATE INDEX a ON users (email);";
    let mark = "-- portero: allow require-concurrent-index-creation: 40 rows in each";
    assert!(stops(&format!("{mark}\n{index}")).is_empty());
    assert_eq!(stops(&format!("{mark}\n{index}\n{index}")), ["require-concurrent-index-creation"]);
    assert_eq!(stops(&format!("{index}\n{mark}")), ["require-concurrent-index-creation"]);
    assert_eq!(
        stops(&format!("-- portero: allow ban-drop-table: no\n{index}")),
        ["require-concurrent-index-creation"]
    );
    let told = lint("V9__test", &format!("\n{mark}\n{index}"));
    assert_eq!((told[0].line, told[0].allowed.as_deref()), (3, Some("40 rows in each")));
    assert_eq!(
        stops(&format!("-- portero: allow require-concurrent-index-creation\n{index}")),
        ["mark", "require-concurrent-index-creation"],
        "without a reason"
    );
    assert_eq!(
        stops(&format!("-- squawk-ignore require-concurrent-index-creation\n{index}")),
        ["require-concurrent-index-creation"],
        "nor by a mark that takes none"
    );
    assert_eq!(stops("SELECT 1;\n-- portero: no transaction\n"), ["mark"], "that is for the first line");
}

#[test]
fn outside_of_a_transaction_each_statement_can_be_repeated() {
    // Portero itself looks whether that one is there, and whole.
    assert!(stops("-- portero: no transaction\nCREATE INDEX CONCURRENTLY a ON users (email);").is_empty());
    assert_eq!(stops("-- portero: no transaction\nCREATE TABLE a (id int);"), ["prefer-robust-stmts"]);
}

#[test]
fn what_can_not_be_read_is_said_to_be_so() {
    assert!(stops("CREATE TABEL a (id int);").contains(&"syntax".to_owned()));
}

#[test]
fn what_may_be_fine_is_warned_of() {
    for (sql, rule) in [
        ("DO $$ BEGIN DROP TABLE users; END $$;", "unread-block"),
        ("UPDATE users SET role = 'member';", "whole-table-write"),
        ("DELETE FROM sessions;", "whole-table-write"),
        ("DROP INDEX users_a;", "require-concurrent-index-deletion"),
        ("ALTER TABLE users ALTER COLUMN email DROP NOT NULL;", "ban-drop-not-null"),
    ] {
        let told = lint("V9__test", sql);
        let told: Vec<_> = told.iter().map(|one| (one.rule.as_str(), one.level)).collect();
        assert_eq!(told, [(rule, Level::Warning)], "{sql}");
    }
}
