//! `Host` decides alone whose door it is: every odd spelling, through a real socket, leads to its own company, to nobody, or
//! is refused; never to another.

use portero_testkit::{RawAnswer, TestApp, exchange};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::Value;
use std::net::SocketAddr;

fn ping(host: &[u8]) -> Vec<u8> {
    [b"GET /api/v1/ping HTTP/1.1\r\nConnection: close\r\nHost: ", host, b"\r\n\r\n"].concat()
}

/// Who answered.
fn tenant(answer: &RawAnswer) -> Option<String> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    body["tenant"].as_str().map(str::to_owned)
}

/// What every answer of ours bears. What isn't HTTP at all is refused before there is a request to answer.
fn check_headers(answer: &RawAnswer, what: &str) {
    assert!(answer.header("x-request-id").is_some(), "{what}: {answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}: {answer:?}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}: {answer:?}");
}

async fn expect(address: SocketAddr, request: &[u8], status: u16, says: &str) {
    let what = String::from_utf8_lossy(request).into_owned();
    let answer = exchange(address, request).await;
    assert_eq!(answer.status, Some(status), "{what}: {answer:?}");
    assert!(answer.body.contains(says), "{what}: {answer:?}");
    check_headers(&answer, &what);
}

#[tokio::test]
async fn each_spelling_of_a_host_leads_to_its_company_or_is_refused() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    app.sign_up("globex").await;
    let address = app.http().address();
    let long = format!("{}.portero.test", "a.".repeat(140));
    let long_label = format!("{}.portero.test", "a".repeat(64));
    for (host, tenant) in [
        ("acme.portero.test", "acme"),
        ("ACME.Portero.TEST", "acme"),
        ("acme.portero.test.", "acme"),
        ("acme.portero.test:80", "acme"),
        ("acme.portero.test.:65535", "acme"),
        ("  acme.portero.test\t", "acme"),
        ("globex.portero.test", "globex"),
    ] {
        expect(address, &ping(host.as_bytes()), 200, &format!("\"tenant\":\"{tenant}\"")).await;
    }
    for host in [
        "nobody.portero.test",
        "acme-.portero.test.example",
        "evilportero.test",
        "acmeportero.test",
        "portero.test.evil.example",
        "acme.portero.test.evil.example",
        "x.acme.portero.test",
        "acme.globex.portero.test",
        "xn--acme.portero.test",
        "www.portero.test",
        "localhost",
        "test",
    ] {
        let status = if host.starts_with("acme-.") { 400 } else { 404 };
        let says = if status == 400 { "host-invalid" } else { "tenant-not-found" };
        expect(address, &ping(host.as_bytes()), status, says).await;
    }
    for host in [
        "",
        ".",
        "..",
        ":80",
        ".portero.test",
        "acme..portero.test",
        "acme.portero.test..",
        "acme.portero.test:",
        "acme.portero.test:65536",
        "acme.portero.test:80:80",
        "acme.portero.test:+80",
        "acme.portero.test:http",
        "acme.portero.test/",
        "acme.portero.test/globex",
        "acme.portero.test?x",
        "acme.portero.test#x",
        "acme.portero.test\\",
        "http://acme.portero.test",
        "ana@acme.portero.test",
        "acme.portero.test@globex.portero.test",
        "acme.portero.test,globex.portero.test",
        "acme.portero.test globex.portero.test",
        "acme.portero.test;globex",
        "acme%2eportero.test",
        "acme%00.portero.test",
        "*.portero.test",
        "_acme.portero.test",
        "-acme.portero.test",
        "acme_.portero.test",
        "\"acme.portero.test\"",
        "[acme.portero.test]",
        "127.0.0.1",
        "127.0.0.1:8080",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "[::1]",
        "[::1]:8080",
        "::1",
        "[::ffff:127.0.0.1]",
        "ácme.portero.test",
        "ａcme.portero.test",
        "acme。portero.test",
        "аcme.portero.test",
        long_label.as_str(),
        long.as_str(),
    ] {
        expect(address, &ping(host.as_bytes()), 400, "host-invalid").await;
    }
}

#[tokio::test]
async fn a_request_that_names_two_hosts_or_none_is_refused() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    app.sign_up("globex").await;
    let address = app.http().address();
    let (acme, globex) = ("acme.portero.test", "globex.portero.test");
    let get =
        |line: &str, headers: &str| format!("GET {line}\r\n{headers}Connection: close\r\n\r\n").into_bytes();
    let path = "/api/v1/ping HTTP/1.1";
    for (line, headers) in [
        ("/api/v1/ping HTTP/1.0".to_owned(), String::new()),
        (path.to_owned(), format!("Host: {acme}\r\nHost: {globex}\r\n")),
        (path.to_owned(), format!("Host: {acme}\r\nHost: {acme}\r\n")),
        (path.to_owned(), format!("Host: {acme}\r\nX-A: b\r\nhOST: {globex}\r\n")),
        (path.to_owned(), format!("Host:\r\nHost: {acme}\r\n")),
        (format!("http://{globex}{path}"), format!("Host: {acme}\r\n")),
        (format!("http://{globex}{path}"), "Host:\r\n".to_owned()),
        (format!("http://{globex}:80{path}"), format!("Host: {acme}:80\r\n")),
        (format!("http://portero.test{path}"), format!("Host: {acme}\r\n")),
        (format!("http://x@{globex}{path}"), format!("Host: {acme}\r\n")),
        (format!("http://{acme}@{globex}{path}"), format!("Host: {acme}\r\n")),
    ] {
        // Some of these the HTTP library refuses by itself, with nothing but a status.
        let answer = exchange(address, &get(&line, &headers)).await;
        assert_eq!(answer.status, Some(400), "{line} {headers}: {answer:?}");
        if !answer.body.is_empty() {
            assert!(answer.body.contains("host-invalid"), "{line} {headers}: {answer:?}");
            check_headers(&answer, &line);
        }
    }
    let agree = get(&format!("http://{globex}{path}"), &format!("Host: {globex}\r\n"));
    expect(address, &agree, 200, "\"tenant\":\"globex\"").await;
    // Paths that look like a host are paths.
    for line in [format!("//{globex}/api/v1/ping HTTP/1.1"), format!("/http://{globex}/api/v1/ping HTTP/1.1")]
    {
        expect(address, &get(&line, &format!("Host: {acme}\r\n")), 404, "not-found").await;
    }
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_the_connection_ended() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    let address = app.http().address();
    let acme = "Host: acme.portero.test\r\nConnection: close\r\n";
    let post = "POST /api/v1/auth/login HTTP/1.1\r\nContent-Type: application/json\r\n";
    for request in [
        b"GET /api/v1/ping HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET http://acme.portero.test/api/v1/ping HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /api/v1/ping HTTP/1.1\r\nHost: ac\0me.portero.test\r\n\r\n".to_vec(),
        b"GET /api/v1/ping HTTP/1.1\r\nHost : acme.portero.test\r\n\r\n".to_vec(),
        b"GET /api/v1/ping HTTP/1.1\r\n Host: acme.portero.test\r\n\r\n".to_vec(),
        b"GET /api/v1/ping\r\n\r\n".to_vec(),
        b"GET  HTTP/1.1\r\nHost: acme.portero.test\r\n\r\n".to_vec(),
        b"G\0T / HTTP/1.1\r\nHost: acme.portero.test\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20),
        // Two lengths, or a length and chunks: whoever reads it otherwise in front of us must not be led astray.
        format!("{post}{acme}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}} ").into_bytes(),
        format!("{post}{acme}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").into_bytes(),
        format!("{post}{acme}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n").into_bytes(),
        format!("{post}{acme}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n")
            .into_bytes(),
        format!("{post}{acme}Content-Length: -1\r\n\r\n").into_bytes(),
        format!("{post}{acme}Content-Length: +2\r\n\r\n{{}}").into_bytes(),
    ] {
        let what = String::from_utf8_lossy(&request).into_owned();
        let answer = exchange(address, &request).await;
        assert!(matches!(answer.status, None | Some(400 | 411 | 501)), "{what}: {answer:?}");
        assert!(!answer.body.contains("HTTP/1.1"), "two answers to {what}: {answer:?}");
    }
}

#[tokio::test]
async fn one_connection_serves_each_request_by_its_own_host() {
    let app = TestApp::start().await;
    app.sign_up("acme").await;
    app.sign_up("globex").await;
    let hosts = ["acme", "globex", "nobody", "globex", "acme"];
    let mut requests = String::new();
    for (number, name) in hosts.iter().enumerate() {
        let last = if number + 1 == hosts.len() { "Connection: close\r\n" } else { "" };
        requests.push_str(&format!("GET /api/v1/ping HTTP/1.1\r\nHost: {name}.portero.test\r\n{last}\r\n"));
    }
    let answer = exchange(app.http().address(), requests.as_bytes()).await;
    let all = format!("{}\r\n\r\n{}", answer.head, answer.body);
    let served: Vec<_> = all
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|one| {
            ["\"tenant\":\"acme\"", "\"tenant\":\"globex\"", "tenant-not-found"]
                .map(|word| one.contains(word))
        })
        .collect();
    let (acme, globex, nobody) = ([true, false, false], [false, true, false], [false, false, true]);
    assert_eq!(served, [acme, globex, nobody, globex, acme], "{all}");
}

/// Hosts near to those of two companies, and far from them.
fn hosts() -> impl Strategy<Value = Vec<u8>> {
    let near = (
        prop::sample::select(vec!["acme.portero.test", "globex.portero.test", "portero.test"]),
        any::<[bool; 24]>(),
    )
        .prop_map(|(host, upper)| {
            let cased = host.chars().zip(upper.iter().cycle());
            cased.map(|(c, up)| if *up { c.to_ascii_uppercase() } else { c }).collect::<String>()
        });
    let prefix = prop::sample::select(vec![
        "", "", "", "globex.", "www.", "x", "-", ".", "a@", "http://", "%61", "_", "acme",
    ]);
    let suffix = prop::sample::select(vec![
        "",
        "",
        ".",
        ":80",
        ".:1",
        "..",
        ":99999",
        ":",
        "/",
        ",globex.portero.test",
        ".evil.example",
        "%00",
        "\u{e9}",
    ]);
    // Anything that doesn't end the header's line.
    let wild =
        prop::collection::vec(any::<u8>().prop_filter("a line's end", |byte| !b"\r\n".contains(byte)), 0..80);
    let inserted =
        (near.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(host, index, byte)| {
            let mut host = host.into_bytes();
            host.insert(index.index(host.len()), if b"\r\n".contains(&byte) { b'.' } else { byte });
            host
        });
    prop_oneof![
        4 => (prefix, near, suffix).prop_map(|(prefix, host, suffix)| format!("{prefix}{host}{suffix}").into_bytes()),
        3 => inserted,
        1 => wild,
    ]
}

/// The same rule as the code's, written another way: lower case, no white space around, one port, one dot at the end.
fn led_to(host: &[u8]) -> Option<&'static str> {
    let host = std::str::from_utf8(host).ok()?.trim_matches([' ', '\t']).to_ascii_lowercase();
    let ports = |rest: &str| {
        rest.is_empty()
            || rest.strip_prefix(':').is_some_and(|port| {
                (1..=5).contains(&port.len())
                    && port.chars().all(|c| c.is_ascii_digit())
                    && port.parse::<u32>().unwrap() < 65536
            })
    };
    ["acme", "globex"].into_iter().find(|name| {
        let rest = host.strip_prefix(&format!("{name}.portero.test"));
        rest.is_some_and(|rest| ports(rest.strip_prefix('.').unwrap_or(rest)))
    })
}

#[test]
fn no_host_however_written_leads_to_another_company() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = runtime.block_on(async {
        let app = TestApp::start().await;
        app.sign_up("acme").await;
        app.sign_up("globex").await;
        app
    });
    let address = app.http().address();
    let mut runner = TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&hosts(), |host| {
        let answer = runtime.block_on(exchange(address, &ping(&host)));
        let shown = String::from_utf8_lossy(&host).into_owned();
        let served = tenant(&answer);
        prop_assert_eq!(served.as_deref(), led_to(&host), "{:?}: {:?}", shown, answer);
        prop_assert!(matches!(answer.status, Some(200 | 400 | 404)), "{:?}: {:?}", shown, answer);
        Ok(())
    });
    outcome.unwrap();
}
