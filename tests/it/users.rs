//! The users of a company: who may look after them, what can be changed, and what never may: a company without an admin.

use portero_testkit::{Api, Browser, TestApp, join_all, new_password};
use serde_json::json;

fn user(id: &str) -> String {
    format!("/api/v1/users/{id}")
}

#[tokio::test]
async fn an_admin_adds_changes_disables_and_removes_a_user() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let admin = app.api(&acme);
    let password = new_password();
    let body = json!({ "email": " Berta@Acme.Example ", "password": password, "role": "member" });
    let created = admin.post("/api/v1/users", &body).await.expect(201);
    let id = created.str_at("/id");
    assert_eq!(created.header("location"), Some(user(&id).as_str()));
    assert_eq!(created.str_at("/email"), "berta@acme.example", "addresses are kept in one spelling");
    assert_eq!(
        (created.str_at("/role").as_str(), created.json()["disabled"].clone()),
        ("member", json!(false))
    );
    assert!(!created.text().contains("password") && !created.text().contains("argon2"), "{}", created.text());
    assert_eq!(admin.get(&user(&id)).await.expect(200).json(), created.json());

    let berta = app.log_in("acme", "BERTA@acme.example", &password).await;
    assert_eq!(berta.get("/api/v1/me").await.expect(200).str_at("/user/id"), id);

    let changed = admin.patch(&user(&id), &json!({ "role": "admin" })).await.expect(200);
    assert_eq!(changed.str_at("/role"), "admin");
    berta.get("/api/v1/users").await.expect(200);
    admin.patch(&user(&id), &json!({ "role": "member" })).await.expect(200);
    berta.get("/api/v1/users").await.expect_problem(403, "forbidden");
    admin.patch(&user(&id), &json!({})).await.expect(200);

    admin.delete(&user(&id)).await.expect(204);
    admin.get(&user(&id)).await.expect_problem(404, "not-found");
    berta.get("/api/v1/me").await.expect_problem(401, "unauthorized");
    let login = json!({ "email": "berta@acme.example", "password": password });
    app.guest("acme").post("/api/v1/auth/login", &login).await.expect_problem(401, "wrong-credentials");
    // The address is free again.
    admin.post("/api/v1/users", &body).await.expect(201);
}

#[tokio::test]
async fn a_disabled_users_token_and_cookie_stop_at_once_and_stay_dead() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let admin = app.api(&acme);
    let password = new_password();
    let body = json!({ "email": "berta@acme.example", "password": password, "role": "member" });
    let id = admin.post("/api/v1/users", &body).await.expect(201).str_at("/id");
    let token = app.log_in("acme", "berta@acme.example", &password).await;
    let mut browser = Browser::new(&app);
    let fields = [("email", "berta@acme.example"), ("password", password.as_str())];
    browser.submit(&acme.host, "/login", &fields).await.expect_way_to("/");
    browser.visit(&acme.host, "/").await.expect(200);
    let other_admin = app.add_user(&acme, "carla@acme.example", "admin").await.1;

    let disabled = other_admin.patch(&user(&id), &json!({ "disabled": true })).await.expect(200);
    assert_eq!(disabled.json()["disabled"], true);
    token.get("/api/v1/me").await.expect_problem(401, "unauthorized");
    browser.visit(&acme.host, "/").await.expect_way_to("/login");
    let login = json!({ "email": "berta@acme.example", "password": password });
    app.guest("acme").post("/api/v1/auth/login", &login).await.expect_problem(401, "wrong-credentials");
    browser.submit(&acme.host, "/login", &fields).await.expect(401);

    // Let in again, they log in anew; what was ended stays so.
    other_admin.patch(&user(&id), &json!({ "disabled": false })).await.expect(200);
    token.get("/api/v1/me").await.expect_problem(401, "unauthorized");
    app.log_in("acme", "berta@acme.example", &password).await.get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_logout_ends_that_login_and_no_other() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let phone = app.log_in("acme", &acme.email, &acme.password).await;
    let mut browser = Browser::new(&app);
    let fields = [("email", acme.email.as_str()), ("password", &acme.password)];
    browser.submit(&acme.host, "/login", &fields).await.expect_way_to("/");

    phone.request("POST", "/api/v1/auth/logout").send().await.expect(204);
    phone.get("/api/v1/me").await.expect_problem(401, "unauthorized");
    phone.request("POST", "/api/v1/auth/logout").send().await.expect_problem(401, "unauthorized");
    app.api(&acme).get("/api/v1/me").await.expect(200);

    let home = browser.visit(&acme.host, "/").await.expect(200);
    let stolen = browser.cookie(&acme.host, "portero_session").unwrap().to_owned();
    let csrf = home.input("csrf").unwrap();
    browser.submit(&acme.host, "/logout", &[("csrf", &csrf)]).await.expect_way_to("/login");
    assert!(browser.cookie(&acme.host, "portero_session").is_none(), "the cookie is taken back");
    browser.plant(&acme.host, "portero_session", &stolen);
    browser.visit(&acme.host, "/").await.expect_way_to("/login");
    app.api(&acme).get("/api/v1/me").await.expect(200);
}

#[tokio::test]
async fn every_route_asks_for_the_role_it_should() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let (id, member) = app.add_user(&acme, "berta@acme.example", "member").await;
    let (guest, admin) = (app.guest("acme"), app.api(&acme));
    let (own, new) =
        (user(&id), json!({ "email": "x@x.example", "password": new_password(), "role": "admin" }));
    let none = json!({});
    // Method, path, body; what a guest, a member and an admin get.
    let table = [
        ("GET", "/api/v1/ping", None, [200, 200, 200]),
        ("GET", "/api/v1/me", None, [401, 200, 200]),
        ("GET", "/api/v1/users", None, [401, 403, 200]),
        ("POST", "/api/v1/users", Some(&new), [401, 403, 201]),
        ("GET", own.as_str(), None, [401, 403, 200]),
        ("PATCH", &own, Some(&none), [401, 403, 200]),
        ("GET", "/api/v1/settings", None, [401, 200, 200]),
        ("PUT", "/api/v1/settings", Some(&none), [401, 403, 200]),
        ("DELETE", &own, None, [401, 403, 204]),
    ];
    for (method, path, body, expected) in table {
        for (api, status) in [&guest, &member, &admin].into_iter().zip(expected) {
            let request = api.request(method, path);
            let request = if let Some(body) = body { request.json(body) } else { request };
            assert_eq!(request.send().await.status, status, "{method} {path}");
        }
    }
    for (method, path) in [("DELETE", "/api/v1/me"), ("PUT", "/api/v1/users"), ("DELETE", "/api/v1/users")] {
        admin.request(method, path).send().await.expect_problem(405, "method-not-allowed");
    }
}

#[tokio::test]
async fn a_member_sees_their_company_in_a_browser_and_changes_nobody() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let password = new_password();
    let body = json!({ "email": "berta@acme.example", "password": password, "role": "member" });
    let id = app.api(&acme).post("/api/v1/users", &body).await.expect(201).str_at("/id");
    let mut berta = Browser::new(&app);
    berta
        .submit(&acme.host, "/login", &[("email", "berta@acme.example"), ("password", &password)])
        .await
        .expect_way_to("/");
    let home = berta.visit(&acme.host, "/").await.expect(200);
    assert!(!home.text().contains("action=\"/users"), "a member is offered no form");
    let csrf = home.input("csrf").unwrap();
    let promote = [("csrf", csrf.as_str()), ("role", "admin")];
    berta.submit(&acme.host, &format!("/users/{id}/role"), &promote).await.expect_way_to("/");
    berta
        .submit(&acme.host, &format!("/users/{}/disable", acme.admin_id), &[("csrf", &csrf)])
        .await
        .expect_way_to("/");
    let new = [("csrf", csrf.as_str()), ("email", "x@x.example"), ("password", &password), ("role", "admin")];
    berta.submit(&acme.host, "/users", &new).await.expect_way_to("/");
    let users = app.api(&acme).get("/api/v1/users").await.expect(200).json();
    let roles: Vec<_> =
        users["users"].as_array().unwrap().iter().map(|user| (&user["role"], &user["disabled"])).collect();
    assert_eq!(roles, [(&json!("admin"), &json!(false)), (&json!("member"), &json!(false))]);
}

#[tokio::test]
async fn the_last_admin_can_be_neither_removed_nor_disabled_nor_demoted() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let admin = app.api(&acme);
    let (berta, _) = app.add_user(&acme, "berta@acme.example", "member").await;
    let me = user(&acme.admin_id);
    let refused = async |api: &Api, path: &str| {
        api.patch(path, &json!({ "role": "member" })).await.expect_problem(409, "last-admin");
        api.patch(path, &json!({ "disabled": true })).await.expect_problem(409, "last-admin");
        api.patch(path, &json!({ "role": "member", "disabled": true }))
            .await
            .expect_problem(409, "last-admin");
        api.delete(path).await.expect_problem(409, "last-admin");
    };
    refused(&admin, &me).await;
    // An admin who may not log in doesn't count.
    admin.patch(&user(&berta), &json!({ "role": "admin", "disabled": true })).await.expect(200);
    refused(&admin, &me).await;
    admin.patch(&user(&berta), &json!({ "disabled": false })).await.expect(200);
    admin.patch(&me, &json!({ "role": "member" })).await.expect(200);
    admin.get("/api/v1/users").await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn two_admins_who_demote_each_other_at_once_leave_one_admin() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let session = app.cluster().superuser(&app.login_of(&acme).await.name).await;
    let password = new_password();
    let berta = json!({ "email": "berta@acme.example", "password": password, "role": "admin" });
    let berta_id = app.api(&acme).post("/api/v1/users", &berta).await.expect(201).str_at("/id");
    for round in 0..20 {
        let ana = app.log_in("acme", &acme.email, &acme.password).await;
        let berta = app.log_in("acme", "berta@acme.example", &password).await;
        let body = match round % 3 {
            0 => json!({ "role": "member" }),
            1 => json!({ "disabled": true }),
            _ => json!({ "role": "member", "disabled": true }),
        };
        let (of_berta, of_ana) = (user(&berta_id), user(&acme.admin_id));
        let (one, two) = tokio::join!(ana.patch(&of_berta, &body), berta.patch(&of_ana, &body));
        let statuses = [one.status, two.status];
        // Who comes second finds the first gone: the last admin (409), or not an admin any more (403, 401).
        assert_eq!(
            statuses.iter().filter(|status| **status == 200).count(),
            1,
            "round {round}: {statuses:?}"
        );
        assert!(
            statuses.iter().all(|status| [200, 401, 403, 409].contains(status)),
            "round {round}: {statuses:?}"
        );
        let admins = "SELECT count(*) FROM users WHERE role = 'admin' AND disabled_at IS NULL";
        assert_eq!(session.query_one(admins, &[]).await.unwrap().get::<_, i64>(0), 1, "round {round}");
        session.batch_execute("UPDATE users SET role = 'admin', disabled_at = NULL").await.unwrap();
    }
}

#[tokio::test]
async fn pages_of_users_follow_each_other_without_a_gap() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let admin = app.api(&acme);
    let emails: Vec<String> = (0..6).map(|number| format!("user-{number}@acme.example")).collect();
    let created = join_all(emails.iter().map(|email| {
        admin.post("/api/v1/users", &json!({ "email": email, "password": new_password(), "role": "member" }))
    }));
    for answer in created.await {
        answer.expect(201);
    }
    let (mut seen, mut path) = (Vec::new(), "/api/v1/users?limit=3".to_owned());
    loop {
        let page = admin.get(&path).await.expect(200).json();
        let users = page["users"].as_array().unwrap();
        assert!(users.len() <= 3);
        seen.extend(users.iter().map(|user| user["email"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/users?limit=3&after={}", next.replace('@', "%40"));
    }
    let mut all = emails;
    all.insert(0, acme.email);
    assert_eq!(seen, all);
    for (query, count) in [("limit=0", 1), ("limit=-1", 1), ("limit=100000", 7), ("after=zzz", 0), ("", 7)] {
        let page = admin.get(&format!("/api/v1/users?{query}")).await.expect(200).json();
        assert_eq!(page["users"].as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn nobody_is_found_by_an_id_that_is_none() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let admin = app.api(&acme);
    for id in [
        "00000000-0000-0000-0000-000000000000",
        "01890a5d-ac96-774b-bcce-b302099a8057",
        "x",
        "1",
        "%00",
        "..%2f..",
        "'%20OR%201=1--",
        &"a".repeat(5000),
    ] {
        admin.get(&user(id)).await.expect_problem(404, "not-found");
        admin.patch(&user(id), &json!({ "role": "member" })).await.expect_problem(404, "not-found");
        admin.delete(&user(id)).await.expect_problem(404, "not-found");
    }
    admin.get("/api/v1/users/").await.expect_problem(404, "not-found");
}

#[tokio::test]
async fn an_address_that_a_colleague_has_is_refused_in_every_spelling() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.sign_up("acme").await, app.sign_up("globex").await);
    let admin = app.api(&acme);
    for email in ["admin@acme.example", "ADMIN@Acme.Example", "  admin@acme.example "] {
        let body = json!({ "email": email, "password": new_password(), "role": "member" });
        let refused = admin.post("/api/v1/users", &body).await.expect_problem(409, "taken");
        assert_eq!(refused.faults(), [("email".to_owned(), "taken".to_owned())]);
    }
    // At another company the same address is another person's.
    let body = json!({ "email": acme.email, "password": new_password(), "role": "member" });
    app.api(&globex).post("/api/v1/users", &body).await.expect(201);
    // Of ten who add the same colleague at once, one does.
    let body = json!({ "email": "new@acme.example", "password": new_password(), "role": "member" });
    let answers = join_all((0..10).map(|_| admin.post("/api/v1/users", &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status)));
}

#[tokio::test]
async fn what_an_admin_does_is_in_the_companys_audit() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let admin = app.api(&acme);
    let (id, _) = app.add_user(&acme, "berta@acme.example", "member").await;
    admin.patch(&user(&id), &json!({ "disabled": true })).await.expect(200);
    admin.delete(&user(&id)).await.expect(204);
    admin.put("/api/v1/settings", &json!({ "locale": "es" })).await.expect(200);
    let wrong = json!({ "email": acme.email, "password": "wrong-one" });
    app.guest("acme").post("/api/v1/auth/login", &wrong).await.expect_problem(401, "wrong-credentials");
    let session = app.cluster().superuser(&app.login_of(&acme).await.name).await;
    let rows = session
        .query("SELECT action, actor_id::text, subject_id::text, detail::text FROM audit ORDER BY id", &[]);
    let rows = rows.await.unwrap();
    let actions: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    for action in [
        "company.created",
        "login.accepted",
        "user.created",
        "user.changed",
        "user.removed",
        "settings.changed",
        "login.refused",
    ] {
        assert!(actions.contains(&action), "{action} is not in {actions:?}");
    }
    for row in rows.iter().filter(|row| row.get::<_, &str>(0).starts_with("user.")) {
        assert_eq!(row.get::<_, Option<&str>>(1), Some(acme.admin_id.as_str()));
        assert_eq!(row.get::<_, Option<&str>>(2), Some(id.as_str()));
        assert!(!row.get::<_, &str>(3).contains("kite-"), "a password is in the audit");
    }
}
