//! The figures of a bench, as a table for people and as JSON for programs.

use super::{machine::Machine, stats::Summary, targets, wrk::Figures};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A run of each, one right after the other.
pub(super) struct Pair {
    pub(super) portero: Figures,
    pub(super) bare: Figures,
}

impl Pair {
    /// Portero's throughput, of the bare server's.
    pub(super) fn ratio(&self) -> f64 {
        self.portero.per_second / self.bare.per_second
    }
}

pub(super) struct Report {
    pub(super) pairs: Vec<Pair>,
    pub(super) machine: Machine,
    pub(super) connections: u32,
    pub(super) seconds: u32,
}

impl Report {
    fn ratio(&self) -> Summary {
        Summary::of(self.pairs.iter().map(Pair::ratio))
    }

    fn figures(&self, of: fn(&Pair) -> &Figures) -> [Summary; 4] {
        let summary =
            |figure: fn(&Figures) -> f64| Summary::of(self.pairs.iter().map(|pair| figure(of(pair))));
        [
            summary(|figures| figures.per_second),
            summary(|figures| figures.p50_ms),
            summary(|figures| figures.p99_ms),
            summary(|figures| figures.cpu_us.unwrap_or(f64::NAN)),
        ]
    }
}

pub(super) fn table(report: &Report) -> String {
    let mut text = format!(
        "{:<10}{:>12}{:>12}{:>12}{:>10}{:>10}{:>10}\n",
        "", "median/s", "min/s", "max/s", "p50 ms", "p99 ms", "CPU µs"
    );
    let (portero, bare) = (report.figures(|pair| &pair.portero), report.figures(|pair| &pair.bare));
    for (name, [rate, p50, p99, cpu]) in [("Portero", portero), ("bare", bare)] {
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{name:<10}{:>12.0}{:>12.0}{:>12.0}{:>10.2}{:>10.2}{:>10.1}",
            rate.median, rate.min, rate.max, p50.median, p99.median, cpu.median
        );
    }
    let Summary { median, min, max } = report.ratio();
    let bound = targets::ROUTE.bound;
    let verdict = if bound.holds(median, median, median) == Some(true) { "reached" } else { "missed" };
    let machine = &report.machine;
    let _ = write!(
        text,
        "\nratio     {median:.3} (from {min:.3} to {max:.3}), target {}: {verdict}\n\
         {} pairs of {} s, {} connections; {} cores, {}, {}, PostgreSQL {}\n",
        bound.words(""),
        report.pairs.len(),
        report.seconds,
        report.connections,
        machine.cores,
        machine.cpu,
        machine.kernel,
        machine.postgres
    );
    text
}

pub(super) fn json(report: &Report) -> Value {
    let run = |figures: &Figures| {
        json!({
            "requests_per_second": figures.per_second,
            "p50_ms": figures.p50_ms,
            "p99_ms": figures.p99_ms,
            "requests": figures.requests,
            "cpu_us_per_request": figures.cpu_us,
        })
    };
    let summary =
        |summary: Summary| json!({ "median": summary.median, "min": summary.min, "max": summary.max });
    let side = |of: fn(&Pair) -> &Figures| {
        let [rate, p50, p99, cpu] = report.figures(of);
        json!({ "requests_per_second": summary(rate), "p50_ms": summary(p50), "p99_ms": summary(p99), "cpu_us_per_request": summary(cpu) })
    };
    let pairs: Vec<Value> = report
        .pairs
        .iter()
        .map(|pair| json!({ "portero": run(&pair.portero), "bare": run(&pair.bare), "ratio": pair.ratio() }))
        .collect();
    json!({
        "bench": "route",
        "ratio": summary(report.ratio()),
        "target": targets::ROUTE.bound.words(""),
        "portero": side(|pair| &pair.portero),
        "bare": side(|pair| &pair.bare),
        "pairs": pairs,
        "connections": report.connections,
        "seconds": report.seconds,
        "machine": {
            "cores": report.machine.cores,
            "cpu": report.machine.cpu,
            "kernel": report.machine.kernel,
            "postgres": report.machine.postgres,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let run =
            |per_second| Figures { per_second, p50_ms: 2.0, p99_ms: 5.0, requests: 1000, cpu_us: Some(30.0) };
        let pair = |portero, bare| Pair { portero: run(portero), bare: run(bare) };
        Report {
            pairs: vec![pair(960.0, 1000.0), pair(900.0, 1000.0), pair(1940.0, 2000.0)],
            machine: Machine {
                cores: 2,
                cpu: "A CPU".to_owned(),
                kernel: "Linux 6.1".to_owned(),
                postgres: "15.14".to_owned(),
            },
            connections: 32,
            seconds: 5,
        }
    }

    #[test]
    fn the_table_tells_the_figures_the_target_and_the_machine() {
        let table = table(&report());
        assert!(
            table.contains("Portero            960         900        1940      2.00      5.00      30.0"),
            "{table}"
        );
        assert!(table.contains("ratio     0.960 (from 0.900 to 0.970), target ≥ 0.95 ×: reached"), "{table}");
        assert!(table.contains("2 cores, A CPU, Linux 6.1, PostgreSQL 15.14"), "{table}");
    }

    #[test]
    fn programs_get_every_run() {
        let json = json(&report());
        assert_eq!(json["pairs"].as_array().unwrap().len(), 3);
        assert_eq!(json["ratio"]["median"], 0.96);
        assert_eq!(json["bare"]["requests_per_second"]["max"], 2000.0);
    }
}
