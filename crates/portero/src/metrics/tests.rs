//! The whole text, read as strictly as a scraper may.

use super::*;
use portero_kernel::{ServerId, TenantId};
use portero_registry::RefillRow;
use portero_router::{HistogramRecorder, TenantFigures};
use std::{collections::BTreeMap, time::Duration};
use time::OffsetDateTime;

const HOSTILE: &str = "a \"b\\\" c\nd}";

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// Every family with its type and its samples, in the order written.
fn parse(text: &str) -> Vec<(String, String, Vec<Sample>)> {
    assert!(text.ends_with('\n'));
    let mut families: Vec<(String, String, Vec<Sample>)> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(words.ends_with('.'), "{name}: {words}");
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert!(families.iter().all(|(known, ..)| known != name), "{name} is there twice");
            families.push((name.to_owned(), kind.to_owned(), Vec::new()));
            continue;
        }
        let (family, kind, samples) = families.last_mut().unwrap();
        let sample = parse_sample(line);
        let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.iter().any(|suffix| sample.name == format!("{family}{suffix}")), "{line}");
        let twice = samples.iter().any(|other| other.name == sample.name && other.labels == sample.labels);
        assert!(!twice, "{line}");
        samples.push(sample);
    }
    families
}

fn parse_sample(line: &str) -> Sample {
    let (named, value) = line.rsplit_once(' ').unwrap();
    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
    let Some((name, labels)) = named.split_once('{') else {
        assert!(is_name(named), "{line}");
        return Sample { name: named.to_owned(), labels: Vec::new(), value };
    };
    assert!(is_name(name), "{line}");
    let labels = parse_labels(labels.strip_suffix('}').unwrap());
    Sample { name: name.to_owned(), labels, value }
}

fn parse_labels(mut rest: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (label, quoted) = rest.split_once("=\"").unwrap();
        assert!(is_name(label), "{rest}");
        let mut value = String::new();
        let mut letters = quoted.char_indices();
        let end = loop {
            match letters.next().unwrap() {
                (at, '"') => break at + 1,
                (_, '\\') => match letters.next().unwrap().1 {
                    'n' => value.push('\n'),
                    letter @ ('\\' | '"') => value.push(letter),
                    other => panic!("\\{other} in {rest}"),
                },
                (_, letter) => value.push(letter),
            }
        };
        labels.push((label.to_owned(), value));
        rest = &quoted[end..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn histogram(micros: &[u64]) -> Histogram {
    let recorder = HistogramRecorder::default();
    micros.iter().for_each(|micros| recorder.observe(Duration::from_micros(*micros)));
    recorder.snapshot()
}

fn server(name: &str) -> ServerFigures {
    let tenant = TenantFigures {
        tenant: TenantId::generate(),
        subdomain: "acme".into(),
        in_use: 2,
        idle: 1,
        waiting: 7,
    };
    ServerFigures {
        id: ServerId::generate(),
        name: name.to_owned(),
        capacity: 100,
        granted: 50,
        in_use: 3,
        idle: 4,
        connecting: 1,
        closing: 2,
        waiting: 7,
        waiting_tenants: 1,
        active_tenants: 2,
        breaker: Breaker::SlowStart,
        epoch: 1,
        drift: -1,
        evictions: ["idle", "lifetime", "pressure", "slack", "share", "stale"].map(|reason| (reason, 5)),
        stale_statements: [("retried", 3), ("told", 1)],
        connect_failures: BTreeMap::from([("53300".to_owned(), 2), ("io".to_owned(), 1)]),
        checkout: ["idle", "create", "evict", "queue"].map(|path| (path, histogram(&[40, 400, 99_000_000]))),
        connect: histogram(&[4_000]),
        top: vec![tenant],
    }
}

fn refill() -> RefillRow {
    RefillRow {
        looked_at: OffsetDateTime::UNIX_EPOCH,
        age: Duration::from_secs(7),
        wanted: 3,
        // Two programs with the same version may have templates that differ.
        templates: vec![4, 4, 3],
        stopped: Some(Stopped::Disk),
        reason: Some("full".to_owned()),
        failures: 2,
    }
}

fn spares(name: &str, refill: Option<RefillRow>) -> SpareFigures {
    let name = name.to_owned();
    SpareFigures { server: ServerId::generate(), name, ready: 2, making: 1, origins: [5, 6, 7], refill }
}

fn rendered() -> String {
    let figures = Figures {
        routes: 12,
        clock: 99,
        servers: vec![server("main"), server(HOSTILE)],
        invalidation: histogram(&[1_500]),
        ..Figures::default()
    };
    render(&Shown {
        figures: &figures,
        refused: &[("tenant-busy", 3), ("not-found", 0)],
        tenants: Some(&[(TenantStatus::Active, 12)]),
        jobs: Some(&[("running", 2), ("failing", 1)]),
        round: None,
        spares: Some(&[spares("main", Some(refill())), spares(HOSTILE, None)]),
        usage: Some(Usage { resident_bytes: 1, open_files: 2, cpu_seconds: 0.25 }),
    })
}

#[test]
fn every_family_is_there_once_with_its_type() {
    let families = parse(&rendered());
    let typed: Vec<_> = families.iter().map(|(name, kind, _)| (name.as_str(), kind.as_str())).collect();
    for (name, kind) in &typed {
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
        assert_eq!(name.ends_with("_seconds"), *kind == "histogram", "{name}");
    }
    for name in [
        "portero_routes",
        "portero_route_lookups_total",
        "portero_route_clock",
        "portero_route_clock_lag",
        "portero_invalidation_seconds",
        "portero_registry_reachable",
        "portero_tenants_by_schema",
        "portero_held",
        "portero_held_total",
        "portero_stale_statements_total",
        "portero_budget",
        "portero_waiting",
        "portero_budget_drift",
        "portero_evictions_total",
        "portero_checkout_seconds",
        "portero_connect_seconds",
        "portero_connect_failures_total",
        "portero_breaker",
        "portero_server_epoch",
        "portero_refused_total",
        "portero_tenants",
        "portero_jobs",
        "portero_spares",
        "portero_tenants_made_from",
        "portero_templates",
        "portero_refill_failures_total",
        "portero_refill_stopped",
        "portero_refill_age",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_cpu_seconds_total",
    ] {
        assert!(typed.iter().any(|(known, _)| *known == name), "{name}");
    }
}

#[test]
fn histograms_are_cumulative_and_end_with_all_of_them() {
    let families = parse(&rendered());
    let histograms: Vec<_> = families.iter().filter(|(_, kind, _)| kind == "histogram").collect();
    assert_eq!(histograms.len(), 3);
    for (name, _, samples) in histograms {
        let of = |suffix: &'static str| {
            samples.iter().filter(move |sample| sample.name == format!("{name}{suffix}"))
        };
        for count in of("_count") {
            let buckets: Vec<_> = of("_bucket")
                .filter(|bucket| bucket.labels[..bucket.labels.len() - 1] == count.labels)
                .collect();
            let bound = |bucket: &Sample| {
                let (label, bound) = bucket.labels.last().unwrap();
                assert_eq!(label, "le");
                bound.replace("+Inf", "inf").parse::<f64>().unwrap()
            };
            assert!(buckets.is_sorted_by(|a, b| bound(a) < bound(b) && a.value <= b.value), "{buckets:?}");
            let last = buckets.last().unwrap();
            assert!(bound(last).is_infinite(), "{last:?}");
            assert!((last.value - count.value).abs() < f64::EPSILON && count.value > 0.0, "{last:?}");
            assert_eq!(of("_sum").filter(|sum| sum.labels == count.labels).count(), 1);
        }
    }
    let text = rendered();
    let some = "portero_checkout_seconds_bucket{server=\"main\",path=\"evict\",le=\"0.00005\"} 1\n";
    assert!(text.contains(some), "{text}");
    assert!(text.contains("portero_connect_seconds_sum{server=\"main\"} 0.004\n"), "{text}");
}

#[test]
fn a_name_may_hold_what_it_wants() {
    let families = parse(&rendered());
    let (_, _, budget) = families.iter().find(|(name, ..)| name == "portero_budget").unwrap();
    let servers: Vec<_> = budget.iter().map(|sample| sample.labels[0].1.as_str()).collect();
    assert_eq!(servers.iter().filter(|server| **server == HOSTILE).count(), 6);
    let (_, _, breaker) = families.iter().find(|(name, ..)| name == "portero_breaker").unwrap();
    let on: Vec<_> =
        breaker.iter().filter(|sample| sample.value > 0.0).map(|sample| &sample.labels[1].1).collect();
    assert_eq!(on, ["slow_start", "slow_start"]);
}

#[test]
fn what_is_not_known_is_left_out() {
    let figures = Figures::default();
    let shown = Shown {
        figures: &figures,
        refused: &[],
        tenants: None,
        jobs: None,
        round: None,
        spares: None,
        usage: None,
    };
    let text = render(&shown);
    let families = parse(&text);
    assert!(families.iter().all(|(name, ..)| name != "portero_tenants"
        && name != "portero_jobs"
        && name != "portero_spares"
        && !name.starts_with("process_")));
    assert!(text.contains("portero_registry_reachable 0\n"));
}
