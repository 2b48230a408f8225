//! Names that nobody gets from outside: reserved ones, and those that read like somebody's.

use portero_kernel::Subdomain;
use portero_testkit::{Answer, TestApp, new_password};
use serde_json::json;

async fn ask(app: &TestApp, subdomain: &str) -> Answer {
    app.ask_for(subdomain).await.0
}

#[tokio::test]
async fn what_is_refused_is_refused_alike_by_both_ways_to_ask() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    app.sign_up("acme-1").await;
    for (name, code) in [
        ("admin", "reserved"),
        ("adrnin", "reserved"),
        ("supp0rt", "reserved"),
        ("acrne", "reserved"),
        ("ac-me", "reserved"),
        ("acmee", "reserved"),
        ("xn--acme", "not-a-label"),
        ("ab--cd", "not-a-label"),
        ("12345", "not-a-label"),
        ("-acme", "not-a-label"),
        ("ac.me", "not-a-label"),
        ("ab", "too-short"),
    ] {
        let refused = ask(&app, name).await.expect_problem(422, "invalid");
        assert_eq!(refused.faults()[0], ("subdomain".to_owned(), code.to_owned()), "{name}");
        assert!(!refused.text().contains("acme,"), "{name}: whose name it is like is nobody's business");
        if !name.contains('.') {
            let told = app.at_apex().get(&format!("/api/v1/subdomains/{name}")).await.expect(200).json();
            assert_eq!(told, json!({ "available": false, "reason": code }), "{name}");
        }
    }
    for name in ["acme-2", "acme-corp", "acme2"] {
        let told = app.at_apex().get(&format!("/api/v1/subdomains/{name}")).await.expect(200).json();
        assert_eq!(told, json!({ "available": true, "reason": null }), "{name}");
        ask(&app, name).await.expect(202);
    }
}

#[tokio::test]
async fn of_names_that_read_alike_asked_for_at_once_one_wins() {
    let app = TestApp::start().await;
    let names = ["globex", "gl0bex", "g1obex", "glo-bex", "gllobex", "giobex"];
    let answers = portero_testkit::join_all(names.map(|name| ask(&app, name))).await;
    let won = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(won, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_operator_is_told_whose_name_it_is_like_and_may_have_it() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    let args = ["tenant", "create", "--name", "X", "--subdomain", "acrne", "--admin-email", "x@x.example"];
    let args = [args.as_slice(), &["--admin-password-stdin"]].concat();
    let refused = app.portero(&args).stdin(&new_password()).run().await.expect(1);
    assert!(
        refused.stderr.contains("acme") && refused.stderr.contains("--allow-look-alike"),
        "{}",
        refused.stderr
    );
    let args = [args.as_slice(), &["--allow-look-alike"]].concat();
    drop(app.portero(&args).stdin(&new_password()).run().await.expect(0));
}

#[tokio::test]
async fn a_company_is_renamed_to_what_reads_like_another_only_if_that_is_meant() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    app.sign_up("globex").await;
    let refused = app.portero(&["tenant", "rename", "globex", "acrne"]).run().await.expect(1);
    assert!(refused.stderr.contains("reads like acme"), "{}", refused.stderr);
    let path = "/admin/v1/tenants/globex/rename";
    let asked = app.operator("POST", path).await.json(&json!({ "to": "acrne" }));
    let told = asked.send().await.expect_problem(409, "taken");
    assert!(told.text().contains("allow_look_alike"), "{}", told.text());
    // A company's own name reads like itself.
    drop(app.portero(&["tenant", "rename", "acme", "ac-me"]).run().await.expect(0));
    let asked = app.operator("POST", path).await.json(&json!({ "to": "acrne", "allow_look_alike": true }));
    assert_eq!(asked.send().await.expect(200).json()["subdomain"], "acrne");
}

#[tokio::test]
async fn the_registry_reads_names_as_the_kernel_does() {
    let app = TestApp::start().await;
    let session = app.peek().await;
    let parts = [
        "acme", "rn", "0", "1", "01", "10", "i", "vv", "v", "-", "--", "l", "ll", "o", "m", "w", "7", "r-n",
        "00",
    ];
    let mut names = Vec::new();
    for one in parts {
        for two in parts {
            for three in parts {
                names.extend(Subdomain::parse(&format!("{one}{two}{three}")).ok());
            }
        }
    }
    assert!(names.len() > 2000, "{}", names.len());
    let texts: Vec<&str> = names.iter().map(Subdomain::as_str).collect();
    let rows = session
        .query("SELECT public.name_skeleton(name) FROM unnest($1::text[]) WITH ORDINALITY AS n (name, place) ORDER BY place", &[&texts])
        .await
        .unwrap();
    for (name, row) in names.iter().zip(rows) {
        assert_eq!(row.get::<_, &str>(0), name.skeleton(), "{name}");
    }
}

#[tokio::test]
async fn what_reads_like_a_name_that_was_given_up_is_refused_as_long_as_that_is() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    app.portero(&["tenant", "rename", "acme", "globex"]).run().await.expect(0);
    let refused = ask(&app, "acrne").await.expect_problem(422, "invalid");
    assert_eq!(refused.str_at("/errors/0/code"), "reserved");
    ask(&app, "acme").await.expect_problem(409, "taken");
    let session = app.peek().await;
    session
        .batch_execute("UPDATE former_subdomains SET redirects_until = now(), quarantined_until = now()")
        .await
        .unwrap();
    ask(&app, "acrne").await.expect(202);
}
