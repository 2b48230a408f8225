//! Every page with something in it, friendly and hostile: for the gallery, and for the tests.

use portero_web::pages::{
    Action, AddUser, AddUserErrors, AuditPage, BudgetPage, Checkouts, ConfirmPage, DeedRow, Frame, HomePage,
    JobPage, JobRow, JobStatus, LandingPage, Lease, LoginPage, MailLine, Mailbox, MailboxPage, Me,
    MessagePage, MigratedRow, MigrationPage, MigrationsPage, OperatorLoginPage, OperatorLoginState,
    ProgressPage, RunCounts, RunRow, SentPage, ServerBudget, SignupErrors, SignupPage, SignupValues,
    SignupWay, Step, StepRow, Took, TopTenant, UserRow,
};
use portero_web::text::console::Section;
use portero_web::text::{Breaker, CheckoutPath, Field, LoginState, Notice, Problem, Role, Trouble, Way};
use portero_web::{Lang, RenderError, Template};

pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\"'&";
pub(crate) const LONG: &str = "Ñandú株式会社ÑandúÑandúÑandúÑandúÑandúÑandúÑandúÑandúÑandúÑandúÑandúÑandúÑandúÑandúÑandúÑandúÑandúÑandú100";

const APEX: &str = "http://localhost:8080";
const BASE: &str = "localhost:8080";
const ADDRESS: &str = "acme.localhost:8080";
const JOB: &str = "0198a1b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b";

/// Every page in one language, by name.
pub(crate) fn pages(lang: Lang) -> Result<Vec<(String, String)>, RenderError> {
    let mut pages = Vec::new();
    let mut add = |name: &str, page: Result<String, RenderError>| -> Result<(), RenderError> {
        pages.push((name.to_owned(), page?));
        Ok(())
    };
    add("landing", landing(lang, "", None).render())?;
    let not_a_label = lang.words().refusal(Field::Subdomain, "not-a-label", 0);
    add("landing-not-found", landing(lang, HOSTILE, Some(&not_a_label)).render())?;
    add("signup", signup(lang, SignupValues::default(), SignupErrors::default(), None).render())?;
    let typed =
        SignupValues { company: "Panadería La Añañuca", subdomain: "añañuca", email: "ana@acme" };
    add("signup-errors", signup(lang, typed, signup_errors(lang), None).render())?;
    let hostile = SignupValues { company: HOSTILE, subdomain: LONG, email: HOSTILE };
    let busy = Some(Trouble::Busy);
    add("signup-busy", signup(lang, hostile, SignupErrors::default(), busy).render())?;

    let asks = signup(lang, SignupValues::default(), SignupErrors::default(), None);
    add("signup-confirm", SignupPage { way: SignupWay::Confirm, ..asks.clone() }.render())?;
    let values = SignupValues { email: "ana@acme.test", subdomain: "acme", ..SignupValues::default() };
    let way = SignupWay::Invited { token: "t", email: Some("ana@acme.test"), subdomain: Some("acme") };
    add("signup-invited", SignupPage { way, values, ..asks }.render())?;
    let frame = Frame::apex(lang, "/signup/sent");
    add("sent", SentPage { frame, address: Some(ADDRESS) }.render())?;
    let frame = Frame::apex(lang, "/signup/confirm");
    let (company, token) = ("Panadería La Añañuca", "t");
    let confirm = ConfirmPage { frame, company, address: ADDRESS, token, busy: false, error: None };
    add("confirm", confirm.render())?;
    let error = signup_errors(lang).password;
    add("confirm-weak", ConfirmPage { error, ..confirm.clone() }.render())?;
    add("confirm-busy", ConfirmPage { company: HOSTILE, token: HOSTILE, busy: true, ..confirm }.render())?;
    let line = |to: Option<&str>| MailLine {
        href: "/mailbox/1".to_owned(),
        to: to.map(str::to_owned),
        subject: HOSTILE.to_owned(),
        written: "2026-01-01T00:00:00Z".to_owned(),
    };
    let section = Some(Section::Mailbox);
    let frame = Frame::console(lang, "/mailbox", section, Some(HOSTILE), Mailbox::Shown);
    add("mailbox", MailboxPage { frame, mails: vec![line(Some(HOSTILE)), line(None)] }.render())?;
    add("mailbox-empty", MailboxPage { frame, mails: Vec::new() }.render())?;

    let under_way =
        [("reserve", "done"), ("database_cleanup", "done"), ("claim_or_create_database", "running")];
    add("progress-running", progress(lang, "Acme", ADDRESS, &under_way, JobStatus::Running).render())?;
    let done: Vec<_> = portero_web::text::StepKey::ALL.iter().map(|key| (key.code(), "done")).collect();
    add("progress-done", progress(lang, "Acme", ADDRESS, &done, JobStatus::Done).render())?;
    let taken_back = [("reserve", "undoing"), ("database_cleanup", "undone")];
    add("progress-undoing", progress(lang, "Acme", ADDRESS, &taken_back, JobStatus::Undoing).render())?;
    let undone =
        [("reserve", "undone"), ("database_cleanup", "undone"), ("claim_or_create_database", "failed")];
    let failed = JobStatus::Failed { message: None, retry_href: "/signup" };
    let long_address = format!("{}.{BASE}", "a".repeat(40));
    add("progress-failed", progress(lang, LONG, &long_address, &undone, failed).render())?;
    let told = JobStatus::Failed { message: Some(HOSTILE), retry_href: "/signup" };
    add("progress-failed-told", progress(lang, HOSTILE, ADDRESS, &undone, told).render())?;

    for state in LoginState::ALL {
        add(&format!("login-{}", state.code()), login(lang, "Acme", "", *state).render())?;
    }
    add("login-long", login(lang, LONG, HOSTILE, LoginState::Refused).render())?;

    for (name, state) in [
        ("fresh", OperatorLoginState::Fresh),
        ("refused", OperatorLoginState::Refused),
        ("too-many", OperatorLoginState::TooMany),
    ] {
        let frame = Frame::apex(lang, "/console/login");
        add(&format!("operator-login-{name}"), OperatorLoginPage { frame, state }.render())?;
    }

    let people = people();
    add("home-admin", home(lang, "Acme", &people, Some(Notice::Welcome), Some(AddUser::default())).render())?;
    add("home-member", home(lang, "Acme", &people, None, None).render())?;
    add("home-hostile", home(lang, LONG, &people, Some(Notice::LastAdmin), Some(add_user(lang))).render())?;

    add("budget", budget(lang, vec![server("main"), server_that_is_away()], true).render())?;
    add("budget-still", budget(lang, vec![server(HOSTILE)], false).render())?;
    add("budget-empty", budget(lang, Vec::new(), false).render())?;

    add("console-audit", audit(lang, vec![deed("tenant.rename"), deed("of.another-world")]).render())?;
    add("console-audit-empty", audit(lang, Vec::new()).render())?;
    add("console-job-stuck", stuck_job(lang, "purge_tenant").render())?;
    let runs = ["running", "interrupted", "stopped", "finished"].map(|state| run(state, 2)).to_vec();
    add("console-migrations", migrations(lang, runs).render())?;
    add("console-migrations-empty", migrations(lang, Vec::new()).render())?;
    for state in ["running", "interrupted", "stopped", "finished"] {
        add(&format!("console-migration-{state}"), migration(lang, run(state, 2)).render())?;
    }
    add("console-migration-well", migration(lang, run("finished", 0)).render())?;

    for problem in Problem::ALL {
        add(&format!("message-{}", problem.code()), message(lang, *problem).render())?;
    }
    Ok(pages)
}

fn audit(lang: Lang, deeds: Vec<DeedRow>) -> AuditPage<'static> {
    let frame = Frame::console(lang, "/console/audit", Some(Section::Audit), Some("ana"), Mailbox::Hidden);
    let next_href = Some("/console/audit?before=1".to_owned());
    AuditPage { frame, company: HOSTILE, who: HOSTILE, what: HOSTILE, deeds, next_href, is_later: true }
}

fn deed(verb: &str) -> DeedRow {
    DeedRow {
        at: Some("2026-01-31T09:05:00Z".to_owned()),
        actor: HOSTILE.to_owned(),
        actor_kind: "cli".to_owned(),
        verb: verb.to_owned(),
        details: vec![HOSTILE.to_owned(), LONG.to_owned()],
        company: Some(LONG.to_owned()),
        company_href: Some("/console/audit?company=x".to_owned()),
        outcome: "refused".to_owned(),
        error: Some(HOSTILE.to_owned()),
        address: None,
    }
}

fn stuck_job(lang: Lang, kind: &str) -> JobPage<'static> {
    let step = |name: &str, state: &str, error: Option<&str>| StepRow {
        name: name.to_owned(),
        state: state.to_owned(),
        attempts: 41,
        span: Some((0, 1200)),
        error: error.map(str::to_owned),
    };
    JobPage {
        frame: Frame::console(lang, "/console/jobs/x", Some(Section::Jobs), Some("ana"), Mailbox::Hidden),
        notice: None,
        refused: None,
        job: JobRow {
            id: JOB.to_owned(),
            kind: kind.to_owned(),
            subdomain: LONG.to_owned(),
            tenant_href: "/console/audit?company=x".to_owned(),
            state: "stuck".to_owned(),
            created: "2026-01-31T09:05:00Z".to_owned(),
            took_ms: 1200,
            done: 1,
            steps: 2,
            error: Some(HOSTILE.to_owned()),
            is_worked_on: false,
        },
        steps: vec![step("fence", "done", None), step("drop_role", "failed", Some(HOSTILE))],
    }
}

fn run(state: &str, failed: i64) -> RunRow {
    RunRow {
        id: JOB.to_owned(),
        state: state.to_owned(),
        reason: (state == "stopped").then(|| HOSTILE.to_owned()),
        target: 5,
        whole_fleet: state != "finished",
        wave: (2, 3),
        counts: RunCounts { pending: 240, running: 8, done: 49, failed, skipped: 1 },
        began: "2026-01-31T09:05:00Z".to_owned(),
        ended: (state == "finished").then(|| "2026-01-31T09:06:00Z".to_owned()),
    }
}

fn migrations(lang: Lang, runs: Vec<RunRow>) -> MigrationsPage<'static> {
    let frame =
        Frame::console(lang, "/console/migrations", Some(Section::Migrations), Some("ana"), Mailbox::Hidden);
    let next_href = Some(format!("/console/migrations?after={JOB}"));
    MigrationsPage { frame, runs, next_href, is_later: true }
}

fn migration(lang: Lang, run: RunRow) -> MigrationPage<'static> {
    let company = |state: &str, subdomain: &str, error: Option<&str>| MigratedRow {
        subdomain: subdomain.to_owned(),
        href: "/console/audit?company=x".to_owned(),
        wave: 2,
        state: state.to_owned(),
        versions: (4, (state == "done").then_some(5)),
        attempts: 5,
        took_ms: (state != "pending").then_some(1250),
        error: error.map(str::to_owned),
    };
    let frame = Frame::console(
        lang,
        "/console/migrations/x",
        Some(Section::Migrations),
        Some("ana"),
        Mailbox::Hidden,
    );
    MigrationPage {
        frame,
        waves: vec![(1, RunCounts { done: 1, ..RunCounts::default() }), (2, run.counts)],
        run,
        state: "",
        companies: vec![
            company("failed", LONG, Some(HOSTILE)),
            company("pending", "globex", None),
            company("done", "acme", None),
        ],
        next_href: Some("/console/migrations/x?state=all&after=50".to_owned()),
        is_later: true,
    }
}

fn landing<'a>(lang: Lang, find_value: &'a str, find_error: Option<&'a str>) -> LandingPage<'a> {
    LandingPage { frame: Frame::apex(lang, "/"), base: BASE, find_value, find_error }
}

fn signup<'a>(
    lang: Lang,
    values: SignupValues<'a>,
    errors: SignupErrors,
    trouble: Option<Trouble>,
) -> SignupPage<'a> {
    SignupPage {
        frame: Frame::apex(lang, "/signup"),
        base: BASE,
        values,
        errors,
        trouble,
        key: "k",
        way: SignupWay::Open,
    }
}

fn signup_errors(lang: Lang) -> SignupErrors {
    let w = lang.words();
    SignupErrors {
        company: Some(w.refusal(Field::Company, "unprintable", 0)),
        subdomain: Some(w.refusal(Field::Subdomain, "not-a-label", 0)),
        email: Some(w.refusal(Field::Email, "not-an-email", 0)),
        password: Some(w.refusal(Field::Password, "too-short", 8)),
    }
}

fn progress<'a>(
    lang: Lang,
    company: &'a str,
    address: &'a str,
    steps: &[(&str, &str)],
    status: JobStatus<'a>,
) -> ProgressPage<'a> {
    let steps = Step::of_signup(steps.iter().copied());
    ProgressPage { frame: Frame::apex(lang, "/signup/job"), job: JOB, company, address, steps, status }
}

fn login<'a>(lang: Lang, company: &'a str, email: &'a str, state: LoginState) -> LoginPage<'a> {
    let frame = Frame::tenant(lang, "/login", company, APEX);
    LoginPage { frame, company, address: ADDRESS, email, state }
}

fn people() -> Vec<UserRow<'static>> {
    let row = |id, email, role, active| UserRow {
        id,
        email,
        role,
        active,
        created: "2026-01-31T09:05:00Z",
        is_me: false,
        is_last_admin: false,
    };
    vec![
        UserRow { is_me: true, is_last_admin: true, ..row("u1", "ana@acme.test", Role::Admin, true) },
        row("u2", "benjamin.valdes@acme.test", Role::Member, true),
        row("u3", "carla@acme.test", Role::Admin, false),
        row("u4/../x", HOSTILE, Role::Member, false),
        row("u5", LONG, Role::Member, true),
    ]
}

fn add_user(lang: Lang) -> AddUser<'static> {
    let w = lang.words();
    AddUser {
        email: HOSTILE,
        role: Some(Role::Admin),
        errors: AddUserErrors {
            email: Some(w.refusal(Field::Email, "taken", 0)),
            password: Some(w.refusal(Field::Password, "too-common", 0)),
            role: Some(w.refusal(Field::Role, "not-allowed", 0)),
        },
    }
}

fn home<'a>(
    lang: Lang,
    company: &'a str,
    users: &[UserRow<'a>],
    notice: Option<Notice>,
    add: Option<AddUser<'a>>,
) -> HomePage<'a> {
    HomePage {
        frame: Frame::tenant(lang, "/", company, APEX),
        company,
        me: Me { email: "ana@acme.test", role: if add.is_some() { Role::Admin } else { Role::Member } },
        csrf: "0123456789abcdef",
        users: users.to_vec(),
        more_href: Some("/?after=u5"),
        notice,
        add,
    }
}

fn message(lang: Lang, problem: Problem) -> MessagePage<'static> {
    let (way, href) = match problem {
        Problem::TenantNotFound => (Way::Signup, "http://localhost:8080/signup"),
        Problem::NotFound | Problem::SignupClosed => (Way::Home, "/"),
        Problem::CrossSite => (Way::Login, "/login"),
        _ => (Way::Retry, "/"),
    };
    MessagePage {
        frame: Frame::elsewhere(lang, "/", APEX),
        problem,
        address: (problem == Problem::TenantNotFound).then_some(ADDRESS),
        action: Some(Action { way, href }),
        request_id: (problem == Problem::Internal).then_some(JOB),
        refresh_secs: matches!(problem, Problem::TenantProvisioning | Problem::TenantUpgrading).then_some(2),
    }
}

fn budget(lang: Lang, servers: Vec<ServerBudget>, live: bool) -> BudgetPage<'static> {
    BudgetPage { frame: Frame::apex(lang, "/budget"), servers, live }
}

fn server(name: &str) -> ServerBudget {
    let lease = |router: &str, this_router, live, granted, used| Lease {
        router: router.to_owned(),
        this_router,
        live,
        granted,
        used,
    };
    let took = [(Took::AtMost(0.000_05), 81_230), (Took::AtMost(0.005), 214), (Took::AtMost(0.01), 37)];
    let mut checkouts: Vec<_> = CheckoutPath::ALL
        .iter()
        .zip(took)
        .map(|(path, (took, count))| Checkouts { path: *path, count, median: Some(took), p99: Some(took) })
        .collect();
    checkouts.push(Checkouts {
        path: CheckoutPath::Queue,
        count: 9,
        median: Some(Took::AtMost(0.05)),
        p99: Some(Took::Over(10.0)),
    });
    let tenant = |subdomain: &str, in_use, idle, waiting| TopTenant {
        subdomain: subdomain.to_owned(),
        in_use,
        idle,
        waiting,
    };
    ServerBudget {
        name: name.to_owned(),
        capacity: 373,
        granted: 180,
        in_use: 37,
        idle: 52,
        connecting: 3,
        closing: 1,
        waiting: 12,
        waiting_tenants: 3,
        breaker: Breaker::Closed,
        checkouts,
        leases: Some(vec![
            lease("porter-1 0.0.0.0:8080", true, true, 180, 93),
            lease("porter-2 0.0.0.0:8080", false, true, 120, 14),
            lease(LONG, false, false, 20, 31),
        ]),
        top: vec![tenant("acme", 8, 0, 10), tenant("panaderia-nunoa", 3, 1, 0), tenant(HOSTILE, 1, 0, 2)],
    }
}

fn server_that_is_away() -> ServerBudget {
    ServerBudget {
        capacity: 176,
        granted: 176,
        in_use: 0,
        idle: 0,
        connecting: 1,
        closing: 0,
        waiting: 0,
        waiting_tenants: 0,
        breaker: Breaker::Open,
        checkouts: CheckoutPath::ALL
            .iter()
            .map(|path| Checkouts { path: *path, count: 0, median: None, p99: None })
            .collect(),
        leases: None,
        top: Vec::new(),
        ..server("second")
    }
}
