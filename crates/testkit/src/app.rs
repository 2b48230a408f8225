//! An application under test: the real binary, on a registry of its own.

use crate::{
    Answer, Api, ChaosProxy, DEADLINE, Http, Portero, Process, Request, TestCluster, scratch_dir, wait_for,
    wait_until,
};
use portero_auth::MasterKey;
use portero_kernel::{ExposeSecret, TenantId};
use portero_pg::Session;
use portero_registry::Registry;
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr, path::Path, process::ExitStatus, sync::Arc};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// The apex of every application under test.
pub const BASE_DOMAIN: &str = "portero.test";

/// A company that signed up, and its first admin.
#[derive(Debug, Clone)]
pub struct Company {
    /// Its subdomain.
    pub subdomain: String,
    /// Its host.
    pub host: String,
    /// Its name.
    pub name: String,
    /// Its id.
    pub tenant_id: String,
    /// The first admin's address.
    pub email: String,
    /// The first admin's password.
    pub password: String,
    /// The first admin's id.
    pub admin_id: String,
    /// A token of the first admin's.
    pub token: String,
}

/// How a company's role logs in.
#[derive(Debug, Clone)]
pub struct DatabaseLogin {
    /// The role, and its database of the same name.
    pub name: String,
    /// The role's password.
    pub password: String,
}

/// What to start an application with. Without more: no limits, open sign-ups, the shared cluster.
#[derive(Clone, Default)]
pub struct AppBuilder {
    cluster: Option<Arc<TestCluster>>,
    registry_at: Option<SocketAddr>,
    env: BTreeMap<String, String>,
}

impl AppBuilder {
    /// On this cluster.
    #[must_use]
    pub fn cluster(mut self, cluster: &Arc<TestCluster>) -> Self {
        self.cluster = Some(Arc::clone(cluster));
        self
    }

    /// With its way to the registry through a proxy. Commands and tests go there directly.
    #[must_use]
    pub fn registry_through(mut self, proxy: &ChaosProxy) -> Self {
        self.registry_at = Some(proxy.address());
        self
    }

    /// With this in its environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With points at which sign-ups stop or fail: `migrate::before=pause`, `role::after=return`; several with `;`.
    #[must_use]
    pub fn failpoints(self, points: &str) -> Self {
        self.env("FAILPOINTS", points)
    }

    /// Prepares the registry and the environment, and starts nothing yet.
    pub async fn prepare(self) -> TestApp {
        let cluster = match self.cluster {
            Some(cluster) => cluster,
            None => TestCluster::shared().await,
        };
        let (database, url) = cluster.new_registry().await;
        let address = self.registry_at.unwrap_or_else(|| cluster.address());
        let seen = cluster.url(address, &database);
        let master_key = MasterKey::generate().to_text().expose_secret().to_owned();
        let mut env = BTreeMap::from(
            [
                ("PORTERO_REGISTRY_URL", seen.as_str()),
                ("PORTERO_MASTER_KEY", &master_key),
                ("PORTERO_BASE_DOMAIN", BASE_DOMAIN),
                ("PORTERO_PUBLIC_SCHEME", "http"),
                ("PORTERO_LISTEN", "127.0.0.1:0"),
                ("PORTERO_ADMIN_LISTEN", "127.0.0.1:0"),
                ("PORTERO_SIGNUP_PER_ADDRESS_HOUR", "0"),
                ("PORTERO_LOGIN_PER_ADDRESS_MINUTE", "0"),
                ("PORTERO_NAME_CHECKS_PER_ADDRESS_MINUTE", "0"),
                ("PORTERO_LOGIN_ATTEMPTS_PER_ACCOUNT", "0"),
                ("PORTERO_TENANT_REQUESTS_PER_SECOND", "0"),
                ("PORTERO_TENANT_CONCURRENCY", "0"),
                ("PORTERO_SPARES", "0"),
                ("PORTERO_LOG_FORMAT", "json"),
                ("PORTERO_DATA_DIR", &data_dir()),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        env.extend(self.env);
        let (http, operators) = (Http::public(), Http::operators());
        let registry = OnceCell::new();
        TestApp {
            cluster,
            database,
            url,
            master_key,
            env,
            http,
            operators,
            registry,
            operator_token: OnceCell::new(),
            process: None,
        }
    }

    /// Starts it, and waits until it serves.
    pub async fn start(self) -> TestApp {
        let mut app = self.prepare().await;
        app.boot().await;
        app
    }
}

/// An application under test. Dropped, its process is killed; its databases go with the cluster.
pub struct TestApp {
    cluster: Arc<TestCluster>,
    database: String,
    url: String,
    master_key: String,
    env: BTreeMap<String, String>,
    http: Http,
    pub(crate) operators: Http,
    registry: OnceCell<Registry>,
    pub(crate) operator_token: OnceCell<String>,
    process: Option<Process>,
}

impl TestApp {
    /// Starts one as usual.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// To start one otherwise.
    #[must_use]
    pub fn builder() -> AppBuilder {
        AppBuilder::default()
    }

    // --- its process -------------------------------------------------------------------------------------------------

    /// Starts the process, on new ports; what was made with [`TestApp::api`] and the like follows.
    ///
    /// # Panics
    /// If it doesn't come up.
    pub async fn boot(&mut self) {
        self.process = Some(serve(&self.env, None, &self.http, &self.operators).await);
    }

    /// Starts another process on the same registry, with a data directory of its own and without failpoints.
    ///
    /// # Panics
    /// If it doesn't come up.
    pub async fn sibling(&self) -> Sibling {
        self.sibling_at(&self.env["PORTERO_REGISTRY_URL"], &data_dir(), None).await
    }

    /// The same, of which this half alone runs: `control` or `router`.
    ///
    /// # Panics
    /// If it doesn't come up.
    pub async fn sibling_only(&self, half: &str) -> Sibling {
        self.sibling_at(&self.env["PORTERO_REGISTRY_URL"], &data_dir(), Some(half)).await
    }

    /// The same, with this data directory.
    ///
    /// # Panics
    /// If it doesn't come up.
    pub async fn sibling_in(&self, data_dir: &Path) -> Sibling {
        self.sibling_at(&self.env["PORTERO_REGISTRY_URL"], &data_dir.to_string_lossy(), None).await
    }

    /// The same, without the proxy that this one's way to the registry may lead through.
    ///
    /// # Panics
    /// If it doesn't come up.
    pub async fn direct_sibling(&self) -> Sibling {
        self.sibling_at(&self.url, &data_dir(), None).await
    }

    async fn sibling_at(&self, registry: &str, data_dir: &str, half: Option<&str>) -> Sibling {
        let mut env = self.env.clone();
        env.insert("PORTERO_REGISTRY_URL".to_owned(), registry.to_owned());
        env.remove("FAILPOINTS");
        env.insert("PORTERO_DATA_DIR".to_owned(), data_dir.to_owned());
        let (http, operators) = (Http::public(), Http::operators());
        let process = serve(&env, half, &http, &operators).await;
        Sibling { process, http, operators }
    }

    /// Kills the process as a crash would. Its jobs stay leased to it: see [`TestApp::expire_leases`].
    pub fn kill(&mut self) {
        self.process_mut().kill();
    }

    /// Ends the process in an orderly way.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.process_mut().terminate().await
    }

    /// Kills it, lets the leases run out, and starts it again without failpoints.
    pub async fn recover(&mut self) {
        self.kill();
        self.expire_leases().await;
        self.set_failpoints("");
        self.boot().await;
    }

    /// Other failpoints, from the next start on; empty for none.
    pub fn set_failpoints(&mut self, points: &str) {
        self.env.insert("FAILPOINTS".to_owned(), points.to_owned());
    }

    /// The running process.
    ///
    /// # Panics
    /// Before the first start.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("it was started")
    }

    fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// Waits until a job has come to this point: `migrate::before`.
    ///
    /// # Panics
    /// If none does.
    pub async fn wait_for_point(&self, point: &str) {
        let line = format!("\"point\":\"{point}\"");
        wait_until(&format!("the point {point}"), DEADLINE, async || {
            self.process().log().iter().any(|entry| entry.contains(&line))
        })
        .await;
    }

    /// Waits until the job of this company has come to this point.
    ///
    /// # Panics
    /// If it doesn't.
    pub async fn wait_for_point_of(&self, subdomain: &str, point: &str) {
        let (point, company) = (format!("\"point\":\"{point}\""), format!("\"company\":\"{subdomain}\""));
        wait_until(&format!("{subdomain} to come to {point}"), DEADLINE, async || {
            self.process().log().iter().any(|entry| entry.contains(&point) && entry.contains(&company))
        })
        .await;
    }

    /// Lets as much time pass for the jobs as a lease lasts.
    ///
    /// # Panics
    /// Without the registry.
    pub async fn expire_leases(&self) {
        let session = self.peek().await;
        let sql = "UPDATE jobs SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL";
        session.batch_execute(sql).await.expect("the registry is there");
        session.close().await;
    }

    /// A call of `portero` with this application's settings.
    #[must_use]
    pub fn portero(&self, args: &[&str]) -> Portero {
        let call = Portero::new(args).env("PORTERO_REGISTRY_URL", &self.url);
        let ours = ["PORTERO_MASTER_KEY", "PORTERO_BASE_DOMAIN", "PORTERO_PUBLIC_SCHEME"];
        ours.iter().fold(call, |call, key| call.env(key, &self.env[*key]))
    }

    /// The environment that its process is started with.
    #[must_use]
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    // --- its doors ---------------------------------------------------------------------------------------------------

    /// The apex host.
    #[must_use]
    pub fn apex(&self) -> String {
        BASE_DOMAIN.to_owned()
    }

    /// A company's host.
    #[must_use]
    pub fn host(&self, subdomain: &str) -> String {
        format!("{subdomain}.{BASE_DOMAIN}")
    }

    /// The way to the public listener.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// The way to the operators' listener.
    #[must_use]
    pub fn operators_http(&self) -> &Http {
        &self.operators
    }

    /// A stranger's request to the operators' listener.
    #[must_use]
    pub fn operators(&self, path: &str) -> Request {
        self.operators.request("GET", "localhost", path)
    }

    /// The operators' listener, for a browser.
    #[must_use]
    pub fn operators_url(&self) -> String {
        format!("http://{}", self.operators.address())
    }

    /// A program at the apex.
    #[must_use]
    pub fn at_apex(&self) -> Api {
        Api::new(&self.http, BASE_DOMAIN, None)
    }

    /// A program at a company's host, without a token.
    #[must_use]
    pub fn guest(&self, subdomain: &str) -> Api {
        Api::new(&self.http, &self.host(subdomain), None)
    }

    /// The first admin's program.
    #[must_use]
    pub fn api(&self, company: &Company) -> Api {
        Api::new(&self.http, &company.host, Some(&company.token))
    }

    /// A program of whoever has this address and password.
    ///
    /// # Panics
    /// If they can't log in.
    pub async fn log_in(&self, subdomain: &str, email: &str, password: &str) -> Api {
        let guest = self.guest(subdomain);
        let answer = guest.post("/api/v1/auth/login", &json!({ "email": email, "password": password })).await;
        guest.with_token(&answer.expect(200).str_at("/access_token"))
    }

    /// The sum of the samples of a metric that have these labels.
    ///
    /// # Panics
    /// If there is none.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        metric(&self.operators, name, labels).await
    }

    // --- sign-ups ----------------------------------------------------------------------------------------------------

    /// Asks for a company by the API, with a new admin and a random password; returns the answer and the password.
    pub async fn ask_for(&self, subdomain: &str) -> (Answer, String) {
        let password = new_password();
        let body = json!({
            "name": name_of(subdomain),
            "subdomain": subdomain,
            "admin": { "email": email_of(subdomain), "password": password },
        });
        (self.at_apex().post("/api/v1/tenants", &body).await, password)
    }

    /// Signs a company up by the API, until its first admin has a token.
    ///
    /// # Panics
    /// If any of that fails.
    pub async fn sign_up(&self, subdomain: &str) -> Company {
        let (answer, password) = self.ask_for(subdomain).await;
        self.finish_sign_up(subdomain, &answer.expect(202), &password).await
    }

    /// Waits for the job of a sign-up and logs its admin in.
    ///
    /// # Panics
    /// If the job fails.
    pub async fn finish_sign_up(&self, subdomain: &str, accepted: &Answer, password: &str) -> Company {
        let job = self.job_at_rest(&accepted.str_at("/job")).await;
        assert_eq!(job["status"], "done", "{job}");
        self.meet(subdomain, &email_of(subdomain), password).await
    }

    /// A company that is there already, seen by this admin of it.
    ///
    /// # Panics
    /// If they can't log in.
    pub async fn meet(&self, subdomain: &str, email: &str, password: &str) -> Company {
        // The router hears of a new company a moment after its job is done.
        let guest = self.guest(subdomain);
        wait_until("the company's door", DEADLINE, async || guest.get("/api/v1/ping").await.status == 200)
            .await;
        let api = self.log_in(subdomain, email, password).await;
        let me = api.get("/api/v1/me").await.expect(200);
        Company {
            subdomain: subdomain.to_owned(),
            name: me.str_at("/tenant/name"),
            tenant_id: me.str_at("/tenant/id"),
            email: email.to_owned(),
            password: password.to_owned(),
            admin_id: me.str_at("/user/id"),
            token: api.token.unwrap_or_default(),
            host: api.host,
        }
    }

    /// Waits until a job is done or has failed.
    ///
    /// # Panics
    /// If it goes on and on.
    pub async fn job_at_rest(&self, id: &str) -> Value {
        let apex = self.at_apex();
        wait_for("the job to come to rest", DEADLINE, async || {
            let job = apex.get(&format!("/api/v1/jobs/{id}")).await.expect(200).json();
            (job["status"] != "running").then_some(job)
        })
        .await
    }

    /// Adds a user by an admin's program, and logs them in.
    ///
    /// # Panics
    /// If either fails.
    pub async fn add_user(&self, company: &Company, email: &str, role: &str) -> (String, Api) {
        let password = new_password();
        let body = json!({ "email": email, "password": password, "role": role });
        let answer = self.api(company).post("/api/v1/users", &body).await.expect(201);
        (answer.str_at("/id"), self.log_in(&company.subdomain, email, &password).await)
    }

    // --- looking from outside ----------------------------------------------------------------------------------------

    /// The cluster it is on.
    #[must_use]
    pub fn cluster(&self) -> &Arc<TestCluster> {
        &self.cluster
    }

    /// The superuser, in the registry's database.
    pub async fn peek(&self) -> Session {
        self.cluster.superuser(&self.database).await
    }

    /// The name of the registry's database.
    #[must_use]
    pub fn registry_database(&self) -> &str {
        &self.database
    }

    /// The registry, opened as Portero opens it.
    ///
    /// # Panics
    /// Never: its own URL and key are ones.
    pub async fn registry(&self) -> &Registry {
        self.registry
            .get_or_init(async || {
                let key = MasterKey::parse(&self.master_key).expect("a generated key is one");
                Registry::new(self.url.parse().expect("our own URL is one"), &key)
            })
            .await
    }

    /// How a company's role logs in to its database, read by Portero's own means.
    ///
    /// # Panics
    /// Without the company.
    pub async fn login_of(&self, company: &Company) -> DatabaseLogin {
        let id: TenantId = company.tenant_id.parse().expect("a tenant's id");
        let login = self.registry().await.tenant_login(id).await;
        let login = login.expect("the registry answers").expect("the company is there");
        DatabaseLogin {
            name: login.database.to_string(),
            password: login.password.expose_secret().to_owned(),
        }
    }

    /// A session as a company's role, in its database.
    ///
    /// # Panics
    /// If it isn't let in.
    pub async fn database_of(&self, company: &Company) -> Session {
        let login = self.login_of(company).await;
        let session = self.cluster.login(&login.name, &login.password, &login.name).await;
        session.unwrap_or_else(|error| panic!("{} isn't let into its database: {error:?}", company.subdomain))
    }

    /// How many tenants and jobs the registry has, and how many databases the tenants' names stand for: what a refused
    /// request must not change.
    ///
    /// # Panics
    /// Without the registry.
    pub async fn footprint(&self) -> (i64, i64) {
        let session = self.peek().await;
        let sql = "SELECT (SELECT count(*) FROM tenants), (SELECT count(*) FROM jobs)";
        let row = session.query_one(sql, &[]).await.expect("the registry is there");
        session.close().await;
        (row.get(0), row.get(1))
    }

    /// Everything that must never be in a log or in an answer.
    #[must_use]
    pub fn secrets(&self) -> [&str; 2] {
        [&self.master_key, self.cluster.password()]
    }
}

/// Another process of an application. Dropped, it is killed.
#[derive(Debug)]
pub struct Sibling {
    /// The process.
    pub process: Process,
    /// The way to its public listener.
    pub http: Http,
    /// The way to its operators' listener.
    pub operators: Http,
}

impl Sibling {
    /// As [`TestApp::metric`].
    ///
    /// # Panics
    /// If there is none.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        metric(&self.operators, name, labels).await
    }
}

async fn serve(env: &BTreeMap<String, String>, half: Option<&str>, http: &Http, operators: &Http) -> Process {
    let mut args = vec!["serve", "--json"];
    args.extend(half.into_iter().flat_map(|half| ["--only", half]));
    let mut process = Process::spawn(&args, env);
    let greeting = process.greeting().await;
    for (http, key) in [(http, "listen"), (operators, "admin_listen")] {
        let address = greeting[key].as_str().and_then(|text| text.parse().ok());
        http.lead_to(address.unwrap_or_else(|| panic!("no {key} in {greeting}")));
    }
    process
}

async fn metric(operators: &Http, name: &str, labels: &[(&str, &str)]) -> f64 {
    let text = operators.request("GET", "localhost", "/metrics").send().await.expect(200).text();
    let values = text.lines().filter_map(|line| {
        let (sample, value) = line.rsplit_once(' ')?;
        let (of, labelled) = sample.split_once('{').unwrap_or((sample, ""));
        let has = |(key, value): &(&str, &str)| labelled.contains(&format!("{key}=\"{value}\""));
        (of == name && labels.iter().all(has)).then(|| value.parse::<f64>().ok())?
    });
    values.reduce(|sum, value| sum + value).unwrap_or_else(|| panic!("no {name} {labels:?} in:\n{text}"))
}

/// What a router keeps there is for no other.
fn data_dir() -> String {
    scratch_dir("data").to_string_lossy().into_owned()
}

fn name_of(subdomain: &str) -> String {
    format!("{subdomain} & Söhne")
}

fn email_of(subdomain: &str) -> String {
    format!("admin@{subdomain}.example")
}

/// One that nobody guesses.
#[must_use]
pub fn new_password() -> String {
    format!("kite-{}", Uuid::new_v4().simple())
}
