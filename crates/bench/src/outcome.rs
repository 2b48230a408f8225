//! What a bench has found: figures beside their ceilings, and lines to draw.

use serde::Serialize;
use std::time::Duration;

/// All that one run of a bench found.
#[derive(Serialize)]
pub(crate) struct Outcome {
    /// The version of PostgreSQL.
    pub(crate) postgres: String,
    /// What was done, in a line: how many, how long.
    pub(crate) setting: String,
    pub(crate) measures: Vec<Measure>,
    pub(crate) chart: Chart,
    /// Of what the figures are made up, if that was looked at.
    pub(crate) bars: Option<Bars>,
}

/// A picture of bars, each of parts one after the other.
#[derive(Serialize)]
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) bars: Vec<Bar>,
}

#[derive(Serialize)]
pub(crate) struct Bar {
    pub(crate) name: String,
    /// What each part is, and how much.
    pub(crate) parts: Vec<(String, f64)>,
}

/// One thing that was measured, once a pair.
#[derive(Serialize)]
pub(crate) struct Measure {
    /// By which xtask knows the target.
    pub(crate) key: &'static str,
    /// Of what, where the same is measured of several.
    pub(crate) of: String,
    pub(crate) unit: &'static str,
    pub(crate) figures: Vec<f64>,
    /// The same without Portero, pair by pair; nothing where there is no such thing.
    pub(crate) ceilings: Vec<f64>,
}

impl Measure {
    pub(crate) fn new(key: &'static str, unit: &'static str) -> Self {
        Self { key, of: String::new(), unit, figures: Vec::new(), ceilings: Vec::new() }
    }

    /// The same, said of this.
    pub(crate) fn of(self, of: String) -> Self {
        Self { of, ..self }
    }

    /// Of one more pair.
    pub(crate) fn add(&mut self, figure: f64, ceiling: f64) {
        self.figures.push(figure);
        self.ceilings.push(ceiling);
    }
}

#[derive(Serialize)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    /// Whether it tells which share took how long, as [`Times::line`] does: x then goes by nines, and y by tens.
    pub(crate) shares: bool,
    pub(crate) lines: Vec<Line>,
}

#[derive(Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Line {
    /// Level at `y`, from `x` to `x`.
    pub(crate) fn limit(name: impl Into<String>, x: [f64; 2], y: f64) -> Self {
        Self { name: name.into(), role: Role::Limit, points: x.map(|x| (x, y)).to_vec() }
    }
}

/// What a line stands for.
#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Figure,
    Ceiling,
    /// What must not be passed.
    Limit,
}

/// Times that were taken, and the shares of them.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of all (0 to 1) didn't exceed; zero of none.
    pub(crate) fn quantile(&mut self, share: f64) -> Duration {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        // Rounded up: of a hundred, p99 is the 99th and not the 98th.
        let index = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(index.saturating_sub(1).min(last)).copied().unwrap_or_default()
    }

    /// In milliseconds.
    pub(crate) fn millis(&mut self, share: f64) -> f64 {
        self.quantile(share).as_secs_f64() * 1e3
    }

    /// As a line over the percentage of all, in milliseconds: twenty points from 0 to 90 %, as many to 99 %, and so on
    /// up to 99.9 % or as far as there are times. The longest stands in the middle of what is left.
    pub(crate) fn line(&mut self, name: &str, role: Role) -> Line {
        let all = self.len() as f64;
        let shares = (0..=60).map(|step| 1.0 - 10_f64.powf(f64::from(step) / -20.0));
        let points = shares.take_while(|share| (1.0 - share) * all >= 0.999);
        let mut points: Vec<_> = points.map(|share| (share * 100.0, self.millis(share))).collect();
        if (1.0..1000.0).contains(&all) {
            points.push((100.0 - 50.0 / all, self.millis(1.0)));
        }
        Line { name: name.to_owned(), role, points }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_all_times() {
        let mut times = Times::default();
        assert_eq!(times.quantile(0.99), Duration::ZERO);
        for millis in (1..=100).rev() {
            times.push(Duration::from_millis(millis));
        }
        for (share, millis) in [(0.0, 1), (0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)] {
            assert_eq!(times.quantile(share), Duration::from_millis(millis), "{share}");
        }
        let points = times.line("a", Role::Figure).points;
        assert_eq!((points[20].1, points[40].1), (90.0, 99.0));
        assert_eq!(points[41..], [(99.5, 100.0)], "the longest of a hundred");
    }
}
