//! Whether a server has room for databases that nobody needs yet, or not for long: spares, and clones for rehearsals.
//!
//! PostgreSQL tells no role how much disk is free. So there are two ways to know, and either stops the refilling:
//! what all databases together take, against a limit that the operator sets; and, where the server runs on this machine
//! and lets Portero's role see its `data_directory` (`GRANT pg_read_all_settings TO portero`), what the file system has
//! left.

use portero_pg::Session;
use std::path::Path;
use tokio_postgres::{Config, Error, config::Host};

/// Free bytes below which none is made: some hundred databases, or an hour of a busy server's log.
const LEAST_FREE: u64 = 2 << 30;

/// Why there is no room for a database of so many `bytes` more, in words; nothing where there is, or nobody can tell.
pub(crate) async fn shortage(
    session: &Session,
    admin: &Config,
    limit: Option<u64>,
    bytes: u64,
) -> Result<Option<String>, Error> {
    if let Some(limit) = limit {
        let taken = taken(session).await?;
        if taken.saturating_add(bytes) >= limit {
            return Ok(Some(format!(
                "its databases take {}, and {} is the limit",
                in_words(taken),
                in_words(limit)
            )));
        }
    }
    Ok(match free(session, admin).await? {
        Some(free) if free < LEAST_FREE.saturating_add(bytes) => {
            Some(format!("its disk has {} left", in_words(free)))
        }
        _ => None,
    })
}

/// What the databases take that Portero may look at: those of others are no business of a limit on Portero's.
async fn taken(session: &Session) -> Result<u64, Error> {
    let row = session
        .query_one(
            "SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_catalog.pg_database
             WHERE has_database_privilege(oid, 'CONNECT')",
            &[],
        )
        .await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// What the file system of the server's data directory has left, if that is on this machine and may be known.
async fn free(session: &Session, admin: &Config) -> Result<Option<u64>, Error> {
    if !is_here(admin) {
        return Ok(None);
    }
    let row = session
        .query_opt("SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'", &[])
        .await?;
    let Some(directory) = row.and_then(|row| row.get::<_, Option<String>>(0)) else { return Ok(None) };
    // A loopback address may lead elsewhere through a tunnel: then there is no such directory, most likely.
    Ok(rustix::fs::statvfs(Path::new(&directory)).ok().map(|found| found.f_bavail * found.f_frsize))
}

/// Whether all of a server's addresses are this machine's.
fn is_here(admin: &Config) -> bool {
    let names_here = admin.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
        }
        Host::Unix(_) => true,
    });
    names_here && admin.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

fn in_words(bytes: u64) -> String {
    match bytes {
        0..0x4000_0000 => format!("{} MB", bytes >> 20),
        _ => format!("{:.1} GB", bytes as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_this_machine_is_here() {
        for (url, here) in [
            ("postgresql://portero@localhost/postgres", true),
            ("postgresql://portero@127.0.0.1:5433/postgres", true),
            ("postgresql://portero@[::1]/postgres", true),
            ("postgresql://portero@%2Frun%2Fpg/postgres", true),
            ("postgresql://portero@db/postgres", false),
            ("postgresql://portero@10.0.0.5/postgres", false),
            ("postgresql://portero@localhost,db/postgres", false),
            ("host=localhost hostaddr=10.0.0.5 user=portero", false),
        ] {
            assert_eq!(is_here(&url.parse().unwrap()), here, "{url}");
        }
    }

    #[test]
    fn bytes_are_told_as_people_do() {
        assert_eq!(in_words(8 << 20), "8 MB");
        assert_eq!(in_words(3 << 29), "1.5 GB");
    }
}
