//! What became of a run: in words, as JSON, and as the JUnit XML that CI systems read.

use crate::output::{Output, moment};
use portero_control::{MigratedTenant, MigrationReport};
use std::{fmt::Write as _, path::Path};

/// What a file's ending asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Junit,
    Json,
}

impl Format {
    pub(super) fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "xml" => Some(Self::Junit),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    pub(super) fn write(self, report: &MigrationReport) -> String {
        match self {
            Self::Junit => junit(report),
            Self::Json => {
                let text = serde_json::to_string_pretty(report);
                text.expect("our own types are JSON") + "\n"
            }
        }
    }

    /// Where there was nothing to do.
    pub(super) fn nothing(self) -> String {
        match self {
            Self::Junit => {
                format!("{XML}<testsuites name=\"portero migrate\" tests=\"0\" failures=\"0\"/>\n")
            }
            Self::Json => "{ \"run\": null, \"tenants\": [] }\n".to_owned(),
        }
    }
}

/// How a run that was worked at ended, and why where it isn't complete.
pub(super) fn outcome(report: &MigrationReport, output: Output) {
    output.json(report);
    let run = &report.run;
    let counts = [(run.done, "done"), (run.failed, "failed"), (run.skipped, "skipped")];
    let mut counts: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if run.pending + run.running > 0 {
        counts.push(format!("{} not begun", run.pending + run.running));
    }
    if counts.is_empty() && report.is_complete() {
        return output.line(format_args!(
            "Nobody lacked anything. Who signs up has version {} from now on.",
            run.target
        ));
    }
    let reason = run.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    output.line(format_args!(
        "Version {}: {}. The run is {}{reason}.",
        run.target,
        counts.join(", "),
        run.status
    ));
    if !report.is_complete() {
        output.line(format_args!("What became of each: portero migrate show {}", run.id));
        output.line(match run.status {
            "finished" | "stopped" => {
                format!("Tries the same again where it failed: portero migrate resume {}", run.id)
            }
            _ => format!("Goes on with it: portero migrate resume {}", run.id),
        });
    }
}

/// All that is known of a run.
pub(super) fn show(report: &MigrationReport, output: Output) {
    output.json(report);
    let run = &report.run;
    let reason = run.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    for (name, value) in [
        ("id", run.id.to_string()),
        ("status", format!("{}{reason}", run.status)),
        ("to", format!("version {}", run.target)),
        ("waves", format!("{}, and it is at {} of {}", run.waves, run.wave, run.last_wave)),
        ("began", moment(run.created_at)),
        ("ended", run.finished_at.map_or_else(|| "not yet".to_owned(), moment)),
    ] {
        output.line(format_args!("{name:<8} {value}"));
    }
    output.line("");
    let rows: Vec<_> = report
        .tenants
        .iter()
        .map(|tenant| {
            [
                tenant.wave.to_string(),
                tenant.subdomain.clone(),
                tenant.state.to_owned(),
                versions(tenant),
                tenant.attempts.to_string(),
                tenant.took_ms.map(|took| format!("{took} ms")).unwrap_or_default(),
                tenant.error.clone().unwrap_or_default(),
            ]
        })
        .collect();
    output.table(["WAVE", "SUBDOMAIN", "STATE", "VERSION", "TRIES", "TOOK", "WHY"], &rows);
}

fn versions(tenant: &MigratedTenant) -> String {
    match tenant.version_after {
        Some(after) if after != tenant.version_before => format!("{} → {after}", tenant.version_before),
        _ => tenant.version_before.to_string(),
    }
}

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// A suite for each wave, a case for each tenant. What was not begun counts as skipped: it is no success.
fn junit(report: &MigrationReport) -> String {
    let last = report.tenants.iter().map(|tenant| tenant.wave).max().unwrap_or(0);
    let mut suites = String::new();
    for wave in 1..=last {
        let cases: Vec<_> = report.tenants.iter().filter(|tenant| tenant.wave == wave).collect();
        suites.push_str(&opening("testsuite", &format!("wave {wave}"), &cases, 1));
        cases.iter().for_each(|tenant| suites.push_str(&case(tenant)));
        suites.push_str("  </testsuite>\n");
    }
    let all: Vec<_> = report.tenants.iter().collect();
    let name = format!("portero migrate to version {}, run {}", report.run.target, report.run.id);
    format!("{XML}{}{suites}</testsuites>\n", opening("testsuites", &name, &all, 0))
}

fn opening(element: &str, name: &str, cases: &[&MigratedTenant], depth: usize) -> String {
    let count = |states: &[&str]| cases.iter().filter(|tenant| states.contains(&tenant.state)).count();
    let took: u64 = cases.iter().filter_map(|tenant| tenant.took_ms).sum();
    let skipped = count(&["skipped", "pending", "running"]);
    // The outermost has no such attribute in the schemas that are about.
    let skipped = if depth == 0 { String::new() } else { format!(" errors=\"0\" skipped=\"{skipped}\"") };
    format!(
        "{:depth$}<{element} name=\"{}\" tests=\"{}\" failures=\"{}\"{skipped} time=\"{}\">\n",
        "",
        escaped(name),
        cases.len(),
        count(&["failed"]),
        seconds(took),
        depth = depth * 2
    )
}

fn case(tenant: &MigratedTenant) -> String {
    let mut text = format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
        escaped(&tenant.server),
        escaped(&tenant.subdomain),
        seconds(tenant.took_ms.unwrap_or(0))
    );
    let why = escaped(tenant.error.as_deref().unwrap_or_default());
    // Writing to a string can't fail.
    let _ = match tenant.state {
        "failed" => write!(
            text,
            ">\n      <failure type=\"migration\" message=\"{why}\">at version {}, tried {} times</failure>\n    </testcase>",
            tenant.version_after.unwrap_or(tenant.version_before),
            tenant.attempts
        ),
        "skipped" => write!(text, ">\n      <skipped message=\"{why}\"/>\n    </testcase>"),
        "done" => write!(text, "/>"),
        state => write!(text, ">\n      <skipped message=\"not done: {state}\"/>\n    </testcase>"),
    };
    text + "\n"
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// For an attribute or a text. What XML can't hold at all becomes a question mark.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_control::MigrationRunView;
    use portero_kernel::{MigrationRunId, TenantId};
    use time::OffsetDateTime;
    use uuid::Uuid;

    fn tenant(subdomain: &str, wave: i32, state: &'static str, error: Option<&str>) -> MigratedTenant {
        MigratedTenant {
            id: TenantId::from(Uuid::from_u128(1)),
            subdomain: subdomain.to_owned(),
            server: "main".to_owned(),
            wave,
            state,
            version_before: 4,
            version_after: (state == "done").then_some(5),
            attempts: 1,
            started_at: None,
            took_ms: (state != "pending").then_some(1250),
            error: error.map(str::to_owned),
        }
    }

    fn report() -> MigrationReport {
        MigrationReport {
            run: MigrationRunView {
                id: MigrationRunId::from(Uuid::from_u128(7)),
                status: "stopped",
                reason: None,
                target: 5,
                whole_fleet: true,
                waves: "1,100%".to_owned(),
                wave: 2,
                last_wave: 2,
                pending: 1,
                running: 0,
                done: 1,
                failed: 1,
                skipped: 1,
                created_at: OffsetDateTime::UNIX_EPOCH,
                finished_at: None,
            },
            tenants: vec![
                tenant("acme", 1, "done", None),
                tenant("globex", 2, "failed", Some("column \"a\" <is> bad\nreally\u{1}")),
                tenant("hooli", 2, "skipped", Some("being made")),
                tenant("initech", 2, "pending", None),
            ],
        }
    }

    #[test]
    fn ci_reads_a_case_for_each_tenant() {
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="portero migrate to version 5, run 00000000-0000-0000-0000-000000000007" tests="4" failures="1" time="3.750">
  <testsuite name="wave 1" tests="1" failures="0" errors="0" skipped="0" time="1.250">
    <testcase classname="main" name="acme" time="1.250"/>
  </testsuite>
  <testsuite name="wave 2" tests="3" failures="1" errors="0" skipped="2" time="2.500">
    <testcase classname="main" name="globex" time="1.250">
      <failure type="migration" message="column &quot;a&quot; &lt;is&gt; bad&#10;really?">at version 4, tried 1 times</failure>
    </testcase>
    <testcase classname="main" name="hooli" time="1.250">
      <skipped message="being made"/>
    </testcase>
    <testcase classname="main" name="initech" time="0.000">
      <skipped message="not done: pending"/>
    </testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(junit(&report()), expected);
    }

    #[test]
    fn a_files_ending_says_what_is_in_it() {
        for (file, format) in [
            ("a.xml", Some(Format::Junit)),
            ("dir.xml/b.json", Some(Format::Json)),
            ("a.txt", None),
            ("xml", None),
        ] {
            assert_eq!(Format::of(Path::new(file)), format, "{file}");
        }
    }
}
