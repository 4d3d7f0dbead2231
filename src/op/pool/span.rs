//! Which cells of an axis each output position covers.

use super::super::geom::{Windows, inside};
use super::Extent;

/// The cells that one output position covers on an axis.
#[derive(Clone, Debug)]
pub struct Span {
    /// The cells, padding left out.
    pub cells: Vec<usize>,
    /// How many there are with the padded ones.
    pub with_padding: usize,
}

/// The spans of all rows and all columns of the result.
pub fn spans(extent: &Extent, sizes: [usize; 2], outputs: [usize; 2]) -> [Vec<Span>; 2] {
    [0, 1].map(|axis| {
        let (size, parts) = (sizes[axis], outputs[axis]);
        let span = |at| match extent {
            Extent::Windows(windows) => window(windows, axis, sizes, at),
            Extent::Global | Extent::Adaptive(_) => part(at, parts, size),
        };
        (0..parts).map(span).collect()
    })
}

fn window(windows: &Windows, axis: usize, sizes: [usize; 2], at: usize) -> Span {
    let sides = windows.sides(sizes);
    let (before, size, after) = (sides[axis], sizes[axis], sides[axis + 2]);
    let [kernel, stride, dilation] = [windows.kernel, windows.stride, windows.dilation].map(|of| of[axis] as usize);
    let taps = (0..kernel).map(|k| at * stride + k * dilation).take_while(|&padded| padded < before + size + after);
    Span {
        cells: taps.clone().filter_map(|padded| inside(padded, before, size)).collect(),
        with_padding: taps.count(),
    }
}

fn part(at: usize, parts: usize, size: usize) -> Span {
    let cells: Vec<usize> = (at * size / parts..((at + 1) * size).div_ceil(parts)).collect();
    Span { with_padding: cells.len(), cells }
}
