//! Bars of parts, one part after the other, as a picture: of what a figure is made up.

use serde::Deserialize;
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 64.0;
const TOP: f64 = 56.0;
const BAR: f64 = 28.0;
const GAP: f64 = 16.0;
/// Of a line of the legend.
const LINE: f64 = 18.0;
/// Far enough apart for those who see colours otherwise; after the last they begin again.
const COLOURS: [&str; 12] = [
    "#1b6ca8", "#e07a1f", "#4a9c5d", "#b4443c", "#7d62a8", "#8a6d4f", "#d07fb5", "#6b7280", "#b0a63a",
    "#39a0a8", "#9bb7d4", "#e9b98a",
];

#[derive(Deserialize)]
pub(super) struct Bars {
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) bars: Vec<Bar>,
}

#[derive(Deserialize)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) parts: Vec<(String, f64)>,
}

impl Bar {
    fn sum(&self) -> f64 {
        self.parts.iter().map(|(_, value)| value).sum()
    }
}

/// Every part's name, in the order in which they come.
fn names(bars: &Bars) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in bars.bars.iter().flat_map(|bar| &bar.parts) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// The same figures for a terminal: a line for each part, a column for each bar.
pub(super) fn table(bars: &Bars) -> String {
    // Writing to a string can't fail.
    let mut text = format!("{:<28}", bars.title.split(':').next_back().unwrap_or_default().trim());
    for bar in &bars.bars {
        let _ = write!(text, "{:>10}", bar.name);
    }
    for name in names(bars) {
        let _ = write!(text, "\n{name:<28}");
        for bar in &bars.bars {
            let value = bar.parts.iter().find(|(of, _)| of == name).map(|(_, value)| format!("{value:.1}"));
            let _ = write!(text, "{:>10}", value.unwrap_or_else(|| "–".to_owned()));
        }
    }
    let _ = write!(text, "\n{:<28}", format!("sum, {}", bars.unit));
    for bar in &bars.bars {
        let _ = write!(text, "{:>10.1}", bar.sum());
    }
    text.push('\n');
    text
}

pub(super) fn draw(bars: &Bars) -> String {
    let names = names(bars);
    let longest = bars.bars.iter().map(Bar::sum).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let under = TOP + bars.bars.len() as f64 * (BAR + GAP);
    let height = under + names.len().div_ceil(2) as f64 * LINE + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"28\" font-size=\"16\">{}</text>\n",
        escaped(&bars.title)
    );
    let colour = |name: &str| {
        let at = names.iter().position(|known| *known == name).unwrap_or_default();
        COLOURS[at % COLOURS.len()]
    };
    for (row, bar) in bars.bars.iter().enumerate() {
        let y = TOP + row as f64 * (BAR + GAP);
        let middle = y + BAR / 2.0 + 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            escaped(&bar.name)
        );
        let mut x = LEFT;
        for (name, value) in &bar.parts {
            let width = value * scale;
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{}\"><title>{}: {value:.1} \
                 {}</title></rect>",
                colour(name),
                escaped(name),
                escaped(&bars.unit)
            );
            x += width;
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{middle}\">{:.0} {}</text>",
            x + 6.0,
            bar.sum(),
            escaped(&bars.unit)
        );
    }
    for (at, name) in names.iter().enumerate() {
        let x = LEFT + (at % 2) as f64 * (WIDTH - LEFT) / 2.0;
        let y = under + (at / 2) as f64 * LINE;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{}\" y=\"{}\">{}</text>",
            colour(name),
            x + 18.0,
            y + 10.0,
            escaped(name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars() -> Bars {
        let bar = |name: &str, parts: &[(&str, f64)]| Bar {
            name: name.to_owned(),
            parts: parts.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        };
        Bars {
            title: "A <sign-up>: where it goes".to_owned(),
            unit: "ms".to_owned(),
            bars: vec![bar("warm", &[("hash", 30.0), ("role", 10.0)]), bar("bare", &[("hash", 20.0)])],
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_part() {
        let table = table(&bars());
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["hash", "30.0", "20.0"]);
        assert_eq!(lines[2], ["role", "10.0", "–"]);
        assert_eq!(lines[3], ["sum,", "ms", "40.0", "20.0"]);
    }

    #[test]
    fn the_longest_bar_fills_the_picture_and_the_others_are_to_scale() {
        let svg = draw(&bars());
        assert!(svg.contains("A &lt;sign-up>"), "{svg}");
        for width in ["444.0", "148.0", "296.0"] {
            assert!(svg.contains(&format!("width=\"{width}\"")), "{width} is not in {svg}");
        }
    }
}
