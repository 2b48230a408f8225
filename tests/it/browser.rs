//! A company signs up and works, in a real browser: on a desktop, on a phone, by keyboard, without scripts, in both
//! languages. Pictures are kept in `target/screenshots`.

use crate::site::Site;
use fantoccini::Locator;
use fantoccini::key::Key;
use portero_testkit::{Chrome, ChromeOptions};
use std::io::{Read, Write};
use std::net::TcpListener;

const PASSWORD: &str = "kite-lantern-92-river";

/// Fills in and sends the form, on the sign-up page.
async fn fill_sign_up(chrome: &Chrome, company: &str, subdomain: &str) {
    chrome.fill("#company", company).await;
    let field = chrome.find("#subdomain").await;
    field.clear().await.unwrap();
    field.send_keys(subdomain).await.unwrap();
    chrome.fill("#email", &format!("ana@{subdomain}.test")).await;
    chrome.fill("#password", PASSWORD).await;
}

#[tokio::test]
async fn a_company_signs_up_and_its_admin_is_logged_in_on_its_subdomain() {
    let site = Site::start().await;
    let chrome = Chrome::start(ChromeOptions::default()).await;

    chrome.open(&site.apex()).await;
    chrome.screenshot("landing").await;
    chrome.click("a[href='/signup']").await;
    chrome.fill("#company", "Panadería Ñuñoa").await;
    let suggested = chrome.find("#subdomain").await;
    portero_testkit::wait_until("a suggestion", portero_testkit::DEADLINE, async || {
        suggested.prop("value").await.unwrap().as_deref() == Some("panaderia-nunoa")
    })
    .await;
    chrome.find("#subdomain-state[data-kind=free]").await;
    chrome.fill("#email", "ana@panaderia.test").await;
    chrome.fill("#password", PASSWORD).await;
    chrome.screenshot("signup").await;
    chrome.click("form button[type=submit]").await;

    chrome.find("[data-job]").await;
    chrome.screenshot("progress").await;
    chrome.at(&format!("{}/", site.tenant("panaderia-nunoa"))).await;
    assert_eq!(chrome.text("tr[data-user] th").await.lines().next(), Some("ana@panaderia.test you"));

    chrome.fill("#email", "berta@panaderia.test").await;
    chrome.fill("#password", "kite-lantern-93-river").await;
    chrome.click("section.add button[type=submit]").await;
    chrome.find("tr[data-user='berta@panaderia.test']").await;
    chrome.screenshot("home").await;

    // The only admin can't be taken away; once there are two, one can.
    assert!(chrome.has("tr[data-user='ana@panaderia.test'] button[disabled]").await);
    chrome.click("tr[data-user='berta@panaderia.test'] form[action$='/role'] button").await;
    chrome.find("tr[data-user='ana@panaderia.test'] form[action$='/disable'] button:not([disabled])").await;

    chrome.click(".account button[type=submit]").await;
    chrome.at(&format!("{}/login", site.tenant("panaderia-nunoa"))).await;
    chrome.open(&site.tenant("panaderia-nunoa")).await;
    chrome.at(&format!("{}/login", site.tenant("panaderia-nunoa"))).await;
}

#[tokio::test]
async fn mistakes_are_shown_beside_their_fields_and_what_was_typed_is_kept() {
    let site = Site::start().await;
    site.sign_up("taken-name").await;
    let chrome = Chrome::start(ChromeOptions::default()).await;
    chrome.open(&format!("{}/signup", site.apex())).await;
    chrome.fill("#company", "Acme").await;
    let field = chrome.find("#subdomain").await;
    field.clear().await.unwrap();
    field.send_keys("taken-name").await.unwrap();
    chrome.find("#subdomain-state[data-kind=refused]").await;
    chrome.fill("#email", "ana@acme.test").await;
    chrome.fill("#password", "password123").await;
    chrome.click("form button[type=submit]").await;
    chrome.find("#password-error").await;
    assert_eq!(chrome.find("#company").await.prop("value").await.unwrap().as_deref(), Some("Acme"));
    assert_eq!(chrome.find("#password").await.prop("value").await.unwrap().as_deref(), Some(""));
    chrome.screenshot("signup-errors").await;
    // With a better password the name is what is left.
    chrome.fill("#password", PASSWORD).await;
    chrome.click("form button[type=submit]").await;
    chrome.find("#subdomain-error").await;
}

#[tokio::test]
async fn it_all_works_without_scripts_on_a_phone_in_spanish() {
    let site = Site::start().await;
    let options = ChromeOptions { window: (390, 844), language: "es-CL", scripts: false };
    let chrome = Chrome::start(options).await;
    chrome.open(&format!("{}/signup", site.apex())).await;
    assert_eq!(chrome.find("html").await.attr("lang").await.unwrap().as_deref(), Some("es"));
    chrome.screenshot("phone-signup").await;
    fill_sign_up(&chrome, "Globex", "globex").await;
    chrome.click("form button[type=submit]").await;
    chrome.at(&format!("{}/", site.tenant("globex"))).await;
    chrome.find("tr[data-user='ana@globex.test']").await;
    chrome.screenshot("phone-home").await;
    // The switch is remembered.
    chrome.click("a[hreflang=en], a[href*='lang=en']").await;
    chrome.open(&site.tenant("globex")).await;
    assert_eq!(chrome.find("html").await.attr("lang").await.unwrap().as_deref(), Some("en"));
}

#[tokio::test]
async fn a_keyboard_is_enough_to_log_in() {
    let site = Site::start().await;
    let (email, password) = site.sign_up("initech").await;
    let chrome = Chrome::start(ChromeOptions::default()).await;
    chrome.open(&format!("{}/login", site.tenant("initech"))).await;
    chrome.screenshot("login").await;
    let body = chrome.find("body").await;
    let tab = char::from(Key::Tab).to_string();
    // The first stop leads past the header; from the e-mail field on, only keys.
    body.send_keys(&tab).await.unwrap();
    assert_eq!(
        chrome.page.active_element().await.unwrap().attr("class").await.unwrap().as_deref(),
        Some("skip")
    );
    chrome
        .find("#email")
        .await
        .send_keys(&format!("{email}{tab}{password}{}", char::from(Key::Enter)))
        .await
        .unwrap();
    chrome.find("tr[data-user]").await;
}

#[tokio::test]
async fn a_hostile_name_is_text_and_nothing_runs() {
    let site = Site::start().await;
    let chrome = Chrome::start(ChromeOptions::default()).await;
    chrome.open(&format!("{}/signup", site.apex())).await;
    fill_sign_up(&chrome, "<script>document.title='owned'</script><img src=x onerror=alert(1)>", "mallory")
        .await;
    chrome.click("form button[type=submit]").await;
    chrome.at(&format!("{}/", site.tenant("mallory"))).await;
    chrome.find("tr[data-user]").await;
    assert!(chrome.page.get_alert_text().await.is_err());
    assert!(chrome.page.title().await.unwrap().contains("<script>"));
    assert!(!chrome.has("main img, header img[src=x]").await);
}

/// A page on a sibling's host that sends a form to the victim's by itself.
fn sibling_page(target: &str) -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let form = format!(
        "<!doctype html><form id=f method=post action='{target}/users'>\
         <input name=email value=mallory@evil.test><input name=password value='{PASSWORD}'><input name=role value=admin>\
         </form><script>document.getElementById('f').submit()</script>"
    );
    let page = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{form}",
        form.len()
    );
    let serve = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 4096]);
        socket.write_all(page.as_bytes()).unwrap();
    });
    (port, serve)
}

#[tokio::test]
async fn a_siblings_page_can_send_nothing_in_the_name_of_who_is_logged_in() {
    let site = Site::start().await;
    let (email, password) = site.sign_up("acme").await;
    let chrome = Chrome::start(ChromeOptions::default()).await;
    chrome.open(&format!("{}/login", site.tenant("acme"))).await;
    chrome.fill("#email", &email).await;
    chrome.fill("#password", &password).await;
    chrome.click("form button[type=submit]").await;
    chrome.find("tr[data-user]").await;

    let (port, serve) = sibling_page(&site.tenant("acme"));
    chrome.open(&format!("http://globex.localhost:{port}/")).await;
    chrome.at(&format!("{}/users", site.tenant("acme"))).await;
    assert_eq!(
        chrome.find("[data-problem]").await.attr("data-problem").await.unwrap().as_deref(),
        Some("cross-site")
    );
    serve.join().unwrap();

    chrome.open(&site.tenant("acme")).await;
    chrome.find("tr[data-user]").await;
    let users = chrome.page.find_all(Locator::Css("tr[data-user]")).await.unwrap();
    assert_eq!(users.len(), 1);
}

#[tokio::test]
async fn a_door_that_is_not_there_says_so() {
    let site = Site::start().await;
    let chrome = Chrome::start(ChromeOptions::default()).await;
    chrome.open(&site.apex()).await;
    chrome.fill("#find", "nobody-here").await;
    chrome.click(".find-form button[type=submit]").await;
    chrome.at(&site.tenant("nobody-here")).await;
    assert_eq!(
        chrome.find("[data-problem]").await.attr("data-problem").await.unwrap().as_deref(),
        Some("tenant-not-found")
    );
    chrome.screenshot("nobody").await;
}
