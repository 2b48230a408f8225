//! The operators' console, in a real browser: search and filter, a pause by keyboard alone, hostile names, on a phone
//! without scripts; and at ten thousand companies.

use fantoccini::key::Key;
use portero_kernel::TenantId;
use portero_testkit::{Chrome, ChromeOptions, Company, DEADLINE, TestApp, TestCluster, wait_until};
use std::time::{Duration, Instant};

pub(crate) const HOSTILE: &str = "<script>document.title='owned'</script><img src=x onerror=alert(1)>";

pub(crate) async fn console(app: &TestApp, options: ChromeOptions) -> Chrome {
    let chrome = Chrome::start(options).await;
    app.log_in_operator(&chrome).await;
    chrome
}

fn page_of(app: &TestApp, company: &Company) -> String {
    format!("{}/console/tenants/{}", app.operators_url(), company.tenant_id)
}

#[tokio::test]
async fn the_front_page_says_whether_all_is_well_and_what_to_do_if_not() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    let acme = app.sign_up("acme").await;
    app.sign_up("globex").await;
    let chrome = console(&app, ChromeOptions { window: (1280, 800), ..ChromeOptions::default() }).await;
    chrome.find("[data-troubles='0']").await;
    chrome.click(".compared button").await;
    chrome.find(".notice[role=status]").await;
    chrome.find(".compared time").await;
    chrome.find("[data-troubles='0']").await;
    chrome.screenshot("console-overview-well").await;

    let login = app.login_of(&acme).await;
    let admin = cluster.superuser("postgres").await;
    admin.batch_execute(&format!("ALTER ROLE {} NOLOGIN", login.name)).await.unwrap();
    admin.batch_execute("CREATE DATABASE open_to_all").await.unwrap();
    chrome.click(".compared button").await;
    assert!(chrome.text("[data-trouble=shut_fence]").await.contains("acme"));
    assert!(chrome.text("[data-trouble=open_database]").await.contains("open_to_all"));
    chrome.screenshot("console-overview-troubles").await;
    chrome.click("[data-trouble=shut_fence] a").await;
    chrome.at(&page_of(&app, &acme)).await;

    let phone = ChromeOptions { window: (390, 844), language: "es", scripts: true };
    let phone = console(&app, phone).await;
    phone.find("[data-troubles='2']").await;
    phone.screenshot("console-overview-phone").await;
    // What is mended meanwhile goes by itself from the page that looks again.
    admin.batch_execute(&format!("ALTER ROLE {} LOGIN", login.name)).await.unwrap();
    admin.batch_execute("DROP DATABASE open_to_all").await.unwrap();
    app.operator("POST", "/console/compare").await.send().await.expect(303);
    phone.find("[data-troubles='0']").await;
}

#[tokio::test]
async fn what_the_doctor_finds_failing_is_on_the_front_page_with_what_to_do_about_it() {
    let cluster = TestCluster::private().await;
    let mut app = TestApp::builder().cluster(&cluster).prepare().await;
    let admin = cluster.superuser("postgres").await;
    admin.batch_execute("ALTER ROLE portero NOCREATEDB").await.unwrap();
    app.boot().await;
    let page = async |language: &str| {
        let page = app.operator("GET", "/console").await.header("accept-language", language);
        page.header("accept", "text/html").send().await.expect(200).text()
    };
    // By itself, and not for as long as somebody waits for the page.
    wait_until("a round", DEADLINE, async || page("en").await.contains("data-trouble=\"check\"")).await;
    for (language, words) in [("en", "A check fails"), ("es", "Una comprobación falla")] {
        let shown = page(language).await;
        assert!(shown.contains(words) && shown.contains("data-troubles=\"1\""), "{shown}");
        assert!(shown.contains("portero may not create databases and roles"), "{shown}");
        assert!(shown.contains("ALTER ROLE &#34;portero&#34; CREATEDB CREATEROLE"), "{shown}");
    }
    admin.batch_execute("ALTER ROLE portero CREATEDB").await.unwrap();
    app.operator("POST", "/console/compare").await.send().await.expect(303);
    let shown = page("en").await;
    assert!(shown.contains("data-troubles=\"0\"") && !shown.contains("A check fails"), "{shown}");
}

#[tokio::test]
async fn companies_are_searched_filtered_and_paused_by_keyboard_alone() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    app.sign_up("globex").await;
    app.sign_up("initech").await;
    app.portero(&["tenant", "pause", "initech"]).run().await.expect(0);
    let chrome = console(&app, ChromeOptions { window: (1280, 800), ..ChromeOptions::default() }).await;
    chrome.open(&format!("{}/console/tenants", app.operators_url())).await;
    chrome.find("tr[data-tenant=globex]").await;
    chrome.screenshot("console-tenants").await;
    let (enter, tab) = (char::from(Key::Enter).to_string(), char::from(Key::Tab).to_string());

    chrome.fill("#q", &format!("ACM{enter}")).await;
    chrome.at(&format!("{}/console/tenants?q=ACM", app.operators_url())).await;
    chrome.find("tr[data-tenant=acme]").await;
    assert!(!chrome.has("tr[data-tenant=globex]").await);
    chrome.find("#q").await.clear().await.unwrap();
    chrome.fill("#q", &format!("{}{enter}", acme.tenant_id)).await;
    chrome.at(&format!("{}/console/tenants?q={}", app.operators_url(), acme.tenant_id)).await;
    chrome.find("tr[data-tenant=acme]").await;
    chrome.open(&format!("{}/console/tenants?state=paused", app.operators_url())).await;
    chrome.find("tr[data-tenant=initech]").await;
    assert!(!chrome.has("tr[data-tenant=acme]").await);

    // From its page to a shut door without a mouse. First with a slip.
    chrome.open(&page_of(&app, &acme)).await;
    chrome.screenshot("console-tenant").await;
    chrome.find("a[href$='/pause']").await.send_keys(&enter).await.unwrap();
    chrome.find("#typed").await;
    chrome.screenshot("console-pause").await;
    chrome.fill("#reason", &format!("audit & <b>tax</b>{tab}{tab}glo{enter}")).await;
    chrome.find("#refused").await;
    app.guest("acme").get("/api/v1/ping").await.expect(200);
    assert!(chrome.find("#reason").await.prop("value").await.unwrap().unwrap().contains("<b>tax"));
    chrome.fill("#typed", &format!("acme{enter}")).await;
    chrome.find(".notice[role=status]").await;
    app.guest("acme").get("/api/v1/ping").await.expect_problem(503, "tenant-paused");
    app.guest("globex").get("/api/v1/ping").await.expect(200);
    assert!(chrome.text(".facts").await.contains("audit & <b>tax</b>"));
    chrome.find("form[action$='/resume'] button").await.send_keys(&enter).await.unwrap();
    chrome.find(".lead [data-state=active]").await;
    wait_until("the door to open", DEADLINE, async || {
        app.guest("acme").get("/api/v1/ping").await.status == 200
    })
    .await;
    assert!(chrome.text("tr[data-verb='tenant.pause']").await.contains("tester"), "who did it is told");
    let weight = chrome.find("#weight").await;
    weight.clear().await.unwrap();
    weight.send_keys(&format!("7{enter}")).await.unwrap();
    chrome.find(".notice[role=status]").await;
    let shown = app.portero(&["tenant", "show", "acme", "--json"]).run().await.expect(0).json();
    assert_eq!(shown["weight"], 7);
}

#[tokio::test]
async fn a_company_is_renamed_deleted_brought_back_and_purged_from_its_page() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let chrome = console(&app, ChromeOptions { window: (1280, 800), ..ChromeOptions::default() }).await;
    let act = async |what: &str, typed: &str| {
        chrome.open(&format!("{}/{what}", page_of(&app, &acme))).await;
        chrome.fill("#typed", typed).await;
    };
    act("rename", "acme").await;
    chrome.fill("#new", "globex").await;
    chrome.click("form.card button[type=submit]").await;
    chrome.find("#refused").await;
    act("rename", "acme").await;
    chrome.fill("#new", "acme-nova").await;
    chrome.click("form.card button[type=submit]").await;
    chrome.find("[data-tenant=acme-nova] .notice[role=status]").await;
    act("delete", "acme-nova").await;
    chrome.click("form.card button[type=submit]").await;
    chrome.find(".lead [data-state=deleted]").await;
    chrome.screenshot("console-tenant-deleted").await;
    app.guest("acme-nova").get("/api/v1/ping").await.expect_problem(410, "tenant-deleted");
    app.api(&globex).get("/api/v1/me").await.expect(200);
    chrome.click("form[action$='/undelete'] button").await;
    chrome.find(".lead [data-state=active]").await;
    act("delete", "acme-nova").await;
    chrome.click("form.card button[type=submit]").await;
    chrome.find(".lead [data-state=deleted]").await;
    act("purge", "acme-nova").await;
    chrome.click("form.card button[type=submit]").await;
    chrome.find("#refused").await;
    act("purge", "acme-nova").await;
    chrome.click("#waive").await;
    chrome.click("form.card button[type=submit]").await;
    chrome.at(&format!("{}/console/jobs/", app.operators_url())).await;
    chrome.find(".lead [data-state=done]").await;
    chrome.screenshot("console-purged").await;
    app.api(&globex).get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_hostile_name_is_text_and_a_strangers_page_changes_nothing() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let registry = app.peek().await;
    let renamed = "UPDATE tenants SET name = $1, pause_reason = $1 WHERE subdomain = 'acme'";
    registry.execute(renamed, &[&HOSTILE]).await.unwrap();
    registry.execute("UPDATE jobs SET error = $1", &[&HOSTILE]).await.unwrap();
    let job = registry.query_one("SELECT id::text FROM jobs", &[]).await.unwrap();
    let job: String = job.get(0);
    let chrome = console(&app, ChromeOptions::default()).await;
    for path in [
        "/console/tenants".to_owned(),
        "/console/tenants?q=%3Cscript%3Ealert(1)%3C/script%3E&state=%22%3E%3Cimg%20src=x%3E&server='%22&after=x".to_owned(),
        format!("/console/tenants/{}", acme.tenant_id),
        format!("/console/tenants/{}/pause", acme.tenant_id),
        "/console/jobs".to_owned(),
        format!("/console/jobs/{job}"),
        "/console/servers".to_owned(),
    ] {
        chrome.open(&format!("{}{path}", app.operators_url())).await;
        chrome.find("nav.sections").await;
        assert!(chrome.page.get_alert_text().await.is_err(), "{path}");
        assert_ne!(chrome.page.title().await.unwrap(), "owned", "{path}");
        assert!(!chrome.has("main img, main script").await, "{path}");
    }
    // Nobody else sees any of it, and another page's form does nothing.
    for (method, path) in [("GET", ""), ("GET", "/pause"), ("POST", "/pause"), ("POST", "/resume")] {
        let path = format!("/console/tenants/{}{path}", acme.tenant_id);
        let stranger = app.operators_http().request(method, "localhost", &path);
        let answer = stranger.header("accept", "application/json").send().await;
        assert_eq!(answer.status, 401, "{method} {path}");
    }
    let forged = app.operator("POST", &format!("/console/tenants/{}/weight", acme.tenant_id)).await;
    let forged = forged
        .header("origin", "http://evil.example")
        .header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(forged.send().await.status, 403);
    app.guest("acme").get("/api/v1/ping").await.expect(200);
}

#[tokio::test]
async fn a_job_is_seen_as_it_goes_and_all_of_it_works_on_a_phone_without_scripts() {
    let app = TestApp::builder().failpoints("migrate::before=pause").start().await;
    let (answer, _) = app.ask_for("acme").await;
    let job = answer.expect(202).str_at("/job");
    app.wait_for_point("migrate::before").await;
    let chrome = console(&app, ChromeOptions { window: (1280, 800), ..ChromeOptions::default() }).await;
    chrome.open(&format!("{}/console/jobs", app.operators_url())).await;
    chrome.click("tr[data-job-of=acme] th a").await;
    chrome.find("li[data-step=migrate][data-status=running]").await;
    chrome.screenshot("console-job").await;

    let options = ChromeOptions { window: (390, 844), language: "es", scripts: false };
    let phone = console(&app, options).await;
    for (path, name) in [
        ("/console", "console-phone-overview"),
        ("/console/tenants", "console-phone-tenants"),
        ("/console/jobs?state=unfinished", "console-phone-jobs"),
        ("/console/servers", "console-phone-servers"),
    ] {
        phone.open(&format!("{}{path}", app.operators_url())).await;
        assert_eq!(phone.find("html").await.attr("lang").await.unwrap().as_deref(), Some("es"));
        phone.screenshot(name).await;
    }
    phone.open(&format!("{}/console/jobs/{job}", app.operators_url())).await;
    phone.find("li[data-step=migrate][data-status=running]").await;
    phone.screenshot("console-phone-job").await;
    chrome.open(&format!("{}/console/servers", app.operators_url())).await;
    chrome.find("[data-server=main] .bar").await;
    assert!(chrome.text("[data-server=main] [data-version]").await.parse::<f64>().is_ok(), "15.18");
    assert!(chrome.has("[data-server=main] [data-spares]").await);
    chrome.screenshot("console-servers").await;
    let tenant = app.peek().await.query_one("SELECT id FROM tenants", &[]).await.unwrap();
    let tenant = TenantId::from(tenant.get::<_, uuid::Uuid>(0));
    phone.open(&format!("{}/console/tenants/{tenant}", app.operators_url())).await;
    phone.screenshot("console-phone-tenant").await;
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "figures are read by whoever asked for them")]
async fn ten_thousand_companies_do_not_hurt() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let registry = app.peek().await;
    registry
        .batch_execute(
            "INSERT INTO tenants (id, name, subdomain, db_name, db_url, status, server_id, schema_version, created_at)
             SELECT gen_random_uuid(), 'Company no. ' || n, 'company-' || n, 't_' || md5(n::text), ''::bytea,
                    CASE WHEN n % 10 = 0 THEN 'paused' ELSE 'active' END, (SELECT id FROM servers), 4, now() - n * interval '1 minute'
             FROM generate_series(1, 10000) n;
             INSERT INTO jobs (id, kind, tenant_id, subdomain, status, finished_at)
             SELECT gen_random_uuid(), 'create_tenant', id, subdomain, 'done', now() FROM tenants WHERE subdomain <> 'acme';
             ANALYZE tenants; ANALYZE jobs",
        )
        .await
        .unwrap();
    let mut told = Vec::new();
    for path in [
        "/console".to_owned(),
        "/console/tenants".to_owned(),
        "/console/tenants?q=no.%20777".to_owned(),
        "/console/tenants?state=paused&order=newest".to_owned(),
        "/console/tenants?order=name".to_owned(),
        format!("/console/tenants/{}", acme.tenant_id),
        "/console/jobs".to_owned(),
        "/console/jobs?state=unfinished".to_owned(),
        "/console/servers".to_owned(),
    ] {
        let mut times = Vec::new();
        for _ in 0..7 {
            let request = app.operator("GET", &path).await;
            let began = Instant::now();
            request.send().await.expect(200);
            times.push(began.elapsed());
        }
        times.sort_unstable();
        told.push((path, times[3]));
    }
    for (path, median) in &told {
        println!("{:>7.1} ms  {path}", median.as_secs_f64() * 1000.0);
    }
    // A debug build on a machine with other work: whatever walks all of them takes longer than that.
    assert!(told.iter().all(|(_, median)| *median < Duration::from_secs(1)), "{told:?}");

    // Each of them is on one page, whatever the order.
    for order in ["subdomain", "name", "newest"] {
        let (mut path, mut seen) =
            (format!("/console/tenants?order={order}&q=Company"), std::collections::BTreeSet::new());
        for _ in 0..4 {
            let text = app.operator("GET", &path).await.send().await.expect(200).text();
            for row in text.split("data-tenant=\"").skip(1) {
                assert!(seen.insert(row.split('"').next().unwrap().to_owned()), "{order}: twice");
            }
            let next = text.split("rel=\"next\"").next().unwrap().rsplit("href=\"").next().unwrap();
            path = next.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
        }
        assert_eq!(seen.len(), 200, "{order}");
    }
}

#[tokio::test]
async fn what_is_not_there_keeps_the_menu_and_a_purged_company_its_history() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    app.sign_up("globex").await;
    let page = async |path: &str| {
        let request = app.operator("GET", path).await.header("accept", "text/html");
        request.header("accept-language", "es").send().await
    };
    for path in ["/console/nothing", "/console/tenants/acme", "/console/jobs/1"] {
        let answer = page(path).await.expect(404).text();
        assert!(answer.contains("class=\"sections\"") && answer.contains("href=\"/console/jobs\""), "{path}");
        assert!(!answer.contains("href=\"/mailbox\""), "there is no mailbox in production");
    }
    let there = format!("/console/tenants/{}", acme.tenant_id);
    let jobs = page("/console/jobs").await.expect(200).text();
    assert!(jobs.contains(&there), "it is there");

    app.portero(&["tenant", "pause", "acme", "--reason", "<i>unpaid</i>"]).run().await.expect(0);
    app.portero(&["tenant", "rename", "acme", "globex"]).run().await.expect(1);
    app.portero(&["tenant", "rename", "acme", "acme-nova"]).run().await.expect(0);
    let shown = page(&there).await.expect(200).text();
    for told in ["Cambiar el subdominio", "a acme-nova", "lleva aquí hasta el", "Cuándo"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    assert!(shown.contains("is taken"), "why it was refused: {shown}");
    assert!(shown.contains("&#60;i&#62;unpaid") && !shown.contains("<code>tenant.rename"));
    app.portero(&["tenant", "delete", "acme-nova", "--yes"]).run().await.expect(0);
    app.portero(&["tenant", "purge", "acme-nova", "--before-grace", "--yes"]).run().await.expect(0);

    page(&there).await.expect(404);
    let history = format!("/console/audit?company={}", acme.tenant_id);
    let jobs = page("/console/jobs").await.expect(200).text();
    assert!(!jobs.contains(&there) && jobs.contains(&history), "no way leads to what isn't there");
    let told = page(&history).await.expect(200).text();
    for verb in ["tenant.sign-up", "tenant.pause", "tenant.rename", "tenant.delete", "tenant.purge"] {
        assert!(told.contains(&format!("data-verb=\"{verb}\"")), "{verb}");
    }
    assert!(!told.contains(">globex<") && !told.contains(&there));
}

#[tokio::test]
async fn the_audit_log_is_read_by_company_by_whom_and_by_what_page_by_page() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    app.sign_up("globex").await;
    app.portero(&["tenant", "pause", "globex"]).run().await.expect(0);
    for weight in 1..=55 {
        let path = "/admin/v1/tenants/acme/weight";
        let body = serde_json::json!({ "weight": weight });
        app.operator("PUT", path).await.json(&body).send().await.expect(200);
    }
    let rows = async |path: &str| {
        let text = app.operator("GET", path).await.send().await.expect(200).text();
        let of = |name: &str| text.matches(&format!("data-verb=\"{name}\"")).count();
        (of("tenant.weight"), text.matches("data-verb=\"").count(), text)
    };
    let (weights, all, text) = rows("/console/audit").await;
    assert_eq!((weights, all), (50, 50));
    let next = text.split("rel=\"next\"").next().unwrap().rsplit("href=\"").next().unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&");
    let (weights, all, text) = rows(&next).await;
    assert_eq!((weights, all), (5, 10), "the rest: five are others");
    assert!(!text.contains("rel=\"next\""));
    for (query, expected) in [
        ("company=globex", 3),
        ("company=Globex&what=tenant.pause", 1),
        ("who=tester&what=tenant.weight", 50),
        ("who=nobody", 0),
        ("what=%00&company=%00", 0),
        ("before=x&company=acme&what=tenant.sign-up", 1),
    ] {
        assert_eq!(rows(&format!("/console/audit?{query}")).await.1, expected, "{query}");
    }
    let stranger = app.operators_http().request("GET", "localhost", "/console/audit");
    assert_eq!(stranger.header("accept", "application/json").send().await.status, 401);
}
