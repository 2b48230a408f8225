//! The command line: what scripts rely on. Exit codes, JSON on stdout, sentences that name what is wrong, and no secret in
//! any of it.

use portero_testkit::{
    BASE_DOMAIN, DEADLINE, Http, Portero, Process, TestApp, TestCluster, new_password, scratch_dir,
    wait_until,
};
use serde_json::{Value, json};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";

fn create<'a>(subdomain: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = ["tenant", "create", "--name", "Acme Corp", "--admin-email", "ana@acme.example"];
    [args.as_slice(), &["--admin-password-stdin", "--subdomain", subdomain], more].concat()
}

#[tokio::test]
async fn tenants_are_created_listed_and_shown() {
    let app = TestApp::start().await;
    let empty = app.portero(&["tenant", "list", "--json"]).run().await.expect(0).json();
    assert_eq!(empty, json!({ "tenants": [] }));
    let password = new_password();
    let created =
        app.portero(&create("acme", &["--json"])).stdin(&format!("{password}\n")).run().await.expect(0);
    let acme = created.json();
    assert_eq!(
        (&acme["status"], &acme["subdomain"], &acme["name"]),
        (&json!("active"), &json!("acme"), &json!("Acme Corp"))
    );
    assert_eq!(acme["url"], "http://acme.portero.test");
    // A server that runs meanwhile serves it; the line's end is no part of the password.
    let company = app.meet("acme", "ana@acme.example", &password).await;
    assert_eq!(acme["id"], company.tenant_id.as_str());

    let told = app.portero(&create("globex", &[])).stdin(&password).run().await.expect(0);
    assert!(
        told.stdout.contains("done  migrate") && told.stdout.contains("Acme Corp is ready"),
        "{}",
        told.stdout
    );
    let begun = app
        .portero(&create("initech", &["--no-wait", "--json"]))
        .stdin(&password)
        .run()
        .await
        .expect(0)
        .json();
    assert_eq!(begun["status"], "provisioning");
    assert_eq!(app.job_at_rest(begun["job"]["id"].as_str().unwrap()).await["status"], "done");

    let listed = app.portero(&["tenant", "list", "--json"]).run().await.expect(0).json();
    let names: Vec<_> =
        listed["tenants"].as_array().unwrap().iter().map(|tenant| tenant["subdomain"].clone()).collect();
    assert_eq!(names, ["acme", "globex", "initech"]);
    assert_eq!(app.portero(&["--json", "tenant", "show", "acme"]).run().await.expect(0).json(), acme);
    let table = app.portero(&["tenant", "list"]).run().await.expect(0).stdout;
    assert!(table.starts_with("SUBDOMAIN") && table.lines().count() == 4, "{table}");
    let shown = app.portero(&["tenant", "show", "acme"]).run().await.expect(0).stdout;
    assert!(shown.contains(acme["db_name"].as_str().unwrap()), "{shown}");
}

#[tokio::test]
async fn exit_codes_tell_what_failed_from_what_was_asked_wrongly() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    for (args, code, says) in [
        (vec!["tenant", "show", "nobody"], 1, "nobody"),
        (vec!["tenant", "pause", "nobody"], 1, "nobody"),
        (vec!["tenant", "resume", "nobody"], 1, "nobody"),
        (create("acme", &[]), 1, "taken"),
        (vec!["tenant", "show", "a b"], 2, "a b"),
        (create("www", &[]), 2, "--subdomain"),
        (create("a", &["--name", "X"]), 2, "--name"),
        (vec!["tenant", "show"], 2, "SUBDOMAIN"),
        (vec!["tenant", "list", "--nonsense"], 2, "--nonsense"),
        (vec!["nonsense"], 2, "nonsense"),
        (vec!["completions", "nonsense"], 2, "nonsense"),
        (vec!["-q", "-v", "tenant", "list"], 2, "--quiet"),
    ] {
        let outcome = app.portero(&args).stdin(&new_password()).run().await;
        let told = &outcome.stderr;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(code), ""), "{args:?}: {told}");
        assert!(told.contains(says), "{args:?}: {told}");
        if code == 1 {
            let told = app
                .portero(&[args.as_slice(), &["--json"]].concat())
                .stdin(&new_password())
                .run()
                .await
                .expect(1);
            let error: Value = serde_json::from_str(&told.stderr).expect("the complaint is JSON, too");
            assert!(error["error"].as_str().unwrap().contains(says), "{error}");
        }
    }
    for weak in ["short", "password123", ""] {
        let refused = app.portero(&create("globex", &[])).stdin(weak).run().await.expect(2);
        assert!(refused.stderr.contains("password"), "{}", refused.stderr);
    }
    let nobody_types = app.portero(
        &create("globex", &[]).into_iter().filter(|arg| *arg != "--admin-password-stdin").collect::<Vec<_>>(),
    );
    assert!(nobody_types.run().await.expect(2).stderr.contains("--admin-password-stdin"));
    assert_eq!(app.footprint().await, (1, 1));
}

#[tokio::test]
async fn help_version_and_completions_need_nothing() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Portero::new(&["completions", shell]).run().await.expect(0).stdout;
        assert!(script.contains("tenant") && script.contains("doctor"), "{shell}: {script}");
    }
    for args in
        [["--help"].as_slice(), &["tenant", "--help"], &["serve", "--help"], &["tenant", "create", "--help"]]
    {
        assert!(Portero::new(args).run().await.expect(0).stdout.contains("Usage"), "{args:?}");
    }
    assert!(Portero::new(&["--version"]).run().await.expect(0).stdout.starts_with("portero "));
}

#[tokio::test]
async fn a_server_that_lacks_a_setting_says_which() {
    let app = TestApp::builder().prepare().await;
    let serve = || {
        app.portero(&["serve"])
            .env("PORTERO_LISTEN", "127.0.0.1:0")
            .env("PORTERO_ADMIN_LISTEN", "127.0.0.1:0")
    };
    for missing in ["PORTERO_REGISTRY_URL", "PORTERO_MASTER_KEY", "PORTERO_BASE_DOMAIN"] {
        let told = serve().without(missing).run().await.expect(2).stderr;
        assert!(told.contains(missing), "{missing}: {told}");
    }
    for (key, value, says) in [
        ("PORTERO_SINGUP_MODE", "open", "PORTERO_SINGUP_MODE"),
        ("PORTERO_", "x", "PORTERO_"),
        ("PORTERO_PORTERO_LISTEN", "127.0.0.1:0", "PORTERO_PORTERO_LISTEN"),
        ("PORTERO_SIGNUP_MODE", "ajar", "signup_mode"),
        ("PORTERO_LISTEN", "8080", "listen"),
        ("PORTERO_ADMIN_LISTEN", "here", "admin_listen"),
        ("PORTERO_BASE_DOMAIN", "127.0.0.1", "base_domain"),
        ("PORTERO_PUBLIC_SCHEME", "gopher", "public_scheme"),
        ("PORTERO_PUBLIC_PORT", "99999", "PUBLIC_PORT"),
        ("PORTERO_WORKERS", "0", "workers"),
        ("PORTERO_LOG_FORMAT", "xml", "log_format"),
        ("PORTERO_LOG", "loud=loud", "log"),
        ("PORTERO_TRUSTED_PROXIES", "nginx", "trusted_proxies"),
        ("PORTERO_MASTER_KEY", "0000", "master_key"),
        ("PORTERO_MASTER_KEY_FILE", "/nowhere/at/all", "master_key"),
        ("PORTERO_REGISTRY_URL", "mysql://x:hunter2@y/z", "registry_url"),
        ("PORTERO_SIGNUP_PER_ADDRESS_HOUR", "-1", "SIGNUP_PER_ADDRESS_HOUR"),
    ] {
        let told = serve().env(key, value).run().await.expect(2);
        assert!(told.stderr.contains(says) && told.stdout.is_empty(), "{key}={value}: {}", told.all());
        assert!(!told.stderr.contains("hunter2"), "{key}: {}", told.stderr);
    }
    let file = scratch_dir("config").join("portero.toml");
    std::fs::write(&file, "base_domian = \"ejemplo.com\"\n").unwrap();
    let told = app.portero(&["serve", "--config", file.to_str().unwrap()]).run().await.expect(2).stderr;
    assert!(told.contains("base_domian") && told.contains("portero.toml"), "{told}");
    let told = app.portero(&["serve", "--config", "/nowhere.toml"]).run().await.expect(2).stderr;
    assert!(told.contains("/nowhere.toml"), "{told}");
}

#[tokio::test]
async fn a_server_that_can_not_start_says_why() {
    let app = TestApp::start().await;
    let taken = app.http().address().to_string();
    let told = app.portero(&["serve"]).env("PORTERO_LISTEN", &taken).run().await.expect(1).stderr;
    assert!(told.contains(&taken) && told.contains("PORTERO_LISTEN"), "{told}");
    let away = "postgresql://portero:hunter2hunter2@127.0.0.1:1/portero_registry";
    for args in [["serve"].as_slice(), &["tenant", "list"], &["tenant", "show", "acme"]] {
        let told = app.portero(args).env("PORTERO_REGISTRY_URL", away).run().await.expect(1);
        assert!(told.stderr.contains("registry") && !told.stderr.contains("hunter2"), "{}", told.stderr);
    }
    let nowhere = scratch_dir("nowhere");
    let told = Portero::new(&["tenant", "list"])
        .env("PORTERO_DATA_DIR", nowhere.to_str().unwrap())
        .run()
        .await
        .expect(2)
        .stderr;
    assert!(told.contains("portero dev") && told.contains("PORTERO_REGISTRY_URL"), "{told}");
}

#[tokio::test]
async fn the_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).start().await;
    let acme = app.sign_up("acme").await;
    let admin = cluster.superuser("postgres").await;
    let doctor = async |code| {
        let outcome = app.portero(&["doctor", "--json"]).run().await.expect(code);
        let checks = outcome.json()["checks"].as_array().unwrap().clone();
        let bad = checks.into_iter().filter(|check| check["health"] != "ok");
        bad.map(|check| {
            assert!(!check["advice"].as_str().unwrap().is_empty(), "{check}");
            format!(
                "{} {}: {}",
                check["health"].as_str().unwrap(),
                check["name"].as_str().unwrap(),
                check["found"].as_str().unwrap()
            )
        })
        .collect::<Vec<String>>()
    };
    assert_eq!(doctor(0).await, [""; 0]);

    admin.batch_execute("CREATE DATABASE open_to_all").await.unwrap();
    let found = doctor(0).await;
    assert!(
        found.len() == 1 && found[0].starts_with("warn") && found[0].contains("open_to_all"),
        "{found:?}"
    );
    admin.batch_execute("DROP DATABASE open_to_all").await.unwrap();

    let orphan = "t_00000000000000000000000000000abc";
    admin.batch_execute(&format!("CREATE ROLE {orphan}")).await.unwrap();
    let found = doctor(0).await;
    assert!(found.len() == 1 && found[0].starts_with("warn") && found[0].contains(orphan), "{found:?}");
    admin.batch_execute(&format!("DROP ROLE {orphan}")).await.unwrap();

    admin.batch_execute("ALTER ROLE portero NOCREATEDB").await.unwrap();
    let found = doctor(1).await;
    assert!(found.len() == 1 && found[0].starts_with("fail") && found[0].contains("role"), "{found:?}");
    admin.batch_execute("ALTER ROLE portero CREATEDB").await.unwrap();

    let other_key = app.portero(&["doctor"]).env("PORTERO_MASTER_KEY", KEY).run().await.expect(1).stdout;
    assert!(other_key.contains("FAIL  master key"), "{other_key}");
    let away = app
        .portero(&["doctor"])
        .env("PORTERO_REGISTRY_URL", "postgresql://portero:x@127.0.0.1:1/x")
        .run()
        .await;
    assert!(away.expect(1).stdout.contains("FAIL  registry"));

    let name = app.login_of(&acme).await.name;
    admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    admin.batch_execute(&format!("DROP ROLE {name}")).await.unwrap();
    let found = doctor(1).await;
    assert!(found.len() == 1 && found[0].starts_with("fail") && found[0].contains(&name), "{found:?}");
}

#[tokio::test]
async fn no_command_prints_a_secret_however_much_it_is_asked_to_say() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let login = app.login_of(&acme).await;
    let password = new_password();
    for args in [
        vec!["tenant", "list"],
        vec!["tenant", "show", "acme", "--json"],
        vec!["tenant", "pause", "acme"],
        vec!["tenant", "resume", "acme"],
        create("globex", &[]),
        vec!["doctor"],
        vec!["doctor", "--json"],
    ] {
        let said =
            app.portero(&[&["-vv"], args.as_slice()].concat()).stdin(&password).run().await.expect(0).all();
        for secret in app.secrets().into_iter().chain([acme.password.as_str(), &login.password, &password]) {
            assert!(!said.contains(secret), "{args:?} says a secret");
        }
    }
    let mut env = app.env().clone();
    env.insert("PORTERO_LOG".to_owned(), "trace".to_owned());
    let mut process = Process::spawn(&["serve", "--json"], &env);
    let http = lead(&process.greeting().await);
    http.request("GET", &acme.host, "/api/v1/me").bearer(&acme.token).send().await.expect(200);
    let login_body = json!({ "email": acme.email, "password": acme.password });
    let token = http
        .request("POST", &acme.host, "/api/v1/auth/login")
        .json(&login_body)
        .send()
        .await
        .expect(200)
        .str_at("/access_token");
    wait_until("its log to be written", DEADLINE, async || {
        process.log().iter().any(|line| line.contains("/api/v1/auth/login"))
    })
    .await;
    let said = format!("{}{}", process.log().join("\n"), process.stdout());
    for secret in
        app.secrets().into_iter().chain([acme.password.as_str(), &login.password, &token, &acme.token])
    {
        assert!(!said.contains(secret), "the log has a secret");
    }
}

#[tokio::test]
async fn what_a_terminal_would_obey_is_no_reason_and_is_shown_written_out() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    let pause = app.portero(&["tenant", "pause", "acme", "--reason", "unpaid\u{1b}[2J"]).run().await;
    assert!(pause.expect(2).all().contains("without control characters"));
    // From before, or by another way.
    let pause = "UPDATE tenants SET pause_reason = E'un\\x1b[2Jpaid\\r', status = 'paused'";
    app.peek().await.batch_execute(pause).await.unwrap();
    let shown = app.portero(&["tenant", "show", "acme"]).run().await.expect(0).stdout;
    assert!(shown.contains(r"paused (un\u{1b}[2Jpaid\r)") && !shown.contains('\u{1b}'), "{shown:?}");
    let shown = app.portero(&["tenant", "show", "acme", "--json"]).run().await.expect(0).json();
    assert_eq!(shown["pause_reason"], "un\u{1b}[2Jpaid\r");
}

#[tokio::test]
async fn the_settings_in_the_deploy_directory_are_ones_to_start_with() {
    let app = TestApp::builder().prepare().await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/portero.toml");
    let mut env = app.env().clone();
    // What the file says stands, but for the ports, which another server may have.
    env.retain(|key, _| {
        ["PORTERO_REGISTRY_URL", "PORTERO_MASTER_KEY", "PORTERO_LISTEN", "PORTERO_ADMIN_LISTEN"]
            .contains(&key.as_str())
    });
    let mut process = Process::spawn(&["serve", "--json", "--config", file], &env);
    let greeting = process.greeting().await;
    assert_eq!(greeting["url"], "https://ejemplo.com");
    let http = lead(&greeting);
    http.request("GET", "ejemplo.com", "/").send().await.expect(200);
    http.request("GET", BASE_DOMAIN, "/").send().await.expect_problem(404, "tenant-not-found");
    // By https, cookies are for this very host alone.
    let form = [
        ("company", "Acme"),
        ("subdomain", "acme"),
        ("email", "ana@acme.example"),
        ("password", "kite-lantern-92-harbour"),
    ];
    let sent = http.request("POST", "ejemplo.com", "/signup").form(&form).send().await.expect(303);
    let cookie = sent.cookies().next().unwrap();
    assert!(
        cookie.starts_with("__Host-") && cookie.contains("; Secure") && !cookie.contains("Domain"),
        "{cookie}"
    );
    assert!(process.terminate().await.success());
}

fn lead(greeting: &Value) -> Http {
    let http = Http::public();
    http.lead_to(greeting["listen"].as_str().unwrap().parse().unwrap());
    http
}
