//! Who uses an application: programs with a token, people with a browser.

use crate::{Answer, Http, Request, TestApp};
use serde::Serialize;
use std::collections::BTreeMap;

/// A program at one host, with a token or without.
#[derive(Clone, Debug)]
pub struct Api {
    http: Http,
    /// Where it asks.
    pub host: String,
    /// What it shows.
    pub token: Option<String>,
}

impl Api {
    /// At this host, with this token.
    #[must_use]
    pub fn new(http: &Http, host: &str, token: Option<&str>) -> Self {
        Self { http: http.clone(), host: host.to_owned(), token: token.map(str::to_owned) }
    }

    /// The same, with this token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self::new(&self.http, &self.host, Some(token))
    }

    /// A request with what it shows, to be filled.
    #[must_use]
    pub fn request(&self, method: &str, path: &str) -> Request {
        let request = self.http.request(method, &self.host, path);
        match &self.token {
            Some(token) => request.bearer(token),
            None => request,
        }
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> impl Future<Output = Answer> + use<> {
        self.request("GET", path).send()
    }

    /// POST of JSON.
    #[track_caller]
    pub fn post<B: Serialize + ?Sized>(&self, path: &str, body: &B) -> impl Future<Output = Answer> + use<B> {
        self.request("POST", path).json(body).send()
    }

    /// PATCH with JSON.
    #[track_caller]
    pub fn patch<B: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &B,
    ) -> impl Future<Output = Answer> + use<B> {
        self.request("PATCH", path).json(body).send()
    }

    /// PUT of JSON.
    #[track_caller]
    pub fn put<B: Serialize + ?Sized>(&self, path: &str, body: &B) -> impl Future<Output = Answer> + use<B> {
        self.request("PUT", path).json(body).send()
    }

    /// DELETE.
    #[track_caller]
    pub fn delete(&self, path: &str) -> impl Future<Output = Answer> + use<> {
        self.request("DELETE", path).send()
    }
}

/// A person's browser: keeps cookies per host as the standard says, tells where its requests come from, and asks for
/// pages. It doesn't follow redirects unless told to, so that a test sees each.
#[derive(Clone, Debug)]
pub struct Browser {
    http: Http,
    jar: BTreeMap<String, BTreeMap<String, String>>,
    /// The host of the page it shows.
    at: String,
}

impl Browser {
    /// One without a past, on the landing page.
    #[must_use]
    pub fn new(app: &TestApp) -> Self {
        Self { http: app.http().clone(), jar: BTreeMap::new(), at: app.apex() }
    }

    /// What a typed address or a followed link asks for.
    #[track_caller]
    pub fn visit<'a>(&'a mut self, host: &str, path: &str) -> impl Future<Output = Answer> + use<'a> {
        host.clone_into(&mut self.at);
        let request =
            self.with_cookies(self.http.request("GET", host, path), host).header("sec-fetch-site", "none");
        let answer = request.header("accept", "text/html,application/xhtml+xml").send();
        self.keep(host.to_owned(), answer)
    }

    /// The form of a page of the same host, sent.
    #[track_caller]
    pub fn submit(
        &mut self,
        host: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> impl Future<Output = Answer> {
        host.clone_into(&mut self.at);
        let request = self.form(host, path, fields);
        let request =
            request.header("origin", &format!("http://{host}")).header("sec-fetch-site", "same-origin");
        self.keep(host.to_owned(), request.send())
    }

    /// A form with this browser's cookies and without a word on where it comes from: to be filled and sent.
    #[must_use]
    pub fn form(&self, host: &str, path: &str, fields: &[(&str, &str)]) -> Request {
        let request = self.http.request("POST", host, path).form(fields);
        self.with_cookies(request, host).header("accept", "text/html,application/xhtml+xml")
    }

    /// Follows a redirect.
    ///
    /// # Panics
    /// Without one.
    #[track_caller]
    pub fn follow<'a>(&'a mut self, answer: &Answer) -> impl Future<Output = Answer> + use<'a> {
        let location = answer.header("location").expect("a redirect says where to").to_owned();
        let (host, path) = match location.strip_prefix("http://") {
            Some(rest) => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                (authority.split(':').next().unwrap_or_default().to_owned(), format!("/{path}"))
            }
            None => (self.at.clone(), location),
        };
        self.visit(&host, &path)
    }

    /// The value of a cookie that it holds for this host.
    #[must_use]
    pub fn cookie(&self, host: &str, name: &str) -> Option<&str> {
        self.jar.get(host)?.get(name).map(String::as_str)
    }

    /// Puts a cookie into the jar, as somebody with the browser in their hands could.
    pub fn plant(&mut self, host: &str, name: &str, value: &str) {
        self.jar.entry(host.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
    }

    /// Forgets all cookies.
    pub fn forget(&mut self) {
        self.jar.clear();
    }

    fn with_cookies(&self, request: Request, host: &str) -> Request {
        let held = self.jar.get(host).into_iter().flatten().map(|(name, value)| format!("{name}={value}"));
        let held: Vec<_> = held.collect();
        if held.is_empty() { request } else { request.header("cookie", &held.join("; ")) }
    }

    async fn keep(&mut self, host: String, answer: impl Future<Output = Answer>) -> Answer {
        let answer = answer.await;
        let jar = self.jar.entry(host).or_default();
        for cookie in answer.cookies() {
            let lower = cookie.to_ascii_lowercase();
            assert!(!lower.contains("domain="), "a cookie for siblings too: {cookie}");
            assert!(lower.contains("httponly") && lower.contains("samesite=lax"), "an open cookie: {cookie}");
            let (name, value) =
                cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            if lower.contains("max-age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}
