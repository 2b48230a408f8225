//! That a flood of logins leaves no more memory behind than its buffers: a process of its own, which nothing else is in.
#![cfg(target_os = "linux")]

use portero_auth::{Claimant, Passwords, Verdict};
use portero_kernel::{SecretString, TenantId};

/// As the server does it: threads with a runtime each, and so with blocking threads of their own.
const THREADS: usize = 5;
const ROUNDS: usize = 6;
/// Of one thread; 50 of all.
const TOGETHER: usize = 10;

#[test]
fn three_hundred_logins_fifty_at_a_time_leave_little_behind() {
    let passwords = Passwords::new(2, 198);
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| flood(&passwords));
        }
    });
    let resident = resident_mib();
    assert!(resident < 120, "{resident} MiB are resident");
}

/// With a new blocking thread for each round: they end after ten idle seconds, and logins come for days.
fn flood(passwords: &Passwords) {
    for _ in 0..ROUNDS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let tenant = Claimant::Tenant(TenantId::generate());
            let all: Vec<_> = (0..TOGETHER)
                .map(|_| {
                    let passwords = passwords.clone();
                    let candidate = SecretString::from("kite-lantern-92");
                    tokio::spawn(async move { passwords.verify(tenant, candidate, None).await })
                })
                .collect();
            for one in all {
                let verdict = one.await.expect("a verification runs to its end");
                assert_eq!(verdict.expect("there is a place for it"), Verdict::Mismatch);
            }
        });
    }
}

fn resident_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says how a process is");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("and what is resident");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("in kB");
    kib / 1024
}
