//! A real browser: Chromium without a window, led by ChromeDriver.

use crate::{DEADLINE, scratch_dir, wait_for};
use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// How a browser is set up.
#[derive(Debug, Clone, Copy)]
pub struct ChromeOptions {
    /// The window, in CSS pixels.
    pub window: (u32, u32),
    /// What it sends as `Accept-Language`.
    pub language: &'static str,
    /// Whether scripts run.
    pub scripts: bool,
}

impl Default for ChromeOptions {
    fn default() -> Self {
        Self { window: (1280, 900), language: "en", scripts: true }
    }
}

/// A browser with a profile of its own. Dropped, it is killed.
pub struct Chrome {
    /// What leads it.
    pub page: Client,
    driver: Child,
    profile: PathBuf,
}

impl Chrome {
    /// Starts one.
    ///
    /// # Panics
    /// If Chromium or ChromeDriver isn't there: `cargo xtask test` installs them, or says how.
    pub async fn start(options: ChromeOptions) -> Self {
        let profile = scratch_dir("chrome");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed: `cargo xtask test` sees to it");
        let stdout = driver.stdout.take().expect("it is piped");
        let port = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split("successfully on port ").nth(1)?.trim_end_matches('.').trim().parse::<u16>().ok()
            })
            .expect("chromedriver says its port");
        let (width, height) = options.window;
        let args = [
            "--headless".to_owned(),
            // Root may run Chromium only without its sandbox; what it visits here is our own.
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--user-data-dir={}", profile.display()),
            format!("--window-size={width},{height}"),
            format!("--lang={}", options.language),
        ];
        let scripts = if options.scripts { 1 } else { 2 };
        let chrome = json!({
            "args": args,
            "prefs": {
                "intl.accept_languages": options.language,
                "profile.managed_default_content_settings.javascript": scripts,
            },
        });
        let capabilities: Map<String, Value> =
            [("goog:chromeOptions".to_owned(), chrome)].into_iter().collect();
        let page = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("chromium is installed and starts: `cargo xtask test` sees to it");
        // Narrower than a window may be on a desktop: a phone's screen is set as such.
        page.set_window_size(width, height).await.expect("a window has a size");
        Self { page, driver, profile }
    }

    /// Goes to an address and waits until it is loaded.
    ///
    /// # Panics
    /// If the browser can't.
    pub async fn open(&self, url: &str) {
        self.page.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// The element, as soon as it is there.
    ///
    /// # Panics
    /// At the deadline, with the page that is there instead.
    pub async fn find(&self, css: &str) -> Element {
        let found = self.page.wait().at_most(DEADLINE).for_element(Locator::Css(css)).await;
        match found {
            Ok(element) => element,
            Err(error) => {
                let url = self.page.current_url().await;
                let source = self.page.source().await.unwrap_or_default();
                panic!("no {css} on {url:?}: {error}\n{source}");
            }
        }
    }

    /// Whether the element is there now.
    pub async fn has(&self, css: &str) -> bool {
        self.page.find(Locator::Css(css)).await.is_ok()
    }

    /// Its text.
    ///
    /// # Panics
    /// As [`Chrome::find`].
    pub async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.expect("an element has a text")
    }

    /// Types into a field.
    ///
    /// # Panics
    /// As [`Chrome::find`].
    pub async fn fill(&self, css: &str, text: &str) {
        self.find(css).await.send_keys(text).await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Clicks.
    ///
    /// # Panics
    /// As [`Chrome::find`].
    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Waits until the address begins like this.
    ///
    /// # Panics
    /// At the deadline.
    pub async fn at(&self, url: &str) {
        wait_for(&format!("the address {url}"), DEADLINE, async || {
            let now = self.page.current_url().await.ok()?;
            now.as_str().starts_with(url).then_some(())
        })
        .await;
    }

    /// Keeps a picture of the page as a build artefact, in `target/screenshots`.
    ///
    /// # Panics
    /// If the disk refuses.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        // From its top, whatever had the focus; where scripts are off it stays as it is.
        let _ = self.page.execute("window.scrollTo(0, 0)", Vec::new()).await;
        let picture = self.page.screenshot().await.expect("a page has a picture");
        let dir = crate::scratch::target_dir().join("screenshots");
        fs::create_dir_all(&dir).expect("the target directory can be written");
        let path = dir.join(format!("{name}.png"));
        fs::write(&path, picture).expect("the target directory can be written");
        path
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // A browser outlives its driver. Its processes are known by the profile, which is this test's alone.
        let ours = format!("--user-data-dir={}", self.profile.display()).into_bytes();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if let Some(pid) =
                pid.filter(|_| command.split(|byte| *byte == 0).any(|argument| argument == ours))
            {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
