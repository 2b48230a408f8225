//! What this process uses, as the system counts it.

use rustix::param::{clock_ticks_per_second, page_size};
use std::fs;

/// Memory, files and time of the processor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// Bytes of memory that are really there.
    pub(crate) resident_bytes: u64,
    /// Open file descriptors.
    pub(crate) open_files: u64,
    /// Seconds on the processors, this process's own and the system's for it.
    pub(crate) cpu_seconds: f64,
}

impl Usage {
    /// As of now; nothing where there is no `/proc`.
    pub(crate) fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let (ticks, pages) = parse(&stat)?;
        // The directory that is being read is one of them.
        let open_files = u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?.saturating_sub(1);
        let ticks = u32::try_from(ticks).map_or(f64::from(u32::MAX), f64::from);
        let per_second = u32::try_from(clock_ticks_per_second()).ok()?;
        Some(Self {
            resident_bytes: pages * u64::try_from(page_size()).ok()?,
            open_files,
            cpu_seconds: ticks / f64::from(per_second),
        })
    }
}

/// Ticks of the clock on the processors, and pages in memory, of a line of `proc(5)`'s `stat`. The second field is the
/// program's name in parentheses, and may hold anything.
fn parse(stat: &str) -> Option<(u64, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    // The third field is the first here.
    let field = |number: usize| after_name.split_ascii_whitespace().nth(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(24)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 30 12 0 0 20 0 4 0 99 1000 250 184467 1 1";
        assert_eq!(parse(stat), Some((42, 250)));
        assert_eq!(parse("7 (a) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::now().unwrap();
        assert!(
            usage.resident_bytes > 100_000 && usage.open_files >= 3 && usage.cpu_seconds >= 0.0,
            "{usage:?}"
        );
    }
}
