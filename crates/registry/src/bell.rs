//! A bell that rings when something changed: LISTEN on a connection of its own, opened again when it was lost.
//!
//! A bell is a hint and no promise, since a connection may be silently dead for minutes: whoever listens also looks now
//! and then, at the log or the table itself.

use crate::{Registry, Result};
use futures_util::{StreamExt, stream};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Notify, task::JoinHandle, time::timeout};
use tokio_postgres::{AsyncMessage, Client};

/// For how long a connection that is to listen may take to open.
const OPENING_TAKES: Duration = Duration::from_secs(3);

/// What one can listen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A route changed.
    Routes,
    /// A job was written.
    Jobs,
    /// Something was written down about a job.
    JobEvents,
}

impl Channel {
    const fn statement(self) -> &'static str {
        match self {
            Self::Routes => "LISTEN portero_routes",
            Self::Jobs => "LISTEN portero_jobs",
            Self::JobEvents => "LISTEN portero_job_events",
        }
    }
}

/// Is told what was said with each ring.
type Told = Arc<dyn Fn(&str) + Send + Sync>;

/// Rings when something changed on its channel.
pub struct Bell {
    registry: Registry,
    channel: Channel,
    told: Told,
    line: Option<Line>,
}

impl Bell {
    /// A bell that doesn't listen yet: [`Bell::listen`].
    #[must_use]
    pub fn new(registry: &Registry, channel: Channel) -> Self {
        Self { registry: registry.clone(), channel, told: Arc::new(|_| {}), line: None }
    }

    /// With somebody who is told what was said with each ring.
    #[must_use]
    pub fn telling(mut self, told: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.told = Arc::new(told);
        self
    }

    /// Listens, where it doesn't. To be called *before* one looks at what changed: what comes after that look then
    /// rings. While the registry is away it stays silent.
    pub async fn listen(&mut self) {
        if self.line.as_ref().is_none_or(|line| line.driver.is_finished()) {
            let opened =
                timeout(OPENING_TAKES, Line::open(&self.registry, self.channel, Arc::clone(&self.told)));
            self.line = opened.await.ok().and_then(Result::ok);
        }
    }

    /// Waits until something changed, or the connection was lost; for ever while there is none.
    pub async fn rung(&self) {
        match &self.line {
            Some(line) => line.rung.notified().await,
            None => std::future::pending().await,
        }
    }
}

/// How the queue is that bells ring through: PostgreSQL has one for all databases of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct BellQueue {
    /// How much of it is taken, from 0 to 1. From a half on nobody rings.
    pub taken: f64,
    /// Tenants' roles that have been in a transaction for more than a minute: one that listens keeps the queue from moving.
    pub suspects: Vec<String>,
}

impl Registry {
    /// How the queue is that bells ring through.
    ///
    /// # Errors
    /// The registry.
    pub async fn bell_queue(&self) -> Result<BellQueue> {
        let row = self
            .client()
            .await?
            .query_one(
                "SELECT pg_notification_queue_usage(),
                        ARRAY(SELECT DISTINCT usename::text FROM pg_catalog.pg_stat_activity
                              WHERE usename ~ '^t_[0-9a-f]{32}$' AND xact_start < now() - interval '1 minute' ORDER BY 1)",
                &[],
            )
            .await?;
        Ok(BellQueue { taken: row.get(0), suspects: row.get(1) })
    }
}

struct Line {
    rung: Arc<Notify>,
    driver: JoinHandle<()>,
    _client: Client,
}

impl Line {
    async fn open(registry: &Registry, channel: Channel, told: Told) -> Result<Self> {
        let given_up = registry.lines.given_up();
        let (client, mut connection) = registry.config.connect(portero_pg::connector()).await?;
        let rung = Arc::new(Notify::new());
        let ring = Arc::clone(&rung);
        let driver = tokio::spawn(async move {
            let messages = stream::poll_fn(move |cx| connection.poll_message(cx)).take_until(given_up);
            let mut messages = std::pin::pin!(messages);
            loop {
                match messages.next().await {
                    Some(Ok(AsyncMessage::Notification(said))) => {
                        told(said.payload());
                        ring.notify_one();
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        tracing::warn!(%error, "the connection that listens for changes was lost");
                        break;
                    }
                    None => break,
                }
            }
            ring.notify_one();
        });
        client.batch_execute(channel.statement()).await?;
        Ok(Self { rung, driver, _client: client })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
