//! Requests that dawdle, and requests that cross each other.

use portero_testkit::TestApp;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

#[tokio::test]
async fn a_body_that_does_not_come_holds_no_connection() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let mut dawdlers = Vec::new();
    // As many as one tenant may have connections, and some more.
    for n in 0..12 {
        let (method, path) = if n % 2 == 0 { ("POST", "/api/v1/users") } else { ("PUT", "/api/v1/settings") };
        let mut socket = TcpStream::connect(app.http().address()).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: 60000\r\n\r\n{{",
            acme.host, acme.token
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        dawdlers.push(socket);
    }
    for _ in 0..20 {
        app.guest("acme").get("/api/v1/ping").await.expect(200);
    }
    drop(dawdlers);
}

#[tokio::test]
async fn a_login_that_crosses_a_disabling_opens_nothing_afterwards() {
    let app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    let admin = app.api(&acme);
    let (id, _) = app.add_user(&acme, "bob@acme.example", "member").await;
    let password = portero_testkit::new_password();
    let user = json!({ "email": "eve@acme.example", "password": password, "role": "member" });
    let eve = admin.post("/api/v1/users", &user).await.expect(201).str_at("/id");
    for _ in 0..6 {
        let logins: Vec<_> = (0..6)
            .map(|_| {
                let guest = app.guest("acme");
                let body = json!({ "email": "eve@acme.example", "password": password });
                tokio::spawn(async move { guest.post("/api/v1/auth/login", &body).await })
            })
            .collect();
        admin.patch(&format!("/api/v1/users/{eve}"), &json!({ "disabled": true })).await.expect(200);
        let mut tokens = Vec::new();
        for login in logins {
            let answer = login.await.unwrap();
            assert!(matches!(answer.status, 200 | 401), "{}", answer.text());
            if answer.status == 200 {
                tokens.push(answer.str_at("/access_token"));
            }
        }
        admin.patch(&format!("/api/v1/users/{eve}"), &json!({ "disabled": false })).await.expect(200);
        for token in tokens {
            app.guest("acme").with_token(&token).get("/api/v1/me").await.expect(401);
        }
    }
    // And one who is removed meanwhile is refused like anybody unknown.
    let logins: Vec<_> = (0..6)
        .map(|_| {
            let guest = app.guest("acme");
            let body = json!({ "email": "eve@acme.example", "password": password });
            tokio::spawn(async move { guest.post("/api/v1/auth/login", &body).await.status })
        })
        .collect();
    admin.delete(&format!("/api/v1/users/{eve}")).await.expect(204);
    for login in logins {
        assert!(matches!(login.await.unwrap(), 200 | 401));
    }
    admin.get(&format!("/api/v1/users/{id}")).await.expect(200);
}
