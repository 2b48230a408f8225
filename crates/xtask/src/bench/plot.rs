//! The pairs of a bench as a picture: two bars a pair, and the ratio above them.

use super::report::Pair;
use std::fmt::Write as _;

const HEIGHT: f64 = 240.0;
const BAR: f64 = 22.0;
const PAIR: f64 = 72.0;
const LEFT: f64 = 24.0;
const TOP: f64 = 64.0;

/// An SVG; it brings its own colours, for light and for dark.
pub(super) fn pairs(pairs: &[Pair]) -> String {
    let highest =
        pairs.iter().flat_map(|pair| [pair.portero.per_second, pair.bare.per_second]).fold(1.0, f64::max);
    let count = u32::try_from(pairs.len()).unwrap_or(u32::MAX);
    let (width, height) = (LEFT * 2.0 + PAIR * f64::from(count.max(5)), TOP + HEIGHT + 32.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" text-anchor=\"middle\">\n\
         <style>text{{fill:#333}}.p{{fill:#2f6f8f}}.b{{fill:#b9c4cc}}\
         @media(prefers-color-scheme:dark){{text{{fill:#ddd}}.p{{fill:#6fb3d2}}.b{{fill:#5b666e}}}}</style>\n\
         <text x=\"{LEFT}\" y=\"20\" text-anchor=\"start\" font-size=\"14\">Requests per second: Portero \
         and, behind it, the bare server</text>\n"
    );
    for (number, pair) in (0..count).zip(pairs) {
        let x = LEFT + PAIR * f64::from(number);
        for (class, offset, rate) in
            [("p", 8.0, pair.portero.per_second), ("b", 8.0 + BAR + 2.0, pair.bare.per_second)]
        {
            let tall = HEIGHT * rate / highest;
            // Writing to a string can't fail.
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{BAR}\" height=\"{tall:.1}\"><title>{rate:.0}/s</title></rect>",
                x + offset,
                TOP + HEIGHT - tall
            );
        }
        let middle = x + 8.0 + BAR + 1.0;
        let _ = writeln!(svg, "<text x=\"{middle:.1}\" y=\"{:.1}\">{:.3}</text>", TOP - 10.0, pair.ratio());
        let _ =
            writeln!(svg, "<text x=\"{middle:.1}\" y=\"{:.1}\">{}</text>", TOP + HEIGHT + 18.0, number + 1);
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::{super::wrk::Figures, *};

    #[test]
    fn every_pair_has_two_bars_and_its_ratio() {
        let run = |per_second| Figures { per_second, p50_ms: 2.0, p99_ms: 5.0, requests: 1000, cpu_us: None };
        let svg = pairs(&[
            Pair { portero: run(960.0), bare: run(1000.0) },
            Pair { portero: run(500.0), bare: run(1000.0) },
        ]);
        assert_eq!(svg.matches("<rect ").count(), 4);
        assert!(svg.contains(">0.960<") && svg.contains(">0.500<"), "{svg}");
        assert!(svg.contains("height=\"120.0\""), "half as many, half as tall: {svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
