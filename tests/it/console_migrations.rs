//! Runs of migrations as operators see them who are not at a command line: pages of the console, and the admin API.

use crate::{
    console::{HOSTILE, console},
    migrate::{Fleet, next_version},
};
use portero_testkit::{ChromeOptions, DEADLINE, TestApp, wait_until};
use serde_json::Value;
use std::collections::BTreeSet;

/// Fails for this company.
fn poisoned(subdomain: &str) -> String {
    format!(
        "ALTER TABLE users ADD nickname text;
         -- portero: allow constraint-missing-not-valid: it is to fail
         ALTER TABLE users ADD CONSTRAINT users_poison CHECK (email !~ '{subdomain}')"
    )
}

async fn get(app: &TestApp, path: &str) -> Value {
    app.operator("GET", path).await.send().await.expect(200).json()
}

#[tokio::test]
async fn a_run_is_seen_as_it_goes_with_who_failed_and_what_to_do_next() {
    let fleet = Fleet::of(&["acme", "globex", "initech"]).await;
    let app = &fleet.app;
    let chrome = console(app, ChromeOptions { window: (1280, 800), ..ChromeOptions::default() }).await;
    chrome.open(&format!("{}/console/migrations", app.operators_url())).await;
    assert!(chrome.text("[data-live] .notice").await.contains("No migration has been run"));

    fleet.file(1, "nicknames", &poisoned("globex"));
    let held = fleet.lock("globex").await;
    let run = fleet.migrate(&["run", "--waves", "1,100%", "--lock-timeout", "20s"]);
    let meanwhile = async {
        let waiting = "SELECT DISTINCT pid::text FROM pg_locks WHERE NOT granted";
        wait_until("globex to wait", DEADLINE, async || !fleet.query(waiting).await.is_empty()).await;
        // The list is looked at again by itself.
        chrome.find("tr[data-run] [data-state=running]").await;
        chrome.click("tr[data-run] th a").await;
        chrome.find("tr[data-migrated=globex] [data-state=running]").await;
        assert_eq!(chrome.text("tr[data-wave='1'] [data-count=done]").await, "1");
        assert!(chrome.text(".lead").await.contains("wave 2 of 2"));
        chrome.screenshot("console-migration-running").await;
        held.close().await;
    };
    let (ran, ()) = tokio::join!(run, meanwhile);
    ran.expect(3);

    // So is the run, until it is at rest; then those are shown that somebody has to do something about.
    chrome.find(".lead [data-state=incomplete]").await;
    let id = fleet.query("SELECT id::text FROM migration_runs").await.remove(0);
    let told = chrome.text("tr[data-migrated=globex]").await;
    assert!(told.contains("nicknames failed") && told.contains("users_poison"), "{told}");
    assert!(!chrome.has("tr[data-migrated=acme]").await);
    assert_eq!(chrome.text("section code").await, format!("portero migrate resume {id}"));
    chrome.screenshot("console-migration-failed").await;
    chrome.click(".chips a[href$='state=done']").await;
    chrome.find("tr[data-migrated=acme]").await;
    assert!(!chrome.has("tr[data-migrated=globex]").await);
    chrome.click("tr[data-migrated=acme] th a").await;
    chrome.find("[data-tenant=acme]").await;

    // What a server says is text; a phone in Spanish without scripts has all of it.
    let session = app.peek().await;
    session
        .execute("UPDATE migration_run_tenants SET error = $1 WHERE state = 'failed'", &[&HOSTILE])
        .await
        .unwrap();
    let options = ChromeOptions { window: (390, 844), language: "es", scripts: false };
    let phone = console(app, options).await;
    phone.open(&format!("{}/console/migrations", app.operators_url())).await;
    phone.screenshot("console-phone-migrations").await;
    phone.click("tr[data-run] th a").await;
    assert!(phone.text("tr[data-migrated=globex]").await.contains("<script>"));
    assert!(phone.text("#next").await.contains("Qué hacer ahora"));
    assert!(!phone.has("main img, main script").await);
    phone.screenshot("console-phone-migration").await;
}

#[tokio::test]
async fn runs_are_read_by_the_admin_api_page_by_page_and_by_nobody_else() {
    let fleet = Fleet::of(&["acme", "globex"]).await;
    let app = &fleet.app;
    fleet.file(1, "nicknames", &poisoned("globex"));
    fleet.migrate(&["run", "--waves", "100%"]).await.expect(3);
    fleet.migrate(&["run", "--tenant", "globex"]).await.expect(1);
    let runs = get(app, "/admin/v1/migrations").await;
    assert_eq!((runs["runs"].as_array().unwrap().len(), &runs["next"]), (2, &Value::Null), "{runs}");
    let newest = get(app, "/admin/v1/migrations?limit=1").await;
    assert_eq!(
        (&newest["runs"][0]["whole_fleet"], &newest["next"]),
        (&false.into(), &newest["runs"][0]["id"])
    );
    let next = newest["next"].as_str().unwrap();
    let older = get(app, &format!("/admin/v1/migrations?limit=1&after={next}")).await;
    assert_eq!((&older["runs"][0], &older["next"]), (&runs["runs"][1], &Value::Null));
    let run = &runs["runs"][1];
    assert_eq!(
        (&run["status"], &run["target"], &run["failed"]),
        (&"finished".into(), &next_version().into(), &1.into())
    );

    let here = format!("/admin/v1/migrations/{}", run["id"].as_str().unwrap());
    let shown = get(app, &here).await;
    assert_eq!((&shown["run"], shown["tenants"].as_array().unwrap().len()), (run, 2));
    assert_eq!((&shown["waves"][0]["number"], &shown["waves"][0]["done"]), (&1.into(), &1.into()), "{shown}");
    let failed = get(app, &format!("{here}?state=failed")).await;
    assert_eq!(
        (failed["tenants"].as_array().unwrap().len(), &failed["tenants"][0]["subdomain"]),
        (1, &"globex".into())
    );
    assert!(failed["tenants"][0]["error"].as_str().unwrap().contains("users_poison"), "{failed}");
    // What the document says is what is answered.
    let document = app.operators("/openapi.json").send().await.expect(200).json();
    for (schema, answer) in [
        ("MigrationRunList", &runs),
        ("MigrationRun", run),
        ("MigrationRunDetails", &shown),
        ("MigrationWave", &shown["waves"][0]),
        ("MigratedTenant", &failed["tenants"][0]),
    ] {
        let properties = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        let answered: BTreeSet<_> = answer.as_object().unwrap().keys().collect();
        assert_eq!(properties.keys().collect::<BTreeSet<_>>(), answered, "{schema}");
    }

    // Each is on one page, in order.
    let session = app.peek().await;
    let more = "INSERT INTO migration_run_tenants (run_id, tenant_id, subdomain, server_id, wave, version_before, position, state)
                SELECT $1, gen_random_uuid(), 'company-' || n, (SELECT id FROM servers), 2, 4, n, 'pending' FROM generate_series(3, 130) n";
    let id: uuid::Uuid = run["id"].as_str().unwrap().parse().unwrap();
    session.execute(more, &[&id]).await.unwrap();
    let (mut after, mut seen) = (Value::from(0), Vec::new());
    while !after.is_null() {
        let page = get(app, &format!("{here}?limit=50&state=pending&after={after}")).await;
        seen.extend(page["tenants"].as_array().unwrap().iter().map(|one| one["subdomain"].clone()));
        after = page["next"].clone();
    }
    let expected: Vec<Value> = (3..=130).map(|number| format!("company-{number}").into()).collect();
    assert_eq!(seen, expected);
    let page = app
        .operator("GET", &format!("/console/migrations/{id}?state=pending"))
        .await
        .send()
        .await
        .expect(200)
        .text();
    assert_eq!(page.matches("data-migrated=").count(), 50);
    let next = page
        .split("rel=\"next\"")
        .next()
        .unwrap()
        .rsplit("href=\"")
        .next()
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let page = app.operator("GET", &next.replace("&#38;", "&")).await.send().await.expect(200).text();
    assert!(page.contains("data-migrated=\"company-53\"") && !page.contains("data-migrated=\"company-52\""));

    for (path, status) in [
        ("/admin/v1/migrations?after=x", 422),
        ("/admin/v1/migrations?limit=0", 422),
        ("/admin/v1/migrations/%00", 404),
        ("/admin/v1/migrations/019a0000-0000-7000-8000-000000000000", 404),
        (format!("{here}?state=well").as_str(), 422),
        ("/console/migrations/1", 404),
        ("/console/migrations/019a0000-0000-7000-8000-000000000000", 404),
    ] {
        assert_eq!(app.operator("GET", path).await.send().await.status, status, "{path}");
    }
    for path in ["/admin/v1/migrations", here.as_str(), "/console/migrations"] {
        app.operators(path).send().await.expect_problem(401, "unauthorized");
        assert_eq!(app.operator("POST", path).await.send().await.status / 100, 4, "they are to be read");
    }
}
