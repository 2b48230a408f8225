//! wrk, the load generator: runs it, and reads what it says.

use super::cpu;
use anyhow::{Context, Result, bail};
use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

/// How to ask.
pub(super) struct Load {
    pub(super) program: PathBuf,
    pub(super) connections: u32,
    pub(super) seconds: u32,
}

/// Whom to ask.
pub(super) struct Target {
    pub(super) name: &'static str,
    pub(super) pid: u32,
    pub(super) address: SocketAddr,
    pub(super) host: String,
    pub(super) path: &'static str,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) requests: u64,
    /// Processor time of the server's process per request, where the system tells.
    pub(super) cpu_us: Option<f64>,
}

const THREADS: u32 = 2;

/// Asks as often as it can for some seconds.
///
/// # Errors
/// One answer that isn't a success, or one broken connection: figures of failures say nothing.
pub(super) fn run(load: &Load, target: &Target) -> Result<Figures> {
    let before = cpu::used(target.pid);
    let output = Command::new(&load.program)
        .arg(format!("-t{THREADS}"))
        .arg(format!("-c{}", load.connections))
        .arg(format!("-d{}s", load.seconds))
        .arg("--latency")
        // A machine with other work may keep one connection waiting: slow is a figure, not a failure.
        .args(["--timeout", "10s"])
        .args(["-H", &format!("Host: {}", target.host)])
        .arg(format!("http://{}{}", target.address, target.path))
        .stdin(Stdio::null())
        .output()
        .context("wrk can't be run")?;
    let after = cpu::used(target.pid);
    let told = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk failed: {}{told}", String::from_utf8_lossy(&output.stderr));
    }
    let mut figures = parse(&told).with_context(|| format!("asking {}", target.name))?;
    if let (Some(before), Some(after)) = (before, after) {
        let seconds = after.saturating_sub(before).as_secs_f64();
        figures.cpu_us = Some(seconds * 1e6 / count(figures.requests));
    }
    Ok(figures)
}

/// More than 2^32 in a run would be news.
fn count(requests: u64) -> f64 {
    f64::from(u32::try_from(requests).unwrap_or(u32::MAX))
}

fn parse(told: &str) -> Result<Figures> {
    let after =
        |label: &str| told.lines().find_map(|line| line.trim_start().strip_prefix(label)).map(str::trim);
    if let Some(count) = after("Non-2xx or 3xx responses:") {
        bail!("{count} answers were no success");
    }
    if let Some(errors) = after("Socket errors:") {
        bail!("connections failed: {errors}");
    }
    let needed = |label: &str| after(label).with_context(|| format!("wrk doesn't say {label:?}:\n{told}"));
    let requests = told
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .with_context(|| format!("wrk doesn't say how many requests it made:\n{told}"))?;
    let per_second = needed("Requests/sec:")?.parse().context("wrk's rate is no number")?;
    if requests == 0 {
        bail!("no request was answered");
    }
    let (p50_ms, p99_ms) = (millis(needed("50%")?)?, millis(needed("99%")?)?);
    Ok(Figures { per_second, p50_ms, p99_ms, requests, cpu_us: None })
}

/// wrk's `812.00us`, `1.53ms`, `2.01s`, `1.10m`.
fn millis(text: &str) -> Result<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)];
    let known = units.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(number * factor)
    });
    known.with_context(|| format!("{text:?} is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "Running 5s test @ http://127.0.0.1:40123/api/v1/ping
  2 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.31ms  812.00us  20.11ms   87.12%
    Req/Sec     7.01k   512.31     8.40k    71.00%
  Latency Distribution
     50%    2.20ms
     75%    2.61ms
     90%    3.05ms
     99%    5.12ms
  69882 requests in 5.01s, 12.86MB read
Requests/sec:  13951.88
Transfer/sec:      2.57MB
";

    #[test]
    fn figures_are_read() {
        let expected =
            Figures { per_second: 13951.88, p50_ms: 2.2, p99_ms: 5.12, requests: 69882, cpu_us: None };
        assert_eq!(parse(TOLD).unwrap(), expected);
    }

    #[test]
    fn failures_fail() {
        for (line, expected) in [
            ("  Non-2xx or 3xx responses: 17\n", "17 answers were no success"),
            ("  Socket errors: connect 0, read 3, write 0, timeout 0\n", "read 3"),
        ] {
            let told = TOLD.replace("Requests/sec", &format!("{line}Requests/sec"));
            assert!(parse(&told).unwrap_err().to_string().contains(expected));
        }
        assert!(parse("unable to connect to 127.0.0.1:1 Connection refused\n").is_err());
        assert!(parse(&TOLD.replace("69882", "0")).is_err());
    }

    #[test]
    fn times_have_units() {
        for (text, expected) in [("250.00us", 0.25), ("1.53ms", 1.53), ("2.01s", 2010.0), ("0.50m", 30_000.0)]
        {
            assert!((millis(text).unwrap() - expected).abs() < 1e-9, "{text}");
        }
        assert!(millis("soon").is_err());
    }
}
