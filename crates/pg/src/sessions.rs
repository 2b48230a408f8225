//! Ending other sessions, and being sure of it.

use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, Error};

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Whose sessions.
#[derive(Debug, Clone, Copy)]
pub enum SessionsOf<'a> {
    /// Those that bear this `application_name`.
    Application(&'a str),
    /// Those of this role.
    Role(&'a str),
}

/// Why sessions were not ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// As PostgreSQL says.
    #[error("the sessions could not be ended")]
    Postgres(#[from] Error),
    /// They were told to end and are still there: a process that doesn't react, as one that waits for a disk.
    #[error("{0} sessions were told to end and are still there")]
    Left(usize),
}

impl SessionsOf<'_> {
    /// Waits until there is none, and says whether that came within this time.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn have_ended(self, client: &Client, within: Duration) -> Result<bool, Error> {
        let until = Instant::now() + within;
        // A login that got past its checks shows a moment later: one look that finds nothing is not enough.
        let mut seen_none = false;
        loop {
            match (self.pids(client).await?.is_empty(), seen_none) {
                (true, true) => return Ok(true),
                (none, _) => seen_none = none,
            }
            if Instant::now() >= until && !seen_none {
                return Ok(false);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends them, and those that come meanwhile, until none is left; says how many there were. Those who keep them from
    /// coming again are to be told first.
    ///
    /// # Errors
    /// [`EndError::Left`] after this time.
    pub async fn end(self, client: &Client, within: Duration) -> Result<usize, EndError> {
        let until = Instant::now() + within;
        let mut ended = BTreeSet::new();
        loop {
            let left = self.pids(client).await?;
            // One that has ended since it was listed is answered with a warning.
            client
                .execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", &[&left])
                .await?;
            ended.extend(left.iter().copied());
            if left.is_empty() && self.have_ended(client, Duration::ZERO).await? {
                return Ok(ended.len());
            }
            if Instant::now() >= until {
                return Err(EndError::Left(left.len().max(1)));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn pids(self, client: &Client) -> Result<Vec<i32>, Error> {
        const APPLICATION: &str = "SELECT pid FROM pg_catalog.pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()";
        const ROLE: &str =
            "SELECT pid FROM pg_catalog.pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()";
        let (sql, whose) = match self {
            Self::Application(name) => (APPLICATION, name),
            Self::Role(name) => (ROLE, name),
        };
        Ok(client.query(sql, &[&whose]).await?.iter().map(|row| row.get(0)).collect())
    }
}
