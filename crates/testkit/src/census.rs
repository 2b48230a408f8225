//! How many connections routers hold on a server: counted from outside, all the time, by somebody whose own connection is
//! on another account.

use crate::TestCluster;
use portero_pg::Session;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};

/// Between two counts. Connections that come and go faster than that are not worth having.
const PAUSE: Duration = Duration::from_millis(3);
/// A session that is logging in has no name yet, and a router that opens one too many is caught when it has.
const COUNT: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'portero:%'";

/// A count that goes on, over the server's restarts too. Dropped, it ends.
#[derive(Debug)]
pub struct Census {
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    now: AtomicI64,
    most: AtomicI64,
    times: AtomicU64,
}

impl Census {
    /// Of the connections that routers have to tenants' databases on this server.
    #[must_use]
    pub fn of(cluster: &Arc<TestCluster>) -> Self {
        let (counts, cluster) = (Arc::<Counts>::default(), Arc::clone(cluster));
        let task = tokio::spawn({
            let counts = Arc::clone(&counts);
            async move {
                loop {
                    if let Ok(session) = cluster.try_superuser("postgres").await {
                        counts.go_on(&session).await;
                    }
                    counts.now.store(0, Ordering::Release);
                    sleep(PAUSE).await;
                }
            }
        });
        Self { counts, task }
    }

    /// At the last count.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.counts.now.load(Ordering::Acquire)
    }

    /// The most at any count since the beginning, or since it was begun anew.
    #[must_use]
    pub fn most(&self) -> i64 {
        self.counts.most.load(Ordering::Acquire)
    }

    /// How often it has counted.
    #[must_use]
    pub fn times(&self) -> u64 {
        self.counts.times.load(Ordering::Acquire)
    }

    /// Forgets what was.
    pub fn begin_anew(&self) {
        self.counts.most.store(0, Ordering::Release);
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Counts {
    /// Until the session is lost.
    async fn go_on(&self, session: &Session) {
        while let Ok(row) = session.query_one(COUNT, &[]).await {
            let count = row.get(0);
            self.now.store(count, Ordering::Release);
            self.most.fetch_max(count, Ordering::AcqRel);
            self.times.fetch_add(1, Ordering::AcqRel);
            sleep(PAUSE).await;
        }
    }
}
