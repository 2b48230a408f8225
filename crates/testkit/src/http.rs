//! Requests to an application by address and `Host`, and their answers.

use reqwest::{
    Client, Method, Response,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde::Serialize;
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A way to one listener. Clones follow the application to its new port when it is started again.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    address: Arc<Mutex<SocketAddr>>,
    public: bool,
}

impl Http {
    /// To the listener that companies and their users reach: every answer is checked for what all must have.
    #[must_use]
    pub fn public() -> Self {
        Self::new(true)
    }

    /// To the operators' listener.
    #[must_use]
    pub fn operators() -> Self {
        Self::new(false)
    }

    fn new(public: bool) -> Self {
        let client = Client::builder().redirect(Policy::none()).no_proxy().timeout(Duration::from_secs(60));
        Self {
            client: client.build().expect("a client without TLS needs nothing"),
            address: Arc::new(Mutex::new(SocketAddr::from(([127, 0, 0, 1], 0)))),
            public,
        }
    }

    /// Where it leads.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        *self.address.lock().expect("nobody panics with it")
    }

    /// Leads it there.
    ///
    /// # Panics
    /// Never: nothing panics while it is changed.
    pub fn lead_to(&self, address: SocketAddr) {
        *self.address.lock().expect("nobody panics with it") = address;
    }

    /// A request, to be filled and sent.
    ///
    /// # Panics
    /// If `method` isn't one.
    #[must_use]
    pub fn request(&self, method: &str, host: &str, path: &str) -> Request {
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("host"),
            HeaderValue::from_bytes(host.as_bytes()).expect("a host that a header can hold"),
        )]);
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        Request { http: self.clone(), method, path: path.to_owned(), headers, body: None }
    }
}

/// A request that is not sent yet.
#[derive(Debug)]
pub struct Request {
    http: Http,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

impl Request {
    /// With this header, in addition to others of its name.
    ///
    /// # Panics
    /// If they aren't ones.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
        self.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header's value"));
        self
    }

    /// With this token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// With this as its JSON.
    ///
    /// # Panics
    /// If it can't be JSON.
    #[must_use]
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        let body = serde_json::to_vec(body).expect("a test's body is JSON");
        self.body("application/json", body)
    }

    /// With these as its form.
    ///
    /// # Panics
    /// Never: pairs of texts are always a form.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = serde_urlencoded::to_string(fields).expect("pairs are a form");
        self.body("application/x-www-form-urlencoded", body)
    }

    /// With any body.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", content_type)
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    /// Without an answer; and where an answer of the public listener lacks what all must have.
    #[track_caller]
    pub fn send(self) -> impl Future<Output = Answer> {
        let what = self.what(std::panic::Location::caller());
        async move {
            let answer = self.read(what.clone()).await;
            answer.unwrap_or_else(|error| panic!("no answer, or not the whole of it, to {what}: {error:?}"))
        }
    }

    /// Sends it and reads the whole answer, where one comes.
    ///
    /// # Errors
    /// Nobody listens, or the answer breaks off.
    ///
    /// # Panics
    /// Where an answer of the public listener lacks what all must have.
    #[track_caller]
    pub fn attempt(self) -> impl Future<Output = reqwest::Result<Answer>> {
        let what = self.what(std::panic::Location::caller());
        self.read(what)
    }

    fn what(&self, caller: &std::panic::Location<'_>) -> String {
        format!("{} {} (at {caller})", self.method, self.path)
    }

    async fn read(self, what: String) -> reqwest::Result<Answer> {
        let public = self.http.public;
        let response = self.dispatch().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Answer { status, headers, body: response.bytes().await?.to_vec(), what };
        if public {
            answer.check();
        }
        Ok(answer)
    }

    /// Sends it and hands out the answer to be read as it comes.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn open(self) -> Response {
        let what = format!("{} {}", self.method, self.path);
        self.dispatch().await.unwrap_or_else(|error| panic!("no answer to {what}: {error:?}"))
    }

    async fn dispatch(self) -> reqwest::Result<Response> {
        let url = format!("http://{}{}", self.http.address(), self.path);
        let mut request = self.http.client.request(self.method, &url).headers(self.headers);
        if let Some(body) = self.body {
            request = request.body(body);
        }
        request.send().await
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    what: String,
}

impl Answer {
    /// Checks the status.
    ///
    /// # Panics
    /// On another, with the body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text());
        self
    }

    /// Checks the status and the stable name of the problem.
    ///
    /// # Panics
    /// On another, with the body.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.problem().as_str()), (status, code), "{}: {}", self.what, self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.what);
        self
    }

    /// A header's value, the first of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Checks that it sends a browser to this address; a query of it is left aside.
    ///
    /// # Panics
    /// If it doesn't.
    #[track_caller]
    pub fn expect_way_to(self, address: &str) -> Self {
        let to = self.header("location").and_then(|location| location.split('?').next());
        assert_eq!((self.status, to), (303, Some(address)), "{}: {}", self.what, self.text());
        self
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it isn't.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} answered no JSON: {error}: {}", self.what, self.text()))
    }

    /// A text inside the JSON, by its pointer: `/user/id`.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    #[must_use]
    pub fn str_at(&self, pointer: &str) -> String {
        let found = self.json().pointer(pointer).and_then(|value| value.as_str().map(str::to_owned));
        found.unwrap_or_else(|| panic!("{} answered no {pointer}: {}", self.what, self.text()))
    }

    /// The stable name of the problem; empty where the answer isn't one.
    #[must_use]
    pub fn problem(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let kind = json["type"].as_str().unwrap_or_default();
        kind.strip_prefix("urn:portero:problem:").unwrap_or_default().to_owned()
    }

    /// The fields at fault that a problem names, each with the code of what is wrong.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let errors = json["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| (text(&error["field"]), text(&error["code"]))).collect()
    }

    /// The value of the first input of this name in a page.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<String> {
        let page = self.text();
        let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    }

    /// The cookies it sets, each as it came.
    pub fn cookies(&self) -> impl Iterator<Item = &str> {
        self.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok())
    }

    /// What holds of every answer of the public listener.
    fn check(&self) {
        let what = &self.what;
        assert!(self.header("x-request-id").is_some_and(|id| id.len() >= 8), "{what}: no request id");
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{what}");
        assert_eq!(self.header("x-frame-options"), Some("DENY"), "{what}");
        assert!(self.headers.contains_key("content-security-policy"), "{what}: no policy");
        let caching = self.header("cache-control").unwrap_or_default();
        assert!(caching == "no-store" || what.contains(" /static/"), "{what}: Cache-Control {caching:?}");
        assert!(!self.headers.contains_key("access-control-allow-origin"), "{what}: opened to other origins");
        assert!(self.status < 500 || self.status == 503, "{what}: {} {}", self.status, self.text());
        if self.status >= 400 {
            let text = self.text();
            for internal in ["SQLSTATE", "postgres", "db error", ".rs:", "portero_registry", "panicked"] {
                assert!(!text.contains(internal), "{what} lets out {internal:?}: {text}");
            }
        }
    }
}
