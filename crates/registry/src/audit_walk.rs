//! Following the audit log from its beginning to its head, and saying where it doesn't hold together.

use crate::{
    Registry, Result,
    audit::{AuditRow, link_of},
};
use portero_auth::Chain;
use std::{fmt, str::FromStr};

/// Rows that are in memory at a time.
const PART: i64 = 5000;

/// A place in the chain: a row's number and its link. Kept elsewhere, it proves later that the log had come this far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// The number; 0 before the first row.
    pub seq: i64,
    /// SHA-256.
    pub hash: [u8; 32],
}

/// What isn't `NUMBER:HASH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a place in the audit log is NUMBER:HASH, as `portero audit verify` prints it")]
pub struct NotAHead;

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seq)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for AuditHead {
    type Err = NotAHead;

    fn from_str(text: &str) -> std::result::Result<Self, NotAHead> {
        let (seq, digits) = text.trim().split_once(':').ok_or(NotAHead)?;
        let seq = seq.parse().map_err(|_| NotAHead)?;
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NotAHead);
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| NotAHead)?;
        }
        Ok(Self { seq, hash })
    }
}

/// What is wrong with the log, at the first place where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// A number that isn't there.
    #[error("row {0} is missing")]
    Missing(i64),
    /// A number that is there twice, or comes before the first.
    #[error("row {0} is there more than once, or stands where none should")]
    Extra(i64),
    /// It holds what no entry holds: nothing where something must be, or a moment without end.
    #[error("row {0} holds what no entry of the log can hold")]
    Unreadable(i64),
    /// It doesn't follow from the one before.
    #[error("row {0} was changed, moved or put in")]
    Changed(i64),
    /// Whoever wrote it didn't have this Portero's master key.
    #[error("row {0} was not written with this master key")]
    Forged(i64),
    /// The rows end elsewhere than the head says.
    #[error("the log ends at row {ends}, and its head says {head}")]
    Head {
        /// The last row.
        ends: i64,
        /// The head.
        head: i64,
    },
    /// The row that says where the log ends isn't there, or says nothing: it is written with the registry's tables, and
    /// never taken away.
    #[error("the log's head is missing")]
    NoHead,
    /// It isn't the log that it was.
    #[error("row {0} is not what it was when its place was kept: the log was cut off or written anew since")]
    NotAsExpected(i64),
}

/// What became of following the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditVerdict {
    /// How many rows hold together, from the first on.
    pub rows: i64,
    /// The last of them.
    pub head: AuditHead,
    /// What is wrong with what follows, if something is.
    pub fault: Option<AuditFault>,
}

/// How far the chain has been followed.
struct Walk<'a> {
    chain: &'a Chain,
    head: AuditHead,
    expected: Option<AuditHead>,
}

impl Walk<'_> {
    fn step(&mut self, row: &AuditRow) -> std::result::Result<(), AuditFault> {
        let number = self.head.seq + 1;
        if row.seq > number {
            return Err(AuditFault::Missing(number));
        }
        if row.seq < number {
            return Err(AuditFault::Extra(row.seq));
        }
        if row.is_at_fault {
            return Err(AuditFault::Unreadable(number));
        }
        let link = row.link(&self.head.hash);
        if row.hash != link {
            return Err(AuditFault::Changed(number));
        }
        if !self.chain.seals(number, &link, &row.seal) {
            return Err(AuditFault::Forged(number));
        }
        self.head = AuditHead { seq: number, hash: link };
        self.check_expected(number)
    }

    fn check_expected(&self, number: i64) -> std::result::Result<(), AuditFault> {
        match self.expected {
            Some(expected) if expected.seq == number && expected.hash != self.head.hash => {
                Err(AuditFault::NotAsExpected(number))
            }
            _ => Ok(()),
        }
    }

    /// `count` is how many rows there are, `told` what the head says.
    fn end(&self, count: i64, told: AuditHead) -> std::result::Result<(), AuditFault> {
        if told != self.head {
            return Err(AuditFault::Head { ends: self.head.seq, head: told.seq });
        }
        if count != self.head.seq {
            return Err(AuditFault::Extra(self.head.seq));
        }
        match self.expected {
            Some(expected) if expected.seq > self.head.seq => Err(AuditFault::NotAsExpected(expected.seq)),
            _ => Ok(()),
        }
    }
}

impl Registry {
    /// Follows the chain from the first row to the head, as of one moment, and through `expected` if that is given.
    ///
    /// # Errors
    /// The registry. What is wrong with the log is no error but the answer.
    pub async fn audit_verify(&self, expected: Option<AuditHead>) -> Result<AuditVerdict> {
        let mut session = self.session().await?;
        let txn = session
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        let start = AuditHead { seq: 0, hash: Chain::START };
        let mut walk = Walk { chain: &self.chain, head: start, expected };
        let mut fault = walk.check_expected(0).err();
        let mut after = i64::MIN;
        while fault.is_none() {
            let rows = txn
                .query(
                    "SELECT seq, CASE WHEN at >= '0001-01-01 00:00Z' AND at < '10000-01-01 00:00Z' THEN at END AS at,
                            actor_kind, actor, verb, outcome, tenant_id, subdomain, address, agent,
                            details::text AS details, hash, seal
                     FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2",
                    &[&after, &PART],
                )
                .await?;
            let rows: Vec<_> = rows.iter().map(AuditRow::from_row).collect();
            fault = rows.iter().find_map(|row| walk.step(row).err());
            let Some(last) = rows.last() else { break };
            after = last.seq;
        }
        if fault.is_none() {
            let count = txn.query_one("SELECT count(*) FROM audit", &[]).await?.get(0);
            let told = txn.query_opt("SELECT seq, hash FROM audit_head", &[]).await?;
            let told = told.and_then(|row| {
                Some(AuditHead { seq: row.try_get(0).ok()?, hash: link_of(row.try_get(1).ok()?) })
            });
            fault = told.map_or(Some(AuditFault::NoHead), |told| walk.end(count, told).err());
        }
        txn.rollback().await?;
        let head = walk.head;
        session.close().await;
        Ok(AuditVerdict { rows: head.seq, head, fault })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let head = AuditHead { seq: 42, hash: [0xa5; 32] };
        assert_eq!(head.to_string().parse(), Ok(head));
        for odd in ["", "42", "42:", ":", "x:00", "42:a5", &format!("42:{}", "é".repeat(32))] {
            assert_eq!(odd.parse::<AuditHead>(), Err(NotAHead), "{odd}");
        }
    }
}
