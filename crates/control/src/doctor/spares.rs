//! Whether a company that signs up would be given a database that is ready.

use super::{Check, Health};
use portero_kernel::SchemaVersion;
use portero_registry::{SpareFigures, Stopped};
use std::time::Duration;

/// Longer than the pause between two looks, after failures too.
const SILENT: Duration = Duration::from_secs(300);

/// The spares and templates of a server that takes new companies, which get this version of the schema.
pub(super) fn check_spares(figures: &SpareFigures, newest: SchemaVersion) -> Check {
    let name = format!("{}: spares", figures.name);
    let Some(refill) = &figures.refill else {
        return Check::ok(name, "nobody has looked after them yet");
    };
    let (ready, wanted) = (figures.ready, refill.wanted);
    let counted = format!("{ready} of {wanted} ready");
    let reason = refill.reason.as_deref().unwrap_or_default();
    match refill.stopped {
        Some(Stopped::Disk) => Check::bad(
            Health::Warn,
            name,
            format!("{counted}, and no more are made: {reason}"),
            "give the server more disk, raise PORTERO_SERVER_SIZE_LIMIT_MB, or portero server drain it and add another; \
             sign-ups go on, and take longer",
        ),
        Some(Stopped::Error) => Check::bad(
            Health::Warn,
            name,
            format!("{counted}, and making more fails: {reason}"),
            "mend what it says: it is tried again by itself; sign-ups take longer meanwhile",
        ),
        _ if refill.age > SILENT => Check::bad(
            Health::Warn,
            name,
            format!("{counted}, and nobody has looked after them for {} min", refill.age.as_secs() / 60),
            "start `portero serve`: it makes them",
        ),
        _ if !refill.templates.contains(&newest) => Check::bad(
            Health::Warn,
            name,
            format!("{counted}, and there is no template of schema {newest}"),
            "start the newest `portero serve`: it makes one; sign-ups run all migrations meanwhile",
        ),
        _ if wanted > 0 && ready == 0 => Check::bad(
            Health::Warn,
            name,
            format!("none of {wanted} is ready"),
            "wait a moment; if sign-ups come faster than spares are made, raise PORTERO_SPARES",
        ),
        _ => Check::ok(name, format!("{counted}, template of schema {newest}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_kernel::ServerId;
    use portero_registry::RefillRow;
    use time::OffsetDateTime;

    const NEWEST: SchemaVersion = 4;

    fn figures(ready: i64, change: impl FnOnce(&mut RefillRow)) -> SpareFigures {
        let mut refill = RefillRow {
            looked_at: OffsetDateTime::UNIX_EPOCH,
            age: Duration::from_secs(5),
            wanted: 3,
            templates: vec![NEWEST],
            stopped: None,
            reason: None,
            failures: 0,
        };
        change(&mut refill);
        SpareFigures {
            server: ServerId::generate(),
            name: "main".to_owned(),
            ready,
            making: 0,
            origins: [0; 3],
            refill: Some(refill),
        }
    }

    #[test]
    fn what_makes_sign_ups_slow_is_told_with_what_to_do() {
        let stopped = |why, reason: &str| {
            let reason = Some(reason.to_owned());
            move |refill: &mut RefillRow| {
                refill.stopped = Some(why);
                refill.reason = reason;
            }
        };
        for (figures, words) in [
            (figures(0, |_| ()), "none of 3 is ready"),
            (figures(1, stopped(Stopped::Disk, "its disk has 1 GB left")), "its disk has 1 GB left"),
            (figures(1, stopped(Stopped::Error, "no such thing")), "no such thing"),
            (figures(3, |refill| refill.age = Duration::from_secs(600)), "for 10 min"),
            (figures(3, |refill| refill.templates.clear()), "no template"),
        ] {
            let check = check_spares(&figures, NEWEST);
            assert_eq!(check.health, Health::Warn, "{words}");
            assert!(check.found.contains(words) && !check.advice.is_empty(), "{check:?}");
        }
    }

    #[test]
    fn enough_is_well_and_so_is_none_where_none_are_wanted() {
        for figures in [
            figures(3, |_| ()),
            figures(1, |_| ()),
            figures(0, |refill| refill.wanted = 0),
            SpareFigures { refill: None, ..figures(0, |_| ()) },
        ] {
            assert_eq!(check_spares(&figures, NEWEST).health, Health::Ok, "{figures:?}");
        }
    }
}
