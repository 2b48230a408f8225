//! Lines over two axes, as a picture.

use serde::Deserialize;
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 56.0;
const RIGHT: f64 = 24.0;
const BOTTOM: f64 = 72.0;

#[derive(Deserialize)]
pub(super) struct Chart {
    title: String,
    /// What the axes are.
    x: String,
    y: String,
    /// Whether the y axis is logarithmic.
    log: bool,
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    role: Role,
    points: Vec<(f64, f64)>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Role {
    Figure,
    Ceiling,
    Limit,
}

impl Role {
    fn class(self) -> &'static str {
        match self {
            Self::Figure => "f",
            Self::Ceiling => "c",
            Self::Limit => "l",
        }
    }
}

/// From values to places along one axis.
struct Scale {
    low: f64,
    high: f64,
    log: bool,
    from: f64,
    to: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64> + Clone, log: bool, from: f64, to: f64) -> Self {
        let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
        let low = values.filter(|value| !log || *value > 0.0).fold(f64::INFINITY, f64::min);
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        let (low, high) = if log {
            (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()))
        } else {
            (low.min(0.0), high)
        };
        // One value alone is no stretch.
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, log, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// Where the axis bears a number: each power of ten, or five steps.
    fn ticks(&self) -> Vec<f64> {
        if !self.log {
            return (0..=5).map(|step| self.low + (self.high - self.low) * f64::from(step) / 5.0).collect();
        }
        let mut ticks = vec![self.low];
        while let Some(last) = ticks.last().filter(|last| **last * 1.5 < self.high) {
            ticks.push(last * 10.0);
        }
        ticks
    }
}

/// An SVG; it brings its own colours, for light and for dark.
pub(super) fn draw(chart: &Chart) -> String {
    let points = || chart.lines.iter().flat_map(|line| line.points.iter().copied());
    let x = Scale::of(points().map(|(x, _)| x), false, LEFT, LEFT + WIDTH);
    let y = Scale::of(points().map(|(_, y)| y), chart.log, TOP + HEIGHT, TOP);
    let (width, height) = (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <style>text{{fill:#333}}path{{fill:none;stroke-width:2}}.g{{stroke:#ddd;stroke-width:1}}.f{{stroke:#2f6f8f}}\
         .c{{stroke:#98a5ae}}.l{{stroke:#c0392b;stroke-dasharray:6 4}}\
         @media(prefers-color-scheme:dark){{text{{fill:#ddd}}.g{{stroke:#3a4248}}.f{{stroke:#6fb3d2}}.c{{stroke:#7d8a93}}\
         .l{{stroke:#e57368}}}}</style>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{}</text>\n\
         <text x=\"{LEFT}\" y=\"{:.0}\">{}</text>\n",
        escaped(&chart.title),
        TOP - 14.0,
        escaped(&chart.y)
    );
    axes(&mut svg, chart, &x, &y);
    for line in &chart.lines {
        let mut path = String::new();
        for (number, (at_x, at_y)) in line.points.iter().enumerate() {
            let command = if number == 0 { 'M' } else { 'L' };
            // Writing to a string can't fail.
            let _ = write!(path, "{command}{:.1} {:.1}", x.at(*at_x), y.at(*at_y));
        }
        let _ = writeln!(
            svg,
            "<path class=\"{}\" d=\"{path}\"><title>{}</title></path>",
            line.role.class(),
            escaped(&line.name)
        );
    }
    legend(&mut svg, chart);
    svg.push_str("</svg>\n");
    svg
}

fn axes(svg: &mut String, chart: &Chart, x: &Scale, y: &Scale) {
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = writeln!(
            svg,
            "<path class=\"g\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT + WIDTH,
            LEFT - 8.0,
            at + 4.0,
            number(tick)
        );
    }
    for tick in x.ticks() {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x.at(tick),
            TOP + HEIGHT + 18.0,
            number(tick)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        LEFT + WIDTH,
        TOP + HEIGHT + 36.0,
        escaped(&chart.x)
    );
}

fn legend(svg: &mut String, chart: &Chart) {
    let mut at = LEFT;
    let below = TOP + HEIGHT + 58.0;
    for line in &chart.lines {
        let letters = u32::try_from(line.name.chars().count()).unwrap_or(u32::MAX);
        let _ = writeln!(
            svg,
            "<path class=\"{}\" d=\"M{at:.1} {:.1}h24\"/><text x=\"{:.1}\" y=\"{below:.1}\">{}</text>",
            line.role.class(),
            below - 4.0,
            at + 30.0,
            escaped(&line.name)
        );
        at += 54.0 + 6.5 * f64::from(letters);
    }
}

fn number(value: f64) -> String {
    let short = if value.abs() >= 10.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    if short.contains('.') { short.trim_end_matches('0').trim_end_matches('.').to_owned() } else { short }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(log: bool, points: Vec<(f64, f64)>) -> Chart {
        let line = Line { name: "a & b".to_owned(), role: Role::Figure, points };
        Chart { title: "<t>".to_owned(), x: "share".to_owned(), y: "ms".to_owned(), log, lines: vec![line] }
    }

    #[test]
    fn a_line_goes_from_its_first_point_to_its_last() {
        let svg = draw(&chart(false, vec![(0.0, 0.0), (10.0, 50.0)]));
        assert!(svg.contains("d=\"M64.0 416.0L784.0 56.0\""), "{svg}");
        assert!(svg.contains("&lt;t&gt;") && svg.contains("a &amp; b"));
    }

    #[test]
    fn an_axis_of_tens_has_a_line_for_each() {
        let scale = Scale::of([0.2, 30.0].into_iter(), true, 0.0, 90.0);
        let ticks: Vec<String> = scale.ticks().into_iter().map(number).collect();
        assert_eq!(ticks, ["0.1", "1", "10", "100"]);
        assert!((scale.at(1.0) - 30.0).abs() < 1e-9);
        assert!(scale.at(0.0).abs() < 1e-9, "what has no logarithm lies at the bottom");
    }

    #[test]
    fn nothing_and_a_single_point_are_drawn_too() {
        for points in [vec![], vec![(1.0, 1.0)], vec![(0.0, 0.0)]] {
            for log in [false, true] {
                let svg = draw(&chart(log, points.clone()));
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }
}
