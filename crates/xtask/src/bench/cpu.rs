//! The processor time that a program has used, where the system tells (Linux).
//!
//! Throughput is what counts, and on a machine with other work it wavers; time per request hardly does, and says where a
//! ratio comes from.

use std::{fs, time::Duration};

/// What the process and its threads have used so far.
pub(super) fn used(pid: u32) -> Option<Duration> {
    let ticks = ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_micros(ticks.checked_mul(1_000_000)?.checked_div(per_second)?))
}

/// proc_pid_stat(5): utime and stime are the 14th and 15th fields, and the 2nd, in parentheses, may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_summed() {
        let stat = "4711 (a (b) c) S 1 4711 4711 0 -1 4194304 900 0 0 0 250 31 0 0 20 0 5 0 100 1 2 3";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("4711 (a) S 1"), None);
    }
}
