//! What the measuring program (`crates/bench`) found: run, read, held against the targets, told and kept.

use super::{
    bars::{self, Bars},
    chart::{self, Chart},
    machine::Machine,
    process::{self, Interrupted},
    stats::Summary,
    targets::{self, Target},
};
use crate::workspace;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{fmt::Write as _, fs, iter::zip, path::Path, process::Command};

/// All that one run found.
#[derive(Deserialize)]
struct Outcome {
    postgres: String,
    setting: String,
    measures: Vec<Measure>,
    chart: Chart,
    bars: Option<Bars>,
}

#[derive(Deserialize)]
struct Measure {
    key: String,
    of: String,
    unit: String,
    figures: Vec<f64>,
    /// As many, or none.
    ceilings: Vec<f64>,
}

impl Measure {
    fn ratio(&self) -> Summary {
        Summary::of(zip(&self.figures, &self.ceilings).map(|(figure, ceiling)| figure / ceiling))
    }

    fn what(&self, target: &Target) -> String {
        if self.of.is_empty() { target.what.to_owned() } else { format!("{}, {}", target.what, self.of) }
    }

    fn target(&self) -> Result<&'static Target> {
        targets::target(&self.key).with_context(|| format!("{:?} has no line in targets.rs", self.key))
    }
}

/// Builds what is measured, what it is compared with and what measures: always all of it, as cargo builds the crates that
/// they share for each choice of programs anew.
pub(super) fn build() -> Result<()> {
    println!("Building Portero and what it is compared with, for release …");
    let packages = ["portero", "bench-bare", "portero-bench"].into_iter();
    let status = workspace::cargo()
        .args(["build", "--quiet", "--release", "--locked"])
        .args(packages.flat_map(|package| ["--package", package]))
        .status()
        .context("cargo can't be run")?;
    if !status.success() {
        bail!("the programs to measure don't build");
    }
    Ok(())
}

/// Lets the program measure one thing, holds that against the targets, tells it and keeps it.
///
/// # Errors
/// What could not be measured or kept. A target that was missed is a figure, not an error.
pub(super) fn measure(bench: &str, args: &[String], interrupted: &Interrupted) -> Result<()> {
    let outcome = run(bench, args, interrupted)?;
    println!("\n{}", table(&outcome)?);
    if let Some(found) = &outcome.bars {
        println!("{}", bars::table(found));
    }
    save(bench, &outcome)
}

/// The program tells its progress itself.
fn run(bench: &str, args: &[String], interrupted: &Interrupted) -> Result<Outcome> {
    let target = workspace::target_dir()?;
    let (programs, dir) = (target.join("release"), target.join("bench"));
    fs::create_dir_all(&dir)?;
    let out = dir.join(format!("{bench}.found.json"));
    let mut command = Command::new(programs.join("portero-bench"));
    command.arg("--portero").arg(programs.join("portero"));
    command.arg("--scratch").arg(dir.join("scratch")).arg("--out").arg(&out);
    command.arg(bench).args(args);
    process::run_to_end("portero-bench", &mut command, interrupted)?;
    let found = fs::read_to_string(&out).with_context(|| format!("{} can't be read", out.display()))?;
    fs::remove_file(&out)?;
    serde_json::from_str(&found).context("what was found is not understood")
}

/// The table, and after it the machine.
///
/// # Errors
/// A measure that has no target.
fn table(outcome: &Outcome) -> Result<String> {
    let mut text = format!(
        "{:<44}{:>11}{:>11}{:>8}{:>16}  {}\n",
        "", "figure", "ceiling", "ratio", "(from, to)", "target"
    );
    for measure in &outcome.measures {
        let target = measure.target()?;
        let (figure, ceiling) = (Summary::of(measure.figures.clone()), Summary::of(measure.ceilings.clone()));
        let ratio = measure.ratio();
        let verdict = match target.bound.holds(figure.median, figure.max, ratio.median) {
            Some(true) => ": reached",
            Some(false) => ": missed",
            None => "",
        };
        let with_unit = |value: f64| {
            if value.is_nan() { "–".to_owned() } else { format!("{} {}", digits(value), measure.unit) }
        };
        let (ratio, spread) = if ratio.median.is_nan() {
            ("–".to_owned(), String::new())
        } else {
            (digits(ratio.median), format!("({}, {})", digits(ratio.min), digits(ratio.max)))
        };
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{:<44}{:>11}{:>11}{ratio:>8}{spread:>16}  {}{verdict}",
            measure.what(target),
            with_unit(figure.median),
            with_unit(ceiling.median),
            target.bound.words(&measure.unit),
        );
    }
    let machine = Machine::look(outcome.postgres.clone());
    let _ = writeln!(
        text,
        "\n{}; {} cores, {}, {}, PostgreSQL {}",
        outcome.setting, machine.cores, machine.cpu, machine.kernel, machine.postgres
    );
    Ok(text)
}

/// Three digits that count, and no more than there are.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        below if below < 1.0 => 3,
        below if below < 10.0 => 2,
        below if below < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// For programs: every pair, and the verdicts.
///
/// # Errors
/// A measure that has no target.
fn json(bench: &str, outcome: &Outcome) -> Result<Value> {
    let summary =
        |summary: Summary| json!({ "median": summary.median, "min": summary.min, "max": summary.max });
    let measures = outcome.measures.iter().map(|measure| {
        let target = measure.target()?;
        let (figure, ratio) = (Summary::of(measure.figures.clone()), measure.ratio());
        Ok(json!({
            "key": measure.key,
            "what": measure.what(target),
            "unit": measure.unit,
            "target": target.bound.words(&measure.unit),
            "reached": target.bound.holds(figure.median, figure.max, ratio.median),
            "figure": summary(figure),
            "ceiling": summary(Summary::of(measure.ceilings.clone())),
            "ratio": summary(ratio),
            "figures": measure.figures,
            "ceilings": measure.ceilings,
        }))
    });
    let measures: Vec<Value> = measures.collect::<Result<_>>()?;
    let machine = Machine::look(outcome.postgres.clone());
    Ok(json!({
        "bench": bench,
        "setting": outcome.setting,
        "measures": measures,
        "machine": {
            "cores": machine.cores,
            "cpu": machine.cpu,
            "kernel": machine.kernel,
            "postgres": machine.postgres,
        },
    }))
}

/// Keeps table's figures and picture in `target/bench`.
///
/// # Errors
/// The files can't be written.
fn save(bench: &str, outcome: &Outcome) -> Result<()> {
    let dir = workspace::target_dir()?.join("bench");
    write(&dir, &format!("{bench}.json"), &format!("{:#}\n", json(bench, outcome)?))?;
    write(&dir, &format!("{bench}.svg"), &chart::draw(&outcome.chart))?;
    if let Some(found) = &outcome.bars {
        write(&dir, &format!("{bench}-parts.svg"), &bars::draw(found))?;
    }
    println!("Kept in {0}/{bench}.json and {0}/{bench}.svg", dir.display());
    Ok(())
}

/// Writes one file of a bench's.
///
/// # Errors
/// It can't be written.
pub(super) fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join(name), text).with_context(|| format!("{name} can't be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        serde_json::from_value(json!({
            "postgres": "15.14",
            "setting": "3 pairs",
            "measures": [
                { "key": "checkout", "of": "", "unit": "µs", "figures": [1.0, 6.5, 1.25], "ceilings": [0.5, 0.5, 0.5] },
            ],
            "chart": { "title": "t", "x": "x", "y": "y", "shares": false, "lines": [] },
        }))
        .unwrap()
    }

    #[test]
    fn the_table_has_figure_ceiling_ratio_and_verdict() {
        let table = table(&outcome()).unwrap();
        for expected in [
            "warm checkout",
            "1.25 µs",
            "0.500 µs",
            "2.50",
            "(2.00, 13.0)",
            "≤ 5 µs: reached",
            "PostgreSQL 15.14",
        ] {
            assert!(table.contains(expected), "{expected} is not in\n{table}");
        }
    }

    #[test]
    fn programs_get_every_pair_and_the_verdict() {
        let json = json("route", &outcome()).unwrap();
        assert_eq!(json["measures"][0]["ratio"]["median"], 2.5);
        assert_eq!(json["measures"][0]["reached"], true);
        assert_eq!(json["measures"][0]["figures"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_measure_without_a_target_is_a_mistake() {
        let mut outcome = outcome();
        outcome.measures[0].key = "novelty".to_owned();
        assert!(table(&outcome).unwrap_err().to_string().contains("novelty"));
    }
}
