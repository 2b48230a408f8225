//! The log of a run of migrations, as those who work at it write it: what a lost answer leaves, two at once, and a fleet that
//! was empty when the run began.

use portero_kernel::{MigrationRunId, SchemaVersion, ServerId, TenantId};
use portero_provisioner::TENANT_MIGRATIONS;
use portero_registry::{
    Claimant, MigrationResult, MigrationRunStatus, MigrationState, NewMigrationRun, NewMigrationTenant,
    Registry, StopRule,
};
use portero_testkit::TestApp;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(60);

/// A run to the version after those built in, of these companies in one wave.
async fn begin(registry: &Registry, companies: &[&str]) -> (MigrationRunId, ServerId) {
    let tenants = registry.tenants_after(None, 10).await.unwrap();
    let server = registry.servers().await.unwrap()[0].id;
    let tenants = tenants.into_iter().filter(|tenant| companies.contains(&tenant.subdomain.as_str()));
    let run = NewMigrationRun {
        id: MigrationRunId::generate(),
        target: target(),
        digest: 1,
        files: json!([]),
        whole_fleet: true,
        waves: "100%".to_owned(),
        max_failures: None,
        jobs: 2,
        lock_timeout: Duration::from_secs(2),
        tenants: tenants
            .map(|tenant| NewMigrationTenant {
                tenant: tenant.id,
                subdomain: tenant.subdomain,
                server: tenant.server,
                wave: 1,
                version: tenant.schema_version,
            })
            .collect(),
    };
    assert_eq!(run.tenants.len(), companies.len());
    registry.migration_run_insert(&run, LEASE).await.unwrap();
    (run.id, server)
}

fn target() -> SchemaVersion {
    TENANT_MIGRATIONS.latest() + 1
}

fn failure(tenant: TenantId) -> [MigrationResult; 1] {
    [MigrationResult {
        tenant,
        state: MigrationState::Failed,
        before: None,
        after: None,
        attempts: 1,
        took: Duration::ZERO,
        error: Some("it failed".to_owned()),
    }]
}

async fn status(registry: &Registry, run: MigrationRunId) -> MigrationRunStatus {
    registry.migration_run(run).await.unwrap().unwrap().status
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_had_by_asking_again() {
    let app = TestApp::start().await;
    for company in ["acme", "globex"] {
        app.sign_up(company).await;
    }
    let registry = app.registry().await;
    let (run, server) = begin(registry, &["acme", "globex"]).await;
    let owner = Uuid::new_v4();
    let claim = async |owner: Uuid, held: &[TenantId]| {
        let by = Claimant { owner, lease: LEASE, held };
        let claimed = registry.migration_claim(run, 1, server, by, 10).await.unwrap();
        claimed.into_iter().map(|one| one.tenant).collect::<Vec<_>>()
    };
    let lost = claim(owner, &[]).await;
    assert_eq!(lost.len(), 2);
    assert_eq!(claim(Uuid::new_v4(), &[]).await, [], "they are somebody's");
    assert_eq!(claim(owner, &[]).await, lost, "nobody else will ever have them");
    assert_eq!(claim(owner, &lost[..1]).await, lost[1..], "one of them is being worked at");
    assert_eq!(claim(owner, &lost).await, []);
}

#[tokio::test]
async fn two_failures_that_are_written_down_at_once_count_both_and_whoever_writes_later_hears_of_the_stop() {
    let app = TestApp::start().await;
    let companies = ["acme", "globex", "initech"];
    for company in companies {
        app.sign_up(company).await;
    }
    for _ in 0..10 {
        let registry = app.registry().await;
        let (run, server) = begin(registry, &companies).await;
        let owners = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
        let mut claimed = Vec::new();
        for owner in owners {
            let by = Claimant { owner, lease: LEASE, held: &[] };
            claimed.extend(registry.migration_claim(run, 1, server, by, 1).await.unwrap());
        }
        let [first, second, third] = claimed.as_slice() else { panic!("{claimed:?}") };
        let stop = Some(StopRule { wave: 1, limit: 1 });
        let (one, other) = (failure(first.tenant), failure(second.tenant));
        let (one, other) = tokio::join!(
            registry.migration_record(run, owners[0], &one, stop),
            registry.migration_record(run, owners[1], &other, stop),
        );
        assert!(one.unwrap() || other.unwrap(), "two have failed, and no more than one may");
        assert_eq!(status(registry, run).await, MigrationRunStatus::Stopped);
        // Without a failure of its own, or asking again after a lost answer.
        assert!(registry.migration_record(run, owners[0], &failure(first.tenant), stop).await.unwrap());
        let done = [MigrationResult { state: MigrationState::Done, ..failure(third.tenant)[0].clone() }];
        assert!(registry.migration_record(run, owners[2], &done, None).await.unwrap());
        registry.migration_leave(run).await.unwrap();
    }
}

#[tokio::test]
async fn who_comes_to_a_fleet_that_was_empty_has_a_wave_that_is_still_to_come() {
    let app = TestApp::start().await;
    let registry = app.registry().await;
    let (run, server) = begin(registry, &[]).await;
    app.sign_up("acme").await;
    assert_eq!(registry.migration_add_latecomers(run).await.unwrap(), 1);
    let at = registry.migration_run(run).await.unwrap().unwrap();
    registry.migration_advance(run, at.wave).await.unwrap();
    let next = registry.migration_run(run).await.unwrap().unwrap();
    assert_eq!((next.wave, next.last_wave), (at.wave + 1, at.wave + 1));
    assert_eq!(registry.migration_servers(run, next.wave).await.unwrap(), [server]);
}
