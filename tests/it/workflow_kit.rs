//! What every workflow passes. A workflow describes itself as a [`Flow`]; each function here is a test of it, on a cluster
//! of its own, and ends with what is there being counted against what the registry says.
//!
//! Many jobs are held in one process, each of a company of its own and at a point of its own, and one SIGKILL kills them
//! all there. `PORTERO_KILLS=all` goes on with pairs: killed at one point, gone on with, killed at a later one.

use portero_testkit::{DEADLINE, TestApp, TestCluster, join_all, wait_for, wait_until};
use serde_json::Value;
use std::sync::Arc;

/// A workflow, as the kit needs to know it.
pub(crate) trait Flow {
    /// Its steps, in order.
    const STEPS: &'static [&'static str];
    /// Points within an action, in the order in which a job passes them: `role::opened`.
    const INSIDE: &'static [&'static str] = &[];
    /// Points within an undo: `cleanup::opened-undo`.
    const INSIDE_UNDO: &'static [&'static str] = &[];
    /// Whether what was done is undone when a step fails.
    const UNDOABLE: bool;
    /// The first of its steps that can fail: before it there is nothing to undo.
    const FIRST_TO_FAIL: usize = 0;
    /// What one must know of a job to look at its outcome: a password.
    type Ticket: Send;

    /// Makes what must be there before.
    async fn prepare(_: &TestApp, _subdomain: &str) {}
    /// Asks for it; the job's id.
    async fn start(app: &TestApp, subdomain: &str) -> (String, Self::Ticket);
    /// The world is as it should be when all is done.
    async fn check_done(app: &TestApp, subdomain: &str, ticket: &Self::Ticket);
    /// The world is as it was before.
    async fn check_undone(app: &TestApp, subdomain: &str);
}

/// Held jobs take workers' places, so there are many.
const ROOM: &str = "worker::at_once=return(100)";
/// Jobs that are held, and killed, together.
const TOGETHER: usize = 30;
/// People who ask for something at the same time.
const LANES: usize = 6;

/// A job that is to be killed.
struct Case {
    subdomain: String,
    /// What else its points are told.
    told: String,
    /// Where it is killed, one after the other.
    at: Vec<String>,
    /// How it ends.
    done: bool,
}

/// All points of the steps that lead to an end, in the order in which they are passed.
fn points<F: Flow>(undoing: bool) -> Vec<String> {
    let (steps, inside, suffix) = if undoing {
        let steps = F::STEPS[..F::STEPS.len() - 1].iter().rev().copied().collect();
        (steps, F::INSIDE_UNDO, "-undo")
    } else {
        (F::STEPS.to_vec(), F::INSIDE, "")
    };
    let mut points = Vec::new();
    if undoing {
        let last = F::STEPS[F::STEPS.len() - 1];
        points.extend([format!("{last}::failing"), format!("{last}::failed")]);
        points.extend(["job::turning", "job::turned"].map(str::to_owned));
    }
    for step in steps {
        points.extend(["begin", "before"].map(|moment| format!("{step}::{moment}{suffix}")));
        let within = inside.iter().filter(|point| step_of(point) == step);
        points.extend(within.map(|point| (*point).to_owned()));
        points.extend(["after", "end"].map(|moment| format!("{step}::{moment}{suffix}")));
    }
    points.extend(["job::resting", "job::rested"].map(str::to_owned));
    points
}

fn step_of(point: &str) -> &str {
    point.split("::").next().unwrap()
}

fn last_fails<F: Flow>() -> String {
    format!("{}::before=return", F::STEPS[F::STEPS.len() - 1])
}

/// Which points one is killed at, in which order, and how it ends.
fn cases<F: Flow>(pairs: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |at: Vec<String>, undoing: bool| {
        let told = if undoing { last_fails::<F>() } else { String::new() };
        cases.push(Case { subdomain: format!("kill-{}", cases.len()), told, at, done: !undoing });
    };
    for undoing in if F::UNDOABLE { [false, true].as_slice() } else { &[false] } {
        let points = points::<F>(*undoing);
        for (index, first) in points.iter().enumerate() {
            add(vec![first.clone()], *undoing);
            // A job that was killed in a step passes all points of the next; of its own only some.
            let later = points[index..].iter().filter(|second| step_of(second) != step_of(first));
            for second in later.filter(|_| pairs) {
                add(vec![first.clone(), second.clone()], *undoing);
            }
        }
    }
    cases
}

/// Kills jobs at every point there is, with SIGKILL: before and after each log write, before, in and after each effect, on
/// the way there and on the way back. All come to rest, nothing is lost, and nothing is left.
#[expect(clippy::print_stdout, reason = "how much was tried is part of the result")]
pub(crate) async fn killed_at_every_point<F: Flow>() {
    let pairs = std::env::var("PORTERO_KILLS").is_ok_and(|value| value == "all");
    let cases = cases::<F>(pairs);
    let (mut jobs, mut kills) = (0, 0);
    for together in cases.chunks(TOGETHER) {
        let cluster = TestCluster::private().await;
        let mut app = TestApp::builder().cluster(&cluster).failpoints(ROOM).start().await;
        in_lanes(together.iter().collect(), async |case| F::prepare(&app, &case.subdomain).await).await;
        let mut started = Vec::new();
        for round in 0..2 {
            let held: Vec<_> = together.iter().filter(|case| case.at.len() > round).collect();
            if held.is_empty() {
                break;
            }
            // Who is not held in this round goes on, and fails where it should.
            let told = together.iter().map(|case| {
                told(case, &case.at.get(round).map(|at| format!("{at}=pause")).unwrap_or_default())
            });
            restart(&mut app, told).await;
            if round == 0 {
                started = in_lanes(held.clone(), async |case| F::start(&app, &case.subdomain).await).await;
            }
            for case in &held {
                app.wait_for_point_of(&case.subdomain, &case.at[round]).await;
            }
            app.kill();
            jobs += held.len();
            kills += 1;
        }
        // Those that are to be undone still have to fail.
        restart(&mut app, together.iter().filter(|case| !case.done).map(|case| told(case, ""))).await;
        let ended = together.iter().zip(&started).collect();
        in_lanes(ended, async |(case, (job, ticket))| {
            check::<F>(&app, &case.subdomain, job, case.done.then_some(ticket), &case.at.join(", then "))
                .await;
        })
        .await;
        at_rest(&app, &cluster).await;
    }
    println!(
        "{jobs} jobs killed at {} points{}, by {kills} SIGKILLs: all at rest, 0 orphans",
        points::<F>(false).len() + if F::UNDOABLE { points::<F>(true).len() } else { 0 },
        if pairs { " and pairs of them" } else { "" },
    );
}

/// Kills what is there, lets the leases run out, and starts with other points.
async fn restart(app: &mut TestApp, told: impl Iterator<Item = String>) {
    let told: Vec<_> = told.collect();
    app.kill();
    app.expire_leases().await;
    app.set_failpoints(&format!("{};{ROOM}", told.join(";")));
    app.boot().await;
}

fn told(case: &Case, point: &str) -> String {
    let told = [case.told.as_str(), point].into_iter().filter(|told| !told.is_empty());
    told.map(|told| format!("{}/{told}", case.subdomain)).collect::<Vec<_>>().join(";")
}

/// Does each action and each undo twice, as if the answer of the first had been lost.
pub(crate) async fn everything_twice<F: Flow>() {
    let cluster = TestCluster::private().await;
    let forth = F::STEPS.iter().map(|step| format!("forth/{step}::after=1*return(again)"));
    let back = F::STEPS.iter().map(|step| format!("back/{step}::after-undo=1*return(again)"));
    let told: Vec<_> = forth.chain(back).chain([format!("back/{}", last_fails::<F>())]).collect();
    let mut app = TestApp::builder().cluster(&cluster).failpoints(ROOM).start().await;
    let companies = if F::UNDOABLE { ["forth", "back"].as_slice() } else { &["forth"] };
    in_lanes(companies.to_vec(), async |company| F::prepare(&app, company).await).await;
    restart(&mut app, told.into_iter()).await;
    for company in companies {
        let (job, ticket) = F::start(&app, company).await;
        check::<F>(&app, company, &job, (*company == "forth").then_some(&ticket), "everything twice").await;
        let steps = steps(&app, &job).await;
        let twice = steps.iter().filter(|step| step["attempts"].as_i64().unwrap() >= 2).count();
        let expected = F::STEPS.len() - usize::from(*company == "back");
        assert_eq!(twice, expected, "{company}: {steps:?}");
    }
    at_rest(&app, &cluster).await;
}

/// Fails each step for good, before it has had its effect and after: the slate is clean, or a retry goes on.
pub(crate) async fn failed_at_every_step<F: Flow>() {
    let cluster = TestCluster::private().await;
    let points: Vec<_> = F::STEPS[F::FIRST_TO_FAIL..]
        .iter()
        .flat_map(|step| ["before", "after"].map(|moment| format!("{step}::{moment}")))
        .collect();
    let cases: Vec<_> =
        points.iter().enumerate().map(|(number, at)| (format!("fail-{number}"), at)).collect();
    let mut app = TestApp::builder().cluster(&cluster).failpoints(ROOM).start().await;
    in_lanes(cases.clone(), async |(company, _)| F::prepare(&app, &company).await).await;
    restart(&mut app, cases.iter().map(|(company, at)| format!("{company}/{at}=return"))).await;
    let jobs = in_lanes(cases.clone(), async |(company, at)| {
        let (job, ticket) = F::start(&app, &company).await;
        assert_eq!(app.job_at_rest(&job).await["status"], "failed", "{at}");
        if F::UNDOABLE {
            check::<F>(&app, &company, &job, None, at).await;
        }
        (company, job, ticket)
    })
    .await;
    if !F::UNDOABLE {
        restart(&mut app, std::iter::empty()).await;
        for (company, job, ticket) in &jobs {
            assert_eq!(status(&app, job).await, "stuck", "{company}");
            app.portero(&["jobs", "retry", job]).run().await.expect(0);
            check::<F>(&app, company, job, Some(ticket), "after a retry").await;
        }
    }
    at_rest(&app, &cluster).await;
}

/// Freezes a worker at the beginning of every step for longer than its lease, while another finishes its jobs. Half of
/// them don't even notice when they wake, and try to go on.
pub(crate) async fn frozen_at_every_step<F: Flow>() {
    let cluster = TestCluster::private().await;
    let before = F::STEPS.iter().map(|step| format!("{step}::before"));
    let opened =
        F::INSIDE.iter().filter(|point| point.ends_with("::opened")).map(|point| (*point).to_owned());
    let cases: Vec<_> =
        before.chain(opened).enumerate().map(|(number, at)| (format!("ice-{number}"), at)).collect();
    let mut app = TestApp::builder().cluster(&cluster).failpoints(ROOM).start().await;
    in_lanes(cases.clone(), async |(company, _)| F::prepare(&app, &company).await).await;
    let told = cases.iter().enumerate().map(|(number, (company, at))| {
        let blind = if number % 2 == 0 { format!(";{company}/job::renew=pause") } else { String::new() };
        format!("{company}/{at}=sleep(15000){blind}")
    });
    restart(&mut app, told).await;
    let started = in_lanes(cases.clone(), async |(company, _)| F::start(&app, &company).await).await;
    for (company, at) in &cases {
        app.wait_for_point_of(company, at).await;
    }
    app.process().suspend();
    // On a slow machine some may have slept enough by now, and be done.
    let session = app.peek().await;
    let sql = "SELECT count(*) FROM jobs WHERE status = 'running'";
    let frozen: i64 = session.query_one(sql, &[]).await.unwrap().get(0);
    session.close().await;
    assert!(frozen > 0, "somebody must be frozen in time");
    app.expire_leases().await;
    let sibling = app.sibling().await;
    for (job, _) in &started {
        let path = format!("/api/v1/jobs/{job}");
        wait_for("the other process to finish the job", DEADLINE, async || {
            let job = sibling.http.request("GET", &app.apex(), &path).send().await.expect(200).json();
            (job["status"] == "done").then_some(())
        })
        .await;
    }
    app.process().resume();
    wait_until("the first to see that it lost all jobs", DEADLINE, async || {
        let lost = |line: &&String| line.contains("another worker has taken over the job");
        app.process().log().iter().filter(lost).count() >= usize::try_from(frozen).unwrap()
    })
    .await;
    for ((company, at), (job, ticket)) in cases.iter().zip(&started) {
        check::<F>(&app, company, job, Some(ticket), at).await;
    }
    at_rest(&app, &cluster).await;
}

async fn check<F: Flow>(app: &TestApp, company: &str, job: &str, ticket: Option<&F::Ticket>, what: &str) {
    app.job_at_rest(job).await;
    let expected = if ticket.is_some() { "done" } else { "undone" };
    assert_eq!(status(app, job).await, expected, "{company}: {what}");
    match ticket {
        Some(ticket) => F::check_done(app, company, ticket).await,
        None => F::check_undone(app, company).await,
    }
}

/// Nothing is under way any more, and there is exactly what the registry says.
async fn at_rest(app: &TestApp, cluster: &Arc<TestCluster>) {
    let session = app.peek().await;
    let sql = "SELECT count(*) FROM jobs WHERE secret IS NOT NULL OR lease_until IS NOT NULL";
    let held: i64 = session.query_one(sql, &[]).await.unwrap().get(0);
    session.close().await;
    assert_eq!(held, 0, "a job at rest keeps no secret and no lease");
    cluster.clean_slate().await;
}

async fn status(app: &TestApp, job: &str) -> String {
    let session = app.peek().await;
    let row = session.query_one("SELECT status FROM jobs WHERE id::text = $1", &[&job]).await.unwrap();
    session.close().await;
    row.get(0)
}

/// The steps of a job, as operators see them.
pub(crate) async fn steps(app: &TestApp, job: &str) -> Vec<Value> {
    let job = app.portero(&["jobs", "show", job, "--json"]).run().await.expect(0).json();
    job["steps"].as_array().unwrap().clone()
}

/// Does all of them, a few at a time; the outcomes in their order.
async fn in_lanes<T, R>(cases: Vec<T>, run: impl AsyncFn(T) -> R) -> Vec<R> {
    let (mut outcomes, run) = (Vec::new(), &run);
    let mut cases = cases.into_iter().peekable();
    while cases.peek().is_some() {
        let some: Vec<_> = cases.by_ref().take(LANES).collect();
        outcomes.extend(join_all(some.into_iter().map(async |case| run(case).await)).await);
    }
    outcomes
}
