//! The wire to PostgreSQL: encrypted where the URL asks for it, to a server whose certificate is verified.

use portero_testkit::{DEADLINE, Process, TestApp, TestCluster, exchange, scratch_dir, wait_until};
use std::{collections::BTreeMap, fs, net::SocketAddr, path::PathBuf};

/// Gives the cluster a certificate for `localhost` and switches TLS on; returns the authority to trust.
async fn switch_tls_on(cluster: &TestCluster) -> PathBuf {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let session = cluster.superuser("postgres").await;
    let home: String = session.query_one("SHOW data_directory", &[]).await.unwrap().get(0);
    // Written by the server itself, so that the key is its own and nobody else's.
    for (name, pem) in
        [("server.crt", certified.cert.pem()), ("server.key", certified.signing_key.serialize_pem())]
    {
        let lines = pem.trim();
        let copy = format!(
            "COPY (SELECT string_to_table('{lines}', chr(10))) TO PROGRAM 'umask 077; cat > {home}/{name}'"
        );
        session.batch_execute(&copy).await.unwrap();
    }
    let reload = "ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf()";
    for statement in reload.split("; ") {
        session.batch_execute(statement).await.unwrap();
    }
    wait_until("TLS to be on", DEADLINE, async || {
        let again = cluster.superuser("postgres").await;
        let on: String = again.query_one("SHOW ssl", &[]).await.unwrap().get(0);
        again.close().await;
        on == "on"
    })
    .await;
    session.close().await;
    let authority = scratch_dir("authority").join("ca.pem");
    fs::write(&authority, certified.cert.pem()).unwrap();
    authority
}

fn over_tls(app: &TestApp, authority: &str) -> BTreeMap<String, String> {
    let mut env = app.env().clone();
    let url = env["PORTERO_REGISTRY_URL"].replace("@127.0.0.1:", "@localhost:") + "?sslmode=require";
    env.insert("PORTERO_REGISTRY_URL".to_owned(), url);
    env.insert("PORTERO_DATABASE_CA_FILE".to_owned(), authority.to_owned());
    env
}

#[tokio::test]
async fn every_connection_is_encrypted_where_the_url_asks_for_it() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).prepare().await;
    let authority = switch_tls_on(&cluster).await;
    let mut process = Process::spawn(&["serve", "--json"], &over_tls(&app, authority.to_str().unwrap()));
    let address: SocketAddr = process.greeting().await["listen"].as_str().unwrap().parse().unwrap();

    let body = r#"{"name":"Acme","subdomain":"acme","admin":{"email":"ana@acme.example","password":"kite-lantern-92-river"}}"#;
    let sign_up = format!(
        "POST /api/v1/tenants HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        app.apex(),
        body.len()
    );
    assert_eq!(exchange(address, sign_up.as_bytes()).await.status, Some(202));
    let ping =
        format!("GET /api/v1/ping HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", app.host("acme"));
    wait_until("the new company's door", DEADLINE, async || {
        exchange(address, ping.as_bytes()).await.status == Some(200)
    })
    .await;

    let session = cluster.superuser("postgres").await;
    let sql = "SELECT usename::text, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename <> 'postgres'";
    let seen: Vec<(String, bool)> =
        session.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    session.close().await;
    assert!(
        seen.iter().any(|(user, _)| user == "portero") && seen.iter().any(|(user, _)| user.starts_with("t_")),
        "{seen:?}"
    );
    assert!(seen.iter().all(|(_, encrypted)| *encrypted), "{seen:?}");
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_not_spoken_to() {
    let cluster = TestCluster::private().await;
    let app = TestApp::builder().cluster(&cluster).prepare().await;
    switch_tls_on(&cluster).await;
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = scratch_dir("authority").join("stranger.pem");
    fs::write(&file, stranger.cert.pem()).unwrap();
    let mut process = Process::spawn(&["serve", "--json"], &over_tls(&app, file.to_str().unwrap()));
    assert_eq!(process.ended().await.code(), Some(1));
    let told = process.log().join("\n");
    assert!(told.contains("certificate"), "{told}");
}
