//! How a request is said to have come by its connection.

use portero_kernel::TenantId;
use portero_router::scheduler::{Connection, Limits, Path, Scheduler, Wish};
use std::time::Duration;

const NOW: Duration = Duration::ZERO;

struct Session;

impl Connection for Session {
    fn is_closed(&self) -> bool {
        false
    }

    fn home(&self) -> u64 {
        0
    }
}

/// Opens what is wished for, until nothing is.
fn open_all(scheduler: &mut Scheduler<Session, u32>) {
    while scheduler.has_wishes() {
        for wish in scheduler.wishes() {
            if let Wish::Connect { slot, .. } = wish {
                scheduler.opened(NOW, slot, 0, Session);
            }
        }
    }
}

#[test]
fn who_waits_behind_its_own_company_waited_whatever_room_there_is() {
    let mut scheduler = Scheduler::new(Limits { per_tenant: 2, ..Limits::default() });
    scheduler.set_granted(NOW, 100);
    let (acme, globex) = (TenantId::generate(), TenantId::generate());
    let mut paths = Vec::new();
    for (number, tenant) in [acme, acme, acme, globex].into_iter().enumerate() {
        let number = u32::try_from(number).expect("few");
        let (_, path) = scheduler.wait(NOW, tenant, 1, 0, number).unwrap_or_else(|_| panic!("there is room"));
        paths.push(path);
    }
    assert_eq!(paths, [Path::Create, Path::Create, Path::Queue, Path::Create]);
    open_all(&mut scheduler);
    let (_, path) = scheduler.wait(NOW, acme, 1, 0, 9).unwrap_or_else(|_| panic!("there is room"));
    assert_eq!(path, Path::Queue, "both of its connections are in use");
}
