//! Workflows that can't be undone: they get stuck or wait, and go on from there. The one here does nothing but count.

use portero_kernel::{JobId, TenantId};
use portero_provisioner::{
    Direction, Plan, Workflow,
    engine::{LEASE, Step, StepError},
};
use portero_registry::{Claim, JobStatus, NewJob, Origin, Registry, RegistryError, StepStatus};
use portero_testkit::TestApp;
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use uuid::Uuid;

static FIRST: AtomicUsize = AtomicUsize::new(0);
/// What the second step answers, the last first.
static SECOND: Mutex<Vec<&str>> = Mutex::new(Vec::new());

static STEPS: [Step<()>; 2] = [
    Step::new("first", |()| {
        FIRST.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }),
    Step::new("second", |()| {
        let told = SECOND.lock().unwrap().pop();
        Box::pin(async move {
            match told {
                Some("never") => Err(StepError::Never("a person is needed".to_owned())),
                Some(_) => Err(StepError::Again("the server is away".to_owned())),
                None => Ok(()),
            }
        })
    }),
];

static PLAN: Plan<()> = Plan {
    kind: "count",
    direction: Direction::ForwardOnly,
    steps: &STEPS,
    load: |_, _| Box::pin(async { Ok(()) }),
};

async fn claim(registry: &Registry, job: JobId) -> Claim {
    registry.job_claim(Uuid::new_v4(), LEASE, Some(job), &[]).await.unwrap().expect("nobody has it")
}

#[tokio::test]
async fn what_can_not_be_undone_waits_or_gets_stuck_and_goes_on_from_there() {
    let mut app = TestApp::start().await;
    let acme = app.sign_up("acme").await;
    // Its worker would take a job of a kind that it doesn't know, and leave it.
    app.kill();
    let registry = app.registry().await;
    let tenant = registry.tenant_by_id(acme.tenant_id.parse::<TenantId>().unwrap()).await.unwrap().unwrap();
    let id = JobId::generate();
    let steps = PLAN.step_names();
    let job = NewJob { id, kind: PLAN.kind(), steps: &steps, secret: None, claim: None };
    registry.job_insert_for(&job, &tenant).await.unwrap();

    *SECOND.lock().unwrap() = vec!["never"];
    let stale = claim(registry, id).await;
    assert_eq!(PLAN.run(registry, &stale).await.unwrap(), JobStatus::Stuck);
    assert_eq!(FIRST.load(Ordering::SeqCst), 1);
    let stuck = registry.job_by_id(id).await.unwrap().unwrap();
    assert_eq!(stuck.steps[1].status, StepStatus::Failed);
    assert_eq!(stuck.error.as_deref(), Some("second: a person is needed"));

    // What may pass is tried four times, and then by whoever claims it next.
    assert!(registry.job_retry(id).await.unwrap());
    *SECOND.lock().unwrap() = vec!["again"; 5];
    assert_eq!(PLAN.run(registry, &claim(registry, id).await).await.unwrap(), JobStatus::Running);
    app.expire_leases().await;
    let waiting = registry.job_by_id(id).await.unwrap().unwrap();
    assert_eq!(waiting.steps[1].error.as_deref(), Some("the server is away"));

    let current = claim(registry, id).await;
    let late = PLAN.run(registry, &stale).await;
    assert!(matches!(late, Err(RegistryError::LeaseLost)), "{late:?}");
    assert_eq!(PLAN.run(registry, &current).await.unwrap(), JobStatus::Done);
    // A renewal that was on its way when the job came to rest.
    registry.job_renew(&current.lease, LEASE).await.unwrap();
    let done = registry.job_by_id(id).await.unwrap().unwrap();
    assert_eq!(done.lease_until, None);
    assert_eq!((done.error, done.steps[1].error.clone()), (None, None));
    assert_eq!(done.steps[1].attempts, 1 + 4 + 2);
    // The claim that was stale found so when it wanted to write that it begins.
    assert_eq!(FIRST.load(Ordering::SeqCst), 1);
    assert!(
        registry.lease_check(&stale.lease).await.is_err()
            && registry.lease_check(&current.lease).await.is_ok()
    );
    // Nor does anything else count that a worker notes too late.
    let note = async |version, claim: &Claim| {
        registry.tenant_set_database(tenant.id, None, Some(version), &claim.lease).await
    };
    note(77, &current).await.unwrap();
    let late = note(78, &stale).await;
    assert!(matches!(late, Err(RegistryError::LeaseLost)), "{late:?}");
    registry.tenant_set_database(tenant.id, Some(Origin::Template), None, &current.lease).await.unwrap();
    let noted = registry.tenant_by_id(tenant.id).await.unwrap().unwrap();
    assert_eq!(noted.schema_version, 77);
    assert_eq!(registry.tenant_origin(tenant.id).await.unwrap(), Some(Origin::Template));
}
