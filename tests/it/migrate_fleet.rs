//! Many companies through a migration on a bad day: some poisoned, locked, drifted, paused, one deleted; the process is
//! killed on the way, and another goes on. The report says of each what happened.

use crate::migrate::{Fleet, next_version, of};
use portero_testkit::{DEADLINE, Process, StopMode, TestCluster, wait_until};
use serde_json::Value;
use std::{collections::BTreeSet, env, fs};

/// Companies; `PORTERO_FLEET=100` for as many as a release is tested with.
fn size() -> usize {
    env::var("PORTERO_FLEET").ok().map_or(32, |text| text.parse().unwrap())
}

const SQL: &str = "ALTER TABLE users ADD nickname text;
    -- portero: allow constraint-missing-not-valid: companies of a test are small
    ALTER TABLE users ADD CONSTRAINT users_email_length CHECK (char_length(email) <= 60)";

/// Lets as much time pass for a run as its leases last.
async fn expire(fleet: &Fleet) {
    let session = fleet.app.peek().await;
    session
        .batch_execute(
            "UPDATE migration_runs SET alive_until = now() - interval '1 s';
             UPDATE migration_run_tenants SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL",
        )
        .await
        .unwrap();
    session.close().await;
}

fn spawn(fleet: &Fleet, args: &[&str], points: &str) -> Process {
    let mut env = fleet.app.env().clone();
    env.insert("FAILPOINTS".to_owned(), points.to_owned());
    let mut all = fleet.args(args);
    all.push("-v");
    Process::spawn(&all, &env)
}

async fn comes_to(run: &Process, company: &str, point: &str) {
    let (point, company) = (format!("\"point\":\"{point}\""), format!("\"company\":\"{company}\""));
    wait_until(&format!("{company} to come to {point}"), DEADLINE, async || {
        run.log().iter().any(|line| line.contains(&point) && line.contains(&company))
    })
    .await;
}

async fn status(fleet: &Fleet) -> String {
    let runs = fleet.migrate(&["runs", "--json"]).await.expect(0).json();
    runs["runs"][0]["status"].as_str().unwrap().to_owned()
}

fn state<'a>(report: &'a Value, subdomain: &str) -> &'a str {
    of(report, subdomain)["state"].as_str().unwrap()
}

fn error<'a>(report: &'a Value, subdomain: &str) -> &'a str {
    of(report, subdomain)["error"].as_str().unwrap()
}

#[tokio::test]
async fn a_fleet_on_a_bad_day_goes_through_a_killed_and_resumed_canary_run() {
    let names: Vec<String> = (0..size()).map(|number| format!("company-{number}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let fleet = Fleet::of(&all).await;
    fleet.file(1, "nicknames", SQL);
    let mut rest = all[size() / 3..].iter().copied();
    let mut some = |count| rest.by_ref().take(count).collect::<Vec<&str>>();
    let (poisoned, locked, drifted, paused) = (some(3), some(2), some(2), some(3));
    let (deleted, begun, committed) = (some(1)[0], some(1)[0], some(1)[0]);

    for company in &poisoned {
        let sql = "INSERT INTO users (id, email, password_hash, role)
                   VALUES (gen_random_uuid(), repeat('x', 60) || '@secret.example', '', 'member')";
        fleet.change(company, sql).await;
    }
    let mut held = Vec::new();
    for company in &locked {
        held.push(fleet.lock(company).await);
    }
    for company in &drifted {
        fleet.change(company, "UPDATE schema_history SET checksum = '7' || checksum WHERE version = 2").await;
    }
    for company in &paused {
        fleet.app.portero(&["tenant", "pause", company]).run().await.expect(0);
    }
    fleet.app.portero(&["tenant", "delete", deleted, "--yes"]).run().await.expect(0);

    // Killed with one that is about to begin, one that is migrated and not written down, and others not begun.
    let args = ["run", "--jobs", "4", "--lock-timeout", "200ms", "--max-failures", "50"];
    let points = format!("{begun}/fleet::begun=pause;{committed}/fleet::migrated=pause");
    let mut run = spawn(&fleet, &args, &points);
    comes_to(&run, begun, "fleet::begun").await;
    comes_to(&run, committed, "fleet::migrated").await;
    run.kill();
    assert_eq!(fleet.truth(committed, "nickname").await, ((1..=next_version()).collect(), true));
    assert!(!fleet.truth(begun, "nickname").await.1);
    expire(&fleet).await;
    assert_eq!(status(&fleet).await, "interrupted");
    let open = fleet
        .query("SELECT subdomain FROM migration_run_tenants WHERE state IN ('pending', 'running')")
        .await;
    assert!(open.len() > 3, "it was killed on the way: {open:?}");

    let xml = fleet.dir.join("report.xml");
    let resumed = fleet.migrate(&["resume", "--json", "--report", xml.to_str().unwrap()]).await.expect(3);
    let report = resumed.json();
    assert_eq!(report["run"]["status"], "finished", "{report}");
    let bad: BTreeSet<&str> = [&poisoned[..], &locked, &drifted].concat().into_iter().collect();
    for company in &all {
        let expected = if bad.contains(company) { "failed" } else { "done" };
        assert_eq!(state(&report, company), expected, "{}", of(&report, company));
        let truth = fleet.truth(company, "nickname").await;
        let versions = (1..=next_version() - i32::from(bad.contains(company))).collect::<Vec<_>>();
        assert_eq!(truth, (versions, !bad.contains(company)), "{company}: the report says what is so");
    }
    for company in &poisoned {
        let why = error(&report, company);
        assert!(why.contains("nicknames failed") && why.contains("users_email_length"), "{why}");
        assert!(!why.contains("secret"), "{why}");
    }
    for company in &locked {
        let why = error(&report, company);
        assert!(why.contains("a lock was not free within 200 ms, held by pid"), "{why}");
        assert!(why.contains("a long report"), "{why}");
    }
    for company in &drifted {
        assert!(error(&report, company).contains("V2__sessions was applied, and it is not"), "{report}");
    }
    assert_eq!(of(&report, all[0])["wave"], 1);
    assert_eq!(of(&report, all[1])["wave"], 2);
    let xml = fs::read_to_string(xml).unwrap();
    assert!(xml.contains(&format!("tests=\"{}\" failures=\"7\"", size())), "{xml}");
    fleet.app.guest(paused[0]).get("/api/v1/ping").await.expect_problem(503, "tenant-paused");
    fleet.app.guest(all[0]).get("/api/v1/ping").await.expect(200);

    // What was in the way is removed.
    for session in held {
        session.close().await;
    }
    for company in &poisoned {
        fleet.change(company, "DELETE FROM users WHERE email LIKE '%secret%'").await;
    }
    for company in &drifted {
        fleet
            .change(company, "UPDATE schema_history SET checksum = substr(checksum, 2) WHERE version = 2")
            .await;
    }
    let last = fleet.migrate(&["resume", "--json"]).await.expect(0).json();
    assert_eq!(last["run"]["done"], size(), "{last}");
    fleet.all_have("nickname").await;
}

#[tokio::test]
async fn a_run_that_was_frozen_past_its_leases_finds_that_another_has_gone_on() {
    let fleet = Fleet::of(&["acme", "globex", "initech"]).await;
    fleet.file(1, "nicknames", SQL);
    let held = fleet.lock("acme").await;
    let mut run = spawn(&fleet, &["run", "--waves", "100%", "--lock-timeout", "20s"], "");
    let waiting = "SELECT count(*)::text FROM pg_locks WHERE NOT granted";
    wait_until("acme to wait", DEADLINE, async || fleet.query(waiting).await == ["1"]).await;
    run.suspend();
    expire(&fleet).await;
    held.close().await;
    let resumed = fleet.migrate(&["resume", "--json"]).await.expect(0).json();
    assert_eq!(resumed["run"]["done"], 3, "{resumed}");
    fleet.all_have("nickname").await;
    let before = fleet.query("SELECT to_jsonb(t)::text FROM migration_run_tenants t ORDER BY position").await;
    run.resume();
    assert!(run.ended().await.success(), "{:?}", run.log());
    let after = fleet.query("SELECT to_jsonb(t)::text FROM migration_run_tenants t ORDER BY position").await;
    assert_eq!(before, after, "what it found out too late doesn't count");
}

#[tokio::test]
async fn a_run_that_is_told_to_stop_begins_no_more_and_is_gone_on_with() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    fleet.file(1, "nicknames", SQL);
    let held = fleet.lock("acme").await;
    let mut run = spawn(&fleet, &["run", "--waves", "1,100%", "--lock-timeout", "1s"], "");
    let waiting = "SELECT count(*)::text FROM pg_locks WHERE NOT granted";
    wait_until("acme to wait", DEADLINE, async || fleet.query(waiting).await == ["1"]).await;
    assert_eq!(run.terminate().await.code(), Some(1), "nobody has it: {:?}", run.log());
    assert!(run.stdout().contains("2 not begun. The run is interrupted."), "{}", run.stdout());
    assert_eq!(status(&fleet).await, "interrupted");
    held.close().await;
    fleet.migrate(&["resume"]).await.expect(0);
    fleet.all_have("nickname").await;
}

#[tokio::test]
async fn servers_are_migrated_side_by_side_and_one_that_is_away_fails_its_own_tenants_alone() {
    let fleet = Fleet::of(&["acme", "initech"]).await;
    let second = TestCluster::private().await;
    let companies = fleet.app.sign_up_on("second", &second, second.address(), &["globex", "umbrella"]).await;
    fleet.file(1, "nicknames", SQL);
    second.halt(StopMode::Fast).await;
    let report = fleet.migrate(&["run", "--waves", "100%", "--json"]).await.expect(3).json();
    for company in ["acme", "initech"] {
        assert_eq!((state(&report, company), &of(&report, company)["server"]), ("done", &"main".into()));
    }
    for company in ["globex", "umbrella"] {
        assert_eq!(state(&report, company), "failed", "{report}");
        assert!(error(&report, company).contains("the login failed"), "{report}");
    }
    second.resume().await;
    let resumed = fleet.migrate(&["resume", "--json"]).await.expect(0).json();
    assert_eq!(resumed["run"]["done"], 4, "{resumed}");
    fleet.all_have("nickname").await;

    // One on each is under way in the same moment.
    fleet.file(2, "names", "ALTER TABLE users ADD names text");
    let mut held = vec![fleet.lock("acme").await, fleet.lock("initech").await];
    for company in &companies {
        let session = second.portero(&fleet.app.login_of(company).await.name).await;
        session.batch_execute("BEGIN; SELECT count(*) FROM users").await.unwrap();
        held.push(session);
    }
    let run = fleet.migrate(&["run", "--waves", "100%", "--jobs", "1", "--lock-timeout", "30s", "--json"]);
    let meanwhile = async {
        let there = second.superuser("postgres").await;
        let waiting = "SELECT count(DISTINCT pid)::text FROM pg_locks WHERE NOT granted";
        wait_until("one on each server to wait", DEADLINE, async || {
            let elsewhere: String = there.query_one(waiting, &[]).await.unwrap().get(0);
            fleet.query(waiting).await == ["1"] && elsewhere == "1"
        })
        .await;
        for session in held {
            session.close().await;
        }
    };
    let (ran, ()) = tokio::join!(run, meanwhile);
    assert_eq!(ran.expect(0).json()["run"]["done"], 4);
}
