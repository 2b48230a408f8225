//! Answers by the ten thousand, or by the million, while servers and networks fail and clients hang up: each is held
//! against its question, and not one may be somebody else's.
//!
//! `PORTERO_SOAK_ANSWERS` says how many; CONTRIBUTING.md how to run millions.

use crate::bad_days::{AWAY, HEALED, figure, in_use};
use portero_testkit::{
    ChaosProxy, DEADLINE, Load, Mode, Running, StopMode, TestApp, TestCluster, Way, hang_up, join_all,
    wait_until,
};
use std::{env, sync::Arc, time::Duration};

/// How many, where nobody says.
const ANSWERS: u64 = 20_000;
/// Companies on the server that fails, and on another.
const ILL: usize = 14;
const WELL: usize = 6;

/// What befalls the tenants, one after the other and again from the beginning.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Network(Mode),
    Restart(StopMode),
    /// Every connection of a tenant is ended, by somebody who may.
    CutOff,
    /// Clients that don't wait for their answers.
    HangUps,
}

const FAULTS: [Fault; 10] = [
    Fault::Network(Mode::Reset),
    Fault::HangUps,
    Fault::Network(Mode::Cut { way: Way::Down, after: 600 }),
    Fault::Restart(StopMode::Immediate),
    Fault::Network(Mode::Slow { latency: Duration::from_millis(20), jitter: Duration::from_millis(20) }),
    Fault::CutOff,
    Fault::Network(Mode::Cut { way: Way::Up, after: 300 }),
    Fault::Restart(StopMode::Kill),
    Fault::Network(Mode::HalfClose),
    Fault::Network(Mode::Refuse),
];

struct Soak {
    app: TestApp,
    server: Arc<TestCluster>,
    proxy: ChaosProxy,
    hosts: Vec<String>,
    load: Running,
}

impl Soak {
    async fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Network(mode) => {
                self.proxy.set(mode);
                self.load.came_back(150).await;
                self.proxy.set(Mode::Pass);
            }
            Fault::Restart(mode) => self.server.restart(mode).await,
            Fault::CutOff => {
                let session = self.server.superuser("postgres").await;
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 't\\_%'";
                session.batch_execute(sql).await.unwrap();
            }
            Fault::HangUps => self.hang_up().await,
        }
    }

    async fn hang_up(&self) {
        join_all(self.hosts.iter().map(async |host| {
            let request = format!("GET /api/v1/ping?nonce=gone HTTP/1.1\r\nHost: {host}\r\n\r\n");
            for _ in 0..5 {
                hang_up(self.app.http().address(), request.as_bytes(), Duration::from_millis(8)).await;
            }
        }))
        .await;
    }
}

#[tokio::test]
async fn of_many_answers_in_bad_weather_not_one_is_somebody_elses() {
    let answers = env::var("PORTERO_SOAK_ANSWERS").map_or(ANSWERS, |count| count.parse().unwrap());
    // A fault takes a second or so: with millions to check, there is more good weather between them.
    let calm = (answers / 500).clamp(1_000, 40_000);
    let names: Vec<String> = (0..ILL + WELL).map(|number| format!("company-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = TestCluster::private().await;
    let proxy = server.proxy();
    // What goes wrong on purpose is not worth a line each time.
    let app = TestApp::builder().env("PORTERO_LOG", "error").start().await;
    let ill = app.sign_up_on("ill", &server, proxy.address(), &names[..ILL]).await;
    let well = app.sign_up_all(&names[ILL..]).await;
    let others = Load::on(&app, &well).clients(2).start();
    let load = Load::on(&app, &ill).clients(6).eager().expecting(&AWAY).start();
    let hosts = ill.iter().map(|company| company.host.clone()).collect();
    let mut soak = Soak { app, server, proxy, hosts, load };

    let mut slowest = Duration::ZERO;
    let mut faults = FAULTS.into_iter().cycle();
    while soak.load.answered() < answers {
        let fault = faults.next().expect("they come again and again");
        soak.load.phase("bad weather");
        soak.strike(fault).await;
        soak.load.phase("good weather");
        let took = soak.load.healed().await;
        assert!(took < HEALED, "{took:?} after {fault:?}");
        slowest = slowest.max(took);
        soak.load.were_answered(calm).await;
    }
    figure("the longest that anybody waited for good weather", slowest);
    let others = others.stop().await;
    others.print("others");
    assert_eq!(others.refused(), 0, "tenants of another server noticed");
    let report = soak.load.stop().await;
    report.print("a soak");
    wait_until("every connection to be given back", DEADLINE, async || in_use(&soak.app).await == 0.0).await;
}
