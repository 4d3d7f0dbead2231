//! Curves of a run: loss and error over its epochs, as SVG and PNG.

use std::fmt::Write;
use std::path::Path;

use super::state::Record;
use crate::data::{DataError, write_atomic};
use crate::picture::png::png;

/// A line of a chart.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it shows.
    pub name: String,
    /// Its colour.
    pub color: &'static str,
    /// Whether it is dashed.
    pub dashed: bool,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// A chart with lines.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What stands above it.
    pub title: String,
    /// What the axes show.
    pub axes: [String; 2],
    /// Whether heights are powers of ten.
    pub is_logarithmic: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

impl Line {
    /// A line that is not dashed.
    pub fn new(name: &str, color: &'static str, points: Vec<(f64, f64)>) -> Line {
        Line { name: name.to_owned(), color, dashed: false, points }
    }
}

/// Colours that stay apart, also for those who see few.
pub const COLORS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;
/// Room beside a chart for the names of more lines than fit into it.
const NAMES: f64 = 220.0;
const FITTING: usize = 4;

/// Charts one under the other as an SVG document.
pub fn svg(charts: &[Chart]) -> String {
    let height = HEIGHT * charts.len() as f64;
    let beside = if charts.iter().any(Chart::has_names_beside) { NAMES } else { 0.0 };
    let width = WIDTH + beside;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"DejaVu Sans, sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (at, chart) in charts.iter().enumerate() {
        let _ = writeln!(text, "<g transform=\"translate(0 {})\">", HEIGHT * at as f64);
        chart.draw(&mut text);
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

impl Chart {
    fn has_names_beside(&self) -> bool {
        FITTING < self.lines.len()
    }

    fn draw(&self, text: &mut String) {
        let is_shown = |(x, y): &&(f64, f64)| x.is_finite() && y.is_finite() && (!self.is_logarithmic || 0.0 < *y);
        let points = || self.lines.iter().flat_map(|line| &line.points).filter(is_shown);
        let range = |of: fn(&(f64, f64)) -> f64| {
            points().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)))
        };
        let ((x_low, x_high), (y_low, y_high)) = (range(|point| point.0), range(|point| point.1));
        let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">{}</text>", escaped(&self.title));
        if x_low > x_high {
            return;
        }
        let scale = if self.is_logarithmic { Scale::powers(y_low, y_high) } else { Scale::linear(y_high) };
        let x = |value: f64| LEFT + (value - x_low) / (x_high - x_low).max(1e-9) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - scale.share(value) * (HEIGHT - TOP - BOTTOM);
        for &tick in &scale.ticks {
            let at = y(tick);
            let right = WIDTH - RIGHT;
            let _ = writeln!(text, "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>");
            let label = scale.label(tick);
            let _ =
                writeln!(text, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 6.0, at + 4.0);
        }
        let step = whole_step(x_high - x_low);
        let mut at = (x_low / step).ceil() * step;
        while at <= x_high + 1e-9 {
            let place = x(at);
            let _ = writeln!(
                text,
                "<text x=\"{place:.1}\" y=\"{}\" text-anchor=\"middle\">{at}</text>",
                HEIGHT - BOTTOM + 16.0
            );
            at += step;
        }
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        let _ = writeln!(
            text,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 8.0,
            escaped(&self.axes[0])
        );
        let _ = writeln!(
            text,
            "<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            HEIGHT / 2.0,
            escaped(&self.axes[1])
        );
        for (at, line) in self.lines.iter().enumerate() {
            line.draw(text, &x, &y);
            let row = TOP + 8.0 + 15.0 * at as f64;
            let (side, anchor) = if self.has_names_beside() { (WIDTH, "start") } else { (WIDTH - RIGHT - 8.0, "end") };
            let _ = writeln!(
                text,
                "<text x=\"{side}\" y=\"{row}\" text-anchor=\"{anchor}\" fill=\"{}\">{}{}</text>",
                line.color,
                escaped(&line.name),
                if line.dashed { " (dashed)" } else { "" }
            );
        }
    }
}

/// Heights.
struct Scale {
    is_logarithmic: bool,
    ticks: Vec<f64>,
    /// What the lower and the upper edge stand for.
    range: [f64; 2],
}

impl Scale {
    /// From zero to the highest.
    fn linear(highest: f64) -> Scale {
        let ticks: Vec<f64> = [0.0].into_iter().chain(ticks(highest.max(1e-9))).collect();
        let top = ticks.last().copied().unwrap_or(1.0).max(highest);
        Scale { is_logarithmic: false, ticks, range: [0.0, top] }
    }

    /// From a power of ten to another.
    fn powers(lowest: f64, highest: f64) -> Scale {
        let [from, to] = [lowest.log10().floor() as i32, highest.log10().ceil() as i32];
        let ticks = (from..=to.max(from + 1)).map(|power| 10f64.powi(power)).collect();
        Scale { is_logarithmic: true, ticks, range: [f64::from(from), f64::from(to.max(from + 1))] }
    }

    /// Where a height lies between the edges.
    fn share(&self, height: f64) -> f64 {
        let height = if self.is_logarithmic { height.log10() } else { height };
        (height - self.range[0]) / (self.range[1] - self.range[0])
    }

    fn label(&self, tick: f64) -> String {
        if self.is_logarithmic {
            return format!("{tick:e}");
        }
        let label = format!("{tick:.4}");
        label.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl Line {
    fn draw(&self, text: &mut String, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) {
        let points = self.points.iter().filter(|&&(a, b)| x(a).is_finite() && y(b).is_finite());
        let places: Vec<String> = points.clone().map(|&(a, b)| format!("{:.1},{:.1}", x(a), y(b))).collect();
        let dashes = if self.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
        let color = self.color;
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.8\"{dashes}/>",
            places.join(" ")
        );
        if places.len() <= 40 {
            for &(a, b) in points {
                let _ = writeln!(text, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.2\" fill=\"{color}\"/>", x(a), y(b));
            }
        }
    }
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Round heights up to the highest, four or so.
fn ticks(highest: f64) -> Vec<f64> {
    let power = 10f64.powf((highest / 4.5).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|factor| factor * power).find(|step| highest / 4.5 <= *step);
    let step = step.unwrap_or(power);
    (1..=6).map(|times| f64::from(times) * step).take_while(|tick| *tick <= highest + step).take(5).collect()
}

/// A whole distance of labels.
fn whole_step(span: f64) -> f64 {
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0].into_iter().find(|step| span / step <= 12.0).unwrap_or(span / 10.0)
}

/// Writes the curves of a run into its folder.
pub(super) fn write(folder: &Path, records: &[Record]) -> Result<(), DataError> {
    let line = |name: &str, at: usize, value: &dyn Fn(&Record) -> Option<f64>| {
        let points = records.iter().filter_map(|record| Some((record.epoch as f64, value(record)?)));
        Line::new(name, COLORS[at], points.collect())
    };
    let chart = |title: &str, lines: Vec<Line>| Chart {
        title: title.to_owned(),
        axes: ["epoch".to_owned(), title.to_owned()],
        is_logarithmic: false,
        lines: lines.into_iter().filter(|line| !line.points.is_empty()).collect(),
    };
    let charts = [
        chart(
            "loss",
            vec![
                line("steps", 0, &|record| Some(record.loss)),
                line("training set", 2, &|record| Some(record.train?.loss)),
                line("held out", 3, &|record| Some(record.validation?.loss)),
                line("test", 1, &|record| Some(record.test?.loss)),
            ],
        ),
        chart(
            "error (share of wrong classes)",
            vec![
                line("steps", 0, &|record| Some(1.0 - record.accuracy)),
                line("training set", 2, &|record| Some(record.train?.error())),
                line("held out", 3, &|record| Some(record.validation?.error())),
                line("test", 1, &|record| Some(record.test?.error())),
            ],
        ),
    ];
    let drawing = svg(&charts);
    write_atomic(folder.join("curves.svg"), |out| out.write_all(drawing.as_bytes()))?;
    if let Ok(pixels) = png(&drawing) {
        write_atomic(folder.join("curves.png"), |out| out.write_all(&pixels))?;
    }
    Ok(())
}
