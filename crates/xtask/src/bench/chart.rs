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
    pub(super) title: String,
    /// What the axes are.
    pub(super) x: String,
    pub(super) y: String,
    /// Whether it tells which share took how long: then x goes by nines, as the last per cent matters as much as all the
    /// rest, and y by tens.
    pub(super) shares: bool,
    pub(super) lines: Vec<Line>,
}

#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) points: Vec<(f64, f64)>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Figure,
    Ceiling,
    Limit,
}

/// How an axis goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Even,
    /// By powers of ten.
    Tens,
    /// Percentages: from 0 to 90 is as far as from 90 to 99, and as from there to 99.9.
    Nines,
}

impl Kind {
    fn bend(self, value: f64) -> f64 {
        match self {
            Self::Even => value,
            Self::Tens => value.log10(),
            Self::Nines => -(1.0 - value.min(99.99) / 100.0).log10(),
        }
    }
}

/// From values to places along one axis.
struct Scale {
    low: f64,
    high: f64,
    kind: Kind,
    /// Whether all values are whole: half a pair is none.
    whole: bool,
    from: f64,
    to: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64> + Clone, kind: Kind, from: f64, to: f64) -> Self {
        let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
        let whole = values.clone().all(|value| value.fract() == 0.0);
        let low = values.filter(|value| kind != Kind::Tens || *value > 0.0).fold(f64::INFINITY, f64::min);
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        let (low, high) = if kind == Kind::Tens {
            (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()))
        } else {
            (low, high)
        };
        // One value alone is no stretch.
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, kind, whole, from, to }
    }

    /// The same, from zero to where a number stands.
    fn rounded(self) -> Self {
        if self.kind != Kind::Even {
            return self;
        }
        let from_zero = Self { low: self.low.min(0.0), ..self };
        let step = from_zero.step();
        Self { high: (from_zero.high / step).ceil() * step, ..from_zero }
    }

    fn at(&self, value: f64) -> f64 {
        let bent = |value: f64| self.kind.bend(value);
        let share = (bent(value.max(self.low)) - bent(self.low)) / (bent(self.high) - bent(self.low));
        self.from + share * (self.to - self.from)
    }

    /// About a fifth of all, as a round number.
    fn step(&self) -> f64 {
        let fifth = (self.high - self.low) / 5.0;
        let ten = 10_f64.powf(fifth.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|times| times * ten).into_iter().find(|step| *step >= fifth);
        let step = step.unwrap_or(10.0 * ten);
        if self.whole { step.max(1.0) } else { step }
    }

    /// Where the axis bears a number.
    fn ticks(&self) -> Vec<f64> {
        match self.kind {
            Kind::Even => {
                let step = self.step();
                // A hair more than the end: sums of fractions miss it.
                (0..=10)
                    .map(|number| self.low + f64::from(number) * step)
                    .take_while(|tick| *tick <= self.high + step / 1e3)
                    .collect()
            }
            Kind::Nines => {
                [0.0, 50.0, 90.0, 99.0, 99.9].into_iter().filter(|tick| *tick <= self.high).collect()
            }
            Kind::Tens => {
                let mut ticks = vec![self.low];
                while let Some(last) = ticks.last().filter(|last| **last * 1.5 < self.high) {
                    ticks.push(last * 10.0);
                }
                ticks
            }
        }
    }
}

/// An SVG; it brings its own colours, for light and for dark.
pub(super) fn draw(chart: &Chart) -> String {
    let points = || chart.lines.iter().flat_map(|line| line.points.iter().copied());
    let (x_kind, y_kind) = if chart.shares { (Kind::Nines, Kind::Tens) } else { (Kind::Even, Kind::Even) };
    let x = Scale::of(points().map(|(x, _)| x), x_kind, LEFT, LEFT + WIDTH);
    let y = Scale::of(points().map(|(_, y)| y), y_kind, TOP + HEIGHT, TOP).rounded();
    let (width, height) = (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <style>text{{fill:#333}}path{{fill:none;stroke-width:2;stroke-linecap:round}}.g{{stroke:#ddd;stroke-width:1}}.f{{stroke:#2f6f8f}}\
         .f2{{stroke:#b8791f}}.c{{stroke:#98a5ae}}.l{{stroke:#c0392b;stroke-dasharray:6 4}}\
         @media(prefers-color-scheme:dark){{text{{fill:#ddd}}.g{{stroke:#3a4248}}.f{{stroke:#6fb3d2}}\
         .f2{{stroke:#e0a95a}}.c{{stroke:#7d8a93}}.l{{stroke:#e57368}}}}</style>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{}</text>\n\
         <text x=\"{LEFT}\" y=\"{:.0}\">{}</text>\n",
        escaped(&chart.title),
        TOP - 14.0,
        escaped(&chart.y)
    );
    axes(&mut svg, chart, &x, &y);
    for (class, line) in classes(chart) {
        let mut path = String::new();
        for (number, (at_x, at_y)) in line.points.iter().enumerate() {
            let command = if number == 0 { 'M' } else { 'L' };
            // Writing to a string can't fail.
            let _ = write!(path, "{command}{:.1} {:.1}", x.at(*at_x), y.at(*at_y));
        }
        if line.points.len() == 1 {
            // A line of no length has round ends: a dot.
            path.push_str("h0");
        }
        let _ = writeln!(
            svg,
            "<path class=\"{class}\" d=\"{path}\"><title>{}</title></path>",
            escaped(&line.name)
        );
    }
    legend(&mut svg, chart);
    svg.push_str("</svg>\n");
    svg
}

/// Each line and its class: of two figures, the second has a colour of its own.
fn classes(chart: &Chart) -> impl Iterator<Item = (&'static str, &Line)> {
    let mut figures = ["f", "f2"].into_iter();
    chart.lines.iter().map(move |line| match line.role {
        Role::Figure => (figures.next().unwrap_or("f2"), line),
        Role::Ceiling => ("c", line),
        Role::Limit => ("l", line),
    })
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
    for (class, line) in classes(chart) {
        let letters = u32::try_from(line.name.chars().count()).unwrap_or(u32::MAX);
        let _ = writeln!(
            svg,
            "<path class=\"{class}\" d=\"M{at:.1} {:.1}h24\"/><text x=\"{:.1}\" y=\"{below:.1}\">{}</text>",
            below - 4.0,
            at + 30.0,
            escaped(&line.name)
        );
        at += 54.0 + 6.5 * f64::from(letters);
    }
}

fn number(value: f64) -> String {
    let short = if value.abs() >= 10.0 { format!("{value:.1}") } else { format!("{value:.3}") };
    if short.contains('.') { short.trim_end_matches('0').trim_end_matches('.').to_owned() } else { short }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(shares: bool, points: Vec<(f64, f64)>) -> Chart {
        let line = Line { name: "a & b".to_owned(), role: Role::Figure, points };
        Chart {
            title: "<t>".to_owned(),
            x: "share".to_owned(),
            y: "ms".to_owned(),
            shares,
            lines: vec![line],
        }
    }

    #[test]
    fn a_line_goes_from_its_first_point_to_its_last() {
        let svg = draw(&chart(false, vec![(0.0, 0.0), (10.0, 50.0)]));
        assert!(svg.contains("d=\"M64.0 416.0L784.0 56.0\""), "{svg}");
        assert!(svg.contains("&lt;t&gt;") && svg.contains("a &amp; b"));
    }

    #[test]
    fn an_axis_of_tens_has_a_line_for_each() {
        let scale = Scale::of([0.2, 30.0].into_iter(), Kind::Tens, 0.0, 90.0);
        let ticks: Vec<String> = scale.ticks().into_iter().map(number).collect();
        assert_eq!(ticks, ["0.1", "1", "10", "100"]);
        assert!((scale.at(1.0) - 30.0).abs() < 1e-9);
        assert!(scale.at(0.0).abs() < 1e-9, "what has no logarithm lies at the bottom");
    }

    #[test]
    fn an_axis_of_nines_gives_the_last_per_cent_as_much_room_as_the_first_ninety() {
        let scale = Scale::of([0.0, 99.0].into_iter(), Kind::Nines, 0.0, 80.0);
        assert_eq!(scale.ticks(), [0.0, 50.0, 90.0, 99.0]);
        assert_eq!([99.9, 90.0].map(number), ["99.9", "90"]);
        assert!((scale.at(90.0) - 40.0).abs() < 1e-9 && (scale.at(99.0) - 80.0).abs() < 1e-9);
        assert!(scale.at(100.0).is_finite());
    }

    #[test]
    fn an_even_axis_has_round_numbers() {
        for (high, expected) in [
            (43.0, &["0", "10", "20", "30", "40", "50"][..]),
            (7.0, &["0", "2", "4", "6", "8"]),
            (2.0, &["0", "1", "2"]),
            (0.31, &["0", "0.1", "0.2", "0.3", "0.4"]),
        ] {
            let scale = Scale::of([0.0, high].into_iter(), Kind::Even, 0.0, 90.0).rounded();
            assert_eq!(scale.ticks().into_iter().map(number).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn two_figures_have_two_colours() {
        let mut chart = chart(false, vec![(0.0, 0.0)]);
        for role in [Role::Ceiling, Role::Figure, Role::Limit] {
            chart.lines.push(Line { name: String::new(), role, points: Vec::new() });
        }
        let classes: Vec<_> = classes(&chart).map(|(class, _)| class).collect();
        assert_eq!(classes, ["f", "c", "f2", "l"]);
    }

    #[test]
    fn nothing_and_a_single_point_are_drawn_too() {
        for points in [vec![], vec![(1.0, 1.0)], vec![(0.0, 0.0)]] {
            for shares in [false, true] {
                let svg = draw(&chart(shares, points.clone()));
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }
}
