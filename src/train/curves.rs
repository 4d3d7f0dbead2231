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
    /// The lines.
    pub lines: Vec<Line>,
}

/// Colours that stay apart, also for those who see few.
pub const COLORS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;

/// Charts one under the other as an SVG document.
pub fn svg(charts: &[Chart]) -> String {
    let height = HEIGHT * charts.len() as f64;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
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
    fn draw(&self, text: &mut String) {
        let points = || self.lines.iter().flat_map(|line| &line.points).filter(|(x, y)| x.is_finite() && y.is_finite());
        let range = |of: fn(&(f64, f64)) -> f64| {
            points().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)))
        };
        let ((x_low, x_high), (_, y_high)) = (range(|point| point.0), range(|point| point.1));
        let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">{}</text>", escaped(&self.title));
        if x_low > x_high {
            return;
        }
        let ticks = ticks(y_high.max(1e-9));
        let top = ticks.last().copied().unwrap_or(1.0).max(y_high);
        let x = |value: f64| LEFT + (value - x_low) / (x_high - x_low).max(1e-9) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
        for tick in ticks.iter().copied().chain([0.0]) {
            let at = y(tick);
            let right = WIDTH - RIGHT;
            let _ = writeln!(text, "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>");
            let label = format!("{tick:.4}");
            let label = label.trim_end_matches('0').trim_end_matches('.');
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
            let (row, side) = (TOP + 8.0 + 15.0 * at as f64, WIDTH - RIGHT - 8.0);
            let _ = writeln!(
                text,
                "<text x=\"{side}\" y=\"{row}\" text-anchor=\"end\" fill=\"{}\">{}{}</text>",
                line.color,
                escaped(&line.name),
                if line.dashed { " (dashed)" } else { "" }
            );
        }
    }
}

impl Line {
    fn draw(&self, text: &mut String, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) {
        let points = self.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
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
    let line = |name: &str, at: usize, value: &dyn Fn(&Record) -> Option<f64>| Line {
        name: name.to_owned(),
        color: COLORS[at],
        dashed: false,
        points: records.iter().filter_map(|record| Some((record.epoch as f64, value(record)?))).collect(),
    };
    let chart = |title: &str, lines: Vec<Line>| Chart {
        title: title.to_owned(),
        axes: ["epoch".to_owned(), title.to_owned()],
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
