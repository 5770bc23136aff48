//! Charts of the report: horizontal bars as SVG, for pages in light and in dark.

use std::fmt::Write;

use super::stats::{Grouped, Sample};

/// Whose a bar is; it decides the colour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Host,
    Native,
    Peer,
}

/// One bar: the median, with the spread as a whisker.
pub struct Bar {
    pub label: String,
    pub who: Who,
    pub value: Sample,
}

impl Bar {
    pub fn host(label: impl Into<String>, value: &Sample) -> Self {
        Self { label: label.into(), who: Who::Host, value: value.clone() }
    }

    pub fn native(label: impl Into<String>, value: &Sample) -> Self {
        Self { label: label.into(), who: Who::Native, value: value.clone() }
    }

    pub fn peer(label: impl Into<String>, value: &Sample) -> Self {
        Self { label: label.into(), who: Who::Peer, value: value.clone() }
    }
}

/// How lengths follow from values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    /// For values that differ by orders of magnitude.
    Log,
}

/// A chart of bars, one below the other.
pub struct Chart<'a> {
    /// The file's name without `.svg`.
    pub name: &'a str,
    pub title: &'a str,
    /// What the numbers are, as `files/s`.
    pub unit: &'a str,
    pub scale: Scale,
    pub bars: Vec<Bar>,
}

/// Lengths in pixels. A letter is taken to be as wide as letters are on average.
const LETTER: f64 = 7.2;
const MARGIN: f64 = 20.0;
const PLOT: f64 = 420.0;
/// Right of the longest whisker, for its value.
const VALUE: f64 = 90.0;
const HEAD: f64 = 76.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;
/// Below the bars, for the numbers of a logarithmic scale.
const TICKS: f64 = 18.0;

/// The greys are those of GitHub's pages; the card behind keeps text readable on any other.
const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.muted { font-size: 12px; fill: #59636e }
.strong { font-weight: 600 }
.card { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #d1d9e0 }
.whisker { stroke: #1f2328; stroke-width: 1.5; opacity: .65 }
.host { fill: #e8710a } .native { fill: #4184e4 } .peer { fill: #9aa4af }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .muted { fill: #9198a1 }
  .card { fill: #0d1117; stroke: #3d444d } .grid { stroke: #3d444d } .whisker { stroke: #e6edf3 }
  .host { fill: #f58f32 } .native { fill: #478be6 } .peer { fill: #6e7781 }
}
";

impl Who {
    /// In the order of the legend.
    const ALL: [Who; 3] = [Who::Host, Who::Native, Who::Peer];

    fn class(self) -> &'static str {
        match self {
            Who::Host => "host",
            Who::Native => "native",
            Who::Peer => "peer",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Who::Host => "tigerflow-host",
            Who::Native => "native",
            Who::Peer => "other",
        }
    }
}

impl Chart<'_> {
    pub fn svg(&self) -> String {
        let axis = Axis::of(self.scale, &self.bars);
        let widest = self.bars.iter().map(|bar| width(&bar.label)).fold(0.0, f64::max);
        let left = MARGIN + widest + 12.0;
        let whole = (left + PLOT + VALUE + MARGIN).max(width(self.title) * 1.25 + 2.0 * MARGIN);
        let bottom = HEAD + ROW * self.bars.len() as f64;
        let ticks = if self.scale == Scale::Log { TICKS } else { 0.0 };
        let height = bottom + ticks + 14.0;

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {whole:.0} {height:.0}\" role=\"img\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
             <rect class=\"card\" x=\".5\" y=\".5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"8\"/>\n\
             <text class=\"title\" x=\"{MARGIN}\" y=\"31\">{title}</text>\n",
            whole - 1.0,
            height - 1.0,
            title = escaped(self.title),
        );
        self.legend(&mut svg, left);
        for tick in axis.ticks() {
            let x = left + axis.length(tick);
            add(
                &mut svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>\
                 <text class=\"muted\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    HEAD - 4.0,
                    bottom + 16.0,
                    figure(tick)
                ),
            );
        }
        for (number, bar) in self.bars.iter().enumerate() {
            let top = HEAD + ROW * number as f64 + (ROW - BAR) / 2.0;
            self.bar(&mut svg, bar, &axis, left, top);
        }
        add(
            &mut svg,
            format_args!(
                "<line class=\"grid\" x1=\"{left:.1}\" x2=\"{left:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>\n</svg>",
                HEAD - 4.0
            ),
        );
        svg
    }

    /// The unit, and beside it whose colours these are where there is more than one.
    fn legend(&self, svg: &mut String, left: f64) {
        let unit = match self.scale {
            Scale::Linear => self.unit.to_owned(),
            Scale::Log => format!("{}, logarithmic", self.unit),
        };
        add(
            svg,
            format_args!("<text class=\"muted\" x=\"{MARGIN}\" y=\"54\">{}</text>", escaped(&unit)),
        );
        let mut there = Who::ALL.to_vec();
        there.retain(|who| self.bars.iter().any(|bar| bar.who == *who));
        if there.len() < 2 {
            return;
        }
        let mut x = left.max(MARGIN + width(&unit) + 24.0);
        for who in there {
            add(
                svg,
                format_args!(
                    "<rect class=\"{}\" x=\"{x:.1}\" y=\"44\" width=\"11\" height=\"11\" rx=\"2\"/>\
                 <text class=\"muted\" x=\"{:.1}\" y=\"54\">{}</text>",
                    who.class(),
                    x + 17.0,
                    who.name()
                ),
            );
            x += 17.0 + width(who.name()) + 18.0;
        }
    }

    fn bar(&self, svg: &mut String, bar: &Bar, axis: &Axis, left: f64, top: f64) {
        let (low, median, high) = (
            axis.length(bar.value.min()),
            axis.length(bar.value.median()),
            axis.length(bar.value.max()),
        );
        let (middle, text) = (top + BAR / 2.0, top + BAR / 2.0 + 4.5);
        let class = bar.who.class();
        let weight = if bar.who == Who::Host { "strong" } else { "plain" };
        let (label, value) = (escaped(&bar.label), figure(bar.value.median()));
        // A pointer that rests on it is told the spread.
        add(
            svg,
            format_args!(
                "<g><title>{label}: {value} ({}–{}) {}</title>\
             <text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{label}</text>\
             <rect class=\"{class} bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"3\"/>",
                figure(bar.value.min()),
                figure(bar.value.max()),
                escaped(self.unit),
                left - 10.0,
                median.max(1.0),
            ),
        );
        let (from, to) = (left + low, left + high);
        if high - low >= 2.0 {
            add(
                svg,
                format_args!(
                    "<path class=\"whisker\" d=\"M{from:.1} {middle:.1}H{to:.1}M{from:.1} {up:.1}v8M{to:.1} {up:.1}v8\"/>",
                    up = middle - 4.0
                ),
            );
        }
        add(
            svg,
            format_args!(
                "<text class=\"{weight}\" x=\"{:.1}\" y=\"{text:.1}\">{value}</text></g>",
                left + high.max(median) + 8.0
            ),
        );
    }
}

/// Which length a value has.
struct Axis {
    scale: Scale,
    /// Where a bar begins, of a logarithmic scale: a power of ten below all values.
    low: f64,
    high: f64,
}

impl Axis {
    fn of(scale: Scale, bars: &[Bar]) -> Self {
        let high = bars.iter().map(|bar| bar.value.max()).fold(f64::MIN_POSITIVE, f64::max);
        let least = bars.iter().map(|bar| bar.value.min()).filter(|value| *value > 0.0);
        let least = least.fold(high, f64::min);
        // Half of it, so that the smallest bar can still be seen.
        Self { scale, low: 10_f64.powf((least / 2.0).log10().floor()), high }
    }

    fn length(&self, value: f64) -> f64 {
        PLOT * match self.scale {
            Scale::Linear => value.max(0.0) / self.high,
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        }
    }

    /// The powers of ten in a logarithmic scale. Lengths on a linear one need none: the values stand beside.
    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => vec![],
            Scale::Log => std::iter::successors(Some(self.low), |tick| Some(tick * 10.0))
                .take_while(|tick| *tick <= self.high)
                .collect(),
        }
    }
}

fn add(svg: &mut String, element: std::fmt::Arguments) {
    writeln!(svg, "{element}").expect("a string takes all that is written to it");
}

/// About how wide a text is.
fn width(text: &str) -> f64 {
    LETTER * text.chars().count() as f64
}

/// A number with about three digits that count.
pub fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    let text = Grouped(value, decimals).to_string();
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(scale: Scale, values: &[f64]) -> String {
        let bars = values.iter().map(|value| Bar::host("a & b", &Sample::new(vec![*value])));
        Chart { name: "x", title: "less < more", unit: "\"files\"/s", scale, bars: bars.collect() }
            .svg()
    }

    fn widths(svg: &str) -> Vec<f64> {
        let bars =
            svg.lines().filter_map(|line| line.split_once(" bar\"")?.1.split_once("width=\""));
        bars.map(|(_, rest)| rest.split('"').next().expect("a width").parse().expect("a number"))
            .collect()
    }

    #[test]
    fn widths_are_proportional() {
        assert_eq!(widths(&svg(Scale::Linear, &[50.0, 200.0, 100.0])), [105.0, 420.0, 210.0]);
    }

    #[test]
    fn a_logarithmic_scale_keeps_the_order_and_shows_the_smallest() {
        let widths = widths(&svg(Scale::Log, &[10.0, 1_000.0, 100_000.0]));
        assert!(widths[0] > 10.0 && widths[0] < widths[1] && widths[1] < widths[2]);
        let steps = [widths[1] - widths[0], widths[2] - widths[1]];
        assert!((steps[0] - steps[1]).abs() < 0.3, "equal ratios are equal lengths: {widths:?}");
    }

    #[test]
    fn text_is_escaped() {
        let svg = svg(Scale::Linear, &[1.0]);
        assert!(svg.contains("<title>less &lt; more</title>"));
        assert!(svg.contains(">a &amp; b</text>") && svg.contains("&quot;files&quot;/s"));
        assert!(!svg.contains("a & b"));
    }

    #[test]
    fn a_whisker_spans_the_spread() {
        let bars = vec![Bar::peer("x", &Sample::new(vec![50.0, 75.0, 100.0]))];
        let chart = Chart { name: "x", title: "x", unit: "s", scale: Scale::Linear, bars };
        let svg = chart.svg();
        let line = svg.lines().find(|line| line.contains("\"whisker\"")).expect("a whisker");
        let numbers: Vec<f64> = line
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .filter_map(|word| word.parse().ok())
            .collect();
        assert_eq!(numbers[2] - numbers[0], 210.0, "{line}");
    }

    #[test]
    fn figures_have_the_digits_that_count() {
        let shown = [0.012, 0.5, 9.876, 75.0, 75.04, 46_328.4].map(figure);
        assert_eq!(shown, ["0.012", "0.5", "9.88", "75", "75", "46,328"]);
    }
}
