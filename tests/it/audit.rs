//! The platform's audit log: who did what, written with the change; and that it tells if anybody laid hands on it.

use portero_auth::MasterKey;
use portero_pg::Session;
use portero_registry::{Actor, Entry, Outcome, Registry, Verb};
use portero_testkit::{Answer, DEADLINE, TestApp, join_all, wait_for};
use serde_json::{Value, json};

async fn entries(app: &TestApp, args: &[&str]) -> Vec<Value> {
    let args = [&["audit", "list", "--json"], args].concat();
    let listed = app.portero(&args).run().await.expect(0).json();
    listed["entries"].as_array().unwrap().clone()
}

async fn entry(app: &TestApp, verb: &str) -> Value {
    wait_for(verb, DEADLINE, async || entries(app, &[]).await.into_iter().find(|entry| entry["verb"] == verb))
        .await
}

async fn verify(app: &TestApp, more: &[&str], code: i32) -> Value {
    app.portero(&[&["audit", "verify", "--json"], more].concat()).run().await.expect(code).json()
}

fn note(number: usize) -> Entry {
    Entry {
        actor: Actor::System { task: "test" },
        verb: Verb::DoctorMend,
        outcome: Outcome::Done,
        tenant: None,
        subdomain: None,
        details: json!({ "number": number, "text": "ñ\u{1F6AA}\" \\ \u{7}" }),
    }
}

#[tokio::test]
async fn what_is_done_is_written_down_with_who_did_it_to_whom_and_from_where() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let cli = |args: &'static [&'static str]| app.portero(args).run();
    cli(&["tenant", "pause", "acme", "--reason", "unpaid"]).await.expect(0);
    cli(&["tenant", "pause", "acme"]).await.expect(0);
    cli(&["tenant", "resume", "acme"]).await.expect(0);
    cli(&["tenant", "weight", "acme", "7"]).await.expect(0);
    cli(&["tenant", "pause", "nobody"]).await.expect(1);
    cli(&["tenant", "rename", "acme", "apex-inc"]).await.expect(0);
    cli(&["server", "drain", "main"]).await.expect(0);
    cli(&["server", "drain", "main", "--undo"]).await.expect(0);
    cli(&["operator", "add", "ana"]).await.expect(0);
    let paused = app.operator("POST", "/admin/v1/tenants/globex/pause").await;
    paused.header("user-agent", "script/1").json(&json!({})).send().await.expect(200);
    let deleted = app.operator("POST", "/admin/v1/tenants/globex/delete").await;
    deleted.json(&json!({ "confirm": "globex" })).send().await.expect(200);

    let all = entries(&app, &[]).await;
    let told: Vec<_> = all
        .iter()
        .rev()
        .map(|entry| format!("{} {}", entry["verb"].as_str().unwrap(), entry["outcome"].as_str().unwrap()))
        .collect();
    let expected = [
        "tenant.sign-up done",
        "tenant.made done",
        "tenant.sign-up done",
        "tenant.made done",
        "tenant.pause done",
        "tenant.pause done",
        "tenant.resume done",
        "tenant.weight done",
        "tenant.pause refused",
        "tenant.rename done",
        "server.drain done",
        "server.undrain done",
        "operator.add done",
        "tenant.pause done",
        "tenant.delete done",
    ];
    assert_eq!(told, expected);
    let numbers: Vec<_> = all.iter().rev().map(|entry| entry["seq"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=15).collect::<Vec<_>>());

    let first = |verb: &str| all.iter().rev().find(|entry| entry["verb"] == verb).unwrap();
    let signed_up = first("tenant.sign-up");
    assert_eq!(
        (&signed_up["actor_kind"], &signed_up["subdomain"], &signed_up["tenant"], &signed_up["address"]),
        (&json!("signup"), &json!("acme"), &json!(acme.tenant_id), &json!("127.0.0.1"))
    );
    let pause = first("tenant.pause");
    assert_eq!((&pause["actor_kind"], &pause["details"]["reason"]), (&json!("cli"), &json!("unpaid")));
    assert!(pause["actor"].as_str().unwrap().contains('@'), "{pause}");
    let renamed = first("tenant.rename");
    assert_eq!((&renamed["subdomain"], &renamed["details"]["to"]), (&json!("acme"), &json!("apex-inc")));
    let by_api = all.iter().find(|entry| entry["verb"] == "tenant.pause").unwrap();
    assert_eq!(
        (&by_api["actor_kind"], &by_api["actor"], &by_api["tenant"], &by_api["agent"], &by_api["address"]),
        (
            &json!("operator"),
            &json!("tester"),
            &json!(globex.tenant_id),
            &json!("script/1"),
            &json!("127.0.0.1")
        )
    );
    assert_eq!(entries(&app, &["--tenant", "globex"]).await.len(), 4);
    assert_eq!(entries(&app, &["--actor", "tester", "--since", "1h", "--limit", "1"]).await.len(), 1);
    assert_eq!(entries(&app, &["--since", "2100-01-01T00:00:00Z"]).await.len(), 0);
    let table = app.portero(&["audit", "list"]).run().await.expect(0).stdout;
    assert!(table.starts_with("NUMBER") && table.lines().count() == 16, "{table}");
    assert_eq!(verify(&app, &[], 0).await["entries"], 15);
    let text = json!(all).to_string();
    for secret in app.secrets().into_iter().chain([acme.password.as_str(), app.operator_token().await]) {
        assert!(!text.contains(secret), "the audit log has a secret");
    }
}

#[tokio::test]
async fn an_act_that_found_everything_as_it_was_asked_to_be_says_so() {
    let app = TestApp::start().await;
    let (acme, _globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let acts: [&[&str]; 8] = [
        &["tenant", "weight", "acme", "7"],
        &["tenant", "pause", "acme"],
        &["tenant", "rename", "globex", "apex-inc"],
        &["server", "drain", "main"],
        &["server", "drain", "main", "--undo"],
        &["tenant", "resume", "acme"],
        &["tenant", "delete", "acme", "--yes"],
        &["tenant", "undelete", "acme"],
    ];
    for act in acts {
        app.portero(act).run().await.expect(0);
        app.portero(act).run().await.expect(0);
        let both = entries(&app, &["--limit", "2"]).await;
        let unchanged: Vec<_> = both.iter().map(|entry| &entry["details"]["unchanged"]).collect();
        assert_eq!(unchanged, [&json!(true), &Value::Null], "{act:?}: {both:?}");
        assert!(both.iter().all(|entry| entry["outcome"] == "done"), "{act:?}: {both:?}");
    }
    // What happens on a server alone, or begins something, is no such act.
    let login = app.login_of(&acme).await;
    let superuser = app.cluster().superuser("postgres").await;
    superuser.batch_execute(&format!("ALTER ROLE {} NOLOGIN", login.name)).await.unwrap();
    app.portero(&["doctor", "--mend", "--yes"]).run().await;
    let token = app.operator_token().await;
    let form = [("token", token)];
    app.operators_http().request("POST", "localhost", "/console/login").form(&form).send().await.expect(303);
    for verb in ["doctor.mend", "operator.login"] {
        assert_eq!(entry(&app, verb).await["details"]["unchanged"], Value::Null, "{verb}");
    }
    let page = app
        .operator("GET", "/console/audit")
        .await
        .header("accept", "text/html")
        .header("accept-language", "en")
        .send()
        .await;
    assert_eq!(page.expect(200).text().matches("it was so already").count(), acts.len());
    verify(&app, &[], 0).await;
}

#[tokio::test]
async fn a_change_and_its_entry_are_both_there_or_neither() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    let session = app.peek().await;
    // A log that can't be written: nothing is changed that it couldn't tell of.
    session.batch_execute("ALTER TABLE audit RENAME TO audit_away").await.unwrap();
    app.portero(&["tenant", "weight", "acme", "9"]).run().await.expect(1);
    session.batch_execute("ALTER TABLE audit_away RENAME TO audit").await.unwrap();
    let acme = app.portero(&["tenant", "show", "acme", "--json"]).run().await.expect(0).json();
    assert_eq!(acme["weight"], 1);
    assert_eq!(verify(&app, &[], 0).await["entries"], 2);
}

#[tokio::test]
async fn fifty_at_once_keep_one_chain() {
    let app = TestApp::start().await;
    let registry = app.registry().await;
    let appended = join_all((0..50).map(async |number| registry.audit_append(&note(number)).await)).await;
    let mut numbers: Vec<_> = appended.into_iter().map(|number| number.unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
    let report = verify(&app, &[], 0).await;
    assert_eq!((&report["intact"], &report["entries"]), (&json!(true), &json!(50)));
}

/// Lays hands on the log as whoever owns the database can, looks, and puts all back.
async fn tampered(app: &TestApp, session: &Session, how: &str, expect: &[&str]) -> String {
    session.batch_execute("ALTER TABLE audit DISABLE TRIGGER audit_append_only").await.unwrap();
    session.batch_execute(how).await.unwrap();
    let report = verify(app, expect, 1).await;
    session
        .batch_execute(
            "TRUNCATE audit; INSERT INTO audit SELECT * FROM kept;
             UPDATE audit_head SET (seq, hash) = (SELECT seq, hash FROM kept ORDER BY seq DESC LIMIT 1);
             ALTER TABLE audit ENABLE TRIGGER audit_append_only",
        )
        .await
        .unwrap();
    verify(app, &[], 0).await;
    assert_eq!(report["intact"], false);
    report["fault"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_lays_hands_on_it_is_told_of() {
    let app = TestApp::start().await;
    let registry = app.registry().await;
    for number in 0..10 {
        registry.audit_append(&note(number)).await.unwrap();
    }
    let kept = verify(&app, &[], 0).await["head"].as_str().unwrap().to_owned();
    let session = app.peek().await;
    session.batch_execute("CREATE TABLE kept AS TABLE audit").await.unwrap();

    // Not by a slip.
    for slip in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"] {
        let refused = session.batch_execute(slip).await.unwrap_err();
        assert!(refused.as_db_error().unwrap().message().contains("appended to"), "{slip}");
    }
    let swap = "UPDATE audit SET seq = CASE seq WHEN 4 THEN -5 ELSE -4 END WHERE seq IN (4, 5);
                UPDATE audit SET seq = -seq WHERE seq < 0";
    let insert = "UPDATE audit SET seq = -seq - 1 WHERE seq > 4; UPDATE audit SET seq = -seq WHERE seq < 0;
                  INSERT INTO audit SELECT 5, at, actor_kind, actor, verb, outcome, tenant_id, subdomain, address,
                         agent, details, hash, seal FROM kept WHERE seq = 4";
    let cut = "DELETE FROM audit WHERE seq > 7";
    let cut_well = "DELETE FROM audit WHERE seq > 7;
                    UPDATE audit_head SET (seq, hash) = (SELECT seq, hash FROM kept WHERE seq = 7)";
    let fork =
        "ALTER TABLE audit DROP CONSTRAINT audit_pkey; INSERT INTO audit SELECT * FROM kept WHERE seq = 6";
    for (how, told) in [
        ("UPDATE audit SET actor = 'somebody else' WHERE seq = 3", "row 3 was changed"),
        ("UPDATE audit SET at = at + interval '1 second' WHERE seq = 3", "row 3 was changed"),
        ("UPDATE audit SET details = '{}' WHERE seq = 10", "row 10 was changed"),
        ("UPDATE audit SET address = '' WHERE seq = 2", "row 2 was changed"),
        (
            "UPDATE audit SET seal = seal || 'x'::bytea WHERE seq = 3",
            "row 3 was not written with this master key",
        ),
        ("DELETE FROM audit WHERE seq = 5", "row 5 is missing"),
        ("DELETE FROM audit WHERE seq = 1", "row 1 is missing"),
        (swap, "row 4 was changed"),
        (insert, "row 5 was changed"),
        (cut, "ends at row 7"),
        (fork, "row 6 is there more than once"),
    ] {
        let fault = tampered(&app, &session, how, &[]).await;
        assert!(fault.contains(told), "{how}: {fault}");
    }
    session.batch_execute("ALTER TABLE audit ADD PRIMARY KEY (seq)").await.unwrap();

    // Cut off, with the head where it was then: only who kept the place can tell.
    let fault = tampered(&app, &session, cut_well, &["--expect", &kept]).await;
    assert!(fault.contains("row 10 is not what it was"), "{fault}");
    let other = format!("4:{}", &kept[3..]);
    let fault = tampered(&app, &session, "SELECT 1", &["--expect", &other]).await;
    assert!(fault.contains("row 4 is not what it was"), "{fault}");

    // Written anew from there by one who computes every hash right, and has no master key.
    session.batch_execute("ALTER TABLE audit DISABLE TRIGGER audit_append_only").await.unwrap();
    session.batch_execute(cut_well).await.unwrap();
    let url = app.env()["PORTERO_REGISTRY_URL"].parse().unwrap();
    let forger = Registry::new(url, &MasterKey::generate());
    for number in 0..3 {
        forger.audit_append(&note(number)).await.unwrap();
    }
    let report = verify(&app, &[], 1).await;
    assert!(
        report["fault"].as_str().unwrap().contains("row 8 was not written with this master key"),
        "{report}"
    );
    let report = app.operator("GET", "/admin/v1/audit/verify").await.send().await.expect(200).json();
    assert_eq!((&report["intact"], &report["entries"]), (&json!(false), &json!(7)));
}

#[tokio::test]
async fn what_the_doors_refuse_is_told_of_and_a_flood_of_it_is_a_number() {
    let app = TestApp::builder().env("PORTERO_LOGIN_PER_ADDRESS_MINUTE", "200").start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    app.guest("globex").with_token(&acme.token).get("/api/v1/me").await.expect_problem(401, "unauthorized");
    let stray = entry(&app, "security.cross-tenant-token").await;
    assert_eq!(
        (&stray["actor_kind"], &stray["tenant"], &stray["subdomain"], &stray["details"]["token_of"]),
        (&json!("outsider"), &json!(globex.tenant_id), &json!("globex"), &json!(acme.tenant_id))
    );
    assert_eq!((&stray["outcome"], &stray["address"]), (&json!("refused"), &json!("127.0.0.1")));
    // One that only says so isn't worth a word.
    let forged = format!("{}x", &acme.token[..acme.token.len() - 1]);
    app.guest("globex").with_token(&forged).get("/api/v1/me").await.expect(401);

    let from_elsewhere = async || -> Answer {
        let request =
            app.http().request("POST", &acme.host, "/logout").header("origin", "https://evil.example");
        request.form(&[]).send().await
    };
    join_all((0..300).map(async |_| from_elsewhere().await.expect(403))).await;
    let refused = entry(&app, "security.cross-origin").await;
    assert_eq!(refused["subdomain"], "acme");
    app.operators("/admin/v1/tenants").bearer("ptr_op_guess").send().await.expect(401);
    entry(&app, "security.operator-refused").await;
    app.operators_http().request("GET", "evil.example", "/healthz").send().await.expect(421);
    entry(&app, "security.misdirected").await;
    app.http().request("GET", "not a host", "/").send().await.expect(400);
    entry(&app, "security.host-invalid").await;

    let written = entries(&app, &[]).await;
    let rows = written.iter().filter(|entry| entry["verb"] == "security.cross-origin").count();
    assert!(rows <= 2, "{rows} rows of one kind at one door within a minute");
    assert_eq!(
        written.iter().filter(|entry| entry["verb"] == "security.cross-tenant-token").count(),
        1,
        "{written:?}"
    );
    verify(&app, &[], 0).await;
}

#[tokio::test]
async fn refusals_are_written_down_at_the_end_and_sign_ups_that_fail_are_not() {
    let mut app = TestApp::start().await;
    let (taken, _) = app.ask_for("acme").await;
    let job = taken.expect(202).str_at("/job");
    app.job_at_rest(&job).await;
    for _ in 0..5 {
        app.ask_for("acme").await.0.expect_problem(409, "taken");
    }
    app.http().request("GET", "not a host", "/").send().await.expect(400);
    // The last of them are written when the process ends.
    assert!(app.terminate().await.success());
    let verbs: Vec<_> = entries(&app, &[]).await.iter().map(|entry| entry["verb"].clone()).collect();
    assert_eq!(verbs, ["security.host-invalid", "tenant.made", "tenant.sign-up"]);
    verify(&app, &[], 0).await;
}

#[tokio::test]
async fn what_portero_does_by_itself_and_what_comes_to_nothing_is_written_down_too() {
    let app = TestApp::builder().failpoints("verify::before=1*return").start().await;
    let (accepted, _) = app.ask_for("acme").await;
    let undone = accepted.expect(202).json();
    assert_eq!(app.job_at_rest(undone["job"].as_str().unwrap()).await["status"], "failed");
    let about = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        [text("verb"), text("outcome"), text("actor_kind"), text("actor"), text("subdomain"), text("tenant")]
    };
    let id = undone["id"].as_str().unwrap();
    assert_eq!(
        about(&entry(&app, "tenant.undone").await),
        ["tenant.undone", "done", "system", "worker", "acme", id]
    );

    // The grace is over.
    let globex = app.sign_up("globex").await;
    let made = about(&entry(&app, "tenant.made").await);
    assert_eq!(made, ["tenant.made", "done", "system", "worker", "globex", globex.tenant_id.as_str()]);
    app.portero(&["tenant", "delete", "globex", "--yes"]).run().await.expect(0);
    let session = app.peek().await;
    session.batch_execute("UPDATE tenants SET purge_after = now()").await.unwrap();
    let id = globex.tenant_id.as_str();
    let purged = about(&entry(&app, "tenant.purged").await);
    assert_eq!(purged, ["tenant.purged", "done", "system", "worker", "globex", id]);
    let begun = about(&entry(&app, "tenant.purge").await);
    assert_eq!(begun, ["tenant.purge", "done", "system", "reaper", "globex", id]);

    // A fence that the doctor lowers.
    let initech = app.sign_up("initech").await;
    let login = app.login_of(&initech).await;
    let superuser = app.cluster().superuser("postgres").await;
    superuser.batch_execute(&format!("ALTER ROLE {} NOLOGIN", login.name)).await.unwrap();
    app.portero(&["doctor", "--mend", "--yes"]).run().await;
    let mended = entry(&app, "doctor.mend").await;
    assert_eq!(about(&mended)[..3], ["doctor.mend", "done", "cli"]);
    assert_eq!(
        (&mended["details"]["kind"], &mended["details"]["object"], &mended["subdomain"]),
        (&json!("shut_fence"), &json!(login.name), &json!("initech"))
    );

    // Who logs out says so.
    let token = app.operator_token().await;
    let form = [("token", token)];
    let login = app.operators_http().request("POST", "localhost", "/console/login").form(&form).send().await;
    let cookie = login.expect(303).cookies().next().unwrap().split(';').next().unwrap().to_owned();
    let out = app.operators_http().request("POST", "localhost", "/console/logout").header("cookie", &cookie);
    out.header("sec-fetch-site", "same-origin").send().await.expect(303);
    assert_eq!(about(&entry(&app, "operator.logout").await)[1..4], ["done", "operator", "tester"]);
    assert!(verify(&app, &[], 0).await["intact"].as_bool().unwrap());
}

#[tokio::test]
async fn a_log_without_its_head_is_at_fault_also_where_all_of_it_is_gone() {
    let app = TestApp::start().await;
    app.registry().await.audit_append(&note(1)).await.unwrap();
    let session = app.peek().await;
    let how = "ALTER TABLE audit DISABLE TRIGGER audit_append_only; TRUNCATE audit; DELETE FROM audit_head";
    session.batch_execute(how).await.unwrap();
    assert!(verify(&app, &[], 1).await["fault"].as_str().unwrap().contains("head is missing"));
}

#[tokio::test]
async fn a_row_that_portero_never_wrote_is_told_as_at_fault_wherever_it_is_read() {
    let app = TestApp::start().await;
    let registry = app.registry().await;
    for number in 0..6 {
        registry.audit_append(&note(number)).await.unwrap();
    }
    let session = app.peek().await;
    let loosen = "CREATE TABLE kept AS TABLE audit; ALTER TABLE audit DROP CONSTRAINT audit_outcome_check;
                  ALTER TABLE audit ALTER verb DROP NOT NULL, ALTER at DROP NOT NULL, ALTER hash DROP NOT NULL,
                        ALTER details DROP NOT NULL, ALTER actor DROP NOT NULL, ALTER outcome DROP NOT NULL";
    session.batch_execute(loosen).await.unwrap();
    for how in [
        "at = 'infinity'",
        "at = '-infinity'",
        "at = '0044-03-15 BC'",
        "at = '20000-01-01'",
        "at = NULL",
        "verb = NULL",
        "actor = NULL, outcome = NULL",
        "details = NULL",
        "hash = NULL",
    ] {
        let change = format!("UPDATE audit SET {how} WHERE seq = 3");
        let fault = tampered(&app, &session, &change, &[]).await;
        assert!(fault.contains("row 3 holds what no entry"), "{how}: {fault}");

        session.batch_execute("ALTER TABLE audit DISABLE TRIGGER audit_append_only").await.unwrap();
        session.batch_execute(&change).await.unwrap();
        let at_fault: Vec<_> =
            entries(&app, &[]).await.into_iter().filter(|e| e["at_fault"] == true).collect();
        assert!(at_fault.len() == 1 && at_fault[0]["seq"] == 3, "{how}: {at_fault:?}");
        let table = app.portero(&["audit", "list"]).run().await.expect(0).stdout;
        assert!(table.contains("at fault") && table.lines().count() == 8, "{how}: {table}");
        let listed = app.operator("GET", "/admin/v1/audit").await.send().await.expect(200).json();
        assert_eq!(listed["entries"][3]["at_fault"], true, "{how}: {listed}");
        let page = app.operator("GET", "/console/audit").await.header("accept", "text/html").send().await;
        assert!(page.expect(200).text().contains("data-outcome=\"at-fault\""), "{how}");
        let back = "TRUNCATE audit; INSERT INTO audit SELECT * FROM kept";
        session.batch_execute(back).await.unwrap();
    }
    verify(&app, &[], 0).await;
    // The head's own row.
    session
        .batch_execute("ALTER TABLE audit_head ALTER hash DROP NOT NULL; UPDATE audit_head SET hash = NULL")
        .await
        .unwrap();
    assert!(verify(&app, &[], 1).await["fault"].as_str().unwrap().contains("head is missing"));
    app.portero(&["operator", "add", "eva"]).run().await.expect(1);
}
