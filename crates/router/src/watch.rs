//! One task per server: does it answer, how much can it bear, and what does time alone change.
//!
//! A login that fails, a statement that the server ended, a session of our own that broke: each only *suggests* that the
//! server is down. The prober then asks the server itself, and its answer decides for all tenants at once. While the
//! server is down there is one login under way to it, the prober's, and everybody else is answered at once.

use crate::{
    APPLICATION,
    scheduler::{Breaker, Scheduler},
    server::Server,
};
use portero_pg::{EndError, OpenError, Session, SessionsOf, connect_within, tokio_postgres::Config};
use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_postgres::config::TargetSessionAttrs;

/// How often a server is looked at while all is well.
const LOOK: Duration = Duration::from_millis(250);
/// How often a server is asked while anybody uses it.
const ASK: Duration = Duration::from_secs(1);
/// How often it is asked while it doesn't answer.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// For how long an answer is waited for. A server that is merely busy should not be taken for one that is gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long each of a server's hosts is waited for when there is no session: with several, one that hangs must not be
/// all that is tried.
const PER_HOST: Duration = Duration::from_millis(1500);
/// How often the sessions are counted from the server's side.
const RECONCILE: Duration = Duration::from_secs(10);
/// Of so many looks at what others have, the one that saw the most counts: connections come and go.
const LOOKS: usize = 5;
/// How long sessions that were told to end may take.
const END: Duration = Duration::from_secs(5);
/// How long it may take to end what a router left on a server.
pub(crate) const FENCE: Duration = Duration::from_secs(8);

/// The prober's own connection.
pub(crate) struct Watch {
    server: Arc<Server>,
    admin: watch::Receiver<Config>,
    session: Option<Session>,
    /// When the server started that was asked last, in its own time.
    incarnation: Option<i64>,
    /// The connections that others had at the last few looks, while nobody says what they were granted.
    others: VecDeque<usize>,
    asked: Instant,
    reconciled: Instant,
    /// It works and doesn't let Portero in, and that was said.
    shut_out: bool,
}

impl Watch {
    pub(crate) fn new(server: Arc<Server>, admin: watch::Receiver<Config>) -> Self {
        let now = Instant::now();
        Self {
            server,
            admin,
            session: None,
            incarnation: None,
            others: VecDeque::new(),
            asked: now,
            reconciled: now,
            shut_out: false,
        }
    }

    /// Watches until the sender of the server's address is gone.
    pub(crate) async fn run(mut self) {
        self.ask().await;
        loop {
            let nudged = tokio::select! {
                changed = self.admin.changed() => {
                    if changed.is_err() { return }
                    self.session = None;
                    true
                }
                () = self.server.nudge.notified() => true,
                () = tokio::time::sleep(if self.server.breaker() == Breaker::Open { ASK_AGAIN } else { LOOK }) => false,
            };
            self.server.decide(Scheduler::tick);
            let broken = self.session.as_ref().is_some_and(|session| session.is_closed());
            let due = match self.server.breaker() {
                Breaker::Open => true,
                _ => {
                    let used = self.server.counts().active_tenants > 0 || self.server.is_cut_off();
                    used && self.asked.elapsed() >= ASK
                }
            };
            let unknown = self.server.capacity() == 0;
            if nudged || broken || due || unknown {
                self.ask().await;
            }
        }
    }

    async fn ask(&mut self) {
        let was_open = self.server.breaker() == Breaker::Open;
        let hosts = u32::try_from(self.admin.borrow().get_hosts().len()).unwrap_or(1);
        // Names are looked up too.
        let answered =
            timeout(PATIENCE * 2 + END + PER_HOST * hosts, self.answer()).await.unwrap_or(Err(late()));
        self.asked = Instant::now();
        match answered {
            Ok(answer) => {
                self.server.set_capacity(answer.capacity);
                if let Some(others) = answer.others {
                    self.others.truncate(LOOKS - 1);
                    self.others.push_front(others);
                    self.server.set_others(self.others.iter().copied().max().unwrap_or(others));
                } else {
                    self.others.clear();
                }
                self.shut_out = false;
                let before = self.incarnation.replace(answer.incarnation);
                let another = before.is_some_and(|before| before != answer.incarnation);
                if another {
                    // Nothing that was opened to the one before leads anywhere, whether or not its sockets say so.
                    self.server.decide(|scheduling, now| {
                        if !was_open {
                            scheduling.trip();
                        }
                        scheduling.moved(now);
                    });
                }
                self.is_there(was_open || another);
                if self.reconciled.elapsed() >= RECONCILE {
                    self.reconciled = Instant::now();
                    self.reconcile().await;
                }
            }
            // It works, and its tenants are let in as far as anybody knows.
            Err(error) if error.is_refusal() => {
                if !self.shut_out {
                    let cause = portero_kernel::with_causes(&error);
                    tracing::warn!(server = self.server.name, cause, "the server doesn't let Portero in");
                }
                self.shut_out = true;
                self.is_there(was_open);
            }
            Err(error) => {
                if !was_open {
                    let cause = portero_kernel::with_causes(&error);
                    tracing::warn!(
                        server = self.server.name,
                        cause,
                        "the server does not answer: its tenants are refused"
                    );
                    self.server.decide(|scheduling, _| scheduling.trip());
                }
            }
        }
    }

    fn is_there(&self, was_open: bool) {
        if was_open {
            tracing::info!(server = self.server.name, "the server answers again");
            self.server.decide(Scheduler::heal);
        }
    }

    /// What a server says that answers, and takes writes where it is to.
    async fn answer(&mut self) -> Result<Answer, OpenError> {
        let admin = self.admin.borrow().clone();
        if let Some(session) = self.session.take().filter(|session| !session.is_closed()) {
            // If it is lost, that says nothing of the server yet.
            if let Ok(answer) = self.questions(&session, &admin).await {
                self.session = Some(session);
                return Ok(answer);
            }
        }
        let (session, endpoint) = connect_within(&admin, PER_HOST).await?;
        *self.server.answering.write().unwrap_or_else(PoisonError::into_inner) = Some(endpoint);
        if self.server.capacity() == 0 {
            self.end_former_life(&session).await?;
        }
        let answer = self.questions(&session, &admin).await?;
        self.session = Some(session);
        Ok(answer)
    }

    /// What this router left there in an earlier life is not counted by anybody else.
    async fn end_former_life(&self, session: &Session) -> Result<(), OpenError> {
        match SessionsOf::Application(self.server.application()).end(session, END).await {
            Ok(_) => Ok(()),
            Err(EndError::Postgres(error)) => Err(OpenError::Login(error)),
            Err(error @ EndError::Left(_)) => {
                let server = &self.server.name;
                tracing::warn!(server, %error, "what this router left on the server counts beyond its budget");
                Ok(())
            }
        }
    }

    async fn questions(&self, session: &Session, admin: &Config) -> Result<Answer, OpenError> {
        timeout(PATIENCE, self.ask_of(session, admin)).await.unwrap_or(Err(late()))
    }

    async fn ask_of(&self, session: &Session, admin: &Config) -> Result<Answer, OpenError> {
        const WHO: &str =
            "SELECT pg_is_in_recovery(), (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";
        const OTHERS: &str = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE application_name LIKE $1 || '%' AND application_name <> $2";
        let row = session.query_one(WHO, &[]).await.map_err(OpenError::Login)?;
        if row.get::<_, bool>(0) && admin.get_target_session_attrs() == TargetSessionAttrs::ReadWrite {
            return Err(OpenError::ReadOnly);
        }
        let others = if self.server.is_cut_off() {
            let counted = session.query_one(OTHERS, &[&APPLICATION, &self.server.application()]).await;
            usize::try_from(counted.map_err(OpenError::Login)?.get::<_, i64>(0)).ok()
        } else {
            None
        };
        let capacity = portero_pg::tenant_capacity(session).await.map_err(OpenError::Login)?.max(1);
        Ok(Answer { capacity, incarnation: row.get(1), others })
    }

    /// Compares what the server counts as ours with what we count.
    async fn reconcile(&mut self) {
        let Some(session) = &self.session else { return };
        let counted = session
            .query_one(
                "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE application_name = $1",
                &[&self.server.application()],
            )
            .await;
        if let Ok(row) = counted {
            let ours = i64::try_from(self.server.counts().open()).unwrap_or(i64::MAX);
            self.server.drift.store(row.get::<_, i64>(0) - ours, Ordering::Relaxed);
        }
    }
}

fn late() -> OpenError {
    OpenError::Unreachable(std::io::ErrorKind::TimedOut.into())
}

/// What a server says of itself.
struct Answer {
    /// What tenants together may hold.
    capacity: usize,
    /// When it started. What was opened to one that started at another time is not on it.
    incarnation: i64,
    /// The connections that other routers have, where that was asked.
    others: Option<usize>,
}

/// Ends what a router that is no more left on a server, and says whether nothing of it is there.
pub(crate) async fn fence_off(admin: &Config, application: &str) -> bool {
    let fencing = async {
        let (session, _) = connect_within(admin, PER_HOST).await.ok()?;
        SessionsOf::Application(application).end(&session, END).await.ok()?;
        session.close().await;
        Some(())
    };
    matches!(timeout(FENCE, fencing).await, Ok(Some(())))
}

impl Server {
    /// Connections to another place than this are of the past.
    pub(crate) fn set_address(&self, address: &portero_pg::Address) {
        let before = std::mem::replace(
            &mut *self.address.write().unwrap_or_else(PoisonError::into_inner),
            address.clone(),
        );
        if before != *address {
            tracing::info!(server = self.name, "the server has another address");
            self.decide(Scheduler::start_over);
        }
    }
}
