//! The reconciler: what is on the servers is what the registry says, and each way in which it isn't is found, told, and
//! mended where that is safe.

use portero_kernel::TenantId;
use portero_pg::Session;
use portero_testkit::{Company, DEADLINE, Outcome, TestApp, TestCluster, join_all, wait_until};
use serde_json::Value;
use std::sync::Arc;
use uuid::{NoContext, Timestamp, Uuid};

const STRANGER: &str = "t_00000000000000000000000000000abc";

/// An application on a cluster of its own, where nobody else's databases are; two companies, and the superuser.
struct Place {
    app: TestApp,
    cluster: Arc<TestCluster>,
    acme: String,
    globex: String,
    admin: Session,
}

impl Place {
    async fn new() -> Self {
        let cluster = TestCluster::private().await;
        let app = TestApp::builder().cluster(&cluster).start().await;
        let companies: [Company; 2] = [app.sign_up("acme").await, app.sign_up("globex").await];
        let (acme, globex) = (app.login_of(&companies[0]).await.name, app.login_of(&companies[1]).await.name);
        let admin = cluster.superuser("postgres").await;
        Self { app, cluster, acme, globex, admin }
    }

    async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// What the doctor complains of, as `check: what was found`; each with what to do.
    async fn complaints(&self) -> Vec<String> {
        let answer = self.app.portero(&["doctor", "--json"]).run().await.json();
        complaints_of(&answer)
    }

    async fn mend(&self, args: &[&str], typed: &str) -> Outcome {
        self.app.portero(&[&["doctor", "--mend"], args].concat()).stdin(typed).run().await
    }

    async fn has(&self, catalogue: &str, column: &str, name: &str) -> bool {
        let sql = format!("SELECT FROM {catalogue} WHERE {column} = $1");
        !self.admin.query(&sql, &[&name]).await.unwrap().is_empty()
    }

    /// A database and a role of a tenant that the registry doesn't have, marked as Portero marks its own.
    async fn orphan(&self, tenant: TenantId) -> String {
        let name = format!("t_{}", Uuid::new_v4().simple());
        let portero = self.cluster.portero("postgres").await;
        portero.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).await.unwrap();
        portero
            .batch_execute(&format!(
                "REVOKE ALL ON DATABASE {name} FROM PUBLIC; COMMENT ON DATABASE {name} IS 'portero tenant {tenant}';
                 CREATE ROLE {name} LOGIN; COMMENT ON ROLE {name} IS 'portero tenant {tenant}';
                 GRANT CONNECT ON DATABASE {name} TO {name}"
            ))
            .await
            .unwrap();
        name
    }
}

fn complaints_of(answer: &Value) -> Vec<String> {
    let bad = answer["checks"].as_array().unwrap().iter().filter(|check| check["health"] != "ok");
    bad.map(|check| {
        assert!(!check["advice"].as_str().unwrap().is_empty(), "{check}");
        format!("{}: {}", check["name"].as_str().unwrap(), check["found"].as_str().unwrap())
    })
    .collect()
}

/// An id made two hours ago.
fn old_tenant() -> TenantId {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    let secs = then.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    TenantId::from(Uuid::new_v7(Timestamp::from_unix(NoContext, secs, 0)))
}

#[tokio::test]
async fn each_difference_is_found_once_and_names_whom_it_is_about() {
    let place = Place::new().await;
    let (acme, globex) = (place.acme.as_str(), place.globex.as_str());
    assert_eq!(place.complaints().await, [""; 0]);
    let owner = "ALTER ROLE portero";
    // Done by hand, what must be said, and undone by hand.
    for (done, check, said, undone) in [
        (
            format!("ALTER ROLE {acme} NOLOGIN"),
            "tenants' roles",
            "though the tenant is active: acme",
            format!("ALTER ROLE {acme} LOGIN"),
        ),
        (
            format!("ALTER ROLE {acme} CREATEDB"),
            "tenants' roles",
            "other settings than they were given: acme",
            format!("ALTER ROLE {acme} NOCREATEDB"),
        ),
        (
            format!("ALTER ROLE {acme} SET work_mem = '1GB'"),
            "tenants' roles",
            "other settings than they were given: acme",
            format!("ALTER ROLE {acme} RESET work_mem"),
        ),
        (
            format!("ALTER ROLE {acme} IN DATABASE {acme} SET search_path = evil"),
            "tenants' roles",
            "other settings than they were given: acme",
            format!("ALTER ROLE {acme} IN DATABASE {acme} RESET ALL"),
        ),
        (
            format!("ALTER ROLE {acme} CONNECTION LIMIT -1"),
            "tenants' roles",
            "other settings than they were given: acme",
            format!("ALTER ROLE {acme} CONNECTION LIMIT 20"),
        ),
        (
            format!("ALTER ROLE {acme} BYPASSRLS"),
            "tenants' roles",
            "BYPASSRLS",
            format!("ALTER ROLE {acme} NOBYPASSRLS"),
        ),
        (
            format!("GRANT {globex} TO {acme}"),
            "tenants' roles",
            "member of",
            format!("REVOKE {globex} FROM {acme}"),
        ),
        (
            format!("GRANT pg_read_all_data TO {acme}"),
            "tenants' roles",
            "member of pg_read_all_data",
            format!("REVOKE pg_read_all_data FROM {acme}"),
        ),
        (
            format!("GRANT CONNECT ON DATABASE {acme} TO PUBLIC"),
            "open databases",
            acme,
            format!("REVOKE ALL ON DATABASE {acme} FROM PUBLIC"),
        ),
        (
            format!("COMMENT ON DATABASE {acme} IS 'somebody else''s'"),
            "orphans",
            "their tenant's mark",
            format!("COMMENT ON DATABASE {acme} IS 'portero tenant {}'", tenant_id(&place, "acme").await),
        ),
        (
            format!("ALTER DATABASE {acme} ALLOW_CONNECTIONS false"),
            "orphans",
            "take no connections: acme",
            format!("ALTER DATABASE {acme} ALLOW_CONNECTIONS true"),
        ),
        (format!("CREATE ROLE {STRANGER}"), "orphans", STRANGER, format!("DROP ROLE {STRANGER}")),
        (
            format!("CREATE DATABASE {STRANGER}; REVOKE ALL ON DATABASE {STRANGER} FROM PUBLIC"),
            "orphans",
            STRANGER,
            format!("DROP DATABASE {STRANGER}"),
        ),
        (
            format!("ALTER ROLE {acme} RENAME TO away"),
            "orphans",
            "roles are missing: acme",
            format!("ALTER ROLE away RENAME TO {acme}"),
        ),
        (format!("{owner} SUPERUSER"), "Portero's role", "is a superuser", format!("{owner} NOSUPERUSER")),
    ] {
        for sql in done.split("; ") {
            place.run(sql).await;
        }
        let complaints = place.complaints().await;
        let about = |complaint: &&String| !complaint.contains("member of") || said.contains("member of");
        let told: Vec<_> = complaints.iter().filter(about).collect();
        // A role that was renamed is missing, and somebody's without a row.
        assert!(
            told.len() == 1 || (done.contains("RENAME") && told.len() == 2) || done.contains("GRANT t_"),
            "{done}: {complaints:?}"
        );
        assert!(told.iter().any(|one| one.contains(check) && one.contains(said)), "{done}: {complaints:?}");
        place.run(&undone).await;
    }
    assert_eq!(place.complaints().await, [""; 0], "and all of it is as before");

    // A role that may come in though its company is paused.
    place.app.portero(&["tenant", "pause", "globex"]).run().await.expect(0);
    assert_eq!(place.complaints().await, [""; 0], "a pause is no difference");
    place.run(&format!("ALTER ROLE {globex} LOGIN")).await;
    let told = place.complaints().await;
    assert!(
        told.len() == 1 && told[0].contains("door is shut: globex") && told[0].contains("it is paused"),
        "{told:?}"
    );

    // A row that is being made by nobody.
    let registry = place.app.peek().await;
    registry
        .batch_execute("UPDATE tenants SET status = 'provisioning' WHERE subdomain = 'globex'")
        .await
        .unwrap();
    let told = place.complaints().await;
    assert!(told.len() == 1 && told[0].contains("no job works on them: globex"), "{told:?}");
}

async fn tenant_id(place: &Place, subdomain: &str) -> TenantId {
    let row = place.app.peek().await;
    let row = row.query_one("SELECT id FROM tenants WHERE subdomain = $1", &[&subdomain]).await.unwrap();
    TenantId::from(row.get::<_, Uuid>(0))
}

#[tokio::test]
async fn fences_are_set_as_the_registry_says_and_only_by_who_agrees() {
    let place = Place::new().await;
    let (acme, globex) = (&place.acme, &place.globex);
    place.app.portero(&["tenant", "pause", "globex"]).run().await.expect(0);
    place.run(&format!("ALTER ROLE {globex} LOGIN")).await;
    place.run(&format!("ALTER ROLE {acme} NOLOGIN PASSWORD 'stolen'")).await;
    let may_log_in = async |name: &str| -> bool {
        let sql = "SELECT rolcanlogin FROM pg_roles WHERE rolname = $1";
        place.admin.query_one(sql, &[&name]).await.unwrap().get(0)
    };

    // Nobody says yes, or somebody says something else.
    for typed in ["", "no\nno\n"] {
        let told = place.mend(&[], typed).await.expect(1).stdout;
        assert!(told.contains("To let acme's role in") && told.contains("Left:"), "{told}");
    }
    assert!(may_log_in(globex).await && !may_log_in(acme).await);
    place.mend(&["--json"], "").await.expect(2);
    place.app.portero(&["doctor", "--yes"]).run().await.expect(2);

    // To one of two.
    let told = place.mend(&[], "yes\nno\n").await.expect(3).stdout;
    assert!(!may_log_in(globex).await, "the open fence is first: {told}");
    let answer = place.mend(&["--yes", "--json"], "").await.expect(0).json();
    assert_eq!((answer["mended"][0]["kind"].as_str(), complaints_of(&answer)), (Some("shut_fence"), vec![]));
    let [acme, globex] = ["acme", "globex"].map(|name| place.app.guest(name));
    wait_until("the door to open", DEADLINE, async || acme.get("/api/v1/ping").await.status == 200).await;
    globex.get("/api/v1/ping").await.expect_problem(503, "tenant-paused");
}

#[tokio::test]
async fn orphans_are_dropped_when_they_are_old_enough_and_named_and_nothing_without_the_mark_is() {
    let place = Place::new().await;
    let (old, young) = (place.orphan(old_tenant()).await, place.orphan(TenantId::generate()).await);
    let stranger = format!("t_{}", Uuid::new_v4().simple());
    place.run(&format!("CREATE ROLE {stranger}")).await;
    place.run(&format!("CREATE DATABASE {stranger}")).await;
    place.run(&format!("REVOKE ALL ON DATABASE {stranger} FROM PUBLIC")).await;
    let there = async |name: &str| {
        (place.has("pg_database", "datname", name).await, place.has("pg_roles", "rolname", name).await)
    };

    place.mend(&[], "yes\nyes\nyes\nyes\n").await.expect(1);
    assert_eq!(there(&old).await, (true, true), "the name was not typed");
    // Both that are old, whichever are asked for first.
    let typed = format!("{old}\n").repeat(4);
    place.mend(&[], &typed).await.expect(3);
    assert_eq!(there(&old).await, (false, false));
    assert_eq!(there(&young).await, (true, true));

    let told = place.mend(&["--yes"], "").await.expect(1).stdout;
    assert!(told.contains("younger than an hour"), "{told}");
    assert_eq!(there(&young).await, (true, true));
    assert_eq!(there(&stranger).await, (true, true), "never without the mark");
    for name in [&place.acme, &place.globex] {
        assert_eq!(there(name).await, (true, true));
    }

    // More than anybody overlooks: a registry from yesterday's backup would find as many.
    let many = [(); 6].map(|()| old_tenant());
    for tenant in many {
        place.orphan(tenant).await;
    }
    let told = place.mend(&["--yes"], "").await.expect(1).stdout;
    assert!(told.contains("more than the 5") && !told.contains("Done:"), "{told}");
}

#[tokio::test]
async fn what_another_registry_on_the_server_has_is_not_dropped() {
    let place = Place::new().await;
    let other = TestApp::builder().cluster(&place.cluster).start().await;
    let company = other.sign_up("initech").await;
    let name = other.login_of(&company).await.name;
    // Two hours ago, as far as its id tells.
    let (old, session) = (old_tenant(), other.peek().await);
    session.execute("UPDATE tenants SET id = $1 WHERE subdomain = 'initech'", &[&old.uuid()]).await.unwrap();
    for kind in ["DATABASE", "ROLE"] {
        place.run(&format!("COMMENT ON {kind} {name} IS 'portero tenant {old}'")).await;
    }
    let told = place.mend(&["--yes"], "").await.expect(1).stdout;
    assert!(told.contains(other.registry_database()) && !told.contains("Done:"), "{told}");
    assert!(place.has("pg_database", "datname", &name).await);
}

#[tokio::test]
async fn a_missing_database_is_told_and_never_made_again() {
    let place = Place::new().await;
    place.run(&format!("DROP DATABASE {} WITH (FORCE)", place.acme)).await;
    let told = place.mend(&["--yes"], "").await.expect(1).stdout;
    assert!(told.contains("databases are missing: acme") && told.contains("restore them"), "{told}");
    assert!(!place.has("pg_database", "datname", &place.acme).await);
}

#[tokio::test]
async fn what_is_under_way_is_no_finding_and_a_round_counts_what_is() {
    let mut place = Place::new().await;
    place.run(&format!("ALTER ROLE {} NOLOGIN", place.acme)).await;
    place.app.kill();
    place.app.boot().await;
    let metric = async |kind| place.app.metric("portero_findings", &[("kind", kind)]).await;
    wait_until("the first round", DEADLINE, async || {
        place.app.operators("/metrics").send().await.text().contains("portero_findings")
    })
    .await;
    assert_eq!((metric("shut_fence").await, metric("open_fence").await), (1.0, 0.0));
    assert_eq!(place.app.metric("portero_servers_not_compared", &[]).await, 0.0);
    place.mend(&["--yes"], "").await.expect(0);

    let sign_ups = join_all((0..20).map(|number| {
        let (app, name) = (&place.app, format!("company-{number}"));
        async move { app.sign_up(&name).await }
    }));
    let look = async {
        let mut looks = 0;
        for _ in 0..6 {
            assert_eq!(place.complaints().await, [""; 0]);
            looks += 1;
        }
        looks
    };
    let (companies, looks) = tokio::join!(sign_ups, look);
    assert_eq!((companies.len(), looks), (20, 6));
    assert_eq!(place.complaints().await, [""; 0]);
}
