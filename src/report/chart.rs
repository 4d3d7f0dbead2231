//! Curves in SVG for the pages.

use super::html::escaped;
use crate::cost::number::{bytes, grouped};

/// Points of a curve; of more, the highest of each stretch.
const MOST_POINTS: usize = 800;
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 240.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 24.0;
/// Room for the numbers beside the curve.
const LEFT: f64 = 64.0;
/// Room that the name of a block takes, at least.
const NAME: f64 = 74.0;

/// What heights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Bytes,
}

impl Unit {
    fn shown(self, height: f64) -> String {
        match self {
            Unit::Count => grouped(&(height as u64).into()),
            Unit::Bytes => bytes(height),
        }
    }

    /// Round heights up to the highest, four or so.
    fn ticks(self, highest: f64) -> Vec<f64> {
        let base: f64 = if self == Unit::Bytes { 2.0 } else { 10.0 };
        let least = highest / 4.5;
        let power = base.powf(least.log(base).floor());
        let factors: &[f64] = if self == Unit::Bytes { &[1.0, 2.0] } else { &[1.0, 2.0, 5.0, 10.0] };
        let step = factors.iter().map(|factor| factor * power).find(|step| least <= *step).unwrap_or(power);
        let step = step.max(1.0);
        (1..=6).map(|times| f64::from(times) * step).take_while(|height| *height <= highest).collect()
    }
}

/// A curve over the layers of a net, in steps.
pub(super) struct Chart<'a> {
    /// What it shows, for those who cannot see it.
    pub label: &'a str,
    /// A path and a height for each layer.
    pub points: Vec<(&'a str, f64)>,
    pub unit: Unit,
    /// A height to mark, with its name.
    pub mark: Option<(f64, String)>,
}

impl Chart<'_> {
    /// As an `svg` element.
    pub fn svg(&self) -> String {
        let points = self.reduced();
        let heights = points.iter().map(|&(_, height)| height).chain(self.mark.iter().map(|(height, _)| *height));
        let highest = heights.fold(f64::MIN_POSITIVE, f64::max);
        let frame = Frame { highest, step: (WIDTH - LEFT) / points.len().max(1) as f64 };
        let mut curve = String::new();
        let mut hits = String::new();
        for (at, (name, height)) in points.iter().enumerate() {
            let (from, to, level) = (frame.x(at), frame.x(at + 1), frame.y(*height));
            curve += &format!("{}{from:.1} {level:.1}H{to:.1}", if at == 0 { "M" } else { "L" });
            hits += &format!(
                "<rect class=\"hit\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.2}\" height=\"{}\"><title>{}: {}</title></rect>",
                frame.step,
                HEIGHT - TOP - BOTTOM,
                escaped(name),
                escaped(&self.unit.shown(*height))
            );
        }
        let base = HEIGHT - BOTTOM;
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">{}\
             <path class=\"area\" d=\"{curve}V{base}H{LEFT}Z\"/><path class=\"curve\" d=\"{curve}\"/>{}{}{hits}</svg>\n",
            escaped(self.label),
            self.grid(&frame),
            blocks(&points, &frame),
            self.marked(&frame)
        )
    }

    /// Lines at round heights.
    fn grid(&self, frame: &Frame) -> String {
        let line = |height: f64| {
            let (level, text) = (frame.y(height), escaped(&self.unit.shown(height)));
            format!(
                "<line class=\"rule\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{level:.1}\" y2=\"{level:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 8.0,
                level + 4.0
            )
        };
        std::iter::once(0.0).chain(self.unit.ticks(frame.highest)).map(line).collect()
    }

    fn marked(&self, frame: &Frame) -> String {
        let Some((height, name)) = &self.mark else { return String::new() };
        let level = frame.y(*height);
        format!(
            "<line class=\"mark\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{level:.1}\" y2=\"{level:.1}\"/>\
             <text class=\"marked\" x=\"{WIDTH}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            level - 6.0,
            escaped(name)
        )
    }

    /// The highest point of each stretch, where there are more than can be seen.
    fn reduced(&self) -> Vec<(&str, f64)> {
        let stretch = self.points.len().div_ceil(MOST_POINTS).max(1);
        let highest = |points: &[(&str, f64)]| points.iter().map(|&(_, height)| height).fold(0.0, f64::max);
        self.points
            .chunks(stretch)
            .map(|points| (points.first().map_or("", |(name, _)| name), highest(points)))
            .collect()
    }
}

struct Frame {
    highest: f64,
    step: f64,
}

impl Frame {
    fn x(&self, at: usize) -> f64 {
        LEFT + at as f64 * self.step
    }

    fn y(&self, height: f64) -> f64 {
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - height / self.highest)
    }
}

/// The names of the outermost blocks where they begin, as far as there is room.
fn blocks(points: &[(&str, f64)], frame: &Frame) -> String {
    let mut text = String::new();
    let (mut last, mut free) = ("", f64::MIN);
    for (at, (path, _)) in points.iter().enumerate() {
        let Some((block, _)) = path.split_once('.') else { continue };
        let x = frame.x(at);
        if block != last && free <= x && x + NAME <= WIDTH {
            let (base, label) = (HEIGHT - BOTTOM, escaped(block));
            text += &format!(
                "<line class=\"rule\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{base}\" y2=\"{:.1}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\">{label}</text>",
                base + 5.0,
                HEIGHT - 5.0
            );
            free = x + NAME.max(7.0 * block.chars().count() as f64 + 6.0);
        }
        last = block;
    }
    text
}
