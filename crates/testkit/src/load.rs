//! Many clients at once, and each answer held against its question. Every request carries a nonce that no other has, and
//! goes through a statement in the tenant's own database and back: an answer with another's tenant or another's nonce has
//! crossed, and one of those is one too many. What isn't an answer must be a refusal that the test expects, and say when
//! to come again.
//!
//! Counts and times are kept by phases (before the fault, during, after): an answer belongs to the phase in which its
//! request was sent. A phase may come more than once; each time is a round of its own to whoever waits.

use crate::{Answer, Company, DEADLINE, Http, TestApp, wait_for, wait_until};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::resume_unwind,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

/// Between two requests of a client: so that a few of them leave the machine to those that are measured.
const PACE: Duration = Duration::from_millis(5);
/// No request may stay without an answer for longer, whatever has befallen the database behind it.
const PATIENCE: Duration = Duration::from_secs(15);
/// What counts as healed: this many answers in a row, from each tenant.
const IN_A_ROW: u64 = 3;
/// The code of a request that got no answer, or half of one.
pub const NO_ANSWER: &str = "no-answer";

/// A load to be started.
#[derive(Debug)]
pub struct Load {
    http: Http,
    tenants: Vec<Tenant>,
    clients: usize,
    pace: Duration,
    expected: BTreeSet<&'static str>,
}

#[derive(Debug)]
struct Tenant {
    subdomain: String,
    host: String,
}

impl Load {
    /// Eight clients that ask these companies in turn, and expect to be answered.
    #[must_use]
    pub fn on(app: &TestApp, companies: &[Company]) -> Self {
        let tenants = companies
            .iter()
            .map(|company| Tenant { subdomain: company.subdomain.clone(), host: company.host.clone() });
        Self {
            http: app.http().clone(),
            tenants: tenants.collect(),
            clients: 8,
            pace: PACE,
            expected: BTreeSet::new(),
        }
    }

    /// By this process of several.
    #[must_use]
    pub fn through(mut self, http: &Http) -> Self {
        self.http = http.clone();
        self
    }

    /// So many clients.
    #[must_use]
    pub fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// Every client asks again as soon as it has its answer.
    #[must_use]
    pub fn eager(mut self) -> Self {
        self.pace = Duration::ZERO;
        self
    }

    /// Refusals with these codes are answers too; any other ends the test.
    #[must_use]
    pub fn expecting(mut self, codes: &[&'static str]) -> Self {
        self.expected.extend(codes);
        self
    }

    /// Sends the clients off.
    #[must_use]
    pub fn start(self) -> Running {
        let tenants = self.tenants.len();
        let shared = Arc::new(Shared {
            id: Uuid::new_v4().simple().to_string()[..8].to_owned(),
            load: self,
            stop: AtomicBool::new(false),
            state: Mutex::new(State {
                phases: vec![Phase::new("before")],
                now: 0,
                round: Round::new(0, tenants),
                wrong: None,
            }),
        });
        let mut clients = JoinSet::new();
        for number in 0..shared.load.clients {
            clients.spawn(client(Arc::clone(&shared), number));
        }
        Running { shared, clients }
    }
}

struct Shared {
    /// Tells the nonces of this load from those of others.
    id: String,
    load: Load,
    stop: AtomicBool,
    state: Mutex<State>,
}

struct State {
    phases: Vec<Phase>,
    /// Which of them it is.
    now: usize,
    round: Round,
    /// The first answer that must not be.
    wrong: Option<String>,
}

/// What came back since the phase was last begun, of what was asked since then.
struct Round {
    number: u64,
    began: Instant,
    counts: BTreeMap<String, u64>,
    /// Per tenant.
    runs: Vec<Run>,
}

/// Answers in a row.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    length: u64,
    since: Option<Instant>,
}

impl Round {
    fn new(number: u64, tenants: usize) -> Self {
        Self { number, began: Instant::now(), counts: BTreeMap::new(), runs: vec![Run::default(); tenants] }
    }

    fn note(&mut self, tenant: usize, code: &str) {
        *self.counts.entry(code.to_owned()).or_default() += 1;
        let run = &mut self.runs[tenant];
        *run = match (code == GOOD, run.since) {
            (false, _) => Run::default(),
            (true, None) => Run { length: 1, since: Some(Instant::now()) },
            (true, since) => Run { length: run.length + 1, since },
        };
    }

    /// From its beginning to when the last of the tenants was served again for good.
    fn healed(&self) -> Option<Duration> {
        let healed = self.runs.iter().map(|run| run.since.filter(|_| run.length >= IN_A_ROW));
        Some(*healed.collect::<Option<Vec<_>>>()?.iter().max()? - self.began)
    }
}

/// A load under way. Dropped, it ends.
pub struct Running {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Running {
    /// From now on it is this phase.
    pub fn phase(&self, name: &'static str) {
        let mut state = self.shared.state();
        state.end_round();
        state.now = state.phases.iter().position(|phase| phase.name == name).unwrap_or_else(|| {
            state.phases.push(Phase::new(name));
            state.phases.len() - 1
        });
        state.round = Round::new(state.round.number + 1, state.round.runs.len());
    }

    /// Waits until so many requests of this round have come back, one way or the other.
    ///
    /// # Panics
    /// If they don't, or one came back wrong.
    pub async fn came_back(&mut self, count: u64) {
        wait_until(&format!("{count} answers"), DEADLINE, async || {
            self.look(|round| round.counts.values().sum::<u64>() >= count)
        })
        .await;
    }

    /// Waits until so many requests of this round were answered, and not refused.
    ///
    /// # Panics
    /// As [`Running::came_back`].
    pub async fn were_answered(&mut self, count: u64) {
        wait_until(&format!("{count} answers that are none of refusal"), DEADLINE, async || {
            self.look(|round| round.counts.get(GOOD).is_some_and(|answered| *answered >= count))
        })
        .await;
    }

    /// Waits until a request of this round was refused with this code.
    ///
    /// # Panics
    /// As [`Running::came_back`].
    pub async fn refused(&mut self, code: &str) {
        wait_until(&format!("a refusal: {code}"), DEADLINE, async || {
            self.look(|round| round.counts.contains_key(code))
        })
        .await;
    }

    /// Waits until every tenant answers again, a few times in a row. How long it took from the beginning of the round to
    /// the first of those answers, by the tenant that came last.
    ///
    /// # Panics
    /// As [`Running::came_back`].
    pub async fn healed(&mut self) -> Duration {
        wait_for("every tenant to answer", DEADLINE, async || self.look(Round::healed)).await
    }

    /// How many requests have been answered so far, and not refused, in all phases.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.shared.state().phases.iter().map(Phase::answered).sum()
    }

    /// Waits for what is under way, sends nothing more, and says what came back.
    ///
    /// # Panics
    /// If an answer was wrong.
    pub async fn stop(mut self) -> Report {
        self.shared.stop.store(true, Ordering::Release);
        while let Some(ended) = self.clients.join_next().await {
            unwound(ended);
        }
        let mut state = self.shared.state();
        assert_right(&state);
        state.end_round();
        Report { phases: std::mem::take(&mut state.phases) }
    }

    /// Looks at the round, and panics with whatever a client has found.
    fn look<T>(&mut self, at: impl FnOnce(&Round) -> T) -> T {
        while let Some(ended) = self.clients.try_join_next() {
            unwound(ended);
        }
        let state = self.shared.state();
        assert_right(&state);
        at(&state.round)
    }
}

fn unwound(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        resume_unwind(error.into_panic());
    }
}

#[track_caller]
fn assert_right(state: &State) {
    if let Some(wrong) = &state.wrong {
        panic!("{wrong}");
    }
}

impl State {
    fn end_round(&mut self) {
        self.phases[self.now].lasted += self.round.began.elapsed();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, asked: Asked, code: Result<String, String>) {
        let took = asked.at.elapsed();
        let mut state = self.state();
        match code {
            Ok(code) => {
                if asked.round == state.round.number {
                    state.round.note(asked.tenant, &code);
                }
                state.phases[asked.phase].note(code, took);
            }
            Err(wrong) => {
                self.stop.store(true, Ordering::Release);
                let phase = state.phases[asked.phase].name;
                state.wrong.get_or_insert(format!("{wrong}, asked in the phase {phase:?}, {took:?} ago"));
            }
        }
    }
}

/// When, and of whom.
#[derive(Debug, Clone, Copy)]
struct Asked {
    tenant: usize,
    phase: usize,
    round: u64,
    at: Instant,
}

/// What an answer that is one is counted under.
const GOOD: &str = "200";

async fn client(shared: Arc<Shared>, number: usize) {
    let load = &shared.load;
    for turn in 0.. {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        // Every client begins elsewhere, and each comes to all.
        let chosen = (number + turn) % load.tenants.len();
        let tenant = &load.tenants[chosen];
        let nonce = format!("{}-{}-{number}-{turn}", tenant.subdomain, shared.id);
        let path = format!("/api/v1/ping?nonce={nonce}");
        let (phase, round) = {
            let state = shared.state();
            (state.now, state.round.number)
        };
        let asked = Asked { tenant: chosen, phase, round, at: Instant::now() };
        let answer = timeout(PATIENCE, load.http.request("GET", &tenant.host, &path).attempt()).await;
        let code = match answer {
            Ok(Ok(answer)) => judge(&answer, &tenant.subdomain, &nonce),
            Ok(Err(_)) => Ok(NO_ANSWER.to_owned()),
            Err(_) => Err(format!("{} let a request hang for {PATIENCE:?}", tenant.host)),
        };
        let code = code.and_then(|code| {
            let expected = code == GOOD || load.expected.contains(code.as_str());
            if expected { Ok(code) } else { Err(format!("{} answered {code}", tenant.host)) }
        });
        shared.note(asked, code);
        if !load.pace.is_zero() {
            sleep(load.pace).await;
        }
    }
}

/// The code that an answer is counted under, or why it must not be.
fn judge(answer: &Answer, tenant: &str, nonce: &str) -> Result<String, String> {
    if answer.status == 200 {
        let expected = json!({ "status": "ok", "tenant": tenant, "nonce": nonce });
        let got = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
        return if got == expected {
            Ok(GOOD.to_owned())
        } else {
            Err(format!("an answer crossed: {} to {tenant} with {nonce}", answer.text()))
        };
    }
    let code = answer.problem();
    if code.is_empty() {
        return Err(format!("{tenant} answered {} with no problem: {}", answer.status, answer.text()));
    }
    let wait = answer.header("retry-after").and_then(|value| value.parse::<u64>().ok());
    if wait.is_none_or(|secs| secs == 0) {
        return Err(format!("{tenant} answered {code} and not when to come again: {wait:?}"));
    }
    Ok(code)
}

/// What came back, by phases.
#[derive(Debug)]
pub struct Report {
    phases: Vec<Phase>,
}

impl Report {
    /// The phase of this name.
    ///
    /// # Panics
    /// Without one.
    #[must_use]
    pub fn phase(&self, name: &str) -> &Phase {
        let found = self.phases.iter().find(|phase| phase.name == name);
        found.unwrap_or_else(|| panic!("there was no phase {name}"))
    }

    /// All phases, in order.
    pub fn phases(&self) -> impl Iterator<Item = &Phase> {
        self.phases.iter()
    }

    /// All requests that came back.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.phases.iter().map(Phase::count).sum()
    }

    /// Requests that were refused, in all phases.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.phases.iter().map(Phase::refused).sum()
    }

    /// Prints the figures, a phase a line.
    #[expect(clippy::print_stdout, reason = "a test's figures, where libtest shows them on request")]
    pub fn print(&self, what: &str) {
        for phase in &self.phases {
            println!("{what}: {phase}");
        }
    }
}

/// What came back of the requests of a phase.
#[derive(Debug)]
pub struct Phase {
    name: &'static str,
    lasted: Duration,
    counts: BTreeMap<String, u64>,
    times: Times,
}

impl Phase {
    fn new(name: &'static str) -> Self {
        Self { name, lasted: Duration::ZERO, counts: BTreeMap::new(), times: Times::default() }
    }

    fn note(&mut self, code: String, took: Duration) {
        *self.counts.entry(code).or_default() += 1;
        self.times.note(took);
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// All that came back.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// With this code; `200` for answers.
    #[must_use]
    pub fn with(&self, code: &str) -> u64 {
        self.counts.get(code).copied().unwrap_or(0)
    }

    /// Answers.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.with(GOOD)
    }

    /// Everything that is none.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.count() - self.answered()
    }

    /// The longest that a request took, refused or not.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        self.times.max
    }

    /// The time within which this part (0.99) of the requests came back, to a sixteenth.
    #[must_use]
    pub fn within(&self, part: f64) -> Duration {
        self.times.within(part)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:.1} s):", self.name, self.lasted.as_secs_f64())?;
        for (code, count) in &self.counts {
            write!(f, " {count} × {code},")?;
        }
        if self.count() == 0 {
            return f.write_str(" nothing");
        }
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p99) = (self.times.within(0.5), self.times.within(0.99));
        write!(
            f,
            " p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            millis(p50),
            millis(p99),
            millis(self.times.max)
        )
    }
}

/// A histogram of constant size: 16 steps to each doubling of microseconds.
#[derive(Debug, Default)]
struct Times {
    counts: BTreeMap<u32, u64>,
    max: Duration,
}

impl Times {
    fn note(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(16);
        let doublings = micros.ilog2() - 4;
        let step = u32::try_from((micros >> doublings) & 15).unwrap_or(0);
        *self.counts.entry(doublings * 16 + step).or_default() += 1;
        self.max = self.max.max(took);
    }

    #[expect(clippy::cast_precision_loss, reason = "a rank among at most millions")]
    fn within(&self, part: f64) -> Duration {
        let all: u64 = self.counts.values().sum();
        let mut seen = 0;
        for (bucket, count) in &self.counts {
            seen += count;
            if seen as f64 >= all as f64 * part {
                // The bucket's upper end.
                return Duration::from_micros(u64::from(17 + bucket % 16) << (bucket / 16)).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_to_a_sixteenth() {
        let mut times = Times::default();
        for millis in 1..=100 {
            times.note(Duration::from_millis(millis));
        }
        for (part, millis) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let told = times.within(part).as_secs_f64() * 1e3;
            assert!((millis..=millis * 1.07).contains(&told), "{part}: {told}");
        }
        assert_eq!(Times::default().within(0.5), Duration::ZERO);
    }
}
