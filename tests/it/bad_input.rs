//! Whatever is sent: the answer names the field, nothing half-made stays behind, and nothing is ever our mistake (every
//! answer is checked for that on arrival).

use portero_testkit::{Answer, Browser, TestApp};
use serde_json::{Value, json};

const PASSWORD: &str = "kite-lantern-92-harbour";

fn sign_up() -> Value {
    let admin = json!({ "email": "ana@acme.example", "password": PASSWORD });
    json!({ "name": "Acme", "subdomain": "acme", "admin": admin })
}

/// The body with another value at the pointer.
fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

fn field(pointer: &str) -> String {
    pointer[1..].replace('/', ".")
}

/// Exactly this field is named, with this code.
#[track_caller]
fn names(answer: &Answer, field: &str, code: &str) {
    let expected = [(field.to_owned(), code.to_owned())];
    assert_eq!((answer.status, answer.faults().as_slice()), (422, expected.as_slice()), "{}", answer.text());
    assert_eq!(answer.problem(), "invalid");
}

fn wrong_types() -> [Value; 7] {
    [json!(null), json!(1), json!(-1.5e300), json!(true), json!([]), json!({}), json!(["acme"])]
}

const BAD_NAMES: [(&str, &str); 11] = [
    ("", "required"),
    (" \t ", "required"),
    ("Ac\0me", "unprintable"),
    ("Ac\nme", "unprintable"),
    ("Ac\rme", "unprintable"),
    ("\u{1b}[31mAcme", "unprintable"),
    ("Ac\u{202e}me", "unprintable"),
    ("Ac\u{200b}me", "unprintable"),
    ("Ac\u{85}me", "unprintable"),
    ("\u{feff}Acme\u{feff}x\u{feff}", "unprintable"),
    ("LONG", "too-long"),
];

const BAD_SUBDOMAINS: [(&str, &str); 27] = [
    ("", "required"),
    ("  ", "required"),
    ("ab", "too-short"),
    ("LONG", "too-long"),
    ("-acme", "not-a-label"),
    ("acme-", "not-a-label"),
    ("ac--me", "not-a-label"),
    ("xn--acme", "not-a-label"),
    ("12345", "not-a-label"),
    ("ac.me", "not-a-label"),
    ("ac me", "not-a-label"),
    ("ac_me", "not-a-label"),
    ("acme\0", "not-a-label"),
    ("ac\nme", "not-a-label"),
    ("añil", "not-a-label"),
    ("аcme", "not-a-label"),
    ("ＡＣＭＥ", "not-a-label"),
    ("%61cme", "not-a-label"),
    ("../etc", "not-a-label"),
    ("a\"; DROP DATABASE x;--", "not-a-label"),
    ("acme'--", "not-a-label"),
    ("<script>", "not-a-label"),
    ("www", "reserved"),
    ("ADMIN", "reserved"),
    ("api", "reserved"),
    ("localhost", "reserved"),
    ("autodiscover", "reserved"),
];

const BAD_EMAILS: [(&str, &str); 12] = [
    ("", "required"),
    ("ana", "not-an-email"),
    ("ana@", "not-an-email"),
    ("@acme.example", "not-an-email"),
    ("ana@localhost", "not-an-email"),
    ("ana@@acme.example", "not-an-email"),
    ("a b@acme.example", "not-an-email"),
    ("Ana <ana@acme.example>", "not-an-email"),
    ("ana@acme.example, b@b.example", "not-an-email"),
    ("ana@acme.example\r\nBcc: b@b.example", "unprintable"),
    ("ana\0@acme.example", "unprintable"),
    ("LONG@acme.example", "too-long"),
];

const BAD_PASSWORDS: [(&str, &str); 10] = [
    ("", "too-short"),
    ("kite-92", "too-short"),
    ("añilñño", "too-short"),
    ("LONG", "too-long"),
    ("kite\0lantern-92", "unprintable"),
    ("kite\nlantern-92", "unprintable"),
    ("password", "too-common"),
    ("12345678", "too-common"),
    ("Password123", "too-common"),
    ("qwertyuiop", "too-common"),
];

fn long(text: &str) -> String {
    text.replace("LONG", &"abcdefgh".repeat(32))
}

#[tokio::test]
async fn a_sign_up_with_a_wrong_field_names_it_and_leaves_nothing() {
    let app = TestApp::start().await;
    let apex = app.at_apex();
    let post = async |body: &Value| apex.post("/api/v1/tenants", body).await;
    for pointer in ["/name", "/subdomain", "/admin/email", "/admin/password"] {
        for wrong in wrong_types() {
            names(&post(&with(sign_up(), pointer, wrong)).await, &field(pointer), "wrong-type");
        }
        let mut without = sign_up();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        names(&post(&without).await, &field(pointer), "required");
    }
    for (pointer, bad) in [
        ("/name", BAD_NAMES.as_slice()),
        ("/subdomain", &BAD_SUBDOMAINS),
        ("/admin/email", &BAD_EMAILS),
        ("/admin/password", &BAD_PASSWORDS),
    ] {
        for (text, code) in bad {
            names(&post(&with(sign_up(), pointer, json!(long(text)))).await, &field(pointer), code);
        }
    }
    for own in ["acme-acme", "Acme2024", "ana@acme.example"] {
        names(&post(&with(sign_up(), "/admin/password", json!(own))).await, "admin.password", "too-common");
    }
    for (at, key) in [("", "tenant_id"), ("", "status"), ("", "plan"), ("/admin", "role"), ("/admin", "id")] {
        let mut more = sign_up();
        more.pointer_mut(at).unwrap()[key] = json!("x");
        let name = if at.is_empty() { key.to_owned() } else { format!("admin.{key}") };
        names(&post(&more).await, &name, "unknown-field");
    }
    names(&post(&with(sign_up(), "/admin", json!([]))).await, "admin", "wrong-type");
    // All at once, as a person wants to know.
    let all = json!({ "name": "", "subdomain": "a", "admin": { "email": "x", "password": "y" } });
    let faults = post(&all).await.expect_problem(422, "invalid").faults();
    let fields: Vec<_> = faults.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["name", "subdomain", "admin.email", "admin.password"]);
    assert_eq!(app.footprint().await, (0, 0));
    app.cluster().no_strays().await;
}

#[tokio::test]
async fn the_sign_up_form_keeps_what_was_typed_says_what_is_wrong_and_leaves_nothing() {
    let app = TestApp::start().await;
    let apex = app.apex();
    let good =
        [("company", "Acme"), ("subdomain", "acme"), ("email", "ana@acme.example"), ("password", PASSWORD)];
    for (index, bad) in
        [BAD_NAMES.as_slice(), &BAD_SUBDOMAINS, &BAD_EMAILS, &BAD_PASSWORDS].into_iter().enumerate()
    {
        for (text, _) in bad {
            let text = long(text);
            let mut fields = good;
            fields[index].1 = &text;
            let page = Browser::new(&app).submit(&apex, "/signup", &fields).await.expect(422);
            let html = page.text();
            assert_eq!(
                html.matches("aria-invalid=\"true\"").count(),
                1,
                "{:?}: one field is at fault",
                fields[index]
            );
            assert!(
                html.contains(&format!("id=\"{}-error\"", fields[index].0)),
                "{:?}: {html}",
                fields[index]
            );
            assert!(!html.contains(PASSWORD), "a password is shown");
            assert!(!html.contains("<script>\"") && !html.contains("value=\"<script>"), "{html}");
        }
    }
    for missing in 0..good.len() {
        let fields: Vec<_> =
            good.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, pair)| *pair).collect();
        Browser::new(&app).submit(&apex, "/signup", &fields).await.expect(422);
    }
    Browser::new(&app).submit(&apex, "/signup", &[]).await.expect(422);
    let doubled = [good.as_slice(), &[("subdomain", "globex")]].concat();
    assert!((400..500).contains(&Browser::new(&app).submit(&apex, "/signup", &doubled).await.status));
    assert_eq!(app.footprint().await, (0, 0));
}

#[tokio::test]
async fn passwords_of_eight_and_of_a_hundred_and_twenty_eight_characters_are_accepted() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let (eight, most) = ("xq7!vRt2", format!("Ñandú 株式 {}", &"xq7!vRt2 kite ".repeat(12)[..119]));
    assert_eq!(most.chars().count(), 128);
    for (email, password) in [("a@acme.example", eight), ("b@acme.example", most.as_str())] {
        let body = json!({ "email": email, "password": password, "role": "member" });
        app.api(&acme).post("/api/v1/users", &body).await.expect(201);
        app.log_in("acme", email, password).await.get("/api/v1/me").await.expect(200);
        // Nothing is cut, trimmed or folded.
        for other in [&password[..password.len() - 1], &format!("{password} "), &password.to_uppercase()] {
            let login = json!({ "email": email, "password": other });
            app.guest("acme")
                .post("/api/v1/auth/login", &login)
                .await
                .expect_problem(401, "wrong-credentials");
        }
    }
    let over = json!({ "email": "c@acme.example", "password": format!("{most}x"), "role": "member" });
    names(&app.api(&acme).post("/api/v1/users", &over).await, "password", "too-long");
}

#[tokio::test]
async fn a_new_user_with_a_wrong_field_is_not_made() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let admin = app.api(&acme);
    let good = || json!({ "email": "b@acme.example", "password": PASSWORD, "role": "member" });
    let post = async |body: &Value| admin.post("/api/v1/users", body).await;
    for pointer in ["/email", "/password", "/role"] {
        for wrong in wrong_types() {
            names(&post(&with(good(), pointer, wrong)).await, &field(pointer), "wrong-type");
        }
        let mut without = good();
        without.as_object_mut().unwrap().remove(&pointer[1..]);
        names(&post(&without).await, &field(pointer), "required");
    }
    for (pointer, bad) in [("/email", BAD_EMAILS.as_slice()), ("/password", &BAD_PASSWORDS)] {
        for (text, code) in bad {
            names(&post(&with(good(), pointer, json!(long(text)))).await, &field(pointer), code);
        }
    }
    names(&post(&with(good(), "/role", json!(""))).await, "role", "required");
    for role in ["owner", "Admin", "admin ", "admin\0", "superuser"] {
        names(&post(&with(good(), "/role", json!(role))).await, "role", "not-allowed");
    }
    for key in ["id", "disabled", "password_hash", "tenant_id", "created_at"] {
        let mut more = good();
        more[key] = json!("x");
        names(&post(&more).await, key, "unknown-field");
    }
    let users = admin.get("/api/v1/users").await.expect(200).json();
    assert_eq!(users["users"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_change_of_a_user_or_of_settings_takes_known_values_only() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let admin = app.api(&acme);
    let path = format!("/api/v1/users/{}", acme.admin_id);
    let wrong = [json!(1), json!([]), json!({}), json!(true)];
    for value in &wrong {
        names(&admin.patch(&path, &json!({ "role": value })).await, "role", "wrong-type");
        if *value != json!(true) {
            names(&admin.patch(&path, &json!({ "disabled": value })).await, "disabled", "wrong-type");
        }
        names(&admin.put("/api/v1/settings", &json!({ "locale": value })).await, "locale", "wrong-type");
    }
    for value in ["", "owner", "ADMIN", "admin\0"] {
        names(&admin.patch(&path, &json!({ "role": value })).await, "role", "not-allowed");
        names(&admin.put("/api/v1/settings", &json!({ "locale": value })).await, "locale", "not-allowed");
    }
    for key in ["email", "password", "id", "tenant_id", "created_at"] {
        names(&admin.patch(&path, &json!({ key: "x" })).await, key, "unknown-field");
    }
    names(&admin.put("/api/v1/settings", &json!({ "theme": "dark" })).await, "theme", "unknown-field");
    assert_eq!(admin.get("/api/v1/settings").await.expect(200).json(), json!({ "locale": null }));
    admin.put("/api/v1/settings", &json!({ "locale": "en" })).await.expect(200);
    assert_eq!(admin.get("/api/v1/settings").await.expect(200).json(), json!({ "locale": "en" }));
    admin.get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn no_login_however_odd_is_more_than_refused() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let guest = app.guest("acme");
    let attempts = [
        ("", ""),
        ("ana", PASSWORD),
        ("nobody@acme.example", PASSWORD),
        (acme.email.as_str(), ""),
        (&acme.email, "wrong"),
        (&acme.email, "a\0b"),
        ("admin@acme.example\0", &acme.password),
        ("' OR 1=1 --", "' OR 1=1 --"),
        ("admin@acme.example'--", &acme.password),
        ("%", &acme.password),
        (&"a".repeat(10_000), PASSWORD),
        (&acme.email, &"a".repeat(50_000)),
    ];
    let mut bodies = Vec::new();
    for (email, password) in attempts {
        let body = json!({ "email": email, "password": password });
        let refused = guest.post("/api/v1/auth/login", &body).await.expect_problem(401, "wrong-credentials");
        let mut body = refused.json();
        body["request_id"] = json!(null);
        bodies.push(body);
        let fields = [("email", email), ("password", password)];
        Browser::new(&app).submit(&acme.host, "/login", &fields).await.expect(401);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "all refusals read alike: {bodies:?}");
    for pointer in ["/email", "/password"] {
        let good = json!({ "email": acme.email, "password": acme.password });
        for wrong in wrong_types() {
            names(
                &guest.post("/api/v1/auth/login", &with(good.clone(), pointer, wrong)).await,
                &pointer[1..],
                "wrong-type",
            );
        }
    }
    for token in ["", "x", "a.b.c", "..", &acme.token[1..], &format!("{}x", acme.token), &"a".repeat(6_000)] {
        guest.with_token(token).get("/api/v1/me").await.expect_problem(401, "unauthorized");
    }
    for header in ["Basic YTpi", "bearer", "Bearer", "Bearer  ", "Token x"] {
        let request = guest.request("GET", "/api/v1/me").header("authorization", header);
        request.send().await.expect_problem(401, "unauthorized");
    }
    for cookie in ["portero_session=", "portero_session=x", "portero_session=%00", "=;=", "portero_session"] {
        let request = guest.request("GET", "/api/v1/me").header("cookie", cookie);
        request.send().await.expect_problem(401, "unauthorized");
    }
}
