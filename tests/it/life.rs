//! The life of a company beyond its pause: another name, deleted, brought back, purged; what that does to whoever comes
//! with an old link, cookie or token, and what it costs the company next door: nothing.

use portero_testkit::{
    Answer, Browser, Company, DEADLINE, Http, Load, StopMode, TestApp, TestCluster, join_all, wait_until,
};
use serde_json::Value;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// The JSON of a command that goes well.
async fn tenant(app: &TestApp, args: &[&str]) -> Value {
    app.portero(&[["tenant"].as_slice(), args, &["--json"]].concat()).run().await.expect(0).json()
}

/// What a command says that fails.
async fn refused(app: &TestApp, args: &[&str]) -> String {
    app.portero(&[["tenant"].as_slice(), args].concat()).run().await.expect(1).stderr
}

async fn registry(app: &TestApp, sql: &str) {
    app.peek().await.batch_execute(sql).await.unwrap();
}

async fn count(app: &TestApp, sql: &str) -> i64 {
    app.peek().await.query_one(sql, &[]).await.unwrap().get(0)
}

fn old_host(app: &TestApp, http: &Http, method: &str, path: &str) -> impl Future<Output = Answer> {
    http.request(method, &app.host("acme"), path).send()
}

/// A router that a command named as late may still have to hear of the change; any other knows when the command ends.
async fn heard(http: &Http, change: &Value, knows: impl AsyncFn(&Http) -> bool) {
    let late = change["known"]["late"].as_array().unwrap();
    // One that has only just begun is not among them yet.
    if late.is_empty() && change["known"]["routers"].as_u64() >= Some(2) {
        assert!(knows(http).await, "it was said to know: {change}");
    }
    wait_until("every router to hear of it", DEADLINE, async || knows(http).await).await;
}

/// Lets a day go by for what counts by the day.
async fn next_day(app: &TestApp) {
    registry(
        app,
        "UPDATE tenants SET deleted_at = deleted_at - interval '2 days';
         UPDATE tombstones SET purged_at = purged_at - interval '2 days', deleted_at = deleted_at - interval '2 days'",
    )
    .await;
}

#[tokio::test]
async fn a_renamed_company_goes_on_at_its_new_host_and_the_old_one_leads_there() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let sibling = app.sibling().await;
    let neighbour = Load::on(&app, std::slice::from_ref(&globex)).start();
    let mut browser = Browser::new(&app);
    let fields = [("email", acme.email.as_str()), ("password", &acme.password)];
    browser.submit(&acme.host, "/login", &fields).await.expect_way_to("/");

    let renamed = tenant(&app, &["rename", "acme", "acme-sa"]).await;
    assert_eq!((&renamed["subdomain"], &renamed["already"]), (&"acme-sa".into(), &false.into()));
    assert_eq!(renamed["former"][0]["subdomain"], "acme");
    for http in [app.http(), &sibling.http] {
        heard(http, &renamed, async |http| old_host(&app, http, "GET", "/").await.status == 308).await;
        for (method, path, to) in [
            ("GET", "/", "/"),
            ("HEAD", "/login", "/login"),
            ("GET", "/api/v1/users?after=x&limit=1", "/api/v1/users?after=x&limit=1"),
            ("GET", "//evil.test/x", "//evil.test/x"),
        ] {
            let answer = old_host(&app, http, method, path).await.expect(308);
            let to = format!("http://acme-sa.portero.test{to}");
            assert_eq!(answer.header("location"), Some(to.as_str()));
            assert_eq!(answer.header("cache-control"), Some("no-store"), "the name may come back");
            assert!(answer.body.is_empty());
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let answer = old_host(&app, http, method, "/api/v1/users").await;
            assert!(
                answer.expect_problem(421, "tenant-moved").text().contains("http://acme-sa.portero.test")
            );
        }
    }
    let page = browser.submit(&acme.host, "/logout", &[]).await.expect(421);
    assert!(page.text().contains("data-problem=\"tenant-moved\""), "{}", page.text());

    // A token is the tenant's, whatever its name; a cookie is a host's.
    let api = app.guest("acme-sa").with_token(&acme.token);
    let me = api.get("/api/v1/me").await.expect(200);
    assert_eq!(
        (me.str_at("/tenant/subdomain"), me.str_at("/tenant/id")),
        ("acme-sa".into(), acme.tenant_id.clone())
    );
    let way = browser.visit(&acme.host, "/").await.expect(308);
    browser.follow(&way).await.expect_way_to("/login");
    browser.submit("acme-sa.portero.test", "/login", &fields).await.expect_way_to("/");
    app.guest("globex").with_token(&acme.token).get("/api/v1/me").await.expect(401);

    // Nobody else gets the old name, and it is not lent out either.
    app.ask_for("acme").await.0.expect_problem(409, "taken");
    assert!(refused(&app, &["rename", "globex", "acme"]).await.contains("not long enough ago"));
    assert!(refused(&app, &["rename", "globex", "acme-sa"]).await.contains("taken"));
    for name in ["www", "-x", "ab", "xn--abc"] {
        refused(&app, &["rename", "globex", "--", name]).await;
    }
    assert!(refused(&app, &["pause", "acme"]).await.contains("acme is called acme-sa now"));
    let again = tenant(&app, &["rename", "acme", "acme-sa"]).await;
    assert_eq!(again["already"], true);
    let shown = app.portero(&["tenant", "show", "acme-sa"]).run().await.expect(0).stdout;
    assert!(shown.contains("former    acme (leads here until"), "{shown}");

    // Its time over, the old name is nobody's, and in quarantine.
    registry(
        &app,
        "UPDATE former_subdomains SET redirects_until = now(); SELECT route_changed(id) FROM tenants",
    )
    .await;
    wait_until("the redirect to end", DEADLINE, async || {
        old_host(&app, app.http(), "GET", "/").await.problem() == "tenant-not-found"
    })
    .await;
    app.ask_for("acme").await.0.expect_problem(409, "taken");
    let free = app.at_apex().get("/api/v1/subdomains/acme").await.expect(200).json();
    assert_eq!(free["available"], false);
    // It may go back.
    tenant(&app, &["rename", "acme-sa", "acme"]).await;
    app.api(&acme).get("/api/v1/me").await.expect(200);
    let way = app.guest("acme-sa").get("/").await.expect(308);
    assert_eq!(way.header("location"), Some("http://acme.portero.test/"));
    assert_eq!(count(&app, "SELECT count(*) FROM former_subdomains").await, 1);
    let report = neighbour.stop().await;
    report.print("next door to a rename");
    assert_eq!(report.refused(), 0);
}

#[tokio::test]
async fn a_rename_under_load_loses_no_request_and_lends_the_name_to_nobody_else() {
    let app = Arc::new(TestApp::start().await);
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let (stop, led) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let asking = (0..4).map(|_| {
        let (app, stop, led) = (Arc::clone(&app), Arc::clone(&stop), Arc::clone(&led));
        let token = acme.token.clone();
        let id = acme.tenant_id.clone();
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let mut answer = app.guest("acme").with_token(&token).get("/api/v1/me").await;
                if answer.status == 308 {
                    led.fetch_add(1, Ordering::Relaxed);
                    answer = app.guest("acme-sa").with_token(&token).get("/api/v1/me").await;
                }
                assert_eq!(answer.expect(200).str_at("/tenant/id"), id);
            }
        })
    });
    let asking: Vec<_> = asking.collect();
    let neighbour = Load::on(&app, std::slice::from_ref(&globex)).clients(2).start();
    let strangers = join_all((0..8).map(|_| async { app.ask_for("acme").await.0 }));
    let (renamed, strangers) = tokio::join!(tenant(&app, &["rename", "acme", "acme-sa"]), strangers);
    assert_eq!(renamed["subdomain"], "acme-sa");
    for answer in strangers {
        answer.expect_problem(409, "taken");
    }
    wait_until("requests to be led to the new name", DEADLINE, async || {
        assert!(!asking.iter().any(|client| client.is_finished()), "a client found something wrong");
        led.load(Ordering::Relaxed) >= 20
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for client in asking {
        client.await.unwrap();
    }
    let report = neighbour.stop().await;
    report.print("next door to a rename under load");
    assert_eq!(report.refused(), 0);
}

#[tokio::test]
async fn a_name_that_is_given_up_in_the_very_moment_in_which_another_asks_for_it_is_not_to_be_had() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let (renaming, looker) = (app.peek().await, app.peek().await);
    // A rename that has done all it does, and hasn't committed.
    let begun = "BEGIN; UPDATE tenants SET subdomain = 'acme-sa' WHERE subdomain = 'acme';
                 INSERT INTO former_subdomains (subdomain, tenant_id, redirects_until, quarantined_until)
                 SELECT 'acme', id, now() + interval '1 day', now() + interval '2 days' FROM tenants WHERE subdomain = 'acme-sa'";
    renaming.batch_execute(begun).await.unwrap();
    assert!(refused(&app, &["rename", "globex", "acme"]).await.contains("is taken"), "it is, until then");
    // Somebody who has looked a moment before, and comes to take it.
    let asking = app.peek().await;
    let asking = tokio::spawn(async move {
        asking.execute("UPDATE tenants SET subdomain = 'acme' WHERE subdomain = 'globex'", &[]).await
    });
    wait_until("the other to wait for the name", DEADLINE, async || {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'UPDATE tenants SET subdomain%'";
        looker.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    renaming.batch_execute("COMMIT").await.unwrap();
    let error = asking.await.unwrap().expect_err("it is in quarantine");
    assert_eq!(portero_pg::violated_constraint(&error), Some("tenants_subdomain_key"), "{error:?}");
    app.api(&globex).get("/api/v1/me").await.expect(200);
    assert_eq!(tenant(&app, &["show", "acme-sa"]).await["id"], acme.tenant_id.as_str());
}

#[tokio::test]
async fn a_deleted_company_is_gone_for_everybody_and_comes_back_as_it_was() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let (_, member) = app.add_user(&acme, "ana@acme.example", "member").await;
    let mut browser = Browser::new(&app);
    let fields = [("email", acme.email.as_str()), ("password", &acme.password)];
    browser.submit(&acme.host, "/login", &fields).await.expect_way_to("/");
    let neighbour = Load::on(&app, std::slice::from_ref(&globex)).start();
    let connected = app.database_of(&acme).await;
    let sibling = app.sibling().await;

    // Nothing happens without the name.
    let call = app.portero(&["tenant", "delete", "acme"]).stdin("acme\n").run().await.expect(2);
    assert!(call.stderr.contains("--yes"), "{}", call.stderr);
    app.api(&acme).get("/api/v1/me").await.expect(200);
    let call = app.portero(&["tenant", "delete", "acme", "--yes", "--drain", "0"]).run().await.expect(0);
    assert!(call.stdout.contains("acme is deleted. Its data is kept until"), "{}", call.stdout);
    assert!(call.stdout.contains("know"), "{}", call.stdout);
    connected.query_one("SELECT 1", &[]).await.expect_err("the fence is up");
    let login = app.login_of(&acme).await;
    app.cluster().login(&login.name, &login.password, &login.name).await.expect_err("and stays up");

    let later = app.sibling().await;
    let again = tenant(&app, &["delete", "acme", "--yes"]).await;
    assert_eq!((&again["status"], &again["already"]), (&"deleted".into(), &true.into()));
    for http in [app.http(), &sibling.http, &later.http] {
        heard(http, &again, async |http| {
            http.request("GET", &acme.host, "/").send().await.problem() == "tenant-deleted"
        })
        .await;
        for path in ["/api/v1/ping", "/api/v1/me", "/", "/login", "/nowhere"] {
            http.request("GET", &acme.host, path)
                .bearer(&acme.token)
                .send()
                .await
                .expect_problem(410, "tenant-deleted");
        }
        http.request("POST", &acme.host, "/api/v1/auth/login")
            .send()
            .await
            .expect_problem(410, "tenant-deleted");
    }
    for (language, words) in
        [("es", "Esta empresa ya no está aquí"), ("en", "This company isn&#39;t here any more")]
    {
        let page = app.http().request("GET", &acme.host, "/").header("accept", "text/html");
        let page = page.header("accept-language", language).send().await.expect(410).text();
        assert!(page.contains(words) && !page.contains("Söhne"), "{language}: {page}");
    }
    app.ask_for("acme").await.0.expect_problem(409, "taken");
    for args in [vec!["pause", "acme"], vec!["resume", "acme"], vec!["rename", "acme", "acme-sa"]] {
        assert!(
            refused(&app, &args).await.contains("portero tenant undelete acme brings it back"),
            "{args:?}"
        );
    }
    let listed = app.portero(&["tenant", "list"]).run().await.expect(0).stdout;
    assert!(listed.contains("deleted, kept until 2"), "{listed}");
    let shown = tenant(&app, &["show", "acme"]).await;
    assert!(shown["deleted_at"].is_string() && shown["purge_after"].is_string(), "{shown}");
    assert_eq!(shown["undelete_to"], "active");

    let back = tenant(&app, &["undelete", "acme"]).await;
    assert_eq!((&back["status"], &back["deleted_at"]), (&"active".into(), &Value::Null));
    let users = app.api(&acme).get("/api/v1/users").await.expect(200).json();
    assert_eq!(users["users"].as_array().unwrap().len(), 2, "{users}");
    member.get("/api/v1/me").await.expect(200);
    assert!(
        browser.visit(&acme.host, "/").await.expect(200).text().contains(&acme.email),
        "the session goes on"
    );
    assert_eq!(tenant(&app, &["undelete", "acme"]).await["already"], true);

    // A paused one comes back paused, and why.
    tenant(&app, &["pause", "acme", "--reason", "unpaid"]).await;
    tenant(&app, &["delete", "acme", "--yes"]).await;
    let back = tenant(&app, &["undelete", "acme"]).await;
    assert_eq!((&back["status"], &back["pause_reason"]), (&"paused".into(), &"unpaid".into()));
    app.guest("acme").get("/api/v1/ping").await.expect_problem(503, "tenant-paused");
    app.cluster().login(&login.name, &login.password, &login.name).await.expect_err("it is fenced still");
    tenant(&app, &["resume", "acme"]).await;
    app.api(&acme).get("/api/v1/me").await.expect(200);
    let report = neighbour.stop().await;
    report.print("next door to deletions");
    assert_eq!(report.refused(), 0);
}

#[tokio::test]
async fn a_deletion_that_was_cut_short_is_finished_or_taken_back_by_the_next_command() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let login = app.login_of(&acme).await;
    // As a command leaves it that is killed before it raised the fence.
    let half = "UPDATE tenants SET status = 'deleting', undelete_to = 'active', deleted_at = now(), purge_after = now() + interval '30 days'
                WHERE subdomain = 'acme'; SELECT route_changed(id) FROM tenants WHERE subdomain = 'acme'";
    for finish in ["delete", "undelete"] {
        registry(&app, half).await;
        wait_until("the router to hear of it", DEADLINE, async || {
            app.guest("acme").get("/api/v1/ping").await.problem() == "tenant-deleted"
        })
        .await;
        assert_eq!(tenant(&app, &["show", "acme"]).await["status"], "deleting");
        if finish == "delete" {
            assert_eq!(tenant(&app, &["delete", "acme", "--yes"]).await["status"], "deleted");
            app.cluster()
                .login(&login.name, &login.password, &login.name)
                .await
                .expect_err("the fence is up");
        }
        assert_eq!(tenant(&app, &["undelete", "acme"]).await["status"], "active");
        app.api(&acme).get("/api/v1/me").await.expect(200);
    }
    app.api(&globex).get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn deletions_end_at_a_cap_that_nobody_talks_around() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    app.sign_up("globex").await;
    let missing = refused(&app, &["delete", "acme", "nobody", "--yes"]).await;
    assert!(missing.contains("no tenant has the subdomain nobody"), "{missing}");
    assert_eq!(tenant(&app, &["show", "acme"]).await["status"], "active", "all of them or none");
    // Four others were deleted today; one of them is purged by now.
    registry(
        &app,
        "INSERT INTO tenants (id, name, subdomain, db_name, db_url, server_id, status, deleted_at, purge_after, undelete_to)
         SELECT gen_random_uuid(), 'x', 'gone-' || n, 't_' || md5(n::text), '', (SELECT id FROM servers), 'deleted', now(), now() + interval '30 days', 'active'
         FROM generate_series(1, 3) n;
         INSERT INTO tombstones (tenant_id, db_name, server_id, job_id, deleted_at, quarantined_until)
         SELECT gen_random_uuid(), 't_' || md5('x'), gen_random_uuid(), gen_random_uuid(), now(), now()",
    )
    .await;
    let told = refused(&app, &["delete", "acme", "globex", "acme", "--yes"]).await;
    assert!(told.contains("nothing was deleted: that would be 2 more, after 4"), "{told}");
    for name in ["acme", "globex"] {
        assert_eq!(tenant(&app, &["show", name]).await["status"], "active");
    }
    tenant(&app, &["delete", "acme", "--yes"]).await;
    refused(&app, &["delete", "globex", "--yes"]).await;
    tenant(&app, &["delete", "acme", "--yes"]).await;
    tenant(&app, &["undelete", "acme"]).await;
    tenant(&app, &["delete", "globex", "--yes"]).await;
    next_day(&app).await;
    tenant(&app, &["delete", "acme", "--yes"]).await;
}

#[tokio::test]
async fn a_purged_company_is_nowhere_and_its_name_finds_nobody() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    let (acme, globex) = (app.sign_up("acme-old").await, app.sign_up("globex").await);
    tenant(&app, &["rename", "acme-old", "acme"]).await;
    let host = app.host("acme");
    let mut browser = Browser::new(&app);
    browser
        .submit(&host, "/login", &[("email", &acme.email), ("password", &acme.password)])
        .await
        .expect_way_to("/");
    let login = app.login_of(&acme).await;
    let neighbour = Load::on(&app, std::slice::from_ref(&globex)).start();

    assert!(refused(&app, &["purge", "acme", "--yes"]).await.contains("acme is not deleted"));
    tenant(&app, &["delete", "acme", "--yes"]).await;
    assert!(refused(&app, &["purge", "acme", "--yes"]).await.contains("--before-grace"));
    app.portero(&["tenant", "purge", "acme", "--before-grace"]).run().await.expect(2);
    let purged = tenant(&app, &["purge", "acme", "--before-grace", "--yes"]).await;
    assert_eq!(
        (&purged["id"], &purged["known"]["late"]),
        (&acme.tenant_id.as_str().into(), &Value::Array(vec![]))
    );
    let looks = purged["report"]["looked_for"].as_array().unwrap();
    assert!(looks.len() == 6 && looks.iter().all(|look| look["found"] == 0), "{purged}");

    // From outside, by other means than its own.
    let inventory = cluster.inventory().await;
    assert!(!inventory.databases.contains(&login.name) && !inventory.roles.contains(&login.name));
    cluster.clean_slate().await;
    let left = format!(
        "SELECT (SELECT count(*) FROM tenants WHERE id = '{0}') + (SELECT count(*) FROM jobs WHERE tenant_id = '{0}' AND (secret IS NOT NULL OR claim IS NOT NULL))",
        acme.tenant_id
    );
    assert_eq!(count(&app, &left).await, 0);
    for name in ["acme", "acme-old"] {
        app.guest(name)
            .with_token(&acme.token)
            .get("/api/v1/me")
            .await
            .expect_problem(404, "tenant-not-found");
        app.ask_for(name).await.0.expect_problem(409, "taken");
        assert!(refused(&app, &["rename", "globex", name]).await.contains("not long enough ago"));
    }
    for args in [vec!["undelete", "acme"], vec!["delete", "acme", "--yes"], vec!["show", "acme"]] {
        assert!(refused(&app, &args).await.contains("acme was purged on"), "{args:?}");
    }
    let again = app.portero(&["tenant", "purge", "acme", "--yes"]).run().await.expect(0).stdout;
    assert!(again.contains("acme was purged before. Looked for, and gone:"), "{again}");
    assert!(again.contains("pg_database on main"), "{again}");

    // Its quarantine over, somebody else may have it: whoever comes with what is old finds nobody they knew.
    registry(&app, "UPDATE former_subdomains SET redirects_until = now(), quarantined_until = now()").await;
    let other = app.sign_up("acme").await;
    assert_ne!(other.tenant_id, acme.tenant_id);
    for token in [&acme.token, &globex.token] {
        app.guest("acme").with_token(token).get("/api/v1/me").await.expect_problem(401, "unauthorized");
    }
    browser.visit(&host, "/").await.expect_way_to("/login");
    let fields = [("email", acme.email.as_str()), ("password", &acme.password)];
    Browser::new(&app).submit(&host, "/login", &fields).await.expect(401);
    app.api(&other).get("/api/v1/me").await.expect(200);
    let report = neighbour.stop().await;
    report.print("next door to a purge");
    assert_eq!(report.refused(), 0);
    cluster.clean_slate().await;
}

#[tokio::test]
async fn what_is_past_its_grace_is_purged_unasked_and_no_kill_leaves_half_of_it() {
    let cluster = TestCluster::private().await;
    let mut app = TestApp::builder().cluster(&cluster).start().await;
    let globex = app.sign_up("globex").await;
    for (name, point) in [("acme", "drop_database::after"), ("initech", "bury::before")] {
        let company = app.sign_up(name).await;
        tenant(&app, &["delete", name, "--yes"]).await;
        app.kill();
        registry(&app, "UPDATE tenants SET purge_after = now() WHERE status = 'deleted'").await;
        app.set_failpoints(&format!("{point}=pause"));
        app.boot().await;
        app.wait_for_point(point).await;
        assert!(refused(&app, &["undelete", name]).await.contains("is being purged"), "{point}");
        app.guest(name).get("/api/v1/ping").await.expect_problem(410, "tenant-deleted");
        app.recover().await;
        wait_until(&format!("the purge to end after {point}"), DEADLINE, async || {
            count(&app, "SELECT count(*) FROM jobs WHERE kind = 'purge_tenant' AND status <> 'done'").await
                == 0
        })
        .await;
        check_buried(&app, &company).await;
        next_day(&app).await;
    }
    app.api(&globex).get("/api/v1/me").await.expect(200);
    cluster.clean_slate().await;
}

async fn check_buried(app: &TestApp, company: &Company) {
    let sql = format!("SELECT count(*) FROM tombstones WHERE tenant_id = '{}'", company.tenant_id);
    assert_eq!(count(app, &sql).await, 1, "{}", company.subdomain);
    let again = tenant(app, &["purge", &company.subdomain, "--yes"]).await;
    let looks = again["report"]["looked_for"].as_array().unwrap();
    assert!(looks.len() == 6 && looks.iter().all(|look| look["found"] == 0), "{again}");
    app.guest(&company.subdomain).get("/api/v1/ping").await.expect_problem(404, "tenant-not-found");
}

#[tokio::test]
async fn no_more_is_purged_unasked_in_a_day_than_may_be_deleted_in_one() {
    let mut app = TestApp::start().await;
    app.sign_up("globex").await;
    let acme = app.sign_up("acme").await;
    tenant(&app, &["delete", "acme", "--yes"]).await;
    app.kill();
    let due = async || app.registry().await.purge_due("purge_tenant").await.unwrap().map(|id| id.to_string());
    assert_eq!(due().await, None, "its data is to be kept");
    registry(
        &app,
        "UPDATE tenants SET purge_after = now() WHERE status = 'deleted';
         INSERT INTO tombstones (tenant_id, db_name, server_id, job_id, deleted_at, quarantined_until)
         SELECT gen_random_uuid(), 't_' || md5(n::text), gen_random_uuid(), gen_random_uuid(), now(), now()
         FROM generate_series(1, 5) n",
    )
    .await;
    assert_eq!(due().await, None, "five were purged today");
    next_day(&app).await;
    assert_eq!(due().await, Some(acme.tenant_id.clone()));
    tenant(&app, &["purge", "acme", "--yes"]).await;
    assert_eq!(due().await, None);
}

#[tokio::test]
async fn a_router_that_starts_from_its_snapshot_knows_who_moved_and_who_is_deleted() {
    let registry = TestCluster::private().await;
    let mut app = TestApp::builder().cluster(&registry).start().await;
    let server = TestCluster::private().await;
    let names = ["acme", "globex", "initech"];
    let companies = app.sign_up_on("far", &server, server.address(), &names).await;
    tenant(&app, &["rename", "acme", "acme-sa"]).await;
    tenant(&app, &["delete", "initech", "--yes"]).await;
    wait_until("all that is known to be on disk", DEADLINE, async || {
        app.metric("portero_snapshot_clock", &[]).await == app.metric("portero_route_clock", &[]).await
    })
    .await;
    app.kill();
    registry.halt(StopMode::Fast).await;
    app.boot().await;
    let way = old_host(&app, app.http(), "GET", "/login?x=1").await.expect(308);
    assert_eq!(way.header("location"), Some("http://acme-sa.portero.test/login?x=1"));
    app.guest("initech").get("/api/v1/ping").await.expect_problem(410, "tenant-deleted");
    wait_until("the others to be served", DEADLINE, async || {
        app.api(&companies[1]).get("/api/v1/me").await.status == 200
    })
    .await;
    app.guest("acme-sa").with_token(&companies[0].token).get("/api/v1/me").await.expect(200);
    registry.resume().await;
}
