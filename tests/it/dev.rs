//! `portero dev`: everything from nothing by one command, and all of it gone when it ends, the data kept.

use portero_testkit::{
    Api, Chrome, ChromeOptions, DEADLINE, Http, Portero, Process, new_password, scratch_dir, wait_for,
    wait_until,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::TcpStream, path::Path};

struct Dev {
    process: Process,
    http: Http,
    postgres_port: u16,
    location: String,
    url: String,
    admin_url: String,
    console_url: String,
}

fn args(data_dir: &Path) -> [&str; 8] {
    let dir = data_dir.to_str().unwrap();
    ["dev", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", dir]
}

impl Dev {
    async fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &BTreeMap::new()).await
    }

    async fn start_with(data_dir: &Path, env: &BTreeMap<String, String>) -> Self {
        let mut process = Process::spawn(&args(data_dir), env);
        let greeting = process.greeting().await;
        let http = Http::public();
        let url = greeting["url"].as_str().unwrap();
        let port = url.strip_prefix("http://localhost:").unwrap_or_else(|| panic!("{url}"));
        http.lead_to(format!("127.0.0.1:{port}").parse().unwrap());
        let postgres = &greeting["postgres"];
        Self {
            process,
            http,
            postgres_port: u16::try_from(postgres["port"].as_u64().unwrap()).unwrap(),
            admin_url: greeting["admin_url"].as_str().unwrap().to_owned(),
            console_url: greeting["console_url"].as_str().unwrap().to_owned(),
            url: url.to_owned(),
            location: postgres["location"].as_str().unwrap().to_owned(),
        }
    }

    fn at(&self, host: &str) -> Api {
        Api::new(&self.http, host, None)
    }

    async fn sign_up(&self, subdomain: &str, password: &str) {
        let admin = json!({ "email": "ana@acme.example", "password": password });
        let body = json!({ "name": "Acme", "subdomain": subdomain, "admin": admin });
        let accepted = self.at("localhost").post("/api/v1/tenants", &body).await.expect(202);
        let job = format!("/api/v1/jobs/{}", accepted.str_at("/job"));
        let status = wait_for("the job to come to rest", DEADLINE, async || {
            let job = self.at("localhost").get(&job).await.expect(200).json();
            (job["status"] != "running").then(|| job["status"].clone())
        })
        .await;
        assert_eq!(status, "done");
        let host = format!("{subdomain}.localhost");
        wait_until("its door", DEADLINE, async || self.at(&host).get("/api/v1/ping").await.status == 200)
            .await;
        self.check_login(subdomain, password).await;
    }

    async fn check_login(&self, subdomain: &str, password: &str) {
        let api = self.at(&format!("{subdomain}.localhost"));
        let body = json!({ "email": "ana@acme.example", "password": password });
        let token = api.post("/api/v1/auth/login", &body).await.expect(200).str_at("/access_token");
        api.with_token(&token).get("/api/v1/me").await.expect(200);
    }

    fn postgres_listens(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.postgres_port)).is_ok()
    }
}

#[tokio::test]
async fn from_nothing_it_serves_and_what_it_made_is_there_at_the_next_start() {
    let data_dir = scratch_dir("dev").join("data");
    let password = new_password();
    let mut dev = Dev::start(&data_dir).await;
    dev.at("localhost").get("/").await.expect(200);
    let nobodys = dev.http.request("GET", "nobody.localhost", "/").header("accept", "text/html");
    let port = dev.url.rsplit(':').next().unwrap();
    assert!(nobodys.send().await.expect(404).text().contains(&format!("nobody.localhost:{port}")));
    dev.sign_up("acme", &password).await;

    // Another terminal finds it by its data directory.
    let command = |args: &[&str]| Portero::new(args).env("PORTERO_DATA_DIR", data_dir.to_str().unwrap());
    let tenants = command(&["tenant", "list", "--json"]).run().await.expect(0).json();
    assert_eq!(tenants["tenants"][0]["subdomain"], "acme");
    let checks = command(&["doctor", "--json"]).run().await.expect(0).json();
    assert!(checks["checks"].as_array().unwrap().iter().all(|check| check["health"] == "ok"), "{checks}");

    // A second one on the same data says so and leaves the first alone.
    let second = Portero::new(&args(&data_dir)).run().await.expect(1);
    let told: Value = serde_json::from_str(&second.stderr).unwrap();
    assert!(told["error"].as_str().unwrap().contains("another `portero dev` is running"), "{told}");
    dev.at("acme.localhost").get("/api/v1/ping").await.expect(200);

    assert!(dev.process.terminate().await.success());
    assert!(!dev.postgres_listens(), "PostgreSQL is stopped with it");
    assert!(!Path::new(&dev.location).join("postmaster.pid").exists());
    let told = command(&["tenant", "list"]).run().await.expect(2).stderr;
    assert!(told.contains("portero dev"), "{told}");

    let again = Dev::start(&data_dir).await;
    again.check_login("acme", &password).await;
    again.sign_up("globex", &password).await;
}

#[tokio::test]
async fn killed_it_takes_postgres_along_and_recovers_at_the_next_start() {
    let data_dir = scratch_dir("dev").join("data");
    let password = new_password();
    let mut dev = Dev::start(&data_dir).await;
    dev.sign_up("acme", &password).await;
    dev.process.kill();
    wait_until("PostgreSQL to end with its owner", DEADLINE, async || !dev.postgres_listens()).await;
    let mut dev = Dev::start(&data_dir).await;
    dev.check_login("acme", &password).await;
    // And at once, before anybody has cleaned up.
    dev.process.kill();
    let dev = Dev::start(&data_dir).await;
    dev.check_login("acme", &password).await;
    dev.sign_up("globex", &password).await;
}

#[tokio::test]
async fn two_on_data_of_their_own_do_not_meet() {
    let (one, two) = (scratch_dir("dev").join("data"), scratch_dir("dev").join("data"));
    let (one, two) = tokio::join!(Dev::start(&one), Dev::start(&two));
    let password = new_password();
    one.sign_up("acme", &password).await;
    two.at("acme.localhost").get("/api/v1/ping").await.expect_problem(404, "tenant-not-found");
    assert_ne!(one.postgres_port, two.postgres_port);
}

#[tokio::test]
async fn it_runs_as_a_role_that_is_no_superuser_and_keeps_its_secrets_to_itself() {
    use std::os::unix::fs::PermissionsExt;
    let data_dir = scratch_dir("dev").join("data");
    let dev = Dev::start(&data_dir).await;
    for name in ["master.key", "portero.password", "superuser.password"] {
        let file = data_dir.join(name);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        let secret = std::fs::read_to_string(&file).unwrap();
        let said = format!("{}{}", dev.process.stdout(), dev.process.log().join("\n"));
        assert!(!said.contains(secret.trim()), "{name} is printed");
    }
    let checks =
        Portero::new(&["doctor"]).env("PORTERO_DATA_DIR", data_dir.to_str().unwrap()).run().await.expect(0);
    assert!(checks.stdout.contains("is no superuser"), "{}", checks.stdout);
}

#[tokio::test]
async fn mails_land_in_a_mailbox_where_they_can_be_read_and_do_nothing() {
    let data_dir = scratch_dir("dev-mail");
    let env = BTreeMap::from([("PORTERO_SIGNUP_MODE".to_owned(), "confirm".to_owned())]);
    let dev = Dev::start_with(&data_dir, &env).await;
    let chrome = Chrome::start(ChromeOptions::default()).await;
    chrome.open(&dev.console_url).await;
    let hostile = "<script>document.title='owned'</script><img src=x>";
    let admin = json!({ "email": "ana@acme.example" });
    let body = json!({ "name": hostile.replace('/', "|"), "subdomain": "acme", "admin": admin });
    dev.at("localhost").post("/api/v1/tenants", &body).await.expect(202);
    chrome.open(&format!("{}/mailbox", dev.admin_url)).await;
    chrome.find("nav.sections a[href='/mailbox'][aria-current=page]").await;
    assert!(!chrome.text(".mails time").await.contains('Z'), "as people write it");
    chrome.screenshot("mailbox").await;
    chrome.click("[data-mail] a").await;
    chrome.find("iframe[sandbox='']").await;
    chrome.screenshot("mail").await;
    assert!(!chrome.page.title().await.unwrap().contains("owned"));
    let path = chrome.page.current_url().await.unwrap().path().to_owned();
    let admin = Http::operators();
    admin.lead_to(dev.admin_url.strip_prefix("http://").unwrap().parse().unwrap());
    let cookie = chrome.page.get_named_cookie("portero_operator").await.unwrap();
    let cookie = format!("portero_operator={}", cookie.value());
    let html = admin.request("GET", "localhost", &format!("{path}/html")).header("cookie", &cookie);
    let html = html.send().await.expect(200);
    let policy = html.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{policy}");
    assert!(!html.text().contains("<img") && !html.text().contains("<script"), "{}", html.text());
    assert_eq!(html.header("cache-control"), Some("no-store"));
    for stranger in ["/mailbox", &path, &format!("{path}/html")] {
        admin.request("GET", "localhost", stranger).send().await.expect_problem(401, "unauthorized");
    }
    let led_here = admin.request("GET", "evil.example", &path).header("cookie", &cookie).send().await;
    assert_eq!(led_here.status, 421, "a name that was led here");
    // The link in the plain text leads to the button.
    chrome.click(".mail-text a").await;
    chrome.find("[data-confirm]").await;
    chrome.fill("#password", &new_password()).await;
    chrome.screenshot("confirm-desktop").await;
    chrome.click("form button[type=submit]").await;
    let home = dev.url.replace("localhost", "acme.localhost");
    chrome.at(&format!("{home}/")).await;
    chrome.find("tr[data-user='ana@acme.example']").await;
}
